/* What the forward and backward attention of the CPU backend share; private to src/ops/cpu. */
#ifndef LC_OPS_CPU_ATTENTION_H
#define LC_OPS_CPU_ATTENTION_H

#include "ops/cpu/cpu.h"

/* Keys that a query at `position` sees, as a half-open range of sequence positions. */
typedef struct lc_key_range {
    int64_t first, end;
} lc_key_range;

static inline lc_key_range lc_visible_keys(int64_t position, int64_t window)
{
    const lc_key_range range = {window > 0 && position >= window ? position - window + 1 : 0,
                                position + 1};
    return range;
}

/* The part of `range` inside keys key..key+cols-1, counted from `key`; empty: {0, 0}. */
static inline lc_key_range lc_clip_keys(lc_key_range range, int64_t key, int64_t cols)
{
    lc_key_range clipped = {range.first > key ? range.first - key : 0, range.end - key};
    if (clipped.end > cols) {
        clipped.end = cols;
    }
    if (clipped.first >= clipped.end) {
        clipped.first = clipped.end = 0;
    }
    return clipped;
}

/* Batch rows start..stop-1 behind `shared` common ones, which have the positions before them. */
typedef struct lc_document {
    int64_t start, stop, shared;
} lc_document;

/* The document that holds a row; the common beginning counts as one. Empty ones hold none. */
lc_document lc_cpu_document_at(const lc_attention_shape *shape, int64_t row);

#endif
