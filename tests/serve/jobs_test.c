/*
 * Jobs without a trainer: what a request may hold, the object, states and their table, lists, other
 * owners, what is made on disk and what of it goes again.
 */
#include "jobs_fixture.h"

#include <errno.h>

#include "base/fault.h"
#include "serve/follow.h"

#define FILE_A       "file-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define FILE_PENDING "file-99999999999999999999999999999999"
#define FILE_B       "file-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define MINIMAL      "{\"model\": \"sprout-3m\", \"training_file\": \"" FILE_A "\"}"

static size_t count_dirs(void);

static int setup(void **state)
{
    (void)open_jobs(state);
    options.queued_limit = options.queued_limit_per_key = 20;
    add_file("", FILE_A, "fine-tune", "processed", "{}\n");
    add_file("", FILE_B, "fine-tune", "processed", "{}\n{}\n");
    return 0;
}

/* ---- creating ---- */

static void test_object(void **state)
{
    (void)state;
    static const char *const keys[] = {"id",
                                       "object",
                                       "created_at",
                                       "finished_at",
                                       "model",
                                       "fine_tuned_model",
                                       "status",
                                       "error",
                                       "organization_id",
                                       "hyperparameters",
                                       "method",
                                       "seed",
                                       "training_file",
                                       "validation_file",
                                       "result_files",
                                       "trained_tokens",
                                       "estimated_finish",
                                       "integrations",
                                       "metadata",
                                       "suffix",
                                       "user_provided_suffix",
                                       "trainingType"};
    cJSON *job = create("", MINIMAL);
    const cJSON *item = NULL;
    size_t i = 0;
    cJSON_ArrayForEach(item, job)
    {
        assert_true(i < sizeof keys / sizeof *keys);
        assert_string_equal(item->string, keys[i++]);
    }
    assert_int_equal(i, sizeof keys / sizeof *keys);
    assert_true(lc_id_is(text_of(job, "id"), LC_PREFIX_JOB));
    assert_string_equal(text_of(job, "status"), "pending");
    assert_string_equal(text_of(job, "model"), "sprout-3m");
    assert_string_equal(text_of(job, "training_file"), FILE_A);
    assert_null(lc_json_get(job, "fine_tuned_model"));
    assert_null(lc_json_get(job, "error"));
    assert_int_equal(cJSON_GetArraySize(lc_json_get(job, "result_files")), 0);
    const cJSON *hyper = lc_json_get(job, "hyperparameters");
    assert_int_equal(int_of(hyper, "n_epochs"), -1);
    assert_int_equal(int_of(hyper, "batch_size"), -1);
    assert_int_equal(int_of(hyper, "learning_rate_multiplier"), 1);
    assert_in_range(int_of(job, "seed"), 0, 2147483647);
    cJSON *got = answer(lc_jobs_get, "", text_of(job, "id"));
    assert_true(cJSON_Compare(job, got, true));
    cJSON_Delete(got);
    cJSON_Delete(job);
}

static void test_everything_given(void **state)
{
    (void)state;
    cJSON *job = create(
        "", "{\"model\": \"SPROUT-3M\", \"training_file\": \"" FILE_A
            "\", \"validation_file\": \"" FILE_B
            "\", \"suffix\": \"harbor-desk\", \"seed\": 4711, \"method\": {\"type\": "
            "\"supervised\", \"supervised\": {\"hyperparameters\": {\"n_epochs\": 3, "
            "\"batch_size\": \"auto\", \"learning_rate_multiplier\": 0.5}}}, \"metadata\": "
            "{\"owner\": \"team\"}, \"integrations\": [{\"type\": \"wandb\", \"wandb\": "
            "{\"project\": \"p\"}}], \"trainingType\": \"GLOBALSTANDARD\", \"lorac\": {\"rank\": "
            "4}}");
    assert_string_equal(text_of(job, "model"), "sprout-3m");
    assert_string_equal(text_of(job, "validation_file"), FILE_B);
    assert_string_equal(text_of(job, "suffix"), "harbor-desk");
    assert_string_equal(text_of(job, "user_provided_suffix"), "harbor-desk");
    assert_string_equal(text_of(job, "trainingType"), "globalStandard");
    assert_int_equal(int_of(job, "seed"), 4711);
    assert_string_equal(text_of(lc_json_get(job, "metadata"), "owner"), "team");
    assert_string_equal(text_of(lc_json_get(job, "integrations")->child, "type"), "wandb");
    const cJSON *hyper =
        lc_json_get(lc_json_get(lc_json_get(job, "method"), "supervised"), "hyperparameters");
    assert_int_equal(int_of(hyper, "n_epochs"), 3);
    assert_int_equal(int_of(hyper, "batch_size"), -1);
    assert_float_equal(lc_json_get(hyper, "learning_rate_multiplier")->valuedouble, 0.5, 0.0);

    cJSON *spec = NULL; /* what the trainer gets */
    const char *path = in_data("jobs/%s/spec.json", text_of(job, "id"));
    assert_ok(lc_json_load(path, 1 << 20, LC_JSON_DEFAULT, &spec, &test_err));
    assert_string_equal(text_of(spec, "model"), "models/sprout-3m");
    assert_string_equal(text_of(spec, "training_file"), "training.jsonl");
    assert_string_equal(text_of(spec, "validation_file"), "validation.jsonl");
    assert_int_equal(int_of(spec, "seed"), 4711);
    assert_int_equal(int_of(lc_json_get(spec, "lorac"), "rank"), 4);
    assert_null(lc_json_get(spec, "metadata"));
    cJSON_Delete(spec);
    cJSON_Delete(job);
}

