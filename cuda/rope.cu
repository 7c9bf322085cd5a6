/* Rotary positions of q and k with the norm over the head dimension that some models put before
 * (formulas in lorac/ops.h), forward and backward, in fp32. */
#include "kernels.h"
#include "rows.cuh"

namespace
{
/* A thread's share of a head: UNITS runs of VEC elements of the first half, and their partners in
 * the second. VEC is 4, or 8 where half a bf16 head is a multiple of 8 elements. */
constexpr int UNITS = 2;

template <int VEC> struct Pairs {
    float low[UNITS][VEC], high[UNITS][VEC];
};

/* VEC elements from an address that is a multiple of their size, 8 or 16 bytes. */
template <class T, int VEC>
__device__ __forceinline__ void load_run(const T *from, float (&to)[VEC])
{
    if constexpr (VEC == Pack<T>::COUNT) {
        load_pack(from, to);
    } else {
        const uint2 bits = *reinterpret_cast<const uint2 *>(from);
        to[0] = __uint_as_float(bits.x << 16);
        to[1] = __uint_as_float(bits.x & 0xffff0000u);
        to[2] = __uint_as_float(bits.y << 16);
        to[3] = __uint_as_float(bits.y & 0xffff0000u);
    }
}

template <class T, int VEC>
__device__ __forceinline__ void store_run(T *to, const float (&from)[VEC])
{
    if constexpr (VEC == Pack<T>::COUNT) {
        store_pack(to, from);
    } else {
        *reinterpret_cast<uint2 *>(to) =
            make_uint2(pack_bf16(from[0], from[1]), pack_bf16(from[2], from[3]));
    }
}

/* Where a thread works: a team of 2^shift lanes of one warp has a head of a row. */
struct HeadPlace {
    bool is_inside;
    int64_t item, row; /* item = row * heads + head */
    int head, half;
    int first, step; /* its columns first, first + step, .. of the first half */
};

template <int VEC>
__device__ __forceinline__ HeadPlace head_place(int64_t rows, int heads, int head_dim, int shift)
{
    HeadPlace at;
    at.item = ((int64_t)blockIdx.x * ROW_THREADS + threadIdx.x) >> shift;
    at.is_inside = at.item < rows * heads;
    at.row = at.is_inside ? at.item / heads : 0;
    at.head = at.is_inside ? (int)(at.item - at.row * heads) : 0;
    at.half = head_dim / 2;
    at.first = ((int)threadIdx.x & ((1 << shift) - 1)) * VEC;
    at.step = VEC << shift;
    return at;
}

/* Of a head that begins at `from`; zeros beyond its end. */
template <class T, int VEC>
__device__ __forceinline__ void load_pairs(const T *from, const HeadPlace &at, Pairs<VEC> &to)
{
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
        const int column = at.first + u * at.step;
        if (at.is_inside && column < at.half) {
            load_run<T, VEC>(from + column, to.low[u]);
            load_run<T, VEC>(from + at.half + column, to.high[u]);
        } else {
#pragma unroll
            for (int i = 0; i < VEC; i++) {
                to.low[u][i] = to.high[u][i] = 0.0f;
            }
        }
    }
}

template <class T, int VEC>
__device__ __forceinline__ void store_pairs(T *to, const HeadPlace &at, const Pairs<VEC> &from)
{
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
        const int column = at.first + u * at.step;
        if (at.is_inside && column < at.half) {
            store_run<T, VEC>(to + column, from.low[u]);
            store_run<T, VEC>(to + at.half + column, from.high[u]);
        }
    }
}

/* By the angles of the row, direction -1 backwards. */
template <int VEC>
__device__ __forceinline__ void rotate(Pairs<VEC> &x, const HeadPlace &at, const float *cosines,
                                       const float *sines, float direction)
{
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
        const int column = at.first + u * at.step;
        if (!at.is_inside || column >= at.half) {
            continue;
        }
        float c[VEC], s[VEC];
        load_floats(cosines + at.row * at.half + column, c);
        load_floats(sines + at.row * at.half + column, s);
#pragma unroll
        for (int i = 0; i < VEC; i++) {
            const float low = x.low[u][i], high = x.high[u][i], sine = s[i] * direction;
            x.low[u][i] = low * c[i] - high * sine;
            x.high[u][i] = high * c[i] + low * sine;
        }
    }
}

