/* The shipped chat template: what transformers renders (5.24, Jinja2 3.1.6), spans, numbers,
 * refusals. */
#include "testing.h"

#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "lorac/mem.h"
#include "text/number_spelling.h"
#include "text/template.h"

#define MODEL LC_SOURCE_DIR "/models/sprout-3m"

static lc_chat_template *chat_template;

static int load(void **state)
{
    (void)state;
    return lc_chat_template_load(MODEL, &chat_template, &test_err) == LC_OK ? 0 : -1;
}

static lc_code render(const cJSON *messages, const cJSON *tools, bool prompt, lc_rendered *out)
{
    const lc_template_args args = {
        .messages = messages, .tools = tools, .add_generation_prompt = prompt, .with_spans = true};
    return lc_chat_template_render(chat_template, &args, out, &test_err);
}

static int unload(void **state)
{
    (void)state;
    lc_chat_template_free(chat_template);
    return 0;
}

static cJSON *parse(const char *text)
{
    cJSON *root = NULL;
    if (text != NULL) {
        assert_ok(lc_json_parse(text, strlen(text), LC_JSON_DEFAULT, "test", &root, &test_err));
        assert_ok(lc_json_keep_spelling(root, text, strlen(text), &test_err));
    }
    return root;
}

/* messages, tools, text without the generation prompt */
static const struct {
    const char *messages, *tools, *text;
} golden[] = {
    {"[{\"role\":\"user\",\"content\":\"Hi\"}]", NULL,
     "<|im_start|>user\n"
     "Hi<|im_end|>\n"},
    {"[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content"
     "\":\"a\\nb\"},{\"role\":\"assistant\",\"content\":\"c \\u00e9\"},{\"role"
     "\":\"user\",\"content\":\"\"},{\"role\":\"assistant\",\"content\":\"d\"}]",
     NULL,
     "<|im_start|>system\n"
     "S<|im_end|>\n"
     "<|im_start|>user\n"
     "a\n"
     "b<|im_end|>\n"
     "<|im_start|>assistant\n"
     "c \xc3\xa9<|im_end|>\n"
     "<|im_start|>user\n"
     "<|im_end|>\n"
     "<|im_start|>assistant\n"
     "d<|im_end|>\n"},
    {"[]", NULL, ""},
    {"[]", "[]", ""},
    {"[{\"role\":\"assistant\",\"content\":null},{\"role\":\"assistant\"},{\"role"
     "\":\"assistant\",\"content\":[]},{\"role\":\"assistant\",\"content\":0},{\"role"
     "\":\"assistant\",\"content\":false}]",
     NULL,
     "<|im_start|>assistant\n"
     "<|im_end|>\n"
     "<|im_start|>assistant\n"
     "<|im_end|>\n"
     "<|im_start|>assistant\n"
     "<|im_end|>\n"
     "<|im_start|>assistant\n"
     "<|im_end|>\n"
     "<|im_start|>assistant\n"
     "<|im_end|>\n"},
    {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type"
     "\":\"text\",\"text\":\"b{{ c }}\"},{\"type\":\"text\"}]}]",
     NULL,
     "<|im_start|>user\n"
     "ab{{ c }}<|im_end|>\n"},
    {"[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{\"function\":{\"nam"
     "e\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}},{\"function\":{\"name"
     "\":\"g\",\"arguments\":{\"b\":[1,2.5,null,true,{\"c\":\"\\u00fc\\n\\\"<&>'\"}],"
     "\"a\":{}}}}]}]",
     NULL,
     "<|im_start|>assistant\n"
     "x<tool_call>f\n"
     "{\"a\": 1}</tool_call><tool_call>g\n"
     "{\"b\": [1, 2.5, null, true, {\"c\": \"\xc3\xbc\\n\\\"<&>'\"}], \"a\": {}}</too"
     "l_call><|im_end|>\n"},
    {"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"argume"
     "nts\":null}},{\"function\":{\"name\":\"g\",\"arguments\":7}}]},{\"role\":\"tool"
     "\",\"content\":\"3\"}]",
     NULL,
     "<|im_start|>assistant\n"
     "<tool_call>f\n"
     "null</tool_call><tool_call>g\n"
     "7</tool_call><|im_end|>\n"
     "<|im_start|>tool\n"
     "3<|im_end|>\n"},
    {"[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[]},{\"role\":\"assis"
     "tant\",\"content\":\"y\",\"tool_calls\":null}]",
     NULL,
     "<|im_start|>assistant\n"
     "x<|im_end|>\n"
     "<|im_start|>assistant\n"
     "y<|im_end|>\n"},
    {"[{\"role\":\"user\",\"content\":\"go\"}]",
     "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"z\":1,"
     "\"a\":[1.0,-0,-0.0,1e5,1e16,1E22,0.1,1e-5,12345678901234567890,9007199254740993"
     ",-9007199254740993,100.0,123456789012345680.0,2.50,-7]}}},{\"k\":\"\\u2028"
     "\\u007f\\u0001\\ud83c\\udf89\\/\"}]",
     "<|im_start|>tools\n"
     "{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {"
     "\"z\": 1, \"a\": [1.0, 0, -0.0, 100000.0, 1e+16, 1e+22, 0.1, 1e-05, 12345678901"
     "234567890, 9007199254740993, -9007199254740993, 100.0, 1.2345678901234568e+17, "
     "2.5, -7]}}}\n"
     "{\"k\": \"\xe2\x80\xa8"
     "\x7f\\u0001\xf0\x9f\x8e\x89/\"}\n"
     "<|im_end|>\n"
     "<|im_start|>user\n"
     "go<|im_end|>\n"},
    {"[{\"role\":\"<|im_end|>\",\"content\":\"<|im_start|>\"}]", NULL,
     "<|im_start|><|im_end|>\n"
     "<|im_start|><|im_end|>\n"},
};

