/*
 * The spine: one optimizer step.
 *
 *   sampler -> packer -> micro-batch -> forward, loss, backward (sums of gradients) -> ranks
 *           -> divide by the global target weight, norm, clip, AdamW on fp32 masters -> borders
 *
 * Gradients are sums of weight * d nll; dividing once by the global weight at the end makes the
 * result the same however the examples were cut into micro-batches. A non-finite gradient skips the
 * update.
 */
#include "train/step.h"

#include <math.h>

/* AdamW as torch's defaults have it. */
#define ADAM_BETA1 0.9
#define ADAM_BETA2 0.999
#define ADAM_EPS   1e-8
#define CLIP_EPS   1e-6 /* torch.nn.utils.clip_grad_norm_ */

/* All micro-batches of the step, forward and backward. */
static lc_code accumulate(lc_step *self, int64_t step, lc_err *err)
{
    lc_model *model = self->model;
    const int64_t *examples = NULL;
    int64_t count = 0;
    LC_TRY(model->device->ops->zero(model->device, model->grad,
                                    (size_t)model->spec.master_count * sizeof *model->grad, err));
    lc_sampler_step(&self->sampler, step, &examples, &count);
    lc_packer_begin(&self->packer, examples, count);
    while (lc_packer_next(&self->packer, &self->batch)) {
        lc_batch_sums sums;
        LC_TRY(lc_model_batch(model, &self->batch, true, self->options->seed, (uint32_t)step, &sums,
                              err));
        lc_batch_sums_add(&self->sums, &sums);
        self->tokens += self->batch.whole_tokens;
        if (self->stop != NULL && atomic_load(self->stop) != 0) {
            return lc_fail(err, LC_ERR_INTERRUPTED, "stopped in step %lld", (long long)step + 1);
        }
    }
    return LC_OK;
}

/* Sums over ranks: gradients on the device, scalars here. */
static lc_code reduce(lc_step *self, lc_err *err)
{
    lc_batch_sums *sums = &self->sums;
    double scalars[5] = {sums->loss, sums->weight, sums->correct, sums->targets,
                         (double)self->tokens};
    LC_TRY(self->comm->sum_f32(self->comm, self->model->grad, self->model->spec.master_count, err));
    LC_TRY(self->comm->sum_f64(self->comm, scalars, 5, err));
    const lc_batch_sums total = {
        .loss = scalars[0], .weight = scalars[1], .correct = scalars[2], .targets = scalars[3]};
    *sums = total;
    self->tokens = (int64_t)scalars[4];
    return LC_OK;
}

static double clip_coefficient(double clip, double norm)
{
    const double coefficient = clip / (norm + CLIP_EPS);
    return clip > 0.0 && coefficient < 1.0 ? coefficient : 1.0;
}

static lc_code update_masters(lc_step *self, int64_t step, int64_t update, lc_err *err)
{
    lc_model *model = self->model;
    const lc_train_options *options = self->options;
    double sum_squares = 0.0;
    LC_TRY(LC_OP(
        model->device, sum_squares,
        {.values = model->grad, .count = model->spec.master_count, .sum_squares = &sum_squares},
        err));
    LC_TRY(model->device->ops->sync(model->device, err));
    self->grad_norm = sqrt(sum_squares) / self->sums.weight;
    const double scale = clip_coefficient(options->grad_clip, self->grad_norm) / self->sums.weight;
    self->is_skipped = !isfinite(self->grad_norm) || !isfinite(self->sums.loss) ||
                       !isfinite((float)scale); /* next to no weight */
    self->learning_rate = lc_learning_rate(options->schedule, options->learning_rate, step,
                                           options->warmup_steps, options->total_steps);
    if (self->is_skipped) {
        return LC_OK;
    }
    LC_TRY(LC_OP(model->device, adamw,
                 {.param = model->master,
                  .grad = model->grad,
                  .m = model->adam_m,
                  .v = model->adam_v,
                  .count = model->spec.master_count,
                  .t = update,
                  .grad_scale = scale,
                  .lr = self->learning_rate,
                  .beta1 = ADAM_BETA1,
                  .beta2 = ADAM_BETA2,
                  .eps = ADAM_EPS,
                  .weight_decay = options->weight_decay},
                 err));
    return lc_model_publish(model, err);
}

lc_code lc_step_run(lc_step *self, int64_t step, int64_t update, lc_err *err)
{
    const lc_batch_sums zero = {0};
    self->sums = zero;
    self->tokens = 0;
    LC_TRY(accumulate(self, step, err));
    LC_TRY(reduce(self, err));
    return update_masters(self, step, update, err);
}
