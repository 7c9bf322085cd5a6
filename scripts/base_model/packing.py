"""Documents to token rows: encoding, loss weights and packing.

Who calls it: train.py. A conversation is encoded piece by piece, which gives the same tokens as the
whole rendered text because a message never starts with white space.
"""

import numpy as np

from .tokenizer import END_OF_TEXT, IM_END, IM_START

ROW_TOKENS = 256
OPEN_ROWS = 64
WEIGHT_ANSWER, WEIGHT_PROMPT, WEIGHT_TEXT = 1.0, 0.1, 0.3


def encode(tokenizer, row):
    """(tokens, weights) of one corpus row; a weight says how much predicting that token counts."""
    tokens, weights = [], []

    def add(text, weight):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        tokens.extend(ids)
        weights.extend([weight] * len(ids))

    if "text" in row:
        add(row["text"], WEIGHT_TEXT)
    for message in row.get("messages", []):
        weight = WEIGHT_ANSWER if message["role"] == "assistant" else WEIGHT_PROMPT
        add(IM_START + message["role"] + "\n", WEIGHT_PROMPT)
        add(message["content"] + IM_END, weight)
        add("\n", WEIGHT_PROMPT)
    add(END_OF_TEXT, WEIGHT_PROMPT)
    return tokens[:ROW_TOKENS], weights[:ROW_TOKENS]


def pack(encoded):
    """Rows (tokens, weights, document numbers), each (rows, ROW_TOKENS + 1), first fit.

    Number 0 is padding. The first token of a document has weight 0: nothing before it predicts it.
    """
    finished, open_rows = [], []
    for tokens, weights in encoded:
        weights = [0.0] + weights[1:]
        target = next((r for r in open_rows if len(r[0]) + len(tokens) <= ROW_TOKENS), None)
        if target is None:
            if len(open_rows) == OPEN_ROWS:
                fullest = max(range(OPEN_ROWS), key=lambda i: len(open_rows[i][0]))
                finished.append(open_rows.pop(fullest))
            target = ([], [], [])
            open_rows.append(target)
        number = (target[2][-1] if target[2] else 0) + 1
        target[0].extend(tokens)
        target[1].extend(weights)
        target[2].extend([number] * len(tokens))
    rows = finished + open_rows
    shape = (len(rows), ROW_TOKENS + 1)
    packed = np.zeros(shape, np.int32), np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    for index, row in enumerate(rows):
        for array, values in zip(packed, row):
            array[index, :len(values)] = values
    return packed
