/*
 * lorac bench ops: every op of one layer, of the head and of the optimizer at a model's shapes, on
 * random numbers. Only config.json is read.
 */
#include <stdio.h>
#include <string.h>

#include "base/thread.h"
#include "cli/bench.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "lorac/log.h"
#include "lorac/mem.h"
#include "ops/backend.h"
#include "model/layout.h"
#include "model/weights.h"

#define MAX_TOKENS  (INT64_C(1) << 20)
#define HEAD_ROWS   256 /* rows of one chunk of logits, as the model has them */
#define LONGEST     4096
#define NAME_BYTES  64
#define MAX_SECONDS 60.0

typedef struct lc_bench_shape {
    lc_model_config config;
    lc_adapter_spec spec;
    int64_t tokens, length; /* rows; of each document */
} lc_bench_shape;

/* One linear group with everything that its ops want. */
typedef struct lc_bench_group {
    const char *label;
    lc_group_kind kind;
    lc_group_shape shape;
    lc_mat x, g, y, addend, saved; /* x and y with their borders behind them */
    lc_lora_parts parts;
    float *da, *rstd, *norm_weight;
    lc_mat normed;
} lc_bench_group;

static double element_bytes(const lc_bench *bench)
{
    return (double)lc_dtype_bytes(bench->dtype);
}

static int64_t with_border(int64_t cols, int64_t tail)
{
    return cols + (tail + 63) / 64 * 64;
}

/* ---- linear groups ---- */

static lc_code make_parts(lc_bench *bench, const lc_bench_shape *at, lc_bench_group *group,
                          lc_err *err)
{
    lc_module_kind first;
    int32_t count;
    lc_group_modules(group->kind, &first, &count);
    for (int32_t i = 0; i < count; i++) {
        const lc_module_kind module = (lc_module_kind)((int32_t)first + i);
        const lc_lora_slot *slot = &at->spec.slots[0][module];
        lc_lora_part *part = &group->parts.part[group->parts.count++];
        *part = (lc_lora_part){.row = group->shape.row_first[module],
                               .out = lc_module_out(&at->config, module),
                               .slot = group->shape.slot_first[module],
                               .width = slot->r16,
                               .module = (int32_t)module,
                               .scale = slot->scale};
        LC_TRY(lc_bench_floats(bench, (int64_t)part->out * part->width, &part->db, err));
    }
    return LC_OK;
}

static lc_code make_group(lc_bench *bench, const lc_bench_shape *at, lc_group_kind kind,
                          const char *label, lc_bench_group *group, lc_err *err)
{
    *group = (lc_bench_group){.label = label, .kind = kind};
    group->shape = lc_group_shape_of(&at->config, &at->spec, 0, kind);
    const lc_group_shape *s = &group->shape;
    const int64_t n = at->tokens;
    LC_TRY(make_parts(bench, at, group, err));
    LC_TRY(lc_bench_matrix(bench, n, s->in, with_border(s->in, s->tail), &group->x, err));
    LC_TRY(lc_bench_matrix(bench, s->rows, s->in + s->tail, s->ld, &group->g, err));
    LC_TRY(lc_bench_matrix(bench, n, s->out, with_border(s->out, s->tail), &group->y, err));
    LC_TRY(lc_bench_matrix(bench, n, s->tail, s->tail, &group->saved, err));
    LC_TRY(lc_bench_floats(bench, (int64_t)s->tail * s->in, &group->da, err));
    if (kind == LC_GROUP_O || kind == LC_GROUP_DOWN) {
        return lc_bench_matrix(bench, n, s->out, s->out, &group->addend, err);
    }
    LC_TRY(lc_bench_floats(bench, n, &group->rstd, err));
    LC_TRY(lc_bench_floats(bench, s->in, &group->norm_weight, err));
    return lc_bench_matrix(bench, n, s->in, s->in, &group->normed, err);
}

static lc_lora_forward_args forward_args(const lc_bench_group *group)
{
    const lc_group_shape *s = &group->shape;
    return (lc_lora_forward_args){.x = group->x,
                                  .a = lc_mat_view(group->g, s->out, 0, s->tail, s->in),
                                  .s = lc_mat_tail(group->x, s->tail),
                                  .saved = group->saved,
                                  .parts = group->parts};
}

static lc_lora_dy_args dy_args(const lc_bench_group *group)
{
    const lc_group_shape *s = &group->shape;
    return (lc_lora_dy_args){.dy = group->y,
                             .sb = lc_mat_view(group->g, 0, s->in, s->out, s->tail),
                             .s = group->saved,
                             .ds = lc_mat_tail(group->y, s->tail),
                             .parts = group->parts};
}

