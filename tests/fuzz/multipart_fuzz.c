/*
 * Any bytes as a multipart body with the boundary "B": fed whole, byte by byte and in random pieces
 * it gives the same parts or the same error. What is taken is checked against a plain search of the
 * whole body for boundary lines. The first four bytes choose the pieces.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/rng.h"
#include "serve/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

/* What came out: the parts, and of each where its bytes end in `bytes`. */
typedef struct outcome {
    lc_text heads, bytes;
    size_t ends[LC_MAX_PARTS];
    int begun, ended;
    lc_err err;
} outcome;

static lc_code begin(void *context, lc_part *part, lc_err *err)
{
    outcome *o = context;
    (void)err;
    must(o->begun == o->ended && o->begun < LC_MAX_PARTS && part->name[0] != '\0');
    must(part->is_file || part->filename[0] == '\0');
    o->begun++;
    lc_text_addf(&o->heads, "%s|%d|%s|%s\n", part->name, part->is_file, part->filename, part->type);
    return LC_OK;
}

static lc_code take(void *context, const char *bytes, size_t count, lc_err *err)
{
    outcome *o = context;
    (void)err;
    must(o->begun == o->ended + 1 && count > 0);
    lc_text_add(&o->bytes, bytes, count);
    return LC_OK;
}

static lc_code end(void *context, lc_err *err)
{
    outcome *o = context;
    (void)err;
    must(o->begun == o->ended + 1);
    o->ends[o->ended++] = o->bytes.length;
    return LC_OK;
}

/* longest: of a piece; 0: all at once. */
static void parse(const char *body, size_t size, size_t longest, uint32_t seed, outcome *o)
{
    const lc_multipart_sink sink = {begin, take, end, o};
    lc_multipart *parser = NULL;
    lc_rng rng;
    lc_code code = LC_OK;
    lc_rng_init(&rng, seed, 0);
    lc_text_init(&o->heads);
    lc_text_init(&o->bytes);
    must(lc_multipart_open("multipart/form-data; boundary=B", &sink, &parser, &o->err) == LC_OK);
    for (size_t at = 0; at < size && code == LC_OK;) {
        size_t piece = longest == 0 ? size : (size_t)lc_rng_below(&rng, longest) + 1;
        piece = piece < size - at ? piece : size - at;
        char *exact = malloc(piece); /* so that reading past a piece is seen */
        must(exact != NULL);
        memcpy(exact, body + at, piece);
        code = lc_multipart_feed(parser, exact, piece, &o->err);
        free(exact);
        at += piece;
    }
    if (code == LC_OK) {
        code = lc_multipart_finish(parser, &o->err);
    }
    must(code == o->err.code && code != LC_ERR_INTERNAL && code != LC_ERR_MEMORY);
    must((code != LC_OK) == (o->err.message[0] != '\0'));
    must(code != LC_OK || o->begun == o->ended);
    lc_multipart_close(parser);
}

static void must_be_same(const outcome *a, const outcome *b)
{
    must(a->err.code == b->err.code && strcmp(a->err.message, b->err.message) == 0);
    must(a->begun == b->begun && a->ended == b->ended);
    must(a->heads.length == b->heads.length &&
         (a->heads.length == 0 || memcmp(a->heads.data, b->heads.data, a->heads.length) == 0));
    if (a->err.code == LC_OK) { /* what a refused body gave before depends on the pieces */
        must(a->bytes.length == b->bytes.length &&
             (a->bytes.length == 0 || memcmp(a->bytes.data, b->bytes.data, a->bytes.length) == 0));
        must(memcmp(a->ends, b->ends, (size_t)a->ended * sizeof a->ends[0]) == 0);
    }
}

/* Length of the boundary line at body[at], 0 when there is none: [CR LF] "--B" ["--"] blanks CR LF;
 * the final one may end with the body instead. */
static size_t boundary_line(const char *body, size_t size, size_t at, bool is_first, bool *is_final)
{
    const char *mark = is_first ? "--B" : "\r\n--B";
    const size_t mark_bytes = strlen(mark);
    size_t n = at + mark_bytes, blanks = 0;
    if (n > size || memcmp(body + at, mark, mark_bytes) != 0) {
        return 0;
    }
    *is_final = size - n >= 2 && memcmp(body + n, "--", 2) == 0;
    n += *is_final ? 2 : 0;
    while (n < size && (body[n] == ' ' || body[n] == '\t')) {
        n++;
        blanks++;
    }
    if (blanks > LC_MAX_BOUNDARY_PADDING) {
        return 0;
    }
    if (n == size && *is_final) {
        return n - at;
    }
    return size - n >= 2 && memcmp(body + n, "\r\n", 2) == 0 ? n + 2 - at : 0;
}

/* Where the next boundary line begins and how long it is; the body is known to have one. */
static size_t find_line(const char *body, size_t size, size_t at, bool *is_final, size_t *length)
{
    for (*length = 0; at <= size; at++) {
        *length = boundary_line(body, size, at, false, is_final);
        if (*length > 0) {
            return at;
        }
    }
    abort();
}

/* A body that was taken, taken apart again with the whole of it at hand. */
static void check_plainly(const char *body, size_t size, const outcome *o)
{
    bool is_final = false;
    size_t at = 0, done = 0;
    size_t length = boundary_line(body, size, 0, true, &is_final);
    if (length == 0) {
        at = find_line(body, size, 0, &is_final, &length);
    }
    for (int part = 0; part < o->ended; part++) {
        must(!is_final);
        const char *head = body + at + length;
        const char *head_end = memmem(head, size - at - length, "\r\n\r\n", 4);
        must(head_end != NULL);
        const size_t begins = (size_t)(head_end - body) + 4;
        at = find_line(body, size, begins, &is_final, &length);
        must(at - begins == o->ends[part] - done);
        must(at == begins || memcmp(body + begins, o->bytes.data + done, at - begins) == 0);
        done = o->ends[part];
    }
    must(is_final && done == o->bytes.length);
}

static void release(outcome *o)
{
    lc_text_release(&o->heads);
    lc_text_release(&o->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t longest[] = {1, 3, 40};
    uint32_t seed = 0;
    if (size < sizeof seed) {
        return 0;
    }
    memcpy(&seed, data, sizeof seed);
    const char *body = (const char *)data + sizeof seed;
    size -= sizeof seed;
    outcome whole = {0};
    parse(body, size, 0, seed, &whole);
    for (size_t i = 0; i < sizeof longest / sizeof longest[0]; i++) {
        outcome pieces = {0};
        parse(body, size, longest[i], seed, &pieces);
        must_be_same(&whole, &pieces);
        release(&pieces);
    }
    if (whole.err.code == LC_OK) {
        check_plainly(body, size, &whole);
    }
    release(&whole);
    return 0;
}
