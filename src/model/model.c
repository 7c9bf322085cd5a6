/*
 * Opening and closing a model, moving masters in and out, and the two entry points: one packed
 * micro-batch (training, evaluation) and one generation step. The passes themselves are in
 * forward.c, backward.c, head.c.
 */
#include "model/model.h"

#include <string.h>

#include "model/layout.h"
#include "model/passes.h"
#include "model/rope.h"

#define LC_HEAD_ROWS \
    256 /* rows of one chunk of logits: V*1 KiB of memory, wide enough for a quick GEMM */

static int64_t head_rows_of(const lc_model_options *options)
{
    return options->tokens < LC_HEAD_ROWS ? options->tokens : LC_HEAD_ROWS;
}

/* What the walk over the buffers needs: sizes and the host arrays it fills. */
static lc_code prepare(lc_model *model, const lc_model_config *config, const lc_adapter_spec *spec,
                       const lc_model_options *options, lc_err *err)
{
    void *memory = NULL;
    lc_arena_init(&model->arena, "model");
    model->config = *config;
    model->spec = *spec;
    model->dtype = options->dtype;
    model->training = options->training;
    model->dropout = options->dropout;
    model->tokens = options->tokens;
    model->head_rows = head_rows_of(options);
    model->cache_slots = options->cache_slots;
    model->cache_rows = options->cache_rows;
    if (options->tokens < 1 || options->tokens > INT32_MAX / 2) {
        return lc_fail(err, LC_ERR_INVALID, "a micro-batch of %lld tokens is out of range",
                       (long long)options->tokens);
    }
    const size_t layers = (size_t)config->layers;
    LC_TRY(lc_arena_alloc(&model->arena, layers, sizeof *model->layers, &memory, err));
    model->layers = memory;
    LC_TRY(lc_arena_alloc(&model->arena, layers, sizeof *model->k_cache, &memory, err));
    model->k_cache = memory;
    LC_TRY(lc_arena_alloc(&model->arena, layers, sizeof *model->v_cache, &memory, err));
    model->v_cache = memory;
    return LC_OK;
}

lc_code lc_model_plan(const lc_model_config *config, const lc_adapter_spec *spec,
                      const lc_model_options *options, lc_arena *arena, lc_plan *plan, lc_err *err)
{
    lc_model *model = lc_calloc(1, sizeof *model);
    if (model == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to plan");
    }
    lc_code code = prepare(model, config, spec, options, err);
    if (code == LC_OK) {
        code = lc_plan_init(plan, arena, err);
    }
    if (code == LC_OK) {
        code = lc_model_layout(model, plan, false, err);
    }
    lc_arena_release(&model->arena);
    lc_free(model);
    return code;
}

/* One block per class. */
static lc_code allocate_blocks(lc_model *model, lc_err *err)
{
    for (int i = 0; i < LC_PLAN_CLASS_COUNT; i++) {
        const int64_t bytes = model->plan.class_bytes[i];
        if (bytes > 0 && model->device->ops->alloc(model->device, (size_t)bytes, &model->blocks[i],
                                                   err) != LC_OK) {
            return lc_err_context(err, "%s need %lld MiB", lc_plan_class_name((lc_plan_class)i),
                                  (long long)(bytes >> 20));
        }
    }
    return LC_OK;
}

static lc_code allocate_staging(lc_model *model, lc_err *err)
{
    const size_t table = (size_t)model->tokens * (size_t)(model->config.head_dim / 2);
    void *memory = NULL;
    LC_TRY(lc_arena_alloc(&model->arena, table, sizeof(float), &memory, err));
    model->host_cos = memory;
    LC_TRY(lc_arena_alloc(&model->arena, table, sizeof(float), &memory, err));
    model->host_sin = memory;
    LC_TRY(lc_arena_alloc(&model->arena, 2 * (size_t)model->tokens, sizeof(float), &memory, err));
    model->host_rows = memory;
    if (model->dropout > 0.0f) {
        const size_t rows = (size_t)model->tokens;
        LC_TRY(lc_arena_alloc(&model->arena, rows, sizeof(int64_t), &memory, err));
        model->host_examples = memory;
        LC_TRY(lc_arena_alloc(&model->arena, rows, sizeof(int32_t), &memory, err));
        model->host_positions = memory;
    }
    return LC_OK;
}