static lc_lora_dx_args dx_args(const lc_bench_group *group)
{
    return (lc_lora_dx_args){.x = group->x,
                             .ds = lc_mat_tail(group->y, group->shape.tail),
                             .da = group->da,
                             .rstd = group->rstd,
                             .norm_weight = group->norm_weight,
                             .normed = group->normed,
                             .parts = group->parts};
}

static lc_code bench_products(lc_bench *bench, const lc_bench_shape *at,
                              const lc_bench_group *group, lc_err *err)
{
    const lc_group_shape *s = &group->shape;
    const double n = (double)at->tokens;
    char name[NAME_BYTES];
    lc_mat x = group->x, dy = group->y;
    x.cols += s->tail;
    dy.cols += s->tail;
    const lc_linear_args forward = {.x = x,
                                    .w = lc_mat_view(group->g, 0, 0, s->out, x.cols),
                                    .addend = group->addend,
                                    .y = group->y};
    const lc_linear_backward_args backward = {
        .dy = dy, .w = lc_mat_view(group->g, 0, 0, dy.cols, s->in), .dx = group->x};
    lc_bench_row row = {.name = name, .flops = 2.0 * n * (double)s->out * (double)x.cols};
    (void)snprintf(name, sizeof name, "linear %s", group->label);
    if (lc_bench_wants(bench, name)) {
        LC_BENCH(bench, row.seconds, bench->device->ops->linear(bench->device, &forward, err));
        LC_TRY(lc_bench_plain_product(bench, at->tokens, s->in, s->out, false, &row.plain_seconds,
                                      err));
        lc_bench_add(bench, &row);
    }
    (void)snprintf(name, sizeof name, "linear_backward %s", group->label);
    row.flops = 2.0 * n * (double)s->in * (double)dy.cols;
    if (lc_bench_wants(bench, name)) {
        LC_BENCH(bench, row.seconds,
                 bench->device->ops->linear_backward(bench->device, &backward, err));
        LC_TRY(lc_bench_plain_product(bench, at->tokens, s->in, s->out, true, &row.plain_seconds,
                                      err));
        lc_bench_add(bench, &row);
    }
    return LC_OK;
}

/* The passes over X and dY that LoRA costs; bytes as if each were read once. */
static lc_code bench_adapter(lc_bench *bench, const lc_bench_shape *at, const lc_bench_group *group,
                             lc_err *err)
{
    const lc_group_shape *s = &group->shape;
    const double n = (double)at->tokens, size = element_bytes(bench), tail = (double)s->tail;
    char name[NAME_BYTES];
    const lc_lora_forward_args forward = forward_args(group);
    const lc_lora_dy_args dy = dy_args(group);
    const lc_lora_dx_args dx = dx_args(group);
    lc_bench_row row = {.name = name, .bytes = size * (n * (s->in + 2.0 * tail) + tail * s->in)};
    (void)snprintf(name, sizeof name, "lora_forward %s", group->label);
    if (lc_bench_wants(bench, name)) {
        LC_BENCH(bench, row.seconds,
                 bench->device->ops->lora_forward(bench->device, &forward, err));
        lc_bench_add(bench, &row);
    }
    (void)snprintf(name, sizeof name, "lora_dy %s", group->label);
    row.bytes = size * n * (s->out + 2.0 * tail);
    if (lc_bench_wants(bench, name)) {
        LC_BENCH(bench, row.seconds, bench->device->ops->lora_dy(bench->device, &dy, err));
        lc_bench_add(bench, &row);
    }
    (void)snprintf(name, sizeof name, "lora_dx %s", group->label);
    row.bytes = size * n * (s->in + tail);
    if (lc_bench_wants(bench, name)) {
        LC_BENCH(bench, row.seconds, bench->device->ops->lora_dx(bench->device, &dx, err));
        lc_bench_add(bench, &row);
    }
    return LC_OK;
}

/* With dropout, of a group behind a norm: what the product over dY leaves out, by itself and taken
 * along by the norm's backward pass. Any bits do for its key. */
