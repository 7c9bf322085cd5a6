// ctest: threads
/*
 * Generation on tiny models of the golden cases: continuous batching, chunked prompts, the reuse of
 * a cache and the limits, each compared with passes over the whole sequence without any cache of
 * earlier passes.
 */
#include "testing.h"

#include <math.h>

#include "base/file.h"
#include "generation.h"
#include "lorac/mem.h"

#define MAX_REQUESTS 16
#define MAX_LENGTH   40
#define CLOSE        1e-4f /* logits of two orders of summation */

/* Logits after `count` ids, in one pass of a model with room for them. Free with lc_free. */
static float *logits_after(lc_engine *engine, const int32_t *ids, int32_t count)
{
    int32_t positions[2 * MAX_LENGTH], slots[2 * MAX_LENGTH];
    const int32_t last = count - 1;
    float *logits = lc_calloc((size_t)engine->config.vocab, sizeof *logits);
    assert_non_null(logits);
    for (int32_t i = 0; i < count; i++) {
        positions[i] = i;
        slots[i] = 0;
    }
    const lc_decode_args args = {.token_count = count,
                                 .ids = ids,
                                 .positions = positions,
                                 .slots = slots,
                                 .want = &last,
                                 .want_count = 1,
                                 .logits = logits};
    assert_ok(lc_model_decode(engine->model, &args, &test_err));
    return logits;
}

/* Every token of a greedy answer is (up to rounding) the largest logit of a fresh pass. */
static void check_greedy(lc_engine *reference, const lc_generate_request *request,
                         const answers *kept)
{
    int32_t ids[2 * MAX_LENGTH];
    int32_t count = (int32_t)request->prompt_count;
    memcpy(ids, request->prompt, (size_t)count * sizeof *ids);
    /* With dynamic scaling, later tokens see keys of an earlier length, a fresh pass does not. */
    const bool is_dynamic = reference->config.rope.type == LC_ROPE_DYNAMIC;
    for (int64_t i = 0; i < (is_dynamic ? 1 : kept->counts[request->number]); i++) {
        float *logits = logits_after(reference, ids, count);
        const int32_t id = kept->ids[request->number][i];
        float largest = logits[0];
        for (int32_t v = 1; v < reference->config.vocab; v++) {
            largest = logits[v] > largest ? logits[v] : largest;
        }
        assert_true(logits[id] >= largest - CLOSE);
        lc_free(logits);
        ids[count++] = id;
    }
}

static void fill_prompt(int32_t *prompt, int64_t count, int32_t vocab)
{
    for (int64_t i = 0; i < count; i++) {
        prompt[i] = (int32_t)test_int(0, vocab - 1);
    }
}

static void batched_answers_are_those_of_whole_passes(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-default", "qwen3",      "mistral-window",
                                        "smollm3",       "llama-yarn", "llama-dynamic"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const int64_t slots = test_int(1, 5), tokens = test_int(slots, 11);
        lc_engine engine, reference;
        lc_generator *generator = NULL;
        answers kept = {.seen = 0};
        int32_t prompts[MAX_REQUESTS][MAX_LENGTH];
        lc_generate_request requests[MAX_REQUESTS];
        open_case(names[n], LC_DEVICE_CPU, n % 2 == 0, tokens, slots, 2 * MAX_LENGTH, &engine);
        open_case(names[n], LC_DEVICE_CPU, n % 2 == 0, 2 * MAX_LENGTH, 1, 2 * MAX_LENGTH,
                  &reference);
        assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
        memset(requests, 0, sizeof requests);
        for (int r = 0; r < MAX_REQUESTS; r++) {
            requests[r].number = r;
            requests[r].prompt = prompts[r];
            requests[r].prompt_count = test_int(1, 23);
            requests[r].max_tokens = test_int(1, 14);
            requests[r].sampling.top_p = 1.0;
            fill_prompt(prompts[r], requests[r].prompt_count, engine.config.vocab);
        }
        assert_ok(lc_generate_all(generator, requests, MAX_REQUESTS, keep_token, &kept, &test_err));
        assert_int_equal(lc_generator_active(generator), 0);
        for (int r = 0; r < MAX_REQUESTS; r++) {
            assert_int_equal(kept.counts[r], requests[r].max_tokens);
            assert_int_equal(kept.finishes[r], LC_FINISH_LENGTH);
            check_greedy(&reference, &requests[r], &kept);
        }
        lc_generator_close(generator);
        lc_engine_close(&engine);
        lc_engine_close(&reference);
    }
}

