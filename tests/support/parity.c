/* See parity.h. */
#include "parity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lorac/comm.h"
#include "ops/backend.h"

#define PARITY_MAX_TOKENS ((int64_t)1 << 20) /* of an example; far above any test's */

static lc_code load(parity_run *run, lc_err *err)
{
    const parity_options *options = &run->options;
    LC_TRY(lc_model_config_load(options->model_dir, &run->config, err));
    LC_TRY(lc_adapter_spec_load(options->adapter_dir, &run->config, &run->spec, err));
    void *memory = NULL;
    LC_TRY(lc_new(&memory, (size_t)run->spec.master_count, sizeof(float), "masters", err));
    run->master = memory;
    LC_TRY(lc_adapter_load(options->adapter_dir, &run->spec, &run->config, run->master, err));
    if (options->dataset_path != NULL) {
        LC_TRY(lc_dataset_load_tokenized(options->dataset_path, run->config.vocab,
                                         PARITY_MAX_TOKENS, &run->dataset, err));
    }
    return lc_weight_files_open(options->model_dir, &run->files, err);
}

lc_device_kind parity_device(void)
{
    const char *name = getenv("LORAC_TEST_DEVICE");
    for (int kind = 0; name != NULL && kind < LC_DEVICE_KIND_COUNT; kind++) {
        if (strcmp(name, lc_device_kind_name((lc_device_kind)kind)) == 0) {
            return (lc_device_kind)kind;
        }
    }
    return LC_DEVICE_CPU;
}

lc_dtype parity_dtype(void)
{
    const char *name = getenv("LORAC_TEST_DTYPE");
    return name != NULL && strcmp(name, "bf16") == 0 ? LC_BF16 : LC_F32;
}

static lc_code open_model(parity_run *run, lc_err *err)
{
    const parity_options *options = &run->options;
    const lc_device_options device = {.kind = options->device == LC_DEVICE_AUTO ? LC_DEVICE_CPU
                                                                                : options->device,
                                      .threads = options->threads};
    const lc_model_options model_options = {.dtype = options->dtype,
                                            .training = !options->generation,
                                            .dropout = options->dropout,
                                            .recompute = options->recompute,
                                            .tokens = options->tokens,
                                            .cache_slots = options->generation ? 1 : 0,
                                            .cache_rows =
                                                options->generation ? run->dataset.longest : 0};
    LC_TRY(lc_device_open(&device, &run->device, err));
    LC_TRY(lc_model_open(&run->config, &run->spec, run->files, &model_options, run->device,
                         &run->model, err));
    run->model_is_open = true;
    return lc_model_set_masters(&run->model, run->master, err);
}

lc_code parity_open(const parity_options *options, parity_run **out, lc_err *err)
{
    parity_run *run = lc_calloc(1, sizeof *run);
    if (run == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory");
    }
    run->options = *options;
    lc_code code = load(run, err);
    if (code == LC_OK) {
        code = open_model(run, err);
    }
    if (code != LC_OK) {
        parity_close(run);
        return code;
    }
    *out = run;
    return LC_OK;
}

void parity_close(parity_run *run)
{
    if (run == NULL) {
        return;
    }
    if (run->model_is_open) {
        lc_model_close(&run->model);
    }
    if (run->device != NULL) {
        run->device->ops->close(run->device);
    }
    lc_weight_files_close(run->files);
    lc_dataset_release(&run->dataset);
    lc_free(run->master);
    lc_free(run);
}

/* ---- gradients ---- */

/* The next micro-batch into *batch; false when all examples were taken. */
static bool next_batch(parity_run *run, const parity_step *step, lc_packer *packer, int64_t *next,
                       lc_batch *batch)
{
    if (step->documents == 0) {
        return lc_packer_next(packer, batch);
    }
    lc_batch_clear(batch);
    const int64_t end = *next + step->documents;
    for (; *next < end && *next < run->dataset.example_count; (*next)++) {
        lc_batch_add(batch, &run->dataset, *next);
    }
    return batch->document_count > 0;
}

static lc_code add_gradients(parity_run *run, const parity_step *step, lc_arena *arena, lc_err *err)
{
    const int64_t count = run->dataset.example_count;
    void *memory = NULL;
    lc_batch batch;
    lc_packer packer;
    LC_TRY(lc_arena_alloc(arena, (size_t)count, sizeof(int64_t), &memory, err));
    int64_t *examples = memory;
    for (int64_t i = 0; i < count; i++) {
        examples[i] = i;
    }
    LC_TRY(lc_batch_init(&batch, run->options.tokens, arena, err));
    LC_TRY(lc_packer_init(&packer, &run->dataset, run->options.tokens, step->packing, count, arena,
                          err));
    packer.least_shared = step->shares && lc_model_least_shared(&run->model, true) > 0 ? 1 : 0;
    lc_packer_begin(&packer, examples, count);
    int64_t next = 0;
    while (next_batch(run, step, &packer, &next, &batch)) {
        LC_TRY(lc_model_batch(&run->model, &batch, true, step->seed, step->step, err));
    }
    return LC_OK;
}

