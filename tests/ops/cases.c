/* The op table; see cases.h. */
#include "cases.h"

#include <math.h>

#include "reference.h"
#include "testing.h"

/* ---- tensors ---- */

static const uint32_t poison_word = 0x7FC0DEADu; /* a NaN as F32, as BF16 pairs and inside an F64 */

static void fill_poison(uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = ((const uint8_t *)&poison_word)[i % 4];
    }
}

static uint8_t *element(const tensor *t, int64_t row, int64_t col)
{
    return t->data + GUARD_BYTES + (size_t)(row * t->ld + col) * lc_dtype_bytes(t->dtype);
}

static void set_element(tensor *t, int64_t row, int64_t col, double value)
{
    uint8_t *at = element(t, row, col);
    const float single = (float)value;
    const uint16_t half = lc_f32_to_bf16(single);
    const int32_t word = (int32_t)value;
    const int64_t wide = (int64_t)value;
    switch (t->dtype) {
    case LC_F64:
        memcpy(at, &value, sizeof value);
        break;
    case LC_F32:
        memcpy(at, &single, sizeof single);
        break;
    case LC_BF16:
        memcpy(at, &half, sizeof half);
        break;
    case LC_I64:
        memcpy(at, &wide, sizeof wide);
        break;
    default:
        assert_int_equal(t->dtype, LC_I32);
        memcpy(at, &word, sizeof word);
    }
}

static lc_mat device_mat(const tensor *t)
{
    const lc_mat mat = {t->data + GUARD_BYTES, t->rows, t->cols, t->ld, t->dtype};
    return mat;
}

static double get_element(const tensor *t, int64_t row, int64_t col)
{
    return ref_get(device_mat(t), row, col);
}

static void *must_alloc(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    assert_non_null(memory);
    return memory;
}

/* Adds a tensor with all of its memory poisoned; returns its index. */
static int add_tensor(op_case *c, const char *name, role kind, lc_dtype dtype, int64_t rows,
                      int64_t cols, int64_t ld)
{
    assert_true(c->count < MAX_TENSORS);
    tensor *t = &c->tensors[c->count];
    *t = (tensor){.name = name, .role = kind, .rows = rows, .cols = cols, .ld = ld, .dtype = dtype};
    t->bytes = (size_t)(rows * ld) * lc_dtype_bytes(dtype) + (size_t)2 * GUARD_BYTES;
    t->data = must_alloc(t->bytes);
    t->before = must_alloc(t->bytes);
    fill_poison(t->data, t->bytes);
    return c->count++;
}

static int64_t any_ld(int64_t cols)
{
    static const int64_t extra[] = {0, 0, 1, 7, 64};
    return cols + extra[test_int(0, 4)];
}

/* A matrix with values in low..high, or left poisoned when it is an output or scratch. */
static int add_mat(op_case *c, const char *name, role kind, lc_dtype dtype, int64_t rows,
                   int64_t cols, double low, double high)
{
    const int index = add_tensor(c, name, kind, dtype, rows, cols, any_ld(cols));
    tensor *t = &c->tensors[index];
    for (int64_t i = 0; (kind == ROLE_IN || kind == ROLE_ACC) && i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) {
            set_element(t, i, j, test_uniform(low, high));
        }
    }
    t->exact = must_alloc((size_t)(rows * cols) * sizeof *t->exact);
    return index;
}

static int add_array(op_case *c, const char *name, role kind, lc_dtype dtype, int64_t count,
                     double low, double high)
{
    const int index = add_tensor(c, name, kind, dtype, 1, count, count);
    tensor *t = &c->tensors[index];
    t->is_vector = true;
    t->plain = must_alloc(t->bytes);
    for (int64_t j = 0; (kind == ROLE_IN || kind == ROLE_ACC) && j < count; j++) {
        set_element(t, 0, j,
                    dtype == LC_F32 ? test_uniform(low, high) : floor(test_uniform(low, high)));
    }
    return index;
}

/* The view an op gets: the device's window, or the reference's dense F64 copy. */
static lc_mat view(const op_case *c, int index)
{
    if (index < 0) {
        return (lc_mat){0};
    }
    const tensor *t = &c->tensors[index];
    if (!c->reference) {
        return device_mat(t);
    }
    const lc_mat mat = {t->exact, t->rows, t->cols, t->cols, LC_F64};
    return mat;
}

static void *pointer(const op_case *c, int index)
{
    if (index < 0) {
        return NULL;
    }
    const tensor *t = &c->tensors[index];
    return (c->reference ? t->plain : t->data) + GUARD_BYTES;
}

/* ---- what a case goes through ---- */

void case_release(op_case *c)
{
    for (int i = 0; i < c->count; i++) {
        free(c->tensors[i].data);
        free(c->tensors[i].before);
        free(c->tensors[i].exact);
        free(c->tensors[i].plain);
    }
    memset(c, 0, sizeof *c);
}

void case_remember(op_case *c)
{
    for (int i = 0; i < c->count; i++) {
        tensor *t = &c->tensors[i];
        memcpy(t->before, t->data, t->bytes);
        if (t->is_vector) {
            memcpy(t->plain, t->data, t->bytes);
        }
        for (int64_t k = 0; !t->is_vector && k < t->rows * t->cols; k++) {
            t->exact[k] = get_element(t, k / t->cols, k % t->cols);
        }
    }
}

void case_reset(op_case *c)
{
    for (int i = 0; i < c->count; i++) {
        memcpy(c->tensors[i].data, c->tensors[i].before, c->tensors[i].bytes);
    }
}

