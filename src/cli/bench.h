/*
 * What the parts of `lorac bench` share: a device with buffers of random numbers, timing by the
 * device's own clock, and rows of results beside the ceilings measured in the same run. Used by
 * bench_ops.c; the whole step is in bench_step.c.
 */
#ifndef LC_CLI_BENCH_H
#define LC_CLI_BENCH_H

#include "base/json.h"
#include "lorac/backend.h"
#include "model/config.h"

#define LC_MAX_BENCH_BUFFERS 64

typedef struct lc_bench {
    lc_device *device;                   /* owned */
    lc_dtype dtype;                      /* of activations and weights */
    double seconds;                      /* spent on each measurement, about; 0: one call */
    double flops_ceiling, bytes_ceiling; /* per second, measured; 0: not yet */
    const char *filter;                  /* part of the names wanted; NULL: all */
    bool json;
    lc_text rows; /* of the JSON */
    int row_count;
    void *random; /* owned host memory: BENCH_BLOCK random numbers of dtype */
    float *uniform;
    void *buffers[LC_MAX_BENCH_BUFFERS]; /* owned device memory */
    int buffer_count;
    void *workspace; /* one of them: the device's; NULL: none */
    size_t workspace_bytes;
} lc_bench;

/* Opens the device; "auto" dtype is that of the device. Close in any case. */
LC_WARN_UNUSED lc_code lc_bench_open(lc_bench *bench, lc_device_kind kind, int64_t threads,
                                     lc_err *err);
void lc_bench_close(lc_bench *bench);

/* Device memory of the bench: of dtype and random, F32 in 0..1, or zeroed bytes. */
LC_WARN_UNUSED lc_code lc_bench_matrix(lc_bench *bench, int64_t rows, int64_t cols, int64_t ld,
                                       lc_mat *out, lc_err *err);
LC_WARN_UNUSED lc_code lc_bench_floats(lc_bench *bench, int64_t count, float **out, lc_err *err);
LC_WARN_UNUSED lc_code lc_bench_upload(lc_bench *bench, const void *from, size_t bytes, void **out,
                                       lc_err *err);
/* Frees the buffers made since buffer_count was `mark`. */
void lc_bench_release(lc_bench *bench, int mark);

/* One measurement: calls are made while lc_bench_next says so; `seconds` then is the median of
 * the trials, for one call. */
typedef struct lc_bench_timing {
    lc_bench *bench;
    lc_err *err;
    lc_code code;
    int64_t left, calls; /* of this trial */
    int trial, trials;
    double trial_seconds[8];
    double seconds;
} lc_bench_timing;

lc_bench_timing lc_bench_begin(lc_bench *bench, lc_err *err);
bool lc_bench_next(lc_bench_timing *timing);

/* Times `call`, an lc_code; for functions that return one and have an `err`. */
#define LC_BENCH(bench, result, call)                           \
    do {                                                        \
        lc_bench_timing timing_ = lc_bench_begin((bench), err); \
        while (lc_bench_next(&timing_)) {                       \
            LC_TRY(call);                                       \
        }                                                       \
        LC_TRY(timing_.code);                                   \
        (result) = timing_.seconds;                             \
    } while (0)

/* A row of the table or of the JSON. flops or bytes 0: not what bounds it. plain_seconds: the
 * device's own product of the same size, 0: none. */
typedef struct lc_bench_row {
    const char *name;
    double seconds, flops, bytes, plain_seconds;
} lc_bench_row;
void lc_bench_add(lc_bench *bench, const lc_bench_row *row);

bool lc_bench_wants(const lc_bench *bench, const char *name);

/* Rates of a large square product and of a large copy; rows of their own. */
LC_WARN_UNUSED lc_code lc_bench_ceilings(lc_bench *bench, lc_err *err);
/* A product without border, addend or padding: x w^T, or dy w. */
LC_WARN_UNUSED lc_code lc_bench_plain_product(lc_bench *bench, int64_t n, int64_t in, int64_t out,
                                              bool backward, double *seconds, lc_err *err);

/* bench_decode.c: the ops of generation, over caches of `length` tokens. The workspace is set. */
LC_WARN_UNUSED lc_code lc_bench_decode(lc_bench *bench, const lc_model_config *config,
                                       int64_t length, lc_err *err);

LC_WARN_UNUSED lc_code lc_bench_ops(int argc, char **argv, lc_err *err);
LC_WARN_UNUSED lc_code lc_bench_step(int argc, char **argv, lc_err *err);

lc_code lc_bench_tune_command(int argc, char **argv, lc_err *err);

#endif
