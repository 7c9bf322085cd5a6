/* Sampling on the CPU backend: greedy, temperature, top-p against a sort, and the keys of the
 * random numbers. The op's table of cases holds all backends to the same tokens. */
#include "testing.h"

#include <math.h>

#include "infer/sampling.h"

#define VOCAB 301 /* odd */

static lc_device *device;

static int open_device(void **state)
{
    (void)state;
    assert_ok(lc_cpu_open(2, &device, &test_err));
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    device->ops->close(device);
    return 0;
}

/* -1 where the logits are damaged. */
static int32_t sample_any(const lc_sampling *sampling, float *logits, int32_t vocab,
                          uint32_t stream, int32_t position)
{
    int32_t id = INT32_MAX;
    const lc_sample_row row = lc_sampling_row(sampling, stream);
    assert_ok(lc_sampling_check(sampling, &test_err));
    assert_ok(LC_OP(device, sample,
                    {.logits = lc_mat_f32(logits, 1, vocab, vocab),
                     .rows = &row,
                     .positions = &position,
                     .ids = &id},
                    &test_err));
    return id;
}

static int32_t sample(const lc_sampling *sampling, float *logits, int32_t vocab, uint32_t stream,
                      int32_t position)
{
    const int32_t id = sample_any(sampling, logits, vocab, stream, position);
    assert_in_range(id, 0, vocab - 1);
    return id;
}

static void greedy_takes_the_first_largest(void **state)
{
    (void)state;
    const lc_sampling greedy = {.temperature = 0.0, .top_p = 1.0};
    float logits[VOCAB];
    for (int round = 0; round < 100; round++) {
        test_fill(logits, VOCAB, -3.0, 3.0);
        const int32_t first = (int32_t)test_int(0, VOCAB - 1),
                      second = (int32_t)test_int(0, VOCAB - 1);
        logits[first] = 5.0f;
        logits[second] = 5.0f;
        assert_int_equal(sample(&greedy, logits, VOCAB, 0, round), first < second ? first : second);
    }
    float all_equal[3] = {-1.0f, -1.0f, -1.0f};
    assert_int_equal(sample(&greedy, all_equal, 3, 0, 0), 0);
    assert_int_equal(sample(&greedy, all_equal, 1, 0, 0), 0);
}

static void damaged_logits_give_no_token(void **state)
{
    (void)state;
    const lc_sampling kinds[] = {{.temperature = 0.0, .top_p = 1.0},
                                 {.temperature = 1.0, .top_p = 0.5}};
    const float bad[] = {NAN, INFINITY, -INFINITY};
    const int counts[] = {1, 5, VOCAB};
    float logits[VOCAB];
    test_fill(logits, VOCAB, -3.0, 3.0);
    for (size_t i = 0; i < 2 * 3 * 3 * 20; i++) {
        const int count = counts[i / 6 % 3], at = (int)test_int(0, count - 1);
        const float before = logits[at];
        logits[at] = bad[i / 2 % 3];
        assert_int_equal(sample_any(&kinds[i % 2], logits, count, 0, 17), -1);
        logits[at] = before;
    }
}

/* Frequencies over many positions are the softmax, within five standard deviations. */
static void temperature_gives_the_softmax(void **state)
{
    (void)state;
    enum { COUNT = 7, DRAWS = 40000 };
    float logits[COUNT];
    double probability[COUNT], total = 0.0;
    int64_t seen[COUNT] = {0};
    const lc_sampling sampling = {.temperature = 0.8, .top_p = 1.0, .seed = test_seed()};
    test_fill(logits, COUNT, -2.0, 2.0);
    for (int i = 0; i < COUNT; i++) {
        probability[i] = exp((double)logits[i] / 0.8);
        total += probability[i];
    }
    for (int32_t n = 0; n < DRAWS; n++) {
        seen[sample(&sampling, logits, COUNT, 3, n)]++;
    }
    for (int i = 0; i < COUNT; i++) {
        const double p = probability[i] / total, sigma = sqrt(p * (1.0 - p) / DRAWS);
        assert_true(fabs((double)seen[i] / DRAWS - p) < 5.0 * sigma);
    }
}

/* Whether id belongs to the smallest set of most likely tokens of mass top_p, by counting. */
static bool is_in_nucleus(const float *logits, int32_t vocab, double temperature, double top_p,
                          int32_t id)
{
    double total = 0.0, before = 0.0;
    for (int32_t i = 0; i < vocab; i++) {
        total += exp((double)logits[i] / temperature);
    }
    for (int32_t i = 0; i < vocab; i++) {
        if (logits[i] > logits[id] || (!(logits[i] < logits[id]) && i < id)) {
            before += exp((double)logits[i] / temperature);
        }
    }
    return before < top_p * total * (1.0 + 1e-5); /* y is in fp32 */
}

