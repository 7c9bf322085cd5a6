"""The contract of Azure's API, from a file to a fine-tuned model: files, jobs, events, checkpoints, results, data."""

import json
import re

from serve_support import BASE, FORM, form, part
from surface_rows import (
    ABSENT,
    DIFFERS,
    JOBS,
    WORKS,
    absent,
    call,
    empty,
    fact,
    fields,
    job_with,
    proven,
    refuses,
    rejects,
    says,
    sends,
    silent,
    takes,
    trained,
    unsaid,
    words,
)
from surface_story import CLASSIC, V1

METRICS = (
    "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy,full_valid_loss,"
    "full_valid_mean_token_accuracy"
)


def names(story):
    digits = story.first["id"].removeprefix("ftjob-")
    return story.first["fine_tuned_model"] == f"{BASE}.ft-{digits}-story" and re.fullmatch("[0-9a-f]{32}", digits)


def checkpoints(story):
    last, before = (each["fine_tuned_model_checkpoint"] for each in story.checkpoints)
    return last == story.first["fine_tuned_model"] and re.fullmatch(re.escape(last) + r":ckpt-step-8", before)


def metric_events(story):
    return [event for event in story.events if event["type"] == "metrics"]


def results(story):
    return [line.split(",") for line in story.results.split()]


def ten_examples(story):
    """A job of ten examples and no hyperparameters, that has ended."""
    if "ten examples" not in story.facts:
        story.facts["ten examples"] = story.status(story.job(training_file=trained(story, [LINE] * 10)["id"]))
    return story.facts["ten examples"]


def auto_of_ten(story):
    used = ten_examples(story)["hyperparameters"]
    return (used["n_epochs"], used["batch_size"]) == (10, 1)


def three_kept(story):
    page = story.ok("GET", f"{JOBS}/{ten_examples(story)['id']}/checkpoints")
    return [each["step_number"] for each in page["data"]] == [100, 90, 80]


MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
LINE = {"messages": MESSAGES}
CALLS = {
    "messages": [
        MESSAGES[0],
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        MESSAGES[1],
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "parallel_tool_calls": True,
}
FUNCTIONS = {
    "messages": [
        MESSAGES[0],
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        MESSAGES[1],
    ],
    "functions": [CALLS["tools"][0]["function"]],
}
IMAGE = {
    "messages": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
        MESSAGES[1],
    ]
}
PREFERENCE = {"input": {"messages": MESSAGES[:1]}, "preferred_output": MESSAGES[1:], "non_preferred_output": MESSAGES[1:]}
LATER = "supervised fine-tuning is what this version trains"
TEXT_ONLY = "models here read text"
GRADERS = "graders belong to reinforcement fine-tuning and evaluations"


def with_bom():
    return b"\xef\xbb\xbf" + b"".join(json.dumps(LINE).encode() + b"\r\n" for _ in range(10)) + b"\r\n"


def section_files():
    return [
        call("POST", "/files"),
        *sends("POST", "/files", "file purpose expires_after[anchor] expires_after[seconds] anchor seconds"),
        fact(
            "201 and `location` in the classic family, 200 in v1",
            lambda s: {("POST", "/files", CLASSIC, 201), ("POST", "/files", V1, 200)} <= s.record.answered,
        ),
        call("GET", "/files"),
        *sends("GET", "/files", "purpose limit after order"),
        call("GET", "/files/{file}"),
        call("GET", "/files/{file}/content"),
        call("DELETE", "/files/{file}"),
        call(
            "POST", "/files/import", "with `--import` only, from public https URLs; what it fetches: tests/serve/import_test.c"
        ),
        *sends("POST", "/files/import", "content_url filename expires_after.anchor expires_after.seconds"),
    ]


