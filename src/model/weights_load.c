/*
 * Model files into the carved block. First every tensor is looked up and checked, then readers, one
 * a thread, move blocks of rows through buffers of their own. The border beside W stays zero, as
 * the block was allocated.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/thread.h"
#include "lorac/mem.h"
#include "model/weights_names.h"

#define STAGE_BYTES   ((size_t)4 << 20) /* of a reader; several blocks a tensor keep all busy */
#define MAX_READERS   8
#define NAME_BYTES    128
#define LAYER_PREFIX  "model.layers."
#define EMBED_NAME    "model.embed_tokens.weight"
#define NORM_NAME     "model.norm.weight"
#define HEAD_NAME     "lm_head.weight"
#define INV_FREQ_LEAF "rotary_emb.inv_freq"
#define NORM1_LEAF    "input_layernorm.weight"
#define NORM2_LEAF    "post_attention_layernorm.weight"
#define Q_NORM_LEAF   "self_attn.q_norm.weight"
#define K_NORM_LEAF   "self_attn.k_norm.weight"

/* So many of the widest rows fit a buffer, which is a strip of them. */
#define LEAST_ROWS 16
static_assert(LEAST_ROWS * LC_MAX_WIDTH * sizeof(float) <= STAGE_BYTES, "STAGE_BYTES");

/* `to.rows` rows of a tensor from `row` on. */
typedef struct load_block {
    const lc_safetensors *file;
    const lc_tensor_info *tensor;
    lc_mat to; /* window in device memory */
    int64_t row;
} load_block;

typedef struct loader {
    const lc_model_config *config;
    const lc_adapter_spec *spec;
    const lc_weight_files *files;
    lc_device *device;
    lc_dtype activation; /* of biases */
    load_block *blocks;  /* owned */
    int64_t count, capacity;
    char *stages; /* owned, of the device's host memory, STAGE_BYTES for each reader: rows as in the
                     file */
} loader;

static lc_code fail_missing(const loader *load, const char *name, lc_err *err)
{
    const lc_safetensors *file = NULL;
    if (lc_weight_files_find(load->files, EMBED_NAME, &file) == NULL &&
        lc_weight_files_find(load->files, "embed_tokens.weight", &file) != NULL) {
        return lc_fail_param(
            err, LC_ERR_UNSUPPORTED, name,
            "tensor %s is missing; the names lack the prefix \"model.\": this is a bare "
            "backbone, save the whole causal language model",
            name);
    }
    const bool is_head = strcmp(name, HEAD_NAME) == 0;
    return lc_fail_param(err, LC_ERR_INVALID, name, "tensor %s is missing%s", name,
                         is_head ? " and config.json says tie_word_embeddings false" : "");
}

static void format_shape(const lc_tensor_info *tensor, char *out, size_t bytes)
{
    size_t at = 0;
    for (int i = 0; i < tensor->rank && i < LC_MAX_TENSOR_RANK && at < bytes; i++) {
        at += (size_t)snprintf(out + at, bytes - at, "%s%" PRId64, i > 0 ? ", " : "",
                               tensor->shape[i]);
    }
}

/* Shape (one dimension when is_vector) and a dtype that can be converted. */
static lc_code check_tensor(const lc_tensor_info *tensor, bool is_vector, int64_t rows,
                            int64_t cols, lc_err *err)
{
    const bool is_right =
        is_vector ? tensor->rank == 1 && tensor->shape[0] == cols
                  : tensor->rank == 2 && tensor->shape[0] == rows && tensor->shape[1] == cols;
    if (!is_right) {
        char expected[64] = "", found[LC_MAX_TENSOR_RANK * 24] = "";
        size_t at = 0;
        if (!is_vector) {
            at = (size_t)snprintf(expected, sizeof(expected), "%" PRId64 ", ", rows);
        }
        (void)snprintf(expected + at, sizeof(expected) - at, "%" PRId64, cols);
        format_shape(tensor, found, sizeof(found));
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                             "tensor %.200s: expected [%s], found [%s]", tensor->name, expected,
                             found);
    }
    if (tensor->dtype != LC_F32 && tensor->dtype != LC_BF16 && tensor->dtype != LC_F16) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, tensor->name,
                             "tensor %.200s: expected dtype F32, BF16 or F16, found %s",
                             tensor->name, lc_dtype_name(tensor->dtype));
    }
    return LC_OK;
}

