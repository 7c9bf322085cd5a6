/* Sizes that the memory plan needs; see memory_rules.h. */
#include "memory_rules.h"

#include "attention_layout.h"
#include "scratch.h"

#define PITCH     64 /* elements: rows begin at multiples of 128 bytes, borders are whole k-tiles */
#define ALIGNMENT 16 /* bytes that one thread moves at a time */

/* cuDNN does not serve batches with a common beginning: a short one is not worth that. A guess. */
#define LEAST_SHARED 64

/* What matrix products get: cuBLAS recommends 32 MiB on Hopper; small models get by with less. */
#define PRODUCT_BYTES       ((size_t)32 << 20)
#define SMALL_PRODUCT_BYTES ((size_t)1 << 20)
#define LARGE_ACTIVATION    ((int64_t)1 << 20) /* elements */

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t lc_cuda_product_workspace(size_t workspace_bytes)
{
    return workspace_bytes >= 2 * PRODUCT_BYTES     ? PRODUCT_BYTES
           : workspace_bytes >= SMALL_PRODUCT_BYTES ? SMALL_PRODUCT_BYTES
                                                    : 0;
}

#define RUN_FLOATS 4

int64_t lc_cuda_comm_chunk(int64_t count, int world_size)
{
    return lc_ceil_div(lc_ceil_div(count, world_size), RUN_FLOATS) * RUN_FLOATS;
}

size_t lc_cuda_comm_sum_bytes(int64_t count, int world_size)
{
    return (size_t)((world_size + 1) * lc_cuda_comm_chunk(count, world_size)) * sizeof(float);
}

static size_t comm_bytes(int64_t count, int world_size)
{
    return LC_CUDA_COMM_STAGE_BYTES + lc_cuda_comm_sum_bytes(count, world_size);
}

static int64_t rank_of(const lc_lora_parts *parts)
{
    int64_t rank = 0;
    for (int32_t i = 0; i < parts->count; i++) {
        rank += parts->part[i].width;
    }
    return rank;
}

/* Scratch of the op that needs most. */
static size_t scratch_bytes(const lc_workspace_extent *e)
{
    const int64_t q_width = (int64_t)e->heads * e->head_dim,
                  qkv_width = q_width + 2 * (int64_t)e->kv_heads * e->head_dim;
    size_t most = lc_cuda_adamw_scratch(e->masters);
    most = max_size(most, lc_cuda_lora_dy_scratch(e->tokens, e->width, &e->o));
    most = max_size(most, lc_cuda_lora_dy_scratch(e->tokens, e->width, &e->down));
    most = max_size(most, lc_cuda_lora_dy_scratch(e->tokens, qkv_width, &e->qkv));
    most = max_size(most, lc_cuda_lora_dy_scratch(e->tokens, 2 * e->mlp, &e->gate_up));
    most = max_size(most, lc_cuda_lora_dx_scratch(e->tokens, e->width, rank_of(&e->qkv)));
    most = max_size(most, lc_cuda_lora_dx_scratch(e->tokens, e->width, rank_of(&e->gate_up)));
    most = max_size(most, lc_cuda_lora_dx_scratch(e->tokens, q_width, rank_of(&e->o)));
    most = max_size(most, lc_cuda_lora_dx_scratch(e->tokens, e->mlp, rank_of(&e->down)));
    if (e->may_use_cudnn && lc_cudnn_takes(e->head_dim)) {
        most = max_size(most, lc_cudnn_scratch(e->tokens, e->heads, e->kv_heads, e->head_dim));
    }
    return max_size(most, lc_cuda_swiglu_backward_lora_scratch(e->tokens, e->mlp, rank_of(&e->down),
                                                               &e->gate_up));
}

static size_t generation_bytes(const lc_workspace_extent *e)
{
    return e->cache_rows == 0
               ? 0
               : lc_cuda_attention_cached_scratch(e->tokens, e->heads, e->head_dim, e->cache_rows);
}

static size_t workspace_bytes(const lc_workspace_extent *extent)
{
    const size_t scratch =
        max_size(extent->masters > 0 ? scratch_bytes(extent) : 0, generation_bytes(extent));
    const bool is_large = extent->tokens * extent->width >= LARGE_ACTIVATION ||
                          scratch + SMALL_PRODUCT_BYTES >= 2 * PRODUCT_BYTES;
    return is_large ? PRODUCT_BYTES + max_size(scratch, PRODUCT_BYTES)
                    : SMALL_PRODUCT_BYTES + scratch;
}

/* Eighths of the capacity, in whole tiles of 128 rows. */
static int64_t round_rows(int64_t rows, int64_t capacity)
{
    const int64_t step = lc_ceil_div(lc_ceil_div(capacity, 8), 128) * 128;
    const int64_t rounded = lc_ceil_div(rows, step) * step;
    return rounded < capacity ? rounded : capacity;
}

const lc_memory_rules lc_cuda_memory = {.has_weight_type = true,
                                        .pitch = PITCH,
                                        .alignment = ALIGNMENT,
                                        .least_shared = LEAST_SHARED,
                                        .runs_ahead = true,
                                        .head_rows = 2048,
                                        .round_rows = round_rows,
                                        .workspace_bytes = workspace_bytes,
                                        .comm_bytes = comm_bytes,
                                        .layout_bytes = lc_cuda_layout_bytes,
                                        .lay_out = lc_cuda_lay_out,
                                        .pinned_bytes =
                                            LC_CUDA_READERS * (int64_t)LC_CUDA_CONVERT_BYTES};
