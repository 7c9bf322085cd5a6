/*
 * job.json: the job's state written as Azure's job object with one "lorac" object, and read back.
 * Called by directory.c; the service reads the file too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "job/directory.h"
#include "lorac/comm.h"

static const char *const status_names[] = {"pending",   "running", "paused",
                                           "succeeded", "failed",  "cancelled"};
#define STATUS_COUNT ((int)(sizeof status_names / sizeof status_names[0]))
_Static_assert(STATUS_COUNT == LC_JOB_CANCELLED + 1, "one name per status");

const char *lc_job_status_name(lc_job_status status)
{
    return (unsigned)status < (unsigned)STATUS_COUNT ? status_names[status] : "unknown";
}

/* ---- writing ---- */

static void add_key(lc_text *text, const char *key)
{
    lc_text_addf(text, ",\n  \"%s\": ", key);
}

static void add_string(lc_text *text, const char *key, const char *value)
{
    add_key(text, key);
    if (value == NULL || value[0] == '\0') {
        lc_text_addf(text, "null");
    } else {
        lc_text_add_json_string(text, value, strlen(value));
    }
}

static void add_time(lc_text *text, const char *key, int64_t value)
{
    add_key(text, key);
    if (value > 0) {
        lc_text_addf(text, "%" PRId64, value);
    } else {
        lc_text_addf(text, "null");
    }
}

static void add_error(lc_text *text, const lc_job_state *state)
{
    add_key(text, "error");
    if (state->error_code[0] == '\0') {
        lc_text_addf(text, "null");
        return;
    }
    lc_text_addf(text, "{\"code\": \"%s\", \"message\": ", state->error_code);
    lc_text_add_json_string(text, state->error_message, strlen(state->error_message));
    lc_text_addf(text, ", \"param\": ");
    if (state->error_param[0] == '\0') {
        lc_text_addf(text, "null}");
    } else {
        lc_text_add_json_string(text, state->error_param, strlen(state->error_param));
        lc_text_addf(text, "}");
    }
}

/* Real numbers once resolved, -1 for what is still open. "auto" for the multiplier is always 1. */
static void add_hyperparameters(lc_text *text, const lc_job_state *state, const lc_job_spec *spec)
{
    const bool is_known = state->resolved_known;
    const lc_job_resolved *resolved = &state->resolved;
    const double asked = spec->learning_rate_multiplier;
    lc_text_addf(text, "{\"n_epochs\": %" PRId64 ", \"batch_size\": %" PRId64,
                 is_known ? resolved->n_epochs : spec->n_epochs,
                 is_known ? resolved->batch_size : spec->batch_size);
    lc_text_addf(text, ", \"learning_rate_multiplier\": ");
    lc_text_add_double(text, is_known      ? resolved->learning_rate_multiplier
                             : asked < 0.0 ? 1.0
                                           : asked);
    lc_text_addf(text, "}");
}

static void add_hash(lc_text *text, const char *key, const uint8_t sha256[32])
{
    char hex[65];
    lc_hex(sha256, 32, hex);
    lc_text_addf(text, "\"%s\": \"%s\"", key, hex);
}

static void add_data(lc_text *text, const char *key, const lc_job_data *data)
{
    lc_text_addf(text, "\"%s\": {", key);
    add_hash(text, "cache_sha256", data->cache_sha256);
    lc_text_addf(text,
                 ", \"examples\": %" PRId64 ", \"tokens\": %" PRId64 ", \"truncated\": %" PRId64
                 ", \"truncated_tokens\": %" PRId64 "}",
                 data->example_count, data->token_count, data->truncated_count,
                 data->truncated_tokens);
}

static void add_lorac(lc_text *text, const lc_job_state *state, const lc_job_spec *spec)
{
    const lc_train_identity *identity = &state->identity;
    add_key(text, "lorac");
    lc_text_addf(text, "{\n    \"version\": \"%s\",\n    \"job\": %s,\n    ", LC_VERSION,
                 spec->canonical);
    add_hash(text, "spec_sha256", identity->spec_sha256);
    lc_text_addf(text, ",\n    \"drawn_seed\": %" PRIu32 ",\n    \"world_size\": %" PRId64,
                 state->drawn_seed, state->world_size);
    if (!state->resolved_known) {
        lc_text_addf(text, ",\n    \"resolved\": null\n  }");
        return;
    }
    lc_text_addf(text, ",\n    \"resolved\": ");
    lc_job_resolved_write(&state->resolved, text);
    lc_text_addf(text, ",\n    \"identity\": {");
    add_hash(text, "base_model", identity->base_sha256);
    lc_text_addf(text, ", ");
    add_hash(text, "training_file", identity->training_sha256);
    lc_text_addf(text, ", ");
    add_hash(text, "validation_file", identity->validation_sha256);
    lc_text_addf(text, ", ");
    add_hash(text, "init_adapter", identity->init_sha256);
    lc_text_addf(text, "},\n    \"data\": {");
    add_data(text, "training", &state->training);
    lc_text_addf(text, ", ");
    add_data(text, "validation", &state->validation);
    lc_text_addf(text, "}\n  }");
}

