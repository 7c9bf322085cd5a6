/*
 * The backward pass, from the gradient of the last layer's output down to the first adapted layer.
 * Gradients of activations flow everywhere above it, gradients of parameters go to the adapter
 * only. Norm outputs and the swiglu product are worked out again where they are needed; products
 * only where memory forces it (lc_model_options.recompute).
 *
 * Per group:
 *
 *   dS = dY sB into the tail of dY,  dB += s dY^T S,  dA += dS^T drop(X),  dX = [dY|dS] [W;A]
 *
 * With dropout the GEMM leaves the tail out; dX += drop(dS A), module by module, is left to the op
 * that reads dX next.
 */
#include "model/passes.h"

/* What lora_dy is asked for a group whose output gradient is dy, with the border behind it; nothing
 * for a group that is not adapted. */
static lc_lora_dy_args dy_args(const lc_group *group, lc_mat dy, lc_mat s)
{
    const lc_group_shape *shape = &group->shape;
    if (shape->tail == 0) {
        return (lc_lora_dy_args){.parts = {.count = 0}};
    }
    dy.cols = shape->out;
    return (lc_lora_dy_args){
        .dy = dy,
        .sb = lc_mat_view(group->g, 0, shape->in, shape->out, shape->tail),
        .s = lc_mat_view(s, 0, 0, dy.rows, shape->tail),
        .ds = lc_mat_tail(dy, shape->tail),
        .parts = group->parts,
    };
}

/* What lora_dx is asked for a group with input x, whose output gradient's border holds dS. */
static lc_lora_dx_args dx_args(const lc_model *model, const lc_group *group, lc_mat x, lc_mat dy,
                               const lc_dropout *dropout)
{
    const lc_mat none = {.data = NULL};
    if (group->shape.tail == 0) {
        return (lc_lora_dx_args){.parts = {.count = 0}};
    }
    dy.cols = group->shape.out;
    return (lc_lora_dx_args){
        .x = x,
        .ds = lc_mat_tail(dy, group->shape.tail),
        .da = group->da,
        .parts = group->parts,
        .dropout = *dropout,
        .x_dropped = dropout->p > 0.0f ? lc_mat_view(model->dropped, 0, 0, x.rows, x.cols) : none};
}

static lc_code output_side(lc_model *model, const lc_group *group, lc_mat dy, lc_mat s, lc_err *err)
{
    const lc_lora_dy_args args = dy_args(group, dy, s);
    return group->shape.tail > 0 ? model->device->ops->lora_dy(model->device, &args, err) : LC_OK;
}

/* dx = gradient of the group's input, without what dropped_gradient adds: the op that reads dx next
 * takes that along. saved_s: the group's S, which gives dB and dS on the way; no .data where both
 * are there. dx is a window of d_product, which has room for a border. */
static lc_code bordered_gradient(lc_model *model, const lc_group *group, lc_mat dy, lc_mat saved_s,
                                 lc_mat dx, const lc_dropout *dropout, lc_err *err)
{
    const lc_group_shape *shape = &group->shape;
    const int64_t tail = dropout->p > 0.0f ? 0 : shape->tail;
    const bool has_side = saved_s.data != NULL && shape->tail > 0;
    lc_lora_dy_args side;
    if (has_side) {
        side = dy_args(group, dy, saved_s);
    }
    dy.cols = shape->out + tail;
    return LC_OP(model->device, linear_backward,
                 {.dy = dy,
                  .w = lc_mat_view(group->g, 0, 0, dy.cols, shape->in),
                  .tail = tail,
                  .dx = dx,
                  .dx_tail = lc_mat_tail(dx, shape->tail),
                  .lora = has_side ? &side : NULL},
                 err);
}

static bool is_dropped(const lc_group *group, const lc_dropout *dropout)
{
    return dropout->p > 0.0f && group->shape.tail > 0;
}

