/*
 * Arguments of tool calls, see template_internal.h. The APIs write them as the text of a JSON
 * object. Some templates take that text as it is; most of today's take the object, and print the
 * text as a string within a string, or fail on it. Which kind a template is, a trial shows: a call
 * rendered both ways.
 */
#include <string.h>

#include "text/number_spelling.h"
#include "text/template_internal.h"

#define NEEDLE "lorac_needle"

/* Ids of nine characters are what Mistral's templates insist on. */
#define TRIAL(arguments)                                                                       \
    "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"\","         \
    "\"tool_calls\":[{\"id\":\"abcdef123\",\"type\":\"function\",\"function\":{\"name\":\"f\"" \
    ",\"arguments\":" arguments "}}]}]"
#define TOOLS                                                                    \
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"\"," \
    "\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]"

/* Renders the trial; *out stays empty where the template refuses it. */
static lc_code render_trial(const lc_chat_template *t, const char *text, lc_output *out,
                            lc_err *err)
{
    cJSON *messages = NULL, *tools = NULL;
    lc_err refusal = {.code = LC_OK};
    lc_code code;
    *out = (lc_output){0};
    LC_TRY_GOTO(lc_json_parse(text, strlen(text), LC_JSON_DEFAULT, "trial", &messages, err));
    LC_TRY_GOTO(lc_json_parse(TOOLS, strlen(TOOLS), LC_JSON_DEFAULT, "trial", &tools, err));
    const lc_rendering r = {.messages = messages, .tools = tools, .message_count = SIZE_MAX};
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

lc_code lc_template_try_calls(lc_chat_template *t, lc_err *err)
{
    lc_output object, text;
    LC_TRY(render_trial(t, TRIAL("{\"" NEEDLE "\":1}"), &object, err));
    const bool shows = object.text != NULL && strstr(object.text, NEEDLE) != NULL;
    lc_output_release(&object);
    if (!shows) {
        return LC_OK;
    }
    LC_TRY(render_trial(t, TRIAL("\"{\\\"" NEEDLE "\\\":1}\""), &text, err));
    t->wants_objects = text.text == NULL || strstr(text.text, "\\\"" NEEDLE) != NULL;
    lc_output_release(&text);
    return LC_OK;
}

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

static lc_code read_call(cJSON *call, lc_err *err)
{
    cJSON *function = cJSON_GetObjectItemCaseSensitive(call, "function"), *object = NULL;
    const cJSON *arguments = lc_json_get(function, "arguments");
    if (!cJSON_IsString(arguments)) {
        return LC_OK;
    }
    const lc_code code = parse_arguments(arguments->valuestring, &object, err);
    if (code != LC_OK) {
        cJSON_Delete(object);
        return code;
    }
    if (object != NULL && !cJSON_ReplaceItemInObjectCaseSensitive(function, "arguments", object)) {
        cJSON_Delete(object);
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the arguments of a call");
    }
    return LC_OK;
}

static bool has_calls(const cJSON *messages)
{
    const cJSON *message = NULL;
    cJSON_ArrayForEach(message, messages)
    {
        if (cJSON_IsArray(lc_json_get(message, "tool_calls"))) {
            return true;
        }
    }
    return false;
}

lc_code lc_template_read_calls(const lc_chat_template *t, const cJSON *messages, cJSON **out,
                               lc_err *err)
{
    *out = NULL;
    if (!t->wants_objects || !has_calls(messages)) {
        return LC_OK;
    }
    cJSON *copy = cJSON_Duplicate(messages, true), *message = NULL, *call = NULL;
    if (copy == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the messages of a row");
    }
    cJSON_ArrayForEach(message, copy){cJSON_ArrayForEach(call, lc_json_get(message, "tool_calls")){
        const lc_code code = read_call(call, err);
    if (code != LC_OK) {
        cJSON_Delete(copy);
        return code;
    }
}
}
*out = copy;
return LC_OK;
}
