"""Jobs on the emulated GPU with tuning tables: the table decides the bytes, the ledger keeps it for a resume, and a
resume that cannot have it is refused, or warned of where the job file allows it. Several ranks have rank 0's.

usage: ledger_test.py LORAC (in the project's root, LORAC_CUDA_LIBRARY names the emulated backend)
"""

import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

LORAC = os.path.abspath(sys.argv[1])
MODEL = os.path.abspath("tests/golden/cases/qwen3/model")
ROWS, TOKENS, VOCAB = 12, (8, 40), 131
TIMEOUT_S = 120
FIRST_PORT = 29560
port = FIRST_PORT
LEDGER, DONE, MANY_CALLS = 1, 1 << 20, 1 << 9
ID_PLACE = 16  # where the text of an emulated algorithm has its number


def fail(message):
    sys.exit("FAILED: " + message)


def expect(condition, message):
    if not condition:
        fail(message)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write_dataset(path):
    """Random rows as a tokenized data set."""
    draw = random.Random(3)
    rows = [[draw.randrange(VOCAB) for _ in range(draw.randint(*TOKENS))] for _ in range(ROWS)]
    offsets = [sum(map(len, rows[:i])) for i in range(ROWS + 1)]
    count = offsets[-1]
    tensors = (("input_ids", "I32", struct.pack("<%di" % count, *sum(rows, []))),
               ("loss_weights", "F32", struct.pack("<%df" % count, *[1.0] * count)),
               ("offsets", "I64", struct.pack("<%dq" % (ROWS + 1), *offsets)))
    header, data = {}, b""
    for name, dtype, content in tensors:
        header[name] = {"dtype": dtype, "shape": [ROWS + 1 if name == "offsets" else count],
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def write_job(path, **lorac):
    job = {"model": MODEL, "training_file": "train.safetensors", "seed": 7,
           "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": 2}}},
           "lorac": {"rank": 8, "dtype": "bf16", "device": "emu", "micro_batch_tokens": 192, "max_seq_len": 96,
                     "checkpoint_every_steps": 2, **lorac}}
    with open(path, "w") as file:
        json.dump(job, file)