static lc_code bench_dropped(lc_bench *bench, const lc_bench_shape *at, const lc_bench_group *group,
                             lc_err *err)
{
    lc_device *device = bench->device;
    const lc_group_shape *s = &group->shape;
    const double width = (double)s->in, tail = (double)s->tail, n = (double)at->tokens,
                 once = element_bytes(bench) * (n * tail + tail * width);
    const int mark = bench->buffer_count;
    char name[NAME_BYTES];
    float *bits; /* examples, positions, two words */
    lc_mat dx;
    lc_bench_row row = {.name = name, .bytes = 2.0 * element_bytes(bench) * n * width + once};
    (void)snprintf(name, sizeof name, "lora_dropout_backward rmsnorm_backward with dropout %s",
                   group->label);
    if (!lc_bench_wants(bench, name)) {
        return LC_OK;
    }
    LC_TRY(lc_bench_floats(bench, 3 * at->tokens + 2, &bits, err));
    LC_TRY(lc_bench_matrix(bench, at->tokens, s->in, with_border(s->in, 16), &dx, err));
    const void *positions = bits + 2 * at->tokens, *key = bits + 3 * at->tokens, *examples = bits;
    const lc_lora_dropout_backward_args dropped = {
        .ds = lc_mat_tail(group->y, s->tail),
        .a = lc_mat_view(group->g, s->out, 0, s->tail, s->in),
        .parts = group->parts,
        .dropout = {.p = 0.1f, .key = key, .example = examples, .position = positions},
        .product = group->normed,
        .dx = group->x};
    (void)snprintf(name, sizeof name, "lora_dropout_backward %s", group->label);
    LC_BENCH(bench, row.seconds, device->ops->lora_dropout_backward(device, &dropped, err));
    lc_bench_add(bench, &row);
    (void)snprintf(name, sizeof name, "rmsnorm_backward with dropout %s", group->label);
    row.bytes = 4.0 * element_bytes(bench) * n * width + once;
    LC_BENCH(bench, row.seconds,
             LC_OP(device, rmsnorm_backward,
                   {.dy = group->x,
                    .x = group->normed,
                    .weight = group->norm_weight,
                    .rstd = group->rstd,
                    .dx = dx,
                    .dropped = &dropped},
                   err));
    lc_bench_add(bench, &row);
    lc_bench_release(bench, mark);
    return LC_OK;
}

/* With and without what the fused kernels do for the adapters on the way. The backward pass works
 * in place, so its numbers fade from call to call: memory bounds it all the same. */
static lc_code bench_swiglu(lc_bench *bench, const lc_bench_shape *at, const lc_bench_group *wide,
                            const lc_bench_group *down, lc_err *err)
{
    lc_device *device = bench->device;
    const double bytes = element_bytes(bench) * (double)at->tokens * at->config.mlp;
    const lc_lora_forward_args lora = forward_args(down);
    const lc_lora_dx_args dx = dx_args(down);
    const lc_lora_dy_args dy = dy_args(wide);
    lc_mat d_product;
    lc_bench_row row = {.name = "swiglu", .bytes = 3.0 * bytes};
    if (!lc_bench_wants(bench, "swiglu_backward")) {
        return LC_OK;
    }
    LC_TRY(lc_bench_matrix(bench, at->tokens, down->shape.in, down->shape.in, &d_product, err));
    LC_BENCH(bench, row.seconds, LC_OP(device, swiglu, {.gate_up = wide->y, .y = down->x}, err));
    lc_bench_add(bench, &row);
    row.name = "swiglu with lora_forward down";
    LC_BENCH(bench, row.seconds,
             LC_OP(device, swiglu, {.gate_up = wide->y, .y = down->x, .lora = &lora}, err));
    lc_bench_add(bench, &row);
    row = (lc_bench_row){.name = "swiglu_backward", .bytes = 5.0 * bytes};
    LC_BENCH(bench, row.seconds,
             LC_OP(device, swiglu_backward, {.dy = d_product, .gate_up = wide->y}, err));
    lc_bench_add(bench, &row);
    row.name = "swiglu_backward with adapters";
    LC_BENCH(bench, row.seconds,
             LC_OP(device, swiglu_backward,
                   {.dy = d_product, .gate_up = wide->y, .lora_down = &dx, .lora_gate_up = &dy},
                   err));
    lc_bench_add(bench, &row);
    return LC_OK;
}

static lc_code bench_group(lc_bench *bench, const lc_bench_shape *at, lc_group_kind kind,
                           const char *label, lc_err *err)
{
    lc_bench_group group;
    const int mark = bench->buffer_count;
    LC_TRY(make_group(bench, at, kind, label, &group, err));
    LC_TRY(bench_products(bench, at, &group, err));
    LC_TRY(bench_adapter(bench, at, &group, err));
    if (group.norm_weight != NULL) {
        LC_TRY(bench_dropped(bench, at, &group, err));
    }
    lc_bench_release(bench, mark);
    return LC_OK;
}

