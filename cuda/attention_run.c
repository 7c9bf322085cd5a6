/*
 * A plan of cuDNN at work: which calls it takes, its scratch memory, and what is queued around it.
 * Scratch: lengths and offsets, dense gradients, the library's workspace, in this order
 * (scratch.h).
 */
#include <string.h>

#include "attention_layout.h"
#include "attention_paths.h"
#include "cuda.h"

/* ---- which calls ---- */

static bool is_aligned(lc_mat mat)
{
    return ((uintptr_t)mat.data & 15) == 0 && mat.ld % 8 == 0;
}

/* What both directions have in common. */
static bool fill_case(const lc_cuda *cuda, const lc_attention_shape *shape, lc_mat q, lc_mat k,
                      lc_mat v, lc_mat out, lc_cudnn_case *of)
{
    const lc_attention_bucket bucket = lc_cuda_attention_bucket(&shape->documents, q.rows);
    const bool fits = cuda->scratch_bytes >=
                      lc_cudnn_scratch(q.rows, shape->heads, shape->kv_heads, shape->head_dim);
    memset(of, 0, sizeof *of); /* compared as bytes */
    if (cuda->attention.version == 0 || q.dtype != LC_BF16 || shape->layout == NULL ||
        bucket.documents == 0 || !lc_cudnn_takes(shape->head_dim) || !fits || !is_aligned(q) ||
        !is_aligned(k) || !is_aligned(v) || !is_aligned(out)) {
        return false;
    }
    of->rows = q.rows;
    of->q_ld = q.ld;
    of->k_ld = k.ld;
    of->v_ld = v.ld;
    of->out_ld = out.ld;
    of->documents = bucket.documents;
    of->longest = bucket.longest;
    of->heads = shape->heads;
    of->kv_heads = shape->kv_heads;
    of->head_dim = shape->head_dim;
    of->window = shape->window < bucket.longest ? shape->window : 0; /* a wider one hides nothing */
    of->scale = shape->scale;
    return true;
}

bool lc_cuda_attention_case(const lc_cuda *cuda, const lc_attention_args *args, lc_cudnn_case *of)
{
    return args->lse != NULL &&
           fill_case(cuda, &args->shape, args->q, args->k, args->v, args->out, of);
}

bool lc_cuda_attention_back_case(const lc_cuda *cuda, const lc_attention_backward_args *args,
                                 lc_cudnn_case *of)
{
    if (!is_aligned(args->dout) ||
        !fill_case(cuda, &args->shape, args->q, args->k, args->v, args->out, of)) {
        return false;
    }
    of->dout_ld = args->dout.ld;
    of->is_backward = 1;
    of->is_ordered = cuda->attention.is_ordered;
    return true;
}

/* ---- scratch ---- */

typedef struct scratch {
    int32_t *lengths;
    int64_t *offsets; /* LC_CUDNN_OFFSETS arrays */
    char *gradients;
    void *workspace;
} scratch;

static scratch carve(const lc_cuda *cuda, const lc_cudnn_case *of)
{
    _Static_assert(sizeof(int64_t) * (LC_CUDNN_DOCUMENTS + 1) * (LC_CUDNN_OFFSETS + 1) <=
                       LC_CUDNN_OFFSET_BYTES,
                   "fits");
    char *memory = cuda->scratch;
    scratch s = {.offsets = (int64_t *)(void *)memory, .gradients = memory + LC_CUDNN_OFFSET_BYTES};
    s.lengths = (int32_t *)(void *)(s.offsets + LC_CUDNN_OFFSETS * (of->documents + 1));
    s.workspace =
        s.gradients + lc_cudnn_gradient_bytes(of->rows, of->heads, of->kv_heads, of->head_dim);
    return s;
}

