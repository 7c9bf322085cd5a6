/* JSON: what the scanner takes and refuses, limits, duplicate keys, typed readers, failing
 * allocations. */
#include "testing.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/json_pull.h"
#include "lorac/mem.h"

static lc_code parse_bytes(const char *text, size_t bytes, unsigned flags)
{
    /* A copy of exactly this size: AddressSanitizer sees any byte read beyond it. */
    char *copy = malloc(bytes != 0 ? bytes : 1);
    cJSON *tree = NULL;
    memcpy(copy, text, bytes);
    lc_err_clear(&test_err);
    const lc_code code = lc_json_parse(copy, bytes, flags, "x.json", &tree, &test_err);
    free(copy);
    assert_true((code == LC_OK) == (tree != NULL));
    cJSON_Delete(tree);
    return code;
}

static lc_code parse(const char *text)
{
    return parse_bytes(text, strlen(text), LC_JSON_DEFAULT);
}

static cJSON *tree_of(const char *text)
{
    cJSON *tree = NULL;
    assert_ok(lc_json_parse(text, strlen(text), LC_JSON_DEFAULT, "x.json", &tree, &test_err));
    return tree;
}

static void test_accepted(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}",
                                        "[]",
                                        "0",
                                        "-0",
                                        "1e5",
                                        "-1.5E-3",
                                        "0.0",
                                        "1e+0",
                                        "\"\"",
                                        "true",
                                        "false",
                                        "null",
                                        " \t\r\n[ ] ",
                                        "[1 , 2]",
                                        "{\"a\":{\"a\":{\"a\":[]}},\"b\":[{\"a\":1},{\"a\":2}]}",
                                        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                                        "\"\\u00e9\\uD83D\\uDE00\\uffff\"",
                                        "\"\x7F\xC2\x80\xDF\xBF\"",
                                        "\"\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\"",
                                        "\"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"",
                                        "{\"\":1,\" \":2}",
                                        "{\"a\":1,\"A\":2}",
                                        "[\"a\",\"a\"]",
                                        "1.7976931348623157e308",
                                        "-1.7976931348623157e308",
                                        "5e-324",
                                        "1e-400",
                                        "0e999",
                                        "123456789012345678901234567890",
                                        "[[],{},\"]}\"]",
                                        "[0.1,-0.1e+1,1E-1]"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (parse(texts[i]) != LC_OK) {
            fail_msg("refused %s: %s", texts[i], test_err.message);
        }
    }
}

typedef struct refused {
    const char *text;
    int64_t line, column;
    const char *reason;
} refused;

