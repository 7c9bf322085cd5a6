/* Adapters: PEFT's matching rules, layout, initial values, and PEFT files in and out. */
#include "testing.h"

#include <math.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "data/safetensors.h"
#include "lorac/mem.h"
#include "model/adapter.h"
#include "model/adapter_match.h"
#include "model/adapter_peft.h"
#include "model/weights.h"

#define PREFIX "base_model.model.model.layers."

static const lc_model_config model = {
    .width = 40, .layers = 12, .heads = 3, .kv_heads = 1, .head_dim = 8, .mlp = 24, .vocab = 50};
static lc_adapter_spec spec, loaded;

static lc_code build(lc_lora_options options)
{
    options.rank = options.rank == 0 ? 5 : options.rank;
    options.alpha = options.alpha > 0 || options.alpha < 0 ? options.alpha : 10;
    return lc_adapter_spec_build(&model, &options, &spec, &test_err);
}

static lc_code build_list(const char *a, const char *b, const int32_t *layers, int32_t layer_count)
{
    const char *const targets[2] = {a, b};
    return build((lc_lora_options){.targets = targets,
                                   .target_count = b != NULL ? 2 : 1,
                                   .layers = layers,
                                   .layer_count = layer_count});
}

static int count_slots(int32_t layer, int kind)
{
    int count = 0;
    for (int32_t i = 0; i < model.layers; i++) {
        for (int j = 0; j < LC_MODULE_COUNT; j++) {
            count +=
                (layer < 0 || i == layer) && (kind < 0 || j == kind) && spec.slots[i][j].rank > 0;
        }
    }
    return count;
}

static void test_targets(void **state)
{
    (void)state;
    assert_ok(build((lc_lora_options){.all_linear = true}));
    assert_int_equal(count_slots(-1, -1), 12 * 7);
    assert_int_equal(spec.first_layer, 0);
    assert_ok(build_list("q_proj", "mlp.up_proj", NULL, 0));
    assert_int_equal(count_slots(-1, -1), 24);
    assert_int_equal(count_slots(-1, LC_MODULE_Q), 12);
    assert_int_equal(count_slots(-1, LC_MODULE_UP), 12);
    /* Layers narrow names, but not a module in full; "1.self_attn.q_proj" is a name's end too. */
    assert_ok(build_list("v_proj", "model.layers.3.mlp.down_proj", (const int32_t[]){7, 11}, 2));
    assert_int_equal(count_slots(-1, -1), 3);
    assert_int_equal(spec.first_layer, 3);
    assert_ok(build_list("1.self_attn.q_proj", NULL, NULL, 0));
    assert_int_equal(count_slots(1, -1), 1);
    assert_int_equal(count_slots(-1, -1), 1);
    assert_ok(build(
        (lc_lora_options){.all_linear = true, .layers = (const int32_t[]){2}, .layer_count = 1}));
    assert_int_equal(count_slots(2, -1), 7);
    assert_int_equal(count_slots(-1, -1), 7);
    /* Strings are whole-name regular expressions. */
    assert_ok(build((lc_lora_options){.target_regex = ".*\\.(?:[0-3])\\.self_attn\\.[qv]_proj"}));
    assert_int_equal(count_slots(-1, -1), 8);
    assert_ok(build((lc_lora_options){.target_regex = "model.layers.10.mlp.up_proj"}));
    assert_int_equal(count_slots(10, LC_MODULE_UP), 1);
    assert_ok(build((lc_lora_options){.target_regex = "(?i).*DOWN_PROJ|.*o_proj"}));
    assert_int_equal(count_slots(-1, -1), 24);
}

