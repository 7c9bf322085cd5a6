/*
 * The list of a model's buffers; see layout.h. Strides: a buffer that feeds a bordered GEMM is as
 * wide as its rows plus the border, rounded up to the device's pitch.
 */
#include "model/layout.h"

#include <string.h>

#include "ops/backend.h"

/* State of one walk. */
typedef struct layout {
    lc_model *model;
    lc_plan *plan;
    bool carve;
    int32_t next;                 /* carve: buffer of the plan that comes next */
    int64_t tail[LC_GROUP_COUNT]; /* widest border of each group over all layers */
    lc_err *err;
} layout;

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* One buffer: planned, or its address taken from the plan. layer < 0: none in the name. */
static lc_code place(layout *walk, lc_plan_class plan_class, lc_dtype dtype, int64_t rows,
                     int64_t cols, const char *name, int32_t layer, void **out)
{
    if (!walk->carve) {
        *out = NULL;
        return layer < 0
                   ? lc_plan_add(walk->plan, plan_class, dtype, rows, cols, walk->err, "%s", name)
                   : lc_plan_add(walk->plan, plan_class, dtype, rows, cols, walk->err,
                                 "layer %d %s", layer, name);
    }
    const lc_plan_buffer *buffer = &walk->plan->buffers[walk->next++];
    *out = (char *)walk->model->blocks[buffer->plan_class] + buffer->offset;
    return LC_OK;
}

/* An activation of N rows with `border` tail columns behind cols. */
static lc_code place_mat(layout *walk, lc_plan_class plan_class, int64_t rows, int64_t cols,
                         int64_t border, const char *name, int32_t layer, lc_mat *out)
{
    const int64_t pitch = walk->model->memory->pitch;
    const lc_dtype dtype = walk->model->activation;
    const lc_mat mat = {NULL, rows, cols, (cols + border + pitch - 1) / pitch * pitch, dtype, 0};
    *out = mat;
    return place(walk, plan_class, dtype, rows, mat.ld, name, layer, &out->data);
}

static lc_code place_floats(layout *walk, lc_plan_class plan_class, int64_t rows, int64_t cols,
                            const char *name, int32_t layer, float **out)
{
    void *data = NULL;
    LC_TRY(place(walk, plan_class, LC_F32, rows, cols, name, layer, &data));
    *out = data;
    return LC_OK;
}

static lc_code place_ints(layout *walk, const char *name, int64_t count, int32_t **out)
{
    void *data = NULL;
    LC_TRY(place(walk, LC_PLAN_DATA, LC_I32, count, 1, name, -1, &data));
    *out = data;
    return LC_OK;
}

static lc_code place_bytes(layout *walk, lc_plan_class plan_class, const char *name, size_t bytes,
                           void **out)
{
    return bytes == 0 ? LC_OK : place(walk, plan_class, LC_U8, (int64_t)bytes, 1, name, -1, out);
}

int32_t lc_model_recompute_steps(const lc_model_config *config, const lc_adapter_spec *spec)
{
    const int32_t layers = config->layers - 1 - spec->first_layer;
    return layers > 0 ? 2 * layers : 0;
}

lc_recomputed lc_model_recomputed(const lc_model_config *config, const lc_adapter_spec *spec,
                                  int32_t steps)
{
    const int32_t layers = lc_model_recompute_steps(config, spec) / 2;
    const int32_t whole = steps > layers ? steps - layers : 0;
    return (lc_recomputed){.whole = whole, .gate_up = (steps > layers ? layers : steps) - whole};
}

lc_layer_kept lc_model_layer_kept(const lc_model *model, int32_t layer)
{
    const int32_t index = layer - model->spec.first_layer;
    const lc_recomputed layers =
        lc_model_recomputed(&model->config, &model->spec, model->recompute);
    if (!model->training || index < 0) {
        return LC_KEEPS_NOTHING;
    }
    return index < layers.whole                    ? LC_KEEPS_INPUT
           : index < layers.whole + layers.gate_up ? LC_KEEPS_MOST
                                                   : LC_KEEPS_ALL;
}

