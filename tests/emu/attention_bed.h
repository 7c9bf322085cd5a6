/* What attention_test.c works with: devices with and without cuDNN, and a bed of buffers on one of
 * them for one call of attention and its backward pass. */
#ifndef TESTS_EMU_ATTENTION_BED_H
#define TESTS_EMU_ATTENTION_BED_H

#include <math.h>

#include "lorac/choices.h"
#include "ops/backend.h"
#include "testing.h"

#define MAX_DOCUMENTS 12
#define BORDER        16 /* columns between windows, as a model has them */
#define OFF_MOST      0.02

/* One call of both ops. */
typedef struct call {
    int32_t heads, kv_heads, head_dim, window;
    int32_t lengths[MAX_DOCUMENTS]; /* 0 ends them */
    int32_t tail;                   /* rows behind them */
    bool is_f32;                    /* else BF16 */
    int32_t shared_rows;
} call;

enum { QKV, OUT, DOUT, LSE, DELTA, DQKV, LAYOUT, BLOCKS };

typedef struct bed {
    lc_device *device;
    call shape;
    int32_t begins[MAX_DOCUMENTS + 1];
    int32_t count;
    int64_t rows, used, q_width, kv_width, ld;
    void *blocks[BLOCKS], *workspace;
    size_t workspace_bytes;
} bed;

static bool is_emulated;
static char warning[2048];
static int warning_count;

static void note_warning(const char *text)
{
    (void)snprintf(warning, sizeof warning, "%s", text);
    warning_count++;
}

/* ---- devices ---- */

static lc_code try_device(lc_attention_path path, bool deterministic, lc_device **out)
{
    const lc_device_options options = {.kind = is_emulated ? LC_DEVICE_EMU : LC_DEVICE_CUDA,
                                       .attention = path,
                                       .deterministic = deterministic,
                                       .warn = note_warning};
    warning_count = 0;
    warning[0] = '\0';
    return lc_device_open(&options, out, &test_err);
}

static lc_device *open_device(lc_attention_path path, bool deterministic)
{
    lc_device *device = NULL;
    assert_ok(try_device(path, deterministic, &device));
    return device;
}

static void set_library(const char *version, const char *fault)
{
    if (is_emulated) {
        assert_int_equal(version != NULL ? setenv("EMU_CUDNN", version, 1) : unsetenv("EMU_CUDNN"),
                         0);
        assert_int_equal(
            fault != NULL ? setenv("EMU_CUDNN_FAULT", fault, 1) : unsetenv("EMU_CUDNN_FAULT"), 0);
    }
}

static void expect_fact(lc_device *device, const char *expected)
{
    lc_fact facts[LC_MAX_FACTS];
    const int count = device->choices->facts(device, facts);
    for (int i = 0; i < count; i++) {
        if (strcmp(facts[i].name, "attention") == 0) {
            assert_true(facts[i].decides && facts[i].is_beside_products);
            assert_string_equal(facts[i].value, expected);
            return;
        }
    }
    fail_msg("there is no fact of attention");
}

/* ---- a bed of buffers on a device ---- */

static void *fill_bf16(size_t count, uint32_t state, float amount)
{
    uint16_t *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        const float value = (float)(int32_t)state * 0x1p-31f * amount;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        values[i] = (uint16_t)(bits >> 16);
    }
    return values;
}

static void place(bed *b, int which, size_t bytes, const void *from)
{
    assert_ok(b->device->ops->alloc(b->device, bytes, &b->blocks[which], &test_err));
    if (from != NULL) {
        assert_ok(b->device->ops->upload(b->device, b->blocks[which], from, bytes, &test_err));
    }
}

static lc_documents documents_of(const bed *b)
{
    const lc_documents documents = {
        .shared_rows = b->shape.shared_rows, .count = b->count, .cu_seqlens = b->begins};
    return documents;
}

