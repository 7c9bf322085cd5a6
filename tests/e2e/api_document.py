"""What `lorac serve` serves, as an OpenAPI 3.1 document: one description from which docs/openapi.json is written (scripts/
azure_compatibility), answers are checked (surface_story.py) and requests are made (test_schemathesis.py).

Paths are those behind a family's prefix (see SERVERS); those at the root have a server of their own.
"""

import re

PREFIXES = ("/openai/v1", "/openai", "/v1")
ARM = (
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}"
    "/deployments"
)
HEX = "[0-9a-f]{32}"
DEPLOYMENT_NAME = "^[A-Za-z0-9._-]{1,64}$"
PURPOSES = ["fine-tune", "assistants", "batch", "evals"]
JOB_STATUSES = ["pending", "running", "pausing", "paused", "resuming", "succeeded", "failed", "cancelled"]
METRICS = [
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
]


# ---- schemas ----


def ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def text(**bounds):
    return {"type": "string", **bounds}


def integer(low=None, high=None):
    bounds = {"minimum": low, "maximum": high}
    return {"type": "integer", **{key: value for key, value in bounds.items() if value is not None}}


def number(low, high, **bounds):
    return {"type": "number", "minimum": low, "maximum": high, **bounds}


def const(*words):
    return {"type": "string", "enum": list(words)}


def nullable(schema):
    """Null is as good as absent."""
    if "$ref" not in schema and isinstance(schema.get("type"), str):
        wider = {**schema, "type": [schema["type"], "null"]}
        return {**wider, "enum": schema["enum"] + [None]} if "enum" in schema else wider
    return {"anyOf": [schema, {"type": "null"}]}


def array(items, **bounds):
    return {"type": "array", "items": items, **bounds}


def answer(**members):
    """An object of ours: every member is always there, and no other."""
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


def request(required=(), extra=False, **members):
    return {"type": "object", "properties": members, "required": list(required), "additionalProperties": extra}


def auto(schema):
    """A number that may be left to the server: "auto", -1 or null."""
    return {"anyOf": [schema, {"enum": ["auto", -1, None]}]}


def any_case(*words):
    """A pattern for words in any case."""
    return "^(" + "|".join("".join(f"[{c.upper()}{c.lower()}]" for c in word) for word in words) + ")$"


TIME = integer(0)
HYPERPARAMETERS = {
    "n_epochs": auto(integer(1, 50)),
    "batch_size": auto(integer(1, 256)),
    "learning_rate_multiplier": auto({"type": "number", "exclusiveMinimum": 0, "maximum": 1000}),
}
METADATA = {
    "type": "object",
    "maxProperties": 16,
    "propertyNames": text(maxLength=64),
    "additionalProperties": text(maxLength=512),
}
EXPIRES_AFTER = request(["anchor", "seconds"], True, anchor=const("created_at"), seconds=integer(3600, 2592000))
MANY = 10**9

