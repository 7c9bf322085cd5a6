/*
 * The job directory: who may open it when, what is kept over a resume, the wording of events, rows
 * and job.json, and both logs cut back to a checkpoint.
 */
#include "testing.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/hash.h"
#include "job/directory.h"

#define PATH_BYTES 700

static const char job_json[] = "{\"model\": \"models/base-3b/\", \"training_file\": \"t.jsonl\", "
                               "\"suffix\": \"demo\"}";
static lc_job_spec spec;
static lc_job_dir dir;

static int setup(void **state)
{
    (void)state;
    assert_ok(lc_job_spec_parse(job_json, sizeof job_json - 1, "job", &spec, &test_err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lc_job_spec_release(&spec);
    return 0;
}

/* A path that does not exist yet. */
static const char *fresh_path(void)
{
    static char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/a/job", test_dir());
    return path;
}

/* Not inlined: gcc 12 takes what strchr finds in the result for a pointer to the variable below. */
__attribute__((noinline)) static char *read_text(const char *parent, const char *name,
                                                 size_t *bytes)
{
    char path[PATH_BYTES + 64];
    char *text = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", parent, name);
    assert_ok(lc_file_read(path, (size_t)1 << 20, &text, bytes, &test_err));
    return text;
}

static void assert_text(const char *parent, const char *name, const char *expected)
{
    size_t bytes = 0;
    char *text = read_text(parent, name, &bytes);
    assert_string_equal(text, expected);
    lc_free(text);
}

static cJSON *read_json(const char *parent, const char *name)
{
    char path[PATH_BYTES + 64];
    cJSON *root = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", parent, name);
    assert_ok(lc_json_load(path, (size_t)1 << 20, LC_JSON_DEFAULT, &root, &test_err));
    return root;
}

static void put_file(const char *parent, const char *name)
{
    char path[PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/%s", parent, name);
    test_write_file(path, "x", 1);
}

static bool has_file(const char *parent, const char *name)
{
    char path[PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/%s", parent, name);
    return lc_path_exists(path);
}

/* ---- who may open ---- */

static void test_new_directory(void **state)
{
    (void)state;
    const char *path = fresh_path();
    struct stat status;
    char reserve[PATH_BYTES + 64];
    assert_ok(lc_job_dir_open(path, &spec, false, &dir, &test_err));
    assert_false(dir.resumed);
    assert_int_equal(strspn(dir.state.id + 6, "0123456789abcdef"), 32);
    assert_int_equal(strncmp(dir.state.id, "ftjob-", 6), 0);
    assert_int_equal(dir.state.status, LC_JOB_PENDING);
    assert_true(dir.state.drawn_seed <= LC_MAX_SEED);
    assert_memory_equal(dir.state.identity.spec_sha256, spec.sha256, 32);
    assert_true(has_file(path, "job.json") && has_file(path, "events.jsonl"));
    (void)snprintf(reserve, sizeof reserve, "%s/.reserve", path);
    assert_int_equal(stat(reserve, &status), 0);
    assert_int_equal(status.st_size, LC_JOB_RESERVE_BYTES);
    lc_job_dir_release_reserve(&dir);
    assert_false(has_file(path, ".reserve"));
    lc_job_dir_close(&dir);
}

/* Two jobs have different ids and seeds; a resumed job keeps both. */
static void test_id_is_drawn_once(void **state)
{
    (void)state;
    const char *path = fresh_path();
    assert_ok(lc_job_dir_open(path, &spec, false, &dir, &test_err));
    const lc_job_state first = dir.state;
    lc_job_dir_close(&dir);
    assert_ok(lc_job_dir_open(path, &spec, true, &dir, &test_err));
    assert_true(dir.resumed);
    assert_string_equal(dir.state.id, first.id);
    assert_int_equal(dir.state.drawn_seed, first.drawn_seed);
    assert_int_equal(dir.state.created_at, first.created_at);
    assert_true(has_file(path, ".reserve"));
    lc_job_dir_close(&dir);
    assert_ok(lc_job_dir_open(fresh_path(), &spec, false, &dir, &test_err));
    assert_string_not_equal(dir.state.id, first.id);
    lc_job_dir_close(&dir);

    spec.id = "ftjob-0123456789abcdef0123456789abcdef"; /* given */
    assert_fails(lc_job_dir_open(path, &spec, true, &dir, &test_err), LC_ERR_USAGE, spec.id);
    path = fresh_path();
    for (int resume = 0; resume < 2; resume++) {
        assert_ok(lc_job_dir_open(path, &spec, resume == 1, &dir, &test_err));
        assert_string_equal(dir.state.id, spec.id);
        lc_job_dir_close(&dir);
    }
    spec.id = NULL;
    assert_true(lc_job_id_is(first.id));
    assert_false(lc_job_id_is("ftjob-0123456789abcdef0123456789abcdeF"));
    assert_false(lc_job_id_is("ftjob-0123456789abcdef0123456789abcde"));
    assert_false(lc_job_id_is("ftjob-0123456789abcdef0123456789abcdef0"));
}

static void test_not_empty(void **state)
{
    (void)state;
    const char *path = fresh_path();
    assert_ok(lc_job_dir_open(path, &spec, false, &dir, &test_err));
    lc_job_dir_close(&dir);
    assert_fails(lc_job_dir_open(path, &spec, false, &dir, &test_err), LC_ERR_USAGE,
                 "is not empty; give another directory, or --resume");
    const char *foreign = test_dir();
    put_file(foreign, "thesis.tex");
    assert_fails(lc_job_dir_open(foreign, &spec, false, &dir, &test_err), LC_ERR_USAGE,
                 "is not empty");
    assert_fails(lc_job_dir_open(foreign, &spec, true, &dir, &test_err), LC_ERR_USAGE,
                 "has files but no job.json: it is not a job directory");
    assert_false(has_file(foreign, ".lock")); /* a wrong directory stays as it is */
    char file[PATH_BYTES + 64];
    (void)snprintf(file, sizeof file, "%s/thesis.tex", foreign);
    assert_fails(lc_job_dir_open(file, &spec, false, &dir, &test_err), LC_ERR_USAGE,
                 "is not a directory");
}

/* What a process leaves that is killed before its job.json is in place. */
static void test_debris_counts_as_empty(void **state)
{
    (void)state;
    for (int resume = 0; resume < 2; resume++) {
        const char *path = test_dir();
        put_file(path, ".lock");
        put_file(path, ".reserve");
        put_file(path, ".job.json.tmp-123");
        assert_ok(lc_job_dir_open(path, &spec, resume == 1, &dir, &test_err));
        assert_false(dir.resumed);
        lc_job_dir_close(&dir);
    }
}

static void test_resume_with_nothing_starts(void **state)
{
    (void)state;
    const char *path = fresh_path();
    assert_ok(lc_job_dir_open(path, &spec, true, &dir, &test_err));
    assert_false(dir.resumed);
    assert_true(has_file(path, "job.json"));
    lc_job_dir_close(&dir);
}

/* Held by this process or another one; free again when that one is killed. */
static void test_lock(void **state)
{
    (void)state;
    static lc_job_dir other;
    const char *path = fresh_path();
    int ready[2];
    char byte = 0;
    assert_ok(lc_job_dir_open(path, &spec, false, &dir, &test_err));
    for (int resume = 0; resume < 2; resume++) {
        assert_fails(lc_job_dir_open(path, &spec, resume == 1, &other, &test_err), LC_ERR_BUSY,
                     "is in use by another process");
    }
    lc_job_dir_close(&dir);
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        lc_err err = {.code = LC_OK};
        const lc_code code = lc_job_dir_open(path, &spec, true, &other, &err);
        (void)!write(ready[1], code == LC_OK ? "y" : "n", 1);
        for (;;) {
            (void)pause();
        }
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_fails(lc_job_dir_open(path, &spec, true, &dir, &test_err), LC_ERR_BUSY, path);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_ok(lc_job_dir_open(path, &spec, true, &dir, &test_err));
    lc_job_dir_close(&dir);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void test_changed_job_file(void **state)
{
    (void)state;
    static const char changed[] =
        "{\"model\": \"models/base-3b/\", \"training_file\": \"t.jsonl\", "
        "\"suffix\": \"demo\", \"lorac\": {\"rank\": 8}}";
    static const char respelled[] =
        "{\"suffix\": \"demo\", \"lorac\": {\"rank\": 16}, "
        "\"training_file\": \"t.jsonl\", \"model\": \"models/base-3b/\"}";
    lc_job_spec other;
    const char *path = fresh_path();
    assert_ok(lc_job_dir_open(path, &spec, false, &dir, &test_err));
    lc_job_dir_close(&dir);
    assert_ok(lc_job_spec_parse(changed, sizeof changed - 1, "job", &other, &test_err));
    assert_fails(lc_job_dir_open(path, &other, true, &dir, &test_err), LC_ERR_USAGE,
                 "lorac.rank was 16 and is 8 now");
    assert_string_equal(test_err.param, "job file");
    lc_job_spec_release(&other);
    assert_ok(lc_job_spec_parse(respelled, sizeof respelled - 1, "job", &other, &test_err));
    assert_ok(lc_job_dir_open(path, &other, true, &dir, &test_err));
    lc_job_dir_close(&dir);
    lc_job_spec_release(&other);
}

static void test_damaged_job_json(void **state)
{
    (void)state;
    static const char no_status[] = "{\"id\": \"ftjob-0123456789abcdef0123456789abcdef\"}";
    static const char bad_status[] = "{\"id\": \"ftjob-0123456789abcdef0123456789abcdef\", "
                                     "\"status\": \"dreaming\"}";
    static const char *const texts[] = {"",        "{}",      "[]", "{\"id\": \"ftjob-1\"}",
                                        no_status, bad_status};
    char path[PATH_BYTES + 64];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *parent = test_dir();
        (void)snprintf(path, sizeof path, "%s/job.json", parent);
        test_write_file(path, texts[i], strlen(texts[i]));
        assert_fails(lc_job_dir_open(parent, &spec, true, &dir, &test_err), LC_ERR_INVALID, path);
    }
}

/* A job.json with blanks behind it. */
static void test_job_json_size(void **state)
{
    (void)state;
    char path[PATH_BYTES + 64];
    const char *parent = fresh_path();
    size_t bytes = 0;
    assert_ok(lc_job_dir_open(parent, &spec, false, &dir, &test_err));
    lc_job_dir_close(&dir);
    char *text = read_text(parent, "job.json", &bytes);
    char *padded = malloc(LC_MAX_JOB_JSON_BYTES + 1);
    assert_non_null(padded);
    memset(padded, ' ', LC_MAX_JOB_JSON_BYTES + 1);
    memcpy(padded, text, bytes);
    lc_free(text);
    (void)snprintf(path, sizeof path, "%s/job.json", parent);
    test_write_file(path, padded, LC_MAX_JOB_JSON_BYTES);
    assert_ok(lc_job_dir_open(parent, &spec, true, &dir, &test_err));
    assert_true(dir.resumed);
    lc_job_dir_close(&dir);
    test_write_file(path, padded, LC_MAX_JOB_JSON_BYTES + 1);
    assert_fails(lc_job_dir_open(parent, &spec, true, &dir, &test_err), LC_ERR_INVALID,
                 "job.json is too large: 4194305 bytes");
    free(padded);
}

static void test_long_path(void **state)
{
    (void)state;
    char path[LC_MAX_PATH_BYTES + 8];
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_fails(lc_job_dir_open(path, &spec, false, &dir, &test_err), LC_ERR_USAGE, "too long");
}

/* ---- job.json ---- */

static void fill_state(lc_job_state *state)
{
    state->status = LC_JOB_RUNNING;
    state->resolved_known = true;
    const lc_job_resolved resolved = {.n_epochs = 4,
                                      .batch_size = 2,
                                      .learning_rate_multiplier = 1.5,
                                      .learning_rate = 3e-4,
                                      .seed = 9,
                                      .micro_batch_tokens = 512,
                                      .eval_every_steps = 10,
                                      .checkpoint_every_steps = 5,
                                      .max_tokens = 2048,
                                      .dtype = LC_F32,
                                      .device = LC_DEVICE_CPU,
                                      .total_steps = 20,
                                      .steps_per_epoch = 5,
                                      .warmup_steps = 1};
    state->resolved = resolved;
    memset(state->identity.base_sha256, 0x12, 32);
    memset(state->identity.training_sha256, 0xab, 32);
    memset(state->identity.init_sha256, 0xff, 32);
    state->training.example_count = 10;
    state->training.token_count = 1234;
    state->training.truncated_count = 3;
    state->training.truncated_tokens = 55;
    memset(state->training.cache_sha256, 0x77, 32);
    (void)snprintf(state->error_code, sizeof state->error_code, "disk_full");
    (void)snprintf(state->error_message, sizeof state->error_message, "no \"room\"\n");
}

static void test_state_round_trip(void **state)
{
    (void)state;
    const char *path = fresh_path();
    assert_ok(lc_job_dir_open(path, &spec, false, &dir, &test_err));
    fill_state(&dir.state);
    dir.state.trained_tokens = 123456;
    dir.state.finished_at = 1790000000;
    dir.state.estimated_finish = 1790000001;
    lc_job_derive_id(dir.state.id, "file-", "results.csv", dir.state.result_file);
    for (int status = 0; status <= LC_JOB_CANCELLED; status++) {
        const lc_job_state written = dir.state;
        dir.state.status = (lc_job_status)status;
        assert_ok(lc_job_dir_save(&dir, &spec, &test_err));
        lc_job_dir_close(&dir);
        assert_ok(lc_job_dir_open(path, &spec, true, &dir, &test_err));
        assert_int_equal(dir.state.status, status);
        assert_int_equal(dir.state.trained_tokens, 123456);
        assert_int_equal(dir.state.finished_at, 1790000000);
        assert_int_equal(dir.state.estimated_finish, 1790000001);
        assert_string_equal(dir.state.result_file, written.result_file);
        assert_string_equal(dir.state.error_code, "disk_full");
        assert_string_equal(dir.state.error_message, "no \"room\"\n");
        assert_string_equal(dir.state.error_param, "");
        assert_true(dir.state.resolved_known);
        assert_int_equal(dir.state.resolved.total_steps, 20);
        assert_memory_equal(&dir.state.identity, &written.identity, sizeof written.identity);
        assert_memory_equal(&dir.state.training, &written.training, sizeof written.training);
        assert_memory_equal(&dir.state.validation, &written.validation, sizeof written.validation);
    }
    lc_job_dir_close(&dir);
}

/* The keys of Azure's job object, in its order, and what each state shows. */
static void test_job_object(void **state)
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
                                       "lorac"};
    char name[LC_JOB_NAME_BYTES];
    const char *path = fresh_path();
    assert_ok(lc_job_dir_open(path, &spec, false, &dir, &test_err));
    cJSON *job = read_json(path, "job.json");
    const cJSON *item = job->child;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++, item = item->next) {
        assert_non_null(item);
        assert_string_equal(item->string, keys[i]);
    }
    assert_null(item);
    assert_string_equal(lc_json_get(job, "object")->valuestring, "fine_tuning.job");
    assert_string_equal(lc_json_get(job, "status")->valuestring, "pending");
    assert_int_equal(cJSON_GetArraySize(lc_json_get(job, "result_files")), 0);
    assert_int_equal(lc_json_get(lc_json_get(job, "hyperparameters"), "n_epochs")->valueint, -1);
    assert_int_equal(lc_json_get(job, "seed")->valueint, (int)dir.state.drawn_seed);
    assert_string_equal(lc_json_get(job, "suffix")->valuestring, "demo");
    static const char *const nulls[] = {"finished_at",     "fine_tuned_model", "error",
                                        "organization_id", "validation_file",  "trained_tokens",
                                        "integrations",    "metadata"};
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
        assert_null(lc_json_get(job, nulls[i]));
    }
    cJSON_Delete(job);

    fill_state(&dir.state);
    dir.state.error_code[0] = '\0';
    dir.state.status = LC_JOB_SUCCEEDED;
    assert_ok(lc_job_dir_save(&dir, &spec, &test_err));
    job = read_json(path, "job.json");
    (void)snprintf(name, sizeof name, "base-3b.ft-%s-demo", dir.state.id + 6);
    assert_string_equal(lc_json_get(job, "fine_tuned_model")->valuestring, name);
    const cJSON *method = lc_json_get(job, "method");
    assert_string_equal(lc_json_get(method, "type")->valuestring, "supervised");
    const cJSON *hyper = lc_json_get(lc_json_get(method, "supervised"), "hyperparameters");
    assert_int_equal(lc_json_get(hyper, "n_epochs")->valueint, 4);
    assert_int_equal(lc_json_get(hyper, "batch_size")->valueint, 2);
    assert_true(fabs(lc_json_get(hyper, "learning_rate_multiplier")->valuedouble - 1.5) <= 0);
    cJSON_Delete(job);
    lc_job_dir_close(&dir);
}

