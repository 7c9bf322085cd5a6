/* The kernels with AVX2 and FMA: eight lanes. */
#include "ops/cpu/kernels.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define LANES 8
#define ONES  -1, -1, -1, -1, -1, -1, -1, -1

typedef float vf __attribute__((vector_size(32)));
typedef uint32_t vu __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
typedef uint64_t vw __attribute__((vector_size(32)));
typedef uint16_t vh __attribute__((vector_size(16)));

static inline vf vf_set(float value)
{
    return (vf)_mm256_set1_ps(value);
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

static inline vf vf_sqrt(vf a)
{
    return (vf)_mm256_sqrt_ps((__m256)a);
}

static inline vf vf_load_masked(const float *from, vi mask)
{
    return (vf)_mm256_maskload_ps(from, (__m256i)mask);
}

static inline void vf_store_masked(float *to, vi mask, vf value)
{
    _mm256_maskstore_ps(to, (__m256i)mask, (__m256)value);
}

static inline float vf_sum(vf a)
{
    const __m256 v = (__m256)a;
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

static inline float vf_largest(vf a)
{
    const __m256 v = (__m256)a;
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

static inline bool vi_any(vi mask)
{
    return _mm256_movemask_ps((__m256)mask) != 0;
}

static inline vf vf_max(vf a, vf b)
{
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}

static inline vf vf_min(vf a, vf b)
{
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}

static inline vf vf_zip_low(vf a, vf b)
{
    return (vf)_mm256_unpacklo_ps((__m256)a, (__m256)b);
}

static inline vf vf_zip_high(vf a, vf b)
{
    return (vf)_mm256_unpackhi_ps((__m256)a, (__m256)b);
}

static inline vf vf_quads(const float *from, int64_t stride)
{
    const __m256 low = _mm256_castps128_ps256(_mm_loadu_ps(from));
    return (vf)_mm256_insertf128_ps(low, _mm_loadu_ps(from + stride), 1);
}

static inline vf vf_quads_bf16(const uint16_t *from, int64_t stride)
{
    const __m128i low = _mm_loadu_si64(from), high = _mm_loadu_si64(from + stride);
    const __m256i bits = _mm256_cvtepu16_epi32(_mm_unpacklo_epi64(low, high));
    return (vf)_mm256_slli_epi32(bits, 16);
}

static inline vw vw_set(uint64_t value)
{
    return (vw)_mm256_set1_epi64x((long long)value);
}

static inline vw vw_zip_even(vw a, vw b)
{
    return (vw)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b);
}

static inline vw vw_zip_odd(vw a, vw b)
{
    return (vw)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b);
}

static inline vw vw_multiply_low(vw a, uint32_t b)
{
    return (vw)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x((long long)b));
}

#include "ops/cpu/kernels_impl.h"

static const lc_kernels table = KERNEL_TABLE("avx2");

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const lc_kernels *lc_kernels_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &table : NULL;
}

#else

const lc_kernels *lc_kernels_avx2(void)
{
    return NULL;
}

#endif
