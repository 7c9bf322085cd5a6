#!/usr/bin/env python3
"""Makes tests/golden/tokenizers: small tokenizers with the pipeline of every family, and what Hugging Face's tokenizers make of texts.

usage: .venv/bin/python tests/golden/make_tokenizers.py [--seed N]

NAME/tokenizer.json, and NAME/cases.jsonl with a line a case: [text, ids, offsets, ids without special tokens, other ids, their
text, their text without special tokens]. tests/unit/tokenizer_golden_test.c reads them.
"""
import argparse
import json
import os
import random
import sys

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import tokenizers  # noqa: E402
import tokenizer_families as families  # noqa: E402

OUT = os.path.join(ROOT, "tests", "golden", "tokenizers")
CASES = 16
LONGEST = 24  # characters of a text


def cases(tokenizer, added, rng):
    texts = [text for text in families.texts(rng, added, 400) if "\0" not in text and len(text) <= LONGEST]
    size = tokenizer.get_vocab_size() + 5
    for text in [""] + texts[:CASES - 1]:
        encoding = tokenizer.encode(text)
        ids = encoding.ids[::-1] if rng.random() < 0.5 else [rng.randrange(size) for _ in range(rng.randint(0, 9))]
        yield [text, encoding.ids, [list(pair) for pair in encoding.offsets], tokenizer.encode(text, add_special_tokens=False).ids,
               ids, tokenizer.decode(ids, skip_special_tokens=False), tokenizer.decode(ids, skip_special_tokens=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    for name in families.FAMILIES:
        folder = os.path.join(OUT, name)
        os.makedirs(folder, exist_ok=True)
        model = families.build(name, 340, seed)
        text = json.dumps(model, ensure_ascii=False, indent=None, separators=(",", ":"))
        with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as out:
            out.write(text + "\n")
        tokenizer = tokenizers.Tokenizer.from_str(text)
        added = [token["content"] for token in model["added_tokens"]]
        with open(os.path.join(folder, "cases.jsonl"), "w", encoding="utf-8") as out:
            for case in cases(tokenizer, added, random.Random(f"{seed} {name}")):
                if "\0" not in case[5]:
                    out.write(json.dumps(case, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
