#!/usr/bin/env bash
# ctest: release
# The how-to's REST calls with curl, classic and v1, against lorac serve with the shipped base model: upload, create, events (GET
# and POST), checkpoints, results, deployment, chat, pause, resume, cancel, delete.
set -euo pipefail

lorac=${LORAC_BUILD_DIR:?}/lorac
root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
    rm -rf "$scratch"
}
trap cleanup EXIT
fail() { echo "FAILED: $*" >&2; tail -n 20 "$scratch/log" >&2; exit 1; }
command -v curl >/dev/null || { echo "no curl"; exit 77; }

"$lorac" serve --data "$scratch/data" --models "$root/models" --port 0 --running-jobs 1 --queued-per-key 1 --max-rank 16 --context 64 \
    >"$scratch/url" 2>"$scratch/log" &
server=$!
for _ in $(seq 50); do [ -s "$scratch/url" ] && break; sleep 0.1; done
url=$(cat "$scratch/url")
[ -n "$url" ] || fail "it did not start"
head -n 64 "$root/configs/quickstart/train.jsonl" >"$scratch/train.jsonl"
head -n 16 "$root/configs/quickstart/valid.jsonl" >"$scratch/valid.jsonl"

# call STATUS METHOD PATH [CURL ARGUMENTS...]: the body goes to $scratch/body.
call() {
    local expected=$1 method=$2 path=$3 status
    shift 3
    status=$(curl -sS -o "$scratch/body" -D "$scratch/head" -w '%{http_code}' -X "$method" "$url$path" -H "api-key: $scratch" "$@")
    [ "$status" = "$expected" ] || fail "$method $path gave $status, expected $expected: $(cat "$scratch/body")"
}
# A member of the last body, by a Python expression on it.
member() { python3 -c 'import json, sys; print(eval(sys.argv[2], {"body": json.load(open(sys.argv[1]))}))' "$scratch/body" "$1"; }