lc_code lc_model_open(const lc_model_config *config, const lc_adapter_spec *spec,
                      const lc_weight_files *files, const lc_model_options *options,
                      lc_device *device, lc_model *model, lc_err *err)
{
    lc_code code;
    memset(model, 0, sizeof *model);
    model->device = device;
    LC_TRY_GOTO(prepare(model, config, spec, options, err));
    LC_TRY_GOTO(lc_plan_init(&model->plan, &model->arena, err));
    LC_TRY_GOTO(lc_model_layout(model, &model->plan, false, err));
    LC_TRY_GOTO(allocate_blocks(model, err));
    LC_TRY_GOTO(lc_model_layout(model, &model->plan, true, err));
    LC_TRY_GOTO(allocate_staging(model, err));
    LC_TRY_GOTO(lc_weights_carve(&model->config, &model->spec, model->dtype,
                                 model->blocks[LC_PLAN_WEIGHTS], &model->arena, &model->weights,
                                 err));
    LC_TRY_GOTO(lc_weights_load(&model->config, &model->spec, files, device, &model->weights, err));
    return LC_OK;
fail:
    lc_model_close(model);
    return code;
}

void lc_model_close(lc_model *model)
{
    for (int i = 0; i < LC_PLAN_CLASS_COUNT; i++) {
        if (model->blocks[i] != NULL) {
            model->device->ops->free(model->device, model->blocks[i]);
            model->blocks[i] = NULL;
        }
    }
    lc_arena_release(&model->arena);
}

lc_code lc_model_publish(lc_model *model, lc_err *err)
{
    return lc_weights_publish(&model->config, &model->spec, model->master, model->device,
                              &model->weights, err);
}

lc_code lc_model_set_masters(lc_model *model, const float *master, lc_err *err)
{
    lc_device *device = model->device;
    if (model->spec.master_count == 0) {
        return LC_OK;
    }
    LC_TRY(device->ops->upload(device, model->master, master,
                               (size_t)model->spec.master_count * sizeof(float), err));
    return lc_model_publish(model, err);
}

lc_code lc_model_get_masters(lc_model *model, float *master, lc_err *err)
{
    lc_device *device = model->device;
    if (model->spec.master_count == 0) {
        return LC_OK;
    }
    return device->ops->download(device, master, model->master,
                                 (size_t)model->spec.master_count * sizeof(float), err);
}

static lc_code upload_ints(lc_model *model, int32_t *to, const int32_t *from, int32_t count,
                           lc_err *err)
{
    return model->device->ops->upload(model->device, to, from, (size_t)count * sizeof *from, err);
}

static lc_code upload_rope(lc_model *model, int32_t token_count, lc_err *err)
{
    const size_t bytes = (size_t)token_count * (size_t)(model->config.head_dim / 2) * sizeof(float);
    LC_TRY(model->device->ops->upload(model->device, model->cos, model->host_cos, bytes, err));
    return model->device->ops->upload(model->device, model->sin, model->host_sin, bytes, err);
}

/* Example and position of each supervised row, which key its dropout past the last attention. */
static lc_code upload_read_rows(lc_model *model, const lc_batch *batch, lc_err *err)
{
    const int32_t count = batch->target_count;
    model->read_count = count;
    LC_TRY(upload_ints(model, model->target_rows, batch->target_rows, count, err));
    if (!(model->dropout > 0.0f)) {
        return LC_OK;
    }
    for (int32_t i = 0; i < count; i++) {
        model->host_examples[i] = batch->examples[batch->target_rows[i]];
        model->host_positions[i] = batch->positions[batch->target_rows[i]];
    }
    LC_TRY(upload_ints(model, model->read_positions, model->host_positions, count, err));
    return model->device->ops->upload(model->device, model->read_examples, model->host_examples,
                                      (size_t)count * sizeof *model->host_examples, err);
}

