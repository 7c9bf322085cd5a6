/* UTF-8: strict validation, and decoding that survives broken bytes. */
#ifndef LC_TEXT_UTF8_H
#define LC_TEXT_UTF8_H

#include <stddef.h>
#include <stdint.h>

typedef enum lc_utf8_kind {
    LC_UTF8_CHARACTER, /* a whole character */
    LC_UTF8_BROKEN,    /* bytes that no continuation can mend: one U+FFFD stands for them */
    LC_UTF8_CUT,       /* the text ends inside a character that is right so far */
} lc_utf8_kind;

/* What stands at `text` (bytes >= 1) and how many bytes it takes. BROKEN gives the "maximal
 * subpart" that Unicode 3.9 advises to replace at once, as Python and Rust do. No overlong forms,
 * no surrogates. */
lc_utf8_kind lc_utf8_next(const char *text, size_t bytes, size_t *length);

/* Length of the longest valid prefix: `bytes` when all of it is valid. */
size_t lc_utf8_valid_prefix(const char *text, size_t bytes);

/* Encodes one code point (not checked) into out[4], returns its length. */
size_t lc_utf8_encode(uint32_t code_point, char *out);

/* Code point of a valid character of `length` bytes. */
uint32_t lc_utf8_decode(const char *text, size_t length);

#endif
