/*
 * The backward pass, from the gradient of the last layer's output down to the first adapted layer.
 * Gradients of activations flow everywhere above it, gradients of parameters go to the adapter
 * only. Norm outputs and the swiglu product are recomputed (one element-wise pass each); no GEMM
 * is.
 *
 * Per group:
 *
 *   dS = dY sB into the tail of dY,  dB += s dY^T S,  dA += dS^T drop(X),  dX = [dY|dS] [W;A]
 *
 * With dropout the GEMM leaves the tail out and dX += drop(dS A) follows, module by module.
 */
#include "model/passes.h"

/* One module's output side. dy is the group's gradient with its border. */
static lc_code module_dy(lc_model *model, const lc_group *group, lc_module_kind kind, lc_mat dy,
                         lc_mat s, lc_err *err)
{
    const lc_group_shape *shape = &group->shape;
    const lc_lora_slot *slot = &group->slots[kind];
    const int32_t row = shape->row_first[kind], column = shape->slot_first[kind];
    const int32_t out = lc_module_out(&model->config, kind);
    return LC_OP(model->device, lora_dy,
                 {.dy = lc_mat_view(dy, 0, row, dy.rows, out),
                  .sb = lc_mat_view(group->g, row, shape->in + column, out, slot->r16),
                  .s = lc_mat_view(s, 0, column, dy.rows, slot->r16),
                  .scale = slot->scale,
                  .ds = lc_mat_view(dy, 0, shape->out + column, dy.rows, slot->r16),
                  .db = lc_mat_f32(model->grad + slot->b_offset, out, slot->r16, slot->r16)},
                 err);
}

/* dA of the slots in tail columns first .. first+width-1 of the group, whose masters begin at
 * a_offset. */
static lc_code slots_dx(lc_model *model, const lc_group *group, int32_t first, int32_t width,
                        int64_t a_offset, lc_mat x, lc_mat dy, const lc_dropout *dropout,
                        lc_err *err)
{
    const lc_group_shape *shape = &group->shape;
    const lc_mat input = lc_mat_view(x, 0, 0, x.rows, shape->in);
    return LC_OP(model->device, lora_dx,
                 {.x = input,
                  .ds = lc_mat_view(dy, 0, shape->out + first, dy.rows, width),
                  .da = lc_mat_f32(model->grad + a_offset, width, shape->in, shape->in),
                  .dropout = *dropout,
                  .x_dropped = dropout->p > 0.0f
                                   ? lc_mat_view(model->dropped, 0, 0, x.rows, shape->in)
                                   : input},
                 err);
}

/* Adapter gradients of a group. dy: N x (out + border); x: its forward input; s: its saved S.
 * Without dropout the dA of all modules is one product (their masters lie one below the other). */
static lc_code adapter_gradients(lc_model *model, const lc_group *group, lc_mat dy, lc_mat x,
                                 lc_mat s, const lc_dropout *dropout, lc_err *err)
{
    const lc_group_shape *shape = &group->shape;
    for (int32_t i = 0; i < group->count; i++) {
        const lc_module_kind kind = (lc_module_kind)((int32_t)group->first + i);
        const lc_lora_slot *slot = &group->slots[kind];
        if (slot->rank == 0) {
            continue;
        }
        LC_TRY(module_dy(model, group, kind, dy, s, err));
        if (dropout->p > 0.0f) {
            const lc_dropout keyed = lc_dropout_of(dropout, group->layer, kind);
            LC_TRY(slots_dx(model, group, shape->slot_first[kind], slot->r16, slot->a_offset, x, dy,
                            &keyed, err));
        }
    }
    if (dropout->p > 0.0f) {
        return LC_OK;
    }
    return slots_dx(model, group, 0, shape->tail, group->slots[group->first].a_offset, x, dy,
                    dropout, err);
}

