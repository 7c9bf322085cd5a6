/*
 * Base weights: shapes of the bordered matrices, carving, loading of every family from files,
 * publishing, and the errors of files that do not fit. The device is a stand-in that counts on
 * nothing but uploads, or the one that LORAC_TEST_DEVICE names.
 */
#include "testing.h"

#include <math.h>

#include "base/fault.h"
#include "base/file.h"
#include "data/safetensors.h"
#include "lorac/mem.h"
#include "model/weights.h"
#include "ops/backend.h"
#include "parity.h"

#define MAX_TENSORS 128

/* ---- a device ---- */

/* Called by several readers at once. */
static lc_code fake_upload_mat(lc_device *device, lc_mat to, lc_mat from, lc_err *err)
{
    (void)device;
    if (to.rows != from.rows || to.cols != from.cols) {
        return lc_fail(err, LC_ERR_INTERNAL, "shapes differ");
    }
    for (int64_t i = 0; i < to.rows; i++) {
        const char *source =
            (const char *)from.data + (size_t)(i * from.ld) * lc_dtype_bytes(from.dtype);
        const size_t from_bytes = lc_dtype_bytes(from.dtype), to_bytes = lc_dtype_bytes(to.dtype);
        const int64_t run = to.strip > 0 ? 1 : to.cols; /* that lies in a row */
        for (int64_t j = 0; j < to.cols; j += run) {
            char *target = (char *)to.data + (size_t)lc_mat_at(to, i, j) * to_bytes;
            if (!lc_convert(source + (size_t)j * from_bytes, from.dtype, target, to.dtype,
                            (size_t)run)) {
                return lc_fail(err, LC_ERR_INTERNAL, "no conversion");
            }
        }
    }
    return LC_OK;
}

static lc_code fake_host_alloc(lc_device *device, size_t bytes, void **out, lc_err *err)
{
    (void)device;
    return lc_new(out, bytes, 1, "a buffer", err);
}

static void fake_host_free(lc_device *device, void *memory)
{
    (void)device;
    lc_free(memory);
}

static lc_code fake_move(lc_device *device, void *to, const void *from, size_t bytes, lc_err *err)
{
    (void)device, (void)err;
    memcpy(to, from, bytes);
    return LC_OK;
}

static const lc_ops fake_ops = {.name = "fake",
                                .alloc = fake_host_alloc,
                                .free = fake_host_free,
                                .upload = fake_move,
                                .download = fake_move,
                                .upload_mat = fake_upload_mat,
                                .host_alloc = fake_host_alloc,
                                .host_free = fake_host_free};
static lc_device fake = {.ops = &fake_ops, .description = "fake", .reader_count = 3};
static lc_device *device = &fake;

static int32_t device_strip = 16; /* of weights on it; 0: it has none */

static int open_device(void **state)
{
    const lc_device_options options = {.kind = parity_device(), .threads = 1};
    (void)state;
    if (options.kind != LC_DEVICE_CPU) {
        assert_ok(lc_device_open(&options, &device, &test_err));
        device_strip = device->memory->strip;
    }
    return 0;
}

/* ---- a model directory ---- */

typedef struct model_dir {
    lc_tensor_out tensors[MAX_TENSORS]; /* names, shapes and data owned */
    int64_t count;
    const char *path;
} model_dir;

static lc_model_config config;
static lc_adapter_spec spec;
static model_dir dir;

static size_t elements(const lc_tensor_out *tensor)
{
    return (size_t)tensor->shape[0] * (tensor->rank == 2 ? (size_t)tensor->shape[1] : 1);
}

static void add(lc_dtype dtype, int64_t rows, int64_t cols, const char *format, ...)
    LC_PRINTF(4, 5);
