/* The spine: one optimizer step from data set to updated adapter. See step.c. */
#ifndef LC_TRAIN_STEP_H
#define LC_TRAIN_STEP_H

#include <stdatomic.h>

#include "lorac/comm.h"
#include "model/model.h"
#include "train/trainer.h"

/* Everything a step works with; borrowed but for the values of the last step. */
typedef struct lc_step {
    lc_model *model;
    lc_comm *comm;
    const lc_train_options *options;
    lc_sampler sampler;
    lc_packer packer;
    lc_batch batch;
    const atomic_int *stop; /* set: give the step up after the current micro-batch; with several
                               ranks the step is finished, and all of them learn of it */

    /* of the last step */
    lc_sums sums;   /* over all micro-batches and ranks */
    int64_t tokens; /* tokens of its examples */
    double weight;  /* of their targets */
    double learning_rate;
    double grad_norm; /* of the mean gradient, before clipping; not finite: the step was skipped */
    bool is_skipped;
    int64_t updates; /* so far */
} lc_step;

/* Step `step` (from 0). LC_ERR_INTERRUPTED: stopped, nothing has changed but gradients. A
 * non-finite gradient changes nothing and sets is_skipped. */
LC_WARN_UNUSED lc_code lc_step_run(lc_step *self, int64_t step, lc_err *err);

bool lc_step_is_asked_to_stop(const lc_step *self);

/* Queues the sum over ranks of model->sums, with how many of them were asked to stop. */
LC_WARN_UNUSED lc_code lc_step_sum(lc_step *self, lc_err *err);

#endif
