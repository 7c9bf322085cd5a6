/*
 * Bad calls: every op refuses what its check names, through the device, before anything is written.
 * Each line breaks one field of a good call and expects op, field, found and expected in the
 * message.
 */
#include "lorac/ops_check.h"
#include "testing.h"

#include <math.h>

static lc_device *device;
/* Enough for every small matrix below; the good calls really run. */
static float data[16][4096];

static int open_device(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++) {
        test_fill(data[i], 4096, 0.1, 1);
    }
    assert_ok(lc_cpu_open(2, &device, &test_err));
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    device->ops->close(device);
    return 0;
}

static lc_mat mat(int index, int64_t rows, int64_t cols)
{
    return lc_mat_f32(data[index], rows, cols, cols + 1);
}

/* `change` is applied to `bad`, a copy of `good`; the call must name `field` and contain `text`. */
#define REFUSES(op, change, field, text)                                                        \
    do {                                                                                        \
        lc_##op##_args bad = good;                                                              \
        change;                                                                                 \
        assert_fails(device->ops->op(device, &bad, &test_err), LC_ERR_INTERNAL, #op ": " text); \
        assert_string_equal(test_err.param, field);                                             \
    } while (0)

#define ACCEPTS(op, change)                                    \
    do {                                                       \
        lc_##op##_args other = good;                           \
        change;                                                \
        assert_ok(device->ops->op(device, &other, &test_err)); \
    } while (0)

/* What every F32 matrix is checked for. */
#define REFUSES_MAT(op, field)                                                                \
    do {                                                                                      \
        REFUSES(op, bad.field.data = NULL, #field, #field " is NULL, expected memory");       \
        REFUSES(op, bad.field.ld = bad.field.cols - 1, #field, #field ".ld is ");             \
        REFUSES(op, bad.field.dtype = LC_F16, #field, #field " has dtype F16, expected F32"); \
        REFUSES(op, bad.field.dtype = (lc_dtype)77, #field, #field " has dtype (none)");      \
        REFUSES(op, bad.field.ld = INT64_MAX / 4, #field, #field ".ld is ");                  \
    } while (0)

/* ... and one whose shape follows from the others. */
#define REFUSES_SHAPE(op, field)                                      \
    do {                                                              \
        REFUSES_MAT(op, field);                                       \
        REFUSES(op, bad.field.rows += 1, #field, #field ".rows is "); \
        REFUSES(op, bad.field.cols -= 1, #field, #field ".cols is "); \
    } while (0)

#define REFUSES_NULL(op, field) REFUSES(op, bad.field = NULL, #field, #field " is NULL")

static void test_embed(void **state)
{
    (void)state;
    int32_t ids[] = {0, 4, 2};
    const lc_embed_args good = {.ids = ids, .table = mat(0, 5, 8), .out = mat(1, 3, 8)};
    ACCEPTS(embed, other.out.rows = 0; other.out.data = NULL; other.ids = NULL);
    ACCEPTS(embed, other.table.dtype = LC_BF16);
    REFUSES_MAT(embed, table);
    REFUSES_MAT(embed, out);
    REFUSES_NULL(embed, ids);
    REFUSES(embed, bad.out.cols = 7, "out", "out.cols is 7, expected 8");
    REFUSES(embed, bad.out.rows = -1, "out", "out.rows is -1, expected at least 0");
    REFUSES(embed, bad.table.cols = 0, "table", "table.cols is 0, expected at least 1");
    ids[1] = 5;
    REFUSES(embed, (void)bad, "ids", "ids[1] is 5, expected 0..4");
    ids[1] = -1;
    REFUSES(embed, (void)bad, "ids", "ids[1] is -1, expected 0..4");
}

static void test_norms(void **state)
{
    (void)state;
    {
        const lc_rmsnorm_args good = {
            .x = mat(0, 3, 8), .weight = data[1], .eps = 0, .y = mat(2, 3, 8), .rstd = data[3]};
        ACCEPTS(rmsnorm, other.rstd = NULL);
        ACCEPTS(rmsnorm, other.x.rows = other.y.rows = 0);
        REFUSES_MAT(rmsnorm, x);
        REFUSES_SHAPE(rmsnorm, y);
        REFUSES_NULL(rmsnorm, weight);
        REFUSES(rmsnorm, bad.eps = -1.0f, "eps", "eps is -1, expected at least 0");
        REFUSES(rmsnorm, bad.eps = NAN, "eps", "eps is nan");
    }
    const lc_rmsnorm_backward_args good = {.dy = mat(0, 3, 8),
                                           .x = mat(1, 3, 8),
                                           .weight = data[2],
                                           .rstd = data[3],
                                           .dx = mat(4, 3, 8)};
    ACCEPTS(rmsnorm_backward, (void)other);
    REFUSES_MAT(rmsnorm_backward, dy);
    REFUSES_SHAPE(rmsnorm_backward, x);
    REFUSES_SHAPE(rmsnorm_backward, dx);
    REFUSES_NULL(rmsnorm_backward, weight);
    REFUSES_NULL(rmsnorm_backward, rstd);
}

static void test_linear(void **state)
{
    (void)state;
    {
        const lc_linear_args good = {.x = mat(0, 3, 8),
                                     .w = mat(1, 5, 8),
                                     .bias = data[2],
                                     .addend = mat(3, 3, 5),
                                     .y = mat(4, 3, 5)};
        ACCEPTS(linear, other.bias = NULL; other.addend.data = NULL);
        ACCEPTS(linear, other.w.dtype = LC_BF16);
        ACCEPTS(linear, other.x.rows = other.y.rows = other.addend.rows = 0);
        REFUSES_MAT(linear, x);
        REFUSES_MAT(linear, w);
        REFUSES_SHAPE(linear, y);
        REFUSES(linear, bad.w.cols = 9, "w", "w.cols is 9, expected 8");
        REFUSES(linear, bad.w.strip = 8, "w", "w.strip is 8, expected 16");
        REFUSES(linear, bad.w.strip = 16, "w", "w.rows % strip is ");
        REFUSES(linear, bad.x.strip = 16, "x", "x.strip is 16, expected 0");
        ACCEPTS(linear, other.tail = 7);
        REFUSES(linear, bad.tail = 8, "tail", "tail is 8, expected below 8");
        REFUSES(linear, bad.tail = -1, "tail", "tail is -1, expected at least 0");
        REFUSES(linear, bad.addend.cols = 4, "addend", "addend.cols is 4, expected 5");
        REFUSES(linear, bad.addend.dtype = LC_BF16, "addend",
                "addend has dtype BF16, expected F32");
        REFUSES(linear, bad.x.dtype = LC_BF16, "x", "x has dtype BF16, expected F32");
    }
}

static const int64_t examples[3] = {1, 2, 3};
static const int32_t positions[3] = {4, 5, 6};

#define REFUSES_DROPOUT(op)                                                                    \
    do {                                                                                       \
        REFUSES(op, bad.dropout.p = 1.0f, "dropout.p", "dropout.p is 1, expected 0 <= p < 1"); \
        REFUSES(op, bad.dropout.p = -0.5f, "dropout.p", "dropout.p is -0.5");                  \
        REFUSES(op, bad.dropout.p = NAN, "dropout.p", "dropout.p is nan");                     \
        REFUSES_NULL(op, dropout.example);                                                     \
        REFUSES_NULL(op, dropout.position);                                                    \
        REFUSES(op, bad.dropout.layer = -1, "dropout.layer", "dropout.layer is -1");           \
        REFUSES_NULL(op, dropout.key);                                                         \
    } while (0)

/* Two parts: rows 0..1 and 3..4 of 5, slots 0..1 and 2. */
static const lc_lora_parts two_parts = {
    .count = 2,
    .part = {{.row = 0, .out = 2, .slot = 0, .width = 2, .module = 1, .scale = 2, .db = data[10]},
             {.row = 3, .out = 2, .slot = 2, .width = 1, .module = 2, .scale = 3, .db = data[11]}}};

#define REFUSES_PARTS(op)                                                                         \
    do {                                                                                          \
        REFUSES(op, bad.parts.count = 0, "parts.count", "parts.count is 0, expected at least 1"); \
        REFUSES(op, bad.parts.count = 4, "parts.count", "parts.count is 4, expected at most 3");  \
        REFUSES(op, bad.parts.count = 1, "parts.width", "parts.width in all is 2, expected 3");   \
        REFUSES(op, bad.parts.part[1].slot = 1, "parts.slot", "parts.slot is 1, expected 2");     \
        REFUSES(op, bad.parts.part[0].width = 0, "parts.width", "parts.width is 0");              \
        REFUSES(op, bad.parts.part[1].row = 1, "parts.row",                                       \
                "parts.row is 1, expected at least 2");                                           \
        REFUSES(op, bad.parts.part[0].out = 0, "parts.out", "parts.out is 0");                    \
        REFUSES(op, bad.parts.part[0].module = -1, "parts.module", "parts.module is -1");         \
        REFUSES(op, bad.parts.part[1].scale = INFINITY, "parts.scale", "parts.scale is inf");     \
    } while (0)

static const uint32_t mask_key[2] = {1, 2};
static const lc_dropout half_dropped = {
    .p = 0.5f, .key = mask_key, .example = examples, .position = positions};

static void test_linear_backward(void **state)
{
    (void)state;
    const lc_linear_backward_args good = {
        .dy = mat(0, 3, 5), .w = mat(1, 5, 8), .dx = mat(2, 3, 8)};
    ACCEPTS(linear_backward, other.accumulate = true; other.w.dtype = LC_BF16);
    REFUSES_MAT(linear_backward, dy);
    REFUSES_MAT(linear_backward, w);
    REFUSES_SHAPE(linear_backward, dx);
    REFUSES(linear_backward, bad.w.rows = 4, "w", "w.rows is 4, expected 5");
    ACCEPTS(linear_backward, other.tail = 4);
    REFUSES(linear_backward, bad.tail = 5, "tail", "tail is 5, expected below 5");
    const lc_lora_dy_args side = {
        .sb = mat(1, 5, 3), .s = mat(3, 3, 3), .ds = mat(4, 3, 3), .parts = two_parts};
    lc_lora_dy_args other_side = side;
    ACCEPTS(linear_backward, other.lora = &side);
    ACCEPTS(linear_backward, other.lora = &side; other.tail = 3; other.dy = mat(0, 3, 8);
            other.w = mat(1, 8, 8));
    ACCEPTS(linear_backward, other.lora = &side; other.dx_tail = mat(5, 3, 3));
    REFUSES(linear_backward, bad.lora = &side; bad.tail = 2, "tail", "tail is 2, expected 3");
    REFUSES(linear_backward, bad.lora = &side;
            bad.dx_tail = mat(5, 3, 2), "dx_tail", "dx_tail.cols is 2, expected 3");
    other_side.ds.rows = 2;
    REFUSES(linear_backward, bad.lora = &other_side, "ds", "ds.rows is 2, expected 3");
}

static void test_lora_forward(void **state)
{
    (void)state;
    const lc_lora_forward_args good = {.x = mat(0, 3, 8),
                                       .a = mat(1, 3, 8),
                                       .s = mat(2, 3, 3),
                                       .saved = mat(4, 3, 3),
                                       .parts = two_parts,
                                       .dropout = half_dropped,
                                       .x_dropped = mat(3, 3, 8)};
    ACCEPTS(lora_forward, other.dropout.p = 0; other.x_dropped.data = NULL;
            other.dropout.example = NULL; other.dropout.key = NULL);
    ACCEPTS(lora_forward, other.saved.data = NULL);
    REFUSES_MAT(lora_forward, x);
    REFUSES_MAT(lora_forward, a);
    REFUSES_SHAPE(lora_forward, s);
    REFUSES_SHAPE(lora_forward, x_dropped);
    REFUSES(lora_forward, bad.saved.cols = 2, "saved", "saved.cols is 2, expected 3");
    REFUSES_DROPOUT(lora_forward);
    REFUSES_PARTS(lora_forward);
}

static void test_lora_dy(void **state)
{
    (void)state;
    const lc_lora_dy_args good = {.dy = mat(0, 3, 5),
                                  .sb = mat(1, 5, 3),
                                  .s = mat(2, 3, 3),
                                  .ds = mat(3, 3, 3),
                                  .parts = two_parts};
    ACCEPTS(lora_dy, other.dy.rows = other.s.rows = other.ds.rows = 0);
    REFUSES_MAT(lora_dy, dy);
    REFUSES_MAT(lora_dy, sb);
    REFUSES_SHAPE(lora_dy, s);
    REFUSES_SHAPE(lora_dy, ds);
    REFUSES(lora_dy, bad.sb.rows = 4, "sb", "sb.rows is 4, expected 5");
    REFUSES(lora_dy, bad.parts.part[1].out = 3, "parts.row",
            "parts.row at the end is 6, expected at most 5");
    REFUSES(lora_dy, bad.parts.part[0].db = NULL, "parts.db", "parts.db is NULL");
    REFUSES_PARTS(lora_dy);
}

static void test_lora_dx(void **state)
{
    (void)state;
    const lc_lora_dx_args good = {.x = mat(0, 3, 8),
                                  .ds = mat(1, 3, 3),
                                  .da = data[2],
                                  .rstd = data[4],
                                  .norm_weight = data[5],
                                  .normed = mat(6, 3, 8),
                                  .parts = two_parts,
                                  .dropout = half_dropped,
                                  .x_dropped = mat(3, 3, 8)};
    ACCEPTS(lora_dx, other.dropout.p = 0; other.x_dropped.data = NULL);
    ACCEPTS(lora_dx, other.rstd = NULL; other.norm_weight = NULL; other.normed.data = NULL);
    REFUSES_MAT(lora_dx, x);
    REFUSES_MAT(lora_dx, ds);
    REFUSES_NULL(lora_dx, da);
    REFUSES_NULL(lora_dx, norm_weight);
    REFUSES_SHAPE(lora_dx, normed);
    REFUSES_SHAPE(lora_dx, x_dropped);
    REFUSES_DROPOUT(lora_dx);
    REFUSES_PARTS(lora_dx);
}

static void test_lora_dropout_backward(void **state)
{
    (void)state;
    const lc_lora_dropout_backward_args good = {.ds = mat(0, 3, 3),
                                                .a = mat(1, 3, 8),
                                                .parts = two_parts,
                                                .dropout = half_dropped,
                                                .product = mat(2, 3, 8),
                                                .dx = mat(3, 3, 8)};
    ACCEPTS(lora_dropout_backward, other.a.dtype = LC_BF16);
    REFUSES_MAT(lora_dropout_backward, ds);
    REFUSES_MAT(lora_dropout_backward, a);
    REFUSES_SHAPE(lora_dropout_backward, product);
    REFUSES_SHAPE(lora_dropout_backward, dx);
    REFUSES_DROPOUT(lora_dropout_backward);
    REFUSES_PARTS(lora_dropout_backward);
    REFUSES(lora_dropout_backward, bad.dropout.p = 0.0f, "dropout.p",
            "dropout.p is 0, expected above 0");
}

static void test_norm_dropped(void **state)
{
    (void)state;
    const lc_rmsnorm_backward_args good = {.dy = mat(0, 3, 8),
                                           .x = mat(1, 3, 8),
                                           .weight = data[2],
                                           .rstd = data[3],
                                           .dx = mat(4, 3, 8)};
    const lc_lora_dropout_backward_args dropped = {.ds = mat(5, 3, 3),
                                                   .a = mat(6, 3, 8),
                                                   .parts = two_parts,
                                                   .dropout = half_dropped,
                                                   .product = mat(7, 3, 8),
                                                   .dx = good.dy};
    lc_lora_dropout_backward_args elsewhere = dropped, narrow = dropped;
    elsewhere.dx = mat(8, 3, 8);
    narrow.dx.cols = 7;
    ACCEPTS(rmsnorm_backward, other.dropped = &dropped);
    REFUSES(rmsnorm_backward, bad.dropped = &elsewhere, "dropped.dx",
            "dropped.dx lies elsewhere than the gradient");
    REFUSES(rmsnorm_backward, bad.dropped = &narrow, "dropped.dx",
            "dropped.dx.cols is 7, expected 8");
}

static void test_publish(void **state)
{
    (void)state;
    const lc_publish_slot slot = {.a = data[0],
                                  .b = data[1],
                                  .w_a = data[2],
                                  .w_b = data[3],
                                  .ld = 12,
                                  .in = 8,
                                  .out = 5,
                                  .width = 2,
                                  .scale = 2};
    const lc_lora_publish_args good = {
        .slots = &slot, .count = 1, .most_elements = 26, .dtype = LC_F32};
    ACCEPTS(lora_publish, other.dtype = LC_BF16);
    ACCEPTS(lora_publish, other.count = 0; other.slots = NULL);
    REFUSES(lora_publish, bad.count = -1, "count", "count is -1");
    REFUSES(lora_publish, bad.dtype = LC_F16, "dtype", "dtype has dtype F16");
    REFUSES_NULL(lora_publish, slots);
}

static void test_rope(void **state)
{
    (void)state;
    {
        const lc_qk_rope_args good = {.x = mat(0, 3, 12),
                                      .y = mat(1, 3, 12),
                                      .q_heads = 2,
                                      .k_heads = 1,
                                      .head_dim = 4,
                                      .q_norm = data[2],
                                      .k_norm = data[3],
                                      .cos = data[4],
                                      .sin = data[5],
                                      .rstd = data[6]};
        ACCEPTS(qk_rope, other.q_norm = other.k_norm = NULL; other.rstd = NULL; other.y = other.x);
        ACCEPTS(qk_rope, other.cos = other.sin = NULL);
        REFUSES_SHAPE(qk_rope, y);
        REFUSES(qk_rope, bad.x.cols = 13, "x", "x.cols is 13, expected 12");
        REFUSES(qk_rope, bad.x.data = NULL, "x", "x is NULL");
        REFUSES(qk_rope, bad.y = bad.x, "y", "y is x, expected other memory where there is a norm");
        REFUSES(qk_rope, bad.head_dim = 3, "head_dim",
                "head_dim is 3, expected an even number in 1..512");
        REFUSES(qk_rope, bad.head_dim = LC_MAX_HEAD_DIM + 2, "head_dim", "head_dim is 514");
        REFUSES(qk_rope, bad.q_heads = -1, "q_heads", "q_heads is -1, expected at least 0");
        REFUSES(qk_rope, bad.k_heads = -1, "k_heads", "k_heads is -1");
        REFUSES(qk_rope, bad.eps = -1.0f, "eps", "eps is -1");
        REFUSES_NULL(qk_rope, cos);
        REFUSES_NULL(qk_rope, sin);
        REFUSES_NULL(qk_rope, rstd);
    }
    const lc_qk_rope_backward_args good = {.x = mat(0, 3, 12),
                                           .dy = mat(1, 3, 12),
                                           .q_heads = 2,
                                           .k_heads = 1,
                                           .head_dim = 4,
                                           .q_norm = data[2],
                                           .cos = data[4],
                                           .sin = data[5],
                                           .rstd = data[6]};
    ACCEPTS(qk_rope_backward, other.q_norm = NULL; other.rstd = NULL; other.x.data = NULL);
    REFUSES_SHAPE(qk_rope_backward, x);
    const lc_lora_dy_args side = {.dy = good.dy,
                                  .sb = mat(1, 12, 3),
                                  .s = mat(3, 3, 3),
                                  .ds = mat(4, 3, 3),
                                  .parts = two_parts};
    lc_lora_dy_args other_side = side;
    ACCEPTS(qk_rope_backward, other.lora = &side);
    other_side.dy = mat(5, 3, 12);
    REFUSES(qk_rope_backward, bad.lora = &other_side, "lora.dy", "lora.dy lies elsewhere than dy");
    other_side.dy = good.dy;
    other_side.dy.cols = 8;
    REFUSES(qk_rope_backward, bad.lora = &other_side, "lora.dy",
            "lora.dy.cols is 8, expected at least 12");
    REFUSES(qk_rope_backward, bad.dy.cols = 8, "dy", "dy.cols is 8, expected 12");
    REFUSES(qk_rope_backward, bad.head_dim = 0, "head_dim", "head_dim is 0");
    REFUSES_NULL(qk_rope_backward, sin);
    REFUSES_NULL(qk_rope_backward, rstd);
}

/* The checks that both attention ops make of their shape. */
#define REFUSES_HEADS(op, where)                                                               \
    do {                                                                                       \
        REFUSES(op, bad.where heads = 0, "heads", "heads is 0, expected at least 1");          \
        REFUSES(op, bad.where heads = 3, "heads",                                              \
                "heads is 3, expected a multiple of kv_heads = 2");                            \
        REFUSES(op, bad.where kv_heads = 0, "kv_heads", "kv_heads is 0, expected at least 1"); \
        REFUSES(op, bad.where head_dim = 0, "head_dim", "head_dim is 0, expected 1..512");     \
        REFUSES(op, bad.where head_dim = 513, "head_dim", "head_dim is 513, expected 1..512"); \
        REFUSES(op, bad.where window = -1, "window", "window is -1, expected at least 0");     \
        REFUSES(op, bad.where scale = NAN, "scale", "scale is nan, expected a finite number"); \
    } while (0)

static const int32_t not_first[] = {1, 1, 3}, falling[] = {0, 4, 3}, too_short[] = {0, 1, 2};

#define REFUSES_DOCUMENTS(op)                                                                   \
    do {                                                                                        \
        REFUSES(op, bad.shape.documents.count = 0, "documents.count", "documents.count is 0");  \
        REFUSES(op, bad.shape.documents.cu_seqlens = NULL, "cu_seqlens", "cu_seqlens is NULL"); \
        REFUSES(op, bad.shape.documents.cu_seqlens = not_first, "cu_seqlens",                   \
                "cu_seqlens[0] is 1, expected 0");                                              \
        REFUSES(op, bad.shape.documents.shared_rows = 1, "cu_seqlens",                          \
                "cu_seqlens[0] is 0, expected 1");                                              \
        REFUSES(op, bad.shape.documents.shared_rows = -1, "shared_rows", "shared_rows is -1");  \
        REFUSES(op, bad.shape.documents.cu_seqlens = falling, "cu_seqlens",                     \
                "cu_seqlens[2] is 3, expected at least cu_seqlens[1] = 4");                     \
        REFUSES(op, bad.shape.documents.cu_seqlens = too_short, "cu_seqlens",                   \
                "cu_seqlens at its end is 2, expected 3");                                      \
    } while (0)

static void test_attention(void **state)
{
    (void)state;
    const int32_t cu_seqlens[] = {0, 1, 3}, none[] = {0};
    const lc_attention_shape shape = {.heads = 4,
                                      .kv_heads = 2,
                                      .head_dim = 3,
                                      .scale = 1,
                                      .documents = {.count = 2, .cu_seqlens = cu_seqlens}};
    {
        const lc_attention_args good = {.shape = shape,
                                        .q = mat(0, 3, 12),
                                        .k = mat(1, 3, 6),
                                        .v = mat(2, 3, 6),
                                        .out = mat(3, 3, 12),
                                        .lse = data[4]};
        ACCEPTS(attention, other.lse = NULL);
        ACCEPTS(attention, other.q.rows = other.k.rows = other.v.rows = other.out.rows = 0;
                other.shape.documents.count = 0; other.shape.documents.cu_seqlens = none);
        REFUSES_HEADS(attention, shape.);
        REFUSES_DOCUMENTS(attention);
        REFUSES_SHAPE(attention, k);
        REFUSES_SHAPE(attention, v);
        REFUSES_SHAPE(attention, out);
        REFUSES(attention, bad.q.cols = 11, "q", "q.cols is 11, expected 12");
    }
    const lc_attention_backward_args good = {.shape = shape,
                                             .q = mat(0, 3, 12),
                                             .k = mat(1, 3, 6),
                                             .v = mat(2, 3, 6),
                                             .out = mat(3, 3, 12),
                                             .dout = mat(4, 3, 12),
                                             .lse = data[5],
                                             .delta = data[6],
                                             .dq = mat(7, 3, 12),
                                             .dk = mat(8, 3, 6),
                                             .dv = mat(9, 3, 6)};
    ACCEPTS(attention_backward, (void)other);
    REFUSES_HEADS(attention_backward, shape.);
    REFUSES_DOCUMENTS(attention_backward);
    REFUSES_SHAPE(attention_backward, k);
    REFUSES_SHAPE(attention_backward, v);
    REFUSES_SHAPE(attention_backward, out);
    REFUSES_SHAPE(attention_backward, dout);
    REFUSES_SHAPE(attention_backward, dq);
    REFUSES_SHAPE(attention_backward, dk);
    REFUSES_SHAPE(attention_backward, dv);
    REFUSES_NULL(attention_backward, lse);
    REFUSES_NULL(attention_backward, delta);
    REFUSES(attention_backward, bad.q.dtype = LC_BF16, "q", "q has dtype BF16");
}

static void test_cache_append(void **state)
{
    (void)state;
    int32_t slots[] = {0, 1}, places[] = {3, 0};
    const lc_cache_append_args good = {.slots = slots,
                                       .positions = places,
                                       .slot_rows = 4,
                                       .k = mat(0, 2, 6),
                                       .v = mat(1, 2, 6),
                                       .k_cache = mat(2, 8, 6),
                                       .v_cache = mat(3, 8, 6)};
    ACCEPTS(cache_append, (void)other);
    REFUSES_MAT(cache_append, k);
    REFUSES_SHAPE(cache_append, v);
    REFUSES_SHAPE(cache_append, v_cache);
    REFUSES_NULL(cache_append, slots);
    REFUSES_NULL(cache_append, positions);
    REFUSES(cache_append, bad.slot_rows = 3, "k_cache",
            "k_cache.rows is 8, expected a multiple of slot_rows = 3");
    REFUSES(cache_append, bad.slot_rows = 0, "slot_rows", "slot_rows is 0");
    REFUSES(cache_append, bad.k_cache.strip = 8, "k_cache", "k_cache.strip is 8, expected 16");
    REFUSES(cache_append, bad.k_cache.strip = 16, "slot_rows", "slot_rows % strip is 4");
    REFUSES(cache_append, bad.v_cache.strip = 16, "v_cache", "v_cache.strip is 16, expected 0");
    slots[1] = 2;
    REFUSES(cache_append, (void)bad, "slots", "slots[1] is 2, expected -1..1");
    slots[1] = 0;
    places[0] = 4;
    REFUSES(cache_append, (void)bad, "positions", "positions[0] is 4, expected 0..3");
}

static void test_attention_cached(void **state)
{
    (void)state;
    int32_t slots[] = {0, 1}, places[] = {3, 0};
    const lc_attention_cached_args good = {.heads = 4,
                                           .kv_heads = 2,
                                           .head_dim = 3,
                                           .scale = 1,
                                           .slots = slots,
                                           .positions = places,
                                           .slot_rows = 4,
                                           .q = mat(0, 2, 12),
                                           .k_cache = mat(1, 8, 6),
                                           .v_cache = mat(2, 8, 6),
                                           .out = mat(3, 2, 12)};
    ACCEPTS(attention_cached, (void)other);
    REFUSES_HEADS(attention_cached, );
    REFUSES_SHAPE(attention_cached, out);
    REFUSES_SHAPE(attention_cached, v_cache);
    REFUSES_NULL(attention_cached, slots);
    REFUSES_NULL(attention_cached, positions);
    REFUSES(attention_cached, bad.slot_rows = 0, "slot_rows",
            "slot_rows is 0, expected at least 1");
    REFUSES(attention_cached, bad.slot_rows = 3, "k_cache",
            "k_cache.rows is 8, expected a multiple of slot_rows = 3");
    slots[1] = 2;
    REFUSES(attention_cached, (void)bad, "slots", "slots[1] is 2, expected -1..1");
    slots[1] = 0;
    places[0] = 4;
    REFUSES(attention_cached, (void)bad, "positions", "positions[0] is 4, expected 0..3");
}

static void test_rows(void **state)
{
    (void)state;
    int32_t rows[] = {0, 4};
    {
        const lc_swiglu_args good = {.gate_up = mat(0, 3, 10), .y = mat(1, 3, 5)};
        const lc_lora_forward_args lora = {
            .a = mat(2, 3, 5), .s = mat(3, 3, 3), .parts = two_parts};
        lc_lora_forward_args narrow = lora;
        narrow.s.cols = 2;
        ACCEPTS(swiglu, other.lora = &lora);
        REFUSES(swiglu, bad.lora = &narrow, "s", "s.cols is 2, expected 3");
        REFUSES_MAT(swiglu, y);
        REFUSES_SHAPE(swiglu, gate_up);
    }
    {
        const lc_swiglu_backward_args good = {.gate_up = mat(0, 3, 10), .dy = mat(1, 3, 5)};
        const lc_lora_dx_args down = {
            .x = mat(2, 3, 5), .ds = mat(3, 3, 3), .da = data[4], .parts = two_parts};
        const lc_lora_dy_args gate_up = {
            .sb = mat(5, 10, 3), .s = mat(6, 3, 3), .ds = mat(7, 3, 3), .parts = two_parts};
        lc_lora_dx_args short_x = down;
        lc_lora_dy_args low_sb = gate_up;
        short_x.x.rows = 2;
        low_sb.sb.rows = 5;
        ACCEPTS(swiglu_backward, other.lora_down = &down; other.lora_gate_up = &gate_up);
        const lc_lora_dropout_backward_args dropped = {.ds = down.ds,
                                                       .a = mat(8, 3, 5),
                                                       .parts = two_parts,
                                                       .dropout = half_dropped,
                                                       .product = mat(9, 3, 5),
                                                       .dx = good.dy};
        lc_lora_dropout_backward_args elsewhere = dropped;
        elsewhere.dx = mat(6, 3, 5);
        ACCEPTS(swiglu_backward, other.dropped = &dropped);
        REFUSES(swiglu_backward, bad.dropped = &elsewhere, "dropped.dx",
                "dropped.dx lies elsewhere than the gradient");
        REFUSES(swiglu_backward, bad.lora_down = &short_x, "lora_down.x",
                "lora_down.x.rows is 2, expected 3");
        REFUSES(swiglu_backward, bad.lora_gate_up = &low_sb, "sb", "sb.rows is 5, expected 10");
        REFUSES_MAT(swiglu_backward, dy);
        REFUSES_SHAPE(swiglu_backward, gate_up);
    }
    {
        const lc_gather_rows_args good = {.x = mat(0, 5, 4), .rows = rows, .y = mat(1, 2, 4)};
        ACCEPTS(gather_rows, (void)other);
        REFUSES_MAT(gather_rows, x);
        REFUSES_MAT(gather_rows, y);
        REFUSES_NULL(gather_rows, rows);
        REFUSES(gather_rows, bad.y.cols = 3, "y", "y.cols is 3, expected 4");
        REFUSES(gather_rows, bad.x.rows = 4, "rows", "rows[1] is 4, expected -1..3");
        const int32_t first = rows[0];
        rows[0] = -1;
        ACCEPTS(gather_rows, (void)other);
        rows[0] = -2;
        REFUSES(gather_rows, (void)bad, "rows", "rows[0] is -2, expected -1..4");
        rows[0] = first;
    }
    const lc_scatter_rows_args good = {.x = mat(0, 2, 4), .rows = rows, .y = mat(1, 5, 4)};
    ACCEPTS(scatter_rows, (void)other);
    REFUSES_MAT(scatter_rows, x);
    REFUSES_MAT(scatter_rows, y);
    REFUSES_NULL(scatter_rows, rows);
    REFUSES(scatter_rows, bad.y.cols = 3, "y", "y.cols is 3, expected 4");
    REFUSES(scatter_rows, bad.y.rows = 4, "rows", "rows[1] is 4, expected 0..3");
    rows[0] = 4;
    REFUSES(scatter_rows, (void)bad, "rows", "rows[1] is 4, expected above rows[0] = 4");
}

static void test_sample(void **state)
{
    (void)state;
    static const lc_sample_row rows[2] = {{.sharpness = 0.0f}, {.sharpness = 1.0f}};
    int32_t ids[2];
    const lc_sample_args good = {
        .logits = mat(0, 2, 7), .rows = rows, .positions = positions, .ids = ids};
    ACCEPTS(sample, (void)other);
    ACCEPTS(sample, other.logits.rows = 0; other.rows = NULL; other.ids = NULL);
    REFUSES_MAT(sample, logits);
    REFUSES_NULL(sample, rows);
    REFUSES_NULL(sample, positions);
    REFUSES_NULL(sample, ids);
    REFUSES(sample, bad.logits.cols = bad.logits.ld = LC_MAX_SAMPLE_VOCAB + 1, "logits",
            "logits.cols is 1048577, expected at most 1048576");
}

static void test_advance(void **state)
{
    (void)state;
    int32_t chosen[2] = {5, -1}, slots[2] = {0, -1}, places[2] = {3, 4}, out[4][2];
    const lc_advance_args good = {.count = 2,
                                  .chosen = chosen,
                                  .slots = slots,
                                  .chosen_positions = places,
                                  .cos_by_position = lc_mat_f32(data[0], 5, 8, 8),
                                  .sin_by_position = lc_mat_f32(data[1], 5, 8, 8),
                                  .ids = out[0],
                                  .positions = out[1],
                                  .row_slots = out[2],
                                  .rows = out[3],
                                  .cos = data[2],
                                  .sin = data[3]};
    ACCEPTS(advance, (void)other);
    ACCEPTS(advance, other.cos = other.sin = NULL);
    ACCEPTS(advance, other.count = 0; other.chosen = NULL; other.ids = NULL);
    REFUSES(advance, bad.count = -1, "count", "count is -1, expected at least 0");
    REFUSES_NULL(advance, chosen);
    REFUSES_NULL(advance, slots);
    REFUSES_NULL(advance, chosen_positions);
    REFUSES_NULL(advance, ids);
    REFUSES_NULL(advance, positions);
    REFUSES_NULL(advance, row_slots);
    REFUSES_NULL(advance, rows);
    REFUSES_NULL(advance, sin);
    REFUSES(advance, bad.cos_by_position.ld = 9, "cos", "cos.ld is 9, expected 8");
    REFUSES(advance, bad.cos_by_position.rows = 0, "cos", "cos.rows is 0, expected at least 1");
    REFUSES(advance, bad.sin_by_position.rows = 4, "sin", "sin.rows is 4, expected 5");
    REFUSES(advance, bad.sin_by_position.cols = bad.sin_by_position.ld = 6, "sin",
            "sin.cols is 6, expected 8");
}

static void test_cross_entropy(void **state)
{
    (void)state;
    int32_t targets[] = {0, 6};
    const lc_cross_entropy_args good = {.logits = mat(0, 2, 7),
                                        .targets = targets,
                                        .weights = data[1],
                                        .nll = data[2],
                                        .correct = data[3]};
    ACCEPTS(cross_entropy, other.gradient = true);
    ACCEPTS(cross_entropy, other.logits.rows = 0; other.targets = NULL; other.nll = NULL);
    REFUSES_MAT(cross_entropy, logits);
    REFUSES_NULL(cross_entropy, targets);
    REFUSES_NULL(cross_entropy, weights);
    REFUSES_NULL(cross_entropy, nll);
    REFUSES_NULL(cross_entropy, correct);
    REFUSES(cross_entropy, bad.logits.cols = 6, "targets", "targets[1] is 6, expected 0..5");
}

static void test_optimizer(void **state)
{
    (void)state;
    lc_sums sums = {0};
    lc_update update = {0};
    const lc_step_values values = {.weight = 1, .learning_rate = 1e-3};
    {
        const lc_add_sums_args good = {
            .nll = data[0], .correct = data[1], .weights = data[2], .count = 4, .sums = &sums};
        ACCEPTS(add_sums, other.count = 0; other.nll = other.correct = other.weights = NULL);
        REFUSES_NULL(add_sums, nll);
        REFUSES_NULL(add_sums, correct);
        REFUSES_NULL(add_sums, weights);
        REFUSES_NULL(add_sums, sums);
        REFUSES(add_sums, bad.count = -1, "count", "count is -1, expected at least 0");
    }
    const lc_adamw_args good = {.param = data[0],
                                .grad = data[1],
                                .m = data[2],
                                .v = data[3],
                                .count = 4,
                                .sums = &sums,
                                .values = &values,
                                .update = &update,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .eps = 1e-8};
    ACCEPTS(adamw, other.count = 0; other.param = NULL);
    REFUSES_NULL(adamw, param);
    REFUSES_NULL(adamw, grad);
    REFUSES_NULL(adamw, m);
    REFUSES_NULL(adamw, v);
    REFUSES(adamw, bad.count = -1, "count", "count is -1, expected at least 0");
    REFUSES_NULL(adamw, sums);
    REFUSES_NULL(adamw, values);
    REFUSES_NULL(adamw, update);
    REFUSES(adamw, bad.beta1 = 1.0, "beta1", "beta1 is 1, expected 0 <= beta1 < 1");
    REFUSES(adamw, bad.beta2 = -0.1, "beta2", "beta2 is -0.1");
    REFUSES(adamw, bad.eps = NAN, "eps", "eps is nan");
    REFUSES(adamw, bad.weight_decay = -1.0, "weight_decay", "weight_decay is -1");
    REFUSES(adamw, bad.clip = INFINITY, "clip", "clip is inf");
}

/* A GPU's rules: one element type, rows that begin at multiples of 16 bytes. */
static void test_alignment(void **state)
{
    (void)state;
    const lc_op_rules rules = {.activation = LC_BF16, .weights = 1u << LC_BF16, .alignment = 16};
    const lc_mat x = {data[0], 3, 24, 32, LC_BF16, 0}, w = {data[1], 5, 24, 24, LC_BF16, 0},
                 y = {data[2], 3, 5, 8, LC_BF16, 0};
    const lc_linear_args good = {.x = x, .w = w, .y = y};
    assert_ok(lc_linear_check(&good, &rules, &test_err)); /* 5 is the vocabulary's width */
    lc_linear_args bad = good;
    bad.x.data = (char *)data[0] + 8;
    assert_fails(lc_linear_check(&bad, &rules, &test_err), LC_ERR_INTERNAL,
                 "linear: x in memory is 8, expected 0 bytes past a multiple of 16");
    bad = good;
    bad.w.ld = 28;
    assert_fails(lc_linear_check(&bad, &rules, &test_err), LC_ERR_INTERNAL,
                 "linear: w.ld is 28, expected a multiple of 8");
    bad = good;
    bad.x.cols = bad.w.cols = 20;
    assert_fails(lc_linear_check(&bad, &rules, &test_err), LC_ERR_INTERNAL,
                 "linear: x.cols is 20, expected a multiple of 8");
    bad = good;
    bad.w.dtype = LC_F32;
    assert_fails(lc_linear_check(&bad, &rules, &test_err), LC_ERR_INTERNAL,
                 "linear: w has dtype F32, expected BF16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_linear_backward),
        cmocka_unit_test(test_lora_forward),
        cmocka_unit_test(test_lora_dy),
        cmocka_unit_test(test_lora_dx),
        cmocka_unit_test(test_lora_dropout_backward),
        cmocka_unit_test(test_norm_dropped),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_cache_append),
        cmocka_unit_test(test_publish),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_cached),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_advance),
        cmocka_unit_test(test_optimizer),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
