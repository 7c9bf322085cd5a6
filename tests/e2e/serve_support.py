"""A `lorac serve` of one's own for tests: starts it on a free port with the shipped base model, ends it, shows its log."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LORAC = os.path.join(os.environ.get("LORAC_BUILD_DIR", os.path.join(ROOT, "build/release")), "lorac")
BASE = "sprout-3m"
START_SECONDS, STOP_SECONDS = 20, 60
TRAIN_ROWS, VALID_ROWS = 64, 16


class Failed(Exception):
    """A test that found something."""


def expect(condition, message):
    if not condition:
        raise Failed(message)


class Server:
    """with Server() as server: server.url is where it listens. `data` keeps it over several runs."""

    def __init__(self, data=None, options=(), environment=None):
        self.scratch = None if data else tempfile.TemporaryDirectory(prefix="lorac-serve-")
        self.data = data or os.path.join(self.scratch.name, "data")
        self.options, self.environment = list(options), environment or {}
        self.log_path = os.path.join(os.path.dirname(self.data), "serve.log")
        self.url = self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [LORAC, "serve", "--data", self.data, "--models", os.path.join(ROOT, "models"), "--port", "0",
                 *self.options], stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **self.environment})
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            self.process.wait(START_SECONDS)
            raise Failed(f"lorac serve did not start: {self.log()[-2000:]}")
        return self

    def stop(self, number=signal.SIGTERM):
        """Its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(STOP_SECONDS)
        self.process.stdout.close()
        return status

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            status = self.stop()
            if kind is None and status != 0:
                raise Failed(f"lorac serve ended with {status}: {self.log()[-2000:]}")
        if kind is not None:
            print(self.log()[-6000:], file=sys.stderr)
        if self.scratch:
            self.scratch.cleanup()


def rows(name, count):
    """The first rows of a quickstart file, as bytes."""
    with open(os.path.join(ROOT, "configs/quickstart", name), "rb") as file:
        return b"".join(file.readline() for _ in range(count))


def ask(method, url, body=None, headers=None):
    """(status, headers, parsed body or None) of one request; an object is sent as JSON, a header that is None is left out."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name: value for name, value in {"api-key": "test", **(headers or {})}.items() if value is not None}
    request = urllib.request.Request(url, data=data, method=method, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, got, text = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        status, got, text = error.code, error.headers, error.read()
    try:
        return status, got, json.loads(text) if text else None
    except ValueError:
        return status, got, text


def make_key(server, name):
    """A new API key; from the first one on, requests need one."""
    command = [LORAC, "keys", "add", name, "--data", server.data]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def form(boundary, *parts, end=True):
    """A multipart body."""
    text = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return text + (b"--" + boundary + b"--\r\n" if end else b"")


def part(name, value, filename=None):
    """A part of one: its header, an empty line, what it holds."""
    value = value if isinstance(value, bytes) else value.encode()
    file = f'; filename="{filename}"' if filename else ""
    return f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value


def upload(server, data, headers=None):
    """The id of a new training file, once it is processed."""
    headers = headers or {}
    body = form(b"b", part("purpose", "fine-tune"), part("file", data, "train.jsonl"))
    status, _, file = ask("POST", server.url + "/openai/v1/files", body, {**FORM, **headers})
    expect(status == 200, f"upload gave {status} {file}")
    for _ in range(100):
        file = ask("GET", f"{server.url}/openai/v1/files/{file['id']}", headers=headers)[2]
        if file["status"] == "processed":
            return file["id"]
        time.sleep(0.1)
    raise Failed(f"the file is not processed: {file}")


def main(tests):
    """Runs the tests; the exit status."""
    for test in tests:
        print(test.__name__, flush=True)
        try:
            test()
        except Failed as failure:
            print(f"FAILED: {test.__name__}: {failure}", file=sys.stderr)
            return 1
    return 0