/* All spellings of "leave it to you", the deprecated form, fields that are null. */
static void test_accepted(void **state)
{
    (void)state;
    static const char *const rest[] = {
        ("\"validation_file\": null, \"suffix\": null, \"seed\": null, \"method\": null, "
         "\"hyperparameters\": null, \"integrations\": null, \"metadata\": null, \"lorac\": null"),
        "\"hyperparameters\": {\"n_epochs\": -1, \"batch_size\": null}",
        "\"hyperparameters\": {\"n_epochs\": \"auto\", \"prompt_loss_weight\": 0.1}",
        "\"method\": {\"type\": \"supervised\"}, \"integrations\": [], \"metadata\": {}",
        "\"trainingType\": 1, \"seed\": 2147483647",
        "\"trainingType\": \"Standard\", \"suffix\": \"A_b-9\"",
        "\"trainingType\": \"developerTier\"",
        "\"trainingType\": \"developer\"",
        "\"lorac\": {\"device\": \"cpu\", \"init_adapter\": null}"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        char text[1024];
        (void)snprintf(text, sizeof text,
                       "{\"model\": \"sprout-3m\", \"training_file\": \"" FILE_A "\", %s}",
                       rest[i]);
        cJSON *job = create("", text);
        assert_int_equal(int_of(lc_json_get(job, "hyperparameters"), "n_epochs"), -1);
        cJSON_Delete(job);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *rest, *param, *text;
        lc_code code;
    } rows[] = {
        {"\"method\": {\"type\": \"dpo\", \"dpo\": {}}", "method.type", "\"supervised\"",
         LC_ERR_UNSUPPORTED},
        {"\"method\": {\"type\": \"reinforcement\"}", "method.type", "not supported",
         LC_ERR_UNSUPPORTED},
        {"\"method\": {\"type\": \"magic\"}", "method.type", "supervised", LC_ERR_INVALID},
        {"\"lorac\": {\"init_adapter\": \"/etc\"}", "lorac.init_adapter", "paths are not accepted",
         LC_ERR_INVALID},
        {"\"lorac\": {\"chat_template\": \"x\"}", "lorac.chat_template", "paths are not accepted",
         LC_ERR_INVALID},
        {"\"lorac\": {\"rank\": 0}", "lorac.rank", "1 to 1024", LC_ERR_INVALID},
        {"\"lorac\": []", "lorac", "an object", LC_ERR_INVALID},
        {"\"suffix\": \"a.b\"", "suffix", "letters", LC_ERR_INVALID},
        {"\"seed\": 2147483648", "seed", "2147483647", LC_ERR_INVALID},
        {"\"seed\": 1.5", "seed", "an integer", LC_ERR_INVALID},
        {"\"hyperparameters\": {\"n_epochs\": 51}", "hyperparameters.n_epochs", "50",
         LC_ERR_INVALID},
        {"\"hyperparameters\": {\"batch_size\": 0}", "hyperparameters.batch_size", "256",
         LC_ERR_INVALID},
        {"\"metadata\": {\"a\": 1}", "metadata", "strings", LC_ERR_INVALID},
        {"\"integrations\": {}", "integrations", "a list", LC_ERR_INVALID},
        {"\"trainingType\": \"free\"", "trainingType", "Standard", LC_ERR_INVALID},
        {"\"what\": 1", "what", "no such field", LC_ERR_INVALID},
        {"\"validation_file\": \"" FILE_A "x\"", "validation_file", "there is no file",
         LC_ERR_INVALID},
        {"\"validation_file\": 7", "validation_file", "a string", LC_ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[1024];
        (void)snprintf(text, sizeof text,
                       "{\"model\": \"sprout-3m\", \"training_file\": \"" FILE_A "\", %s}",
                       rows[i].rest);
        cJSON *body = body_of(text);
        refuse(rows[i].code, rows[i].text, lc_jobs_create, &options, "", body);
        assert_string_equal(test_err.param, rows[i].param);
        cJSON_Delete(body);
    }
    refuse(LC_ERR_INVALID, "JSON object", lc_jobs_create, &options, "", NULL);
    cJSON *body = body_of("{\"training_file\": \"" FILE_A "\"}");
    refuse(LC_ERR_INVALID, "model is missing", lc_jobs_create, &options, "", body);
    cJSON_Delete(body);

    assert_int_equal(count_dirs(), 0); /* nothing was left behind */
}

/* More than the service takes. */
static void test_rank(void **state)
{
    (void)state;
    lc_jobs_options limited = options;
    limited.max_rank = 8;
    for (int rank = 8; rank <= 9; rank++) {
        char text[256];
        lc_text out;
        lc_text_init(&out);
        (void)snprintf(text, sizeof text,
                       "{\"model\": \"sprout-3m\", \"training_file\": \"" FILE_A
                       "\", \"lorac\": {\"rank\": %d}}",
                       rank);
        cJSON *body = body_of(text);
        if (rank == 8) {
            assert_ok(lc_jobs_create(store, &limited, "", body, &out, &test_err));
        } else {
            refuse(LC_ERR_INVALID, "at most 8", lc_jobs_create, &limited, "", body);
            assert_string_equal(test_err.param, "lorac.rank");
        }
        lc_text_release(&out);
        cJSON_Delete(body);
    }
}

static void test_models_and_files(void **state)
{
    (void)state;
    static const char *const models[] = {"../models/sprout-3m",
                                         "sprout-3m/",
                                         ".",
                                         "..",
                                         "/etc",
                                         "sprout-3m\\u0001",
                                         "sprout-3m:1",
                                         ".sprout-3m",
                                         "",
                                         "no-such",
                                         "sprout-3m/../sprout-3m",
                                         "sprout-3m.ft-0123456789abcdef0123456789abcdef"};
    static const struct {
        const char *owner, *purpose, *status, *text;
        lc_code code;
    } files[] = {{"", "assistants", "processed", "purpose assistants", LC_ERR_INVALID},
                 {"", "fine-tune-results", "processed", "purpose", LC_ERR_INVALID},
                 {"", "fine-tune", "error", "has errors", LC_ERR_INVALID},
                 {"key-1", "fine-tune", "processed", "there is no file", LC_ERR_INVALID}};
    char text[512], id[LC_ID_BYTES];
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        (void)snprintf(text, sizeof text, "{\"model\": \"%s\", \"training_file\": \"" FILE_A "\"}",
                       models[i]);
        cJSON *body = body_of(text);
        refuse(LC_ERR_INVALID, "model", lc_jobs_create, &options, "", body);
        assert_string_equal(test_err.param, "model");
        cJSON_Delete(body);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        (void)snprintf(id, sizeof id, "file-%032zu", i);
        add_file(files[i].owner, id, files[i].purpose, files[i].status, "{}\n");
        (void)snprintf(text, sizeof text, "{\"model\": \"sprout-3m\", \"training_file\": \"%s\"}",
                       id);
        cJSON *body = body_of(text);
        refuse(files[i].code, files[i].text, lc_jobs_create, &options, "", body);
        assert_string_equal(test_err.param, "training_file");
        assert_int_equal(test_err.api_code != NULL, strcmp(files[i].status, "error") == 0);
        if (test_err.api_code != NULL) {
            assert_string_equal(test_err.api_code, "jsonlValidationFailed");
            run_sql("UPDATE files SET path = '' WHERE id = ?1", id, NULL); /* as an import has it */
            refuse(files[i].code, files[i].text, lc_jobs_create, &options, "", body);
            assert_string_equal(test_err.api_code, "fileImportFailed");
        }
        cJSON_Delete(body);
    }
    /* one whose check has not ended is taken: the trainer checks it too */
    add_file("", FILE_PENDING, "fine-tune", "pending", "{}\n");
    cJSON *pending = body_of("{\"model\": \"sprout-3m\", \"training_file\": \"" FILE_PENDING "\"}");
    lc_text out;
    lc_text_init(&out);
    assert_ok(lc_jobs_create(store, &options, "", pending, &out, &test_err));
    lc_text_release(&out);
    cJSON_Delete(pending);
}

