/*
 * Chat JSONL to a tokenized data set, line by line: neither the file nor its JSON is ever held
 * whole. Called through lc_dataset_load.
 */
#include <inttypes.h>
#include <string.h>

#include "base/params.h"
#include "base/thread.h"
#include "data/dataset_internal.h"
#include "data/file_check.h"

/* The data set while its size is unknown. */
typedef struct builder {
    const lc_tokenizer *tokenizer;
    const lc_chat_template *chat_template;
    int64_t max_tokens;
    lc_tokens row;      /* of the current row */
    float *row_weights; /* owned */
    int32_t *ids;       /* owned, token_capacity */
    float *weights;     /* owned, token_capacity */
    size_t token_count, token_capacity;
    int64_t *ends; /* owned, example_capacity: offset behind each example */
    int64_t example_count, example_capacity;
    int64_t truncated_count, truncated_tokens;
    lc_err *err;
} builder;

static lc_code reserve_tokens(builder *b, size_t extra)
{
    if (b->token_capacity - b->token_count >= extra) {
        return LC_OK;
    }
    const size_t capacity = (b->token_count + extra) * 3 / 2 + 4096;
    int32_t *ids = lc_realloc(b->ids, capacity * sizeof *ids);
    if (ids != NULL) {
        b->ids = ids;
    }
    float *weights = ids != NULL ? lc_realloc(b->weights, capacity * sizeof *weights) : NULL;
    if (weights == NULL) {
        return lc_fail(b->err, LC_ERR_MEMORY, "no memory for a data set of %zu tokens", capacity);
    }
    b->weights = weights;
    b->token_capacity = capacity;
    return LC_OK;
}

static lc_code reserve_example(builder *b)
{
    if (b->example_count < b->example_capacity) {
        return LC_OK;
    }
    const int64_t capacity = b->example_capacity > 0 ? 2 * b->example_capacity : 1024;
    int64_t *ends = lc_realloc(b->ends, (size_t)capacity * sizeof *ends);
    if (ends == NULL) {
        return lc_fail(b->err, LC_ERR_MEMORY, "no memory for a data set of %" PRId64 " rows",
                       capacity);
    }
    b->ends = ends;
    b->example_capacity = capacity;
    return LC_OK;
}

static bool has_target(const float *weights, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (weights[i] > 0.0f) {
            return true;
        }
    }
    return false;
}

/* The row's tokens become the next example. */
static lc_code append_row(builder *b, int64_t line_number)
{
    size_t count = b->row.count;
    const bool is_long = count > (size_t)b->max_tokens;
    if (is_long) {
        b->truncated_count++;
        b->truncated_tokens += (int64_t)count - b->max_tokens;
        count = (size_t)b->max_tokens;
    }
    if (!has_target(b->row_weights, count)) {
        return lc_fail_line(
            b->err, LC_ERR_INVALID, line_number, "line %" PRId64 ": no token to train on: %s",
            line_number,
            is_long && has_target(b->row_weights, b->row.count)
                ? "the assistant's part lies behind the longest length (max_seq_len)"
                : "it has no assistant message with weight 1");
    }
    LC_TRY(reserve_tokens(b, count));
    LC_TRY(reserve_example(b));
    memcpy(b->ids + b->token_count, b->row.ids, count * sizeof *b->ids);
    memcpy(b->weights + b->token_count, b->row_weights, count * sizeof *b->weights);
    b->token_count += count;
    b->ends[b->example_count++] = (int64_t)b->token_count;
    return LC_OK;
}

static lc_code read_row(builder *b, const char *line, size_t bytes, int64_t line_number)
{
    lc_chat_row row = {0};
    LC_TRY(lc_chat_row_parse(line, bytes, line_number, &row, b->err));
    b->row.count = 0;
    const lc_code code = lc_chat_row_tokenize(&row, b->tokenizer, b->chat_template, &b->row,
                                              &b->row_weights, b->err);
    lc_chat_row_release(&row);
    if (code != LC_OK) {
        (void)lc_err_context(b->err, "line %" PRId64, line_number);
        if (b->err != NULL) {
            b->err->line = line_number;
        }
        return code;
    }
    return append_row(b, line_number);
}

static lc_code read_rows(builder *b, lc_line_reader *reader, const char *path)
{
    const char *line = NULL;
    size_t bytes = 0;
    int64_t line_number = 0;
    for (;;) {
        lc_code code = lc_line_reader_next(reader, &line, &bytes, &line_number, b->err);
        if (code == LC_OK && line != NULL) {
            code = read_row(b, line, bytes, line_number);
        }
        if (code != LC_OK) {
            (void)lc_err_context(b->err, "%s", path);
            return code;
        }
        if (line == NULL) {
            break;
        }
    }
    return LC_OK;
}

/* Into the data set's own arena, and nothing is left in the builder's arrays. */
static lc_code finish(builder *b, lc_dataset *out)
{
    LC_TRY(lc_dataset_allocate(out, (int64_t)b->token_count, b->example_count, b->err));
    memcpy(out->input_ids, b->ids, b->token_count * sizeof *b->ids);
    memcpy(out->loss_weights, b->weights, b->token_count * sizeof *b->weights);
    memcpy(out->offsets + 1, b->ends, (size_t)b->example_count * sizeof *b->ends);
    out->truncated_count = b->truncated_count;
    out->truncated_tokens = b->truncated_tokens;
    for (int64_t e = 0; e < out->example_count; e++) {
        (void)lc_dataset_finish_example(out, out->offsets[e],
                                        out->offsets[e + 1] - out->offsets[e]);
    }
    return LC_OK;
}

lc_code lc_dataset_load_jsonl(const char *path, const char *what, const lc_tokenizer *tokenizer,
                              const lc_chat_template *chat_template, int64_t max_tokens,
                              lc_dataset *out, lc_err *err)
{
    *out = (lc_dataset){0};
    lc_arena_init(&out->arena, "data set");
    builder b = {.tokenizer = tokenizer,
                 .chat_template = chat_template,
                 .max_tokens = max_tokens,
                 .err = err};
    lc_line_reader *reader = NULL;
    int64_t threads = 1;
    lc_code code = lc_param_int(LC_PARAM_THREADS, lc_cpu_count(), &threads, err);
    if (code == LC_OK) {
        code = lc_check_training_file(path, what, (int)threads, err);
    }
    if (code == LC_OK) {
        code = lc_line_reader_open(path, &reader, err);
    }
    if (code == LC_OK) {
        code = read_rows(&b, reader, path);
    }
    if (code == LC_OK) {
        code = finish(&b, out);
    }
    if (code == LC_OK) {
        lc_line_reader_sha256(reader, out->sha256);
    } else {
        lc_dataset_release(out);
    }
    lc_line_reader_close(reader);
    lc_tokens_release(&b.row);
    lc_free(b.row_weights);
    lc_free(b.ids);
    lc_free(b.weights);
    lc_free(b.ends);
    return code;
}
