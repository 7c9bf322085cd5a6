/*
 * Reads a Hugging Face config.json. An absent key has the default of the family's configuration
 * class in transformers; what would be computed differently from transformers is refused by name.
 */
#include "model/config.h"

#include <string.h>

#include "base/file.h"
#include "lorac/mem.h"
#include "model/config_json.h"

/* Defaults of transformers' configuration classes. kv_heads 0: as many as heads; head_dim 0:
 * width/heads; token ids -1: none. */
typedef struct family_defaults {
    const char *name;
    int64_t vocab, width, mlp, layers, heads, kv_heads, head_dim, max_position;
    int64_t bos, eos;
    double theta;
    bool tied;
    bool has_attention_bias, has_mlp_bias; /* the switches exist */
} family_defaults;

static const family_defaults families[] = {
    [LC_FAMILY_LLAMA] = {.name = "llama",
                         .vocab = 32000,
                         .width = 4096,
                         .mlp = 11008,
                         .layers = 32,
                         .heads = 32,
                         .max_position = 2048,
                         .bos = 1,
                         .eos = 2,
                         .theta = 10000,
                         .has_attention_bias = true,
                         .has_mlp_bias = true},
    [LC_FAMILY_MISTRAL] = {.name = "mistral",
                           .vocab = 32000,
                           .width = 4096,
                           .mlp = 14336,
                           .layers = 32,
                           .heads = 32,
                           .kv_heads = 8,
                           .max_position = 131072,
                           .bos = 1,
                           .eos = 2,
                           .theta = 10000},
    [LC_FAMILY_QWEN2] = {.name = "qwen2",
                         .vocab = 151936,
                         .width = 4096,
                         .mlp = 22016,
                         .layers = 32,
                         .heads = 32,
                         .kv_heads = 32,
                         .max_position = 32768,
                         .bos = -1,
                         .eos = -1,
                         .theta = 10000},
    [LC_FAMILY_QWEN3] = {.name = "qwen3",
                         .vocab = 151936,
                         .width = 4096,
                         .mlp = 22016,
                         .layers = 32,
                         .heads = 32,
                         .kv_heads = 32,
                         .head_dim = 128,
                         .max_position = 32768,
                         .bos = -1,
                         .eos = -1,
                         .theta = 10000,
                         .has_attention_bias = true},
    [LC_FAMILY_SMOLLM3] = {.name = "smollm3",
                           .vocab = 128256,
                           .width = 2048,
                           .mlp = 11008,
                           .layers = 36,
                           .heads = 16,
                           .kv_heads = 4,
                           .max_position = 32768,
                           .bos = 128000,
                           .eos = 128001,
                           .theta = 2000000,
                           .tied = true,
                           .has_attention_bias = true,
                           .has_mlp_bias = true},
};
#define FAMILY_COUNT (sizeof(families) / sizeof(families[0]))

/* Keys of other architectures: a true value (in Python's sense) means mathematics that we do not
 * have. */
static const struct {
    const char *key, *what;
} refused[] = {
    {"quantization_config", "quantised weights"},
    {"compression_config", "compressed weights"},
    {"text_config", "a multimodal wrapper"},
    {"vision_config", "a multimodal wrapper"},
    {"audio_config", "a multimodal wrapper"},
    {"num_experts", "a mixture of experts"},
    {"num_local_experts", "a mixture of experts"},
    {"n_routed_experts", "a mixture of experts"},
    {"attn_logit_softcapping", "softcapped attention"},
    {"final_logit_softcapping", "softcapped logits"},
    {"per_layer_config", "layers of different shapes"},
    {"attention_dropout", "dropout inside attention"},
};

static lc_code read_config(const cJSON *root, lc_model_config *out, lc_err *err);

lc_code lc_model_config_parse(const char *text, size_t bytes, const char *what,
                              lc_model_config *out, lc_err *err)
{
    if (bytes > LC_MAX_CONFIG_BYTES) {
        return lc_fail(err, LC_ERR_INVALID, "%s: %zu bytes, the limit is %zu", what, bytes,
                       LC_MAX_CONFIG_BYTES);
    }
    cJSON *root = NULL;
    LC_TRY(lc_json_parse(text, bytes, LC_JSON_DEFAULT, what, &root, err));
    const lc_code code = read_config(root, out, err);
    cJSON_Delete(root);
    return code == LC_OK ? LC_OK : lc_err_context(err, "%s", what);
}

lc_code lc_model_config_load(const char *model_dir, lc_model_config *out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    LC_TRY(lc_path_join(model_dir, "config.json", path, err));
    LC_TRY(lc_file_read(path, LC_MAX_CONFIG_BYTES, &text, &bytes, err));
    const lc_code code = lc_model_config_parse(text, bytes, path, out, err);
    lc_free(text);
    return code;
}

const char *lc_family_name(lc_family family)
{
    return (size_t)family < FAMILY_COUNT ? families[family].name : "unknown";
}

const cJSON *lc_config_member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

