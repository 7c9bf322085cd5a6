#!/usr/bin/env bash
# lorac validate: what it prints as text and as JSON, against tests/golden/validate (made by this script with --update), at
# any number of threads; its table of codes in the docs; the same words from train and tokenize.
set -euo pipefail
cd "$LORAC_SOURCE_DIR"
lorac=$LORAC_BUILD_DIR/lorac
golden=$PWD/tests/golden/validate
sprout=$PWD/models/sprout-3m
update=${1:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LC_ALL=C

fail() {
    echo "FAILED: $*"
    head -c 4000 "$scratch/out"
    head -c 2000 "$scratch/err"
    exit 1
}
# run STATUS ARGS...: runs lorac in the scratch directory, wants that exit status.
run() {
    local expected=$1 status=0
    shift
    (cd "$scratch" && "$lorac" "$@" >out 2>err </dev/null) || status=$?
    [ "$status" -eq "$expected" ] || fail "lorac $*: exit status $status, expected $expected"
}
out_has() { grep -qF -- "$1" "$scratch/out" || fail "standard output lacks: $1"; }
err_has() { grep -qF -- "$1" "$scratch/err" || fail "standard error lacks: $1"; }
# same NAME: standard output is what it was.
same() {
    if [ "$update" = --update ]; then cp "$scratch/out" "$golden/$1"; fi
    diff -u "$golden/$1" "$scratch/out" || fail "$1 differs (bash tests/e2e/validate.sh --update makes it anew)"
}

# ---- a file with a little of everything ----
user='{"role": "user", "content": "Wind at the pier?"}'
answer='{"role": "assistant", "content": "12 knots."}'
call='{"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_wind", "arguments": "{\"place\": \"pier\"}"}}]}'
tools='"tools": [{"type": "function", "function": {"name": "get_wind", "parameters": {"type": "object"}}}]'
{
    printf '\xef\xbb\xbf'
    for i in 1 2 3 4 5 6; do printf '{"messages": [{"role": "user", "content": "Say %d"}, %s]}\n' $i "$answer"; done
    echo "{\"messages\": [$user, $call, {\"role\": \"tool\", \"tool_call_id\": \"c1\", \"content\": \"12\"}, $answer], $tools}"
    printf '{"messages": [%s, %s]}\r\n' "$user" "$answer"
    echo
    echo "{\"messages\": [$user, $answer]}"
    echo "{\"messages\": [$user, {\"role\": \"robot\", \"content\": \"x\"}]}"
    echo "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}], \"weight\": 1}, $answer]}"
    echo "{\"messages\": [$user, $call, $user, $answer], \"id\": 17}"
    echo "{\"messages\": [$user, $answer]"
    printf '{"messages": [%s, {"role": "assistant", "content": "\xe9"}]}\n' "$user"
    for i in $(seq 12); do echo '{"messages": []}'; done
} >"$scratch/mixed.jsonl"
run 3 validate mixed.jsonl
err_has 'mixed.jsonl has '
same mixed.txt
run 3 validate mixed.jsonl --json
same mixed.json
for threads in 1 3 16; do
    run 3 validate mixed.jsonl --json --threads $threads
    same mixed.json
done

# ---- tokens ----
{
    for i in $(seq 20); do printf '{"messages": [{"role": "user", "content": "Say %d"}, %s]}\n' $i "$answer"; done
    echo "{\"messages\": [$user, {\"role\": \"assistant\", \"content\": \"$(printf 'so many words %.0s' $(seq 60))\"}]}"
} >"$scratch/tokens.jsonl"
run 0 validate tokens.jsonl --model "$sprout"
same tokens.txt
run 0 validate tokens.jsonl --model "$sprout" --max-seq-len 100 --json --threads 2
same tokens.json

# ---- the other methods ----
dpo="{\"input\": {\"messages\": [$user]}, \"preferred_output\": [$answer], \"non_preferred_output\": [{\"role\": \"assistant\", \"content\": \"No.\"}]}"
for i in $(seq 10); do echo "${dpo/pier/pier $i}"; done >"$scratch/dpo.jsonl"
for i in $(seq 10); do echo "{\"messages\": [${user/pier/pier $i}], \"target\": $i}"; done >"$scratch/rft.jsonl"
run 0 validate dpo.jsonl --method dpo
out_has 'this version trains "supervised" only'
run 0 validate rft.jsonl --method reinforcement
out_has 'note: reinforcement jobs need a validation file'
run 3 validate dpo.jsonl
out_has 'the row is in the format of method dpo: give --method dpo'
run 3 validate rft.jsonl --json
out_has 'give --method reinforcement'
run 3 validate tokens.jsonl --method dpo
out_has 'give --method supervised'
run 2 validate tokens.jsonl --method sft
run 2 validate tokens.jsonl --chat-template none.jinja
err_has 'go with --model'
run 2 validate
err_has 'FILE is missing'

# ---- JSON also when the file or a line is out of reach ----
{ cat "$scratch/tokens.jsonl"; head -c 16777217 /dev/zero | tr '\0' x; echo; } >"$scratch/long.jsonl"
run 3 validate long.jsonl --json
out_has '"code": "line_too_long", "severity": "error", "count": 1'
out_has '"line": 22'
run 3 validate none.jsonl --json
out_has '"valid": false, "error_count": 1'
out_has '"code": "file_unreadable"'
err_has 'No such file'
mkdir "$scratch/folder.jsonl"
status=0; (cd "$scratch" && "$lorac" validate folder.jsonl --json >out 2>err) || status=$?
[ $status -ne 0 ] || fail "a directory is validated"
out_has '"code": "file_unreadable"'

# ---- the table ----
run 0 validate --codes
sed -n '/^| code | severity/,/^$/p' docs/data-files.md | sed '/^$/d' >"$scratch/docs"
diff -u "$scratch/docs" "$scratch/out" || fail "docs/data-files.md has another table of codes than lorac validate --codes"

# ---- the same words where rows are used ----
run 3 tokenize mixed.jsonl --model "$sprout" --out mixed.safetensors
err_has 'messages[1].role: "robot" is not one of system, developer, user, assistant, tool, function [unknown_role]; '
err_has 'line 12, messages[0].content[0].type: the part is an image ("image_url") [image_unsupported]; messages[0].weight'
err_has ' more: see lorac validate'
cat >"$scratch/job.json" <<JSON
{ "model": "$sprout", "training_file": "$scratch/mixed.jsonl", "lorac": {"rank": 1} }
JSON
if [ -f "$sprout/model.safetensors" ]; then
    run 3 train job.json --out run
    err_has '[unknown_role]; '
    grep -q '"code":"invalid_training_file"\|"code": "invalid_training_file"' "$scratch/run/job.json" || fail "job.json"
fi
echo "validate"