/* Every byte outside the windows, and inside of inputs, is as before. */
static void compare_untouched(const op_case *c, const char *op, const tensor *t)
{
    const size_t size = lc_dtype_bytes(t->dtype), row_bytes = (size_t)t->ld * size;
    for (size_t i = 0; i < t->bytes; i++) {
        bool written = false;
        if (t->role != ROLE_IN && i >= GUARD_BYTES && i < t->bytes - GUARD_BYTES) {
            written = (i - GUARD_BYTES) % row_bytes < (size_t)t->cols * size;
        }
        if (!written && t->data[i] != t->before[i]) {
            fail_msg("%s (%s): byte %zd of %s was changed", op, c->shape, (ssize_t)i - GUARD_BYTES,
                     t->name);
        }
    }
}

static double expected_at(const tensor *t, int64_t row, int64_t col)
{
    if (!t->is_vector) {
        return t->exact[row * t->cols + col];
    }
    if (t->dtype == LC_F64) {
        return ((const double *)(const void *)(t->plain + GUARD_BYTES))[col];
    }
    return (double)((const float *)(const void *)(t->plain + GUARD_BYTES))[col];
}

static void compare_values(const op_case *c, const char *op, const tensor *t, double tolerance)
{
    double difference = 0.0, norm = 0.0;
    for (int64_t i = 0; i < t->rows; i++) {
        for (int64_t j = 0; j < t->cols; j++) {
            const double found = get_element(t, i, j), expected = expected_at(t, i, j);
            if (!isfinite(found)) {
                fail_msg("%s (%s): %s[%lld,%lld] is %g, expected %g", op, c->shape, t->name,
                         (long long)i, (long long)j, found, expected);
            }
            difference += (found - expected) * (found - expected);
            norm += expected * expected;
        }
    }
    const double floor_norm = t->least_rms * sqrt((double)(t->rows * t->cols));
    const double scale = fmax(sqrt(norm), floor_norm) > 0.0 ? fmax(sqrt(norm), floor_norm) : 1.0;
    if (!(sqrt(difference) <= tolerance * scale)) {
        fail_msg("%s (%s): %s is off by %.3g relative, at most %.3g", op, c->shape, t->name,
                 sqrt(difference) / scale, tolerance);
    }
}

void case_compare(const op_case *c, const char *op, double tolerance)
{
    for (int i = 0; i < c->count; i++) {
        const tensor *t = &c->tensors[i];
        compare_untouched(c, op, t);
        if (t->role == ROLE_OUT || t->role == ROLE_ACC) {
            const double wanted = t->dtype == LC_BF16 ? 1.0 / 256.0 : tolerance;
            compare_values(c, op, t, wanted);
        }
    }
}

/* ---- drawing ---- */

/* 1..most, half of the time one of the awkward sizes. */
static int64_t any_size(int64_t most)
{
    static const int64_t awkward[] = {1,  2,  3,  5,  7,  8,   13,  16,  17, 31,
                                      33, 63, 64, 65, 97, 127, 129, 257, 263};
    const int64_t drawn = awkward[test_int(0, 18)];
    return test_int(0, 1) == 0 && drawn <= most ? drawn : test_int(1, most);
}

static lc_dtype any_weight(void)
{
    return test_int(0, 2) == 0 ? LC_BF16 : LC_F32;
}

#define DESCRIBE(c, ...) (void)snprintf((c)->shape, sizeof(c)->shape, __VA_ARGS__)

#define ON_DEVICE(op, args)                           \
    if (!c->reference) {                              \
        return device->ops->op(device, &(args), err); \
    }

static void draw_embed(op_case *c)
{
    const int64_t n = any_size(200), width = any_size(300), words = any_size(300);
    DESCRIBE(c, "N %d C %d V %d", (int)n, (int)width, (int)words);
    add_mat(c, "table", ROLE_IN, any_weight(), words, width, -1, 1);
    add_array(c, "ids", ROLE_IN, LC_I32, n, 0, (double)words);
    add_mat(c, "out", ROLE_OUT, LC_F32, n, width, 0, 0);
}

static lc_code run_embed(op_case *c, lc_device *device, lc_err *err)
{
    const lc_embed_args args = {.table = view(c, 0), .ids = pointer(c, 1), .out = view(c, 2)};
    ON_DEVICE(embed, args)
    ref_embed(&args);
    return LC_OK;
}

static void draw_rmsnorm(op_case *c)
{
    const int64_t n = any_size(200), width = any_size(700);
    const bool wants_rstd = test_int(0, 3) > 0;
    DESCRIBE(c, "N %d C %d rstd %d", (int)n, (int)width, wants_rstd);
    add_mat(c, "x", ROLE_IN, LC_F32, n, width, -2, 3);
    add_array(c, "weight", ROLE_IN, LC_F32, width, -1, 2);
    add_mat(c, "y", ROLE_OUT, LC_F32, n, width, 0, 0);
    c->number[0] = wants_rstd ? add_array(c, "rstd", ROLE_OUT, LC_F32, n, 0, 0) : -1;
}

static lc_code run_rmsnorm(op_case *c, lc_device *device, lc_err *err)
{
    const lc_rmsnorm_args args = {.x = view(c, 0),
                                  .weight = pointer(c, 1),
                                  .eps = 1e-5f,
                                  .y = view(c, 2),
                                  .rstd = pointer(c, (int)c->number[0])};
    ON_DEVICE(rmsnorm, args)
    ref_rmsnorm(&args);
    return LC_OK;
}

/* The rstd that the forward pass would have saved, for columns first..first+count-1. */
static double saved_rstd(const tensor *x, int64_t row, int64_t first, int64_t count, double eps)
{
    double sum = 0.0;
    for (int64_t j = first; j < first + count; j++) {
        sum += get_element(x, row, j) * get_element(x, row, j);
    }
    return 1.0 / sqrt(sum / (double)count + eps);
}

