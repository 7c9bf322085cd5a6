/*
 * Planning a job; see plan_job.h. Every buffer of the model comes from the same walk that a run
 * carves; the few allocations of trainer and data sets are listed here.
 */
#include "cli/plan_job.h"

#include <string.h>

#include "base/clock.h"
#include "cli/system.h"
#include "data/dataset.h"
#include "infer/engine.h"
#include "job/adapter.h"
#include "train/trainer.h"

#define PROBE_ROWS      512
#define MAX_PROBE_WIDTH 4096
#define PROBE_SECONDS   0.25
/* Code and small tables that a run touches beyond a plan: measured. */
#define RUN_BYTES (768 << 10)
/* Laid out at once by the trainer's evaluation. */
/* Of a data set that is not there; no buffer of the model depends on it. */
#define UNKNOWN_EXAMPLES 1

/* ---- what the job says ---- */

static lc_code read_data(lc_job_plan *job, const char *path, const char *what, int64_t max_tokens,
                         bool *is_there, lc_dataset *dataset, lc_err *err)
{
    *is_there = lc_path_exists(path);
    if (!*is_there) {
        return LC_OK;
    }
    const lc_code code =
        lc_dataset_load(path, what, job->spec.model, job->config.vocab, max_tokens, dataset, err);
    *is_there = code == LC_OK;
    return code;
}

static lc_code read_data_sets(lc_job_plan *job, lc_err *err)
{
    lc_dataset dataset;
    const int64_t context = job->config.max_position;
    const int64_t max_tokens = job->spec.max_seq_len < context ? job->spec.max_seq_len : context;
    memset(&dataset, 0, sizeof dataset);
    LC_TRY(read_data(job, job->spec.training_file, "Training file", max_tokens, &job->has_training,
                     &dataset, err));
    job->longest = max_tokens;
    job->example_count = UNKNOWN_EXAMPLES;
    if (job->has_training) {
        job->example_count = dataset.example_count;
        job->token_count = dataset.token_count;
        job->target_count = dataset.target_count;
        job->longest = dataset.longest;
        lc_dataset_release(&dataset);
    }
    if (job->spec.validation_file == NULL) {
        return LC_OK;
    }
    memset(&dataset, 0, sizeof dataset);
    LC_TRY(read_data(job, job->spec.validation_file, "Validation file", max_tokens,
                     &job->has_validation, &dataset, err));
    if (job->has_validation) {
        job->validation_examples = dataset.example_count;
        job->validation_tokens = dataset.token_count;
        job->validation_targets = dataset.target_count;
        job->longest = dataset.longest > job->longest ? dataset.longest : job->longest;
        lc_dataset_release(&dataset);
    }
    return LC_OK;
}

static lc_code resolve(lc_job_plan *job, lc_err *err)
{
    const lc_job_facts facts = {.example_count = job->example_count,
                                .longest_example = job->longest,
                                .model_context = job->config.max_position,
                                .device = job->spec.device == LC_DEVICE_CUDA ? LC_DEVICE_CUDA
                                                                             : LC_DEVICE_CPU};
    return lc_job_resolve(&job->spec, &facts, 0, &job->resolved, err);
}

/* ---- buffers ---- */

static lc_code add_data_set(lc_plan *plan, const char *name, int64_t examples, int64_t tokens,
                            lc_err *err)
{
    LC_TRY(lc_plan_add(plan, LC_PLAN_DATA, LC_I32, tokens, 1, err, "%s ids", name));
    LC_TRY(lc_plan_add(plan, LC_PLAN_DATA, LC_F32, tokens, 1, err, "%s weights", name));
    return lc_plan_add(plan, LC_PLAN_DATA, LC_I64, examples + 1, 1, err, "%s offsets", name);
}

/* What the trainer and the job allocate in host memory beside the model. */
static lc_code add_host_buffers(const lc_job_plan *job, int64_t micro_batch_tokens, lc_plan *plan,
                                lc_err *err)
{
    const int64_t masters = job->adapter->master_count;
    if (job->has_training) {
        LC_TRY(add_data_set(plan, "training", job->example_count, job->token_count, err));
        LC_TRY(lc_plan_add(plan, LC_PLAN_DATA, LC_I64, job->example_count, 1, err,
                           "order of the epoch"));
    }
    if (job->has_validation) {
        LC_TRY(add_data_set(plan, "validation", job->validation_examples, job->validation_tokens,
                            err));
    }
    LC_TRY(lc_plan_add(plan, LC_PLAN_DATA, LC_I64, job->resolved.batch_size + 2 * LC_EVAL_CHUNK, 3,
                       err, "packing tables"));
    LC_TRY(lc_plan_add(plan, LC_PLAN_DATA, LC_I32, micro_batch_tokens, 8, err,
                       "batch in host memory"));
    LC_TRY(lc_plan_add(plan, LC_PLAN_DATA, LC_F32, micro_batch_tokens, job->config.head_dim + 2,
                       err, "staging in host memory"));
    LC_TRY(lc_plan_add(plan, LC_PLAN_ADAPTER, LC_F32, masters, 1, err, "masters in host memory"));
    LC_TRY(lc_plan_add(plan, LC_PLAN_ADAPTER, LC_F32, masters, 1, err, "adam m in host memory"));
    return lc_plan_add(plan, LC_PLAN_ADAPTER, LC_F32, masters, 1, err, "adam v in host memory");
}

