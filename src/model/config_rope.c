/*
 * Rotation parameters of a config.json: the old spelling (rope_theta beside rope_scaling {type |
 * rope_type}) and the new one (rope_parameters {rope_type, rope_theta}). Where both are there the
 * order of preference is that of transformers 5: rope_scaling before rope_parameters, a theta
 * inside before one beside.
 */
#include "model/config_json.h"

#include <string.h>

#define MAX_THETA  1e15
#define MAX_FACTOR 1e6

static const char *const type_names[] = {
    [LC_ROPE_DEFAULT] = "default", [LC_ROPE_LINEAR] = "linear", [LC_ROPE_DYNAMIC] = "dynamic",
    [LC_ROPE_LLAMA3] = "llama3",   [LC_ROPE_YARN] = "yarn",
};

/* The object with the parameters, empty where there is none. */
static lc_code find_parameters(const cJSON *root, const cJSON **parameters, lc_err *err)
{
    static const cJSON none = {.type = cJSON_Object};
    *parameters = &none;
    LC_TRY(lc_json_object(root, "rope_parameters", false, parameters, err));
    if (lc_config_is_truthy(root, "rope_scaling")) {
        LC_TRY(lc_json_object(root, "rope_scaling", false, parameters, err));
    }
    for (const cJSON *item = (*parameters)->child; item != NULL; item = item->next) {
        if (cJSON_IsObject(item)) {
            return lc_fail_param(err, LC_ERR_UNSUPPORTED, "rope_parameters",
                                 "rope_parameters per layer type (\"%.64s\") are not supported",
                                 item->string);
        }
    }
    return LC_OK;
}

static lc_code read_type(const cJSON *parameters, lc_rope_type *type, lc_err *err)
{
    const char *name = "default";
    LC_TRY(lc_json_string(parameters, "type", false, &name, err));
    LC_TRY(lc_json_string(parameters, "rope_type", false, &name, err));
    for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
        if (strcmp(name, type_names[i]) == 0) {
            *type = (lc_rope_type)i;
            return LC_OK;
        }
    }
    return lc_fail_param(err, LC_ERR_UNSUPPORTED, "rope_type",
                         "rope_type \"%.64s\" is not supported; supported are default, linear, "
                         "dynamic, llama3, yarn",
                         name);
}

/* Only a whole head is rotated. */
static lc_code refuse_partial_rotation(const cJSON *object, lc_err *err)
{
    double factor = 1;
    LC_TRY(lc_json_double(object, "partial_rotary_factor", false, -MAX_FACTOR, MAX_FACTOR, &factor,
                          err));
    if (factor < 1 || factor > 1) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, "partial_rotary_factor",
                             "partial_rotary_factor %g is not supported, only 1", factor);
    }
    return LC_OK;
}

/* The context that was trained on: the top level key wins (Phi-3's spelling), else the one inside,
 * else max_position_embeddings. The dynamic type looks at max_position_embeddings only. */
static lc_code read_original_context(const cJSON *root, const cJSON *parameters,
                                     const lc_model_config *config, double *out, lc_err *err)
{
    *out = (double)config->max_position;
    if (config->rope.type != LC_ROPE_LLAMA3 && config->rope.type != LC_ROPE_YARN) {
        return LC_OK;
    }
    const char *key = "original_max_position_embeddings";
    LC_TRY(lc_json_double(parameters, key, false, 1, (double)LC_MAX_POSITION, out, err));
    return lc_json_double(root, key, false, 1, (double)LC_MAX_POSITION, out, err);
}

static lc_code read_llama3(const cJSON *parameters, lc_rope_config *rope, lc_err *err)
{
    LC_TRY(lc_json_double(parameters, "low_freq_factor", true, 1e-6, MAX_FACTOR,
                          &rope->low_freq_factor, err));
    LC_TRY(lc_json_double(parameters, "high_freq_factor", true, 1e-6, MAX_FACTOR,
                          &rope->high_freq_factor, err));
    if (rope->high_freq_factor <= rope->low_freq_factor) {
        return lc_fail_param(err, LC_ERR_INVALID, "high_freq_factor",
                             "high_freq_factor %g must be above low_freq_factor %g",
                             rope->high_freq_factor, rope->low_freq_factor);
    }
    return LC_OK;
}

