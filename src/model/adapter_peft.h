/*
 * A PEFT adapter directory as files: adapter_config.json and the names in
 * adapter_model.safetensors. For adapter_peft.c, its tests and its fuzzer.
 */
#ifndef LC_MODEL_ADAPTER_PEFT_H
#define LC_MODEL_ADAPTER_PEFT_H

#include "base/json.h"
#include "model/adapter.h"
#include "model/adapter_match.h"

#define LC_MAX_ADAPTER_CONFIG_BYTES ((size_t)4 << 20)
#define LC_MAX_ADAPTER_PATTERNS     4096 /* keys of rank_pattern, and of alpha_pattern */
#define LC_MAX_ADAPTER_REGEXES      64   /* of those, such as are more than names and dots */

/* rank_pattern or alpha_pattern, in file order; the first key that matches counts. */
typedef struct lc_peft_patterns {
    int32_t count;
    lc_pattern **patterns; /* owned, count */
    double *values;        /* owned, count */
} lc_peft_patterns;

typedef struct lc_peft_config {
    int32_t rank;
    double alpha;
    bool use_rslora;
    lc_peft_patterns ranks, alphas;
} lc_peft_config;

/* Reads an adapter_config.json. Anything but plain LoRA is refused by name; unknown keys are
 * ignored, as PEFT does. Release with lc_peft_config_release, also after a failure. */
LC_WARN_UNUSED lc_code lc_peft_config_parse(const char *text, size_t bytes, const char *what,
                                            lc_peft_config *out, lc_err *err);
void lc_peft_config_release(lc_peft_config *config);

/* Rank and alpha that PEFT gives a module ("model.layers.0.self_attn.q_proj"). */
LC_WARN_UNUSED lc_code lc_peft_config_module(const lc_peft_config *config, const char *name,
                                             int32_t *rank, double *alpha, lc_err *err);

/* What a tensor's name says. */
typedef struct lc_peft_tensor {
    int32_t layer;
    lc_module_kind kind;
    bool is_b;
} lc_peft_tensor;

/* "base_model.model.model.layers.I.PATH.lora_A.weight", or ".lora_A.NAME.weight" as a state dict
 * has it. Other names are refused with the reason. */
LC_WARN_UNUSED lc_code lc_peft_tensor_parse(const char *name, const lc_model_config *config,
                                            lc_peft_tensor *out, lc_err *err);

#endif
