/*
 * Checkpoints on disk: what comes back, which one is taken, what damage is noticed, and that a
 * crash or a full disk at any I/O call leaves a whole one. Kills happen in a child process.
 */
#include "testing.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "lorac/log.h"
#include "lorac/mem.h"
#include "train/checkpoint.h"

#define PATH_BYTES 700
#define COUNT      1037 /* adapter values */

static const char config_json[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 24, \"num_hidden_layers\": 2, "
    "\"num_attention_heads\": 3, \"num_key_value_heads\": 1, \"intermediate_size\": 40, "
    "\"vocab_size\": 259, \"rms_norm_eps\": 1e-6, \"max_position_embeddings\": 64, "
    "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\", \"tie_word_embeddings\": true}";

/* A state with buffers of its own. */
typedef struct own_state {
    lc_train_state state;
    float master[COUNT], m[COUNT], v[COUNT];
} own_state;

static own_state first, second, loaded;
static lc_train_identity identity;
static lc_model_config config;
static lc_adapter_spec spec;
static float *master;

static void fill(own_state *to, int64_t step)
{
    memset(to, 0, sizeof *to);
    test_fill(to->master, COUNT, -1, 1);
    test_fill(to->m, COUNT, -1e-3, 1e-3);
    test_fill(to->v, COUNT, 0, 1e-6);
    const lc_train_state state = {.step = step,
                                  .updates = step - 1,
                                  .trained_tokens = step * 1000 + 7,
                                  .nonfinite_steps = 3,
                                  .nonfinite_in_a_row = 2,
                                  .train_loss = step == 3 ? (double)NAN : test_uniform(0, 20),
                                  .train_accuracy = test_uniform(0, 1),
                                  .event_count = step + 6,
                                  .events_bytes = step * 200,
                                  .results_bytes = step * 30,
                                  .master = to->master,
                                  .m = to->m,
                                  .v = to->v,
                                  .count = COUNT};
    to->state = state;
}

static void clear(own_state *to)
{
    memset(to, 0xa5, sizeof *to);
    memset(&to->state, 0, sizeof to->state);
    to->state.master = to->master;
    to->state.m = to->m;
    to->state.v = to->v;
    to->state.count = COUNT;
}

/* Bit for bit, or both unknown. */
static bool is_same_double(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static bool is_same(const own_state *a, const own_state *b)
{
    return a->state.step == b->state.step && a->state.updates == b->state.updates &&
           a->state.trained_tokens == b->state.trained_tokens &&
           a->state.nonfinite_steps == b->state.nonfinite_steps &&
           a->state.nonfinite_in_a_row == b->state.nonfinite_in_a_row &&
           a->state.is_open == b->state.is_open &&
           is_same_double(a->state.train_loss, b->state.train_loss) &&
           is_same_double(a->state.train_accuracy, b->state.train_accuracy) &&
           a->state.event_count == b->state.event_count &&
           a->state.events_bytes == b->state.events_bytes &&
           a->state.results_bytes == b->state.results_bytes &&
           memcmp(a->master, b->master, sizeof a->master) == 0 &&
           memcmp(a->m, b->m, sizeof a->m) == 0 && memcmp(a->v, b->v, sizeof a->v) == 0;
}

/* Loads into `loaded`; returns the step, -1 for none. */
static int64_t load(const char *job)
{
    bool found = false;
    clear(&loaded);
    assert_ok(lc_checkpoint_load(job, &identity, &loaded.state, &found, &test_err));
    return found ? loaded.state.step : -1;
}

static void path_in(const char *dir, const char *name, char out[PATH_BYTES])
{
    assert_true(snprintf(out, PATH_BYTES, "%s/%s", dir, name) < PATH_BYTES);
}

/* Names in a directory as one text, "a b c"; empty when it is not there. */
static void names_in(const char *job, const char *folder, char out[512])
{
    char path[PATH_BYTES];
    char **names = NULL;
    size_t count = 0, used = 0;
    out[0] = '\0';
    path_in(job, folder, path);
    if (!lc_path_exists(path)) {
        return;
    }
    assert_ok(lc_list_dir(path, &names, &count, &test_err));
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(out + used, 512 - used, "%s%s", i > 0 ? " " : "", names[i]);
        assert_true(used < 512);
    }
    lc_list_free(names, count);
}

static void assert_names(const char *job, const char *folder, const char *expected)
{
    char names[512];
    names_in(job, folder, names);
    assert_string_equal(names, expected);
}

/* A job directory with a checkpoint of step 3 (`first`) and one of step 7 (`second`). */
static const char *job_with_two(void)
{
    const char *job = test_dir(), *other = test_dir();
    char from[PATH_BYTES], to[PATH_BYTES];
    assert_ok(lc_checkpoint_save(other, &first.state, &identity, &test_err));
    assert_ok(lc_checkpoint_save(job, &second.state, &identity, &test_err));
    path_in(other, "resume/step-3", from);
    path_in(job, "resume/step-3", to);
    assert_int_equal(rename(from, to), 0);
    return job;
}

/* ---- saving and loading ---- */

static void test_round_trip(void **state)
{
    (void)state;
    const char *job = test_dir();
    assert_int_equal(load(job), -1);
    assert_ok(lc_checkpoint_save(job, &first.state, &identity, &test_err));
    assert_names(job, "resume", "step-3");
    assert_names(job, "resume/step-3", "MANIFEST.json state.safetensors");
    assert_int_equal(load(job), 3);
    assert_true(is_same(&loaded, &first));
    assert_ok(lc_checkpoint_save(job, &second.state, &identity, &test_err));
    assert_names(job, "resume", "step-7");
    assert_int_equal(load(job), 7);
    assert_true(is_same(&loaded, &second));
}

static void test_counters_only(void **state)
{
    (void)state;
    const char *job = job_with_two();
    lc_train_state counters = {.step = 0};
    bool found = false;
    assert_ok(lc_checkpoint_load(job, &identity, &counters, &found, &test_err));
    assert_true(found);
    assert_int_equal(counters.step, 7);
    assert_int_equal(counters.events_bytes, second.state.events_bytes);
    assert_int_equal(counters.event_count, second.state.event_count);
    assert_null(counters.master);
}

/* The same step again is left alone; with other log lengths, or damaged, it is written anew. */
static void test_same_step(void **state)
{
    (void)state;
    const char *job = test_dir();
    char path[PATH_BYTES];
    struct stat before, after;
    path_in(job, "resume/step-3/state.safetensors", path);
    assert_ok(lc_checkpoint_save(job, &first.state, &identity, &test_err));
    assert_int_equal(stat(path, &before), 0);
    assert_ok(lc_checkpoint_save(job, &first.state, &identity, &test_err));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    lc_train_state longer = first.state;
    longer.events_bytes += 1;
    assert_ok(lc_checkpoint_save(job, &longer, &identity, &test_err));
    assert_int_equal(load(job), 3);
    assert_int_equal(loaded.state.events_bytes, first.state.events_bytes + 1);
    assert_int_equal(truncate(path, 100), 0);
    assert_ok(lc_checkpoint_save(job, &first.state, &identity, &test_err));
    assert_int_equal(load(job), 3);
    assert_true(is_same(&loaded, &first));
}

/* A step whose evaluation was given up is kept beside the older one; its row makes it whole. */
static void test_open_step(void **state)
{
    (void)state;
    const char *job = test_dir();
    lc_train_state open = second.state;
    open.is_open = 1;
    open.event_count = first.state.event_count;
    open.events_bytes = first.state.events_bytes;
    open.results_bytes = first.state.results_bytes;
    assert_ok(lc_checkpoint_save(job, &first.state, &identity, &test_err));
    for (int i = 0; i < 2; i++) { /* stopped once more in the same evaluation */
        assert_ok(lc_checkpoint_save(job, &open, &identity, &test_err));
        assert_names(job, "resume", "step-3 step-7");
        assert_int_equal(load(job), 7);
        assert_int_equal(loaded.state.is_open, 1);
        assert_int_equal(loaded.state.events_bytes, first.state.events_bytes);
    }
    assert_ok(lc_checkpoint_save(job, &second.state, &identity, &test_err));
    assert_names(job, "resume", "step-7");
    assert_int_equal(load(job), 7);
    assert_true(is_same(&loaded, &second));
}

static void test_debris(void **state)
{
    (void)state;
    static const char *const debris[] = {"resume/.tmp-step-9", "resume/.trash-step-1",
                                         "checkpoints/.tmp-epoch-2", ".tmp-adapter"};
    static const char *const kept[] = {"resume/notes", "resume/step-x", "resume/step-",
                                       "resume/step-8a", "checkpoints/mine"};
    const char *job = job_with_two();
    char path[PATH_BYTES];
    path_in(job, "checkpoints", path);
    assert_int_equal(mkdir(path, 0777), 0);
    for (size_t i = 0; i < sizeof debris / sizeof debris[0]; i++) {
        path_in(job, debris[i], path);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        path_in(job, kept[i], path);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    assert_int_equal(load(job), 7);
    assert_names(job, "resume", "notes step- step-3 step-7 step-8a step-x");
    assert_names(job, "checkpoints", "mine");
    assert_names(job, "", "checkpoints resume");
}

/* ---- which one is taken ---- */

static void damage_byte(const char *path, int64_t offset)
{
    uint8_t byte;
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_equal(fread(&byte, 1, 1, file), 1);
    byte = (uint8_t)(byte ^ (1u << test_int(0, 7)));
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_equal(fwrite(&byte, 1, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

static int64_t size_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_size;
}

/* Any flipped bit and any cut is noticed, and the older checkpoint is taken. */
static void test_damage(void **state)
{
    (void)state;
    static const char *const files[] = {"resume/step-7/MANIFEST.json",
                                        "resume/step-7/state.safetensors"};
    const char *job = job_with_two();
    char path[PATH_BYTES];
    for (int trial = 0; trial < 120; trial++) {
        char *kept = NULL;
        size_t bytes = 0;
        path_in(job, files[trial % 2], path);
        assert_ok(lc_file_read(path, (size_t)1 << 20, &kept, &bytes, &test_err));
        if (trial % 3 == 2) {
            assert_int_equal(truncate(path, test_int(0, size_of(path) - 1)), 0);
        } else {
            damage_byte(path, test_int(0, size_of(path) - 1));
        }
        assert_int_equal(load(job), 3);
        assert_true(is_same(&loaded, &first));
        test_write_file(path, kept, bytes);
        lc_free(kept);
    }
    assert_int_equal(load(job), 7);
    for (int i = 0; i < 2; i++) {
        job = job_with_two();
        path_in(job, files[i], path);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(load(job), 3);
    }
}

/* A manifest of `bytes` bytes: blanks behind its first brace, and the hash made good again. */
static void pad_manifest(const char *path, size_t bytes)
{
    const size_t tail = strlen("\"\n}\n"), key = strlen("  \"manifest_sha256\": \"");
    uint8_t digest[32];
    char hex[65], *text = NULL;
    size_t length = 0;
    assert_ok(lc_file_read(path, LC_MAX_MANIFEST, &text, &length, &test_err));
    char *padded = malloc(bytes);
    assert_non_null(padded);
    memset(padded, ' ', bytes);
    padded[0] = '{';
    memcpy(padded + 1 + bytes - length, text + 1, length - 1);
    lc_sha256_of(padded, bytes - tail - 64 - key, digest);
    lc_hex(digest, sizeof digest, hex);
    memcpy(padded + bytes - tail - 64, hex, 64);
    test_write_file(path, padded, bytes);
    free(padded);
    lc_free(text);
}

static void test_manifest_size(void **state)
{
    (void)state;
    const char *job = job_with_two();
    char path[PATH_BYTES], log[PATH_BYTES], *text = NULL;
    size_t bytes = 0;
    path_in(job, "resume/step-7/MANIFEST.json", path);
    path_in(job, "log.txt", log);
    pad_manifest(path, LC_MAX_MANIFEST);
    assert_int_equal(load(job), 7);
    pad_manifest(path, LC_MAX_MANIFEST + 1);
    assert_ok(lc_log_open_file(log, &test_err));
    assert_int_equal(load(job), 3);
    lc_log_close_file();
    assert_ok(lc_file_read(log, 1 << 20, &text, &bytes, &test_err));
    assert_non_null(strstr(text, "MANIFEST.json is too large: 65537 bytes"));
    lc_free(text);
}

/* The bytes of another checkpoint under this one's manifest, and the other way round. */
static void test_mixed_files(void **state)
{
    (void)state;
    static const char *const names[] = {"MANIFEST.json", "state.safetensors"};
    for (int i = 0; i < 2; i++) {
        const char *job = job_with_two();
        char from[PATH_BYTES], to[PATH_BYTES], name[64];
        (void)snprintf(name, sizeof name, "resume/step-3/%s", names[i]);
        path_in(job, name, from);
        (void)snprintf(name, sizeof name, "resume/step-7/%s", names[i]);
        path_in(job, name, to);
        assert_int_equal(rename(from, to), 0);
        assert_int_equal(load(job), -1);
    }
}

/* A checkpoint of an adapter with other shapes is not usable. */
static void test_other_count(void **state)
{
    (void)state;
    const char *job = job_with_two();
    bool found = true;
    clear(&loaded);
    loaded.state.count = COUNT - 1;
    assert_ok(lc_checkpoint_load(job, &identity, &loaded.state, &found, &test_err));
    assert_false(found);
}

static void test_identity(void **state)
{
    (void)state;
    static const char *const what[] = {"the job file", "the base model", "the training file",
                                       "the validation file", "the initial adapter"};
    const char *job = job_with_two();
    for (size_t i = 0; i < sizeof what / sizeof what[0]; i++) {
        lc_train_identity changed = identity;
        uint8_t *parts[] = {changed.spec_sha256, changed.base_sha256, changed.training_sha256,
                            changed.validation_sha256, changed.init_sha256};
        bool found = false;
        parts[i][test_int(0, 31)] ^= 1;
        clear(&loaded);
        assert_fails(lc_checkpoint_load(job, &changed, &loaded.state, &found, &test_err),
                     LC_ERR_USAGE, "has changed since this job was started");
        assert_int_equal(strncmp(test_err.message, what[i], strlen(what[i])), 0);
        assert_string_equal(test_err.param, what[i]);
        assert_false(found);
    }
    assert_ok(lc_train_identity_compare(&identity, &identity, &test_err));
}

static void test_not_finite(void **state)
{
    (void)state;
    const char *job = test_dir();
    assert_ok(lc_checkpoint_save(job, &first.state, &identity, &test_err));
    float *buffers[] = {second.master, second.m, second.v};
    static const char *const names[] = {"master", "m", "v"};
    const float values[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 9; i++) {
        float *at = &buffers[i % 3][test_int(0, COUNT - 1)];
        const float kept = *at;
        *at = values[i / 3];
        assert_fails(lc_checkpoint_save(job, &second.state, &identity, &test_err), LC_ERR_NUMERIC,
                     names[i % 3]);
        *at = kept;
    }
    assert_names(job, "resume", "step-3");
    assert_int_equal(load(job), 3);
}

/* ---- crashes and faults ---- */

/* Runs save(job) in a child that is killed at I/O call `at`; true when it was killed. */
static bool killed_at(int64_t at, lc_code (*save)(const char *job, lc_err *err), const char *job)
{
    int status = 0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        lc_err err = {.code = LC_OK};
        lc_fault_set(LC_FAULT_KILL, at, 0, false);
        _exit(save(job, &err) == LC_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    return WIFSIGNALED(status);
}

static lc_code save_second(const char *job, lc_err *err)
{
    return lc_checkpoint_save(job, &second.state, &identity, err);
}

/* Killed at any call: the older or the newer checkpoint, whole; and the next save ends as if
 * nothing had been. */
static void test_kill_anywhere(void **state)
{
    (void)state;
    int older = 0, newer = 0;
    bool was_killed = true;
    for (int64_t at = 1; was_killed; at++) {
        char path[PATH_BYTES];
        const char *job = at == 1 ? test_dir() : NULL;
        static char job_path[PATH_BYTES];
        if (job != NULL) {
            (void)snprintf(job_path, sizeof job_path, "%s", job);
        }
        path_in(job_path, "resume", path);
        assert_ok(lc_remove_tree(path, &test_err));
        assert_ok(lc_checkpoint_save(job_path, &first.state, &identity, &test_err));
        was_killed = killed_at(at, save_second, job_path);
        const int64_t step = load(job_path);
        assert_true(step == 3 || step == 7);
        assert_true(is_same(&loaded, step == 3 ? &first : &second));
        older += step == 3;
        newer += step == 7;
        assert_ok(lc_checkpoint_save(job_path, &second.state, &identity, &test_err));
        assert_names(job_path, "resume", "step-7");
    }
    print_message("killed at %d calls: %d times the older one was left, %d times the newer\n",
                  older + newer - 1, older, newer);
    assert_true(older > 8 && newer > 2);
}

/* The same for a call that fails: the error says so, and the older checkpoint is there unless the
 * new one is. */
static void test_every_call_fails(void **state)
{
    (void)state;
    static const int errors[] = {ENOSPC, EIO, -1};
    const char *job = test_dir();
    char path[PATH_BYTES];
    path_in(job, "resume", path);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        lc_code code = LC_ERR_IO;
        for (int64_t at = 1;; at++) {
            assert_ok(lc_remove_tree(path, &test_err));
            assert_ok(lc_checkpoint_save(job, &first.state, &identity, &test_err));
            lc_err_clear(&test_err);
            lc_fault_set(LC_FAULT_IO, at, errors[i], at % 2 == 0 && errors[i] > 0);
            code = save_second(job, &test_err);
            const bool is_done = lc_fault_count(LC_FAULT_IO) < at;
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            if (is_done) {
                assert_int_equal(code, LC_OK);
                assert_true(at > 15);
                break;
            }
            if (code != LC_OK) {
                assert_int_equal(code, errors[i] == ENOSPC ? LC_ERR_DISK_FULL : LC_ERR_IO);
                assert_true(errors[i] != -1); /* a short write is no failure */
            }
            const int64_t step = load(job);
            assert_true(step == 7 || (step == 3 && code != LC_OK));
            assert_true(is_same(&loaded, step == 3 ? &first : &second));
        }
    }
}

/* A read that fails is no reason to take an older state: the load fails and works next time. */
static void test_load_fails(void **state)
{
    (void)state;
    const char *job = job_with_two();
    int failed = 0;
    for (int64_t at = 1;; at++) {
        bool found = false;
        clear(&loaded);
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_IO, at, EIO, false);
        const lc_code code = lc_checkpoint_load(job, &identity, &loaded.state, &found, &test_err);
        const bool is_done = lc_fault_count(LC_FAULT_IO) < at;
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        failed += code == LC_ERR_IO;
        assert_true(code == LC_ERR_IO || (code == LC_OK && found && loaded.state.step == 7));
        if (is_done) {
            break;
        }
    }
    assert_true(failed > 5);
    for (int64_t at = 1;; at++) {
        bool found = false;
        clear(&loaded);
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, at, ENOMEM, false);
        const lc_code code = lc_checkpoint_load(job, &identity, &loaded.state, &found, &test_err);
        const bool is_done = lc_fault_count(LC_FAULT_ALLOC) < at;
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        assert_true(code == LC_ERR_MEMORY || (code == LC_OK && found && loaded.state.step == 7));
        if (is_done) {
            break;
        }
    }
}

/* ---- adapters ---- */

static const lc_adapter_meta meta = {.base_model = "base", .dropout = 0.0};

static lc_code save_epoch(const char *job, int64_t epoch, int64_t keep, lc_err *err)
{
    char text[64];
    (void)snprintf(text, sizeof text, "{\"step_number\": %lld}\n", (long long)epoch * 10);
    return lc_checkpoint_save_epoch(job, epoch, keep, text, &spec, &config, master, &meta, err);
}

static void assert_adapter(const char *job, const char *name)
{
    static lc_adapter_spec read_spec;
    char path[PATH_BYTES];
    path_in(job, name, path);
    assert_ok(lc_adapter_spec_load(path, &config, &read_spec, &test_err));
    assert_int_equal(read_spec.master_count, spec.master_count);
    float *values = lc_calloc((size_t)spec.master_count, sizeof *values);
    assert_non_null(values);
    assert_ok(lc_adapter_load(path, &read_spec, &config, values, &test_err));
    assert_memory_equal(values, master, (size_t)spec.master_count * sizeof *values);
    lc_free(values);
}

static void test_epochs(void **state)
{
    (void)state;
    const char *job = test_dir();
    char *text = NULL;
    size_t bytes = 0;
    char path[PATH_BYTES];
    static const char *const after[] = {"epoch-1", "epoch-1 epoch-2", "epoch-1 epoch-2 epoch-3",
                                        "epoch-2 epoch-3 epoch-4", "epoch-3 epoch-4 epoch-5"};
    for (int64_t epoch = 1; epoch <= 5; epoch++) {
        assert_ok(save_epoch(job, epoch, 3, &test_err));
        assert_names(job, "checkpoints", after[epoch - 1]);
    }
    assert_names(job, "checkpoints/epoch-5",
                 "adapter_config.json adapter_model.safetensors checkpoint.json");
    assert_adapter(job, "checkpoints/epoch-3");
    path_in(job, "checkpoints/epoch-4/checkpoint.json", path);
    assert_ok(lc_file_read(path, 1024, &text, &bytes, &test_err));
    assert_string_equal(text, "{\"step_number\": 40}\n");
    lc_free(text);
    assert_ok(save_epoch(job, 4, 3, &test_err)); /* replaced, nothing else changes */
    assert_names(job, "checkpoints", "epoch-3 epoch-4 epoch-5");
    assert_ok(lc_checkpoint_drop_epochs(job, 4, &test_err));
    assert_names(job, "checkpoints", "epoch-3 epoch-4");
    assert_ok(lc_checkpoint_drop_epochs(job, 0, &test_err));
    assert_names(job, "checkpoints", "");
    assert_ok(lc_checkpoint_drop_epochs(test_dir(), 0, &test_err));
    for (int64_t epoch = 8; epoch <= 11; epoch++) { /* by number, not by name */
        assert_ok(save_epoch(job, epoch, 2, &test_err));
    }
    assert_names(job, "checkpoints", "epoch-10 epoch-11");
    assert_ok(save_epoch(job, 12, 1, &test_err));
    assert_names(job, "checkpoints", "epoch-12");
}

static void test_final(void **state)
{
    (void)state;
    const char *job = test_dir();
    for (int i = 0; i < 2; i++) {
        assert_ok(lc_checkpoint_save_final(job, &spec, &config, master, &meta, &test_err));
        assert_names(job, "", "adapter");
        assert_names(job, "adapter", "adapter_config.json adapter_model.safetensors");
        assert_adapter(job, "adapter");
    }
    const float kept = master[spec.slots[0][0].a_offset];
    master[spec.slots[0][0].a_offset] = NAN;
    assert_fails(lc_checkpoint_save_final(job, &spec, &config, master, &meta, &test_err),
                 LC_ERR_NUMERIC, "is not finite");
    master[spec.slots[0][0].a_offset] = kept;
    assert_adapter(job, "adapter");
}

static lc_code save_epoch_2(const char *job, lc_err *err)
{
    return save_epoch(job, 2, 1, err);
}

static lc_code save_final(const char *job, lc_err *err)
{
    return lc_checkpoint_save_final(job, &spec, &config, master, &meta, err);
}

/* Killed at any call: what stands under its name is whole, the rest is debris that goes. */
static void test_kill_adapters(void **state)
{
    (void)state;
    static const struct {
        lc_code (*save)(const char *job, lc_err *err);
        const char *name;
    } cases[] = {{save_epoch_2, "checkpoints/epoch-2"}, {save_final, "adapter"}};
    for (size_t i = 0; i < 2; i++) {
        const char *job = test_dir();
        char path[PATH_BYTES];
        bool was_killed = true;
        int killed = -1;
        for (int64_t at = 1; was_killed; at++, killed++) {
            path_in(job, "checkpoints", path);
            assert_ok(lc_remove_tree(path, &test_err));
            path_in(job, "adapter", path);
            assert_ok(lc_remove_tree(path, &test_err));
            assert_ok(save_epoch(job, 1, 1, &test_err));
            was_killed = killed_at(at, cases[i].save, job);
            assert_int_equal(load(job), -1); /* clears debris */
            path_in(job, cases[i].name, path);
            if (lc_path_exists(path)) {
                assert_adapter(job, cases[i].name);
            } else {
                assert_adapter(job, "checkpoints/epoch-1");
            }
            assert_ok(cases[i].save(job, &test_err));
            assert_adapter(job, cases[i].name);
        }
        assert_true(killed > 15);
        assert_names(job, "checkpoints", i == 0 ? "epoch-2" : "epoch-1");
    }
}

static int setup(void **state)
{
    (void)state;
    const lc_lora_options options = {.rank = 5, .alpha = 7, .all_linear = true};
    void *memory = NULL;
    (void)test_seed();
    lc_log_set_level(LC_LOG_ERROR);
    fill(&first, 3);
    fill(&second, 7);
    memset(identity.spec_sha256, 1, 32);
    memset(identity.base_sha256, 2, 32);
    memset(identity.training_sha256, 3, 32);
    assert_ok(lc_model_config_parse(config_json, sizeof config_json - 1, "config.json", &config,
                                    &test_err));
    assert_ok(lc_adapter_spec_build(&config, &options, &spec, &test_err));
    assert_ok(lc_new(&memory, (size_t)spec.master_count, sizeof(float), "masters", &test_err));
    master = memory;
    lc_adapter_init(&spec, &config, 5, master);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lc_free(master);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),       cmocka_unit_test(test_counters_only),
        cmocka_unit_test(test_same_step),        cmocka_unit_test(test_open_step),
        cmocka_unit_test(test_debris),           cmocka_unit_test(test_damage),
        cmocka_unit_test(test_manifest_size),    cmocka_unit_test(test_mixed_files),
        cmocka_unit_test(test_other_count),      cmocka_unit_test(test_identity),
        cmocka_unit_test(test_not_finite),       cmocka_unit_test(test_kill_anywhere),
        cmocka_unit_test(test_every_call_fails), cmocka_unit_test(test_load_fails),
        cmocka_unit_test(test_epochs),           cmocka_unit_test(test_final),
        cmocka_unit_test(test_kill_adapters),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
