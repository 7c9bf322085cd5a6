/*
 * Well-formed UTF-8, byte by byte: for the JSON scanner, and for messages that quote foreign or cut
 * text.
 */
#include "base/utf8_bytes.h"

#include <string.h>

size_t lc_utf8_bytes_length(const unsigned char *text, size_t bytes)
{
    const unsigned char lead = text[0];
    size_t length;
    unsigned char low = 0x80, high = 0xBF; /* of the second byte */
    if (lead >= 0xC2 && lead <= 0xDF) {
        length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        length = 3;
        low = lead == 0xE0 ? 0xA0 : low;   /* overlong */
        high = lead == 0xED ? 0x9F : high; /* surrogates */
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        length = 4;
        low = lead == 0xF0 ? 0x90 : low;   /* overlong */
        high = lead == 0xF4 ? 0x8F : high; /* beyond U+10FFFF */
    } else {
        return 0;
    }
    if (bytes < length || text[1] < low || text[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return length;
}

void lc_utf8_bytes_repair(char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        const unsigned char *at = (const unsigned char *)text;
        size_t step = 1;
        if (*at >= 0x80) {
            step = lc_utf8_bytes_length(at, left);
            if (step == 0) {
                *text = '?';
                step = 1;
            }
        }
        text += step;
        left -= step;
    }
}
