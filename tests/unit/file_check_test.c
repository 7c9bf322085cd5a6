// ctest: threads
/*
 * Whole files: against a plain checker that holds the file and goes line by line, at any number of
 * threads; line breaks at the borders of segments, lines at their limit, encodings, duplicates, and
 * tokens.
 */
#include "testing.h"

#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "data/check_segment.h"
#include "data/file_check.h"
#include "lorac/mem.h"

#define MODEL  LC_SOURCE_DIR "/models/sprout-3m"
#define SHARED LC_SOURCE_DIR "/../shared/data/datasets"

#define GOOD                                                                         \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"%d\"},{\"role\":\"assistant\"," \
    "\"content\":\"yo\"}]}"

static char path[LC_MAX_PATH_BYTES];
static lc_check_report report;

/* A text that grows. */
typedef struct growing {
    char *text;
    size_t bytes, capacity;
} growing;

static void put(growing *g, const char *text, size_t bytes)
{
    if (g->bytes + bytes > g->capacity) {
        g->capacity = 2 * (g->bytes + bytes) + 4096;
        g->text = realloc(g->text, g->capacity);
        assert_non_null(g->text);
    }
    if (bytes > 0) {
        memcpy(g->text + g->bytes, text, bytes);
    }
    g->bytes += bytes;
}

static void put_text(growing *g, const char *text)
{
    put(g, text, strlen(text));
}

static int row_number;

static void put_row(growing *g)
{
    char row[256];
    (void)snprintf(row, sizeof row, GOOD, ++row_number);
    put_text(g, row);
}

static void put_rows(growing *g, int count)
{
    for (int i = 0; i < count; i++) {
        put_row(g);
        put_text(g, "\n");
    }
}

static lc_code check(const growing *g, int threads)
{
    const lc_check_options options = {
        .path = path, .what = "the file", .threads = threads, .finds_duplicates = true};
    lc_check_report_release(&report);
    test_write_file(path, g->text, g->bytes);
    return lc_check_file(&options, &report, &test_err);
}

static void clear(growing *g)
{
    free(g->text);
    *g = (growing){0};
}

/* ---- against a plain checker ---- */

static bool is_blank(const char *text, size_t bytes)
{
    while (bytes > 0 && strchr(" \t\r", text[bytes - 1]) != NULL && text[bytes - 1] != '\0') {
        bytes--;
    }
    return bytes == 0;
}

typedef struct plain_line {
    const char *text;
    size_t bytes;
} plain_line;

typedef struct plain {
    lc_findings findings;
    int64_t rows, good, duplicates;
    plain_line *lines; /* of rows; text NULL: blank */
    int64_t count;
} plain;

static void take(plain *p, lc_row_checker *checker, const char *text, size_t bytes, int64_t offset)
{
    lc_row_facts facts;
    const int64_t line = p->count + 1;
    bytes -= bytes > 0 && text[bytes - 1] == '\r';
    p->lines = realloc(p->lines, (size_t)line * sizeof *p->lines);
    p->lines[p->count++] = (plain_line){is_blank(text, bytes) ? NULL : text, bytes};
    if (is_blank(text, bytes)) {
        return;
    }
    int64_t blank = line - 1;
    while (blank > 0 && p->lines[blank - 1].text == NULL) {
        blank--;
    }
    if (blank < line - 1) {
        lc_findings_add(&p->findings, LC_FINDING_BLANK_LINE, blank + 1, NULL, "the line is blank");
    }
    const int64_t errors = p->findings.error_count;
    const lc_row_text row = {.text = text, .bytes = bytes, .line = line, .offset = offset};
    p->rows++;
    assert_ok(lc_row_check(checker, &row, LC_METHOD_SUPERVISED, &p->findings, &facts, &test_err));
    p->good += p->findings.error_count == errors;
    for (int64_t i = 0; i < line - 1; i++) {
        if (p->lines[i].text != NULL && p->lines[i].bytes == bytes &&
            memcmp(p->lines[i].text, text, bytes) == 0) {
            char message[64];
            (void)snprintf(message, sizeof message, "the same as line %d", (int)i + 1);
            lc_findings_add(&p->findings, LC_FINDING_DUPLICATE_ROW, line, NULL, message);
            p->duplicates++;
            break;
        }
    }
}

