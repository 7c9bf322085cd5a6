/*
 * The table of algorithms of a device: it goes out and in again as text, decides the bytes of
 * products, holds for all row counts of a class, and takes nothing but its own texts.
 */
#include <stdlib.h>

#include "lorac/choices.h"
#include "ops/backend.h"
#include "testing.h"

#define WORKSPACE_BYTES ((size_t)1 << 20)
#define MAX_ROWS        96
#define WIDTH           48
#define DEPTH           256
#define PLACE_OF_ID     16 /* in the text of an emulated algorithm: its third 32-bit number */

static lc_device *device;
static void *workspace, *x, *w, *y;

static void fill(void *to, size_t count, uint32_t state)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)state * 0x1p-31f;
    }
    assert_ok(device->ops->upload(device, to, values, count * sizeof *values, &test_err));
    free(values);
}

static int open_device(void **state)
{
    (void)state;
    const char *name = getenv("LORAC_TEST_DEVICE");
    const lc_device_options options = {
        .kind = name != NULL && strcmp(name, "cuda") == 0 ? LC_DEVICE_CUDA : LC_DEVICE_EMU};
    assert_ok(lc_device_open(&options, &device, &test_err));
    assert_non_null(device->choices);
    assert_ok(device->ops->alloc(device, WORKSPACE_BYTES, &workspace, &test_err));
    device->ops->set_workspace(device, workspace, WORKSPACE_BYTES);
    assert_ok(device->ops->alloc(device, MAX_ROWS * DEPTH * 4, &x, &test_err));
    assert_ok(device->ops->alloc(device, WIDTH * DEPTH * 4, &w, &test_err));
    assert_ok(device->ops->alloc(device, MAX_ROWS * WIDTH * 4, &y, &test_err));
    fill(x, (size_t)MAX_ROWS * DEPTH, 1);
    fill(w, (size_t)WIDTH * DEPTH, 2);
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    if (device != NULL) {
        void *blocks[] = {workspace, x, w, y};
        for (int i = 0; i < 4; i++) {
            device->ops->free(device, blocks[i]);
        }
        device->ops->close(device);
        device = NULL;
    }
    return 0;
}

static void multiply(int64_t rows, float out[MAX_ROWS * WIDTH])
{
    const lc_linear_args args = {.x = lc_mat_f32(x, rows, DEPTH, DEPTH),
                                 .w = lc_mat_f32(w, WIDTH, DEPTH, DEPTH),
                                 .y = lc_mat_f32(y, rows, WIDTH, WIDTH)};
    assert_ok(device->ops->linear(device, &args, &test_err));
    assert_ok(device->ops->download(device, out, y, (size_t)rows * WIDTH * 4, &test_err));
}

static void reopen(void)
{
    (void)close_device(NULL);
    (void)open_device(NULL);
}

static int64_t count(void)
{
    return device->choices->count(device);
}

static void test_classes(void **state)
{
    (void)state;
    float out[MAX_ROWS * WIDTH];
    lc_choice choice;
    multiply(65, out);
    multiply(72, out);
    assert_int_equal(count(), 1); /* 65 to 72 rows are one class */
    multiply(73, out);
    assert_int_equal(count(), 2);
    device->choices->get(device, 0, &choice);
    assert_non_null(strstr(choice.product, "NT 72x48x256 "));
    assert_false(choice.is_measured);
    multiply(9, out);
    multiply(10, out);
    assert_int_equal(count(), 4); /* few rows are not rounded */
}

/* The same table gives the same bytes, another algorithm other bytes. */
static void test_round_trip(void **state)
{
    (void)state;
    static float first[MAX_ROWS * WIDTH], again[MAX_ROWS * WIDTH], other[MAX_ROWS * WIDTH];
    const size_t bytes = (size_t)70 * WIDTH * sizeof *first;
    lc_choice choice, kept;
    multiply(70, first);
    device->choices->get(device, 0, &choice);
    reopen();
    assert_ok(device->choices->add(device, &choice, &test_err));
    device->choices->get(device, 0, &kept);
    assert_memory_equal(&kept, &choice, sizeof kept);
    multiply(70, again);
    assert_int_equal(count(), 1);
    assert_memory_equal(again, first, bytes);
    if (strcmp(device->ops->name, "emu") != 0) {
        return; /* what follows knows the emulator's algorithms */
    }
    for (int repetition = 0; repetition < 2; repetition++) {
        reopen();
        choice.algorithm[PLACE_OF_ID + 1] = '1';
        choice.is_measured = true;
        assert_ok(device->choices->add(device, &choice, &test_err));
        multiply(70, repetition == 0 ? other : again);
        device->choices->get(device, 0, &kept);
        assert_memory_equal(&kept, &choice, sizeof kept);
    }
    assert_memory_not_equal(other, first, bytes);
    assert_memory_equal(other, again, bytes);
}