static void test_target_errors(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        lc_code code;
        const char *message;
    } cases[] = {
        {"qproj", LC_ERR_INVALID, "\"qproj\" matches no linear of the model; there are: q_proj"},
        {"_proj", LC_ERR_INVALID, "matches no linear"},
        {"", LC_ERR_INVALID, "matches no linear"},
        {"model.layers.12.mlp.up_proj", LC_ERR_INVALID, "matches no linear"},
        {"lm_head", LC_ERR_UNSUPPORTED, "\"lm_head\" matches lm_head, which cannot carry"},
        {"embed_tokens", LC_ERR_UNSUPPORTED, "matches model.embed_tokens"},
        {"input_layernorm", LC_ERR_UNSUPPORTED, "matches model.layers.0.input_layernorm"},
        {"self_attn", LC_ERR_UNSUPPORTED, "matches model.layers.0.self_attn"},
        {"11", LC_ERR_UNSUPPORTED, "matches model.layers.11"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_fails(build_list("q_proj", cases[i].name, NULL, 0), cases[i].code, cases[i].message);
        assert_string_equal(test_err.param, "target_modules");
    }
    assert_fails(build_list("q_proj", NULL, (const int32_t[]){0, 12}, 2), LC_ERR_INVALID,
                 "no layer 12, the model has 0..11");
    assert_fails(build_list("q_proj", NULL, (const int32_t[]){-1}, 1), LC_ERR_INVALID,
                 "no layer -1");
    assert_fails(build_list("3.mlp.up_proj", NULL, (const int32_t[]){4}, 1), LC_ERR_INVALID,
                 "in layers_to_transform");
    assert_fails(build((lc_lora_options){0}), LC_ERR_INVALID, "target_modules is empty");
    assert_fails(build((lc_lora_options){.target_regex = ".*"}), LC_ERR_UNSUPPORTED,
                 "\".*\" matches model,");
    assert_fails(build((lc_lora_options){.target_regex = "q_proj"}), LC_ERR_INVALID,
                 "matches no linear");
    assert_fails(build((lc_lora_options){.target_regex = "(q_proj"}), LC_ERR_INVALID,
                 "is not a regular expression");
    assert_fails(build((lc_lora_options){.target_regex = "(([a-z_]+)*\\.?)*[0-9]{9}"}),
                 LC_ERR_INVALID, "match limit");
    assert_fails(build((lc_lora_options){
                     .target_regex = ".*q_proj", .layers = (const int32_t[]){0}, .layer_count = 1}),
                 LC_ERR_INVALID, "regular expression");
    static char long_pattern[LC_MAX_PATTERN_BYTES + 2];
    memset(long_pattern, 'a', LC_MAX_PATTERN_BYTES + 1);
    assert_fails(build((lc_lora_options){.target_regex = long_pattern}), LC_ERR_INVALID,
                 "the limit is");
    long_pattern[LC_MAX_PATTERN_BYTES] = '\0';
    assert_fails(build((lc_lora_options){.target_regex = long_pattern}), LC_ERR_INVALID,
                 "matches no linear");
    for (int32_t rank = LC_MAX_RANK - 1; rank <= LC_MAX_RANK; rank++) {
        assert_ok(build((lc_lora_options){.all_linear = true, .rank = rank}));
    }
    assert_fails(build((lc_lora_options){.all_linear = true, .rank = LC_MAX_RANK + 1}),
                 LC_ERR_INVALID, "rank 1025");
    assert_fails(build((lc_lora_options){.all_linear = true, .rank = -1}), LC_ERR_INVALID,
                 "rank -1");
    assert_fails(build((lc_lora_options){.all_linear = true, .alpha = -2}), LC_ERR_INVALID,
                 "alpha -2");
    assert_fails(build((lc_lora_options){.all_linear = true, .alpha = INFINITY}), LC_ERR_INVALID,
                 "alpha");
}

static void test_layout(void **state)
{
    (void)state;
    assert_ok(
        build((lc_lora_options){.all_linear = true, .rank = 17, .alpha = 8.5, .use_rslora = true}));
    assert_int_equal(spec.parameter_count,
                     12LL * 17 *
                         ((40 + 24) + 2 * (40 + 8) + (24 + 40) + 2 * (40 + 24) + (24 + 40)));
    assert_int_equal(spec.master_count, spec.parameter_count / 17 * 32);
    /* Group by group: first every A, one below the other, then every B. */
    int64_t next = 0;
    for (int32_t layer = 0; layer < model.layers; layer++) {
        for (int group = 0; group < LC_GROUP_COUNT; group++) {
            lc_module_kind first;
            int32_t count = 0;
            lc_group_modules((lc_group_kind)group, &first, &count);
            for (int32_t i = 0; i < 2 * count; i++) {
                const lc_module_kind kind = (lc_module_kind)(first + i % count);
                const lc_lora_slot *slot = &spec.slots[layer][kind];
                assert_int_equal(slot->r16, 32);
                assert_true(fabsf(slot->scale - 8.5f / sqrtf(17)) < 1e-6f);
                assert_int_equal(i < count ? slot->a_offset : slot->b_offset, next);
                assert_int_equal(next % 16, 0);
                next += 32 * (i < count ? lc_module_in(&model, kind) : lc_module_out(&model, kind));
            }
        }
    }
    assert_int_equal(next, spec.master_count);
    assert_ok(build((lc_lora_options){.all_linear = true, .rank = 16, .alpha = 32}));
    assert_true(spec.slots[3][2].scale > 1.999f && spec.slots[3][2].scale < 2.001f);
    assert_int_equal(spec.slots[3][2].r16, 16);
}