static void check_plainly(const growing *g, plain *p)
{
    lc_row_checker *checker = NULL;
    assert_ok(lc_row_checker_open(&checker, &test_err));
    size_t at = g->bytes >= 3 && memcmp(g->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < g->bytes) {
        const char *newline = memchr(g->text + at, '\n', g->bytes - at);
        const size_t end = newline != NULL ? (size_t)(newline - g->text) : g->bytes;
        take(p, checker, g->text + at, end - at, (int64_t)at);
        at = end + 1;
    }
    lc_row_checker_close(checker);
}

static void same_findings(const lc_findings *a, const lc_findings *b)
{
    assert_int_equal(a->error_count, b->error_count);
    assert_int_equal(a->warning_count, b->warning_count);
    assert_memory_equal(a->counts, b->counts, sizeof a->counts);
    assert_int_equal(a->kept_count, b->kept_count);
    for (int code = 0; code < LC_FINDING_COUNT; code++) {
        int64_t i = 0, j = 0;
        for (;; i++, j++) {
            while (i < a->kept_count && (int)a->kept[i].code != code) {
                i++;
            }
            while (j < b->kept_count && (int)b->kept[j].code != code) {
                j++;
            }
            if (i == a->kept_count || j == b->kept_count) {
                assert_true(i == a->kept_count && j == b->kept_count);
                break;
            }
            assert_int_equal(a->kept[i].line, b->kept[j].line);
            assert_string_equal(a->kept[i].path, b->kept[j].path);
            assert_string_equal(a->kept[i].message, b->kept[j].message);
        }
    }
}

static void put_any_line(growing *g)
{
    static const char *const lines[] = {
        "",   "  ",
        "\t", "{}",
        "{",  "\xff",
        "x",  "{\"messages\":[]}",
        "[]", "{\"messages\":[{\"role\":\"bot\"},{\"role\":\"user\",\"weight\":3}],\"y\":1}"};
    const int64_t kind = test_int(0, 11);
    if (kind < 10) {
        put_text(g, lines[kind]);
    } else {
        put_row(g);
    }
    if (test_int(0, 9) == 0) { /* far, to reach many segments */
        growing blanks = {0};
        for (int64_t length = test_int(0, 40000); length > 0; length--) {
            put(&blanks, " ", 1);
        }
        put(g, blanks.text, blanks.bytes);
        clear(&blanks);
    }
    put_text(g, test_int(0, 3) == 0 ? "\r\n" : "\n");
}

static void random_files(void **state)
{
    (void)state;
    for (int round = 0; round < 6; round++) {
        growing g = {0};
        plain p = {0};
        put_text(&g, round % 2 == 0 ? "\xef\xbb\xbf" : "");
        put_rows(&g, 10);
        for (int64_t i = test_int(200, 900); i > 0; i--) {
            put_any_line(&g);
        }
        if (round > 2) {
            put_row(&g); /* without a line break */
        }
        check_plainly(&g, &p);
        for (int threads = 1; threads <= 5; threads += 2) {
            assert_ok(check(&g, threads));
            assert_int_equal(report.rows, p.rows);
            assert_int_equal(report.good_rows, p.good);
            assert_int_equal(report.duplicate_rows, p.duplicates);
            assert_int_equal(report.bytes, g.bytes);
            same_findings(&report.findings, &p.findings);
        }
        lc_findings_release(&p.findings);
        free(p.lines);
        clear(&g);
    }
}

/* A line break, a CR and a blank line at every place near the border of two segments. */
static void borders(void **state)
{
    (void)state;
    static const char *const breaks[] = {"\n", "\r\n", "\n\n", "\n \n\r\n"};
    for (int shift = -4; shift <= 4; shift++) {
        for (size_t b = 0; b < 4; b++) {
            growing g = {0};
            put_rows(&g, 9);
            put_row(&g);
            while ((int64_t)g.bytes < LC_SEGMENT_BYTES + shift) {
                put_text(&g, " ");
            }
            put_text(&g, breaks[b]);
            put_rows(&g, 2);
            assert_ok(check(&g, 2));
            assert_int_equal(report.rows, 12);
            assert_int_equal(report.good_rows, 12);
            assert_int_equal(report.findings.error_count, b >= 2);
            if (b >= 2) {
                assert_int_equal(report.findings.kept[0].line, 11);
            }
            clear(&g);
        }
    }
}

