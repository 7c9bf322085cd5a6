/*
 * Tokenized data sets: reading and writing the .safetensors form, and the choice between the forms
 * by file name. Called by the trainer, plan, eval and tokenize. The JSONL form is in jsonl.c.
 */
#include "data/dataset.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/dataset_cache.h"
#include "data/dataset_internal.h"
#include "data/safetensors.h"

void lc_dataset_totals(const lc_dataset *dataset, const int64_t *examples, int64_t count,
                       int64_t *tokens, double *weight)
{
    *tokens = 0;
    *weight = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t first = dataset->offsets[examples[i]],
                      end = dataset->offsets[examples[i] + 1];
        *tokens += end - first;
        for (int64_t t = first + 1; t < end; t++) {
            *weight += (double)dataset->loss_weights[t];
        }
    }
}

void lc_dataset_release(lc_dataset *dataset)
{
    lc_arena_release(&dataset->arena);
    *dataset = (lc_dataset){0};
}

lc_code lc_dataset_allocate(lc_dataset *dataset, int64_t tokens, int64_t examples, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_arena_alloc(&dataset->arena, (size_t)tokens + 1, sizeof(int32_t), &memory, err));
    dataset->input_ids = memory;
    LC_TRY(lc_arena_alloc(&dataset->arena, (size_t)tokens + 1, sizeof(float), &memory, err));
    dataset->loss_weights = memory;
    LC_TRY(lc_arena_alloc(&dataset->arena, (size_t)examples + 1, sizeof(int64_t), &memory, err));
    dataset->offsets = memory;
    dataset->token_count = tokens;
    dataset->example_count = examples;
    return LC_OK;
}

/* ---- reading ---- */

static lc_code find_vector(const lc_safetensors *file, const char *name, lc_dtype dtype,
                           const lc_tensor_info **out, lc_err *err)
{
    const lc_tensor_info *tensor = lc_safetensors_find(file, name);
    if (tensor == NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, name,
                             "no tensor %s: a tokenized data set has input_ids (I32), loss_weights "
                             "(F32) and offsets (I64)",
                             name);
    }
    if (tensor->rank != 1 || tensor->dtype != dtype) {
        return lc_fail_param(err, LC_ERR_INVALID, name,
                             "tensor %s: expected one dimension of %s, found %d of %s", name,
                             lc_dtype_name(dtype), tensor->rank, lc_dtype_name(tensor->dtype));
    }
    *out = tensor;
    return LC_OK;
}

static lc_code read_arrays(const lc_safetensors *file, lc_dataset *out, lc_err *err)
{
    const lc_tensor_info *ids = NULL, *weights = NULL, *offsets = NULL;
    LC_TRY(find_vector(file, "input_ids", LC_I32, &ids, err));
    LC_TRY(find_vector(file, "loss_weights", LC_F32, &weights, err));
    LC_TRY(find_vector(file, "offsets", LC_I64, &offsets, err));
    const int64_t tokens = ids->shape[0], examples = offsets->shape[0] - 1;
    if (weights->shape[0] != tokens) {
        return lc_fail_param(err, LC_ERR_INVALID, "loss_weights",
                             "loss_weights has %" PRId64 " values for %" PRId64 " input_ids",
                             weights->shape[0], tokens);
    }
    if (examples < 1 || examples > LC_MAX_EXAMPLES) {
        return lc_fail_param(err, LC_ERR_INVALID, "offsets",
                             "offsets has %" PRId64
                             " values: the examples are one less, 1 to %" PRId64,
                             offsets->shape[0], LC_MAX_EXAMPLES);
    }
    LC_TRY(lc_dataset_allocate(out, tokens, examples, err));
    LC_TRY(lc_safetensors_read(file, ids, 0, out->input_ids, (size_t)ids->bytes, err));
    LC_TRY(lc_safetensors_read(file, weights, 0, out->loss_weights, (size_t)weights->bytes, err));
    return lc_safetensors_read(file, offsets, 0, out->offsets, (size_t)offsets->bytes, err);
}

