#!/usr/bin/env bash
# Runs a program's OpenCL kernels in Oclgrind: out-of-bounds accesses, races, uninitialized reads, divergent barriers. Its exit code
# ignores what it finds, so the log decides. Usage: oclgrind.sh LOG PROGRAM [ARGUMENTS]
set -eu
log=$1
shift
command -v oclgrind >/dev/null || { echo "skipped: oclgrind is not installed"; exit 77; }
rm -f "$log"
# its runtime stands in for the loader, which we open at run time
CDUNET_LIBOPENCL=$(ls /usr/lib/oclgrind/liboclgrind-rt.so /usr/lib/*/oclgrind/liboclgrind-rt.so 2>/dev/null | head -n 1)
export CDUNET_LIBOPENCL
export CDUNET_TEST_DEVICE=opencl:0 CDUNET_DEBUG=no-cache
status=0
oclgrind --data-races --uninitialized --check-api --max-errors 20 --log "$log" "$@" || status=$?
if [ -s "$log" ]; then
    echo "Oclgrind found:"
    head -n 60 "$log"
    exit 1
fi
exit $status
