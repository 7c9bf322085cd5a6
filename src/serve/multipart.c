/*
 * The parser of multipart/form-data; see multipart.h. Bodies are searched for CRLF "--" boundary:
 * a carriage return stands only at its beginning, so a mismatch can only begin anew at the byte
 * that did not match, and what was held back is known without having been stored.
 */
#include "serve/multipart.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lorac/mem.h"
#include "serve/multipart_head.h"

#define DELIMITER_BYTES (4 + LC_MAX_BOUNDARY_BYTES) /* CR LF - - boundary */
#define TAIL_BYTES      (2 + LC_MAX_BOUNDARY_PADDING + 1)

typedef enum lc_multipart_state {
    STATE_SEARCH,   /* in a part, or before the first one: looking for a delimiter */
    STATE_TAIL,     /* behind a delimiter: is the rest of the line that of a boundary? */
    STATE_HEAD,     /* in the header of a part */
    STATE_EPILOGUE, /* behind the final boundary */
} lc_multipart_state;

struct lc_multipart {
    lc_multipart_sink sink;
    lc_multipart_state state;
    lc_err failure; /* the first one */
    char delimiter[DELIMITER_BYTES + 1];
    size_t delimiter_length;
    size_t matched;        /* bytes of the delimiter, in STATE_SEARCH */
    char tail[TAIL_BYTES]; /* what came behind it, in STATE_TAIL */
    size_t tail_length;
    bool is_in_part;
    int64_t outside_bytes; /* of the preamble or the epilogue */
    int64_t part_bytes;    /* of the current part's body */
    int part_count;
    lc_part part;
    size_t head_length;
    char head[LC_MAX_PART_HEAD_BYTES];
};

lc_code lc_multipart_open(const char *content_type, const lc_multipart_sink *sink,
                          lc_multipart **out, lc_err *err)
{
    char boundary[LC_MAX_BOUNDARY_BYTES + 1];
    lc_multipart *p = NULL;
    LC_TRY(lc_multipart_read_boundary(content_type, boundary, err));
    LC_TRY(lc_new((void **)&p, 1, sizeof *p, "a multipart parser", err));
    p->sink = *sink;
    p->delimiter_length = (size_t)snprintf(p->delimiter, sizeof p->delimiter, "\r\n--%s", boundary);
    p->state = STATE_SEARCH;
    p->matched = 2; /* the first boundary needs no line break, so one is taken as given */
    p->outside_bytes = -2;
    *out = p;
    return LC_OK;
}

void lc_multipart_close(lc_multipart *parser)
{
    lc_free(parser);
}

static lc_code drop_outside(lc_multipart *p, size_t count, lc_err *err)
{
    p->outside_bytes += (int64_t)count;
    if (p->outside_bytes > LC_MAX_OUTSIDE_BYTES) {
        return lc_fail(err, LC_ERR_TOO_LARGE, "more than %d bytes of the body are in no part",
                       LC_MAX_OUTSIDE_BYTES);
    }
    return LC_OK;
}

static lc_code give(lc_multipart *p, const char *bytes, size_t count, lc_err *err)
{
    if (count == 0) {
        return LC_OK;
    }
    if (!p->is_in_part) {
        return drop_outside(p, count, err);
    }
    if (count > (uint64_t)(p->part.max_bytes - p->part_bytes)) {
        return lc_fail_param(err, LC_ERR_TOO_LARGE, p->part.name,
                             "\"%s\" has more than %" PRId64 " bytes", p->part.name,
                             p->part.max_bytes);
    }
    p->part_bytes += (int64_t)count;
    return p->sink.data(p->sink.context, bytes, count, err);
}

