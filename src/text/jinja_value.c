/* See jinja_value.h: making values, dicts, and taking over JSON. */
#include "text/jinja_value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "text/jinja_vm.h"

#define INDEX_FROM 9 /* entries from which a dict has an index */

const char *lc_jinja_type_name(const lc_jvalue *value)
{
    static const char *const names[] = {[LC_J_MISSING] = "missing",
                                        [LC_J_UNDEFINED] = "Undefined",
                                        [LC_J_NONE] = "NoneType",
                                        [LC_J_BOOL] = "bool",
                                        [LC_J_INT] = "int",
                                        [LC_J_BIG_INT] = "int",
                                        [LC_J_FLOAT] = "float",
                                        [LC_J_STRING] = "str",
                                        [LC_J_LIST] = "list",
                                        [LC_J_TUPLE] = "tuple",
                                        [LC_J_DICT] = "dict",
                                        [LC_J_RANGE] = "range",
                                        [LC_J_KEYS] = "dict_keys",
                                        [LC_J_VALUES] = "dict_values",
                                        [LC_J_ITEMS] = "dict_items",
                                        [LC_J_ITERATOR] = "generator",
                                        [LC_J_NAMESPACE] = "TemplateNamespace",
                                        [LC_J_MACRO] = "Macro",
                                        [LC_J_FUNCTION] = "function",
                                        [LC_J_METHOD] = "builtin_function_or_method",
                                        [LC_J_LOOP] = "LoopContext",
                                        [LC_J_CYCLER] = "Cycler",
                                        [LC_J_JOINER] = "Joiner"};
    if (value->type == LC_J_STRING && (value->flags & LC_J_SAFE) != 0) {
        return "Markup";
    }
    return names[value->type];
}

lc_code lc_jinja_undefined(lc_jvm *vm, const lc_jundefined *why, lc_jvalue *out)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_alloc(vm, sizeof *why, &memory));
    memcpy(memory, why, sizeof *why);
    *out = (lc_jvalue){.type = LC_J_UNDEFINED, .undefined = memory};
    return LC_OK;
}

lc_code lc_jinja_undefined_hint(lc_jvm *vm, const char *hint, lc_jvalue *out)
{
    return lc_jinja_undefined(vm, &(lc_jundefined){.hint = hint}, out);
}

lc_code lc_jinja_list(lc_jvm *vm, lc_jtype type, size_t count, lc_jlist **list, lc_jvalue *out)
{
    void *memory = NULL, *items = NULL;
    LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jlist), &memory));
    LC_TRY(lc_jinja_alloc(vm, count * sizeof(lc_jvalue), &items));
    memset(items, 0, count * sizeof(lc_jvalue));
    *list = memory;
    **list = (lc_jlist){.items = items, .count = count};
    *out = (lc_jvalue){.type = (uint8_t)type, .list = *list};
    return LC_OK;
}

lc_code lc_jinja_pair(lc_jvm *vm, const lc_jvalue *first, const lc_jvalue *second, lc_jvalue *out)
{
    lc_jlist *list = NULL;
    LC_TRY(lc_jinja_list(vm, LC_J_TUPLE, 2, &list, out));
    list->items[0] = *first;
    list->items[1] = *second;
    return LC_OK;
}

lc_code lc_jinja_append(lc_jvm *vm, lc_jlist *list, size_t *capacity, const lc_jvalue *item)
{
    if (list->count >= *capacity) {
        void *items = NULL;
        const size_t wanted = *capacity < 4 ? 8 : 2 * *capacity;
        LC_TRY(lc_jinja_alloc(vm, wanted * sizeof(lc_jvalue), &items));
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof(lc_jvalue));
        }
        list->items = items;
        *capacity = wanted;
    }
    list->items[list->count++] = *item;
    return lc_jinja_pay(vm, 1);
}

lc_code lc_jinja_copy_text(lc_jvm *vm, const char *text, size_t bytes, lc_jvalue *out)
{
    char *copy = NULL;
    LC_TRY(lc_jinja_new_text(vm, bytes, &copy));
    memcpy(copy, text, bytes);
    *out = lc_jinja_text(copy, bytes);
    return LC_OK;
}

/* ---- dicts ---- */

lc_code lc_jinja_dict(lc_jvm *vm, size_t capacity, lc_jdict **dict, lc_jvalue *out)
{
    void *memory = NULL, *entries = NULL;
    LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jdict), &memory));
    LC_TRY(lc_jinja_alloc(vm, capacity * sizeof(lc_jentry), &entries));
    *dict = memory;
    **dict = (lc_jdict){.entries = entries, .capacity = capacity};
    *out = (lc_jvalue){.type = LC_J_DICT, .dict = *dict};
    return LC_OK;
}