static lc_code add_block(loader *load, const load_block *block, lc_err *err)
{
    if (load->count == load->capacity) {
        const int64_t capacity = load->capacity > 0 ? 2 * load->capacity : 256;
        load_block *blocks = lc_realloc(load->blocks, (size_t)capacity * sizeof *blocks);
        if (blocks == NULL) {
            return lc_fail(err, LC_ERR_MEMORY, "no memory for the list of tensors");
        }
        load->blocks = blocks;
        load->capacity = capacity;
    }
    load->blocks[load->count++] = *block;
    return LC_OK;
}

/* A whole tensor, checked and put on the list. `to`: the window of its rows from column 0, with the
 * columns of the tensor. */
static lc_code load_tensor(loader *load, const char *name, bool is_vector, lc_mat to, lc_err *err)
{
    const lc_safetensors *file = NULL;
    const lc_tensor_info *tensor = lc_weight_files_find(load->files, name, &file);
    if (tensor == NULL) {
        return fail_missing(load, name, err);
    }
    LC_TRY(check_tensor(tensor, is_vector, to.rows, to.cols, err));
    const int64_t row_bytes = to.cols * (int64_t)lc_dtype_bytes(tensor->dtype);
    int64_t step = (int64_t)STAGE_BYTES / row_bytes;
    step -= to.strip > 0 ? step % to.strip : 0;
    for (int64_t row = 0; row < to.rows; row += step) {
        const int64_t rows = to.rows - row < step ? to.rows - row : step;
        const load_block block = {.file = file,
                                  .tensor = tensor,
                                  .to = lc_mat_view(to, row, 0, rows, to.cols),
                                  .row = row};
        LC_TRY(add_block(load, &block, err));
    }
    return LC_OK;
}

/* ---- reading ---- */

static lc_code read_block(void *context, int64_t index, int reader, lc_err *err)
{
    const loader *load = context;
    const load_block *block = &load->blocks[index];
    const lc_dtype dtype = block->tensor->dtype;
    const int64_t row_bytes = block->to.cols * (int64_t)lc_dtype_bytes(dtype);
    char *stage = load->stages + (size_t)reader * STAGE_BYTES;
    const lc_mat from = {stage, block->to.rows, block->to.cols, block->to.cols, dtype, 0};
    LC_TRY(lc_safetensors_read(block->file, block->tensor, block->row * row_bytes, stage,
                               (size_t)(block->to.rows * row_bytes), err));
    return load->device->ops->upload_mat(load->device, block->to, from, err);
}

static lc_code read_blocks(loader *load, lc_err *err)
{
    const int readers =
        load->device->reader_count < MAX_READERS ? load->device->reader_count : MAX_READERS;
    lc_pool *pool = NULL;
    void *stages = NULL;
    LC_TRY(
        load->device->ops->host_alloc(load->device, (size_t)readers * STAGE_BYTES, &stages, err));
    load->stages = stages;
    LC_TRY(lc_pool_start(readers, NULL, NULL, &pool, err));
    const lc_code code = lc_pool_try(pool, load->count, read_block, load, err);
    lc_pool_stop(pool);
    return code;
}

/* ---- what belongs to a model ---- */

static lc_code load_vector(loader *load, int32_t layer, const char *leaf, float *to, int64_t count,
                           lc_err *err)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof(name), LAYER_PREFIX "%d.%s", layer, leaf);
    return load_tensor(load, name, true, lc_mat_f32(to, 1, count, count), err);
}