/* Parts of a layer's activations that are kept or shared together. */
typedef enum layer_part { PART_INPUT = 1, PART_MIDDLE = 2, PART_GATE_UP = 4 } layer_part;

/* The parts that a layer has for itself. */
static unsigned own_parts(lc_layer_kept kept)
{
    static const unsigned parts[] = {[LC_KEEPS_NOTHING] = 0,
                                     [LC_KEEPS_INPUT] = PART_INPUT,
                                     [LC_KEEPS_MOST] = PART_INPUT | PART_MIDDLE,
                                     [LC_KEEPS_ALL] = PART_INPUT | PART_MIDDLE | PART_GATE_UP};
    return parts[kept];
}

/* `parts` of a layer's activations, or of the set that layers share (layer -1). tail: borders. */
static lc_code place_parts(layout *walk, unsigned parts, int32_t layer, const int64_t *tail,
                           lc_layer_activations *out)
{
    const lc_model *model = walk->model;
    const lc_model_config *c = &model->config;
    const lc_plan_class where = layer < 0 ? LC_PLAN_SCRATCH : LC_PLAN_ACTIVATIONS;
    const int64_t n = model->tokens;
    const int64_t q_width = (int64_t)c->heads * c->head_dim,
                  kv_width = (int64_t)c->kv_heads * c->head_dim;
    if (parts & PART_INPUT) {
        LC_TRY(place_mat(walk, where, n, c->width, 0, "input", layer, &out->input));
    }
    if (parts & PART_MIDDLE) {
        LC_TRY(place_mat(walk, where, n, q_width + 2 * kv_width, 0, "qkv", layer, &out->qkv));
        out->qk = lc_mat_view(out->qkv, 0, 0, n, q_width + kv_width);
        if (c->qk_norm) {
            LC_TRY(place_mat(walk, where, n, q_width + kv_width, 0, "qk", layer, &out->qk));
            LC_TRY(place_floats(walk, where, n, c->heads + c->kv_heads, "rstd_qk", layer,
                                &out->rstd_qk));
        }
        LC_TRY(place_mat(walk, where, n, q_width, tail[LC_GROUP_O], "attended", layer,
                         &out->attended));
        LC_TRY(place_mat(walk, where, n, c->width, 0, "middle", layer, &out->middle));
    }
    if (parts & PART_GATE_UP) {
        LC_TRY(place_mat(walk, where, n, 2 * (int64_t)c->mlp,
                         model->training ? tail[LC_GROUP_GATE_UP] : 0, "gate_up", layer,
                         &out->gate_up));
    }
    return LC_OK;
}

/* What a layer keeps; the rest of *out stays as it is. */
static lc_code place_layer(layout *walk, int32_t layer, lc_layer_activations *out)
{
    const lc_model *model = walk->model;
    const lc_model_config *c = &model->config;
    const lc_plan_class where = LC_PLAN_ACTIVATIONS;
    const lc_layer_kept kept = lc_model_layer_kept(model, layer);
    const int64_t n = model->tokens, q_width = (int64_t)c->heads * c->head_dim;
    int64_t tail[LC_GROUP_COUNT];
    if (kept == LC_KEEPS_NOTHING) {
        return LC_OK;
    }
    for (int group = 0; group < LC_GROUP_COUNT; group++) {
        tail[group] = lc_group_shape_of(c, &model->spec, layer, (lc_group_kind)group).tail;
    }
    LC_TRY(
        place_parts(walk, own_parts(kept), layer, layer + 1 == c->layers ? walk->tail : tail, out));
    LC_TRY(place_floats(walk, where, n, 1, "rstd1", layer, &out->rstd1));
    LC_TRY(place_floats(walk, where, n, 1, "rstd2", layer, &out->rstd2));
    LC_TRY(place_floats(walk, where, n, c->heads, "lse", layer, &out->lse));
    out->s[LC_GROUP_O] = lc_mat_view(out->attended, 0, q_width, n, tail[LC_GROUP_O]);
    static const char *const s_names[LC_GROUP_COUNT] = {"s_qkv", "s_o", "s_gate_up", "s_down"};
    for (int group = 0; group < LC_GROUP_COUNT; group++) {
        /* That of o_proj stays behind the attention output. */
        const bool is_kept = group == LC_GROUP_O && kept != LC_KEEPS_INPUT;
        if (tail[group] > 0 && !is_kept) {
            LC_TRY(
                place_mat(walk, where, n, tail[group], 0, s_names[group], layer, &out->s[group]));
        }
    }
    return LC_OK;
}