static void add(lc_dtype dtype, int64_t rows, int64_t cols, const char *format, ...)
{
    char *name = malloc(128);
    va_list args;
    va_start(args, format);
    vsnprintf(name, 128, format, args);
    va_end(args);
    lc_tensor_out *tensor = &dir.tensors[dir.count++];
    assert_true(dir.count <= MAX_TENSORS);
    *tensor = (lc_tensor_out){.name = name, .dtype = dtype, .rank = rows > 0 ? 2 : 1};
    tensor->shape[0] = rows > 0 ? rows : cols;
    tensor->shape[1] = rows > 0 ? cols : 0;
    const size_t count = elements(tensor);
    float *values = malloc(count * sizeof(float));
    char *data = malloc(count * lc_dtype_bytes(dtype));
    test_fill(values, count, -1, 1);
    if (dtype == LC_F32) {
        memcpy(data, values, count * sizeof(float));
    } else if (!lc_convert(values, LC_F32, data, dtype, count)) {
        memset(data, 0x3c, count * lc_dtype_bytes(dtype));
    }
    free(values);
    tensor->data = data;
}

static void release_dir(void)
{
    for (int64_t i = 0; i < dir.count; i++) {
        free((void *)(uintptr_t)dir.tensors[i].name);
        free((void *)(uintptr_t)dir.tensors[i].data);
    }
    memset(&dir, 0, sizeof(dir));
}

static void add_layer(int32_t layer, lc_dtype dtype)
{
    for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
        const lc_module_kind module = (lc_module_kind)kind;
        const bool has_bias = kind <= LC_MODULE_V   ? config.qkv_bias
                              : kind == LC_MODULE_O ? config.o_bias
                                                    : config.mlp_bias;
        add(dtype, lc_module_out(&config, module), lc_module_in(&config, module),
            "model.layers.%d.%s.weight", layer, lc_module_path(module));
        if (has_bias) {
            add(dtype, 0, lc_module_out(&config, module), "model.layers.%d.%s.bias", layer,
                lc_module_path(module));
        }
    }
    add(dtype, 0, config.width, "model.layers.%d.input_layernorm.weight", layer);
    add(dtype, 0, config.width, "model.layers.%d.post_attention_layernorm.weight", layer);
    if (config.qk_norm) {
        add(dtype, 0, config.head_dim, "model.layers.%d.self_attn.q_norm.weight", layer);
        add(dtype, 0, config.head_dim, "model.layers.%d.self_attn.k_norm.weight", layer);
    }
}

static void make_model(lc_dtype dtype)
{
    release_dir();
    add(dtype, config.vocab, config.width, "model.embed_tokens.weight");
    add(dtype, 0, config.width, "model.norm.weight");
    for (int32_t layer = 0; layer < config.layers; layer++) {
        add_layer(layer, dtype);
    }
    if (!config.tied) {
        add(dtype, config.vocab, config.width, "lm_head.weight");
    }
}

static void write_model(void)
{
    char path[LC_MAX_PATH_BYTES];
    static const char *directory;
    directory = directory == NULL ? test_dir() : directory;
    dir.path = directory;
    snprintf(path, sizeof(path), "%s/model.safetensors", dir.path);
    (void)remove(path);
    assert_ok(lc_safetensors_write(path, dir.tensors, dir.count, NULL, 0, NULL, NULL, &test_err));
}

static lc_tensor_out *find(const char *name)
{
    for (int64_t i = 0; i < dir.count; i++) {
        if (strcmp(dir.tensors[i].name, name) == 0) {
            return &dir.tensors[i];
        }
    }
    return NULL;
}

/* ---- loading ---- */

#define GUARD_BYTES 256 /* behind the block */

static lc_arena arena;
static lc_weights loaded; /* in the device's memory */
static void *device_block;
static lc_weights weights; /* of its copy in host memory */
static char *block;
static lc_dtype activation = LC_F32; /* of biases */
static int32_t strip;                /* 0: rows as they are */

