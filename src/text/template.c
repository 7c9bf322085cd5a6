/*
 * The one chat template of this version (see template.h): recognised by the SHA-256 of its text,
 * rendered by hand. Each step below names the line of models/sprout-3m/chat_template.jinja that it
 * stands for; values for which Jinja2 would raise an error are errors here.
 */
#include "text/template.h"

#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "lorac/mem.h"

#define TEMPLATE_FILE      "chat_template.jinja"
#define CONFIG_FILE        "tokenizer_config.json"
#define MAX_TEMPLATE_BYTES ((size_t)1 << 20)
#define MAX_CONFIG_BYTES   ((size_t)16 << 20)

/* SHA-256 of models/sprout-3m/chat_template.jinja, as it is and without the newline at its end. */
static const char *const known_sha256[] = {
    "1d61cf1d2a234b84a1c4d817f1615c994217c43a8f065f4501a639b46163c8f0",
    "58d0fbfcb0204f8ff7b9fade68287775b50ebb8b49a0e83342abdf52d33b20a4",
};

struct lc_chat_template {
    uint8_t sha256[32];
};

/* ---- loading ---- */

static lc_code check_template(const char *text, size_t bytes, const char *where, lc_err *err)
{
    uint8_t digest[32];
    char hex[65];
    lc_sha256_of(text, bytes, digest);
    lc_hex(digest, sizeof digest, hex);
    for (size_t i = 0; i < sizeof known_sha256 / sizeof known_sha256[0]; i++) {
        if (strcmp(hex, known_sha256[i]) == 0) {
            return LC_OK;
        }
    }
    return lc_fail_param(
        err, LC_ERR_UNSUPPORTED, TEMPLATE_FILE,
        "%s holds a chat template that this version cannot render: it supports the "
        "ChatML template of models/sprout-3m only. A tokenized data set needs none",
        where);
}

static lc_code load_file(const char *path, lc_err *err)
{
    char *text = NULL;
    size_t bytes = 0;
    LC_TRY(lc_file_read(path, MAX_TEMPLATE_BYTES, &text, &bytes, err));
    const lc_code code = check_template(text, bytes, path, err);
    lc_free(text);
    return code;
}

static lc_code check_config(const cJSON *root, const char *path, lc_err *err)
{
    const cJSON *item = lc_json_get(root, "chat_template");
    if (item == NULL) {
        return lc_fail_param(err, LC_ERR_NOT_FOUND, TEMPLATE_FILE,
                             "the model has no chat template: neither " TEMPLATE_FILE
                             " nor \"chat_template\" in %s",
                             path);
    }
    if (!cJSON_IsString(item)) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, CONFIG_FILE,
                             "%s: a chat_template that is not a string is not supported", path);
    }
    return check_template(item->valuestring, strlen(item->valuestring), path, err);
}

static lc_code load_config(const char *path, lc_err *err)
{
    cJSON *root = NULL;
    LC_TRY(lc_json_load(path, MAX_CONFIG_BYTES, LC_JSON_DEFAULT, &root, err));
    const lc_code code = check_config(root, path, err);
    cJSON_Delete(root);
    return code;
}

lc_code lc_chat_template_load(const char *model_dir, lc_chat_template **out, lc_err *err)
{
    char file[LC_MAX_PATH_BYTES], config[LC_MAX_PATH_BYTES];
    *out = NULL;
    LC_TRY(lc_path_join(model_dir, TEMPLATE_FILE, file, err));
    LC_TRY(lc_path_join(model_dir, CONFIG_FILE, config, err));
    if (lc_path_exists(file)) {
        LC_TRY(load_file(file, err));
    } else if (lc_path_exists(config)) {
        LC_TRY(load_config(config, err));
    } else {
        return lc_fail_param(err, LC_ERR_NOT_FOUND, TEMPLATE_FILE,
                             "%s has no chat template: neither " TEMPLATE_FILE " nor " CONFIG_FILE,
                             model_dir);
    }
    *out = lc_calloc(1, sizeof **out);
    if (*out == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a chat template");
    }
    lc_sha256_of(known_sha256[0], strlen(known_sha256[0]), (*out)->sha256);
    return LC_OK;
}

void lc_chat_template_free(lc_chat_template *chat_template)
{
    lc_free(chat_template);
}

const uint8_t *lc_chat_template_sha256(const lc_chat_template *chat_template)
{
    return chat_template->sha256;
}

/* ---- rendering ---- */

/* One call of lc_chat_template_render. */
typedef struct renderer {
    lc_text text;
    lc_span *spans; /* room for one per message */
    size_t span_count;
    size_t message; /* index of the current one */
    lc_err *err;
} renderer;

static void add(renderer *r, const char *text)
{
    lc_text_add(&r->text, text, strlen(text));
}

static lc_code bad_message(const renderer *r, const char *field, const char *problem)
{
    return lc_fail_param(r->err, LC_ERR_INVALID, field, "messages[%zu].%s %s", r->message, field,
                         problem);
}

/* What Jinja calls true: a missing value, null, false, 0, "", [] and {} are not. */
static bool is_truthy(const cJSON *item)
{
    if (item == NULL || cJSON_IsNull(item) || cJSON_IsFalse(item)) {
        return false;
    }
    if (cJSON_IsNumber(item)) {
        return item->valuedouble < 0.0 || item->valuedouble > 0.0;
    }
    if (cJSON_IsString(item)) {
        return item->valuestring[0] != '\0';
    }
    return cJSON_IsTrue(item) || item->child != NULL;
}

