/*
 * Learning-rate schedules: values that transformers' schedulers give, and what must hold for any
 * length of run.
 */
#include "testing.h"

#include <math.h>

#include "train/schedule.h"

#define PEAK 2e-4

typedef struct expected {
    lc_schedule schedule;
    int64_t step, warmup, total;
    double
        multiplier; /* get_*_schedule_with_warmup(optimizer, warmup, total).lr_lambdas[0](step) */
} expected;

static const expected table[] = {
    {LC_SCHEDULE_COSINE, 0, 3, 10, 0.0},
    {LC_SCHEDULE_COSINE, 1, 3, 10, 0.3333333333333333},
    {LC_SCHEDULE_COSINE, 3, 3, 10, 1.0},
    {LC_SCHEDULE_COSINE, 4, 3, 10, 0.9504844339512095},
    {LC_SCHEDULE_COSINE, 9, 3, 10, 0.04951556604879048},
    {LC_SCHEDULE_COSINE, 10, 3, 10, 0.0},
    {LC_SCHEDULE_COSINE, 5, 0, 10, 0.5},
    {LC_SCHEDULE_LINEAR, 0, 3, 10, 0.0},
    {LC_SCHEDULE_LINEAR, 2, 3, 10, 0.6666666666666666},
    {LC_SCHEDULE_LINEAR, 4, 3, 10, 0.8571428571428571},
    {LC_SCHEDULE_LINEAR, 9, 3, 10, 0.14285714285714285},
    {LC_SCHEDULE_LINEAR, 10, 3, 10, 0.0},
    {LC_SCHEDULE_CONSTANT, 0, 3, 10, 0.0},
    {LC_SCHEDULE_CONSTANT, 2, 3, 10, 0.6666666666666666},
    {LC_SCHEDULE_CONSTANT, 9, 3, 10, 1.0},
    {LC_SCHEDULE_CONSTANT, 0, 0, 1, 1.0},
    {LC_SCHEDULE_COSINE, 0, 0, 1, 1.0},
    {LC_SCHEDULE_LINEAR, 0, 0, 1, 1.0},
    {LC_SCHEDULE_COSINE, 2, 10, 10, 0.2}, /* warm-up to the end */
    {LC_SCHEDULE_COSINE, 10, 10, 10, 1.0},
    {LC_SCHEDULE_LINEAR, 10, 10, 10, 0.0},
};

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const expected *row = &table[i];
        const double rate =
            lc_learning_rate(row->schedule, PEAK, row->step, row->warmup, row->total);
        if (fabs(rate - PEAK * row->multiplier) > 1e-15 * PEAK) {
            fail_msg("row %zu: %.17g, expected %.17g", i, rate / PEAK, row->multiplier);
        }
    }
}

/* Up to the peak while warming up, down after it (never up), never outside 0..peak. */
static void test_shape(void **state)
{
    (void)state;
    for (int trial = 0; trial < 200; trial++) {
        const lc_schedule schedule = (lc_schedule)test_int(0, 2);
        const int64_t total = test_int(1, 300);
        const int64_t warmup = test_int(0, total);
        double before = 0.0;
        for (int64_t step = 0; step < total; step++) {
            const double rate = lc_learning_rate(schedule, PEAK, step, warmup, total);
            assert_true(rate >= 0.0 && rate <= PEAK);
            if (step < warmup) {
                assert_true(step == 0 || rate > before);
            } else if (step > warmup) {
                assert_true(schedule == LC_SCHEDULE_CONSTANT ? !(rate < before) : rate < before);
            }
            before = rate;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_shape),
    };
    (void)test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
