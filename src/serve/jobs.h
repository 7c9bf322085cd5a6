/*
 * Fine-tuning jobs as the API has them. Every call is one transaction; what a job does after it is
 * the supervisor's (supervisor.h), who wants a poke after a change. A job of another owner is not
 * found. Objects and lists are written as JSON into *out.
 *
 * DATA/jobs/ID is the job's place: spec.json (the job file), training.jsonl and validation.jsonl
 * (links, so that a deleted file does not take a job's data away), init/ (the adapter it continues
 * from), run/ (the trainer's directory), epoch-N/ and paused-step-N/ (the checkpoints that are
 * offered: links to the trainer's), log.txt.
 */
#ifndef LC_SERVE_JOBS_H
#define LC_SERVE_JOBS_H

#include "base/json.h"
#include "serve/page.h"
#include "serve/store.h"

#define LC_JOBS_DIR       "jobs"
#define LC_JOB_SPEC       "spec.json"
#define LC_JOB_TRAINING   "training.jsonl"
#define LC_JOB_VALIDATION "validation.jsonl"
#define LC_JOB_INIT       "init"
#define LC_JOB_RUN        "run"
#define LC_JOB_MODELS     "models" /* a link to the base models */

typedef struct lc_jobs_options {
    const char *models_dir;
    int64_t queued_limit, queued_limit_per_key; /* pending jobs; more: LC_ERR_BUSY */
    int64_t max_rank; /* of an adapter; 0: no limit */
} lc_jobs_options;

/* body: that of Azure's create call, with one more member, "lorac", of the job file (spec.h) but
 * for its paths. Fields are checked all before anything is made; errors name the field. The model:
 * a base, or a fine-tuned model or checkpoint to go on from. The files: this owner's, of purpose
 * fine-tune, processed. */
LC_WARN_UNUSED lc_code lc_jobs_create(lc_store *store, const lc_jobs_options *options,
                                      const char *owner, const cJSON *body, lc_text *out,
                                      lc_err *err);
LC_WARN_UNUSED lc_code lc_jobs_get(lc_store *store, const char *owner, const char *id, lc_text *out,
                                   lc_err *err);
/* metadata: an object of texts that the jobs must all have; NULL: any. */
LC_WARN_UNUSED lc_code lc_jobs_list(lc_store *store, const char *owner, const lc_page *page,
                                    const cJSON *metadata, lc_text *out, lc_err *err);

/* In a state that has no way to the wanted one: LC_ERR_STATE. All answer with the job. */
LC_WARN_UNUSED lc_code lc_jobs_cancel(lc_store *store, const char *owner, const char *id,
                                      lc_text *out, lc_err *err);
/* Only a running job that has finished a step. */
LC_WARN_UNUSED lc_code lc_jobs_pause(lc_store *store, const char *owner, const char *id,
                                     lc_text *out, lc_err *err);
LC_WARN_UNUSED lc_code lc_jobs_resume(lc_store *store, const char *owner, const char *id,
                                      lc_text *out, lc_err *err);

/* A job that is paused or has ended, with its events, checkpoints and results. A model that it made
 * stays until that is deleted too; while a checkpoint is deployed, LC_ERR_STATE. */
LC_WARN_UNUSED lc_code lc_jobs_delete(lc_store *store, const char *owner, const char *id,
                                      lc_err *err);

LC_WARN_UNUSED lc_code lc_jobs_events(lc_store *store, const char *owner, const char *id,
                                      const lc_page *page, lc_text *out, lc_err *err);
/* Those that can be deployed. */
LC_WARN_UNUSED lc_code lc_jobs_checkpoints(lc_store *store, const char *owner, const char *id,
                                           const lc_page *page, lc_text *out, lc_err *err);

/* ---- private to jobs*.c ---- */

/* Columns of a job as lc_job_object_write reads them; `jobs` is in the statement's FROM. */
#define LC_JOB_COLUMNS                                                                        \
    "jobs.id, jobs.created_at, jobs.finished_at, jobs.model, jobs.model_name, jobs.status, "  \
    "jobs.error_code, jobs.error_message, jobs.error_param, jobs.n_epochs, jobs.batch_size, " \
    "jobs.learning_rate_multiplier, jobs.seed, jobs.training_file, jobs.validation_file, "    \
    "jobs.result_file, jobs.trained_tokens, jobs.estimated_finish, jobs.integrations, "       \
    "jobs.metadata, jobs.suffix, jobs.training_type"
void lc_job_object_write(const lc_rows *rows, lc_text *out);
/* The object of a job of this owner, in the transaction of db. */
LC_WARN_UNUSED lc_code lc_job_object_read(lc_db *db, const char *owner, const char *id,
                                          lc_text *out, lc_err *err);

#endif
