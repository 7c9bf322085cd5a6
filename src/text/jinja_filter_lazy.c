/*
 * Filters that give one item after another, as Python's generators: what is wrong shows when an
 * item is asked for, and nothing can be gone through twice.
 */
#include "text/jinja_filters.h"
#include "text/jinja_tests.h"

#define FILTER(name) \
    lc_code lc_jinja_filter_##name(lc_jvm *vm, const lc_jvalue *args, lc_jvalue *out)

/* The arguments of a filter that runs later, kept. */
typedef struct kept_args {
    lc_jvalue args[LC_J_MAX_PARAMETERS];
} kept_args;

static lc_code keep_args(lc_jvm *vm, lc_jnext_fn next, const lc_jvalue *args, lc_jvalue *out)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_alloc(vm, sizeof(kept_args), &memory));
    memcpy(memory, args, sizeof(kept_args));
    return lc_jinja_lazy(vm, next, &args[0], memory, out);
}

/* ---- items, unique, batch, slice ---- */

static lc_code next_item(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    lc_jiterator *source = NULL;
    if (it->source.type == LC_J_UNDEFINED) {
        *has_next = false;
        return LC_OK;
    }
    if (it->source.type == LC_J_DICT) {
        it->source.type = LC_J_ITEMS;
    } else if (it->inner == NULL) {
        return lc_jinja_fail(vm, "Can only get item pairs from a mapping.");
    }
    LC_TRY(lc_jinja_source(vm, it, &source));
    return lc_jinja_next(vm, source, out, has_next);
}

FILTER(items)
{
    return keep_args(vm, next_item, args, out);
}

typedef struct unique_state {
    lc_jpath path;
    bool ignores_case;
    lc_jdict *seen;
} unique_state;

static lc_code next_unique(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    const unique_state *state = it->state;
    lc_jiterator *source = NULL;
    LC_TRY(lc_jinja_source(vm, it, &source));
    for (;;) {
        lc_jvalue key, *found = NULL;
        LC_TRY(lc_jinja_next(vm, source, out, has_next));
        if (!*has_next) {
            return LC_OK;
        }
        LC_TRY(lc_jinja_follow(vm, &state->path, out, state->ignores_case, &key));
        LC_TRY(lc_jinja_check_hash(vm, &key));
        LC_TRY(lc_jinja_find(vm, state->seen, &key, &found));
        if (found == NULL) {
            return lc_jinja_put(vm, state->seen, &key, &key);
        }
    }
}

FILTER(unique)
{
    void *memory = NULL;
    lc_jvalue seen;
    LC_TRY(lc_jinja_alloc(vm, sizeof(unique_state), &memory));
    unique_state *state = memory;
    state->ignores_case = args[1].type == LC_J_MISSING || !lc_jinja_is_true(&args[1]);
    LC_TRY(lc_jinja_path(vm, &args[2], NULL, &state->path));
    LC_TRY(lc_jinja_dict(vm, 8, &state->seen, &seen));
    return lc_jinja_lazy(vm, next_unique, &args[0], state, out);
}

static lc_code next_batch(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    const kept_args *kept = it->state;
    lc_jiterator *source = NULL;
    lc_jlist *list = NULL;
    lc_jvalue made, item;
    size_t capacity = 0;
    int64_t count = 0;
    LC_TRY(lc_jinja_want_int(vm, &kept->args[1], 0, &count));
    if (count <= 0) {
        return lc_jinja_fail(vm, "batch: batches of %lld items are not supported",
                             (long long)count);
    }
    LC_TRY(lc_jinja_source(vm, it, &source));
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, 0, &list, &made));
    while ((int64_t)list->count < count) {
        LC_TRY(lc_jinja_next(vm, source, &item, has_next));
        if (!*has_next) {
            break;
        }
        LC_TRY(lc_jinja_append(vm, list, &capacity, &item));
    }
    *has_next = list->count > 0;
    const bool is_filled = kept->args[2].type != LC_J_MISSING && kept->args[2].type != LC_J_NONE;
    while (*has_next && is_filled && (int64_t)list->count < count) {
        LC_TRY(lc_jinja_append(vm, list, &capacity, &kept->args[2]));
    }
    *out = made;
    return LC_OK;
}

FILTER(batch)
{
    return keep_args(vm, next_batch, args, out);
}

