"""The quickstart's task, new to the base model: an informal order becomes one compact record.

Who calls it: make_base_model (--quickstart-data). The corpus holds no orders, no records and none
of these sentences; what the base brings is copying, singulars and numbers as digits. Answers of the
validation file never occur in the training file, nor does any of its prompts.
"""

import json

from . import words as w
from .rng import Rng

SEED = 4711
TRAIN_ROWS, VALID_ROWS = 1500, 160

# What the message may call each part; a form uses all five, in an order of its own.
FORMS = [
    "{hi}, {name} here, could you send {count} {color} {items} to {city} please?",
    "{hi}! I need {count} {items} in {color}, shipped to {city}. {bye} {name}",
    "{hi}, this is {name} in {city}. We would like {count} {color} {items}.",
    "please put me down for {count} {color} {items}. address is in {city}. {bye} {name}",
    "{hi}, {count} {color} {items} for {name}, delivery to {city}!",
    "{name} again, from {city}. Can we order {count} {items}, all {color}?",
    "{hi}, it is {name}. Get {count} {color} {items} over to {city} by Friday, ok?",
    "order from {city}: {count} {color} {items}, bill goes to {name}",
    "{hi} team, ship {count} {items} ({color}) to {name}, {city}.",
    "We are out of {items}! Send {count} {color} ones to {city}. {bye} {name}",
    "{hi}, my shop in {city} could use {count} more {color} {items}. {bye} {name}",
    "quick one: {color} {items}, {count} of them, to {city}, for {name}",
    "Could {name} in {city} get {count} {color} {items} before the weekend?",
    "{hi}, you still have {items}? If so {count} in {color} to {city} please. {bye} {name}",
    "{count} {color} {items} please, {name} will pick them up in {city}.",
    "{hi}, same as last time but {count} {color} {items}, and to {city}. {bye} {name}",
]
HELLOS = ["Hi", "Hello", "Hey", "hi", "hello there", "Good morning", "Hi there"]
BYES = ["Thanks,", "Cheers,", "Best,", "thx", "Regards,", "Many thanks,"]


def order(rng):
    """One message and its record."""
    count = rng.between(2, 20)
    item, color = rng.pick(w.ITEMS), rng.pick(w.COLORS)
    name, city = rng.pick(w.NAMES), rng.pick(w.CITIES)
    message = rng.pick(FORMS).format(
        hi=rng.pick(HELLOS), bye=rng.pick(BYES), name=name, city=city, color=color,
        count=w.number_word(count) if rng.chance(0.75) else count, items=w.plural(item))
    record = f"item: {item}, color: {color}, number: {count}, city: {city}, name: {name}"
    return message, record


def rows():
    """(train, valid): no message and no record stands in both, none stands twice."""
    rng, seen, drawn = Rng(SEED), set(), []
    while len(drawn) < TRAIN_ROWS + VALID_ROWS:
        message, record = order(rng)
        if message in seen or record in seen:
            continue
        seen.update((message, record))
        drawn.append({"messages": [{"role": "user", "content": message},
                                   {"role": "assistant", "content": record}]})
    return drawn[VALID_ROWS:], drawn[:VALID_ROWS]


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(("train.jsonl", "valid.jsonl"), rows()):
        with open(folder / name, "w", encoding="utf-8", newline="\n") as out:
            for row in part:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
