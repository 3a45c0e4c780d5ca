#!/usr/bin/env bash
# Compiles every kernel with Mesa's RADV for a card that is not here; fails where one spills. Usage: radv.sh KERNEL_CHECK FAMILY [NAME OF IT IN NEWER MESA]
set -eu
program=$1 newer=${3:-}
export RADV_FORCE_FAMILY=$2 NODEVICE_SELECT=1 MESA_SHADER_CACHE_DISABLE=true CDUNET_DEBUG=no-cache
driver=$(ls /usr/share/vulkan/icd.d/radeon_icd*.json 2>/dev/null | head -n 1)
[ -n "$driver" ] || { echo "skipped: Mesa's RADV is not installed"; exit 77; }
export VK_DRIVER_FILES=$driver VK_ICD_FILENAMES=$driver
if [ -n "$newer" ] && "$program" vulkan "" planted 2>&1 | grep -q "Unknown family"; then export RADV_FORCE_FAMILY=$newer; fi
if "$program" vulkan "" planted >/dev/null 2>&1; then
    echo "the planted kernel, which must spill, was not found: this check sees nothing"
    exit 1
fi
"$program" vulkan ""
