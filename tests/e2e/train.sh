#!/usr/bin/env bash
# lorac train as a user meets it: lines in a pipe, JSON, a bar on a terminal; signals once and twice; resuming gives the
# same bytes; what lorac plan says of the memory.
set -euo pipefail
cd "$LORAC_SOURCE_DIR"
lorac=$LORAC_BUILD_DIR/lorac
golden=tests/golden/cases/llama-default
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LC_ALL=C LORAC_THREADS=2

fail() {
    echo "FAILED: $*"
    tail -n 5 "$scratch"/out "$scratch"/err 2>/dev/null
    exit 1
}
# job EPOCHS NAME: one example a step, 7 steps an epoch.
job() {
    cat >"$scratch/$2.json" <<JSON
{ "model": "$golden/model", "training_file": "$golden/data.safetensors", "validation_file": "$golden/data.safetensors",
  "seed": 7, "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": $1, "batch_size": 1}}},
  "lorac": {"rank": 4, "alpha": 8, "max_seq_len": 64, "checkpoint_every_steps": 5} }
JSON
}
# wait_for FILE: until it is there.
wait_for() {
    for _ in $(seq 600); do
        [ -e "$1" ] && return
        sleep 0.05
    done
    fail "$1 did not come"
}

job 2 short
job 50 long

# ---- a pipe gets plain lines, a script JSON ----
"$lorac" train "$scratch/short.json" --out "$scratch/a" >"$scratch/out" 2>"$scratch/err" || fail "short job"
grep -q '^Job succeeded\.' "$scratch/out" || fail "no event lines"
grep -Eq '^step 14/14  loss [0-9.]+  valid [0-9.]+  [0-9.k]+ tokens/s  ETA 0:00$' "$scratch/out" || fail "no last step"
grep -q "^Adapter: $scratch/a/adapter$" "$scratch/out" || fail "no closing lines"
! grep -q "$(printf '[\r\033]')" "$scratch/out" || fail "control characters in a pipe"
"$lorac" train "$scratch/short.json" --out "$scratch/b" --json --threads 1 >"$scratch/out" || fail "json"
[ "$(grep -c '"total_steps": 14' "$scratch/out")" -eq 14 ] || fail "a JSON line for each step"
! grep -vq '^{.*}$' "$scratch/out" || fail "a line is not an object"
grep -v '"progress": {' "$scratch/out" >"$scratch/events"
cmp "$scratch/events" "$scratch/b/events.jsonl"
cmp "$scratch/a/adapter/adapter_model.safetensors" "$scratch/b/adapter/adapter_model.safetensors"

# ---- what the backward pass computes again changes memory alone ----
sed 's/"lorac": {/"lorac": {"recompute": "all", /' "$scratch/short.json" >"$scratch/again.json"
"$lorac" train "$scratch/again.json" --out "$scratch/again" >/dev/null 2>"$scratch/err" || fail "recompute"
grep -q "the backward pass computes all but the input of 1 layers again" "$scratch/again/log.txt" ||
    fail "log.txt does not say what is computed again"
cmp "$scratch/again/adapter/adapter_model.safetensors" "$scratch/b/adapter/adapter_model.safetensors"
cmp "$scratch/again/results.csv" "$scratch/b/results.csv"
"$lorac" plan "$scratch/again.json" --json | grep -q '"recomputed": {"whole_layers": 1, "gate_up_layers": 0}' ||
    fail "plan does not say what is computed again"
"$lorac" train "$scratch/short.json" --out "$scratch/again" --resume >/dev/null 2>"$scratch/err" ||
    fail "lorac.recompute may change on a resume"

# ---- closed standard files are not mistaken for the job's ----
"$lorac" train "$scratch/short.json" --out "$scratch/closed" --threads 1 <&- >&- 2>&- || fail "closed standard files"
! grep -vq '^{.*}$' "$scratch/closed/events.jsonl" || fail "events.jsonl has lines of another kind"
cmp "$scratch/closed/results.csv" "$scratch/b/results.csv"

