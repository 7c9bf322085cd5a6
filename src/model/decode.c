/*
 * One pass of generation, its logits or the tokens chosen from them. A pass that chooses leaves
 * behind, in device memory, all that the next one reads: where the host need not step in, that is
 * one recorded sequence, queued before the host knows the tokens.
 */
#include <string.h>

#include "lorac/mem.h"
#include "model/passes.h"
#include "model/rope.h"

/* ---- opening and closing ---- */

/* The rotation of every position that the cache has room for. */
static lc_code upload_rotations(lc_model *model, lc_err *err)
{
    lc_code code;
    const int64_t rows = model->cache_rows, half = model->config.head_dim / 2;
    const size_t bytes = (size_t)(rows * half) * sizeof(float);
    const int32_t document[2] = {0, (int32_t)rows};
    lc_device *device = model->device;
    void *positions = NULL, *tables = NULL;
    LC_TRY_GOTO(lc_new(&positions, (size_t)rows, sizeof(int32_t), "positions", err));
    LC_TRY_GOTO(lc_new(&tables, 2, bytes, "rotation tables", err));
    for (int32_t i = 0; i < rows; i++) {
        ((int32_t *)positions)[i] = i;
    }
    float *cosine = tables, *sine = cosine + rows * half;
    lc_rope_tables(&model->config, (int32_t)rows, positions, 1, document, NULL, cosine, sine);
    LC_TRY_GOTO(device->ops->upload(device, model->cos_by_position, cosine, bytes, err));
    code = device->ops->upload(device, model->sin_by_position, sine, bytes, err);
fail:
    lc_free(positions);
    lc_free(tables);
    return code;
}

lc_code lc_open_generation(lc_model *model, lc_err *err)
{
    for (int slot = 0; slot < LC_HOST_SLOTS; slot++) {
        void *memory = NULL;
        LC_TRY(model->device->ops->host_alloc(
            model->device, (size_t)model->cache_slots * sizeof(int32_t), &memory, err));
        model->host_chosen[slot] = memory;
    }
    return lc_model_can_run_ahead(model) ? upload_rotations(model, err) : LC_OK;
}

void lc_close_generation(lc_model *model)
{
    for (int slot = 0; slot < LC_HOST_SLOTS; slot++) {
        if (model->host_chosen[slot] != NULL) {
            model->device->ops->host_free(model->device, model->host_chosen[slot]);
            model->host_chosen[slot] = NULL;
        }
    }
}

bool lc_model_can_run_ahead(const lc_model *model)
{
    return model->cos_by_position != NULL;
}

/* ---- what the host knows of a pass ---- */

/* Rotation tables of a generation step: rows of one sequence in a row are one document. Dynamic
 * scaling takes the frequencies of the sequence's length, wherever a prompt is cut into passes. */
static void put_rope(lc_model *model, const lc_decode_args *args)
{
    const int32_t n = args->token_count;
    float *cosine = lc_host_of(model, model->cos), *sine = lc_host_of(model, model->sin);
    const int64_t half = model->config.head_dim / 2;
    for (int32_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && args->slots[end] == args->slots[first]; end++) {}
        const int32_t document[2] = {0, end - first};
        lc_rope_tables(&model->config, end - first, args->positions + first, 1, document,
                       args->lengths != NULL ? args->lengths + first : NULL, cosine + first * half,
                       sine + first * half);
    }
}

/* Sequences of a pass as the device runs it, so that few sizes are to be recorded: 1, 2, 4 and
 * multiples of 8. Those behind the last are nobody's. */
static int32_t round_sequences(const lc_model *model, int32_t count)
{
    const int32_t rounded = count <= 2 ? count : count <= 4 ? 4 : (count + 7) / 8 * 8;
    if (!lc_model_can_run_ahead(model)) {
        return count;
    }
    return rounded < model->cache_slots ? rounded : (int32_t)model->cache_slots;
}

/* The sequences that choose a token: where it will stand, and how it is chosen. */
static void put_sequences(lc_model *model, const lc_decode_args *args)
{
    const int32_t count = args->want_count;
    int32_t *positions = lc_host_of(model, model->chosen_positions);
    int32_t *slots = lc_host_of(model, model->chosen_slots);
    lc_sample_row *how = lc_host_of(model, model->chosen_how);
    for (int32_t i = 0; i < model->cache_slots; i++) {
        const int32_t row = i < count ? args->want[i] : 0;
        positions[i] = i < count ? args->positions[row] + 1 : 0;
        slots[i] = i < count ? args->slots[row] : -1;
        how[i] = i < count ? args->how[i] : (lc_sample_row){.sharpness = 0.0f};
    }
    model->sequence_count = count;
}

