/* Calls: arguments, macros, methods and the global functions. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "text/jinja_methods.h"
#include "text/jinja_run.h"

/* ---- arguments ---- */

static lc_code alloc_values(lc_jvm *vm, size_t count, lc_jvalue **out)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_alloc(vm, (count + 1) * sizeof(lc_jvalue), &memory));
    *out = memory;
    return LC_OK;
}

static lc_code add_more(lc_jvm *vm, const lc_jvalue *more, const lc_jvalue *args, size_t *count,
                        lc_jvalue **out)
{
    const lc_jlist *list = NULL;
    if (!lc_jinja_is_iterable(more)) {
        return lc_jinja_fail_type(vm, "Value after * must be an iterable, not %s", more);
    }
    LC_TRY(lc_jinja_items(vm, more, &list));
    LC_TRY(alloc_values(vm, *count + list->count, out));
    memcpy(*out, args, *count * sizeof **out);
    memcpy(*out + *count, list->items, list->count * sizeof **out);
    *count += list->count;
    return LC_OK;
}

static lc_code add_more_named(lc_jvm *vm, const lc_jvalue *more, lc_jcall *call)
{
    lc_jvalue *names = NULL, *named = NULL;
    if (more->type != LC_J_DICT) {
        return lc_jinja_fail_type(vm, "argument after ** must be a mapping, not %s", more);
    }
    const size_t count = call->named_count + more->dict->count;
    LC_TRY(alloc_values(vm, count, &names));
    LC_TRY(alloc_values(vm, count, &named));
    if (call->named_count > 0) {
        memcpy(names, call->names, call->named_count * sizeof *names);
        memcpy(named, call->named, call->named_count * sizeof *named);
    }
    for (size_t i = 0; i < more->dict->count; i++) {
        const lc_jentry *entry = &more->dict->entries[i];
        if (entry->key.type != LC_J_STRING) {
            return lc_jinja_fail(vm, "keywords must be strings");
        }
        for (size_t j = 0; j < call->named_count; j++) {
            if (names[j].bytes == entry->key.bytes &&
                memcmp(names[j].text, entry->key.text, names[j].bytes) == 0) {
                return lc_jinja_fail(vm, "got multiple values for keyword argument '%.*s'",
                                     (int)names[j].bytes, names[j].text);
            }
        }
        names[call->named_count + i] = entry->key;
        named[call->named_count + i] = entry->value;
    }
    call->names = names;
    call->named = named;
    call->named_count = count;
    return LC_OK;
}

/* `first`, where it is not NULL, goes before the arguments of the source. */
lc_code lc_jinja_eval_args(lc_jvm *vm, lc_jframe *frame, const lc_jargs *args,
                           const lc_jvalue *first, lc_jcall *out)
{
    lc_jvalue *values = NULL, *named = NULL, more;
    size_t count = 0;
    *out = (lc_jcall){0};
    LC_TRY(alloc_values(vm, args->count + 1, &values));
    if (first != NULL) {
        values[count++] = *first;
    }
    for (size_t i = 0; i < args->count; i++) {
        LC_TRY(lc_jinja_eval(vm, frame, args->args[i], &values[count++]));
    }
    if (args->more != NULL) {
        LC_TRY(lc_jinja_eval(vm, frame, args->more, &more));
        LC_TRY(add_more(vm, &more, values, &count, &values));
    }
    out->args = values;
    out->count = count;
    if (args->named_count > 0) {
        LC_TRY(alloc_values(vm, args->named_count, &named));
        for (size_t i = 0; i < args->named_count; i++) {
            LC_TRY(lc_jinja_eval(vm, frame, args->named[i], &named[i]));
        }
        out->names = args->names;
        out->named = named;
        out->named_count = args->named_count;
    }
    if (args->more_named != NULL) {
        LC_TRY(lc_jinja_eval(vm, frame, args->more_named, &more));
        LC_TRY(add_more_named(vm, &more, out));
    }
    return LC_OK;
}

