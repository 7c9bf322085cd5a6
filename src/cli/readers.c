/*
 * The rules of PEFT, vLLM, SGLang and llama.cpp's converter for LoRA adapters; see readers.h.
 */
#include "cli/readers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "data/safetensors.h"

#define MAX_CONFIG_BYTES  ((size_t)4 << 20)
#define VLLM_DEFAULT_RANK 16
#define VLLM_LARGEST_RANK 512

/* What the rules depend on. */
typedef struct lc_adapter_facts {
    bool is_lora, has_rank, has_alpha, has_targets;
    bool has_target_list;
    char target_text[64]; /* target_modules as one string */
    bool has_saved_modules, is_dora, has_bias, is_rslora;
    bool has_rank_pattern, has_alpha_pattern;
    bool has_embedding, has_magnitude, has_bias_tensor, has_head;
    bool has_added_tokens; /* added_tokens.json beside it */
    int64_t largest_rank;
    int64_t tensors;
} lc_adapter_facts;

static bool has_members(const cJSON *object, const char *key)
{
    const cJSON *item = lc_json_get(object, key);
    return item != NULL && item->child != NULL;
}

static bool is_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(lc_json_get(object, key));
}

static void read_config(const cJSON *config, lc_adapter_facts *facts)
{
    const cJSON *type = lc_json_get(config, "peft_type"), *bias = lc_json_get(config, "bias");
    const cJSON *targets = lc_json_get(config, "target_modules");
    facts->is_lora = cJSON_IsString(type) && strcmp(type->valuestring, "LORA") == 0;
    facts->has_rank = cJSON_IsNumber(lc_json_get(config, "r"));
    facts->has_alpha = cJSON_IsNumber(lc_json_get(config, "lora_alpha"));
    facts->has_target_list = cJSON_IsArray(targets);
    facts->has_targets = facts->has_target_list || cJSON_IsString(targets);
    if (cJSON_IsString(targets)) {
        (void)snprintf(facts->target_text, sizeof facts->target_text, "%.60s",
                       targets->valuestring);
    }
    facts->has_saved_modules = has_members(config, "modules_to_save");
    facts->is_dora = is_true(config, "use_dora");
    facts->is_rslora = is_true(config, "use_rslora");
    facts->has_bias = is_true(config, "lora_bias") ||
                      (cJSON_IsString(bias) && strcmp(bias->valuestring, "none") != 0);
    facts->has_rank_pattern = has_members(config, "rank_pattern");
    facts->has_alpha_pattern = has_members(config, "alpha_pattern");
}

static void read_tensors(const lc_safetensors *file, lc_adapter_facts *facts)
{
    facts->tensors = lc_safetensors_count(file);
    for (int64_t i = 0; i < facts->tensors; i++) {
        const lc_tensor_info *tensor = lc_safetensors_at(file, i);
        facts->has_embedding |= strstr(tensor->name, "lora_embedding_") != NULL;
        facts->has_magnitude |= strstr(tensor->name, "lora_magnitude_vector") != NULL;
        facts->has_bias_tensor |= strstr(tensor->name, ".lora_B.bias") != NULL;
        facts->has_head |= strstr(tensor->name, "lm_head") != NULL;
        if (strstr(tensor->name, ".lora_A.") != NULL && tensor->rank == 2 &&
            tensor->shape[0] > facts->largest_rank) {
            facts->largest_rank = tensor->shape[0];
        }
    }
}

static lc_code read_facts(const char *adapter_dir, lc_adapter_facts *facts, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    cJSON *config = NULL;
    lc_safetensors *file = NULL;
    memset(facts, 0, sizeof *facts);
    LC_TRY(lc_path_join(adapter_dir, "adapter_config.json", path, err));
    LC_TRY(lc_json_load(path, MAX_CONFIG_BYTES, LC_JSON_DEFAULT, &config, err));
    read_config(config, facts);
    cJSON_Delete(config);
    LC_TRY(lc_path_join(adapter_dir, "added_tokens.json", path, err));
    facts->has_added_tokens = lc_path_exists(path);
    LC_TRY(lc_path_join(adapter_dir, "adapter_model.safetensors", path, err));
    LC_TRY(lc_safetensors_open(path, &file, err));
    read_tensors(file, facts);
    lc_safetensors_close(file);
    return LC_OK;
}

static void refuse(lc_reader_verdict *verdict, const char *format, ...) LC_PRINTF(2, 3);

/* The first reason stays. */
static void refuse(lc_reader_verdict *verdict, const char *format, ...)
{
    if (!verdict->is_accepted) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(verdict->note, sizeof verdict->note, format, arguments);
    va_end(arguments);
    verdict->is_accepted = false;
}

/* What PEFT itself asks for; every other reader asks for it too. */
static void judge_common(const lc_adapter_facts *facts, lc_reader_verdict *verdict)
{
    if (!facts->is_lora) {
        refuse(verdict, "peft_type is not LORA");
    }
    if (facts->tensors == 0 || (facts->largest_rank == 0 && !facts->has_embedding)) {
        refuse(verdict, "there is no lora_A tensor");
    }
}

