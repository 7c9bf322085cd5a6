/*
 * Reader of .safetensors files: the header is checked whole before anything is believed, data is
 * read with pread. Called by weights, adapters, checkpoints and tokenized data sets; knows nothing
 * of what a tensor means. Rules: those of the reference reader, and where it is silent (duplicate
 * keys, unknown members, number spelling) the strict reading.
 */
#include "data/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "text/text_checks.h"
#include "lorac/mem.h"

#define LENGTH_BYTES 8 /* the little-endian header length in front */

struct lc_safetensors {
    lc_reader reader;
    bool has_reader;
    lc_arena arena; /* owns everything below */
    lc_tensor_info *tensors;
    const lc_tensor_info **by_name;
    int64_t count;
    lc_metadata *metadata;
    int64_t metadata_count;
};

/* One header being read. */
typedef struct header {
    lc_safetensors *file;
    int64_t data_start; /* absolute */
    int64_t data_bytes;
} header;

static lc_code parse_header(lc_safetensors *file, const char *json, size_t json_bytes,
                            int64_t file_bytes, lc_err *err);
static lc_code check_length(const uint8_t prefix[LENGTH_BYTES], int64_t file_bytes, size_t *length,
                            lc_err *err);

static lc_code read_header(lc_safetensors *file, lc_err *err)
{
    uint8_t prefix[LENGTH_BYTES];
    size_t length = 0;
    if (file->reader.bytes < LENGTH_BYTES) {
        return lc_fail(err, LC_ERR_INVALID,
                       "%" PRId64 " bytes are too few for a safetensors file: it starts with 8 "
                       "bytes that hold the header's length",
                       file->reader.bytes);
    }
    LC_TRY(lc_reader_read(&file->reader, 0, prefix, sizeof prefix, err));
    LC_TRY(check_length(prefix, file->reader.bytes, &length, err));
    char *json = lc_malloc(length + 1);
    if (json == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a safetensors header of %zu bytes",
                       length);
    }
    lc_code code = lc_reader_read(&file->reader, LENGTH_BYTES, json, length, err);
    if (code == LC_OK) {
        json[length] = '\0';
        code = parse_header(file, json, length, file->reader.bytes, err);
    }
    lc_free(json);
    return code;
}

lc_code lc_safetensors_open(const char *path, lc_safetensors **out, lc_err *err)
{
    *out = NULL;
    lc_safetensors *file = lc_calloc(1, sizeof *file);
    if (file == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to open %s", path);
    }
    lc_arena_init(&file->arena, "safetensors header");
    lc_code code = lc_reader_open(path, &file->reader, err);
    if (code == LC_OK) {
        file->has_reader = true;
        code = read_header(file, err);
        if (code != LC_OK) {
            (void)lc_err_context(err, "%s", path);
        }
    }
    if (code != LC_OK) {
        lc_safetensors_close(file);
        return code;
    }
    *out = file;
    return LC_OK;
}

void lc_safetensors_close(lc_safetensors *file)
{
    if (file == NULL) {
        return;
    }
    if (file->has_reader) {
        lc_reader_close(&file->reader);
    }
    lc_arena_release(&file->arena);
    lc_free(file);
}

lc_code lc_safetensors_check(const uint8_t *data, size_t bytes, lc_err *err)
{
    size_t length = 0;
    if (bytes < LENGTH_BYTES || bytes > INT64_MAX) {
        return lc_fail(err, LC_ERR_INVALID, "%zu bytes cannot be a safetensors file", bytes);
    }
    LC_TRY(check_length(data, (int64_t)bytes, &length, err));
    lc_safetensors file = {0};
    lc_arena_init(&file.arena, "safetensors header");
    const lc_code code =
        parse_header(&file, (const char *)data + LENGTH_BYTES, length, (int64_t)bytes, err);
    lc_arena_release(&file.arena);
    return code;
}