static void draw_rmsnorm_backward(op_case *c)
{
    const int64_t n = any_size(200), width = any_size(700);
    DESCRIBE(c, "N %d C %d", (int)n, (int)width);
    add_mat(c, "dy", ROLE_IN, LC_F32, n, width, -1, 1);
    add_mat(c, "x", ROLE_IN, LC_F32, n, width, -2, 3);
    add_array(c, "weight", ROLE_IN, LC_F32, width, -1, 2);
    add_array(c, "rstd", ROLE_IN, LC_F32, n, 0, 1);
    add_mat(c, "dx", ROLE_ACC, LC_F32, n, width, -1, 1);
    for (int64_t i = 0; i < n; i++) {
        set_element(&c->tensors[3], 0, i, saved_rstd(&c->tensors[1], i, 0, width, 1e-5));
    }
}

static lc_code run_rmsnorm_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_rmsnorm_backward_args args = {.dy = view(c, 0),
                                           .x = view(c, 1),
                                           .weight = pointer(c, 2),
                                           .rstd = pointer(c, 3),
                                           .dx = view(c, 4)};
    ON_DEVICE(rmsnorm_backward, args)
    ref_rmsnorm_backward(&args, 1e-5);
    return LC_OK;
}

/* addend: 0 none, 1 another matrix, 2 y itself. Large K takes more than one panel of a BF16 weight. */
static void draw_linear(op_case *c)
{
    const int64_t n = any_size(280), k = test_int(0, 7) == 0 ? test_int(1000, 1300) : any_size(300);
    const int64_t out = any_size(n > 100 && k > 300 ? 70 : 300);
    const lc_dtype dtype = any_weight();
    const int64_t addend = test_int(0, 2);
    const bool bias = test_int(0, 1) == 0;
    DESCRIBE(c, "N %d K %d out %d w %s addend %d bias %d", (int)n, (int)k, (int)out,
             lc_dtype_name(dtype), (int)addend, bias);
    add_mat(c, "x", ROLE_IN, LC_F32, n, k, -1, 1);
    add_mat(c, "w", ROLE_IN, dtype, out, k, -1, 1);
    add_mat(c, "y", addend == 2 ? ROLE_ACC : ROLE_OUT, LC_F32, n, out, -1, 1);
    c->number[0] = addend == 1   ? add_mat(c, "addend", ROLE_IN, LC_F32, n, out, -1, 1)
                   : addend == 2 ? 2
                                 : -1;
    c->number[1] = bias ? add_array(c, "bias", ROLE_IN, LC_F32, out, -1, 1) : -1;
}

static lc_code run_linear(op_case *c, lc_device *device, lc_err *err)
{
    const lc_linear_args args = {.x = view(c, 0),
                                 .w = view(c, 1),
                                 .y = view(c, 2),
                                 .addend = view(c, (int)c->number[0]),
                                 .bias = pointer(c, (int)c->number[1])};
    ON_DEVICE(linear, args)
    ref_linear(&args);
    return LC_OK;
}

static void draw_linear_backward(op_case *c)
{
    const int64_t n = any_size(280),
                  out = test_int(0, 7) == 0 ? test_int(1000, 1300) : any_size(300);
    const int64_t in = any_size(n > 100 && out > 300 ? 70 : 300);
    const lc_dtype dtype = any_weight();
    c->number[0] = test_int(0, 1);
    DESCRIBE(c, "N %d M %d in %d w %s accumulate %d", (int)n, (int)out, (int)in,
             lc_dtype_name(dtype), (int)c->number[0]);
    add_mat(c, "dy", ROLE_IN, LC_F32, n, out, -1, 1);
    add_mat(c, "w", ROLE_IN, dtype, out, in, -1, 1);
    add_mat(c, "dx", c->number[0] != 0 ? ROLE_ACC : ROLE_OUT, LC_F32, n, in, -1, 1);
}

static lc_code run_linear_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_linear_backward_args args = {
        .dy = view(c, 0), .w = view(c, 1), .dx = view(c, 2), .accumulate = c->number[0] != 0};
    ON_DEVICE(linear_backward, args)
    ref_linear_backward(&args);
    return LC_OK;
}

static int64_t any_rank(void)
{
    static const int64_t ranks[] = {1, 5, 16, 16, 32, 48, 64};
    return ranks[test_int(0, 6)];
}

/* Draws a mask and adds its row keys as tensors `at` and `at`+1, or none at all. */
static void draw_dropout(op_case *c, int64_t n, bool always)
{
    c->number[6] = -1;
    c->dropout = (lc_dropout){0};
    if (!always && test_int(0, 1) == 0) {
        return;
    }
    c->dropout = (lc_dropout){.p = test_int(0, 1) == 0 ? 0.1f : (float)test_uniform(0.0, 0.95),
                              .seed = (uint32_t)test_int(0, UINT32_MAX),
                              .step = (uint32_t)test_int(0, 100000),
                              .layer = (int32_t)test_int(0, 100),
                              .module = (int32_t)test_int(0, 6)};
    c->number[6] = add_array(c, "example", ROLE_IN, LC_I64, n, 0, 1e6);
    (void)add_array(c, "position", ROLE_IN, LC_I32, n, 0, 5000);
}

static lc_dropout dropout_of(const op_case *c)
{
    lc_dropout dropout = c->dropout;
    if (c->number[6] >= 0) {
        dropout.example = pointer(c, (int)c->number[6]);
        dropout.position = pointer(c, (int)c->number[6] + 1);
    }
    return dropout;
}

