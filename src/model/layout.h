/*
 * Every buffer of a model, listed once: the same walk makes the memory plan and, with blocks
 * allocated, sets the model's pointers. A buffer added here is planned, printed and carved.
 */
#ifndef LC_MODEL_LAYOUT_H
#define LC_MODEL_LAYOUT_H

#include "model/model.h"

/* Needs config, spec, dtype, training, dropout, tokens, head_rows, cache_* and
 * layers/k_cache/v_cache arrays in the model. carve false: fills `plan` from empty. carve true:
 * sets the pointers into model->blocks, in the same order, against the plan made before. */
LC_WARN_UNUSED lc_code lc_model_layout(lc_model *model, lc_plan *plan, bool carve, lc_err *err);

/* Layers below the first adapted one, and all layers without training, save nothing for a backward
 * pass and share one set of activations. */
bool lc_model_layer_is_saved(const lc_model *model, int32_t layer);

#endif