static void renders_as_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        cJSON *messages = parse(golden[i].messages), *tools = parse(golden[i].tools);
        lc_rendered plain, prompt;
        assert_ok(render(messages, tools, false, &plain));
        assert_string_equal(plain.text, golden[i].text);
        assert_int_equal(plain.bytes, strlen(golden[i].text));
        assert_ok(render(messages, tools, true, &prompt));
        assert_int_equal(strncmp(prompt.text, plain.text, plain.bytes), 0);
        assert_string_equal(prompt.text + plain.bytes, "<|im_start|>assistant\n");
        lc_rendered_release(&plain);
        lc_rendered_release(&prompt);
        cJSON_Delete(messages);
        cJSON_Delete(tools);
    }
}

static void spans(void **state)
{
    (void)state;
    cJSON *messages = parse(
        "[{\"role\":\"assistant\",\"content\":\"one\"},{\"role\":\"user\",\"content\":"
        "\"two\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":"
        "{\"name\":\"f\",\"arguments\":\"x\"}}]},{\"role\":\"assistant2\",\"content\":\"\"}]");
    static const char *const expected[] = {"one<|im_end|>",
                                           "<tool_call>f\nx</tool_call><|im_end|>"};
    static const size_t places[] = {0, 2};
    lc_rendered rendered;
    assert_ok(render(messages, NULL, false, &rendered));
    assert_int_equal(rendered.span_count, 2);
    for (size_t i = 0; i < 2; i++) {
        const lc_span span = rendered.spans[i];
        assert_int_equal(span.message, places[i]);
        assert_int_equal(span.end - span.begin, strlen(expected[i]));
        assert_int_equal(strncmp(rendered.text + span.begin, expected[i], strlen(expected[i])), 0);
        assert_int_equal(strncmp(rendered.text + span.begin - 10, "assistant\n", 10), 0);
        assert_int_equal(rendered.text[span.end], '\n');
    }
    lc_rendered_release(&rendered);
    assert_null(rendered.text);
    cJSON_Delete(messages);
}

