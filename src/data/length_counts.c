/*
 * Counts of lengths; see length_counts.h. Filled by the file check, read by `lorac validate`.
 */
#include "data/length_counts.h"

#include <inttypes.h>
#include <string.h>

#include "lorac/mem.h"

void lc_length_counts_release(lc_length_counts *counts)
{
    lc_free(counts->of);
    *counts = (lc_length_counts){0};
}

static lc_code grow(lc_length_counts *counts, size_t length, lc_err *err)
{
    size_t capacity = counts->capacity > 0 ? counts->capacity : 1024;
    while (capacity <= length) {
        capacity *= 2;
    }
    uint32_t *of = lc_realloc(counts->of, capacity * sizeof *of);
    if (of == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to count rows of %zu tokens", length);
    }
    memset(of + counts->capacity, 0, (capacity - counts->capacity) * sizeof *of);
    counts->of = of;
    counts->capacity = capacity;
    return LC_OK;
}

lc_code lc_length_counts_add(lc_length_counts *counts, int64_t length, lc_err *err)
{
    if ((uint64_t)length >= counts->capacity) {
        LC_TRY(grow(counts, (size_t)length, err));
    }
    counts->of[length]++;
    counts->count++;
    counts->sum += length;
    return LC_OK;
}

int64_t lc_length_counts_percentile(const lc_length_counts *counts, int64_t percent)
{
    const int64_t last = counts->count - 1;
    const int64_t rank = last / 100 * percent + last % 100 * percent / 100;
    int64_t before = 0;
    for (size_t length = 0; length < counts->capacity; length++) {
        before += counts->of[length];
        if (before > rank) {
            return (int64_t)length;
        }
    }
    return 0;
}

int64_t lc_length_counts_between(const lc_length_counts *counts, int64_t from, int64_t to)
{
    int64_t sum = 0;
    for (int64_t length = from; length < to && length < (int64_t)counts->capacity; length++) {
        sum += counts->of[length];
    }
    return sum;
}
