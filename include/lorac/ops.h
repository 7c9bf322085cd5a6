/*
 * The table of operations that every backend implements: CPU here, CUDA in cuda/, the same CUDA
 * sources on the emulator. One args struct and one shared check (lc_<op>_check in src/ops/check.c)
 * per op.
 *
 * Rules: ops never allocate, synchronise or log. Tags: [in] read, [out] every element of the view
 * written, [acc] added to, [scratch] contents undefined after. Matrices are row-major views
 * (tensor.h). Unless said otherwise data is F32 on the CPU; a weight matrix may also be BF16 ("base
 * kept in bf16"), products are accumulated in fp32. Results do not depend on the number of threads.
 *
 * The bordered weight: each adapted linear (or group that shares its input: q,k,v and gate,up) is
 * ONE matrix; R is the sum over adapted modules of the rank rounded up to 16.
 *
 *     G = [ W (out x in)   sB (out x R) ]
 *         [ A (R  x in)    0            ]
 *     forward   Y  = [X | S] [W | sB]^T    S  = X A^T    in the tail columns of X's own buffer
 *     backward  dX = [dY| dS] [W ; A]      dS = dY (sB)  in the tail columns of dY's own buffer
 *               dA += dS^T X               dB += s dY^T S
 */
#ifndef LORAC_OPS_H
#define LORAC_OPS_H

#include "lorac/err.h"
#include "lorac/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lc_device lc_device;

/* out[n,:] = table[ids[n],:] */
typedef struct lc_embed_args {
    const int32_t *ids; /* [in] N, each in 0..V-1 */
    lc_mat table;       /* [in] V x C, F32 or BF16 */
    lc_mat out;         /* [out] N x C */
} lc_embed_args;

/* y = x * rstd * weight, rstd = 1/sqrt(mean(x^2) + eps) */
typedef struct lc_rmsnorm_args {
    lc_mat x;            /* [in] N x C */
    const float *weight; /* [in] C */
    float eps;
    lc_mat y;    /* [out] N x C (its tail columns are not touched) */
    float *rstd; /* [out] N; NULL: not wanted */
} lc_rmsnorm_args;

/* dx += rstd * (w*dy - x * rstd^2 * mean(w*dy*x)) */
typedef struct lc_rmsnorm_backward_args {
    lc_mat dy;           /* [in] N x C */
    lc_mat x;            /* [in] N x C */
    const float *weight; /* [in] C */
    const float *rstd;   /* [in] N */
    lc_mat dx;           /* [acc] N x C (holds the residual's gradient) */
} lc_rmsnorm_backward_args;

/* y = x w^T + bias + addend. With a border x and w are in+R wide. */
typedef struct lc_linear_args {
    lc_mat x;          /* [in] N x K */
    lc_mat w;          /* [in] out x K, F32 or BF16 */
    const float *bias; /* [in] out, or NULL */
    lc_mat addend;     /* [in] N x out residual, may be y itself; .data NULL: none */
    lc_mat y;          /* [out] N x out */
} lc_linear_args;

/* dx = dy w, or dx += dy w. With a border dy and w have out+R. */
typedef struct lc_linear_backward_args {
    lc_mat dy; /* [in] N x M */
    lc_mat w;  /* [in] M x in, F32 or BF16 */
    lc_mat dx; /* [out] or [acc] N x in */
    bool accumulate;
} lc_linear_backward_args;

/* Identity of a dropout mask: Philox4x32-10 with key (seed, step) and counter (example, position,
 * layer*LC_MODULE_COUNT + module, feature/4); feature f takes word f%4, dropped when word < p *
 * 2^32. src/base/rng.h has the function; every backend gives the same mask. */
typedef struct lc_dropout {
    float p; /* 0: no dropout, the pointers are not read */
    uint32_t seed;
    uint32_t step;
    const int64_t *example;  /* [in] N: index of the row's example in the data set */
    const int32_t *position; /* [in] N: position in its document */
    int32_t layer;
    int32_t module; /* lc_module_kind */
} lc_dropout;

/* s = drop(x) a^T. Without dropout one call may cover all slots of a group. */
typedef struct lc_lora_forward_args {
    lc_mat x; /* [in] N x in */
    lc_mat a; /* [in] R x in, F32 or BF16 */
    lc_mat s; /* [out] N x R: the tail columns of x's buffer */
    lc_dropout dropout;
    lc_mat x_dropped; /* [scratch] N x in, with dropout only */
} lc_lora_forward_args;

