#!/usr/bin/env python3
# ctest: release
"""The whole story with clients nobody has changed: upload, fine-tune, watch, fetch results, deploy, chat.

OpenAI's SDK as OpenAI and as AzureOpenAI, sync and async, and Foundry's azure-ai-projects, all against one `lorac serve` with the
shipped base model on the CPU.

usage: test_clients.py      needs LORAC_BUILD_DIR
"""
import asyncio
import sys
import time

import openai
from azure.ai.projects import AIProjectClient
from azure.ai.projects.aio import AIProjectClient as AsyncAIProjectClient
from azure.core.credentials import AccessToken

from serve_support import BASE, TRAIN_ROWS, VALID_ROWS, Failed, Server, expect, main, rows

API_VERSION = "2025-04-01-preview"
JOB_SECONDS = 180
METRIC_KEYS = {"step", "train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy", "full_valid_loss",
               "full_valid_mean_token_accuracy"}
PROMPT = [{"role": "user", "content": "Hello! I need ten berries in green, shipped to Ghent. thx Laura"}]


class KeyCredential:
    """What Foundry's client asks for a token: here it is the API key."""

    def get_token(self, *_scopes, **_options):
        return AccessToken("test", int(time.time()) + 3600)

    def close(self):
        pass


class AsyncKeyCredential:
    async def get_token(self, *_scopes, **_options):
        return AccessToken("test", int(time.time()) + 3600)

    async def close(self):
        pass

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass


class Waiting:
    """Lets one story serve sync and async clients: `await` of a plain value gives the value."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        if hasattr(self.value, "__await__"):
            return (yield from self.value.__await__())
        return self.value
        yield  # pylint: disable=unreachable


async def everything(pages):
    """All items of a paged list, sync or async."""
    if hasattr(pages, "__aiter__"):
        return [item async for item in pages]
    return list(pages)


async def uploaded(client, name, count):
    file = await Waiting(client.files.create(file=(name, rows(name, count), "application/jsonl"), purpose="fine-tune"))
    expect(file.id.startswith("file-") and file.filename == name, f"upload gave {file}")
    file = await Waiting(client.files.wait_for_processing(file.id, poll_interval=0.2))
    expect(file.status == "processed" and file.bytes == len(rows(name, count)), f"a file is {file}")
    return file


async def finished(client, job):
    until = time.monotonic() + JOB_SECONDS
    while job.status not in ("succeeded", "failed", "cancelled"):
        expect(time.monotonic() < until, f"the job is {job.status} after {JOB_SECONDS} s")
        await asyncio.sleep(0.3)
        job = await Waiting(client.fine_tuning.jobs.retrieve(job.id))
    return job


async def check_job(client, job, training, validation):
    """What a finished job has to show."""
    expect(job.status == "succeeded" and job.error is None, f"the job is {job.status}: {job.error}")
    expect(job.fine_tuned_model == f"{BASE}.ft-{job.id[len('ftjob-'):]}-story", f"the model is {job.fine_tuned_model}")
    expect(job.finished_at and job.trained_tokens > 0 and job.seed == 7, f"the job lacks figures: {job}")
    expect((job.training_file, job.validation_file) == (training.id, validation.id), "the job has other files")
    expect(job.method.supervised.hyperparameters.n_epochs == 2, f"hyperparameters: {job.method}")
    events = await everything(client.fine_tuning.jobs.list_events(job.id, limit=5))
    ids = [event.id for event in events]
    expect(len(set(ids)) == len(ids) and len(ids) > 8, f"{len(ids)} events, {len(set(ids))} different")
    messages = [event.message for event in reversed(events)]
    expect(messages[0].startswith("Job enqueued"), f"the first event is {messages[0]}")
    expect("Job succeeded." in messages and "Training started." in messages, f"events: {messages}")
    metrics = [event for event in events if event.type == "metrics"]
    expect(metrics and all(set(event.data) <= METRIC_KEYS and event.data["train_loss"] > 0 for event in metrics), "metrics")
    checkpoints = await everything(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    expect(len(checkpoints) == 2, f"{len(checkpoints)} checkpoints")
    expect(checkpoints[0].fine_tuned_model_checkpoint == job.fine_tuned_model, f"newest checkpoint: {checkpoints[0]}")
    expect(checkpoints[1].fine_tuned_model_checkpoint.startswith(f"{job.fine_tuned_model}:ckpt-step-"), f"{checkpoints[1]}")
    results = await Waiting(client.files.content(job.result_files[0]))
    lines = results.text.strip().splitlines()
    expect(lines[0].split(",")[0] == "step" and len(lines) == 1 + checkpoints[0].step_number, f"results.csv: {lines[:2]}")
    listed = await everything(client.fine_tuning.jobs.list(limit=1))
    expect(job.id in [other.id for other in listed], "the job is not in the list")
    models = await everything(await Waiting(client.models.list()))
    expect({job.fine_tuned_model, BASE} <= {model.id for model in models}, "the models lack it")


async def check_chat(client, model):
    """Answers of the tuned model, as a whole and streamed; with a seed they are the same."""
    options = {"model": model, "messages": PROMPT, "max_tokens": 40, "temperature": 0.7, "seed": 5}
    whole = await Waiting(client.chat.completions.create(**options, logprobs=True, top_logprobs=2))
    choice = whole.choices[0]
    expect(choice.message.role == "assistant" and choice.finish_reason in ("stop", "length"), f"chat gave {whole}")
    usage = whole.usage
    expect(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and usage.completion_tokens > 0, f"{usage}")
    expect(all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in choice.logprobs.content), "logprobs")
    spelled = b"".join(bytes(token.bytes) for token in choice.logprobs.content).decode()
    expect(choice.message.content in spelled, f"tokens spell {spelled!r}, the answer is {choice.message.content!r}")
    stream = await Waiting(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    chunks = await everything(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    expect(text == choice.message.content, f"streamed {text!r}, whole {choice.message.content!r}")
    expect(chunks[-1].usage and chunks[-1].usage.total_tokens == usage.total_tokens, f"the last chunk: {chunks[-1]}")
    many = await Waiting(client.chat.completions.create(**options, n=3))
    expect(len(many.choices) == 3 and many.choices[0].message.content == text, f"n=3 gave {many.choices}")


async def check_errors(client):
    try:
        await Waiting(client.fine_tuning.jobs.retrieve("ftjob-" + "0" * 32))
        raise Failed("a job that is not there was found")
    except openai.NotFoundError as error:
        expect(error.code == "notFound" and error.request_id, f"404: {error.body}, request {error.request_id}")
    try:
        await Waiting(client.fine_tuning.jobs.create(model="nobody", training_file="file-" + "0" * 32))
        raise Failed("a job of an unknown model was made")
    except (openai.BadRequestError, openai.NotFoundError) as error:
        expect(error.param in ("model", "training_file"), f"400: {error.body}")


async def story(client, deploy):
    training, validation = await uploaded(client, "train.jsonl", TRAIN_ROWS), await uploaded(client, "valid.jsonl", VALID_ROWS)
    job = await Waiting(client.fine_tuning.jobs.create(
        model=BASE, training_file=training.id, validation_file=validation.id, suffix="story", seed=7, metadata={"a": "b"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 8}}},
        extra_body={"trainingType": "GlobalStandard"}))
    expect(job.status == "pending" and job.id.startswith("ftjob-") and job.metadata == {"a": "b"}, f"create gave {job}")
    job = await finished(client, job)
    await check_job(client, job, training, validation)
    await check_chat(client, deploy(job.fine_tuned_model))
    await check_errors(client)
    deleted = await Waiting(client.files.delete(training.id))
    expect(deleted.deleted, f"delete gave {deleted}")


def deployer(server, name):
    """Deploys by the control plane's PUT, as the how-to does."""
    def deploy(model):
        import serve_support
        url = (f"{server.url}/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments/"
               f"{name}?api-version=2024-10-01")
        body = {"sku": {"name": "Standard", "capacity": 1},
                "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}}}
        status, _, made = serve_support.ask("PUT", url, body, {"Authorization": "Bearer test"})
        expect(status == 201 and made["name"] == name, f"deploying gave {status}: {made}")
        for _ in range(100):
            state = serve_support.ask("GET", url)[2]["properties"]["provisioningState"]
            if state == "Succeeded":
                return name
            expect(state in ("Accepted", "Creating"), f"the deployment is {state}")
            time.sleep(0.2)
        raise Failed("the deployment does not come up")
    return deploy


def test_openai(server):
    asyncio.run(story(openai.OpenAI(base_url=f"{server.url}/openai/v1/", api_key="test"), deployer(server, "openai")))


def test_openai_async(server):
    async def run():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/openai/v1", api_key="test") as client:
            await story(client, deployer(server, "openai-async"))
    asyncio.run(run())


def test_azure(server):
    asyncio.run(story(openai.AzureOpenAI(azure_endpoint=server.url, api_version=API_VERSION, api_key="test"),
                      deployer(server, "azure")))


def test_azure_async(server):
    async def run():
        async with openai.AsyncAzureOpenAI(azure_endpoint=server.url, api_version=API_VERSION, api_key="test") as client:
            await story(client, deployer(server, "azure-async"))
    asyncio.run(run())


def test_foundry(server):
    project = AIProjectClient(endpoint=f"{server.url}/api/projects/demo", credential=KeyCredential())
    with project, project.get_openai_client() as client:
        asyncio.run(story(client, deployer(server, "foundry")))


def test_foundry_async(server):
    async def run():
        project = AsyncAIProjectClient(endpoint=f"{server.url}/api/projects/demo", credential=AsyncKeyCredential())
        async with project, project.get_openai_client() as client:
            await story(client, deployer(server, "foundry-async"))
    asyncio.run(run())


def test_clients():
    with Server() as server:
        for test in (test_openai, test_openai_async, test_azure, test_azure_async, test_foundry, test_foundry_async):
            print(" ", test.__name__, flush=True)
            test(server)


if __name__ == "__main__":
    sys.exit(main([test_clients]))
