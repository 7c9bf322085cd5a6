/* Going through values; see jinja_run.h. */
#include "text/jinja_run.h"
#include "text/utf8.h"

static lc_code next_nothing(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    (void)vm;
    (void)it;
    (void)out;
    *has_next = false;
    return LC_OK;
}

static lc_code next_in_list(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    (void)vm;
    *has_next = it->at < it->source.list->count;
    if (*has_next) {
        *out = it->source.list->items[it->at++];
    }
    return LC_OK;
}

static lc_code next_in_text(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    (void)vm;
    *has_next = it->at < it->source.bytes;
    if (*has_next) {
        size_t length = 1;
        (void)lc_utf8_next(it->source.text + it->at, it->source.bytes - it->at, &length);
        *out = lc_jinja_text(it->source.text + it->at, length);
        it->at += length;
    }
    return LC_OK;
}

static lc_code give_entry(lc_jvm *vm, lc_jtype type, const lc_jentry *entry, lc_jvalue *out)
{
    if (type == LC_J_ITEMS) {
        return lc_jinja_pair(vm, &entry->key, &entry->value, out);
    }
    *out = type == LC_J_VALUES ? entry->value : entry->key;
    return LC_OK;
}

static lc_code next_in_dict(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    *has_next = it->at < it->source.dict->count;
    return *has_next ? give_entry(vm, it->source.type, &it->source.dict->entries[it->at++], out)
                     : LC_OK;
}

static lc_code next_in_range(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    const lc_jrange *range = it->source.range;
    (void)vm;
    *has_next = it->at < (size_t)range->count;
    if (*has_next) {
        *out = lc_jinja_int(range->start + (int64_t)it->at++ * range->step);
    }
    return LC_OK;
}

static lc_code next_of_inner(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    return lc_jinja_next(vm, it->inner, out, has_next);
}

/* Iterating a loop gives (item, loop), as LoopContext does. */
static lc_code next_of_loop(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    lc_jvalue item;
    LC_TRY(lc_jinja_loop_next(vm, it->source.loop, &item, has_next));
    return *has_next ? lc_jinja_pair(vm, &item, &it->source, out) : LC_OK;
}

static lc_code next_backwards(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    *has_next = it->end > 0;
    if (!*has_next) {
        return LC_OK;
    }
    const size_t at = --it->end;
    switch (it->source.type) {
    case LC_J_LIST:
    case LC_J_TUPLE:
        *out = it->source.list->items[at];
        return LC_OK;
    case LC_J_RANGE:
        *out = lc_jinja_int(it->source.range->start + (int64_t)at * it->source.range->step);
        return LC_OK;
    default:
        return give_entry(vm, it->source.type, &it->source.dict->entries[at], out);
    }
}

static lc_jnext_fn next_for(const lc_jvalue *value)
{
    switch (value->type) {
    case LC_J_UNDEFINED:
        return next_nothing;
    case LC_J_LIST:
    case LC_J_TUPLE:
        return next_in_list;
    case LC_J_STRING:
        return next_in_text;
    case LC_J_DICT:
    case LC_J_KEYS:
    case LC_J_VALUES:
    case LC_J_ITEMS:
        return next_in_dict;
    case LC_J_RANGE:
        return next_in_range;
    case LC_J_ITERATOR:
        return next_of_inner;
    case LC_J_LOOP:
        return next_of_loop;
    default:
        return NULL;
    }
}

bool lc_jinja_is_iterable(const lc_jvalue *value)
{
    return next_for(value) != NULL;
}

lc_code lc_jinja_iterate(lc_jvm *vm, const lc_jvalue *value, lc_jiterator *out)
{
    *out = (lc_jiterator){.next = next_for(value), .source = *value};
    if (out->next == NULL) {
        return lc_jinja_fail_type(vm, "'%s' object is not iterable", value);
    }
    if (value->type == LC_J_ITERATOR) {
        out->inner = value->iterator;
    }
    return LC_OK;
}