static lc_code bench_mlp(lc_bench *bench, const lc_bench_shape *at, lc_err *err)
{
    lc_bench_group wide, down;
    const int mark = bench->buffer_count;
    LC_TRY(make_group(bench, at, LC_GROUP_GATE_UP, "gate_up", &wide, err));
    LC_TRY(make_group(bench, at, LC_GROUP_DOWN, "down", &down, err));
    LC_TRY(bench_products(bench, at, &wide, err));
    LC_TRY(bench_adapter(bench, at, &wide, err));
    LC_TRY(bench_dropped(bench, at, &wide, err));
    LC_TRY(bench_products(bench, at, &down, err));
    LC_TRY(bench_adapter(bench, at, &down, err));
    LC_TRY(bench_swiglu(bench, at, &wide, &down, err));
    lc_bench_release(bench, mark);
    return LC_OK;
}

/* ---- attention ---- */

/* Documents of at->length rows, and what the device wants to know of them. */
static lc_code lay_out(lc_bench *bench, const lc_bench_shape *at, int32_t *cu_seqlens,
                       lc_attention_shape *shape, lc_err *err)
{
    const lc_memory_rules *memory = bench->device->memory;
    void *host = NULL, *layout = NULL;
    while (cu_seqlens[shape->documents.count] < at->tokens) {
        const int64_t end = cu_seqlens[shape->documents.count] + at->length;
        shape->documents.count++;
        cu_seqlens[shape->documents.count] = (int32_t)(end < at->tokens ? end : at->tokens);
    }
    shape->documents.cu_seqlens = cu_seqlens;
    const size_t bytes = memory->layout_bytes(at->tokens);
    if (bytes == 0) {
        return LC_OK;
    }
    LC_TRY(lc_new(&host, 1, bytes, "the layout of attention", err));
    memory->lay_out(&shape->documents, at->tokens, host);
    const lc_code code = lc_bench_upload(bench, host, bytes, &layout, err);
    lc_free(host);
    shape->layout = layout;
    return code;
}

/* Two products a visible pair forward, five backward. `who` goes into the rows' names. */
static lc_code time_attention(lc_bench *bench, const lc_bench_shape *at,
                              const lc_attention_shape *shape, const char *who, lc_err *err)
{
    lc_device *device = bench->device;
    const int64_t n = at->tokens, q = (int64_t)shape->heads * shape->head_dim,
                  kv = (int64_t)shape->kv_heads * shape->head_dim;
    lc_mat qkv, out, dout, dqkv;
    float *lse, *delta;
    LC_TRY(lc_bench_matrix(bench, n, q + 2 * kv, q + 2 * kv, &qkv, err));
    LC_TRY(lc_bench_matrix(bench, n, q + 2 * kv, with_border(q + 2 * kv, 48), &dqkv, err));
    LC_TRY(lc_bench_matrix(bench, n, q, with_border(q, 16), &out, err));
    LC_TRY(lc_bench_matrix(bench, n, q, q, &dout, err));
    LC_TRY(lc_bench_floats(bench, n * shape->heads, &lse, err));
    LC_TRY(lc_bench_floats(bench, n * shape->heads, &delta, err));
    const double pairs = 0.5 * (double)n * (double)(at->length + 1);
    char name[NAME_BYTES];
    lc_bench_row row = {.name = name, .flops = 4.0 * pairs * (double)q};
    const lc_attention_args forward = {.shape = *shape,
                                       .q = lc_mat_view(qkv, 0, 0, n, q),
                                       .k = lc_mat_view(qkv, 0, q, n, kv),
                                       .v = lc_mat_view(qkv, 0, q + kv, n, kv),
                                       .out = out,
                                       .lse = lse};
    (void)snprintf(name, sizeof name, "attention %s%lld x %lld", who,
                   (long long)shape->documents.count, (long long)at->length);
    LC_BENCH(bench, row.seconds, device->ops->attention(device, &forward, err));
    lc_bench_add(bench, &row);
    const lc_attention_backward_args backward = {.shape = *shape,
                                                 .q = forward.q,
                                                 .k = forward.k,
                                                 .v = forward.v,
                                                 .out = out,
                                                 .dout = dout,
                                                 .lse = lse,
                                                 .delta = delta,
                                                 .dq = lc_mat_view(dqkv, 0, 0, n, q),
                                                 .dk = lc_mat_view(dqkv, 0, q, n, kv),
                                                 .dv = lc_mat_view(dqkv, 0, q + kv, n, kv)};
    row.flops *= 2.5;
    (void)snprintf(name, sizeof name, "attention_backward %s%lld x %lld", who,
                   (long long)shape->documents.count, (long long)at->length);
    LC_BENCH(bench, row.seconds, device->ops->attention_backward(device, &backward, err));
    lc_bench_add(bench, &row);
    return LC_OK;
}