static void test_refused(void **state)
{
    (void)state;
    static const refused rows[] = {
        {"", 1, 1, "the text ends where a value should be"},
        {"  \n ", 2, 2, "the text ends where a value should be"},
        {"{", 1, 2, "the text ends where a key in double quotes should be"},
        {"[", 1, 2, "the text ends where a value should be"},
        {"[1", 1, 3, "the text ends where ',' or ']' should be"},
        {"[1,]", 1, 4, "expected a value, found ']'"},
        {"[,1]", 1, 2, "expected a value, found ','"},
        {"[1 2]", 1, 4, "expected ',' or ']', found '2'"},
        {"[1}", 1, 3, "expected ',' or ']', found '}'"},
        {"{\"a\":1]", 1, 7, "expected ',' or '}', found ']'"},
        {"{\"a\" 1}", 1, 6, "expected ':' after the key, found '1'"},
        {"{\"a\":}", 1, 6, "expected a value, found '}'"},
        {"{\"a\":1,}", 1, 8, "expected a key in double quotes, found '}'"},
        {"{a:1}", 1, 2, "expected a key in double quotes, found 'a'"},
        {"{'a':1}", 1, 2, "expected a key in double quotes, found '''"},
        {"{1:1}", 1, 2, "expected a key in double quotes, found '1'"},
        {"[]\n\n []", 3, 2, "expected the end of the text, found '['"},
        {"{}x", 1, 3, "expected the end of the text, found 'x'"},
        {"]", 1, 1, "expected a value, found ']'"},
        {"nul", 1, 1, "expected a value, found 'n'"},
        {"True", 1, 1, "expected a value, found 'T'"},
        {"nullx", 1, 5, "expected the end of the text, found 'x'"},
        {"NaN", 1, 1, "expected a value"},
        {"Infinity", 1, 1, "expected a value"},
        {"-Infinity", 1, 2, "expected a digit, found 'I'"},
        {"// c\n1", 1, 1, "expected a value, found '/'"},
        {"[1,/* c */2]", 1, 4, "expected a value, found '/'"},
        {"01", 1, 1, "leading zeros"},
        {"-01", 1, 1, "leading zeros"},
        {"-", 1, 2, "the text ends where a digit should be"},
        {"+1", 1, 1, "expected a value, found '+'"},
        {".5", 1, 1, "expected a value, found '.'"},
        {"1.", 1, 3, "a digit should be"},
        {"1.e5", 1, 3, "expected a digit, found 'e'"},
        {"1e", 1, 3, "a digit should be"},
        {"1e+", 1, 4, "a digit should be"},
        {"0x10", 1, 2, "expected the end of the text, found 'x'"},
        {"1_000", 1, 2, "expected the end of the text, found '_'"},
        {"[1e309]", 1, 2, "number 1e309 is out of range"},
        {"-1.8e308", 1, 1, "number -1.8e308 is out of range"},
        {"[\n  1e999999999]", 2, 3, "out of range"},
        {"\"abc", 1, 1, "the string that begins here does not end"},
        {"[\"a\", \"b]", 1, 7, "the string that begins here does not end"},
        {"\"\\", 1, 3, "the text ends where the rest of a string should be"},
        {"\"\\x41\"", 1, 2, "unknown escape"},
        {"\"\\'\"", 1, 2, "unknown escape"},
        {"\"\\U0041\"", 1, 2, "unknown escape"},
        {"\"\\u12\"", 1, 2, "four hexadecimal digits"},
        {"\"\\u12G4\"", 1, 2, "four hexadecimal digits"},
        {"\"\\u", 1, 2, "four hexadecimal digits"},
        {"\"a\\u0000b\"", 1, 3, "\\u0000 is not accepted"},
        {"\"\\ud800\"", 1, 2, "lone surrogate \\ud800"},
        {"\"\\uDFFF\"", 1, 2, "lone surrogate \\udfff"},
        {"\"\\ud83d\\ud83d\"", 1, 2, "lone surrogate"},
        {"\"\\ud83dx\\ude00\"", 1, 2, "lone surrogate"},
        {"\"\\ud83d\\n\"", 1, 2, "lone surrogate"},
        {"\"\\ud83d", 1, 2, "lone surrogate"},
        {"\"\\ud83d\\u", 1, 2, "lone surrogate"},
        {"{\"\\ud800\":1}", 1, 3, "lone surrogate"},
        {"\"a\tb\"", 1, 3, "control character 0x09"},
        {"\"a\nb\"", 1, 3, "control character 0x0a"},
        {"\"\x1F\"", 1, 2, "control character 0x1f"},
        {"[\x7F]", 1, 2, "found byte 0x7f"},
        {"[\xC2\xA0 1]", 1, 2, "found byte 0xc2"},
        {"\v1", 1, 1, "found byte 0x0b"},
        {"\"\x80\"", 1, 2, "byte 0x80 is not valid UTF-8"},
        {"\"\xC0\x80\"", 1, 2, "byte 0xc0 is not valid UTF-8"},
        {"\"\xC1\xBF\"", 1, 2, "0xc1"},
        {"\"\xC2\"", 1, 2, "0xc2"},
        {"\"\xC2", 1, 2, "0xc2"},
        {"\"\xE0\x9F\xBF\"", 1, 2, "0xe0"},
        {"\"\xE2\x82\"", 1, 2, "0xe2"},
        {"\"\xED\xA0\x80\"", 1, 2, "0xed"},
        {"\"\xED\xBF\xBF\"", 1, 2, "0xed"},
        {"\"\xF0\x8F\xBF\xBF\"", 1, 2, "0xf0"},
        {"\"\xF4\x90\x80\x80\"", 1, 2, "0xf4"},
        {"\"\xF5\x80\x80\x80\"", 1, 2, "0xf5"},
        {"\"\xFF\"", 1, 2, "0xff"},
        {"\xEF\xBB\xBF{}", 1, 1, "byte order mark"},
        {"\"\xC3\xA9\xE2\x82\xAC\" x", 1, 6, "expected the end of the text, found 'x'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char where[64];
        (void)snprintf(where, sizeof where, "x.json: line %d column %d: ", (int)rows[i].line,
                       (int)rows[i].column);
        if (parse(rows[i].text) != LC_ERR_INVALID || strstr(test_err.message, where) == NULL ||
            strstr(test_err.message, rows[i].reason) == NULL || test_err.line != rows[i].line) {
            fail_msg("row %zu, %s: \"%s\", expected \"%s%s\"", i, rows[i].text, test_err.message,
                     where, rows[i].reason);
        }
    }
}

static void test_nul_bytes(void **state)
{
    (void)state;
    assert_int_equal(parse_bytes("{}\0", 3, 0), LC_ERR_INVALID);
    assert_non_null(
        strstr(test_err.message, "column 3: expected the end of the text, found byte 0x00"));
    assert_int_equal(parse_bytes("\"a\0b\"", 5, 0), LC_ERR_INVALID);
    assert_non_null(strstr(test_err.message, "column 3: control character 0x00"));
    assert_int_equal(parse_bytes("\"\\\0\"", 4, 0), LC_ERR_INVALID);
    assert_non_null(strstr(test_err.message, "unknown escape"));
    assert_int_equal(parse_bytes("\0", 1, 0), LC_ERR_INVALID);
}

static void test_bom(void **state)
{
    (void)state;
    assert_int_equal(parse_bytes("\xEF\xBB\xBF{}", 5, LC_JSON_ALLOW_BOM), LC_OK);
    assert_int_equal(parse_bytes("\xEF\xBB\xBF\x31", 4, LC_JSON_ALLOW_BOM), LC_OK);
    assert_int_equal(parse_bytes("{}", 2, LC_JSON_ALLOW_BOM), LC_OK);
    assert_int_equal(parse_bytes("\xEF\xBB\xBF", 3, LC_JSON_ALLOW_BOM), LC_ERR_INVALID);
    assert_int_equal(parse_bytes("\xEF\xBB\xBF\xEF\xBB\xBF{}", 8, LC_JSON_ALLOW_BOM),
                     LC_ERR_INVALID);
    assert_int_equal(parse_bytes("\xEF\xBB{}", 4, LC_JSON_ALLOW_BOM), LC_ERR_INVALID);
}

static lc_code parse_nested(int depth, char open, char close)
{
    char text[8 * LC_MAX_JSON_DEPTH] = "";
    size_t length = 0;
    for (int i = 0; i < depth; i++) {
        text[length++] = open;
        if (open == '{' && i + 1 < depth) {
            memcpy(text + length, "\"a\":", 4);
            length += 4;
        }
    }
    for (int i = 0; i < depth; i++) {
        text[length++] = close;
    }
    return parse_bytes(text, length, 0);
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(LC_MAX_JSON_DEPTH, 64);
    for (int depth = 63; depth <= 64; depth++) {
        assert_int_equal(parse_nested(depth, '[', ']'), LC_OK);
        assert_int_equal(parse_nested(depth, '{', '}'), LC_OK);
    }
    assert_int_equal(parse_nested(65, '[', ']'), LC_ERR_INVALID);
    assert_non_null(strstr(test_err.message, "column 65: nested deeper than 64 levels"));
    assert_int_equal(parse_nested(65, '{', '}'), LC_ERR_INVALID);
    const size_t many = 5000000;
    char *text = malloc(many);
    memset(text, '[', many);
    assert_int_equal(parse_bytes(text, many, 0), LC_ERR_INVALID);
    free(text);
}

static void test_size_limit(void **state)
{
    (void)state;
    /* The size is looked at before any byte is. */
    cJSON *tree = NULL;
    assert_fails(lc_json_parse("", LC_MAX_JSON_BYTES + 1, 0, "big.json", &tree, &test_err),
                 LC_ERR_INVALID, "big.json: 268435457 bytes of JSON, limit 268435456");
}

static void test_number_length(void **state)
{
    (void)state;
    const int limit = LC_MAX_JSON_NUMBER_BYTES;
    char text[LC_MAX_JSON_NUMBER_BYTES + 2] = "0.";
    for (int length = limit - 1; length <= limit + 1; length++) {
        memset(text + 2, '3', sizeof text - 2);
        text[length] = '\0';
        assert_int_equal(parse(text), length <= limit ? LC_OK : LC_ERR_INVALID);
    }
    assert_non_null(strstr(test_err.message, "number of 64 characters, limit 63"));
}

static void test_plain_integers(void **state)
{
    (void)state;
    static const char *const good[] = {"0", "7", "9007199254740991", "9007199254740992",
                                       "{\"a\":[0,18,9],\"b\":\"-1.5\"}"};
    static const char *const bad[] = {"-1",
                                      "-0",
                                      "1.0",
                                      "1e3",
                                      "1E0",
                                      "9007199254740993",
                                      "18446744073709551616",
                                      "[1,2,0.5]",
                                      "{\"a\":10000000000000000}"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(parse_bytes(good[i], strlen(good[i]), LC_JSON_PLAIN_INTEGERS), LC_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse_bytes(bad[i], strlen(bad[i]), LC_JSON_PLAIN_INTEGERS),
                         LC_ERR_INVALID);
        assert_non_null(strstr(test_err.message, "integer"));
    }
}

static void test_duplicate_keys(void **state)
{
    (void)state;
    static const refused rows[] = {
        {"{\"a\":1,\"a\":2}", 1, 8, "duplicate key \"a\""},
        {"{\"a\":1,\n \"b\":2,\n \"a\":3}", 3, 2, "duplicate key \"a\""},
        {"{\"\":1,\"\":2}", 1, 7, "duplicate key \"\""},
        {"{\"a\":1,\"\\u0061\":2}", 1, 8, "duplicate key \"\\u0061\""},
        {"{\"\\u00e9\":1,\"\xC3\xA9\":2}", 1, 13, "duplicate key"},
        {"{\"\\ud83d\\ude00\":1,\"\xF0\x9F\x98\x80\":2}", 1, 19, "duplicate key"},
        {"{\"\\u20ac\":1,\"\xE2\x82\xAC\":2}", 1, 13, "duplicate key"},
        {"{\"\\/\\n\\t\":1,\"/\\u000a\\u0009\":2}", 1, 13, "duplicate key"},
        {"{\"\\\"\\\\\\b\\f\\r\":1,\"\\u0022\\u005C\\u0008\\u000C\\u000D\":2}", 1, 17,
         "duplicate key"},
        {"[[{\"x\":{\"k\":1,\"k\":1}}]]", 1, 15, "duplicate key \"k\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char where[64];
        (void)snprintf(where, sizeof where, "line %d column %d: ", (int)rows[i].line,
                       (int)rows[i].column);
        if (parse(rows[i].text) != LC_ERR_INVALID || strstr(test_err.message, where) == NULL ||
            strstr(test_err.message, rows[i].reason) == NULL) {
            fail_msg("row %zu, %s: \"%s\", expected %s", i, rows[i].text, test_err.message, where);
        }
    }
    assert_int_equal(parse("{\"a\":{\"a\":1,\"b\":{\"b\":2}},\"b\":[{\"a\":1},{\"a\":1}]}"), LC_OK);
    assert_int_equal(parse("{\"\\u0061b\":1,\"a\\u0062c\":2,\"ab\\u0020\":3}"), LC_OK);
}

/* Two pairs of keys with the same 32-bit FNV-1a hash: the bytes decide, not the hash. */
static void test_hash_collisions(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"costarring\":1,\"liquid\":2,\"declinate\":3,\"macallums\":4}"),
                     LC_OK);
    assert_int_equal(parse("{\"liquid\":1,\"costarring\":2,\"liquid\":3}"), LC_ERR_INVALID);
    assert_non_null(strstr(test_err.message, "column 28: duplicate key \"liquid\""));
}