/* An algorithm that cannot do one shape of its class leaves that shape to another one. */
static void test_misfit(void **state)
{
    (void)state;
    static float first[MAX_ROWS * WIDTH], again[MAX_ROWS * WIDTH];
    lc_choice choice, exact;
    multiply(70, first);
    device->choices->get(device, 0, &choice);
    reopen();
    memset(choice.algorithm, '0', strlen(choice.algorithm)); /* no algorithm at all */
    assert_ok(device->choices->add(device, &choice, &test_err));
    multiply(70, again);
    assert_memory_equal(again, first, (size_t)70 * WIDTH * sizeof *first);
    assert_int_equal(count(), 2);
    device->choices->get(device, 1, &exact);
    assert_non_null(strstr(exact.product, "NT 70x48x256 "));
    assert_non_null(strstr(exact.product, " exact 1"));
}

static void test_refusals(void **state)
{
    (void)state;
    static float out[MAX_ROWS * WIDTH];
    lc_choice good, bad;
    multiply(70, out);
    device->choices->get(device, 0, &good);
    assert_fails(device->choices->add(device, &good, &test_err), LC_ERR_INVALID, "already");
    static const char *const products[] = {"", "NT", "QQ 72x48x256", "NT 72x48x-1 ld 1,1,1,1"};
    reopen();
    for (size_t i = 0; i < sizeof products / sizeof products[0]; i++) {
        bad = good;
        memset(bad.product, 0, sizeof bad.product);
        memcpy(bad.product, products[i], strlen(products[i]));
        assert_fails(device->choices->add(device, &bad, &test_err), LC_ERR_INVALID, "no product");
    }
    bad = good;
    bad.algorithm[3] = 'g';
    assert_fails(device->choices->add(device, &bad, &test_err), LC_ERR_INVALID, "no algorithm");
    bad = good;
    bad.algorithm[strlen(bad.algorithm) - 1] = '\0';
    assert_fails(device->choices->add(device, &bad, &test_err), LC_ERR_INVALID, "no algorithm");
    assert_int_equal(count(), 0);
}

/* The ways of an op are choices too; their texts go in and out, and only those of the site. */
static void test_ways(void **state)
{
    (void)state;
    static const struct {
        const char *product, *way;
        bool is_good;
    } texts[] = {{"linear 8192x4096x6144 parts 0+0x48", "apart", true},
                 {"linear_backward 8192x4096x6144 parts 0+4096x16 4096+1024x16", "widened", true},
                 {"lora_dx_normed 64x48x0 parts 0+64x16", "products", true},
                 {"rmsnorm_backward 64x48x0 parts 0+64x16 64+32x16", "apart", true},
                 {"linear 8192x4096x6144 parts 0+0x48", "bordered", false},
                 {"rmsnorm_backward 64x48x0 parts 0+64x16", "products", false},
                 {"linear 64x48x48 parts 0+0x16", "kernel", false},
                 {"linear 64x48x48 parts 0+0x16", "", false},
                 {"linear 64x48x48 parts 0+0x16 7", "apart", false},
                 {"linear 0x48x48 parts 0+0x16", "apart", false},
                 {"linea 64x48x48 parts 0+0x16", "apart", false}};
    int64_t expected = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        lc_choice choice = {.is_measured = true}, kept;
        (void)snprintf(choice.product, sizeof choice.product, "%s", texts[i].product);
        (void)snprintf(choice.algorithm, sizeof choice.algorithm, "%s", texts[i].way);
        lc_err_clear(&test_err);
        if (!texts[i].is_good) {
            assert_int_equal(device->choices->add(device, &choice, &test_err), LC_ERR_INVALID);
            continue;
        }
        assert_ok(device->choices->add(device, &choice, &test_err));
        device->choices->get(device, expected++, &kept);
        assert_memory_equal(&kept, &choice, sizeof kept);
    }
    assert_int_equal(count(), expected);
}