static void a_row_does_not_see_the_others(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-default",  "qwen2",      "qwen3",        "smollm3",
                                        "mistral-window", "llama-yarn", "llama-dynamic"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        check_rows_are_alone(names[n], LC_DEVICE_CPU, n % 2 == 0 ? "fp32" : "bf16");
    }
}

static void an_adapter_does_not_see_the_others(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-default", "qwen2", "qwen3", "smollm3"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        check_adapters_are_alone(names[n], LC_DEVICE_CPU, n % 2 == 0 ? "fp32" : "bf16");
    }
}

/* Of a prompt, with the adapter at `place`. */
static float *last_logits(lc_engine *engine, const int32_t *ids, int32_t count, int32_t place)
{
    int32_t positions[MAX_LENGTH], slots[MAX_LENGTH];
    const int32_t last = count - 1;
    float *logits = lc_calloc((size_t)engine->config.vocab, sizeof *logits);
    assert_non_null(logits);
    for (int32_t i = 0; i < count; i++) {
        positions[i] = i;
        slots[i] = 0;
    }
    const lc_decode_args args = {.token_count = count,
                                 .ids = ids,
                                 .positions = positions,
                                 .slots = slots,
                                 .adapters = &place,
                                 .want = &last,
                                 .want_count = 1,
                                 .logits = logits};
    assert_ok(lc_model_decode(engine->model, &args, &test_err));
    return logits;
}

/* On the CPU to the last bit: in the only place of the border, beside others, and not at all. */
static void an_adapter_is_the_same_beside_others(void **state)
{
    (void)state;
    char adapter[LC_MAX_PATH_BYTES];
    lc_engine one, several, none;
    int32_t prompt[9];
    (void)snprintf(adapter, sizeof adapter, "%s/tests/golden/cases/llama-patterns/adapter",
                   LC_SOURCE_DIR);
    open_case("llama-patterns", LC_DEVICE_CPU, true, 16, 1, 16, &one);
    open_case("llama-patterns", LC_DEVICE_CPU, false, 16, 1, 16, &none);
    open_with_room("llama-patterns", LC_DEVICE_CPU, "fp32", 16, 1, 16, 3, &several);
    load_other_adapter(&several, 0, 1);
    load_other_adapter(&several, 2, 0);
    assert_ok(lc_engine_load_adapter(&several, 2, adapter, &test_err)); /* over another one */
    fill_prompt(prompt, 9, one.config.vocab);
    float *logits[] = {last_logits(&one, prompt, 9, 0), last_logits(&several, prompt, 9, 2),
                       last_logits(&none, prompt, 9, -1), last_logits(&several, prompt, 9, -1),
                       last_logits(&several, prompt, 9, 0)};
    const size_t bytes = (size_t)one.config.vocab * sizeof(float);
    assert_memory_equal(logits[0], logits[1], bytes);
    assert_memory_equal(logits[2], logits[3], bytes);
    assert_memory_not_equal(logits[1], logits[3], bytes);
    assert_memory_not_equal(logits[1], logits[4], bytes);
    for (size_t i = 0; i < sizeof logits / sizeof *logits; i++) {
        lc_free(logits[i]);
    }
    lc_engine_close(&one);
    lc_engine_close(&several);
    lc_engine_close(&none);
}

