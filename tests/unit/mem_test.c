/* Allocation, checked sizes, arenas; element types and their conversions. */
#include "testing.h"

#include <math.h>

#include "base/fault.h"
#include "lorac/mem.h"
#include "lorac/tensor.h"

static void test_checked_sizes(void **state)
{
    (void)state;
    size_t size = 42;
    assert_true(lc_mul_size(SIZE_MAX / 2, 2, &size));
    assert_true(size == SIZE_MAX - 1);
    assert_false(lc_mul_size(SIZE_MAX / 2 + 1, 2, &size));
    assert_true(size == SIZE_MAX - 1); /* untouched */
    assert_true(lc_add_size(SIZE_MAX - 1, 1, &size));
    assert_true(size == SIZE_MAX);
    assert_false(lc_add_size(SIZE_MAX, 1, &size));
    int64_t value = 42;
    assert_true(lc_mul_i64(INT64_MIN, 1, &value));
    assert_false(lc_mul_i64(INT64_MIN, -1, &value));
    assert_true(value == INT64_MIN);
    assert_true(lc_add_i64(INT64_MAX - 1, 1, &value));
    assert_false(lc_add_i64(INT64_MAX, 1, &value));
    assert_false(lc_add_i64(INT64_MIN, -1, &value));
    assert_true(value == INT64_MAX);
}

static void test_zero_bytes(void **state)
{
    (void)state;
    void *a = lc_malloc(0), *b = lc_calloc(0, 8), *c = lc_aligned_alloc(64, 0);
    assert_true(a != NULL && b != NULL && c != NULL && a != b);
    a = lc_realloc(a, 0);
    assert_non_null(a);
    lc_free(a);
    lc_free(b);
    lc_free(c);
    lc_free(NULL);
}

static void test_overflow_and_alignment(void **state)
{
    (void)state;
    assert_null(lc_calloc(SIZE_MAX / 2 + 1, 2));
    assert_null(lc_calloc(2, SIZE_MAX / 2 + 1));
    assert_null(lc_malloc(SIZE_MAX));
    assert_null(lc_malloc((size_t)PTRDIFF_MAX + 1));
    assert_null(lc_realloc(NULL, SIZE_MAX - 1));
    assert_null(lc_aligned_alloc(64, SIZE_MAX));
    for (size_t alignment = 8; alignment <= 4096; alignment *= 2) {
        void *memory = lc_aligned_alloc(alignment, 3);
        assert_non_null(memory);
        assert_true((uintptr_t)memory % alignment == 0);
        lc_free(memory);
    }
    char *copy = lc_strdup("");
    assert_string_equal(copy, "");
    lc_free(copy);
}

static void test_new_names_what_failed(void **state)
{
    (void)state;
    void *memory = NULL;
    assert_fails(lc_new(&memory, SIZE_MAX, 8, "logits", &test_err), LC_ERR_MEMORY,
                 "logits: 18446744073709551615 x 8 bytes is beyond any memory");
    assert_string_equal(test_err.param, "logits");
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    assert_fails(lc_new(&memory, 3, 8, "logits", &test_err), LC_ERR_MEMORY,
                 "logits: out of memory for 24 bytes");
    assert_null(memory);
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    assert_ok(lc_new(&memory, 3, 8, "logits", &test_err));
    static const char zeros[24];
    assert_memory_equal(memory, zeros, sizeof zeros);
    lc_free(memory);
}

static bool fails_once(void)
{
    void *memory[5] = {lc_malloc(1), lc_calloc(1, 1), lc_realloc(NULL, 1), lc_aligned_alloc(64, 1),
                       lc_strdup("x")};
    int failed = 0;
    for (int i = 0; i < 5; i++) {
        failed += memory[i] == NULL;
        lc_free(memory[i]);
    }
    return failed == 1;
}

static void test_every_call_can_fail(void **state)
{
    (void)state;
    for (int at = 1; at <= 5; at++) {
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        assert_true(fails_once());
    }
    lc_fault_set(LC_FAULT_ALLOC, 6, 0, false);
    assert_false(fails_once());
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
}

static void test_failed_realloc_keeps_the_old(void **state)
{
    (void)state;
    char *text = lc_strdup("kept");
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    assert_null(lc_realloc(text, 100));
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    assert_string_equal(text, "kept");
    lc_free(text);
}

#define PIECES 2000

static void test_arena(void **state)
{
    (void)state;
    lc_arena arena;
    lc_arena_init(&arena, "job");
    static unsigned char *pieces[PIECES];
    static size_t sizes[PIECES];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < PIECES; i++) {
            void *memory = NULL;
            sizes[i] = (size_t)(i % 100 == 0 ? test_int(0, 300000) : test_int(0, 700));
            assert_ok(lc_arena_alloc(&arena, sizes[i], 1, &memory, &test_err));
            assert_true((uintptr_t)memory % 64 == 0);
            pieces[i] = memory;
            for (size_t j = 0; j < sizes[i]; j++) {
                assert_int_equal(pieces[i][j], 0);
            }
            memset(memory, i & 0xFF, sizes[i]);
        }
        for (int i = 0; i < PIECES; i++) { /* nobody wrote into anybody else */
            for (size_t j = 0; j < sizes[i]; j++) {
                assert_int_equal(pieces[i][j], i & 0xFF);
            }
        }
        assert_true(arena.bytes > 0);
        lc_arena_release(&arena);
        assert_true(arena.bytes == 0 && arena.first == NULL);
    }
}

