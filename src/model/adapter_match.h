/*
 * Names of modules against PEFT's patterns. Matching is bounded: a pattern that backtracks too long
 * is an error, never a hang.
 */
#ifndef LC_MODEL_ADAPTER_MATCH_H
#define LC_MODEL_ADAPTER_MATCH_H

#include <stdbool.h>

#include "lorac/err.h"

#define LC_MAX_PATTERN_BYTES 1024
#define LC_PATTERN_STEPS     10000 /* PCRE2's match limit for one name */

typedef enum lc_pattern_rule {
    LC_PATTERN_WHOLE, /* target_modules given as a string: the whole name matches (Python's
                         re.fullmatch) */
    LC_PATTERN_TAIL, /* a key of rank_pattern or alpha_pattern: the name, or what follows one of its
                        dots */
} lc_pattern_rule;

typedef struct lc_pattern lc_pattern;

/* `what` names the pattern's origin in errors. Free with lc_pattern_free. */
LC_WARN_UNUSED lc_code lc_pattern_compile(const char *text, lc_pattern_rule rule, const char *what,
                                          lc_pattern **out, lc_err *err);
LC_WARN_UNUSED lc_code lc_pattern_match(const lc_pattern *pattern, const char *name, bool *is_match,
                                        lc_err *err);
/* Whether the pattern had to be compiled as a regular expression (names and dots need none). */
bool lc_pattern_is_regex(const lc_pattern *pattern);
void lc_pattern_free(lc_pattern *pattern);

/* PEFT's rule for lists: equal, or `name` ends with "." + target. */
bool lc_name_matches(const char *name, const char *target);

#endif
