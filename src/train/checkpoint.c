/*
 * Checkpoints on disk; see checkpoint.h. Every directory is made under a temporary name beside its
 * place, its files synced, then renamed and the parent synced; what it replaces is removed only
 * after that.
 */
#include "train/checkpoint.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "data/safetensors.h"
#include "lorac/log.h"
#include "lorac/mem.h"

#define STATE_NAME         "state.safetensors"
#define MANIFEST_NAME      "MANIFEST.json"
#define STEP_PREFIX        "step-"
#define PAUSED             "paused"
#define EPOCH_PREFIX       "epoch-"
#define TEMP_PREFIX        ".tmp-"
#define TRASH_PREFIX       ".trash-"
#define FORMAT_NUMBER      1
#define LC_MAX_CHECKPOINTS 100000 /* entries of one directory that are looked at */

/* ---- identity ---- */

static const struct {
    const char *key, *what;
    size_t offset;
} identity_fields[] = {
    {"spec_sha256", "the job file", offsetof(lc_train_identity, spec_sha256)},
    {"base_sha256", "the base model", offsetof(lc_train_identity, base_sha256)},
    {"training_sha256", "the training file", offsetof(lc_train_identity, training_sha256)},
    {"validation_sha256", "the validation file", offsetof(lc_train_identity, validation_sha256)},
    {"init_sha256", "the initial adapter", offsetof(lc_train_identity, init_sha256)},
};
#define IDENTITY_COUNT (sizeof identity_fields / sizeof identity_fields[0])

static const uint8_t *digest_of(const lc_train_identity *identity, size_t index)
{
    return (const uint8_t *)identity + identity_fields[index].offset;
}

lc_code lc_train_identity_compare(const lc_train_identity *then, const lc_train_identity *now,
                                  lc_err *err)
{
    for (size_t i = 0; i < IDENTITY_COUNT; i++) {
        if (memcmp(digest_of(then, i), digest_of(now, i), 32) != 0) {
            return lc_fail_param(
                err, LC_ERR_USAGE, identity_fields[i].what,
                "%s has changed since this job was started; restore it, or start a new job in "
                "another directory",
                identity_fields[i].what);
        }
    }
    return LC_OK;
}

/* ---- the manifest ---- */

static const struct {
    const char *key;
    size_t offset;
} counter_fields[] = {
    {"step", offsetof(lc_train_state, step)},
    {"updates", offsetof(lc_train_state, updates)},
    {"trained_tokens", offsetof(lc_train_state, trained_tokens)},
    {"nonfinite_steps", offsetof(lc_train_state, nonfinite_steps)},
    {"nonfinite_in_a_row", offsetof(lc_train_state, nonfinite_in_a_row)},
    {"is_open", offsetof(lc_train_state, is_open)},
    {"event_count", offsetof(lc_train_state, event_count)},
    {"events_bytes", offsetof(lc_train_state, events_bytes)},
    {"results_bytes", offsetof(lc_train_state, results_bytes)},
    {"parameter_count", offsetof(lc_train_state, count)},
};
#define COUNTER_COUNT (sizeof counter_fields / sizeof counter_fields[0])

static int64_t *counter_of(lc_train_state *state, size_t index)
{
    return (int64_t *)(void *)((char *)state + counter_fields[index].offset);
}

typedef struct manifest {
    lc_train_state counters; /* without buffers */
    lc_train_identity identity;
    int64_t state_bytes;
    uint8_t state_sha256[32];
} manifest;

/* JSON has no NaN: null. Shortest form, read back bit for bit. */
static void add_measure(lc_text *text, const char *key, double value)
{
    lc_text_addf(text, "  \"%s\": ", key);
    if (isfinite(value)) {
        lc_text_add_double(text, value);
    } else {
        lc_text_addf(text, "null");
    }
    lc_text_addf(text, ",\n");
}

static bool is_zero(const uint8_t digest[32])
{
    static const uint8_t zero[32];
    return memcmp(digest, zero, sizeof zero) == 0;
}

static void add_digest(lc_text *text, const char *key, const uint8_t digest[32])
{
    char hex[65];
    lc_hex(digest, 32, hex);
    lc_text_addf(text, "  \"%s\": \"%s\",\n", key, hex);
}