/* {{- part.text }} for the parts of a list; an absent text prints nothing. */
static lc_code add_parts(renderer *r, const cJSON *content)
{
    const cJSON *part = NULL;
    cJSON_ArrayForEach(part, content)
    {
        const cJSON *text = cJSON_GetObjectItemCaseSensitive(part, "text");
        if (!cJSON_IsObject(part) || (text != NULL && !cJSON_IsString(text))) {
            return bad_message(r, "content", "has a part without a text");
        }
        if (text != NULL) {
            add(r, text->valuestring);
        }
    }
    return LC_OK;
}

static lc_code add_content(renderer *r, const cJSON *content)
{
    if (cJSON_IsString(content)) {
        add(r, content->valuestring);
        return LC_OK;
    }
    if (!is_truthy(content)) {
        return LC_OK;
    }
    return cJSON_IsArray(content)
               ? add_parts(r, content)
               : bad_message(r, "content", "is neither a text nor a list of parts");
}

/* {{- '<tool_call>' + call.function.name + '\n' }} and the arguments, text or any other JSON. */
static lc_code add_call(renderer *r, const cJSON *call)
{
    const cJSON *function = cJSON_GetObjectItemCaseSensitive(call, "function");
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(function, "name");
    const cJSON *arguments = cJSON_GetObjectItemCaseSensitive(function, "arguments");
    if (!cJSON_IsObject(call) || !cJSON_IsObject(function) || !cJSON_IsString(name)) {
        return bad_message(r, "tool_calls", "has a call without a function name");
    }
    if (arguments == NULL) {
        return bad_message(r, "tool_calls", "has a call without arguments");
    }
    add(r, "<tool_call>");
    add(r, name->valuestring);
    add(r, "\n");
    if (cJSON_IsString(arguments)) {
        add(r, arguments->valuestring);
    } else {
        lc_text_add_json(&r->text, arguments, true);
    }
    add(r, "</tool_call>");
    return LC_OK;
}

static lc_code add_calls(renderer *r, const cJSON *calls)
{
    const cJSON *call = NULL;
    if (!is_truthy(calls)) {
        return LC_OK;
    }
    if (!cJSON_IsArray(calls)) {
        return bad_message(r, "tool_calls", "is not a list");
    }
    cJSON_ArrayForEach(call, calls)
    {
        LC_TRY(add_call(r, call));
    }
    return LC_OK;
}

static lc_code add_message(renderer *r, const cJSON *message)
{
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
    if (!cJSON_IsObject(message) || !cJSON_IsString(role)) {
        return bad_message(r, "role", "is missing or not a text");
    }
    add(r, "<|im_start|>");
    add(r, role->valuestring);
    add(r, "\n");
    const size_t begin = r->text.length;
    LC_TRY(add_content(r, cJSON_GetObjectItemCaseSensitive(message, "content")));
    LC_TRY(add_calls(r, cJSON_GetObjectItemCaseSensitive(message, "tool_calls")));
    add(r, "<|im_end|>");
    if (strcmp(role->valuestring, "assistant") == 0) {
        r->spans[r->span_count++] = (lc_span){begin, r->text.length, r->message};
    }
    add(r, "\n");
    return LC_OK;
}

static lc_code add_tools(renderer *r, const cJSON *tools)
{
    const cJSON *tool = NULL;
    if (!is_truthy(tools)) {
        return LC_OK;
    }
    if (!cJSON_IsArray(tools)) {
        return lc_fail_param(r->err, LC_ERR_INVALID, "tools", "tools is not a list");
    }
    add(r, "<|im_start|>tools\n");
    cJSON_ArrayForEach(tool, tools)
    {
        lc_text_add_json(&r->text, tool, true);
        add(r, "\n");
    }
    add(r, "<|im_end|>\n");
    return LC_OK;
}

static lc_code render(renderer *r, const cJSON *messages, const cJSON *tools,
                      bool add_generation_prompt)
{
    const cJSON *message = NULL;
    if (!cJSON_IsArray(messages)) {
        return lc_fail_param(r->err, LC_ERR_INVALID, "messages", "messages is not a list");
    }
    void *memory = NULL;
    LC_TRY(lc_new(&memory, (size_t)cJSON_GetArraySize(messages) + 1, sizeof(lc_span), "spans",
                  r->err));
    r->spans = memory;
    LC_TRY(add_tools(r, tools));
    cJSON_ArrayForEach(message, messages)
    {
        LC_TRY(add_message(r, message));
        r->message++;
    }
    if (add_generation_prompt) {
        add(r, "<|im_start|>assistant\n");
    }
    return lc_text_finish(&r->text, "rendered conversation", r->err);
}

lc_code lc_chat_template_render(const lc_chat_template *chat_template, const cJSON *messages,
                                const cJSON *tools, bool add_generation_prompt, lc_rendered *out,
                                lc_err *err)
{
    renderer r = {.err = err};
    (void)chat_template;
    *out = (lc_rendered){0};
    lc_text_init(&r.text);
    const lc_code code = render(&r, messages, tools, add_generation_prompt);
    if (code != LC_OK) {
        lc_text_release(&r.text);
        lc_free(r.spans);
        return code;
    }
    *out = (lc_rendered){
        .text = r.text.data, .bytes = r.text.length, .spans = r.spans, .span_count = r.span_count};
    return LC_OK;
}

void lc_rendered_release(lc_rendered *rendered)
{
    lc_free(rendered->text);
    lc_free(rendered->spans);
    *rendered = (lc_rendered){0};
}
