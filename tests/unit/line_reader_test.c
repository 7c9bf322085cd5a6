/* Lines of a file: line breaks of all kinds, limits, chunk borders, against a plain splitter in the
 * test. */
#include "testing.h"

#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "data/dataset.h"

static char path[LC_MAX_PATH_BYTES];

static void write_lines(const void *text, size_t bytes)
{
    if (path[0] == '\0') {
        assert_ok(lc_path_join(test_dir(), "lines.jsonl", path, &test_err));
    }
    test_write_file(path, text, bytes);
}

/* Reads all lines; compares "number:text|" joined with `expected`. */
static void reads(const char *text, size_t bytes, const char *expected)
{
    char got[512] = "";
    const char *line = NULL;
    size_t length = 0, used = 0;
    int64_t number = 0;
    lc_line_reader *reader = NULL;
    write_lines(text, bytes);
    assert_ok(lc_line_reader_open(path, &reader, &test_err));
    for (;;) {
        assert_ok(lc_line_reader_next(reader, &line, &length, &number, &test_err));
        if (line == NULL) {
            break;
        }
        used += (size_t)snprintf(got + used, sizeof got - used, "%d:%.*s|", (int)number,
                                 (int)length, line);
    }
    assert_ok(lc_line_reader_next(reader, &line, &length, &number, &test_err));
    assert_null(line);
    uint8_t digest[32], whole[32];
    lc_line_reader_sha256(reader, digest);
    lc_sha256_of(text, bytes, whole);
    assert_memory_equal(digest, whole, 32);
    assert_string_equal(got, expected);
    lc_line_reader_close(reader);
}

#define READS(text, expected) reads(text, sizeof(text) - 1, expected)

static void line_breaks(void **state)
{
    (void)state;
    READS("", "");
    READS("\n", "");
    READS("a", "1:a|");
    READS("a\n", "1:a|");
    READS("a\nb", "1:a|2:b|");
    READS("a\r\nb\r\n", "1:a|2:b|");
    READS("a\r\rb\n", "1:a\r\rb|");
    READS("\xef\xbb\xbf", "");
    READS("\xef\xbb\xbf"
          "a\n",
          "1:a|");
    READS("a\n\xef\xbb\xbf"
          "b\n",
          "1:a|2:\xef\xbb\xbf"
          "b|");
    READS("\xef\xbb", "1:\xef\xbb|");
    READS("a\n\n\n", "1:a|");
    READS("a\n \t\r\n\r\n", "1:a|");
    READS("a\n\nb\n", "1:a|2:|3:b|");
    READS("\n\n\nb\n\n\nc", "1:|4:b|5:|7:c|");
    READS(" a \n", "1: a |");
}

/* Random lines of every length around the chunk size, against a splitter that holds the whole file.
 * */
static void random_files(void **state)
{
    (void)state;
    const size_t most = 3u << 20;
    char *text = malloc(most);
    for (int round = 0; round < 12; round++) {
        size_t bytes = 0;
        while (bytes < most - (600u << 10) && test_int(0, 30) > 0) {
            int64_t length =
                test_int(0, 3) == 0 ? (256 << 10) + test_int(-3, 3) : test_int(1, 2000);
            while (length-- > 0) {
                text[bytes++] = (char)test_int('a', 'z');
            }
            if (test_int(0, 1) == 1) {
                text[bytes++] = '\r';
            }
            text[bytes++] = '\n';
        }
        write_lines(text, bytes);
        lc_line_reader *reader = NULL;
        assert_ok(lc_line_reader_open(path, &reader, &test_err));
        const char *line = NULL;
        size_t length = 0, at = 0;
        int64_t number = 0, expected_number = 0;
        for (;;) {
            assert_ok(lc_line_reader_next(reader, &line, &length, &number, &test_err));
            if (line == NULL) {
                break;
            }
            assert_int_equal(number, ++expected_number);
            assert_true(at + length < bytes);
            assert_int_equal(memcmp(line, text + at, length), 0);
            at += length;
            at += text[at] == '\r';
            assert_int_equal(text[at++], '\n');
        }
        assert_int_equal(at, bytes);
        lc_line_reader_close(reader);
    }
    free(text);
}

static void longest_line(void **state)
{
    (void)state;
    static const char *const ends[] = {"", "\n", "\r\n"};
    char *text = malloc(LC_MAX_JSONL_LINE_BYTES + 8);
    for (int extra = -1; extra <= 1; extra++) {
        for (size_t e = 0; e < 3; e++) {
            const size_t bytes = LC_MAX_JSONL_LINE_BYTES + (size_t)extra;
            memset(text, 'x', bytes);
            memcpy(text + bytes, ends[e], strlen(ends[e]) + 1);
            write_lines(text, bytes + strlen(ends[e]));
            lc_line_reader *reader = NULL;
            const char *line = NULL;
            size_t length = 0;
            int64_t number = 0;
            assert_ok(lc_line_reader_open(path, &reader, &test_err));
            if (extra <= 0) {
                assert_ok(lc_line_reader_next(reader, &line, &length, &number, &test_err));
                assert_int_equal(length, bytes);
            } else {
                assert_fails(lc_line_reader_next(reader, &line, &length, &number, &test_err),
                             LC_ERR_INVALID, "line 1");
                assert_int_equal(test_err.line, 1);
            }
            lc_line_reader_close(reader);
        }
    }
    free(text);
}

/* Sparse files at the limit: only the size is looked at on opening. */
static void largest_file(void **state)
{
    (void)state;
    write_lines("", 0);
    for (int extra = -1; extra <= 1; extra++) {
        lc_line_reader *reader = NULL;
        assert_int_equal(truncate(path, LC_MAX_JSONL_BYTES + extra), 0);
        if (extra <= 0) {
            assert_ok(lc_line_reader_open(path, &reader, &test_err));
            lc_line_reader_close(reader);
        } else {
            assert_fails(lc_line_reader_open(path, &reader, &test_err), LC_ERR_INVALID, "512 MiB");
            assert_null(reader);
        }
    }
    assert_int_equal(unlink(path), 0);
    lc_line_reader *reader = NULL;
    assert_fails(lc_line_reader_open(path, &reader, &test_err), LC_ERR_NOT_FOUND, "lines.jsonl");
}

static void survives_faults(void **state)
{
    (void)state;
    write_lines("a\nb\n", 4);
    for (int kind = 0; kind < 2; kind++) {
        int64_t at = 1;
        for (lc_code code = LC_ERR_IO; code != LC_OK; at++) {
            lc_line_reader *reader = NULL;
            const char *line = NULL;
            size_t length = 0;
            int64_t number = 0;
            lc_err_clear(&test_err);
            lc_fault_set(kind == 0 ? LC_FAULT_ALLOC : LC_FAULT_IO, at, 5 /* EIO */, false);
            code = lc_line_reader_open(path, &reader, &test_err);
            if (code == LC_OK) {
                code = lc_line_reader_next(reader, &line, &length, &number, &test_err);
            }
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            lc_line_reader_close(reader);
            assert_true(code == LC_OK || code == (kind == 0 ? LC_ERR_MEMORY : LC_ERR_IO));
        }
        assert_true(at > 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_breaks),     cmocka_unit_test(random_files),
        cmocka_unit_test(longest_line),    cmocka_unit_test(largest_file),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
