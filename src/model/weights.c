/*
 * The frozen base in device memory: shapes of the bordered matrices, sizes, carving of one block,
 * and the adapter's way into the borders. weights_load.c reads the files.
 */
#include "model/weights.h"

#include "lorac/mem.h"
#include "model/weights_names.h"

#define BUFFER_ALIGNMENT 256

static const struct {
    lc_module_kind first;
    int32_t count;
} groups[LC_GROUP_COUNT] = {
    [LC_GROUP_QKV] = {LC_MODULE_Q, 3},
    [LC_GROUP_O] = {LC_MODULE_O, 1},
    [LC_GROUP_GATE_UP] = {LC_MODULE_GATE, 2},
    [LC_GROUP_DOWN] = {LC_MODULE_DOWN, 1},
};

void lc_group_modules(lc_group_kind kind, lc_module_kind *first, int32_t *count)
{
    *first = groups[kind].first;
    *count = groups[kind].count;
}

lc_group_shape lc_group_shape_of(const lc_model_config *config, const lc_adapter_spec *spec,
                                 int32_t layer, lc_group_kind kind)
{
    lc_group_shape shape = {.in = lc_module_in(config, groups[kind].first)};
    for (int32_t i = 0; i < groups[kind].count; i++) {
        const lc_module_kind module = (lc_module_kind)(groups[kind].first + i);
        shape.row_first[module] = shape.out;
        shape.slot_first[module] = shape.tail;
        shape.out += lc_module_out(config, module);
        shape.tail += spec->slots[layer][module].r16;
    }
    shape.border = spec->copies > 0 ? 0 : shape.tail;
    shape.ld = (shape.in + (int64_t)(shape.border + 63) / 64 * 64 + 15) / 16 * 16;
    shape.rows = (int64_t)shape.out + shape.border;
    return shape;
}

bool lc_group_has_bias(const lc_model_config *config, lc_group_kind kind)
{
    switch (kind) {
    case LC_GROUP_QKV:
        return config->qkv_bias;
    case LC_GROUP_O:
        return config->o_bias;
    default:
        return config->mlp_bias;
    }
}

/* Walks the block: the same code counts bytes (base NULL) and sets pointers. */
typedef struct block_walker {
    char *base; /* borrowed; NULL: only count */
    int64_t bytes;
    bool has_overflown;
} block_walker;

static void *carve(block_walker *walker, int64_t rows, int64_t cols, lc_dtype dtype)
{
    void *at = walker->base != NULL ? walker->base + walker->bytes : NULL;
    int64_t bytes = 0;
    if (!lc_mul_i64(rows, cols, &bytes) ||
        !lc_mul_i64(bytes, (int64_t)lc_dtype_bytes(dtype), &bytes) ||
        !lc_add_i64(bytes, BUFFER_ALIGNMENT - 1, &bytes) ||
        !lc_add_i64(walker->bytes, bytes / BUFFER_ALIGNMENT * BUFFER_ALIGNMENT, &walker->bytes)) {
        walker->has_overflown = true;
    }
    return at;
}

static lc_mat carve_mat(block_walker *walker, int64_t rows, int64_t cols, int64_t ld,
                        lc_dtype dtype)
{
    const lc_mat mat = {carve(walker, rows, ld, dtype), rows, cols, ld, dtype, 0};
    return mat;
}

static void carve_layer(block_walker *walker, const lc_model_config *config,
                        const lc_adapter_spec *spec, int32_t layer, lc_dtype dtype,
                        lc_dtype activation, lc_layer_weights *out)
{
    for (int kind = 0; kind < LC_GROUP_COUNT; kind++) {
        const lc_group_shape shape = lc_group_shape_of(config, spec, layer, (lc_group_kind)kind);
        out->group[kind] =
            carve_mat(walker, shape.rows, (int64_t)shape.in + shape.border, shape.ld, dtype);
        if (lc_group_has_bias(config, (lc_group_kind)kind)) {
            out->bias[kind] = carve(walker, 1, shape.out, activation);
        }
    }
    out->norm1 = carve(walker, 1, config->width, LC_F32);
    out->norm2 = carve(walker, 1, config->width, LC_F32);
    if (config->qk_norm) {
        out->q_norm = carve(walker, 1, config->head_dim, LC_F32);
        out->k_norm = carve(walker, 1, config->head_dim, LC_F32);
    }
}

