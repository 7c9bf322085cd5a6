/* Which type has which method, and the methods of list, tuple and dict; see jinja_methods.h. */
#include "text/jinja_methods.h"

#include <stdlib.h>

unsigned lc_jinja_owner(const lc_jvalue *value)
{
    switch (value->type) {
    case LC_J_STRING:
        return LC_O_TEXT;
    case LC_J_LIST:
        return LC_O_LIST;
    case LC_J_TUPLE:
        return LC_O_TUPLE;
    case LC_J_DICT:
        return LC_O_DICT;
    case LC_J_BOOL:
    case LC_J_INT:
    case LC_J_BIG_INT:
        return LC_O_INT;
    case LC_J_FLOAT:
        return LC_O_FLOAT;
    case LC_J_RANGE:
        return LC_O_RANGE;
    case LC_J_CYCLER:
        return LC_O_CYCLER;
    case LC_J_LOOP:
        return LC_O_LOOP;
    default:
        return 0;
    }
}

/* ---- lists ---- */

static lc_code list_count(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS], item;
    lc_jiterator it;
    int64_t count = 0;
    bool has_next = false, is_equal = false;
    LC_TRY(lc_jinja_bind_call(vm, "count", "value", 1, call, args));
    LC_TRY(lc_jinja_iterate(vm, self, &it));
    for (;;) {
        LC_TRY(lc_jinja_next(vm, &it, &item, &has_next));
        if (!has_next) {
            *out = lc_jinja_int(count);
            return LC_OK;
        }
        LC_TRY(lc_jinja_equal(vm, &item, &args[0], &is_equal));
        count += is_equal;
    }
}

static lc_code list_index(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS], item;
    lc_jiterator it;
    int64_t bounds[2] = {0, INT64_MAX}, length = 0;
    bool has_next = false, is_equal = false;
    LC_TRY(lc_jinja_bind_call(vm, "index", "value,start,stop", 1, call, args));
    LC_TRY(lc_jinja_length(vm, self, false, &length));
    for (size_t i = 0; i < 2; i++) {
        if (args[i + 1].type == LC_J_MISSING) {
            continue;
        }
        if (!lc_jinja_is_integer(&args[i + 1])) {
            return lc_jinja_fail(vm, "slice indices must be integers or have an __index__ method");
        }
        bounds[i] = args[i + 1].integer + (args[i + 1].integer < 0 ? length : 0);
    }
    LC_TRY(lc_jinja_iterate(vm, self, &it));
    for (int64_t at = 0; at < bounds[1]; at++) {
        LC_TRY(lc_jinja_next(vm, &it, &item, &has_next));
        if (!has_next) {
            break;
        }
        LC_TRY(lc_jinja_equal(vm, &item, &args[0], &is_equal));
        if (is_equal && at >= bounds[0]) {
            *out = lc_jinja_int(at);
            return LC_OK;
        }
    }
    return lc_jinja_fail(vm, "the value that index() looks for is not in the %s",
                         lc_jinja_type_name(self));
}

static lc_code list_copy(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS], made;
    lc_jlist *list = NULL;
    LC_TRY(lc_jinja_bind_call(vm, "copy", "", 0, call, args));
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, self->list->count, &list, &made));
    memcpy(list->items, self->list->items, self->list->count * sizeof(lc_jvalue));
    *out = made;
    return LC_OK;
}

/* ---- dicts ---- */

static lc_code dict_get(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    if (call->named_count > 0) {
        return lc_jinja_fail(vm, "dict.get() takes no keyword arguments");
    }
    LC_TRY(lc_jinja_bind_call(vm, "get", "key,default", 1, call, args));
    LC_TRY(lc_jinja_check_hash(vm, &args[0]));
    lc_jvalue *found = NULL;
    LC_TRY(lc_jinja_find(vm, self->dict, &args[0], &found));
    *out = found != NULL ? *found : args[1].type != LC_J_MISSING ? args[1] : lc_jinja_none();
    return LC_OK;
}

static lc_code dict_view(lc_jvm *vm, const char *name, lc_jtype type, const lc_jvalue *self,
                         const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(lc_jinja_bind_call(vm, name, "", 0, call, args));
    *out = *self;
    out->type = (uint8_t)type;
    return LC_OK;
}

