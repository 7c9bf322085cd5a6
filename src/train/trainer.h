/*
 * The training loop around the spine (step.c): epochs, evaluation, checkpoints, stopping. Knows
 * model, data and ops; nothing of job files or job directories: what happens outside goes through
 * hooks.
 */
#ifndef LC_TRAIN_TRAINER_H
#define LC_TRAIN_TRAINER_H

#include <stdatomic.h>

#include "data/batch.h"
#include "lorac/comm.h"
#include "lorac/event.h"
#include "model/model.h"
#include "train/checkpoint.h"
#include "train/schedule.h"

#define LC_MAX_NONFINITE_STEPS 3   /* skipped in a row, then the job fails */
#define LC_EVAL_CHUNK          256 /* examples laid out at once in an evaluation */

/* Everything resolved; no "auto" left. */
typedef struct lc_train_options {
    uint32_t seed;
    int64_t batch_size; /* examples per optimizer step */
    int64_t steps_per_epoch;
    int64_t total_steps;
    int64_t micro_batch_tokens;
    bool packing;
    bool shuffle;
    lc_schedule schedule;
    double learning_rate; /* peak */
    int64_t warmup_steps;
    double weight_decay;
    double grad_clip;               /* 0: off */
    int64_t eval_every_steps;       /* valid_* on a fixed sample */
    int64_t eval_examples;          /* size of that sample */
    int64_t checkpoint_every_steps; /* rolling resume checkpoint; also at every epoch end */
} lc_train_options;

/* Called in this order within a step: on_step, then (epoch end) on_epoch, then on_checkpoint. The
 * last two may be NULL: this rank writes nothing. The device may be in the next step already while
 * on_step is called for one that is neither evaluated nor checkpointed. */
typedef struct lc_train_hooks {
    void *context;
    LC_WARN_UNUSED lc_code (*on_step)(void *context, const lc_metrics *metrics,
                                      const lc_progress *progress, lc_err *err);
    /* Epoch `epoch` (from 1) ended; master is the adapter in host memory. */
    LC_WARN_UNUSED lc_code (*on_epoch)(void *context, int64_t epoch, const lc_metrics *metrics,
                                       const float *master, lc_err *err);
    /* A rolling checkpoint is due: fill in what only the caller knows (log lengths) and save it. */
    LC_WARN_UNUSED lc_code (*on_checkpoint)(void *context, lc_train_state *state, lc_err *err);
} lc_train_hooks;

typedef struct lc_trainer lc_trainer;

/* model: opened with training buffers for micro_batch_tokens (model.h), adapter masters already in
 * place. validation may be NULL. Everything is borrowed. All memory of the run is allocated here.
 */
LC_WARN_UNUSED lc_code lc_trainer_open(lc_model *model, const lc_dataset *training,
                                       const lc_dataset *validation, lc_comm *comm,
                                       const lc_train_options *options, lc_trainer **out,
                                       lc_err *err);
void lc_trainer_close(lc_trainer *trainer);

/* The state to load a checkpoint into before lc_trainer_run (host buffers owned by the trainer).
 * After filling it, call lc_trainer_restore. */
lc_train_state *lc_trainer_state(lc_trainer *trainer);
LC_WARN_UNUSED lc_code lc_trainer_restore(lc_trainer *trainer, lc_err *err);

/* Runs from the state's step to the end. *stop set (by a signal handler): the current micro-batch
 * is finished, and a step that a GPU has queued; the last whole step is checkpointed through
 * on_checkpoint, LC_ERR_INTERRUPTED. Of several ranks any may be asked: all finish the step, and
 * none returns before rank 0 has saved. */
LC_WARN_UNUSED lc_code lc_trainer_run(lc_trainer *trainer, const lc_train_hooks *hooks,
                                      const atomic_int *stop, lc_err *err);

/* Loss (weighted mean nll) and token accuracy of a data set under the current adapter; at most
 * max_examples (0: all), the first ones. Deterministic. */
LC_WARN_UNUSED lc_code lc_trainer_evaluate(lc_trainer *trainer, const lc_dataset *dataset,
                                           int64_t max_examples, double *loss, double *accuracy,
                                           lc_err *err);

/* Host copy of the adapter's masters, valid until the next step. */
LC_WARN_UNUSED lc_code lc_trainer_masters(lc_trainer *trainer, const float **master, lc_err *err);

#endif
