/*
 * Job events, as Azure's fine-tuning service words them. The trainer hands each to a callback after
 * it is safely in events.jsonl.
 */
#ifndef LORAC_EVENT_H
#define LORAC_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One training step's figures. A value that was not measured is NaN and is left out of files. */
typedef struct lc_metrics {
    int64_t step; /* from 1 */
    double train_loss;
    double train_mean_token_accuracy;
    double valid_loss; /* on a fixed sample of the validation file */
    double valid_mean_token_accuracy;
    double full_valid_loss; /* on the whole validation file, at epoch ends */
    double full_valid_mean_token_accuracy;
} lc_metrics;

/* What else a watcher wants to know; not part of Azure's event. */
typedef struct lc_progress {
    int64_t step;
    int64_t total_steps;
    int64_t trained_tokens;   /* tokens of all examples seen so far, epochs included */
    double tokens_per_second; /* over the last steps */
    double eta_seconds;
    double learning_rate;
    double grad_norm;
    int64_t nonfinite_steps; /* steps skipped so far */
} lc_progress;

/* How far a data file has been read and tokenized. */
typedef struct lc_preparation {
    const char *name; /* "training" or "validation" */
    int64_t done_bytes, total_bytes;
} lc_preparation;

typedef struct lc_event {
    const char *id;      /* "ftevent-" + 32 hex */
    int64_t created_at;  /* unix seconds */
    const char *level;   /* "info", "warn", "error" */
    const char *type;    /* "message" or "metrics"; "progress", "preparation" see lc_event_fn */
    const char *message; /* borrowed, valid during the callback */
    const lc_metrics *metrics;         /* for types "metrics" and "progress", else NULL */
    const lc_progress *progress;       /* for type "progress", else NULL */
    const lc_preparation *preparation; /* for type "preparation", else NULL */
} lc_event;

/* Called from the thread that runs the job. Every step also gives a call with type "progress", and
 * long tokenizing some with type "preparation"; those are not written to events.jsonl. */
typedef void (*lc_event_fn)(void *context, const lc_event *event);

#ifdef __cplusplus
}
#endif
#endif