/* What dropout takes out of the bordered product. */
static lc_lora_dropout_backward_args dropped_gradient(const lc_model *model, const lc_group *group,
                                                      lc_mat dy, lc_mat dx,
                                                      const lc_dropout *dropout)
{
    const lc_group_shape *shape = &group->shape;
    dy.cols = shape->out;
    return (lc_lora_dropout_backward_args){
        .ds = lc_mat_tail(dy, shape->tail),
        .a = lc_mat_view(group->g, shape->out, 0, shape->tail, shape->in),
        .parts = group->parts,
        .dropout = *dropout,
        .product = lc_mat_view(model->dropped, 0, 0, dy.rows, shape->in),
        .dx = dx};
}

/* The same, complete: for the last layer's o projection, where rows are spread next. */
static lc_code input_gradient(lc_model *model, const lc_group *group, lc_mat dy, lc_mat saved_s,
                              lc_mat dx, const lc_dropout *dropout, lc_err *err)
{
    LC_TRY(bordered_gradient(model, group, dy, saved_s, dx, dropout, err));
    if (!is_dropped(group, dropout)) {
        return LC_OK;
    }
    const lc_lora_dropout_backward_args args = dropped_gradient(model, group, dy, dx, dropout);
    return model->device->ops->lora_dropout_backward(model->device, &args, err);
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

/* From the layer's output through the down projection and swiglu to the gradient of gate|up, with
 * what the adapters of both projections get on the way. */
static lc_code down_backward(const layer_pass *pass, bool *more, lc_err *err)
{
    lc_model *model = pass->model;
    const lc_group down = lc_group_of(model, pass->index, LC_GROUP_DOWN);
    const lc_group gate_up = lc_group_of(model, pass->index, LC_GROUP_GATE_UP);
    const lc_mat dy = lc_rows(model->d_hidden, pass->rows),
                 wide = lc_mat_view(pass->saved->gate_up, 0, 0, pass->rows, gate_up.shape.out),
                 product = lc_rows(model->product, pass->rows);
    const lc_lora_dx_args down_dx = dx_args(model, &down, product, dy, pass->dropout);
    const lc_lora_dy_args gate_up_dy = dy_args(&gate_up, wide, pass->saved->s[LC_GROUP_GATE_UP]);
    *more = !is_lowest(pass, LC_GROUP_DOWN);
    if (!*more) { /* the gradient of gate|up is not wanted, only that of A */
        LC_TRY(output_side(model, &down, dy, pass->saved->s[LC_GROUP_DOWN], err));
        LC_TRY(LC_OP(model->device, swiglu, {.gate_up = wide, .y = product}, err));
        return model->device->ops->lora_dx(model->device, &down_dx, err);
    }
    const lc_mat d_product = lc_mat_view(model->d_product, 0, 0, pass->rows, down.shape.in);
    LC_TRY(bordered_gradient(model, &down, dy, pass->saved->s[LC_GROUP_DOWN], d_product,
                             pass->dropout, err));
    lc_lora_dropout_backward_args dropped;
    if (is_dropped(&down, pass->dropout)) {
        dropped = dropped_gradient(model, &down, dy, d_product, pass->dropout);
    }
    return LC_OP(model->device, swiglu_backward,
                 {.dy = d_product,
                  .gate_up = wide,
                  .lora_down = down.shape.tail > 0 ? &down_dx : NULL,
                  .lora_gate_up = gate_up.shape.tail > 0 ? &gate_up_dy : NULL,
                  .dropped = is_dropped(&down, pass->dropout) ? &dropped : NULL},
                 err);
}

/* A group whose input is a norm's output: q,k,v or gate,up. dy: gradient of its output, with dS in
 * its border; x, weight, rstd: the norm's. Ends in d_hidden. */
static lc_code normed_backward(const layer_pass *pass, lc_group_kind kind, lc_mat dy, lc_mat x,
                               const float *weight, const float *rstd, bool *more, lc_err *err)
{
    lc_model *model = pass->model;
    const lc_group group = lc_group_of(model, pass->index, kind);
    const lc_mat none = {.data = NULL};
    const lc_mat d_normed = lc_mat_view(model->d_product, 0, 0, pass->rows, group.shape.in);
    dy = lc_rows(dy, pass->rows);
    x = lc_rows(x, pass->rows);
    *more = !is_lowest(pass, kind);
    if (*more) {
        LC_TRY(bordered_gradient(model, &group, dy, none, d_normed, pass->dropout, err));
    }
    if (group.shape.tail > 0) {
        lc_lora_dx_args args = dx_args(model, &group, x, dy, pass->dropout);
        args.rstd = rstd;
        args.norm_weight = weight;
        args.normed = lc_mat_view(model->normed, 0, 0, x.rows, x.cols);
        LC_TRY(model->device->ops->lora_dx(model->device, &args, err));
    }
    if (!*more) {
        return LC_OK;
    }
    lc_lora_dropout_backward_args dropped;
    if (is_dropped(&group, pass->dropout)) {
        dropped = dropped_gradient(model, &group, dy, d_normed, pass->dropout);
    }
    return LC_OP(model->device, rmsnorm_backward,
                 {.dy = d_normed,
                  .x = x,
                  .weight = weight,
                  .rstd = rstd,
                  .dx = lc_rows(model->d_hidden, pass->rows),
                  .dropped = is_dropped(&group, pass->dropout) ? &dropped : NULL},
                 err);
}

/* Below the last layer's o_proj all rows have a gradient again: that of the attention output (in
 * d_product) and of the residual (d_hidden) go from the rows that are read to their places, zeros
 * elsewhere. */
static lc_code spread_read_rows(const layer_pass *pass, lc_mat *d_attended, lc_err *err)
{
    lc_model *model = pass->model;
    lc_device *device = model->device;
    const int64_t all = pass->model->rows;
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

/* From the gradient of the attention output, all rows, which `dropped` (or NULL) completes, to that
 * of q|k|v, with dS and dB of its adapters. */
static lc_code attention_backward(const layer_pass *pass, lc_mat d_attended,
                                  const lc_lora_dropout_backward_args *dropped, lc_err *err)
{
    lc_model *model = pass->model;
    const lc_model_config *c = &model->config;
    const lc_group group = lc_group_of(model, pass->index, LC_GROUP_QKV);
    const int64_t q_width = (int64_t)c->heads * c->head_dim,
                  kv_width = (int64_t)c->kv_heads * c->head_dim;
    const lc_mat d_qkv = lc_rows(model->d_qkv, pass->rows);
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
                  .dq = lc_mat_view(d_qkv, 0, 0, pass->rows, q_width),
                  .dk = lc_mat_view(d_qkv, 0, q_width, pass->rows, kv_width),
                  .dv = lc_mat_view(d_qkv, 0, q_width + kv_width, pass->rows, kv_width),
                  .dropped = dropped},
                 err));
    const lc_lora_dy_args side = dy_args(&group, d_qkv, pass->saved->s[LC_GROUP_QKV]);
    const bool turns = c->layer_rope[pass->index];
    if (!turns && !c->qk_norm) {
        return output_side(model, &group, d_qkv, pass->saved->s[LC_GROUP_QKV], err);
    }
    return LC_OP(model->device, qk_rope_backward,
                 {.x = lc_mat_view(pass->saved->qkv, 0, 0, pass->rows, q_width + kv_width),
                  .dy = lc_mat_view(d_qkv, 0, 0, pass->rows, q_width + kv_width),
                  .q_heads = c->heads,
                  .k_heads = c->kv_heads,
                  .head_dim = c->head_dim,
                  .q_norm = pass->weights->q_norm,
                  .k_norm = pass->weights->k_norm,
                  .cos = turns ? model->cos : NULL,
                  .sin = turns ? model->sin : NULL,
                  .rstd = pass->saved->rstd_qk,
                  .lora = group.shape.tail > 0 ? &side : NULL},
                 err);
}

