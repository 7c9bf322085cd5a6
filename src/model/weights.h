/*
 * The frozen base in memory: one bordered matrix per linear group (ops.h), norms, embedding and
 * head. Loaded from Hugging Face names straight into place.
 */
#ifndef LC_MODEL_WEIGHTS_H
#define LC_MODEL_WEIGHTS_H

#include "lorac/mem.h"
#include "lorac/ops.h"
#include "data/safetensors.h"
#include "model/adapter.h"
#include "model/config.h"

typedef enum lc_group_kind {
    LC_GROUP_QKV,
    LC_GROUP_O,
    LC_GROUP_GATE_UP,
    LC_GROUP_DOWN,
    LC_GROUP_COUNT
} lc_group_kind;

/* Modules that share an input and thus one matrix: first, count. QKV: Q,K,V; GATE_UP: GATE,UP. */
void lc_group_modules(lc_group_kind kind, lc_module_kind *first, int32_t *count);

/* G of one group: rows out + tail, extent in + tail, stride ld. */
typedef struct lc_group_shape {
    int32_t in, out;
    int32_t tail;   /* R: sum of r16 over adapted modules; 0: not adapted */
    int32_t border; /* R; 0 where rows choose among adapters, which lie elsewhere (places.c) */
    int64_t ld;     /* in + 64*ceil(border/64), rounded up to 16 floats */
    int64_t rows;   /* out + border */
    int32_t row_first[LC_MODULE_COUNT];  /* first output row of each module of the group (index:
                                            module kind) */
    int32_t slot_first[LC_MODULE_COUNT]; /* first column of each adapted module, counted from the
                                            tail's start */
} lc_group_shape;

lc_group_shape lc_group_shape_of(const lc_model_config *config, const lc_adapter_spec *spec,
                                 int32_t layer, lc_group_kind kind);

typedef struct lc_layer_weights {
    lc_mat group[LC_GROUP_COUNT]; /* rows x ld window: rows = out+border, cols = in+border */
    void *bias[LC_GROUP_COUNT];   /* out, of the activations' type; or NULL */
    float *norm1, *norm2;         /* C */
    float *q_norm, *k_norm;       /* D, or NULL */
} lc_layer_weights;

typedef struct lc_weights {
    lc_mat embed;             /* V x C */
    lc_mat head;              /* V x C; the same memory as embed when tied */
    float *final_norm;        /* C */
    lc_layer_weights *layers; /* L; owned by the model's host arena */
    lc_dtype activation;      /* of the biases */
} lc_weights;

/* Device bytes of everything in lc_weights, each buffer rounded up to 256 (for the plan). */
LC_WARN_UNUSED lc_code lc_weights_bytes(const lc_model_config *config, const lc_adapter_spec *spec,
                                        lc_dtype dtype, lc_dtype activation, int64_t *bytes,
                                        lc_err *err);

/* Sets the pointers of *weights into one device block of lc_weights_bytes (zeroed by alloc). */
LC_WARN_UNUSED lc_code lc_weights_carve(const lc_model_config *config, const lc_adapter_spec *spec,
                                        lc_dtype dtype, lc_dtype activation, void *block,
                                        lc_arena *arena, lc_weights *weights, lc_err *err);

/* Whether each module and each slot of a group begins with a strip (lc_mat); false for strip 0. */
bool lc_group_fits_strips(const lc_model_config *config, const lc_adapter_spec *spec, int32_t layer,
                          lc_group_kind kind, int32_t strip);

/* Gives the carved matrices that strip, where their parts are whole strips (lc_mat). To be called
 * before anything is loaded. */
void lc_weights_use_strips(const lc_model_config *config, const lc_adapter_spec *spec,
                           int32_t strip, lc_weights *weights);

/* Reads the files into the carved matrices; the border beside W is left as it is: zero in new
 * memory, so publish afterwards. A missing tensor, a wrong shape or dtype is an error that names
 * the tensor, expected and found. Norms become F32; matrices `dtype` (F32 or BF16).
 * Tensors that the family does not have are an error too, other than rotary inv_freq buffers and,
 * in a tied model, a head equal to the embedding. Holds 4 MiB of host memory for each of the
 * device's readers, at most 32 MiB, while it runs. */
LC_WARN_UNUSED lc_code lc_weights_load(const lc_model_config *config, const lc_adapter_spec *spec,
                                       const lc_weight_files *files, lc_device *device,
                                       lc_weights *weights, lc_err *err);

/* Where every adapted module's masters (of device memory `master`) go in the borders: fills `slots`
 * (spec's module count of them, or NULL: only counts) and returns how many. */
int32_t lc_weights_publish_slots(const lc_model_config *config, const lc_adapter_spec *spec,
                                 const float *master, const lc_weights *weights,
                                 lc_publish_slot *slots);

#endif
