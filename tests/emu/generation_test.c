/*
 * Generation on the device that LORAC_TEST_DEVICE names (emu without it) beside the CPU's, in fp32:
 * the same tokens, greedy and sampled, of sequences that begin and end at different times; and rows
 * of a batch that do not see each other. The same program runs on a GPU.
 */
#include <math.h>

#include "generation.h"
#include "lorac/mem.h"
#include "ops/backend.h"
#include "parity.h"
#include "testing.h"

#define REQUESTS  10
#define LONGEST   48
#define SLOT_ROWS 80

static lc_device_kind device_kind(void)
{
    return getenv("LORAC_TEST_DEVICE") != NULL ? parity_device() : LC_DEVICE_EMU;
}

/* Always the same ones, in which no two logits are too close: short and long, greedy and not. */
static void fill_requests(lc_generate_request *requests, int32_t prompts[REQUESTS][LONGEST],
                          int32_t vocab)
{
    memset(requests, 0, REQUESTS * sizeof *requests);
    for (int32_t r = 0; r < REQUESTS; r++) {
        requests[r] =
            (lc_generate_request){.number = r,
                                  .prompt = prompts[r],
                                  .prompt_count = 1 + r * 7 % 23,
                                  .max_tokens = 3 + r * 11 % 31,
                                  .sampling = {.temperature = r % 3 == 0 ? 0.0 : 0.4 + 0.2 * r,
                                               .top_p = r % 3 == 1 ? 0.8 : 1.0,
                                               .seed = 17},
                                  .stream = (uint32_t)r};
        for (int32_t i = 0; i < requests[r].prompt_count; i++) {
            prompts[r][i] = (r * 31 + i * 17 + i * i * 7) % vocab;
        }
    }
}

static void generate(lc_engine *engine, const lc_generate_request *requests, int64_t count,
                     const int32_t *stop_ids, int32_t stop_count, answers *kept)
{
    lc_generator *generator = NULL;
    memset(kept, 0, sizeof *kept);
    assert_ok(lc_generator_open(engine->model, stop_ids, stop_count, &generator, &test_err));
    assert_ok(lc_generate_all(generator, requests, count, keep_token, kept, &test_err));
    assert_int_equal(lc_generator_active(generator), 0);
    lc_generator_close(generator);
}

static void compare(const char *name, const answers *found, const answers *expected)
{
    for (int r = 0; r < REQUESTS; r++) {
        for (int64_t i = 0; i < expected->counts[r] && i < found->counts[r]; i++) {
            if (found->ids[r][i] != expected->ids[r][i]) {
                fail_msg("%s: token %d of request %d is %d, on the CPU %d", name, (int)i, r,
                         found->ids[r][i], expected->ids[r][i]);
            }
        }
        assert_int_equal(found->counts[r], expected->counts[r]);
        assert_int_equal(found->finishes[r], expected->finishes[r]);
    }
}

/* Families in few and in many slots, which are filled again as sequences end: by their length, then
 * also by tokens that occur in their midst. */
static void tokens_are_the_cpus(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-patterns", "qwen2",        "qwen3",
                                        "smollm3",        "llama-yarn",   "mistral-window",
                                        "llama-llama3",   "llama-dynamic"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const int64_t slots = 1 + (int64_t)n % 3 * 4;
        lc_engine cpu, device;
        answers expected, found;
        int32_t prompts[REQUESTS][LONGEST];
        lc_generate_request requests[REQUESTS];
        open_case(names[n], LC_DEVICE_CPU, true, slots + 4, slots, SLOT_ROWS, &cpu);
        open_case(names[n], device_kind(), true, slots + 4, slots, SLOT_ROWS, &device);
        fill_requests(requests, prompts, cpu.config.vocab);
        generate(&cpu, requests, REQUESTS, NULL, 0, &expected);
        generate(&device, requests, REQUESTS, NULL, 0, &found);
        compare(names[n], &found, &expected);
        const int32_t stop_ids[2] = {expected.ids[0][expected.counts[0] / 2],
                                     expected.ids[4][expected.counts[4] / 3]};
        generate(&cpu, requests, REQUESTS, stop_ids, 2, &expected);
        generate(&device, requests, REQUESTS, stop_ids, 2, &found);
        assert_int_equal(expected.finishes[0], LC_FINISH_STOP);
        compare(names[n], &found, &expected);
        lc_engine_close(&cpu);
        lc_engine_close(&device);
    }
}

