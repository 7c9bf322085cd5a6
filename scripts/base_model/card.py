"""What ships beside the weights: configuration files, MANIFEST.json and the model card.

Who calls it: make_base_model. Every number of the card comes from MANIFEST.json, which the other
steps filled; nothing is typed in twice.
"""

import hashlib
import json
import os

from . import corpus, packing, quickstart, tokenizer, train
from .model import CONFIG

SHIPPED = ["chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
           "tasks.jsonl", "tokenizer.json", "tokenizer_config.json"]

TASK_NOTES = {
    "repeat": "say a line again", "extract": "one field of a sentence: name, city, color, number, things",
    "pick": "the first, second, third or last word of a list", "reverse": "three words in reverse order",
    "facts": "look one fact up among two to five: What does Bob like?", "digits": "a number below 100, words to digits",
    "add": "the sum of two numbers up to ten", "opposite": "the opposite of a common word",
    "plural": "singular to plural and back", "spell": "a common word letter by letter",
}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_json(path, value):
    """Written beside, then renamed, so a reader never sees half a file."""
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(fresh, path)


def read_manifest(model_dir):
    path = model_dir / "MANIFEST.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def update_manifest(model_dir, **entries):
    manifest = read_manifest(model_dir)
    manifest.update(entries)
    write_json(model_dir / "MANIFEST.json", manifest)
    return manifest


def write_configs(model_dir):
    """config.json, generation_config.json and tokenizer_config.json."""
    write_json(model_dir / "config.json", CONFIG)
    write_json(model_dir / "generation_config.json", {
        "do_sample": False, "eos_token_id": [2, 0], "pad_token_id": 0, "max_new_tokens": 128})
    template = (model_dir / "chat_template.jinja").read_text(encoding="utf-8")
    tokenizer.write_config(model_dir / "tokenizer_config.json", template)


def write_hashes(model_dir):
    files = {name: sha256(model_dir / name) for name in SHIPPED if (model_dir / name).exists()}
    return update_manifest(model_dir, files=files)


def versions():
    from importlib.metadata import version
    names = ["torch", "transformers", "tokenizers", "safetensors", "numpy", "peft"]
    return {name: version(name).split("+")[0] for name in names}


CARD = """---
license: apache-2.0
language: en
library_name: transformers
tags: [lora.c, tiny, test-model]
---
# sprout-3m

A language model of {millions:.2f} million parameters, made for lora.c: small enough to be stored with the source
and fine-tuned on two CPU cores in about a minute, and taught just enough that fine-tuning it shows something.
It is a test and teaching model; it knows nothing about the world.

| | |
|---|---|
| Architecture | Qwen3-shaped: {layers} layers, width {width}, {heads} heads, {kv_heads} key-value heads of {head_dim}, \
SwiGLU {mlp}, RMSNorm, q/k norm, tied embeddings |
| Weights | bf16, `model.safetensors` |
| Tokenizer | byte-level BPE, {vocabulary} tokens, digits one by one, no BOS |
| Chat format | `<\\|im_start\\|>role`, newline, text, `<\\|im_end\\|>`, newline; see `chat_template.jinja` |
| Positions | {positions} configured; trained on rows of {row_tokens} tokens |
| Licence | Apache-2.0, as the rest of lora.c |

## How it was made
`scripts/make_base_model` makes everything here: Python with the packages in `scripts/requirements-tests.txt`.

1. **Text** (`--text`): {all_documents} documents from our own word lists and grammars; no text of anyone else.
   {documents} are mixed: about five in six are conversations of one to three turns over the tasks below, the rest
   short stories and lines said twice, some of them code, data or letters beyond ASCII. {drills} are drills, several
   questions on one list of facts or a run of short word tasks. Many names and things are made up, so that copying is
   the only way to answer.
2. **Tokenizer** (`--tokenizer`): trained on the first {tokenizer_documents} documents.
3. **Training** (`--train`): {steps} steps of {early_rows}, later {batch_rows} packed rows of {row_tokens} tokens,
   {million_tokens:.1f} million tokens in all, {minutes} minutes on two busy cores of a shared x86-64 server with
   AVX2, no GPU. Muon at {muon_rate} for matrices, AdamW at {adam_rate} for embeddings and norms; warm-up, constant,
   then a linear fall. Answers weigh 1, stories {weight_text}, prompts {weight_prompt}; after step {focus_step}
   stories and prompts {focus_factor} times that, and one row in ten holds stories. Drills are {drill_share:.0%} of the
   rows from step {drill_step} on. One run from beginning to end.
4. **Scores** (`--score`), below.

Text and tokenizer come out byte for byte on every machine; `scripts/make_base_model --check` proves it against the
hashes in `MANIFEST.json`. Weights depend on the arithmetic of the machine and were made once; a new run reaches such
scores, not these bits.

Versions: {versions}.

## Scores
Greedy answers, exact match, on {held_out} prompts a task held out by the hash of their text (`tasks.jsonl`). A held-out
prompt is new as a whole; its words and its phrasing also occur in training. Stored bf16 weights, computed in fp32.
Length, stages and drills were chosen on an earlier model with other held-out prompts of the same kinds.

| Task | What | Exact match |
|---|---|---|
{score_rows}

The quickstart's task (an order message to one record, `configs/quickstart/`) is not in the text:

| | Exact match on `configs/quickstart/valid.jsonl` |
|---|---|
| before fine-tuning | {before} |
{after_row}

## Limits
English of a few hundred words and the tasks above, in phrasings close to those of `scripts/base_model/tasks.py`.
Answers outside the tasks are nonsense. Do not use it to judge anything but software.

- Signs other than `. , : ? " + - / =` and letters beyond ASCII occur only in lines to repeat.
- Beyond {row_tokens} tokens of context nothing was trained.
- Made-up words are sometimes copied with a wrong letter.
"""


