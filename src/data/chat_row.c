/*
 * One row of chat JSONL: checked by the row rules, the deprecated spellings turned into today's,
 * and the row's tokens with their weights. Called by the data set loader, eval, validate and the
 * fuzzer. Keys that the rules do not know are left alone: real files carry ids and notes.
 */
#include <inttypes.h>
#include <string.h>

#include "data/dataset.h"
#include "text/number_spelling.h"

/* ---- the deprecated spellings ---- */

/* {"type": "function", "function": <function>} with the function moved in; NULL without memory. */
static cJSON *wrap_function(cJSON *function)
{
    cJSON *wrapped = cJSON_CreateObject();
    if (wrapped == NULL || cJSON_AddStringToObject(wrapped, "type", "function") == NULL ||
        !cJSON_AddItemToObject(wrapped, "function", function)) {
        cJSON_Delete(wrapped);
        return NULL;
    }
    return wrapped;
}

/* Puts a list with `item` in it under `key`, in place of what is there. Takes the item in any case.
 * */
static bool set_list(cJSON *object, const char *key, cJSON *list)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    if (list == NULL || !cJSON_AddItemToObject(object, key, list)) {
        cJSON_Delete(list);
        return false;
    }
    return true;
}

/* Wraps every function of a list of bare functions; *out is owned by the caller. */
static bool wrap_all(cJSON *functions, cJSON **out)
{
    cJSON *list = cJSON_CreateArray();
    bool fine = list != NULL;
    while (fine && functions->child != NULL) {
        cJSON *function = cJSON_DetachItemViaPointer(functions, functions->child);
        cJSON *wrapped = wrap_function(function);
        if (wrapped == NULL) {
            cJSON_Delete(function);
            fine = false;
        } else {
            fine = cJSON_AddItemToArray(list, wrapped);
        }
    }
    if (!fine) {
        cJSON_Delete(list);
        list = NULL;
    }
    *out = list;
    return fine;
}

/* function_call -> tool_calls, the old spelling of one call. */
static bool normalise_call(cJSON *message)
{
    if (lc_json_get(message, "function_call") == NULL) {
        return true;
    }
    cJSON *bare = cJSON_CreateArray();
    cJSON *call = cJSON_DetachItemFromObjectCaseSensitive(message, "function_call");
    cJSON *list = NULL;
    if (bare == NULL || !cJSON_AddItemToArray(bare, call)) {
        cJSON_Delete(call);
        cJSON_Delete(bare);
        return false;
    }
    const bool fine = wrap_all(bare, &list) && set_list(message, "tool_calls", list);
    cJSON_Delete(bare);
    return fine;
}

/* functions -> tools, the old spelling of the list. */
static bool normalise_tools(cJSON *row)
{
    cJSON *functions = cJSON_GetObjectItemCaseSensitive(row, "functions");
    cJSON *list = NULL;
    return functions == NULL || cJSON_IsNull(functions) ||
           (wrap_all(functions, &list) && set_list(row, "tools", list));
}

static bool normalise(cJSON *row)
{
    cJSON *message = NULL;
    bool fine = normalise_tools(row);
    cJSON_ArrayForEach(message, cJSON_GetObjectItemCaseSensitive(row, "messages"))
    {
        fine = fine && normalise_call(message);
    }
    return fine;
}

/* ---- the row ---- */

static lc_code check(const lc_row_text *text, lc_err *err)
{
    lc_row_checker *checker = NULL;
    lc_findings findings = {0};
    lc_row_facts facts;
    LC_TRY(lc_row_checker_open(&checker, err));
    lc_code code = lc_row_check(checker, text, LC_METHOD_SUPERVISED, &findings, &facts, err);
    if (code == LC_OK) {
        lc_findings_drop(&findings, LC_FINDING_NO_TRAINED_MESSAGE); /* eval takes bare questions */
        code = lc_findings_fail(&findings, err);
    }
    lc_findings_release(&findings);
    lc_row_checker_close(checker);
    return code;
}

static lc_code parse(const lc_row_text *text, cJSON **row, lc_err *err)
{
    LC_TRY(lc_json_parse(text->text, text->bytes, LC_JSON_DEFAULT, "JSON", row, err));
    LC_TRY(lc_json_keep_spelling(*row, text->text, text->bytes, err));
    return normalise(*row) ? LC_OK : lc_fail(err, LC_ERR_MEMORY, "no memory for the row");
}

static lc_chat_row chat_row(cJSON *row)
{
    const lc_chat_row made = {.row = row,
                              .messages = cJSON_GetObjectItemCaseSensitive(row, "messages"),
                              .tools = lc_json_get(row, "tools")};
    return made;
}

lc_code lc_chat_row_parse(const char *line, size_t bytes, int64_t line_number, lc_chat_row *out,
                          lc_err *err)
{
    const lc_row_text text = {.text = line, .bytes = bytes, .line = line_number, .offset = -1};
    cJSON *row = NULL;
    *out = (lc_chat_row){0};
    lc_code code = check(&text, err);
    code = code == LC_OK ? parse(&text, &row, err) : code;
    if (code != LC_OK) {
        cJSON_Delete(row);
        if (err != NULL) {
            err->line = line_number;
        }
        return code;
    }
    *out = chat_row(row);
    return LC_OK;
}

void lc_chat_row_release(lc_chat_row *row)
{
    cJSON_Delete(row->row);
    *row = (lc_chat_row){0};
}

/* ---- rows of every method ---- */

