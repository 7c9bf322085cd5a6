"""The pretraining corpus and the held-out prompts, byte for byte from a seed.

Who calls it: make_base_model (--text) and the tokenizer, training and score steps. The corpus is
JSON Lines: {"text": ...} for plain English, {"messages": [...]} for conversations.
"""

import json

from . import stories, tasks
from .rng import Rng

CORPUS_SEED = 20240229
DRILL_SEED = 31
HELD_OUT_SEED = 1077
HELD_OUT_PER_TASK = 64
DRILL_WEIGHTS = {"spell": 40, "opposite": 20, "add": 20, "plural": 20}
SYSTEM_LINES = ["You are a helpful assistant.", "Answer briefly.", "You are a careful assistant.",
                "Give short answers.", "Answer with the result only."]


def conversation(rng):
    """One to three turns of any tasks, one time in ten under a system message."""
    messages = []
    if rng.chance(0.1):
        messages.append({"role": "system", "content": rng.pick(SYSTEM_LINES)})
    turns = 1 if rng.chance(0.7) else rng.between(2, 3)
    for _ in range(turns):
        _, prompt, answer = tasks.draw_any(rng)
        messages.append({"role": "user", "content": prompt})
        messages.append({"role": "assistant", "content": answer})
    return {"messages": messages}


def document(rng):
    if rng.chance(0.84):
        return conversation(rng)
    return {"text": stories.story(rng) if rng.chance(0.55) else stories.echo(rng)}


def drill(rng):
    """Several turns of what is learned last: one list of facts asked about, or short word tasks."""
    turns = tasks.facts_talk(rng)
    while any(tasks.is_held_out(prompt) for prompt, _ in turns):
        turns = tasks.facts_talk(rng)
    if rng.chance(0.45):
        turns = [tasks.draw(rng, rng.weighted(DRILL_WEIGHTS)) for _ in range(rng.between(3, 6))]
    messages = []
    for prompt, answer in turns:
        messages.append({"role": "user", "content": prompt})
        messages.append({"role": "assistant", "content": answer})
    return {"drill": True, "messages": messages}


def write_corpus(path, document_count, drill_count):
    """The mixed documents, from which the tokenizer is made, then the drills."""
    mixed, drills = Rng(CORPUS_SEED), Rng(DRILL_SEED)
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for _ in range(document_count):
            out.write(json.dumps(document(mixed), ensure_ascii=False) + "\n")
        for _ in range(drill_count):
            out.write(json.dumps(drill(drills), ensure_ascii=False) + "\n")


def held_out_rows(task, number):
    """HELD_OUT_PER_TASK different held-out prompts of one task; `number` makes its seed."""
    rng, seen, rows = Rng(HELD_OUT_SEED + number), set(), []
    while len(rows) < HELD_OUT_PER_TASK:
        prompt, answer = tasks.draw(rng, task, held_out=True)
        if prompt in seen:
            continue
        seen.add(prompt)
        rows.append({"task": task, "messages": [{"role": "user", "content": prompt},
                                                {"role": "assistant", "content": answer}]})
    return rows


def write_held_out(path):
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for number, task in enumerate(tasks.TASKS):
            for row in held_out_rows(task, number):
                out.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_jsonl(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
