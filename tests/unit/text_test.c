/* Text building: growth, JSON strings, numbers that read back, trees printed again, failing
 * allocations. */
#include "testing.h"

#include <locale.h>
#include <math.h>

#include "base/fault.h"
#include "base/json.h"
#include "lorac/mem.h"

static void test_growing(void **state)
{
    (void)state;
    lc_text text;
    lc_text_init(&text);
    assert_ok(lc_text_finish(&text, "x", &test_err));
    assert_string_equal(text.data, "");
    char expected[3000];
    size_t length = 0;
    for (int i = 0; length < 2800; i++) {
        char piece[40];
        const int size =
            snprintf(piece, sizeof piece, "%d:%.*s,", i, i % 30, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        if (i % 2 == 0) {
            lc_text_add(&text, piece, (size_t)size);
        } else {
            lc_text_addf(&text, "%s", piece);
        }
        memcpy(expected + length, piece, (size_t)size + 1);
        length += (size_t)size;
        assert_int_equal(text.length, length);
        assert_string_equal(text.data, expected);
    }
    lc_text_release(&text);
    assert_null(text.data);
    lc_text_add(&text, "again", 5);
    lc_text_add(&text, NULL, 0);
    assert_string_equal(text.data, "again");
    lc_text_release(&text);
}

static void test_failures_are_remembered(void **state)
{
    (void)state;
    lc_text text;
    lc_text_init(&text);
    lc_text_add(&text, "abc", 3);
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    for (int i = 0; i < 100; i++) {
        lc_text_addf(&text, "%s", "0123456789");
    }
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    lc_text_add(&text, "d", 1); /* comes too late: a text with a hole is no text */
    assert_fails(lc_text_finish(&text, "events", &test_err), LC_ERR_MEMORY,
                 "events: out of memory");
    lc_text_release(&text);
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    assert_fails(lc_text_finish(&text, "events", &test_err), LC_ERR_MEMORY,
                 "events: out of memory");
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    lc_text_release(&text);
    lc_text_add(&text, "x", SIZE_MAX - 1);
    assert_true(text.failed);
    lc_text_release(&text);
}

static void assert_string(const char *bytes, size_t length, const char *expected)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_add_json_string(&text, bytes, length);
    assert_ok(lc_text_finish(&text, "x", &test_err));
    assert_string_equal(text.data, expected);
    lc_text_release(&text);
}

static void test_json_strings(void **state)
{
    (void)state;
    assert_string("", 0, "\"\"");
    assert_string("plain", 5, "\"plain\"");
    assert_string("\"\\/", 3, "\"\\\"\\\\/\"");
    assert_string("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
    assert_string("a\0b\x1F\x7F", 5, "\"a\\u0000b\\u001f\x7F\"");
    assert_string("\xC3\xA9\xF0\x9F\x98\x80", 6, "\"\xC3\xA9\xF0\x9F\x98\x80\"");
}

static void number_text(double value, lc_text *text)
{
    lc_text_init(text);
    lc_text_add_double(text, value);
    assert_ok(lc_text_finish(text, "x", &test_err));
}

static void assert_number(double value, const char *expected)
{
    lc_text text;
    number_text(value, &text);
    assert_string_equal(text.data, expected);
    lc_text_release(&text);
}

static void test_known_numbers(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {{0.0, "0"},
                {-0.0, "-0.0"},
                {3.0, "3"},
                {-3.0, "-3"},
                {0.1, "0.1"},
                {0.2 + 0.1, "0.30000000000000004"},
                {1e-5, "1e-05"},
                {0.0001, "0.0001"},
                {0.00012, "0.00012"},
                {1.5e-7, "1.5e-07"},
                {123.456, "123.456"},
                {1e15, "1000000000000000"},
                {9007199254740991.0, "9007199254740991"},
                {9007199254740992.0, "9007199254740992"},
                {-9007199254740992.0, "-9007199254740992"},
                {9007199254740994.0, "9007199254740994"},
                {1e16, "1e+16"},
                {1e22, "1e+22"},
                {1e23, "1e+23"},
                {123456789012345680.0, "1.2345678901234568e+17"},
                {0x1p-44, "5.684341886080802e-14"},
                {5e-324, "5e-324"},
                {2.225073858507201e-308, "2.225073858507201e-308"},
                {2.2250738585072014e-308, "2.2250738585072014e-308"},
                {1.7976931348623157e308, "1.7976931348623157e+308"},
                {1.0 / 3.0, "0.3333333333333333"},
                {2.5, "2.5"},
                {-1e-300, "-1e-300"},
                {9.5e-5, "9.5e-05"},
                {NAN, "null"},
                {INFINITY, "null"},
                {-INFINITY, "null"},
                {0x1p-1022, "2.2250738585072014e-308"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_number(rows[i].value, rows[i].text);
    }
    assert_number(4503599627370495.5, "4503599627370495.5");
}

static double random_double(void)
{
    switch (test_int(0, 3)) {
    case 0: { /* any bits */
        const uint64_t bits =
            (uint64_t)test_int(0, UINT32_MAX) << 32 | (uint64_t)test_int(0, UINT32_MAX);
        double value;
        memcpy(&value, &bits, sizeof value);
        return isfinite(value) ? value : 0.5;
    }
    case 1: /* around powers of two */
        return nextafter(ldexp(1.0, (int)test_int(-1070, 1020)), (double)test_int(-1, 1) * 1e308);
    case 2: /* a few decimals, as people write them */
        return (double)test_int(-100000, 100000) / 1000.0;
    default: /* losses and rates */
        return (double)(float)test_uniform(-10.0, 10.0) * pow(10.0, (double)test_int(-8, 3));
    }
}

/* No form with fewer digits may read back. */
static void assert_shortest(const char *text, double value)
{
    int digits = 0, zeros = 0;
    const char *end = strpbrk(text, "e");
    end = end != NULL ? end : text + strlen(text);
    for (const char *at = text; at < end; at++) {
        if (*at >= '1' && *at <= '9') {
            digits += zeros + 1;
            zeros = 0;
        } else if (*at == '0' && digits > 0) {
            zeros++;
        }
    }
    if (digits > 1 && digits <= 17) {
        char shorter[64];
        (void)snprintf(shorter, sizeof shorter, "%.*e", digits - 2, value);
        assert_true(strtod(shorter, NULL) < value || strtod(shorter, NULL) > value);
    }
}

static void test_numbers_read_back(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        const double value = random_double();
        lc_text text;
        number_text(value, &text);
        const double again = strtod(text.data, NULL);
        if (memcmp(&again, &value, sizeof value) != 0) {
            fail_msg("%.17g became %s", value, text.data);
        }
        assert_shortest(text.data, value);
        if (i % 100 == 0) { /* and it is JSON */
            cJSON *tree = NULL;
            assert_ok(lc_json_parse(text.data, text.length, 0, "number", &tree, &test_err));
            assert_memory_equal(&tree->valuedouble, &value, sizeof value);
            cJSON_Delete(tree);
        }
        lc_text_release(&text);
    }
}

/* The host program of the C API may have set a locale with a decimal comma. */
static void test_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !found; i++) {
        found = setlocale(LC_NUMERIC, names[i]) != NULL;
    }
    if (!found) {
        skip();
    }
    assert_number(0.1, "0.1");
    assert_number(1.2345678901234568e+17, "1.2345678901234568e+17");
    (void)setlocale(LC_NUMERIC, "C");
}

