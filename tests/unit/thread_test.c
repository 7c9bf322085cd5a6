/* The thread pool: every task once, at any size, oversubscribed, restarted; and the core count. */
// ctest: threads
#include "testing.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/thread.h"

#define MAX_TASKS 5000

typedef struct work {
    int runs[MAX_TASKS]; /* plain: two workers on one task would be a race that TSan reports */
    int workers[MAX_TASKS];
    _Atomic int busy[LC_MAX_THREADS];
    _Atomic int mistakes; /* asserts are for the main thread */
    int threads;
    int64_t plain_input; /* written by the caller before each run, read by the tasks */
    int64_t outputs[MAX_TASKS];
} work;

static void count_task(void *context, int64_t index, int worker)
{
    work *w = context;
    if (worker < 0 || worker >= w->threads || atomic_fetch_add(&w->busy[worker], 1) != 0) {
        atomic_fetch_add(&w->mistakes, 1); /* a worker does one thing at a time */
        return;
    }
    w->runs[index]++;
    w->workers[index] = worker;
    w->outputs[index] = w->plain_input * (index + 1);
    atomic_fetch_sub(&w->busy[worker], 1);
}

static void run_and_check(lc_pool *pool, work *w, int64_t count)
{
    memset(w->runs, 0, sizeof w->runs);
    memset(w->outputs, 0xAB, sizeof w->outputs);
    w->plain_input = test_int(1, 1000000);
    lc_pool_run(pool, count, count_task, w);
    assert_int_equal(atomic_load(&w->mistakes), 0);
    for (int64_t i = 0; i < MAX_TASKS; i++) {
        assert_int_equal(w->runs[i], i < count ? 1 : 0);
        if (i < count) {
            assert_true(w->outputs[i] == w->plain_input * (i + 1));
        }
    }
}

static void test_every_task_once(void **state)
{
    (void)state;
    static const int threads[] = {1, 2, 3, 4, 7, 16};
    static work w;
    for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
        lc_pool *pool = NULL;
        assert_ok(lc_pool_start(threads[t], NULL, NULL, &pool, &test_err));
        assert_int_equal(lc_pool_threads(pool), threads[t]);
        memset(&w, 0, sizeof w);
        w.threads = threads[t];
        static const int64_t counts[] = {0, 1, 2, 3, 4, 5, 8, 100, MAX_TASKS, -1};
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            run_and_check(pool, &w, counts[c] > 0 ? counts[c] : 0);
        }
        for (int i = 0; i < 30; i++) {
            run_and_check(pool, &w, test_int(1, 50));
        }
        lc_pool_stop(pool);
    }
}

static void add_task(void *context, int64_t index, int worker)
{
    (void)worker;
    ((int64_t *)context)[index] += index + 1;
}

/* Runs one after the other without a pause: nothing of a run may reach into the next. */
static void test_many_short_runs(void **state)
{
    (void)state;
    static const int threads[] = {2, 3, 8};
    for (size_t t = 0; t < 3; t++) {
        lc_pool *pool = NULL;
        int64_t sums[16] = {0};
        assert_ok(lc_pool_start(threads[t], NULL, NULL, &pool, &test_err));
        for (int i = 0; i < 20000; i++) {
            lc_pool_run(pool, 2 + i % 15, add_task, sums);
        }
        lc_pool_stop(pool);
        for (int j = 0; j < 16; j++) {
            int64_t runs = 0;
            for (int i = 0; i < 20000; i++) {
                runs += j < 2 + i % 15;
            }
            assert_true(sums[j] == runs * (j + 1));
        }
    }
}

static void sleep_us(int64_t microseconds)
{
    const struct timespec pause = {.tv_nsec = microseconds * 1000};
    (void)nanosleep(&pause, NULL);
}

static void slow_task(void *context, int64_t index, int worker)
{
    sleep_us(index % 3 == 0 ? 300 : 0);
    add_task(context, index, worker);
}

/* Pauses around the spinning time, on both sides: workers and the caller fall asleep and are
 * woken. */
