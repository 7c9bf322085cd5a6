/*
 * Merging; see merge.h. A merged file has the same tensors as its source, so its header is copied
 * and only the data of adapted matrices changes.
 */
#include "infer/merge.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "data/safetensors.h"
#include "lorac/mem.h"
#include "model/adapter.h"

#define BLOCK_BYTES     ((size_t)4 << 20) /* of file data at a time */
#define MAX_INDEX_BYTES ((size_t)64 << 20)
#define MAX_COPY_BYTES  ((size_t)512 << 20)

/* Copied as they are, where the base has them. */
static const char *const copied_files[] = {
    "config.json",       "generation_config.json",
    "tokenizer.json",    "tokenizer_config.json",
    "added_tokens.json", "special_tokens_map.json",
    "vocab.json",        "merges.txt",
    "tokenizer.model",   "chat_template.jinja",
    "LICENSE",           "model.safetensors.index.json",
};

typedef struct lc_merger {
    const char *base_dir;
    char temp_dir[LC_MAX_PATH_BYTES];
    lc_model_config config;
    lc_adapter_spec *spec; /* owned */
    float *master;         /* owned */
    void *block;           /* owned, BLOCK_BYTES */
    float *row;            /* owned: a row of W in fp32 */
    float *delta;          /* owned: a row of scale*B*A */
    lc_merge_result *result;
} lc_merger;

/* The slot of tensor `name`, or NULL. */
static const lc_lora_slot *slot_of(const lc_merger *merger, const char *name, lc_module_kind *kind)
{
    int layer = -1, used = 0;
    if (sscanf(name, "model.layers.%d.%n", &layer, &used) != 1 || used == 0 || layer < 0 ||
        layer >= merger->config.layers) {
        return NULL;
    }
    for (int module = 0; module < LC_MODULE_COUNT; module++) {
        char expected[64];
        (void)snprintf(expected, sizeof expected, "%s.weight",
                       lc_module_path((lc_module_kind)module));
        if (strcmp(name + used, expected) == 0) {
            *kind = (lc_module_kind)module;
            const lc_lora_slot *slot = &merger->spec->slots[layer][module];
            return slot->rank > 0 ? slot : NULL;
        }
    }
    return NULL;
}

/* row += scale * B[r,:] A, the product summed over the rank first. */
static void add_delta(const lc_merger *merger, const lc_lora_slot *slot, int64_t r, int64_t in)
{
    const float *b = merger->master + slot->b_offset + r * slot->r16;
    float *delta = merger->delta;
    memset(delta, 0, (size_t)in * sizeof *delta);
    for (int32_t k = 0; k < slot->rank; k++) {
        const float factor = b[k];
        const float *a = merger->master + slot->a_offset + k * in;
        for (int64_t j = 0; j < in; j++) {
            delta[j] += factor * a[j];
        }
    }
    for (int64_t j = 0; j < in; j++) {
        merger->row[j] += slot->scale * delta[j];
    }
}

/* One row of a block, in place in the file's dtype. false: the dtype has no conversion or the
 * sum overflows. */
static bool merge_row(const lc_merger *merger, const lc_lora_slot *slot, int64_t r, int64_t in,
                      lc_dtype dtype, void *data)
{
    if (!lc_convert(data, dtype, merger->row, LC_F32, (size_t)in)) {
        return false;
    }
    add_delta(merger, slot, r, in);
    for (int64_t j = 0; j < in; j++) {
        if (!isfinite(merger->row[j]) || (dtype == LC_F16 && fabsf(merger->row[j]) >= 65520.0f)) {
            return false;
        }
    }
    return lc_convert(merger->row, LC_F32, data, dtype, (size_t)in);
}

