/* The matchers of pattern.h beside PCRE2: random texts of every kind of character, and each code
 * point once in a few places. What a text may cost on PCRE2 is bounded. */
#include "testing.h"

#include "base/clock.h"
#include "lorac/mem.h"
#include "text/pattern.h"
#include "text/regex.h"
#include "text/unicode_class.h"
#include "text/unicode_new.h"
#include "text/utf8.h"

#define TEXTS      2000
#define MAX_POINTS 40

static lc_matcher *matcher;

static size_t add_point(char *text, size_t at, uint32_t point)
{
    return at + lc_utf8_encode(point, text + at);
}

static bool is_surrogate(uint32_t point)
{
    return point >= 0xd800 && point <= 0xdfff;
}

/* A character that the patterns tell from others, with some probability of any at all. */
static uint32_t random_point(void)
{
    static const uint32_t points[] = {
        ' ',    ' ',    ' ',     '\n',    '\r',    '\t',    '\'',    '\'',     's',     'S',
        't',    'r',    'e',     'E',     'l',     'L',     'v',     'm',      'd',     'a',
        'B',    'Z',    '0',     '9',     '.',     '/',     '-',     '+',      '$',     '_',
        0x17f,  0x1c5,  0x2b0,   0x301,   0x345,   0xe9,    0x4e2d,  0x3042,   0x30ff,  0x3041,
        0x9fa5, 0x9fa6, 0x0e33,  0x661,   0x2167,  0xbd,    0x85,    0xa0,     0x3000,  0x2028,
        0x180e, 0x200b, 0x1f600, 0x1d7ce, 0x10400, 0x10428, 0x0,     0x7f,     0x378,   0x212a,
        0xfb06, 0x149,  0x1e9e,  0xac00,  0x905,   0x93f,   0xe01f0, 0x10ffff, 0x11de0, 0x16ff4};
    if (test_int(0, 15) == 0) {
        const uint32_t point = (uint32_t)test_int(1, test_int(0, 1) == 0 ? 0x10ffff : 0x2fff);
        return is_surrogate(point) ? 'x' : point;
    }
    return points[test_int(0, (int64_t)(sizeof points / sizeof points[0]) - 1)];
}

/* All matches of both on the text. */
static void assert_same_matches(const lc_regex *known, const lc_regex *plain, const char *text,
                                size_t bytes)
{
    bool found[2] = {true, true};
    size_t begin[2] = {0}, end[2] = {0};
    for (size_t from = 0; found[0]; from = end[0]) {
        assert_ok(lc_regex_find(known, matcher, text, bytes, from, &found[0], &begin[0], &end[0],
                                &test_err));
        assert_ok(lc_regex_find(plain, matcher, text, bytes, from, &found[1], &begin[1], &end[1],
                                &test_err));
        if (found[0] != found[1] || (found[0] && (begin[0] != begin[1] || end[0] != end[1]))) {
            for (size_t i = 0; i < bytes; i++) {
                (void)printf("%02x ", (uint8_t)text[i]);
            }
            fail_msg("from %zu: %d %zu..%zu, PCRE2 %d %zu..%zu", from, found[0], begin[0], end[0],
                     found[1], begin[1], end[1]);
        }
    }
}

static void random_texts(const lc_regex *known, const lc_regex *plain, int count)
{
    char text[4 * MAX_POINTS];
    for (int i = 0; i < count; i++) {
        size_t bytes = 0;
        const int64_t points = test_int(1, MAX_POINTS), repeat = test_int(1, 3);
        uint32_t point = 0;
        for (int64_t k = 0; k < points; k++) {
            point = k % repeat == 0 ? random_point() : point;
            bytes = add_point(text, bytes, point);
        }
        lc_matcher_begin(matcher, bytes);
        assert_same_matches(known, plain, text, bytes);
    }
}

/* Code points behind and in front of others, many in one text: all below U+3400, one in 16 above,
 * whose classes another test has seen. */
static void all_points(const lc_regex *known, const lc_regex *plain)
{
    char text[64 * 40];
    size_t bytes = 0;
    const uint32_t step = 16, first = (uint32_t)test_int(0, step - 1);
    for (uint32_t point = 0; point <= 0x10ffff; point += point < 0x3400 ? 1 : step) {
        point = point == 0x3400 ? point + first : point;
        if (!is_surrogate(point)) {
            bytes = add_point(text, bytes, point);
            memcpy(text + bytes, "aB ", 3);
            bytes = add_point(text, bytes + 3, point);
            bytes = add_point(text, bytes, point);
            memcpy(text + bytes, " .1", 3);
            bytes += 3;
        }
        if (bytes > sizeof text - 40 || point + step > 0x10ffff) {
            lc_matcher_begin(matcher, bytes);
            assert_same_matches(known, plain, text, bytes);
            bytes = 0;
        }
    }
}

static void patterns_match_as_pcre2_does(void **state)
{
    (void)state;
    const char *override = getenv("LORAC_PATTERN_TEXTS");
    const int count = override != NULL ? (int)strtol(override, NULL, 10) : TEXTS;
    for (size_t i = 0; lc_pattern_text(i) != NULL; i++) {
        lc_regex *known = NULL, *plain = NULL;
        assert_ok(lc_regex_compile(lc_pattern_text(i), &known, &test_err));
        assert_ok(lc_regex_compile_pcre2(lc_pattern_text(i), &plain, &test_err));
        random_texts(known, plain, count);
        all_points(known, plain);
        lc_regex_free(known);
        lc_regex_free(plain);
    }
}

