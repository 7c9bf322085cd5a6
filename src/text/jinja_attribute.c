/* object.name, object[index], object[start:stop:step], as Jinja2's sandbox has them. */
#include <inttypes.h>

#include "text/jinja_methods.h"
#include "lorac/mem.h"
#include "text/utf8.h"

/* ---- attributes ---- */

/* Names that every object of Python has: the sandbox keeps them away. */
static bool is_internal(const lc_jvalue *object, const lc_jvalue *name)
{
    static const char *const common[] = {"__class__",
                                         "__doc__",
                                         "__init__",
                                         "__new__",
                                         "__dir__",
                                         "__eq__",
                                         "__ne__",
                                         "__lt__",
                                         "__le__",
                                         "__gt__",
                                         "__ge__",
                                         "__hash__",
                                         "__repr__",
                                         "__str__",
                                         "__format__",
                                         "__sizeof__",
                                         "__reduce__",
                                         "__reduce_ex__",
                                         "__getattribute__",
                                         "__setattr__",
                                         "__delattr__",
                                         "__getstate__",
                                         "__init_subclass__",
                                         "__subclasshook__"};
    static const char *const sized[] = {"__len__", "__iter__", "__contains__", "__getitem__"};
    if (name->bytes < 4 || memcmp(name->text, "__", 2) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        if (lc_jinja_is_text(name, common[i])) {
            return true;
        }
    }
    const bool is_sized = object->type == LC_J_UNDEFINED ||
                          (object->type >= LC_J_STRING && object->type <= LC_J_RANGE);
    for (size_t i = 0; is_sized && i < sizeof sized / sizeof *sized; i++) {
        if (lc_jinja_is_text(name, sized[i])) {
            return true;
        }
    }
    return false;
}

static lc_code forbid(lc_jvm *vm, const lc_jvalue *object, const lc_jvalue *name, lc_jvalue *out)
{
    return lc_jinja_undefined(
        vm, &(lc_jundefined){.object = *object, .name = *name, .is_forbidden = true}, out);
}

static lc_code bind_method(lc_jvm *vm, const lc_jvalue *object, const lc_jmethod_name *name,
                           lc_jvalue *out)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jmethod), &memory));
    lc_jmethod *method = memory;
    *method = (lc_jmethod){.self = *object, .name = name};
    *out = (lc_jvalue){.type = LC_J_METHOD, .method = method};
    return LC_OK;
}

/* The names of a macro's parameters. */
static lc_code list_parameters(lc_jvm *vm, const lc_jcode *code, lc_jvalue *out)
{
    lc_jlist *list = NULL;
    LC_TRY(lc_jinja_list(vm, LC_J_TUPLE, code->parameter_count, &list, out));
    for (size_t i = 0; i < code->parameter_count; i++) {
        list->items[i] = code->parameters[i]->value;
    }
    return LC_OK;
}

static lc_code macro_attribute(lc_jvm *vm, const lc_jmacro *macro, const lc_jvalue *name,
                               lc_jvalue *out)
{
    if (lc_jinja_is_text(name, "arguments")) {
        return list_parameters(vm, macro->code, out);
    }
    if (lc_jinja_is_text(name, "name")) {
        *out = macro->code->name;
    } else if (lc_jinja_is_text(name, "catch_kwargs")) {
        *out = lc_jinja_bool(macro->code->named_slot >= 0);
    } else if (lc_jinja_is_text(name, "catch_varargs")) {
        *out = lc_jinja_bool(macro->code->more_slot >= 0);
    } else if (lc_jinja_is_text(name, "caller")) {
        *out = lc_jinja_bool(macro->code->caller_slot >= 0);
    } else if (lc_jinja_is_text(name, "explicit_caller")) {
        *out = lc_jinja_bool(macro->code->names_caller);
    }
    return LC_OK;
}

static lc_code cycler_attribute(lc_jvm *vm, const lc_jcycler *cycler, const lc_jvalue *name,
                                lc_jvalue *out)
{
    lc_jlist *list = NULL;
    if (lc_jinja_is_text(name, "items")) {
        LC_TRY(lc_jinja_list(vm, LC_J_TUPLE, cycler->count, &list, out));
        memcpy(list->items, cycler->items, cycler->count * sizeof *list->items);
    } else if (lc_jinja_is_text(name, "current")) {
        *out = cycler->items[cycler->at];
    } else if (lc_jinja_is_text(name, "pos")) {
        *out = lc_jinja_int((int64_t)cycler->at);
    }
    return LC_OK;
}

