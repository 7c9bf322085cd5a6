/*
 * The tape takes what lc_json_parse takes, and holds the same values: on random values, and on
 * these with bytes changed.
 */
#include "testing.h"

#include "base/json.h"
#include "base/json_tape.h"
#include "lorac/mem.h"

#define MOST 4096

static lc_json_tape tape;

/* ---- a tape against a tree ---- */

static void same_string(const lc_json_node *node, const char *text)
{
    char decoded[MOST];
    const size_t bytes = lc_json_node_decode(&tape, node, decoded, sizeof decoded);
    assert_int_equal(node->kind, LC_JSON_STRING);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(decoded, text, bytes);
    if (bytes <= 64) {
        assert_true(lc_json_node_is(&tape, node, text));
        assert_false(lc_json_node_is(&tape, node, "no such text"));
    }
}

/* Compares the value at `node` with `item`, and what is in it by descent (64 levels at most). */
static void same_value(const lc_json_node *node, const cJSON *item)
{
    const lc_json_node *end = lc_json_node_end(&tape, node);
    if (cJSON_IsString(item)) {
        same_string(node, item->valuestring);
    } else if (cJSON_IsNumber(item)) {
        assert_int_equal(node->kind, LC_JSON_NUMBER);
        char copy[80] = "";
        memcpy(copy, lc_json_node_text(&tape, node), node->bytes);
        const double value = strtod(copy, NULL);
        assert_memory_equal(&value, &item->valuedouble, sizeof value);
    } else if (cJSON_IsArray(item) || cJSON_IsObject(item)) {
        assert_int_equal(node->kind, cJSON_IsArray(item) ? LC_JSON_ARRAY : LC_JSON_OBJECT);
        const lc_json_node *at = lc_json_node_first(node);
        for (const cJSON *child = item->child; child != NULL; child = child->next) {
            assert_true(at < end);
            if (cJSON_IsObject(item)) {
                same_string(at++, child->string);
            }
            same_value(at, child);
            at = lc_json_node_next(&tape, at);
        }
        assert_ptr_equal(at, end);
    } else {
        assert_int_equal(node->kind, cJSON_IsNull(item)   ? LC_JSON_NULL
                                     : cJSON_IsTrue(item) ? LC_JSON_TRUE
                                                          : LC_JSON_FALSE);
    }
}

/* Both take the text, or both refuse it in the same words. */
static bool agree(const char *text, size_t bytes)
{
    char *exact = malloc(bytes + (bytes == 0)); /* without a NUL: a read beyond it is seen */
    lc_err tree_err = {.code = LC_OK}, tape_err = {.code = LC_OK};
    cJSON *root = NULL;
    memcpy(exact, text, bytes);
    const lc_code code = lc_json_parse(exact, bytes, LC_JSON_DEFAULT, "JSON", &root, &tree_err);
    assert_int_equal(lc_json_tape_read(&tape, exact, bytes, NULL), code);
    assert_int_equal(lc_json_tape_read(&tape, exact, bytes, &tape_err), code);
    assert_string_equal(tape_err.message, tree_err.message);
    if (code == LC_OK) {
        assert_int_equal(tape.nodes[0].next, tape.count);
        same_value(&tape.nodes[0], root);
    } else {
        assert_true(tape.problem_at <= bytes);
    }
    cJSON_Delete(root);
    free(exact);
    return code == LC_OK;
}

/* ---- random texts ---- */

typedef struct writer {
    char text[MOST];
    size_t bytes;
} writer;

static void put(writer *w, const char *text)
{
    const size_t bytes = strlen(text);
    if (w->bytes + bytes < sizeof w->text) {
        memcpy(w->text + w->bytes, text, bytes);
        w->bytes += bytes;
    }
}

