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
 * [X|S] [W|sB]^T gives base and adapter together (ops.h). Where rows have adapters of their own,
 * the base's product comes first; then each adapter that some row has adds its own, with S of
 * other rows zero. So a row's bytes do not hang on the others' adapters.
 */
#include "model/passes.h"

#include "model/layout.h"

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

lc_lora_parts lc_group_parts(const lc_model_config *config, const lc_adapter_spec *spec,
                             int32_t layer, lc_group_kind kind)
{
    const lc_group_shape shape = lc_group_shape_of(config, spec, layer, kind);
    lc_lora_parts parts = {.count = 0};
    lc_module_kind first;
    int32_t count;
    lc_group_modules(kind, &first, &count);
    for (int32_t i = 0; i < count; i++) {
        const lc_module_kind module = (lc_module_kind)((int32_t)first + i);
        const lc_lora_slot *slot = &spec->slots[layer][module];
        if (slot->rank > 0) {
            parts.part[parts.count++] = (lc_lora_part){.row = shape.row_first[module],
                                                       .out = lc_module_out(config, module),
                                                       .slot = shape.slot_first[module],
                                                       .width = slot->r16,
                                                       .module = (int32_t)module,
                                                       .scale = slot->scale};
        }
    }
    return parts;
}

lc_group lc_group_of(const lc_model *model, int32_t layer, lc_group_kind kind)
{
    const bool is_read = lc_is_last_layer(model, layer) && kind != LC_GROUP_QKV;
    lc_group group = {.shape = lc_group_shape_of(&model->config, &model->spec, layer, kind),
                      .parts = lc_group_parts(&model->config, &model->spec, layer, kind),
                      .g = model->weights.layers[layer].group[kind],
                      .bias = model->weights.layers[layer].bias[kind],
                      .index = layer * LC_GROUP_COUNT + (int32_t)kind,
                      .adapter_rows = model->is_step || is_read ? model->adapter_read_rows
                                                                : model->adapter_rows};
    for (int32_t i = 0; model->grad != NULL && i < group.parts.count; i++) {
        lc_lora_part *part = &group.parts.part[i];
        const lc_lora_slot *slot = &model->spec.slots[layer][part->module];
        part->db = model->grad + slot->b_offset;
        if (i == 0) {
            group.da = model->grad + slot->a_offset;
        }
    }
    return group;
}

lc_dropout lc_dropout_of_read_rows(const lc_model *model, const lc_dropout *dropout)
{
    lc_dropout keyed = *dropout;
    keyed.example = model->read_examples;
    keyed.position = model->read_positions;
    return keyed;
}

lc_dropout lc_dropout_of(const lc_dropout *dropout, int32_t layer)
{
    lc_dropout keyed = *dropout;
    keyed.layer = layer;
    return keyed;
}

/* S = drop(X) A^T of x into the border behind it, and into `saved` when that has data. x has the
 * group's in columns. */
static lc_lora_forward_args lora_of(const lc_model *model, const lc_group *group, lc_mat x,
                                    lc_mat saved, const lc_dropout *dropout)
{
    const lc_group_shape *shape = &group->shape;
    const lc_mat s = lc_mat_tail(x, shape->tail);
    const lc_mat none = {.data = NULL};
    return (lc_lora_forward_args){
        .x = x,
        .a = lc_mat_view(group->g, shape->out, 0, shape->tail, shape->in),
        .s = s,
        .saved = saved.data != NULL && saved.data != s.data ? lc_rows(saved, x.rows) : none,
        .parts = group->parts,
        .dropout = *dropout,
        .x_dropped =
            dropout->p > 0.0f ? lc_mat_view(model->dropped, 0, 0, x.rows, shape->in) : none};
}

/* One adapter of several: y += S (sB)^T for the rows that have it, S = x A^T. */
static lc_code add_adapter(lc_model *model, const lc_adapter_group *adapter, const int32_t *rows,
                           lc_mat x, lc_mat y, lc_err *err)
{
    const lc_mat s = lc_mat_tail(x, adapter->a.rows);
    LC_TRY(LC_OP(model->device, lora_forward,
                 {.x = x, .a = adapter->a, .s = s, .parts = adapter->parts}, err));
    LC_TRY(LC_OP(model->device, gather_rows, {.x = s, .rows = rows, .y = s}, err));
    return LC_OP(model->device, linear, {.x = s, .w = adapter->sb, .addend = y, .y = y}, err);
}

