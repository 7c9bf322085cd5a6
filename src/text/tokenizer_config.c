/*
 * What the files beside tokenizer.json say of its added tokens. transformers takes their word:
 * "added_tokens_decoder" of tokenizer_config.json changes flags of tokens and adds those that are
 * not there (older directories: added_tokens.json and special_tokens_map.json), and the special
 * tokens of the configuration are added where they lack. All of it becomes "added_tokens" of the
 * tree, so that the loader sees one file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "lorac/log.h"
#include "lorac/mem.h"
#include "text/tokenizer_internal.h"

#define CONFIG_FILE      "tokenizer_config.json"
#define OLD_ADDED_FILE   "added_tokens.json"
#define OLD_SPECIAL_FILE "special_tokens_map.json"
#define MAX_CONFIG_BYTES ((size_t)16 << 20)

static const char *const flag_names[] = {"single_word", "lstrip", "rstrip", "normalized",
                                         "special"};
enum { NORMALIZED = 3, SPECIAL = 4, FLAGS = 5 };

typedef struct additions {
    const lc_tokenizer_file *file;
    cJSON *list; /* added_tokens of the tree */
    cJSON *from; /* where the next search begins: the files have the same order, mostly */
    int64_t next_id, limit;
    bool has_decoder, changed;
    lc_err *err;
} additions;

/* ---- one token ---- */

static bool flag_of(const cJSON *token, const char *name)
{
    const cJSON *value = lc_json_get(token, name);
    if (value == NULL && strcmp(name, "normalized") == 0) {
        return !cJSON_IsTrue(lc_json_get(token, "special"));
    }
    return cJSON_IsTrue(value);
}

static bool is_token(const cJSON *item, const char *content)
{
    const cJSON *text = lc_json_get(item, "content");
    return cJSON_IsString(text) && strcmp(text->valuestring, content) == 0;
}

static cJSON *find(additions *a, const char *content)
{
    cJSON *item = a->from;
    for (; item != NULL && !is_token(item, content); item = item->next) {}
    if (item == NULL) {
        for (item = a->list->child; item != a->from && !is_token(item, content);
             item = item->next) {}
        item = item != a->from ? item : NULL;
    }
    a->from = item != NULL ? item->next : a->from;
    return item;
}

/* The id that the vocabulary has, else the next one. */
static int64_t id_of(additions *a, const char *content)
{
    const size_t bytes = strlen(content);
    for (size_t i = 0; i < a->file->vocab_count; i++) {
        const lc_vocab_entry *entry = &a->file->vocab[i];
        if (entry->bytes == bytes && memcmp(a->file->spellings + entry->at, content, bytes) == 0) {
            return entry->id;
        }
    }
    return a->next_id++;
}

static bool set_flag(cJSON *token, const char *name, bool value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(token, name);
    return cJSON_AddBoolToObject(token, name, value) != NULL;
}

/* What an entry says, or its being special does: NULL for nothing. */
static void read_flags(const cJSON *entry, bool is_special, bool values[FLAGS])
{
    for (int i = 0; i < FLAGS; i++) {
        values[i] = flag_of(entry, flag_names[i]);
    }
    values[SPECIAL] |= is_special;
    if (lc_json_get(entry, "normalized") == NULL) {
        values[NORMALIZED] = !values[SPECIAL];
    }
}

static lc_code append(additions *a, const char *content, const cJSON *flags, bool is_special)
{
    const int64_t id = id_of(a, content);
    if (id >= a->limit) { /* a model that was never given a row for it */
        lc_log(LC_LOG_INFO, "the added token %" PRId64 " lies beyond the model's vocabulary", id);
        return LC_OK;
    }
    bool values[FLAGS];
    read_flags(flags, is_special, values);
    cJSON *token = cJSON_CreateObject();
    bool done = token != NULL && cJSON_AddStringToObject(token, "content", content) != NULL &&
                cJSON_AddNumberToObject(token, "id", (double)id) != NULL;
    for (int i = 0; i < FLAGS && done; i++) {
        done = set_flag(token, flag_names[i], values[i]);
    }
    done = done && cJSON_AddItemToArray(a->list, token);
    if (!done) {
        cJSON_Delete(token);
        return lc_fail(a->err, LC_ERR_MEMORY, "no memory for added tokens");
    }
    a->changed = true;
    return LC_OK;
}

/* A token that is special stays so. */
static lc_code change_flags(additions *a, cJSON *token, const cJSON *flags, bool is_named)
{
    bool values[FLAGS], same = true;
    read_flags(flags, is_named, values);
    values[SPECIAL] |= flag_of(token, "special");
    for (int i = 0; i < FLAGS; i++) {
        same = same && values[i] == flag_of(token, flag_names[i]);
    }
    for (int i = 0; i < FLAGS && !same; i++) {
        if (!set_flag(token, flag_names[i], values[i])) {
            return lc_fail(a->err, LC_ERR_MEMORY, "no memory for added tokens");
        }
    }
    a->changed |= !same;
    return LC_OK;
}

/* ---- the lists of the files ---- */

