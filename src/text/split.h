/*
 * Cutting a piece of text where a pattern matches: the Split of the tokenizer's pipeline, and what
 * Digits, Punctuation, Metaspace and ByteLevel do with patterns of their own.
 */
#ifndef LC_TEXT_SPLIT_H
#define LC_TEXT_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "lorac/err.h"
#include "text/piece.h"
#include "text/regex.h"

typedef enum lc_finder_kind {
    LC_FIND_REGEX,
    LC_FIND_LITERAL,
    LC_FIND_PUNCTUATION, /* one character, as lc_is_punctuation sees it */
} lc_finder_kind;

typedef struct lc_finder {
    lc_finder_kind kind;
    lc_regex *regex;     /* REGEX: owned */
    const char *literal; /* LITERAL: borrowed, not empty */
    size_t literal_bytes;
} lc_finder;
void lc_finder_release(lc_finder *finder);

/* The first match at or after `from`; *found false when there is none. */
LC_WARN_UNUSED lc_code lc_finder_find(const lc_finder *finder, lc_matcher *matcher,
                                      const char *text, size_t bytes, size_t from, bool *found,
                                      size_t *begin, size_t *end, lc_err *err);

/* What becomes of the matches of "the-final--countdown" at "-". */
typedef enum lc_behavior {
    LC_SPLIT_REMOVED,       /* the, final, countdown */
    LC_SPLIT_ISOLATED,      /* the, -, final, -, -, countdown */
    LC_SPLIT_WITH_PREVIOUS, /* the-, final-, -, countdown */
    LC_SPLIT_WITH_NEXT,     /* the, -final, -, -countdown */
    LC_SPLIT_CONTIGUOUS,    /* the, -, final, --, countdown */
} lc_behavior;

typedef struct lc_split {
    lc_finder finder;
    lc_behavior behavior;
    bool invert; /* what lies between the matches is the match */
} lc_split;

/* A piece being cut. Set `whole`, zero the rest. */
typedef struct lc_cut {
    lc_piece whole;
    size_t cursor;                 /* what lies before it has been found */
    size_t match_begin, match_end; /* a match behind a part that was between */
    bool has_match;
    size_t held_begin, held_end; /* a part that was looked at and put back */
    bool has_held, held_matches;
} lc_cut;

/* The next part; *done when there is none. */
LC_WARN_UNUSED lc_code lc_split_next(const lc_split *split, lc_matcher *matcher, lc_cut *cut,
                                     lc_piece *part, bool *done, lc_err *err);

#endif
