/*
 * The weights of a model directory as one set of names: model.safetensors, or the shards that
 * model.safetensors.index.json lists. Called by the model's loader; never reads outside the
 * directory. Tensors that a shard has beyond the index are found too, as in transformers; the same
 * name in two shards is an error.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors.h"
#include "text/text_checks.h"
#include "lorac/mem.h"

#define SINGLE_NAME     "model.safetensors"
#define INDEX_NAME      "model.safetensors.index.json"
#define MAX_INDEX_BYTES ((size_t)64 << 20)

typedef struct weight {
    const char *name; /* borrowed from the file */
    const lc_tensor_info *tensor;
    const lc_safetensors *file;
} weight;

struct lc_weight_files {
    lc_safetensors **files; /* file_count, owned, in the order of their names */
    const char **names;     /* file_count, file names; owned by the arena */
    int64_t file_count;
    weight *weights; /* weight_count, sorted by name */
    int64_t weight_count;
    int64_t bytes;
    lc_arena arena;
};

static lc_code open_single(lc_weight_files *set, const char *path, lc_err *err);
static lc_code open_shards(lc_weight_files *set, const char *dir, const char *index_path,
                           lc_err *err);
static lc_code merge_names(lc_weight_files *set, lc_err *err);

lc_code lc_weight_files_open(const char *model_dir, lc_weight_files **out, lc_err *err)
{
    char single[LC_MAX_PATH_BYTES], index[LC_MAX_PATH_BYTES];
    *out = NULL;
    LC_TRY(lc_path_join(model_dir, SINGLE_NAME, single, err));
    LC_TRY(lc_path_join(model_dir, INDEX_NAME, index, err));
    lc_weight_files *set = lc_calloc(1, sizeof *set);
    if (set == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the list of weights");
    }
    lc_arena_init(&set->arena, "weight files");
    lc_code code = LC_OK;
    if (lc_path_exists(single)) {
        code = open_single(set, single, err);
    } else if (lc_path_exists(index)) {
        code = open_shards(set, model_dir, index, err);
    } else {
        code = lc_fail_param(err, LC_ERR_NOT_FOUND, SINGLE_NAME,
                             "%s has neither " SINGLE_NAME " nor " INDEX_NAME
                             "; weights in other formats must be converted to safetensors first",
                             model_dir);
    }
    if (code == LC_OK) {
        code = merge_names(set, err);
    }
    if (code != LC_OK) {
        lc_weight_files_close(set);
        return code;
    }
    *out = set;
    return LC_OK;
}

void lc_weight_files_close(lc_weight_files *files)
{
    if (files == NULL) {
        return;
    }
    for (int64_t i = 0; i < files->file_count; i++) {
        lc_safetensors_close(files->files[i]);
    }
    lc_arena_release(&files->arena);
    lc_free(files);
}

static lc_code reserve_files(lc_weight_files *set, size_t count, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_arena_alloc(&set->arena, count, sizeof(lc_safetensors *), &memory, err));
    set->files = memory;
    LC_TRY(lc_arena_alloc(&set->arena, count, sizeof(char *), &memory, err));
    set->names = memory;
    return LC_OK;
}

static lc_code open_single(lc_weight_files *set, const char *path, lc_err *err)
{
    LC_TRY(reserve_files(set, 1, err));
    LC_TRY(lc_safetensors_open(path, &set->files[0], err));
    set->names[0] = SINGLE_NAME;
    set->file_count = 1;
    return LC_OK;
}

/* A shard is a plain file name in the model's own directory. */
static bool is_shard_name(const char *name)
{
    const size_t length = strlen(name);
    return length > 12 && length < 256 && strcmp(name + length - 12, ".safetensors") == 0 &&
           name[0] != '.' && strchr(name, '/') == NULL && strchr(name, '\\') == NULL &&
           lc_is_printable(name);
}

static int compare_strings(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* The distinct shard names of the index, sorted, into set->names. */
static lc_code collect_shards(lc_weight_files *set, const cJSON *map, const char **values,
                              lc_err *err)
{
    int64_t count = 0, distinct = 0;
    const cJSON *entry = NULL;
    cJSON_ArrayForEach(entry, map)
    {
        if (!cJSON_IsString(entry) || !is_shard_name(entry->valuestring)) {
            return lc_fail_param(err, LC_ERR_INVALID, "weight_map",
                                 INDEX_NAME
                                 ": the file of tensor %.200s is not the plain name of a "
                                 ".safetensors file in the model's directory",
                                 lc_is_printable(entry->string) ? entry->string : "(unprintable)");
        }
        values[count++] = entry->valuestring;
    }
    qsort(values, (size_t)count, sizeof *values, compare_strings);
    for (int64_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(values[i], values[i - 1]) != 0) {
            values[distinct++] = values[i];
        }
    }
    if (distinct > LC_MAX_SHARDS) {
        return lc_fail_param(err, LC_ERR_INVALID, "weight_map",
                             INDEX_NAME " names %" PRId64 " shards, more than the limit of %d",
                             distinct, LC_MAX_SHARDS);
    }
    LC_TRY(reserve_files(set, (size_t)distinct, err));
    for (int64_t i = 0; i < distinct; i++) {
        char *copy = NULL;
        LC_TRY(lc_arena_strdup(&set->arena, values[i], strlen(values[i]), &copy, err));
        set->names[i] = copy;
    }
    set->file_count = distinct;
    return LC_OK;
}