static void test_duplicates_at_each_depth(void **state)
{
    (void)state;
    for (int depth = 1; depth <= LC_MAX_JSON_DEPTH; depth++) {
        for (int twice = 0; twice <= 1; twice++) {
            lc_text text;
            lc_text_init(&text);
            for (int i = 1; i < depth; i++) {
                lc_text_addf(&text, "{\"k\":0,\"key%d\":", i);
            }
            lc_text_addf(&text, "{\"k\":1,\"%s\":2}", twice ? "k" : "l");
            for (int i = 1; i < depth; i++) {
                lc_text_add(&text, "}", 1);
            }
            assert_ok(lc_text_finish(&text, "x", &test_err));
            assert_int_equal(parse(text.data), twice ? LC_ERR_INVALID : LC_OK);
            lc_text_release(&text);
        }
    }
}

/* An object of `count` keys; the last repeats key number `repeated` unless that is negative. */
static void many_keys(lc_text *text, int count, int repeated)
{
    lc_text_init(text);
    lc_text_add(text, "{", 1);
    for (int i = 0; i < count; i++) {
        lc_text_addf(text, "\"model.layers.%d.weight\":{\"a\":1,\"b\":2},", i);
    }
    lc_text_addf(text, "\"model.layers.%d.weight\":0}", repeated >= 0 ? repeated : count);
    assert_ok(lc_text_finish(text, "x", &test_err));
}

