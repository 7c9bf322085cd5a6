"""The base model in plain torch, Qwen3-shaped, with the parameter names of its published classes.

Who calls it: train.py. Rows hold several documents; attention stays inside a document, and rotary
positions are relative, so a packed document sees what it would see alone. score.py loads the saved
weights with transformers instead, which also proves that the two agree.
"""

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": None, "eos_token_id": 2, "head_dim": 32, "hidden_act": "silu",
    "hidden_size": 192, "initializer_range": 0.02, "intermediate_size": 576,
    "max_position_embeddings": 1024, "max_window_layers": 6, "model_type": "qwen3",
    "num_attention_heads": 6, "num_hidden_layers": 6, "num_key_value_heads": 2, "pad_token_id": 0,
    "rms_norm_eps": 1e-06, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "sliding_window": None, "tie_word_embeddings": True, "dtype": "bfloat16",
    "use_cache": True, "use_sliding_window": False, "vocab_size": 1536,
}
WIDTH, HEADS, KV_HEADS = CONFIG["hidden_size"], CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"]
HEAD_DIM, LAYERS, MLP = CONFIG["head_dim"], CONFIG["num_hidden_layers"], CONFIG["intermediate_size"]


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, CONFIG["rms_norm_eps"])


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


def rotary_tables(length):
    """cos and sin, (length, HEAD_DIM); the two halves of a head turn together."""
    theta = CONFIG["rope_parameters"]["rope_theta"]
    inverse = theta ** (-torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
    angles = torch.outer(torch.arange(length).float(), inverse)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    half = HEAD_DIM // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = linear(WIDTH, HEADS * HEAD_DIM)
        self.k_proj = linear(WIDTH, KV_HEADS * HEAD_DIM)
        self.v_proj = linear(WIDTH, KV_HEADS * HEAD_DIM)
        self.o_proj = linear(HEADS * HEAD_DIM, WIDTH)
        self.q_norm, self.k_norm = Norm(HEAD_DIM), Norm(HEAD_DIM)

    def forward(self, x, rotary, mask):
        rows, length, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(rows, length, HEADS, HEAD_DIM)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(rows, length, KV_HEADS, HEAD_DIM)).transpose(1, 2)
        v = self.v_proj(x).view(rows, length, KV_HEADS, HEAD_DIM).transpose(1, 2)
        q, k = rotate(q, *rotary), rotate(k, *rotary)
        k = k.repeat_interleave(HEADS // KV_HEADS, dim=1)
        v = v.repeat_interleave(HEADS // KV_HEADS, dim=1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, HEADS * HEAD_DIM))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj = linear(WIDTH, MLP), linear(WIDTH, MLP)
        self.down_proj = linear(MLP, WIDTH)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(WIDTH), Norm(WIDTH)
        self.self_attn, self.mlp = Attention(), Mlp()

    def forward(self, x, rotary, mask):
        x = x + self.self_attn(self.input_layernorm(x), rotary, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(CONFIG["vocab_size"], WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = Norm(WIDTH)


class Sprout(nn.Module):
    """Names match the published class: model.layers.0.self_attn.q_proj.weight and so on."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.model = Body()
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=CONFIG["initializer_range"] if "embed" in name else WIDTH ** -0.5)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(weight)

    def forward(self, tokens, document_of):
        """Logits (rows, length, vocabulary) of packed rows; document_of numbers each document."""
        length = tokens.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        mask = (causal & (document_of[:, :, None] == document_of[:, None, :]))[:, None]
        rotary = rotary_tables(length)
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = layer(x, rotary, mask)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)
