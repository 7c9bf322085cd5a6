/*
 * The forward pass, layer by layer:
 *
 *   rmsnorm, qkv + LoRA, (q/k norm) rope, attention, o + LoRA + residual,
 *   rmsnorm, gate|up + LoRA, swiglu, down + LoRA + residual
 *
 * Past its attention, the last layer computes only the rows that somebody reads: those that predict
 * a trained token, or those whose logits a generation step wants.
 *
 * Each adapted GEMM is one bordered product: S = X A^T is written into the tail of X's buffer, then
 * [X|S] [W|sB]^T gives base and adapter together (ops.h).
 */
#include "model/passes.h"

#include <math.h>
#include <string.h>

bool lc_is_last_layer(const lc_model *model, int32_t layer)
{
    return layer + 1 == model->config.layers;
}

lc_mat lc_rows(lc_mat mat, int64_t rows)
{
    mat.rows = rows;
    return mat;
}

lc_group lc_group_of(const lc_model *model, int32_t layer, lc_group_kind kind)
{
    lc_group group = {.shape = lc_group_shape_of(&model->config, &model->spec, layer, kind),
                      .slots = model->spec.slots[layer],
                      .g = model->weights.layers[layer].group[kind],
                      .bias = model->weights.layers[layer].bias[kind],
                      .layer = layer};
    lc_group_modules(kind, &group.first, &group.count);
    return group;
}

/* S = drop(X) A^T into the tail of x, for all slots at once without dropout, else module by module.
 */
static lc_code lora_tail(lc_model *model, const lc_group *group, lc_mat x,
                         const lc_dropout *dropout, lc_err *err)
{
    const lc_group_shape *shape = &group->shape;
    const lc_mat input = lc_mat_view(x, 0, 0, x.rows, shape->in);
    if (dropout->p <= 0.0f) {
        return LC_OP(model->device, lora_forward,
                     {.x = input,
                      .a = lc_mat_view(group->g, shape->out, 0, shape->tail, shape->in),
                      .s = lc_mat_view(x, 0, shape->in, x.rows, shape->tail)},
                     err);
    }
    for (int32_t i = 0; i < group->count; i++) {
        const lc_module_kind kind = (lc_module_kind)((int32_t)group->first + i);
        const lc_lora_slot *slot = &group->slots[kind];
        if (slot->rank == 0) {
            continue;
        }
        const int32_t first = shape->slot_first[kind];
        LC_TRY(LC_OP(model->device, lora_forward,
                     {.x = input,
                      .a = lc_mat_view(group->g, shape->out + first, 0, slot->r16, shape->in),
                      .s = lc_mat_view(x, 0, shape->in + first, x.rows, slot->r16),
                      .dropout = lc_dropout_of(dropout, group->layer, kind),
                      .x_dropped = lc_mat_view(model->dropped, 0, 0, x.rows, shape->in)},
                     err));
    }
    return LC_OK;
}

lc_dropout lc_dropout_of_read_rows(const lc_model *model, const lc_dropout *dropout)
{
    lc_dropout keyed = *dropout;
    keyed.example = model->read_examples;
    keyed.position = model->read_positions;
    return keyed;
}

lc_dropout lc_dropout_of(const lc_dropout *dropout, int32_t layer, lc_module_kind module)
{
    lc_dropout keyed = *dropout;
    keyed.layer = layer;
    keyed.module = (int32_t)module;
    return keyed;
}

/* y = [x|S] [W|sB]^T + bias + addend; saved_s receives a copy of S when its data is not NULL. x has
 * the group's border behind its columns. */
static lc_code bordered_linear(lc_model *model, const lc_group *group, lc_mat x, lc_mat addend,
                               lc_mat y, lc_mat saved_s, const lc_dropout *dropout, lc_err *err)
{
    const lc_group_shape *shape = &group->shape;
    lc_mat wide = x;
    wide.cols = shape->in + shape->tail;
    if (shape->tail > 0) {
        LC_TRY(lora_tail(model, group, wide, dropout, err));
        const lc_mat s = lc_mat_view(wide, 0, shape->in, wide.rows, shape->tail);
        if (saved_s.data != NULL && saved_s.data != s.data) {
            LC_TRY(model->device->ops->copy(model->device, lc_rows(saved_s, wide.rows), s, err));
        }
    }
    return LC_OP(model->device, linear,
                 {.x = wide,
                  .w = lc_mat_view(group->g, 0, 0, shape->out, shape->in + shape->tail),
                  .bias = group->bias,
                  .addend = addend,
                  .y = y},
                 err);
}

