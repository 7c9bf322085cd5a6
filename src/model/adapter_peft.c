/*
 * Reads a PEFT adapter directory. The tensor names are the truth about what is adapted;
 * target_modules and layers_to_transform, which may be null, are not looked at.
 */
#include "model/adapter_peft.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "data/safetensors.h"
#include "lorac/mem.h"
#include "model/adapter_layout.h"

#define PREFIX       "base_model.model.model.layers."
#define BUFFER_BYTES ((size_t)1 << 20)

/* Parts of names that belong to other kinds of adapters. */
static const struct {
    const char *part, *what;
} refused_parts[] = {
    {"lora_embedding_", "an adapter on the embedding"},
    {"lora_magnitude_vector", "DoRA"},
    {".lora_B.bias", "a bias in lora_B"},
    {"lm_head.", "an adapter on, or a copy of, the head"},
    {"embed_tokens.", "an adapter on, or a copy of, the embedding"},
    {"modules_to_save", "a fully trained module"},
};

static lc_code refuse_name(const char *name, lc_err *err)
{
    for (size_t i = 0; i < sizeof(refused_parts) / sizeof(refused_parts[0]); i++) {
        if (strstr(name, refused_parts[i].part) != NULL) {
            return lc_fail_param(err, LC_ERR_UNSUPPORTED, name,
                                 "tensor %.200s: %s is not supported", name, refused_parts[i].what);
        }
    }
    return lc_fail_param(
        err, LC_ERR_INVALID, name,
        "tensor %.200s: expected names like " PREFIX "0.self_attn.q_proj.lora_A.weight", name);
}

/* The number before the next dot; -1 where there is none. *rest: behind the dot. */
static int32_t parse_layer(const char *text, const char **rest)
{
    int32_t layer = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9'; digits++) {
        if (digits == 7) {
            return -1;
        }
        layer = layer * 10 + (text[digits] - '0');
    }
    *rest = text + digits + 1;
    const bool has_leading_zero = digits > 1 && text[0] == '0';
    return digits == 0 || has_leading_zero || text[digits] != '.' ? -1 : layer;
}

/* ".lora_A.weight" or ".lora_A.NAME.weight" */
static bool parse_side(const char *text, bool *is_b)
{
    if (strncmp(text, ".lora_", 6) != 0 || (text[6] != 'A' && text[6] != 'B') || text[7] != '.') {
        return false;
    }
    *is_b = text[6] == 'B';
    const char *rest = text + 8;
    if (strcmp(rest, "weight") == 0) {
        return true;
    }
    const char *dot = strchr(rest, '.');
    return dot != NULL && dot > rest && strcmp(dot, ".weight") == 0;
}

lc_code lc_peft_tensor_parse(const char *name, const lc_model_config *config, lc_peft_tensor *out,
                             lc_err *err)
{
    const char *rest = NULL;
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0) {
        return refuse_name(name, err);
    }
    out->layer = parse_layer(name + strlen(PREFIX), &rest);
    for (int kind = 0; out->layer >= 0 && kind < LC_MODULE_COUNT; kind++) {
        const size_t length = strlen(lc_module_path((lc_module_kind)kind));
        if (strncmp(rest, lc_module_path((lc_module_kind)kind), length) == 0 &&
            parse_side(rest + length, &out->is_b)) {
            out->kind = (lc_module_kind)kind;
            if (out->layer >= config->layers) {
                return lc_fail_param(err, LC_ERR_INVALID, name,
                                     "tensor %.200s: expected a layer in 0..%d, found %d", name,
                                     config->layers - 1, out->layer);
            }
            return LC_OK;
        }
    }
    return refuse_name(name, err);
}

/* An open adapter: its configuration and its tensors by place. */
typedef struct peft_files {
    lc_peft_config config;
    lc_safetensors *file;                                             /* owned */
    const lc_tensor_info *tensors[LC_MAX_LAYERS][LC_MODULE_COUNT][2]; /* A, B; NULL: none */
} peft_files;

static void files_release(peft_files *files)
{
    lc_peft_config_release(&files->config);
    lc_safetensors_close(files->file);
    lc_free(files);
}

