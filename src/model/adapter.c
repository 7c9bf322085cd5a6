/*
 * Which linears carry an adapter (PEFT's rules for target_modules), where its matrices lie in the
 * flat master buffer, and their initial values. Files: adapter_peft.c reads, adapter_save.c writes.
 */
#include "model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "model/adapter_layout.h"
#include "model/adapter_match.h"
#include "model/weights.h"

static const char *const module_paths[LC_MODULE_COUNT] = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj",
};

/* The other modules of the model, which a target could name by mistake. */
static const char *const model_others[] = {"model",      "model.embed_tokens", "model.layers",
                                           "model.norm", "model.rotary_emb",   "lm_head"};
static const char *const layer_others[] = {
    "self_attn",  "self_attn.q_norm", "self_attn.k_norm",        "mlp",
    "mlp.act_fn", "input_layernorm",  "post_attention_layernorm"};
#define ADAPTABLE "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"

const char *lc_module_path(lc_module_kind kind)
{
    return module_paths[kind];
}

const char *lc_module_leaf(lc_module_kind kind)
{
    return strchr(module_paths[kind], '.') + 1;
}

int32_t lc_module_in(const lc_model_config *config, lc_module_kind kind)
{
    switch (kind) {
    case LC_MODULE_O:
        return config->heads * config->head_dim;
    case LC_MODULE_DOWN:
        return config->mlp;
    default:
        return config->width;
    }
}

int32_t lc_module_out(const lc_model_config *config, lc_module_kind kind)
{
    switch (kind) {
    case LC_MODULE_Q:
        return config->heads * config->head_dim;
    case LC_MODULE_K:
    case LC_MODULE_V:
        return config->kv_heads * config->head_dim;
    case LC_MODULE_GATE:
    case LC_MODULE_UP:
        return config->mlp;
    default:
        return config->width;
    }
}

void lc_module_name(int32_t layer, lc_module_kind kind, char out[LC_MODULE_NAME_BYTES])
{
    (void)snprintf(out, LC_MODULE_NAME_BYTES, "model.layers.%d.%s", layer, module_paths[kind]);
}

lc_lora_slot lc_lora_slot_make(int32_t rank, double alpha, bool use_rslora)
{
    const double divisor = use_rslora ? sqrt((double)rank) : (double)rank;
    return (lc_lora_slot){.rank = rank,
                          .r16 = (rank + 15) / 16 * 16,
                          .alpha = alpha,
                          .scale = (float)(alpha / divisor)};
}

/* Places the slots of one group from `offset` on and returns the end: all A first, one below the
 * other, so that the group's dA is one matrix; then each B. */
static int64_t layout_group(const lc_model_config *config, lc_adapter_spec *spec, int32_t layer,
                            lc_group_kind group, int64_t offset)
{
    lc_module_kind first;
    int32_t count;
    lc_group_modules(group, &first, &count);
    for (int32_t i = 0; i < count; i++) {
        const lc_module_kind kind = (lc_module_kind)((int32_t)first + i);
        lc_lora_slot *slot = &spec->slots[layer][kind];
        slot->a_offset = offset;
        offset += (int64_t)slot->r16 * lc_module_in(config, kind);
    }
    for (int32_t i = 0; i < count; i++) {
        const lc_module_kind kind = (lc_module_kind)((int32_t)first + i);
        lc_lora_slot *slot = &spec->slots[layer][kind];
        const int64_t in = lc_module_in(config, kind), out = lc_module_out(config, kind);
        slot->b_offset = offset;
        offset += out * slot->r16;
        spec->parameter_count += slot->rank * (in + out);
    }
    return offset;
}

void lc_adapter_spec_layout(const lc_model_config *config, lc_adapter_spec *spec)
{
    int64_t offset = 0;
    spec->parameter_count = 0;
    spec->first_layer = config->layers;
    for (int32_t layer = config->layers - 1; layer >= 0; layer--) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            spec->first_layer = spec->slots[layer][kind].rank > 0 ? layer : spec->first_layer;
        }
    }
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int group = 0; group < LC_GROUP_COUNT; group++) {
            offset = layout_group(config, spec, layer, (lc_group_kind)group, offset);
        }
    }
    spec->master_count = offset;
}