/* One module's output side: ds = dy sb; db += scale * dy^T s (sb = scale * B). */
typedef struct lc_lora_dy_args {
    lc_mat dy; /* [in] N x out */
    lc_mat sb; /* [in] out x R, F32 or BF16 */
    lc_mat s;  /* [in] N x R, as in the forward pass */
    float scale;
    lc_mat ds; /* [out] N x R: tail columns of dy's buffer */
    lc_mat db; /* [acc] out x R, F32 */
} lc_lora_dy_args;

/* Input side: da += ds^T drop(x). Without dropout one call may cover all slots of a group. */
typedef struct lc_lora_dx_args {
    lc_mat x;  /* [in] N x in */
    lc_mat ds; /* [in] N x R */
    lc_mat da; /* [acc] R x in, F32 */
    lc_dropout dropout;
    lc_mat x_dropped; /* [scratch] N x in, with dropout only */
} lc_lora_dx_args;

/* With dropout, what the bordered GEMM cannot say: dx += drop(ds a) for one module. */
typedef struct lc_lora_dropout_backward_args {
    lc_mat ds; /* [in] N x R */
    lc_mat a;  /* [in] R x in, F32 or BF16 */
    lc_dropout dropout;
    lc_mat product; /* [scratch] N x in */
    lc_mat dx;      /* [acc] N x in */
} lc_lora_dropout_backward_args;

/* Writes masters into the border of G: A and scale*B of one module. */
typedef struct lc_lora_publish_args {
    lc_mat a; /* [in] R x in, F32 master */
    lc_mat b; /* [in] out x R, F32 master */
    float scale;
    lc_mat w_a; /* [out] R x in window of G */
    lc_mat w_b; /* [out] out x R window of G */
} lc_lora_publish_args;

/* q/k norm over the head dimension (optional), then rotation in the half-split form of Hugging
 * Face, for d < D/2:
 *
 *   y[d]     = x[d] cos[d]     - x[d+D/2] sin[d]
 *   y[d+D/2] = x[d+D/2] cos[d] + x[d] sin[d]
 */
typedef struct lc_qk_rope_args {
    lc_mat x; /* [in] N x (heads*head_dim): q heads first, then k heads */
    lc_mat y; /* [out] same shape; may be x when there is no norm */
    int32_t q_heads, k_heads, head_dim;
    const float *q_norm; /* [in] D, or NULL: no norm */
    const float *k_norm; /* [in] D, or NULL */
    float eps;
    const float *cos; /* [in] N x D/2; NULL: no rotation (NoPE layer) */
    const float *sin;
    float *rstd; /* [out] N x (q_heads+k_heads), with norm only */
} lc_qk_rope_args;

/* Turns dy into dx in place. */
typedef struct lc_qk_rope_backward_args {
    lc_mat x;  /* [in] the forward input (read with norm only) */
    lc_mat dy; /* [in,out] N x (heads*head_dim): dy in, dx out */
    int32_t q_heads, k_heads, head_dim;
    const float *q_norm;
    const float *k_norm;
    const float *cos;
    const float *sin;
    const float *rstd;
} lc_qk_rope_backward_args;

/* Causal attention inside documents of a packed batch. Query head h reads kv-head h / (H/K).
 * p = softmax(scale q k^T) over keys j <= i of the same document; with a window, those of them with
 * j > i - window. Rows 0..shared_rows-1 are the beginning that all documents have in common: they
 * come first in each of them, and stand in the batch once. */
typedef struct lc_attention_shape {
    int32_t heads, kv_heads, head_dim; /* H, K, D */
    float scale;
    int32_t window; /* sliding window in tokens, 0: none */
    int32_t shared_rows;
    int32_t document_count;
    const int32_t *cu_seqlens; /* [in] document_count+1: shared_rows, .., N. In host memory */
} lc_attention_shape;

typedef struct lc_attention_args {
    lc_attention_shape shape;
    lc_mat q;   /* [in] N x H*D */
    lc_mat k;   /* [in] N x K*D */
    lc_mat v;   /* [in] N x K*D */
    lc_mat out; /* [out] N x H*D */
    float *lse; /* [out] N x H: log sum exp of the scaled scores; NULL: not wanted */
} lc_attention_args;

