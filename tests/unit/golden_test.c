// ctest: threads
/*
 * lora.c beside the golden files of scripts/make_golden (PyTorch + transformers + PEFT, fp32):
 * loss, gradients of every adapter tensor, logits, and the losses of 50 optimizer steps, per
 * family. test_parity.py does the same live. LORAC_TEST_DEVICE and LORAC_TEST_DTYPE name another
 * device than the CPU, with wider bounds for bf16; families whose widths it does not take are left
 * out there.
 */
#include "testing.h"

#include <math.h>

#include "data/safetensors.h"
#include "lorac/mem.h"
#include "parity.h"

/* What a type may be off by: losses relative, gradients in relative L2, logits of max |logit|. */
typedef struct bounds {
    double loss, gradient, trained, logits;
} bounds;

static const bounds fp32_bounds = {1e-5, 1e-4, 1e-4, 1e-4}, bf16_bounds = {1e-2, 5e-2, 3e-2, 3e-2};
static bounds bound;

/* As scripts/make_golden and TRAINING in parity_cases.py have it. */
#define LOGITS_EXAMPLE 2
#define STEPS          50

typedef struct golden_case {
    parity_run *run;
    lc_safetensors *expected;
} golden_case;

static void path_of(const char *name, const char *file, char *out)
{
    (void)snprintf(out, LC_MAX_PATH_BYTES, "%s/tests/golden/cases/%s/%s", LC_SOURCE_DIR, name,
                   file);
}

static golden_case open_case(const char *name, int64_t tokens, bool generation)
{
    char model[LC_MAX_PATH_BYTES], data[LC_MAX_PATH_BYTES], adapter[LC_MAX_PATH_BYTES];
    char expected[LC_MAX_PATH_BYTES];
    golden_case golden = {0};
    path_of(name, "model", model);
    path_of(name, "data.safetensors", data);
    path_of(name, "adapter", adapter);
    path_of(name, "expected.safetensors", expected);
    const parity_options options = {.model_dir = model,
                                    .dataset_path = data,
                                    .adapter_dir = adapter,
                                    .tokens = tokens,
                                    .threads = 2,
                                    .generation = generation,
                                    .device = parity_device(),
                                    .dtype = parity_dtype()};
    bound = options.dtype == LC_BF16 ? bf16_bounds : fp32_bounds;
    const lc_code code = parity_open(&options, &golden.run, &test_err);
    if (code == LC_ERR_UNSUPPORTED && options.device != LC_DEVICE_CPU) {
        lc_err_clear(&test_err);
        print_message("%s: not for this device\n", name);
        skip();
    }
    assert_ok(code);
    assert_ok(lc_safetensors_open(expected, &golden.expected, &test_err));
    return golden;
}

static void close_case(golden_case *golden)
{
    parity_close(golden->run);
    lc_safetensors_close(golden->expected);
}

/* A whole tensor of the expected values; free with lc_free. */
static void *expected_values(const golden_case *golden, const char *name, int64_t count,
                             lc_dtype dtype)
{
    const lc_tensor_info *tensor = lc_safetensors_find(golden->expected, name);
    if (tensor == NULL) {
        fail_msg("the golden file lacks %s", name);
        return NULL;
    }
    assert_int_equal(tensor->dtype, dtype);
    assert_int_equal(tensor->bytes, count * (int64_t)lc_dtype_bytes(dtype));
    void *values = lc_malloc((size_t)tensor->bytes);
    assert_non_null(values);
    assert_ok(
        lc_safetensors_read(golden->expected, tensor, 0, values, (size_t)tensor->bytes, &test_err));
    return values;
}

static double expected_number(const golden_case *golden, const char *name)
{
    double *value = expected_values(golden, name, 1, LC_F64);
    const double number = *value;
    lc_free(value);
    return number;
}

static double relative(double found, double expected)
{
    return fabs(found - expected) / fabs(expected);
}

/* Relative L2 error of one tensor of the padded gradient buffer. */
static double gradient_error(const golden_case *golden, const parity_tensor *tensor,
                             const float *grad)
{
    float *expected = expected_values(golden, tensor->name, tensor->rows * tensor->cols, LC_F32);
    double difference = 0.0, norm = 0.0;
    for (int64_t row = 0; row < tensor->rows; row++) {
        for (int64_t col = 0; col < tensor->cols; col++) {
            const double want = (double)expected[row * tensor->cols + col];
            const double got = (double)grad[tensor->offset + row * tensor->ld + col];
            difference += (got - want) * (got - want);
            norm += want * want;
        }
    }
    lc_free(expected);
    assert_true(norm > 0.0);
    return sqrt(difference / norm);
}