static void test_model_names(void **state)
{
    (void)state;
    static const struct {
        const char *model, *suffix, *expected;
    } cases[] = {{"Qwen3-32B", NULL, "Qwen3-32B.ft-"},
                 {"a/b/c", NULL, "c.ft-"},
                 {"a/b///", "x", "b.ft-"},
                 {"/", NULL, "/.ft-"},
                 {"./m", NULL, "m.ft-"}};
    char name[LC_JOB_NAME_BYTES];
    lc_job_state job = {.id = "ftjob-0123456789abcdef0123456789abcdef"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const lc_job_spec named = {.model = cases[i].model, .suffix = cases[i].suffix};
        lc_job_model_name(&job, &named, name);
        if (i != 3) { /* the root directory is nobody's model; it only must not crash */
            assert_int_equal(strncmp(name, cases[i].expected, strlen(cases[i].expected)), 0);
        }
        assert_non_null(strstr(name, ".ft-0123456789abcdef0123456789abcdef"));
        assert_true(cases[i].suffix == NULL || strcmp(name + strlen(name) - 2, "-x") == 0);
    }
}

/* ---- events and rows ---- */

typedef struct heard {
    int messages, metrics, progress;
    char id[LC_JOB_ID_BYTES], message[256];
    int64_t file_bytes; /* of events.jsonl when the callback ran */
} heard;

