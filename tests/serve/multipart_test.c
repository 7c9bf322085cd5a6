/* multipart/form-data: what real clients send, cut at every place; boundaries that are none; every
 * limit at n-1, n, n+1; frames that are refused. */
#include "testing.h"

#include "base/json.h"
#include "lorac/mem.h"
#include "serve/multipart.h"

#define TYPE "multipart/form-data; boundary=B"

/* The parts as text: name|filename|type|bytes, "-" for no file name, then a line break. */
typedef struct collector {
    lc_text text;
    int64_t max_bytes; /* of every part; 0: as it is */
    int calls, fail_at;
} collector;

static lc_code count_call(collector *c, lc_err *err)
{
    return ++c->calls == c->fail_at ? lc_fail(err, LC_ERR_IO, "the sink is full") : LC_OK;
}

static lc_code begin(void *context, lc_part *part, lc_err *err)
{
    collector *c = context;
    lc_text_addf(&c->text, "%s|%s|%s|", part->name, part->is_file ? part->filename : "-",
                 part->type);
    assert_true(part->is_file ? part->max_bytes == INT64_MAX
                              : part->max_bytes == LC_MAX_FIELD_BYTES);
    part->max_bytes = c->max_bytes > 0 ? c->max_bytes : part->max_bytes;
    return count_call(c, err);
}

static lc_code data(void *context, const char *bytes, size_t count, lc_err *err)
{
    collector *c = context;
    assert_true(count > 0);
    lc_text_add(&c->text, bytes, count);
    return count_call(c, err);
}

static lc_code end(void *context, lc_err *err)
{
    collector *c = context;
    lc_text_addf(&c->text, "\n");
    return count_call(c, err);
}

static lc_code feed_pieces(collector *c, const char *type, const char *body, size_t bytes,
                           const size_t *cuts, int cut_count, lc_err *err)
{
    const lc_multipart_sink sink = {begin, data, end, c};
    lc_multipart *parser = NULL;
    size_t at = 0;
    lc_text_init(&c->text);
    c->calls = 0;
    lc_code code = lc_multipart_open(type, &sink, &parser, err);
    for (int i = 0; i <= cut_count && code == LC_OK; i++) {
        const size_t next = i < cut_count ? cuts[i] : bytes;
        code = lc_multipart_feed(parser, body + at, next - at, err);
        at = next;
    }
    if (code == LC_OK) {
        code = lc_multipart_finish(parser, err);
    }
    if (code != LC_OK && parser != NULL) { /* it stays like that, and nothing more is called */
        const int calls = c->calls;
        lc_err again = {0};
        assert_int_equal(lc_multipart_feed(parser, "x", 1, &again), code);
        assert_string_equal(again.message, err->message);
        assert_int_equal(lc_multipart_finish(parser, NULL), code);
        assert_int_equal(c->calls, calls);
    }
    lc_multipart_close(parser);
    return code;
}

static lc_code feed(collector *c, const char *type, const char *body, size_t bytes, lc_err *err)
{
    return feed_pieces(c, type, body, bytes, NULL, 0, err);
}

static void assert_parts(const collector *c, const char *expected, size_t bytes)
{
    assert_int_equal(c->text.length, bytes);
    assert_memory_equal(c->text.data != NULL ? c->text.data : "", expected, bytes);
}

/* Whole, at every pair of cuts of a short body or every single cut of a long one, byte by byte. */
static void check_every_split(const char *type, const char *body, size_t bytes,
                              const char *expected, size_t expected_bytes)
{
    collector c = {0};
    for (size_t first = 0; first <= bytes; first++) {
        for (size_t second = first; second <= (bytes <= 200 ? bytes : first); second++) {
            const size_t cuts[] = {first, second};
            assert_ok(feed_pieces(&c, type, body, bytes, cuts, 2, &test_err));
            assert_parts(&c, expected, expected_bytes);
            lc_text_release(&c.text);
        }
    }
    size_t *cuts = calloc(bytes + 1, sizeof *cuts);
    for (size_t i = 0; i < bytes; i++) {
        cuts[i] = i;
    }
    assert_ok(feed_pieces(&c, type, body, bytes, cuts, (int)bytes, &test_err));
    assert_parts(&c, expected, expected_bytes);
    lc_text_release(&c.text);
    free(cuts);
}

