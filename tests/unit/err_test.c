/* Errors: codes, first error wins, cutting, context, errno; and the log's lines. */
// ctest: threads
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/file.h"
#include "lorac/log.h"
#include "lorac/lorac.h"
#include "lorac/mem.h"

static void test_code_table(void **state)
{
    (void)state;
    static const struct {
        lc_code code;
        const char *name;
        int status;
    } rows[] = {{LC_OK, "ok", 0},
                {LC_ERR_USAGE, "usage", 2},
                {LC_ERR_INVALID, "invalid", 3},
                {LC_ERR_UNSUPPORTED, "unsupported", 3},
                {LC_ERR_NOT_FOUND, "not_found", 3},
                {LC_ERR_BUSY, "busy", 2},
                {LC_ERR_STATE, "state", 2},
                {LC_ERR_TOO_LARGE, "too_large", 3},
                {LC_ERR_MEMORY, "memory", 1},
                {LC_ERR_IO, "io", 1},
                {LC_ERR_DISK_FULL, "disk_full", 75},
                {LC_ERR_INTERRUPTED, "interrupted", 75},
                {LC_ERR_DEVICE, "device", 1},
                {LC_ERR_NUMERIC, "numeric", 1},
                {LC_ERR_INTERNAL, "internal", 1}};
    assert_int_equal(sizeof rows / sizeof rows[0], LC_CODE_COUNT);
    for (size_t i = 0; i < LC_CODE_COUNT; i++) {
        assert_string_equal(lc_code_name(rows[i].code), rows[i].name);
        assert_int_equal(lc_code_exit_status(rows[i].code), rows[i].status);
        assert_int_equal(lc_code_of(rows[i].name), rows[i].code);
    }
    assert_int_equal(lc_code_of("invalid_training_file"), LC_CODE_COUNT);
    assert_string_equal(lc_code_name(LC_CODE_COUNT), "unknown");
    assert_int_equal(lc_code_exit_status(LC_CODE_COUNT), 1);
}

static void test_first_error_wins(void **state)
{
    (void)state;
    lc_err err = {0};
    assert_int_equal(lc_fail_param(&err, LC_ERR_INVALID, "rank", "rank is %d", 7), LC_ERR_INVALID);
    assert_int_equal(lc_fail_line(&err, LC_ERR_IO, 9, "later"), LC_ERR_IO);
    assert_int_equal(lc_fail(&err, LC_ERR_MEMORY, "later"), LC_ERR_MEMORY);
    errno = ENOSPC;
    assert_int_equal(lc_fail_errno(&err, "later"), LC_ERR_DISK_FULL);
    assert_int_equal(err.code, LC_ERR_INVALID);
    assert_int_equal(err.line, 0);
    assert_string_equal(err.param, "rank");
    assert_string_equal(err.message, "rank is 7");
    assert_null(err.api_code);
    assert_int_equal(lc_err_api_code(&err, "quotaExceeded"), LC_ERR_INVALID);
    assert_string_equal(err.api_code, "quotaExceeded");
    lc_err_clear(&err);
    assert_null(err.api_code);
    assert_int_equal(err.code, LC_OK);
    assert_string_equal(err.message, "");
    assert_string_equal(err.param, "");
    assert_int_equal(lc_fail_line(&err, LC_ERR_INVALID, 9, "row"), LC_ERR_INVALID);
    assert_int_equal(err.line, 9);
}

static void test_without_a_place_for_it(void **state)
{
    (void)state;
    assert_int_equal(lc_fail(NULL, LC_ERR_IO, "x"), LC_ERR_IO);
    assert_int_equal(lc_fail_param(NULL, LC_ERR_IO, NULL, "x"), LC_ERR_IO);
    assert_int_equal(lc_fail_line(NULL, LC_ERR_IO, 1, "x"), LC_ERR_IO);
    errno = EIO;
    assert_int_equal(lc_fail_errno(NULL, "x"), LC_ERR_IO);
    assert_int_equal(lc_err_context(NULL, "x"), LC_ERR_INTERNAL);
    assert_int_equal(lc_err_param(NULL, "x"), LC_ERR_INTERNAL);
    lc_err_clear(NULL);
    lc_err err = {0};
    assert_int_equal(lc_fail_param(&err, LC_ERR_IO, NULL, "x"), LC_ERR_IO);
    assert_string_equal(err.param, "");
}

static void test_errno(void **state)
{
    (void)state;
    static const struct {
        int number;
        lc_code code;
    } rows[] = {{ENOSPC, LC_ERR_DISK_FULL}, {EDQUOT, LC_ERR_DISK_FULL}, {ENOENT, LC_ERR_NOT_FOUND},
                {ENOMEM, LC_ERR_MEMORY},    {EIO, LC_ERR_IO},           {EACCES, LC_ERR_IO}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        lc_err err = {0};
        char expected[256];
        errno = rows[i].number;
        assert_int_equal(lc_fail_errno(&err, "cannot write %s", "a.bin"), rows[i].code);
        assert_int_equal(errno, rows[i].number);
        (void)snprintf(expected, sizeof expected, "cannot write a.bin: %s",
                       strerror(rows[i].number));
        assert_string_equal(err.message, expected);
    }
}

