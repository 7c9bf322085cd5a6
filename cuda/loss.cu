/* Cross entropy over the rows of logits, and the sums over positions. */
#include "kernels.h"
#include "rows.cuh"

#include <limits.h>
#include <math.h>

namespace
{
constexpr int LOSS_THREADS = 1024; /* at most */
constexpr int LOSS_AT_ONCE = 4;    /* packs of 16 bytes in flight per thread */

/* Of some columns of a row: the maximum, sum of exp(x - maximum), first column of the maximum. */
struct Peak {
    float most, sum;
    int column;
};

/* What to take off logits before exp(); finite when all of them are -infinity. */
__device__ __forceinline__ float shift_of(float most)
{
    return most == -INFINITY ? 0.0f : most;
}

/* COUNT more columns from `first` on, all of them behind the ones before. */
template <class T, int COUNT>
__device__ __forceinline__ void take(Peak &peak, const float (&x)[COUNT], int first)
{
    float most = x[0];
#pragma unroll
    for (int i = 1; i < COUNT; i++) {
        most = fmaxf(most, x[i]);
    }
    if (most > peak.most) {
        peak.sum *= exponential<T>(peak.most - most);
        peak.most = most;
#pragma unroll
        for (int i = COUNT - 1; i >= 0; i--) {
            peak.column = x[i] == most ? first + i : peak.column;
        }
    }
    const float shift = shift_of(peak.most);
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        peak.sum += exponential<T>(x[i] - shift);
    }
}

/* The peak of a warp's columns, in every lane. */
__device__ __forceinline__ Peak warp_peak(Peak peak)
{
    float most = peak.most;
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) {
        most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, step));
    }
    int column = peak.most == most ? peak.column : INT_MAX;
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) {
        column = min(column, __shfl_xor_sync(ALL_LANES, column, step));
    }
    return {most, warp_sum(peak.sum * expf(peak.most - shift_of(most))), column};
}

/* The peak of a block's columns, in every thread. */
__device__ __forceinline__ Peak block_peak(Peak peak)
{
    GPU_SHARED(Peak, peaks, [LOSS_THREADS / WARP]);
    peak = warp_peak(peak);
    const int lane = threadIdx.x % WARP, warps = (int)blockDim.x / WARP;
    if (lane == 0) {
        peaks[threadIdx.x / WARP] = peak;
    }
    __syncthreads();
    const Peak none = {-INFINITY, 0.0f, INT_MAX};
    return warp_peak(lane < warps ? peaks[lane] : none);
}

/* The peak of this thread's packs of a row: pack threadIdx.x, + blockDim.x, .., and the last
 * columns, fewer than a pack, as one more of them. */
template <class T> __device__ __forceinline__ Peak thread_peak(const T *x, int64_t cols)
{
    constexpr int COUNT = Pack<T>::COUNT;
    const int packs = (int)(cols / COUNT), threads = (int)blockDim.x;
    Peak peak = {-INFINITY, 0.0f, INT_MAX};
    for (int base = (int)threadIdx.x; base < packs; base += LOSS_AT_ONCE * threads) {
        uint4 bits[LOSS_AT_ONCE];
#pragma unroll
        for (int k = 0; k < LOSS_AT_ONCE; k++) {
            const int pack = base + k * threads;
            if (pack < packs) {
                bits[k] = reinterpret_cast<const uint4 *>(x)[pack];
            }
        }
#pragma unroll
        for (int k = 0; k < LOSS_AT_ONCE; k++) {
            const int pack = base + k * threads;
            if (pack < packs) {
                float values[COUNT];
                unpack<T>(bits[k], values);
                take<T>(peak, values, pack * COUNT);
            }
        }
    }
    if ((int)threadIdx.x == packs % threads) {
        for (int64_t j = (int64_t)packs * COUNT; j < cols; j++) {
            const float value[1] = {as_float(x[j])};
            take<T>(peak, value, (int)j);
        }
    }
    return peak;
}

/* weight * (softmax - onehot) of one logit; exactly 0 without weight. */
struct LogitGradient {
    float shift, factor, weight; /* factor = weight / sum */
    int target;

    template <class T> __device__ __forceinline__ float of(float logit, int column) const
    {
        const float onehot = column == target ? weight : 0.0f;
        return weight == 0.0f ? 0.0f : exponential<T>(logit - shift) * factor - onehot;
    }
};

/* Overwrites this thread's columns, those of thread_peak. */
template <class T>
__device__ __forceinline__ void store_gradient(T *x, int64_t cols, const LogitGradient &gradient)
{
    constexpr int COUNT = Pack<T>::COUNT;
    const int packs = (int)(cols / COUNT), threads = (int)blockDim.x;
#pragma unroll LOSS_AT_ONCE
    for (int pack = (int)threadIdx.x; pack < packs; pack += threads) {
        float values[COUNT];
        load_pack(x + (int64_t)pack * COUNT, values);
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            values[i] = gradient.of<T>(values[i], pack * COUNT + i);
        }
        store_pack(x + (int64_t)pack * COUNT, values);
    }
    if ((int)threadIdx.x == packs % threads) {
        for (int64_t j = (int64_t)packs * COUNT; j < cols; j++) {
            x[j] = as_element<T>(gradient.of<T>(as_float(x[j]), (int)j));
        }
    }
}

