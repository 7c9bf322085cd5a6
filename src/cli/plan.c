/*
 * lorac plan: prints what a job will need before anything is allocated, and refuses what does not
 * fit.
 */
#include <stdio.h>
#include <string.h>

#include "base/format.h"
#include "base/thread.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/options.h"
#include "cli/plan_job.h"
#include "lorac/comm.h"
#include "ops/backend.h"

#define MAX_GIB 1048576.0

typedef struct lc_plan_options {
    lc_job_plan_options job;
    double memory_gib; /* 0: what this machine has */
    bool json, all;
} lc_plan_options;

/* Bytes the job may have; -1: not known. */
static int64_t memory_limit(const lc_plan_options *options, const lc_job_plan *job)
{
    if (options->memory_gib > 0.0) {
        return (int64_t)(options->memory_gib * 1073741824.0);
    }
    return job->resolved.device == LC_DEVICE_CPU ? lc_job_memory_limit() : -1;
}

static double epoch_seconds(const lc_job_plan *job)
{
    return job->gemm_flops_per_second > 0.0
               ? job->epoch_flops / (job->gemm_flops_per_second * LC_STEP_EFFICIENCY)
               : 0.0;
}

/* ---- printing ---- */

/* Name without "layer N ", so that the same buffer of all layers is one row. */
static const char *short_name(const lc_plan_buffer *buffer)
{
    int used = 0, layer = 0;
    if (sscanf(buffer->name, "layer %d %n", &layer, &used) == 1 && used > 0) {
        return buffer->name + used;
    }
    return buffer->name;
}

static bool is_same_row(const lc_plan_buffer *a, const lc_plan_buffer *b)
{
    return a->plan_class == b->plan_class && a->bytes == b->bytes && a->rows == b->rows &&
           a->cols == b->cols && a->dtype == b->dtype && strcmp(short_name(a), short_name(b)) == 0;
}

/* One row for buffer i and all like it behind it; rows that an earlier buffer has shown are left
 * out. */
static void print_buffer(const lc_plan *plan, int32_t i, bool all)
{
    const lc_plan_buffer *buffer = &plan->buffers[i];
    char size[LC_FORMAT_BYTES], shape[64], name[96];
    int64_t like = 1, bytes = buffer->bytes;
    for (int32_t j = 0; j < i && !all; j++) {
        if (is_same_row(&plan->buffers[j], buffer)) {
            return;
        }
    }
    for (int32_t j = i + 1; j < plan->count && !all; j++) {
        if (is_same_row(&plan->buffers[j], buffer)) {
            like++;
            bytes += plan->buffers[j].bytes;
        }
    }
    if (like > 1) {
        (void)snprintf(name, sizeof name, "%lld x %s", (long long)like, short_name(buffer));
    } else {
        (void)snprintf(name, sizeof name, "%s", buffer->name);
    }
    (void)snprintf(shape, sizeof shape, "%lld x %lld", (long long)buffer->rows,
                   (long long)buffer->cols);
    printf("  %-34s %-4s %20s %12s\n", name, lc_dtype_name(buffer->dtype), shape,
           lc_format_size(bytes, size));
}

static void print_buffers(const lc_job_plan *job, bool all)
{
    char size[LC_FORMAT_BYTES];
    for (int kind = 0; kind < LC_PLAN_CLASS_COUNT; kind++) {
        if (job->plan.class_bytes[kind] == 0) {
            continue;
        }
        printf("%-58s %14s\n", lc_plan_class_name((lc_plan_class)kind),
               lc_format_size(job->plan.class_bytes[kind], size));
        for (int32_t i = 0; i < job->plan.count; i++) {
            if (job->plan.buffers[i].plan_class == (lc_plan_class)kind) {
                print_buffer(&job->plan, i, all);
            }
        }
    }
}

