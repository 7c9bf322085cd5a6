/*
 * The states of a job and how it gets from one to another: one table, and one function that changes
 * a state together with its event.
 */
#ifndef LC_SERVE_TRANSITIONS_H
#define LC_SERVE_TRANSITIONS_H

#include "serve/store.h"

/* As Azure names them. */
typedef enum lc_status {
    LC_STATUS_PENDING, /* waits, or its data is being read */
    LC_STATUS_RUNNING,
    LC_STATUS_PAUSING, /* asked to pause; the trainer is writing its checkpoint */
    LC_STATUS_PAUSED,
    LC_STATUS_RESUMING, /* asked to go on; waits, or the trainer is reading its checkpoint */
    LC_STATUS_SUCCEEDED,
    LC_STATUS_FAILED,
    LC_STATUS_CANCELLED,
    LC_STATUS_COUNT
} lc_status;

const char *lc_status_name(lc_status status);
/* LC_STATUS_COUNT for a word that is none. */
lc_status lc_status_of(const char *name);
bool lc_status_is_final(lc_status status);
bool lc_status_can_change(lc_status from, lc_status to);

/* Why a job failed or was paused; code "" or NULL: no reason. */
typedef struct lc_job_reason {
    const char *code, *message, *param;
} lc_job_reason;

/* Changes a job's state and adds the event that says so, in the transaction of db. finished_at and
 * error follow. *has_changed false: the job is gone, or in a state that has no way to `to`; nothing
 * was done. is_event false: no event (the trainer's own log says it). */
LC_WARN_UNUSED lc_code lc_job_change(lc_db *db, const char *job_id, lc_status to,
                                     const lc_job_reason *reason, bool is_event, bool *has_changed,
                                     lc_err *err);

/* Adds a message event of the service's own. */
LC_WARN_UNUSED lc_code lc_job_say_event(lc_db *db, const char *job_id, const char *level,
                                        const char *message, lc_err *err);

#endif