/* A block of the device for all weights, all zero, and the same in host memory; guards behind. */
static int64_t make_blocks(lc_dtype dtype)
{
    int64_t bytes = 0;
    char guard[GUARD_BYTES];
    lc_arena_release(&arena);
    lc_arena_init(&arena, "test");
    free(block);
    if (device_block != NULL) {
        device->ops->free(device, device_block);
    }
    assert_ok(lc_weights_bytes(&config, &spec, dtype, activation, &bytes, &test_err));
    block = malloc((size_t)bytes + GUARD_BYTES);
    assert_ok(device->ops->alloc(device, (size_t)bytes + GUARD_BYTES, &device_block, &test_err));
    memset(guard, 0x5a, sizeof guard);
    assert_ok(
        device->ops->upload(device, (char *)device_block + bytes, guard, sizeof guard, &test_err));
    assert_ok(lc_weights_carve(&config, &spec, dtype, activation, device_block, &arena, &loaded,
                               &test_err));
    assert_ok(
        lc_weights_carve(&config, &spec, dtype, activation, block, &arena, &weights, &test_err));
    if (strip > 0) {
        lc_weights_use_strips(&config, &spec, strip, &loaded);
        lc_weights_use_strips(&config, &spec, strip, &weights);
    }
    return bytes;
}

static lc_code load(lc_dtype dtype)
{
    lc_weight_files *files = NULL;
    const int64_t bytes = make_blocks(dtype);
    assert_ok(lc_weight_files_open(dir.path, &files, &test_err));
    const lc_code code = lc_weights_load(&config, &spec, files, device, &loaded, &test_err);
    lc_weight_files_close(files);
    lc_err ignored = {.code = LC_OK};
    assert_true(device->ops->download(device, block, device_block, (size_t)bytes + GUARD_BYTES,
                                      &ignored) == LC_OK);
    for (int i = 0; i < GUARD_BYTES; i++) {
        assert_int_equal(block[bytes + i], 0x5a);
    }
    return code;
}

/* Whether rows row.. of `mat` (as F32) hold the named tensor. */
static void check_rows(lc_mat mat, int64_t row, const char *name)
{
    const lc_tensor_out *tensor = find(name);
    assert_non_null(tensor);
    const size_t count = elements(tensor), item = lc_dtype_bytes(tensor->dtype);
    const size_t cols = (size_t)tensor->shape[tensor->rank - 1];
    for (size_t i = 0; i < count / cols; i++) {
        const size_t bytes = lc_dtype_bytes(mat.dtype);
        char *found = malloc(cols * bytes);
        for (size_t j = 0; j < cols; j++) {
            const int64_t at = lc_mat_at(mat, row + (int64_t)i, (int64_t)j);
            memcpy(found + j * bytes, (const char *)mat.data + (size_t)at * bytes, bytes);
        }
        char *expected = malloc(cols * lc_dtype_bytes(mat.dtype));
        const char *from = (const char *)tensor->data + i * cols * item;
        if (tensor->dtype == mat.dtype) {
            memcpy(expected, from, cols * item);
        } else {
            assert_true(lc_convert(from, tensor->dtype, expected, mat.dtype, cols));
        }
        if (memcmp(found, expected, cols * bytes) != 0) {
            fail_msg("%s: row %zu differs", name, i);
        }
        free(found);
        free(expected);
    }
}

static void check_vector(const void *values, lc_dtype dtype, int64_t count, int32_t layer,
                         const char *leaf)
{
    const lc_mat row = {(void *)(uintptr_t)values, 1, count, count, dtype, 0};
    char name[192];
    snprintf(name, sizeof(name), "model.%s", leaf);
    if (layer >= 0) {
        snprintf(name, sizeof(name), "model.layers.%d.%s", layer, leaf);
    }
    check_rows(row, 0, name);
}

static void check_layer(int32_t layer)
{
    const lc_layer_weights *w = &weights.layers[layer];
    for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
        const int group = kind <= LC_MODULE_V    ? LC_GROUP_QKV
                          : kind == LC_MODULE_O  ? LC_GROUP_O
                          : kind <= LC_MODULE_UP ? LC_GROUP_GATE_UP
                                                 : LC_GROUP_DOWN;
        const lc_group_shape shape = lc_group_shape_of(&config, &spec, layer, (lc_group_kind)group);
        const int32_t out = lc_module_out(&config, (lc_module_kind)kind);
        char name[128];
        snprintf(name, sizeof(name), "model.layers.%d.%s.weight", layer,
                 lc_module_path((lc_module_kind)kind));
        check_rows(w->group[group], shape.row_first[kind], name);
        snprintf(name, sizeof(name), "%s.bias", lc_module_path((lc_module_kind)kind));
        if (w->bias[group] != NULL) {
            const size_t first = (size_t)shape.row_first[kind] * lc_dtype_bytes(activation);
            check_vector((const char *)w->bias[group] + first, activation, out, layer, name);
        }
    }
    check_vector(w->norm1, LC_F32, config.width, layer, "input_layernorm.weight");
    check_vector(w->norm2, LC_F32, config.width, layer, "post_attention_layernorm.weight");
    if (config.qk_norm) {
        check_vector(w->q_norm, LC_F32, config.head_dim, layer, "self_attn.q_norm.weight");
        check_vector(w->k_norm, LC_F32, config.head_dim, layer, "self_attn.k_norm.weight");
    }
}

