/*
 * Cutting text at matches, see split.h. A piece is a row of parts, matches and what lies between
 * them; a behavior drops some and joins neighbours, which takes a look at the next part at most.
 */
#include "text/split.h"

#include <string.h>

#include "text/unicode.h"
#include "text/utf8.h"

void lc_finder_release(lc_finder *finder)
{
    lc_regex_free(finder->regex);
    *finder = (lc_finder){0};
}

static bool find_punctuation(const char *text, size_t bytes, size_t from, size_t *begin,
                             size_t *end)
{
    size_t length = 0;
    for (size_t at = from; at < bytes; at += length) {
        (void)lc_utf8_next(text + at, bytes - at, &length);
        if (lc_is_punctuation(lc_utf8_decode(text + at, length))) {
            *begin = at;
            *end = at + length;
            return true;
        }
    }
    return false;
}

lc_code lc_finder_find(const lc_finder *finder, lc_matcher *matcher, const char *text, size_t bytes,
                       size_t from, bool *found, size_t *begin, size_t *end, lc_err *err)
{
    const char *at = NULL;
    switch (finder->kind) {
    case LC_FIND_REGEX:
        return lc_regex_find(finder->regex, matcher, text, bytes, from, found, begin, end, err);
    case LC_FIND_PUNCTUATION:
        *found = find_punctuation(text, bytes, from, begin, end);
        return LC_OK;
    default:
        at = memmem(text + from, bytes - from, finder->literal, finder->literal_bytes);
        *found = at != NULL;
        if (at != NULL) {
            *begin = (size_t)(at - text);
            *end = *begin + finder->literal_bytes;
        }
        return LC_OK;
    }
}

typedef struct part {
    size_t begin, end;
    bool matches;
} part;

/* The next part in the row; *done when there is none. */
static lc_code next_part(const lc_split *split, lc_matcher *matcher, lc_cut *cut, part *out,
                         bool *done, lc_err *err)
{
    *done = false;
    if (cut->has_held) {
        cut->has_held = false;
        *out = (part){cut->held_begin, cut->held_end, cut->held_matches};
        return LC_OK;
    }
    if (!cut->has_match) {
        if (cut->cursor == cut->whole.bytes) {
            *done = true;
            return LC_OK;
        }
        const size_t from = cut->cursor;
        LC_TRY(lc_finder_find(&split->finder, matcher, cut->whole.text, cut->whole.bytes, from,
                              &cut->has_match, &cut->match_begin, &cut->match_end, err));
        const size_t end = cut->has_match ? cut->match_begin : cut->whole.bytes;
        if (end > from) {
            cut->cursor = end;
            *out = (part){from, end, split->invert};
            return LC_OK;
        }
    }
    cut->has_match = false;
    cut->cursor = cut->match_end;
    *out = (part){cut->match_begin, cut->match_end, !split->invert};
    return LC_OK;
}

/* Whether a part takes its right neighbour along. */
static bool joins(lc_behavior behavior, const part *left, const part *right)
{
    switch (behavior) {
    case LC_SPLIT_WITH_PREVIOUS:
        return !left->matches && right->matches;
    case LC_SPLIT_WITH_NEXT:
        return left->matches && !right->matches;
    case LC_SPLIT_CONTIGUOUS:
        return left->matches == right->matches;
    default:
        return false;
    }
}

static lc_code join_next(const lc_split *split, lc_matcher *matcher, lc_cut *cut, part *left,
                         lc_err *err)
{
    part right;
    bool done = false;
    for (;;) {
        LC_TRY(next_part(split, matcher, cut, &right, &done, err));
        if (done) {
            return LC_OK;
        }
        if (!joins(split->behavior, left, &right)) {
            cut->has_held = true;
            cut->held_begin = right.begin;
            cut->held_end = right.end;
            cut->held_matches = right.matches;
            return LC_OK;
        }
        left->end = right.end;
        left->matches = right.matches;
    }
}

lc_code lc_split_next(const lc_split *split, lc_matcher *matcher, lc_cut *cut, lc_piece *out,
                      bool *done, lc_err *err)
{
    part found;
    do {
        LC_TRY(next_part(split, matcher, cut, &found, done, err));
        if (*done) {
            return LC_OK;
        }
    } while (split->behavior == LC_SPLIT_REMOVED && found.matches);
    if (split->behavior > LC_SPLIT_ISOLATED) {
        LC_TRY(join_next(split, matcher, cut, &found, err));
    }
    *out = lc_piece_part(&cut->whole, found.begin, found.end);
    return LC_OK;
}
