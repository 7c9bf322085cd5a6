/*
 * How the next token is chosen from a row of logits, as a user says it: greedy, or temperature and
 * top-p with counter-based random numbers. No state: the same seed, stream and position give the
 * same choice whatever else is generated, on every device. The op `sample` does it.
 */
#ifndef LC_INFER_SAMPLING_H
#define LC_INFER_SAMPLING_H

#include "lorac/ops.h"

#define LC_MAX_TEMPERATURE 2.0 /* as Azure's chat API; and so are these: */
#define LC_MAX_PENALTY     2.0
#define LC_MAX_BIAS        100.0
#define LC_MAX_BIASES      1024

typedef struct lc_logit_bias {
    int32_t id;
    float value; /* added to its logit */
} lc_logit_bias;

typedef struct lc_sampling {
    double temperature; /* 0: greedy, the first largest logit */
    double top_p;       /* (0, 1]; 1: all tokens */
    uint32_t seed;
    double presence_penalty;     /* off the logit of each token that the answer has already */
    double frequency_penalty;    /* the same, once for each time */
    const lc_logit_bias *biases; /* borrowed */
    int32_t bias_count;
} lc_sampling;

/* Whether it changes logits before they are chosen from. */
bool lc_sampling_is_biased(const lc_sampling *sampling);

/* LC_ERR_USAGE naming the value that is out of bounds. */
LC_WARN_UNUSED lc_code lc_sampling_check(const lc_sampling *sampling, lc_err *err);

/* What the op wants of it: all but penalties and biases. Settings that have passed the check. */
lc_sample_row lc_sampling_row(const lc_sampling *sampling, uint32_t stream);

#endif
