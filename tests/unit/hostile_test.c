/*
 * Files made to exhaust who reads them: patterns that backtrack without end, replacements that
 * feed each other, templates that double their texts. Each ends soon, in an error that names the
 * limit. Edges of the limits themselves are in the tests of each part.
 */
#include "tokenizer_files.h"

#include "lorac/mem.h"
#include "text/added.h"
#include "text/decoder.h"
#include "text/template.h"

/* ---- tokenizer.json ---- */

static char *repeated(const char *begin, const char *part, int count, const char *end)
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

/* A pre-tokenizer, or a normalizer, that looks for a pattern. */
static char *part_with(const char *begin, const char *pattern, const char *end)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_add(&text, begin, strlen(begin));
    lc_text_add_json_string(&text, pattern, strlen(pattern));
    lc_text_add(&text, end, strlen(end));
    assert_ok(lc_text_finish(&text, "a test", &test_err));
    return text.data;
}

static lc_tokenizer *load_split(const char *pattern)
{
    lc_tokenizer *tokenizer = NULL;
    char *split =
        part_with("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":"
                  "\"Isolated\",\"invert\":false,\"pattern\":{\"Regex\":",
                  pattern, "}}," BYTE_LEVEL "]}");
    write_parts((parts){.pre_tokenizer = split});
    lc_free(split);
    return lc_tokenizer_load(dir, &tokenizer, &test_err) == LC_OK ? tokenizer : NULL;
}

/* Each would take longer than anybody waits: of a power of the text's length, or exponential. */
static void patterns_that_backtrack(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "(a+)+$",
        "(a|aa)+$",
        "(a+)+[bx]",
        "(a|a)+[bx]",
        "(?:(?:a+)+)+[bx]",
        "(?=(a+)+[bx])a",
        "(?<=a)(a+)+[bx]",
        "(?>(a|aa)+[bx])",
        "(?i:(a|A|aa)+)[bx]",
        "(?:a?){40}a{40}[bx]",
        "a{0,40}a{0,40}a{0,40}a{0,40}a{0,40}[bx]",
        "(\\p{L}+\\s?)+[bx]",
        "(.*)*[xy]",
    };
    static const int lengths[] = {60, 3000};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        lc_tokenizer *tokenizer = load_split(patterns[i]);
        assert_non_null(tokenizer);
        for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
            lc_tokens tokens = {0};
            char *text = repeated("", "a", lengths[k], "!");
            assert_fails(
                lc_tokenizer_encode(tokenizer, text, strlen(text), false, &tokens, &test_err),
                LC_ERR_INVALID, "took too many steps (LC_MAX_REGEX_STEPS for a match, ");
            lc_tokens_release(&tokens);
            lc_free(text);
        }
        lc_tokenizer_free(tokenizer);
    }
}

static void patterns_that_are_large(void **state)
{
    (void)state;
    static const struct {
        const char *begin, *part, *end;
        int count;
        const char *message;
    } cases[] = {
        {"", "(", "a", 2000, "parentheses are too deeply nested"},
        {"((((a{1000}){1000}){1000}){1000})", "", "", 0, "regular expression is too large"},
        {"(((((((a{9}){9}){9}){9}){9}){9}){9})", "", "", 0, "regular expression is too large"},
        {"a{65536}", "", "", 0, "number too big in {} quantifier"},
        {"a{99999999999999999999}", "", "", 0, "number too big in {} quantifier"},
        {"[^", "\\p{L}", "]+", 2000, "regular expression is too large"},
        {"a", "|a", "", 10000, "a regular expression of 20001 bytes (limit 16384)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *pattern = repeated(cases[i].begin, cases[i].part, cases[i].count, cases[i].end);
        char *back = repeated(pattern, ")", cases[i].part[0] == '(' ? cases[i].count : 0, "");
        assert_null(load_split(back));
        if (strstr(test_err.message, cases[i].message) == NULL) {
            fail_msg("\"%s\" lacks \"%s\"", test_err.message, cases[i].message);
        }
        assert_non_null(strstr(test_err.message, "pre_tokenizer Split"));
        lc_free(back);
        lc_free(pattern);
    }
}

/* A Sequence of steps, "a" to `count` times "b", "b" to as many "a" and so on, and `more`. */
static char *laughs(const char *begin, int steps, int count, const char *more)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_add(&text, begin, strlen(begin));
    for (int i = 0; i < steps; i++) {
        const char from = i % 2 == 0 ? 'a' : 'b', to = i % 2 == 0 ? 'b' : 'a';
        lc_text_addf(&text,
                     "%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"%c\"},\"content\":\"",
                     i > 0 ? "," : "", from);
        for (int k = 0; k < count; k++) {
            lc_text_add(&text, &to, 1);
        }
        lc_text_add(&text, "\"}", 2);
    }
    lc_text_add(&text, more, strlen(more));
    assert_ok(lc_text_finish(&text, "a test", &test_err));
    return text.data;
}

