/*
 * The rules behind "auto": known values, their bounds for any size of data, and the resolved values
 * as JSON and back.
 */
#include "testing.h"

#include <math.h>

#include "job/spec.h"

static lc_job_spec open_spec(const char *hyper, const char *lorac)
{
    char text[1024];
    lc_job_spec spec;
    const int length =
        snprintf(text, sizeof text,
                 "{\"model\": \"m\", \"training_file\": \"t\", \"hyperparameters\": {%s}, "
                 "\"lorac\": {%s}}",
                 hyper, lorac);
    assert_ok(lc_job_spec_parse(text, (size_t)length, "job", &spec, &test_err));
    return spec;
}

static lc_job_resolved resolve(const char *hyper, const char *lorac, const lc_job_facts *facts)
{
    lc_job_spec spec = open_spec(hyper, lorac);
    lc_job_resolved resolved;
    memset(&resolved, 0xa5, sizeof resolved);
    assert_ok(lc_job_resolve(&spec, facts, 77, &resolved, &test_err));
    lc_job_spec_release(&spec);
    return resolved;
}

static lc_job_facts facts_of(int64_t examples)
{
    const lc_job_facts facts = {.example_count = examples,
                                .longest_example = 100,
                                .model_context = 2048,
                                .device = LC_DEVICE_CPU};
    return facts;
}

/* OpenAI's rule; 10 examples give the 10 epochs and 100 steps of Azure's tutorial. */
static void test_epochs_and_batch(void **state)
{
    (void)state;
    static const struct {
        int64_t examples, epochs, batch, steps;
    } rows[] = {
        {1, 25, 1, 25},          {4, 25, 1, 100},       {5, 20, 1, 100},
        {10, 10, 1, 100},        {33, 3, 1, 99},        {34, 3, 1, 102},
        {499, 3, 1, 1497},       {1000, 3, 2, 1500},    {8333, 3, 16, 1563},
        {8334, 2, 16, 1042},     {12501, 1, 25, 501},   {25001, 1, 50, 501},
        {127999, 1, 255, 502},   {128000, 1, 256, 500}, {128500, 1, 256, 502},
        {1000000, 1, 256, 3907},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const lc_job_facts facts = facts_of(rows[i].examples);
        const lc_job_resolved resolved = resolve("", "", &facts);
        assert_int_equal(resolved.n_epochs, rows[i].epochs);
        assert_int_equal(resolved.batch_size, rows[i].batch);
        assert_int_equal(resolved.total_steps, rows[i].steps);
    }
}

static void test_given_values_stay(void **state)
{
    (void)state;
    const lc_job_facts facts = facts_of(101);
    const lc_job_resolved resolved =
        resolve("\"n_epochs\": 7, \"batch_size\": 10, \"learning_rate_multiplier\": 0.5",
                "\"micro_batch_tokens\": 100, \"eval_every_steps\": 3, \"max_seq_len\": 128, "
                "\"checkpoint_every_steps\": 1000000000, \"dtype\": \"bf16\", \"warmup_ratio\": 0",
                &facts);
    assert_int_equal(resolved.n_epochs, 7);
    assert_int_equal(resolved.batch_size, 10);
    assert_int_equal(resolved.steps_per_epoch, 11);
    assert_int_equal(resolved.total_steps, 77);
    assert_int_equal(resolved.micro_batch_tokens, 100);
    assert_int_equal(resolved.eval_every_steps, 3);
    assert_int_equal(resolved.checkpoint_every_steps, 1000000000);
    assert_int_equal(resolved.max_tokens, 128);
    assert_int_equal(resolved.dtype, LC_BF16);
    assert_int_equal(resolved.warmup_steps, 0);
    assert_int_equal(resolved.seed, 77);
    assert_true(fabs(resolved.learning_rate - 1e-4) < 1e-18);
    assert_true(fabs(resolved.learning_rate_multiplier - 0.5) <= 0);
}

static void test_rates(void **state)
{
    (void)state;
    const lc_job_facts facts = facts_of(100);
    lc_job_resolved resolved = resolve("", "", &facts);
    assert_true(fabs(resolved.learning_rate - 2e-4) <= 0);
    assert_true(fabs(resolved.learning_rate_multiplier - 1) <= 0);
    resolved = resolve("\"learning_rate_multiplier\": 3", "\"learning_rate\": 0.25", &facts);
    assert_true(fabs(resolved.learning_rate - 0.25) <= 0);
    assert_true(fabs(resolved.learning_rate_multiplier - 3) <= 0);
}