/* The documents of another call into the bed's layout; rows stay as many. */
static void lay_out(bed *b, const call *shape)
{
    b->begins[0] = shape->shared_rows;
    for (b->count = 0; b->count < MAX_DOCUMENTS && shape->lengths[b->count] > 0; b->count++) {
        b->begins[b->count + 1] = b->begins[b->count] + shape->lengths[b->count];
    }
    b->used = b->begins[b->count];
    b->rows = b->rows > 0 ? b->rows : b->used + shape->tail;
    const size_t bytes = b->device->memory->layout_bytes(b->rows);
    void *host = malloc(bytes);
    assert_non_null(host);
    const lc_documents documents = documents_of(b);
    b->device->memory->lay_out(&documents, b->rows, host);
    if (b->blocks[LAYOUT] == NULL) {
        place(b, LAYOUT, bytes, NULL);
    }
    assert_ok(b->device->ops->upload(b->device, b->blocks[LAYOUT], host, bytes, &test_err));
    free(host);
}

static void set_workspace(bed *b)
{
    const call *c = &b->shape;
    const lc_workspace_extent extent = {.tokens = b->rows,
                                        .width = 64,
                                        .mlp = 64,
                                        .heads = c->heads,
                                        .kv_heads = c->kv_heads,
                                        .head_dim = c->head_dim,
                                        .may_use_cudnn = true,
                                        .masters = 1};
    b->workspace_bytes = b->device->memory->workspace_bytes(&extent);
    assert_ok(b->device->ops->alloc(b->device, b->workspace_bytes, &b->workspace, &test_err));
    b->device->ops->set_workspace(b->device, b->workspace, b->workspace_bytes);
}

static bed make_bed(lc_device *device, const call *shape)
{
    bed b = {.device = device, .shape = *shape};
    lay_out(&b, shape);
    b.q_width = (int64_t)shape->heads * shape->head_dim;
    b.kv_width = (int64_t)shape->kv_heads * shape->head_dim;
    b.ld = b.q_width + 2 * b.kv_width + BORDER;
    const size_t element = shape->is_f32 ? 4 : 2, rows = (size_t)b.rows;
    const size_t qkv = rows * (size_t)b.ld, out = rows * (size_t)(b.q_width + BORDER);
    void *values = fill_bf16(shape->is_f32 ? 2 * qkv : qkv, 1, 1.5f);
    void *gradient = fill_bf16(shape->is_f32 ? 2 * out : out, 2, 1.0f);
    void *stale = malloc(qkv * element);
    assert_non_null(stale);
    memset(stale, 0x3f, qkv * element); /* finite, not zero */
    place(&b, QKV, qkv * element, values);
    place(&b, DOUT, out * element, gradient);
    place(&b, OUT, out * element, stale);
    place(&b, DQKV, qkv * element, stale);
    place(&b, LSE, rows * (size_t)shape->heads * 4, NULL);
    place(&b, DELTA, rows * (size_t)shape->heads * 4, NULL);
    free(values);
    free(gradient);
    free(stale);
    set_workspace(&b);
    return b;
}

static void drop_bed(bed *b)
{
    for (int i = 0; i < BLOCKS; i++) {
        b->device->ops->free(b->device, b->blocks[i]);
    }
    b->device->ops->free(b->device, b->workspace);
}

/* ---- the ops on it ---- */

static lc_mat window_of(const bed *b, int which, int64_t first, int64_t cols)
{
    const lc_mat whole = {b->blocks[which],
                          b->rows,
                          which == QKV || which == DQKV ? b->ld : b->q_width + BORDER,
                          which == QKV || which == DQKV ? b->ld : b->q_width + BORDER,
                          b->shape.is_f32 ? LC_F32 : LC_BF16,
                          0};
    return lc_mat_view(whole, 0, first, b->rows, cols);
}