/* dx = gradient of the group's input. */
static lc_code input_gradient(lc_model *model, const lc_group *group, lc_mat dy, lc_mat dx,
                              const lc_dropout *dropout, lc_err *err)
{
    const lc_group_shape *shape = &group->shape;
    const int32_t tail = dropout->p > 0.0f ? 0 : shape->tail;
    dy.cols = shape->out + tail;
    LC_TRY(LC_OP(
        model->device, linear_backward,
        {.dy = dy, .w = lc_mat_view(group->g, 0, 0, shape->out + tail, shape->in), .dx = dx}, err));
    for (int32_t i = 0; i < group->count && dropout->p > 0.0f; i++) {
        const lc_module_kind kind = (lc_module_kind)((int32_t)group->first + i);
        const lc_lora_slot *slot = &group->slots[kind];
        if (slot->rank == 0) {
            continue;
        }
        const int32_t column = shape->slot_first[kind];
        lc_mat ds = dy;
        ds.cols = shape->out + shape->tail;
        LC_TRY(LC_OP(model->device, lora_dropout_backward,
                     {.ds = lc_mat_view(ds, 0, shape->out + column, dy.rows, slot->r16),
                      .a = lc_mat_view(group->g, shape->out + column, 0, slot->r16, shape->in),
                      .dropout = lc_dropout_of(dropout, group->layer, kind),
                      .product = lc_mat_view(model->dropped, 0, 0, dy.rows, shape->in),
                      .dx = dx},
                     err));
    }
    return LC_OK;
}

/* d_hidden += backward of the norm whose output gradient is the first C columns of d_product. */
static lc_code norm_gradient(lc_model *model, lc_mat x, const float *weight, const float *rstd,
                             lc_err *err)
{
    return LC_OP(model->device, rmsnorm_backward,
                 {.dy = lc_mat_view(model->d_product, 0, 0, x.rows, x.cols),
                  .x = x,
                  .weight = weight,
                  .rstd = rstd,
                  .dx = lc_rows(model->d_hidden, x.rows)},
                 err);
}

/* State of one layer's backward pass. */
typedef struct layer_pass {
    lc_model *model;
    const lc_batch *batch;
    const lc_dropout *dropout;
    const lc_layer_activations *saved;
    const lc_layer_weights *weights;
    int64_t rows; /* in the last layer down to its attention: the rows that are read */
    int32_t index;
} layer_pass;

static bool is_adapted(const lc_model *model, int32_t layer, lc_group_kind kind)
{
    return lc_group_shape_of(&model->config, &model->spec, layer, kind).tail > 0;
}

/* Nothing below this group of this layer is adapted, so its own input needs no gradient. */
static bool is_lowest(const layer_pass *pass, lc_group_kind kind)
{
    if (pass->index > pass->model->spec.first_layer) {
        return false;
    }
    for (int lower = 0; lower < (int)kind; lower++) {
        if (is_adapted(pass->model, pass->index, (lc_group_kind)lower)) {
            return false;
        }
    }
    return true;
}

static lc_code down_backward(const layer_pass *pass, bool *more, lc_err *err)
{
    lc_model *model = pass->model;
    const lc_group group = lc_group_of(model, pass->index, LC_GROUP_DOWN);
    const lc_mat product = lc_rows(model->product, pass->rows),
                 dy = lc_rows(model->d_hidden, pass->rows);
    lc_mat wide = dy;
    wide.cols = group.shape.out + group.shape.tail;
    if (group.shape.tail > 0) {
        LC_TRY(LC_OP(model->device, swiglu,
                     {.gate_up = lc_rows(pass->saved->gate_up, pass->rows), .y = product}, err));
        LC_TRY(adapter_gradients(model, &group, wide, product, pass->saved->s[LC_GROUP_DOWN],
                                 pass->dropout, err));
    }
    *more = !is_lowest(pass, LC_GROUP_DOWN);
    if (!*more) {
        return LC_OK;
    }
    const lc_mat d_product = lc_mat_view(model->d_product, 0, 0, pass->rows, group.shape.in);
    LC_TRY(input_gradient(model, &group, wide, d_product, pass->dropout, err));
    return LC_OP(model->device, swiglu_backward,
                 {.dy = d_product, .gate_up = lc_rows(pass->saved->gate_up, pass->rows)}, err);
}

