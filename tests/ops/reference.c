/* The ops in double precision; see reference.h. */
#include "reference.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "testing.h"

double ref_get(lc_mat mat, int64_t row, int64_t col)
{
    assert(row >= 0 && row < mat.rows && col >= 0 && col < mat.cols);
    const int64_t at = lc_mat_at(mat, row, col);
    switch (mat.dtype) {
    case LC_F64:
        return ((const double *)mat.data)[at];
    case LC_F32:
        return (double)((const float *)mat.data)[at];
    case LC_BF16:
        return (double)lc_bf16_to_f32(((const uint16_t *)mat.data)[at]);
    case LC_I32:
        return (double)((const int32_t *)mat.data)[at];
    default:
        abort();
    }
}

void ref_put(lc_mat mat, int64_t row, int64_t col, double value)
{
    assert(row >= 0 && row < mat.rows && col >= 0 && col < mat.cols);
    const int64_t at = lc_mat_at(mat, row, col);
    switch (mat.dtype) {
    case LC_F64:
        ((double *)mat.data)[at] = value;
        break;
    case LC_F32:
        ((float *)mat.data)[at] = (float)value;
        break;
    case LC_BF16:
        ((uint16_t *)mat.data)[at] = lc_f32_to_bf16((float)value);
        break;
    default:
        abort();
    }
}

static void add_to(lc_mat mat, int64_t row, int64_t col, double value)
{
    ref_put(mat, row, col, ref_get(mat, row, col) + value);
}

/* Factor of feature `col` in row `row`: 0 or 1/(1-p). */
static double keep(const lc_dropout *dropout, int32_t module, int64_t row, int64_t col)
{
    if (dropout->p <= 0.0f) {
        return 1.0;
    }
    const uint32_t counter[4] = {(uint32_t)dropout->example[row], (uint32_t)dropout->position[row],
                                 (uint32_t)(dropout->layer * 7 + module), (uint32_t)(col / 4)};
    uint32_t words[4];
    lc_philox(dropout->key, counter, words);
    return (double)words[col % 4] < (double)dropout->p * 4294967296.0
               ? 0.0
               : 1.0 / (1.0 - (double)dropout->p);
}

void ref_embed(const lc_embed_args *args)
{
    for (int64_t i = 0; i < args->out.rows; i++) {
        for (int64_t j = 0; j < args->out.cols; j++) {
            ref_put(args->out, i, j, ref_get(args->table, args->ids[i], j));
        }
    }
}

/* 1/sqrt(mean(x^2) + eps) over columns first..first+count-1 of a row. */
static double reciprocal_rms(lc_mat x, int64_t row, int64_t first, int64_t count, double eps)
{
    double sum = 0.0;
    for (int64_t j = first; j < first + count; j++) {
        sum += ref_get(x, row, j) * ref_get(x, row, j);
    }
    return 1.0 / sqrt(sum / (double)count + eps);
}

void ref_rmsnorm(const lc_rmsnorm_args *args)
{
    for (int64_t i = 0; i < args->x.rows; i++) {
        const double rstd = reciprocal_rms(args->x, i, 0, args->x.cols, (double)args->eps);
        for (int64_t j = 0; j < args->x.cols; j++) {
            ref_put(args->y, i, j, ref_get(args->x, i, j) * rstd * (double)args->weight[j]);
        }
        if (args->rstd != NULL) {
            args->rstd[i] = (float)rstd;
        }
    }
}

/* Gradient of column `col` of a norm over columns first..first+count-1, dy given as w*dy per
 * column. */
static double norm_gradient(lc_mat x, const double *weighted, int64_t row, int64_t first,
                            int64_t count, double rstd, int64_t col)
{
    double mean = 0.0;
    for (int64_t j = 0; j < count; j++) {
        mean += weighted[j] * ref_get(x, row, first + j) / (double)count;
    }
    return rstd * (weighted[col] - ref_get(x, row, first + col) * rstd * rstd * mean);
}