static void draw_lora_forward(op_case *c)
{
    const int64_t n = any_size(300), in = any_size(400), rank = any_rank();
    const lc_dtype dtype = any_weight();
    add_mat(c, "x", ROLE_IN, LC_F32, n, in, -1, 1);
    add_mat(c, "a", ROLE_IN, dtype, rank, in, -1, 1);
    add_mat(c, "s", ROLE_OUT, LC_F32, n, rank, 0, 0);
    add_mat(c, "x_dropped", ROLE_SCRATCH, LC_F32, n, in, 0, 0);
    draw_dropout(c, n, false);
    DESCRIBE(c, "N %d in %d R %d a %s p %g", (int)n, (int)in, (int)rank, lc_dtype_name(dtype),
             (double)c->dropout.p);
}

static lc_code run_lora_forward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_forward_args args = {.x = view(c, 0),
                                       .a = view(c, 1),
                                       .s = view(c, 2),
                                       .x_dropped = view(c, c->number[6] >= 0 ? 3 : -1),
                                       .dropout = dropout_of(c)};
    ON_DEVICE(lora_forward, args)
    ref_lora_forward(&args);
    return LC_OK;
}

static void draw_lora_dy(op_case *c)
{
    const int64_t n = any_size(300), out = any_size(400), rank = any_rank();
    const lc_dtype dtype = any_weight();
    DESCRIBE(c, "N %d out %d R %d sb %s", (int)n, (int)out, (int)rank, lc_dtype_name(dtype));
    add_mat(c, "dy", ROLE_IN, LC_F32, n, out, -1, 1);
    add_mat(c, "sb", ROLE_IN, dtype, out, rank, -1, 1);
    add_mat(c, "s", ROLE_IN, LC_F32, n, rank, -1, 1);
    add_mat(c, "ds", ROLE_OUT, LC_F32, n, rank, 0, 0);
    add_mat(c, "db", ROLE_ACC, LC_F32, out, rank, -1, 1);
    c->real[0] = test_uniform(0.1, 4.0);
}

static lc_code run_lora_dy(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_dy_args args = {.dy = view(c, 0),
                                  .sb = view(c, 1),
                                  .s = view(c, 2),
                                  .ds = view(c, 3),
                                  .db = view(c, 4),
                                  .scale = (float)c->real[0]};
    ON_DEVICE(lora_dy, args)
    ref_lora_dy(&args);
    return LC_OK;
}

static void draw_lora_dx(op_case *c)
{
    const int64_t n = any_size(300), in = any_size(400), rank = any_rank();
    add_mat(c, "x", ROLE_IN, LC_F32, n, in, -1, 1);
    add_mat(c, "ds", ROLE_IN, LC_F32, n, rank, -1, 1);
    add_mat(c, "da", ROLE_ACC, LC_F32, rank, in, -1, 1);
    add_mat(c, "x_dropped", ROLE_SCRATCH, LC_F32, n, in, 0, 0);
    draw_dropout(c, n, false);
    DESCRIBE(c, "N %d in %d R %d p %g", (int)n, (int)in, (int)rank, (double)c->dropout.p);
}

static lc_code run_lora_dx(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_dx_args args = {.x = view(c, 0),
                                  .ds = view(c, 1),
                                  .da = view(c, 2),
                                  .x_dropped = view(c, c->number[6] >= 0 ? 3 : -1),
                                  .dropout = dropout_of(c)};
    ON_DEVICE(lora_dx, args)
    ref_lora_dx(&args);
    return LC_OK;
}

static void draw_lora_dropout_backward(op_case *c)
{
    const int64_t n = any_size(300), in = any_size(400), rank = any_rank();
    const lc_dtype dtype = any_weight();
    add_mat(c, "ds", ROLE_IN, LC_F32, n, rank, -1, 1);
    add_mat(c, "a", ROLE_IN, dtype, rank, in, -1, 1);
    add_mat(c, "product", ROLE_SCRATCH, LC_F32, n, in, 0, 0);
    add_mat(c, "dx", ROLE_ACC, LC_F32, n, in, -1, 1);
    draw_dropout(c, n, true);
    DESCRIBE(c, "N %d in %d R %d a %s p %g", (int)n, (int)in, (int)rank, lc_dtype_name(dtype),
             (double)c->dropout.p);
}

static lc_code run_lora_dropout_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_dropout_backward_args args = {.ds = view(c, 0),
                                                .a = view(c, 1),
                                                .product = view(c, 2),
                                                .dx = view(c, 3),
                                                .dropout = dropout_of(c)};
    ON_DEVICE(lora_dropout_backward, args)
    ref_lora_dropout_backward(&args);
    return LC_OK;
}

static void draw_lora_publish(op_case *c)
{
    const int64_t in = any_size(400), out = any_size(400), rank = any_rank();
    const lc_dtype dtype = any_weight();
    DESCRIBE(c, "in %d out %d R %d to %s", (int)in, (int)out, (int)rank, lc_dtype_name(dtype));
    add_mat(c, "a", ROLE_IN, LC_F32, rank, in, -1, 1);
    add_mat(c, "b", ROLE_IN, LC_F32, out, rank, -1, 1);
    add_mat(c, "w_a", ROLE_OUT, dtype, rank, in, 0, 0);
    add_mat(c, "w_b", ROLE_OUT, dtype, out, rank, 0, 0);
    c->real[0] = test_uniform(0.1, 4.0);
}

static lc_code run_lora_publish(op_case *c, lc_device *device, lc_err *err)
{
    const lc_lora_publish_args args = {.a = view(c, 0),
                                       .b = view(c, 1),
                                       .w_a = view(c, 2),
                                       .w_b = view(c, 3),
                                       .scale = (float)c->real[0]};
    ON_DEVICE(lora_publish, args)
    ref_lora_publish(&args);
    return LC_OK;
}

