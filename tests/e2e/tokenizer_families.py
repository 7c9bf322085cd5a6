"""Tokenizers with the pipelines of the published families on small vocabularies of our own, and texts to try them on.

build(NAME, vocabulary size, seed) gives the dict of a tokenizer.json. The pipelines are spelled as the published files
spell them; the vocabulary is trained on generated text. "pieces-..." are no families: they hold what is rarely used.
"""
import json
import random
import unicodedata

from tokenizers import Tokenizer, pre_tokenizers, trainers

# ---- texts ----

RANGES = {
    "ascii": [(0x20, 0x7e)], "latin": [(0xa0, 0x24f), (0x1e00, 0x1eff)], "greek": [(0x370, 0x3ff), (0x1f00, 0x1fff)],
    "cyrillic": [(0x400, 0x52f)], "hebrew": [(0x590, 0x5ff)], "arabic": [(0x600, 0x6ff), (0x8a0, 0x8ff)],
    "indic": [(0x900, 0xd7f)], "thai": [(0xe00, 0xeff)], "tibetan": [(0xf00, 0xfff)], "georgian": [(0x10a0, 0x10ff)],
    "jamo": [(0x1100, 0x1112), (0x1161, 0x1175), (0x11a7, 0x11c2)], "hangul": [(0xac00, 0xd7a3)],
    "kana": [(0x3041, 0x30ff)], "han": [(0x4e00, 0x9fff), (0x3400, 0x4dbf), (0x20000, 0x2a6df), (0xf900, 0xfaff)],
    "emoji": [(0x1f300, 0x1faff), (0x2600, 0x27bf)], "symbols": [(0x2000, 0x2bff), (0x3000, 0x303f)],
    "marks": [(0x300, 0x36f), (0x1dc0, 0x1dff), (0x20d0, 0x20f0), (0x3099, 0x309a), (0xfe00, 0xfe2f)],
    "full": [(0xff00, 0xffef)], "mathematical": [(0x1d400, 0x1d7ff)], "private": [(0xe000, 0xe0ff), (0xf0000, 0xf00ff)],
    "controls": [(0x0, 0x1f), (0x7f, 0x9f)], "any": [(0x0, 0xd7ff), (0xe000, 0x10ffff)],
    "later": [(0x10d00, 0x10eff), (0x11000, 0x11fff), (0x16a00, 0x16fff), (0x1e000, 0x1e8ff)],
}
SPACES = [" ", "  ", "   ", " " * 8, " " * 30, "\n", "\n\n", "\r\n", "\r", "\t", "\t\t", " \n", "\n ", "\x0b", "\x0c", "\x1c",
          "\x85", "\xa0", "\u1680", "\u180e", "\u2003", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff"]
DIGITS = ["0", "1", "7", "12", "123", "1234", "1234567890", "\u0663", "\u0969\u096a", "\xb2", "\xbd", "\u2167", "\u3007", "\uff11",
          "\U0001d7d8", "\u4e09", "\u0e53", "3.14", "1,000", "0x1F", "\U00010d40"]
WORDS = ["the", "The", "THE", "hello", "world", "don't", "I'm", "we'LL", "it's", "'s", "'RE", "na\xefve", "Stra\xdfe", "\u017fet", "K\u212a",
         "camelCase", "snake_case", "HTTPServer", "x=y+1;", "/* */", "</div>", "https://a.b/c?d=e", "caf\xe9", "cafe\u0301",
         "\u043f\u0440\u0438\u0432\u0435\u0442", "\u4f60\u597d", "\uc548\ub155", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
         "\u0645\u0631\u062d\u0628\u0627", "\u0928\u092e\u0938\u094d\u0924\u0947", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
         "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\u1e69", "s\u0323\u0307", "s\u0307\u0323", "\u0344", "\u0f73",
         "\ufb01", "\u0958", "\u2126", "\uac00\u11a8", "\u1100\u1161\u11a8", "\u0cc6\u0cc2\u0cd5", "\U00011935\U00011930"]
LOOKALIKES = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end", "im_end|>", "<|", "|>", "<bos>", "[INST]",
              "<0x0A>", "<0xE4>", "<0xGG>", "\u2581", "\u2581\u2581", "\u0120", "\u010a", "\u2581the", "<|begin_of_text|>",
              "<start_of_turn>", "<", ">", "[MASK]", "<s", "<|user|>"]