/* The lists of one row, all -1 but that of its adapter. */
static void put_adapter(lc_model *model, int32_t *lists, int64_t row, int32_t adapter)
{
    for (int32_t copy = 0; copy < model->spec.copies; copy++) {
        lists[copy * model->tokens + row] = copy == adapter ? (int32_t)row : -1;
    }
    model->active_adapters |= adapter >= 0 ? 1u << adapter : 0;
}

static int32_t adapter_of(const lc_decode_args *args, int32_t row)
{
    return args->adapters != NULL ? args->adapters[args->slots[row]] : -1;
}

static void put_adapters(lc_model *model, const lc_decode_args *args)
{
    model->active_adapters = 0;
    if (model->spec.copies == 0) {
        return;
    }
    int32_t *rows = lc_host_of(model, model->adapter_rows);
    int32_t *read_rows = lc_host_of(model, model->adapter_read_rows);
    for (int32_t i = 0; i < args->token_count; i++) {
        put_adapter(model, rows, i, adapter_of(args, i));
    }
    /* The next step may have rows of nobody behind those that are read. */
    const int64_t count = args->want_count, rounded = round_sequences(model, args->want_count);
    for (int32_t i = 0; i < (count > rounded ? count : rounded); i++) {
        put_adapter(model, read_rows, i, i < count ? adapter_of(args, args->want[i]) : -1);
    }
}

static lc_code upload(lc_model *model, const lc_decode_args *args, lc_err *err)
{
    const int32_t n = args->token_count, count = args->want_count;
    const bool is_step = args->how != NULL && n == count; /* a row of each sequence */
    model->is_step = is_step;
    model->rows = is_step ? round_sequences(model, n) : n;
    model->read_count = is_step ? model->rows : count;
    LC_TRY(lc_begin_upload(model, err));
    put_rope(model, args);
    lc_put_ints(model, model->ids, args->ids, n, model->rows, 0);
    lc_put_ints(model, model->positions, args->positions, n, model->rows, 0);
    lc_put_ints(model, model->slots, args->slots, n, model->rows, -1);
    lc_put_ints(model, model->target_rows, args->want, count, count, 0);
    int32_t *rows = lc_host_of(model, model->target_rows);
    for (int32_t i = count; i < model->read_count; i++) {
        rows[i] = i;
    }
    if (args->how != NULL) {
        put_sequences(model, args);
    }
    put_adapters(model, args);
    return lc_end_upload(model, err);
}

/* ---- passes ---- */

static lc_code forward(lc_model *model, lc_err *err)
{
    const lc_dropout none = {.p = 0.0f};
    LC_TRY(lc_model_forward(model, model->rows, NULL, &none, err));
    return model->read_count > 0 ? lc_model_head_logits(model, (int32_t)model->read_count, err)
                                 : LC_OK;
}

/* What the chosen tokens' own pass reads, where rows of that pass and sequences are the same. */
static lc_code advance(lc_model *model, lc_err *err)
{
    const int64_t half = model->config.head_dim / 2, known = model->cache_rows;
    return LC_OP(model->device, advance,
                 {.count = round_sequences(model, model->sequence_count),
                  .chosen = model->chosen,
                  .slots = model->chosen_slots,
                  .chosen_positions = model->chosen_positions,
                  .cos_by_position = lc_mat_f32(model->cos_by_position, known, half, half),
                  .sin_by_position = lc_mat_f32(model->sin_by_position, known, half, half),
                  .ids = model->ids,
                  .positions = model->positions,
                  .row_slots = model->slots,
                  .rows = model->target_rows,
                  .cos = model->cos,
                  .sin = model->sin},
                 err);
}

static lc_code forward_and_choose(lc_model *model, lc_err *err)
{
    LC_TRY(forward(model, err));
    LC_TRY(LC_OP(model->device, sample,
                 {.logits = lc_rows(model->logits, model->read_count),
                  .rows = model->chosen_how,
                  .positions = model->chosen_positions,
                  .ids = model->chosen},
                 err));
    return lc_model_can_run_ahead(model) ? advance(model, err) : LC_OK;
}

/* A row of each sequence: recorded, since few sizes of it there are. */
static lc_code run_step(lc_model *model, lc_err *err)
{
    bool replayed = false;
    const uint64_t key = lc_record_key(model, LC_RECORD_DECODE, 0);
    LC_TRY(model->device->ops->record_begin(model->device, "graph: decode", key, &replayed, err));
    if (replayed) {
        return LC_OK;
    }
    const lc_code code = forward_and_choose(model, err);
    LC_TRY(model->device->ops->record_end(model->device, code == LC_OK, err));
    return code;
}

/* Sends the chosen tokens on their way to the host. */
static lc_code send_chosen(lc_model *model, lc_err *err)
{
    const int slot = (int)(model->passes_chosen % LC_HOST_SLOTS);
    LC_TRY(model->device->ops->download_queued(
        model->device, model->host_chosen[slot], model->chosen,
        (size_t)model->sequence_count * sizeof(int32_t), LC_HOST_SLOTS + slot, err));
    model->passes_chosen++;
    return LC_OK;
}

