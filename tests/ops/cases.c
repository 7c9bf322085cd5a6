/* Tensors of a case, comparison, and the table; see cases.h. */
#include "cases_draw.h"

/* ---- tensors ---- */

static const uint32_t poison_word = 0x7FC0DEADu; /* a NaN as F32, as BF16 pairs and inside an F64 */

static void fill_poison(uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = ((const uint8_t *)&poison_word)[i % 4];
    }
}

static lc_mat device_mat(const tensor *t)
{
    const lc_mat mat = {t->data + GUARD_BYTES, t->rows, t->cols, t->ld, t->dtype, t->strip};
    return mat;
}

static uint8_t *element(const tensor *t, int64_t row, int64_t col)
{
    const size_t at = (size_t)lc_mat_at(device_mat(t), row, col);
    return t->data + GUARD_BYTES + at * lc_dtype_bytes(t->dtype);
}

void set_element(tensor *t, int64_t row, int64_t col, double value)
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

static uint8_t *seen_by_device(const tensor *t)
{
    return t->on_device != NULL ? t->on_device : t->data;
}

double get_element(const tensor *t, int64_t row, int64_t col)
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

static int64_t multiple_of(const op_case *c, lc_dtype dtype)
{
    return c->is_gpu ? 16 / (int64_t)lc_dtype_bytes(dtype) : 1;
}

static int64_t round_up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* Tight, odd, padded as the model does, or the page-sized stride that products treat apart. */
static int64_t any_ld(const op_case *c, lc_dtype dtype, int64_t cols)
{
    static const int64_t extra[] = {0, 0, 1, 7, 64};
    const int64_t multiple = multiple_of(c, dtype);
    if (multiple > 1) {
        return round_up(cols, multiple) + multiple * test_int(0, 3);
    }
    if (test_int(0, 5) == 0) {
        return (cols + 1023) / 1024 * 1024;
    }
    return cols + extra[test_int(0, 4)];
}

static int add_filled(op_case *c, tensor like, double low, double high)
{
    const int index = add_tensor(c, like.name, like.role, like.dtype, like.rows, like.cols,
                                 any_ld(c, like.dtype, like.cols));
    tensor *t = &c->tensors[index];
    t->strip = like.strip;
    for (int64_t i = 0; (t->role == ROLE_IN || t->role == ROLE_ACC) && i < t->rows; i++) {
        for (int64_t j = 0; j < t->cols; j++) {
            set_element(t, i, j, test_uniform(low, high));
        }
    }
    t->exact = must_alloc((size_t)(t->rows * t->cols) * sizeof *t->exact);
    return index;
}

int add_mat(op_case *c, const char *name, role kind, lc_dtype dtype, int64_t rows, int64_t cols,
            double low, double high)
{
    return add_filled(
        c, (tensor){.name = name, .role = kind, .dtype = dtype, .rows = rows, .cols = cols}, low,
        high);
}

int add_weight(op_case *c, const char *name, lc_dtype dtype, int64_t rows, int64_t cols)
{
    const bool fits = !c->is_gpu && rows % CPU_STRIP == 0;
    return add_filled(c,
                      (tensor){.name = name,
                               .role = ROLE_IN,
                               .dtype = dtype,
                               .rows = rows,
                               .cols = cols,
                               .strip = fits && test_int(0, 3) > 0 ? CPU_STRIP : 0},
                      -1, 1);
}

int add_keys(op_case *c, role kind, int64_t slots, int64_t slot_rows, int64_t cols)
{
    const bool fits = !c->is_gpu && slot_rows % CPU_STRIP == 0;
    return add_filled(c,
                      (tensor){.name = "k_cache",
                               .role = kind,
                               .dtype = c->activation,
                               .rows = slots * slot_rows,
                               .cols = cols,
                               .strip = fits && test_int(0, 3) > 0 ? CPU_STRIP : 0},
                      -2, 2);
}

int64_t whole_strips(const op_case *c, int64_t rows)
{
    return !c->is_gpu && test_int(0, 1) == 0 ? (rows + CPU_STRIP - 1) / CPU_STRIP * CPU_STRIP
                                             : rows;
}

int add_act(op_case *c, const char *name, role kind, int64_t rows, int64_t cols, double low,
            double high)
{
    return add_mat(c, name, kind, c->activation, rows, cols, low, high);
}

int add_array(op_case *c, const char *name, role kind, lc_dtype dtype, int64_t count, double low,
              double high)
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

void same_ld(op_case *c, int one, int other)
{
    tensor *a = &c->tensors[one], *b = &c->tensors[other];
    tensor *narrow = a->ld < b->ld ? a : b;
    narrow->ld = a->ld < b->ld ? b->ld : a->ld;
    narrow->bytes = (size_t)(narrow->rows * narrow->ld) * lc_dtype_bytes(narrow->dtype) +
                    (size_t)2 * GUARD_BYTES;
    free(narrow->data);
    free(narrow->before);
    narrow->data = must_alloc(narrow->bytes);
    narrow->before = must_alloc(narrow->bytes);
    fill_poison(narrow->data, narrow->bytes);
}

lc_mat view(const op_case *c, int index)
{
    if (index < 0) {
        return (lc_mat){0};
    }
    const tensor *t = &c->tensors[index];
    if (!c->reference) {
        lc_mat mat = device_mat(t);
        mat.data = seen_by_device(t) + GUARD_BYTES;
        return mat;
    }
    const lc_mat mat = {t->exact, t->rows, t->cols, t->cols, LC_F64, 0};
    return mat;
}

