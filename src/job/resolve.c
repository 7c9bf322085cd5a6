/*
 * The rules behind every "auto" (spec.h has them in words), and the resolved values as JSON. They
 * are resolved once, stored in job.json, and read back on resume. Never a function of threads or
 * free memory.
 *
 * checkpoint_every_steps: about twenty rolling checkpoints in a run, but none more often than every
 * 5 steps (each costs a few fsyncs) and none more seldom than every 50 (what a crash may cost).
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/backend.h"

#include "job/spec.h"

#define TARGET_EPOCHS       3
#define MIN_EXAMPLES_SEEN   100   /* epochs x examples at least, */
#define MAX_EXAMPLES_SEEN   25000 /* and at most */
#define MAX_AUTO_EPOCHS     25
#define BATCH_SHARE         500 /* one example in 500 */
#define BASE_LEARNING_RATE  2e-4
#define CPU_MICRO_BATCH     512
#define GPU_MICRO_BATCH     8192
#define EVAL_EVERY          10
#define CHECKPOINTS_PER_RUN 20
#define MIN_CHECKPOINT_GAP  5
#define MAX_CHECKPOINT_GAP  50

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

static int64_t auto_epochs(int64_t examples)
{
    if (examples * TARGET_EPOCHS < MIN_EXAMPLES_SEEN) {
        return clamp(MIN_EXAMPLES_SEEN / examples, 1, MAX_AUTO_EPOCHS);
    }
    if (examples * TARGET_EPOCHS > MAX_EXAMPLES_SEEN) {
        return clamp(MAX_EXAMPLES_SEEN / examples, 1, TARGET_EPOCHS);
    }
    return TARGET_EPOCHS;
}

static lc_code resolve_micro_batch(const lc_job_spec *spec, const lc_job_facts *facts,
                                   lc_job_resolved *out, lc_err *err)
{
    const int64_t longest = facts->longest_example;
    if (spec->micro_batch_tokens != LC_AUTO) {
        out->micro_batch_tokens = spec->micro_batch_tokens;
        if (spec->micro_batch_tokens < longest) {
            return lc_fail_param(err, LC_ERR_INVALID, "lorac.micro_batch_tokens",
                                 "lorac.micro_batch_tokens: %" PRId64
                                 " is less than the longest example's %" PRId64
                                 " tokens; raise it or lower lorac.max_seq_len",
                                 spec->micro_batch_tokens, longest);
        }
        return LC_OK;
    }
    const int64_t usual = lc_device_kind_is_gpu(facts->device) ? GPU_MICRO_BATCH : CPU_MICRO_BATCH;
    out->micro_batch_tokens = usual > longest ? usual : longest;
    return LC_OK;
}

static void resolve_rates(const lc_job_spec *spec, lc_job_resolved *out)
{
    out->learning_rate_multiplier =
        spec->learning_rate_multiplier < 0.0 ? 1.0 : spec->learning_rate_multiplier;
    out->learning_rate = spec->learning_rate < 0.0
                             ? BASE_LEARNING_RATE * out->learning_rate_multiplier
                             : spec->learning_rate;
}

static lc_code resolve_steps(const lc_job_spec *spec, const lc_job_facts *facts,
                             lc_job_resolved *out, lc_err *err)
{
    const int64_t examples = facts->example_count;
    out->n_epochs = spec->n_epochs == LC_AUTO ? auto_epochs(examples) : spec->n_epochs;
    out->batch_size = spec->batch_size == LC_AUTO
                          ? clamp(examples / BATCH_SHARE, 1, LC_MAX_BATCH_SIZE)
                          : spec->batch_size;
    out->steps_per_epoch = divide_up(examples, out->batch_size);
    if (!lc_mul_i64(out->steps_per_epoch, out->n_epochs, &out->total_steps)) {
        return lc_fail(err, LC_ERR_INVALID, "%" PRId64 " examples are too many", examples);
    }
    out->warmup_steps = (int64_t)ceil(spec->warmup_ratio * (double)out->total_steps);
    out->eval_every_steps = spec->eval_every_steps == LC_AUTO ? EVAL_EVERY : spec->eval_every_steps;
    out->checkpoint_every_steps = spec->checkpoint_every_steps == LC_AUTO
                                      ? clamp(divide_up(out->total_steps, CHECKPOINTS_PER_RUN),
                                              MIN_CHECKPOINT_GAP, MAX_CHECKPOINT_GAP)
                                      : spec->checkpoint_every_steps;
    return LC_OK;
}

