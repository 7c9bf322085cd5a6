/* The checks of all ops; see check.h. Backends call them first, so their code may trust the shapes.
 */
#include "ops/check.h"

#include <math.h>

#include "lorac/mem.h"

#define F32_ONLY    (1u << LC_F32)
#define F32_OR_BF16 (1u << LC_F32 | 1u << LC_BF16)

/* One field of one op under test. */
typedef struct place {
    const char *op;
    lc_err *err;
} place;

static lc_code wrong(place at, const char *field, const char *what, int64_t found,
                     const char *relation, int64_t expected)
{
    return lc_fail_param(at.err, LC_ERR_INTERNAL, field, "%s: %s%s is %lld, expected %s%lld", at.op,
                         field, what, (long long)found, relation, (long long)expected);
}

static lc_code is_equal(place at, const char *field, const char *what, int64_t found,
                        int64_t expected)
{
    return found == expected ? LC_OK : wrong(at, field, what, found, "", expected);
}

static lc_code is_at_least(place at, const char *field, const char *what, int64_t found,
                           int64_t least)
{
    return found >= least ? LC_OK : wrong(at, field, what, found, "at least ", least);
}

static lc_code is_present(place at, const char *field, const void *pointer)
{
    if (pointer == NULL) {
        return lc_fail_param(at.err, LC_ERR_INTERNAL, field, "%s: %s is NULL, expected memory",
                             at.op, field);
    }
    return LC_OK;
}

static lc_code is_dtype(place at, const char *field, lc_dtype found, unsigned allowed)
{
    if ((unsigned)found >= LC_DTYPE_COUNT || (allowed & 1u << found) == 0) {
        return lc_fail_param(at.err, LC_ERR_INTERNAL, field, "%s: %s has dtype %s, expected %s",
                             at.op, field,
                             (unsigned)found < LC_DTYPE_COUNT ? lc_dtype_name(found) : "(none)",
                             allowed == F32_ONLY ? "F32" : "F32 or BF16");
    }
    return LC_OK;
}

static lc_code is_finite(place at, const char *field, double value)
{
    if (!isfinite(value)) {
        return lc_fail_param(at.err, LC_ERR_INTERNAL, field,
                             "%s: %s is %g, expected a finite number", at.op, field, value);
    }
    return LC_OK;
}

/* A matrix of the given shape: memory, stride, element type, addressable size. */
static lc_code is_mat(place at, const char *field, lc_mat mat, int64_t rows, int64_t cols,
                      unsigned allowed)
{
    LC_TRY(is_equal(at, field, ".rows", mat.rows, rows));
    LC_TRY(is_equal(at, field, ".cols", mat.cols, cols));
    LC_TRY(is_at_least(at, field, ".rows", mat.rows, 0));
    LC_TRY(is_at_least(at, field, ".cols", mat.cols, 1));
    LC_TRY(is_at_least(at, field, ".ld", mat.ld, mat.cols));
    LC_TRY(is_dtype(at, field, mat.dtype, allowed));
    int64_t bytes;
    if (!lc_mul_i64(mat.rows, mat.ld, &bytes) || !lc_mul_i64(bytes, 8, &bytes)) {
        return wrong(at, field, ".ld", mat.ld, "a matrix below 2^63 bytes, rows ", mat.rows);
    }
    return mat.rows > 0 ? is_present(at, field, mat.data) : LC_OK;
}

static lc_code is_f32(place at, const char *field, lc_mat mat, int64_t rows, int64_t cols)
{
    return is_mat(at, field, mat, rows, cols, F32_ONLY);
}

static lc_code is_weight(place at, const char *field, lc_mat mat, int64_t rows, int64_t cols)
{
    return is_mat(at, field, mat, rows, cols, F32_OR_BF16);
}

/* Per-row arrays may be NULL in a batch without rows. */
static lc_code is_array(place at, const char *field, const void *pointer, int64_t rows)
{
    return rows > 0 ? is_present(at, field, pointer) : LC_OK;
}

