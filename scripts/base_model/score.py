"""Greedy answers of a saved model on chat rows, by transformers from the files that ship.

Who calls it: make_base_model (--score). Exact match: the decoded answer equals the expected text.
Weights are stored in bf16 and computed in fp32, as lora.c does on a CPU.
"""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from . import corpus

BATCH_PROMPTS = 32
MAX_NEW_TOKENS = 64


def load(model_dir):
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    tokenizer.padding_side = "left"
    return tokenizer, AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()


@torch.no_grad()
def answers(tokenizer, model, rows):
    """The model's answer to the messages before the last one of each row."""
    prompts = [tokenizer.apply_chat_template(row["messages"][:-1], tokenize=False,
                                             add_generation_prompt=True) for row in rows]
    result = []
    for start in range(0, len(prompts), BATCH_PROMPTS):
        batch = tokenizer(prompts[start:start + BATCH_PROMPTS], return_tensors="pt", padding=True,
                          add_special_tokens=False)
        output = model.generate(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"],
                                do_sample=False, max_new_tokens=MAX_NEW_TOKENS)
        new = output[:, batch["input_ids"].shape[1]:]
        result += tokenizer.batch_decode(new, skip_special_tokens=True)
    return result


def exact_share(tokenizer, model, rows):
    given = answers(tokenizer, model, rows)
    return sum(row["messages"][-1]["content"] == text for row, text in zip(rows, given)) / len(rows)


def score(model_dir, quickstart_dir):
    """{task: share} over tasks.jsonl, and the quickstart's validation file before fine-tuning."""
    tokenizer, model = load(model_dir)
    rows = corpus.read_jsonl(model_dir / "tasks.jsonl")
    scores = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        scores[task] = round(exact_share(tokenizer, model, [r for r in rows if r["task"] == task]), 4)
        print(f"{task:10} {100 * scores[task]:6.1f} %", flush=True)
    before = exact_share(tokenizer, model, corpus.read_jsonl(quickstart_dir / "valid.jsonl"))
    print(f"quickstart, untrained {100 * before:6.1f} %", flush=True)
    return {"tasks": scores, "quickstart_before": round(before, 4)}