/* The border is zero, the matrices end where the next begins, biases are where the family has them.
 */
static void check_structure(lc_dtype dtype)
{
    for (int32_t layer = 0; layer < config.layers; layer++) {
        for (int kind = 0; kind < LC_GROUP_COUNT; kind++) {
            const lc_group_shape shape =
                lc_group_shape_of(&config, &spec, layer, (lc_group_kind)kind);
            const lc_mat group = weights.layers[layer].group[kind];
            assert_int_equal(group.rows, shape.out + shape.tail);
            assert_int_equal(group.cols, shape.in + shape.tail);
            assert_int_equal(group.ld, shape.ld);
            assert_int_equal(group.dtype, dtype);
            assert_int_equal((uintptr_t)group.data % 16, (uintptr_t)block % 16);
            assert_true(shape.ld % 16 == 0 && shape.ld >= shape.in + shape.tail &&
                        shape.tail % 16 == 0);
            const size_t item = lc_dtype_bytes(dtype);
            for (int64_t i = 0; i < shape.rows; i++) {
                const int64_t from = i < shape.out ? shape.in : 0;
                for (int64_t j = from; j < shape.ld; j++) {
                    const size_t at = (size_t)lc_mat_at(group, i, j) * item;
                    const uint32_t zero = 0;
                    assert_memory_equal((const char *)group.data + at, &zero, item);
                }
            }
        }
    }
    assert_true(config.tied == (weights.head.data == weights.embed.data));
}

static void random_shape(lc_family family)
{
    memset(&config, 0, sizeof(config));
    config.family = family;
    config.kv_heads = (int32_t)test_int(1, 3);
    config.heads = config.kv_heads * (int32_t)test_int(1, 3);
    config.head_dim = 2 * (int32_t)test_int(1, 9);
    config.width = (int32_t)test_int(1, 70);
    config.mlp = (int32_t)test_int(1, 90);
    config.layers = (int32_t)test_int(1, 3);
    config.vocab = (int32_t)test_int(1, 259);
    config.tied = test_int(0, 1) == 1;
    config.qkv_bias = family == LC_FAMILY_QWEN2;
    config.qk_norm = family == LC_FAMILY_QWEN3;
    if (family == LC_FAMILY_LLAMA || family == LC_FAMILY_SMOLLM3) {
        config.qkv_bias = config.o_bias = test_int(0, 1) == 1;
        config.mlp_bias = test_int(0, 1) == 1;
    }
}

/* The same with parts that are whole strips. */
static void strip_shape(void)
{
    config.head_dim = 16 * (int32_t)test_int(1, 2);
    config.mlp = 16 * (int32_t)test_int(1, 6);
    config.vocab = 16 * (int32_t)test_int(1, 16);
}

static void random_spec(void)
{
    static const char *const sets[4][3] = {{"q_proj", "v_proj", "down_proj"},
                                           {"k_proj", "up_proj", "o_proj"},
                                           {"gate_proj", "up_proj", "down_proj"},
                                           {"q_proj", "k_proj", "v_proj"}};
    const lc_lora_options options = {.rank = (int32_t)test_int(1, 70),
                                     .alpha = 3,
                                     .all_linear = test_int(0, 2) == 0,
                                     .targets = sets[test_int(0, 3)],
                                     .target_count = 3};
    memset(&spec, 0, sizeof(spec));
    if (test_int(0, 4) > 0) {
        assert_ok(lc_adapter_spec_build(&config, &options, &spec, &test_err));
    }
}