/* Rotated q, rotated k and v of a layer as windows. */
void lc_qkv_windows(const lc_model *model, const lc_layer_activations *layer, int64_t rows,
                    lc_mat *q, lc_mat *k, lc_mat *v)
{
    const lc_model_config *c = &model->config;
    const int64_t q_width = (int64_t)c->heads * c->head_dim,
                  kv_width = (int64_t)c->kv_heads * c->head_dim;
    *q = lc_mat_view(layer->qk, 0, 0, rows, q_width);
    *k = lc_mat_view(layer->qk, 0, q_width, rows, kv_width);
    *v = lc_mat_view(layer->qkv, 0, q_width + kv_width, rows, kv_width);
}

static lc_code rotate(lc_model *model, int32_t index, const lc_layer_activations *layer,
                      int64_t rows, lc_err *err)
{
    const lc_model_config *c = &model->config;
    const lc_layer_weights *weights = &model->weights.layers[index];
    const bool turns = c->layer_rope[index];
    if (!turns && !c->qk_norm) {
        return LC_OK;
    }
    return LC_OP(model->device, qk_rope,
                 {.x = lc_mat_view(layer->qkv, 0, 0, rows, layer->qk.cols),
                  .y = lc_rows(layer->qk, rows),
                  .q_heads = c->heads,
                  .k_heads = c->kv_heads,
                  .head_dim = c->head_dim,
                  .q_norm = weights->q_norm,
                  .k_norm = weights->k_norm,
                  .eps = c->eps,
                  .cos = turns ? model->cos : NULL,
                  .sin = turns ? model->sin : NULL,
                  .rstd = layer->rstd_qk},
                 err);
}

lc_attention_shape lc_attention_shape_of(const lc_model *model, int32_t layer,
                                         const lc_batch *batch)
{
    const lc_model_config *c = &model->config;
    const lc_attention_shape shape = {.heads = c->heads,
                                      .kv_heads = c->kv_heads,
                                      .head_dim = c->head_dim,
                                      .scale = (float)(1.0 / sqrt((double)c->head_dim)),
                                      .window = c->layer_window[layer],
                                      .shared_rows = batch->shared_rows,
                                      .document_count = batch->document_count,
                                      .cu_seqlens = batch->cu_seqlens};
    return shape;
}

/* Row n of k and v goes to row slots[n]*cache_rows + positions[n] of the cache. Runs of consecutive
 * positions of one slot are copied together. */
static lc_code append_cache(lc_model *model, int32_t layer, const lc_decode_args *decode, lc_mat k,
                            lc_mat v, lc_err *err)
{
    lc_device *device = model->device;
    for (int32_t first = 0, end; first < decode->token_count; first = end) {
        for (end = first + 1;
             end < decode->token_count && decode->slots[end] == decode->slots[first] &&
             decode->positions[end] == decode->positions[end - 1] + 1;
             end++) {}
        const int64_t row = decode->slots[first] * model->cache_rows + decode->positions[first];
        const int64_t rows = end - first;
        LC_TRY(device->ops->copy(device, lc_mat_view(model->k_cache[layer], row, 0, rows, k.cols),
                                 lc_mat_view(k, first, 0, rows, k.cols), err));
        LC_TRY(device->ops->copy(device, lc_mat_view(model->v_cache[layer], row, 0, rows, v.cols),
                                 lc_mat_view(v, first, 0, rows, v.cols), err));
    }
    return LC_OK;
}

static lc_code attend(lc_model *model, int32_t index, const lc_layer_activations *layer,
                      int64_t rows, const lc_batch *batch, const lc_decode_args *decode,
                      lc_err *err)
{
    const lc_model_config *c = &model->config;
    lc_mat q, k, v;
    lc_qkv_windows(model, layer, rows, &q, &k, &v);
    if (decode == NULL) {
        return LC_OP(model->device, attention,
                     {.shape = lc_attention_shape_of(model, index, batch),
                      .q = q,
                      .k = k,
                      .v = v,
                      .out = lc_rows(layer->attended, rows),
                      .lse = layer->lse},
                     err);
    }
    LC_TRY(append_cache(model, index, decode, k, v, err));
    return LC_OP(model->device, attention_cached,
                 {.heads = c->heads,
                  .kv_heads = c->kv_heads,
                  .head_dim = c->head_dim,
                  .scale = (float)(1.0 / sqrt((double)c->head_dim)),
                  .window = c->layer_window[index],
                  .slots = model->slots,
                  .positions = model->positions,
                  .slot_rows = model->cache_rows,
                  .q = q,
                  .k_cache = model->k_cache[index],
                  .v_cache = model->v_cache[index],
                  .out = lc_rows(layer->attended, rows)},
                 err);
}

lc_code lc_norm_rows(lc_model *model, lc_mat x, const float *weight, lc_mat y, float *rstd,
                     lc_err *err)
{
    return LC_OP(model->device, rmsnorm,
                 {.x = x,
                  .weight = weight,
                  .eps = model->config.eps,
                  .y = lc_mat_view(y, 0, 0, x.rows, x.cols),
                  .rstd = rstd},
                 err);
}