static void test_seeds(void **state)
{
    (void)state;
    lc_job_resolved resolved;
    lc_job_spec spec = open_spec("", "");
    const lc_job_facts facts = facts_of(10);
    assert_ok(lc_job_resolve(&spec, &facts, UINT32_MAX, &resolved, &test_err));
    assert_int_equal(resolved.seed, LC_MAX_SEED);
    spec.seed = 12;
    assert_ok(lc_job_resolve(&spec, &facts, UINT32_MAX, &resolved, &test_err));
    assert_int_equal(resolved.seed, 12);
    lc_job_spec_release(&spec);
}

static void test_micro_batch(void **state)
{
    (void)state;
    lc_job_facts facts = facts_of(10);
    const struct {
        int64_t longest;
        lc_device_kind device;
        int64_t expected;
    } rows[] = {{1, LC_DEVICE_CPU, 512},      {511, LC_DEVICE_CPU, 512},
                {512, LC_DEVICE_CPU, 512},    {513, LC_DEVICE_CPU, 513},
                {8191, LC_DEVICE_CUDA, 8192}, {8193, LC_DEVICE_CUDA, 8193}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        facts.longest_example = rows[i].longest;
        facts.device = rows[i].device;
        const lc_job_resolved resolved = resolve("", "", &facts);
        assert_int_equal(resolved.micro_batch_tokens, rows[i].expected);
        assert_int_equal(resolved.dtype, rows[i].device == LC_DEVICE_CPU ? LC_F32 : LC_BF16);
        assert_int_equal(resolved.device, rows[i].device);
    }
    facts.longest_example = 300;
    lc_job_spec spec = open_spec("", "\"micro_batch_tokens\": 299");
    lc_job_resolved resolved;
    assert_fails(lc_job_resolve(&spec, &facts, 0, &resolved, &test_err), LC_ERR_INVALID,
                 "lorac.micro_batch_tokens: 299 is less than the longest example's 300 tokens");
    assert_string_equal(test_err.param, "lorac.micro_batch_tokens");
    lc_job_spec_release(&spec);
    assert_int_equal(resolve("", "\"micro_batch_tokens\": 300", &facts).micro_batch_tokens, 300);
}

static void test_context(void **state)
{
    (void)state;
    lc_job_facts facts = facts_of(10);
    for (int64_t context = 4095; context <= 4097; context++) {
        facts.model_context = context;
        assert_int_equal(resolve("", "", &facts).max_tokens, context < 4096 ? context : 4096);
    }
}

