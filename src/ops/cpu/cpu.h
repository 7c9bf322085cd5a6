/*
 * Inside of the CPU backend: its state, the row and GEMM helpers that the op files share, and the
 * ops themselves. Private to src/ops/cpu. What is summed in which order depends on shapes only,
 * never on the thread count.
 */
#ifndef LC_OPS_CPU_CPU_H
#define LC_OPS_CPU_CPU_H

#include "base/thread.h"
#include "lorac/ops_check.h"
#include "ops/cpu/kernels.h"

/* Attention works on 64 queries by up to 256 keys (or 256 queries by 64 keys). */
#define LC_QUERY_BLOCK  64
#define LC_KEY_BLOCK    256
#define LC_SCORE_FLOATS (LC_KEY_BLOCK * (LC_QUERY_BLOCK + LC_SCORE_PAD))
#define LC_SCORE_PAD    16 /* keeps the columns of a tile of scores off one cache set */
/* A packed panel of a product's right operand, made for the second-level cache; columns are a
 * multiple of every kernel's block_cols. */
#define LC_PANEL_COLS  192
#define LC_PANEL_DEPTH 384

/* One worker's scratch; only the task it is running touches it. */
typedef struct lc_cpu_scratch {
    float panel[LC_PANEL_COLS * LC_PANEL_DEPTH];
    float scores[LC_SCORE_FLOATS];
    float gradients[LC_SCORE_FLOATS];
    float row_max[LC_QUERY_BLOCK];
    float row_sum[LC_QUERY_BLOCK];
} lc_cpu_scratch;

typedef struct lc_cpu {
    lc_device device;
    lc_pool *pool;           /* owned */
    lc_cpu_scratch *scratch; /* owned, one per worker */
    double *partials;        /* owned, LC_MAX_PARTIALS */
    const lc_kernels *kernels;
    double timer_began; /* on the monotonic clock */
    char description[96];
} lc_cpu;

#define LC_MAX_PARTIALS 4096

static inline lc_cpu *lc_cpu_of(lc_device *device)
{
    return (lc_cpu *)device->state;
}

static inline float *lc_row_f32(lc_mat mat, int64_t row)
{
    return (float *)mat.data + row * mat.ld;
}

/* fn(cpu, args, first, end, worker) over ranges of 0..rows-1; `row_floats` is the work of one row
 * in floats touched, and sets how many rows make a task. */
typedef void (*lc_cpu_row_fn)(lc_cpu *cpu, const void *args, int64_t first, int64_t end,
                              int worker);
void lc_cpu_rows(lc_cpu *cpu, int64_t rows, int64_t row_floats, lc_cpu_row_fn fn, const void *args);

/* task(context, index, worker) for 0..count-1 on the pool. */
void lc_cpu_run(lc_cpu *cpu, int64_t count, void (*task)(void *context, int64_t index, int worker),
                void *context);

/* Row r of a F32 or BF16 matrix as floats into `to`, columns first..first+count-1. */
void lc_cpu_expand(const lc_cpu *cpu, lc_mat mat, int64_t row, int64_t first, int64_t count,
                   float *to);

/* Row-major c = [c +] alpha op(a) op(b) on the calling thread alone; 'N' or 'T'. */
typedef struct lc_sgemm {
    char ta, tb;
    int64_t m, n, k;
    float alpha;
    bool accumulate;
    const float *a;
    int64_t lda;
    const void *b;
    lc_dtype b_dtype;  /* F32 or BF16 */
    bool b_has_strips; /* of LC_STRIP rows; then ta is 'N', tb 'T', n whole strips */
    int64_t ldb;
    float *c;
    int64_t ldc;
} lc_sgemm;
void lc_cpu_sgemm(const lc_cpu *cpu, lc_cpu_scratch *scratch, const lc_sgemm *gemm);

/* Starts to bring runs of `bytes` bytes, `stride` bytes apart, into the second-level cache. */
static inline void lc_cpu_fetch(const void *from, int64_t runs, int64_t bytes, int64_t stride)
{
    enum { LINE_BYTES = 64 };
    for (int64_t run = 0; run < runs; run++) {
        for (int64_t at = 0; at < bytes; at += LINE_BYTES) {
            __builtin_prefetch((const char *)from + run * stride + at, 0, 2);
        }
    }
}