/* Everything but the closing line with the manifest's own hash. */
static void write_manifest_body(const manifest *content, lc_text *text)
{
    manifest copy = *content;
    lc_text_addf(text, "{\n  \"format\": %d,\n  \"lorac\": \"%s\",\n", FORMAT_NUMBER, LC_VERSION);
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        lc_text_addf(text, "  \"%s\": %" PRId64 ",\n", counter_fields[i].key,
                     *counter_of(&copy.counters, i));
    }
    add_measure(text, "train_loss", content->counters.train_loss);
    add_measure(text, "train_accuracy", content->counters.train_accuracy);
    for (size_t i = 0; i < IDENTITY_COUNT; i++) {
        add_digest(text, identity_fields[i].key, digest_of(&content->identity, i));
    }
    if (!is_zero(content->counters.ledger_sha256)) {
        lc_text_addf(text, "  \"ledger_choices\": %" PRId64 ",\n", content->counters.ledger_count);
        add_digest(text, "ledger_sha256", content->counters.ledger_sha256);
    }
    lc_text_addf(text, "  \"state_bytes\": %" PRId64 ",\n", content->state_bytes);
    add_digest(text, "state_sha256", content->state_sha256);
}

static lc_code write_manifest(const char *dir, const manifest *content, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES], hex[65];
    uint8_t digest[32];
    lc_text text;
    LC_TRY(lc_path_join(dir, MANIFEST_NAME, path, err));
    lc_text_init(&text);
    write_manifest_body(content, &text);
    lc_code code = lc_text_finish(&text, MANIFEST_NAME, err);
    if (code == LC_OK) {
        lc_sha256_of(text.data, text.length, digest);
        lc_hex(digest, sizeof digest, hex);
        lc_text_addf(&text, "  \"manifest_sha256\": \"%s\"\n}\n", hex);
        code = lc_text_finish(&text, MANIFEST_NAME, err);
    }
    if (code == LC_OK) {
        code = lc_file_write_atomic(path, text.data, text.length, err);
    }
    lc_text_release(&text);
    return code;
}

static lc_code parse_digest(const cJSON *object, const char *key, uint8_t out[32], lc_err *err)
{
    const char *text = NULL;
    LC_TRY(lc_json_string(object, key, true, &text, err));
    for (size_t i = 0; i < 64; i++) {
        const char *digits = "0123456789abcdef";
        const char *at = text[i] != '\0' ? strchr(digits, text[i]) : NULL;
        if (at == NULL) {
            return lc_fail_param(err, LC_ERR_INVALID, key, "%s is not a SHA-256", key);
        }
        const unsigned digit = (unsigned)(at - digits);
        out[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : out[i / 2] | digit);
    }
    return LC_OK;
}

static lc_code parse_manifest(const cJSON *object, manifest *out, lc_err *err)
{
    int64_t format = 0;
    LC_TRY(lc_json_int(object, "format", true, FORMAT_NUMBER, FORMAT_NUMBER, &format, err));
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        LC_TRY(lc_json_int(object, counter_fields[i].key, true, 0, (int64_t)1 << 53,
                           counter_of(&out->counters, i), err));
    }
    out->counters.train_loss = out->counters.train_accuracy = NAN;
    LC_TRY(
        lc_json_double(object, "train_loss", false, 0.0, DBL_MAX, &out->counters.train_loss, err));
    LC_TRY(lc_json_double(object, "train_accuracy", false, 0.0, 1.0, &out->counters.train_accuracy,
                          err));
    for (size_t i = 0; i < IDENTITY_COUNT; i++) {
        uint8_t *digest = (uint8_t *)&out->identity + identity_fields[i].offset;
        LC_TRY(parse_digest(object, identity_fields[i].key, digest, err));
    }
    if (lc_json_get(object, "ledger_sha256") != NULL) {
        LC_TRY(lc_json_int(object, "ledger_choices", true, 0, (int64_t)1 << 53,
                           &out->counters.ledger_count, err));
        LC_TRY(parse_digest(object, "ledger_sha256", out->counters.ledger_sha256, err));
    }
    LC_TRY(lc_json_int(object, "state_bytes", true, 0, (int64_t)1 << 53, &out->state_bytes, err));
    return parse_digest(object, "state_sha256", out->state_sha256, err);
}

