/* The spine: one optimizer step from data set to updated adapter. See step.c. */
#ifndef LC_TRAIN_STEP_H
#define LC_TRAIN_STEP_H

#include <stdatomic.h>

#include "lorac/comm.h"
#include "model/model.h"
#include "train/trainer.h"

/* What is known of a step once it is queued. */
typedef struct lc_step_known {
    int64_t tokens; /* tokens of its examples */
    double weight;  /* of their targets */
    double learning_rate;
} lc_step_known;

/* Everything a step works with; borrowed but for the values of steps. */
typedef struct lc_step {
    lc_model *model;
    lc_comm *comm;
    const lc_train_options *options;
    lc_sampler sampler;
    lc_packer packer;
    lc_batch batch;
    const atomic_int *stop; /* set: give the step up after the current micro-batch; with several
                               ranks the step is finished, and all of them learn of it */

    lc_step_known queued[LC_HOST_SLOTS]; /* the oldest first: steps whose results are to come */
    int32_t queued_count;

    /* of the last step whose results are there */
    lc_step_known known;
    lc_sums sums;     /* over all micro-batches and ranks */
    double grad_norm; /* of the mean gradient, before clipping; not finite: the step was skipped */
    bool is_skipped;
    int64_t updates; /* so far */
} lc_step;

/* Step `step` (from 0), which may have been queued by the call before. ahead: queues the next one
 * too before it waits, so that the device never does; whoever needs adapter, optimizer or gradients
 * as this step leaves them, leaves that out. LC_ERR_INTERRUPTED: stopped, nothing has changed but
 * gradients; a step ahead is given up without a word. A non-finite gradient changes nothing and
 * sets is_skipped. */
LC_WARN_UNUSED lc_code lc_step_run(lc_step *self, int64_t step, bool ahead, lc_err *err);

bool lc_step_is_asked_to_stop(const lc_step *self);

/* Queues the sum over ranks of model->sums, with how many of them were asked to stop. */
LC_WARN_UNUSED lc_code lc_step_sum(lc_step *self, lc_err *err);

#endif
