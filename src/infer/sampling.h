/*
 * How the next token is chosen from a row of logits, as a user says it: greedy, or temperature and
 * top-p with counter-based random numbers. No state: the same seed, stream and position give the
 * same choice whatever else is generated, on every device. The op `sample` does it.
 */
#ifndef LC_INFER_SAMPLING_H
#define LC_INFER_SAMPLING_H

#include "lorac/ops.h"

#define LC_MAX_TEMPERATURE 2.0 /* as Azure's chat API */

typedef struct lc_sampling {
    double temperature; /* 0: greedy, the first largest logit */
    double top_p;       /* (0, 1]; 1: all tokens */
    uint32_t seed;
} lc_sampling;

/* LC_ERR_USAGE naming the value that is out of bounds. */
LC_WARN_UNUSED lc_code lc_sampling_check(const lc_sampling *sampling, lc_err *err);

/* The same as the op wants it. Settings that have passed the check. */
lc_sample_row lc_sampling_row(const lc_sampling *sampling, uint32_t stream);

#endif