lc_code lc_copy_check(lc_mat to, lc_mat from, lc_err *err)
{
    const place at = {"copy", err};
    const unsigned any = (1u << LC_DTYPE_COUNT) - 1;
    const unsigned floats = F32_OR_BF16 | 1u << LC_F16;
    LC_TRY(is_mat(at, "from", from, from.rows, from.cols, any));
    LC_TRY(is_mat(at, "to", to, from.rows, from.cols, any));
    if (to.dtype != from.dtype &&
        ((floats & 1u << to.dtype) == 0 || (floats & 1u << from.dtype) == 0)) {
        return lc_fail_param(err, LC_ERR_INTERNAL, "to",
                             "copy: to has dtype %s, expected %s as in from",
                             lc_dtype_name(to.dtype), lc_dtype_name(from.dtype));
    }
    return LC_OK;
}

lc_code lc_embed_check(const lc_embed_args *args, lc_err *err)
{
    const place at = {"embed", err};
    LC_TRY(is_weight(at, "table", args->table, args->table.rows, args->table.cols));
    LC_TRY(is_f32(at, "out", args->out, args->out.rows, args->table.cols));
    return is_array(at, "ids", args->ids, args->out.rows);
}

static lc_code check_eps(place at, float eps)
{
    LC_TRY(is_finite(at, "eps", (double)eps));
    if (eps < 0.0f) {
        return lc_fail_param(at.err, LC_ERR_INTERNAL, "eps", "%s: eps is %g, expected at least 0",
                             at.op, (double)eps);
    }
    return LC_OK;
}

lc_code lc_rmsnorm_check(const lc_rmsnorm_args *args, lc_err *err)
{
    const place at = {"rmsnorm", err};
    LC_TRY(is_f32(at, "x", args->x, args->x.rows, args->x.cols));
    LC_TRY(is_f32(at, "y", args->y, args->x.rows, args->x.cols));
    LC_TRY(check_eps(at, args->eps));
    return is_present(at, "weight", args->weight);
}

lc_code lc_rmsnorm_backward_check(const lc_rmsnorm_backward_args *args, lc_err *err)
{
    const place at = {"rmsnorm_backward", err};
    LC_TRY(is_f32(at, "dy", args->dy, args->dy.rows, args->dy.cols));
    LC_TRY(is_f32(at, "x", args->x, args->dy.rows, args->dy.cols));
    LC_TRY(is_f32(at, "dx", args->dx, args->dy.rows, args->dy.cols));
    LC_TRY(is_array(at, "rstd", args->rstd, args->dy.rows));
    return is_present(at, "weight", args->weight);
}

lc_code lc_linear_check(const lc_linear_args *args, lc_err *err)
{
    const place at = {"linear", err};
    LC_TRY(is_f32(at, "x", args->x, args->x.rows, args->x.cols));
    LC_TRY(is_weight(at, "w", args->w, args->w.rows, args->x.cols));
    LC_TRY(is_f32(at, "y", args->y, args->x.rows, args->w.rows));
    if (args->addend.data != NULL) {
        LC_TRY(is_f32(at, "addend", args->addend, args->x.rows, args->w.rows));
    }
    return LC_OK;
}

lc_code lc_linear_backward_check(const lc_linear_backward_args *args, lc_err *err)
{
    const place at = {"linear_backward", err};
    LC_TRY(is_f32(at, "dy", args->dy, args->dy.rows, args->dy.cols));
    LC_TRY(is_weight(at, "w", args->w, args->dy.cols, args->w.cols));
    return is_f32(at, "dx", args->dx, args->dy.rows, args->w.cols);
}