/* A class of the table and the same of PCRE2 with what unicode_new.h adds. */
static void classes_are_pcre2s(void **state)
{
    (void)state;
    static const struct {
        const char *regex;
        uint32_t classes;
    } cases[] = {
        {"\\p{Lu}", LC_CLASS_UPPER},    {"\\p{Ll}", LC_CLASS_LOWER},
        {"\\p{Lt}", LC_CLASS_TITLE},    {"\\p{Lm}", LC_CLASS_MODIFIER},
        {"\\p{Lo}", LC_CLASS_CASELESS}, {"\\p{L}", LC_CLASS_LETTERS},
        {"\\p{M}", LC_CLASS_MARK},      {"\\p{Nd}", LC_CLASS_DECIMAL},
        {"[\\p{N}]", LC_CLASS_NUMBERS}, {"\\p{P}", LC_CLASS_PUNCT},
        {"\\p{S}", LC_CLASS_SYMBOL},    {"\\s", LC_CLASS_SPACE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_regex *regex = NULL;
        assert_ok(lc_regex_compile_pcre2(cases[i].regex, &regex, &test_err));
        for (uint32_t point = 0; point <= 0x10ffff; point++) {
            char text[4];
            bool found = false;
            size_t begin = 0, end = 0;
            if (is_surrogate(point)) {
                continue;
            }
            lc_matcher_begin(matcher, 4);
            assert_ok(lc_regex_find(regex, matcher, text, add_point(text, 0, point), 0, &found,
                                    &begin, &end, &test_err));
            if (found != ((lc_class_of(point) & cases[i].classes) != 0)) {
                fail_msg("U+%04X is %sin %s of PCRE2", point, found ? "" : "not ", cases[i].regex);
            }
        }
        lc_regex_free(regex);
    }
}

static void digits_are_numbers_and_newer_ones(void **state)
{
    (void)state;
    const size_t count = sizeof lc_unicode_new_digits / sizeof lc_unicode_new_digits[0];
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        bool is_new = false;
        for (size_t i = 0; i < count; i++) {
            is_new = is_new || (point >= lc_unicode_new_digits[i].first &&
                                point <= lc_unicode_new_digits[i].last);
        }
        assert_int_equal(lc_class_of(point) == LC_CLASS_DIGIT_ONLY, is_new);
    }
}

/* Finds all matches in `count` times `piece`, which must fail, or must not. */
static void cost(const char *pattern, const char *piece, size_t count, bool fails)
{
    const size_t length = strlen(piece), bytes = count * length;
    char *text = lc_malloc(bytes);
    lc_regex *regex = NULL;
    bool found = true;
    size_t begin = 0, end = 0;
    lc_code code = LC_OK;
    assert_non_null(text);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + i * length, piece, length);
    }
    assert_ok(lc_regex_compile_pcre2(pattern, &regex, &test_err));
    const double started = lc_monotonic_seconds();
    lc_matcher_begin(matcher, bytes);
    lc_err_clear(&test_err);
    while (found && code == LC_OK) {
        code = lc_regex_find(regex, matcher, text, bytes, end, &found, &begin, &end, &test_err);
    }
    (void)printf("%-24s on %zu times \"%.20s\": %.2f s\n", pattern, count, piece,
                 lc_monotonic_seconds() - started);
    assert_int_equal(code, fails ? LC_ERR_INVALID : LC_OK);
    if (fails) {
        assert_non_null(strstr(test_err.message, "too many steps"));
    }
    lc_regex_free(regex);
    lc_free(text);
}

static void what_a_text_may_cost_is_bounded(void **state)
{
    (void)state;
    cost("(a+)+[bc]", "a", 60, true);
    cost("(a|aa)+[bc]", "a", 100, true);
    cost("(?:a+)+(?=b)|a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", 100000, true);
    cost("a*a*a*a*[bc]", "a", 3000, true);
    cost("a+[bc]", "a", 1 << 17, true);   /* quadratic in one search */
    cost("a+[bc]|a", "a", 1 << 17, true); /* quadratic over many */
    cost("a+(?=[bc])|a", "a", 1 << 17, true);
    cost("(?<=b)a+[cd]|x", "ba", 1 << 18, false); /* linear */
    cost("\\s+(?!\\S)|\\s+", " ", 8 << 20, false);
    cost("[a-z]+|\\s+(?!\\S)|\\s+", "word and word  ", 1 << 15, false);
    cost("x", "abcdefg", 1 << 17, false);
    cost(" ?[^\\s\\p{L}]+|\\p{L}+", "\xe4\xb8\xad", 1 << 20, false);
}

static int setup(void **state)
{
    (void)state;
    return lc_matcher_create(&matcher, &test_err) == LC_OK ? 0 : 1;
}

static int teardown(void **state)
{
    (void)state;
    lc_matcher_free(matcher);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_pcre2s),
        cmocka_unit_test(digits_are_numbers_and_newer_ones),
        cmocka_unit_test(patterns_match_as_pcre2_does),
        cmocka_unit_test(what_a_text_may_cost_is_bounded),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
