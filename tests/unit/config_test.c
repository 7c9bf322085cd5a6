/* config.json: well-known models, defaults of each family, layer patterns, and every refusal by its
 * message. */
#include "testing.h"

#include "base/file.h"
#include "model/adapter.h"
#include "model/config.h"

static lc_model_config config;

static lc_code parse(const char *text)
{
    return lc_model_config_parse(text, strlen(text), "config.json", &config, &test_err);
}

/* Every weight of the model, counted from the shape. */
static int64_t parameter_count(const lc_model_config *c)
{
    int64_t layer = 2 * (int64_t)c->width + (c->qk_norm ? 2 * c->head_dim : 0);
    for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
        const int64_t out = lc_module_out(c, (lc_module_kind)kind);
        const bool has_bias = kind <= LC_MODULE_V   ? c->qkv_bias
                              : kind == LC_MODULE_O ? c->o_bias
                                                    : c->mlp_bias;
        layer += out * lc_module_in(c, (lc_module_kind)kind) + (has_bias ? out : 0);
    }
    return c->layers * layer + c->width + (int64_t)c->vocab * c->width * (c->tied ? 1 : 2);
}

static void test_known_models(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t parameters; /* as published */
        lc_family family;
        int32_t width, layers, heads, kv_heads, head_dim, eos;
        lc_rope_type rope;
        double theta;
        int64_t context;
    } models[] = {
        {"llama-3.2-1b", 1235814400, LC_FAMILY_LLAMA, 2048, 16, 32, 8, 64, 128001, LC_ROPE_LLAMA3,
         5e5, 131072},
        {"llama-3.1-8b", 8030261248, LC_FAMILY_LLAMA, 4096, 32, 32, 8, 128, 128001, LC_ROPE_LLAMA3,
         5e5, 131072},
        {"llama-3.3-70b", 70553706496, LC_FAMILY_LLAMA, 8192, 80, 64, 8, 128, 128001,
         LC_ROPE_LLAMA3, 5e5, 131072},
        {"llama-2-7b", 6738415616, LC_FAMILY_LLAMA, 4096, 32, 32, 32, 128, 2, LC_ROPE_DEFAULT, 1e4,
         4096},
        {"mistral-7b-v0.3", 7248023552, LC_FAMILY_MISTRAL, 4096, 32, 32, 8, 128, 2, LC_ROPE_DEFAULT,
         1e6, 32768},
        {"mistral-nemo-12b", 12247782400, LC_FAMILY_MISTRAL, 5120, 40, 32, 8, 128, 2,
         LC_ROPE_DEFAULT, 1e6, 131072},
        {"qwen2.5-0.5b", 494032768, LC_FAMILY_QWEN2, 896, 24, 14, 2, 64, 151643, LC_ROPE_DEFAULT,
         1e6, 32768},
        {"qwen2.5-7b", 7615616512, LC_FAMILY_QWEN2, 3584, 28, 28, 4, 128, 151643, LC_ROPE_DEFAULT,
         1e6, 32768},
        {"qwen2.5-32b", 32763876352, LC_FAMILY_QWEN2, 5120, 64, 40, 8, 128, 151643, LC_ROPE_DEFAULT,
         1e6, 32768},
        {"qwen3-0.6b", 596049920, LC_FAMILY_QWEN3, 1024, 28, 16, 8, 128, 151645, LC_ROPE_DEFAULT,
         1e6, 40960},
        {"qwen3-8b", 8190735360, LC_FAMILY_QWEN3, 4096, 36, 32, 8, 128, 151645, LC_ROPE_DEFAULT,
         1e6, 40960},
        {"qwen3-32b", 32762123264, LC_FAMILY_QWEN3, 5120, 64, 64, 8, 128, 151645, LC_ROPE_DEFAULT,
         1e6, 40960},
        {"smollm3-3b", 3075098624, LC_FAMILY_SMOLLM3, 2048, 36, 16, 4, 128, 128012, LC_ROPE_DEFAULT,
         5e6, 65536},
    };
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        char dir[LC_MAX_PATH_BYTES];
        snprintf(dir, sizeof(dir), LC_SOURCE_DIR "/tests/golden/configs/%s", models[i].name);
        print_message("%s\n", models[i].name);
        assert_ok(lc_model_config_load(dir, &config, &test_err));
        assert_int_equal(parameter_count(&config), models[i].parameters);
        assert_int_equal(config.family, models[i].family);
        assert_int_equal(config.width, models[i].width);
        assert_int_equal(config.layers, models[i].layers);
        assert_int_equal(config.heads, models[i].heads);
        assert_int_equal(config.kv_heads, models[i].kv_heads);
        assert_int_equal(config.head_dim, models[i].head_dim);
        assert_int_equal(config.eos[0], models[i].eos);
        assert_int_equal(config.rope.type, models[i].rope);
        assert_true(config.rope.theta >= models[i].theta && config.rope.theta <= models[i].theta);
        assert_int_equal(config.max_position, models[i].context);
        for (int32_t layer = 0; layer < config.layers; layer++) {
            assert_int_equal(config.layer_window[layer], 0);
            assert_int_equal(config.layer_rope[layer],
                             config.family != LC_FAMILY_SMOLLM3 || layer % 4 != 3);
        }
    }
}

