/* Templates by Jinja2's own results (tests/golden/templates.jsonl), limits at their edges. */
#include "testing.h"

#include "base/file.h"
#include "lorac/mem.h"
#include "text/number_spelling.h"
#include "text/template.h"

static const char *path_of(const char *text, size_t bytes)
{
    static char path[LC_MAX_PATH_BYTES];
    static const char *dir;
    if (dir == NULL) {
        dir = test_dir();
    }
    assert_ok(lc_path_join(dir, "t.jinja", path, &test_err));
    test_write_file(path, text, bytes);
    return path;
}

static lc_code open_text(const char *text, size_t bytes, lc_chat_template **out)
{
    const lc_template_source source = {.file = path_of(text, bytes), .date = "2024-07-26"};
    return lc_chat_template_open(&source, out, &test_err);
}

/* Opens and renders; the text is the caller's. */
static lc_code render(const char *text, const cJSON *row, lc_rendered *out)
{
    lc_chat_template *t = NULL;
    static const lc_rendered nothing;
    *out = nothing;
    lc_err_clear(&test_err);
    LC_TRY(open_text(text, strlen(text), &t));
    const lc_template_args args = {.row = row, .is_raw = true};
    const lc_code code = lc_chat_template_render(t, &args, out, &test_err);
    lc_chat_template_free(t);
    return code;
}

static void assert_renders(const char *text, const char *expected)
{
    cJSON *row = cJSON_CreateObject();
    lc_rendered rendered;
    assert_ok(render(text, row, &rendered));
    assert_string_equal(rendered.text, expected);
    lc_rendered_release(&rendered);
    cJSON_Delete(row);
}

static void assert_refused(const char *text, const char *message)
{
    cJSON *row = cJSON_CreateObject();
    lc_rendered rendered;
    assert_fails(render(text, row, &rendered), LC_ERR_INVALID, message);
    cJSON_Delete(row);
}

/* ---- golden ---- */

/* What Jinja2 says and we must too: raise_exception's text, undefined values, names. */
static const char *wanted_message(const char *error)
{
    static const char *const kinds[] = {"TemplateError: ", "UndefinedError: ", "SecurityError: ",
                                        "TemplateSyntaxError: ", "TemplateAssertionError: "};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strncmp(error, kinds[i], strlen(kinds[i])) == 0) {
            return error + strlen(kinds[i]);
        }
    }
    return "";
}

static bool is_refused_by_name(const char *message)
{
    return strstr(message, "beyond 64 bits") != NULL || strstr(message, "not supported") != NULL ||
           strstr(message, "an address in memory") != NULL;
}

static void check_case(const cJSON *item, int line, int *refused)
{
    const char *text = lc_json_get(item, "template")->valuestring;
    const cJSON *expected = lc_json_get(item, "text"), *error = lc_json_get(item, "error");
    lc_rendered rendered;
    const lc_code code = render(text, lc_json_get(item, "context"), &rendered);
    if (expected == NULL) {
        if (code == LC_OK || (test_err.line == 0 && strstr(test_err.message, "line") == NULL)) {
            fail_msg("line %d: %s rendered \"%s\", Jinja2: %s", line, text,
                     code == LC_OK ? rendered.text : test_err.message, error->valuestring);
        }
        const char *wanted = wanted_message(error->valuestring);
        const bool is_shown = strstr(wanted, "has no element") == NULL; /* which may be any value */
        if (is_shown && strstr(test_err.message, wanted) == NULL) {
            fail_msg("line %d: %s: \"%s\", Jinja2: %s", line, text, test_err.message,
                     error->valuestring);
        }
    } else if (code != LC_OK && is_refused_by_name(test_err.message)) {
        (*refused)++;
    } else if (code != LC_OK || strcmp(rendered.text, expected->valuestring) != 0) {
        fail_msg("line %d: %s gave \"%s\", expected \"%s\"", line, text,
                 code == LC_OK ? rendered.text : test_err.message, expected->valuestring);
    }
    lc_rendered_release(&rendered);
}

static void renders_as_jinja2(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    int line = 0, refused = 0;
    assert_ok(lc_file_read(LC_SOURCE_DIR "/tests/golden/templates.jsonl", 16 << 20, &text, &bytes,
                           &test_err));
    for (char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        cJSON *item = NULL;
        const size_t length = (size_t)(end - at);
        assert_ok(lc_json_parse(at, length, LC_JSON_DEFAULT, "case", &item, &test_err));
        assert_ok(lc_json_keep_spelling(item, at, length, &test_err));
        check_case(item, ++line, &refused);
        cJSON_Delete(item);
    }
    assert_true(line > 700 && refused < line / 50);
    lc_free(text);
}

