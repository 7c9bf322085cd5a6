/* Op cases: rotation with q/k norm, attention packed and cached. */
#include "cases_draw.h"

/* 8..256 and odd multiples of 8; `even` for rope. */
static int64_t any_head_dim(const op_case *c, bool even)
{
    static const int64_t dims[] = {8, 16, 24, 32, 40, 64, 72, 80, 96, 128, 136, 256};
    if (c->is_gpu) {
        return dims[test_int(0, 11)];
    }
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
                          .dim = any_head_dim(c, true),
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

void draw_qk_rope(op_case *c)
{
    const rope_shape s = draw_rope_shape(c);
    const int64_t width = (s.q_heads + s.k_heads) * s.dim;
    const bool in_place = s.norms == 0 && test_int(0, 1) == 0;
    (void)add_act(c, "x", in_place ? ROLE_ACC : ROLE_IN, s.rows, width, -2, 2);
    c->real[0] = in_place ? 0 : add_act(c, "y", ROLE_OUT, s.rows, width, 0, 0);
    c->number[7] = -1;
    if (s.norms != 0) { /* heads without a norm have no factor, then the array is not compared */
        const bool all = s.norms == 3 || (s.norms == 1 && s.k_heads == 0);
        c->number[7] = add_array(c, "rstd", all ? ROLE_OUT : ROLE_SCRATCH, LC_F32,
                                 s.rows * (s.q_heads + s.k_heads), 0, 0);
    }
    draw_rope_arrays(c, &s);
}

lc_code run_qk_rope(op_case *c, lc_device *device, lc_err *err)
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

/* Adapters of q, k and v, now and then one of them without. */
static void draw_qkv_parts(op_case *c, const rope_shape *s)
{
    static const int32_t ranks[] = {5, 16, 16, 32, 64, 80};
    const int64_t heads[] = {s->q_heads, s->k_heads, s->k_heads};
    const int32_t rank = ranks[test_int(0, 5)], width = c->is_gpu ? (rank + 15) / 16 * 16 : rank;
    const int64_t without = test_int(0, 11);
    int32_t row = 0;
    c->parts = (lc_lora_parts){.count = 0};
    c->tail = 0;
    for (int i = 0; i < 3; i++) {
        const int32_t out = (int32_t)(heads[i] * s->dim);
        if (out > 0 && i != without) {
            c->parts.part[c->parts.count++] = (lc_lora_part){.row = row,
                                                             .out = out,
                                                             .slot = (int32_t)c->tail,
                                                             .width = width,
                                                             .module = i,
                                                             .scale = 0.5f};
            c->tail += width;
        }
        row += out;
    }
}

/* real[1]: the first tensor of lora's output side, 0: none. */
void draw_qk_rope_backward(op_case *c)
{
    const rope_shape s = draw_rope_shape(c);
    const int64_t heads = s.q_heads + s.k_heads, wide = (heads + s.k_heads) * s.dim;
    (void)add_act(c, "x", ROLE_IN, s.rows, heads * s.dim, -2, 2);
    (void)add_act(c, "dy", ROLE_ACC, s.rows, wide, -1, 1);
    c->number[7] = add_array(c, "rstd", ROLE_IN, LC_F32, s.rows * heads, 0, 1);
    for (int64_t i = 0; i < s.rows * heads; i++) {
        const double rstd = saved_rstd(&c->tensors[0], i / heads, i % heads * s.dim, s.dim, 1e-6);
        set_element(&c->tensors[c->number[7]], 0, i, rstd);
    }
    draw_rope_arrays(c, &s);
    draw_qkv_parts(c, &s);
    c->real[1] = 0;
    if (c->parts.count > 0 && c->trial % 3 > 0) {
        c->is_rounded = true; /* dx, of which dS is made */
        c->real[1] = draw_output_side(c, s.rows, wide);
    }
}

lc_code run_qk_rope_backward(op_case *c, lc_device *device, lc_err *err)
{
    const lc_mat wide = view(c, 1);
    const lc_lora_dy_args lora = c->real[1] > 0 ? output_side(c, (int)c->real[1], wide)
                                                : (lc_lora_dy_args){.parts = {.count = 0}};
    const lc_qk_rope_backward_args args = {.x = view(c, 0),
                                           .dy =
                                               lc_mat_view(wide, 0, 0, wide.rows, view(c, 0).cols),
                                           .q_heads = (int32_t)c->number[0],
                                           .k_heads = (int32_t)c->number[1],
                                           .head_dim = (int32_t)c->number[2],
                                           .q_norm = pointer(c, (int)c->number[3]),
                                           .k_norm = pointer(c, (int)c->number[4]),
                                           .cos = pointer(c, (int)c->number[5]),
                                           .sin = pointer(c, (int)c->number[6]),
                                           .rstd = pointer(c, (int)c->number[7]),
                                           .lora = c->real[1] > 0 ? &lora : NULL};
    ON_DEVICE(qk_rope_backward, args)
    ref_qk_rope_backward(&args, 1e-6);
    if (args.lora != NULL) {
        ref_lora_dy(args.lora);
    }
    return LC_OK;
}

/* Documents of 0..60 tokens, in every third case one of 257..420 among them (longer than a key
 * block), in half of the cases behind a common beginning of up to 70 tokens or, once in a while,
 * about 300; the first tensor of the case holds the boundaries. */
static int64_t draw_documents(op_case *c)
{
    int32_t ends[64] = {0};
    const bool has_long = c->trial % 3 == 0;
    const int64_t kind = test_int(0, 9);
    ends[0] = (int32_t)(kind < 5 ? 0 : kind < 9 ? test_int(1, 70) : test_int(250, 330));
    const int documents = (int)test_int(1, has_long ? 3 : 8);
    const int long_one = has_long ? (int)test_int(0, documents - 1) : -1;
    for (int i = 0; i < documents; i++) {
        const int64_t length = i == long_one ? test_int(257, 420) : test_int(i == 0 ? 1 : 0, 60);
        ends[i + 1] = ends[i] + (int32_t)length;
    }
    const int at = add_array(c, "cu_seqlens", ROLE_IN, LC_I32, documents + 1, 0, 1);
    for (int i = 0; i <= documents; i++) {
        set_element(&c->tensors[at], 0, i, ends[i]);
    }
    c->attention.documents.count = documents;
    c->attention.documents.shared_rows = ends[0];
    return ends[documents];
}

static void draw_attention_shape(op_case *c, int64_t rows)
{
    static const int32_t windows[] = {0, 0, 0, 1, 2, 7, 64, 65, 100, 256, 300, 4096};
    c->attention.kv_heads = (int32_t)test_int(1, 3);
    c->attention.heads = c->attention.kv_heads * (int32_t)test_int(1, 3);
    c->attention.head_dim = (int32_t)any_head_dim(c, false);
    if (rows > 200) { /* keeps the reference fast */
        c->attention.kv_heads = (int32_t)test_int(1, 2);
        c->attention.heads = c->attention.kv_heads * (int32_t)test_int(1, 2);
        c->attention.head_dim = (int32_t)(c->is_gpu ? 8 * test_int(1, 3) : test_int(1, 24));
    }
    c->attention.window = c->trial == 0 ? 0 : windows[test_int(0, 11)];
    c->attention.scale = (float)test_uniform(0.05, 1.0);
    DESCRIBE(c, "N %d shared %d documents %d heads %d/%d D %d window %d", (int)rows,
             c->attention.documents.shared_rows, c->attention.documents.count, c->attention.heads,
             c->attention.kv_heads, c->attention.head_dim, c->attention.window);
}

static lc_attention_shape attention_shape(op_case *c)
{
    lc_attention_shape shape = c->attention;
    shape.documents.cu_seqlens = host_pointer(c, 0);
    if (c->reference || c->device == NULL || c->device->memory->layout_bytes(1) == 0) {
        return shape;
    }
    const int64_t rows = shape.documents.cu_seqlens[shape.documents.count];
    const size_t bytes = c->device->memory->layout_bytes(rows);
    void *layout = calloc(1, bytes);
    assert_non_null(layout);
    c->device->memory->lay_out(&shape.documents, rows, layout);
    shape.layout = for_device(c, layout, bytes);
    free(layout);
    return shape;
}

void draw_attention(op_case *c)
{
    const int64_t rows = draw_documents(c);
    draw_attention_shape(c, rows);
    c->is_rounded = true;
    const int64_t width = (int64_t)c->attention.heads * c->attention.head_dim;
    const int64_t kv_width = (int64_t)c->attention.kv_heads * c->attention.head_dim;
    add_act(c, "q", ROLE_IN, rows, width, -2, 2);
    add_act(c, "k", ROLE_IN, rows, kv_width, -2, 2);
    add_act(c, "v", ROLE_IN, rows, kv_width, -1, 1);
    add_act(c, "out", ROLE_OUT, rows, width, 0, 0);
    c->number[0] = -1;
    if (test_int(0, 3) > 0) {
        c->number[0] = add_array(c, "lse", ROLE_OUT, LC_F32, rows * c->attention.heads, 0, 0);
    }
}

lc_code run_attention(op_case *c, lc_device *device, lc_err *err)
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

/* In one case of three dout is to be completed, of one adapter; real[2]: its dS, then A and the
 * product, or 0. */
static void draw_dropped(op_case *c, int64_t rows, int64_t width)
{
    const int32_t rank = test_int(0, 1) == 0 ? 16 : 80;
    c->real[2] = 0;
    c->number[6] = -1;
    if (rows == 0 || test_int(0, 2) > 0) {
        return;
    }
    c->tensors[5].role = ROLE_ACC;
    c->parts = (lc_lora_parts){.count = 1,
                               .part = {{.out = 8, .width = rank, .module = 3, .scale = 1.0f}}};
    c->real[2] = add_act(c, "ds", ROLE_IN, rows, rank, -1, 1);
    (void)add_mat(c, "a", ROLE_IN, any_weight(c), rank, width, -0.2, 0.2);
    (void)add_act(c, "product", ROLE_SCRATCH, rows, width, 0, 0);
    draw_dropout(c, rows, true);
    const size_t used = strlen(c->shape);
    (void)snprintf(c->shape + used, sizeof c->shape - used, " rank %d p %g", rank,
                   (double)c->dropout.p);
    const double larger = 1.0 + 1.0 / (1.0 - (double)c->dropout.p); /* is dout then */
    c->tensors[6].least_rms *= larger;
    c->tensors[7].least_rms *= larger;
}

/* out and lse are what the reference's forward pass gives, rounded. */
void draw_attention_backward(op_case *c)
{
    const int64_t rows = draw_documents(c);
    draw_attention_shape(c, rows);
    c->is_rounded = true;
    const int64_t width = (int64_t)c->attention.heads * c->attention.head_dim;
    const int64_t kv_width = (int64_t)c->attention.kv_heads * c->attention.head_dim;
    add_act(c, "q", ROLE_IN, rows, width, -2, 2);
    add_act(c, "k", ROLE_IN, rows, kv_width, -2, 2);
    add_act(c, "v", ROLE_IN, rows, kv_width, -1, 1);
    add_act(c, "out", ROLE_IN, rows, width, -1, 1);
    add_act(c, "dout", ROLE_IN, rows, width, -1, 1);
    add_act(c, "dq", ROLE_OUT, rows, width, 0, 0);
    add_act(c, "dk", ROLE_OUT, rows, kv_width, 0, 0);
    add_act(c, "dv", ROLE_OUT, rows, kv_width, 0, 0);
    add_array(c, "lse", ROLE_IN, LC_F32, rows * c->attention.heads, 0, 0);
    add_array(c, "delta", ROLE_SCRATCH, LC_F32, rows * c->attention.heads, 0, 0);
    /* With a single key p is 1 and ds = dp - delta is 0 exactly, which no kernel meets; in BF16
     * delta is made of a rounded `out`. What p is off by is a score's rounding, which grows with
     * it. */
    const double part = c->activation == LC_BF16 ? 0.12 : 0.03;
    const double size = (double)c->attention.scale * sqrt((double)c->attention.head_dim);
    c->tensors[6].least_rms = c->tensors[7].least_rms = part * size * fmax(1.0, size / 4.0);
    const lc_attention_args forward = {.shape = attention_shape(c),
                                       .q = view(c, 1),
                                       .k = view(c, 2),
                                       .v = view(c, 3),
                                       .out = view(c, 4),
                                       .lse = pointer(c, 9)};
    ref_attention(&forward);
    draw_dropped(c, rows, width);
}

lc_code run_attention_backward(op_case *c, lc_device *device, lc_err *err)
{
    const int ds = (int)c->real[2];
    lc_lora_dropout_backward_args dropped = {.ds = view(c, ds)};
    if (ds > 0) {
        dropped = (lc_lora_dropout_backward_args){.ds = view(c, ds),
                                                  .a = view(c, ds + 1),
                                                  .parts = c->parts,
                                                  .dropout = dropout_of(c),
                                                  .product = view(c, ds + 2),
                                                  .dx = view(c, 5)};
    }
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
                                             .delta = pointer(c, 10),
                                             .dropped = ds > 0 ? &dropped : NULL};
    ON_DEVICE(attention_backward, args)
    if (ds > 0) {
        ref_lora_dropout_backward(&dropped);
    }
    ref_attention_backward(&args);
    return LC_OK;
}