/* Everything before the last key must have the hash that the last key gives. */
static lc_code check_manifest_hash(const char *text, size_t bytes, const char *path, lc_err *err)
{
    static const char last_key[] = "  \"manifest_sha256\": \"";
    uint8_t digest[32];
    char hex[65];
    const size_t tail = sizeof last_key - 1 + 64 + strlen("\"\n}\n");
    if (bytes < tail) {
        return lc_fail(err, LC_ERR_INVALID, "%s is cut off", path);
    }
    lc_sha256_of(text, bytes - tail, digest);
    lc_hex(digest, sizeof digest, hex);
    if (memcmp(text + bytes - tail, last_key, sizeof last_key - 1) != 0 ||
        memcmp(text + bytes - tail + sizeof last_key - 1, hex, 64) != 0) {
        return lc_fail(err, LC_ERR_INVALID, "%s does not match its own hash", path);
    }
    return LC_OK;
}

static lc_code read_manifest(const char *dir, manifest *out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    cJSON *object = NULL;
    lc_code code;
    memset(out, 0, sizeof *out);
    LC_TRY(lc_path_join(dir, MANIFEST_NAME, path, err));
    LC_TRY(lc_file_read(path, LC_MAX_MANIFEST, &text, &bytes, err));
    LC_TRY_GOTO(check_manifest_hash(text, bytes, path, err));
    LC_TRY_GOTO(lc_json_parse(text, bytes, LC_JSON_DEFAULT, path, &object, err));
    LC_TRY_GOTO(parse_manifest(object, out, err));
fail:
    cJSON_Delete(object);
    lc_free(text);
    return code;
}

/* ---- state ---- */

static const char *const state_names[3] = {"m", "master", "v"};

static float *buffer_of(const lc_train_state *state, int index)
{
    return index == 0 ? state->m : index == 1 ? state->master : state->v;
}

static lc_code check_finite(const lc_train_state *state, lc_err *err)
{
    for (int i = 0; i < 3; i++) {
        const float *values = buffer_of(state, i);
        for (int64_t j = 0; j < state->count; j++) {
            if (!isfinite(values[j])) {
                return lc_fail(err, LC_ERR_NUMERIC,
                               "element %" PRId64
                               " of the adapter's %s is not finite at step %" PRId64
                               "; nothing was saved",
                               j, state_names[i], state->step);
            }
        }
    }
    return LC_OK;
}

static lc_code write_state(const char *dir, const lc_train_state *state, manifest *out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    lc_tensor_out tensors[3];
    memset(tensors, 0, sizeof tensors);
    for (int i = 0; i < 3; i++) {
        tensors[i].name = state_names[i];
        tensors[i].dtype = LC_F32;
        tensors[i].rank = 1;
        tensors[i].shape[0] = state->count;
        tensors[i].data = buffer_of(state, i);
    }
    LC_TRY(lc_path_join(dir, STATE_NAME, path, err));
    return lc_safetensors_write(path, tensors, 3, NULL, 0, out->state_sha256, &out->state_bytes,
                                err);
}

static lc_code read_state(const char *dir, const manifest *expected, lc_train_state *state,
                          lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    uint8_t digest[32];
    int64_t bytes = 0;
    lc_safetensors *file = NULL;
    LC_TRY(lc_path_join(dir, STATE_NAME, path, err));
    LC_TRY(lc_sha256_file(path, digest, &bytes, err));
    if (bytes != expected->state_bytes ||
        memcmp(digest, expected->state_sha256, sizeof digest) != 0) {
        return lc_fail(err, LC_ERR_INVALID, "%s is not the file that the manifest describes", path);
    }
    if (state->master == NULL) {
        return LC_OK;
    }
    LC_TRY(lc_safetensors_open(path, &file, err));
    lc_code code = LC_OK;
    for (int i = 0; i < 3 && code == LC_OK; i++) {
        const lc_tensor_info *tensor = lc_safetensors_find(file, state_names[i]);
        if (tensor == NULL || tensor->dtype != LC_F32 ||
            tensor->bytes != state->count * (int64_t)sizeof(float)) {
            code = lc_fail(err, LC_ERR_INVALID, "%s: tensor %s is not %" PRId64 " F32 values", path,
                           state_names[i], state->count);
        } else {
            code = lc_safetensors_read(file, tensor, 0, buffer_of(state, i), (size_t)tensor->bytes,
                                       err);
        }
    }
    lc_safetensors_close(file);
    return code;
}

