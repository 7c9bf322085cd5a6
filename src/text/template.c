/* See template.h: opening a template, and one rendering of it. */
#include "text/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "lorac/mem.h"
#include "text/jinja_run.h"
#include "text/template_internal.h"
#include "text/template_load.h"
#include "text/utf8.h"

/* ---- dates ---- */

/* Seconds of midnight, UTC; false where there is no such date. */
static bool parse_date(const char *date, int64_t *out)
{
    static const char shape[] = "dddd-dd-dd";
    struct tm parts = {0};
    for (size_t i = 0; i < sizeof shape; i++) {
        const bool is_digit = date[i] >= '0' && date[i] <= '9';
        if (shape[i] == 'd' ? !is_digit : date[i] != shape[i]) {
            return false;
        }
    }
    parts.tm_year = (int)strtol(date, NULL, 10) - 1900;
    parts.tm_mon = (int)strtol(date + 5, NULL, 10) - 1;
    parts.tm_mday = (int)strtol(date + 8, NULL, 10);
    const struct tm asked = parts;
    const time_t seconds = timegm(&parts);
    *out = (int64_t)seconds;
    return parts.tm_year == asked.tm_year && parts.tm_mon == asked.tm_mon &&
           parts.tm_mday == asked.tm_mday;
}

lc_code lc_template_date_check(const char *date, lc_err *err)
{
    int64_t seconds = 0;
    return parse_date(date, &seconds)
               ? LC_OK
               : lc_fail_param(err, LC_ERR_INVALID, "date",
                               "\"%.20s\" is not a date: expected YYYY-MM-DD", date);
}

static void print_date(const struct tm *parts, char out[LC_TEMPLATE_DATE_BYTES])
{
    if (strftime(out, LC_TEMPLATE_DATE_BYTES, "%Y-%m-%d", parts) == 0) {
        (void)snprintf(out, LC_TEMPLATE_DATE_BYTES, "1970-01-01");
    }
}

void lc_template_date_of(int64_t seconds, char out[LC_TEMPLATE_DATE_BYTES])
{
    struct tm parts = {.tm_year = 70, .tm_mday = 1};
    const time_t then = (time_t)seconds;
    (void)gmtime_r(&then, &parts);
    print_date(&parts, out);
}

void lc_template_date_today(char out[LC_TEMPLATE_DATE_BYTES])
{
    struct tm parts = {.tm_year = 70, .tm_mday = 1};
    const time_t now = time(NULL);
    (void)localtime_r(&now, &parts);
    print_date(&parts, out);
}

/* ---- opening ---- */

static lc_code compile(const lc_template_text *text, lc_jprogram **out, lc_err *err)
{
    return text->text == NULL ? LC_OK
                              : lc_jinja_compile(text->text, text->bytes, text->name, out, err);
}

/* The caller's variables over the special tokens, as transformers merges them. */
static lc_code merge_variables(lc_chat_template *t, const cJSON *variables, lc_err *err)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, variables)
    {
        cJSON *copy = cJSON_Duplicate(item, true);
        cJSON_DeleteItemFromObjectCaseSensitive(t->variables, item->string);
        if (copy == NULL || !cJSON_AddItemToObject(t->variables, item->string, copy)) {
            cJSON_Delete(copy);
            return lc_fail(err, LC_ERR_MEMORY, "no memory for a template's variables");
        }
    }
    return LC_OK;
}

static void hash_text(lc_sha256 *hash, const char *text, size_t bytes)
{
    const uint64_t length = bytes;
    lc_sha256_update(hash, &length, sizeof length);
    lc_sha256_update(hash, text, bytes);
}

static bool tells_day(const lc_template_text *text)
{
    return text->text != NULL && strstr(text->text, "strftime_now") != NULL;
}

static lc_code make_hash(lc_chat_template *t, const lc_template_texts *texts,
                         const lc_template_source *source, lc_err *err)
{
    lc_sha256 hash;
    lc_text variables;
    lc_text_init(&variables);
    lc_text_add_json(&variables, t->variables, false);
    LC_TRY(lc_text_finish(&variables, "a template's variables", err));
    lc_sha256_init(&hash);
    hash_text(&hash, texts->usual.text != NULL ? texts->usual.text : "", texts->usual.bytes);
    hash_text(&hash, texts->for_tools.text != NULL ? texts->for_tools.text : "",
              texts->for_tools.bytes);
    hash_text(&hash, variables.data, variables.length);
    const char *date =
        tells_day(&texts->usual) || tells_day(&texts->for_tools) ? source->date : NULL;
    hash_text(&hash, date != NULL ? date : "", date != NULL ? strlen(date) : 0);
    lc_sha256_final(&hash, t->sha256);
    lc_text_release(&variables);
    return LC_OK;
}

