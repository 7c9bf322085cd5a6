/* The kernels with AVX-512 (F, BW, DQ, VL): sixteen lanes. */
#include "ops/cpu/kernels.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif

#define LANES 16
#define ONES  -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1

typedef float vf __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint64_t vw __attribute__((vector_size(64)));
typedef uint16_t vh __attribute__((vector_size(32)));

static inline vf vf_set(float value)
{
    return (vf)_mm512_set1_ps(value);
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

static inline vf vf_sqrt(vf a)
{
    return (vf)_mm512_sqrt_ps((__m512)a);
}

static inline vf vf_load_masked(const float *from, vi mask)
{
    return (vf)_mm512_maskz_loadu_ps(_mm512_movepi32_mask((__m512i)mask), from);
}

static inline void vf_store_masked(float *to, vi mask, vf value)
{
    _mm512_mask_storeu_ps(to, _mm512_movepi32_mask((__m512i)mask), (__m512)value);
}

static inline float vf_sum(vf a)
{
    const __m512 v = (__m512)a;
    const __m256 y = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

static inline float vf_largest(vf a)
{
    const __m512 v = (__m512)a;
    const __m256 y = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

static inline bool vi_any(vi mask)
{
    return _mm512_movepi32_mask((__m512i)mask) != 0;
}

static inline vf vf_max(vf a, vf b)
{
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}

static inline vf vf_min(vf a, vf b)
{
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}

static inline vf vf_zip_low(vf a, vf b)
{
    return (vf)_mm512_unpacklo_ps((__m512)a, (__m512)b);
}

static inline vf vf_zip_high(vf a, vf b)
{
    return (vf)_mm512_unpackhi_ps((__m512)a, (__m512)b);
}

static inline vf vf_quads(const float *from, int64_t stride)
{
    __m512 all = _mm512_castps128_ps512(_mm_loadu_ps(from));
    all = _mm512_insertf32x4(all, _mm_loadu_ps(from + stride), 1);
    all = _mm512_insertf32x4(all, _mm_loadu_ps(from + 2 * stride), 2);
    return (vf)_mm512_insertf32x4(all, _mm_loadu_ps(from + 3 * stride), 3);
}

static inline vf vf_quads_bf16(const uint16_t *from, int64_t stride)
{
    const __m128i low = _mm_unpacklo_epi64(_mm_loadu_si64(from), _mm_loadu_si64(from + stride));
    const __m128i high =
        _mm_unpacklo_epi64(_mm_loadu_si64(from + 2 * stride), _mm_loadu_si64(from + 3 * stride));
    const __m256i halves = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
}

static inline vw vw_set(uint64_t value)
{
    return (vw)_mm512_set1_epi64((long long)value);
}

static inline vw vw_zip_even(vw a, vw b)
{
    return (vw)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b);
}

static inline vw vw_zip_odd(vw a, vw b)
{
    return (vw)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b);
}

static inline vw vw_multiply_low(vw a, uint32_t b)
{
    return (vw)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64((long long)b));
}

#include "ops/cpu/kernels_impl.h"

static const lc_kernels table = KERNEL_TABLE("avx512");

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const lc_kernels *lc_kernels_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
               ? &table
               : NULL;
}

#else

const lc_kernels *lc_kernels_avx512(void)
{
    return NULL;
}

#endif