# ---- what lorac plan says of the peak is within 5 % of what the run takes ----
# The high-water mark is polled: almost all of it is reached when training starts.
if [ -z "${LORAC_SANITIZE:-}" ]; then
    "$lorac" plan "$scratch/long.json" --json >"$scratch/out"
    planned=$(sed -n 's/.*"total_bytes": \([0-9]*\).*/\1/p' "$scratch/out")
    "$lorac" train "$scratch/long.json" --out "$scratch/peak" >/dev/null &
    pid=$! measured=0
    while kill -0 $pid 2>/dev/null; do
        now=$(sed -n 's/^VmHWM:[ \t]*\([0-9]*\) kB/\1/p' /proc/$pid/status 2>/dev/null || true)
        measured=${now:-$measured}
        sleep 0.01
    done
    wait $pid
    measured=$((measured * 1024))
    echo "peak: planned $planned, measured $measured bytes"
    [ $((planned * 100)) -ge $((measured * 95)) ] && [ $((planned * 100)) -le $((measured * 105)) ] ||
        fail "the plan is more than 5 % off"

    # ---- a job that does not fit is refused before it starts; one that does not need more is not ----
    sed 's/"rank": 4/"micro_batch_tokens": 1000000, &/' "$scratch/short.json" >"$scratch/large.json"
    status=0
    (ulimit -v 400000 && "$lorac" train "$scratch/large.json" --out "$scratch/large") >"$scratch/out" 2>"$scratch/err" ||
        status=$?
    [ $status -eq 1 ] || fail "a job that does not fit: $status"
    grep -Eq 'the job needs .* are there\. Largest: .* would fit$' "$scratch/err" || fail "what would fit"
    [ "$(wc -l <"$scratch/err")" -eq 1 ] || fail "the error is said once"
    ! grep -q '^Job started' "$scratch/out" || fail "it started"
    grep -q '"status": "failed"' "$scratch/large/job.json" || fail "job.json of a job that does not fit"
    (ulimit -v 400000 && "$lorac" train "$scratch/short.json" --out "$scratch/small") >"$scratch/out" ||
        fail "a job that fits"
fi

# ---- wrong calls ----
status=0
"$lorac" train "$scratch/short.json" --out "$scratch/a" >"$scratch/out" 2>"$scratch/err" || status=$?
[ $status -eq 2 ] || fail "a directory that is not empty: $status"
status=0
"$lorac" train "$scratch/none.json" --out "$scratch/c" >"$scratch/out" 2>"$scratch/err" || status=$?
[ $status -eq 3 ] && [ ! -e "$scratch/c" ] || fail "no job file: $status"

# ---- bad data: OpenAI's error codes, the field, the line ----
# bad_data CODE TEXT: "$scratch/rows.jsonl" is refused so.
bad_data() {
    sed "s|\"model\".*data.safetensors\",|\"model\": \"models/sprout-3m\", \"training_file\": \"$scratch/rows.jsonl\",|
         s|\"validation_file\": [^,]*,||" "$scratch/short.json" >"$scratch/rows.json"
    rm -rf "$scratch/rows"
    status=0
    "$lorac" train "$scratch/rows.json" --out "$scratch/rows" >"$scratch/out" 2>"$scratch/err" || status=$?
    [ $status -eq 3 ] || fail "$1: exit status $status"
    grep -q "$2" "$scratch/err" || fail "$1: message"
    grep -q "\"error\": {\"code\": \"$1\", .*\"param\": \"training_file\"}" "$scratch/rows/job.json" || fail "$1: job.json"
    tail -n 1 "$scratch/rows/events.jsonl" | grep -q '"Job failed\.' || fail "$1: event"
}
head -n 9 configs/quickstart/train.jsonl >"$scratch/rows.jsonl"
bad_data invalid_n_examples 'Training file has 9 example(s), but must have at least 10 examples'
{ head -n 11 configs/quickstart/train.jsonl && echo '{"messages": []}'; } >"$scratch/rows.jsonl"
bad_data invalid_training_file 'line 12'

