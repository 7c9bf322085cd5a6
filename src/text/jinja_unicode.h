/*
 * Characters as Python's str sees them: classes and case mappings, by utf8proc (Unicode 15) and a
 * few tables. Python 3.11 has Unicode 14: the 4489 characters that came with 15 are unassigned
 * there, and the only difference.
 */
#ifndef LC_TEXT_JINJA_UNICODE_H
#define LC_TEXT_JINJA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum lc_char_class {
    LC_CHAR_SPACE = 1,
    LC_CHAR_ALPHA = 2,
    LC_CHAR_DECIMAL = 4,
    LC_CHAR_DIGIT = 8, /* decimals are digits, digits are numeric */
    LC_CHAR_NUMERIC = 16,
    LC_CHAR_LOWER = 32,
    LC_CHAR_UPPER = 64,
    LC_CHAR_TITLE = 128,
    LC_CHAR_PRINTABLE = 256,
    LC_CHAR_NAME = 512,       /* may stand in an identifier */
    LC_CHAR_NAME_START = 1024 /* may begin one */
} lc_char_class;

/* All classes of a character. */
unsigned lc_char_classes(uint32_t code);
bool lc_char_is_space(uint32_t code);
bool lc_char_is_cased(uint32_t code);
bool lc_char_is_case_ignorable(uint32_t code);
/* The decimal value of a decimal character, -1 for any other. */
int lc_char_decimal(uint32_t code);

/* Full mappings: one to three characters. Lower case of a capital sigma at a word's end is the
 * caller's matter. */
size_t lc_char_upper(uint32_t code, uint32_t out[3]);
size_t lc_char_title(uint32_t code, uint32_t out[3]);
size_t lc_char_lower(uint32_t code, uint32_t out[3]);
size_t lc_char_fold(uint32_t code, uint32_t out[3]); /* full case folding */

#endif
