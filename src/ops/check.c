/* The checks of all ops; see ops_check.h. Backends call them first, so their code may trust the
 * shapes. Compiled into every backend. */
#include "lorac/ops_check.h"

#include <math.h>

#include "lorac/mem.h"

#define F32_ONLY    (1u << LC_F32)
#define F32_OR_BF16 (1u << LC_F32 | 1u << LC_BF16)

/* The op under test. */
typedef struct place {
    const char *op;
    lc_err *err;
    const lc_op_rules *rules; /* NULL where the op has no matrices */
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
                             allowed == F32_ONLY        ? "F32"
                             : allowed == 1u << LC_BF16 ? "BF16"
                                                        : "F32 or BF16");
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
    LC_TRY(is_equal(at, field, ".strip", mat.strip, 0));
    LC_TRY(is_dtype(at, field, mat.dtype, allowed));
    int64_t bytes;
    if (!lc_mul_i64(mat.rows, mat.ld, &bytes) || !lc_mul_i64(bytes, 8, &bytes)) {
        return wrong(at, field, ".ld", mat.ld, "a matrix below 2^63 bytes, rows ", mat.rows);
    }
    return mat.rows > 0 ? is_present(at, field, mat.data) : LC_OK;
}

/* Rows that begin where the backend wants them; has_free_width: the vocabulary's. */
static lc_code is_aligned(place at, const char *field, lc_mat mat, bool has_free_width)
{
    const int64_t alignment = at.rules->alignment, bytes = (int64_t)lc_dtype_bytes(mat.dtype);
    if (mat.rows > 0 && (uintptr_t)mat.data % (uintptr_t)alignment != 0) {
        return wrong(at, field, " in memory", (int64_t)((uintptr_t)mat.data % (uintptr_t)alignment),
                     "0 bytes past a multiple of ", alignment);
    }
    if (mat.ld * bytes % alignment != 0) {
        return wrong(at, field, ".ld", mat.ld, "a multiple of ", alignment / bytes);
    }
    if (!has_free_width && mat.cols * bytes % alignment != 0) {
        return wrong(at, field, ".cols", mat.cols, "a multiple of ", alignment / bytes);
    }
    return LC_OK;
}

static lc_code is_activation(place at, const char *field, lc_mat mat, int64_t rows, int64_t cols)
{
    LC_TRY(is_mat(at, field, mat, rows, cols, 1u << at.rules->activation));
    return is_aligned(at, field, mat, false);
}

static lc_code is_logits(place at, const char *field, lc_mat mat, int64_t rows, int64_t cols)
{
    LC_TRY(is_mat(at, field, mat, rows, cols, 1u << at.rules->activation));
    return is_aligned(at, field, mat, true);
}

static lc_code is_weight(place at, const char *field, lc_mat mat, int64_t rows, int64_t cols)
{
    LC_TRY(is_mat(at, field, mat, rows, cols, at.rules->weights));
    return is_aligned(at, field, mat, false);
}

/* One that may have the backend's strip. */
static lc_code is_read_weight(place at, const char *field, lc_mat mat, int64_t rows, int64_t cols)
{
    if (mat.strip != 0) {
        LC_TRY(is_equal(at, field, ".strip", mat.strip, at.rules->strip));
        LC_TRY(is_equal(at, field, ".rows % strip", mat.rows % mat.strip, 0));
        mat.strip = 0;
    }
    return is_weight(at, field, mat, rows, cols);
}

/* Per-row arrays may be NULL in a batch without rows. */
static lc_code is_array(place at, const char *field, const void *pointer, int64_t rows)
{
    return rows > 0 ? is_present(at, field, pointer) : LC_OK;
}

