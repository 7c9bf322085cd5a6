/*
 * JSON: parsing (our scanner, then cJSON) and typed readers of members. Used by everything that
 * reads config.json, job files, tokenizer.json, data set rows and our own records.
 */
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json_pull.h"
#include "lorac/mem.h"

static pthread_once_t hooks_once = PTHREAD_ONCE_INIT;

static void set_hooks(void)
{
    cJSON_Hooks hooks = {.malloc_fn = lc_malloc, .free_fn = lc_free};
    cJSON_InitHooks(&hooks);
}

void lc_json_init(void)
{
    (void)pthread_once(&hooks_once, set_hooks);
}

lc_code lc_json_parse(const char *text, size_t bytes, unsigned flags, const char *what, cJSON **out,
                      lc_err *err)
{
    lc_json_init();
    LC_TRY(lc_json_check(text, bytes, flags, what, err));
    if (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3; /* cJSON skips it only in front of more than one byte */
        bytes -= 3;
    }
    /* The scanner takes less than cJSON does, so memory is the only reason left to fail. */
    cJSON *root = cJSON_ParseWithLengthOpts(text, bytes, NULL, 0);
    if (root == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "%s: out of memory for its JSON tree", what);
    }
    *out = root;
    return LC_OK;
}

lc_code lc_json_load(const char *path, size_t max_bytes, unsigned flags, cJSON **out, lc_err *err)
{
    char *text = NULL;
    size_t bytes = 0;
    LC_TRY(lc_file_read(path, max_bytes, &text, &bytes, err));
    const lc_code code = lc_json_parse(text, bytes, flags, path, out, err);
    lc_free(text);
    return code;
}

const cJSON *lc_json_get(const cJSON *object, const char *key)
{
    if (!cJSON_IsObject(object)) {
        return NULL;
    }
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item == NULL || cJSON_IsNull(item) ? NULL : item;
}

/* The shortest of 15 to 17 digits that reads back as the same number. */
static void show_number(double value, char *out)
{
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(out, LC_JSON_SHOWN_BYTES, "%.*g", digits, value);
        const double back = strtod(out, NULL);
        if (!(back < value) && !(back > value)) {
            return;
        }
    }
}

const char *lc_json_show(const cJSON *item, char *out)
{
    if (cJSON_IsNumber(item)) {
        show_number(item->valuedouble, out);
    } else if (cJSON_IsString(item)) {
        (void)snprintf(out, LC_JSON_SHOWN_BYTES, "\"%.60s\"", item->valuestring);
    } else if (cJSON_IsBool(item)) {
        (void)snprintf(out, LC_JSON_SHOWN_BYTES, "%s", cJSON_IsTrue(item) ? "true" : "false");
    } else if (cJSON_IsNull(item)) {
        (void)snprintf(out, LC_JSON_SHOWN_BYTES, "null");
    } else {
        (void)snprintf(out, LC_JSON_SHOWN_BYTES, "%s",
                       cJSON_IsArray(item) ? "an array" : "an object");
    }
    return out;
}

static lc_code fail_type(const cJSON *item, const char *key, const char *expected, lc_err *err)
{
    char found[LC_JSON_SHOWN_BYTES];
    (void)lc_json_show(item, found);
    return lc_fail_param(err, LC_ERR_INVALID, key, "\"%s\" must be %s, not %s", key, expected,
                         found);
}

/* *out: the member, or NULL when it is absent and may be. */
static lc_code find(const cJSON *object, const char *key, bool required, const cJSON **out,
                    lc_err *err)
{
    *out = lc_json_get(object, key);
    if (*out == NULL && required) {
        return lc_fail_param(err, LC_ERR_INVALID, key, "\"%s\" is missing", key);
    }
    return LC_OK;
}

/* |value| < 2^53: above that a double no longer tells neighbouring integers apart. */
static bool is_exact_integer(double value)
{
    return fabs(value) < 0x1p53 && !(value < floor(value)) && !(value > floor(value));
}

lc_code lc_json_int(const cJSON *object, const char *key, bool required, int64_t min, int64_t max,
                    int64_t *out, lc_err *err)
{
    const cJSON *item = NULL;
    LC_TRY(find(object, key, required, &item, err));
    if (item == NULL) {
        return LC_OK;
    }
    const bool is_integer = cJSON_IsNumber(item) && is_exact_integer(item->valuedouble);
    const int64_t value = is_integer ? (int64_t)item->valuedouble : 0;
    if (!is_integer || value < min || value > max) {
        char expected[96];
        (void)snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, min,
                       max);
        return fail_type(item, key, expected, err);
    }
    *out = value;
    return LC_OK;
}

lc_code lc_json_double(const cJSON *object, const char *key, bool required, double min, double max,
                       double *out, lc_err *err)
{
    const cJSON *item = NULL;
    LC_TRY(find(object, key, required, &item, err));
    if (item == NULL) {
        return LC_OK;
    }
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || item->valuedouble < min ||
        item->valuedouble > max) {
        char expected[96];
        (void)snprintf(expected, sizeof expected, "a number from %.10g to %.10g", min, max);
        return fail_type(item, key, expected, err);
    }
    *out = item->valuedouble;
    return LC_OK;
}

lc_code lc_json_bool(const cJSON *object, const char *key, bool required, bool *out, lc_err *err)
{
    const cJSON *item = NULL;
    LC_TRY(find(object, key, required, &item, err));
    if (item == NULL) {
        return LC_OK;
    }
    if (!cJSON_IsBool(item)) {
        return fail_type(item, key, "true or false", err);
    }
    *out = cJSON_IsTrue(item);
    return LC_OK;
}

lc_code lc_json_string(const cJSON *object, const char *key, bool required, const char **out,
                       lc_err *err)
{
    const cJSON *item = NULL;
    LC_TRY(find(object, key, required, &item, err));
    if (item == NULL) {
        return LC_OK;
    }
    if (!cJSON_IsString(item)) {
        return fail_type(item, key, "a string", err);
    }
    *out = item->valuestring;
    return LC_OK;
}

lc_code lc_json_object(const cJSON *object, const char *key, bool required, const cJSON **out,
                       lc_err *err)
{
    const cJSON *item = NULL;
    LC_TRY(find(object, key, required, &item, err));
    if (item == NULL) {
        return LC_OK;
    }
    if (!cJSON_IsObject(item)) {
        return fail_type(item, key, "an object", err);
    }
    *out = item;
    return LC_OK;
}

lc_code lc_json_array(const cJSON *object, const char *key, bool required, const cJSON **out,
                      lc_err *err)
{
    const cJSON *item = NULL;
    LC_TRY(find(object, key, required, &item, err));
    if (item == NULL) {
        return LC_OK;
    }
    if (!cJSON_IsArray(item)) {
        return fail_type(item, key, "an array", err);
    }
    *out = item;
    return LC_OK;
}

static bool is_listed(const char *key, const char *const *keys)
{
    for (size_t i = 0; keys[i] != NULL; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

lc_code lc_json_only_keys(const cJSON *object, const char *const *keys, const char *where,
                          lc_err *err)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object)
    {
        if (is_listed(item->string, keys)) {
            continue;
        }
        char known[512] = "";
        size_t used = 0;
        for (size_t i = 0; keys[i] != NULL && used < sizeof known; i++) {
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                     keys[i]);
        }
        return lc_fail_param(err, LC_ERR_INVALID, item->string,
                             "%s has no field \"%.80s\"; it may have %s", where, item->string,
                             known);
    }
    return LC_OK;
}
