/*
 * Matchers written by hand for the pre-tokenizing patterns that published tokenizers use, each
 * known by its exact text. They find what the pattern finds, tens of times faster than a regex
 * engine, in time linear in the text. regex.c asks here first; patterns_test.c holds them against
 * PCRE2.
 */
#ifndef LC_TEXT_PATTERN_H
#define LC_TEXT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

typedef struct lc_pattern lc_pattern;

/* The matcher of a pattern, NULL when it is none of those. Never freed. */
const lc_pattern *lc_pattern_of(const char *regex);
/* The i-th pattern's text for tests, NULL behind the last. */
const char *lc_pattern_text(size_t i);
/* Numeric characters as Rust's char::is_numeric sees them: single ones, or runs. */
const lc_pattern *lc_pattern_digits(bool individual);

/* The first match at or after `from`, on a character's boundary of text (valid UTF-8). */
bool lc_pattern_find(const lc_pattern *pattern, const char *text, size_t bytes, size_t from,
                     size_t *begin, size_t *end);

#endif
