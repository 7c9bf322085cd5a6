/*
 * One row of chat JSONL: Azure's rules, the deprecated spellings turned into today's, and the
 * row's tokens with their weights. Called by the data set loader, eval, validate and the fuzzer.
 * Keys that the rules do not know are left alone: real files carry ids and notes.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "data/dataset.h"
#include "text/number_spelling.h"
#include "text/text_checks.h"

/* A row being checked. */
typedef struct row_reader {
    cJSON *row;
    int64_t line;
    lc_err *err;
    int64_t message; /* index of the current message, -1 outside */
    const char *role;
} row_reader;

/* Fails with "line 3, messages[1].weight: problem". */
static lc_code fail_at(const row_reader *r, lc_code code, const char *field, const char *format,
                       ...) LC_PRINTF(4, 5);

static lc_code fail_at(const row_reader *r, lc_code code, const char *field, const char *format,
                       ...)
{
    char problem[512], place[LC_ERR_PARAM_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem, sizeof problem, format, arguments);
    va_end(arguments);
    if (r->message >= 0) {
        (void)snprintf(place, sizeof place, "messages[%" PRId64 "]%s%s", r->message,
                       field[0] != '\0' ? "." : "", field);
    } else {
        (void)snprintf(place, sizeof place, "%s", field);
    }
    (void)lc_fail_line(r->err, code, r->line, "line %" PRId64 "%s%s: %s", r->line,
                       place[0] != '\0' ? ", " : "", place, problem);
    if (r->err != NULL && r->err->param[0] == '\0') {
        (void)snprintf(r->err->param, sizeof r->err->param, "%s", place);
    }
    return code;
}

static const char *show(const char *text)
{
    return lc_is_printable(text) ? text : "(unprintable)";
}

static lc_code out_of_memory(const row_reader *r)
{
    return fail_at(r, LC_ERR_MEMORY, "", "no memory for the row");
}

/* ---- content ---- */

static lc_code check_part(const row_reader *r, const cJSON *part)
{
    const cJSON *type = lc_json_get(part, "type");
    if (!cJSON_IsObject(part) || !cJSON_IsString(type)) {
        return fail_at(r, LC_ERR_INVALID, "content", "each part must be an object with a \"type\"");
    }
    if (strcmp(type->valuestring, "text") != 0) {
        return fail_at(r, LC_ERR_UNSUPPORTED, "content",
                       "parts of type \"%.32s\" are not supported, only \"text\"",
                       show(type->valuestring));
    }
    if (!cJSON_IsString(lc_json_get(part, "text"))) {
        return fail_at(r, LC_ERR_INVALID, "content",
                       "a part of type \"text\" must have a string \"text\"");
    }
    return LC_OK;
}

static lc_code check_content(const row_reader *r, const cJSON *message, bool may_be_absent)
{
    const cJSON *content = lc_json_get(message, "content");
    const cJSON *part = NULL;
    if (content == NULL) {
        return may_be_absent ? LC_OK : fail_at(r, LC_ERR_INVALID, "content", "it is missing");
    }
    if (cJSON_IsString(content)) {
        return LC_OK;
    }
    if (!cJSON_IsArray(content) || content->child == NULL) {
        return fail_at(r, LC_ERR_INVALID, "content", "it must be a string or a list of text parts");
    }
    cJSON_ArrayForEach(part, content)
    {
        LC_TRY(check_part(r, part));
    }
    return LC_OK;
}

/* ---- calls ---- */

/* {"name": "...", "arguments": "..."}; an object as arguments is taken too. */
static lc_code check_function(const row_reader *r, const char *field, const cJSON *function)
{
    const cJSON *name = lc_json_get(function, "name");
    const cJSON *arguments = lc_json_get(function, "arguments");
    if (!cJSON_IsObject(function)) {
        return fail_at(r, LC_ERR_INVALID, field, "a call must have a \"function\" object");
    }
    if (!cJSON_IsString(name) || name->valuestring[0] == '\0') {
        return fail_at(r, LC_ERR_INVALID, field, "a function must have a \"name\"");
    }
    if (!cJSON_IsString(arguments) && !cJSON_IsObject(arguments)) {
        return fail_at(r, LC_ERR_INVALID, field,
                       "the \"arguments\" of \"%.64s\" must be a string of JSON",
                       show(name->valuestring));
    }
    return LC_OK;
}

