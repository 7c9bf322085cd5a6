/* The optimizer's side of the adapters: masters into the borders, clipping and AdamW. */
#include "kernels.h"
#include "scratch.h"
#include "rows.cuh"

#include <math.h>

namespace
{
constexpr int OPTIMIZER_THREADS = 256;

/* ---- publish ---- */

/* VEC elements from floats, rounded once. */
template <class T, int VEC>
__device__ __forceinline__ void publish_run(const float *from, float scale, T *to)
{
    if constexpr (VEC == 1) {
        *to = as_element<T>(*from * scale);
    } else {
        const float4 x = *reinterpret_cast<const float4 *>(from);
        if constexpr (sizeof(T) == 4) {
            *reinterpret_cast<float4 *>(to) =
                make_float4(x.x * scale, x.y * scale, x.z * scale, x.w * scale);
        } else {
            *reinterpret_cast<uint2 *>(to) = make_uint2(pack_bf16(x.x * scale, x.y * scale),
                                                        pack_bf16(x.z * scale, x.w * scale));
        }
    }
}

/* The runs of one slot, A's before B's, shared by the blocks of a row of the grid. */
template <class T, int VEC> __device__ __forceinline__ void publish(const lc_publish_slot &slot)
{
    const int in_runs = slot.in / VEC, width_runs = slot.width / VEC;
    const int a_runs = slot.width * in_runs, runs = a_runs + slot.out * width_runs;
    T *w_a = static_cast<T *>(slot.w_a), *w_b = static_cast<T *>(slot.w_b);
#pragma unroll 2
    for (int64_t i = (int64_t)blockIdx.x * OPTIMIZER_THREADS + threadIdx.x; i < runs;
         i += (int64_t)gridDim.x * OPTIMIZER_THREADS) {
        const bool is_a = i < a_runs;
        const int run = (int)i - (is_a ? 0 : a_runs), per_row = is_a ? in_runs : width_runs;
        const int row = run / per_row, column = run % per_row * VEC;
        publish_run<T, VEC>((is_a ? slot.a : slot.b) + (int64_t)run * VEC, is_a ? 1.0f : slot.scale,
                            (is_a ? w_a : w_b) + row * slot.ld + column);
    }
}

/* Runs of 4 elements are whole and lie at multiples of their size. */
template <class T> __device__ __forceinline__ bool has_runs(const lc_publish_slot &slot)
{
    const uintptr_t floats = (uintptr_t)slot.a | (uintptr_t)slot.b;
    const uintptr_t elements = (uintptr_t)slot.w_a | (uintptr_t)slot.w_b;
    return floats % 16 == 0 && elements % (4 * sizeof(T)) == 0 &&
           (slot.in | slot.width | (int)(slot.ld % 4)) % 4 == 0;
}

/*
 * w_a = a, w_b = scale * b, slot by slot. a: width x in, b: out x width floats; w_a, w_b: windows
 * of G, which do not overlap. Grid: as many blocks as the largest slot wants x slots, block: 256
 * threads, 2 runs of 4 elements each. No shared memory. Moves masters and borders once (a row of
 * w_b is short: whole sectors of 32 bytes). No sums.
 */
template <class T>
__global__ void __launch_bounds__(OPTIMIZER_THREADS) publish_kernel(const lc_publish_slot *slots)
{
    const lc_publish_slot slot = slots[blockIdx.y];
    if (has_runs<T>(slot)) {
        publish<T, 4>(slot);
    } else {
        publish<T, 1>(slot);
    }
}

} // namespace

cudaError_t lc_cuda_lora_publish(const lc_lora_publish_args *args, cudaStream_t stream)
{
    if (args->count == 0 || args->most_elements == 0) {
        return cudaSuccess;
    }
    const int64_t per_block = OPTIMIZER_THREADS * 4 * 2;
    const dim3 grid((unsigned)((args->most_elements + per_block - 1) / per_block),
                    (unsigned)args->count, 1);
    if (args->dtype == LC_BF16) {
        GPU_LAUNCH((publish_kernel<bf16>), grid, OPTIMIZER_THREADS, 0, stream, args->slots);
    } else {
        GPU_LAUNCH((publish_kernel<float>), grid, OPTIMIZER_THREADS, 0, stream, args->slots);
    }
    return cudaGetLastError();
}

/* ---- AdamW ---- */