/* weights->layers NULL: counting only. */
static void carve_all(block_walker *walker, const lc_model_config *config,
                      const lc_adapter_spec *spec, lc_dtype dtype, lc_weights *weights)
{
    weights->embed = carve_mat(walker, config->vocab, config->width, config->width, dtype);
    weights->head = config->tied
                        ? weights->embed
                        : carve_mat(walker, config->vocab, config->width, config->width, dtype);
    weights->final_norm = carve(walker, 1, config->width, LC_F32);
    for (int32_t layer = 0; layer < config->layers; layer++) {
        lc_layer_weights unused;
        carve_layer(walker, config, spec, layer, dtype, weights->activation,
                    weights->layers != NULL ? &weights->layers[layer] : &unused);
    }
}

static lc_code check_total(const block_walker *walker, lc_err *err)
{
    if (walker->has_overflown) {
        return lc_fail(err, LC_ERR_INVALID, "the weights of this model exceed 2^63 bytes");
    }
    return LC_OK;
}

lc_code lc_weights_bytes(const lc_model_config *config, const lc_adapter_spec *spec, lc_dtype dtype,
                         lc_dtype activation, int64_t *bytes, lc_err *err)
{
    block_walker counter = {0};
    lc_weights unused = {.activation = activation};
    carve_all(&counter, config, spec, dtype, &unused);
    *bytes = counter.bytes;
    return check_total(&counter, err);
}

lc_code lc_weights_carve(const lc_model_config *config, const lc_adapter_spec *spec, lc_dtype dtype,
                         lc_dtype activation, void *block, lc_arena *arena, lc_weights *weights,
                         lc_err *err)
{
    block_walker walker = {.base = block};
    *weights = (lc_weights){.activation = activation};
    LC_TRY(lc_arena_alloc(arena, (size_t)config->layers, sizeof(*weights->layers),
                          (void **)&weights->layers, err));
    carve_all(&walker, config, spec, dtype, weights);
    return check_total(&walker, err);
}

bool lc_group_fits_strips(const lc_model_config *config, const lc_adapter_spec *spec, int32_t layer,
                          lc_group_kind kind, int32_t strip)
{
    for (int32_t i = 0; strip > 0 && i < groups[kind].count; i++) {
        const lc_module_kind module = (lc_module_kind)(groups[kind].first + i);
        if (lc_module_out(config, module) % strip != 0 ||
            spec->slots[layer][module].r16 % strip != 0) {
            return false;
        }
    }
    return strip > 0;
}

void lc_weights_use_strips(const lc_model_config *config, const lc_adapter_spec *spec,
                           int32_t strip, lc_weights *weights)
{
    if (config->vocab % strip == 0) {
        weights->head.strip = strip;
        weights->embed.strip = config->tied ? strip : 0; /* else only single rows are read */
    }
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_GROUP_COUNT; kind++) {
            if (lc_group_fits_strips(config, spec, layer, (lc_group_kind)kind, strip)) {
                weights->layers[layer].group[kind].strip = strip;
            }
        }
    }
}

/* One module of a group: A below W, scale*B beside it. */
static lc_publish_slot publish_slot(const lc_model_config *config, const lc_lora_slot *slot,
                                    const lc_group_shape *shape, lc_module_kind module,
                                    lc_mat group, const float *master)
{
    const int32_t in = shape->in, out = lc_module_out(config, module);
    const int64_t column = shape->slot_first[module];
    return (lc_publish_slot){
        .a = master + slot->a_offset,
        .b = master + slot->b_offset,
        .w_a = lc_mat_view(group, shape->out + column, 0, slot->r16, in).data,
        .w_b = lc_mat_view(group, shape->row_first[module], in + column, out, slot->r16).data,
        .ld = group.ld,
        .in = in,
        .out = out,
        .width = slot->r16,
        .scale = slot->scale,
        .strip = group.strip};
}

int32_t lc_weights_publish_slots(const lc_model_config *config, const lc_adapter_spec *spec,
                                 const float *master, const lc_weights *weights,
                                 lc_publish_slot *slots)
{
    int32_t count = 0;
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_GROUP_COUNT; kind++) {
            const lc_group_shape shape =
                lc_group_shape_of(config, spec, layer, (lc_group_kind)kind);
            for (int32_t i = 0; i < groups[kind].count; i++) {
                const lc_module_kind module = (lc_module_kind)(groups[kind].first + i);
                const lc_lora_slot *slot = &spec->slots[layer][module];
                if (slot->rank == 0 || shape.border == 0) {
                    continue;
                }
                if (slots != NULL) {
                    slots[count] = publish_slot(config, slot, &shape, module,
                                                weights->layers[layer].group[kind], master);
                }
                count++;
            }
        }
    }
    return count;
}
