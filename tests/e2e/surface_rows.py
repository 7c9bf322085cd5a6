"""Kinds of rows of the contract (surface.py): what each is called, what becomes of it here, and its check on an ended story.

A check says nothing when the row is as written and raises Failed otherwise. Rows of what is not offered ask for it and must be
refused.
"""

import json
import os
import re

from serve_support import BASE, ROOT, Failed, expect
from surface_story import CLASSIC, V1

WORKS, DIFFERS, ABSENT = "works", "differs on purpose", "not offered"
NO_JOB = "ftjob-" + "0" * 32
JOBS = "/fine_tuning/jobs"


class Row:
    def __init__(self, what, check, outcome=WORKS, note=""):
        self.what, self.test, self.outcome, self.note = what, check, outcome, note
        self.is_proven = False

    def failure(self, story):
        """Why it is not as written; None: it is."""
        try:
            self.test(story)
        except (Failed, AttributeError, IndexError, KeyError, TypeError, ValueError) as failure:
            return repr(failure)
        return None


# ---- kinds of rows ----


def fact(what, test, outcome=WORKS, note=""):
    """test(story) is true."""
    return Row(what, lambda story: expect(test(story), "it is not so"), outcome, note)


def shown(method, path):
    """The control plane's paths are long."""
    return f"`{method} {re.sub('^/subscriptions.*/accounts/{account}', '...', path)}`"


def call(method, path, note="", family=None):
    """It was answered with success."""

    def is_answered(story):
        return any(row[:2] == (method, path) and row[3] < 300 and family in (None, row[2]) for row in story.record.answered)

    return fact(shown(method, path), is_answered, note=note)


def sends(method, path, names, note=""):
    """Fields that were sent in a request that was answered with success."""

    def row(name):
        return fact(f"{shown(method, path)} takes `{name}`", lambda story: name in story.record.sent[method, path], note=note)

    return [row(name) for name in names.split()]


def values_of(story, kind, name):
    return story.record.seen.get(kind, {}).get(name, ())


def label(kind):
    return {"arm": "the control plane's deployment", "error": "an error"}.get(kind, f"`{kind}`")


def fields(kind, names, note=""):
    """Fields of an answer that had a value."""

    def row(name):
        return fact(
            f"{label(kind)} has `{name}`",
            lambda story: any(value is not None for value in values_of(story, kind, name)),
            note=note,
        )

    return [row(name) for name in names.split()]


def empty(kind, name, note):
    """A field that is there, and always null."""
    return fact(f"{label(kind)} has `{name}`", lambda story: set(values_of(story, kind, name)) == {None}, DIFFERS, note)


def words(kind, name, values, note=""):
    """Words that a field had."""

    def row(value):
        return fact(f"{label(kind)}: `{name}` is `{value}`", lambda story: value in values_of(story, kind, name), note=note)

    return [row(value) for value in values.split()]


def unsaid(kind, name, values, note):
    """Words that a field never has."""

    def row(value):
        what = f"{label(kind)}: `{name}` is `{value}`"
        return fact(what, lambda story: value not in story.record.seen[kind][name], DIFFERS, note)

    return [row(value) for value in values.split()]


def says(pattern, what, outcome=WORKS, note=""):
    """An event's text."""
    return Row(
        what,
        lambda story: expect(any(re.fullmatch(pattern, event["message"]) for event in story.events), "no event says so"),
        outcome,
        note,
    )


def silent(pattern, what, note):
    return fact(
        what,
        lambda story: story.events and not any(re.search(pattern, event["message"]) for event in story.events),
        DIFFERS,
        note,
    )


def refuses(what, method, path, body, param, note, outcome=ABSENT, family=V1, headers=None, code="invalidPayload"):
    """The request gets 400 with that param."""

    def check(story):
        sent = body(story) if callable(body) else body
        status, _, answer = story.call(method, path, sent, family=family, headers=headers)
        error = answer["error"] if isinstance(answer, dict) and "error" in answer else {}
        expect((status, error.get("code"), error.get("param")) == (400, code, param), f"{status} {answer}")

    return Row(what, check, outcome, note)


def absent(method, path, note):
    """No such path, or not with this method, in either family."""

    def check(story):
        concrete = re.sub(r"{(\w+)}", lambda name: {"job": NO_JOB}.get(name[1], "x"), path)
        for family in (V1, CLASSIC):
            status, _, answer = story.call(method, concrete, {} if method != "GET" else None, family=family)
            expect(status in (404, 405) and answer["error"]["code"] == str(status), f"{family}: {status} {answer}")

    return Row(shown(method, path), check, ABSENT, note)


def proven(what, test, note=""):
    """What would take too long here: a unit test shows it."""

    def check(_):
        file, name = test.split(":")
        with open(os.path.join(ROOT, "tests", file), encoding="utf-8") as text:
            expect(re.search(rf"(cmocka_unit_test\w*|CASE)\({name}\b", text.read()), f"there is no {test}")

    row = Row(what, check, note=note or f"shown by tests/{test.split(':')[0]}")
    row.is_proven = True
    return row


def code(status, word, note=""):
    return Row(
        f"{status} `{word}`", lambda story: expect((status, word) in story.record.codes, "it was never answered"), note=note
    )


def header(name, status):
    return Row(f"`{name}` on {status}", lambda story: expect(name in story.record.headers.get(status, ()), "it was never sent"))


def job_with(**changes):
    return lambda story: {"model": BASE, "training_file": story.validation["id"], **changes}


def trained(story, lines):
    """What the check of a training file with ten such lines says."""
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines) if isinstance(lines, list) else lines
    return story.upload(data, filename="rows.jsonl")


def takes(what, line, outcome=WORKS, note=""):
    def check(story):
        file = trained(story, [line] * 10 if isinstance(line, dict) else line)
        expect(file["status"] == "processed", f"it is refused: {file['status_details']}")

    return Row(what, check, outcome, note)


def rejects(what, line, reason, outcome=WORKS, note=""):
    def check(story):
        file = trained(story, [line] * 10 if isinstance(line, dict) else line)
        expect(file["status"] == "error" and reason in file["status_details"], f"{file['status']}: {file['status_details']}")

    return Row(what, check, outcome, note)
