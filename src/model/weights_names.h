/* What weights.c and weights_load.c share. */
#ifndef LC_MODEL_WEIGHTS_NAMES_H
#define LC_MODEL_WEIGHTS_NAMES_H

#include "model/weights.h"

/* Whether the linears of a group have a bias. */
bool lc_group_has_bias(const lc_model_config *config, lc_group_kind kind);

#endif
