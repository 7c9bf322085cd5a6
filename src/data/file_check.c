/*
 * Checking a file of rows in segments; see file_check.h. A task checks the lines that begin in its
 * segment. Finished segments wait in a ring until all before them are joined; whoever finishes the
 * next one joins it. So at most a ring of segments is in memory, and no thread waits for another
 * unless it is a ring ahead.
 */
#include "data/file_check.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/thread.h"
#include "data/check_segment.h"
#include "data/duplicates.h"
#include "lorac/log.h"
#include "lorac/mem.h"

#define SEGMENTS_PER_THREAD 4
#define PREFETCH_ROWS       8

typedef struct file_check {
    const lc_check_options *options;
    lc_check_report *report;
    lc_reader reader;
    int64_t segment_count;
    lc_segment_worker *workers; /* owned, one a thread */
    lc_segment *ring;           /* owned: each is its task's until that is done */
    int64_t ring_size;
    /* Under the lock: */
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool *is_done;      /* owned; of each segment of the ring: it waits to be joined */
    int64_t joined;     /* segments joined so far */
    bool has_failed;    /* some task has: nobody waits any more */
    int64_t lines;      /* of the joined segments */
    int64_t blank_line; /* first of the run of blank lines that the joined text ends with, or 0 */
    lc_duplicates duplicates;
} file_check;

void lc_check_report_release(lc_check_report *report)
{
    lc_findings_release(&report->findings);
    lc_length_counts_release(&report->tokens);
    lc_length_counts_release(&report->trained);
    *report = (lc_check_report){0};
}

/* ---- joining, in order ---- */

/* Blank lines count only when something follows them. */
static void join_blank_lines(file_check *f, const lc_segment *segment)
{
    if (segment->begins_blank && f->blank_line == 0) {
        f->blank_line = f->lines + 1;
    }
    if (segment->row_count > 0) {
        if (f->blank_line > 0) {
            lc_findings_add(&f->report->findings, LC_FINDING_BLANK_LINE, f->blank_line, NULL,
                            "the line is blank");
        }
        f->blank_line = segment->ends_blank ? f->lines + segment->last_blank_line : 0;
    }
}

static lc_code join_row(file_check *f, const lc_segment_row *row, lc_err *err)
{
    lc_check_report *report = f->report;
    int64_t first = 0;
    if (row->is_hashed) {
        const int64_t line = f->lines + row->line;
        LC_TRY(lc_duplicates_add(&f->duplicates, row->hash, line, &first, err));
        if (first > 0) {
            char message[64];
            (void)snprintf(message, sizeof message, "the same as line %" PRId64, first);
            report->duplicate_rows++;
            lc_findings_add(&report->findings, LC_FINDING_DUPLICATE_ROW, line, NULL, message);
        }
    }
    if (row->has_tokens) {
        LC_TRY(lc_length_counts_add(&report->tokens, row->tokens, err));
        LC_TRY(lc_length_counts_add(&report->trained, row->trained, err));
        report->truncated_rows += row->cut_tokens > 0;
        report->truncated_tokens += row->cut_tokens;
    }
    return LC_OK;
}

static lc_code join_segment(file_check *f, const lc_segment *segment, lc_err *err)
{
    lc_check_report *report = f->report;
    join_blank_lines(f, segment);
    lc_findings_merge(&report->findings, &segment->findings, f->lines + 1);
    for (int64_t i = 0; i < segment->noted_count; i++) {
        if (i + PREFETCH_ROWS < segment->noted_count) {
            lc_duplicates_prefetch(&f->duplicates, segment->noted[i + PREFETCH_ROWS].hash);
        }
        LC_TRY(join_row(f, &segment->noted[i], err));
    }
    report->rows += segment->row_count;
    report->good_rows += segment->good_rows;
    report->tool_rows += segment->tool_rows;
    for (int role = 0; role < LC_ROLE_COUNT; role++) {
        report->messages_of[role] += segment->messages_of[role];
    }
    f->lines += segment->line_count;
    f->joined++;
    if (f->options->on_progress != NULL) {
        const int64_t done = f->joined * LC_SEGMENT_BYTES, all = report->bytes;
        f->options->on_progress(f->options->context, done < all ? done : all, all);
    }
    return LC_OK;
}

/* Joins all that can be joined. */
static lc_code join_finished(file_check *f, lc_err *err)
{
    for (;;) {
        const int64_t next = f->joined % f->ring_size;
        if (f->joined == f->segment_count || !f->is_done[next]) {
            return LC_OK;
        }
        f->is_done[next] = false;
        LC_TRY(join_segment(f, &f->ring[next], err));
    }
}

/* ---- tasks ---- */

