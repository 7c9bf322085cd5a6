/*
 * Element types: sizes, names, conversions between the float formats, matrix views. Used by the
 * readers, the model and the CPU backend.
 */
#include "lorac/tensor.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} dtype_table[LC_DTYPE_COUNT] = {
    [LC_F32] = {"F32", 4},   [LC_BF16] = {"BF16", 2}, [LC_F16] = {"F16", 2}, [LC_F64] = {"F64", 8},
    [LC_I64] = {"I64", 8},   [LC_I32] = {"I32", 4},   [LC_I16] = {"I16", 2}, [LC_I8] = {"I8", 1},
    [LC_U64] = {"U64", 8},   [LC_U32] = {"U32", 4},   [LC_U16] = {"U16", 2}, [LC_U8] = {"U8", 1},
    [LC_BOOL] = {"BOOL", 1},
};

size_t lc_dtype_bytes(lc_dtype dtype)
{
    assert((unsigned)dtype < LC_DTYPE_COUNT);
    return dtype_table[dtype].bytes;
}

const char *lc_dtype_name(lc_dtype dtype)
{
    assert((unsigned)dtype < LC_DTYPE_COUNT);
    return dtype_table[dtype].name;
}

bool lc_dtype_from_name(const char *name, lc_dtype *out)
{
    for (int i = 0; i < LC_DTYPE_COUNT; i++) {
        if (strcmp(name, dtype_table[i].name) == 0) {
            *out = (lc_dtype)i;
            return true;
        }
    }
    return false;
}

lc_mat lc_mat_view(lc_mat mat, int64_t row, int64_t col, int64_t rows, int64_t cols)
{
    assert(row >= 0 && col >= 0 && rows >= 0 && cols >= 0);
    assert(row + rows <= mat.rows && col + cols <= mat.ld);
    assert(mat.strip == 0 || row % mat.strip == 0);
    const size_t offset = (size_t)lc_mat_at(mat, row, col) * lc_dtype_bytes(mat.dtype);
    mat.data = (char *)mat.data + offset;
    mat.rows = rows;
    mat.cols = cols;
    return mat;
}

static inline float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float bf16_to_f32(uint16_t bits)
{
    return float_of_bits((uint32_t)bits << 16);
}

static inline uint16_t f32_to_bf16(float value)
{
    const uint32_t bits = bits_of_float(value);
    const uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
    const uint32_t quiet_nan = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7FFFFFFFu) > 0x7F800000u ? quiet_nan : rounded);
}

static inline float f16_to_f32(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 0x1Fu;
    const uint32_t fraction = half & 0x3FFu;
    if (exponent == 0x1F) {
        return float_of_bits(sign | 0x7F800000u | fraction << 13);
    }
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, exact in fp32 */
        const float value = (float)fraction * 0x1p-24f;
        return float_of_bits(sign | bits_of_float(value));
    }
    return float_of_bits(sign | (exponent + 112u) << 23 | fraction << 13);
}

static inline uint16_t f32_to_f16(float value)
{
    const uint32_t bits = bits_of_float(value);
    const uint32_t sign = bits >> 16 & 0x8000u;
    const uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) {
        return (uint16_t)(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
    }
    if (magnitude >= 0x477FF000u) { /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7C00u);
    }
    if (magnitude < 0x38800000u) {
        /* Below 2^-14: adding 0.5 leaves the fraction in units of 2^-24, rounded to nearest
         * even. */
        const float sum = float_of_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_of_float(sum) - 0x3F000000u));
    }
    const uint32_t odd = magnitude >> 13 & 1u;
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xFFFu + odd) >> 13);
}

lc_mat lc_mat_tail(lc_mat mat, int64_t count)
{
    mat.data = (char *)mat.data + (size_t)mat.cols * lc_dtype_bytes(mat.dtype);
    mat.cols = count;
    return mat;
}

float lc_bf16_to_f32(uint16_t bits)
{
    return bf16_to_f32(bits);
}

uint16_t lc_f32_to_bf16(float value)
{
    return f32_to_bf16(value);
}

float lc_f16_to_f32(uint16_t bits)
{
    return f16_to_f32(bits);
}

uint16_t lc_f32_to_f16(float value)
{
    return f32_to_f16(value);
}

/* The loops load and store through memcpy: file data need not be aligned. */
static void widen(const char *from, lc_dtype from_dtype, char *to, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, from + i * 2, 2);
        const float value = from_dtype == LC_BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
        memcpy(to + i * 4, &value, 4);
    }
}

static void narrow(const char *from, char *to, lc_dtype to_dtype, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, from + i * 4, 4);
        const uint16_t bits = to_dtype == LC_BF16 ? f32_to_bf16(value) : f32_to_f16(value);
        memcpy(to + i * 2, &bits, 2);
    }
}

static void swap_halves(const char *from, lc_dtype from_dtype, char *to, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, from + i * 2, 2);
        bits =
            from_dtype == LC_BF16 ? f32_to_f16(bf16_to_f32(bits)) : f32_to_bf16(f16_to_f32(bits));
        memcpy(to + i * 2, &bits, 2);
    }
}

static void double_to_float(const char *from, char *to, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double wide;
        memcpy(&wide, from + i * 8, 8);
        const float value = (float)wide;
        memcpy(to + i * 4, &value, 4);
    }
}

static bool is_half(lc_dtype dtype)
{
    return dtype == LC_BF16 || dtype == LC_F16;
}

bool lc_convert(const void *from, lc_dtype from_dtype, void *to, lc_dtype to_dtype, size_t count)
{
    if (from_dtype == LC_F64 && to_dtype == LC_F32) {
        double_to_float(from, to, count);
        return true;
    }
    if ((from_dtype != LC_F32 && !is_half(from_dtype)) ||
        (to_dtype != LC_F32 && !is_half(to_dtype))) {
        return false;
    }
    if (count == 0) {
        return true;
    }
    if (from_dtype == to_dtype) {
        memcpy(to, from, count * lc_dtype_bytes(from_dtype));
    } else if (to_dtype == LC_F32) {
        widen(from, from_dtype, to, count);
    } else if (from_dtype == LC_F32) {
        narrow(from, to, to_dtype, count);
    } else {
        swap_halves(from, from_dtype, to, count);
    }
    return true;
}
