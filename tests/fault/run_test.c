// ctest: slow
/*
 * A whole small job with every allocation and every I/O call failing in turn: no crash, no leak, a
 * clean error; and once the fault is gone, a resume ends with the bytes of an undisturbed run. By
 * default a sample of the calls, spread evenly from a random start; LORAC_FAULT_FULL=1 takes them
 * all.
 */
#include "testing.h"

#include <errno.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "lorac/log.h"
#include "lorac/lorac.h"
#include "lorac/mem.h"

#define CASE         LC_SOURCE_DIR "/tests/golden/cases/llama-default"
#define SAMPLE_COUNT 30
#define PATH_BYTES   600

static char job_file[PATH_BYTES], reference_dir[PATH_BYTES];
static int64_t reference_allocations, reference_io;

static lc_code run_job(const char *out_dir, int resume, lc_err *err)
{
    const lc_job_options options = {
        .job_file = job_file, .out_dir = out_dir, .resume = resume, .threads = 2};
    lc_job *job = NULL;
    lc_code code = lc_job_open(&options, &job, err);
    if (code == LC_OK) {
        code = lc_job_run(job, NULL, NULL, err);
    }
    lc_job_close(job);
    return code;
}

static void write_job(const char *dir)
{
    static const char text[] =
        "{\"model\": \"" CASE "/model\", \"training_file\": \"" CASE "/data.safetensors\", "
        "\"validation_file\": \"" CASE "/data.safetensors\", \"seed\": 7, "
        "\"method\": {\"type\": \"supervised\", \"supervised\": {\"hyperparameters\": "
        "{\"n_epochs\": 2, \"batch_size\": 2}}}, "
        "\"lorac\": {\"rank\": 2, \"alpha\": 4, \"eval_every_steps\": 2, "
        "\"checkpoint_every_steps\": 1, "
        "\"keep_checkpoints\": 1}}";
    (void)snprintf(job_file, sizeof job_file, "%s/job.json", dir);
    test_write_file(job_file, text, sizeof text - 1);
}

/* Two undisturbed runs, and how many calls one makes. */
static int setup(void **state)
{
    (void)state;
    const char *dir = test_dir();
    lc_log_set_level(LC_LOG_ERROR);
    write_job(dir);
    (void)snprintf(reference_dir, sizeof reference_dir, "%s/counted", dir);
    lc_fault_set(LC_FAULT_ALLOC, INT64_MAX, ENOMEM, false);
    assert_ok(run_job(reference_dir, 0, &test_err));
    reference_allocations = lc_fault_count(LC_FAULT_ALLOC);
    (void)snprintf(reference_dir, sizeof reference_dir, "%s/reference", dir);
    lc_fault_set(LC_FAULT_IO, INT64_MAX, EIO, false);
    assert_ok(run_job(reference_dir, 0, &test_err));
    reference_io = lc_fault_count(LC_FAULT_IO);
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    print_message("%lld allocations, %lld I/O calls\n", (long long)reference_allocations,
                  (long long)reference_io);
    assert_true(reference_allocations > 100 && reference_io > 100);
    return 0;
}

static void assert_same_file(const char *dir, const char *name)
{
    char path[2][PATH_BYTES * 2];
    char *data[2] = {NULL, NULL};
    size_t bytes[2] = {0, 0};
    (void)snprintf(path[0], sizeof path[0], "%s/%s", reference_dir, name);
    (void)snprintf(path[1], sizeof path[1], "%s/%s", dir, name);
    for (int i = 0; i < 2; i++) {
        assert_ok(lc_file_read(path[i], (size_t)64 << 20, &data[i], &bytes[i], &test_err));
    }
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(data[0], data[1], bytes[0]);
    lc_free(data[0]);
    lc_free(data[1]);
}

