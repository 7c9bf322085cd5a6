/* Azure's rules for one row, and the deprecated spellings. */
#include "testing.h"

#include "base/fault.h"
#include "data/dataset.h"

static lc_code parse(const char *text, lc_chat_row *row)
{
    /* An exact-size copy without a NUL, so that a read beyond the line is seen. */
    const size_t bytes = strlen(text);
    char *line = malloc(bytes + (bytes == 0));
    assert_non_null(line);
    memcpy(line, text, bytes);
    const lc_code code = lc_chat_row_parse(line, bytes, 7, row, &test_err);
    free(line);
    return code;
}

#define U        "{\"role\":\"user\",\"content\":\"hi\"}"
#define A        "{\"role\":\"assistant\",\"content\":\"yo\"}"
#define ROW(...) "{\"messages\":[" __VA_ARGS__ "]}"
#define CALL(f)  "{\"role\":\"assistant\",\"tool_calls\":[" f "]}"
#define F(a) \
    "{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":" a "}}"

static void accepts(void **state)
{
    (void)state;
    static const char *const rows[] = {
        ROW(U "," A),
        ROW("{\"role\":\"system\",\"content\":\"\"}," U "," A),
        ROW("{\"role\":\"developer\",\"content\":\"x\"}," U "," A),
        ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0}," A),
        ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":1}"),
        ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":1.0}"),
        ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":null}"),
        ROW("{\"role\":\"user\",\"content\":\"x\",\"weight\":null}," A),
        ROW(U "," CALL(
            F("\"{}\"")) ",{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"3\"}," A),
        ROW(U "," CALL(F("{\"a\":1}"))),
        ROW(U ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" F("\"{}\"") "]}"),
        ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[]}"),
        ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":null}"),
        ROW("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
            "\"text\":\"\"}]}," A),
        ROW("{\"role\":\"user\",\"name\":\"bob\",\"content\":\"x\",\"note\":{\"a\":[1]}}," A),
        ROW(U),
        "{\"messages\":[" U "," A
        "],\"tools\":null,\"parallel_tool_calls\":false,\"id\":17,\"x\":[]}",
        "{\"messages\":[" U "," A "],\"tools\":[]}",
        "{\"messages\":[" U "," A
        "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}",
        " {\"messages\":[" U "," A "]} ",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lc_chat_row row;
        assert_ok(parse(rows[i], &row));
        assert_non_null(row.messages);
        lc_chat_row_release(&row);
        assert_null(row.row);
    }
}

/* Every code has its row in row_rules_test.c; here is how an error is put together. */
static const struct {
    const char *row;
    lc_code code;
    const char *message;
} bad[] = {
    {"", LC_ERR_INVALID, "line 7: the line is blank [blank_line]"},
    {"{\"messages\":[}", LC_ERR_INVALID,
     "line 7: column 14: expected a value, found '}' (byte 14 of the line) [invalid_json]"},
    {"{\n}]", LC_ERR_INVALID, "line 7: JSON: line 2 "},
    {"\xff", LC_ERR_INVALID, "[invalid_utf8]"},
    {"{}", LC_ERR_INVALID, "line 7: there is no \"messages\" [missing_messages]"},
    {ROW(U ",{\"role\":\"bot\",\"content\":\"\"}"), LC_ERR_INVALID,
     "line 7, messages[1].role: \"bot\" is not one of system, developer, user, assistant, tool, "
     "function [unknown_role]"},
    {ROW("{\"role\":\"bot\"},{\"role\":\"user\",\"weight\":1}," A), LC_ERR_INVALID,
     "[unknown_role]; messages[1]: the user message has no \"content\" [missing_content]; "
     "messages[1].weight: the message is the user's [weight_on_other_role]"},
    {ROW("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}]"
         "}," A),
     LC_ERR_UNSUPPORTED, "line 7, messages[0].content[0].type: the part is an image"},
    {ROW("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}],\"weight\":0}," A),
     LC_ERR_INVALID, "[image_unsupported]; messages[0].weight"},
    {"{\"messages\":[" U "," A "],\"tools\":{},\"functions\":{}}", LC_ERR_INVALID,
     "line 7, tools: it is an object [bad_tools]; functions: the row has tools as well "
     "[functions_with_tools]"},
};

