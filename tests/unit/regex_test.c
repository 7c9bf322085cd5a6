/* Patterns of tokenizer.json: what they match, what is refused as Oniguruma and PCRE2 differ. */
#include "testing.h"

#include "text/regex.h"

#define QWEN2                                                             \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"                                      \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3                                                                 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"                                           \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* Matches of a pattern, joined with bars; what lies between them in parentheses. */
static void matches(const char *pattern, const char *text, const char *expected)
{
    char got[512];
    size_t used = 0, from = 0, begin = 0, end = 0;
    lc_regex *regex = NULL;
    lc_matcher *matcher = NULL;
    bool found = true;
    assert_ok(lc_regex_compile(pattern, &regex, &test_err));
    assert_ok(lc_matcher_create(&matcher, &test_err));
    got[0] = '\0';
    for (;;) {
        assert_ok(lc_regex_find(regex, matcher, text, strlen(text), from, &found, &begin, &end,
                                &test_err));
        if (!found) {
            begin = end = strlen(text);
        }
        if (begin > from) {
            used += (size_t)snprintf(got + used, sizeof got - used, "(%.*s)", (int)(begin - from),
                                     text + from);
        }
        if (!found) {
            break;
        }
        assert_true(end > begin);
        used += (size_t)snprintf(got + used, sizeof got - used, "%.*s|", (int)(end - begin),
                                 text + begin);
        from = end;
    }
    assert_string_equal(got, expected);
    lc_matcher_free(matcher);
    lc_regex_free(regex);
}

static void patterns_mean_what_oniguruma_means(void **state)
{
    (void)state;
    matches(QWEN2, "I'll say: it's 1234, you'VE", "I|'ll| say|:| it|'s| |1|2|3|4|,| you|'VE|");
    matches(LLAMA3, "12345 a  b\n\n c", "123|45| a| | b|\n\n| c|");
    matches(QWEN2, "a \t\r\n  x  ", "a| \t\r\n| | x|  |");
    matches("\\s",
            "a\xe1\xa0\x8e"
            "b",
            "(a\xe1\xa0\x8e"
            "b)"); /* U+180E is no space */
    matches("\\S", "\xe1\xa0\x8e ", "\xe1\xa0\x8e|( )");
    matches("[\\S]", "\xe1\xa0\x8e ", "\xe1\xa0\x8e|( )");
    matches("\\s",
            "a\xc2\x85"
            "b\xe3\x80\x80",
            "(a)\xc2\x85|(b)\xe3\x80\x80|");
    matches("\\p{L}+", "a\xf0\xb1\x8d\x90-",
            "a\xf0\xb1\x8d\x90|(-)"); /* U+31350, new in Unicode 15 */
    matches("[^\\s\\p{L}]+", "a\xf0\xb1\x8d\x90-", "(a\xf0\xb1\x8d\x90)-|");
    matches("\\P{L}+", "a\xf0\xb1\x8d\x90-", "(a\xf0\xb1\x8d\x90)-|");
    matches("\\d+",
            "1\xd9\xa3"
            "a\xf0\x90\xb5\x80",
            "1\xd9\xa3|(a)\xf0\x90\xb5\x80|"); /* U+10D40 */
    matches("\\D+", "1a", "(1)a|");
    matches("[a-c\\-\\]]+|x{2}|y{1,}|z?+q", "b]-xxyyzq.", "b]-|xx|yy|zq|(.)");
    matches(".", "\n\r", "(\n)\r|");
    matches("(a)(?=b)|(?<!a)b|(?>c)", "abbc", "a|(b)b|c|");
    matches("\\s+$", "a \n\nb \n", "(a) \n|(\nb) \n|"); /* ends of lines */
}

static void digits(void **state)
{
    (void)state;
    lc_regex *single = NULL, *runs = NULL;
    lc_matcher *matcher = NULL;
    bool found = false;
    size_t begin = 0, end = 0;
    const char *text = "a12\xe2\x85\xa7"; /* with U+2167, the number eight */
    assert_ok(lc_regex_compile_digits(true, &single, &test_err));
    assert_ok(lc_regex_compile_digits(false, &runs, &test_err));
    assert_ok(lc_matcher_create(&matcher, &test_err));
    assert_ok(lc_regex_find(single, matcher, text, 6, 0, &found, &begin, &end, &test_err));
    assert_true(found && begin == 1 && end == 2);
    assert_ok(lc_regex_find(runs, matcher, text, 6, 0, &found, &begin, &end, &test_err));
    assert_true(found && begin == 1 && end == 6);
    lc_matcher_free(matcher);
    lc_regex_free(single);
    lc_regex_free(runs);
}

