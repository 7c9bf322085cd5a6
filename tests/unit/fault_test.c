/* Fault injection itself: texts, counting, stickiness, the kill; and LORAC_FAULT of a child
 * process. */
#include "testing.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "lorac/mem.h"

static void off(void)
{
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
}

/* The answers of the next five I/O calls. */
static void ask_io(int answers[5])
{
    for (int i = 0; i < 5; i++) {
        answers[i] = lc_fault_io();
    }
}

static void test_io_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int answers[5];
    } rows[] = {{"io:2", {0, EIO, 0, 0, 0}},
                {"io:3:ENOSPC", {0, 0, ENOSPC, 0, 0}},
                {"io:3:ENOSPC+", {0, 0, ENOSPC, ENOSPC, ENOSPC}},
                {"io:1:EDQUOT", {EDQUOT, 0, 0, 0, 0}},
                {"io:5:SHORT+", {0, 0, 0, 0, -1}},
                {"io:6:EIO", {0, 0, 0, 0, 0}},
                {"alloc:1+", {0, 0, 0, 0, 0}}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int answers[5];
        assert_ok(lc_fault_set_text(rows[i].text, &test_err));
        ask_io(answers);
        assert_memory_equal(answers, rows[i].answers, sizeof answers);
        assert_int_equal(lc_fault_count(LC_FAULT_IO), 5);
    }
    off();
}

static void test_alloc_texts(void **state)
{
    (void)state;
    assert_ok(lc_fault_set_text("alloc:2", &test_err));
    assert_false(lc_fault_alloc());
    assert_true(lc_fault_alloc());
    assert_false(lc_fault_alloc());
    assert_ok(lc_fault_set_text("alloc:2+", &test_err));
    assert_int_equal(lc_fault_count(LC_FAULT_ALLOC), 0);
    assert_false(lc_fault_alloc());
    assert_true(lc_fault_alloc());
    assert_true(lc_fault_alloc());
    assert_int_equal(lc_fault_count(LC_FAULT_ALLOC), 3);
    assert_int_equal(lc_fault_count(LC_FAULT_NONE), 0);
    off();
}

static void test_wrong_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "io",
        "io:",
        "io:0",
        "io:-1",
        "io: 1",
        "io:+1",
        "io:1:",
        "io:1x",
        "io:1:EFOO",
        "io:1:EIO:",
        "alloc:1:ENOSPC",
        "kill",
        "kill:1:EIO",
        "disk:1",
        "+",
        "io:1++",
        "IO:1",
        "io:99999999999999999999",
        "alloc:x",
        "io:1:EIO                                                               "};
    lc_fault_set(LC_FAULT_IO, 1, ENOSPC, true);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_fails(lc_fault_set_text(texts[i], &test_err), LC_ERR_USAGE, "LORAC_FAULT");
        assert_string_equal(test_err.param, "LORAC_FAULT");
    }
    assert_int_equal(lc_fault_io(), ENOSPC); /* what was armed stays */
    off();
}

/* How a child ends that does `act`; its exit status, or minus the signal. */
static int ending_of(void (*act)(void))
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        act();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void die_at_third(void)
{
    lc_fault_set(LC_FAULT_KILL, 3, 0, false);
    if (lc_fault_alloc() || lc_fault_io() != 0 || lc_fault_io() != 0) {
        _exit(1);
    }
    (void)lc_fault_io();
    _exit(2);
}

static void test_kill(void **state)
{
    (void)state;
    assert_int_equal(ending_of(die_at_third), -SIGKILL);
}

/* The environment is read once per process, so this program runs itself. */
static void run_child(const char *fault)
{
    (void)setenv("LORAC_FAULT", fault, 1);
    (void)execl("/proc/self/exe", "fault_test", "child", (char *)NULL);
    _exit(99);
}

static void child_io(void)
{
    run_child("io:2:ENOSPC");
}

static void child_kill(void)
{
    run_child("kill:2");
}

static void child_wrong(void)
{
    (void)close(STDERR_FILENO); /* it is warned about */
    run_child("nonsense");
}

static int child_main(void)
{
    void *memory = lc_malloc(1);
    if (memory == NULL) {
        return 3;
    }
    lc_free(memory);
    const int first = lc_fault_io(), second = lc_fault_io();
    return first != 0 ? 4 : second == ENOSPC ? 10 : second == 0 ? 11 : 5;
}

static void test_environment(void **state)
{
    (void)state;
    assert_int_equal(ending_of(child_io), 10);
    assert_int_equal(ending_of(child_kill), -SIGKILL);
    assert_int_equal(ending_of(child_wrong), 11);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "child") == 0) {
        return child_main();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_io_texts),    cmocka_unit_test(test_alloc_texts),
        cmocka_unit_test(test_wrong_texts), cmocka_unit_test(test_kill),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
