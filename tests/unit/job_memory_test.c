/*
 * Whether a job fits: at the exact byte and one below it, what the refusal says, and that the
 * micro-batch it names is the largest that fits.
 */
#include "testing.h"

#include "job/adapter.h"
#include "job/memory.h"
#include "ops/backend.h"

#define MODEL   LC_SOURCE_DIR "/tests/golden/cases/qwen2/model"
#define LONGEST 40
#define TOKENS  512

static const char job_json[] = "{\"model\": \"m\", \"training_file\": \"t\", "
                               "\"lorac\": {\"rank\": 5}}";
static lc_job_spec spec;
static lc_model_config config;
static lc_adapter_spec *adapter;
static lc_job_resolved resolved;

static int setup(void **state)
{
    (void)state;
    assert_ok(lc_job_spec_parse(job_json, sizeof job_json - 1, "job", &spec, &test_err));
    assert_ok(lc_model_config_load(MODEL, &config, &test_err));
    assert_ok(lc_job_adapter_spec(&spec, &config, &adapter, &test_err));
    resolved.batch_size = 4;
    resolved.micro_batch_tokens = TOKENS;
    resolved.dtype = LC_F32;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lc_free(adapter);
    lc_job_spec_release(&spec);
    return 0;
}

static lc_job_extent extent_of(int64_t examples)
{
    const lc_job_extent extent = {
        .config = &config,
        .adapter = adapter,
        .resolved = &resolved,
        .longest = LONGEST,
        .training = {.examples = examples, .tokens = examples * 30, .targets = examples * 10},
        .recompute = LC_RECOMPUTE_NONE,
        .process_bytes = 1 << 20};
    return extent;
}

static int64_t total_of(const lc_job_extent *extent, int64_t micro_batch_tokens, int32_t recompute)
{
    lc_arena arena;
    lc_plan plan;
    lc_arena_init(&arena, "plan");
    assert_ok(lc_job_memory_plan(extent, micro_batch_tokens, recompute, &arena, &plan, &test_err));
    const int64_t total = lc_plan_total(&plan);
    lc_arena_release(&arena);
    return total;
}

static int32_t steps; /* that the last fit took */

static lc_code fit(const lc_job_extent *extent, int64_t limit)
{
    return lc_job_memory_fit(extent, limit, &steps, &test_err);
}

static void to_the_byte(void **state)
{
    (void)state;
    const lc_job_extent extent = extent_of(1000);
    const int64_t total = total_of(&extent, TOKENS, 0);
    assert_ok(fit(&extent, total));
    assert_fails(fit(&extent, total - 1), LC_ERR_MEMORY, "would fit");
}

static void names_what_fits(void **state)
{
    (void)state;
    const lc_job_extent extent = extent_of(1000);
    const int64_t low = total_of(&extent, LONGEST, 0), high = total_of(&extent, TOKENS, 0);
    for (int i = 0; i < 20; i++) {
        const int64_t limit = low + (high - 1 - low) * i / 19;
        long long named = 0;
        lc_err_clear(&test_err);
        assert_int_equal(fit(&extent, limit), LC_ERR_MEMORY);
        assert_string_equal(test_err.param, "lorac.micro_batch_tokens");
        const char *at = strstr(test_err.message, "; lorac.micro_batch_tokens ");
        assert_non_null(at);
        assert_int_equal(sscanf(at, "; lorac.micro_batch_tokens %lld would fit", &named), 1);
        assert_true(total_of(&extent, named, 0) <= limit);
        assert_true(total_of(&extent, named + 1, 0) > limit);
    }
    lc_err_clear(&test_err);
    assert_fails(fit(&extent, low - 1), LC_ERR_MEMORY,
                 "no micro-batch fits with rows of 40 tokens");
}

/* With a byte less than so many steps of recomputation need it takes one more, until there is none.
 */