static float *initial(uint32_t seed)
{
    float *master = malloc((size_t)spec.master_count * sizeof(float));
    memset(master, 0xff, (size_t)spec.master_count * sizeof(float));
    lc_adapter_init(&spec, &model, seed, master);
    return master;
}

static void test_init(void **state)
{
    (void)state;
    assert_ok(build((lc_lora_options){.all_linear = true, .rank = 21}));
    float *all = initial(1);
    double sum = 0, squares = 0, largest = 0;
    int64_t count = 0;
    for (int32_t layer = 0; layer < model.layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            const lc_lora_slot *slot = &spec.slots[layer][kind];
            const int32_t in = lc_module_in(&model, (lc_module_kind)kind);
            const int32_t out = lc_module_out(&model, (lc_module_kind)kind);
            const double bound = 1 / sqrt(in);
            for (int64_t i = 0; i < (int64_t)slot->r16 * in; i++) {
                const double value = (double)all[slot->a_offset + i] / bound;
                if (i >= (int64_t)slot->rank * in) {
                    assert_true(fabs(value) <= 0);
                    continue;
                }
                assert_true(fabs(value) <= 1.0000001);
                sum += value;
                squares += value * value;
                largest = fmax(largest, fabs(value));
                count++;
            }
            for (int64_t i = 0; i < (int64_t)slot->r16 * out; i++) {
                assert_true(fabsf(all[slot->b_offset + i]) <= 0);
            }
        }
    }
    assert_true(fabs(sum / (double)count) < 0.02 && fabs(squares / (double)count - 1.0 / 3) < 0.01);
    assert_true(largest > 0.999);
    /* Another set of targets, another rank even: the same numbers in the same places. */
    const float *full = all + spec.slots[7][LC_MODULE_V].a_offset;
    float *other_seed = initial(2);
    assert_true(
        memcmp(full, other_seed + spec.slots[7][LC_MODULE_V].a_offset, 40 * sizeof(float)) != 0);
    assert_true(memcmp(full, all + spec.slots[8][LC_MODULE_V].a_offset, 40 * sizeof(float)) != 0);
    assert_ok(build_list("v_proj", NULL, (const int32_t[]){7}, 1));
    float *one = initial(1);
    assert_memory_equal(one + spec.slots[7][LC_MODULE_V].a_offset, full, 5 * 40 * sizeof(float));
    free(all);
    free(other_seed);
    free(one);
}

/* ---- files ---- */

static const char *path_in(const char *dir, const char *name)
{
    static char path[LC_MAX_PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static char *read_text(const char *dir, const char *name)
{
    char *text = NULL;
    size_t bytes = 0;
    assert_ok(lc_file_read(path_in(dir, name), 1 << 20, &text, &bytes, &test_err));
    return text;
}

/* Random values where there are parameters, zeros in the padding. */
static float *random_masters(void)
{
    float *master = calloc((size_t)spec.master_count, sizeof(float));
    for (int32_t layer = 0; layer < model.layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            const lc_lora_slot *slot = &spec.slots[layer][kind];
            const int32_t in = lc_module_in(&model, (lc_module_kind)kind);
            const int32_t out = lc_module_out(&model, (lc_module_kind)kind);
            test_fill(master + slot->a_offset, (size_t)slot->rank * (size_t)in, -1, 1);
            for (int32_t row = 0; row < out; row++) {
                test_fill(master + slot->b_offset + (int64_t)row * slot->r16, (size_t)slot->rank,
                          -1, 1);
            }
        }
    }
    return master;
}

/* Saves `spec` with random masters, loads everything again, compares all bytes. */
static const char *check_round_trip(void)
{
    const char *dir = test_dir();
    const lc_adapter_meta meta = {.base_model = "models/\"x\"", .dropout = 0.05};
    float *master = random_masters();
    float *again = malloc((size_t)spec.master_count * sizeof(float));
    memset(again, 0xff, (size_t)spec.master_count * sizeof(float));
    assert_ok(lc_adapter_save(dir, &spec, &model, master, &meta, &test_err));
    assert_ok(lc_adapter_spec_load(dir, &model, &loaded, &test_err));
    assert_int_equal(loaded.master_count, spec.master_count);
    assert_int_equal(loaded.parameter_count, spec.parameter_count);
    assert_int_equal(loaded.first_layer, spec.first_layer);
    assert_int_equal(loaded.use_rslora, spec.use_rslora);
    for (int i = 0; i < LC_MAX_LAYERS * LC_MODULE_COUNT; i++) {
        const lc_lora_slot *a = &loaded.slots[0][0] + i, *b = &spec.slots[0][0] + i;
        assert_int_equal(a->rank, b->rank);
        assert_int_equal(a->r16, b->r16);
        assert_int_equal(a->a_offset, b->a_offset);
        assert_int_equal(a->b_offset, b->b_offset);
        assert_memory_equal(&a->alpha, &b->alpha, sizeof(a->alpha));
        assert_memory_equal(&a->scale, &b->scale, sizeof(a->scale));
    }
    assert_ok(lc_adapter_load(dir, &loaded, &model, again, &test_err));
    assert_memory_equal(again, master, (size_t)spec.master_count * sizeof(float));
    free(master);
    free(again);
    return dir;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int round = 0; round < 12; round++) {
        const int32_t layers[2] = {(int32_t)test_int(0, 11), (int32_t)test_int(0, 11)};
        const lc_lora_options options = {.all_linear = true,
                                         .rank = (int32_t)test_int(1, 50),
                                         .alpha = test_uniform(0.5, 64),
                                         .use_rslora = test_int(0, 1) == 1,
                                         .layers = layers,
                                         .layer_count = (int32_t)test_int(0, 2)};
        assert_ok(build(options));
        (void)check_round_trip();
    }
}

