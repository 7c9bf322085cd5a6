/*
 * Choosing the next token from a row of logits: greedy, or temperature and top-p with counter-based
 * random numbers. No state: the same seed, stream and position give the same choice whatever else
 * is generated.
 */
#ifndef LC_INFER_SAMPLING_H
#define LC_INFER_SAMPLING_H

#include <stdint.h>

#include "lorac/err.h"

#define LC_MAX_TEMPERATURE 2.0 /* as Azure's chat API */

typedef struct lc_sampling {
    double temperature; /* 0: greedy, the first largest logit */
    double top_p;       /* (0, 1]; 1: all tokens */
    uint32_t seed;
} lc_sampling;

/* One candidate while sampling. The caller lends room for the whole vocabulary. */
typedef struct lc_candidate {
    double weight;
    int32_t id;
} lc_candidate;

/* LC_ERR_USAGE naming the value that is out of bounds. */
LC_WARN_UNUSED lc_code lc_sampling_check(const lc_sampling *sampling, lc_err *err);

/* Chooses from logits[0..vocab-1] into *id. Softmax of logits/temperature in double; with top_p
 * the smallest set of most likely tokens (ties: lower id first) whose mass reaches top_p,
 * renormalised. The random number is Philox with key (seed, stream) and counter `position`.
 * scratch: `vocab` candidates, not read when greedy. LC_ERR_NUMERIC when a logit is NaN or
 * +-infinity. */
LC_WARN_UNUSED lc_code lc_sample(const lc_sampling *sampling, const float *logits, int32_t vocab,
                                 uint32_t stream, int64_t position, lc_candidate *scratch,
                                 int32_t *id, lc_err *err);

#endif