/* A fine-tuned model, a checkpoint by name and by id; another owner's is none. */
static void test_continue(void **state)
{
    (void)state;
    static const char tuned[] = "sprout-3m.ft-0123456789abcdef0123456789abcdef-old";
    static const char *const names[] = {
        tuned, "sprout-3m.ft-0123456789abcdef0123456789abcdef-old:ckpt-step-4",
        "ftchkpt-00000000000000000000000000000001"};
    char text[512];
    const char *first = create_id("", MINIMAL);
    assert_ok(lc_mkdir_parents(in_data("old"), &test_err));
    test_write_file(in_data("old/adapter_config.json"), "{}", 2);
    test_write_file(in_data("old/adapter_model.safetensors"), "x", 1);
    run_sql("INSERT INTO models (id, owner, base, job_id, created_at, path) "
            "VALUES (?1, '', 'sprout-3m', ?2, 1, 'old')",
            tuned, first);
    run_sql("INSERT INTO checkpoints (id, job_id, created_at, step_number, name, metrics, path) "
            "VALUES ('ftchkpt-00000000000000000000000000000001', ?2, 1, 4, ?1, '{}', 'old')",
            names[1], first);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"model\": \"%s\", \"training_file\": \"" FILE_A
                       "\", \"suffix\": \"new\"}",
                       names[i]);
        cJSON *job = create("", text), *spec = NULL;
        const char *id = text_of(job, "id");
        assert_string_equal(text_of(job, "model"), names[i < 2 ? i : 1]);
        assert_ok(lc_json_load(in_data("jobs/%s/spec.json", id), 1 << 20, LC_JSON_DEFAULT, &spec,
                               &test_err));
        assert_string_equal(text_of(spec, "model"), "models/sprout-3m");
        assert_string_equal(text_of(lc_json_get(spec, "lorac"), "init_adapter"), "init");
        assert_true(lc_path_exists(in_data("jobs/%s/init/adapter_model.safetensors", id)));
        cJSON_Delete(spec);
        cJSON_Delete(job);
        add_file("key-1", i == 0 ? "file-11111111111111111111111111111111" : "file-1", "fine-tune",
                 "processed", "x");
        cJSON *body = body_of(text);
        cJSON_ReplaceItemInObject(body, "training_file",
                                  cJSON_CreateString("file-11111111111111111111111111111111"));
        refuse(LC_ERR_INVALID, "there is no model", lc_jobs_create, &options, "key-1", body);
        cJSON_Delete(body);
        run_sql("DELETE FROM files WHERE id = ?1", "file-1", NULL);
    }
    /* one that its trainer has just removed: the error has the field and no path */
    assert_int_equal(unlink(in_data("old/adapter_config.json")), 0);
    cJSON *body = body_of(text);
    refuse(LC_ERR_INVALID, "model is not there any more", lc_jobs_create, &options, "", body);
    assert_string_equal(test_err.param, "model");
    assert_null(strstr(test_err.message, data_dir));
    cJSON_Delete(body);
}

