/*
 * What every answer has to be; see served.h.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "served.h"

/* ---- the head ---- */

static const char *find_header(const char *head, size_t bytes, const char *name, size_t *length)
{
    const size_t name_bytes = strlen(name);
    for (const char *line = head, *end = head + bytes; line < end;) {
        const char *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
        must(stop != NULL);
        if ((size_t)(stop - line) > name_bytes && line[name_bytes] == ':' &&
            strncasecmp(line, name, name_bytes) == 0) {
            const char *value = line + name_bytes + 1;
            value += strspn(value, " ");
            *length = (size_t)(stop - value);
            return value;
        }
        line = stop + 2;
    }
    return NULL;
}

const char *served_header(const served_answer *answer, const char *name, char *out, size_t capacity)
{
    size_t length = 0;
    const char *value = find_header(answer->head, answer->head_bytes, name, &length);
    must(value == NULL || length < capacity);
    memcpy(out, value != NULL ? value : "", value != NULL ? length : 0);
    out[value != NULL ? length : 0] = '\0';
    return out;
}

/* Every line is "Name: value", nothing in it ends a line early. */
static void check_lines(const char *head, size_t bytes)
{
    static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    for (const char *line = head, *end = head + bytes; line < end;) {
        const char *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
        must(stop != NULL);
        const size_t name_bytes = strspn(line, token);
        must(name_bytes > 0 && line[name_bytes] == ':' && line[name_bytes + 1] == ' ');
        for (const char *c = line; c < stop; c++) {
            must((unsigned char)*c >= 0x20 && *c != 0x7f);
        }
        line = stop + 2;
    }
}

/* Requests alone make no answer of 5xx, but for HTTP that is not spoken here (501, 505) and for
 * workers that fail (503). */
static void check_status(int status)
{
    must((status >= 200 && status < 500) || status == 501 || status == 503 || status == 505);
}

/* ---- the body ---- */

static size_t hex_line(const char *at, const char *end, uint64_t *value)
{
    const char *c = at;
    *value = 0;
    for (; c < end && strchr("0123456789abcdefABCDEF", *c) != NULL && *c != '\0'; c++) {
        must(c - at < 8);
        *value = *value * 16 + (uint64_t)(*c <= '9' ? *c - '0' : (*c | 0x20) - 'a' + 10);
    }
    must(c > at && end - c >= 2 && c[0] == '\r' && c[1] == '\n');
    return (size_t)(c - at) + 2;
}

static size_t take_chunks(const char *at, size_t count, lc_text *body)
{
    const char *c = at, *end = at + count;
    for (uint64_t bytes = 1; bytes > 0;) {
        c += hex_line(c, end, &bytes);
        must(bytes + 2 <= (uint64_t)(end - c));
        lc_text_add(body, c, (size_t)bytes);
        c += bytes;
        must(c[0] == '\r' && c[1] == '\n');
        c += 2;
    }
    return (size_t)(c - at);
}

/* An answer to HEAD has the length and no body: then the next answer follows, or nothing. */
static bool has_body(const char *at, size_t left, const bool *is_head)
{
    if (is_head != NULL) {
        return !*is_head;
    }
    return left > 0 && !(left >= 9 && memcmp(at, "HTTP/1.1 ", 9) == 0);
}

static size_t take_body(served_answer *out, const char *at, size_t left, const bool *is_head)
{
    char coding[32], text[32], connection[32];
    (void)served_header(out, "Transfer-Encoding", coding, sizeof coding);
    (void)served_header(out, "Content-Length", text, sizeof text);
    (void)served_header(out, "Connection", connection, sizeof connection);
    must(coding[0] == '\0' || text[0] == '\0');
    if (out->status == 204 || out->status == 304) {
        must(coding[0] == '\0');
        return 0;
    }
    if (coding[0] != '\0') {
        must(strcasecmp(coding, "chunked") == 0);
        return has_body(at, left, is_head) ? take_chunks(at, left, &out->body) : 0;
    }
    if (text[0] == '\0') { /* a stream for HTTP/1.0: until the end */
        must(strcasecmp(connection, "close") == 0);
        lc_text_add(&out->body, at, left);
        return left;
    }
    char *end = NULL;
    const unsigned long long bytes = strtoull(text, &end, 10);
    must(*end == '\0' && text[0] != '-' && text[0] != '+');
    if (bytes == 0 || !has_body(at, left, is_head)) {
        return 0;
    }
    must(bytes <= left);
    lc_text_add(&out->body, at, (size_t)bytes);
    return (size_t)bytes;
}

