/* Device functions of CUDA that need no scheduler: cache-hinted loads and stores, atomics, bit and
 * float intrinsics, min and max. Part of emu_kernel.h; the fast-math ones are exact here, so
 * results agree with a GPU only within a tolerance. */
#pragma once

// ---- memory ----

template <class T> T __ldg(const T *p)
{
    return *p;
}

template <class T> T __ldcs(const T *p)
{
    return *p;
}

template <class T> T __ldcg(const T *p)
{
    return *p;
}

template <class T> T __ldca(const T *p)
{
    return *p;
}

template <class T> T __ldlu(const T *p)
{
    return *p;
}

template <class T, class U> void __stcs(T *p, U value)
{
    *p = value;
}

template <class T, class U> void __stcg(T *p, U value)
{
    *p = value;
}

template <class T, class U> void __stwt(T *p, U value)
{
    *p = value;
}

template <class T, class U> T atomicAdd(T *p, U value)
{
    return emu::atomic_add(p, T(value));
}

template <class T, class U> T atomicSub(T *p, U value)
{
    return emu::atomic_add(p, T(0) - T(value));
}

template <class T, class U> T atomicMax(T *p, U value)
{
    return emu::atomic_max(p, T(value));
}

template <class T, class U> T atomicMin(T *p, U value)
{
    return emu::atomic_min(p, T(value));
}

template <class T, class U> T atomicExch(T *p, U value)
{
    return emu::atomic_exchange(p, T(value));
}

template <class T, class U, class V> T atomicCAS(T *p, U expected, V value)
{
    return emu::atomic_cas(p, T(expected), T(value));
}

inline unsigned atomicOr(unsigned *p, unsigned value)
{
    return emu::atomic_or(p, value);
}

inline unsigned atomicAnd(unsigned *p, unsigned value)
{
    return emu::atomic_and(p, value);
}

inline void __threadfence()
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

inline void __threadfence_block()
{
}

inline void __trap()
{
    emu::trap();
}

// ---- bits ----

inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

inline int __clz(int x)
{
    return x ? __builtin_clz(unsigned(x)) : 32;
}

inline int __ffs(int x)
{
    return __builtin_ffs(x);
}

inline unsigned __brev(unsigned x)
{
    unsigned result = 0;
    for (int i = 0; i < 32; i++)
        result |= (x >> i & 1) << (31 - i);
    return result;
}

inline unsigned __umulhi(unsigned a, unsigned b)
{
    return unsigned(uint64_t(a) * b >> 32);
}

inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector)
{
    uint64_t bytes = uint64_t(b) << 32 | a;
    unsigned result = 0;
    for (int i = 0; i < 4; i++)
        result |= unsigned(bytes >> (selector >> 4 * i & 7) * 8 & 0xff) << 8 * i;
    return result;
}

inline float __int_as_float(int bits)
{
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

inline float __uint_as_float(unsigned bits)
{
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

inline int __float_as_int(float value)
{
    int bits;
    memcpy(&bits, &value, 4);
    return bits;
}

inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}

// ---- floats ----

inline float __expf(float x)
{
    return expf(x);
}

inline float __exp10f(float x)
{
    return powf(10.0f, x);
}

inline float __logf(float x)
{
    return logf(x);
}

inline float __log2f(float x)
{
    return log2f(x);
}

inline float __sinf(float x)
{
    return sinf(x);
}

inline float __cosf(float x)
{
    return cosf(x);
}

inline void __sincosf(float x, float *sine, float *cosine)
{
    *sine = sinf(x);
    *cosine = cosf(x);
}

inline float __powf(float x, float y)
{
    return powf(x, y);
}

inline float __tanhf(float x)
{
    return tanhf(x);
}

inline float __fdividef(float a, float b)
{
    return a / b;
}

inline float __fadd_rn(float a, float b)
{
    return a + b;
}

inline float __fsub_rn(float a, float b)
{
    return a - b;
}

inline float __fmul_rn(float a, float b)
{
    return a * b;
}

inline float __fdiv_rn(float a, float b)
{
    return a / b;
}

inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}

inline float __frcp_rn(float a)
{
    return 1.0f / a;
}

inline float __fsqrt_rn(float a)
{
    return sqrtf(a);
}

inline float __frsqrt_rn(float a)
{
    return 1.0f / sqrtf(a);
}

inline float rsqrtf(float a)
{
    return 1.0f / sqrtf(a);
}

inline float __saturatef(float a)
{
    return a >= 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f;
}

inline int __float2int_rn(float a)
{
    return int(nearbyintf(a));
}

inline int __float2int_rd(float a)
{
    return int(floorf(a));
}

inline int __float2int_rz(float a)
{
    return int(a);
}

inline float __int2float_rn(int a)
{
    return float(a);
}

inline float __uint2float_rn(unsigned a)
{
    return float(a);
}

// The packed product-sums are the only bf16 helpers that the genuine header keeps from the host.
inline __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c)
{
    return __float2bfloat16_rn(fmaf(__bfloat162float(a), __bfloat162float(b), __bfloat162float(c)));
}

inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c)
{
    return __halves2bfloat162(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y));
}

// CUDA has min and max for every mix of integer types, and for float and double.
template <class A, class B>
constexpr bool EMU_HAS_MIN_MAX = (std::is_integral<A>::value && std::is_integral<B>::value) ||
                                 (std::is_floating_point<A>::value &&
                                  std::is_floating_point<B>::value);

template <class A, class B>
constexpr std::enable_if_t<EMU_HAS_MIN_MAX<A, B>, std::common_type_t<A, B>> max(A a, B b)
{
    using T = std::common_type_t<A, B>;
    return T(a) < T(b) ? T(b) : T(a);
}

template <class A, class B>
constexpr std::enable_if_t<EMU_HAS_MIN_MAX<A, B>, std::common_type_t<A, B>> min(A a, B b)
{
    using T = std::common_type_t<A, B>;
    return T(b) < T(a) ? T(b) : T(a);
}