static void test_arena_errors(void **state)
{
    (void)state;
    lc_arena arena;
    lc_arena_init(&arena, "step arena");
    void *memory = NULL;
    char *text = NULL;
    assert_fails(lc_arena_alloc(&arena, SIZE_MAX, 2, &memory, &test_err), LC_ERR_MEMORY,
                 "step arena");
    assert_fails(lc_arena_alloc(&arena, SIZE_MAX - 10, 1, &memory, &test_err), LC_ERR_MEMORY,
                 "step arena");
    assert_fails(lc_arena_alloc(&arena, SIZE_MAX - 200, 1, &memory, &test_err), LC_ERR_MEMORY,
                 "step arena");
    assert_fails(lc_arena_strdup(&arena, "x", SIZE_MAX, &text, &test_err), LC_ERR_MEMORY, "step");
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    assert_fails(lc_arena_strdup(&arena, "x", 1, &text, &test_err), LC_ERR_MEMORY,
                 "step arena: out of memory for 2 bytes");
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    assert_ok(lc_arena_strdup(&arena, "a\0b", 3, &text, &test_err));
    assert_memory_equal(text, "a\0b", 4);
    assert_ok(lc_arena_strdup(&arena, NULL, 0, &text, &test_err));
    assert_string_equal(text, "");
    lc_arena_release(&arena);
}

static void test_dtypes(void **state)
{
    (void)state;
    static const char *const names[] = {"F32", "BF16", "F16", "F64", "I64", "I32", "I16",
                                        "I8",  "U64",  "U32", "U16", "U8",  "BOOL"};
    static const size_t bytes[] = {4, 2, 2, 8, 8, 4, 2, 1, 8, 4, 2, 1, 1};
    for (int i = 0; i < LC_DTYPE_COUNT; i++) {
        lc_dtype found = LC_DTYPE_COUNT;
        assert_string_equal(lc_dtype_name((lc_dtype)i), names[i]);
        assert_int_equal(lc_dtype_bytes((lc_dtype)i), bytes[i]);
        assert_true(lc_dtype_from_name(names[i], &found));
        assert_int_equal(found, i);
    }
    lc_dtype found = LC_I8;
    assert_false(lc_dtype_from_name("f32", &found));
    assert_false(lc_dtype_from_name("F8_E4M3", &found));
    assert_false(lc_dtype_from_name("", &found));
    assert_int_equal(found, LC_I8);
}

static void test_view(void **state)
{
    (void)state;
    float values[5 * 9];
    const lc_mat mat = lc_mat_f32(values, 5, 7, 9);
    const lc_mat view = lc_mat_view(mat, 2, 3, 3, 6); /* the tail columns may be part of it */
    assert_ptr_equal(view.data, values + 2 * 9 + 3);
    assert_true(view.rows == 3 && view.cols == 6 && view.ld == 9 && view.dtype == LC_F32);
    uint16_t halves[4 * 4];
    const lc_mat half = {halves, 4, 4, 4, LC_BF16, 0};
    assert_ptr_equal(lc_mat_view(half, 1, 1, 2, 2).data, halves + 5);
}

static float of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The value of a half by its definition, in double. */
static double half_value(uint16_t bits, int fraction_bits, int bias)
{
    const int exponent_bits = 15 - fraction_bits;
    const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
    const int fraction = bits & ((1 << fraction_bits) - 1);
    const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == (1 << exponent_bits) - 1) {
        return fraction != 0 ? NAN : sign * INFINITY;
    }
    const double unit = ldexp(1.0, -fraction_bits);
    return exponent == 0 ? sign * ldexp(fraction * unit, 1 - bias)
                         : sign * ldexp(1.0 + fraction * unit, exponent - bias);
}

static void check_all_halves(float (*widen)(uint16_t), uint16_t (*narrow)(float), int fraction_bits,
                             int bias)
{
    for (uint32_t bits = 0; bits <= 0xFFFF; bits++) {
        const double expected = half_value((uint16_t)bits, fraction_bits, bias);
        const float wide = widen((uint16_t)bits);
        if (isnan(expected)) {
            assert_true(isnan(wide) && isnan(widen(narrow(wide))));
            continue;
        }
        assert_true((double)wide >= expected && (double)wide <= expected);
        assert_int_equal(narrow(wide), bits); /* the sign of zero too */
    }
}