/* Which parameter of "a,b,c" a name is; -1: none. */
static int find_parameter(const char *parameters, const lc_jvalue *name)
{
    for (int i = 0; *parameters != '\0'; i++) {
        const size_t bytes = strcspn(parameters, ",");
        if (bytes == name->bytes && memcmp(parameters, name->text, bytes) == 0) {
            return i;
        }
        parameters += bytes + (parameters[bytes] == ',');
    }
    return -1;
}

static size_t count_parameters(const char *parameters)
{
    size_t count = *parameters != '\0';
    for (; *parameters != '\0'; parameters++) {
        count += *parameters == ',';
    }
    return count;
}

lc_code lc_jinja_bind_call(lc_jvm *vm, const char *name, const char *parameters, size_t required,
                           const lc_jcall *call, lc_jvalue out[LC_J_MAX_PARAMETERS])
{
    const size_t count = count_parameters(parameters);
    if (call->count > count) {
        return lc_jinja_fail(vm, "%s() takes at most %zu arguments (%zu given)", name, count,
                             call->count);
    }
    for (size_t i = 0; i < LC_J_MAX_PARAMETERS; i++) {
        out[i] = i < call->count ? call->args[i] : (lc_jvalue){.type = LC_J_MISSING};
    }
    for (size_t i = 0; i < call->named_count; i++) {
        const int at = find_parameter(parameters, &call->names[i]);
        if (at < 0 || out[at].type != LC_J_MISSING) {
            return lc_jinja_fail(vm,
                                 at < 0 ? "%s() got an unexpected keyword argument '%.*s'"
                                        : "%s() got multiple values for argument '%.*s'",
                                 name, (int)call->names[i].bytes, call->names[i].text);
        }
        out[at] = call->named[i];
    }
    for (size_t i = 0; i < required; i++) {
        if (out[i].type == LC_J_MISSING) {
            return lc_jinja_fail(vm, "%s() is missing an argument (it takes %s)", name, parameters);
        }
    }
    return LC_OK;
}

/* ---- macros ---- */

/* Keyword arguments that no parameter took. */
typedef struct leftover {
    lc_jdict *dict;
    lc_jvalue value;
} leftover;

static lc_code take_named(lc_jvm *vm, const lc_jcall *call, leftover *out)
{
    LC_TRY(lc_jinja_dict(vm, call->named_count, &out->dict, &out->value));
    for (size_t i = 0; i < call->named_count; i++) {
        LC_TRY(lc_jinja_put(vm, out->dict, &call->names[i], &call->named[i]));
    }
    return LC_OK;
}

/* The value of a name, which leaves the dict; MISSING when there is none. */
static lc_jvalue pop(lc_jdict *dict, const lc_jvalue *name)
{
    lc_jvalue out = {.type = LC_J_MISSING};
    for (size_t i = 0; i < dict->count; i++) {
        const lc_jvalue *key = &dict->entries[i].key;
        if (key->bytes == name->bytes && memcmp(key->text, name->text, key->bytes) == 0) {
            out = dict->entries[i].value;
            memmove(&dict->entries[i], &dict->entries[i + 1],
                    (dict->count - i - 1) * sizeof(lc_jentry));
            dict->count--;
            dict->index = NULL; /* entries have moved */
            break;
        }
    }
    return out;
}

static lc_code fail_leftover(lc_jvm *vm, const lc_jcode *code, const lc_jvalue *key)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%.*s",
                   code->name.type == LC_J_STRING && code->name.bytes < 100 ? (int)code->name.bytes
                                                                            : 0,
                   code->name.type == LC_J_STRING ? code->name.text : "");
    if (lc_jinja_is_text(key, "caller")) {
        return lc_jinja_fail(vm,
                             "macro '%s' was invoked with two values for the special caller "
                             "argument. This is most likely a bug.",
                             name);
    }
    return lc_jinja_fail(vm, "macro '%s' takes no keyword argument '%.*s'", name,
                         key->bytes < 100 ? (int)key->bytes : 100, key->text);
}

