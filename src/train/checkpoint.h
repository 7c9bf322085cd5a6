/*
 * Checkpoints. resume/step-N/ holds what a bit-exact continuation needs (masters, Adam moments, counters,
 * lengths of the logs) under a manifest with hashes; checkpoints/epoch-N/ and adapter/ are PEFT adapters.
 * Directory protocol of docs/architecture.md: temp dir, fsync, manifest last, rename, fsync; readers verify
 * and fall back to the newest valid one.
 */
#ifndef LC_TRAIN_CHECKPOINT_H
#define LC_TRAIN_CHECKPOINT_H

#include "model/adapter.h"

typedef struct lc_train_state {
    int64_t step;         /* optimizer steps done, skipped ones included */
    int64_t updates;      /* Adam's t: steps that were applied */
    int64_t trained_tokens;
    int64_t nonfinite_steps;
    int64_t event_count;  /* job directory: see lc_job_dir_rewind */
    int64_t events_bytes;
    int64_t results_bytes;
    float *master, *m, *v; /* host memory, count floats each; borrowed */
    int64_t count;
} lc_train_state;

/* Identity that a checkpoint must share with the job: compared byte for byte on load; a difference is an
 * LC_ERR_USAGE that names it ("the base model", "the training file", ...). */
typedef struct lc_train_identity {
    uint8_t spec_sha256[32];
    uint8_t base_sha256[32];
    uint8_t training_sha256[32];
    uint8_t validation_sha256[32];
} lc_train_identity;

/* Writes JOB/resume/step-N and removes older ones once it is safe on disk. Refuses non-finite tensors
 * (LC_ERR_NUMERIC). */
LC_WARN_UNUSED lc_code lc_checkpoint_save(const char *job_dir, const lc_train_state *state,
                                          const lc_train_identity *identity, lc_err *err);

/* Loads the newest valid checkpoint into *state (buffers given by the caller). *found false when there is
 * none. Invalid ones are skipped with a warning in the log that says why. Debris (.tmp-, .trash-) is removed. */
LC_WARN_UNUSED lc_code lc_checkpoint_load(const char *job_dir, const lc_train_identity *identity,
                                          lc_train_state *state, bool *found, lc_err *err);

/* Writes JOB/checkpoints/epoch-N (N from 1) with adapter files and metrics.json ({step_number, metrics}), then
 * prunes to the newest `keep`. An existing epoch-N of the same content is replaced atomically. */
LC_WARN_UNUSED lc_code lc_checkpoint_save_epoch(const char *job_dir, int64_t epoch, int64_t keep,
                                                const char *metrics_json, const lc_adapter_spec *spec,
                                                const lc_model_config *config, const float *master,
                                                const lc_adapter_meta *meta, lc_err *err);

/* Writes JOB/adapter. */
LC_WARN_UNUSED lc_code lc_checkpoint_save_final(const char *job_dir, const lc_adapter_spec *spec,
                                                const lc_model_config *config, const float *master,
                                                const lc_adapter_meta *meta, lc_err *err);

#endif
