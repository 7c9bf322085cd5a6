#!/usr/bin/env bash
# Training on several ranks, a process each, over the emulator's NCCL: against one process; in another order of NCCL's
# own; ranks that never come, or are killed; a stop that reaches all, and the resume after it; memory that just suffices.
# usage: ranks.sh same|missing|killed|stopped|memory
set -euo pipefail
cd "$LORAC_SOURCE_DIR"
lorac=$LORAC_BUILD_DIR/lorac
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT
export LC_ALL=C LORAC_THREADS=1 LORAC_COMM_TIMEOUT=120 TMPDIR=$scratch

fail() {
    echo "FAILED: $*"
    tail -n 5 "$scratch"/*.err 2>/dev/null
    exit 1
}
# job NAME ROWS EPOCHS BATCH: micro-batches so small that a step has several.
job() {
    head -n "$2" configs/quickstart/train.jsonl >"$scratch/$1.jsonl"
    head -n 10 configs/quickstart/valid.jsonl >"$scratch/valid.jsonl"
    cat >"$scratch/$1.json" <<JSON
{ "model": "models/sprout-3m", "training_file": "$scratch/$1.jsonl", "validation_file": "$scratch/valid.jsonl",
  "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": $3, "batch_size": $4}}},
  "lorac": {"rank": 4, "alpha": 8, "learning_rate": 0.002, "max_seq_len": 128, "micro_batch_tokens": 128,
            "device": "emu", "dtype": "fp32", "eval_every_steps": 4, "checkpoint_every_steps": 2 } }
JSON
    [ -z "${5:-}" ] || sed -i "s/\"method\"/\"seed\": $5, &/" "$scratch/$1.json"
}
# rank RANK SIZE PORT JOB OUT ARGUMENT...: one rank as torchrun would start it, in place of this shell.
rank() {
    local rank=$1 size=$2 port=$3 name=$4 out=$5
    shift 5
    RANK=$rank WORLD_SIZE=$size LOCAL_RANK=$rank MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
        exec "$lorac" train "$scratch/$name.json" --out "$scratch/$out" "$@" \
        >"$scratch/$out-$rank.out" 2>"$scratch/$out-$rank.err"
}
# start SIZE PORT JOB OUT ARGUMENT...: all ranks, in the background; their ids are in `pids`.
start() {
    pids=()
    for ((r = 0; r < $1; r++)); do
        rank "$r" "$@" &
        pids+=($!)
    done
}
# finish STATUS WHAT: all ranks end with this exit status.
finish() {
    local status
    for pid in "${pids[@]}"; do
        status=0
        wait "$pid" || status=$?
        [ "$status" -eq "$1" ] || fail "$2: exit $status, not $1"
    done
}
# close FILE FILE: the losses are within 1e-5 of each other, relatively.
close() {
    [ "$(wc -l <"$1")" -eq "$(wc -l <"$2")" ] || fail "$1 and $2 have other steps"
    paste -d, "$1" "$2" | awk -F, 'NR > 1 {
        half = NF / 2
        for (i = 1; i <= half; i++) {
            a = $i; b = $(i + half)
            if ((a == "") != (b == "")) exit 1
            difference = a - b; if (difference < 0) difference = -difference
            bound = b < 0 ? -b : b
            if (difference > 1e-5 * bound) { print "line " NR ": " a " and " b; exit 1 }
        }
    }' || fail "$1 and $2 differ"
}
wait_for() {
    for _ in $(seq 1200); do
        grep -q "$2" "$1" 2>/dev/null && return
        sleep 0.05
    done
    fail "$1 has no $2"
}

case $1 in
same) # 6 steps of several micro-batches, each rank some of them; a rank with another adapter would fail
    job same 12 3 6 7
    "$lorac" train "$scratch/same.json" --out "$scratch/one" >"$scratch/one.out" 2>"$scratch/one.err" || fail "one rank"
    start 4 29511 same four
    finish 0 "four ranks"
    [ "$(wc -l <"$scratch/four/results.csv")" -eq 7 ] || fail "not 6 steps"
    close "$scratch/four/results.csv" "$scratch/one/results.csv"
    grep -q '"world_size": 4' "$scratch/four/job.json" || fail "job.json does not know the ranks"
    for r in 1 2 3; do
        [ ! -s "$scratch/four-$r.out" ] || fail "rank $r prints"
        [ ! -s "$scratch/four-$r.err" ] || fail "rank $r complains"
    done
    EMU_NCCL_FIRST_RANK=2 start 4 29512 same other
    finish 0 "four ranks in another order"
    cmp "$scratch/four/results.csv" "$scratch/other/results.csv" || fail "the order of NCCL shows"
    cmp "$scratch/four/adapter/adapter_model.safetensors" "$scratch/other/adapter/adapter_model.safetensors" ||
        fail "the order of NCCL shows"
    # more ranks than examples in a step: some have nothing to do
    job few 12 1 2 7
    "$lorac" train "$scratch/few.json" --out "$scratch/few-one" >"$scratch/one.out" 2>"$scratch/one.err" || fail "few"
    start 3 29513 few few-three
    finish 0 "three ranks, two examples"
    close "$scratch/few-three/results.csv" "$scratch/few-one/results.csv"
    ;;
missing) # 1 of 2 ranks: an error when the deadline is over, which names what was waited for
    job missing 12 1 6 7
    export LORAC_COMM_TIMEOUT=2
    status=0
    begin=$SECONDS
    (rank 0 2 29522 missing alone) || status=$?
    [ $status -eq 1 ] || fail "a rank alone: exit $status"
    [ $((SECONDS - begin)) -le 30 ] || fail "the deadline took $((SECONDS - begin)) s"
    grep -q 'rank 0 of 2, waiting for all ranks at 127.0.0.1:29522: nothing came for 2 s' "$scratch/alone-0.err" ||
        fail "the error does not say what it waited for"
    # the CPU has no ranks
    sed -i 's/"emu"/"cpu"/' "$scratch/missing.json"
    status=0
    (rank 0 2 29523 missing cpu) || status=$?
    [ $status -eq 3 ] && grep -q 'torchrun started 2 ranks, but the device is cpu' "$scratch/cpu-0.err" || fail "cpu"
    # a variable that is missing
    status=0
    RANK=1 "$lorac" train "$scratch/missing.json" --out "$scratch/x" 2>"$scratch/x.err" >/dev/null || status=$?
    [ $status -eq 2 ] && grep -q 'WORLD_SIZE is not set' "$scratch/x.err" || fail "WORLD_SIZE"
    RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 MASTER_ADDR=h MASTER_PORT=9 "$lorac" doctor >"$scratch/doctor" || fail "doctor"
    grep -q '^launcher  *torchrun: rank 1 of 2, GPU 1; rank 0 at h:9 (MASTER_ADDR, MASTER_PORT)$' "$scratch/doctor" ||
        fail "doctor does not say the launcher"
    ;;
killed) # a rank that is gone ends the others
    job long 40 50 4 7
    start 3 29531 long out
    wait_for "$scratch/out/results.csv" '^2,'
    kill -KILL "${pids[1]}"
    wait "${pids[1]}" 2>/dev/null || true
    pids=("${pids[0]}" "${pids[2]}")
    finish 1 "the others"
    for r in 0 2; do
        grep -Eq "rank $r of 3, (sum of|rank 0 to all)" "$scratch/out-$r.err" || fail "rank $r does not say what it was doing"
    done
    grep -q '"status": "failed"' "$scratch/out/job.json" || fail "job.json does not say it"
    ;;
stopped) # SIGTERM at one rank stops all after the same step; the resume goes on with the same bytes
    job stop 12 3 4 # the seed is drawn by rank 0
    start 2 29541 stop whole --resume
    finish 0 "whole"
    drawn=$(sed -n 's/.*"seed": \([0-9]*\),$/\1/p' "$scratch/whole/job.json")
    job stop 12 3 4 "$drawn"
    start 2 29542 stop whole2
    finish 0 "whole"
    cmp "$scratch/whole/results.csv" "$scratch/whole2/results.csv" || fail "the drawn seed"
    for asked in 0 1; do
        start 2 $((29543 + 3 * asked)) stop "out$asked"
        wait_for "$scratch/out$asked/results.csv" '^3,'
        kill -TERM "${pids[asked]}"
        finish 75 "SIGTERM at rank $asked"
        start 2 $((29544 + 3 * asked)) stop "out$asked" --resume
        finish 0 "resume"
        cmp "$scratch/whole2/results.csv" "$scratch/out$asked/results.csv" || fail "resumed results"
        cmp "$scratch/whole2/adapter/adapter_model.safetensors" \
            "$scratch/out$asked/adapter/adapter_model.safetensors" || fail "resumed adapter"
        start 2 $((29545 + 3 * asked)) stop "out$asked" --resume
        finish 0 "nothing to do"
    done
    # another number of ranks goes on, and says so
    start 2 29551 stop less
    wait_for "$scratch/less/results.csv" '^3,'
    kill -TERM "${pids[0]}"
    finish 75 "SIGTERM"
    "$lorac" train "$scratch/stop.json" --out "$scratch/less" --resume >"$scratch/less.out" 2>"$scratch/less.err" ||
        fail "one rank goes on"
    grep -q 'goes on with 1 rank, it had 2 before' "$scratch/less.err" || fail "the change is not said"
    close "$scratch/less/results.csv" "$scratch/whole2/results.csv"
    ;;
memory) # what lorac plan says for two ranks is enough, and less is refused by both before the model is loaded
    job memory 12 1 6 7
    sed -i 's/"rank": 4/"rank": 64, "recompute": "none"/' "$scratch/memory.json"
    mib() { # RANKS
        "$lorac" plan "$scratch/memory.json" --ranks "$1" --json >"$scratch/plan"
        echo $(($(sed -n 's/.*"total_bytes": \([0-9]*\).*/\1/p' "$scratch/plan") / 1048576))
    }
    one=$(mib 1) two=$(mib 2)
    [ "$two" -gt $((one + 1)) ] || fail "two ranks are planned with $two MiB, one with $one"
    EMU_MEMORY_MB=$((two + 2)) start 2 29561 memory enough # whole MiB, and half a one that is there before the check
    finish 0 "memory as planned"
    EMU_MEMORY_MB=$two start 2 29562 memory short
    finish 1 "less than planned"
    for r in 0 1; do
        grep -q 'the job needs .* are there' "$scratch/short-$r.err" || fail "rank $r does not refuse"
    done
    EMU_MEMORY_MB=$two "$lorac" train "$scratch/memory.json" --out "$scratch/alone" >"$scratch/alone.out" \
        2>"$scratch/alone.err" || fail "one rank needs less"
    status=0
    sed -i 's/"emu"/"cpu"/' "$scratch/memory.json"
    "$lorac" plan "$scratch/memory.json" --ranks 2 2>"$scratch/cpu.err" >/dev/null || status=$?
    [ $status -eq 3 ] && grep -q 'several ranks need a GPU each' "$scratch/cpu.err" || fail "ranks on the CPU"
    ;;
*) fail "no test $1" ;;
esac
echo "$1: passed"
