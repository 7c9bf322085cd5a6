/*
 * The public API: a job from its file to its end. Turns the trainer's hooks into events, rows,
 * checkpoints and states of job.json. Resuming is the same path: the logs are cut back to the
 * newest checkpoint (or to nothing) and written again with the same ids, so that an interrupted job
 * leaves the files of an undisturbed one.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/params.h"
#include "base/thread.h"
#include "job/ranks.h"
#include "lorac/log.h"
#include "ops/backend.h"

#define MAX_ESTIMATE_SECONDS 1e9 /* longer is no estimate */
#define FIGURES_SECONDS      1.0 /* between two writes of figures.json */

static lc_code check_unchanged(lc_job *job, lc_err *err);

/* ---- opening ---- */

static lc_code choose_threads(const lc_job_options *options, lc_job *job, lc_err *err)
{
    int64_t threads = options->threads;
    if (threads < 0 || threads > LC_MAX_THREADS) {
        return lc_fail_param(err, LC_ERR_USAGE, "threads", "threads: expected 1 to %d, found %d",
                             LC_MAX_THREADS, options->threads);
    }
    if (threads == 0) {
        LC_TRY(lc_param_int(LC_PARAM_THREADS, lc_cpu_count(), &threads, err));
    }
    job->threads = (int)threads;
    return LC_OK;
}

static lc_code take_id(const lc_job_options *options, lc_job *job, lc_err *err)
{
    job->spec.id = options->id;
    return options->id == NULL || lc_job_id_is(options->id)
               ? LC_OK
               : lc_fail_param(err, LC_ERR_USAGE, "id",
                               "id: expected \"ftjob-\" and 32 hex digits, found \"%.80s\"",
                               options->id);
}

static lc_code open_directory(const lc_job_options *options, lc_job *job, lc_err *err)
{
    LC_TRY(lc_job_dir_open(options->out_dir, &job->spec, options->resume != 0, &job->dir, err));
    LC_TRY(lc_job_ledger_check(job, err));
    return check_unchanged(job, err);
}

/* A rank other than 0 leaves the directory alone; it only looks whether there is anything to do. */
static lc_code open_follower(const lc_job_options *options, lc_job *job, lc_err *err)
{
    (void)err;
    job->is_silent = true;
    if (options->resume != 0 && lc_job_dir_has_succeeded(options->out_dir)) {
        job->dir.state.status = LC_JOB_SUCCEEDED;
    }
    return LC_OK;
}

lc_code lc_job_open(const lc_job_options *options, lc_job **out, lc_err *err)
{
    lc_code code;
    *out = NULL;
    if (options == NULL || options->job_file == NULL || options->out_dir == NULL) {
        return lc_fail(err, LC_ERR_USAGE, "lc_job_open: %s is NULL",
                       options == NULL             ? "options"
                       : options->job_file == NULL ? "options->job_file"
                                                   : "options->out_dir");
    }
    lc_job *job = lc_calloc(1, sizeof *job);
    if (job == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a job");
    }
    job->dir.lock_fd = job->dir.events_fd = job->dir.results_fd = -1;
    LC_TRY_GOTO(choose_threads(options, job, err));
    LC_TRY_GOTO(lc_job_spec_load(options->job_file, &job->spec, err));
    LC_TRY_GOTO(take_id(options, job, err));
    LC_TRY_GOTO(lc_job_check(job, err));
    LC_TRY_GOTO(lc_launch_detect(&job->launch, err));
    LC_TRY_GOTO(lc_job_check_ranks(job, job->spec.device, err));
    LC_TRY_GOTO(lc_job_is_follower(job) ? open_follower(options, job, err)
                                        : open_directory(options, job, err));
    *out = job;
    return LC_OK;
fail:
    lc_job_close(job);
    return code;
}

void lc_job_stop(lc_job *job)
{
    atomic_store(&job->stop, 1);
}

void lc_job_close(lc_job *job)
{
    if (job == NULL) {
        return;
    }
    lc_job_unprepare(job);
    lc_job_dir_close(&job->dir);
    lc_job_spec_release(&job->spec);
    lc_ledger_release(&job->ledger);
    lc_free(job->adapter);
    lc_free(job);
}

/* ---- hooks ---- */