void lc_job_state_write(const lc_job_state *state, const lc_job_spec *spec, lc_text *out)
{
    char name[LC_JOB_NAME_BYTES];
    const int64_t seed = spec->seed == LC_AUTO ? (int64_t)state->drawn_seed : spec->seed;
    lc_job_model_name(state, spec, name);
    lc_text_addf(out, "{\n  \"id\": \"%s\",\n  \"object\": \"fine_tuning.job\"", state->id);
    add_time(out, "created_at", state->created_at);
    add_time(out, "finished_at", state->finished_at);
    add_string(out, "model", spec->model);
    add_string(out, "fine_tuned_model", state->status == LC_JOB_SUCCEEDED ? name : NULL);
    add_string(out, "status", lc_job_status_name(state->status));
    add_error(out, state);
    add_string(out, "organization_id", NULL);
    add_key(out, "hyperparameters");
    add_hyperparameters(out, state, spec);
    add_key(out, "method");
    lc_text_addf(out, "{\"type\": \"supervised\", \"supervised\": {\"hyperparameters\": ");
    add_hyperparameters(out, state, spec);
    lc_text_addf(out, "}}");
    add_key(out, "seed");
    lc_text_addf(out, "%" PRId64, seed);
    add_string(out, "training_file", spec->training_file);
    add_string(out, "validation_file", spec->validation_file);
    add_key(out, "result_files");
    lc_text_addf(out, state->result_file[0] != '\0' ? "[\"%s\"]" : "[%s]", state->result_file);
    add_key(out, "trained_tokens");
    lc_text_addf(out, state->trained_tokens >= 0 ? "%" PRId64 : "null", state->trained_tokens);
    add_time(out, "estimated_finish", state->estimated_finish);
    add_string(out, "integrations", NULL);
    add_key(out, "metadata");
    if (spec->metadata != NULL) {
        lc_text_add_json(out, spec->metadata, true);
    } else {
        lc_text_addf(out, "null");
    }
    add_string(out, "suffix", spec->suffix);
    add_string(out, "user_provided_suffix", spec->suffix);
    if (spec->training_type != NULL) {
        add_string(out, "trainingType", spec->training_type);
    }
    add_lorac(out, state, spec);
    lc_text_addf(out, "\n}\n");
}

