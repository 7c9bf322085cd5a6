/*
 * The class of every code point, a letter each (lc_class in unicode_class.h); written by
 * scripts/make_unicode_classes from what Hugging Face's tokenizers say. Included by
 * unicode_class.c only.
 */
#ifndef LC_TEXT_UNICODE_CLASS_TABLE_H
#define LC_TEXT_UNICODE_CLASS_TABLE_H

#include "text/unicode_class.h"

/* clang-format off */
const uint8_t lc_class_places[0x110000 / LC_CLASS_BLOCK] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 17, 21, 22, 23, 24,
    25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 33, 33, 36, 33, 37, 33, 38, 39, 40, 41, 42, 43,
    44, 45, 33, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 46, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 47, 17, 17, 17,
    48, 17, 49, 50, 51, 52, 53, 54, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 55, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 17, 57, 58, 17, 59, 60, 61,
    62, 63, 64, 65, 66, 67, 17, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83,
    84, 85, 86, 87, 88, 89, 90, 91, 92, 17, 17, 17, 93, 94, 95, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 96, 17, 17, 17, 17, 97, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 98, 17,
    17, 99, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 100, 56, 56, 56, 56, 56, 56, 17, 17, 101, 102, 56, 103, 104, 105, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 106, 17,
    17, 17, 17, 107, 108, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 109, 17, 110, 111, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 112, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 113, 33,
    114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 33, 33, 124, 56, 56, 56, 56, 125, 126, 127,
    128, 56, 129, 130, 56, 131, 132, 133, 56, 56, 134, 135, 136, 56, 137, 138, 139, 33, 33, 33,
    140, 141, 142, 33, 143, 144, 56, 56, 56, 56, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 145, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 146, 147, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 148, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 149, 17, 17, 150, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 17, 17, 151, 56, 56, 56, 56, 56, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 152, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17,
    17, 17, 17, 153, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 154, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
    56, 56, 56, 56, 56, 56, 56, 56, 56, 56,
};