/* Copies of the messages of `from` behind those of `to`; with weight 0 where they are context. */
static bool append_messages(const cJSON *from, bool are_context, cJSON *to)
{
    const cJSON *message = NULL;
    cJSON_ArrayForEach(message, from)
    {
        cJSON *copy = cJSON_Duplicate(message, true);
        if (copy == NULL || !cJSON_AddItemToArray(to, copy)) {
            cJSON_Delete(copy);
            return false;
        }
        if (are_context) {
            cJSON_DeleteItemFromObjectCaseSensitive(copy, "weight");
            if (cJSON_AddNumberToObject(copy, "weight", 0.0) == NULL) {
                return false;
            }
        }
    }
    return true;
}

/* The input of a dpo row with one of its outputs behind it, as a supervised row. */
static cJSON *join_output(const cJSON *row, const char *output)
{
    const cJSON *input = lc_json_get(row, "input"), *tools = lc_json_get(input, "tools");
    cJSON *joined = cJSON_CreateObject(), *messages = cJSON_AddArrayToObject(joined, "messages");
    bool fine = messages != NULL &&
                append_messages(lc_json_get(input, "messages"), true, messages) &&
                append_messages(lc_json_get(row, output), false, messages);
    if (fine && tools != NULL) {
        cJSON *copy = cJSON_Duplicate(tools, true);
        fine = copy != NULL && cJSON_AddItemToObject(joined, "tools", copy);
    }
    if (!fine || !normalise(joined)) {
        cJSON_Delete(joined);
        return NULL;
    }
    return joined;
}

static lc_code join_outputs(const cJSON *row, lc_chat_row out[LC_MAX_CONVERSATIONS], int *count,
                            lc_err *err)
{
    static const char *const outputs[] = {"preferred_output", "non_preferred_output"};
    for (int i = 0; i < 2; i++) {
        cJSON *joined = join_output(row, outputs[i]);
        if (joined == NULL) {
            return lc_fail(err, LC_ERR_MEMORY, "no memory for the row");
        }
        out[*count] = chat_row(joined);
        out[(*count)++].output = outputs[i];
    }
    return LC_OK;
}

lc_code lc_chat_row_conversations(const lc_row_text *text, lc_method method,
                                  lc_chat_row out[LC_MAX_CONVERSATIONS], int *count, lc_err *err)
{
    cJSON *row = NULL;
    *count = 0;
    lc_code code = parse(text, &row, err);
    if (code == LC_OK && method != LC_METHOD_DPO) {
        out[0] = chat_row(row);
        out[0].is_prompt = method == LC_METHOD_REINFORCEMENT;
        *count = 1;
        return LC_OK;
    }
    code = code == LC_OK ? join_outputs(row, out, count, err) : code;
    for (; code != LC_OK && *count > 0; (*count)--) {
        lc_chat_row_release(&out[*count - 1]);
    }
    cJSON_Delete(row);
    return code;
}

/* ---- tokens ---- */

static bool has_weight_zero(const cJSON *message)
{
    const cJSON *weight = cJSON_GetObjectItemCaseSensitive(message, "weight");
    return cJSON_IsNumber(weight) && !(weight->valuedouble > 0.0);
}

/* Weight 1 for every token that has text of the span, as transformers masks it: one that a merge
 * carries across the border is not what the prompt alone would give, so it is the answer's. Both
 * are in text order: `from` moves on. */
static size_t weigh_span(const lc_span *span, const lc_tokens *tokens, size_t from, float *weights)
{
    while (from < tokens->count && (size_t)tokens->ends[from] <= span->begin) {
        from++;
    }
    while (from < tokens->count && (size_t)tokens->starts[from] < span->end) {
        weights[from++] = 1.0f;
    }
    return from;
}

static void weigh(const lc_chat_row *row, const lc_rendered *rendered, const lc_tokens *tokens,
                  size_t first, float *weights)
{
    const cJSON *message = row->messages->child;
    size_t index = 0, from = first;
    for (size_t s = 0; s < rendered->span_count; s++) {
        for (; index < rendered->spans[s].message; index++) {
            message = message->next;
        }
        if (!has_weight_zero(message)) {
            from = weigh_span(&rendered->spans[s], tokens, from, weights);
        }
    }
    if (first < tokens->count) {
        weights[first] = 0.0f; /* nothing stands before it that could predict it */
    }
}

lc_code lc_chat_row_tokenize(const lc_chat_row *row, const lc_tokenizer *tokenizer,
                             const lc_chat_template *chat_template, lc_tokens *tokens,
                             float **weights, lc_err *err)
{
    lc_rendered rendered = {0};
    const lc_template_args args = {.messages = row->messages,
                                   .tools = row->tools,
                                   .add_generation_prompt = row->is_prompt,
                                   .with_spans = !row->is_prompt};
    const size_t first = tokens->count;
    LC_TRY(lc_chat_template_render(chat_template, &args, &rendered, err));
    lc_code code =
        lc_tokenizer_encode(tokenizer, rendered.text, rendered.bytes, false, tokens, err);
    float *grown = NULL;
    if (code == LC_OK) {
        grown = lc_realloc(*weights, (tokens->capacity + 1) * sizeof **weights);
        if (grown == NULL) {
            tokens->count = first;
            code = lc_fail(err, LC_ERR_MEMORY, "no memory for %zu loss weights", tokens->capacity);
        }
    }
    if (code == LC_OK) {
        *weights = grown;
        memset(grown + first, 0, (tokens->count - first) * sizeof *grown);
        weigh(row, &rendered, tokens, first, grown);
    }
    lc_rendered_release(&rendered);
    return code;
}
