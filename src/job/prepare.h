/* What a job works with, made ready by prepare.c and data.c for run.c; private to src/job. */
#ifndef LC_JOB_PREPARE_H
#define LC_JOB_PREPARE_H

#include <stdatomic.h>

#include "comm/launch.h"
#include "job/directory.h"
#include "job/figures.h"
#include "job/ledger.h"
#include "lorac/comm.h"
#include "lorac/lorac.h"
#include "train/trainer.h"

struct lc_job {
    lc_job_spec spec;
    lc_job_dir dir; /* on other ranks than 0 only the resolved values in its state */
    lc_launch launch;
    int threads;
    atomic_int stop;
    lc_event_fn on_event; /* of the running lc_job_run */
    void *context;
    lc_metrics metrics;
    lc_job_figures figures; /* with the progress of the last step */
    double step_began;      /* monotonic: when what went before the step had ended */
    bool is_continued;      /* a checkpoint was found: the logs go on after it */
    bool has_run;
    bool is_silent;      /* what is said now is in the logs already */
    bool are_logs_known; /* lengths and counts of the logs are those of this run */
    lc_device *device;   /* owned */
    lc_comm comm;        /* owned; over all ranks once they have met */
    lc_model_config config;
    lc_adapter_spec *adapter; /* owned */
    lc_dataset training, validation;
    bool has_validation;
    lc_ledger ledger;    /* owned; of the device when has_ledger */
    bool has_ledger;     /* the device makes choices */
    bool is_ledger_warm; /* the first step's choices are stored */
    char deviation
        [LC_ERR_MESSAGE_BYTES]; /* why a resume goes on without its ledger; "": it has it */
    bool is_identified;         /* identity's base and initial adapter are known */
    lc_train_identity identity;
    const char
        *data_error; /* what is wrong with a data file, as an API error code; NULL: nothing */
    lc_model *model; /* owned */
    bool is_model_open;
    lc_trainer *trainer; /* owned */
};

/* Model shape and adapter of a job: what can be wrong with a job file before its directory is made.
 */
LC_WARN_UNUSED lc_code lc_job_check(lc_job *job, lc_err *err);

/* An "info" message event, left out while the job is silent. */
LC_WARN_UNUSED lc_code lc_job_say(lc_job *job, lc_err *err, const char *format, ...)
    LC_PRINTF(3, 4);

/* Reads both data sets with its "Preprocessing ..." events. The tokenized form is kept in
 * DIR/dataset and taken from there on resume when the source is unchanged; ranks other than 0 read
 * the sources. */
LC_WARN_UNUSED lc_code lc_job_load_data(lc_job *job, lc_err *err);

/* Tokens of the longest example of both data sets. */
int64_t lc_job_longest(const lc_job *job);

/* SHA-256 that stands for the base: names, sizes and all bytes of config.json, the index and every
 * .safetensors file. The digest does not depend on `threads`. */
LC_WARN_UNUSED lc_code lc_job_base_sha256(const char *model_dir, int threads, uint8_t digest[32],
                                          lc_err *err);

/* SHA-256 over both files of a PEFT adapter. */
LC_WARN_UNUSED lc_code lc_job_adapter_sha256(const char *adapter_dir, uint8_t digest[32],
                                             lc_err *err);

/* Opens the job's device unless it is open; a failure names the field. */
LC_WARN_UNUSED lc_code lc_job_open_device(lc_job *job, lc_device_kind kind, lc_err *err);

/* On a GPU, before a resume changes anything: reads DIR/ledger.json, opens the device, compares.
 * What is not as it was is LC_ERR_INVALID (param "ledger.json") when the job is deterministic, else
 * noted in job->deviation. */
LC_WARN_UNUSED lc_code lc_job_ledger_check(lc_job *job, lc_err *err);
/* The same for the ledger that a checkpoint was made with. */
LC_WARN_UNUSED lc_code lc_job_ledger_compare(lc_job *job, const lc_train_state *checkpoint,
                                             lc_err *err);
/* Gives the device its choices before the first product: those of the ledger, or, when the job
 * begins or deviates, the device's tuning table, which the ledger then starts with. Call before
 * resolved_known is set. */
LC_WARN_UNUSED lc_code lc_job_ledger_begin(lc_job *job, lc_err *err);
/* The same on another rank than 0, whose ledger is `first`: gives the device those choices. Facts
 * that decide and are not rank 0's are LC_ERR_INVALID (param: the fact) when the job is
 * deterministic; else a warning, and the device takes its own tuning table. */
LC_WARN_UNUSED lc_code lc_job_ledger_follow(lc_job *job, const lc_ledger *first, lc_err *err);
/* Stores what the device has chosen since. */
LC_WARN_UNUSED lc_code lc_job_ledger_update(lc_job *job, lc_err *err);
/* Fills in the ledger's fields of a checkpoint. */
void lc_job_ledger_note(const lc_job *job, lc_train_state *state);

/* Opens model and trainer by the resolved values, after the ranks have met; the adapter's first
 * values are in place. */
LC_WARN_UNUSED lc_code lc_job_prepare(lc_job *job, lc_err *err);

/* Frees what lc_job_prepare and lc_job_load_data made. */
void lc_job_unprepare(lc_job *job);

#endif
