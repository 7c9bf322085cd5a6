/* Sums over ranks, of parts that lie side by side. */
#include "kernels.h"
#include "rows.cuh"

namespace
{
constexpr int SUM_THREADS = 256;
constexpr int SUM_BLOCKS = 1024; /* at most; a thread then takes several runs */

__device__ __forceinline__ float4 add(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

__device__ __forceinline__ double add(double a, double b)
{
    return a + b;
}

/*
 * sum[i] = ((part_0[i] + part_1[i]) + part_2[i]) + ..: rank order, whatever the topology. parts:
 * rank_count x stride runs, `count` of each are read; sum: count runs. A run is 4 floats or one
 * double. Grid: up to 1024 blocks, block: 256 threads, a run at a time. No shared memory. Moves
 * (rank_count + 1) * count runs.
 */
template <class Run>
__global__ void __launch_bounds__(SUM_THREADS)
    sum_ranks_kernel(const Run *parts, int64_t stride, int rank_count, int64_t count, Run *sum)
{
    for (int64_t i = (int64_t)blockIdx.x * SUM_THREADS + threadIdx.x; i < count;
         i += (int64_t)gridDim.x * SUM_THREADS) {
        Run total = parts[i];
#pragma unroll 4
        for (int rank = 1; rank < rank_count; rank++) {
            total = add(total, parts[rank * stride + i]);
        }
        sum[i] = total;
    }
}

template <class Run>
cudaError_t sum_ranks(const Run *parts, int64_t stride, int rank_count, int64_t count, Run *sum,
                      cudaStream_t stream)
{
    const int64_t blocks = (count + SUM_THREADS - 1) / SUM_THREADS;
    if (count == 0) {
        return cudaSuccess;
    }
    GPU_LAUNCH((sum_ranks_kernel<Run>), (unsigned)(blocks < SUM_BLOCKS ? blocks : SUM_BLOCKS),
               SUM_THREADS, 0, stream, parts, stride, rank_count, count, sum);
    return cudaGetLastError();
}

} // namespace

cudaError_t lc_cuda_sum_ranks_f32(const float *parts, int64_t stride, int rank_count, int64_t count,
                                  float *sum, cudaStream_t stream)
{
    return sum_ranks(reinterpret_cast<const float4 *>(parts), stride / 4, rank_count,
                     (count + 3) / 4, reinterpret_cast<float4 *>(sum), stream);
}

cudaError_t lc_cuda_sum_ranks_f64(const double *parts, int64_t stride, int rank_count,
                                  int64_t count, double *sum, cudaStream_t stream)
{
    return sum_ranks(parts, stride, rank_count, count, sum, stream);
}