static lc_code open_config(const char *dir, lc_peft_config *out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    LC_TRY(lc_path_join(dir, "adapter_config.json", path, err));
    LC_TRY(lc_file_read(path, LC_MAX_ADAPTER_CONFIG_BYTES, &text, &bytes, err));
    const lc_code code = lc_peft_config_parse(text, bytes, path, out, err);
    lc_free(text);
    return code;
}

/* Every tensor to its place. */
static lc_code place_tensors(const lc_model_config *config, peft_files *files, lc_err *err)
{
    for (int64_t i = 0; i < lc_safetensors_count(files->file); i++) {
        const lc_tensor_info *tensor = lc_safetensors_at(files->file, i);
        lc_peft_tensor place = {0};
        LC_TRY(lc_peft_tensor_parse(tensor->name, config, &place, err));
        const lc_tensor_info **slot = &files->tensors[place.layer][place.kind][place.is_b];
        if (*slot != NULL) {
            return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                                 "tensors %.200s and %.200s are the same matrix", (*slot)->name,
                                 tensor->name);
        }
        *slot = tensor;
    }
    if (lc_safetensors_count(files->file) == 0) {
        return lc_fail(err, LC_ERR_INVALID, "no tensor in it");
    }
    return LC_OK;
}

static lc_code open_tensors(const char *dir, const lc_model_config *config, peft_files *files,
                            lc_err *err)
{
    char path[LC_MAX_PATH_BYTES], legacy[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(dir, "adapter_model.safetensors", path, err));
    LC_TRY(lc_path_join(dir, "adapter_model.bin", legacy, err));
    if (!lc_path_exists(path) && lc_path_exists(legacy)) {
        return lc_fail(
            err, LC_ERR_UNSUPPORTED,
            "%s is a pickle, which is never read; save the adapter again with a PEFT that "
            "writes adapter_model.safetensors",
            legacy);
    }
    LC_TRY(lc_safetensors_open(path, &files->file, err));
    const lc_code code = place_tensors(config, files, err);
    return code == LC_OK ? LC_OK : lc_err_context(err, "%s", path);
}

static lc_code files_open(const char *dir, const lc_model_config *config, peft_files **out,
                          lc_err *err)
{
    peft_files *files = NULL;
    LC_TRY(lc_new((void **)&files, 1, sizeof(*files), "adapter", err));
    lc_code code = open_config(dir, &files->config, err);
    if (code == LC_OK) {
        code = open_tensors(dir, config, files, err);
    }
    if (code != LC_OK) {
        files_release(files);
        return code;
    }
    *out = files;
    return LC_OK;
}

static lc_code check_shape(const lc_tensor_info *tensor, int64_t rows, int64_t cols, lc_err *err)
{
    if (tensor->rank == 2 && tensor->shape[0] == rows && tensor->shape[1] == cols) {
        return LC_OK;
    }
    char found[16 + LC_MAX_TENSOR_RANK * 24] = "[";
    for (int i = 0, at = 1; i < tensor->rank && i < LC_MAX_TENSOR_RANK; i++) {
        at += snprintf(found + at, sizeof(found) - (size_t)at, "%s%lld", i > 0 ? ", " : "",
                       (long long)tensor->shape[i]);
    }
    return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                         "tensor %.200s: expected [%lld, %lld], found %s]", tensor->name,
                         (long long)rows, (long long)cols, found);
}

/* A and B of one linear against the ranks of the configuration. */
static lc_code make_slot(const peft_files *files, const lc_model_config *config, int32_t layer,
                         lc_module_kind kind, lc_lora_slot *out, lc_err *err)
{
    const lc_tensor_info *a = files->tensors[layer][kind][0], *b = files->tensors[layer][kind][1];
    char name[LC_MODULE_NAME_BYTES];
    int32_t rank = 0;
    double alpha = 0;
    if (a == NULL && b == NULL) {
        return LC_OK;
    }
    if (a == NULL || b == NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, a != NULL ? a->name : b->name,
                             "tensor %.200s has no lora_%c beside it",
                             a != NULL ? a->name : b->name, a != NULL ? 'B' : 'A');
    }
    lc_module_name(layer, kind, name);
    LC_TRY(lc_peft_config_module(&files->config, name, &rank, &alpha, err));
    LC_TRY(check_shape(a, rank, lc_module_in(config, kind), err));
    LC_TRY(check_shape(b, lc_module_out(config, kind), rank, err));
    *out = lc_lora_slot_make(rank, alpha, files->config.use_rslora);
    return LC_OK;
}

