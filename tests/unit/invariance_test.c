/*
 * A step's loss and gradients do not depend on how its examples were cut into micro-batches: 1, 2,
 * 4, 8 rows with unequal masks, packing on and off, dropout 0 and 0.1, a common beginning taken
 * once or in each of them, any thread count; nor on what the backward pass computes again.
 */
#include "testing.h"

#include <math.h>

#include "data/safetensors.h"
#include "lorac/mem.h"
#include "parity.h"

#define LOSS_BOUND     1e-6 /* relative */
#define GRADIENT_BOUND 5e-6 /* relative L2 */
#define EXAMPLES       8
#define LONGEST        29
#define COMMON         7

/* Random rows, and rows that begin alike. */
static char unlike[LC_MAX_PATH_BYTES], alike[LC_MAX_PATH_BYTES];
static const char *dataset_path;

/* Eight random rows: one with a single target, one with all, the others in between; all with the
 * same first `common` tokens, which are no targets. */
static void write_dataset(const char *path, int64_t common)
{
    int32_t ids[EXAMPLES * LONGEST];
    float weights[EXAMPLES * LONGEST];
    int64_t offsets[EXAMPLES + 1] = {0};
    int64_t count = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        const int64_t length = i == 0 ? common + 2 : test_int(common + 3, LONGEST);
        for (int64_t j = 0; j < length; j++, count++) {
            ids[count] = j < common && i > 0 ? ids[j] : (int32_t)test_int(0, 130);
            weights[count] =
                j > common && (i == 1 || test_int(0, 2) == 0) ? (float)test_int(1, 4) * 0.5f : 0.0f;
        }
        weights[count - 1] = 1.0f;
        offsets[i + 1] = count;
    }
    const lc_tensor_out tensors[] = {
        {.name = "input_ids", .dtype = LC_I32, .rank = 1, .shape = {count}, .data = ids},
        {.name = "loss_weights", .dtype = LC_F32, .rank = 1, .shape = {count}, .data = weights},
        {.name = "offsets", .dtype = LC_I64, .rank = 1, .shape = {EXAMPLES + 1}, .data = offsets}};
    assert_ok(lc_safetensors_write(path, tensors, 3, NULL, 0, NULL, NULL, &test_err));
}

static int write_datasets(void **state)
{
    (void)state;
    (void)snprintf(unlike, sizeof unlike, "%s/unlike.safetensors", test_dir());
    (void)snprintf(alike, sizeof alike, "%s/alike.safetensors", test_dir());
    write_dataset(unlike, 0);
    write_dataset(alike, COMMON);
    dataset_path = unlike;
    return 0;
}

typedef struct result {
    lc_sums sums;
    float *grad; /* lc_malloc */
    int64_t count;
} result;

typedef struct cut {
    const char *family;
    float dropout;
    int threads;
    int64_t tokens;
    int64_t documents; /* 0: the packer */
    bool packing;
    bool shares;
    int32_t recompute;
} cut;

static parity_run *open_run(const cut *setting)
{
    char model[LC_MAX_PATH_BYTES], adapter[LC_MAX_PATH_BYTES];
    parity_run *run = NULL;
    (void)snprintf(model, sizeof model, "%s/tests/golden/cases/%s/model", LC_SOURCE_DIR,
                   setting->family);
    (void)snprintf(adapter, sizeof adapter, "%s/tests/golden/cases/%s/adapter", LC_SOURCE_DIR,
                   setting->family);
    const parity_options options = {.model_dir = model,
                                    .dataset_path = dataset_path,
                                    .adapter_dir = adapter,
                                    .tokens = setting->tokens,
                                    .dropout = setting->dropout,
                                    .threads = setting->threads,
                                    .recompute = setting->recompute};
    assert_ok(parity_open(&options, &run, &test_err));
    return run;
}

static result gradients_of(const cut *setting)
{
    parity_run *run = open_run(setting);
    const parity_step step = {.documents = setting->documents,
                              .packing = setting->packing,
                              .shares = setting->shares,
                              .seed = 11,
                              .step = 3};
    result found = {.count = run->spec.master_count};
    found.grad = lc_calloc((size_t)found.count, sizeof *found.grad);
    assert_non_null(found.grad);
    assert_ok(parity_gradient(run, &step, found.grad, &found.sums, &test_err));
    parity_close(run);
    return found;
}

/* Relative L2 distance of each adapter tensor, the largest. */
static double largest_gradient_error(const cut *setting, const float *found, const float *expected)
{
    parity_run *run = open_run(setting);
    parity_tensor tensor;
    double largest = 0.0;
    for (int64_t i = 0; parity_tensor_at(run, i, &tensor); i++) {
        double difference = 0.0, norm = 0.0;
        for (int64_t row = 0; row < tensor.rows; row++) {
            for (int64_t col = 0; col < tensor.cols; col++) {
                const int64_t at = tensor.offset + row * tensor.ld + col;
                const double off = (double)found[at] - (double)expected[at];
                difference += off * off;
                norm += (double)expected[at] * (double)expected[at];
            }
        }
        assert_true(norm > 0.0);
        largest = fmax(largest, sqrt(difference / norm));
    }
    parity_close(run);
    return largest;
}

