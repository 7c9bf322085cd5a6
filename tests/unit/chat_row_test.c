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
        ROW(U ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" F("\"\"") "]}"),
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

static const struct {
    const char *row;
    lc_code code;
    const char *message;
} bad[] = {
    {"", LC_ERR_INVALID, "line 7: the line is empty"},
    {"{", LC_ERR_INVALID, "line 7, column "},
    {"{\"messages\":[}", LC_ERR_INVALID, "line 7, column 14: expected a value, found '}'"},
    {"{\n}]", LC_ERR_INVALID, "line 7: JSON: line 2 "},
    {"{} {}", LC_ERR_INVALID, "line 7"},
    {"\xff", LC_ERR_INVALID, "line 7"},
    {"[]", LC_ERR_INVALID, "line 7: the row is not a JSON object"},
    {"{}", LC_ERR_INVALID, "line 7, messages: it is missing"},
    {"{\"messages\":null}", LC_ERR_INVALID, "line 7, messages: it is missing"},
    {"{\"messages\":[]}", LC_ERR_INVALID,
     "line 7, messages: it must be a list of messages, not empty"},
    {"{\"messages\":{}}", LC_ERR_INVALID, "line 7, messages: it must be a list"},
    {"{\"messages\":[" U "],\"messages\":[" U "]}", LC_ERR_INVALID, "messages"},
    {"{\"input\":{\"messages\":[]},\"preferred_output\":[],\"non_preferred_output\":[]}",
     LC_ERR_INVALID, "line 7: this is a preference row"},
    {"{\"prompt\":\"a\",\"completion\":\"b\"}", LC_ERR_INVALID,
     "line 7: this is a prompt/completion pair"},
    {ROW("1"), LC_ERR_INVALID, "line 7, messages[0]: it is not an object"},
    {ROW("{\"content\":\"x\"}"), LC_ERR_INVALID, "line 7, messages[0].role: it is missing"},
    {ROW(U ",{\"role\":1}"), LC_ERR_INVALID, "line 7, messages[1].role: it must be a string"},
    {ROW(U ",{\"role\":\"bot\",\"content\":\"\"}"), LC_ERR_INVALID,
     "messages[1].role: \"bot\" is not one of system, developer, user, assistant, tool, function"},
    {ROW("{\"role\":\"a\\nb\"}"), LC_ERR_INVALID, "\"(unprintable)\" is not one of"},
    {ROW("{\"role\":\"user\"}"), LC_ERR_INVALID, "messages[0].content: it is missing"},
    {ROW("{\"role\":\"user\",\"content\":null}"), LC_ERR_INVALID,
     "messages[0].content: it is missing"},
    {ROW("{\"role\":\"tool\",\"content\":null}"), LC_ERR_INVALID,
     "messages[0].content: it is missing"},
    {ROW(U ",{\"role\":\"assistant\"}"), LC_ERR_INVALID, "messages[1].content: it is missing"},
    {ROW(U ",{\"role\":\"assistant\",\"tool_calls\":[]}"), LC_ERR_INVALID, "messages[1].content"},
    {ROW("{\"role\":\"user\",\"content\":5}"), LC_ERR_INVALID,
     "must be a string or a list of text parts"},
    {ROW("{\"role\":\"user\",\"content\":[]}"), LC_ERR_INVALID, "must be a string or a list"},
    {ROW("{\"role\":\"user\",\"content\":[\"a\"]}"), LC_ERR_INVALID, "object with a \"type\""},
    {ROW("{\"role\":\"user\",\"content\":[{\"text\":\"a\"}]}"), LC_ERR_INVALID, "with a \"type\""},
    {ROW("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"), LC_ERR_INVALID,
     "string \"text\""},
    {ROW("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":3}]}"), LC_ERR_INVALID,
     "string"},
    {ROW("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}]"
         "}"),
     LC_ERR_UNSUPPORTED,
     "line 7, messages[0].content: parts of type \"image_url\" are not supported"},
    {ROW("{\"role\":\"user\",\"content\":\"x\",\"weight\":1}"), LC_ERR_INVALID,
     "messages[0].weight: only assistant messages may have a weight, this is user"},
    {ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0.5}"), LC_ERR_INVALID,
     "messages[1].weight: it must be 0 or 1"},
    {ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":-1}"), LC_ERR_INVALID, "0 or 1"},
    {ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":2}"), LC_ERR_INVALID, "0 or 1"},
    {ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":true}"), LC_ERR_INVALID,
     "0 or 1"},
    {ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":\"1\"}"), LC_ERR_INVALID,
     "0 or 1"},
    {ROW("{\"role\":\"user\",\"content\":\"x\",\"name\":1}"), LC_ERR_INVALID, "messages[0].name"},
    {ROW("{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":1}"), LC_ERR_INVALID,
     "tool_call_id"},
    {ROW("{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":[" F("\"\"") "]}"), LC_ERR_INVALID,
     "only assistant messages may call tools, this is user"},
    {ROW("{\"role\":\"user\",\"content\":\"x\",\"function_call\":{}}"), LC_ERR_INVALID,
     "only assistant"},
    {ROW(U ",{\"role\":\"assistant\",\"tool_calls\":{}}"), LC_ERR_INVALID,
     "tool_calls: it must be a list"},
    {ROW(U "," CALL("{}")), LC_ERR_INVALID, "a call must have a \"function\" object"},
    {ROW(U "," CALL("3")), LC_ERR_INVALID, "a call must have a \"function\" object"},
    {ROW(U "," CALL("{\"function\":{\"arguments\":\"\"}}")), LC_ERR_INVALID,
     "must have a \"name\""},
    {ROW(U "," CALL("{\"function\":{\"name\":\"\",\"arguments\":\"\"}}")), LC_ERR_INVALID,
     "\"name\""},
    {ROW(U "," CALL("{\"function\":{\"name\":\"f\"}}")), LC_ERR_INVALID, "\"arguments\" of \"f\""},
    {ROW(U "," CALL(F("[1]"))), LC_ERR_INVALID, "must be a string of JSON"},
    {ROW(U "," CALL("{\"type\":\"x\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}")),
     LC_ERR_INVALID, "the \"type\" of a call"},
    {ROW(U "," CALL("{\"id\":1,\"function\":{\"name\":\"f\",\"arguments\":\"\"}}")), LC_ERR_INVALID,
     "the \"id\" of a call"},
    {ROW(U ",{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\"}}"), LC_ERR_INVALID,
     "messages[1].function_call: the \"arguments\""},
    {ROW(U ",{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"\"},\"tool_"
           "calls\":[" F("\"\"") "]}"),
     LC_ERR_INVALID, "cannot have tool_calls as well"},
    {"{\"messages\":[" U "],\"tools\":{}}", LC_ERR_INVALID, "line 7, tools: it must be a list"},
    {"{\"messages\":[" U "],\"tools\":[1]}", LC_ERR_INVALID, "each tool must have the \"type\""},
    {"{\"messages\":[" U "],\"tools\":[{\"type\":\"function\"}]}", LC_ERR_INVALID,
     "with a \"name\""},
    {"{\"messages\":[" U "],\"functions\":[{}]}", LC_ERR_INVALID, "with a \"name\""},
    {"{\"messages\":[" U "],\"functions\":{}}", LC_ERR_INVALID, "functions: it must be a list"},
    {"{\"messages\":[" U "],\"functions\":[],\"tools\":[]}", LC_ERR_INVALID,
     "cannot have tools as well"},
    {"{\"messages\":[" U "],\"parallel_tool_calls\":1}", LC_ERR_INVALID,
     "parallel_tool_calls: it must be"},
};

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
                         "line 7, messages: more than 2048 messages");
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
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses_and_says_where),
        cmocka_unit_test(deprecated_spellings),
        cmocka_unit_test(most_messages),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
