/*
 * What differs from layer to layer in a config.json: sliding windows (mistral: all layers; qwen2,
 * qwen3 and smollm3: some) and layers without rotation (smollm3). A `layer_types` list wins over
 * the pattern fields.
 */
#include "model/config_json.h"

#include <string.h>

#define DEFAULT_WINDOW            4096 /* mistral, qwen2, qwen3 */
#define DEFAULT_MAX_WINDOW_LAYERS 28   /* qwen2, qwen3 */
#define DEFAULT_NOPE_INTERVAL     4    /* smollm3 */
#define MAX_LAYER_NUMBER          1000000

/* The window that the configuration speaks of, 0: none. fallback: when the key is absent (null
 * means none). */
static lc_code read_window(const cJSON *root, int64_t fallback, int64_t *window, lc_err *err)
{
    const cJSON *item = lc_config_member(root, "sliding_window");
    *window = item == NULL ? fallback : 0;
    return lc_json_int(root, "sliding_window", false, 1, INT32_MAX, window, err);
}

/* smollm3: a list with 0 for every layer without rotation, or every n-th layer. */
static lc_code read_rotation(const cJSON *root, lc_model_config *out, lc_err *err)
{
    const cJSON *list = NULL;
    int64_t interval = DEFAULT_NOPE_INTERVAL;
    LC_TRY(lc_json_array(root, "no_rope_layers", false, &list, err));
    LC_TRY(lc_json_int(root, "no_rope_layer_interval", false, 1, MAX_LAYER_NUMBER, &interval, err));
    const cJSON *element = list != NULL ? list->child : NULL;
    for (int32_t layer = 0; layer < out->layers; layer++) {
        int64_t flag = (layer + 1) % interval != 0;
        if (list != NULL && !lc_config_integer(element, 0, 1, &flag)) {
            return lc_fail_param(
                err, LC_ERR_INVALID, "no_rope_layers",
                "no_rope_layers must hold 0 or 1 for each of %d layers, entry %d does "
                "not",
                out->layers, layer);
        }
        out->layer_rope[layer] = flag != 0;
        element = element != NULL ? element->next : NULL;
    }
    return LC_OK;
}

/* Whether layer_types[layer] is sliding. Other kinds of attention are refused. */
static lc_code read_layer_type(const cJSON *element, int32_t layer, bool *is_sliding, lc_err *err)
{
    const char *name = cJSON_IsString(element) ? element->valuestring : NULL;
    *is_sliding = name != NULL && strcmp(name, "sliding_attention") == 0;
    if (*is_sliding || (name != NULL && strcmp(name, "full_attention") == 0)) {
        return LC_OK;
    }
    return lc_fail_param(err, LC_ERR_UNSUPPORTED, "layer_types",
                         "layer_types[%d] is %s%s%s; supported are \"full_attention\" and "
                         "\"sliding_attention\"",
                         layer, name != NULL ? "\"" : "", name != NULL ? name : "not a string",
                         name != NULL ? "\"" : "");
}

/* The list of layer types against `window`, the only one there is. Families whose attention does
 * not look at the list (is_binding false) must agree with it. */
static lc_code apply_layer_types(const cJSON *list, int64_t window, bool is_binding,
                                 lc_model_config *out, lc_err *err)
{
    if (cJSON_GetArraySize(list) != out->layers) {
        return lc_fail_param(err, LC_ERR_INVALID, "layer_types",
                             "layer_types has %d entries for num_hidden_layers %d",
                             cJSON_GetArraySize(list), out->layers);
    }
    const cJSON *element = list->child;
    for (int32_t layer = 0; layer < out->layers; layer++, element = element->next) {
        bool is_sliding = false;
        LC_TRY(read_layer_type(element, layer, &is_sliding, err));
        if (!is_binding && is_sliding != (out->layer_window[layer] != 0)) {
            return lc_fail_param(
                err, LC_ERR_UNSUPPORTED, "layer_types",
                "layer_types[%d] \"%s\" contradicts sliding_window, which model_type "
                "\"%s\" applies to every layer or to none",
                layer, element->valuestring, lc_family_name(out->family));
        }
        if (is_sliding && window == 0) {
            return lc_fail_param(err, LC_ERR_INVALID, "layer_types",
                                 "layer_types[%d] is \"sliding_attention\", but sliding_window or "
                                 "use_sliding_window is not set",
                                 layer);
        }
        out->layer_window[layer] = is_sliding ? (int32_t)window : 0;
    }
    return LC_OK;
}

/* Which layers slide where there is no list. */
static bool is_sliding_by_pattern(const lc_model_config *config, int32_t layer,
                                  int64_t max_window_layers)
{
    switch (config->family) {
    case LC_FAMILY_MISTRAL:
        return true;
    case LC_FAMILY_QWEN2:
    case LC_FAMILY_QWEN3:
        return layer >= max_window_layers;
    case LC_FAMILY_SMOLLM3:
        return !config->layer_rope[layer];
    case LC_FAMILY_LLAMA:
    default:
        return false;
    }
}

lc_code lc_config_read_layers(const cJSON *root, lc_model_config *out, lc_err *err)
{
    const bool is_mistral = out->family == LC_FAMILY_MISTRAL;
    const bool is_binding = !is_mistral && out->family != LC_FAMILY_LLAMA;
    int64_t window = 0, max_window_layers = DEFAULT_MAX_WINDOW_LAYERS;
    bool use_window = is_mistral;
    for (int32_t layer = 0; layer < out->layers; layer++) {
        out->layer_rope[layer] = true;
    }
    if (out->family == LC_FAMILY_SMOLLM3) {
        LC_TRY(read_rotation(root, out, err));
    }
    if (is_binding) {
        LC_TRY(lc_json_bool(root, "use_sliding_window", false, &use_window, err));
        LC_TRY(lc_json_int(root, "max_window_layers", false, 0, MAX_LAYER_NUMBER,
                           &max_window_layers, err));
    }
    if (use_window) {
        const int64_t fallback = out->family == LC_FAMILY_SMOLLM3 ? 0 : DEFAULT_WINDOW;
        LC_TRY(read_window(root, fallback, &window, err));
    }
    for (int32_t layer = 0; layer < out->layers && window != 0; layer++) {
        if (is_sliding_by_pattern(out, layer, max_window_layers)) {
            out->layer_window[layer] = (int32_t)window;
        }
    }
    const cJSON *list = NULL;
    LC_TRY(lc_json_array(root, "layer_types", false, &list, err));
    return list == NULL ? LC_OK : apply_layer_types(list, window, is_binding, out, err);
}
