/*
 * The plan of a model with a large vocabulary: logits exist in chunks only, so that no buffer has
 * as many elements as tokens x vocabulary, or as many rows of the vocabulary's width as there are
 * tokens, whatever the device, the type and the kind of run.
 */
#include "testing.h"

#include "lorac/mem.h"
#include "model/model.h"
#include "ops/backend.h"

#define TOKENS 8192
#define VOCAB  128256

static const char config_json[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 4096, \"intermediate_size\": 14336, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 32, \"num_key_value_heads\": 8, "
    "\"vocab_size\": 128256, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-05, "
    "\"rope_theta\": 500000.0, \"max_position_embeddings\": 131072, \"bos_token_id\": 0, "
    "\"eos_token_id\": 1, \"tie_word_embeddings\": false}";

static lc_model_config config;
static lc_adapter_spec spec;

static int setup(void **state)
{
    (void)state;
    const lc_lora_options lora = {.rank = 16, .alpha = 32, .all_linear = true};
    assert_ok(
        lc_model_config_parse(config_json, sizeof config_json - 1, "config", &config, &test_err));
    assert_ok(lc_adapter_spec_build(&config, &lora, &spec, &test_err));
    return 0;
}

/* Buffers of the run; the weights, one buffer, hold V x C twice. */
static void check_buffers(const lc_model_options *options)
{
    lc_arena arena;
    lc_plan plan;
    const lc_plan_buffer *logits = NULL;
    lc_arena_init(&arena, "plan");
    assert_ok(lc_model_plan(&config, &spec, options, &arena, &plan, &test_err));
    for (int32_t i = 0; i < plan.count; i++) {
        const lc_plan_buffer *buffer = &plan.buffers[i];
        if (buffer->plan_class == LC_PLAN_WEIGHTS) {
            continue;
        }
        logits = strcmp(buffer->name, "logits") == 0 ? buffer : logits;
        assert_true(buffer->rows * buffer->cols < options->tokens * VOCAB);
        assert_true(buffer->cols < VOCAB || buffer->rows <= options->memory->head_rows);
    }
    assert_non_null(logits);
    assert_true(logits->cols >= VOCAB && logits->rows == options->memory->head_rows);
    lc_arena_release(&arena);
}

static void no_buffer_of_all_logits(void **state)
{
    (void)state;
    static const lc_device_kind kinds[] = {LC_DEVICE_CPU, LC_DEVICE_CUDA};
    static const lc_dtype dtypes[] = {LC_F32, LC_BF16};
    for (int way = 0; way < 16; way++) {
        const bool training = (way & 1) != 0;
        const lc_model_options options = {.dtype = dtypes[way >> 1 & 1],
                                          .memory = lc_memory_rules_of(kinds[way >> 2 & 1]),
                                          .training = training,
                                          .dropout = (way & 8) != 0 && training ? 0.1f : 0.0f,
                                          .tokens = TOKENS,
                                          .cache_slots = training ? 0 : 2,
                                          .cache_rows = training ? 0 : 4096};
        check_buffers(&options);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_buffer_of_all_logits)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