static void adapters_come_and_go(void **state)
{
    (void)state;
    enum { TOKENS = 20, SWITCH = 7 };
    char big[LC_MAX_PATH_BYTES];
    lc_engine engine;
    lc_generator *generator = NULL;
    answers alone = {.seen = 0}, kept = {.seen = 0};
    int32_t prompt[6];
    open_with_room("llama-default", LC_DEVICE_CPU, "fp32", 16, 3, 48, 2, &engine);
    load_other_adapter(&engine, 0, 0);
    fill_prompt(prompt, 6, engine.config.vocab);
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    lc_generate_request request = {.number = 0,
                                   .prompt = prompt,
                                   .prompt_count = 6,
                                   .max_tokens = TOKENS,
                                   .sampling = {.temperature = 1.0, .top_p = 1.0, .seed = 5}};
    assert_ok(lc_generate_all(generator, &request, 1, keep_token, &alone, &test_err));
    assert_ok(lc_generator_drop_adapter(generator, 0, &test_err)); /* nothing is reused */
    assert_ok(lc_generator_add(generator, &request, &test_err));
    for (int step = 0; step < TOKENS; step++) {
        const lc_generated *tokens = NULL;
        int32_t count = 0;
        if (step == SWITCH) {
            load_other_adapter(&engine, 1, 2);
            request.number = 1;
            request.adapter = 1;
            assert_ok(lc_generator_add(generator, &request, &test_err));
            assert_fails(lc_generator_drop_adapter(generator, 0, &test_err), LC_ERR_BUSY, "in use");
        }
        assert_ok(lc_generator_step(generator, &tokens, &count, &test_err));
        for (int32_t i = 0; i < count; i++) {
            assert_int_equal(tokens[i].cached, 0); /* of another adapter */
            assert_ok(keep_token(&kept, &tokens[i], &test_err));
        }
    }
    assert_memory_equal(kept.ids[0], alone.ids[0], TOKENS * sizeof(int32_t));
    assert_memory_not_equal(kept.ids[1], alone.ids[0], (TOKENS - SWITCH) * sizeof(int32_t));
    lc_generator_cancel(generator);
    request.adapter = 2;
    assert_fails(lc_generator_add(generator, &request, &test_err), LC_ERR_INTERNAL, "room for 2");
    (void)snprintf(big, sizeof big, "%s/adapter", test_dir());
    assert_fails(lc_engine_load_adapter(&engine, 0, big, &test_err), LC_ERR_NOT_FOUND, "adapter");
    lc_generator_close(generator);
    lc_engine_close(&engine);
}

static void too_high_a_rank_is_refused(void **state)
{
    (void)state;
    lc_engine engine;
    const lc_lora_options options = {.rank = 33, .alpha = 8.0, .all_linear = true};
    lc_adapter_spec *spec = lc_calloc(1, sizeof *spec);
    assert_non_null(spec);
    open_with_room("llama-default", LC_DEVICE_CPU, "fp32", 4, 1, 8, 1, &engine);
    assert_ok(lc_adapter_spec_build(&engine.config, &options, spec, &test_err));
    float *master = lc_calloc((size_t)spec->master_count, sizeof *master);
    assert_non_null(master);
    assert_fails(lc_model_load_adapter(engine.model, 0, spec, master, &test_err),
                 LC_ERR_UNSUPPORTED,
                 "q_proj has rank 33, the model was opened for adapters of rank 32");
    assert_string_equal(test_err.param, "r");
    assert_fails(lc_model_load_adapter(engine.model, 1, spec, master, &test_err), LC_ERR_INTERNAL,
                 "room for 1");
    lc_free(master);
    assert_fails(
        lc_adapter_spec_room(&engine.config, 1, LC_MAX_ADAPTER_COPIES + 1, spec, &test_err),
        LC_ERR_USAGE, "room for 17 adapters");
    assert_ok(
        lc_adapter_spec_room(&engine.config, LC_MAX_RANK, LC_MAX_ADAPTER_COPIES, spec, &test_err));
    lc_free(spec);
    lc_engine_close(&engine);
}