static void test_defaults(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t parameters;
        int32_t head_dim, kv_heads, bos, eos;
        int64_t context;
        double theta;
        bool tied;
    } families[] = {
        {"llama", 6738415616, 128, 32, 1, 2, 2048, 1e4, false},
        {"mistral", 7241732096, 128, 8, 1, 2, 131072, 1e4, false},
        {"qwen2", 12049846272, 128, 32, -1, -1, 32768, 1e4, false},
        {"qwen3", 12049461248, 128, 32, -1, -1, 32768, 1e4, false},
        {"smollm3", 3075098624, 128, 4, 128000, 128001, 32768, 2e6, true},
    };
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        char text[64];
        snprintf(text, sizeof(text), "{\"model_type\": \"%s\"}", families[i].name);
        print_message("%s\n", families[i].name);
        assert_ok(parse(text));
        assert_string_equal(lc_family_name(config.family), families[i].name);
        assert_int_equal(parameter_count(&config), families[i].parameters);
        assert_int_equal(config.head_dim, families[i].head_dim);
        assert_int_equal(config.kv_heads, families[i].kv_heads);
        assert_int_equal(config.bos, families[i].bos);
        assert_int_equal(config.eos_count, families[i].eos >= 0);
        assert_int_equal(config.eos_count > 0 ? config.eos[0] : -1, families[i].eos);
        assert_int_equal(config.max_position, families[i].context);
        assert_true(config.rope.theta >= families[i].theta &&
                    config.rope.theta <= families[i].theta);
        assert_int_equal(config.tied, families[i].tied);
        assert_true(config.eps > 0.99e-6f && config.eps < 1.01e-6f);
        const int32_t window = config.family == LC_FAMILY_MISTRAL ? 4096 : 0;
        assert_int_equal(config.layer_window[0], window);
        assert_int_equal(config.layer_window[config.layers - 1], window);
    }
}

static void test_spellings(void **state)
{
    (void)state;
    /* Null is not absent. */
    assert_ok(
        parse("{\"model_type\":\"mistral\",\"num_key_value_heads\":null,\"sliding_window\":null,"
              "\"bos_token_id\":null,\"eos_token_id\":null,\"rope_scaling\":null,"
              "\"rope_parameters\":null,\"head_dim\":null}"));
    assert_int_equal(config.kv_heads, 32);
    assert_int_equal(config.layer_window[31], 0);
    assert_int_equal(config.bos, -1);
    assert_int_equal(config.eos_count, 0);
    /* rope_scaling before rope_parameters, the theta inside before the one beside. */
    assert_ok(parse(
        "{\"model_type\":\"llama\",\"rope_theta\":5.0,\"rope_scaling\":{\"type\":\"linear\","
        "\"factor\":2.0,\"rope_theta\":7.0},\"rope_parameters\":{\"rope_type\":\"default\"}}"));
    assert_int_equal(config.rope.type, LC_ROPE_LINEAR);
    assert_true(config.rope.theta > 6.9 && config.rope.theta < 7.1);
    assert_int_equal(config.max_position, 4096);
    assert_ok(parse("{\"model_type\":\"llama\",\"rope_theta\":5.0,\"rope_scaling\":{},"
                    "\"rope_parameters\":{\"rope_type\":\"default\",\"type\":\"yarn\"}}"));
    assert_int_equal(config.rope.type, LC_ROPE_DEFAULT);
    assert_true(config.rope.theta > 4.9 && config.rope.theta < 5.1);
    /* The stretched context: dynamic and yarn go beyond max_position_embeddings, llama3 does not.
     */
    assert_ok(parse(
        "{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2.5}}"));
    assert_int_equal(config.max_position, 5120);
    assert_ok(parse("{\"model_type\":\"qwen2\",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,"
                    "\"original_max_position_embeddings\":32768}}"));
    assert_int_equal(config.max_position, 131072);
    assert_ok(parse(
        "{\"model_type\":\"qwen2\",\"original_max_position_embeddings\":8192,\"rope_scaling\":"
        "{\"type\":\"yarn\",\"factor\":2.0,\"original_max_position_embeddings\":64}}"));
    assert_true(config.rope.original_max_position > 8191 &&
                config.rope.original_max_position < 8193);
    assert_int_equal(config.max_position, 32768);
    /* Switches. */
    assert_ok(parse(
        "{\"model_type\":\"llama\",\"attention_bias\":true,\"mlp_bias\":true,\"hidden_act\":"
        "\"swish\","
        "\"auto_map\":{\"AutoModel\":\"x\"},\"pretraining_tp\":4,\"eos_token_id\":[1,-1,3]}"));
    assert_true(config.qkv_bias && config.o_bias && config.mlp_bias && !config.qk_norm);
    assert_int_equal(config.eos_count, 2);
    assert_int_equal(config.eos[1], 3);
    assert_ok(parse(
        "{\"model_type\":\"qwen2\",\"attention_bias\":false,\"mlp_bias\":true,\"head_dim\":96}"));
    assert_true(config.qkv_bias && !config.o_bias && !config.mlp_bias);
    assert_int_equal(config.head_dim, 96);
    assert_ok(parse("{\"model_type\":\"qwen3\",\"attention_bias\":true}"));
    assert_true(config.qkv_bias && config.o_bias && config.qk_norm);
}