static void test_many_keys(void **state)
{
    (void)state;
    static const int counts[] = {1, 62, 63, 64, 65, 127, 128, 1000, 200000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        lc_text text;
        many_keys(&text, counts[i], -1);
        assert_int_equal(parse_bytes(text.data, text.length, 0), LC_OK);
        lc_text_release(&text);
        many_keys(&text, counts[i], (int)test_int(0, counts[i] - 1));
        assert_int_equal(parse_bytes(text.data, text.length, 0), LC_ERR_INVALID);
        assert_non_null(strstr(test_err.message, "duplicate key \"model.layers."));
        lc_text_release(&text);
    }
}

/* 100000 long keys with a common beginning: n log n comparisons, or the test's time limit
 * strikes. */
static void test_same_prefix_keys(void **state)
{
    (void)state;
    char prefix[200];
    memset(prefix, 'p', sizeof prefix);
    lc_text text;
    lc_text_init(&text);
    lc_text_add(&text, "{", 1);
    for (int i = 0; i < 100000; i++) {
        lc_text_addf(&text, "%s\"%.200s%d\":0", i > 0 ? "," : "", prefix, i);
    }
    lc_text_add(&text, "}", 1);
    assert_ok(lc_text_finish(&text, "x", &test_err));
    assert_int_equal(parse_bytes(text.data, text.length, 0), LC_OK);
    lc_text_release(&text);
}

