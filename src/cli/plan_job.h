/*
 * The plan of a whole job from its file: its memory, and an estimate of its time. Used by plan.c
 * alone; trains nothing and reads no weights.
 */
#ifndef LC_CLI_PLAN_JOB_H
#define LC_CLI_PLAN_JOB_H

#include "job/memory.h"

typedef struct lc_job_plan {
    lc_job_spec spec;
    lc_job_resolved resolved;
    lc_model_config config;
    lc_adapter_spec *adapter; /* owned */
    lc_job_extent extent;     /* points into this struct */
    int32_t recompute;        /* steps, see lc_model_recompute_steps */
    lc_plan plan;             /* with them; its table lives in arena */
    lc_arena arena;
    lc_device *device; /* owned; the CPU device, NULL when the job wants another one */

    double epoch_flops; /* training and full validation of one epoch; 0: unknown, no data */
    double token_flops; /* of one trained token in a document of mean length */
    double gemm_flops_per_second; /* measured; 0: not measured */
} lc_job_plan;

/* Share of the measured GEMM rate that a whole step reaches: between the GEMMs there are norms,
 * attention, softmax and small matrices. See docs/performance.md. */
#define LC_STEP_EFFICIENCY 0.6

typedef struct lc_job_plan_options {
    const char *job_file;
    int64_t threads; /* 0: as a job would choose */
    int64_t ranks;   /* 0: one */
} lc_job_plan_options;

/* Reads job file, config.json and, where they are there, the data; measures the device. Release
 * in any case. */
LC_WARN_UNUSED lc_code lc_job_plan_make(const lc_job_plan_options *options, lc_job_plan *out,
                                        lc_err *err);
/* Plans for `limit` bytes (-1: not known). A job that does not fit is planned as small as it gets,
 * and *refusal says so. */
LC_WARN_UNUSED lc_code lc_job_plan_fit(lc_job_plan *job, int64_t limit, lc_err *refusal,
                                       lc_err *err);
void lc_job_plan_release(lc_job_plan *job);

#endif
