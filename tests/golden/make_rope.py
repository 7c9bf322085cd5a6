#!/usr/bin/env python3
"""Writes rope.json: rotation tables of transformers for every rope type, as src/model/rope.c must give them.

usage: make_rope.py [OUT]      (needs torch and transformers; run again only when a case is added)
"""
import json
import sys

import torch
from transformers import AutoConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding
from transformers.models.smollm3.modeling_smollm3 import SmolLM3RotaryEmbedding

EMBEDDINGS = {"qwen3": Qwen3RotaryEmbedding, "smollm3": SmolLM3RotaryEmbedding}


def shape(head_dim, max_position, model_type="llama", **more):
    return dict(model_type=model_type, hidden_size=4 * head_dim, num_attention_heads=4, num_key_value_heads=2,
                head_dim=head_dim, intermediate_size=64, num_hidden_layers=2, vocab_size=259,
                max_position_embeddings=max_position, **more)


LLAMA3 = dict(low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
CASES = [  # name, config, sequence length
    ("default", shape(16, 2048), 2048),
    ("default six dimensions", shape(6, 64, rope_theta=500.5), 64),
    ("default new spelling", shape(32, 40960, "qwen3", rope_parameters=dict(rope_type="default", rope_theta=1e6)), 40960),
    ("default smollm3 theta", shape(16, 65536, "smollm3"), 65536),
    ("default inner theta wins", shape(16, 64, rope_theta=7.0, rope_parameters=dict(rope_type="default", rope_theta=100.0)), 64),
    ("linear old spelling", shape(16, 4096, rope_theta=1e4, rope_scaling=dict(type="linear", factor=4.0)), 4096),
    ("linear odd factor", shape(32, 300, rope_parameters=dict(rope_type="linear", factor=3.7, rope_theta=12345.6)), 300),
    ("dynamic short", shape(16, 512, rope_scaling=dict(type="dynamic", factor=2.0)), 100),
    ("dynamic at the limit", shape(16, 512, rope_scaling=dict(type="dynamic", factor=2.0)), 512),
    ("dynamic one more", shape(16, 512, rope_scaling=dict(type="dynamic", factor=2.0)), 513),
    ("dynamic long", shape(32, 512, rope_parameters=dict(rope_type="dynamic", factor=3.3, rope_theta=2e5)), 1500),
    ("dynamic four dimensions", shape(4, 64, rope_scaling=dict(type="dynamic", factor=8.0)), 400),
    ("llama3 8", shape(64, 131072, rope_theta=500000.0, rope_scaling=dict(LLAMA3, rope_type="llama3", factor=8.0)), 131072),
    ("llama3 32", shape(32, 131072, rope_theta=500000.0, rope_scaling=dict(LLAMA3, rope_type="llama3", factor=32.0)), 20000),
    ("llama3 odd", shape(32, 4096, rope_parameters=dict(rope_type="llama3", rope_theta=300.3, factor=5.5, low_freq_factor=0.7,
        high_freq_factor=9.1, original_max_position_embeddings=100)), 4096),
    ("yarn", shape(64, 32768, rope_theta=1e6, rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=32768)), 131072),
    ("yarn original by default", shape(32, 4096, rope_scaling=dict(rope_type="yarn", factor=4.0)), 16384),
    ("yarn mscale", shape(32, 65536, rope_parameters=dict(rope_type="yarn", rope_theta=1e4, factor=16.0, mscale=1.2, mscale_all_dim=0.7,
        original_max_position_embeddings=4096)), 65536),
    ("yarn attention factor", shape(16, 8192, rope_parameters=dict(rope_type="yarn", rope_theta=1e4, factor=2.0, attention_factor=0.75,
        beta_fast=20.0, beta_slow=2.5, truncate=False, original_max_position_embeddings=4096)), 8192),
    ("yarn no truncation", shape(32, 131072, rope_parameters=dict(rope_type="yarn", rope_theta=150000.0, factor=32.0, truncate=False,
        original_max_position_embeddings=4096)), 131072),
    ("yarn meeting ramp", shape(16, 100, rope_parameters=dict(rope_type="yarn", rope_theta=1e4, factor=2.0, beta_fast=3.0, beta_slow=3.0,
        truncate=False, original_max_position_embeddings=50)), 100),
    ("yarn factor by ratio", shape(16, 8192, rope_parameters=dict(rope_type="yarn", rope_theta=1e4, factor=None,
        original_max_position_embeddings=2048)), 8192),
]


def floats(tensor):
    """The shortest decimals that read back as the same fp32 numbers."""
    import numpy
    return [float(str(value)) for value in tensor.numpy().astype(numpy.float32).reshape(-1)]


def run(name, config_dict, length):
    config = AutoConfig.for_model(**json.loads(json.dumps(config_dict)))
    module = EMBEDDINGS.get(config_dict["model_type"], LlamaRotaryEmbedding)(config)
    cos, sin = module(torch.zeros(1), torch.arange(length)[None])
    half = config_dict["head_dim"] // 2
    positions = sorted({0, 1, length // 3, length - 2, length - 1})
    return dict(name=name, config=json.dumps(config_dict), length=length, attention_factor=float(module.attention_scaling),
                inv_freq=floats(module.inv_freq.float()), positions=positions,
                cos=floats(cos[0, positions, :half]), sin=floats(sin[0, positions, :half]))


def main():
    cases = [run(*case) for case in CASES]
    with open(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/rope.json", "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
