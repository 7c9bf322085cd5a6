/*
 * The memory plan beside what the device has handed out: of device memory at most, while a model is
 * opened and used, and of pinned host memory. Contexts, libraries and graphs are not in the plan;
 * the emulator has none.
 */
#include "random_run.h"

#include "emu_counters.h"
#include "generation.h"
#include "job/memory.h"
#include "lorac/mem.h"

#define MOST_OFF      0.02
#define STAGE_BYTES   ((size_t)4 << 20) /* of each reader, while weights are loaded (weights.h) */
#define TINY_TOKENS   200
#define MEDIUM_TOKENS 1500

typedef struct situation {
    const char *name;
    random_options options;
} situation;

#define TINY                                                                               \
    {                                                                                      \
        .family = "llama", .layers = 2, .width = 64, .mlp = 96, .heads = 4, .kv_heads = 2, \
        .head_dim = 16, .vocab = 131, .rank = 5                                            \
    }
#define TINY_NORMED                                                                         \
    {                                                                                       \
        .family = "qwen3", .layers = 3, .width = 72, .mlp = 104, .heads = 4, .kv_heads = 2, \
        .head_dim = 24, .vocab = 301, .rank = 40                                            \
    }
#define MEDIUM                                                                                \
    {                                                                                         \
        .family = "qwen2", .layers = 2, .width = 512, .mlp = 1408, .heads = 8, .kv_heads = 2, \
        .head_dim = 64, .vocab = 4000, .rank = 16                                             \
    }

static const situation situations[] = {
    {"tiny, bf16", {.shape = TINY, .dtype = LC_BF16, .tokens = TINY_TOKENS}},
    {"tiny, fp32", {.shape = TINY, .dtype = LC_F32, .tokens = TINY_TOKENS}},
    {"tiny, dropout", {.shape = TINY, .dtype = LC_BF16, .dropout = 0.1f, .tokens = TINY_TOKENS}},
    {"q/k norm, rank 40", {.shape = TINY_NORMED, .dtype = LC_BF16, .tokens = TINY_TOKENS}},
    {"q/k norm, fp32, dropout",
     {.shape = TINY_NORMED, .dtype = LC_F32, .dropout = 0.2f, .tokens = TINY_TOKENS}},
    {"medium, bf16", {.shape = MEDIUM, .dtype = LC_BF16, .tokens = MEDIUM_TOKENS}},
    {"medium, generation",
     {.shape = MEDIUM,
      .dtype = LC_BF16,
      .generation = true,
      .tokens = 64,
      .cache_slots = 4,
      .cache_rows = MEDIUM_TOKENS}},
};

/* The plan of a job, or of the model alone where it generates. */
static void make_plan(const random_options *options, lc_arena *arena, lc_plan *plan)
{
    const lc_model_config config = random_config(&options->shape);
    lc_adapter_spec *spec = random_adapter(&options->shape, &config);
    const lc_job_resolved resolved = {
        .device = LC_DEVICE_EMU, .dtype = options->dtype, .batch_size = 2};
    const lc_job_extent job = {.config = &config,
                               .adapter = spec,
                               .resolved = &resolved,
                               .dropout = (double)options->dropout,
                               .longest = options->tokens};
    const lc_model_options model = {.dtype = options->dtype,
                                    .memory = &lc_cuda_memory,
                                    .tokens = options->tokens,
                                    .cache_slots = options->cache_slots,
                                    .cache_rows = options->cache_rows};
    assert_ok(options->generation
                  ? lc_model_plan(&config, spec, &model, arena, plan, &test_err)
                  : lc_job_memory_plan(&job, options->tokens, 0, arena, plan, &test_err));
    lc_free(spec);
}

/* Bytes of host memory in the plan that are pinned: of jobs only. */
static int64_t pinned_in(const lc_plan *plan)
{
    static const char *const names[] = {"mirrors of the batch", "results of steps",
                                        "weights on their way"};
    int64_t bytes = 0;
    for (int32_t i = 0; i < plan->count; i++) {
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) {
            bytes += strcmp(plan->buffers[i].name, names[j]) == 0 ? plan->buffers[i].bytes : 0;
        }
    }
    return bytes;
}

/* What a job does after it has opened its model: a step, recorded and replayed, and an update. */
static void use(random_run *run, int64_t tokens)
{
    static const lc_update_options update = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    const lc_dataset data = random_dataset(2, tokens / 8, run->config.vocab, &run->arena);
    const lc_batch batch = random_batch(&data, 0, 2, tokens, &run->arena);
    for (uint32_t step = 0; step < 3; step++) {
        assert_ok(lc_model_batch(&run->model, &batch, true, 1, step, &test_err));
        assert_ok(lc_model_update(&run->model, &update, 1.0, 1e-3, &test_err));
    }
    assert_ok(run->device->ops->sync(run->device, &test_err));
}

static void check_close(const char *what, int64_t planned, size_t found)
{
    const double off = (double)found / (double)planned - 1.0;
    print_message("  %-8s planned %10lld bytes, handed out %10zu (%+.2f %%)\n", what,
                  (long long)planned, found, 100.0 * off);
    assert_true(off < MOST_OFF && off > -MOST_OFF);
}

