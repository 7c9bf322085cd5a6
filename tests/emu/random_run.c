/* See random_run.h. */
#include "random_run.h"

#include "lorac/mem.h"
#include "ops/backend.h"

#define MAX_TENSORS 256
#define MODEL_SEED  7
#define LARGEST     0.2 /* of a weight */

/* The same numbers for the same seed, whatever ran before. */
typedef struct numbers {
    uint64_t state;
} numbers;

static double draw(numbers *from)
{
    from->state = from->state * 6364136223846793005u + 1442695040888963407u;
    return (double)(from->state >> 40) / (double)(1 << 23) - 1.0;
}

lc_model_config random_config(const random_shape *shape)
{
    char text[1024];
    lc_model_config config;
    const int length = snprintf(
        text, sizeof text,
        "{\"model_type\": \"%s\", \"hidden_size\": %d, \"intermediate_size\": %d, "
        "\"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, "
        "\"head_dim\": %d, \"vocab_size\": %d, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-05, "
        "\"rope_theta\": 10000.0, \"max_position_embeddings\": 4096, \"bos_token_id\": 0, "
        "\"eos_token_id\": 1, \"tie_word_embeddings\": false}",
        shape->family, shape->width, shape->mlp, shape->layers, shape->heads, shape->kv_heads,
        shape->head_dim, shape->vocab);
    assert_ok(lc_model_config_parse(text, (size_t)length, "shape", &config, &test_err));
    return config;
}

lc_adapter_spec *random_adapter(const random_shape *shape, const lc_model_config *config)
{
    const lc_lora_options options = {
        .rank = shape->rank, .alpha = 2.0 * shape->rank, .all_linear = true};
    lc_adapter_spec *spec = lc_calloc(1, sizeof *spec);
    assert_non_null(spec);
    assert_ok(lc_adapter_spec_build(config, &options, spec, &test_err));
    return spec;
}

/* ---- the model's files ---- */

typedef struct tensors {
    lc_tensor_out all[MAX_TENSORS]; /* names and data in arena */
    int64_t count;
    numbers numbers;
    lc_arena *arena;
} tensors;

/* rows 0: a vector of numbers near 1, which is what norms have; of a bias it is as good as any. */
static void add(tensors *to, int64_t rows, int64_t cols, const char *format, ...) LC_PRINTF(4, 5);
static void add(tensors *to, int64_t rows, int64_t cols, const char *format, ...)
{
    const size_t count = (size_t)((rows > 0 ? rows : 1) * cols);
    void *name = NULL, *data = NULL;
    va_list args;
    assert_true(to->count < MAX_TENSORS);
    assert_ok(lc_arena_alloc(to->arena, 96, 1, &name, &test_err));
    assert_ok(lc_arena_alloc(to->arena, count, sizeof(uint16_t), &data, &test_err));
    va_start(args, format);
    (void)vsnprintf(name, 96, format, args);
    va_end(args);
    for (size_t i = 0; i < count; i++) {
        const double value = LARGEST * draw(&to->numbers);
        ((uint16_t *)data)[i] = lc_f32_to_bf16((float)(rows > 0 ? value : 1.0 + value));
    }
    lc_tensor_out *tensor = &to->all[to->count++];
    *tensor =
        (lc_tensor_out){.name = name, .dtype = LC_BF16, .rank = rows > 0 ? 2 : 1, .data = data};
    tensor->shape[0] = rows > 0 ? rows : cols;
    tensor->shape[1] = rows > 0 ? cols : 0;
}

static void add_layer(tensors *to, const lc_model_config *config, int32_t layer)
{
    for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
        const lc_module_kind module = (lc_module_kind)kind;
        const char *path = lc_module_path(module);
        add(to, lc_module_out(config, module), lc_module_in(config, module),
            "model.layers.%d.%s.weight", layer, path);
        if (module <= LC_MODULE_V && config->qkv_bias) {
            add(to, 0, lc_module_out(config, module), "model.layers.%d.%s.bias", layer, path);
        }
    }
    add(to, 0, config->width, "model.layers.%d.input_layernorm.weight", layer);
    add(to, 0, config->width, "model.layers.%d.post_attention_layernorm.weight", layer);
    if (config->qk_norm) {
        add(to, 0, config->head_dim, "model.layers.%d.self_attn.q_norm.weight", layer);
        add(to, 0, config->head_dim, "model.layers.%d.self_attn.k_norm.weight", layer);
    }
}

