/*
 * Whole gradients of the CUDA backend beside the CPU's, where the golden files say nothing: with
 * dropout, with a common beginning taken once, in several cuts. LORAC_TEST_DEVICE names the device,
 * emu without it.
 */
#include <math.h>
#include <stdlib.h>

#include "data/safetensors.h"
#include "lorac/mem.h"
#include "parity.h"
#include "testing.h"

#define EXAMPLES   6
#define LONGEST    40
#define COMMON     9
#define FP32_BOUND 2e-5 /* relative L2 of all gradients */
#define BF16_BOUND 4e-2

static char dataset_path[LC_MAX_PATH_BYTES];

/* Rows that begin alike, with targets behind the common part. */
static int write_dataset(void **state)
{
    (void)state;
    int32_t ids[EXAMPLES * LONGEST];
    float weights[EXAMPLES * LONGEST];
    int64_t offsets[EXAMPLES + 1] = {0};
    int64_t count = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        const int64_t length = test_int(COMMON + 3, LONGEST);
        for (int64_t j = 0; j < length; j++, count++) {
            ids[count] = j < COMMON && i > 0 ? ids[j] : (int32_t)test_int(0, 130);
            weights[count] = j > COMMON && test_int(0, 2) > 0 ? (float)test_int(1, 4) * 0.5f : 0.0f;
        }
        weights[count - 1] = 1.0f;
        offsets[i + 1] = count;
    }
    const lc_tensor_out tensors[] = {
        {.name = "input_ids", .dtype = LC_I32, .rank = 1, .shape = {count}, .data = ids},
        {.name = "loss_weights", .dtype = LC_F32, .rank = 1, .shape = {count}, .data = weights},
        {.name = "offsets", .dtype = LC_I64, .rank = 1, .shape = {EXAMPLES + 1}, .data = offsets}};
    (void)snprintf(dataset_path, sizeof dataset_path, "%s/data.safetensors", test_dir());
    assert_ok(lc_safetensors_write(dataset_path, tensors, 3, NULL, 0, NULL, NULL, &test_err));
    return 0;
}

typedef struct result {
    float *grad; /* owned */
    int64_t count;
    lc_sums sums;
} result;

/* Of the step; with `repeats` above 1 after it and steps of other sizes have been run in turn, so
 * that a GPU runs again what it has recorded. */
static result gradient_of(const char *name, lc_device_kind device, lc_dtype dtype, float dropout,
                          const parity_step *step, int repeats, int32_t recompute)
{
    const parity_step other = {
        .documents = step->documents == 0 ? 1 : 3, .seed = step->seed, .step = step->step + 1};
    char model[LC_MAX_PATH_BYTES], adapter[LC_MAX_PATH_BYTES];
    (void)snprintf(model, sizeof model, "%s/tests/golden/cases/%s/model", LC_SOURCE_DIR, name);
    (void)snprintf(adapter, sizeof adapter, "%s/tests/golden/cases/%s/adapter", LC_SOURCE_DIR,
                   name);
    const parity_options options = {.model_dir = model,
                                    .dataset_path = dataset_path,
                                    .adapter_dir = adapter,
                                    .tokens = repeats > 1 ? 300 : 96,
                                    .dropout = dropout,
                                    .threads = 2,
                                    .device = device,
                                    .dtype = dtype,
                                    .recompute = recompute};
    parity_run *run = NULL;
    result found = {.grad = NULL};
    assert_ok(parity_open(&options, &run, &test_err));
    found.count = run->spec.master_count;
    found.grad = lc_calloc((size_t)found.count, sizeof *found.grad);
    assert_non_null(found.grad);
    for (int i = 0; i < repeats; i++) {
        if (repeats > 1) {
            assert_ok(parity_gradient(run, &other, found.grad, &found.sums, &test_err));
        }
        assert_ok(parity_gradient(run, step, found.grad, &found.sums, &test_err));
    }
    parity_close(run);
    return found;
}