static lc_code object_attribute(lc_jvm *vm, const lc_jvalue *object, const lc_jvalue *name,
                                lc_jvalue *out)
{
    lc_jvalue *found = NULL;
    switch (object->type) {
    case LC_J_LOOP:
        LC_TRY(lc_jinja_loop_attribute(vm, object->loop, name, out));
        break;
    case LC_J_NAMESPACE:
        LC_TRY(lc_jinja_find(vm, object->dict, name, &found));
        if (found != NULL) {
            *out = *found;
        }
        break;
    case LC_J_MACRO:
        LC_TRY(macro_attribute(vm, object->macro, name, out));
        break;
    case LC_J_CYCLER:
        LC_TRY(cycler_attribute(vm, object->cycler, name, out));
        break;
    case LC_J_JOINER:
        if (lc_jinja_is_text(name, "sep")) {
            *out = object->cycler->items[0];
        } else if (lc_jinja_is_text(name, "used")) {
            *out = lc_jinja_bool(object->cycler->at > 0);
        }
        break;
    case LC_J_TUPLE:
        if ((object->flags & LC_J_GROUP) != 0) {
            const bool is_list = lc_jinja_is_text(name, "list");
            if (is_list || lc_jinja_is_text(name, "grouper")) {
                *out = object->list->items[is_list];
            }
        }
        break;
    case LC_J_RANGE:
        if (lc_jinja_is_text(name, "start") || lc_jinja_is_text(name, "stop")) {
            *out = lc_jinja_int(name->bytes == 5 ? object->range->start : object->range->stop);
        } else if (lc_jinja_is_text(name, "step")) {
            *out = lc_jinja_int(object->range->step);
        }
        break;
    default:
        break;
    }
    return LC_OK;
}

lc_code lc_jinja_own_attribute(lc_jvm *vm, const lc_jvalue *object, const lc_jvalue *name,
                               bool *is_there, lc_jvalue *out)
{
    const unsigned owner = lc_jinja_owner(object);
    *is_there = true;
    *out = (lc_jvalue){.type = LC_J_MISSING};
    if (object->type == LC_J_UNDEFINED) {
        return is_internal(object, name) ? forbid(vm, object, name, out)
                                         : lc_jinja_fail_undefined(vm, object);
    }
    LC_TRY(object_attribute(vm, object, name, out));
    if (out->type != LC_J_MISSING) {
        return LC_OK;
    }
    const lc_jmethod_name *method = lc_jinja_find_method(name);
    if (method != NULL && (method->owners & owner) != 0) {
        return (method->forbidden & owner) != 0 ? forbid(vm, object, name, out)
                                                : bind_method(vm, object, method, out);
    }
    if (object->type != LC_J_NAMESPACE && is_internal(object, name)) {
        return forbid(vm, object, name, out);
    }
    *is_there = false;
    return LC_OK;
}

static lc_code no_such(lc_jvm *vm, const lc_jvalue *object, const lc_jvalue *name, lc_jvalue *out)
{
    return lc_jinja_undefined(vm, &(lc_jundefined){.object = *object, .name = *name}, out);
}

lc_code lc_jinja_attribute(lc_jvm *vm, const lc_jvalue *object, const lc_jvalue *name,
                           lc_jvalue *out)
{
    bool is_there = false;
    LC_TRY(lc_jinja_own_attribute(vm, object, name, &is_there, out));
    if (is_there) {
        return LC_OK;
    }
    if (object->type == LC_J_DICT) {
        const lc_jvalue *found = lc_jinja_find_text(object->dict, name->text, name->bytes);
        if (found != NULL) {
            *out = *found;
            return LC_OK;
        }
    }
    return no_such(vm, object, name, out);
}

/* ---- items ---- */

static bool at_index(const lc_jvalue *index, int64_t length, size_t *out)
{
    int64_t at = index->integer;
    if (at < 0) {
        at += length;
    }
    *out = (size_t)at;
    return at >= 0 && at < length;
}

