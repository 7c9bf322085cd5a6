/* Filters over lists and mappings, done at once; see jinja_filters.h. */
#include "text/jinja_filters.h"
#include "text/jinja_methods.h"

#define FILTER(name) \
    lc_code lc_jinja_filter_##name(lc_jvm *vm, const lc_jvalue *args, lc_jvalue *out)

static bool is_given(const lc_jvalue *value)
{
    return value->type != LC_J_MISSING && value->type != LC_J_NONE;
}

static bool is_on(const lc_jvalue *value)
{
    return value->type != LC_J_MISSING && lc_jinja_is_true(value);
}

FILTER(default)
{
    (void)vm;
    const bool is_missing =
        args[0].type == LC_J_UNDEFINED || (is_on(&args[2]) && !lc_jinja_is_true(&args[0]));
    *out = !is_missing ? args[0] : args[1].type == LC_J_MISSING ? lc_jinja_text("", 0) : args[1];
    return LC_OK;
}

FILTER(length)
{
    int64_t length = 0;
    LC_TRY(lc_jinja_length(vm, &args[0], false, &length));
    *out = lc_jinja_int(length);
    return LC_OK;
}

FILTER(list)
{
    const lc_jlist *list = NULL;
    LC_TRY(lc_jinja_items(vm, &args[0], &list));
    *out = (lc_jvalue){.type = LC_J_LIST, .list = list};
    return LC_OK;
}

FILTER(first)
{
    lc_jiterator it;
    bool has_next = false;
    LC_TRY(lc_jinja_iterate(vm, &args[0], &it));
    LC_TRY(lc_jinja_next(vm, &it, out, &has_next));
    return has_next ? LC_OK
                    : lc_jinja_undefined_hint(vm, "No first item, sequence was empty.", out);
}

FILTER(last)
{
    lc_jvalue backwards;
    bool is_there = false, has_next = false;
    LC_TRY(lc_jinja_reversed(vm, &args[0], &is_there, &backwards));
    if (!is_there) {
        return lc_jinja_fail_type(vm, "'%s' object is not reversible", &args[0]);
    }
    LC_TRY(lc_jinja_next(vm, backwards.iterator, out, &has_next));
    return has_next ? LC_OK : lc_jinja_undefined_hint(vm, "No last item, sequence was empty.", out);
}

static lc_code reverse_text(lc_jvm *vm, const lc_jvalue *text, lc_jvalue *out)
{
    lc_jvalue bounds[3] = {lc_jinja_none(), lc_jinja_none(), lc_jinja_int(-1)};
    return lc_jinja_slice(vm, text, bounds, out);
}

FILTER(reverse)
{
    bool is_there = false;
    const lc_jlist *items = NULL;
    if (args[0].type == LC_J_STRING) {
        return reverse_text(vm, &args[0], out);
    }
    LC_TRY(lc_jinja_reversed(vm, &args[0], &is_there, out));
    if (is_there) {
        return LC_OK;
    }
    if (!lc_jinja_is_iterable(&args[0])) {
        return lc_jinja_fail(vm, "argument must be iterable");
    }
    LC_TRY(lc_jinja_items(vm, &args[0], &items));
    lc_jlist *list = NULL;
    lc_jvalue made;
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, items->count, &list, &made));
    for (size_t i = 0; i < items->count; i++) {
        list->items[i] = items->items[items->count - 1 - i];
    }
    *out = made;
    return LC_OK;
}

FILTER(attr)
{
    bool is_there = false;
    if (args[1].type != LC_J_STRING) {
        return lc_jinja_fail_type(vm, "attribute name must be string, not '%s'", &args[1]);
    }
    LC_TRY(lc_jinja_own_attribute(vm, &args[0], &args[1], &is_there, out));
    return is_there
               ? LC_OK
               : lc_jinja_undefined(vm, &(lc_jundefined){.object = args[0], .name = args[1]}, out);
}

