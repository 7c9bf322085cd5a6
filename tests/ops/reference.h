/*
 * Every op in double precision, written from the formulas of ops.h and nothing else: slow, obvious,
 * without blocks or vectors. They take the ops' own args structs, but matrices may be F64, F32 or
 * BF16, and what a backward op could read from the forward pass (rstd, lse) is worked out again.
 * Plain float pointers are read and written as floats.
 */
#ifndef TESTS_OPS_REFERENCE_H
#define TESTS_OPS_REFERENCE_H

#include "lorac/ops.h"

double ref_get(lc_mat mat, int64_t row, int64_t col);
void ref_put(lc_mat mat, int64_t row, int64_t col, double value);

void ref_embed(const lc_embed_args *args);
void ref_rmsnorm(const lc_rmsnorm_args *args);
void ref_rmsnorm_backward(const lc_rmsnorm_backward_args *args, double eps);
void ref_linear(const lc_linear_args *args);
void ref_linear_backward(const lc_linear_backward_args *args);
void ref_lora_forward(const lc_lora_forward_args *args);
void ref_lora_dy(const lc_lora_dy_args *args);
void ref_lora_dx(const lc_lora_dx_args *args);
void ref_lora_dropout_backward(const lc_lora_dropout_backward_args *args);
/* One module; the windows are those that the slot names. */
void ref_publish_slot(const lc_publish_slot *slot, lc_mat w_a, lc_mat w_b);
void ref_qk_rope(const lc_qk_rope_args *args);
void ref_qk_rope_backward(const lc_qk_rope_backward_args *args, double eps);
void ref_attention(const lc_attention_args *args);
void ref_attention_backward(const lc_attention_backward_args *args);
void ref_cache_append(const lc_cache_append_args *args);
void ref_attention_cached(const lc_attention_cached_args *args);
/* Without their LoRA parts. */
void ref_swiglu(const lc_swiglu_args *args);
void ref_swiglu_backward(const lc_swiglu_backward_args *args);
void ref_gather_rows(const lc_gather_rows_args *args);
void ref_scatter_rows(const lc_scatter_rows_args *args);
/* nll_exact, when not NULL, gets the losses in double. */
void ref_cross_entropy(const lc_cross_entropy_args *args, double *nll_exact);
void ref_sample(const lc_sample_args *args);
void ref_advance(const lc_advance_args *args);
void ref_add_sums(const lc_add_sums_args *args);
void ref_adamw(const lc_adamw_args *args);

#endif