static void put_string(writer *w)
{
    static const char *const pieces[] = {"a",
                                         "role",
                                         "\\n",
                                         "\\u00e9",
                                         "\xc3\xa9",
                                         "\\\"",
                                         "\\\\",
                                         "\\ud83d\\ude00",
                                         "\\/",
                                         "\\u0041",
                                         "0123456789abcdef",
                                         "\xf0\x9f\x98\x80",
                                         "\x7f",
                                         " "};
    put(w, "\"");
    for (int64_t i = test_int(0, 6); i > 0; i--) {
        put(w, pieces[test_int(0, 13)]);
    }
    put(w, "\"");
}

static void put_value(writer *w, int depth)
{
    static const char *const scalars[] = {
        "null", "true", "false", "0", "-1.5e3", "1e-9", "12345678901234567890",
        "-0",   "1E+2", "0.25"};
    static const char *const blanks[] = {"", "", " ", "\t", " \r\n "};
    const int64_t kind = depth > 6 ? test_int(0, 3) : test_int(0, 8);
    put(w, blanks[test_int(0, 4)]);
    if (kind < 2) {
        put(w, scalars[test_int(0, 9)]);
    } else if (kind < 4) {
        put_string(w);
    } else {
        const bool is_object = kind > 5;
        put(w, is_object ? "{" : "[");
        for (int64_t i = 0, count = test_int(0, 5); i < count; i++) {
            put(w, i > 0 ? "," : "");
            if (is_object) {
                put_string(w);
                put(w, blanks[test_int(0, 4)]);
                put(w, ":");
            }
            put_value(w, depth + 1);
        }
        put(w, is_object ? "}" : "]");
    }
    put(w, blanks[test_int(0, 4)]);
}

static void mutate(writer *w)
{
    static const char bytes[] = "\"\\{}[],:u0dD8-+.eE tfn\x01\x7f\x80\xc3\xed\xff";
    const size_t at = w->bytes > 0 ? (size_t)test_int(0, (int64_t)w->bytes - 1) : 0;
    switch (test_int(0, 3)) {
    case 0:
        w->text[at] = bytes[test_int(0, sizeof bytes - 1)]; /* NUL among them */
        break;
    case 1:
        memmove(w->text + at, w->text + at + 1, w->bytes - at - 1);
        w->bytes--;
        break;
    case 2:
        w->bytes = at;
        break;
    default:
        w->text[at] = (char)(w->text[at] ^ 1 << test_int(0, 7));
        break;
    }
}

static void random_texts(void **state)
{
    (void)state;
    int64_t taken = 0, refused = 0;
    for (int round = 0; round < 40000; round++) {
        writer w = {.bytes = 0};
        put_value(&w, 0);
        for (int64_t changes = test_int(0, 3); changes > 0 && w.bytes > 1; changes--) {
            mutate(&w);
        }
        *(agree(w.text, w.bytes) ? &taken : &refused) += 1;
    }
    assert_true(taken > 4000 && refused > 4000);
}

static void problems(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        lc_json_problem problem;
        size_t at;
    } cases[] = {
        {"{\"a\":}", LC_JSON_SYNTAX, 5},
        {"", LC_JSON_SYNTAX, 0},
        {"\xEF\xBB\xBF{}", LC_JSON_SYNTAX, 0},
        {"\"\xff\"", LC_JSON_BAD_UTF8, 1},
        {"\"01234567\xc3\"", LC_JSON_BAD_UTF8, 9},
        {"\"\xed\xa0\x80\"", LC_JSON_BAD_UTF8, 1},
        {"\xff", LC_JSON_BAD_UTF8, 0},
        {"\xc3\xa9", LC_JSON_SYNTAX, 0},
        {"\"\\u0000\"", LC_JSON_NUL, 1},
        {"\"\\ud800\"", LC_JSON_SURROGATE, 1},
        {"\"\\ud800\\u0041\"", LC_JSON_SURROGATE, 1},
        {"\"\\udc00\"", LC_JSON_SURROGATE, 1},
        {"{\"a\":1,\"\\u0061\":2}", LC_JSON_DUPLICATE_KEY, 7},
        {"{\"a\":{\"a\":1},\"b\":[{\"c\":1,\"c\":2}]}", LC_JSON_DUPLICATE_KEY, 25},
        {"1e999", LC_JSON_NUMBER_RANGE, 0},
        {"[1234567890123456789012345678901234567890123456789012345678901234]", LC_JSON_NUMBER_RANGE,
         1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_false(agree(cases[i].text, strlen(cases[i].text)));
        assert_int_equal(tape.problem, cases[i].problem);
        assert_int_equal(tape.problem_at, cases[i].at);
    }
    assert_false(agree("\"a\0b\"", 5));
    assert_int_equal(tape.problem, LC_JSON_NUL);
    assert_false(agree("\0", 1));
    assert_int_equal(tape.problem, LC_JSON_NUL);
    assert_true(agree("[123456789012345678901234567890123456789012345678901234567890123]", 65));
    char deep[2 * (LC_MAX_JSON_DEPTH + 1) + 1];
    for (int depth = LC_MAX_JSON_DEPTH - 1; depth <= LC_MAX_JSON_DEPTH + 1; depth++) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        assert_int_equal(agree(deep, 2 * (size_t)depth), depth <= LC_MAX_JSON_DEPTH);
        assert_true(depth <= LC_MAX_JSON_DEPTH || tape.problem == LC_JSON_TOO_DEEP);
    }
}

