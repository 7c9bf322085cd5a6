/* See jinja_escapes.h. */
#include "text/jinja_escapes.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

typedef struct reader {
    const char *at, *end;
    char *out;
} reader;

size_t lc_jinja_unescaped_bytes(size_t bytes)
{
    return 4 * bytes + 1; /* a backslash before a character outside ASCII spells it out */
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static const char *put(reader *r, uint32_t code)
{
    if (code > 0x10ffff) {
        return "illegal Unicode character";
    }
    if (code >= 0xd800 && code < 0xe000) {
        return "a lone surrogate in a string is not supported";
    }
    r->out += lc_utf8_encode(code, r->out);
    return NULL;
}

static const char *read_hex(reader *r, int digits)
{
    uint32_t code = 0;
    for (int i = 0; i < digits; i++, r->at++) {
        const int digit = r->at < r->end ? hex_digit(*r->at) : -1;
        if (digit < 0) {
            return digits == 2   ? "truncated \\xXX escape"
                   : digits == 4 ? "truncated \\uXXXX escape"
                                 : "truncated \\UXXXXXXXX escape";
        }
        code = code << 4 | (uint32_t)digit;
    }
    return put(r, code);
}

static const char *read_octal(reader *r)
{
    uint32_t code = 0;
    for (int i = 0; i < 3 && r->at < r->end && *r->at >= '0' && *r->at <= '7'; i++, r->at++) {
        code = code << 3 | (uint32_t)(*r->at - '0');
    }
    return put(r, code);
}

/* Python turns characters outside ASCII into escapes before it reads escapes; a backslash that
 * stands before one then escapes the backslash of that. */
static void spell_out(reader *r)
{
    size_t length = 1;
    (void)lc_utf8_next(r->at, (size_t)(r->end - r->at), &length);
    const uint32_t code = lc_utf8_decode(r->at, length);
    r->at += length;
    r->out += snprintf(r->out, 12,
                       code < 0x100     ? "\\x%02x"
                       : code < 0x10000 ? "\\u%04x"
                                        : "\\U%08x",
                       (unsigned)code);
}

static const char *read_escape(reader *r)
{
    static const char letters[] = "\\'\"abfnrtv", values[] = "\\'\"\a\b\f\n\r\t\v";
    const char c = *r->at;
    const char *known = c != '\0' ? strchr(letters, c) : NULL;
    if ((unsigned char)c >= 0x80) {
        spell_out(r);
        return NULL;
    }
    if (known != NULL) {
        *r->out++ = values[known - letters];
        r->at++;
        return NULL;
    }
    if (c >= '0' && c <= '7') {
        return read_octal(r);
    }
    r->at++;
    switch (c) {
    case '\n':
        return NULL;
    case 'x':
        return read_hex(r, 2);
    case 'u':
        return read_hex(r, 4);
    case 'U':
        return read_hex(r, 8);
    case 'N':
        return "\\N{...} in a string is not supported";
    default:
        *r->out++ = '\\';
        *r->out++ = c;
        return NULL;
    }
}

const char *lc_jinja_unescape(const char *literal, size_t bytes, char *out, size_t *length)
{
    reader r = {.at = literal, .end = literal + bytes, .out = out};
    while (r.at < r.end) {
        if (*r.at != '\\') {
            *r.out++ = *r.at++;
            continue;
        }
        r.at++;
        const char *problem = r.at < r.end ? read_escape(&r) : "\\ at end of string";
        if (problem != NULL) {
            return problem;
        }
    }
    *length = (size_t)(r.out - out);
    return NULL;
}