lc_code lc_jinja_next(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    *has_next = false;
    LC_TRY(lc_jinja_pay(vm, 0));
    if (it->is_over) {
        return LC_OK;
    }
    LC_TRY(lc_jinja_enter(vm)); /* lazy filters stand on one another */
    LC_TRY(it->next(vm, it, out, has_next));
    lc_jinja_leave(vm);
    it->is_over = !*has_next;
    return LC_OK;
}

lc_code lc_jinja_items(lc_jvm *vm, const lc_jvalue *value, const lc_jlist **out)
{
    lc_jiterator it;
    lc_jvalue whole, item;
    lc_jlist *list = NULL;
    size_t capacity = 0;
    bool has_next = false;
    if (value->type == LC_J_LIST || value->type == LC_J_TUPLE) {
        *out = value->list;
        return LC_OK;
    }
    LC_TRY(lc_jinja_iterate(vm, value, &it));
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, 0, &list, &whole));
    for (;;) {
        LC_TRY(lc_jinja_next(vm, &it, &item, &has_next));
        if (!has_next) {
            *out = list;
            return LC_OK;
        }
        LC_TRY(lc_jinja_append(vm, list, &capacity, &item));
    }
}

lc_code lc_jinja_lazy(lc_jvm *vm, lc_jnext_fn next, const lc_jvalue *source, const void *state,
                      lc_jvalue *out)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jiterator), &memory));
    lc_jiterator *it = memory;
    *it = (lc_jiterator){.next = next, .source = *source, .state = state};
    *out = (lc_jvalue){.type = LC_J_ITERATOR, .iterator = it};
    return LC_OK;
}

lc_code lc_jinja_source(lc_jvm *vm, lc_jiterator *lazy, lc_jiterator **out)
{
    if (lazy->inner == NULL) {
        void *memory = NULL;
        LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jiterator), &memory));
        lc_jiterator *inner = memory;
        LC_TRY(lc_jinja_iterate(vm, &lazy->source, inner));
        lazy->inner = inner;
    }
    *out = lazy->inner;
    return LC_OK;
}

lc_code lc_jinja_reversed(lc_jvm *vm, const lc_jvalue *value, bool *is_there, lc_jvalue *out)
{
    int64_t length = 0;
    *is_there = true;
    switch (value->type) {
    case LC_J_UNDEFINED:
        return lc_jinja_lazy(vm, next_nothing, value, NULL, out);
    case LC_J_LIST:
    case LC_J_TUPLE:
    case LC_J_RANGE:
    case LC_J_DICT:
    case LC_J_KEYS:
    case LC_J_VALUES:
    case LC_J_ITEMS:
        LC_TRY(lc_jinja_length(vm, value, false, &length));
        LC_TRY(lc_jinja_lazy(vm, next_backwards, value, NULL, out));
        out->iterator->end = (size_t)length;
        return LC_OK;
    case LC_J_STRING: {
        lc_jvalue characters = {.type = LC_J_LIST};
        LC_TRY(lc_jinja_items(vm, value, &characters.list));
        return lc_jinja_reversed(vm, &characters, is_there, out);
    }
    default:
        *is_there = false;
        return LC_OK;
    }
}

/* ---- loops ---- */

lc_code lc_jinja_loop_next(lc_jvm *vm, lc_jloop *loop, lc_jvalue *out, bool *has_next)
{
    *has_next = true;
    if (loop->after.type != LC_J_MISSING) {
        *out = loop->after;
        loop->after.type = LC_J_MISSING;
    } else {
        LC_TRY(lc_jinja_next(vm, &loop->iterator, out, has_next));
    }
    if (*has_next) {
        loop->index0++;
        loop->before = loop->current;
        loop->current = *out;
    }
    return LC_OK;
}

