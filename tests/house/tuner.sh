#!/usr/bin/env bash
# The tuner and candidates that must not be used: kernels with a planted error of 0.001 in one corner, a loop without end, a write to address 0.
# Each is refused with words, remembered, and the search goes on; a device that is lost in the middle costs nothing that was found; a default
# that computes wrong is replaced. Settings of Winograd's kernel tell the plants apart; vectors of 16, so that all machines have them.
# Usage: tuner.sh CDUNET_BENCH SHADERS FOLDER
set -u
bench=$1 shaders=$2 folder=$3
export CDUNET_VECTOR_WIDTH=16
fail() { echo "FAILED: $*"; [ -f "$folder/out" ] && cat "$folder/out" "$folder/err"; exit 1; }
rm -rf "$folder"
mkdir -p "$folder/shaders" "$folder/icd"

# plant CONDITION TEXT...: at the end of winograd_fused, where it was compiled so
plant() {
    python3 - "$folder/shaders/conv_winograd.k" "$@" <<'PY'
import sys
path, condition, text = sys.argv[1:4]
whole = open(path).read()
head, rest = whole.split("KERNEL(winograd_fused)", 1)
body, tail = rest.split("\nEND\n", 1)
open(path, "w").write(f"{head}KERNEL(winograd_fused){body}\n#if {condition}\n{text}\n#endif\nEND\n{tail}")
PY
}
fresh() { cp "$shaders"/*.k "$shaders"/prelude.*.h "$folder/shaders/"; }
corner='if (begin < p.tiles && begin + FT >= p.tiles) {
    uint last = (p.tiles / (p.tiles_x * p.tiles_y) * p.h * p.w - 1u) * p.out_pitch * VW + p.out_lane * VW;
    STS(y, last, LDS(y, last) + 0.001f);
}'
tune() {
    CDUNET_SHADERS=$folder/shaders "$bench" tune --device opencl:0 --size 32 --width 16 --only 'sum 3x3 1x32x32, 16-16' --variant winograd \
        --minutes 5 --deadline 5 --out "$folder/$1" >"$folder/out" 2>"$folder/err"
}
refused() { grep -q "^refused: $1 for sum 3x3 1x32x32, 16-16 lanes: .*$2" "$folder/out" || fail "$1 was not refused with '$2'"; }

CDUNET_SHADERS= "$bench" peaks --help >/dev/null || fail "no cdunet-bench"
fresh
plant "NP == 6" "$corner"
plant "FT == 16 && NV == 1" "volatile __global float *spin = y; while (*spin > -1e30f) *spin = *spin * 0.5f;"
plant "FT == 24 && NP == 8" "*(volatile __global float *)0 = 1.0f;"
tune a.json || fail "exit code $?"
cp "$folder/out" "$folder/out-a"
refused "winograd:0:0:6" "computes wrong: .* by the definition"
refused "winograd:2:16:8" "did not end within 5 s"
refused "winograd:2:24:8" "ended its process"
[ "$(grep -c '^refused' "$folder/out")" = 3 ] || fail "others than the three were refused"
sleep 1
for process in /proc/[0-9]*; do
    grep -qs "CDUNET_SHADERS=$folder/shaders" "$process/environ" && fail "$(tr '\0' ' ' <"$process/cmdline") outlived the candidate it compiled for"
done
[ "$(grep -c '^keep' "$folder/a.json.journal")" -ge 3 ] || fail "the search did not go on"
grep -q ', 0 not yet tried' "$folder/out" || fail "something was not tried"

# remembered
tune a.json || fail "exit code $? the second time"
grep -q ' 0 tried now, .* 3 refused in all' "$folder/out" || fail "something was tried again"

# the machine ended while a candidate was tried: as if the last lines were missing
sed '/^begin .* winograd:2:16:8/q' "$folder/a.json.journal" >"$folder/b.json.journal"
tune b.json || fail "exit code $? after a crash"
grep -q '^begin .* winograd:2:16:8' <(tail -n +"$(($(grep -n 'winograd:2:16:8' "$folder/b.json.journal" | head -1 | cut -d: -f1) + 1))" \
    "$folder/b.json.journal") && fail "what ended the machine was tried again"

# the device goes while the loop without end is tried
vendors=$(ls /etc/OpenCL/vendors/pocl.icd "${OCL_ICD_VENDORS:-}"/pocl.icd 2>/dev/null | head -1)
[ -n "$vendors" ] || { echo "the device is not taken away: PoCL's registration was not found"; vendors=none; }
if [ "$vendors" != none ]; then
    cp "$vendors" "$folder/icd/pocl.icd"
    sed '/^begin .* winograd:2:16:8/,$d' "$folder/a.json.journal" >"$folder/c.json.journal"
    (export OCL_ICD_VENDORS=$folder/icd; tune c.json; echo $? >"$folder/code") &
    for _ in $(seq 600); do
        grep -q '^begin .* winograd:2:16:8' "$folder/c.json.journal" && break
        sleep 0.1
    done
    sleep 3 # the child has opened it by now
    mv "$folder/icd/pocl.icd" "$folder/pocl.icd"
    wait
    [ "$(cat "$folder/code")" = 75 ] || fail "exit code $(cat "$folder/code") where the device is lost, not 75"
    grep -q 'was lost while winograd:2:16:8 was tried, and does not come back .* run the same command again' "$folder/err" || fail "no words"
    [ "$(grep -c '^cdunet-bench: ' "$folder/err")" = 1 ] || fail "not one line"
    mv "$folder/pocl.icd" "$folder/icd/pocl.icd"
    (export OCL_ICD_VENDORS=$folder/icd; tune c.json) || fail "exit code $? once the device is back"
    grep -q ', 0 not yet tried' "$folder/out" || fail "the search did not go on"
    grep -q '^refused: winograd:2:16:8' "$folder/out" && fail "what lost the device was tried again"
fi

# a default that computes wrong is replaced, whatever that costs, and the pack is read back
fresh
plant "NP == 12 && FT == 12" "$corner"
tune d.json || fail "exit code $? with a wrong default"
refused "winograd" "computes wrong"
grep -q '"in_lanes": 16, "out_lanes": 16, "variant": "' "$folder/d.json" || fail "the wrong default is not replaced"
grep -q '"choice": "winograd for sum 3x3 1x32x32' "$folder/d.json" || fail "the pack does not tell what was refused"
choice=$(sed -n 's/^sum 3x3 1x32x32, 16-16 lanes *\([a-z0-9:]*\) .*/\1/p' "$folder/out")
[ -n "$choice" ] || fail "the choice is not printed"
CDUNET_TUNE=$folder/d.json "$bench" step --device opencl:0 --size 32 --width 16 --repeats 1 --layers >"$folder/out" 2>"$folder/err" ||
    fail "exit code $? with the pack"
grep -Eq "forward .* $choice( |\$)" "$folder/out" || fail "the pack's $choice is not used"
echo "refused: $(grep -c '^refused' "$folder/out-a") planted faults; the search went on after each, after a crash and after a lost device"