static void test_data_outlives_its_file(void **state)
{
    (void)state;
    const char *id = create_id("", MINIMAL);
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(unlink(in_data("files/" FILE_A)), 0);
    assert_ok(lc_file_read(in_data("jobs/%s/training.jsonl", id), 100, &text, &bytes, &test_err));
    assert_string_equal(text, "{}\n");
    lc_free(text);
}

static void test_queue_limits(void **state)
{
    (void)state;
    cJSON *body = body_of(MINIMAL);
    options.queued_limit = 3;
    options.queued_limit_per_key = 2;
    const char *first = create_id("", MINIMAL);
    (void)create_id("", MINIMAL);
    refuse(LC_ERR_BUSY, "2 jobs of this key", lc_jobs_create, &options, "", body);
    run_sql("UPDATE jobs SET owner = 'key-1' WHERE id = ?1", first, NULL);
    (void)create_id("", MINIMAL);
    refuse(LC_ERR_BUSY, "3 jobs are queued", lc_jobs_create, &options, "", body);
    assert_string_equal(test_err.api_code, "quotaExceeded");
    run_sql("UPDATE jobs SET status = 'running' WHERE id = ?1", first, NULL);
    refuse(LC_ERR_BUSY, "2 jobs of this key", lc_jobs_create, &options, "", body);
    options.queued_limit_per_key = 3;
    (void)create_id("", MINIMAL);
    cJSON_Delete(body);
}

static size_t count_dirs(void)
{
    char **names = NULL;
    size_t count = 0;
    if (lc_path_exists(in_data("jobs"))) {
        assert_ok(lc_list_dir(in_data("jobs"), &names, &count, &test_err));
        lc_list_free(names, count);
    }
    return count;
}

/* Every allocation, then every call on files fails in turn: nothing of the job is left, until it
 * succeeds. */