/* The second answer to a prompt takes over its cache, and is what it would be alone. */
static void answers_to_one_prompt_share_it(void **state)
{
    (void)state;
    enum { TOKENS = 12, PROMPT = 30 };
    lc_engine engine;
    lc_generator *generator = NULL;
    answers alone = {.seen = 0}, kept = {.seen = 0};
    int32_t prompt[PROMPT];
    open_case("llama-default", LC_DEVICE_CPU, true, 64, 2, 64, &engine);
    fill_prompt(prompt, PROMPT, engine.config.vocab);
    lc_generate_request request = {.prompt = prompt,
                                   .prompt_count = PROMPT,
                                   .max_tokens = TOKENS,
                                   .sampling = {.temperature = 1.0, .top_p = 1.0, .seed = 9},
                                   .stream = 1};
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    assert_ok(lc_generate_all(generator, &request, 1, keep_token, &alone, &test_err));
    lc_generator_close(generator);
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    for (int step = 0; step <= TOKENS; step++) {
        const lc_generated *tokens = NULL;
        int32_t count = 0;
        if (step < 2) {
            request.number = 1 - step;
            request.stream = (uint32_t)step;
            assert_ok(lc_generator_add(generator, &request, &test_err));
        }
        assert_ok(lc_generator_step(generator, &tokens, &count, &test_err));
        for (int32_t i = 0; i < count; i++) {
            assert_int_equal(tokens[i].cached, tokens[i].number == 0 ? PROMPT - 1 : 0);
            assert_ok(keep_token(&kept, &tokens[i], &test_err));
        }
    }
    assert_memory_equal(kept.ids[0], alone.ids[0], TOKENS * sizeof(int32_t));
    lc_generator_close(generator);
    lc_engine_close(&engine);
}

static void logprobs_are_those_of_the_logits(void **state)
{
    (void)state;
    enum { TOP = 5 };
    lc_engine engine, reference;
    lc_generator *generator = NULL;
    int32_t ids[24];
    int32_t known = 4;
    open_case("qwen2", LC_DEVICE_CPU, true, 16, 2, 32, &engine);
    open_case("qwen2", LC_DEVICE_CPU, true, 32, 1, 32, &reference);
    fill_prompt(ids, 4, engine.config.vocab);
    lc_generate_request request = {.prompt = ids,
                                   .prompt_count = 4,
                                   .max_tokens = 20,
                                   .sampling = {.temperature = 0.8, .top_p = 0.9, .seed = 3},
                                   .wants_logprobs = true,
                                   .top_count = LC_MAX_TOP_LOGPROBS + 1};
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    assert_fails(lc_generator_add(generator, &request, &test_err), LC_ERR_USAGE,
                 "top_logprobs is 21");
    request.top_count = TOP;
    assert_ok(lc_generator_add(generator, &request, &test_err));
    while (known < 24) {
        const lc_generated *token = NULL;
        int32_t count = 0;
        assert_ok(lc_generator_step(generator, &token, &count, &test_err));
        assert_int_equal(count, 1);
        assert_int_equal(token->logprobs->count, TOP);
        float *logits = logits_after(&reference, ids, known);
        double sum = 0.0;
        for (int32_t v = 0; v < engine.config.vocab; v++) {
            sum += exp((double)logits[v]);
        }
        assert_true(fabs((double)logits[token->id] - log(sum) - (double)token->logprobs->chosen) <
                    1e-5);
        for (int32_t i = 0; i < TOP; i++) {
            const int32_t id = token->logprobs->ids[i];
            int32_t before = 0;
            for (int32_t v = 0; v < engine.config.vocab; v++) {
                before += logits[v] > logits[id];
            }
            assert_int_equal(before, i);
            assert_true(fabs((double)logits[id] - log(sum) - (double)token->logprobs->values[i]) <
                        1e-5);
        }
        lc_free(logits);
        ids[known++] = token->id;
    }
    lc_generator_close(generator);
    lc_engine_close(&engine);
    lc_engine_close(&reference);
}