static lc_code load_group(loader *load, int32_t layer, lc_group_kind kind,
                          const lc_layer_weights *weights, lc_err *err)
{
    const lc_group_shape shape = lc_group_shape_of(load->config, load->spec, layer, kind);
    lc_module_kind first;
    int32_t count = 0;
    lc_group_modules(kind, &first, &count);
    for (int32_t i = 0; i < count; i++) {
        const lc_module_kind module = (lc_module_kind)(first + i);
        const int32_t row = shape.row_first[module], out = lc_module_out(load->config, module);
        char name[NAME_BYTES];
        (void)snprintf(name, sizeof(name), LAYER_PREFIX "%d.%s.weight", layer,
                       lc_module_path(module));
        LC_TRY(load_tensor(load, name, false,
                           lc_mat_view(weights->group[kind], row, 0, out, shape.in), err));
        if (weights->bias[kind] != NULL) {
            const lc_mat bias = {weights->bias[kind], 1, shape.out, shape.out, load->activation, 0};
            (void)snprintf(name, sizeof(name), LAYER_PREFIX "%d.%s.bias", layer,
                           lc_module_path(module));
            LC_TRY(load_tensor(load, name, true, lc_mat_view(bias, 0, row, 1, out), err));
        }
    }
    return LC_OK;
}

static lc_code load_layer(loader *load, int32_t layer, const lc_layer_weights *weights, lc_err *err)
{
    const int32_t width = load->config->width, head_dim = load->config->head_dim;
    LC_TRY(load_vector(load, layer, NORM1_LEAF, weights->norm1, width, err));
    for (int kind = 0; kind < LC_GROUP_COUNT; kind++) {
        LC_TRY(load_group(load, layer, (lc_group_kind)kind, weights, err));
    }
    if (load->config->qk_norm) {
        LC_TRY(load_vector(load, layer, Q_NORM_LEAF, weights->q_norm, head_dim, err));
        LC_TRY(load_vector(load, layer, K_NORM_LEAF, weights->k_norm, head_dim, err));
    }
    return load_vector(load, layer, NORM2_LEAF, weights->norm2, width, err);
}

/* Whether a layer of this family has the tensor ("self_attn.q_proj.weight"). */
static bool is_layer_tensor(const lc_model_config *config, const char *leaf)
{
    if (strcmp(leaf, NORM1_LEAF) == 0 || strcmp(leaf, NORM2_LEAF) == 0 ||
        strcmp(leaf, "self_attn." INV_FREQ_LEAF) == 0) {
        return true;
    }
    if (config->qk_norm && (strcmp(leaf, Q_NORM_LEAF) == 0 || strcmp(leaf, K_NORM_LEAF) == 0)) {
        return true;
    }
    for (int kind = 0; kind < LC_GROUP_COUNT; kind++) {
        lc_module_kind first;
        int32_t count = 0;
        lc_group_modules((lc_group_kind)kind, &first, &count);
        for (int32_t i = 0; i < count; i++) {
            const char *path = lc_module_path((lc_module_kind)(first + i));
            const size_t length = strlen(path);
            const bool is_module = strncmp(leaf, path, length) == 0;
            if (is_module && strcmp(leaf + length, ".weight") == 0) {
                return true;
            }
            if (is_module && strcmp(leaf + length, ".bias") == 0) {
                return lc_group_has_bias(config, (lc_group_kind)kind);
            }
        }
    }
    return false;
}

static bool is_model_tensor(const lc_model_config *config, const char *name)
{
    if (strcmp(name, EMBED_NAME) == 0 || strcmp(name, NORM_NAME) == 0 ||
        strcmp(name, HEAD_NAME) == 0 || strcmp(name, "model." INV_FREQ_LEAF) == 0) {
        return true;
    }
    if (strncmp(name, LAYER_PREFIX, strlen(LAYER_PREFIX)) != 0) {
        return false;
    }
    const char *digits = name + strlen(LAYER_PREFIX);
    const size_t count = strspn(digits, "0123456789");
    int32_t layer = 0;
    for (size_t i = 0; i < count && layer < config->layers; i++) {
        layer = layer * 10 + (digits[i] - '0');
    }
    return count > 0 && digits[count] == '.' && layer < config->layers &&
           is_layer_tensor(config, digits + count + 1);
}

