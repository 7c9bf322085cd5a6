#!/usr/bin/env bash
# ctest: release
# The public C API as a user meets it: installed headers and library, the example of under 40 lines, a small job.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
source=$LORAC_SOURCE_DIR/tests/e2e/api_example.c
golden=$LORAC_SOURCE_DIR/tests/golden/cases/llama-default

lines=$(wc -l <"$source")
[ "$lines" -lt 40 ] || { echo "the example has $lines lines, expected fewer than 40"; exit 1; }

cmake --install "$LORAC_BUILD_DIR" --prefix "$scratch/prefix" >/dev/null
"$scratch/prefix/bin/lorac" --version
flags=$(PKG_CONFIG_PATH=$scratch/prefix/lib/pkgconfig pkg-config --cflags --libs lorac)
# shellcheck disable=SC2086 # flags are several words
"$CC" -std=c11 -Wall -Wextra -Werror -o "$scratch/example" "$source" $flags
for header in "$scratch"/prefix/include/lorac/*.h; do
    echo "#include \"$header\"" | "$CC" -std=c11 -Wall -Werror -I"$scratch/prefix/include" -fsyntax-only -x c -
done

cat >"$scratch/job.json" <<JSON
{ "model": "$golden/model", "training_file": "$golden/data.safetensors", "seed": 7,
  "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}}},
  "lorac": {"rank": 4, "alpha": 8, "device": "cpu", "max_seq_len": 64} }
JSON
"$scratch/example" "$scratch/job.json" "$scratch/run" | tee "$scratch/events"
grep -q '^Job succeeded\.' "$scratch/events"
grep -q '^Step 1: training loss=' "$scratch/events"
[ -s "$scratch/run/adapter/adapter_model.safetensors" ]
[ "$(head -n 1 "$scratch/run/results.csv" | cut -d, -f1-2)" = step,train_loss ]

status=0
"$scratch/example" "$scratch/missing.json" "$scratch/other" 2>"$scratch/error" || status=$?
[ "$status" -eq 3 ] || { echo "a missing job file gave exit status $status, expected 3"; exit 1; }
grep -q missing.json "$scratch/error"
