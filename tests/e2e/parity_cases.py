"""The reference side of the parity tests: tiny random models of every family, PEFT adapters on them, tokenized data
sets, and what PyTorch + transformers + PEFT compute in fp32. Each document is run alone, without padding; losses and
gradients are sums of weight * nll. Used by test_parity.py and scripts/make_golden."""
import json
import math
import os
import warnings

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import (LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config, SmolLM3Config, AutoModelForCausalLM,
                          get_cosine_schedule_with_warmup)

warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", message="Could not find a config file")
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
VOCAB = 259
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
LLAMA3 = dict(rope_type="llama3", rope_theta=5000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)


def shape(config_class, heads, kv_heads, head_dim, **more):
    """A small config: width 40 has nothing to do with heads * head_dim, one layer may be more than another's twice."""
    fields = dict(vocab_size=VOCAB, hidden_size=40, intermediate_size=56, num_hidden_layers=2,
                  num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=head_dim,
                  max_position_embeddings=128, tie_word_embeddings=False, initializer_range=0.15, rms_norm_eps=1e-5,
                  bos_token_id=0, eos_token_id=1, pad_token_id=None)
    fields.update(more)
    return config_class(**fields)


# name: (config, arguments of LoraConfig, further: dtype of the files, old: config.json in the old spelling,
# shards: several files with an index, documents: more than head_rows targets in one micro-batch)
CASES = {
    "llama-default": (lambda: shape(LlamaConfig, 4, 2, 10), dict(r=5, lora_alpha=16), {}),
    "llama-linear": (lambda: shape(LlamaConfig, 3, 1, 14, hidden_size=39, rope_parameters=dict(
        rope_type="linear", rope_theta=300.0, factor=3.5)), dict(r=1, lora_alpha=2), dict(old=True)),
    "llama-dynamic": (lambda: shape(LlamaConfig, 4, 1, 12, max_position_embeddings=16, rope_parameters=dict(
        rope_type="dynamic", rope_theta=1000.0, factor=2.0)), dict(r=16, lora_alpha=8), {}),
    "llama-llama3": (lambda: shape(LlamaConfig, 4, 2, 16, tie_word_embeddings=True, rope_parameters=LLAMA3),
                     dict(r=5, lora_alpha=10, target_modules=MLP), dict(dtype="bfloat16")),
    "llama-yarn": (lambda: shape(LlamaConfig, 2, 1, 16, max_position_embeddings=256, rope_parameters=dict(
        rope_type="yarn", rope_theta=1000.0, factor=4.0, original_max_position_embeddings=32)),
                   dict(r=16, lora_alpha=16, target_modules=ATTENTION), dict(shards=True)),
    "llama-biases": (lambda: shape(LlamaConfig, 4, 4, 6, attention_bias=True, mlp_bias=True),
                     dict(r=5, lora_alpha=7, use_rslora=True), dict(dtype="float16")),
    "llama-patterns": (lambda: shape(LlamaConfig, 4, 2, 8, num_hidden_layers=3),
                       dict(r=4, lora_alpha=8, rank_pattern={"v_proj": 1, "layers.1.mlp.up_proj": 17},
                            alpha_pattern={"o_proj": 3, "layers.0.self_attn.q_proj": 32}), {}),
    "llama-layers": (lambda: shape(LlamaConfig, 4, 2, 8, num_hidden_layers=4),
                     dict(r=3, lora_alpha=8, target_modules=ATTENTION + MLP, layers_to_transform=[1, 2]), {}),
    "mistral-window": (lambda: shape(MistralConfig, 6, 2, 12, sliding_window=7), dict(r=5, lora_alpha=16), {}),
    "mistral-full": (lambda: shape(MistralConfig, 4, 2, 8, sliding_window=None),
                     dict(r=16, lora_alpha=32, target_modules=r".*\.(q_proj|down_proj)"), dict(old=True)),
    "qwen2": (lambda: shape(Qwen2Config, 4, 1, 10, hidden_size=40, tie_word_embeddings=True),
              dict(r=5, lora_alpha=16), dict(dtype="bfloat16", old=True)),
    "qwen2-untied": (lambda: shape(Qwen2Config, 4, 2, 10, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
                     dict(r=1, lora_alpha=1, target_modules=["q_proj", "v_proj"]), {}),
    "qwen3": (lambda: shape(Qwen3Config, 4, 2, 14), dict(r=16, lora_alpha=32), dict(documents=40)),
    "qwen3-tied": (lambda: shape(Qwen3Config, 3, 1, 8, tie_word_embeddings=True, num_hidden_layers=3),
                   dict(r=5, lora_alpha=5, target_modules=ATTENTION), dict(dtype="bfloat16")),
    "smollm3": (lambda: shape(SmolLM3Config, 4, 1, 10, num_hidden_layers=5, no_rope_layers=[1, 0, 1, 1, 0],
                              no_rope_layer_interval=2, tie_word_embeddings=True, use_cache=False),
                dict(r=5, lora_alpha=16), {}),
}
GOLDEN = ["llama-default", "llama-linear", "llama-dynamic", "llama-llama3", "llama-yarn", "llama-biases",
          "llama-patterns", "mistral-window", "qwen2", "qwen3", "smollm3"]
TRAINING = dict(steps=50, batch=3, lr=5e-3, clip=0.5, warmup=5, decay=0.01)


def randomise(model, generator):
    """transformers leaves biases zero and norms one: give them values that would show a mistake."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
        elif "norm" in name:
            parameter.data = 1.0 + 0.2 * torch.randn(parameter.shape, generator=generator)
        else:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.15


def respell(directory):
    """config.json as transformers 4 wrote it."""
    path = os.path.join(directory, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    rope = config.pop("rope_parameters", None) or {}
    config["rope_theta"] = rope.pop("rope_theta", 10000.0)
    kind = rope.pop("rope_type", "default")
    config["rope_scaling"] = None if kind == "default" else dict(rope, type=kind)
    config["torch_dtype"] = config.pop("dtype", "float32")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)


def write_model(config, directory, seed, dtype=torch.float32, max_shard_size="1GB"):
    """A model of random weights as files of this type."""
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config)
    randomise(model, torch.Generator().manual_seed(seed))
    model.tie_weights()
    model.to(dtype).save_pretrained(directory, max_shard_size=max_shard_size)
    for extra in ("generation_config.json",):
        if os.path.exists(os.path.join(directory, extra)):
            os.remove(os.path.join(directory, extra))


def make_model(name, directory, seed, **overrides):
    """Writes the case's model and returns it in fp32, as a reader of the files sees it."""
    config_of, _, more = CASES[name]
    config = config_of()
    for key, value in overrides.items():
        setattr(config, key, value)
    write_model(config, directory, seed, getattr(torch, more.get("dtype", "float32")),
                "40KB" if more.get("shards") else "1GB")
    if more.get("old"):
        respell(directory)
    return load_model(directory)


def load_model(directory, dtype=torch.float32, attention="eager"):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation=attention).eval()


