/* One JSON string, see json_string.h. */
#include "text/json_string.h"

#include <string.h>

#include "base/json_pull.h"
#include "lorac/mem.h"

static lc_code add_decoded(const char *text, const lc_json_raw *raw, lc_text *out, lc_err *err)
{
    char *decoded = lc_malloc(raw->bytes + 1);
    if (decoded == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a string of %zu bytes", raw->bytes);
    }
    lc_text_add(out, decoded, lc_json_decode(text, raw, decoded, raw->bytes));
    lc_free(decoded);
    return LC_OK;
}

static lc_code read_string(lc_json_pull *pull, lc_text *out)
{
    lc_json_value value, end;
    LC_TRY(lc_json_next(pull, &value));
    if (value.kind != LC_JSON_STRING) {
        return lc_fail(pull->err, LC_ERR_INVALID, "%s: it is not a JSON string", pull->what);
    }
    LC_TRY(lc_json_next(pull, &end));
    LC_TRY(add_decoded((const char *)pull->text, &value.raw, out, pull->err));
    return lc_text_finish(out, pull->what, pull->err);
}

lc_code lc_json_read_string(const char *text, size_t bytes, const char *what, lc_text *out,
                            lc_err *err)
{
    lc_json_pull pull;
    lc_json_pull_begin(&pull, text, bytes, LC_JSON_ALLOW_NUL, what, err);
    const lc_code code = read_string(&pull, out);
    lc_json_pull_end(&pull);
    return code;
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