static bool text_item(const lc_jvalue *text, const lc_jvalue *index, lc_jvalue *out)
{
    size_t at = 0, length = 1;
    const int64_t count = (int64_t)lc_jinja_count_chars(text->text, text->bytes);
    if (!at_index(index, count, &at)) {
        return false;
    }
    const size_t from = lc_jinja_char_offset(text->text, text->bytes, at);
    (void)lc_utf8_next(text->text + from, text->bytes - from, &length);
    *out = lc_jinja_part(text, from, from + length);
    return true;
}

/* object[index] where Python has it; false where it raises TypeError or LookupError. */
static lc_code own_item(lc_jvm *vm, const lc_jvalue *object, const lc_jvalue *index, bool *is_there,
                        lc_jvalue *out)
{
    size_t at = 0;
    lc_jvalue *found = NULL;
    *is_there = false;
    switch (object->type) {
    case LC_J_DICT:
        if (index->type != LC_J_LIST && index->type != LC_J_DICT) {
            LC_TRY(lc_jinja_find(vm, object->dict, index, &found));
        }
        *is_there = found != NULL;
        if (found != NULL) {
            *out = *found;
        }
        return LC_OK;
    case LC_J_LIST:
    case LC_J_TUPLE:
        *is_there =
            lc_jinja_is_integer(index) && at_index(index, (int64_t)object->list->count, &at);
        if (*is_there) {
            *out = object->list->items[at];
        }
        return LC_OK;
    case LC_J_STRING:
        LC_TRY(lc_jinja_pay(vm, object->bytes));
        *is_there = lc_jinja_is_integer(index) && text_item(object, index, out);
        return LC_OK;
    case LC_J_RANGE:
        *is_there = lc_jinja_is_integer(index) && at_index(index, object->range->count, &at);
        if (*is_there) {
            *out = lc_jinja_int(object->range->start + (int64_t)at * object->range->step);
        }
        return LC_OK;
    case LC_J_UNDEFINED:
        return lc_jinja_fail_undefined(vm, object);
    default:
        return LC_OK;
    }
}

lc_code lc_jinja_item(lc_jvm *vm, const lc_jvalue *object, const lc_jvalue *index, lc_jvalue *out)
{
    bool is_there = false;
    LC_TRY(own_item(vm, object, index, &is_there, out));
    if (!is_there && index->type == LC_J_STRING) {
        LC_TRY(lc_jinja_own_attribute(vm, object, index, &is_there, out));
    }
    return is_there ? LC_OK : no_such(vm, object, index, out);
}

/* ---- slices ---- */

typedef struct slice_span {
    int64_t start, step, count;
} slice_span;