namespace
{
constexpr int OPTIMIZER_RUNS = 4; /* runs of 4 floats that one thread should have at least */
constexpr double CLIP_EPS = 1e-6; /* torch.nn.utils.clip_grad_norm_ */

/* What all elements have in common; `is_skipped`: leave everything as it is. */
struct AdamwScalars {
    float grad_scale, decay, one_minus_beta1, beta2, one_minus_beta2, bias2_sqrt, eps, step_size;
    int32_t is_skipped;
};

constexpr size_t SCALARS_BYTES = LC_ADAMW_SCALARS_BYTES;
static_assert(sizeof(AdamwScalars) <= SCALARS_BYTES, "scalars and partial sums overlap");

/* The sum over a block of 256 threads, in thread 0: by lanes, then by warps. */
__device__ __forceinline__ double block_sum_double(double value)
{
    constexpr int WARPS = OPTIMIZER_THREADS / WARP;
    GPU_SHARED(double, partial, [WARPS]);
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, step);
    }
    if (threadIdx.x % WARP == 0) {
        partial[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    double total = 0.0;
    for (int i = 0; i < WARPS; i++) {
        total += partial[i];
    }
    return total;
}

/* Up to 4 floats from `at` on, 0 beyond `count`. */
__device__ __forceinline__ float4 load_run(const float *from, int64_t at, int64_t count)
{
    if (at + 4 <= count && is_aligned(from)) {
        return *reinterpret_cast<const float4 *>(from + at);
    }
    return make_float4(at < count ? from[at] : 0.0f, at + 1 < count ? from[at + 1] : 0.0f,
                       at + 2 < count ? from[at + 2] : 0.0f, at + 3 < count ? from[at + 3] : 0.0f);
}

__device__ __forceinline__ void store_run(float *to, int64_t at, int64_t count, float4 value)
{
    if (at + 4 <= count && is_aligned(to)) {
        *reinterpret_cast<float4 *>(to + at) = value;
        return;
    }
    const float values[4] = {value.x, value.y, value.z, value.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (at + i < count) {
            to[at + i] = values[i];
        }
    }
}

/*
 * partials[b] = sum over block b's elements of grad^2, in double. grad: `count` floats. Grid:
 * adamw_blocks, block: 256 threads, 4 runs of 4 floats at a time. Shared: a double per warp. Moves
 * grad once. Each element has its thread, and sums go over a thread's runs, lanes, warps in this
 * order.
 */
__global__ void __launch_bounds__(OPTIMIZER_THREADS)
    sum_squares_kernel(const float *grad, int64_t count, double *partials)
{
    const int64_t step = (int64_t)gridDim.x * OPTIMIZER_THREADS * 4;
    double sum = 0.0;
    for (int64_t base = ((int64_t)blockIdx.x * OPTIMIZER_THREADS + threadIdx.x) * 4; base < count;
         base += OPTIMIZER_RUNS * step) {
        float4 runs[OPTIMIZER_RUNS];
#pragma unroll
        for (int i = 0; i < OPTIMIZER_RUNS; i++) {
            runs[i] = load_run(grad, base + i * step, count);
        }
#pragma unroll
        for (int i = 0; i < OPTIMIZER_RUNS; i++) {
            sum += (double)runs[i].x * (double)runs[i].x;
            sum += (double)runs[i].y * (double)runs[i].y;
            sum += (double)runs[i].z * (double)runs[i].z;
            sum += (double)runs[i].w * (double)runs[i].w;
        }
    }
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) {
        partials[blockIdx.x] = sum;
    }
}

/* The scalars of update number t. */
__device__ __forceinline__ AdamwScalars scalars_of(const lc_adamw_args &args, double grad_scale,
                                                   double t)
{
    const double learning_rate = args.values->learning_rate;
    const double bias1 = 1.0 - pow(args.beta1, t), bias2 = 1.0 - pow(args.beta2, t);
    AdamwScalars scalars;
    scalars.grad_scale = (float)grad_scale;
    scalars.decay = (float)(1.0 - learning_rate * args.weight_decay);
    scalars.one_minus_beta1 = (float)(1.0 - args.beta1);
    scalars.beta2 = (float)args.beta2;
    scalars.one_minus_beta2 = (float)(1.0 - args.beta2);
    scalars.bias2_sqrt = (float)sqrt(bias2);
    scalars.eps = (float)args.eps;
    scalars.step_size = (float)(learning_rate / bias1);
    scalars.is_skipped = 0;
    return scalars;
}