/* 8..256 and odd multiples of 8; `even` for rope. */
static int64_t any_head_dim(bool even)
{
    static const int64_t dims[] = {8, 16, 24, 32, 40, 64, 72, 80, 96, 128, 136, 256};
    const int64_t drawn = test_int(0, 3) == 0 ? test_int(1, 50) : dims[test_int(0, 11)];
    return even ? (drawn + 1) / 2 * 2 : drawn;
}

/* norms: bit 0 q, bit 1 k. rotates: with cos and sin. Without a norm y may be x. */
typedef struct rope_shape {
    int64_t rows, q_heads, k_heads, dim;
    int norms;
    bool rotates;
} rope_shape;

static rope_shape draw_rope_shape(op_case *c)
{
    const rope_shape s = {.rows = any_size(100),
                          .q_heads = test_int(1, 6),
                          .k_heads = test_int(0, 3),
                          .dim = any_head_dim(true),
                          .norms = (int)(test_int(0, 1) * test_int(1, 3)),
                          .rotates = test_int(0, 4) > 0};
    c->number[0] = s.q_heads;
    c->number[1] = s.k_heads;
    c->number[2] = s.dim;
    DESCRIBE(c, "N %d heads %d+%d D %d norms %d rotates %d", (int)s.rows, (int)s.q_heads,
             (int)s.k_heads, (int)s.dim, s.norms, s.rotates);
    return s;
}

/* Norm weights and angles at number[3..6] (q_norm, k_norm, cos, sin), -1 where there is none. */
static void draw_rope_arrays(op_case *c, const rope_shape *s)
{
    c->number[3] =
        (s->norms & 1) != 0 ? add_array(c, "q_norm", ROLE_IN, LC_F32, s->dim, -1, 2) : -1;
    c->number[4] =
        (s->norms & 2) != 0 ? add_array(c, "k_norm", ROLE_IN, LC_F32, s->dim, -1, 2) : -1;
    c->number[5] = c->number[6] = -1;
    if (!s->rotates) {
        return;
    }
    const int64_t angles = s->rows * (s->dim / 2);
    c->number[5] = add_array(c, "cos", ROLE_IN, LC_F32, angles, -1, 1);
    c->number[6] = add_array(c, "sin", ROLE_IN, LC_F32, angles, -1, 1);
    for (int64_t i = 0; i < angles; i++) {
        const double angle = test_uniform(-3.0, 3.0);
        set_element(&c->tensors[c->number[5]], 0, i, cos(angle));
        set_element(&c->tensors[c->number[6]], 0, i, sin(angle));
    }
}

static void draw_qk_rope(op_case *c)
{
    const rope_shape s = draw_rope_shape(c);
    const int64_t width = (s.q_heads + s.k_heads) * s.dim;
    const bool in_place = s.norms == 0 && test_int(0, 1) == 0;
    (void)add_mat(c, "x", in_place ? ROLE_ACC : ROLE_IN, LC_F32, s.rows, width, -2, 2);
    c->real[0] = in_place ? 0 : add_mat(c, "y", ROLE_OUT, LC_F32, s.rows, width, 0, 0);
    c->number[7] = -1;
    if (s.norms != 0) { /* heads without a norm have no factor, then the array is not compared */
        const bool all = s.norms == 3 || (s.norms == 1 && s.k_heads == 0);
        c->number[7] = add_array(c, "rstd", all ? ROLE_OUT : ROLE_SCRATCH, LC_F32,
                                 s.rows * (s.q_heads + s.k_heads), 0, 0);
    }
    draw_rope_arrays(c, &s);
}

static lc_code run_qk_rope(op_case *c, lc_device *device, lc_err *err)
{
    const lc_qk_rope_args args = {.x = view(c, 0),
                                  .y = view(c, (int)c->real[0]),
                                  .q_heads = (int32_t)c->number[0],
                                  .k_heads = (int32_t)c->number[1],
                                  .head_dim = (int32_t)c->number[2],
                                  .q_norm = pointer(c, (int)c->number[3]),
                                  .k_norm = pointer(c, (int)c->number[4]),
                                  .eps = 1e-6f,
                                  .cos = pointer(c, (int)c->number[5]),
                                  .sin = pointer(c, (int)c->number[6]),
                                  .rstd = pointer(c, (int)c->number[7])};
    ON_DEVICE(qk_rope, args)
    ref_qk_rope(&args);
    return LC_OK;
}

static void draw_qk_rope_backward(op_case *c)
{
    const rope_shape s = draw_rope_shape(c);
    const int64_t heads = s.q_heads + s.k_heads;
    (void)add_mat(c, "x", ROLE_IN, LC_F32, s.rows, heads * s.dim, -2, 2);
    (void)add_mat(c, "dy", ROLE_ACC, LC_F32, s.rows, heads * s.dim, -1, 1);
    c->number[7] = add_array(c, "rstd", ROLE_IN, LC_F32, s.rows * heads, 0, 1);
    for (int64_t i = 0; i < s.rows * heads; i++) {
        const double rstd = saved_rstd(&c->tensors[0], i / heads, i % heads * s.dim, s.dim, 1e-6);
        set_element(&c->tensors[c->number[7]], 0, i, rstd);
    }
    draw_rope_arrays(c, &s);
}

static lc_code run_qk_rope_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_qk_rope_backward_args args = {.x = view(c, 0),
                                           .dy = view(c, 1),
                                           .q_heads = (int32_t)c->number[0],
                                           .k_heads = (int32_t)c->number[1],
                                           .head_dim = (int32_t)c->number[2],
                                           .q_norm = pointer(c, (int)c->number[3]),
                                           .k_norm = pointer(c, (int)c->number[4]),
                                           .cos = pointer(c, (int)c->number[5]),
                                           .sin = pointer(c, (int)c->number[6]),
                                           .rstd = pointer(c, (int)c->number[7])};
    ON_DEVICE(qk_rope_backward, args)
    ref_qk_rope_backward(&args, 1e-6);
    return LC_OK;
}