static void listen(void *context, const lc_event *event)
{
    heard *to = context;
    struct stat status;
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(dir.path, "events.jsonl", path, &test_err));
    assert_int_equal(stat(path, &status), 0);
    to->file_bytes = status.st_size;
    to->messages += strcmp(event->type, "message") == 0;
    to->metrics += strcmp(event->type, "metrics") == 0;
    to->progress += strcmp(event->type, "progress") == 0;
    assert_true((event->progress != NULL) == (strcmp(event->type, "progress") == 0));
    assert_true((event->metrics == NULL) == (strcmp(event->type, "message") == 0));
    if (event->progress == NULL) {
        (void)snprintf(to->id, sizeof to->id, "%s", event->id);
        (void)snprintf(to->message, sizeof to->message, "%s", event->message);
    }
}

static void expected_event_id(int64_t number, char out[LC_JOB_ID_BYTES])
{
    char text[80], hex[65];
    uint8_t digest[32];
    const int length = snprintf(text, sizeof text, "%s:%lld", dir.state.id, (long long)number);
    lc_sha256_of(text, (size_t)length, digest);
    lc_hex(digest, 32, hex);
    (void)snprintf(out, LC_JOB_ID_BYTES, "ftevent-%.32s", hex);
}

static void test_message_event(void **state)
{
    (void)state;
    heard to = {0};
    char id[LC_JOB_ID_BYTES];
    size_t bytes = 0;
    const char *path = fresh_path();
    assert_ok(lc_job_dir_open(path, &spec, false, &dir, &test_err));
    assert_ok(lc_job_event(&dir, "info", listen, &to, &test_err, "Job %s.", "started"));
    expected_event_id(0, id);
    assert_string_equal(to.id, id);
    assert_string_equal(to.message, "Job started.");
    assert_int_equal(to.file_bytes, dir.events_bytes); /* the line was there before the call */
    assert_ok(lc_job_event(&dir, "error", NULL, NULL, &test_err, "Job failed. \"%s\"\n\x01", "x"));
    assert_int_equal(dir.event_count, 2);
    char *text = read_text(path, "events.jsonl", &bytes);
    assert_int_equal(bytes, dir.events_bytes);
    char *newline = strchr(text, '\n');
    assert_non_null(newline);
    *newline = '\0';
    static const char *const keys[] = {"id", "object", "created_at", "level", "message", "type"};
    cJSON *event = cJSON_Parse(text);
    const cJSON *item = event->child;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++, item = item->next) {
        assert_string_equal(item->string, keys[i]);
    }
    assert_null(item);
    assert_string_equal(lc_json_get(event, "object")->valuestring, "fine_tuning.job.event");
    cJSON_Delete(event);
    event = cJSON_Parse(newline + 1);
    expected_event_id(1, id);
    assert_string_equal(lc_json_get(event, "id")->valuestring, id);
    assert_string_equal(lc_json_get(event, "level")->valuestring, "error");
    assert_string_equal(lc_json_get(event, "message")->valuestring, "Job failed. \"x\"\n\x01");
    cJSON_Delete(event);
    lc_free(text);
    lc_job_dir_close(&dir);
}

