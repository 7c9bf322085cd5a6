/*
 * The row rules: for each code a row that has it and nothing else, rows of every form that are
 * clean, limits at their edges, and random changes of good rows, whose findings must point to
 * something that is there.
 */
#include "testing.h"

#include "base/fault.h"
#include "base/json.h"
#include "data/row_rules.h"

static lc_row_checker *checker;
static lc_findings findings;
static lc_row_facts facts;

static lc_code check_bytes(lc_method method, const char *text, size_t bytes)
{
    char *exact = malloc(bytes + (bytes == 0)); /* a read beyond the line is seen */
    memcpy(exact, text, bytes);
    const lc_row_text row = {.text = exact, .bytes = bytes, .line = 7, .offset = 1000};
    lc_findings_clear(&findings);
    const lc_code code = lc_row_check(checker, &row, method, &findings, &facts, &test_err);
    free(exact);
    return code;
}

static void check(lc_method method, const char *text)
{
    assert_ok(check_bytes(method, text, strlen(text)));
}

static void print_findings(const char *row)
{
    print_error("%s\n", row);
    for (int64_t i = 0; i < findings.kept_count; i++) {
        print_error("  %s at \"%s\": %s\n", lc_finding_kinds[findings.kept[i].code].name,
                    findings.kept[i].path, findings.kept[i].message);
    }
}

static void is_clean(lc_method method, const char *row)
{
    check(method, row);
    if (findings.error_count + findings.warning_count != 0) {
        print_findings(row);
        fail();
    }
}

static void has_only(lc_method method, const char *row, lc_finding_code code, const char *path)
{
    check(method, row);
    const int64_t all = findings.error_count + findings.warning_count;
    if (findings.counts[code] != 1 || all != 1 || strcmp(findings.kept[0].path, path) != 0) {
        print_findings(row);
        fail_msg("expected %s at \"%s\"", lc_finding_kinds[code].name, path);
    }
    assert_int_equal(findings.kept[0].line, 7);
    assert_true(findings.kept[0].message[0] != '\0');
}

#define S LC_METHOD_SUPERVISED
#define D LC_METHOD_DPO
#define R LC_METHOD_REINFORCEMENT

#define U        "{\"role\":\"user\",\"content\":\"hi\"}"
#define A        "{\"role\":\"assistant\",\"content\":\"yo\"}"
#define ROW(...) "{\"messages\":[" __VA_ARGS__ "]}"
#define CALL(id, name, arguments)                                             \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name \
    "\",\"arguments\":" arguments "}}"
#define CALLS(...)             "{\"role\":\"assistant\",\"tool_calls\":[" __VA_ARGS__ "]}"
#define TOOL(id)               "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"3\"}"
#define F                      "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"
#define WITH_TOOLS(tools, ...) "{\"messages\":[" __VA_ARGS__ "],\"tools\":[" tools "]}"
#define TOOLS_ROW(tools)       WITH_TOOLS(tools, U "," A)
#define PARAMETERS(schema) \
    TOOLS_ROW("{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":" schema "}}")
#define PAIR(input, a, b) \
    "{\"input\":" input ",\"preferred_output\":" a ",\"non_preferred_output\":" b "}"
#define INPUT "{\"messages\":[" U "]}"
#define NO    "[{\"role\":\"assistant\",\"content\":\"no\"}]"

/* ---- clean ---- */

static void clean_rows(void **state)
{
    (void)state;
    static const struct {
        lc_method method;
        const char *row;
    } rows[] = {
        {S, ROW(U "," A)},
        {S, " \t{ \"messages\" : [ " U " , " A " ] } \r"},
        {S, ROW("{\"role\":\"system\",\"content\":\"\"}," U "," A)},
        {S, ROW("{\"role\":\"developer\",\"content\":\"x\"}," U "," A)},
        {S, ROW("{\"\\u0072ole\":\"us\\u0065r\",\"content\":\"x\"}," A)},
        {S, "{\"m\\u0065ssages\":[" U "," A "]}"},
        {S, ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0}," U "," A)},
        {S, ROW(U ",{\"role\":\"assistant\",\"content\":\"\",\"weight\":0}," U "," A)},
        {S, ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":1.0}")},
        {S, ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0.1e1}")},
        {S, ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":null}")},
        {S, ROW(U ",{\"role\":\"assistant\",\"content\":\"no\",\"refusal\":null}")},
        {S, ROW("{\"role\":\"user\",\"name\":\"bob\",\"content\":[{\"type\":\"text\",\"text\":\"\"}"
                "]}," A)},
        {S, WITH_TOOLS(F, U "," CALLS(CALL("1", "f", "\"{}\"")) "," TOOL("1") "," A)},
        {S, WITH_TOOLS(F, U "," CALLS(CALL("1", "f", "\"{\\\"a\\\":1}\"")))},
        {S, WITH_TOOLS(
                F, U "," CALLS(CALL("1", "f", "\"{}\"") "," CALL("2", "f", "\"[1]\"")) "," TOOL(
                       "2") "," TOOL("1") "," CALLS(CALL("1", "f", "\"{}\"")) "," TOOL("1") "," A)},
        {S, "{\"tools\":null,\"functions\":null,\"parallel_tool_calls\":false,\"messages\":[" U
            "," A "]}"},
        {S, "{\"tools\":[],\"messages\":[" U "," A "]}"},
        {S, PARAMETERS("{\"type\":\"object\",\"properties\":{\"type\":{\"type\":3}},"
                       "\"required\":[]}")},
        {S, PARAMETERS("{}")},
        {D, PAIR(INPUT, "[" A "]", NO)},
        {D, PAIR("{\"messages\":[" U "],\"tools\":[" F "],\"parallel_tool_calls\":true}",
                 "[" CALLS(CALL("1", "f", "\"{}\"")) "," TOOL("1") "," A "]", NO)},
        {D, PAIR("{\"messages\":[" U "," A "," U "]}", "[" A "]", NO)},
        {R, ROW(U)},
        {R, ROW(U "," A "," U)},
        {R, "{\"messages\":[" U "],\"answer\":{\"a\":[1,{}]},\"note\":null}"},
        {R, "{\"messages\":[{\"role\":\"developer\",\"content\":\"x\"}," U "],\"target\":5}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        is_clean(rows[i].method, rows[i].row);
    }
}

