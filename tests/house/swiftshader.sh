#!/usr/bin/env bash
# Runs a program on SwiftShader instead of the system's Vulkan drivers. Usage: swiftshader.sh PROGRAM [ARGUMENTS]
set -eu
driver=/usr/lib/chromium/vk_swiftshader_icd.json
[ -f "$driver" ] || { echo "skipped: SwiftShader (chromium-common) is not installed"; exit 77; }
export VK_DRIVER_FILES=$driver VK_ICD_FILENAMES=$driver CDUNET_TEST_DEVICE=vulkan:0
exec "$@"
