/*
 * The thread pool. One atomic counter hands out the tasks of a run; idle workers look at it for a
 * moment, then sleep on a futex. The end of a run is the end of its last task: a worker that was
 * not scheduled in time is not waited for. Used by the CPU backend, thousands of times per second.
 */
#include "base/thread.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "lorac/mem.h"

#define SPIN_SECONDS 40e-6
#define SPIN_BATCH   32 /* looks at the counter per look at the clock */

typedef struct pool_worker {
    lc_pool *pool; /* borrowed */
    pthread_t thread;
    int index;
} pool_worker;

struct lc_pool {
    int threads;
    int started; /* workers that have a thread, the caller (0) included */
    bool spins;  /* false when there are more threads than cores */
    void (*on_start)(void *context, int worker);
    void *on_start_context; /* borrowed, used while starting only */
    /* The run: written by the caller while `remaining` and `unfinished` are 0, read by whoever
     * got a task. */
    void (*task)(void *context, int64_t index, int worker);
    void *context;
    int64_t count;
    _Alignas(64) _Atomic int64_t remaining;  /* tasks not handed out yet */
    _Alignas(64) _Atomic int64_t unfinished; /* tasks not completed yet */
    _Alignas(64) _Atomic uint32_t bell;      /* counts runs: what workers sleep on */
    _Atomic uint32_t sleepers;
    _Atomic uint32_t caller_sleeps; /* 1 while the caller sleeps on it */
    _Atomic bool stopping;
    pool_worker workers[]; /* [threads], entry 0 unused */
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Takes one task. The run's fields are valid from here until the task is reported finished. */
static bool claim(lc_pool *pool, int64_t *index)
{
    int64_t remaining = atomic_load_explicit(&pool->remaining, memory_order_relaxed);
    while (remaining > 0) {
        if (atomic_compare_exchange_weak_explicit(&pool->remaining, &remaining, remaining - 1,
                                                  memory_order_acquire, memory_order_relaxed)) {
            *index = pool->count - remaining;
            return true;
        }
    }
    return false;
}

/* Runs tasks until none is left; the number done. */
static int64_t work(lc_pool *pool, int worker)
{
    int64_t index, done = 0;
    while (claim(pool, &index)) {
        pool->task(pool->context, index, worker);
        done++;
    }
    return done;
}

/* True when these were the last ones. After that the pool may already be in its next run. */
static bool report_finished(lc_pool *pool, int64_t count)
{
    if (atomic_fetch_sub(&pool->unfinished, count) != count) {
        return false;
    }
    if (atomic_load(&pool->caller_sleeps) != 0 && atomic_exchange(&pool->caller_sleeps, 0) != 0) {
        futex_wake(&pool->caller_sleeps, 1);
    }
    return true;
}

/* Looks at `word` for a short time; true as soon as is_ready(pool). */
static bool spin(lc_pool *pool, bool (*is_ready)(lc_pool *pool))
{
    if (!pool->spins) {
        return is_ready(pool);
    }
    const double end = lc_monotonic_seconds() + SPIN_SECONDS;
    do {
        for (int i = 0; i < SPIN_BATCH; i++) {
            if (is_ready(pool)) {
                return true;
            }
            relax();
        }
    } while (lc_monotonic_seconds() < end);
    return false;
}

static bool is_run_over(lc_pool *pool)
{
    return atomic_load(&pool->unfinished) == 0;
}

static void wait_for_end(lc_pool *pool)
{
    if (spin(pool, is_run_over)) {
        return;
    }
    while (!is_run_over(pool)) {
        atomic_store(&pool->caller_sleeps, 1);
        if (!is_run_over(pool)) {
            futex_wait(&pool->caller_sleeps, 1);
        }
    }
    atomic_store(&pool->caller_sleeps, 0);
}

static bool has_work_or_stops(lc_pool *pool)
{
    return atomic_load(&pool->remaining) > 0 || atomic_load(&pool->stopping);
}

static void wait_for_work(lc_pool *pool)
{
    if (spin(pool, has_work_or_stops)) {
        return;
    }
    /* Order matters: bell is read before `remaining`, so a run that starts in between is not
     * slept over. */
    const uint32_t seen = atomic_load(&pool->bell);
    atomic_fetch_add(&pool->sleepers, 1);
    if (!has_work_or_stops(pool)) {
        futex_wait(&pool->bell, seen);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
}

static void *worker_main(void *argument)
{
    pool_worker *self = argument;
    lc_pool *pool = self->pool;
    if (pool->on_start != NULL) {
        pool->on_start(pool->on_start_context, self->index);
    }
    (void)report_finished(pool, 1);
    while (!atomic_load(&pool->stopping)) {
        const int64_t done = work(pool, self->index);
        if (done > 0) {
            (void)report_finished(pool, done);
        }
        wait_for_work(pool);
    }
    return NULL;
}

/* Wakes at most `count` sleeping workers. */
static void ring(lc_pool *pool, int64_t count)
{
    atomic_fetch_add(&pool->bell, 1);
    if (atomic_load(&pool->sleepers) > 0) {
        futex_wake(&pool->bell, count < INT_MAX ? (int)count : INT_MAX);
    }
}

void lc_pool_run(lc_pool *pool, int64_t count,
                 void (*task)(void *context, int64_t index, int worker), void *context)
{
    if (count <= 0) {
        return;
    }
    if (pool->threads == 1 || count == 1) {
        for (int64_t i = 0; i < count; i++) {
            task(context, i, 0);
        }
        return;
    }
    pool->task = task;
    pool->context = context;
    pool->count = count;
    atomic_store(&pool->unfinished, count);
    atomic_store(&pool->remaining, count);
    ring(pool, count - 1);
    const int64_t done = work(pool, 0);
    if (done == 0 || !report_finished(pool, done)) {
        wait_for_end(pool);
    }
}

typedef struct try_job {
    lc_try_task task;
    void *context;
    atomic_bool failed;
    lc_err first; /* written by the one task that set `failed` */
} try_job;

static void try_task(void *context, int64_t index, int worker)
{
    try_job *job = context;
    lc_err own = {.code = LC_OK};
    if (!atomic_load(&job->failed) && job->task(job->context, index, worker, &own) != LC_OK &&
        !atomic_exchange(&job->failed, true)) {
        job->first = own;
    }
}

lc_code lc_pool_try(lc_pool *pool, int64_t count, lc_try_task task, void *context, lc_err *err)
{
    try_job job = {.task = task, .context = context};
    lc_pool_run(pool, count, try_task, &job);
    if (!atomic_load(&job.failed)) {
        return LC_OK;
    }
    return lc_fail_param(err, job.first.code, job.first.param, "%s", job.first.message);
}

/* Threads are started with all signals blocked: they are the main thread's business. */
static int start_workers(lc_pool *pool)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    atomic_store(&pool->unfinished, pool->threads - 1);
    for (int i = 1; i < pool->threads && error == 0; i++) {
        pool_worker *worker = &pool->workers[i];
        worker->pool = pool;
        worker->index = i;
        error = pthread_create(&worker->thread, NULL, worker_main, worker);
        pool->started += error == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

lc_code lc_pool_start(int threads, void (*on_start)(void *context, int worker), void *context,
                      lc_pool **out, lc_err *err)
{
    if (threads < 1 || threads > LC_MAX_THREADS) {
        return lc_fail_param(err, LC_ERR_USAGE, "threads", "threads must be from 1 to %d, not %d",
                             LC_MAX_THREADS, threads);
    }
    const size_t size = sizeof(lc_pool) + (size_t)threads * sizeof(pool_worker);
    lc_pool *pool = lc_aligned_alloc(_Alignof(lc_pool), size);
    if (pool == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "out of memory for a pool of %d threads", threads);
    }
    memset(pool, 0, size);
    pool->threads = threads;
    pool->started = 1;
    pool->spins = threads <= lc_cpu_count();
    pool->on_start = on_start;
    pool->on_start_context = context;
    const int error = start_workers(pool);
    if (error != 0) {
        const int running = pool->started;
        lc_pool_stop(pool);
        errno = error;
        return lc_fail_errno(err, "cannot start thread %d of %d", running, threads);
    }
    if (on_start != NULL) {
        on_start(context, 0);
    }
    wait_for_end(pool); /* every worker has begun, so `context` is free again */
    *out = pool;
    return LC_OK;
}

void lc_pool_stop(lc_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    atomic_store(&pool->stopping, true);
    ring(pool, INT_MAX);
    for (int i = 1; i < pool->started; i++) {
        (void)pthread_join(pool->workers[i].thread, NULL);
    }
    lc_free(pool);
}

int lc_pool_threads(const lc_pool *pool)
{
    return pool->threads;
}
