/*
 * What a row may write in one form and a chat template want in another, see template_internal.h:
 * arguments of tool calls, which the APIs write as the text of a JSON object, and content, which
 * may be a list of text parts. Most templates want the object, and quote its text once more or fail
 * on it; some want the text, and print an object as Python would or fail on it. Most want a string
 * for content, and print a list as Python would or fail on it. Which kind a template is, a trial
 * shows: both forms rendered.
 */
#include <string.h>

#include "text/number_spelling.h"
#include "text/template_internal.h"

#define NEEDLE "lorac_needle"

/* Ids of nine characters are what Mistral's templates insist on. */
#define CALL(arguments)                                                                        \
    "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"\","         \
    "\"tool_calls\":[{\"id\":\"abcdef123\",\"type\":\"function\",\"function\":{\"name\":\"f\"" \
    ",\"arguments\":" arguments "}}]}]"
#define TOOLS                                                                    \
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"\"," \
    "\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]"
#define TURNS(question, answer) \
    "[{\"role\":\"user\",\"content\":" question "},{\"role\":\"assistant\",\"content\":" answer "}]"
#define PARTS(text) "[{\"type\":\"text\",\"text\":\"" text "\"}]"

/* Renders a trial; *out stays empty where the template refuses it. */
static lc_code render_trial(const lc_chat_template *t, const char *text, const char *tools_text,
                            lc_output *out, lc_err *err)
{
    cJSON *messages = NULL, *tools = NULL;
    lc_err refusal = {.code = LC_OK};
    lc_code code;
    *out = (lc_output){0};
    LC_TRY_GOTO(lc_json_parse(text, strlen(text), LC_JSON_DEFAULT, "trial", &messages, err));
    LC_TRY_GOTO(
        lc_json_parse(tools_text, strlen(tools_text), LC_JSON_DEFAULT, "trial", &tools, err));
    const lc_rendering r = {
        .messages = messages, .tools = tools, .message_count = SIZE_MAX, .is_trial = true};
    code = lc_template_run(t, &r, out, &refusal);
    if (code == LC_ERR_MEMORY) {
        (void)lc_fail(err, code, "%s", refusal.message);
    } else {
        code = LC_OK;
    }
fail:
    cJSON_Delete(messages);
    cJSON_Delete(tools);
    return code;
}

static bool shows(const lc_output *output, const char *text)
{
    return output->text != NULL && strstr(output->text, text) != NULL;
}

static lc_code try_arguments(lc_chat_template *t, lc_err *err)
{
    lc_output object, text = {0};
    LC_TRY(render_trial(t, CALL("{\"" NEEDLE "\":1}"), TOOLS, &object, err));
    const lc_code code = render_trial(t, CALL("\"{\\\"" NEEDLE "\\\":1}\""), TOOLS, &text, err);
    const bool is_text_quoted = shows(&text, "\\\"" NEEDLE);
    t->wants_objects = shows(&object, NEEDLE) && (text.text == NULL || is_text_quoted);
    t->wants_texts = shows(&text, NEEDLE) && !is_text_quoted &&
                     (!shows(&object, NEEDLE) || shows(&object, "'" NEEDLE));
    lc_output_release(&object);
    lc_output_release(&text);
    return code;
}

static lc_code try_content(lc_chat_template *t, const char *tools, bool *is_shown, lc_err *err)
{
    lc_output string, list = {0};
    LC_TRY(render_trial(t, TURNS("\"" NEEDLE "1\"", "\"" NEEDLE "2\""), tools, &string, err));
    const lc_code code =
        render_trial(t, TURNS(PARTS(NEEDLE "1"), PARTS(NEEDLE "2")), tools, &list, err);
    const bool is_quoted = shows(&list, "'" NEEDLE) || shows(&list, "\"" NEEDLE);
    *is_shown = shows(&string, NEEDLE "1") && shows(&string, NEEDLE "2");
    t->wants_strings =
        *is_shown && (!shows(&list, NEEDLE "1") || !shows(&list, NEEDLE "2") || is_quoted);
    lc_output_release(&string);
    lc_output_release(&list);
    return code;
}

lc_code lc_template_try_forms(lc_chat_template *t, lc_err *err)
{
    bool is_shown = false;
    LC_TRY(try_arguments(t, err));
    LC_TRY(try_content(t, "null", &is_shown, err));
    return is_shown ? LC_OK : try_content(t, TOOLS, &is_shown, err); /* some insist on tools */
}

/* ---- arguments ---- */