static const char *write_model(const lc_model_config *config)
{
    static char path[LC_MAX_PATH_BYTES];
    lc_arena arena;
    lc_arena_init(&arena, "random weights");
    tensors *made = lc_calloc(1, sizeof *made);
    assert_non_null(made);
    made->numbers.state = MODEL_SEED;
    made->arena = &arena;
    add(made, config->vocab, config->width, "model.embed_tokens.weight");
    for (int32_t layer = 0; layer < config->layers; layer++) {
        add_layer(made, config, layer);
    }
    add(made, 0, config->width, "model.norm.weight");
    add(made, config->vocab, config->width, "lm_head.weight");
    const char *dir = test_dir();
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_ok(lc_safetensors_write(path, made->all, made->count, NULL, 0, NULL, NULL, &test_err));
    lc_free(made);
    lc_arena_release(&arena);
    return dir;
}

/* A and B, both of them: a B of zeros would leave the gradient of A at zero. */
static void fill_masters(random_run *run)
{
    numbers from = {.state = MODEL_SEED + 1};
    lc_adapter_init(&run->spec, &run->config, MODEL_SEED, run->master);
    for (int32_t layer = 0; layer < run->config.layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            const lc_lora_slot *slot = &run->spec.slots[layer][kind];
            const int32_t out = lc_module_out(&run->config, (lc_module_kind)kind);
            for (int64_t i = 0; i < (int64_t)out * slot->r16; i++) {
                const double value = LARGEST * draw(&from);
                run->master[slot->b_offset + i] = i % slot->r16 < slot->rank ? (float)value : 0.0f;
            }
        }
    }
}

/* ---- the run ---- */

static void open_device(lc_device_kind kind, lc_device **device)
{
    const lc_device_options options = {.kind = kind, .threads = 1};
    assert_ok(kind == LC_DEVICE_CPU ? lc_device_open(&options, device, &test_err)
                                    : lc_backend_entry()->open(&options, device, &test_err));
}

random_run *random_run_open(const random_options *options)
{
    void *memory = NULL;
    random_run *run = lc_calloc(1, sizeof *run);
    assert_non_null(run);
    lc_arena_init(&run->arena, "run");
    run->config = random_config(&options->shape);
    lc_adapter_spec *spec = random_adapter(&options->shape, &run->config);
    run->spec = *spec;
    lc_free(spec);
    assert_ok(lc_weight_files_open(write_model(&run->config), &run->files, &test_err));
    open_device(options->device, &run->device);
    const lc_model_options model = {.dtype = options->dtype,
                                    .training = !options->generation,
                                    .dropout = options->dropout,
                                    .tokens = options->tokens,
                                    .cache_slots = options->cache_slots,
                                    .cache_rows = options->cache_rows};
    assert_ok(lc_model_open(&run->config, &run->spec, run->files, &model, run->device, &run->model,
                            &test_err));
    assert_ok(lc_arena_alloc(&run->arena, (size_t)run->spec.master_count, sizeof(float), &memory,
                             &test_err));
    run->master = memory;
    fill_masters(run);
    assert_ok(lc_model_set_masters(&run->model, run->master, &test_err));
    return run;
}

void random_run_close(random_run *run)
{
    lc_model_close(&run->model);
    run->device->ops->close(run->device);
    lc_weight_files_close(run->files);
    lc_arena_release(&run->arena);
    lc_free(run);
}

lc_dataset random_dataset(int64_t count, int64_t length, int32_t vocab, lc_arena *arena)
{
    lc_dataset dataset = {.example_count = count,
                          .token_count = count * length,
                          .longest = length,
                          .target_count = count * (length - 1)};
    numbers from = {.state = MODEL_SEED + 2};
    void *ids = NULL, *weights = NULL, *offsets = NULL;
    assert_ok(lc_arena_alloc(arena, (size_t)(count * length), sizeof(int32_t), &ids, &test_err));
    assert_ok(lc_arena_alloc(arena, (size_t)(count * length), sizeof(float), &weights, &test_err));
    assert_ok(lc_arena_alloc(arena, (size_t)count + 1, sizeof(int64_t), &offsets, &test_err));
    dataset.input_ids = ids;
    dataset.loss_weights = weights;
    dataset.offsets = offsets;
    for (int64_t i = 0; i < count * length; i++) {
        dataset.input_ids[i] = (int32_t)((draw(&from) + 1.0) * 0.5 * (vocab - 1));
        dataset.loss_weights[i] = i % length > 0 ? 1.0f : 0.0f;
    }
    for (int64_t i = 0; i <= count; i++) {
        dataset.offsets[i] = i * length;
    }
    return dataset;
}

lc_batch random_batch(const lc_dataset *dataset, int64_t first, int64_t count, int64_t capacity,
                      lc_arena *arena)
{
    lc_batch batch;
    assert_ok(lc_batch_init(&batch, capacity, arena, &test_err));
    lc_batch_clear(&batch);
    for (int64_t i = first; i < first + count; i++) {
        lc_batch_add(&batch, dataset, i);
    }
    return batch;
}