static void check_text(const char *type, const char *body, const char *expected)
{
    check_every_split(type, body, strlen(body), expected, strlen(expected));
}

static void test_clients(void **state)
{
    (void)state;
    /* the openai SDK on httpx: fields first, names in brackets */
    check_text("multipart/form-data; boundary=4f1b0a7c2c5e4d6f8a9b0c1d2e3f4051",
               "--4f1b0a7c2c5e4d6f8a9b0c1d2e3f4051\r\n"
               "Content-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n"
               "--4f1b0a7c2c5e4d6f8a9b0c1d2e3f4051\r\n"
               "Content-Disposition: form-data; name=\"expires_after[seconds]\"\r\n\r\n86400\r\n"
               "--4f1b0a7c2c5e4d6f8a9b0c1d2e3f4051\r\n"
               "Content-Disposition: form-data; name=\"file\"; filename=\"train.jsonl\"\r\n"
               "Content-Type: application/octet-stream\r\n\r\n{\"messages\": []}\n\r\n"
               "--4f1b0a7c2c5e4d6f8a9b0c1d2e3f4051--\r\n",
               "purpose|-||fine-tune\nexpires_after[seconds]|-||86400\n"
               "file|train.jsonl|application/octet-stream|{\"messages\": []}\n\n");
    /* curl -F: its boundary is full of dashes */
    check_text("multipart/form-data; boundary=------------------------d74496d66958873e",
               "--------------------------d74496d66958873e\r\n"
               "Content-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n"
               "--------------------------d74496d66958873e\r\n"
               "Content-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\" %22.txt\"\r\n"
               "Content-Type: text/plain\r\n\r\n-----\r\n------------------------d7\r\n"
               "--------------------------d74496d66958873e--\r\n",
               "purpose|-||fine-tune\n"
               "file|a \"b\" %22.txt|text/plain|-----\r\n------------------------d7\n");
    /* aiohttp: charset of a field, filename* beside filename */
    check_text("multipart/form-data; boundary=a5c1f0",
               "--a5c1f0\r\nContent-Type: text/plain; charset=utf-8\r\n"
               "Content-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n"
               "--a5c1f0\r\nContent-Type: application/octet-stream\r\n"
               "Content-Disposition: form-data; name=\"file\"; filename=\"J_r_n.jsonl\"; "
               "filename*=utf-8''J%C3%b8rn.jsonl\r\n\r\n{}\r\n--a5c1f0--\r\n",
               "purpose|-|text/plain; charset=utf-8|fine-tune\n"
               "file|J\xC3\xB8rn.jsonl|application/octet-stream|{}\n");
    /* a browser without a chosen file; one of old with a path; quoted boundary, no last line break
     */
    check_text("Multipart/Form-Data; charset=utf-8; boundary=\"--=_a b:c\";",
               "----=_a b:c\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\"\r\n"
               "Content-Type: application/octet-stream\r\n\r\n\r\n----=_a b:c\r\n"
               "content-disposition:form-data;name=data;filename=\"C:\\new\\x\\\\y.csv\"\r\n"
               "Content-Transfer-Encoding: binary\r\nX-Other: 1\r\n\r\n1\r\n----=_a b:c--",
               "file||application/octet-stream|\ndata|C:\\new\\x\\y.csv||1\n");
    /* preamble, padding, epilogue */
    check_text(TYPE,
               "hello\r\n--BX\r\n--B \t\r\nContent-Disposition: form-data; name=a;\r\n\r\n1\r\n"
               "--B--  \r\nbye\r\n--B\r\n",
               "a|-||1\n");
    check_text(TYPE, "--B--\r\n", "");
    check_text(TYPE, "\r\n--B--", "");
}

