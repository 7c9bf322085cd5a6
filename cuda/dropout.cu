/* Dropout of whole matrices by the mask of one module (lc_dropout in lorac/ops.h). */
#include "kernels.h"
#include "rows.cuh"

namespace
{
/* A dropped element is 0 whatever it was. */
__device__ __forceinline__ float dropped(float value, float factor)
{
    return factor > 0.0f ? value * factor : 0.0f;
}

/* One pack: to (+)= from * factors, COUNT elements or the `left` that a row still has. */
template <class T>
__device__ __forceinline__ void drop_pack(const T *from, const float (&factors)[Pack<T>::COUNT],
                                          T *to, int64_t left, bool accumulate)
{
    constexpr int COUNT = Pack<T>::COUNT;
    if (left < COUNT) {
        for (int i = 0; i < left; i++) {
            const float before = accumulate ? as_float(to[i]) : 0.0f;
            to[i] = as_element<T>(before + dropped(as_float(from[i]), factors[i]));
        }
        return;
    }
    float x[COUNT], y[COUNT];
    load_pack(from, x);
    if (accumulate) {
        load_pack(to, y);
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        const float value = dropped(x[i], factors[i]);
        y[i] = accumulate ? y[i] + value : value;
    }
    store_pack(to, y);
}

struct DropArgs {
    lc_dropout dropout;
    int32_t module;
    lc_mat from, to;
};

/*
 * to = drop(from) or to += drop(from): element (n, f) times 0 or 1/(1-p), by word f%4 of Philox
 * number f/4 of row n. N x any multiple of 4. Grid and block: row_teams, 2 packs of 16 bytes per
 * thread. No shared memory. Moves `from` and `to` once, `to` twice when accumulating. The mask
 * depends on names alone. `to` may be `from`.
 */
template <class T, bool ACCUMULATE>
__global__ void __launch_bounds__(ROW_THREADS, 4) drop_kernel(const DropArgs args, int shift)
{
    constexpr int COUNT = Pack<T>::COUNT;
    const DropoutMask mask(args.dropout, args.module);
    RowPlace at = row_place(shift);
    for (; at.row < args.from.rows; at.row += at.row_step) {
        const int64_t example = args.dropout.example[at.row];
        const int32_t position = args.dropout.position[at.row];
        const T *from = row_of<T>(args.from, at.row);
        T *to = row_of<T>(args.to, at.row);
#pragma unroll 2
        for (int64_t j = (int64_t)at.item * COUNT; j < args.from.cols;
             j += (int64_t)at.item_step * COUNT) {
            float factors[COUNT];
#pragma unroll
            for (int i = 0; i < COUNT; i += 4) {
                const float4 four = mask.factors(example, position, (int)(j + i) / 4);
                factors[i] = four.x, factors[i + 1] = four.y;
                factors[i + 2] = four.z, factors[i + 3] = four.w;
            }
            drop_pack<T>(from + j, factors, to + j, args.from.cols - j, ACCUMULATE);
        }
    }
}

template <class T>
static cudaError_t drop(const DropArgs &args, bool accumulate, cudaStream_t stream)
{
    const int64_t packs = (args.from.cols + Pack<T>::COUNT - 1) / Pack<T>::COUNT;
    const RowTeams teams = row_teams(args.from.rows, packs, 2);
    if (accumulate) {
        GPU_LAUNCH((drop_kernel<T, true>), teams.grid, ROW_THREADS, 0, stream, args, teams.shift);
    } else {
        GPU_LAUNCH((drop_kernel<T, false>), teams.grid, ROW_THREADS, 0, stream, args, teams.shift);
    }
    return cudaGetLastError();
}

} // namespace

cudaError_t lc_cuda_drop(const lc_dropout *dropout, int32_t module, lc_mat from, lc_mat to,
                         bool accumulate, cudaStream_t stream)
{
    if (from.rows == 0 || from.cols == 0) {
        return cudaSuccess;
    }
    const DropArgs args = {*dropout, module, from, to};
    return from.dtype == LC_BF16 ? drop<bf16>(args, accumulate, stream)
                                 : drop<float>(args, accumulate, stream);
}
