/*
 * The tokens of a word, by windows that stay in a processor's cache: merging a long word as a whole
 * goes through all of its memory for every rank.
 *
 * A window is merged as if it were a word. The next begins at s, where a token of the one before
 * begins, shortly before its end e; and both must have a token that ends at the same m, s < m <= e.
 * Then the word as a whole has tokens that end at s and at m, up to s those of the one window and
 * from there those of the other. For suppose a merge across s or m, and look at the first. What is
 * merged next hangs on rank and place alone, so up to then the parts between s and m and on both
 * sides were merged as in the windows. Had it been across s, the window before would have been at
 * the same choice and joined there; across m, the next one. Neither did.
 *
 * Where no m is found, which takes a vocabulary made for it, the word is merged as a whole.
 */
#include "text/bpe.h"

/* The units behind s where a token of the window before ends, in order. */
static size_t note_ends(lc_bpe_scratch *scratch, size_t first, size_t count, int32_t place)
{
    size_t noted = 0;
    for (; place >= 0; place = scratch->symbols[place].next) {
        scratch->ends[noted++] = (uint32_t)(first + (size_t)place);
    }
    scratch->ends[noted++] = (uint32_t)(first + count);
    return noted;
}

/* Whether a token of the window that begins at unit `first` ends where one before it did. */
static bool meets(const lc_bpe_scratch *scratch, size_t first, size_t count)
{
    size_t at = 0;
    int32_t place = 0;
    while (place >= 0) {
        place = scratch->symbols[place].next;
        const size_t end = place >= 0 ? first + (size_t)place : first + count;
        while (at < scratch->end_count && scratch->ends[at] < end) {
            at++;
        }
        if (at == scratch->end_count || scratch->ends[at] == end) {
            return at < scratch->end_count;
        }
    }
    return false;
}

/* Appends the window's tokens up to the first that begins at unit `stop` or behind; *next is where
 * it begins. */
static lc_code push_tokens(lc_bpe_scratch *scratch, size_t first, size_t count, size_t stop,
                           size_t from, lc_tokens *tokens, size_t *next, lc_err *err)
{
    const lc_bpe_unit *units = scratch->units + first;
    int32_t place = 0;
    while (place >= 0 && first + (size_t)place < stop) {
        const lc_bpe_symbol *s = &scratch->symbols[place];
        const uint32_t end = units[s->next >= 0 ? (size_t)s->next : count].start;
        LC_TRY(lc_tokens_push(tokens, s->id, from + units[place].start, from + end, err));
        place = s->next;
    }
    *next = place >= 0 ? first + (size_t)place : first + count;
    if (place >= 0) {
        scratch->end_count = note_ends(scratch, first, count, scratch->symbols[place].next);
    }
    return LC_OK;
}

lc_code lc_bpe_encode_units(const lc_bpe *bpe, lc_bpe_scratch *scratch, size_t from,
                            lc_tokens *tokens, lc_err *err)
{
    const size_t units = scratch->unit_count, before = tokens->count;
    size_t window = bpe->window;
    for (size_t first = 0, next = 0; first < units; first = next) {
        const bool is_last = units - first <= window;
        const size_t count = is_last ? units - first : window;
        const size_t stop = is_last ? units : first + window - window / LC_BPE_OVERLAP;
        LC_TRY(lc_bpe_merge(bpe, scratch, first, count, err));
        if (first == 0 || meets(scratch, first, count)) {
            LC_TRY(push_tokens(scratch, first, count, stop, from, tokens, &next, err));
        }
        if (next == first || (next == first + count && !is_last)) {
            tokens->count = before;
            window = units;
            next = 0;
        }
    }
    return LC_OK;
}