/* An entry of added_tokens_decoder by the id that is its key, of added_tokens.json by its value. */
typedef struct numbered {
    long id;
    const cJSON *item;
} numbered;

static int by_id(const void *a, const void *b)
{
    const numbered *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* false: the entry has no id. */
static bool number_of(const cJSON *item, bool is_decoder, long *id)
{
    char *end = item->string;
    if (!is_decoder) {
        *id = item->valueint;
        return cJSON_IsNumber(item);
    }
    errno = 0;
    *id = strtol(item->string, &end, 10);
    return end != item->string && *end == '\0' && errno == 0;
}

static bool is_named(const cJSON *config, const char *content);
static bool is_special_in_old_files(const cJSON *config, const char *content);

static lc_code add_numbered(additions *a, const cJSON *config, const cJSON *map, bool is_decoder)
{
    void *memory = NULL;
    const cJSON *item = NULL;
    size_t count = 0;
    const char *file = is_decoder ? CONFIG_FILE : OLD_ADDED_FILE;
    lc_code code = LC_OK;
    LC_TRY(lc_new(&memory, (size_t)cJSON_GetArraySize(map) + 1, sizeof(numbered), "added tokens",
                  a->err));
    numbered *tokens = memory;
    cJSON_ArrayForEach(item, map)
    {
        numbered *token = &tokens[count++];
        token->item = item;
        if (!number_of(item, is_decoder, &token->id)) {
            code = lc_fail(a->err, LC_ERR_INVALID, "%s: the added token \"%.200s\" has no id", file,
                           item->string);
            break;
        }
    }
    qsort(tokens, count, sizeof *tokens, by_id);
    for (size_t i = 0; i < count && code == LC_OK; i++) {
        const cJSON *text = is_decoder ? lc_json_get(tokens[i].item, "content") : NULL;
        const char *content = is_decoder ? cJSON_GetStringValue(text) : tokens[i].item->string;
        cJSON *known = content != NULL ? find(a, content) : NULL;
        if (content == NULL || content[0] == '\0') {
            code = lc_fail(a->err, LC_ERR_INVALID, "%s: the added token %ld has no content", file,
                           tokens[i].id);
        } else if (known == NULL) {
            code = is_decoder ? append(a, content, tokens[i].item, is_named(config, content))
                              : append(a, content, NULL, is_special_in_old_files(config, content));
        } else if (is_decoder) {
            code = change_flags(a, known, tokens[i].item, is_named(config, content));
        }
    }
    lc_free(memory);
    return code;
}

static const char *const special_names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                            "pad_token", "cls_token", "mask_token"};
#define NAMES (sizeof special_names / sizeof *special_names)

/* "x", or {"content": "x"}; NULL for anything else. */
static const char *special_text(const cJSON *item)
{
    const char *text =
        cJSON_GetStringValue(cJSON_IsObject(item) ? lc_json_get(item, "content") : item);
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static bool is_text(const cJSON *item, const char *content)
{
    const char *text = special_text(item);
    return text != NULL && strcmp(text, content) == 0;
}

static bool is_among(const cJSON *tokens, const char *content)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, tokens)
    {
        if (is_text(item, content)) {
            return true;
        }
    }
    return false;
}

/* "image_token" and other names of models, too. */
static bool is_name(const cJSON *item)
{
    const size_t length = strlen(item->string);
    return length > 6 && strcmp(item->string + length - 6, "_token") == 0;
}

static bool has_names_of_models(const cJSON *config)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, config)
    {
        size_t i = 0;
        for (; i < NAMES && strcmp(item->string, special_names[i]) != 0; i++) {}
        if (i == NAMES && is_name(item) && special_text(item) != NULL) {
            return true;
        }
    }
    return false;
}

static const cJSON *extra_list(const cJSON *config)
{
    const cJSON *extra = lc_json_get(config, "extra_special_tokens");
    return cJSON_IsArray(extra) && cJSON_GetArraySize(extra) > 0
               ? extra
               : lc_json_get(config, "additional_special_tokens"); /* its old name */
}

static bool has_extra_object(const cJSON *config)
{
    const cJSON *extra = lc_json_get(config, "extra_special_tokens");
    return cJSON_IsObject(extra) && cJSON_GetArraySize(extra) > 0;
}

/* Tokens with names of their own. Where there are such names elsewhere, the last list is passed
 * over. */
static const cJSON *extra_object(const cJSON *config)
{
    if (has_extra_object(config)) {
        return lc_json_get(config, "extra_special_tokens");
    }
    return has_names_of_models(config) ? NULL
                                       : lc_json_get(config, "model_specific_special_tokens");
}

static bool is_named(const cJSON *config, const char *content)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, config)
    {
        if (is_name(item) && is_text(item, content)) {
            return true;
        }
    }
    return is_among(extra_object(config), content);
}

static bool is_special_in_old_files(const cJSON *config, const char *content)
{
    for (size_t i = 0; i < NAMES; i++) {
        if (is_text(lc_json_get(config, special_names[i]), content)) {
            return true;
        }
    }
    return !has_extra_object(config) && is_among(extra_list(config), content);
}