/* Greedy answers with penalties and biases: of logits changed by OpenAI's formula; the one beside
 * them is what it is alone. */
static void penalties_and_biases_change_what_is_chosen(void **state)
{
    (void)state;
    enum { PROMPT = 4, NEW = 20 };
    static const lc_logit_bias biases[] = {{.id = 7, .value = 1.5f}, {.id = 11, .value = -100.0f}};
    const lc_sampling kinds[] = {{.top_p = 1.0, .presence_penalty = 2.0},
                                 {.top_p = 1.0, .frequency_penalty = -0.5},
                                 {.top_p = 1.0, .biases = biases, .bias_count = 2},
                                 {.top_p = 1.0,
                                  .presence_penalty = 0.3,
                                  .frequency_penalty = 1.1,
                                  .biases = biases,
                                  .bias_count = 2}};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    lc_engine engine, reference;
    lc_generator *generator = NULL;
    answers kept = {.seen = 0}, alone = {.seen = 0};
    int32_t prompt[PROMPT];
    int different = 0;
    open_case("qwen2", LC_DEVICE_CPU, true, 16, KINDS + 1, 32, &engine);
    open_case("qwen2", LC_DEVICE_CPU, true, 32, 1, 32, &reference);
    fill_prompt(prompt, PROMPT, engine.config.vocab);
    lc_generate_request requests[KINDS + 1];
    for (int r = 0; r <= KINDS; r++) {
        requests[r] = (lc_generate_request){.number = r,
                                            .prompt = prompt,
                                            .prompt_count = PROMPT,
                                            .max_tokens = NEW,
                                            .sampling = {.top_p = 1.0}};
        if (r < KINDS) {
            requests[r].sampling = kinds[r];
        }
    }
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    assert_ok(lc_generate_all(generator, &requests[KINDS], 1, keep_token, &alone, &test_err));
    assert_ok(lc_generate_all(generator, requests, KINDS + 1, keep_token, &kept, &test_err));
    assert_memory_equal(kept.ids[KINDS], alone.ids[KINDS], NEW * sizeof(int32_t));
    for (int r = 0; r < KINDS; r++) {
        int32_t ids[PROMPT + NEW];
        memcpy(ids, prompt, sizeof prompt);
        for (int i = 0; i < NEW; i++) {
            float *logits = logits_after(&reference, ids, PROMPT + i), largest = -INFINITY;
            for (int32_t v = 0; v < engine.config.vocab; v++) {
                double times = 0.0;
                for (int before = 0; before < i; before++) {
                    times += ids[PROMPT + before] == v;
                }
                logits[v] -= (float)(times * kinds[r].frequency_penalty +
                                     (times > 0.0 ? kinds[r].presence_penalty : 0.0));
                for (int b = 0; b < kinds[r].bias_count; b++) {
                    logits[v] += biases[b].id == v ? biases[b].value : 0.0f;
                }
                largest = logits[v] > largest ? logits[v] : largest;
            }
            ids[PROMPT + i] = kept.ids[r][i];
            assert_true(logits[ids[PROMPT + i]] >= largest - CLOSE);
            lc_free(logits);
        }
        different += memcmp(kept.ids[r], alone.ids[KINDS], NEW * sizeof(int32_t)) != 0;
    }
    assert_true(different > 0);
    lc_generate_request bad = requests[0];
    const lc_logit_bias outside = {.id = engine.config.vocab, .value = 1.0f};
    bad.sampling.presence_penalty = 2.5;
    assert_fails(lc_generator_add(generator, &bad, &test_err), LC_ERR_USAGE, "presence penalty");
    bad.sampling = (lc_sampling){.top_p = 1.0, .frequency_penalty = -3.0};
    assert_fails(lc_generator_add(generator, &bad, &test_err), LC_ERR_USAGE, "frequency penalty");
    bad.sampling = (lc_sampling){.top_p = 1.0, .biases = &outside, .bias_count = 1};
    assert_fails(lc_generator_add(generator, &bad, &test_err), LC_ERR_INVALID, "outside the voc");
    lc_generator_close(generator);
    lc_engine_close(&engine);
    lc_engine_close(&reference);
}

