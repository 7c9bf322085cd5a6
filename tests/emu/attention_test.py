"""Jobs on the emulated GPU with attention by cuDNN (fake_cudnn.cpp): it is used, the ledger says so, a job that is killed
goes on with the same bytes, and one that cannot have it any more is refused; where the library is wrong, the job is as
without it, or, with several ranks, ends.

usage: attention_test.py LORAC (in the project's root, LORAC_CUDA_LIBRARY names the emulated backend)
"""

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

LORAC = os.path.abspath(sys.argv[1])
ROWS = 10
TIMEOUT_S = 120
WIDTH, MLP, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 128, 192, 2, 2, 1, 64  # heads that cuDNN takes
LIBRARY = {"EMU_CUDNN": "9.25.0"}


def expect(condition, message):
    if not condition:
        sys.exit("FAILED: " + message)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def tensors(vocab):
    yield "model.embed_tokens.weight", (vocab, WIDTH)
    yield "model.norm.weight", (WIDTH,)
    for layer in range(LAYERS):
        prefix = "model.layers.%d." % layer
        for name, shape in (("input_layernorm", (WIDTH,)), ("post_attention_layernorm", (WIDTH,)),
                            ("self_attn.q_norm", (HEAD_DIM,)), ("self_attn.k_norm", (HEAD_DIM,)),
                            ("self_attn.q_proj", (HEADS * HEAD_DIM, WIDTH)), ("self_attn.k_proj", (KV_HEADS * HEAD_DIM, WIDTH)),
                            ("self_attn.v_proj", (KV_HEADS * HEAD_DIM, WIDTH)), ("self_attn.o_proj", (WIDTH, HEADS * HEAD_DIM)),
                            ("mlp.gate_proj", (MLP, WIDTH)), ("mlp.up_proj", (MLP, WIDTH)), ("mlp.down_proj", (WIDTH, MLP))):
            yield prefix + name + ".weight", shape