static lc_code merge_tensor(lc_merger *merger, const lc_safetensors *file,
                            const lc_tensor_info *tensor, const lc_lora_slot *slot,
                            lc_module_kind kind, lc_writer *writer, lc_err *err)
{
    const int64_t out = lc_module_out(&merger->config, kind),
                  in = lc_module_in(&merger->config, kind);
    const bool is_known =
        tensor->dtype == LC_F32 || tensor->dtype == LC_BF16 || tensor->dtype == LC_F16;
    if (!is_known || tensor->rank != 2 || tensor->shape[0] != out || tensor->shape[1] != in) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                             "tensor \"%s\": expected F32, BF16 or F16 of shape [%lld, %lld]",
                             tensor->name, (long long)out, (long long)in);
    }
    const int64_t row_bytes = in * (int64_t)lc_dtype_bytes(tensor->dtype);
    const int64_t block_rows = (int64_t)BLOCK_BYTES / row_bytes;
    for (int64_t first = 0; first < out; first += block_rows) {
        const int64_t rows = out - first < block_rows ? out - first : block_rows;
        LC_TRY(lc_safetensors_read(file, tensor, first * row_bytes, merger->block,
                                   (size_t)(rows * row_bytes), err));
        for (int64_t i = 0; i < rows; i++) {
            if (!merge_row(merger, slot, first + i, in, tensor->dtype,
                           (char *)merger->block + i * row_bytes)) {
                return lc_fail_param(err, LC_ERR_NUMERIC, tensor->name,
                                     "tensor \"%s\": the merged value in row %lld does not fit %s",
                                     tensor->name, (long long)(first + i),
                                     lc_dtype_name(tensor->dtype));
            }
        }
        LC_TRY(lc_writer_write(writer, merger->block, (size_t)(rows * row_bytes), err));
    }
    merger->result->matrices++;
    return LC_OK;
}

static lc_code copy_tensor(lc_merger *merger, const lc_safetensors *file,
                           const lc_tensor_info *tensor, lc_writer *writer, lc_err *err)
{
    for (int64_t at = 0; at < tensor->bytes;) {
        const int64_t left = tensor->bytes - at;
        const size_t bytes = left < (int64_t)BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
        LC_TRY(lc_safetensors_read(file, tensor, at, merger->block, bytes, err));
        LC_TRY(lc_writer_write(writer, merger->block, bytes, err));
        at += (int64_t)bytes;
    }
    return LC_OK;
}

/* Everything before the first tensor's data: length and JSON. */
static lc_code copy_header(lc_merger *merger, const char *path, lc_writer *writer, lc_err *err)
{
    lc_reader reader;
    uint8_t length[8];
    LC_TRY(lc_reader_open(path, &reader, err));
    lc_code code = lc_reader_read(&reader, 0, length, sizeof length, err);
    uint64_t left = 8;
    for (int i = 0; i < 8; i++) {
        left += (uint64_t)length[i] << (8 * i);
    }
    for (uint64_t at = 0; code == LC_OK && left > 0;) {
        const size_t bytes = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
        code = lc_reader_read(&reader, (int64_t)at, merger->block, bytes, err);
        if (code == LC_OK) {
            code = lc_writer_write(writer, merger->block, bytes, err);
        }
        at += bytes;
        left -= bytes;
    }
    lc_reader_close(&reader);
    return code;
}

static lc_code write_tensors(lc_merger *merger, const char *path, const lc_safetensors *file,
                             lc_writer *writer, lc_err *err)
{
    LC_TRY(copy_header(merger, path, writer, err));
    for (int64_t i = 0; i < lc_safetensors_count(file); i++) {
        const lc_tensor_info *tensor = lc_safetensors_at(file, i);
        lc_module_kind kind = LC_MODULE_Q;
        const lc_lora_slot *slot = slot_of(merger, tensor->name, &kind);
        LC_TRY(slot != NULL ? merge_tensor(merger, file, tensor, slot, kind, writer, err)
                            : copy_tensor(merger, file, tensor, writer, err));
    }
    return LC_OK;
}