/* A conversation: each prompt continues the one before, partly or wholly, and other prompts come
 * between. */
static void a_cache_is_reused_only_where_it_holds(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-default", "llama-dynamic"};
    for (size_t n = 0; n < 2; n++) {
        lc_engine engine, reference;
        lc_generator *generator = NULL;
        int32_t prompt[2 * MAX_LENGTH];
        int64_t count = 3;
        open_case(names[n], LC_DEVICE_CPU, true, 64, 2, 64, &engine);
        open_case(names[n], LC_DEVICE_CPU, true, 64, 1, 64, &reference);
        assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
        fill_prompt(prompt, MAX_LENGTH, engine.config.vocab);
        for (int turn = 0; turn < 12; turn++) {
            answers kept = {.seen = 0};
            const lc_generate_request request = {.prompt = prompt,
                                                 .prompt_count = count,
                                                 .max_tokens = 1,
                                                 .sampling = {.top_p = 1.0}};
            assert_ok(lc_generate_all(generator, &request, 1, keep_token, &kept, &test_err));
            check_greedy(&reference, &request, &kept);
            if (turn % 3 == 2) { /* another beginning */
                count = test_int(1, 9);
                fill_prompt(prompt + test_int(0, count - 1), 1, engine.config.vocab);
            } else {
                prompt[count] = kept.ids[0][0];
                count += test_int(1, 3);
            }
        }
        lc_generator_close(generator);
        lc_engine_close(&engine);
        lc_engine_close(&reference);
    }
}

static void stop_ids_end_a_sequence(void **state)
{
    (void)state;
    lc_engine engine;
    lc_generator *generator = NULL;
    answers free_run = {.seen = 0}, stopped = {.seen = 0};
    int32_t prompt[5];
    open_case("llama-default", LC_DEVICE_CPU, true, 8, 1, 64, &engine);
    fill_prompt(prompt, 5, engine.config.vocab);
    const lc_generate_request request = {
        .prompt = prompt, .prompt_count = 5, .max_tokens = 20, .sampling = {.top_p = 1.0}};
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    assert_ok(lc_generate_all(generator, &request, 1, keep_token, &free_run, &test_err));
    lc_generator_close(generator);
    assert_int_equal(free_run.counts[0], 20);

    const int64_t at = test_int(0, 19);
    const int32_t stop_ids[2] = {engine.config.vocab,
                                 free_run.ids[0][at]}; /* the first never comes */
    int64_t first = 0;
    while (free_run.ids[0][first] != stop_ids[1]) {
        first++;
    }
    assert_ok(lc_generator_open(engine.model, stop_ids, 2, &generator, &test_err));
    assert_ok(lc_generate_all(generator, &request, 1, keep_token, &stopped, &test_err));
    assert_int_equal(stopped.counts[0], first + 1);
    assert_int_equal(stopped.finishes[0], LC_FINISH_STOP);
    assert_memory_equal(stopped.ids[0], free_run.ids[0], (size_t)(first + 1) * sizeof(int32_t));
    lc_generator_close(generator);
    lc_engine_close(&engine);
}

