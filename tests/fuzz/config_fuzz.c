/*
 * Any bytes as a config.json. Whatever is accepted must have shapes, sizes and rotation tables that
 * can be computed without overflow.
 */
#include <math.h>
#include <stdlib.h>

#include "model/rope.h"
#include "model/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static lc_model_config config;
static lc_adapter_spec spec;

static void check(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void check_shapes(void)
{
    const lc_lora_options options = {.rank = 16, .alpha = 32, .all_linear = true};
    lc_err err = {0};
    int64_t bytes = 0, rows = 0;
    check(lc_adapter_spec_build(&config, &options, &spec, &err) == LC_OK);
    check(spec.parameter_count > 0 && spec.master_count >= spec.parameter_count);
    check(lc_weights_bytes(&config, &spec, LC_F32, LC_F32, &bytes, &err) == LC_OK);
    for (int kind = 0; kind < LC_GROUP_COUNT; kind++) {
        const lc_group_shape shape =
            lc_group_shape_of(&config, &spec, config.layers - 1, (lc_group_kind)kind);
        check(shape.in > 0 && shape.out > 0 && shape.rows > shape.out &&
              shape.ld >= shape.in + shape.tail);
        rows += shape.rows;
    }
    check(bytes > rows && bytes < INT64_MAX / 4);
}

static void check_rotation(void)
{
    static float cos[4 * LC_MAX_HEAD_DIM / 2], sin[4 * LC_MAX_HEAD_DIM / 2];
    const int32_t positions[4] = {0, 1, 0, INT32_MAX}, cu_seqlens[3] = {0, 2, 4};
    const int32_t half = config.head_dim / 2;
    lc_rope_tables(&config, 4, positions, 2, cu_seqlens, NULL, cos, sin);
    check(fabsf(cos[0] - cos[2 * half]) <= 0 || config.rope.type == LC_ROPE_DYNAMIC ||
          isnan(cos[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lc_err err = {0};
    if (lc_model_config_parse((const char *)data, size, "config.json", &config, &err) != LC_OK) {
        check(err.code != LC_OK && err.code != LC_ERR_INTERNAL && err.message[0] != '\0');
        return 0;
    }
    check(config.layers >= 1 && config.layers <= LC_MAX_LAYERS);
    check(config.heads % config.kv_heads == 0 && config.head_dim % 2 == 0);
    check(config.heads * config.head_dim <= LC_MAX_WIDTH);
    check(config.max_position >= 1 && config.max_position <= LC_MAX_POSITION);
    check(config.eos_count >= 0 && config.eos_count <= LC_MAX_EOS);
    check_shapes();
    check_rotation();
    return 0;
}