const char lc_class_blocks[][LC_CLASS_BLOCK] = {
    {"xxxxxxxxxwwwwwxxxxxxxxxxxxxxxxxxwpppsppppppsppppddddddddddppsssppuuuuuuuuuuuuuuuuuuuuu"
     "uuuuupppspsllllllllllllllllllllllllllpspsxxxxxxwxxxxxxxxxxxxxxxxxxxxxxxxxxwpssssspssop"
     "sxssssnnslppsnopnnnpuuuuuuuuuuuuuuuuuuuuuuusuuuuuuullllllllllllllllllllllllsllllllll"},
    {"ulululululululululululululululululululululululululululullulululululululullulululululul"
     "ulululululululululululululululululuululullluululuuluuulluuuuluuluuullluuluulululuulull"
     "uluuluuululuulloulllooooutlutlutlulululululululullululululululululullutluluuulululul"},
    {"ulululululululululululululululululululululululululullllllluuluulluluuuulululululllllll"
     "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllolllllllllllllllllllllll"
     "llllmmmmmmmmmmmmmmmmmmssssmmmmmmmmmmmmssssssssssssssmmmmmsssssssmsmsssssssssssssssss"},
    {"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
     "ccccccccccccccccccccccccccululmsulxxmlllpuxxxxssupuuuxuxuuluuuuuuuuuuuuuuuuuxuuuuuuuuu"
     "lllllllllllllllllllllllllllllllllllulluuulllululululululululululululllllulsuluulluuu"},
    {"uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuullllllllllllllllllllllllllllllllllllll"
     "llllllllllulululululululululululululululululscccccccululululululululululululululululul"
     "ululululululululululuululululululullulululululululululululululululululululululululul"},
    {"ululululululululululululululululululululululululxuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
     "uxxmpppppplllllllllllllllllllllllllllllllllllllllllppxxsssxccccccccccccccccccccccccccc"
     "ccccccccccccccccccpcpccpccpcxxxxxxxxoooooooooooooooooooooooooooxxxxooooppxxxxxxxxxxx"},
    {"xxxxxxsssppsppsscccccccccccpxpppoooooooooooooooooooooooooooooooomooooooooooccccccccccc"
     "ccccccccccddddddddddppppoocooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooopocccccccxsccccccmmccsccccooddddddddddooosso"},
    {"ppppppppppppppxxocoooooooooooooooooooooooooooooocccccccccccccccccccccccccccxxooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooocccccc"
     "cccccoxxxxxxxxxxxxxxddddddddddooooooooooooooooooooooooooooooooocccccccccmmspppmxxcss"},
    {"ooooooooooooooooooooooccccmcccccccccmcccmcccccxxpppppppppppppppxoooooooooooooooooooooo"
     "ooocccxxpxoooooooooooxxxxxoooooooooooooooooooooooosooooooxxxxxxxxcccccccccoooooooooooo"
     "ooooooooooooooooooooooooooooomccccccccccccccccccccccccxccccccccccccccccccccccccccccc"},
    {"ccccoooooooooooooooooooooooooooooooooooooooooooooooooooooocccoccccccccccccccccccoccccc"
     "ccooooooooooccppddddddddddpmooooooooooooooocccxooooooooxxooxxooooooooooooooooooooooxoo"
     "oooooxoxxxooooxxcocccccccxxccxxcccoxxxxxxxxcxxxxooxoooccxxddddddddddoossnnnnnnssopcx"},
    {"xcccxooooooxxxxooxxooooooooooooooooooooooxoooooooxooxooxooxxcxcccccxxxxccxxcccxxxcxxxx"
     "xxxooooxoxxxxxxxddddddddddccooocpxxxxxxxxxxcccxoooooooooxoooxooooooooooooooooooooooxoo"
     "oooooxooxoooooxxcoccccccccxcccxcccxxoxxxxxxxxxxxxxxxooccxxddddddddddpsxxxxxxxocccccc"},
    {"xcccxooooooooxxooxxooooooooooooooooooooooxoooooooxooxoooooxxcocccccccxxccxxcccxxxxxxxc"
     "ccxxxxooxoooccxxddddddddddsonnnnnnxxxxxxxxxxcoxooooooxxxoooxooooxxxooxoxooxxxooxxxooox"
     "xxooooooooooooxxxxcccccxxxcccxccccxxoxxxxxxcxxxxxxxxxxxxxxddddddddddnnnssssssssxxxxx"},
    {"cccccooooooooxoooxoooooooooooooooooooooooxooooooooooooooooxxcocccccccxcccxccccxxxxxxxc"
     "cxoooxxoxxooccxxddddddddddxxxxxxxpnnnnnnnsocccpooooooooxoooxoooooooooooooooooooooooxoo"
     "ooooooooxoooooxxcocccccccxcccxccccxxxxxxxccxxxxxxooxooccxxddddddddddxoocxxxxxxxxxxxx"},
    {"ccccoooooooooxoooxoooooooooooooooooooooooooooooooooooooooooccocccccccxcccxccccosxxxxoo"
     "ocnnnnnnnoooccxxddddddddddnnnnnnnnnsooooooxcccxooooooooooooooooooxxxoooooooooooooooooo"
     "ooooooxoooooooooxoxxoooooooxxxcxxxxccccccxcxccccccccxxxxxxddddddddddxxccpxxxxxxxxxxx"},
    {"xoooooooooooooooooooooooooooooooooooooooooooooooocoocccccccxxxxsoooooomccccccccpdddddd"
     "ddddppxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxooxoxoooooxooooooooooooooooooooooooxoxooooo"
     "ooooocoocccccccccoxxoooooxmxcccccccxddddddddddxxooooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ossspppppppppppppppspsssccssssssddddddddddnnnnnnnnnnscscscppppccooooooooxooooooooooooo"
     "oooooooooooooooooooooooxxxxccccccccccccccccccccpccooooocccccccccccxccccccccccccccccccc"
     "cccccccccccccccccxsssssssscssssssxsspppppssssppxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooccccccccccccccccccccoddddddddddppppppoooooo"
     "ccccoooocccocccoocccccccoooccccoooooooooooooccccccccccccocddddddddddccccssuuuuuuuuuuuu"
     "uuuuuuuuuuuuuuuuuuuuuuuuuuxuxxxxxuxxlllllllllllllllllllllllllllllllllllllllllllpmlll"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxooooxxoooooo"
     "oxoxooooxxoooooooooooooooooooooooooooooooooooooooooxooooxxoooooooooooooooooooooooooooo"
     "oooooxooooxxoooooooxoxooooxxoooooooooooooooxoooooooooooooooooooooooooooooooooooooooo"},
    {"oooooooooooooooooxooooxxoooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooxxcccpppppppppnnnnnnnnnnnnnnnnnnnnxxxoooooooooooooooossssssssssxxxxxxuuuuuuuuuuuu"
     "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuxxllllllxx"},
    {"pooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooooooospooooooooooooooooowooooooooooooooooooooooooooppxxxoooooooooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooopppnnnooooooooxxxxxxx"},
    {"ooooooooooooooooooccccxxxxxxxxxooooooooooooooooooocccppxxxxxxxxxooooooooooooooooooccxx"
     "xxxxxxxxxxoooooooooooooxoooxccxxxxxxxxxxxxoooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooccccccccccccccccccccccccccccccccpppmpppsocxxddddddddddxxxxxxnnnnnnnnnnxxxxxx"},
    {"pppppppppppcccxcddddddddddxxxxxxooooooooooooooooooooooooooooooooooomoooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooxxxxxxxoooooccoooooooooooooooooooooooooooooooooocox"
     "xxxxooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooxccccccccccccxxxxccccccccccccxxxxsxxxppddddddddddoooooo"
     "ooooooooooooooooooooooooxxoooooxxxxxxxxxxxoooooooooooooooooooooooooooooooooooooooooooo"
     "xxxxooooooooooooooooooooooooooxxxxxxddddddddddnxxxssssssssssssssssssssssssssssssssss"},
    {"ooooooooooooooooooooooocccccxxppoooooooooooooooooooooooooooooooooooooooooooooooooooooc"
     "cccccccccxcccccccccccccccccccccccccccccxxcddddddddddxxxxxxddddddddddxxxxxxpppppppmpppp"
     "ppxxcccccccccccccccccccccccccccccccxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"cccccooooooooooooooooooooooooooooooooooooooooooooooocccccccccccccccccooooooooxppdddddd"
     "ddddpppppppsssssssssscccccccccssssssssspppcccooooooooooooooooooooooooooooooccccccccccc"
     "ccooddddddddddooooooooooooooooooooooooooooooooooooooooooooccccccccccccccxxxxxxxxpppp"},
    {"ooooooooooooooooooooooooooooooooooooccccccccccccccccccccxxxpppppddddddddddxxxooodddddd"
     "ddddoooooooooooooooooooooooooooooommmmmmpplllllllllulxxxxxuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
     "uuuuuuuuuuuuuuuxxuuuppppppppxxxxxxxxcccpcccccccccccccccccccccoooocoooooocoocccoxxxxx"},
    {"llllllllllllllllllllllllllllllllllllllllllllmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"
     "mmmmmmmmmmmmmmmmmmmmmlllllllllllllmllllllllllllllllllllllllllllllllllmmmmmmmmmmmmmmmmm"
     "mmmmmmmmmmmmmmmmmmmmcccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"},
    {"ululululululululululululululululululululululululululululululululululululululululululul"
     "ululululululululululululululululululululululululululululululululllllllllululululululul"
     "ulululululululululululululululululululululululululululululululululululululululululul"},
    {"lllllllluuuuuuuullllllxxuuuuuuxxlllllllluuuuuuuulllllllluuuuuuuullllllxxuuuuuuxxllllll"
     "llxuxuxuxulllllllluuuuuuuullllllllllllllxxllllllllttttttttllllllllttttttttlllllllltttt"
     "ttttlllllxlluuuutslssslllxlluuuutsssllllxxlluuuuxssslllllllluuuuusssxxlllxlluuuutssx"},
    {"wwwwwwwwwwwxxxxxppppppppppppppppppppppppwwxxxxxwppppppppppppppppppppspppppppppppppsppp"
     "pppppppppwxxxxxxxxxxxxxxxxnmxxnnnnnnsssppmnnnnnnnnnnsssppxmmmmmmmmmmmmmxxxssssssssssss"
     "sssssssssssssssssssssxxxxxxxxxxxxxxxcccccccccccccccccccccccccccccccccxxxxxxxxxxxxxxx"},
    {"ssussssussluuulluuulsusssuuuuussssssusususuuuusluuuuloooolsslluusssssullllsssslsnnnnnn"
     "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnulnnnnnssxxxxssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"},
    {"ssssssssppppsssssssssssssssssssssssssssssppsssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"},
    {"ssssssssssssssssssssssssssssssssssssssssssxxxxxxxxxxxxxxxxxxxxxxsssssssssssxxxxxxxxxxx"
     "xxxxxxxxxxnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssnnnnnnnnnnnnnnnnnnnnnn"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssppppppppppppppnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnssssssssssssssssssssssss"
     "sssssssssssssssssssssssssppsssssssssssssssssssssssssssssssppppppppppssssssssssssssss"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "sssssssssssssssssssssssssssssssssssssssssssssppppppppppppppppppppppsssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssppppssssssssssssssssssssssssssssssssppss"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssxxssssssssssssssssssssssssssssssssxsssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"},
    {"uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuullllllllllllllllllllllllllllllllllllll"
     "lllllllllluluuullulululuuuulullullllllmmuuulululululululululululululululululululululul"
     "ulululululululululululululululululululululululululululullssssssululccculxxxxxppppnpp"},
    {"llllllllllllllllllllllllllllllllllllllxlxxxxxlxxoooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooxxxxxxxmpxxxxxxxxxxxxxxcoooooooooooooooooooooooxxxxxxxxxoooooooxoooo"
     "oooxoooooooxoooooooxoooooooxoooooooxoooooooxoooooooxcccccccccccccccccccccccccccccccc"},
    {"pppppppppppppppppppppppppppppppppppppppppppppppmppppppppppppppppppppppppppppppppsspppp"
     "ppppppppxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxssssssssssssssssssssssssssxsssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssxxxxxxxxxxxx"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssxxxxxxxxxxxxxxxxxxxxxxxxxxssssssssssssssss"},
    {"wpppsmonppppppppppssppppppppppppsnnnnnnnnnccccccpmmmmmssnnnmopssxooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxccssmmopooooooooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooopmmmo"},
    {"xxxxxoooooooooooooooooooooooooooooooooooooooooooxooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooxssnnnnssssssssssoooooooooooo"
     "oooooooooooooooooooossssssssssssssssssssssssssssssssssssssxxxxxxxxxsoooooooooooooooo"},
    {"sssssssssssssssssssssssssssssssxnnnnnnnnnnssssssssssssssssssssssssssssssnnnnnnnnsnnnnn"
     "nnnnnnnnnnssssssssssssssssssssssssssssssssnnnnnnnnnnssssssssssssssssssssssssssssssssss"
     "sssssnnnnnnnnnnnnnnnssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooossssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"},
    {"ooooooooooooooooooooomoooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxssssssssssssssssssssssssssss"
     "sssssssssssssssssssssssssssxxxxxxxxxoooooooooooooooooooooooooooooooooooooooommmmmmpp"},
    {"oooooooooooompppooooooooooooooooddddddddddooxxxxxxxxxxxxxxxxxxxxululululululululululul"
     "ululululululululululululoccccpccccccccccpmululululululululululululululmmccoooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooonnnnnnnnnnccppppppxxxxxxxx"},
    {"sssssssssssssssssssssssmmmmmmmmmssulululululululllulululululululululululululululululul"
     "ulululululululululululululmllllllllululuulululululmssululoululllululululululululululuu"
     "uuuluuuuululululululululuuuululuulxxulxlxlulululuxxxxxxxxxxxxxxxxxxxxxmmmulommlooooo"},
    {"oocooocoooocooooooooooooooooooooooocccccsssscxxxnnnnnnssssxxxxxxoooooooooooooooooooooo"
     "ooooooooooooooooooooooooooooooppppxxxxxxxxccoooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooccccccccccccccccccxxxxxxxxppddddddddddxxxxxxccccccccccccccccccoooooopppopooc"},
    {"ddddddddddooooooooooooooooooooooooooooccccccccppooooooooooooooooooooooocccccccccccccxx"
     "xxxxxxxxxpoooooooooooooooooooooooooooooxxxccccoooooooooooooooooooooooooooooooooooooooo"
     "oooooooccccccccccccccpppppppppppppxmddddddddddxxxxppooooocmoooooooooddddddddddooooox"},
    {"oooooooooooooooooooooooooooooooooooooooooccccccccccccccxxxxxxxxxooocooooooooccxxdddddd"
     "ddddxxppppoooooooooooooooomoooooosssocccoooooooooooooooooooooooooooooooooooooooooooooo"
     "oooococccooccoooooccocoxxxxxxxxxxxxxxxxxxxxxxxxoomppooooooooooocccccppommccxxxxxxxxx"},
    {"xooooooxxooooooxxooooooxxxxxxxxxoooooooxoooooooxllllllllllllllllllllllllllllllllllllll"
     "lllllsmmmmlllllllllmssxxxxllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
     "lllllllllllllllllllloooooooooooooooooooooooooooooooooooccccccccpccxxddddddddddxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxx"
     "xxxxoooooooooooooooooooooooxxxxoooooooooooooooooooooooooooooooooooooooooooooooooxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooooooooxxoooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"lllllllxxxxxxxxxxxxlllllxxxxxocoooooooooosoooooooooooooxoooooxoxooxooxoooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooosssssssssssssssssxxxxxxxxxxxxxxxxooooooooooooooooooooooooooooooooooooooooooooo"},
    {"ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooppssssssssssssssssoooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxoooooooooooooooooooooooooo"
     "ooooooooooooooooooooooooooooxxxxxxxsxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooooooossss"},
    {"ccccccccccccccccppppppppppxxxxxxccccccccccccccccpppppppppppppppppppppppppppppppppppxpp"
     "ppppppppppppspsssxpsppxxxxoooooxoooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxx"},
    {"xpppsppppppsppppddddddddddppsssppuuuuuuuuuuuuuuuuuuuuuuuuuupppspslllllllllllllllllllll"
     "lllllpspspppppppoooooooooomooooooooooooooooooooooooooooooooooooooooooooommoooooooooooo"
     "oooooooooooooooooooxxxooooooxxooooooxxooooooxxoooxxxsssssssxsssssssxxxxxxxxxxxxxssxx"},
    {"ooooooooooooxooooooooooooooooooooooooooxoooooooooooooooooooxooxoooooooooooooooxxoooooo"
     "ooooooooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxx"},
    {"pppxxxxnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnxxxsssssssssnnnnnnnnnnnnnnnnnnnnnn"
     "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnsssssssssssssssssnnsssxsssssssssssssxxxsxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxssssssssssssssssssssssssssssssssssssssssssssscxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooooooooooooooooooooooooxxxoooooooooooo"
     "oooooooooooooooooooooooooooooooooooooxxxxxxxxxxxxxxxcnnnnnnnnnnnnnnnnnnnnnnnnnnnxxxx"},
    {"oooooooooooooooooooooooooooooooonnnnxxxxxxxxxoooooooooooooooooooonoooooooonxxxxxoooooo"
     "oooooooooooooooooooooooooooooooocccccxxxxxooooooooooooooooooooooooooooooxpoooooooooooo"
     "ooooooooooooooooooooooooxxxxoooooooopnnnnnxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuulllllllllllllllllllllllllllllllllllllllloooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxddddddddddxx"
     "xxxxuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuxxxxllllllllllllllllllllllllllllllllllllxxxx"},
    {"ooooooooooooooooooooooooooooooooooooooooxxxxxxxxoooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooxxxxxxxxxxxpuuuuuuuuuuuxuuuuuuuuuuuuuuuxuuuuuuuxuuxlllllllllllxlllllllll"
     "llllllxlllllllxllxxxooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxoooooooooooooooooooooo"
     "xxxxxxxxxxooooooooxxxxxxxxxxxxxxxxxxxxxxxxmmmmmmxmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"
     "mmmmmxmmmmmmmmmxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ooooooxxoxooooooooooooooooooooooooooooooooooooooooooooxooxxxoxxooooooooooooooooooooooo"
     "xpnnnnnnnnooooooooooooooooooooooossnnnnnnnoooooooooooooooooooooooooooooooxxxxxxxxnnnnn"
     "nnnnxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooooooooooooooxooxxxxxnnnnn"},
    {"oooooooooooooooooooooonnnnnnxxxpooooooooooooooooooooooooooxxxxxpxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooxxxxnnoonnnnnnnnnnnnnnnnxxnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"},
    {"occcxccxxxxxccccooooxoooxoooooooooooooooooooooooooooooxxcccxxxxcnnnnnnnnnxxxxxxxpppppp"
     "pppxxxxxxxooooooooooooooooooooooooooooonnpooooooooooooooooooooooooooooonnnxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxoooooooosooooooooooooooooooooooooooooccxxxxnnnnnpppppppxxxxxxxxx"},
    {"ooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxpppppppoooooooooooooooooooooo"
     "xxnnnnnnnnoooooooooooooooooooxxxxxnnnnnnnnooooooooooooooooooxxxxxxxppppxxxxxxxxxxxxnnn"
     "nnnnxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
     "uuuuuuuxxxxxxxxxxxxxlllllllllllllllllllllllllllllllllllllllllllllllllllxxxxxxxnnnnnn"},
    {"ooooooooooooooooooooooooooooooooooooccccxxxxxxxxddddddddddxxxxxxddddddddddoooomouuuuuu"
     "uuuuuuuuuuuuuuuuxxxcccccpmllllllllllllllllllllllxxxxxxxxssxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnxooooooooooooooooooooooooooooooooooooooooooxc"
     "cpxxooxxxxxxxxxxxxxxxxoooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxcccc"},
    {"ooooooooooooooooooooooooooooonnnnnnnnnnoxxxxxxxxoooooooooooooooooooooocccccccccccnnnnp"
     "ppppxxxxxxxxxxxxxxxxxxxxxxooooooooooooooooooccccppppxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxooooooooooooooooooooonnnnnnnxxxxxxxxxxxxxxxxxxxxoooooooooooooooooooooooxxxxxxxxx"},
    {"cccooooooooooooooooooooooooooooooooooooooooooooooooooooocccccccccccccccpppppppxxxxnnnn"
     "nnnnnnnnnnnnnnnnddddddddddcooccoxxxxxxxxxccccooooooooooooooooooooooooooooooooooooooooo"
     "oooocccccccccccppxppppcxxxxxxxxxxxxxoooooooooooooooooooooooooxxxxxxxddddddddddxxxxxx"},
    {"cccooooooooooooooooooooooooooooooooooooccccccccccccccxddddddddddppppoccoxxxxxxxxoooooo"
     "ooooooooooooooooooooooooooooocppoxxxxxxxxxcccooooooooooooooooooooooooooooooooooooooooo"
     "oooooooccccccccccccccooooppppccccpccddddddddddopopppxnnnnnnnnnnnnnnnnnnnnxxxxxxxxxxx"},
    {"ooooooooooooooooooxoooooooooooooooooooooooooccccccccccccppppppcoocxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooxoxooooxoooooooooooooooxoooooooooopxx"
     "xxxxoooooooooooooooooooooooooooooooooooooooooooooooccccccccccccxxxxxddddddddddxxxxxx"},
    {"ccccxooooooooxxooxxooooooooooooooooooooooxoooooooxooxoooooxccocccccccxxccxxcccxxoxxxxx"
     "xcxxxxxoooooccxxcccccccxxxcccccxxxxxxxxxxxooooooooooxoxxoxoooooooooooooooooooooooooooo"
     "ooooooooooxocccccccccxcxxcxccccxcccccocoppxppxxxxxxxxccxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooccccccccccccccccccoooopppppdddddd"
     "ddddppxpcoooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooooooooooooooooooooooooooooooooooooooo"
     "ooooccccccccccccccccccccoopoxxxxxxxxddddddddddxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooooooooooooooooooooooooooooooooooooooo"
     "ooocccccccxxcccccccccpppppppppppppppppppppppooooccxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooocccccccccccccccccpppoxxxxxxxxxxxdddddd"
     "ddddxxxxxxpppppppppppppxxxxxxxxxxxxxxxxxxxoooooooooooooooooooooooooooooooooooooooooooc"
     "ccccccccccccopxxxxxxddddddddddxxxxxxddddddddddddddddddddxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooxxcccccccccccccccxxxxddddddddddnnpppsoooooooxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooocccccccccccccccpxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxuuuuuuuuuuuu"
     "uuuuuuuuuuuuuuuuuuuullllllllllllllllllllllllllllllllddddddddddnnnnnnnnnxxxxxxxxxxxxo"},
    {"oooooooxxoxxooooooooxooxooooooooooooooooooooooooccccccxccxxccccococcpppxxxxxxxxxdddddd"
     "ddddxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxooooooooxxoo"
     "ooooooooooooooooooooooooooooooooooooocccccccxxcccccccopocxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"occccccccccoooooooooooooooooooooooooooooooooooooooocccccccoccccppppppppcxxxxxxxxoccccc"
     "ccccccooooooooooooooooooooooooooooooooooooooooooooooccccccccccccccccpppopppppxxxxxxxxx"
     "xxxxoooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxx"},
    {"ppppppppppxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxooooooooooooooooooooooooooooooooopxxxxxxxxxxxxxxddddddddddxxxxxx"},
    {"oooooooooxoooooooooooooooooooooooooooooooooooooccccccccxccccccccopppppxxxxxxxxxxdddddd"
     "ddddnnnnnnnnnnnnnnnnnnnxxxppooooooooooooooooooooooooooooooxxccccccccccccccccccccccxccc"
     "cccccccccccxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooxooxooooooooooooooooooooooooooooooooooooooccccccxxxcxccxcccccccocxxxxxxxxdddddd"
     "ddddxxxxxxooooooxooxoooooooooooooooooooooooooooooooocccccxccxcccccoxxxxxxxddddddddddxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxrrrrrrrrrrxxxxxxxxxxxxxxxxxxxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooooooooooooooccccppxxxxxxx"},
    {"ccocoooooooooooooxoooooooooooooooooooooooooooooooooocccccccxxxcccccpppppppppppppdddddd"
     "ddddcxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxoxxxxxxxxxxxxxxxnnnnnnnnnnnnnnnnnnnnnsssssssssssssssssssssssssssssxxxxxxxxxxxxxp"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
     "nnnnnnnnnnnnnnnnnnnnnnnnnxpppppxxxxxxxxxxxoooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"},
    {"ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooppxxxxxxxxxxxxx"},
    {"ooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxxxxxxxxcooooooccccccccccccccc"
     "xxxxxxxxxxoooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ooooooooooooooooooooooooooooooccccccccccccccccccddddddddddxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxoooooooooooooooooooooo"
     "oooooooooxddddddddddxxxxppoooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooxddddddddddxxxxxxooooooooooooooooooooooooooooooxxcccccpxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooocccccccpppppssssmmmmpsxxxxxxxxxxdddddd"
     "ddddxnnnnnnnxoooooooooooooooooooooxxxxxoooooooooooooooooooxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxmmmooooooooooooooooooo"
     "ooooooooooooooooooooommpppddddddddddxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxuuuuuuuuuuuuuuuuuuuuuu"
     "uuuuuuuuuullllllllllllllllllllllllllllllllnnnnnnnnnnnnnnnnnnnnnnnppppxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxcoccccc"
     "ccccccccccccccccccccccccccccccccccccccccccccccccccxxxxxxxccccmmmmmmmmmmmmmxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxmmpmcxxxxxxxxxxxccxxrrrxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxo"},
    {"oooooooooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxmmmmxmmmmmmmxmmx"},
    {"oooooooooooooooooooooooooooooooooooxxxxxxxxxxxxxxxoxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooxxo"
     "xxxxxxxxxxxxxxooooxxxxxxxxoooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooxxxxxoooooooooooooxxxoooooooooxxxxxxxooooooooooxxsccpxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssddddddddddxxxxxx"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ccccccccccccccccccccccccccccccccccccccccccccccxxcccccccccccccccccccccccxxxxxxxxxssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssxxxxxxxxxx"},
    {"sssssssssssssssssssssssssssssssssssssssxxsssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssscccccsssccccccxxxxxxxxccccccccsscccccccsssssssssssssssssssssssssssssscc"
     "ccsssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssxxxxxxxxxxxxxxxxxxxxx"},
    {"sssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssscccsxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxnnnnnnnnnnnnnnnnnnnnxxxxxxxxxxxxnnnnnnnnnnnnnnnnnnnnxxxxxxxxxxxx"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "sxxxxxxxxxnnnnnnnnnnnnnnnnnnnnnnnnnxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"uuuuuuuuuuuuuuuuuuuuuuuuuulllllllllllllllllllllllllluuuuuuuuuuuuuuuuuuuuuuuuuulllllllx"
     "lllllllllllllllllluuuuuuuuuuuuuuuuuuuuuuuuuulllllllllllllllllllllllllluxuuxxuxxuuxxuuu"
     "uxuuuuuuuullllxlxlllllllxllllllllllluuuuuuuuuuuuuuuuuuuuuuuuuullllllllllllllllllllll"},
    {"lllluuxuuuuxxuuuuuuuuxuuuuuuuxlllllllllllllllllllllllllluuxuuuuxuuuuuxuxxxuuuuuuuxllll"
     "lllllllllllllllllllllluuuuuuuuuuuuuuuuuuuuuuuuuulllllllllllllllllllllllllluuuuuuuuuuuu"
     "uuuuuuuuuuuuuulllllllllllllllllllllllllluuuuuuuuuuuuuuuuuuuuuuuuuullllllllllllllllll"},
    {"lllllllluuuuuuuuuuuuuuuuuuuuuuuuuulllllllllllllllllllllllllluuuuuuuuuuuuuuuuuuuuuuuuuu"
     "lllllllllllllllllllllllllluuuuuuuuuuuuuuuuuuuuuuuuuullllllllllllllllllllllllllllxxuuuu"
     "uuuuuuuuuuuuuuuuuuuuuslllllllllllllllllllllllllslllllluuuuuuuuuuuuuuuuuuuuuuuuusllll"},
    {"lllllllllllllllllllllslllllluuuuuuuuuuuuuuuuuuuuuuuuuslllllllllllllllllllllllllsllllll"
     "uuuuuuuuuuuuuuuuuuuuuuuuuslllllllllllllllllllllllllslllllluuuuuuuuuuuuuuuuuuuuuuuuusll"
     "lllllllllllllllllllllllsllllllulxxdddddddddddddddddddddddddddddddddddddddddddddddddd"},
    {"cccccccccccccccccccccccccccccccccccccccccccccccccccccccssssccccccccccccccccccccccccccc"
     "cccccccccccccccccccccccsssssssscsssssssssssssscsspppppxxxxxxxxxxxxxxxcccccxccccccccccc"
     "ccccxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"llllllllllollllllllllllllllllllxxxxxxllllllxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"cccccccxcccccccccccccccccxxcccccccxccxcccccxxxxxmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"
     "mmmmmmmmmmmmmmmmmmmmmmmmxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxcxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooxxxcccccccmmmmmmmxxddddddddddxxxxosxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooooooooooooooooooooooo"
     "oocxxxxxxxxxxxxxxxxxooooooooooooooooooooooooooooooooooooooooooooccccddddddddddxxxxxs"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxooooooooooooooooooooooooooomccccddddddddddxxxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxooooooooooooooooooooooooooooooccoddddddddddxxxxp"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxoooooooxooooxooxooooooooooooooox"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooxxnnnnnnnnncccccccxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuullllllllllllllllllllllllllllllllllcccccccmxxxxdddddd"
     "ddddxxxxppxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
     "snnnsnnnnxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"xnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnsnnnnnnnnnnnnnnnxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ooooxoooooooooooooooooooooooooooxooxoxxoxooooooooooxooooxoxoxxxxxxoxxxxoxoxoxoooxooxox"
     "xoxoxoxoxoxooxoxxooooxoooooooxooooxooooxoxooooooooooxoooooooooooooooooxxxxxoooxoooooxo"
     "ooooooooooooooooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxssxxxxxxxxxxxxxx"},
    {"ssssssssssssssssssssssssssssssssssssssssssssxxxxssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssxxxxxxxxxxxxssssssssssss"
     "sssxxsssssssssssssssxsssssssssssssssxsssssssssssssssssssssssssssssssssssssxxxxxxxxxx"},
    {"nnnnnnnnnnnnnsssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxssssssssssssssssssssssssss"},
    {"sssxxxxxxxxxxxxxssssssssssssssssssssssssssssssssssssssssssssxxxxsssssssssxxxxxxxssxxxx"
     "xxxxxxxxxxssssssxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssxxxxsssssssssssssssssxxxsssssssssssssxxx"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "sssssssssssssssssssssssssssssssssxxxxsssssssssssssssssssssssssssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssxxxxxxssssssssssssxxxxsxxxxxxxxxxxxxxx"},
    {"ssssssssssssxxxxssssssssssssssssssssssssssssssssssssssssssssssssssssssssxxxxxxxxssssss"
     "ssssxxxxxxssssssssssssssssssssssssssssssssssssssssxxxxxxxxssssssssssssssssssssssssssss"
     "ssxxssssssssssssxxxxssxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssxx"
     "xxxxxxxxxxssssssssssssssxxsssssssssssssxxxssssssssssxxxxxsssssssssssssssssssssssssssss"
     "sssssssssssssssssssssssssssxxxxxxxsssssssssssssssxxsssssssssssxxxxxxsssssssssxxxxxxx"},
    {"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
     "sssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssxssssssssssssssssssssssss"
     "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssddddddddddxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxoooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"},
    {"ooooooooooooooooooooooooooooooxxoooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxx"
     "xxxxoooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxxxxxxxxxxxoooooooooooooooo"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooooooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"ooooooooooooooooooooooooooooooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooxxxxxoooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"},
    {"oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"
     "ooooxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
     "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
     "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccxxxxxxxxxxxxxxxx"},
};
/* clang-format on */

#endif