static void patterns_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *message;
        lc_code code;
    } cases[] = {
        {"^a", "an anchor at 0", LC_ERR_UNSUPPORTED},
        {"a^", "an anchor at 1", LC_ERR_UNSUPPORTED},
        {"\\w", "this escape", LC_ERR_UNSUPPORTED},
        {"\\bx", "this escape", LC_ERR_UNSUPPORTED},
        {"\\1", "this escape", LC_ERR_UNSUPPORTED},
        {"\\x41", "this escape", LC_ERR_UNSUPPORTED},
        {"a\\", "a lone backslash", LC_ERR_UNSUPPORTED},
        {"\\p{Han}", "this \\p", LC_ERR_UNSUPPORTED},
        {"\\p{Greek}", "this \\p", LC_ERR_UNSUPPORTED},
        {"\\pL", "this \\p", LC_ERR_UNSUPPORTED},
        {"[\\P{L}]", "\\P in a class", LC_ERR_UNSUPPORTED},
        {"[\\D]", "\\D in a class", LC_ERR_UNSUPPORTED},
        {"[a[b]]", "[ inside a class", LC_ERR_UNSUPPORTED},
        {"[a&&b]", "&&", LC_ERR_UNSUPPORTED},
        {"[]a]", "] at the start", LC_ERR_UNSUPPORTED},
        {"(?m)a", "this kind of group", LC_ERR_UNSUPPORTED},
        {"(?<n>a)", "this kind of group", LC_ERR_UNSUPPORTED},
        {"(?R)", "this kind of group", LC_ERR_UNSUPPORTED},
        {"(*FAIL)", "(*", LC_ERR_UNSUPPORTED},
        {"a{1,2}+", "}+", LC_ERR_UNSUPPORTED},
        {"a{,2}", "{", LC_ERR_UNSUPPORTED},
        {"a{x}", "{", LC_ERR_UNSUPPORTED},
        {"a*", "empty", LC_ERR_UNSUPPORTED},
        {"", "empty", LC_ERR_UNSUPPORTED},
        {"(a", "parenthes", LC_ERR_INVALID},
        {"[a", "missing", LC_ERR_INVALID},
        {"+", "quantifier", LC_ERR_INVALID},
    };
    lc_regex *regex = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_fails(lc_regex_compile(cases[i].pattern, &regex, &test_err), cases[i].code,
                     cases[i].message);
        assert_null(regex);
    }
    static char pattern[LC_MAX_REGEX_BYTES + 2];
    for (size_t bytes = LC_MAX_REGEX_BYTES - 1; bytes <= LC_MAX_REGEX_BYTES + 1; bytes++) {
        memset(pattern, 'a', bytes);
        if (bytes <= LC_MAX_REGEX_BYTES) {
            assert_ok(lc_regex_compile(pattern, &regex, &test_err));
            lc_regex_free(regex);
        } else {
            assert_fails(lc_regex_compile(pattern, &regex, &test_err), LC_ERR_INVALID,
                         "16385 bytes");
        }
    }
}

/* All matches of a pattern in a text: how many, and a sum of their places. */
static int64_t all_matches(const lc_regex *regex, lc_matcher *matcher, const char *text,
                           size_t bytes, uint64_t *places)
{
    int64_t count = 0;
    size_t from = 0, begin = 0, end = 0;
    bool found = true;
    *places = 0;
    lc_matcher_begin(matcher, bytes);
    while (from < bytes) {
        assert_ok(
            lc_regex_find(regex, matcher, text, bytes, from, &found, &begin, &end, &test_err));
        if (!found) {
            return count;
        }
        assert_true(((uint8_t)text[begin] & 0xc0) != 0x80 && begin < end);
        *places = *places * 31 + begin * 7 + end;
        from = end;
        count++;
    }
    return count;
}