lc_code lc_job_say(lc_job *job, lc_err *err, const char *format, ...)
{
    char message[LC_ERR_MESSAGE_BYTES];
    va_list arguments;
    if (job->is_silent) {
        return LC_OK;
    }
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return lc_job_event(&job->dir, "info", job->on_event, job->context, err, "%s", message);
}

/* Device memory in use, for watchers; not in a step, which waits for nothing. */
static void note_memory(lc_job *job)
{
    lc_err ignored = {.code = LC_OK};
    int64_t *used = &job->figures.gpu_used_bytes, available = 0;
    if (job->device->is_host ||
        job->device->ops->memory(job->device, used, &available, &ignored) != LC_OK) {
        *used = -1;
    }
}

/* What watchers read; that it cannot be written stops nobody. */
static void write_figures(lc_job *job)
{
    lc_err own = {.code = LC_OK};
    if (lc_job_figures_write(job->dir.path, &job->figures, &own) != LC_OK) {
        lc_log(LC_LOG_DEBUG, "%s", own.message);
    }
}

static void note_step(lc_job *job, const lc_progress *progress)
{
    const double now = lc_monotonic_seconds();
    job->figures.progress = *progress;
    lc_histogram_add(&job->figures.steps, now - job->step_began);
    if (now - job->figures.written_at >= FIGURES_SECONDS) {
        write_figures(job);
    }
}

static lc_code on_step(void *context, const lc_metrics *metrics, const lc_progress *progress,
                       lc_err *err)
{
    lc_job *job = context;
    const int64_t every = job->spec.log_every_steps;
    const bool is_measured = !isnan(metrics->valid_loss) || !isnan(metrics->full_valid_loss);
    const bool is_logged = metrics->step == 1 || metrics->step % every == 0 || is_measured ||
                           metrics->step == job->dir.state.resolved.total_steps;
    note_step(job, progress);
    job->metrics = *metrics;
    if (!job->is_ledger_warm) { /* most of what this run will choose */
        LC_TRY(lc_job_ledger_update(job, err));
        job->is_ledger_warm = true;
    }
    const lc_code code =
        lc_job_step(&job->dir, metrics, progress, is_logged, job->on_event, job->context, err);
    job->step_began = lc_monotonic_seconds();
    return code;
}

/* Azure's checkpoint object, but for created_at, which would make every run's bytes its own: the
 * file has it. `what` tells it from the job's others; the last epoch's model is the fine-tuned
 * model itself. */
static void write_checkpoint_object(const lc_job *job, const char *what, bool is_last,
                                    const lc_metrics *metrics, lc_text *out)
{
    char id[LC_JOB_ID_BYTES], name[LC_JOB_NAME_BYTES];
    const lc_job_state *state = &job->dir.state;
    lc_job_derive_id(state->id, "ftchkpt-", what, id);
    lc_job_model_name(state, &job->spec, name);
    lc_text_addf(out,
                 "{\"id\": \"%s\", \"object\": \"fine_tuning.job.checkpoint\", "
                 "\"fine_tuning_job_id\": \"%s\", "
                 "\"step_number\": %lld, \"fine_tuned_model_checkpoint\": ",
                 id, state->id, (long long)metrics->step);
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(&text, "%s", name);
    if (!is_last) {
        lc_text_addf(&text, ":ckpt-step-%lld", (long long)metrics->step);
    }
    out->failed = out->failed || text.failed;
    if (!text.failed) {
        lc_text_add_json_string(out, text.data, text.length);
    }
    lc_text_release(&text);
    lc_text_addf(out, ", \"metrics\": ");
    lc_job_metrics_write(metrics, true, out);
    lc_text_addf(out, "}\n");
}

static lc_adapter_meta adapter_meta(const lc_job *job)
{
    const lc_adapter_meta meta = {.base_model = job->spec.model, .dropout = job->spec.dropout};
    return meta;
}

static lc_code on_epoch(void *context, int64_t epoch, const lc_metrics *metrics,
                        const float *master, lc_err *err)
{
    lc_job *job = context;
    const lc_adapter_meta meta = adapter_meta(job);
    char what[32];
    lc_text text;
    lc_text_init(&text);
    (void)snprintf(what, sizeof what, "epoch-%lld", (long long)epoch);
    write_checkpoint_object(job, what, epoch == job->dir.state.resolved.n_epochs, metrics, &text);
    lc_code code = lc_text_finish(&text, "a checkpoint object", err);
    if (code == LC_OK) {
        code = lc_checkpoint_save_epoch(job->dir.path, epoch, job->spec.keep_checkpoints, text.data,
                                        job->adapter, &job->config, master, &meta, err);
    }
    lc_text_release(&text);
    job->step_began = lc_monotonic_seconds();
    return code;
}

