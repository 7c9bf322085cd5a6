/*
 * The training loop: steps (step.c), evaluation, hooks, stopping. What a step did is known from the
 * lc_step; what must survive a crash is in lc_train_state and leaves through on_checkpoint.
 */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "lorac/log.h"
#include "train/step.h"

#define LC_RATE_STEPS 16 /* steps over which tokens/s is averaged */

struct lc_trainer {
    lc_step step;
    lc_train_options options;
    lc_model *model;              /* borrowed */
    const lc_dataset *training;   /* borrowed */
    const lc_dataset *validation; /* borrowed; NULL: none */
    lc_packer eval_packer[2];     /* over the training and the validation set */
    lc_train_state state;
    double rate_started[LC_RATE_STEPS]; /* ring: when step i began, and its tokens */
    int64_t rate_tokens[LC_RATE_STEPS];
    int64_t run_steps; /* steps of this process */
    lc_arena arena;
};

static lc_code allocate_state(lc_trainer *trainer, lc_err *err)
{
    lc_train_state *state = &trainer->state;
    const size_t count = (size_t)trainer->model->spec.master_count;
    void *memory = NULL;
    state->count = trainer->model->spec.master_count;
    LC_TRY(lc_arena_alloc(&trainer->arena, count, sizeof(float), &memory, err));
    state->master = memory;
    LC_TRY(lc_arena_alloc(&trainer->arena, count, sizeof(float), &memory, err));
    state->m = memory;
    LC_TRY(lc_arena_alloc(&trainer->arena, count, sizeof(float), &memory, err));
    state->v = memory;
    return LC_OK;
}

/* How a packer works on this rank. */
static void set_up_packer(const lc_trainer *trainer, lc_packer *packer, bool backward)
{
    packer->least_shared = lc_model_least_shared(trainer->model, backward);
    packer->rank = trainer->step.comm->rank;
    packer->world_size = trainer->step.comm->world_size;
}

static lc_code allocate(lc_trainer *trainer, lc_err *err)
{
    const lc_train_options *options = &trainer->options;
    lc_step *step = &trainer->step;
    lc_arena *arena = &trainer->arena;
    LC_TRY(lc_sampler_init(&step->sampler, trainer->training, options->seed, options->shuffle,
                           options->batch_size, arena, err));
    LC_TRY(lc_packer_init(&step->packer, trainer->training, options->micro_batch_tokens,
                          options->packing, options->batch_size, arena, err));
    LC_TRY(lc_batch_init(&step->batch, options->micro_batch_tokens, arena, err));
    LC_TRY(lc_packer_init(&trainer->eval_packer[0], trainer->training, options->micro_batch_tokens,
                          true, LC_EVAL_CHUNK, arena, err));
    if (trainer->validation != NULL) {
        LC_TRY(lc_packer_init(&trainer->eval_packer[1], trainer->validation,
                              options->micro_batch_tokens, true, LC_EVAL_CHUNK, arena, err));
    }
    set_up_packer(trainer, &step->packer, true);
    set_up_packer(trainer, &trainer->eval_packer[0], false);
    set_up_packer(trainer, &trainer->eval_packer[1], false);
    return allocate_state(trainer, err);
}

lc_code lc_trainer_open(lc_model *model, const lc_dataset *training, const lc_dataset *validation,
                        lc_comm *comm, const lc_train_options *options, lc_trainer **out,
                        lc_err *err)
{
    lc_trainer *trainer = lc_calloc(1, sizeof *trainer);
    if (trainer == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the trainer");
    }
    lc_arena_init(&trainer->arena, "trainer");
    trainer->options = *options;
    trainer->model = model;
    trainer->training = training;
    trainer->validation = validation;
    trainer->step.model = model;
    trainer->step.comm = comm;
    trainer->step.options = &trainer->options;
    const lc_code code = allocate(trainer, err);
    if (code != LC_OK) {
        lc_trainer_close(trainer);
        return code;
    }
    *out = trainer;
    return LC_OK;
}

void lc_trainer_close(lc_trainer *trainer)
{
    if (trainer != NULL) {
        lc_arena_release(&trainer->arena);
        lc_free(trainer);
    }
}

