/*
 * The job directory: the only thing the service reads. job.json, events.jsonl, results.csv,
 * log.txt, checkpoints/, resume/, adapter/, dataset/. One process holds its lock.
 *
 * A job's states: pending -> running -> succeeded or failed; paused when a run was stopped by a
 * signal (error null) or by a full disk (error disk_full). Everything but succeeded can be resumed,
 * failed too (after the cause is gone). A run that was killed leaves pending or running behind.
 */
#ifndef LC_JOB_DIRECTORY_H
#define LC_JOB_DIRECTORY_H

#include <stdbool.h>

#include "base/file.h"
#include "job/spec.h"
#include "lorac/event.h"
#include "train/checkpoint.h"

#define LC_JOB_ID_BYTES       48
#define LC_JOB_RESERVE_BYTES  65536 /* .reserve: released to write job.json on a full disk */
#define LC_MAX_JOB_JSON_BYTES ((size_t)4 << 20)
#define LC_JOB_NAME_BYTES     (LC_MAX_PATH_BYTES + 128)

typedef enum lc_job_status {
    LC_JOB_PENDING,
    LC_JOB_RUNNING,
    LC_JOB_PAUSED,
    LC_JOB_SUCCEEDED,
    LC_JOB_FAILED,
    LC_JOB_CANCELLED
} lc_job_status;

/* What is remembered of a data set: its cached tokens need no second tokenization. */
typedef struct lc_job_data {
    uint8_t cache_sha256[32]; /* of dataset/NAME.safetensors; zero: no cache */
    int64_t example_count;
    int64_t token_count;
    int64_t truncated_count;
    int64_t truncated_tokens;
} lc_job_data;

/* What job.json says: Azure's job object plus "lorac": {job (canonical text), spec_sha256, seed,
 * resolved, identity, data}. */
typedef struct lc_job_state {
    char id[LC_JOB_ID_BYTES];          /* "ftjob-" + 32 hex */
    char result_file[LC_JOB_ID_BYTES]; /* "file-" + 32 hex, derived from the job id; empty until
                                          training starts */
    int64_t created_at;
    int64_t finished_at;      /* 0: not finished */
    int64_t estimated_finish; /* 0: unknown */
    lc_job_status status;
    int64_t trained_tokens; /* -1: unknown */
    char error_code[32];    /* empty: none */
    char error_message[LC_ERR_MESSAGE_BYTES];
    char error_param[LC_ERR_PARAM_BYTES];
    uint32_t drawn_seed; /* drawn with the id; used when the job file leaves the seed open */
    int64_t world_size;  /* ranks of the last run; 1 until one has begun */
    bool resolved_known; /* resolved, identity and data are set */
    lc_job_resolved resolved;
    lc_train_identity identity; /* spec_sha256 always, the rest when resolved_known */
    lc_job_data training, validation;
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
    bool is_entry_synced;  /* the names of both logs are known to be on the disk */
    lc_job_state state;
} lc_job_dir;

/* Makes or opens the directory and locks it. Not resume: must be absent or empty (LC_ERR_USAGE
 * otherwise; a directory with only the lock file and our own unfinished temporary files counts as
 * empty). Resume with nothing there starts. Held by another process: LC_ERR_BUSY. A job.json of
 * another job file is LC_ERR_USAGE naming the field that differs. A new job draws id and seed and
 * stores job.json before anything else. A job that has succeeded is opened without touching any
 * file but the lock. */
LC_WARN_UNUSED lc_code lc_job_dir_open(const char *path, const lc_job_spec *spec, bool resume,
                                       lc_job_dir *out, lc_err *err);
void lc_job_dir_close(lc_job_dir *dir);
/* For a rank that does not work on the directory: whether the job in it has succeeded. Nothing is
 * touched; a directory that is not there or cannot be read has none. */
bool lc_job_dir_has_succeeded(const char *path);

/* Writes job.json atomically from dir->state. */
LC_WARN_UNUSED lc_code lc_job_dir_save(lc_job_dir *dir, const lc_job_spec *spec, lc_err *err);
/* Frees the reserve, so that lc_job_dir_save can work on a full disk. Made again by the next open.
 */
void lc_job_dir_release_reserve(lc_job_dir *dir);

/* Appends one event line and hands it to on_event (may be NULL). ids: "ftevent-" + first 32 hex of
 * SHA-256(job id ":" sequence number). The line is in the file before the callback runs. */
LC_WARN_UNUSED lc_code lc_job_event(lc_job_dir *dir, const char *level, lc_event_fn on_event,
                                    void *context, lc_err *err, const char *format, ...)
    LC_PRINTF(6, 7);
/* "Step N: training loss=X" with its data keys (NaN values left out), and the results.csv row of
 * every step: write_event false appends the row only. A step whose update was skipped (train_loss
 * NaN) gives a warning instead. After that the callback gets a "progress" call with metrics and
 * progress. */
LC_WARN_UNUSED lc_code lc_job_step(lc_job_dir *dir, const lc_metrics *metrics,
                                   const lc_progress *progress, bool write_event,
                                   lc_event_fn on_event, void *context, lc_err *err);
/* Appends the header of results.csv when the file is empty. */
LC_WARN_UNUSED lc_code lc_job_results_begin(lc_job_dir *dir, lc_err *err);

/* Makes sure events and results are on the disk (before a checkpoint that counts on them). */
LC_WARN_UNUSED lc_code lc_job_dir_sync(lc_job_dir *dir, lc_err *err);
/* Cuts both files back to a checkpoint's lengths and numbers. A file that is shorter was damaged:
 * LC_ERR_INVALID. */
LC_WARN_UNUSED lc_code lc_job_dir_rewind(lc_job_dir *dir, int64_t event_count, int64_t events_bytes,
                                         int64_t results_bytes, lc_err *err);

/* PREFIX + first 32 hex of SHA-256(job id ":" what). */
void lc_job_derive_id(const char *job_id, const char *prefix, const char *what,
                      char out[LC_JOB_ID_BYTES]);
/* "{last component of model}.ft-{hex of job id}[-{suffix}]". */
void lc_job_model_name(const lc_job_state *state, const lc_job_spec *spec,
                       char out[LC_JOB_NAME_BYTES]);
/* The seven keys of an event's data, those that are known; step as 60, or 60.0 (in checkpoint
 * objects). */
void lc_job_metrics_write(const lc_metrics *metrics, bool float_step, lc_text *out);

/* job.json from a state and back (state.c). *canonical, when not NULL, receives a copy of the
 * canonical text's object (cJSON_Delete). */
void lc_job_state_write(const lc_job_state *state, const lc_job_spec *spec, lc_text *out);
LC_WARN_UNUSED lc_code lc_job_state_read(const char *text, size_t bytes, const char *what,
                                         lc_job_state *out, cJSON **canonical, lc_err *err);
const char *lc_job_status_name(lc_job_status status);
bool lc_job_id_is(const char *id); /* "ftjob-" and 32 lower-case hex digits */

#endif