static lc_code check_calls(const row_reader *r, const cJSON *calls)
{
    const cJSON *call = NULL;
    if (!cJSON_IsArray(calls)) {
        return fail_at(r, LC_ERR_INVALID, "tool_calls", "it must be a list");
    }
    cJSON_ArrayForEach(call, calls)
    {
        const cJSON *type = lc_json_get(call, "type");
        const cJSON *id = lc_json_get(call, "id");
        if (type != NULL && (!cJSON_IsString(type) || strcmp(type->valuestring, "function") != 0)) {
            return fail_at(r, LC_ERR_INVALID, "tool_calls",
                           "the \"type\" of a call must be \"function\"");
        }
        if (id != NULL && !cJSON_IsString(id)) {
            return fail_at(r, LC_ERR_INVALID, "tool_calls",
                           "the \"id\" of a call must be a string");
        }
        LC_TRY(check_function(r, "tool_calls", lc_json_get(call, "function")));
    }
    return LC_OK;
}

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
static lc_code normalise_call(const row_reader *r, cJSON *message)
{
    const cJSON *old = lc_json_get(message, "function_call");
    if (old == NULL) {
        return LC_OK;
    }
    if (lc_json_get(message, "tool_calls") != NULL) {
        return fail_at(r, LC_ERR_INVALID, "function_call",
                       "a message cannot have tool_calls as well");
    }
    LC_TRY(check_function(r, "function_call", old));
    cJSON *bare = cJSON_CreateArray();
    cJSON *call = cJSON_DetachItemFromObjectCaseSensitive(message, "function_call");
    cJSON *list = NULL;
    if (bare == NULL || !cJSON_AddItemToArray(bare, call)) {
        cJSON_Delete(call);
        cJSON_Delete(bare);
        return out_of_memory(r);
    }
    const bool fine = wrap_all(bare, &list) && set_list(message, "tool_calls", list);
    cJSON_Delete(bare);
    return fine ? LC_OK : out_of_memory(r);
}

/* ---- messages ---- */

static bool is_assistant(const row_reader *r)
{
    return strcmp(r->role, "assistant") == 0;
}

static lc_code check_weight(const row_reader *r, const cJSON *message)
{
    const cJSON *weight = lc_json_get(message, "weight");
    if (weight == NULL) {
        return LC_OK;
    }
    if (!is_assistant(r)) {
        return fail_at(r, LC_ERR_INVALID, "weight",
                       "only assistant messages may have a weight, this is %s", r->role);
    }
    const double value = cJSON_IsNumber(weight) ? weight->valuedouble : -1.0;
    const bool is_zero = !(value < 0.0) && !(value > 0.0);
    const bool is_one = !(value < 1.0) && !(value > 1.0);
    if (!is_zero && !is_one) {
        return fail_at(r, LC_ERR_INVALID, "weight", "it must be 0 or 1");
    }
    return LC_OK;
}

static lc_code check_role(row_reader *r, const cJSON *message)
{
    static const char *const roles[] = {"system",    "developer", "user",
                                        "assistant", "tool",      "function"};
    const cJSON *role = lc_json_get(message, "role");
    if (!cJSON_IsString(role)) {
        return fail_at(r, LC_ERR_INVALID, "role",
                       role == NULL ? "it is missing" : "it must be a string");
    }
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(role->valuestring, roles[i]) == 0) {
            r->role = roles[i];
            return LC_OK;
        }
    }
    return fail_at(r, LC_ERR_INVALID, "role",
                   "\"%.64s\" is not one of system, developer, user, assistant, tool, function",
                   show(role->valuestring));
}