/* ---- one code each ---- */

static const struct {
    lc_finding_code code;
    lc_method method;
    const char *path, *row;
} cases[] = {
    {LC_FINDING_BLANK_LINE, S, "", ""},
    {LC_FINDING_INVALID_JSON, S, "", "{"},
    {LC_FINDING_INVALID_JSON, R, "", "{} {}"},
    {LC_FINDING_INVALID_JSON, S, "", "\xEF\xBB\xBF{}"},
    {LC_FINDING_INVALID_UTF8, S, "", "{\"a\":\"\xff\"}"},
    {LC_FINDING_NUL_CHARACTER, S, "", "{\"a\":\"\\u0000\"}"},
    {LC_FINDING_LONE_SURROGATE, D, "", "{\"a\":\"\\ud83d\"}"},
    {LC_FINDING_DUPLICATE_KEY, S, "", "{\"a\":1,\"a\":1}"},
    {LC_FINDING_NUMBER_OUT_OF_RANGE, S, "", "{\"a\":1e999}"},
    {LC_FINDING_ROW_NOT_OBJECT, S, "", "[]"},
    {LC_FINDING_ROW_NOT_OBJECT, D, "", "\"x\""},
    {LC_FINDING_ROW_NOT_OBJECT, R, "", "null"},
    {LC_FINDING_WRONG_METHOD, S, "", PAIR(INPUT, "[" A "]", NO)},
    {LC_FINDING_WRONG_METHOD, S, "", "{\"input\":{}}"},
    {LC_FINDING_WRONG_METHOD, S, "", "{\"messages\":[" U "],\"target\":1}"},
    {LC_FINDING_WRONG_METHOD, D, "", ROW(U "," A)},
    {LC_FINDING_WRONG_METHOD, D, "", "{\"messages\":[" U "],\"target\":1}"},
    {LC_FINDING_WRONG_METHOD, R, "", ROW(U "," A)},
    {LC_FINDING_WRONG_METHOD, R, "", PAIR(INPUT, "[" A "]", NO)},
    {LC_FINDING_PROMPT_COMPLETION, S, "", "{\"prompt\":\"a\",\"completion\":\"b\"}"},
    {LC_FINDING_PROMPT_COMPLETION, D, "", "{\"prompt\":\"a\",\"completion\":\"b\"}"},
    {LC_FINDING_MISSING_MESSAGES, S, "", "{}"},
    {LC_FINDING_MISSING_MESSAGES, R, "", "{\"messages\":null}"},
    {LC_FINDING_MISSING_MESSAGES, D, "input", PAIR("{}", "[" A "]", NO)},
    {LC_FINDING_BAD_MESSAGES, S, "messages", "{\"messages\":{}}"},
    {LC_FINDING_BAD_MESSAGES, D, "input.messages", PAIR("{\"messages\":1}", "[" A "]", NO)},
    {LC_FINDING_EMPTY_MESSAGES, S, "messages", "{\"messages\":[]}"},
    {LC_FINDING_UNKNOWN_KEY, S, "", "{\"messages\":[" U "," A "],\"id\":17}"},
    {LC_FINDING_UNKNOWN_KEY, S, "messages[0]",
     ROW("{\"role\":\"user\",\"content\":\"x\",\"note\":{\"a\":[1]}}," A)},
    {LC_FINDING_UNKNOWN_KEY, S, "messages[0].tool_call_id",
     ROW("{\"role\":\"user\",\"content\":\"x\",\"tool_call_id\":\"1\"}," A)},
    {LC_FINDING_UNKNOWN_KEY, S, "tools[0].function",
     TOOLS_ROW("{\"type\":\"function\",\"function\":{\"name\":\"f\",\"x\":1}}")},
    {LC_FINDING_UNKNOWN_KEY, D, "",
     "{\"id\":1,\"input\":" INPUT ",\"preferred_output\":[" A "],\"non_preferred_output\":" NO "}"},
    {LC_FINDING_UNKNOWN_KEY, D, "input", PAIR("{\"messages\":[" U "],\"x\":1}", "[" A "]", NO)},
    {LC_FINDING_MESSAGE_NOT_OBJECT, S, "messages[1]", ROW(U ",1," A)},
    {LC_FINDING_MISSING_ROLE, S, "messages[0]", ROW("{\"content\":\"x\"}," A)},
    {LC_FINDING_UNKNOWN_ROLE, S, "messages[1].role", ROW(U ",{\"role\":\"bot\",\"content\":\"\"}")},
    {LC_FINDING_UNKNOWN_ROLE, S, "messages[1].role", ROW(U ",{\"role\":1}")},
    {LC_FINDING_MISSING_CONTENT, S, "messages[0]", ROW("{\"role\":\"user\"}," A)},
    {LC_FINDING_MISSING_CONTENT, S, "messages[1]", ROW(U ",{\"role\":\"assistant\"}")},
    {LC_FINDING_MISSING_CONTENT, R, "messages[0]", ROW("{\"role\":\"user\",\"content\":null}")},
    {LC_FINDING_BAD_CONTENT, S, "messages[0].content", ROW("{\"role\":\"user\",\"content\":5}," A)},
    {LC_FINDING_BAD_CONTENT, S, "messages[0].content",
     ROW("{\"role\":\"user\",\"content\":[]}," A)},
    {LC_FINDING_BAD_CONTENT_PART, S, "messages[0].content[0]",
     ROW("{\"role\":\"user\",\"content\":[\"a\"]}," A)},
    {LC_FINDING_BAD_CONTENT_PART, S, "messages[0].content[0]",
     ROW("{\"role\":\"user\",\"content\":[{\"text\":\"a\"}]}," A)},
    {LC_FINDING_BAD_CONTENT_PART, S, "messages[0].content[1].text",
     ROW("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
         "\"text\":3}]}," A)},
    {LC_FINDING_IMAGE_UNSUPPORTED, S, "messages[0].content[0].type",
     ROW("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}]}"
         "," A)},
    {LC_FINDING_PART_UNSUPPORTED, S, "messages[0].content[0].type",
     ROW("{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}," A)},
    {LC_FINDING_BAD_CONTENT, S, "messages[1].refusal",
     ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"refusal\":5}")},
    {LC_FINDING_EMPTY_ANSWER, S, "messages[1].refusal",
     ROW(U ",{\"role\":\"assistant\",\"refusal\":\"no\"}")},
    {LC_FINDING_EMPTY_ANSWER, S, "messages[1].refusal",
     ROW(U ",{\"role\":\"assistant\",\"content\":\"\",\"refusal\":\"no\"}")},
    {LC_FINDING_EMPTY_ANSWER, S, "messages[1].content",
     ROW(U ",{\"role\":\"assistant\",\"content\":\"\"}")},
    {LC_FINDING_BAD_WEIGHT, S, "messages[1].weight",
     ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0.5}")},
    {LC_FINDING_BAD_WEIGHT, S, "messages[1].weight",
     ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":true}")},
    {LC_FINDING_BAD_WEIGHT, S, "messages[1].weight",
     ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":\"1\"}")},
    {LC_FINDING_WEIGHT_ON_OTHER_ROLE, S, "messages[0].weight",
     ROW("{\"role\":\"user\",\"content\":\"x\",\"weight\":1}," A)},
    {LC_FINDING_BAD_NAME, S, "messages[0].name",
     ROW("{\"role\":\"user\",\"content\":\"x\",\"name\":1}," A)},
    {LC_FINDING_ODD_NAME, S, "messages[0].name",
     ROW("{\"role\":\"user\",\"content\":\"x\",\"name\":\"a b\"}," A)},
    {LC_FINDING_SYSTEM_NOT_FIRST, S, "messages[1].role",
     ROW(U ",{\"role\":\"system\",\"content\":\"x\"}," A)},
    {LC_FINDING_REPEATED_SYSTEM, S, "messages[1].role",
     ROW("{\"role\":\"system\",\"content\":\"x\"},{\"role\":\"developer\",\"content\":\"x\"}," U
         "," A)},
    {LC_FINDING_STARTS_WITH_ASSISTANT, S, "messages[0].role", ROW(A)},
    {LC_FINDING_LAST_NOT_ASSISTANT, S, "messages", ROW(U "," A "," U)},
    {LC_FINDING_NO_TRAINED_MESSAGE, S, "messages", ROW(U)},
    {LC_FINDING_NO_TRAINED_MESSAGE, S, "messages",
     ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"weight\":0}")},
    {LC_FINDING_BAD_TOOLS, S, "tools", "{\"messages\":[" U "," A "],\"tools\":{}}"},
    {LC_FINDING_BAD_TOOL, S, "tools[0]", TOOLS_ROW("1")},
    {LC_FINDING_BAD_TOOL, S, "tools[0]", TOOLS_ROW("{\"function\":{\"name\":\"f\"}}")},
    {LC_FINDING_BAD_TOOL, S, "tools[0]", TOOLS_ROW("{\"type\":\"function\"}")},
    {LC_FINDING_BAD_TOOL, S, "tools[0].type", TOOLS_ROW("{\"type\":\"x\"}")},
    {LC_FINDING_BAD_TOOL, S, "tools[0].function.description",
     TOOLS_ROW("{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":1}}")},
    {LC_FINDING_BAD_TOOL, S, "tools[0].function.strict",
     TOOLS_ROW("{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":1}}")},
    {LC_FINDING_BAD_FUNCTION_NAME, S, "tools[0].function",
     TOOLS_ROW("{\"type\":\"function\",\"function\":{}}")},
    {LC_FINDING_BAD_FUNCTION_NAME, S, "tools[0].function.name",
     TOOLS_ROW("{\"type\":\"function\",\"function\":{\"name\":\"a.b\"}}")},
    {LC_FINDING_BAD_FUNCTION_NAME, S, "messages[1].tool_calls[0].function.name",
     ROW(U "," CALLS(CALL("1", "", "\"{}\"")))},
    {LC_FINDING_DUPLICATE_TOOL, S, "tools[1].function.name", TOOLS_ROW(F "," F)},
    {LC_FINDING_BAD_PARAMETERS, S, "tools[0].function.parameters", PARAMETERS("[]")},
    {LC_FINDING_BAD_PARAMETERS, S, "tools[0].function.parameters.type",
     PARAMETERS("{\"type\":\"string\"}")},
    {LC_FINDING_BAD_PARAMETERS, S, "tools[0].function.parameters.properties",
     PARAMETERS("{\"properties\":[]}")},
    {LC_FINDING_BAD_PARAMETERS, S, "tools[0].function.parameters.required",
     PARAMETERS("{\"required\":\"a\"}")},
    {LC_FINDING_BAD_PARALLEL_TOOL_CALLS, S, "parallel_tool_calls",
     "{\"messages\":[" U "," A "],\"parallel_tool_calls\":1}"},
    {LC_FINDING_FUNCTIONS_WITH_TOOLS, S, "functions",
     "{\"messages\":[" U "," A "],\"functions\":[],\"tools\":[]}"},
    {LC_FINDING_DEPRECATED_FUNCTIONS, S, "functions",
     "{\"messages\":[" U "," A "],\"functions\":[{\"name\":\"f\"}]}"},
    {LC_FINDING_DEPRECATED_FUNCTION_CALL, S, "messages[1].function_call",
     WITH_TOOLS(F, U ",{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":"
                     "\"{}\"}}")},
    {LC_FINDING_DEPRECATED_FUNCTION_ROLE, S, "messages[1].role",
     ROW(U ",{\"role\":\"function\",\"name\":\"f\",\"content\":\"x\"}," A)},
    {LC_FINDING_BAD_TOOL_CALLS, S, "messages[1].tool_calls",
     ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":{}}")},
    {LC_FINDING_EMPTY_TOOL_CALLS, S, "messages[1].tool_calls",
     ROW(U ",{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[]}")},
    {LC_FINDING_FUNCTION_CALL_WITH_TOOL_CALLS, S, "messages[1].function_call",
     WITH_TOOLS(F, U ",{\"role\":\"assistant\",\"function_call\":{},\"tool_calls\":[" CALL(
                       "1", "f", "\"{}\"") "]}")},
    {LC_FINDING_CALLS_ON_OTHER_ROLE, S, "messages[0].tool_calls",
     ROW("{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":[]}," A)},
    {LC_FINDING_BAD_TOOL_CALL, S, "messages[1].tool_calls[0]", ROW(U "," CALLS("3"))},
    {LC_FINDING_BAD_TOOL_CALL, S, "messages[1].tool_calls[0]",
     ROW(U "," CALLS("{\"id\":\"1\",\"type\":\"function\"}"))},
    {LC_FINDING_BAD_TOOL_CALL, S, "messages[1].tool_calls[0].type",
     WITH_TOOLS(F, U "," CALLS("{\"id\":\"1\",\"type\":\"x\",\"function\":{\"name\":\"f\","
                               "\"arguments\":\"{}\"}}"))},
    {LC_FINDING_BAD_CALL_ID, S, "messages[1].tool_calls[0]",
     WITH_TOOLS(F, U "," CALLS("{\"type\":\"function\",\"function\":{\"name\":\"f\","
                               "\"arguments\":\"{}\"}}"))},
    {LC_FINDING_BAD_CALL_ID, S, "messages[1].tool_calls[0].id",
     WITH_TOOLS(F, U "," CALLS(CALL("", "f", "\"{}\"")))},
    {LC_FINDING_DUPLICATE_CALL_ID, S, "messages[1].tool_calls[1].id",
     WITH_TOOLS(F, U "," CALLS(CALL("1", "f", "\"{}\"") "," CALL("1", "f", "\"{}\"")))},
    {LC_FINDING_BAD_ARGUMENTS, S, "messages[1].tool_calls[0].function.arguments",
     WITH_TOOLS(F, U "," CALLS(CALL("1", "f", "\"\"")))},
    {LC_FINDING_BAD_ARGUMENTS, S, "messages[1].tool_calls[0].function.arguments",
     WITH_TOOLS(F, U "," CALLS(CALL("1", "f", "\"{\\\"a\\\":}\"")))},
    {LC_FINDING_BAD_ARGUMENTS, S, "messages[1].tool_calls[0].function.arguments",
     WITH_TOOLS(F, U "," CALLS(CALL("1", "f", "[1]")))},
    {LC_FINDING_ARGUMENTS_NOT_TEXT, S, "messages[1].tool_calls[0].function.arguments",
     WITH_TOOLS(F, U "," CALLS(CALL("1", "f", "{\"a\":1}")))},
    {LC_FINDING_UNDECLARED_TOOL, S, "messages[1].tool_calls[0].function.name",
     WITH_TOOLS(F, U "," CALLS(CALL("1", "g", "\"{}\"")))},
    {LC_FINDING_UNDECLARED_TOOL, S, "messages[1].tool_calls[0].function.name",
     ROW(U "," CALLS(CALL("1", "f", "\"{}\"")))},
    {LC_FINDING_UNANSWERED_CALL, S, "messages[1].tool_calls",
     WITH_TOOLS(F, U "," CALLS(CALL("1", "f", "\"{}\"") "," CALL("2", "f", "\"{}\"")) "," TOOL(
                       "2") "," A)},
    {LC_FINDING_UNANSWERED_CALL, D, "preferred_output[0].tool_calls",
     PAIR("{\"messages\":[" U "],\"tools\":[" F "]}", "[" CALLS(CALL("1", "f", "\"{}\"")) "," A "]",
          NO)},
    {LC_FINDING_BAD_TOOL_CALL_ID, S, "messages[1]",
     ROW(U ",{\"role\":\"tool\",\"content\":\"x\"}," A)},
    {LC_FINDING_BAD_TOOL_CALL_ID, S, "messages[1].tool_call_id",
     ROW(U ",{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":1}," A)},
    {LC_FINDING_UNKNOWN_TOOL_CALL_ID, S, "messages[1].tool_call_id", ROW(U "," TOOL("1") "," A)},
    {LC_FINDING_UNKNOWN_TOOL_CALL_ID, S, "messages[2].tool_call_id",
     WITH_TOOLS(F, U "," A "," TOOL("1") "," CALLS(CALL("1", "f", "\"{}\"")))},
    {LC_FINDING_MISSING_INPUT, D, "",
     "{\"preferred_output\":[" A "],\"non_preferred_output\":" NO "}"},
    {LC_FINDING_MISSING_INPUT, D, "input", PAIR("[]", "[" A "]", NO)},
    {LC_FINDING_MISSING_OUTPUT, D, "", "{\"input\":" INPUT ",\"preferred_output\":[" A "]}"},
    {LC_FINDING_BAD_OUTPUT, D, "preferred_output", PAIR(INPUT, "\"yes\"", NO)},
    {LC_FINDING_BAD_OUTPUT, D, "non_preferred_output", PAIR(INPUT, "[" A "]", "[]")},
    {LC_FINDING_OUTPUT_ROLE, D, "preferred_output[0].role", PAIR(INPUT, "[" U "," A "]", NO)},
    {LC_FINDING_OUTPUT_WITHOUT_ASSISTANT, D, "preferred_output",
     PAIR("{\"tools\":[" F "],\"messages\":[" U "," CALLS(CALL("1", "f", "\"{}\"")) "]}",
          "[" TOOL("1") "]", NO)},
    {LC_FINDING_IDENTICAL_OUTPUTS, D, "non_preferred_output",
     PAIR(INPUT, "[" A "]", "[ {\"role\": \"assistant\", \"content\":\"yo\"}]")},
    {LC_FINDING_LAST_NOT_USER, R, "messages", "{\"messages\":[" U "," A "],\"target\":1}"},
};

static void one_code_each(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        has_only(cases[i].method, cases[i].row, cases[i].code, cases[i].path);
    }
    assert_ok(check_bytes(S, "{\"a\":\"\0\"}", 9));
    assert_int_equal(findings.counts[LC_FINDING_NUL_CHARACTER], 1);
}