/* One weight file of the base, merged into the temporary directory. */
static lc_code merge_file(lc_merger *merger, const char *name, lc_err *err)
{
    char from[LC_MAX_PATH_BYTES], to[LC_MAX_PATH_BYTES];
    lc_safetensors *file = NULL;
    lc_writer *writer = NULL;
    int64_t bytes = 0;
    LC_TRY(lc_path_join(merger->base_dir, name, from, err));
    LC_TRY(lc_path_join(merger->temp_dir, name, to, err));
    LC_TRY(lc_safetensors_open(from, &file, err));
    lc_code code = lc_writer_open(to, &writer, err);
    if (code == LC_OK) {
        code = write_tensors(merger, from, file, writer, err);
        if (code == LC_OK) {
            code = lc_writer_close(writer, &bytes, NULL, err);
        } else {
            lc_writer_abort(writer);
        }
    }
    merger->result->bytes += bytes;
    lc_safetensors_close(file);
    return code;
}

/* The files that the index names, each once: the map is in no order, so a file is skipped when
 * an entry before it has the same one. Shards are few. */
static lc_code merge_shards(lc_merger *merger, const char *index_path, lc_err *err)
{
    cJSON *index = NULL;
    const cJSON *map = NULL;
    LC_TRY(lc_json_load(index_path, MAX_INDEX_BYTES, LC_JSON_DEFAULT, &index, err));
    lc_code code = lc_json_object(index, "weight_map", true, &map, err);
    for (const cJSON *item = code == LC_OK ? map->child : NULL; item != NULL && code == LC_OK;
         item = item->next) {
        char to[LC_MAX_PATH_BYTES];
        if (!cJSON_IsString(item)) {
            code = lc_fail(err, LC_ERR_INVALID, "%s: \"%s\" is not the name of a file", index_path,
                           item->string);
            break;
        }
        code = lc_path_join(merger->temp_dir, item->valuestring, to, err);
        if (code == LC_OK && !lc_path_exists(to)) {
            code = merge_file(merger, item->valuestring, err);
        }
    }
    cJSON_Delete(index);
    return code;
}

static lc_code merge_weights(lc_merger *merger, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    int64_t expected = 0;
    LC_TRY(lc_path_join(merger->base_dir, "model.safetensors", path, err));
    if (lc_path_exists(path)) {
        LC_TRY(merge_file(merger, "model.safetensors", err));
    } else {
        LC_TRY(lc_path_join(merger->base_dir, "model.safetensors.index.json", path, err));
        LC_TRY(merge_shards(merger, path, err));
    }
    for (int32_t layer = 0; layer < merger->config.layers; layer++) {
        for (int module = 0; module < LC_MODULE_COUNT; module++) {
            expected += merger->spec->slots[layer][module].rank > 0;
        }
    }
    if (merger->result->matrices != expected) {
        return lc_fail(err, LC_ERR_INVALID,
                       "the base has %lld of the %lld matrices that the adapter adapts",
                       (long long)merger->result->matrices, (long long)expected);
    }
    return LC_OK;
}

static lc_code copy_small_file(const lc_merger *merger, const char *name, lc_err *err)
{
    char from[LC_MAX_PATH_BYTES], to[LC_MAX_PATH_BYTES];
    char *data = NULL;
    size_t bytes = 0;
    LC_TRY(lc_path_join(merger->base_dir, name, from, err));
    if (!lc_path_exists(from)) {
        return LC_OK;
    }
    LC_TRY(lc_path_join(merger->temp_dir, name, to, err));
    LC_TRY(lc_file_read(from, MAX_COPY_BYTES, &data, &bytes, err));
    const lc_code code = lc_file_write_atomic(to, data, bytes, err);
    lc_free(data);
    return code;
}

static lc_code write_directory(lc_merger *merger, const char *out_dir, lc_err *err)
{
    LC_TRY(lc_mkdir_parents(merger->temp_dir, err));
    LC_TRY(merge_weights(merger, err));
    for (size_t i = 0; i < sizeof copied_files / sizeof *copied_files; i++) {
        LC_TRY(copy_small_file(merger, copied_files[i], err));
    }
    LC_TRY(lc_sync_dir(merger->temp_dir, err));
    return lc_rename(merger->temp_dir, out_dir, err);
}