/* p in [0, 1); with p > 0 the row keys and the scratch matrix, which has the shape rows x cols. */
static lc_code check_dropout(place at, const lc_dropout *dropout, int64_t rows)
{
    if (!(dropout->p >= 0.0f && dropout->p < 1.0f)) {
        return lc_fail_param(at.err, LC_ERR_INTERNAL, "dropout.p",
                             "%s: dropout.p is %g, expected 0 <= p < 1", at.op, (double)dropout->p);
    }
    if (dropout->p > 0.0f) {
        LC_TRY(is_array(at, "dropout.example", dropout->example, rows));
        LC_TRY(is_array(at, "dropout.position", dropout->position, rows));
        LC_TRY(is_at_least(at, "dropout.layer", "", dropout->layer, 0));
        LC_TRY(is_at_least(at, "dropout.module", "", dropout->module, 0));
    }
    return LC_OK;
}

lc_code lc_lora_forward_check(const lc_lora_forward_args *args, lc_err *err)
{
    const place at = {"lora_forward", err};
    LC_TRY(is_f32(at, "x", args->x, args->x.rows, args->x.cols));
    LC_TRY(is_weight(at, "a", args->a, args->a.rows, args->x.cols));
    LC_TRY(is_f32(at, "s", args->s, args->x.rows, args->a.rows));
    LC_TRY(check_dropout(at, &args->dropout, args->x.rows));
    if (args->dropout.p > 0.0f) {
        LC_TRY(is_f32(at, "x_dropped", args->x_dropped, args->x.rows, args->x.cols));
    }
    return LC_OK;
}

lc_code lc_lora_dy_check(const lc_lora_dy_args *args, lc_err *err)
{
    const place at = {"lora_dy", err};
    LC_TRY(is_f32(at, "dy", args->dy, args->dy.rows, args->dy.cols));
    LC_TRY(is_weight(at, "sb", args->sb, args->dy.cols, args->sb.cols));
    LC_TRY(is_f32(at, "s", args->s, args->dy.rows, args->sb.cols));
    LC_TRY(is_f32(at, "ds", args->ds, args->dy.rows, args->sb.cols));
    LC_TRY(is_f32(at, "db", args->db, args->dy.cols, args->sb.cols));
    return is_finite(at, "scale", (double)args->scale);
}

lc_code lc_lora_dx_check(const lc_lora_dx_args *args, lc_err *err)
{
    const place at = {"lora_dx", err};
    LC_TRY(is_f32(at, "x", args->x, args->x.rows, args->x.cols));
    LC_TRY(is_f32(at, "ds", args->ds, args->x.rows, args->ds.cols));
    LC_TRY(is_f32(at, "da", args->da, args->ds.cols, args->x.cols));
    LC_TRY(check_dropout(at, &args->dropout, args->x.rows));
    if (args->dropout.p > 0.0f) {
        LC_TRY(is_f32(at, "x_dropped", args->x_dropped, args->x.rows, args->x.cols));
    }
    return LC_OK;
}

lc_code lc_lora_dropout_backward_check(const lc_lora_dropout_backward_args *args, lc_err *err)
{
    const place at = {"lora_dropout_backward", err};
    LC_TRY(is_f32(at, "ds", args->ds, args->ds.rows, args->ds.cols));
    LC_TRY(is_weight(at, "a", args->a, args->ds.cols, args->a.cols));
    LC_TRY(is_f32(at, "product", args->product, args->ds.rows, args->a.cols));
    LC_TRY(is_f32(at, "dx", args->dx, args->ds.rows, args->a.cols));
    LC_TRY(check_dropout(at, &args->dropout, args->ds.rows));
    if (args->dropout.p <= 0.0f) {
        return lc_fail_param(
            err, LC_ERR_INTERNAL, "dropout.p",
            "lora_dropout_backward: dropout.p is 0, expected above 0 (without dropout the "
            "bordered GEMM has this term)");
    }
    return LC_OK;
}