/* status and error code of job.json; empty without one. */
static void read_status(const char *dir, char status[32], char error_code[32])
{
    char path[PATH_BYTES * 2];
    cJSON *job = NULL;
    const char *text = "";
    const cJSON *error = NULL;
    status[0] = error_code[0] = '\0';
    (void)snprintf(path, sizeof path, "%s/job.json", dir);
    if (!lc_path_exists(path)) {
        return;
    }
    assert_ok(lc_json_load(path, (size_t)4 << 20, 0, &job, &test_err));
    assert_ok(lc_json_string(job, "status", true, &text, &test_err));
    (void)snprintf(status, 32, "%s", text);
    assert_ok(lc_json_object(job, "error", false, &error, &test_err));
    if (error != NULL) {
        assert_ok(lc_json_string(error, "code", true, &text, &test_err));
        (void)snprintf(error_code, 32, "%s", text);
    }
    cJSON_Delete(job);
}

static void assert_same_result(const char *dir)
{
    static const char *const files[] = {
        "adapter/adapter_model.safetensors", "adapter/adapter_config.json",
        "checkpoints/epoch-2/adapter_model.safetensors", "results.csv"};
    char status[32], error_code[32];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_same_file(dir, files[i]);
    }
    read_status(dir, status, error_code);
    assert_string_equal(status, "succeeded");
    assert_string_equal(error_code, "");
}

/* What a run with a fault may leave: a message, and on a full disk a paused job that says so. */
static void assert_clean_failure(const char *dir, lc_code code, const lc_err *err, int error,
                                 bool sticky)
{
    char status[32], error_code[32];
    assert_int_equal(err->code, code);
    assert_true(err->message[0] != '\0');
    if (error != ENOSPC) {
        return;
    }
    assert_int_equal(code, LC_ERR_DISK_FULL);
    read_status(dir, status, error_code);
    if (!sticky && strcmp(status, "paused") == 0) {
        assert_string_equal(error_code, "disk_full");
    }
}

/* Number `at` of `kind` fails with `error`; then a resume without faults. */
static void trial(lc_fault_kind kind, int64_t at, int error, bool sticky)
{
    char dir[PATH_BYTES + 64];
    lc_err err = {.code = LC_OK}, again = {.code = LC_OK};
    (void)snprintf(dir, sizeof dir, "%s-%d-%lld-%d-%d", reference_dir, (int)kind, (long long)at,
                   error, sticky);
    lc_fault_set(kind, at, error, sticky);
    const lc_code code = run_job(dir, 0, &err);
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    if (code != LC_OK) {
        assert_clean_failure(dir, code, &err, error, sticky);
        if (run_job(dir, 1, &again) != LC_OK) {
            fail_msg("fault %d at %lld gave \"%s\"; the resume gave \"%s\"", (int)kind,
                     (long long)at, err.message, again.message);
        }
    }
    assert_same_result(dir);
    assert_ok(lc_remove_tree(dir, &test_err));
}

static void walk(lc_fault_kind kind, int64_t count, int error, bool sticky)
{
    const bool full = getenv("LORAC_FAULT_FULL") != NULL;
    const int64_t stride = full || count <= SAMPLE_COUNT ? 1 : count / SAMPLE_COUNT;
    int64_t trials = 0;
    for (int64_t at = full ? 1 : test_int(1, stride); at <= count; at += stride, trials++) {
        trial(kind, at, error, sticky);
    }
    print_message("%lld trials of %lld calls\n", (long long)trials, (long long)count);
}

static void allocations_fail(void **state)
{
    (void)state;
    walk(LC_FAULT_ALLOC, reference_allocations, ENOMEM, false);
}

static void disk_is_full_once(void **state)
{
    (void)state;
    walk(LC_FAULT_IO, reference_io, ENOSPC, false);
}

static void disk_stays_full(void **state)
{
    (void)state;
    walk(LC_FAULT_IO, reference_io, ENOSPC, true);
}

static void io_errors(void **state)
{
    (void)state;
    walk(LC_FAULT_IO, reference_io, EIO, false);
}