/* ---- reading ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static lc_code read_hash(const cJSON *object, const char *key, uint8_t out[32], lc_err *err)
{
    const char *hex = NULL;
    LC_TRY(lc_json_string(object, key, true, &hex, err));
    bool is_good = strlen(hex) == 64;
    for (int i = 0; is_good && i < 32; i++) {
        const int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        is_good = high >= 0 && low >= 0;
        out[i] = (uint8_t)(is_good ? high * 16 + low : 0);
    }
    return is_good ? LC_OK : lc_fail_param(err, LC_ERR_INVALID, key, "\"%s\" is no SHA-256", key);
}

static lc_code copy_text(const cJSON *object, const char *key, bool required, size_t capacity,
                         char *out, lc_err *err)
{
    const char *value = NULL;
    LC_TRY(lc_json_string(object, key, required, &value, err));
    if (value != NULL && strlen(value) >= capacity) {
        return lc_fail_param(err, LC_ERR_INVALID, key, "\"%s\" is too long", key);
    }
    (void)snprintf(out, capacity, "%s", value != NULL ? value : "");
    return LC_OK;
}

static lc_code read_status(const cJSON *root, lc_job_status *out, lc_err *err)
{
    const char *name = NULL;
    LC_TRY(lc_json_string(root, "status", true, &name, err));
    for (int i = 0; i < STATUS_COUNT; i++) {
        if (strcmp(name, status_names[i]) == 0) {
            *out = (lc_job_status)i;
            return LC_OK;
        }
    }
    return lc_fail_param(err, LC_ERR_INVALID, "status", "unknown status \"%.40s\"", name);
}

bool lc_job_id_is(const char *id)
{
    return strncmp(id, "ftjob-", 6) == 0 && strlen(id) == 38 &&
           strspn(id + 6, "0123456789abcdef") == 32;
}

static lc_code read_id(const cJSON *root, lc_job_state *out, lc_err *err)
{
    LC_TRY(copy_text(root, "id", true, sizeof out->id, out->id, err));
    if (!lc_job_id_is(out->id)) {
        return lc_fail_param(err, LC_ERR_INVALID, "id", "\"%s\" is no job id", out->id);
    }
    return LC_OK;
}

static lc_code read_job_object(const cJSON *root, lc_job_state *out, lc_err *err)
{
    const cJSON *files = NULL, *error = NULL;
    LC_TRY(read_id(root, out, err));
    LC_TRY(read_status(root, &out->status, err));
    LC_TRY(lc_json_int(root, "created_at", true, 0, INT64_MAX, &out->created_at, err));
    LC_TRY(lc_json_int(root, "finished_at", false, 0, INT64_MAX, &out->finished_at, err));
    LC_TRY(lc_json_int(root, "estimated_finish", false, 0, INT64_MAX, &out->estimated_finish, err));
    out->trained_tokens = -1;
    LC_TRY(lc_json_int(root, "trained_tokens", false, 0, INT64_MAX, &out->trained_tokens, err));
    LC_TRY(lc_json_array(root, "result_files", true, &files, err));
    const cJSON *file = files->child;
    if (cJSON_IsString(file) && strlen(file->valuestring) < sizeof out->result_file) {
        (void)snprintf(out->result_file, sizeof out->result_file, "%s", file->valuestring);
    }
    LC_TRY(lc_json_object(root, "error", false, &error, err));
    if (error == NULL) {
        return LC_OK;
    }
    LC_TRY(copy_text(error, "code", true, sizeof out->error_code, out->error_code, err));
    LC_TRY(copy_text(error, "message", true, sizeof out->error_message, out->error_message, err));
    return copy_text(error, "param", false, sizeof out->error_param, out->error_param, err);
}

static lc_code read_data(const cJSON *object, lc_job_data *out, lc_err *err)
{
    LC_TRY(read_hash(object, "cache_sha256", out->cache_sha256, err));
    LC_TRY(lc_json_int(object, "examples", true, 0, INT64_MAX, &out->example_count, err));
    LC_TRY(lc_json_int(object, "tokens", true, 0, INT64_MAX, &out->token_count, err));
    LC_TRY(lc_json_int(object, "truncated", true, 0, INT64_MAX, &out->truncated_count, err));
    return lc_json_int(object, "truncated_tokens", true, 0, INT64_MAX, &out->truncated_tokens, err);
}

static lc_code read_known(const cJSON *lorac, const cJSON *resolved, lc_job_state *out, lc_err *err)
{
    const cJSON *identity = NULL, *data = NULL, *set = NULL;
    lc_train_identity *hashes = &out->identity;
    LC_TRY(lc_job_resolved_read(resolved, &out->resolved, err));
    LC_TRY(lc_json_object(lorac, "identity", true, &identity, err));
    LC_TRY(read_hash(identity, "base_model", hashes->base_sha256, err));
    LC_TRY(read_hash(identity, "training_file", hashes->training_sha256, err));
    LC_TRY(read_hash(identity, "validation_file", hashes->validation_sha256, err));
    LC_TRY(read_hash(identity, "init_adapter", hashes->init_sha256, err));
    LC_TRY(lc_json_object(lorac, "data", true, &data, err));
    LC_TRY(lc_json_object(data, "training", true, &set, err));
    LC_TRY(read_data(set, &out->training, err));
    LC_TRY(lc_json_object(data, "validation", true, &set, err));
    LC_TRY(read_data(set, &out->validation, err));
    out->resolved_known = true;
    return LC_OK;
}

static lc_code read_root(const cJSON *root, lc_job_state *out, cJSON **canonical, lc_err *err)
{
    const cJSON *lorac = NULL, *resolved = NULL, *job = NULL;
    int64_t seed = 0;
    LC_TRY(read_job_object(root, out, err));
    LC_TRY(lc_json_object(root, "lorac", true, &lorac, err));
    LC_TRY(read_hash(lorac, "spec_sha256", out->identity.spec_sha256, err));
    LC_TRY(lc_json_int(lorac, "drawn_seed", true, 0, LC_MAX_SEED, &seed, err));
    out->drawn_seed = (uint32_t)seed;
    out->world_size = 1;
    LC_TRY(lc_json_int(lorac, "world_size", false, 1, LC_MAX_RANKS, &out->world_size, err));
    LC_TRY(lc_json_object(lorac, "job", true, &job, err));
    LC_TRY(lc_json_object(lorac, "resolved", false, &resolved, err));
    if (resolved != NULL) {
        LC_TRY(read_known(lorac, resolved, out, err));
    }
    if (canonical != NULL) {
        *canonical = cJSON_Duplicate(job, true);
        if (*canonical == NULL) {
            return lc_fail(err, LC_ERR_MEMORY, "out of memory for the job");
        }
    }
    return LC_OK;
}

lc_code lc_job_state_read(const char *text, size_t bytes, const char *what, lc_job_state *out,
                          cJSON **canonical, lc_err *err)
{
    cJSON *root = NULL;
    memset(out, 0, sizeof *out);
    LC_TRY(lc_json_parse(text, bytes, LC_JSON_DEFAULT, what, &root, err));
    const lc_code code = read_root(root, out, canonical, err);
    cJSON_Delete(root);
    if (code != LC_OK) {
        (void)lc_err_context(err, "%s", what);
    }
    return code;
}