/* The same by cuDNN, on a device of its own beside the bench's: rows where it can be had. */
static lc_code time_cudnn(lc_bench *bench, const lc_bench_shape *at,
                          const lc_attention_shape *shape, bool is_ordered, lc_err *err)
{
    lc_device *own = bench->device, *device = NULL;
    const lc_device_options options = {.kind = lc_device_kind_of(own),
                                       .deterministic = is_ordered,
                                       .attention = LC_ATTENTION_CUDNN};
    lc_err why = {.code = LC_OK};
    if (own->choices == NULL || lc_attention_path_asked() == LC_ATTENTION_LORAC ||
        lc_device_open(&options, &device, &why) != LC_OK) {
        return LC_OK;
    }
    device->ops->set_workspace(device, bench->workspace, bench->workspace_bytes);
    bench->device = device;
    const lc_code code =
        time_attention(bench, at, shape, is_ordered ? "cudnn ordered " : "cudnn ", err);
    bench->device = own;
    device->ops->close(device);
    if (code == LC_ERR_DEVICE) { /* the library's, which may refuse a shape */
        lc_log(LC_LOG_WARN, "%s", err->message);
        lc_err_clear(err);
        return LC_OK;
    }
    return code;
}

static lc_code bench_attention(lc_bench *bench, const lc_bench_shape *at, lc_err *err)
{
    const lc_model_config *c = &at->config;
    const int mark = bench->buffer_count;
    void *memory = NULL;
    if (!lc_bench_wants(bench, "attention_backward")) {
        return LC_OK;
    }
    lc_attention_shape shape = {
        .heads = c->heads, .kv_heads = c->kv_heads, .head_dim = c->head_dim, .scale = 0.1f};
    LC_TRY(lc_new(&memory, (size_t)at->tokens + 1, sizeof(int32_t), "documents", err));
    lc_code code = lay_out(bench, at, memory, &shape, err);
    if (code == LC_OK) {
        code = time_attention(bench, at, &shape, "", err);
    }
    for (int is_ordered = 0; code == LC_OK && is_ordered < 2; is_ordered++) {
        code = time_cudnn(bench, at, &shape, is_ordered == 1, err);
    }
    lc_free(memory);
    lc_bench_release(bench, mark);
    return code;
}

static lc_code bench_rope(lc_bench *bench, const lc_bench_shape *at, lc_err *err)
{
    lc_device *device = bench->device;
    const lc_model_config *c = &at->config;
    const int mark = bench->buffer_count;
    const int64_t width = (int64_t)(c->heads + c->kv_heads) * c->head_dim;
    lc_mat x;
    float *cosine, *sine;
    lc_bench_row row = {.name = "qk_rope",
                        .bytes = 2.0 * element_bytes(bench) * (double)(at->tokens * width)};
    if (!lc_bench_wants(bench, "qk_rope_backward")) {
        return LC_OK;
    }
    LC_TRY(lc_bench_matrix(bench, at->tokens, width, with_border(width, 48), &x, err));
    LC_TRY(lc_bench_floats(bench, at->tokens * c->head_dim / 2, &cosine, err));
    LC_TRY(lc_bench_floats(bench, at->tokens * c->head_dim / 2, &sine, err));
    LC_BENCH(bench, row.seconds,
             LC_OP(device, qk_rope,
                   {.x = x,
                    .y = x,
                    .q_heads = c->heads,
                    .k_heads = c->kv_heads,
                    .head_dim = c->head_dim,
                    .cos = cosine,
                    .sin = sine},
                   err));
    lc_bench_add(bench, &row);
    row.name = "qk_rope_backward";
    LC_BENCH(bench, row.seconds,
             LC_OP(device, qk_rope_backward,
                   {.x = x,
                    .dy = x,
                    .q_heads = c->heads,
                    .k_heads = c->kv_heads,
                    .head_dim = c->head_dim,
                    .cos = cosine,
                    .sin = sine},
                   err));
    lc_bench_add(bench, &row);
    lc_bench_release(bench, mark);
    return LC_OK;
}

/* ---- norms and rows ---- */