def letter(rng, name):
    low, high = rng.choice(RANGES[name])
    code_point = rng.randint(low, high)
    return chr(code_point) if not 0xd800 <= code_point <= 0xdfff else "\ufffd"


def make_pools(rng, added):
    """Pieces of text by kind; texts draw from one kind or from all."""
    pools = {name: [letter(rng, name) for _ in range(300)] for name in RANGES}
    pools["words"] = WORDS * 4 + ["".join(letter(rng, rng.choice(["ascii", "latin"])) for _ in range(rng.randint(1, 9)))
                                  for _ in range(200)]
    pools["spaced"] = [" " + word for word in WORDS] + WORDS
    pools["spaces"] = SPACES
    pools["digits"] = DIGITS * 4 + SPACES
    pools["tokens"] = LOOKALIKES + list(added) * 3 + SPACES + WORDS
    pools["composed"] = [base + mark for base in "aeosAEO\u0391\u0438\u1100" for mark in pools["marks"][:30]] + pools["jamo"] + pools["marks"]
    pools["long"] = [rng.choice(WORDS + pools["any"]) * rng.randint(20, 120) for _ in range(4)]
    pools["all"] = [piece for pool in list(pools.values())[:-1] for piece in rng.sample(pool, min(len(pool), 60))]
    return pools


KINDS = (["all"] * 8 + ["words", "spaced", "tokens", "digits", "composed"] * 3 + ["any", "spaces", "later", "jamo"] +
         ["ascii", "latin", "greek", "cyrillic", "hebrew", "arabic", "indic", "thai", "tibetan", "hangul", "kana", "han", "emoji",
          "symbols", "full", "mathematical", "private", "controls"])


def texts(rng, added, count):
    """Random and adversarial texts, all valid Unicode."""
    pools = make_pools(rng, added)
    out = []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.003:
            out.append("".join(rng.choices(pools["long"], k=2)))
        elif kind < 0.5:
            out.append("".join(rng.choices(pools[rng.choice(KINDS)], k=rng.randint(0, 14))))
        else:  # a mix of two kinds, with more of the first
            pool = pools[rng.choice(KINDS)] + pools[rng.choice(KINDS)][:60]
            out.append("".join(rng.choices(pool, k=rng.randint(1, 24))))
    return out


def training_texts(seed):
    """What the vocabularies are trained on: tame texts, so that merges span words, spaces and scripts."""
    rng = random.Random(seed)
    pools = make_pools(rng, [])
    out = []
    for _ in range(3000):
        pool = pools["spaced"] + pools[rng.choice(["spaced", "spaces", "digits", "cyrillic", "kana", "hangul", "emoji"])][:40]
        out.append("".join(rng.choices(pool, k=30)))
    return out


# ---- parts ----

def byte_level(**changes):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True, **changes}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(key, *parts):
    return {"type": "Sequence", key: list(parts)}


def replace(pattern, content, kind="String"):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def template(*names):
    """BOS and EOS around the text: names before and after None. Ids are filled in by build."""
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": name, "type_id": 0}} if name else {"Sequence": {"id": "A", "type_id": 0}}
                       for name in names],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {}}


def added(content, special=True, normalized=False, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": normalized, "special": special,
            **flags}


CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN = CL100K.replace("{1,3}", "")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = "|".join([r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                  r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                  r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
TEKKEN = O200K.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("{1,3}", "")
DEEPSEEK = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
            r"""|\s*[\r\n]+|\s+(?!\S)|\s+""")
LLAMA2_NORMALIZER = sequence("normalizers", {"type": "Prepend", "prepend": "\u2581"}, replace(" ", "\u2581"))
LLAMA2_DECODER = sequence("decoders", replace("\u2581", " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                          {"type": "Strip", "content": " ", "start": 1, "stop": 0})
GEMMA_DECODER = sequence("decoders", replace("\u2581", " "), {"type": "ByteFallback"}, {"type": "Fuse"})
LLAMA_SPECIALS = [added("<unk>"), added("<s>"), added("</s>")]
CHARACTERS = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
SPLIT_LEVEL = byte_level(use_regex=False)


def spaces_added(normalized=True):
    return [added(" " * n, special=False, normalized=normalized) for n in range(31, 1, -1)]


# A family: normalizer, pre_tokenizer, post_processor, decoder; model flags; front: added tokens that begin the vocabulary;
# back: those behind it; bytes: the vocabulary has <0x00> to <0xFF>, but for those in `holes`.
FAMILIES = {
    "gpt-2": dict(pre=byte_level(), post=byte_level(add_prefix_space=True, trim_offsets=False), decoder=byte_level(),
                  back=[added("<|endoftext|>", normalized=True)]),
    "gpt-neox": dict(normalizer={"type": "NFC"}, pre=byte_level(), post=byte_level(), decoder=byte_level(),
                     front=[added("<|endoftext|>"), added("<|padding|>")], back=spaces_added()),
    "llama-3": dict(pre=sequence("pretokenizers", split(CL100K), SPLIT_LEVEL),
                    post=sequence("processors", byte_level(), template("<|begin_of_text|>", None)), decoder=byte_level(),
                    flags={"ignore_merges": True},
                    back=[added("<|begin_of_text|>"), added("<|end_of_text|>"), added("<|eot_id|>")]),
    "qwen-3": dict(normalizer={"type": "NFC"}, pre=sequence("pretokenizers", split(QWEN), SPLIT_LEVEL),
                   post=byte_level(trim_offsets=False, use_regex=False), decoder=byte_level(use_regex=False),
                   back=[added("<|endoftext|>"), added("<|im_start|>"), added("<|im_end|>"), added("<think>", special=False),
                         added("</think>", special=False)]),
    "smollm-2": dict(pre=sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level()),
                     decoder=byte_level(add_prefix_space=True), front=[added("<|endoftext|>"), added("<|im_start|>")]),
    "falcon": dict(pre=sequence("pretokenizers", {"type": "Punctuation", "behavior": "Contiguous"}, byte_level(),
                                {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]")),
                   post=byte_level(), decoder=byte_level(add_prefix_space=True),
                   front=[added(">>TITLE<<"), added(">>ABSTRACT<<"), added("<|endoftext|>")]),
    "phi-2": dict(pre=byte_level(), post=byte_level(add_prefix_space=True, trim_offsets=False), decoder=byte_level(),
                  back=[added("<|endoftext|>")] + spaces_added() +
                  [added("\t" * n, special=False, normalized=True) for n in range(9, 1, -1)]),
    "phi-4": dict(pre=sequence("pretokenizers", split(CL100K, "Removed", True), SPLIT_LEVEL),
                  post=byte_level(add_prefix_space=True, trim_offsets=False), decoder=byte_level(),
                  back=[added("<|endoftext|>", lstrip=True, rstrip=True), added("<|im_start|>", lstrip=True, rstrip=True),
                        added("<|im_sep|>", lstrip=True, rstrip=True)]),
    "gpt-oss": dict(pre=sequence("pretokenizers", split(O200K), SPLIT_LEVEL),
                    post=byte_level(add_prefix_space=True, trim_offsets=False), decoder=byte_level(),
                    flags={"ignore_merges": True}, back=[added("<|startoftext|>"), added("<|return|>"), added("<|channel|>")]),
    "tekken": dict(pre=sequence("pretokenizers", split(TEKKEN), SPLIT_LEVEL), post=template("<s>", None), decoder=byte_level(),
                   flags={"ignore_merges": True}, front=[added("<unk>"), added("<s>"), added("</s>"), added("[INST]")]),
    "deepseek-v3": dict(normalizer=sequence("normalizers"),
                        pre=sequence("pretokenizers", split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
                                     split(DEEPSEEK), SPLIT_LEVEL),
                        post=template("<\uff5cbegin\u2581of\u2581sentence\uff5c>", None), decoder=byte_level(),
                        front=[added("<\uff5cbegin\u2581of\u2581sentence\uff5c>"), added("<\uff5cend\u2581of\u2581sentence\uff5c>")],
                        back=[added("<\uff5cUser\uff5c>", special=False), added("<think>", special=False, normalized=True)]),
    "deepseek-coder": dict(pre=sequence("pretokenizers", split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
                                        split(r"\s+$"), split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
                                        {"type": "Digits", "individual_digits": True}, SPLIT_LEVEL),
                           post=sequence("processors", byte_level(trim_offsets=False), template("<s>", None)), decoder=byte_level(),
                           back=[added("<s>", normalized=True), added("<\uff5cfim\u2581hole\uff5c>", special=False, normalized=True)]),
    "llama-2": dict(normalizer=LLAMA2_NORMALIZER, post=template("<s>", None), decoder=LLAMA2_DECODER, flags=CHARACTERS, bytes=True,
                    front=LLAMA_SPECIALS, back=[added("[PAD]", special=False, normalized=True)]),
    "mistral": dict(pre={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False},
                    post=template("<s>", None), decoder=LLAMA2_DECODER, flags=CHARACTERS, bytes=True,
                    front=LLAMA_SPECIALS + [added("[INST]"), added("[/INST]")]),
    "phi-3": dict(normalizer=LLAMA2_NORMALIZER, post=template(None), decoder=LLAMA2_DECODER, flags=CHARACTERS, bytes=True,
                  front=[added("<unk>"), added("<s>"), added("</s>", special=False, rstrip=True)],
                  back=[added("<|endoftext|>"), added("<|assistant|>", rstrip=True), added("<|user|>", rstrip=True),
                        added("<|end|>", rstrip=True)]),
    "gemma": dict(normalizer=replace(" ", "\u2581"), pre=split(" ", "MergedWithPrevious", kind="String"),
                  post=template("<bos>", None), decoder=GEMMA_DECODER, flags=CHARACTERS, bytes=True,
                  front=[added("<pad>"), added("<eos>"), added("<bos>"), added("<unk>"), added("<start_of_turn>"),
                         added("\n\n", special=False), added("\n\n\n", special=False), added("\u2581\u2581", special=False),
                         added("<table>", special=False)]),
    "metaspace": dict(pre={"type": "Metaspace", "replacement": "\u2581", "str_rep": "\u2581", "add_prefix_space": True},
                      post=template(None, "</s>"), decoder={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
                      flags={"unk_token": "<unk>", "fuse_unk": True}, front=LLAMA_SPECIALS,
                      back=[added("<extra_id_0>", lstrip=True, normalized=True)]),
    # What the families above leave out.
    "pieces-added": dict(normalizer=sequence("normalizers", {"type": "NFKC"}, replace("a+", "\xe4", "Regex"), replace("Z", "")),
                         pre=sequence("pretokenizers", split("e", "MergedWithNext", kind="String"), byte_level(add_prefix_space=True)),
                         post=byte_level(add_prefix_space=True), decoder=byte_level(),
                         back=[added("the", special=False, normalized=True, single_word=True),
                               added("hello", special=False, single_word=True, lstrip=True),
                               added("\ufb01x", special=False, normalized=True), added("<l>", lstrip=True), added("<r>", rstrip=True),
                               added("<b>", special=True, normalized=True, lstrip=True, rstrip=True), added("<l><r>"),
                               added("a<", special=True, normalized=True), added("12", special=False, normalized=True)]),
    "pieces-metaspace": dict(normalizer=sequence("normalizers", {"type": "NFD"}, {"type": "Prepend", "prepend": "ab"}),
                             pre=sequence("pretokenizers", {"type": "Punctuation"}, split(r"\d", "MergedWithPrevious", True),
                                          {"type": "Metaspace", "replacement": "_", "prepend_scheme": "never", "split": True}),
                             decoder=sequence("decoders", {"type": "ByteFallback"},
                                              {"type": "Metaspace", "replacement": "_", "prepend_scheme": "never", "split": True}),
                             flags={"unk_token": "<unk>", "fuse_unk": False, "byte_fallback": True}, bytes=True,
                             holes=[0x80, 0x9f, 0xcc], front=LLAMA_SPECIALS),
    "pieces-fused": dict(normalizer={"type": "NFKD"}, pre=split(r"\s+", "Contiguous"),
                         decoder=sequence("decoders", {"type": "Strip", "content": "e", "start": 2, "stop": 0}, {"type": "ByteFallback"},
                                          replace("l", "LL")),
                         flags={"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}, bytes=True, holes=[0x80, 0x9f, 0xcc],
                         front=LLAMA_SPECIALS),
    "pieces-dropped": dict(pre=split(r"\s+", "Removed"), post=byte_level(), decoder=None, front=[added("<s>")]),
    "pieces-bytes": dict(pre=sequence("pretokenizers", byte_level(use_regex=False), {"type": "Digits", "individual_digits": True}),
                         post=byte_level(), decoder=byte_level(), flags={"unk_token": "<unk>"}, front=LLAMA_SPECIALS,
                         drop=[chr(0x120), "e", "\xc3", "\xb2"]),
}


# ---- building ----

def train(family, size, seed):
    """(tokens in order, merges) of a BPE trained behind the family's own normalizer and pre-tokenizer."""
    empty = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": family.get("normalizer"),
             "pre_tokenizer": family.get("pre"), "post_processor": None, "decoder": None,
             "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                       "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": {}, "merges": []}}
    is_bytes = "ByteLevel" in json.dumps(family.get("pre"))
    tokenizer = Tokenizer.from_str(json.dumps(empty))
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, limit_alphabet=256 if is_bytes else 220, max_token_length=24,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if is_bytes else ["\u2581"])
    tokenizer.train_from_iterator(training_texts(seed), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), model["merges"]


def build(name, size=2000, seed=1):
    family = FAMILIES[name]
    tokens, merges = train(family, size, seed)
    front = [token["content"] for token in family.get("front", [])]
    if family.get("bytes"):
        front += [f"<0x{byte:02X}>" for byte in range(256) if byte not in family.get("holes", [])]
    dropped = set(family.get("drop", []))
    kept = [token for token in tokens if token not in front and not any(letter in token for letter in dropped)]
    vocab = {token: number for number, token in enumerate(front + kept)}
    known = [merge for merge in merges if all(side in vocab for side in [*merge, "".join(merge)])]
    entries = [{"id": vocab[token["content"]], **token} for token in family.get("front", [])]
    behind = [token["content"] for token in family.get("back", []) if token["content"] not in vocab]
    entries += [{"id": vocab.get(token["content"], len(vocab) + (behind + [token["content"]]).index(token["content"])), **token}
                for token in family.get("back", [])]
    ids = {entry["content"]: entry["id"] for entry in entries}
    post = json.loads(json.dumps(family.get("post")))
    for part in [post, *(post or {}).get("processors", [])]:
        for piece in (part or {}).get("single", []):
            if "SpecialToken" in piece:
                special = piece["SpecialToken"]["id"]
                part["special_tokens"][special] = {"id": special, "ids": [ids[special]], "tokens": [special]}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, **family.get("flags", {}), "vocab": vocab,
             "merges": known if len(name) % 2 else [" ".join(merge) for merge in known if " " not in "".join(merge)]}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": entries, "normalizer": family.get("normalizer"),
            "pre_tokenizer": family.get("pre"), "post_processor": post, "decoder": family.get("decoder"), "model": model}


def unicode_versions():
    return {"python": unicodedata.unidata_version}