static void print_job(const lc_job_plan *job)
{
    const lc_job_resolved *r = &job->resolved;
    printf("%s: %s, %d layers, width %d, vocabulary %d; %lld trained parameters\n", job->spec.model,
           lc_family_name(job->config.family), job->config.layers, job->config.width,
           job->config.vocab, (long long)job->adapter->parameter_count);
    if (job->extent.training.examples > 0) {
        printf("%s: %lld examples, %lld tokens, %lld trained, longest %lld; %lld steps in %lld "
               "epochs\n",
               job->spec.training_file, (long long)job->extent.training.examples,
               (long long)job->extent.training.tokens, (long long)job->extent.training.targets,
               (long long)job->extent.longest, (long long)r->total_steps, (long long)r->n_epochs);
    } else {
        printf(
            "%s is not there: planned for rows of %lld tokens, the longest this job would keep\n",
            job->spec.training_file, (long long)job->extent.longest);
    }
    printf("%s, %s weights, micro-batches of %lld tokens\n\n", lc_device_kind_name(r->device),
           r->dtype == LC_BF16 ? "bf16" : "fp32", (long long)r->micro_batch_tokens);
}

static void print_time(const lc_job_plan *job)
{
    char text[LC_FORMAT_BYTES];
    if (!(job->gemm_flops_per_second > 0.0)) {
        printf("time: not estimated, the device is not here to be measured\n");
        return;
    }
    const double rate = job->gemm_flops_per_second * LC_STEP_EFFICIENCY;
    if (job->extent.training.examples > 0) {
        printf("time: about %s an epoch (estimate", lc_format_duration(epoch_seconds(job), text));
    } else {
        printf("time: about %s tokens/s (estimate", lc_format_count(rate / job->token_flops, text));
    }
    printf(" from %.1f GFLOP/s measured in matrix products, of which training usually reaches %.0f "
           "%%)\n",
           job->gemm_flops_per_second / 1e9, LC_STEP_EFFICIENCY * 100.0);
}

static void print_for_people(const lc_plan_options *options, const lc_job_plan *job, int64_t limit)
{
    char total[LC_FORMAT_BYTES], have[LC_FORMAT_BYTES];
    print_job(job);
    print_buffers(job, options->all);
    const bool is_gpu = lc_device_kind_is_gpu(job->resolved.device);
    char again[LC_RECOMPUTE_BYTES];
    if (job->recompute > 0) {
        printf("computed again in the backward pass: %s\n",
               lc_job_recompute_text(&job->extent, job->recompute, again));
    }
    printf("%-58s %14s\n", is_gpu ? "peak on the GPU" : "peak",
           lc_format_size(lc_plan_total(&job->plan), total));
    printf(is_gpu ? "CUDA's context and libraries come on top, 0.5 to 1.2 GiB\n\n" : "\n");
    if (limit < 0) {
        printf("fits: not checked, the device is not here; --memory GIB checks against a size\n");
    } else {
        printf("fits: %s, %s are there\n", lc_plan_total(&job->plan) <= limit ? "yes" : "no",
               lc_format_size(limit, have));
    }
    print_time(job);
}

static void add_buffers(lc_text *text, const lc_plan *plan)
{
    lc_text_addf(text, ", \"classes\": {");
    for (int kind = 0; kind < LC_PLAN_CLASS_COUNT; kind++) {
        lc_text_addf(text, "%s\"%s\": %lld", kind == 0 ? "" : ", ",
                     lc_plan_class_name((lc_plan_class)kind), (long long)plan->class_bytes[kind]);
    }
    lc_text_addf(text, "}, \"buffers\": [");
    for (int32_t i = 0; i < plan->count; i++) {
        const lc_plan_buffer *buffer = &plan->buffers[i];
        lc_text_addf(
            text,
            "%s{\"name\": \"%s\", \"class\": \"%s\", \"dtype\": \"%s\", \"shape\": [%lld, %lld], "
            "\"bytes\": %lld}",
            i == 0 ? "" : ", ", buffer->name, lc_plan_class_name(buffer->plan_class),
            lc_dtype_name(buffer->dtype), (long long)buffer->rows, (long long)buffer->cols,
            (long long)buffer->bytes);
    }
    lc_text_addf(text, "]");
}