static lc_code upload_batch(lc_model *model, const lc_batch *batch, lc_err *err)
{
    lc_device *device = model->device;
    const int32_t n = batch->token_count, m = batch->target_count;
    if (batch->shared_rows > 0) {
        const int32_t beginning[2] = {0, batch->shared_rows};
        lc_rope_tables(&model->config, batch->shared_rows, batch->positions, 1, beginning, NULL,
                       model->host_cos, model->host_sin);
    }
    lc_rope_tables(&model->config, n, batch->positions, batch->document_count, batch->cu_seqlens,
                   batch->lengths, model->host_cos, model->host_sin);
    LC_TRY(upload_rope(model, n, err));
    LC_TRY(upload_ints(model, model->ids, batch->ids, n, err));
    LC_TRY(upload_ints(model, model->positions, batch->positions, n, err));
    LC_TRY(upload_read_rows(model, batch, err));
    LC_TRY(upload_ints(model, model->targets, batch->targets, m, err));
    LC_TRY(device->ops->upload(device, model->target_weights, batch->target_weights,
                               (size_t)m * sizeof(float), err));
    return device->ops->upload(device, model->examples, batch->examples,
                               (size_t)n * sizeof *batch->examples, err);
}

bool lc_model_can_share(const lc_model *model, bool backward)
{
    return model->config.rope.type != LC_ROPE_DYNAMIC && !(backward && model->dropout > 0.0f);
}

lc_code lc_model_batch(lc_model *model, const lc_batch *batch, bool backward, uint32_t seed,
                       uint32_t step, lc_batch_sums *sums, lc_err *err)
{
    memset(sums, 0, sizeof *sums);
    if (batch->token_count < 1 || batch->token_count > model->tokens ||
        (backward && !model->training)) {
        return lc_fail(err, LC_ERR_INTERNAL, "a batch of %d tokens in a model opened for %lld",
                       batch->token_count, (long long)model->tokens);
    }
    const lc_dropout dropout = {.p = backward ? model->dropout : 0.0f,
                                .seed = seed,
                                .step = step,
                                .example = model->examples,
                                .position = model->positions};
    LC_TRY(upload_batch(model, batch, err));
    LC_TRY(lc_model_forward(model, batch->token_count, batch, NULL, &dropout, err));
    LC_TRY(lc_model_head_loss(model, batch, backward, sums, err));
    if (backward && batch->target_count > 0 && model->spec.master_count > 0) {
        LC_TRY(lc_model_backward(model, batch, &dropout, err));
    }
    return LC_OK;
}

/* Rotation tables of a generation step: rows of one sequence in a row are one document. Dynamic
 * scaling takes the frequencies of the sequence's length, wherever a prompt is cut into passes. */
static void decode_rope(lc_model *model, const lc_decode_args *args)
{
    const int32_t n = args->token_count;
    const int64_t half = model->config.head_dim / 2;
    for (int32_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && args->slots[end] == args->slots[first]; end++) {}
        const int32_t document[2] = {0, end - first};
        lc_rope_tables(&model->config, end - first, args->positions + first, 1, document,
                       args->lengths != NULL ? args->lengths + first : NULL,
                       model->host_cos + first * half, model->host_sin + first * half);
    }
}

lc_code lc_model_decode(lc_model *model, const lc_decode_args *args, lc_err *err)
{
    lc_device *device = model->device;
    const int32_t n = args->token_count;
    if (n < 1 || n > model->tokens || args->want_count > model->head_rows ||
        model->cache_slots < 1) {
        return lc_fail(err, LC_ERR_INTERNAL,
                       "a generation step of %d rows, %d logits in a model opened for %lld", n,
                       args->want_count, (long long)model->tokens);
    }
    decode_rope(model, args);
    LC_TRY(upload_rope(model, n, err));
    LC_TRY(upload_ints(model, model->ids, args->ids, n, err));
    LC_TRY(upload_ints(model, model->positions, args->positions, n, err));
    LC_TRY(upload_ints(model, model->slots, args->slots, n, err));
    LC_TRY(upload_ints(model, model->target_rows, args->want, args->want_count, err));
    model->read_count = args->want_count;
    const lc_dropout none = {.p = 0.0f};
    LC_TRY(lc_model_forward(model, n, NULL, args, &none, err));
    if (args->want_count == 0) {
        return LC_OK;
    }
    LC_TRY(lc_model_head_logits(model, args->want_count, err));
    for (int32_t i = 0; i < args->want_count; i++) {
        const float *row = (const float *)model->logits.data + i * model->logits.ld;
        LC_TRY(device->ops->download(device, args->logits + (int64_t)i * model->config.vocab, row,
                                     (size_t)model->config.vocab * sizeof(float), err));
    }
    return device->ops->sync(device, err);
}