void ref_rmsnorm_backward(const lc_rmsnorm_backward_args *args, double eps)
{
    const int64_t count = args->x.cols;
    double *weighted = calloc((size_t)count, sizeof *weighted);
    assert(weighted != NULL);
    for (int64_t i = 0; i < args->x.rows; i++) {
        const double rstd = reciprocal_rms(args->x, i, 0, count, eps);
        for (int64_t j = 0; j < count; j++) {
            weighted[j] = (double)args->weight[j] * ref_get(args->dy, i, j);
        }
        for (int64_t j = 0; j < count; j++) {
            add_to(args->dx, i, j, norm_gradient(args->x, weighted, i, 0, count, rstd, j));
        }
    }
    free(weighted);
}

void ref_linear(const lc_linear_args *args)
{
    const lc_mat bias = {
        (void *)(uintptr_t)args->bias, 1, args->w.rows, args->w.rows, args->y.dtype, 0};
    for (int64_t i = 0; i < args->x.rows; i++) {
        for (int64_t j = 0; j < args->w.rows; j++) {
            double sum = args->bias != NULL ? ref_get(bias, 0, j) : 0.0;
            if (args->addend.data != NULL) {
                sum += ref_get(args->addend, i, j);
            }
            for (int64_t k = 0; k < args->x.cols; k++) {
                sum += ref_get(args->x, i, k) * ref_get(args->w, j, k);
            }
            ref_put(args->y, i, j, sum);
        }
    }
}

void ref_linear_backward(const lc_linear_backward_args *args)
{
    if (args->lora != NULL) {
        lc_lora_dy_args lora = *args->lora;
        lora.dy = args->dy;
        lora.dy.cols -= args->tail;
        ref_lora_dy(&lora);
        for (int64_t i = 0; i < args->dx.rows && args->dx_tail.data != NULL; i++) {
            for (int64_t r = 0; r < args->dx_tail.cols; r++) {
                ref_put(args->dx_tail, i, r, 0.0);
            }
        }
    }
    for (int64_t i = 0; i < args->dy.rows; i++) {
        for (int64_t k = 0; k < args->w.cols; k++) {
            double sum = args->accumulate ? ref_get(args->dx, i, k) : 0.0;
            for (int64_t j = 0; j < args->dy.cols; j++) {
                sum += ref_get(args->dy, i, j) * ref_get(args->w, j, k);
            }
            ref_put(args->dx, i, k, sum);
        }
    }
}

void ref_lora_forward(const lc_lora_forward_args *args)
{
    for (int32_t p = 0; p < args->parts.count; p++) {
        const lc_lora_part *part = &args->parts.part[p];
        for (int64_t i = 0; i < args->x.rows; i++) {
            for (int64_t r = part->slot; r < part->slot + part->width; r++) {
                double sum = 0.0;
                for (int64_t j = 0; j < args->x.cols; j++) {
                    sum += ref_get(args->x, i, j) * keep(&args->dropout, part->module, i, j) *
                           ref_get(args->a, r, j);
                }
                ref_put(args->s, i, r, sum);
                if (args->saved.data != NULL) {
                    ref_put(args->saved, i, r, sum);
                }
            }
        }
    }
}

void ref_lora_dy(const lc_lora_dy_args *args)
{
    for (int32_t p = 0; p < args->parts.count; p++) {
        const lc_lora_part *part = &args->parts.part[p];
        for (int64_t r = part->slot; r < part->slot + part->width; r++) {
            for (int64_t i = 0; i < args->dy.rows; i++) {
                double sum = 0.0;
                for (int64_t j = part->row; j < part->row + part->out; j++) {
                    sum += ref_get(args->dy, i, j) * ref_get(args->sb, j, r);
                }
                ref_put(args->ds, i, r, sum);
            }
            for (int64_t j = 0; j < part->out; j++) {
                double sum = 0.0;
                for (int64_t i = 0; i < args->dy.rows; i++) {
                    sum += ref_get(args->dy, i, part->row + j) * ref_get(args->s, i, r);
                }
                float *db = &part->db[j * part->width + r - part->slot];
                *db = (float)((double)*db + (double)part->scale * sum);
            }
        }
    }
}