lc_code parity_gradient(parity_run *run, const parity_step *step, float *grad, lc_sums *sums,
                        lc_err *err)
{
    const size_t bytes = (size_t)run->spec.master_count * sizeof(float);
    lc_device *device = run->device;
    lc_arena arena;
    memset(sums, 0, sizeof *sums);
    lc_arena_init(&arena, "parity");
    lc_code code = device->ops->zero(device, run->model.grad, bytes, err);
    code = code == LC_OK ? lc_model_clear_sums(&run->model, err) : code;
    code = code == LC_OK ? add_gradients(run, step, &arena, err) : code;
    code = code == LC_OK ? lc_model_read_sums(&run->model, sums, err) : code;
    if (code == LC_OK) {
        code = device->ops->download(device, grad, run->model.grad, bytes, err);
    }
    lc_arena_release(&arena);
    return code;
}

/* ---- training ---- */

static lc_code keep_loss(void *context, const lc_metrics *metrics, const lc_progress *progress,
                         lc_err *err)
{
    double *losses = context;
    losses[progress->step - 1] = metrics->train_loss;
    (void)err;
    return LC_OK;
}

lc_code parity_ignore_epoch(void *context, int64_t epoch, const lc_metrics *metrics,
                            const float *master, lc_err *err)
{
    (void)context, (void)epoch, (void)metrics, (void)master, (void)err;
    return LC_OK;
}

lc_code parity_ignore_checkpoint(void *context, lc_train_state *state, lc_err *err)
{
    (void)context, (void)state, (void)err;
    return LC_OK;
}

lc_code parity_train(parity_run *run, const lc_train_options *options, double *losses, lc_err *err)
{
    const lc_train_hooks hooks = {losses, keep_loss, parity_ignore_epoch, parity_ignore_checkpoint};
    lc_trainer *trainer = NULL;
    lc_comm comm;
    lc_comm_single_init(&comm);
    LC_TRY(lc_trainer_open(&run->model, &run->dataset, NULL, &comm, options, &trainer, err));
    lc_code code = lc_trainer_run(trainer, &hooks, NULL, err);
    if (code == LC_OK) {
        code = lc_model_get_masters(&run->model, run->master, err);
    }
    lc_trainer_close(trainer);
    return code;
}

/* ---- logits ---- */

static lc_code decode_chunk(parity_run *run, const int32_t *ids, int64_t first, int64_t count,
                            int64_t length, float *logits, lc_err *err)
{
    int32_t positions[PARITY_CHUNK], slots[PARITY_CHUNK], want[PARITY_CHUNK], lengths[PARITY_CHUNK];
    for (int32_t i = 0; i < count; i++) {
        positions[i] = (int32_t)first + i;
        slots[i] = 0;
        want[i] = i;
        lengths[i] = (int32_t)length;
    }
    const lc_decode_args args = {.token_count = (int32_t)count,
                                 .ids = ids + first,
                                 .positions = positions,
                                 .slots = slots,
                                 .lengths = lengths,
                                 .want = want,
                                 .want_count = (int32_t)count,
                                 .logits = logits + first * run->config.vocab};
    return lc_model_decode(&run->model, &args, err);
}

lc_code parity_logits(parity_run *run, int64_t example, int64_t chunk, float **logits, lc_err *err)
{
    const int64_t begin = run->dataset.offsets[example];
    const int64_t length = run->dataset.offsets[example + 1] - begin;
    void *memory = NULL;
    if (chunk < 1 || chunk > PARITY_CHUNK) {
        return lc_fail(err, LC_ERR_USAGE, "chunk must be in 1..%d", PARITY_CHUNK);
    }
    LC_TRY(lc_new(&memory, (size_t)(length * run->config.vocab), sizeof(float), "logits", err));
    *logits = memory;
    for (int64_t first = 0; first < length; first += chunk) {
        const int64_t count = length - first < chunk ? length - first : chunk;
        const lc_code code =
            decode_chunk(run, run->dataset.input_ids + begin, first, count, length, *logits, err);
        if (code != LC_OK) {
            lc_free(*logits);
            *logits = NULL;
            return code;
        }
    }
    return LC_OK;
}

/* ---- adapter tensors by name ---- */

static void fill_tensor(const parity_run *run, int32_t layer, lc_module_kind kind, bool is_b,
                        parity_tensor *out)
{
    const lc_lora_slot *slot = &run->spec.slots[layer][kind];
    (void)snprintf(out->name, sizeof out->name,
                   "base_model.model.model.layers.%d.%s.lora_%c.weight", layer,
                   lc_module_path(kind), is_b ? 'B' : 'A');
    out->rows = is_b ? lc_module_out(&run->config, kind) : slot->rank;
    out->cols = is_b ? slot->rank : lc_module_in(&run->config, kind);
    out->offset = is_b ? slot->b_offset : slot->a_offset;
    out->ld = is_b ? slot->r16 : out->cols;
}

bool parity_tensor_at(const parity_run *run, int64_t index, parity_tensor *out)
{
    int64_t seen = 0;
    for (int32_t layer = 0; layer < run->config.layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            if (run->spec.slots[layer][kind].rank == 0) {
                continue;
            }
            if (seen == index || seen + 1 == index) {
                fill_tensor(run, layer, (lc_module_kind)kind, index != seen, out);
                return true;
            }
            seen += 2;
        }
    }
    return false;
}