/* A token that is there keeps its flags, but without a list of the decoder one with a name is
 * special. */
static lc_code add_special(additions *a, const cJSON *item, bool has_name)
{
    const char *text = special_text(item);
    cJSON *known = text != NULL ? find(a, text) : NULL;
    if (text != NULL && known == NULL) {
        return append(a, text, cJSON_IsObject(item) ? item : NULL, true);
    }
    if (text == NULL || !has_name || a->has_decoder || flag_of(known, "special")) {
        return LC_OK;
    }
    const bool normalized = flag_of(known, "normalized"); /* where unsaid, it hung on special */
    if (!set_flag(known, "special", true) || !set_flag(known, "normalized", normalized)) {
        return lc_fail(a->err, LC_ERR_MEMORY, "no memory for added tokens");
    }
    a->changed = true;
    return LC_OK;
}

static lc_code add_all(additions *a, const cJSON *tokens)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, tokens)
    {
        LC_TRY(add_special(a, item, cJSON_IsObject(tokens)));
    }
    return LC_OK;
}

static lc_code add_specials(additions *a, const cJSON *config)
{
    const cJSON *item = NULL;
    for (size_t i = 0; i < NAMES; i++) {
        LC_TRY(add_special(a, lc_json_get(config, special_names[i]), true));
    }
    cJSON_ArrayForEach(item, config)
    {
        if (is_name(item)) {
            LC_TRY(add_special(a, item, true));
        }
    }
    LC_TRY(add_all(a, extra_object(config)));
    return add_all(a, extra_list(config));
}

/* ---- the files ---- */

static lc_code load_json(const char *dir, const char *name, cJSON **out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    *out = NULL;
    LC_TRY(lc_path_join(dir, name, path, err));
    if (!lc_path_exists(path)) {
        return LC_OK;
    }
    LC_TRY(lc_json_load(path, MAX_CONFIG_BYTES, LC_JSON_DEFAULT, out, err));
    if (!cJSON_IsObject(*out)) {
        cJSON_Delete(*out);
        *out = NULL;
        return lc_fail(err, LC_ERR_INVALID, "%s: expected an object", name);
    }
    return LC_OK;
}

/* The members of the older file before those of the configuration. */
static lc_code add_old_files(additions *a, const char *dir, cJSON *config)
{
    lc_code code;
    cJSON *map = NULL, *added = NULL, *item = NULL;
    LC_TRY_GOTO(load_json(dir, OLD_SPECIAL_FILE, &map, a->err));
    LC_TRY_GOTO(load_json(dir, OLD_ADDED_FILE, &added, a->err));
    while (config != NULL && map != NULL && (item = map->child) != NULL) {
        (void)cJSON_DetachItemViaPointer(map, item);
        cJSON_DeleteItemFromObjectCaseSensitive(config, item->string);
        (void)cJSON_AddItemToArray(config, item);
    }
    LC_TRY_GOTO(add_numbered(a, config, added, false));
    code = add_specials(a, config != NULL ? config : map);
fail:
    cJSON_Delete(map);
    cJSON_Delete(added);
    return code;
}

static lc_code begin(additions *a, cJSON *root)
{
    const cJSON *list = NULL, *item = NULL;
    LC_TRY(lc_json_array(root, "added_tokens", false, &list, a->err));
    if (list == NULL) {
        cJSON_DeleteItemFromObjectCaseSensitive(root, "added_tokens");
        if (cJSON_AddArrayToObject(root, "added_tokens") == NULL) {
            return lc_fail(a->err, LC_ERR_MEMORY, "no memory for added tokens");
        }
    }
    a->list = cJSON_GetObjectItemCaseSensitive(root, "added_tokens");
    a->from = a->list->child;
    a->next_id = (int64_t)a->file->vocab_count;
    cJSON_ArrayForEach(item, a->list)
    {
        int32_t id = 0;
        if (lc_read_token_id(lc_json_get(item, "id"), &id) && id >= a->next_id) {
            a->next_id = (int64_t)id + 1;
        }
    }
    return LC_OK;
}

lc_code lc_tokenizer_config_apply(const char *dir, int64_t limit, lc_tokenizer_file *file,
                                  bool *changed, lc_err *err)
{
    cJSON *config = NULL;
    additions a = {.file = file, .limit = limit, .err = err};
    if (!cJSON_IsObject(file->root)) {
        return LC_OK; /* the loader says so */
    }
    LC_TRY(begin(&a, file->root));
    LC_TRY(load_json(dir, CONFIG_FILE, &config, err));
    const cJSON *decoder = lc_json_get(config, "added_tokens_decoder");
    lc_code code = LC_OK;
    a.has_decoder = cJSON_IsObject(decoder);
    if (a.has_decoder) {
        code = add_numbered(&a, config, decoder, true);
        code = code == LC_OK ? add_specials(&a, config) : code;
    } else {
        code = add_old_files(&a, dir, config);
    }
    cJSON_Delete(config);
    *changed = a.changed;
    return code;
}