for family in "/openai/v1 200 " "/openai 201 ?api-version=2024-10-21"; do
    read -r base created query <<<"$family"
    call "$created" POST "$base/files$query" -H 'Content-Type: multipart/form-data' -F purpose=fine-tune -F "file=@$scratch/train.jsonl"
    training=$(member 'body["id"]')
    call "$created" POST "$base/files$query" -F purpose=fine-tune -F "file=@$scratch/valid.jsonl;type=application/json"
    validation=$(member 'body["id"]')
    for file in $training $validation; do
        for _ in $(seq 100); do
            call 200 GET "$base/files/$file$query"
            [ "$(member 'body["status"]')" = processed ] && break
            sleep 0.1
        done
        [ "$(member 'body["status"]')" = processed ] || fail "file: $(cat "$scratch/body")"
    done
    call 200 GET "$base/files/$training/content$query"
    cmp "$scratch/body" "$scratch/train.jsonl"
    call "$created" POST "$base/fine_tuning/jobs$query" -H 'Content-Type: application/json' -d "{
        \"model\": \"sprout-3m\", \"training_file\": \"$training\", \"validation_file\": \"$validation\", \"seed\": 105,
        \"hyperparameters\": {\"n_epochs\": 2, \"batch_size\": 8, \"learning_rate_multiplier\": null}, \"trainingType\": \"Standard\"}"
    job=$(member 'body["id"]')
    for _ in $(seq 600); do
        call 200 GET "$base/fine_tuning/jobs/$job$query"
        case $(member 'body["status"]') in succeeded | failed | cancelled) break ;; esac
        sleep 0.2
    done
    [ "$(member 'body["status"]')" = succeeded ] || fail "job: $(cat "$scratch/body")"
    model=$(member 'body["fine_tuned_model"]') results=$(member 'body["result_files"][0]')
    for method in GET POST; do
        call 200 $method "$base/fine_tuning/jobs/$job/events$query"
        [ "$(member 'body["object"], len(body["data"]) > 8')" = "('list', True)" ] || fail "events: $(cat "$scratch/body")"
        call 200 $method "$base/fine_tuning/jobs/$job/checkpoints$query"
        [ "$(member 'len(body["data"])')" = 2 ] || fail "checkpoints: $(cat "$scratch/body")"
    done
    call 200 GET "$base/files/$results/content$query"
    [ "$(head -n 1 "$scratch/body")" = step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy,full_valid_loss,full_valid_mean_token_accuracy ] ||
        fail "results: $(head -n 1 "$scratch/body")"
    name=tuned${base//\//-}
    call 201 PUT "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments/$name?api-version=2024-10-01" \
        -H 'Authorization: Bearer token' -H 'Content-Type: application/json' -d "{
        \"sku\": {\"name\": \"standard\", \"capacity\": 1},
        \"properties\": {\"model\": {\"format\": \"OpenAI\", \"name\": \"$model\", \"version\": \"1\"}}}"
    chat='"messages": [{"role": "user", "content": "Hi there! I need four trumpets in violet"}], "max_tokens": 12, "temperature": 0'
    call 200 POST "/openai/deployments/$name/chat/completions?api-version=2024-10-21" -H 'Content-Type: application/json' -d "{$chat}"
    answer=$(member 'body["choices"][0]["message"]["content"]')
    call 200 POST "/openai/v1/chat/completions" -H 'Content-Type: application/json' -d "{\"model\": \"$name\", $chat}"
    [ "$(member 'body["choices"][0]["message"]["content"]')" = "$answer" ] || fail "another answer: $(cat "$scratch/body")"
    call 200 POST "/openai/v1/chat/completions" -H 'Content-Type: application/json' -d "{\"model\": \"$name\", $chat, \"stream\": true}"
    [ "$(tail -n 2 "$scratch/body" | head -n 1)" = "data: [DONE]" ] || fail "stream: $(tail -n 3 "$scratch/body")"
    call 400 POST "$base/fine_tuning/jobs/$job/cancel$query"
    [ "$(member 'body["error"]["code"]')" = unexpectedEntityState ] || fail "cancel: $(cat "$scratch/body")"
    grep -qi '^x-request-id: ' "$scratch/head" && grep -qi '^apim-request-id: ' "$scratch/head" || fail "no request id"

    # A longer job: paused, resumed, cancelled, deleted.
    call "$created" POST "$base/fine_tuning/jobs$query" -H 'Content-Type: application/json' -d "{
        \"model\": \"$model\", \"training_file\": \"$training\", \"hyperparameters\": {\"n_epochs\": 50, \"batch_size\": 1}}"
    job=$(member 'body["id"]')
    until_status() {
        for _ in $(seq 600); do
            call 200 GET "$base/fine_tuning/jobs/$job$query"
            [ "$(member 'body["status"]')" = "$1" ] && return
            sleep 0.1
        done
        fail "not $1: $(cat "$scratch/body")"
    }
    until_status running
    for _ in $(seq 300); do
        call 200 GET "$base/fine_tuning/jobs/$job/events$query"
        [ "$(member 'any(e["type"] == "metrics" for e in body["data"])')" = True ] && break
        sleep 0.1
    done
    # One trains, one more may wait; a rank above --max-rank is refused, and more than the context's 64 tokens.
    other="\"model\": \"sprout-3m\", \"training_file\": \"$training\""
    call "$created" POST "$base/fine_tuning/jobs$query" -H 'Content-Type: application/json' -d "{$other, \"lorac\": {\"rank\": 16}}"
    waiting=$(member 'body["id"]')
    call 429 POST "$base/fine_tuning/jobs$query" -H 'Content-Type: application/json' -d "{$other}"
    call 200 POST "$base/fine_tuning/jobs/$waiting/cancel$query"
    call 400 POST "$base/fine_tuning/jobs$query" -H 'Content-Type: application/json' -d "{$other, \"lorac\": {\"rank\": 17}}"
    [ "$(member 'body["error"]["param"]')" = lorac.rank ] || fail "rank: $(cat "$scratch/body")"
    call 400 POST "/openai/v1/chat/completions" -H 'Content-Type: application/json' -d "{
        \"model\": \"sprout-3m\", \"messages\": [{\"role\": \"user\", \"content\": \"$(seq -s ' ' 100)\"}]}"
    [ "$(member 'body["error"]["param"]')" = messages ] || fail "context: $(cat "$scratch/body")"

    call 200 POST "$base/fine_tuning/jobs/$job/pause$query"
    until_status paused
    call 200 POST "$base/fine_tuning/jobs/$job/resume$query" -H 'Content-Type: application/json'
    until_status running
    call 200 POST "$base/fine_tuning/jobs/$job/cancel$query"
    until_status cancelled
    call 204 DELETE "$base/fine_tuning/jobs/$job$query"
    call 404 GET "$base/fine_tuning/jobs/$job$query"
    for line in "request id=[-0-9a-f]* method=POST route=/fine_tuning/jobs status=$created .* job=$job\$" \
        "request .* route=/fine_tuning/jobs/{job}/events .* job=$job\$" "job=$job trainer=[0-9]* started\$"; do
        grep -q " $line" "$scratch/log" || fail "the log has no line: $line"
    done
    call 200 DELETE "$base/files/$training$query"
    [ "$(member 'body["deleted"]')" = True ] || fail "delete: $(cat "$scratch/body")"
done
kill -TERM "$server"
wait "$server" || fail "it ended with $?"
server=

# ---- HTTPS, on an address that others could reach: with a key only ----
command -v openssl >/dev/null || { echo "both families; no openssl for HTTPS"; exit 0; }
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$scratch/key.pem" -out "$scratch/cert.pem" 2>/dev/null
options=(--data "$scratch/secure" --models "$root/models" --address 0.0.0.0 --port 0)
"$lorac" serve "${options[@]}" >/dev/null 2>"$scratch/log" && fail "it listens for others without a key"
grep -q 'lorac keys add' "$scratch/log" || fail "no hint at keys: $(cat "$scratch/log")"
key=$("$lorac" keys add ann --data "$scratch/secure" 2>/dev/null)
"$lorac" serve "${options[@]}" --tls-certificate "$scratch/key.pem" --tls-key "$scratch/cert.pem" >/dev/null 2>"$scratch/log" &&
    fail "it takes a key for a certificate"
: >"$scratch/url"
"$lorac" serve "${options[@]}" --tls-certificate "$scratch/cert.pem" --tls-key "$scratch/key.pem" >"$scratch/url" 2>"$scratch/log" &
server=$!
for _ in $(seq 50); do [ -s "$scratch/url" ] && break; sleep 0.1; done
url=https://localhost:$(sed 's/.*://' "$scratch/url")
secure() { curl -sS --cacert "$scratch/cert.pem" -o "$scratch/body" -w '%{http_code}' "$url/openai/v1/models" "$@"; }
[ "$(secure -H "Authorization: Bearer $key")" = 200 ] || fail "with a key: $(cat "$scratch/body")"
[ "$(secure)" = 401 ] || fail "without a key: $(cat "$scratch/body")"
"$lorac" keys revoke ann --data "$scratch/secure"
[ "$(secure -H "api-key: $key")" = 401 ] || fail "with a revoked key: $(cat "$scratch/body")"
echo "both families, HTTPS"
