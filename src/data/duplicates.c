/*
 * A hash table of rows; see duplicates.h. Called by the file check, in the order of lines.
 */
#include "data/duplicates.h"

#include "lorac/mem.h"

#define MIN_SLOTS ((size_t)1024)
#define MAX_SLOTS ((size_t)4 << 20)

void lc_duplicates_release(lc_duplicates *duplicates)
{
    lc_free(duplicates->slots);
    *duplicates = (lc_duplicates){0};
}

static lc_seen_row *slot_of(const lc_duplicates *duplicates, const uint64_t hash[2])
{
    size_t i = (size_t)hash[0] & (duplicates->capacity - 1);
    for (;;) {
        lc_seen_row *slot = &duplicates->slots[i];
        if (slot->line == 0 || (slot->hash[0] == hash[0] && slot->hash[1] == hash[1])) {
            return slot;
        }
        i = (i + 1) & (duplicates->capacity - 1);
    }
}

static lc_code grow(lc_duplicates *duplicates, lc_err *err)
{
    const lc_duplicates old = *duplicates;
    const size_t capacity = old.capacity > 0 ? 2 * old.capacity : MIN_SLOTS;
    lc_seen_row *slots = lc_calloc(capacity, sizeof *slots);
    if (slots == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to compare %zu rows", old.count);
    }
    duplicates->slots = slots;
    duplicates->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].line != 0) {
            *slot_of(duplicates, old.slots[i].hash) = old.slots[i];
        }
    }
    lc_free(old.slots);
    return LC_OK;
}

lc_code lc_duplicates_add(lc_duplicates *duplicates, const uint64_t hash[2], int64_t line,
                          int64_t *first, lc_err *err)
{
    if (4 * (duplicates->count + 1) > 3 * duplicates->capacity &&
        duplicates->capacity < MAX_SLOTS) {
        LC_TRY(grow(duplicates, err));
    }
    lc_seen_row *slot = slot_of(duplicates, hash);
    *first = slot->line;
    if (slot->line != 0) {
        return LC_OK;
    }
    if (duplicates->count == LC_MAX_DISTINCT_ROWS) {
        duplicates->is_full = true;
        return LC_OK;
    }
    *slot = (lc_seen_row){.hash = {hash[0], hash[1]}, .line = line};
    duplicates->count++;
    return LC_OK;
}

void lc_duplicates_prefetch(const lc_duplicates *duplicates, const uint64_t hash[2])
{
    if (duplicates->capacity > 0) {
        __builtin_prefetch(&duplicates->slots[hash[0] & (duplicates->capacity - 1)]);
    }
}