void ref_lora_dx(const lc_lora_dx_args *args)
{
    const int64_t in = args->x.cols;
    for (int32_t p = 0; p < args->parts.count; p++) {
        const lc_lora_part *part = &args->parts.part[p];
        for (int64_t k = part->slot * in; k < (part->slot + part->width) * in; k++) {
            const int64_t r = k / in, j = k % in;
            double sum = 0.0;
            for (int64_t i = 0; i < args->x.rows; i++) {
                const double norm =
                    args->rstd != NULL ? (double)args->rstd[i] * (double)args->norm_weight[j] : 1.0;
                sum += ref_get(args->ds, i, r) * ref_get(args->x, i, j) * norm *
                       keep(&args->dropout, part->module, i, j);
            }
            args->da[k] = (float)((double)args->da[k] + sum);
        }
    }
}

void ref_lora_dropout_backward(const lc_lora_dropout_backward_args *args)
{
    for (int32_t p = 0; p < args->parts.count; p++) {
        const lc_lora_part *part = &args->parts.part[p];
        for (int64_t i = 0; i < args->ds.rows; i++) {
            for (int64_t j = 0; j < args->a.cols; j++) {
                double sum = 0.0;
                for (int64_t r = part->slot; r < part->slot + part->width; r++) {
                    sum += ref_get(args->ds, i, r) * ref_get(args->a, r, j);
                }
                add_to(args->dx, i, j, sum * keep(&args->dropout, part->module, i, j));
            }
        }
    }
}

void ref_publish_slot(const lc_publish_slot *slot, lc_mat w_a, lc_mat w_b)
{
    for (int64_t k = 0; k < (int64_t)slot->width * slot->in; k++) {
        ref_put(w_a, k / slot->in, k % slot->in, (double)slot->a[k]);
    }
    for (int64_t k = 0; k < (int64_t)slot->out * slot->width; k++) {
        ref_put(w_b, k / slot->width, k % slot->width, (double)slot->b[k] * (double)slot->scale);
    }
}

/* Rotates the pair (d, d + D/2) by the angle of row `row`, direction -1 backwards. */
static void rotate_head(double *values, int64_t row, int64_t dim, const float *cosine,
                        const float *sine, double direction)
{
    const int64_t half = dim / 2;
    for (int64_t d = 0; d < half; d++) {
        const double c = (double)cosine[row * half + d],
                     s = direction * (double)sine[row * half + d];
        const double a = values[d], b = values[d + half];
        values[d] = a * c - b * s;
        values[d + half] = b * c + a * s;
    }
}

void ref_qk_rope(const lc_qk_rope_args *args)
{
    const int64_t heads = args->q_heads + args->k_heads, dim = args->head_dim;
    double values[512];
    for (int64_t i = 0; i < args->x.rows; i++) {
        for (int64_t head = 0; head < heads; head++) {
            const float *norm = head < args->q_heads ? args->q_norm : args->k_norm;
            const double rstd = reciprocal_rms(args->x, i, head * dim, dim, (double)args->eps);
            for (int64_t d = 0; d < dim; d++) {
                values[d] = ref_get(args->x, i, head * dim + d);
                if (norm != NULL) {
                    values[d] *= rstd * (double)norm[d];
                    args->rstd[i * heads + head] = (float)rstd;
                }
            }
            if (args->cos != NULL) {
                rotate_head(values, i, dim, args->cos, args->sin, 1.0);
            }
            for (int64_t d = 0; d < dim; d++) {
                ref_put(args->y, i, head * dim + d, values[d]);
            }
        }
    }
}

void ref_qk_rope_backward(const lc_qk_rope_backward_args *args, double eps)
{
    const int64_t heads = args->q_heads + args->k_heads, dim = args->head_dim;
    double values[512];
    for (int64_t i = 0; i < args->dy.rows; i++) {
        for (int64_t head = 0; head < heads; head++) {
            const float *norm = head < args->q_heads ? args->q_norm : args->k_norm;
            for (int64_t d = 0; d < dim; d++) {
                values[d] = ref_get(args->dy, i, head * dim + d);
            }
            if (args->cos != NULL) {
                rotate_head(values, i, dim, args->cos, args->sin, -1.0);
            }
            for (int64_t d = 0; norm != NULL && d < dim; d++) {
                values[d] *= (double)norm[d];
            }
            for (int64_t d = 0; d < dim; d++) {
                double value = values[d];
                if (norm != NULL) {
                    const double rstd = reciprocal_rms(args->x, i, head * dim, dim, eps);
                    value = norm_gradient(args->x, values, i, head * dim, dim, rstd, d);
                }
                ref_put(args->dy, i, head * dim + d, value);
            }
        }
    }
}

