#!/usr/bin/env python3
"""A short campaign: texts of every family through lorac tokenize and Hugging Face's tokenizers (scripts/tokenizer_campaign); and
folders whose other files say more of added tokens than tokenizer.json, beside transformers.

usage: test_tokenizers.py [--seed N]      needs LORAC_BUILD_DIR
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
GOLDEN = os.path.join(ROOT, "tests", "golden", "tokenizers")
LORAC = os.path.join(os.environ.get("LORAC_BUILD_DIR", os.path.join(ROOT, "build/release")), "lorac")
STRINGS = 150  # of a family
FOLDERS = 16
NEW = ["<new>", "[PAD]", "<a b>", "the", "</x>", "\u00e9\u00e9", "<|im_sep|>"]
NAMES = ["bos_token", "eos_token", "pad_token", "cls_token", "image_token", "extra_special_tokens", "additional_special_tokens",
         "model_specific_special_tokens"]


def flags(rng):
    names = ["lstrip", "rstrip", "normalized", "single_word", "special"]
    return {name: rng.random() < 0.4 for name in names if rng.random() < 0.8}


def write_configuration(rng, folder, known, size):
    """tokenizer_config.json, or the files of older directories."""
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    chosen = rng.sample(NEW, rng.randint(0, 4))
    for name in rng.sample(NAMES, rng.randint(0, 4)):
        content = rng.choice(NEW + [token["content"] for token in known])
        config[name] = content if "tokens" not in name else [content]
        if name == "model_specific_special_tokens" or (name == "extra_special_tokens" and rng.random() < 0.3):
            config[name] = {"boi_token": content}
    if rng.random() < 0.6:
        config["added_tokens_decoder"] = {
            str(token["id"]): {k: v for k, v in token.items() if k != "id"} if rng.random() < 0.5 else
            {"content": token["content"], **flags(rng)} for token in known if rng.random() < 0.8}
        for i, content in enumerate(chosen):
            config["added_tokens_decoder"][str(size + i)] = {"content": content, **flags(rng)}
    else:
        files = {"added_tokens.json": {content: size + i for i, content in enumerate(chosen)},
                 "special_tokens_map.json": {"sep_token": {"content": "<sep>", "lstrip": rng.random() < 0.5},
                                             "eos_token": rng.choice(NEW)}}
        for name, content in files.items():
            if rng.random() < 0.7:
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    json.dump(content, file)
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)


def raw(folder, lines, *options):
    """Answers of lorac tokenize, one a line; its error for all of them."""
    done = subprocess.run([LORAC, "tokenize", "--model", folder, "--raw", *options], input="\n".join(lines) + "\n", capture_output=True,
                          text=True, check=False)
    return done.stdout.split("\n")[:-1] or [json.dumps(done.stderr)] * len(lines)


def check_folder(rng, family):
    """Texts of that folder which come out otherwise than by transformers."""
    from transformers import AutoTokenizer
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(os.path.join(GOLDEN, family, "tokenizer.json"), folder)
        with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as file:
            known = json.load(file)
        size = max([*known["model"]["vocab"].values(), *[token["id"] for token in known["added_tokens"]]]) + 1
        known = known["added_tokens"]
        write_configuration(rng, folder, known, size)
        reference = AutoTokenizer.from_pretrained(folder)
        pieces = NEW + ["<sep>"] + [token["content"] for token in known][:8] + [" ", "  ", "x", "the ", "e"]
        texts = ["".join(rng.choices(pieces, k=rng.randint(1, 8))) for _ in range(40)]
        expected = reference(texts)["input_ids"]
        got = raw(folder, [json.dumps(text) for text in texts])
        files = sorted(os.listdir(folder))
        differing = [(family, text, str(ids), answer, files) for text, ids, answer in zip(texts, expected, got) if str(ids) != answer]
        decoded = [reference.backend_tokenizer.decode(ids, skip_special_tokens=True) for ids in expected]
        got = raw(folder, [json.dumps(ids) for ids in expected], "--decode", "--no-special")
        return differing + [(family, str(ids), text, answer, files) for ids, text, answer in zip(expected, decoded, got)
                            if json.dumps(text) != json.dumps(json.loads(answer))]


def check_folders(seed):
    rng = random.Random(seed)
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        print(f"folders skipped: {error}")
        return 0
    names = ["gpt-2", "qwen-3", "llama-3", "smollm-2"]
    differing = [row for i in range(FOLDERS) for row in check_folder(rng, names[i % len(names)])]
    for row in differing[:5]:
        print("differs:", *row)
    return 1 if differing else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("LORAC_TEST_SEED", time.time() % 1e6)))
    seed = parser.parse_args().seed
    print(f"LORAC_TEST_SEED={seed}", flush=True)
    failed = check_folders(seed)
    return subprocess.run([sys.executable, os.path.join(ROOT, "scripts", "tokenizer_campaign"), "--golden", "--strings", str(STRINGS),
                           "--seed", str(seed)], check=False).returncode or failed


if __name__ == "__main__":
    sys.exit(main())
