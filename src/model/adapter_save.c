/*
 * Writes an adapter as PEFT, vLLM and SGLang read it: the long-stable keys of adapter_config.json,
 * fp32 tensors without the adapter's name in theirs.
 */
#include "model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "data/safetensors.h"
#include "lorac/mem.h"
#include "model/adapter_layout.h"

#define TENSOR_NAME_BYTES 128

/* What a set of slots looks like from PEFT's configuration. */
typedef struct summary {
    int32_t slot_count;
    int32_t rank;        /* the largest */
    double alpha;        /* of the first slot with that rank */
    bool is_uniform;     /* one rank and alpha everywhere */
    bool is_rectangular; /* every adapted module in every adapted layer */
    bool has_module[LC_MODULE_COUNT];
    bool has_layer[LC_MAX_LAYERS];
    int32_t module_count, layer_count;
} summary;

static bool same_alpha(double a, double b)
{
    return !(a < b) && !(a > b);
}

static summary summarise(const lc_adapter_spec *spec, const lc_model_config *config)
{
    summary sum = {.is_uniform = true};
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            const lc_lora_slot *slot = &spec->slots[layer][kind];
            if (slot->rank == 0) {
                continue;
            }
            if (slot->rank > sum.rank) {
                sum.alpha = slot->alpha;
            }
            sum.is_uniform = sum.slot_count == 0 || (sum.is_uniform && slot->rank == sum.rank &&
                                                     same_alpha(slot->alpha, sum.alpha));
            sum.rank = slot->rank > sum.rank ? slot->rank : sum.rank;
            sum.module_count += !sum.has_module[kind];
            sum.layer_count += !sum.has_layer[layer];
            sum.has_module[kind] = true;
            sum.has_layer[layer] = true;
            sum.slot_count++;
        }
    }
    sum.is_rectangular = sum.slot_count == sum.module_count * sum.layer_count;
    return sum;
}

/* A list over several lines, as json.dumps writes it with an indent of 2. */
static void add_item(lc_text *text, bool *is_first, const char *value)
{
    lc_text_addf(text, "%s\n    %s", *is_first ? "" : ",", value);
    *is_first = false;
}

static void add_targets(lc_text *text, const lc_adapter_spec *spec, const lc_model_config *config,
                        const summary *sum)
{
    bool is_first = true;
    char quoted[LC_MODULE_NAME_BYTES + 2], name[LC_MODULE_NAME_BYTES];
    lc_text_addf(text, "  \"target_modules\": [");
    for (int kind = 0; sum->is_rectangular && kind < LC_MODULE_COUNT; kind++) {
        if (sum->has_module[kind]) {
            (void)snprintf(quoted, sizeof(quoted), "\"%s\"", lc_module_leaf((lc_module_kind)kind));
            add_item(text, &is_first, quoted);
        }
    }
    for (int32_t layer = 0; !sum->is_rectangular && layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            if (spec->slots[layer][kind].rank > 0) {
                lc_module_name(layer, (lc_module_kind)kind, name);
                (void)snprintf(quoted, sizeof(quoted), "\"%s\"", name);
                add_item(text, &is_first, quoted);
            }
        }
    }
    lc_text_addf(text, "\n  ],\n");
}

static void add_layers(lc_text *text, const lc_model_config *config, const summary *sum)
{
    if (!sum->is_rectangular || sum->layer_count == config->layers) {
        lc_text_addf(text, "  \"layers_to_transform\": null,\n");
        return;
    }
    bool is_first = true;
    char number[16];
    lc_text_addf(text, "  \"layers_to_transform\": [");
    for (int32_t layer = 0; layer < config->layers; layer++) {
        if (sum->has_layer[layer]) {
            (void)snprintf(number, sizeof(number), "%d", layer);
            add_item(text, &is_first, number);
        }
    }
    lc_text_addf(text, "\n  ],\n");
}

/* {} or the slots that differ from the common value, by full module name. */
static void add_pattern(lc_text *text, const char *key, bool is_rank, const lc_adapter_spec *spec,
                        const lc_model_config *config, const summary *sum)
{
    bool is_first = true;
    lc_text_addf(text, "  \"%s\": {", key);
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            const lc_lora_slot *slot = &spec->slots[layer][kind];
            const bool is_common =
                is_rank ? slot->rank == sum->rank : same_alpha(slot->alpha, sum->alpha);
            if (slot->rank == 0 || is_common) {
                continue;
            }
            char name[LC_MODULE_NAME_BYTES];
            lc_module_name(layer, (lc_module_kind)kind, name);
            lc_text_addf(text, "%s\n    \"%s\": ", is_first ? "" : ",", name);
            lc_text_add_double(text, is_rank ? slot->rank : slot->alpha);
            is_first = false;
        }
    }
    lc_text_addf(text, "%s},\n", is_first ? "" : "\n  ");
}