static lc_code run(const bed *b)
{
    const call *c = &b->shape;
    const int64_t k = b->q_width, v = b->q_width + b->kv_width;
    const lc_attention_shape shape = {.heads = c->heads,
                                      .kv_heads = c->kv_heads,
                                      .head_dim = c->head_dim,
                                      .scale = 1.0f / sqrtf((float)c->head_dim),
                                      .window = c->window,
                                      .documents = documents_of(b),
                                      .layout = b->blocks[LAYOUT]};
    LC_TRY(LC_OP(b->device, attention,
                 {.shape = shape,
                  .q = window_of(b, QKV, 0, b->q_width),
                  .k = window_of(b, QKV, k, b->kv_width),
                  .v = window_of(b, QKV, v, b->kv_width),
                  .out = window_of(b, OUT, 0, b->q_width),
                  .lse = b->blocks[LSE]},
                 &test_err));
    return LC_OP(b->device, attention_backward,
                 {.shape = shape,
                  .q = window_of(b, QKV, 0, b->q_width),
                  .k = window_of(b, QKV, k, b->kv_width),
                  .v = window_of(b, QKV, v, b->kv_width),
                  .out = window_of(b, OUT, 0, b->q_width),
                  .dout = window_of(b, DOUT, 0, b->q_width),
                  .lse = b->blocks[LSE],
                  .delta = b->blocks[DELTA],
                  .dq = window_of(b, DQKV, 0, b->q_width),
                  .dk = window_of(b, DQKV, k, b->kv_width),
                  .dv = window_of(b, DQKV, v, b->kv_width)},
                 &test_err);
}

static uint16_t *fetch(const bed *b, int which, size_t *count)
{
    *count = (size_t)b->rows * (size_t)(which == DQKV ? b->ld : b->q_width + BORDER) *
             (b->shape.is_f32 ? 2 : 1);
    uint16_t *values = malloc(*count * sizeof *values);
    assert_non_null(values);
    assert_ok(b->device->ops->download(b->device, values, b->blocks[which], *count * sizeof *values,
                                       &test_err));
    return values;
}

/* What of the documents' rows of one differs from the other, of their length. */
static double distance(const bed *a, const bed *b, int which)
{
    size_t count = 0;
    uint16_t *left = fetch(a, which, &count), *right = fetch(b, which, &count);
    const size_t used = count / (size_t)a->rows * (size_t)a->used;
    double off = 0.0, length = 0.0;
    for (size_t i = 0; i < used; i++) {
        float x, y;
        assert_true(lc_convert(&left[i], LC_BF16, &x, LC_F32, 1));
        assert_true(lc_convert(&right[i], LC_BF16, &y, LC_F32, 1));
        off += ((double)x - y) * ((double)x - y);
        length += (double)y * y;
    }
    free(left);
    free(right);
    return sqrt(off / length);
}

static bool is_same(const bed *a, const bed *b, int which)
{
    size_t count = 0;
    uint16_t *left = fetch(a, which, &count), *right = fetch(b, which, &count);
    const bool same = memcmp(left, right, count * sizeof *left) == 0;
    free(left);
    free(right);
    return same;
}

/* Rows behind the documents: zeros in the windows, the border as it was. */
static void expect_clear_tail(const bed *b, int which)
{
    size_t count = 0;
    uint16_t *values = fetch(b, which, &count);
    const size_t ld = count / (size_t)b->rows;
    for (size_t i = (size_t)b->used * ld; i < count; i++) {
        assert_int_equal(values[i], i % ld < ld - BORDER ? 0 : 0x3f3f);
    }
    free(values);
}

/* Who serves attention: the algorithms of its choices; empty: nobody but our own kernels. */
static int algorithms(lc_device *device, char out[2][LC_ALGORITHM_BYTES])
{
    int found = 0;
    for (int64_t i = 0; i < device->choices->count(device); i++) {
        lc_choice choice;
        device->choices->get(device, i, &choice);
        assert_memory_equal(choice.product, "attention ", 10);
        assert_false(choice.is_measured);
        memcpy(out[found++ % 2], choice.algorithm, LC_ALGORITHM_BYTES);
    }
    return found;
}

#endif
