/* Sizes of partial sums, all of them fp32; see scratch.h. */
#include "scratch.h"

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int64_t widest(const lc_lora_parts *parts)
{
    int64_t most = 0;
    for (int32_t i = 0; i < parts->count; i++) {
        most = parts->part[i].width > most ? parts->part[i].width : most;
    }
    return most;
}

/* dS of every column group, dB of every row range. */
static size_t dy_bytes(int64_t rows, int64_t out, const lc_lora_parts *parts, int64_t columns)
{
    const lc_row_ranges ranges = lc_lora_row_ranges(rows, lc_ceil_div(out, columns));
    int64_t floats = 0;
    for (int32_t i = 0; i < parts->count; i++) {
        const lc_lora_part *part = &parts->part[i];
        floats += (lc_ceil_div(part->out, columns) * rows + ranges.count * (int64_t)part->out) *
                  part->width;
    }
    return (size_t)floats * sizeof(float);
}

/* Also enough for narrower parts, which other column groups serve. */
size_t lc_cuda_lora_dy_scratch(int64_t rows, int64_t out, const lc_lora_parts *parts)
{
    const size_t wide = dy_bytes(rows, out, parts, LC_LORA_DY_COLUMNS(16));
    const bool is_narrow = widest(parts) > 16;
    return is_narrow ? max_size(wide, dy_bytes(rows, out, parts, LC_LORA_DY_COLUMNS(32))) : wide;
}

size_t lc_cuda_lora_dx_scratch(int64_t rows, int64_t in, int64_t rank)
{
    const lc_row_ranges ranges = lc_lora_row_ranges(rows, lc_ceil_div(in, LC_LORA_DX_COLUMNS));
    return (size_t)(ranges.count * rank * in) * sizeof(float);
}

static size_t fused_bytes(int64_t rows, int64_t mlp, int64_t rank_down,
                          const lc_lora_parts *gate_up, int rank)
{
    const int64_t groups = lc_ceil_div(mlp, LC_SWIGLU_WARPS(rank) * 32);
    const lc_row_ranges ranges = lc_lora_row_ranges(rows, groups);
    int64_t floats = ranges.count * mlp * rank_down;
    for (int32_t i = 0; i < gate_up->count; i++) {
        floats += (groups * rows + ranges.count * mlp) * gate_up->part[i].width;
    }
    return (size_t)floats * sizeof(float);
}

/* The largest of all ways that parts of these and smaller widths can take. */
size_t lc_cuda_swiglu_backward_lora_scratch(int64_t rows, int64_t mlp, int64_t rank_down,
                                            const lc_lora_parts *gate_up)
{
    const int64_t most = rank_down > widest(gate_up) ? rank_down : widest(gate_up);
    size_t bytes = fused_bytes(rows, mlp, rank_down, gate_up, 16);
    if (most > 16) {
        bytes = max_size(bytes, fused_bytes(rows, mlp, rank_down, gate_up, 32));
    }
    if (most > LC_SWIGLU_FUSED_RANK) {
        bytes = max_size(bytes, lc_cuda_lora_dx_scratch(rows, mlp, rank_down));
        bytes = max_size(bytes, lc_cuda_lora_dy_scratch(rows, 2 * mlp, gate_up));
    }
    return bytes;
}

size_t lc_cuda_adamw_scratch(int64_t count)
{
    return LC_ADAMW_SCALARS_BYTES + (size_t)lc_adamw_blocks(count) * sizeof(double);
}

/* Sums of the values, the maximum and the sum of the weights: of each part of each head. */
static int64_t cached_row_bytes(int64_t heads, int64_t head_dim, int64_t slot_rows)
{
    return heads * lc_cached_key_parts(slot_rows).count * (head_dim + 2) * (int64_t)sizeof(float);
}

int64_t lc_cuda_cached_rows(int64_t rows, int64_t heads, int64_t head_dim, int64_t slot_rows)
{
    const int64_t most = LC_CACHED_BYTES / cached_row_bytes(heads, head_dim, slot_rows);
    const int64_t at_once = lc_cached_key_parts(slot_rows).count == 1 || rows < most ? rows : most;
    return at_once > 1 ? at_once : 1;
}

size_t lc_cuda_attention_cached_scratch(int64_t rows, int64_t heads, int64_t head_dim,
                                        int64_t slot_rows)
{
    return lc_cached_key_parts(slot_rows).count == 1
               ? 0
               : (size_t)(lc_cuda_cached_rows(rows, heads, head_dim, slot_rows) *
                          cached_row_bytes(heads, head_dim, slot_rows));
}

/* ---- attention by cuDNN ---- */

#define CUDNN_SLACK   ((size_t)4 << 20)
#define SCRATCH_ALIGN ((size_t)256)

size_t lc_cudnn_gradient_bytes(int64_t rows, int32_t heads, int32_t kv_heads, int32_t head_dim)
{
    const size_t bytes = 2 * (size_t)rows * (size_t)(heads + 2 * kv_heads) * (size_t)head_dim;
    return (bytes + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN;
}

size_t lc_cudnn_workspace_bytes(int64_t rows, int32_t heads, int32_t kv_heads, int32_t head_dim)
{
    const size_t elements = (size_t)rows * (size_t)heads * (size_t)head_dim;
    const size_t sums = (heads == kv_heads ? 1 : 3) * elements * sizeof(float);
    const size_t row_sums = 2 * (size_t)rows * (size_t)heads * sizeof(float);
    return sums + row_sums + CUDNN_SLACK;
}

size_t lc_cudnn_scratch(int64_t rows, int32_t heads, int32_t kv_heads, int32_t head_dim)
{
    return LC_CUDNN_OFFSET_BYTES + lc_cudnn_gradient_bytes(rows, heads, kv_heads, head_dim) +
           lc_cudnn_workspace_bytes(rows, heads, kv_heads, head_dim);
}