def section_file_object():
    return [
        *fields("file", "id object bytes created_at filename purpose status status_details expires_at deleted"),
        *words("file", "purpose", "fine-tune fine-tune-results assistants batch evals"),
        *unsaid("file", "purpose", "assistants_output batch_output evals_output", "nothing here makes such files"),
        *[
            refuses(
                f"`file`: `purpose` is `{word}`",
                "POST",
                "/files",
                form(b"b", part("purpose", word), part("file", b"x", "x")),
                "purpose",
                "OpenAI's alone: Azure takes no such uploads either",
                headers=FORM,
            )
            for word in ("vision", "user_data")
        ],
        *words("file", "status", "pending processed error"),
        *unsaid("file", "status", "uploaded running", "a file is pending until its check has ended"),
        *unsaid("file", "status", "deleting deleted", "a deleted file is gone: 404"),
        proven("512 MB a file", "serve/files_test.c:test_largest_file"),
        proven("100 fine-tuning files", "serve/files_test.c:test_training_file_quota"),
        proven("1 GB for all files", "serve/files_test.c:test_limits", "`--max-bytes`; no limit without it"),
        proven("30 uploads a second", "serve/http_test.c:test_keys_and_rate", "`--rate`, of all requests; 1000 without it"),
        proven("files expire", "serve/files_test.c:test_expiry"),
        refuses(
            "`expires_after.seconds` of 14 to 30 days",
            "POST",
            "/files/import",
            {
                "purpose": "evals",
                "filename": "a",
                "content_url": "https://example.com/a",
                "expires_after": {"anchor": "created_at", "seconds": 3599},
            },
            "expires_after[seconds]",
            "from an hour on, as OpenAI",
            DIFFERS,
        ),
    ]


def section_uploads():
    return [
        call("POST", "/uploads"),
        *sends("POST", "/uploads", "bytes filename mime_type purpose"),
        call("POST", "/uploads/{upload}/parts"),
        *sends("POST", "/uploads/{upload}/parts", "data"),
        call("POST", "/uploads/{upload}/complete"),
        *sends(
            "POST",
            "/uploads/{upload}/complete",
            "part_ids md5",
            "part ids are those of `id` and of `azure_block_id`, which are alike",
        ),
        call("POST", "/uploads/{upload}/cancel"),
        *fields("upload", "id object bytes created_at expires_at filename purpose status file file.id"),
        *fields("upload.part", "id object created_at upload_id azure_block_id"),
        *words("upload", "status", "pending completed cancelled"),
        proven("`expired`", "serve/uploads_test.c:test_states"),
        proven("a total of 8 GB; parts of 64 MiB", "serve/uploads_test.c:test_limits"),
    ]


def section_jobs():
    job = JOBS + "/{job}"
    return [
        call("POST", JOBS),
        call("GET", JOBS),
        *sends("GET", JOBS, "after limit metadata[team]"),
        call("GET", job),
        call("POST", job + "/cancel"),
        call("POST", job + "/pause"),
        call("POST", job + "/resume"),
        call("DELETE", job),
        call("GET", job + "/events"),
        call("POST", job + "/events"),
        *sends("GET", job + "/events", "after limit"),
        call("GET", job + "/checkpoints"),
        call("POST", job + "/checkpoints"),
        *sends("GET", job + "/checkpoints", "after limit"),
        fact(
            "201 and `location` in the classic family, 200 in v1",
            lambda s: {("POST", JOBS, CLASSIC, 201), ("POST", JOBS, V1, 200)} <= s.record.answered,
        ),
        fact("deleting a job is 204", lambda s: any(row[:2] == ("DELETE", job) and row[3] == 204 for row in s.record.answered)),
        fact(
            "a stream of events",
            lambda s: s.call("GET", f"{JOBS}/{s.first['id']}/events", query="stream=true")[2]["object"] == "list",
            ABSENT,
            "Azure has none either; the newest event is a page of one",
        ),
        absent("POST", job + "/checkpoints/{checkpoint}/copy", "there is no other resource to copy to"),
        absent("GET", job + "/checkpoints/{checkpoint}/copy", "there is no other resource to copy to"),
        absent("POST", "/fine_tuning/alpha/graders/run", GRADERS),
        absent("POST", "/fine_tuning/alpha/graders/validate", GRADERS),
        *[
            absent(
                method,
                "/fine_tuning/checkpoints/{checkpoint}/permissions" + tail,
                "for organizations with projects; keys share nothing",
            )
            for method, tail in (("GET", ""), ("POST", ""), ("DELETE", "/{permission}"))
        ],
    ]


