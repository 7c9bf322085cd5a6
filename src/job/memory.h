/*
 * What a job will hold in memory, and whether that fits. `lorac plan` shows it; `lorac train` asks
 * before it allocates the model.
 */
#ifndef LC_JOB_MEMORY_H
#define LC_JOB_MEMORY_H

#include "data/dataset.h"
#include "job/spec.h"
#include "model/model.h"

/* What a plan needs to know of a data set; no examples: the set is not there. */
typedef struct lc_data_extent {
    int64_t examples, tokens, targets;
} lc_data_extent;

/* Everything the size of a job depends on. */
typedef struct lc_job_extent {
    const lc_model_config *config;
    const lc_adapter_spec *adapter;
    const lc_job_resolved *resolved;
    double dropout;
    lc_recompute recompute;
    int world_size;  /* ranks, each with all of this; 0 is 1 */
    int64_t longest; /* tokens of the longest example */
    lc_data_extent training, validation;
    int64_t process_bytes; /* program, libraries, threads; 0: not known */
} lc_job_extent;

lc_data_extent lc_data_extent_of(const lc_dataset *dataset);
int64_t lc_data_extent_bytes(const lc_data_extent *data);

/* Resident bytes of this process now, less `loaded` bytes of data sets, and what a run touches
 * beyond. Call it once the threads have been started. */
int64_t lc_job_process_bytes(int64_t loaded);

/* Every buffer of the job with these micro-batches and so many steps of recomputation
 * (lc_model_recompute_steps); the table lives in the arena. */
LC_WARN_UNUSED lc_code lc_job_memory_plan(const lc_job_extent *job, int64_t micro_batch_tokens,
                                          int32_t recompute, lc_arena *arena, lc_plan *plan,
                                          lc_err *err);

/* What this machine has free for the job, control groups and address space limit counted, and what
 * this process holds already, since that is in the plan; -1: not known. */
int64_t lc_job_memory_limit(void);

/* The fewest steps of recomputation that job->recompute allows and with which the job needs no more
 * than `limit` bytes (-1: not known). LC_ERR_MEMORY when there are none: names what the job then
 * needs at least, the three largest buffers, and the largest micro-batch that would fit. */
LC_WARN_UNUSED lc_code lc_job_memory_fit(const lc_job_extent *job, int64_t limit,
                                         int32_t *recompute, lc_err *err);

/* "gate|up of 12 layers" and the like: what so many steps make the backward pass compute again. */
#define LC_RECOMPUTE_BYTES 128
const char *lc_job_recompute_text(const lc_job_extent *job, int32_t recompute,
                                  char out[LC_RECOMPUTE_BYTES]);

#endif
