/* The CPU device itself: opening, memory, copies, and its kernels where the op table does not look.
 */
#include "base/fault.h"
#include "base/rng.h"
#include "base/thread.h"
#include "ops/cpu/cpu.h"
#include "testing.h"

#include <math.h>
#include <unistd.h>

static lc_device *device;

static int open_device(void **state)
{
    (void)state;
    assert_ok(lc_cpu_open(2, &device, &test_err));
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    device->ops->close(device);
    return 0;
}

static void test_open_limits(void **state)
{
    (void)state;
    lc_device *other = NULL;
    assert_fails(lc_cpu_open(0, &other, &test_err), LC_ERR_USAGE, "threads is 0, expected 1..256");
    assert_fails(lc_cpu_open(LC_MAX_THREADS + 1, &other, &test_err), LC_ERR_USAGE,
                 "threads is 257");
    assert_null(other);
    assert_ok(lc_cpu_open(1, &other, &test_err));
    assert_string_equal(other->ops->name, "cpu");
    assert_memory_equal(other->description, "cpu, 1 thread, ", 15);
    other->ops->close(other);
    device->ops->close(NULL);
    assert_memory_equal(device->description, "cpu, 2 threads, ", 16);
}

/* Every allocation of opening fails once; nothing leaks, the device opens when none fails. */
static void test_open_out_of_memory(void **state)
{
    (void)state;
    lc_device *other = NULL;
    int failures = 0;
    for (int64_t at = 1; at < 100; at++) {
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        const lc_code code = lc_cpu_open(2, &other, &test_err);
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        if (code == LC_OK) {
            other->ops->close(other);
            break;
        }
        assert_int_equal(code, LC_ERR_MEMORY);
        failures++;
    }
    assert_true(failures >= 3 && failures < 90);
}

static void test_memory(void **state)
{
    (void)state;
    const lc_ops *ops = device->ops;
    /* the last one is large enough for huge pages */
    static const size_t sizes[] = {0, 1, 255, 256, 257, 100000, ((size_t)64 << 20) + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *memory = NULL;
        assert_ok(ops->alloc(device, sizes[i], &memory, &test_err));
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 256, 0);
        unsigned char *bytes = memory, seen = 0;
        for (size_t j = 0; j < sizes[i]; j++) {
            seen |= bytes[j];
            bytes[j] = 0xA5; /* the next block may get these pages */
        }
        assert_int_equal(seen, 0);
        ops->free(device, memory);
    }
    void *memory = NULL;
    assert_fails(ops->alloc(device, SIZE_MAX - 100, &memory, &test_err), LC_ERR_MEMORY,
                 "out of memory");
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    assert_fails(ops->alloc(device, 64, &memory, &test_err), LC_ERR_MEMORY, "64 bytes on the CPU");
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    assert_null(memory);
    ops->free(device, NULL);
}

static void test_move_and_zero(void **state)
{
    (void)state;
    const lc_ops *ops = device->ops;
    unsigned char from[100], to[100] = {0};
    for (int i = 0; i < 100; i++) {
        from[i] = (unsigned char)test_int(1, 255);
    }
    assert_ok(ops->upload(device, to, from, 99, &test_err));
    assert_memory_equal(to, from, 99);
    assert_int_equal(to[99], 0);
    assert_ok(ops->download(device, to, from, 100, &test_err));
    assert_memory_equal(to, from, 100);
    assert_ok(ops->zero(device, to, 50, &test_err));
    assert_int_equal(to[49], 0);
    assert_memory_equal(to + 50, from + 50, 50);
    assert_ok(ops->upload(device, NULL, NULL, 0, &test_err));
    assert_ok(ops->zero(device, NULL, 0, &test_err));
    assert_fails(ops->upload(device, NULL, from, 1, &test_err), LC_ERR_INTERNAL, "to is NULL");
    assert_fails(ops->download(device, to, NULL, 1, &test_err), LC_ERR_INTERNAL, "from is NULL");
    assert_fails(ops->zero(device, NULL, 1, &test_err), LC_ERR_INTERNAL, "expected 1 bytes");
    assert_ok(ops->sync(device, &test_err));
}