/* What no single short row has: here or in file_check_test.c. */
static void every_code_has_a_test(void **state)
{
    (void)state;
    static const lc_finding_code others[] = {
        LC_FINDING_FILE_UNREADABLE,  LC_FINDING_FILE_TOO_LARGE,       LC_FINDING_UTF16,
        LC_FINDING_TOO_FEW_EXAMPLES, LC_FINDING_TOO_MANY_TOKENS,      LC_FINDING_DUPLICATE_ROW,
        LC_FINDING_LINE_TOO_LONG,    LC_FINDING_TOO_MANY_VALUES,      LC_FINDING_TOO_MANY_MESSAGES,
        LC_FINDING_TOO_MANY_TOOLS,   LC_FINDING_NESTED_TOO_DEEP,      LC_FINDING_TEMPLATE_REFUSED,
        LC_FINDING_NO_TRAINED_TOKEN, LC_FINDING_TRAINED_PART_CUT_OFF, LC_FINDING_ROW_TRUNCATED};
    bool is_tested[LC_FINDING_COUNT] = {false};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        is_tested[cases[i].code] = true;
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(is_tested[others[i]]);
        is_tested[others[i]] = true;
    }
    for (int code = 0; code < LC_FINDING_COUNT; code++) {
        if (!is_tested[code]) {
            fail_msg("no test of %s", lc_finding_kinds[code].name);
        }
        for (int other = 0; other < code; other++) {
            assert_string_not_equal(lc_finding_kinds[code].name, lc_finding_kinds[other].name);
        }
        assert_true(strspn(lc_finding_kinds[code].name, "abcdefghijklmnopqrstuvwxyz_0123456789") ==
                    strlen(lc_finding_kinds[code].name));
    }
}

