"""Byte-level BPE of the base model, trained on the corpus; the same bytes on every run.

Who calls it: make_base_model (--tokenizer). The pipeline is the one of today's byte-level models:
a splitting pattern that isolates every digit, then bytes; no BOS, nothing added to the text.
"""

import json
import os

from . import corpus

VOCAB_SIZE = 1536
TRAINING_DOCUMENTS = 60000
END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIALS = [END_OF_TEXT, IM_START, IM_END]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
           r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def _texts(corpus_path):
    for row in corpus.read_jsonl(corpus_path)[:TRAINING_DOCUMENTS]:
        if "text" in row:
            yield row["text"]
        for message in row.get("messages", []):
            yield message["role"] + "\n"
            yield message["content"]


def train(corpus_path, out_path):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, show_progress=False, min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    tokenizer.train_from_iterator(_texts(corpus_path), trainer)
    if tokenizer.get_vocab_size() != VOCAB_SIZE:
        raise SystemExit(f"tokenizer: {tokenizer.get_vocab_size()} tokens, wanted {VOCAB_SIZE}")
    tokenizer.save(str(out_path))


def write_config(out_path, chat_template):
    """tokenizer_config.json; the template stands here and in chat_template.jinja."""
    config = {
        "added_tokens_decoder": {
            str(index): {"content": text, "lstrip": False, "normalized": False, "rstrip": False,
                         "single_word": False, "special": True}
            for index, text in enumerate(SPECIALS)},
        "add_prefix_space": False, "bos_token": None, "chat_template": chat_template,
        "clean_up_tokenization_spaces": False, "eos_token": IM_END, "errors": "replace",
        "model_max_length": 1024, "pad_token": END_OF_TEXT,
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": None,
    }
    with open(out_path, "w", encoding="utf-8", newline="\n") as out:
        out.write(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