/* A product with a border, in BF16, and its way are tuned; it then takes the way that was found. */
static void test_tune_way(void **state)
{
    (void)state;
    const lc_tune_options options = {.repetitions = 3};
    const lc_linear_args args = {.x = {x, 64, 64, 64, LC_BF16, 0},
                                 .w = {w, WIDTH, 64, 64, LC_BF16, 0},
                                 .tail = 16,
                                 .y = {y, 64, WIDTH, WIDTH, LC_BF16, 0}};
    lc_tuned tuned;
    lc_choice choice;
    assert_ok(device->ops->linear(device, &args, &test_err));
    assert_int_equal(count(), 2);
    device->choices->get(device, 0, &choice);
    assert_string_equal(choice.product, "linear 64x48x48 parts 0+0x16");
    assert_string_equal(choice.algorithm, "bordered");
    assert_ok(device->choices->tune(device, 0, &options, &tuned, &test_err));
    assert_int_equal(tuned.candidates, 2);
    device->choices->get(device, 0, &choice);
    assert_true(choice.is_measured);
    const int64_t known = count();
    assert_true(known >= 4); /* the products of both ways */
    assert_ok(device->ops->linear(device, &args, &test_err));
    assert_int_equal(count(), known);
}

/* Ways that leave partial sums are tuned whatever workspace there is: a class has more rows than
 * the batches that it was planned for. Here none of it is left to kernels. */
static void test_tune_ways_with_scratch(void **state)
{
    (void)state;
    static const char *const products[] = {
        "lora_dy 144x0x64 parts 0+64x16", "lora_dx 144x64x0 parts 0+64x16",
        "lora_dx_normed 144x64x0 parts 0+64x16", "linear_backward 144x64x64 parts 0+64x16",
        "rmsnorm_backward 144x64x0 parts 0+64x16 64+32x32"};
    static const char *const ways[] = {"kernel", "kernel", "kernel", "bordered", "fused"};
    const lc_tune_options options = {.repetitions = 1};
    for (size_t i = 0; i < sizeof products / sizeof products[0]; i++) {
        lc_choice choice = {.is_measured = false};
        lc_tuned tuned;
        const int64_t index = count();
        (void)snprintf(choice.product, sizeof choice.product, "%s", products[i]);
        (void)snprintf(choice.algorithm, sizeof choice.algorithm, "%s", ways[i]);
        assert_ok(device->choices->add(device, &choice, &test_err));
        assert_ok(device->choices->tune(device, index, &options, &tuned, &test_err));
        assert_int_equal(tuned.candidates, strcmp(ways[i], "bordered") == 0 ? 3 : 2);
    }
}

/* Tuning times every proposal and leaves one of them, which products then take. */
static void test_tune(void **state)
{
    (void)state;
    static float out[MAX_ROWS * WIDTH];
    const lc_tune_options options = {.repetitions = 3};
    lc_tuned tuned;
    lc_choice choice;
    multiply(70, out);
    assert_ok(device->choices->tune(device, 0, &options, &tuned, &test_err));
    assert_true(tuned.candidates > 1);
    assert_true(tuned.best_us <= tuned.first_us);
    device->choices->get(device, 0, &choice);
    assert_true(choice.is_measured);
    multiply(70, out);
    assert_int_equal(count(), 1);
}

static void test_facts(void **state)
{
    (void)state;
    lc_fact facts[LC_MAX_FACTS];
    const int used = device->choices->facts(device, facts);
    bool has_library = false;
    assert_in_range(used, 5, LC_MAX_FACTS);
    for (int i = 0; i < used; i++) {
        assert_true(facts[i].name[0] != '\0' && facts[i].value[0] != '\0');
        has_library = has_library || (strcmp(facts[i].name, "cublaslt") == 0 && facts[i].decides);
    }
    assert_true(has_library);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_classes, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_round_trip, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_misfit, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_refusals, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_ways, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_tune_way, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_tune_ways_with_scratch, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_tune, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_facts, open_device, close_device),
    };
    return cmocka_run_group_tests_name("tuning", tests, NULL, NULL);
}
