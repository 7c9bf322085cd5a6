/* str(), repr() and json.dumps() of values. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "text/jinja_run.h"
#include "text/jinja_unicode.h"
#include "text/utf8.h"

static void add(lc_text *out, const char *text)
{
    lc_text_add(out, text, strlen(text));
}

void lc_jinja_add_double(lc_text *out, double value)
{
    if (isnan(value)) {
        add(out, "nan");
        return;
    }
    if (isinf(value)) {
        add(out, value < 0.0 ? "-inf" : "inf");
        return;
    }
    const size_t before = out->length;
    lc_text_add_double(out, value);
    if (!out->failed && strpbrk(out->data + before, ".e") == NULL) {
        add(out, ".0");
    }
}

static void add_integer(lc_text *out, int64_t value)
{
    char digits[24], *at = digits + sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) {
        *--at = '-';
    }
    lc_text_add(out, at, (size_t)(digits + sizeof digits - at));
}

/* ---- repr ---- */

static void add_escaped(lc_text *out, uint32_t code, const char *text, size_t length, char quote)
{
    if (code == (uint32_t)quote || code == '\\') {
        lc_text_addf(out, "\\%c", (int)code);
    } else if (code == '\n' || code == '\r' || code == '\t') {
        add(out, code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t");
    } else if (code < 0x20 || code == 0x7f ||
               (code >= 0x80 && (lc_char_classes(code) & LC_CHAR_PRINTABLE) == 0)) {
        if (code < 0x100) {
            lc_text_addf(out, "\\x%02x", (unsigned)code);
        } else if (code < 0x10000) {
            lc_text_addf(out, "\\u%04x", (unsigned)code);
        } else {
            lc_text_addf(out, "\\U%08x", (unsigned)code);
        }
    } else {
        lc_text_add(out, text, length);
    }
}

static void add_quoted(lc_text *out, const lc_jvalue *value)
{
    const bool has_single = memchr(value->text, '\'', value->bytes) != NULL;
    const bool has_double = memchr(value->text, '"', value->bytes) != NULL;
    const char quote = has_single && !has_double ? '"' : '\'';
    lc_text_add(out, &quote, 1);
    for (size_t at = 0; at < value->bytes;) {
        size_t length = 1;
        (void)lc_utf8_next(value->text + at, value->bytes - at, &length);
        add_escaped(out, lc_utf8_decode(value->text + at, length), value->text + at, length, quote);
        at += length;
    }
    lc_text_add(out, &quote, 1);
}

static lc_code add_items(lc_jvm *vm, const lc_jlist *list, const char *begin, const char *end,
                         lc_text *out)
{
    add(out, begin);
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) {
            add(out, ", ");
        }
        LC_TRY(lc_jinja_add_repr(vm, &list->items[i], out));
    }
    add(out, end);
    return LC_OK;
}

/* Keys, values, or both. */
static lc_code add_entries(lc_jvm *vm, const lc_jdict *dict, lc_jtype type, lc_text *out)
{
    for (size_t i = 0; i < dict->count; i++) {
        const lc_jentry *entry = &dict->entries[i];
        add(out, i > 0 ? ", " : "");
        add(out, type == LC_J_ITEMS ? "(" : "");
        if (type != LC_J_VALUES) {
            LC_TRY(lc_jinja_add_repr(vm, &entry->key, out));
        }
        add(out, type == LC_J_DICT ? ": " : type == LC_J_ITEMS ? ", " : "");
        if (type != LC_J_KEYS) {
            LC_TRY(lc_jinja_add_repr(vm, &entry->value, out));
        }
        add(out, type == LC_J_ITEMS ? ")" : "");
    }
    return LC_OK;
}

static lc_code add_mapping(lc_jvm *vm, const lc_jvalue *value, lc_text *out)
{
    static const char *const begins[] = {[LC_J_DICT] = "{",
                                         [LC_J_KEYS] = "dict_keys([",
                                         [LC_J_VALUES] = "dict_values([",
                                         [LC_J_ITEMS] = "dict_items([",
                                         [LC_J_NAMESPACE] = "<Namespace {"};
    const bool is_space = value->type == LC_J_NAMESPACE;
    add(out, begins[value->type]);
    LC_TRY(add_entries(vm, value->dict, is_space ? LC_J_DICT : (lc_jtype)value->type, out));
    add(out, is_space ? "}>" : value->type == LC_J_DICT ? "}" : "])");
    return LC_OK;
}

static lc_code add_list(lc_jvm *vm, const lc_jvalue *value, lc_text *out)
{
    if (value->type == LC_J_LIST) {
        return add_items(vm, value->list, "[", "]", out);
    }
    return add_items(vm, value->list, "(", value->list->count == 1 ? ",)" : ")", out);
}

static void add_range(const lc_jrange *range, lc_text *out)
{
    lc_text_addf(out, "range(%" PRId64 ", %" PRId64, range->start, range->stop);
    if (range->step != 1) {
        lc_text_addf(out, ", %" PRId64, range->step);
    }
    add(out, ")");
}