static lc_code prepare(lc_merger *merger, const char *adapter_dir, lc_err *err)
{
    void *memory = NULL;
    int32_t widest = 0;
    LC_TRY(lc_model_config_load(merger->base_dir, &merger->config, err));
    LC_TRY(lc_new(&memory, 1, sizeof *merger->spec, "the adapter's table", err));
    merger->spec = memory;
    LC_TRY(lc_adapter_spec_load(adapter_dir, &merger->config, merger->spec, err));
    LC_TRY(lc_new(&memory, (size_t)merger->spec->master_count, sizeof(float), "the adapter", err));
    merger->master = memory;
    LC_TRY(lc_adapter_load(adapter_dir, merger->spec, &merger->config, merger->master, err));
    for (int module = 0; module < LC_MODULE_COUNT; module++) {
        const int32_t in = lc_module_in(&merger->config, (lc_module_kind)module);
        widest = in > widest ? in : widest;
    }
    LC_TRY(lc_new(&memory, 1, BLOCK_BYTES, "a block of weights", err));
    merger->block = memory;
    LC_TRY(lc_new(&memory, (size_t)widest, sizeof(float), "a row of weights", err));
    merger->row = memory;
    LC_TRY(lc_new(&memory, (size_t)widest, sizeof(float), "a row of weights", err));
    merger->delta = memory;
    return LC_OK;
}

static lc_code check_out_dir(const char *out_dir, lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    if (!lc_path_exists(out_dir)) {
        return LC_OK;
    }
    if (!lc_path_is_dir(out_dir)) {
        return lc_fail(err, LC_ERR_USAGE, "%s exists and is not a directory", out_dir);
    }
    LC_TRY(lc_list_dir(out_dir, &names, &count, err));
    lc_list_free(names, count);
    if (count > 0) {
        return lc_fail(err, LC_ERR_USAGE, "%s is not empty: choose a new directory", out_dir);
    }
    return LC_OK;
}

/* A sibling of out_dir, so that the rename stays on one file system. */
static lc_code choose_temp_dir(lc_merger *merger, const char *out_dir, lc_err *err)
{
    size_t length = strlen(out_dir);
    while (length > 1 && out_dir[length - 1] == '/') {
        length--;
    }
    const int written = snprintf(merger->temp_dir, sizeof merger->temp_dir, "%.*s.tmp-%ld",
                                 (int)length, out_dir, (long)getpid());
    if (length == 0 || written < 0 || (size_t)written >= sizeof merger->temp_dir) {
        return lc_fail(err, LC_ERR_USAGE, "the path \"%s\" is empty or too long", out_dir);
    }
    return LC_OK;
}

lc_code lc_merge(const char *base_dir, const char *adapter_dir, const char *out_dir,
                 lc_merge_result *result, lc_err *err)
{
    lc_code code;
    memset(result, 0, sizeof *result);
    lc_merger *merger = lc_calloc(1, sizeof *merger);
    if (merger == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to merge");
    }
    merger->base_dir = base_dir;
    merger->result = result;
    LC_TRY_GOTO(check_out_dir(out_dir, err));
    LC_TRY_GOTO(choose_temp_dir(merger, out_dir, err));
    LC_TRY_GOTO(prepare(merger, adapter_dir, err));
    code = write_directory(merger, out_dir, err);
    if (code != LC_OK) {
        lc_err ignored = {.code = LC_OK};
        (void)!lc_remove_tree(merger->temp_dir, &ignored);
    }
fail:
    lc_free(merger->delta);
    lc_free(merger->row);
    lc_free(merger->block);
    lc_free(merger->master);
    lc_free(merger->spec);
    lc_free(merger);
    return code;
}