/* A run that is stopped leaves the adapter of its last step in paused/, to be tried until it goes
 * on; the end of an epoch has one in checkpoints/ already. */
static lc_code keep_paused(lc_job *job, lc_err *err)
{
    const lc_train_state *state = lc_trainer_state(job->trainer);
    const lc_adapter_meta meta = adapter_meta(job);
    const float *master = NULL;
    char what[32];
    lc_text text;
    if (state->step == 0 ||
        (state->is_open == 0 && state->step % job->dir.state.resolved.steps_per_epoch == 0)) {
        return LC_OK;
    }
    LC_TRY(lc_trainer_masters(job->trainer, &master, err));
    const lc_metrics unmeasured = {
        state->step, state->train_loss, state->train_accuracy, NAN, NAN, NAN, NAN};
    lc_text_init(&text);
    (void)snprintf(what, sizeof what, "step-%lld", (long long)state->step);
    write_checkpoint_object(job, what, false,
                            job->metrics.step == state->step ? &job->metrics : &unmeasured, &text);
    lc_code code = lc_text_finish(&text, "a checkpoint object", err);
    if (code == LC_OK) {
        code = lc_checkpoint_save_paused(job->dir.path, text.data, job->adapter, &job->config,
                                         master, &meta, err);
    }
    lc_text_release(&text);
    return code;
}

/* Keeps job.json's estimated_finish near the truth: written when it is unknown or off by more than
 * 30 s and a tenth of what is left, so that a short job pays for it once. */
static lc_code update_estimate(lc_job *job, lc_err *err)
{
    lc_job_state *state = &job->dir.state;
    const double left = job->figures.progress.eta_seconds;
    if (job->figures.progress.step == 0 || !(left >= 0.0 && left < MAX_ESTIMATE_SECONDS)) {
        return LC_OK;
    }
    const int64_t finish = lc_unix_seconds() + (int64_t)ceil(left);
    const double error = fabs((double)(finish - state->estimated_finish));
    if (error <= 30.0 || error <= left / 10.0) {
        return LC_OK;
    }
    state->estimated_finish = finish;
    return lc_job_dir_save(&job->dir, &job->spec, err);
}

static lc_code save_checkpoint(lc_job *job, lc_train_state *state, lc_err *err)
{
    LC_TRY(lc_job_dir_sync(&job->dir, err));
    state->event_count = job->dir.event_count;
    state->events_bytes = job->dir.events_bytes;
    state->results_bytes = job->dir.results_bytes;
    LC_TRY(lc_job_ledger_update(job, err));
    lc_job_ledger_note(job, state);
    return lc_checkpoint_save(job->dir.path, state, &job->dir.state.identity, err);
}

static lc_code on_checkpoint(void *context, lc_train_state *state, lc_err *err)
{
    lc_job *job = context;
    const double began = lc_monotonic_seconds();
    const lc_code code = save_checkpoint(job, state, err);
    if (code != LC_OK) {
        job->figures.checkpoint_failures++;
        return code;
    }
    job->step_began = lc_monotonic_seconds();
    lc_histogram_add(&job->figures.checkpoints, job->step_began - began);
    note_memory(job);
    return update_estimate(job, err);
}

/* ---- running ---- */

/* Identity of what the job reads but for its data; large files are read once an opened job. */
static lc_code identify(lc_job *job, lc_err *err)
{
    lc_train_identity *now = &job->identity;
    if (job->is_identified) {
        return LC_OK;
    }
    memcpy(now->spec_sha256, job->spec.sha256, sizeof now->spec_sha256);
    if (job->spec.init_adapter != NULL) {
        LC_TRY(lc_job_adapter_sha256(job->spec.init_adapter, now->init_sha256, err));
    }
    LC_TRY(lc_job_base_sha256(job->spec.model, job->threads, now->base_sha256, err));
    job->is_identified = true;
    return LC_OK;
}

/* On resume, before anything in the job directory is touched: a job that may not go on with these
 * files stays as it is, to be resumed once they are back. */