/* The object that `text` spells; *out stays NULL where it is none. */
static lc_code parse_arguments(const char *text, cJSON **out, lc_err *err)
{
    lc_err refusal = {.code = LC_OK};
    const size_t bytes = strlen(text);
    lc_code code = lc_json_parse(text, bytes, LC_JSON_DEFAULT, "arguments", out, &refusal);
    if (code == LC_OK && cJSON_IsObject(*out)) {
        return lc_json_keep_spelling(*out, text, bytes, err);
    }
    cJSON_Delete(*out);
    *out = NULL;
    return code == LC_ERR_MEMORY ? lc_fail(err, code, "%s", refusal.message) : LC_OK;
}

/* Puts `value` (taken in any case; NULL: leaves what is there) in place of a member. */
static lc_code replace(cJSON *object, const char *key, cJSON *value, lc_err *err)
{
    if (value == NULL) {
        return LC_OK;
    }
    if (!cJSON_ReplaceItemInObjectCaseSensitive(object, key, value)) {
        cJSON_Delete(value);
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the messages of a row");
    }
    /* Some versions of cJSON do not look whether there was memory for the key. */
    return value->string != NULL
               ? LC_OK
               : lc_fail(err, LC_ERR_MEMORY, "no memory for the messages of a row");
}

/* The text of an object, as json.dumps would write it. */
static lc_code spell_arguments(const cJSON *object, cJSON **out, lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_add_json(&text, object, true);
    LC_TRY(lc_text_finish(&text, "arguments", err));
    *out = cJSON_CreateString(text.data);
    lc_text_release(&text);
    return *out != NULL ? LC_OK : lc_fail(err, LC_ERR_MEMORY, "no memory for arguments");
}

static lc_code read_calls(const lc_chat_template *t, cJSON *message, lc_err *err)
{
    const cJSON *call = NULL;
    cJSON_ArrayForEach(call, lc_json_get(message, "tool_calls"))
    {
        cJSON *function = cJSON_GetObjectItemCaseSensitive(call, "function"), *made = NULL;
        const cJSON *arguments = lc_json_get(function, "arguments");
        lc_code code = LC_OK;
        if (t->wants_objects && cJSON_IsString(arguments)) {
            code = parse_arguments(arguments->valuestring, &made, err);
        } else if (t->wants_texts && cJSON_IsObject(arguments)) {
            code = spell_arguments(arguments, &made, err);
        }
        if (code != LC_OK) {
            cJSON_Delete(made);
            return code;
        }
        LC_TRY(replace(function, "arguments", made, err));
    }
    return LC_OK;
}

/* ---- content ---- */

/* The parts in a row; nothing where one is no text. */
static lc_code join_parts(cJSON *message, lc_err *err)
{
    const cJSON *content = lc_json_get(message, "content"), *part = NULL;
    lc_text text;
    lc_text_init(&text);
    cJSON_ArrayForEach(part, content)
    {
        const cJSON *item = lc_json_get(part, "text");
        if (!cJSON_IsString(item)) {
            lc_text_release(&text);
            return LC_OK;
        }
        lc_text_add(&text, item->valuestring, strlen(item->valuestring));
    }
    LC_TRY(lc_text_finish(&text, "content", err));
    cJSON *joined = cJSON_CreateString(text.data != NULL ? text.data : "");
    lc_text_release(&text);
    return joined != NULL ? replace(message, "content", joined, err)
                          : lc_fail(err, LC_ERR_MEMORY, "no memory for the content of a message");
}

/* ---- messages ---- */

static bool has_parts(const lc_chat_template *t, const cJSON *message)
{
    return t->wants_strings && cJSON_IsArray(lc_json_get(message, "content"));
}

static bool has_calls(const lc_chat_template *t, const cJSON *message)
{
    return (t->wants_objects || t->wants_texts) &&
           cJSON_IsArray(lc_json_get(message, "tool_calls"));
}

lc_code lc_template_read_forms(const lc_chat_template *t, const cJSON *messages, cJSON **out,
                               lc_err *err)
{
    const cJSON *message = NULL;
    lc_code code = LC_OK;
    bool is_needed = false;
    *out = NULL;
    cJSON_ArrayForEach(message, messages)
    {
        is_needed = is_needed || has_parts(t, message) || has_calls(t, message);
    }
    if (!is_needed) {
        return LC_OK;
    }
    cJSON *copy = cJSON_Duplicate(messages, true);
    if (copy == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the messages of a row");
    }
    for (cJSON *own = copy->child; own != NULL && code == LC_OK; own = own->next) {
        if (has_calls(t, own)) {
            code = read_calls(t, own, err);
        }
        if (code == LC_OK && has_parts(t, own)) {
            code = join_parts(own, err);
        }
    }
    if (code != LC_OK) {
        cJSON_Delete(copy);
        return code;
    }
    *out = copy;
    return LC_OK;
}