static void a_row_does_not_see_the_others(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-llama3", "qwen3", "mistral-window"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        check_rows_are_alone(names[n], device_kind(), n % 2 == 0 ? "bf16" : "fp32");
    }
}

static void an_adapter_does_not_see_the_others(void **state)
{
    (void)state;
    check_adapters_are_alone("llama-llama3", device_kind(), "bf16");
    check_adapters_are_alone("qwen2", device_kind(), "fp32");
}

/* Steps that run ahead, and such as cannot: sequences of several adapters, some with log
 * probabilities or penalties, beside those of the CPU. */
static void adapters_tokens_are_the_cpus(void **state)
{
    (void)state;
    lc_engine cpu, device;
    answers expected, found;
    int32_t prompts[REQUESTS][LONGEST];
    lc_generate_request requests[REQUESTS];
    open_with_room("smollm3", LC_DEVICE_CPU, "fp32", 9, 5, SLOT_ROWS, OTHER_ADAPTERS, &cpu);
    open_with_room("smollm3", device_kind(), "fp32", 9, 5, SLOT_ROWS, OTHER_ADAPTERS, &device);
    for (int32_t i = 0; i < OTHER_ADAPTERS; i++) {
        load_other_adapter(&cpu, i, i);
        load_other_adapter(&device, i, i);
    }
    fill_requests(requests, prompts, cpu.config.vocab);
    for (int32_t r = 0; r < REQUESTS; r++) {
        requests[r].adapter = r % (OTHER_ADAPTERS + 1) - 1;
        requests[r].wants_logprobs = r == 6;
        requests[r].sampling.frequency_penalty = r == 5 ? 1.5 : 0.0;
    }
    generate(&cpu, requests, REQUESTS, NULL, 0, &expected);
    generate(&device, requests, REQUESTS, NULL, 0, &found);
    compare("adapters", &found, &expected);
    lc_engine_close(&cpu);
    lc_engine_close(&device);
}

/* What was queued ahead is dropped, and the next answers are as if it had not been. */
static void the_listener_can_end_it(void **state)
{
    (void)state;
    lc_engine device;
    lc_generator *generator = NULL;
    answers first, again;
    int32_t prompts[REQUESTS][LONGEST];
    lc_generate_request requests[REQUESTS];
    open_case("qwen3", device_kind(), true, 12, 4, SLOT_ROWS, &device);
    fill_requests(requests, prompts, device.config.vocab);
    generate(&device, requests, 4, NULL, 0, &first);
    assert_ok(lc_generator_open(device.model, NULL, 0, &generator, &test_err));
    for (int64_t after = 1; after < first.seen; after += 5) {
        memset(&again, 0, sizeof again);
        again.fail_after = after;
        assert_fails(lc_generate_all(generator, requests, 4, keep_token, &again, &test_err),
                     LC_ERR_INTERRUPTED, "enough");
        assert_int_equal(lc_generator_free_slots(generator), 4);
        memset(&again, 0, sizeof again);
        assert_ok(lc_generate_all(generator, requests, 4, keep_token, &again, &test_err));
        assert_memory_equal(again.ids, first.ids, sizeof first.ids);
    }
    lc_generator_close(generator);
    lc_engine_close(&device);
}

static void damaged_weights_are_noticed(void **state)
{
    (void)state;
    lc_engine device;
    lc_generator *generator = NULL;
    answers kept;
    int32_t prompts[REQUESTS][LONGEST];
    lc_generate_request requests[REQUESTS];
    open_case("qwen2", device_kind(), true, 12, 4, SLOT_ROWS, &device);
    fill_requests(requests, prompts, device.config.vocab);
    const int64_t count = device.model->spec.master_count;
    float *masters = lc_calloc((size_t)count, sizeof *masters);
    assert_non_null(masters);
    for (int64_t i = 0; i < count; i++) {
        masters[i] = NAN;
    }
    assert_ok(lc_model_set_masters(device.model, masters, &test_err));
    memset(&kept, 0, sizeof kept);
    assert_ok(lc_generator_open(device.model, NULL, 0, &generator, &test_err));
    assert_fails(lc_generate_all(generator, requests, 4, keep_token, &kept, &test_err),
                 LC_ERR_NUMERIC, "logits that are not finite at position 1");
    memset(masters, 0, (size_t)count * sizeof *masters);
    assert_ok(lc_model_set_masters(device.model, masters, &test_err));
    assert_ok(lc_generate_all(generator, requests, 4, keep_token, &kept, &test_err));
    lc_generator_close(generator);
    lc_engine_close(&device);
    lc_free(masters);
}