bool lc_config_is_truthy(const cJSON *object, const char *key)
{
    const cJSON *item = lc_config_member(object, key);
    if (item == NULL || cJSON_IsNull(item) || cJSON_IsFalse(item)) {
        return false;
    }
    if (cJSON_IsNumber(item)) {
        return item->valuedouble < 0 || item->valuedouble > 0;
    }
    if (cJSON_IsString(item)) {
        return item->valuestring[0] != '\0';
    }
    return cJSON_IsTrue(item) || item->child != NULL;
}

bool lc_config_integer(const cJSON *item, int64_t min, int64_t max, int64_t *out)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= (double)min) ||
        !(item->valuedouble <= (double)max)) {
        return false;
    }
    const int64_t value = (int64_t)item->valuedouble;
    if ((double)value < item->valuedouble || (double)value > item->valuedouble) {
        return false;
    }
    *out = value;
    return true;
}

/* One integer member; absent or null keeps the default in *value. */
static lc_code read_count(const cJSON *root, const char *key, int64_t max, int64_t *value,
                          lc_err *err)
{
    return lc_json_int(root, key, false, 1, max, value, err);
}

static lc_code read_family(const cJSON *root, lc_model_config *out, lc_err *err)
{
    const char *name = NULL;
    LC_TRY(lc_json_string(root, "model_type", true, &name, err));
    for (size_t family = 0; family < FAMILY_COUNT; family++) {
        if (strcmp(name, families[family].name) == 0) {
            out->family = (lc_family)family;
            return LC_OK;
        }
    }
    return lc_fail_param(err, LC_ERR_UNSUPPORTED, "model_type",
                         "model_type \"%s\" is not supported; supported are llama, mistral, qwen2, "
                         "qwen3, smollm3",
                         name);
}

static lc_code refuse_unsupported(const cJSON *root, lc_err *err)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (lc_config_is_truthy(root, refused[i].key)) {
            return lc_fail_param(err, LC_ERR_UNSUPPORTED, refused[i].key,
                                 "%s is set: %s is not supported", refused[i].key, refused[i].what);
        }
    }
    const char *activation = "silu";
    LC_TRY(lc_json_string(root, "hidden_act", false, &activation, err));
    if (strcmp(activation, "silu") != 0 && strcmp(activation, "swish") != 0) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, "hidden_act",
                             "hidden_act \"%s\" is not supported, only \"silu\"", activation);
    }
    bool is_causal = true;
    LC_TRY(lc_json_bool(root, "is_causal", false, &is_causal, err));
    if (!is_causal) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, "is_causal",
                             "is_causal is false: attention to later tokens is not supported");
    }
    return LC_OK;
}

static lc_code read_heads(const cJSON *root, const family_defaults *defaults, lc_model_config *out,
                          lc_err *err)
{
    int64_t heads = defaults->heads;
    LC_TRY(read_count(root, "num_attention_heads", LC_MAX_HEADS, &heads, err));
    const bool is_null = cJSON_IsNull(lc_config_member(root, "num_key_value_heads"));
    int64_t kv_heads = defaults->kv_heads == 0 || is_null ? heads : defaults->kv_heads;
    LC_TRY(read_count(root, "num_key_value_heads", LC_MAX_HEADS, &kv_heads, err));
    if (heads % kv_heads != 0) {
        return lc_fail_param(err, LC_ERR_INVALID, "num_key_value_heads",
                             "num_attention_heads %d is not a multiple of num_key_value_heads %d",
                             (int)heads, (int)kv_heads);
    }
    int64_t head_dim = defaults->head_dim;
    LC_TRY(read_count(root, "head_dim", LC_MAX_HEAD_DIM, &head_dim, err));
    if (head_dim == 0) {
        if (out->width % heads != 0) {
            return lc_fail_param(err, LC_ERR_INVALID, "hidden_size",
                                 "hidden_size %d is not a multiple of num_attention_heads %d, and "
                                 "there is no head_dim",
                                 out->width, (int)heads);
        }
        head_dim = out->width / heads;
    }
    if (head_dim % 2 != 0 || head_dim > LC_MAX_HEAD_DIM) {
        return lc_fail_param(err, LC_ERR_INVALID, "head_dim",
                             "head_dim %d must be even and at most %d", (int)head_dim,
                             LC_MAX_HEAD_DIM);
    }
    if (heads * head_dim > LC_MAX_WIDTH) {
        return lc_fail_param(err, LC_ERR_INVALID, "num_attention_heads",
                             "num_attention_heads %d x head_dim %d exceeds %d", (int)heads,
                             (int)head_dim, LC_MAX_WIDTH);
    }
    out->heads = (int32_t)heads;
    out->kv_heads = (int32_t)kv_heads;
    out->head_dim = (int32_t)head_dim;
    return LC_OK;
}

