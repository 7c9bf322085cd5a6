#!/usr/bin/env python3
# ctest: release e2e
"""Templates at hand against transformers: a short run of scripts/template_campaign; messages that are continued;
arguments of tool calls in the form that the template does not take; and a row that fails among others."""

import importlib.machinery
import json
import os
import random
import subprocess
import sys
import tempfile

ROOT = os.environ.get("LORAC_SOURCE_DIR", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.environ.get("LORAC_BUILD_DIR", os.path.join(ROOT, "build/release"))
CAMPAIGN = os.path.join(ROOT, "scripts/template_campaign")
DATA = os.path.join(ROOT, "../shared/data/templates")


def lorac(path, rows, options=("--normalize",)):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run([os.path.join(BUILD, "lorac"), "template", "--date", "2024-07-26", "--chat-template", path,
                           *options], input=text, stdout=subprocess.PIPE, text=True, timeout=100)
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def transformers_text(template, row):
    from transformers.utils.chat_template_utils import render_jinja_template
    row = dict(row, messages=[{k: v for k, v in m.items() if v is not None} for m in row["messages"]])
    return render_jinja_template(conversations=[row.pop("messages")], chat_template=template, **row)[0][0]


def continued_in(campaign):
    return lambda path: continued(campaign, path)


def continued(campaign, path):
    """The first that differs: (row, expected, got)."""
    r = random.Random(path)
    rows, template, rendered = [], read(path), 0
    for _ in range(60):
        messages = campaign.plain_messages(r)
        messages = [m for m in messages if m["role"] in ("user", "assistant") and not m.get("tool_calls")]
        if r.random() < 0.2:
            messages[-1]["content"] = r.choice([None, " trailing \u00a0", ""])
        rows.append({"messages": messages, "bos_token": "<s>", "eos_token": "</s>",
                     "continue_final_message": r.choice([True, True, True, "reasoning_content", "thinking"])})
    for row, got in zip(rows, lorac(path, rows)):
        try:
            expected = transformers_text(template, row)
            rendered += 1
        except Exception:  # whatever Python raises
            expected = None
        if got != expected and not (expected is None and isinstance(got, dict)):
            return row, expected, got
    return rendered > 0 or os.path.basename(path)


def with_arguments(arguments):
    call = {"id": "call00001", "type": "function", "function": {"name": "f", "arguments": arguments}}
    parameters = {"type": "object", "properties": {"city": {"type": "string", "description": "c"}}}
    return {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [call]}],
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}],
            "bos_token": "<s>", "eos_token": "</s>"}


VALUE = {"city": "Łódź", "n": [1, 2.5, None], "x": 1.0}
VALUE_TEXT = json.dumps(VALUE, ensure_ascii=False)


def arguments_agree(path):
    """Strings come out as the objects that transformers wants."""
    expected = transformers_text(read(path), with_arguments(VALUE))
    got = lorac(path, [with_arguments(VALUE), with_arguments(json.dumps(VALUE))])
    return got == [expected, expected] and "Łódź" in expected or (path, expected, got)


def arguments_as_text_agree(path):
    """The other way round; without --normalize the object is an error, as in transformers."""
    try:
        return (path, transformers_text(read(path), with_arguments(VALUE)), "renders an object")
    except TypeError as error:
        refusal = str(error)
    expected = transformers_text(read(path), with_arguments(VALUE_TEXT))
    got = lorac(path, [with_arguments(VALUE), with_arguments(VALUE_TEXT)])
    raw = lorac(path, [with_arguments(VALUE), with_arguments(VALUE_TEXT)], ())
    return (got == [expected, expected] and refusal in raw[0]["error"] and raw[1] == expected
            and VALUE_TEXT in expected) or (path, refusal, expected, got, raw)


def rows_that_fail(path):
    """An error each, and the run goes on."""
    rows = [{"messages": [{"role": "user", "content": content}], "bos_token": "", "eos_token": "", **more}
            for content, more in (("a", {}), ("a\u0000b", {}), ("a", {"self": 1}), ("a", {}))]
    got = lorac(path, rows)
    return (got[0] == got[3] == transformers_text(read(path), rows[0]) and "\\u0000 is not" in got[1]["error"]
            and "self" in got[2]["error"]) or (path, got)


# Templates that take objects alone, and one that takes texts alone.
TEXTS = ("{%- for m in messages %}{%- if m['role'] == 'user' %}{{ '<U>' + m['content'] }}{%- else %}"
         "{%- for tool in m['tool_calls'] %}{{ '<A>' + tool['function']['name'] + '\n' + tool['function']['arguments'] }}"
         "{%- endfor %}{{ eos_token }}{%- endif %}{%- endfor %}")
WANT_OBJECTS = ["Qwen-Qwen2.5-7B-Instruct", "meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.3-70B-Instruct",
                "mistralai-Mistral-Nemo-Instruct-2407"]


def main():
    try:
        import jinja2  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        print("skipped: %s" % error)
        return 77
    campaign = importlib.machinery.SourceFileLoader("template_campaign", CAMPAIGN).load_module()
    failed = 0
    paths = [os.path.join(ROOT, "models/sprout-3m/chat_template.jinja")]
    folder = tempfile.TemporaryDirectory()
    made = os.path.join(folder.name, "texts.jinja")
    with open(made, "w", encoding="utf-8") as file:
        file.write(TEXTS)
    checks = [(continued_in(campaign), paths), (rows_that_fail, paths), (arguments_as_text_agree, [made])]
    if os.path.isdir(DATA):
        objects = [os.path.join(DATA, name + ".jinja") for name in WANT_OBJECTS]
        checks += [(continued_in(campaign), objects), (arguments_agree, objects)]
    for check, templates in checks:
        for path in templates:
            verdict = check(path)
            if verdict is not True:
                print("%s: %r" % (path, verdict))
                failed = 1
    return subprocess.run([sys.executable, CAMPAIGN, "--lorac", os.path.join(BUILD, "lorac"), "--conversations", "8",
                           "--programs", "300", "--seed", "20240726"]).returncode or failed


if __name__ == "__main__":
    sys.exit(main())