static void compare(const char *name, lc_dtype dtype, float dropout, const parity_step *step,
                    int repeats)
{
    const lc_device_kind device = getenv("LORAC_TEST_DEVICE") ? parity_device() : LC_DEVICE_EMU;
    const double bound = dtype == LC_BF16 ? BF16_BOUND : FP32_BOUND;
    result expected = gradient_of(name, LC_DEVICE_CPU, dtype, dropout, step, 1, 0);
    result found = gradient_of(name, device, dtype, dropout, step, repeats, 0);
    double difference = 0.0, norm = 0.0;
    for (int64_t i = 0; i < expected.count; i++) {
        const double error = (double)found.grad[i] - (double)expected.grad[i];
        difference += error * error;
        norm += (double)expected.grad[i] * (double)expected.grad[i];
    }
    const double off = sqrt(difference / norm);
    print_message("%-15s %s p %.1f shares %d: gradients off by %.2g, loss by %.2g\n", name,
                  lc_dtype_name(dtype), (double)dropout, step->shares, off,
                  fabs(found.sums.loss / expected.sums.loss - 1.0));
    assert_true(norm > 0.0 && off < bound);
    assert_true(fabs(found.sums.loss / expected.sums.loss - 1.0) < bound);
    assert_true(fabs(found.sums.weight - expected.sums.weight) < 1e-9);
    lc_free(expected.grad);
    lc_free(found.grad);
}

/* What the backward pass computes again is the same. */
static void test_recompute(void **state)
{
    const lc_device_kind device = getenv("LORAC_TEST_DEVICE") ? parity_device() : LC_DEVICE_EMU;
    const parity_step steps[] = {{.packing = true, .shares = true, .seed = 3, .step = 5},
                                 {.packing = true, .seed = 3, .step = 5}};
    static const lc_dtype dtypes[] = {LC_F32, LC_BF16};
    for (int i = 0; i < 4; i++) {
        const parity_step *step = &steps[i % 2];
        const float dropout = step->shares ? 0.0f : 0.2f;
        result kept = gradient_of(*state, device, dtypes[i / 2], dropout, step, 1, 0);
        for (int32_t steps_of_it = 3; steps_of_it <= 7; steps_of_it += 4) {
            result again =
                gradient_of(*state, device, dtypes[i / 2], dropout, step, 1, steps_of_it);
            assert_memory_equal(again.grad, kept.grad, (size_t)kept.count * sizeof(float));
            assert_memory_equal(&again.sums, &kept.sums, sizeof kept.sums);
            lc_free(again.grad);
        }
        lc_free(kept.grad);
    }
}

static void test_family(void **state)
{
    const char *name = *state;
    const parity_step once = {.packing = true, .shares = true, .seed = 3, .step = 5},
                      apart = {.packing = true, .seed = 3, .step = 5},
                      alone = {.documents = 1, .seed = 3, .step = 6};
    static const lc_dtype dtypes[] = {LC_F32, LC_BF16};
    for (int i = 0; i < 2; i++) {
        compare(name, dtypes[i], 0.0f, &once, strcmp(name, "qwen2") == 0 ? 3 : 1);
        compare(name, dtypes[i], 0.2f, &apart, 1);
        compare(name, dtypes[i], 0.1f, &alone, 1);
    }
}

#define FAMILY(name)                            \
    {                                           \
        name, test_family, NULL, NULL, (char[]) \
        {                                       \
            name                                \
        }                                       \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"recompute", test_recompute, NULL, NULL, (char[]){"smollm3"}},
        FAMILY("llama-patterns"),
        FAMILY("llama-llama3"),
        FAMILY("llama-yarn"),
        FAMILY("mistral-window"),
        FAMILY("qwen2"),
        FAMILY("qwen3"),
        FAMILY("smollm3")};
    return cmocka_run_group_tests(tests, write_dataset, NULL);
}