/* ---- rows by themselves ---- */

enum { ROWS = 24, HEADS = 16, DIM = 128, CACHE = 16384, WIDTH = HEADS * DIM };

static void *on_device(lc_device *device, const void *bytes, size_t count)
{
    void *memory = NULL;
    assert_ok(device->ops->alloc(device, count, &memory, &test_err));
    if (bytes != NULL) {
        assert_ok(device->ops->upload(device, memory, bytes, count, &test_err));
    }
    return memory;
}

static float *random_floats(int64_t count, double range)
{
    float *values = lc_calloc((size_t)count, sizeof *values);
    assert_non_null(values);
    test_fill(values, (size_t)count, -range, range);
    return values;
}

static void attend(lc_device *device, const lc_attention_cached_args *all, int64_t first,
                   int64_t count, float *out)
{
    lc_attention_cached_args args = *all;
    args.slots += first;
    args.positions += first;
    args.q = lc_mat_view(all->q, first, 0, count, WIDTH);
    args.out = lc_mat_view(all->out, first, 0, count, WIDTH);
    assert_ok(device->ops->attention_cached(device, &args, &test_err));
    assert_ok(device->ops->download(device, out, args.out.data, (size_t)count * WIDTH * sizeof *out,
                                    &test_err));
}

/* A long cache, so that a row's keys are many parts and not all rows fit into the workspace. */
static void a_row_of_attention_sees_no_other(void **state)
{
    (void)state;
    lc_device *device = NULL;
    const lc_device_options options = {.kind = device_kind()};
    assert_ok(lc_device_open(&options, &device, &test_err));
    const lc_workspace_extent extent = {
        .tokens = ROWS, .heads = HEADS, .head_dim = DIM, .cache_rows = CACHE};
    const size_t bytes = device->memory->workspace_bytes(&extent);
    void *workspace = on_device(device, NULL, bytes);
    device->ops->set_workspace(device, workspace, bytes);
    int32_t slots[ROWS], positions[ROWS];
    for (int32_t i = 0; i < ROWS; i++) {
        slots[i] = i == 5 ? -1 : 0;
        positions[i] = i < 2 ? CACHE - 1 - i : (int32_t)test_int(0, 2000);
    }
    float *q = random_floats(ROWS * WIDTH, 1.0), *k = random_floats((int64_t)CACHE * DIM, 1.0),
          *together = random_floats(ROWS * WIDTH, 1.0), *alone = random_floats(ROWS * WIDTH, 1.0);
    void *memory[] = {on_device(device, q, ROWS * WIDTH * sizeof *q),
                      on_device(device, k, (size_t)CACHE * DIM * sizeof *k),
                      on_device(device, NULL, ROWS * WIDTH * sizeof *q),
                      on_device(device, slots, sizeof slots),
                      on_device(device, positions, sizeof positions)};
    const lc_attention_cached_args args = {.heads = HEADS,
                                           .kv_heads = 1,
                                           .head_dim = DIM,
                                           .scale = 0.09f,
                                           .slots = memory[3],
                                           .positions = memory[4],
                                           .slot_rows = CACHE,
                                           .q = lc_mat_f32(memory[0], ROWS, WIDTH, WIDTH),
                                           .k_cache = lc_mat_f32(memory[1], CACHE, DIM, DIM),
                                           .v_cache = lc_mat_f32(memory[1], CACHE, DIM, DIM),
                                           .out = lc_mat_f32(memory[2], ROWS, WIDTH, WIDTH)};
    attend(device, &args, 0, ROWS, together);
    for (int64_t i = 0; i < ROWS; i++) {
        attend(device, &args, i, 1, alone + i * WIDTH);
    }
    assert_memory_equal(alone, together, ROWS * WIDTH * sizeof *alone);
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
        device->ops->free(device, memory[i]);
    }
    device->ops->free(device, workspace);
    device->ops->close(device);
    lc_free(q), lc_free(k), lc_free(together), lc_free(alone);
}

int main(void)
{
    /* Other numbers of rows are proposed other algorithms, as by the library. */
    (void)setenv("EMU_CUBLASLT_BY_ROWS", "1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_the_cpus),
        cmocka_unit_test(a_row_does_not_see_the_others),
        cmocka_unit_test(an_adapter_does_not_see_the_others),
        cmocka_unit_test(adapters_tokens_are_the_cpus),
        cmocka_unit_test(the_listener_can_end_it),
        cmocka_unit_test(damaged_weights_are_noticed),
        cmocka_unit_test(a_row_of_attention_sees_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