static lc_code bench_norms(lc_bench *bench, const lc_bench_shape *at, lc_err *err)
{
    lc_device *device = bench->device;
    const int mark = bench->buffer_count;
    const int64_t n = at->tokens, width = at->config.width;
    const double bytes = element_bytes(bench) * (double)(n * width);
    lc_mat x, y, dx;
    float *weight, *rstd;
    lc_bench_row row = {.name = "rmsnorm", .bytes = 2.0 * bytes};
    if (!lc_bench_wants(bench, "rmsnorm_backward")) {
        return LC_OK;
    }
    LC_TRY(lc_bench_matrix(bench, n, width, width, &x, err));
    LC_TRY(lc_bench_matrix(bench, n, width, with_border(width, 48), &y, err));
    LC_TRY(lc_bench_matrix(bench, n, width, with_border(width, 16), &dx, err));
    LC_TRY(lc_bench_floats(bench, width, &weight, err));
    LC_TRY(lc_bench_floats(bench, n, &rstd, err));
    LC_BENCH(bench, row.seconds,
             LC_OP(device, rmsnorm, {.x = x, .weight = weight, .eps = 1e-5f, .y = y, .rstd = rstd},
                   err));
    lc_bench_add(bench, &row);
    row = (lc_bench_row){.name = "rmsnorm_backward", .bytes = 4.0 * bytes};
    LC_BENCH(bench, row.seconds,
             LC_OP(device, rmsnorm_backward,
                   {.dy = y, .x = x, .weight = weight, .rstd = rstd, .dx = dx}, err));
    lc_bench_add(bench, &row);
    lc_bench_release(bench, mark);
    return LC_OK;
}

static lc_code bench_rows(lc_bench *bench, const lc_bench_shape *at, const int32_t *order,
                          lc_err *err)
{
    lc_device *device = bench->device;
    const int mark = bench->buffer_count;
    const int64_t n = at->tokens, width = at->config.width;
    void *rows = NULL;
    lc_mat x, y, table;
    lc_bench_row row = {.name = "embed", .bytes = 2.0 * element_bytes(bench) * (double)(n * width)};
    if (!lc_bench_wants(bench, "embed gather_rows scatter_rows")) {
        return LC_OK;
    }
    LC_TRY(lc_bench_upload(bench, order, (size_t)n * sizeof *order, &rows, err));
    LC_TRY(lc_bench_matrix(bench, n, width, width, &x, err));
    LC_TRY(lc_bench_matrix(bench, n, width, width, &y, err));
    LC_TRY(lc_bench_matrix(bench, n, width, width, &table, err)); /* ids are 0..n-1 */
    LC_BENCH(bench, row.seconds,
             LC_OP(device, embed, {.ids = rows, .table = table, .out = x}, err));
    lc_bench_add(bench, &row);
    row.name = "gather_rows";
    LC_BENCH(bench, row.seconds, LC_OP(device, gather_rows, {.x = x, .rows = rows, .y = y}, err));
    lc_bench_add(bench, &row);
    row.name = "scatter_rows";
    LC_BENCH(bench, row.seconds, LC_OP(device, scatter_rows, {.x = x, .rows = rows, .y = y}, err));
    lc_bench_add(bench, &row);
    lc_bench_release(bench, mark);
    return LC_OK;
}

/* ---- head and optimizer ---- */

static lc_code bench_head(lc_bench *bench, const lc_bench_shape *at, const int32_t *order,
                          lc_err *err)
{
    lc_device *device = bench->device;
    const int mark = bench->buffer_count;
    const int64_t n = at->tokens < HEAD_ROWS ? at->tokens : HEAD_ROWS, width = at->config.width,
                  vocab = at->config.vocab;
    void *targets = NULL;
    lc_mat x, w, logits;
    float *weights, *nll, *correct;
    lc_bench_row row = {.name = "linear head", .flops = 2.0 * (double)(n * width) * (double)vocab};
    if (!lc_bench_wants(bench, "linear head cross_entropy")) {
        return LC_OK;
    }
    LC_TRY(lc_bench_upload(bench, order, (size_t)n * sizeof *order, &targets, err));
    LC_TRY(lc_bench_matrix(bench, n, width, width, &x, err));
    LC_TRY(lc_bench_matrix(bench, vocab, width, width, &w, err));
    LC_TRY(lc_bench_matrix(bench, n, vocab, vocab, &logits, err));
    LC_TRY(lc_bench_floats(bench, n, &weights, err));
    LC_TRY(lc_bench_floats(bench, n, &nll, err));
    LC_TRY(lc_bench_floats(bench, n, &correct, err));
    LC_BENCH(bench, row.seconds, LC_OP(device, linear, {.x = x, .w = w, .y = logits}, err));
    lc_bench_add(bench, &row);
    row.name = "linear_backward head";
    LC_BENCH(bench, row.seconds,
             LC_OP(device, linear_backward, {.dy = logits, .w = w, .dx = x}, err));
    lc_bench_add(bench, &row);
    row = (lc_bench_row){.name = "cross_entropy with gradient",
                         .bytes = 2.0 * element_bytes(bench) * (double)(n * vocab)};
    LC_BENCH(bench, row.seconds,
             LC_OP(device, cross_entropy,
                   {.logits = logits,
                    .targets = targets,
                    .weights = weights,
                    .gradient = true,
                    .nll = nll,
                    .correct = correct},
                   err));
    lc_bench_add(bench, &row);
    lc_bench_release(bench, mark);
    return LC_OK;
}