/* ---- limits ---- */

/* text = begin + count * part + end */
static char *repeat(const char *begin, const char *part, int count, const char *end)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_add(&text, begin, strlen(begin));
    for (int i = 0; i < count; i++) {
        lc_text_add(&text, part, strlen(part));
    }
    lc_text_add(&text, end, strlen(end));
    assert_ok(lc_text_finish(&text, "a test", &test_err));
    return text.data;
}

static void assert_edge(const char *begin, const char *part, const char *end, int good, int bad,
                        const char *message)
{
    lc_rendered rendered;
    cJSON *row = cJSON_CreateObject();
    for (int i = 0; i < 2; i++) {
        const int count = i == 0 ? good : bad;
        char *back = repeat("", end, count, ""), *text = repeat(begin, part, count, "1");
        char *whole = repeat(text, back, 1, begin[0] == '{' && begin[1] == '{' ? "}}" : "");
        if (i == 0) {
            assert_ok(render(whole, row, &rendered));
            lc_rendered_release(&rendered);
        } else {
            assert_fails(render(whole, row, &rendered), LC_ERR_INVALID, message);
        }
        lc_free(back);
        lc_free(text);
        lc_free(whole);
    }
    cJSON_Delete(row);
}

static void limits_of_the_source(void **state)
{
    (void)state;
    /* an expression, its unary and each parenthesis with those inside it */
    assert_edge("{{", "(", ")", 32, 34, "LC_MAX_TEMPLATE_NESTING");
    assert_edge("", "{% if 1 %}", "{% endif %}", LC_MAX_TEMPLATE_NESTING - 2,
                LC_MAX_TEMPLATE_NESTING + 1, "LC_MAX_TEMPLATE_NESTING");
    assert_edge("{{", "1+", "", LC_MAX_TEMPLATE_TREE - 1, LC_MAX_TEMPLATE_TREE + 1,
                "LC_MAX_TEMPLATE_TREE");
    assert_edge("", "{% for x in [1] %}", "{% endfor %}", 20, 21,
                "too many statically nested blocks");
    char *large = repeat("", "0123456789abcdef", (int)(LC_MAX_TEMPLATE_BYTES / 16), "");
    lc_chat_template *t = NULL;
    assert_ok(open_text(large, LC_MAX_TEMPLATE_BYTES, &t));
    lc_chat_template_free(t);
    lc_free(large);
}

static void limits_of_a_rendering(void **state)
{
    (void)state;
    assert_renders("{{ range(100000) | length }}", "100000");
    assert_refused("{{ range(100001) }}", "Range too big");
    assert_refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "LC_MAX_TEMPLATE_DEPTH");
    assert_refused(
        "{% for x in range(100000) %}{% for y in range(100000) %}{% endfor %}{% endfor %}",
        "LC_MAX_TEMPLATE_STEPS");
    assert_refused("{% set ns = namespace(x='0123456789') %}{% for i in range(90) %}"
                   "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
                   "LC_MAX_TEMPLATE_MEMORY");
    assert_refused("{{ 'x' * 1000000000000 }}", "LC_MAX_TEMPLATE_MEMORY");
    assert_refused("{% set x = 'x' * 1000000 %}{% for i in range(100) %}{{ x }}{% endfor %}",
                   "LC_MAX_TEMPLATE_OUTPUT");
    assert_renders("{{ ('x' * 67108864) | length }}", "67108864");
    assert_refused("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
                   "LC_MAX_TEMPLATE_DEPTH");
    assert_refused("{{ ('a' * 1000000) | replace('', 'b' * 1000000) }}", "too long");
    assert_refused("{{ '%99999999d' % 1 }}", "not supported");
}