/* Documents of 0..60 tokens, sometimes one of up to 330 among them (longer than a key block), cut at `n`
 * rows. Tensor `at` holds the boundaries. */
static int64_t draw_documents(op_case *c)
{
    int32_t ends[64] = {0};
    const int documents = (int)test_int(1, 8), long_one = (int)test_int(-8, documents - 1);
    for (int i = 0; i < documents; i++) {
        const int64_t length = i == long_one ? test_int(200, 330) : test_int(i == 0 ? 1 : 0, 60);
        ends[i + 1] = ends[i] + (int32_t)length;
    }
    const int at = add_array(c, "cu_seqlens", ROLE_IN, LC_I32, documents + 1, 0, 1);
    for (int i = 0; i <= documents; i++) {
        set_element(&c->tensors[at], 0, i, ends[i]);
    }
    c->attention.document_count = documents;
    return ends[documents];
}

static void draw_attention_shape(op_case *c, int64_t rows)
{
    static const int32_t windows[] = {0, 0, 0, 1, 2, 7, 64, 65, 100, 256, 300, 4096};
    c->attention.kv_heads = (int32_t)test_int(1, 3);
    c->attention.heads = c->attention.kv_heads * (int32_t)test_int(1, 3);
    c->attention.head_dim = (int32_t)any_head_dim(false);
    if (rows * c->attention.head_dim > 8000 && c->attention.head_dim > 48) {
        c->attention.head_dim = 40;
    }
    c->attention.window = windows[test_int(0, 11)];
    c->attention.scale = (float)test_uniform(0.05, 1.0);
    DESCRIBE(c, "N %d documents %d heads %d/%d D %d window %d", (int)rows,
             c->attention.document_count, c->attention.heads, c->attention.kv_heads,
             c->attention.head_dim, c->attention.window);
}

static lc_attention_shape attention_shape(const op_case *c)
{
    lc_attention_shape shape = c->attention;
    shape.cu_seqlens = pointer(c, 0);
    return shape;
}

static void draw_attention(op_case *c)
{
    const int64_t rows = draw_documents(c);
    draw_attention_shape(c, rows);
    const int64_t width = (int64_t)c->attention.heads * c->attention.head_dim;
    const int64_t kv_width = (int64_t)c->attention.kv_heads * c->attention.head_dim;
    add_mat(c, "q", ROLE_IN, LC_F32, rows, width, -2, 2);
    add_mat(c, "k", ROLE_IN, LC_F32, rows, kv_width, -2, 2);
    add_mat(c, "v", ROLE_IN, LC_F32, rows, kv_width, -1, 1);
    add_mat(c, "out", ROLE_OUT, LC_F32, rows, width, 0, 0);
    c->number[0] = -1;
    if (test_int(0, 3) > 0) {
        c->number[0] = add_array(c, "lse", ROLE_OUT, LC_F32, rows * c->attention.heads, 0, 0);
    }
}

static lc_code run_attention(op_case *c, lc_device *device, lc_err *err)
{
    const lc_attention_args args = {.shape = attention_shape(c),
                                    .q = view(c, 1),
                                    .k = view(c, 2),
                                    .v = view(c, 3),
                                    .out = view(c, 4),
                                    .lse = pointer(c, (int)c->number[0])};
    ON_DEVICE(attention, args)
    ref_attention(&args);
    return LC_OK;
}

/* out and lse are what the reference's forward pass gives, rounded. */
static void draw_attention_backward(op_case *c)
{
    const int64_t rows = draw_documents(c);
    draw_attention_shape(c, rows);
    const int64_t width = (int64_t)c->attention.heads * c->attention.head_dim;
    const int64_t kv_width = (int64_t)c->attention.kv_heads * c->attention.head_dim;
    add_mat(c, "q", ROLE_IN, LC_F32, rows, width, -2, 2);
    add_mat(c, "k", ROLE_IN, LC_F32, rows, kv_width, -2, 2);
    add_mat(c, "v", ROLE_IN, LC_F32, rows, kv_width, -1, 1);
    add_mat(c, "out", ROLE_IN, LC_F32, rows, width, -1, 1);
    add_mat(c, "dout", ROLE_IN, LC_F32, rows, width, -1, 1);
    add_mat(c, "dq", ROLE_OUT, LC_F32, rows, width, 0, 0);
    add_mat(c, "dk", ROLE_OUT, LC_F32, rows, kv_width, 0, 0);
    add_mat(c, "dv", ROLE_OUT, LC_F32, rows, kv_width, 0, 0);
    add_array(c, "lse", ROLE_IN, LC_F32, rows * c->attention.heads, 0, 0);
    add_array(c, "delta", ROLE_SCRATCH, LC_F32, rows * c->attention.heads, 0, 0);
    /* With a single key p is 1 and ds = dp - delta is 0 exactly, which no fp32 kernel meets. */
    c->tensors[6].least_rms = c->tensors[7].least_rms =
        0.03 * (double)c->attention.scale * sqrt((double)c->attention.head_dim);
    const lc_attention_args forward = {.shape = attention_shape(c),
                                       .q = view(c, 1),
                                       .k = view(c, 2),
                                       .v = view(c, 3),
                                       .out = view(c, 4),
                                       .lse = pointer(c, 9)};
    ref_attention(&forward);
}