static void refuses_what_jinja_cannot(void **state)
{
    (void)state;
    static const struct {
        const char *messages, *tools, *message;
    } cases[] = {
        {"{}", NULL, "messages is not a list"},
        {"[1]", NULL, "chat_template.jinja, line 9: 'int object' has no attribute 'role'"},
        {"[{\"content\":\"x\"}]", NULL, "line 9: 'dict object' has no attribute 'role'"},
        {"[{\"role\":null}]", NULL, "line 9: 'dict object' has no attribute 'role'"},
        {"[{\"role\":\"user\",\"content\":5}]", NULL, "line 13: 'int' object is not iterable"},
        {"[{\"role\":\"user\",\"content\":true}]", NULL, "'bool' object is not iterable"},
        {"[{\"role\":\"a\"},{\"role\":\"user\",\"tool_calls\":5}]", NULL,
         "line 17: 'int' object is not iterable"},
        {"[{\"role\":\"user\",\"tool_calls\":[{}]}]", NULL,
         "line 18: 'dict object' has no attribute 'function'"},
        {"[{\"role\":\"user\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]}]", NULL,
         "line 22: Object of type Undefined is not JSON serializable"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *messages = parse(cases[i].messages), *tools = parse(cases[i].tools);
        lc_rendered rendered;
        assert_fails(render(messages, tools, false, &rendered), LC_ERR_INVALID, cases[i].message);
        assert_null(rendered.text);
        cJSON_Delete(messages);
        cJSON_Delete(tools);
    }
}

/* Numbers in any nesting get the spelling of Python, and only they. */
static void numbers_keep_their_spelling(void **state)
{
    (void)state;
    static const char text[] =
        "{\"1\": \"-2.0\\\\\", \"b\": [[], {}, [{\"c\": 3.0}], 4, -0], \"d\": "
        "{\"e\\\"5\": 6e0, \"f\": 1e400x}}";
    char fine[sizeof text];
    (void)snprintf(fine, sizeof fine, "%s", text);
    *strstr(fine, "e400x") = '\0';
    lc_text whole, again;
    lc_text_init(&whole);
    lc_text_addf(&whole, "%s.50}}", fine);
    cJSON *root = parse(whole.data);
    lc_text_init(&again);
    lc_text_add_json(&again, root, true);
    assert_string_equal(again.data,
                        "{\"1\": \"-2.0\\\\\", \"b\": [[], {}, [{\"c\": 3.0}], 4, 0], \"d\": "
                        "{\"e\\\"5\": 6.0, \"f\": 1.5}}");
    cJSON_Delete(root);
    lc_text_release(&whole);
    lc_text_release(&again);
    root = parse("12345678901234567890123");
    assert_string_equal(root->valuestring, "12345678901234567890123");
    cJSON_Delete(root);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(dir, name, path, &test_err));
    test_write_file(path, text, strlen(text));
}

/* Renders "[]" with what is found in `dir`. */
static void assert_finds(const char *dir, const char *tools, const char *expected)
{
    lc_chat_template *found = NULL;
    lc_rendered rendered;
    cJSON *messages = parse("[]"), *list = parse(tools);
    const lc_template_args args = {.messages = messages, .tools = list};
    assert_ok(lc_chat_template_load(dir, &found, &test_err));
    assert_ok(lc_chat_template_render(found, &args, &rendered, &test_err));
    assert_string_equal(rendered.text, expected);
    lc_rendered_release(&rendered);
    lc_chat_template_free(found);
    cJSON_Delete(messages);
    cJSON_Delete(list);
}

static void finds_the_template(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char more[LC_MAX_PATH_BYTES];
    lc_chat_template *found = NULL;
    assert_fails(lc_chat_template_load(dir, &found, &test_err), LC_ERR_NOT_FOUND,
                 "put one there as chat_template.jinja");
    write_file(dir, "chat_template.json", "{\"chat_template\":\"old\"}");
    assert_finds(dir, NULL, "old");
    write_file(dir, "tokenizer_config.json", "{\"chat_template\":null}");
    assert_finds(dir, NULL, "old");
    write_file(dir, "tokenizer_config.json", "{\"chat_template\":7}");
    assert_fails(lc_chat_template_load(dir, &found, &test_err), LC_ERR_INVALID,
                 "expected a text or a list");
    write_file(dir, "tokenizer_config.json", "{\"chat_template\":[{\"name\":\"default\"}]}");
    assert_fails(lc_chat_template_load(dir, &found, &test_err), LC_ERR_INVALID, "needs a");
    write_file(dir, "tokenizer_config.json",
               "{\"chat_template\":[{\"name\":\"default\",\"template\":\"one\"},{\"name\":"
               "\"tool_use\",\"template\":\"two {{ bos_token ~ eos_token ~ image_token ~ n_token "
               "}}\"}],\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},\"n_token\":null,"
               "\"extra_special_tokens\":{\"image_token\":\"<i>\"}}");
    assert_finds(dir, NULL, "one");
    assert_finds(dir, "[]", "two <s></s><i>");
    write_file(dir, "special_tokens_map.json", "{\"bos_token\":{\"content\":\"<b>\"}}");
    assert_finds(dir, "[]", "two <b></s><i>");
    write_file(dir, "tokenizer_config.json",
               "{\"chat_template\":{\"default\":\"{{ img }}\"},\"model_specific_special_tokens\":"
               "{\"img\":\"<i>\"}}");
    assert_finds(dir, "[]", "<i>");
    write_file(dir, "tokenizer_config.json",
               "{\"chat_template\":[{\"name\":\"default\",\"template\":\"one\"},{\"name\":"
               "\"default\",\"template\":\"the last\"}]}");
    assert_finds(dir, NULL, "the last");
    write_file(dir, "tokenizer_config.json",
               "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"one\"}]}");
    write_file(dir, "chat_template.json", "{}");
    assert_fails(lc_chat_template_load(dir, &found, &test_err), LC_ERR_NOT_FOUND,
                 "with the name \"default\"");
    write_file(dir, "tokenizer_config.json",
               "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"two\"}]}");
    assert_finds(dir, "[]", "two");
    assert_ok(lc_chat_template_load(dir, &found, &test_err));
    cJSON *messages = parse("[]");
    lc_rendered rendered;
    const lc_template_args args = {.messages = messages};
    assert_fails(lc_chat_template_render(found, &args, &rendered, &test_err), LC_ERR_INVALID,
                 "a chat template for rows with tools only");
    cJSON_Delete(messages);
    lc_chat_template_free(found);
    write_file(dir, "chat_template.jinja", "file"); /* before all else */
    assert_finds(dir, "[]", "file");
    assert_ok(lc_path_join(dir, "additional_chat_templates", more, &test_err));
    assert_ok(lc_mkdir(more, &test_err));
    write_file(more, "tool_use.jinja", "{{ 1 +");
    assert_fails(lc_chat_template_load(dir, &found, &test_err), LC_ERR_INVALID,
                 "tool_use.jinja, line 1: unexpected 'end of template'");
    write_file(more, "tool_use.jinja", "tools");
    assert_finds(dir, "[]", "tools");
    write_file(dir, "chat_template.jinja", "\xff");
    assert_fails(lc_chat_template_load(dir, &found, &test_err), LC_ERR_INVALID, "not UTF-8");
}

