/*
 * The normalizer of a tokenizer.json: a row of steps that rewrite the text before added tokens are
 * looked for in it and words are cut. Text that a step leaves alone is not copied.
 */
#ifndef LC_TEXT_NORMALIZER_H
#define LC_TEXT_NORMALIZER_H

#include "lorac/err.h"
#include "text/piece.h"
#include "text/split.h"
#include "text/unicode.h"

#define LC_MAX_NORMALIZERS 8

typedef enum lc_normal_kind {
    LC_NORMAL_FORM,    /* NFC, NFD, NFKC, NFKD */
    LC_NORMAL_REPLACE, /* content for every match */
    LC_NORMAL_PREPEND, /* content before a text that is not empty */
} lc_normal_kind;

typedef struct lc_normal_step {
    lc_normal_kind kind;
    lc_form form;
    lc_finder finder;    /* owned */
    const char *content; /* borrowed */
    size_t content_bytes;
} lc_normal_step;

typedef struct lc_normalizer {
    lc_normal_step steps[LC_MAX_NORMALIZERS];
    int count;
} lc_normalizer;
void lc_normalizer_release(lc_normalizer *normalizer);

/* *out is `in` rewritten: a view of `in` or of one of the two texts, which serve in turn. */
LC_WARN_UNUSED lc_code lc_normalizer_run(const lc_normalizer *normalizer, lc_matcher *matcher,
                                         lc_tracked texts[2], const lc_piece *in, lc_piece *out,
                                         lc_err *err);

/* Appends `in` with `content` for every match to *out; *changed false, and nothing appended, when
 * there is none. What is put in comes from the last character of its match. */
LC_WARN_UNUSED lc_code lc_tracked_replace(lc_tracked *out, const lc_finder *finder,
                                          lc_matcher *matcher, const char *content,
                                          size_t content_bytes, const lc_piece *in, bool *changed,
                                          lc_err *err);
/* Appends a Unicode normalization form of `in`; *changed false, and nothing appended, when `in` is
 * made of inert characters. A character comes from the first one it is composed of. */
LC_WARN_UNUSED lc_code lc_tracked_form(lc_tracked *out, lc_form form, const lc_piece *in,
                                       bool *changed, lc_err *err);

#endif