static void test_faults(void **state)
{
    (void)state;
    static const lc_fault_kind kinds[] = {LC_FAULT_ALLOC, LC_FAULT_IO};
    const lc_page page = {.limit = 100};
    cJSON *body = body_of("{\"model\": \"sprout-3m\", \"training_file\": \"" FILE_A
                          "\", \"validation_file\": \"" FILE_B "\", \"metadata\": {\"a\": \"b\"}}");
    for (size_t i = 0; i < 2; i++) {
        lc_code code = LC_ERR_INTERNAL;
        int at = 0;
        while (code != LC_OK) {
            lc_text out;
            lc_err err = {.code = LC_OK};
            lc_text_init(&out);
            lc_fault_set(kinds[i], ++at, ENOSPC, false);
            code = lc_jobs_create(store, &options, "", body, &out, &err);
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            lc_text_release(&out);
            if (code != LC_OK && code != LC_ERR_MEMORY && code != LC_ERR_DISK_FULL) {
                fail_msg("call %d: %s: %s", at, lc_code_name(code), err.message);
            }
            assert_int_equal(count_dirs(), (code == LC_OK) + i);
        }
        assert_true(at > 3);
        print_message("%d calls failed\n", at - 1);
        cJSON *list = answer(lc_jobs_list, "", &page, NULL);
        assert_int_equal(cJSON_GetArraySize(lc_json_get(list, "data")), i + 1);
        cJSON_Delete(list);
    }
    cJSON_Delete(body);
}

/* ---- states ---- */

static void test_table(void **state)
{
    (void)state;
    static const char *const allowed[] = {
        "pending running",   "pending paused",  "pending failed",    "pending cancelled",
        "running pausing",   "running paused",  "running succeeded", "running failed",
        "running cancelled", "pausing paused",  "pausing succeeded", "pausing failed",
        "pausing cancelled", "paused resuming", "paused cancelled",  "resuming running",
        "resuming paused",   "resuming failed", "resuming cancelled"};
    size_t count = 0;
    for (int from = 0; from < LC_STATUS_COUNT; from++) {
        assert_int_equal(lc_status_of(lc_status_name((lc_status)from)), from);
        for (int to = 0; to < LC_STATUS_COUNT; to++) {
            char pair[64];
            bool is_allowed = false;
            (void)snprintf(pair, sizeof pair, "%s %s", lc_status_name((lc_status)from),
                           lc_status_name((lc_status)to));
            for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
                is_allowed = is_allowed || strcmp(pair, allowed[i]) == 0;
            }
            assert_int_equal(lc_status_can_change((lc_status)from, (lc_status)to), is_allowed);
            count += is_allowed;
        }
    }
    assert_int_equal(count, sizeof allowed / sizeof *allowed);
    assert_int_equal(lc_status_of("created"), LC_STATUS_COUNT);
}

static cJSON *newest_event(const char *id)
{
    const lc_page page = {.limit = 1};
    cJSON *list = answer(lc_jobs_events, "", id, &page);
    cJSON *event = cJSON_DetachItemFromArray(cJSON_GetObjectItem(list, "data"), 0);
    cJSON_Delete(list);
    return event;
}

static void expect_event(const char *id, const char *level, const char *message)
{
    cJSON *event = newest_event(id);
    assert_string_equal(text_of(event, "message"), message);
    assert_string_equal(text_of(event, "level"), level);
    assert_string_equal(text_of(event, "type"), "message");
    assert_string_equal(text_of(event, "object"), "fine_tuning.job.event");
    assert_true(lc_id_is(text_of(event, "id"), LC_PREFIX_EVENT));
    cJSON_Delete(event);
}

static void set_status(const char *id, const char *status)
{
    run_sql("UPDATE jobs SET status = ?2 WHERE id = ?1", id, status);
}