static lc_code check_unchanged(lc_job *job, lc_err *err)
{
    const lc_job_state *state = &job->dir.state;
    lc_train_identity *now = &job->identity;
    if (!state->resolved_known || state->status == LC_JOB_SUCCEEDED) {
        return LC_OK;
    }
    LC_TRY(identify(job, err));
    LC_TRY(lc_sha256_file(job->spec.training_file, now->training_sha256, NULL, err));
    if (job->spec.validation_file != NULL) {
        LC_TRY(lc_sha256_file(job->spec.validation_file, now->validation_sha256, NULL, err));
    }
    return lc_train_identity_compare(&state->identity, now, err);
}

/* The same with the data that was loaded. */
static lc_code identify_all(lc_job *job, lc_err *err)
{
    lc_train_identity *now = &job->identity;
    LC_TRY(identify(job, err));
    memcpy(now->training_sha256, job->training.sha256, sizeof now->training_sha256);
    if (job->has_validation) {
        memcpy(now->validation_sha256, job->validation.sha256, sizeof now->validation_sha256);
    }
    return LC_OK;
}

/* Resolves every "auto" and notes the identity, or checks both against what was noted. */
static lc_code settle(lc_job *job, lc_err *err)
{
    lc_job_state *state = &job->dir.state;
    lc_train_identity *now = &job->identity;
    LC_TRY(identify_all(job, err));
    if (state->resolved_known) {
        LC_TRY(lc_train_identity_compare(&state->identity, now, err));
        LC_TRY(lc_job_open_device(job, state->resolved.device, err));
        return lc_job_ledger_begin(job, err);
    }
    LC_TRY(lc_job_open_device(job, job->spec.device, err));
    LC_TRY(lc_job_ledger_begin(job, err));
    const lc_job_facts facts = {.example_count = job->training.example_count,
                                .longest_example = lc_job_longest(job),
                                .model_context = job->config.max_position,
                                .device = lc_device_kind_of(job->device)};
    LC_TRY(lc_job_resolve(&job->spec, &facts, state->drawn_seed, &state->resolved, err));
    state->identity = *now;
    state->resolved_known = true;
    return LC_OK;
}

/* Another number of ranks adds up the same sums in another order. */
static void note_world_size(lc_job *job)
{
    lc_job_state *state = &job->dir.state;
    if (job->is_continued && state->world_size != job->launch.world_size) {
        lc_log(LC_LOG_WARN,
               "the job goes on with %d rank%s, it had %lld before: results stay within rounding "
               "of those of an undisturbed run, but are not the same bytes",
               job->launch.world_size, job->launch.world_size == 1 ? "" : "s",
               (long long)state->world_size);
    }
    state->world_size = job->launch.world_size;
}

static lc_code begin_training(lc_job *job, lc_err *err)
{
    lc_job_state *state = &job->dir.state;
    note_world_size(job);
    lc_job_derive_id(state->id, "file-", "results.csv", state->result_file);
    state->status = LC_JOB_RUNNING;
    LC_TRY(lc_job_dir_save(&job->dir, &job->spec, err));
    LC_TRY(lc_job_say(job, err, "Job started."));
    LC_TRY(lc_job_say(job, err, "Training started."));
    LC_TRY(lc_job_results_begin(&job->dir, err));
    return lc_job_say(job, err, "Created results file: %s", state->result_file);
}

/* Before anything is said: cuts the logs back to the newest valid checkpoint, or to nothing. */
static lc_code rewind_logs(lc_job *job, lc_err *err)
{
    lc_train_state counters = {.step = 0}; /* no buffers: only verified and counted */
    LC_TRY(lc_checkpoint_drop_paused(job->dir.path, err));
    LC_TRY(lc_checkpoint_load(job->dir.path, &job->dir.state.identity, &counters,
                              &job->is_continued, err));
    if (job->is_continued) {
        LC_TRY(lc_job_ledger_compare(job, &counters, err));
    }
    const int64_t epochs = job->is_continued ? (counters.step - counters.is_open) /
                                                   job->dir.state.resolved.steps_per_epoch
                                             : 0;
    LC_TRY(lc_checkpoint_drop_epochs(job->dir.path, epochs, err));
    return lc_job_dir_rewind(&job->dir, counters.event_count, counters.events_bytes,
                             counters.results_bytes, err);
}