static lc_code add_adapters(lc_model *model, const lc_group *group, lc_mat x, lc_mat y, lc_err *err)
{
    for (int32_t place = 0; place < model->spec.copies; place++) {
        if ((model->active_adapters >> place & 1) == 0 || model->places[place].groups == NULL) {
            continue;
        }
        const lc_adapter_group *adapter = &model->places[place].groups[group->index];
        if (adapter->a.rows > 0) {
            LC_TRY(add_adapter(model, adapter, group->adapter_rows + place * model->tokens, x, y,
                               err));
        }
    }
    return LC_OK;
}

/* y = [x|S] [W|sB]^T + bias + addend, S being there already. */
static lc_code bordered_product(lc_model *model, const lc_group *group, lc_mat x, lc_mat addend,
                                lc_mat y, lc_err *err)
{
    const lc_group_shape *shape = &group->shape;
    const bool is_apart = model->spec.copies > 0;
    const int32_t tail = is_apart ? 0 : shape->tail;
    lc_mat whole = x;
    whole.cols = shape->in + tail;
    LC_TRY(LC_OP(model->device, linear,
                 {.x = whole,
                  .w = lc_mat_view(group->g, 0, 0, shape->out, whole.cols),
                  .tail = tail,
                  .bias = group->bias,
                  .addend = addend,
                  .y = y},
                 err));
    return is_apart ? add_adapters(model, group, x, y, err) : LC_OK;
}

/* All rows have the same one. */
static bool has_one_adapter(const lc_model *model, const lc_group *group)
{
    return group->shape.tail > 0 && model->spec.copies == 0;
}

static lc_code bordered_linear(lc_model *model, const lc_group *group, lc_mat x, lc_mat addend,
                               lc_mat y, lc_mat saved, const lc_dropout *dropout, lc_err *err)
{
    if (has_one_adapter(model, group)) {
        const lc_lora_forward_args lora = lora_of(model, group, x, saved, dropout);
        LC_TRY(model->device->ops->lora_forward(model->device, &lora, err));
    }
    return bordered_product(model, group, x, addend, y, err);
}

/* y = silu(gate) * up and its product with the down projection. */
static lc_code swiglu_down(lc_model *model, const lc_group *group, lc_mat gate_up, lc_mat addend,
                           lc_mat y, lc_mat saved, const lc_dropout *dropout, lc_err *err)
{
    const lc_mat product = lc_rows(model->product, gate_up.rows);
    const bool is_bordered = has_one_adapter(model, group);
    lc_lora_forward_args lora;
    if (is_bordered) {
        lora = lora_of(model, group, product, saved, dropout);
    }
    LC_TRY(LC_OP(model->device, swiglu,
                 {.gate_up = gate_up, .y = product, .lora = is_bordered ? &lora : NULL}, err));
    return bordered_product(model, group, product, addend, y, err);
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
                                      .documents = lc_documents_of(batch),
                                      .layout = model->layout};
    return shape;
}

static lc_code attend(lc_model *model, int32_t index, const lc_layer_activations *layer,
                      int64_t rows, const lc_batch *batch, lc_err *err)
{
    const lc_model_config *c = &model->config;
    lc_mat q, k, v;
    lc_qkv_windows(model, layer, rows, &q, &k, &v);
    if (batch != NULL) {
        return LC_OP(model->device, attention,
                     {.shape = lc_attention_shape_of(model, index, batch),
                      .q = q,
                      .k = k,
                      .v = v,
                      .out = lc_rows(layer->attended, rows),
                      .lse = layer->lse},
                     err);
    }
    LC_TRY(LC_OP(model->device, cache_append,
                 {.slots = model->slots,
                  .positions = model->positions,
                  .slot_rows = model->cache_rows,
                  .k = k,
                  .v = v,
                  .k_cache = model->k_cache[index],
                  .v_cache = model->v_cache[index]},
                 err));
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
    const lc_mat none = {.data = NULL};
    const lc_mat output =
        lc_is_last_layer(model, index) ? model->hidden : model->layers[index + 1].input;
    const lc_mat middle = lc_rows(layer->middle, rows), normed = lc_rows(model->normed, rows),
                 gate_up = lc_mat_view(layer->gate_up, 0, 0, rows, 2 * (int64_t)model->config.mlp);
    const lc_dropout keyed = lc_dropout_of(dropout, index);
    lc_group group = lc_group_of(model, index, LC_GROUP_O);
    LC_TRY(bordered_linear(model, &group, attended, residual, middle, layer->s[LC_GROUP_O], &keyed,
                           err));
    LC_TRY(lc_norm_rows(model, middle, weights->norm2, normed, layer->rstd2, err));
    group = lc_group_of(model, index, LC_GROUP_GATE_UP);
    LC_TRY(bordered_linear(model, &group, normed, none, gate_up, layer->s[LC_GROUP_GATE_UP], &keyed,
                           err));
    group = lc_group_of(model, index, LC_GROUP_DOWN);
    return swiglu_down(model, &group, gate_up, middle, lc_rows(output, rows),
                       layer->s[LC_GROUP_DOWN], &keyed, err);
}

