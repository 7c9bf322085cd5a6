/*
 * The table of operations that every backend implements: CPU here, CUDA in cuda/, the same CUDA
 * sources on the emulator. One args struct and one shared check (lc_<op>_check in src/ops/check.c)
 * per op.
 *
 * Rules: ops never allocate, synchronise or log. Tags: [in] read, [out] every element of the view
 * written, [acc] added to, [scratch] contents undefined after. Matrices are row-major views
 * (tensor.h); pointers lead to device memory unless they say host. Products are accumulated in
 * fp32. Results do not depend on the number of threads.
 *
 * Element types: activations and their gradients are F32 on the CPU, where a weight matrix may also
 * be BF16 ("base kept in bf16"). On a GPU activations and weight matrices are both F32 or both
 * BF16, and rows begin at multiples of 16 bytes. Plain float arrays, masters and adapter gradients
 * are F32 everywhere.
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
typedef struct lc_documents lc_documents;
typedef struct lc_lora_dropout_backward_args lc_lora_dropout_backward_args;

typedef struct lc_workspace_extent lc_workspace_extent;
typedef struct lc_choice_ops lc_choice_ops; /* choices.h */

/* How a kind of device wants a model's memory; known without having one. */
typedef struct lc_memory_rules {
    bool has_weight_type; /* activations have the weights' element type; else they are F32 */
    int64_t pitch;        /* strides of activations are multiples of so many elements */
    int64_t alignment;    /* widths of the model are multiples of so many bytes; 1: any */
    int32_t least_shared; /* rows that a common beginning (lc_documents.shared_rows) must have to
                             stand in a batch once; 0: attention does not know them */
    bool runs_ahead;      /* what is queued runs while the host goes on */
    int64_t head_rows;    /* rows of one chunk of logits at most: wide enough for a quick GEMM */
    int32_t strip;        /* lc_mat.strip of the weights of a model that only generates */
    /* A batch of `rows` rows is run as one of so many, up to `capacity`, so that few sizes are to
     * be recorded (lc_ops.record_begin). The rows behind it belong to no document. */
    int64_t (*round_rows)(int64_t rows, int64_t capacity);
    /* Device memory for what ops put down on their way: lc_ops.set_workspace. */
    size_t (*workspace_bytes)(const lc_workspace_extent *extent);
    /* Device memory of a communicator that sums up to `count` values over several ranks. */
    size_t (*comm_bytes)(int64_t count, int world_size);
    /* What attention wants to know of a batch of at most `tokens` rows: bytes of it, and the
     * function that fills them in host memory, from which the caller uploads them. 0: nothing. */
    size_t (*layout_bytes)(int64_t tokens);
    void (*lay_out)(const lc_documents *documents, int64_t tokens, void *layout);
    int64_t pinned_bytes; /* host memory that the device itself keeps, for upload_mat */
} lc_memory_rules;

/* out[n,:] = table[ids[n],:] */
typedef struct lc_embed_args {
    const int32_t *ids; /* [in] N, each in 0..V-1 */
    lc_mat table;       /* [in] V x C, F32 or BF16; may have a strip */
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
    lc_mat dy;           /* [in], with dropped [scratch]: N x C */
    lc_mat x;            /* [in] N x C */
    const float *weight; /* [in] C */
    const float *rstd;   /* [in] N */
    lc_mat dx;           /* [acc] N x C (holds the residual's gradient) */
    /* host; first completes dy, which is its dx: of the linears that read the norm's output; NULL:
     * dy is complete */
    const lc_lora_dropout_backward_args *dropped;
} lc_rmsnorm_backward_args;

/* y = x w^T + bias + addend. With a border x and w are in+R wide. */
typedef struct lc_linear_args {
    lc_mat x;         /* [in] N x K */
    lc_mat w;         /* [in] out x K; may have a strip */
    int64_t tail;     /* of the K columns, those of the border: a device may take them apart */
    const void *bias; /* [in] out, element type of y; or NULL */
    lc_mat addend;    /* [in] N x out residual, may be y itself; .data NULL: none */
    lc_mat y;         /* [out] N x out */
} lc_linear_args;

/* Identity of a dropout mask: Philox4x32-10 with key (seed, step) and counter (example, position,
 * layer*LC_MODULE_COUNT + module, feature/4); feature f takes word f%4, dropped when word < p *
 * 2^32. src/base/rng.h has the function; every backend gives the same mask. */