/* Every tensor of the index must be in the shard it names. */
static lc_code check_index(const lc_weight_files *set, const cJSON *map, lc_err *err)
{
    const cJSON *entry = NULL;
    cJSON_ArrayForEach(entry, map)
    {
        const char *const key = entry->valuestring;
        const char **place =
            bsearch(&key, set->names, (size_t)set->file_count, sizeof *set->names, compare_strings);
        const lc_safetensors *file = set->files[place - set->names];
        if (lc_safetensors_find(file, entry->string) == NULL) {
            return lc_fail_param(err, LC_ERR_INVALID, entry->string,
                                 "tensor %.200s: " INDEX_NAME " places it in %s, which lacks it",
                                 lc_is_printable(entry->string) ? entry->string : "(unprintable)",
                                 key);
        }
    }
    return LC_OK;
}

static lc_code open_listed(lc_weight_files *set, const char *dir, const cJSON *map, lc_err *err)
{
    const int64_t entries = cJSON_GetArraySize(map);
    if (entries == 0 || entries > LC_MAX_TENSORS) {
        return lc_fail_param(err, LC_ERR_INVALID, "weight_map",
                             INDEX_NAME ": weight_map has %" PRId64 " entries, expected 1 to %d",
                             entries, LC_MAX_TENSORS);
    }
    void *memory = NULL;
    LC_TRY(lc_new(&memory, (size_t)entries, sizeof(char *), "shard names", err));
    const lc_code code = collect_shards(set, map, memory, err);
    lc_free(memory);
    LC_TRY(code);
    for (int64_t i = 0; i < set->file_count; i++) {
        char path[LC_MAX_PATH_BYTES];
        LC_TRY(lc_path_join(dir, set->names[i], path, err));
        LC_TRY(lc_safetensors_open(path, &set->files[i], err));
    }
    return check_index(set, map, err);
}

static lc_code open_shards(lc_weight_files *set, const char *dir, const char *index_path,
                           lc_err *err)
{
    cJSON *root = NULL;
    const cJSON *map = NULL;
    LC_TRY(lc_json_load(index_path, MAX_INDEX_BYTES, LC_JSON_DEFAULT, &root, err));
    lc_code code = LC_OK;
    if (!cJSON_IsObject(root)) {
        code = lc_fail(err, LC_ERR_INVALID, "%s is not a JSON object", index_path);
    }
    if (code == LC_OK && lc_json_object(root, "weight_map", true, &map, err) != LC_OK) {
        code = lc_err_context(err, INDEX_NAME);
    }
    if (code == LC_OK) {
        code = open_listed(set, dir, map, err);
    }
    cJSON_Delete(root);
    return code;
}

static int compare_weights(const void *a, const void *b)
{
    return strcmp(((const weight *)a)->name, ((const weight *)b)->name);
}

static lc_code merge_names(lc_weight_files *set, lc_err *err)
{
    size_t total = 0;
    for (int64_t i = 0; i < set->file_count; i++) {
        total += (size_t)lc_safetensors_count(set->files[i]);
    }
    void *memory = NULL;
    LC_TRY(lc_arena_alloc(&set->arena, total + 1, sizeof *set->weights, &memory, err));
    set->weights = memory;
    for (int64_t i = 0; i < set->file_count; i++) {
        for (int64_t j = 0; j < lc_safetensors_count(set->files[i]); j++) {
            const lc_tensor_info *tensor = lc_safetensors_at(set->files[i], j);
            set->weights[set->weight_count++] = (weight){tensor->name, tensor, set->files[i]};
            set->bytes += tensor->bytes;
        }
    }
    qsort(set->weights, total, sizeof *set->weights, compare_weights);
    for (size_t i = 1; i < total; i++) {
        const char *name = set->weights[i].name;
        if (strcmp(set->weights[i - 1].name, name) == 0) {
            return lc_fail_param(err, LC_ERR_INVALID, name, "tensor %s is in two shards", name);
        }
    }
    return LC_OK;
}

const lc_tensor_info *lc_weight_files_find(const lc_weight_files *files, const char *name,
                                           const lc_safetensors **file)
{
    const weight key = {.name = name};
    const weight *found = bsearch(&key, files->weights, (size_t)files->weight_count,
                                  sizeof *files->weights, compare_weights);
    if (found == NULL) {
        return NULL;
    }
    if (file != NULL) {
        *file = found->file;
    }
    return found->tensor;
}

int64_t lc_weight_files_count(const lc_weight_files *files)
{
    return files->weight_count;
}

const lc_tensor_info *lc_weight_files_at(const lc_weight_files *files, int64_t index,
                                         const lc_safetensors **file)
{
    if (file != NULL) {
        *file = files->weights[index].file;
    }
    return files->weights[index].tensor;
}

int64_t lc_weight_files_bytes(const lc_weight_files *files)
{
    return files->bytes;
}
