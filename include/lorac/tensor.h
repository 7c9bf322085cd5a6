/*
 * Element types and the matrix view that all ops take: a row-major window into somebody else's
 * memory. Shape letters, fixed for the whole project: N tokens in the batch, C model width, H
 * heads, K kv-heads, D head dim, I mlp width, V vocabulary, R adapter rank, L layers.
 */
#ifndef LORAC_TENSOR_H
#define LORAC_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum lc_dtype {
    LC_F32,
    LC_BF16,
    LC_F16,
    LC_F64,
    LC_I64,
    LC_I32,
    LC_I16,
    LC_I8,
    LC_U64,
    LC_U32,
    LC_U16,
    LC_U8,
    LC_BOOL,
    LC_DTYPE_COUNT
} lc_dtype;

size_t lc_dtype_bytes(lc_dtype dtype);
const char *lc_dtype_name(lc_dtype dtype); /* safetensors spelling: "F32", "BF16", ... */
bool lc_dtype_from_name(const char *name, lc_dtype *out);

/* rows x cols elements; element (i, j) at data[i*ld + j]; ld >= cols. The memory is borrowed.
 * With a strip (weights only, where an op says so) `strip` rows at a time lie column by column, and
 * rows are a multiple of it: lc_mat_at. */
typedef struct lc_mat {
    void *data;
    int64_t rows;
    int64_t cols;
    int64_t ld;
    lc_dtype dtype;
    int32_t strip; /* 0: row by row */
} lc_mat;

static inline lc_mat lc_mat_f32(float *data, int64_t rows, int64_t cols, int64_t ld)
{
    const lc_mat mat = {data, rows, cols, ld, LC_F32, 0};
    return mat;
}

/* Where element (row, col) lies, counted in elements. */
static inline int64_t lc_mat_at(lc_mat mat, int64_t row, int64_t col)
{
    return mat.strip == 0
               ? row * mat.ld + col
               : row / mat.strip * mat.strip * mat.ld + col * mat.strip + row % mat.strip;
}

/* The window of `mat` that starts at (row, col), the first row of a strip. The caller keeps it
 * inside. */
lc_mat lc_mat_view(lc_mat mat, int64_t row, int64_t col, int64_t rows, int64_t cols);

/* The window of `count` columns right behind those of `mat`, inside its stride. */
lc_mat lc_mat_tail(lc_mat mat, int64_t count);

/* Conversions, round to nearest even as torch does; NaN stays NaN. */
float lc_bf16_to_f32(uint16_t bits);
uint16_t lc_f32_to_bf16(float value);
float lc_f16_to_f32(uint16_t bits);
uint16_t lc_f32_to_f16(float value);

/* Converts `count` elements between F32, BF16, F16 (and F64 -> F32). false for any other pair. */
LC_WARN_UNUSED bool lc_convert(const void *from, lc_dtype from_dtype, void *to, lc_dtype to_dtype,
                               size_t count);

#ifdef __cplusplus
}
#endif
#endif