/* The next item without going there; MISSING at the end. */
static lc_code peek(lc_jvm *vm, lc_jloop *loop, lc_jvalue *out)
{
    if (loop->after.type == LC_J_MISSING) {
        bool has_next = false;
        LC_TRY(lc_jinja_next(vm, &loop->iterator, &loop->after, &has_next));
        if (!has_next) {
            loop->after.type = LC_J_MISSING;
        }
    }
    *out = loop->after;
    return LC_OK;
}

lc_code lc_jinja_loop_length(lc_jvm *vm, lc_jloop *loop, int64_t *out)
{
    if (loop->length < 0) {
        LC_TRY(lc_jinja_length(vm, &loop->iterated, true, &loop->length));
    }
    if (loop->length < 0) { /* what is left is taken into a list */
        lc_jvalue rest = {.type = LC_J_LIST}, lazy = {.type = LC_J_ITERATOR};
        void *memory = NULL;
        LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jiterator), &memory));
        lazy.iterator = memory;
        *lazy.iterator = loop->iterator;
        LC_TRY(lc_jinja_items(vm, &lazy, &rest.list));
        LC_TRY(lc_jinja_iterate(vm, &rest, &loop->iterator));
        loop->length =
            (int64_t)rest.list->count + loop->index0 + 1 + (loop->after.type != LC_J_MISSING);
    }
    *out = loop->length;
    return LC_OK;
}

static lc_code loop_number(lc_jvm *vm, lc_jloop *loop, const lc_jvalue *name, lc_jvalue *out)
{
    int64_t length = 0;
    LC_TRY(lc_jinja_loop_length(vm, loop, &length));
    const int64_t back = lc_jinja_is_text(name, "length")      ? 0
                         : lc_jinja_is_text(name, "revindex0") ? loop->index0 + 1
                                                               : loop->index0;
    *out = lc_jinja_int(length - back);
    return LC_OK;
}

lc_code lc_jinja_loop_attribute(lc_jvm *vm, lc_jloop *loop, const lc_jvalue *name, lc_jvalue *out)
{
    static const struct {
        const char *name;
        enum { INDEX, INDEX0, FIRST, LAST, PREVIOUS, NEXT, DEPTH, DEPTH0, NUMBER } what;
    } attributes[] = {{"first", FIRST},   {"last", LAST},         {"index0", INDEX0},
                      {"index", INDEX},   {"previtem", PREVIOUS}, {"nextitem", NEXT},
                      {"length", NUMBER}, {"revindex", NUMBER},   {"revindex0", NUMBER},
                      {"depth", DEPTH},   {"depth0", DEPTH0}};
    size_t i = 0;
    while (i < sizeof attributes / sizeof *attributes &&
           !lc_jinja_is_text(name, attributes[i].name)) {
        i++;
    }
    if (i == sizeof attributes / sizeof *attributes) {
        out->type = LC_J_MISSING;
        return LC_OK;
    }
    switch (attributes[i].what) {
    case FIRST:
        *out = lc_jinja_bool(loop->index0 == 0);
        return LC_OK;
    case LAST:
        LC_TRY(peek(vm, loop, out));
        *out = lc_jinja_bool(out->type == LC_J_MISSING);
        return LC_OK;
    case INDEX0:
    case INDEX:
        *out = lc_jinja_int(loop->index0 + (attributes[i].what == INDEX));
        return LC_OK;
    case PREVIOUS:
        *out = loop->before;
        return loop->index0 > 0 ? LC_OK
                                : lc_jinja_undefined_hint(vm, "there is no previous item", out);
    case NEXT:
        LC_TRY(peek(vm, loop, out));
        return out->type != LC_J_MISSING
                   ? LC_OK
                   : lc_jinja_undefined_hint(vm, "there is no next item", out);
    case DEPTH:
    case DEPTH0:
        *out = lc_jinja_int(loop->depth0 + (attributes[i].what == DEPTH));
        return LC_OK;
    case NUMBER:
    default:
        return loop_number(vm, loop, name, out);
    }
}