static lc_code dict_items(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    return dict_view(vm, "items", LC_J_ITEMS, self, call, out);
}

static lc_code dict_keys(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    return dict_view(vm, "keys", LC_J_KEYS, self, call, out);
}

static lc_code dict_values(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    return dict_view(vm, "values", LC_J_VALUES, self, call, out);
}

/* Nobody can change either: the same dict will do. */
static lc_code dict_copy(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    return dict_view(vm, "copy", LC_J_DICT, self, call, out);
}

/* ---- loops and cyclers ---- */

static lc_code cycler_next(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    lc_jcycler *cycler = self->cycler;
    LC_TRY(lc_jinja_bind_call(vm, "next", "", 0, call, args));
    *out = cycler->items[cycler->at];
    cycler->at = (cycler->at + 1) % cycler->count;
    return LC_OK;
}

static lc_code cycler_reset(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(lc_jinja_bind_call(vm, "reset", "", 0, call, args));
    self->cycler->at = 0;
    *out = lc_jinja_none();
    return LC_OK;
}

static lc_code loop_cycle(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    if (call->count == 0 || call->named_count > 0) {
        return lc_jinja_fail(vm, "no items for cycling given");
    }
    *out = call->args[(size_t)self->loop->index0 % call->count];
    return LC_OK;
}

static lc_code loop_changed(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, lc_jvalue *out)
{
    lc_jlist *list = NULL;
    lc_jvalue now;
    bool is_equal = false;
    if (call->named_count > 0) {
        return lc_jinja_fail(vm, "loop.changed() takes no keyword arguments");
    }
    LC_TRY(lc_jinja_list(vm, LC_J_TUPLE, call->count, &list, &now));
    memcpy(list->items, call->args, call->count * sizeof(lc_jvalue));
    LC_TRY(lc_jinja_equal(vm, &self->loop->changed, &now, &is_equal));
    self->loop->changed = now;
    *out = lc_jinja_bool(!is_equal);
    return LC_OK;
}

/* ---- the table ---- */