static lc_code set_special(lc_jvm *vm, lc_jframe *frame, const lc_jcode *code, const lc_jcall *call,
                           leftover *named, bool found_caller)
{
    static const lc_jvalue caller_name = {.type = LC_J_STRING, .text = "caller", .bytes = 6};
    if (code->caller_slot >= 0 && !found_caller) {
        lc_jvalue *caller = &frame->slots[code->caller_slot];
        *caller = pop(named->dict, &caller_name);
        if (caller->type == LC_J_MISSING || caller->type == LC_J_NONE) {
            LC_TRY(lc_jinja_undefined_hint(vm, "No caller defined", caller));
        }
    }
    if (code->named_slot >= 0) {
        frame->slots[code->named_slot] = named->value;
    } else if (named->dict->count > 0) {
        return fail_leftover(vm, code, &named->dict->entries[0].key);
    }
    if (code->more_slot < 0 && call->count > code->parameter_count) {
        return lc_jinja_fail(vm, "macro '%.*s' takes not more than %zu argument(s)",
                             code->name.type == LC_J_STRING ? (int)code->name.bytes : 0,
                             code->name.type == LC_J_STRING ? code->name.text : "",
                             code->parameter_count);
    }
    if (code->more_slot >= 0) {
        lc_jlist *list = NULL;
        const size_t taken =
            call->count < code->parameter_count ? call->count : code->parameter_count;
        LC_TRY(lc_jinja_list(vm, LC_J_TUPLE, call->count - taken, &list,
                             &frame->slots[code->more_slot]));
        if (list->count > 0) {
            memcpy(list->items, call->args + taken, list->count * sizeof(lc_jvalue));
        }
    }
    return LC_OK;
}

static lc_code set_parameters(lc_jvm *vm, lc_jframe *frame, const lc_jcode *code,
                              const lc_jcall *call)
{
    leftover named = {0};
    bool found_caller = code->names_caller && call->count >= code->parameter_count;
    LC_TRY(take_named(vm, call, &named));
    for (size_t i = 0; i < code->parameter_count; i++) {
        const lc_jvalue *name = &code->parameters[i]->value;
        if (i < call->count) {
            frame->slots[code->parameter_slots[i]] = call->args[i];
            continue;
        }
        frame->slots[code->parameter_slots[i]] = pop(named.dict, name);
        found_caller = found_caller || lc_jinja_is_text(name, "caller");
    }
    return set_special(vm, frame, code, call, &named, found_caller);
}

static lc_code set_defaults(lc_jvm *vm, lc_jframe *frame, const lc_jcode *code)
{
    const size_t plain = code->parameter_count - code->default_count;
    for (size_t i = 0; i < code->parameter_count; i++) {
        lc_jvalue *slot = &frame->slots[code->parameter_slots[i]];
        if (slot->type != LC_J_MISSING) {
            continue;
        }
        if (i >= plain) {
            lc_jvalue value;
            LC_TRY(lc_jinja_eval(vm, frame, code->defaults[i - plain], &value));
            *slot = value;
            continue;
        }
        char hint[192];
        lc_jvalue copy;
        const lc_jvalue *name = &code->parameters[i]->value;
        (void)snprintf(hint, sizeof hint, "parameter '%.*s' was not provided",
                       name->bytes < 100 ? (int)name->bytes : 100, name->text);
        LC_TRY(lc_jinja_copy_text(vm, hint, strlen(hint) + 1, &copy));
        LC_TRY(lc_jinja_undefined_hint(vm, copy.text, slot));
    }
    return LC_OK;
}

static void enter_macro(lc_jvm *vm, lc_jframe *frame, const lc_jscope *scope)
{
    for (size_t i = 0; i < scope->count; i++) {
        const lc_jinit *init = &scope->inits[i];
        if (!init->is_copied) {
            continue; /* a new frame has nothing in it */
        }
        lc_jframe *from = frame;
        for (int hop = 0; hop < init->from.hops; hop++) {
            from = from->outer;
        }
        frame->slots[init->slot] =
            init->from.hops < 0 ? vm->globals[init->from.slot] : from->slots[init->from.slot];
    }
}