/* Strings of every length with one special character at every place: the eight-wide skip. */
static void string_places(void **state)
{
    (void)state;
    static const char *const specials[] = {"\"", "\\n", "\x1f", "\xc3\xa9", "\x80", "\x7f"};
    for (size_t length = 0; length < 28; length++) {
        for (size_t at = 0; at <= length; at++) {
            for (size_t s = 0; s < 6; s++) {
                char text[64] = "\"";
                memset(text + 1, 'x', at);
                const size_t special = strlen(specials[s]);
                memcpy(text + 1 + at, specials[s], special);
                memset(text + 1 + at + special, 'y', length - at);
                text[1 + length + special] = '"';
                const bool is_good = s == 1 || s == 3 || s == 5;
                assert_int_equal(agree(text, length + special + 2), is_good);
            }
        }
    }
}

static bool is_opaque(const char *key, size_t bytes, int depth)
{
    return depth == 1 && bytes == 1 && key[0] == 'x';
}

static void opaque_values(void **state)
{
    (void)state;
    static const char text[] = "{\"x\":{\"x\":[1,2],\"y\":{}},\"y\":{\"x\":[3]},\"z\":[]}";
    tape.is_opaque = is_opaque;
    assert_ok(lc_json_tape_read(&tape, text, sizeof text - 1, &test_err));
    tape.is_opaque = NULL;
    assert_int_equal(tape.count, 1 + 2 + 5 + 2);
    const lc_json_node *x = &tape.nodes[2];
    assert_int_equal(x->kind, LC_JSON_OBJECT);
    assert_int_equal(x->bytes, strlen("{\"x\":[1,2],\"y\":{}}"));
    assert_ptr_equal(lc_json_node_first(x), lc_json_node_end(&tape, x));
    assert_true(lc_json_node_is(&tape, lc_json_node_end(&tape, x), "y"));
}

static void most_nodes(void **state)
{
    (void)state;
    char *text = malloc(2 * LC_MAX_JSON_NODES + 4);
    for (int extra = -1; extra <= 1; extra++) {
        const size_t values = LC_MAX_JSON_NODES - 1 + (size_t)extra; /* beside the list itself */
        text[0] = '[';
        for (size_t i = 0; i < values; i++) {
            text[1 + 2 * i] = '0';
            text[2 + 2 * i] = ',';
        }
        text[2 * values] = ']';
        assert_ok(lc_json_tape_read(&tape, text, 2 * values + 1, &test_err));
        assert_int_equal(tape.is_cut, extra > 0);
        assert_int_equal(tape.count, extra > 0 ? LC_MAX_JSON_NODES : values + 1);
    }
    free(text);
}

static int release(void **state)
{
    (void)state;
    lc_json_tape_release(&tape);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_texts),  cmocka_unit_test(problems),
        cmocka_unit_test(string_places), cmocka_unit_test(opaque_values),
        cmocka_unit_test(most_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
