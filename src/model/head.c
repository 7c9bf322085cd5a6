/*
 * Final norm, output head and cross-entropy, in chunks of head_rows rows, so that N x V logits
 * never exist. hidden has the supervised rows only. The gradient goes back through head and norm in
 * the same sweep.
 */
#include "model/passes.h"

/* The final norm of the rows that are read. */
static lc_code norm_read_rows(lc_model *model, int64_t count, lc_err *err)
{
    return lc_norm_rows(model, lc_rows(model->hidden, count), model->weights.final_norm,
                        lc_rows(model->normed, count), model->head_rstd, err);
}

/* Logits of `count` normed rows from `first` on. */
static lc_code chunk_logits(lc_model *model, int64_t first, int64_t count, lc_err *err)
{
    return LC_OP(model->device, linear,
                 {.x = lc_mat_view(model->normed, first, 0, count, model->config.width),
                  .w = model->weights.head,
                  .y = lc_rows(model->logits, count)},
                 err);
}

lc_code lc_model_head_logits(lc_model *model, int32_t count, lc_err *err)
{
    LC_TRY(norm_read_rows(model, count, err));
    return chunk_logits(model, 0, count, err);
}

static lc_code chunk_loss(lc_model *model, int64_t first, int64_t count, bool gradient, lc_err *err)
{
    const lc_mat logits = lc_rows(model->logits, count);
    LC_TRY(chunk_logits(model, first, count, err));
    LC_TRY(LC_OP(model->device, cross_entropy,
                 {.logits = logits,
                  .targets = model->targets + first,
                  .weights = model->target_weights + first,
                  .gradient = gradient,
                  .nll = model->nll + first,
                  .correct = model->correct + first},
                 err));
    if (!gradient) {
        return LC_OK;
    }
    return LC_OP(model->device, linear_backward,
                 {.dy = logits,
                  .w = model->weights.head,
                  .dx = lc_mat_view(model->d_product, first, 0, count, model->config.width)},
                 err);
}

/* From the gradient of the normed rows (in d_product) to that of hidden (in d_hidden). */
static lc_code final_norm_gradient(lc_model *model, int64_t count, lc_err *err)
{
    const lc_mat dx = lc_rows(model->d_hidden, count);
    LC_TRY(model->device->ops->zero(model->device, dx.data,
                                    (size_t)(count * dx.ld) * lc_dtype_bytes(dx.dtype), err));
    return LC_OP(model->device, rmsnorm_backward,
                 {.dy = lc_mat_view(model->d_product, 0, 0, count, model->config.width),
                  .x = lc_rows(model->hidden, count),
                  .weight = model->weights.final_norm,
                  .rstd = model->head_rstd,
                  .dx = dx},
                 err);
}

/* Losses and hits of all chunks. */
static lc_code add_up(lc_model *model, int64_t count, lc_err *err)
{
    return LC_OP(model->device, add_sums,
                 {.nll = model->nll,
                  .correct = model->correct,
                  .weights = model->target_weights,
                  .count = count,
                  .sums = model->sums},
                 err);
}

lc_code lc_model_head_loss(lc_model *model, bool gradient, lc_err *err)
{
    const int64_t count = model->read_count;
    if (count == 0) {
        return LC_OK;
    }
    LC_TRY(norm_read_rows(model, count, err));
    for (int64_t first = 0; first < count; first += model->head_rows) {
        const int64_t rows = count - first < model->head_rows ? count - first : model->head_rows;
        LC_TRY(chunk_loss(model, first, rows, gradient, err));
    }
    if (gradient) {
        LC_TRY(final_norm_gradient(model, count, err));
    }
    return add_up(model, count, err);
}
