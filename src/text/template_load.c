/* See template_load.h. What transformers reads, in its order. */
#include "text/template_load.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "lorac/mem.h"
#include "text/utf8.h"

#define TEMPLATE_FILE    "chat_template.jinja"
#define MORE_FOLDER      "additional_chat_templates"
#define CONFIG_FILE      "tokenizer_config.json"
#define OLD_FILE         "chat_template.json"
#define TOKENS_FILE      "special_tokens_map.json"
#define MAX_CONFIG_BYTES ((size_t)16 << 20)

/* ---- texts ---- */

static void name_text(lc_template_text *text, const char *name)
{
    (void)snprintf(text->name, sizeof text->name, "%s", name);
}

/* Not there: *out stays empty. */
static lc_code read_text(const char *path, const char *name, lc_template_text *out, lc_err *err)
{
    LC_TRY(lc_file_read(path, LC_MAX_TEMPLATE_BYTES, &out->text, &out->bytes, err));
    name_text(out, name);
    const size_t valid = lc_utf8_valid_prefix(out->text, out->bytes);
    return valid == out->bytes ? LC_OK
                               : lc_fail_param(err, LC_ERR_INVALID, TEMPLATE_FILE,
                                               "%s is not UTF-8 at byte %zu", path, valid);
}

static lc_code copy_text(const cJSON *item, const char *name, lc_template_text *out, lc_err *err)
{
    lc_free(out->text);
    out->text = lc_strdup(item->valuestring);
    if (out->text == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a chat template");
    }
    out->bytes = strlen(out->text);
    name_text(out, name);
    return LC_OK;
}

/* One of several; those of other names nobody asks for. */
static lc_code take_named(const char *name, const cJSON *text, const char *path,
                          lc_template_texts *out, lc_err *err)
{
    if (name == NULL || !cJSON_IsString(text)) {
        return lc_fail_param(err, LC_ERR_INVALID, "chat_template",
                             "%s: chat_template: each template needs a \"name\" and a "
                             "\"template\"",
                             path);
    }
    out->has_named = true;
    if (strcmp(name, "default") == 0) {
        return copy_text(text, "chat_template \"default\"", &out->usual, err);
    }
    return strcmp(name, "tool_use") == 0
               ? copy_text(text, "chat_template \"tool_use\"", &out->for_tools, err)
               : LC_OK;
}

/* [{"name": "default", "template": "..."}, ...] or {"default": "...", ...}; the last of a name is
 * it. */
static lc_code read_named(const cJSON *list, const char *path, lc_template_texts *out, lc_err *err)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, list)
    {
        const cJSON *name = lc_json_get(item, "name");
        LC_TRY(cJSON_IsObject(list) ? take_named(item->string, item, path, out, err)
                                    : take_named(cJSON_IsString(name) ? name->valuestring : NULL,
                                                 lc_json_get(item, "template"), path, out, err));
    }
    return LC_OK;
}

static lc_code read_member(const cJSON *config, const char *path, lc_template_texts *out,
                           lc_err *err)
{
    const cJSON *item = lc_json_get(config, "chat_template");
    if (item == NULL) {
        return LC_OK;
    }
    if (cJSON_IsString(item)) {
        return copy_text(item, "chat_template", &out->usual, err);
    }
    if (cJSON_IsArray(item) || cJSON_IsObject(item)) {
        return read_named(item, path, out, err);
    }
    return lc_fail_param(err, LC_ERR_INVALID, "chat_template",
                         "%s: chat_template: expected a text or a list of {name, template}", path);
}

/* ---- special tokens ---- */

/* A token's text: "x", or {"content": "x"}. */
static const char *token_text(const cJSON *item)
{
    const cJSON *content = cJSON_IsObject(item) ? lc_json_get(item, "content") : item;
    return cJSON_IsString(content) ? content->valuestring : NULL;
}

static lc_code put_token(cJSON *tokens, const char *name, const char *text, lc_err *err)
{
    cJSON_DeleteItemFromObjectCaseSensitive(tokens, name);
    return cJSON_AddStringToObject(tokens, name, text) != NULL
               ? LC_OK
               : lc_fail(err, LC_ERR_MEMORY, "no memory for special tokens");
}

static bool is_token_name(const char *name)
{
    static const char suffix[] = "_token";
    const size_t length = strlen(name);
    return length > sizeof suffix - 1 && strcmp(name + length - (sizeof suffix - 1), suffix) == 0;
}

/* Members "..._token", and those of the objects that name more tokens. */
static lc_code read_tokens(const cJSON *config, cJSON *tokens, lc_err *err)
{
    static const char *const more[] = {"extra_special_tokens", "model_specific_special_tokens"};
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, config)
    {
        const char *text = token_text(item);
        if (text != NULL && is_token_name(item->string)) {
            LC_TRY(put_token(tokens, item->string, text, err));
        }
    }
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        cJSON_ArrayForEach(item, lc_json_get(config, more[i]))
        {
            const char *text = token_text(item);
            if (text != NULL && item->string != NULL) {
                LC_TRY(put_token(tokens, item->string, text, err));
            }
        }
    }
    return LC_OK;
}