/* *d_attended [out]: gradient of the attention output, all rows, without what dropped_gradient adds
 * but in the last layer, where it is complete. */
static lc_code o_backward(const layer_pass *pass, lc_mat *d_attended, bool *more, lc_err *err)
{
    lc_model *model = pass->model;
    const lc_group group = lc_group_of(model, pass->index, LC_GROUP_O);
    const bool is_last = lc_is_last_layer(pass->model, pass->index);
    const lc_mat attended = is_last ? model->read_attended : pass->saved->attended;
    const lc_mat s = pass->saved->s[LC_GROUP_O], dy = lc_rows(model->d_hidden, pass->rows);
    *d_attended = lc_mat_view(model->d_product, 0, 0, pass->rows, group.shape.in);
    *more = !is_lowest(pass, LC_GROUP_O);
    if (!*more) {
        LC_TRY(output_side(model, &group, dy, s, err));
    } else if (is_last) {
        LC_TRY(input_gradient(model, &group, dy, s, *d_attended, pass->dropout, err));
    } else {
        LC_TRY(bordered_gradient(model, &group, dy, s, *d_attended, pass->dropout, err));
    }
    if (group.shape.tail > 0) {
        const lc_lora_dx_args args =
            dx_args(model, &group, lc_mat_view(attended, 0, 0, pass->rows, group.shape.in), dy,
                    pass->dropout);
        LC_TRY(model->device->ops->lora_dx(model->device, &args, err));
    }
    return *more && is_last ? spread_read_rows(pass, d_attended, err) : LC_OK;
}

