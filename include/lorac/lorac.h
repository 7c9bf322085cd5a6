/*
 * The public C API: open a job, run it with an event callback, stop it. What `lorac train` does, in
 * a program of your own. Compile with `pkg-config --cflags --libs lorac`.
 */
#ifndef LORAC_LORAC_H
#define LORAC_LORAC_H

#include "lorac/err.h"
#include "lorac/event.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lc_job lc_job;

typedef struct lc_job_options {
    const char *job_file; /* path of the job file (JSON); paths inside are relative to the working
                             directory */
    const char
        *out_dir; /* job directory: must be new or empty, or hold this job when resume is set */
    int resume;   /* 1: go on from the newest valid checkpoint, or start where there is none */
    const char
        *id;     /* of a new job, "ftjob-" and 32 hex digits; NULL: drawn. On resume it must be the
                       job's */
    int threads; /* compute threads; 0: LORAC_THREADS, else all cores of this process */
} lc_job_options;

/* Reads and checks the job file, resolves every "auto", locks the job directory. *job is owned by
 * the caller; free it with lc_job_close. Nothing is trained yet. */
LC_WARN_UNUSED lc_code lc_job_open(const lc_job_options *options, lc_job **job, lc_err *err);

/* Runs to the end, once a handle. LC_OK: succeeded. LC_ERR_INTERRUPTED: stopped by lc_job_stop,
 * checkpoint kept, open it again with resume. Other codes: job.json says failed, or paused when the
 * disk is full. A job that has succeeded before only says so to on_event. Blocks. */
LC_WARN_UNUSED lc_code lc_job_run(lc_job *job, lc_event_fn on_event, void *context, lc_err *err);

/* Asks a running job to stop after the current micro-batch. Async-signal-safe; any thread. */
void lc_job_stop(lc_job *job);

void lc_job_close(lc_job *job);

/* "0.1.0" */
const char *lc_version(void);

#ifdef __cplusplus
}
#endif
#endif