static lc_code plan_with(const lc_job_plan *job, int64_t micro_batch_tokens, lc_arena *arena,
                         lc_plan *plan, lc_err *err)
{
    const lc_model_options options = {.dtype = job->resolved.dtype,
                                      .training = true,
                                      .dropout = (float)job->spec.dropout,
                                      .tokens = micro_batch_tokens};
    LC_TRY(lc_model_plan(&job->config, job->adapter, &options, arena, plan, err));
    return add_host_buffers(job, micro_batch_tokens, plan, err);
}

lc_code lc_job_plan_bytes_with(lc_job_plan *job, int64_t micro_batch_tokens, int64_t *bytes,
                               lc_err *err)
{
    lc_arena arena;
    lc_plan plan;
    lc_arena_init(&arena, "plan");
    const lc_code code = plan_with(job, micro_batch_tokens, &arena, &plan, err);
    if (code == LC_OK) {
        *bytes = lc_plan_total(&plan) + job->plan.class_bytes[LC_PLAN_PROCESS];
    }
    lc_arena_release(&arena);
    return code;
}

lc_code lc_job_plan_largest_fit(lc_job_plan *job, int64_t limit, int64_t *micro_batch_tokens,
                                lc_err *err)
{
    /* Invariant: `low` fits (or is one below the longest example), `high` does not. */
    int64_t low = job->longest - 1, high = job->resolved.micro_batch_tokens + 1;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        int64_t bytes = 0;
        LC_TRY(lc_job_plan_bytes_with(job, middle, &bytes, err));
        if (bytes <= limit) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *micro_batch_tokens = low >= job->longest ? low : 0;
    return LC_OK;
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
    const double mean_length = job->has_training
                                   ? (double)job->token_count / (double)job->example_count
                                   : (double)job->longest;
    /* Scores and weighted sums over half the document on average, forward; the backward pass has
     * five products. */
    const double attention = (double)config->heads * config->head_dim * mean_length;
    const double adapter = 2.0 * (double)job->adapter->parameter_count;
    const double forward = layers * (2.0 * layer_products(config) + 2.0 * attention) + adapter;
    const double backward =
        trained_layers * (2.0 * layer_products(config) + 5.0 * attention) + 2.0 * adapter;
    const double head = 2.0 * (double)config->width * config->vocab;
    const double validation =
        (double)job->validation_tokens * forward + (double)job->validation_targets * head;
    job->token_flops = forward + backward + 2.0 * head;
    job->epoch_flops = job->has_training ? (double)job->token_count * (forward + backward) +
                                               (double)job->target_count * 2.0 * head + validation
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

/* The program with its libraries and threads, as large as it is before the model is opened. */
static lc_code add_process(lc_job_plan *job, int64_t threads, lc_err *err)
{
    int count = 0;
    LC_TRY(lc_engine_threads(threads, &count, err));
    LC_TRY(lc_cpu_open(count, &job->device, err));
    const int64_t resident = lc_system_resident_bytes();
    return lc_plan_add(&job->plan, LC_PLAN_PROCESS, LC_U8,
                       RUN_BYTES + (resident > 0 ? resident : 0), 1, err,
                       "program, libraries, threads");
}

lc_code lc_job_plan_make(const char *job_file, int64_t threads, lc_job_plan *out, lc_err *err)
{
    memset(out, 0, sizeof *out);
    lc_arena_init(&out->arena, "plan");
    lc_arena_init(&out->spec.arena, "job");
    LC_TRY(lc_job_spec_load(job_file, &out->spec, err));
    LC_TRY(lc_model_config_load(out->spec.model, &out->config, err));
    LC_TRY(lc_job_adapter_spec(&out->spec, &out->config, &out->adapter, err));
    LC_TRY(read_data_sets(out, err));
    LC_TRY(resolve(out, err));
    LC_TRY(plan_with(out, out->resolved.micro_batch_tokens, &out->arena, &out->plan, err));
    estimate_flops(out);
    if (out->resolved.device == LC_DEVICE_CUDA) {
        return LC_OK;
    }
    LC_TRY(add_process(out, threads, err));
    return measure_gemm(out, err);
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