/* The timer follows the clock; what the process holds is counted. */
static void test_timer(void **state)
{
    (void)state;
    const lc_ops *ops = device->ops;
    double seconds = -1.0, longer = -1.0;
    int64_t used = 0, available = 0;
    assert_ok(ops->timer_start(device, &test_err));
    assert_ok(ops->timer_stop(device, &seconds, &test_err));
    assert_true(seconds >= 0.0);
    (void)usleep(2000);
    assert_ok(ops->timer_stop(device, &longer, &test_err));
    assert_true(longer >= 0.002 && longer > seconds);
    assert_ok(ops->memory(device, &used, &available, &test_err));
    assert_true(used > 0 && available == -1);
}

/* Copies between strides and between F32 and BF16; the columns behind the window stay. */
static void test_copy(void **state)
{
    (void)state;
    float from[7 * 13], back[7 * 11];
    uint16_t half[7 * 10];
    test_fill(from, 7 * 13, -3, 3);
    memset(half, 0x55, sizeof half);
    memset(back, 0x55, sizeof back);
    const lc_mat source = lc_mat_f32(from, 7, 9, 13), target = lc_mat_f32(back, 7, 9, 11);
    const lc_mat narrow = {half, 7, 9, 10, LC_BF16, 0};
    assert_ok(device->ops->copy(device, narrow, source, &test_err));
    assert_ok(device->ops->copy(device, target, source, &test_err));
    for (int i = 0; i < 7; i++) {
        assert_memory_equal(back + (ptrdiff_t)i * 11, from + (ptrdiff_t)i * 13, 9 * sizeof(float));
        assert_int_equal(half[i * 10 + 9], 0x5555);
        for (int j = 0; j < 9; j++) {
            assert_int_equal(half[i * 10 + j], lc_f32_to_bf16(from[i * 13 + j]));
        }
    }
    assert_ok(device->ops->copy(device, target, narrow, &test_err));
    for (int i = 0; i < 7 * 9; i++) {
        const float expected = lc_bf16_to_f32(half[i / 9 * 10 + i % 9]);
        assert_memory_equal(&back[i / 9 * 11 + i % 9], &expected, sizeof expected);
    }
    lc_mat wrong = target;
    wrong.rows = 6;
    assert_fails(device->ops->copy(device, wrong, source, &test_err), LC_ERR_INTERNAL,
                 "copy: to.rows is 6, expected 7");
    wrong = target;
    wrong.dtype = LC_I32;
    assert_fails(device->ops->copy(device, wrong, source, &test_err), LC_ERR_INTERNAL,
                 "to has dtype I32");
}

/* ---- kernels, each instruction set ---- */

typedef void (*kernel_test)(const lc_kernels *kernels);

static void for_each_set(kernel_test test)
{
    const lc_kernels *all[] = {&lc_kernels_base, lc_kernels_avx2(), lc_kernels_avx512()};
    for (int i = 0; i < 3; i++) {
        if (all[i] != NULL) {
            test(all[i]);
        }
    }
}

/* Distance in units of the last place of the exact value. */
static double ulps(float found, double exact)
{
    int exponent;
    (void)frexp(exact, &exponent);
    return fabs((double)found - exact) / ldexp(1.0, exponent - 24);
}

static void check_exp(const lc_kernels *kernels)
{
    float x[256], y[256];
    double worst = 0.0;
    for (int round = 0; round < 400; round++) {
        test_fill(x, 256, round % 2 == 0 ? -87.3 : -1.0, round % 2 == 0 ? 88.3 : 1.0);
        memcpy(y, x, sizeof y);
        (void)kernels->exp_sum(y, 256, 0.0f);
        for (int i = 0; i < 256; i++) {
            worst = fmax(worst, ulps(y[i], exp((double)x[i])));
        }
    }
    print_message("%s: exp within %.2f ulp\n", kernels->name, worst);
    assert_true(worst < 2.0);
    float special[] = {-INFINITY, -200.0f, -88.0f, 0.0f, -0.0f, 89.0f, 200.0f, INFINITY, NAN, 1.0f};
    (void)kernels->exp_sum(special, 10, 0.0f);
    const float expected[] = {0, 0, 0, 1, 1, INFINITY, INFINITY, INFINITY};
    assert_memory_equal(special, expected, sizeof expected);
    assert_true(isnan(special[8]));
    assert_true(ulps(special[9], exp(1.0)) < 2.0);
}