/* Sorted by name. NULL where a type has the method but this program has not: calling it says so. */
static const lc_jmethod_name methods[] = {
#define TEXT(word)                                                          \
    {                                                                       \
        .name = #word, .of_text = lc_jinja_text_##word, .owners = LC_O_TEXT \
    }
    {.name = "append", .owners = LC_O_LIST, .forbidden = LC_O_LIST},
    {.name = "as_integer_ratio", .owners = LC_O_INT | LC_O_FLOAT},
    {.name = "bit_count", .owners = LC_O_INT},
    {.name = "bit_length", .owners = LC_O_INT},
    TEXT(capitalize),
    TEXT(casefold),
    TEXT(center),
    {.name = "changed", .of_other = loop_changed, .owners = LC_O_LOOP},
    {.name = "clear", .owners = LC_O_LIST | LC_O_DICT, .forbidden = LC_O_LIST | LC_O_DICT},
    {.name = "conjugate", .owners = LC_O_INT | LC_O_FLOAT},
    {.name = "copy", .of_list = list_copy, .of_dict = dict_copy, .owners = LC_O_LIST | LC_O_DICT},
    {.name = "count",
     .of_text = lc_jinja_text_count,
     .of_list = list_count,
     .owners = LC_O_TEXT | LC_O_LIST | LC_O_TUPLE | LC_O_RANGE},
    {.name = "cycle", .of_other = loop_cycle, .owners = LC_O_LOOP},
    {.name = "denominator", .owners = LC_O_INT},
    {.name = "encode", .owners = LC_O_TEXT},
    TEXT(endswith),
    TEXT(expandtabs),
    {.name = "extend", .owners = LC_O_LIST, .forbidden = LC_O_LIST},
    TEXT(find),
    TEXT(format),
    TEXT(format_map),
    {.name = "from_bytes", .owners = LC_O_INT},
    {.name = "fromhex", .owners = LC_O_FLOAT},
    {.name = "fromkeys", .owners = LC_O_DICT},
    {.name = "get", .of_dict = dict_get, .owners = LC_O_DICT},
    {.name = "hex", .owners = LC_O_FLOAT},
    {.name = "imag", .owners = LC_O_INT | LC_O_FLOAT},
    {.name = "index",
     .of_text = lc_jinja_text_index,
     .of_list = list_index,
     .owners = LC_O_TEXT | LC_O_LIST | LC_O_TUPLE | LC_O_RANGE},
    {.name = "insert", .owners = LC_O_LIST, .forbidden = LC_O_LIST},
    {.name = "is_integer", .owners = LC_O_FLOAT},
    TEXT(isalnum),
    TEXT(isalpha),
    TEXT(isascii),
    TEXT(isdecimal),
    TEXT(isdigit),
    TEXT(isidentifier),
    TEXT(islower),
    TEXT(isnumeric),
    TEXT(isprintable),
    TEXT(isspace),
    TEXT(istitle),
    TEXT(isupper),
    {.name = "items", .of_dict = dict_items, .owners = LC_O_DICT},
    TEXT(join),
    {.name = "keys", .of_dict = dict_keys, .owners = LC_O_DICT},
    TEXT(ljust),
    TEXT(lower),
    TEXT(lstrip),
    {.name = "maketrans", .owners = LC_O_TEXT},
    {.name = "next", .of_other = cycler_next, .owners = LC_O_CYCLER},
    {.name = "numerator", .owners = LC_O_INT},
    TEXT(partition),
    {.name = "pop", .owners = LC_O_LIST | LC_O_DICT, .forbidden = LC_O_LIST | LC_O_DICT},
    {.name = "popitem", .owners = LC_O_DICT, .forbidden = LC_O_DICT},
    {.name = "real", .owners = LC_O_INT | LC_O_FLOAT},
    {.name = "remove", .owners = LC_O_LIST, .forbidden = LC_O_LIST},
    TEXT(removeprefix),
    TEXT(removesuffix),
    TEXT(replace),
    {.name = "reset", .of_other = cycler_reset, .owners = LC_O_CYCLER},
    {.name = "reverse", .owners = LC_O_LIST, .forbidden = LC_O_LIST},
    TEXT(rfind),
    TEXT(rindex),
    TEXT(rjust),
    TEXT(rpartition),
    TEXT(rsplit),
    TEXT(rstrip),
    {.name = "setdefault", .owners = LC_O_DICT, .forbidden = LC_O_DICT},
    {.name = "sort", .owners = LC_O_LIST, .forbidden = LC_O_LIST},
    TEXT(split),
    TEXT(splitlines),
    TEXT(startswith),
    TEXT(strip),
    TEXT(swapcase),
    TEXT(title),
    {.name = "to_bytes", .owners = LC_O_INT},
    {.name = "translate", .owners = LC_O_TEXT},
    {.name = "update", .owners = LC_O_DICT, .forbidden = LC_O_DICT},
    TEXT(upper),
    {.name = "values", .of_dict = dict_values, .owners = LC_O_DICT},
    TEXT(zfill),
#undef TEXT
};

static int compare_name(const void *key, const void *element)
{
    const lc_jvalue *name = key;
    const lc_jmethod_name *method = element;
    const int order = strncmp(name->text, method->name, name->bytes);
    return order != 0 ? order : method->name[name->bytes] == '\0' ? 0 : -1;
}

const lc_jmethod_name *lc_jinja_find_method(const lc_jvalue *name)
{
    return bsearch(name, methods, sizeof methods / sizeof *methods, sizeof *methods, compare_name);
}

lc_code lc_jinja_call_method(lc_jvm *vm, const lc_jmethod *method, const lc_jcall *call,
                             lc_jvalue *out)
{
    const unsigned owner = lc_jinja_owner(&method->self);
    const bool is_list = (owner & (LC_O_LIST | LC_O_TUPLE | LC_O_RANGE)) != 0;
    const lc_jmethod_fn run = owner == LC_O_TEXT   ? method->name->of_text
                              : owner == LC_O_DICT ? method->name->of_dict
                              : is_list            ? method->name->of_list
                                                   : method->name->of_other;
    return run != NULL ? run(vm, &method->self, call, out)
                       : lc_jinja_fail(vm, "%s.%s is not supported",
                                       lc_jinja_type_name(&method->self), method->name->name);
}