/* Attention, with what dropout leaves to it of the o projection. */
static lc_code attention_and_dropout(const layer_pass *pass, lc_mat d_attended, lc_err *err)
{
    lc_model *model = pass->model;
    const lc_group group = lc_group_of(model, pass->index, LC_GROUP_O);
    if (lc_is_last_layer(model, pass->index) || !is_dropped(&group, pass->dropout)) {
        return attention_backward(pass, d_attended, NULL, err);
    }
    const lc_lora_dropout_backward_args dropped = dropped_gradient(
        model, &group, lc_rows(model->d_hidden, pass->rows), d_attended, pass->dropout);
    return attention_backward(pass, d_attended, &dropped, err);
}

/* Groups from the top of the layer to its bottom. pass has all rows. */
static lc_code layer_backward(const layer_pass *pass, lc_err *err)
{
    const lc_layer_activations *saved = pass->saved;
    const lc_layer_weights *weights = pass->weights;
    layer_pass top = *pass;
    lc_mat d_attended = {.data = NULL};
    bool more = true;
    const lc_dropout read = lc_dropout_of_read_rows(pass->model, pass->dropout);
    if (lc_is_last_layer(pass->model, pass->index)) {
        top.rows = pass->model->read_count;
        top.dropout = &read;
    }
    LC_TRY(lc_restore_layer(pass->model, pass->index, pass->batch, err));
    LC_TRY(down_backward(&top, &more, err));
    if (more) {
        LC_TRY(normed_backward(&top, LC_GROUP_GATE_UP, saved->gate_up, saved->middle,
                               weights->norm2, saved->rstd2, &more, err));
    }
    if (more) {
        LC_TRY(o_backward(&top, &d_attended, &more, err));
    }
    if (more) {
        LC_TRY(attention_and_dropout(pass, d_attended, err));
        LC_TRY(normed_backward(pass, LC_GROUP_QKV, pass->model->d_qkv, saved->input, weights->norm1,
                               saved->rstd1, &more, err));
    }
    return LC_OK;
}

lc_code lc_model_backward(lc_model *model, const lc_batch *batch, const lc_dropout *dropout,
                          lc_err *err)
{
    for (int32_t layer = model->config.layers - 1; layer >= model->spec.first_layer; layer--) {
        const lc_dropout keyed = lc_dropout_of(dropout, layer);
        const layer_pass pass = {.model = model,
                                 .batch = batch,
                                 .dropout = &keyed,
                                 .saved = &model->layers[layer],
                                 .weights = &model->weights.layers[layer],
                                 .rows = model->rows,
                                 .index = layer};
        if (layer_backward(&pass, err) != LC_OK) {
            return lc_err_context(err, "layer %d backward", layer);
        }
    }
    return LC_OK;
}