static void top_p_stays_in_the_nucleus(void **state)
{
    (void)state;
    float logits[VOCAB];
    for (int round = 0; round < 200; round++) {
        const lc_sampling sampling = {.temperature = test_uniform(0.3, 2.0),
                                      .top_p = test_uniform(0.01, 0.99),
                                      .seed = (uint32_t)test_int(0, 1 << 30)};
        const int32_t vocab = (int32_t)test_int(1, VOCAB);
        test_fill(logits, (size_t)vocab, -2.0, 2.0);
        for (int32_t n = 0; n < 20; n++) {
            const int32_t id = sample(&sampling, logits, vocab, 0, n);
            assert_true(is_in_nucleus(logits, vocab, sampling.temperature, sampling.top_p, id));
        }
    }
}

static void nucleus_is_as_small_as_it_can_be_and_wholly_used(void **state)
{
    (void)state;
    /* Probabilities 0.4, 0.3, 0.2, 0.1 in scattered places. */
    float logits[] = {logf(0.2f), logf(0.4f), logf(0.1f), logf(0.3f)};
    const struct {
        double top_p;
        int expected; /* bit set of ids */
    } cases[] = {{1e-6, 0x2}, {0.39, 0x2}, {0.41, 0xa}, {0.69, 0xa},
                 {0.71, 0xb}, {0.89, 0xb}, {0.91, 0xf}, {1.0, 0xf}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const lc_sampling sampling = {
            .temperature = 1.0, .top_p = cases[c].top_p, .seed = test_seed()};
        int seen = 0;
        for (int32_t n = 0; n < 2000; n++) {
            seen |= 1 << sample(&sampling, logits, 4, 0, n);
        }
        assert_int_equal(seen, cases[c].expected);
    }
    float equal[] = {1.0f, 1.0f, 1.0f};
    const lc_sampling half = {.temperature = 1.0, .top_p = 0.5, .seed = test_seed()};
    for (int32_t n = 0; n < 200; n++) { /* ties: lower ids first, so id 2 is never needed */
        assert_true(sample(&half, equal, 3, 0, n) < 2);
    }
}

static void draws_depend_on_seed_stream_and_position_only(void **state)
{
    (void)state;
    float logits[VOCAB];
    lc_sampling a = {.temperature = 1.5, .top_p = 0.95, .seed = 11}, b = a;
    int differ_seed = 0, differ_stream = 0, differ_position = 0;
    b.seed = 12;
    test_fill(logits, VOCAB, -1.0, 1.0);
    for (int32_t n = 0; n < 64; n++) {
        const int32_t id = sample(&a, logits, VOCAB, 5, n);
        assert_int_equal(id, sample(&a, logits, VOCAB, 5, n));
        differ_seed += id != sample(&b, logits, VOCAB, 5, n);
        differ_stream += id != sample(&a, logits, VOCAB, 6, n);
        differ_position += id != sample(&a, logits, VOCAB, 5, n + 100000);
    }
    assert_true(differ_seed > 32 && differ_stream > 32 && differ_position > 32);
}

static void extremes_stay_what_they_are(void **state)
{
    (void)state;
    const lc_sampling cold = {.temperature = 1e-300, .top_p = 1.0},
                      narrow = {.temperature = 1.0, .top_p = 1e-300},
                      wide = {.temperature = 1.0, .top_p = nextafter(1.0, 0.0)};
    float logits[] = {1.0f, 3.0f, 3.0f, -1.0f};
    assert_true(lc_sampling_row(&cold, 0).sharpness > 1e38f);
    assert_int_equal(lc_sampling_row(&narrow, 0).top_p, 1);
    assert_true(lc_sampling_row(&wide, 0).top_p == UINT32_MAX);
    for (int32_t n = 0; n < 50; n++) {
        assert_in_range(sample(&cold, logits, 4, 0, n), 1, 2);
        assert_int_equal(sample(&narrow, logits, 4, 0, n), 1);
    }
}

static void bounds_are_checked(void **state)
{
    (void)state;
    const double good_temperature[] = {0.0, 1e-9, LC_MAX_TEMPERATURE},
                 bad_temperature[] = {-0.001, 2.001, NAN, INFINITY};
    const double good_top_p[] = {1e-9, 0.5, 1.0}, bad_top_p[] = {0.0, -0.1, 1.0001, NAN};
    for (size_t i = 0; i < 3; i++) {
        const lc_sampling s = {.temperature = good_temperature[i], .top_p = good_top_p[i]};
        assert_ok(lc_sampling_check(&s, &test_err));
    }
    for (size_t i = 0; i < 4; i++) {
        const lc_sampling t = {.temperature = bad_temperature[i], .top_p = 1.0};
        const lc_sampling p = {.temperature = 1.0, .top_p = bad_top_p[i]};
        assert_fails(lc_sampling_check(&t, &test_err), LC_ERR_USAGE, "expected 0 (greedy) to 2");
        assert_fails(lc_sampling_check(&p, &test_err), LC_ERR_USAGE,
                     "expected a number above 0, at most 1");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_first_largest),
        cmocka_unit_test(damaged_logits_give_no_token),
        cmocka_unit_test(temperature_gives_the_softmax),
        cmocka_unit_test(top_p_stays_in_the_nucleus),
        cmocka_unit_test(nucleus_is_as_small_as_it_can_be_and_wholly_used),
        cmocka_unit_test(draws_depend_on_seed_stream_and_position_only),
        cmocka_unit_test(extremes_stay_what_they_are),
        cmocka_unit_test(bounds_are_checked),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