static lc_code read_yarn(const cJSON *parameters, lc_rope_config *rope, lc_err *err)
{
    LC_TRY(lc_json_double(parameters, "beta_fast", false, 0, MAX_FACTOR, &rope->beta_fast, err));
    LC_TRY(lc_json_double(parameters, "beta_slow", false, 0, MAX_FACTOR, &rope->beta_slow, err));
    rope->beta_fast = rope->beta_fast > 0 ? rope->beta_fast : 32;
    rope->beta_slow = rope->beta_slow > 0 ? rope->beta_slow : 1;
    LC_TRY(lc_json_double(parameters, "attention_factor", false, 1e-6, MAX_FACTOR,
                          &rope->attention_factor, err));
    LC_TRY(lc_json_double(parameters, "mscale", false, 0, MAX_FACTOR, &rope->mscale, err));
    LC_TRY(lc_json_double(parameters, "mscale_all_dim", false, 0, MAX_FACTOR, &rope->mscale_all_dim,
                          err));
    rope->truncate = !cJSON_IsNull(lc_config_member(parameters, "truncate"));
    LC_TRY(lc_json_bool(parameters, "truncate", false, &rope->truncate, err));
    if (rope->theta <= 1) {
        return lc_fail_param(err, LC_ERR_INVALID, "rope_theta",
                             "rope_theta must be above 1 for rope_type yarn");
    }
    return LC_OK;
}

/* Every scaled type has a factor; yarn may leave it to the ratio of the contexts. */
static lc_code read_factor(const cJSON *parameters, const lc_model_config *config,
                           lc_rope_config *rope, lc_err *err)
{
    const bool is_required = rope->type != LC_ROPE_YARN;
    if (rope->type == LC_ROPE_YARN) {
        rope->factor = (double)config->max_position / rope->original_max_position;
    }
    LC_TRY(lc_json_double(parameters, "factor", is_required, 1, MAX_FACTOR, &rope->factor, err));
    if (rope->type == LC_ROPE_DYNAMIC && config->head_dim == 2) {
        return lc_fail_param(err, LC_ERR_INVALID, "head_dim",
                             "rope_type dynamic needs a head_dim above 2");
    }
    return LC_OK;
}

/* The context in tokens: what the scaling stretches the trained one to, as vLLM derives it. The
 * llama3 type has it in max_position_embeddings. */
static int64_t stretched_context(const lc_model_config *config)
{
    const lc_rope_config *rope = &config->rope;
    double context = (double)config->max_position;
    if (rope->type == LC_ROPE_LINEAR || rope->type == LC_ROPE_DYNAMIC ||
        rope->type == LC_ROPE_YARN) {
        context = rope->original_max_position * rope->factor;
    }
    context = context < (double)LC_MAX_POSITION ? context : (double)LC_MAX_POSITION;
    return (int64_t)context > config->max_position ? (int64_t)context : config->max_position;
}

lc_code lc_config_read_rope(const cJSON *root, double default_theta, lc_model_config *out,
                            lc_err *err)
{
    const cJSON *parameters = NULL;
    lc_rope_config *rope = &out->rope;
    LC_TRY(find_parameters(root, &parameters, err));
    LC_TRY(read_type(parameters, &rope->type, err));
    LC_TRY(refuse_partial_rotation(root, err));
    LC_TRY(refuse_partial_rotation(parameters, err));
    rope->theta = default_theta;
    rope->factor = 1;
    LC_TRY(lc_json_double(root, "rope_theta", false, 1, MAX_THETA, &rope->theta, err));
    LC_TRY(lc_json_double(parameters, "rope_theta", false, 1, MAX_THETA, &rope->theta, err));
    LC_TRY(read_original_context(root, parameters, out, &rope->original_max_position, err));
    if (rope->type == LC_ROPE_DEFAULT) {
        return LC_OK;
    }
    LC_TRY(read_factor(parameters, out, rope, err));
    if (rope->type == LC_ROPE_LLAMA3) {
        LC_TRY(read_llama3(parameters, rope, err));
    } else if (rope->type == LC_ROPE_YARN) {
        LC_TRY(read_yarn(parameters, rope, err));
    }
    out->max_position = stretched_context(out);
    return LC_OK;
}
