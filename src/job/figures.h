/*
 * figures.json in the job directory: where a run is and how long its steps and checkpoints took,
 * for whoever watches it (/metrics). Written by the trainer at most once a second, with nothing
 * synced; nothing depends on it.
 */
#ifndef LC_JOB_FIGURES_H
#define LC_JOB_FIGURES_H

#include "lorac/err.h"
#include "lorac/event.h"

#define LC_FIGURES_BUCKETS 11

/* Upper bounds in seconds of all buckets but the last, which has none. */
extern const double lc_figures_bounds[LC_FIGURES_BUCKETS - 1];

typedef struct lc_histogram {
    int64_t counts[LC_FIGURES_BUCKETS]; /* of each bucket alone */
    double seconds;                     /* of all */
} lc_histogram;

typedef struct lc_job_figures {
    lc_progress progress; /* of the last step; eta and total are not in the file */
    lc_histogram steps, checkpoints;
    int64_t checkpoint_failures;
    int64_t gpu_used_bytes; /* of the first rank's GPU, by whomever; -1: there is none */
    double written_at;      /* monotonic; 0: not by this process */
} lc_job_figures;

void lc_histogram_add(lc_histogram *histogram, double seconds);

/* Into the job directory `dir`. */
LC_WARN_UNUSED lc_code lc_job_figures_write(const char *dir, lc_job_figures *figures, lc_err *err);
LC_WARN_UNUSED lc_code lc_job_figures_read(const char *dir, lc_job_figures *out, lc_err *err);

#endif
