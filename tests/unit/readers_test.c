/* Who would load an adapter: every rule of `lorac export --check` on adapters written here. */
#include "testing.h"

#include "cli/readers.c"

#define GOOD \
    "\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"target_modules\": [\"q_proj\"]"
#define A "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
#define B "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"

static float values[64 * 1024];

/* An adapter of rank `rank` with this config and one more tensor (NULL: none). */
static const char *write_adapter(const char *config, int64_t rank, const char *more,
                                 bool added_tokens)
{
    char path[LC_MAX_PATH_BYTES];
    const char *dir = test_dir();
    const lc_tensor_out tensors[3] = {
        {.name = A, .dtype = LC_F32, .rank = 2, .shape = {rank, 4}, .data = values},
        {.name = B, .dtype = LC_F32, .rank = 2, .shape = {4, rank}, .data = values},
        {.name = more, .dtype = LC_F32, .rank = 1, .shape = {4}, .data = values}};
    assert_ok(lc_path_join(dir, "adapter_config.json", path, &test_err));
    test_write_file(path, config, strlen(config));
    assert_ok(lc_path_join(dir, "adapter_model.safetensors", path, &test_err));
    assert_ok(lc_safetensors_write(path, rank == 0 ? tensors + 2 : tensors,
                                   rank == 0      ? 1
                                   : more != NULL ? 3
                                                  : 2,
                                   NULL, 0, NULL, NULL, &test_err));
    if (added_tokens) {
        assert_ok(lc_path_join(dir, "added_tokens.json", path, &test_err));
        test_write_file(path, "{}", 2);
    }
    return dir;
}

/* In the order PEFT, vLLM, SGLang, llama.cpp: part of the note of a refusal, or NULL for an
 * acceptance. */
typedef struct expectation {
    const char *config;
    int64_t rank;
    const char *more;
    bool added_tokens;
    const char *refusals[LC_READER_COUNT];
} expectation;

