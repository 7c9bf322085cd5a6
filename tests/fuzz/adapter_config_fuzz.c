/*
 * Any bytes as an adapter_config.json. The text before a NUL byte is the configuration, what
 * follows it a tensor's name.
 */
#include <stdlib.h>
#include <string.h>

#include "model/adapter_peft.h"

#define NAME_BYTES 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void check_name(const uint8_t *data, size_t size)
{
    const lc_model_config model = {.layers = 48, .width = 8, .heads = 1, .head_dim = 4, .mlp = 4};
    char name[NAME_BYTES + 1];
    lc_peft_tensor tensor;
    lc_err err = {0};
    size = size < NAME_BYTES ? size : NAME_BYTES;
    memcpy(name, data, size);
    name[size] = '\0';
    if (lc_peft_tensor_parse(name, &model, &tensor, &err) == LC_OK) {
        check(tensor.layer >= 0 && tensor.layer < model.layers);
        check((int)tensor.kind >= 0 && tensor.kind < LC_MODULE_COUNT);
    } else {
        check(err.message[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"model.layers.0.self_attn.q_proj",
                                        "model.layers.47.mlp.down_proj"};
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    const size_t length = end != NULL ? (size_t)(end - data) : size;
    lc_peft_config config;
    lc_err err = {0};
    if (lc_peft_config_parse((const char *)data, length, "adapter_config.json", &config, &err) ==
        LC_OK) {
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            int32_t rank = 0;
            double alpha = -1;
            if (lc_peft_config_module(&config, names[i], &rank, &alpha, &err) == LC_OK) {
                check(rank >= 1 && rank <= LC_MAX_RANK && alpha >= 0);
            }
        }
    } else {
        check(err.code != LC_ERR_INTERNAL && err.message[0] != '\0');
    }
    lc_peft_config_release(&config);
    if (end != NULL) {
        check_name(end + 1, size - length - 1);
    }
    return 0;
}