static void the_context_ends_a_sequence(void **state)
{
    (void)state;
    enum { ROWS = 12 };
    lc_engine engine;
    lc_generator *generator = NULL;
    int32_t prompt[ROWS];
    open_case("llama-default", LC_DEVICE_CPU, false, 4, 1, ROWS, &engine);
    fill_prompt(prompt, ROWS, engine.config.vocab);
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    lc_generate_request request = {
        .prompt = prompt, .max_tokens = INT64_MAX, .sampling = {.top_p = 1.0}};
    for (request.prompt_count = 1; request.prompt_count < ROWS; request.prompt_count++) {
        answers kept = {.seen = 0};
        assert_ok(lc_generate_all(generator, &request, 1, keep_token, &kept, &test_err));
        assert_int_equal(kept.counts[0], ROWS - request.prompt_count);
        assert_int_equal(kept.finishes[0], LC_FINISH_LENGTH);
    }
    assert_fails(lc_generator_add(generator, &request, &test_err), LC_ERR_INVALID,
                 "the prompt has 12 tokens, but the context has room for 11");
    lc_generator_close(generator);
    lc_engine_close(&engine);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    lc_engine engine;
    lc_generator *generator = NULL;
    int32_t prompt[2] = {0, 0};
    open_case("llama-default", LC_DEVICE_CPU, false, 4, 1, 8, &engine);
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    lc_generate_request request = {
        .prompt = prompt, .prompt_count = 0, .max_tokens = 2, .sampling = {.top_p = 1.0}};
    assert_fails(lc_generator_add(generator, &request, &test_err), LC_ERR_INVALID,
                 "the prompt is empty");
    request.prompt_count = 2;
    prompt[1] = engine.config.vocab;
    assert_fails(lc_generator_add(generator, &request, &test_err), LC_ERR_INVALID,
                 "at position 1 is outside");
    prompt[1] = -1;
    assert_fails(lc_generator_add(generator, &request, &test_err), LC_ERR_INVALID, "token id -1");
    prompt[1] = engine.config.vocab - 1;
    request.sampling.temperature = -1.0;
    assert_fails(lc_generator_add(generator, &request, &test_err), LC_ERR_USAGE, "temperature");
    request.sampling.temperature = 0.0;
    assert_ok(lc_generator_add(generator, &request, &test_err));
    assert_int_equal(lc_generator_free_slots(generator), 0);
    assert_fails(lc_generator_add(generator, &request, &test_err), LC_ERR_BUSY, "all 1 sequences");
    lc_generator_cancel(generator);
    assert_int_equal(lc_generator_free_slots(generator), 1);
    const lc_generated *tokens = NULL;
    int32_t count = -1;
    assert_ok(lc_generator_step(generator, &tokens, &count, &test_err));
    assert_int_equal(count, 0);
    lc_generator_close(generator);

    const int32_t many[LC_MAX_STOP_IDS + 1] = {0};
    assert_fails(lc_generator_open(engine.model, many, LC_MAX_STOP_IDS + 1, &generator, &test_err),
                 LC_ERR_INTERNAL, "17 stop ids");
    assert_null(generator);
    assert_ok(lc_generator_open(engine.model, many, LC_MAX_STOP_IDS, &generator, &test_err));
    lc_generator_close(generator);
    lc_engine_close(&engine);
}

static void the_listener_can_end_it(void **state)
{
    (void)state;
    lc_engine engine;
    lc_generator *generator = NULL;
    int32_t prompt[3] = {1, 2, 3};
    open_case("llama-default", LC_DEVICE_CPU, false, 4, 2, 32, &engine);
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    const lc_generate_request requests[2] = {{.number = 0,
                                              .prompt = prompt,
                                              .prompt_count = 3,
                                              .max_tokens = 9,
                                              .sampling = {.top_p = 1.0}},
                                             {.number = 1,
                                              .prompt = prompt,
                                              .prompt_count = 2,
                                              .max_tokens = 9,
                                              .sampling = {.top_p = 1.0}}};
    answers first = {.fail_after = 5}, again = {.seen = 0};
    assert_fails(lc_generate_all(generator, requests, 2, keep_token, &first, &test_err),
                 LC_ERR_INTERRUPTED, "enough");
    assert_int_equal(first.seen, 5);
    assert_int_equal(lc_generator_active(generator), 0);
    assert_ok(lc_generate_all(generator, requests, 2, keep_token, &again, &test_err));
    assert_int_equal(again.counts[0] + again.counts[1], 18);
    assert_memory_equal(again.ids[0], first.ids[0], (size_t)first.counts[0] * sizeof(int32_t));
    lc_generator_close(generator);
    lc_engine_close(&engine);
}

