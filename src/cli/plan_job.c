/*
 * Planning a job; see plan_job.h.
 */
#include "cli/plan_job.h"

#include <string.h>

#include "base/clock.h"
#include "data/dataset.h"
#include "infer/engine.h"
#include "ops/backend.h"
#include "job/adapter.h"

#define PROBE_ROWS      512
#define MAX_PROBE_WIDTH 4096
#define PROBE_SECONDS   0.25
/* Of a data set that is not there; no buffer of the model depends on it. */
#define UNKNOWN_EXAMPLES 1

/* ---- what the job says ---- */

/* Measures a data set if its file is there. */
static lc_code read_data(lc_job_plan *job, const char *path, const char *what, int64_t max_tokens,
                         lc_data_extent *extent, lc_err *err)
{
    lc_dataset dataset;
    if (path == NULL || !lc_path_exists(path)) {
        return LC_OK;
    }
    memset(&dataset, 0, sizeof dataset);
    char date[LC_TEMPLATE_DATE_BYTES];
    const lc_dataset_reading reading = {
        .what = what,
        .max_tokens = max_tokens,
        .use_cache = true,
        .chat_template = lc_job_template_source(&job->spec, lc_unix_seconds(), date)};
    LC_TRY(lc_dataset_load(path, &reading, job->spec.model, job->config.vocab, &dataset, err));
    *extent = lc_data_extent_of(&dataset);
    if (dataset.longest > job->extent.longest) {
        job->extent.longest = dataset.longest;
    }
    lc_dataset_release(&dataset);
    return LC_OK;
}

static lc_code read_data_sets(lc_job_plan *job, lc_err *err)
{
    const int64_t context = job->config.max_position;
    const int64_t max_tokens = job->spec.max_seq_len < context ? job->spec.max_seq_len : context;
    LC_TRY(read_data(job, job->spec.training_file, "Training file", max_tokens,
                     &job->extent.training, err));
    LC_TRY(read_data(job, job->spec.validation_file, "Validation file", max_tokens,
                     &job->extent.validation, err));
    if (job->extent.training.examples == 0) {
        job->extent.longest = max_tokens;
    }
    return LC_OK;
}

static lc_code resolve(lc_job_plan *job, lc_err *err)
{
    const int64_t examples = job->extent.training.examples;
    const lc_job_facts facts = {.example_count = examples > 0 ? examples : UNKNOWN_EXAMPLES,
                                .longest_example = job->extent.longest,
                                .model_context = job->config.max_position,
                                .device = job->spec.device == LC_DEVICE_AUTO ? lc_device_auto()
                                                                             : job->spec.device};
    return lc_job_resolve(&job->spec, &facts, 0, &job->resolved, err);
}

/* ---- time ---- */

/* Multiply-adds of one token in the linears of a layer; each costs two operations. */
static double layer_products(const lc_model_config *config)
{
    double products = 0.0;
    for (int module = 0; module < LC_MODULE_COUNT; module++) {
        products += (double)lc_module_in(config, (lc_module_kind)module) *
                    (double)lc_module_out(config, (lc_module_kind)module);
    }
    return products;
}

static void estimate_flops(lc_job_plan *job)
{
    const lc_model_config *config = &job->config;
    const double layers = config->layers;
    const double trained_layers = layers - job->adapter->first_layer;
    const lc_data_extent *training = &job->extent.training, *validation = &job->extent.validation;
    const double mean_length = training->examples > 0
                                   ? (double)training->tokens / (double)training->examples
                                   : (double)job->extent.longest;
    /* Scores and weighted sums over half the document on average, forward; the backward pass has
     * five products. */
    const double attention = (double)config->heads * config->head_dim * mean_length;
    const double adapter = 2.0 * (double)job->adapter->parameter_count;
    const double forward = layers * (2.0 * layer_products(config) + 2.0 * attention) + adapter;
    const lc_recomputed again = lc_model_recomputed(config, job->adapter, job->recompute);
    const double gate_up = 4.0 * (double)config->width * config->mlp;
    const double middle =
        2.0 * (layer_products(config) - 3.0 * (double)config->width * config->mlp + attention);
    const double recomputed = (again.whole + again.gate_up) * gate_up + again.whole * middle;
    const double backward = trained_layers * (2.0 * layer_products(config) + 5.0 * attention) +
                            2.0 * adapter + recomputed;
    const double head = 2.0 * (double)config->width * config->vocab;
    const double full_validation =
        (double)validation->tokens * forward + (double)validation->targets * head;
    job->token_flops = forward + backward + 2.0 * head;
    job->epoch_flops = training->examples > 0
                           ? (double)training->tokens * (forward + backward) +
                                 (double)training->targets * 2.0 * head + full_validation
                           : 0.0;
}

static int32_t at_most(int32_t value, int32_t limit)
{
    return value < limit ? value : limit;
}

