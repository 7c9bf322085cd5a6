/*
 * Header lines of parts, and the boundary in the request's own: see multipart_head.h. Values are
 * read into buffers of fixed size, without patterns and without recursion.
 */
#include "serve/multipart_head.h"

#include <string.h>
#include <strings.h>

#include "text/utf8.h"

/* What is left of a header line. */
typedef struct lc_cursor {
    const char *at, *end;
} lc_cursor;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(lc_cursor *c)
{
    while (c->at < c->end && is_blank(*c->at)) {
        c->at++;
    }
}

static bool skip(lc_cursor *c, char wanted)
{
    const bool is_there = c->at < c->end && *c->at == wanted;
    c->at += is_there ? 1 : 0;
    return is_there;
}

/* Whether the text is `name`, in any case. */
static bool is_name(const char *text, size_t bytes, const char *name)
{
    return bytes == strlen(name) && strncasecmp(text, name, bytes) == 0;
}

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static size_t read_token(lc_cursor *c, const char **start)
{
    *start = c->at;
    while (c->at < c->end && is_token(*c->at)) {
        c->at++;
    }
    return (size_t)(c->at - *start);
}

/* Where a value goes. */
typedef struct lc_value {
    char *out;
    size_t capacity; /* with the NUL */
    size_t length;
    const char *what; /* for messages */
} lc_value;

static lc_code put(lc_value *value, char c, lc_err *err)
{
    if (value->length + 1 == value->capacity) {
        return lc_fail(err, LC_ERR_TOO_LARGE, "%s has more than %zu bytes", value->what,
                       value->capacity - 1);
    }
    value->out[value->length++] = c;
    value->out[value->length] = '\0';
    return LC_OK;
}

/* "quoted", where a backslash hides a quotation mark or another backslash and is itself else (old
 * browsers sent paths of Windows), or anything up to a blank or semicolon. */
static lc_code read_value(lc_cursor *c, lc_value *value, lc_err *err)
{
    value->out[0] = '\0';
    if (!skip(c, '"')) {
        while (c->at < c->end && *c->at != ';' && !is_blank(*c->at)) {
            LC_TRY(put(value, *c->at++, err));
        }
        return LC_OK;
    }
    while (!skip(c, '"')) {
        if (c->at == c->end) {
            return lc_fail(err, LC_ERR_INVALID, "%s has no closing quotation mark", value->what);
        }
        if (c->end - c->at > 1 && *c->at == '\\' && (c->at[1] == '"' || c->at[1] == '\\')) {
            c->at++;
        }
        LC_TRY(put(value, *c->at++, err));
    }
    return LC_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* UTF-8'language'percent-encoded (RFC 8187), in place. */
static lc_code decode_extended(char *text, lc_err *err)
{
    const char *language = strchr(text, '\'');
    const char *from = language != NULL ? strchr(language + 1, '\'') : NULL;
    char *to = text;
    if (from == NULL || !is_name(text, (size_t)(language - text), "utf-8")) {
        return lc_fail(err, LC_ERR_INVALID, "filename* does not begin with UTF-8''");
    }
    for (from++; *from != '\0'; from++) {
        const int high = *from == '%' ? hex_digit(from[1]) : 0;
        const int low = *from == '%' && high >= 0 ? hex_digit(from[2]) : 0;
        if (high < 0 || low < 0) {
            return lc_fail(err, LC_ERR_INVALID,
                           "filename* has a percent sign without two hexadecimal digits");
        }
        *to++ = *from == '%' ? (char)(high * 16 + low) : *from;
        from += *from == '%' ? 2 : 0;
        if (to[-1] == '\0') {
            return lc_fail(err, LC_ERR_INVALID, "filename* has a control character");
        }
    }
    *to = '\0';
    return LC_OK;
}

static lc_code check_shown(const char *text, const char *what, lc_err *err)
{
    const size_t bytes = strlen(text);
    if (lc_utf8_valid_prefix(text, bytes) != bytes) {
        return lc_fail(err, LC_ERR_INVALID, "%s is not UTF-8", what);
    }
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) {
            return lc_fail(err, LC_ERR_INVALID, "%s has a control character", what);
        }
    }
    return LC_OK;
}

/* The parameters of a Content-Disposition seen so far. */
typedef struct lc_disposition {
    lc_part *part;
    bool has_name, has_plain, has_extended;
    char extended[3 * LC_MAX_PART_FILENAME_BYTES + 64]; /* filename* before it is decoded */
} lc_disposition;

