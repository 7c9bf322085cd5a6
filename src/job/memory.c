/*
 * The memory of a job; see memory.h. Every buffer of the model comes from the same walk that a run
 * carves; the few allocations of trainer and data sets are listed here.
 */
#include "job/memory.h"

#include <stdio.h>

#include "base/format.h"
#include "base/system.h"
#include "ops/backend.h"
#include "train/trainer.h"

/* Code and small tables that a run touches beyond a plan: measured. */
#define RUN_BYTES     (1344 << 10)
#define LARGEST_COUNT 3 /* buffers that a refusal names */

/* ---- the plan ---- */

lc_data_extent lc_data_extent_of(const lc_dataset *dataset)
{
    const lc_data_extent extent = {.examples = dataset->example_count,
                                   .tokens = dataset->token_count,
                                   .targets = dataset->target_count};
    return extent;
}

int64_t lc_data_extent_bytes(const lc_data_extent *data)
{
    const size_t token_bytes = sizeof(int32_t) + sizeof(float);
    return data->tokens * (int64_t)token_bytes + data->examples * (int64_t)sizeof(int64_t);
}

int64_t lc_job_process_bytes(int64_t loaded)
{
    const int64_t resident = lc_system_resident_bytes() - loaded;
    return RUN_BYTES + (resident > 0 ? resident : 0);
}

static lc_code add_data_set(lc_plan *plan, lc_plan_class where, const char *name,
                            const lc_data_extent *data, lc_err *err)
{
    if (data->examples == 0) {
        return LC_OK;
    }
    LC_TRY(lc_plan_add(plan, where, LC_I32, data->tokens, 1, err, "%s ids", name));
    LC_TRY(lc_plan_add(plan, where, LC_F32, data->tokens, 1, err, "%s weights", name));
    return lc_plan_add(plan, where, LC_I64, data->examples + 1, 1, err, "%s offsets", name);
}

/* What the trainer and the job allocate in host memory beside the model. */
static lc_code add_host_buffers(const lc_job_extent *job, int64_t micro_batch_tokens, lc_plan *plan,
                                lc_err *err)
{
    const int64_t masters = job->adapter->master_count;
    const bool is_gpu = lc_device_kind_is_gpu(job->resolved->device);
    const lc_plan_class data_class = is_gpu ? LC_PLAN_HOST : LC_PLAN_DATA,
                        adapter_class = is_gpu ? LC_PLAN_HOST : LC_PLAN_ADAPTER;
    if (is_gpu) { /* pinned; of mirrors there are LC_HOST_SLOTS */
        LC_TRY(lc_plan_add(plan, LC_PLAN_HOST, LC_U8, plan->class_bytes[LC_PLAN_DATA],
                           LC_HOST_SLOTS, err, "mirrors of the batch"));
        LC_TRY(lc_plan_add(plan, LC_PLAN_HOST, LC_U8, sizeof(lc_results), LC_HOST_SLOTS, err,
                           "results of steps"));
        LC_TRY(lc_plan_add(plan, LC_PLAN_HOST, LC_U8,
                           lc_memory_rules_of(job->resolved->device)->pinned_bytes, 1, err,
                           "weights on their way"));
    }
    LC_TRY(add_data_set(plan, data_class, "training", &job->training, err));
    if (job->training.examples > 0) {
        LC_TRY(lc_plan_add(plan, data_class, LC_I64, job->training.examples, 1, err,
                           "order of the epoch"));
    }
    LC_TRY(add_data_set(plan, data_class, "validation", &job->validation, err));
    LC_TRY(lc_plan_add(plan, data_class, LC_I64, job->resolved->batch_size + 2 * LC_EVAL_CHUNK, 7,
                       err, "packing tables"));
    LC_TRY(
        lc_plan_add(plan, data_class, LC_I32, micro_batch_tokens, 9, err, "batch in host memory"));
    LC_TRY(lc_plan_add(plan, adapter_class, LC_F32, masters, 1, err, "masters in host memory"));
    LC_TRY(lc_plan_add(plan, adapter_class, LC_F32, masters, 1, err, "adam m in host memory"));
    return lc_plan_add(plan, adapter_class, LC_F32, masters, 1, err, "adam v in host memory");
}

