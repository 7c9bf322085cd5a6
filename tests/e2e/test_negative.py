#!/usr/bin/env python3
# ctest: release
"""Requests that are wrong in every way we could think of, at least 500 of them: each gets a 4xx that clients do not send again, with
the error body that all of them read, and the server is none the worse for it.

usage: test_negative.py      needs LORAC_BUILD_DIR
"""
import json
import sys
import time

from serve_support import BASE, Server, ask, expect, form, main, make_key, rows, upload

LEAST = 500
RETRIED = (408, 409, 429)  # what OpenAI's SDK sends again
NO_JOB, NO_FILE, NO_UPLOAD = "ftjob-" + "0" * 32, "file-" + "0" * 32, "upload_" + "0" * 32
BAD_IDS = ["x", "ftjob-", "file-" + "g" * 32, "..", "%2e%2e%2fetc%2fpasswd", "%00", "%ff", "a" * 300, "'; DROP TABLE jobs; --".replace(" ", "%20"),
           "ftjob-" + "0" * 31, "ftjob-" + "0" * 33, "FTJOB-" + "0" * 32]
NOT_NUMBERS = ["x", [], {}, True, "1e999", ""]
ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments"


class Attack:
    """Counts what was sent and what was not refused as it should be."""
    def __init__(self, server):
        self.server, self.count, self.wrong = server, 0, []

    def send(self, method, path, body=None, headers=None, statuses=None):
        """One request that must be refused."""
        try:
            status, got, parsed = ask(method, self.server.url + path, body, headers)
        except (OSError, ValueError) as error:
            self.wrong.append(f"{method} {path}: {error!r}")
            return
        self.count += 1
        text = body if isinstance(body, bytes) else json.dumps(body)
        what = f"{method} {path} {text[:200] if text else ''}: {status} {str(parsed)[:200]}"
        if not 400 <= status < 500 or status in RETRIED or (statuses and status not in statuses):
            self.wrong.append(what)
        elif status not in (414, 431):  # those are the HTTP library's own, without our body
            error = parsed.get("error") if isinstance(parsed, dict) else None
            whole = isinstance(error, dict) and set(error) == {"code", "message", "param", "type"} and error["message"]
            if not whole or "x-request-id" not in {name.lower() for name in got.keys()}:
                self.wrong.append(f"not the error body: {what}")


def attack_paths(attack):
    for family in ("/openai/v1", "/openai", "/v1", "/api/projects/p/openai/v1"):
        for path in ("", "/", "/nothing", "/files/x/y", "/fine_tuning", "/fine_tuning/jobs/x/nothing", "/files//content"):
            attack.send("GET", family + path, statuses=(400, 404))
        for method, path in (("PATCH", "/files"), ("PUT", "/fine_tuning/jobs"), ("DELETE", "/files"), ("POST", "/models"),
                             ("GET", f"/fine_tuning/jobs/{NO_JOB}/cancel"), ("DELETE", "/chat/completions"), ("TRACE", "/files")):
            attack.send(method, family + path, statuses=(405,))
    for query in ("limit=0", "limit=-1", "limit=x", "limit=1e3", "limit=99999999999999999999", "limit=1&limit=%00", "after=%ff", "order=up"):
        attack.send("GET", f"/openai/v1/files?{query}", statuses=(400,))
    for query in ("limit=0", "limit=x", "limit=%31%30%30%30%31", "after=%c3%28"):
        attack.send("GET", f"/openai/v1/fine_tuning/jobs?{query}", statuses=(400,))
    attack.send("GET", "/openai/v1/files?" + "&".join(f"m{i}=1" for i in range(65)), statuses=(400,))
    attack.send("GET", "/openai/v1/files/" + "a" * 5000, statuses=(414,))
    attack.send("GET", "/openai/v1/files", headers={"X-Long": "a" * 40000}, statuses=(431,))
    attack.send("GET", "/openai/v1/files", headers={"Host": "evil.example"}, statuses=(403,))
    attack.send("GET", "/openai/v1/files", headers={"Origin": "http://evil.example"}, statuses=(403,))


def attack_ids(attack):
    for bad in BAD_IDS + [NO_JOB, NO_FILE]:
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/pause"), ("POST", "/resume"),
                             ("GET", "/events"), ("POST", "/events"), ("GET", "/checkpoints")):
            attack.send(method, f"/openai/v1/fine_tuning/jobs/{bad}{path}", statuses=(400, 404))
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
            attack.send(method, f"/openai/v1/files/{bad}{path}", statuses=(400, 404))
        attack.send("GET", f"/openai/v1/models/{bad}", statuses=(400, 404))
        attack.send("DELETE", f"/openai/v1/models/{bad}", statuses=(400, 404))
        attack.send("GET", f"/openai/deployments/{bad}", statuses=(400, 404))