static lc_code print_json(const lc_job_plan *job, int64_t limit, lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(&text,
                 "{\"total_bytes\": %lld, \"limit_bytes\": ", (long long)lc_plan_total(&job->plan));
    lc_text_addf(&text, limit < 0 ? "null" : "%lld", (long long)limit);
    lc_text_addf(&text, ", \"fits\": %s",
                 limit < 0                            ? "null"
                 : lc_plan_total(&job->plan) <= limit ? "true"
                                                      : "false");
    lc_text_addf(&text, ", \"trained_parameters\": %lld", (long long)job->adapter->parameter_count);
    const lc_recomputed again = lc_model_recomputed(&job->config, job->adapter, job->recompute);
    lc_text_addf(&text, ", \"recomputed\": {\"whole_layers\": %d, \"gate_up_layers\": %d}",
                 again.whole, again.gate_up);
    lc_text_addf(&text, ", \"resolved\": ");
    lc_job_resolved_write(&job->resolved, &text);
    if (job->extent.training.examples > 0) {
        lc_text_addf(&text, ", \"examples\": %lld, \"tokens\": %lld, \"trained_tokens\": %lld",
                     (long long)job->extent.training.examples,
                     (long long)job->extent.training.tokens,
                     (long long)job->extent.training.targets);
        if (job->gemm_flops_per_second > 0.0) {
            lc_text_addf(&text, ", \"epoch_seconds_estimate\": ");
            lc_text_add_double(&text, epoch_seconds(job));
        }
    }
    if (job->gemm_flops_per_second > 0.0) {
        lc_text_addf(&text, ", \"gemm_flops_per_second\": ");
        lc_text_add_double(&text, job->gemm_flops_per_second);
    }
    add_buffers(&text, &job->plan);
    lc_text_addf(&text, "}");
    return lc_print_text(&text, err);
}

static lc_code print(const lc_plan_options *options, const lc_job_plan *job, int64_t limit,
                     lc_err *err)
{
    if (options->json) {
        return print_json(job, limit, err);
    }
    print_for_people(options, job, limit);
    return LC_OK;
}

static lc_code run_plan(const lc_plan_options *options, lc_err *err)
{
    lc_job_plan *job = lc_calloc(1, sizeof *job);
    if (job == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to plan");
    }
    lc_err refusal = {.code = LC_OK};
    int64_t limit = -1;
    lc_code code = lc_job_plan_make(&options->job, job, err);
    if (code == LC_OK) {
        limit = memory_limit(options, job);
        code = lc_job_plan_fit(job, limit, &refusal, err);
    }
    if (code == LC_OK) {
        code = print(options, job, limit, err);
    }
    if (code == LC_OK && refusal.code != LC_OK) {
        *err = refusal;
        code = refusal.code;
    }
    lc_job_plan_release(job);
    lc_free(job);
    return code;
}

lc_code lc_command_plan(int argc, char **argv, lc_err *err)
{
    lc_plan_options o = {.memory_gib = 0.0};
    bool done = false;
    const lc_option options[] = {
        {.name = "JOB", .help = "job file (JSON)", .text = &o.job.job_file, .is_required = true},
        {.name = "--memory",
         .value = "GIB",
         .help = "check against this much memory, of another machine or a GPU",
         .fallback = "what this machine has free, its control group counted",
         .number = &o.memory_gib,
         .min = 0.001,
         .max = MAX_GIB},
        {.name = "--all", .help = "one row for each buffer of each layer", .flag = &o.all},
        {.name = "--json", .help = "print the plan as one JSON object", .flag = &o.json},
        {.name = "--threads",
         .value = "N",
         .help = "compute threads of the job; each has some memory of its own",
         .fallback = "LORAC_THREADS, else all cores of this process",
         .integer = &o.job.threads,
         .low = 1,
         .high = LC_MAX_THREADS},
        {.name = "--ranks",
         .value = "N",
         .help = "processes that train together, a GPU each; the plan is that of one of them",
         .fallback = "1",
         .integer = &o.job.ranks,
         .low = 1,
         .high = LC_MAX_RANKS},
    };
    const lc_command command = {.name = "plan",
                                .description = "Lists every buffer of a job by class, the peak, "
                                               "whether it fits, and an estimated time per epoch.\n"
                                               "Needs the model's config.json but not its weights. "
                                               "Where the data are not there yet, it plans for\n"
                                               "rows of max_seq_len tokens. A job that does not "
                                               "fit is refused with its three largest buffers and\n"
                                               "the micro-batch that would fit. Before that, the "
                                               "backward pass computes again what need not be "
                                               "kept.\n",
                                .examples =
                                    "  lorac plan configs/quickstart/job.json\n"
                                    "  lorac plan configs/llama-3.1-8b-24gb.json --memory 24\n",
                                .options = options,
                                .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    return done ? LC_OK : run_plan(&o, err);
}