static lc_code open_with(lc_chat_template *t, lc_template_texts *texts,
                         const lc_template_source *source, lc_err *err)
{
    t->steps = LC_MAX_TEMPLATE_STEPS;
    t->variables = texts->tokens;
    texts->tokens = NULL;
    (void)snprintf(t->name, sizeof t->name, "%s", texts->usual.name);
    (void)snprintf(t->tools_name, sizeof t->tools_name, "%s", texts->for_tools.name);
    LC_TRY(merge_variables(t, source->variables, err));
    if (source->date != NULL) {
        LC_TRY(lc_template_date_check(source->date, err));
        t->has_date = parse_date(source->date, &t->now);
    }
    LC_TRY(make_hash(t, texts, source, err));
    LC_TRY(compile(&texts->usual, &t->usual, err));
    LC_TRY(compile(&texts->for_tools, &t->for_tools, err));
    return lc_template_try_forms(t, err);
}

lc_code lc_chat_template_open(const lc_template_source *source, lc_chat_template **out, lc_err *err)
{
    lc_template_texts texts;
    *out = NULL;
    LC_TRY(lc_template_find(source, &texts, err));
    lc_chat_template *t = lc_calloc(1, sizeof *t);
    lc_code code = t != NULL ? open_with(t, &texts, source, err)
                             : lc_fail(err, LC_ERR_MEMORY, "no memory for a chat template");
    lc_template_texts_release(&texts);
    if (code != LC_OK) {
        lc_chat_template_free(t);
        return code;
    }
    *out = t;
    return LC_OK;
}

lc_code lc_chat_template_load(const char *model_dir, lc_chat_template **out, lc_err *err)
{
    return lc_chat_template_open(&(lc_template_source){.model_dir = model_dir}, out, err);
}

void lc_chat_template_free(lc_chat_template *t)
{
    if (t != NULL) {
        lc_jinja_free(t->usual);
        lc_jinja_free(t->for_tools);
        cJSON_Delete(t->variables);
        lc_free(t);
    }
}

const uint8_t *lc_chat_template_sha256(const lc_chat_template *chat_template)
{
    return chat_template->sha256;
}

/* ---- variables of a rendering ---- */

static const char *const reasoning_names[] = {"reasoning_content", "thinking", "reasoning"};

/* A message as apply_chat_template shows it; see lc_template_args. */
static lc_code take_message(lc_jvm *vm, const cJSON *json, lc_jvalue *out)
{
    lc_jdict *dict = NULL;
    const cJSON *item = NULL, *reasoning = NULL;
    for (size_t i = 0; i < 3 && reasoning == NULL; i++) {
        reasoning = lc_json_get(json, reasoning_names[i]);
    }
    const bool has_thinking = lc_json_get(json, "thinking") != NULL;
    LC_TRY(lc_jinja_dict(vm, (size_t)cJSON_GetArraySize(json) + 2, &dict, out));
    lc_jvalue thought = {.type = LC_J_MISSING};
    if (reasoning != NULL) {
        const lc_jvalue name = lc_jinja_literal("thinking");
        LC_TRY(lc_jinja_from_json(vm, reasoning, &thought));
        if (!has_thinking) {
            LC_TRY(lc_jinja_put(vm, dict, &name, &thought));
        }
    }
    cJSON_ArrayForEach(item, json)
    {
        const lc_jvalue name = lc_jinja_literal(item->string);
        lc_jvalue value;
        if (cJSON_IsNull(item) || strcmp(item->string, "weight") == 0) {
            continue;
        }
        LC_TRY(lc_jinja_from_json(vm, item, &value));
        LC_TRY(lc_jinja_put(vm, dict, &name, &value));
    }
    if (reasoning != NULL) {
        const lc_jvalue name = lc_jinja_literal("reasoning_content");
        LC_TRY(lc_jinja_put(vm, dict, &name, &thought));
    }
    return LC_OK;
}