# ---- an initial adapter brings its own shape; validation figures are events whatever log_every_steps says ----
sed 's/"rank": 4, "alpha": 8/"rank": 3, "init_adapter": "'"${scratch//\//\\/}"'\/a\/adapter", "log_every_steps": 100, "eval_every_steps": 3/' "$scratch/short.json" >"$scratch/initial.json"
"$lorac" train "$scratch/initial.json" --out "$scratch/initial" >"$scratch/out" 2>"$scratch/err" || fail "initial adapter"
grep -q 'warn lorac.rank: not used, lorac.init_adapter has its own' "$scratch/initial/log.txt" || fail "rank is not warned of"
grep -q '"r": 4' "$scratch/initial/adapter/adapter_config.json" || fail "rank of the initial adapter"
[ "$(grep -c '"type": "metrics"' "$scratch/initial/events.jsonl")" -eq 7 ] || fail "events of steps 1, 3, 6, 7, 9, 12, 14"

# ---- a reader that goes away does not end the training ----
"$lorac" train "$scratch/short.json" --out "$scratch/d" --json 2>"$scratch/err" | head -n 1 >/dev/null ||
    fail "exit status with a reader that goes away"
[ ! -s "$scratch/err" ] || fail "an error for a reader that goes away"
cmp "$scratch/a/adapter/adapter_model.safetensors" "$scratch/d/adapter/adapter_model.safetensors"

# ---- one signal: stopped, 75, how to go on; then the same bytes as without ----
"$lorac" train "$scratch/long.json" --out "$scratch/whole" >/dev/null || fail "long job"
for signal in TERM INT; do
    out=$scratch/stopped-$signal
    "$lorac" train "$scratch/long.json" --out "$out" >"$scratch/out" 2>"$scratch/err" &
    pid=$!
    wait_for "$out/resume"
    kill -$signal $pid
    status=0
    wait $pid || status=$?
    if [ $status -eq 0 ]; then
        echo "note: the job ended before the signal"
    else
        [ $status -eq 75 ] || fail "$signal: exit status $status"
        grep -qF "lorac train $scratch/long.json --out $out --resume" "$scratch/err" || fail "$signal: how to resume"
        "$lorac" train "$scratch/long.json" --out "$out" --resume >"$scratch/out" 2>"$scratch/err" || fail "resume"
    fi
    for file in adapter/adapter_model.safetensors adapter/adapter_config.json results.csv; do
        cmp "$scratch/whole/$file" "$out/$file"
    done
done

# ---- two signals: gone at once, and still to be resumed ----
# Both wait while the process is stopped, so that it finds them together, in the middle of a step.
out=$scratch/twice
"$lorac" train "$scratch/long.json" --out "$out" >"$scratch/out" 2>"$scratch/err" &
pid=$!
wait_for "$out/resume"
kill -STOP $pid && kill -TERM $pid && kill -INT $pid && kill -CONT $pid || echo "note: the job ended before"
status=0
wait $pid || status=$?
case $status in
130 | 143) ;;
0) echo "note: the job ended before the signals" ;;
*) fail "two signals: exit status $status" ;;
esac
"$lorac" train "$scratch/long.json" --out "$out" --resume >"$scratch/out" 2>"$scratch/err" || fail "resume after two signals"
cmp "$scratch/whole/adapter/adapter_model.safetensors" "$out/adapter/adapter_model.safetensors"

# ---- a signal in an evaluation (most of this job's time) loses no step: the resume measures the last one ----
sed 's/"checkpoint_every_steps": 5/"checkpoint_every_steps": 1000, "eval_every_steps": 1/; s/"n_epochs": 50/"n_epochs": 20/' \
    "$scratch/long.json" >"$scratch/watched.json"
"$lorac" train "$scratch/watched.json" --out "$scratch/watched" >/dev/null || fail "watched job"
for rows in 1 2 3 4 5; do
    out=$scratch/watched-$rows
    "$lorac" train "$scratch/watched.json" --out "$out" >"$scratch/out" 2>"$scratch/err" &
    pid=$!
    until [ "$(wc -l 2>/dev/null <"$out/results.csv")" -gt "$rows" ] 2>/dev/null; do sleep 0.01; done
    kill -TERM $pid 2>/dev/null || true
    status=0
    wait $pid || status=$?
    [ $status -eq 0 ] && continue
    done=$(($(wc -l <"$out/results.csv") - 1))
    [ -d "$out/resume/step-$done" ] || [ -d "$out/resume/step-$((done + 1))" ] || fail "$done rows: steps are lost"
    "$lorac" train "$scratch/watched.json" --out "$out" --resume >"$scratch/out" 2>"$scratch/err" || fail "resume"
    [ "$(ls "$out/resume")" = step-140 ] || fail "more than one checkpoint is left"
    for file in adapter/adapter_model.safetensors results.csv; do
        cmp "$scratch/watched/$file" "$out/$file"
    done