static void test_checkpoints_and_warmup(void **state)
{
    (void)state;
    static const struct {
        int64_t examples, every, warmup; /* n_epochs 1, batch_size 1: examples are steps */
    } rows[] = {{1, 5, 1},     {100, 5, 3},    {101, 6, 4},    {200, 10, 6},
                {999, 50, 30}, {1000, 50, 30}, {1001, 50, 31}, {100000, 50, 3000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const lc_job_facts facts = facts_of(rows[i].examples);
        const lc_job_resolved resolved = resolve("\"n_epochs\": 1, \"batch_size\": 1", "", &facts);
        assert_int_equal(resolved.checkpoint_every_steps, rows[i].every);
        assert_int_equal(resolved.warmup_steps, rows[i].warmup);
        assert_int_equal(resolved.eval_every_steps, 10);
    }
}

static void test_bad_facts(void **state)
{
    (void)state;
    lc_job_spec spec = open_spec("", "");
    lc_job_resolved resolved;
    lc_job_facts facts = facts_of(0);
    assert_fails(lc_job_resolve(&spec, &facts, 0, &resolved, &test_err), LC_ERR_INVALID,
                 "0 training examples");
    facts.example_count = INT64_MAX;
    assert_fails(lc_job_resolve(&spec, &facts, 0, &resolved, &test_err), LC_ERR_INVALID,
                 "training examples");
    lc_job_spec_release(&spec);
    spec = open_spec("\"n_epochs\": 50, \"batch_size\": 1", "");
    facts.example_count = INT64_MAX / 4;
    assert_fails(lc_job_resolve(&spec, &facts, 0, &resolved, &test_err), LC_ERR_INVALID,
                 "are too many");
    lc_job_spec_release(&spec);
}

/* For any data and any given values: everything within its bounds, epochs whole. */
static void test_any_size(void **state)
{
    (void)state;
    for (int trial = 0; trial < 500; trial++) {
        lc_job_facts facts = facts_of(test_int(1, (int64_t)1 << test_int(1, 31)));
        facts.longest_example = test_int(1, 5000);
        facts.model_context = test_int(1, 200000);
        lc_job_resolved r = resolve("", "", &facts);
        assert_in_range(r.n_epochs, 1, 25);
        assert_in_range(r.batch_size, 1, LC_MAX_BATCH_SIZE);
        assert_in_range(r.checkpoint_every_steps, 5, 50);
        assert_true(r.steps_per_epoch * r.batch_size >= facts.example_count);
        assert_true((r.steps_per_epoch - 1) * r.batch_size < facts.example_count);
        assert_int_equal(r.total_steps, r.steps_per_epoch * r.n_epochs);
        assert_true(r.warmup_steps >= 1 && r.warmup_steps <= r.total_steps);
        assert_true(r.micro_batch_tokens >= facts.longest_example);
    }
}

/* ---- as JSON ---- */

static cJSON *as_json(const lc_job_resolved *resolved)
{
    cJSON *object = NULL;
    lc_text text;
    lc_text_init(&text);
    lc_job_resolved_write(resolved, &text);
    assert_ok(lc_text_finish(&text, "resolved", &test_err));
    assert_ok(
        lc_json_parse(text.data, text.length, LC_JSON_DEFAULT, "resolved", &object, &test_err));
    lc_text_release(&text);
    return object;
}

static void assert_same(const lc_job_resolved *a, const lc_job_resolved *b)
{
    assert_int_equal(a->n_epochs, b->n_epochs);
    assert_int_equal(a->batch_size, b->batch_size);
    assert_int_equal(a->seed, b->seed);
    assert_int_equal(a->micro_batch_tokens, b->micro_batch_tokens);
    assert_int_equal(a->eval_every_steps, b->eval_every_steps);
    assert_int_equal(a->checkpoint_every_steps, b->checkpoint_every_steps);
    assert_int_equal(a->max_tokens, b->max_tokens);
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->device, b->device);
    assert_int_equal(a->total_steps, b->total_steps);
    assert_int_equal(a->steps_per_epoch, b->steps_per_epoch);
    assert_int_equal(a->warmup_steps, b->warmup_steps);
    assert_memory_equal(&a->learning_rate, &b->learning_rate, sizeof a->learning_rate);
    assert_memory_equal(&a->learning_rate_multiplier, &b->learning_rate_multiplier,
                        sizeof a->learning_rate_multiplier);
}

/* Rates come back bit for bit: a resumed run must use the very same ones. */
static void test_round_trip(void **state)
{
    (void)state;
    for (int trial = 0; trial < 200; trial++) {
        char hyper[128], lorac[160];
        lc_job_facts facts = facts_of(test_int(1, 100000));
        facts.device = trial % 2 == 0 ? LC_DEVICE_CPU : LC_DEVICE_CUDA;
        (void)snprintf(hyper, sizeof hyper, "\"learning_rate_multiplier\": %.17g",
                       test_uniform(1e-6, 1000));
        (void)snprintf(lorac, sizeof lorac, "\"warmup_ratio\": %.17g, \"learning_rate\": %.17g",
                       test_uniform(0, 1), test_uniform(1e-9, 1));
        const lc_job_resolved resolved = resolve(hyper, trial % 3 == 0 ? lorac : "", &facts);
        cJSON *object = as_json(&resolved);
        lc_job_resolved again;
        memset(&again, 0xa5, sizeof again);
        assert_ok(lc_job_resolved_read(object, &again, &test_err));
        cJSON_Delete(object);
        assert_same(&resolved, &again);
    }
}

/* A missing or wrong member is an error with its name. */
static void test_damaged(void **state)
{
    (void)state;
    const lc_job_facts facts = facts_of(50);
    const lc_job_resolved resolved = resolve("", "", &facts);
    cJSON *whole = as_json(&resolved);
    const cJSON *item = NULL;
    lc_job_resolved again;
    int checked = 0;
    cJSON_ArrayForEach(item, whole)
    {
        cJSON *cut = cJSON_Duplicate(whole, true);
        cJSON_DeleteItemFromObjectCaseSensitive(cut, item->string);
        assert_fails(lc_job_resolved_read(cut, &again, &test_err), LC_ERR_INVALID, item->string);
        assert_non_null(cJSON_AddArrayToObject(cut, item->string));
        assert_fails(lc_job_resolved_read(cut, &again, &test_err), LC_ERR_INVALID, item->string);
        cJSON_Delete(cut);
        checked++;
    }
    assert_int_equal(checked, 14);
    cJSON_Delete(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epochs_and_batch),
        cmocka_unit_test(test_given_values_stay),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_micro_batch),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_checkpoints_and_warmup),
        cmocka_unit_test(test_bad_facts),
        cmocka_unit_test(test_any_size),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