# Our own fields of a job; docs/data-files.md and `lorac train --help` say what they mean.
LORAC = {
    "rank": integer(1, 1024),
    "alpha": {"type": "number", "exclusiveMinimum": 0, "maximum": 1e6},
    "dropout": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    "target_modules": {"anyOf": [text(minLength=1), array(text(minLength=1), minItems=1, maxItems=64, uniqueItems=True)]},
    "layers_to_transform": {"anyOf": [integer(0, 511), array(integer(0, 511), minItems=1, maxItems=512, uniqueItems=True)]},
    "use_rslora": {"type": "boolean"},
    "template_date": {"type": "string", "anyOf": [{"format": "date"}, {"enum": ["auto"]}]},
    "chat_template_kwargs": {"type": "object"},
    "learning_rate": auto({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
    "schedule": const("cosine", "linear", "constant"),
    "warmup_ratio": number(0, 1),
    "weight_decay": number(0, 1),
    "grad_clip": number(0, 1e6),
    "max_seq_len": integer(2, MANY),
    "micro_batch_tokens": auto(integer(1, MANY)),
    "packing": {"type": "boolean"},
    "shuffle": {"type": "boolean"},
    "device": const("auto", "cpu", "cuda", "emu"),
    "dtype": const("auto", "fp32", "bf16"),
    "deterministic": {"type": "boolean"},
    "recompute": const("auto", "none", "all"),
    "log_every_steps": integer(1, MANY),
    "eval_every_steps": auto(integer(1, MANY)),
    "checkpoint_every_steps": auto(integer(1, MANY)),
    "keep_checkpoints": integer(1, 1000),
}

JOB_REQUEST = request(
    ["model", "training_file"],
    model=text(minLength=1, maxLength=4000, description="A base model, a fine-tuned model or a checkpoint"),
    training_file=text(minLength=1, maxLength=4000, description="Id of a file with purpose fine-tune"),
    validation_file=nullable(text(minLength=1, maxLength=4000)),
    suffix=nullable(text(minLength=1, maxLength=64, pattern="^[A-Za-z0-9_-]+$")),
    seed=auto(integer(0, 2**31 - 1)),
    method=nullable(
        request(
            ["type"],
            {"type": "null"},
            type=const("supervised"),
            supervised=nullable(request(hyperparameters=nullable(request(**HYPERPARAMETERS)))),
        )
    ),
    hyperparameters=nullable(request(**HYPERPARAMETERS, prompt_loss_weight={"description": "Ignored"})),
    integrations=nullable(array(request(["type"], True, type=text()))),
    metadata=nullable(METADATA),
    trainingType={
        "anyOf": [text(pattern=any_case("standard", "globalStandard", "developer", "developerTier")), {"enum": [1, None]}]
    },
    lorac=nullable(request(**{key: nullable(schema) for key, schema in LORAC.items()})),
)

TEXT_PART = request(["type", "text"], True, type=const("text"), text=text())
TOOL = request(["type", "function"], True, type=const("function"), function=request(["name"], True, name=text()))


def message(content, required, **members):
    return {"type": "object", "properties": {"role": text(minLength=1), "content": content, **members}, "required": required}


MESSAGE = {
    "anyOf": [
        message({"anyOf": [text(), array(ref("TextPart"))]}, ["role", "content"]),
        message(
            {"type": ["string", "null"]}, ["role", "tool_calls"], role=const("assistant"), tool_calls=array({"type": "object"})
        ),
    ]
}
ANYTHING = {"description": "Accepted, and changes nothing here"}
CHAT_REQUEST = request(
    ["messages"],
    model=nullable(
        text(minLength=1, description="A deployment's name, or a model's; where the path has a deployment, that one counts")
    ),
    messages=array(ref("Message"), minItems=1, maxItems=2048),
    tools=nullable(array(TOOL, maxItems=128)),
    tool_choice=nullable(const("auto", "none")),
    temperature=nullable(number(0, 2)),
    top_p=nullable(number(0, 1)),
    max_tokens=nullable(integer(1, 2**31 - 1)),
    max_completion_tokens={**nullable(integer(1, 2**31 - 1)), "description": "The same; only one of them"},
    n=nullable(integer(1, 16)),
    seed=nullable(integer(-(2**63), 2**63 - 1)),
    stop={"anyOf": [{"type": "null"}, ref("Stop"), array(ref("Stop"), maxItems=4)]},
    stream=nullable({"type": "boolean"}),
    stream_options={
        **nullable(request((), True, include_usage=nullable({"type": "boolean"}))),
        "description": "With stream: true only",
    },
    logprobs=nullable({"type": "boolean"}),
    top_logprobs={**nullable(integer(0, 20)), "description": "With logprobs: true only"},
    presence_penalty=nullable(number(-2, 2)),
    frequency_penalty=nullable(number(-2, 2)),
    logit_bias=nullable(
        {
            "type": "object",
            "propertyNames": {"pattern": "^[0-9]{1,9}$"},
            "additionalProperties": number(-100, 100),
            "maxProperties": 1024,
            "description": "By ids of tokens, which must be the model's",
        }
    ),
    response_format=nullable(request(["type"], True, type=const("text"))),
    chat_template_kwargs=nullable({"type": "object", "description": "Variables of the chat template"}),
    **{
        key: ANYTHING
        for key in (
            "user",
            "metadata",
            "store",
            "service_tier",
            "parallel_tool_calls",
            "prompt_cache_key",
            "safety_identifier",
            "reasoning_effort",
        )
    },
)

USAGE = answer(
    prompt_tokens=integer(0),
    completion_tokens=integer(0),
    total_tokens=integer(0),
    prompt_tokens_details=answer(cached_tokens=integer(0)),
)
LOGPROB = answer(token=text(), logprob=number(-9999, 0), bytes=array(integer(0, 255)))
LOGPROBS = answer(
    content=array(answer(**LOGPROB["properties"], top_logprobs=array(LOGPROB, maxItems=20))), refusal={"type": "null"}
)
FINISH = const("stop", "length", "tool_calls")
TOOL_CALL = answer(id=text(), type=const("function"), function=answer(name=text(), arguments=text()))
REPLY = answer(role=const("assistant"), content=nullable(text()), refusal={"type": "null"}, tool_calls=array(ref("ToolCall")))
REPLY["required"].remove("tool_calls")


def completion(kind, choice, **usage):
    return answer(
        id=text(pattern=f"^chatcmpl-{HEX}$"),
        object=const(kind),
        created=TIME,
        model=text(),
        system_fingerprint=text(),
        choices=array(choice),
        **usage,
    )


DELTA = {
    "type": "object",
    "properties": {"role": const("assistant"), "content": text(), "tool_calls": array({"type": "object"})},
    "additionalProperties": False,
}
CHUNK = completion(
    "chat.completion.chunk",
    answer(index=integer(0), delta=DELTA, logprobs=nullable(ref("Logprobs")), finish_reason=nullable(FINISH)),
    usage=nullable(ref("Usage")),
)
CHUNK["required"].remove("usage")


def metric_values():
    return {
        "type": "object",
        "properties": {key: {"type": ["number", "null"]} for key in METRICS},
        "required": ["step"],
        "additionalProperties": False,
    }


def values(kind):
    return answer(n_epochs=kind, batch_size=kind, learning_rate_multiplier={"type": "number"})


def page(item):
    return answer(
        object=const("list"), data=array(item), first_id=nullable(text()), last_id=nullable(text()), has_more={"type": "boolean"}
    )


EVENT = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": text(pattern=f"^ftevent-{HEX}$"),
        "object": const("fine_tuning.job.event"),
        "created_at": TIME,
        "level": const("info", "warn", "error"),
        "message": text(minLength=1),
        "type": const("message", "metrics"),
        "data": metric_values(),
    },
    "required": ["id", "object", "created_at", "level", "message", "type"],
}

