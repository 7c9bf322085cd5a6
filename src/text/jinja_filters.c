/* The table of filters, and what they share; see jinja_filters.h. */
#include "text/jinja_filters.h"

#define PLAIN(name, parameters, required)                         \
    {                                                             \
#name, parameters, required, lc_jinja_filter_##name, NULL \
    }
#define CALL(name)                                   \
    {                                                \
#name, NULL, 0, NULL, lc_jinja_filter_##name \
    }

static const lc_jfilter filters[] = {
    PLAIN(tojson, "x,ensure_ascii,indent,separators,sort_keys", 1),
    PLAIN(trim, "value,chars", 1),
    PLAIN(length, "obj", 1),
    {"count", "obj", 1, lc_jinja_filter_length, NULL},
    PLAIN(items, "value", 1),
    PLAIN(string, "s", 1),
    PLAIN(safe, "value", 1),
    PLAIN(default, "value,default_value,boolean", 1),
    {"d", "value,default_value,boolean", 1, lc_jinja_filter_default, NULL},
    PLAIN(join, "value,d,attribute", 1),
    PLAIN(lower, "s", 1),
    PLAIN(upper, "s", 1),
    PLAIN(title, "s", 1),
    PLAIN(capitalize, "s", 1),
    PLAIN(dictsort, "value,case_sensitive,by,reverse", 1),
    CALL(map),
    PLAIN(list, "value", 1),
    CALL(select),
    CALL(selectattr),
    CALL(reject),
    CALL(rejectattr),
    PLAIN(first, "seq", 1),
    PLAIN(last, "seq", 1),
    PLAIN(replace, "s,old,new,count", 3),
    PLAIN(reverse, "value", 1),
    PLAIN(sort, "value,reverse,case_sensitive,attribute", 1),
    PLAIN(unique, "value,case_sensitive,attribute", 1),
    PLAIN(int, "value,default,base", 1),
    PLAIN(float, "value,default", 1),
    PLAIN(abs, "x", 1),
    PLAIN(round, "value,precision,method", 1),
    PLAIN(indent, "s,width,first,blank", 1),
    PLAIN(batch, "value,linecount,fill_with", 2),
    PLAIN(slice, "value,slices,fill_with", 2),
    PLAIN(sum, "iterable,attribute,start", 1),
    PLAIN(min, "value,case_sensitive,attribute", 1),
    PLAIN(max, "value,case_sensitive,attribute", 1),
    PLAIN(groupby, "value,attribute,default,case_sensitive", 2),
    PLAIN(escape, "s", 1),
    {"e", "s", 1, lc_jinja_filter_escape, NULL},
    PLAIN(forceescape, "value", 1),
    CALL(format),
    PLAIN(attr, "obj,name", 2),
    PLAIN(center, "value,width", 1),
    PLAIN(truncate, "s,length,killwords,end,leeway", 1),
    PLAIN(wordcount, "s", 1),
    PLAIN(striptags, "value", 1),
    PLAIN(urlencode, "value", 1),
    PLAIN(xmlattr, "d,autospace", 1),
    PLAIN(filesizeformat, "value,binary", 1),
    {"random", "seq", 1, lc_jinja_filter_refused, NULL},
    {"pprint", "value", 1, lc_jinja_filter_refused, NULL},
    {"urlize", "value,trim_url_limit,nofollow,target,rel,extra_schemes", 1, lc_jinja_filter_refused,
     NULL},
    {"wordwrap", "s,width,break_long_words,wrapstring,break_on_hyphens", 1, lc_jinja_filter_refused,
     NULL},
};

lc_code lc_jinja_filter_refused(lc_jvm *vm, const lc_jvalue *args, lc_jvalue *out)
{
    (void)args;
    (void)out;
    return lc_jinja_fail(vm, "the filters random, pprint, urlize and wordwrap are not supported");
}