/* Random damage to a valid text: never a crash, and whatever is taken prints and reads back the
 * same. */
static void test_random_damage(void **state)
{
    (void)state;
    static const char good[] =
        "{\"a\":[1,2.5e3,\"x\\u00e9\\ud83d\\ude00\\n\"],\"b\":{\"c\":null,\"d\":true},"
        "\"e\":\"\xC3\xA9\xF0\x9F\x98\x80\",\"f\":[[],{}],\"g\":-0.125}";
    int taken = 0;
    for (int i = 0; i < 20000; i++) {
        char text[sizeof good];
        memcpy(text, good, sizeof good);
        size_t length = sizeof good - 1;
        for (int64_t changes = test_int(1, 3); changes > 0; changes--) {
            const char *const often = "{}[]\",:\\0189eEu.-+tn \x80\xC3";
            const size_t at = (size_t)test_int(0, (int64_t)length - 1);
            text[at] = test_int(0, 3) > 0 ? often[test_int(0, (int64_t)strlen(often) - 1)]
                                          : (char)test_int(0, 255);
        }
        length = test_int(0, 9) == 0 ? (size_t)test_int(0, (int64_t)length) : length;
        if (parse_bytes(text, length, 0) != LC_OK) {
            assert_true(test_err.code == LC_ERR_INVALID && test_err.line >= 1);
            continue;
        }
        taken++;
        cJSON *tree = NULL, *again = NULL;
        lc_text printed;
        lc_text_init(&printed);
        assert_ok(lc_json_parse(text, length, 0, "x", &tree, &test_err));
        lc_text_add_json(&printed, tree, i % 2 == 0);
        assert_ok(lc_text_finish(&printed, "x", &test_err));
        assert_ok(lc_json_parse(printed.data, printed.length, 0, "again", &again, &test_err));
        assert_true(cJSON_Compare(tree, again, 1));
        cJSON_Delete(tree);
        cJSON_Delete(again);
        lc_text_release(&printed);
    }
    assert_true(taken > 100);
}

static void test_allocation_failures(void **state)
{
    (void)state;
    lc_text text;
    many_keys(&text, 150, -1);
    int failures = 0;
    for (int at = 1;; at++) {
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        const lc_code code = parse_bytes(text.data, text.length, 0);
        if (lc_fault_count(LC_FAULT_ALLOC) < at) {
            assert_int_equal(code, LC_OK);
            break;
        }
        assert_int_equal(code, LC_ERR_MEMORY);
        assert_non_null(strstr(test_err.message, "x.json: out of memory"));
        failures++;
    }
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    assert_true(failures > 900); /* each node and each key of the tree */
    lc_text_release(&text);
}