static void test_sleeping_and_waking(void **state)
{
    (void)state;
    lc_pool *pool = NULL;
    int64_t sums[8] = {0};
    assert_ok(lc_pool_start(3, NULL, NULL, &pool, &test_err));
    for (int i = 0; i < 400; i++) {
        sleep_us(test_int(0, 120));
        lc_pool_run(pool, 8, slow_task, sums);
    }
    lc_pool_stop(pool);
    for (int j = 0; j < 8; j++) {
        assert_true(sums[j] == 400 * (j + 1));
    }
}

typedef struct meeting {
    _Atomic int present;
    _Atomic int late;
} meeting;

/* Ends when everybody is here, so the tasks of a run need as many threads. */
static void meet_task(void *context, int64_t index, int worker)
{
    (void)index;
    (void)worker;
    meeting *m = context;
    const double deadline = lc_monotonic_seconds() + 20.0;
    atomic_fetch_add(&m->present, 1);
    while (atomic_load(&m->present) < 3) {
        if (lc_monotonic_seconds() > deadline) {
            atomic_fetch_add(&m->late, 1);
            return;
        }
        sleep_us(20);
    }
}

static void test_sleepers_are_woken(void **state)
{
    (void)state;
    lc_pool *pool = NULL;
    assert_ok(lc_pool_start(3, NULL, NULL, &pool, &test_err));
    for (int i = 0; i < 50; i++) {
        meeting m = {0};
        sleep_us(i % 2 == 0 ? 2000 : 0); /* long enough for all to fall asleep, or none */
        lc_pool_run(pool, 3, meet_task, &m);
        assert_int_equal(atomic_load(&m.late), 0);
    }
    lc_pool_stop(pool);
}

static void note_start(void *context, int worker)
{
    ((int *)context)[worker]++;
}

static void test_on_start(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 9; threads += 4) {
        int starts[9] = {0}; /* the stack is enough: start returns after all of them */
        lc_pool *pool = NULL;
        assert_ok(lc_pool_start(threads, note_start, starts, &pool, &test_err));
        for (int i = 0; i < 9; i++) {
            assert_int_equal(starts[i], i < threads);
        }
        lc_pool_stop(pool);
    }
}

static void test_limits(void **state)
{
    (void)state;
    lc_pool *pool = NULL;
    assert_fails(lc_pool_start(0, NULL, NULL, &pool, &test_err), LC_ERR_USAGE,
                 "threads must be from 1 to 256, not 0");
    assert_string_equal(test_err.param, "threads");
    assert_fails(lc_pool_start(LC_MAX_THREADS + 1, NULL, NULL, &pool, &test_err), LC_ERR_USAGE,
                 "257");
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    assert_fails(lc_pool_start(2, NULL, NULL, &pool, &test_err), LC_ERR_MEMORY, "2 threads");
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    assert_null(pool);
    lc_pool_stop(NULL);
    assert_ok(lc_pool_start(LC_MAX_THREADS, NULL, NULL, &pool, &test_err));
    int64_t sums[16] = {0};
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    lc_pool_run(pool, 16, add_task, sums);
    assert_int_equal(lc_fault_count(LC_FAULT_ALLOC), 0);
    for (int i = 0; i < 16; i++) {
        assert_true(sums[i] == i + 1);
    }
    lc_pool_stop(pool);
}

static _Atomic bool signal_seen_elsewhere;
static pthread_t main_thread;

static void on_signal(int number)
{
    (void)number;
    if (!pthread_equal(pthread_self(), main_thread)) {
        atomic_store(&signal_seen_elsewhere, true);
    }
}

static void test_signals_stay_with_the_caller(void **state)
{
    (void)state;
    main_thread = pthread_self();
    lc_pool *pool = NULL;
    assert_ok(lc_pool_start(4, NULL, NULL, &pool, &test_err));
    struct sigaction action = {.sa_handler = on_signal};
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    int64_t sums[8] = {0};
    for (int i = 0; i < 50; i++) {
        assert_int_equal(kill(getpid(), SIGUSR1), 0);
        lc_pool_run(pool, 8, slow_task, sums);
    }
    assert_false(atomic_load(&signal_seen_elsewhere));
    lc_pool_stop(pool);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(dir, name, path, &test_err));
    test_write_file(path, text, strlen(text));
}