static const lc_dtype file_types[3] = {LC_F32, LC_BF16, LC_F16};

static void test_load(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        const lc_dtype dtype = round % 2 ? LC_BF16 : LC_F32;
        activation = round % 4 == 3 ? LC_BF16 : LC_F32; /* of GPUs, of the CPU */
        random_shape((lc_family)(round % 5));
        random_spec();
        make_model(file_types[round % 3]);
        if (round % 7 == 0) {
            add(LC_F32, 0, 4, "model.layers.0.self_attn.rotary_emb.inv_freq");
        }
        write_model();
        assert_ok(load(dtype));
        check_structure(dtype);
        check_rows(weights.embed, 0, "model.embed_tokens.weight");
        check_rows(weights.head, 0, config.tied ? "model.embed_tokens.weight" : "lm_head.weight");
        check_vector(weights.final_norm, LC_F32, config.width, -1, "norm.weight");
        for (int32_t layer = 0; layer < config.layers; layer++) {
            check_layer(layer);
        }
    }
    activation = LC_F32;
}

/* In strips, where all parts are whole ones: every value where lc_mat_at says. */
static void test_strips(void **state)
{
    (void)state;
    if (device_strip == 0) {
        skip();
    }
    strip = device_strip;
    for (int round = 0; round < 40; round++) {
        const lc_dtype dtype = round % 2 ? LC_BF16 : LC_F32;
        random_shape((lc_family)(round % 5));
        strip_shape();
        config.vocab += round % 4 == 0;
        config.mlp += round % 4 == 1;
        random_spec();
        make_model(file_types[round % 3]);
        write_model();
        assert_ok(load(dtype));
        check_structure(dtype);
        check_rows(weights.embed, 0, "model.embed_tokens.weight");
        check_rows(weights.head, 0, config.tied ? "model.embed_tokens.weight" : "lm_head.weight");
        assert_int_equal(weights.head.strip, round % 4 == 0 ? 0 : strip);
        assert_int_equal(weights.embed.strip, config.tied ? weights.head.strip : 0);
        for (int32_t layer = 0; layer < config.layers; layer++) {
            const lc_mat *group = weights.layers[layer].group;
            check_layer(layer);
            assert_int_equal(group[LC_GROUP_QKV].strip, strip);
            assert_int_equal(group[LC_GROUP_GATE_UP].strip, round % 4 == 1 ? 0 : strip);
        }
    }
    strip = 0;
}

/* More rows than one block holds, several blocks for each reader, rows of odd sizes, each file type
 * into each type. */
static void test_large_tensor(void **state)
{
    (void)state;
    for (int round = 0; round < 6; round++) {
        random_shape(LC_FAMILY_LLAMA);
        config.width = 701;
        config.vocab = 4001 + 8000 * (round == 0);
        config.tied = false;
        strip = round % 2 == 0 ? device_strip : 0;
        config.vocab += strip > 0 ? 15 : 0; /* 4016, 12016 */
        random_spec();
        make_model(file_types[round % 3]);
        write_model();
        assert_ok(load(round < 3 ? LC_BF16 : LC_F32));
        check_structure(round < 3 ? LC_BF16 : LC_F32);
        check_rows(weights.embed, 0, "model.embed_tokens.weight");
        check_rows(weights.head, 0, "lm_head.weight");
        assert_int_equal(weights.head.strip, strip);
        check_layer(0);
    }
    strip = 0;
}

static float at(lc_mat mat, int64_t row, int64_t col)
{
    return ((const float *)mat.data)[lc_mat_at(mat, row, col)];
}

