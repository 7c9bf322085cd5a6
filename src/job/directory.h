/*
 * The job directory: the only thing the service reads. job.json, events.jsonl, results.csv, log.txt,
 * checkpoints/, resume/, adapter/, dataset/. One process holds its lock.
 */
#ifndef LC_JOB_DIRECTORY_H
#define LC_JOB_DIRECTORY_H

#include <stdbool.h>

#include "base/file.h"
#include "job/spec.h"
#include "lorac/event.h"

#define LC_JOB_ID_BYTES 48

typedef enum lc_job_status {
    LC_JOB_PENDING, LC_JOB_RUNNING, LC_JOB_PAUSED, LC_JOB_SUCCEEDED, LC_JOB_FAILED, LC_JOB_CANCELLED
} lc_job_status;

/* What job.json says (Azure's job object plus "lorac": {"resolved": ..., "spec_sha256": ...}). */
typedef struct lc_job_state {
    char id[LC_JOB_ID_BYTES];           /* "ftjob-" + 32 hex */
    char result_file[LC_JOB_ID_BYTES];  /* "file-" + 32 hex, derived from the job id; empty until training starts */
    int64_t created_at;
    int64_t finished_at; /* 0: not finished */
    lc_job_status status;
    const char *fine_tuned_model; /* set on success: "{model}.ft-{hex}[-{suffix}]"; NULL before */
    int64_t trained_tokens;       /* -1: unknown */
    char error_code[32];          /* empty: none */
    char error_message[LC_ERR_MESSAGE_BYTES];
    char error_param[LC_ERR_PARAM_BYTES];
    bool resolved_known;
    lc_job_resolved resolved;
    uint8_t spec_sha256[32];
    uint8_t base_sha256[32];     /* lc_weight_files_sha256 and config.json; zero until known */
    uint8_t training_sha256[32]; /* of the data set's source */
    uint8_t validation_sha256[32];
} lc_job_state;

typedef struct lc_job_dir {
    char path[LC_MAX_PATH_BYTES];
    int lock_fd;
    int events_fd;
    int results_fd;
    int64_t event_count;   /* sequence number of the next event */
    int64_t events_bytes;  /* length of events.jsonl */
    int64_t results_bytes; /* length of results.csv */
    bool resumed;          /* the directory held this job before */
    lc_job_state state;
} lc_job_dir;

/* Makes or opens the directory and locks it. Not resume: must be absent or empty (LC_ERR_USAGE otherwise;
 * a directory with only the lock file counts as empty). Resume with nothing there starts. Held by another
 * process: LC_ERR_BUSY. A job.json of another job file (spec_sha256) is LC_ERR_USAGE naming what differs. */
LC_WARN_UNUSED lc_code lc_job_dir_open(const char *path, const lc_job_spec *spec, bool resume,
                                       lc_job_dir *out, lc_err *err);
void lc_job_dir_close(lc_job_dir *dir);

/* Writes job.json atomically from dir->state. */
LC_WARN_UNUSED lc_code lc_job_dir_save(lc_job_dir *dir, const lc_job_spec *spec, lc_err *err);

/* Appends one event line and hands it to on_event (may be NULL). ids: "ftevent-" + first 32 hex of
 * SHA-256(job id, sequence number). The line is in the file before the callback runs. */
LC_WARN_UNUSED lc_code lc_job_event(lc_job_dir *dir, const char *level, lc_event_fn on_event, void *context,
                                    lc_err *err, const char *format, ...) LC_PRINTF(6, 7);
/* "Step N: training loss=X" with its data keys (NaN values left out), and the results.csv row of every step:
 * write_event false appends the row only. progress goes to the callback. */
LC_WARN_UNUSED lc_code lc_job_step(lc_job_dir *dir, const lc_metrics *metrics, const lc_progress *progress,
                                   bool write_event, lc_event_fn on_event, void *context, lc_err *err);

/* Makes sure events and results are on the disk (before a checkpoint that counts on them). */
LC_WARN_UNUSED lc_code lc_job_dir_sync(lc_job_dir *dir, lc_err *err);
/* Cuts both files back to a checkpoint's lengths and numbers. */
LC_WARN_UNUSED lc_code lc_job_dir_rewind(lc_job_dir *dir, int64_t event_count, int64_t events_bytes,
                                         int64_t results_bytes, lc_err *err);

#endif
