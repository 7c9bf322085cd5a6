/*
 * Checkpoints. resume/step-N/ holds what a bit-exact continuation needs (masters, Adam moments,
 * counters, lengths of the logs) under a manifest with hashes; checkpoints/epoch-N/ and adapter/
 * are PEFT adapters. Directory protocol of docs/architecture.md: temp dir, fsync, manifest last,
 * rename, fsync; readers verify and fall back to the newest valid one.
 */
#ifndef LC_TRAIN_CHECKPOINT_H
#define LC_TRAIN_CHECKPOINT_H

#include "model/adapter.h"

#define LC_MAX_MANIFEST 65536 /* bytes of MANIFEST.json */

typedef struct lc_train_state {
    int64_t step;    /* optimizer steps done, skipped ones included */
    int64_t updates; /* Adam's t: steps that were applied */
    int64_t trained_tokens;
    int64_t nonfinite_steps;
    int64_t nonfinite_in_a_row;
    int64_t is_open; /* 1: the last step is done but not measured; its row is not written yet */
    double train_loss, train_accuracy; /* of the open step; NaN: its update was skipped */
    int64_t event_count;               /* job directory: see lc_job_dir_rewind */
    int64_t events_bytes;
    int64_t results_bytes;
    int64_t ledger_count; /* choices that the device had made, and the hash of the ledger up to */
    uint8_t ledger_sha256[32]; /* there (job/ledger.h); zero: there is no ledger */
    float *master, *m, *v;     /* host memory, count floats each; borrowed */
    int64_t count;
} lc_train_state;

/* Identity that a checkpoint must share with the job: compared byte for byte on load; a difference
 * is an LC_ERR_USAGE that names it ("the base model", "the training file", ...). Zero: there is
 * none. */
typedef struct lc_train_identity {
    uint8_t spec_sha256[32];
    uint8_t base_sha256[32];
    uint8_t training_sha256[32];
    uint8_t validation_sha256[32];
    uint8_t init_sha256[32]; /* of init_adapter */
} lc_train_identity;

/* Names the first difference: LC_ERR_USAGE "the training file has changed since ...". */
LC_WARN_UNUSED lc_code lc_train_identity_compare(const lc_train_identity *then,
                                                 const lc_train_identity *now, lc_err *err);

/* Writes JOB/resume/step-N (state.safetensors with master, m and v; MANIFEST.json with counters,
 * identity, sizes and hashes, its own included) and removes older ones once it is safe on disk.
 * Refuses non-finite tensors (LC_ERR_NUMERIC). A valid one of the same step is kept as it is;
 * beside an open step the older one stays. On failure the older checkpoint is still there. */
LC_WARN_UNUSED lc_code lc_checkpoint_save(const char *job_dir, const lc_train_state *state,
                                          const lc_train_identity *identity, lc_err *err);

/* Loads the newest valid checkpoint into *state (buffers given by the caller; master NULL:
 * everything is verified but only the counters are filled in). *found false when there is none.
 * Invalid ones are skipped with a warning in the log that says why. Debris (.tmp-, .trash-) is
 * removed. An LC_ERR_IO is passed on: nothing is skipped that may be good. */
LC_WARN_UNUSED lc_code lc_checkpoint_load(const char *job_dir, const lc_train_identity *identity,
                                          lc_train_state *state, bool *found, lc_err *err);

/* Writes JOB/checkpoints/epoch-N (N from 1) with adapter files and checkpoint.json (Azure's
 * checkpoint object, the text given), then prunes to the newest `keep`. An existing epoch-N is
 * replaced. */
LC_WARN_UNUSED lc_code lc_checkpoint_save_epoch(const char *job_dir, int64_t epoch, int64_t keep,
                                                const char *checkpoint_json,
                                                const lc_adapter_spec *spec,
                                                const lc_model_config *config, const float *master,
                                                const lc_adapter_meta *meta, lc_err *err);

/* Removes epochs after `epoch`: what a run wrote past the checkpoint that is resumed from. */
LC_WARN_UNUSED lc_code lc_checkpoint_drop_epochs(const char *job_dir, int64_t epoch, lc_err *err);

/* Writes JOB/paused, the same of a run that was stopped between two epochs. */
LC_WARN_UNUSED lc_code lc_checkpoint_save_paused(const char *job_dir, const char *checkpoint_json,
                                                 const lc_adapter_spec *spec,
                                                 const lc_model_config *config, const float *master,
                                                 const lc_adapter_meta *meta, lc_err *err);
/* Removes it: the run goes on. */
LC_WARN_UNUSED lc_code lc_checkpoint_drop_paused(const char *job_dir, lc_err *err);

/* Writes JOB/adapter, replacing an older one. */
LC_WARN_UNUSED lc_code lc_checkpoint_save_final(const char *job_dir, const lc_adapter_spec *spec,
                                                const lc_model_config *config, const float *master,
                                                const lc_adapter_meta *meta, lc_err *err);

#endif