static void test_long_messages_are_cut(void **state)
{
    (void)state;
    char longer[LC_ERR_MESSAGE_BYTES + 50];
    for (int length = LC_ERR_MESSAGE_BYTES - 2; length <= LC_ERR_MESSAGE_BYTES; length++) {
        memset(longer, 'x', sizeof longer);
        longer[length] = '\0';
        lc_err err = {0};
        assert_int_equal(lc_fail_param(&err, LC_ERR_IO, longer, "%s", longer), LC_ERR_IO);
        const int kept = length < LC_ERR_MESSAGE_BYTES ? length : LC_ERR_MESSAGE_BYTES - 1;
        assert_int_equal(strlen(err.message), kept);
        assert_int_equal(strlen(err.param), LC_ERR_PARAM_BYTES - 1);
        errno = EIO;
        lc_err_clear(&err);
        assert_int_equal(lc_fail_errno(&err, "%s", longer), LC_ERR_IO);
        assert_true(strlen(err.message) == LC_ERR_MESSAGE_BYTES - 1);
    }
}

static void test_messages_are_utf8(void **state)
{
    (void)state;
    lc_err err = {0};
    assert_int_equal(lc_fail_param(&err, LC_ERR_IO, "\xC3", "%.2s|\xFF|\xED\xA0\x80|%s",
                                   "a\xC3\xA9", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
                     LC_ERR_IO);
    assert_string_equal(err.message, "a?|?|???|\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    assert_string_equal(err.param, "?");
}

static void test_context(void **state)
{
    (void)state;
    lc_err err = {0};
    assert_int_equal(lc_err_context(&err, "unused"), LC_OK);
    assert_string_equal(err.message, "");
    assert_int_equal(lc_fail(&err, LC_ERR_IO, "inner"), LC_ERR_IO);
    assert_int_equal(lc_err_context(&err, "file %d", 3), LC_ERR_IO);
    assert_int_equal(lc_err_context(&err, "job"), LC_ERR_IO);
    assert_string_equal(err.message, "job: file 3: inner");
    char longer[2 * LC_ERR_MESSAGE_BYTES];
    memset(longer, 'y', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(lc_err_context(&err, "%s", longer), LC_ERR_IO);
    assert_int_equal(strlen(err.message), LC_ERR_MESSAGE_BYTES - 1);
    lc_err_clear(&err);
    longer[LC_ERR_MESSAGE_BYTES - 1] = '\0';
    assert_int_equal(lc_fail(&err, LC_ERR_IO, "%s", longer), LC_ERR_IO);
    assert_int_equal(lc_err_context(&err, "z"), LC_ERR_IO);
    assert_int_equal(strlen(err.message), LC_ERR_MESSAGE_BYTES - 1);
    assert_memory_equal(err.message, "z: yyy", 6);
}

static char *log_text(const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    assert_ok(lc_file_read(path, 1 << 20, &text, &bytes, &test_err));
    return text;
}

/* Keeps the log's lines out of the test's own output. */
static int silence(void)
{
    const int kept = dup(STDERR_FILENO);
    const int null = open("/dev/null", O_WRONLY);
    assert_true(kept >= 0 && null >= 0);
    assert_int_equal(dup2(null, STDERR_FILENO), STDERR_FILENO);
    (void)close(null);
    return kept;
}

static void speak(int kept)
{
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    (void)close(kept);
}

static void test_log_lines(void **state)
{
    (void)state;
    char path[LC_MAX_PATH_BYTES], longer[3000];
    assert_ok(lc_path_join(test_dir(), "log.txt", path, &test_err));
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    const int kept = silence();
    assert_ok(lc_log_open_file(path, &test_err));
    errno = 77; /* the level is warn: stderr gets less than the file */
    lc_log(LC_LOG_DEBUG, "not this");
    lc_log(LC_LOG_INFO, "a\nb\tc%d", 1);
    lc_log(LC_LOG_ERROR, "%s", longer);
    assert_int_equal(errno, 77);
    lc_log_close_file();
    lc_log(LC_LOG_ERROR, "not this either");
    speak(kept);
    char *text = log_text(path);
    assert_null(strstr(text, "not this"));
    int year, month, day, hour, minute, second, end = 0;
    assert_int_equal(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ info a b c1\n%n", &year, &month, &day,
                            &hour, &minute, &second, &end),
                     6);
    assert_int_equal(end, 20 + 1 + 4 + 1 + 6 + 1);
    assert_int_equal(strlen(text + end), 2047); /* cut, with its newline */
    assert_int_equal(text[end + 2046], '\n');
    lc_free(text);
    assert_fails(lc_log_open_file("/nonexistent/dir/log", &test_err), LC_ERR_NOT_FOUND,
                 "cannot open");
}

static void *log_much(void *unused)
{
    for (int i = 0; i < 200; i++) {
        lc_log(LC_LOG_ERROR, "line %d of a thread", i);
    }
    return unused;
}

static void test_log_from_threads(void **state)
{
    (void)state;
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(test_dir(), "log.txt", path, &test_err));
    pthread_t threads[4];
    const int kept = silence();
    assert_ok(lc_log_open_file(path, &test_err));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_much, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    lc_log_close_file();
    speak(kept);
    char *text = log_text(path);
    int lines = 0, number;
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1, lines++) {
        assert_int_equal(sscanf(line, "%*s error line %d of a thread\n", &number), 1);
    }
    assert_int_equal(lines, 800);
    lc_free(text);
}

static void test_version(void **state)
{
    (void)state;
    assert_string_equal(lc_version(), LC_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_code_table),
        cmocka_unit_test(test_first_error_wins),
        cmocka_unit_test(test_without_a_place_for_it),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_long_messages_are_cut),
        cmocka_unit_test(test_messages_are_utf8),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_log_from_threads),
        cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
