/* What this process asks of the system: the priority of processes that it starts. */
#include "testing.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/system.h"

/* In a process of its own: the lowered one's nice, to this one's. */
static int steps_behind(int steps)
{
    const pid_t started = fork();
    if (started == 0) {
        (void)pause();
        _exit(0);
    }
    lc_system_lower_priority(started, steps);
    const int behind = getpriority(PRIO_PROCESS, (id_t)started) - getpriority(PRIO_PROCESS, 0);
    (void)kill(started, SIGKILL);
    return behind;
}

/* One that is low already must not start processes that come before it. */
static void test_lower_priority(void **state)
{
    (void)state;
    int status = 0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 3);
        const int room = 19 - getpriority(PRIO_PROCESS, 0);
        const bool is_right = steps_behind(5) == (room < 5 ? room : 5) && steps_behind(0) == 0;
        _exit(is_right ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lower_priority)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