/* Every verb in every state: 8 x 4. */
static void test_verbs(void **state)
{
    (void)state;
    static const struct {
        lc_code (*call)(lc_store *, const char *, const char *, lc_text *, lc_err *);
        const char *states, *becomes, *event;
    } verbs[] = {
        {lc_jobs_cancel, "pending running pausing paused resuming", "cancelled", "Job cancelled."},
        {lc_jobs_pause, "running", "pausing", "Job pausing."},
        {lc_jobs_resume, "paused", "resuming", "Job resuming."},
    };
    const char *id = create_id("", MINIMAL);
    expect_event(id, "info", "Job enqueued. Waiting for jobs ahead to complete.");
    set_status(id, "running");
    refuse(LC_ERR_STATE, "has not finished a step", lc_jobs_pause, "", id);
    run_sql("INSERT INTO events (id, job_id, created_at, level, message, type) "
            "VALUES ('e', ?1, 1, 'info', 'Step 1', 'metrics')",
            id, NULL);
    for (int from = 0; from < LC_STATUS_COUNT; from++) {
        const char *status = lc_status_name((lc_status)from);
        for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
            set_status(id, status);
            if (strstr(verbs[i].states, status) == NULL) {
                char text[64];
                (void)snprintf(text, sizeof text, "The job is %s and cannot be", status);
                refuse(LC_ERR_STATE, text, verbs[i].call, "", id);
                continue;
            }
            cJSON *job = answer(verbs[i].call, "", id);
            assert_string_equal(text_of(job, "status"), verbs[i].becomes);
            assert_int_equal(lc_json_get(job, "finished_at") != NULL, i == 0);
            cJSON_Delete(job);
            expect_event(id, "info", verbs[i].event);
        }
        refuse(LC_ERR_NOT_FOUND, "No fine-tuning job", verbs[from % 3].call, "key-1", id);
    }
    static const char *const active[] = {"pending", "running", "pausing", "resuming"};
    for (size_t i = 0; i < 4; i++) {
        set_status(id, active[i]);
        assert_fails(lc_jobs_delete(store, "", id, &test_err), LC_ERR_STATE, "cancel it first");
    }
    set_status(id, "cancelled");
    assert_fails(lc_jobs_delete(store, "key-1", id, &test_err), LC_ERR_NOT_FOUND, id);
    assert_ok(lc_jobs_delete(store, "", id, &test_err));
    refuse(LC_ERR_NOT_FOUND, id, lc_jobs_get, "", id);
    const lc_page page = {.limit = 5};
    refuse(LC_ERR_NOT_FOUND, id, lc_jobs_events, "", id, &page);
    assert_string_equal(test_err.param, "fine_tuning_job_id");
}

/* ---- checkpoints ---- */

/* A checkpoint as the trainer leaves it in DATA/jobs/ID/run/WHERE. */
static void leave_checkpoint(const char *id, const char *where, int step)
{
    char text[512];
    assert_ok(lc_mkdir_parents(in_data("jobs/%s/run/%s", id, where), &test_err));
    (void)snprintf(text, sizeof text,
                   "{\"id\": \"ftckpt-%d\", \"fine_tuned_model_checkpoint\": \"m:ckpt-step-%d\", "
                   "\"step_number\": %d, \"metrics\": {}}",
                   step, step, step);
    test_write_file(in_data("jobs/%s/run/%s/checkpoint.json", id, where), text, strlen(text));
}

static void follow(lc_code (*how)(lc_db *, const lc_store *, const char *, lc_err *),
                   const char *id)
{
    lc_db *db = NULL;
    assert_ok(lc_store_begin(store, &db, &test_err));
    assert_ok(how(db, store, id, &test_err));
    assert_ok(lc_store_commit(&db, &test_err));
}

/* The steps of the checkpoints that are offered, newest first; all can be read. */
static void expect_steps(const char *id, const char *steps)
{
    char found[128] = "";
    const lc_page page = {.limit = 20};
    cJSON *list = answer(lc_jobs_checkpoints, "", id, &page);
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, lc_json_get(list, "data"))
    {
        const size_t length = strlen(found);
        (void)snprintf(found + length, sizeof found - length, "%d ",
                       (int)int_of(item, "step_number"));
    }
    cJSON_Delete(list);
    assert_string_equal(found, steps);
}

static void deploy(const char *model)
{
    run_sql("INSERT INTO deployments (owner, name, model, created_at, updated_at) "
            "VALUES ('', ?1, ?1, 1, 1)",
            model, NULL);
}

/* Those of epochs go when the trainer drops them, those of pauses with the epochs around them and
 * when they are many; one that is deployed stays, and keeps its job. */
