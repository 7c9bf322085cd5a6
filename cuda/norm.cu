/* RMS norms over whole rows, forward and backward (formulas in lorac/ops.h), in fp32. A team of
 * warps keeps its row in registers between the sum and the result. */
#include "kernels.h"
#include "norm_rows.cuh"

namespace
{
template <class T> __device__ __forceinline__ float sum_squares(const uint4 &bits, float sum)
{
    float x[Pack<T>::COUNT];
    unpack<T>(bits, x);
#pragma unroll
    for (int i = 0; i < Pack<T>::COUNT; i++) {
        sum += x[i] * x[i];
    }
    return sum;
}

template <class T>
__device__ __forceinline__ void store_normed(const uint4 &bits, const float *weight, float rstd,
                                             T *y)
{
    float x[Pack<T>::COUNT], w[Pack<T>::COUNT];
    unpack<T>(bits, x);
    load_floats(weight, w);
#pragma unroll
    for (int i = 0; i < Pack<T>::COUNT; i++) {
        x[i] = x[i] * rstd * w[i];
    }
    store_pack(y, x);
}

/*
 * y = x * rstd * weight, rstd = 1/sqrt(mean(x^2) + eps). x, y: N x C, weight: C floats, rstd: N
 * floats. A team of WARPS warps per row, at most PACKS packs of 16 bytes per thread, C <= WARPS *
 * 32 * PACKS packs; with PACKS 0 any C, and the row is read twice. Grid: one block per Team::ROWS
 * rows. Shared: WARPS floats. Moves x and y once, and the weight from L1. The sum goes over a
 * thread's packs, lanes, warps in this order.
 */
template <class T, int WARPS, int PACKS>
__global__ void __launch_bounds__(Team<WARPS>::BLOCK) rmsnorm_kernel(const lc_rmsnorm_args args)
{
    constexpr int THREADS = Team<WARPS>::THREADS, COUNT = Pack<T>::COUNT,
                  KEPT = PACKS > 0 ? PACKS : 1;
    const int64_t row = (int64_t)blockIdx.x * Team<WARPS>::ROWS + threadIdx.x / THREADS;
    if (row >= args.x.rows) {
        return; /* a whole warp; a block of more has one row */
    }
    const int lane = threadIdx.x % THREADS, packs = (int)(args.x.cols / COUNT);
    const uint4 *x = reinterpret_cast<const uint4 *>(row_of<T>(args.x, row));
    T *y = row_of<T>(args.y, row);
    uint4 kept[KEPT];
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
        const int at = lane + i * THREADS;
        kept[i] = at < packs ? x[at] : make_uint4(0, 0, 0, 0);
    }
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
        sum = sum_squares<T>(kept[i], sum);
    }
    for (int at = lane; PACKS == 0 && at < packs; at += THREADS) {
        sum = sum_squares<T>(x[at], sum);
    }
    GPU_SHARED(float, scratch, [Team<WARPS>::BLOCK / WARP]);
    const float total = team_sum<WARPS>(sum, scratch);
    const float rstd = 1.0f / sqrtf(total / (float)args.x.cols + args.eps);
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
        const int at = lane + i * THREADS;
        if (at < packs) {
            store_normed<T>(kept[i], args.weight + at * COUNT, rstd, y + at * COUNT);
        }
    }
    for (int at = lane; PACKS == 0 && at < packs; at += THREADS) {
        store_normed<T>(x[at], args.weight + at * COUNT, rstd, y + at * COUNT);
    }
    if (args.rstd != NULL && lane == 0) {
        args.rstd[row] = rstd;
    }
}

template <class T, int WARPS, int PACKS>
static cudaError_t launch_rmsnorm(const lc_rmsnorm_args *args, cudaStream_t stream)
{
    constexpr int ROWS = Team<WARPS>::ROWS;
    GPU_LAUNCH((rmsnorm_kernel<T, WARPS, PACKS>), (unsigned)((args->x.rows + ROWS - 1) / ROWS),
               Team<WARPS>::BLOCK, 0, stream, *args);
    return cudaGetLastError();
}

template <class T> static cudaError_t rmsnorm(const lc_rmsnorm_args *args, cudaStream_t stream)
{
    const int64_t packs = args->x.cols / Pack<T>::COUNT;
    if (packs <= 128) {
        return launch_rmsnorm<T, 1, 4>(args, stream);
    }
    if (packs <= 512) {
        return launch_rmsnorm<T, 4, 4>(args, stream);
    }
    if (packs <= 2048) {
        return launch_rmsnorm<T, 8, 8>(args, stream);
    }
    return packs <= 4096 ? launch_rmsnorm<T, 16, 8>(args, stream)
                         : launch_rmsnorm<T, 16, 0>(args, stream);
}

} // namespace