lc_code lc_lora_publish_check(const lc_lora_publish_args *args, lc_err *err)
{
    const place at = {"lora_publish", err};
    LC_TRY(is_f32(at, "a", args->a, args->a.rows, args->a.cols));
    LC_TRY(is_f32(at, "b", args->b, args->b.rows, args->a.rows));
    LC_TRY(is_weight(at, "w_a", args->w_a, args->a.rows, args->a.cols));
    LC_TRY(is_weight(at, "w_b", args->w_b, args->b.rows, args->b.cols));
    return is_finite(at, "scale", (double)args->scale);
}

static lc_code check_head_dim(place at, int64_t head_dim, bool even)
{
    if (head_dim < 1 || head_dim > LC_MAX_HEAD_DIM || (even && head_dim % 2 != 0)) {
        return lc_fail_param(at.err, LC_ERR_INTERNAL, "head_dim",
                             "%s: head_dim is %lld, expected %s1..%d", at.op, (long long)head_dim,
                             even ? "an even number in " : "", LC_MAX_HEAD_DIM);
    }
    return LC_OK;
}

/* What the two rope ops share; q_heads and k_heads may each be 0, not both. */
static lc_code check_rope(place at, lc_mat mat, const char *field, int64_t q_heads, int64_t k_heads,
                          int64_t head_dim, const float *cosine, const float *sine)
{
    LC_TRY(is_at_least(at, "q_heads", "", q_heads, 0));
    LC_TRY(is_at_least(at, "k_heads", "", k_heads, 0));
    LC_TRY(check_head_dim(at, head_dim, true));
    LC_TRY(is_f32(at, field, mat, mat.rows, (q_heads + k_heads) * head_dim));
    if ((cosine == NULL) != (sine == NULL)) {
        return is_present(at, cosine == NULL ? "cos" : "sin", NULL);
    }
    return LC_OK;
}

lc_code lc_qk_rope_check(const lc_qk_rope_args *args, lc_err *err)
{
    const place at = {"qk_rope", err};
    LC_TRY(check_rope(at, args->x, "x", args->q_heads, args->k_heads, args->head_dim, args->cos,
                      args->sin));
    LC_TRY(is_f32(at, "y", args->y, args->x.rows, args->x.cols));
    if (args->q_norm == NULL && args->k_norm == NULL) {
        return LC_OK;
    }
    if (args->y.data == args->x.data && args->x.rows > 0) {
        return lc_fail_param(err, LC_ERR_INTERNAL, "y",
                             "qk_rope: y is x, expected other memory where there is a norm");
    }
    LC_TRY(check_eps(at, args->eps));
    return is_array(at, "rstd", args->rstd, args->x.rows);
}

lc_code lc_qk_rope_backward_check(const lc_qk_rope_backward_args *args, lc_err *err)
{
    const place at = {"qk_rope_backward", err};
    LC_TRY(check_rope(at, args->dy, "dy", args->q_heads, args->k_heads, args->head_dim, args->cos,
                      args->sin));
    if (args->q_norm == NULL && args->k_norm == NULL) {
        return LC_OK;
    }
    LC_TRY(is_f32(at, "x", args->x, args->dy.rows, args->dy.cols));
    return is_array(at, "rstd", args->rstd, args->dy.rows);
}

static lc_code check_heads(place at, int64_t heads, int64_t kv_heads, int64_t head_dim, float scale,
                           int64_t window)
{
    LC_TRY(is_at_least(at, "heads", "", heads, 1));
    LC_TRY(is_at_least(at, "kv_heads", "", kv_heads, 1));
    if (heads % kv_heads != 0) {
        return wrong(at, "heads", "", heads, "a multiple of kv_heads = ", kv_heads);
    }
    LC_TRY(check_head_dim(at, head_dim, false));
    LC_TRY(is_at_least(at, "window", "", window, 0));
    return is_finite(at, "scale", (double)scale);
}

