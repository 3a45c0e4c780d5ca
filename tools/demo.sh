#!/usr/bin/env bash
# The demo behind ./dev demo: phantom slides, a short training, scores on unseen slides, segmentations by both backends, one picture.
# Usage: demo.sh SOURCE [SLIDE [MPP]]. Everything it makes lies in demo/.
set -euo pipefail
source=$1 slide=${2:-} mpp=${3:-}
program=$source/build/cdunet
out=$source/demo
seconds=${CDUNET_DEMO_SECONDS:-270}
began=$SECONDS
[ -n "$slide" ] && slide=$(realpath -- "$slide")
mkdir -p "$out"
cd "$out"

say() { printf '\n== %s\n' "$*"; }

# The id of the first device of a runtime, or nothing.
first_device() {
    "$program" devices 2>/dev/null | grep -o -m 1 "^ *$1:[0-9]*" | tr -d ' ' || true
}

say "1 of 6: phantom slides in three stains (demo/phantoms)"
order=(--slides 18 --stains he,cea,ki67-cd3 --size 2048x2048 --seed 11)
# made once: the same order gives the same bytes
if [ "$(cat phantoms-made-as 2>/dev/null)" != "${order[*]}" ]; then
    rm -rf phantoms
    "$program" phantom phantoms "${order[@]}"
    echo "${order[*]}" >phantoms-made-as
fi
opencl=$(first_device opencl) vulkan=$(first_device vulkan)

say "2 of 6: training CD-UNET for $seconds seconds (demo/run)"
rm -rf run
"$program" train phantoms/study.yaml --out run --device auto --seconds "$seconds"
model=run/model.safetensors

say "3 of 6: scores on the test slides, which the training never saw (demo/evaluate.json)"
"$program" evaluate phantoms/study.yaml --model "$model" --masks phantoms/masks --device auto --json evaluate.json | tee evaluate.txt

say "4 of 6: segmenting one test slide of each stain"
# slide,annotation,stain,case,split,mpp
mapfile -t tests < <(awk -F, 'NR > 1 && $5 == "test" && !seen[$3]++ { print $1 }' phantoms/slides.csv)
[ ${#tests[@]} -gt 0 ] || { echo "demo: slides.csv has no test slide" >&2; exit 1; }
runtimes=() columns=truth words=()
[ -n "$opencl" ] && runtimes+=("$opencl") && columns+=",by OpenCL"
[ -n "$vulkan" ] && runtimes+=("$vulkan") && columns+=",by Vulkan"
[ ${#runtimes[@]} -gt 0 ] || { echo "demo: no device, neither through OpenCL nor through Vulkan" >&2; exit 69; }
for test in "${tests[@]}"; do
    name=$(basename "$test" .tif)
    words+=("phantoms/$test" "phantoms/masks/$name.tif")
    for device in "${runtimes[@]}"; do
        map=$name-${device%:*}.tif
        "$program" segment "phantoms/$test" --model "$model" --device "$device" --out "$map" --geojson "$name-${device%:*}.geojson" >/dev/null
        words+=("$map")
    done
done

say "5 of 6: one picture (demo/overview.png)"
"$program" overview --out overview.png --model "$model" --columns "$columns" --title "cdunet: phantom slides that the training never saw" "${words[@]}"

say "6 of 6: how far the two backends agree"
if [ ${#runtimes[@]} = 2 ]; then
    for test in "${tests[@]}"; do
        name=$(basename "$test" .tif)
        printf '%-24s ' "$name"
        "$program" agree "$name-opencl.tif" "$name-vulkan.tif" | head -n 1
    done | tee agreement.txt
else
    echo "only one runtime has a device here: nothing to compare"
fi

if [ -n "$slide" ]; then
    say "and your slide, with a model that has only seen phantoms: a look at the files, not at the truth"
    name=$(basename "$slide")
    name=${name%.*}
    "$program" segment "$slide" --model "$model" --device auto --out "$name-labels.tif" --geojson "$name.geojson" \
        --overlay "$name-overlay.png" ${mpp:+--slide-mpp "$mpp"}
    echo "demo/$name-labels.tif, demo/$name.geojson (QuPath), demo/$name-overlay.png"
fi

say "done in $((SECONDS - began)) seconds"
echo "F1 per class:      demo/evaluate.txt"
echo "the report:        demo/run/report.html"
echo "look at:           demo/overview.png"
echo "label maps:        demo/*-opencl.tif, demo/*-vulkan.tif; polygons for QuPath beside them"
echo "the model:         demo/run/model.safetensors (PyTorch's safetensors reads it)"