/* One parameter behind its semicolon. Those of other names are read over. */
static lc_code read_parameter(lc_cursor *c, lc_disposition *d, lc_err *err)
{
    const char *key = NULL;
    char other[LC_MAX_PART_FILENAME_BYTES + 1];
    bool ignored = false;
    skip_blanks(c);
    if (c->at == c->end) {
        return LC_OK; /* a semicolon at the end */
    }
    const size_t bytes = read_token(c, &key);
    if (bytes == 0 || !skip(c, '=')) {
        return lc_fail(err, LC_ERR_INVALID, "Content-Disposition has a parameter without a value");
    }
    bool *seen = &ignored;
    lc_value value = {other, sizeof other, 0, "a parameter of Content-Disposition"};
    if (is_name(key, bytes, "name")) {
        seen = &d->has_name;
        value = (lc_value){d->part->name, sizeof d->part->name, 0, "name"};
    } else if (is_name(key, bytes, "filename")) {
        seen = &d->has_plain;
        value = (lc_value){d->part->filename, sizeof d->part->filename, 0, "filename"};
    } else if (is_name(key, bytes, "filename*")) {
        seen = &d->has_extended;
        value = (lc_value){d->extended, sizeof d->extended, 0, "filename*"};
    }
    if (*seen) {
        return lc_fail(err, LC_ERR_INVALID, "Content-Disposition has \"%s\" twice", value.what);
    }
    *seen = seen != &ignored;
    return read_value(c, &value, err);
}

static lc_code read_filename(lc_disposition *d, lc_err *err)
{
    lc_part *part = d->part;
    part->is_file = d->has_plain || d->has_extended;
    if (d->has_extended) {
        LC_TRY(decode_extended(d->extended, err));
        const size_t bytes = strlen(d->extended);
        if (bytes > LC_MAX_PART_FILENAME_BYTES) {
            return lc_fail(err, LC_ERR_TOO_LARGE, "filename* has more than %d bytes",
                           LC_MAX_PART_FILENAME_BYTES);
        }
        memcpy(part->filename, d->extended, bytes + 1);
    }
    return check_shown(part->filename, d->has_extended ? "filename*" : "filename", err);
}

static lc_code read_disposition(lc_cursor c, lc_part *part, lc_err *err)
{
    const char *kind = NULL;
    lc_disposition d = {.part = part};
    const size_t bytes = read_token(&c, &kind);
    if (!is_name(kind, bytes, "form-data")) {
        return lc_fail(err, LC_ERR_INVALID, "Content-Disposition is not form-data");
    }
    for (skip_blanks(&c); c.at < c.end; skip_blanks(&c)) {
        if (!skip(&c, ';')) {
            return lc_fail(err, LC_ERR_INVALID,
                           "Content-Disposition has something other than parameters");
        }
        LC_TRY(read_parameter(&c, &d, err));
    }
    if (part->name[0] == '\0') {
        return lc_fail(err, LC_ERR_INVALID, "Content-Disposition has no name");
    }
    LC_TRY(check_shown(part->name, "name", err));
    return read_filename(&d, err);
}

/* Bytes are taken as they are, so anything else would be stored wrong. */
static lc_code check_encoding(lc_cursor c, lc_err *err)
{
    const size_t bytes = (size_t)(c.end - c.at);
    if (is_name(c.at, bytes, "binary") || is_name(c.at, bytes, "8bit") ||
        is_name(c.at, bytes, "7bit")) {
        return LC_OK;
    }
    return lc_fail(err, LC_ERR_UNSUPPORTED,
                   "Content-Transfer-Encoding must be binary; RFC 7578 has no other");
}

static lc_code read_type(lc_cursor c, lc_part *part, lc_err *err)
{
    lc_value value = {part->type, sizeof part->type, 0, "Content-Type"};
    while (c.at < c.end) {
        LC_TRY(put(&value, *c.at++, err));
    }
    return check_shown(part->type, "Content-Type", err);
}

