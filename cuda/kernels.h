/*
 * What the kernel files offer to the host side: one launcher per op. The shapes have passed the
 * op's check (lorac/ops_check.h) and the device's own (rows begin at multiples of 16 bytes, widths
 * are multiples of 16 bytes). A launcher queues kernels on `stream` and returns the first error; it
 * allocates nothing and waits for nothing. `scratch` is device memory of at least the size that the
 * matching lc_cuda_*_scratch of scratch.h says.
 */
#ifndef LC_CUDA_KERNELS_H
#define LC_CUDA_KERNELS_H

#include <cuda_runtime_api.h>

#include "attention_cudnn.h"
#include "lorac/ops.h"
#include "scratch.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- rows.cu: data from here to there ---- */
cudaError_t lc_cuda_embed(const lc_embed_args *args, cudaStream_t stream);
cudaError_t lc_cuda_gather_rows(const lc_gather_rows_args *args, cudaStream_t stream);
cudaError_t lc_cuda_scatter_rows(const lc_scatter_rows_args *args, cudaStream_t stream);
cudaError_t lc_cuda_cache_append(const lc_cache_append_args *args, cudaStream_t stream);
/* Between F32, BF16 and F16, or the same type of 1, 2, 4 or 8 bytes; any alignment. */
cudaError_t lc_cuda_copy(lc_mat to, lc_mat from, cudaStream_t stream);

/* ---- norm.cu, rope.cu, swiglu.cu ---- */
cudaError_t lc_cuda_rmsnorm(const lc_rmsnorm_args *args, cudaStream_t stream);
/* Without `dropped`, which is not read. */
cudaError_t lc_cuda_rmsnorm_backward(const lc_rmsnorm_backward_args *args, cudaStream_t stream);
/* y = x * rstd * weight, for lora_dx by products. */
cudaError_t lc_cuda_scale_rows(lc_mat x, const float *rstd, const float *weight, lc_mat y,
                               cudaStream_t stream);
cudaError_t lc_cuda_qk_rope(const lc_qk_rope_args *args, cudaStream_t stream);
cudaError_t lc_cuda_qk_rope_backward(const lc_qk_rope_backward_args *args, cudaStream_t stream);
/* Without their LoRA parts, which are not read. */
cudaError_t lc_cuda_swiglu(const lc_swiglu_args *args, cudaStream_t stream);
cudaError_t lc_cuda_swiglu_backward(const lc_swiglu_backward_args *args, cudaStream_t stream);

/* ---- dropout.cu: to = drop(from), or to += drop(from); one mask ---- */
cudaError_t lc_cuda_drop(const lc_dropout *dropout, int32_t module, lc_mat from, lc_mat to,
                         bool accumulate, cudaStream_t stream);

/* ---- lora*.cu: BF16 only; ranks and parts of any size ---- */
cudaError_t lc_cuda_lora_forward(const lc_lora_forward_args *args, cudaStream_t stream);
cudaError_t lc_cuda_lora_dy(const lc_lora_dy_args *args, void *scratch, cudaStream_t stream);
/* qk_rope_backward and lora_dy in one pass, where that can be. */
bool lc_cuda_can_turn(const lc_qk_rope_backward_args *args);
cudaError_t lc_cuda_rope_lora_dy(const lc_qk_rope_backward_args *args, void *scratch,
                                 cudaStream_t stream);
cudaError_t lc_cuda_lora_dx(const lc_lora_dx_args *args, void *scratch, cudaStream_t stream);
cudaError_t lc_cuda_lora_dropout_backward(const lc_lora_dropout_backward_args *args,
                                          cudaStream_t stream);
/* attention_backward's delta of the dout that `dropped` completes, in one pass, where it can. */
bool lc_cuda_can_drop_delta(const lc_attention_backward_args *args);
cudaError_t lc_cuda_drop_delta(const lc_attention_backward_args *args, cudaStream_t stream);
/* rmsnorm_backward of the dy that `dropped` completes, in one pass, where it can. */
bool lc_cuda_can_drop_norm(const lc_rmsnorm_backward_args *args);
cudaError_t lc_cuda_rmsnorm_backward_lora(const lc_rmsnorm_backward_args *args,
                                          cudaStream_t stream);
/* With args->lora, without dropout. */
cudaError_t lc_cuda_swiglu_lora(const lc_swiglu_args *args, cudaStream_t stream);
/* With either or both LoRA parts. Dropout only with all of it at hand (lora_down and dropped) and
 * where the pass is one. */
bool lc_cuda_swiglu_backward_fuses(const lc_swiglu_backward_args *args);
cudaError_t lc_cuda_swiglu_backward_lora(const lc_swiglu_backward_args *args, void *scratch,
                                         cudaStream_t stream);

/* ---- attention*.cu ---- */
cudaError_t lc_cuda_attention(const lc_attention_args *args, cudaStream_t stream);
/* With `dropped` only where lc_cuda_can_drop_delta. */
cudaError_t lc_cuda_attention_backward(const lc_attention_backward_args *args, cudaStream_t stream);
cudaError_t lc_cuda_attention_cached(const lc_attention_cached_args *args, void *scratch,
                                     cudaStream_t stream);

/* ---- attention_ragged.cu: beside cuDNN. `layout` is the batch's; matrices are BF16 ---- */
typedef struct lc_ragged_strides {
    int64_t of[LC_CUDNN_OFFSETS]; /* elements from row to row of each tensor */
} lc_ragged_strides;
/* lengths: `documents`; offsets: LC_CUDNN_OFFSETS arrays of documents + 1. */
cudaError_t lc_cuda_ragged_offsets(const void *layout, int32_t documents, lc_ragged_strides strides,
                                   int32_t *lengths, int64_t *offsets, cudaStream_t stream);
/* Zeros in the rows behind the last document; lse: rows x heads. */
cudaError_t lc_cuda_ragged_clear(const void *layout, lc_mat out, float *lse, int32_t heads,
                                 cudaStream_t stream);
/* Dense rows to their places, zeros behind the last document. All have the same rows. */
cudaError_t lc_cuda_ragged_pack(const void *layout, const lc_mat to[3], const void *const from[3],
                                cudaStream_t stream);

/* ---- loss.cu, sample.cu, optimizer.cu ---- */
cudaError_t lc_cuda_cross_entropy(const lc_cross_entropy_args *args, cudaStream_t stream);
cudaError_t lc_cuda_sample(const lc_sample_args *args, cudaStream_t stream);
cudaError_t lc_cuda_advance(const lc_advance_args *args, cudaStream_t stream);
cudaError_t lc_cuda_add_sums(const lc_add_sums_args *args, cudaStream_t stream);
cudaError_t lc_cuda_lora_publish(const lc_lora_publish_args *args, cudaStream_t stream);
cudaError_t lc_cuda_adamw(const lc_adamw_args *args, void *scratch, cudaStream_t stream);

/* ---- allow kernels the shared memory that they ask for; once per device ---- */
cudaError_t lc_cuda_lora_prepare(void);
cudaError_t lc_cuda_attention_prepare(void);

/* ---- comm.cu: sum[i] = the sum of parts[rank * stride + i] in rank order, i < count. For floats
 * the stride is a multiple of 4, parts and sum are aligned to 16 bytes, and up to the next multiple
 * of 4 behind `count` is read and written too. ---- */
cudaError_t lc_cuda_sum_ranks_f32(const float *parts, int64_t stride, int rank_count, int64_t count,
                                  float *sum, cudaStream_t stream);
cudaError_t lc_cuda_sum_ranks_f64(const double *parts, int64_t stride, int rank_count,
                                  int64_t count, double *sum, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