/* More problems than an error has room for: the rest is counted. */
static void many_problems(void **state)
{
    (void)state;
    char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "{\"messages\":[");
    for (int i = 0; i < 60; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s{\"role\":\"r%d\"}",
                                 i > 0 ? "," : "", i);
    }
    (void)snprintf(text + used, sizeof text - used, "]}");
    lc_chat_row row;
    assert_fails(parse(text, &row), LC_ERR_INVALID, "line 7, messages[0].role: \"r0\"");
    const char *more = strstr(test_err.message, "; and ");
    assert_non_null(more);
    const int told = 60 - (int)strtol(more + 6, NULL, 10);
    assert_in_range(told, 2, LC_MAX_FINDINGS_KEPT);
    char last[32];
    (void)snprintf(last, sizeof last, "messages[%d].role: ", told - 1);
    assert_non_null(strstr(test_err.message, last));
    (void)snprintf(last, sizeof last, "messages[%d].role: ", told);
    assert_null(strstr(test_err.message, last));
}

static void refuses_and_says_where(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lc_chat_row row;
        assert_fails(parse(bad[i].row, &row), bad[i].code, bad[i].message);
        assert_int_equal(test_err.line, 7);
        assert_null(row.row);
        assert_null(row.messages);
        assert_int_equal(lc_chat_row_parse(bad[i].row, strlen(bad[i].row), 7, &row, NULL),
                         bad[i].code);
    }
}

static void is_written(const cJSON *item, const char *expected)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_add_json(&text, item, true);
    assert_ok(lc_text_finish(&text, "text", &test_err));
    assert_string_equal(text.data, expected);
    lc_text_release(&text);
}

static void deprecated_spellings(void **state)
{
    (void)state;
    lc_chat_row row;
    assert_ok(parse(
        "{\"functions\":[{\"name\":\"f\",\"n\":1.0},{\"name\":\"g\"}],\"function_call\":\"auto\","
        "\"messages\":[" U ",{\"role\":\"assistant\",\"content\":null,\"function_call\":{\"name\":"
        "\"f\",\"arguments\":\"{}\"}},{\"role\":\"function\",\"name\":\"f\",\"content\":\"3\"}]}",
        &row));
    is_written(row.tools, "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"n\": 1.0}}, "
                          "{\"type\": \"function\", \"function\": {\"name\": \"g\"}}]");
    is_written(
        cJSON_GetArrayItem(row.messages, 1),
        "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"type\": \"function\", "
        "\"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}]}");
    lc_chat_row_release(&row);
}

static void most_messages(void **state)
{
    (void)state;
    char *text = malloc((LC_MAX_MESSAGES + 2) * sizeof U + 64);
    for (int extra = -1; extra <= 1; extra++) {
        size_t used = (size_t)snprintf(text, 64, "{\"messages\":[");
        for (int i = 0; i < LC_MAX_MESSAGES + extra; i++) {
            used += (size_t)snprintf(text + used, sizeof U + 2, "%s" U, i > 0 ? "," : "");
        }
        (void)snprintf(text + used, 3, "]}");
        lc_chat_row row;
        if (extra <= 0) {
            assert_ok(parse(text, &row));
            lc_chat_row_release(&row);
        } else {
            assert_fails(parse(text, &row), LC_ERR_INVALID,
                         "line 7, messages: 2049 messages, the limit is 2048 [too_many_messages]");
        }
    }
    free(text);
}

static void survives_faults(void **state)
{
    (void)state;
    static const char text[] =
        "{\"functions\":[{\"name\":\"f\",\"n\":1.0}],\"messages\":[" U ",{\"role\":\"assistant\","
        "\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}";
    int64_t at = 1;
    for (lc_code code = LC_ERR_MEMORY; code != LC_OK; at++) {
        lc_chat_row row;
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        code = lc_chat_row_parse(text, strlen(text), 7, &row, &test_err);
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        assert_true(code == LC_OK || code == LC_ERR_MEMORY);
        if (code == LC_OK) {
            lc_chat_row_release(&row);
        }
    }
    assert_true(at > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),       cmocka_unit_test(refuses_and_says_where),
        cmocka_unit_test(many_problems), cmocka_unit_test(deprecated_spellings),
        cmocka_unit_test(most_messages), cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
