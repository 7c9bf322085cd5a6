/*
 * adapter_config.json of PEFT: rank, alpha, their patterns, and the refusal of everything that is
 * not plain LoRA on linears.
 */
#include "model/adapter_peft.h"

#include <string.h>

#include "lorac/mem.h"
#include "model/config_json.h"

/* Keys whose true value (in Python's sense) means other mathematics. */
static const struct {
    const char *key, *what;
} refused[] = {
    {"use_dora", "DoRA"},
    {"lora_bias", "a bias in lora_B"},
    {"modules_to_save", "fully trained modules"},
    {"trainable_token_indices", "trained token embeddings"},
    {"layer_replication", "layer replication"},
    {"alora_invocation_tokens", "activated LoRA"},
    {"target_parameters", "adapters on parameters"},
    {"use_qalora", "QA-LoRA"},
    {"use_bdlora", "block-diagonal LoRA"},
    {"arrow_config", "Arrow routing"},
    {"kasa_config", "KaSA"},
    {"monteclora_config", "MonteCLoRA"},
    {"megatron_config", "Megatron layers"},
    {"fan_in_fan_out", "transposed weights"},
};

/* Initialisations that leave the base weights alone. With the others (PiSSA, OLoRA, CorDA, LoftQ,
 * LoRA-GA ...) the adapter belongs to a changed base. */
static const char *const plain_inits[] = {"gaussian", "eva", "orthogonal"};

static lc_code refuse_variants(const cJSON *root, lc_err *err)
{
    const char *type = NULL, *bias = "none";
    LC_TRY(lc_json_string(root, "peft_type", true, &type, err));
    if (strcmp(type, "LORA") != 0) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, "peft_type",
                             "peft_type \"%.64s\" is not supported, only \"LORA\"", type);
    }
    LC_TRY(lc_json_string(root, "bias", false, &bias, err));
    if (strcmp(bias, "none") != 0) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, "bias",
                             "bias \"%.64s\" (trained biases) is not supported, only \"none\"",
                             bias);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (lc_config_is_truthy(root, refused[i].key)) {
            return lc_fail_param(err, LC_ERR_UNSUPPORTED, refused[i].key,
                                 "%s is set: %s is not supported", refused[i].key, refused[i].what);
        }
    }
    const cJSON *init = lc_json_get(root, "init_lora_weights");
    if (!cJSON_IsString(init)) {
        return LC_OK;
    }
    for (size_t i = 0; i < sizeof(plain_inits) / sizeof(plain_inits[0]); i++) {
        if (strcmp(init->valuestring, plain_inits[i]) == 0) {
            return LC_OK;
        }
    }
    return lc_fail_param(
        err, LC_ERR_UNSUPPORTED, "init_lora_weights",
        "init_lora_weights \"%.64s\" is not supported: it changes the base weights; "
        "convert the adapter to plain LoRA first",
        init->valuestring);
}

/* Reads one pattern object. is_integer: ranks. */
static lc_code read_patterns(const cJSON *root, const char *key, bool is_integer,
                             lc_peft_patterns *out, lc_err *err)
{
    const cJSON *object = NULL;
    int32_t regexes = 0;
    LC_TRY(lc_json_object(root, key, false, &object, err));
    const int count = object != NULL ? cJSON_GetArraySize(object) : 0;
    if (count > LC_MAX_ADAPTER_PATTERNS) {
        return lc_fail_param(err, LC_ERR_INVALID, key, "%s has %d keys, the limit is %d", key,
                             count, LC_MAX_ADAPTER_PATTERNS);
    }
    if (count == 0) {
        return LC_OK;
    }
    LC_TRY(lc_new((void **)&out->patterns, (size_t)count, sizeof(*out->patterns), key, err));
    LC_TRY(lc_new((void **)&out->values, (size_t)count, sizeof(*out->values), key, err));
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        int64_t rank = 0;
        double *value = &out->values[out->count];
        if (is_integer) {
            LC_TRY(lc_json_int(object, item->string, true, 1, LC_MAX_RANK, &rank, err));
            *value = (double)rank;
        } else {
            LC_TRY(lc_json_double(object, item->string, true, 0, 1e9, value, err));
        }
        LC_TRY(lc_pattern_compile(item->string, LC_PATTERN_TAIL, key, &out->patterns[out->count],
                                  err));
        regexes += lc_pattern_is_regex(out->patterns[out->count]);
        out->count++;
        if (regexes > LC_MAX_ADAPTER_REGEXES) {
            return lc_fail_param(err, LC_ERR_INVALID, key,
                                 "%s has more than %d regular expressions", key,
                                 LC_MAX_ADAPTER_REGEXES);
        }
    }
    return LC_OK;
}

static lc_code read_config(const cJSON *root, lc_peft_config *out, lc_err *err)
{
    int64_t rank = 8;
    double alpha = 8;
    if (!cJSON_IsObject(root)) {
        return lc_fail(err, LC_ERR_INVALID, "a JSON object is expected");
    }
    LC_TRY(refuse_variants(root, err));
    LC_TRY(lc_json_int(root, "r", false, 1, LC_MAX_RANK, &rank, err));
    LC_TRY(lc_json_double(root, "lora_alpha", false, 0, 1e9, &alpha, err));
    LC_TRY(lc_json_bool(root, "use_rslora", false, &out->use_rslora, err));
    out->rank = (int32_t)rank;
    out->alpha = alpha;
    LC_TRY(read_patterns(root, "rank_pattern", true, &out->ranks, err));
    return read_patterns(root, "alpha_pattern", false, &out->alphas, err);
}

lc_code lc_peft_config_parse(const char *text, size_t bytes, const char *what, lc_peft_config *out,
                             lc_err *err)
{
    cJSON *root = NULL;
    memset(out, 0, sizeof(*out));
    if (bytes > LC_MAX_ADAPTER_CONFIG_BYTES) {
        return lc_fail(err, LC_ERR_INVALID, "%s: %zu bytes, the limit is %zu", what, bytes,
                       LC_MAX_ADAPTER_CONFIG_BYTES);
    }
    LC_TRY(lc_json_parse(text, bytes, LC_JSON_DEFAULT, what, &root, err));
    const lc_code code = read_config(root, out, err);
    cJSON_Delete(root);
    return code == LC_OK ? LC_OK : lc_err_context(err, "%s", what);
}

static void release_patterns(lc_peft_patterns *patterns)
{
    for (int32_t i = 0; i < patterns->count; i++) {
        lc_pattern_free(patterns->patterns[i]);
    }
    lc_free(patterns->patterns);
    lc_free(patterns->values);
    memset(patterns, 0, sizeof(*patterns));
}

void lc_peft_config_release(lc_peft_config *config)
{
    release_patterns(&config->ranks);
    release_patterns(&config->alphas);
}

/* Replaces *value by that of the first matching key. */
static lc_code look_up(const lc_peft_patterns *patterns, const char *name, double *value,
                       lc_err *err)
{
    for (int32_t i = 0; i < patterns->count; i++) {
        bool is_match = false;
        LC_TRY(lc_pattern_match(patterns->patterns[i], name, &is_match, err));
        if (is_match) {
            *value = patterns->values[i];
            return LC_OK;
        }
    }
    return LC_OK;
}

lc_code lc_peft_config_module(const lc_peft_config *config, const char *name, int32_t *rank,
                              double *alpha, lc_err *err)
{
    double found = config->rank;
    *alpha = config->alpha;
    LC_TRY(look_up(&config->ranks, name, &found, err));
    *rank = (int32_t)found;
    return look_up(&config->alphas, name, alpha, err);
}
