#!/usr/bin/env bash
# Compiles every kernel for AMD's OpenCL compiler's target with clang and libclc, and fails where one needs memory for registers.
# Usage: amdgcn.sh KERNEL_CHECK FOLDER
set -eu
program=$1 folder=$2
clang=$(command -v clang-15) || { echo "skipped: clang-15 is not installed"; exit 77; }
library=/usr/lib/clc/amdgcn--amdhsa.bc
[ -f "$library" ] || { echo "skipped: libclc-15 is not installed"; exit 77; }
rm -rf "$folder"
"$program" write "$folder" planted >"$folder.list"

# Prints: family, kernel, registers, scratch bytes a lane, spills, local memory, subgroups a SIMD that registers and local memory allow. Empty where the compilation failed.
compile() {
    local mcpu=$1 file=$2 text
    if ! text=$("$clang" -x cl -cl-std=CL1.2 -target amdgcn-amd-amdhsa -mcpu="$mcpu" -O3 -Xclang -finclude-default-header \
        -Xclang -mlink-builtin-bitcode -Xclang "$library" -Wno-unknown-pragmas -nogpulib \
        -Rpass-analysis=kernel-resource-usage -c "$file" -o /dev/null 2>&1); then
        echo "$mcpu $(basename "$file") FAILED"
        echo "$text" >&2
        return 0
    fi
    awk -v mcpu="$mcpu" -v file="$(basename "$file")" '
        match($0, / (VGPRs|Occupancy \[waves\/SIMD\]|ScratchSize \[bytes\/lane\]|VGPRs Spill|SGPRs Spill|LDS Size \[bytes\/block\]): [0-9]+/) {
            line = substr($0, RSTART + 1, RLENGTH - 1)
            split(line, part, ": ")
            value[part[1]] = part[2]
        }
        END {
            print mcpu, file, value["VGPRs"], value["ScratchSize [bytes/lane]"], value["VGPRs Spill"] + 0, value["LDS Size [bytes/block]"], \
                value["Occupancy [waves/SIMD]"]
        }' <<<"$text"
}
export -f compile
export clang library
for mcpu in gfx1030 gfx1100; do
    for file in "$folder"/*.cl; do printf '%s\0%s\0' "$mcpu" "$file"; done
done | xargs -0 -n 2 -P "$(nproc)" bash -c 'compile "$0" "$1"' | sort >"$folder.result"

printf '%-8s %-40s %9s %8s %6s %6s %9s\n' family kernel registers scratch spills local occupancy
awk '{ printf "%-8s %-40s %9s %8s %6s %6s %9s\n", $1, $2, $3, $4, $5, $6, $7 }' "$folder.result"
bad=$(grep -v planted "$folder.result" | awk '$3 == "FAILED" || $3 == "" || $4 != 0 || $5 != 0 || $6 > 32768' || true)
seen=$(grep -c planted "$folder.result" | tr -d ' ')
found=$(grep planted "$folder.result" | awk '$4 > 0' | wc -l)
if [ "$seen" != 2 ] || [ "$found" != 2 ]; then
    echo "the planted kernel, which must need scratch memory, was not found to: this check sees nothing"
    exit 1
fi
if [ -n "$bad" ]; then
    echo "these do not compile or do not fit:"
    echo "$bad"
    exit 1
fi
echo "$(grep -vc planted "$folder.result") compilations, none needs memory for its registers"
