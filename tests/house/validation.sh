#!/usr/bin/env bash
# Runs a program under the Vulkan validation layer, GPU-assisted and with synchronization validation, on lavapipe; fails if the layer
# says anything. First a planted misuse must make it speak. Usage: validation.sh LOG FAULT PROGRAM [ARGUMENTS]
set -eu
log=$1 fault=$2
shift 2
[ -f /usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json ] || { echo "skipped: vulkan-validationlayers is not installed"; exit 77; }
driver=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null | head -n 1)
[ -n "$driver" ] || { echo "skipped: lavapipe is not installed"; exit 77; }
feature=VK_VALIDATION_FEATURE_ENABLE
export VK_DRIVER_FILES=$driver VK_ICD_FILENAMES=$driver VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation CDUNET_TEST_DEVICE=vulkan:0
# the separator is a colon: with others the layer reports nothing at all
export VK_LAYER_ENABLES=${feature}_GPU_ASSISTED_EXT:${feature}_GPU_ASSISTED_RESERVE_BINDING_SLOT_EXT:${feature}_SYNCHRONIZATION_VALIDATION_EXT
said='Validation (Error|Warning|Performance)|VUID-|SYNC-HAZARD|UNASSIGNED-'
own='VALIDATION-SETTINGS|WARNING-GPU-Assisted-Validation' # what newer layers say of themselves

python3 "$fault" >"$log" 2>&1 || [ $? = 0 ] || true
if ! grep -E "$said" "$log" | grep -qvE "$own"; then
    echo "the layer said nothing of a planted misuse: this check sees nothing"
    cat "$log"
    exit 1
fi
status=0
"$@" >"$log" 2>&1 || status=$?
tail -n 3 "$log"
if grep -E "$said" "$log" | grep -vE "$own" | sort | uniq -c | sort -rn | head -n 20 | cut -c1-1500 | grep .; then
    echo "the validation layer complained; all of it is in $log"
    exit 1
fi
exit $status