void draw_cache_append(op_case *c)
{
    const int64_t slots = test_int(1, 4), slot_rows = whole_strips(c, test_int(1, 60)),
                  width = any_width(c, 200);
    add_keys(c, ROLE_ACC, slots, slot_rows, width);
    add_act(c, "v_cache", ROLE_ACC, slots * slot_rows, width, -1, 1);
    const int64_t rows = test_int(0, slots * slot_rows);
    add_act(c, "k", ROLE_IN, rows, width, -2, 2);
    add_act(c, "v", ROLE_IN, rows, width, -2, 2);
    add_array(c, "slots", ROLE_IN, LC_I32, rows, 0, 1);
    add_array(c, "positions", ROLE_IN, LC_I32, rows, 0, 1);
    /* Every place at most once, backwards in each slot. */
    for (int64_t i = 0; i < rows; i++) {
        set_element(&c->tensors[4], 0, i, (double)(i / slot_rows));
        set_element(&c->tensors[5], 0, i, (double)(slot_rows - 1 - i % slot_rows));
    }
    c->number[0] = slot_rows;
    DESCRIBE(c, "N %d slots %d x %d width %d", (int)rows, (int)slots, (int)slot_rows, (int)width);
}

lc_code run_cache_append(op_case *c, lc_device *device, lc_err *err)
{
    const lc_cache_append_args args = {.k_cache = view(c, 0),
                                       .v_cache = view(c, 1),
                                       .k = view(c, 2),
                                       .v = view(c, 3),
                                       .slots = pointer(c, 4),
                                       .positions = pointer(c, 5),
                                       .slot_rows = c->number[0]};
    ON_DEVICE(cache_append, args)
    ref_cache_append(&args);
    return LC_OK;
}