/* All problems of one row at once. */
static void all_of_a_row(void **state)
{
    (void)state;
    check(S, "{\"messages\":[{\"role\":\"bot\"},{\"role\":\"user\",\"weight\":2},3,"
             "{\"role\":\"assistant\",\"content\":7,\"weight\":\"x\",\"name\":[]}],\"tools\":5,"
             "\"odd\":1}");
    static const lc_finding_code expected[] = {
        LC_FINDING_UNKNOWN_ROLE,       LC_FINDING_MISSING_CONTENT,
        LC_FINDING_BAD_CONTENT,        LC_FINDING_WEIGHT_ON_OTHER_ROLE,
        LC_FINDING_MESSAGE_NOT_OBJECT, LC_FINDING_BAD_WEIGHT,
        LC_FINDING_BAD_NAME,           LC_FINDING_BAD_TOOLS,
        LC_FINDING_UNKNOWN_KEY};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(findings.counts[expected[i]], 1);
    }
    assert_int_equal(findings.error_count, 8);
    assert_int_equal(findings.warning_count, 1);
    assert_int_equal(facts.messages_of[LC_ROLE_USER], 1);
    assert_int_equal(facts.messages_of[LC_ROLE_ASSISTANT], 1);
}

/* ---- limits ---- */

static char *repeat(const char *before, const char *item, size_t count, const char *after)
{
    const size_t bytes = strlen(before) + count * (strlen(item) + 1) + strlen(after) + 1;
    char *text = malloc(bytes);
    size_t used = (size_t)snprintf(text, bytes, "%s", before);
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(text + used, bytes - used, "%s%s", i > 0 ? "," : "", item);
    }
    (void)snprintf(text + used, bytes - used, "%s", after);
    return text;
}

