/* Learning-rate schedules: linear warm-up, then cosine to 0, linear to 0, or constant (as
 * transformers). */
#ifndef LC_TRAIN_SCHEDULE_H
#define LC_TRAIN_SCHEDULE_H

#include <stdint.h>

typedef enum lc_schedule {
    LC_SCHEDULE_COSINE,
    LC_SCHEDULE_LINEAR,
    LC_SCHEDULE_CONSTANT
} lc_schedule;

/* Rate of optimizer step `step` (from 0): peak*step/warmup while step < warmup, then by the
 * schedule over the remaining total - warmup steps. */
double lc_learning_rate(lc_schedule schedule, double peak, int64_t step, int64_t warmup_steps,
                        int64_t total_steps);

#endif
