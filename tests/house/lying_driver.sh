#!/usr/bin/env bash
# The mock driver's calls succeed and compute nothing: the self-test must find it.
# Usage: lying_driver.sh CDUNET FOLDER
set -eu
program=$1 folder=$2
library=/usr/lib/chromium/libVkICD_mock_icd.so
[ -f "$library" ] || { echo "skipped: the mock driver (chromium-common) is not installed"; exit 77; }
mkdir -p "$folder"
printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.1.0"}}\n' "$library" >"$folder/mock_icd.json"
export VK_DRIVER_FILES=$folder/mock_icd.json VK_ICD_FILENAMES=$folder/mock_icd.json
"$program" devices | tee "$folder/devices.txt"
if ! grep -A 12 '^vulkan:0' "$folder/devices.txt" | grep -q 'self_test: failed'; then
    echo "a driver that computes nothing passed its self-test"
    exit 1
fi