/* ---- limits ---- */

static void longest_lines(void **state)
{
    (void)state;
    static const char *const ends[] = {"", "\n", "\r\n"};
    growing g = {0};
    for (int extra = -1; extra <= 1; extra++) {
        for (size_t e = 0; e < 3; e++) {
            g.bytes = 0;
            row_number = 0;
            put_rows(&g, 10);
            const size_t begin = g.bytes;
            put_row(&g);
            while (g.bytes - begin < LC_MAX_JSONL_LINE_BYTES + (size_t)extra) {
                char blanks[4096];
                memset(blanks, ' ', sizeof blanks);
                const size_t left = LC_MAX_JSONL_LINE_BYTES + (size_t)extra - (g.bytes - begin);
                put(&g, blanks, left < 4096 ? left : 4096);
            }
            put_text(&g, ends[e]);
            if (e > 0) {
                put_rows(&g, 1);
            }
            assert_ok(check(&g, 2));
            assert_int_equal(report.rows, e > 0 ? 12 : 11);
            assert_int_equal(report.findings.counts[LC_FINDING_LINE_TOO_LONG], extra > 0);
            assert_int_equal(report.findings.error_count, extra > 0);
            assert_true(extra <= 0 || report.findings.kept[0].line == 11);
        }
    }
    clear(&g);
}

static void fewest_rows(void **state)
{
    (void)state;
    for (int rows = 9; rows <= 11; rows++) {
        growing g = {0};
        put_rows(&g, rows);
        put_text(&g, "\n\n"); /* the end of a file may be blank */
        assert_ok(check(&g, 2));
        assert_int_equal(report.findings.counts[LC_FINDING_TOO_FEW_EXAMPLES], rows < 10);
        assert_int_equal(report.findings.error_count, rows < 10);
        clear(&g);
    }
    const growing empty = {.text = (char[]){""}};
    assert_ok(check(&empty, 2));
    assert_int_equal(report.findings.counts[LC_FINDING_TOO_FEW_EXAMPLES], 1);
    assert_string_equal(report.findings.kept[0].message,
                        "the file has 0 example(s), but must have at least 10 examples");
}

/* Sparse files: zeros without a line break. The rest is checked although the file is too large. */
static void largest_file(void **state)
{
    (void)state;
    for (int extra = 0; extra <= 1; extra++) {
        growing g = {0};
        put_rows(&g, 12);
        test_write_file(path, g.text, g.bytes);
        assert_int_equal(truncate(path, LC_MAX_JSONL_BYTES + extra), 0);
        const lc_check_options options = {.path = path, .what = "the file", .threads = 3};
        lc_check_report_release(&report);
        assert_ok(lc_check_file(&options, &report, &test_err));
        assert_int_equal(report.findings.counts[LC_FINDING_FILE_TOO_LARGE], extra);
        assert_int_equal(report.findings.counts[LC_FINDING_LINE_TOO_LONG], 1);
        assert_int_equal(report.findings.error_count, 1 + extra);
        assert_int_equal(report.good_rows, 12);
        clear(&g);
    }
    assert_int_equal(unlink(path), 0);
    const lc_check_options options = {.path = path, .what = "the file", .threads = 3};
    lc_check_report_release(&report);
    assert_fails(lc_check_file(&options, &report, &test_err), LC_ERR_NOT_FOUND, "rows.jsonl");
    assert_int_equal(report.findings.counts[LC_FINDING_FILE_UNREADABLE], 1);
}

