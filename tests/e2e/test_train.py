#!/usr/bin/env python3
# ctest: release
"""`lorac train` from job file to adapter, beside PyTorch + PEFT: the losses in results.csv, validation, and what PEFT makes
of the adapters that come out.

usage: test_train.py [--seed N]      needs LORAC_BUILD_DIR
"""
import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file

import parity_cases as cases

STEPS_BOUND, VALID_BOUND = 1e-4, 1e-5  # relative


class Failed(Exception):
    pass


def train(scratch, name, fields, **lorac):
    """Runs a job; the rows of results.csv."""
    job = {"model": os.path.join(scratch, "model"), "training_file": os.path.join(scratch, "data.safetensors"),
           "validation_file": os.path.join(scratch, "valid.safetensors"), "seed": 3,
           "method": {"type": "supervised", "supervised": {"hyperparameters": fields}},
           "lorac": {"device": "cpu", "dtype": "fp32", "max_seq_len": 64, "shuffle": False, **lorac}}
    path, out = os.path.join(scratch, f"{name}.json"), os.path.join(scratch, name)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(job, file)
    command = [os.path.join(os.environ["LORAC_BUILD_DIR"], "lorac"), "train", path, "--out", out]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit {result.returncode}: {result.stderr.strip()}")
    with open(os.path.join(out, "results.csv"), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mean_loss(model, dataset):
    """Weighted mean nll and the share of targets that are the argmax."""
    loss, weight, correct, targets = 0.0, 0.0, 0, 0
    with torch.no_grad():
        for ids, weights in cases.documents_of(dataset):
            logits = cases.logits_of(model, ids)[:-1]
            nll = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
            trained = weights[1:] > 0
            loss += (nll * weights[1:]).sum().item()
            weight += weights.sum().item()
            correct += ((logits.argmax(-1) == ids[1:]) & trained).sum().item()
            targets += trained.sum().item()
    return loss / weight, correct / targets


def expect(what, found, expected, bound):
    error = abs(float(found) - expected) / max(abs(expected), 1e-12)
    if not error <= bound:
        raise Failed(f"{what}: {found}, expected {expected:.9g}")


def from_init_adapter(scratch, seed):
    """An initial PEFT adapter, AdamW, clipping, cosine: every loss, validation, checkpoint, final adapter."""
    model_dir, adapter_dir = os.path.join(scratch, "model"), os.path.join(scratch, "start")
    cases.make_adapter("qwen3", cases.load_model(model_dir), adapter_dir, seed)
    data, valid = (load_file(os.path.join(scratch, f"{name}.safetensors")) for name in ("data", "valid"))
    rows = train(scratch, "init", {"n_epochs": 5, "batch_size": 3}, init_adapter=adapter_dir, learning_rate=5e-3,
                 grad_clip=0.5, weight_decay=0.01, warmup_ratio=0.2, schedule="cosine", eval_every_steps=4)
    reference = cases.load_adapter(model_dir, adapter_dir)
    losses = cases.train(reference, data, steps=len(rows), batch=3, lr=5e-3, clip=0.5, warmup=len(rows) // 5, decay=0.01)
    if len(rows) != 15 or rows[3]["valid_loss"] == "" or rows[4]["valid_loss"] != "":
        raise Failed(f"results.csv has {len(rows)} rows, or validation at the wrong steps")
    for row, loss in zip(rows, losses):
        expect(f"train_loss of step {row['step']}", row["train_loss"], loss, STEPS_BOUND)
    saved = cases.load_adapter(model_dir, os.path.join(scratch, "init", "adapter"))
    loss, accuracy = mean_loss(saved, valid)
    expect("full_valid_loss", rows[-1]["full_valid_loss"], loss, VALID_BOUND)
    expect("full_valid_mean_token_accuracy", rows[-1]["full_valid_mean_token_accuracy"], accuracy, 1e-9)
    loss, _ = mean_loss(reference, valid)
    expect("validation loss of the two trained adapters", rows[-1]["full_valid_loss"], loss, STEPS_BOUND)
    newest = cases.load_adapter(model_dir, os.path.join(scratch, "init", "checkpoints", "epoch-5"))
    expect("loss of checkpoints/epoch-5", mean_loss(newest, valid)[0], mean_loss(saved, valid)[0], 1e-12)
    kept = sorted(os.listdir(os.path.join(scratch, "init", "checkpoints")))
    if kept != ["epoch-3", "epoch-4", "epoch-5"]:
        raise Failed(f"checkpoints kept: {kept}")
    return f"{len(rows)} steps, loss {losses[0]:.3f} -> {losses[-1]:.3f}"


def fresh_adapters(scratch):
    """Every way to choose what is adapted: PEFT loads the result and agrees on the validation loss."""
    model_dir, valid = os.path.join(scratch, "model"), load_file(os.path.join(scratch, "valid.safetensors"))
    base, _ = mean_loss(cases.load_model(model_dir), valid)
    settings = {"all": dict(rank=5, alpha=10, target_modules="all-linear", dropout=0.1),
                "mlp": dict(rank=16, alpha=16, target_modules=["gate_proj", "up_proj", "down_proj"], use_rslora=True),
                "regex": dict(rank=1, alpha=4, target_modules=r".*\.self_attn\.(q|v)_proj"),
                "layer": dict(rank=3, alpha=9, target_modules=["o_proj", "up_proj"], layers_to_transform=[1])}
    for name, lora in settings.items():
        rows = train(scratch, name, {"n_epochs": 4, "batch_size": 4}, learning_rate=1e-2, schedule="linear", **lora)
        loss, _ = mean_loss(cases.load_adapter(model_dir, os.path.join(scratch, name, "adapter")), valid)
        expect(f"{name}: full_valid_loss", rows[-1]["full_valid_loss"], loss, VALID_BOUND)
        if abs(loss - base) < 1e-4:
            raise Failed(f"{name}: training changed nothing")
    return f"{', '.join(settings)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("LORAC_TEST_SEED", time.time() % 1e6)))
    seed = parser.parse_args().seed
    print(f"LORAC_TEST_SEED={seed}", flush=True)
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        cases.make_model("qwen3", os.path.join(scratch, "model"), seed)
        cases.make_dataset(os.path.join(scratch, "data.safetensors"), seed + 1)
        cases.make_dataset(os.path.join(scratch, "valid.safetensors"), seed + 2, documents=6)
        for name, check in (("init_adapter", lambda: from_init_adapter(scratch, seed)),
                            ("fresh", lambda: fresh_adapters(scratch))):
            try:
                print(f"ok   {name}: {check()}", flush=True)
            except Failed as failure:
                print(f"FAIL {name}: {failure}", flush=True)
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