static lc_code bench_optimizer(lc_bench *bench, const lc_bench_shape *at, lc_err *err)
{
    static const lc_step_values step = {.weight = 2.0, .learning_rate = 1e-6};
    lc_device *device = bench->device;
    const int mark = bench->buffer_count;
    const int64_t count = at->spec.master_count;
    float *arrays[4];
    void *sums = NULL, *update = NULL, *values = NULL;
    lc_bench_row row = {.name = "adamw", .bytes = 8.0 * sizeof(float) * (double)count};
    if (!lc_bench_wants(bench, "adamw")) {
        return LC_OK;
    }
    for (int i = 0; i < 4; i++) {
        LC_TRY(lc_bench_floats(bench, count, &arrays[i], err));
    }
    LC_TRY(lc_bench_upload(bench, NULL, sizeof(lc_sums), &sums, err));
    LC_TRY(lc_bench_upload(bench, NULL, sizeof(lc_update), &update, err));
    LC_TRY(lc_bench_upload(bench, &step, sizeof step, &values, err));
    LC_BENCH(bench, row.seconds,
             LC_OP(device, adamw,
                   {.param = arrays[0],
                    .grad = arrays[1],
                    .m = arrays[2],
                    .v = arrays[3],
                    .count = count,
                    .clip = 1.0,
                    .beta1 = 0.9,
                    .beta2 = 0.999,
                    .eps = 1e-8,
                    .sums = sums,
                    .values = values,
                    .update = update},
                   err));
    lc_bench_add(bench, &row);
    lc_bench_release(bench, mark);
    return LC_OK;
}

/* ---- all of it ---- */

static lc_code make_workspace(lc_bench *bench, const lc_bench_shape *at, lc_err *err)
{
    const lc_workspace_extent extent =
        lc_model_workspace(&at->config, &at->spec, bench->dtype, at->tokens, at->length);
    const size_t bytes = bench->device->memory->workspace_bytes(&extent);
    void *memory = NULL;
    if (bytes > 0) {
        LC_TRY(lc_bench_upload(bench, NULL, bytes, &memory, err));
        bench->device->ops->set_workspace(bench->device, memory, bytes);
    }
    bench->workspace = memory;
    bench->workspace_bytes = bytes;
    return LC_OK;
}

static lc_code bench_all(lc_bench *bench, const lc_bench_shape *at, lc_err *err)
{
    void *memory = NULL;
    lc_code code;
    LC_TRY(make_workspace(bench, at, err));
    LC_TRY(lc_bench_ceilings(bench, err));
    LC_TRY(lc_new(&memory, (size_t)at->tokens, sizeof(int32_t), "row numbers", err));
    int32_t *order = memory;
    for (int64_t i = 0; i < at->tokens; i++) {
        order[i] = (int32_t)(i < at->config.vocab ? i : at->config.vocab - 1);
    }
    LC_TRY_GOTO(bench_rows(bench, at, order, err));
    LC_TRY_GOTO(bench_norms(bench, at, err));
    LC_TRY_GOTO(bench_group(bench, at, LC_GROUP_QKV, "qkv", err));
    LC_TRY_GOTO(bench_rope(bench, at, err));
    LC_TRY_GOTO(bench_attention(bench, at, err));
    LC_TRY_GOTO(bench_group(bench, at, LC_GROUP_O, "o", err));
    LC_TRY_GOTO(bench_mlp(bench, at, err));
    LC_TRY_GOTO(bench_head(bench, at, order, err));
    LC_TRY_GOTO(lc_bench_decode(bench, &at->config, at->length, err));
    LC_TRY_GOTO(bench_optimizer(bench, at, err));
fail:
    lc_free(memory);
    return code;
}