/* Layers share the last one's buffers, whose borders are as wide as any: its forward pass is the
 * last to write them, and its backward pass is done with them when others are restored. Only a
 * layer's input has to be there as long as its output. */
static lc_code place_layers(layout *walk)
{
    lc_model *model = walk->model;
    const int32_t last = model->config.layers - 1;
    lc_layer_activations *top = &model->layers[last], shared = {.lse = NULL};
    const bool is_saved = lc_model_layer_kept(model, last) != LC_KEEPS_NOTHING;
    memset(top, 0, sizeof *top);
    if (is_saved) {
        LC_TRY(place_layer(walk, last, top));
        shared.qkv = top->qkv, shared.qk = top->qk, shared.rstd_qk = top->rstd_qk;
        shared.attended = top->attended, shared.middle = top->middle;
        shared.gate_up = top->gate_up;
    } else {
        LC_TRY(place_parts(walk, PART_MIDDLE | PART_GATE_UP, -1, walk->tail, &shared));
    }
    if (lc_model_layer_kept(model, 0) == LC_KEEPS_NOTHING) {
        LC_TRY(place_parts(walk, PART_INPUT, -1, walk->tail, &shared));
    }
    for (int32_t layer = 0; layer < last + !is_saved; layer++) {
        model->layers[layer] = shared;
        LC_TRY(place_layer(walk, layer, &model->layers[layer]));
    }
    return LC_OK;
}

static lc_code place_adapter(layout *walk)
{
    lc_model *model = walk->model;
    const int64_t count = model->spec.master_count;
    if (count == 0) {
        return LC_OK;
    }
    void *memory = NULL;
    LC_TRY(place_floats(walk, LC_PLAN_ADAPTER, count, 1, "masters", -1, &model->master));
    LC_TRY(place_bytes(walk, LC_PLAN_ADAPTER, "table of modules",
                       (size_t)model->publish_count * sizeof *model->publish_slots, &memory));
    model->publish_slots = memory;
    if (!model->training) {
        return LC_OK;
    }
    LC_TRY(place_floats(walk, LC_PLAN_ADAPTER, count, 1, "gradients", -1, &model->grad));
    LC_TRY(place_bytes(walk, LC_PLAN_ADAPTER, "update", sizeof *model->update, &memory));
    model->update = memory;
    LC_TRY(place_floats(walk, LC_PLAN_ADAPTER, count, 1, "adam m", -1, &model->adam_m));
    return place_floats(walk, LC_PLAN_ADAPTER, count, 1, "adam v", -1, &model->adam_v);
}