static lc_code take_messages(lc_jvm *vm, const lc_rendering *r, lc_jvalue *out)
{
    const cJSON *messages = r->messages, *item = NULL;
    lc_jlist *list = NULL;
    size_t count = messages != NULL ? (size_t)cJSON_GetArraySize(messages) : 0, at = 0;
    if (!cJSON_IsArray(messages)) {
        return lc_jinja_from_json(vm, messages, out);
    }
    count = count < r->message_count ? count : r->message_count;
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, count, &list, out));
    cJSON_ArrayForEach(item, messages)
    {
        if (at == count) {
            break;
        }
        lc_jvalue *message = &list->items[at++];
        LC_TRY(cJSON_IsObject(item) && !r->is_raw ? take_message(vm, item, message)
                                                  : lc_jinja_from_json(vm, item, message));
        if (message->type == LC_J_DICT) {
            message->space->message = at;
        }
    }
    return LC_OK;
}

static lc_code put(lc_jvm *vm, lc_jdict *dict, const char *name, const lc_jvalue *value)
{
    const lc_jvalue key = lc_jinja_literal(name);
    return lc_jinja_put(vm, dict, &key, value);
}

/* Every member of an object that is a variable; messages not where they are made. */
static lc_code put_members(lc_jvm *vm, lc_jdict *dict, const cJSON *object, bool with_messages)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object)
    {
        lc_jvalue value;
        if (strcmp(item->string, "self") == 0) {
            return lc_fail_param(vm->err, LC_ERR_INVALID, "self",
                                 "\"self\" is no name for a variable of a template");
        }
        if ((with_messages || strcmp(item->string, "messages") != 0) &&
            strcmp(item->string, "continue_final_message") != 0) {
            LC_TRY(lc_jinja_from_json(vm, item, &value));
            LC_TRY(put(vm, dict, item->string, &value));
        }
    }
    return LC_OK;
}

/* Into vm->given; *was is what the message to continue says. */
static lc_code make_context(lc_jvm *vm, const lc_chat_template *t, const lc_rendering *r,
                            lc_jvalue *was)
{
    lc_jdict *dict = NULL;
    lc_jvalue context, messages = lc_jinja_none(), tools;
    const lc_jvalue none = lc_jinja_none(), prompts = lc_jinja_bool(r->add_generation_prompt);
    const lc_jvalue empty = lc_jinja_literal("");
    LC_TRY(lc_jinja_dict(vm, 16, &dict, &context));
    vm->given = dict;
    if (r->is_trial) { /* a template without a model has no tokens yet */
        LC_TRY(put(vm, dict, "bos_token", &empty));
        LC_TRY(put(vm, dict, "eos_token", &empty));
    }
    LC_TRY(put_members(vm, dict, t->variables, true));
    if (r->messages != NULL) {
        LC_TRY(take_messages(vm, r, &messages));
    }
    if (r->continued != NULL) {
        LC_TRY(lc_template_mark_end(vm, &messages, r->continued, was));
    }
    if (r->messages != NULL) {
        LC_TRY(put(vm, dict, "messages", &messages));
        LC_TRY(put(vm, dict, "documents", &none));
        LC_TRY(lc_jinja_from_json(vm, r->tools, &tools));
        LC_TRY(put(vm, dict, "tools", &tools));
        LC_TRY(put(vm, dict, "add_generation_prompt", &prompts));
    }
    LC_TRY(put_members(vm, dict, r->row, r->messages == NULL));
    return r->message_count < SIZE_MAX ? put(vm, dict, "add_generation_prompt", &prompts) : LC_OK;
}

/* ---- rendering ---- */

static bool has_tools(const lc_rendering *r)
{
    const cJSON *tools = r->row != NULL ? lc_json_get(r->row, "tools") : r->tools;
    return tools != NULL && !cJSON_IsNull(tools);
}

/* The text, cut to what it takes. */
static lc_code hand_over(lc_jvm *vm, lc_output *out)
{
    if (vm->out.data == NULL) {
        lc_text_add(&vm->out, "", 0);
    }
    LC_TRY(lc_text_finish(&vm->out, "rendered conversation", vm->err));
    vm->out.data[vm->out.length] = '\0';
    *out = (lc_output){.text = vm->out.data,
                       .bytes = vm->out.length,
                       .spans = vm->spans,
                       .span_count = vm->span_count};
    vm->spans = NULL;
    lc_text_init(&vm->out);
    return LC_OK;
}

