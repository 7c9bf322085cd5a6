/*
 * Chat JSONL to a tokenized data set: lines are read in blocks, the rows of a block are tokenized
 * on all cores, and their tokens appended in the file's order. Neither the file nor its JSON is
 * ever held whole. Called through lc_dataset_load and by `lorac tokenize`.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "data/dataset_internal.h"
#include "data/file_check.h"

#define BLOCK_BYTES      ((size_t)8 << 20)   /* of lines that are tokenized together */
#define PART_BYTES       ((size_t)128 << 10) /* of them to one task */
#define PROGRESS_SECONDS 0.1

/* One line of a block. */
typedef struct line {
    size_t at, bytes; /* in the block's text */
    int64_t number;
} line;

/* Examples in the file's order: tokens, weights, and where each example ends. Grows. */
typedef struct examples {
    int32_t *ids;   /* owned */
    float *weights; /* owned */
    size_t *ends;   /* owned: offset behind each example */
    size_t id_capacity, weight_capacity, end_capacity;
    size_t token_count, count;
    int64_t truncated_count, truncated_tokens;
} examples;

/* The lines of a block that one task tokenizes, and what became of them. */
typedef struct part {
    size_t first, end; /* lines */
    examples rows;
    lc_tokens tokens; /* of the current row */
    float *weights;   /* owned; of the current row */
    lc_code code;
    lc_err err;
} part;

typedef struct builder {
    const lc_dataset_reading *reading;
    const lc_tokenizer *tokenizer;
    const lc_chat_template *chat_template;
    lc_pool *pool;
    lc_text text; /* of the block's lines, one behind the other */
    line *lines;  /* owned, line_capacity */
    size_t line_count, line_capacity;
    part *parts; /* owned, part_capacity; those beyond part_count keep their memory */
    size_t part_count, part_capacity;
    examples all;
    int64_t done_bytes, total_bytes;
    double last_report; /* monotonic seconds */
    lc_err *err;
} builder;

/* ---- growing arrays ---- */

/* The array with room for `count` elements; NULL, and the array is as it was, without memory. */
static void *grow(void *array, size_t *capacity, size_t count, size_t size)
{
    size_t bytes = 0;
    if (count <= *capacity) {
        return array;
    }
    const size_t wanted = count + count / 2 + 64;
    void *grown = lc_mul_size(wanted, size, &bytes) ? lc_realloc(array, bytes) : NULL;
    *capacity = grown != NULL ? wanted : *capacity;
    return grown;
}

static lc_code out_of_memory(lc_err *err)
{
    return lc_fail(err, LC_ERR_MEMORY, "no memory for the tokens of a data set");
}

static lc_code append_example(examples *to, const int32_t *ids, const float *weights, size_t count,
                              lc_err *err)
{
    const size_t total = to->token_count + count;
    int32_t *all_ids = grow(to->ids, &to->id_capacity, total, sizeof *ids);
    to->ids = all_ids != NULL ? all_ids : to->ids;
    float *all_weights = grow(to->weights, &to->weight_capacity, total, sizeof *weights);
    to->weights = all_weights != NULL ? all_weights : to->weights;
    size_t *ends = grow(to->ends, &to->end_capacity, to->count + 1, sizeof *ends);
    to->ends = ends != NULL ? ends : to->ends;
    if (all_ids == NULL || all_weights == NULL || ends == NULL) {
        return out_of_memory(err);
    }
    memcpy(to->ids + to->token_count, ids, count * sizeof *ids);
    memcpy(to->weights + to->token_count, weights, count * sizeof *weights);
    to->token_count = total;
    to->ends[to->count++] = total;
    return LC_OK;
}

static void release_examples(examples *of)
{
    lc_free(of->ids);
    lc_free(of->weights);
    lc_free(of->ends);
    *of = (examples){0};
}