SCHEMAS = {
    "Error": answer(
        error=answer(
            code=text(),
            message=text(minLength=1),
            param=nullable(text()),
            type=const("invalid_request_error", "authentication_error", "rate_limit_error", "server_error"),
        )
    ),
    "File": answer(
        id=text(pattern=f"^file-{HEX}$"),
        object=const("file"),
        bytes=nullable(integer(0)),
        created_at=TIME,
        filename=text(minLength=1),
        purpose=const(*PURPOSES, "fine-tune-results"),
        status=const("pending", "processed", "error"),
        status_details=nullable(text()),
        expires_at=nullable(TIME),
    ),
    "Upload": answer(
        id=text(pattern=f"^upload_{HEX}$"),
        object=const("upload"),
        bytes=integer(1),
        created_at=TIME,
        expires_at=TIME,
        filename=text(minLength=1),
        purpose=const(*PURPOSES),
        status=const("pending", "completed", "cancelled", "expired"),
        file=nullable(ref("File")),
    ),
    "UploadPart": answer(
        id=text(pattern=f"^part_{HEX}$"), object=const("upload.part"), created_at=TIME, upload_id=text(), azure_block_id=text()
    ),
    "Job": answer(
        id=text(pattern=f"^ftjob-{HEX}$"),
        object=const("fine_tuning.job"),
        created_at=TIME,
        finished_at=nullable(TIME),
        model=text(),
        fine_tuned_model=nullable(text()),
        status=const(*JOB_STATUSES),
        error=nullable(answer(code=text(), message=text(), param=nullable(text()))),
        organization_id={"type": "null"},
        hyperparameters=values(integer(-1)),
        method=answer(type=const("supervised"), supervised=answer(hyperparameters=values(integer(-1)))),
        seed=integer(0, 2**31 - 1),
        training_file=text(),
        validation_file=nullable(text()),
        result_files=array(text(), maxItems=1),
        trained_tokens=nullable(integer(0)),
        estimated_finish=nullable(TIME),
        integrations=nullable(array({"type": "object"})),
        metadata=nullable(METADATA),
        suffix=nullable(text()),
        user_provided_suffix=nullable(text()),
        trainingType=nullable(const("standard", "globalStandard", "developerTier")),
    ),
    "Event": EVENT,
    "Checkpoint": answer(
        id=text(pattern=f"^ftchkpt-{HEX}$"),
        object=const("fine_tuning.job.checkpoint"),
        created_at=TIME,
        fine_tuned_model_checkpoint=text(),
        fine_tuning_job_id=text(),
        step_number=integer(0),
        metrics=metric_values(),
    ),
    "Model": answer(
        id=text(),
        object=const("model"),
        created=TIME,
        created_at=TIME,
        owned_by=const("local"),
        status=const("succeeded"),
        capabilities=answer(
            **{key: {"type": "boolean"} for key in ("fine_tune", "inference", "completion", "chat_completion", "embeddings")}
        ),
        lifecycle_status=const("generally-available"),
        deprecation={"type": "object"},
        model=nullable(text()),
        fine_tune=nullable(text()),
    ),
    "Deployment": answer(
        id=text(),
        object=const("deployment"),
        status=const("succeeded", "failed", "notRunning"),
        model=text(),
        owner=text(),
        scale_settings=answer(scale_type=const("manual"), capacity=integer(1)),
        created_at=TIME,
        updated_at=TIME,
    ),
    "ArmDeployment": answer(
        id=text(),
        name=text(pattern=DEPLOYMENT_NAME),
        type=const("Microsoft.CognitiveServices/accounts/deployments"),
        sku={"type": "object"},
        properties=answer(
            model=answer(format=const("OpenAI"), name=text(), version=const("1")),
            provisioningState=const("Accepted", "Creating", "Succeeded", "Failed"),
        ),
    ),
    "Deleted": answer(id=text(), object=const("file", "model"), deleted={"const": True}),
    "Health": answer(status=const("ok", "ready")),
    "Usage": USAGE,
    "ToolCall": TOOL_CALL,
    "Logprobs": LOGPROBS,
    "ChatCompletion": completion(
        "chat.completion",
        answer(index=integer(0), message=REPLY, logprobs=nullable(ref("Logprobs")), finish_reason=FINISH),
        usage=ref("Usage"),
    ),
    "ChatCompletionChunk": CHUNK,
    "JobRequest": JOB_REQUEST,
    "ChatRequest": CHAT_REQUEST,
    "Message": MESSAGE,
    "TextPart": TEXT_PART,
    "Stop": text(minLength=1, maxLength=256),
    "UploadRequest": request(
        ["bytes", "filename", "purpose"],
        True,
        bytes=integer(1, 8 << 30),
        filename=text(minLength=1),
        purpose=const(*PURPOSES),
        mime_type=nullable(text(maxLength=127)),
        expires_after=nullable(EXPIRES_AFTER),
    ),
    "CompleteRequest": request(
        ["part_ids"], True, part_ids=array(text(), maxItems=1024, uniqueItems=True), md5=nullable(text())
    ),
    "ImportRequest": request(
        ["purpose", "filename", "content_url"],
        True,
        purpose=const(*PURPOSES),
        filename=text(minLength=1),
        content_url=text(maxLength=2048),
        expires_after=nullable(EXPIRES_AFTER),
    ),
    "FileForm": request(
        ["file", "purpose"],
        True,
        file=text(minLength=1, format="binary"),
        purpose=const(*PURPOSES),
        **{"expires_after[anchor]": const("created_at"), "expires_after[seconds]": integer(3600, 2592000)},
    ),
    "PartForm": request(["data"], True, data=text(minLength=1, format="binary")),
    "DeploymentRequest": request(
        ["model"], True, model=text(minLength=1, maxLength=255), name=nullable(text(pattern=DEPLOYMENT_NAME)), scale_settings={}
    ),
    "ArmRequest": request(
        ["properties"],
        True,
        sku=nullable({"type": "object"}),
        properties=request(
            ["model"], True, model=request(["name"], True, name=text(minLength=1, maxLength=255), format={}, version={})
        ),
    ),
}