/* ---- directories ---- */

static bool has_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* N of PREFIX-N, -1 for any other name. */
static int64_t number_of(const char *name, const char *prefix)
{
    const size_t skip = strlen(prefix);
    int64_t number = 0;
    if (!has_prefix(name, prefix) || name[skip] < '0' || name[skip] > '9' ||
        strlen(name + skip) > 18) {
        return -1;
    }
    for (const char *at = name + skip; *at != '\0'; at++) {
        if (*at < '0' || *at > '9') {
            return -1;
        }
        number = number * 10 + (*at - '0');
    }
    return number;
}

/* A fresh temporary directory PARENT/.tmp-NAME; an old one of that name is debris. */
static lc_code begin_dir(const char *parent, const char *name, char temp[LC_MAX_PATH_BYTES],
                         lc_err *err)
{
    char temp_name[96];
    (void)snprintf(temp_name, sizeof temp_name, TEMP_PREFIX "%s", name);
    LC_TRY(lc_mkdir_parents(parent, err));
    LC_TRY(lc_path_join(parent, temp_name, temp, err));
    LC_TRY(lc_remove_tree(temp, err));
    return lc_mkdir(temp, err);
}

/* Makes the finished temporary directory PARENT/NAME, replacing what is there. */
static lc_code finish_dir(const char *parent, const char *name, const char *temp, lc_err *err)
{
    char final[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(parent, name, final, err));
    LC_TRY(lc_sync_dir(temp, err));
    if (lc_path_exists(final)) {
        LC_TRY(lc_remove_tree(final, err));
    }
    return lc_rename(temp, final, err);
}

/* Calls visit for every entry of a directory (absent: none), in name order. */
static lc_code for_each(const char *parent,
                        lc_code (*visit)(const char *parent, const char *name, void *context,
                                         lc_err *err),
                        void *context, lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    if (!lc_path_exists(parent)) {
        return LC_OK;
    }
    LC_TRY(lc_list_dir(parent, &names, &count, err));
    lc_code code = LC_OK;
    for (size_t i = 0; i < count && i < LC_MAX_CHECKPOINTS && code == LC_OK; i++) {
        code = visit(parent, names[i], context, err);
    }
    lc_list_free(names, count);
    return code;
}

static lc_code remove_debris(const char *parent, const char *name, void *context, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    (void)context;
    if (!has_prefix(name, TEMP_PREFIX) && !has_prefix(name, TRASH_PREFIX)) {
        return LC_OK;
    }
    LC_TRY(lc_path_join(parent, name, path, err));
    return lc_remove_tree(path, err);
}

/* Entries PREFIX-N with low <= N <= high. */
typedef struct range {
    const char *prefix;
    int64_t low, high;
} range;

static lc_code remove_range(const char *parent, const char *name, void *context, lc_err *err)
{
    const range *which = context;
    const int64_t number = number_of(name, which->prefix);
    char path[LC_MAX_PATH_BYTES];
    if (number < which->low || number > which->high) {
        return LC_OK;
    }
    LC_TRY(lc_path_join(parent, name, path, err));
    return lc_remove_tree(path, err);
}

/* ---- the rolling checkpoint ---- */

static lc_code write_step(const char *parent, const char *name, const lc_train_state *state,
                          const lc_train_identity *identity, lc_err *err)
{
    char temp[LC_MAX_PATH_BYTES];
    manifest content;
    memset(&content, 0, sizeof content);
    content.counters = *state;
    content.identity = *identity;
    LC_TRY(begin_dir(parent, name, temp, err));
    LC_TRY(write_state(temp, state, &content, err));
    LC_TRY(write_manifest(temp, &content, err));
    return finish_dir(parent, name, temp, err);
}