/* x *= factor * weight, over the columns of the head. */
template <int VEC>
__device__ __forceinline__ void scale_pairs(Pairs<VEC> &x, const HeadPlace &at, const float *weight,
                                            float factor)
{
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
        const int column = at.first + u * at.step;
        if (column >= at.half) {
            continue;
        }
        float low[VEC], high[VEC];
        load_floats(weight + column, low);
        load_floats(weight + at.half + column, high);
#pragma unroll
        for (int i = 0; i < VEC; i++) {
            x.low[u][i] *= factor * low[i];
            x.high[u][i] *= factor * high[i];
        }
    }
}

/* The sum of a*b over the head, in every lane of its team; all lanes of the warp take part. */
template <int VEC>
__device__ __forceinline__ float head_dot(const Pairs<VEC> &a, const Pairs<VEC> &b, int shift)
{
    float sum = 0.0f;
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
#pragma unroll
        for (int i = 0; i < VEC; i++) {
            sum += a.low[u][i] * b.low[u][i];
            sum += a.high[u][i] * b.high[u][i];
        }
    }
    for (int step = 1 << shift >> 1; step > 0; step >>= 1) {
        sum += __shfl_xor_sync(ALL_LANES, sum, step);
    }
    return sum;
}

/* The team for heads of `head_dim`: up to 32 lanes, which 512 columns fill. */
template <int VEC> static int team_shift(int head_dim)
{
    int shift = 0;
    while (UNITS * VEC * 2 << shift < head_dim) {
        shift++;
    }
    return shift;
}

static unsigned team_blocks(int64_t teams, int shift)
{
    return (unsigned)(((teams << shift) + ROW_THREADS - 1) / ROW_THREADS);
}

/*
 * y = rotate(norm(x)), head by head. x, y: N x heads*D, cos, sin: N x D/2 floats, rstd: N x heads
 * floats. Grid and block: 256 threads, a team of 1 to 32 lanes per head of a row. No shared memory.
 * Moves x and y once; cos and sin once, then from L1. The sum of the norm goes over a thread's
 * elements, then lanes, in a fixed order. A thread reads all it needs before it writes, so y may be
 * x.
 */
template <class T, int VEC, bool HAS_NORM>
__global__ void __launch_bounds__(ROW_THREADS) rope_kernel(const lc_qk_rope_args args, int shift)
{
    const int heads = args.q_heads + args.k_heads, dim = args.head_dim;
    const HeadPlace at = head_place<VEC>(args.x.rows, heads, dim, shift);
    Pairs<VEC> x;
    load_pairs<T, VEC>(row_of<T>(args.x, at.row) + at.head * dim, at, x);
    if (HAS_NORM) {
        const float *weight = at.head < args.q_heads ? args.q_norm : args.k_norm;
        const float rstd = 1.0f / sqrtf(head_dot(x, x, shift) / (float)dim + args.eps);
        if (weight != NULL) {
            scale_pairs(x, at, weight, rstd);
            if (at.is_inside && at.first == 0) {
                args.rstd[at.item] = rstd;
            }
        }
    }
    if (args.cos != NULL) {
        rotate(x, at, args.cos, args.sin, 1.0f);
    }
    store_pairs<T, VEC>(row_of<T>(args.y, at.row) + at.head * dim, at, x);
}

template <class T, int VEC>
static cudaError_t launch_rope(const lc_qk_rope_args *args, cudaStream_t stream)
{
    const int shift = team_shift<VEC>(args->head_dim);
    const unsigned blocks = team_blocks(args->x.rows * (args->q_heads + args->k_heads), shift);
    if (args->q_norm != NULL || args->k_norm != NULL) {
        GPU_LAUNCH((rope_kernel<T, VEC, true>), blocks, ROW_THREADS, 0, stream, *args, shift);
    } else {
        GPU_LAUNCH((rope_kernel<T, VEC, false>), blocks, ROW_THREADS, 0, stream, *args, shift);
    }
    return cudaGetLastError();
}

} // namespace