static lc_code read_line(lc_cursor c, lc_part *part, bool *has_disposition, lc_err *err)
{
    const char *name = NULL;
    const size_t bytes = read_token(&c, &name);
    if (bytes == 0 || !skip(&c, ':')) {
        return lc_fail(err, LC_ERR_INVALID, "a header line has no name");
    }
    skip_blanks(&c);
    while (c.end > c.at && is_blank(c.end[-1])) {
        c.end--;
    }
    if (is_name(name, bytes, "Content-Disposition")) {
        if (*has_disposition) {
            return lc_fail(err, LC_ERR_INVALID, "it has two lines Content-Disposition");
        }
        *has_disposition = true;
        return read_disposition(c, part, err);
    }
    if (is_name(name, bytes, "Content-Transfer-Encoding")) {
        return check_encoding(c, err);
    }
    if (is_name(name, bytes, "Content-Type")) {
        return part->type[0] == '\0'
                   ? read_type(c, part, err)
                   : lc_fail(err, LC_ERR_INVALID, "it has two lines Content-Type");
    }
    return LC_OK;
}

lc_code lc_multipart_read_head(const char *head, size_t bytes, lc_part *part, lc_err *err)
{
    bool has_disposition = false;
    *part = (lc_part){0};
    for (const char *at = head, *end = head + bytes - 2; at < end;) {
        const char *line_end = memchr(at, '\r', (size_t)(end - at));
        const size_t length = line_end != NULL ? (size_t)(line_end - at) : 0;
        if (line_end == NULL || line_end[1] != '\n' || memchr(at, '\n', length) != NULL ||
            memchr(at, '\0', length) != NULL) {
            return lc_fail(err, LC_ERR_INVALID, "a header line does not end with CR LF");
        }
        LC_TRY(read_line((lc_cursor){at, line_end}, part, &has_disposition, err));
        at = line_end + 2;
    }
    if (!has_disposition) {
        return lc_fail(err, LC_ERR_INVALID, "it has no Content-Disposition");
    }
    return LC_OK;
}

/* ---- the request's own header ---- */

static lc_code check_boundary(const char *boundary, lc_err *err)
{
    static const char others[] = "'()+_,-./:=? ";
    const size_t bytes = strlen(boundary);
    if (bytes == 0 || boundary[bytes - 1] == ' ') {
        return lc_fail_param(err, LC_ERR_INVALID, "Content-Type",
                             "the boundary is empty or ends with a blank");
    }
    for (size_t i = 0; i < bytes; i++) {
        const char lower = (char)(boundary[i] | 0x20);
        if (!(lower >= 'a' && lower <= 'z') && !(boundary[i] >= '0' && boundary[i] <= '9') &&
            strchr(others, boundary[i]) == NULL) {
            return lc_fail_param(err, LC_ERR_INVALID, "Content-Type",
                                 "the boundary has a character that RFC 2046 does not allow");
        }
    }
    return LC_OK;
}

lc_code lc_multipart_read_boundary(const char *content_type, char out[LC_MAX_BOUNDARY_BYTES + 1],
                                   lc_err *err)
{
    static const char wanted[] = "multipart/form-data";
    lc_cursor c = {content_type, content_type + strlen(content_type)};
    bool is_found = false;
    skip_blanks(&c);
    if (strncasecmp(c.at, wanted, strlen(wanted)) != 0) {
        return lc_fail_param(err, LC_ERR_INVALID, "Content-Type",
                             "the body must be multipart/form-data, not \"%.60s\"", content_type);
    }
    c.at += strlen(wanted);
    for (skip_blanks(&c); skip(&c, ';'); skip_blanks(&c)) {
        char other[LC_MAX_PART_TYPE_BYTES + 1];
        const char *key = NULL;
        skip_blanks(&c);
        const size_t bytes = read_token(&c, &key);
        if (bytes == 0 && c.at == c.end) {
            break; /* a semicolon at the end */
        }
        const bool is_boundary = is_name(key, bytes, "boundary");
        lc_value value = {other, sizeof other, 0, "a parameter"};
        if (is_boundary) {
            value = (lc_value){out, LC_MAX_BOUNDARY_BYTES + 1, 0, "the boundary"};
        }
        if (bytes == 0 || !skip(&c, '=') || (is_boundary && is_found)) {
            return lc_fail_param(err, LC_ERR_INVALID, "Content-Type",
                                 "Content-Type has a parameter without a value, or one twice");
        }
        if (read_value(&c, &value, err) != LC_OK) {
            return lc_err_param(err, "Content-Type");
        }
        is_found |= is_boundary;
    }
    if (c.at != c.end || !is_found) {
        return lc_fail_param(err, LC_ERR_INVALID, "Content-Type", "Content-Type names no boundary");
    }
    return check_boundary(out, err);
}
