"""A small server with the API's shapes and made-up jobs, for the portal's test where there is no `lorac serve` yet, and
for work on the page: python3 tests/e2e/portal_fake.py [--port N] [--key KEY]. Bodies are as in the API's examples.
"""
import argparse
import json
import math
import os
import re
import secrets
import threading
import time
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PORTAL = os.path.join(ROOT, "src", "serve", "portal")
CSP = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
       "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
         "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
BASE = "sprout-3m"
STEPS_A_SECOND = 25
COLUMNS = ("train_loss train_mean_token_accuracy valid_loss valid_mean_token_accuracy full_valid_loss "
           "full_valid_mean_token_accuracy").split()
ENDED = ("succeeded", "failed", "cancelled")


class ApiError(Exception):
    def __init__(self, status, code, message, param=None):
        super().__init__(message)
        kind = "authentication_error" if status == 401 else "invalid_request_error"
        self.status = status
        self.body = {"error": {"code": code, "message": message, "param": param, "type": kind}}


def new_id(prefix):
    return prefix + secrets.token_hex(16)


def page(items, query, default):
    """The list envelope: items are newest first."""
    limit = int(query.get("limit", default))
    ids = [item["id"] for item in items]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    data = items[start:start + limit]
    return {"object": "list", "data": data, "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None, "has_more": start + limit < len(items)}


def find_problems(data):
    """What is wrong with a file of rows, as status_details says it; and how many rows it has."""
    problems, rows = [], 0
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        rows += 1
        try:
            row = json.loads(line)
        except ValueError:
            problems.append(f"line {number}: not valid JSON [invalid_json]")
            continue
        for at, message in enumerate(row.get("messages", [])):
            if "role" not in message:
                problems.append(f"line {number}, messages[{at}]: there is no role [missing_role]")
        if not row.get("messages"):
            problems.append(f"line {number}: there are no messages [missing_messages]")
    if rows < 10:
        problems.append(f"{rows} rows, at least 10 are needed [too_few_rows]")
    return problems, rows


class Job:
    """A job object and what lies behind it. Steps come with the clock while it runs."""

    def __init__(self, body, rows):
        settings = body.get("method", {}).get("supervised", {}).get("hyperparameters", {})
        epochs = settings.get("n_epochs", "auto")
        batch = settings.get("batch_size", "auto")
        rate = settings.get("learning_rate_multiplier", "auto")
        self.epochs = 3 if epochs == "auto" else epochs
        self.batch = 1 if batch == "auto" else batch
        self.an_epoch = max(1, math.ceil(rows / self.batch))
        self.total = self.an_epoch * self.epochs
        self.step, self.clock, self.rows, self.events, self.checkpoints = 0, time.time(), [], [], []
        numbers = {"n_epochs": self.epochs, "batch_size": self.batch,
                   "learning_rate_multiplier": 1.0 if rate == "auto" else rate}
        self.object = {
            "id": new_id("ftjob-"), "object": "fine_tuning.job", "created_at": int(time.time()), "finished_at": None,
            "model": body["model"], "fine_tuned_model": None, "status": "pending", "error": None,
            "organization_id": None, "hyperparameters": numbers,
            "method": {"type": "supervised", "supervised": {"hyperparameters": numbers}},
            "seed": body.get("seed", secrets.randbelow(2**31)), "training_file": body["training_file"],
            "validation_file": body.get("validation_file"), "result_files": [], "trained_tokens": None,
            "estimated_finish": None, "integrations": None, "metadata": body.get("metadata"),
            "suffix": body.get("suffix"), "user_provided_suffix": body.get("suffix"), "trainingType": "standard"}
        suffix = f"-{body['suffix']}" if body.get("suffix") else ""
        self.model = f"{BASE}.ft-{self.object['id'][6:]}{suffix}"
        self.say("Job enqueued. Waiting for jobs ahead to complete.")

    def say(self, message, level="info", data=None):
        event = {"id": new_id("ftevent-"), "object": "fine_tuning.job.event", "created_at": int(time.time()),
                 "level": level, "message": message, "type": "metrics" if data else "message"}
        if data:
            event["data"] = data
        self.events.insert(0, event)

    def train_step(self):
        self.step += 1
        part = self.step / self.total
        loss = 2.6 * math.exp(-3 * part) + 0.35 + 0.08 * math.sin(self.step * 1.7)
        accuracy = min(0.99, 0.5 + 0.45 * (1 - math.exp(-3 * part)) + 0.02 * math.sin(self.step))
        values = [loss, accuracy, None, None, None, None]
        if self.object["validation_file"] and self.step % 5 == 0:
            values[2:4] = [loss + 0.09, accuracy - 0.02]
        if self.object["validation_file"] and self.step % self.an_epoch == 0:
            values[4:6] = [loss + 0.05, accuracy - 0.01]
        self.rows.append([self.step, *values])
        data = {"step": self.step, **{k: round(v, 6) for k, v in zip(COLUMNS, values) if v is not None}}
        self.say(f"Step {self.step}: training loss={loss:.6f}", data=data)
        if self.step % self.an_epoch == 0:
            tail = "" if self.step == self.total else f":ckpt-step-{self.step}"
            self.checkpoints.insert(0, {
                "id": new_id("ftchkpt-"), "object": "fine_tuning.job.checkpoint", "created_at": int(time.time()),
                "fine_tuned_model_checkpoint": self.model + tail, "fine_tuning_job_id": self.object["id"],
                "step_number": self.step, "metrics": {**data, "step": float(self.step)}})

    def results(self):
        lines = ["step," + ",".join(COLUMNS)]
        lines += [",".join("" if v is None else f"{v:.6g}" for v in row) for row in self.rows]
        return ("\n".join(lines) + "\n").encode()


class State:
    def __init__(self):
        self.lock = threading.RLock()
        self.files, self.contents, self.jobs, self.deployments = {}, {}, {}, {}

    def add_file(self, name, purpose, data, status):
        made = {"id": new_id("file-"), "object": "file", "bytes": len(data), "created_at": int(time.time()),
                "filename": name, "purpose": purpose, "status": status, "status_details": None, "expires_at": None}
        self.files[made["id"]] = made
        self.contents[made["id"]] = data
        return made

    def rows_of(self, file):
        return find_problems(self.contents[file])[1]

    def tick(self):
        with self.lock:
            now = time.time()
            for file in self.files.values():
                if file["status"] == "pending" and now - file["created_at"] > 1:
                    problems, _ = find_problems(self.contents[file["id"]])
                    file["status"] = "error" if problems else "processed"
                    file["status_details"] = "; ".join(problems) or None
            for job in self.jobs.values():
                self.move(job, now)
                if job.object["result_files"]:
                    self.files[job.object["result_files"][0]]["bytes"] = len(job.results())
            for one in self.deployments.values():
                if one["status"] == "notRunning" and now - one["created_at"] > 1:
                    one["status"] = "succeeded"

    def move(self, job, now):
        thing = job.object
        status = thing["status"]
        if status == "pending" and now - job.clock > 0.8:
            job.say("Preprocessing completed for file training file.")
            job.say("Job started.")
            job.say("Training started.")
            results = self.add_file("results.csv", "fine-tune-results", b"", "processed")
            self.contents[results["id"]] = job
            thing["result_files"] = [results["id"]]
            job.say(f"Created results file: {results['id']}")
            thing["status"], job.clock = "running", now
        elif status == "running":
            while job.clock + 1 / STEPS_A_SECOND <= now and job.step < job.total:
                job.clock += 1 / STEPS_A_SECOND
                job.train_step()
            thing["estimated_finish"] = int(now + (job.total - job.step) / STEPS_A_SECOND)
            if job.step == job.total:
                thing.update(status="succeeded", fine_tuned_model=job.model, finished_at=int(now),
                             trained_tokens=job.total * job.batch * 48)
                job.say("Job succeeded.")
                job.say(f"Completed results file: {thing['result_files'][0]}")
                job.say(f"Training tokens billed: {thing['trained_tokens']}")
        elif status == "pausing" and now - job.clock > 0.5:
            thing["status"] = "paused"
            job.say("Job paused.")
        elif status == "resuming" and now - job.clock > 0.5:
            thing["status"], job.clock = "running", now

    def job(self, job_id):
        if job_id not in self.jobs:
            raise ApiError(404, "notFound", f"No fine-tuning job has the id {job_id}.", "fine_tuning_job_id")
        return self.jobs[job_id]

    def models(self):
        base = {"id": BASE, "object": "model", "created": 1781000000, "created_at": 1781000000, "owned_by": "local",
                "status": "succeeded", "lifecycle_status": "generally-available", "model": None, "fine_tune": None,
                "capabilities": {"fine_tune": True, "inference": True, "completion": False, "chat_completion": True,
                                 "embeddings": False}}
        tuned = [{**base, "id": job.model, "model": BASE, "fine_tune": job.object["id"]}
                 for job in self.jobs.values() if job.object["status"] == "succeeded"]
        return [base, *tuned]

    def create_job(self, body):
        models = [model["id"] for model in self.models()]
        known = models + [c["fine_tuned_model_checkpoint"] for job in self.jobs.values() for c in job.checkpoints]
        if body.get("model") not in known:
            raise ApiError(400, "invalidPayload", "The specified base model does not support fine-tuning.", "model")
        file = self.files.get(body.get("training_file"))
        if file is None or file["status"] != "processed":
            raise ApiError(400, "invalidPayload", "No such file, or it is not processed.", "training_file")
        if body.get("suffix") == "taken":
            raise ApiError(400, "invalidPayload", "A model with the suffix 'taken' is there already.", "suffix")
        job = Job(body, self.rows_of(file["id"]))
        self.jobs = {job.object["id"]: job, **self.jobs}
        return job.object

    def act(self, job_id, verb):
        states = {"cancel": ("pending", "running", "pausing", "paused", "resuming"), "pause": ("running",), "resume": ("paused",)}[verb]
        job = self.job(job_id)
        if job.object["status"] not in states:
            raise ApiError(400, "unexpectedEntityState", f"The job is {job.object['status']}.")
        job.object["status"] = {"cancel": "cancelled", "pause": "pausing", "resume": "resuming"}[verb]
        job.object["estimated_finish"] = None
        job.clock = time.time()
        job.say({"cancel": "Job cancelled.", "pause": "Job pausing.", "resume": "Job resumed."}[verb])
        if verb == "cancel":
            job.object["finished_at"] = int(time.time())
        return job.object

    def deploy(self, body):
        name = body.get("name") or new_id("deployment-")
        made = {"id": name, "object": "deployment", "status": "notRunning", "model": body["model"], "owner": "local",
                "scale_settings": {"scale_type": "manual", "capacity": 1}, "created_at": int(time.time()),
                "updated_at": int(time.time())}
        self.deployments[name] = made
        return made


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = None
    key = None

    def log_message(self, *_):
        pass

    def send(self, status, body, kind="application/json", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def read_body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def static(self, name):
        path = os.path.join(PORTAL, name)
        if not re.fullmatch(r"[a-z_]+\.(html|css|js|svg)", name) or not os.path.isfile(path):
            raise ApiError(404, "404", "Resource not found.")
        with open(path, "rb") as file:
            data = file.read()
        self.send(200, data, TYPES[name.rsplit(".", 1)[1]],
                  [("Content-Security-Policy", CSP), ("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff")])

    def upload(self, body):
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = {part.get_param("name", header="content-disposition"): part
                 for part in BytesParser().parsebytes(head + body).get_payload()}
        return self.state.add_file(parts["file"].get_filename(), parts["purpose"].get_payload().strip(),
                                   parts["file"].get_payload(decode=True), "pending")

    def content(self, file):
        thing = self.state.contents[file]
        data = thing.results() if isinstance(thing, Job) else thing
        self.send(200, data, "application/octet-stream")

    def chat(self, body):
        with self.state.lock:
            deployment = self.state.deployments.get(body["model"])
        if deployment is None:
            raise ApiError(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
        said = body["messages"][-1]["content"]
        text = (f"You said: {said} " if ".ft-" not in deployment["model"] else f"Tuned, short and to the point: {said} ")
        words = (text * 40).split(" ")[:body.get("max_tokens", 256)]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        frame = {"id": "chatcmpl-" + secrets.token_hex(5), "object": "chat.completion.chunk",
                 "created": int(time.time()), "model": deployment["model"]}

        def put(choices, **more):
            self.wfile.write(f"data: {json.dumps({**frame, 'choices': choices, **more})}\n\n".encode())
            self.wfile.flush()

        put([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
        for word in words:
            time.sleep(0.02)
            put([{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}])
        put([{"index": 0, "delta": {}, "finish_reason": "length"}])
        put([], usage={"prompt_tokens": 17, "completion_tokens": len(words), "total_tokens": 17 + len(words)})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def route(self, method, path, query, body):
        """The answer as (status, body), or None where it has been sent."""
        state, parts = self.state, [unquote(part) for part in path.strip("/").split("/")]
        parts = parts[2:] if parts[:2] == ["openai", "v1"] else parts[1:]
        match [method, *parts]:
            case ["GET", "models"]:
                return 200, {"object": "list", "data": state.models()}
            case ["POST", "files"]:
                return 201, self.upload(body)
            case ["GET", "files"]:
                items = [f for f in reversed(state.files.values()) if query.get("purpose") in (None, f["purpose"])]
                return 200, page(items, query, 10000)
            case ["GET" | "DELETE", "files", name, *rest] if name in state.files:
                if method == "DELETE":
                    del state.files[name]
                    return 200, {"id": name, "object": "file", "deleted": True}
                return self.content(name) if rest else (200, state.files[name])
            case ["POST", "fine_tuning", "jobs"]:
                return 200, state.create_job(json.loads(body))
            case ["GET", "fine_tuning", "jobs"]:
                return 200, page([job.object for job in state.jobs.values()], query, 20)
            case ["GET", "fine_tuning", "jobs", name]:
                return 200, state.job(name).object
            case ["DELETE", "fine_tuning", "jobs", name]:
                if state.job(name).object["status"] not in (*ENDED, "paused"):
                    raise ApiError(400, "unexpectedEntityState", "The job has not ended.")
                del state.jobs[name]
                return 204, b""
            case ["GET", "fine_tuning", "jobs", name, "events"]:
                return 200, page(state.job(name).events, query, 20)
            case ["GET", "fine_tuning", "jobs", name, "checkpoints"]:
                return 200, page(state.job(name).checkpoints, query, 10)
            case ["POST", "fine_tuning", "jobs", name, "cancel" | "pause" | "resume" as verb]:
                return 200, state.act(name, verb)
            case ["GET", "deployments"]:
                return 200, {"object": "list", "data": list(state.deployments.values())}
            case ["POST", "deployments"]:
                return 201, state.deploy(json.loads(body))
            case ["DELETE", "deployments", name] if name in state.deployments:
                del state.deployments[name]
                return 204, b""
        raise ApiError(404, "404", "Resource not found.")

    def handle_any(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.read_body()
        try:
            if url.path == "/":
                self.static("index.html")
            elif url.path.startswith("/portal/"):
                self.static(url.path[len("/portal/"):])
            elif self.key is not None and self.headers.get("api-key") != self.key:
                raise ApiError(401, "401", "Access denied due to invalid subscription key or wrong API endpoint.")
            elif url.path == "/openai/v1/chat/completions":
                self.chat(json.loads(body))
            else:
                with self.state.lock:
                    answer = self.route(self.command, url.path, query, body)
                    if answer and not isinstance(answer[1], bytes):
                        answer = (answer[0], json.dumps(answer[1]).encode())  # as it is now
                if answer:
                    self.send(*answer)
        except ApiError as error:
            self.send(error.status, error.body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_DELETE = handle_any


def start(port=0, key=None):
    """Serves in threads of its own: (server, base URL). server.shutdown() ends it."""
    state = State()
    handler = type("PortalHandler", (Handler,), {"state": state, "key": key})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True

    def keep_ticking():
        while True:
            state.tick()
            time.sleep(0.1)

    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=keep_ticking, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8799)
    parser.add_argument("--key")
    arguments = parser.parse_args()
    print(start(arguments.port, arguments.key)[1])
    threading.Event().wait()
