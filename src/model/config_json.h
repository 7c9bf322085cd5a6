/*
 * The parts of reading a config.json, one file each, shared by config.c only: rotation parameters
 * (config_rope.c) and what differs from layer to layer (config_layers.c).
 */
#ifndef LC_MODEL_CONFIG_JSON_H
#define LC_MODEL_CONFIG_JSON_H

#include "base/json.h"
#include "model/config.h"

/* The member even when it is null (transformers often treats null and absent differently); NULL:
 * absent. */
const cJSON *lc_config_member(const cJSON *object, const char *key);

/* Whether Python would call the member true: absent, null, false, 0, "", [] and {} are not. */
bool lc_config_is_truthy(const cJSON *object, const char *key);

/* An exact integer in [min, max] (an array's element, say). */
bool lc_config_integer(const cJSON *item, int64_t min, int64_t max, int64_t *out);

/* Fills out->rope and raises out->max_position to the stretched context. `out` has family, head_dim
 * and max_position (max_position_embeddings) already. default_theta: the family's. */
LC_WARN_UNUSED lc_code lc_config_read_rope(const cJSON *root, double default_theta,
                                           lc_model_config *out, lc_err *err);

/* Fills layer_window and layer_rope. `out` has family and layers already. */
LC_WARN_UNUSED lc_code lc_config_read_layers(const cJSON *root, lc_model_config *out, lc_err *err);

#endif