/* Nearest, ties to the even one of the two neighbours, found by looking at them. */
static void check_rounding(float (*widen)(uint16_t), uint16_t (*narrow)(float), float value)
{
    const uint16_t bits = narrow(value);
    if (isnan(value)) {
        assert_true(isnan(widen(bits)));
        return;
    }
    const double at = fabs((double)value);
    const uint16_t magnitude = bits & 0x7FFF;
    assert_int_equal(bits >> 15, to_bits(value) >> 31);
    for (int step = -1; step <= 1; step += 2) {
        const int other = magnitude + step;
        if (other < 0 || isnan(widen((uint16_t)other)) || isinf(widen(magnitude))) {
            continue;
        }
        const double mine = fabs(at - (double)widen(magnitude));
        const double theirs = fabs(at - (double)widen((uint16_t)other));
        assert_true(mine <= theirs);
        if (mine >= theirs) {
            assert_int_equal(magnitude & 1, 0);
        }
    }
}

static void test_halves(void **state)
{
    (void)state;
    check_all_halves(lc_bf16_to_f32, lc_f32_to_bf16, 7, 127);
    check_all_halves(lc_f16_to_f32, lc_f32_to_f16, 10, 15);
    for (int i = 0; i < 300000; i++) {
        const float value = of_bits((uint32_t)test_int(0, UINT32_MAX));
        const float small = (float)ldexp(test_uniform(-1.0, 1.0), (int)test_int(-30, 17));
        check_rounding(lc_bf16_to_f32, lc_f32_to_bf16, value);
        check_rounding(lc_f16_to_f32, lc_f32_to_f16, value);
        check_rounding(lc_f16_to_f32, lc_f32_to_f16, small);
    }
    static const struct {
        float value;
        uint16_t bf16, f16;
    } rows[] = {{1.0f, 0x3F80, 0x3C00},         {-2.5f, 0xC020, 0xC100},
                {65504.0f, 0x4780, 0x7BFF},     {65519.99f, 0x4780, 0x7BFF},
                {65520.0f, 0x4780, 0x7C00},     {3.4028235e38f, 0x7F80, 0x7C00},
                {0x1p-24f, 0x3380, 0x0001},     {0x1p-25f, 0x3300, 0x0000},
                {0x1.8p-25f, 0x3340, 0x0001},   {0x1p-14f, 0x3880, 0x0400},
                {0x1.ff8p-15f, 0x3880, 0x03FF}, {INFINITY, 0x7F80, 0x7C00},
                {1.00390625f, 0x3F80, 0x3C04},  {1.01171875f, 0x3F82, 0x3C0C}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(lc_f32_to_bf16(rows[i].value), rows[i].bf16);
        assert_int_equal(lc_f32_to_f16(rows[i].value), rows[i].f16);
    }
}

static void test_convert(void **state)
{
    (void)state;
    static const lc_dtype floats[] = {LC_F32, LC_BF16, LC_F16};
    char from[4 * 37 + 1], to[4 * 37 + 1], back[4 * 37 + 1];
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            float start[37];
            test_fill(start, 37, -3.0, 3.0);
            /* Odd addresses: data in a file need not be aligned. */
            assert_true(lc_convert(start, LC_F32, from + 1, floats[i], 37));
            memset(to, 0xAB, sizeof to);
            assert_true(lc_convert(from + 1, floats[i], to + 1, floats[j], 37));
            assert_true(lc_convert(to + 1, floats[j], back + 1, LC_F32, 37));
            const size_t end = 1 + 37 * lc_dtype_bytes(floats[j]);
            assert_true(end == sizeof to || (unsigned char)to[end] == 0xAB);
            for (int k = 0; k < 37; k++) {
                float value;
                memcpy(&value, back + 1 + (size_t)k * 4, 4);
                const float tolerance =
                    floats[i] == LC_BF16 || floats[j] == LC_BF16 ? 0x1p-7f : 0x1p-10f;
                assert_true(fabsf(value - start[k]) <= tolerance * fabsf(start[k]));
            }
        }
    }
    const double wide[] = {0.1, -1e300, 0.0};
    float narrow[3];
    assert_true(lc_convert(wide, LC_F64, narrow, LC_F32, 3));
    assert_true(narrow[0] >= 0.1f && narrow[0] <= 0.1f && isinf(narrow[1]));
    assert_false(lc_convert(wide, LC_F64, narrow, LC_F64, 1));
    assert_false(lc_convert(wide, LC_F64, narrow, LC_BF16, 1));
    assert_false(lc_convert(wide, LC_F32, narrow, LC_F64, 1));
    assert_false(lc_convert(wide, LC_I32, narrow, LC_F32, 1));
    assert_false(lc_convert(wide, LC_F32, narrow, LC_U8, 0));
    assert_true(lc_convert(NULL, LC_F32, NULL, LC_F32, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checked_sizes),
        cmocka_unit_test(test_zero_bytes),
        cmocka_unit_test(test_overflow_and_alignment),
        cmocka_unit_test(test_new_names_what_failed),
        cmocka_unit_test(test_every_call_can_fail),
        cmocka_unit_test(test_failed_realloc_keeps_the_old),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_errors),
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_convert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