/*
 * nll[m] = log(sum) + most - logits[m, target], correct[m] = first column of the maximum is the
 * target; with `gradient` the logits become weight * (exp(x - most)/sum - onehot). logits: M x V,
 * any V; targets, weights, nll, correct: M. One block of up to 1024 threads per row. Shared: one
 * peak per warp. Moves a row once from memory, in the second pass from L2, and back. Sums go over
 * a thread's columns, lanes, warps in this order. A thread overwrites what it alone has read, and
 * the target's logit is read before the barrier. NaN or +infinity in a row make its nll NaN.
 */
template <class T>
__global__ void __launch_bounds__(LOSS_THREADS)
    cross_entropy_kernel(const lc_cross_entropy_args args)
{
    const int64_t m = blockIdx.x, cols = args.logits.cols;
    T *x = row_of<T>(args.logits, m);
    const int target = args.targets[m];
    float chosen = NAN;
    if (threadIdx.x == 0 && target >= 0 && target < cols) {
        chosen = as_float(x[target]);
    }
    const Peak peak = block_peak(thread_peak<T>(x, cols));
    if (threadIdx.x == 0) {
        args.nll[m] = logf(peak.sum) + (peak.most - chosen);
        args.correct[m] = peak.column == target ? 1.0f : 0.0f;
    }
    if (args.gradient) {
        const float weight = args.weights[m];
        store_gradient<T>(x, cols, {shift_of(peak.most), weight / peak.sum, weight, target});
    }
}

} // namespace

cudaError_t lc_cuda_cross_entropy(const lc_cross_entropy_args *args, cudaStream_t stream)
{
    if (args->logits.rows == 0) {
        return cudaSuccess;
    }
    const unsigned blocks = (unsigned)args->logits.rows;
    const int threads = args->logits.cols > 4096 ? LOSS_THREADS : LOSS_THREADS / 4;
    if (args->logits.dtype == LC_BF16) {
        GPU_LAUNCH((cross_entropy_kernel<bf16>), blocks, threads, 0, stream, *args);
    } else {
        GPU_LAUNCH((cross_entropy_kernel<float>), blocks, threads, 0, stream, *args);
    }
    return cudaGetLastError();
}

/* ---- sums over positions ---- */

namespace
{
constexpr int SUM_THREADS = 256;

__device__ __forceinline__ double warp_sum_double(double value)
{
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, step);
    }
    return value;
}

/*
 * sums += (sum weights*nll, sum weights, sum correct, count) of the positions with a weight above
 * 0, in double. One block of 256 threads. Shared: 4 doubles per warp. Moves 12 bytes per position.
 * Sums go over a thread's positions, lanes, warps in this order.
 */
__global__ void __launch_bounds__(SUM_THREADS) add_sums_kernel(const lc_add_sums_args args)
{
    constexpr int WARPS = SUM_THREADS / WARP;
    GPU_SHARED(double, partial, [4 * WARPS]);
    double loss = 0.0, weight = 0.0, correct = 0.0, targets = 0.0;
#pragma unroll 4
    for (int64_t i = threadIdx.x; i < args.count; i += SUM_THREADS) {
        const bool counts = args.weights[i] > 0.0f;
        loss += counts ? (double)args.weights[i] * (double)args.nll[i] : 0.0;
        weight += counts ? (double)args.weights[i] : 0.0;
        correct += counts ? (double)args.correct[i] : 0.0;
        targets += counts ? 1.0 : 0.0;
    }
    loss = warp_sum_double(loss);
    weight = warp_sum_double(weight);
    correct = warp_sum_double(correct);
    targets = warp_sum_double(targets);
    const int warp = threadIdx.x / WARP;
    if (threadIdx.x % WARP == 0) {
        partial[warp] = loss;
        partial[WARPS + warp] = weight;
        partial[2 * WARPS + warp] = correct;
        partial[3 * WARPS + warp] = targets;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        double total[4] = {0.0, 0.0, 0.0, 0.0};
        for (int i = 0; i < 4 * WARPS; i++) {
            total[i / WARPS] += partial[i];
        }
        args.sums->loss += total[0];
        args.sums->weight += total[1];
        args.sums->correct += total[2];
        args.sums->targets += total[3];
    }
}

} // namespace

cudaError_t lc_cuda_add_sums(const lc_add_sums_args *args, cudaStream_t stream)
{
    if (args->count == 0) {
        return cudaSuccess;
    }
    GPU_LAUNCH(add_sums_kernel, 1, SUM_THREADS, 0, stream, *args);
    return cudaGetLastError();
}