def write_model(source, out):
    """A model of random weights with the tokenizer of another one."""
    shutil.copytree(source, out, ignore=shutil.ignore_patterns("*.safetensors*"))
    with open(out + "/config.json") as file:
        config = json.load(file)
    config.update(hidden_size=WIDTH, intermediate_size=MLP, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                  num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, tie_word_embeddings=True)
    with open(out + "/config.json", "w") as file:
        json.dump(config, file)
    header, data, draw = {}, bytearray(), random.Random(1)
    for name, shape in tensors(config["vocab_size"]):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = [1.0] * count if len(shape) == 1 else [draw.uniform(-0.1, 0.1) for _ in range(count)]
        begin = len(data)
        data += struct.pack("<%df" % count, *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(out + "/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def write_job(path, **lorac):
    job = {"model": os.path.abspath("model"), "training_file": "train.jsonl", "seed": 7,
           "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 2}}},
           "lorac": {"rank": 8, "dtype": "bf16", "device": "emu", "micro_batch_tokens": 128, "max_seq_len": 96,
                     "checkpoint_every_steps": 2, **lorac}}
    with open(path, "w") as file:
        json.dump(job, file)


def train(job, out, *arguments, expected=0, **environment):
    done = subprocess.run([LORAC, "train", job, "--out", out, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=TIMEOUT_S, env={**os.environ, **environment})
    text = done.stdout.decode("utf-8", "replace")
    expect(done.returncode == expected, "train %s: status %d, expected %d\n%s" % (out, done.returncode, expected, text))
    return text


def adapter(out):
    return read(out + "/adapter/adapter_model.safetensors")


def ledger(out):
    whole = json.loads(read(out + "/ledger.json"))
    return whole["facts"]["attention"], [c["algorithm"] for c in whole["choices"] if c["product"].startswith("attention ")]


def test_used():
    train("job.json", "own")
    expect(ledger("own") == ("lorac", []), "without cuDNN the ledger says %s" % (ledger("own"),))
    train("job.json", "library", **LIBRARY)
    fact, plans = ledger("library")
    expect(fact == "cudnn 9.25.0 ordered", "the ledger says " + fact)
    expect(set(plans) == {"eng9_k14=0", "eng6_k14=4"}, "the plans are %s" % plans)
    expect(adapter("library") != adapter("own"), "cuDNN gave the bytes of our kernels: it is not used")
    train("job.json", "again", **LIBRARY)
    expect(adapter("again") == adapter("library"), "cuDNN gave other bytes the second time")
    train("job.json", "forbidden", LORAC_ATTENTION="lorac", **LIBRARY)
    expect(ledger("forbidden") == ("lorac", []) and adapter("forbidden") == adapter("own"), "LORAC_ATTENTION=lorac does not hold")
    train("free.json", "free", EMU_CUDNN="9.19.0")
    expect(ledger("free")[0] == "cudnn 9.19.0" and len(ledger("free")[1]) > 0, "deterministic false: %s" % (ledger("free"),))
    train("job.json", "old", EMU_CUDNN="9.19.0")
    expect(ledger("old")[0] == "lorac" and adapter("old") == adapter("own"), "an old cuDNN was used though deterministic")


def kill(out, first, has_checkpoint, **environment):
    """A job that is killed once its first step is through, before or after its first checkpoint."""
    for call in range(first, 400, 10):
        shutil.rmtree(out, ignore_errors=True)
        train("job.json", out, expected=-9, LORAC_FAULT="kill:%d" % call, **environment)
        saved = os.path.exists(out + "/resume") and any(n.startswith("step-") for n in os.listdir(out + "/resume"))
        if saved == has_checkpoint and os.path.exists(out + "/ledger.json") and ledger(out)[1]:
            return
    expect(False, "it was never killed there")


def test_resume():
    kill("killed", 230, True, **LIBRARY)
    text = train("job.json", "killed", "--resume", expected=3)
    expect("attention was cudnn 9.25.0 ordered and is lorac now" in text, "the refusal says: " + text)
    text = train("job.json", "killed", "--resume", expected=3, LORAC_ATTENTION="lorac", **LIBRARY)
    expect("attention was cudnn" in text, "the refusal says: " + text)
    train("job.json", "killed", "--resume", **LIBRARY)
    expect(adapter("killed") == adapter("library"), "the resume gave other bytes")


def test_faults():
    text = train("job.json", "wrong", EMU_CUDNN_FAULT="wrong-forward", **LIBRARY)
    expect(text.count("differs from our kernels'") == 1, "one warning was expected: " + text)
    expect(set(ledger("wrong")[1]) == {"lorac", "eng6_k14=4"}, "the plans are %s" % ledger("wrong")[1])
    train("job.json", "shut", EMU_CUDNN_FAULT="open", **LIBRARY)
    expect(adapter("shut") == adapter("own"), "a library that does not open decides the bytes")
    expect(set(ledger("shut")[1]) == {"lorac"}, "the plans are %s" % ledger("shut")[1])


def test_resume_after_fault():
    """Who serves attention does not hang on where a job was killed."""
    fault = {"EMU_CUDNN_FAULT": "wrong-backward", **LIBRARY}
    train("job.json", "half", **fault)
    for has_checkpoint, first in ((False, 100), (True, 230)):
        kill("halted", first, has_checkpoint, **fault)
        train("job.json", "halted", "--resume", **fault)
        expect(adapter("halted") == adapter("half"), "the resume gave other bytes")
        expect(ledger("halted") == ledger("half"), "the ledgers are %s and %s" % (ledger("halted"), ledger("half")))


def train_ranks(out, port, *arguments, expected=0, faulty=None):
    """Two ranks, a process each; the plan of rank `faulty` fails when it runs. What both say."""
    ranks = []
    for rank in range(2):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": str(port), "LORAC_COMM_TIMEOUT": "60"}
        if rank == faulty:
            place["EMU_CUDNN_FAULT"] = "run-forward"
        ranks.append(subprocess.Popen([LORAC, "train", "job.json", "--out", out, *arguments], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, env={**os.environ, **LIBRARY, **place}))
    texts = [rank.communicate(timeout=TIMEOUT_S)[0].decode("utf-8", "replace") for rank in ranks]
    for rank, text in zip(ranks, texts):
        expect(rank.returncode == expected, "%s: status %d, expected %d\n%s" % (out, rank.returncode, expected, text))
    return texts


def test_ranks():
    """A plan that one rank cannot have ends all, whichever it is; the resume gives the bytes of an undisturbed job."""
    train_ranks("ranks", 29571)
    expect(ledger("ranks")[0] == "cudnn 9.25.0 ordered", "the ledger says %s" % (ledger("ranks"),))
    for faulty in (0, 1):
        out = "faulty%d" % faulty
        text = train_ranks(out, 29572 + 2 * faulty, expected=1, faulty=faulty)[faulty]
        expect("rank %d of 2: cuDNN's attention forward" % faulty in text, "it says: " + text)
        expect("LORAC_ATTENTION=lorac on all" in text, "it says: " + text)
        train_ranks(out, 29573 + 2 * faulty, "--resume")
        expect(adapter(out) == adapter("ranks"), "the resume gave other bytes")


def test_settings():
    text = train("job.json", "forced", expected=1, LORAC_ATTENTION="cudnn")
    expect("LORAC_ATTENTION is cudnn" in text, "it says: " + text)
    text = train("job.json", "nonsense", expected=2, LORAC_ATTENTION="fast")
    expect("LORAC_ATTENTION must be" in text, "it says: " + text)


def main():
    source = os.path.abspath("models/sprout-3m")
    with open("configs/quickstart/train.jsonl") as file:
        rows = file.readlines()[:ROWS]
    folder = tempfile.mkdtemp(prefix="lorac-attention-")
    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = os.path.join(folder, "none")
    for name in ("LORAC_TUNING", "LORAC_ATTENTION", "EMU_CUDNN", "EMU_CUDNN_FAULT"):
        os.environ.pop(name, None)
    write_model(source, "model")
    write_job("job.json")
    write_job("free.json", deterministic=False)
    with open("train.jsonl", "w") as file:
        file.writelines(rows)
    for test in (test_used, test_resume, test_faults, test_resume_after_fault, test_ranks,
                 test_settings):
        print(test.__name__, flush=True)
        test()
    shutil.rmtree(folder)
    print("attention by cuDNN in jobs: as it should be")


main()