static lc_code add_loop(lc_jvm *vm, lc_jloop *loop, lc_text *out)
{
    int64_t length = 0;
    LC_TRY(lc_jinja_loop_length(vm, loop, &length));
    lc_text_addf(out, "<LoopContext %" PRId64 "/%" PRId64 ">", loop->index0 + 1, length);
    return LC_OK;
}

static void add_macro(const lc_jmacro *macro, lc_text *out)
{
    const lc_jvalue *name = &macro->code->name;
    if (name->type == LC_J_NONE) {
        add(out, "<Macro anonymous>");
        return;
    }
    add(out, "<Macro ");
    add_quoted(out, name);
    add(out, ">");
}

static lc_code add_nested(lc_jvm *vm, const lc_jvalue *value, lc_text *out)
{
    switch (value->type) {
    case LC_J_LIST:
    case LC_J_TUPLE:
        return add_list(vm, value, out);
    case LC_J_DICT:
    case LC_J_KEYS:
    case LC_J_VALUES:
    case LC_J_ITEMS:
    case LC_J_NAMESPACE:
        return add_mapping(vm, value, out);
    case LC_J_RANGE:
        add_range(value->range, out);
        return LC_OK;
    case LC_J_LOOP:
        return add_loop(vm, value->loop, out);
    case LC_J_MACRO:
        add_macro(value->macro, out);
        return LC_OK;
    default:
        return lc_jinja_fail_type(vm,
                                  "the text of a %s would be an address in memory: put |list "
                                  "behind a filter that gives one item after another",
                                  value);
    }
}

lc_code lc_jinja_add_repr(lc_jvm *vm, const lc_jvalue *value, lc_text *out)
{
    if (value->type == LC_J_STRING) {
        LC_TRY(lc_jinja_pay(vm, value->bytes));
        const bool is_safe = (value->flags & LC_J_SAFE) != 0;
        add(out, is_safe ? "Markup(" : "");
        add_quoted(out, value);
        add(out, is_safe ? ")" : "");
        return lc_jinja_check_size(vm, out);
    }
    if (value->type == LC_J_UNDEFINED) {
        add(out, "Undefined");
        return LC_OK;
    }
    return lc_jinja_add_str(vm, value, out);
}

lc_code lc_jinja_add_str(lc_jvm *vm, const lc_jvalue *value, lc_text *out)
{
    LC_TRY(lc_jinja_pay(vm, value->type == LC_J_STRING ? value->bytes : 0));
    LC_TRY(lc_jinja_check_size(vm, out));
    switch (value->type) {
    case LC_J_STRING:
    case LC_J_BIG_INT:
        lc_text_add(out, value->text, value->bytes);
        return lc_jinja_check_size(vm, out);
    case LC_J_UNDEFINED:
        return LC_OK;
    case LC_J_NONE:
        add(out, "None");
        return LC_OK;
    case LC_J_BOOL:
        add(out, value->integer != 0 ? "True" : "False");
        return LC_OK;
    case LC_J_INT:
        add_integer(out, value->integer);
        return LC_OK;
    case LC_J_FLOAT:
        lc_jinja_add_double(out, value->number);
        return LC_OK;
    default: {
        LC_TRY(lc_jinja_enter(vm));
        const lc_code code = add_nested(vm, value, out);
        lc_jinja_leave(vm);
        return code;
    }
    }
}

lc_code lc_jinja_str(lc_jvm *vm, const lc_jvalue *value, lc_jvalue *out)
{
    if (value->type == LC_J_STRING) {
        *out = *value;
        out->flags = 0;
        return LC_OK;
    }
    lc_text text;
    lc_text_init(&text);
    return lc_jinja_take(vm, &text, lc_jinja_add_str(vm, value, &text), out);
}

lc_code lc_jinja_repr(lc_jvm *vm, const lc_jvalue *value, lc_jvalue *out)
{
    lc_text text;
    lc_text_init(&text);
    const lc_code code = lc_jinja_add_repr(vm, value, &text);
    return lc_jinja_take(vm, &text, code, out);
}

/* ---- JSON ---- */

typedef struct json_writer {
    lc_jvm *vm;
    const lc_json_style *style;
    lc_text *out;
    int level;
} json_writer;

static lc_code add_json(json_writer *w, const lc_jvalue *value);

/* A string with everything outside ASCII escaped, as two halves where it takes more than 16
 * bits. */
static void add_ascii_string(lc_text *out, const lc_jvalue *value)
{
    add(out, "\"");
    for (size_t at = 0; at < value->bytes;) {
        size_t length = 1;
        (void)lc_utf8_next(value->text + at, value->bytes - at, &length);
        uint32_t code = lc_utf8_decode(value->text + at, length);
        if (code < 0x7f || code == 0x7f) {
            lc_text quoted;
            lc_text_init(&quoted);
            lc_text_add_json_string(&quoted, value->text + at, 1);
            if (!quoted.failed && quoted.length >= 2) {
                lc_text_add(out, quoted.data + 1, quoted.length - 2);
            }
            out->failed = out->failed || quoted.failed;
            lc_text_release(&quoted);
        } else if (code < 0x10000) {
            lc_text_addf(out, "\\u%04x", (unsigned)code);
        } else {
            code -= 0x10000;
            lc_text_addf(out, "\\u%04x\\u%04x", 0xd800u + (unsigned)(code >> 10),
                         0xdc00u + (unsigned)(code & 0x3ff));
        }
        at += length;
    }
    add(out, "\"");
}

