/*
 * cuDNN's flash attention behind plain C: plans for one shape each, and their runs. Packed
 * documents are given to the library in its ragged ("THD") form: int32 lengths and, for each
 * tensor, int64 offsets of the documents in elements. No exception and no type of the library
 * leaves it.
 *
 * Three files have these functions: cudnn/attention_cudnn.cpp with the library's headers,
 * cudnn/attention_cudnn_none.c without them, tests/emu/fake_cudnn.cpp on the emulator. Whether a
 * plan is used is decided in attention_paths.c, whether it may be trusted in attention_check.c. C
 * and C++.
 */
#ifndef LC_CUDA_ATTENTION_CUDNN_H
#define LC_CUDA_ATTENTION_CUDNN_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LC_CUDNN_TEXT_BYTES 400

/* What tells plans apart; compared as bytes, so it is zeroed before it is filled in. Strides of
 * rows are in elements; the gradients dq, dk and dv are dense. */
typedef struct lc_cudnn_case {
    int64_t rows; /* of the tensors: the documents have at most so many together */
    int64_t q_ld, k_ld, v_ld, out_ld;
    int64_t dout_ld;            /* backward only */
    int32_t documents, longest; /* at most; some of them may have length 0 */
    int32_t heads, kv_heads, head_dim;
    int32_t window; /* 0: none */
    float scale;
    int32_t is_backward;
    int32_t is_ordered; /* the backward pass adds up in a fixed order */
    int32_t unused;
} lc_cudnn_case;

/* Whose offsets; each array has documents + 1 entries. */
typedef enum lc_cudnn_offsets {
    LC_CUDNN_Q,
    LC_CUDNN_K,
    LC_CUDNN_V,
    LC_CUDNN_OUT,
    LC_CUDNN_DOUT,
    LC_CUDNN_DQ,
    LC_CUDNN_DKV,
    LC_CUDNN_LSE,
    LC_CUDNN_OFFSETS
} lc_cudnn_offsets;

/* All in device memory. out and lse are written forward, read backward. */
typedef struct lc_cudnn_tensors {
    const void *q, *k, *v; /* BF16 */
    void *out;             /* BF16 */
    float *lse;            /* rows x heads */
    const void *dout;      /* BF16; backward only, as the rest */
    void *dq, *dk, *dv;    /* BF16, dense */
    const int32_t *lengths;
    const int64_t *offsets[LC_CUDNN_OFFSETS];
} lc_cudnn_tensors;

typedef struct lc_cudnn lc_cudnn;
typedef struct lc_cudnn_plan lc_cudnn_plan;

/* Major * 10000 + minor * 100 + patch of the library that is there; 0: none that can be used, and
 * why not. Loads the library; cuBLASLt must have been loaded before. */
int lc_cudnn_version(char why[LC_CUDNN_TEXT_BYTES]);

/* A handle whose work goes to `stream`; NULL, and why. */
lc_cudnn *lc_cudnn_open(cudaStream_t stream, char why[LC_CUDNN_TEXT_BYTES]);
void lc_cudnn_close(lc_cudnn *library);

/* The library's first proposal for a case or, with `wanted` (not NULL), the plan of that name,
 * which lc_cudnn_plan_name has given. Compiles; not while capturing. NULL, and why. */
lc_cudnn_plan *lc_cudnn_plan_make(lc_cudnn *library, const lc_cudnn_case *of, const char *wanted,
                                  char why[LC_CUDNN_TEXT_BYTES]);
void lc_cudnn_plan_free(lc_cudnn_plan *plan);
/* Engine and knobs, "eng6_k14=4_k24=2"; shorter than 128 bytes. */
const char *lc_cudnn_plan_name(const lc_cudnn_plan *plan);
size_t lc_cudnn_plan_workspace(const lc_cudnn_plan *plan);

/* Queues a plan's work. False, and why. */
bool lc_cudnn_run(lc_cudnn *library, lc_cudnn_plan *plan, const lc_cudnn_tensors *tensors,
                  void *workspace, char why[LC_CUDNN_TEXT_BYTES]);

/* libraries.c: the library itself, opened once, for attention_cudnn.cpp; NULL, and why. */
void *lc_cuda_cudnn_library(char why[LC_CUDNN_TEXT_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