FILTER(sum)
{
    lc_jvalue total = args[2].type == LC_J_MISSING ? lc_jinja_int(0) : args[2], item;
    lc_jiterator it;
    lc_jpath path = {0};
    bool has_next = false;
    if (is_given(&args[1])) {
        LC_TRY(lc_jinja_path(vm, &args[1], NULL, &path));
    }
    LC_TRY(lc_jinja_iterate(vm, &args[0], &it));
    if (total.type == LC_J_STRING) {
        return lc_jinja_fail(vm, "sum() can't sum strings [use ''.join(seq) instead]");
    }
    for (;;) {
        LC_TRY(lc_jinja_next(vm, &it, &item, &has_next));
        if (!has_next) {
            *out = total;
            return LC_OK;
        }
        LC_TRY(lc_jinja_follow(vm, &path, &item, false, &item));
        LC_TRY(lc_jinja_binary(vm, LC_N_ADD, &total, &item, &total));
    }
}

/* The smallest, or the largest: the first of equals in both. */
static lc_code extreme(lc_jvm *vm, const lc_jvalue *args, bool is_max, lc_jvalue *out)
{
    lc_jiterator it;
    lc_jpath path = {0};
    lc_jvalue item, key, best_key;
    bool has_next = false, is_better = false;
    LC_TRY(lc_jinja_iterate(vm, &args[0], &it));
    LC_TRY(lc_jinja_next(vm, &it, &item, &has_next));
    if (!has_next) {
        return lc_jinja_undefined_hint(vm, "No aggregated item, sequence was empty.", out);
    }
    if (is_given(&args[2])) {
        LC_TRY(lc_jinja_path(vm, &args[2], NULL, &path));
    }
    LC_TRY(lc_jinja_follow(vm, &path, &item, !is_on(&args[1]), &best_key));
    *out = item;
    for (;;) {
        LC_TRY(lc_jinja_next(vm, &it, &item, &has_next));
        if (!has_next) {
            return LC_OK;
        }
        LC_TRY(lc_jinja_follow(vm, &path, &item, !is_on(&args[1]), &key));
        LC_TRY(lc_jinja_order(vm, &key, &best_key, is_max ? LC_J_GREATER : LC_J_LESS, &is_better));
        if (is_better) {
            *out = item;
            best_key = key;
        }
    }
}

FILTER(min)
{
    return extreme(vm, args, false, out);
}

FILTER(max)
{
    return extreme(vm, args, true, out);
}

/* ---- sorting ---- */

/* A copy of the items, to be sorted, and room for their keys. */
static lc_code copy_items(lc_jvm *vm, const lc_jvalue *value, lc_jlist **list, lc_jvalue **keys,
                          lc_jvalue *out)
{
    const lc_jlist *items = NULL;
    void *memory = NULL;
    LC_TRY(lc_jinja_items(vm, value, &items));
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, items->count, list, out));
    memcpy((*list)->items, items->items, items->count * sizeof(lc_jvalue));
    LC_TRY(lc_jinja_alloc(vm, (items->count + 1) * sizeof(lc_jvalue), &memory));
    *keys = memory;
    return LC_OK;
}

/* The values of several attributes, "a,b", as the list that they are compared as. */
static lc_code multiple_key(lc_jvm *vm, const lc_jlist *paths, const lc_jpath *parsed,
                            const lc_jvalue *item, bool ignores_case, lc_jvalue *out)
{
    lc_jlist *list = NULL;
    lc_jvalue made;
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, paths->count, &list, &made));
    for (size_t i = 0; i < paths->count; i++) {
        LC_TRY(lc_jinja_follow(vm, &parsed[i], item, ignores_case, &list->items[i]));
    }
    *out = made;
    return LC_OK;
}

static lc_code split_attributes(lc_jvm *vm, const lc_jvalue *attribute, lc_jlist **out)
{
    lc_jvalue made;
    size_t capacity = 0, from = 0;
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, 0, out, &made));
    if (attribute->type != LC_J_STRING) {
        return lc_jinja_append(vm, *out, &capacity, attribute);
    }
    for (size_t at = 0; at <= attribute->bytes; at++) {
        if (at == attribute->bytes || attribute->text[at] == ',') {
            const lc_jvalue part = lc_jinja_part(attribute, from, at);
            LC_TRY(lc_jinja_append(vm, *out, &capacity, &part));
            from = at + 1;
        }
    }
    return LC_OK;
}

