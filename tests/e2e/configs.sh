#!/usr/bin/env bash
# ctest: release
# Every ready job file passes `lorac plan` on the shapes of its model (tests/golden/configs), and what it plans for a GPU
# fits the memory in its name, with 8 % left for the CUDA context.
set -euo pipefail
cd "$LORAC_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
rows=tests/golden/cases/llama-default/data.safetensors
count=0
for job in configs/*.json; do
    name=$(sed -n 's/.*"model": "models\/\([^"]*\)".*/\1/p' "$job")
    model=tests/golden/configs/$name
    [ -f "$model/config.json" ] || { echo "$job: there is no $model/config.json"; exit 1; }
    sed -e "s|\"models/$name\"|\"$model\"|" -e "s|\"train.jsonl\"|\"$rows\"|" -e "s|\"valid.jsonl\"|\"$rows\"|" \
        "$job" >"$scratch/job.json"
    "$LORAC_BUILD_DIR/lorac" plan "$scratch/job.json" --json >"$scratch/plan" 2>"$scratch/error" ||
        { echo "$job: $(cat "$scratch/error")"; exit 1; }
    bytes=$(sed -n 's/.*"total_bytes": *\([0-9]*\).*/\1/p' "$scratch/plan" | head -n 1)
    [ -n "$bytes" ] || { echo "$job: the plan has no total_bytes"; head -c 400 "$scratch/plan"; exit 1; }
    printf '%-28s %7.1f GB\n' "$(basename "$job")" "$((bytes / 100000000))e-1"
    memory=$(basename "$job" | sed -n 's/.*-\([0-9]*\)gb\.json$/\1/p')
    if [ -n "$memory" ] && [ "$bytes" -gt $((memory * 920000000)) ]; then
        echo "$job: plans $bytes bytes, too much for $memory GB"
        exit 1
    fi
    count=$((count + 1))
done
[ "$count" -ge 15 ]
echo "$count job files"
