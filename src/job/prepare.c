/*
 * From a job file to a trainer that can run: model shape, adapter, device, weights, first adapter
 * values. Everything here is the same for a first run and a resume.
 */
#include "job/prepare.h"

#include <string.h>

#include "job/adapter.h"
#include "job/memory.h"
#include "job/ranks.h"
#include "lorac/log.h"
#include "ops/backend.h"

static lc_code check_file(const char *field, const char *path, lc_err *err)
{
    if (path != NULL && !lc_path_exists(path)) {
        return lc_fail_param(err, LC_ERR_NOT_FOUND, field, "%s: there is no file %s", field, path);
    }
    return LC_OK;
}

lc_code lc_job_check(lc_job *job, lc_err *err)
{
    const lc_job_spec *spec = &job->spec;
    LC_TRY(check_file("training_file", spec->training_file, err));
    LC_TRY(check_file("validation_file", spec->validation_file, err));
    LC_TRY(lc_model_config_load(spec->model, &job->config, err));
    return lc_job_adapter_spec(spec, &job->config, &job->adapter, err);
}

static lc_train_options train_options(const lc_job *job)
{
    const lc_job_spec *spec = &job->spec;
    const lc_job_resolved *resolved = &job->dir.state.resolved;
    const lc_train_options options = {.seed = (uint32_t)resolved->seed,
                                      .batch_size = resolved->batch_size,
                                      .steps_per_epoch = resolved->steps_per_epoch,
                                      .total_steps = resolved->total_steps,
                                      .micro_batch_tokens = resolved->micro_batch_tokens,
                                      .packing = spec->packing,
                                      .shuffle = spec->shuffle,
                                      .schedule = spec->schedule,
                                      .learning_rate = resolved->learning_rate,
                                      .warmup_steps = resolved->warmup_steps,
                                      .weight_decay = spec->weight_decay,
                                      .grad_clip = spec->grad_clip,
                                      .eval_every_steps = resolved->eval_every_steps,
                                      .eval_examples = LC_EVAL_EXAMPLES,
                                      .checkpoint_every_steps = resolved->checkpoint_every_steps};
    return options;
}

int64_t lc_job_longest(const lc_job *job)
{
    return job->training.longest > job->validation.longest ? job->training.longest
                                                           : job->validation.longest;
}

lc_code lc_job_open_device(lc_job *job, lc_device_kind kind, lc_err *err)
{
    const lc_device_options options = {.kind = kind,
                                       .threads = job->threads,
                                       .index = job->launch.local_rank,
                                       .deterministic = job->spec.deterministic};
    if (job->device == NULL && lc_device_open(&options, &job->device, err) != LC_OK) {
        return lc_err_param(err, "lorac.device");
    }
    lc_log(LC_LOG_INFO, "device: %s", job->device->description);
    return lc_job_check_ranks(job, lc_device_kind_of(job->device), err);
}

/* What the backward pass has to compute again for the job to fit this machine's memory; refuses one
 * that it cannot hold. */
static lc_code fit_memory(const lc_job *job, int32_t *recompute, lc_err *err)
{
    char text[LC_RECOMPUTE_BYTES];
    int64_t used = 0, limit = 0;
    LC_TRY(job->device->ops->memory(job->device, &used, &limit, err));
    if (job->device->is_host) {
        limit = lc_job_memory_limit();
    }
    const lc_data_extent training = lc_data_extent_of(&job->training);
    const lc_data_extent validation = lc_data_extent_of(&job->validation);
    const int64_t loaded = lc_data_extent_bytes(&training) + lc_data_extent_bytes(&validation);
    const lc_job_extent extent = {.config = &job->config,
                                  .adapter = job->adapter,
                                  .resolved = &job->dir.state.resolved,
                                  .dropout = job->spec.dropout,
                                  .recompute = job->spec.recompute,
                                  .world_size = job->launch.world_size,
                                  .longest = lc_job_longest(job),
                                  .training = training,
                                  .validation = validation,
                                  .process_bytes = lc_job_process_bytes(loaded)};
    LC_TRY(lc_job_memory_fit(&extent, limit, recompute, err));
    if (*recompute > 0) {
        lc_log(LC_LOG_INFO, "memory: the backward pass computes %s again",
               lc_job_recompute_text(&extent, *recompute, text));
    }
    return LC_OK;
}

static lc_code open_model(lc_job *job, int32_t recompute, lc_err *err)
{
    const lc_job_resolved *resolved = &job->dir.state.resolved;
    const lc_model_options options = {.dtype = resolved->dtype,
                                      .training = true,
                                      .dropout = (float)job->spec.dropout,
                                      .recompute = recompute,
                                      .tokens = resolved->micro_batch_tokens};
    lc_weight_files *files = NULL;
    job->model = lc_calloc(1, sizeof *job->model);
    if (job->model == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the model");
    }
    LC_TRY(lc_weight_files_open(job->spec.model, &files, err));
    const lc_code code =
        lc_model_open(&job->config, job->adapter, files, &options, job->device, job->model, err);
    job->is_model_open = code == LC_OK;
    lc_weight_files_close(files);
    return code;
}

/* The adapter before step 1: fresh, or the one the job file names. */
static lc_code first_values(lc_job *job, lc_err *err)
{
    lc_train_state *state = lc_trainer_state(job->trainer);
    if (job->spec.init_adapter != NULL) {
        LC_TRY(lc_adapter_load(job->spec.init_adapter, job->adapter, &job->config, state->master,
                               err));
    } else {
        lc_adapter_init(job->adapter, &job->config, (uint32_t)job->dir.state.resolved.seed,
                        state->master);
    }
    return lc_trainer_restore(job->trainer, err);
}

lc_code lc_job_prepare(lc_job *job, lc_err *err)
{
    const lc_train_options options = train_options(job);
    int32_t recompute = 0;
    LC_TRY(fit_memory(job, &recompute, err));
    LC_TRY(job->comm.reserve(&job->comm, job->adapter->master_count, err));
    LC_TRY(open_model(job, recompute, err));
    LC_TRY(lc_trainer_open(job->model, &job->training,
                           job->has_validation ? &job->validation : NULL, &job->comm, &options,
                           &job->trainer, err));
    return first_values(job, err);
}

void lc_job_unprepare(lc_job *job)
{
    if (job->comm.release != NULL) { /* first: what is queued may wait for ranks that are gone */
        job->comm.release(&job->comm);
        job->comm.release = NULL;
    }
    lc_trainer_close(job->trainer);
    job->trainer = NULL;
    if (job->is_model_open) {
        lc_model_close(job->model);
        job->is_model_open = false;
    }
    lc_free(job->model);
    job->model = NULL;
    if (job->device != NULL) {
        job->device->ops->close(job->device);
        job->device = NULL;
    }
    lc_dataset_release(&job->training);
    lc_dataset_release(&job->validation);
}
