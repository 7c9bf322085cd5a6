"""The named tasks the base model is taught: each draws one (prompt, answer) pair.

Who calls it: corpus.py for training and for the held-out prompts. A prompt is held out by the hash
of its text, so no training conversation can contain it whatever the seeds are.
"""

import hashlib

from . import words as w

HELD_OUT_SHARE = 1 / 24  # of all possible prompts


def is_held_out(prompt):
    digest = hashlib.sha256(prompt.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def draw(rng, task, held_out=False):
    """One (prompt, answer) of the task, from the training side or from the held-out side."""
    while True:
        prompt, answer = TASKS[task](rng)
        if is_held_out(prompt) == held_out:
            return prompt, answer


def draw_any(rng):
    """(task, prompt, answer) from the training side, tasks mixed by WEIGHTS."""
    task = rng.weighted(WEIGHTS)
    return (task, *draw(rng, task))


def _ask(rng, forms, **slots):
    """Fills one of the forms; now and then with a polite word where no slot is in the way."""
    form = rng.pick(forms)
    text = form.format(**slots)
    if rng.chance(0.12) and form[0].isupper():
        return "Please " + text[0].lower() + text[1:]
    if rng.chance(0.05) and form[-1] in ".?":
        return text + " Thanks."
    return text


# --- repeat -------------------------------------------------------------------------------------

REPEAT_FORMS = [
    "Repeat this: {x}", "Repeat: {x}", "Say {x}", "Say this: {x}", "Copy this: {x}", "Copy: {x}",
    "Repeat after me: {x}", "Write this again: {x}", "Write exactly: {x}", "Echo {x}",
    "Repeat the words {x}", "Give back the same words: {x}", "Type this: {x}", "{x}\nRepeat that.",
    "{x}\nCopy the line above.", "Read this line and say it again.\n{x}",
]


def _random_words(rng, count, made_up_share):
    return [w.made_up(rng, rng.chance(0.3)) if rng.chance(made_up_share) else
            rng.pick(w.NAMES) if rng.chance(0.15) else rng.pick(w.EVERYDAY) for _ in range(count)]


def repeat(rng):
    if rng.chance(0.35):
        text = scene(rng)[0]
    elif rng.chance(0.15):
        text = w.signs(rng)
    else:
        text = " ".join(_random_words(rng, rng.between(1, 7), 0.3))
    return _ask(rng, REPEAT_FORMS, x=text), text


# --- extract ------------------------------------------------------------------------------------

SCENES = [
    "{name} bought {count} {color} {items} in {city}.",
    "{name} saw {count} {color} {items} in {city}.",
    "Yesterday {name} found {count} {color} {items} near {city}.",
    "In {city}, {name} sold {count} {color} {items}.",
    "{name} from {city} has {count} {color} {items}.",
    "There are {count} {color} {items} in the house of {name} in {city}.",
    "{count} {color} {items} were lost by {name} in {city}.",
    "Last week {name} painted {count} {items} {color} in {city}.",
    "{name} went to {city} and took {count} {color} {items} along.",
    "{name} lives in {city} and owns {count} {color} {items}.",
    "The {count} {color} {items} of {name} are now in {city}.",
    "On the way to {city}, {name} counted {count} {color} {items}.",
    "{name} drew {count} {color} {items} for a friend in {city}.",
    "A friend in {city} showed {name} {count} {color} {items}.",
    "{name} carried {count} {color} {items} home.",
    "We met {name} in {city} with {count} {items}.",
    "In the morning {name} washed {count} {color} {items}.",
    "The train to {city} was full, so {name} left {count} {items} behind.",
    "{city} is where {name} keeps {count} {color} {items}.",
    "My uncle {name} has {count} {color} {items} in a shed.",
    "{name} made {count} {items} out of {color} paper.",
    "{name} and a neighbor cleaned {count} {color} {items} in {city}.",
]

FIELD_QUESTIONS = {
    "name": ["What is the name of the person?", "Who is the person?", "Find the name.",
             "Which name is in the text?", "Extract the name.", "Name of the person?"],
    "city": ["What is the city?", "Which city is it?", "Find the city.", "Extract the city.",
             "Which city is in the text?", "Name the city."],
    "color": ["What is the color?", "Which color is in the text?", "Find the color.",
              "Extract the color.", "What color are the things?", "Which color is it?"],
    "count": ["What is the number?", "How many are there?", "Find the number.",
              "Extract the number.", "Which number is in the text?", "How many things?"],
    "items": ["What are the things?", "Which things are in the text?", "Find the things.",
              "Extract the things.", "What kind of things are they?", "Name the things."],
}

EXTRACT_FORMS = ["{s}\n{q}", "{s} {q}", "{q}\n{s}", "{q} {s}", "Text: {s}\nQuestion: {q}",
                 "{q}\nText: {s}", "Read the text. {q}\n{s}", "\"{s}\" {q}"]


def scene(rng):
    """A sentence and the values of the fields it states."""
    count = rng.between(2, 20) if rng.chance(0.85) else rng.between(21, 99)
    fields = {
        "name": w.person(rng), "city": w.city(rng), "color": rng.pick(w.COLORS),
        "count": str(count) if rng.chance(0.3) else w.number_word(count),
        "items": w.plural(rng.pick(w.ANIMALS) if rng.chance(0.1) else w.item(rng)),
    }
    form = rng.pick(SCENES)
    used = {key: value for key, value in fields.items() if "{" + key + "}" in form}
    sentence = form.format(**used)
    return sentence[0].upper() + sentence[1:], used


def extract(rng):
    sentence, fields = scene(rng)
    field = rng.pick(list(fields))
    question = rng.pick(FIELD_QUESTIONS[field])
    return rng.pick(EXTRACT_FORMS).format(s=sentence, q=question), fields[field]


# --- lists: pick, reverse -----------------------------------------------------------------------

ORDINALS = {"first": 0, "second": 1, "third": 2, "last": -1}

PICK_FORMS = [
    "What is the {n} word: {l}", "What is the {n} word of this list: {l}", "Give the {n} word: {l}",
    "Pick the {n} word: {l}", "List: {l}\nWhat is the {n} word?", "Words: {l}\nWhich word is {n}?",
    "{l}\nGive me the {n} word.", "Which word comes {n}? {l}", "The {n} word of {l} is?",
    "Write the {n} word of: {l}", "Here are some words: {l}. What is the {n} one?",
]

REVERSE_FORMS = [
    "Reverse: {l}", "Reverse the words: {l}", "Reverse these three words: {l}",
    "Turn the order around: {l}", "Write the words in reverse order: {l}", "{l}\nReverse that.",
    "Put these words in the opposite order: {l}", "Say the words from last to first: {l}",
    "Give {l} backwards, word by word.", "List: {l}\nReverse the list.",
]


def _distinct_words(rng, count, made_up_share=0.12):
    return w.distinct(rng, count, lambda r: _random_words(r, 1, made_up_share)[0])


def pick(rng):
    values = _distinct_words(rng, rng.between(3, 6))
    ordinal = rng.pick(list(ORDINALS))
    listed = rng.pick([", ", " "]).join(values)
    return _ask(rng, PICK_FORMS, n=ordinal, l=listed), values[ORDINALS[ordinal]]


def reverse(rng):
    values = _distinct_words(rng, 3)
    joiner = rng.pick([", ", " "])
    return _ask(rng, REVERSE_FORMS, l=joiner.join(values)), joiner.join(reversed(values))


# --- facts --------------------------------------------------------------------------------------

RELATIONS = [  # statement, question, values
    ("{p} likes {v}.", "What does {p} like?", w.FOODS),
    ("{p} drinks {v}.", "What does {p} drink?", w.FOODS[:4]),
    ("{p} lives in {v}.", "Where does {p} live?", w.CITIES),
    ("{p} was born in {v}.", "Where was {p} born?", w.CITIES),
    ("{p} enjoys {v}.", "What does {p} enjoy?", w.HOBBIES),
    ("{p} has a {v}.", "What does {p} have?", w.ANIMALS + w.ITEMS),
    ("{p} wants a {v}.", "What does {p} want?", w.ITEMS),
    ("{p} is a {v}.", "What is the job of {p}?", w.JOBS),
    ("{p} is at the {v}.", "Where is {p}?", w.PLACES),
    ("The {p} is {v}.", "What color is the {p}?", w.COLORS),
]

FACT_FORMS = ["{f} {q}", "{f}\n{q}", "Facts: {f}\nQuestion: {q}",
              "Read the facts and answer. {f} {q}", "We know this: {f} {q}"]


def _fact_list(rng, low):
    """`low` to five facts of one kind: (told, [(question, answer) for each fact])."""
    statement, question, values = rng.pick(RELATIONS)
    count = rng.between(low, min(5, len(values)))
    subject = w.item if statement.startswith("The") else w.person
    people = w.distinct(rng, count, subject)
    chosen = rng.sample(values, count)
    told = " ".join(statement.format(p=p, v=v) for p, v in zip(people, chosen))
    return told, [(question.format(p=p), v) for p, v in zip(people, chosen)]


def facts(rng):
    told, questions = _fact_list(rng, 2)
    question, answer = rng.pick(questions)
    return rng.pick(FACT_FORMS).format(f=told, q=question), answer


def facts_talk(rng):
    """[(prompt, answer)]: facts with a first question, then more questions on the same facts."""
    told, questions = _fact_list(rng, 3)
    rng.shuffle(questions)
    turns = []
    for question, answer in questions:
        form = "{q}" if turns else rng.pick(FACT_FORMS)
        turns.append((form.format(f=told, q=question), answer))
    return turns


# --- numbers ------------------------------------------------------------------------------------

DIGIT_FORMS = [
    "Write {x} in digits", "Write the number {x} as digits.", "{x} in digits?", "What is {x} in digits?",
    "Number: {x}\nDigits?", "Turn {x} into digits.", "Give the digits of {x}.", "{x} as a numeral?",
    "Convert to digits: {x}", "How do you write {x} with digits?", "Digits for {x}", "Use digits: {x}",
    "Write in digits: {x} {i}",
]

ADD_FORMS = [
    "What is {a} + {b}?", "{a} + {b} =", "{a} + {b}", "Add {a} and {b}.", "{a} plus {b} is?",
    "What is {a} plus {b}?", "What is the sum of {a} and {b}?", "Sum: {a} and {b}", "Compute {a} + {b}.",
    "Calculate {a} plus {b}", "How much is {a} + {b}?", "Tell me {a} + {b}", "Work out {a} plus {b}.",
    "Give the sum {a} + {b}", "{a} and {b} together are?", "If I have {a} and get {b} more, how many?",
    "{p} has {a} {i} and gets {b} more. How many now?",
]


def digits(rng):
    number = rng.between(1, 20) if rng.chance(0.5) else rng.between(21, 99)
    form = rng.pick(DIGIT_FORMS)
    things = w.plural(w.item(rng, 0.0))
    prompt = _ask(rng, [form], x=w.number_word(number, rng.chance(0.4)), i=things)
    return prompt, f"{number} {things}" if "{i}" in form else str(number)


def add(rng):
    left, right = rng.between(0, 10), rng.between(0, 10)
    things = w.plural(w.item(rng, 0.0))
    prompt = _ask(rng, ADD_FORMS, a=left, b=right, p=w.person(rng, 0.0), i=things)
    return prompt, str(left + right)


# --- words --------------------------------------------------------------------------------------

OPPOSITE_FORMS = [
    "What is the opposite of {x}?", "Opposite of {x}?", "Give the opposite of {x}.", "The opposite of {x} is?",
    "Say the opposite: {x}", "Opposite: {x}", "Name the opposite of the word {x}.", "{x} - opposite?",
    "Not {x} but ...?", "Find the opposite of {x}.", "Which word is the opposite of {x}?",
    "I say {x}, you say the opposite.", "Tell me the opposite of {x}.", "What word means the reverse of {x}?",
]

PLURAL_FORMS = [
    "What is the plural of {x}?", "Plural of {x}?", "Give the plural of {x}.", "Write the plural: {x}",
    "One {x}, two ...?", "Plural: {x}", "{x} in the plural?", "Make {x} plural.",
    "What do you call many of {x}?", "I have one {x}, you have three ...?",
]

SINGULAR_FORMS = [
    "What is the singular of {x}?", "Singular of {x}?", "Give the singular of {x}.", "Write the singular: {x}",
    "Two {x}, one ...?", "Singular: {x}", "{x} in the singular?", "Make {x} singular.",
    "What is one of the {x}?", "You have three {x}, I have one ...?",
]

SPELL_FORMS = [
    "Spell {x}", "Spell the word {x}.", "Spell: {x}", "How do you spell {x}?", "Letters of {x}?",
    "Write {x} letter by letter.", "Give the letters of {x}.", "Spell out {x}.", "Which letters are in {x}?",
    "Say the letters of the word {x}.", "{x}, letter by letter?", "Split {x} into letters.",
]

_PLAIN_NOUNS = list(dict.fromkeys(w.ITEMS + w.ANIMALS + w.JOBS + list(w.IRREGULAR_PLURALS)))
_OPPOSITE = {}
for _pair in w.OPPOSITES:
    _left, _right = _pair.split("/")
    _OPPOSITE[_left], _OPPOSITE[_right] = _right, _left


def opposite(rng):
    word = rng.pick(list(_OPPOSITE))
    return _ask(rng, OPPOSITE_FORMS, x=word), _OPPOSITE[word]


def plural(rng):
    """Both directions: one lamp, two lamps."""
    noun = w.made_up(rng) if rng.chance(0.1) else rng.pick(_PLAIN_NOUNS)
    if rng.chance(0.5):
        return _ask(rng, PLURAL_FORMS, x=noun), w.plural(noun)
    return _ask(rng, SINGULAR_FORMS, x=w.plural(noun)), noun


def spell(rng):
    word = rng.pick(w.EVERYDAY)
    return _ask(rng, SPELL_FORMS, x=word), " ".join(word)


TASKS = {
    "repeat": repeat, "extract": extract, "pick": pick, "reverse": reverse, "facts": facts,
    "digits": digits, "add": add, "opposite": opposite, "plural": plural, "spell": spell,
}

# How often each task stands in the training conversations, in percent.
WEIGHTS = {
    "repeat": 13, "extract": 20, "pick": 11, "reverse": 9, "facts": 14,
    "digits": 7, "add": 7, "opposite": 5, "plural": 7, "spell": 7,
}
