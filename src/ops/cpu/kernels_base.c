/* The kernels for any machine: four lanes of plain C vectors, and the choice of the best table. */
#include "ops/cpu/kernels.h"

#include <math.h>
#include <string.h>

#define LANES 4
#define ONES  -1, -1, -1, -1

typedef float vf __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint64_t vw __attribute__((vector_size(16)));
typedef uint16_t vh __attribute__((vector_size(8)));

static inline vf vf_set(float value)
{
    return (vf){value, value, value, value};
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return a * b + c;
}

static inline vf vf_sqrt(vf a)
{
    return (vf){sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3])};
}

static inline vf vf_load_masked(const float *from, vi mask)
{
    vf value = {0};
    for (int i = 0; i < LANES && mask[i] != 0; i++) {
        value[i] = from[i];
    }
    return value;
}

static inline void vf_store_masked(float *to, vi mask, vf value)
{
    for (int i = 0; i < LANES && mask[i] != 0; i++) {
        to[i] = value[i];
    }
}

static inline float vf_sum(vf a)
{
    return (a[0] + a[2]) + (a[1] + a[3]);
}

static inline float vf_largest(vf a)
{
    const float left = a[0] > a[2] ? a[0] : a[2], right = a[1] > a[3] ? a[1] : a[3];
    return left > right ? left : right;
}

static inline bool vi_any(vi mask)
{
    return (mask[0] | mask[1] | mask[2] | mask[3]) != 0;
}

static inline vf vf_max(vf a, vf b)
{
    const vi first = (vi)(a > b);
    return (vf)(((vi)a & first) | ((vi)b & ~first));
}

static inline vf vf_min(vf a, vf b)
{
    const vi first = (vi)(a < b);
    return (vf)(((vi)a & first) | ((vi)b & ~first));
}

static inline vf vf_zip_low(vf a, vf b)
{
    return (vf){a[0], b[0], a[1], b[1]};
}

static inline vf vf_zip_high(vf a, vf b)
{
    return (vf){a[2], b[2], a[3], b[3]};
}

static inline vf vf_quads(const float *from, int64_t stride)
{
    (void)stride;
    return (vf){from[0], from[1], from[2], from[3]};
}

static inline vf vf_quads_bf16(const uint16_t *from, int64_t stride)
{
    (void)stride;
    return (vf)((vu){from[0], from[1], from[2], from[3]} << 16);
}

static inline vw vw_set(uint64_t value)
{
    return (vw){value, value};
}

static inline vw vw_zip_even(vw a, vw b)
{
    return (vw){a[0], b[0]};
}

static inline vw vw_zip_odd(vw a, vw b)
{
    return (vw){a[1], b[1]};
}

static inline vw vw_multiply_low(vw a, uint32_t b)
{
    return (a & 0xFFFFFFFFu) * (uint64_t)b;
}

#include "ops/cpu/kernels_impl.h"

const lc_kernels lc_kernels_base = KERNEL_TABLE("base");

const lc_kernels *lc_kernels_best(void)
{
    const lc_kernels *best = lc_kernels_avx512();
    if (best == NULL) {
        best = lc_kernels_avx2();
    }
    return best != NULL ? best : &lc_kernels_base;
}
