/*
 * The data sets of a job: from the user's files, or from the tokenized cache in DIR/dataset when
 * that is the very file that was written and its source has not changed.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "job/ranks.h"
#include "lorac/log.h"

/* One of the job's two data sets. */
typedef struct source {
    const char *path;    /* of the user's file */
    const char *field;   /* of the job file */
    const char *invalid; /* API error code of a bad file */
    const char *what;    /* in errors */
    const char *name;    /* in events and of the cache */
    lc_dataset *dataset;
    lc_job_data *data;
    uint8_t *sha256;
} source;

static int64_t max_tokens_of(const lc_job *job)
{
    const int64_t context = job->config.max_position;
    return job->spec.max_seq_len < context ? job->spec.max_seq_len : context;
}

static bool is_zero(const uint8_t digest[32])
{
    static const uint8_t zero[32];
    return memcmp(digest, zero, sizeof zero) == 0;
}

static lc_code cache_path(const lc_job *job, const char *name, char path[LC_MAX_PATH_BYTES],
                          lc_err *err)
{
    char dir[LC_MAX_PATH_BYTES], file[64];
    (void)snprintf(file, sizeof file, "%s.safetensors", name);
    LC_TRY(lc_path_join(job->dir.path, "dataset", dir, err));
    return lc_path_join(dir, file, path, err);
}

/* The cache holds what this source gave before. A changed source is left to
 * lc_train_identity_compare. */
static bool cache_is_valid(const lc_job *job, const source *from, const char *path)
{
    lc_err ignored = {.code = LC_OK};
    uint8_t cached[32], current[32];
    return job->dir.state.resolved_known && !is_zero(from->data->cache_sha256) &&
           lc_path_exists(path) && lc_sha256_file(path, cached, NULL, &ignored) == LC_OK &&
           memcmp(cached, from->data->cache_sha256, sizeof cached) == 0 &&
           lc_sha256_file(from->path, current, NULL, &ignored) == LC_OK &&
           memcmp(current, from->sha256, sizeof current) == 0;
}

static lc_code load_cache(const lc_job *job, const source *from, const char *path, lc_err *err)
{
    LC_TRY(
        lc_dataset_load_tokenized(path, job->config.vocab, max_tokens_of(job), from->dataset, err));
    memcpy(from->dataset->sha256, from->sha256, sizeof from->dataset->sha256);
    from->dataset->truncated_count = from->data->truncated_count;
    from->dataset->truncated_tokens = from->data->truncated_tokens;
    return LC_OK;
}

/* The cache of an interrupted job was lost and is made again: the same text must give the same
 * tokens. */
static lc_code check_same_tokens(const lc_job *job, const source *from, const uint8_t now[32],
                                 lc_err *err)
{
    const uint8_t *before = from->data->cache_sha256;
    if (!job->dir.state.resolved_known || is_zero(before) || memcmp(before, now, 32) == 0 ||
        memcmp(from->dataset->sha256, from->sha256, 32) != 0) {
        return LC_OK;
    }
    return lc_fail_param(err, LC_ERR_USAGE, "tokenizer",
                         "the tokenizer or the chat template of %s has changed since this job was "
                         "started; restore it, or start a new job in another directory",
                         job->spec.model);
}

/* Writes the cache of a text source; a tokenized source needs none. */
static lc_code save_cache(const lc_job *job, const source *from, const char *path, lc_err *err)
{
    static const char suffix[] = ".safetensors";
    char dir[LC_MAX_PATH_BYTES];
    uint8_t now[32];
    const size_t length = strlen(from->path);
    if (length >= sizeof suffix && strcmp(from->path + length - (sizeof suffix - 1), suffix) == 0) {
        memset(from->data->cache_sha256, 0, sizeof from->data->cache_sha256);
        return LC_OK;
    }
    LC_TRY(lc_path_join(job->dir.path, "dataset", dir, err));
    LC_TRY(lc_mkdir(dir, err));
    LC_TRY(lc_remove_tree(path, err));
    LC_TRY(lc_dataset_save(from->dataset, path, NULL, now, err));
    LC_TRY(check_same_tokens(job, from, now, err));
    memcpy(from->data->cache_sha256, now, sizeof now);
    return LC_OK;
}