/* A line that begins like the boundary belongs to the file. */
static void test_lookalikes(void **state)
{
    (void)state;
    static const char *const bodies[] = {"\r",
                                         "\n",
                                         "\r\n",
                                         "\r\r\n",
                                         "\r\n-",
                                         "\r\n--",
                                         "\r\n--A",
                                         "\r\n--BB",
                                         "\r\n--BB\r\n",
                                         "\r\n--B-",
                                         "\r\n--B-\r\n",
                                         "\r\n--B-\r\n--B-",
                                         "\r\n--B--x",
                                         "\r\n--B-- x\r\n",
                                         "\r\n--B---\r\n",
                                         "\r\n--B -\r\n",
                                         "\r\n--B - -\r\n",
                                         "\r\n--B \r",
                                         "\r\n--B\r",
                                         "\r\n--B\r\r\n",
                                         "\r\n--B\n",
                                         "\n--B\r\n",
                                         "\n--B--\r\n",
                                         "--B",
                                         "--B\r\n",
                                         "--B--\r\n",
                                         "\r\n\r\n--",
                                         "\r\n--\r\n--",
                                         "\r\n--b\r\n",
                                         "\r\n --B\r\n",
                                         "\r\r\r\r",
                                         "x\r\ny\r\n--Bz\r\n--B-z"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char body[256], expected[256];
        (void)snprintf(body, sizeof body,
                       "--B\r\nContent-Disposition: form-data; name=a; filename=f\r\n\r\n%s\r\n"
                       "--B--\r\n",
                       bodies[i]);
        (void)snprintf(expected, sizeof expected, "a|f||%s\n", bodies[i]);
        check_text(TYPE, body, expected);
    }
    /* all bytes, NUL too */
    char body[512], expected[512];
    int n = snprintf(body, sizeof body,
                     "--B\r\nContent-Disposition: form-data; name=a; filename=f\r\n\r\n");
    int m = snprintf(expected, sizeof expected, "a|f||");
    for (int byte = 0; byte < 256; byte++) {
        body[n++] = expected[m++] = (char)byte;
    }
    expected[m++] = '\n';
    memcpy(body + n, "\r\n--B--", 7);
    check_every_split(TYPE, body, (size_t)n + 7, expected, (size_t)m);
}

/* ---- limits ---- */

static void add_part(lc_text *body, const char *name, const char *filename, size_t bytes)
{
    lc_text_addf(body, "--B\r\nContent-Disposition: form-data; name=\"%s\"", name);
    if (filename != NULL) {
        lc_text_addf(body, "; filename=\"%s\"", filename);
    }
    lc_text_addf(body, "\r\n\r\n");
    for (size_t i = 0; i < bytes; i++) {
        lc_text_add(body, "x", 1);
    }
    lc_text_addf(body, "\r\n");
}

static lc_code feed_text(lc_text *body, int64_t max_bytes)
{
    collector c = {.max_bytes = max_bytes};
    lc_text_addf(body, "--B--\r\n");
    const lc_code code = feed(&c, TYPE, body->data, body->length, &test_err);
    lc_text_release(&c.text);
    lc_text_release(body);
    lc_text_init(body);
    return code;
}

static const char *repeat(char c, size_t count)
{
    static char text[16384];
    assert_true(count < sizeof text);
    memset(text, c, count);
    text[count] = '\0';
    return text;
}

#define CHECK_LIMIT(n, limit, call, message)               \
    do {                                                   \
        if ((n) <= (limit)) {                              \
            assert_ok(call);                               \
        } else {                                           \
            assert_fails(call, LC_ERR_TOO_LARGE, message); \
        }                                                  \
    } while (0)

