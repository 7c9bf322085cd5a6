/*
 * Reading the rows of an evaluation; see eval_rows.h.
 */
#include "cli/eval_rows.h"

#include <string.h>

#include "lorac/mem.h"

/* Makes room for `more` elements behind `count` in a growing array. */
static lc_code grow(void **array, int64_t count, int64_t more, int64_t *capacity, size_t size,
                    lc_err *err)
{
    if (count + more <= *capacity) {
        return LC_OK;
    }
    const int64_t wanted = (count + more) * 2;
    size_t bytes = 0;
    void *grown = lc_mul_size((size_t)wanted, size, &bytes) ? lc_realloc(*array, bytes) : NULL;
    if (grown == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the rows of the file");
    }
    *array = grown;
    *capacity = wanted;
    return LC_OK;
}

/* Appends one example to the data set. */
static lc_code add_example(lc_eval_rows *rows, const lc_tokens *tokens, const float *weights,
                           int64_t max_tokens, lc_err *err)
{
    lc_dataset *set = &rows->dataset;
    const int64_t all = (int64_t)tokens->count, kept = all < max_tokens ? all : max_tokens;
    int64_t capacity = rows->token_capacity;
    void *array = set->input_ids;
    LC_TRY(grow(&array, set->token_count, kept, &capacity, sizeof(int32_t), err));
    set->input_ids = array;
    array = set->loss_weights;
    LC_TRY(grow(&array, set->token_count, kept, &rows->token_capacity, sizeof(float), err));
    set->loss_weights = array;
    memcpy(set->input_ids + set->token_count, tokens->ids, (size_t)kept * sizeof(int32_t));
    memcpy(set->loss_weights + set->token_count, weights, (size_t)kept * sizeof(float));
    for (int64_t i = 1; i < kept; i++) {
        set->target_count += weights[i] > 0.0f;
    }
    set->token_count += kept;
    set->truncated_count += kept < all;
    set->truncated_tokens += all - kept;
    set->longest = kept > set->longest ? kept : set->longest;
    set->example_count++;
    set->offsets[set->example_count] = set->token_count;
    return LC_OK;
}

static lc_code add_tokens(const lc_eval_reading *reading, const lc_chat_row *row,
                          lc_eval_rows *rows, lc_err *err)
{
    lc_tokens tokens = {0};
    float *weights = NULL;
    lc_code code = lc_chat_row_tokenize(row, reading->tokenizer, reading->chat_template, &tokens,
                                        &weights, err);
    if (code == LC_OK) {
        code = add_example(rows, &tokens, weights, reading->max_tokens, err);
    }
    lc_free(weights);
    lc_tokens_release(&tokens);
    return code;
}

/* All messages but the last, as references. NULL without memory. */
static cJSON *messages_before_last(const cJSON *messages)
{
    cJSON *before = cJSON_CreateArray();
    for (cJSON *item = messages->child; before != NULL && item != NULL && item->next != NULL;
         item = item->next) {
        if (!cJSON_AddItemReferenceToArray(before, item)) {
            cJSON_Delete(before);
            before = NULL;
        }
    }
    return before;
}

/* Prompt of a row whose last message is text of the assistant. */
static lc_code encode_prompt(const lc_eval_reading *reading, const lc_chat_row *row,
                             lc_eval_row *out, lc_err *err)
{
    lc_rendered rendered;
    lc_tokens tokens = {0}, expected = {0};
    memset(&rendered, 0, sizeof rendered);
    cJSON *before = messages_before_last(row->messages);
    if (before == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the messages of a row");
    }
    const lc_template_args args = {
        .messages = before, .tools = row->tools, .add_generation_prompt = true};
    lc_code code;
    LC_TRY_GOTO(lc_chat_template_render(reading->chat_template, &args, &rendered, err));
    LC_TRY_GOTO(lc_tokenizer_encode(reading->tokenizer, rendered.text, rendered.bytes, false,
                                    &tokens, err));
    LC_TRY_GOTO(lc_tokenizer_encode(reading->tokenizer, out->expected, strlen(out->expected), false,
                                    &expected, err));
    out->prompt = tokens.ids;
    out->prompt_count = (int64_t)tokens.count;
    out->expected_count = (int64_t)expected.count;
    tokens.ids = NULL;
fail:
    lc_tokens_release(&tokens);
    lc_tokens_release(&expected);
    lc_rendered_release(&rendered);
    cJSON_Delete(before);
    return code;
}

