/* One row of an RMS norm's backward pass by a team of warps: of norm.cu, and of
 * lora_norm_backward.cu, which has completed the row in shared memory. Both give the same bytes. */
#pragma once

#include "rows.cuh"

namespace
{
/* A team of WARPS warps; a block of norm.cu has one, or of single warps ROWS_OF_WARPS. */
constexpr int ROWS_OF_WARPS = 4;

template <int WARPS> struct Team {
    static constexpr int THREADS = WARPS * WARP;
    static constexpr int ROWS = WARPS == 1 ? ROWS_OF_WARPS : 1;
    static constexpr int BLOCK = THREADS * ROWS;
};

/* Warps of the team that takes a row of `packs` packs in the backward pass: up to BACKWARD_PACKS a
 * thread, or more than 32 warps can hold. */
constexpr int BACKWARD_PACKS = 4;

static inline int backward_team(int64_t packs)
{
    int warps = packs <= WARP * BACKWARD_PACKS ? 1 : 4;
    while (warps < 32 && packs > warps * WARP * BACKWARD_PACKS) {
        warps *= 2;
    }
    return warps;
}

/* The sum over a team, in each of its threads: over lanes, then over warps in their order. By all
 * teams of a block at once, but for teams of one warp. `scratch`: a float for each warp of the
 * block, which may be used again after the next barrier. */
template <int WARPS> __device__ __forceinline__ float team_sum(float value, float *scratch)
{
    value = warp_sum(value);
    if (WARPS == 1) {
        return value;
    }
    const int warp = (int)threadIdx.x / WARP;
    if (threadIdx.x % WARP == 0) {
        scratch[warp] = value;
    }
    __syncthreads();
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < WARPS; i++) {
        total += scratch[warp / WARPS * WARPS + i];
    }
    return total;
}

/* sum + sum of w*dy*x */
template <class T>
__device__ __forceinline__ float sum_products(const uint4 &dy_bits, const uint4 &x_bits,
                                              const float *weight, float sum)
{
    float dy[Pack<T>::COUNT], x[Pack<T>::COUNT], w[Pack<T>::COUNT];
    unpack<T>(dy_bits, dy);
    unpack<T>(x_bits, x);
    load_floats(weight, w);
#pragma unroll
    for (int i = 0; i < Pack<T>::COUNT; i++) {
        sum += w[i] * dy[i] * x[i];
    }
    return sum;
}

/* dx = before + (w*dy*rstd - x*pull), fused where it says so and nowhere else: whoever calls it has
 * the same bytes. */
template <class T>
__device__ __forceinline__ void store_gradient(const uint4 &dy_bits, const uint4 &x_bits,
                                               const uint4 &before_bits, const float *weight,
                                               float rstd, float pull, T *dx)
{
    float dy[Pack<T>::COUNT], x[Pack<T>::COUNT], before[Pack<T>::COUNT], w[Pack<T>::COUNT];
    unpack<T>(dy_bits, dy);
    unpack<T>(x_bits, x);
    unpack<T>(before_bits, before);
    load_floats(weight, w);
#pragma unroll
    for (int i = 0; i < Pack<T>::COUNT; i++) {
        before[i] += fmaf(-x[i], pull, w[i] * dy[i] * rstd);
    }
    store_pack(dx, before);
}

/* dx += rstd * (w*dy - x * rstd^2 * mean(w*dy*x)) of one row; `dy` may lie in shared memory. A
 * thread takes at most PACKS packs of 16 bytes, and all three rows are in flight before the sum;
 * with PACKS 0 any number, and dy and x are read twice. The sum goes over a thread's packs, lanes,
 * warps in this order. By a whole team; `is_inside` false: there is no such row, and only the
 * barrier is kept. */
template <class T, int WARPS, int PACKS>
__device__ __forceinline__ void backward_row(const lc_rmsnorm_backward_args &args, int64_t row,
                                             const T *dy_row, bool is_inside, float *scratch)
{
    constexpr int THREADS = Team<WARPS>::THREADS, COUNT = Pack<T>::COUNT,
                  KEPT = PACKS > 0 ? PACKS : 1;
    const int lane = threadIdx.x % THREADS, packs = is_inside ? (int)(args.x.cols / COUNT) : 0;
    row = is_inside ? row : 0;
    const uint4 *x = reinterpret_cast<const uint4 *>(row_of<T>(args.x, row));
    const uint4 *dy = reinterpret_cast<const uint4 *>(dy_row);
    uint4 *dx = reinterpret_cast<uint4 *>(row_of<T>(args.dx, row));
    uint4 kept_x[KEPT], kept_dy[KEPT], kept_dx[KEPT];
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
        const int at = lane + i * THREADS;
        kept_x[i] = at < packs ? x[at] : make_uint4(0, 0, 0, 0);
        kept_dy[i] = at < packs ? dy[at] : make_uint4(0, 0, 0, 0);
        kept_dx[i] = at < packs ? dx[at] : make_uint4(0, 0, 0, 0);
    }
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
        const int at = lane + i * THREADS;
        if (at < packs) {
            sum = sum_products<T>(kept_dy[i], kept_x[i], args.weight + at * COUNT, sum);
        }
    }
    for (int at = lane; PACKS == 0 && at < packs; at += THREADS) {
        sum = sum_products<T>(dy[at], x[at], args.weight + at * COUNT, sum);
    }
    const float rstd = args.rstd[row];
    const float pull = team_sum<WARPS>(sum, scratch) / (float)args.x.cols * rstd * rstd * rstd;
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
        const int at = lane + i * THREADS;
        if (at < packs) {
            store_gradient<T>(kept_dy[i], kept_x[i], kept_dx[i], args.weight + at * COUNT, rstd,
                              pull, reinterpret_cast<T *>(dx + at));
        }
    }
    for (int at = lane; PACKS == 0 && at < packs; at += THREADS) {
        store_gradient<T>(dy[at], x[at], dx[at], args.weight + at * COUNT, rstd, pull,
                          reinterpret_cast<T *>(dx + at));
    }
}

} // namespace