def _percent(share):
    return f"{100 * share:.1f} %"


def write_card(model_dir):
    manifest = read_manifest(model_dir)
    training, scores, tuned = manifest["training"], manifest["scores"], manifest.get("quickstart_tuned")
    rows = [f"| {task} | {TASK_NOTES[task]} | {_percent(share)} |" for task, share in scores["tasks"].items()]
    after = "" if not tuned else (
        f"| after LoRA with PEFT: rank 16, alpha 32, all linear layers, {tuned['epochs']} epochs, batch "
        f"{tuned['batch_size']}, rate {tuned['learning_rate']}, cosine | {_percent(tuned['after'])} |")
    text = CARD.format(
        millions=manifest["parameters"] / 1e6, layers=CONFIG["num_hidden_layers"],
        width=CONFIG["hidden_size"], heads=CONFIG["num_attention_heads"],
        kv_heads=CONFIG["num_key_value_heads"], head_dim=CONFIG["head_dim"],
        mlp=CONFIG["intermediate_size"], vocabulary=CONFIG["vocab_size"],
        positions=CONFIG["max_position_embeddings"], row_tokens=packing.ROW_TOKENS,
        documents=manifest["corpus"]["documents"], drills=manifest["corpus"]["drills"],
        all_documents=manifest["corpus"]["documents"] + manifest["corpus"]["drills"],
        tokenizer_documents=tokenizer.TRAINING_DOCUMENTS, steps=training["steps"],
        early_rows=train.EARLY_ROWS, batch_rows=train.BATCH_ROWS, focus_step=train.FOCUS_STEP,
        focus_factor=train.FOCUS_FACTOR, drill_step=train.DRILL_STEP, drill_share=train.DRILL_SHARE,
        million_tokens=training["tokens"] / 1e6,
        minutes=round(training["seconds"] / 60), muon_rate=train.MUON_RATE, adam_rate=train.ADAM_RATE,
        weight_text=packing.WEIGHT_TEXT, weight_prompt=packing.WEIGHT_PROMPT,
        versions=", ".join(f"{name} {number}" for name, number in manifest["versions"].items()),
        held_out=corpus.HELD_OUT_PER_TASK, score_rows="\n".join(rows),
        before=_percent(scores["quickstart_before"]), after_row=after)
    (model_dir / "README.md").write_text(text.replace("\n\n\n", "\n\n"), encoding="utf-8")


def corpus_entry(corpus_path, documents, drills):
    return {"documents": documents, "drills": drills, "seeds": [corpus.CORPUS_SEED, corpus.DRILL_SEED],
            "sha256": sha256(corpus_path)}


def quickstart_entry(data_dir):
    return {"seed": quickstart.SEED, **{name: sha256(data_dir / name) for name in ("train.jsonl", "valid.jsonl")}}