/* layers_to_transform as a set; none given: all. */
static lc_code read_layers(const lc_model_config *config, const lc_lora_options *options,
                           bool *is_wanted, lc_err *err)
{
    const bool is_all = options->layers == NULL || options->layer_count == 0;
    for (int32_t layer = 0; layer < config->layers; layer++) {
        is_wanted[layer] = is_all;
    }
    for (int32_t i = 0; !is_all && i < options->layer_count; i++) {
        const int32_t layer = options->layers[i];
        if (layer < 0 || layer >= config->layers) {
            return lc_fail_param(err, LC_ERR_INVALID, "layers_to_transform",
                                 "layers_to_transform: there is no layer %d, the model has 0..%d",
                                 layer, config->layers - 1);
        }
        is_wanted[layer] = true;
    }
    return LC_OK;
}

/* One entry of target_modules: a name (list rule) or a compiled regular expression. */
typedef struct target_rule {
    const char *text;
    const lc_pattern *pattern; /* NULL: list rule */
} target_rule;

static lc_code matches(const target_rule *target, const char *name, bool *is_match, lc_err *err)
{
    if (target->pattern != NULL) {
        return lc_pattern_match(target->pattern, name, is_match, err);
    }
    *is_match = lc_name_matches(name, target->text);
    return LC_OK;
}

/* A target may not hit anything but the adaptable linears. */
static lc_code refuse_others(const lc_model_config *config, const target_rule *target, lc_err *err)
{
    const size_t model_count = sizeof(model_others) / sizeof(model_others[0]);
    const size_t layer_count = sizeof(layer_others) / sizeof(layer_others[0]);
    char name[LC_MODULE_NAME_BYTES];
    for (size_t i = 0; i < model_count + (size_t)config->layers * (layer_count + 1); i++) {
        if (i < model_count) {
            (void)snprintf(name, sizeof(name), "%s", model_others[i]);
        } else {
            const size_t layer = (i - model_count) / (layer_count + 1);
            const size_t other = (i - model_count) % (layer_count + 1);
            (void)snprintf(name, sizeof(name), "model.layers.%zu%s%s", layer,
                           other < layer_count ? "." : "",
                           other < layer_count ? layer_others[other] : "");
        }
        bool is_match = false;
        LC_TRY(matches(target, name, &is_match, err));
        if (is_match) {
            return lc_fail_param(
                err, LC_ERR_UNSUPPORTED, "target_modules",
                "target_modules: \"%.200s\" matches %s, which cannot carry an adapter "
                "here; what can: " ADAPTABLE,
                target->text, name);
        }
    }
    return LC_OK;
}

/* Adapts everything that one target matches. layers_to_transform narrows names, but not a module
 * that is spelled out in full (as in PEFT). */
static lc_code apply_target(const lc_model_config *config, const lc_lora_options *options,
                            const target_rule *target, const bool *is_wanted, lc_adapter_spec *out,
                            lc_err *err)
{
    int64_t count = 0;
    LC_TRY(refuse_others(config, target, err));
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            char name[LC_MODULE_NAME_BYTES];
            bool is_match = false;
            lc_module_name(layer, (lc_module_kind)kind, name);
            LC_TRY(matches(target, name, &is_match, err));
            if (is_match && (is_wanted[layer] || strcmp(name, target->text) == 0)) {
                out->slots[layer][kind] =
                    lc_lora_slot_make(options->rank, options->alpha, options->use_rslora);
                count++;
            }
        }
    }
    if (count == 0) {
        return lc_fail_param(
            err, LC_ERR_INVALID, "target_modules",
            "target_modules: \"%.200s\" matches no linear of the model%s; there are: " ADAPTABLE
            " (\"model.layers.0.self_attn.q_proj\" in full)",
            target->text, options->layer_count > 0 ? " in layers_to_transform" : "");
    }
    return LC_OK;
}