cudaError_t lc_cuda_qk_rope(const lc_qk_rope_args *args, cudaStream_t stream)
{
    if (args->x.rows == 0 || args->q_heads + args->k_heads == 0) {
        return cudaSuccess;
    }
    if (args->x.dtype == LC_F32) {
        return launch_rope<float, 4>(args, stream);
    }
    return args->head_dim % 16 == 0 ? launch_rope<bf16, 8>(args, stream)
                                    : launch_rope<bf16, 4>(args, stream);
}

namespace
{
/*
 * dy becomes dx: rotated back, then, with g = w*dy, rstd * (g - x * rstd^2 * mean(g*x)). Shapes,
 * grid, block and order as rope_kernel. Moves dy twice, with a norm also x once.
 */
template <class T, int VEC, bool HAS_NORM>
__global__ void __launch_bounds__(ROW_THREADS)
    rope_backward_kernel(const lc_qk_rope_backward_args args, int shift)
{
    const int heads = args.q_heads + args.k_heads, dim = args.head_dim;
    const HeadPlace at = head_place<VEC>(args.dy.rows, heads, dim, shift);
    T *dy = row_of<T>(args.dy, at.row) + at.head * dim;
    Pairs<VEC> g, x;
    load_pairs<T, VEC>(dy, at, g);
    if (HAS_NORM) {
        load_pairs<T, VEC>(row_of<T>(args.x, at.row) + at.head * dim, at, x);
    }
    if (args.cos != NULL) {
        rotate(g, at, args.cos, args.sin, -1.0f);
    }
    if (HAS_NORM) {
        const float *weight = at.head < args.q_heads ? args.q_norm : args.k_norm;
        if (weight != NULL) {
            scale_pairs(g, at, weight, 1.0f);
        }
        const float mean = head_dot(g, x, shift) / (float)dim;
        if (weight != NULL) {
            const float rstd = at.is_inside ? args.rstd[at.item] : 0.0f;
            const float pull = mean * rstd * rstd * rstd;
#pragma unroll
            for (int u = 0; u < UNITS; u++) {
#pragma unroll
                for (int i = 0; i < VEC; i++) {
                    g.low[u][i] = g.low[u][i] * rstd - x.low[u][i] * pull;
                    g.high[u][i] = g.high[u][i] * rstd - x.high[u][i] * pull;
                }
            }
        }
    }
    store_pairs<T, VEC>(dy, at, g);
}

template <class T, int VEC>
static cudaError_t launch_backward(const lc_qk_rope_backward_args *args, cudaStream_t stream)
{
    const int shift = team_shift<VEC>(args->head_dim);
    const unsigned blocks = team_blocks(args->dy.rows * (args->q_heads + args->k_heads), shift);
    if (args->q_norm != NULL || args->k_norm != NULL) {
        GPU_LAUNCH((rope_backward_kernel<T, VEC, true>), blocks, ROW_THREADS, 0, stream, *args,
                   shift);
    } else {
        GPU_LAUNCH((rope_backward_kernel<T, VEC, false>), blocks, ROW_THREADS, 0, stream, *args,
                   shift);
    }
    return cudaGetLastError();
}

} // namespace

cudaError_t lc_cuda_qk_rope_backward(const lc_qk_rope_backward_args *args, cudaStream_t stream)
{
    const bool is_identity = args->cos == NULL && args->q_norm == NULL && args->k_norm == NULL;
    if (args->dy.rows == 0 || args->q_heads + args->k_heads == 0 || is_identity) {
        return cudaSuccess;
    }
    if (args->dy.dtype == LC_F32) {
        return launch_backward<float, 4>(args, stream);
    }
    return args->head_dim % 16 == 0 ? launch_backward<bf16, 8>(args, stream)
                                    : launch_backward<bf16, 4>(args, stream);
}