static void gradients_match(void **state)
{
    golden_case golden = open_case(*state, 64, false);
    float *grad = lc_calloc((size_t)golden.run->spec.master_count, sizeof *grad);
    const parity_step step = {.packing = true};
    lc_sums sums;
    parity_tensor tensor;
    int64_t count = 0;
    assert_non_null(grad);
    assert_ok(parity_gradient(golden.run, &step, grad, &sums, &test_err));
    assert_true(relative(sums.weight, expected_number(&golden, "weight")) < 1e-12);
    assert_true(relative(sums.loss, expected_number(&golden, "loss")) < bound.loss);
    for (; parity_tensor_at(golden.run, count, &tensor); count++) {
        const double error = gradient_error(&golden, &tensor, grad);
        if (!(error < bound.gradient)) {
            fail_msg("gradient of %s: relative L2 error %g", tensor.name, error);
        }
    }
    /* beside the gradients: loss, weight, losses, logits */
    assert_int_equal(count + 4, lc_safetensors_count(golden.expected));
    lc_free(grad);
    close_case(&golden);
}

static void logits_match(void **state)
{
    golden_case golden = open_case(*state, 64, true);
    const lc_dataset *dataset = &golden.run->dataset;
    const int64_t length = dataset->offsets[LOGITS_EXAMPLE + 1] - dataset->offsets[LOGITS_EXAMPLE];
    const int64_t count = length * golden.run->config.vocab;
    float *expected = expected_values(&golden, "logits", count, LC_F32);
    const bool is_dynamic = golden.run->config.rope.type == LC_ROPE_DYNAMIC;
    const int64_t chunks[] = {64, 3, 1}; /* dynamic frequencies depend on the length so far */
    for (size_t i = 0; i < (is_dynamic ? 1 : 3); i++) {
        float *logits = NULL;
        double largest = 0.0, difference = 0.0;
        assert_ok(parity_logits(golden.run, LOGITS_EXAMPLE, chunks[i], &logits, &test_err));
        for (int64_t j = 0; j < count; j++) {
            largest = fmax(largest, fabs((double)expected[j]));
            difference = fmax(difference, fabs((double)logits[j] - (double)expected[j]));
        }
        if (!(difference < bound.logits * largest)) {
            fail_msg("logits, %lld tokens a call: off by %g of %g", (long long)chunks[i],
                     difference, largest);
        }
        lc_free(logits);
    }
    lc_free(expected);
    close_case(&golden);
}

static void training_matches(void **state)
{
    golden_case golden = open_case(*state, 64, false);
    const lc_train_options options = {.batch_size = 3,
                                      .steps_per_epoch = 3,
                                      .total_steps = STEPS,
                                      .micro_batch_tokens = 64,
                                      .packing = true,
                                      .schedule = LC_SCHEDULE_COSINE,
                                      .learning_rate = 5e-3,
                                      .warmup_steps = 5,
                                      .weight_decay = 0.01,
                                      .grad_clip = 0.5,
                                      .eval_every_steps = 1,
                                      .checkpoint_every_steps = STEPS};
    double losses[STEPS] = {0};
    double *expected = expected_values(&golden, "losses", STEPS, LC_F64);
    assert_ok(parity_train(golden.run, &options, losses, &test_err));
    for (int i = 0; i < STEPS; i++) {
        if (!(relative(losses[i], expected[i]) < bound.trained)) {
            fail_msg("loss of step %d: %.9g, expected %.9g", i + 1, losses[i], expected[i]);
        }
    }
    lc_free(expected);
    close_case(&golden);
}

#define FAMILY(name)                                                  \
    {"gradients " name, gradients_match, NULL, NULL, (char[]){name}}, \
        {"logits " name, logits_match, NULL, NULL, (char[]){name}},   \
    {                                                                 \
        "50 steps " name, training_matches, NULL, NULL, (char[])      \
        {                                                             \
            name                                                      \
        }                                                             \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        FAMILY("llama-default"),  FAMILY("llama-linear"),   FAMILY("llama-dynamic"),
        FAMILY("llama-llama3"),   FAMILY("llama-yarn"),     FAMILY("llama-biases"),
        FAMILY("llama-patterns"), FAMILY("mistral-window"), FAMILY("qwen2"),
        FAMILY("qwen3"),          FAMILY("smollm3"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