/* By MarkupSafe's own results: nothing is taken out behind the first one that is not closed. */
static void tags_are_stripped(void **state)
{
    (void)state;
    assert_renders("{% set self = 1 %}{{ self }}{{ {'self': 2}.self }}", "12");
    assert_renders("{{ 'a <!-- b <c> --> <d>e</d>  f' | striptags }}", "a e f");
    assert_renders("{{ '<!-- a > b <c>' | striptags }}", "<!-- a > b <c>");
    assert_renders("{{ '<!--> <a>b' | striptags }}", "<!--> <a>b");
    assert_renders("{{ '<a>b <c <!-- d -->' | striptags }}", "b");
    assert_renders("{{ '<<a>b> x < y' | striptags }}", "b> x < y");
}

static void errors_have_lines(void **state)
{
    (void)state;
    assert_refused("a\n\n{{ x.y }}", "t.jinja, line 3: 'x' is undefined");
    assert_refused("a\n{% if 1 %}\n{{ raise_exception('no\\nway') }}{% endif %}",
                   "t.jinja, line 3: no\nway");
    assert_refused("\n{{ 1 + }}", "t.jinja, line 2: unexpected 'end of print statement'");
    assert_refused("{% if 1 %}\n\n", "Unexpected end of template. Jinja was looking for the "
                                     "following tags: 'elif' or 'else' or 'endif'. The innermost "
                                     "block that needs to be closed is 'if'.");
    assert_refused("{{ {'a': 1}.b.c }}", "'dict object' has no attribute 'b'");
    assert_refused("{{ [1][4].c }}", "list object has no element 4");
    assert_refused("{{ 9223372036854775807 + 1 }}", "beyond 64 bits");
    assert_refused("{{ 99999999999999999999 }}", "beyond 64 bits");
    assert_refused("{{ [1] | map('string') }}", "|list");
    assert_refused("{% include 'x' %}", "not supported");
    assert_refused("a\n{% for m in [1] %}{{ self }}{% endfor %}",
                   "self, by which a template names");
    assert_refused("{% macro f() %}{{ self.x }}{% endmacro %}", "not supported");
    assert_refused("{{ self }}{% set self = 1 %}", "not supported");
}

static void dates(void **state)
{
    (void)state;
    char date[LC_TEMPLATE_DATE_BYTES];
    assert_renders("{{ strftime_now('%Y-%m-%d %H:%M') }}{{ strftime_now('') }}",
                   "2024-07-26 00:00");
    assert_renders("{{ strftime_now('%Z|%z|%f|%%Z|%j') }}", "||000000|%Z|208");
    assert_ok(lc_template_date_check("2024-02-29", &test_err));
    assert_fails(lc_template_date_check("2023-02-29", &test_err), LC_ERR_INVALID, "not a date");
    assert_fails(lc_template_date_check("2023-2-1", &test_err), LC_ERR_INVALID, "not a date");
    assert_fails(lc_template_date_check("2023-02-011", &test_err), LC_ERR_INVALID, "not a date");
    assert_fails(lc_template_date_check("", &test_err), LC_ERR_INVALID, "not a date");
    lc_template_date_of(951782400, date);
    assert_string_equal(date, "2000-02-29");
    lc_template_date_today(date);
    assert_ok(lc_template_date_check(date, &test_err));
}

/* ---- spans ---- */

static cJSON *parse(const char *text)
{
    cJSON *root = NULL;
    assert_ok(lc_json_parse(text, strlen(text), LC_JSON_DEFAULT, "test", &root, &test_err));
    return root;
}

/* The spans' texts, each in brackets. */
static void assert_spans(const char *text, const char *messages, const char *expected)
{
    lc_chat_template *t = NULL;
    lc_rendered rendered;
    lc_text spans;
    cJSON *list = parse(messages);
    const lc_template_args args = {.messages = list, .with_spans = true};
    assert_ok(open_text(text, strlen(text), &t));
    assert_ok(lc_chat_template_render(t, &args, &rendered, &test_err));
    lc_text_init(&spans);
    lc_text_add(&spans, "", 0);
    for (size_t i = 0; i < rendered.span_count; i++) {
        const lc_span span = rendered.spans[i];
        lc_text_addf(&spans, "[%zu:%.*s]", span.message, (int)(span.end - span.begin),
                     rendered.text + span.begin);
    }
    assert_string_equal(spans.data, expected);
    lc_text_release(&spans);
    lc_rendered_release(&rendered);
    lc_chat_template_free(t);
    cJSON_Delete(list);
}

#define CHATML                                                                  \
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<end>\n{% endfor %}" \
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
#define MARKED                                                                     \
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}"          \
    "{% generation %}{{ m.content }}!{% endgeneration %}{% else %}{{ m.content }}" \
    "{% endif %}\n{% endfor %}"
