/*
 * How kernels that leave partial sums cut their work, and the scratch memory that takes. C without
 * CUDA: the memory plan asks the same on machines that have no GPU. Everything depends on shapes
 * alone: the same bits come out on every device.
 */
#ifndef LC_CUDA_SCRATCH_H
#define LC_CUDA_SCRATCH_H

#include "lorac/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LC_LORA_TILE           16  /* rows and columns of an operand of the tensor cores */
#define LC_LORA_BLOCK_RANK     64  /* slots that one block takes; wider tails take several */
#define LC_LORA_BLOCKS         256 /* blocks that a launch should have, as far as rows allow */
#define LC_LORA_DX_COLUMNS     256 /* columns of a block of lora_dx */
#define LC_SWIGLU_FUSED_RANK   32  /* widest part that the fused swiglu backward takes */
#define LC_CACHED_KEYS         256 /* keys of a part of attention over a cache, at least */
#define LC_CACHED_PARTS        64  /* parts of a row at most */
#define LC_CACHED_BYTES        ((int64_t)16 << 20)
#define LC_ADAMW_BLOCKS        1056 /* at most: 8 on each of 132 multiprocessors */
#define LC_ADAMW_BLOCK         4096 /* floats that a block should have at least */
#define LC_ADAMW_SCALARS_BYTES 64   /* the beginning of AdamW's scratch; partial sums follow */

/* Columns of a block of lora_dy, for parts whose blocks have `rank` slots. */
#define LC_LORA_DY_COLUMNS(rank) ((rank) == 16 ? 512 : 256)
/* Warps, of 32 columns each, of a block of the fused swiglu backward: 32 groups of 448 columns make
 * Llama's 14336. */
#define LC_SWIGLU_WARPS(rank) ((rank) == 16 ? 14 : 8)

static inline int64_t lc_ceil_div(int64_t value, int64_t by)
{
    return (value + by - 1) / by;
}

/* Slots of each of the fewest equal blocks of at most LC_LORA_BLOCK_RANK, a multiple of 16. */
static inline int lc_lora_block_rank(int64_t rank)
{
    const int64_t blocks = lc_ceil_div(rank, LC_LORA_BLOCK_RANK);
    return (int)(lc_ceil_div(lc_ceil_div(rank, blocks), LC_LORA_TILE) * LC_LORA_TILE);
}

/* N rows cut into `count` ranges of `rows` each, a multiple of 16; the last may have less. */
typedef struct lc_row_ranges {
    int32_t rows, count;
} lc_row_ranges;

/* As many ranges as make about LC_LORA_BLOCKS blocks of `groups` column groups, but none of less
 * than 128 rows: their partial sums would cost more than the rows. */
static inline lc_row_ranges lc_lora_row_ranges(int64_t rows, int64_t groups)
{
    const int64_t by_blocks = LC_LORA_BLOCKS / (groups > 1 ? groups : 1), by_rows = rows / 128;
    const int64_t most = by_blocks < by_rows ? by_blocks : by_rows, wanted = most > 1 ? most : 1;
    const int64_t tiles = lc_ceil_div(lc_ceil_div(rows, wanted), LC_LORA_TILE);
    const int64_t each = (tiles > 1 ? tiles : 1) * LC_LORA_TILE;
    const lc_row_ranges ranges = {(int32_t)each, (int32_t)lc_ceil_div(rows, each)};
    return ranges;
}

static inline int lc_adamw_blocks(int64_t count)
{
    const int64_t blocks = lc_ceil_div(count, LC_ADAMW_BLOCK);
    return (int)(blocks < LC_ADAMW_BLOCKS ? blocks : LC_ADAMW_BLOCKS);
}

/* How the keys of a row of attention over a cache are cut: into parts of `keys` each, counted from
 * the first that it sees; by the length of the cache alone. */
typedef struct lc_key_parts {
    int32_t keys, count; /* at most */
} lc_key_parts;

static inline lc_key_parts lc_cached_key_parts(int64_t slot_rows)
{
    const int64_t even = lc_ceil_div(slot_rows, LC_CACHED_PARTS);
    const int64_t keys = lc_ceil_div(even > LC_CACHED_KEYS ? even : LC_CACHED_KEYS, 128) * 128;
    const lc_key_parts parts = {(int32_t)keys, (int32_t)lc_ceil_div(slot_rows, keys)};
    return parts;
}

/* Rows of attention over a cache that are in flight at once: their parts take at most
 * LC_CACHED_BYTES, or as much as one row needs. */
int64_t lc_cuda_cached_rows(int64_t rows, int64_t heads, int64_t head_dim, int64_t slot_rows);

/* Bytes of scratch; 0 where there is no part. `out`: columns of dY, in which the parts stand. */
size_t lc_cuda_lora_dy_scratch(int64_t rows, int64_t out, const lc_lora_parts *parts);
size_t lc_cuda_lora_dx_scratch(int64_t rows, int64_t in, int64_t rank);
size_t lc_cuda_swiglu_backward_lora_scratch(int64_t rows, int64_t mlp, int64_t rank_down,
                                            const lc_lora_parts *gate_up);
size_t lc_cuda_adamw_scratch(int64_t count);
size_t lc_cuda_attention_cached_scratch(int64_t rows, int64_t heads, int64_t head_dim,
                                        int64_t slot_rows);

/* Attention by cuDNN. Its head dimensions; the sizes of the parts of its scratch, in their order:
 * lengths and offsets, dense gradients, and what the library itself may ask for, which is its sums:
 * dQ in fp32, with fewer kv-heads than heads dK and dV of every head, and one number or two for
 * each row and head. (As 9.28 has them, to the byte, but for the slack.) A plan that wants more is
 * not used. */
#define LC_CUDNN_OFFSET_BYTES ((size_t)64 << 10)
static inline bool lc_cudnn_takes(int32_t head_dim)
{
    return head_dim >= 64 && head_dim <= 256 && head_dim % 16 == 0;
}
size_t lc_cudnn_gradient_bytes(int64_t rows, int32_t heads, int32_t kv_heads, int32_t head_dim);
size_t lc_cudnn_workspace_bytes(int64_t rows, int32_t heads, int32_t kv_heads, int32_t head_dim);
size_t lc_cudnn_scratch(int64_t rows, int32_t heads, int32_t kv_heads, int32_t head_dim);

#ifdef __cplusplus
}
#endif
#endif