static void test_layers(void **state)
{
    (void)state;
    assert_ok(parse("{\"model_type\":\"mistral\",\"sliding_window\":77,\"num_hidden_layers\":3}"));
    assert_int_equal(config.layer_window[0], 77);
    assert_int_equal(config.layer_window[2], 77);
    assert_ok(parse("{\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"sliding_window\":9,"
                    "\"max_window_layers\":2,\"num_hidden_layers\":4}"));
    const int32_t from_second[4] = {0, 0, 9, 9};
    assert_memory_equal(config.layer_window, from_second, sizeof(from_second));
    assert_ok(parse("{\"model_type\":\"qwen3\",\"use_sliding_window\":true,\"num_hidden_layers\":3,"
                    "\"layer_types\":"
                    "[\"sliding_attention\",\"full_attention\",\"sliding_attention\"]}"));
    const int32_t by_list[3] = {4096, 0, 4096};
    assert_memory_equal(config.layer_window, by_list, sizeof(by_list));
    assert_ok(parse("{\"model_type\":\"smollm3\",\"use_sliding_window\":true,\"sliding_window\":5,"
                    "\"num_hidden_layers\":5,\"no_rope_layer_interval\":2}"));
    const int32_t at_nope[5] = {0, 5, 0, 5, 0};
    const bool rotated[5] = {true, false, true, false, true};
    assert_memory_equal(config.layer_window, at_nope, sizeof(at_nope));
    assert_memory_equal(config.layer_rope, rotated, sizeof(rotated));
    assert_ok(
        parse("{\"model_type\":\"smollm3\",\"num_hidden_layers\":3,\"no_rope_layers\":[0,0,1,1],"
              "\"sliding_window\":5}"));
    const bool listed[3] = {false, false, true};
    assert_memory_equal(config.layer_rope, listed, sizeof(listed));
    assert_int_equal(config.layer_window[0], 0);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *members; /* besides model_type; model_type itself where it begins with '!' */
        lc_code code;
        const char *message, *param;
    } cases[] = {
        {"!\"hidden_size\":64", LC_ERR_INVALID, "model_type", "model_type"},
        {"!\"model_type\":\"gemma2\"", LC_ERR_UNSUPPORTED,
         "\"gemma2\" is not supported; supported are llama", "model_type"},
        {"!\"model_type\":7", LC_ERR_INVALID, "model_type", "model_type"},
        {"\"quantization_config\":{\"bits\":4}", LC_ERR_UNSUPPORTED, "quantization_config",
         "quantization_config"},
        {"\"vision_config\":{\"a\":1}", LC_ERR_UNSUPPORTED, "multimodal", "vision_config"},
        {"\"num_local_experts\":8", LC_ERR_UNSUPPORTED, "mixture of experts", "num_local_experts"},
        {"\"is_causal\":false", LC_ERR_UNSUPPORTED, "later tokens", "is_causal"},
        {"\"attn_logit_softcapping\":50.0", LC_ERR_UNSUPPORTED, "softcapped",
         "attn_logit_softcapping"},
        {"\"attention_dropout\":0.1", LC_ERR_UNSUPPORTED, "attention_dropout", "attention_dropout"},
        {"\"hidden_act\":\"gelu\"", LC_ERR_UNSUPPORTED, "\"gelu\"", "hidden_act"},
        {"\"partial_rotary_factor\":0.5", LC_ERR_UNSUPPORTED, "partial_rotary_factor 0.5",
         "partial_rotary_factor"},
        {"\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.75}",
         LC_ERR_UNSUPPORTED, "partial_rotary_factor 0.75", "partial_rotary_factor"},
        {"\"rope_scaling\":{\"type\":\"longrope\",\"factor\":2}", LC_ERR_UNSUPPORTED,
         "\"longrope\"", "rope_type"},
        {"\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}", LC_ERR_UNSUPPORTED,
         "per layer type", "rope_parameters"},
        {"\"rope_scaling\":{\"type\":\"linear\"}", LC_ERR_INVALID, "factor", "factor"},
        {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}", LC_ERR_INVALID, "factor",
         "factor"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_"
         "freq_factor\":4}",
         LC_ERR_INVALID, "high_freq_factor 4 must be above", "high_freq_factor"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"high_freq_factor\":4}",
         LC_ERR_INVALID, "low_freq_factor", "low_freq_factor"},
        {"\"rope_theta\":1,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2}", LC_ERR_INVALID,
         "above 1", "rope_theta"},
        {"\"head_dim\":2,\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2}", LC_ERR_INVALID,
         "head_dim above 2", "head_dim"},
        {"\"rope_theta\":0.5", LC_ERR_INVALID, "rope_theta", "rope_theta"},
        {"\"rope_scaling\":[1]", LC_ERR_INVALID, "rope_scaling", "rope_scaling"},
        {"\"hidden_size\":0", LC_ERR_INVALID, "hidden_size", "hidden_size"},
        {"\"hidden_size\":65.5", LC_ERR_INVALID, "hidden_size", "hidden_size"},
        {"\"hidden_size\":\"64\"", LC_ERR_INVALID, "hidden_size", "hidden_size"},
        {"\"hidden_size\":100,\"num_attention_heads\":3", LC_ERR_INVALID, "not a multiple",
         "hidden_size"},
        {"\"hidden_size\":96,\"num_attention_heads\":32", LC_ERR_INVALID, "head_dim 3 must be even",
         "head_dim"},
        {"\"num_attention_heads\":8,\"num_key_value_heads\":3", LC_ERR_INVALID,
         "multiple of num_key_value_heads 3", "num_key_value_heads"},
        {"\"num_attention_heads\":512,\"head_dim\":512", LC_ERR_INVALID, "exceeds 65536",
         "num_attention_heads"},
        {"\"tie_word_embeddings\":1", LC_ERR_INVALID, "tie_word_embeddings", "tie_word_embeddings"},
        {"\"eos_token_id\":[1,2,3,4,5,6,7,8,9]", LC_ERR_INVALID, "more than 8", "eos_token_id"},
        {"\"eos_token_id\":\"</s>\"", LC_ERR_INVALID, "token id", "eos_token_id"},
        {"\"rms_norm_eps\":2", LC_ERR_INVALID, "rms_norm_eps", "rms_norm_eps"},
        {"\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\",\"chunked_attention\"]",
         LC_ERR_UNSUPPORTED, "layer_types[1] is \"chunked_attention\"", "layer_types"},
        {"\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\",3]", LC_ERR_UNSUPPORTED,
         "not a string", "layer_types"},
        {"\"num_hidden_layers\":2,\"layer_types\":[\"full_attention\"]", LC_ERR_INVALID,
         "1 entries for num_hidden_layers 2", "layer_types"},
        {"\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]", LC_ERR_UNSUPPORTED,
         "contradicts", "layer_types"},
        {"!\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_"
         "attention\"]",
         LC_ERR_INVALID, "use_sliding_window is not set", "layer_types"},
        {"!\"model_type\":\"mistral\",\"num_hidden_layers\":1,\"layer_types\":[\"full_attention\"]",
         LC_ERR_UNSUPPORTED, "contradicts", "layer_types"},
        {"!\"model_type\":\"mistral\",\"sliding_window\":0", LC_ERR_INVALID, "sliding_window",
         "sliding_window"},
        {"!\"model_type\":\"smollm3\",\"no_rope_layers\":[1,0]", LC_ERR_INVALID, "entry 2",
         "no_rope_layers"},
        {"!\"model_type\":\"smollm3\",\"no_rope_layer_interval\":0", LC_ERR_INVALID,
         "no_rope_layer_interval", "no_rope_layer_interval"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        const bool is_whole = cases[i].members[0] == '!';
        snprintf(text, sizeof(text), "{%s%s}", is_whole ? "" : "\"model_type\":\"llama\",",
                 cases[i].members + is_whole);
        assert_fails(parse(text), cases[i].code, cases[i].message);
        assert_string_equal(test_err.param, cases[i].param);
        assert_non_null(strstr(test_err.message, "config.json"));
    }
    assert_fails(parse("[1]"), LC_ERR_INVALID, "object");
    assert_fails(parse("{"), LC_ERR_INVALID, "config.json");
}

