/*
 * Lines of a JSONL file, read once from front to back through one buffer that grows to the longest
 * line. Called by the data set loader and by eval; knows nothing of JSON.
 */
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "data/dataset.h"

#define CHUNK_BYTES ((size_t)256 << 10)

struct lc_line_reader {
    lc_reader reader;
    int64_t offset; /* bytes of the file read so far */
    char *buffer;   /* owned; [begin, end) is not given out yet */
    size_t capacity, begin, end;
    size_t searched;     /* no newline in [begin, searched) */
    int64_t line_number; /* of the line that begins at `begin` */
    int64_t blank_line;  /* first of a run of blank lines just passed, 0: none */
    lc_sha256 hash;
};

lc_code lc_line_reader_open(const char *path, lc_line_reader **out, lc_err *err)
{
    *out = NULL;
    lc_line_reader *r = lc_calloc(1, sizeof *r);
    if (r == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to read %s", path);
    }
    lc_code code = lc_reader_open(path, &r->reader, err);
    if (code != LC_OK) {
        lc_free(r);
        return code;
    }
    r->line_number = 1;
    lc_sha256_init(&r->hash);
    if (r->reader.bytes > LC_MAX_JSONL_BYTES) {
        code = lc_fail(err, LC_ERR_INVALID,
                       "%s has %" PRId64 " bytes, more than the limit of %" PRId64
                       " (512 MiB); a tokenized data set may be larger",
                       path, r->reader.bytes, LC_MAX_JSONL_BYTES);
        lc_line_reader_close(r);
        return code;
    }
    *out = r;
    return LC_OK;
}

void lc_line_reader_close(lc_line_reader *reader)
{
    if (reader != NULL) {
        lc_reader_close(&reader->reader);
        lc_free(reader->buffer);
        lc_free(reader);
    }
}

int64_t lc_line_reader_bytes(const lc_line_reader *reader)
{
    return reader->reader.bytes;
}

/* Room for another chunk behind `end`: moves what is left to the front, grows when that is not
 * enough. */
static lc_code make_room(lc_line_reader *r, lc_err *err)
{
    if (r->begin > 0) {
        memmove(r->buffer, r->buffer + r->begin, r->end - r->begin);
        r->end -= r->begin;
        r->searched -= r->begin;
        r->begin = 0;
    }
    if (r->end > LC_MAX_JSONL_LINE_BYTES + 1) { /* one more for the CR of a CRLF */
        return lc_fail_line(err, LC_ERR_INVALID, r->line_number,
                            "line %" PRId64 ": more than %zu bytes without a line break",
                            r->line_number, LC_MAX_JSONL_LINE_BYTES);
    }
    if (r->capacity - r->end < CHUNK_BYTES) {
        const size_t capacity = r->capacity > 0 ? 2 * r->capacity : 2 * CHUNK_BYTES;
        char *buffer = lc_realloc(r->buffer, capacity);
        if (buffer == NULL) {
            return lc_fail(err, LC_ERR_MEMORY, "no memory for a line buffer of %zu bytes",
                           capacity);
        }
        r->buffer = buffer;
        r->capacity = capacity;
    }
    return LC_OK;
}

static lc_code read_chunk(lc_line_reader *r, lc_err *err)
{
    LC_TRY(make_room(r, err));
    const int64_t rest = r->reader.bytes - r->offset;
    const size_t bytes = rest < (int64_t)CHUNK_BYTES ? (size_t)rest : CHUNK_BYTES;
    LC_TRY(lc_reader_read(&r->reader, r->offset, r->buffer + r->end, bytes, err));
    lc_sha256_update(&r->hash, r->buffer + r->end, bytes);
    const bool is_first = r->offset == 0;
    r->offset += (int64_t)bytes;
    r->end += bytes;
    if (is_first && bytes >= 3 && memcmp(r->buffer, "\xef\xbb\xbf", 3) == 0) {
        r->begin = r->searched = 3;
    }
    return LC_OK;
}

/* The line that begins at `begin`: *bytes without its line break, *next where the line after it
 * begins. *at_end: there is none left. Does not move on. */
static lc_code find_line(lc_line_reader *r, size_t *bytes, size_t *next, bool *at_end, lc_err *err)
{
    const char *newline = NULL;
    *at_end = false;
    for (;;) {
        if (r->searched < r->end) {
            newline = memchr(r->buffer + r->searched, '\n', r->end - r->searched);
        }
        if (newline != NULL || r->offset == r->reader.bytes) {
            break;
        }
        r->searched = r->end;
        LC_TRY(read_chunk(r, err));
    }
    if (newline == NULL && r->begin == r->end) {
        *at_end = true;
        return LC_OK;
    }
    *next = newline != NULL ? (size_t)(newline - r->buffer) + 1 : r->end;
    *bytes = (newline != NULL ? *next - 1 : r->end) - r->begin;
    if (*bytes > 0 && r->buffer[r->begin + *bytes - 1] == '\r') {
        (*bytes)--;
    }
    if (*bytes > LC_MAX_JSONL_LINE_BYTES) {
        return lc_fail_line(err, LC_ERR_INVALID, r->line_number,
                            "line %" PRId64 " has %zu bytes, more than the limit of %zu",
                            r->line_number, *bytes, LC_MAX_JSONL_LINE_BYTES);
    }
    return LC_OK;
}

static bool is_blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') {
            return false;
        }
    }
    return true;
}

lc_code lc_line_reader_next(lc_line_reader *reader, const char **line, size_t *bytes,
                            int64_t *line_number, lc_err *err)
{
    *line = NULL;
    *bytes = 0;
    for (;;) {
        size_t length = 0, next = 0;
        bool at_end = false;
        LC_TRY(find_line(reader, &length, &next, &at_end, err));
        if (at_end) {
            return LC_OK; /* blank lines before the end are nobody's business */
        }
        const bool blank = is_blank(reader->buffer + reader->begin, length);
        if (!blank && reader->blank_line > 0) {
            *line = ""; /* a blank line with something behind it; this line comes next time */
            *line_number = reader->blank_line;
            reader->blank_line = 0;
            return LC_OK;
        }
        if (!blank) {
            *line = reader->buffer + reader->begin;
            *bytes = length;
            *line_number = reader->line_number;
        } else if (reader->blank_line == 0) {
            reader->blank_line = reader->line_number;
        }
        reader->begin = reader->searched = next;
        reader->line_number++;
        if (!blank) {
            return LC_OK;
        }
    }
}

void lc_line_reader_sha256(const lc_line_reader *reader, uint8_t digest[32])
{
    lc_sha256 copy = reader->hash;
    lc_sha256_final(&copy, digest);
}