static lc_code run_attention_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_attention_backward_args args = {.shape = attention_shape(c),
                                             .q = view(c, 1),
                                             .k = view(c, 2),
                                             .v = view(c, 3),
                                             .out = view(c, 4),
                                             .dout = view(c, 5),
                                             .dq = view(c, 6),
                                             .dk = view(c, 7),
                                             .dv = view(c, 8),
                                             .lse = pointer(c, 9),
                                             .delta = pointer(c, 10)};
    ON_DEVICE(attention_backward, args)
    ref_attention_backward(&args);
    return LC_OK;
}

/* Prefill runs of consecutive positions and single decoding rows in one call. */
static void draw_attention_cached(op_case *c)
{
    const int64_t slots = test_int(1, 4), slot_rows = test_int(1, 400), rows = any_size(60);
    draw_attention_shape(c, rows);
    const int64_t width = (int64_t)c->attention.heads * c->attention.head_dim;
    const int64_t kv_width = (int64_t)c->attention.kv_heads * c->attention.head_dim;
    add_mat(c, "q", ROLE_IN, LC_F32, rows, width, -2, 2);
    add_mat(c, "k_cache", ROLE_IN, LC_F32, slots * slot_rows, kv_width, -2, 2);
    add_mat(c, "v_cache", ROLE_IN, LC_F32, slots * slot_rows, kv_width, -1, 1);
    add_mat(c, "out", ROLE_OUT, LC_F32, rows, width, 0, 0);
    add_array(c, "slots", ROLE_IN, LC_I32, rows, 0, (double)slots);
    add_array(c, "positions", ROLE_IN, LC_I32, rows, 0, (double)slot_rows);
    c->number[0] = slot_rows;
    int64_t slot = 0, position = slot_rows;
    for (int64_t i = 0; i < rows; i++) {
        position++;
        if (position >= slot_rows || test_int(0, 9) == 0) {
            slot = test_int(0, slots - 1);
            position = test_int(0, slot_rows - 1);
        }
        set_element(&c->tensors[4], 0, i, (double)slot);
        set_element(&c->tensors[5], 0, i, (double)position);
    }
    DESCRIBE(c, "N %d slots %d x %d heads %d/%d D %d window %d", (int)rows, (int)slots,
             (int)slot_rows, c->attention.heads, c->attention.kv_heads, c->attention.head_dim,
             c->attention.window);
}

static lc_code run_attention_cached(op_case *c, lc_device *device, lc_err *err)
{
    const lc_attention_cached_args args = {.heads = c->attention.heads,
                                           .kv_heads = c->attention.kv_heads,
                                           .head_dim = c->attention.head_dim,
                                           .scale = c->attention.scale,
                                           .window = c->attention.window,
                                           .slot_rows = c->number[0],
                                           .q = view(c, 0),
                                           .k_cache = view(c, 1),
                                           .v_cache = view(c, 2),
                                           .out = view(c, 3),
                                           .slots = pointer(c, 4),
                                           .positions = pointer(c, 5)};
    ON_DEVICE(attention_cached, args)
    ref_attention_cached(&args);
    return LC_OK;
}

static void draw_swiglu(op_case *c)
{
    const int64_t n = any_size(200), width = any_size(500);
    DESCRIBE(c, "N %d I %d", (int)n, (int)width);
    add_mat(c, "gate_up", ROLE_IN, LC_F32, n, 2 * width, -8, 8);
    add_mat(c, "y", ROLE_OUT, LC_F32, n, width, 0, 0);
}

static lc_code run_swiglu(op_case *c, lc_device *device, lc_err *err)
{
    const lc_swiglu_args args = {.gate_up = view(c, 0), .y = view(c, 1)};
    ON_DEVICE(swiglu, args)
    ref_swiglu(&args);
    return LC_OK;
}

static void draw_swiglu_backward(op_case *c)
{
    const int64_t n = any_size(200), width = any_size(500);
    DESCRIBE(c, "N %d I %d", (int)n, (int)width);
    add_mat(c, "dy", ROLE_IN, LC_F32, n, width, -1, 1);
    add_mat(c, "gate_up", ROLE_ACC, LC_F32, n, 2 * width, -8, 8);
}

static lc_code run_swiglu_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_swiglu_backward_args args = {.dy = view(c, 0), .gate_up = view(c, 1)};
    ON_DEVICE(swiglu_backward, args)
    ref_swiglu_backward(&args);
    return LC_OK;
}

/* Some of 0..total-1, ascending, into a new I32 array; returns how many. */
static int64_t draw_selection(op_case *c, int64_t total)
{
    int32_t chosen[512];
    int64_t count = 0;
    const double share = test_uniform(0.0, 1.0);
    for (int64_t i = 0; i < total; i++) {
        if (test_uniform(0.0, 1.0) < share) {
            chosen[count++] = (int32_t)i;
        }
    }
    const int at = add_array(c, "rows", ROLE_IN, LC_I32, count, 0, 1);
    for (int64_t i = 0; i < count; i++) {
        set_element(&c->tensors[at], 0, i, chosen[i]);
    }
    return count;
}

static void draw_gather_rows(op_case *c)
{
    const int64_t n = any_size(300), width = any_size(300), count = draw_selection(c, n);
    DESCRIBE(c, "N %d M %d C %d", (int)n, (int)count, (int)width);
    add_mat(c, "x", ROLE_IN, LC_F32, n, width, -1, 1);
    add_mat(c, "y", ROLE_OUT, LC_F32, count, width, 0, 0);
}

static lc_code run_gather_rows(op_case *c, lc_device *device, lc_err *err)
{
    const lc_gather_rows_args args = {.rows = pointer(c, 0), .x = view(c, 1), .y = view(c, 2)};
    ON_DEVICE(gather_rows, args)
    ref_gather_rows(&args);
    return LC_OK;
}