/* Prefill runs of consecutive positions and single decoding rows in one call. */
void draw_attention_cached(op_case *c)
{
    const bool is_long = c->trial % 4 == 1; /* keys in several parts */
    const int64_t slots = test_int(1, 4),
                  slot_rows = whole_strips(c, is_long ? test_int(500, 1500) : test_int(1, 400)),
                  rows = any_size(is_long ? 20 : 60);
    draw_attention_shape(c, rows);
    c->is_rounded = true;
    const int64_t width = (int64_t)c->attention.heads * c->attention.head_dim;
    const int64_t kv_width = (int64_t)c->attention.kv_heads * c->attention.head_dim;
    add_act(c, "q", ROLE_IN, rows, width, -2, 2);
    add_keys(c, ROLE_IN, slots, slot_rows, kv_width);
    add_act(c, "v_cache", ROLE_IN, slots * slot_rows, kv_width, -1, 1);
    add_act(c, "out", ROLE_OUT, rows, width, 0, 0);
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
        set_element(&c->tensors[4], 0, i, test_int(0, 9) == 0 ? -1.0 : (double)slot);
        set_element(&c->tensors[5], 0, i, (double)position);
    }
    DESCRIBE(c, "N %d slots %d x %d heads %d/%d D %d window %d", (int)rows, (int)slots,
             (int)slot_rows, c->attention.heads, c->attention.kv_heads, c->attention.head_dim,
             c->attention.window);
}

lc_code run_attention_cached(op_case *c, lc_device *device, lc_err *err)
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
