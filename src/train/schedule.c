/*
 * Learning-rate schedules, as transformers' get_*_schedule_with_warmup compute them
 * (optimization.py): the multiplier of optimizer step s, s from 0. Called once per step by the
 * spine.
 */
#include "train/schedule.h"

#include <math.h>

#define PI 3.14159265358979323846

static double share(int64_t part, int64_t whole)
{
    return (double)part / (double)(whole > 1 ? whole : 1);
}

static double multiplier(lc_schedule schedule, int64_t step, int64_t warmup_steps,
                         int64_t total_steps)
{
    if (step < warmup_steps) {
        return share(step, warmup_steps);
    }
    const int64_t rest = total_steps - warmup_steps;
    switch (schedule) {
    case LC_SCHEDULE_COSINE:
        return fmax(0.0, 0.5 * (1.0 + cos(PI * share(step - warmup_steps, rest))));
    case LC_SCHEDULE_LINEAR:
        return fmax(0.0, share(total_steps - step, rest));
    case LC_SCHEDULE_CONSTANT:
    default:
        return 1.0;
    }
}

double lc_learning_rate(lc_schedule schedule, double peak, int64_t step, int64_t warmup_steps,
                        int64_t total_steps)
{
    return peak * multiplier(schedule, step, warmup_steps, total_steps);
}