static lc_code slice_bound(lc_jvm *vm, const lc_jvalue *bound, bool *is_given, int64_t *out)
{
    *is_given = bound->type != LC_J_NONE;
    if (!*is_given) {
        return LC_OK;
    }
    if (!lc_jinja_is_integer(bound)) {
        return lc_jinja_fail(vm, "slice indices must be integers or None or have an __index__ "
                                 "method");
    }
    *out = bound->integer;
    return LC_OK;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* PySlice_AdjustIndices. */
static lc_code resolve_slice(lc_jvm *vm, const lc_jvalue bounds[3], int64_t length, slice_span *out)
{
    int64_t start = 0, stop = 0, step = 1;
    bool has_start = false, has_stop = false, has_step = false;
    LC_TRY(slice_bound(vm, &bounds[2], &has_step, &step));
    if (step == 0) {
        return lc_jinja_fail(vm, "slice step cannot be zero");
    }
    LC_TRY(slice_bound(vm, &bounds[0], &has_start, &start));
    LC_TRY(slice_bound(vm, &bounds[1], &has_stop, &stop));
    step = step < -INT64_MAX ? -INT64_MAX : step;
    const int64_t low = step < 0 ? -1 : 0, high = step < 0 ? length - 1 : length;
    start =
        !has_start ? (step < 0 ? high : low) : clamp(start < 0 ? start + length : start, low, high);
    stop = !has_stop ? (step < 0 ? low : high) : clamp(stop < 0 ? stop + length : stop, low, high);
    out->start = start;
    out->step = step;
    out->count = step > 0 ? (stop > start ? (stop - start - 1) / step + 1 : 0)
                          : (start > stop ? (start - stop - 1) / -step + 1 : 0);
    return LC_OK;
}

/* Characters one by one, backwards or with gaps. */
static lc_code slice_text_by_step(lc_jvm *vm, const lc_jvalue *text, const slice_span *span,
                                  lc_jvalue *out)
{
    const size_t count = lc_jinja_count_chars(text->text, text->bytes);
    void *memory = NULL;
    char *copy = NULL;
    size_t used = 0, character = 0;
    LC_TRY(lc_jinja_alloc(vm, (count + 1) * sizeof(uint32_t), &memory));
    uint32_t *offsets = memory;
    for (size_t at = 0; at < text->bytes; at++) {
        if (((unsigned char)text->text[at] & 0xc0) != 0x80) {
            offsets[character++] = (uint32_t)at;
        }
    }
    offsets[count] = text->bytes;
    LC_TRY(lc_jinja_new_text(vm, text->bytes, &copy));
    for (int64_t i = 0; i < span->count; i++) {
        const size_t at = (size_t)(span->start + i * span->step);
        const size_t bytes = offsets[at + 1] - offsets[at];
        memcpy(copy + used, text->text + offsets[at], bytes);
        used += bytes;
    }
    *out = lc_jinja_text(copy, used);
    out->flags = text->flags;
    return LC_OK;
}

static lc_code slice_text(lc_jvm *vm, const lc_jvalue *text, const lc_jvalue bounds[3],
                          lc_jvalue *out)
{
    slice_span span;
    LC_TRY(lc_jinja_pay(vm, text->bytes));
    LC_TRY(
        resolve_slice(vm, bounds, (int64_t)lc_jinja_count_chars(text->text, text->bytes), &span));
    if (span.step != 1) {
        return slice_text_by_step(vm, text, &span, out);
    }
    const size_t from = lc_jinja_char_offset(text->text, text->bytes, (size_t)span.start);
    const size_t bytes =
        lc_jinja_char_offset(text->text + from, text->bytes - from, (size_t)span.count);
    *out = lc_jinja_part(text, from, from + bytes);
    return LC_OK;
}

static lc_code slice_list(lc_jvm *vm, const lc_jvalue *list, const lc_jvalue bounds[3],
                          lc_jvalue *out)
{
    slice_span span;
    lc_jlist *made = NULL;
    lc_jvalue value;
    LC_TRY(resolve_slice(vm, bounds, (int64_t)list->list->count, &span));
    LC_TRY(lc_jinja_pay(vm, (size_t)span.count));
    LC_TRY(lc_jinja_list(vm, list->type, (size_t)span.count, &made, &value));
    for (int64_t i = 0; i < span.count; i++) {
        made->items[i] = list->list->items[span.start + i * span.step];
    }
    *out = value;
    return LC_OK;
}

static lc_code slice_range(lc_jvm *vm, const lc_jrange *from, const lc_jvalue bounds[3],
                           lc_jvalue *out)
{
    slice_span span;
    void *memory = NULL;
    LC_TRY(resolve_slice(vm, bounds, from->count, &span));
    LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jrange), &memory));
    lc_jrange *range = memory;
    int64_t step = 0;
    if (!lc_mul_i64(from->step, span.step, &step)) {
        return lc_jinja_fail(vm, "a range's step is beyond 64 bits");
    }
    range->start = from->start + span.start * from->step;
    range->step = step;
    range->count = span.count;
    range->stop = range->start + span.count * step; /* where slicing by 1 ends too */
    *out = (lc_jvalue){.type = LC_J_RANGE, .range = range};
    return LC_OK;
}

lc_code lc_jinja_slice(lc_jvm *vm, const lc_jvalue *object, const lc_jvalue bounds[3],
                       lc_jvalue *out)
{
    switch (object->type) {
    case LC_J_STRING:
        return slice_text(vm, object, bounds, out);
    case LC_J_LIST:
    case LC_J_TUPLE:
        return slice_list(vm, object, bounds, out);
    case LC_J_RANGE:
        return slice_range(vm, object->range, bounds, out);
    case LC_J_DICT:
        return lc_jinja_fail(vm, "unhashable type: 'slice'");
    case LC_J_UNDEFINED:
        return lc_jinja_fail_undefined(vm, object);
    default:
        return lc_jinja_fail_type(vm, "'%s' object is not subscriptable", object);
    }
}