/* What the ranks need to add up their gradients. */
static lc_code add_comm(const lc_job_extent *job, lc_plan *plan, lc_err *err)
{
    const lc_memory_rules *rules = lc_memory_rules_of(job->resolved->device);
    if (job->world_size <= 1 || rules->comm_bytes == NULL) {
        return LC_OK;
    }
    const size_t bytes = rules->comm_bytes(job->adapter->master_count, job->world_size);
    return lc_plan_add(plan, LC_PLAN_ADAPTER, LC_U8, (int64_t)bytes, 1, err, "sums over ranks");
}

lc_code lc_job_memory_plan(const lc_job_extent *job, int64_t micro_batch_tokens, int32_t recompute,
                           lc_arena *arena, lc_plan *plan, lc_err *err)
{
    const lc_model_options options = {.dtype = job->resolved->dtype,
                                      .memory = lc_memory_rules_of(job->resolved->device),
                                      .training = true,
                                      .dropout = (float)job->dropout,
                                      .recompute = recompute,
                                      .tokens = micro_batch_tokens};
    LC_TRY(lc_model_plan(job->config, job->adapter, &options, arena, plan, err));
    LC_TRY(add_comm(job, plan, err));
    LC_TRY(add_host_buffers(job, micro_batch_tokens, plan, err));
    if (job->process_bytes == 0) {
        return LC_OK;
    }
    const lc_plan_class where =
        lc_device_kind_is_gpu(job->resolved->device) ? LC_PLAN_HOST : LC_PLAN_PROCESS;
    return lc_plan_add(plan, where, LC_U8, job->process_bytes, 1, err,
                       "program, libraries, threads");
}

int64_t lc_job_memory_limit(void)
{
    lc_system_memory memory;
    lc_system_read_memory(&memory);
    const int64_t resident = lc_system_resident_bytes();
    return memory.usable_bytes < 0 ? -1 : memory.usable_bytes + (resident > 0 ? resident : 0);
}

/* ---- the refusal ---- */

static lc_code total_with(const lc_job_extent *job, int64_t micro_batch_tokens, int32_t recompute,
                          int64_t *bytes, lc_err *err)
{
    lc_arena arena;
    lc_plan plan;
    lc_arena_init(&arena, "plan");
    const lc_code code = lc_job_memory_plan(job, micro_batch_tokens, recompute, &arena, &plan, err);
    if (code == LC_OK) {
        *bytes = lc_plan_total(&plan);
    }
    lc_arena_release(&arena);
    return code;
}

/* The largest micro-batch, at least the longest example and at most the resolved one, whose total
 * is at most `limit`; 0 when none is. */
static lc_code largest_fit(const lc_job_extent *job, int64_t limit, int32_t recompute,
                           int64_t *micro_batch_tokens, lc_err *err)
{
    /* Invariant: `low` fits (or is one below the longest example), `high` does not. */
    int64_t low = job->longest - 1, high = job->resolved->micro_batch_tokens + 1;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        int64_t bytes = 0;
        LC_TRY(total_with(job, middle, recompute, &bytes, err));
        if (bytes <= limit) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *micro_batch_tokens = low >= job->longest ? low : 0;
    return LC_OK;
}

/* "layer 3 gate_up (1.50 GiB), ..." of the largest buffers, largest first. */
static void list_largest(const lc_plan *plan, char *out, size_t capacity)
{
    const lc_plan_buffer *last = NULL;
    size_t used = 0;
    for (int place = 0; place < LARGEST_COUNT; place++) {
        const lc_plan_buffer *next = NULL;
        char size[LC_FORMAT_BYTES];
        for (int32_t i = 0; i < plan->count; i++) {
            const lc_plan_buffer *buffer = &plan->buffers[i];
            const bool is_listed =
                last != NULL &&
                (buffer->bytes > last->bytes || (buffer->bytes == last->bytes && buffer <= last));
            if (buffer->plan_class == LC_PLAN_HOST) { /* not what is short */
                continue;
            }
            if (!is_listed && (next == NULL || buffer->bytes > next->bytes)) {
                next = buffer;
            }
        }
        if (next == NULL) {
            return;
        }
        used += (size_t)snprintf(out + used, capacity - used, "%s%s (%s)", place == 0 ? "" : ", ",
                                 next->name, lc_format_size(next->bytes, size));
        last = next;
    }
}