# ---- operations ----

ERRORS = {
    400: "What was sent is wrong, or the thing is in another state (unexpectedEntityState): not to be sent again",
    401: "No key, or one that is not known",
    403: "Another Host or Origin than this server's",
    404: "There is no such thing, or it is another key's",
    413: "The body is too large",
    414: "The URL is too long",
    429: "Later: a limit of requests, jobs or chats; retry-after-ms says when",
    431: "The headers are too large",
    500: "A fault of the server: its log has more at the request's id",
    503: "The server stops, its disk is full or the model's worker has died; retry-after-ms says when",
}
USUAL = (400, 403, 413, 414, 429, 431, 500, 503)
BARE = (414, 431)  # may come from the HTTP library, without the body

PARAMETERS = {
    "file": "Id of a file",
    "upload": "Id of an upload",
    "job": "Id of a job",
    "model": "Name of a model",
    "deployment": "Name of a deployment",
    "subscription": "Any",
    "group": "Any",
    "account": "Any",
}
QUERY = {
    "after": ("Id of the last item of the page before; empty: the first page", text()),
    "limit": ("Items of a page", integer(1, 10000)),
    "order": ("By time", const("asc", "desc")),
    "purpose": ("Files with this purpose only", text()),
}


def header(description, schema):
    return {"description": description, "schema": schema}


