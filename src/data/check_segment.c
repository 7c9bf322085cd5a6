/*
 * The lines of one segment, checked and counted; see check_segment.h. Called by the file check from
 * several threads at once.
 */
#include "data/check_segment.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

#define TAIL_BYTES \
    ((size_t)16 << 10) /* read behind a segment first, for the end of its last line */

/* A segment being read. The buffer holds the file's bytes from `origin` on. */
typedef struct reading {
    lc_segment_worker *worker;
    const lc_check_options *options; /* borrowed, as all below */
    const lc_reader *reader;
    lc_segment *out;
    int64_t origin;
    size_t have;  /* bytes in the buffer */
    size_t limit; /* lines that begin from here on are the next segment's */
    lc_err *err;
} reading;

void lc_segment_release(lc_segment *segment)
{
    lc_findings_release(&segment->findings);
    lc_free(segment->noted);
    *segment = (lc_segment){0};
}

void lc_segment_worker_release(lc_segment_worker *worker)
{
    lc_row_checker_close(worker->checker);
    lc_tokens_release(&worker->tokens);
    lc_free(worker->weights);
    lc_free(worker->buffer);
    *worker = (lc_segment_worker){0};
}

/* ---- reading ---- */

static lc_code reserve(reading *r, size_t bytes)
{
    lc_segment_worker *w = r->worker;
    if (bytes <= w->capacity) {
        return LC_OK;
    }
    char *buffer = lc_realloc(w->buffer, bytes);
    if (buffer == NULL) {
        return lc_fail(r->err, LC_ERR_MEMORY, "no memory for a buffer of %zu bytes", bytes);
    }
    w->buffer = buffer;
    w->capacity = bytes;
    return LC_OK;
}

/* Appends up to `bytes` more of the file. */
static lc_code read_more(reading *r, size_t bytes)
{
    const int64_t at = r->origin + (int64_t)r->have, left = r->reader->bytes - at;
    bytes = left < (int64_t)bytes ? (size_t)left : bytes;
    LC_TRY(reserve(r, r->have + bytes));
    LC_TRY(lc_reader_read(r->reader, at, r->worker->buffer + r->have, bytes, r->err));
    r->have += bytes;
    return LC_OK;
}

/* The line at `begin`: *end is where its line break is, or the file's end. *is_whole false: it is
 * longer than any may be, and its end was not looked for. */
static lc_code find_end(reading *r, size_t begin, size_t *end, bool *is_whole)
{
    size_t searched = begin, step = TAIL_BYTES;
    *is_whole = true;
    for (;;) {
        const char *newline = memchr(r->worker->buffer + searched, '\n', r->have - searched);
        *end = newline != NULL ? (size_t)(newline - r->worker->buffer) : r->have;
        if (newline != NULL || r->origin + (int64_t)r->have == r->reader->bytes) {
            return LC_OK;
        }
        if (r->have - begin > LC_MAX_JSONL_LINE_BYTES + 1) { /* one more for the CR of a CRLF */
            *is_whole = false;
            return LC_OK;
        }
        searched = r->have;
        LC_TRY(read_more(r, step));
        step *= 2;
        step = step > LC_MAX_JSONL_LINE_BYTES / 4 ? LC_MAX_JSONL_LINE_BYTES / 4 : step;
    }
}

/* ---- rows ---- */

static lc_code note_row(reading *r, lc_segment_row **out)
{
    lc_segment *s = r->out;
    if (s->noted_count == s->noted_capacity) {
        const int64_t capacity = s->noted_capacity > 0 ? 2 * s->noted_capacity : 256;
        lc_segment_row *noted = lc_realloc(s->noted, (size_t)capacity * sizeof *noted);
        if (noted == NULL) {
            return lc_fail(r->err, LC_ERR_MEMORY, "no memory for %" PRId64 " rows", capacity);
        }
        s->noted = noted;
        s->noted_capacity = capacity;
    }
    *out = &s->noted[s->noted_count++];
    **out = (lc_segment_row){.line = (uint32_t)s->line_count};
    return LC_OK;
}