/* Nothing in the files may be left out of the computation. */
static lc_code refuse_unknown(const loader *load, lc_err *err)
{
    for (int64_t i = 0; i < lc_weight_files_count(load->files); i++) {
        const lc_safetensors *file = NULL;
        const lc_tensor_info *tensor = lc_weight_files_at(load->files, i, &file);
        if (!is_model_tensor(load->config, tensor->name)) {
            return lc_fail_param(
                err, LC_ERR_UNSUPPORTED, tensor->name,
                "tensor %.200s does not belong to a %s model with %d layers%s", tensor->name,
                lc_family_name(load->config->family), load->config->layers,
                strstr(tensor->name, ".bias") != NULL ? " and the biases that config.json names"
                                                      : "");
        }
    }
    return LC_OK;
}

/* A tied model may carry its head as well, but then it is the embedding: transformers unties them
 * otherwise. */
static lc_code check_tied_head(const loader *load, lc_err *err)
{
    const lc_safetensors *head_file = NULL, *embed_file = NULL;
    const lc_tensor_info *head = lc_weight_files_find(load->files, HEAD_NAME, &head_file);
    const lc_tensor_info *embed = lc_weight_files_find(load->files, EMBED_NAME, &embed_file);
    if (!load->config->tied || head == NULL || embed == NULL) {
        return LC_OK;
    }
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 2, STAGE_BYTES, "weight buffers", err));
    char *one = memory, *other = one + STAGE_BYTES;
    lc_code code = LC_OK;
    bool is_same = head->dtype == embed->dtype && head->bytes == embed->bytes;
    for (int64_t at = 0; code == LC_OK && is_same && at < head->bytes; at += (int64_t)STAGE_BYTES) {
        const int64_t left = head->bytes - at;
        const size_t bytes = left < (int64_t)STAGE_BYTES ? (size_t)left : STAGE_BYTES;
        code = lc_safetensors_read(head_file, head, at, one, bytes, err);
        code = code != LC_OK ? code : lc_safetensors_read(embed_file, embed, at, other, bytes, err);
        is_same = code == LC_OK && memcmp(one, other, bytes) == 0;
    }
    lc_free(memory);
    if (code == LC_OK && !is_same) {
        return lc_fail_param(err, LC_ERR_INVALID, HEAD_NAME,
                             "config.json says tie_word_embeddings true, but " HEAD_NAME
                             " differs from " EMBED_NAME "; set it to false");
    }
    return code;
}

static lc_code load_all(loader *load, const lc_weights *weights, lc_err *err)
{
    const lc_model_config *config = load->config;
    LC_TRY(load_tensor(load, EMBED_NAME, false, weights->embed, err));
    LC_TRY(refuse_unknown(load, err));
    LC_TRY(check_tied_head(load, err));
    for (int32_t layer = 0; layer < config->layers; layer++) {
        LC_TRY(load_layer(load, layer, &weights->layers[layer], err));
    }
    LC_TRY(load_tensor(load, NORM_NAME, true,
                       lc_mat_f32(weights->final_norm, 1, config->width, config->width), err));
    return config->tied ? LC_OK : load_tensor(load, HEAD_NAME, false, weights->head, err);
}

lc_code lc_weights_load(const lc_model_config *config, const lc_adapter_spec *spec,
                        const lc_weight_files *files, lc_device *device, lc_weights *weights,
                        lc_err *err)
{
    loader load = {.config = config,
                   .spec = spec,
                   .files = files,
                   .device = device,
                   .activation = weights->activation};
    lc_code code = load_all(&load, weights, err);
    if (code == LC_OK) {
        code = read_blocks(&load, err);
    }
    if (load.stages != NULL) {
        device->ops->host_free(device, load.stages);
    }
    lc_free(load.blocks);
    return code;
}
