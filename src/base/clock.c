/*
 * Wall clock and monotonic time, for event times and progress; nothing that is computed depends on
 * either.
 */
#include "base/clock.h"

#include <time.h>

int64_t lc_unix_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec;
}

double lc_monotonic_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