static lc_metrics metrics_of(int64_t step)
{
    const lc_metrics metrics = {step, 0.1 + 0.2, 0.75, NAN, NAN, NAN, NAN};
    return metrics;
}

static void test_steps(void **state)
{
    (void)state;
    heard to = {0};
    lc_metrics metrics = metrics_of(1);
    const lc_progress progress = {.step = 1, .total_steps = 4};
    size_t bytes = 0;
    const char *path = fresh_path();
    assert_ok(lc_job_dir_open(path, &spec, false, &dir, &test_err));
    assert_ok(lc_job_results_begin(&dir, &test_err));
    assert_ok(lc_job_results_begin(&dir, &test_err)); /* once only */
    assert_ok(lc_job_step(&dir, &metrics, &progress, true, listen, &to, &test_err));
    assert_string_equal(to.message, "Step 1: training loss=0.30000000000000004");
    metrics = metrics_of(2);
    metrics.valid_loss = 1e-5;
    metrics.full_valid_mean_token_accuracy = 1;
    assert_ok(lc_job_step(&dir, &metrics, &progress, true, listen, &to, &test_err));
    metrics.step = 3;
    assert_ok(lc_job_step(&dir, &metrics, &progress, false, listen, &to, &test_err));
    metrics.step = 4;
    metrics.train_loss = metrics.train_mean_token_accuracy = NAN;
    assert_ok(lc_job_step(&dir, &metrics, &progress, true, listen, &to, &test_err));
    assert_string_equal(to.message, "Step 4: loss or gradient is not finite, update skipped.");
    assert_int_equal(to.metrics, 2);
    assert_int_equal(to.messages, 1);
    assert_int_equal(to.progress, 4);
    assert_int_equal(dir.event_count, 3);
    assert_text(path, "results.csv",
                "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy,"
                "full_valid_loss,full_valid_mean_token_accuracy\n"
                "1,0.30000000000000004,0.75,,,,\n"
                "2,0.30000000000000004,0.75,1e-05,,,1\n"
                "3,0.30000000000000004,0.75,1e-05,,,1\n"
                "4,,,1e-05,,,1\n");
    char *text = read_text(path, "events.jsonl", &bytes);
    assert_non_null(strstr(text, "\"type\": \"metrics\", \"data\": {\"step\": 1, \"train_loss\": "
                                 "0.30000000000000004, \"train_mean_token_accuracy\": 0.75}}\n"));
    assert_non_null(strstr(text, "\"valid_loss\": 1e-05, \"full_valid_mean_token_accuracy\": 1}}"));
    assert_non_null(strstr(text, "\"level\": \"warn\""));
    lc_free(text);
    lc_job_dir_close(&dir);
}

