/* SwiGLU, forward and backward (formulas in lorac/ops.h), element by element in fp32. */
#include "kernels.h"
#include "rows.cuh"

namespace
{
constexpr int AT_ONCE = 2; /* packs of 16 bytes per thread, of each of two or three operands */

/* 1/(1 + exp(-x)): 0 where exp(-x) is infinite, never NaN for a finite x. */
template <class T> __device__ __forceinline__ float sigmoid(float x)
{
    const float sum = 1.0f + exponential<T>(-x);
    return sizeof(T) == 4 ? 1.0f / sum : __fdividef(1.0f, sum);
}

/*
 * y = gate * sigmoid(gate) * up. gate_up: N x 2I, y: N x I. Grid and block: row_teams, AT_ONCE
 * packs of each operand per thread. No shared memory. Moves gate_up and y once. No sums.
 */
template <class T>
__global__ void __launch_bounds__(ROW_THREADS) swiglu_kernel(lc_mat gate_up, lc_mat y, int shift)
{
    constexpr int COUNT = Pack<T>::COUNT;
    const int packs = (int)(y.cols / COUNT);
    RowPlace at = row_place(shift);
    for (; at.row < y.rows; at.row += at.row_step) {
        const T *gate = row_of<T>(gate_up, at.row), *up = gate + y.cols;
        T *to = row_of<T>(y, at.row);
        for (int item = at.item; item < packs; item += AT_ONCE * at.item_step) {
            float g[AT_ONCE][COUNT], u[AT_ONCE][COUNT];
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const int column = (item + k * at.item_step) * COUNT;
                if (column < y.cols) {
                    load_pack(gate + column, g[k]);
                    load_pack(up + column, u[k]);
                }
            }
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const int column = (item + k * at.item_step) * COUNT;
                if (column < y.cols) {
#pragma unroll
                    for (int i = 0; i < COUNT; i++) {
                        u[k][i] *= g[k][i] * sigmoid<T>(g[k][i]);
                    }
                    store_pack(to + column, u[k]);
                }
            }
        }
    }
}

template <class T> static cudaError_t swiglu(const lc_swiglu_args *args, cudaStream_t stream)
{
    const RowTeams teams = row_teams(args->y.rows, args->y.cols / Pack<T>::COUNT, AT_ONCE);
    GPU_LAUNCH((swiglu_kernel<T>), teams.grid, ROW_THREADS, 0, stream, args->gate_up, args->y,
               teams.shift);
    return cudaGetLastError();
}

} // namespace

cudaError_t lc_cuda_swiglu(const lc_swiglu_args *args, cudaStream_t stream)
{
    if (args->y.rows == 0 || args->y.cols == 0) {
        return cudaSuccess;
    }
    return args->y.dtype == LC_BF16 ? swiglu<bf16>(args, stream) : swiglu<float>(args, stream);
}

namespace
{
/* In place: gate becomes dy*up*(s + gate*s*(1-s)), up becomes dy*gate*s, s = sigmoid(gate). */
template <class T, int COUNT>
__device__ __forceinline__ void swiglu_gradient(const float (&dy)[COUNT], float (&gate)[COUNT],
                                                float (&up)[COUNT])
{
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        const float s = sigmoid<T>(gate[i]), silu = gate[i] * s;
        gate[i] = dy[i] * up[i] * (s + silu * (1.0f - s));
        up[i] = dy[i] * silu;
    }
}

/*
 * gate|up become their gradients. dy: N x I, gate_up: N x 2I. Grid, block as swiglu_kernel. No
 * shared memory. Moves dy once, gate_up twice. No sums.
 */
template <class T>
__global__ void __launch_bounds__(ROW_THREADS)
    swiglu_backward_kernel(lc_mat dy, lc_mat gate_up, int shift)
{
    constexpr int COUNT = Pack<T>::COUNT;
    const int packs = (int)(dy.cols / COUNT);
    RowPlace at = row_place(shift);
    for (; at.row < dy.rows; at.row += at.row_step) {
        const T *from = row_of<T>(dy, at.row);
        T *gate = row_of<T>(gate_up, at.row), *up = gate + dy.cols;
        for (int item = at.item; item < packs; item += AT_ONCE * at.item_step) {
            float d[AT_ONCE][COUNT], g[AT_ONCE][COUNT], u[AT_ONCE][COUNT];
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const int column = (item + k * at.item_step) * COUNT;
                if (column < dy.cols) {
                    load_pack(from + column, d[k]);
                    load_pack(gate + column, g[k]);
                    load_pack(up + column, u[k]);
                }
            }
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const int column = (item + k * at.item_step) * COUNT;
                if (column < dy.cols) {
                    swiglu_gradient<T>(d[k], g[k], u[k]);
                    store_pack(gate + column, g[k]);
                    store_pack(up + column, u[k]);
                }
            }
        }
    }
}

template <class T>
static cudaError_t swiglu_backward(const lc_swiglu_backward_args *args, cudaStream_t stream)
{
    const RowTeams teams = row_teams(args->dy.rows, args->dy.cols / Pack<T>::COUNT, AT_ONCE);
    GPU_LAUNCH((swiglu_backward_kernel<T>), teams.grid, ROW_THREADS, 0, stream, args->dy,
               args->gate_up, teams.shift);
    return cudaGetLastError();
}

} // namespace

cudaError_t lc_cuda_swiglu_backward(const lc_swiglu_backward_args *args, cudaStream_t stream)
{
    if (args->dy.rows == 0 || args->dy.cols == 0) {
        return cudaSuccess;
    }
    return args->dy.dtype == LC_BF16 ? swiglu_backward<bf16>(args, stream)
                                     : swiglu_backward<float>(args, stream);
}