static void encodings(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t count;
        const char *name; /* NULL: not a wide one */
    } files[] = {
        {"\xff\xfe{\0", 4, "UTF-16, little endian"},
        {"\xfe\xff\0{", 4, "UTF-16, big endian"},
        {"\xff\xfe", 2, "UTF-16, little endian"},
        {"\xff\xfe\0\0", 4, "UTF-32, little endian"},
        {"\0\0\xfe\xff", 4, "UTF-32, big endian"},
        {"{\0\"\0", 4, "UTF-16, little endian"},
        {"\0{\0\"", 4, "UTF-16, big endian"},
        {"{\0\0\0", 4, "UTF-32, little endian"},
        {"\0\0\0{", 4, "UTF-32, big endian"},
        {"{\0", 2, NULL},
        {"\xef\xbb\xbf{}\n", 6, NULL},
        {"\xff", 1, NULL},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        growing g = {0};
        put(&g, files[i].bytes, files[i].count);
        assert_ok(check(&g, 1));
        assert_int_equal(report.findings.counts[LC_FINDING_UTF16], files[i].name != NULL);
        if (files[i].name != NULL) {
            assert_int_equal(report.findings.error_count, 1);
            assert_non_null(strstr(report.findings.kept[0].message, files[i].name));
        }
        clear(&g);
    }
    /* The place of a bad byte is told in the line and in the file. */
    growing g = {0};
    row_number = 0;
    put_rows(&g, 1);
    const size_t begin = g.bytes;
    put_text(&g, "{\"a\":\"\xc3\"}\n");
    put_rows(&g, 10);
    assert_ok(check(&g, 2));
    char place[64];
    (void)snprintf(place, sizeof place, "(byte 7 of the line, byte %zu of the file)", begin + 7);
    assert_int_equal(report.findings.counts[LC_FINDING_INVALID_UTF8], 1);
    assert_int_equal(report.findings.kept[0].line, 2);
    assert_non_null(strstr(report.findings.kept[0].message, place));
    clear(&g);
}

static void many_tokens(void **state)
{
    (void)state;
    for (int extra = -1; extra <= 1; extra++) {
        lc_check_report large = {.tokens.sum = LC_MAX_TRAINED_TOKENS / 4 + extra};
        lc_check_epochs(&large, 4);
        assert_int_equal(large.findings.counts[LC_FINDING_TOO_MANY_TOKENS], extra > 0);
        assert_int_equal(large.findings.error_count, 0);
        lc_check_report_release(&large);
    }
}

/* ---- tokens ---- */

static void tokens(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer = NULL;
    lc_chat_template *chat_template = NULL;
    growing g = {0};
    assert_ok(lc_tokenizer_load(MODEL, &tokenizer, &test_err));
    assert_ok(lc_chat_template_load(MODEL, &chat_template, &test_err));
    put_rows(&g, 40);
    put_text(&g,
             "{\"messages\":[{\"role\":\"user\",\"content\":\"and what else is there to say, at "
             "length?\"},{\"role\":\"assistant\",\"content\":\"much, but not now\"}]}\n");
    test_write_file(path, g.text, g.bytes);
    lc_dataset whole;
    const lc_dataset_reading reading = {.what = "Training file", .max_tokens = 1000};
    assert_ok(lc_dataset_load_jsonl(path, &reading, tokenizer, chat_template, &whole, &test_err));
    for (int threads = 1; threads <= 3; threads++) {
        for (int cut = 0; cut < 3; cut++) {
            const int64_t most = cut == 0 ? 1000 : cut == 1 ? whole.longest - 1 : 4;
            const lc_check_options options = {.path = path,
                                              .what = "the file",
                                              .threads = threads,
                                              .tokenizer = tokenizer,
                                              .chat_template = chat_template,
                                              .max_tokens = most};
            lc_check_report_release(&report);
            assert_ok(lc_check_file(&options, &report, &test_err));
            const int64_t *counts = report.findings.counts;
            assert_int_equal(counts[LC_FINDING_ROW_TRUNCATED], cut == 1);
            assert_int_equal(counts[LC_FINDING_TRAINED_PART_CUT_OFF], cut == 2 ? 41 : 0);
            assert_int_equal(report.findings.error_count, cut == 2 ? 41 : 0);
            assert_int_equal(report.good_rows, cut == 2 ? 0 : 41);
            assert_int_equal(report.tokens.count, cut == 2 ? 0 : 41);
            if (cut < 2) {
                assert_int_equal(report.tokens.sum, whole.token_count - cut);
                assert_int_equal(report.trained.sum,
                                 whole.target_count); /* a line break ends a row */
                assert_int_equal(lc_length_counts_percentile(&report.tokens, 100),
                                 whole.longest - cut);
                assert_int_equal(report.truncated_rows, cut);
                assert_int_equal(report.truncated_tokens, cut);
            }
        }
    }
    lc_dataset_release(&whole);
    clear(&g);
    lc_chat_template_free(chat_template);
    lc_tokenizer_free(tokenizer);
}