typedef struct lc_dropout {
    float p;                 /* 0: no dropout, the pointers are not read */
    const uint32_t *key;     /* [in] seed, step */
    const int64_t *example;  /* [in] N: index of the row's example in the data set */
    const int32_t *position; /* [in] N: position in its document */
    int32_t layer;
} lc_dropout;

/* One adapted module of a group (q, k, v; gate, up; o; down): its place in the bordered matrix. */
typedef struct lc_lora_part {
    int32_t row;    /* its first row of W: column of Y and dY */
    int32_t out;    /* its rows */
    int32_t slot;   /* its first column of the tail, a multiple of 16 */
    int32_t width;  /* columns of the tail: its rank rounded up to 16 */
    int32_t module; /* lc_module_kind, keys its dropout */
    float scale;    /* alpha/r, folded into sB */
    float *db;      /* [acc] out x width, dense: gradient of B. Read by lora_dy only */
} lc_lora_part;

#define LC_MAX_LORA_PARTS 3

/* The adapted modules of a group in the order of their slots, which fill the tail. */
typedef struct lc_lora_parts {
    int32_t count;
    lc_lora_part part[LC_MAX_LORA_PARTS];
} lc_lora_parts;

/* Sizes that a backend's workspace goes by; parts have the widest slots of any layer. */
struct lc_workspace_extent {
    int64_t tokens; /* rows of a micro-batch */
    int64_t width, mlp;
    int32_t heads, kv_heads, head_dim;
    bool may_use_cudnn; /* the activations are BF16 and LORAC_ATTENTION does not forbid it */
    lc_lora_parts qkv, o, gate_up, down;
    int64_t masters;    /* floats of all adapters; 0: no training */
    int64_t cache_rows; /* of a sequence in generation; 0: none */
};

/* s = drop(x) a^T; with dropout each part has a mask of its own. */
typedef struct lc_lora_forward_args {
    lc_mat x;     /* [in] N x in */
    lc_mat a;     /* [in] R x in */
    lc_mat s;     /* [out] N x R: the tail columns of x's buffer */
    lc_mat saved; /* [out] N x R, the same once more; .data NULL: not wanted */
    lc_lora_parts parts;
    lc_dropout dropout;
    lc_mat x_dropped; /* [scratch] N x in, with dropout only */
} lc_lora_forward_args;

/* A group's output side: ds = dy sb; db += scale * dy^T s, part by part (sb = scale * B). */
typedef struct lc_lora_dy_args {
    lc_mat dy; /* [in] N x out */
    lc_mat sb; /* [in] out x R window of G: block diagonal, a part's block at (row, slot) */
    lc_mat s;  /* [in] N x R, as in the forward pass */
    lc_mat ds; /* [out] N x R: tail columns of dy's buffer */
    lc_lora_parts parts;
} lc_lora_dy_args;

/* A group's input side: da += ds^T drop(x'), x' = x or, with a norm, x * rstd * norm_weight: what
 * rmsnorm made of x, which is not kept. */
typedef struct lc_lora_dx_args {
    lc_mat x;                 /* [in] N x in */
    lc_mat ds;                /* [in] N x R */
    float *da;                /* [acc] R x in, dense */
    const float *rstd;        /* [in] N; NULL: no norm */
    const float *norm_weight; /* [in] in, with rstd */
    lc_mat normed;            /* [scratch] N x in, with rstd */
    lc_lora_parts parts;
    lc_dropout dropout;
    lc_mat x_dropped; /* [scratch] N x in, with dropout only */
} lc_lora_dx_args;

/* With dropout, what the bordered GEMM cannot say: dx += sum over parts of drop(ds a). Where
 * swiglu_backward, attention_backward or rmsnorm_backward reads dx it does this on the way. */
struct lc_lora_dropout_backward_args {
    lc_mat ds; /* [in] N x R */
    lc_mat a;  /* [in] R x in */
    lc_lora_parts parts;
    lc_dropout dropout;
    lc_mat product; /* [scratch] N x in */
    lc_mat dx;      /* [acc] N x in */
};

/* dx = dy w, or dx += dy w. With a border dy and w have out+R. With `lora` dS and dB are made
 * first: what lora_dy makes of the first `out` columns of dy. */