REQUEST_ID = header("Id of the request, in the server's log too", text(format="uuid"))
HEADERS = {
    "x-request-id": REQUEST_ID,
    "apim-request-id": REQUEST_ID,
    "location": header("Where it is", text()),
    "retry-after-ms": header("Milliseconds to wait", text(pattern="^[0-9]+$")),
    "retry-after": header("The same in seconds, rounded up", text(pattern="^[0-9]+$")),
}


def headers(*names):
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", "apim-request-id", *names)}


def json_content(schema):
    return {"application/json": {"schema": schema}}


def error_response(status):
    if status in BARE:
        return {"description": ERRORS[status]}
    sent = headers(*(("retry-after-ms", "retry-after") if status in (429, 503) else ()))
    return {"description": ERRORS[status], "headers": sent, "content": json_content(ref("Error"))}


def parameters():
    described = {name: ("path", what, text(minLength=1)) for name, what in PARAMETERS.items()}
    described.update({name: ("query", *what) for name, what in QUERY.items()})
    return {
        name if place == "path" else f"query.{name}": {
            "name": name,
            "in": place,
            "required": place == "path",
            "description": what,
            "schema": schema,
        }
        for name, (place, what, schema) in described.items()
    }


PATHS = {}


def serve(method, path, name, summary, ok, body=None, query=(), public=False, missing=False):
    """ok: {status: content or None}."""
    names = re.findall(r"{(\w+)}", path)
    errors = [
        status
        for status in ERRORS
        if status in USUAL or (status == 401 and not public) or (status == 404 and (names or missing))
    ]
    located = {201} if not path.startswith("/subscriptions") else ()
    responses = {
        str(status): {
            "description": "Done",
            "headers": headers(*(("location",) if status in located else ())),
            **({"content": content} if content else {}),
        }
        for status, content in ok.items()
    }
    responses.update({str(status): {"$ref": f"#/components/responses/{status}"} for status in errors})
    operation = {
        "operationId": name,
        "summary": summary,
        "tags": [name.split(".")[0]],
        "parameters": [{"$ref": f"#/components/parameters/{key}"} for key in names + [f"query.{key}" for key in query]],
        "responses": dict(sorted(responses.items())),
    }
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    if public:
        operation["security"] = []
    item = PATHS.setdefault(path, {})
    if not path.startswith(tuple(IN_FAMILIES)):
        item["servers"] = [{"url": "/"}]
    item[method.lower()] = operation


