/*
 * Attention by cuDNN beside our own kernels: the same numbers, who serves which call, and what
 * happens where the library is wrong, too old or not there. LORAC_TEST_DEVICE names the device, emu
 * without it: there the library is fake_cudnn.cpp, with planted faults. On a GPU without cuDNN the
 * program is skipped (77).
 */
#include "attention_bed.h"

#define SKIPPED 77

static const call small = {
    .heads = 2, .kv_heads = 1, .head_dim = 64, .lengths = {33, 1, 64}, .tail = 6};

/* ---- on any device ---- */

static void compare_call(const call *shape, bool deterministic)
{
    lc_device *own = open_device(LC_ATTENTION_LORAC, true),
              *library = open_device(LC_ATTENTION_CUDNN, deterministic);
    bed a = make_bed(library, shape), b = make_bed(own, shape);
    char names[2][LC_ALGORITHM_BYTES];
    assert_ok(run(&b));
    assert_ok(run(&a));
    assert_int_equal(algorithms(library, names), 2);
    const double out = distance(&a, &b, OUT), gradients = distance(&a, &b, DQKV);
    print_message("%d/%d heads of %d, window %d, %lld rows in %d: off by %.2g, %.2g (%s, %s)\n",
                  shape->heads, shape->kv_heads, shape->head_dim, shape->window, (long long)a.used,
                  a.count, out, gradients, names[0], names[1]);
    assert_true(out < OFF_MOST && gradients < OFF_MOST);
    expect_clear_tail(&a, OUT);
    expect_clear_tail(&a, DQKV);
    assert_int_equal(warning_count, 0);
    drop_bed(&a);
    drop_bed(&b);
    library->ops->close(library);
    own->ops->close(own);
}

static void test_numbers(void **state)
{
    (void)state;
    static const call few[] = {
        {.heads = 2, .kv_heads = 1, .head_dim = 64, .lengths = {1, 63, 64, 65, 2}, .tail = 3},
        {.heads = 1, .kv_heads = 1, .head_dim = 80, .window = 16, .lengths = {70}},
        {.heads = 2, .kv_heads = 2, .head_dim = 128, .lengths = {129, 1}, .tail = 1}};
    static const call many[] = {
        {.heads = 32,
         .kv_heads = 8,
         .head_dim = 128,
         .lengths = {1, 63, 64, 65, 127, 129, 1000},
         .tail = 77},
        {.heads = 32, .kv_heads = 8, .head_dim = 128, .lengths = {4096, 4096}},
        {.heads = 32,
         .kv_heads = 8,
         .head_dim = 128,
         .window = 1024,
         .lengths = {4000, 100},
         .tail = 9},
        {.heads = 14, .kv_heads = 2, .head_dim = 64, .lengths = {1, 1, 1, 1, 1, 320, 192, 2, 130}},
        {.heads = 12, .kv_heads = 2, .head_dim = 128, .lengths = {8192}},
        {.heads = 16, .kv_heads = 16, .head_dim = 64, .window = 128, .lengths = {700, 1, 129, 128}},
        {.heads = 8, .kv_heads = 8, .head_dim = 96, .lengths = {513, 191, 65}, .tail = 2},
        {.heads = 8, .kv_heads = 4, .head_dim = 192, .lengths = {300, 301}},
        {.heads = 8,
         .kv_heads = 4,
         .head_dim = 256,
         .window = 512,
         .lengths = {1025, 64},
         .tail = 40}};
    set_library("9.25.0", NULL);
    for (size_t i = 0; i < sizeof few / sizeof few[0]; i++) {
        compare_call(&few[i], i == 0);
    }
    for (size_t i = 0; i < sizeof many / sizeof many[0] && !is_emulated; i++) {
        compare_call(&many[i], false);
        lc_device *ordered = NULL;
        if (try_device(LC_ATTENTION_CUDNN, true, &ordered) == LC_OK) {
            ordered->ops->close(ordered);
            compare_call(&many[i], true);
        }
    }
}