/* A group whose input is a norm's output: q,k,v or gate,up. dy: gradient of its output with the
 * border; x, weight, rstd: the norm's. Ends in d_hidden. */
static lc_code normed_backward(const layer_pass *pass, lc_group_kind kind, lc_mat dy, lc_mat x,
                               const float *weight, const float *rstd, bool *more, lc_err *err)
{
    lc_model *model = pass->model;
    const lc_group group = lc_group_of(model, pass->index, kind);
    const lc_mat normed = lc_rows(model->normed, pass->rows);
    dy = lc_rows(dy, pass->rows);
    dy.cols = group.shape.out + group.shape.tail;
    x = lc_rows(x, pass->rows);
    if (group.shape.tail > 0) {
        LC_TRY(lc_norm_rows(model, x, weight, normed, NULL, err));
        LC_TRY(
            adapter_gradients(model, &group, dy, normed, pass->saved->s[kind], pass->dropout, err));
    }
    *more = !is_lowest(pass, kind);
    if (!*more) {
        return LC_OK;
    }
    LC_TRY(input_gradient(model, &group, dy,
                          lc_mat_view(model->d_product, 0, 0, pass->rows, group.shape.in),
                          pass->dropout, err));
    return norm_gradient(model, x, weight, rstd, err);
}

/* Below the last layer's o_proj all rows have a gradient again: that of the attention output (in
 * d_product) and of the residual (d_hidden) go from the rows that are read to their places, zeros
 * elsewhere. */
static lc_code spread_read_rows(const layer_pass *pass, lc_mat *d_attended, lc_err *err)
{
    lc_model *model = pass->model;
    lc_device *device = model->device;
    const int64_t all = pass->batch->token_count;
    const lc_mat read = lc_rows(model->d_read, pass->rows);
    /* o_proj has read it for the last time. */
    const lc_mat spread = lc_mat_view(model->read_attended, 0, 0, all, d_attended->cols);
    LC_TRY(LC_OP(device, scatter_rows, {.x = *d_attended, .rows = model->target_rows, .y = spread},
                 err));
    LC_TRY(device->ops->copy(device, read, lc_rows(model->d_hidden, pass->rows), err));
    *d_attended = spread;
    return LC_OP(device, scatter_rows,
                 {.x = read, .rows = model->target_rows, .y = lc_rows(model->d_hidden, all)}, err);
}

/* d_attended: gradient of the attention output, all rows. */
static lc_code attention_backward(const layer_pass *pass, lc_mat d_attended, lc_err *err)
{
    lc_model *model = pass->model;
    const lc_model_config *c = &model->config;
    const int64_t q_width = (int64_t)c->heads * c->head_dim,
                  kv_width = (int64_t)c->kv_heads * c->head_dim;
    lc_mat q, k, v;
    lc_qkv_windows(model, pass->saved, pass->rows, &q, &k, &v);
    LC_TRY(LC_OP(model->device, attention_backward,
                 {.shape = lc_attention_shape_of(model, pass->index, pass->batch),
                  .q = q,
                  .k = k,
                  .v = v,
                  .out = lc_rows(pass->saved->attended, pass->rows),
                  .dout = d_attended,
                  .lse = pass->saved->lse,
                  .delta = model->delta,
                  .dq = lc_mat_view(model->d_qkv, 0, 0, pass->rows, q_width),
                  .dk = lc_mat_view(model->d_qkv, 0, q_width, pass->rows, kv_width),
                  .dv = lc_mat_view(model->d_qkv, 0, q_width + kv_width, pass->rows, kv_width)},
                 err));
    const bool turns = c->layer_rope[pass->index];
    if (!turns && !c->qk_norm) {
        return LC_OK;
    }
    return LC_OP(model->device, qk_rope_backward,
                 {.x = lc_mat_view(pass->saved->qkv, 0, 0, pass->rows, q_width + kv_width),
                  .dy = lc_mat_view(model->d_qkv, 0, 0, pass->rows, q_width + kv_width),
                  .q_heads = c->heads,
                  .k_heads = c->kv_heads,
                  .head_dim = c->head_dim,
                  .q_norm = pass->weights->q_norm,
                  .k_norm = pass->weights->k_norm,
                  .cos = turns ? model->cos : NULL,
                  .sin = turns ? model->sin : NULL,
                  .rstd = pass->saved->rstd_qk},
                 err);
}