static lc_code make_config(lc_text *text, const lc_adapter_spec *spec,
                           const lc_model_config *config, const lc_adapter_meta *meta, lc_err *err)
{
    const summary sum = summarise(spec, config);
    lc_text_addf(text, "{\n");
    add_pattern(text, "alpha_pattern", false, spec, config, &sum);
    lc_text_addf(text, "  \"auto_mapping\": null,\n  \"base_model_name_or_path\": ");
    if (meta->base_model != NULL) {
        lc_text_add_json_string(text, meta->base_model, strlen(meta->base_model));
    } else {
        lc_text_addf(text, "null");
    }
    lc_text_addf(text, ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": false,\n"
                       "  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n"
                       "  \"layer_replication\": null,\n  \"layers_pattern\": null,\n");
    add_layers(text, config, &sum);
    lc_text_addf(text, "  \"loftq_config\": {},\n  \"lora_alpha\": ");
    lc_text_add_double(text, sum.alpha);
    lc_text_addf(text, ",\n  \"lora_dropout\": ");
    lc_text_add_double(text, meta->dropout);
    lc_text_addf(text,
                 "%s,\n  \"megatron_config\": null,\n  \"megatron_core\": \"megatron.core\",\n"
                 "  \"modules_to_save\": null,\n  \"peft_type\": \"LORA\",\n  \"r\": %d,\n",
                 meta->dropout > 0 ? "" : ".0", sum.rank);
    add_pattern(text, "rank_pattern", true, spec, config, &sum);
    lc_text_addf(text, "  \"revision\": null,\n");
    add_targets(text, spec, config, &sum);
    lc_text_addf(text,
                 "  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": false,\n  \"use_rslora\": %s\n}",
                 spec->use_rslora ? "true" : "false");
    return lc_text_finish(text, "adapter_config.json", err);
}

/* rows x cols of a padded master, contiguous; copied to memory of the arena unless it is so
 * already. */
static lc_code pack(lc_arena *arena, const char *name, const float *values, lc_mat shape,
                    const void **out, lc_err *err)
{
    for (int64_t row = 0; row < shape.rows; row++) {
        for (int64_t col = 0; col < shape.cols; col++) {
            if (!isfinite(values[row * shape.ld + col])) {
                return lc_fail_param(
                    err, LC_ERR_NUMERIC, name,
                    "tensor %s: element [%lld, %lld] is not finite; the adapter is "
                    "not written",
                    name, (long long)row, (long long)col);
            }
        }
    }
    *out = values;
    if (shape.ld == shape.cols) {
        return LC_OK;
    }
    float *packed = NULL;
    LC_TRY(lc_arena_alloc(arena, (size_t)(shape.rows * shape.cols), sizeof(float), (void **)&packed,
                          err));
    for (int64_t row = 0; row < shape.rows; row++) {
        memcpy(packed + row * shape.cols, values + row * shape.ld,
               (size_t)shape.cols * sizeof(float));
    }
    *out = packed;
    return LC_OK;
}

static lc_code add_tensor(lc_arena *arena, int32_t layer, lc_module_kind kind, char side,
                          const float *values, lc_mat shape, lc_tensor_out *out, lc_err *err)
{
    char *name = NULL;
    LC_TRY(lc_arena_alloc(arena, 1, TENSOR_NAME_BYTES, (void **)&name, err));
    (void)snprintf(name, TENSOR_NAME_BYTES, "base_model.model.model.layers.%d.%s.lora_%c.weight",
                   layer, lc_module_path(kind), side);
    *out = (lc_tensor_out){
        .name = name, .dtype = LC_F32, .rank = 2, .shape = {shape.rows, shape.cols}};
    return pack(arena, name, values, shape, &out->data, err);
}

static lc_code write_tensors(const char *path, const lc_adapter_spec *spec,
                             const lc_model_config *config, const float *master, lc_arena *arena,
                             lc_err *err)
{
    const size_t capacity = (size_t)config->layers * LC_MODULE_COUNT * 2;
    const lc_metadata metadata = {"format", "pt"};
    lc_tensor_out *tensors = NULL;
    int64_t count = 0;
    LC_TRY(lc_arena_alloc(arena, capacity, sizeof(*tensors), (void **)&tensors, err));
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int i = 0; i < LC_MODULE_COUNT; i++) {
            const lc_module_kind kind = (lc_module_kind)i;
            const lc_lora_slot *slot = &spec->slots[layer][kind];
            if (slot->rank == 0) {
                continue;
            }
            const int64_t in = lc_module_in(config, kind), out = lc_module_out(config, kind);
            LC_TRY(add_tensor(arena, layer, kind, 'A', master + slot->a_offset,
                              lc_mat_f32(NULL, slot->rank, in, in), &tensors[count++], err));
            LC_TRY(add_tensor(arena, layer, kind, 'B', master + slot->b_offset,
                              lc_mat_f32(NULL, out, slot->rank, slot->r16), &tensors[count++],
                              err));
        }
    }
    return lc_safetensors_write(path, tensors, count, &metadata, 1, NULL, NULL, err);
}

lc_code lc_adapter_save(const char *adapter_dir, const lc_adapter_spec *spec,
                        const lc_model_config *config, const float *master,
                        const lc_adapter_meta *meta, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    lc_arena arena;
    lc_text text;
    LC_TRY(lc_path_join(adapter_dir, "adapter_model.safetensors", path, err));
    lc_arena_init(&arena, "adapter save");
    lc_code code = write_tensors(path, spec, config, master, &arena, err);
    lc_arena_release(&arena);
    LC_TRY(code);
    LC_TRY(lc_path_join(adapter_dir, "adapter_config.json", path, err));
    lc_text_init(&text);
    code = make_config(&text, spec, config, meta, err);
    if (code == LC_OK) {
        code = lc_file_write_atomic(path, text.data, text.length, err);
    }
    lc_text_release(&text);
    return code;
}