static void each_reader_by_its_rules(void **state)
{
    (void)state;
    static const expectation cases[] = {
        {"{" GOOD "}", 8, NULL, false, {NULL, NULL, NULL, NULL}},
        {"{" GOOD "}", 512, NULL, false, {NULL, NULL, NULL, NULL}},
        {"{" GOOD "}", 513, NULL, false, {NULL, "rank 513 is above its largest, 512", NULL, NULL}},
        {"{" GOOD "}", 8, NULL, true, {NULL, NULL, "added_tokens.json", NULL}},
        {"{" GOOD ", \"use_dora\": true}", 8, NULL, false, {NULL, "DoRA", "DoRA", "DoRA"}},
        {"{" GOOD "}", 8, "x.lora_magnitude_vector", false, {NULL, "DoRA", "DoRA", "DoRA"}},
        {"{" GOOD ", \"use_rslora\": true}", 8, NULL, false, {NULL, NULL, NULL, "rsLoRA"}},
        {"{" GOOD ", \"bias\": \"all\"}", 8, NULL, false, {NULL, "bias", "bias", "bias"}},
        {"{" GOOD ", \"bias\": \"none\", \"rank_pattern\": {}, \"modules_to_save\": null}",
         8,
         NULL,
         false,
         {NULL, NULL, NULL, NULL}},
        {"{" GOOD ", \"lora_bias\": true}", 8, NULL, false, {NULL, "bias", "bias", "bias"}},
        {"{" GOOD "}", 8, "x.lora_B.bias", false, {NULL, "bias", "bias", "bias"}},
        {"{" GOOD ", \"rank_pattern\": {\"k_proj\": 4}}",
         8,
         NULL,
         false,
         {NULL, "rank_pattern and alpha_pattern", NULL, "alpha of single modules"}},
        {"{" GOOD ", \"alpha_pattern\": {\"k_proj\": 4}}",
         8,
         NULL,
         false,
         {NULL, "rank_pattern and alpha_pattern", NULL, "alpha of single modules"}},
        {"{" GOOD ", \"modules_to_save\": [\"lm_head\"]}",
         8,
         NULL,
         false,
         {NULL, "modules_to_save", "modules_to_save", "embedding or head"}},
        {"{" GOOD "}", 8, "x.lora_embedding_A", false, {NULL, NULL, NULL, "embedding or head"}},
        {"{\"peft_type\": \"LORA\", \"lora_alpha\": 16, \"target_modules\": [\"q_proj\"]}",
         8,
         NULL,
         false,
         {NULL, "lacks r", "lacks r", NULL}},
        {"{\"peft_type\": \"LORA\", \"r\": 8, \"target_modules\": [\"q_proj\"]}",
         8,
         NULL,
         false,
         {NULL, "lacks lora_alpha", "lacks lora_alpha", "lacks lora_alpha"}},
        {"{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16}",
         8,
         NULL,
         false,
         {NULL, "lacks target_modules", "lacks target_modules", NULL}},
        {"{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"target_modules\": "
         "\".*q_proj\"}",
         8,
         NULL,
         false,
         {NULL, NULL, "target_modules \".*q_proj\"", NULL}},
        {"{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"target_modules\": "
         "\"all-linear\"}",
         8,
         NULL,
         false,
         {NULL, NULL, NULL, NULL}},
        {"{\"peft_type\": \"IA3\", \"r\": 8, \"lora_alpha\": 16, \"target_modules\": [\"q_proj\"]}",
         8,
         NULL,
         false,
         {"not LORA", "not LORA", "not LORA", "not LORA"}},
        {"{" GOOD "}",
         0,
         "something.else",
         false,
         {"no lora_A", "no lora_A", "no lora_A", "no lora_A"}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        lc_reader_verdict verdicts[LC_READER_COUNT];
        const char *dir =
            write_adapter(cases[c].config, cases[c].rank, cases[c].more, cases[c].added_tokens);
        assert_ok(lc_readers_judge(dir, verdicts, &test_err));
        for (int i = 0; i < LC_READER_COUNT; i++) {
            const char *refusal = cases[c].refusals[i];
            const bool is_right = refusal == NULL ? verdicts[i].is_accepted
                                                  : !verdicts[i].is_accepted &&
                                                        strstr(verdicts[i].note, refusal) != NULL;
            if (!is_right) {
                fail_msg("case %zu, %s: %s \"%s\", expected %s", c, verdicts[i].reader,
                         verdicts[i].is_accepted ? "accepts" : "refuses", verdicts[i].note,
                         refusal != NULL ? refusal : "acceptance");
            }
        }
    }
}

static void vllm_is_told_its_rank(void **state)
{
    (void)state;
    static const struct {
        int64_t rank;
        const char *note;
    } cases[] = {{1, ""},
                 {16, ""},
                 {17, "--max-lora-rank 32"},
                 {32, "--max-lora-rank 32"},
                 {65, "--max-lora-rank 128"},
                 {320, "--max-lora-rank 320"},
                 {321, "--max-lora-rank 512"},
                 {512, "--max-lora-rank 512"}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        lc_reader_verdict verdicts[LC_READER_COUNT];
        assert_ok(lc_readers_judge(write_adapter("{" GOOD "}", cases[c].rank, NULL, false),
                                   verdicts, &test_err));
        assert_string_equal(verdicts[1].reader, "vLLM");
        assert_true(verdicts[1].is_accepted);
        assert_true(cases[c].note[0] == '\0' ? verdicts[1].note[0] == '\0'
                                             : strstr(verdicts[1].note, cases[c].note) != NULL);
    }
}

static void unreadable_files_are_errors(void **state)
{
    (void)state;
    lc_reader_verdict verdicts[LC_READER_COUNT];
    char path[LC_MAX_PATH_BYTES];
    const char *dir = test_dir();
    assert_fails(lc_readers_judge(dir, verdicts, &test_err), LC_ERR_NOT_FOUND,
                 "adapter_config.json");
    assert_ok(lc_path_join(dir, "adapter_config.json", path, &test_err));
    test_write_file(path, "{", 1);
    assert_fails(lc_readers_judge(dir, verdicts, &test_err), LC_ERR_INVALID, "adapter_config.json");
    test_write_file(path, "{}", 2);
    assert_fails(lc_readers_judge(dir, verdicts, &test_err), LC_ERR_NOT_FOUND,
                 "adapter_model.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reader_by_its_rules),
        cmocka_unit_test(vllm_is_told_its_rank),
        cmocka_unit_test(unreadable_files_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
