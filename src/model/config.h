/*
 * A Hugging Face config.json as the model code needs it: shapes and switches of the families llama,
 * mistral, qwen2, qwen3 and smollm3, in the old and the new spelling. Knows nothing of weights.
 */
#ifndef LC_MODEL_CONFIG_H
#define LC_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#define LC_MAX_LAYERS       512
#define LC_MAX_WIDTH        65536 /* C, I, H*D */
#define LC_MAX_HEADS        512
#define LC_MAX_HEAD_DIM     512
#define LC_MAX_VOCAB        2000000
#define LC_MAX_POSITION     ((int64_t)1 << 31)
#define LC_MAX_EOS          8
#define LC_MAX_CONFIG_BYTES ((size_t)4 << 20)

typedef enum lc_family {
    LC_FAMILY_LLAMA,
    LC_FAMILY_MISTRAL,
    LC_FAMILY_QWEN2,
    LC_FAMILY_QWEN3,
    LC_FAMILY_SMOLLM3
} lc_family;

typedef enum lc_rope_type {
    LC_ROPE_DEFAULT,
    LC_ROPE_LINEAR,
    LC_ROPE_DYNAMIC,
    LC_ROPE_LLAMA3,
    LC_ROPE_YARN
} lc_rope_type;

typedef struct lc_rope_config {
    lc_rope_type type;
    double theta;
    double factor;
    double low_freq_factor, high_freq_factor;        /* llama3 */
    double original_max_position;                    /* llama3, yarn, dynamic */
    double beta_fast, beta_slow;                     /* yarn */
    double attention_factor, mscale, mscale_all_dim; /* yarn; 0: not given */
    bool truncate;                                   /* yarn */
} lc_rope_config;

typedef struct lc_model_config {
    lc_family family;
    int32_t width;        /* C */
    int32_t layers;       /* L */
    int32_t heads;        /* H */
    int32_t kv_heads;     /* K */
    int32_t head_dim;     /* D, even */
    int32_t mlp;          /* I */
    int32_t vocab;        /* V */
    int64_t max_position; /* context in tokens: max_position_embeddings times the rope's stretch */
    float eps;
    bool tied; /* head = embedding */
    bool qkv_bias, o_bias, mlp_bias;
    bool qk_norm;
    bool layer_rope[LC_MAX_LAYERS];      /* false: NoPE layer */
    int32_t layer_window[LC_MAX_LAYERS]; /* sliding window, 0: full attention */
    lc_rope_config rope;
    int32_t eos[LC_MAX_EOS];
    int32_t eos_count;
    int32_t bos; /* -1: none */
} lc_model_config;

/* Reads DIR/config.json. Anything this version would compute differently from transformers (an
 * unknown family, activation, rope type, partial rotary, quantisation, softcapping ...) is refused
 * by name. */
LC_WARN_UNUSED lc_code lc_model_config_load(const char *model_dir, lc_model_config *out,
                                            lc_err *err);

/* The same from memory; `what` names the text in errors. */
LC_WARN_UNUSED lc_code lc_model_config_parse(const char *text, size_t bytes, const char *what,
                                             lc_model_config *out, lc_err *err);

/* eos ids of generation_config.json replace those of config.json when the file is there. */
LC_WARN_UNUSED lc_code lc_model_config_load_generation(const char *model_dir,
                                                       lc_model_config *config, lc_err *err);

const char *lc_family_name(lc_family family);

#endif