static lc_code search(lc_multipart *p, const char *bytes, size_t count, size_t *used, lc_err *err)
{
    if (p->matched == 0) {
        const char *found = memchr(bytes, '\r', count);
        const size_t run = found != NULL ? (size_t)(found - bytes) : count;
        p->matched = found != NULL ? 1 : 0;
        *used = run + p->matched;
        return give(p, bytes, run, err);
    }
    size_t n = 0;
    while (n < count && p->matched < p->delimiter_length && bytes[n] == p->delimiter[p->matched]) {
        p->matched++;
        n++;
    }
    *used = n;
    if (p->matched == p->delimiter_length) {
        p->state = STATE_TAIL;
        p->tail_length = 0;
    } else if (n < count) {
        const size_t held = p->matched;
        p->matched = 0;
        return give(p, p->delimiter, held, err);
    }
    return LC_OK;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_final(const lc_multipart *p)
{
    return p->tail_length >= 2 && p->tail[0] == '-';
}

/* Whether the line may go on with c: "--" or nothing, blanks, CR LF. */
static bool fits_tail(const lc_multipart *p, char c)
{
    const size_t n = p->tail_length;
    const bool is_half_final = n == 1 && p->tail[0] == '-';
    if (n > 0 && p->tail[n - 1] == '\r') {
        return c == '\n';
    }
    if (c == '-') {
        return n == 0 || is_half_final;
    }
    if (is_blank(c)) {
        return !is_half_final && n - (is_final(p) ? 2 : 0) < LC_MAX_BOUNDARY_PADDING;
    }
    return c == '\r' && !is_half_final;
}

/* The boundary has ended what came before it. */
static lc_code pass_boundary(lc_multipart *p, lc_err *err)
{
    const bool was_in_part = p->is_in_part;
    p->state = is_final(p) ? STATE_EPILOGUE : STATE_HEAD;
    p->head_length = 0;
    p->outside_bytes = 0;
    p->is_in_part = false;
    return was_in_part ? p->sink.end(p->sink.context, err) : LC_OK;
}

static lc_code take_tail(lc_multipart *p, char c, size_t *used, lc_err *err)
{
    if (fits_tail(p, c)) {
        *used = 1;
        if (c == '\n') {
            return pass_boundary(p, err);
        }
        p->tail[p->tail_length++] = c;
        return LC_OK;
    }
    /* It only looked like one. A carriage return at its end may begin the next. */
    *used = 0;
    p->state = STATE_SEARCH;
    p->matched = p->tail_length > 0 && p->tail[p->tail_length - 1] == '\r' ? 1 : 0;
    LC_TRY(give(p, p->delimiter, p->delimiter_length, err));
    return give(p, p->tail, p->tail_length - p->matched, err);
}

static lc_code begin_part(lc_multipart *p, lc_err *err)
{
    if (p->part_count == LC_MAX_PARTS) {
        return lc_fail(err, LC_ERR_TOO_LARGE, "the body has more than %d parts", LC_MAX_PARTS);
    }
    p->part_count++;
    if (lc_multipart_read_head(p->head, p->head_length, &p->part, err) != LC_OK) {
        return lc_err_context(err, "part %d", p->part_count);
    }
    p->part.max_bytes = p->part.is_file ? INT64_MAX : LC_MAX_FIELD_BYTES;
    LC_TRY(p->sink.begin(p->sink.context, &p->part, err));
    p->state = STATE_SEARCH;
    p->matched = 0;
    p->is_in_part = true;
    p->part_bytes = 0;
    return LC_OK;
}

static bool is_head_complete(const lc_multipart *p)
{
    const size_t n = p->head_length;
    return (n == 2 && memcmp(p->head, "\r\n", 2) == 0) ||
           (n >= 4 && memcmp(p->head + n - 4, "\r\n\r\n", 4) == 0);
}

static lc_code take_head(lc_multipart *p, const char *bytes, size_t count, size_t *used,
                         lc_err *err)
{
    for (size_t n = 0; n < count; n++) {
        if (p->head_length == LC_MAX_PART_HEAD_BYTES) {
            return lc_fail(err, LC_ERR_TOO_LARGE, "part %d: its header has more than %d bytes",
                           p->part_count + 1, LC_MAX_PART_HEAD_BYTES);
        }
        p->head[p->head_length++] = bytes[n];
        if (bytes[n] == '\n' && is_head_complete(p)) {
            *used = n + 1;
            return begin_part(p, err);
        }
    }
    *used = count;
    return LC_OK;
}

static lc_code take(lc_multipart *p, const char *bytes, size_t count, size_t *used, lc_err *err)
{
    switch (p->state) {
    case STATE_SEARCH:
        return search(p, bytes, count, used, err);
    case STATE_TAIL:
        return take_tail(p, bytes[0], used, err);
    case STATE_HEAD:
        return take_head(p, bytes, count, used, err);
    case STATE_EPILOGUE:
        break;
    }
    *used = count;
    return drop_outside(p, count, err);
}

/* The failure, now and for every later call. */
static lc_code keep_failure(lc_multipart *p, lc_err *err)
{
    if (err != NULL && err->code == LC_OK) {
        *err = p->failure;
    }
    return p->failure.code;
}

lc_code lc_multipart_feed(lc_multipart *parser, const char *bytes, size_t count, lc_err *err)
{
    while (count > 0 && parser->failure.code == LC_OK) {
        size_t used = 0;
        if (take(parser, bytes, count, &used, &parser->failure) == LC_OK) {
            bytes += used;
            count -= used;
        }
    }
    return keep_failure(parser, err);
}

lc_code lc_multipart_finish(lc_multipart *parser, lc_err *err)
{
    lc_multipart *p = parser;
    if (p->failure.code != LC_OK) {
        return keep_failure(p, err);
    }
    if (p->state == STATE_TAIL && is_final(p) && p->tail[p->tail_length - 1] != '\r') {
        (void)pass_boundary(p, &p->failure); /* the last line needs no line break */
    } else if (p->state != STATE_EPILOGUE) {
        (void)lc_fail(&p->failure, LC_ERR_INVALID,
                      "the body ends before its final boundary \"%s--\"", p->delimiter + 2);
    }
    return keep_failure(p, err);
}