static void test_load(void **state)
{
    (void)state;
    char path[LC_MAX_PATH_BYTES];
    cJSON *tree = NULL;
    assert_ok(lc_path_join(test_dir(), "config.json", path, &test_err));
    test_write_file(path, "{\"a\": 3}", 8);
    assert_ok(lc_json_load(path, 8, 0, &tree, &test_err));
    assert_true(cJSON_IsObject(tree));
    cJSON_Delete(tree);
    assert_fails(lc_json_load(path, 7, 0, &tree, &test_err), LC_ERR_INVALID,
                 "too large: 8 bytes, limit 7");
    test_write_file(path, "{\"a\": }", 7);
    assert_fails(lc_json_load(path, 8, 0, &tree, &test_err), LC_ERR_INVALID,
                 "config.json: line 1 column 7: expected a value");
    assert_fails(lc_json_load("/nonexistent", 8, 0, &tree, &test_err), LC_ERR_NOT_FOUND,
                 "/nonexistent");
}

static void test_integers(void **state)
{
    (void)state;
    cJSON *t = tree_of("{\"zero\":-0,\"three\":3.0,\"half\":0.5,\"big\":9007199254740991,"
                       "\"limit\":9007199254740992,\"inexact\":9007199254740993,\"huge\":1e300,"
                       "\"min\":-9007199254740991,\"text\":\"3\",\"none\":null,\"yes\":true}");
    int64_t v = 77;
    assert_ok(lc_json_int(t, "zero", true, 0, 10, &v, &test_err));
    assert_int_equal(v, 0);
    assert_ok(lc_json_int(t, "three", true, 3, 3, &v, &test_err));
    assert_int_equal(v, 3);
    assert_ok(lc_json_int(t, "big", true, 0, INT64_MAX, &v, &test_err));
    assert_true(v == 9007199254740991);
    assert_ok(lc_json_int(t, "min", true, INT64_MIN, 0, &v, &test_err));
    assert_true(v == -9007199254740991);
    v = 77;
    assert_ok(lc_json_int(t, "none", false, 0, 9, &v, &test_err));
    assert_ok(lc_json_int(t, "absent", false, 0, 9, &v, &test_err));
    assert_ok(lc_json_int(t, "THREE", false, 0, 9, &v, &test_err)); /* case matters */
    assert_ok(lc_json_int(NULL, "absent", false, 0, 9, &v, &test_err));
    assert_fails(lc_json_int(t, "absent", true, 0, 9, &v, &test_err), LC_ERR_INVALID,
                 "\"absent\" is missing");
    assert_string_equal(test_err.param, "absent");
    assert_fails(lc_json_int(t, "none", true, 0, 9, &v, &test_err), LC_ERR_INVALID,
                 "\"none\" is missing");
    assert_fails(lc_json_int(t, "three", false, 4, 9, &v, &test_err), LC_ERR_INVALID,
                 "\"three\" must be an integer from 4 to 9, not 3");
    assert_string_equal(test_err.param, "three");
    assert_fails(lc_json_int(t, "three", false, 0, 2, &v, &test_err), LC_ERR_INVALID,
                 "from 0 to 2, not 3");
    assert_fails(lc_json_int(t, "half", false, 0, 2, &v, &test_err), LC_ERR_INVALID, "not 0.5");
    assert_fails(lc_json_int(t, "limit", false, 0, INT64_MAX, &v, &test_err), LC_ERR_INVALID,
                 "an integer");
    assert_fails(lc_json_int(t, "inexact", false, 0, INT64_MAX, &v, &test_err), LC_ERR_INVALID,
                 "an integer");
    assert_fails(lc_json_int(t, "huge", false, 0, INT64_MAX, &v, &test_err), LC_ERR_INVALID,
                 "not 1");
    assert_fails(lc_json_int(t, "text", false, 0, 9, &v, &test_err), LC_ERR_INVALID, "not \"3\"");
    assert_fails(lc_json_int(t, "yes", false, 0, 9, &v, &test_err), LC_ERR_INVALID, "not true");
    assert_int_equal(v, 77);
    cJSON_Delete(t);
}