/* A whole and valid checkpoint of this step is there already, with the same log lengths and the
 * same ledger. */
static bool is_there(const char *dir, const lc_train_state *state)
{
    lc_err ignored = {.code = LC_OK};
    manifest found;
    lc_train_state counters = {0};
    return lc_path_exists(dir) && read_manifest(dir, &found, &ignored) == LC_OK &&
           found.counters.events_bytes == state->events_bytes &&
           found.counters.results_bytes == state->results_bytes &&
           found.counters.event_count == state->event_count &&
           memcmp(found.counters.ledger_sha256, state->ledger_sha256,
                  sizeof state->ledger_sha256) == 0 &&
           read_state(dir, &found, &counters, &ignored) == LC_OK;
}

lc_code lc_checkpoint_save(const char *job_dir, const lc_train_state *state,
                           const lc_train_identity *identity, lc_err *err)
{
    char parent[LC_MAX_PATH_BYTES], name[64], path[LC_MAX_PATH_BYTES];
    LC_TRY(check_finite(state, err));
    LC_TRY(lc_path_join(job_dir, "resume", parent, err));
    (void)snprintf(name, sizeof name, STEP_PREFIX "%" PRId64, state->step);
    LC_TRY(lc_path_join(parent, name, path, err));
    if (!is_there(path, state)) {
        LC_TRY(write_step(parent, name, state, identity, err));
    }
    range older = {STEP_PREFIX, 0, state->step - 1};
    return state->is_open != 0 ? LC_OK : for_each(parent, remove_range, &older, err);
}

/* Numbers of all step-N, largest first. */
typedef struct numbers {
    int64_t *values; /* owned */
    size_t count;
} numbers;

static lc_code note_number(const char *parent, const char *name, void *context, lc_err *err)
{
    numbers *list = context;
    const int64_t number = number_of(name, STEP_PREFIX);
    (void)parent;
    if (number < 0) {
        return LC_OK;
    }
    int64_t *grown = lc_realloc(list->values, (list->count + 1) * sizeof *grown);
    if (grown == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to list checkpoints");
    }
    list->values = grown;
    list->values[list->count++] = number;
    return LC_OK;
}