static lc_code read_shape(const cJSON *root, const family_defaults *defaults, lc_model_config *out,
                          lc_err *err)
{
    int64_t width = defaults->width, mlp = defaults->mlp, layers = defaults->layers;
    int64_t vocab = defaults->vocab;
    double eps = 1e-6;
    out->max_position = defaults->max_position;
    LC_TRY(read_count(root, "hidden_size", LC_MAX_WIDTH, &width, err));
    LC_TRY(read_count(root, "intermediate_size", LC_MAX_WIDTH, &mlp, err));
    LC_TRY(read_count(root, "num_hidden_layers", LC_MAX_LAYERS, &layers, err));
    LC_TRY(read_count(root, "vocab_size", LC_MAX_VOCAB, &vocab, err));
    LC_TRY(read_count(root, "max_position_embeddings", LC_MAX_POSITION, &out->max_position, err));
    LC_TRY(lc_json_double(root, "rms_norm_eps", false, 0, 1, &eps, err));
    out->width = (int32_t)width;
    out->mlp = (int32_t)mlp;
    out->layers = (int32_t)layers;
    out->vocab = (int32_t)vocab;
    out->eps = (float)eps;
    return read_heads(root, defaults, out, err);
}

static lc_code read_switches(const cJSON *root, const family_defaults *defaults,
                             lc_model_config *out, lc_err *err)
{
    bool attention_bias = false;
    out->tied = defaults->tied;
    LC_TRY(lc_json_bool(root, "tie_word_embeddings", false, &out->tied, err));
    if (defaults->has_attention_bias) {
        LC_TRY(lc_json_bool(root, "attention_bias", false, &attention_bias, err));
    }
    if (defaults->has_mlp_bias) {
        LC_TRY(lc_json_bool(root, "mlp_bias", false, &out->mlp_bias, err));
    }
    out->qkv_bias = attention_bias || out->family == LC_FAMILY_QWEN2;
    out->o_bias = attention_bias;
    out->qk_norm = out->family == LC_FAMILY_QWEN3;
    return LC_OK;
}

/* One id, a list of ids, or null. A negative id never matches a token and is left out. */
static lc_code read_eos(const cJSON *item, lc_model_config *out, lc_err *err)
{
    out->eos_count = 0;
    const cJSON *element = cJSON_IsArray(item) ? item->child : item;
    for (; element != NULL && !cJSON_IsNull(item); element = element->next) {
        int64_t id = 0;
        if (!lc_config_integer(element, INT32_MIN, INT32_MAX, &id)) {
            return lc_fail_param(err, LC_ERR_INVALID, "eos_token_id",
                                 "eos_token_id must be a token id or a list of token ids");
        }
        if (out->eos_count == LC_MAX_EOS) {
            return lc_fail_param(err, LC_ERR_INVALID, "eos_token_id",
                                 "eos_token_id has more than %d ids", LC_MAX_EOS);
        }
        if (id >= 0) {
            out->eos[out->eos_count++] = (int32_t)id;
        }
        if (!cJSON_IsArray(item)) {
            break;
        }
    }
    return LC_OK;
}

static lc_code read_special_tokens(const cJSON *root, const family_defaults *defaults,
                                   lc_model_config *out, lc_err *err)
{
    const cJSON *bos_item = lc_config_member(root, "bos_token_id");
    int64_t bos = bos_item == NULL ? defaults->bos : -1;
    LC_TRY(lc_json_int(root, "bos_token_id", false, -1, INT32_MAX, &bos, err));
    out->bos = (int32_t)bos;
    const cJSON *eos_item = lc_config_member(root, "eos_token_id");
    if (eos_item != NULL) {
        return read_eos(eos_item, out, err);
    }
    if (defaults->eos >= 0) {
        out->eos[0] = (int32_t)defaults->eos;
        out->eos_count = 1;
    }
    return LC_OK;
}

static lc_code read_config(const cJSON *root, lc_model_config *out, lc_err *err)
{
    memset(out, 0, sizeof(*out));
    if (!cJSON_IsObject(root)) {
        return lc_fail(err, LC_ERR_INVALID, "a JSON object is expected");
    }
    LC_TRY(read_family(root, out, err));
    LC_TRY(refuse_unsupported(root, err));
    const family_defaults *defaults = &families[out->family];
    LC_TRY(read_shape(root, defaults, out, err));
    LC_TRY(read_switches(root, defaults, out, err));
    LC_TRY(read_special_tokens(root, defaults, out, err));
    LC_TRY(lc_config_read_layers(root, out, err));
    return lc_config_read_rope(root, defaults->theta, out, err);
}

lc_code lc_model_config_load_generation(const char *model_dir, lc_model_config *config, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    cJSON *root = NULL;
    LC_TRY(lc_path_join(model_dir, "generation_config.json", path, err));
    if (!lc_path_exists(path)) {
        return LC_OK;
    }
    LC_TRY(lc_json_load(path, LC_MAX_CONFIG_BYTES, LC_JSON_DEFAULT, &root, err));
    const cJSON *eos = lc_json_get(root, "eos_token_id");
    lc_code code = LC_OK;
    if (eos != NULL) {
        lc_model_config updated = *config;
        code = read_eos(eos, &updated, err);
        if (code == LC_OK) {
            *config = updated;
        } else {
            code = lc_err_context(err, "%s", path);
        }
    }
    cJSON_Delete(root);
    return code;
}