static double head_dot(lc_mat a, int64_t i, int64_t head_a, lc_mat b, int64_t j, int64_t head_b,
                       int64_t dim)
{
    double sum = 0.0;
    for (int64_t d = 0; d < dim; d++) {
        sum += ref_get(a, i, head_a * dim + d) * ref_get(b, j, head_b * dim + d);
    }
    return sum;
}

/* Rows of the keys that one query sees, in order; `p` and `dp` have room for as many numbers. */
typedef struct sight {
    int64_t count;
    int64_t *rows;
    double *p, *dp;
} sight;

static sight new_sight(int64_t capacity)
{
    const sight s = {.rows = calloc((size_t)capacity, sizeof *s.rows),
                     .p = calloc((size_t)capacity, sizeof *s.p),
                     .dp = calloc((size_t)capacity, sizeof *s.dp)};
    assert(s.rows != NULL && s.p != NULL && s.dp != NULL);
    return s;
}

static void free_sight(sight *s)
{
    free(s->rows);
    free(s->p);
    free(s->dp);
}

/* Rows first..last come into sight. */
static void see(sight *s, int64_t first, int64_t last)
{
    for (int64_t j = first; j <= last; j++) {
        s->rows[s->count++] = j;
    }
}

/* Of those in sight only the last `window` stay; 0: all. */
static void narrow(sight *s, int64_t window)
{
    const int64_t gone = window > 0 && s->count > window ? s->count - window : 0;
    s->count -= gone;
    memmove(s->rows, s->rows + gone, (size_t)s->count * sizeof *s->rows);
}

/* One query's attention over the keys in sight; p gets the probabilities, the result is the log sum
 * exp. */
static double probabilities(lc_mat q, int64_t i, int64_t head, lc_mat k, int64_t kv_head,
                            int64_t dim, double scale, sight *s)
{
    double most = -INFINITY, sum = 0.0;
    for (int64_t j = 0; j < s->count; j++) {
        s->p[j] = scale * head_dot(q, i, head, k, s->rows[j], kv_head, dim);
        most = fmax(most, s->p[j]);
    }
    for (int64_t j = 0; j < s->count; j++) {
        sum += exp(s->p[j] - most);
    }
    const double lse = most + log(sum);
    for (int64_t j = 0; j < s->count; j++) {
        s->p[j] = exp(s->p[j] - lse);
    }
    return lse;
}

static void weighted_values(lc_mat v, int64_t kv_head, int64_t dim, const sight *s, lc_mat out,
                            int64_t i, int64_t head)
{
    for (int64_t d = 0; d < dim; d++) {
        double sum = 0.0;
        for (int64_t j = 0; j < s->count; j++) {
            sum += s->p[j] * ref_get(v, s->rows[j], kv_head * dim + d);
        }
        ref_put(out, i, head * dim + d, sum);
    }
}

/* The keys of batch row i: the common beginning, then its own document, up to itself. */
static void look(const lc_attention_shape *shape, int64_t i, sight *s)
{
    s->count = 0;
    if (i < shape->documents.shared_rows) {
        see(s, 0, i);
    } else {
        int32_t document = 0;
        while (shape->documents.cu_seqlens[document + 1] <= i) {
            document++;
        }
        see(s, 0, shape->documents.shared_rows - 1);
        see(s, shape->documents.cu_seqlens[document], i);
    }
    narrow(s, shape->window);
}

void ref_attention(const lc_attention_args *args)
{
    const lc_attention_shape *shape = &args->shape;
    sight s = new_sight(args->q.rows + 1);
    for (int64_t i = 0; i < args->q.rows; i++) {
        look(shape, i, &s);
        for (int64_t head = 0; head < shape->heads; head++) {
            const int64_t kv_head = head / (shape->heads / shape->kv_heads);
            const double lse = probabilities(args->q, i, head, args->k, kv_head, shape->head_dim,
                                             (double)shape->scale, &s);
            weighted_values(args->v, kv_head, shape->head_dim, &s, args->out, i, head);
            if (args->lse != NULL) {
                args->lse[i * shape->heads + head] = (float)lse;
            }
        }
    }
    free_sight(&s);
}