static void test_written_config(void **state)
{
    (void)state;
    assert_ok(build_list("q_proj", "down_proj", (const int32_t[]){1, 2}, 2));
    char *text = read_text(check_round_trip(), "adapter_config.json");
    assert_string_equal(text, "{\n"
                              "  \"alpha_pattern\": {},\n"
                              "  \"auto_mapping\": null,\n"
                              "  \"base_model_name_or_path\": \"models/\\\"x\\\"\",\n"
                              "  \"bias\": \"none\",\n"
                              "  \"fan_in_fan_out\": false,\n"
                              "  \"inference_mode\": true,\n"
                              "  \"init_lora_weights\": true,\n"
                              "  \"layer_replication\": null,\n"
                              "  \"layers_pattern\": null,\n"
                              "  \"layers_to_transform\": [\n    1,\n    2\n  ],\n"
                              "  \"loftq_config\": {},\n"
                              "  \"lora_alpha\": 10,\n"
                              "  \"lora_dropout\": 0.05,\n"
                              "  \"megatron_config\": null,\n"
                              "  \"megatron_core\": \"megatron.core\",\n"
                              "  \"modules_to_save\": null,\n"
                              "  \"peft_type\": \"LORA\",\n"
                              "  \"r\": 5,\n"
                              "  \"rank_pattern\": {},\n"
                              "  \"revision\": null,\n"
                              "  \"target_modules\": [\n    \"q_proj\",\n    \"down_proj\"\n  ],\n"
                              "  \"task_type\": \"CAUSAL_LM\",\n"
                              "  \"use_dora\": false,\n"
                              "  \"use_rslora\": false\n"
                              "}");
    lc_free(text);
}