lc_code lc_jinja_call_macro(lc_jvm *vm, const lc_jmacro *macro, const lc_jcall *call,
                            lc_jvalue *out)
{
    const lc_jcode *code = macro->code;
    lc_jframe *frame = NULL;
    LC_TRY(lc_jinja_enter(vm));
    LC_TRY(lc_jinja_new_frame(vm, code, macro->outer, &frame));
    LC_TRY(set_parameters(vm, frame, code, call));
    enter_macro(vm, frame, &code->scope);
    LC_TRY(set_defaults(vm, frame, code));
    const size_t begin = lc_jinja_begin_capture(vm);
    LC_TRY(lc_jinja_run_code(vm, frame, code));
    LC_TRY(lc_jinja_end_capture(vm, begin, out));
    lc_jinja_leave(vm);
    return LC_OK;
}

/* ---- calls ---- */

static lc_code call_loop(lc_jvm *vm, lc_jloop *loop, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(lc_jinja_bind_call(vm, "loop", "iterable", 1, call, args));
    if (loop->recursive == NULL) {
        return lc_jinja_fail(vm, "The loop must have the 'recursive' marker to be called "
                                 "recursively.");
    }
    return lc_jinja_run_recursive(vm, loop->outer, loop->recursive, &args[0], loop->depth0 + 1,
                                  out);
}

static lc_code call_joiner(lc_jvm *vm, lc_jcycler *joiner, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(lc_jinja_bind_call(vm, "joiner", "", 0, call, args));
    *out = joiner->at++ == 0 ? lc_jinja_text("", 0) : joiner->items[0];
    return LC_OK;
}

lc_code lc_jinja_call(lc_jvm *vm, const lc_jvalue *callee, const lc_jcall *call, lc_jvalue *out)
{
    switch (callee->type) {
    case LC_J_MACRO:
        return lc_jinja_call_macro(vm, callee->macro, call, out);
    case LC_J_FUNCTION:
        return callee->function->run(vm, call, out);
    case LC_J_METHOD:
        return lc_jinja_call_method(vm, callee->method, call, out);
    case LC_J_LOOP:
        return call_loop(vm, callee->loop, call, out);
    case LC_J_JOINER:
        return call_joiner(vm, callee->cycler, call, out);
    case LC_J_UNDEFINED:
        return lc_jinja_fail_undefined(vm, callee);
    default:
        return lc_jinja_fail_type(vm, "'%s' object is not callable", callee);
    }
}

lc_code lc_jinja_eval_call(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jvalue callee;
    lc_jcall call;
    LC_TRY(lc_jinja_eval(vm, frame, node->a, &callee));
    LC_TRY(lc_jinja_eval_args(vm, frame, &node->call, NULL, &call));
    vm->line = node->line;
    return lc_jinja_call(vm, &callee, &call, out);
}

/* ---- global functions ---- */

static lc_code range_bound(lc_jvm *vm, const lc_jvalue *value, int64_t *out)
{
    if (!lc_jinja_is_integer(value)) {
        return lc_jinja_fail_type(vm, "'%s' object cannot be interpreted as an integer", value);
    }
    *out = value->integer;
    return LC_OK;
}

static int64_t count_range(int64_t start, int64_t stop, int64_t step)
{
    if (step > 0 ? start >= stop : start <= stop) {
        return 0;
    }
    const uint64_t span =
        step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    const uint64_t width = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    const uint64_t count = (span - 1) / width + 1;
    return count > INT64_MAX ? INT64_MAX : (int64_t)count;
}

