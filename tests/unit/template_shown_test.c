/* Messages that are continued; what a template wants, found out without a model; whose the parts
 * are that a template marks. */
#include "testing.h"

#include "base/fault.h"
#include "base/file.h"
#include "lorac/mem.h"
#include "text/number_spelling.h"
#include "text/template.h"

static lc_chat_template *open_template(const char *text)
{
    char path[LC_MAX_PATH_BYTES];
    lc_chat_template *made = NULL;
    assert_ok(lc_path_join(test_dir(), "t.jinja", path, &test_err));
    test_write_file(path, text, strlen(text));
    assert_ok(lc_chat_template_open(&(lc_template_source){.file = path}, &made, &test_err));
    return made;
}

static cJSON *parse(const char *text)
{
    cJSON *root = NULL;
    assert_ok(lc_json_parse(text, strlen(text), LC_JSON_DEFAULT, "test", &root, &test_err));
    assert_ok(lc_json_keep_spelling(root, text, strlen(text), &test_err));
    return root;
}

/* ---- a template without a model ---- */

#define CALLS "{%- for m in messages %}{% for c in m.tool_calls or [] %}"
#define END   "{% endfor %}{% endfor %}"
#define TEXT  "\"{\\\"z\\\":1.0}\""

/* Whether it wants objects is found out although it needs tokens that only a model has. */
static void forms_without_tokens(void **state)
{
    (void)state;
    lc_rendered rendered;
    lc_chat_template *t =
        open_template(CALLS "{{ c.function.arguments | tojson + eos_token }}" END);
    cJSON *row = parse("{\"eos_token\":\"</s>\",\"messages\":[{\"tool_calls\":[{\"function\":"
                       "{\"arguments\":" TEXT "}}]}]}");
    const lc_template_args args = {.row = row};
    assert_ok(lc_chat_template_render(t, &args, &rendered, &test_err));
    assert_string_equal(rendered.text, "{\"z\": 1.0}</s>");
    lc_rendered_release(&rendered);
    cJSON_Delete(row);
    lc_chat_template_free(t);
}

/* ---- arguments as objects, for templates that want their text ---- */