static lc_code layer_forward(lc_model *model, int32_t index, int64_t rows, const lc_batch *batch,
                             const lc_dropout *dropout, lc_err *err)
{
    const lc_layer_activations *layer = &model->layers[index];
    const lc_mat none = {.data = NULL}, normed = lc_rows(model->normed, rows);
    const lc_dropout keyed = lc_dropout_of(dropout, index);
    const lc_group group = lc_group_of(model, index, LC_GROUP_QKV);
    LC_TRY(lc_norm_rows(model, lc_rows(layer->input, rows), model->weights.layers[index].norm1,
                        normed, layer->rstd1, err));
    LC_TRY(bordered_linear(model, &group, normed, none, lc_rows(layer->qkv, rows),
                           layer->s[LC_GROUP_QKV], &keyed, err));
    LC_TRY(rotate(model, index, layer, rows, err));
    LC_TRY(attend(model, index, layer, rows, batch, err));
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

lc_code lc_model_forward(lc_model *model, int64_t rows, const lc_batch *batch,
                         const lc_dropout *dropout, lc_err *err)
{
    LC_TRY(LC_OP(model->device, embed,
                 {.ids = model->ids,
                  .table = model->weights.embed,
                  .out = lc_rows(model->layers[0].input, rows)},
                 err));
    for (int32_t layer = 0; layer < model->config.layers; layer++) {
        if (layer_forward(model, layer, rows, batch, dropout, err) != LC_OK) {
            return lc_err_context(err, "layer %d forward", layer);
        }
    }
    return LC_OK;
}

/* ---- once more ---- */

/* A bordered product whose S was kept. */
static lc_code linear_again(lc_model *model, int32_t index, lc_group_kind kind, lc_mat x,
                            lc_mat addend, lc_mat y, lc_err *err)
{
    const lc_group group = lc_group_of(model, index, kind);
    const lc_mat s = lc_mat_view(model->layers[index].s[kind], 0, 0, x.rows, group.shape.tail);
    if (group.shape.tail > 0) {
        LC_TRY(model->device->ops->copy(model->device, lc_mat_tail(x, group.shape.tail), s, err));
    }
    return bordered_product(model, &group, x, addend, y, err);
}

/* From the layer's input to its middle. */
static lc_code restore_middle(lc_model *model, int32_t index, const lc_batch *batch, lc_err *err)
{
    const lc_layer_activations *layer = &model->layers[index];
    const int64_t rows = model->rows;
    const lc_mat none = {.data = NULL}, input = lc_rows(layer->input, rows),
                 normed = lc_rows(model->normed, rows);
    LC_TRY(
        lc_norm_rows(model, input, model->weights.layers[index].norm1, normed, layer->rstd1, err));
    LC_TRY(linear_again(model, index, LC_GROUP_QKV, normed, none, lc_rows(layer->qkv, rows), err));
    LC_TRY(rotate(model, index, layer, rows, err));
    LC_TRY(attend(model, index, layer, rows, batch, err));
    return linear_again(model, index, LC_GROUP_O, lc_rows(layer->attended, rows), input,
                        lc_rows(layer->middle, rows), err);
}

static lc_code restore_gate_up(lc_model *model, int32_t index, lc_err *err)
{
    const lc_layer_activations *layer = &model->layers[index];
    const lc_mat none = {.data = NULL}, normed = lc_rows(model->normed, model->rows);
    const lc_mat gate_up =
        lc_mat_view(layer->gate_up, 0, 0, model->rows, 2 * (int64_t)model->config.mlp);
    LC_TRY(lc_norm_rows(model, lc_rows(layer->middle, model->rows),
                        model->weights.layers[index].norm2, normed, layer->rstd2, err));
    return linear_again(model, index, LC_GROUP_GATE_UP, normed, none, gate_up, err);
}

lc_code lc_restore_layer(lc_model *model, int32_t layer, const lc_batch *batch, lc_err *err)
{
    const lc_layer_kept kept = lc_model_layer_kept(model, layer);
    if (kept == LC_KEEPS_ALL) {
        return LC_OK;
    }
    if (kept == LC_KEEPS_INPUT) {
        LC_TRY(restore_middle(model, layer, batch, err));
    }
    return restore_gate_up(model, layer, err);
}