static void expect_same(const cut *setting, const result *reference)
{
    result found = gradients_of(setting);
    const double loss = fabs(found.sums.loss - reference->sums.loss) / reference->sums.loss;
    const double gradient = largest_gradient_error(setting, found.grad, reference->grad);
    assert_true(found.sums.targets == reference->sums.targets);
    if (!(loss < LOSS_BOUND) || !(gradient < GRADIENT_BOUND)) {
        fail_msg(
            "%s, dropout %g, %lld rows, %lld tokens, packing %d: loss off by %g, gradient by %g",
            setting->family, (double)setting->dropout, (long long)setting->documents,
            (long long)setting->tokens, setting->packing, loss, gradient);
    }
    lc_free(found.grad);
}

static void same_however_cut(void **state)
{
    static const float dropouts[] = {0.0f, 0.1f};
    const int64_t all = EXAMPLES * LONGEST;
    for (size_t d = 0; d < 2; d++) {
        const cut one = {*state, dropouts[d], 1, LONGEST, 0, false, false, 0};
        const result reference = gradients_of(&one);
        for (int64_t rows = 1; rows <= EXAMPLES; rows *= 2) {
            const cut rows_cut = {*state, dropouts[d], 2, all, rows, false, false, 0};
            expect_same(&rows_cut, &reference);
        }
        for (int64_t tokens = LONGEST; tokens <= all; tokens = tokens * 2 + 3) {
            const cut packed = {*state, dropouts[d], 2, tokens, 0, true, false, 0};
            expect_same(&packed, &reference);
        }
        lc_free(reference.grad);
    }
}

static void same_with_a_common_beginning(void **state)
{
    dataset_path = alike;
    const cut one = {*state, 0.0f, 1, LONGEST, 0, false, false, 0};
    const result reference = gradients_of(&one);
    for (int64_t tokens = LONGEST; tokens <= EXAMPLES * LONGEST; tokens = tokens * 2 + 3) {
        const cut packed = {*state, 0.0f, 2, tokens, 0, true, true, 0};
        expect_same(&packed, &reference);
    }
    lc_free(reference.grad);
    dataset_path = unlike;
}

/* Without this the tests above could pass with dropout doing nothing. */
static void dropout_matters(void **state)
{
    const cut without = {*state, 0.0f, 1, LONGEST, 0, false, false, 0},
              with = {*state, 0.1f, 1, LONGEST, 0, false, false, 0};
    const result a = gradients_of(&without), b = gradients_of(&with);
    assert_true(largest_gradient_error(&without, b.grad, a.grad) > 1e-3);
    lc_free(a.grad);
    lc_free(b.grad);
}

/* The same cut gives the same bytes at any thread count. */
static void same_bytes_at_any_thread_count(void **state)
{
    for (int d = 0; d < 2; d++) {
        const cut one = {*state, d == 0 ? 0.0f : 0.1f, 1, 64, 0, true, true, 0};
        const result reference = gradients_of(&one);
        for (int threads = 2; threads <= 8; threads += 3) {
            cut many = one;
            many.threads = threads;
            const result found = gradients_of(&many);
            assert_memory_equal(found.grad, reference.grad, (size_t)found.count * sizeof(float));
            assert_memory_equal(&found.sums, &reference.sums, sizeof found.sums);
            lc_free(found.grad);
        }
        lc_free(reference.grad);
    }
}

static int64_t saved_bytes(const cut *setting, int32_t *most)
{
    parity_run *run = open_run(setting);
    const int64_t bytes = run->model.plan.class_bytes[LC_PLAN_ACTIVATIONS];
    *most = lc_model_recompute_steps(&run->config, &run->spec);
    parity_close(run);
    return bytes;
}

/* Whatever the backward pass computes again; each step of it keeps less. */
static void same_bytes_when_computed_again(void **state)
{
    for (int d = 0; d < 2; d++) {
        cut setting = {*state, d == 0 ? 0.0f : 0.1f, 2, 64, 0, true, d == 0, 0};
        const result reference = gradients_of(&setting);
        int32_t most = 0;
        int64_t bytes = saved_bytes(&setting, &most);
        assert_true(most >= 2);
        for (setting.recompute = 1; setting.recompute <= most; setting.recompute++) {
            const result found = gradients_of(&setting);
            const int64_t fewer = saved_bytes(&setting, &most);
            assert_memory_equal(found.grad, reference.grad, (size_t)found.count * sizeof(float));
            assert_memory_equal(&found.sums, &reference.sums, sizeof found.sums);
            assert_true(fewer < bytes);
            bytes = fewer;
            lc_free(found.grad);
        }
        lc_free(reference.grad);
    }
}

#define FAMILY(name)                                                                    \
    {"cuts " name, same_however_cut, NULL, NULL, (char[]){name}},                       \
        {"beginnings " name, same_with_a_common_beginning, NULL, NULL, (char[]){name}}, \
        {"dropout " name, dropout_matters, NULL, NULL, (char[]){name}},                 \
        {"again " name, same_bytes_when_computed_again, NULL, NULL, (char[]){name}},    \
    {                                                                                   \
        "threads " name, same_bytes_at_any_thread_count, NULL, NULL, (char[])           \
        {                                                                               \
            name                                                                        \
        }                                                                               \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {FAMILY("llama-default"), FAMILY("mistral-window"),
                                       FAMILY("llama-dynamic"), FAMILY("qwen3"), FAMILY("smollm3")};
    return cmocka_run_group_tests(tests, write_datasets, NULL);
}
