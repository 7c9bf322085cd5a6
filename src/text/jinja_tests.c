/* See jinja_tests.h. */
#include "text/jinja_tests.h"

#include "text/jinja_filters.h"
#include "text/jinja_methods.h"

typedef lc_code (*test_fn)(lc_jvm *vm, const lc_jvalue *args, bool *out);

struct lc_jtest {
    const char *name;
    test_fn run;
    size_t argument_count; /* with what is tested */
};

#define TEST(name) static lc_code test_##name(lc_jvm *vm, const lc_jvalue *args, bool *out)
/* A test that looks at its one argument only. */
#define PLAIN_TEST(name, condition) \
    TEST(name)                      \
    {                               \
        (void)vm;                   \
        *out = (condition);         \
        return LC_OK;               \
    }

PLAIN_TEST(defined, args[0].type != LC_J_UNDEFINED)
PLAIN_TEST(undefined, args[0].type == LC_J_UNDEFINED)
PLAIN_TEST(none, args[0].type == LC_J_NONE)
PLAIN_TEST(boolean, args[0].type == LC_J_BOOL)
PLAIN_TEST(is_false, args[0].type == LC_J_BOOL && args[0].integer == 0)
PLAIN_TEST(is_true, args[0].type == LC_J_BOOL && args[0].integer != 0)
PLAIN_TEST(integer, args[0].type == LC_J_INT || args[0].type == LC_J_BIG_INT)
PLAIN_TEST(float, args[0].type == LC_J_FLOAT)
PLAIN_TEST(string, args[0].type == LC_J_STRING)
PLAIN_TEST(mapping, args[0].type == LC_J_DICT)
PLAIN_TEST(number, lc_jinja_is_number(&args[0]))
PLAIN_TEST(iterable, lc_jinja_is_iterable(&args[0]))
PLAIN_TEST(escaped, args[0].type == LC_J_STRING && (args[0].flags & LC_J_SAFE) != 0)
PLAIN_TEST(sameas, lc_jinja_is_same(&args[0], &args[1]))
PLAIN_TEST(sequence, args[0].type == LC_J_UNDEFINED || args[0].type == LC_J_STRING ||
                         args[0].type == LC_J_LIST || args[0].type == LC_J_TUPLE ||
                         args[0].type == LC_J_DICT || args[0].type == LC_J_RANGE)
PLAIN_TEST(callable, args[0].type == LC_J_UNDEFINED || args[0].type == LC_J_MACRO ||
                         args[0].type == LC_J_FUNCTION || args[0].type == LC_J_METHOD ||
                         args[0].type == LC_J_LOOP || args[0].type == LC_J_JOINER)

/* value % divisor == rest, with Python's %. */
static lc_code has_rest(lc_jvm *vm, const lc_jvalue *value, const lc_jvalue *divisor, int64_t rest,
                        bool *out)
{
    lc_jvalue found;
    const lc_jvalue wanted = lc_jinja_int(rest);
    LC_TRY(lc_jinja_binary(vm, LC_N_MODULO, value, divisor, &found));
    return lc_jinja_equal(vm, &found, &wanted, out);
}

/* A name that is looked up in a dict of Python's. */
TEST(filter)
{
    LC_TRY(lc_jinja_check_hash(vm, &args[0]));
    *out = lc_jinja_find_filter_named(&args[0]);
    return LC_OK;
}

TEST(test)
{
    LC_TRY(lc_jinja_check_hash(vm, &args[0]));
    *out = args[0].type == LC_J_STRING && lc_jinja_find_test(&args[0]) != NULL;
    return LC_OK;
}

TEST(odd)
{
    const lc_jvalue two = lc_jinja_int(2);
    return has_rest(vm, &args[0], &two, 1, out);
}

TEST(even)
{
    const lc_jvalue two = lc_jinja_int(2);
    return has_rest(vm, &args[0], &two, 0, out);
}

TEST(divisibleby)
{
    return has_rest(vm, &args[0], &args[1], 0, out);
}

TEST(lower)
{
    lc_jvalue text;
    LC_TRY(lc_jinja_str(vm, &args[0], &text));
    *out = lc_jinja_is_lower(&text, false);
    return LC_OK;
}

TEST(upper)
{
    lc_jvalue text;
    LC_TRY(lc_jinja_str(vm, &args[0], &text));
    *out = lc_jinja_is_lower(&text, true);
    return LC_OK;
}

TEST(in)
{
    return lc_jinja_contains(vm, &args[0], &args[1], out);
}

TEST(equal)
{
    return lc_jinja_equal(vm, &args[0], &args[1], out);
}

TEST(not_equal)
{
    LC_TRY(lc_jinja_equal(vm, &args[0], &args[1], out));
    *out = !*out;
    return LC_OK;
}

TEST(less)
{
    return lc_jinja_order(vm, &args[0], &args[1], LC_J_LESS, out);
}

TEST(less_equal)
{
    return lc_jinja_order(vm, &args[0], &args[1], LC_J_LESS_EQUAL, out);
}

TEST(greater)
{
    return lc_jinja_order(vm, &args[0], &args[1], LC_J_GREATER, out);
}

TEST(greater_equal)
{
    return lc_jinja_order(vm, &args[0], &args[1], LC_J_GREATER_EQUAL, out);
}

static const lc_jtest tests[] = {
    {"defined", test_defined, 1},
    {"string", test_string, 1},
    {"none", test_none, 1},
    {"mapping", test_mapping, 1},
    {"iterable", test_iterable, 1},
    {"undefined", test_undefined, 1},
    {"sequence", test_sequence, 1},
    {"true", test_is_true, 1},
    {"false", test_is_false, 1},
    {"boolean", test_boolean, 1},
    {"number", test_number, 1},
    {"integer", test_integer, 1},
    {"float", test_float, 1},
    {"odd", test_odd, 1},
    {"even", test_even, 1},
    {"divisibleby", test_divisibleby, 2},
    {"lower", test_lower, 1},
    {"upper", test_upper, 1},
    {"in", test_in, 2},
    {"callable", test_callable, 1},
    {"escaped", test_escaped, 1},
    {"sameas", test_sameas, 2},
    {"filter", test_filter, 1},
    {"test", test_test, 1},
    {"eq", test_equal, 2},
    {"equalto", test_equal, 2},
    {"==", test_equal, 2},
    {"ne", test_not_equal, 2},
    {"!=", test_not_equal, 2},
    {"lt", test_less, 2},
    {"lessthan", test_less, 2},
    {"<", test_less, 2},
    {"le", test_less_equal, 2},
    {"<=", test_less_equal, 2},
    {"gt", test_greater, 2},
    {"greaterthan", test_greater, 2},
    {">", test_greater, 2},
    {"ge", test_greater_equal, 2},
    {">=", test_greater_equal, 2},
};

const lc_jtest *lc_jinja_find_test(const lc_jvalue *name)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (lc_jinja_is_text(name, tests[i].name)) {
            return &tests[i];
        }
    }
    return NULL;
}

lc_code lc_jinja_run_test(lc_jvm *vm, const lc_jtest *test, const lc_jcall *call, bool *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    static const char *const parameters[] = {"", "value", "value,other"};
    /* The operators' names are those of Python's, which take no keywords. */
    LC_TRY(lc_jinja_bind_call(vm, test->name,
                              test->run == test_divisibleby ? "value,num"
                              : test->run == test_in        ? "value,seq"
                                                            : parameters[test->argument_count],
                              test->argument_count, call, args));
    return test->run(vm, args, out);
}
