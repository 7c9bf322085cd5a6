"""Trains the base model on the CPU once; interrupted, it goes on from its last checkpoint.

Who calls it: make_base_model (--train). Matrices are stepped by Muon (momentum, then the nearest
orthogonal matrix by Newton-Schulz), embeddings and norms by AdamW. The rate warms up, stays, and
falls linearly to zero. Weights depend on the machine's arithmetic; only text and tokenizer are
reproduced byte for byte.

One process per core, each with its share of the batch: they meet twice a step, so training keeps
its pace on a busy machine, where threads that meet at every operation would wait for each other.
"""

import json
import os
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from tokenizers import Tokenizer

from . import corpus, packing
from .model import Sprout

SEED = 7
# A small batch while the model learns to copy, a larger one for the rest.
EARLY_STEPS, EARLY_ROWS, BATCH_ROWS = 800, 8, 16
WARMUP_STEPS = 40
DECAY_SHARE = 0.5
MUON_RATE, ADAM_RATE = 0.02, 4e-3
MUON_MOMENTUM = 0.95
# Once plain English is learned, prompts and stories, mostly unpredictable, count for less, and only
# one row in ten still holds stories.
FOCUS_STEP, FOCUS_FACTOR, FOCUS_STORY_SHARE = 300, 0.3, 0.1
# Later still, this share of the rows are drills: lookup among facts is the last thing learned.
DRILL_STEP, DRILL_SHARE = 1500, 0.45
CHECKPOINT_EVERY, EVALUATE_EVERY = 100, 200


def orthogonalize(matrix, iterations=5):
    """The nearest matrix with singular values near 1, by the quintic Newton-Schulz iteration."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.t()
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.t() if tall else x


class Muon(torch.optim.Optimizer):
    """Each process orthogonalizes its share of the matrices; the updates are then summed."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        rate, weights = self.param_groups[0]["lr"], self.param_groups[0]["params"]
        updates = []
        for number, weight in enumerate(weights):
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            momentum = state["momentum"].mul_(MUON_MOMENTUM).add_(weight.grad)
            mine = number % dist.get_world_size() == dist.get_rank()
            updates.append(orthogonalize(weight.grad + MUON_MOMENTUM * momentum) if mine
                           else torch.zeros_like(weight))
        sum_over_processes(updates)
        for weight, update in zip(weights, updates):
            scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
            weight.add_(update, alpha=-rate * scale)


def sum_over_processes(tensors):
    """Replaces each tensor by its sum over all processes, in one exchange."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
        tensor.copy_(part.view_as(tensor))


def rate_factor(step, progress):
    """Warm-up by steps, then the fall by progress (0 .. 1) through the training."""
    return min(1.0, (step + 1) / WARMUP_STEPS, (1 - progress) / DECAY_SHARE)


def agreed_progress(step, total_steps, seconds, limit_seconds):
    """How far training is, by steps or by time, whichever is further; process 0's clock counts."""
    progress = torch.tensor(max(step / total_steps, seconds / limit_seconds))
    dist.broadcast(progress, 0)
    return progress.item()


def weighted_loss(model, arrays, total_weight):
    """This process's part of the mean cross-entropy under the packed loss weights."""
    tokens, weights, documents = (torch.from_numpy(array) for array in arrays)
    logits = model(tokens[:, :-1].long(), documents[:, :-1])
    losses = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].long().flatten(), reduction="none")
    return (losses * weights[:, 1:].flatten()).sum() / total_weight


@torch.no_grad()
def held_out_shares(model, tokenizer, rows):
    """Share of held-out prompts per task whose whole answer is the likeliest at every token.

    Forced on the expected answer this equals a greedy exact match, in one pass over packed rows.
    """
    right = {}
    for row in rows:
        right.setdefault(row["task"], []).append(0)
    for task in right:
        encoded = [packing.encode(tokenizer, row) for row in rows if row["task"] == task]
        tokens, weights, documents = packing.pack(encoded)
        logits = model(torch.from_numpy(tokens[:, :-1]).long(), torch.from_numpy(documents[:, :-1]))
        wrong = (logits.argmax(-1).numpy() != tokens[:, 1:]) & (weights[:, 1:] == packing.WEIGHT_ANSWER)
        missed = {(row, documents[row, place + 1]) for row, place in zip(*np.nonzero(wrong))}
        right[task] = 1 - len(missed) / len(encoded)
    return right


def optimizers(model):
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.dim() == 1 or "embed" in n]
    return [Muon(matrices, MUON_RATE),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0)]


def save_checkpoint(path, model, opts, step, seconds):
    state = {"model": model.state_dict(), "opts": [o.state_dict() for o in opts], "step": step,
             "seconds": seconds}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, str(path) + ".new")
    os.replace(str(path) + ".new", path)


KINDS = ["story", "talk", "drill"]


def kind_of(document):
    return "story" if "text" in document else "drill" if "drill" in document else "talk"


def load_rows(corpus_path, tokenizer_path, work):
    """(packed rows, how many rows of each of KINDS, in this order); kept between runs."""
    cache = work / "packed.npz"
    if cache.exists() and cache.stat().st_mtime > corpus_path.stat().st_mtime:
        with np.load(cache) as saved:
            return (saved["tokens"], saved["weights"], saved["documents"]), saved["counts"].tolist()
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    documents = corpus.read_jsonl(corpus_path)
    groups = [packing.pack(packing.encode(tokenizer, row) for row in documents if kind_of(row) == kind)
              for kind in KINDS]
    packed, counts = tuple(np.concatenate(group) for group in zip(*groups)), [len(g[0]) for g in groups]
    np.savez(cache, tokens=packed[0], weights=packed[1], documents=packed[2], counts=counts)
    return packed, counts