static void publish(const lc_publish_slot *slot)
{
    const lc_mat a = {slot->w_a, slot->width, slot->in, slot->ld, LC_F32, slot->strip};
    const lc_mat b = {slot->w_b, slot->out, slot->width, slot->ld, LC_F32, slot->strip};
    for (int64_t k = 0; k < (int64_t)slot->width * slot->in; k++) {
        ((float *)a.data)[lc_mat_at(a, k / slot->in, k % slot->in)] = slot->a[k];
    }
    for (int64_t k = 0; k < (int64_t)slot->out * slot->width; k++) {
        ((float *)b.data)[lc_mat_at(b, k / slot->width, k % slot->width)] =
            slot->scale * slot->b[k];
    }
}

/* Publishing fills A's rows and the block diagonal of B, and nothing else. */
static void check_publish(void)
{
    random_shape(LC_FAMILY_MISTRAL);
    strip_shape();
    config.layers = 2;
    const char *const targets[] = {"q_proj", "v_proj", "down_proj"};
    const lc_lora_options options = {.rank = 5, .alpha = 15, .targets = targets, .target_count = 3};
    assert_ok(lc_adapter_spec_build(&config, &options, &spec, &test_err));
    make_model(LC_F32);
    write_model();
    assert_ok(load(LC_F32));
    float *master = malloc((size_t)spec.master_count * sizeof(float));
    test_fill(master, (size_t)spec.master_count, 1, 2);
    lc_publish_slot slots[6];
    assert_int_equal(lc_weights_publish_slots(&config, &spec, NULL, NULL, NULL), 6);
    assert_int_equal(lc_weights_publish_slots(&config, &spec, master, &weights, slots), 6);
    for (int i = 0; i < 6; i++) {
        publish(&slots[i]);
    }
    const int32_t in = config.width, q = config.heads * config.head_dim,
                  k = config.kv_heads * config.head_dim;
    const lc_mat group = weights.layers[1].group[LC_GROUP_QKV];
    const lc_lora_slot *q_slot = &spec.slots[1][LC_MODULE_Q], *v_slot = &spec.slots[1][LC_MODULE_V];
    assert_int_equal(group.rows, q + 2 * k + 32);
    for (int32_t row = 0; row < q + 2 * k; row++) {
        for (int32_t col = 0; col < 32; col++) {
            float expected = 0;
            if (row < q && col < 16) {
                expected = 3 * master[q_slot->b_offset + row * 16 + col];
            } else if (row >= q + k && col >= 16) {
                expected = 3 * master[v_slot->b_offset + (row - q - k) * 16 + col - 16];
            }
            assert_true(fabsf(at(group, row, in + col) - expected) <= 0);
        }
    }
    for (int32_t row = 0; row < 32; row++) {
        for (int32_t col = 0; col < in + 32; col++) {
            const lc_lora_slot *slot = row < 16 ? q_slot : v_slot;
            const float expected = col < in ? master[slot->a_offset + row % 16 * in + col] : 0;
            assert_true(fabsf(at(group, q + 2 * k + row, col) - expected) <= 0);
        }
    }
    check_layer(0);
    check_layer(1);
    free(master);
}

static void test_publish(void **state)
{
    (void)state;
    check_publish();
    strip = device_strip;
    check_publish();
    strip = 0;
}