def section_create():
    return [
        *sends("POST", JOBS, "model training_file validation_file suffix seed method metadata integrations trainingType"),
        *sends(
            "POST",
            JOBS,
            "method.type method.supervised.hyperparameters.n_epochs method.supervised.hyperparameters.batch_size"
            " method.supervised.hyperparameters.learning_rate_multiplier",
        ),
        *sends("POST", JOBS, "hyperparameters.n_epochs hyperparameters.batch_size hyperparameters.learning_rate_multiplier"),
        *sends("POST", JOBS, "hyperparameters.prompt_loss_weight", "accepted and ignored"),
        *sends(
            "POST",
            JOBS,
            "integrations[].wandb.project integrations[].wandb.name integrations[].wandb.entity integrations[].wandb.tags",
            "kept and answered; nothing is sent to Weights & Biases",
        ),
        fact("`model`: a fine-tuned model", lambda s: s.first["fine_tuned_model"] in s.record.seen["fine_tuning.job"]["model"]),
        fact(
            "`model`: a checkpoint, by name or id",
            lambda s: s.checkpoints[-1]["fine_tuned_model_checkpoint"] in s.record.seen["fine_tuning.job"]["model"],
        ),
        fact(
            "`model`: another spelling",
            lambda s: s.facts["a model's name in capitals"] == BASE,
            note="the answer has the folder's name",
        ),
        fact(
            '"auto", -1 and null',
            lambda s: any(
                -1 in s.record.seen["fine_tuning.job"][f"hyperparameters.{key}"] for key in ("n_epochs", "batch_size")
            ),
        ),
        fact(
            "a seed is drawn and told", lambda s: any(seed not in (7, None) for seed in s.record.seen["fine_tuning.job"]["seed"])
        ),
        refuses("`suffix` with a dot", "POST", JOBS, job_with(suffix="a.b"), "suffix", "forbidden by Azure, too", WORKS),
        refuses(
            "`suffix` of more than 64",
            "POST",
            JOBS,
            job_with(suffix="a" * 65),
            "suffix",
            "the longest of Azure's three limits",
            WORKS,
        ),
        refuses(
            "`metadata` of more than 16 pairs",
            "POST",
            JOBS,
            job_with(metadata={str(i): "" for i in range(17)}),
            "metadata",
            "",
            WORKS,
        ),
        *words("fine_tuning.job", "trainingType", "globalStandard standard developerTier", "in any case, or 1; all train here"),
        fact(
            "without `trainingType`", lambda s: None in s.record.seen["fine_tuning.job"]["trainingType"], DIFFERS, "never needed"
        ),
        refuses(
            "automatic deployment",
            "POST",
            JOBS,
            job_with(auto_deploy=True),
            "auto_deploy",
            "Azure has published no field for it",
        ),
        refuses(
            "`method.type: dpo` with `beta`, `l2_multiplier`",
            "POST",
            JOBS,
            job_with(method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}),
            "method.type",
            LATER,
        ),
        refuses(
            "`method.type: reinforcement` with `grader`, `compute_multiplier`, `eval_interval`, `eval_samples`,"
            " `reasoning_effort`,"
            " `response_format`",
            "POST",
            JOBS,
            job_with(method={"type": "reinforcement", "reinforcement": {}}),
            "method.type",
            LATER,
        ),
        refuses(
            "an unknown field",
            "POST",
            JOBS,
            job_with(nothing=1),
            "nothing",
            "refused by name, with the field that was probably meant",
            DIFFERS,
        ),
        *sends("POST", JOBS, "lorac.max_seq_len", "our own fields, for what the API cannot say"),
    ]