static void limits(void **state)
{
    (void)state;
    for (int extra = -1; extra <= 1; extra++) {
        char *text = repeat("{\"messages\":[", A, (size_t)(LC_MAX_MESSAGES + extra), "]}");
        check(S, text);
        assert_int_equal(findings.counts[LC_FINDING_TOO_MANY_MESSAGES], extra > 0);
        assert_int_equal(findings.error_count, extra > 0);
        free(text);
        text = repeat("{\"messages\":[" U "," A "],\"tools\":[", F, (size_t)(LC_MAX_TOOLS + extra),
                      "]}");
        check(S, text);
        assert_int_equal(findings.counts[LC_FINDING_TOO_MANY_TOOLS], extra > 0);
        assert_int_equal(findings.error_count, extra > 0);
        free(text);
        char name[LC_MAX_FUNCTION_NAME + 2] = "", row[512];
        memset(name, 'n', (size_t)(LC_MAX_FUNCTION_NAME + extra));
        (void)snprintf(row, sizeof row,
                       "{\"messages\":[" U "," A "],\"tools\":[{\"type\":\"function\","
                       "\"function\":{\"name\":\"%s\"}}]}",
                       name);
        check(S, row);
        assert_int_equal(findings.counts[LC_FINDING_BAD_FUNCTION_NAME], extra > 0);
        const size_t depth = (size_t)(64 + extra); /* the row itself is one */
        text = malloc(2 * depth + 16);
        memset(text, '[', depth - 1);
        memset(text + depth - 1, ']', depth - 1);
        text[2 * (depth - 1)] = '\0';
        (void)snprintf(row, sizeof row, "{\"messages\":[" U "," A "],\"x\":%s}", text);
        check(S, row);
        assert_int_equal(findings.counts[LC_FINDING_NESTED_TOO_DEEP], extra > 0);
        assert_int_equal(findings.error_count, extra > 0);
        free(text);
        /* the row, "messages" and its list stand on the tape too */
        text = repeat("{\"messages\":[", "0", (((size_t)1 << 20) - 3) + (size_t)extra, "]}");
        check(S, text);
        assert_int_equal(findings.counts[LC_FINDING_TOO_MANY_VALUES], extra > 0);
        assert_int_equal(findings.counts[LC_FINDING_TOO_MANY_MESSAGES], extra <= 0);
        free(text);
    }
    /* What is the user's own does not count. */
    char *text = repeat("{\"messages\":[" U "," A "],\"x\":[", "0", (size_t)2 << 20, "]}");
    check(S, text);
    assert_int_equal(findings.error_count, 0);
    free(text);
}

