/*
 * Opening and closing a model, moving masters in and out, and one packed micro-batch (training,
 * evaluation). The passes themselves are in forward.c, backward.c, head.c; generation is in
 * decode.c.
 */
#include "model/model.h"

#include <string.h>

#include "model/layout.h"
#include "model/passes.h"
#include "model/rope.h"

#define MOST_TOKENS ((int64_t)1 << 26)

/* Sizes up to MOST_TOKENS, layout below 2^8, kinds of batches below 4. A step of generation reads
 * all its rows, and hangs on which adapters they have. */
uint64_t lc_record_key(const lc_model *model, lc_record_kind kind, uint32_t layout)
{
    if (kind == LC_RECORD_DECODE) {
        return (uint64_t)model->rows << 37 | (uint64_t)model->active_adapters << 10 |
               (uint64_t)kind;
    }
    return kind == LC_RECORD_UPDATE
               ? (uint64_t)kind
               : (uint64_t)model->rows << 37 | (uint64_t)model->read_count << 10 |
                     (uint64_t)layout << 2 | (uint64_t)kind;
}

/* What the walk over the buffers needs: sizes and the host arrays it fills. */
static lc_code prepare(lc_model *model, const lc_model_config *config, const lc_adapter_spec *spec,
                       const lc_model_options *options, const lc_memory_rules *memory_rules,
                       lc_err *err)
{
    void *memory = NULL;
    lc_arena_init(&model->arena, "model");
    model->config = *config;
    model->spec = *spec;
    model->dtype = options->dtype;
    model->memory = memory_rules;
    model->activation = memory_rules->has_weight_type ? options->dtype : LC_F32;
    model->training = options->training;
    model->dropout = options->dropout;
    model->recompute = options->recompute;
    model->tokens = options->tokens;
    model->head_rows =
        options->tokens < memory_rules->head_rows ? options->tokens : memory_rules->head_rows;
    model->cache_slots = options->cache_slots;
    model->cache_rows = options->cache_rows;
    if (options->recompute < 0 || options->recompute > lc_model_recompute_steps(config, spec)) {
        return lc_fail(err, LC_ERR_INVALID, "%d steps of recomputation, there are 0 to %d",
                       options->recompute, lc_model_recompute_steps(config, spec));
    }
    if (options->tokens < 1 || options->tokens > MOST_TOKENS) {
        return lc_fail(err, LC_ERR_INVALID, "a micro-batch of %lld tokens is out of range",
                       (long long)options->tokens);
    }
    model->publish_count = lc_weights_publish_slots(config, spec, NULL, NULL, NULL);
    const size_t layers = (size_t)config->layers;
    LC_TRY(lc_arena_alloc(&model->arena, layers, sizeof *model->layers, &memory, err));
    model->layers = memory;
    LC_TRY(lc_arena_alloc(&model->arena, layers, sizeof *model->k_cache, &memory, err));
    model->k_cache = memory;
    LC_TRY(lc_arena_alloc(&model->arena, layers, sizeof *model->v_cache, &memory, err));
    model->v_cache = memory;
    return LC_OK;
}

/* Widths that the device can take. */
static lc_code check_widths(const lc_model *model, lc_err *err)
{
    const lc_model_config *c = &model->config;
    const int64_t multiple = model->memory->alignment / (int64_t)lc_dtype_bytes(model->dtype);
    const struct {
        const char *name;
        int64_t width;
    } widths[] = {
        {"hidden_size", c->width}, {"intermediate_size", c->mlp}, {"head_dim", c->head_dim}};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        if (multiple > 1 && widths[i].width % multiple != 0) {
            return lc_fail_param(err, LC_ERR_UNSUPPORTED, widths[i].name,
                                 "%s is %lld: on a GPU it must be a multiple of %lld; "
                                 "device \"cpu\" takes any",
                                 widths[i].name, (long long)widths[i].width, (long long)multiple);
        }
    }
    return LC_OK;
}

