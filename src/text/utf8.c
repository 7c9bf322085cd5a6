/* UTF-8, see utf8.h. Table 3-7 of the Unicode standard, well-formed byte sequences, is the source.
 * */
#include "text/utf8.h"

/* Length of a character by its first byte (0: none starts so) and the bounds of the second byte. */
static size_t first_byte(uint8_t byte, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (byte < 0x80) {
        return 1;
    }
    if (byte >= 0xc2 && byte <= 0xdf) {
        return 2;
    }
    if (byte >= 0xe0 && byte <= 0xef) {
        *low = byte == 0xe0 ? 0xa0 : 0x80;  /* overlong */
        *high = byte == 0xed ? 0x9f : 0xbf; /* surrogates */
        return 3;
    }
    if (byte >= 0xf0 && byte <= 0xf4) {
        *low = byte == 0xf0 ? 0x90 : 0x80;  /* overlong */
        *high = byte == 0xf4 ? 0x8f : 0xbf; /* above U+10FFFF */
        return 4;
    }
    return 0;
}

lc_utf8_kind lc_utf8_next(const char *text, size_t bytes, size_t *length)
{
    const uint8_t *at = (const uint8_t *)text;
    uint8_t low = 0, high = 0;
    const size_t wanted = first_byte(at[0], &low, &high);
    *length = 1;
    if (wanted == 0) {
        return LC_UTF8_BROKEN;
    }
    while (*length < wanted) {
        if (*length == bytes) {
            return LC_UTF8_CUT;
        }
        if (at[*length] < low || at[*length] > high) {
            return LC_UTF8_BROKEN;
        }
        low = 0x80;
        high = 0xbf;
        (*length)++;
    }
    return LC_UTF8_CHARACTER;
}

size_t lc_utf8_valid_prefix(const char *text, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        size_t length = 1;
        if ((unsigned char)text[at] >= 0x80 &&
            lc_utf8_next(text + at, bytes - at, &length) != LC_UTF8_CHARACTER) {
            break;
        }
        at += length;
    }
    return at;
}

size_t lc_utf8_encode(uint32_t code_point, char *out)
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xc0 | code_point >> 6);
        out[1] = (char)(0x80 | (code_point & 0x3f));
        return 2;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xe0 | code_point >> 12);
        out[1] = (char)(0x80 | (code_point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code_point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code_point >> 18);
    out[1] = (char)(0x80 | (code_point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code_point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code_point & 0x3f));
    return 4;
}

uint32_t lc_utf8_decode(const char *text, size_t length)
{
    static const uint8_t first_bits[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code_point = (uint8_t)text[0] & first_bits[length];
    for (size_t i = 1; i < length; i++) {
        code_point = code_point << 6 | ((uint8_t)text[i] & 0x3f);
    }
    return code_point;
}