void *pointer(const op_case *c, int index)
{
    if (index < 0) {
        return NULL;
    }
    const tensor *t = &c->tensors[index];
    return (c->reference ? t->plain : seen_by_device(t)) + GUARD_BYTES;
}

void *host_pointer(const op_case *c, int index)
{
    return c->tensors[index].data + GUARD_BYTES;
}

void *for_device(op_case *c, const void *bytes, size_t count)
{
    void *memory = NULL;
    assert_true(c->extra_count < MAX_EXTRAS);
    if (c->reference || c->device->is_host) {
        memory = must_alloc(count);
        memcpy(memory, bytes, count);
    } else {
        assert_ok(c->device->ops->alloc(c->device, count, &memory, &test_err));
        assert_ok(c->device->ops->upload(c->device, memory, bytes, count, &test_err));
    }
    c->extras[c->extra_count++] = memory;
    return memory;
}

static void release_extras(op_case *c)
{
    for (int i = 0; i < c->extra_count; i++) {
        if (c->reference || c->device->is_host) {
            free(c->extras[i]);
        } else {
            c->device->ops->free(c->device, c->extras[i]);
        }
    }
    c->extra_count = 0;
}

/* ---- running ---- */

static void tensors_to_device(op_case *c)
{
    const lc_ops *ops = c->device->ops;
    for (int i = 0; i < c->count && !c->device->is_host; i++) {
        tensor *t = &c->tensors[i];
        void *memory = NULL;
        assert_ok(ops->alloc(c->device, t->bytes, &memory, &test_err));
        assert_ok(ops->upload(c->device, memory, t->data, t->bytes, &test_err));
        t->on_device = memory;
    }
}

static void tensors_from_device(op_case *c)
{
    const lc_ops *ops = c->device->ops;
    for (int i = 0; i < c->count && !c->device->is_host; i++) {
        tensor *t = &c->tensors[i];
        assert_ok(ops->download(c->device, t->data, t->on_device, t->bytes, &test_err));
        ops->free(c->device, t->on_device);
        t->on_device = NULL;
    }
}

lc_code case_run(op_case *c, const op_row *row, lc_device *device, lc_err *err)
{
    c->device = device;
    if (device != NULL) {
        tensors_to_device(c);
    }
    const lc_code code = row->run(c, device, err);
    if (device != NULL) {
        tensors_from_device(c);
    }
    release_extras(c);
    c->device = NULL;
    return code;
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
    const size_t rows = t->strip > 0 ? (size_t)t->strip : 1; /* side by side in memory */
    const size_t size = rows * lc_dtype_bytes(t->dtype);
    for (size_t i = 0; i < t->bytes; i++) {
        bool written = false;
        if (t->role != ROLE_IN && i >= GUARD_BYTES && i < t->bytes - GUARD_BYTES) {
            written = (i - GUARD_BYTES) % ((size_t)t->ld * size) < (size_t)t->cols * size;
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
    if (t->dtype == LC_I32) {
        return (double)((const int32_t *)(const void *)(t->plain + GUARD_BYTES))[col];
    }
    return (double)((const float *)(const void *)(t->plain + GUARD_BYTES))[col];
}

static void compare_values(const op_case *c, const char *op, const tensor *t, double tolerance)
{
    double difference = 0.0, norm = 0.0;
    for (int64_t i = 0; i < t->rows; i++) {
        for (int64_t j = 0; j < t->cols; j++) {
            const double found = get_element(t, i, j), expected = expected_at(t, i, j);
            const bool is_other = t->dtype == LC_I32 && fabs(found - expected) > 0.0;
            if (!isfinite(found) || is_other) {
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
            const double kept = c->is_rounded && c->activation == LC_BF16 ? 1.0 / 100.0 : tolerance;
            const double rounding = t->dtype == LC_BF16 ? 1.0 / 256.0 : 0.0;
            compare_values(c, op, t, fmax(kept, rounding));
        }
    }
}

/* ---- drawing ---- */

int64_t any_size(int64_t most)
{
    static const int64_t awkward[] = {1,  2,  3,  5,  7,  8,   13,  16,  17, 31,
                                      33, 63, 64, 65, 97, 127, 129, 257, 263};
    const int64_t drawn = awkward[test_int(0, 18)];
    return test_int(0, 1) == 0 && drawn <= most ? drawn : test_int(1, most);
}

int64_t any_width(const op_case *c, int64_t most)
{
    return round_up(any_size(most), multiple_of(c, c->activation));
}

lc_dtype any_weight(const op_case *c)
{
    if (c->is_gpu) {
        return c->activation;
    }
    return test_int(0, 2) == 0 ? LC_BF16 : LC_F32;
}

double saved_rstd(const tensor *x, int64_t row, int64_t first, int64_t count, double eps)
{
    double sum = 0.0;
    for (int64_t j = first; j < first + count; j++) {
        sum += get_element(x, row, j) * get_element(x, row, j);
    }
    return 1.0 / sqrt(sum / (double)count + eps);
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
    ROW(cache_append),
    ROW(attention_cached),
    ROW(swiglu),
    ROW(swiglu_backward),
    ROW(gather_rows),
    ROW(scatter_rows),
    ROW(cross_entropy),
    ROW(sample),
    ROW(advance),
    ROW(add_sums),
    ROW(adamw),
};
const int op_row_count = sizeof op_rows / sizeof op_rows[0];