static void test_other_readers(void **state)
{
    (void)state;
    cJSON *t = tree_of("{\"x\":0.25,\"yes\":true,\"no\":false,\"text\":\"a\xC3\xA9\",\"list\":[1],"
                       "\"map\":{\"k\":1},"
                       "\"none\":null}");
    double d = 7.0;
    assert_ok(lc_json_double(t, "x", true, 0.25, 0.25, &d, &test_err));
    assert_true(d >= 0.25 && d <= 0.25);
    assert_fails(lc_json_double(t, "x", true, 0.5, 1.0, &d, &test_err), LC_ERR_INVALID,
                 "\"x\" must be a number from 0.5 to 1, not 0.25");
    assert_fails(lc_json_double(t, "x", true, 0.0, 0.1, &d, &test_err), LC_ERR_INVALID, "not 0.25");
    assert_fails(lc_json_double(t, "no", true, 0.0, 0.1, &d, &test_err), LC_ERR_INVALID,
                 "not false");
    assert_fails(lc_json_double(t, "none", true, 0.0, 0.1, &d, &test_err), LC_ERR_INVALID,
                 "missing");
    assert_ok(lc_json_double(t, "none", false, 0.0, 0.1, &d, &test_err));
    bool b = false;
    assert_ok(lc_json_bool(t, "yes", true, &b, &test_err));
    assert_true(b);
    assert_ok(lc_json_bool(t, "no", true, &b, &test_err));
    assert_false(b);
    assert_ok(lc_json_bool(t, "none", false, &b, &test_err));
    assert_fails(lc_json_bool(t, "x", true, &b, &test_err), LC_ERR_INVALID,
                 "\"x\" must be true or false, not 0.25");
    const char *s = NULL;
    assert_ok(lc_json_string(t, "none", false, &s, &test_err));
    assert_null(s);
    assert_ok(lc_json_string(t, "text", true, &s, &test_err));
    assert_string_equal(s, "a\xC3\xA9");
    assert_fails(lc_json_string(t, "list", true, &s, &test_err), LC_ERR_INVALID,
                 "\"list\" must be a string, not an array");
    const cJSON *item = NULL;
    assert_ok(lc_json_object(t, "map", true, &item, &test_err));
    assert_true(cJSON_IsObject(item));
    assert_fails(lc_json_object(t, "list", true, &item, &test_err), LC_ERR_INVALID,
                 "an object, not an array");
    assert_ok(lc_json_array(t, "list", true, &item, &test_err));
    assert_true(cJSON_IsArray(item));
    assert_fails(lc_json_array(t, "map", true, &item, &test_err), LC_ERR_INVALID,
                 "an array, not an object");
    assert_fails(lc_json_array(t, "nowhere", true, &item, &test_err), LC_ERR_INVALID,
                 "\"nowhere\" is missing");
    assert_null(lc_json_get(t, "none"));
    assert_null(lc_json_get(lc_json_get(t, "list"), "x"));
    assert_non_null(lc_json_get(t, "x"));
    cJSON_Delete(t);
}

static void test_only_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"rank", "alpha", NULL};
    static const char *const none[] = {NULL};
    cJSON *t = tree_of("{\"rank\":1,\"Alpha\":2,\"beta\":3}");
    assert_fails(lc_json_only_keys(t, keys, "\"lorac\"", &test_err), LC_ERR_INVALID,
                 "\"lorac\" has no field \"Alpha\"; it may have rank, alpha");
    assert_string_equal(test_err.param, "Alpha");
    assert_fails(lc_json_only_keys(t, none, "x", &test_err), LC_ERR_INVALID, "\"rank\"");
    cJSON_Delete(t);
    t = tree_of("{\"alpha\":2}");
    assert_ok(lc_json_only_keys(t, keys, "x", &test_err));
    assert_ok(lc_json_only_keys(NULL, keys, "x", &test_err));
    cJSON_Delete(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_bom),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_number_length),
        cmocka_unit_test(test_plain_integers),
        cmocka_unit_test(test_duplicate_keys),
        cmocka_unit_test(test_hash_collisions),
        cmocka_unit_test(test_duplicates_at_each_depth),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_same_prefix_keys),
        cmocka_unit_test(test_random_damage),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_other_readers),
        cmocka_unit_test(test_only_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
