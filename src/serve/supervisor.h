/*
 * The supervisor: one thread that starts a trainer per job, follows it, stops it when its job is to
 * be paused or is cancelled, starts it again after a crash, and on its own start takes over those
 * that still run. What should be is in the store (states), what is there are processes and job
 * directories; each round brings the second nearer to the first.
 */
#ifndef LC_SERVE_SUPERVISOR_H
#define LC_SERVE_SUPERVISOR_H

#include "serve/store.h"

#define LC_MAX_TRAINERS 64 /* running at once */

typedef struct lc_supervisor lc_supervisor;

typedef struct lc_supervisor_options {
    const char *program;                          /* the lorac program */
    const char *models_dir;                       /* of the base models */
    int64_t running_limit, running_limit_per_key; /* at most LC_MAX_TRAINERS */
    int threads;                                  /* of a trainer; 0: its own choice */
    int nice;                                     /* steps behind this process */
    double stop_seconds;                          /* from SIGTERM to SIGKILL; 0: 60 */
} lc_supervisor_options;

/* One per data directory (it holds the lock of DATA/jobs): LC_ERR_BUSY when there is another.
 * Options are copied. */
LC_WARN_UNUSED lc_code lc_supervisor_start(lc_store *store, const lc_supervisor_options *options,
                                           lc_supervisor **out, lc_err *err);
/* Something has changed in the store. Any thread. */
void lc_supervisor_poke(lc_supervisor *supervisor);
/* All trainers write a checkpoint and end; their jobs go on with the next start. Blocks until they
 * have, or stop_seconds have passed. It may still be poked, for nothing. NULL: nothing. */
void lc_supervisor_stop(lc_supervisor *supervisor);
/* Stops it first. NULL: nothing. */
void lc_supervisor_free(lc_supervisor *supervisor);

#endif