/* Ranks and alphas that differ, on modules that form no rectangle. */
static void test_patterns(void **state)
{
    (void)state;
    const char *dir = test_dir();
    static const char *const names[] = {PREFIX "0.self_attn.q_proj.lora_A.weight",
                                        PREFIX "0.self_attn.q_proj.lora_B.weight",
                                        PREFIX "1.self_attn.q_proj.lora_A.weight",
                                        PREFIX "1.self_attn.q_proj.lora_B.weight",
                                        PREFIX "11.mlp.up_proj.lora_A.default.weight",
                                        PREFIX "11.mlp.up_proj.lora_B.default.weight"};
    static const int64_t shapes[][2] = {{3, 40}, {24, 3}, {20, 40}, {24, 20}, {2, 40}, {24, 2}};
    lc_tensor_out tensors[6];
    static uint16_t values[800];
    for (int i = 0; i < 6; i++) {
        tensors[i] = (lc_tensor_out){.name = names[i],
                                     .dtype = i % 2 ? LC_F16 : LC_BF16,
                                     .rank = 2,
                                     .shape = {shapes[i][0], shapes[i][1]},
                                     .data = values};
    }
    values[5] = 0x3f80; /* 1 as BF16, 1.875 as F16 */
    assert_ok(lc_safetensors_write(path_in(dir, "adapter_model.safetensors"), tensors, 6, NULL, 0,
                                   NULL, NULL, &test_err));
    static const char text[] =
        "{\"peft_type\":\"LORA\",\"r\":20,\"lora_alpha\":4,\"target_modules\":null,\"unknown\":[1],"
        "\"rank_pattern\":{\"layers.0.self_attn.q_proj\":3,\"(up|down)_proj\":2,\"q_proj.\":9},"
        "\"alpha_pattern\":{\"^model\\\\.layers\\\\.11\\\\.mlp.*\":1.5,\"q_proj\":8,\"0.self_attn."
        "q_proj\":99}}";
    test_write_file(path_in(dir, "adapter_config.json"), text, sizeof(text) - 1);
    assert_ok(lc_adapter_spec_load(dir, &model, &spec, &test_err));
    assert_int_equal(spec.slots[0][LC_MODULE_Q].rank, 3);
    assert_int_equal(spec.slots[1][LC_MODULE_Q].rank, 20);
    assert_int_equal(spec.slots[11][LC_MODULE_UP].rank, 2);
    assert_true(fabsf(spec.slots[0][LC_MODULE_Q].scale - 8.0f / 3) < 1e-6f);
    assert_true(fabsf(spec.slots[1][LC_MODULE_Q].scale - 0.4f) < 1e-6f);
    assert_true(fabsf(spec.slots[11][LC_MODULE_UP].scale - 0.75f) < 1e-6f);
    float *master = malloc((size_t)spec.master_count * sizeof(float));
    assert_ok(lc_adapter_load(dir, &spec, &model, master, &test_err));
    assert_true(master[spec.slots[0][LC_MODULE_Q].a_offset + 5] > 0.999f &&
                master[spec.slots[0][LC_MODULE_Q].a_offset + 5] < 1.001f);
    assert_true(master[spec.slots[0][LC_MODULE_Q].b_offset + 16 + 2] > 1.874f);
    free(master);
    char *written = read_text(check_round_trip(), "adapter_config.json");
    assert_non_null(strstr(written,
                           "\"rank_pattern\": {\n    \"model.layers.0.self_attn.q_proj\": 3,\n"
                           "    \"model.layers.11.mlp.up_proj\": 2\n  },"));
    assert_non_null(
        strstr(written, "\"alpha_pattern\": {\n    \"model.layers.11.mlp.up_proj\": 1.5\n  },"));
    assert_non_null(strstr(written, "\"layers_to_transform\": null"));
    assert_non_null(
        strstr(written, "\"target_modules\": [\n    \"model.layers.0.self_attn.q_proj\",\n"));
    lc_free(written);
}

/* Writes an adapter of zeros with the given tensors (name, rows, cols; dtype F32). */
typedef struct zeros {
    const char *name;
    int64_t rows, cols;
} zeros;
static const char *write_adapter(const char *config, const zeros *list, int64_t count)
{
    static const float values[4096];
    static const char *dir;
    dir = dir == NULL ? test_dir() : dir;
    (void)remove(path_in(dir, "adapter_model.safetensors"));
    lc_tensor_out tensors[4];
    for (int64_t i = 0; i < count; i++) {
        tensors[i] = (lc_tensor_out){.name = list[i].name,
                                     .dtype = LC_F32,
                                     .rank = list[i].cols > 0 ? 2 : 1,
                                     .shape = {list[i].rows, list[i].cols},
                                     .data = values};
    }
    assert_ok(lc_safetensors_write(path_in(dir, "adapter_model.safetensors"), tensors, count, NULL,
                                   0, NULL, NULL, &test_err));
    test_write_file(path_in(dir, "adapter_config.json"), config, strlen(config));
    return dir;
}

#define CONFIG "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8}"
#define Q0     PREFIX "0.self_attn.q_proj"