/* A recorded run serves other documents of its bucket. */
static void test_recorded(void **state)
{
    (void)state;
    static const call others[] = {
        {.lengths = {33, 1, 64}}, {.lengths = {2, 90}}, {.lengths = {1, 1, 1, 95}}};
    set_library("9.25.0", NULL);
    lc_device *own = open_device(LC_ATTENTION_LORAC, false),
              *library = open_device(LC_ATTENTION_AUTO, false);
    bed a = make_bed(library, &small), b = make_bed(own, &small);
    const lc_documents first = documents_of(&a);
    const uint32_t key = library->ops->layout_key(library, &first, a.rows);
    assert_in_range(key, 1, 255);
    for (int i = 0; i < 3; i++) {
        bool replayed = false;
        lay_out(&a, &others[i]);
        lay_out(&b, &others[i]);
        const lc_documents now = documents_of(&a);
        assert_int_equal(library->ops->layout_key(library, &now, a.rows), key);
        assert_int_equal(own->ops->layout_key(own, &now, a.rows), 0);
        assert_ok(run(&b));
        assert_ok(library->ops->record_begin(library, "test", key, &replayed, &test_err));
        assert_int_equal(replayed, i == 2);
        if (!replayed) {
            assert_ok(run(&a));
            assert_ok(library->ops->record_end(library, true, &test_err));
        }
        assert_true(distance(&a, &b, OUT) < OFF_MOST && distance(&a, &b, DQKV) < OFF_MOST);
        expect_clear_tail(&a, DQKV);
    }
    drop_bed(&a);
    drop_bed(&b);
    library->ops->close(library);
    own->ops->close(own);
}

/* Calls that are ours alone. */
static void test_unserved(void **state)
{
    (void)state;
    static const call calls[] = {
        {.heads = 1, .kv_heads = 1, .head_dim = 40, .lengths = {20}},
        {.heads = 1, .kv_heads = 1, .head_dim = 64, .lengths = {20}, .is_f32 = true},
        {.heads = 1, .kv_heads = 1, .head_dim = 64, .lengths = {20, 3}, .shared_rows = 4}};
    char names[2][LC_ALGORITHM_BYTES];
    set_library("9.25.0", NULL);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        lc_device *library = open_device(LC_ATTENTION_AUTO, false);
        bed a = make_bed(library, &calls[i]);
        assert_ok(run(&a));
        assert_int_equal(algorithms(library, names), 0);
        drop_bed(&a);
        library->ops->close(library);
    }
}

/* Choices of an earlier run are taken as they are. */
static void test_given(void **state)
{
    (void)state;
    char names[2][LC_ALGORITHM_BYTES], again[2][LC_ALGORITHM_BYTES];
    lc_choice choices[2];
    set_library("9.25.0", NULL);
    lc_device *first = open_device(LC_ATTENTION_AUTO, true);
    bed a = make_bed(first, &small);
    assert_ok(run(&a));
    assert_int_equal(algorithms(first, names), is_emulated ? 2 : algorithms(first, names));
    for (int how = 0; how < 3 && algorithms(first, names) == 2; how++) {
        lc_device *next = open_device(LC_ATTENTION_AUTO, true);
        bed b = make_bed(next, &small);
        for (int i = 0; i < 2; i++) {
            first->choices->get(first, i, &choices[i]);
            if (how == 1) {
                (void)snprintf(choices[i].algorithm, sizeof choices[i].algorithm, "lorac");
            } else if (how == 2) {
                (void)snprintf(choices[i].algorithm, sizeof choices[i].algorithm, "eng99_k1=77");
            }
            assert_ok(next->choices->add(next, &choices[i], &test_err));
            assert_fails(next->choices->add(next, &choices[i], &test_err), LC_ERR_INVALID,
                         "already");
        }
        if (how == 2) {
            lc_err_clear(&test_err);
            assert_int_equal(run(&b), LC_ERR_DEVICE);
            assert_non_null(strstr(test_err.message, "the job began with it"));
        } else {
            assert_ok(run(&b));
            assert_int_equal(algorithms(next, again), 2);
            assert_true(how == 1 || is_same(&a, &b, DQKV));
            assert_string_equal(again[1], how == 1 ? "lorac" : names[1]);
        }
        assert_int_equal(warning_count, 0);
        drop_bed(&b);
        next->ops->close(next);
    }
    drop_bed(&a);
    first->ops->close(first);
}

/* ---- what knows the emulator's library ---- */

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        const char *version;
        bool deterministic;
        const char *fact;
    } rows[] = {{NULL, false, "lorac"},
                {"9.5.0", false, "lorac"},
                {"9.19.0", false, "cudnn 9.19.0"},
                {"9.19.0", true, "lorac"},
                {"9.24.2", true, "lorac"},
                {"9.25.1", true, "cudnn 9.25.1 ordered"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lc_device *device = NULL;
        set_library(rows[i].version, NULL);
        const bool is_own = strcmp(rows[i].fact, "lorac") == 0;
        device = open_device(LC_ATTENTION_AUTO, rows[i].deterministic);
        expect_fact(device, rows[i].fact);
        device->ops->close(device);
        device = open_device(LC_ATTENTION_LORAC, rows[i].deterministic);
        expect_fact(device, "lorac");
        device->ops->close(device);
        if (is_own) {
            assert_fails(try_device(LC_ATTENTION_CUDNN, rows[i].deterministic, &device),
                         LC_ERR_DEVICE, "LORAC_ATTENTION is cudnn");
        }
        assert_int_equal(warning_count, 0);
    }
}

