/*
 * The op `sample` for one row in host memory: for logits that were changed on the host, after the
 * device has chosen by its own. The same token for the same logits on every machine.
 */
#ifndef LC_OPS_CHOOSE_H
#define LC_OPS_CHOOSE_H

#include "lorac/ops.h"

/* The token that `how` takes of V logits (V at most LC_MAX_SAMPLE_VOCAB) for this position of its
 * sequence; -1 where one of them is NaN or infinite. */
int32_t lc_choose_token(const float *logits, int64_t vocab, const lc_sample_row *how,
                        int32_t position);

#endif
