/*
 * From a trainer's directory into the store: its events, each once, its checkpoints and results,
 * and what its end means for the job. Every call is one transaction. Used by the supervisor.
 */
#ifndef LC_SERVE_FOLLOW_H
#define LC_SERVE_FOLLOW_H

#include <sys/stat.h>

#include "job/directory.h"
#include "serve/process.h"
#include "serve/store.h"

#define LC_FOLLOW_BYTES ((size_t)256 << 10) /* of events.jsonl a call */
#define LC_MAX_RESTARTS 3 /* after crashes without a new step in between; then the job fails */

/* How far one job's directory has been read. Zeroed: from the beginning. */
typedef struct lc_follow {
    int64_t offset, line; /* of events.jsonl */
    struct stat seen;     /* job.json as it was read last */
    bool has_state;
    lc_job_state state; /* what it said */
} lc_follow;

typedef struct lc_follow_end {
    const lc_process *process; /* how it ended; NULL: nobody saw */
    bool is_stopping;          /* with the server */
    int64_t log_begin;         /* where its output begins in the log */
} lc_follow_end;

/* What is to be done with the job. */
typedef enum lc_follow_next {
    LC_NEXT_NOTHING,
    LC_NEXT_MORE,   /* there is more to read */
    LC_NEXT_RESTART /* its process is gone, and it should go on */
} lc_follow_next;

/* Reads on. `end` NULL: the trainer works. With an end everything that is there is read first. On
 * failure nothing has changed and the call can be made again. */
LC_WARN_UNUSED lc_code lc_follow_read(lc_store *store, const char *job_id, lc_follow *follow,
                                      const lc_follow_end *end, lc_follow_next *next, lc_err *err);

/* DATA/jobs/ID */
LC_WARN_UNUSED lc_code lc_job_place(const lc_store *store, const char *job_id,
                                    char out[LC_MAX_PATH_BYTES], lc_err *err);

/* Private to follow*.c: the checkpoints on disk into the store; and the adapter of a paused run,
 * kept where the trainer will not remove it. */
LC_WARN_UNUSED lc_code lc_follow_checkpoints(lc_db *db, const lc_store *store, const char *job_id,
                                             lc_err *err);
LC_WARN_UNUSED lc_code lc_follow_paused(lc_db *db, const lc_store *store, const char *job_id,
                                        lc_err *err);

#endif
