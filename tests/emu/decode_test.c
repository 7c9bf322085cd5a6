/*
 * What a decoded token costs, counted: once its sizes are recorded, a step of generation is one
 * launch of a graph, one copy of the tokens to the host, and one wait for the tokens of the step
 * before. The backend is linked in, so that the linker can lead its calls through the counters
 * here.
 */
#include <cuda_runtime_api.h>

#include "emu_counters.h"
#include "infer/engine.h"
#include "infer/generate.h"
#include "kernels.h"
#include "lorac/backend.h"
#include "lorac/mem.h"
#include "testing.h"

#define WARM_STEPS 6 /* a size is run, recorded, replayed */
#define STEPS      10

const lc_backend *lc_backend_entry(void);

static struct {
    int graphs, stream_waits, event_waits, copies, embeds;
} calls;

/* The linker's names for a function that is called instead, and for what it was. */
#define COUNTED(counter, result, name, parameters, arguments) \
    result __real_##name parameters;                          \
    result __wrap_##name parameters;                          \
    result __wrap_##name parameters                           \
    {                                                         \
        calls.counter++;                                      \
        return __real_##name arguments;                       \
    }

COUNTED(graphs, cudaError_t, cudaGraphLaunch, (cudaGraphExec_t exec, cudaStream_t stream),
        (exec, stream))
COUNTED(stream_waits, cudaError_t, cudaStreamSynchronize, (cudaStream_t stream), (stream))
COUNTED(event_waits, cudaError_t, cudaEventSynchronize, (cudaEvent_t event), (event))
COUNTED(copies, cudaError_t, cudaMemcpyAsync,
        (void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream),
        (to, from, bytes, kind, stream))
COUNTED(embeds, cudaError_t, lc_cuda_embed, (const lc_embed_args *args, cudaStream_t stream),
        (args, stream))

static void open_engine(const char *name, lc_dtype dtype, int64_t slots, int64_t rows,
                        lc_engine *engine)
{
    char model[LC_MAX_PATH_BYTES], adapter[LC_MAX_PATH_BYTES];
    const lc_device_options device = {.kind = LC_DEVICE_EMU};
    const lc_model_options options = {
        .dtype = dtype, .tokens = 32, .cache_slots = slots, .cache_rows = rows};
    (void)snprintf(model, sizeof model, "%s/tests/golden/cases/%s/model", LC_SOURCE_DIR, name);
    (void)snprintf(adapter, sizeof adapter, "%s/tests/golden/cases/%s/adapter", LC_SOURCE_DIR,
                   name);
    assert_ok(lc_engine_load(model, adapter, engine, &test_err));
    assert_ok(lc_backend_entry()->open(&device, &engine->device, &test_err));
    lc_model *memory = lc_calloc(1, sizeof *memory);
    assert_non_null(memory);
    assert_ok(lc_model_open(&engine->config, engine->spec, engine->files, &options, engine->device,
                            memory, &test_err));
    engine->model = memory;
    assert_ok(lc_model_set_masters(engine->model, engine->master, &test_err));
}

/* Kernels and products since the counters were cleared. */
static uint64_t launches(void)
{
    emu_counter counters[256];
    uint64_t count = 0;
    const size_t names = emu_counters_get(counters, 256);
    for (size_t i = 0; i < names && i < 256; i++) {
        count += strncmp(counters[i].name, "memcpy", 6) != 0 ? counters[i].launches : 0;
    }
    return count;
}

static void run_steps(lc_generator *generator, int count, int32_t sequences)
{
    for (int i = 0; i < count; i++) {
        const lc_generated *tokens = NULL;
        int32_t token_count = 0;
        assert_ok(lc_generator_step(generator, &tokens, &token_count, &test_err));
        assert_int_equal(token_count, sequences);
    }
}

/* `count` sequences in `slots` of `rows` tokens: a step of any of the rounded sizes. Returns the
 * kernels and products that the graph holds. */
