/* One JSON string, see json_string.h. */
#include "text/json_string.h"

#include <string.h>

#include "text/utf8.h"

typedef struct reader {
    const char *text; /* borrowed */
    size_t bytes, at;
    const char *what; /* borrowed */
    lc_text *out;
    lc_err *err;
} reader;

static lc_code read_escape(reader *r);

static lc_code fail(const reader *r, const char *found)
{
    return lc_fail(r->err, LC_ERR_INVALID, "%s: %s at byte %zu", r->what, found, r->at);
}

static void skip_blanks(reader *r)
{
    while (r->at < r->bytes && strchr(" \t\r\n", r->text[r->at]) != NULL &&
           r->text[r->at] != '\0') {
        r->at++;
    }
}

/* Copies what needs no unescaping up to the next quote or backslash. */
static lc_code read_plain(reader *r)
{
    const size_t from = r->at;
    while (r->at < r->bytes && r->text[r->at] != '"' && r->text[r->at] != '\\') {
        const unsigned char byte = (unsigned char)r->text[r->at];
        if (byte < 0x20) {
            return fail(r, "a control character that is not escaped");
        }
        size_t length = 1;
        if (byte >= 0x80 &&
            lc_utf8_next(r->text + r->at, r->bytes - r->at, &length) != LC_UTF8_CHARACTER) {
            return fail(r, "invalid UTF-8");
        }
        r->at += length;
    }
    lc_text_add(r->out, r->text + from, r->at - from);
    return LC_OK;
}

lc_code lc_json_read_string(const char *text, size_t bytes, const char *what, lc_text *out,
                            lc_err *err)
{
    reader r = {.text = text, .bytes = bytes, .what = what, .out = out, .err = err};
    skip_blanks(&r);
    if (r.at == bytes || text[r.at] != '"') {
        return fail(&r, "no JSON string");
    }
    r.at++;
    for (;;) {
        LC_TRY(read_plain(&r));
        if (r.at == bytes) {
            return fail(&r, "the string does not end");
        }
        if (text[r.at++] == '"') {
            break;
        }
        LC_TRY(read_escape(&r));
    }
    skip_blanks(&r);
    return r.at == bytes ? lc_text_finish(out, what, err) : fail(&r, "more than one JSON string");
}

/* ---- escapes ---- */

/* Four hexadecimal digits, -1 when there are none. */
static int32_t read_unit(reader *r)
{
    int32_t value = 0;
    if (r->bytes - r->at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        const char c = r->text[r->at + (size_t)i];
        const char lower = (char)(c | 0x20);
        if (c >= '0' && c <= '9') {
            value = value * 16 + (c - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = value * 16 + (lower - 'a' + 10);
        } else {
            return -1;
        }
    }
    r->at += 4;
    return value;
}

static void add_code_point(lc_text *out, uint32_t code_point)
{
    char bytes[4];
    lc_text_add(out, bytes, lc_utf8_encode(code_point, bytes));
}

static lc_code read_code_point(reader *r)
{
    const int32_t unit = read_unit(r);
    if (unit < 0) {
        return fail(r, "\\u without four hexadecimal digits");
    }
    if (unit < 0xd800 || unit > 0xdfff) {
        add_code_point(r->out, (uint32_t)unit);
        return LC_OK;
    }
    if (unit < 0xdc00 && r->bytes - r->at >= 2 && memcmp(r->text + r->at, "\\u", 2) == 0) {
        r->at += 2;
        const int32_t low = read_unit(r);
        if (low >= 0xdc00 && low <= 0xdfff) {
            add_code_point(r->out,
                           0x10000u + (((uint32_t)unit - 0xd800) << 10) + ((uint32_t)low - 0xdc00));
            return LC_OK;
        }
    }
    return fail(r, "a lone surrogate");
}

/* Behind a backslash. */
static lc_code read_escape(reader *r)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->bytes) {
        return fail(r, "the string does not end");
    }
    const char letter = r->text[r->at++];
    if (letter == 'u') {
        return read_code_point(r);
    }
    const char *known = letter == '\0' ? NULL : strchr(letters, letter);
    if (known == NULL) {
        return fail(r, "an unknown escape");
    }
    lc_text_add(r->out, &meanings[known - letters], 1);
    return LC_OK;
}

/* The escape of a character that programs take for a line break, NULL for all others. */
static const char *line_break(const char *at, size_t bytes)
{
    if (bytes >= 2 && memcmp(at, "\xc2\x85", 2) == 0) {
        return "\\u0085";
    }
    if (bytes >= 3 && memcmp(at, "\xe2\x80\xa8", 3) == 0) {
        return "\\u2028";
    }
    return bytes >= 3 && memcmp(at, "\xe2\x80\xa9", 3) == 0 ? "\\u2029" : NULL;
}

void lc_json_write_string(lc_text *out, const char *text, size_t bytes)
{
    lc_text json;
    size_t done = 0;
    lc_text_init(&json);
    lc_text_add_json_string(&json, text, bytes);
    for (size_t at = 0; at < json.length; at++) {
        const unsigned char byte = (unsigned char)json.data[at];
        if (byte != 0xc2 && byte != 0xe2) {
            continue;
        }
        const char *escape = line_break(json.data + at, json.length - at);
        if (escape != NULL) {
            lc_text_add(out, json.data + done, at - done);
            lc_text_add(out, escape, 6);
            done = at + (byte == 0xc2 ? 2 : 3);
        }
    }
    lc_text_add(out, json.data + done, json.length - done);
    out->failed = out->failed || json.failed;
    lc_text_release(&json);
}
