/*
 * One check per op, shared by every backend: pointers, shapes, strides, element types. A bad call
 * is a bug of the caller: LC_ERR_INTERNAL that names op and field, says what was found and what was
 * expected, and has the field in err->param. Contents of device arrays (ids, targets, rows) are not
 * read here; cu_seqlens lies in host memory and is.
 */
#ifndef LORAC_OPS_CHECK_H
#define LORAC_OPS_CHECK_H

#include "lorac/ops.h"

#ifdef __cplusplus
extern "C" {
#ifdef __cplusplus
}
#endif
#endif

#define LC_MAX_HEAD_DIM 512

/* What a backend takes. */
typedef struct lc_op_rules {
    lc_dtype activation; /* of activations and their gradients */
    unsigned weights;    /* bit set of the element types of weight matrices */
    int32_t strip;       /* lc_mat.strip that weights may have; 0: none */
    int64_t alignment;   /* rows of matrices begin at multiples of so many bytes, and all widths but
                            that of the vocabulary are multiples of it; 1: any */
} lc_op_rules;

LC_WARN_UNUSED lc_code lc_copy_check(lc_mat to, lc_mat from, lc_err *err);
LC_WARN_UNUSED lc_code lc_embed_check(const lc_embed_args *args, const lc_op_rules *rules,
                                      lc_err *err);
LC_WARN_UNUSED lc_code lc_rmsnorm_check(const lc_rmsnorm_args *args, const lc_op_rules *rules,
                                        lc_err *err);
LC_WARN_UNUSED lc_code lc_rmsnorm_backward_check(const lc_rmsnorm_backward_args *args,
                                                 const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_linear_check(const lc_linear_args *args, const lc_op_rules *rules,
                                       lc_err *err);
LC_WARN_UNUSED lc_code lc_linear_backward_check(const lc_linear_backward_args *args,
                                                const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_lora_forward_check(const lc_lora_forward_args *args,
                                             const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_lora_dy_check(const lc_lora_dy_args *args, const lc_op_rules *rules,
                                        lc_err *err);
LC_WARN_UNUSED lc_code lc_lora_dx_check(const lc_lora_dx_args *args, const lc_op_rules *rules,
                                        lc_err *err);
LC_WARN_UNUSED lc_code lc_lora_dropout_backward_check(const lc_lora_dropout_backward_args *args,
                                                      const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_lora_publish_check(const lc_lora_publish_args *args,
                                             const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_qk_rope_check(const lc_qk_rope_args *args, const lc_op_rules *rules,
                                        lc_err *err);
LC_WARN_UNUSED lc_code lc_qk_rope_backward_check(const lc_qk_rope_backward_args *args,
                                                 const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_attention_check(const lc_attention_args *args, const lc_op_rules *rules,
                                          lc_err *err);
LC_WARN_UNUSED lc_code lc_attention_backward_check(const lc_attention_backward_args *args,
                                                   const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_cache_append_check(const lc_cache_append_args *args,
                                             const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_attention_cached_check(const lc_attention_cached_args *args,
                                                 const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_swiglu_check(const lc_swiglu_args *args, const lc_op_rules *rules,
                                       lc_err *err);
LC_WARN_UNUSED lc_code lc_swiglu_backward_check(const lc_swiglu_backward_args *args,
                                                const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_gather_rows_check(const lc_gather_rows_args *args,
                                            const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_scatter_rows_check(const lc_scatter_rows_args *args,
                                             const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_cross_entropy_check(const lc_cross_entropy_args *args,
                                              const lc_op_rules *rules, lc_err *err);
LC_WARN_UNUSED lc_code lc_sample_check(const lc_sample_args *args, const lc_op_rules *rules,
                                       lc_err *err);
LC_WARN_UNUSED lc_code lc_advance_check(const lc_advance_args *args, lc_err *err);
LC_WARN_UNUSED lc_code lc_add_sums_check(const lc_add_sums_args *args, lc_err *err);
LC_WARN_UNUSED lc_code lc_adamw_check(const lc_adamw_args *args, lc_err *err);

#ifdef __cplusplus
}
#endif
#endif