static void test_checkpoints_are_pruned(void **state)
{
    (void)state;
    const char *id = create_id("", MINIMAL);
    leave_checkpoint(id, "checkpoints/epoch-1", 10);
    leave_checkpoint(id, "checkpoints/epoch-2", 20);
    follow(lc_follow_checkpoints, id);
    for (int step = 21; step <= 25; step++) {
        leave_checkpoint(id, "paused", step);
        follow(lc_follow_paused, id);
        assert_ok(lc_remove_tree(in_data("jobs/%s/run/paused", id), &test_err));
        if (step == 21) {
            deploy("m:ckpt-step-21");
        }
    }
    expect_steps(id, "25 24 23 21 20 10 ");
    assert_false(lc_path_exists(in_data("jobs/%s/paused-step-22", id)));
    deploy("ftckpt-10"); /* by its id */
    assert_ok(lc_remove_tree(in_data("jobs/%s/run/checkpoints", id), &test_err));
    leave_checkpoint(id, "checkpoints/epoch-3", 30);
    follow(lc_follow_checkpoints, id);
    expect_steps(id, "30 21 10 ");
    assert_true(lc_path_exists(in_data("jobs/%s/paused-step-21/checkpoint.json", id)));
    assert_true(lc_path_exists(in_data("jobs/%s/epoch-1/checkpoint.json", id)));
    assert_false(lc_path_exists(in_data("jobs/%s/epoch-2", id)));
    assert_false(lc_path_exists(in_data("jobs/%s/paused-step-25", id)));

    set_status(id, "succeeded");
    assert_fails(lc_jobs_delete(store, "", id, &test_err), LC_ERR_STATE, "is deployed as");
    run_sql("DELETE FROM deployments WHERE name = ?1", "m:ckpt-step-21", NULL);
    follow(lc_follow_checkpoints, id);
    expect_steps(id, "30 10 ");
    assert_fails(lc_jobs_delete(store, "", id, &test_err), LC_ERR_STATE,
                 "m:ckpt-step-10 is deployed");
    run_sql("DELETE FROM deployments WHERE name = ?1", "ftckpt-10", NULL);
    run_sql("INSERT INTO models (id, owner, base, job_id, created_at, path) "
            "VALUES ('m:ckpt-step-30', '', 'sprout-3m', ?1, 1, 'x')",
            id, NULL);
    deploy("m:ckpt-step-30"); /* it stays a model */
    assert_ok(lc_jobs_delete(store, "", id, &test_err));
}

/* Those of one look have the order of their epochs, whatever their directories' names. */
static void test_checkpoints_are_newest_first(void **state)
{
    (void)state;
    const char *id = create_id("", MINIMAL);
    char name[64];
    for (int epoch = 98; epoch <= 101; epoch++) {
        (void)snprintf(name, sizeof name, "checkpoints/epoch-%d", epoch);
        leave_checkpoint(id, name, 10 * epoch);
    }
    follow(lc_follow_checkpoints, id);
    expect_steps(id, "1010 1000 990 980 ");
}

static void test_reasons(void **state)
{
    (void)state;
    const char *id = create_id("", MINIMAL);
    const lc_job_reason full = {"disk_full", "The disk is full.", NULL};
    const lc_job_reason bad = {"invalid_training_file", "line 3: no \"messages\"", "training_file"};
    bool has_changed = false;
    lc_db *db = NULL;
    assert_ok(lc_store_begin(store, &db, &test_err));
    assert_ok(lc_job_change(db, id, LC_STATUS_PAUSED, &full, true, &has_changed, &test_err));
    assert_true(has_changed);
    assert_ok(lc_job_change(db, id, LC_STATUS_RUNNING, NULL, true, &has_changed, &test_err));
    assert_false(has_changed);
    assert_ok(
        lc_job_change(db, "ftjob-none", LC_STATUS_PAUSED, NULL, true, &has_changed, &test_err));
    assert_false(has_changed);
    assert_ok(lc_store_commit(&db, &test_err));
    expect_event(id, "warn", "Job paused. The disk is full.");
    cJSON *job = answer(lc_jobs_get, "", id);
    assert_string_equal(text_of(lc_json_get(job, "error"), "code"), "disk_full");
    assert_null(lc_json_get(job, "finished_at"));
    cJSON_Delete(job);
    job = answer(lc_jobs_resume, "", id);
    assert_null(lc_json_get(job, "error"));
    cJSON_Delete(job);
    assert_ok(lc_store_begin(store, &db, &test_err));
    assert_ok(lc_job_change(db, id, LC_STATUS_FAILED, &bad, true, &has_changed, &test_err));
    assert_ok(lc_store_commit(&db, &test_err));
    expect_event(id, "error", "Job failed. line 3: no \"messages\"");
    job = answer(lc_jobs_get, "", id);
    const cJSON *error = lc_json_get(job, "error");
    assert_string_equal(text_of(error, "message"), bad.message);
    assert_string_equal(text_of(error, "param"), bad.param);
    assert_non_null(lc_json_get(job, "finished_at"));
    cJSON_Delete(job);
}

/* ---- lists ---- */

static void expect_list(cJSON *list, const char *const *ids, int count, bool has_more)
{
    const cJSON *data = lc_json_get(list, "data");
    assert_string_equal(text_of(list, "object"), "list");
    assert_int_equal(cJSON_GetArraySize(data), count);
    for (int i = 0; i < count; i++) {
        assert_string_equal(text_of(cJSON_GetArrayItem(data, i), "id"), ids[i]);
    }
    assert_int_equal(cJSON_IsTrue(lc_json_get(list, "has_more")), has_more);
    if (count > 0) {
        assert_string_equal(text_of(list, "first_id"), ids[0]);
        assert_string_equal(text_of(list, "last_id"), ids[count - 1]);
    } else {
        assert_true(cJSON_HasObjectItem(list, "first_id"));
        assert_null(lc_json_get(list, "last_id"));
    }
    cJSON_Delete(list);
}

