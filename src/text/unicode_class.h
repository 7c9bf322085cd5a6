/*
 * What kind of character a code point is, in the Unicode version of Hugging Face's regex engine: a
 * two-stage table. A class is a letter, a set of classes a mask with a bit per letter. For the
 * pre-tokenizing patterns; knows nothing of tokenizers.
 */
#ifndef LC_TEXT_UNICODE_CLASS_H
#define LC_TEXT_UNICODE_CLASS_H

#include <stddef.h>
#include <stdint.h>

#define LC_CLASS_BIT(letter) (1u << ((letter)&31))
#define LC_CLASS_BLOCK       256

/* The letters differ in their lower five bits. */
typedef enum lc_class {
    LC_CLASS_UPPER = LC_CLASS_BIT('u'),    /* Lu */
    LC_CLASS_LOWER = LC_CLASS_BIT('l'),    /* Ll */
    LC_CLASS_TITLE = LC_CLASS_BIT('t'),    /* Lt */
    LC_CLASS_MODIFIER = LC_CLASS_BIT('m'), /* Lm */
    LC_CLASS_CASELESS = LC_CLASS_BIT('o'), /* Lo */
    LC_CLASS_MARK = LC_CLASS_BIT('c'),     /* M */
    LC_CLASS_DECIMAL = LC_CLASS_BIT('d'),  /* Nd */
    LC_CLASS_NUMBER = LC_CLASS_BIT('n'),   /* Nl, No */
    LC_CLASS_PUNCT = LC_CLASS_BIT('p'),    /* P */
    LC_CLASS_SYMBOL = LC_CLASS_BIT('s'),   /* S */
    LC_CLASS_SPACE = LC_CLASS_BIT('w'),    /* White_Space; all of Z is in it */
    LC_CLASS_DIGIT_ONLY =
        LC_CLASS_BIT('r'),              /* numeric to Rust, of no category yet to the regexes */
    LC_CLASS_OTHER = LC_CLASS_BIT('x'), /* the rest: controls, unassigned */
} lc_class;

#define LC_CLASS_LETTERS \
    (LC_CLASS_UPPER | LC_CLASS_LOWER | LC_CLASS_TITLE | LC_CLASS_MODIFIER | LC_CLASS_CASELESS)
#define LC_CLASS_NUMBERS (LC_CLASS_DECIMAL | LC_CLASS_NUMBER)
#define LC_CLASS_ALL     UINT32_MAX

extern const uint8_t lc_class_places[0x110000 / LC_CLASS_BLOCK];
extern const char lc_class_blocks[][LC_CLASS_BLOCK];

/* The bit of a code point's class. */
static inline uint32_t lc_class_of(uint32_t code_point)
{
    const uint8_t place = lc_class_places[code_point / LC_CLASS_BLOCK];
    return LC_CLASS_BIT(lc_class_blocks[place][code_point % LC_CLASS_BLOCK]);
}

/* The bit of the class of the character that begins at `text`, valid UTF-8; *length gets its
 * bytes. */
static inline uint32_t lc_class_at(const char *text, size_t *length)
{
    const uint8_t *at = (const uint8_t *)text;
    const uint32_t lead = at[0];
    if (lead < 0x80) {
        *length = 1;
        return LC_CLASS_BIT(lc_class_blocks[0][lead]);
    }
    if (lead < 0xe0) {
        *length = 2;
        return lc_class_of((lead & 0x1f) << 6 | (at[1] & 0x3fu));
    }
    if (lead < 0xf0) {
        *length = 3;
        return lc_class_of((lead & 0x0f) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu));
    }
    *length = 4;
    return lc_class_of((lead & 0x07) << 18 | (at[1] & 0x3fu) << 12 | (at[2] & 0x3fu) << 6 |
                       (at[3] & 0x3fu));
}

#endif