static lc_code check_string(const row_reader *r, const cJSON *object, const char *key)
{
    const cJSON *item = lc_json_get(object, key);
    return item == NULL || cJSON_IsString(item)
               ? LC_OK
               : fail_at(r, LC_ERR_INVALID, key, "it must be a string");
}

static lc_code check_message(row_reader *r, cJSON *message)
{
    if (!cJSON_IsObject(message)) {
        return fail_at(r, LC_ERR_INVALID, "", "it is not an object");
    }
    LC_TRY(check_role(r, message));
    LC_TRY(check_weight(r, message));
    LC_TRY(check_string(r, message, "name"));
    LC_TRY(check_string(r, message, "tool_call_id"));
    if (!is_assistant(r)) {
        if (lc_json_get(message, "tool_calls") != NULL ||
            lc_json_get(message, "function_call") != NULL) {
            return fail_at(r, LC_ERR_INVALID, "tool_calls",
                           "only assistant messages may call tools, this is %s", r->role);
        }
        return check_content(r, message, false);
    }
    LC_TRY(normalise_call(r, message));
    const cJSON *calls = lc_json_get(message, "tool_calls");
    if (calls != NULL) {
        LC_TRY(check_calls(r, calls));
    }
    return check_content(r, message, calls != NULL && calls->child != NULL);
}

static lc_code check_messages(row_reader *r, const cJSON **out)
{
    cJSON *messages = cJSON_GetObjectItemCaseSensitive(r->row, "messages");
    cJSON *message = NULL;
    if (!cJSON_IsArray(messages) || messages->child == NULL) {
        return fail_at(r, LC_ERR_INVALID, "messages", "it must be a list of messages, not empty");
    }
    r->message = 0;
    cJSON_ArrayForEach(message, messages)
    {
        if (r->message == LC_MAX_MESSAGES) {
            r->message = -1;
            return fail_at(r, LC_ERR_INVALID, "messages", "more than %d messages", LC_MAX_MESSAGES);
        }
        LC_TRY(check_message(r, message));
        r->message++;
    }
    r->message = -1;
    *out = messages;
    return LC_OK;
}

/* ---- tools ---- */

/* functions -> tools, the old spelling of the list. */
static lc_code normalise_tools(const row_reader *r)
{
    cJSON *functions = cJSON_GetObjectItemCaseSensitive(r->row, "functions");
    cJSON *list = NULL;
    if (functions == NULL || cJSON_IsNull(functions)) {
        return LC_OK;
    }
    if (lc_json_get(r->row, "tools") != NULL) {
        return fail_at(r, LC_ERR_INVALID, "functions", "a row cannot have tools as well");
    }
    if (!cJSON_IsArray(functions)) {
        return fail_at(r, LC_ERR_INVALID, "functions", "it must be a list");
    }
    const bool fine = wrap_all(functions, &list) && set_list(r->row, "tools", list);
    return fine ? LC_OK : out_of_memory(r);
}

static lc_code check_tools(const row_reader *r, const cJSON **out)
{
    LC_TRY(normalise_tools(r));
    const cJSON *tools = lc_json_get(r->row, "tools");
    const cJSON *tool = NULL;
    if (tools != NULL && !cJSON_IsArray(tools)) {
        return fail_at(r, LC_ERR_INVALID, "tools", "it must be a list");
    }
    cJSON_ArrayForEach(tool, tools)
    {
        const cJSON *type = lc_json_get(tool, "type");
        const cJSON *name = lc_json_get(lc_json_get(tool, "function"), "name");
        if (!cJSON_IsString(type) || strcmp(type->valuestring, "function") != 0) {
            return fail_at(r, LC_ERR_INVALID, "tools",
                           "each tool must have the \"type\" \"function\"");
        }
        if (!cJSON_IsString(name) || name->valuestring[0] == '\0') {
            return fail_at(r, LC_ERR_INVALID, "tools",
                           "each tool must have a \"function\" with a \"name\"");
        }
    }
    const cJSON *parallel = lc_json_get(r->row, "parallel_tool_calls");
    if (parallel != NULL && !cJSON_IsBool(parallel)) {
        return fail_at(r, LC_ERR_INVALID, "parallel_tool_calls", "it must be true or false");
    }
    *out = tools;
    return LC_OK;
}