def lorac(*arguments, expected=0, **environment):
    """Runs lorac; the text of both its outputs."""
    done = subprocess.run([LORAC, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S,
                          env={**os.environ, **environment})
    text = done.stdout.decode("utf-8", "replace")
    expect(done.returncode in expected if isinstance(expected, list) else done.returncode == expected,
           "lorac %s: status %d, expected %s\n%s" % (" ".join(arguments), done.returncode, expected, text))
    return text


def train(job, out, *arguments, **options):
    return lorac("train", job, "--out", out, *arguments, **options)


def train_ranks(job, out, *arguments, expected=(0, 0), each=({}, {}), **environment):
    """Two ranks as torchrun would start them, each with variables of its own; the text of each."""
    global port
    port += 1
    processes = [subprocess.Popen(
        [LORAC, "train", job, "--out", out, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
             "MASTER_PORT": str(port), "LORAC_COMM_TIMEOUT": "10", **environment, **each[rank]}) for rank in (0, 1)]
    texts = [process.communicate(timeout=TIMEOUT_S)[0].decode("utf-8", "replace") for process in processes]
    status = tuple(process.returncode for process in processes)
    expect(status in expected if isinstance(expected, list) else status == expected, "%s: ranks end with %s, expected %s\n%s" % (out, status, expected, texts))
    return texts


def results(out):
    return (read(out + "/adapter/adapter_model.safetensors"), read(out + "/results.csv"), read(out + "/ledger.json"))


def rewrite(path, change):
    """Changes a ledger and gives it its hash again."""
    body, tail = read(path).decode().rsplit('  "sha256": ', 1)
    ledger = json.loads(body + '  "sha256": ' + tail)
    for choice in ledger["choices"]:
        text = change(choice)
        expect(body.count(choice["algorithm"]) > 0 and text != choice["algorithm"], "a choice is not there")
        body = body.replace(json.dumps(choice["product"]) + ', "from": "library", "algorithm": "' + choice["algorithm"],
                            json.dumps(choice["product"]) + ', "from": "table", "algorithm": "' + text)
    with open(path, "w") as file:
        file.write(body + '  "sha256": "%s"\n}\n' % hashlib.sha256(body.encode()).hexdigest())


def second_algorithm(choice):
    """Of a product the library's second proposal, of an op its second way."""
    text = choice["algorithm"]
    ways = {"kernel": "products", "bordered": "apart", "fused": "apart"}
    if text in ways:
        return ways[text]
    return text[:ID_PLACE + 1] + "1" + text[ID_PLACE + 2:]


def progress(out):
    """How far a job has come: 0, LEDGER when that is there, the step of its newest checkpoint, or DONE."""
    if os.path.exists(out + "/adapter"):
        return DONE
    steps = [int(name[5:]) for name in os.listdir(out + "/resume") if name.startswith("step-")] \
        if os.path.exists(out + "/resume") else []
    return max(steps, default=LEDGER if os.path.exists(out + "/ledger.json") else 0)


def interrupted(run, out, wanted):
    """run(fault) trains into `out`; it is killed at a call of the operating system at which the job has come that far."""
    early, late = 0, MANY_CALLS
    while late - early > 1:
        calls = (early + late) // 2
        shutil.rmtree(out, ignore_errors=True)
        run("kill:%d" % calls)
        found = progress(out)
        if found == wanted:
            return
        if found < wanted:
            early = calls
        else:
            late = calls
    fail("%s could not be killed at %s" % (out, wanted))


def test_table_decides():
    train("job.json", "plain")
    ledger = json.loads(read("plain/ledger.json"))
    expect(ledger["facts"]["cublaslt"] and ledger["choices"], "the ledger is empty")
    expect(all(c["from"] == "library" for c in ledger["choices"]), "a choice comes from a table that there is not")
    shutil.copy("plain/ledger.json", "table.json")
    train("job.json", "same", LORAC_TUNING="table.json")
    expect(results("same")[:2] == results("plain")[:2], "the same table gave other bytes")
    rewrite("table.json", second_algorithm)
    train("job.json", "tuned", LORAC_TUNING="table.json")
    expect(results("tuned")[0] != results("plain")[0], "another table gave the same bytes: it is not used")
    train("job.json", "tuned-again", LORAC_TUNING=os.path.abspath("table.json"))
    expect(results("tuned-again") == results("tuned"), "a table gave other bytes the second time")


def test_named_table():
    text = train("job.json", "bad", expected=3, LORAC_TUNING="table.json", EMU_CUBLASLT_VERSION="120000")
    expect("cublaslt was 130" in text and "120000" in text, "the table's other library is not told: " + text)
    shutil.rmtree("bad")
    text = train("job.json", "bad", expected=3, LORAC_TUNING="nowhere.json")
    expect("nowhere.json is missing" in text, "a missing table is not told: " + text)
    shutil.rmtree("bad")
    train("job.json", "off", LORAC_TUNING="off")
    expect(results("off") == results("plain"), "LORAC_TUNING=off is not as without a table")


def test_resume():
    """Killed at several instants; the table is gone, the ledger has it."""
    for step in (2, 4):
        out = "killed-%d" % step
        shutil.copy("table.json", "passing.json")
        interrupted(lambda fault: train("job.json", out, expected=[-9, 0], LORAC_FAULT=fault,
                                        LORAC_TUNING="passing.json"), out, step)
        os.remove("passing.json")
        shutil.copytree(out, out + "-lost")
        train("job.json", out, "--resume")
        expect(results(out) == results("tuned"), "%s: the resume gave other bytes" % out)
    # Killed before the first checkpoint: the job begins again, with the table it began with.
    interrupted(lambda fault: train("job.json", "early", expected=[-9, 0], LORAC_FAULT=fault, LORAC_TUNING="table.json"),
                "early", LEDGER)
    train("job.json", "early", "--resume")
    expect(results("early") == results("tuned"), "early: the resume gave other bytes")


def refused(out, *words, job="job.json", **environment):
    before = {name: read(os.path.join(out, name)) for name in ("job.json", "events.jsonl", "results.csv")}
    text = train(job, out, "--resume", expected=3, **environment)
    expect(all(word in text for word in words), "the refusal lacks one of %s: %s" % (words, text))
    after = {name: read(os.path.join(out, name)) for name in before}
    return before == after


def test_refusals():
    source = "killed-2-lost"
    for name in ("gone", "cut", "flipped", "swapped", "library"):
        shutil.copytree(source, name)
    os.remove("gone/ledger.json")
    expect(refused("gone", "ledger.json is missing", "lorac.deterministic"), "gone: the refusal left traces")
    whole = read("cut/ledger.json")
    with open("cut/ledger.json", "wb") as file:
        file.write(whole[:len(whole) // 2])
    expect(refused("cut", "ledger.json", "hash"), "cut: the refusal left traces")
    with open("flipped/ledger.json", "wb") as file:
        file.write(whole.replace(b'"from": "table"', b'"from": "Table"', 1))
    expect(refused("flipped", "ledger.json", "hash"), "flipped: the refusal left traces")
    shutil.copy("plain/ledger.json", "swapped/ledger.json")  # a good one of another run
    refused("swapped", "ledger.json", "checkpoint")
    shutil.copy(source + "/ledger.json", "swapped/ledger.json")
    train("job.json", "swapped", "--resume")
    expect(results("swapped") == results("tuned"), "swapped: with its ledger back the resume gave other bytes")
    expect(refused("library", "ledger.json", "cublaslt was 130", "120000", EMU_CUBLASLT_VERSION="120000"),
           "library: the refusal left traces")


def test_deviation():
    """deterministic false, also when it is set after the refusal, goes on and says so."""
    train("free.json", "library", "--resume", EMU_CUBLASLT_VERSION="120000")
    log = read("library/log.txt").decode()
    expect("cublaslt was 130" in log and "other last digits" in log, "the deviation is not in the log: " + log)
    ledger = json.loads(read("library/ledger.json"))
    expect(ledger["facts"]["cublaslt"] == "120000", "the ledger still has the old library")
    expect(all(c["from"] == "library" for c in ledger["choices"]), "choices of the old table are left")
    train("free.json", "gone", "--resume")
    expect("ledger.json is missing" in read("gone/log.txt").decode(), "the lost ledger is not in the log")


def test_bench():
    cache = os.path.abspath("cache")
    environment = {"XDG_CACHE_HOME": cache}
    text = lorac("bench", "--tune", "--job", "job.json", "--batches", "4", **environment)
    expect("best us" in text and cache in text, "bench does not say what it did: " + text)
    tables = os.listdir(cache + "/lorac/tuning")
    expect(len(tables) == 1, "not one table: %s" % tables)
    table = json.loads(read(os.path.join(cache, "lorac/tuning", tables[0])))
    expect(all(c["from"] == "table" for c in table["choices"]), "a choice of the table was not measured")
    train("job.json", "benched", **environment)
    taken = {c["product"]: c for c in json.loads(read("benched/ledger.json"))["choices"]}
    expect(all(taken[c["product"]] == c for c in table["choices"]), "the job did not take the table's algorithms")
    # A table under this name that is another device's is left out.
    train("job.json", "left-out", EMU_CUBLASLT_VERSION="120000", **environment)
    lorac("bench", "--tune", "--job", "job.json", "--batches", "1", "--out", "own/table.json", **environment)
    lorac("bench", "--tune", "--job", "job.json", "--batches", "4", "--out",
          os.path.abspath("own/table.json"), **environment)
    expect(len(json.loads(read("own/table.json"))["choices"]) == len(table["choices"]), "the table did not grow")
    expect("nothing to tune" in lorac("bench", "--tune", "--job", "job.json", "--device", "cpu", expected=3),
           "the CPU was tuned")


def test_ranks():
    """The other rank has rank 0's choices, whatever it finds where it runs, or says why not."""
    other = ({}, {"EMU_CUBLASLT_VERSION": "120000"})
    table = dict(LORAC_TUNING="table.json")
    train_ranks("job.json", "ranks-plain")
    train_ranks("job.json", "ranks", **table)
    expect(results("ranks")[0] != results("ranks-plain")[0], "a table gave the same bytes")
    train_ranks("job.json", "ranks-first", each=(table, {"LORAC_TUNING": "off"}))
    expect(results("ranks-first") == results("ranks"), "rank 1 has not taken the table of rank 0")
    # With another library it is refused its part, or has its own choices: other bytes, so above it had rank 0's.
    text = train_ranks("job.json", "ranks-other", expected=(1, 3), each=other, **table)[1]
    expect("rank 1: cublaslt is 120000, the ledger of rank 0 says 130" in text, "the refusal lacks its reason: " + text)
    text = train_ranks("free.json", "ranks-free", each=other, LORAC_TUNING="off")[1]
    expect("rank 1: cublaslt is 120000" in text and "choices of its own" in text, "the warning is missing: " + text)
    train_ranks("free.json", "ranks-mixed", each=(table, {**other[1], "LORAC_TUNING": "off"}))
    mixed = results("ranks-mixed")
    expect(mixed[2] == results("ranks")[2], "the ledger is not that of rank 0's choices")
    expect(mixed[0] != results("ranks")[0], "rank 1 never had the choices of rank 0")
    expect(results("ranks-free")[0] == results("ranks-plain")[0], "another version alone gave other bytes")
    # A resume without the table: rank 0 has the ledger, rank 1 gets it.
    interrupted(lambda fault: train_ranks("job.json", "ranks-killed", expected=[(-9, 1), (0, 0)],
                                          each=({**table, "LORAC_FAULT": fault}, {})), "ranks-killed", 2)
    train_ranks("job.json", "ranks-killed", "--resume")
    expect(results("ranks-killed") == results("ranks"), "the resume of two ranks gave other bytes")


def main():
    write_directory = tempfile.mkdtemp(prefix="lorac-ledger-")
    job, free = os.path.join(write_directory, "job.json"), os.path.join(write_directory, "free.json")
    write_job(job)
    write_job(free, deterministic=False)
    write_dataset(os.path.join(write_directory, "train.safetensors"))
    os.chdir(write_directory)
    os.environ["XDG_CACHE_HOME"] = os.path.join(write_directory, "none")
    os.environ["TMPDIR"] = write_directory  # where the emulator's ranks meet
    os.environ.pop("LORAC_TUNING", None)
    for test in (test_table_decides, test_named_table, test_resume, test_refusals, test_deviation, test_bench, test_ranks):
        print(test.__name__, flush=True)
        test()
    shutil.rmtree(write_directory)
    print("tables, ledgers, resumes: as they should be")


main()
