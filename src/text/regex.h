/*
 * Regular expressions of a tokenizer.json. The patterns of published tokenizers are matched by hand
 * (pattern.h); others run on PCRE2. Hugging Face runs them on Oniguruma; a pattern is rewritten so
 * that PCRE2 means the same, and constructs where the two differ are refused by name.
 */
#ifndef LC_TEXT_REGEX_H
#define LC_TEXT_REGEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#define LC_MAX_REGEX_BYTES ((size_t)16 << 10)
#define LC_MAX_REGEX_STEPS 1000000u /* PCRE2 match limit for one match */
/* What PCRE2 may do for one text, in characters looked at: so many for the text and so many more
 * for each of its bytes. */
#define LC_MAX_REGEX_WORK      ((uint64_t)1 << 30)
#define LC_MAX_REGEX_BYTE_WORK 1024u

/* A compiled pattern; immutable, any number of threads may match at once with their own matcher. */
typedef struct lc_regex lc_regex;

/* LC_ERR_UNSUPPORTED names the construct; a pattern that can match nothing at all is refused too.
 * */
LC_WARN_UNUSED lc_code lc_regex_compile(const char *pattern, lc_regex **out, lc_err *err);
/* The same on PCRE2 whatever the pattern: what tests hold pattern.h against. */
LC_WARN_UNUSED lc_code lc_regex_compile_pcre2(const char *pattern, lc_regex **out, lc_err *err);
/* Single numeric characters as Rust's char::is_numeric sees them, or runs of them. */
LC_WARN_UNUSED lc_code lc_regex_compile_digits(bool individual, lc_regex **out, lc_err *err);
void lc_regex_free(lc_regex *regex);

/* Scratch of one thread, and what its text may still cost. */
typedef struct lc_matcher lc_matcher;
LC_WARN_UNUSED lc_code lc_matcher_create(lc_matcher **out, lc_err *err);
void lc_matcher_free(lc_matcher *matcher);
/* A new text of that many bytes: what it may cost counts from here. A new matcher expects a text of
 * no bytes. */
void lc_matcher_begin(lc_matcher *matcher, size_t text_bytes);
/* PCRE2 sees so much of a text first, at least a byte; SIZE_MAX: all of it. For tests, which hold
 * the windows against one another. */
void lc_matcher_see(lc_matcher *matcher, size_t bytes);

/* The first match at or after `from` in text (valid UTF-8); *found false when there is none. A
 * match that takes more than LC_MAX_REGEX_STEPS, or matches that together take more than their
 * text may cost, are an LC_ERR_INVALID. */
LC_WARN_UNUSED lc_code lc_regex_find(const lc_regex *regex, lc_matcher *matcher, const char *text,
                                     size_t bytes, size_t from, bool *found, size_t *begin,
                                     size_t *end, lc_err *err);

#endif