/* Counts stay exact when words are no longer made; those made are the first. */
static void most_are_counted_only(void **state)
{
    (void)state;
    char *text = repeat("{\"messages\":[", "{\"role\":\"x\"}", 1000, "]}");
    check(S, text);
    assert_int_equal(findings.counts[LC_FINDING_UNKNOWN_ROLE], 1000);
    assert_int_equal(findings.error_count, 1000);
    assert_int_equal(findings.kept_count, LC_MAX_FINDINGS_KEPT);
    for (int i = 0; i < LC_MAX_FINDINGS_KEPT; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "messages[%d].role", i);
        assert_string_equal(findings.kept[i].path, path);
    }
    free(text);
}

/* JSON that is not taken all the same is told why. */
static void says_what_is_wrong_with_arguments(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } texts[] = {
        {"\"{\\\"a\\\":1,\\\"a\\\":2}\"", "column 8: duplicate key \"a\""},
        {"\"{\\\"a\\\":1e999}\"", "column 6: number 1e999 is out of range"},
        {"\"{\\\"a\\\":NaN}\"", "column 6: expected a value, found 'N'"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *row =
            repeat("{\"messages\":[" U ",{\"role\":\"assistant\",\"tool_calls\":[{\"id\":"
                   "\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":",
                   texts[i].text, 1, "}}]}],\"tools\":[" F "]}");
        check(S, row);
        assert_int_equal(findings.counts[LC_FINDING_BAD_ARGUMENTS], 1);
        assert_non_null(strstr(findings.kept[0].message, texts[i].reason));
        free(row);
    }
}