/* Waits until the segment's place in the ring is free; false: another task has failed. */
static bool wait_for_room(file_check *f, int64_t index)
{
    (void)pthread_mutex_lock(&f->lock);
    while (!f->has_failed && index >= f->joined + f->ring_size) {
        (void)pthread_cond_wait(&f->moved, &f->lock);
    }
    const bool may_go_on = !f->has_failed;
    (void)pthread_mutex_unlock(&f->lock);
    return may_go_on;
}

static lc_code check_task(void *context, int64_t index, int worker, lc_err *err)
{
    file_check *f = context;
    if (!wait_for_room(f, index)) {
        return LC_OK; /* the other task's error is the one to tell */
    }
    lc_segment *segment = &f->ring[index % f->ring_size];
    lc_code code =
        lc_segment_check(&f->workers[worker], f->options, &f->reader, index, segment, err);
    (void)pthread_mutex_lock(&f->lock);
    if (code == LC_OK && !f->has_failed) {
        f->is_done[index % f->ring_size] = true;
        code = join_finished(f, err);
    }
    f->has_failed |= code != LC_OK;
    (void)pthread_cond_broadcast(&f->moved);
    (void)pthread_mutex_unlock(&f->lock);
    return code;
}

static lc_code run(file_check *f, lc_err *err)
{
    lc_pool *pool = NULL;
    const int64_t needed =
        f->segment_count < f->options->threads ? f->segment_count : f->options->threads;
    const int threads = needed > 1 ? (int)needed : 1;
    void *ring = NULL, *workers = NULL, *is_done = NULL;
    f->ring_size = (int64_t)threads * SEGMENTS_PER_THREAD;
    LC_TRY(lc_new(&ring, (size_t)f->ring_size, sizeof *f->ring, "segments", err));
    f->ring = ring;
    LC_TRY(lc_new(&is_done, (size_t)f->ring_size, sizeof *f->is_done, "segments", err));
    f->is_done = is_done;
    LC_TRY(lc_new(&workers, (size_t)threads, sizeof *f->workers, "checking threads", err));
    f->workers = workers;
    LC_TRY(lc_pool_start(threads, NULL, NULL, &pool, err));
    const lc_code code = lc_pool_try(pool, f->segment_count, check_task, f, err);
    lc_pool_stop(pool);
    for (int i = 0; i < threads; i++) {
        lc_segment_worker_release(&f->workers[i]);
    }
    for (int64_t i = 0; i < f->ring_size; i++) {
        lc_segment_release(&f->ring[i]);
    }
    return code;
}

/* ---- the file as a whole ---- */

/* UTF-16 and UTF-32 by their byte order marks, or by the zeros beside "{". NULL: neither. */
static const char *wide_encoding(const unsigned char *text, size_t bytes)
{
    static const struct {
        const char *name;
        size_t bytes;
        unsigned char begin[4], mask[4];
    } wide[] = {
        {"UTF-32, little endian", 4, {0xFF, 0xFE, 0, 0}, {0xFF, 0xFF, 0xFF, 0xFF}},
        {"UTF-32, big endian", 4, {0, 0, 0xFE, 0xFF}, {0xFF, 0xFF, 0xFF, 0xFF}},
        {"UTF-16, little endian", 2, {0xFF, 0xFE}, {0xFF, 0xFF}},
        {"UTF-16, big endian", 2, {0xFE, 0xFF}, {0xFF, 0xFF}},
        {"UTF-32, little endian", 4, {'{', 0, 0, 0}, {0xFF, 0xFF, 0xFF, 0xFF}},
        {"UTF-32, big endian", 4, {0, 0, 0, '{'}, {0xFF, 0xFF, 0xFF, 0xFF}},
        {"UTF-16, little endian", 4, {'{', 0, 0, 0}, {0xFF, 0xFF, 0, 0xFF}},
        {"UTF-16, big endian", 4, {0, '{', 0, 0}, {0xFF, 0xFF, 0xFF, 0}},
    };
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        size_t at = 0;
        while (at < wide[i].bytes && at < bytes &&
               (text[at] & wide[i].mask[at]) == wide[i].begin[at]) {
            at++;
        }
        if (at == wide[i].bytes) {
            return wide[i].name;
        }
    }
    return NULL;
}

static lc_code check_encoding(file_check *f, bool *is_wide, lc_err *err)
{
    unsigned char text[4];
    char message[64];
    const size_t bytes = f->reader.bytes < 4 ? (size_t)f->reader.bytes : 4;
    LC_TRY(lc_reader_read(&f->reader, 0, text, bytes, err));
    const char *name = wide_encoding(text, bytes);
    *is_wide = name != NULL;
    if (name != NULL) {
        (void)snprintf(message, sizeof message, "the file is %s", name);
        lc_findings_add(&f->report->findings, LC_FINDING_UTF16, 0, NULL, message);
    }
    return LC_OK;
}