/* ---- the row ---- */

/* A row without messages: says what it seems to be. */
static lc_code wrong_kind(const row_reader *r)
{
    if (lc_json_get(r->row, "preferred_output") != NULL ||
        lc_json_get(r->row, "non_preferred_output") != NULL) {
        return fail_at(
            r, LC_ERR_INVALID, "",
            "this is a preference row (preferred_output); supervised training needs rows with "
            "\"messages\"");
    }
    if (lc_json_get(r->row, "prompt") != NULL || lc_json_get(r->row, "completion") != NULL) {
        return fail_at(
            r, LC_ERR_INVALID, "",
            "this is a prompt/completion pair; supervised training needs rows with \"messages\"");
    }
    return fail_at(r, LC_ERR_INVALID, "messages", "it is missing");
}

static lc_code check_row(row_reader *r, lc_chat_row *out)
{
    if (!cJSON_IsObject(r->row)) {
        return fail_at(r, LC_ERR_INVALID, "", "the row is not a JSON object");
    }
    if (lc_json_get(r->row, "messages") == NULL) {
        return wrong_kind(r);
    }
    LC_TRY(check_messages(r, &out->messages));
    return check_tools(r, &out->tools);
}

/* A row is a line of its own: "JSON: line 1 column 5: ..." becomes "line 7, column 5: ...". */
static void name_line(lc_err *err, int64_t line)
{
    static const char prefix[] = "JSON: line 1 ";
    char rest[LC_ERR_MESSAGE_BYTES];
    if (err == NULL || strncmp(err->message, prefix, sizeof prefix - 1) != 0) {
        (void)lc_err_context(err, "line %" PRId64, line);
        return;
    }
    (void)snprintf(rest, sizeof rest, "%s", err->message + sizeof prefix - 1);
    (void)snprintf(err->message, sizeof err->message, "line %" PRId64 ", %.900s", line, rest);
}

lc_code lc_chat_row_parse(const char *line, size_t bytes, int64_t line_number, lc_chat_row *out,
                          lc_err *err)
{
    row_reader r = {.line = line_number, .err = err, .message = -1};
    *out = (lc_chat_row){0};
    if (bytes == 0) {
        return fail_at(&r, LC_ERR_INVALID, "", "the line is empty");
    }
    lc_code code = lc_json_parse(line, bytes, LC_JSON_DEFAULT, "JSON", &r.row, err);
    if (code == LC_OK) {
        code = lc_json_keep_spelling(r.row, line, bytes, err);
    }
    if (code != LC_OK) {
        name_line(err, line_number);
    } else {
        code = check_row(&r, out);
    }
    if (code != LC_OK) {
        cJSON_Delete(r.row);
        *out = (lc_chat_row){0};
        if (err != NULL) {
            err->line = line_number;
        }
        return code;
    }
    out->row = r.row;
    return LC_OK;
}

void lc_chat_row_release(lc_chat_row *row)
{
    cJSON_Delete(row->row);
    *row = (lc_chat_row){0};
}

/* ---- tokens ---- */

static bool has_weight_zero(const cJSON *message)
{
    const cJSON *weight = cJSON_GetObjectItemCaseSensitive(message, "weight");
    return cJSON_IsNumber(weight) && !(weight->valuedouble > 0.0);
}

/* Weight 1 for every token whose first byte lies in the span. Both are in text order: `from` moves
 * on. */
static size_t weigh_span(const lc_span *span, const lc_tokens *tokens, size_t from, float *weights)
{
    while (from < tokens->count && (size_t)tokens->starts[from] < span->begin) {
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
    const lc_template_args args = {
        .messages = row->messages, .tools = row->tools, .with_spans = true};
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
