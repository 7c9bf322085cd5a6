"""The contract of Azure's API around training: addresses and keys, deployments, chat, models, what is not offered, errors."""

import socket
import urllib.parse

from serve_support import BASE, ask
from surface_rows import ABSENT, DIFFERS, JOBS, absent, call, code, empty, fact, fields, header, proven, refuses, sends, words
from surface_story import ARM, CLASSIC, PROMPT, V1
from surface_training import IMAGE, TEXT_ONLY

ARM_PATTERN = (
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}"
    "/deployments/{deployment}"
)


def no_version(story):
    return ask("GET", f"{story.server.url}/openai/models")[0] == 200


def no_body(story):
    answer = story.call("POST", f"{JOBS}/{story.first['id']}/cancel", b"", headers={"Content-Type": "application/json"})
    return answer[2]["error"]["code"] == "unexpectedEntityState"


def strange_answer(story):
    """What comes back for a version of HTTP that nobody has."""
    address = urllib.parse.urlsplit(story.server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/7.3\r\nHost: localhost\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def section_access():
    return [
        fact("`{host}/openai/v1`", lambda s: any(row[2] == V1 for row in s.record.answered)),
        fact("`{host}/openai` with `api-version`", lambda s: any(row[2] == CLASSIC for row in s.record.answered)),
        fact(
            "`api-version` is required in the classic family",
            no_version,
            DIFFERS,
            "it is not asked for and not looked at: all versions get the newest answers",
        ),
        call("POST", "/deployments/{deployment}/chat/completions", family=CLASSIC),
        fact(
            "`{host}/api/projects/{project}/openai/v1`",
            lambda s: s.call("GET", "/models", family="/api/projects/p/openai/v1")[0] == 200,
        ),
        fact(
            "`{host}/api/projects/{project}/openai`",
            lambda s: s.call("GET", "/models", family="/api/projects/p/openai")[0] == 200,
        ),
        fact("the control plane's `PUT .../deployments/{d}`", lambda s: ("PUT", ARM_PATTERN, "", 201) in s.record.answered),
        fact("`api-key: KEY`", lambda s: s.facts["api-key"]),
        fact("`Authorization: Bearer KEY`", lambda s: s.facts["bearer"]),
        fact(
            "Entra tokens",
            lambda s: s.facts["a strange bearer is refused"],
            ABSENT,
            "there is no directory to ask; a bearer token is an API key",
        ),
        fact("what a key has made only that key sees", lambda s: s.facts["another key finds nothing"]),
        header("x-request-id", 200),
        header("apim-request-id", 200),
        header("x-request-id", 400),
        header("location", 201),
        header("retry-after-ms", 429),
        header("retry-after", 429),
        fact(
            "`x-ratelimit-remaining-requests`",
            lambda s: "x-ratelimit-remaining-requests" not in s.record.headers[200],
            ABSENT,
            "limits are told when they are met, by 429",
        ),
        fact("a POST without a body", no_body),
        fact(
            "`Accept: application/binary`",
            lambda s: s.call("GET", f"/files/{s.validation['id']}/content", headers={"Accept": "application/binary"})[0] == 200,
        ),
        fact(
            "headers of previews",
            lambda s: s.call("GET", "/models", headers={"aoai-evals": "preview"})[0] == 200,
            note="accepted, and change nothing",
        ),
        fact("lists always have `has_more`; after the last item they are empty", lambda s: s.facts["lists end"]),
        fact(
            "`api-key` of a role that may train, another that may deploy",
            lambda s: s.facts["one key does all"],
            DIFFERS,
            "a key may do everything with what is its own",
        ),
        fact(
            "an error object with ids for what is no HTTP",
            lambda s: b"<html>" in strange_answer(s) and b"x-request-id" not in strange_answer(s),
            DIFFERS,
            "the HTTP library answers it, in HTML: a head that is too large, a version or a coding of bodies that it does not know",
        ),
    ]


def section_deployments():
    return [
        *[call(method, ARM_PATTERN) for method in ("PUT", "GET", "DELETE")],
        call("GET", ARM_PATTERN.removesuffix("/{deployment}")),
        *sends("PUT", ARM_PATTERN, "sku.name sku.capacity", "kept and answered; there is one kind of deployment"),
        *sends("PUT", ARM_PATTERN, "properties.model.name"),
        *sends("PUT", ARM_PATTERN, "properties.model.format properties.model.version", "not looked at"),
        fact(
            "`properties.model.source`, `sourceAccount`",
            lambda s: s.call("PUT", f"{ARM}/x", {"properties": {"model": {"name": "nobody", "source": "x"}}}, family="")[0]
            == 404,
            ABSENT,
            "there is no other resource to take a model from",
        ),
        *fields(
            "arm",
            "id name type sku.name sku.capacity properties.model.format properties.model.name properties.model.version"
            " properties.provisioningState",
        ),
        *words("arm", "properties.provisioningState", "Accepted Succeeded Failed"),
        fact(
            "201 for a new one, then 200",
            lambda s: {("PUT", ARM_PATTERN, "", 201), ("PUT", ARM_PATTERN, "", 200)} <= s.record.answered,
        ),
        call("POST", "/deployments"),
        call("GET", "/deployments"),
        call("GET", "/deployments/{deployment}"),
        call("DELETE", "/deployments/{deployment}"),
        *sends("POST", "/deployments", "model name"),
        *sends("POST", "/deployments", "scale_settings.scale_type scale_settings.capacity", "not looked at"),
        *fields(
            "deployment", "id object status model owner scale_settings.scale_type scale_settings.capacity created_at updated_at"
        ),
        *words("deployment", "status", "succeeded failed"),
        absent("PATCH", "/deployments/{deployment}", "the control plane's PUT changes a deployment"),
        fact(
            "hosting that is billed, ends after 24 hours or 15 idle days",
            lambda s: not any("expire" in name for name in s.record.seen["deployment"]),
            DIFFERS,
            "a deployment stays until it is deleted",
        ),
        fact("10 fine-tuned deployments", lambda s: s.facts["100 deployments"], DIFFERS, "100 of a key"),
    ]


def section_chat():
    chat = "/chat/completions"
    body = {"model": BASE, "messages": PROMPT, "max_tokens": 1}
    return [
        call("POST", chat),
        call("POST", "/deployments/{deployment}" + chat),
        *sends(
            "POST",
            chat,
            "model messages max_tokens max_completion_tokens temperature top_p n stop seed stream logprobs top_logprobs"
            " stream_options.include_usage tools tool_choice response_format presence_penalty frequency_penalty logit_bias.70",
        ),
        *sends("POST", chat, "user metadata store service_tier parallel_tool_calls", "accepted, and change nothing"),
        *sends("POST", chat, "chat_template_kwargs", "our own: variables of the chat template"),
        refuses(
            "`tool_choice: required` or a function",
            "POST",
            chat,
            {**body, "tool_choice": "required"},
            "tool_choice",
            "a call cannot be forced",
        ),
        refuses(
            "`response_format: json_schema`",
            "POST",
            chat,
            {**body, "response_format": {"type": "json_schema"}},
            "response_format",
            "answers are not held to a schema",
        ),
        refuses("`functions`, `function_call`", "POST", chat, {**body, "functions": []}, "functions", "`tools` says the same"),
        refuses("images in messages", "POST", chat, {**body, "messages": IMAGE["messages"][:1]}, "messages[0]", TEXT_ONLY),
        refuses("`data_sources`", "POST", chat, {**body, "data_sources": []}, "data_sources", "no search is attached"),
        fact(
            "a fine-tuned model by its name, not deployed",
            lambda s: s.facts["a tuned model needs no deployment"],
            DIFFERS,
            "Azure wants a deployment; here one is not needed",
        ),
        *fields(
            "chat.completion",
            "id object created model system_fingerprint choices[].index choices[].message.role choices[].message.content"
            " choices[].finish_reason usage.prompt_tokens usage.completion_tokens usage.total_tokens"
            " usage.prompt_tokens_details.cached_tokens",
        ),
        empty("chat.completion", "choices[].message.refusal", "nothing is refused by a filter"),
        *fields(
            "chat.completion",
            "choices[].logprobs.content[].token choices[].logprobs.content[].logprob choices[].logprobs.content[].bytes"
            " choices[].logprobs.content[].top_logprobs[].token",
        ),
        *words("chat.completion", "choices[].finish_reason", "stop length"),
        fact(
            "`model` of the answer is the base model's name", lambda s: set(s.record.seen["chat.completion"]["model"]) == {BASE}
        ),
        fact(
            "`prompt_filter_results`, `content_filter_results`",
            lambda s: not any("filter" in name for name in s.record.seen["chat.completion"]),
            ABSENT,
            "there is no filter",
        ),
        *fields(
            "chat.completion.chunk",
            "id object created model choices[].index choices[].delta.role choices[].delta.content choices[].finish_reason"
            " choices[].logprobs.content[].token choices[].logprobs.content[].logprob usage.total_tokens",
        ),
        fact("streams end in `data: [DONE]`", lambda s: s.record.seen["chat.completion.chunk"]),
        fact("the first chunk has a choice", lambda s: s.facts["the first chunk has a choice"]),
        fact("usage comes in a last chunk without choices", lambda s: s.facts["usage comes last"]),
        fact("the same seed, the same text: whole, streamed, one of several", lambda s: s.facts["a seed says it all"]),
        absent("GET", chat, "answers are not stored"),
        *[absent("POST", path, "chat completions say the same") for path in ("/responses", "/completions")],
        absent("POST", "/embeddings", "models here chat"),
        *[
            absent("POST", path, TEXT_ONLY)
            for path in ("/audio/transcriptions", "/audio/translations", "/audio/speech", "/images/generations", "/images/edits")
        ],
    ]


def section_models():
    return [
        call("GET", "/models"),
        call("GET", "/models/{model}"),
        call("DELETE", "/models/{model}"),
        *fields(
            "model",
            "id object created created_at owned_by status capabilities.fine_tune capabilities.inference capabilities.completion"
            " capabilities.chat_completion capabilities.embeddings lifecycle_status deprecation model fine_tune deleted",
        ),
        fact("base models and all fine-tuned ones", lambda s: s.facts["base and tuned models are listed"]),
        fact(
            "`deprecation.fine_tune`, `deprecation.inference`",
            lambda s: set(map(str, s.record.seen["model"]["deprecation"])) == {"{}"},
            DIFFERS,
            "models here do not end",
        ),
        fact(
            "a model that is deployed cannot be deleted",
            lambda s: "The model is deployed: delete its 1 deployment(s) first." in s.record.seen["error"]["error.message"],
        ),
    ]


def section_evals():
    note = "`lorac eval` measures a model on a file of rows"
    run = "/evals/{eval}/runs"
    return [
        *[
            absent(method, path, note)
            for method, path in (
                ("POST", "/evals"),
                ("GET", "/evals"),
                ("GET", "/evals/{eval}"),
                ("POST", "/evals/{eval}"),
                ("DELETE", "/evals/{eval}"),
                ("POST", run),
                ("GET", run),
                ("GET", run + "/{run}"),
                ("POST", run + "/{run}"),
                ("DELETE", run + "/{run}"),
                ("GET", run + "/{run}/output_items"),
                ("GET", run + "/{run}/output_items/{item}"),
            )
        ],
        *[
            absent(method, path, "chats are answered at once")
            for method, path in (
                ("POST", "/batches"),
                ("GET", "/batches"),
                ("GET", "/batches/{batch}"),
                ("POST", "/batches/{batch}/cancel"),
            )
        ],
        fact("continuous fine-tuning", lambda s: s.first["fine_tuned_model"] in s.record.seen["fine_tuning.job"]["model"]),
        absent("POST", "/webhooks", "watch a job by its events"),
    ]


def section_errors():
    return [
        *fields("error", "error.code error.message error.param error.type"),
        fact(
            "`error.target`, `details`, `innererror`",
            lambda s: set(s.record.seen["error"]) <= {"error", "error.code", "error.message", "error.param", "error.type"},
            DIFFERS,
            "one body that clients of both families read: `param` says what `target` does",
        ),
        code(400, "invalidPayload"),
        code(400, "unexpectedEntityState"),
        code(401, "401"),
        code(404, "notFound"),
        code(404, "404"),
        code(404, "DeploymentNotFound"),
        code(405, "405"),
        code(413, "invalidPayload"),
        proven("429 `tooManyRequests`", "serve/http_test.c:test_errors", "requests, chats, imports: what waiting helps against"),
        code(429, "quotaExceeded", "jobs in the queue"),
        code(400, "quotaExceeded", "files, uploads, deployments: what only deleting helps against; bytes are 413"),
        code(400, "jsonlValidationFailed", "a job with a file that has the status `error`"),
        code(400, "fileImportFailed", "a job with a file whose import has failed"),
        fact(
            "403 `forbidden`",
            lambda s: s.call("GET", "/models", headers={"Origin": "http://elsewhere.example"})[0] == 403,
            note="a page of another origin",
        ),
        proven("500 `internalFailure`, 503 `serviceUnavailable`", "serve/http_test.c:test_errors"),
        *[
            fact(
                f"`{word}`",
                lambda s, word=word: s.record.codes and word not in {each for _, each in s.record.codes},
                DIFFERS,
                note,
            )
            for word, note in (
                ("conflict", "400 `unexpectedEntityState`: clients send a 409 again"),
                ("itemDoesAlreadyExist", "a PUT of what is there changes it"),
                ("unauthorized", "401 `401`, as the gateway says"),
                ("contentFilter", "there is no filter"),
            )
        ],
        fact(
            "running and queued jobs are limited",
            lambda s: s.facts["jobs are limited"],
            note="3 and 20 as Azure's; `--running-jobs`, `--queued-jobs`",
        ),
        proven("431 for headers too large", "serve/http_test.c:test_headers"),
        fact(
            "2,048 messages, 128 tools",
            lambda s: s.call("POST", "/chat/completions", {"model": BASE, "messages": PROMPT * 1025})[2]["error"]["param"]
            == "messages",
        ),
    ]