/* ---- errors ---- */

static void must_be_text(const cJSON *error, const char *name, bool may_be_null)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(error, name);
    must((may_be_null && cJSON_IsNull(item)) ||
         (cJSON_IsString(item) && item->valuestring[0] != '\0'));
}

static void check_error(const served_answer *answer, const cJSON *root)
{
    char wait[32];
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");
    must(cJSON_GetArraySize(root) == 1 && cJSON_IsObject(error) && cJSON_GetArraySize(error) == 4);
    must_be_text(error, "code", false);
    must_be_text(error, "message", false);
    must_be_text(error, "param", true);
    must_be_text(error, "type", false);
    must(!served_is_told(answer->body.data, answer->body.length));
    if (answer->status == 429 || answer->status == 503) {
        must(served_header(answer, "retry-after", wait, sizeof wait)[0] != '\0');
        must(served_header(answer, "retry-after-ms", wait, sizeof wait)[0] != '\0');
    }
    if (answer->status == 405) {
        must(served_header(answer, "Allow", wait, sizeof wait)[0] != '\0');
    }
}

/* Answers of our own have ids; those of the library to what is no HTTP have not, and no JSON. */
static void check_ours(served_answer *answer)
{
    char id[64], again[64], type[128];
    lc_err err = {0};
    (void)served_header(answer, "x-request-id", id, sizeof id);
    (void)served_header(answer, "apim-request-id", again, sizeof again);
    (void)served_header(answer, "Content-Type", type, sizeof type);
    answer->is_json = strcmp(type, "application/json") == 0;
    if (id[0] == '\0') {
        must(answer->status >= 400 && !answer->is_json);
        return;
    }
    must(strlen(id) == 36 && strcmp(id, again) == 0);
    must(answer->status < 400 || answer->is_json);
    must(type[0] != '\0' || answer->status == 204);
    if (answer->is_json && answer->body.length > 0) {
        cJSON *root = NULL;
        must(lc_json_parse(answer->body.data, answer->body.length, LC_JSON_DEFAULT, "an answer",
                           &root, &err) == LC_OK);
        must(cJSON_IsObject(root));
        if (answer->status >= 400) {
            check_error(answer, root);
        }
        cJSON_Delete(root);
    }
}

/* ---- one after the other ---- */

/* libmicrohttpd 0.9.75 says the head of its own errors twice: the bytes of the second one. */
static size_t repeated(const served_answer *answer, const char *line, size_t left)
{
    char id[64];
    const size_t bytes = (size_t)(answer->head - line) + answer->head_bytes + 2;
    const bool is_ours = served_header(answer, "x-request-id", id, sizeof id)[0] != '\0';
    return !is_ours && left >= bytes && memcmp(line, line + bytes, bytes) == 0 ? bytes : 0;
}

bool served_take(const char *bytes, size_t count, size_t *at, const bool *is_head,
                 served_answer *out)
{
    static const char version[] = "HTTP/1.1 ";
    memset(out, 0, sizeof *out);
    lc_text_init(&out->body);
    while (*at < count) {
        const char *line = bytes + *at;
        const char *end = memmem(line, count - *at, "\r\n\r\n", 4);
        must(end != NULL && (size_t)(end - line) > sizeof version + 3);
        must(memcmp(line, version, sizeof version - 1) == 0);
        const char *head = (const char *)memmem(line, (size_t)(end - line) + 2, "\r\n", 2) + 2;
        const char *digits = line + sizeof version - 1;
        must(strspn(digits, "0123456789") == 3 && digits[3] == ' ');
        out->status = (int)strtol(digits, NULL, 10);
        out->head = head;
        out->head_bytes = (size_t)(end + 2 - head);
        *at = (size_t)(end - bytes) + 4;
        check_lines(out->head, out->head_bytes);
        if (out->status != 100) {
            check_status(out->status);
            *at += repeated(out, line, count - *at);
            *at += take_body(out, bytes + *at, count - *at, is_head);
            must(!out->body.failed);
            check_ours(out);
            return true;
        }
        must(out->head_bytes == 0);
    }
    return false;
}

void served_answer_release(served_answer *answer)
{
    lc_text_release(&answer->body);
}