lc_code lc_template_run(const lc_chat_template *t, const lc_rendering *r, lc_output *out,
                        lc_err *err)
{
    const bool is_for_tools = t->for_tools != NULL && has_tools(r);
    const int share = r->is_trial ? 64 : 1;
    lc_jvm vm = {.program = is_for_tools ? t->for_tools : t->usual,
                 .name = is_for_tools ? t->tools_name : t->name,
                 .steps = t->steps / share,
                 .line = 1,
                 .now = t->now,
                 .has_date = t->has_date,
                 .err = err};
    *out = (lc_output){0};
    if (vm.program == NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, "tools",
                             "the model has a chat template for rows with tools only, named "
                             "\"tool_use\", and this row has none: put one for all into the "
                             "model's folder as chat_template.jinja, or name one with "
                             "--chat-template (lorac.chat_template in a job file)");
    }
    lc_jinja_memory_init(&vm.memory, LC_MAX_TEMPLATE_MEMORY / share);
    lc_text_init(&vm.out);
    lc_jvalue was = lc_jinja_none();
    lc_code code = make_context(&vm, t, r, &was);
    if (code == LC_OK) {
        code = lc_jinja_run(&vm);
    }
    if (code == LC_OK && r->continued != NULL) {
        code = lc_template_cut_at_mark(&vm, &was);
    }
    if (code == LC_OK) {
        code = hand_over(&vm, out);
    }
    lc_text_release(&vm.out);
    lc_free(vm.spans);
    lc_jinja_memory_release(&vm.memory);
    return code;
}

void lc_output_release(lc_output *output)
{
    lc_free(output->text);
    lc_free(output->spans);
    *output = (lc_output){0};
}

static lc_code render(const lc_chat_template *t, const lc_rendering *r, bool with_spans,
                      lc_rendered *out, lc_err *err)
{
    lc_output output;
    LC_TRY(lc_template_run(t, r, &output, err));
    lc_code code = LC_OK;
    if (with_spans) {
        const bool has_generation = (t->usual != NULL && t->usual->has_generation) ||
                                    (t->for_tools != NULL && t->for_tools->has_generation);
        code = has_generation ? lc_template_spans_marked(r, &output, out, err)
                              : lc_template_spans_compared(t, r, &output, out, err);
    }
    if (code != LC_OK) {
        lc_output_release(&output);
        lc_rendered_release(out);
        return code;
    }
    out->text = output.text;
    out->bytes = output.bytes;
    lc_free(output.spans);
    return LC_OK;
}

/* What transformers' continue_final_message names: true is the content. NULL: nothing. */
static const char *continued_field(const lc_template_args *args)
{
    const cJSON *wish = args->row != NULL ? lc_json_get(args->row, "continue_final_message") : NULL;
    return cJSON_IsTrue(wish)                                     ? "content"
           : cJSON_IsString(wish) && wish->valuestring[0] != '\0' ? wish->valuestring
                                                                  : NULL;
}

static lc_code check_args(const lc_template_args *args, const lc_rendering *r, lc_err *err)
{
    if (args->row == NULL && !cJSON_IsArray(args->messages)) {
        return lc_fail_param(err, LC_ERR_INVALID, "messages", "messages is not a list");
    }
    if (r->continued != NULL && (r->add_generation_prompt || args->with_spans)) {
        return lc_fail_param(err, LC_ERR_INVALID, "continue_final_message",
                             "continue_final_message goes neither with add_generation_prompt nor "
                             "with spans");
    }
    return LC_OK;
}

lc_code lc_chat_template_render(const lc_chat_template *t, const lc_template_args *args,
                                lc_rendered *out, lc_err *err)
{
    lc_rendering r = {
        .messages = args->row != NULL ? lc_json_get(args->row, "messages") : args->messages,
        .tools = args->tools,
        .row = args->row,
        .message_count = SIZE_MAX,
        .add_generation_prompt = args->row != NULL
                                     ? cJSON_IsTrue(lc_json_get(args->row, "add_generation_prompt"))
                                     : args->add_generation_prompt,
        .is_raw = args->is_raw,
        .continued = continued_field(args)};
    cJSON *read = NULL;
    *out = (lc_rendered){0};
    LC_TRY(check_args(args, &r, err));
    if (!r.is_raw) {
        LC_TRY(lc_template_read_forms(t, r.messages, &read, err));
        r.messages = read != NULL ? read : r.messages;
    }
    const lc_code code = render(t, &r, args->with_spans, out, err);
    cJSON_Delete(read);
    return code;
}

void lc_rendered_release(lc_rendered *rendered)
{
    lc_free(rendered->text);
    lc_free(rendered->spans);
    *rendered = (lc_rendered){0};
}