typedef struct lc_linear_backward_args {
    lc_mat dy;      /* [in] N x M */
    lc_mat w;       /* [in] M x in, F32 or BF16 */
    int64_t tail;   /* of the M columns, those of the border: dS */
    lc_mat dx;      /* [out] or [acc] N x in */
    lc_mat dx_tail; /* [scratch] N x R: columns behind dx that a device may use; .data NULL: none */
    bool accumulate;
    const lc_lora_dy_args *lora; /* host; its dy is not read; NULL: dS is there */
} lc_linear_backward_args;

/* One module's way from its masters into the border of G. */
typedef struct lc_publish_slot {
    const float *a; /* [in] width x in, master */
    const float *b; /* [in] out x width, master */
    void *w_a;      /* [out] width x in window of G: A */
    void *w_b;      /* [out] out x width window of G: scale * B */
    int64_t ld;     /* of G */
    int32_t in, out, width;
    float scale;
    int32_t strip; /* of G */
} lc_publish_slot;

/* Writes masters into the borders, all modules at once. */
typedef struct lc_lora_publish_args {
    const lc_publish_slot *slots; /* [in] count */
    int32_t count;
    int32_t most_elements; /* of a slot: the largest width * (in + out) */
    lc_dtype dtype;        /* of G: F32 or BF16 */
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

/* Turns dy into dx in place. With `lora`, then what lora_dy makes of its dy: rows of which this dy
 * is the beginning (q and k, then v). */
typedef struct lc_qk_rope_backward_args {
    lc_mat x;  /* [in] the forward input (read with norm only) */
    lc_mat dy; /* [in,out] N x (heads*head_dim): dy in, dx out */
    int32_t q_heads, k_heads, head_dim;
    const float *q_norm;
    const float *k_norm;
    const float *cos;
    const float *sin;
    const float *rstd;
    const lc_lora_dy_args *lora; /* host; NULL: none */
} lc_qk_rope_backward_args;

/* The documents of a packed batch. Rows 0..shared_rows-1 are the beginning that all documents have
 * in common: they come first in each of them, and stand in the batch once. */
struct lc_documents {
    int32_t shared_rows;
    int32_t count;
    const int32_t *cu_seqlens; /* [in] count+1: shared_rows, .., N. In host memory. With a layout
                                  the last may be less: rows behind it belong to no document */
};

/* Causal attention inside documents of a packed batch. Query head h reads kv-head h / (H/K).
 * p = softmax(scale q k^T) over keys j <= i of the same document; with a window, those of them with
 * j > i - window, counted in the document. */
typedef struct lc_attention_shape {
    int32_t heads, kv_heads, head_dim; /* H, K, D */
    float scale;
    int32_t window; /* sliding window in tokens, 0: none */
    lc_documents documents;
    const void
        *layout; /* [in] what lc_memory_rules.lay_out made of these documents, where it does */
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
    lc_mat dout;       /* [in], with dropped [in,out]: N x H*D */
    const float *lse;  /* [in] N x H */
    float *delta;      /* [scratch] N x H: sum_d out*dout */
    lc_mat dq, dk, dv; /* [out] */
    /* host; first completes dout, which is its dx: of the o projection; NULL: dout is complete */
    const lc_lora_dropout_backward_args *dropped;
} lc_attention_backward_args;

/* Row n of k and v becomes row slots[n]*slot_rows + positions[n] of the caches; slot -1: nowhere,
 * the row belongs to no sequence. */
typedef struct lc_cache_append_args {
    const int32_t *slots;     /* [in] N */
    const int32_t *positions; /* [in] N; (slot, position) pairs are distinct */
    int64_t slot_rows;        /* cache rows per sequence */
    lc_mat k, v;              /* [in] N x K*D */
    lc_mat k_cache;           /* [acc] (slots*slot_rows) x K*D: other rows stay; may have a strip */
    lc_mat v_cache;           /* [acc] the same without one */
} lc_cache_append_args;

/* Attention of new tokens over a KV cache (prefill and decoding alike). Row n belongs to sequence
 * slots[n] at positions[n]; its own key is already in the cache; it sees cache rows 0..positions[n]
 * of its slot. Slot -1: the row belongs to no sequence, its output is 0. A row's result does not
 * depend on the others. */
typedef struct lc_attention_cached_args {
    int32_t heads, kv_heads, head_dim;
    float scale;
    int32_t window;
    const int32_t *slots;     /* [in] N */
    const int32_t *positions; /* [in] N */
    int64_t slot_rows;        /* cache rows per sequence: slot s holds rows s*slot_rows.. */
    lc_mat q;                 /* [in] N x H*D */
    lc_mat k_cache;           /* [in] (slots*slot_rows) x K*D; may have a strip */
    lc_mat v_cache;           /* [in] the same without one */
    lc_mat out;               /* [out] N x H*D */
} lc_attention_cached_args;

/* y = silu(gate) * up; gate = columns 0..I-1, up = columns I..2I-1 of gate_up. With `lora` also
 * what lora_forward makes of y, whose x is not read then. */
typedef struct lc_swiglu_args {
    lc_mat gate_up;                   /* [in] N x 2I */
    lc_mat y;                         /* [out] N x I */
    const lc_lora_forward_args *lora; /* host; NULL: none */
} lc_swiglu_args;

/* Overwrites gate|up with their gradients. On the way, each where it is given: what lora_dx of the
 * down projection makes of y = silu(gate) * up, and what lora_dy of gate|up makes of the
 * gradients. */
typedef struct lc_swiglu_backward_args {
    lc_mat dy;                           /* [in], with dropped [scratch]: N x I */
    lc_mat gate_up;                      /* [in,out] N x 2I */
    const lc_lora_dx_args *lora_down;    /* host; its x is [scratch] N x I, for y; NULL: none */
    const lc_lora_dy_args *lora_gate_up; /* host; its dy is not read; NULL: none */
    /* host; first completes dy, which is its dx: of the down projection; NULL: dy is complete */
    const lc_lora_dropout_backward_args *dropped;
} lc_swiglu_backward_args;

/* y[m,:] = x[rows[m],:], zeros for -1. Rows are ascending and distinct but for -1; y may be x where
 * rows[m] is m or -1. */
typedef struct lc_gather_rows_args {
    lc_mat x;            /* [in] N x C */
    const int32_t *rows; /* [in] M */
    lc_mat y;            /* [out] M x C */
} lc_gather_rows_args;

/* y[rows[m],:] = x[m,:], all other rows of y zero. Rows are ascending and distinct, then perhaps
 * some -1: nowhere. */
typedef struct lc_scatter_rows_args {
    lc_mat x;            /* [in] M x C */
    const int32_t *rows; /* [in] M */
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

#define LC_MAX_SAMPLE_VOCAB (1 << 20) /* the weights of so many tokens have a sum below 2^64 */

/* How one row chooses its token. */
typedef struct lc_sample_row {
    float sharpness;       /* log2(e) / temperature, finite; 0: greedy */
    uint32_t top_p;        /* share of the weight that the candidates make up, in 2^-32; 0: all */
    uint32_t seed, stream; /* key of the random number */
} lc_sample_row;

/* ids[m] = the token that row m chooses; -1 where one of its logits is NaN or infinite. Greedy: the
 * first largest logit. Else by weights that are whole numbers, so that their sums, and with them
 * the choice, are the same everywhere and whatever the order of summation:
 *
 *   y = (largest - logit) * sharpness, each step in fp32; from 44 on the weight is 0
 *   q = floor(2^26 y), n = floor(q / 2^26), f = q / 2^26 - n
 *   weight = floor(2^11 p / 2^n), p = 2^(32 - f) by the series of LC_EXP2_TERMS:
 *   p = 2^32 - f (c1 - f (c2 - f (.. c10))), each product rounded down
 *
 * With top_p the candidates are the fewest tokens, in order of q and then of id, whose weights
 * reach its share of all. A random number of 64 bits u (words 0 and 1 of Philox4x32-10 with key
 * (seed, stream), counter (position, 0, 0, 0)) takes the first candidate whose running sum is above
 * floor(2^-64 u * sum), in that order, or from the last id to the first where all are
 * candidates. */
typedef struct lc_sample_args {
    lc_mat logits;             /* [in] M x V, V at most LC_MAX_SAMPLE_VOCAB */
    const lc_sample_row *rows; /* [in] M */
    const int32_t *positions;  /* [in] M: of the tokens chosen, in their sequences */
    int32_t *ids;              /* [out] M */
} lc_sample_args;

/* What the next step of M sequences reads: row m is the token that sequence m has just chosen. */
typedef struct lc_advance_args {
    int64_t count;             /* M */
    const int32_t *chosen;     /* [in] M; below 0 counts as 0 */
    const int32_t *slots;      /* [in] M: of the sequences; -1: none */
    int32_t *chosen_positions; /* [in,out] M: of `chosen`; then one further */
    /* Rotation by position; from the last on it stays the same. cos, sin NULL: none. */
    lc_mat cos_by_position, sin_by_position; /* [in] P x D/2, F32, dense */
    int32_t *ids, *positions, *row_slots;    /* [out] M */
    int32_t *rows;                           /* [out] M: 0, 1, .. */
    float *cos, *sin;                        /* [out] M x D/2 */
} lc_advance_args;

/* c1..c10: 2^32 ln(2)^k / k! */
#define LC_EXP2_TERMS \
    2977044472u, 1031764991u, 238388332u, 41309550u, 5726720u, 661577u, 65510u, 5676u, 437u, 30u
#define LC_EXP2_TERM_COUNT 10

/* Sums over supervised positions, kept on the device from micro-batch to micro-batch. */
typedef struct lc_sums {
    double loss;    /* sum of weight * nll */
    double weight;  /* sum of weights */
    double correct; /* number of positions whose argmax is the target */
    double targets; /* number of positions */
    double stops;   /* ranks that were asked to stop; no op touches it */
} lc_sums;

/* Adds one batch, in double and in a fixed order. Positions of weight 0 do not count. */
typedef struct lc_add_sums_args {
    const float *nll, *correct, *weights; /* [in] count */
    int64_t count;
    lc_sums *sums; /* [acc] 1 */
} lc_add_sums_args;

/* What an update did; on the device, so that nobody has to wait for it. */
typedef struct lc_update {
    int64_t count;    /* [in,out] updates so far */
    double grad_norm; /* [out] of the mean gradient, before clipping */
    int32_t skipped;  /* [out] 1: something was not finite, nothing was changed */
    int32_t unused;
} lc_update;

/* What differs from step to step; in device memory, so that a recorded step can be run again. */
typedef struct lc_step_values {
    uint32_t key[2]; /* seed, step: the key of the dropout masks */
    double weight;   /* of all targets of the step, over all ranks */
    double learning_rate;
} lc_step_values;

/* Clipping and AdamW as torch does them (decoupled weight decay, bias correction), on fp32 masters;
 * grad holds sums. With t = update->count + 1:
 *
 *   norm = sqrt(sum grad^2) / weight            in double, fixed order
 *   g = grad * min(1, clip / (norm + 1e-6)) / weight
 *   param *= 1 - lr*weight_decay
 *   m = b1 m + (1-b1) g
 *   v = b2 v + (1-b2) g^2
 *   param -= lr / (1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)
 *
 * A loss sum, a norm or a factor (next to no weight) that is not finite skips the update. */
typedef struct lc_adamw_args {
    float *param;      /* [in,out] count */
    const float *grad; /* [in] count: sums */
    float *m;          /* [in,out] count */
    float *v;          /* [in,out] count */
    int64_t count;
    double clip; /* 0: off */
    double beta1, beta2, eps, weight_decay;
    const lc_sums *sums;          /* [in] of the step, on this rank */
    const lc_step_values *values; /* [in] */
    lc_update *update;            /* [in,out] */
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
    /* Host memory that the device reads directly: zeroed, 256-byte aligned. */
    LC_WARN_UNUSED lc_code (*host_alloc)(lc_device *device, size_t bytes, void **out, lc_err *err);
    void (*host_free)(lc_device *device, void *memory);
    /* Queues a copy from such memory, which may be changed again once host_wait(slot) has returned.
     * Several slots, so that one can be filled while another is on its way. */
    LC_WARN_UNUSED lc_code (*upload_queued)(lc_device *device, void *to, const void *from,
                                            size_t bytes, int slot, lc_err *err);
    /* Queues a copy into such memory, which is there once host_wait(slot) has returned. */
    LC_WARN_UNUSED lc_code (*download_queued)(lc_device *device, void *to, const void *from,
                                              size_t bytes, int slot, lc_err *err);
    /* Waits for the last copy of a slot alone: 0..LC_COPY_SLOTS-1. */
    LC_WARN_UNUSED lc_code (*host_wait)(lc_device *device, int slot, lc_err *err);
    /* Borrowed until the device is closed or another one is set; what was recorded is forgotten. It
     * is the current model's: only one at a time has a device. */
    void (*set_workspace)(lc_device *device, void *memory, size_t bytes);
    /* Whether from now on a row of a product has the same bytes beside whatever other rows, however
     * many; it may cost time where rows are many. What was recorded is forgotten. */
    void (*set_rows_alone)(lc_device *device, bool rows_alone);
    /* Records what is queued between begin and end under `key`, a few sizes and pointers that it
     * depends on, so that it can be queued again as a whole. *replayed: it was recorded before and
     * is queued now; the caller leaves it out. `is_whole` false: something went wrong between.
     * `name`: what a profiler shows. */
    LC_WARN_UNUSED lc_code (*record_begin)(lc_device *device, const char *name, uint64_t key,
                                           bool *replayed, lc_err *err);
    LC_WARN_UNUSED lc_code (*record_end)(lc_device *device, bool is_whole, lc_err *err);
    /* What attention over these documents, in a batch of `rows` rows, makes of a recorded sequence
     * beyond its sizes: a number below 256 that goes into the key. */
    uint32_t (*layout_key)(lc_device *device, const lc_documents *documents, int64_t rows);
    LC_WARN_UNUSED lc_code (*zero)(lc_device *device, void *memory, size_t bytes, lc_err *err);
    LC_WARN_UNUSED lc_code (*copy)(lc_device *device, lc_mat to, lc_mat from,
                                   lc_err *err); /* same shape, may convert */
    LC_WARN_UNUSED lc_code (*sync)(lc_device *device,
                                   lc_err *err); /* waits, reports what went wrong */
    /* Seconds that what was queued between the two calls took on the device's own clock; stop
     * waits for it. One measurement at a time. */
    LC_WARN_UNUSED lc_code (*timer_start)(lc_device *device, lc_err *err);
    LC_WARN_UNUSED lc_code (*timer_stop)(lc_device *device, double *seconds, lc_err *err);
    /* Bytes of the device's memory in use by anybody (of host memory, by this process), and those
     * that alloc could give now (-1: not known). */
    LC_WARN_UNUSED lc_code (*memory)(lc_device *device, int64_t *used, int64_t *available,
                                     lc_err *err);
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
    LC_WARN_UNUSED lc_code (*cache_append)(lc_device *device, const lc_cache_append_args *args,
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
    LC_WARN_UNUSED lc_code (*sample)(lc_device *device, const lc_sample_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*advance)(lc_device *device, const lc_advance_args *args, lc_err *err);
    LC_WARN_UNUSED lc_code (*add_sums)(lc_device *device, const lc_add_sums_args *args,
                                       lc_err *err);
    LC_WARN_UNUSED lc_code (*adamw)(lc_device *device, const lc_adamw_args *args, lc_err *err);
} lc_ops;

struct lc_device {
    const lc_ops *ops;
    const char *description; /* "cpu, 2 threads, avx2", owned by the backend */
    int reader_count;        /* how many threads are worth using to fill its memory, at least 1 */
    bool is_host;            /* its memory is host memory */
    const lc_memory_rules *memory;
    const lc_choice_ops *choices; /* NULL: it has nothing to choose */
    void *state;                  /* owned by the backend */
};

#define LC_HOST_SLOTS 2                   /* in turn, each way */
#define LC_COPY_SLOTS (2 * LC_HOST_SLOTS) /* there, and back */

/* Calls an op of a device: LC_OP(device, rmsnorm, {.x = ..., .y = ...}, err). */
#define LC_OP(device, op, ...) ((device)->ops->op((device), &(const lc_##op##_args)__VA_ARGS__))

extern const lc_memory_rules lc_cpu_memory, lc_cuda_memory;

/* The CPU backend with its own pool of `threads` (>= 1) threads. Close with device->ops->close. */
LC_WARN_UNUSED lc_code lc_cpu_open(int threads, lc_device **out, lc_err *err);

#ifdef __cplusplus
}
#endif
#endif
