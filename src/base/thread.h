/*
 * Our own thread pool. Work is a count of independent tasks; who runs which is left open, so
 * results must not depend on it: a task writes its own output only, and reductions are made in task
 * order afterwards.
 */
#ifndef LC_BASE_THREAD_H
#define LC_BASE_THREAD_H

#include <stdint.h>

#include "lorac/err.h"

#define LC_MAX_THREADS 256

typedef struct lc_pool lc_pool;

/* threads in 1..LC_MAX_THREADS, the calling thread included. Each worker calls on_start(context,
 * worker) once when it begins (NULL: nothing), the caller for worker 0 inside this function. */
LC_WARN_UNUSED lc_code lc_pool_start(int threads, void (*on_start)(void *context, int worker),
                                     void *context, lc_pool **out, lc_err *err);
void lc_pool_stop(lc_pool *pool);
int lc_pool_threads(const lc_pool *pool);

/* Runs task(context, index, worker) for every index in 0..count-1 and waits for all. worker is
 * 0..threads-1. Not reentrant. Allocates nothing. Returns at once for count 0. */
void lc_pool_run(lc_pool *pool, int64_t count,
                 void (*task)(void *context, int64_t index, int worker), void *context);

/* As lc_pool_run for tasks that can fail: after a failure no further task begins, and that error
 * becomes *err. A task's own err is never NULL. */
typedef lc_code (*lc_try_task)(void *context, int64_t index, int worker, lc_err *err);
LC_WARN_UNUSED lc_code lc_pool_try(lc_pool *pool, int64_t count, lc_try_task task, void *context,
                                   lc_err *err);

/* Cores this process may use (affinity and cgroup quota), at least 1. */
int lc_cpu_count(void);

#endif