/* ---- one row ---- */

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
static lc_code append_row(const builder *b, part *p, int64_t line_number)
{
    const size_t longest = (size_t)b->reading->max_tokens;
    size_t count = p->tokens.count;
    const bool is_long = count > longest;
    if (is_long) {
        p->rows.truncated_count++;
        p->rows.truncated_tokens += (int64_t)(count - longest);
        count = longest;
    }
    if (!has_target(p->weights, count)) {
        return lc_fail_line(
            &p->err, LC_ERR_INVALID, line_number, "line %" PRId64 ": no token to train on: %s",
            line_number,
            is_long && has_target(p->weights, p->tokens.count)
                ? "the assistant's part lies behind the longest length (max_seq_len)"
                : "the chat template leaves nothing of its assistant messages");
    }
    return append_example(&p->rows, p->tokens.ids, p->weights, count, &p->err);
}

static lc_code tokenize_row(const builder *b, part *p, const line *l)
{
    lc_chat_row row = {0};
    LC_TRY(lc_chat_row_parse(b->text.data + l->at, l->bytes, l->number, &row, &p->err));
    p->tokens.count = 0;
    const lc_code code = lc_chat_row_tokenize(&row, b->tokenizer, b->chat_template, &p->tokens,
                                              &p->weights, &p->err);
    lc_chat_row_release(&row);
    if (code != LC_OK) {
        (void)lc_err_context(&p->err, "line %" PRId64, l->number);
        p->err.line = l->number;
        return code;
    }
    return append_row(b, p, l->number);
}

/* ---- a block ---- */

static void tokenize_part(void *context, int64_t index, int worker)
{
    const builder *b = context;
    part *p = &b->parts[index];
    (void)worker;
    lc_err_clear(&p->err);
    p->code = LC_OK;
    p->rows.count = 0;
    p->rows.token_count = 0;
    p->rows.truncated_count = p->rows.truncated_tokens = 0;
    for (size_t i = p->first; i < p->end && p->code == LC_OK; i++) {
        p->code = tokenize_row(b, p, &b->lines[i]);
    }
}

static lc_code append_part(builder *b, const part *p)
{
    if (p->code != LC_OK) {
        *b->err = p->err;
        return p->code;
    }
    size_t begin = 0;
    for (size_t e = 0; e < p->rows.count; e++) {
        const size_t end = p->rows.ends[e];
        LC_TRY(append_example(&b->all, p->rows.ids + begin, p->rows.weights + begin, end - begin,
                              b->err));
        begin = end;
    }
    b->all.truncated_count += p->rows.truncated_count;
    b->all.truncated_tokens += p->rows.truncated_tokens;
    return LC_OK;
}

/* Deals the block's lines out to parts. */
static lc_code make_parts(builder *b)
{
    b->part_count = 0;
    for (size_t i = 0; i < b->line_count;) {
        const size_t before = b->part_capacity;
        part *parts = grow(b->parts, &b->part_capacity, b->part_count + 1, sizeof *parts);
        if (parts == NULL) {
            return out_of_memory(b->err);
        }
        b->parts = parts;
        memset(b->parts + before, 0, (b->part_capacity - before) * sizeof *parts);
        part *p = &b->parts[b->part_count++];
        p->first = i;
        for (size_t bytes = 0; i < b->line_count && bytes < PART_BYTES; i++) {
            bytes += b->lines[i].bytes;
        }
        p->end = i;
    }
    return LC_OK;
}

static lc_code report(builder *b)
{
    const double now = lc_monotonic_seconds();
    if (b->reading->on_progress == NULL ||
        (now - b->last_report < PROGRESS_SECONDS && b->done_bytes < b->total_bytes)) {
        return LC_OK;
    }
    b->last_report = now;
    return b->reading->on_progress(b->reading->context, b->done_bytes, b->total_bytes)
               ? LC_OK
               : lc_fail(b->err, LC_ERR_INTERRUPTED, "stopped while tokenizing");
}

/* Parts are judged in the file's order, so of several bad rows the first is told. */
static lc_code finish_block(builder *b)
{
    if (b->text.failed) {
        return lc_text_finish(&b->text, "a block of lines", b->err);
    }
    LC_TRY(make_parts(b));
    lc_pool_run(b->pool, (int64_t)b->part_count, tokenize_part, b);
    for (size_t i = 0; i < b->part_count; i++) {
        LC_TRY(append_part(b, &b->parts[i]));
    }
    b->line_count = 0;
    b->text.length = 0;
    return report(b);
}

