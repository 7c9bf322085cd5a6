/*
 * The spine: one optimizer step.
 *
 *   sampler -> packer -> micro-batch -> forward, loss, backward (sums of gradients) -> ranks
 *           -> divide by the global target weight, norm, clip, AdamW on fp32 masters -> borders
 *
 * Gradients are sums of weight * d nll; dividing once by the global weight at the end makes the
 * result the same however the examples were cut into micro-batches and dealt out to ranks. A
 * non-finite gradient skips the update. Everything is queued on the device; the host waits for
 * uploads that it is about to overwrite, and for what the step reports, before which it may have
 * queued the next step.
 */
#include "train/step.h"

/* AdamW as torch's defaults have it. */
#define ADAM_BETA1 0.9
#define ADAM_BETA2 0.999
#define ADAM_EPS   1e-8

bool lc_step_is_asked_to_stop(const lc_step *self)
{
    return self->stop != NULL && atomic_load(self->stop) != 0;
}

/* All micro-batches of this rank's share of the step, forward and backward. One rank alone may give
 * a step up; several finish it, since the others count on its part. */
static lc_code accumulate(lc_step *self, int64_t step, lc_step_known *known, lc_err *err)
{
    lc_model *model = self->model;
    const int64_t *examples = NULL;
    int64_t count = 0;
    LC_TRY(lc_model_clear_sums(model, err));
    LC_TRY(model->device->ops->zero(model->device, model->grad,
                                    (size_t)model->spec.master_count * sizeof *model->grad, err));
    lc_sampler_step(&self->sampler, step, &examples, &count);
    lc_dataset_totals(self->sampler.dataset, examples, count, &known->tokens, &known->weight);
    lc_packer_begin(&self->packer, examples, count);
    while (lc_packer_next(&self->packer, &self->batch)) {
        LC_TRY(lc_model_batch(model, &self->batch, true, self->options->seed, (uint32_t)step, err));
        if (self->comm->world_size == 1 && lc_step_is_asked_to_stop(self)) {
            return lc_fail(err, LC_ERR_INTERRUPTED, "stopped in step %lld", (long long)step + 1);
        }
    }
    return LC_OK;
}

lc_code lc_step_sum(lc_step *self, lc_err *err)
{
    if (lc_step_is_asked_to_stop(self)) {
        LC_TRY(lc_model_note_stop(self->model, err));
    }
    return self->comm->sum_f64(self->comm, (double *)self->model->sums,
                               sizeof *self->model->sums / sizeof(double), err);
}

/* Sums over ranks, on the device. */
static lc_code reduce(lc_step *self, lc_err *err)
{
    lc_model *model = self->model;
    LC_TRY(self->comm->sum_f32(self->comm, model->grad, model->spec.master_count, err));
    return lc_step_sum(self, err);
}

static lc_code update_masters(lc_step *self, int64_t step, lc_step_known *known, lc_err *err)
{
    const lc_train_options *options = self->options;
    const lc_update_options update = {.clip = options->grad_clip,
                                      .beta1 = ADAM_BETA1,
                                      .beta2 = ADAM_BETA2,
                                      .eps = ADAM_EPS,
                                      .weight_decay = options->weight_decay};
    known->learning_rate = lc_learning_rate(options->schedule, options->learning_rate, step,
                                            options->warmup_steps, options->total_steps);
    return lc_model_update(self->model, &update, known->weight, known->learning_rate, err);
}

static lc_code queue(lc_step *self, int64_t step, lc_err *err)
{
    lc_step_known *known = &self->queued[self->queued_count];
    LC_TRY(accumulate(self, step, known, err));
    LC_TRY(reduce(self, err));
    LC_TRY(update_masters(self, step, known, err));
    LC_TRY(lc_model_queue_results(self->model, err));
    self->queued_count++;
    return LC_OK;
}

/* The step after the one that is queued. That it was given up is not lost: `stop` stays set. */
static lc_code queue_ahead(lc_step *self, int64_t step, lc_err *err)
{
    const lc_code code = queue(self, step, err);
    if (code == LC_ERR_INTERRUPTED) {
        lc_err_clear(err);
        return LC_OK;
    }
    return code;
}

/* Waits for the step that was queued first. */
static lc_code take_oldest(lc_step *self, lc_err *err)
{
    lc_results results;
    LC_TRY(lc_model_take_results(self->model, &results, err));
    self->known = self->queued[0];
    self->queued[0] = self->queued[1];
    self->queued_count--;
    self->sums = results.sums;
    self->updates = results.update.count;
    self->grad_norm = results.update.grad_norm;
    self->is_skipped = results.update.skipped != 0;
    return LC_OK;
}

lc_code lc_step_run(lc_step *self, int64_t step, bool ahead, lc_err *err)
{
    if (self->queued_count == 0) {
        LC_TRY(queue(self, step, err));
    }
    if (ahead) {
        LC_TRY(queue_ahead(self, step + 1, err));
    }
    return take_oldest(self, err);
}