static void check(const situation *s)
{
    random_options options = s->options;
    lc_arena arena;
    lc_plan plan;
    lc_arena_init(&arena, "plan");
    make_plan(&options, &arena, &plan);
    options.device = LC_DEVICE_EMU;
    emu_counters_clear();
    print_message("%s\n", s->name);
    random_run *run = random_run_open(&options);
    const emu_memory_use opened = emu_memory_in_use();
    if (!options.generation) {
        use(run, options.tokens);
        check_close("pinned", pinned_in(&plan), emu_memory_in_use().pinned_bytes);
        assert_true(opened.pinned_peak_bytes <=
                    opened.pinned_bytes + (size_t)run->device->reader_count * STAGE_BYTES);
    }
    const emu_memory_use used = emu_memory_in_use();
    check_close("device", lc_plan_total(&plan), used.device_peak_bytes);
    assert_int_equal(used.device_peak_bytes, used.device_bytes); /* nothing came and went */
    random_run_close(run);
    assert_int_equal(emu_memory_in_use().device_bytes, 0);
    assert_int_equal(emu_memory_in_use().pinned_bytes, 0);
    lc_arena_release(&arena);
}

static void test_plan(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof situations / sizeof situations[0]; i++) {
        check(&situations[i]);
    }
}

/* Adapters that rows choose among: each has what its targets and ranks need, from its load to its
 * drop, and nothing else is left of the way there. */
static void test_adapters(void **state)
{
    (void)state;
    enum { PLACES = 3 };
    const lc_model_options options = {
        .dtype = LC_BF16, .tokens = 32, .cache_slots = 4, .cache_rows = 64};
    const lc_device_options device = {.kind = LC_DEVICE_EMU};
    lc_engine engine;
    emu_counters_clear();
    assert_ok(lc_engine_load(LC_SOURCE_DIR "/tests/golden/cases/smollm3/model", NULL, &engine,
                             &test_err));
    assert_ok(lc_adapter_spec_room(&engine.config, LC_MAX_RANK, PLACES, engine.spec, &test_err));
    assert_ok(lc_backend_entry()->open(&device, &engine.device, &test_err));
    engine.model = lc_calloc(1, sizeof *engine.model);
    assert_non_null(engine.model);
    assert_ok(lc_model_open(&engine.config, engine.spec, engine.files, &options, engine.device,
                            engine.model, &test_err));
    const size_t alone = emu_memory_in_use().device_bytes;
    const lc_adapter_place *places = engine.model->places;
    check_close("device", lc_plan_total(&engine.model->plan), alone);
    for (int32_t i = 0; i < PLACES; i++) {
        load_other_adapter(&engine, i, i);
    }
    assert_true(2 * places[2].bytes < places[0].bytes); /* one layer of five */
    assert_int_equal(emu_memory_in_use().device_bytes,
                     alone + (size_t)(places[0].bytes + places[1].bytes + places[2].bytes));
    load_other_adapter(&engine, 0, 2); /* over another one */
    assert_int_equal(places[0].bytes, places[2].bytes);
    lc_engine_drop_adapter(&engine, 1);
    lc_engine_drop_adapter(&engine, 2);
    assert_int_equal(emu_memory_in_use().device_bytes, alone + (size_t)places[0].bytes);
    lc_engine_close(&engine);
    assert_int_equal(emu_memory_in_use().device_bytes, 0);
}

/* A matrix that is converted on its way, in pieces of what the device keeps for that. */
static void check_upload(lc_device *device, lc_dtype from_dtype, int64_t rows, int64_t cols)
{
    const lc_dtype to_dtype = from_dtype == LC_F32 ? LC_BF16 : LC_F32;
    const int64_t ld = cols + 8;
    const size_t count = (size_t)(rows * ld), bytes = count * lc_dtype_bytes(to_dtype);
    float *values = lc_calloc(count, sizeof *values);
    char *from = lc_calloc(count, sizeof(float)), *expected = lc_calloc(1, bytes),
         *found = lc_calloc(1, bytes);
    void *memory = NULL;
    assert_true(values != NULL && from != NULL && expected != NULL && found != NULL);
    for (int64_t i = 0; i < rows; i++) { /* the columns behind `cols` stay zero */
        test_fill(values + i * ld, (size_t)cols, -1, 1);
    }
    assert_true(from_dtype == LC_F32 ? memcpy(from, values, count * sizeof *values) != NULL
                                     : lc_convert(values, LC_F32, from, from_dtype, count));
    assert_true(lc_convert(from, from_dtype, expected, to_dtype, count));
    assert_ok(device->ops->alloc(device, bytes, &memory, &test_err));
    assert_ok(device->ops->upload_mat(device, (lc_mat){memory, rows, cols, ld, to_dtype, 0},
                                      (lc_mat){from, rows, cols, ld, from_dtype, 0}, &test_err));
    assert_ok(device->ops->download(device, found, memory, bytes, &test_err));
    assert_memory_equal(found, expected, bytes);
    device->ops->free(device, memory);
    lc_free(values);
    lc_free(from);
    lc_free(expected);
    lc_free(found);
}

static void test_upload(void **state)
{
    (void)state;
    const lc_device_options options = {.kind = LC_DEVICE_EMU};
    lc_device *device = NULL;
    assert_ok(lc_backend_entry()->open(&options, &device, &test_err));
    const size_t pinned = emu_memory_in_use().pinned_bytes;
    emu_counters_clear();
    check_upload(device, LC_BF16, 3, 150000); /* a row is wider than the memory */
    check_upload(device, LC_F32, 701, 360);
    check_upload(device, LC_BF16, 5, 1);
    assert_int_equal(pinned, lc_cuda_memory.pinned_bytes);
    assert_int_equal(emu_memory_in_use().pinned_peak_bytes, pinned);
    device->ops->close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plan), cmocka_unit_test(test_adapters),
                                       cmocka_unit_test(test_upload)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
