/*
 * How often an owner may ask: a bucket of tokens each, filled at a steady rate.
 */
#ifndef LC_SERVE_RATE_H
#define LC_SERVE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "lorac/err.h"

#define LC_MAX_RATE_OWNERS 1024 /* remembered at once; who asked longest ago is forgotten first */

typedef struct lc_rate lc_rate;

/* per_second 0: no limit. */
LC_WARN_UNUSED lc_code lc_rate_new(double per_second, int64_t burst, lc_rate **out, lc_err *err);
void lc_rate_free(lc_rate *rate);

/* Takes one token at `now` (monotonic seconds): 0, or the milliseconds after which there is one. */
int64_t lc_rate_take(lc_rate *rate, const char *owner, double now);

#endif