def section_job_object():
    kind = "fine_tuning.job"
    return [
        *fields(kind, "id object created_at finished_at model fine_tuned_model status error.code error.message error.param"),
        *fields(kind, "hyperparameters.n_epochs hyperparameters.batch_size hyperparameters.learning_rate_multiplier"),
        *fields(
            kind,
            "method.type method.supervised.hyperparameters.n_epochs method.supervised.hyperparameters.batch_size"
            " method.supervised.hyperparameters.learning_rate_multiplier",
        ),
        *fields(
            kind,
            "seed training_file validation_file result_files trained_tokens estimated_finish integrations metadata suffix"
            " user_provided_suffix trainingType",
        ),
        empty(kind, "organization_id", "there are none; Azure answers null too"),
        fact("`result_files` once training has begun, readable while it runs", lambda s: s.facts["results while running"]),
        *words(kind, "status", "pending running pausing paused resuming succeeded failed cancelled"),
        *unsaid(kind, "status", "created validating_files queued notRunning", "`pending` until the job runs"),
        fact("cancel of pending and running jobs", lambda s: "cancelled" in s.record.seen[kind]["status"]),
        fact(
            "cancel, pause, resume in another state: `unexpectedEntityState`",
            lambda s: s.call("POST", f"{JOBS}/{s.first['id']}/resume")[2]["error"]["code"] == "unexpectedEntityState",
            note="400, since clients send a 409 again",
        ),
        fact("a pause leaves a checkpoint", lambda s: s.facts["a pause leaves a checkpoint"]),
        *[
            fact(
                f"`{name}` of lists",
                lambda s, name=name: name in s.record.seen["list"],
                note="in every list of files, jobs, events and checkpoints",
            )
            for name in ("object", "data", "first_id", "last_id", "has_more")
        ],
    ]


def section_events():
    kind = "fine_tuning.job.event"
    return [
        *fields(kind, "id object created_at level message type data"),
        *words(kind, "type", "message metrics"),
        *words(kind, "level", "info error"),
        proven("`warn`", "serve/jobs_test.c:test_reasons", "where the contract says `warning`, as OpenAI's own"),
        fact(
            "`data` is absent from messages",
            lambda s: {"data" in event for event in s.events if event["type"] == "message"} == {False},
        ),
        *fields(kind, " ".join(f"data.{name}" for name in METRICS.split(","))),
        fact(
            "keys without a value are left out",
            lambda s: {value is None for event in metric_events(s) for value in event["data"].values()} == {False},
        ),
        fact(
            "an event for steps 1, 10, 20, ...",
            lambda s: {1, 2, 3} <= {event["data"]["step"] for event in metric_events(s)},
            DIFFERS,
            "one for every step; `lorac.log_every_steps` says another number",
        ),
        says(r"Job enqueued\. Waiting for jobs ahead to complete\.", "`Job enqueued. Waiting for jobs ahead to complete.`"),
        says(r"Preprocessing running for file training file\.", "`Preprocessing running for file training file.`"),
        says(r"Preprocessing completed for file training file\.", "`Preprocessing completed for file training file.`"),
        says(r"Preprocessing completed for file validation file\.", "`Preprocessing completed for file validation file.`"),
        *[
            says(re.escape(message), f"`{message}`")
            for message in ("Job started.", "Data Import started.", "Finetuning started.", "Training started.")
        ],
        silent("waiting for GPUs", "`Job queued, waiting for GPUs.`", "a job that has begun has its place"),
        says(r"Created results file: file-\w{32}", "`Created results file: file-...`"),
        says(r"Step \d+: training loss=\d+(\.\d+)?(e-\d+)?", "`Step 10: training loss=0.5`"),
        says(r"Job succeeded\.", "`Job succeeded.`"),
        silent("Model Evaluation", "`Model Evaluation Passed.`", "nobody judges the model"),
        silent("Postprocessing", "`Postprocessing started.`", "of 2024; today's service does not say it either"),
        says(r"Completed results file: file-\w{32}", "`Completed results file: file-...`"),
        says(
            r"Training tokens billed: \d+",
            "`Training tokens billed: 7640`",
            note="the tokens that were trained; nobody is billed",
        ),
        *[
            says(re.escape(message), f"`{message}`", note="Azure publishes no text")
            for message in ("Job pausing.", "Job paused.", "Job resuming.", "Job resumed.", "Job cancelled.")
        ],
        says(r"Job failed\. .+", "`Job failed. MESSAGE`", note="Azure publishes no text"),
    ]