static void test_lists(void **state)
{
    (void)state;
    const char *newest[4];
    for (int i = 3; i >= 0; i--) {
        newest[i] = create_id("", MINIMAL);
    }
    const char *const oldest[] = {newest[3], newest[2], newest[1], newest[0]};
    lc_page page = {.limit = 4};
    expect_list(answer(lc_jobs_list, "", &page, NULL), newest, 4, false);
    page.limit = 3;
    expect_list(answer(lc_jobs_list, "", &page, NULL), newest, 3, true);
    page.after = newest[2];
    expect_list(answer(lc_jobs_list, "", &page, NULL), newest + 3, 1, false);
    page.after = newest[3];
    expect_list(answer(lc_jobs_list, "", &page, NULL), newest, 0, false);
    page = (lc_page){.limit = 2, .ascending = true, .after = newest[3]};
    expect_list(answer(lc_jobs_list, "", &page, NULL), oldest + 1, 2, true);
    refuse(LC_ERR_INVALID, "after", lc_jobs_list, "key-1", &page, NULL);
    page.after = "ftjob-none";
    refuse(LC_ERR_INVALID, "after", lc_jobs_list, "", &page, NULL);
    page.after = NULL;
    expect_list(answer(lc_jobs_list, "key-1", &page, NULL), newest, 0, false);

    const char *more[25]; /* events of one job */
    static char ids[25][LC_ID_BYTES];
    for (int i = 24; i >= 0; i--) {
        (void)snprintf(ids[i], sizeof ids[i], "ftevent-%032d", i);
        more[i] = ids[i];
        run_sql("INSERT INTO events (id, job_id, created_at, level, message, type, data) "
                "VALUES (?2, ?1, 1, 'info', 'Step', 'metrics', '{\"step\": 1}')",
                newest[0], ids[i]);
    }
    page = (lc_page){.limit = 20};
    expect_list(answer(lc_jobs_events, "", newest[0], &page), more, 20, true);
    page.after = more[19];
    cJSON *list = answer(lc_jobs_events, "", newest[0], &page);
    const cJSON *data = lc_json_get(list, "data");
    assert_int_equal(cJSON_GetArraySize(data), 6);
    assert_int_equal(int_of(lc_json_get(cJSON_GetArrayItem(data, 0), "data"), "step"), 1);
    assert_false(cJSON_HasObjectItem(cJSON_GetArrayItem(data, 5), "data"));
    cJSON_Delete(list);
    refuse(LC_ERR_INVALID, "after", lc_jobs_events, "", newest[1], &page); /* another job's */
    page.after = NULL;
    expect_list(answer(lc_jobs_checkpoints, "", newest[0], &page), newest, 0, false);
}

static void test_metadata_filter(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        int first, count;
    } rows[] = {{"{}", 0, 3},
                {"{\"team\": \"a\"}", 1, 2},
                {"{\"team\": \"a\", \"n\": \"1\"}", 2, 1},
                {"{\"team\": \"A\"}", 0, 0},
                {"{\"n\": \"2\"}", 1, 1},
                {"{\"team.x\": \"a\"}", 0, 0}};
    const char *ids[3];
    ids[2] = create_id("", "{\"model\": \"sprout-3m\", \"training_file\": \"" FILE_A
                           "\", \"metadata\": {\"team\": \"a\", \"n\": \"1\"}}");
    ids[1] = create_id("", "{\"model\": \"sprout-3m\", \"training_file\": \"" FILE_A
                           "\", \"metadata\": {\"n\": \"2\", \"team\": \"a\"}}");
    ids[0] = create_id("", MINIMAL);
    const lc_page page = {.limit = 10};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cJSON *filter = body_of(rows[i].filter);
        expect_list(answer(lc_jobs_list, "", &page, filter), ids + rows[i].first, rows[i].count,
                    false);
        cJSON_Delete(filter);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, close_jobs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_object),
        CASE(test_everything_given),
        CASE(test_accepted),
        CASE(test_refused),
        CASE(test_rank),
        CASE(test_models_and_files),
        CASE(test_continue),
        CASE(test_data_outlives_its_file),
        CASE(test_queue_limits),
        CASE(test_faults),
        CASE(test_table),
        CASE(test_verbs),
        CASE(test_reasons),
        CASE(test_checkpoints_are_pruned),
        CASE(test_checkpoints_are_newest_first),
        CASE(test_lists),
        CASE(test_metadata_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