static lc_code restore(lc_job *job, lc_err *err)
{
    lc_train_state *state = lc_trainer_state(job->trainer);
    bool found = false;
    LC_TRY(lc_checkpoint_load(job->dir.path, &job->dir.state.identity, state, &found, err));
    if (!found) {
        return lc_fail(err, LC_ERR_IO, "the checkpoint in %s/resume cannot be read any more",
                       job->dir.path);
    }
    lc_log(LC_LOG_INFO, "resumed after step %lld", (long long)state->step);
    return lc_trainer_restore(job->trainer, err);
}

static lc_code finish(lc_job *job, lc_err *err)
{
    lc_job_state *state = &job->dir.state;
    const lc_adapter_meta meta = adapter_meta(job);
    const float *master = NULL;
    state->trained_tokens = lc_trainer_state(job->trainer)->trained_tokens;
    LC_TRY(lc_trainer_masters(job->trainer, &master, err));
    LC_TRY(lc_checkpoint_save_final(job->dir.path, job->adapter, &job->config, master, &meta, err));
    LC_TRY(lc_job_say(job, err, "Job succeeded."));
    LC_TRY(lc_job_say(job, err, "Completed results file: %s", state->result_file));
    LC_TRY(lc_job_say(job, err, "Training tokens billed: %lld", (long long)state->trained_tokens));
    LC_TRY(lc_job_dir_sync(&job->dir, err));
    state->status = LC_JOB_SUCCEEDED;
    state->finished_at = lc_unix_seconds();
    state->estimated_finish = 0;
    return lc_job_dir_save(&job->dir, &job->spec, err);
}

static lc_code train(lc_job *job, const lc_train_hooks *hooks, lc_err *err)
{
    lc_err own = {.code = LC_OK};
    note_memory(job);
    job->step_began = lc_monotonic_seconds();
    const lc_code code = lc_trainer_run(job->trainer, hooks, &job->stop, err);
    if (code == LC_ERR_INTERRUPTED &&
        keep_paused(job, &own) != LC_OK) { /* the checkpoint is safe */
        lc_log(LC_LOG_WARN, "no adapter of the last step was kept: %s", own.message);
    }
    return code;
}

/* From the first event to the last. What a checkpoint already has in its logs is not said again. */
static lc_code run(lc_job *job, lc_err *err)
{
    const lc_train_hooks hooks = {
        .context = job, .on_step = on_step, .on_epoch = on_epoch, .on_checkpoint = on_checkpoint};
    if (job->dir.resumed) {
        lc_err ignored = {.code = LC_OK};
        (void)!lc_job_figures_read(job->dir.path, &job->figures, &ignored); /* counts go on */
        LC_TRY(rewind_logs(job, err));
        job->is_silent = job->is_continued;
    }
    job->are_logs_known = true;
    LC_TRY(lc_job_say(job, err, "Job enqueued. Waiting for jobs ahead to complete."));
    LC_TRY(lc_job_load_data(job, err));
    LC_TRY(settle(job, err));
    LC_TRY(lc_job_meet(job, err));
    LC_TRY(lc_job_share_facts(job, err));
    LC_TRY(lc_job_share_ledger(job, err));
    LC_TRY(lc_job_prepare(job, err));
    LC_TRY(begin_training(job, err));
    if (job->is_continued) {
        LC_TRY(restore(job, err));
        LC_TRY(lc_job_share_checkpoint(job, err));
    }
    job->is_silent = false;
    LC_TRY(train(job, &hooks, err));
    LC_TRY(lc_job_compare_adapters(job, err));
    return lc_comm_agree(&job->comm, finish(job, err), err);
}

/* ---- ranks other than 0 ---- */

static lc_code ignore_step(void *context, const lc_metrics *metrics, const lc_progress *progress,
                           lc_err *err)
{
    (void)context, (void)metrics, (void)progress, (void)err;
    return LC_OK;
}

/* What run does, in the same order but for the directory: it meets rank 0 where that shares what it
 * knows, in each sum of the training, and at the end. */
static lc_code follow(lc_job *job, lc_err *err)
{
    const lc_train_hooks hooks = {.context = job, .on_step = ignore_step};
    LC_TRY(lc_job_load_data(job, err));
    LC_TRY(identify_all(job, err));
    LC_TRY(lc_job_open_device(job, job->spec.device, err));
    LC_TRY(lc_job_meet(job, err));
    LC_TRY(lc_job_share_facts(job, err));
    LC_TRY(lc_job_share_ledger(job, err));
    LC_TRY(lc_job_prepare(job, err));
    LC_TRY(lc_job_share_checkpoint(job, err));
    LC_TRY(lc_trainer_run(job->trainer, &hooks, &job->stop, err));
    LC_TRY(lc_job_compare_adapters(job, err));
    return lc_comm_agree(&job->comm, LC_OK, err);
}