#define INPUT                                                                                 \
    "{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi\"}," \
    "{\"role\":\"assistant\",\"content\":\"Hello, what can I do?\",\"weight\":0},{\"role\":"  \
    "\"user\",\"content\":\"Say one, then two.\"}"
#define PREFERRED "{\"role\":\"assistant\",\"content\":\"one, two\"}"
#define OTHER     "{\"role\":\"assistant\",\"content\":\"two and one and whatever else comes\"}"
#define TOOLS                                                                                  \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":" \
    "\"object\",\"properties\":{}}}}]"

static void count_rows(const char *row, int rows, lc_method method, int64_t most,
                       const lc_tokenizer *tokenizer, const lc_chat_template *chat_template)
{
    growing g = {0};
    for (int i = 0; i < rows; i++) {
        put_text(&g, row);
        put_text(&g, "\n");
    }
    test_write_file(path, g.text, g.bytes);
    const lc_check_options options = {.path = path,
                                      .what = "the file",
                                      .method = method,
                                      .threads = 2,
                                      .tokenizer = tokenizer,
                                      .chat_template = chat_template,
                                      .max_tokens = most};
    lc_check_report_release(&report);
    assert_ok(lc_check_file(&options, &report, &test_err));
    clear(&g);
}

/* A preference row is two supervised ones; of a prompt nothing is trained. */
static void tokens_of_other_methods(void **state)
{
    (void)state;
    static const char preference[] =
        "{\"input\":{\"messages\":[" INPUT "]," TOOLS "},\"preferred_output\":[" PREFERRED
        "],\"non_preferred_output\":[" OTHER "]}";
    lc_tokenizer *tokenizer = NULL;
    lc_chat_template *chat_template = NULL;
    int64_t sums[2], trained[2];
    assert_ok(lc_tokenizer_load(MODEL, &tokenizer, &test_err));
    assert_ok(lc_chat_template_load(MODEL, &chat_template, &test_err));
    for (int i = 0; i < 2; i++) {
        count_rows(i == 0 ? "{\"messages\":[" INPUT "," PREFERRED "]," TOOLS "}"
                          : "{\"messages\":[" INPUT "," OTHER "]," TOOLS "}",
                   10, LC_METHOD_SUPERVISED, 1000, tokenizer, chat_template);
        assert_int_equal(report.findings.error_count, 0);
        sums[i] = report.tokens.sum / 10;
        trained[i] = report.trained.sum / 10;
    }
    assert_true(sums[0] < sums[1] && trained[0] > 0);

    count_rows(preference, 12, LC_METHOD_DPO, 1000, tokenizer, chat_template);
    assert_int_equal(report.findings.error_count, 0);
    assert_int_equal(report.tokens.count, 12);
    assert_int_equal(report.tokens.sum, 12 * (sums[0] + sums[1]));
    assert_int_equal(report.trained.sum, 12 * (trained[0] + trained[1]));

    count_rows(preference, 12, LC_METHOD_DPO, sums[1] - 1, tokenizer, chat_template);
    assert_int_equal(report.findings.counts[LC_FINDING_ROW_TRUNCATED], 12);
    assert_string_equal(report.findings.kept[0].path, "non_preferred_output");
    assert_int_equal(report.truncated_rows, 12);
    assert_int_equal(report.truncated_tokens, 12);

    count_rows(preference, 12, LC_METHOD_DPO, 4, tokenizer, chat_template);
    assert_int_equal(report.findings.counts[LC_FINDING_TRAINED_PART_CUT_OFF], 24);
    assert_int_equal(report.tokens.count, 0);

    count_rows("{\"messages\":[" INPUT "],\"answer\":\"one, two\"," TOOLS "}", 10,
               LC_METHOD_REINFORCEMENT, 1000, tokenizer, chat_template);
    assert_int_equal(report.findings.error_count, 0);
    assert_int_equal(report.tokens.count, 10);
    assert_int_equal(report.trained.sum, 0);
    assert_true(report.tokens.sum < 10 * sums[0]);
    assert_true(report.tokens.sum >= 10 * (sums[0] - trained[0] - 1)); /* up to the answer */
    lc_chat_template_free(chat_template);
    lc_tokenizer_free(tokenizer);
}