static lc_code check_attention_shape(place at, const lc_attention_shape *shape, int64_t rows)
{
    LC_TRY(check_heads(at, shape->heads, shape->kv_heads, shape->head_dim, shape->scale,
                       shape->window));
    LC_TRY(is_at_least(at, "document_count", "", shape->document_count, rows > 0 ? 1 : 0));
    LC_TRY(is_present(at, "cu_seqlens", shape->cu_seqlens));
    LC_TRY(is_at_least(at, "shared_rows", "", shape->shared_rows, 0));
    LC_TRY(is_equal(at, "cu_seqlens", "[0]", shape->cu_seqlens[0], shape->shared_rows));
    for (int32_t i = 0; i < shape->document_count; i++) {
        if (shape->cu_seqlens[i + 1] < shape->cu_seqlens[i]) {
            return lc_fail_param(at.err, LC_ERR_INTERNAL, "cu_seqlens",
                                 "%s: cu_seqlens[%d] is %d, expected at least cu_seqlens[%d] = %d",
                                 at.op, i + 1, shape->cu_seqlens[i + 1], i, shape->cu_seqlens[i]);
        }
    }
    return is_equal(at, "cu_seqlens", " at its end", shape->cu_seqlens[shape->document_count],
                    rows);
}

lc_code lc_attention_check(const lc_attention_args *args, lc_err *err)
{
    const place at = {"attention", err};
    const lc_attention_shape *shape = &args->shape;
    LC_TRY(check_attention_shape(at, shape, args->q.rows));
    const int64_t rows = args->q.rows, width = (int64_t)shape->heads * shape->head_dim;
    const int64_t kv_width = (int64_t)shape->kv_heads * shape->head_dim;
    LC_TRY(is_f32(at, "q", args->q, rows, width));
    LC_TRY(is_f32(at, "k", args->k, rows, kv_width));
    LC_TRY(is_f32(at, "v", args->v, rows, kv_width));
    return is_f32(at, "out", args->out, rows, width);
}

lc_code lc_attention_backward_check(const lc_attention_backward_args *args, lc_err *err)
{
    const place at = {"attention_backward", err};
    const lc_attention_shape *shape = &args->shape;
    LC_TRY(check_attention_shape(at, shape, args->q.rows));
    const int64_t rows = args->q.rows, width = (int64_t)shape->heads * shape->head_dim;
    const int64_t kv_width = (int64_t)shape->kv_heads * shape->head_dim;
    LC_TRY(is_f32(at, "q", args->q, rows, width));
    LC_TRY(is_f32(at, "k", args->k, rows, kv_width));
    LC_TRY(is_f32(at, "v", args->v, rows, kv_width));
    LC_TRY(is_f32(at, "out", args->out, rows, width));
    LC_TRY(is_f32(at, "dout", args->dout, rows, width));
    LC_TRY(is_f32(at, "dq", args->dq, rows, width));
    LC_TRY(is_f32(at, "dk", args->dk, rows, kv_width));
    LC_TRY(is_f32(at, "dv", args->dv, rows, kv_width));
    LC_TRY(is_array(at, "lse", args->lse, rows));
    return is_array(at, "delta", args->delta, rows);
}

lc_code lc_attention_cached_check(const lc_attention_cached_args *args, lc_err *err)
{
    const place at = {"attention_cached", err};
    LC_TRY(check_heads(at, args->heads, args->kv_heads, args->head_dim, args->scale, args->window));
    const int64_t rows = args->q.rows, width = (int64_t)args->heads * args->head_dim;
    const int64_t kv_width = (int64_t)args->kv_heads * args->head_dim;
    LC_TRY(is_f32(at, "q", args->q, rows, width));
    LC_TRY(is_f32(at, "out", args->out, rows, width));
    LC_TRY(is_at_least(at, "slot_rows", "", args->slot_rows, 1));
    LC_TRY(is_f32(at, "k_cache", args->k_cache, args->k_cache.rows, kv_width));
    LC_TRY(is_f32(at, "v_cache", args->v_cache, args->k_cache.rows, kv_width));
    if (args->k_cache.rows % args->slot_rows != 0) {
        return wrong(at, "k_cache", ".rows", args->k_cache.rows,
                     "a multiple of slot_rows = ", args->slot_rows);
    }
    LC_TRY(is_array(at, "slots", args->slots, rows));
    return is_array(at, "positions", args->positions, rows);
}