static void test_tensor_errors(void **state)
{
    (void)state;
    static const struct {
        zeros tensors[3];
        lc_code code;
        const char *message;
    } cases[] = {
        {{{Q0 ".lora_A.weight", 4, 40}},
         LC_ERR_INVALID,
         Q0 ".lora_A.weight has no lora_B beside it"},
        {{{Q0 ".lora_B.weight", 24, 4}}, LC_ERR_INVALID, "has no lora_A"},
        {{{Q0 ".lora_A.weight", 4, 41}, {Q0 ".lora_B.weight", 24, 4}},
         LC_ERR_INVALID,
         Q0 ".lora_A.weight: expected [4, 40], found [4, 41]"},
        {{{Q0 ".lora_A.weight", 4, 40}, {Q0 ".lora_B.weight", 24, 5}},
         LC_ERR_INVALID,
         "expected [24, 4], found [24, 5]"},
        {{{Q0 ".lora_A.weight", 8, 40}, {Q0 ".lora_B.weight", 24, 8}},
         LC_ERR_INVALID,
         "expected [4, 40], found [8, 40]"},
        {{{Q0 ".lora_A.weight", 160, 0}, {Q0 ".lora_B.weight", 24, 4}},
         LC_ERR_INVALID,
         "found [160]"},
        {{{Q0 ".lora_A.weight", 4, 40}, {Q0 ".lora_A.default.weight", 4, 40}},
         LC_ERR_INVALID,
         "are the same matrix"},
        {{{PREFIX "12.mlp.up_proj.lora_A.weight", 4, 40}},
         LC_ERR_INVALID,
         "expected a layer in 0..11, found 12"},
        {{{PREFIX "00.mlp.up_proj.lora_A.weight", 4, 40}}, LC_ERR_INVALID, "expected names like"},
        {{{PREFIX "99999999999.mlp.up_proj.lora_A.weight", 4, 40}},
         LC_ERR_INVALID,
         "expected names like"},
        {{{PREFIX ".mlp.up_proj.lora_A.weight", 4, 40}}, LC_ERR_INVALID, "expected names like"},
        {{{PREFIX "0.mlp.up_proj.lora_C.weight", 4, 40}}, LC_ERR_INVALID, "expected names like"},
        {{{PREFIX "0.mlp.up_proj.lora_A..weight", 4, 40}}, LC_ERR_INVALID, "expected names like"},
        {{{PREFIX "0.mlp.up_proj.lora_A", 4, 40}}, LC_ERR_INVALID, "expected names like"},
        {{{PREFIX "0.mlp.up_proj", 4, 40}}, LC_ERR_INVALID, "expected names like"},
        {{{PREFIX "3", 4, 40}}, LC_ERR_INVALID, "expected names like"},
        {{{"base_model.model.layers.0.mlp.up_proj.lora_A.weight", 4, 40}},
         LC_ERR_INVALID,
         "expected names like"},
        {{{Q0 ".lora_magnitude_vector", 24, 0}}, LC_ERR_UNSUPPORTED, "DoRA"},
        {{{Q0 ".lora_B.bias", 24, 0}}, LC_ERR_UNSUPPORTED, "bias in lora_B"},
        {{{"base_model.model.model.embed_tokens.lora_embedding_A", 4, 50}},
         LC_ERR_UNSUPPORTED,
         "embedding"},
        {{{"base_model.model.lm_head.weight", 50, 40}}, LC_ERR_UNSUPPORTED, "head"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t count = 0;
        while (count < 3 && cases[i].tensors[count].name != NULL) {
            count++;
        }
        const char *dir = write_adapter(CONFIG, cases[i].tensors, count);
        assert_fails(lc_adapter_spec_load(dir, &model, &loaded, &test_err), cases[i].code,
                     cases[i].message);
        if (strstr(test_err.message, dir) == NULL) {
            fail_msg("case %zu: \"%s\" lacks %s", i, test_err.message, dir);
        }
    }
}

static void test_config_errors(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        lc_code code;
        const char *message;
    } cases[] = {
        {"\"r\":4", LC_ERR_INVALID, "peft_type"},
        {"\"peft_type\":\"LOHA\"", LC_ERR_UNSUPPORTED, "\"LOHA\""},
        {"\"peft_type\":\"LORA\",\"use_dora\":true", LC_ERR_UNSUPPORTED, "DoRA"},
        {"\"peft_type\":\"LORA\",\"bias\":\"all\"", LC_ERR_UNSUPPORTED, "bias \"all\""},
        {"\"peft_type\":\"LORA\",\"lora_bias\":true", LC_ERR_UNSUPPORTED, "lora_bias"},
        {"\"peft_type\":\"LORA\",\"modules_to_save\":[\"lm_head\"]", LC_ERR_UNSUPPORTED,
         "modules_to_save"},
        {"\"peft_type\":\"LORA\",\"trainable_token_indices\":[1]", LC_ERR_UNSUPPORTED,
         "trainable_token_indices"},
        {"\"peft_type\":\"LORA\",\"layer_replication\":[[0,2]]", LC_ERR_UNSUPPORTED,
         "layer_replication"},
        {"\"peft_type\":\"LORA\",\"alora_invocation_tokens\":[1]", LC_ERR_UNSUPPORTED, "alora"},
        {"\"peft_type\":\"LORA\",\"fan_in_fan_out\":true", LC_ERR_UNSUPPORTED, "fan_in_fan_out"},
        {"\"peft_type\":\"LORA\",\"init_lora_weights\":\"pissa_niter_4\"", LC_ERR_UNSUPPORTED,
         "pissa_niter_4"},
        {"\"peft_type\":\"LORA\",\"r\":0", LC_ERR_INVALID, "r"},
        {"\"peft_type\":\"LORA\",\"r\":1025", LC_ERR_INVALID, "r"},
        {"\"peft_type\":\"LORA\",\"lora_alpha\":\"16\"", LC_ERR_INVALID, "lora_alpha"},
        {"\"peft_type\":\"LORA\",\"rank_pattern\":{\"q_proj\":0}", LC_ERR_INVALID, "q_proj"},
        {"\"peft_type\":\"LORA\",\"rank_pattern\":{\"q_proj\":null}", LC_ERR_INVALID, "q_proj"},
        {"\"peft_type\":\"LORA\",\"alpha_pattern\":{\"(\":1}", LC_ERR_INVALID,
         "regular expression"},
        {"\"peft_type\":\"LORA\",\"alpha_pattern\":[1]", LC_ERR_INVALID, "alpha_pattern"},
    };
    const zeros tensors[2] = {{Q0 ".lora_A.weight", 4, 40}, {Q0 ".lora_B.weight", 24, 4}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "{%s}", cases[i].members);
        const char *dir = write_adapter(text, tensors, 2);
        assert_fails(lc_adapter_spec_load(dir, &model, &loaded, &test_err), cases[i].code,
                     cases[i].message);
    }
    const char *harmless =
        "{\"peft_type\":\"LORA\",\"r\":4,\"init_lora_weights\":\"gaussian\",\"modules_to_save\":[],"
        "\"layer_replication\":null,\"loftq_config\":{},\"use_dora\":false,\"enable_lora\":null}";
    assert_ok(
        lc_adapter_spec_load(write_adapter(harmless, tensors, 2), &model, &loaded, &test_err));
    assert_true(loaded.slots[0][0].scale > 1.99f &&
                loaded.slots[0][0].scale < 2.01f); /* alpha 8 by default */
}

