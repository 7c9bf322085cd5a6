/* How often each length occurs: exact order statistics without keeping every length. */
#ifndef LC_DATA_LENGTH_COUNTS_H
#define LC_DATA_LENGTH_COUNTS_H

#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

/* Zero-initialise. */
typedef struct lc_length_counts {
    uint32_t *of; /* owned; of[n]: how many have length n. A row has at most 16 Mi tokens */
    size_t capacity;
    int64_t count, sum;
} lc_length_counts;

void lc_length_counts_release(lc_length_counts *counts);
LC_WARN_UNUSED lc_code lc_length_counts_add(lc_length_counts *counts, int64_t length, lc_err *err);
/* The length at rank (count-1) * percent/100 in increasing order; 0 when there is none. */
int64_t lc_length_counts_percentile(const lc_length_counts *counts, int64_t percent);
/* How many have a length in [from, to). */
int64_t lc_length_counts_between(const lc_length_counts *counts, int64_t from, int64_t to);

#endif