static void test_shapes(void **state)
{
    (void)state;
    config = (lc_model_config){.width = 896,
                               .layers = 1,
                               .heads = 14,
                               .kv_heads = 2,
                               .head_dim = 64,
                               .mlp = 4864,
                               .vocab = 10};
    const lc_lora_options options = {.rank = 17, .alpha = 1, .all_linear = true};
    assert_ok(lc_adapter_spec_build(&config, &options, &spec, &test_err));
    const lc_group_shape qkv = lc_group_shape_of(&config, &spec, 0, LC_GROUP_QKV);
    assert_int_equal(qkv.in, 896);
    assert_int_equal(qkv.out, 1152);
    assert_int_equal(qkv.tail, 96);
    assert_int_equal(qkv.ld, 896 + 128);
    assert_int_equal(qkv.rows, 1248);
    assert_int_equal(qkv.row_first[LC_MODULE_V], 1024);
    assert_int_equal(qkv.slot_first[LC_MODULE_V], 64);
    const lc_group_shape gate_up = lc_group_shape_of(&config, &spec, 0, LC_GROUP_GATE_UP);
    assert_int_equal(gate_up.out, 9728);
    assert_int_equal(gate_up.row_first[LC_MODULE_UP], 4864);
    assert_int_equal(gate_up.ld, 896 + 64);
    memset(&spec, 0, sizeof(spec));
    config.mlp = 172;
    const lc_group_shape down = lc_group_shape_of(&config, &spec, 0, LC_GROUP_DOWN);
    assert_int_equal(down.tail, 0);
    assert_int_equal(down.ld, 176);
    /* The largest model that a config.json may describe. */
    config = (lc_model_config){.width = LC_MAX_WIDTH,
                               .layers = LC_MAX_LAYERS,
                               .heads = 128,
                               .kv_heads = 128,
                               .head_dim = 512,
                               .mlp = LC_MAX_WIDTH,
                               .vocab = LC_MAX_VOCAB};
    const lc_lora_options largest = {.rank = LC_MAX_RANK, .alpha = 1, .all_linear = true};
    int64_t bytes = 0;
    assert_ok(lc_adapter_spec_build(&config, &largest, &spec, &test_err));
    assert_ok(lc_weights_bytes(&config, &spec, LC_F32, LC_F32, &bytes, &test_err));
    assert_true(bytes > ((int64_t)1 << 45) && spec.master_count > ((int64_t)1 << 38));
}

static void drop(const char *name)
{
    lc_tensor_out *tensor = find(name);
    assert_non_null(tensor);
    free((void *)(uintptr_t)tensor->name);
    free((void *)(uintptr_t)tensor->data);
    *tensor = dir.tensors[--dir.count];
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *drop, *add;
        int64_t rows, cols;
        lc_dtype dtype;
        lc_code code;
        const char *message;
    } cases[] = {
        {"model.layers.1.mlp.up_proj.weight", NULL, 0, 0, LC_F32, LC_ERR_INVALID,
         "model.layers.1.mlp.up_proj.weight is missing"},
        {"lm_head.weight", NULL, 0, 0, LC_F32, LC_ERR_INVALID,
         "lm_head.weight is missing and config.json says"},
        {"model.norm.weight", NULL, 0, 0, LC_F32, LC_ERR_INVALID, "model.norm.weight is missing"},
        {"model.norm.weight", "model.norm.weight", 0, 9, LC_F32, LC_ERR_INVALID,
         "model.norm.weight: expected [8], found [9]"},
        {"model.norm.weight", "model.norm.weight", 1, 8, LC_F32, LC_ERR_INVALID,
         "expected [8], found [1, 8]"},
        {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.weight", 12, 9,
         LC_F32, LC_ERR_INVALID, "self_attn.q_proj.weight: expected [12, 8], found [12, 9]"},
        {"model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.k_proj.weight", 4, 8,
         LC_I32, LC_ERR_UNSUPPORTED, "expected dtype F32, BF16 or F16, found I32"},
        {"model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.q_proj.bias", 0, 11,
         LC_F32, LC_ERR_INVALID, "self_attn.q_proj.bias: expected [12], found [11]"},
        {NULL, "model.layers.2.mlp.up_proj.weight", 6, 8, LC_F32, LC_ERR_UNSUPPORTED,
         "model.layers.2.mlp.up_proj.weight does not belong to a qwen2 model with 2 layers"},
        {NULL, "model.layers.0.self_attn.o_proj.bias", 0, 8, LC_F32, LC_ERR_UNSUPPORTED,
         "and the biases that config.json names"},
        {NULL, "model.layers.0.self_attn.q_norm.weight", 0, 4, LC_F32, LC_ERR_UNSUPPORTED,
         "q_norm.weight does not belong"},
        {NULL, "model.layers.0.mlp.experts.0.weight", 2, 2, LC_F32, LC_ERR_UNSUPPORTED,
         "does not belong"},
        {NULL, "visual.patch.weight", 2, 2, LC_F32, LC_ERR_UNSUPPORTED,
         "visual.patch.weight does not belong"},
        {NULL, "model.layers.99999999999999999999.mlp.up_proj.weight", 6, 8, LC_F32,
         LC_ERR_UNSUPPORTED, "does not belong"},
        {NULL, "model.layers..mlp.up_proj.weight", 6, 8, LC_F32, LC_ERR_UNSUPPORTED,
         "does not belong"},
        {"model.embed_tokens.weight", "embed_tokens.weight", 10, 8, LC_F32, LC_ERR_UNSUPPORTED,
         "lack the prefix \"model.\""},
    };
    memset(&spec, 0, sizeof(spec));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        config = (lc_model_config){.family = LC_FAMILY_QWEN2,
                                   .width = 8,
                                   .layers = 2,
                                   .heads = 3,
                                   .kv_heads = 1,
                                   .head_dim = 4,
                                   .mlp = 6,
                                   .vocab = 10,
                                   .qkv_bias = true};
        make_model(LC_F32);
        if (cases[i].drop != NULL) {
            drop(cases[i].drop);
        }
        if (cases[i].add != NULL) {
            add(cases[i].dtype, cases[i].rows, cases[i].cols, "%s", cases[i].add);
        }
        write_model();
        assert_fails(load(LC_F32), cases[i].code, cases[i].message);
        assert_true(test_err.param[0] != '\0');
    }
}

