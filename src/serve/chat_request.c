/*
 * What a chat may ask for; see chat_request.h. One table of fields, one function a field.
 */
#include "serve/chat_request.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct reading {
    const cJSON *body;
    lc_chat_request *request;
    lc_text *members;
    bool drops_tools; /* tool_choice "none" */
} reading;

typedef lc_code (*read_field)(reading *r, const char *key, const cJSON *item, lc_err *err);

static lc_code refuse(const char *key, const char *expected, const cJSON *item, lc_err *err)
{
    char shown[LC_JSON_SHOWN_BYTES];
    return lc_fail_param(err, LC_ERR_INVALID, key, "%s: expected %s, found %s", key, expected,
                         lc_json_show(item, shown));
}

static void add_key(lc_text *out, const char *key)
{
    lc_text_addf(out, ", \"%s\": ", key);
}

/* ---- messages ---- */

/* The texts of content parts, one behind the other, as one string. */
static lc_code add_parts(const cJSON *parts, const char *where, lc_text *out, lc_err *err)
{
    lc_text joined;
    lc_code code = LC_OK;
    const cJSON *part;
    lc_text_init(&joined);
    cJSON_ArrayForEach(part, parts)
    {
        const char *type = cJSON_GetStringValue(lc_json_get(part, "type"));
        const char *text = cJSON_GetStringValue(lc_json_get(part, "text"));
        if (type == NULL || strcmp(type, "text") != 0 || text == NULL) {
            code = lc_fail_param(err, LC_ERR_INVALID, where,
                                 "%s: content parts here are {\"type\": \"text\", \"text\": ...}; "
                                 "%.40s is not supported by text models",
                                 where, type != NULL ? type : "a part without a type");
            break;
        }
        lc_text_add(&joined, text, strlen(text));
    }
    if (code == LC_OK) {
        code = lc_text_finish(&joined, "a message", err);
    }
    if (code == LC_OK) {
        lc_text_add_json_string(out, joined.data, joined.length);
    }
    lc_text_release(&joined);
    return code;
}

static lc_code add_message(const cJSON *message, int index, lc_text *out, lc_err *err)
{
    char where[48];
    const cJSON *member;
    bool is_first = true;
    (void)snprintf(where, sizeof where, "messages[%d]", index);
    if (!cJSON_IsObject(message)) {
        return refuse(where, "an object with role and content", message, err);
    }
    const char *role = cJSON_GetStringValue(lc_json_get(message, "role"));
    if (role == NULL || role[0] == '\0') {
        return lc_fail_param(err, LC_ERR_INVALID, where, "%s.role: expected a role", where);
    }
    lc_text_addf(out, "{");
    cJSON_ArrayForEach(member, message)
    {
        if (cJSON_IsNull(member) && strcmp(member->string, "content") != 0) {
            continue;
        }
        lc_text_addf(out, is_first ? "" : ", ");
        is_first = false;
        lc_text_add_json_string(out, member->string, strlen(member->string));
        lc_text_addf(out, ": ");
        if (strcmp(member->string, "content") != 0 || cJSON_IsString(member)) {
            lc_text_add_json(out, member, true);
        } else if (cJSON_IsArray(member)) {
            LC_TRY(add_parts(member, where, out, err));
        } else if (cJSON_IsNull(member) && strcmp(role, "assistant") == 0) {
            lc_text_addf(out, "null");
        } else {
            return refuse(where, "content that is a string or a list of parts", member, err);
        }
    }
    lc_text_addf(out, "}");
    if (lc_json_get(message, "content") == NULL && lc_json_get(message, "tool_calls") == NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, where, "%s has no content", where);
    }
    return LC_OK;
}

static lc_code read_messages(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    const int count = cJSON_GetArraySize(item);
    if (!cJSON_IsArray(item) || count == 0 || count > LC_MAX_CHAT_MESSAGES) {
        return lc_fail_param(err, LC_ERR_INVALID, key,
                             "messages: expected a list of 1 to %d messages", LC_MAX_CHAT_MESSAGES);
    }
    int index = 0;
    const cJSON *message;
    add_key(r->members, key);
    cJSON_ArrayForEach(message, item)
    {
        lc_text_addf(r->members, index == 0 ? "[" : ", ");
        LC_TRY(add_message(message, index++, r->members, err));
    }
    lc_text_addf(r->members, "]");
    return LC_OK;
}

/* ---- the others ---- */

static lc_code read_model(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    r->request->model = cJSON_GetStringValue(item);
    return r->request->model != NULL && r->request->model[0] != '\0'
               ? LC_OK
               : refuse(key, "the name of a deployment", item, err);
}

static lc_code read_number(reading *r, const char *key, const cJSON *item, double low, double high,
                           lc_err *err)
{
    double value = 0;
    LC_TRY(lc_json_double(r->body, key, true, low, high, &value, err));
    (void)item;
    add_key(r->members, key);
    lc_text_add_double(r->members, value);
    return LC_OK;
}