/* However a text lies in the windows that PCRE2 sees: characters with bytes inside that alone would
 * be blanks or letters, at every place around the end of a window. */
static void windows_end_between_characters(void **state)
{
    (void)state;
    static const char *const patterns[] = {"\\s+", "\\s", "[\xc2\x85\xc2\xa0]+", "\\p{L}+|\\s+",
                                           "x|\\s+(?!\\S)"};
    static const char *const fills[] = {"\xe2\x90\xab", "\xe2\x80\xa7", "\xc2\x9f", "-"};
    static const char *const rares[] = {"\xf3\x85\xb7\xa8", "\xf0\x9f\x85\xa0", "\xe3\x85\xa0",
                                        "\xc3\x85",         "\xc2\xa0",         "\xf0\xa0\x85\x85"};
    lc_matcher *matcher, *whole;
    assert_ok(lc_matcher_create(&matcher, &test_err));
    assert_ok(lc_matcher_create(&whole, &test_err));
    lc_matcher_see(whole, SIZE_MAX);
    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
        lc_regex *regex;
        assert_ok(lc_regex_compile(patterns[p], &regex, &test_err));
        for (int round = 0; round < 1500; round++) {
            char text[1600];
            size_t bytes = 0;
            const char *fill = fills[test_int(0, 3)], *rare = rares[test_int(0, 5)];
            const int64_t before = round < 700 ? round * 255 / 700 : test_int(60, 300);
            for (int64_t i = 0; i < before; i++, bytes += strlen(fill)) {
                memcpy(text + bytes, fill, strlen(fill));
            }
            for (int64_t i = test_int(1, 40); i > 0; i--, bytes += strlen(rare)) {
                memcpy(text + bytes, rare, strlen(rare));
            }
            if (round % 2 == 1) {
                lc_matcher_see(matcher, round % 4 == 1 ? (size_t)test_int(1, 20) : 256);
            }
            uint64_t found, expected;
            const int64_t count = all_matches(regex, matcher, text, bytes, &found);
            if (count != all_matches(regex, whole, text, bytes, &expected) || found != expected) {
                fail_msg("%s in %d of %02x.. and then %02x..", patterns[p], (int)before,
                         (unsigned)(uint8_t)fill[0], (unsigned)(uint8_t)rare[0]);
            }
        }
        lc_regex_free(regex);
    }
    lc_matcher_free(matcher);
    lc_matcher_free(whole);
}

/* Each letter more costs 1.618 times as many steps, so the first length that is refused tells the
 * limit, up to the few steps that PCRE2 counts for one way through the pattern. */
static void steps_are_limited(void **state)
{
    (void)state;
    lc_regex *regex = NULL;
    lc_matcher *matcher = NULL;
    char text[40];
    size_t length = 1, begin = 0, end = 0;
    bool found = true;
    memset(text, 'a', sizeof text);
    assert_ok(lc_regex_compile("(?:a|aa)+[bc]", &regex, &test_err));
    assert_ok(lc_matcher_create(&matcher, &test_err));
    double steps = 1.0;
    while (length < sizeof text) {
        lc_matcher_begin(matcher, length);
        if (lc_regex_find(regex, matcher, text, length, 0, &found, &begin, &end, &test_err) !=
            LC_OK) {
            break;
        }
        assert_false(found);
        length++;
        steps *= 1.618; /* ways to write a length as ones and twos: Fibonacci's numbers */
    }
    lc_matcher_begin(matcher, length);
    assert_fails(lc_regex_find(regex, matcher, text, length, 0, &found, &begin, &end, &test_err),
                 LC_ERR_INVALID, "too many steps (LC_MAX_REGEX_STEPS for a match");
    assert_true(steps < 2.0 * LC_MAX_REGEX_STEPS && steps > LC_MAX_REGEX_STEPS / 50.0);
    lc_matcher_free(matcher);
    lc_regex_free(regex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_mean_what_oniguruma_means),
        cmocka_unit_test(digits),
        cmocka_unit_test(patterns_refused),
        cmocka_unit_test(windows_end_between_characters),
        cmocka_unit_test(steps_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
