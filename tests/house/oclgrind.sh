#!/usr/bin/env bash
# Runs a program's OpenCL kernels in Oclgrind: out-of-bounds accesses, races, uninitialized reads, divergent barriers. Its exit code
# ignores what it finds, so the log decides. First three faults planted into max_pool must be found, with the table's arguments and the row
# "max pool, 2 x 2". Usage: oclgrind.sh LOG PROGRAM [ARGUMENTS]
set -eu
log=$1
shift
command -v oclgrind >/dev/null || { echo "skipped: oclgrind is not installed"; exit 77; }
house=$(dirname "$0")
# its runtime stands in for the loader, which we open at run time; before it a library that mends its notes (oclgrind_host.c)
runtime=$(ls /usr/lib/oclgrind/liboclgrind-rt.so /usr/lib/*/oclgrind/liboclgrind-rt.so 2>/dev/null | head -n 1)
CDUNET_LIBOPENCL=$log.so
cc -std=c11 -O1 -Wall -Wextra -Werror -fPIC -shared "$house/oclgrind_host.c" -o "$CDUNET_LIBOPENCL" -Wl,--no-as-needed "$runtime" \
    -Wl,-rpath,"$(dirname "$runtime")"
export CDUNET_LIBOPENCL
export CDUNET_TEST_DEVICE=opencl:0 CDUNET_DEBUG=no-cache
look() {
    local into=$1
    shift
    rm -f "$into"
    oclgrind --data-races --uninitialized --check-api --max-errors 20 --log "$into" "$@"
}

# plant WORDS TEXT: at the end of max_pool, with SHARED memory `planted` of two floats
plant() {
    rm -rf "$log.shaders"
    cp -r "$house/../../shaders" "$log.shaders"
    python3 - "$log.shaders/max_pool.k" "$2" <<'PY'
import sys
path, text = sys.argv[1:]
head, rest = open(path).read().split("KERNEL(max_pool)", 1)
body, tail = rest.split("\nEND\n", 1)
body = body.replace("NO_SHARED", "SHARED(float, planted, 2)", 1)
open(path, "w").write(f"{head}KERNEL(max_pool){body}\n{text}\nEND\n{tail}")
PY
    CDUNET_SHADERS=$log.shaders CDUNET_TEST_ROW="max pool, 2 x 2" look "$log.planted" "${@:3}" >"$log.out" 2>&1 || true
    grep -q "$1" "$log.planted" || { echo "a planted fault was not found: $2"; cat "$log.out" "$log.planted"; exit 1; }
}
plant "Invalid read" "STV(y, 0u, LDV(x, 100000u));" "$@"
plant "ninitialized" "if (LID(0) > 100u) STS(planted, 1u, 2.0f); if (LDS(planted, 1u) > 1.0f) STV(y, 0u, VF(1.0f));" "$@"
plant "data race" "STS(planted, 0u, to_f(LID(0))); STV(y, 0u, VF(LDS(planted, 0u)));" "$@"

status=0
look "$log" "$@" || status=$?
if [ -s "$log" ]; then
    echo "Oclgrind found:"
    head -n 60 "$log"
    exit 1
fi
exit $status