IN_FAMILIES = ("/files", "/uploads", "/fine_tuning", "/models", "/deployments", "/chat")


def describe():
    made = lambda schema: {200: json_content(schema), 201: json_content(schema)}  # noqa: E731
    got = lambda schema: {200: json_content(schema)}  # noqa: E731
    form = lambda name: {"multipart/form-data": {"schema": ref(name)}}  # noqa: E731
    body = lambda name: json_content(ref(name))  # noqa: E731
    paged = ("after", "limit")
    serve("POST", "/files", "files.create", "Upload a file", made(ref("File")), form("FileForm"))
    serve("GET", "/files", "files.list", "List files, newest first", got(page(ref("File"))), query=(*paged, "order", "purpose"))
    serve(
        "POST",
        "/files/import",
        "files.import",
        "Import a file from a URL; only with --import",
        made(ref("File")),
        body("ImportRequest"),
    )
    serve("GET", "/files/{file}", "files.get", "A file", got(ref("File")))
    serve("DELETE", "/files/{file}", "files.delete", "Delete a file", got(ref("Deleted")))
    serve("GET", "/files/{file}/content", "files.content", "The bytes of a file", {200: {"application/octet-stream": {}}})
    serve("POST", "/uploads", "uploads.create", "Begin an upload in parts", got(ref("Upload")), body("UploadRequest"))
    serve(
        "POST",
        "/uploads/{upload}/parts",
        "uploads.part",
        "Send a part, at most 64 MiB",
        got(ref("UploadPart")),
        form("PartForm"),
    )
    serve(
        "POST",
        "/uploads/{upload}/complete",
        "uploads.complete",
        "Join the parts into a file",
        got(ref("Upload")),
        body("CompleteRequest"),
    )
    serve("POST", "/uploads/{upload}/cancel", "uploads.cancel", "Give an upload up", got(ref("Upload")))
    jobs = "/fine_tuning/jobs"
    serve("POST", jobs, "jobs.create", "Create a fine-tuning job", made(ref("Job")), body("JobRequest"))
    serve("GET", jobs, "jobs.list", "List jobs, newest first", got(page(ref("Job"))), query=paged)
    PATHS[jobs]["get"]["parameters"].append(
        {
            "name": "metadata",
            "in": "query",
            "style": "deepObject",
            "explode": True,
            "description": "Jobs with all these pairs only",
            "schema": {"type": "object", "additionalProperties": text()},
        }
    )
    serve("GET", jobs + "/{job}", "jobs.get", "A job", got(ref("Job")))
    serve("DELETE", jobs + "/{job}", "jobs.delete", "Delete a job that has ended", {204: None})
    for verb in ("cancel", "pause", "resume"):
        serve("POST", f"{jobs}/{{job}}/{verb}", f"jobs.{verb}", f"{verb.capitalize()} a job", got(ref("Job")))
    for method, suffix in (("GET", ""), ("POST", ".post")):
        serve(
            method,
            jobs + "/{job}/events",
            "jobs.events" + suffix,
            "Events of a job, newest first",
            got(page(ref("Event"))),
            query=paged,
        )
        serve(
            method,
            jobs + "/{job}/checkpoints",
            "jobs.checkpoints" + suffix,
            "Checkpoints of a job, newest first",
            got(page(ref("Checkpoint"))),
            query=paged,
        )
    listed = lambda item: answer(object=const("list"), data=array(ref(item)), has_more={"const": False})  # noqa: E731
    serve("GET", "/models", "models.list", "List models", got(listed("Model")))
    serve("GET", "/models/{model}", "models.get", "A model", got(ref("Model")))
    serve("DELETE", "/models/{model}", "models.delete", "Delete a fine-tuned model", got(ref("Deleted")))
    serve(
        "POST",
        "/deployments",
        "deployments.create",
        "Deploy a model",
        {201: json_content(ref("Deployment"))},
        body("DeploymentRequest"),
        missing=True,
    )
    serve("GET", "/deployments", "deployments.list", "List deployments", got(listed("Deployment")))
    serve("GET", "/deployments/{deployment}", "deployments.get", "A deployment", got(ref("Deployment")))
    serve("DELETE", "/deployments/{deployment}", "deployments.delete", "Delete a deployment", {204: None})
    serve("GET", ARM, "arm.list", "List deployments", got(answer(value=array(ref("ArmDeployment")))))
    serve("GET", ARM + "/{deployment}", "arm.get", "A deployment", got(ref("ArmDeployment")))
    serve("PUT", ARM + "/{deployment}", "arm.put", "Deploy a model", made(ref("ArmDeployment")), body("ArmRequest"))
    serve("DELETE", ARM + "/{deployment}", "arm.delete", "Delete a deployment", {200: None, 204: None})
    chat = {200: {**json_content(ref("ChatCompletion")), "text/event-stream": {}}}
    serve(
        "POST",
        "/chat/completions",
        "chat.create",
        "Chat with a deployment, or with a model by its name",
        chat,
        body("ChatRequest"),
        missing=True,
    )
    serve(
        "POST",
        "/deployments/{deployment}/chat/completions",
        "chat.deployment",
        "Chat with a deployment",
        chat,
        body("ChatRequest"),
    )
    serve("GET", "/healthz", "watch.health", "The server answers", got(ref("Health")), public=True)
    serve("GET", "/readyz", "watch.ready", "The server can work", got(ref("Health")), public=True)
    serve(
        "GET",
        "/metrics",
        "watch.metrics",
        "Figures for Prometheus",
        {200: {"text/plain": {}, "application/openmetrics-text": {}}},
    )
    serve("GET", "/", "portal.page", "The portal", {200: {"text/html": {}}, 304: None}, public=True)
    serve(
        "GET",
        "/portal/{file}",
        "portal.file",
        "A file of the portal",
        {200: {kind: {} for kind in ("text/css", "text/javascript", "image/svg+xml")}, 304: None},
        public=True,
    )


