#!/usr/bin/env python3
# ctest: release
"""The contract of Azure's API on a live server, row by row, and the two documents that are written from it: docs/azure-
compatibility.md and docs/openapi.json say what is so. With --write they are written (scripts/azure_compatibility).

usage: test_surface.py [--write]      needs LORAC_BUILD_DIR
"""

import json
import os
import re
import subprocess
import sys

from openapi_spec_validator import validate

import api_document
import surface
from serve_support import LORAC, ROOT, Server, expect, main
from surface_story import Record, Story

TABLE, DOCUMENT = (os.path.join(ROOT, "docs", name) for name in ("azure-compatibility.md", "openapi.json"))
COLUMNS = 128


def dump(value, indent=""):
    """JSON that a reader can follow: what fits on a line is on one."""
    line = json.dumps(value)
    if len(indent) + len(line) <= COLUMNS - 20 or not isinstance(value, (dict, list)) or not value:
        return line
    deeper = indent + " "
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + dump(item, deeper) for item in value) + "\n" + indent + "]"
    return (
        "{\n"
        + ",\n".join(f"{deeper}{json.dumps(key)}: {dump(item, deeper)}" for key, item in value.items())
        + "\n"
        + indent
        + "}"
    )


def same(path, text):
    """Whether the file says that; with --write it will from now on."""
    if "--write" in sys.argv:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    with open(path, encoding="utf-8") as file:
        expect(
            file.read() == text,
            f"{os.path.relpath(path, ROOT)} says something else: scripts/azure_compatibility writes it again",
        )


def members_in(source, pattern):
    """Names in a table of the program's source."""
    with open(os.path.join(ROOT, "src", source), encoding="utf-8") as file:
        return set(re.findall(pattern, file.read()))


def test_members():
    """What is taken is described: no request can show that a member is missing from the description."""
    schemas = api_document.document()["components"]["schemas"]
    for section, described in (
        ("ROOT", schemas["JobRequest"]),
        ("HYPER", {"properties": api_document.HYPERPARAMETERS}),
        ("LORAC", {"properties": api_document.LORAC}),
    ):
        taken = members_in("job/fields.c", rf'section = LC_SECTION_{section},\s+\.key = "(\w+)"')
        taken -= {"chat_template", "init_adapter"}  # paths: refused here
        expect(taken == set(described["properties"]), f"{section}: {taken ^ set(described['properties'])}")
    taken = members_in("serve/chat_request.c", r'\{"(\w+)", (?:read_|leave_out)')
    expect(taken == set(schemas["ChatRequest"]["properties"]), f"chats: {taken ^ set(schemas['ChatRequest']['properties'])}")


def test_document():
    """It is OpenAPI, has every route and nothing else, and bodies where there are some."""
    described = api_document.document()
    validate(described)
    validate(api_document.expanded("/openai"))
    served = {}
    for line in subprocess.run([LORAC, "serve", "--routes"], capture_output=True, text=True, check=True).stdout.splitlines():
        method, path, families, body, whom = line.split()
        served[method, path] = (families == "root", body, whom == "anybody")
    said = {}
    for path, item in described["paths"].items():
        for method, operation in item.items():
            if method != "servers":
                types = list(operation.get("requestBody", {}).get("content", {"none": 0}))
                body = {"application/json": "json", "multipart/form-data": "form"}.get(types[0], "none")
                said[method.upper(), path] = (api_document.is_at_root(item), body, operation.get("security") == [])
    expect(said == served, f"described and served differ: {sorted(set(said.items()) ^ set(served.items()))}")
    same(DOCUMENT, dump(described) + "\n")


class Nobody:
    """A story in which nothing was answered."""

    def __init__(self):
        self.record, self.facts, self.events = Record(), {}, []

    def call(self, *_, **__):
        return 0, {}, None


def test_checks():
    """Each of them fails where nothing was answered."""
    passed = [
        f"{title}: {row.what}"
        for title, section in surface.SECTIONS
        for row in section()
        if not row.is_proven and row.failure(Nobody()) is None
    ]
    expect(not passed, f"checks that cannot fail: {passed}")


def test_surface():
    with Server(options=["--running-jobs", "1", "--queued-jobs", "3", "--import"]) as server:
        story = Story(server)
        story.run()
        with Server(options=["--running-jobs", "1", "--queued-jobs", "1"]) as other:
            story.access(other)
        table, failures = surface.report(story)
    for failure in failures + story.record.misfits:
        print("  ", failure)
    misfits = len(story.record.misfits)
    print(re.search(".* rows: .*", table)[0], f"{len(failures)} are not so, {misfits} answers not as described")
    expect(not failures and not story.record.misfits, "see above")
    same(TABLE, table)


if __name__ == "__main__":
    sys.exit(main([test_members, test_document, test_checks, test_surface]))
