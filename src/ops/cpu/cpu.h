/*
 * Inside of the CPU backend: its state, the row and GEMM helpers that the op files share, and the
 * ops themselves. Private to src/ops/cpu. How work is cut depends on shapes only, never on the
 * thread count.
 */
#ifndef LC_OPS_CPU_CPU_H
#define LC_OPS_CPU_CPU_H

#include "base/thread.h"
#include "lorac/ops.h"
#include "ops/cpu/kernels.h"

/* Attention works on 64 queries by up to 256 keys (or 256 queries by 64 keys). */
#define LC_QUERY_BLOCK  64
#define LC_KEY_BLOCK    256
#define LC_SCORE_FLOATS (LC_KEY_BLOCK * (LC_QUERY_BLOCK + LC_STAGE_PAD))
/* Floats of a staged weight panel, its strides padded against cache aliasing. */
#define LC_STAGE_FLOATS (64 * 1024)
#define LC_STAGE_PAD    16
#define LC_MAX_PANEL    1024
#define LC_MAX_TILE     256

/* One worker's scratch; only the task it is running touches it. */
typedef struct lc_cpu_scratch {
    float stage[LC_STAGE_FLOATS +
                LC_STAGE_PAD * LC_MAX_PANEL]; /* expanded or re-strided weight panel */
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
    void (*set_omp_threads)(int); /* oneDNN's OpenMP runtime, NULL when it has none */
    int gemm_status; /* first dnnl_status_t that was not success; atomic, see lc_cpu_finish */
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

/* Row-major c = alpha op(a) op(b) + beta c on the calling thread alone; 'N' or 'T'. All F32. */
typedef struct lc_sgemm {
    char ta, tb;
    int64_t m, n, k;
    float alpha, beta;
    const float *a;
    int64_t lda;
    const float *b;
    int64_t ldb;
    float *c;
    int64_t ldc;
} lc_sgemm;
void lc_cpu_sgemm(lc_cpu *cpu, const lc_sgemm *gemm);

/* LC_ERR_DEVICE when a product since the last call failed inside oneDNN (out of memory), naming the
 * op. */
LC_WARN_UNUSED lc_code lc_cpu_finish(lc_cpu *cpu, const char *op, lc_err *err);

/* `from` (rows x cols, stride *ld) itself, or a copy in the worker's stage, *ld updated, where that
 * stride would make oneDNN slow and the copy pays (products by a row-major right operand). */
const float *lc_cpu_restride(lc_cpu_scratch *scratch, const float *from, int64_t rows, int64_t cols,
                             int64_t *ld);

/*
 * c = alpha op(a) op(b) [+ bias] [+ addend], or c += alpha op(a) op(b), cut into fixed output
 * tiles, each on one thread over the whole of K. b may be BF16 (expanded panel by panel).
 */
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
lc_code lc_cpu_sum_squares(lc_device *device, const lc_sum_squares_args *args, lc_err *err);
lc_code lc_cpu_adamw(lc_device *device, const lc_adamw_args *args, lc_err *err);

#endif
