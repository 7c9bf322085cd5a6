/* One JSON string by itself: escapes, NUL, surrogates, UTF-8, and back again one a line. */
#include "testing.h"

#include <string.h>

#include "base/fault.h"
#include "text/json_string.h"

static lc_code read_text(const char *text, size_t bytes, lc_text *out)
{
    lc_text_init(out);
    return lc_json_read_string(text, bytes, "line", out, &test_err);
}

static void reads(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bytes;
        size_t count;
    } cases[] = {
        {"\"\"", "", 0},
        {" \t\"a\"\r\n", "a", 1},
        {"\"\\u0000\"", "\0", 1},
        {"\"a\\u0000b\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\0b\"\\/\b\f\n\r\t", 11},
        {"\"\\u00e9\\u20AC\\uD83D\\ude00\\uFFFF\\ue000\"",
         "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbf\xee\x80\x80", 15},
        {"\"\\udbff\\udfff\\ud800\\udc00\"", "\xf4\x8f\xbf\xbf\xf0\x90\x80\x80", 8},
        {"\"\xf0\x9f\x98\x80\x7f\"", "\xf0\x9f\x98\x80\x7f", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_text out;
        assert_ok(read_text(cases[i].text, strlen(cases[i].text), &out));
        assert_int_equal(out.length, cases[i].count);
        assert_memory_equal(out.data, cases[i].bytes, cases[i].count);
        lc_text_release(&out);
    }
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line: line 1 column 1: the text ends where a value should be"},
        {"5", "not a JSON string"},
        {"[\"a\"]", "not a JSON string"},
        {"\"a", "column 1: the string that begins here does not end"},
        {"\"a\\", "the text ends where the rest of a string should be"},
        {"\"a\" \"b\"", "column 5: expected the end of the text"},
        {"\"a\tb\"", "column 3: control character 0x09"},
        {"\"\\x\"", "unknown escape"},
        {"\"\\u12g4\"", "needs four hexadecimal digits"},
        {"\"\\u12", "needs four hexadecimal digits"},
        {"\"\\ud800\"", "lone surrogate"},
        {"\"\\ud800a\"", "lone surrogate"},
        {"\"\\ud800\\ud800\"", "lone surrogate"},
        {"\"\\ud800\\u0041\"", "lone surrogate"},
        {"\"\\udc00\\ud800\"", "lone surrogate"},
        {"\"a\xff\"", "column 3: byte 0xff is not valid UTF-8"},
        {"\"\xed\xa0\x80\"", "column 2: byte 0xed is not valid UTF-8"},
        {"\"\xe2\x82\"", "column 2: byte 0xe2 is not valid UTF-8"},
    };
    lc_text out;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_fails(read_text(cases[i].text, strlen(cases[i].text), &out), LC_ERR_INVALID,
                     cases[i].message);
        lc_text_release(&out);
    }
    assert_fails(read_text("\"\\\0\"", 4, &out), LC_ERR_INVALID, "unknown escape");
    lc_text_release(&out);
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    assert_fails(read_text("\"a\"", 3, &out), LC_ERR_MEMORY, "no memory");
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    lc_text_release(&out);
}

/* Random characters, NUL and line breaks of all kinds among them, there and back. */
static void there_and_back(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a",
                                         "\"",
                                         "\\",
                                         "\n",
                                         "\xc2\x85",
                                         "\xe2\x80\xa8",
                                         "\xe2\x80\xa9",
                                         "\xc2\x86",
                                         "\x7f",
                                         "\xe2\x80\xaa",
                                         "\xf0\x9f\x98\x80"};
    for (int round = 0; round < 500; round++) {
        char text[128];
        size_t count = 0;
        lc_text line, back;
        for (int64_t k = test_int(0, 20); k > 0; k--) {
            const int64_t which = test_int(0, 11);
            const char *piece = which == 11 ? "" : pieces[which];
            const size_t length = which == 11 ? 1 : strlen(piece); /* 11: NUL */
            memcpy(text + count, piece, length);
            count += length;
        }
        lc_text_init(&line);
        lc_json_write_string(&line, text, count);
        for (size_t i = 0; i < line.length; i++) {
            assert_true((unsigned char)line.data[i] >= 0x20);
        }
        assert_null(strstr(line.data, "\xc2\x85"));
        assert_null(strstr(line.data, "\xe2\x80\xa8"));
        assert_null(strstr(line.data, "\xe2\x80\xa9"));
        assert_ok(read_text(line.data, line.length, &back));
        assert_int_equal(back.length, count);
        assert_memory_equal(back.data, text, count);
        lc_text_release(&line);
        lc_text_release(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads), cmocka_unit_test(refuses),
                                       cmocka_unit_test(there_and_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
