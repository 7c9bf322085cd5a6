"""`lorac serve` whose worker computes on the emulated GPU: chats with the shipped base and a model tuned on it, as a whole and
streamed, alone and beside each other, are the same to the last bit.

usage: serve_test.py      needs LORAC_BUILD_DIR; LORAC_CUDA_LIBRARY names the emulated backend
"""

import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from serve_support import BASE, Failed, Server, ask, expect, main, rows, upload  # noqa: E402

ROWS, JOB_SECONDS = 12, 120
PROMPT = [{"role": "user", "content": "Hello! I need ten berries in green, shipped to Ghent. thx Laura"}]


def post(server, path, body):
    status, _, answer = ask("POST", server.url + "/openai/v1" + path, body)
    expect(status == 200, f"{path} gave {status}: {answer}")
    return answer


def chat(server, body):
    """What two answers to one request have in common: choices and usage, but not what was cached."""
    answer = post(server, "/chat/completions", body)
    usage = answer["usage"]
    return answer["choices"], usage["prompt_tokens"], usage["completion_tokens"]


def streamed(server, body):
    """The same from a stream of one choice."""
    text = post(server, "/chat/completions", {**body, "stream": True, "stream_options": {"include_usage": True}}).decode()
    lines = [line[len("data: "):] for line in text.splitlines() if line.startswith("data: ")]
    expect(lines[-1] == "[DONE]", f"a stream ends with {lines[-1]}")
    chunks = [json.loads(line) for line in lines[:-1]]
    parts = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    content = "".join(one["delta"].get("content") or "" for one in parts)
    tokens = [token for one in parts if one.get("logprobs") for token in one["logprobs"]["content"]]
    usage = chunks[-1]["usage"]
    return content, tokens, parts[-1]["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"]


def tune(server):
    """The name of a model tuned for a moment, on the CPU."""
    body = {"model": BASE, "training_file": upload(server, rows("train.jsonl", ROWS)), "seed": 1,
            "method": {"type": "supervised", "supervised": {"hyperparameters": {
                "n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": 20}}},
            "lorac": {"device": "cpu", "rank": 4}}
    job = post(server, "/fine_tuning/jobs", body)
    for _ in range(10 * JOB_SECONDS):
        job = ask("GET", f"{server.url}/openai/v1/fine_tuning/jobs/{job['id']}")[2]
        if job["status"] == "succeeded":
            return job["fine_tuned_model"]
        expect(job["status"] not in ("failed", "cancelled"), f"the job is {job['status']}: {job['error']}")
        time.sleep(0.1)
    raise Failed(f"the job is {job['status']} after {JOB_SECONDS} s")


def requests(tuned):
    greedy = {"messages": PROMPT, "temperature": 0, "max_tokens": 10, "logprobs": True, "top_logprobs": 2}
    drawn = {"messages": PROMPT, "temperature": 1.2, "seed": 7, "max_tokens": 8}
    return [{"model": BASE, **greedy}, {"model": tuned, **greedy}, {"model": tuned, **drawn, "n": 2}, {"model": BASE, **drawn}]


def same_alone_and_beside():
    with Server(options=["--device", "emu"]) as server:
        all_requests = requests(tune(server))
        alone = [chat(server, body) for body in all_requests]
        expect(alone[0][0] != alone[1][0], "base and tuned model answer alike")
        expect(len(alone[2][0]) == 2, f"two choices: {alone[2]}")
        for body, (choices, *counts) in list(zip(all_requests, alone))[:2]:
            one = choices[0]
            expected = (one["message"]["content"], one["logprobs"]["content"], one["finish_reason"], *counts)
            found = streamed(server, body)
            expect(found == expected, f"streamed {found}, as a whole {expected}")
        for order in ((0, 1, 2, 3), (3, 2, 1, 0)):
            beside = [None] * len(alone)

            def run(index):
                beside[index] = chat(server, all_requests[index])

            threads = [threading.Thread(target=run, args=(index,)) for index in order]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            expect(beside == alone, f"beside each other {beside}, alone {alone}")
        with open(os.path.join(server.data, "workers", BASE + ".log"), encoding="utf-8") as log:
            expect("error" not in log.read().lower(), "the worker's log has an error")


if __name__ == "__main__":
    sys.exit(main([same_alone_and_beside]))