static void test_exp(void **state)
{
    (void)state;
    for_each_set(check_exp);
}

/* Every length around the lane counts: sums and maxima take the row's values and none behind it. */
static void check_lengths(const lc_kernels *kernels)
{
    float x[80], y[80];
    for (int64_t count = 0; count < 70; count++) {
        test_fill(x, 80, -2, 2);
        double exact = 0.0, sum = 0.0;
        float most = -INFINITY;
        for (int64_t i = 0; i < count; i++) {
            exact += (double)x[i] * (double)x[i];
            sum += exp((double)x[i] - 1.0);
            most = x[i] > most ? x[i] : most;
        }
        for (int64_t i = count; i < 80; i++) {
            x[i] = NAN;
        }
        memcpy(y, x, sizeof y);
        assert_true(fabs((double)kernels->dot(x, x, count) - exact) <= 1e-5 * exact);
        assert_true(fabs(kernels->sum_squares(x, count) - exact) <= 1e-12 * exact);
        const float found = kernels->maximum(x, count);
        assert_memory_equal(&found, &most, sizeof most);
        assert_true(fabs((double)kernels->exp_sum(y, count, 1.0f) - sum) <= 1e-5 * sum);
        assert_memory_equal(y + count, x + count, (size_t)(80 - count) * sizeof *x);
    }
    const float holes[] = {-1.0f, NAN, 3.0f, NAN};
    assert_true(fabsf(kernels->maximum(holes, 4) - 3.0f) < 1e-6f);
    const float infinite[] = {1.0f, INFINITY}, broken[] = {1.0f, NAN};
    assert_true(isinf(kernels->sum_squares(infinite, 2)) && isnan(kernels->sum_squares(broken, 2)));
}

static void test_lengths(void **state)
{
    (void)state;
    for_each_set(check_lengths);
}

/* The mask is the one rng.h and ops.h define, feature by feature, and y may be x. */
static void check_dropout(const lc_kernels *kernels)
{
    float x[150], y[150];
    for (int64_t count = 0; count < 140; count++) {
        test_fill(x, 150, 1, 2);
        memcpy(y, x, sizeof y);
        const lc_mask_row mask = {
            .key = {(uint32_t)test_int(0, UINT32_MAX), (uint32_t)test_int(0, UINT32_MAX)},
            .counter = {(uint32_t)test_int(0, UINT32_MAX), (uint32_t)test_int(0, UINT32_MAX),
                        (uint32_t)test_int(0, 700)},
            .threshold = (uint32_t)test_int(0, UINT32_MAX),
            .scale = 2.0f};
        kernels->dropout(y, y, count, &mask, false);
        for (int64_t i = 0; i < 150; i++) {
            uint32_t words[4];
            const uint32_t counter[4] = {mask.counter[0], mask.counter[1], mask.counter[2],
                                         (uint32_t)(i / 4)};
            lc_philox(mask.key, counter, words);
            const float kept = words[i % 4] < mask.threshold ? 0.0f : 2.0f * x[i];
            const float expected = i < count ? kept : x[i];
            assert_memory_equal(&y[i], &expected, sizeof expected);
        }
    }
}

static void test_dropout(void **state)
{
    (void)state;
    for_each_set(check_dropout);
}