static void zero(lc_mat mat)
{
    for (int64_t i = 0; i < mat.rows; i++) {
        for (int64_t j = 0; j < mat.cols; j++) {
            ref_put(mat, i, j, 0.0);
        }
    }
}

/* The softmax's own Jacobian, without the delta trick: ds_j = p_j (dp_j - sum_l p_l dp_l). */
static void query_gradient(const lc_attention_backward_args *args, int64_t i, int64_t head,
                           sight *s)
{
    const lc_attention_shape *shape = &args->shape;
    const int64_t dim = shape->head_dim, kv_head = head / (shape->heads / shape->kv_heads);
    (void)probabilities(args->q, i, head, args->k, kv_head, dim, (double)shape->scale, s);
    double mean = 0.0;
    for (int64_t j = 0; j < s->count; j++) {
        s->dp[j] = head_dot(args->dout, i, head, args->v, s->rows[j], kv_head, dim);
        mean += s->p[j] * s->dp[j];
    }
    for (int64_t j = 0; j < s->count; j++) {
        const double ds = (double)shape->scale * s->p[j] * (s->dp[j] - mean);
        for (int64_t d = 0; d < dim; d++) {
            const int64_t at = head * dim + d, kv_at = kv_head * dim + d;
            add_to(args->dq, i, at, ds * ref_get(args->k, s->rows[j], kv_at));
            add_to(args->dk, s->rows[j], kv_at, ds * ref_get(args->q, i, at));
            add_to(args->dv, s->rows[j], kv_at, s->p[j] * ref_get(args->dout, i, at));
        }
    }
}

void ref_attention_backward(const lc_attention_backward_args *args)
{
    sight s = new_sight(args->q.rows + 1);
    zero(args->dq);
    zero(args->dk);
    zero(args->dv);
    for (int64_t i = 0; i < args->q.rows; i++) {
        look(&args->shape, i, &s);
        for (int64_t head = 0; head < args->shape.heads; head++) {
            query_gradient(args, i, head, &s);
        }
    }
    free_sight(&s);
}

void ref_attention_cached(const lc_attention_cached_args *args)
{
    sight s = new_sight(args->slot_rows);
    for (int64_t i = 0; i < args->q.rows; i++) {
        const int64_t base = args->slots[i] * args->slot_rows;
        for (int64_t j = 0; args->slots[i] < 0 && j < args->out.cols; j++) {
            ref_put(args->out, i, j, 0.0);
        }
        if (args->slots[i] < 0) {
            continue;
        }
        s.count = 0;
        see(&s, base, base + args->positions[i]);
        narrow(&s, args->window);
        for (int64_t head = 0; head < args->heads; head++) {
            const int64_t kv_head = head / (args->heads / args->kv_heads);
            (void)probabilities(args->q, i, head, args->k_cache, kv_head, args->head_dim,
                                (double)args->scale, &s);
            weighted_values(args->v_cache, kv_head, args->head_dim, &s, args->out, i, head);
        }
    }
    free_sight(&s);
}

