/* What adapter.c, adapter_peft.c and adapter_save.c share: names of modules and the layout of the
 * masters. */
#ifndef LC_MODEL_ADAPTER_LAYOUT_H
#define LC_MODEL_ADAPTER_LAYOUT_H

#include "model/adapter.h"

#define LC_MODULE_NAME_BYTES 64

/* "model.layers.3.self_attn.q_proj", the name in the base model. */
void lc_module_name(int32_t layer, lc_module_kind kind, char out[LC_MODULE_NAME_BYTES]);

/* Makes a slot of `rank` in 1..LC_MAX_RANK; its offsets come with lc_adapter_spec_layout. */
lc_lora_slot lc_lora_slot_make(int32_t rank, double alpha, bool use_rslora);

/* Offsets of all slots with a rank, by layer and group: the A of all its modules, then
 * each B; then the sums. */
void lc_adapter_spec_layout(const lc_model_config *config, lc_adapter_spec *spec);

#endif