static lc_code make_range(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    int64_t bounds[3] = {0, 0, 1};
    void *memory = NULL;
    if (call->named_count > 0) {
        return lc_jinja_fail(vm, "range() takes no keyword arguments");
    }
    if (call->count < 1 || call->count > 3) {
        return lc_jinja_fail(vm, "range expected 1 to 3 arguments, got %zu", call->count);
    }
    for (size_t i = 0; i < call->count; i++) {
        LC_TRY(range_bound(vm, &call->args[i], &bounds[call->count == 1 ? 1 : i]));
    }
    if (bounds[2] == 0) {
        return lc_jinja_fail(vm, "range() arg 3 must not be zero");
    }
    const int64_t count = count_range(bounds[0], bounds[1], bounds[2]);
    if (count > LC_MAX_TEMPLATE_RANGE) {
        return lc_jinja_fail(vm,
                             "Range too big. The sandbox blocks ranges larger than MAX_RANGE "
                             "(%d).",
                             LC_MAX_TEMPLATE_RANGE);
    }
    LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jrange), &memory));
    lc_jrange *range = memory;
    *range = (lc_jrange){bounds[0], bounds[1], bounds[2], count};
    *out = (lc_jvalue){.type = LC_J_RANGE, .range = range};
    return LC_OK;
}

/* A pair of something that dict() takes. */
static lc_code put_pair(lc_jvm *vm, lc_jdict *dict, const lc_jvalue *pair, size_t at)
{
    const lc_jlist *items = NULL;
    if (!lc_jinja_is_iterable(pair)) {
        return lc_jinja_fail(vm,
                             "cannot convert dictionary update sequence element #%zu to a "
                             "sequence",
                             at);
    }
    LC_TRY(lc_jinja_items(vm, pair, &items));
    if (items->count != 2) {
        return lc_jinja_fail(vm,
                             "dictionary update sequence element #%zu has length %zu; 2 is "
                             "required",
                             at, items->count);
    }
    LC_TRY(lc_jinja_check_hash(vm, &items->items[0]));
    return lc_jinja_put(vm, dict, &items->items[0], &items->items[1]);
}

static lc_code fill_dict(lc_jvm *vm, lc_jdict *dict, const lc_jvalue *from)
{
    const lc_jlist *pairs = NULL;
    if (from->type == LC_J_DICT) {
        for (size_t i = 0; i < from->dict->count; i++) {
            const lc_jentry *entry = &from->dict->entries[i];
            LC_TRY(lc_jinja_put(vm, dict, &entry->key, &entry->value));
        }
        return LC_OK;
    }
    LC_TRY(lc_jinja_items(vm, from, &pairs));
    for (size_t i = 0; i < pairs->count; i++) {
        LC_TRY(put_pair(vm, dict, &pairs->items[i], i));
    }
    return LC_OK;
}

static lc_code make_dict(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    lc_jdict *dict = NULL;
    lc_jvalue made;
    if (call->count > 1) {
        return lc_jinja_fail(vm, "dict expected at most 1 argument, got %zu", call->count);
    }
    LC_TRY(lc_jinja_dict(vm, call->named_count, &dict, &made));
    if (call->count == 1) {
        LC_TRY(fill_dict(vm, dict, &call->args[0]));
    }
    for (size_t i = 0; i < call->named_count; i++) {
        LC_TRY(lc_jinja_put(vm, dict, &call->names[i], &call->named[i]));
    }
    *out = made;
    return LC_OK;
}

static lc_code make_namespace(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    LC_TRY(make_dict(vm, call, out));
    for (size_t i = 0; i < out->dict->count; i++) {
        const lc_jvalue *key = &out->dict->entries[i].key;
        if (key->type == LC_J_STRING && key->bytes > 0 && key->text[0] == '_') {
            return lc_jinja_fail(vm,
                                 "Chat templates cannot store underscore-prefixed attributes on "
                                 "a namespace, but got '%.*s'. Please rename the attribute.",
                                 (int)key->bytes, key->text);
        }
    }
    out->type = LC_J_NAMESPACE;
    return LC_OK;
}

static lc_code make_cycler_of(lc_jvm *vm, lc_jtype type, const lc_jvalue *items, size_t count,
                              lc_jvalue *out)
{
    void *memory = NULL;
    lc_jvalue *copies = NULL;
    LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jcycler), &memory));
    LC_TRY(alloc_values(vm, count, &copies));
    memcpy(copies, items, count * sizeof *copies);
    lc_jcycler *cycler = memory;
    *cycler = (lc_jcycler){.items = copies, .count = count};
    *out = (lc_jvalue){.type = (uint8_t)type, .cycler = cycler};
    return LC_OK;
}

