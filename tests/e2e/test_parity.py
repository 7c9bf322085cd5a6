#!/usr/bin/env python3
# ctest: release
"""lora.c beside PyTorch + transformers + PEFT in fp32 on the CPU: loss, gradients, 50 optimizer steps, saved adapters.

usage: test_parity.py [--seed N] [--keep DIR] [CASE ...]      needs LORAC_BUILD_DIR
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file

import parity_cases as cases

LOSS, GRADIENT, TRAINED_LOSS, LOGITS = 1e-5, 1e-4, 1e-4, 1e-4  # relative bounds


class Failed(Exception):
    pass


def probe(verb, directory, adapter, out, **options):
    command = [os.path.join(os.environ["LORAC_BUILD_DIR"], "tests", "parity_probe"), verb,
               "--model", os.path.join(directory, "model"), "--data", os.path.join(directory, "data.safetensors"),
               "--adapter", adapter, "--out", out]
    for key, value in options.items():
        command += [f"--{key}", str(value)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def relative(found, expected):
    return abs(found - expected) / abs(expected)


def relative_l2(found, expected):
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def expect(what, error, bound):
    if not error <= bound:
        raise Failed(f"{what}: {error:.2e}, allowed {bound:.0e}")
    return error


def check_gradients(directory, model, dataset):
    loss, weight, gradients = cases.loss_and_gradients(model, dataset)
    worst = 0.0
    for options in (dict(tokens=128), dict(tokens=64, packing=0, threads=2), dict(tokens=1600, documents=len(dataset["offsets"]) // 2)):
        out = os.path.join(directory, "grad.safetensors")
        found = json.loads(probe("grad", directory, os.path.join(directory, "adapter"), out, **options))
        expect(f"weight with {options}", relative(found["weight"], weight), 1e-12)
        loss_error = expect(f"loss with {options}", relative(found["loss"], loss), LOSS)
        tensors = load_file(out)
        if set(tensors) != set(gradients):
            raise Failed(f"adapter tensors differ: {sorted(set(tensors) ^ set(gradients))[:4]}")
        for name, expected in gradients.items():
            if tensors[name].shape != expected.shape:
                raise Failed(f"{name}: shape {tuple(tensors[name].shape)}, expected {tuple(expected.shape)}")
            worst = max(worst, expect(f"gradient of {name} with {options}", relative_l2(tensors[name], expected),
                                      GRADIENT))
        os.remove(out)
    return loss_error, worst


def check_logits(directory, adapter, model, dataset):
    """Ours, through the generation path, against PEFT with the same adapter files."""
    worst = 0.0
    for chunk in (256, 5, 1):
        out = os.path.join(directory, "logits.safetensors")
        probe("logits", directory, adapter, out, chunk=chunk, tokens=256)
        found, begin = load_file(out)["logits"], 0
        for ids, _ in cases.documents_of(dataset):
            with torch.no_grad():
                expected = cases.logits_of(model, ids)
            error = ((found[begin:begin + len(ids)] - expected).abs().max() / expected.abs().max()).item()
            worst = max(worst, expect(f"logits, {chunk} tokens a call, document at {begin}", error, LOGITS))
            begin += len(ids)
        os.remove(out)
    return worst


def check_training(directory, dataset):
    options = cases.TRAINING
    reference = cases.load_adapter(os.path.join(directory, "model"), os.path.join(directory, "adapter"))
    expected = cases.train(reference, dataset, **options)
    trained = os.path.join(directory, "trained")
    os.makedirs(trained)
    lines = probe("train", directory, os.path.join(directory, "adapter"), trained, tokens=96, **options).split()
    found = [float(line) for line in lines]
    if len(found) != len(expected):
        raise Failed(f"{len(found)} losses, expected {len(expected)}")
    worst = max(expect(f"loss of step {i + 1}", relative(a, b), TRAINED_LOSS)
                for i, (a, b) in enumerate(zip(found, expected)))
    if not max(relative(loss, expected[0]) for loss in expected) > 0.02:  # rows that hardly train would compare nothing
        raise Failed(f"the reference stood still: {expected[0]:.4f} -> {expected[-1]:.4f}")
    saved = cases.load_adapter(os.path.join(directory, "model"), trained)
    return worst, check_logits(directory, trained, saved, dataset)


def run_case(name, directory, seed):
    model = cases.make_model(name, os.path.join(directory, "model"), seed)
    dataset = cases.make_dataset(os.path.join(directory, "data.safetensors"), seed + 2,
                                 documents=cases.CASES[name][2].get("documents", 9))
    peft_model = cases.make_adapter(name, model, os.path.join(directory, "adapter"), seed + 3)
    loss, gradient = check_gradients(directory, peft_model, dataset)
    logits = check_logits(directory, os.path.join(directory, "adapter"), peft_model, dataset)
    trained, saved = check_training(directory, dataset)
    return (f"loss {loss:.1e}  gradient {gradient:.1e}  logits {logits:.1e}  50 steps {trained:.1e}  "
            f"saved adapter {saved:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("LORAC_TEST_SEED", time.time() % 1e6)))
    parser.add_argument("--keep", help="leave the files of each case here")
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    print(f"LORAC_TEST_SEED={arguments.seed} {cases.versions()}", flush=True)
    failures = 0
    for name in arguments.cases or cases.CASES:
        directory = tempfile.mkdtemp()
        try:
            print(f"ok   {name:16} {run_case(name, directory, arguments.seed)}", flush=True)
        except Failed as failure:
            print(f"FAIL {name:16} {failure}", flush=True)
            failures += 1
        if arguments.keep:
            shutil.copytree(directory, os.path.join(arguments.keep, name), dirs_exist_ok=True)
        shutil.rmtree(directory)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