static lc_code read_temperature(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    return read_number(r, key, item, 0, 2, err);
}

static lc_code read_top_p(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 1e-6) {
        add_key(r->members, key); /* 0: the likeliest token alone */
        lc_text_addf(r->members, "1e-06");
        return LC_OK;
    }
    return read_number(r, key, item, 0, 1, err);
}

static lc_code read_penalty(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    if (cJSON_IsNumber(item) && !(item->valuedouble < 0) && !(item->valuedouble > 0)) {
        return LC_OK; /* 0 asks for nothing */
    }
    return read_number(r, key, item, -2, 2, err);
}

static lc_code read_max_tokens(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    int64_t value = 0;
    (void)item;
    LC_TRY(lc_json_int(r->body, key, true, 1, INT32_MAX, &value, err));
    if (strcmp(key, "max_tokens") == 0 && lc_json_get(r->body, "max_completion_tokens") != NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, key,
                             "max_tokens and max_completion_tokens: only one of them");
    }
    lc_text_addf(r->members, ", \"max_tokens\": %" PRId64, value);
    return LC_OK;
}

/* Any integer is a seed, beyond 2^53 as the double it reads as; the generator takes 32 bits. */
static lc_code read_seed(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    const double most = 0x1p63, value = cJSON_IsNumber(item) ? item->valuedouble : 0.5;
    if (!(fabs(value) <= most) || fabs(value - trunc(value)) > 0) {
        return refuse(key, "an integer of 64 bits", item, err);
    }
    const uint64_t bits = value < most ? (uint64_t)(int64_t)value : INT64_MAX;
    lc_text_addf(r->members, ", \"seed\": %" PRIu32, (uint32_t)(bits ^ (bits >> 32)));
    return LC_OK;
}

static lc_code read_choices(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    (void)item;
    LC_TRY(lc_json_int(r->body, key, true, 1, LC_MAX_CHAT_CHOICES, &r->request->choices, err));
    lc_text_addf(r->members, ", \"n\": %" PRId64, r->request->choices);
    return LC_OK;
}

static bool is_stop(const cJSON *item)
{
    const char *text = cJSON_GetStringValue(item);
    return text != NULL && text[0] != '\0' && strlen(text) <= LC_MAX_CHAT_STOP_BYTES;
}

static lc_code read_stop(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    static const char expected[] = "a text of 1 to 256 bytes, or a list of at most 4 of them";
    _Static_assert(LC_MAX_CHAT_STOPS == 4 && LC_MAX_CHAT_STOP_BYTES == 256, "as the text says");
    const cJSON *one;
    if (cJSON_IsString(item)) {
        if (!is_stop(item)) {
            return refuse(key, expected, item, err);
        }
        add_key(r->members, key);
        lc_text_addf(r->members, "[");
        lc_text_add_json(r->members, item, true);
        lc_text_addf(r->members, "]");
        return LC_OK;
    }
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) > LC_MAX_CHAT_STOPS) {
        return refuse(key, expected, item, err);
    }
    cJSON_ArrayForEach(one, item)
    {
        if (!is_stop(one)) {
            return refuse(key, expected, one, err);
        }
    }
    if (cJSON_GetArraySize(item) > 0) {
        add_key(r->members, key);
        lc_text_add_json(r->members, item, true);
    }
    return LC_OK;
}

static lc_code read_logprobs(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    if (!cJSON_IsBool(item)) {
        return refuse(key, "true or false", item, err);
    }
    r->request->has_logprobs = cJSON_IsTrue(item);
    if (r->request->has_logprobs) {
        lc_text_addf(r->members, ", \"logprobs\": true");
    }
    return LC_OK;
}

static lc_code read_top_logprobs(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    int64_t value = 0;
    (void)item;
    LC_TRY(lc_json_int(r->body, key, true, 0, LC_MAX_TOP_LOGPROBS, &value, err));
    if (!cJSON_IsTrue(lc_json_get(r->body, "logprobs"))) {
        return lc_fail_param(err, LC_ERR_INVALID, key, "top_logprobs needs logprobs: true");
    }
    lc_text_addf(r->members, ", \"top_logprobs\": %" PRId64, value);
    return LC_OK;
}

static lc_code read_stream(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    r->request->is_streaming = cJSON_IsTrue(item);
    return cJSON_IsBool(item) ? LC_OK : refuse(key, "true or false", item, err);
}

static lc_code read_stream_options(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    if (!cJSON_IsObject(item)) {
        return refuse(key, "an object", item, err);
    }
    if (!cJSON_IsTrue(lc_json_get(r->body, "stream"))) {
        return lc_fail_param(err, LC_ERR_INVALID, key, "stream_options needs stream: true");
    }
    return lc_json_bool(item, "include_usage", false, &r->request->has_usage, err);
}