static void check_expand(const lc_kernels *kernels)
{
    uint16_t from[1037];
    float to[1037];
    for (int start = 0; start < 65536; start += 1024) {
        for (int i = 0; i < 1037; i++) {
            from[i] = (uint16_t)(start + i);
        }
        kernels->expand_bf16(from, to, 1037);
        for (int i = 0; i < 1037; i++) {
            uint32_t bits;
            memcpy(&bits, &to[i], sizeof bits);
            assert_int_equal(bits, (uint32_t)from[i] << 16);
        }
    }
}

static void test_expand(void **state)
{
    (void)state;
    for_each_set(check_expand);
}

/* A product's operands, allocated to the last byte so that a sanitizer sees a read behind them. */
typedef struct product {
    int64_t m, n, k;
    bool a_transposed, b_transposed, is_bf16, accumulate;
    float alpha;
    float *a, *b, *c; /* dense */
    uint16_t *half;   /* b as BF16 */
} product;

static product draw_product(int64_t m, int64_t n, int64_t k)
{
    product p = {.m = m,
                 .n = n,
                 .k = k,
                 .a_transposed = test_int(0, 1) == 1,
                 .b_transposed = test_int(0, 1) == 1,
                 .is_bf16 = test_int(0, 2) == 0,
                 .accumulate = test_int(0, 1) == 1,
                 .alpha = (float)test_uniform(0.5, 2.0)};
    p.a = malloc((size_t)(m * k) * sizeof *p.a);
    p.b = malloc((size_t)(n * k) * sizeof *p.b);
    p.c = malloc((size_t)(m * n) * sizeof *p.c);
    p.half = malloc((size_t)(n * k) * sizeof *p.half);
    test_fill(p.a, m * k, -1, 1);
    test_fill(p.b, n * k, -1, 1);
    test_fill(p.c, m * n, -1, 1);
    for (int64_t i = 0; i < n * k && p.is_bf16; i++) {
        p.half[i] = lc_f32_to_bf16(p.b[i]);
        const uint32_t bits = (uint32_t)p.half[i] << 16;
        memcpy(&p.b[i], &bits, sizeof bits);
    }
    return p;
}

static void free_product(product *p)
{
    free(p->a);
    free(p->b);
    free(p->c);
    free(p->half);
}

/* Columns col..+cols-1 of c. */
static void multiply_columns(const lc_kernels *kernels, const product *p, int64_t col, int64_t cols,
                             float *c)
{
    const lc_cpu cpu = {.kernels = kernels};
    lc_cpu_scratch *scratch = malloc(sizeof *scratch);
    const int64_t ldb = p->b_transposed ? p->k : p->n, at = p->b_transposed ? col * ldb : col;
    lc_cpu_sgemm(&cpu, scratch,
                 &(lc_sgemm){.ta = p->a_transposed ? 'T' : 'N',
                             .tb = p->b_transposed ? 'T' : 'N',
                             .m = p->m,
                             .n = cols,
                             .k = p->k,
                             .alpha = p->alpha,
                             .accumulate = p->accumulate,
                             .a = p->a,
                             .lda = p->a_transposed ? p->m : p->k,
                             .b = p->is_bf16 ? (const void *)(p->half + at) : p->b + at,
                             .b_dtype = p->is_bf16 ? LC_BF16 : LC_F32,
                             .ldb = ldb,
                             .c = c + col,
                             .ldc = p->n});
    free(scratch);
}

static double exact_element(const product *p, const float *before, int64_t i, int64_t j,
                            double *size)
{
    double sum = 0.0;
    *size = 1.0;
    for (int64_t l = 0; l < p->k; l++) {
        const double term = (double)p->a[p->a_transposed ? l * p->m + i : i * p->k + l] *
                            (double)p->b[p->b_transposed ? j * p->k + l : l * p->n + j];
        sum += term;
        *size += fabs(term);
    }
    return (double)p->alpha * sum + (p->accumulate ? (double)before[i * p->n + j] : 0.0);
}