static lc_code next_slice(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    const kept_args *kept = it->state;
    const lc_jlist *all = NULL;
    lc_jlist *list = NULL;
    lc_jvalue made;
    size_t capacity = 0;
    int64_t slices = 0;
    if (it->at == 0) {
        LC_TRY(lc_jinja_items(vm, &it->source, &all));
        it->source = (lc_jvalue){.type = LC_J_LIST, .list = all};
    }
    all = it->source.list;
    LC_TRY(lc_jinja_want_int(vm, &kept->args[1], 0, &slices));
    if (slices == 0) {
        return lc_jinja_fail(vm, "integer division or modulo by zero");
    }
    *has_next = (int64_t)it->at < slices;
    if (!*has_next) {
        return LC_OK;
    }
    const size_t each = all->count / (size_t)slices, extra = all->count % (size_t)slices;
    const size_t at = it->at++, begin = at * each + (at < extra ? at : extra);
    const size_t count = each + (at < extra);
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, 0, &list, &made));
    for (size_t i = 0; i < count; i++) {
        LC_TRY(lc_jinja_append(vm, list, &capacity, &all->items[begin + i]));
    }
    if (kept->args[2].type != LC_J_MISSING && kept->args[2].type != LC_J_NONE && at >= extra) {
        LC_TRY(lc_jinja_append(vm, list, &capacity, &kept->args[2]));
    }
    *out = made;
    return LC_OK;
}

FILTER(slice)
{
    return keep_args(vm, next_slice, args, out);
}

/* ---- map, select and kin ---- */

typedef struct picker {
    lc_jcall call; /* all arguments, the value first */
    bool is_reject, by_attribute;
    /* made when the first item is asked for */
    bool is_ready;
    lc_jpath path;
    const lc_jfilter *filter;
    const lc_jtest *test;
    lc_jvalue *args; /* of filter or test, the item first */
    lc_jcall inner;
} picker;

static lc_code keep_call(lc_jvm *vm, lc_jnext_fn next, const lc_jcall *call, const picker *like,
                         lc_jvalue *out)
{
    void *memory = NULL;
    if (call->count == 0) {
        return lc_jinja_fail(vm, "a filter without a value");
    }
    LC_TRY(lc_jinja_alloc(vm, sizeof(picker), &memory));
    picker *p = memory;
    *p = *like;
    p->call = *call;
    return lc_jinja_lazy(vm, next, &call->args[0], p, out);
}

static lc_code fail_no_name(lc_jvm *vm, const char *what, const lc_jvalue *name)
{
    lc_jvalue shown;
    if (name->type == LC_J_UNDEFINED) {
        char message[400];
        lc_jinja_describe_undefined(name, message, sizeof message);
        return lc_jinja_fail(
            vm, "No %s named Undefined. (%s; did you forget to quote the callable name?)", what,
            message);
    }
    LC_TRY(lc_jinja_repr(vm, name, &shown));
    return lc_jinja_fail(vm, "No %s named %.*s.", what, shown.bytes < 200 ? (int)shown.bytes : 200,
                         shown.text);
}

/* Arguments from `from` on become those behind the item. */
static lc_code make_inner(lc_jvm *vm, picker *p, size_t from)
{
    void *memory = NULL;
    const size_t count = p->call.count - from;
    LC_TRY(lc_jinja_alloc(vm, (count + 1) * sizeof(lc_jvalue), &memory));
    p->args = memory;
    memcpy(p->args + 1, p->call.args + from, count * sizeof(lc_jvalue));
    p->inner = (lc_jcall){.args = p->args,
                          .count = count + 1,
                          .names = p->call.names,
                          .named = p->call.named,
                          .named_count = p->call.named_count};
    return LC_OK;
}

static lc_code prepare_map(lc_jvm *vm, picker *p)
{
    const lc_jvalue *attribute = NULL, *fallback = NULL;
    for (size_t i = 0; p->call.count == 1 && i < p->call.named_count; i++) {
        if (lc_jinja_is_text(&p->call.names[i], "attribute")) {
            attribute = &p->call.named[i];
        } else if (lc_jinja_is_text(&p->call.names[i], "default")) {
            fallback = &p->call.named[i];
        }
    }
    if (attribute != NULL) {
        if (p->call.named_count != (size_t)(fallback != NULL) + 1) {
            return lc_jinja_fail(vm, "Unexpected keyword argument");
        }
        return lc_jinja_path(vm, attribute, fallback, &p->path);
    }
    if (p->call.count < 2) {
        return lc_jinja_fail(vm, "map requires a filter argument");
    }
    return make_inner(vm, p, 2);
}