static lc_code check_offsets(const lc_dataset *dataset, lc_err *err)
{
    const int64_t *offsets = dataset->offsets;
    const int64_t last = dataset->example_count;
    if (offsets[0] != 0 || offsets[last] != dataset->token_count) {
        return lc_fail_param(err, LC_ERR_INVALID, "offsets",
                             "offsets run from %" PRId64 " to %" PRId64
                             ", expected 0 to the token count %" PRId64,
                             offsets[0], offsets[last], dataset->token_count);
    }
    for (int64_t e = 0; e < last; e++) {
        if (offsets[e + 1] <= offsets[e] || offsets[e + 1] > dataset->token_count) {
            return lc_fail_param(err, LC_ERR_INVALID, "offsets",
                                 "example %" PRId64 " goes from offset %" PRId64 " to %" PRId64
                                 ": offsets must grow",
                                 e, offsets[e], offsets[e + 1]);
        }
    }
    return LC_OK;
}

static lc_code check_values(const lc_dataset *dataset, int64_t vocab_size, lc_err *err)
{
    for (int64_t t = 0; t < dataset->token_count; t++) {
        if (dataset->input_ids[t] < 0 || dataset->input_ids[t] >= vocab_size) {
            return lc_fail_param(err, LC_ERR_INVALID, "input_ids",
                                 "input_ids[%" PRId64
                                 "] is %d, outside the model's vocabulary of %" PRId64 " tokens",
                                 t, dataset->input_ids[t], vocab_size);
        }
        if (!isfinite(dataset->loss_weights[t]) || dataset->loss_weights[t] < 0.0f) {
            return lc_fail_param(err, LC_ERR_INVALID, "loss_weights",
                                 "loss_weights[%" PRId64 "] is %g: weights must be finite and not "
                                 "negative",
                                 t, (double)dataset->loss_weights[t]);
        }
    }
    return LC_OK;
}

/* Cuts examples to max_tokens (moving the rest down in place), clears the weight of first tokens
 * and counts. An example without a target left is an error. */
static lc_code finish_examples(lc_dataset *dataset, int64_t max_tokens, lc_err *err)
{
    int64_t to = 0, begin = 0;
    for (int64_t e = 0; e < dataset->example_count; e++) {
        const int64_t end = dataset->offsets[e + 1];
        int64_t length = end - begin;
        if (length > max_tokens) {
            dataset->truncated_count++;
            dataset->truncated_tokens += length - max_tokens;
            length = max_tokens;
        }
        memmove(dataset->input_ids + to, dataset->input_ids + begin,
                (size_t)length * sizeof(int32_t));
        memmove(dataset->loss_weights + to, dataset->loss_weights + begin,
                (size_t)length * sizeof(float));
        const int64_t targets = lc_dataset_finish_example(dataset, to, length);
        if (targets == 0) {
            return lc_fail_param(err, LC_ERR_INVALID, "loss_weights",
                                 "example %" PRId64 " has no token to train on%s", e,
                                 end - begin > length ? " after it was cut to the longest length"
                                                      : "");
        }
        to += length;
        begin = end;
        dataset->offsets[e + 1] = to;
    }
    dataset->token_count = to;
    return LC_OK;
}

int64_t lc_dataset_finish_example(lc_dataset *dataset, int64_t begin, int64_t length)
{
    int64_t targets = 0;
    dataset->loss_weights[begin] = 0.0f;
    for (int64_t t = begin + 1; t < begin + length; t++) {
        targets += dataset->loss_weights[t] > 0.0f;
    }
    dataset->target_count += targets;
    if (length > dataset->longest) {
        dataset->longest = length;
    }
    return targets;
}

static lc_code load_tokenized(const lc_safetensors *file, int64_t vocab_size, int64_t max_tokens,
                              lc_dataset *out, lc_err *err)
{
    LC_TRY(read_arrays(file, out, err));
    LC_TRY(check_offsets(out, err));
    LC_TRY(check_values(out, vocab_size, err));
    return finish_examples(out, max_tokens, err);
}

lc_code lc_dataset_load_tokenized(const char *path, int64_t vocab_size, int64_t max_tokens,
                                  lc_dataset *out, lc_err *err)
{
    *out = (lc_dataset){0};
    lc_arena_init(&out->arena, "data set");
    lc_safetensors *file = NULL;
    LC_TRY(lc_safetensors_open(path, &file, err));
    lc_code code = load_tokenized(file, vocab_size, max_tokens, out, err);
    if (code != LC_OK) {
        (void)lc_err_context(err, "%s", path);
    }
    lc_safetensors_close(file);
    if (code == LC_OK) {
        code = lc_sha256_file(path, out->sha256, NULL, err);
    }
    if (code != LC_OK) {
        lc_dataset_release(out);
    }
    return code;
}

