/* Philox against the reference vectors of Random123 (kat_vectors), and the draws made from it. */
#include "testing.h"

#include <math.h>

#include "base/rng.h"

static void test_reference_vectors(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } rows[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t out[4];
        lc_philox(rows[i].key, rows[i].counter, out);
        assert_memory_equal(out, rows[i].out, sizeof out);
    }
}

static void test_stream_is_the_counter(void **state)
{
    (void)state;
    const uint32_t seed = (uint32_t)test_int(0, UINT32_MAX), stream = (uint32_t)test_int(0, 99);
    lc_rng rng;
    lc_rng_init(&rng, seed, stream);
    rng.counter = 0xFFFFFFFF; /* the carry into the second word */
    for (uint64_t block = 0xFFFFFFFF; block < 0xFFFFFFFFull + 20; block++) {
        const uint32_t key[2] = {seed, stream};
        const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, 0};
        uint32_t out[4];
        lc_philox(key, counter, out);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(lc_rng_u32(&rng), out[i]);
        }
    }
}

static void test_streams_differ(void **state)
{
    (void)state;
    lc_rng a, b, c, again;
    lc_rng_init(&a, 1, 2);
    lc_rng_init(&b, 2, 2);
    lc_rng_init(&c, 1, 3);
    lc_rng_init(&again, 1, 2);
    int same_ab = 0, same_ac = 0;
    for (int i = 0; i < 1000; i++) {
        const uint32_t value = lc_rng_u32(&a);
        same_ab += value == lc_rng_u32(&b);
        same_ac += value == lc_rng_u32(&c);
        assert_int_equal(value, lc_rng_u32(&again));
    }
    assert_true(same_ab < 3 && same_ac < 3);
}

#define DRAWS 200000

/* Bounds are five standard errors wide: one false alarm in a million seeds. */
static void test_moments(void **state)
{
    (void)state;
    lc_rng rng;
    lc_rng_init(&rng, test_seed(), 7);
    double sum = 0, squares = 0, normal_sum = 0, normal_squares = 0, normal_fourth = 0;
    for (int i = 0; i < DRAWS; i++) {
        const double u = lc_rng_uniform(&rng), z = lc_rng_normal(&rng);
        assert_true(u >= 0.0 && u < 1.0 && isfinite(z));
        sum += u;
        squares += u * u;
        normal_sum += z;
        normal_squares += z * z;
        normal_fourth += z * z * z * z;
    }
    const double root = sqrt((double)DRAWS);
    assert_true(fabs(sum / DRAWS - 0.5) < 5 * sqrt(1.0 / 12) / root);
    assert_true(fabs(squares / DRAWS - 1.0 / 3) < 5 * sqrt(4.0 / 45) / root);
    assert_true(fabs(normal_sum / DRAWS) < 5 / root);
    assert_true(fabs(normal_squares / DRAWS - 1) < 5 * sqrt(2.0) / root);
    assert_true(fabs(normal_fourth / DRAWS - 3) < 5 * sqrt(96.0) / root);
}

static void test_below(void **state)
{
    (void)state;
    static const uint64_t bounds[] = {1, 2, 3, 7, 1000};
    lc_rng rng;
    lc_rng_init(&rng, test_seed(), 8);
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        int counts[1000] = {0};
        for (int j = 0; j < 70000; j++) {
            const uint64_t value = lc_rng_below(&rng, bounds[i]);
            assert_true(value < bounds[i]);
            counts[value]++;
        }
        const double expected = 70000.0 / (double)bounds[i];
        for (uint64_t v = 0; v < bounds[i]; v++) {
            assert_true(fabs(counts[v] - expected) <= 6 * sqrt(expected) + 1e-9);
        }
    }
    /* 2/3 of the range: with a plain modulo the lower half would come twice as often. */
    const uint64_t bound = UINT64_MAX / 3 * 2;
    int low = 0;
    for (int j = 0; j < 40000; j++) {
        low += lc_rng_below(&rng, bound) < bound / 2;
    }
    assert_true(abs(low - 20000) < 600);
    assert_true(lc_rng_below(&rng, UINT64_MAX) < UINT64_MAX);
}

static void test_shuffle(void **state)
{
    (void)state;
    lc_rng rng;
    lc_rng_init(&rng, test_seed(), 9);
    int counts[24] = {0};
    for (int i = 0; i < 24000; i++) {
        int64_t v[4] = {0, 1, 2, 3};
        bool seen[4] = {false};
        lc_rng_shuffle(&rng, v, 4);
        for (int j = 0; j < 4; j++) {
            assert_true(v[j] >= 0 && v[j] < 4 && !seen[v[j]]);
            seen[v[j]] = true;
        }
        const int64_t second = v[1] - (v[1] > v[0]);
        const int64_t third = v[2] > v[3];
        counts[v[0] * 6 + second * 2 + third]++;
    }
    for (int i = 0; i < 24; i++) {
        assert_true(abs(counts[i] - 1000) < 200); /* 6.5 standard deviations */
    }
    int64_t one = 5;
    lc_rng_shuffle(&rng, &one, 1);
    lc_rng_shuffle(&rng, NULL, 0);
    assert_int_equal(one, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_vectors),
        cmocka_unit_test(test_stream_is_the_counter),
        cmocka_unit_test(test_streams_differ),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_shuffle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
