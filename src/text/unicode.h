/*
 * What Unicode says of a character, as Hugging Face's tokenizers see it: each of their libraries
 * carries tables of its own Unicode version, and what the utf8proc of this machine says otherwise
 * is mended by the tables in unicode.c. Code points, not bytes; see utf8.h for those.
 */
#ifndef LC_TEXT_UNICODE_H
#define LC_TEXT_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

/* White_Space: what lstrip and rstrip of an added token take along. */
bool lc_is_space(uint32_t code_point);
/* \w of Rust's regex: what may not stand beside an added token with single_word. */
bool lc_is_word(uint32_t code_point);
/* ASCII punctuation and symbols, and category P as of Unicode 8. */
bool lc_is_punctuation(uint32_t code_point);

/* ---- normalization (Unicode 9) ---- */

typedef enum lc_form { LC_FORM_C, LC_FORM_D, LC_FORM_KC, LC_FORM_KD } lc_form;

#define LC_MAX_DECOMPOSITION 18 /* characters that one becomes (U+FDFA) */

/* No character before it and none behind it changes what the form makes of this one, which is
 * itself; only characters behind it may be composed with it. Knows the ranges that most text is
 * written in, and says false otherwise. */
bool lc_is_inert(lc_form form, uint32_t code_point);
/* Canonical combining class, 0 for starters. */
uint8_t lc_combining_class(uint32_t code_point);
/* The full decomposition into out[LC_MAX_DECOMPOSITION]; returns how many. */
int lc_decompose(lc_form form, uint32_t code_point, uint32_t *out);
/* The primary composite of a pair, 0 when there is none. */
uint32_t lc_compose(uint32_t first, uint32_t second);

#endif