/* One product of the model's shape, again and again for a moment; the first one is warm-up. */
static lc_code time_products(lc_device *device, const lc_linear_args *args, double *per_second,
                             lc_err *err)
{
    int64_t runs = 0;
    double began = 0.0, seconds = 0.0;
    LC_TRY(device->ops->linear(device, args, err));
    began = lc_monotonic_seconds();
    while (seconds < PROBE_SECONDS) {
        LC_TRY(device->ops->linear(device, args, err));
        LC_TRY(device->ops->sync(device, err));
        runs++;
        seconds = lc_monotonic_seconds() - began;
    }
    *per_second = (double)runs / seconds;
    return LC_OK;
}

static lc_code measure_gemm(lc_job_plan *job, lc_err *err)
{
    lc_device *device = job->device;
    const int64_t in = at_most(job->config.width, MAX_PROBE_WIDTH);
    const int64_t out = at_most(2 * job->config.mlp, MAX_PROBE_WIDTH);
    void *x = NULL, *w = NULL, *y = NULL;
    const size_t w_bytes = (size_t)(in * out) * lc_dtype_bytes(job->resolved.dtype);
    double per_second = 0.0;
    lc_code code;
    LC_TRY_GOTO(device->ops->alloc(device, (size_t)(PROBE_ROWS * in) * sizeof(float), &x, err));
    LC_TRY_GOTO(device->ops->alloc(device, w_bytes, &w, err));
    LC_TRY_GOTO(device->ops->alloc(device, (size_t)(PROBE_ROWS * out) * sizeof(float), &y, err));
    const lc_linear_args args = {
        .x = lc_mat_f32(x, PROBE_ROWS, in, in),
        .w = {.data = w, .rows = out, .cols = in, .ld = in, .dtype = job->resolved.dtype},
        .y = lc_mat_f32(y, PROBE_ROWS, out, out)};
    LC_TRY_GOTO(time_products(device, &args, &per_second, err));
    job->gemm_flops_per_second = per_second * 2.0 * PROBE_ROWS * (double)in * (double)out;
fail:
    device->ops->free(device, x);
    device->ops->free(device, w);
    device->ops->free(device, y);
    return code;
}

/* ---- all of it ---- */

/* The CPU device with its threads, so that the process is as large as it is before a model is
 * opened. */
static lc_code open_device(lc_job_plan *job, int64_t threads, lc_err *err)
{
    int count = 0;
    LC_TRY(lc_engine_threads(threads, &count, err));
    LC_TRY(lc_cpu_open(count, &job->device, err));
    job->extent.process_bytes = lc_job_process_bytes(0);
    return LC_OK;
}

static lc_code check_ranks(const lc_job_plan *job, int64_t ranks, lc_err *err)
{
    return ranks <= 1 || lc_device_kind_is_gpu(job->resolved.device)
               ? LC_OK
               : lc_fail_param(err, LC_ERR_UNSUPPORTED, "lorac.device",
                               "--ranks: several ranks need a GPU each, the device is %s",
                               lc_device_kind_name(job->resolved.device));
}

lc_code lc_job_plan_make(const lc_job_plan_options *options, lc_job_plan *out, lc_err *err)
{
    memset(out, 0, sizeof *out);
    lc_arena_init(&out->arena, "plan");
    lc_arena_init(&out->spec.arena, "job");
    LC_TRY(lc_job_spec_load(options->job_file, &out->spec, err));
    LC_TRY(lc_model_config_load(out->spec.model, &out->config, err));
    LC_TRY(lc_job_adapter_spec(&out->spec, &out->config, &out->adapter, err));
    LC_TRY(read_data_sets(out, err));
    LC_TRY(resolve(out, err));
    LC_TRY(check_ranks(out, options->ranks, err));
    out->extent.config = &out->config;
    out->extent.adapter = out->adapter;
    out->extent.resolved = &out->resolved;
    out->extent.dropout = out->spec.dropout;
    out->extent.recompute = out->spec.recompute;
    out->extent.world_size = (int)options->ranks;
    if (out->resolved.device == LC_DEVICE_CPU) {
        LC_TRY(open_device(out, options->threads, err));
    }
    return out->device != NULL ? measure_gemm(out, err) : LC_OK;
}

lc_code lc_job_plan_fit(lc_job_plan *job, int64_t limit, lc_err *refusal, lc_err *err)
{
    const lc_code code = lc_job_memory_fit(&job->extent, limit, &job->recompute, refusal);
    if (code != LC_OK && code != LC_ERR_MEMORY) {
        *err = *refusal;
        return code;
    }
    estimate_flops(job);
    return lc_job_memory_plan(&job->extent, job->resolved.micro_batch_tokens, job->recompute,
                              &job->arena, &job->plan, err);
}

void lc_job_plan_release(lc_job_plan *job)
{
    if (job->device != NULL) {
        job->device->ops->close(job->device);
    }
    lc_free(job->adapter);
    lc_job_spec_release(&job->spec);
    lc_arena_release(&job->arena);
    memset(job, 0, sizeof *job);
}