static lc_code make_cycler(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    if (call->named_count > 0) {
        return lc_jinja_fail(vm, "cycler() takes no keyword arguments");
    }
    return call->count > 0 ? make_cycler_of(vm, LC_J_CYCLER, call->args, call->count, out)
                           : lc_jinja_fail(vm, "at least one item has to be provided");
}

static lc_code make_joiner(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(lc_jinja_bind_call(vm, "joiner", "sep", 0, call, args));
    if (args[0].type == LC_J_MISSING) {
        args[0] = lc_jinja_literal(", ");
    }
    return make_cycler_of(vm, LC_J_JOINER, args, 1, out);
}

static lc_code raise_exception(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    LC_TRY(lc_jinja_bind_call(vm, "raise_exception", "message", 1, call, args));
    LC_TRY(lc_jinja_str(vm, &args[0], out));
    return lc_jinja_fail(vm, "%.*s", (int)out->bytes, out->text);
}

/* The format is the template's: nobody can check it before. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static size_t print_time(char *out, size_t capacity, const char *format, const struct tm *parts)
{
    return strftime(out, capacity, format, parts);
}
#pragma GCC diagnostic pop

#define MAX_DATE_FORMAT ((size_t)254)

/* What Python makes of a format before the C library sees it: there is no zone, and no part of a
 * second that a template could tell. */
static void adapt_format(const char *format, size_t bytes, char *out)
{
    for (size_t i = 0; i < bytes; i++) {
        const char kind = format[i] == '%' && i + 1 < bytes ? format[i + 1] : '\0';
        if (kind == 'z' || kind == 'Z') {
            i++;
        } else if (kind == 'f') {
            memcpy(out, "000000", 6);
            out += 6;
            i++;
        } else {
            *out++ = format[i];
            if (kind != '\0') {
                *out++ = format[++i];
            }
        }
    }
    *out = '\0';
}

static lc_code strftime_now(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue args[LC_J_MAX_PARAMETERS];
    char format[1024] = " ", text[4096];
    struct tm parts;
    const time_t seconds = vm->has_date ? (time_t)vm->now : time(NULL);
    LC_TRY(lc_jinja_bind_call(vm, "strftime_now", "format", 1, call, args));
    if (args[0].type != LC_J_STRING) {
        return lc_jinja_fail_type(vm, "strftime() argument 1 must be str, not %s", &args[0]);
    }
    if (args[0].bytes > MAX_DATE_FORMAT || memchr(args[0].text, '\0', args[0].bytes) != NULL) {
        return lc_jinja_fail(vm, "strftime_now: a format of more than %zu bytes", MAX_DATE_FORMAT);
    }
    /* A blank in front tells an empty result from one that did not fit. */
    adapt_format(args[0].text, args[0].bytes, format + 1);
    if ((vm->has_date ? gmtime_r(&seconds, &parts) : localtime_r(&seconds, &parts)) == NULL) {
        return lc_jinja_fail(vm, "strftime_now: the date cannot be told");
    }
    const size_t bytes = print_time(text, sizeof text, format, &parts);
    return bytes > 0 ? lc_jinja_copy_text(vm, text + 1, bytes - 1, out)
                     : lc_jinja_fail(vm, "strftime_now: the text is too long");
}

static lc_code refuse_lipsum(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    (void)call;
    (void)out;
    return lc_jinja_fail(vm, "lipsum() is random and not supported");
}

const lc_jfunction *lc_jinja_find_function(const lc_jvalue *name)
{
    static const lc_jfunction functions[] = {
        {"range", make_range},
        {"namespace", make_namespace},
        {"raise_exception", raise_exception},
        {"strftime_now", strftime_now},
        {"dict", make_dict},
        {"cycler", make_cycler},
        {"joiner", make_joiner},
        {"lipsum", refuse_lipsum},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (lc_jinja_is_text(name, functions[i].name)) {
            return &functions[i];
        }
    }
    return NULL;
}