/* What only a template can do to a row: refuse it, or leave out what the assistant said. */
static void templates_may_refuse(void **state)
{
    (void)state;
    static const char text[] =
        "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('not this one') }}"
        "{% endif %}{% if m.content != 'mute' %}{{ m.content }}{% endif %}{% endfor %}";
    char file[LC_MAX_PATH_BYTES];
    lc_tokenizer *tokenizer = NULL;
    lc_chat_template *chat_template = NULL;
    growing g = {0};
    (void)snprintf(file, sizeof file, "%s/odd.jinja", test_dir());
    test_write_file(file, text, sizeof text - 1);
    const lc_template_source source = {.model_dir = MODEL, .file = file};
    assert_ok(lc_tokenizer_load(MODEL, &tokenizer, &test_err));
    assert_ok(lc_chat_template_open(&source, &chat_template, &test_err));
    put_rows(&g, 10);
    put_text(&g, "{\"messages\":[{\"role\":\"user\",\"content\":\"bad\"},{\"role\":"
                 "\"assistant\",\"content\":\"x\"}]}\n"
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":"
                 "\"assistant\",\"content\":\"mute\"}]}\n");
    test_write_file(path, g.text, g.bytes);
    const lc_check_options options = {.path = path,
                                      .what = "the file",
                                      .threads = 2,
                                      .tokenizer = tokenizer,
                                      .chat_template = chat_template,
                                      .max_tokens = 1000};
    lc_check_report_release(&report);
    assert_ok(lc_check_file(&options, &report, &test_err));
    assert_int_equal(report.findings.counts[LC_FINDING_TEMPLATE_REFUSED], 1);
    assert_int_equal(report.findings.counts[LC_FINDING_NO_TRAINED_TOKEN], 1);
    assert_int_equal(report.findings.error_count, 2);
    assert_int_equal(report.good_rows, 10);
    clear(&g);
    lc_chat_template_free(chat_template);
    lc_tokenizer_free(tokenizer);
}

static void length_counts(void **state)
{
    (void)state;
    lc_length_counts counts = {0};
    int64_t lengths[501];
    assert_int_equal(lc_length_counts_percentile(&counts, 50), 0);
    for (int i = 0; i <= 500; i++) {
        lengths[i] = i * 7; /* in increasing order; entered in another */
    }
    for (int i = 0; i <= 500; i++) {
        assert_ok(lc_length_counts_add(&counts, lengths[i * 2 % 501], &test_err));
    }
    for (int percent = 0; percent <= 100; percent++) {
        assert_int_equal(lc_length_counts_percentile(&counts, percent), lengths[5 * percent]);
    }
    assert_int_equal(lc_length_counts_between(&counts, 7, 14), 1);
    assert_int_equal(lc_length_counts_between(&counts, 0, 1 << 20), 501);
    lc_length_counts_release(&counts);
}

/* ---- files as people write them ---- */