static void arguments_as_text(void **state)
{
    (void)state;
    static const struct {
        const char *template, *text; /* NULL: refused */
        bool is_raw;
    } cases[] = {
        {CALLS "{{ '<' + c.function.arguments + '>' }}" END,
         "<{\"n\": [1, 2.5, null], \"é\": 1.0}>", false},
        {CALLS "{{ '<' + c.function.arguments + '>' }}" END, NULL, true},
        {CALLS "{{ c.function.arguments }}" END, "{\"n\": [1, 2.5, null], \"é\": 1.0}", false},
        {CALLS "{{ c.function.arguments }}" END, "{'n': [1, 2.5, None], 'é': 1.0}", true},
        {CALLS "{% if c.function.arguments is string %}{{ c.function.arguments }}{% else %}"
               "{{ c.function.arguments | tojson }}!{% endif %}" END,
         "{\"n\": [1, 2.5, null], \"é\": 1.0}!", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lc_rendered rendered;
        lc_chat_template *t = open_template(cases[i].template);
        cJSON *row = parse("{\"messages\":[{\"tool_calls\":[{\"function\":{\"arguments\":"
                           "{\"n\":[1,2.5,null],\"\\u00e9\":1.0}}}]}]}");
        const lc_template_args args = {.row = row, .is_raw = cases[i].is_raw};
        lc_err_clear(&test_err);
        if (cases[i].text == NULL) {
            assert_fails(lc_chat_template_render(t, &args, &rendered, &test_err), LC_ERR_INVALID,
                         "can only concatenate str (not \"dict\") to str");
        } else {
            assert_ok(lc_chat_template_render(t, &args, &rendered, &test_err));
            assert_string_equal(rendered.text, cases[i].text);
            lc_rendered_release(&rendered);
        }
        cJSON_Delete(row);
        lc_chat_template_free(t);
    }
}

/* ---- marked parts and weights ---- */

#define MARKS                                                                                  \
    "{% for m in messages %}{% if m.role == 'assistant' %}{% if m.thought %}{% generation %}(" \
    "{{ m.thought }}){% endgeneration %}{% endif %}{% if m.content %}{% generation %}"         \
    "{{ m.content }}{% endgeneration %}{% endif %}{% else %}<{{ m.content }}>{% endif %}"      \
    "{% endfor %}"
#define BY_NUMBER                                                                     \
    "{% for i in range(messages | length) %}{% if messages[i].role == 'assistant' %}" \
    "{% generation %}{{ messages[i].content }}{% endgeneration %}{% endif %}{% endfor %}"
#define NESTED                                                                                 \
    "{% for m in messages %}{% if m.role == 'assistant' %}{% for n in messages %}{% endfor %}" \
    "{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}"
#define QUESTION     "{\"role\":\"user\",\"content\":\"q\"},"
#define ANSWER(more) "{\"role\":\"assistant\"," more "}"

/* A message may have several parts or none: the one with weight 0 is left out all the same. */
static void parts_know_their_message(void **state)
{
    (void)state;
    static const struct {
        const char *template, *messages, *trained; /* NULL: refused */
    } cases[] = {
        {MARKS,
         "[" QUESTION ANSWER("\"weight\":0") "," QUESTION ANSWER(
             "\"thought\":\"t\",\"content\":\"a\"") "]",
         "(t)a"},
        {MARKS,
         "[" QUESTION ANSWER("\"thought\":\"t\",\"content\":\"a\",\"weight\":0") "," QUESTION
             ANSWER("\"content\":\"b\"") "," ANSWER("\"weight\":1") "]",
         "b"},
        {NESTED,
         "[" QUESTION ANSWER("\"content\":\"a\"") "," ANSWER(
             "\"content\":\"b\",\"weight\":0") "," ANSWER("\"content\":\"c\"") "]",
         "ac"},
        {BY_NUMBER,
         "[" QUESTION ANSWER("\"content\":\"a\",\"weight\":0") "," ANSWER("\"content\":\"b\"") "]",
         "b"},
        {BY_NUMBER "{% generation %}!{% endgeneration %}",
         "[" QUESTION ANSWER("\"content\":\"a\",\"weight\":0") "," ANSWER("\"content\":\"b\"") "]",
         NULL},
        {BY_NUMBER "{% generation %}!{% endgeneration %}",
         "[" QUESTION ANSWER("\"content\":\"a\"") "," ANSWER("\"content\":\"b\"") "]", "ab!"},
    };
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        lc_rendered rendered;
        char trained[16] = "";
        cJSON *messages = parse(cases[i / 2].messages), *row = cJSON_CreateObject();
        lc_chat_template *t = open_template(cases[i / 2].template);
        assert_true(cJSON_AddItemToObject(row, "messages", messages));
        const lc_template_args args = {.row = row, .is_raw = i % 2 == 1, .with_spans = true};
        lc_err_clear(&test_err);
        if (cases[i / 2].trained == NULL) {
            assert_fails(lc_chat_template_render(t, &args, &rendered, &test_err), LC_ERR_INVALID,
                         "3 parts as the assistant's for 2 messages");
        } else {
            assert_ok(lc_chat_template_render(t, &args, &rendered, &test_err));
            for (size_t s = 0; s < rendered.span_count; s++) {
                strncat(trained, rendered.text + rendered.spans[s].begin,
                        rendered.spans[s].end - rendered.spans[s].begin);
            }
            assert_string_equal(trained, cases[i / 2].trained);
            lc_rendered_release(&rendered);
        }
        cJSON_Delete(row);
        lc_chat_template_free(t);
    }
}

/* ---- continued ---- */

#define CHAT "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>\n{% endfor %}"
#define TRIM "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>\n{% endfor %}"
#define PARTS                                                                                  \
    "{% for m in messages %}<{{ m.role }}>{% for p in m.content %}{{ p.text }}{% endfor %}{% " \
    "endfor %}!"
#define THINK "{% for m in messages %}{{ m.thinking }}/{{ m.content }}{% endfor %}"

static lc_code continue_row(const char *template, const char *text, bool is_raw, lc_rendered *out)
{
    lc_chat_template *t = open_template(template);
    cJSON *row = parse(text);
    const lc_template_args args = {.row = row, .is_raw = is_raw};
    lc_err_clear(&test_err);
    const lc_code code = lc_chat_template_render(t, &args, out, &test_err);
    cJSON_Delete(row);
    lc_chat_template_free(t);
    return code;
}