FILTER(sort)
{
    lc_jlist *list = NULL, *names = NULL;
    lc_jvalue *keys = NULL, made;
    void *memory = NULL;
    const lc_jvalue attribute = is_given(&args[3]) ? args[3] : lc_jinja_none();
    LC_TRY(split_attributes(vm, &attribute, &names));
    LC_TRY(lc_jinja_alloc(vm, names->count * sizeof(lc_jpath), &memory));
    lc_jpath *paths = memory;
    for (size_t i = 0; i < names->count; i++) {
        LC_TRY(lc_jinja_path(vm, &names->items[i], NULL, &paths[i]));
    }
    LC_TRY(copy_items(vm, &args[0], &list, &keys, &made));
    for (size_t i = 0; i < list->count; i++) {
        LC_TRY(multiple_key(vm, names, paths, &list->items[i], !is_on(&args[2]), &keys[i]));
    }
    LC_TRY(lc_jinja_sort(vm, keys, list->items, list->count, false, is_on(&args[1])));
    *out = made;
    return LC_OK;
}

FILTER(dictsort)
{
    lc_jlist *list = NULL;
    lc_jvalue *keys = NULL, made, pairs = args[0];
    const lc_jvalue by = args[2].type == LC_J_MISSING ? lc_jinja_literal("key") : args[2];
    const bool by_value = lc_jinja_is_text(&by, "value");
    if (!by_value && !lc_jinja_is_text(&by, "key")) {
        return lc_jinja_fail(vm, "You can only sort by either \"key\" or \"value\"");
    }
    if (args[0].type != LC_J_DICT) {
        return args[0].type == LC_J_UNDEFINED
                   ? lc_jinja_fail_undefined(vm, &args[0])
                   : lc_jinja_fail_type(vm, "'%s' object has no attribute 'items'", &args[0]);
    }
    pairs.type = LC_J_ITEMS;
    LC_TRY(copy_items(vm, &pairs, &list, &keys, &made));
    for (size_t i = 0; i < list->count; i++) {
        keys[i] = list->items[i].list->items[by_value];
        if (keys[i].type == LC_J_STRING && !is_on(&args[1])) {
            LC_TRY(lc_jinja_change_case(vm, &keys[i], LC_J_LOWER, &keys[i]));
        }
    }
    LC_TRY(lc_jinja_sort(vm, keys, list->items, list->count, false, is_on(&args[3])));
    *out = made;
    return LC_OK;
}

/* Items with equal keys, side by side: one (grouper, list) for each run. */
static lc_code make_group(lc_jvm *vm, const lc_jvalue *grouper, const lc_jvalue *items,
                          size_t count, lc_jvalue *out)
{
    lc_jlist *list = NULL;
    lc_jvalue members;
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, count, &list, &members));
    memcpy(list->items, items, count * sizeof *items);
    LC_TRY(lc_jinja_pair(vm, grouper, &members, out));
    out->flags = LC_J_GROUP;
    return LC_OK;
}

FILTER(groupby)
{
    lc_jlist *list = NULL, *groups = NULL;
    lc_jvalue *keys = NULL, made, result, group, grouper;
    lc_jpath path;
    size_t capacity = 0, begin = 0;
    const bool ignores_case = !is_on(&args[3]);
    LC_TRY(lc_jinja_path(vm, &args[1], args[2].type == LC_J_MISSING ? NULL : &args[2], &path));
    LC_TRY(copy_items(vm, &args[0], &list, &keys, &made));
    for (size_t i = 0; i < list->count; i++) {
        LC_TRY(lc_jinja_follow(vm, &path, &list->items[i], ignores_case, &keys[i]));
    }
    LC_TRY(lc_jinja_sort(vm, keys, list->items, list->count, false, false));
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, 0, &groups, &result));
    for (size_t i = 1; i <= list->count; i++) {
        bool is_equal = false;
        if (i < list->count) {
            LC_TRY(lc_jinja_equal(vm, &keys[begin], &keys[i], &is_equal));
        }
        if (is_equal) {
            continue;
        }
        grouper = keys[begin];
        if (ignores_case) {
            LC_TRY(lc_jinja_follow(vm, &path, &list->items[begin], false, &grouper));
        }
        LC_TRY(make_group(vm, &grouper, &list->items[begin], i - begin, &group));
        LC_TRY(lc_jinja_append(vm, groups, &capacity, &group));
        begin = i;
    }
    *out = result;
    return LC_OK;
}