lc_code lc_copy_check(lc_mat to, lc_mat from, lc_err *err)
{
    const place at = {"copy", err, NULL};
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

lc_code lc_embed_check(const lc_embed_args *args, const lc_op_rules *rules, lc_err *err)
{
    const place at = {"embed", err, rules};
    LC_TRY(is_read_weight(at, "table", args->table, args->table.rows, args->table.cols));
    LC_TRY(is_activation(at, "out", args->out, args->out.rows, args->table.cols));
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

lc_code lc_rmsnorm_check(const lc_rmsnorm_args *args, const lc_op_rules *rules, lc_err *err)
{
    const place at = {"rmsnorm", err, rules};
    LC_TRY(is_activation(at, "x", args->x, args->x.rows, args->x.cols));
    LC_TRY(is_activation(at, "y", args->y, args->x.rows, args->x.cols));
    LC_TRY(check_eps(at, args->eps));
    return is_present(at, "weight", args->weight);
}

/* What completes a gradient before the op consumes it. */
static lc_code check_dropped(place at, const lc_lora_dropout_backward_args *dropped, lc_mat dy)
{
    LC_TRY(is_activation(at, "dropped.dx", dropped->dx, dy.rows, dy.cols));
    if (dropped->dx.data != dy.data || dropped->dx.ld != dy.ld) {
        return lc_fail_param(at.err, LC_ERR_INTERNAL, "dropped.dx",
                             "%s: dropped.dx lies elsewhere than the gradient", at.op);
    }
    return lc_lora_dropout_backward_check(dropped, at.rules, at.err);
}

lc_code lc_rmsnorm_backward_check(const lc_rmsnorm_backward_args *args, const lc_op_rules *rules,
                                  lc_err *err)
{
    const place at = {"rmsnorm_backward", err, rules};
    LC_TRY(is_activation(at, "dy", args->dy, args->dy.rows, args->dy.cols));
    LC_TRY(is_activation(at, "x", args->x, args->dy.rows, args->dy.cols));
    LC_TRY(is_activation(at, "dx", args->dx, args->dy.rows, args->dy.cols));
    LC_TRY(is_array(at, "rstd", args->rstd, args->dy.rows));
    LC_TRY(is_present(at, "weight", args->weight));
    return args->dropped != NULL ? check_dropped(at, args->dropped, args->dy) : LC_OK;
}

/* `tail` of `cols` columns are a border. */
static lc_code is_border(place at, int64_t tail, int64_t cols)
{
    LC_TRY(is_at_least(at, "tail", "", tail, 0));
    return tail < cols ? LC_OK : wrong(at, "tail", "", tail, "below ", cols);
}

lc_code lc_linear_check(const lc_linear_args *args, const lc_op_rules *rules, lc_err *err)
{
    const place at = {"linear", err, rules};
    LC_TRY(is_activation(at, "x", args->x, args->x.rows, args->x.cols));
    LC_TRY(is_read_weight(at, "w", args->w, args->w.rows, args->x.cols));
    LC_TRY(is_logits(at, "y", args->y, args->x.rows, args->w.rows));
    if (args->addend.data != NULL) {
        LC_TRY(is_activation(at, "addend", args->addend, args->x.rows, args->w.rows));
    }
    return is_border(at, args->tail, args->x.cols);
}

/* p in [0, 1); with p > 0 the key and the rows' keys. */
static lc_code check_dropout(place at, const lc_dropout *dropout, int64_t rows)
{
    if (!(dropout->p >= 0.0f && dropout->p < 1.0f)) {
        return lc_fail_param(at.err, LC_ERR_INTERNAL, "dropout.p",
                             "%s: dropout.p is %g, expected 0 <= p < 1", at.op, (double)dropout->p);
    }
    if (dropout->p > 0.0f) {
        LC_TRY(is_present(at, "dropout.key", dropout->key));
        LC_TRY(is_array(at, "dropout.example", dropout->example, rows));
        LC_TRY(is_array(at, "dropout.position", dropout->position, rows));
        LC_TRY(is_at_least(at, "dropout.layer", "", dropout->layer, 0));
    }
    return LC_OK;
}

/* Slots side by side from 0 to `tail`, modules one below the other inside `out` rows. */
static lc_code check_parts(place at, const lc_lora_parts *parts, int64_t tail, int64_t out)
{
    int64_t row = 0, slot = 0;
    LC_TRY(is_at_least(at, "parts.count", "", parts->count, 1));
    if (parts->count > LC_MAX_LORA_PARTS) {
        return wrong(at, "parts.count", "", parts->count, "at most ", LC_MAX_LORA_PARTS);
    }
    for (int32_t i = 0; i < parts->count; i++) {
        const lc_lora_part *part = &parts->part[i];
        LC_TRY(is_at_least(at, "parts.row", "", part->row, row));
        LC_TRY(is_at_least(at, "parts.out", "", part->out, 1));
        LC_TRY(is_equal(at, "parts.slot", "", part->slot, slot));
        LC_TRY(is_at_least(at, "parts.width", "", part->width, 1));
        LC_TRY(is_at_least(at, "parts.module", "", part->module, 0));
        LC_TRY(is_finite(at, "parts.scale", (double)part->scale));
        row = (int64_t)part->row + part->out;
        slot += part->width;
    }
    LC_TRY(is_equal(at, "parts.width", " in all", slot, tail));
    return out >= row ? LC_OK : wrong(at, "parts.row", " at the end", row, "at most ", out);
}

#define ANY_OUT INT64_MAX /* the op does not look at the parts' rows */

/* What lora_forward says of everything but x. */
static lc_code check_lora_forward(place at, const lc_lora_forward_args *args, int64_t rows,
                                  int64_t in)
{
    LC_TRY(is_read_weight(at, "a", args->a, args->a.rows, in));
    LC_TRY(is_activation(at, "s", args->s, rows, args->a.rows));
    if (args->saved.data != NULL) {
        LC_TRY(is_activation(at, "saved", args->saved, rows, args->a.rows));
    }
    LC_TRY(check_parts(at, &args->parts, args->a.rows, ANY_OUT));
    for (int32_t i = 0; i < args->parts.count && args->a.strip != 0; i++) {
        const int32_t width = args->parts.part[i].width;
        LC_TRY(is_equal(at, "parts.width", " % strip", width % args->a.strip, 0));
    }
    LC_TRY(check_dropout(at, &args->dropout, rows));
    if (args->dropout.p > 0.0f) {
        LC_TRY(is_activation(at, "x_dropped", args->x_dropped, rows, in));
    }
    return LC_OK;
}

lc_code lc_lora_forward_check(const lc_lora_forward_args *args, const lc_op_rules *rules,
                              lc_err *err)
{
    const place at = {"lora_forward", err, rules};
    LC_TRY(is_activation(at, "x", args->x, args->x.rows, args->x.cols));
    return check_lora_forward(at, args, args->x.rows, args->x.cols);
}

/* What lora_dy says of everything but dy. */
static lc_code check_lora_dy(place at, const lc_lora_dy_args *args, int64_t rows, int64_t out)
{
    LC_TRY(is_weight(at, "sb", args->sb, out, args->sb.cols));
    LC_TRY(is_activation(at, "s", args->s, rows, args->sb.cols));
    LC_TRY(is_activation(at, "ds", args->ds, rows, args->sb.cols));
    LC_TRY(check_parts(at, &args->parts, args->sb.cols, out));
    for (int32_t i = 0; i < args->parts.count; i++) {
        LC_TRY(is_present(at, "parts.db", args->parts.part[i].db));
    }
    return LC_OK;
}

lc_code lc_lora_dy_check(const lc_lora_dy_args *args, const lc_op_rules *rules, lc_err *err)
{
    const place at = {"lora_dy", err, rules};
    LC_TRY(is_activation(at, "dy", args->dy, args->dy.rows, args->dy.cols));
    return check_lora_dy(at, args, args->dy.rows, args->dy.cols);
}

lc_code lc_linear_backward_check(const lc_linear_backward_args *args, const lc_op_rules *rules,
                                 lc_err *err)
{
    const place at = {"linear_backward", err, rules};
    const int64_t rows = args->dy.rows, cols = args->dy.cols;
    LC_TRY(is_logits(at, "dy", args->dy, rows, cols));
    LC_TRY(is_weight(at, "w", args->w, cols, args->w.cols));
    LC_TRY(is_activation(at, "dx", args->dx, rows, args->w.cols));
    LC_TRY(is_border(at, args->tail, cols));
    if (args->lora == NULL) {
        return LC_OK;
    }
    if (args->tail > 0) {
        LC_TRY(is_equal(at, "tail", "", args->tail, args->lora->ds.cols));
    }
    if (args->dx_tail.data != NULL) {
        LC_TRY(is_activation(at, "dx_tail", args->dx_tail, rows, args->lora->ds.cols));
    }
    return check_lora_dy(at, args->lora, rows, cols - args->tail);
}

lc_code lc_lora_dx_check(const lc_lora_dx_args *args, const lc_op_rules *rules, lc_err *err)
{
    const place at = {"lora_dx", err, rules};
    const int64_t rows = args->x.rows, in = args->x.cols;
    LC_TRY(is_activation(at, "x", args->x, rows, in));
    LC_TRY(is_activation(at, "ds", args->ds, rows, args->ds.cols));
    LC_TRY(is_present(at, "da", args->da));
    if (args->rstd != NULL) {
        LC_TRY(is_present(at, "norm_weight", args->norm_weight));
        LC_TRY(is_activation(at, "normed", args->normed, rows, in));
    }
    LC_TRY(check_parts(at, &args->parts, args->ds.cols, ANY_OUT));
    LC_TRY(check_dropout(at, &args->dropout, rows));
    if (args->dropout.p > 0.0f) {
        LC_TRY(is_activation(at, "x_dropped", args->x_dropped, rows, in));
    }
    return LC_OK;
}

lc_code lc_lora_dropout_backward_check(const lc_lora_dropout_backward_args *args,
                                       const lc_op_rules *rules, lc_err *err)
{
    const place at = {"lora_dropout_backward", err, rules};
    LC_TRY(is_activation(at, "ds", args->ds, args->ds.rows, args->ds.cols));
    LC_TRY(is_weight(at, "a", args->a, args->ds.cols, args->a.cols));
    LC_TRY(is_activation(at, "product", args->product, args->ds.rows, args->a.cols));
    LC_TRY(is_activation(at, "dx", args->dx, args->ds.rows, args->a.cols));
    LC_TRY(check_parts(at, &args->parts, args->ds.cols, ANY_OUT));
    LC_TRY(check_dropout(at, &args->dropout, args->ds.rows));
    if (args->dropout.p <= 0.0f) {
        return lc_fail_param(
            err, LC_ERR_INTERNAL, "dropout.p",
            "lora_dropout_backward: dropout.p is 0, expected above 0 (without dropout the "
            "bordered GEMM has this term)");
    }
    return LC_OK;
}

/* The slots lie in device memory. */
lc_code lc_lora_publish_check(const lc_lora_publish_args *args, const lc_op_rules *rules,
                              lc_err *err)
{
    const place at = {"lora_publish", err, rules};
    LC_TRY(is_at_least(at, "count", "", args->count, 0));
    LC_TRY(is_at_least(at, "most_elements", "", args->most_elements, 0));
    LC_TRY(is_dtype(at, "dtype", args->dtype, rules->weights));
    return is_array(at, "slots", args->slots, args->count);
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
    LC_TRY(is_activation(at, field, mat, mat.rows, (q_heads + k_heads) * head_dim));
    if ((cosine == NULL) != (sine == NULL)) {
        return is_present(at, cosine == NULL ? "cos" : "sin", NULL);
    }
    return LC_OK;
}

lc_code lc_qk_rope_check(const lc_qk_rope_args *args, const lc_op_rules *rules, lc_err *err)
{
    const place at = {"qk_rope", err, rules};
    LC_TRY(check_rope(at, args->x, "x", args->q_heads, args->k_heads, args->head_dim, args->cos,
                      args->sin));
    LC_TRY(is_activation(at, "y", args->y, args->x.rows, args->x.cols));
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

/* lora's dy begins with `dy`, row by row. */
static lc_code check_wide_gradient(place at, lc_mat dy, const lc_lora_dy_args *lora)
{
    LC_TRY(is_activation(at, "lora.dy", lora->dy, dy.rows, lora->dy.cols));
    LC_TRY(is_at_least(at, "lora.dy", ".cols", lora->dy.cols, dy.cols));
    LC_TRY(is_equal(at, "lora.dy", ".ld", lora->dy.ld, dy.ld));
    if (lora->dy.data != dy.data) {
        return lc_fail_param(at.err, LC_ERR_INTERNAL, "lora.dy",
                             "%s: lora.dy lies elsewhere than dy", at.op);
    }
    return check_lora_dy(at, lora, dy.rows, lora->dy.cols);
}

lc_code lc_qk_rope_backward_check(const lc_qk_rope_backward_args *args, const lc_op_rules *rules,
                                  lc_err *err)
{
    const place at = {"qk_rope_backward", err, rules};
    LC_TRY(check_rope(at, args->dy, "dy", args->q_heads, args->k_heads, args->head_dim, args->cos,
                      args->sin));
    if (args->lora != NULL) {
        LC_TRY(check_wide_gradient(at, args->dy, args->lora));
    }
    if (args->q_norm == NULL && args->k_norm == NULL) {
        return LC_OK;
    }
    LC_TRY(is_activation(at, "x", args->x, args->dy.rows, args->dy.cols));
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

static lc_code check_attention_shape(place at, const lc_attention_shape *attention, int64_t rows)
{
    const lc_documents *shape = &attention->documents;
    LC_TRY(check_heads(at, attention->heads, attention->kv_heads, attention->head_dim,
                       attention->scale, attention->window));
    LC_TRY(is_at_least(at, "documents.count", "", shape->count, rows > 0 ? 1 : 0));
    LC_TRY(is_present(at, "cu_seqlens", shape->cu_seqlens));
    LC_TRY(is_at_least(at, "shared_rows", "", shape->shared_rows, 0));
    LC_TRY(is_equal(at, "cu_seqlens", "[0]", shape->cu_seqlens[0], shape->shared_rows));
    for (int32_t i = 0; i < shape->count; i++) {
        if (shape->cu_seqlens[i + 1] < shape->cu_seqlens[i]) {
            return lc_fail_param(at.err, LC_ERR_INTERNAL, "cu_seqlens",
                                 "%s: cu_seqlens[%d] is %d, expected at least cu_seqlens[%d] = %d",
                                 at.op, i + 1, shape->cu_seqlens[i + 1], i, shape->cu_seqlens[i]);
        }
    }
    const int32_t end = shape->cu_seqlens[shape->count];
    return attention->layout != NULL && end <= rows
               ? LC_OK
               : is_equal(at, "cu_seqlens", " at its end", end, rows);
}

lc_code lc_attention_check(const lc_attention_args *args, const lc_op_rules *rules, lc_err *err)
{
    const place at = {"attention", err, rules};
    const lc_attention_shape *shape = &args->shape;
    LC_TRY(check_attention_shape(at, shape, args->q.rows));
    const int64_t rows = args->q.rows, width = (int64_t)shape->heads * shape->head_dim;
    const int64_t kv_width = (int64_t)shape->kv_heads * shape->head_dim;
    LC_TRY(is_activation(at, "q", args->q, rows, width));
    LC_TRY(is_activation(at, "k", args->k, rows, kv_width));
    LC_TRY(is_activation(at, "v", args->v, rows, kv_width));
    return is_activation(at, "out", args->out, rows, width);
}

lc_code lc_attention_backward_check(const lc_attention_backward_args *args,
                                    const lc_op_rules *rules, lc_err *err)
{
    const place at = {"attention_backward", err, rules};
    const lc_attention_shape *shape = &args->shape;
    LC_TRY(check_attention_shape(at, shape, args->q.rows));
    const int64_t rows = args->q.rows, width = (int64_t)shape->heads * shape->head_dim;
    const int64_t kv_width = (int64_t)shape->kv_heads * shape->head_dim;
    LC_TRY(is_activation(at, "q", args->q, rows, width));
    LC_TRY(is_activation(at, "k", args->k, rows, kv_width));
    LC_TRY(is_activation(at, "v", args->v, rows, kv_width));
    LC_TRY(is_activation(at, "out", args->out, rows, width));
    LC_TRY(is_activation(at, "dout", args->dout, rows, width));
    LC_TRY(is_activation(at, "dq", args->dq, rows, width));
    LC_TRY(is_activation(at, "dk", args->dk, rows, kv_width));
    LC_TRY(is_activation(at, "dv", args->dv, rows, kv_width));
    LC_TRY(is_array(at, "lse", args->lse, rows));
    if (args->dropped != NULL) {
        LC_TRY(check_dropped(at, args->dropped, args->dout));
    }
    return is_array(at, "delta", args->delta, rows);
}

/* Keys, whose strips begin with the slots, and values. */
static lc_code check_caches(place at, lc_mat k_cache, lc_mat v_cache, int64_t slot_rows,
                            int64_t width)
{
    const int64_t rows = k_cache.rows;
    LC_TRY(is_at_least(at, "slot_rows", "", slot_rows, 1));
    if (k_cache.strip != 0) {
        LC_TRY(is_equal(at, "k_cache", ".strip", k_cache.strip, at.rules->strip));
        LC_TRY(is_equal(at, "slot_rows", " % strip", slot_rows % k_cache.strip, 0));
        k_cache.strip = 0;
    }
    LC_TRY(is_activation(at, "k_cache", k_cache, rows, width));
    LC_TRY(is_activation(at, "v_cache", v_cache, rows, width));
    return rows % slot_rows == 0
               ? LC_OK
               : wrong(at, "k_cache", ".rows", rows, "a multiple of slot_rows = ", slot_rows);
}

lc_code lc_cache_append_check(const lc_cache_append_args *args, const lc_op_rules *rules,
                              lc_err *err)
{
    const place at = {"cache_append", err, rules};
    const int64_t rows = args->k.rows, width = args->k.cols;
    LC_TRY(is_activation(at, "k", args->k, rows, width));
    LC_TRY(is_activation(at, "v", args->v, rows, width));
    LC_TRY(check_caches(at, args->k_cache, args->v_cache, args->slot_rows, width));
    LC_TRY(is_array(at, "slots", args->slots, rows));
    return is_array(at, "positions", args->positions, rows);
}

lc_code lc_attention_cached_check(const lc_attention_cached_args *args, const lc_op_rules *rules,
                                  lc_err *err)
{
    const place at = {"attention_cached", err, rules};
    LC_TRY(check_heads(at, args->heads, args->kv_heads, args->head_dim, args->scale, args->window));
    const int64_t rows = args->q.rows, width = (int64_t)args->heads * args->head_dim;
    const int64_t kv_width = (int64_t)args->kv_heads * args->head_dim;
    LC_TRY(is_activation(at, "q", args->q, rows, width));
    LC_TRY(is_activation(at, "out", args->out, rows, width));
    LC_TRY(check_caches(at, args->k_cache, args->v_cache, args->slot_rows, kv_width));
    LC_TRY(is_array(at, "slots", args->slots, rows));
    return is_array(at, "positions", args->positions, rows);
}

lc_code lc_swiglu_check(const lc_swiglu_args *args, const lc_op_rules *rules, lc_err *err)
{
    const place at = {"swiglu", err, rules};
    LC_TRY(is_activation(at, "y", args->y, args->y.rows, args->y.cols));
    LC_TRY(is_activation(at, "gate_up", args->gate_up, args->y.rows, 2 * args->y.cols));
    return args->lora != NULL ? check_lora_forward(at, args->lora, args->y.rows, args->y.cols)
                              : LC_OK;
}

lc_code lc_swiglu_backward_check(const lc_swiglu_backward_args *args, const lc_op_rules *rules,
                                 lc_err *err)
{
    const place at = {"swiglu_backward", err, rules};
    const int64_t rows = args->dy.rows, mlp = args->dy.cols;
    LC_TRY(is_activation(at, "dy", args->dy, rows, mlp));
    LC_TRY(is_activation(at, "gate_up", args->gate_up, rows, 2 * mlp));
    if (args->lora_down != NULL) {
        LC_TRY(is_activation(at, "lora_down.x", args->lora_down->x, rows, mlp));
        LC_TRY(lc_lora_dx_check(args->lora_down, rules, err));
    }
    if (args->dropped != NULL) {
        LC_TRY(check_dropped(at, args->dropped, args->dy));
    }
    return args->lora_gate_up != NULL ? check_lora_dy(at, args->lora_gate_up, rows, 2 * mlp)
                                      : LC_OK;
}

lc_code lc_gather_rows_check(const lc_gather_rows_args *args, const lc_op_rules *rules, lc_err *err)
{
    const place at = {"gather_rows", err, rules};
    LC_TRY(is_activation(at, "x", args->x, args->x.rows, args->x.cols));
    LC_TRY(is_activation(at, "y", args->y, args->y.rows, args->x.cols));
    return is_array(at, "rows", args->rows, args->y.rows);
}

lc_code lc_scatter_rows_check(const lc_scatter_rows_args *args, const lc_op_rules *rules,
                              lc_err *err)
{
    const place at = {"scatter_rows", err, rules};
    LC_TRY(is_activation(at, "x", args->x, args->x.rows, args->x.cols));
    LC_TRY(is_activation(at, "y", args->y, args->y.rows, args->x.cols));
    return is_array(at, "rows", args->rows, args->x.rows);
}

lc_code lc_cross_entropy_check(const lc_cross_entropy_args *args, const lc_op_rules *rules,
                               lc_err *err)
{
    const place at = {"cross_entropy", err, rules};
    const int64_t rows = args->logits.rows;
    LC_TRY(is_logits(at, "logits", args->logits, rows, args->logits.cols));
    LC_TRY(is_array(at, "targets", args->targets, rows));
    LC_TRY(is_array(at, "weights", args->weights, rows));
    LC_TRY(is_array(at, "nll", args->nll, rows));
    return is_array(at, "correct", args->correct, rows);
}

lc_code lc_sample_check(const lc_sample_args *args, const lc_op_rules *rules, lc_err *err)
{
    const place at = {"sample", err, rules};
    const int64_t rows = args->logits.rows;
    LC_TRY(is_logits(at, "logits", args->logits, rows, args->logits.cols));
    if (args->logits.cols > LC_MAX_SAMPLE_VOCAB) {
        return wrong(at, "logits", ".cols", args->logits.cols, "at most ", LC_MAX_SAMPLE_VOCAB);
    }
    LC_TRY(is_array(at, "rows", args->rows, rows));
    LC_TRY(is_array(at, "positions", args->positions, rows));
    return is_array(at, "ids", args->ids, rows);
}

static lc_code check_rotation(place at, const char *field, lc_mat table, const float *rows)
{
    LC_TRY(is_present(at, field, rows));
    LC_TRY(is_mat(at, field, table, table.rows, table.cols, F32_ONLY));
    LC_TRY(is_at_least(at, field, ".rows", table.rows, 1));
    return is_equal(at, field, ".ld", table.ld, table.cols);
}

lc_code lc_advance_check(const lc_advance_args *args, lc_err *err)
{
    const place at = {"advance", err, NULL};
    LC_TRY(is_at_least(at, "count", "", args->count, 0));
    LC_TRY(is_array(at, "chosen", args->chosen, args->count));
    LC_TRY(is_array(at, "slots", args->slots, args->count));
    LC_TRY(is_array(at, "chosen_positions", args->chosen_positions, args->count));
    LC_TRY(is_array(at, "ids", args->ids, args->count));
    LC_TRY(is_array(at, "positions", args->positions, args->count));
    LC_TRY(is_array(at, "row_slots", args->row_slots, args->count));
    LC_TRY(is_array(at, "rows", args->rows, args->count));
    if (args->cos == NULL && args->sin == NULL) {
        return LC_OK;
    }
    LC_TRY(check_rotation(at, "cos", args->cos_by_position, args->cos));
    LC_TRY(check_rotation(at, "sin", args->sin_by_position, args->sin));
    LC_TRY(is_equal(at, "sin", ".rows", args->sin_by_position.rows, args->cos_by_position.rows));
    return is_equal(at, "sin", ".cols", args->sin_by_position.cols, args->cos_by_position.cols);
}

lc_code lc_add_sums_check(const lc_add_sums_args *args, lc_err *err)
{
    const place at = {"add_sums", err, NULL};
    LC_TRY(is_at_least(at, "count", "", args->count, 0));
    LC_TRY(is_array(at, "nll", args->nll, args->count));
    LC_TRY(is_array(at, "correct", args->correct, args->count));
    LC_TRY(is_array(at, "weights", args->weights, args->count));
    return is_present(at, "sums", args->sums);
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
    const place at = {"adamw", err, NULL};
    LC_TRY(is_at_least(at, "count", "", args->count, 0));
    LC_TRY(is_array(at, "param", args->param, args->count));
    LC_TRY(is_array(at, "grad", args->grad, args->count));
    LC_TRY(is_array(at, "m", args->m, args->count));
    LC_TRY(is_array(at, "v", args->v, args->count));
    LC_TRY(check_rate(at, "clip", args->clip, HUGE_VAL));
    LC_TRY(check_rate(at, "beta1", args->beta1, 1.0));
    LC_TRY(check_rate(at, "beta2", args->beta2, 1.0));
    LC_TRY(check_rate(at, "eps", args->eps, HUGE_VAL));
    LC_TRY(check_rate(at, "weight_decay", args->weight_decay, HUGE_VAL));
    LC_TRY(is_present(at, "sums", args->sums));
    LC_TRY(is_present(at, "values", args->values));
    return is_present(at, "update", args->update);
}