/* Any shape, transposition and type against fp64; and the same bytes when c is cut in two. */
static void check_product(const lc_kernels *kernels)
{
    for (int round = 0; round < 300; round++) {
        const bool is_deep = round % 10 == 0;
        product p = draw_product(test_int(1, is_deep ? 20 : 70), test_int(1, is_deep ? 420 : 120),
                                 test_int(1, is_deep ? 1300 : 90));
        const size_t bytes = (size_t)(p.m * p.n) * sizeof(float);
        float *whole = malloc(bytes), *cut = malloc(bytes);
        memcpy(whole, p.c, bytes);
        memcpy(cut, p.c, bytes);
        multiply_columns(kernels, &p, 0, p.n, whole);
        for (int64_t i = 0; i < p.m; i++) {
            for (int64_t j = 0; j < p.n; j++) {
                double size;
                const double exact = exact_element(&p, p.c, i, j, &size);
                assert_true(fabs((double)whole[i * p.n + j] - exact) <= 2e-6 * size);
            }
        }
        const int64_t half = p.n / 2 / kernels->lanes * kernels->lanes;
        multiply_columns(kernels, &p, half, p.n - half, cut);
        if (half > 0) {
            multiply_columns(kernels, &p, 0, half, cut);
        }
        if (p.m > 6) { /* fewer rows have paths that depend on the width */
            assert_memory_equal(whole, cut, bytes);
        }
        free(whole);
        free(cut);
        free_product(&p);
    }
}

/* b in strips gives the bytes of b row by row, for any number of rows and both types. */
static void check_strips(const lc_kernels *kernels)
{
    const lc_cpu cpu = {.kernels = kernels};
    for (int round = 0; round < 200; round++) {
        const bool is_deep = round % 10 == 0;
        product p = draw_product(test_int(1, round % 2 == 0 ? 9 : 40),
                                 LC_STRIP * test_int(1, is_deep ? 14 : 7),
                                 test_int(1, is_deep ? 1300 : 90));
        p.a_transposed = false;
        p.b_transposed = true;
        p.alpha = 1.0f;
        const size_t bytes = (size_t)(p.m * p.n) * sizeof(float);
        float *by_rows = malloc(bytes), *by_strips = malloc(bytes);
        char *strips = malloc((size_t)(p.n * p.k) * sizeof(float));
        const lc_dtype dtype = p.is_bf16 ? LC_BF16 : LC_F32;
        const lc_mat from = {p.is_bf16 ? (void *)p.half : p.b, p.n, p.k, p.k, dtype, 0};
        const lc_mat to = {strips, p.n, p.k, p.k, dtype, LC_STRIP};
        assert_ok(device->ops->upload_mat(device, to, from, &test_err));
        memcpy(by_rows, p.c, bytes);
        memcpy(by_strips, p.c, bytes);
        multiply_columns(kernels, &p, 0, p.n, by_rows);
        lc_cpu_sgemm(&cpu, NULL,
                     &(lc_sgemm){.ta = 'N',
                                 .tb = 'T',
                                 .m = p.m,
                                 .n = p.n,
                                 .k = p.k,
                                 .alpha = p.alpha,
                                 .accumulate = p.accumulate,
                                 .a = p.a,
                                 .lda = p.k,
                                 .b = strips,
                                 .b_dtype = dtype,
                                 .b_has_strips = true,
                                 .ldb = p.k,
                                 .c = by_strips,
                                 .ldc = p.n});
        if (memcmp(by_rows, by_strips, bytes) != 0) {
            fail_msg("%s: m %d n %d k %d %s: strips give other bytes", kernels->name, (int)p.m,
                     (int)p.n, (int)p.k, lc_dtype_name(dtype));
        }
        free(by_rows);
        free(by_strips);
        free(strips);
        free_product(&p);
    }
}

static void test_strips(void **state)
{
    (void)state;
    for_each_set(check_strips);
}

