"""The quickstart's fine-tuning with PEFT: the yardstick for `lorac train` on the same job.

Who calls it: make_base_model (--tune). Recipe: rank 16, alpha 32, all linear layers, AdamW
(0.9, 0.999) without decay, cosine after a warm-up, gradients clipped at 1, loss on the answer and
its <|im_end|> only.
"""

import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model

from . import corpus, score

IGNORED = -100


def encode(tokenizer, row):
    """(tokens, labels): everything but the answer and its end mark is ignored."""
    prompt = tokenizer.apply_chat_template(row["messages"][:-1], tokenize=False,
                                           add_generation_prompt=True)
    head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = row["messages"][-1]["content"] + "<|im_end|>"
    tail = tokenizer(answer, add_special_tokens=False)["input_ids"]
    return head + tail, [IGNORED] * len(head) + tail


def padded(rows):
    """Right-padded (tokens, labels); causal attention never looks at the padding."""
    longest = max(len(tokens) for tokens, _ in rows)
    tokens = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORED)
    for index, (row_tokens, row_labels) in enumerate(rows):
        tokens[index, :len(row_tokens)] = torch.tensor(row_tokens)
        labels[index, :len(row_labels)] = torch.tensor(row_labels)
    return tokens, labels


def tune(model_dir, data_dir, epochs, batch_size, rate, warmup_ratio, seed=42):
    """Returns the exact match on valid.jsonl, the tokens trained on and the seconds it took."""
    torch.manual_seed(seed)
    tokenizer, base = score.load(model_dir)
    model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    data = [encode(tokenizer, row) for row in corpus.read_jsonl(data_dir / "train.jsonl")]
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    adam = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.999), weight_decay=0.0)
    steps_per_epoch = math.ceil(len(data) / batch_size)
    total, warmup = epochs * steps_per_epoch, max(1, int(warmup_ratio * epochs * steps_per_epoch))
    shuffler, started, step = np.random.default_rng(seed), time.monotonic(), 0
    for _ in range(epochs):
        order = shuffler.permutation(len(data))
        for start in range(0, len(data), batch_size):
            tokens, labels = padded([data[i] for i in order[start:start + batch_size]])
            factor = (step + 1) / warmup if step < warmup else \
                0.5 + 0.5 * math.cos(math.pi * (step - warmup) / max(1, total - warmup))
            adam.param_groups[0]["lr"] = rate * factor
            logits = model(input_ids=tokens).logits[:, :-1]
            loss = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            adam.step()
            adam.zero_grad(set_to_none=True)
            step += 1
            if step % 25 == 0:
                print(f"step {step}/{total} loss {loss.item():.4f}", flush=True)
    seconds = time.monotonic() - started
    model.eval()
    after = score.exact_share(tokenizer, model, corpus.read_jsonl(data_dir / "valid.jsonl"))
    tokens_seen = epochs * sum(len(tokens) for tokens, _ in data)
    print(f"quickstart, tuned {100 * after:6.1f} %  ({tokens_seen} tokens, {seconds:.0f} s)", flush=True)
    return {"after": round(after, 4), "epochs": epochs, "batch_size": batch_size,
            "learning_rate": rate, "warmup_ratio": warmup_ratio, "tokens": tokens_seen}