/* A tied model may carry a copy of the embedding as its head, but nothing else. */
static void test_tied_head(void **state)
{
    (void)state;
    memset(&spec, 0, sizeof(spec));
    config = (lc_model_config){.width = 8,
                               .layers = 1,
                               .heads = 1,
                               .kv_heads = 1,
                               .head_dim = 4,
                               .mlp = 6,
                               .vocab = 10,
                               .tied = true};
    make_model(LC_BF16);
    add(LC_BF16, 10, 8, "lm_head.weight");
    char *head = (char *)(uintptr_t)find("lm_head.weight")->data;
    memcpy(head, find("model.embed_tokens.weight")->data, 160);
    write_model();
    assert_ok(load(LC_F32));
    head[159] ^= 1;
    write_model();
    assert_fails(load(LC_F32), LC_ERR_INVALID,
                 "lm_head.weight differs from model.embed_tokens.weight");
}

/* Every allocation from the configuration to loaded weights fails once. */
static void test_failed_allocations(void **state)
{
    (void)state;
    static const char text[] =
        "{\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":1,"
        "\"num_attention_heads\":1,\"intermediate_size\":6,\"vocab_size\":10}";
    memset(&spec, 0, sizeof(spec));
    assert_ok(lc_model_config_parse(text, sizeof(text) - 1, "text", &config, &test_err));
    make_model(LC_F32);
    write_model();
    assert_ok(load(LC_F32));
    bool is_done = false;
    int64_t at = 1;
    for (; !is_done; at++) {
        lc_weight_files *files = NULL;
        lc_err_clear(&test_err);
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        lc_code code = lc_model_config_parse(text, sizeof(text) - 1, "text", &config, &test_err);
        code = code != LC_OK ? code : lc_weight_files_open(dir.path, &files, &test_err);
        code = code != LC_OK ? code
                             : lc_weights_load(&config, &spec, files, device, &loaded, &test_err);
        is_done = lc_fault_count(LC_FAULT_ALLOC) < at;
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        lc_weight_files_close(files);
        if (code != (is_done ? LC_OK : LC_ERR_MEMORY)) {
            fail_msg("allocation %lld: %s (%s)", (long long)at, lc_code_name(code),
                     test_err.message);
        }
    }
    assert_true(at > 10);
}

static int finish(void **state)
{
    (void)state;
    release_dir();
    lc_arena_release(&arena);
    free(block);
    device->ops->free(device, device_block);
    if (device != &fake) {
        device->ops->close(device);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),    cmocka_unit_test(test_load),
        cmocka_unit_test(test_strips),    cmocka_unit_test(test_large_tensor),
        cmocka_unit_test(test_publish),   cmocka_unit_test(test_errors),
        cmocka_unit_test(test_tied_head), cmocka_unit_test(test_failed_allocations),
    };
    test_seed();
    lc_arena_init(&arena, "test");
    return cmocka_run_group_tests(tests, open_device, finish);
}