lc_train_state *lc_trainer_state(lc_trainer *trainer)
{
    return &trainer->state;
}

lc_code lc_trainer_restore(lc_trainer *trainer, lc_err *err)
{
    lc_model *model = trainer->model;
    lc_device *device = model->device;
    const lc_train_state *state = &trainer->state;
    const size_t bytes = (size_t)state->count * sizeof(float);
    if (state->step < 0 || state->step > trainer->options.total_steps ||
        state->updates > state->step) {
        return lc_fail(err, LC_ERR_INVALID,
                       "the checkpoint is at step %lld, this job has %lld steps",
                       (long long)state->step, (long long)trainer->options.total_steps);
    }
    LC_TRY(lc_model_set_masters(model, state->master, err));
    LC_TRY(lc_model_set_updates(model, state->updates, err));
    LC_TRY(device->ops->upload(device, model->adam_m, state->m, bytes, err));
    return device->ops->upload(device, model->adam_v, state->v, bytes, err);
}

lc_code lc_trainer_masters(lc_trainer *trainer, const float **master, lc_err *err)
{
    LC_TRY(lc_model_get_masters(trainer->model, trainer->state.master, err));
    *master = trainer->state.master;
    return LC_OK;
}

/* Masters and moments to host memory. */
static lc_code download_state(lc_trainer *trainer, lc_err *err)
{
    lc_model *model = trainer->model;
    lc_device *device = model->device;
    const size_t bytes = (size_t)trainer->state.count * sizeof(float);
    LC_TRY(lc_model_get_masters(model, trainer->state.master, err));
    LC_TRY(device->ops->download(device, trainer->state.m, model->adam_m, bytes, err));
    return device->ops->download(device, trainer->state.v, model->adam_v, bytes, err);
}

/* ---- evaluation ---- */

/* This rank's share of a chunk; asked to stop, it leaves out the rest. */
static lc_code evaluate_chunk(lc_trainer *trainer, lc_packer *packer, int64_t first, int64_t count,
                              lc_err *err)
{
    int64_t examples[LC_EVAL_CHUNK];
    for (int64_t i = 0; i < count; i++) {
        examples[i] = first + i;
    }
    lc_packer_begin(packer, examples, count);
    while (!lc_step_is_asked_to_stop(&trainer->step) &&
           lc_packer_next(packer, &trainer->step.batch)) {
        LC_TRY(lc_model_batch(trainer->model, &trainer->step.batch, false, 0, 0, err));
    }
    return LC_OK;
}

lc_code lc_trainer_evaluate(lc_trainer *trainer, const lc_dataset *dataset, int64_t max_examples,
                            double *loss, double *accuracy, lc_err *err)
{
    lc_packer *packer = &trainer->eval_packer[dataset == trainer->training ? 0 : 1];
    const int64_t all = dataset->example_count;
    const int64_t examples = max_examples > 0 && max_examples < all ? max_examples : all;
    lc_sums total;
    LC_TRY(lc_model_clear_sums(trainer->model, err));
    for (int64_t first = 0; first < examples; first += LC_EVAL_CHUNK) {
        const int64_t count = examples - first < LC_EVAL_CHUNK ? examples - first : LC_EVAL_CHUNK;
        LC_TRY(evaluate_chunk(trainer, packer, first, count, err));
    }
    LC_TRY(lc_step_sum(&trainer->step, err));
    LC_TRY(lc_model_read_sums(trainer->model, &total, err));
    if (total.stops > 0.0) {
        return lc_fail(err, LC_ERR_INTERRUPTED, "stopped in the evaluation");
    }
    *loss = total.weight > 0.0 ? total.loss / total.weight : NAN;
    *accuracy = total.targets > 0.0 ? total.correct / total.targets : NAN;
    return LC_OK;
}

/* ---- the loop ---- */

static bool is_epoch_end(const lc_trainer *trainer, int64_t steps_done)
{
    return steps_done % trainer->options.steps_per_epoch == 0;
}

static bool is_measured(const lc_trainer *trainer, int64_t steps_done)
{
    return trainer->validation != NULL && (is_epoch_end(trainer, steps_done) ||
                                           steps_done % trainer->options.eval_every_steps == 0);
}