void ref_cache_append(const lc_cache_append_args *args)
{
    for (int64_t i = 0; i < args->k.rows; i++) {
        const int64_t row = args->slots[i] * args->slot_rows + args->positions[i];
        for (int64_t j = 0; args->slots[i] >= 0 && j < args->k.cols; j++) {
            ref_put(args->k_cache, row, j, ref_get(args->k, i, j));
            ref_put(args->v_cache, row, j, ref_get(args->v, i, j));
        }
    }
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

void ref_swiglu(const lc_swiglu_args *args)
{
    const int64_t width = args->y.cols;
    for (int64_t i = 0; i < args->y.rows; i++) {
        for (int64_t j = 0; j < width; j++) {
            const double gate = ref_get(args->gate_up, i, j);
            ref_put(args->y, i, j, gate * sigmoid(gate) * ref_get(args->gate_up, i, width + j));
        }
    }
}

void ref_swiglu_backward(const lc_swiglu_backward_args *args)
{
    const int64_t width = args->dy.cols;
    for (int64_t i = 0; i < args->dy.rows; i++) {
        for (int64_t j = 0; j < width; j++) {
            const double gate = ref_get(args->gate_up, i, j),
                         up = ref_get(args->gate_up, i, width + j);
            const double s = sigmoid(gate), dy = ref_get(args->dy, i, j);
            ref_put(args->gate_up, i, j, dy * up * (s + gate * s * (1.0 - s)));
            ref_put(args->gate_up, i, width + j, dy * gate * s);
        }
    }
}

void ref_gather_rows(const lc_gather_rows_args *args)
{
    for (int64_t m = 0; m < args->y.rows; m++) {
        for (int64_t j = 0; j < args->y.cols; j++) {
            ref_put(args->y, m, j, args->rows[m] < 0 ? 0.0 : ref_get(args->x, args->rows[m], j));
        }
    }
}

void ref_scatter_rows(const lc_scatter_rows_args *args)
{
    zero(args->y);
    for (int64_t m = 0; m < args->x.rows; m++) {
        for (int64_t j = 0; args->rows[m] >= 0 && j < args->x.cols; j++) {
            ref_put(args->y, args->rows[m], j, ref_get(args->x, m, j));
        }
    }
}

void ref_cross_entropy(const lc_cross_entropy_args *args, double *nll_exact)
{
    const int64_t width = args->logits.cols;
    for (int64_t m = 0; m < args->logits.rows; m++) {
        double sum = 0.0;
        int64_t best = 0;
        for (int64_t j = 1; j < width; j++) {
            best = ref_get(args->logits, m, j) > ref_get(args->logits, m, best) ? j : best;
        }
        const double most = ref_get(args->logits, m, best);
        for (int64_t j = 0; j < width; j++) {
            sum += exp(ref_get(args->logits, m, j) - most);
        }
        const double lse = most + log(sum), nll = lse - ref_get(args->logits, m, args->targets[m]);
        args->nll[m] = (float)nll;
        args->correct[m] = best == args->targets[m] ? 1.0f : 0.0f;
        if (nll_exact != NULL) {
            nll_exact[m] = nll;
        }
        for (int64_t j = 0; args->gradient && j < width; j++) {
            const double onehot = j == args->targets[m] ? 1.0 : 0.0;
            const double p = exp(ref_get(args->logits, m, j) - lse);
            ref_put(args->logits, m, j, (double)args->weights[m] * (p - onehot));
        }
    }
}

/* ---- choosing tokens: by sorting all of them ---- */

__extension__ typedef unsigned __int128 wide;

typedef struct candidate {
    int32_t id;
    uint32_t q;
    uint64_t weight;
} candidate;

static candidate candidate_of(int32_t id, float y)
{
    static const uint32_t terms[] = {LC_EXP2_TERMS};
    candidate found = {.id = id, .q = UINT32_MAX};
    if (y >= 44.0f) {
        return found;
    }
    found.q = (uint32_t)((double)y * 67108864.0);
    const wide f = (wide)(found.q % 67108864) << 6; /* in 2^-32 */
    wide p = 0;
    for (int k = LC_EXP2_TERM_COUNT; k > 0; k--) {
        p = terms[k - 1] - (f * p >> 32);
    }
    p = ((wide)1 << 32) - (f * p >> 32);
    found.weight = (uint64_t)((p << 11) >> (found.q / 67108864));
    return found;
}

static int by_order(const void *a, const void *b)
{
    const candidate *one = a, *other = b;
    return one->q != other->q ? (one->q < other->q ? -1 : 1) : one->id < other->id ? -1 : 1;
}

static int32_t choose_candidate(candidate *candidates, int32_t count, const lc_sample_row *row,
                                int32_t position)
{
    const uint32_t key[2] = {row->seed, row->stream}, counter[4] = {(uint32_t)position, 0, 0, 0};
    uint32_t word[4];
    uint64_t sum = 0, running = 0;
    int32_t kept = count, at = 0;
    lc_philox(key, counter, word);
    for (int32_t i = 0; i < count; i++) {
        sum += candidates[i].weight;
    }
    if (row->top_p > 0) {
        qsort(candidates, (size_t)count, sizeof *candidates, by_order);
        const wide wanted = (wide)sum * row->top_p;
        for (sum = 0, kept = 0; ((wide)sum << 32) < wanted;) {
            sum += candidates[kept++].weight;
        }
    }
    const uint64_t u = (uint64_t)word[0] << 32 | word[1], target = (uint64_t)((wide)u * sum >> 64);
    for (int32_t i = 0; i < kept; i++) {
        at = row->top_p > 0 ? i : kept - 1 - i;
        running += candidates[at].weight;
        if (running > target) {
            break;
        }
    }
    return candidates[at].id;
}

static int32_t ref_choose(lc_mat logits, int64_t row, const lc_sample_row *how, int32_t position)
{
    const int32_t vocab = (int32_t)logits.cols;
    int32_t best = 0;
    for (int32_t i = 0; i < vocab; i++) {
        if (!isfinite(ref_get(logits, row, i))) {
            return -1;
        }
        best = ref_get(logits, row, i) > ref_get(logits, row, best) ? i : best;
    }
    if (!(how->sharpness > 0.0f)) {
        return best;
    }
    candidate *candidates = malloc((size_t)vocab * sizeof *candidates);
    assert_non_null(candidates);
    for (int32_t i = 0; i < vocab; i++) {
        const float below = (float)ref_get(logits, row, best) - (float)ref_get(logits, row, i);
        candidates[i] = candidate_of(i, below * how->sharpness);
    }
    const int32_t id = choose_candidate(candidates, vocab, how, position);
    free(candidates);
    return id;
}

void ref_sample(const lc_sample_args *args)
{
    for (int64_t i = 0; i < args->logits.rows; i++) {
        args->ids[i] = ref_choose(args->logits, i, &args->rows[i], args->positions[i]);
    }
}

void ref_advance(const lc_advance_args *args)
{
    for (int64_t m = 0; m < args->count; m++) {
        const int64_t half = args->cos_by_position.cols, last = args->cos_by_position.rows - 1;
        const int64_t known =
            args->chosen_positions[m] > last ? last : (int64_t)args->chosen_positions[m];
        args->ids[m] = args->chosen[m] < 0 ? 0 : args->chosen[m];
        args->positions[m] = args->chosen_positions[m]++;
        args->row_slots[m] = args->slots[m];
        args->rows[m] = (int32_t)m;
        for (int64_t d = 0; args->cos != NULL && d < half; d++) {
            args->cos[m * half + d] = (float)ref_get(args->cos_by_position, known, d);
            args->sin[m * half + d] = (float)ref_get(args->sin_by_position, known, d);
        }
    }
}

void ref_add_sums(const lc_add_sums_args *args)
{
    for (int64_t i = 0; i < args->count; i++) {
        if (!(args->weights[i] > 0.0f)) {
            continue;
        }
        args->sums->loss += (double)args->weights[i] * (double)args->nll[i];
        args->sums->weight += (double)args->weights[i];
        args->sums->correct += (double)args->correct[i];
        args->sums->targets += 1.0;
    }
}

void ref_adamw(const lc_adamw_args *args)
{
    const double weight = args->values->weight, lr = args->values->learning_rate;
    double sum = 0.0;
    for (int64_t i = 0; i < args->count; i++) {
        sum += (double)args->grad[i] * (double)args->grad[i];
    }
    const double norm = sqrt(sum) / weight, clip = args->clip / (norm + 1e-6);
    args->update->grad_norm = norm;
    args->update->skipped = !isfinite(norm) || !isfinite(args->sums->loss);
    if (args->update->skipped != 0) {
        return;
    }
    const double scale = (args->clip > 0.0 && clip < 1.0 ? clip : 1.0) / weight;
    const double t = (double)++args->update->count;
    const double bias1 = 1.0 - pow(args->beta1, t), bias2 = 1.0 - pow(args->beta2, t);
    for (int64_t i = 0; i < args->count; i++) {
        const double g = (double)args->grad[i] * scale;
        const double m = args->beta1 * (double)args->m[i] + (1.0 - args->beta1) * g;
        const double v = args->beta2 * (double)args->v[i] + (1.0 - args->beta2) * g * g;
        const double decayed = (double)args->param[i] * (1.0 - lr * args->weight_decay);
        args->param[i] = (float)(decayed - lr / bias1 * m / (sqrt(v) / sqrt(bias2) + args->eps));
        args->m[i] = (float)m;
        args->v[i] = (float)v;
    }
}