/* Cut back to any moment and written again, both files are the same but for the clock. */
static void test_rewind(void **state)
{
    (void)state;
    const char *path = fresh_path();
    int64_t count[12], events[12], results[12];
    size_t bytes = 0;
    assert_ok(lc_job_dir_open(path, &spec, false, &dir, &test_err));
    assert_ok(lc_job_results_begin(&dir, &test_err));
    for (int step = 0; step < 12; step++) {
        const lc_metrics metrics = metrics_of(step + 1);
        count[step] = dir.event_count;
        events[step] = dir.events_bytes;
        results[step] = dir.results_bytes;
        assert_ok(lc_job_step(&dir, &metrics, NULL, step % 2 == 0, NULL, NULL, &test_err));
    }
    assert_ok(lc_job_dir_sync(&dir, &test_err));
    char *whole = read_text(path, "results.csv", &bytes);
    const int64_t end_events = dir.events_bytes, end_count = dir.event_count;
    for (int trial = 0; trial < 20; trial++) {
        const int from = (int)test_int(0, 11);
        if (trial % 2 == 0) { /* a torn line behind what is known */
            assert_int_equal(write(dir.events_fd, "{\"id\": \"fte", 11), 11);
            assert_int_equal(write(dir.results_fd, "13,0.", 5), 5);
        }
        assert_ok(lc_job_dir_rewind(&dir, count[from], events[from], results[from], &test_err));
        for (int step = from; step < 12; step++) {
            const lc_metrics metrics = metrics_of(step + 1);
            assert_ok(lc_job_step(&dir, &metrics, NULL, step % 2 == 0, NULL, NULL, &test_err));
        }
        assert_text(path, "results.csv", whole);
        assert_int_equal(dir.events_bytes, end_events);
        assert_int_equal(dir.event_count, end_count);
    }
    lc_free(whole);
    char *text = read_text(path, "events.jsonl", &bytes);
    assert_int_equal(bytes, end_events);
    for (int64_t number = 0; number < end_count; number++) {
        char id[LC_JOB_ID_BYTES];
        expected_event_id(number, id);
        assert_non_null(strstr(text, id));
    }
    lc_free(text);
    assert_fails(lc_job_dir_rewind(&dir, 0, end_events + 1, 0, &test_err), LC_ERR_INVALID,
                 "it was cut or replaced since");
    assert_string_equal(test_err.param, "events.jsonl");
    lc_job_dir_close(&dir);
}