lc_code lc_model_plan(const lc_model_config *config, const lc_adapter_spec *spec,
                      const lc_model_options *options, lc_arena *arena, lc_plan *plan, lc_err *err)
{
    lc_model *model = lc_calloc(1, sizeof *model);
    if (model == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to plan");
    }
    lc_code code = prepare(model, config, spec, options, options->memory, err);
    if (code == LC_OK) {
        code = check_widths(model, err);
    }
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

/* Host memory: mirrors of the batch, where the device cannot read ours; what steps report; a row of
 * logits. */
static lc_code allocate_staging(lc_model *model, lc_err *err)
{
    lc_device *device = model->device;
    for (int slot = 0; slot < LC_HOST_SLOTS && !device->is_host; slot++) {
        LC_TRY(device->ops->host_alloc(device, (size_t)model->plan.class_bytes[LC_PLAN_DATA],
                                       &model->host_data[slot], err));
    }
    if (model->training) {
        void *memory = NULL;
        LC_TRY(device->ops->host_alloc(device, LC_HOST_SLOTS * sizeof *model->host_results, &memory,
                                       err));
        model->host_results = memory;
    }
    if (model->activation != LC_F32) {
        LC_TRY(lc_arena_alloc(&model->arena, (size_t)model->config.vocab,
                              lc_dtype_bytes(model->activation), &model->host_logits, err));
    }
    return LC_OK;
}

/* The table of modules that lora_publish works by. */
static lc_code make_publish_slots(lc_model *model, lc_err *err)
{
    const size_t count = (size_t)model->publish_count;
    void *memory = NULL;
    LC_TRY(lc_arena_alloc(&model->arena, count, sizeof *model->publish_slots, &memory, err));
    lc_publish_slot *slots = memory;
    (void)lc_weights_publish_slots(&model->config, &model->spec, model->master, &model->weights,
                                   slots);
    for (size_t i = 0; i < count; i++) {
        const int32_t elements = slots[i].width * (slots[i].in + slots[i].out);
        model->publish_elements =
            elements > model->publish_elements ? elements : model->publish_elements;
    }
    return model->device->ops->upload(model->device, model->publish_slots, slots,
                                      count * sizeof *slots, err);
}

lc_code lc_model_open(const lc_model_config *config, const lc_adapter_spec *spec,
                      const lc_weight_files *files, const lc_model_options *options,
                      lc_device *device, lc_model *model, lc_err *err)
{
    lc_code code;
    memset(model, 0, sizeof *model);
    model->device = device;
    LC_TRY_GOTO(prepare(model, config, spec, options, device->memory, err));
    LC_TRY_GOTO(check_widths(model, err));
    LC_TRY_GOTO(lc_plan_init(&model->plan, &model->arena, err));
    LC_TRY_GOTO(lc_model_layout(model, &model->plan, false, err));
    LC_TRY_GOTO(allocate_blocks(model, err));
    LC_TRY_GOTO(lc_model_layout(model, &model->plan, true, err));
    LC_TRY_GOTO(allocate_staging(model, err));
    LC_TRY_GOTO(lc_weights_carve(&model->config, &model->spec, model->dtype, model->activation,
                                 model->blocks[LC_PLAN_WEIGHTS], &model->arena, &model->weights,
                                 err));
    if (model->cache_slots > 0 && !model->training && device->memory->strip > 0) {
        lc_weights_use_strips(&model->config, &model->spec, device->memory->strip, &model->weights);
    }
    LC_TRY_GOTO(lc_weights_load(&model->config, &model->spec, files, device, &model->weights, err));
    LC_TRY_GOTO(make_publish_slots(model, err));
    device->ops->set_workspace(device, model->workspace, model->workspace_bytes);
    device->ops->set_rows_alone(device, model->cache_slots > 0);
    if (model->cache_slots > 0) {
        LC_TRY_GOTO(lc_open_generation(model, err));
    }
    return LC_OK;
fail:
    lc_model_close(model);
    return code;
}

void lc_model_close(lc_model *model)
{
    lc_close_generation(model);
    for (int32_t place = 0; place < LC_MAX_ADAPTER_COPIES; place++) {
        lc_model_drop_adapter(model, place);
    }
    for (int slot = 0; slot < LC_HOST_SLOTS; slot++) {
        if (model->host_data[slot] != NULL) {
            model->device->ops->host_free(model->device, model->host_data[slot]);
            model->host_data[slot] = NULL;
        }
    }
    if (model->host_results != NULL) {
        model->device->ops->host_free(model->device, model->host_results);
        model->host_results = NULL;
    }
    for (int i = 0; i < LC_PLAN_CLASS_COUNT; i++) {
        if (model->blocks[i] != NULL) {
            model->device->ops->free(model->device, model->blocks[i]);
            model->blocks[i] = NULL;
        }
    }
    lc_arena_release(&model->arena);
}

/* After the masters changed: A and scale*B into the borders. */
static lc_code publish(lc_model *model, lc_err *err)
{
    return LC_OP(model->device, lora_publish,
                 {.slots = model->publish_slots,
                  .count = model->publish_count,
                  .most_elements = model->publish_elements,
                  .dtype = model->dtype},
                 err);
}

lc_code lc_model_set_masters(lc_model *model, const float *master, lc_err *err)
{
    lc_device *device = model->device;
    if (model->spec.master_count == 0) {
        return LC_OK;
    }
    LC_TRY(device->ops->upload(device, model->master, master,
                               (size_t)model->spec.master_count * sizeof(float), err));
    return publish(model, err);
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

/* ---- the batch's way to the device ---- */

void *lc_host_of(const lc_model *model, const void *device_address)
{
    char *mirror = model->host_data[model->host_slot];
    const char *block = model->blocks[LC_PLAN_DATA];
    const size_t offset = (size_t)((const char *)device_address - block);
    return mirror != NULL ? mirror + offset : (char *)model->blocks[LC_PLAN_DATA] + offset;
}

lc_code lc_begin_upload(lc_model *model, lc_err *err)
{
    model->host_slot = (model->host_slot + 1) % LC_HOST_SLOTS;
    return model->device->ops->host_wait(model->device, model->host_slot, err);
}

static lc_code upload(lc_model *model, size_t bytes, lc_err *err)
{
    const void *mirror = model->host_data[model->host_slot];
    return mirror == NULL
               ? LC_OK
               : model->device->ops->upload_queued(model->device, model->blocks[LC_PLAN_DATA],
                                                   mirror, bytes, model->host_slot, err);
}

lc_code lc_end_upload(lc_model *model, lc_err *err)
{
    return upload(model, (size_t)model->plan.class_bytes[LC_PLAN_DATA], err);
}

static void put(const lc_model *model, void *to, const void *from, size_t bytes)
{
    if (bytes > 0) {
        memcpy(lc_host_of(model, to), from, bytes);
    }
}

void lc_put_ints(const lc_model *model, int32_t *to, const int32_t *from, int64_t count,
                 int64_t rows, int32_t filler)
{
    put(model, to, from, (size_t)count * sizeof *from);
    int32_t *host = lc_host_of(model, to);
    for (int64_t i = count; i < rows; i++) {
        host[i] = filler;
    }
}

/* Example and position of each supervised row, which key its dropout past the last attention. */
static void put_read_rows(lc_model *model, const lc_batch *batch)
{
    const int32_t count = batch->target_count;
    const int64_t rows = model->read_count;
    float *weights = lc_host_of(model, model->target_weights);
    lc_put_ints(model, model->target_rows, batch->target_rows, count, rows, -1);
    lc_put_ints(model, model->targets, batch->targets, count, rows, 0);
    put(model, model->target_weights, batch->target_weights, (size_t)count * sizeof *weights);
    for (int64_t i = count; i < rows; i++) {
        weights[i] = 0.0f;
    }
    if (!(model->dropout > 0.0f)) {
        return;
    }
    int64_t *examples = lc_host_of(model, model->read_examples);
    int32_t *positions = lc_host_of(model, model->read_positions);
    for (int32_t i = 0; i < count; i++) {
        examples[i] = batch->examples[batch->target_rows[i]];
        positions[i] = batch->positions[batch->target_rows[i]];
    }
}

lc_documents lc_documents_of(const lc_batch *batch)
{
    const lc_documents documents = {.shared_rows = batch->shared_rows,
                                    .count = batch->document_count,
                                    .cu_seqlens = batch->cu_seqlens};
    return documents;
}

static void put_rope(lc_model *model, const lc_batch *batch)
{
    float *cosine = lc_host_of(model, model->cos), *sine = lc_host_of(model, model->sin);
    if (batch->shared_rows > 0) {
        const int32_t beginning[2] = {0, batch->shared_rows};
        lc_rope_tables(&model->config, batch->shared_rows, batch->positions, 1, beginning, NULL,
                       cosine, sine);
    }
    lc_rope_tables(&model->config, batch->token_count, batch->positions, batch->document_count,
                   batch->cu_seqlens, batch->lengths, cosine, sine);
}

static lc_code upload_batch(lc_model *model, const lc_batch *batch, uint32_t seed, uint32_t step,
                            lc_err *err)
{
    const int32_t n = batch->token_count;
    const lc_step_values values = {.key = {seed, step}};
    model->rows = model->memory->round_rows(n, model->tokens);
    model->read_count = model->memory->round_rows(batch->target_count, model->tokens);
    LC_TRY(lc_begin_upload(model, err));
    put(model, model->values, &values, sizeof values);
    put_rope(model, batch);
    lc_put_ints(model, model->ids, batch->ids, n, model->rows, 0);
    lc_put_ints(model, model->positions, batch->positions, n, model->rows, 0);
    put_read_rows(model, batch);
    put(model, model->examples, batch->examples, (size_t)n * sizeof *batch->examples);
    if (model->layout != NULL) {
        const lc_documents documents = lc_documents_of(batch);
        model->memory->lay_out(&documents, model->tokens, lc_host_of(model, model->layout));
    }
    return lc_end_upload(model, err);
}

/* ---- training ---- */

int32_t lc_model_least_shared(const lc_model *model, bool backward)
{
    const bool differs =
        model->config.rope.type == LC_ROPE_DYNAMIC || (backward && model->dropout > 0.0f);
    return differs ? 0 : model->memory->least_shared;
}

lc_code lc_model_clear_sums(lc_model *model, lc_err *err)
{
    return model->device->ops->zero(model->device, model->sums, sizeof *model->sums, err);
}

lc_code lc_model_note_stop(lc_model *model, lc_err *err)
{
    static const double one = 1.0;
    return model->device->ops->upload(model->device, &model->sums->stops, &one, sizeof one, err);
}

lc_code lc_model_read_sums(lc_model *model, lc_sums *sums, lc_err *err)
{
    return model->device->ops->download(model->device, sums, model->sums, sizeof *sums, err);
}

static lc_code run_batch(lc_model *model, const lc_batch *batch, bool backward,
                         const lc_dropout *dropout, lc_err *err)
{
    LC_TRY(lc_model_forward(model, model->rows, batch, dropout, err));
    LC_TRY(lc_model_head_loss(model, backward, err));
    return backward ? lc_model_backward(model, batch, dropout, err) : LC_OK;
}

lc_code lc_model_batch(lc_model *model, const lc_batch *batch, bool backward, uint32_t seed,
                       uint32_t step, lc_err *err)
{
    if (batch->token_count < 1 || batch->token_count > model->tokens ||
        (backward && !model->training)) {
        return lc_fail(err, LC_ERR_INTERNAL, "a batch of %d tokens in a model opened for %lld",
                       batch->token_count, (long long)model->tokens);
    }
    const lc_dropout dropout = {.p = backward ? model->dropout : 0.0f,
                                .key = model->values->key,
                                .example = model->examples,
                                .position = model->positions};
    const bool has_backward = backward && batch->target_count > 0 && model->spec.master_count > 0;
    bool replayed = false;
    /* Also sets the sizes that the key is made of. */
    LC_TRY(upload_batch(model, batch, seed, step, err));
    const lc_documents documents = lc_documents_of(batch);
    const uint64_t key =
        lc_record_key(model, has_backward ? LC_RECORD_BACKWARD : LC_RECORD_FORWARD,
                      model->device->ops->layout_key(model->device, &documents, model->rows));
    LC_TRY(model->device->ops->record_begin(
        model->device, has_backward ? "graph: forward, head, backward" : "graph: forward, head",
        key, &replayed, err));
    if (replayed) {
        return LC_OK;
    }
    const lc_code code = run_batch(model, batch, has_backward, &dropout, err);
    LC_TRY(model->device->ops->record_end(model->device, code == LC_OK, err));
    return code;
}

static lc_code update(lc_model *model, const lc_update_options *options, lc_err *err)
{
    LC_TRY(LC_OP(model->device, adamw,
                 {.param = model->master,
                  .grad = model->grad,
                  .m = model->adam_m,
                  .v = model->adam_v,
                  .count = model->spec.master_count,
                  .clip = options->clip,
                  .beta1 = options->beta1,
                  .beta2 = options->beta2,
                  .eps = options->eps,
                  .weight_decay = options->weight_decay,
                  .sums = model->sums,
                  .values = model->values,
                  .update = model->update},
                 err));
    return publish(model, err);
}

lc_code lc_model_update(lc_model *model, const lc_update_options *options, double weight,
                        double learning_rate, lc_err *err)
{
    const lc_step_values values = {.weight = weight, .learning_rate = learning_rate};
    LC_TRY(lc_begin_upload(model, err));
    put(model, model->values, &values, sizeof values);
    LC_TRY(upload(model, sizeof values, err));
    bool replayed = false;
    LC_TRY(model->device->ops->record_begin(
        model->device, "graph: update", lc_record_key(model, LC_RECORD_UPDATE, 0), &replayed, err));
    if (replayed) {
        return LC_OK;
    }
    const lc_code code = update(model, options, err);
    LC_TRY(model->device->ops->record_end(model->device, code == LC_OK, err));
    return code;
}

lc_code lc_model_queue_results(lc_model *model, lc_err *err)
{
    lc_device *device = model->device;
    const int place = (int)(model->results_queued % LC_HOST_SLOTS), slot = LC_HOST_SLOTS + place;
    lc_results *to = &model->host_results[place];
    if (model->results_queued - model->results_taken >= LC_HOST_SLOTS) {
        return lc_fail(err, LC_ERR_INTERNAL, "more than %d results on their way", LC_HOST_SLOTS);
    }
    LC_TRY(
        device->ops->download_queued(device, &to->sums, model->sums, sizeof to->sums, slot, err));
    LC_TRY(device->ops->download_queued(device, &to->update, model->update, sizeof to->update, slot,
                                        err));
    model->results_queued++;
    return LC_OK;
}

lc_code lc_model_take_results(lc_model *model, lc_results *results, lc_err *err)
{
    const int place = (int)(model->results_taken % LC_HOST_SLOTS);
    if (model->results_taken == model->results_queued) {
        return lc_fail(err, LC_ERR_INTERNAL, "no results are on their way");
    }
    LC_TRY(model->device->ops->host_wait(model->device, LC_HOST_SLOTS + place, err));
    *results = model->host_results[place];
    model->results_taken++;
    return LC_OK;
}

lc_code lc_model_set_updates(lc_model *model, int64_t count, lc_err *err)
{
    const lc_update update = {.count = count};
    return model->device->ops->upload(model->device, model->update, &update, sizeof update, err);
}