static lc_code add_json_text(json_writer *w, const lc_jvalue *value)
{
    LC_TRY(lc_jinja_pay(w->vm, value->bytes));
    if (w->style->is_ascii) {
        add_ascii_string(w->out, value);
    } else {
        lc_text_add_json_string(w->out, value->text, value->bytes);
    }
    return lc_jinja_check_size(w->vm, w->out);
}

static void add_json_double(lc_text *out, double value)
{
    if (isnan(value) || isinf(value)) {
        add(out, isnan(value) ? "NaN" : value < 0.0 ? "-Infinity" : "Infinity");
    } else {
        lc_jinja_add_double(out, value);
    }
}

static lc_code add_line(json_writer *w)
{
    if (w->style->is_indented) {
        add(w->out, "\n");
        for (int i = 0; i < w->level; i++) {
            lc_text_add(w->out, w->style->indent.text, w->style->indent.bytes);
        }
        LC_TRY(lc_jinja_pay(w->vm, (size_t)w->level * w->style->indent.bytes));
    }
    return lc_jinja_check_size(w->vm, w->out);
}

static lc_code add_json_list(json_writer *w, const lc_jlist *list)
{
    add(w->out, "[");
    w->level++;
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) {
            lc_text_add(w->out, w->style->item_separator.text, w->style->item_separator.bytes);
        }
        LC_TRY(add_line(w));
        LC_TRY(add_json(w, &list->items[i]));
    }
    w->level--;
    if (list->count > 0) {
        LC_TRY(add_line(w));
    }
    add(w->out, "]");
    return LC_OK;
}

static lc_code add_json_key(json_writer *w, const lc_jvalue *key)
{
    lc_code code = LC_OK;
    lc_text text;
    if (key->type == LC_J_STRING) {
        return add_json_text(w, key);
    }
    if (!lc_jinja_is_number(key) && key->type != LC_J_NONE) {
        return lc_jinja_fail_type(w->vm, "keys must be str, int, float, bool or None, not %s", key);
    }
    lc_text_init(&text);
    if (key->type == LC_J_FLOAT) {
        add_json_double(&text, key->number);
    } else if (key->type == LC_J_BOOL) {
        add(&text, key->integer != 0 ? "true" : "false");
    } else if (key->type == LC_J_NONE) {
        add(&text, "null");
    } else {
        code = lc_jinja_add_str(w->vm, key, &text);
    }
    lc_jvalue name;
    LC_TRY(lc_jinja_take(w->vm, &text, code, &name));
    return add_json_text(w, &name);
}

static lc_code add_json_dict(json_writer *w, const lc_jdict *dict)
{
    const lc_jentry *entries = dict->entries;
    if (w->style->sorts_keys) {
        LC_TRY(lc_jinja_sort_entries(w->vm, dict, &entries));
    }
    add(w->out, "{");
    w->level++;
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0) {
            lc_text_add(w->out, w->style->item_separator.text, w->style->item_separator.bytes);
        }
        LC_TRY(add_line(w));
        LC_TRY(add_json_key(w, &entries[i].key));
        lc_text_add(w->out, w->style->key_separator.text, w->style->key_separator.bytes);
        LC_TRY(add_json(w, &entries[i].value));
    }
    w->level--;
    if (dict->count > 0) {
        LC_TRY(add_line(w));
    }
    add(w->out, "}");
    return LC_OK;
}

static lc_code add_json(json_writer *w, const lc_jvalue *value)
{
    lc_code code = LC_OK;
    LC_TRY(lc_jinja_pay(w->vm, 1));
    switch (value->type) {
    case LC_J_NONE:
        add(w->out, "null");
        return LC_OK;
    case LC_J_BOOL:
        add(w->out, value->integer != 0 ? "true" : "false");
        return LC_OK;
    case LC_J_FLOAT:
        add_json_double(w->out, value->number);
        return LC_OK;
    case LC_J_INT:
    case LC_J_BIG_INT:
        return lc_jinja_add_str(w->vm, value, w->out);
    case LC_J_STRING:
        return add_json_text(w, value);
    case LC_J_LIST:
    case LC_J_TUPLE:
    case LC_J_DICT:
        LC_TRY(lc_jinja_enter(w->vm));
        code = value->type == LC_J_DICT ? add_json_dict(w, value->dict)
                                        : add_json_list(w, value->list);
        lc_jinja_leave(w->vm);
        return code;
    default:
        return lc_jinja_fail_type(w->vm, "Object of type %s is not JSON serializable", value);
    }
}

lc_code lc_jinja_add_json(lc_jvm *vm, const lc_jvalue *value, const lc_json_style *style,
                          lc_text *out)
{
    json_writer writer = {.vm = vm, .style = style, .out = out};
    return add_json(&writer, value);
}
