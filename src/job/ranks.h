/*
 * A job on several ranks. Rank 0 alone works on the job directory: it decides, reads and writes,
 * and the others get from it what they need, so that they need no file system in common with it but
 * for the job file, the model and the data. Private to src/job.
 */
#ifndef LC_JOB_RANKS_H
#define LC_JOB_RANKS_H

#include "job/prepare.h"

static inline bool lc_job_is_follower(const lc_job *job)
{
    return job->launch.rank > 0;
}

/* Several ranks need GPUs: LC_ERR_UNSUPPORTED on the CPU. AUTO is not known yet, and passes. */
LC_WARN_UNUSED lc_code lc_job_check_ranks(const lc_job *job, lc_device_kind kind, lc_err *err);

/* Joins the ranks of job->launch on the opened device; one rank is joined at once. */
LC_WARN_UNUSED lc_code lc_job_meet(lc_job *job, lc_err *err);

/* What rank 0 resolved becomes what the others work with; that they read the same job file, base
 * model and data is checked by the hashes in job->identity (LC_ERR_USAGE). */
LC_WARN_UNUSED lc_code lc_job_share_facts(lc_job *job, lc_err *err);

/* What rank 0 gave its device before the first product, for all devices (lc_job_ledger_follow). */
LC_WARN_UNUSED lc_code lc_job_share_ledger(lc_job *job, lc_err *err);

/* The checkpoint that rank 0 goes on from, for all. */
LC_WARN_UNUSED lc_code lc_job_share_checkpoint(lc_job *job, lc_err *err);

/* All ranks have come to the same adapter, or one of the devices computes wrongly: LC_ERR_DEVICE
 * on the ranks that differ from rank 0. */
LC_WARN_UNUSED lc_code lc_job_compare_adapters(lc_job *job, lc_err *err);

#endif