static void draw_scatter_rows(op_case *c)
{
    const int64_t n = any_size(300), width = any_size(300), count = draw_selection(c, n);
    DESCRIBE(c, "N %d M %d C %d", (int)n, (int)count, (int)width);
    add_mat(c, "x", ROLE_IN, LC_F32, count, width, -1, 1);
    add_mat(c, "y", ROLE_OUT, LC_F32, n, width, 0, 0);
}

static lc_code run_scatter_rows(op_case *c, lc_device *device, lc_err *err)
{
    const lc_scatter_rows_args args = {.rows = pointer(c, 0), .x = view(c, 1), .y = view(c, 2)};
    ON_DEVICE(scatter_rows, args)
    ref_scatter_rows(&args);
    return LC_OK;
}

/* Half of the cases have whole-number logits, so that several are the largest and the first one counts. */
static void draw_cross_entropy(op_case *c)
{
    const int64_t n = any_size(120),
                  width = test_int(0, 9) == 0 ? test_int(4000, 5000) : any_size(300);
    const bool gradient = test_int(0, 1) == 0, ties = test_int(0, 1) == 0;
    DESCRIBE(c, "M %d V %d gradient %d ties %d", (int)n, (int)width, gradient, ties);
    add_mat(c, "logits", gradient ? ROLE_ACC : ROLE_IN, LC_F32, n, width, -6, 6);
    for (int64_t k = 0; ties && k < n * width; k++) {
        set_element(&c->tensors[0], k / width, k % width, (double)test_int(-1, 1));
    }
    add_array(c, "targets", ROLE_IN, LC_I32, n, 0, (double)width);
    add_array(c, "weights", ROLE_IN, LC_F32, n, 0, 2);
    add_array(c, "nll", ROLE_OUT, LC_F32, n, 0, 0);
    add_array(c, "correct", ROLE_OUT, LC_F32, n, 0, 0);
    c->number[0] = gradient;
    for (int64_t i = 0; i < n;
         i++) { /* half of the targets are the answer, where one column is enough */
        int64_t best = 0;
        for (int64_t j = 1; j < width; j++) {
            best =
                get_element(&c->tensors[0], i, j) > get_element(&c->tensors[0], i, best) ? j : best;
        }
        if (test_int(0, 1) == 0) {
            set_element(&c->tensors[1], 0, i, (double)best);
        }
    }
}

static lc_code run_cross_entropy(op_case *c, lc_device *device, lc_err *err)
{
    const lc_cross_entropy_args args = {.logits = view(c, 0),
                                        .targets = pointer(c, 1),
                                        .weights = pointer(c, 2),
                                        .nll = pointer(c, 3),
                                        .correct = pointer(c, 4),
                                        .gradient = c->number[0] != 0};
    ON_DEVICE(cross_entropy, args)
    ref_cross_entropy(&args, NULL);
    return LC_OK;
}

static void draw_sum_squares(op_case *c)
{
    const int64_t count = test_int(0, 1) == 0 ? test_int(0, 100) : test_int(0, 60000);
    DESCRIBE(c, "count %d", (int)count);
    add_array(c, "values", ROLE_IN, LC_F32, count, -1, 1);
    add_array(c, "sum_squares", ROLE_OUT, LC_F64, 1, 0, 0);
    c->number[0] = count;
}

static lc_code run_sum_squares(op_case *c, lc_device *device, lc_err *err)
{
    const lc_sum_squares_args args = {
        .values = pointer(c, 0), .sum_squares = pointer(c, 1), .count = c->number[0]};
    ON_DEVICE(sum_squares, args)
    ref_sum_squares(&args);
    return LC_OK;
}

static void draw_adamw(op_case *c)
{
    const int64_t count = test_int(0, 1) == 0 ? test_int(1, 100) : test_int(1, 50000);
    c->number[0] = count;
    c->number[1] = test_int(1, 300);
    DESCRIBE(c, "count %d t %d", (int)count, (int)c->number[1]);
    add_array(c, "param", ROLE_ACC, LC_F32, count, -1, 1);
    add_array(c, "grad", ROLE_IN, LC_F32, count, -5, 5);
    add_array(c, "m", ROLE_ACC, LC_F32, count, -0.1, 0.1);
    add_array(c, "v", ROLE_ACC, LC_F32, count, 0, 0.1);
    c->real[0] = test_uniform(0.01, 1.0);
    c->real[1] = test_uniform(0.0, 0.1);
}

static lc_code run_adamw(op_case *c, lc_device *device, lc_err *err)
{
    const lc_adamw_args args = {.param = pointer(c, 0),
                                .grad = pointer(c, 1),
                                .m = pointer(c, 2),
                                .v = pointer(c, 3),
                                .count = c->number[0],
                                .t = c->number[1],
                                .grad_scale = c->real[0],
                                .lr = 1e-2,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .eps = 1e-8,
                                .weight_decay = c->real[1]};
    ON_DEVICE(adamw, args)
    ref_adamw(&args);
    return LC_OK;
}

#define ROW(op)                  \
    {                            \
#op, draw_##op, run_##op \
    }

const op_row op_rows[] = {
    ROW(embed),
    ROW(rmsnorm),
    ROW(rmsnorm_backward),
    ROW(linear),
    ROW(linear_backward),
    ROW(lora_forward),
    ROW(lora_dy),
    ROW(lora_dx),
    ROW(lora_dropout_backward),
    ROW(lora_publish),
    ROW(qk_rope),
    ROW(qk_rope_backward),
    ROW(attention),
    ROW(attention_backward),
    ROW(attention_cached),
    ROW(swiglu),
    ROW(swiglu_backward),
    ROW(gather_rows),
    ROW(scatter_rows),
    ROW(cross_entropy),
    ROW(sum_squares),
    ROW(adamw),
};
const int op_row_count = sizeof op_rows / sizeof op_rows[0];