static lc_code print_json(lc_bench *bench, const lc_bench_shape *at, const char *model, lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    LC_TRY(lc_text_finish(&bench->rows, "the rows", err));
    lc_text_addf(&text, "{\"device\": ");
    lc_text_add_json_string(&text, bench->device->description, strlen(bench->device->description));
    lc_text_addf(&text, ", \"model\": ");
    lc_text_add_json_string(&text, model, strlen(model));
    lc_text_addf(&text, ", \"dtype\": \"%s\", \"tokens\": %lld, \"seq\": %lld, \"rows\": [%s]}",
                 lc_dtype_name(bench->dtype), (long long)at->tokens, (long long)at->length,
                 bench->rows.data);
    return lc_print_text(&text, err);
}

static lc_code read_shape(const char *model, int64_t rank, lc_bench_shape *at, lc_err *err)
{
    const lc_lora_options lora = {
        .rank = (int32_t)rank, .alpha = 2.0 * (double)rank, .all_linear = true};
    LC_TRY(lc_model_config_load(model, &at->config, err));
    return lc_adapter_spec_build(&at->config, &lora, &at->spec, err);
}

static lc_code run(lc_bench *bench, lc_bench_shape *at, const char *model, const char *device,
                   int64_t threads, int64_t rank, lc_err *err)
{
    LC_TRY(read_shape(model, rank, at, err));
    LC_TRY(lc_bench_open(bench, lc_device_choice(device), threads, err));
    if (at->tokens == 0) {
        at->tokens = bench->device->is_host ? 512 : 8192;
    }
    at->length = at->length == 0 ? LONGEST : at->length;
    at->length = at->length < at->tokens ? at->length : at->tokens;
    if (!bench->json) {
        printf("%s; %s, %lld tokens in documents of %lld\n", bench->device->description,
               lc_dtype_name(bench->dtype), (long long)at->tokens, (long long)at->length);
    }
    LC_TRY(bench_all(bench, at, err));
    return bench->json ? print_json(bench, at, model, err) : LC_OK;
}

lc_code lc_bench_ops(int argc, char **argv, lc_err *err)
{
    lc_bench bench = {.seconds = 0.2};
    const char *model = NULL, *device = "auto";
    int64_t threads = 0, rank = 16, tokens = 0, length = 0;
    bool done = false;
    void *memory = NULL;
    const lc_option options[] = {
        {.name = "--model",
         .value = "DIR",
         .help = "directory with the config.json that gives the shapes",
         .text = &model,
         .is_required = true},
        {.name = "--device",
         .value = "NAME",
         .help = "cpu, cuda or auto",
         .fallback = "auto",
         .text = &device,
         .choices = lc_device_choices},
        {.name = "--tokens",
         .value = "N",
         .help = "rows of a micro-batch",
         .fallback = "8192 on a GPU, 512 on the CPU",
         .integer = &tokens,
         .low = 1,
         .high = MAX_TOKENS},
        {.name = "--seq",
         .value = "S",
         .help = "rows of a document",
         .fallback = "4096",
         .integer = &length,
         .low = 1,
         .high = MAX_TOKENS},
        {.name = "--rank",
         .value = "R",
         .help = "of the adapters, on all linears",
         .fallback = "16",
         .integer = &rank,
         .low = 1,
         .high = LC_MAX_RANK},
        {.name = "--seconds",
         .value = "S",
         .help = "spent on each op; 0: one call",
         .fallback = "0.2",
         .number = &bench.seconds,
         .min = 0.0,
         .max = MAX_SECONDS},
        {.name = "--only",
         .value = "TEXT",
         .help = "ops with this in their names",
         .text = &bench.filter},
        {.name = "--json", .help = "print the rows as one JSON object", .flag = &bench.json},
        {.name = "--threads",
         .value = "N",
         .help = "compute threads of the CPU",
         .fallback = "LORAC_THREADS, else all cores of this process",
         .integer = &threads,
         .low = 1,
         .high = LC_MAX_THREADS},
    };
    const lc_command command = {
        .name = "bench ops",
        .description =
            "Times every op of a layer, of the head and of the optimizer at a model's shapes.\n"
            "Each row: time, rate, share of the ceiling (a large square product, a large copy) "
            "measured in\n"
            "the same run; of products also how they stand to one without border, addend and "
            "padding. An op\n"
            "runs again and again on the same buffers: what fits into a cache is read from "
            "there.\n",
        .examples = "  lorac bench ops --model models/sprout-3m --only linear\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    LC_TRY(lc_new(&memory, 1, sizeof(lc_bench_shape), "the shapes", err));
    lc_bench_shape *at = memory;
    at->tokens = tokens;
    at->length = length;
    const lc_code code = run(&bench, at, model, device, threads, rank, err);
    lc_bench_close(&bench);
    lc_free(memory);
    return code;
}