static int by_number_down(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Verifies one and fills in *state. LC_ERR_INVALID and LC_ERR_NOT_FOUND: not usable. */
static lc_code load_step(const char *dir, const lc_train_identity *identity, lc_train_state *state,
                         lc_err *err)
{
    manifest found;
    LC_TRY(read_manifest(dir, &found, err));
    LC_TRY(lc_train_identity_compare(&found.identity, identity, err));
    if (state->master != NULL && found.counters.count != state->count) {
        return lc_fail(err, LC_ERR_INVALID,
                       "%s holds %" PRId64 " adapter values, this job has %" PRId64, dir,
                       found.counters.count, state->count);
    }
    LC_TRY(read_state(dir, &found, state, err));
    for (size_t i = 0; i < COUNTER_COUNT; i++) {
        *counter_of(state, i) = *counter_of(&found.counters, i);
    }
    state->train_loss = found.counters.train_loss;
    state->train_accuracy = found.counters.train_accuracy;
    state->ledger_count = found.counters.ledger_count;
    memcpy(state->ledger_sha256, found.counters.ledger_sha256, sizeof state->ledger_sha256);
    return LC_OK;
}

static lc_code load_newest(const char *parent, const numbers *list,
                           const lc_train_identity *identity, lc_train_state *state, bool *found,
                           lc_err *err)
{
    for (size_t i = 0; i < list->count && !*found; i++) {
        char name[64], path[LC_MAX_PATH_BYTES];
        lc_err why = {.code = LC_OK};
        (void)snprintf(name, sizeof name, STEP_PREFIX "%" PRId64, list->values[i]);
        LC_TRY(lc_path_join(parent, name, path, err));
        const lc_code code = load_step(path, identity, state, &why);
        *found = code == LC_OK;
        if (code == LC_ERR_INVALID || code == LC_ERR_NOT_FOUND) {
            lc_log(LC_LOG_WARN, "checkpoint %s is skipped: %s", path, why.message);
        } else if (code != LC_OK) {
            *err = why;
            return code;
        }
    }
    return LC_OK;
}

lc_code lc_checkpoint_load(const char *job_dir, const lc_train_identity *identity,
                           lc_train_state *state, bool *found, lc_err *err)
{
    char resume[LC_MAX_PATH_BYTES], checkpoints[LC_MAX_PATH_BYTES];
    numbers list = {NULL, 0};
    *found = false;
    LC_TRY(lc_path_join(job_dir, "resume", resume, err));
    LC_TRY(lc_path_join(job_dir, "checkpoints", checkpoints, err));
    LC_TRY(for_each(resume, remove_debris, NULL, err));
    LC_TRY(for_each(checkpoints, remove_debris, NULL, err));
    LC_TRY(for_each(job_dir, remove_debris, NULL, err));
    lc_code code = for_each(resume, note_number, &list, err);
    if (code == LC_OK && list.count > 0) {
        qsort(list.values, list.count, sizeof *list.values, by_number_down);
        code = load_newest(resume, &list, identity, state, found, err);
    }
    lc_free(list.values);
    return code;
}

/* ---- adapters ---- */

/* PARENT/NAME with an adapter and its checkpoint object (NULL: none). */
static lc_code save_adapter(const char *parent, const char *name, const char *checkpoint_json,
                            const lc_adapter_spec *spec, const lc_model_config *config,
                            const float *master, const lc_adapter_meta *meta, lc_err *err)
{
    char temp[LC_MAX_PATH_BYTES], path[LC_MAX_PATH_BYTES];
    LC_TRY(begin_dir(parent, name, temp, err));
    LC_TRY(lc_adapter_save(temp, spec, config, master, meta, err));
    if (checkpoint_json != NULL) {
        LC_TRY(lc_path_join(temp, "checkpoint.json", path, err));
        LC_TRY(lc_file_write_atomic(path, checkpoint_json, strlen(checkpoint_json), err));
    }
    return finish_dir(parent, name, temp, err);
}

lc_code lc_checkpoint_save_epoch(const char *job_dir, int64_t epoch, int64_t keep,
                                 const char *checkpoint_json, const lc_adapter_spec *spec,
                                 const lc_model_config *config, const float *master,
                                 const lc_adapter_meta *meta, lc_err *err)
{
    char parent[LC_MAX_PATH_BYTES], name[64];
    LC_TRY(lc_path_join(job_dir, "checkpoints", parent, err));
    (void)snprintf(name, sizeof name, EPOCH_PREFIX "%" PRId64, epoch);
    LC_TRY(save_adapter(parent, name, checkpoint_json, spec, config, master, meta, err));
    range older = {EPOCH_PREFIX, 0, epoch - keep};
    return for_each(parent, remove_range, &older, err);
}

lc_code lc_checkpoint_drop_epochs(const char *job_dir, int64_t epoch, lc_err *err)
{
    char parent[LC_MAX_PATH_BYTES];
    range newer = {EPOCH_PREFIX, epoch + 1, INT64_MAX};
    LC_TRY(lc_path_join(job_dir, "checkpoints", parent, err));
    return for_each(parent, remove_range, &newer, err);
}

lc_code lc_checkpoint_save_paused(const char *job_dir, const char *checkpoint_json,
                                  const lc_adapter_spec *spec, const lc_model_config *config,
                                  const float *master, const lc_adapter_meta *meta, lc_err *err)
{
    return save_adapter(job_dir, PAUSED, checkpoint_json, spec, config, master, meta, err);
}

lc_code lc_checkpoint_drop_paused(const char *job_dir, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(job_dir, PAUSED, path, err));
    return lc_remove_tree(path, err);
}

lc_code lc_checkpoint_save_final(const char *job_dir, const lc_adapter_spec *spec,
                                 const lc_model_config *config, const float *master,
                                 const lc_adapter_meta *meta, lc_err *err)
{
    return save_adapter(job_dir, "adapter", NULL, spec, config, master, meta, err);
}
