/*
 * Opening a base and an adapter for inference; see engine.h.
 */
#include "infer/engine.h"

#include <string.h>

#include "base/params.h"
#include "base/thread.h"
#include "ops/backend.h"

lc_code lc_engine_threads(int64_t asked, int *threads, lc_err *err)
{
    int64_t count = asked;
    if (asked == 0) {
        LC_TRY(lc_param_int(LC_PARAM_THREADS, lc_cpu_count(), &count, err));
    }
    if (count < 1 || count > LC_MAX_THREADS) {
        return lc_fail(err, LC_ERR_USAGE, "%lld threads: expected 1 to %d", (long long)count,
                       LC_MAX_THREADS);
    }
    *threads = (int)count;
    return LC_OK;
}

static lc_code load_adapter(lc_engine *engine, const char *adapter_dir, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_adapter_spec_load(adapter_dir, &engine->config, engine->spec, err));
    LC_TRY(lc_new(&memory, (size_t)engine->spec->master_count, sizeof(float), "the adapter", err));
    engine->master = memory;
    return lc_adapter_load(adapter_dir, engine->spec, &engine->config, engine->master, err);
}

lc_code lc_engine_load(const char *base_dir, const char *adapter_dir, lc_engine *engine,
                       lc_err *err)
{
    lc_code code;
    void *memory = NULL;
    memset(engine, 0, sizeof *engine);
    LC_TRY_GOTO(lc_model_config_load(base_dir, &engine->config, err));
    LC_TRY_GOTO(lc_model_config_load_generation(base_dir, &engine->config, err));
    LC_TRY_GOTO(lc_weight_files_open(base_dir, &engine->files, err));
    LC_TRY_GOTO(lc_new(&memory, 1, sizeof *engine->spec, "the adapter's table", err));
    engine->spec = memory;
    engine->spec->first_layer = engine->config.layers;
    if (adapter_dir != NULL) {
        LC_TRY_GOTO(load_adapter(engine, adapter_dir, err));
    }
    return LC_OK;
fail:
    lc_engine_close(engine);
    return code;
}

static lc_dtype dtype_of(const char *name, const lc_device *device)
{
    const bool is_auto = strcmp(name, "auto") == 0;
    return strcmp(name, "bf16") == 0 || (is_auto && !device->is_host) ? LC_BF16 : LC_F32;
}

lc_code lc_engine_start(lc_engine *engine, const lc_engine_sizes *sizes, lc_err *err)
{
    int threads = 0;
    void *memory = NULL;
    lc_model_options options = {.tokens = sizes->tokens,
                                .cache_slots = sizes->cache_slots,
                                .cache_rows = sizes->cache_rows};
    LC_TRY(lc_engine_threads(sizes->threads, &threads, err));
    const lc_device_options device = {
        .kind = sizes->device, .threads = threads, .attention = LC_ATTENTION_LORAC};
    LC_TRY(lc_device_open(&device, &engine->device, err));
    options.dtype = dtype_of(sizes->dtype, engine->device);
    if (sizes->adapters > 0) {
        if (engine->master != NULL) {
            return lc_fail(err, LC_ERR_USAGE, "an engine with an adapter has no room for others");
        }
        LC_TRY(
            lc_adapter_spec_room(&engine->config, sizes->rank, sizes->adapters, engine->spec, err));
    }
    LC_TRY(lc_new(&memory, 1, sizeof *engine->model, "the model", err));
    const lc_code code = lc_model_open(&engine->config, engine->spec, engine->files, &options,
                                       engine->device, memory, err);
    if (code != LC_OK) {
        lc_free(memory);
        return code;
    }
    engine->model = memory;
    if (engine->master != NULL) {
        LC_TRY(lc_model_set_masters(engine->model, engine->master, err));
        lc_free(engine->master);
        engine->master = NULL;
    }
    return LC_OK;
}

lc_code lc_engine_load_adapter(lc_engine *engine, int32_t place, const char *adapter_dir,
                               lc_err *err)
{
    lc_code code;
    void *memory = NULL;
    float *master = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof(lc_adapter_spec), "the adapter's table", err));
    lc_adapter_spec *spec = memory;
    LC_TRY_GOTO(lc_adapter_spec_load(adapter_dir, &engine->config, spec, err));
    LC_TRY_GOTO(lc_new(&memory, (size_t)spec->master_count, sizeof(float), "the adapter", err));
    master = memory;
    LC_TRY_GOTO(lc_adapter_load(adapter_dir, spec, &engine->config, master, err));
    code = lc_model_load_adapter(engine->model, place, spec, master, err);
fail:
    lc_free(master);
    lc_free(spec);
    return code;
}

void lc_engine_drop_adapter(lc_engine *engine, int32_t place)
{
    lc_model_drop_adapter(engine->model, place);
}

void lc_engine_close(lc_engine *engine)
{
    if (engine->model != NULL) {
        lc_model_close(engine->model);
        lc_free(engine->model);
    }
    if (engine->device != NULL) {
        engine->device->ops->close(engine->device);
    }
    if (engine->files != NULL) {
        lc_weight_files_close(engine->files);
    }
    lc_free(engine->master);
    lc_free(engine->spec);
    memset(engine, 0, sizeof *engine);
}
