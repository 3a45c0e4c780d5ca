#!/usr/bin/env bash
# Builds the project again with a preset and runs those of its tests whose names match. Usage: again.sh SOURCE PRESET TESTS
set -eu
source=$1 preset=$2 tests=$3
compiler=$(python3 -c 'import json, sys
presets = json.load(open(sys.argv[1]))["configurePresets"]
print(next(p["cacheVariables"]["CMAKE_C_COMPILER"] for p in presets if p["name"] == sys.argv[2]))' "$source/CMakePresets.json" "$preset")
if ! command -v "$compiler" >/dev/null; then
    echo "skipped: $compiler is not installed"
    exit 77
fi
cd "$source"
cmake --preset "$preset" -DCDUNET_TESTS_WHOLE=OFF
nice cmake --build --preset "$preset"
cd "build-$preset"
ctest --output-on-failure --no-tests=error -j "$(nproc)" -R "$tests" -E '^(house|parity|kernels)'