static int count_steps(const char *name, lc_dtype dtype, int64_t slots, int64_t rows, int32_t count)
{
    lc_engine engine;
    lc_generator *generator = NULL;
    const int32_t prompt[3] = {3, 5, 7};
    open_engine(name, dtype, slots, rows, &engine);
    assert_ok(lc_generator_open(engine.model, NULL, 0, &generator, &test_err));
    for (int32_t i = 0; i < count; i++) {
        const lc_generate_request request = {
            .number = i,
            .prompt = prompt,
            .prompt_count = 1 + i % 3,
            .max_tokens = 100,
            .sampling = {.temperature = i % 2, .top_p = 0.9, .seed = 1},
            .stream = (uint32_t)i};
        assert_ok(lc_generator_add(generator, &request, &test_err));
    }
    run_steps(generator, WARM_STEPS, count);
    assert_ok(engine.device->ops->sync(engine.device, &test_err));
    emu_counters_clear();
    memset(&calls, 0, sizeof calls);
    run_steps(generator, STEPS, count);
    assert_int_equal(calls.graphs, STEPS);
    assert_int_equal(calls.embeds, 0); /* nothing is launched by itself */
    assert_int_equal(calls.copies, STEPS);
    assert_int_equal(calls.event_waits, STEPS);
    assert_int_equal(calls.stream_waits, 0);
    assert_ok(engine.device->ops->sync(engine.device, &test_err));
    const uint64_t kernels = launches();
    assert_int_equal(kernels % STEPS, 0);
    lc_generator_cancel(generator);
    lc_generator_close(generator);
    lc_engine_close(&engine);
    return (int)(kernels / STEPS);
}

static void a_step_is_one_launch(void **state)
{
    (void)state;
    static const lc_dtype dtypes[] = {LC_F32, LC_BF16};
    for (int i = 0; i < 2; i++) {
        (void)count_steps("llama-patterns", dtypes[i], 1, 120, 1);
        (void)count_steps("smollm3", dtypes[i], 10, 120, 10);
    }
}

/* Two layers with all modules adapted. One: norm, S, product, rotation, cache, attention, S,
 * product, norm, S, product, swiglu with S, product; a second kernel of attention where keys may be
 * several parts. Beside them embedding, two gathers, norm, head, choice, advance. */
static void a_graph_holds_what_is_planned(void **state)
{
    (void)state;
    assert_int_equal(count_steps("qwen3", LC_BF16, 10, 120, 3), 2 * 13 + 7);
    assert_int_equal(count_steps("qwen3", LC_BF16, 10, 400, 3), 2 * 14 + 7);
}

static bool is_replayed(lc_device *device, void *memory, uint64_t key)
{
    bool replayed = false;
    assert_ok(device->ops->record_begin(device, "graph", key, &replayed, &test_err));
    if (!replayed) {
        assert_ok(device->ops->zero(device, memory, 16, &test_err));
        assert_ok(device->ops->record_end(device, true, &test_err));
    }
    return replayed;
}

/* Of more sequences than are kept, those of lately are launched as graphs. */
static void new_graphs_take_the_place_of_old_ones(void **state)
{
    (void)state;
    enum { KEYS = 200, KEPT = 64 };
    lc_device *device = NULL;
    void *memory = NULL;
    const lc_device_options options = {.kind = LC_DEVICE_EMU};
    assert_ok(lc_backend_entry()->open(&options, &device, &test_err));
    assert_ok(device->ops->alloc(device, 16, &memory, &test_err));
    for (uint64_t key = 1; key <= KEYS; key++) {
        assert_false(is_replayed(device, memory, key));
        assert_false(is_replayed(device, memory, key));
        assert_true(is_replayed(device, memory, key));
        assert_true(key == 1 || is_replayed(device, memory, 1)); /* which is never old */
    }
    for (uint64_t key = KEYS - KEPT + 2; key <= KEYS; key++) {
        assert_true(is_replayed(device, memory, key));
    }
    assert_false(is_replayed(device, memory, 2));
    device->ops->free(device, memory);
    device->ops->close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_step_is_one_launch),
                                       cmocka_unit_test(a_graph_holds_what_is_planned),
                                       cmocka_unit_test(new_graphs_take_the_place_of_old_ones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