static void short_writes(void **state)
{
    (void)state;
    walk(LC_FAULT_IO, reference_io, -1, false);
}

/* What a caller of the public API may get wrong. */
static void refused_calls(void **state)
{
    (void)state;
    char out[LC_MAX_PATH_BYTES];
    lc_job *job = NULL;
    lc_job_options options = {.job_file = job_file};
    assert_fails(lc_job_open(NULL, &job, &test_err), LC_ERR_USAGE, "options is NULL");
    assert_fails(lc_job_open(&options, &job, &test_err), LC_ERR_USAGE, "out_dir is NULL");
    options.job_file = NULL;
    assert_fails(lc_job_open(&options, &job, &test_err), LC_ERR_USAGE, "job_file is NULL");
    assert_null(job);
    (void)snprintf(out, sizeof out, "%s/twice", test_dir());
    options = (lc_job_options){.job_file = job_file, .out_dir = out, .threads = 1};
    assert_ok(lc_job_open(&options, &job, &test_err));
    lc_job_stop(job);
    assert_fails(lc_job_run(job, NULL, NULL, &test_err), LC_ERR_INTERRUPTED, "stopped");
    assert_fails(lc_job_run(job, NULL, NULL, &test_err), LC_ERR_USAGE, "open it again");
    lc_job_close(job);
    assert_ok(run_job(out, 1, &test_err));
}

/* Stopped within an epoch: the adapter of the last step is in paused/ until the run goes on. */
static void stop_at_step(void *context, const lc_event *event)
{
    if (event->progress != NULL && event->progress->step == 1) {
        lc_job_stop(*(lc_job **)context);
    }
}

static void stopped_run_keeps_adapter(void **state)
{
    (void)state;
    char out[LC_MAX_PATH_BYTES], path[LC_MAX_PATH_BYTES * 2];
    lc_job *job = NULL;
    cJSON *checkpoint = NULL;
    const char *text = NULL;
    int64_t step = 0;
    (void)snprintf(out, sizeof out, "%s/stopped", test_dir());
    lc_job_options options = {.job_file = job_file, .out_dir = out, .id = "ftjob-1", .threads = 1};
    assert_fails(lc_job_open(&options, &job, &test_err), LC_ERR_USAGE, "32 hex digits");
    options.id = "ftjob-0123456789abcdef0123456789abcdef";
    assert_ok(lc_job_open(&options, &job, &test_err));
    assert_fails(lc_job_run(job, stop_at_step, &job, &test_err), LC_ERR_INTERRUPTED, "step 1 of");
    lc_job_close(job);
    (void)snprintf(path, sizeof path, "%s/paused/adapter_model.safetensors", out);
    assert_true(lc_path_exists(path));
    (void)snprintf(path, sizeof path, "%s/paused/checkpoint.json", out);
    assert_ok(lc_json_load(path, 1 << 16, 0, &checkpoint, &test_err));
    assert_ok(lc_json_int(checkpoint, "step_number", true, 0, 9, &step, &test_err));
    assert_int_equal(step, 1);
    assert_ok(lc_json_string(checkpoint, "fine_tuned_model_checkpoint", true, &text, &test_err));
    assert_string_equal(text, "model.ft-0123456789abcdef0123456789abcdef:ckpt-step-1");
    assert_non_null(lc_json_get(lc_json_get(checkpoint, "metrics"), "train_loss"));
    cJSON_Delete(checkpoint);
    assert_ok(run_job(out, 1, &test_err));
    assert_same_result(out);
    (void)snprintf(path, sizeof path, "%s/paused", out);
    assert_false(lc_path_exists(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_fail),
        cmocka_unit_test(disk_is_full_once),
        cmocka_unit_test(disk_stays_full),
        cmocka_unit_test(io_errors),
        cmocka_unit_test(short_writes),
        cmocka_unit_test(refused_calls),
        cmocka_unit_test(stopped_run_keeps_adapter),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