static void test_limits_of_parts(void **state)
{
    (void)state;
    lc_text body;
    lc_text_init(&body);
    for (int n = LC_MAX_PARTS - 1; n <= LC_MAX_PARTS + 1; n++) {
        for (int i = 0; i < n; i++) {
            add_part(&body, "a", NULL, 1);
        }
        CHECK_LIMIT(n, LC_MAX_PARTS, feed_text(&body, 0), "more than 32 parts");
    }
    for (size_t n = LC_MAX_FIELD_BYTES - 1; n <= LC_MAX_FIELD_BYTES + 1; n++) {
        add_part(&body, "purpose", NULL, n);
        CHECK_LIMIT(n, LC_MAX_FIELD_BYTES, feed_text(&body, 0),
                    "\"purpose\" has more than 4096 bytes");
        add_part(&body, "file", "f", n); /* files have no such limit */
        assert_ok(feed_text(&body, 0));
    }
    assert_string_equal(test_err.param, "");
    for (size_t n = 9; n <= 11; n++) {
        add_part(&body, "file", "f", n);
        CHECK_LIMIT(n, 10, feed_text(&body, 10), "\"file\" has more than 10 bytes");
    }
    assert_string_equal(test_err.param, "file");
    for (size_t n = LC_MAX_PART_NAME_BYTES - 1; n <= LC_MAX_PART_NAME_BYTES + 1; n++) {
        add_part(&body, repeat('n', n), NULL, 1);
        CHECK_LIMIT(n, LC_MAX_PART_NAME_BYTES, feed_text(&body, 0), "name has more than 127");
    }
    for (size_t n = LC_MAX_PART_FILENAME_BYTES - 1; n <= LC_MAX_PART_FILENAME_BYTES + 1; n++) {
        add_part(&body, "a", repeat('n', n), 1);
        CHECK_LIMIT(n, LC_MAX_PART_FILENAME_BYTES, feed_text(&body, 0),
                    "part 1: filename has more than 1024");
        lc_text_addf(&body,
                     "--B\r\nContent-Disposition: form-data; name=a; filename*=UTF-8''%%41%s\r\n"
                     "\r\n\r\n",
                     repeat('n', n - 1));
        CHECK_LIMIT(n, LC_MAX_PART_FILENAME_BYTES, feed_text(&body, 0),
                    "filename* has more than 1024");
    }
    for (size_t n = LC_MAX_PART_TYPE_BYTES - 1; n <= LC_MAX_PART_TYPE_BYTES + 1; n++) {
        lc_text_addf(&body,
                     "--B\r\nContent-Disposition: form-data; name=a\r\nContent-Type: %s\r\n"
                     "\r\n\r\n",
                     repeat('t', n));
        CHECK_LIMIT(n, LC_MAX_PART_TYPE_BYTES, feed_text(&body, 0), "Content-Type has more");
    }
    lc_text_release(&body);
}

static void test_limits_of_frame(void **state)
{
    (void)state;
    static const char disposition[] = "Content-Disposition: form-data; name=a\r\nX: ";
    lc_text body;
    lc_text_init(&body);
    for (size_t n = LC_MAX_PART_HEAD_BYTES - 1; n <= LC_MAX_PART_HEAD_BYTES + 1; n++) {
        lc_text_addf(&body, "--B\r\n%s%s\r\n\r\n\r\n", disposition,
                     repeat('h', n - strlen(disposition) - 4));
        CHECK_LIMIT(n, LC_MAX_PART_HEAD_BYTES, feed_text(&body, 0), "part 1: its header has more");
    }
    for (size_t n = LC_MAX_OUTSIDE_BYTES - 1; n <= LC_MAX_OUTSIDE_BYTES + 1; n++) {
        lc_text_addf(&body, "%s\r\n", repeat('p', n)); /* its line break is the boundary's */
        CHECK_LIMIT(n, LC_MAX_OUTSIDE_BYTES, feed_text(&body, 0), "are in no part");
        lc_text_addf(&body, "--B--\r\n%s", repeat('e', n - 7)); /* and --B-- CR LF */
        CHECK_LIMIT(n, LC_MAX_OUTSIDE_BYTES, feed_text(&body, 0), "are in no part");
    }
    for (size_t n = LC_MAX_BOUNDARY_PADDING - 1; n <= LC_MAX_BOUNDARY_PADDING + 1; n++) {
        const bool is_boundary = n <= LC_MAX_BOUNDARY_PADDING;
        collector c = {0};
        lc_text_addf(&body,
                     "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--B--%s\r\n"
                     "--B--%.16s\r\n",
                     repeat(' ', n), repeat(' ', n));
        assert_ok(feed(&c, TYPE, body.data, body.length, &test_err));
        assert_int_equal(c.text.length, strlen("a|-||\n") + (is_boundary ? 0 : 7 + n));
        lc_text_release(&c.text);
        lc_text_release(&body);
    }
    for (size_t n = LC_MAX_BOUNDARY_BYTES - 1; n <= LC_MAX_BOUNDARY_BYTES + 1; n++) {
        collector c = {0};
        lc_text type;
        lc_text_init(&type);
        lc_text_addf(&type, "multipart/form-data; boundary=%s", repeat('b', n));
        lc_text_addf(&body, "--%s--", repeat('b', n));
        CHECK_LIMIT(n, LC_MAX_BOUNDARY_BYTES,
                    feed(&c, type.data, body.data, body.length, &test_err),
                    "the boundary has more than 70 bytes");
        lc_text_release(&c.text);
        lc_text_release(&type);
        lc_text_release(&body);
    }
    assert_string_equal(test_err.param, "Content-Type");
}

