#!/usr/bin/env python3
# ctest: release e2e
"""Rows of a file through lorac tokenize and transformers' apply_chat_template: the same ids, the same assistant masks.

usage: test_rows.py [--seed N] [--rows N]      needs LORAC_BUILD_DIR

Templates that mark the assistant's part, placed so that tokens reach across its borders, on the golden tokenizers of
published families; and the two forms of tool calls' arguments and of content, of which transformers is shown the one
that the template takes.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
LORAC = os.path.join(os.environ.get("LORAC_BUILD_DIR", os.path.join(ROOT, "build/release")), "lorac")
TOKENIZERS = ["gpt-2", "llama-2", "llama-3", "qwen-3", "smollm-2", "tekken"]
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 200000, "hidden_size": 64,
          "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 100000}
WORDS = ["hi", "Hello there", "  lead", "trail  ", "\n\nx", "\xe9", "\u65e5\u672c", "\U0001f600", "1234", "", "don't", "a b c",
         "'s", "_", "the", "wor", "ld"]
ANSWER = "{% generation %}{{ m.content }}{% endgeneration %}"
CALLS = "{% for c in m.tool_calls or [] %}{{ c.function.name ~ ' ' }}{{ ARGUMENTS }}\n{% endfor %}"
SHAPE = "{% for m in messages %}{{ m.role }}BEHIND{% if m.role == 'assistant' %}ANSWER{% else %}{{ m.content }}{% endif %}ENDS{% endfor %}"
TEMPLATES = [  # (template, arguments as objects)
    (SHAPE.replace("BEHIND", "{{ ': ' }}").replace("ANSWER", ANSWER).replace("ENDS", "{{ '\n' }}"), None),
    (SHAPE.replace("BEHIND", "").replace("ANSWER", ANSWER).replace("ENDS", ""), None),
    (SHAPE.replace("BEHIND", "{{ '\n' }}").replace("ANSWER", ANSWER + CALLS.replace("ARGUMENTS", "c.function.arguments | tojson"))
     .replace("ENDS", "{{ '\n' }}"), True),
    (SHAPE.replace("BEHIND", "{{ ' ' }}").replace("ANSWER", CALLS.replace("ARGUMENTS", "c.function.arguments + ''") + ANSWER)
     .replace("ENDS", ""), False),
]


def text(rng):
    return "".join(rng.choices(WORDS, k=rng.randint(0, 3)))


def row(rng, with_calls):
    """A row as the API has it."""
    messages = []
    for _ in range(rng.randint(1, 3)):
        answer = {"role": "assistant", "content": rng.choice(["yes", "no", ""]) + text(rng) + "."}
        if with_calls:
            arguments = json.dumps({rng.choice(["a", "\xe9"]): rng.choice([1, 2.0, "x\"y", None, [True]])})
            answer["tool_calls"] = [{"id": "abcdef123", "type": "function", "function": {"name": "f", "arguments": arguments}}]
        question = text(rng)
        parts = [{"type": "text", "text": question[:2]}, {"type": "text", "text": question[2:]}]
        messages += [{"role": "user", "content": rng.choice([question, parts])}, answer]
    return {"messages": messages}


def shown(messages, as_objects):
    """The same in the forms that the template takes."""
    made = json.loads(json.dumps(messages))
    for message in made:
        if isinstance(message["content"], list):
            message["content"] = "".join(part["text"] for part in message["content"])
        for call in message.get("tool_calls", []):
            if as_objects:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return made


def compare(name, template, as_objects, rows, scratch):
    from safetensors.numpy import load_file
    from transformers import PreTrainedTokenizerFast
    shutil.copy(os.path.join(ROOT, "tests/golden/tokenizers", name, "tokenizer.json"), scratch)
    paths = {part: os.path.join(scratch, part) for part in ["config.json", "rows.jsonl", "t.jinja", "out.safetensors"]}
    for part, content in [("config.json", json.dumps(CONFIG)), ("t.jinja", template),
                          ("rows.jsonl", "".join(json.dumps(r) + "\n" for r in rows))]:
        with open(paths[part], "w", encoding="utf-8", newline="") as file:
            file.write(content)
    if os.path.exists(paths["out.safetensors"]):
        os.unlink(paths["out.safetensors"])
    subprocess.run([LORAC, "tokenize", paths["rows.jsonl"], "--model", scratch, "--chat-template", paths["t.jinja"], "--out",
                    paths["out.safetensors"]], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    got = load_file(paths["out.safetensors"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(scratch, "tokenizer.json"))
    for i, one in enumerate(rows):
        part = slice(got["offsets"][i], got["offsets"][i + 1])
        expected = tokenizer.apply_chat_template(shown(one["messages"], as_objects), chat_template=template, tokenize=True,
                                                 return_dict=True, return_assistant_tokens_mask=True)
        mask = [0] + list(expected["assistant_masks"])[1:]  # nothing stands before the first token
        if got["input_ids"][part].tolist() != expected["input_ids"] or got["loss_weights"][part].tolist() != mask:
            print(f"{name}, {template!r}\n{json.dumps(one)}\nids   {got['input_ids'][part].tolist()}\n   of {expected['input_ids']}\n"
                  f"mask  {got['loss_weights'][part].tolist()}\n   of {mask}")
            return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("LORAC_TEST_SEED", time.time() % 1e6)))
    parser.add_argument("--rows", type=int, default=25)
    options = parser.parse_args()
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        print(f"skipped: {error}")
        return 77
    print(f"LORAC_TEST_SEED={options.seed}", flush=True)
    rng = random.Random(options.seed)
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in TOKENIZERS:
            for template, as_objects in TEMPLATES:
                rows = [row(rng, as_objects is not None) for _ in range(options.rows)]
                failures += compare(name, template, as_objects, rows, scratch)
    print(f"{len(TOKENIZERS) * len(TEMPLATES)} files of {options.rows} rows, {failures} differ")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