static void computes_again_what_it_must(void **state)
{
    (void)state;
    lc_job_extent extent = extent_of(1000);
    const int32_t most = lc_model_recompute_steps(&config, adapter);
    char text[LC_RECOMPUTE_BYTES];
    assert_int_equal(most, 2);
    extent.recompute = LC_RECOMPUTE_AUTO;
    for (int32_t i = 0; i <= most; i++) {
        assert_ok(fit(&extent, total_of(&extent, TOKENS, i)));
        assert_int_equal(steps, i);
    }
    assert_true(total_of(&extent, TOKENS, most) < total_of(&extent, TOKENS, 0));
    assert_fails(fit(&extent, total_of(&extent, TOKENS, most) - 1), LC_ERR_MEMORY, "would fit");
    assert_int_equal(steps, most);
    lc_err_clear(&test_err);
    assert_ok(fit(&extent, -1));
    assert_int_equal(steps, 0);
    extent.recompute = LC_RECOMPUTE_ALL;
    assert_ok(fit(&extent, INT64_MAX));
    assert_int_equal(steps, most);
    assert_ok(fit(&extent, -1));
    assert_int_equal(steps, most);
    assert_string_equal(lc_job_recompute_text(&extent, 1, text), "gate|up of 1 layers");
    assert_string_equal(lc_job_recompute_text(&extent, 2, text), "all but the input of 1 layers");
}

/* Several ranks need memory for their sums on a GPU, more of them smaller chunks. */
static void ranks_are_planned(void **state)
{
    (void)state;
    lc_job_extent extent = extent_of(1000);
    const lc_memory_rules *rules = lc_memory_rules_of(LC_DEVICE_CUDA);
    const int64_t cpu = total_of(&extent, TOKENS, 0);
    extent.world_size = 2;
    assert_int_equal(total_of(&extent, TOKENS, 0), cpu);
    resolved.device = LC_DEVICE_CUDA;
    extent.world_size = 1;
    const int64_t one = total_of(&extent, TOKENS, 0);
    extent.world_size = 2;
    const int64_t added = total_of(&extent, TOKENS, 0) - one;
    const int64_t bytes = (int64_t)rules->comm_bytes(adapter->master_count, 2);
    resolved.device = LC_DEVICE_CPU;
    assert_true(added >= bytes && added < bytes + 256);
    assert_true(bytes >= adapter->master_count * 6);
    assert_true(rules->comm_bytes(1 << 20, 8) < rules->comm_bytes(1 << 20, 2));
}

/* A large data set is what takes the room: it is named first. */
static void names_the_largest(void **state)
{
    (void)state;
    const lc_job_extent extent = extent_of(10000000);
    assert_fails(fit(&extent, 1 << 20), LC_ERR_MEMORY,
                 "Largest: training ids (1.12 GiB), training weights (1.12 GiB), training offsets "
                 "(76.29 MiB). Now 512 tokens a micro-batch; no micro-batch fits");
}

static void sizes_beyond_any_machine(void **state)
{
    (void)state;
    lc_job_extent extent = extent_of(10);
    extent.training.tokens = INT64_MAX / 2;
    assert_fails(fit(&extent, INT64_MAX), LC_ERR_INVALID, "training ids");
}

static void most_buffers(void **state)
{
    (void)state;
    lc_arena arena;
    lc_plan plan;
    lc_arena_init(&arena, "plan");
    assert_ok(lc_plan_init(&plan, &arena, &test_err));
    for (int i = 0; i < LC_MAX_PLAN_BUFFERS; i++) {
        assert_ok(lc_plan_add(&plan, LC_PLAN_SCRATCH, LC_F32, 1, 1, &test_err, "buffer %d", i));
    }
    assert_fails(lc_plan_add(&plan, LC_PLAN_SCRATCH, LC_F32, 1, 1, &test_err, "one more"),
                 LC_ERR_UNSUPPORTED, "the memory plan has more than 8192 buffers");
    assert_int_equal(plan.count, LC_MAX_PLAN_BUFFERS);
    assert_int_equal(lc_plan_total(&plan), (int64_t)LC_MAX_PLAN_BUFFERS * 256);
    lc_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(to_the_byte),
        cmocka_unit_test(names_what_fits),
        cmocka_unit_test(computes_again_what_it_must),
        cmocka_unit_test(names_the_largest),
        cmocka_unit_test(sizes_beyond_any_machine),
        cmocka_unit_test(most_buffers),
        cmocka_unit_test(ranks_are_planned),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