/* ---- what is refused ---- */

static void test_content_types(void **state)
{
    (void)state;
    static const struct {
        const char *type, *message;
    } cases[] = {
        {"", "must be multipart/form-data"},
        {"application/json", "not \"application/json\""},
        {"multipart/mixed; boundary=B", "must be multipart/form-data"},
        {"multipart/form-data", "names no boundary"},
        {"multipart/form-datax; boundary=B", "names no boundary"},
        {"multipart/form-data; boundary", "without a value"},
        {"multipart/form-data; boundary=", "is empty"},
        {"multipart/form-data; boundary=\"\"", "is empty"},
        {"multipart/form-data; boundary=\"B", "no closing quotation mark"},
        {"multipart/form-data; boundary=\"B \"", "ends with a blank"},
        {"multipart/form-data; boundary=B; boundary=C", "one twice"},
        {"multipart/form-data; boundary=B C", "names no boundary"},
        {"multipart/form-data; =B", "without a value"},
        {"multipart/form-data; boundary=B@C", "does not allow"},
        {"multipart/form-data; boundary=\xC3\xA4", "does not allow"},
        {"multipart/form-data; boundary=\"a\r\nb\"", "does not allow"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        collector c = {0};
        assert_fails(feed(&c, cases[i].type, "", 0, &test_err), LC_ERR_INVALID, cases[i].message);
        assert_string_equal(test_err.param, "Content-Type");
    }
}

static void test_heads(void **state)
{
    (void)state;
    static const struct {
        const char *head, *message;
    } cases[] = {
        {"\r\n", "part 1: it has no Content-Disposition"},
        {"Content-Type: text/plain\r\n\r\n", "it has no Content-Disposition"},
        {"Content-Disposition: attachment; name=a\r\n\r\n", "is not form-data"},
        {"Content-Disposition: form-datax; name=a\r\n\r\n", "is not form-data"},
        {"Content-Disposition: form-data\r\n\r\n", "has no name"},
        {"Content-Disposition: form-data; name=\"\"\r\n\r\n", "has no name"},
        {"Content-Disposition: form-data; name\r\n\r\n", "without a value"},
        {"Content-Disposition: form-data; ; name=a\r\n\r\n", "without a value"},
        {"Content-Disposition: form-data name=a\r\n\r\n", "other than parameters"},
        {"Content-Disposition: form-data; name=\"a\"b\r\n\r\n", "other than parameters"},
        {"Content-Disposition: form-data; name=\"a\r\n\r\n", "no closing quotation mark"},
        {"Content-Disposition: form-data; name=\"a\\\"\r\n\r\n", "no closing quotation mark"},
        {"Content-Disposition: form-data; name=a; NAME=b\r\n\r\n", "\"name\" twice"},
        {"Content-Disposition: form-data; name=a; filename=b; filename=c\r\n\r\n",
         "\"filename\" twice"},
        {"Content-Disposition: form-data; name=a\xFF\r\n\r\n", "name is not UTF-8"},
        {"Content-Disposition: form-data; name=\"a\tb\"\r\n\r\n", "name has a control"},
        {"Content-Disposition: form-data; name=a; filename=\"\xC3\"\r\n\r\n",
         "filename is not UTF-8"},
        {"Content-Disposition: form-data; name=a; filename=\"\x7F\"\r\n\r\n",
         "filename has a control"},
        {"Content-Disposition: form-data; name=a; filename*=b\r\n\r\n", "UTF-8''"},
        {"Content-Disposition: form-data; name=a; filename*=iso-8859-1''b\r\n\r\n", "UTF-8''"},
        {"Content-Disposition: form-data; name=a; filename*=utf-8''%4\r\n\r\n", "percent sign"},
        {"Content-Disposition: form-data; name=a; filename*=utf-8''%\r\n\r\n", "percent sign"},
        {"Content-Disposition: form-data; name=a; filename*=utf-8''%g0\r\n\r\n", "percent sign"},
        {"Content-Disposition: form-data; name=a; filename*=utf-8''%00\r\n\r\n", "control"},
        {"Content-Disposition: form-data; name=a; filename*=utf-8''%0a\r\n\r\n", "control"},
        {"Content-Disposition: form-data; name=a; filename*=utf-8''%C3\r\n\r\n", "is not UTF-8"},
        {"Content-Disposition: form-data; name=a\r\ncontent-disposition: form-data; "
         "name=b\r\n\r\n",
         "two lines Content-Disposition"},
        {"Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n", "two lines Content-Type"},
        {"Content-Disposition: form-data;\r\n name=a\r\n\r\n", "has no name"},
        {" Content-Disposition: form-data; name=a\r\n\r\n", "a header line has no name"},
        {"Content-Disposition : form-data; name=a\r\n\r\n", "a header line has no name"},
        {": x\r\n\r\n", "a header line has no name"},
        {"Content-Disposition: form-data; name=a\nX: y\r\n\r\n", "does not end with CR LF"},
        {"Content-Disposition: form-data; name=a\rX: y\r\n\r\n", "does not end with CR LF"},
        {"Content-Disposition: form-data; name=a\r\r\n\r\n", "does not end with CR LF"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_text body;
        lc_text_init(&body);
        lc_text_addf(&body, "--B\r\n%s\r\n", cases[i].head);
        assert_fails(feed_text(&body, 0), LC_ERR_INVALID, cases[i].message);
    }
    static const char *const encodings[] = {"base64", "quoted-printable", ""};
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        lc_text body;
        lc_text_init(&body);
        lc_text_addf(&body,
                     "--B\r\nContent-Disposition: form-data; name=a\r\n"
                     "Content-Transfer-Encoding: %s\r\n\r\n\r\n",
                     encodings[i]);
        assert_fails(feed_text(&body, 0), LC_ERR_UNSUPPORTED, "must be binary");
    }
}

static void test_nul_in_head(void **state)
{
    (void)state;
    static const char body[] =
        "--B\r\nContent-Disposition: form-data; name=\"a\0b\"\r\n\r\n\r\n--B--";
    collector c = {0};
    assert_fails(feed(&c, TYPE, body, sizeof body - 1, &test_err), LC_ERR_INVALID,
                 "does not end with CR LF");
    lc_text_release(&c.text);
}

/* A body that breaks off anywhere is an error. */
static void test_truncated(void **state)
{
    (void)state;
    static const char body[] = "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--B\r\n"
                               "Content-Disposition: form-data; name=b; filename=f\r\n\r\n"
                               "2\r\n--B--\r\n";
    const size_t whole = sizeof body - 1;
    for (size_t bytes = 0; bytes <= whole; bytes++) {
        collector c = {0};
        lc_err_clear(&test_err);
        const lc_code code = feed(&c, TYPE, body, bytes, &test_err);
        if (bytes == whole || bytes == whole - 2) {
            assert_int_equal(code, LC_OK);
        } else {
            assert_int_equal(code, LC_ERR_INVALID);
            assert_non_null(strstr(test_err.message, "ends before its final boundary \"--B--\""));
        }
        lc_text_release(&c.text);
    }
}

/* What the sink refuses ends it all. */
static void test_sink_fails(void **state)
{
    (void)state;
    static const char body[] = "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--B\r\n"
                               "Content-Disposition: form-data; name=b\r\n\r\n2\r\n--B--";
    for (int call = 1; call <= 6; call++) {
        collector c = {.fail_at = call};
        assert_fails(feed(&c, TYPE, body, sizeof body - 1, &test_err), LC_ERR_IO,
                     "the sink is full");
        assert_int_equal(c.calls, call);
        lc_text_release(&c.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients),         cmocka_unit_test(test_lookalikes),
        cmocka_unit_test(test_limits_of_parts), cmocka_unit_test(test_limits_of_frame),
        cmocka_unit_test(test_content_types),   cmocka_unit_test(test_heads),
        cmocka_unit_test(test_nul_in_head),     cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_sink_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
