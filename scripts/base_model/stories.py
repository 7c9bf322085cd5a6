"""Plain English for the base model: short stories from a grammar, and lines that repeat.

Who calls it: corpus.py. A story keeps its people and things, so names come back sentence after
sentence; an echo line says a run of words twice, the shortest lesson in copying.
"""

from . import words as w

OPENINGS = [
    "Once there was a {a} {animal} named {p}.", "{p} was a {a} {animal} who lived near the {place}.",
    "{p} and {q} were friends.", "One day {p} went to the {place}.", "In {city} there lived a {job} named {p}.",
    "It was a {a} morning in {city}.", "{p} the {animal} woke up early.",
]
MIDDLES = [
    "{p} had a {color} {item}.", "{p} wanted to {verb} with {q}.", "{q} was {a} that day.",
    "Together they went to the {place}.", "There {p} found a {a} {item}.", "{q} said, \"I like your {item}.\"",
    "{p} said, \"Do you want some {food}?\"", "\"Yes,\" said {q}, \"I like {food}.\"",
    "They began to {verb}.", "The {item} was {color} and {a}.", "{p} gave the {item} to {q}.",
    "A {animal} came to the {place}.", "{q} looked for the {item} in the {place}.",
    "{p} could not find the {item}.", "{p} liked to {verb} in the {place}.", "It was {a} in the {place}.",
    "{q} had {count} {items}.", "{p} counted {count} {items}.", "Then {q} wanted to {verb} too.",
]
ENDINGS = [
    "In the end {p} and {q} were happy.", "Then they went home.", "{p} was {a} again.",
    "{q} thanked {p} for the {item}.", "And so {p} went back to {city}.", "That night {p} dreamed of the {item}.",
    "{p} kept the {color} {item}.", "After that {p} and {q} had {food}.",
]


def story(rng):
    people = w.distinct(rng, 2, w.person)
    item = w.item(rng)
    slots = {"p": people[0], "q": people[1], "item": item, "items": w.plural(item),
             "color": rng.pick(w.COLORS), "city": w.city(rng), "animal": rng.pick(w.ANIMALS),
             "job": rng.pick(w.JOBS), "place": rng.pick(w.PLACES), "food": rng.pick(w.FOODS)}

    def tell(form):
        return form.format(a=rng.pick(w.ADJECTIVES), verb=rng.pick(w.VERBS),
                           count=w.number_word(rng.between(2, 20)), **slots)

    lines = [rng.pick(OPENINGS)] + rng.sample(MIDDLES, rng.between(2, 6)) + [rng.pick(ENDINGS)]
    return " ".join(tell(line) for line in lines)


def echo(rng):
    """A run of words or signs, said two or three times."""
    run = w.signs(rng) if rng.chance(0.3) else " ".join(
        w.made_up(rng, rng.chance(0.4)) if rng.chance(0.6) else rng.pick(w.EVERYDAY)
        for _ in range(rng.between(3, 9)))
    joiner = rng.pick([", ", ". ", "\n", " / "])
    return joiner.join([run] * rng.between(2, 3))