static void test_metrics_text(void **state)
{
    (void)state;
    lc_text text;
    const lc_metrics metrics = {60, 0.5, 1, 0.25, 0.125, 3, 0};
    lc_text_init(&text);
    lc_job_metrics_write(&metrics, true, &text);
    assert_string_equal(text.data,
                        "{\"step\": 60.0, \"train_loss\": 0.5, \"train_mean_token_accuracy\": 1, "
                        "\"valid_loss\": 0.25, \"valid_mean_token_accuracy\": 0.125, "
                        "\"full_valid_loss\": 3, \"full_valid_mean_token_accuracy\": 0}");
    lc_text_release(&text);
}

/* ---- faults ---- */

/* Every I/O call of opening fails once: a clean error, the lock is free, the next open works. */
static void test_every_call_fails(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EIO};
    const char *parent = test_dir();
    for (size_t i = 0; i < 2; i++) {
        lc_code code = LC_ERR_IO;
        int64_t at = 1;
        for (; code != LC_OK; at++) {
            char path[PATH_BYTES];
            (void)snprintf(path, sizeof path, "%s/job-%zu-%d", parent, i, (int)at);
            lc_err_clear(&test_err);
            lc_fault_set(LC_FAULT_IO, at, errors[i], false);
            code = lc_job_dir_open(path, &spec, false, &dir, &test_err);
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            if (code == LC_OK) {
                lc_job_dir_close(&dir);
                break;
            }
            assert_int_equal(code, errors[i] == ENOSPC ? LC_ERR_DISK_FULL : LC_ERR_IO);
            assert_true(test_err.message[0] != '\0');
            assert_ok(lc_job_dir_open(path, &spec, true, &dir, &test_err));
            lc_job_dir_close(&dir);
        }
        assert_true(at > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_directory),
        cmocka_unit_test(test_id_is_drawn_once),
        cmocka_unit_test(test_not_empty),
        cmocka_unit_test(test_debris_counts_as_empty),
        cmocka_unit_test(test_resume_with_nothing_starts),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_changed_job_file),
        cmocka_unit_test(test_damaged_job_json),
        cmocka_unit_test(test_job_json_size),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_state_round_trip),
        cmocka_unit_test(test_job_object),
        cmocka_unit_test(test_model_names),
        cmocka_unit_test(test_message_event),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_metrics_text),
        cmocka_unit_test(test_every_call_fails),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