/* *d_attended [out]: gradient of the attention output, all rows. */
static lc_code o_backward(const layer_pass *pass, lc_mat *d_attended, bool *more, lc_err *err)
{
    lc_model *model = pass->model;
    const lc_group group = lc_group_of(model, pass->index, LC_GROUP_O);
    const lc_mat attended =
        lc_is_last_layer(pass->model, pass->index) ? model->read_attended : pass->saved->attended;
    lc_mat wide = lc_rows(model->d_hidden, pass->rows);
    wide.cols = group.shape.out + group.shape.tail;
    if (group.shape.tail > 0) {
        LC_TRY(adapter_gradients(model, &group, wide, lc_rows(attended, pass->rows),
                                 pass->saved->s[LC_GROUP_O], pass->dropout, err));
    }
    *more = !is_lowest(pass, LC_GROUP_O);
    if (!*more) {
        return LC_OK;
    }
    *d_attended = lc_mat_view(model->d_product, 0, 0, pass->rows, group.shape.in);
    LC_TRY(input_gradient(model, &group, wide, *d_attended, pass->dropout, err));
    return lc_is_last_layer(pass->model, pass->index) ? spread_read_rows(pass, d_attended, err)
                                                      : LC_OK;
}

/* Groups from the top of the layer to its bottom. pass has all rows. */
static lc_code layer_backward(const layer_pass *pass, lc_err *err)
{
    const lc_layer_activations *saved = pass->saved;
    const lc_layer_weights *weights = pass->weights;
    layer_pass top = *pass;
    lc_mat d_attended = {NULL, 0, 0, 0, LC_F32};
    bool more = true;
    const lc_dropout read = lc_dropout_of_read_rows(pass->model, pass->dropout);
    if (lc_is_last_layer(pass->model, pass->index)) {
        top.rows = pass->model->read_count;
        top.dropout = &read;
    }
    LC_TRY(down_backward(&top, &more, err));
    if (more) {
        LC_TRY(normed_backward(&top, LC_GROUP_GATE_UP, saved->gate_up, saved->middle,
                               weights->norm2, saved->rstd2, &more, err));
    }
    if (more) {
        LC_TRY(o_backward(&top, &d_attended, &more, err));
    }
    if (more) {
        LC_TRY(attention_backward(pass, d_attended, err));
        LC_TRY(normed_backward(pass, LC_GROUP_QKV, pass->model->d_qkv, saved->input, weights->norm1,
                               saved->rstd1, &more, err));
    }
    return LC_OK;
}

lc_code lc_model_backward(lc_model *model, const lc_batch *batch, const lc_dropout *dropout,
                          lc_err *err)
{
    for (int32_t layer = model->config.layers - 1; layer >= model->spec.first_layer; layer--) {
        const layer_pass pass = {.model = model,
                                 .batch = batch,
                                 .dropout = dropout,
                                 .saved = &model->layers[layer],
                                 .weights = &model->weights.layers[layer],
                                 .rows = batch->token_count,
                                 .index = layer};
        if (layer_backward(&pass, err) != LC_OK) {
            return lc_err_context(err, "layer %d backward", layer);
        }
    }
    return LC_OK;
}