/* The header's length from the first eight bytes, and that the file has room for it. */
static lc_code check_length(const uint8_t prefix[LENGTH_BYTES], int64_t file_bytes, size_t *length,
                            lc_err *err)
{
    uint64_t value = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) {
        value = value << 8 | prefix[i];
    }
    if (value > LC_MAX_SAFETENSORS_HEADER) {
        return lc_fail(err, LC_ERR_INVALID,
                       "the safetensors header is said to have %" PRIu64
                       " bytes, more than the limit of %d",
                       value, LC_MAX_SAFETENSORS_HEADER);
    }
    if (value < 2 || (int64_t)value > file_bytes - LENGTH_BYTES) {
        return lc_fail(err, LC_ERR_INVALID,
                       "the safetensors header is said to have %" PRIu64
                       " bytes, but the file has %" PRId64 " in all: cut off or not safetensors",
                       value, file_bytes);
    }
    *length = (size_t)value;
    return LC_OK;
}

/* Exact, because the JSON was read with LC_JSON_PLAIN_INTEGERS. */
static bool read_integer(const cJSON *item, int64_t *out)
{
    if (!cJSON_IsNumber(item)) {
        return false;
    }
    *out = (int64_t)item->valuedouble;
    return true;
}

static lc_code read_dtype(const cJSON *item, lc_tensor_info *tensor, lc_err *err)
{
    static const char *const later[] = {"F4",          "F6_E2M3",     "F6_E3M2",
                                        "F8_E5M2",     "F8_E4M3",     "F8_E8M0",
                                        "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};
    if (!cJSON_IsString(item)) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name, "tensor %s: dtype is not a string",
                             tensor->name);
    }
    if (lc_dtype_from_name(item->valuestring, &tensor->dtype)) {
        return LC_OK;
    }
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        if (strcmp(item->valuestring, later[i]) == 0) {
            return lc_fail_param(err, LC_ERR_UNSUPPORTED, tensor->name,
                                 "tensor %s: dtype %s is not supported", tensor->name, later[i]);
        }
    }
    return lc_fail_param(err, LC_ERR_INVALID, tensor->name, "tensor %s: unknown dtype \"%.32s\"",
                         tensor->name,
                         lc_is_printable(item->valuestring) ? item->valuestring : "(unprintable)");
}

static lc_code read_shape(const cJSON *item, lc_tensor_info *tensor, lc_err *err)
{
    if (!cJSON_IsArray(item)) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name, "tensor %s: shape is not an array",
                             tensor->name);
    }
    const cJSON *dimension = NULL;
    cJSON_ArrayForEach(dimension, item)
    {
        if (tensor->rank == LC_MAX_TENSOR_RANK) {
            return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                                 "tensor %s has more than %d dimensions", tensor->name,
                                 LC_MAX_TENSOR_RANK);
        }
        if (!read_integer(dimension, &tensor->shape[tensor->rank++])) {
            return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                                 "tensor %s: shape holds something that is not a number",
                                 tensor->name);
        }
    }
    return LC_OK;
}

static lc_code read_offsets(const header *h, const cJSON *item, lc_tensor_info *tensor, lc_err *err)
{
    int64_t begin = 0, end = 0;
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2 ||
        !read_integer(item->child, &begin) || !read_integer(item->child->next, &end)) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                             "tensor %s: data_offsets is not an array of two numbers",
                             tensor->name);
    }
    if (begin > end || end > h->data_bytes) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                             "tensor %s: data_offsets [%" PRId64 ", %" PRId64
                             "] are not inside the file's %" PRId64 " bytes of data",
                             tensor->name, begin, end, h->data_bytes);
    }
    tensor->offset = h->data_start + begin;
    tensor->bytes = end - begin;
    return LC_OK;
}