/* Limits of the patterns at n-1, n, n+1. */
static void test_pattern_limits(void **state)
{
    (void)state;
    for (int what = 0; what < 2; what++) {
        const int limit = what == 0 ? LC_MAX_ADAPTER_PATTERNS : LC_MAX_ADAPTER_REGEXES;
        for (int count = limit - 1; count <= limit + 1; count++) {
            lc_text text;
            lc_peft_config config;
            lc_text_init(&text);
            lc_text_addf(&text, "{\"peft_type\":\"LORA\",\"rank_pattern\":{");
            for (int i = 0; i < count; i++) {
                lc_text_addf(&text, "%s\"%sx%d\":1", i > 0 ? "," : "", what == 0 ? "" : "[a]", i);
            }
            lc_text_addf(&text, "}}");
            assert_ok(lc_text_finish(&text, "text", &test_err));
            if (count <= limit) {
                assert_ok(lc_peft_config_parse(text.data, text.length, "text", &config, &test_err));
                assert_int_equal(config.ranks.count, count);
            } else {
                assert_fails(
                    lc_peft_config_parse(text.data, text.length, "text", &config, &test_err),
                    LC_ERR_INVALID, "rank_pattern");
            }
            lc_peft_config_release(&config);
            lc_text_release(&text);
        }
    }
}

/* A configuration with blanks behind it, from memory and from a file. */
static void test_config_size(void **state)
{
    (void)state;
    char *text = malloc(LC_MAX_ADAPTER_CONFIG_BYTES + 1);
    assert_non_null(text);
    memset(text, ' ', LC_MAX_ADAPTER_CONFIG_BYTES + 1);
    memcpy(text, CONFIG, sizeof(CONFIG) - 1);
    lc_peft_config config;
    assert_ok(lc_peft_config_parse(text, LC_MAX_ADAPTER_CONFIG_BYTES, "text", &config, &test_err));
    assert_int_equal(config.rank, 4);
    lc_peft_config_release(&config);
    assert_fails(
        lc_peft_config_parse(text, LC_MAX_ADAPTER_CONFIG_BYTES + 1, "text", &config, &test_err),
        LC_ERR_INVALID, "text: 4194305 bytes, the limit is 4194304");
    const zeros tensors[2] = {{Q0 ".lora_A.weight", 4, 40}, {Q0 ".lora_B.weight", 24, 4}};
    const char *dir = write_adapter(CONFIG, tensors, 2);
    test_write_file(path_in(dir, "adapter_config.json"), text, LC_MAX_ADAPTER_CONFIG_BYTES);
    assert_ok(lc_adapter_spec_load(dir, &model, &loaded, &test_err));
    test_write_file(path_in(dir, "adapter_config.json"), text, LC_MAX_ADAPTER_CONFIG_BYTES + 1);
    assert_fails(lc_adapter_spec_load(dir, &model, &loaded, &test_err), LC_ERR_INVALID,
                 "adapter_config.json is too large: 4194305 bytes");
    free(text);
}

