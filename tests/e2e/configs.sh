#!/usr/bin/env bash
# ctest: release
# Every ready job file passes `lorac plan` on the shapes of its model (tests/golden/configs): on a GPU of the memory in its
# name, 8 % of it left for the CUDA context, or on a CPU machine of 256 GiB. Data are not there: rows of max_seq_len.
set -euo pipefail
cd "$LORAC_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
count=0 failed=0
for job in configs/*.json; do
    name=$(sed -n 's/.*"model": "models\/\([^"]*\)".*/\1/p' "$job")
    model=tests/golden/configs/$name
    [ -f "$model/config.json" ] || { echo "$job: there is no $model/config.json"; exit 1; }
    sed "s|\"models/$name\"|\"$model\"|" "$job" >"$scratch/job.json"
    memory=$(basename "$job" | sed -n 's/.*-\([0-9]*\)gb\.json$/\1/p')
    memory=$((${memory:-256} * 92))
    if ! "$LORAC_BUILD_DIR/lorac" plan "$scratch/job.json" --json --memory "$((memory / 100)).$((memory % 100 / 10))" \
        >"$scratch/plan" 2>"$scratch/error"; then
        echo "$job: $(cat "$scratch/error")"
        failed=$((failed + 1))
    else
        bytes=$(sed -n 's/.*"total_bytes": *\([0-9]*\).*/\1/p' "$scratch/plan" | head -n 1)
        printf '%-28s %5d MiB\n' "$(basename "$job")" "$((bytes >> 20))"
    fi
    count=$((count + 1))
done
[ "$count" -ge 15 ] || { echo "only $count job files"; exit 1; }
echo "$count job files, $failed failed"
[ "$failed" -eq 0 ]