static void check_size(const file_check *f)
{
    char message[96];
    if (f->report->bytes > LC_MAX_JSONL_BYTES) {
        (void)snprintf(message, sizeof message, "it has %" PRId64 " bytes, the limit is %" PRId64,
                       f->report->bytes, LC_MAX_JSONL_BYTES);
        lc_findings_add(&f->report->findings, LC_FINDING_FILE_TOO_LARGE, 0, NULL, message);
    }
}

static void check_row_count(const file_check *f)
{
    char message[160];
    if (f->report->rows < LC_MIN_JSONL_EXAMPLES) {
        (void)snprintf(message, sizeof message,
                       "%s has %" PRId64 " example(s), but must have at least %d examples",
                       f->options->what, f->report->rows, LC_MIN_JSONL_EXAMPLES);
        lc_findings_add(&f->report->findings, LC_FINDING_TOO_FEW_EXAMPLES, 0, NULL, message);
    }
}

static lc_code check_opened(file_check *f, lc_err *err)
{
    bool is_wide = false;
    f->report->bytes = f->reader.bytes;
    f->segment_count = (f->reader.bytes + LC_SEGMENT_BYTES - 1) / LC_SEGMENT_BYTES;
    check_size(f);
    LC_TRY(check_encoding(f, &is_wide, err));
    if (is_wide) {
        return LC_OK; /* nothing in it reads as a row */
    }
    LC_TRY(run(f, err));
    f->report->are_duplicates_partial = f->duplicates.is_full;
    check_row_count(f);
    return LC_OK;
}

lc_code lc_check_file(const lc_check_options *options, lc_check_report *report, lc_err *err)
{
    file_check f = {.options = options,
                    .report = report,
                    .lock = PTHREAD_MUTEX_INITIALIZER,
                    .moved = PTHREAD_COND_INITIALIZER};
    lc_err why = {.code = LC_OK};
    *report = (lc_check_report){0};
    lc_code code = lc_reader_open(options->path, &f.reader, &why);
    if (code == LC_OK) {
        code = check_opened(&f, &why);
        lc_reader_close(&f.reader);
    }
    lc_free(f.ring);
    lc_free(f.is_done);
    lc_free(f.workers);
    lc_duplicates_release(&f.duplicates);
    (void)pthread_cond_destroy(&f.moved);
    (void)pthread_mutex_destroy(&f.lock);
    if (code == LC_OK && report->findings.failed) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for what was found in %s", options->path);
    }
    if (code != LC_OK) {
        lc_findings_add(&report->findings, LC_FINDING_FILE_UNREADABLE, 0, NULL, why.message);
        return lc_fail(err, code, "%s", why.message);
    }
    return LC_OK;
}

void lc_check_epochs(lc_check_report *report, int64_t n_epochs)
{
    char message[128];
    int64_t all = 0;
    if (!lc_mul_i64(report->tokens.sum, n_epochs, &all) || all > LC_MAX_TRAINED_TOKENS) {
        (void)snprintf(message, sizeof message,
                       "%" PRId64 " tokens x %" PRId64 " epochs exceed %" PRId64,
                       report->tokens.sum, n_epochs, LC_MAX_TRAINED_TOKENS);
        lc_findings_add(&report->findings, LC_FINDING_TOO_MANY_TOKENS, 0, NULL, message);
    }
}

/* ---- for the loader ---- */

static void log_warnings(const char *path, const lc_findings *findings)
{
    int64_t told_of[LC_FINDING_COUNT] = {0};
    for (int64_t i = 0; i < findings->kept_count; i++) {
        const lc_finding *finding = &findings->kept[i];
        const lc_finding_kind *kind = &lc_finding_kinds[finding->code];
        if (kind->severity == LC_SEVERITY_WARNING && told_of[finding->code]++ == 0) {
            lc_log(LC_LOG_WARN, "%s: %s, %" PRId64 " times, first in line %" PRId64 " [%s]", path,
                   kind->meaning, findings->counts[finding->code], finding->line, kind->name);
        }
    }
}

static lc_code fail_file(const char *path, const lc_findings *findings, lc_err *err)
{
    const lc_code code = lc_findings_fail(findings, err);
    if (code == LC_OK || err == NULL) {
        return code;
    }
    if (findings->error_count == findings->counts[LC_FINDING_TOO_FEW_EXAMPLES]) {
        return lc_err_param(err, "n_examples");
    }
    return lc_err_context(err, "%s", path);
}

lc_code lc_check_training_file(const char *path, const char *what, int threads, lc_err *err)
{
    const lc_check_options options = {.path = path,
                                      .what = what,
                                      .method = LC_METHOD_SUPERVISED,
                                      .threads = threads,
                                      .finds_duplicates = true};
    lc_check_report report;
    lc_code code = lc_check_file(&options, &report, err);
    if (code == LC_OK) {
        log_warnings(path, &report.findings);
        code = fail_file(path, &report.findings, err);
    }
    lc_check_report_release(&report);
    return code;
}
