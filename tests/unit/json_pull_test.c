/* Values pulled one by one: order, depths, keys, decoding; the same texts are refused as by
 * lc_json_parse. */
#include "testing.h"

#include "base/json_pull.h"

/* All values as "depth:key=text", joined with blanks; what failed, as its message. */
static const char *pulled(const char *text, int foreign_depth)
{
    static char out[1024];
    char key[64], value_text[64];
    size_t used = 0;
    lc_json_pull pull;
    lc_json_value value = {0};
    out[0] = '\0';
    lc_err_clear(&test_err);
    lc_json_pull_begin(&pull, text, strlen(text), LC_JSON_DEFAULT, "x.json", &test_err);
    pull.foreign_depth = foreign_depth;
    while (lc_json_next(&pull, &value) == LC_OK && value.kind != LC_JSON_DONE) {
        const size_t key_bytes =
            value.has_key ? lc_json_decode(text, &value.key, key, sizeof key) : 0;
        const size_t bytes = lc_json_decode(text, &value.raw, value_text, sizeof value_text);
        used += (size_t)snprintf(out + used, sizeof out - used, "%d:%.*s=%.*s ", value.depth,
                                 (int)key_bytes, key, (int)bytes, value_text);
    }
    lc_json_pull_end(&pull);
    return test_err.code == LC_OK ? out : test_err.message;
}

static void values_come_in_order(void **state)
{
    (void)state;
    assert_string_equal(pulled("3", 0), "0:=3 ");
    assert_string_equal(pulled("[]", 0), "0:=[ ");
    assert_string_equal(pulled("{\"a\":1, \"b\":[true,{}, null],\"c\":\"x\"}", 0),
                        "0:={ 1:a=1 1:b=[ 2:=true 2:={ 2:=null 1:c=x ");
    assert_string_equal(pulled("{\"a\":{\"b\":{\"c\":-1.5e3}}}", 0),
                        "0:={ 1:a={ 2:b={ 3:c=-1.5e3 ");
    assert_string_equal(pulled("[\"\\u0041\\n\\ud83d\\ude00\", \"\xc3\xa9\"]", 0),
                        "0:=[ 1:=A\n\xf0\x9f\x98\x80 1:=\xc3\xa9 ");
    assert_string_equal(pulled("{\"\\u0061b\":1}", 0), "0:={ 1:ab=1 ");
}

static void what_is_wrong_is_found(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "[1,]",
        "{\"a\":1,\"\\u0061\":2}",
        "[\"\\ud800\"]",
        "[1] 2",
        "[\"\xff\"]",
        "{\"a\":{\"b\":1,\"b\":2}}",
        "[01]",
        "[1e999]",
        "[\"12345678\x01\"]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char expected[LC_ERR_MESSAGE_BYTES];
        cJSON *tree = NULL;
        lc_err err = {0};
        assert_int_equal(
            lc_json_parse(texts[i], strlen(texts[i]), LC_JSON_DEFAULT, "x.json", &tree, &err),
            LC_ERR_INVALID);
        (void)snprintf(expected, sizeof expected, "%s", err.message);
        assert_string_equal(pulled(texts[i], 0), expected);
    }
    /* Whoever looks for duplicates himself says so for a depth. */
    assert_string_equal(pulled("{\"a\":1,\"a\":2}", 1), "0:={ 1:a=1 1:a=2 ");
    assert_non_null(strstr(pulled("{\"a\":{\"b\":1,\"b\":2}}", 1), "duplicate key"));
}

/* A special byte at every place of a word of eight. */
static void strings_are_scanned_by_words(void **state)
{
    (void)state;
    static const char *const odd[] = {"\\\"", "\\\\", "\xc3\xa9", "\x1f", "\"", "\x7f", " ", "!"};
    for (size_t k = 0; k < sizeof odd / sizeof odd[0]; k++) {
        for (size_t place = 0; place < 24; place++) {
            char text[64], letters[32];
            memset(letters, 'a', sizeof letters);
            (void)snprintf(text, sizeof text, "\"%.*s%s%.*s\"", (int)place, letters, odd[k],
                           (int)(24 - place), letters);
            const bool is_good = odd[k][0] != '\x1f' && odd[k][0] != '"';
            assert_int_equal(strncmp(pulled(text, 0), "0:=", 3) == 0, is_good);
        }
    }
}

static void questions(void **state)
{
    (void)state;
    const char *text = "[18446744073709551616, 12, 1.0, -1, \"ab\"]";
    static const bool expected[] = {false, true, false, false, false};
    lc_json_pull pull;
    lc_json_value value;
    uint64_t number = 0;
    lc_json_pull_begin(&pull, text, strlen(text), LC_JSON_DEFAULT, "x.json", &test_err);
    assert_ok(lc_json_next(&pull, &value));
    for (size_t i = 0; i < 5; i++) {
        assert_ok(lc_json_next(&pull, &value));
        assert_int_equal(lc_json_unsigned(&pull, &value, 12, &number), expected[i]);
        assert_false(lc_json_unsigned(&pull, &value, 11, &number));
    }
    assert_true(lc_json_raw_is(&pull, &value.raw, "ab"));
    assert_false(lc_json_raw_is(&pull, &value.raw, "a"));
    lc_json_pull_end(&pull);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_in_order),
        cmocka_unit_test(what_is_wrong_is_found),
        cmocka_unit_test(strings_are_scanned_by_words),
        cmocka_unit_test(questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
