#!/usr/bin/env python3
# ctest: release
"""Requests made by schemathesis from the description of what is served (api_document.py), right ones and wrong ones: no answer
is a 5xx, none has a status, a type, a header or a body that is not described, what a schema forbids is refused, methods and
Allow agree, and nothing is served without a key.

usage: test_schemathesis.py [--examples N] [--seed N]      needs LORAC_BUILD_DIR
With --examples all phases run in both families, N requests an operation in each; without, less, in under a minute.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

import api_document
from serve_support import BASE, Server, ask, expect, main, make_key, rows, upload

HERE = os.path.dirname(os.path.abspath(__file__))
SEED, EXAMPLES, LIMIT_SECONDS = 20261129, 2, 7200
SHORT = (("/openai/v1", "coverage"), ("/openai", "fuzzing,stateful"))
WHOLE = tuple((family, "coverage,fuzzing,stateful") for family in ("/openai/v1", "/openai"))


def known(server, headers):
    """Names of what is there: generated requests use them (schemathesis_hooks.py)."""
    file = upload(server, rows("train.jsonl", 32), headers)
    job = {"model": BASE, "training_file": file, "hyperparameters": {"n_epochs": 1, "batch_size": 8}}
    status, _, job = ask("POST", server.url + "/openai/v1/fine_tuning/jobs", job, headers)
    expect(status == 200, f"create gave {status} {job}")
    status, _, deployment = ask("POST", server.url + "/openai/deployments", {"model": BASE, "name": "base"}, headers)
    expect(status == 201, f"deploying gave {status} {deployment}")
    return {"file": [file], "job": [job["id"]], "deployment": ["base"], "model": [BASE, "base"]}


class Run:
    def __init__(self, server, arguments):
        self.server, self.arguments = server, arguments
        self.key = make_key(server, "ann")
        names = json.dumps(known(server, {"api-key": self.key}))
        self.environment = {**os.environ, "PYTHONPATH": HERE, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "LORAC_KNOWN": names,
                            "LORAC_SEED": str(arguments.seed)}

    def command(self, document, phases):
        config = ["--config-file", os.path.join(HERE, "schemathesis.toml")]
        return [sys.executable, "-m", "schemathesis.cli", *config, "run", document, "--url", self.server.url,
                "-H", f"api-key: {self.key}", "--seed", str(self.arguments.seed), "--phases", phases,
                "--max-examples", str(self.arguments.examples or EXAMPLES), "--continue-on-failure", "--request-timeout", "60",
                "--warnings", "off", "--no-color"]

    def is_clean(self, document, phases):
        """(whether nothing was found, what it said)."""
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "openapi.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(document, file)
            done = subprocess.run(self.command(path, phases), cwd=scratch, env=self.environment, timeout=LIMIT_SECONDS,
                                  check=False, capture_output=True, text=True)
        return done.returncode == 0, done.stdout + done.stderr


def test_wrong_description(run):
    """What would be found if /healthz answered otherwise than described."""
    document = api_document.expanded("")
    schemas = {**document["components"]["schemas"], "Health": api_document.answer(status=api_document.const("well"))}
    document = {**document, "paths": {"/healthz": document["paths"]["/healthz"]},
                "components": {**document["components"], "schemas": schemas}}
    is_clean, said = run.is_clean(document, "coverage")
    expect(not is_clean and "well" in said, f"a wrong description passed: {said}")


def test_family(run, family, phases):
    is_clean, said = run.is_clean(api_document.expanded(family), phases)
    cases = re.search(r"([\d,]+) generated", said)
    print(f"{family} {phases}: {cases[1] if cases else 'no'} requests", flush=True)
    expect(is_clean and cases, said[-20000:])


def test_description():
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    with Server(options=["--running-jobs", "1", "--import"]) as server:
        run = Run(server, arguments)
        test_wrong_description(run)
        for family, phases in WHOLE if arguments.examples else SHORT:
            test_family(run, family, phases)
        expect(ask("GET", server.url + "/healthz")[0] == 200, "the server is not well")


if __name__ == "__main__":
    sys.exit(main([test_description]))
