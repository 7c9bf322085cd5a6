/*
 * The inner loops of the CPU backend: one table per instruction set, all made from kernels_impl.h.
 * They work on one row or one run of floats, know nothing of matrices or threads, and give the same
 * bytes for the same call. Tables differ in the last bits from one another (lane counts, fused
 * multiply-add).
 */
#ifndef LC_OPS_CPU_KERNELS_H
#define LC_OPS_CPU_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

/* The dropout mask of one row; see lc_dropout. word < threshold: dropped, else kept times scale. */
typedef struct lc_mask_row {
    uint32_t key[2];
    uint32_t counter[3];
    uint32_t threshold;
    float scale;
} lc_mask_row;

/* The scalars of one AdamW update, computed in double and rounded once. */
typedef struct lc_adamw_scalars {
    float grad_scale;
    float decay; /* 1 - lr*weight_decay */
    float one_minus_beta1;
    float beta2;
    float one_minus_beta2;
    float bias2_sqrt; /* sqrt(1 - beta2^t) */
    float eps;
    float step_size; /* lr / (1 - beta1^t) */
} lc_adamw_scalars;

typedef struct lc_row_loss {
    float nll;
    float correct;
} lc_row_loss;

#define LC_FEW_ROWS 8
#define LC_STRIP    16 /* lc_mat.strip of the CPU backend: a cache line of floats */

/* A part of a product's right operand. */
typedef struct lc_panel {
    const void *b;
    int64_t ldb;
    bool is_bf16;
    int64_t k, cols;
} lc_panel;

/* c = [c +] alpha op(a) b for a block of c: rows <= block_rows, cols <= block_cols. */
typedef struct lc_block {
    int64_t rows, cols, k;
    const float *a; /* rows x k, or with a_transposed k x rows */
    int64_t lda;
    bool a_transposed;
    const float *b; /* k x cols; up to a whole vector is read of each row */
    int64_t ldb;
    float *c;
    int64_t ldc;
    float alpha;
    bool accumulate;
} lc_block;

typedef struct lc_kernels {
    const char *name;
    int64_t lanes, block_rows, block_cols;

    float (*dot)(const float *a, const float *b, int64_t count);
    float (*maximum)(const float *x, int64_t count); /* -inf for count 0; NaN is passed over */
    /* x[i] = exp(x[i] - shift); returns their sum. */
    float (*exp_sum)(float *x, int64_t count, float shift);
    void (*scale)(float *x, int64_t count, float factor);
    void (*add)(const float *a, const float *b, float *out, int64_t count);

    /* y = x * rstd * weight */
    void (*rmsnorm)(const float *x, const float *weight, float rstd, float *y, int64_t count);
    /* dx = (accumulate ? dx : 0) + rstd*(w*dy - x*rstd^2*mean(w*dy*x)); dx may be dy. */
    void (*rmsnorm_backward)(const float *dy, const float *x, const float *weight, float rstd,
                             bool accumulate, float *dx, int64_t count);
    /* Rotates one head of 2*half values; direction 1 or -1 (the transpose). y may be x. */
    void (*rotate)(const float *x, const float *cosine, const float *sine, float direction,
                   float *y, int64_t half);

    void (*swiglu)(const float *gate, const float *up, float *y, int64_t count);
    void (*swiglu_backward)(const float *dy, float *gate, float *up, int64_t count);

    /* p = exp(s - lse), ds = p*(dp - delta)*scale; s becomes p and dp becomes ds. */
    void (*attention_gradient)(float *s, float *dp, int64_t count, float lse, float delta,
                               float scale);

    /* Cross entropy of one row; with gradient the logits become weight*(softmax - onehot). */
    lc_row_loss (*cross_entropy)(float *logits, int64_t count, int64_t target, float weight,
                                 bool gradient);

    /* y = (accumulate ? y : 0) + drop(x) for features 0..count-1; y may be x. */
    void (*dropout)(const float *x, float *y, int64_t count, const lc_mask_row *mask,
                    bool accumulate);

    double (*sum_squares)(const float *x, int64_t count);
    void (*adamw)(float *param, const float *grad, float *m, float *v, int64_t count,
                  const lc_adamw_scalars *scalars);
    void (*expand_bf16)(const uint16_t *from, float *to, int64_t count);

    /* A panel as strips of block_cols columns; a strip is k rows of whole vectors, zero behind the
     * last column. */
    void (*pack)(const lc_panel *panel, float *to);            /* b is k x cols */
    void (*pack_transposed)(const lc_panel *panel, float *to); /* b is cols x k */
    void (*multiply_block)(const lc_block *block);
    /* The same sums with b as it lies, cols x k; at most LC_FEW_ROWS rows, any number of columns;
     * block->b, ldb and a_transposed do not count. */
    void (*multiply_few)(const lc_block *block, const lc_panel *b);
    /* The same sums with b in strips (lc_mat): any number of rows, whole strips of columns. Up to
     * strip_rows rows each element of b is loaded once. */
    void (*multiply_strips)(const lc_block *block, const lc_panel *b);
    int64_t strip_rows;
} lc_kernels;

/* Plain C with four lanes: any machine. */
extern const lc_kernels lc_kernels_base;
/* NULL where this build or this machine does not have the instructions. */
const lc_kernels *lc_kernels_avx2(void);
const lc_kernels *lc_kernels_avx512(void);
/* The widest table this machine runs. */
const lc_kernels *lc_kernels_best(void);

#endif