static size_t hash_text(const char *text, size_t bytes)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ bytes;
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    }
    return (size_t)(hash ^ hash >> 29);
}

lc_jvalue *lc_jinja_find_text(const lc_jdict *dict, const char *key, size_t bytes)
{
    if (dict->index != NULL) {
        for (size_t at = hash_text(key, bytes);; at++) {
            const uint32_t entry = dict->index[at & (dict->index_size - 1)];
            if (entry == 0) {
                return NULL;
            }
            const lc_jvalue *found = &dict->entries[entry - 1].key;
            if (found->bytes == bytes && memcmp(found->text, key, bytes) == 0) {
                return &dict->entries[entry - 1].value;
            }
        }
    }
    for (size_t i = 0; i < dict->count; i++) {
        const lc_jvalue *found = &dict->entries[i].key;
        if (found->type == LC_J_STRING && found->bytes == bytes &&
            memcmp(found->text, key, bytes) == 0) {
            return &dict->entries[i].value;
        }
    }
    return NULL;
}

/* Objects that are no values are keys of their own. */
static lc_code is_equal_key(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b, bool *out)
{
    const bool are_values = lc_jinja_is_number(a) || a->type == LC_J_UNDEFINED ||
                            a->type == LC_J_TUPLE || a->type == LC_J_STRING;
    if (are_values) {
        return lc_jinja_equal(vm, a, b, out);
    }
    *out = lc_jinja_is_same(a, b);
    return LC_OK;
}

/* Keys that are no strings are few: they are looked for one by one. */
lc_code lc_jinja_find(lc_jvm *vm, const lc_jdict *dict, const lc_jvalue *key, lc_jvalue **out)
{
    *out = NULL;
    LC_TRY(lc_jinja_pay(vm, dict->index == NULL ? dict->count * 8 : 1));
    if (key->type == LC_J_STRING) {
        LC_TRY(lc_jinja_pay(vm, key->bytes));
        *out = lc_jinja_find_text(dict, key->text, key->bytes);
        return LC_OK;
    }
    for (size_t i = 0; i < dict->count && dict->index == NULL; i++) {
        bool is_equal = false;
        LC_TRY(is_equal_key(vm, &dict->entries[i].key, key, &is_equal));
        if (is_equal) {
            *out = &dict->entries[i].value;
            return LC_OK;
        }
    }
    return LC_OK;
}

static void add_to_index(lc_jdict *dict, size_t entry)
{
    const lc_jvalue *key = &dict->entries[entry].key;
    size_t at = hash_text(key->text, key->bytes);
    while (dict->index[at & (dict->index_size - 1)] != 0) {
        at++;
    }
    dict->index[at & (dict->index_size - 1)] = (uint32_t)entry + 1;
}

/* An index over all entries, where all keys are strings. */
static lc_code make_index(lc_jvm *vm, lc_jdict *dict, size_t size)
{
    void *memory = NULL;
    for (size_t i = 0; i < dict->count; i++) {
        if (dict->entries[i].key.type != LC_J_STRING) {
            return LC_OK;
        }
    }
    LC_TRY(lc_jinja_alloc(vm, size * sizeof(uint32_t), &memory));
    memset(memory, 0, size * sizeof(uint32_t));
    dict->index = memory;
    dict->index_size = size;
    for (size_t i = 0; i < dict->count; i++) {
        add_to_index(dict, i);
    }
    return LC_OK;
}

static lc_code index_last(lc_jvm *vm, lc_jdict *dict)
{
    if (dict->index != NULL && dict->entries[dict->count - 1].key.type != LC_J_STRING) {
        dict->index = NULL;
        return LC_OK;
    }
    if (dict->index != NULL && 2 * dict->count <= dict->index_size) {
        add_to_index(dict, dict->count - 1);
        return LC_OK;
    }
    if (dict->index != NULL) {
        return make_index(vm, dict, 4 * dict->index_size);
    }
    return dict->count == INDEX_FROM ? make_index(vm, dict, (size_t)4 * INDEX_FROM + 28) : LC_OK;
}