/* Bytes that a terminal would obey do not reach it. */
static void shows_no_controls(void **state)
{
    (void)state;
    check(S, ROW("{\"role\":\"a\xc2\x9b\x7f\\u001b[1m\",\"content\":\"x\"}," A));
    assert_non_null(strstr(findings.kept[0].message, "\"a???\\u001b[1m\""));
    check(S,
          ROW("{\"role\":\"0123456789012345678901234567890123456789012345678901234567\xe2\x82\xac"
              "99\",\"content\":\"x\"}," A));
    assert_non_null(strstr(findings.kept[0].message, "34567...\""));
}

/* ---- random changes ---- */

/* Walks a path such as messages[2].tool_calls[0].id; NULL: nothing is there. */
static const cJSON *resolve(const cJSON *row, const char *path)
{
    const cJSON *at = row;
    while (*path != '\0' && at != NULL) {
        if (*path == '[') {
            char *end;
            const long index = strtol(path + 1, &end, 10);
            at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, (int)index) : NULL;
            path = end + 1;
        } else {
            char key[64] = "";
            path += *path == '.';
            const size_t length = strcspn(path, ".[");
            memcpy(key, path, length);
            at = cJSON_GetObjectItemCaseSensitive(at, key);
            path += length;
        }
    }
    return at;
}