lc_code lc_job_resolve(const lc_job_spec *spec, const lc_job_facts *facts, uint32_t drawn_seed,
                       lc_job_resolved *out, lc_err *err)
{
    memset(out, 0, sizeof *out);
    if (facts->example_count < 1 || facts->example_count > INT64_MAX / TARGET_EPOCHS) {
        return lc_fail(err, LC_ERR_INVALID, "%" PRId64 " training examples", facts->example_count);
    }
    out->device = facts->device;
    out->seed = spec->seed == LC_AUTO ? (int64_t)(drawn_seed & LC_MAX_SEED) : spec->seed;
    out->max_tokens =
        spec->max_seq_len < facts->model_context ? spec->max_seq_len : facts->model_context;
    if (spec->dtype == LC_AUTO) {
        out->dtype = lc_device_kind_is_gpu(facts->device) ? LC_BF16 : LC_F32;
    } else {
        out->dtype = (lc_dtype)spec->dtype;
    }
    resolve_rates(spec, out);
    LC_TRY(resolve_steps(spec, facts, out, err));
    return resolve_micro_batch(spec, facts, out, err);
}

/* ---- as JSON ---- */

static const struct {
    const char *key;
    size_t offset;
    int64_t min, max;
} integers[] = {
    {"n_epochs", offsetof(lc_job_resolved, n_epochs), 1, LC_MAX_EPOCHS},
    {"batch_size", offsetof(lc_job_resolved, batch_size), 1, LC_MAX_BATCH_SIZE},
    {"seed", offsetof(lc_job_resolved, seed), 0, LC_MAX_SEED},
    {"micro_batch_tokens", offsetof(lc_job_resolved, micro_batch_tokens), 1, INT32_MAX},
    {"eval_every_steps", offsetof(lc_job_resolved, eval_every_steps), 1, INT64_C(1) << 50},
    {"checkpoint_every_steps", offsetof(lc_job_resolved, checkpoint_every_steps), 1,
     INT64_C(1) << 50},
    {"max_tokens", offsetof(lc_job_resolved, max_tokens), 1, INT64_C(1) << 50},
    {"total_steps", offsetof(lc_job_resolved, total_steps), 1, INT64_C(1) << 50},
    {"steps_per_epoch", offsetof(lc_job_resolved, steps_per_epoch), 1, INT64_C(1) << 50},
    {"warmup_steps", offsetof(lc_job_resolved, warmup_steps), 0, INT64_C(1) << 50},
};
#define INTEGER_COUNT (sizeof integers / sizeof integers[0])

void lc_job_resolved_write(const lc_job_resolved *resolved, lc_text *out)
{
    lc_text_addf(out, "{");
    for (size_t i = 0; i < INTEGER_COUNT; i++) {
        int64_t value;
        memcpy(&value, (const char *)resolved + integers[i].offset, sizeof value);
        lc_text_addf(out, "\"%s\": %" PRId64 ", ", integers[i].key, value);
    }
    lc_text_addf(out, "\"learning_rate_multiplier\": ");
    lc_text_add_double(out, resolved->learning_rate_multiplier);
    lc_text_addf(out, ", \"learning_rate\": ");
    lc_text_add_double(out, resolved->learning_rate);
    lc_text_addf(out, ", \"dtype\": \"%s\", \"device\": \"%s\"}",
                 resolved->dtype == LC_BF16 ? "bf16" : "fp32",
                 lc_device_kind_name(resolved->device));
}

lc_code lc_job_resolved_read(const cJSON *object, lc_job_resolved *out, lc_err *err)
{
    const char *dtype = NULL, *device = NULL;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < INTEGER_COUNT; i++) {
        int64_t value = 0;
        LC_TRY(lc_json_int(object, integers[i].key, true, integers[i].min, integers[i].max, &value,
                           err));
        memcpy((char *)out + integers[i].offset, &value, sizeof value);
    }
    LC_TRY(lc_json_double(object, "learning_rate_multiplier", true, 0.0, 1000.0,
                          &out->learning_rate_multiplier, err));
    LC_TRY(lc_json_double(object, "learning_rate", true, 0.0, 1.0, &out->learning_rate, err));
    LC_TRY(lc_json_string(object, "dtype", true, &dtype, err));
    LC_TRY(lc_json_string(object, "device", true, &device, err));
    out->dtype = strcmp(dtype, "bf16") == 0 ? LC_BF16 : LC_F32;
    for (int kind = LC_DEVICE_CPU; kind < LC_DEVICE_KIND_COUNT; kind++) {
        if (strcmp(device, lc_device_kind_name((lc_device_kind)kind)) == 0) {
            out->device = (lc_device_kind)kind;
            return LC_OK;
        }
    }
    return lc_fail_param(err, LC_ERR_INVALID, "device", "device \"%.20s\" is unknown", device);
}