lc_code lc_adapter_spec_load(const char *adapter_dir, const lc_model_config *config,
                             lc_adapter_spec *out, lc_err *err)
{
    peft_files *files = NULL;
    lc_code code = LC_OK;
    memset(out, 0, sizeof(*out));
    LC_TRY(files_open(adapter_dir, config, &files, err));
    out->use_rslora = files->config.use_rslora;
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            LC_TRY_GOTO(make_slot(files, config, layer, (lc_module_kind)kind,
                                  &out->slots[layer][kind], err));
        }
    }
    lc_adapter_spec_layout(config, out);
fail:
    files_release(files);
    return code == LC_OK ? LC_OK : lc_err_context(err, "%s", adapter_dir);
}

/* One matrix into its place in the masters. */
static lc_code read_matrix(const peft_files *files, const lc_tensor_info *tensor, lc_mat to,
                           void *buffer, lc_err *err)
{
    LC_TRY(check_shape(tensor, to.rows, to.cols, err));
    LC_TRY(lc_safetensors_read_mat(files->file, tensor, to, buffer, BUFFER_BYTES, err));
    for (int64_t row = 0; row < to.rows; row++) {
        const float *values = (const float *)to.data + row * to.ld;
        for (int64_t col = 0; col < to.cols; col++) {
            if (!isfinite(values[col])) {
                return lc_fail_param(err, LC_ERR_INVALID, tensor->name,
                                     "tensor %.200s: element [%lld, %lld] is not finite",
                                     tensor->name, (long long)row, (long long)col);
            }
        }
    }
    return LC_OK;
}

static lc_code read_slot(const peft_files *files, const lc_adapter_spec *spec,
                         const lc_model_config *config, int32_t layer, lc_module_kind kind,
                         float *master, void *buffer, lc_err *err)
{
    const lc_lora_slot *slot = &spec->slots[layer][kind];
    const lc_tensor_info *a = files->tensors[layer][kind][0], *b = files->tensors[layer][kind][1];
    if (slot->rank == 0 && a == NULL && b == NULL) {
        return LC_OK;
    }
    if (slot->rank == 0 || a == NULL || b == NULL) {
        return lc_fail(err, LC_ERR_INVALID, "model.layers.%d.%s: expected %s, found %s", layer,
                       lc_module_path(kind), slot->rank > 0 ? "an adapter" : "none",
                       slot->rank > 0 ? "none" : "an adapter");
    }
    const int64_t in = lc_module_in(config, kind), out = lc_module_out(config, kind);
    LC_TRY(read_matrix(files, a, lc_mat_f32(master + slot->a_offset, slot->rank, in, in), buffer,
                       err));
    return read_matrix(files, b, lc_mat_f32(master + slot->b_offset, out, slot->rank, slot->r16),
                       buffer, err);
}

lc_code lc_adapter_load(const char *adapter_dir, const lc_adapter_spec *spec,
                        const lc_model_config *config, float *master, lc_err *err)
{
    peft_files *files = NULL;
    void *buffer = NULL;
    lc_code code = LC_OK;
    LC_TRY(files_open(adapter_dir, config, &files, err));
    LC_TRY_GOTO(lc_new(&buffer, 1, BUFFER_BYTES, "adapter buffer", err));
    memset(master, 0, (size_t)spec->master_count * sizeof(float));
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            LC_TRY_GOTO(
                read_slot(files, spec, config, layer, (lc_module_kind)kind, master, buffer, err));
        }
    }
fail:
    lc_free(buffer);
    files_release(files);
    return code == LC_OK ? LC_OK : lc_err_context(err, "%s", adapter_dir);
}