/* Drops what an earlier answer thought, as Qwen3's and DeepSeek-R1's do. */
#define FORGETS                                                              \
    "{% for m in messages %}<{{ m.role }}>{% if loop.last %}{{ m.content }}" \
    "{% else %}{{ m.content.split('/')[-1] }}{% endif %}<end>{% endfor %}"   \
    "{% if add_generation_prompt %}<assistant>{% endif %}"
#define TURNS                                                                               \
    "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\\n\"}," \
    "{\"role\":\"user\",\"content\":\"c\"},{\"role\":\"assistant\",\"content\":\"d\"%s}]"

static void finds_spans(void **state)
{
    (void)state;
    char turns[512];
    (void)snprintf(turns, sizeof turns, TURNS, "");
    assert_spans(CHATML, turns, "[1:b\n<end>][3:d<end>]");
    assert_spans(MARKED, turns, "[1:b\n!][3:d!]");
    assert_spans("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", turns,
                 "[1:assistant: b\n\n][3:assistant: d\n]"); /* only white space ends a turn */
    assert_spans(FORGETS, turns, "[1:b\n<end>][3:d<end>]");
    (void)snprintf(turns, sizeof turns, TURNS, ",\"weight\":0");
    assert_spans(CHATML, turns, "[1:b\n<end>]");
    assert_spans(MARKED, turns, "[1:b\n!]");
    assert_spans(CHATML, "[{\"role\":\"assistant\",\"content\":\"x\"}]", "[0:x<end>]");
    assert_spans("{{ messages[0].role }}>{{ messages[0].content }}",
                 "[{\"role\":\"assistant\",\"content\":\"x\"}]", "[0:assistant>x]");
}

static void refuses_unstable_spans(void **state)
{
    (void)state;
    lc_chat_template *t = NULL;
    lc_rendered rendered;
    cJSON *list =
        parse("[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
              "\"hm/b\"},{\"role\":\"user\",\"content\":\"c\"},{\"role\":\"assistant\","
              "\"content\":\"d\"}]");
    const lc_template_args args = {.messages = list, .with_spans = true};
    assert_ok(open_text(FORGETS, strlen(FORGETS), &t));
    assert_fails(lc_chat_template_render(t, &args, &rendered, &test_err), LC_ERR_INVALID,
                 "messages[1]: the chat template writes this answer otherwise");
    assert_non_null(strstr(test_err.message, "{% generation %}"));
    cJSON_AddNumberToObject(cJSON_GetArrayItem(list, 1), "weight", 0);
    assert_ok(lc_chat_template_render(t, &args, &rendered, &test_err)); /* it is not trained */
    assert_int_equal(rendered.span_count, 1);
    lc_rendered_release(&rendered);
    lc_chat_template_free(t);
    cJSON_Delete(list);
}

static void normalises_messages(void **state)
{
    (void)state;
    static const char text[] = "{{ messages[0] }}";
    cJSON *list =
        parse("[{\"role\":\"assistant\",\"content\":null,\"reasoning\":\"r\",\"weight\":1}]");
    lc_chat_template *t = NULL;
    lc_rendered rendered;
    lc_template_args args = {.messages = list};
    assert_ok(open_text(text, strlen(text), &t));
    assert_ok(lc_chat_template_render(t, &args, &rendered, &test_err));
    assert_string_equal(rendered.text, "{'thinking': 'r', 'role': 'assistant', 'reasoning': 'r', "
                                       "'reasoning_content': 'r'}");
    lc_rendered_release(&rendered);
    args.is_raw = true;
    assert_ok(lc_chat_template_render(t, &args, &rendered, &test_err));
    assert_string_equal(rendered.text,
                        "{'role': 'assistant', 'content': None, 'reasoning': 'r', 'weight': 1}");
    lc_rendered_release(&rendered);
    lc_chat_template_free(t);
    cJSON_Delete(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_as_jinja2),     cmocka_unit_test(limits_of_the_source),
        cmocka_unit_test(limits_of_a_rendering), cmocka_unit_test(tags_are_stripped),
        cmocka_unit_test(errors_have_lines),     cmocka_unit_test(dates),
        cmocka_unit_test(finds_spans),           cmocka_unit_test(refuses_unstable_spans),
        cmocka_unit_test(normalises_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