static lc_code check_size(const lc_tensor_info *tensor, lc_err *err)
{
    int64_t bytes = 1;
    bool fits = true;
    for (int i = 0; i < tensor->rank; i++) {
        fits = fits && lc_mul_i64(bytes, tensor->shape[i], &bytes);
    }
    fits = fits && lc_mul_i64(bytes, (int64_t)lc_dtype_bytes(tensor->dtype), &bytes);
    if (!fits) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name, "tensor %s: its shape overflows",
                             tensor->name);
    }
    if (bytes != tensor->bytes) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                             "tensor %s: shape and dtype %s need %" PRId64
                             " bytes, data_offsets hold %" PRId64,
                             tensor->name, lc_dtype_name(tensor->dtype), bytes, tensor->bytes);
    }
    return LC_OK;
}

static lc_code read_tensor(const header *h, const cJSON *item, lc_tensor_info *tensor, lc_err *err)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets", NULL};
    const size_t length = strlen(item->string);
    if (length > LC_MAX_TENSOR_NAME) {
        return lc_fail(err, LC_ERR_INVALID, "a tensor name of %zu bytes (limit %d): %.60s...",
                       length, LC_MAX_TENSOR_NAME,
                       lc_is_printable(item->string) ? item->string : "");
    }
    if (!lc_is_printable(item->string)) {
        return lc_fail(err, LC_ERR_INVALID, "a tensor name has control characters");
    }
    char *name = NULL;
    LC_TRY(lc_arena_strdup(&h->file->arena, item->string, length, &name, err));
    tensor->name = name;
    if (!cJSON_IsObject(item)) {
        return lc_fail_param(err, LC_ERR_INVALID, name, "tensor %s: its entry is not an object",
                             name);
    }
    LC_TRY(lc_json_only_keys(item, keys, name, err));
    LC_TRY(read_dtype(lc_json_get(item, "dtype"), tensor, err));
    LC_TRY(read_shape(lc_json_get(item, "shape"), tensor, err));
    LC_TRY(read_offsets(h, lc_json_get(item, "data_offsets"), tensor, err));
    return check_size(tensor, err);
}

static lc_code read_metadata(lc_safetensors *file, const cJSON *item, lc_err *err)
{
    if (!cJSON_IsObject(item)) {
        return lc_fail(err, LC_ERR_INVALID, "__metadata__ is not an object");
    }
    const int64_t count = cJSON_GetArraySize(item);
    void *memory = NULL;
    LC_TRY(lc_arena_alloc(&file->arena, (size_t)count + 1, sizeof *file->metadata, &memory, err));
    file->metadata = memory;
    const cJSON *entry = NULL;
    cJSON_ArrayForEach(entry, item)
    {
        if (!cJSON_IsString(entry)) {
            return lc_fail(err, LC_ERR_INVALID, "__metadata__: a value is not a string");
        }
        char *key = NULL, *value = NULL;
        LC_TRY(lc_arena_strdup(&file->arena, entry->string, strlen(entry->string), &key, err));
        LC_TRY(lc_arena_strdup(&file->arena, entry->valuestring, strlen(entry->valuestring), &value,
                               err));
        file->metadata[file->metadata_count++] = (lc_metadata){key, value};
    }
    return LC_OK;
}

