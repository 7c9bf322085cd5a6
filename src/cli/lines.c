/* Lines of standard input and their answers, see lines.h. */
#include "cli/lines.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lorac/mem.h"

#define CHUNK_BYTES  ((size_t)256 << 10) /* read at once */
#define OUTPUT_BYTES ((size_t)256 << 10) /* kept before it is written */

typedef struct lines {
    char *buffer; /* owned: buffer[begin..end) has been read and not been answered */
    size_t begin, end, capacity;
    size_t seen;      /* of these, the bytes that hold no line break */
    bool is_skipping; /* the rest of a line that is too long */
    bool is_over;     /* standard input has ended */
    lc_text out;
    lc_answer_line_fn answer;
    void *context;
    lc_err *err;
} lines;

static lc_code answer_all(lines *l);

lc_code lc_answer_lines(lc_answer_line_fn answer, void *context, lc_err *err)
{
    lines l = {.answer = answer, .context = context, .err = err};
    lc_text_init(&l.out);
    const lc_code code = answer_all(&l);
    lc_text_release(&l.out);
    lc_free(l.buffer);
    return code;
}

static lc_code flush(lines *l)
{
    LC_TRY(lc_text_finish(&l->out, "the output", l->err));
    if (fwrite(l->out.data, 1, l->out.length, stdout) != l->out.length || fflush(stdout) != 0) {
        return lc_fail(l->err, LC_ERR_IO, "standard output: %s", strerror(errno));
    }
    l->out.length = 0;
    return LC_OK;
}

/* ---- one line ---- */

static lc_code write_error(lines *l, size_t from, const lc_err *error)
{
    if (error->code == LC_ERR_MEMORY) {
        return lc_fail(l->err, LC_ERR_MEMORY, "%s", error->message);
    }
    l->out.length = from;
    lc_text_addf(&l->out, "{\"error\": ");
    lc_text_add_json_string(&l->out, error->message, strlen(error->message));
    lc_text_add(&l->out, "}", 1);
    return LC_OK;
}

static lc_code answer_line(lines *l, const char *line, size_t bytes)
{
    lc_err error;
    const size_t from = l->out.length;
    lc_err_clear(&error);
    if (bytes > LC_MAX_INPUT_LINE_BYTES) {
        (void)lc_fail(&error, LC_ERR_INVALID, "a line of more than %zu bytes",
                      LC_MAX_INPUT_LINE_BYTES);
        LC_TRY(write_error(l, from, &error));
    } else if (l->answer(l->context, line, bytes, &l->out, &error) != LC_OK) {
        LC_TRY(write_error(l, from, &error));
    }
    lc_text_add(&l->out, "\n", 1);
    return l->out.length >= OUTPUT_BYTES || l->out.failed ? flush(l) : LC_OK;
}

/* Answers buffer[begin..line_end), which is `taken` bytes with its line break. */
static lc_code take_line(lines *l, size_t line_end, size_t taken)
{
    const lc_code code =
        l->is_skipping ? LC_OK : answer_line(l, l->buffer + l->begin, line_end - l->begin);
    l->is_skipping = false;
    l->begin += taken;
    l->seen = 0;
    return code;
}

/* ---- standard input ---- */

/* Room for a chunk behind what is there. */
static lc_code make_room(lines *l)
{
    if (l->begin > 0) {
        memmove(l->buffer, l->buffer + l->begin, l->end - l->begin);
        l->end -= l->begin;
        l->begin = 0;
    }
    if (l->capacity - l->end >= CHUNK_BYTES) {
        return LC_OK;
    }
    const size_t capacity = 2 * l->capacity + CHUNK_BYTES;
    char *buffer = lc_realloc(l->buffer, capacity);
    if (buffer == NULL) {
        return lc_fail(l->err, LC_ERR_MEMORY, "no memory for a line of %zu bytes", l->end);
    }
    l->buffer = buffer;
    l->capacity = capacity;
    return LC_OK;
}

static bool would_wait(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) == 0;
}

static lc_code read_more(lines *l)
{
    ssize_t got;
    LC_TRY(make_room(l));
    if (would_wait()) {
        LC_TRY(flush(l));
    }
    do {
        got = read(STDIN_FILENO, l->buffer + l->end, CHUNK_BYTES);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return lc_fail(l->err, LC_ERR_IO, "standard input: %s", strerror(errno));
    }
    l->is_over = got == 0;
    l->end += (size_t)got;
    return LC_OK;
}

/* A line that is too long is answered once it is, and the rest of it dropped as it comes. */
static lc_code drop_long_line(lines *l)
{
    if (l->seen > LC_MAX_INPUT_LINE_BYTES || l->is_skipping) {
        LC_TRY(take_line(l, l->end, l->end - l->begin));
        l->is_skipping = true;
    }
    return LC_OK;
}

static lc_code answer_all(lines *l)
{
    while (!l->is_over) {
        const char *from = l->buffer + l->begin + l->seen;
        const size_t unseen = l->end - l->begin - l->seen;
        const char *found = unseen > 0 ? memchr(from, '\n', unseen) : NULL;
        if (found != NULL) {
            const size_t line_end = (size_t)(found - l->buffer);
            LC_TRY(take_line(l, line_end, line_end + 1 - l->begin));
            continue;
        }
        l->seen = l->end - l->begin;
        LC_TRY(drop_long_line(l));
        LC_TRY(read_more(l));
    }
    if (l->end > l->begin) {
        LC_TRY(take_line(l, l->end, l->end - l->begin));
    }
    return flush(l);
}
