#!/usr/bin/env bash
# Runs every fuzz target with libFuzzer. Findings stay in build-fuzz/. Usage: fuzz.sh SOURCE SECONDS
set -eu
source=$1 seconds=$2
cd "$source"
cmake --preset fuzz >/dev/null
nice cmake --build --preset fuzz
cd build-fuzz
found=0
for target in ./fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=$(basename "$target")
    seeds=$(find "$source/tests/fuzz" -type d -name "$name" | head -n 1)
    mkdir -p "corpus/$name"
    echo "== $name, $seconds s"
    "$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 -verbosity=0 \
        "corpus/$name" ${seeds:+"$seeds"} || found=1
done
exit $found