typedef struct lc_attention_backward_args {
    lc_attention_shape shape;
    lc_mat q, k, v;    /* [in] */
    lc_mat out;        /* [in] */
    lc_mat dout;       /* [in] N x H*D */
    const float *lse;  /* [in] N x H */
    float *delta;      /* [scratch] N x H: sum_d out*dout */
    lc_mat dq, dk, dv; /* [out] */
} lc_attention_backward_args;

/* Attention of new tokens over a KV cache (prefill and decoding alike). Row n belongs to sequence
 * slots[n] at positions[n]; its own key is already in the cache; it sees cache rows 0..positions[n]
 * of its slot. */
typedef struct lc_attention_cached_args {
    int32_t heads, kv_heads, head_dim;
    float scale;
    int32_t window;
    const int32_t *slots;     /* [in] N */
    const int32_t *positions; /* [in] N */
    int64_t slot_rows;        /* cache rows per sequence: slot s holds rows s*slot_rows.. */
    lc_mat q;                 /* [in] N x H*D */
    lc_mat k_cache;           /* [in] (slots*slot_rows) x K*D */
    lc_mat v_cache;           /* [in] the same */
    lc_mat out;               /* [out] N x H*D */
} lc_attention_cached_args;

/* y = silu(gate) * up; gate = columns 0..I-1, up = columns I..2I-1 of gate_up */
typedef struct lc_swiglu_args {
    lc_mat gate_up; /* [in] N x 2I */
    lc_mat y;       /* [out] N x I */
} lc_swiglu_args;

/* Overwrites gate|up with their gradients. */
typedef struct lc_swiglu_backward_args {
    lc_mat dy;      /* [in] N x I */
    lc_mat gate_up; /* [in,out] N x 2I */
} lc_swiglu_backward_args;

/* y[m,:] = x[rows[m],:] */
typedef struct lc_gather_rows_args {
    lc_mat x;            /* [in] N x C */
    const int32_t *rows; /* [in] M, ascending, distinct */
    lc_mat y;            /* [out] M x C */
} lc_gather_rows_args;

/* y[rows[m],:] = x[m,:], all other rows of y zero. */
typedef struct lc_scatter_rows_args {
    lc_mat x;            /* [in] M x C */
    const int32_t *rows; /* [in] M, ascending, distinct */
    lc_mat y;            /* [out] N x C */
} lc_scatter_rows_args;

/* nll[m] = logsumexp(logits[m]) - logits[m, target]; correct[m] = (first argmax == target). With
 * `gradient` the logits become d(sum_m weight*nll)/dlogits = weight * (softmax - onehot). Sums,
 * never means: the optimizer divides by the global weight. */
typedef struct lc_cross_entropy_args {
    lc_mat logits;          /* [in], or [in,out] with gradient: M x V */
    const int32_t *targets; /* [in] M */
    const float *weights;   /* [in] M */
    bool gradient;
    float *nll;     /* [out] M, not weighted */
    float *correct; /* [out] M, 0 or 1 */
} lc_cross_entropy_args;

/* *sum_squares = sum g^2 in double, fixed order. A non-finite gradient gives a non-finite sum. */
typedef struct lc_sum_squares_args {
    const float *values; /* [in] count */
    int64_t count;
    double *sum_squares; /* [out] 1, host readable after lc_device_sync */
} lc_sum_squares_args;

/* AdamW as torch does it (decoupled weight decay, bias correction), on fp32 masters:
 *
 *   g = grad * grad_scale
 *   param *= 1 - lr*weight_decay
 *   m = b1 m + (1-b1) g
 *   v = b2 v + (1-b2) g^2
 *   param -= lr / (1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)
 */
typedef struct lc_adamw_args {
    float *param;      /* [in,out] count */
    const float *grad; /* [in] count: sums */
    float *m;          /* [in,out] count */
    float *v;          /* [in,out] count */
    int64_t count;
    int64_t t;         /* update number, from 1 */
    double grad_scale; /* clip coefficient / global weight */
    double lr, beta1, beta2, eps, weight_decay;
} lc_adamw_args;

/* One per op, named alike; each runs its lc_<op>_check first and returns LC_ERR_INTERNAL on a bad
 * call. */
