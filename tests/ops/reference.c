/* The ops in double precision; see reference.h. */
#include "reference.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

double ref_get(lc_mat mat, int64_t row, int64_t col)
{
    assert(row >= 0 && row < mat.rows && col >= 0 && col < mat.cols);
    const int64_t at = row * mat.ld + col;
    switch (mat.dtype) {
    case LC_F64:
        return ((const double *)mat.data)[at];
    case LC_F32:
        return (double)((const float *)mat.data)[at];
    case LC_BF16:
        return (double)lc_bf16_to_f32(((const uint16_t *)mat.data)[at]);
    default:
        abort();
    }
}

void ref_put(lc_mat mat, int64_t row, int64_t col, double value)
{
    assert(row >= 0 && row < mat.rows && col >= 0 && col < mat.cols);
    const int64_t at = row * mat.ld + col;
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
static double keep(const lc_dropout *dropout, int64_t row, int64_t col)
{
    if (dropout->p <= 0.0f) {
        return 1.0;
    }
    const uint32_t key[2] = {dropout->seed, dropout->step};
    const uint32_t counter[4] = {(uint32_t)dropout->example[row], (uint32_t)dropout->position[row],
                                 (uint32_t)(dropout->layer * 7 + dropout->module),
                                 (uint32_t)(col / 4)};
    uint32_t words[4];
    lc_philox(key, counter, words);
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
    for (int64_t i = 0; i < args->x.rows; i++) {
        for (int64_t j = 0; j < args->w.rows; j++) {
            double sum = args->bias != NULL ? (double)args->bias[j] : 0.0;
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
    for (int64_t i = 0; i < args->x.rows; i++) {
        for (int64_t r = 0; r < args->a.rows; r++) {
            double sum = 0.0;
            for (int64_t j = 0; j < args->x.cols; j++) {
                sum += ref_get(args->x, i, j) * keep(&args->dropout, i, j) * ref_get(args->a, r, j);
            }
            ref_put(args->s, i, r, sum);
        }
    }
}

void ref_lora_dy(const lc_lora_dy_args *args)
{
    for (int64_t r = 0; r < args->sb.cols; r++) {
        for (int64_t i = 0; i < args->dy.rows; i++) {
            double sum = 0.0;
            for (int64_t j = 0; j < args->dy.cols; j++) {
                sum += ref_get(args->dy, i, j) * ref_get(args->sb, j, r);
            }
            ref_put(args->ds, i, r, sum);
        }
        for (int64_t j = 0; j < args->dy.cols; j++) {
            double sum = 0.0;
            for (int64_t i = 0; i < args->dy.rows; i++) {
                sum += ref_get(args->dy, i, j) * ref_get(args->s, i, r);
            }
            add_to(args->db, j, r, (double)args->scale * sum);
        }
    }
}

void ref_lora_dx(const lc_lora_dx_args *args)
{
    for (int64_t r = 0; r < args->ds.cols; r++) {
        for (int64_t j = 0; j < args->x.cols; j++) {
            double sum = 0.0;
            for (int64_t i = 0; i < args->x.rows; i++) {
                sum +=
                    ref_get(args->ds, i, r) * ref_get(args->x, i, j) * keep(&args->dropout, i, j);
            }
            add_to(args->da, r, j, sum);
        }
    }
}

void ref_lora_dropout_backward(const lc_lora_dropout_backward_args *args)
{
    for (int64_t i = 0; i < args->ds.rows; i++) {
        for (int64_t j = 0; j < args->a.cols; j++) {
            double sum = 0.0;
            for (int64_t r = 0; r < args->ds.cols; r++) {
                sum += ref_get(args->ds, i, r) * ref_get(args->a, r, j);
            }
            add_to(args->dx, i, j, sum * keep(&args->dropout, i, j));
        }
    }
}

void ref_lora_publish(const lc_lora_publish_args *args)
{
    for (int64_t i = 0; i < args->a.rows; i++) {
        for (int64_t j = 0; j < args->a.cols; j++) {
            ref_put(args->w_a, i, j, ref_get(args->a, i, j));
        }
    }
    for (int64_t i = 0; i < args->b.rows; i++) {
        for (int64_t j = 0; j < args->b.cols; j++) {
            ref_put(args->w_b, i, j, ref_get(args->b, i, j) * (double)args->scale);
        }
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

/* One query's attention over key rows first..last (batch or cache rows); p gets the probabilities,
 * the result is the log sum exp. */
static double probabilities(lc_mat q, int64_t i, int64_t head, lc_mat k, int64_t kv_head,
                            int64_t first, int64_t last, int64_t dim, double scale, double *p)
{
    double most = -INFINITY, sum = 0.0;
    for (int64_t j = first; j <= last; j++) {
        p[j - first] = scale * head_dot(q, i, head, k, j, kv_head, dim);
        most = fmax(most, p[j - first]);
    }
    for (int64_t j = first; j <= last; j++) {
        sum += exp(p[j - first] - most);
    }
    const double lse = most + log(sum);
    for (int64_t j = first; j <= last; j++) {
        p[j - first] = exp(p[j - first] - lse);
    }
    return lse;
}

static void weighted_values(lc_mat v, int64_t kv_head, int64_t first, int64_t last, int64_t dim,
                            const double *p, lc_mat out, int64_t i, int64_t head)
{
    for (int64_t d = 0; d < dim; d++) {
        double sum = 0.0;
        for (int64_t j = first; j <= last; j++) {
            sum += p[j - first] * ref_get(v, j, kv_head * dim + d);
        }
        ref_put(out, i, head * dim + d, sum);
    }
}

/* First key row that batch row i sees. */
static int64_t first_key(const lc_attention_shape *shape, int64_t i)
{
    int32_t document = 0;
    while (shape->cu_seqlens[document + 1] <= i) {
        document++;
    }
    const int64_t start = shape->cu_seqlens[document];
    return shape->window > 0 && i - shape->window + 1 > start ? i - shape->window + 1 : start;
}

void ref_attention(const lc_attention_args *args)
{
    const lc_attention_shape *shape = &args->shape;
    const int64_t dim = shape->head_dim, rows = args->q.rows;
    double *p = calloc((size_t)rows, sizeof *p);
    assert(p != NULL);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t first = first_key(shape, i);
        for (int64_t head = 0; head < shape->heads; head++) {
            const int64_t kv_head = head / (shape->heads / shape->kv_heads);
            const double lse = probabilities(args->q, i, head, args->k, kv_head, first, i, dim,
                                             (double)shape->scale, p);
            weighted_values(args->v, kv_head, first, i, dim, p, args->out, i, head);
            if (args->lse != NULL) {
                args->lse[i * shape->heads + head] = (float)lse;
            }
        }
    }
    free(p);
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
                           double *p, double *dp)
{
    const lc_attention_shape *shape = &args->shape;
    const int64_t dim = shape->head_dim, kv_head = head / (shape->heads / shape->kv_heads);
    const int64_t first = first_key(shape, i);
    (void)probabilities(args->q, i, head, args->k, kv_head, first, i, dim, (double)shape->scale, p);
    double mean = 0.0;
    for (int64_t j = first; j <= i; j++) {
        dp[j - first] = head_dot(args->dout, i, head, args->v, j, kv_head, dim);
        mean += p[j - first] * dp[j - first];
    }
    for (int64_t j = first; j <= i; j++) {
        const double ds = (double)shape->scale * p[j - first] * (dp[j - first] - mean);
        for (int64_t d = 0; d < dim; d++) {
            const int64_t at = head * dim + d, kv_at = kv_head * dim + d;
            add_to(args->dq, i, at, ds * ref_get(args->k, j, kv_at));
            add_to(args->dk, j, kv_at, ds * ref_get(args->q, i, at));
            add_to(args->dv, j, kv_at, p[j - first] * ref_get(args->dout, i, at));
        }
    }
}

void ref_attention_backward(const lc_attention_backward_args *args)
{
    double *p = calloc((size_t)args->q.rows * 2, sizeof *p);
    assert(p != NULL);
    zero(args->dq);
    zero(args->dk);
    zero(args->dv);
    for (int64_t i = 0; i < args->q.rows; i++) {
        for (int64_t head = 0; head < args->shape.heads; head++) {
            query_gradient(args, i, head, p, p + args->q.rows);
        }
    }
    free(p);
}

void ref_attention_cached(const lc_attention_cached_args *args)
{
    double *p = calloc((size_t)args->slot_rows, sizeof *p);
    assert(p != NULL);
    for (int64_t i = 0; i < args->q.rows; i++) {
        const int64_t base = args->slots[i] * args->slot_rows, last = base + args->positions[i];
        const int64_t first =
            args->window > 0 && last - args->window + 1 > base ? last - args->window + 1 : base;
        for (int64_t head = 0; head < args->heads; head++) {
            const int64_t kv_head = head / (args->heads / args->kv_heads);
            (void)probabilities(args->q, i, head, args->k_cache, kv_head, first, last,
                                args->head_dim, (double)args->scale, p);
            weighted_values(args->v_cache, kv_head, first, last, args->head_dim, p, args->out, i,
                            head);
        }
    }
    free(p);
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
            ref_put(args->y, m, j, ref_get(args->x, args->rows[m], j));
        }
    }
}

void ref_scatter_rows(const lc_scatter_rows_args *args)
{
    zero(args->y);
    for (int64_t m = 0; m < args->x.rows; m++) {
        for (int64_t j = 0; j < args->x.cols; j++) {
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

void ref_sum_squares(const lc_sum_squares_args *args)
{
    double sum = 0.0;
    for (int64_t i = 0; i < args->count; i++) {
        sum += (double)args->values[i] * (double)args->values[i];
    }
    *args->sum_squares = sum;
}

void ref_adamw(const lc_adamw_args *args)
{
    const double bias1 = 1.0 - pow(args->beta1, (double)args->t);
    const double bias2 = 1.0 - pow(args->beta2, (double)args->t);
    for (int64_t i = 0; i < args->count; i++) {
        const double g = (double)args->grad[i] * args->grad_scale;
        const double m = args->beta1 * (double)args->m[i] + (1.0 - args->beta1) * g;
        const double v = args->beta2 * (double)args->v[i] + (1.0 - args->beta2) * g * g;
        const double decayed = (double)args->param[i] * (1.0 - args->lr * args->weight_decay);
        args->param[i] =
            (float)(decayed - args->lr / bias1 * m / (sqrt(v) / sqrt(bias2) + args->eps));
        args->m[i] = (float)m;
        args->v[i] = (float)v;
    }
}