static lc_code refuse(const lc_job_extent *job, const lc_plan *plan, int64_t limit,
                      int32_t recompute, lc_err *err)
{
    char need[LC_FORMAT_BYTES], have[LC_FORMAT_BYTES], list[400] = "", hint[160];
    int64_t micro_batch_tokens = 0;
    LC_TRY(largest_fit(job, limit, recompute, &micro_batch_tokens, err));
    list_largest(plan, list, sizeof list);
    if (micro_batch_tokens > 0) {
        (void)snprintf(hint, sizeof hint, "lorac.micro_batch_tokens %lld would fit",
                       (long long)micro_batch_tokens);
    } else {
        (void)snprintf(
            hint, sizeof hint,
            "no micro-batch fits with rows of %lld tokens: lower lorac.max_seq_len, take a smaller "
            "model or more memory",
            (long long)job->longest);
    }
    return lc_fail_param(err, LC_ERR_MEMORY, "lorac.micro_batch_tokens",
                         "the job needs %s, %s are there. Largest: %s. Now %lld tokens a "
                         "micro-batch; %s",
                         lc_format_size(lc_plan_total(plan), need), lc_format_size(limit, have),
                         list, (long long)job->resolved->micro_batch_tokens, hint);
}

/* The job as it would be with so many steps, or what is in its way. */
static lc_code check(const lc_job_extent *job, int64_t limit, int32_t recompute, lc_err *err)
{
    lc_arena arena;
    lc_plan plan;
    lc_arena_init(&arena, "plan");
    lc_code code =
        lc_job_memory_plan(job, job->resolved->micro_batch_tokens, recompute, &arena, &plan, err);
    if (code == LC_OK && lc_plan_total(&plan) > limit) {
        code = refuse(job, &plan, limit, recompute, err);
    }
    lc_arena_release(&arena);
    return code;
}

lc_code lc_job_memory_fit(const lc_job_extent *job, int64_t limit, int32_t *recompute, lc_err *err)
{
    const int64_t tokens = job->resolved->micro_batch_tokens;
    const int32_t steps = lc_model_recompute_steps(job->config, job->adapter);
    int32_t low = job->recompute == LC_RECOMPUTE_ALL ? steps : 0,
            high = job->recompute == LC_RECOMPUTE_NONE ? 0 : steps;
    int64_t bytes = 0;
    *recompute = low;
    LC_TRY(total_with(job, tokens, low, &bytes, err));
    if (limit < 0 || bytes <= limit) {
        return LC_OK;
    }
    *recompute = high;
    LC_TRY(check(job, limit, high, err));
    while (high - low > 1) { /* `high` fits, `low` does not */
        const int32_t middle = low + (high - low) / 2;
        LC_TRY(total_with(job, tokens, middle, &bytes, err));
        *(bytes <= limit ? &high : &low) = middle;
    }
    *recompute = high;
    return LC_OK;
}

const char *lc_job_recompute_text(const lc_job_extent *job, int32_t recompute,
                                  char out[LC_RECOMPUTE_BYTES])
{
    const lc_recomputed layers = lc_model_recomputed(job->config, job->adapter, recompute);
    if (layers.whole == 0) {
        (void)snprintf(out, LC_RECOMPUTE_BYTES, "gate|up of %d layers", layers.gate_up);
    } else if (layers.gate_up == 0) {
        (void)snprintf(out, LC_RECOMPUTE_BYTES, "all but the input of %d layers", layers.whole);
    } else {
        (void)snprintf(out, LC_RECOMPUTE_BYTES,
                       "all but the input of %d layers, gate|up of %d more", layers.whole,
                       layers.gate_up);
    }
    return out;
}