def row_orders(counts):
    """Three orders of rows: from the start, from FOCUS_STEP and from DRILL_STEP on."""
    stories, talk, drills = counts
    shuffler = np.random.default_rng(SEED)
    early = shuffler.permutation(stories + talk)
    some_stories = min(stories, int(talk * FOCUS_STORY_SHARE / (1 - FOCUS_STORY_SHARE)))
    late = shuffler.permutation(np.concatenate([np.arange(stories, stories + talk), np.arange(some_stories)]))
    mixed = int(min(len(late), drills * (1 - DRILL_SHARE) / DRILL_SHARE))
    drilled = np.concatenate([late[-mixed:], np.arange(stories + talk, sum(counts))])
    return early, late, shuffler.permutation(drilled)


def save_weights(model, path):
    """bf16 under the published names; the tied head is not stored twice."""
    from safetensors.torch import save_file
    tensors = {name: weight.detach().to(torch.bfloat16).contiguous()
               for name, weight in model.state_dict().items()}
    save_file(tensors, str(path), metadata={"format": "pt"})
    path.chmod(0o644)


def resume(path, model, opts):
    """(first step, seconds spent before): from the checkpoint, or the beginning."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for opt, saved in zip(opts, state["opts"]):
        opt.load_state_dict(saved)
    return state["step"], state["seconds"]


def rows_before(step):
    """How many rows the steps before this one have used."""
    return min(step, EARLY_STEPS) * EARLY_ROWS + max(0, step - EARLY_STEPS) * BATCH_ROWS


def batch_of(packed, orders, step):
    """The rows of this step, with their weights as of this step."""
    order = orders[sum(step >= first for first in (FOCUS_STEP, DRILL_STEP))]
    chosen = order[np.arange(rows_before(step), rows_before(step + 1)) % len(order)]
    tokens, weights, documents = (array[chosen] for array in packed)
    if step >= FOCUS_STEP:
        weights = np.where(weights < packing.WEIGHT_ANSWER, weights * np.float32(FOCUS_FACTOR), weights)
    return tokens, weights, documents


def train_step(model, opts, batch, factor):
    """One step on the rows of `batch`; returns the loss over all processes."""
    total_weight = float(batch[1].sum())
    mine = slice(dist.get_rank(), None, dist.get_world_size())
    loss = weighted_loss(model, [array[mine] for array in batch], total_weight)
    loss.backward()
    loss = loss.detach()
    sum_over_processes([weight.grad for weight in model.parameters()] + [loss])
    for opt, rate in zip(opts, (MUON_RATE, ADAM_RATE)):
        opt.param_groups[0]["lr"] = rate * factor
        opt.step()
        opt.zero_grad(set_to_none=True)
    return loss.item()


def worker(rank, processes, model_dir, work, total_steps, limit_seconds):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{work}/rendezvous", rank=rank,
                            world_size=processes)
    packed, counts = load_rows(work / "corpus.jsonl", model_dir / "tokenizer.json", work)
    orders = row_orders(counts)
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    held_out = corpus.read_jsonl(model_dir / "tasks.jsonl")
    model = Sprout(SEED)
    opts = optimizers(model)
    first, spent = resume(work / "checkpoint.pt", model, opts)
    dist.barrier()
    if rank == 0:
        print(f"from step {first}; rows of {', '.join(KINDS)}: {counts}", flush=True)
    started = time.monotonic() - spent
    step, progress = first, 0.0
    while progress < 1:
        factor = rate_factor(step, progress)
        loss = train_step(model, opts, batch_of(packed, orders, step), factor)
        step, seconds = step + 1, time.monotonic() - started
        progress = agreed_progress(step, total_steps, seconds, limit_seconds)
        if rank != 0:
            continue
        if step % 10 == 0:
            print(f"step {step} loss {loss:.4f} rate {factor:.3f} {seconds:.0f}s", flush=True)
        if step % CHECKPOINT_EVERY == 0 or progress >= 1:
            save_checkpoint(work / "checkpoint.pt", model, opts, step, seconds)
        if step % EVALUATE_EVERY == 0 or progress >= 1:
            shares = held_out_shares(model, tokenizer, held_out)
            print("  " + " ".join(f"{task}={share:.2f}" for task, share in shares.items()), flush=True)
    if rank == 0:
        save_weights(model, model_dir / "model.safetensors")
        facts = {"steps": step, "tokens": rows_before(step) * packing.ROW_TOKENS,
                 "seconds": round(seconds)}
        (work / "training.json").write_text(json.dumps(facts) + "\n")
    dist.barrier()
    dist.destroy_process_group()


def train(model_dir, work, total_steps, limit_seconds, processes):
    """At most total_steps and at most limit_seconds; the rate reaches zero at whichever is first."""
    load_rows(work / "corpus.jsonl", model_dir / "tokenizer.json", work)
    (work / "rendezvous").unlink(missing_ok=True)
    mp.spawn(worker, args=(processes, model_dir, work, total_steps, limit_seconds), nprocs=processes)
