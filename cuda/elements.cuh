/* What kernels share: elements as floats, 16 bytes at a time, sums over warps and blocks in a fixed
 * order, and the dropout mask of include/lorac/ops.h. */
#pragma once

#include "gpu.h"
#include "lorac/ops.h"

namespace
{
constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

typedef __nv_bfloat16 bf16;

__device__ __forceinline__ float as_float(float value)
{
    return value;
}

__device__ __forceinline__ float as_float(bf16 value)
{
    return __bfloat162float(value);
}

template <class T> __device__ __forceinline__ T as_element(float value);

template <> __device__ __forceinline__ float as_element<float>(float value)
{
    return value;
}

template <> __device__ __forceinline__ bf16 as_element<bf16>(float value)
{
    return __float2bfloat16_rn(value);
}

/* 16 bytes of elements: 4 floats or 8 bf16. */
template <class T> struct Pack {
    static constexpr int COUNT = 16 / (int)sizeof(T);
    uint4 bits;
};

template <class T>
__device__ __forceinline__ void unpack(const uint4 &bits, float (&to)[Pack<T>::COUNT])
{
    const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (sizeof(T) == 4) {
            to[i] = __uint_as_float(words[i]);
        } else {
            to[2 * i % Pack<T>::COUNT] = __uint_as_float(words[i] << 16);
            to[(2 * i + 1) % Pack<T>::COUNT] = __uint_as_float(words[i] & 0xffff0000u);
        }
    }
}

/* Both want an address that is a multiple of 16 bytes. */
template <class T>
__device__ __forceinline__ void load_pack(const T *from, float (&to)[Pack<T>::COUNT])
{
    unpack<T>(*reinterpret_cast<const uint4 *>(from), to);
}

__device__ __forceinline__ uint32_t pack_bf16(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&pair);
}

template <class T>
__device__ __forceinline__ void store_pack(T *to, const float (&from)[Pack<T>::COUNT])
{
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        words[i] = sizeof(T) == 4 ? __float_as_uint(from[i])
                                  : pack_bf16(from[2 * i % Pack<T>::COUNT],
                                              from[(2 * i + 1) % Pack<T>::COUNT]);
    }
    *reinterpret_cast<uint4 *>(to) = make_uint4(words[0], words[1], words[2], words[3]);
}

__host__ __device__ __forceinline__ bool is_aligned(const void *p)
{
    return ((uintptr_t)p & 15u) == 0;
}

/* COUNT floats, a multiple of 4, of any alignment. */
template <int COUNT>
__device__ __forceinline__ void load_floats(const float *from, float (&to)[COUNT])
{
    if (is_aligned(from)) {
#pragma unroll
        for (int i = 0; i < COUNT; i += 4) {
            const float4 four = *reinterpret_cast<const float4 *>(from + i);
            to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
        }
    } else {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            to[i] = from[i];
        }
    }
}

/* The sum over all lanes, in every lane. */
__device__ __forceinline__ float warp_sum(float value)
{
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, step);
    }
    return value;
}

/* The sum over a block of WARPS warps, in every thread. `scratch` holds WARPS values and may be
 * used again after the next barrier. */
template <int WARPS> __device__ __forceinline__ float block_sum(float value, float *scratch)
{
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) {
        scratch[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < WARPS; i++) {
        total += scratch[i];
    }
    return total;
}

/* ---- dropout ---- */

/* Philox4x32-10 (Salmon et al., 2011), as src/base/rng.h has it. */
__device__ __forceinline__ uint4 philox(uint2 key, uint4 counter)
{
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint32_t high0 = __umulhi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
        const uint32_t high1 = __umulhi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
        counter = make_uint4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
        key = make_uint2(key.x + 0x9E3779B9u, key.y + 0xBB67AE85u);
    }
    return counter;
}

/* The masks of one module: `row` gives factors of 4 neighbouring features. */
struct DropoutMask {
    uint2 key;
    uint32_t site, threshold;
    float scale;

    __device__ __forceinline__ DropoutMask(const lc_dropout &dropout, int module)
        : key(make_uint2(dropout.key[0], dropout.key[1])),
          site((uint32_t)(dropout.layer * 7 + module)), /* LC_MODULE_COUNT */
          threshold((uint32_t)ceil((double)dropout.p * 4294967296.0)),
          scale((float)(1.0 / (1.0 - (double)dropout.p)))
    {
    }

    /* Features 4*quad .. 4*quad+3 of the row of `example` at `position`: 0 or 1/(1-p). */
    __device__ __forceinline__ float4 factors(int64_t example, int32_t position, int quad) const
    {
        const uint4 words = philox(
            key, make_uint4((uint32_t)(uint64_t)example, (uint32_t)position, site, (uint32_t)quad));
        return make_float4(words.x < threshold ? 0.0f : scale, words.y < threshold ? 0.0f : scale,
                           words.z < threshold ? 0.0f : scale, words.w < threshold ? 0.0f : scale);
    }
};

} // namespace
