#!/usr/bin/env python3
# ctest: release
"""The program on real models beside transformers: greedy token ids, sampled text of the model that ships, merged weights.

usage: test_generation.py [--seed N]      needs LORAC_BUILD_DIR; skips what is not there
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

import parity_cases as cases

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
STORIES = os.path.join(ROOT, "..", "shared", "data", "models", "stories260K-hf")
SHIPPED = os.path.join(ROOT, "models", "sprout-3m")
NEW_TOKENS = 120


class Failed(Exception):
    pass


def lorac(*arguments, text=None):
    command = [os.path.join(os.environ["LORAC_BUILD_DIR"], "lorac"), *arguments]
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def reference_ids(model, prompt, count):
    """Greedy ids of transformers, and the smallest gap between the best and the second logit on the way."""
    with torch.no_grad():
        out = model.generate(torch.tensor([prompt]), max_new_tokens=count, do_sample=False, use_cache=True,
                             return_dict_in_generate=True, output_logits=True)
    gaps = [(top[0] - top[1]).item() for top in (logits[0].topk(2).values for logits in out.logits)]
    return out.sequences[0][len(prompt):].tolist(), min(gaps)


def greedy_ids(directory, generator):
    """Prompts of 1 to 40 random ids: the same continuation, token for token."""
    model = cases.load_model(directory)
    eos = model.generation_config.eos_token_id
    eos = set(eos if isinstance(eos, list) else [eos])
    for _ in range(12):
        length = int(torch.randint(1, 41, (1,), generator=generator))
        prompt = [1] + torch.randint(3, model.config.vocab_size, (length - 1,), generator=generator).tolist()
        expected, gap = reference_ids(model, prompt, NEW_TOKENS)
        printed = lorac("chat", "--model", directory, "--ids", "--temperature", "0", "--max-tokens", str(NEW_TOKENS),
                        "--prompt", " ".join(map(str, prompt)))
        found = [int(word) for word in printed.split()]
        while expected and expected[-1] in eos:
            expected.pop()
        while found and found[-1] in eos:
            found.pop()
        if found != expected:
            at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
            raise Failed(f"prompt {prompt}: differs from token {at} on (smallest gap between two logits {gap:.2e})")
    return f"12 prompts, {NEW_TOKENS} tokens each"


def raw_text(generator):
    """Prompts continued as they are: what transformers' decoding of the whole has behind the prompt."""
    model, tokenizer = cases.load_model(STORIES), PreTrainedTokenizerFast(tokenizer_file=os.path.join(STORIES, "tokenizer.json"))
    prompts = ["Once upon a time", "Lily", "The big dog", "One day, a little girl named Anna", "caf\xe9 \u2603", "  two  blanks "]
    for index in torch.randperm(len(prompts), generator=generator)[:5].tolist():
        prompt = prompts[index]
        ids = tokenizer(prompt)["input_ids"]
        new = reference_ids(model, ids, 60)[0]
        whole, before = (tokenizer.decode(some, skip_special_tokens=True) for some in (ids + new, ids))
        arguments = ["chat", "--model", STORIES, "--temperature", "0", "--max-tokens", "60"]
        for found in (lorac(*arguments, "--raw", "--prompt", prompt), lorac(*arguments, text=prompt + "\n")):
            if found != whole[len(before):] + "\n":
                raise Failed(f"{prompt!r}: {found!r}, expected {whole[len(before):]!r}")
    return "5 prompts"


def shipped_text(generator):
    """Chat through template and tokenizer of the shipped model: the text of transformers."""
    model, tokenizer = cases.load_model(SHIPPED), AutoTokenizer.from_pretrained(SHIPPED)
    with open(os.path.join(ROOT, "configs", "quickstart", "valid.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for index in torch.randperm(len(rows), generator=generator)[:8].tolist():
        messages = rows[index]["messages"]
        prompt = next(m["content"] for m in messages if m["role"] == "user")
        ids = tokenizer.apply_chat_template([m for m in messages if m["role"] == "system"] +
                                            [{"role": "user", "content": prompt}], add_generation_prompt=True,
                                            return_dict=False)
        expected = tokenizer.decode(reference_ids(model, ids, 60)[0], skip_special_tokens=True)
        system = [word for m in messages if m["role"] == "system" for word in ("--system", m["content"])]
        found = lorac("chat", "--model", SHIPPED, "--temperature", "0", "--max-tokens", "60", "--prompt", prompt, *system)
        if found.rstrip("\n") != expected.rstrip("\n"):
            raise Failed(f"{prompt!r}: {found!r}, expected {expected!r}")
    return "8 prompts"


def merged_weights(seed):
    """export --merge beside merge_and_unload, each rounded once to the files' type."""
    for name in ("llama-biases", "qwen2", "mistral-window"):
        with tempfile.TemporaryDirectory() as scratch:
            model_dir, adapter_dir = os.path.join(scratch, "model"), os.path.join(scratch, "adapter")
            model = cases.make_model(name, model_dir, seed)
            peft_model = cases.make_adapter(name, model, adapter_dir, seed + 1)
            out = os.path.join(scratch, "merged")
            report = json.loads(lorac("export", "--merge", "--model", model_dir, "--adapter", adapter_dir, "--out", out,
                                      "--json"))
            merged = dict(peft_model.merge_and_unload().state_dict())
            base = load_file(os.path.join(model_dir, "model.safetensors"))
            found = load_file(os.path.join(out, "model.safetensors"))
            if set(found) != set(base):
                raise Failed(f"{name}: tensors differ: {sorted(set(found) ^ set(base))[:3]}")
            for key, tensor in found.items():
                if tensor.dtype != base[key].dtype:
                    raise Failed(f"{name}: {key} is {tensor.dtype}, its base {base[key].dtype}")
                expected = merged[key].to(tensor.dtype)
                step = torch.finfo(tensor.dtype).eps * expected.float().abs()
                noise = 4e-7 * merged[key].float().abs().max()  # of the fp32 sums before rounding
                if not ((tensor.float() - expected.float()).abs() <= 1.01 * step + noise).all():
                    raise Failed(f"{name}: {key} differs from merge_and_unload by more than one rounding")
            loaded = cases.load_model(out)
            cases.logits_of(loaded, torch.arange(20))
            if not any("logit" in key for key in report):
                raise Failed(f"export reports no logit difference: {report}")
    return "3 models"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("LORAC_TEST_SEED", time.time() % 1e6)))
    seed = parser.parse_args().seed
    print(f"LORAC_TEST_SEED={seed}", flush=True)
    generator = torch.Generator().manual_seed(seed)
    checks = {"merge": (True, lambda: merged_weights(seed)),
              "greedy ids of stories260K": (os.path.exists(STORIES), lambda: greedy_ids(STORIES, generator)),
              "text of stories260K": (os.path.exists(STORIES), lambda: raw_text(generator)),
              "greedy ids of sprout-3m": (os.path.exists(os.path.join(SHIPPED, "model.safetensors")),
                                          lambda: greedy_ids(SHIPPED, generator)),
              "text of sprout-3m": (os.path.exists(os.path.join(SHIPPED, "model.safetensors")),
                                    lambda: shipped_text(generator))}
    failures = 0
    for name, (is_there, check) in checks.items():
        try:
            print(f"ok   {name}: {check()}" if is_there else f"skip {name}: the model is not there", flush=True)
        except Failed as failure:
            print(f"FAIL {name}: {failure}", flush=True)
            failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