/* Every element where lc_mat_at says, converted as row by row; what is read again is the same. */
static void test_upload_strips(void **state)
{
    (void)state;
    enum { ROWS = 32, COLS = 150, LD = 160 };
    static const lc_dtype dtypes[] = {LC_F32, LC_BF16};
    float from[ROWS * COLS], rows[ROWS * LD], strips[ROWS * LD], row[COLS];
    test_fill(from, (int64_t)ROWS * COLS, -3, 3);
    for (int i = 0; i < 2; i++) {
        const lc_mat source = lc_mat_f32(from, ROWS, COLS, COLS);
        const lc_mat plain = {rows, ROWS, COLS, LD, dtypes[i], 0};
        const lc_mat target = {strips, ROWS, COLS, LD, dtypes[i], LC_STRIP};
        const size_t size = lc_dtype_bytes(dtypes[i]);
        memset(strips, 0x55, sizeof strips);
        assert_ok(device->ops->upload_mat(device, plain, source, &test_err));
        assert_ok(device->ops->upload_mat(device, target, source, &test_err));
        for (int64_t r = 0; r < ROWS; r++) {
            for (int64_t c = 0; c < LD; c++) {
                const char *at = (const char *)strips + (size_t)lc_mat_at(target, r, c) * size;
                const uint32_t untouched = 0x55555555;
                assert_memory_equal(at,
                                    c < COLS ? (const char *)rows + (size_t)(r * LD + c) * size
                                             : (const char *)&untouched,
                                    size);
            }
            lc_cpu_expand(lc_cpu_of(device), target, r, 7, COLS - 7, row);
            for (int64_t c = 7; c < COLS; c++) {
                const float value = from[r * COLS + c];
                const float expected = i == 0 ? value : lc_bf16_to_f32(lc_f32_to_bf16(value));
                assert_memory_equal(&row[c - 7], &expected, sizeof expected);
            }
        }
        const lc_mat window = lc_mat_view(target, LC_STRIP, 3, LC_STRIP, 5);
        assert_ptr_equal(window.data,
                         (char *)strips + (size_t)(LC_STRIP * LD + 3 * LC_STRIP) * size);
    }
    lc_mat wrong = lc_mat_f32(strips, ROWS, COLS, LD);
    wrong.strip = LC_STRIP;
    assert_fails(device->ops->copy(device, wrong, lc_mat_f32(from, ROWS, COLS, COLS), &test_err),
                 LC_ERR_INTERNAL, "copy: to.strip is 16, expected 0");
}

static void test_product(void **state)
{
    (void)state;
    for_each_set(check_product);
}

/* strips: memory for b, where it is to lie in strips, or NULL. */
static float *by_threads(lc_device **devices, int threads, const product *p, int64_t pad,
                         void *strips)
{
    const int64_t a_ld = p->a_transposed ? p->m : p->k, b_ld = p->b_transposed ? p->k : p->n;
    float *c = calloc((size_t)(p->m * (p->n + pad)), sizeof *c);
    for (int64_t i = 0; i < p->m; i++) {
        memcpy(c + i * (p->n + pad), p->c + i * p->n, (size_t)p->n * sizeof *c);
    }
    lc_gemm gemm = {.ta = p->a_transposed ? 'T' : 'N',
                    .tb = p->b_transposed ? 'T' : 'N',
                    .m = p->m,
                    .n = p->n,
                    .k = p->k,
                    .alpha = p->alpha,
                    .a = lc_mat_f32(p->a, p->m, p->k, a_ld),
                    .b = lc_mat_f32(p->b, p->n, p->k, b_ld),
                    .c = lc_mat_f32(c, p->m, p->n, p->n + pad),
                    .accumulate = p->accumulate};
    if (p->is_bf16) {
        gemm.b.data = p->half;
        gemm.b.dtype = LC_BF16;
    }
    if (strips != NULL) {
        lc_mat to = gemm.b;
        to.data = strips;
        to.strip = LC_STRIP;
        assert_ok(device->ops->upload_mat(device, to, gemm.b, &test_err));
        gemm.b = to;
    }
    lc_cpu_gemm(lc_cpu_of(devices[threads]), &gemm);
    return c;
}