/* Renders the messages by a template of this text. */
static void assert_renders(const char *text, const cJSON *messages, const char *expected)
{
    const char *dir = test_dir();
    lc_chat_template *made = NULL;
    lc_rendered rendered;
    const lc_template_args args = {.messages = messages};
    write_file(dir, "chat_template.jinja", text);
    assert_ok(lc_chat_template_load(dir, &made, &test_err));
    assert_ok(lc_chat_template_render(made, &args, &rendered, &test_err));
    assert_string_equal(rendered.text, expected);
    lc_rendered_release(&rendered);
    lc_chat_template_free(made);
}

/* Content as a list of text parts: a template that wants strings gets strings. */
static void joins_parts(void **state)
{
    (void)state;
#define MESSAGES "{% for m in messages %}"
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {MESSAGES "{{ '<' + m.content + '>' }}{% endfor %}", "<one two><three>"},
        {MESSAGES "{{ m.content | trim }};{% endfor %}", "one two;three;"},
        {MESSAGES "{{ m.content | tojson }}{% endfor %}", "\"one two\"\"three\""},
        {MESSAGES "{{ m.content + '' if tools is none else raise_exception('x') }}{% endfor %}",
         "one twothree"},
        {MESSAGES "{% for p in m.content %}{{ p.text }}|{% endfor %}{% endfor %}",
         "one |two||||||"},
        {MESSAGES "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ "
                  "p.text }}|{% endfor %}{% endif %}{% endfor %}",
         "one |two|three"},
    };
    cJSON *messages =
        parse("[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one \"},{\"type\":"
              "\"text\",\"text\":\"two\"}]},{\"role\":\"assistant\",\"content\":\"three\"}]");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_renders(cases[i].text, messages, cases[i].expected);
    }
    cJSON_Delete(messages);
}

/* Only what a rendering hangs on is in the hash: the day where the template tells it. */
static void hashes_the_day(void **state)
{
    (void)state;
    static const char *const texts[] = {"{{ messages }}", "{{ strftime_now('%d') }}"};
    static const char *const days[] = {"2024-07-26", "2024-07-27"};
    const char *dir = test_dir();
    for (int i = 0; i < 2; i++) {
        lc_chat_template *of[2] = {NULL, NULL};
        write_file(dir, "chat_template.jinja", texts[i]);
        for (int k = 0; k < 2; k++) {
            const lc_template_source source = {.model_dir = dir, .date = days[k]};
            assert_ok(lc_chat_template_open(&source, &of[k], &test_err));
        }
        const int order =
            memcmp(lc_chat_template_sha256(of[0]), lc_chat_template_sha256(of[1]), 32);
        assert_int_equal(order == 0, i == 0);
        lc_chat_template_free(of[0]);
        lc_chat_template_free(of[1]);
    }
}