const lc_jfilter *lc_jinja_find_filter(const lc_jvalue *name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        if (lc_jinja_is_text(name, filters[i].name)) {
            return &filters[i];
        }
    }
    return NULL;
}

bool lc_jinja_find_filter_named(const lc_jvalue *name)
{
    return name->type == LC_J_STRING && lc_jinja_find_filter(name) != NULL;
}

lc_code lc_jinja_run_filter(lc_jvm *vm, const lc_jfilter *filter, const lc_jcall *call,
                            lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    if (filter->run_call != NULL) {
        return filter->run_call(vm, call, out);
    }
    LC_TRY(lc_jinja_bind_call(vm, filter->name, filter->parameters, filter->required, call, args));
    return filter->run(vm, args, out);
}

/* ---- what filters share ---- */

lc_code lc_jinja_want_int(lc_jvm *vm, const lc_jvalue *value, int64_t fallback, int64_t *out)
{
    *out = fallback;
    if (value->type == LC_J_MISSING) {
        return LC_OK;
    }
    if (!lc_jinja_is_integer(value)) {
        return lc_jinja_fail_type(vm, "'%s' object cannot be interpreted as an integer", value);
    }
    *out = value->integer;
    return LC_OK;
}

lc_code lc_jinja_soft_str(lc_jvm *vm, const lc_jvalue *value, lc_jvalue *out)
{
    if (value->type == LC_J_STRING) {
        *out = *value;
        return LC_OK;
    }
    return lc_jinja_str(vm, value, out);
}

static lc_code add_part(lc_jvm *vm, const lc_jvalue *text, lc_jlist *list, size_t *capacity)
{
    lc_jvalue part = *text;
    int64_t number = 0;
    part.flags = 0;
    bool is_digits = part.bytes > 0;
    for (size_t i = 0; i < part.bytes; i++) {
        is_digits = is_digits && part.text[i] >= '0' && part.text[i] <= '9';
    }
    if (is_digits && lc_jinja_parse_int(&part, 10, &number) == LC_J_NUMBER) {
        part = lc_jinja_int(number);
    }
    return lc_jinja_append(vm, list, capacity, &part);
}

lc_code lc_jinja_path(lc_jvm *vm, const lc_jvalue *attribute, const lc_jvalue *fallback,
                      lc_jpath *out)
{
    lc_jlist *list = NULL;
    lc_jvalue made;
    size_t capacity = 0, from = 0;
    *out = (lc_jpath){.fallback = {.type = LC_J_MISSING}};
    if (fallback != NULL && fallback->type != LC_J_NONE) {
        out->fallback = *fallback;
    }
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, 0, &list, &made));
    if (attribute->type == LC_J_STRING) {
        for (size_t at = 0; at <= attribute->bytes; at++) {
            if (at == attribute->bytes || attribute->text[at] == '.') {
                const lc_jvalue part = lc_jinja_part(attribute, from, at);
                LC_TRY(add_part(vm, &part, list, &capacity));
                from = at + 1;
            }
        }
    } else if (attribute->type != LC_J_MISSING && attribute->type != LC_J_NONE) {
        LC_TRY(lc_jinja_append(vm, list, &capacity, attribute));
    }
    out->parts = list->items;
    out->count = list->count;
    return LC_OK;
}

lc_code lc_jinja_follow(lc_jvm *vm, const lc_jpath *path, const lc_jvalue *item, bool ignores_case,
                        lc_jvalue *out)
{
    *out = *item;
    for (size_t i = 0; i < path->count; i++) {
        const lc_jvalue object = *out;
        LC_TRY(lc_jinja_item(vm, &object, &path->parts[i], out));
        if (out->type == LC_J_UNDEFINED && path->fallback.type != LC_J_MISSING) {
            *out = path->fallback;
        }
    }
    return ignores_case && out->type == LC_J_STRING ? lc_jinja_change_case(vm, out, LC_J_LOWER, out)
                                                    : LC_OK;
}