static lc_code check_options(const lc_lora_options *options, lc_err *err)
{
    if (options->rank < 1 || options->rank > LC_MAX_RANK) {
        return lc_fail_param(err, LC_ERR_INVALID, "rank", "rank %d must be in 1..%d", options->rank,
                             LC_MAX_RANK);
    }
    if (!isfinite(options->alpha) || options->alpha <= 0) {
        return lc_fail_param(err, LC_ERR_INVALID, "alpha", "alpha %g must be above 0",
                             options->alpha);
    }
    if (options->target_regex != NULL && options->layer_count > 0) {
        return lc_fail_param(
            err, LC_ERR_INVALID, "layers_to_transform",
            "layers_to_transform cannot narrow a target_modules regular expression; "
            "put the layers into the expression");
    }
    if (!options->all_linear && options->target_regex == NULL && options->target_count == 0) {
        return lc_fail_param(
            err, LC_ERR_INVALID, "target_modules",
            "target_modules is empty; say \"all-linear\" or list some of: " ADAPTABLE);
    }
    return LC_OK;
}

lc_code lc_adapter_spec_build(const lc_model_config *config, const lc_lora_options *options,
                              lc_adapter_spec *out, lc_err *err)
{
    bool is_wanted[LC_MAX_LAYERS];
    memset(out, 0, sizeof(*out));
    out->use_rslora = options->use_rslora;
    LC_TRY(check_options(options, err));
    LC_TRY(read_layers(config, options, is_wanted, err));
    if (options->all_linear) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            const target_rule leaf = {.text = lc_module_leaf((lc_module_kind)kind)};
            LC_TRY(apply_target(config, options, &leaf, is_wanted, out, err));
        }
    } else if (options->target_regex != NULL) {
        lc_pattern *pattern = NULL;
        LC_TRY(lc_pattern_compile(options->target_regex, LC_PATTERN_WHOLE, "target_modules",
                                  &pattern, err));
        const target_rule regex = {.text = options->target_regex, .pattern = pattern};
        const lc_code code = apply_target(config, options, &regex, is_wanted, out, err);
        lc_pattern_free(pattern);
        LC_TRY(code);
    } else {
        for (int32_t i = 0; i < options->target_count; i++) {
            const target_rule name = {.text = options->targets[i]};
            LC_TRY(apply_target(config, options, &name, is_wanted, out, err));
        }
    }
    lc_adapter_spec_layout(config, out);
    return LC_OK;
}

/* Uniform in [-bound, bound): key (seed, tag), counter (index of four, layer and module). Nothing
 * depends on what else is adapted. */
static void fill_uniform(uint32_t seed, uint32_t stream, float bound, float *values, int64_t count)
{
    const uint32_t key[2] = {seed, 0x4c6f5241u}; /* "LoRA" */
    for (int64_t i = 0; i < count; i += 4) {
        const uint64_t index = (uint64_t)i / 4;
        const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), stream, 0};
        uint32_t words[4];
        lc_philox(key, counter, words);
        for (int64_t j = 0; j < 4 && i + j < count; j++) {
            const float unit = (float)(words[j] >> 8) * 0x1p-23f - 1.0f; /* exact, in [-1, 1) */
            values[i + j] = unit * bound;
        }
    }
}

void lc_adapter_init(const lc_adapter_spec *spec, const lc_model_config *config, uint32_t seed,
                     float *master)
{
    memset(master, 0, (size_t)spec->master_count * sizeof(float));
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            const lc_lora_slot *slot = &spec->slots[layer][kind];
            const int64_t in = lc_module_in(config, (lc_module_kind)kind);
            fill_uniform(seed, (uint32_t)(layer * LC_MODULE_COUNT + kind),
                         (float)(1.0 / sqrt((double)in)), master + slot->a_offset, slot->rank * in);
        }
    }
}

lc_code lc_adapter_spec_room(const lc_model_config *config, int32_t rank, int32_t copies,
                             lc_adapter_spec *out, lc_err *err)
{
    memset(out, 0, sizeof *out);
    if (rank < 1 || rank > LC_MAX_RANK || copies < 1 || copies > LC_MAX_ADAPTER_COPIES) {
        return lc_fail(err, LC_ERR_USAGE,
                       "room for %d adapters of rank %d: expected 1 to %d, of 1 to %d", copies,
                       rank, LC_MAX_ADAPTER_COPIES, LC_MAX_RANK);
    }
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            out->slots[layer][kind] = lc_lora_slot_make(rank, (double)rank, false);
        }
    }
    out->copies = copies;
    return LC_OK;
}