static void normalizers_that_feed_each_other(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer = NULL;
    lc_tokens tokens = {0};
    char *normalizer = laughs("{\"type\":\"Sequence\",\"normalizers\":[", 3, 30000, "]}");
    write_parts((parts){.normalizer = normalizer});
    lc_free(normalizer);
    assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
    assert_fails(lc_tokenizer_encode(tokenizer, "a", 1, false, &tokens, &test_err), LC_ERR_INVALID,
                 "a text above the limit of 536870912 bytes once normalized");
    assert_int_equal(tokens.count, 0);
    lc_tokens_release(&tokens);
    lc_tokenizer_free(tokenizer);
}

static void decoders_that_feed_each_other(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer = NULL;
    char *text = NULL;
    size_t bytes = 0;
    char *decoder = laughs("{\"type\":\"Sequence\",\"decoders\":[", 7, 100, "," BYTE_LEVEL "]}");
    write_parts((parts){.decoder = decoder});
    lc_free(decoder);
    assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
    const int32_t id = lc_tokenizer_id(tokenizer, "a");
    assert_fails(lc_tokenizer_decode(tokenizer, &id, 1, false, &text, &bytes, &test_err),
                 LC_ERR_INVALID, "(LC_MAX_TOKEN_TEXT)");
    lc_decode_stream stream = {0};
    lc_text out;
    lc_text_init(&out);
    assert_fails(lc_decode_stream_push(&stream, tokenizer, id, false, &out, &test_err),
                 LC_ERR_INVALID, "(LC_MAX_TOKEN_TEXT)");
    lc_decode_stream_release(&stream);
    lc_text_release(&out);
    lc_tokenizer_free(tokenizer);
}

/* Each token within its limit, all of them beyond theirs. */
static void decoded_texts_are_limited(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer = NULL;
    char *text = NULL;
    size_t bytes = 0;
    static int32_t ids[600];
    char *decoder = laughs("{\"type\":\"Sequence\",\"decoders\":[", 3, 100, "," BYTE_LEVEL "]}");
    write_parts((parts){.decoder = decoder});
    lc_free(decoder);
    assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
    for (size_t i = 0; i < 600; i++) {
        ids[i] = lc_tokenizer_id(tokenizer, "a");
    }
    assert_ok(lc_tokenizer_decode(tokenizer, ids, 2, false, &text, &bytes, &test_err));
    assert_int_equal(bytes, 2000000);
    lc_free(text);
    assert_fails(lc_tokenizer_decode(tokenizer, ids, 600, false, &text, &bytes, &test_err),
                 LC_ERR_INVALID, "(LC_MAX_DECODED_BYTES)");
    lc_tokenizer_free(tokenizer);
}

/* As many added tokens as there may be, all of which begin as the text does everywhere. */
static void added_tokens_that_are_alike(void **state)
{
    (void)state;
    lc_tokenizer *tokenizer = NULL;
    lc_tokens tokens = {0};
    lc_text added;
    lc_text_init(&added);
    for (int i = 0; i < LC_MAX_ADDED_TOKENS; i++) {
        lc_text_addf(&added, "%s{\"id\":%d,\"content\":\"aaaaaaaa%05d\",\"special\":true}",
                     i > 0 ? "," : "[", 257 + i, i);
    }
    lc_text_add(&added, "]", 1);
    assert_ok(lc_text_finish(&added, "a test", &test_err));
    write_parts((parts){.added = added.data});
    lc_text_release(&added);
    assert_ok(lc_tokenizer_load(dir, &tokenizer, &test_err));
    char *text = repeated("", "a", 1000000, "00007a00065536");
    assert_ok(lc_tokenizer_encode(tokenizer, text, strlen(text), false, &tokens, &test_err));
    assert_int_equal(tokens.ids[tokens.count - 10], 257 + 7);
    assert_int_equal(tokens.starts[tokens.count - 10], 999992);
    lc_tokens_release(&tokens);
    lc_free(text);
    lc_tokenizer_free(tokenizer);
}