/* Attention output and input of the last layer at the rows that are read, side by side. */
static lc_code keep_read_rows(lc_model *model, const lc_layer_activations *layer, int64_t rows,
                              lc_err *err)
{
    const int64_t count = model->read_count, width = layer->attended.cols;
    LC_TRY(LC_OP(model->device, gather_rows,
                 {.x = lc_rows(layer->attended, rows),
                  .rows = model->target_rows,
                  .y = lc_mat_view(model->read_attended, 0, 0, count, width)},
                 err));
    return LC_OP(model->device, gather_rows,
                 {.x = lc_rows(layer->input, rows),
                  .rows = model->target_rows,
                  .y = lc_rows(layer->middle, count)},
                 err);
}

/* o_proj, norm and mlp: from attention output (with its border) and residual to the layer's output.
 * residual may be the layer's middle. */
static lc_code after_attention(lc_model *model, int32_t index, lc_mat attended, lc_mat residual,
                               const lc_dropout *dropout, lc_err *err)
{
    const lc_layer_weights *weights = &model->weights.layers[index];
    const lc_layer_activations *layer = &model->layers[index];
    const int64_t rows = attended.rows;
    const lc_mat none = {NULL, 0, 0, 0, LC_F32};
    const lc_mat output =
        lc_is_last_layer(model, index) ? model->hidden : model->layers[index + 1].input;
    const lc_mat middle = lc_rows(layer->middle, rows), normed = lc_rows(model->normed, rows),
                 product = lc_rows(model->product, rows);
    lc_group group = lc_group_of(model, index, LC_GROUP_O);
    LC_TRY(bordered_linear(model, &group, attended, residual, middle, layer->s[LC_GROUP_O], dropout,
                           err));
    LC_TRY(lc_norm_rows(model, middle, weights->norm2, normed, layer->rstd2, err));
    group = lc_group_of(model, index, LC_GROUP_GATE_UP);
    LC_TRY(bordered_linear(model, &group, normed, none, lc_rows(layer->gate_up, rows),
                           layer->s[LC_GROUP_GATE_UP], dropout, err));
    LC_TRY(LC_OP(model->device, swiglu, {.gate_up = lc_rows(layer->gate_up, rows), .y = product},
                 err));
    group = lc_group_of(model, index, LC_GROUP_DOWN);
    return bordered_linear(model, &group, product, middle, lc_rows(output, rows),
                           layer->s[LC_GROUP_DOWN], dropout, err);
}

static lc_code layer_forward(lc_model *model, int32_t index, int64_t rows, const lc_batch *batch,
                             const lc_decode_args *decode, const lc_dropout *dropout, lc_err *err)
{
    const lc_layer_activations *layer = &model->layers[index];
    const lc_mat none = {NULL, 0, 0, 0, LC_F32}, normed = lc_rows(model->normed, rows);
    const lc_group group = lc_group_of(model, index, LC_GROUP_QKV);
    LC_TRY(lc_norm_rows(model, lc_rows(layer->input, rows), model->weights.layers[index].norm1,
                        normed, layer->rstd1, err));
    LC_TRY(bordered_linear(model, &group, normed, none, lc_rows(layer->qkv, rows),
                           layer->s[LC_GROUP_QKV], dropout, err));
    LC_TRY(rotate(model, index, layer, rows, err));
    LC_TRY(attend(model, index, layer, rows, batch, decode, err));
    if (!lc_is_last_layer(model, index)) {
        return after_attention(model, index, lc_rows(layer->attended, rows),
                               lc_rows(layer->input, rows), dropout, err);
    }
    const int64_t count = model->read_count;
    if (count == 0) {
        return LC_OK;
    }
    const lc_dropout read = lc_dropout_of_read_rows(model, dropout);
    LC_TRY(keep_read_rows(model, layer, rows, err));
    return after_attention(model, index, lc_rows(model->read_attended, count),
                           lc_rows(layer->middle, count), &read, err);
}

lc_code lc_model_forward(lc_model *model, int32_t token_count, const lc_batch *batch,
                         const lc_decode_args *decode, const lc_dropout *dropout, lc_err *err)
{
    LC_TRY(LC_OP(model->device, embed,
                 {.ids = model->ids,
                  .table = model->weights.embed,
                  .out = lc_rows(model->layers[0].input, token_count)},
                 err));
    for (int32_t layer = 0; layer < model->config.layers; layer++) {
        if (layer_forward(model, layer, token_count, batch, decode, dropout, err) != LC_OK) {
            return lc_err_context(err, "layer %d forward", layer);
        }
    }
    return LC_OK;
}
