/*
 * Every buffer of a model, listed once: the same walk makes the memory plan and, with blocks
 * allocated, sets the model's pointers. A buffer added here is planned, printed and carved.
 */
#ifndef LC_MODEL_LAYOUT_H
#define LC_MODEL_LAYOUT_H

#include "model/model.h"

/* Needs config, spec, memory, dtype, activation, training, dropout, recompute, tokens, head_rows,
 * cache_*, publish_count and layers/k_cache/v_cache arrays in the model. carve false: fills `plan`
 * from empty. carve true: sets the pointers into model->blocks, in the same order, against the plan
 * made before. */
LC_WARN_UNUSED lc_code lc_model_layout(lc_model *model, lc_plan *plan, bool carve, lc_err *err);

/* What the forward pass leaves of a layer to the backward pass; the rest lies in buffers that
 * layers share. Small vectors and S are kept whenever anything is. */
typedef enum lc_layer_kept {
    LC_KEEPS_NOTHING, /* below the first adapted layer, and without training */
    LC_KEEPS_INPUT,   /* all else is computed again */
    LC_KEEPS_MOST,    /* gate|up, the largest, is computed again */
    LC_KEEPS_ALL
} lc_layer_kept;

lc_layer_kept lc_model_layer_kept(const lc_model *model, int32_t layer);

/* The sizes that a backend's workspace goes by, of training and, with cache_rows, generation. */
lc_workspace_extent lc_model_workspace(const lc_model_config *config, const lc_adapter_spec *spec,
                                       lc_dtype activation, int64_t tokens, int64_t cache_rows);

#endif