/* Expected: transformers 5.24, apply_chat_template. */
static void continues_the_last_message(void **state)
{
    (void)state;
    static const struct {
        const char *template, *row, *text;
    } cases[] = {
        {CHAT,
         "{\"messages\":[{\"role\":\"u\",\"content\":\"q\"},{\"role\":\"a\",\"content\":\"Yes, \"}]"
         ",\"continue_final_message\":true}",
         "<u>q</>\n<a>Yes, "},
        {TRIM,
         "{\"messages\":[{\"role\":\"a\",\"content\":\" Yes, \"}],\"continue_final_message\":true}",
         "<a>Yes,"},
        {CHAT, "{\"messages\":[{\"role\":\"a\",\"content\":\"\"}],\"continue_final_message\":true}",
         "<a>"},
        {CHAT,
         "{\"messages\":[{\"role\":\"a\",\"content\":\"x\"}],\"continue_final_message\":false}",
         "<a>x</>\n"},
        {PARTS,
         "{\"messages\":[{\"role\":\"a\",\"content\":[{\"text\":\"one\"},{\"text\":\"two\"},"
         "{\"image\":1}]}],\"continue_final_message\":true}",
         "<a>onetwo"},
        {THINK,
         "{\"messages\":[{\"role\":\"a\",\"content\":\"x\",\"reasoning\":\"hm\"}],"
         "\"continue_final_message\":\"reasoning_content\"}",
         "hm"},
        {THINK,
         "{\"messages\":[{\"content\":\"x\",\"reasoning_content\":\"hm\",\"thinking\":\"ah\"}],"
         "\"continue_final_message\":\"thinking\"}",
         "ah"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lc_rendered rendered;
        assert_ok(continue_row(cases[i].template, cases[i].row, false, &rendered));
        assert_string_equal(rendered.text, cases[i].text);
        assert_int_equal(rendered.bytes, strlen(cases[i].text));
        lc_rendered_release(&rendered);
    }
}

static void refuses_what_cannot_be_continued(void **state)
{
    (void)state;
    static const struct {
        const char *template, *row, *part;
    } cases[] = {
        {CHAT, "{\"messages\":[],\"continue_final_message\":true}", "no text in \"content\""},
        {CHAT, "{\"messages\":[{\"role\":\"a\"}],\"continue_final_message\":true}", "no text in"},
        {CHAT, "{\"messages\":[{\"content\":7}],\"continue_final_message\":true}", "no text in"},
        {CHAT, "{\"messages\":[{\"content\":[{\"image\":1}]}],\"continue_final_message\":true}",
         "no text in"},
        {CHAT, "{\"continue_final_message\":true}", "no text in"},
        {CHAT,
         "{\"messages\":[{\"role\":\"a\",\"content\":\"x\",\"thinking\":\"y\"}],"
         "\"continue_final_message\":\"thinking\"}",
         "does not write the last message"},
        {THINK,
         "{\"messages\":[{\"content\":\"x\",\"thinking\":\"y\"}],"
         "\"continue_final_message\":\"reasoning\"}",
         "no text in \"reasoning\""},
        {"{{ messages[0].content[1:] }}",
         "{\"messages\":[{\"role\":\"a\",\"content\":\"xyz\"}],\"continue_final_message\":true}",
         "only parts of it"},
        {CHAT,
         "{\"messages\":[{\"role\":\"a\",\"content\":\"x\"}],\"continue_final_message\":true,"
         "\"add_generation_prompt\":true}",
         "neither with add_generation_prompt"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lc_rendered rendered = {0};
        assert_fails(continue_row(cases[i].template, cases[i].row, true, &rendered), LC_ERR_INVALID,
                     cases[i].part);
        assert_null(rendered.text);
    }
}

static void survives_faults(void **state)
{
    (void)state;
    lc_chat_template *t = open_template(CALLS "{{ c.function.arguments | tojson }}" END CHAT);
    cJSON *row =
        parse("{\"messages\":[{\"role\":\"a\",\"content\":\"x\",\"tool_calls\":[{\"function\":"
              "{\"arguments\":" TEXT "}}]}],\"continue_final_message\":true}");
    int64_t at = 1;
    for (lc_code code = LC_ERR_MEMORY; code != LC_OK; at++) {
        lc_rendered rendered = {0};
        const lc_template_args args = {.row = row};
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        code = lc_chat_template_render(t, &args, &rendered, &test_err);
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        assert_true(code == LC_OK || code == LC_ERR_MEMORY);
        assert_true(code != LC_OK || strncmp(rendered.text, "{\"z\": 1.0", 9) == 0);
        lc_rendered_release(&rendered);
    }
    assert_true(at > 10);
    cJSON_Delete(row);
    lc_chat_template_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_without_tokens),
        cmocka_unit_test(arguments_as_text),
        cmocka_unit_test(parts_know_their_message),
        cmocka_unit_test(continues_the_last_message),
        cmocka_unit_test(refuses_what_cannot_be_continued),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