def write_adapter(model, directory, seed, **arguments):
    """A PEFT adapter with B drawn from N(0, 0.02), saved; returns the PEFT model."""
    torch.manual_seed(seed)
    peft_model = get_peft_model(model, LoraConfig(**{"target_modules": "all-linear", "lora_dropout": 0.0,
                                                     "task_type": "CAUSAL_LM", **arguments}))
    generator = torch.Generator().manual_seed(seed + 1)
    for key, parameter in peft_model.named_parameters():
        if "lora_B" in key:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.02
    peft_model.peft_config["default"].base_model_name_or_path = "model"
    peft_model.save_pretrained(directory)
    readme = os.path.join(directory, "README.md")
    if os.path.exists(readme):
        os.remove(readme)
    return peft_model.eval()


def make_adapter(name, model, directory, seed):
    """The case's adapter."""
    return write_adapter(model, directory, seed, **CASES[name][1])


def make_dataset(path, seed, documents=9, longest=40, vocab=VOCAB):
    """Random documents of 2 to `longest` tokens with weights 0, 1 and 0.5, never on a first token."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, longest + 1, (documents,), generator=generator).tolist()
    lengths[0], lengths[1] = 2, longest
    ids = torch.randint(0, vocab, (sum(lengths),), generator=generator, dtype=torch.int32)
    weights = torch.tensor([0.0, 1.0, 1.0, 0.5])[torch.randint(0, 4, (sum(lengths),), generator=generator)]
    offsets = torch.tensor([0] + lengths).cumsum(0)
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist()):
        weights[begin] = 0.0
        weights[end - 1] = 1.0
    tensors = dict(input_ids=ids, loss_weights=weights, offsets=offsets)
    save_file(tensors, path, metadata={"format": "lorac-tokens"})
    return tensors


def documents_of(dataset):
    offsets = dataset["offsets"].tolist()
    return [(dataset["input_ids"][begin:end].long(), dataset["loss_weights"][begin:end])
            for begin, end in zip(offsets[:-1], offsets[1:])]


def reset_rope(model):
    """Dynamic scaling depends on the document alone, not on those before it."""
    for module in model.modules():
        if hasattr(module, "original_inv_freq"):
            module.inv_freq = module.original_inv_freq.clone()
            module.max_seq_len_cached = module.original_max_seq_len


def logits_of(model, ids):
    reset_rope(model)
    return model(input_ids=ids[None], use_cache=False).logits[0]


def loss_sum(model, ids, weights):
    logits = logits_of(model, ids)
    nll = torch.nn.functional.cross_entropy(logits[:-1].float(), ids[1:], reduction="none")
    return (nll * weights[1:]).sum()


def adapter_parameters(peft_model):
    """PEFT's file names -> parameters."""
    return {key.replace(".default", ""): value for key, value in peft_model.named_parameters() if "lora_" in key}


def loss_and_gradients(peft_model, dataset):
    """Sums over the data set: loss, weight, and a gradient per adapter tensor."""
    parameters = adapter_parameters(peft_model)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
        parameter.grad = None
    loss, weight = 0.0, 0.0
    for ids, weights in documents_of(dataset):
        part = loss_sum(peft_model, ids, weights)
        part.backward()
        loss += part.item()
        weight += weights.sum().item()
    return loss, weight, {key: parameter.grad.detach().clone() for key, parameter in parameters.items()}


def train(peft_model, dataset, steps, batch, lr, clip, warmup, decay):
    """AdamW, clipping and cosine in file order; the mean loss of every step."""
    parameters = list(adapter_parameters(peft_model).values())
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=decay)
    scheduler = get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    rows = documents_of(dataset)
    per_epoch = math.ceil(len(rows) / batch)
    losses = []
    for step in range(steps):
        first = step % per_epoch * batch
        chosen = rows[first:first + batch]
        weight = sum(weights.sum().item() for _, weights in chosen)
        optimizer.zero_grad()
        total = 0.0
        for ids, weights in chosen:
            part = loss_sum(peft_model, ids, weights)
            (part / weight).backward()
            total += part.item()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        scheduler.step()
        losses.append(total / weight)
    return losses


def load_adapter(model_dir, adapter_dir):
    return PeftModel.from_pretrained(load_model(model_dir), adapter_dir).eval()


def versions():
    import peft
    return {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