static void sampled_answers_repeat_with_their_seed(void **state)
{
    (void)state;
    lc_engine engine;
    lc_generator *generator = NULL;
    int32_t prompt[4];
    open_case("qwen2", LC_DEVICE_CPU, true, 16, 3, 48, &engine);
    fill_prompt(prompt, 4, engine.config.vocab);
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    lc_generate_request requests[3];
    memset(requests, 0, sizeof requests);
    for (int r = 0; r < 3; r++) {
        requests[r].number = r;
        requests[r].prompt = prompt;
        requests[r].prompt_count = 4;
        requests[r].max_tokens = 24;
        requests[r].sampling.temperature = 1.0;
        requests[r].sampling.top_p = 0.95;
        requests[r].sampling.seed = 7;
        requests[r].stream = r == 2 ? 1 : 0; /* 0 and 1 draw alike, 2 by itself */
    }
    answers together = {.seen = 0}, alone = {.seen = 0};
    assert_ok(lc_generate_all(generator, requests, 3, keep_token, &together, &test_err));
    assert_memory_equal(together.ids[0], together.ids[1], 24 * sizeof(int32_t));
    assert_memory_not_equal(together.ids[0], together.ids[2], 24 * sizeof(int32_t));
    assert_ok(lc_generate_all(generator, &requests[2], 1, keep_token, &alone, &test_err));
    assert_memory_equal(alone.ids[2], together.ids[2], 24 * sizeof(int32_t));
    lc_generator_close(generator);
    lc_engine_close(&engine);
}

static void a_missing_adapter_leaves_nothing_open(void **state)
{
    (void)state;
    char model[LC_MAX_PATH_BYTES];
    lc_engine engine;
    (void)snprintf(model, sizeof model, "%s/tests/golden/cases/llama-default/model", LC_SOURCE_DIR);
    assert_fails(lc_engine_load(model, test_dir(), &engine, &test_err), LC_ERR_NOT_FOUND,
                 "adapter_config.json");
    lc_engine_close(&engine); /* harmless */
    assert_fails(lc_engine_load(test_dir(), NULL, &engine, &test_err), LC_ERR_NOT_FOUND,
                 "config.json");
    int threads = 0;
    assert_fails(lc_engine_threads(257, &threads, &test_err), LC_ERR_USAGE, "expected 1 to 256");
    assert_ok(lc_engine_threads(256, &threads, &test_err));
    assert_int_equal(threads, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batched_answers_are_those_of_whole_passes),
        cmocka_unit_test(a_row_does_not_see_the_others),
        cmocka_unit_test(an_adapter_does_not_see_the_others),
        cmocka_unit_test(an_adapter_is_the_same_beside_others),
        cmocka_unit_test(adapters_come_and_go),
        cmocka_unit_test(too_high_a_rank_is_refused),
        cmocka_unit_test(answers_to_one_prompt_share_it),
        cmocka_unit_test(logprobs_are_those_of_the_logits),
        cmocka_unit_test(penalties_and_biases_change_what_is_chosen),
        cmocka_unit_test(a_cache_is_reused_only_where_it_holds),
        cmocka_unit_test(stop_ids_end_a_sequence),
        cmocka_unit_test(the_context_ends_a_sequence),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(the_listener_can_end_it),
        cmocka_unit_test(sampled_answers_repeat_with_their_seed),
        cmocka_unit_test(a_missing_adapter_leaves_nothing_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