static bool is_saved(const lc_trainer *trainer, int64_t steps_done)
{
    return is_epoch_end(trainer, steps_done) ||
           steps_done % trainer->options.checkpoint_every_steps == 0;
}

static lc_code measure(lc_trainer *trainer, lc_metrics *metrics, lc_err *err)
{
    const lc_train_state *state = &trainer->state;
    const int64_t done = state->step;
    const lc_metrics unmeasured = {done, state->train_loss, state->train_accuracy, NAN, NAN, NAN,
                                   NAN};
    *metrics = unmeasured;
    if (!is_measured(trainer, done)) {
        return LC_OK;
    }
    if (is_epoch_end(trainer, done)) {
        LC_TRY(lc_trainer_evaluate(trainer, trainer->validation, 0, &metrics->full_valid_loss,
                                   &metrics->full_valid_mean_token_accuracy, err));
    }
    if (done % trainer->options.eval_every_steps != 0) {
        return LC_OK;
    }
    if (is_epoch_end(trainer, done) &&
        trainer->validation->example_count <= trainer->options.eval_examples) {
        metrics->valid_loss = metrics->full_valid_loss; /* the sample is the whole file */
        metrics->valid_mean_token_accuracy = metrics->full_valid_mean_token_accuracy;
        return LC_OK;
    }
    return lc_trainer_evaluate(trainer, trainer->validation, trainer->options.eval_examples,
                               &metrics->valid_loss, &metrics->valid_mean_token_accuracy, err);
}

/* Fills in rate and remaining time from the last LC_RATE_STEPS steps of this process. */
static void report_progress(lc_trainer *trainer, double began, lc_progress *progress)
{
    const lc_train_state *state = &trainer->state;
    const int64_t slot = trainer->run_steps % LC_RATE_STEPS;
    trainer->rate_started[slot] = began;
    trainer->rate_tokens[slot] = trainer->step.known.tokens;
    trainer->run_steps++;
    const int64_t known = trainer->run_steps < LC_RATE_STEPS ? trainer->run_steps : LC_RATE_STEPS;
    const int64_t oldest = (trainer->run_steps - known) % LC_RATE_STEPS;
    int64_t tokens = 0;
    for (int64_t i = 0; i < known; i++) {
        tokens += trainer->rate_tokens[i];
    }
    const double seconds = lc_monotonic_seconds() - trainer->rate_started[oldest];
    const lc_progress filled = {.step = state->step,
                                .total_steps = trainer->options.total_steps,
                                .trained_tokens = state->trained_tokens,
                                .tokens_per_second = seconds > 0.0 ? (double)tokens / seconds : 0.0,
                                .eta_seconds = seconds / (double)known *
                                               (double)(trainer->options.total_steps - state->step),
                                .learning_rate = trainer->step.known.learning_rate,
                                .grad_norm = trainer->step.grad_norm,
                                .nonfinite_steps = state->nonfinite_steps};
    *progress = filled;
}

/* Counts a skipped step; too many in a row end the job. */
static lc_code note_skipped(lc_trainer *trainer, lc_err *err)
{
    if (!trainer->step.is_skipped) {
        trainer->state.nonfinite_in_a_row = 0;
        return LC_OK;
    }
    trainer->state.nonfinite_steps++;
    trainer->state.nonfinite_in_a_row++;
    lc_log(LC_LOG_WARN, "step %lld: loss or gradient is not finite, update skipped",
           (long long)trainer->state.step);
    if (trainer->state.nonfinite_in_a_row >= LC_MAX_NONFINITE_STEPS) {
        return lc_fail(err, LC_ERR_NUMERIC,
                       "loss or gradient was not finite in %d steps in a row, the last one step "
                       "%lld (learning rate "
                       "%g): lower the learning rate, or check the base model and the data",
                       LC_MAX_NONFINITE_STEPS, (long long)trainer->state.step,
                       trainer->step.known.learning_rate);
    }
    return LC_OK;
}

static lc_code save(lc_trainer *trainer, const lc_train_hooks *hooks, lc_err *err)
{
    if (hooks->on_checkpoint == NULL) {
        return LC_OK;
    }
    LC_TRY(download_state(trainer, err));
    return hooks->on_checkpoint(hooks->context, &trainer->state, err);
}

