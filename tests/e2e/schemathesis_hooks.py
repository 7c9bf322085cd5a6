"""What test_schemathesis.py adds to generated requests: names of things that are there, and answers that are short."""

import json
import os
import random

import schemathesis

KNOWN = json.loads(os.environ.get("LORAC_KNOWN", "{}"))  # {"file": [ids], ...}
LONGEST_ANSWER = 4  # tokens
RANDOM = random.Random(int(os.environ.get("LORAC_SEED", "1")))


def often():
    return RANDOM.random() < 0.6


def fill_body(case):
    body = case.body
    if not isinstance(body, dict):
        return
    if case.path.endswith("/chat/completions"):
        body["max_tokens"], body["n"] = RANDOM.randint(1, LONGEST_ANSWER), RANDOM.randint(1, 2)
        body.pop("max_completion_tokens", None)
        if often():
            body["model"] = RANDOM.choice(KNOWN["model"])
    if case.path.endswith(("/fine_tuning/jobs", "/deployments")) and often():
        body["model"] = RANDOM.choice(KNOWN["model"])
        if "training_file" in body:
            body["training_file"] = RANDOM.choice(KNOWN["file"])
            body.pop("validation_file", None)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Only of requests that are meant to be right: those that are meant to be wrong stay as they are."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for name, values in KNOWN.items():
        if name in (case.path_parameters or {}) and often():
            case.path_parameters[name] = RANDOM.choice(values)
    fill_body(case)