/* Buffers that only a backward pass needs. */
static lc_code place_backward_scratch(layout *walk)
{
    lc_model *model = walk->model;
    const lc_model_config *c = &model->config;
    const int64_t n = model->tokens;
    const int64_t q_width = (int64_t)c->heads * c->head_dim,
                  kv_width = (int64_t)c->kv_heads * c->head_dim;
    const int64_t widest = max64(max64(c->mlp, c->width), q_width);
    int64_t border = 0;
    for (int group = 0; group < LC_GROUP_COUNT; group++) {
        border = max64(border, walk->tail[group]);
    }
    LC_TRY(place_mat(walk, LC_PLAN_SCRATCH, n, c->width,
                     max64(walk->tail[LC_GROUP_O], walk->tail[LC_GROUP_DOWN]), "d_hidden", -1,
                     &model->d_hidden));
    LC_TRY(place_mat(walk, LC_PLAN_SCRATCH, n, q_width + 2 * kv_width, walk->tail[LC_GROUP_QKV],
                     "d_qkv", -1, &model->d_qkv));
    LC_TRY(place_mat(walk, LC_PLAN_SCRATCH, n, widest, border, "d_product", -1, &model->d_product));
    LC_TRY(place_mat(walk, LC_PLAN_SCRATCH, n, c->width, 0, "d_read", -1, &model->d_read));
    LC_TRY(place_floats(walk, LC_PLAN_SCRATCH, n, c->heads, "delta", -1, &model->delta));
    if (model->dropout > 0.0f) {
        LC_TRY(place_mat(walk, LC_PLAN_SCRATCH, n, widest, 0, "dropped", -1, &model->dropped));
    }
    return LC_OK;
}

/* The adapted modules of a group with the widest slots that any layer has for them. */
static lc_lora_parts widest_parts(const lc_model_config *config, const lc_adapter_spec *spec,
                                  lc_group_kind kind)
{
    lc_lora_parts parts = {.count = 0};
    lc_module_kind first;
    int32_t count, slot = 0;
    lc_group_modules(kind, &first, &count);
    for (int32_t i = 0; i < count; i++) {
        const lc_module_kind module = (lc_module_kind)((int32_t)first + i);
        int32_t width = 0;
        for (int32_t layer = 0; layer < config->layers; layer++) {
            const int32_t r16 = spec->slots[layer][module].r16;
            width = r16 > width ? r16 : width;
        }
        if (width > 0) {
            parts.part[parts.count++] =
                (lc_lora_part){.out = lc_module_out(config, module), .slot = slot, .width = width};
            slot += width;
        }
    }
    return parts;
}

lc_workspace_extent lc_model_workspace(const lc_model_config *config, const lc_adapter_spec *spec,
                                       lc_dtype activation, int64_t tokens, int64_t cache_rows)
{
    return (lc_workspace_extent){.tokens = tokens,
                                 .width = config->width,
                                 .mlp = config->mlp,
                                 .heads = config->heads,
                                 .kv_heads = config->kv_heads,
                                 .head_dim = config->head_dim,
                                 .may_use_cudnn = activation == LC_BF16 &&
                                                  lc_attention_path_asked() != LC_ATTENTION_LORAC,
                                 .qkv = widest_parts(config, spec, LC_GROUP_QKV),
                                 .o = widest_parts(config, spec, LC_GROUP_O),
                                 .gate_up = widest_parts(config, spec, LC_GROUP_GATE_UP),
                                 .down = widest_parts(config, spec, LC_GROUP_DOWN),
                                 .masters = spec->master_count,
                                 .cache_rows = cache_rows};
}

/* What the device's ops put down on their way. */
static lc_code place_workspace(layout *walk)
{
    lc_model *model = walk->model;
    lc_workspace_extent extent =
        lc_model_workspace(&model->config, &model->spec, model->activation, model->tokens,
                           model->cache_slots > 0 ? model->cache_rows : 0);
    extent.masters = model->training ? extent.masters : 0;
    model->workspace_bytes = model->memory->workspace_bytes(&extent);
    return place_bytes(walk, LC_PLAN_SCRATCH, "workspace", model->workspace_bytes,
                       &model->workspace);
}

