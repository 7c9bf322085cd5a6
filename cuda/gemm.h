/*
 * Matrix products by cuBLASLt, row-major as everywhere in lora.c. The descriptors and the algorithm
 * of each shape are looked up once and kept, so that a product that has been made before allocates
 * nothing.
 */
#ifndef LC_CUDA_GEMM_H
#define LC_CUDA_GEMM_H

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "ways.h"

/* c = alpha op(a) op(b) [+ bias] [+ addend]; 'N' or 'T'. m, n, k: op(a) is m x k, op(b) k x n. a
 * and b have one element type, c and addend one; sums are fp32. */
typedef struct lc_cuda_gemm {
    char ta, tb;
    int64_t m, n, k;
    float alpha;
    lc_mat a, b;
    const void *bias; /* n, of c's type; or NULL */
    lc_mat addend;    /* m x n; .data NULL: none; may be c */
    lc_mat c;
} lc_cuda_gemm;

/* Which products a choice is for. */
typedef enum lc_cuda_scope {
    LC_SCOPE_CLASS, /* of up to so many rows; see tuning.h */
    LC_SCOPE_SHAPE, /* this shape alone */
    LC_SCOPE_ROWS,  /* any number of rows: a row's bytes are the same beside any others */
    LC_SCOPE_COUNT
} lc_cuda_scope;

#define LC_CUDA_GEMM_PLANS 512 /* different shapes of products a device may make */

/* What tells products apart for the library. */
typedef struct lc_cuda_gemm_key {
    int64_t m, n, k, lda, ldb, ldc, ldd;
    uint8_t ta, tb, input, output; /* lc_dtype */
    uint8_t has_bias, has_addend, alignment_log2[4];
    uint8_t scope; /* of a choice: lc_cuda_scope */
    uint8_t unused[5];
} lc_cuda_gemm_key;

/* The algorithm of a class of products, the way of a class of ops, or the place of one of
 * attention's choices; what belongs to the others is zeros. */
typedef struct lc_cuda_choice {
    lc_cuda_gemm_key key;
    cublasLtMatmulAlgo_t algorithm;
    lc_cuda_way_key site;
    lc_cuda_way way;
    bool is_measured;
    int attention; /* 1 + index into the choices of attention_paths.h, the rest is zero; 0: none */
} lc_cuda_choice;

/* All choices of a device, in the order in which they came. */
typedef struct lc_cuda_choices {
    lc_cuda_choice *items; /* owned */
    int count, capacity;
} lc_cuda_choices;

typedef struct lc_cuda_gemm_plan {
    lc_cuda_gemm_key key;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c, d; /* column-major, as the library sees them */
    cublasLtMatmulAlgo_t algorithm;
} lc_cuda_gemm_plan;

typedef struct lc_cuda_gemms {
    cublasLtHandle_t handle;
    void *workspace; /* borrowed */
    size_t workspace_bytes;
    lc_cuda_gemm_plan *plans; /* owned: LC_CUDA_GEMM_PLANS places, open addressing */
    int plan_count;
    bool rows_alone; /* choices are LC_SCOPE_ROWS */
    lc_cuda_choices choices;
} lc_cuda_gemms;

LC_WARN_UNUSED lc_code lc_cuda_gemms_open(lc_cuda_gemms *gemms, lc_err *err);
void lc_cuda_gemms_close(lc_cuda_gemms *gemms);
/* Plans made for another workspace are forgotten; choices stay. */
void lc_cuda_gemms_set_workspace(lc_cuda_gemms *gemms, void *memory, size_t bytes);
/* From now on; plans are forgotten. */
void lc_cuda_gemms_set_rows_alone(lc_cuda_gemms *gemms, bool rows_alone);
LC_WARN_UNUSED lc_code lc_cuda_gemm_run(lc_cuda_gemms *gemms, const lc_cuda_gemm *gemm,
                                        cudaStream_t stream, lc_err *err);

/* Descriptors of a product of this shape; `bias` as in lc_cuda_gemm. Release in any case. */
LC_WARN_UNUSED lc_code lc_cuda_gemm_describe(const lc_cuda_gemm_key *key, const void *bias,
                                             lc_cuda_gemm_plan *plan, lc_err *err);
void lc_cuda_gemm_plan_release(lc_cuda_gemm_plan *plan);
/* The library's proposals for a described product, best first: at most `wanted`, at least one. For
 * any number of rows, those that do few and many and do not split their sum. */
LC_WARN_UNUSED lc_code lc_cuda_gemm_propose(const lc_cuda_gemms *gemms,
                                            const lc_cuda_gemm_plan *plan, int wanted,
                                            cublasLtMatmulHeuristicResult_t *results, int *count,
                                            lc_err *err);
/* After a choice was changed: products look theirs up again. */
void lc_cuda_gemms_forget_plans(lc_cuda_gemms *gemms);

#endif