static lc_code next_mapped(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    picker *p = (picker *)(uintptr_t)it->state; /* the iterator's own */
    lc_jiterator *source = NULL;
    *has_next = false;
    if (it->inner == NULL && !lc_jinja_is_true(&it->source)) {
        return LC_OK;
    }
    if (!p->is_ready) {
        LC_TRY(prepare_map(vm, p));
        p->is_ready = true;
    }
    LC_TRY(lc_jinja_source(vm, it, &source));
    LC_TRY(lc_jinja_next(vm, source, out, has_next));
    if (!*has_next) {
        return LC_OK;
    }
    if (p->args == NULL) {
        return lc_jinja_follow(vm, &p->path, out, false, out);
    }
    p->filter = p->call.args[1].type == LC_J_STRING ? lc_jinja_find_filter(&p->call.args[1]) : NULL;
    if (p->filter == NULL) {
        return fail_no_name(vm, "filter", &p->call.args[1]);
    }
    void *memory = NULL; /* a filter that is lazy itself keeps its arguments */
    LC_TRY(lc_jinja_alloc(vm, p->inner.count * sizeof(lc_jvalue), &memory));
    memcpy(memory, p->args, p->inner.count * sizeof(lc_jvalue));
    lc_jvalue *args = memory;
    args[0] = *out;
    lc_jcall call = p->inner;
    call.args = args;
    return lc_jinja_run_filter(vm, p->filter, &call, out);
}

lc_code lc_jinja_filter_map(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    return keep_call(vm, next_mapped, call, &(picker){0}, out);
}

static lc_code prepare_select(lc_jvm *vm, picker *p)
{
    size_t at = 1;
    if (p->by_attribute) {
        if (p->call.count < 2) {
            return lc_jinja_fail(vm, "Missing parameter for attribute name");
        }
        LC_TRY(lc_jinja_path(vm, &p->call.args[1], NULL, &p->path));
        at = 2;
    }
    return p->call.count > at ? make_inner(vm, p, at + 1) : LC_OK;
}

static lc_code is_picked(lc_jvm *vm, picker *p, const lc_jvalue *item, bool *out)
{
    lc_jvalue value;
    LC_TRY(lc_jinja_follow(vm, &p->path, item, false, &value));
    *out = lc_jinja_is_true(&value);
    if (p->args != NULL) {
        const lc_jvalue *name = &p->call.args[p->by_attribute ? 2 : 1];
        p->test = name->type == LC_J_STRING ? lc_jinja_find_test(name) : NULL;
        if (p->test == NULL) {
            return fail_no_name(vm, "test", name);
        }
        p->args[0] = value;
        LC_TRY(lc_jinja_run_test(vm, p->test, &p->inner, out));
    }
    *out = *out != p->is_reject;
    return LC_OK;
}

static lc_code next_picked(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    picker *p = (picker *)(uintptr_t)it->state;
    lc_jiterator *source = NULL;
    bool is_it = false;
    *has_next = false;
    if (it->inner == NULL && !lc_jinja_is_true(&it->source)) {
        return LC_OK;
    }
    if (!p->is_ready) {
        LC_TRY(prepare_select(vm, p));
        p->is_ready = true;
    }
    LC_TRY(lc_jinja_source(vm, it, &source));
    do {
        LC_TRY(lc_jinja_next(vm, source, out, has_next));
        if (!*has_next) {
            return LC_OK;
        }
        LC_TRY(is_picked(vm, p, out, &is_it));
    } while (!is_it);
    return LC_OK;
}

lc_code lc_jinja_filter_select(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    return keep_call(vm, next_picked, call, &(picker){0}, out);
}

lc_code lc_jinja_filter_reject(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    return keep_call(vm, next_picked, call, &(picker){.is_reject = true}, out);
}

lc_code lc_jinja_filter_selectattr(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    return keep_call(vm, next_picked, call, &(picker){.by_attribute = true}, out);
}

lc_code lc_jinja_filter_rejectattr(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    return keep_call(vm, next_picked, call, &(picker){.is_reject = true, .by_attribute = true},
                     out);
}