/* ---- the model directory ---- */

static lc_code load_json(const char *dir, const char *name, cJSON **out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    *out = NULL;
    LC_TRY(lc_path_join(dir, name, path, err));
    return lc_path_exists(path) ? lc_json_load(path, MAX_CONFIG_BYTES, LC_JSON_DEFAULT, out, err)
                                : LC_OK;
}

static lc_code read_files(const char *dir, lc_template_texts *out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES], folder[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(dir, TEMPLATE_FILE, path, err));
    if (lc_path_exists(path)) {
        LC_TRY(read_text(path, TEMPLATE_FILE, &out->usual, err));
    }
    LC_TRY(lc_path_join(dir, MORE_FOLDER, folder, err));
    LC_TRY(lc_path_join(folder, "tool_use.jinja", path, err));
    if (lc_path_exists(path)) {
        LC_TRY(read_text(path, "tool_use.jinja", &out->for_tools, err));
    }
    LC_TRY(lc_path_join(folder, "default.jinja", path, err));
    if (out->usual.text == NULL && lc_path_exists(path)) {
        LC_TRY(read_text(path, "default.jinja", &out->usual, err));
    }
    return LC_OK;
}

static lc_code read_config(const char *dir, bool wants_template, lc_template_texts *out,
                           lc_err *err)
{
    cJSON *config = NULL, *map = NULL;
    lc_code code;
    const bool has_files = out->usual.text != NULL || out->for_tools.text != NULL;
    LC_TRY_GOTO(load_json(dir, CONFIG_FILE, &config, err));
    if (config != NULL && wants_template && !has_files) {
        LC_TRY_GOTO(read_member(config, CONFIG_FILE, out, err));
    }
    LC_TRY_GOTO(read_tokens(config, out->tokens, err));
    if (lc_json_get(config, "added_tokens_decoder") == NULL) { /* older directories */
        LC_TRY_GOTO(load_json(dir, TOKENS_FILE, &map, err));
        LC_TRY_GOTO(read_tokens(map, out->tokens, err));
    }
fail:
    cJSON_Delete(config);
    cJSON_Delete(map);
    return code;
}

static lc_code read_old(const char *dir, lc_template_texts *out, lc_err *err)
{
    cJSON *old = NULL;
    LC_TRY(load_json(dir, OLD_FILE, &old, err));
    const lc_code code = old != NULL ? read_member(old, OLD_FILE, out, err) : LC_OK;
    cJSON_Delete(old);
    return code;
}

static lc_code find_all(const lc_template_source *source, lc_template_texts *out, lc_err *err)
{
    const char *dir = source->model_dir;
    if (source->file != NULL) {
        const char *slash = strrchr(source->file, '/');
        LC_TRY(read_text(source->file, slash != NULL ? slash + 1 : source->file, &out->usual, err));
    } else if (dir != NULL) {
        LC_TRY(read_files(dir, out, err));
    }
    if (dir != NULL) {
        LC_TRY(read_config(dir, source->file == NULL, out, err));
    }
    if (out->usual.text == NULL && out->for_tools.text == NULL && dir != NULL) {
        LC_TRY(read_old(dir, out, err));
    }
    return out->usual.text != NULL || out->for_tools.text != NULL
               ? LC_OK
               : lc_fail_param(err, LC_ERR_NOT_FOUND, TEMPLATE_FILE,
                               "%s has no chat template: neither " TEMPLATE_FILE
                               " nor \"chat_template\" in " CONFIG_FILE
                               "%s: put one there as " TEMPLATE_FILE
                               ", or name one with --chat-template (lorac.chat_template in a job "
                               "file)",
                               dir != NULL ? dir : "the model",
                               out->has_named ? " with the name \"default\" or \"tool_use\"" : "");
}

lc_code lc_template_find(const lc_template_source *source, lc_template_texts *out, lc_err *err)
{
    *out = (lc_template_texts){0};
    lc_json_init();
    out->tokens = cJSON_CreateObject();
    const lc_code code = out->tokens != NULL
                             ? find_all(source, out, err)
                             : lc_fail(err, LC_ERR_MEMORY, "no memory for special tokens");
    if (code != LC_OK) {
        lc_template_texts_release(out);
    }
    return code;
}

void lc_template_texts_release(lc_template_texts *texts)
{
    lc_free(texts->usual.text);
    lc_free(texts->for_tools.text);
    cJSON_Delete(texts->tokens);
    *texts = (lc_template_texts){0};
}