def document():
    if not PATHS:
        describe()
    prefixes = [
        {"url": "/openai/v1", "description": "The current family"},
        {"url": "/v1", "description": "The same"},
        {"url": "/openai", "description": "The classic family; api-version is not looked at. What was created is 201"},
        {"url": "/api/projects/{project}/openai/v1", "variables": {"project": {"default": "project"}}},
        {"url": "/api/projects/{project}/openai", "variables": {"project": {"default": "project"}}},
    ]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lorac serve",
            "version": "1",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "What `lorac serve` serves: the fine-tuning API of Azure OpenAI. GET answers HEAD too. All "
            "families (servers) are alike, but that in the classic one what was created is answered 201 with its location, "
            "in the others 200. "
            "Written by scripts/azure_compatibility.",
        },
        "servers": prefixes,
        "security": [{"key": []}, {"bearer": []}],
        "tags": [
            {"name": name} for name in ("files", "uploads", "jobs", "models", "deployments", "arm", "chat", "watch", "portal")
        ],
        "paths": PATHS,
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "headers": HEADERS,
            "parameters": parameters(),
            "responses": {str(status): error_response(status) for status in ERRORS},
            "schemas": SCHEMAS,
        },
    }


def is_at_root(item):
    return "servers" in item


def expanded(prefix):
    """The document with paths as they are sent to one family, and no servers."""
    whole = document()
    paths = {
        path if is_at_root(item) else prefix + path: {key: value for key, value in item.items() if key != "servers"}
        for path, item in whole["paths"].items()
    }
    return {**{key: value for key, value in whole.items() if key != "servers"}, "paths": paths}
