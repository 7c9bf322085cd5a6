/*
 * Writer of .safetensors files, byte for byte what the reference writer makes of the same tensors
 * and metadata. Called for adapters, checkpoints and tokenized data sets.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors.h"
#include "text/text_checks.h"
#include "lorac/mem.h"

/* The reference sorts by its list of dtypes, last first; within one dtype by name. */
static int dtype_place(lc_dtype dtype)
{
    static const lc_dtype order[] = {LC_U64, LC_I64, LC_F64, LC_F32, LC_U32, LC_I32, LC_BF16,
                                     LC_F16, LC_U16, LC_I16, LC_I8,  LC_U8,  LC_BOOL};
    int place = 0;
    while (place < LC_DTYPE_COUNT && order[place] != dtype) {
        place++;
    }
    return place;
}

static int compare_out(const void *a, const void *b)
{
    const lc_tensor_out *const *x = a, *const *y = b;
    const int px = dtype_place((*x)->dtype), py = dtype_place((*y)->dtype);
    return px != py ? px - py : strcmp((*x)->name, (*y)->name);
}

static lc_code tensor_bytes(const lc_tensor_out *tensor, int64_t *bytes, lc_err *err)
{
    *bytes = (int64_t)lc_dtype_bytes(tensor->dtype);
    if (tensor->rank < 0 || tensor->rank > LC_MAX_TENSOR_RANK) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                             "tensor %s has %d dimensions (limit %d)", tensor->name, tensor->rank,
                             LC_MAX_TENSOR_RANK);
    }
    for (int i = 0; i < tensor->rank; i++) {
        if (tensor->shape[i] < 0 || !lc_mul_i64(*bytes, tensor->shape[i], bytes)) {
            return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                                 "tensor %s: its shape overflows", tensor->name);
        }
    }
    return LC_OK;
}

static lc_code check_names(const lc_tensor_out *const *sorted, int64_t count, lc_err *err)
{
    for (int64_t i = 0; i < count; i++) {
        const char *name = sorted[i]->name;
        if (strlen(name) > LC_MAX_TENSOR_NAME || !lc_is_printable(name) ||
            strcmp(name, "__metadata__") == 0) {
            return lc_fail_param(err, LC_ERR_INVALID, name, "\"%.60s\" cannot be a tensor's name",
                                 name);
        }
    }
    return LC_OK;
}

static void add_metadata(lc_text *text, const lc_metadata *metadata, int64_t count)
{
    lc_text_add(text, "\"__metadata__\":{", 16);
    for (int64_t i = 0; i < count; i++) {
        if (i > 0) {
            lc_text_add(text, ",", 1);
        }
        lc_text_add_json_string(text, metadata[i].key, strlen(metadata[i].key));
        lc_text_add(text, ":", 1);
        lc_text_add_json_string(text, metadata[i].value, strlen(metadata[i].value));
    }
    lc_text_add(text, "}", 1);
}

static void add_entry(lc_text *text, const lc_tensor_out *tensor, int64_t begin, int64_t end)
{
    lc_text_add_json_string(text, tensor->name, strlen(tensor->name));
    lc_text_addf(text, ":{\"dtype\":\"%s\",\"shape\":[", lc_dtype_name(tensor->dtype));
    for (int i = 0; i < tensor->rank; i++) {
        lc_text_addf(text, "%s%" PRId64, i > 0 ? "," : "", tensor->shape[i]);
    }
    lc_text_addf(text, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", begin, end);
}

static lc_code build_header(lc_text *text, const lc_tensor_out *const *sorted, int64_t count,
                            const lc_metadata *metadata, int64_t metadata_count, lc_err *err)
{
    int64_t begin = 0;
    lc_text_add(text, "{", 1);
    if (metadata_count > 0) {
        add_metadata(text, metadata, metadata_count);
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t bytes = 0, end = 0;
        LC_TRY(tensor_bytes(sorted[i], &bytes, err));
        if (!lc_add_i64(begin, bytes, &end)) {
            return lc_fail(err, LC_ERR_INVALID, "the tensors' sizes overflow");
        }
        if (i > 0 || metadata_count > 0) {
            lc_text_add(text, ",", 1);
        }
        add_entry(text, sorted[i], begin, end);
        begin = end;
    }
    lc_text_add(text, "}", 1);
    lc_text_add(text, "       ", (8 - text->length % 8) % 8);
    LC_TRY(lc_text_finish(text, "safetensors header", err));
    if (text->length > LC_MAX_SAFETENSORS_HEADER) {
        return lc_fail(err, LC_ERR_INVALID,
                       "a safetensors header of %zu bytes is above the limit of %d", text->length,
                       LC_MAX_SAFETENSORS_HEADER);
    }
    return LC_OK;
}

static lc_code write_all(lc_writer *writer, const lc_text *text, const lc_tensor_out *const *sorted,
                         int64_t count, lc_err *err)
{
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++) {
        prefix[i] = (uint8_t)((uint64_t)text->length >> (8 * i));
    }
    LC_TRY(lc_writer_write(writer, prefix, sizeof prefix, err));
    LC_TRY(lc_writer_write(writer, text->data, text->length, err));
    for (int64_t i = 0; i < count; i++) {
        int64_t bytes = 0;
        LC_TRY(tensor_bytes(sorted[i], &bytes, err));
        if (bytes > 0) {
            LC_TRY(lc_writer_write(writer, sorted[i]->data, (size_t)bytes, err));
        }
    }
    return LC_OK;
}

lc_code lc_safetensors_write(const char *path, const lc_tensor_out *tensors, int64_t count,
                             const lc_metadata *metadata, int64_t metadata_count,
                             uint8_t sha256[32], int64_t *bytes, lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    lc_writer *writer = NULL;
    void *memory = NULL;
    lc_code code = lc_new(&memory, (size_t)count + 1, sizeof(lc_tensor_out *), "tensor list", err);
    const lc_tensor_out **sorted = memory;
    if (code != LC_OK) {
        goto fail;
    }
    for (int64_t i = 0; i < count; i++) {
        sorted[i] = &tensors[i];
    }
    qsort(sorted, (size_t)count, sizeof *sorted, compare_out);
    LC_TRY_GOTO(check_names(sorted, count, err));
    LC_TRY_GOTO(build_header(&text, sorted, count, metadata, metadata_count, err));
    LC_TRY_GOTO(lc_writer_open(path, &writer, err));
    LC_TRY_GOTO(write_all(writer, &text, sorted, count, err));
    code = lc_writer_close(writer, bytes, sha256, err);
    writer = NULL;
fail:
    if (writer != NULL) {
        lc_writer_abort(writer);
    }
    lc_text_release(&text);
    lc_free(memory);
    return code;
}