done

# ---- steps that are not finite are counted over a resume: the job fails at the same one ----
cp -r $golden "$scratch/nan"
printf '\000\000\300\177' | dd of="$scratch/nan/model/model.safetensors" bs=1 conv=notrunc 2>/dev/null \
    seek=$(($(stat -c %s "$scratch/nan/model/model.safetensors") - 4))
sed "s|$golden/model|$scratch/nan/model|; s/\"checkpoint_every_steps\": 5/\"checkpoint_every_steps\": 1/" \
    "$scratch/short.json" >"$scratch/nan.json"
"$lorac" train "$scratch/nan.json" --out "$scratch/nan-whole" >"$scratch/out" 2>"$scratch/err" && fail "not finite"
grep -q 'not finite in 3 steps in a row, the last one step 3 ' "$scratch/err" || fail "which steps"
for call in 130 145 160; do
    LORAC_FAULT=kill:$call "$lorac" train "$scratch/nan.json" --out "$scratch/nan-$call" >/dev/null 2>&1 || true
    "$lorac" train "$scratch/nan.json" --out "$scratch/nan-$call" --resume >"$scratch/out" 2>"$scratch/err" && fail "$call"
    cmp "$scratch/nan-whole/results.csv" "$scratch/nan-$call/results.csv"
done

# ---- a job whose files have changed is refused by name and left as it is; with them back it goes on ----
cp -r $golden "$scratch/files"
sed "s|$golden|$scratch/files|g" "$scratch/short.json" >"$scratch/changed.json"
LORAC_FAULT=kill:190 "$lorac" train "$scratch/changed.json" --out "$scratch/changed" >/dev/null 2>&1 || true
[ -e "$scratch/changed/resume" ] && [ ! -e "$scratch/changed/adapter" ] || fail "killed too early or late"
mkdir -p "$scratch/changed/dataset"
cp -r "$scratch/changed" "$scratch/changed-before"
touch "$scratch/changed/.job.json.tmp-1" "$scratch/changed/dataset/.training.safetensors.tmp-1" # of a killed process
for change in "data.safetensors:the training file has changed" "model/model.safetensors:the base model has changed"; do
    file=$scratch/files/${change%%:*}
    cp "$file" "$scratch/kept"
    [ "$file" = "$scratch/files/data.safetensors" ] && echo broken >"$file" ||
        printf '\001' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") - 1)) conv=notrunc 2>/dev/null
    status=0
    "$lorac" train "$scratch/changed.json" --out "$scratch/changed" --resume >"$scratch/out" 2>"$scratch/err" || status=$?
    [ $status -eq 2 ] && grep -q "${change#*:}" "$scratch/err" || fail "${change#*:}: exit status $status"
    diff -r -x .lock -x .reserve "$scratch/changed-before" "$scratch/changed" || fail "a refused resume changes the job"
    cp "$scratch/kept" "$file"
done
"$lorac" train "$scratch/changed.json" --out "$scratch/changed" --resume >"$scratch/out" 2>"$scratch/err" || fail "files back"
cmp "$scratch/a/results.csv" "$scratch/changed/results.csv"

# ---- a bar on a terminal ----
if command -v script >/dev/null; then
    for columns in 120 50; do
        COLUMNS=$columns TERM=xterm script -qec "'$lorac' train '$scratch/short.json' --out '$scratch/tty$columns'" \
            /dev/null >"$scratch/out" </dev/null || fail "on a terminal"
        grep -q 'step 14/14' "$scratch/out" || fail "no bar on a terminal"
    done
    grep -q '\[====' "$scratch/out" && fail "a bar on 50 columns"
    NO_COLOR=1 TERM=xterm script -qec "'$lorac' train '$scratch/short.json' --out '$scratch/tty0'" /dev/null \
        >"$scratch/out" </dev/null
    ! grep -q "$(printf '\033\\[3')" "$scratch/out" || fail "colours with NO_COLOR"
fi
echo "train: done"