static int compare_offsets(const void *a, const void *b)
{
    const lc_tensor_info *x = a, *y = b;
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    if (x->bytes !=
        y->bytes) { /* an empty tensor goes before the one that begins at the same place */
        return x->bytes < y->bytes ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b)
{
    const lc_tensor_info *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The tensors, sorted by offset, must cover the data without hole, overlap or rest. */
static lc_code check_tiling(const header *h, lc_err *err)
{
    int64_t expected = h->data_start;
    for (int64_t i = 0; i < h->file->count; i++) {
        const lc_tensor_info *tensor = &h->file->tensors[i];
        if (tensor->offset != expected) {
            return lc_fail_param(
                err, LC_ERR_INVALID, tensor->name,
                "tensor %s: its data begins at %" PRId64 ", expected %" PRId64 ": the tensors %s",
                tensor->name, tensor->offset - h->data_start, expected - h->data_start,
                tensor->offset > expected ? "leave a hole" : "overlap");
        }
        expected += tensor->bytes;
    }
    if (expected != h->data_start + h->data_bytes) {
        return lc_fail(err, LC_ERR_INVALID, "%" PRId64 " bytes at the end belong to no tensor",
                       h->data_start + h->data_bytes - expected);
    }
    return LC_OK;
}

static lc_code read_entries(const header *h, const cJSON *root, lc_err *err)
{
    lc_safetensors *file = h->file;
    const int64_t entries = cJSON_GetArraySize(root);
    const bool has_metadata = cJSON_GetObjectItemCaseSensitive(root, "__metadata__") != NULL;
    const int64_t tensors = entries - (has_metadata ? 1 : 0);
    if (tensors > LC_MAX_TENSORS) {
        return lc_fail(err, LC_ERR_INVALID, "%" PRId64 " tensors, more than the limit of %d",
                       tensors, LC_MAX_TENSORS);
    }
    void *memory = NULL;
    LC_TRY(lc_arena_alloc(&file->arena, (size_t)entries + 1, sizeof *file->tensors, &memory, err));
    file->tensors = memory;
    LC_TRY(lc_arena_alloc(&file->arena, (size_t)entries + 1, sizeof *file->by_name, &memory, err));
    file->by_name = memory;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, root)
    {
        if (strcmp(item->string, "__metadata__") == 0) {
            LC_TRY(read_metadata(file, item, err));
        } else {
            LC_TRY(read_tensor(h, item, &file->tensors[file->count], err));
            file->count++;
        }
    }
    qsort(file->tensors, (size_t)file->count, sizeof *file->tensors, compare_offsets);
    for (int64_t i = 0; i < file->count; i++) {
        file->by_name[i] = &file->tensors[i];
    }
    qsort(file->by_name, (size_t)file->count, sizeof *file->by_name, compare_names);
    return check_tiling(h, err);
}

static lc_code parse_header(lc_safetensors *file, const char *json, size_t json_bytes,
                            int64_t file_bytes, lc_err *err)
{
    if (json[0] != '{') {
        return lc_fail(err, LC_ERR_INVALID,
                       "the safetensors header does not begin with '{': not a safetensors file");
    }
    const header h = {
        .file = file,
        .data_start = LENGTH_BYTES + (int64_t)json_bytes,
        .data_bytes = file_bytes - LENGTH_BYTES - (int64_t)json_bytes,
    };
    cJSON *root = NULL;
    LC_TRY(
        lc_json_parse(json, json_bytes, LC_JSON_PLAIN_INTEGERS, "safetensors header", &root, err));
    const lc_code code = read_entries(&h, root, err);
    cJSON_Delete(root);
    return code;
}

int64_t lc_safetensors_count(const lc_safetensors *file)
{
    return file->count;
}

const lc_tensor_info *lc_safetensors_at(const lc_safetensors *file, int64_t index)
{
    return index >= 0 && index < file->count ? &file->tensors[index] : NULL;
}

const lc_tensor_info *lc_safetensors_find(const lc_safetensors *file, const char *name)
{
    const lc_tensor_info wanted = {.name = name};
    const lc_tensor_info *key = &wanted;
    const lc_tensor_info **found =
        bsearch(&key, file->by_name, (size_t)file->count, sizeof *file->by_name, compare_names);
    return found != NULL ? *found : NULL;
}

const char *lc_safetensors_metadata(const lc_safetensors *file, const char *key)
{
    for (int64_t i = 0; i < file->metadata_count; i++) {
        if (strcmp(file->metadata[i].key, key) == 0) {
            return file->metadata[i].value;
        }
    }
    return NULL;
}

lc_code lc_safetensors_read(const lc_safetensors *file, const lc_tensor_info *tensor,
                            int64_t offset, void *to, size_t bytes, lc_err *err)
{
    if (offset < 0 || offset > tensor->bytes || bytes > (size_t)(tensor->bytes - offset)) {
        return lc_fail_param(err, LC_ERR_INTERNAL, tensor->name,
                             "tensor %s: a read of %zu bytes at %" PRId64 " leaves its %" PRId64
                             " bytes",
                             tensor->name, bytes, offset, tensor->bytes);
    }
    if (bytes == 0) {
        return LC_OK;
    }
    return lc_reader_read(&file->reader, tensor->offset + offset, to, bytes, err);
}

/* A matrix being filled while its elements arrive in row-major order. */
typedef struct filler {
    lc_mat to;
    lc_dtype from;
    int64_t row, col; /* where the next element goes */
} filler;

static bool fill(filler *f, const uint8_t *elements, int64_t count)
{
    const size_t from_bytes = lc_dtype_bytes(f->from);
    const size_t to_bytes = lc_dtype_bytes(f->to.dtype);
    while (count > 0) {
        const int64_t room = f->to.cols - f->col;
        const int64_t take = count < room ? count : room;
        uint8_t *place = (uint8_t *)f->to.data + (size_t)(f->row * f->to.ld + f->col) * to_bytes;
        if (f->from == f->to.dtype) {
            memcpy(place, elements, (size_t)take * from_bytes);
        } else if (!lc_convert(elements, f->from, place, f->to.dtype, (size_t)take)) {
            return false;
        }
        elements += (size_t)take * from_bytes;
        count -= take;
        f->col += take;
        if (f->col == f->to.cols) {
            f->col = 0;
            f->row++;
        }
    }
    return true;
}

static lc_code check_mat(const lc_tensor_info *tensor, lc_mat to, lc_err *err)
{
    const int64_t rows = tensor->rank == 2 ? tensor->shape[0] : 1;
    const int64_t cols = tensor->rank == 2 ? tensor->shape[1] : tensor->shape[0];
    if (tensor->rank < 1 || tensor->rank > 2) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                             "tensor %s: expected %" PRId64 " x %" PRId64
                             ", found a tensor of %d dimensions",
                             tensor->name, to.rows, to.cols, tensor->rank);
    }
    if (rows != to.rows || cols != to.cols) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                             "tensor %s: expected %" PRId64 " x %" PRId64 ", found %" PRId64
                             " x %" PRId64,
                             tensor->name, to.rows, to.cols, rows, cols);
    }
    if (tensor->dtype != LC_F32 && tensor->dtype != LC_BF16 && tensor->dtype != LC_F16) {
        return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                             "tensor %s: expected dtype F32, BF16 or F16, found %s", tensor->name,
                             lc_dtype_name(tensor->dtype));
    }
    return LC_OK;
}