/* The bytes of a product at any number of threads, over shapes whose last tile is thin for some. */
static void test_product_threads(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 3, 4, 7, 16};
    lc_device *devices[17] = {NULL};
    for (int i = 0; i < 6; i++) {
        assert_ok(lc_cpu_open(counts[i], &devices[counts[i]], &test_err));
    }
    for (int round = 0; round < 500; round++) {
        const bool is_wide = round % 2 == 0;
        const int64_t thin = test_int(1, 60), wide = test_int(1, is_wide ? 500 : 1300);
        const int64_t n = is_wide ? wide : thin;
        product p = draw_product(is_wide ? thin : wide, round % 3 == 0 ? (n + 15) / 16 * 16 : n,
                                 test_int(1, 900));
        const int64_t pad = test_int(0, 3);
        const bool fits = !p.a_transposed && p.b_transposed && p.n % LC_STRIP == 0;
        float *strips = malloc((size_t)(p.n * p.k) * sizeof *strips);
        p.alpha = fits ? 1.0f : p.alpha;
        float *one = by_threads(devices, 1, &p, pad, NULL);
        for (int i = fits ? 0 : 1; i < 6; i++) {
            float *many = by_threads(devices, counts[i], &p, pad, fits ? strips : NULL);
            if (memcmp(one, many, (size_t)(p.m * (p.n + pad)) * sizeof *one) != 0) {
                fail_msg("m %d n %d k %d, a %s, b %s %s: %d threads give other bytes than one",
                         (int)p.m, (int)p.n, (int)p.k, p.a_transposed ? "T" : "N",
                         p.b_transposed ? "T" : "N", p.is_bf16 ? "bf16" : "fp32", counts[i]);
            }
            free(many);
        }
        free(one);
        free(strips);
        free_product(&p);
    }
    for (int i = 0; i < 6; i++) {
        devices[counts[i]]->ops->close(devices[counts[i]]);
    }
}

/* Extreme inputs: far gates give 0 or the value itself, huge logits stay finite. */
static void check_extremes(const lc_kernels *kernels)
{
    float gate[] = {-1000.0f, -90.0f, 0.0f, 1000.0f}, up[] = {1.0f, 1.0f, 1.0f, 1.0f}, y[4];
    kernels->swiglu(gate, up, y, 4);
    assert_true(fabsf(y[0]) < 1e-30f && fabsf(y[1]) < 1e-30f && fabsf(y[2]) < 1e-30f);
    assert_true(fabsf(y[3] - 1000.0f) < 1e-3f);
    const float ones[] = {1.0f, 1.0f, 1.0f, 1.0f};
    kernels->swiglu_backward(ones, gate, up, 4);
    assert_true(fabsf(gate[0]) < 1e-30f && fabsf(gate[2] - 0.5f) < 1e-6f &&
                fabsf(gate[3] - 1.0f) < 1e-6f);
    float logits[] = {1e30f, -1e30f, 0.0f};
    lc_row_loss loss = kernels->cross_entropy(logits, 3, 0, 1.0f, true);
    assert_true(fabsf(loss.nll) < 1e-6f && loss.correct > 0.5f);
    assert_true(fabsf(logits[0]) < 1e-6f && fabsf(logits[1]) < 1e-6f);
    float broken[] = {0.0f, NAN, 1.0f};
    loss = kernels->cross_entropy(broken, 3, 0, 1.0f, false);
    assert_true(isnan(loss.nll));
}

static void test_extremes(void **state)
{
    (void)state;
    for_each_set(check_extremes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_limits),   cmocka_unit_test(test_open_out_of_memory),
        cmocka_unit_test(test_memory),        cmocka_unit_test(test_timer),
        cmocka_unit_test(test_move_and_zero), cmocka_unit_test(test_copy),
        cmocka_unit_test(test_exp),           cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_dropout),       cmocka_unit_test(test_expand),
        cmocka_unit_test(test_product),       cmocka_unit_test(test_product_threads),
        cmocka_unit_test(test_strips),        cmocka_unit_test(test_upload_strips),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