static lc_code add_line(builder *b, const char *text, size_t bytes, int64_t number)
{
    line *lines = grow(b->lines, &b->line_capacity, b->line_count + 1, sizeof *lines);
    if (lines == NULL) {
        return out_of_memory(b->err);
    }
    b->lines = lines;
    b->lines[b->line_count++] = (line){b->text.length, bytes, number};
    b->done_bytes += (int64_t)bytes + 1;
    lc_text_add(&b->text, text, bytes);
    return b->text.length >= BLOCK_BYTES ? finish_block(b) : LC_OK;
}

/* ---- the file ---- */

static lc_code read_lines(builder *b, lc_line_reader *reader)
{
    for (;;) {
        const char *text = NULL;
        size_t bytes = 0;
        int64_t number = 0;
        const lc_code code = lc_line_reader_next(reader, &text, &bytes, &number, b->err);
        if (code != LC_OK) { /* a bad row before it comes first */
            lc_err why = *b->err;
            lc_err_clear(b->err);
            LC_TRY(finish_block(b));
            *b->err = why;
            return code;
        }
        if (text == NULL) {
            b->done_bytes = b->total_bytes;
            return finish_block(b);
        }
        LC_TRY(add_line(b, text, bytes, number));
    }
}

/* Into the data set's own arena. */
static lc_code finish(const builder *b, lc_dataset *out)
{
    const examples *all = &b->all;
    LC_TRY(lc_dataset_allocate(out, (int64_t)all->token_count, (int64_t)all->count, b->err));
    memcpy(out->input_ids, all->ids, all->token_count * sizeof *all->ids);
    memcpy(out->loss_weights, all->weights, all->token_count * sizeof *all->weights);
    for (size_t e = 0; e < all->count; e++) {
        out->offsets[e + 1] = (int64_t)all->ends[e];
    }
    out->truncated_count = all->truncated_count;
    out->truncated_tokens = all->truncated_tokens;
    for (int64_t e = 0; e < out->example_count; e++) {
        (void)lc_dataset_finish_example(out, out->offsets[e],
                                        out->offsets[e + 1] - out->offsets[e]);
    }
    return LC_OK;
}

static void release_builder(builder *b)
{
    for (size_t i = 0; i < b->part_capacity; i++) {
        release_examples(&b->parts[i].rows);
        lc_tokens_release(&b->parts[i].tokens);
        lc_free(b->parts[i].weights);
    }
    lc_free(b->parts);
    lc_free(b->lines);
    lc_text_release(&b->text);
    release_examples(&b->all);
    lc_pool_stop(b->pool);
}

static lc_code build(builder *b, const char *path, lc_dataset *out)
{
    lc_line_reader *reader = NULL;
    const int threads = b->reading->threads > 0 ? b->reading->threads : lc_cpu_count();
    LC_TRY(lc_check_training_file(path, b->reading->what, threads, b->err));
    LC_TRY(lc_pool_start(threads, NULL, NULL, &b->pool, b->err));
    LC_TRY(lc_line_reader_open(path, &reader, b->err));
    b->total_bytes = lc_line_reader_bytes(reader);
    lc_code code = read_lines(b, reader);
    if (code != LC_OK) {
        (void)lc_err_context(b->err, "%s", path);
    } else {
        code = finish(b, out);
    }
    if (code == LC_OK) {
        lc_line_reader_sha256(reader, out->sha256);
    }
    lc_line_reader_close(reader);
    return code;
}

lc_code lc_dataset_load_jsonl(const char *path, const lc_dataset_reading *reading,
                              const lc_tokenizer *tokenizer, const lc_chat_template *chat_template,
                              lc_dataset *out, lc_err *err)
{
    lc_err own = {.code = LC_OK};
    *out = (lc_dataset){0};
    lc_arena_init(&out->arena, "data set");
    builder b = {.reading = reading,
                 .tokenizer = tokenizer,
                 .chat_template = chat_template,
                 .err = err != NULL ? err : &own};
    lc_text_init(&b.text);
    const lc_code code = build(&b, path, out);
    if (code != LC_OK) {
        lc_dataset_release(out);
    }
    release_builder(&b);
    return code;
}