lc_code lc_swiglu_check(const lc_swiglu_args *args, lc_err *err)
{
    const place at = {"swiglu", err};
    LC_TRY(is_f32(at, "y", args->y, args->y.rows, args->y.cols));
    return is_f32(at, "gate_up", args->gate_up, args->y.rows, 2 * args->y.cols);
}

lc_code lc_swiglu_backward_check(const lc_swiglu_backward_args *args, lc_err *err)
{
    const place at = {"swiglu_backward", err};
    LC_TRY(is_f32(at, "dy", args->dy, args->dy.rows, args->dy.cols));
    return is_f32(at, "gate_up", args->gate_up, args->dy.rows, 2 * args->dy.cols);
}

lc_code lc_gather_rows_check(const lc_gather_rows_args *args, lc_err *err)
{
    const place at = {"gather_rows", err};
    LC_TRY(is_f32(at, "x", args->x, args->x.rows, args->x.cols));
    LC_TRY(is_f32(at, "y", args->y, args->y.rows, args->x.cols));
    return is_array(at, "rows", args->rows, args->y.rows);
}

lc_code lc_scatter_rows_check(const lc_scatter_rows_args *args, lc_err *err)
{
    const place at = {"scatter_rows", err};
    LC_TRY(is_f32(at, "x", args->x, args->x.rows, args->x.cols));
    LC_TRY(is_f32(at, "y", args->y, args->y.rows, args->x.cols));
    return is_array(at, "rows", args->rows, args->x.rows);
}

lc_code lc_cross_entropy_check(const lc_cross_entropy_args *args, lc_err *err)
{
    const place at = {"cross_entropy", err};
    const int64_t rows = args->logits.rows;
    LC_TRY(is_f32(at, "logits", args->logits, rows, args->logits.cols));
    LC_TRY(is_array(at, "targets", args->targets, rows));
    LC_TRY(is_array(at, "weights", args->weights, rows));
    LC_TRY(is_array(at, "nll", args->nll, rows));
    return is_array(at, "correct", args->correct, rows);
}

lc_code lc_sum_squares_check(const lc_sum_squares_args *args, lc_err *err)
{
    const place at = {"sum_squares", err};
    LC_TRY(is_at_least(at, "count", "", args->count, 0));
    LC_TRY(is_array(at, "values", args->values, args->count));
    return is_present(at, "sum_squares", args->sum_squares);
}

static lc_code check_rate(place at, const char *field, double value, double below)
{
    if (!(value >= 0.0 && value < below)) {
        return lc_fail_param(at.err, LC_ERR_INTERNAL, field, "%s: %s is %g, expected 0 <= %s < %g",
                             at.op, field, value, field, below);
    }
    return LC_OK;
}

lc_code lc_adamw_check(const lc_adamw_args *args, lc_err *err)
{
    const place at = {"adamw", err};
    LC_TRY(is_at_least(at, "count", "", args->count, 0));
    LC_TRY(is_array(at, "param", args->param, args->count));
    LC_TRY(is_array(at, "grad", args->grad, args->count));
    LC_TRY(is_array(at, "m", args->m, args->count));
    LC_TRY(is_array(at, "v", args->v, args->count));
    LC_TRY(is_at_least(at, "t", "", args->t, 1));
    LC_TRY(check_rate(at, "beta1", args->beta1, 1.0));
    LC_TRY(check_rate(at, "beta2", args->beta2, 1.0));
    LC_TRY(check_rate(at, "lr", args->lr, HUGE_VAL));
    LC_TRY(check_rate(at, "eps", args->eps, HUGE_VAL));
    LC_TRY(check_rate(at, "weight_decay", args->weight_decay, HUGE_VAL));
    return is_finite(at, "grad_scale", args->grad_scale);
}
