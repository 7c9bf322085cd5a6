/* Looking for added tokens, see added.h. */
#include "text/added.h"

#include <stdlib.h>
#include <string.h>

#include "text/text_checks.h"
#include "text/unicode.h"
#include "text/utf8.h"

lc_code lc_added_init(lc_added_set *set, int32_t capacity, lc_arena *arena, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_arena_alloc(arena, (size_t)capacity + 1, sizeof *set->tokens, &memory, err));
    set->tokens = memory;
    return LC_OK;
}

void lc_added_enter(lc_added_set *set, lc_added token)
{
    set->tokens[set->count++] = token;
}

/* By bytes, what begins another before it. */
static int compare(const void *a, const void *b)
{
    const lc_added *x = a, *y = b;
    const size_t bytes = x->pattern_bytes < y->pattern_bytes ? x->pattern_bytes : y->pattern_bytes;
    const int order = memcmp(x->pattern, y->pattern, bytes);
    return order != 0
               ? order
               : (x->pattern_bytes > y->pattern_bytes) - (x->pattern_bytes < y->pattern_bytes);
}

lc_code lc_added_index(lc_added_set *set, lc_err *err)
{
    qsort(set->tokens, (size_t)set->count, sizeof *set->tokens, compare);
    for (int32_t i = 0; i < set->count; i++) {
        const lc_added *token = &set->tokens[i];
        if (i > 0 && compare(token - 1, token) == 0) {
            return lc_fail_param(
                err, LC_ERR_INVALID, "added_tokens",
                "the added tokens %d and %d are both \"%.64s\" once normalized", token[-1].id,
                token->id, lc_is_printable(token->pattern) ? token->pattern : "(unprintable)");
        }
        set->first[(uint8_t)token->pattern[0] + 1]++;
    }
    for (int byte = 0; byte < 256; byte++) {
        set->first[byte + 1] += set->first[byte];
    }
    return LC_OK;
}

/* The first of tokens[low..high) whose byte `at` is not below `byte`; all are longer than `at`. */
static int32_t lower_bound(const lc_added_set *set, int32_t low, int32_t high, size_t at, int byte)
{
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if ((uint8_t)set->tokens[middle].pattern[at] < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest token that text[0..bytes) begins with: byte by byte, fewer are left. */
static const lc_added *longest(const lc_added_set *set, const char *text, size_t bytes)
{
    const lc_added *found = NULL;
    int32_t low = set->first[(uint8_t)text[0]], high = set->first[(uint8_t)text[0] + 1];
    for (size_t at = 1; low < high; at++) {
        if (set->tokens[low].pattern_bytes == at) {
            found = &set->tokens[low++];
        }
        if (at == bytes) {
            break;
        }
        low = lower_bound(set, low, high, at, (uint8_t)text[at]);
        high = lower_bound(set, low, high, at, (uint8_t)text[at] + 1);
    }
    return found;
}

/* The longest token at or after `from`, at its leftmost place. */
static const lc_added *find(const lc_added_set *set, const char *text, size_t bytes, size_t from,
                            size_t *at)
{
    for (size_t i = from; i < bytes && set->count > 0; i++) {
        const lc_added *token = longest(set, text + i, bytes - i);
        if (token != NULL) {
            *at = i;
            return token;
        }
    }
    return NULL;
}

/* Where the character before `at` (> 0) begins. */
static size_t step_back(const char *text, size_t at)
{
    do {
        at--;
    } while (((uint8_t)text[at] & 0xc0) == 0x80);
    return at;
}

static uint32_t code_point_at(const char *text, size_t bytes, size_t at, size_t *length)
{
    (void)lc_utf8_next(text + at, bytes - at, length);
    return lc_utf8_decode(text + at, *length);
}

static bool stands_alone(const char *text, size_t bytes, size_t begin, size_t end)
{
    size_t length = 0;
    if (begin > 0) {
        if (lc_is_word(code_point_at(text, bytes, step_back(text, begin), &length))) {
            return false;
        }
    }
    return end == bytes || !lc_is_word(code_point_at(text, bytes, end, &length));
}

/* Where the blanks before `at` begin, not before `limit`. */
static size_t blanks_before(const char *text, size_t bytes, size_t at, size_t limit)
{
    size_t length = 0;
    while (at > limit) {
        const size_t before = step_back(text, at);
        if (!lc_is_space(code_point_at(text, bytes, before, &length))) {
            break;
        }
        at = before;
    }
    return at < limit ? limit : at;
}

static size_t blanks_behind(const char *text, size_t bytes, size_t at)
{
    size_t length = 0;
    while (at < bytes && lc_is_space(code_point_at(text, bytes, at, &length))) {
        at += length;
    }
    return at;
}

const lc_added *lc_added_next(const lc_added_set *set, lc_added_search *search, const char *text,
                              size_t bytes, size_t *begin, size_t *end)
{
    for (;;) {
        size_t at = 0;
        const lc_added *token = find(set, text, bytes, search->from, &at);
        if (token == NULL) {
            return NULL;
        }
        const size_t stop = at + token->pattern_bytes;
        search->from = stop;
        if (token->single_word && !stands_alone(text, bytes, at, stop)) {
            continue; /* the search goes on behind it, as in Hugging Face */
        }
        *begin = token->lstrip ? blanks_before(text, bytes, at, search->done) : at;
        *end = token->rstrip ? blanks_behind(text, bytes, stop) : stop;
        search->done = *end;
        return token;
    }
}