def attack_jobs(attack, file, pending_job):
    good = {"model": BASE, "training_file": file}

    def method(**hyperparameters):
        return {**good, "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}}

    bodies = [{}, {"model": BASE}, {"training_file": file}, {**good, "model": None}, {**good, "model": "nobody"},
              {**good, "model": "../models/" + BASE}, {**good, "model": 5}, {**good, "training_file": NO_FILE},
              {**good, "training_file": 5}, {**good, "training_file": "../../etc/passwd"}, {**good, "validation_file": NO_FILE},
              {**good, "validation_file": []}, {**good, "suffix": "a.b"}, {**good, "suffix": "x" * 65}, {**good, "suffix": 5},
              {**good, "suffix": "ü"}, {**good, "seed": 2**31}, {**good, "seed": 1.5}, {**good, "seed": "7"},
              {**good, "metadata": {"k" * 65: "v"}}, {**good, "metadata": {"k": "v" * 513}}, {**good, "metadata": {"k": 5}},
              {**good, "metadata": {str(i): "" for i in range(17)}}, {**good, "metadata": []}, {**good, "integrations": {}},
              {**good, "trainingType": "Slow"}, {**good, "trainingType": []},
              {**good, "method": {"type": "dpo", "dpo": {}}}, {**good, "method": {"type": "reinforcement"}},
              {**good, "method": {"type": "other"}}, {**good, "method": {}}, {**good, "method": []}, {**good, "method": {"type": 5}},
              {**good, "method": {"type": "supervised", "supervised": []}}, {**good, "nothing": 1}, {**good, "lorac": {"rank": 0}},
              {**good, "lorac": {"nothing": 1}}, {**good, "lorac": {"init_adapter": "/tmp"}}, {**good, "lorac": []},
              {**good, "lorac": {"chat_template": "/etc/passwd"}}, {**good, "lorac": {"max_seq_len": -5}}]
    for name, low, high in (("n_epochs", 0, 51), ("batch_size", 0, 257), ("learning_rate_multiplier", 0, 1e400)):
        for value in [low, high, *NOT_NUMBERS]:
            if value == 1e400:
                value = -0.5
            bodies += [method(**{name: value}), {**good, "hyperparameters": {name: value}}]
    bodies += [method(nothing=1), {**good, "hyperparameters": []}, {**good, "hyperparameters": {"nothing": 1}}]
    for body in bodies:
        attack.send("POST", "/openai/v1/fine_tuning/jobs", body, statuses=(400, 404))
    for text in (b"", b"{", b"[]", b"null", b'{"model": "a", "model": "b"}', b'{"a": \xff}', b"[" * 100 + b"]" * 100, b'{"a": 1e999}',
                 b'{"a": 1} x', json.dumps(good).encode() + b"\x00"):
        attack.send("POST", "/openai/v1/fine_tuning/jobs", text, statuses=(400,))
    attack.send("POST", "/openai/v1/fine_tuning/jobs", b" " * (4 * 2**20 + 1), statuses=(413,))
    for action in ("pause", "resume"):
        attack.send("POST", f"/openai/v1/fine_tuning/jobs/{pending_job}/{action}", statuses=(400,))
    attack.send("DELETE", f"/openai/v1/fine_tuning/jobs/{pending_job}", statuses=(400,))


def attack_files(attack):
    purpose = b'Content-Disposition: form-data; name="purpose"\r\n\r\nfine-tune'
    data = b'Content-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}'
    kind = "multipart/form-data; boundary=b"
    cases = [("application/json", b"{}"), ("multipart/form-data", b""), (kind, b""), (kind, form(b"b")), (kind, form(b"b", purpose)),
             (kind, form(b"b", data)), (kind, form(b"b", purpose, data, end=False)), (kind, form(b"c", purpose, data)),
             (kind, form(b"b", purpose.replace(b"fine-tune", b"other"), data)), (kind, form(b"b", purpose.replace(b"fine-tune", b""), data)),
             (kind, form(b"b", purpose, purpose, data)), (kind, form(b"b", purpose, data, data)),
             (kind, form(b"b", purpose, data.replace(b"{}", b""))), (kind, form(b"b", purpose, data.replace(b"a.jsonl", b""))),
             (kind, form(b"b", purpose, data.replace(b"a.jsonl", b".."))), (kind, form(b"b", purpose, data.replace(b"a.jsonl", b"x" * 300))),
             (kind, form(b"b", purpose, b"no header at all")), (kind, form(b"b", purpose, b"\r\n\r\n")),
             ("multipart/form-data; boundary=" + "b" * 71, form(b"b" * 71, purpose, data)),
             (kind, form(b"b", purpose, data, b'Content-Disposition: form-data; name="expires_after[seconds]"\r\n\r\n5')),
             (kind, form(b"b", purpose, data, b'Content-Disposition: form-data; name="expires_after[anchor]"\r\n\r\nnow')),
             (kind, form(b"b", purpose.replace(b"fine-tune", b"fine-tune-results"), data)),
             ("multipart/form-data; boundary=", form(b"", purpose, data)), ("multipart/form-data; boundary=\"b", form(b"b", purpose, data)),
             (kind, b"x" * 100000), (kind, form(b"b", b"A: " + b"x" * 20000, data))]
    for family in ("/openai/v1", "/openai"):
        for content_type, body in cases:
            attack.send("POST", f"{family}/files", body, {"Content-Type": content_type}, statuses=(400, 413))
    good = {"bytes": 10, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    for name in good:
        for value in (5.5, [], -1, 10**30) + (() if name == "mime_type" else (None, "")):
            attack.send("POST", "/openai/v1/uploads", {**good, name: value}, statuses=(400, 413))
    for path, method in ((f"/uploads/{NO_UPLOAD}/parts", "POST"), (f"/uploads/{NO_UPLOAD}/complete", "POST"), (f"/uploads/{NO_UPLOAD}/cancel", "POST")):
        attack.send(method, "/openai/v1" + path, {"part_ids": []}, statuses=(400, 404))
    for body in ({}, {"purpose": "fine-tune"}, {"purpose": "fine-tune", "filename": "a", "content_url": "http://127.0.0.1/x"},
                 {"purpose": "fine-tune", "filename": "a", "content_url": "file:///etc/passwd"}):
        attack.send("POST", "/openai/files/import?api-version=2024-10-21", body, statuses=(400, 403, 404))


def attack_chat(attack):
    messages = [{"role": "user", "content": "hi"}]
    good = {"model": BASE, "messages": messages, "max_tokens": 1}
    bodies = [{}, {"model": BASE}, {"messages": messages}, {**good, "model": "nobody"}, {**good, "model": ""}, {**good, "model": []},
              {**good, "messages": []}, {**good, "messages": "hi"}, {**good, "messages": [1]}, {**good, "messages": [{}]},
              {**good, "messages": [{"role": "user"}]}, {**good, "messages": [{"role": "", "content": "x"}]},
              {**good, "messages": [{"role": "user", "content": {}}]}, {**good, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
              {**good, "messages": messages * 2049}, {**good, "messages": [{"role": "user", "content": "x " * 40000}]},
              {**good, "tools": "x"}, {**good, "tools": [{}]}, {**good, "tools": [{"type": "function"}] * 129}, {**good, "tool_choice": "required"},
              {**good, "response_format": {"type": "json_object"}}, {**good, "stream_options": {}}, {**good, "functions": []},
              {**good, "top_logprobs": 3}, {**good, "stop": [""]}, {**good, "stop": ["x"] * 5}, {**good, "stop": "x" * 257},
              {**good, "logit_bias": []}, {**good, "nothing": 1}, {**good, "stream": 1}, {**good, "max_completion_tokens": 2}]
    for name, values in (("temperature", [-0.1, 2.1]), ("top_p", [-0.1, 1.1]), ("n", [0, 17, 1.5]), ("max_tokens", [0, -1, 1.5, 10**20]),
                         ("seed", [1.5, 10**30]), ("presence_penalty", [-2.1, 2.1]), ("frequency_penalty", [3])):
        bodies += [{**good, name: value} for value in values + NOT_NUMBERS]
    for body in bodies:
        for path in ("/openai/v1/chat/completions", f"/openai/deployments/{BASE}/chat/completions?api-version=2024-10-21"):
            if "deployments" in path and (body.get("model", 1) != BASE):
                continue
            attack.send("POST", path, body, statuses=(400, 404))
    attack.send("POST", "/openai/deployments/nobody/chat/completions", good, statuses=(404,))


def attack_deployments(attack):
    good = {"properties": {"model": {"format": "OpenAI", "name": BASE, "version": "1"}}}
    for body in ({}, {"properties": 5}, {"properties": {}}, {"properties": {"model": {}}}, {"properties": {"model": {"name": "nobody"}}},
                 {"properties": {"model": {"name": 5}}}, {**good, "sku": 5}, {**good, "sku": {"name": "x" * 600}}):
        attack.send("PUT", f"{ARM}/d", body, statuses=(400, 404))
    for name in ("a%20b", "a%2fb", "x" * 65, "%c3%bc"):
        attack.send("PUT", f"{ARM}/{name}", good, statuses=(400,))
    for body in ({}, {"model": 5}, {"model": "nobody"}, {"model": BASE, "name": "a b"}, {"model": BASE, "name": ""}, {"model": BASE, "name": 5}):
        attack.send("POST", "/openai/deployments", body, statuses=(400, 404))


def attack_as_other(attack, file, job, keys):
    """What one key has made, asked for with another; and no key at all."""
    other = {"api-key": keys[1]}
    for method, path in (("GET", f"/files/{file}"), ("GET", f"/files/{file}/content"), ("DELETE", f"/files/{file}"),
                         ("GET", f"/fine_tuning/jobs/{job}"), ("POST", f"/fine_tuning/jobs/{job}/cancel"), ("DELETE", f"/fine_tuning/jobs/{job}"),
                         ("GET", f"/fine_tuning/jobs/{job}/events"), ("GET", f"/fine_tuning/jobs/{job}/checkpoints")):
        attack.send(method, "/openai/v1" + path, headers=other, statuses=(404,))
    attack.send("POST", "/openai/v1/fine_tuning/jobs", {"model": BASE, "training_file": file}, other, statuses=(400, 404))
    for headers in ({"api-key": "x"}, {"api-key": ""}, {"api-key": keys[0][:-1]}, {"api-key": keys[0] + "x"}, {"api-key": "x" * 300},
                    {"api-key": "", "Authorization": "Bearer x"}, {"api-key": "", "Authorization": "Basic " + keys[0]}):
        for path in ("/openai/v1/files", "/openai/v1/models", "/metrics"):
            attack.send("GET", path, headers=headers, statuses=(401,))


def waiting_jobs(server, file, key):
    """Jobs so long that the last of them waits for a place all the time; the waiting one, and all."""
    jobs = []
    for _ in range(2):
        status, _, job = ask("POST", server.url + "/openai/v1/fine_tuning/jobs",
                             {"model": BASE, "training_file": file, "hyperparameters": {"n_epochs": 50, "batch_size": 1}}, {"api-key": key})
        expect(status == 200, f"create gave {status} {job}")
        jobs.append(job["id"])
    return jobs[-1], jobs


def finish(server, attack, jobs, key):
    for job in jobs:
        status, _, body = ask("POST", f"{server.url}/openai/v1/fine_tuning/jobs/{job}/cancel", headers={"api-key": key})
        expect(status == 200, f"cancel gave {status} {body}")
    for job in jobs:
        for _ in range(300):
            if ask("GET", f"{server.url}/openai/v1/fine_tuning/jobs/{job}", headers={"api-key": key})[2]["status"] == "cancelled":
                break
            time.sleep(0.1)
        for action in ("cancel", "pause", "resume"):
            attack.send("POST", f"/openai/v1/fine_tuning/jobs/{job}/{action}", headers={"api-key": key}, statuses=(400,))


def report(server, attack):
    print(f"{attack.count} requests, {len(attack.wrong)} not refused as they should be")
    for line in attack.wrong[:40]:
        print("  ", line)
    expect(not attack.wrong, "see above")
    expect(ask("GET", server.url + "/healthz")[0] == 200, "the server is not well")
    expect("lorac_http_requests_total" in ask("GET", server.url + "/metrics")[2].decode(), "no metrics")


def test_negative():
    with Server(options=["--running-jobs", "1"]) as server:
        attack = Attack(server)
        file = upload(server, rows("train.jsonl", 32))
        waiting, jobs = waiting_jobs(server, file, "test")
        attack_paths(attack)
        attack_ids(attack)
        attack_jobs(attack, file, waiting)
        attack_files(attack)
        attack_chat(attack)
        attack_deployments(attack)
        finish(server, attack, jobs, "test")
        report(server, attack)
        return attack.count


def test_keys():
    with Server(options=["--running-jobs", "1"]) as server:
        keys = [make_key(server, name) for name in ("ann", "bob")]
        attack = Attack(server)
        file = upload(server, rows("train.jsonl", 32), {"api-key": keys[0]})
        job, jobs = waiting_jobs(server, file, keys[0])
        attack_as_other(attack, file, job, keys)
        finish(server, attack, jobs, keys[0])
        print(f"{attack.count} requests, {len(attack.wrong)} not refused as they should be")
        expect(not attack.wrong, "; ".join(attack.wrong[:10]))
        return attack.count


def test_all():
    count = test_negative() + test_keys()
    expect(count >= LEAST, f"only {count} requests")


if __name__ == "__main__":
    sys.exit(main([test_all]))