typedef struct lc_ops {
    const char *name; /* "cpu", "cuda", "emu" */

    /* Device memory: zeroed, 256-byte aligned. */
    LC_WARN_UNUSED lc_code (*alloc)(lc_device *device, size_t bytes, void **out, lc_err *err);
    void (*free)(lc_device *device, void *memory);
    LC_WARN_UNUSED lc_code (*upload)(lc_device *device, void *to, const void *from, size_t bytes,
                                     lc_err *err);
    /* Rows in host memory into a window, converting as copy does. Several threads may call it at
     * once, each for rows of its own; `from` may be used again when it returns. */
    LC_WARN_UNUSED lc_code (*upload_mat)(lc_device *device, lc_mat to, lc_mat from, lc_err *err);
    LC_WARN_UNUSED lc_code (*download)(lc_device *device, void *to, const void *from, size_t bytes,
                                       lc_err *err);
    LC_WARN_UNUSED lc_code (*zero)(lc_device *device, void *memory, size_t bytes, lc_err *err);
    LC_WARN_UNUSED lc_code (*copy)(lc_device *device, lc_mat to, lc_mat from,
                                   lc_err *err); /* same shape, may convert */
    LC_WARN_UNUSED lc_code (*sync)(lc_device *device,
                                   lc_err *err); /* waits, reports what went wrong */
    void (*close)(lc_device *device);

    LC_WARN_UNUSED lc_code (*embed)(lc_device *device, const lc_embed_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*rmsnorm)(lc_device *device, const lc_rmsnorm_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*rmsnorm_backward)(lc_device *device,
                                               const lc_rmsnorm_backward_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*linear)(lc_device *device, const lc_linear_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*linear_backward)(lc_device *device,
                                              const lc_linear_backward_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*lora_forward)(lc_device *device, const lc_lora_forward_args *args,
                                           lc_err *err);
    LC_WARN_UNUSED lc_code (*lora_dy)(lc_device *device, const lc_lora_dy_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*lora_dx)(lc_device *device, const lc_lora_dx_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*lora_dropout_backward)(lc_device *device,
                                                    const lc_lora_dropout_backward_args *args,
                                                    lc_err *err);
    LC_WARN_UNUSED lc_code (*lora_publish)(lc_device *device, const lc_lora_publish_args *args,
                                           lc_err *err);
    LC_WARN_UNUSED lc_code (*qk_rope)(lc_device *device, const lc_qk_rope_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*qk_rope_backward)(lc_device *device,
                                               const lc_qk_rope_backward_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*attention)(lc_device *device, const lc_attention_args *args,
                                        lc_err *err);
    LC_WARN_UNUSED lc_code (*attention_backward)(lc_device *device,
                                                 const lc_attention_backward_args *args,
                                                 lc_err *err);
    LC_WARN_UNUSED lc_code (*attention_cached)(lc_device *device,
                                               const lc_attention_cached_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*swiglu)(lc_device *device, const lc_swiglu_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*swiglu_backward)(lc_device *device,
                                              const lc_swiglu_backward_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*gather_rows)(lc_device *device, const lc_gather_rows_args *args,
                                          lc_err *err);
    LC_WARN_UNUSED lc_code (*scatter_rows)(lc_device *device, const lc_scatter_rows_args *args,
                                           lc_err *err);
    LC_WARN_UNUSED lc_code (*cross_entropy)(lc_device *device, const lc_cross_entropy_args *args,
                                            lc_err *err);
    LC_WARN_UNUSED lc_code (*sum_squares)(lc_device *device, const lc_sum_squares_args *args,
                                          lc_err *err);
    LC_WARN_UNUSED lc_code (*adamw)(lc_device *device, const lc_adamw_args *args, lc_err *err);
} lc_ops;

struct lc_device {
    const lc_ops *ops;
    const char *description; /* "cpu, 2 threads, avx2", owned by the backend */
    int reader_count;        /* how many threads are worth using to fill its memory, at least 1 */
    void *state;             /* owned by the backend */
};

/* Calls an op of a device: LC_OP(device, rmsnorm, {.x = ..., .y = ...}, err). */
#define LC_OP(device, op, ...) ((device)->ops->op((device), &(const lc_##op##_args)__VA_ARGS__))

/* The CPU backend with its own pool of `threads` (>= 1) threads. Close with device->ops->close. */
LC_WARN_UNUSED lc_code lc_cpu_open(int threads, lc_device **out, lc_err *err);

#ifdef __cplusplus
}
#endif
#endif