/* What a source's reading is told to. */
typedef struct watcher {
    lc_job *job;
    const char *name;
} watcher;

static bool on_progress(void *context, int64_t done_bytes, int64_t total_bytes)
{
    const watcher *w = context;
    const lc_preparation preparation = {w->name, done_bytes, total_bytes};
    const lc_event event = {.created_at = lc_unix_seconds(),
                            .level = "info",
                            .type = "preparation",
                            .preparation = &preparation};
    if (w->job->on_event != NULL) {
        w->job->on_event(w->job->context, &event);
    }
    return atomic_load(&w->job->stop) == 0;
}

/* The user's file. What is wrong with it goes to job.json under OpenAI's codes and field. */
static lc_code load_source(lc_job *job, const source *from, lc_err *err)
{
    watcher w = {job, from->name};
    char date[LC_TEMPLATE_DATE_BYTES];
    const lc_dataset_reading reading = {
        .chat_template = lc_job_template_source(&job->spec, job->dir.state.created_at, date),
        .what = from->what,
        .max_tokens = max_tokens_of(job),
        .threads = job->threads,
        .use_cache = true,
        .on_progress = on_progress,
        .context = &w};
    const lc_code code = lc_dataset_load(from->path, &reading, job->spec.model, job->config.vocab,
                                         from->dataset, err);
    if (code != LC_ERR_INVALID || strcmp(err->param, "model") == 0) {
        return code;
    }
    const bool is_short = strcmp(err->param, "n_examples") == 0;
    job->data_error = is_short ? "invalid_n_examples" : from->invalid;
    return lc_err_param(err, from->field);
}

static lc_code load_one(lc_job *job, const source *from, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    LC_TRY(lc_job_say(job, err, "Preprocessing running for file %s file.", from->name));
    LC_TRY(cache_path(job, from->name, path, err));
    if (lc_job_is_follower(job)) {
        return load_source(job, from, err);
    }
    if (cache_is_valid(job, from, path)) {
        LC_TRY(load_cache(job, from, path, err));
    } else {
        LC_TRY(load_source(job, from, err));
        LC_TRY(save_cache(job, from, path, err));
    }
    from->data->example_count = from->dataset->example_count;
    from->data->token_count = from->dataset->token_count;
    from->data->truncated_count = from->dataset->truncated_count;
    from->data->truncated_tokens = from->dataset->truncated_tokens;
    if (from->dataset->truncated_count > 0) {
        lc_log(LC_LOG_WARN,
               "%s: %lld of %lld rows were cut to %lld tokens, %lld tokens are left out",
               from->what, (long long)from->dataset->truncated_count,
               (long long)from->dataset->example_count, (long long)max_tokens_of(job),
               (long long)from->dataset->truncated_tokens);
    }
    return lc_job_say(job, err, "Preprocessing completed for file %s file.", from->name);
}

lc_code lc_job_load_data(lc_job *job, lc_err *err)
{
    lc_job_state *state = &job->dir.state;
    const source training = {.path = job->spec.training_file,
                             .field = "training_file",
                             .invalid = "invalid_training_file",
                             .what = "Training file",
                             .name = "training",
                             .dataset = &job->training,
                             .data = &state->training,
                             .sha256 = state->identity.training_sha256};
    const source validation = {.path = job->spec.validation_file,
                               .field = "validation_file",
                               .invalid = "invalid_validation_file",
                               .what = "Validation file",
                               .name = "validation",
                               .dataset = &job->validation,
                               .data = &state->validation,
                               .sha256 = state->identity.validation_sha256};
    LC_TRY(load_one(job, &training, err));
    job->has_validation = job->spec.validation_file != NULL;
    return job->has_validation ? load_one(job, &validation, err) : LC_OK;
}