static int64_t count_trained(const float *weights, int64_t from, int64_t to)
{
    int64_t trained = 0;
    for (int64_t i = from > 0 ? from : 1; i < to; i++) {
        trained += weights[i] > 0.0f;
    }
    return trained;
}

/* Tokens of one conversation of a row whose form is good; findings where they leave nothing to
 * train on. */
static void judge_tokens(const reading *r, const lc_row_text *row, const lc_chat_row *chat,
                         lc_segment_row *noted)
{
    const char *path = chat->output;
    lc_findings *findings = &r->out->findings;
    const int64_t all = (int64_t)r->worker->tokens.count, most = r->options->max_tokens;
    const int64_t kept = all < most ? all : most;
    const int64_t trained = count_trained(r->worker->weights, 0, kept);
    char message[96];
    if (trained == 0 && count_trained(r->worker->weights, kept, all) > 0) {
        (void)snprintf(message, sizeof message,
                       "%" PRId64 " tokens are cut to %" PRId64 ", and none of these is trained",
                       all, kept);
        lc_findings_add(findings, LC_FINDING_TRAINED_PART_CUT_OFF, row->line, path, message);
    } else if (trained == 0 && !chat->is_prompt) {
        (void)snprintf(message, sizeof message, "none of its %" PRId64 " tokens is trained", all);
        lc_findings_add(findings, LC_FINDING_NO_TRAINED_TOKEN, row->line, path, message);
    } else if (kept < all) {
        (void)snprintf(message, sizeof message, "%" PRId64 " tokens are cut to %" PRId64, all,
                       kept);
        lc_findings_add(findings, LC_FINDING_ROW_TRUNCATED, row->line, path, message);
    }
    noted->has_tokens = noted->has_tokens && (trained > 0 || chat->is_prompt);
    noted->tokens += (int32_t)kept;
    noted->trained += (int32_t)trained;
    noted->cut_tokens += (int32_t)(all - kept);
}

static lc_code count_conversation(reading *r, const lc_row_text *row, const lc_chat_row *chat,
                                  lc_segment_row *noted, lc_err *err)
{
    lc_segment_worker *w = r->worker;
    w->tokens.count = 0;
    LC_TRY(lc_chat_row_tokenize(chat, r->options->tokenizer, r->options->chat_template, &w->tokens,
                                &w->weights, err));
    judge_tokens(r, row, chat, noted);
    return LC_OK;
}

/* A row's tokens are those of all its conversations, each cut by itself. */
static lc_code count_tokens(reading *r, const lc_row_text *row, lc_segment_row *noted)
{
    lc_chat_row chats[LC_MAX_CONVERSATIONS];
    int count = 0;
    lc_err why = {.code = LC_OK};
    lc_code code = lc_chat_row_conversations(row, r->options->method, chats, &count, &why);
    noted->has_tokens = code == LC_OK;
    for (int i = 0; i < count; i++) {
        if (code == LC_OK) {
            code = count_conversation(r, row, &chats[i], noted, &why);
        }
        lc_chat_row_release(&chats[i]);
    }
    if (code == LC_OK) {
        return LC_OK;
    }
    noted->has_tokens = false;
    if (code != LC_ERR_INVALID && code != LC_ERR_UNSUPPORTED) {
        return lc_fail(r->err, code, "%s", why.message);
    }
    lc_findings_add(&r->out->findings, LC_FINDING_TEMPLATE_REFUSED, row->line, NULL, why.message);
    return LC_OK;
}