static int quota_of(const char *dir, const char *membership)
{
    char path[LC_MAX_PATH_BYTES];
    write_text(dir, "membership", membership);
    assert_ok(lc_path_join(dir, "membership", path, &test_err));
    return lc_cpu_quota(path, dir);
}

static void test_cpu_quota(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char path[LC_MAX_PATH_BYTES];
    assert_int_equal(lc_cpu_quota("/nonexistent", "/nonexistent"), 0);
    assert_int_equal(quota_of(dir, "0::/\n"), 0);
    static const struct {
        const char *text;
        int cores;
    } rows[] = {{"max 100000\n", 0},    {"100000 100000\n", 1},
                {"100001 100000\n", 2}, {"250000 100000\n", 3},
                {"50000 100000\n", 1},  {"1 100000\n", 1},
                {"junk\n", 0},          {"", 0},
                {"100000\n", 0},        {"-5 100000\n", 0},
                {"100000 0\n", 0},      {"9999999999 100000\n", 256}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_text(dir, "cpu.max", rows[i].text);
        assert_int_equal(quota_of(dir, "0::/\n"), rows[i].cores);
    }
    /* The tightest of the group and those around it. */
    assert_ok(lc_path_join(dir, "a/b", path, &test_err));
    assert_ok(lc_mkdir_parents(path, &test_err));
    write_text(dir, "cpu.max", "max 100000\n");
    write_text(dir, "a/cpu.max", "300000 100000\n");
    write_text(dir, "a/b/cpu.max", "700000 100000\n");
    assert_int_equal(quota_of(dir, "12:cpu:/v1\n0::/a/b\n"), 3);
    write_text(dir, "a/b/cpu.max", "200000 100000\n");
    assert_int_equal(quota_of(dir, "0::/a/b\n"), 2);
    assert_int_equal(quota_of(dir, "0::/a/missing\n"), 3);
    assert_int_equal(quota_of(dir, "12:cpu:/v1\n"), 0);
}

static void test_cpu_count(void **state)
{
    (void)state;
    const int count = lc_cpu_count();
    assert_true(count >= 1 && count <= LC_MAX_THREADS);
    assert_true(count <= sysconf(_SC_NPROCESSORS_CONF));
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &before)) {
            CPU_SET(i, &one);
            break;
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(lc_cpu_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static void test_clock(void **state)
{
    (void)state;
    const double before = lc_monotonic_seconds();
    sleep_us(2000);
    const double passed = lc_monotonic_seconds() - before;
    assert_true(passed >= 0.002 && passed < 60.0);
    assert_true(lc_unix_seconds() > 1700000000);
}

/* Fails at every index from `from` on, naming it. */
static lc_code fail_from(void *context, int64_t index, int worker, lc_err *err)
{
    const int64_t *from = context;
    (void)worker;
    return index < *from ? LC_OK : lc_fail_param(err, LC_ERR_IO, "file", "task %d", (int)index);
}

static void test_tasks_that_fail(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        lc_pool *pool = NULL;
        assert_ok(lc_pool_start(threads, NULL, NULL, &pool, &test_err));
        for (int64_t from = 0; from <= 50; from += 10) {
            lc_err err = {.code = LC_OK};
            const lc_code code = lc_pool_try(pool, 50, fail_from, &from, &err);
            assert_int_equal(code, from < 50 ? LC_ERR_IO : LC_OK);
            assert_int_equal(err.code, code);
            assert_string_equal(err.param, from < 50 ? "file" : "");
            int index = -1;
            assert_int_equal(sscanf(err.message, "task %d", &index), from < 50 ? 1 : -1);
            assert_true(from == 50 || (index >= from && index < 50));
            assert_int_equal(lc_pool_try(pool, 50, fail_from, &from, NULL), code);
        }
        lc_pool_stop(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_that_fail),
        cmocka_unit_test(test_every_task_once),
        cmocka_unit_test(test_many_short_runs),
        cmocka_unit_test(test_sleeping_and_waking),
        cmocka_unit_test(test_sleepers_are_woken),
        cmocka_unit_test(test_on_start),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_signals_stay_with_the_caller),
        cmocka_unit_test(test_cpu_quota),
        cmocka_unit_test(test_cpu_count),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