static void real_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        lc_method method;
        int64_t rows, errors, warnings;
        lc_finding_code first;
    } files[] = {
        {"sft/drone_training.jsonl", LC_METHOD_SUPERVISED, 103, 0, 0, 0},
        {"sft/gsm8k_chat_train.jsonl", LC_METHOD_SUPERVISED, 449, 0, 0, 0},
        {"sft/gsm8k_chat_validation.jsonl", LC_METHOD_SUPERVISED, 50, 0, 0, 0},
        {"sft/stock_toolcall_training.jsonl", LC_METHOD_SUPERVISED, 86, 0, 0, 0},
        {"sft/stock_toolcall_validation.jsonl", LC_METHOD_SUPERVISED, 10, 0, 0, 0},
        {"dpo/orca_dpo_pairs.jsonl", LC_METHOD_DPO, 200, 0, 0, 0},
        {"rft/countdown_train_100.jsonl", LC_METHOD_REINFORCEMENT, 100, 0, 0, 0},
        {"rft/countdown_valid_50.jsonl", LC_METHOD_REINFORCEMENT, 50, 0, 0, 0},
        /* too few rows, and what else is odd about them */
        {"sft/mslearn_weight_multiturn.jsonl", LC_METHOD_SUPERVISED, 3, 1, 0,
         LC_FINDING_TOO_FEW_EXAMPLES},
        {"sft/mistral_client_weight.jsonl", LC_METHOD_SUPERVISED, 3, 2, 0,
         LC_FINDING_NO_TRAINED_MESSAGE},
        {"sft/toy_chat_fine_tuning.jsonl", LC_METHOD_SUPERVISED, 5, 1, 1,
         LC_FINDING_STARTS_WITH_ASSISTANT},
        /* by another method */
        {"dpo/orca_dpo_pairs.jsonl", LC_METHOD_SUPERVISED, 200, 200, 0, LC_FINDING_WRONG_METHOD},
        {"rft/countdown_train_100.jsonl", LC_METHOD_SUPERVISED, 100, 100, 0,
         LC_FINDING_WRONG_METHOD},
        {"sft/drone_training.jsonl", LC_METHOD_DPO, 103, 103, 0, LC_FINDING_WRONG_METHOD},
        {"sft/gsm8k_chat_train.jsonl", LC_METHOD_REINFORCEMENT, 449, 449, 0,
         LC_FINDING_WRONG_METHOD},
    };
    if (access(SHARED, R_OK) != 0) {
        print_message("skipped: no real data sets in " SHARED "\n");
        skip();
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char file[LC_MAX_PATH_BYTES];
        assert_ok(lc_path_join(SHARED, files[i].name, file, &test_err));
        const lc_check_options options = {.path = file,
                                          .what = "the file",
                                          .method = files[i].method,
                                          .threads = 2,
                                          .finds_duplicates = true};
        lc_check_report_release(&report);
        assert_ok(lc_check_file(&options, &report, &test_err));
        assert_int_equal(report.rows, files[i].rows);
        assert_int_equal(report.findings.error_count, files[i].errors);
        assert_int_equal(report.findings.warning_count, files[i].warnings);
        assert_true(files[i].errors == 0 || report.findings.kept[0].code == files[i].first);
    }
}

/* ---- failures ---- */

static void survives_faults(void **state)
{
    (void)state;
    growing g = {0};
    put_rows(&g, 12);
    put_text(&g, "{}\n\n");
    while ((int64_t)g.bytes < 3 * LC_SEGMENT_BYTES) {
        put_rows(&g, 100);
    }
    for (int kind = 0; kind < 2; kind++) {
        int64_t at = 1;
        for (lc_code code = LC_ERR_IO; code != LC_OK; at++) {
            test_write_file(path, g.text, g.bytes);
            const lc_check_options options = {
                .path = path, .what = "the file", .threads = 2, .finds_duplicates = true};
            lc_check_report_release(&report);
            lc_err_clear(&test_err);
            lc_fault_set(kind == 0 ? LC_FAULT_ALLOC : LC_FAULT_IO, at, 5 /* EIO */, false);
            code = lc_check_file(&options, &report, &test_err);
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            assert_true(code == LC_OK || code == (kind == 0 ? LC_ERR_MEMORY : LC_ERR_IO));
            assert_int_equal(report.findings.counts[LC_FINDING_FILE_UNREADABLE],
                             code == LC_OK || report.findings.failed ? 0 : 1);
        }
        assert_true(at > 4);
    }
    clear(&g);
}

static int open_path(void **state)
{
    (void)state;
    return lc_path_join(test_dir(), "rows.jsonl", path, &test_err) == LC_OK ? 0 : -1;
}

static int release(void **state)
{
    (void)state;
    lc_check_report_release(&report);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_files),
        cmocka_unit_test(borders),
        cmocka_unit_test(longest_lines),
        cmocka_unit_test(fewest_rows),
        cmocka_unit_test(largest_file),
        cmocka_unit_test(encodings),
        cmocka_unit_test(many_tokens),
        cmocka_unit_test(tokens),
        cmocka_unit_test(tokens_of_other_methods),
        cmocka_unit_test(templates_may_refuse),
        cmocka_unit_test(length_counts),
        cmocka_unit_test(real_files),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, open_path, release);
}
