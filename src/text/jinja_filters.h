/* Jinja2's filters, those that depend on chance or addresses left out. */
#ifndef LC_TEXT_JINJA_FILTERS_H
#define LC_TEXT_JINJA_FILTERS_H

#include "text/jinja_run.h"

/* args: by the filter's parameters, MISSING where not given; args[0] is what is filtered. */
typedef lc_code (*lc_jfilter_fn)(lc_jvm *vm, const lc_jvalue *args, lc_jvalue *out);
/* One that takes any arguments: map, select and kin, format. */
typedef lc_code (*lc_jfilter_call_fn)(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out);

typedef struct lc_jfilter {
    const char *name;
    const char *parameters; /* NULL with run_call */
    size_t required;
    lc_jfilter_fn run;
    lc_jfilter_call_fn run_call;
} lc_jfilter;

/* NULL: there is none of that name. */
const lc_jfilter *lc_jinja_find_filter(const lc_jvalue *name);
bool lc_jinja_find_filter_named(const lc_jvalue *name); /* any value */
LC_WARN_UNUSED lc_code lc_jinja_run_filter(lc_jvm *vm, const lc_jfilter *filter,
                                           const lc_jcall *call, lc_jvalue *out);

/* "a.b.0" or a number as the way to a part of an item. */
typedef struct lc_jpath {
    const lc_jvalue *parts;
    size_t count;
    lc_jvalue fallback; /* MISSING: none */
} lc_jpath;
LC_WARN_UNUSED lc_code lc_jinja_path(lc_jvm *vm, const lc_jvalue *attribute,
                                     const lc_jvalue *fallback, lc_jpath *out);
LC_WARN_UNUSED lc_code lc_jinja_follow(lc_jvm *vm, const lc_jpath *path, const lc_jvalue *item,
                                       bool ignores_case, lc_jvalue *out);
/* An integer argument, `fallback` where it is not given. */
LC_WARN_UNUSED lc_code lc_jinja_want_int(lc_jvm *vm, const lc_jvalue *value, int64_t fallback,
                                         int64_t *out);
/* soft_str: texts stay what they are, all else becomes its str. */
LC_WARN_UNUSED lc_code lc_jinja_soft_str(lc_jvm *vm, const lc_jvalue *value, lc_jvalue *out);

/* By file: texts, numbers, lists, lazy ones. */
#define LC_J_FILTERS(X)                                                                        \
    X(capitalize)                                                                              \
    X(center)                                                                                  \
    X(escape)                                                                                  \
    X(forceescape)                                                                             \
    X(indent)                                                                                  \
    X(join) X(lower) X(replace) X(safe) X(string) X(striptags) X(title) X(tojson) X(trim)      \
        X(truncate) X(upper) X(urlencode) X(wordcount) X(xmlattr) X(abs) X(filesizeformat)     \
            X(float) X(int) X(round) X(sum) X(attr) X(default) X(dictsort) X(first) X(groupby) \
                X(last) X(length) X(list) X(max) X(min) X(reverse) X(sort) X(batch) X(items)   \
                    X(slice) X(unique) X(refused)
#define LC_J_DECLARE_FILTER(name) \
    lc_code lc_jinja_filter_##name(lc_jvm *vm, const lc_jvalue *args, lc_jvalue *out);
LC_J_FILTERS(LC_J_DECLARE_FILTER)
lc_code lc_jinja_filter_map(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out);
lc_code lc_jinja_filter_select(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out);
lc_code lc_jinja_filter_reject(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out);
lc_code lc_jinja_filter_selectattr(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out);
lc_code lc_jinja_filter_rejectattr(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out);
lc_code lc_jinja_filter_format(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out);

#endif