cudaError_t lc_cuda_rmsnorm(const lc_rmsnorm_args *args, cudaStream_t stream)
{
    if (args->x.rows == 0 || args->x.cols == 0) {
        return cudaSuccess;
    }
    return args->x.dtype == LC_BF16 ? rmsnorm<bf16>(args, stream) : rmsnorm<float>(args, stream);
}

/* ---- backward ---- */

namespace
{
/*
 * dx += rstd * (w*dy - x * rstd^2 * mean(w*dy*x)). dy, x, dx: N x C, weight: C floats, rstd: N
 * floats. Grid, block, shared memory, order of sums as rmsnorm_kernel; with PACKS all three rows
 * are in flight before the sum, with PACKS 0 dy and x are read twice. Moves dy, x and twice dx.
 */
template <class T, int WARPS, int PACKS>
__global__ void __launch_bounds__(Team<WARPS>::BLOCK)
    rmsnorm_backward_kernel(const lc_rmsnorm_backward_args args)
{
    const int64_t row =
        (int64_t)blockIdx.x * Team<WARPS>::ROWS + threadIdx.x / Team<WARPS>::THREADS;
    if (row >= args.x.rows) {
        return; /* a whole warp; a block of more has one row */
    }
    GPU_SHARED(float, scratch, [Team<WARPS>::BLOCK / WARP]);
    backward_row<T, WARPS, PACKS>(args, row, row_of<T>(args.dy, row), true, scratch);
}

template <class T, int WARPS, int PACKS>
static cudaError_t launch_backward(const lc_rmsnorm_backward_args *args, cudaStream_t stream)
{
    constexpr int ROWS = Team<WARPS>::ROWS;
    GPU_LAUNCH((rmsnorm_backward_kernel<T, WARPS, PACKS>),
               (unsigned)((args->x.rows + ROWS - 1) / ROWS), Team<WARPS>::BLOCK, 0, stream, *args);
    return cudaGetLastError();
}

template <class T>
static cudaError_t rmsnorm_backward(const lc_rmsnorm_backward_args *args, cudaStream_t stream)
{
    const int64_t packs = args->x.cols / Pack<T>::COUNT;
    switch (backward_team(packs)) {
    case 1:
        return launch_backward<T, 1, BACKWARD_PACKS>(args, stream);
    case 4:
        return launch_backward<T, 4, BACKWARD_PACKS>(args, stream);
    case 8:
        return launch_backward<T, 8, BACKWARD_PACKS>(args, stream);
    case 16:
        return launch_backward<T, 16, BACKWARD_PACKS>(args, stream);
    default:
        return packs <= 32 * WARP * BACKWARD_PACKS
                   ? launch_backward<T, 32, BACKWARD_PACKS>(args, stream)
                   : launch_backward<T, 32, 0>(args, stream);
    }
}

} // namespace

cudaError_t lc_cuda_rmsnorm_backward(const lc_rmsnorm_backward_args *args, cudaStream_t stream)
{
    if (args->x.rows == 0 || args->x.cols == 0) {
        return cudaSuccess;
    }
    return args->x.dtype == LC_BF16 ? rmsnorm_backward<bf16>(args, stream)
                                    : rmsnorm_backward<float>(args, stream);
}

/* ---- a norm's output once more ---- */

namespace
{
constexpr int SCALE_THREADS = 256;

/* y[n,c] = x[n,c] * rstd[n] * weight[c]: for lora_dx by products. Grid: a block of 256 threads a
 * row, 16 bytes a thread and step. Moves x and y once. Every element by itself. */
template <class T>
__global__ void __launch_bounds__(SCALE_THREADS)
    scale_rows_kernel(lc_mat x, const float *rstd, const float *weight, lc_mat y)
{
    constexpr int COUNT = Pack<T>::COUNT;
    const int64_t row = blockIdx.x;
    const T *from = row_of<T>(x, row);
    T *to = row_of<T>(y, row);
    for (int64_t column = threadIdx.x * COUNT; column < x.cols; column += SCALE_THREADS * COUNT) {
        store_normed<T>(*reinterpret_cast<const uint4 *>(from + column), weight + column, rstd[row],
                        to + column);
    }
}

} // namespace

cudaError_t lc_cuda_scale_rows(lc_mat x, const float *rstd, const float *weight, lc_mat y,
                               cudaStream_t stream)
{
    if (x.rows == 0) {
        return cudaSuccess;
    }
    if (x.dtype == LC_BF16) {
        GPU_LAUNCH((scale_rows_kernel<bf16>), (unsigned)x.rows, SCALE_THREADS, 0, stream, x, rstd,
                   weight, y);
    } else {
        GPU_LAUNCH((scale_rows_kernel<float>), (unsigned)x.rows, SCALE_THREADS, 0, stream, x, rstd,
                   weight, y);
    }
    return cudaGetLastError();
}