static lc_code check_row(reading *r, const lc_row_text *row)
{
    lc_segment *s = r->out;
    lc_segment_row *noted = NULL;
    lc_row_facts facts;
    const int64_t errors = s->findings.error_count;
    LC_TRY(lc_row_check(r->worker->checker, row, r->options->method, &s->findings, &facts, r->err));
    s->tool_rows += facts.has_tools;
    for (int role = 0; role < LC_ROLE_COUNT; role++) {
        s->messages_of[role] += facts.messages_of[role];
    }
    const bool counts_tokens = r->options->tokenizer != NULL && s->findings.error_count == errors;
    if (counts_tokens || r->options->finds_duplicates) {
        LC_TRY(note_row(r, &noted));
    }
    if (r->options->finds_duplicates) {
        lc_hash128(row->text, row->bytes, noted->hash);
        noted->is_hashed = true;
    }
    if (counts_tokens) {
        LC_TRY(count_tokens(r, row, noted));
    }
    s->good_rows += s->findings.error_count == errors;
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

static void note_blank(lc_segment *s)
{
    if (s->line_count == 1) {
        s->begins_blank = true;
    }
    if (!s->ends_blank) {
        s->ends_blank = true;
        s->last_blank_line = s->line_count;
    }
}

/* A row ends the blank lines before it; those that the segment begins with may go on from the one
 * before, and are told when it is joined. */
static void end_blank_lines(lc_segment *s)
{
    if (s->ends_blank && s->row_count > 0) {
        lc_findings_add(&s->findings, LC_FINDING_BLANK_LINE, s->last_blank_line, NULL,
                        "the line is blank");
    }
    s->ends_blank = false;
}

/* The line [begin, end) of the buffer. */
static lc_code take_line(reading *r, size_t begin, size_t end, bool is_whole)
{
    lc_segment *s = r->out;
    const char *text = r->worker->buffer + begin;
    size_t bytes = end - begin;
    s->line_count++;
    bytes -= is_whole && bytes > 0 && text[bytes - 1] == '\r';
    if (bytes <= LC_MAX_JSONL_LINE_BYTES && is_blank(text, bytes)) {
        note_blank(s);
        return LC_OK;
    }
    end_blank_lines(s);
    s->row_count++;
    if (bytes > LC_MAX_JSONL_LINE_BYTES) {
        lc_findings_add(&s->findings, LC_FINDING_LINE_TOO_LONG, s->line_count, NULL,
                        "the line has more than 16777216 bytes");
        return LC_OK;
    }
    const lc_row_text row = {
        .text = text, .bytes = bytes, .line = s->line_count, .offset = r->origin + (int64_t)begin};
    return check_row(r, &row);
}
static_assert(LC_MAX_JSONL_LINE_BYTES == 16777216, "the message on long lines says so");

/* Where the first line of the segment begins in the buffer; not below `limit` when none does. */
static size_t first_line(const reading *r)
{
    const char *text = r->worker->buffer;
    if (r->origin == 0) {
        return r->have >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    }
    const char *newline = memchr(text, '\n', r->have);
    return newline != NULL ? (size_t)(newline - text) + 1 : r->limit;
}

static void clear(lc_segment *s)
{
    lc_findings_clear(&s->findings);
    *s = (lc_segment){
        .findings = s->findings, .noted = s->noted, .noted_capacity = s->noted_capacity};
}

lc_code lc_segment_check(lc_segment_worker *worker, const lc_check_options *options,
                         const lc_reader *reader, int64_t index, lc_segment *out, lc_err *err)
{
    const int64_t begin = index * LC_SEGMENT_BYTES, left = reader->bytes - begin;
    const size_t bytes = (size_t)(left < LC_SEGMENT_BYTES ? left : LC_SEGMENT_BYTES);
    reading r = {.worker = worker, .options = options, .reader = reader, .out = out, .err = err};
    clear(out);
    if (worker->checker == NULL) {
        LC_TRY(lc_row_checker_open(&worker->checker, err));
    }
    r.origin = begin > 0 ? begin - 1 : 0; /* the byte before says whether a line begins here */
    r.limit = bytes + (size_t)(begin - r.origin);
    LC_TRY(reserve(&r, (size_t)LC_SEGMENT_BYTES + 1 + TAIL_BYTES));
    LC_TRY(read_more(&r, r.limit));
    bool is_whole = true;
    for (size_t at = first_line(&r); at < r.limit && is_whole;) {
        size_t end = 0;
        LC_TRY(find_end(&r, at, &end, &is_whole));
        LC_TRY(take_line(&r, at, end, is_whole));
        at = end + 1;
    }
    return LC_OK;
}