/* ---- ends ---- */

static lc_job_status status_after(lc_code code)
{
    return code == LC_ERR_INTERRUPTED || code == LC_ERR_DISK_FULL ? LC_JOB_PAUSED : LC_JOB_FAILED;
}

/* The last event, after cutting off the half line that a failed append may have left. Before the
 * lengths of the logs are known nothing is cut or added. */
static lc_code end_logs(lc_job *job, const lc_err *why, lc_err *err)
{
    lc_job_dir *dir = &job->dir;
    if (!job->are_logs_known) {
        return LC_OK;
    }
    LC_TRY(lc_job_dir_rewind(dir, dir->event_count, dir->events_bytes, dir->results_bytes, err));
    return lc_job_event(dir, "error", job->on_event, job->context, err, "Job failed. %s",
                        why->message);
}

/* Puts a failed run into job.json as far as that is still possible; the run's own error stays what
 * is returned. */
static void record_failure(lc_job *job, lc_code code, const lc_err *why)
{
    lc_job_state *state = &job->dir.state;
    lc_err ignored = {.code = LC_OK};
    state->status = status_after(code);
    state->estimated_finish = 0;
    if (code != LC_ERR_INTERRUPTED) {
        (void)snprintf(state->error_code, sizeof state->error_code, "%s",
                       job->data_error != NULL ? job->data_error : lc_code_name(code));
        (void)snprintf(state->error_message, sizeof state->error_message, "%s", why->message);
        (void)snprintf(state->error_param, sizeof state->error_param, "%s", why->param);
    }
    if (state->status == LC_JOB_FAILED) {
        state->finished_at = lc_unix_seconds();
        if (end_logs(job, why, &ignored) != LC_OK) {
            lc_log(LC_LOG_ERROR, "the last event could not be written: %s", ignored.message);
        }
    }
    if (code == LC_ERR_DISK_FULL) {
        lc_job_dir_release_reserve(&job->dir);
    }
    lc_err_clear(&ignored);
    if (lc_job_dir_save(&job->dir, &job->spec, &ignored) != LC_OK) {
        lc_log(LC_LOG_ERROR, "job.json could not be written: %s", ignored.message);
    }
    if (job->figures.progress.step > 0) { /* with the checkpoint that failed, if one did */
        write_figures(job);
    }
}

/* To the listener only: the files of a job that has succeeded stay as they are. */
static void say_done(lc_event_fn on_event, void *context)
{
    const lc_event event = {.id = "",
                            .created_at = lc_unix_seconds(),
                            .level = "info",
                            .type = "message",
                            .message = "The job has succeeded already; nothing was done."};
    if (on_event != NULL) {
        on_event(context, &event);
    }
}

static lc_code open_log_file(const lc_job *job, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(job->dir.path, "log.txt", path, err));
    return lc_log_open_file(path, err);
}

lc_code lc_job_run(lc_job *job, lc_event_fn on_event, void *context, lc_err *err)
{
    lc_job_state *state = &job->dir.state;
    lc_err own = {.code = LC_OK};
    lc_err *why = err != NULL ? err : &own; /* record_failure needs the message */
    if (state->status == LC_JOB_SUCCEEDED) {
        say_done(on_event, context);
        return LC_OK;
    }
    if (job->has_run) {
        return lc_fail(err, LC_ERR_USAGE,
                       "lc_job_run: this job has run; close it and open it again with resume");
    }
    job->has_run = true;
    job->on_event = on_event;
    job->context = context;
    job->data_error = NULL;
    if (lc_job_is_follower(job)) {
        return follow(job, err);
    }
    state->error_code[0] = state->error_message[0] = state->error_param[0] = '\0';
    state->finished_at = 0;
    lc_code code = open_log_file(job, why);
    if (job->spec.shadowed != NULL) {
        lc_log(LC_LOG_WARN, "%s: not used, lorac.init_adapter has its own", job->spec.shadowed);
    }
    if (code == LC_OK) {
        code = run(job, why);
    }
    if (code != LC_OK) {
        lc_log(LC_LOG_INFO, "ended: %s", why->message); /* who called prints it */
        record_failure(job, code, why);
    }
    lc_log_close_file();
    return code;
}