static lc_code copy_label(const cJSON *row, const char *by, lc_eval_row *out, lc_err *err)
{
    const cJSON *value = by != NULL ? lc_json_get(row, by) : NULL;
    if (value == NULL) {
        return LC_OK;
    }
    lc_text text;
    lc_text_init(&text);
    if (cJSON_IsString(value)) {
        lc_text_add(&text, value->valuestring, strlen(value->valuestring));
    } else {
        lc_text_add_json(&text, value, false);
    }
    LC_TRY(lc_text_finish(&text, "a label", err));
    out->label = text.data;
    return LC_OK;
}

static lc_code add_answer(const lc_eval_reading *reading, const lc_chat_row *row,
                          lc_eval_rows *rows, lc_eval_row *out, lc_err *err)
{
    const cJSON *last = cJSON_GetArrayItem(row->messages, cJSON_GetArraySize(row->messages) - 1);
    const cJSON *role = lc_json_get(last, "role"), *content = lc_json_get(last, "content");
    LC_TRY(copy_label(row->row, reading->by, out, err));
    if (!cJSON_IsString(role) || strcmp(role->valuestring, "assistant") != 0 ||
        !cJSON_IsString(content) || lc_json_get(last, "tool_calls") != NULL) {
        return LC_OK;
    }
    out->expected = lc_strdup(content->valuestring);
    if (out->expected == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for an answer");
    }
    LC_TRY(encode_prompt(reading, row, out, err));
    rows->answer_rows++;
    rows->longest_prompt =
        out->prompt_count > rows->longest_prompt ? out->prompt_count : rows->longest_prompt;
    return LC_OK;
}

static lc_code add_row(const lc_eval_reading *reading, const char *line, size_t bytes,
                       int64_t number, lc_eval_rows *rows, lc_err *err)
{
    lc_chat_row row;
    int64_t offset_capacity = rows->capacity;
    void *array = rows->rows;
    memset(&row, 0, sizeof row);
    LC_TRY(grow(&array, rows->count, 2, &rows->capacity, sizeof *rows->rows, err));
    rows->rows = array;
    array = rows->dataset.offsets;
    LC_TRY(grow(&array, rows->count, 2, &offset_capacity, sizeof *rows->dataset.offsets, err));
    rows->dataset.offsets = array;
    rows->dataset.offsets[rows->count] = rows->dataset.token_count;
    LC_TRY(lc_chat_row_parse(line, bytes, number, &row, err));
    lc_eval_row *out = &rows->rows[rows->count++];
    memset(out, 0, sizeof *out);
    out->line = number;
    lc_code code = add_tokens(reading, &row, rows, err);
    if (code == LC_OK) {
        code = add_answer(reading, &row, rows, out, err);
    }
    lc_chat_row_release(&row);
    return code == LC_OK ? code : lc_err_context(err, "line %lld", (long long)number);
}

lc_code lc_eval_rows_read(const lc_eval_reading *reading, lc_eval_rows *out, lc_err *err)
{
    lc_line_reader *reader = NULL;
    lc_code code;
    memset(out, 0, sizeof *out);
    LC_TRY(lc_line_reader_open(reading->path, &reader, err));
    while (reading->limit == 0 || out->count < reading->limit) {
        const char *line = NULL;
        size_t bytes = 0;
        int64_t number = 0;
        code = lc_line_reader_next(reader, &line, &bytes, &number, err);
        if (code == LC_OK && line != NULL) {
            code = add_row(reading, line, bytes, number, out, err);
        }
        if (code != LC_OK) {
            (void)lc_err_context(err, "%s", reading->path);
            goto fail;
        }
        if (line == NULL) {
            break;
        }
    }
    code = out->count > 0 ? LC_OK : lc_fail(err, LC_ERR_INVALID, "%s has no rows", reading->path);
fail:
    lc_line_reader_close(reader);
    return code;
}

void lc_eval_rows_release(lc_eval_rows *rows)
{
    for (int64_t i = 0; i < rows->count; i++) {
        lc_free(rows->rows[i].label);
        lc_free(rows->rows[i].expected);
        lc_free(rows->rows[i].prompt);
        lc_free(rows->rows[i].answer_text);
        lc_tokens_release(&rows->rows[i].answer);
    }
    lc_free(rows->rows);
    lc_free(rows->dataset.input_ids);
    lc_free(rows->dataset.loss_weights);
    lc_free(rows->dataset.offsets);
    memset(rows, 0, sizeof *rows);
}