static void change(char *text, size_t *bytes, size_t capacity)
{
    static const char *const words[] = {
        "null",          "0",        "\"\"", "[]", "{}", "\"role\":", "\"user\"",
        "\"assistant\"", "\"tool\"", ",",    "]",  "}",  "true",      "\"content\":\"\",",
        "\"weight\":1,", "\\",       "\"1\""};
    const size_t at = (size_t)test_int(0, (int64_t)*bytes - 1);
    const char *word = words[test_int(0, 16)];
    const size_t length = strlen(word);
    switch (test_int(0, 4)) {
    case 0: /* a word in */
        if (*bytes + length < capacity) {
            memmove(text + at + length, text + at, *bytes - at);
            memcpy(text + at, word, length);
            *bytes += length;
        }
        break;
    case 1: { /* a piece out */
        const size_t piece = (size_t)test_int(1, 12);
        const size_t gone = piece < *bytes - at ? piece : *bytes - at - 1;
        memmove(text + at, text + at + gone, *bytes - at - gone);
        *bytes -= gone;
        break;
    }
    case 2: /* a value for another */
        for (size_t i = at; i + 1 < *bytes; i++) {
            if (text[i] == ':' && *bytes + length < capacity) {
                const size_t end = i + 1 + strcspn(text + i + 1, ",}");
                if (end < *bytes) {
                    memmove(text + i + 1 + length, text + end, *bytes - end);
                    memcpy(text + i + 1, word, length);
                    *bytes += length - (end - i - 1);
                    text[*bytes] = '\0';
                }
                break;
            }
        }
        break;
    default:
        text[at] = (char)test_int(1, 255);
        break;
    }
    text[*bytes] = '\0';
}

static void random_changes(void **state)
{
    (void)state;
    static const char *const rows[] = {
        ROW("{\"role\":\"system\",\"content\":\"s\"}," U "," A),
        WITH_TOOLS(F, U "," CALLS(CALL("1", "f", "\"{\\\"a\\\":1}\"") "," CALL(
                          "2", "f", "\"{}\"")) "," TOOL("1") "," TOOL("2") "," A),
        "{\"functions\":[{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}],\"messages\":[" U
        ",{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
        "{\"role\":\"function\",\"name\":\"f\",\"content\":\"1\"}," A "]}",
        PAIR("{\"messages\":[" U "],\"tools\":[" F "]}", "[" A "]",
             "[" CALLS(CALL("1", "f", "\"{}\"")) "," TOOL("1") "," A "]"),
        "{\"messages\":[" U "],\"target\":[1,2,{\"a\":null}]}",
    };
    int64_t parsed = 0, faulty = 0;
    for (int round = 0; round < 60000; round++) {
        char text[2048];
        size_t bytes = (size_t)snprintf(text, sizeof text, "%s", rows[test_int(0, 4)]);
        for (int64_t i = test_int(1, 4); i > 0; i--) {
            change(text, &bytes, sizeof text - 1);
        }
        lc_err ignored = {.code = LC_OK};
        cJSON *row = NULL;
        const bool is_json =
            lc_json_parse(text, bytes, LC_JSON_DEFAULT, "row", &row, &ignored) == LC_OK;
        assert_ok(check_bytes((lc_method)test_int(0, 2), text, bytes));
        parsed += is_json;
        faulty += findings.kept_count;
        for (int64_t i = 0; i < findings.kept_count; i++) {
            const lc_finding *finding = &findings.kept[i];
            assert_int_equal(finding->line, 7);
            if (is_json ? resolve(row, finding->path) == NULL : finding->path[0] != '\0') {
                print_findings(text);
                fail_msg("\"%s\" is not there", finding->path);
            }
        }
        assert_true(is_json || findings.error_count == 1);
        cJSON_Delete(row);
    }
    assert_true(parsed > 5000 && faulty > 20000);
}

static void survives_faults(void **state)
{
    (void)state;
    static const char row[] = WITH_TOOLS(
        F, U "," CALLS(CALL("\\u0031", "f", "\"{\\\"a\\\":1}\"")) "," TOOL("1") "," A ",{}");
    int64_t at = 1;
    for (lc_code code = LC_ERR_MEMORY; code != LC_OK; at++) {
        lc_row_checker *fresh = NULL;
        lc_findings found = {0};
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        const lc_row_text text = {.text = row, .bytes = sizeof row - 1, .line = 1, .offset = -1};
        code = lc_row_checker_open(&fresh, &test_err);
        if (code == LC_OK) {
            code = lc_row_check(fresh, &text, S, &found, &facts, &test_err);
        }
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        assert_true(code == LC_OK || code == LC_ERR_MEMORY);
        assert_true(code != LC_OK || found.error_count == 1);
        lc_findings_release(&found);
        lc_row_checker_close(fresh);
    }
    assert_true(at > 6);
}

static int open_checker(void **state)
{
    (void)state;
    return lc_row_checker_open(&checker, &test_err) == LC_OK ? 0 : -1;
}

static int close_checker(void **state)
{
    (void)state;
    lc_row_checker_close(checker);
    lc_findings_release(&findings);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_rows),
        cmocka_unit_test(one_code_each),
        cmocka_unit_test(every_code_has_a_test),
        cmocka_unit_test(all_of_a_row),
        cmocka_unit_test(limits),
        cmocka_unit_test(most_are_counted_only),
        cmocka_unit_test(says_what_is_wrong_with_arguments),
        cmocka_unit_test(shows_no_controls),
        cmocka_unit_test(random_changes),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, open_checker, close_checker);
}