static void judge_config_keys(const lc_adapter_facts *facts, lc_reader_verdict *verdict)
{
    judge_common(facts, verdict);
    if (!facts->has_rank || !facts->has_alpha || !facts->has_targets) {
        refuse(verdict, "adapter_config.json lacks %s",
               !facts->has_rank    ? "r"
               : !facts->has_alpha ? "lora_alpha"
                                   : "target_modules");
    }
    if (facts->has_saved_modules) {
        refuse(verdict, "modules_to_save carries whole weights, not LoRA");
    }
}

static void judge_vllm(const lc_adapter_facts *facts, lc_reader_verdict *verdict)
{
    static const int64_t ranks[] = {1, 8, 16, 32, 64, 128, 256, 320, VLLM_LARGEST_RANK};
    judge_config_keys(facts, verdict);
    if (facts->is_dora || facts->has_magnitude) {
        refuse(verdict, "DoRA is not implemented there");
    }
    if (facts->has_bias || facts->has_bias_tensor) {
        refuse(verdict, "bias is not supported there");
    }
    if (facts->has_rank_pattern || facts->has_alpha_pattern) {
        refuse(
            verdict,
            "rank_pattern and alpha_pattern are not read there: all modules would get one scale");
    }
    if (facts->largest_rank > VLLM_LARGEST_RANK) {
        refuse(verdict, "rank %lld is above its largest, %d", (long long)facts->largest_rank,
               VLLM_LARGEST_RANK);
    }
    if (verdict->is_accepted && facts->largest_rank > VLLM_DEFAULT_RANK) {
        size_t i = 0;
        while (ranks[i] < facts->largest_rank) {
            i++;
        }
        (void)snprintf(verdict->note, sizeof verdict->note, "start it with --max-lora-rank %lld",
                       (long long)ranks[i]);
    }
}

static void judge_sglang(const lc_adapter_facts *facts, lc_reader_verdict *verdict)
{
    judge_config_keys(facts, verdict);
    if (!facts->has_target_list && facts->has_targets && strcmp(facts->target_text, "all") != 0 &&
        strcmp(facts->target_text, "all-linear") != 0) {
        refuse(verdict,
               "target_modules \"%s\": as one string only \"all\" and \"all-linear\" are known",
               facts->target_text);
    }
    if (facts->is_dora || facts->has_magnitude) {
        refuse(verdict, "DoRA is not supported there");
    }
    if (facts->has_bias || facts->has_bias_tensor) {
        refuse(verdict, "bias is not supported there");
    }
    if (facts->has_added_tokens) {
        refuse(verdict,
               "added_tokens.json beside the adapter would be read as new tokens: remove it");
    }
}

static void judge_llama_cpp(const lc_adapter_facts *facts, lc_reader_verdict *verdict)
{
    judge_common(facts, verdict);
    if (!facts->has_alpha) {
        refuse(verdict, "adapter_config.json lacks lora_alpha");
    }
    if (facts->has_saved_modules || facts->has_embedding || facts->has_head) {
        refuse(verdict, "embedding or head weights in the adapter are an error there");
    }
    if (facts->is_dora || facts->has_magnitude) {
        refuse(verdict, "DoRA is not represented in GGUF: merge the adapter instead");
    }
    if (facts->has_bias || facts->has_bias_tensor) {
        refuse(verdict, "bias is not represented in GGUF: merge the adapter instead");
    }
    if (facts->is_rslora) {
        refuse(verdict, "rsLoRA is not represented in GGUF, the scale would be alpha/r: merge the "
                        "adapter instead");
    }
    if (facts->has_alpha_pattern || facts->has_rank_pattern) {
        refuse(verdict,
               "alpha of single modules is not represented in GGUF: merge the adapter instead");
    }
    if (verdict->is_accepted) {
        (void)snprintf(verdict->note, sizeof verdict->note, "through convert_lora_to_gguf.py");
    }
}

lc_code lc_readers_judge(const char *adapter_dir, lc_reader_verdict verdicts[LC_READER_COUNT],
                         lc_err *err)
{
    static const struct {
        const char *name;
        void (*judge)(const lc_adapter_facts *facts, lc_reader_verdict *verdict);
    } readers[LC_READER_COUNT] = {{"PEFT", judge_common},
                                  {"vLLM", judge_vllm},
                                  {"SGLang", judge_sglang},
                                  {"llama.cpp", judge_llama_cpp}};
    lc_adapter_facts facts;
    LC_TRY(read_facts(adapter_dir, &facts, err));
    for (int i = 0; i < LC_READER_COUNT; i++) {
        const lc_reader_verdict fresh = {.reader = readers[i].name, .is_accepted = true};
        verdicts[i] = fresh;
        readers[i].judge(&facts, &verdicts[i]);
    }
    return LC_OK;
}