def section_checkpoints():
    kind = "fine_tuning.job.checkpoint"
    return [
        *fields(kind, "id object created_at fine_tuned_model_checkpoint fine_tuning_job_id step_number"),
        *fields(
            kind,
            "metrics.step metrics.train_loss metrics.train_mean_token_accuracy metrics.full_valid_loss"
            " metrics.full_valid_mean_token_accuracy",
        ),
        fact("one for each finished epoch, newest first", lambda s: [each["step_number"] for each in s.checkpoints] == [16, 8]),
        fact("the last has the model's name, others end in `:ckpt-step-N`", checkpoints),
        fact("the model is `{base}.ft-{digits of the job's id}-{suffix}`", names),
        fact(
            "a checkpoint can be deployed, by name or id",
            lambda s: s.facts["a checkpoint's id deploys it"],
        ),
        fact(
            "a job whose checkpoint is deployed cannot be deleted",
            lambda s: any("is deployed as 'damaged'" in text for text in s.record.seen["error"]["error.message"]),
            note="its model stays when it is deleted; its checkpoints do not",
        ),
        fact("the three newest are kept", three_kept, note="`lorac.keep_checkpoints` says another number"),
    ]


def section_results():
    return [
        fact(
            "a file `results.csv` with purpose `fine-tune-results`",
            lambda s: s.call("GET", f"/files/{s.first['result_files'][0]}")[2]["filename"] == "results.csv",
        ),
        fact("plain CSV, a header and a row a step", lambda s: len(results(s)) == 17),
        *[
            fact(
                f"column `{name}`",
                lambda s, at=at, name=name: results(s)[0][at] == name and any(row[at] for row in results(s)[1:]),
            )
            for at, name in enumerate(METRICS.split(","))
        ],
        fact(
            "empty cells where nothing was validated",
            lambda s: [bool(row[5]) for row in results(s)[1:]] == [step % 8 == 0 for step in range(1, 17)],
        ),
    ]


def section_data():
    return [
        takes("JSON Lines; roles system, user, assistant", {"messages": [{"role": "system", "content": "s"}, *MESSAGES]}),
        takes("role developer", {"messages": [{"role": "developer", "content": "s"}, *MESSAGES]}),
        takes("a BOM, CRLF, an empty last line", with_bom()),
        rejects("fewer than 10 examples", [LINE] * 9, "at least 10"),
        takes(
            "`weight` 0 and 1",
            {"messages": [MESSAGES[0], {**MESSAGES[1], "weight": 0}, MESSAGES[0], {**MESSAGES[1], "weight": 1}]},
        ),
        rejects("`weight` of another value", {"messages": [MESSAGES[0], {**MESSAGES[1], "weight": 2}]}, "weight"),
        takes("`tools`, `tool_calls`, role tool, `parallel_tool_calls`", CALLS),
        takes("`functions`, `function_call`, role function", FUNCTIONS, note="deprecated"),
        takes("text parts", {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}, MESSAGES[1]]}),
        rejects("images", IMAGE, "image", ABSENT, TEXT_ONLY),
        takes(
            "lines of preferences (`input`, `preferred_output`, `non_preferred_output`)",
            PREFERENCE,
            note="checked when uploaded; a job that trains on them: see `method`",
        ),
        takes(
            "lines for reinforcement",
            {"messages": MESSAGES[:1], "answer": "5"},
            note="checked when uploaded; a job that trains on them: see `method`",
        ),
        rejects(
            "prompt/completion pairs",
            {"prompt": "a", "completion": "b"},
            "prompt/completion",
            ABSENT,
            "chat rows only, as Azure today",
        ),
        fact(
            "a bad file: status `error`, lines in `status_details`",
            lambda s: any("line 1" in (text or "") for text in s.record.seen["file"]["status_details"]),
        ),
        fact(
            "a job with a bad file fails as `invalid_training_file`",
            lambda s: "invalid_training_file" in s.record.seen["fine_tuning.job"]["error.code"],
        ),
        silent("RAI", "checks of harm before and after training", "nobody judges data or model"),
    ]


def section_defaults():
    return [
        fact(
            "ten examples: 10 epochs, batch size 1", auto_of_ten, note="`n_epochs` and `batch_size` auto, as in Azure's tutorial"
        ),
        fact(
            "undecided is -1, then the numbers used",
            lambda s: {-1, 10} <= set(s.record.seen["fine_tuning.job"]["hyperparameters.n_epochs"]),
        ),
        fact(
            "`learning_rate_multiplier` auto is 1",
            lambda s: 1 in s.record.seen["fine_tuning.job"]["hyperparameters.learning_rate_multiplier"],
        ),
    ]