static lc_code read_tools(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    const int count = cJSON_GetArraySize(item);
    const cJSON *tool;
    if (!cJSON_IsArray(item) || count > LC_MAX_CHAT_TOOLS) {
        return lc_fail_param(err, LC_ERR_INVALID, key, "tools: expected a list of at most %d tools",
                             LC_MAX_CHAT_TOOLS);
    }
    cJSON_ArrayForEach(tool, item)
    {
        const char *type = cJSON_GetStringValue(lc_json_get(tool, "type"));
        const char *name = cJSON_GetStringValue(lc_json_get(lc_json_get(tool, "function"), "name"));
        if (type == NULL || strcmp(type, "function") != 0 || name == NULL) {
            return refuse(key, "{\"type\": \"function\", \"function\": {\"name\": ...}}", tool,
                          err);
        }
    }
    if (count > 0 && !r->drops_tools) {
        add_key(r->members, key);
        lc_text_add_json(r->members, item, true);
    }
    return LC_OK;
}

static lc_code read_tool_choice(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    const char *choice = cJSON_GetStringValue(item);
    if (choice != NULL && strcmp(choice, "none") == 0) {
        r->drops_tools = true;
        return LC_OK;
    }
    return choice != NULL && strcmp(choice, "auto") == 0
               ? LC_OK
               : refuse(key, "\"auto\" or \"none\": a call of a tool cannot be forced here", item,
                        err);
}

static lc_code read_response_format(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    const char *type = cJSON_GetStringValue(lc_json_get(item, "type"));
    (void)r;
    return type != NULL && strcmp(type, "text") == 0
               ? LC_OK
               : refuse(key, "{\"type\": \"text\"}: answers are not held to a schema here", item,
                        err);
}

static lc_code read_template_kwargs(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    if (!cJSON_IsObject(item)) {
        return refuse(key, "an object", item, err);
    }
    lc_text_addf(r->members, ", \"template\": ");
    lc_text_add_json(r->members, item, true);
    return LC_OK;
}

static lc_code read_logit_bias(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    if (!cJSON_IsObject(item)) {
        return refuse(key, "an object", item, err);
    }
    if (item->child != NULL) {
        add_key(r->members, key);
        lc_text_add_json(r->members, item, true);
    }
    return LC_OK;
}

/* Changes nothing here, whatever it says. */
static lc_code leave_out(reading *r, const char *key, const cJSON *item, lc_err *err)
{
    (void)r;
    (void)key;
    (void)item;
    (void)err;
    return LC_OK;
}

/* tool_choice stands before tools, which it may drop. */
static const struct {
    const char *key;
    read_field read;
} fields[] = {
    {"model", read_model},
    {"messages", read_messages},
    {"tool_choice", read_tool_choice},
    {"tools", read_tools},
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"max_tokens", read_max_tokens},
    {"max_completion_tokens", read_max_tokens},
    {"n", read_choices},
    {"stop", read_stop},
    {"seed", read_seed},
    {"logprobs", read_logprobs},
    {"top_logprobs", read_top_logprobs},
    {"stream", read_stream},
    {"stream_options", read_stream_options},
    {"presence_penalty", read_penalty},
    {"frequency_penalty", read_penalty},
    {"logit_bias", read_logit_bias},
    {"response_format", read_response_format},
    {"chat_template_kwargs", read_template_kwargs},
    {"user", leave_out},
    {"metadata", leave_out},
    {"store", leave_out},
    {"service_tier", leave_out},
    {"parallel_tool_calls", leave_out},
    {"prompt_cache_key", leave_out},
    {"safety_identifier", leave_out},
    {"reasoning_effort", leave_out},
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

static lc_code check_known(const cJSON *body, lc_err *err)
{
    const cJSON *member;
    cJSON_ArrayForEach(member, body)
    {
        bool is_known = false;
        for (size_t i = 0; i < FIELD_COUNT && !is_known; i++) {
            is_known = strcmp(member->string, fields[i].key) == 0;
        }
        if (!is_known) {
            return lc_fail_param(err, LC_ERR_INVALID, member->string,
                                 "Unrecognized request argument supplied: %.100s", member->string);
        }
    }
    return LC_OK;
}

lc_code lc_chat_request_read(const cJSON *body, const char *owner, lc_chat_request *out,
                             lc_text *members, lc_err *err)
{
    reading r = {.body = body, .request = out, .members = members};
    *out = (lc_chat_request){.choices = 1};
    if (body == NULL || lc_json_get(body, "messages") == NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, "messages", "messages is missing");
    }
    LC_TRY(check_known(body, err));
    add_key(members, "owner");
    lc_text_add_json_string(members, owner, strlen(owner));
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const cJSON *item = lc_json_get(body, fields[i].key);
        if (item != NULL) {
            LC_TRY(fields[i].read(&r, fields[i].key, item, err));
        }
    }
    if (lc_json_get(body, "temperature") == NULL) {
        lc_text_addf(members, ", \"temperature\": 1");
    }
    return lc_text_finish(members, "a chat", err);
}