/* Limits at n-1, n, n+1 (0, 1, 2 below the first one past it). */
static void test_limits(void **state)
{
    (void)state;
    static const struct {
        const char *format; /* of the members, with the number */
        int64_t limit, step;
        const char *param;
    } cases[] = {
        {"\"hidden_size\":%lld,\"head_dim\":8", LC_MAX_WIDTH, 1, "hidden_size"},
        {"\"intermediate_size\":%lld", LC_MAX_WIDTH, 1, "intermediate_size"},
        {"\"num_hidden_layers\":%lld", LC_MAX_LAYERS, 1, "num_hidden_layers"},
        {"\"num_attention_heads\":%lld,\"num_key_value_heads\":1,\"head_dim\":8", LC_MAX_HEADS, 1,
         "num_attention_heads"},
        {"\"head_dim\":%lld", LC_MAX_HEAD_DIM, 2, "head_dim"},
        {"\"vocab_size\":%lld", LC_MAX_VOCAB, 1, "vocab_size"},
        {"\"max_position_embeddings\":%lld", LC_MAX_POSITION, 1, "max_position_embeddings"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int64_t delta = -1; delta <= 1; delta++) {
            char members[128], text[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(members, sizeof(members), cases[i].format,
                     (long long)(cases[i].limit + delta * cases[i].step));
#pragma GCC diagnostic pop
            snprintf(text, sizeof(text), "{\"model_type\":\"llama\",%s}", members);
            if (delta <= 0) {
                assert_ok(parse(text));
            } else {
                assert_fails(parse(text), LC_ERR_INVALID, cases[i].param);
            }
        }
    }
    char *text = malloc(LC_MAX_CONFIG_BYTES + 2);
    memset(text, ' ', LC_MAX_CONFIG_BYTES + 2);
    memcpy(text, "{\"model_type\":\"llama\"}", 22);
    assert_ok(lc_model_config_parse(text, LC_MAX_CONFIG_BYTES, "big", &config, &test_err));
    assert_fails(lc_model_config_parse(text, LC_MAX_CONFIG_BYTES + 1, "big", &config, &test_err),
                 LC_ERR_INVALID, "the limit is");
    free(text);
}

static void write_text(const char *path, const char *text)
{
    test_write_file(path, text, strlen(text));
}

static void test_files(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char path[LC_MAX_PATH_BYTES];
    assert_fails(lc_model_config_load(dir, &config, &test_err), LC_ERR_NOT_FOUND, "config.json");
    assert_ok(parse("{\"model_type\":\"llama\"}"));
    assert_ok(lc_model_config_load_generation(dir, &config, &test_err));
    assert_int_equal(config.eos[0], 2);
    snprintf(path, sizeof(path), "%s/generation_config.json", dir);
    write_text(path, "{\"eos_token_id\": [7, 9]}");
    assert_ok(lc_model_config_load_generation(dir, &config, &test_err));
    assert_int_equal(config.eos_count, 2);
    assert_int_equal(config.eos[1], 9);
    write_text(path, "{\"do_sample\": true}");
    assert_ok(lc_model_config_load_generation(dir, &config, &test_err));
    assert_int_equal(config.eos_count, 2);
    write_text(path, "{\"eos_token_id\": true}");
    assert_fails(lc_model_config_load_generation(dir, &config, &test_err), LC_ERR_INVALID,
                 "eos_token_id");
    assert_int_equal(config.eos_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_models), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_spellings),    cmocka_unit_test(test_layers),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
