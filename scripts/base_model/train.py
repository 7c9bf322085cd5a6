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
BATCH_ROWS = 16
WARMUP_STEPS = 40
DECAY_SHARE = 0.5
MUON_RATE, ADAM_RATE = 0.02, 4e-3
MUON_MOMENTUM = 0.95
# Once plain English is learned, prompts and stories, mostly unpredictable, count for less.
FOCUS_STEP, FOCUS_FACTOR = 400, 0.3
CHECKPOINT_EVERY, EVALUATE_EVERY = 100, 150


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


def rate_factor(step, total):
    decay_start = total * (1 - DECAY_SHARE)
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    return min(1.0, (total - step) / (total - decay_start))


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
    torch.save(state, str(path) + ".new")
    os.replace(str(path) + ".new", path)


def load_rows(corpus_path, tokenizer_path, work):
    """Packed rows of the corpus, kept in the work folder between runs."""
    cache = work / "packed.npz"
    if cache.exists() and cache.stat().st_mtime > corpus_path.stat().st_mtime:
        with np.load(cache) as saved:
            return saved["tokens"], saved["weights"], saved["documents"]
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    packed = packing.pack(packing.encode(tokenizer, row) for row in corpus.read_jsonl(corpus_path))
    np.savez(cache, tokens=packed[0], weights=packed[1], documents=packed[2])
    return packed


def save_weights(model, path):
    """bf16 under the published names; the tied head is not stored twice."""
    from safetensors.torch import save_file
    tensors = {name: weight.detach().to(torch.bfloat16).contiguous()
               for name, weight in model.state_dict().items()}
    save_file(tensors, str(path), metadata={"format": "pt"})


def resume(path, model, opts):
    """(first step, seconds spent before): from the checkpoint, or the beginning."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for opt, saved in zip(opts, state["opts"]):
        opt.load_state_dict(saved)
    return state["step"], state["seconds"]


def batch_of(packed, chosen, step):
    """The rows `chosen`, their weights as of this step."""
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


def worker(rank, processes, model_dir, work, total_steps):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{work}/rendezvous", rank=rank,
                            world_size=processes)
    packed = load_rows(work / "corpus.jsonl", model_dir / "tokenizer.json", work)
    order = np.random.default_rng(SEED).permutation(len(packed[0]))
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    held_out = corpus.read_jsonl(model_dir / "tasks.jsonl")
    model = Sprout(SEED)
    opts = optimizers(model)
    first, spent = resume(work / "checkpoint.pt", model, opts)
    dist.barrier()
    if rank == 0:
        print(f"from step {first}; {len(order) // BATCH_ROWS} steps a pass", flush=True)
    started = time.monotonic() - spent
    for step in range(first, total_steps):
        chosen = order[np.arange(step * BATCH_ROWS, (step + 1) * BATCH_ROWS) % len(order)]
        loss = train_step(model, opts, batch_of(packed, chosen, step), rate_factor(step, total_steps))
        if rank != 0:
            continue
        done, seconds, last = step + 1, time.monotonic() - started, step + 1 == total_steps
        if done % 10 == 0:
            print(f"step {done}/{total_steps} loss {loss:.4f} {seconds:.0f}s", flush=True)
        if done % CHECKPOINT_EVERY == 0 or last:
            save_checkpoint(work / "checkpoint.pt", model, opts, done, seconds)
        if done % EVALUATE_EVERY == 0 or last:
            shares = held_out_shares(model, tokenizer, held_out)
            print("  " + " ".join(f"{task}={share:.2f}" for task, share in shares.items()), flush=True)
    if rank == 0:
        save_weights(model, model_dir / "model.safetensors")
        facts = {"steps": total_steps, "tokens": total_steps * BATCH_ROWS * packing.ROW_TOKENS,
                 "seconds": round(time.monotonic() - started)}
        (work / "training.json").write_text(json.dumps(facts) + "\n")
    dist.barrier()
    dist.destroy_process_group()


def train(model_dir, work, total_steps, processes):
    load_rows(work / "corpus.jsonl", model_dir / "tokenizer.json", work)
    (work / "rendezvous").unlink(missing_ok=True)
    mp.spawn(worker, args=(processes, model_dir, work, total_steps), nprocs=processes)