static void assert_printed(const char *source, const char *compact, const char *spaced)
{
    cJSON *tree = NULL;
    lc_text text;
    assert_ok(lc_json_parse(source, strlen(source), 0, "x", &tree, &test_err));
    for (int i = 0; i < 2; i++) {
        lc_text_init(&text);
        lc_text_add_json(&text, tree, i == 1);
        assert_ok(lc_text_finish(&text, "x", &test_err));
        assert_string_equal(text.data, i == 1 ? spaced : compact);
        lc_text_release(&text);
    }
    cJSON_Delete(tree);
}

static void test_trees(void **state)
{
    (void)state;
    assert_printed("null", "null", "null");
    assert_printed(" \"a\" ", "\"a\"", "\"a\"");
    assert_printed("{}", "{}", "{}");
    assert_printed("[[],{}]", "[[],{}]", "[[], {}]");
    assert_printed(
        "{\"z\":1,\"a\":[true,false,null,1.5,10,1e-7],\"\\n\":{\"q\":\"\\u00e9\"}}",
        "{\"z\":1,\"a\":[true,false,null,1.5,10,1e-07],\"\\n\":{\"q\":\"\xC3\xA9\"}}",
        "{\"z\": 1, \"a\": [true, false, null, 1.5, 10, 1e-07], \"\\n\": {\"q\": \"\xC3\xA9\"}}");
    assert_printed("[[[1],2],3]", "[[[1],2],3]", "[[[1], 2], 3]");
    assert_printed("[{\"a\":{\"b\":{}}},[]]", "[{\"a\":{\"b\":{}}},[]]",
                   "[{\"a\": {\"b\": {}}}, []]");
}

/* A subtree is printed alone, without its siblings. */
static void test_subtree(void **state)
{
    (void)state;
    static const char source[] = "[1,[2,{\"k\":3}],4]";
    cJSON *tree = NULL;
    lc_text text;
    lc_text_init(&text);
    assert_ok(lc_json_parse(source, sizeof source - 1, 0, "x", &tree, &test_err));
    lc_text_add_json(&text, cJSON_GetArrayItem(tree, 1), false);
    lc_text_add_json(&text, cJSON_GetArrayItem(tree, 0), false);
    assert_ok(lc_text_finish(&text, "x", &test_err));
    assert_string_equal(text.data, "[2,{\"k\":3}]1");
    lc_text_release(&text);
    cJSON_Delete(tree);
}

static void test_deep_trees(void **state)
{
    (void)state;
    lc_json_init();
    for (int depth = LC_MAX_JSON_DEPTH; depth <= LC_MAX_JSON_DEPTH + 1; depth++) {
        cJSON *tree = cJSON_CreateArray();
        for (int i = 1; i < depth; i++) {
            cJSON *outer = cJSON_CreateArray();
            assert_true(cJSON_AddItemToArray(outer, tree));
            tree = outer;
        }
        lc_text text;
        lc_text_init(&text);
        lc_text_add_json(&text, tree, false);
        assert_true(text.failed == (depth > LC_MAX_JSON_DEPTH));
        lc_text_release(&text);
        cJSON_Delete(tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growing),
        cmocka_unit_test(test_failures_are_remembered),
        cmocka_unit_test(test_json_strings),
        cmocka_unit_test(test_known_numbers),
        cmocka_unit_test(test_numbers_read_back),
        cmocka_unit_test(test_locale),
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_subtree),
        cmocka_unit_test(test_deep_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