static bool has_suffix(const char *text, const char *suffix)
{
    const size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

/* From the text; or, when nothing has changed since, from the cache. */
static lc_code load_text(const char *path, const lc_dataset_reading *reading, int64_t vocab_size,
                         const lc_tokenizer *tokenizer, const lc_chat_template *chat_template,
                         lc_dataset *out, lc_err *err)
{
    lc_dataset_origin origin = {.max_tokens = reading->max_tokens};
    bool found = false;
    if (!reading->use_cache) {
        return lc_dataset_load_jsonl(path, reading, tokenizer, chat_template, out, err);
    }
    memcpy(origin.tokenizer_sha256, lc_tokenizer_sha256(tokenizer), 32);
    memcpy(origin.template_sha256, lc_chat_template_sha256(chat_template), 32);
    LC_TRY(lc_sha256_file(path, origin.file_sha256, NULL, err));
    lc_dataset_cache_find(&origin, vocab_size, out, &found);
    if (found) {
        return LC_OK;
    }
    LC_TRY(lc_dataset_load_jsonl(path, reading, tokenizer, chat_template, out, err));
    memcpy(origin.file_sha256, out->sha256, 32); /* of what was read this time */
    lc_dataset_cache_keep(&origin, out);
    return LC_OK;
}

lc_code lc_dataset_load(const char *path, const lc_dataset_reading *reading, const char *model_dir,
                        int64_t vocab_size, lc_dataset *out, lc_err *err)
{
    if (has_suffix(path, ".safetensors")) {
        return lc_dataset_load_tokenized(path, vocab_size, reading->max_tokens, out, err);
    }
    *out = (lc_dataset){0};
    lc_tokenizer *tokenizer = NULL;
    lc_chat_template *chat_template = NULL;
    lc_code code = lc_tokenizer_load_for(model_dir, vocab_size, &tokenizer, err);
    if (code == LC_OK) {
        lc_template_source source = reading->chat_template;
        source.model_dir = model_dir;
        code = lc_chat_template_open(&source, &chat_template, err);
    }
    if (code != LC_OK) {
        (void)lc_err_param(err, "model"); /* what is wrong is not in the data */
    } else {
        code = load_text(path, reading, vocab_size, tokenizer, chat_template, out, err);
    }
    lc_chat_template_free(chat_template);
    lc_tokenizer_free(tokenizer);
    return code;
}

/* ---- writing ---- */

lc_code lc_dataset_save(const lc_dataset *dataset, const char *path,
                        const uint8_t tokenizer_sha256[32], uint8_t sha256[32], lc_err *err)
{
    char tokenizer_hex[65] = "", source_hex[65], examples[24], tokens[24];
    if (tokenizer_sha256 != NULL) {
        lc_hex(tokenizer_sha256, 32, tokenizer_hex);
    }
    lc_hex(dataset->sha256, 32, source_hex);
    (void)snprintf(examples, sizeof examples, "%" PRId64, dataset->truncated_count);
    (void)snprintf(tokens, sizeof tokens, "%" PRId64, dataset->truncated_tokens);
    const lc_metadata metadata[] = {{"format", "lorac-tokenized-1"},
                                    {"source_sha256", source_hex},
                                    {"truncated_examples", examples},
                                    {"truncated_tokens", tokens},
                                    {"tokenizer_sha256", tokenizer_hex}};
    const lc_tensor_out tensors[] = {
        {"input_ids", LC_I32, 1, {dataset->token_count}, dataset->input_ids},
        {"loss_weights", LC_F32, 1, {dataset->token_count}, dataset->loss_weights},
        {"offsets", LC_I64, 1, {dataset->example_count + 1}, dataset->offsets},
    };
    return lc_safetensors_write(path, tensors, 3, metadata, tokenizer_sha256 != NULL ? 5 : 4,
                                sha256, NULL, err);
}