lc_code lc_safetensors_read_mat(const lc_safetensors *file, const lc_tensor_info *tensor, lc_mat to,
                                void *buffer, size_t buffer_bytes, lc_err *err)
{
    LC_TRY(check_mat(tensor, to, err));
    if (tensor->dtype == to.dtype && (to.ld == to.cols || to.rows == 1)) {
        return lc_safetensors_read(file, tensor, 0, to.data, (size_t)tensor->bytes, err);
    }
    const int64_t element = (int64_t)lc_dtype_bytes(tensor->dtype);
    const int64_t chunk = (int64_t)(buffer_bytes / (size_t)element) * element;
    filler f = {.to = to, .from = tensor->dtype};
    for (int64_t done = 0; done < tensor->bytes;) {
        const int64_t rest = tensor->bytes - done;
        const int64_t bytes = rest < chunk ? rest : chunk;
        LC_TRY(lc_safetensors_read(file, tensor, done, buffer, (size_t)bytes, err));
        if (!fill(&f, buffer, bytes / element)) {
            return lc_fail_param(err, LC_ERR_INTERNAL, tensor->name,
                                 "tensor %s: no conversion from %s to %s", tensor->name,
                                 lc_dtype_name(tensor->dtype), lc_dtype_name(to.dtype));
        }
        done += bytes;
    }
    return LC_OK;
}
