/* lorac bench --tune: the tuning table of a GPU. */
#ifndef LC_CLI_BENCH_TUNE_H
#define LC_CLI_BENCH_TUNE_H

#include <stdint.h>

#include "lorac/err.h"

typedef struct lc_bench_tune_options {
    const char *job_file, *model_dir; /* exactly one */
    const char *device;               /* NULL: the job's, "cuda" with model_dir */
    const char *out_file;             /* NULL: where jobs look */
    int64_t batches;                  /* micro-batches that are run to see their products */
} lc_bench_tune_options;

/* Runs micro-batches of the job as training would, times the algorithms of each product they made,
 * prints the times and writes the table. LC_ERR_UNSUPPORTED: the device has nothing to choose. */
LC_WARN_UNUSED lc_code lc_bench_tune(const lc_bench_tune_options *options, lc_err *err);

#endif