static lc_code append_entry(lc_jvm *vm, lc_jdict *dict, const lc_jvalue *key,
                            const lc_jvalue *value)
{
    if (dict->count == dict->capacity) {
        void *entries = NULL;
        const size_t capacity = 2 * dict->capacity + 4;
        LC_TRY(lc_jinja_alloc(vm, capacity * sizeof(lc_jentry), &entries));
        if (dict->count > 0) {
            memcpy(entries, dict->entries, dict->count * sizeof(lc_jentry));
        }
        dict->entries = entries;
        dict->capacity = capacity;
    }
    dict->entries[dict->count++] = (lc_jentry){*key, *value};
    return index_last(vm, dict);
}

lc_code lc_jinja_put(lc_jvm *vm, lc_jdict *dict, const lc_jvalue *key, const lc_jvalue *value)
{
    lc_jvalue *found = NULL;
    LC_TRY(lc_jinja_find(vm, dict, key, &found));
    if (found != NULL) {
        *found = *value;
        return LC_OK;
    }
    return append_entry(vm, dict, key, value);
}

lc_code lc_jinja_check_hash(lc_jvm *vm, const lc_jvalue *key)
{
    if (key->type == LC_J_LIST || key->type == LC_J_DICT || key->type == LC_J_ITEMS ||
        key->type == LC_J_KEYS) {
        return lc_jinja_fail_type(vm, "unhashable type: '%s'", key);
    }
    for (size_t i = 0; key->type == LC_J_TUPLE && i < key->list->count; i++) {
        LC_TRY(lc_jinja_enter(vm));
        LC_TRY(lc_jinja_pay(vm, 1));
        LC_TRY(lc_jinja_check_hash(vm, &key->list->items[i]));
        lc_jinja_leave(vm);
    }
    return LC_OK;
}

/* ---- from JSON ---- */

static lc_code take_spelled(const char *spelled, lc_jvalue *out)
{
    if (strpbrk(spelled, ".eE") != NULL) {
        *out = lc_jinja_float(strtod(spelled, NULL));
        return LC_OK;
    }
    errno = 0;
    const long long value = strtoll(spelled, NULL, 10);
    *out = errno == 0 ? lc_jinja_int(value)
                      : (lc_jvalue){.type = LC_J_BIG_INT,
                                    .text = spelled,
                                    .bytes = (uint32_t)strlen(spelled)};
    return LC_OK;
}

static lc_code take_number(const cJSON *json, lc_jvalue *out)
{
    const double value = json->valuedouble;
    if (json->valuestring != NULL) {
        return take_spelled(json->valuestring, out);
    }
    const bool is_whole =
        !(trunc(value) < value) && !(trunc(value) > value) && fabs(value) < 0x1p63;
    *out = is_whole ? lc_jinja_int((int64_t)value) : lc_jinja_float(value);
    return LC_OK;
}

static lc_code take_array(lc_jvm *vm, const cJSON *json, lc_jvalue *out)
{
    lc_jlist *list = NULL;
    size_t at = 0;
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, (size_t)cJSON_GetArraySize(json), &list, out));
    for (const cJSON *item = json->child; item != NULL; item = item->next) {
        LC_TRY(lc_jinja_from_json(vm, item, &list->items[at++]));
    }
    return LC_OK;
}

static lc_code take_object(lc_jvm *vm, const cJSON *json, lc_jvalue *out)
{
    lc_jdict *dict = NULL;
    LC_TRY(lc_jinja_dict(vm, (size_t)cJSON_GetArraySize(json), &dict, out));
    for (const cJSON *item = json->child; item != NULL; item = item->next) {
        const lc_jvalue key = lc_jinja_literal(item->string);
        lc_jvalue value;
        LC_TRY(lc_jinja_from_json(vm, item, &value));
        LC_TRY(append_entry(vm, dict, &key, &value)); /* the scanner let no key in twice */
    }
    return LC_OK;
}

lc_code lc_jinja_from_json(lc_jvm *vm, const cJSON *json, lc_jvalue *out)
{
    lc_code code = LC_OK;
    if (cJSON_IsString(json)) {
        *out = lc_jinja_literal(json->valuestring);
    } else if (cJSON_IsNumber(json)) {
        code = take_number(json, out);
    } else if (cJSON_IsBool(json)) {
        *out = lc_jinja_bool(cJSON_IsTrue(json));
    } else if (cJSON_IsArray(json) || cJSON_IsObject(json)) {
        LC_TRY(lc_jinja_enter(vm)); /* the scanner bounds the depth; a tree made by hand, this */
        code = cJSON_IsArray(json) ? take_array(vm, json, out) : take_object(vm, json, out);
        lc_jinja_leave(vm);
    } else {
        *out = lc_jinja_none();
    }
    return code;
}
