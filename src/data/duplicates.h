/*
 * Rows that are the same byte for byte, by 128 bits of hash. Memory is bounded: past
 * LC_MAX_DISTINCT_ROWS different rows, further ones are only compared with these.
 */
#ifndef LC_DATA_DUPLICATES_H
#define LC_DATA_DUPLICATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#define LC_MAX_DISTINCT_ROWS ((size_t)3 << 20) /* in 96 MiB */

typedef struct lc_seen_row {
    uint64_t hash[2];
    int64_t line; /* 0: empty */
} lc_seen_row;

/* Zero-initialise. */
typedef struct lc_duplicates {
    lc_seen_row *slots; /* owned; a power of two */
    size_t capacity, count;
    bool is_full;
} lc_duplicates;

void lc_duplicates_release(lc_duplicates *duplicates);

/* The line of the first row of this hash, 0 when this is it. */
LC_WARN_UNUSED lc_code lc_duplicates_add(lc_duplicates *duplicates, const uint64_t hash[2],
                                         int64_t line, int64_t *first, lc_err *err);

/* Brings the row's place into the cache: call some rows ahead of _add. */
void lc_duplicates_prefetch(const lc_duplicates *duplicates, const uint64_t hash[2]);

#endif
