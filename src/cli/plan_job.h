/*
 * The plan of a whole job: what lc_model_plan says of the model, and beside it data sets, host
 * copies, program and libraries; and an estimate of its time. Used by plan.c alone; trains nothing
 * and reads no weights.
 */
#ifndef LC_CLI_PLAN_JOB_H
#define LC_CLI_PLAN_JOB_H

#include "job/spec.h"
#include "model/model.h"

typedef struct lc_job_plan {
    lc_job_spec spec;
    lc_job_resolved resolved;
    lc_model_config config;
    lc_adapter_spec *adapter; /* owned */
    lc_plan plan;             /* its table lives in arena */
    lc_arena arena;
    lc_device *device; /* owned; the CPU device, NULL when the job wants another one */

    bool has_training, has_validation; /* the files are there and were read */
    int64_t example_count, token_count, target_count, longest;
    int64_t validation_examples, validation_tokens, validation_targets;

    double epoch_flops; /* training and full validation of one epoch; 0: unknown, no data */
    double token_flops; /* of one trained token in a document of mean length */
    double gemm_flops_per_second; /* measured; 0: not measured */
} lc_job_plan;

/* Share of the measured GEMM rate that a whole step reaches: between the GEMMs there are norms,
 * attention, softmax and small matrices. See docs/performance.md. */
#define LC_STEP_EFFICIENCY 0.6

/* Reads job file, config.json and, where they are there, the data; plans. threads 0: as a job
 * would choose. Release in any case. */
LC_WARN_UNUSED lc_code lc_job_plan_make(const char *job_file, int64_t threads, lc_job_plan *out,
                                        lc_err *err);
void lc_job_plan_release(lc_job_plan *job);

/* Total bytes of the same job with another micro-batch. */
LC_WARN_UNUSED lc_code lc_job_plan_bytes_with(lc_job_plan *job, int64_t micro_batch_tokens,
                                              int64_t *bytes, lc_err *err);

/* The largest micro-batch, at least the longest example and at most the planned one, whose total
 * is at most `limit` bytes; 0 when none is. */
LC_WARN_UNUSED lc_code lc_job_plan_largest_fit(lc_job_plan *job, int64_t limit,
                                               int64_t *micro_batch_tokens, lc_err *err);

#endif