/*
 * Adds the partial sums in their order and decides: the norm, whether to skip, and the scalars for
 * adamw_kernel, which does not read `update`. One block of 256 threads; a thread adds partials
 * threadIdx.x, + 256, .., then as block_sum_double.
 */
__global__ void __launch_bounds__(OPTIMIZER_THREADS)
    decide_kernel(const lc_adamw_args args, const double *partials, int partial_count,
                  AdamwScalars *out)
{
    double sum = 0.0;
    for (int i = (int)threadIdx.x; i < partial_count; i += OPTIMIZER_THREADS) {
        sum += partials[i];
    }
    sum = block_sum_double(sum);
    if (threadIdx.x != 0) {
        return;
    }
    const double weight = args.values->weight, norm = sqrt(sum) / weight;
    const double coefficient = args.clip / (norm + CLIP_EPS);
    const double grad_scale = (args.clip > 0.0 && coefficient < 1.0 ? coefficient : 1.0) / weight;
    const int64_t count = args.update->count;
    AdamwScalars scalars = scalars_of(args, grad_scale, (double)(count + 1));
    scalars.is_skipped =
        !isfinite(norm) || !isfinite(args.sums->loss) || !isfinite(scalars.grad_scale);
    *out = scalars;
    args.update->count = count + (scalars.is_skipped ? 0 : 1);
    args.update->grad_norm = norm;
    args.update->skipped = scalars.is_skipped;
}

/* One element; every operation rounds for itself, as on the CPU. */
__device__ __forceinline__ void adamw_element(const AdamwScalars &s, float grad, float &param,
                                              float &m, float &v)
{
    const float g = __fmul_rn(grad, s.grad_scale);
    m = __fadd_rn(m, __fmul_rn(s.one_minus_beta1, __fsub_rn(g, m)));
    v = __fadd_rn(__fmul_rn(v, s.beta2), __fmul_rn(__fmul_rn(s.one_minus_beta2, g), g));
    const float root = __fdiv_rn(__fsqrt_rn(v), s.bias2_sqrt);
    const float step = __fdiv_rn(__fmul_rn(s.step_size, m), __fadd_rn(root, s.eps));
    param = __fsub_rn(__fmul_rn(param, s.decay), step);
}

/*
 * The formulas of lc_adamw_args over `count` elements of param, grad, m, v. Grid: adamw_blocks,
 * block: 256 threads, 4 arrays x 4 floats in flight per thread. No shared memory. Moves 28 bytes
 * per element. No sums.
 */
__global__ void __launch_bounds__(OPTIMIZER_THREADS)
    adamw_kernel(const lc_adamw_args args, const AdamwScalars *scalars)
{
    const AdamwScalars s = *scalars;
    if (s.is_skipped) {
        return;
    }
    const int64_t step = (int64_t)gridDim.x * OPTIMIZER_THREADS * 4;
    for (int64_t at = ((int64_t)blockIdx.x * OPTIMIZER_THREADS + threadIdx.x) * 4; at < args.count;
         at += step) {
        const float4 grad = load_run(args.grad, at, args.count);
        float4 param = load_run(args.param, at, args.count);
        float4 m = load_run(args.m, at, args.count), v = load_run(args.v, at, args.count);
        adamw_element(s, grad.x, param.x, m.x, v.x);
        adamw_element(s, grad.y, param.y, m.y, v.y);
        adamw_element(s, grad.z, param.z, m.z, v.z);
        adamw_element(s, grad.w, param.w, m.w, v.w);
        store_run(args.param, at, args.count, param);
        store_run(args.m, at, args.count, m);
        store_run(args.v, at, args.count, v);
    }
}

} // namespace

cudaError_t lc_cuda_adamw(const lc_adamw_args *args, void *scratch, cudaStream_t stream)
{
    if (args->count == 0) {
        return cudaSuccess;
    }
    const int blocks = lc_adamw_blocks(args->count);
    AdamwScalars *scalars = static_cast<AdamwScalars *>(scratch);
    double *partials = reinterpret_cast<double *>(static_cast<char *>(scratch) + SCALARS_BYTES);
    GPU_LAUNCH(sum_squares_kernel, blocks, OPTIMIZER_THREADS, 0, stream, args->grad, args->count,
               partials);
    GPU_LAUNCH(decide_kernel, 1, OPTIMIZER_THREADS, 0, stream, *args, partials, blocks, scalars);
    GPU_LAUNCH(adamw_kernel, blocks, OPTIMIZER_THREADS, 0, stream, *args, scalars);
    return cudaGetLastError();
}