static lc_code place_scratch(layout *walk)
{
    lc_model *model = walk->model;
    const lc_model_config *c = &model->config;
    const int64_t n = model->tokens;
    void *memory = NULL;
    const int64_t q_width = (int64_t)c->heads * c->head_dim;
    LC_TRY(place_mat(walk, LC_PLAN_SCRATCH, n, c->width, 0, "hidden", -1, &model->hidden));
    LC_TRY(place_mat(walk, LC_PLAN_SCRATCH, n, c->width,
                     max64(walk->tail[LC_GROUP_QKV], walk->tail[LC_GROUP_GATE_UP]), "normed", -1,
                     &model->normed));
    LC_TRY(place_mat(walk, LC_PLAN_SCRATCH, n, c->mlp, walk->tail[LC_GROUP_DOWN], "product", -1,
                     &model->product));
    LC_TRY(place_mat(walk, LC_PLAN_SCRATCH, n, q_width, walk->tail[LC_GROUP_O], "read_attended", -1,
                     &model->read_attended));
    LC_TRY(place_mat(walk, LC_PLAN_SCRATCH, model->head_rows, c->vocab, 0, "logits", -1,
                     &model->logits));
    LC_TRY(place_floats(walk, LC_PLAN_SCRATCH, n, 1, "head_rstd", -1, &model->head_rstd));
    LC_TRY(place_floats(walk, LC_PLAN_SCRATCH, n, 1, "nll", -1, &model->nll));
    LC_TRY(place_floats(walk, LC_PLAN_SCRATCH, n, 1, "correct", -1, &model->correct));
    LC_TRY(place_bytes(walk, LC_PLAN_SCRATCH, "sums", sizeof *model->sums, &memory));
    model->sums = memory;
    LC_TRY(place_workspace(walk));
    return model->training ? place_backward_scratch(walk) : LC_OK;
}

/* S of o_proj in the last layer is behind the rows that are read. */
static void set_last_layer(lc_model *model)
{
    const lc_model_config *c = &model->config;
    const int32_t last = c->layers - 1;
    if (lc_model_layer_kept(model, last) != LC_KEEPS_NOTHING) {
        const int32_t tail = lc_group_shape_of(c, &model->spec, last, LC_GROUP_O).tail;
        model->layers[last].s[LC_GROUP_O] = lc_mat_view(
            model->read_attended, 0, (int64_t)c->heads * c->head_dim, model->tokens, tail);
    }
}

/* What the device is told of the sequences of a pass that chooses tokens. */
static lc_code place_sequences(layout *walk)
{
    lc_model *model = walk->model;
    void *memory = NULL;
    LC_TRY(place_ints(walk, "positions of chosen", model->cache_slots, &model->chosen_positions));
    LC_TRY(place_ints(walk, "slots of chosen", model->cache_slots, &model->chosen_slots));
    LC_TRY(place_bytes(walk, LC_PLAN_DATA, "sampling",
                       (size_t)model->cache_slots * sizeof *model->chosen_how, &memory));
    model->chosen_how = memory;
    return LC_OK;
}

static lc_code place_batch(layout *walk)
{
    lc_model *model = walk->model;
    const int64_t n = model->tokens, half = model->config.head_dim / 2;
    void *memory = NULL;
    LC_TRY(place_bytes(walk, LC_PLAN_DATA, "step values", sizeof *model->values, &memory));
    model->values = memory;
    LC_TRY(place_ints(walk, "ids", n, &model->ids));
    LC_TRY(place_ints(walk, "positions", n, &model->positions));
    LC_TRY(place_ints(walk, "target rows", n, &model->target_rows));
    LC_TRY(place_ints(walk, "targets", n, &model->targets));
    LC_TRY(place_ints(walk, "slots", n, &model->slots));
    if (model->spec.copies > 0) {
        const int64_t rows = model->spec.copies * n;
        LC_TRY(place_ints(walk, "rows of adapters", rows, &model->adapter_rows));
        LC_TRY(place_ints(walk, "read rows of adapters", rows, &model->adapter_read_rows));
    }
    LC_TRY(place_floats(walk, LC_PLAN_DATA, n, 1, "target weights", -1, &model->target_weights));
    LC_TRY(place_floats(walk, LC_PLAN_DATA, n, half, "cos", -1, &model->cos));
    LC_TRY(place_floats(walk, LC_PLAN_DATA, n, half, "sin", -1, &model->sin));
    LC_TRY(place_bytes(walk, LC_PLAN_DATA, "layout of documents", model->memory->layout_bytes(n),
                       &model->layout));
    LC_TRY(place(walk, LC_PLAN_DATA, LC_I64, n, 1, "examples", -1, &memory));
    model->examples = memory;
    if (model->cache_slots > 0) {
        LC_TRY(place_sequences(walk));
    }
    if (model->dropout > 0.0f) {
        LC_TRY(place(walk, LC_PLAN_DATA, LC_I64, n, 1, "examples of read rows", -1, &memory));
        model->read_examples = memory;
        LC_TRY(place_ints(walk, "positions of read rows", n, &model->read_positions));
    }
    return LC_OK;
}