/* Row `index` of the logits into host floats. */
static lc_code download_logits(lc_model *model, int32_t index, float *to, lc_err *err)
{
    const size_t count = (size_t)model->config.vocab;
    const lc_mat row = lc_mat_view(model->logits, index, 0, 1, model->config.vocab);
    void *landing = model->host_logits != NULL ? model->host_logits : to;
    LC_TRY(model->device->ops->download(model->device, landing, row.data,
                                        count * lc_dtype_bytes(row.dtype), err));
    if (landing != to && !lc_convert(landing, row.dtype, to, LC_F32, count)) {
        return lc_fail(err, LC_ERR_INTERNAL, "logits of type %s", lc_dtype_name(row.dtype));
    }
    return LC_OK;
}

static lc_code check_pass(const lc_model *model, int64_t rows, int64_t count, bool chooses,
                          lc_err *err)
{
    const bool is_full = model->passes_chosen - model->passes_read >= LC_HOST_SLOTS;
    if (rows < 1 || rows > model->tokens || count > model->head_rows || model->cache_slots < 1 ||
        (chooses &&
         (count > model->cache_slots || model->cache_slots > model->head_rows || is_full))) {
        return lc_fail(err, LC_ERR_INTERNAL,
                       "a generation step of %lld rows, %lld logits, %d passes unread, in a model "
                       "opened for %lld rows, %lld sequences",
                       (long long)rows, (long long)count,
                       (int)(model->passes_chosen - model->passes_read), (long long)model->tokens,
                       (long long)model->cache_slots);
    }
    return LC_OK;
}

lc_code lc_model_decode(lc_model *model, const lc_decode_args *args, lc_err *err)
{
    const bool chooses = args->how != NULL;
    LC_TRY(check_pass(model, args->token_count, args->want_count, chooses, err));
    LC_TRY(upload(model, args, err));
    if (chooses && args->want_count == args->token_count) {
        LC_TRY(run_step(model, err));
        return send_chosen(model, err);
    }
    if (chooses && args->want_count > 0) {
        LC_TRY(forward_and_choose(model, err));
        return send_chosen(model, err);
    }
    LC_TRY(forward(model, err));
    for (int32_t i = 0; args->logits != NULL && i < args->want_count; i++) {
        LC_TRY(download_logits(model, i, args->logits + (int64_t)i * model->config.vocab, err));
    }
    return LC_OK;
}

lc_code lc_model_decode_next(lc_model *model, lc_err *err)
{
    if (!lc_model_can_run_ahead(model)) {
        return lc_fail(err, LC_ERR_INTERNAL, "this model's passes do not run ahead");
    }
    model->is_step = true;
    model->rows = model->read_count = round_sequences(model, model->sequence_count);
    LC_TRY(check_pass(model, model->rows, model->rows, true, err));
    LC_TRY(run_step(model, err));
    return send_chosen(model, err);
}

lc_code lc_model_read_chosen(lc_model *model, const int32_t **ids, lc_err *err)
{
    const int slot = (int)(model->passes_read % LC_HOST_SLOTS);
    if (model->passes_read == model->passes_chosen) {
        return lc_fail(err, LC_ERR_INTERNAL, "there is no pass to read tokens of");
    }
    LC_TRY(model->device->ops->host_wait(model->device, LC_HOST_SLOTS + slot, err));
    *ids = model->host_chosen[slot];
    model->passes_read++;
    return LC_OK;
}

void lc_model_skip_chosen(lc_model *model)
{
    model->passes_read += model->passes_read < model->passes_chosen;
}

lc_code lc_model_read_logits(lc_model *model, int32_t index, float *logits, lc_err *err)
{
    return download_logits(model, index, logits, err);
}

/* `rows` rows from `row` on; of whole strips, as one row each. */
static lc_mat cache_rows(lc_mat cache, int64_t row, int64_t rows)
{
    const int32_t strip = cache.strip;
    if (strip == 0) {
        return lc_mat_view(cache, row, 0, rows, cache.cols);
    }
    cache.strip = 0;
    cache.ld *= strip;
    cache.cols = cache.ld;
    return lc_mat_view(cache, row / strip, 0, (rows + strip - 1) / strip, cache.cols);
}

lc_code lc_model_copy_cache(lc_model *model, int64_t from_slot, int64_t to_slot, int64_t count,
                            lc_err *err)
{
    const int64_t from = from_slot * model->cache_rows, to = to_slot * model->cache_rows;
    for (int32_t layer = 0; count > 0 && layer < model->config.layers; layer++) {
        const lc_mat caches[] = {model->k_cache[layer], model->v_cache[layer]};
        for (int i = 0; i < 2; i++) {
            LC_TRY(model->device->ops->copy(model->device, cache_rows(caches[i], to, count),
                                            cache_rows(caches[i], from, count), err));
        }
    }
    return LC_OK;
}