/* Arguments as the APIs write them, text: a template that wants objects gets objects. */
static void reads_arguments(void **state)
{
    (void)state;
#define EACH                                                                                 \
    "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.name ~ ' ' }}{% " \
    "set a = c.function.arguments %}"
#define ENDS "{% endfor %}{% endfor %}"
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {EACH "{{ a | tojson }}" ENDS, "f {\"n\": 2.0, \"a\": [\"é\"]}g 7h \"{\""},
        {EACH "{{ a }}" ENDS, "f {\"n\":2.0,\"a\":[\"\\u00e9\"]}g 7h {"},
        {EACH "{{ a ~ '' if a is string else a | tojson }}" ENDS,
         "f {\"n\":2.0,\"a\":[\"\\u00e9\"]}g 7h {"},
        {EACH "{{ '' + a if a is not number else a }}" ENDS,
         "f {\"n\":2.0,\"a\":[\"\\u00e9\"]}g 7h {"},
        {EACH "{% if a is mapping %}{% for k, v in a.items() %}{{ k }}={{ v }};{% endfor %}{% "
              "elif c.id == 'abcdef123' %}{{ raise_exception('no') }}{% endif %}" ENDS,
         "f n=2.0;a=['é'];g h "},
        {"{{ messages | length }}", "1"},
    };
    cJSON *messages = parse(
        "[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
        "\"{\\\"n\\\":2.0,\\\"a\\\":[\\\"\\\\u00e9\\\"]}\"}},{\"function\":{\"name\":\"g\","
        "\"arguments\":7}},{\"function\":{\"name\":\"h\",\"arguments\":\"{\"}}]}]");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_renders(cases[i].text, messages, cases[i].expected);
    }
    cJSON_Delete(messages);
}

/* No fault is taken for a template's own refusal of a trial. */
static void trials_survive_faults(void **state)
{
    (void)state;
    cJSON *messages =
        parse("[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"q\"}],"
              "\"tool_calls\":[{\"function\":{\"arguments\":\"{\\\"n\\\":2.0}\"}}]}]");
    const lc_template_args args = {.messages = messages};
    const char *dir = test_dir();
    write_file(dir, "chat_template.jinja",
               "{% for m in messages %}{{ '' + m.content }}{% for c in m.tool_calls or [] %}{{ "
               "c.function.arguments | tojson }}{% endfor %}{% endfor %}");
    int64_t at = 1;
    for (lc_code code = LC_ERR_MEMORY; code != LC_OK; at++) {
        lc_chat_template *loaded = NULL;
        lc_rendered rendered = {0};
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        code = lc_chat_template_load(dir, &loaded, &test_err);
        if (code == LC_OK) {
            code = lc_chat_template_render(loaded, &args, &rendered, &test_err);
        }
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        assert_true(code == LC_OK || code == LC_ERR_MEMORY);
        if (code == LC_OK) {
            assert_string_equal(rendered.text, "q{\"n\": 2.0}");
        }
        lc_chat_template_free(loaded);
        lc_rendered_release(&rendered);
    }
    assert_true(at > 50);
    cJSON_Delete(messages);
}

static void survives_faults(void **state)
{
    (void)state;
    cJSON *messages = parse(golden[6].messages), *tools = parse(golden[9].tools);
    int64_t at = 1;
    for (lc_code code = LC_ERR_MEMORY; code != LC_OK; at++) {
        lc_chat_template *loaded = NULL;
        lc_rendered rendered = {0};
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        code = lc_chat_template_load(MODEL, &loaded, &test_err);
        if (code == LC_OK) {
            const lc_template_args args = {.messages = messages,
                                           .tools = tools,
                                           .add_generation_prompt = true,
                                           .with_spans = true};
            code = lc_chat_template_render(loaded, &args, &rendered, &test_err);
        }
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        assert_true(code == LC_OK || code == LC_ERR_MEMORY);
        lc_chat_template_free(loaded);
        lc_rendered_release(&rendered);
    }
    assert_true(at > 3);
    cJSON_Delete(messages);
    cJSON_Delete(tools);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_as_transformers),
        cmocka_unit_test(spans),
        cmocka_unit_test(refuses_what_jinja_cannot),
        cmocka_unit_test(numbers_keep_their_spelling),
        cmocka_unit_test(finds_the_template),
        cmocka_unit_test(reads_arguments),
        cmocka_unit_test(hashes_the_day),
        cmocka_unit_test(joins_parts),
        cmocka_unit_test(survives_faults),
        cmocka_unit_test(trials_survive_faults),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
