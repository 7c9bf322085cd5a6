/*
 * The LoRA adapter: which linears are adapted, with what rank and scale; where each matrix lies in
 * the flat fp32 master buffer; PEFT files in and out.
 */
#ifndef LC_MODEL_ADAPTER_H
#define LC_MODEL_ADAPTER_H

#include "lorac/tensor.h"
#include "model/config.h"

#define LC_MAX_RANK 1024

typedef enum lc_module_kind {
    LC_MODULE_Q,
    LC_MODULE_K,
    LC_MODULE_V,
    LC_MODULE_O,
    LC_MODULE_GATE,
    LC_MODULE_UP,
    LC_MODULE_DOWN,
    LC_MODULE_COUNT
} lc_module_kind;

/* "q_proj" ..., and "self_attn.q_proj" / "mlp.gate_proj" ... */
const char *lc_module_leaf(lc_module_kind kind);
const char *lc_module_path(lc_module_kind kind);
int32_t lc_module_in(const lc_model_config *config, lc_module_kind kind);
int32_t lc_module_out(const lc_model_config *config, lc_module_kind kind);

/* One adapted linear. Masters are stored padded: A as r16 x in, B as out x r16 (row-major,
 * rows/columns beyond rank are zero and stay zero). Offsets go group by group (weights.h): every A
 * of the group, one below the other, then every B. */
typedef struct lc_lora_slot {
    int32_t rank; /* 0: this linear is not adapted */
    int32_t r16;  /* rank rounded up to 16 */
    double alpha;
    float scale;      /* alpha/rank, or alpha/sqrt(rank) with rsLoRA */
    int64_t a_offset; /* in floats from the start of the master buffer */
    int64_t b_offset;
} lc_lora_slot;

typedef struct lc_adapter_spec {
    lc_lora_slot slots[LC_MAX_LAYERS][LC_MODULE_COUNT];
    int64_t master_count;    /* floats in the master buffer */
    int64_t parameter_count; /* true trainable parameters: sum of rank*(in+out) */
    int32_t first_layer;     /* first layer with an adapted linear */
    bool use_rslora;
    int32_t copies; /* adapters of this shape at most that rows choose among; 0: one, which all rows
                       have, in the borders */
} lc_adapter_spec;

#define LC_MAX_ADAPTER_COPIES 16

/* What the job file asks for. */
typedef struct lc_lora_options {
    int32_t rank;
    double alpha;
    bool use_rslora;
    bool all_linear; /* target_modules "all-linear": every linear but the head */
    const char *const
        *targets; /* else: PEFT's list rule (name equals or ends with ".name"), leaf names */
    int32_t target_count;
    const char
        *target_regex; /* else: PEFT's string rule (full match of a regular expression), or NULL */
    const int32_t *layers; /* layers_to_transform; NULL: all */
    int32_t layer_count;
} lc_lora_options;

/* A target that matches nothing, or something that is not an adaptable linear (lm_head,
 * embed_tokens), is an error that names it and lists what there is. */
LC_WARN_UNUSED lc_code lc_adapter_spec_build(const lc_model_config *config,
                                             const lc_lora_options *options, lc_adapter_spec *out,
                                             lc_err *err);

/* From a PEFT adapter directory: tensor names are the truth; ranks from shapes; scale from r,
 * lora_alpha, rank_pattern, alpha_pattern, use_rslora. DoRA, bias, modules_to_save, embedding LoRA
 * and other peft types are refused by name. */
LC_WARN_UNUSED lc_code lc_adapter_spec_load(const char *adapter_dir, const lc_model_config *config,
                                            lc_adapter_spec *out, lc_err *err);

/* Room for `copies` adapters of up to `rank` in every linear, which each have masters of their own:
 * here there are none. */
LC_WARN_UNUSED lc_code lc_adapter_spec_room(const lc_model_config *config, int32_t rank,
                                            int32_t copies, lc_adapter_spec *out, lc_err *err);

/* Fills the master buffer (host memory, master_count floats, zeroed by this call) as PEFT
 * initialises: A Kaiming-uniform with a = sqrt(5), that is U(-1/sqrt(in), 1/sqrt(in)), B zero.
 * Keyed (seed, layer, module). */
void lc_adapter_init(const lc_adapter_spec *spec, const lc_model_config *config, uint32_t seed,
                     float *master);

/* Reads adapter_model.safetensors (F32, BF16 or F16) into the master buffer. */
LC_WARN_UNUSED lc_code lc_adapter_load(const char *adapter_dir, const lc_adapter_spec *spec,
                                       const lc_model_config *config, float *master, lc_err *err);

/* Writes adapter_config.json and adapter_model.safetensors (fp32, metadata format pt) into an
 * existing directory, as PEFT, vLLM and SGLang read them: minimal long-stable keys, sorted,
 * indent 2. One rank and alpha everywhere give plain r/lora_alpha; otherwise (only after loading an
 * adapter that had them) rank_pattern and alpha_pattern with full module names, r being the largest
 * rank. PEFT and SGLang read patterns, vLLM does not: it would apply lora_alpha/r to every module.
 * Modules that are no rectangle of layers and leaf names are listed in target_modules in full.
 * Fails when the tensor file is there already, and with LC_ERR_NUMERIC naming the tensor when a
 * value is not finite (nothing is written then). */
typedef struct lc_adapter_meta {
    const char *base_model; /* base_model_name_or_path */
    double dropout;
} lc_adapter_meta;
LC_WARN_UNUSED lc_code lc_adapter_save(const char *adapter_dir, const lc_adapter_spec *spec,
                                       const lc_model_config *config, const float *master,
                                       const lc_adapter_meta *meta, lc_err *err);

#endif
