"""One story that uses all of the API on a live server, and what was seen on the way: surface.py asks that record about each row
of the contract. Every answer is held against the description (api_document.py): its status, its type, its body.
"""

import hashlib
import json
import os
import re
import time
import urllib.parse

import jsonschema

import api_document
from serve_support import BASE, FORM, Failed, ask, expect, form, make_key, part, rows

V1, CLASSIC, ROOT = "/openai/v1", "/openai", ""
SECONDS = 240
ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments"
PROMPT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "I need ten berries in green, shipped to Ghent."},
]
TOOL = {
    "type": "function",
    "function": {"name": "order", "description": "Orders.", "parameters": {"type": "object", "properties": {}}},
}
ENDED = ("succeeded", "failed", "cancelled")


def leaves(value, prefix=""):
    """Paths of the members of a JSON value: "method.type", "choices[].index"."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield f"{prefix}{key}", member
            yield from leaves(member, f"{prefix}{key}.")
    elif isinstance(value, list):
        for member in value:
            yield from leaves(member, prefix[:-1] + "[]." if prefix else "[].")


class Record:
    """What was sent and accepted, what was answered, what did not fit the description."""

    def __init__(self):
        self.document = api_document.document()
        self.patterns = [(path, re.compile("^" + re.sub(r"{\w+}", "[^/]+", path) + "$")) for path in self.document["paths"]]
        self.validators, self.misfits = {}, []
        self.answered, self.sent, self.seen, self.codes, self.headers = set(), {}, {}, set(), {}

    def pattern(self, path):
        """The most literal pattern that a path fits."""
        fitting = [pattern for pattern, expression in self.patterns if expression.match(path)]
        return min(fitting, key=lambda pattern: pattern.count("{"), default=None)

    def validator(self, schema):
        key = json.dumps(schema, sort_keys=True)
        if key not in self.validators:
            self.validators[key] = jsonschema.Draft202012Validator({**schema, "components": self.document["components"]})
        return self.validators[key]

    def hold(self, what, schema, value):
        for error in self.validator(schema).iter_errors(value):
            self.complain(f"{what}: {error.json_path}: {error.message[:200]}")

    def complain(self, misfit):
        if misfit not in self.misfits:
            self.misfits.append(misfit)

    def note(self, value):
        """Values of members, by the kind of object that has them."""
        if isinstance(value, list):
            for member in value:
                self.note(member)
        elif isinstance(value, dict):
            items = value.get("data" if value.get("object") == "list" else "value")
            kind = value.get("object") or ("error" if "code" in (value.get("error") or ()) else "arm")
            for path, member in value.items() if items is not None else leaves(value):
                self.seen.setdefault(kind, {}).setdefault(path, []).append(member)
            self.note(items)

    def answer(self, method, family, path, status, headers, body, sent):
        pattern = self.pattern(path)
        operation = self.document["paths"].get(pattern, {}).get(method.lower())
        where = f"{method} {family}{pattern}"
        self.headers.setdefault(status, set()).update(name.lower() for name in headers.keys())
        if status >= 400 and isinstance(body, dict):
            self.codes.add((status, body["error"]["code"]))
        if operation is None:
            return
        self.answered.add((method, pattern, family, status))
        if status < 300:
            self.sent.setdefault((method, pattern), set()).update(sent)
        described = operation["responses"].get(str(status))
        if described is None:
            self.complain(f"{where}: status {status}")
            return
        if "$ref" in described:
            described = self.document["components"]["responses"][described["$ref"].rsplit("/", 1)[1]]
        kind = (headers.get("Content-Type") or "").split(";")[0]
        content = described.get("content", {})
        if content and kind not in content:
            self.complain(f"{where}: {status} of type {kind}")
        elif "schema" in content.get(kind, ()):
            self.hold(f"{where}: {status}", content[kind]["schema"], body)


class Story:
    def __init__(self, server):
        self.server, self.record = server, Record()
        self.facts = {}  # what only the story can know, by name

    # ---- requests ----

    def call(self, method, path, body=None, family=V1, headers=None, query="", sent=()):
        """(status, headers, body) of one request, recorded; `sent` are the fields of a form or a query."""
        query = f"{query}&api-version=2025-04-01-preview" if family == CLASSIC else query
        url = f"{self.server.url}{family}{path}{'?' + query if query else ''}"
        status, got, answer = ask(method, url, body, headers)
        fields = list(sent) + [name for name, _ in urllib.parse.parse_qsl(query)]
        fields += [name for name, _ in leaves(body)] if isinstance(body, dict) else []
        if isinstance(answer, bytes) and answer.startswith(b"data: "):
            answer = self.chunks(answer)
        self.record.answer(method, family, path, status, got, answer, fields)
        self.record.note(answer)
        return status, got, answer

    def chunks(self, text):
        events = [line[len("data: ") :] for line in text.decode().split("\n\n") if line]
        expect(events[-1] == "[DONE]", f"a stream ends with {events[-1]!r}")
        parsed = [json.loads(event) for event in events[:-1]]
        for chunk in parsed:
            self.record.hold("a chunk", api_document.ref("ChatCompletionChunk"), chunk)
        return parsed

    def ok(self, method, path, body=None, statuses=(200,), **options):
        status, _, answer = self.call(method, path, body, **options)
        expect(status in statuses, f"{method} {path} gave {status}: {answer}")
        return answer

    def create(self, path, body, family=V1, **options):
        return self.ok("POST", path, body, statuses=(201,) if family == CLASSIC else (200,), family=family, **options)

    def until(self, path, is_done, what):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            answer = self.ok("GET", path)
            if is_done(answer):
                return answer
            time.sleep(0.1)
        raise Failed(f"{path} is not {what} after {SECONDS} s: {answer}")

    # ---- files ----

    def upload(self, data, purpose="fine-tune", filename="train.jsonl", family=V1, **fields):
        fields = {name.replace("__", "[") + ("]" if "__" in name else ""): value for name, value in fields.items()}
        body = form(
            b"b", part("purpose", purpose), *[part(name, value) for name, value in fields.items()], part("file", data, filename)
        )
        file = self.create("/files", body, family=family, headers=FORM, sent=["file", "purpose", *fields])
        return self.until(f"/files/{file['id']}", lambda now: now["status"] != "pending", "checked")

    def files(self):
        train = rows("train.jsonl", 64)
        self.training = self.upload(train, expires_after__anchor="created_at", expires_after__seconds="1209600")
        self.validation = self.upload(
            rows("valid.jsonl", 16), filename="valid.jsonl", family=CLASSIC, anchor="created_at", seconds="2592000"
        )
        expect(self.training["status"] == self.validation["status"] == "processed", f"files: {self.training}, {self.validation}")
        expect(
            self.training["expires_at"] == self.training["created_at"] + 1209600, f"it expires at {self.training['expires_at']}"
        )
        bad = self.upload(b"{\n", filename="bad.jsonl")
        others = [self.upload(b"x", purpose, "x.txt") for purpose in ("assistants", "batch", "evals")]
        page = self.ok("GET", "/files", query="limit=2&order=desc")
        expect(page["has_more"] and page["last_id"] == page["data"][1]["id"], f"a page of two: {page}")
        page = self.ok("GET", "/files", query=f"after={page['last_id']}&limit=1&purpose=evals")
        expect(page["data"] == [], f"after the evals file: {page}")
        content = self.ok("GET", f"/files/{self.training['id']}/content")
        expect(content == train, "the content is another")
        self.ok("DELETE", f"/files/{others[0]['id']}")
        self.call("GET", f"/files/{others[0]['id']}")
        status, _, error = self.call(
            "POST", "/files", form(b"b", part("purpose", "vision"), part("file", b"x", "x")), headers=FORM
        )
        expect(status == 400 and error["error"]["param"] == "purpose", f"purpose vision: {status} {error}")
        body = {
            "purpose": "fine-tune",
            "filename": "far.jsonl",
            "content_url": "https://127.0.0.1/far.jsonl",
            "expires_after": {"anchor": "created_at", "seconds": 1209600},
        }
        far = self.create("/files/import", body, family=CLASSIC)
        expect(far["status"] == "pending", f"an import begins as {far}")
        far = self.until(f"/files/{far['id']}", lambda now: now["status"] != "pending", "imported")
        expect(far["status"] == "error" and far["bytes"] is None, f"an import from this machine: {far}")
        for file in (bad, far):
            self.call("POST", "/fine_tuning/jobs", {"model": BASE, "training_file": file["id"]})
        self.uploads(train)

    def uploads(self, data):
        begin = {"bytes": len(data), "filename": "big.jsonl", "mime_type": "application/jsonl", "purpose": "fine-tune"}
        upload = self.ok("POST", "/uploads", begin)
        half = len(data) // 2
        parts = [
            self.ok(
                "POST", f"/uploads/{upload['id']}/parts", form(b"b", part("data", piece, "blob")), headers=FORM, sent=["data"]
            )
            for piece in (data[:half], data[half:])
        ]
        body = {"part_ids": [parts[0]["id"], parts[1]["azure_block_id"]], "md5": hashlib.md5(data).hexdigest()}
        whole = self.ok("POST", f"/uploads/{upload['id']}/complete", body)
        expect(whole["file"]["bytes"] == len(data), f"a completed upload: {whole}")
        upload = self.ok("POST", "/uploads", begin)
        self.ok("POST", f"/uploads/{upload['id']}/cancel")

    # ---- jobs ----

    def job(self, family=V1, **fields):
        return self.create("/fine_tuning/jobs", {"model": BASE, "training_file": self.training["id"], **fields}, family=family)

    def status(self, job, *wanted):
        return self.until(f"/fine_tuning/jobs/{job['id']}", lambda now: now["status"] in (*wanted, *ENDED), wanted)

    def lists(self, job, what):
        path = f"/fine_tuning/jobs/{job['id']}/{what}"
        every = self.ok("GET", path, query="limit=1000")["data"]
        page = self.ok("POST", path, query="limit=1", family=CLASSIC)
        expect(page["data"] == every[:1] and page["has_more"], f"a page of one: {page}")
        rest = self.ok("GET", path, query=f"after={page['last_id']}&limit=1000")
        expect(rest["data"] == every[1:] and not rest["has_more"], f"after the first: {rest}")
        last = self.ok("GET", path, query=f"after={every[-1]['id']}")
        self.facts["lists end"] = last["data"] == [] and last["has_more"] is False
        return every

    def first_job(self):
        job = self.job(
            validation_file=self.validation["id"],
            suffix="story",
            seed=7,
            metadata={"team": "a"},
            trainingType="GlobalStandard",
            integrations=[{"type": "wandb", "wandb": {"project": "p", "name": "n", "entity": "e", "tags": ["t"]}}],
            method={
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 1.5}},
            },
        )
        self.first = job = self.status(job)
        expect(job["status"] == "succeeded", f"the job is {job['status']}: {job['error']}")
        self.events = self.lists(job, "events")
        self.checkpoints = self.lists(job, "checkpoints")
        self.results = self.ok("GET", f"/files/{job['result_files'][0]}/content").decode()
        self.ok("GET", f"/files/{job['result_files'][0]}")
        page = self.ok("GET", "/fine_tuning/jobs", query="limit=1")
        expect(len(page["data"]) == 1, f"a page of one job: {page}")
        expect(self.ok("GET", "/fine_tuning/jobs", query=f"after={page['last_id']}")["data"] == [], "a job after the first one")
        for value, count in (("a", 1), ("b", 0)):
            found = self.ok("GET", "/fine_tuning/jobs", query=f"metadata[team]={value}")["data"]
            expect(len(found) == count, f"jobs with team {value}: {found}")

    def other_jobs(self):
        """Continued, paused, resumed, cancelled, deleted; one waits meanwhile, and one fails."""
        long = {"n_epochs": 50, "batch_size": 1, "learning_rate_multiplier": "auto", "prompt_loss_weight": 0.1}
        job = self.job(CLASSIC, model=self.first["fine_tuned_model"], hyperparameters=long, trainingType=1, seed=None)
        path = f"/fine_tuning/jobs/{job['id']}"
        self.status(job, "running")
        checkpoint = self.checkpoints[-1]
        waiting = [
            self.job(
                model=name,
                trainingType=kind,
                method={
                    "type": "supervised",
                    "supervised": {"hyperparameters": {"n_epochs": -1, "batch_size": None, "learning_rate_multiplier": "auto"}},
                },
            )
            for name, kind in ((checkpoint["fine_tuned_model_checkpoint"], "developer"), (checkpoint["id"], "Standard"))
        ]
        self.call("POST", f"/fine_tuning/jobs/{waiting[0]['id']}/pause")
        waiting.append(self.job(model=BASE.upper()))
        self.facts["a model's name in capitals"] = waiting[-1]["model"]
        self.call("POST", "/fine_tuning/jobs", {"model": BASE, "training_file": self.training["id"]})  # one too many
        for other in waiting:
            self.ok("POST", f"/fine_tuning/jobs/{other['id']}/cancel")
        running = self.until(path, lambda now: now["result_files"] or now["status"] in ENDED, "running with results")
        self.until(f"/files/{running['result_files'][0]}", lambda now: now["bytes"] > 0, "written")
        results = self.ok("GET", f"/files/{running['result_files'][0]}/content")
        self.facts["results while running"] = running["status"] == "running" and results.startswith(b"step,")
        self.until(path + "/events", lambda page: any(event["type"] == "metrics" for event in page["data"]), "training")
        self.ok("POST", path + "/pause")
        self.status(job, "paused")
        paused = self.ok("GET", path + "/checkpoints")["data"]
        self.facts["a pause leaves a checkpoint"] = len(paused) == 1
        self.ok("POST", path + "/resume", family=CLASSIC)
        self.status(job, "running")
        self.ok("POST", path + "/cancel")
        self.status(job)
        self.call("POST", path + "/cancel")
        self.events += self.ok("GET", path + "/events", query="limit=1000")["data"]
        kept = os.path.join(self.server.data, "jobs", job["id"], f"paused-step-{paused[0]['step_number']}")
        os.unlink(os.path.join(kept, "adapter_model.safetensors"))  # damage
        body = {"properties": {"model": {"format": "OpenAI", "name": paused[0]["fine_tuned_model_checkpoint"], "version": "1"}}}
        self.ok("PUT", f"{ARM}/damaged", body, statuses=(201,), family=ROOT)
        self.until_deployed("damaged", "Failed")
        self.ok("GET", "/deployments/damaged")
        self.call("DELETE", path)
        self.ok("DELETE", "/deployments/damaged", statuses=(204,))
        self.ok("DELETE", path, statuses=(204,))
        self.call("GET", path)
        failing = self.status(self.job(lorac={"max_seq_len": 2}))
        expect(failing["status"] == "failed", f"a job that cannot be trained is {failing['status']}")
        self.events += self.ok("GET", f"/fine_tuning/jobs/{failing['id']}/events")["data"]

    # ---- deployments and chat ----

    def deploy(self):
        model = self.first["fine_tuned_model"]
        body = {
            "sku": {"name": "GlobalStandard", "capacity": 2},
            "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}},
        }
        self.ok("PUT", f"{ARM}/tuned", body, statuses=(201,), family=ROOT, query="api-version=2024-10-01")
        self.ok("PUT", f"{ARM}/tuned", body, family=ROOT)
        self.until_deployed("tuned", "Succeeded")
        self.ok("GET", ARM, family=ROOT)
        scale = {"scale_type": "manual", "capacity": 1}
        made = self.ok(
            "POST", "/deployments", {"model": checkpoint_name(self), "scale_settings": scale}, statuses=(201,), family=CLASSIC
        )
        expect(made["id"].startswith("deployment-"), f"a deployment without a name: {made}")
        by_id = self.ok("POST", "/deployments", {"model": self.checkpoints[-1]["id"], "name": "by-id"}, statuses=(201,))
        self.facts["a checkpoint's id deploys it"] = by_id["model"] == checkpoint_name(self)
        self.ok(
            "POST", "/deployments", {"model": BASE, "name": "plain", "scale_settings": scale}, statuses=(201,), family=CLASSIC
        )
        self.ok("GET", "/deployments/plain", family=CLASSIC)
        self.ok("GET", "/deployments", family=CLASSIC)
        self.ok("DELETE", "/deployments/plain", statuses=(204,), family=CLASSIC)
        status, _, error = self.call("DELETE", f"/models/{model}")
        expect(status == 400 and error["error"]["code"] == "unexpectedEntityState", f"a deployed model: {status} {error}")

    def until_deployed(self, name, wanted):
        for _ in range(200):
            state = self.ok("GET", f"{ARM}/{name}", family=ROOT)["properties"]["provisioningState"]
            if state == wanted:
                return
            time.sleep(0.1)
        raise Failed(f"the deployment is {state}")

    def chat(self):
        asked = {"model": "tuned", "messages": PROMPT, "max_tokens": 8, "temperature": 0.7, "top_p": 0.9, "seed": 5}
        whole = self.ok(
            "POST",
            "/chat/completions",
            {
                **asked,
                "n": 2,
                "stop": ["\n\n"],
                "stream": False,
                "presence_penalty": 0,
                "frequency_penalty": 0,
                "logit_bias": {},
                "logprobs": False,
                "response_format": {"type": "text"},
                "user": "u",
                "metadata": {},
                "store": False,
                "service_tier": "auto",
                "parallel_tool_calls": True,
                "tools": [TOOL],
                "tool_choice": "none",
                "chat_template_kwargs": {"date": "today"},
            },
        )
        expect(len(whole["choices"]) == 2 and whole["model"] == BASE, f"a chat: {whole}")
        plain = self.ok(
            "POST",
            "/deployments/tuned/chat/completions",
            {**asked, "tool_choice": "auto", "logprobs": True, "top_logprobs": 2},
            family=CLASSIC,
        )
        chunks = self.ok(
            "POST",
            "/chat/completions",
            {**asked, "stream": True, "stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 2},
        )
        streamed = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
        self.facts["a seed says it all"] = (
            streamed == plain["choices"][0]["message"]["content"] == whole["choices"][0]["message"]["content"]
        )
        self.facts["the first chunk has a choice"] = bool(chunks[0]["choices"])
        self.facts["usage comes last"] = (
            chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] == plain["usage"]["total_tokens"]
        )
        long = self.ok(
            "POST",
            "/chat/completions",
            {
                "model": BASE,
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hi."}]},
                    {"role": "assistant", "content": "Hello."},
                    {"role": "user", "content": "More."},
                ],
                "max_completion_tokens": 400,
                "temperature": 0,
                "presence_penalty": 0.5,
                "frequency_penalty": -0.1,
                "logit_bias": {"70": -100},
            },
        )
        expect(long["usage"]["completion_tokens"] > 0, f"a chat with a model's name: {long}")
        self.call("POST", "/chat/completions", {"model": "nobody", "messages": PROMPT})
        tuned = self.ok("GET", f"/models/{self.first['fine_tuned_model']}")
        expect(tuned["fine_tune"] == self.first["id"], f"the model is of {tuned['fine_tune']}")
        models = [model["id"] for model in self.ok("GET", "/models", family=CLASSIC)["data"]]
        self.facts["base and tuned models are listed"] = {BASE, tuned["id"]} <= set(models)

    def clean_up(self):
        self.ok("DELETE", f"{ARM}/tuned", family=ROOT)
        named = self.ok(
            "POST", "/chat/completions", {"model": self.first["fine_tuned_model"], "messages": PROMPT, "max_tokens": 1}
        )
        self.facts["a tuned model needs no deployment"] = named["model"] == BASE
        self.ok("DELETE", f"{ARM}/tuned", statuses=(204,), family=ROOT)
        self.ok("DELETE", f"/models/{self.first['fine_tuned_model']}")
        self.call("DELETE", f"/models/{self.first['fine_tuned_model']}")
        self.ok("DELETE", f"/files/{self.training['id']}")
        self.call("DELETE", "/files")
        self.call("GET", "/nothing")
        self.call("POST", "/deployments", b" " * (256 * 1024 + 1))

    def access(self, server):
        """On a server of its own, that has keys and lets one job run and one wait."""
        self.server, before = server, self.server
        ann, bob = ({"api-key": make_key(server, name)} for name in ("ann", "bob"))
        file = self.ok(
            "POST", "/files", form(b"b", part("purpose", "evals"), part("file", b"x", "x.txt")), headers={**FORM, **ann}
        )
        deployed = self.ok("POST", "/deployments", {"model": BASE}, statuses=(201,), headers=ann)
        self.facts["one key does all"] = deployed["object"] == "deployment"
        self.facts["api-key"] = self.call("GET", f"/files/{file['id']}", headers=ann)[0] == 200
        bearer = {"api-key": None, "Authorization": f"Bearer {ann['api-key']}"}
        self.facts["bearer"] = self.call("GET", f"/files/{file['id']}", headers=bearer)[0] == 200
        self.facts["another key finds nothing"] = (
            self.call("GET", f"/files/{file['id']}", headers=bob)[0] == 404
            and self.ok("GET", "/files", headers=bob)["data"] == []
        )
        strange = {"api-key": None, "Authorization": "Bearer eyJ0eXAiOiJKV1QifQ.e30.x"}
        self.facts["a strange bearer is refused"] = self.call("GET", "/files", headers=strange)[0] == 401
        form_of_rows = form(b"b", part("purpose", "fine-tune"), part("file", rows("train.jsonl", 12), "train.jsonl"))
        training = self.ok("POST", "/files", form_of_rows, headers={**FORM, **ann})
        wanted = {"model": BASE, "training_file": training["id"], "hyperparameters": {"n_epochs": 50}}
        asked = [self.call("POST", "/fine_tuning/jobs", wanted, headers=ann) for _ in range(3)]
        self.facts["jobs are limited"] = asked[2][0] == 429
        for job in (answer for status, _, answer in asked if status == 200):
            self.ok("POST", f"/fine_tuning/jobs/{job['id']}/cancel", headers=ann)
        several = [self.call("POST", "/deployments", {"model": BASE, "name": f"d{i}"}, headers=bob)[0] for i in range(101)]
        self.facts["100 deployments"] = several == [201] * 100 + [400]
        self.server = before

    def watch(self):
        for path in ("/healthz", "/readyz", "/metrics", "/", "/portal/portal.css"):
            self.ok("GET", path, family=ROOT)

    def run(self):
        for chapter in (self.watch, self.files, self.first_job, self.other_jobs, self.deploy, self.chat, self.clean_up):
            chapter()


def checkpoint_name(story):
    return story.checkpoints[-1]["fine_tuned_model_checkpoint"]