/* c = alpha op(a) op(b) [+ bias] [+ addend], or c += alpha op(a) op(b), in tiles of c on all
 * threads. */
typedef struct lc_gemm {
    char ta, tb;
    int64_t m, n, k;
    float alpha;
    lc_mat a;          /* F32 */
    lc_mat b;          /* F32 or BF16 */
    const float *bias; /* n, or NULL */
    lc_mat addend;     /* m x n; data NULL: none; may be c */
    lc_mat c;          /* m x n, F32 */
    bool accumulate;   /* c += */
} lc_gemm;
void lc_cpu_gemm(lc_cpu *cpu, const lc_gemm *gemm);

/* Parts of ops that other ops are made of. y = x * rstd * weight; y = silu(gate) * up; gate|up
 * become their gradients. */
void lc_cpu_copy(lc_cpu *cpu, lc_mat to, lc_mat from);
void lc_cpu_scale_rows(lc_cpu *cpu, lc_mat x, const float *rstd, const float *weight, lc_mat y);
void lc_cpu_gate(lc_cpu *cpu, lc_mat gate_up, lc_mat y);
void lc_cpu_gate_backward(lc_cpu *cpu, lc_mat dy, lc_mat gate_up);

extern const lc_op_rules lc_cpu_rules;

lc_code lc_cpu_embed(lc_device *device, const lc_embed_args *args, lc_err *err);
lc_code lc_cpu_rmsnorm(lc_device *device, const lc_rmsnorm_args *args, lc_err *err);
lc_code lc_cpu_rmsnorm_backward(lc_device *device, const lc_rmsnorm_backward_args *args,
                                lc_err *err);
lc_code lc_cpu_linear(lc_device *device, const lc_linear_args *args, lc_err *err);
lc_code lc_cpu_linear_backward(lc_device *device, const lc_linear_backward_args *args, lc_err *err);
lc_code lc_cpu_lora_forward(lc_device *device, const lc_lora_forward_args *args, lc_err *err);
lc_code lc_cpu_lora_dy(lc_device *device, const lc_lora_dy_args *args, lc_err *err);
lc_code lc_cpu_lora_dx(lc_device *device, const lc_lora_dx_args *args, lc_err *err);
lc_code lc_cpu_lora_dropout_backward(lc_device *device, const lc_lora_dropout_backward_args *args,
                                     lc_err *err);
lc_code lc_cpu_lora_publish(lc_device *device, const lc_lora_publish_args *args, lc_err *err);
lc_code lc_cpu_qk_rope(lc_device *device, const lc_qk_rope_args *args, lc_err *err);
lc_code lc_cpu_qk_rope_backward(lc_device *device, const lc_qk_rope_backward_args *args,
                                lc_err *err);
lc_code lc_cpu_attention(lc_device *device, const lc_attention_args *args, lc_err *err);
lc_code lc_cpu_attention_backward(lc_device *device, const lc_attention_backward_args *args,
                                  lc_err *err);
lc_code lc_cpu_attention_cached(lc_device *device, const lc_attention_cached_args *args,
                                lc_err *err);
lc_code lc_cpu_swiglu(lc_device *device, const lc_swiglu_args *args, lc_err *err);
lc_code lc_cpu_swiglu_backward(lc_device *device, const lc_swiglu_backward_args *args, lc_err *err);
lc_code lc_cpu_gather_rows(lc_device *device, const lc_gather_rows_args *args, lc_err *err);
lc_code lc_cpu_scatter_rows(lc_device *device, const lc_scatter_rows_args *args, lc_err *err);
lc_code lc_cpu_cross_entropy(lc_device *device, const lc_cross_entropy_args *args, lc_err *err);
lc_code lc_cpu_sample(lc_device *device, const lc_sample_args *args, lc_err *err);
lc_code lc_cpu_advance(lc_device *device, const lc_advance_args *args, lc_err *err);
lc_code lc_cpu_cache_append(lc_device *device, const lc_cache_append_args *args, lc_err *err);
lc_code lc_cpu_add_sums(lc_device *device, const lc_add_sums_args *args, lc_err *err);
lc_code lc_cpu_adamw(lc_device *device, const lc_adamw_args *args, lc_err *err);

#endif