static lc_code place_cache(layout *walk)
{
    lc_model *model = walk->model;
    int64_t rows;
    if (!lc_mul_i64(model->cache_slots, model->cache_rows, &rows)) {
        return lc_fail(walk->err, LC_ERR_INVALID,
                       "a KV cache of %lld sequences of %lld tokens is too large",
                       (long long)model->cache_slots, (long long)model->cache_rows);
    }
    const int64_t width = (int64_t)model->config.kv_heads * model->config.head_dim;
    for (int32_t layer = 0; rows > 0 && layer < model->config.layers; layer++) {
        LC_TRY(
            place_mat(walk, LC_PLAN_CACHE, rows, width, 0, "keys", layer, &model->k_cache[layer]));
        model->k_cache[layer].strip = lc_cache_strip(model->memory, model->cache_rows);
        LC_TRY(place_mat(walk, LC_PLAN_CACHE, rows, width, 0, "values", layer,
                         &model->v_cache[layer]));
    }
    if (rows == 0) {
        return LC_OK;
    }
    void *chosen = NULL;
    LC_TRY(place(walk, LC_PLAN_CACHE, LC_I32, model->cache_slots, 1, "chosen", -1, &chosen));
    model->chosen = chosen;
    if (!model->memory->runs_ahead || model->config.rope.type == LC_ROPE_DYNAMIC) {
        return LC_OK;
    }
    const int64_t half = model->config.head_dim / 2;
    LC_TRY(place_floats(walk, LC_PLAN_CACHE, model->cache_rows, half, "cos by position", -1,
                        &model->cos_by_position));
    return place_floats(walk, LC_PLAN_CACHE, model->cache_rows, half, "sin by position", -1,
                        &model->sin_by_position);
}

static lc_code place_weights(layout *walk)
{
    lc_model *model = walk->model;
    int64_t bytes = 0;
    void *data = NULL;
    LC_TRY(lc_weights_bytes(&model->config, &model->spec, model->dtype, model->activation, &bytes,
                            walk->err));
    return place(walk, LC_PLAN_WEIGHTS, LC_U8, bytes, 1, "base weights with borders", -1, &data);
}

lc_code lc_model_layout(lc_model *model, lc_plan *plan, bool carve, lc_err *err)
{
    layout walk = {.model = model, .plan = plan, .carve = carve, .err = err};
    for (int32_t layer = 0; layer < model->config.layers; layer++) {
        for (int group = 0; group < LC_GROUP_COUNT; group++) {
            const lc_group_shape shape =
                lc_group_shape_of(&model->config, &model->spec, layer, (lc_group_kind)group);
            walk.tail[group] = max64(walk.tail[group], shape.tail);
        }
    }
    LC_TRY(place_weights(&walk));
    LC_TRY(place_adapter(&walk));
    LC_TRY(place_layers(&walk));
    LC_TRY(place_scratch(&walk));
    set_last_layer(model);
    LC_TRY(place_batch(&walk));
    return place_cache(&walk);
}
