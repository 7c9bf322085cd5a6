/*
 * Added tokens (<|im_start|> and kin): contents that are looked for in the text before anything
 * else, leftmost first and the longest of those. Hugging Face looks twice: "normalized": false in
 * the text as it came, true (by their normalized contents) in the normalized text.
 */
#ifndef LC_TEXT_ADDED_H
#define LC_TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"
#include "lorac/mem.h"

#define LC_MAX_ADDED_TOKENS 65536

typedef struct lc_added {
    const char *pattern; /* what is looked for; borrowed, NUL-terminated */
    uint32_t pattern_bytes;
    int32_t id;
    bool single_word, lstrip, rstrip;
} lc_added;

/* The tokens of one pass, sorted by their bytes. */
typedef struct lc_added_set {
    lc_added *tokens; /* owned by the arena */
    int32_t count;
    int32_t first[257]; /* those of first byte b are tokens[first[b]] .. tokens[first[b+1]-1] */
} lc_added_set;

/* Room for `capacity` tokens. */
LC_WARN_UNUSED lc_code lc_added_init(lc_added_set *set, int32_t capacity, lc_arena *arena,
                                     lc_err *err);
/* Appends one (its pattern is not empty); lc_added_index makes the set ready. LC_ERR_INVALID: two
 * tokens have the same pattern. */
void lc_added_enter(lc_added_set *set, lc_added token);
LC_WARN_UNUSED lc_code lc_added_index(lc_added_set *set, lc_err *err);

/* Where a search stands. Zero-initialise. */
typedef struct lc_added_search {
    size_t from; /* the next match begins here or later */
    size_t done; /* end of the last token with what it stripped */
} lc_added_search;

/* The next token; [*begin, *end) is its match with the blanks it strips, which may overlap what
 * the token before has stripped. NULL: none is left. */
const lc_added *lc_added_next(const lc_added_set *set, lc_added_search *search, const char *text,
                              size_t bytes, size_t *begin, size_t *end);

#endif