/* A library that is wrong is told once, and what it cannot do our own kernels do: the forward pass,
 * the backward pass, or both. */
static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *fault, *warning;
        bool deterministic;
    } rows[] = {{"wrong-forward",
                 "the output differs from our kernels': row 37 of a document of 38, head 0", false},
                {"wrong-backward", "dk differs from our kernels'", false},
                {"wavers-backward", "other bytes when it runs again", true},
                {"wavers-forward", "other bytes when it runs again", true},
                {"plan-backward", "it has no plan", false},
                {"workspace-forward", "of workspace, planned are", false},
                {"run-backward", "planted: it does not run", false},
                {"open", "planted: it does not open", false}};
    lc_device *own = open_device(LC_ATTENTION_LORAC, false);
    bed b = make_bed(own, &small);
    assert_ok(run(&b));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char names[2][LC_ALGORITHM_BYTES];
        const bool has_forward = strstr(rows[i].fault, "backward") != NULL,
                   has_backward = strstr(rows[i].fault, "forward") != NULL;
        set_library("9.25.0", rows[i].fault);
        lc_device *library = open_device(LC_ATTENTION_AUTO, rows[i].deterministic);
        bed a = make_bed(library, &small);
        assert_ok(run(&a));
        assert_int_equal(warning_count, 1);
        if (strstr(warning, rows[i].warning) == NULL ||
            strstr(warning, "our own kernels") == NULL) {
            fail_msg("%s: \"%s\" lacks \"%s\"", rows[i].fault, warning, rows[i].warning);
        }
        assert_int_equal(algorithms(library, names), 2);
        assert_true((strcmp(names[0], "lorac") == 0) == !has_forward);
        assert_true((strcmp(names[1], "lorac") == 0) == !has_backward);
        assert_ok(run(&a));
        assert_int_equal(warning_count, 1);
        assert_true(distance(&a, &b, OUT) <= (has_forward ? OFF_MOST : 0.0));
        assert_true(distance(&a, &b, DQKV) <= (has_forward || has_backward ? OFF_MOST : 0.0));
        drop_bed(&a);
        library->ops->close(library);
        library = open_device(LC_ATTENTION_CUDNN, rows[i].deterministic);
        bed c = make_bed(library, &small);
        lc_err_clear(&test_err);
        assert_int_equal(run(&c), LC_ERR_DEVICE);
        assert_non_null(strstr(test_err.message, "LORAC_ATTENTION is cudnn"));
        drop_bed(&c);
        library->ops->close(library);
    }
    drop_bed(&b);
    own->ops->close(own);
}

/* Without the promise a result that wavers within the tolerance is good enough; a plan of an
 * earlier run that cannot be had is told. */
static void test_wavering(void **state)
{
    (void)state;
    char names[2][LC_ALGORITHM_BYTES];
    lc_choice choice;
    set_library("9.25.0", "wavers");
    lc_device *library = open_device(LC_ATTENTION_AUTO, false);
    bed a = make_bed(library, &small);
    assert_ok(run(&a));
    assert_int_equal(algorithms(library, names), 2);
    assert_string_equal(names[1], "eng6_k14=0");
    assert_int_equal(warning_count, 0);
    library->choices->get(library, 0, &choice);
    drop_bed(&a);
    library->ops->close(library);
    set_library("9.25.0", NULL);
    library = open_device(LC_ATTENTION_AUTO, false);
    a = make_bed(library, &small);
    (void)snprintf(choice.algorithm, sizeof choice.algorithm, "eng1_k1=1");
    assert_ok(library->choices->add(library, &choice, &test_err));
    assert_ok(run(&a));
    assert_int_equal(warning_count, 1);
    drop_bed(&a);
    library->ops->close(library);
}

int main(void)
{
    const char *name = getenv("LORAC_TEST_DEVICE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),  cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_unserved), cmocka_unit_test(test_given),
        cmocka_unit_test(test_versions), cmocka_unit_test(test_faults),
        cmocka_unit_test(test_wavering)};
    lc_device *device = NULL;
    is_emulated = name == NULL || strcmp(name, "cuda") != 0;
    if (is_emulated) {
        return _cmocka_run_group_tests("attention", tests, sizeof tests / sizeof tests[0], NULL,
                                       NULL);
    }
    if (try_device(LC_ATTENTION_CUDNN, false, &device) != LC_OK) {
        printf("skipped: %s\n", test_err.message);
        return SKIPPED;
    }
    device->ops->close(device);
    return _cmocka_run_group_tests("attention", tests, 4, NULL, NULL);
}