/* What follows an update: measuring, the row, the checkpoints that are due. */
static lc_code close_step(lc_trainer *trainer, const lc_train_hooks *hooks, double began,
                          lc_err *err)
{
    lc_train_state *state = &trainer->state;
    lc_metrics metrics;
    lc_progress progress;
    LC_TRY(measure(trainer, &metrics, err));
    report_progress(trainer, began, &progress);
    LC_TRY(hooks->on_step(hooks->context, &metrics, &progress, err));
    state->is_open = 0;
    if (is_epoch_end(trainer, state->step) && hooks->on_epoch != NULL) {
        const float *master = NULL;
        LC_TRY(lc_trainer_masters(trainer, &master, err));
        LC_TRY(hooks->on_epoch(hooks->context, state->step / trainer->options.steps_per_epoch,
                               &metrics, master, err));
    }
    if (is_saved(trainer, state->step)) {
        LC_TRY(save(trainer, hooks, err));
    }
    return LC_OK;
}

/* Several ranks stop after the step in whose sums they have told each other. */
static bool is_stopping(const lc_trainer *trainer)
{
    return trainer->step.comm->world_size > 1 ? trainer->step.sums.stops > 0.0
                                              : lc_step_is_asked_to_stop(&trainer->step);
}

/* The step after the next may be queued before the host knows what the next one did: nothing has to
 * be read off the device in between. A host that computes itself would only report late. */
static bool may_run_ahead(const lc_trainer *trainer)
{
    const int64_t done = trainer->state.step + 1;
    return !trainer->model->device->is_host && done < trainer->options.total_steps &&
           !is_measured(trainer, done) && !is_saved(trainer, done) && !is_stopping(trainer);
}

/* One step and everything around it. */
static lc_code run_step(lc_trainer *trainer, const lc_train_hooks *hooks, lc_err *err)
{
    const lc_step *step = &trainer->step;
    lc_train_state *state = &trainer->state;
    const double began = lc_monotonic_seconds();
    LC_TRY(lc_step_run(&trainer->step, state->step, may_run_ahead(trainer), err));
    state->step++;
    state->updates = step->updates;
    state->trained_tokens += step->known.tokens;
    state->train_loss = step->is_skipped ? NAN : step->sums.loss / step->sums.weight;
    state->train_accuracy = step->is_skipped ? NAN : step->sums.correct / step->sums.targets;
    state->is_open = 1;
    LC_TRY(note_skipped(trainer, err));
    return close_step(trainer, hooks, began, err);
}

/* Stopped: the last step is kept; one whose evaluation was given up is kept open, and the resume
 * measures it. The interruption stays the error unless saving fails. */
static lc_code save_interrupted(lc_trainer *trainer, const lc_train_hooks *hooks, lc_err *err)
{
    const lc_train_state *state = &trainer->state;
    lc_err_clear(err);
    LC_TRY(lc_comm_agree(trainer->step.comm, save(trainer, hooks, err), err));
    return lc_fail(err, LC_ERR_INTERRUPTED, "stopped %s step %lld of %lld, checkpoint written",
                   state->is_open != 0 ? "in the evaluation after" : "after",
                   (long long)state->step, (long long)trainer->options.total_steps);
}

lc_code lc_trainer_run(lc_trainer *trainer, const lc_train_hooks *hooks, const atomic_int *stop,
                       lc_err *err)
{
    trainer->step.stop = stop;
    const lc_train_state *state = &trainer->state;
    while (state->step < trainer->options.total_steps || state->is_open != 0) {
        lc_code code = LC_ERR_INTERRUPTED;
        if (trainer->step.queued_count > 0 || !is_stopping(trainer)) {
            code = state->is_open != 0 ? close_step(trainer, hooks, lc_monotonic_seconds(), err)
                                       : run_step(trainer, hooks, err);
        }
        if (code == LC_ERR_INTERRUPTED) {
            return save_interrupted(trainer, hooks, err);
        }
        LC_TRY(code);
    }
    return LC_OK;
}