/* ---- templates ---- */

static lc_code render(const char *text, lc_rendered *out)
{
    char path[LC_MAX_PATH_BYTES];
    lc_chat_template *t = NULL;
    cJSON *row = cJSON_CreateObject();
    *out = (lc_rendered){0};
    if (dir == NULL) {
        dir = test_dir();
    }
    assert_ok(lc_path_join(dir, "t.jinja", path, &test_err));
    test_write_file(path, text, strlen(text));
    const lc_template_source source = {.file = path, .date = "2024-07-26"};
    lc_code code = lc_chat_template_open(&source, &t, &test_err);
    if (code == LC_OK) {
        const lc_template_args args = {.row = row, .is_raw = true};
        code = lc_chat_template_render(t, &args, out, &test_err);
    }
    lc_chat_template_free(t);
    cJSON_Delete(row);
    return code;
}

#define DOUBLED(first, next)                                                           \
    "{% set ns = namespace(x=" first ") %}{% for i in range(90) %}{% set ns.x = " next \
    " %}{% endfor %}"
#define FOREVER(body) \
    "{% for i in range(100000) %}{% for k in range(100000) %}" body "{% endfor %}{% endfor %}"

static void templates(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        /* doubled */
        {DOUBLED("'0123456789'", "ns.x ~ ns.x"), "LC_MAX_TEMPLATE_MEMORY"},
        {DOUBLED("'0123456789'", "ns.x * 2"), "LC_MAX_TEMPLATE_MEMORY"},
        {DOUBLED("'0123456789'", "ns.x | replace('0', '00')"), "LC_MAX_TEMPLATE_"},
        {DOUBLED("'0123456789'", "'%s%s' % (ns.x, ns.x)"), "LC_MAX_TEMPLATE_OUTPUT"},
        {DOUBLED("'0123456789'", "'{0}{0}'.format(ns.x)"), "LC_MAX_TEMPLATE_OUTPUT"},
        {DOUBLED("'0123456789'", "[ns.x, ns.x] | join"), "LC_MAX_TEMPLATE_MEMORY"},
        {DOUBLED("[1, 2]", "ns.x + ns.x"), "LC_MAX_TEMPLATE_MEMORY"},
        {DOUBLED("[1, 2]", "[ns.x, ns.x]") "{{ ns.x }}", "LC_MAX_TEMPLATE_OUTPUT"},
        {DOUBLED("[1, 2]", "[ns.x, ns.x]") "{{ ns.x | tojson }}", "LC_MAX_TEMPLATE_OUTPUT"},
        {DOUBLED("[1, 2]", "[ns.x, ns.x]") "{{ ns.x == ns.x }}", "LC_MAX_TEMPLATE_STEPS"},
        {DOUBLED("(1, 2)", "(ns.x, ns.x)") "{{ {ns.x: 1} }}", "LC_MAX_TEMPLATE_STEPS"},
        {"{% set x %}{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}{% endset %}",
         "LC_MAX_TEMPLATE_OUTPUT"},
        {"{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{{ m(n - 1) }}{% else %}lol{% endif %}"
         "{% endmacro %}{{ m(40) }}",
         "LC_MAX_TEMPLATE_"},
        /* large at once */
        {"{{ range(10 ** 9) }}", "Range too big"},
        {"{{ 'x' * 10 ** 9 }}", "LC_MAX_TEMPLATE_MEMORY"},
        {"{{ ['x'] * 10 ** 9 }}", "a list of that many items is too large"},
        {"{{ 10 ** 10 ** 10 }}", "an integer beyond 64 bits"},
        {"{{ '%1000000000d' % 1 }}", "a format wider than 10000"},
        {"{{ '%.1000000000f' % 1.0 }}", "a format wider than 10000"},
        {"{{ 'a'.center(1000000000) }}", "LC_MAX_TEMPLATE_MEMORY"},
        {"{{ 'a' | center(1000000000) }}", "LC_MAX_TEMPLATE_MEMORY"},
        {"{{ 'a'.ljust(1000000000) }}", "LC_MAX_TEMPLATE_MEMORY"},
        {"{{ '1'.zfill(1000000000) }}", "LC_MAX_TEMPLATE_MEMORY"},
        {"{{ 'a\\tb'.expandtabs(1000000000) }}", "expandtabs: more than 1000 columns"},
        {"{{ ('a\\n' * 1000000) | indent(1000000) }}", "LC_MAX_TEMPLATE_MEMORY"},
        {"{{ ('\\t' * 1000000).expandtabs(1000) }}", "LC_MAX_TEMPLATE_OUTPUT"},
        {"{{ ('%s' * 1000000) % (('a' * 1000,) * 1000000) }}", "LC_MAX_TEMPLATE_OUTPUT"},
        {"{{ ('{0:>9999}' * 1000000).format('a') }}", "LC_MAX_TEMPLATE_OUTPUT"},
        {"{{ ('&' * 40000000) | urlencode }}", "LC_MAX_TEMPLATE_OUTPUT"},
        {"{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}", "too long"},
        {"{{ ('a' * 100000) | list | join('b' * 100000) }}", "LC_MAX_TEMPLATE_MEMORY"},
        {"{{ ('b' * 100000).join('a' * 100000) }}", "LC_MAX_TEMPLATE_MEMORY"},
        {"{{ ('&' * 60000000) | e }}", "LC_MAX_TEMPLATE_MEMORY"},
        {"{{ [1] | batch(1000000000, 'x') | list }}", "LC_MAX_TEMPLATE_"},
        /* deep */
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "LC_MAX_TEMPLATE_DEPTH"},
        {"{% macro a(f) %}{{ f(f) }}{% endmacro %}{{ a(a) }}", "LC_MAX_TEMPLATE_DEPTH"},
        {"{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}", "LC_MAX_TEMPLATE_DEPTH"},
        {"{% set ns = namespace(x=[1]) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}"
         "{% endfor %}{{ ns.x | tojson }}",
         "LC_MAX_TEMPLATE_DEPTH"},
        {"{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "LC_MAX_TEMPLATE_DEPTH"},
        {"{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns.x }}", "LC_MAX_TEMPLATE_DEPTH"},
        {"{% set ns = namespace() %}{% set ns.x = ns %}{{ ns | tojson }}",
         "is not JSON serializable"},
        /* long */
        {FOREVER(""), "LC_MAX_TEMPLATE_STEPS"},
        {"{% set x = 'a' * 1000000 %}{% set y = 'a' * 1000000 %}" FOREVER(
             "{% if x == y %}{% endif %}"),
         "LC_MAX_TEMPLATE_STEPS"},
        {"{% set x = range(9999) | list %}{% set y = range(9999) | list %}" FOREVER(
             "{% if x == y %}{% endif %}"),
         "LC_MAX_TEMPLATE_STEPS"},
        {"{{ ('ab' * 500000).strip(('c' * 1000000) ~ 'ab') }}", "LC_MAX_TEMPLATE_STEPS"},
        {"{{ ('ab' * 500000) | trim(('c' * 1000000) ~ 'ab') }}", "LC_MAX_TEMPLATE_STEPS"},
        {"{% set d = dict(range(9998) | batch(2)) %}" FOREVER("{% set x = d[-1] %}"),
         "LC_MAX_TEMPLATE_STEPS"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_rendered rendered;
        if (render(cases[i].text, &rendered) != LC_ERR_INVALID ||
            strstr(test_err.message, cases[i].message) == NULL) {
            fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].text, test_err.message, cases[i].message);
        }
    }
}

/* What is not closed is looked for once. */
static void many_tags(void **state)
{
    (void)state;
    lc_rendered rendered;
    assert_ok(render("{{ ('<a' * 10000000) | striptags | length }}", &rendered));
    assert_string_equal(rendered.text, "20000000");
    lc_rendered_release(&rendered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_that_backtrack),
        cmocka_unit_test(patterns_that_are_large),
        cmocka_unit_test(normalizers_that_feed_each_other),
        cmocka_unit_test(decoders_that_feed_each_other),
        cmocka_unit_test(decoded_texts_are_limited),
        cmocka_unit_test(added_tokens_that_are_alike),
        cmocka_unit_test(templates),
        cmocka_unit_test(many_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