static void test_file_errors(void **state)
{
    (void)state;
    const char *dir = test_dir();
    assert_fails(lc_adapter_spec_load(dir, &model, &loaded, &test_err), LC_ERR_NOT_FOUND,
                 "adapter_config.json");
    test_write_file(path_in(dir, "adapter_config.json"), CONFIG, sizeof(CONFIG) - 1);
    assert_fails(lc_adapter_spec_load(dir, &model, &loaded, &test_err), LC_ERR_NOT_FOUND,
                 "adapter_model.safetensors");
    test_write_file(path_in(dir, "adapter_model.bin"), "x", 1);
    assert_fails(lc_adapter_spec_load(dir, &model, &loaded, &test_err), LC_ERR_UNSUPPORTED,
                 "pickle");
    assert_fails(lc_adapter_spec_load(write_adapter(CONFIG, NULL, 0), &model, &loaded, &test_err),
                 LC_ERR_INVALID, "no tensor in it");

    /* A number that is none is neither read nor written. */
    const lc_adapter_meta meta = {0};
    assert_ok(build_list("q_proj", NULL, NULL, 0));
    float *master = random_masters();
    master[spec.slots[2][LC_MODULE_Q].b_offset + 16 + 1] = NAN;
    dir = test_dir();
    assert_fails(lc_adapter_save(dir, &spec, &model, master, &meta, &test_err), LC_ERR_NUMERIC,
                 "2.self_attn.q_proj.lora_B.weight: element [1, 1] is not finite");
    assert_false(lc_path_exists(path_in(dir, "adapter_model.safetensors")));
    assert_false(lc_path_exists(path_in(dir, "adapter_config.json")));
    free(master);
    float values[160] = {0}, b[96] = {0};
    values[41] = INFINITY;
    const lc_tensor_out tensors[2] = {{Q0 ".lora_A.weight", LC_F32, 2, {4, 40}, values},
                                      {Q0 ".lora_B.weight", LC_F32, 2, {24, 4}, b}};
    assert_ok(lc_safetensors_write(path_in(dir, "adapter_model.safetensors"), tensors, 2, NULL, 0,
                                   NULL, NULL, &test_err));
    test_write_file(path_in(dir, "adapter_config.json"), CONFIG, sizeof(CONFIG) - 1);
    assert_ok(lc_adapter_spec_load(dir, &model, &loaded, &test_err));
    master = malloc((size_t)spec.master_count * sizeof(float));
    assert_fails(lc_adapter_load(dir, &loaded, &model, master, &test_err), LC_ERR_INVALID,
                 "element [1, 1] is not finite");
    /* Another adapter than the specification says. */
    assert_fails(lc_adapter_load(dir, &spec, &model, master, &test_err), LC_ERR_INVALID,
                 "expected");
    memset(&spec, 0, sizeof(spec));
    assert_fails(lc_adapter_load(dir, &spec, &model, master, &test_err), LC_ERR_INVALID,
                 "found an adapter");
    free(master);
}

/* Every allocation of writing and reading an adapter fails once: an error, no leak, and then it
 * works. */
static void test_failed_allocations(void **state)
{
    (void)state;
    static const char text[] = "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,"
                               "\"rank_pattern\":{\"(up|down)_proj\":2,\"v_proj\":3}}";
    const lc_adapter_meta meta = {.base_model = "base"};
    const char *dir = test_dir();
    assert_ok(
        build((lc_lora_options){.target_regex = ".*\\.1\\.self_attn\\.[qk]_proj", .rank = 4}));
    float *master = random_masters();
    bool is_done = false;
    int64_t at = 1;
    for (; !is_done; at++) {
        (void)remove(path_in(dir, "adapter_model.safetensors"));
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        lc_code code =
            build((lc_lora_options){.target_regex = ".*\\.1\\.self_attn\\.[qk]_proj", .rank = 4});
        code = code != LC_OK ? code : lc_adapter_save(dir, &spec, &model, master, &meta, &test_err);
        if (code == LC_OK) {
            test_write_file(path_in(dir, "adapter_config.json"), text, sizeof(text) - 1);
            code = lc_adapter_spec_load(dir, &model, &loaded, &test_err);
        }
        code = code != LC_OK ? code : lc_adapter_load(dir, &loaded, &model, master, &test_err);
        is_done = lc_fault_count(LC_FAULT_ALLOC) < at;
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        if (is_done) {
            assert_int_equal(code, LC_OK);
        } else if (code != LC_ERR_MEMORY) {
            fail_msg("allocation %lld: %s (%s)", (long long)at, lc_code_name(code),
                     test_err.message);
        }
        (void)remove(path_in(dir, "adapter_config.json"));
    }
    assert_true(at > 20);
    free(master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_target_errors),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_written_config),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_tensor_errors),
        cmocka_unit_test(test_config_errors),
        cmocka_unit_test(test_pattern_limits),
        cmocka_unit_test(test_config_size),
        cmocka_unit_test(test_file_errors),
        cmocka_unit_test(test_failed_allocations),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