/* Elements from one row to the next of each tensor. */
static lc_ragged_strides strides_of(const lc_cudnn_case *of)
{
    const int64_t head_dim = of->head_dim;
    const lc_ragged_strides strides = {.of = {[LC_CUDNN_Q] = of->q_ld,
                                              [LC_CUDNN_K] = of->k_ld,
                                              [LC_CUDNN_V] = of->v_ld,
                                              [LC_CUDNN_OUT] = of->out_ld,
                                              [LC_CUDNN_DOUT] = of->dout_ld,
                                              [LC_CUDNN_DQ] = of->heads * head_dim,
                                              [LC_CUDNN_DKV] = of->kv_heads * head_dim,
                                              [LC_CUDNN_LSE] = of->heads}};
    return strides;
}

static lc_code queue_offsets(lc_cuda *cuda, const lc_cudnn_case *of, const void *layout,
                             const scratch *s, lc_err *err)
{
    return lc_cuda_result(lc_cuda_ragged_offsets(layout, of->documents, strides_of(of), s->lengths,
                                                 s->offsets, cuda->stream),
                          "ragged_offsets", err);
}

static void point_to_offsets(const lc_cudnn_case *of, const scratch *s, lc_cudnn_tensors *tensors)
{
    tensors->lengths = s->lengths;
    for (int i = 0; i < LC_CUDNN_OFFSETS; i++) {
        tensors->offsets[i] = s->offsets + (int64_t)i * (of->documents + 1);
    }
}

static lc_code run_plan(lc_cuda *cuda, const lc_cuda_attention_plan *plan,
                        const lc_cudnn_tensors *tensors, void *workspace, lc_err *err)
{
    char why[LC_CUDNN_TEXT_BYTES] = "";
    return lc_cudnn_run(cuda->attention.library, plan->plan, tensors, workspace, why)
               ? LC_OK
               : lc_fail(err, LC_ERR_DEVICE, "cuDNN's attention: %s", why);
}

/* ---- the passes ---- */

lc_code lc_cuda_attention_run(lc_cuda *cuda, const lc_cuda_attention_plan *plan,
                              const lc_attention_args *args, lc_err *err)
{
    const scratch s = carve(cuda, &plan->of);
    lc_cudnn_tensors tensors = {.q = args->q.data,
                                .k = args->k.data,
                                .v = args->v.data,
                                .out = args->out.data,
                                .lse = args->lse};
    point_to_offsets(&plan->of, &s, &tensors);
    LC_TRY(queue_offsets(cuda, &plan->of, args->shape.layout, &s, err));
    LC_TRY(run_plan(cuda, plan, &tensors, s.workspace, err));
    return lc_cuda_result(lc_cuda_ragged_clear(args->shape.layout, args->out, args->lse,
                                               args->shape.heads, cuda->stream),
                          "ragged_clear", err);
}

lc_code lc_cuda_attention_run_back(lc_cuda *cuda, const lc_cuda_attention_plan *plan,
                                   const lc_attention_backward_args *args, lc_err *err)
{
    const lc_cudnn_case *of = &plan->of;
    const scratch s = carve(cuda, of);
    const int64_t q_width = (int64_t)of->heads * of->head_dim,
                  kv_width = (int64_t)of->kv_heads * of->head_dim;
    char *dk = s.gradients + 2 * of->rows * q_width, *dv = dk + 2 * of->rows * kv_width;
    lc_cudnn_tensors tensors = {.q = args->q.data,
                                .k = args->k.data,
                                .v = args->v.data,
                                .out = args->out.data,
                                .lse = (float *)(uintptr_t)args->lse, /* only read */
                                .dout = args->dout.data,
                                .dq = s.gradients,
                                .dk = dk,
                                .dv = dv};
    point_to_offsets(of, &s, &tensors);
    LC_TRY(queue_offsets(cuda, of, args->shape.layout, &s, err));
    LC_TRY(run_plan(cuda, plan, &tensors, s.workspace, err));
    const lc_mat to[3] = {args->dq, args->dk, args->dv};
    const void *const from[3] = {s.gradients, dk, dv};
    return lc_cuda_result(lc_cuda_ragged_pack(args->shape.layout, to, from, cuda->stream),
                          "ragged_pack", err);
}
