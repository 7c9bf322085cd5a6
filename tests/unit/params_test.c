/* Parameters of the environment. */
#include "testing.h"

#include "base/params.h"

static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < LC_PARAM_COUNT; i++) {
        const lc_param *param = lc_param_describe((lc_param_id)i);
        assert_true(strlen(param->name) > 0 && strlen(param->type) > 0);
        assert_true(strlen(param->default_text) > 0 && strlen(param->help) > 0);
        assert_true(param->min <= param->max);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(param->name, lc_param_describe((lc_param_id)j)->name);
        }
    }
    assert_string_equal(lc_param_describe(LC_PARAM_THREADS)->name, "LORAC_THREADS");
    assert_string_equal(lc_param_describe(LC_PARAM_FAULT)->name, "LORAC_FAULT");
    assert_string_equal(lc_param_describe(LC_PARAM_LOG_LEVEL)->name, "LORAC_LOG");
    assert_string_equal(lc_param_describe(LC_PARAM_NO_COLOR)->name, "NO_COLOR");
    assert_string_equal(lc_param_describe(LC_PARAM_COLUMNS)->name, "COLUMNS");
}

static void test_text(void **state)
{
    (void)state;
    (void)unsetenv("LORAC_LOG");
    assert_null(lc_param_text(LC_PARAM_LOG_LEVEL));
    (void)setenv("LORAC_LOG", "debug", 1);
    assert_string_equal(lc_param_text(LC_PARAM_LOG_LEVEL), "debug");
    (void)unsetenv("LORAC_LOG");
}

static void test_integers(void **state)
{
    (void)state;
    int64_t value = 0;
    (void)unsetenv("LORAC_THREADS");
    assert_ok(lc_param_int(LC_PARAM_THREADS, 5, &value, &test_err));
    assert_int_equal(value, 5);
    (void)setenv("LORAC_THREADS", "", 1);
    assert_ok(lc_param_int(LC_PARAM_THREADS, 6, &value, &test_err));
    assert_int_equal(value, 6);
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"1", 1}, {"2", 2}, {"255", 255}, {"256", 256}, {"007", 7}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        (void)setenv("LORAC_THREADS", good[i].text, 1);
        assert_ok(lc_param_int(LC_PARAM_THREADS, 5, &value, &test_err));
        assert_int_equal(value, good[i].value);
    }
    static const char *const bad[] = {
        "0", "257", "-1", "1.5", "two", "3 ", " 3", "+3", "0x2", "-", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        value = 77;
        (void)setenv("LORAC_THREADS", bad[i], 1);
        assert_fails(lc_param_int(LC_PARAM_THREADS, 5, &value, &test_err), LC_ERR_USAGE,
                     "LORAC_THREADS must be an integer from 1 to 256, not ");
        assert_non_null(strstr(test_err.message, bad[i]));
        assert_string_equal(test_err.param, "LORAC_THREADS");
        assert_int_equal(value, 77);
    }
    (void)unsetenv("LORAC_THREADS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
