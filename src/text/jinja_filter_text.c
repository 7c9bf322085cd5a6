/* Filters that make texts and numbers; see jinja_filters.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/jinja_filters.h"
#include "text/jinja_unicode.h"
#include "text/utf8.h"

#define FILTER(name) \
    lc_code lc_jinja_filter_##name(lc_jvm *vm, const lc_jvalue *args, lc_jvalue *out)

/* ---- case, stripping ---- */

static lc_code change_case(lc_jvm *vm, const lc_jvalue *value, lc_jcase to, lc_jvalue *out)
{
    lc_jvalue text;
    LC_TRY(lc_jinja_soft_str(vm, value, &text));
    return lc_jinja_change_case(vm, &text, to, out);
}

FILTER(lower)
{
    return change_case(vm, &args[0], LC_J_LOWER, out);
}

FILTER(upper)
{
    return change_case(vm, &args[0], LC_J_UPPER, out);
}

FILTER(capitalize)
{
    return change_case(vm, &args[0], LC_J_CAPITAL, out);
}

static bool begins_word(uint32_t code)
{
    return lc_char_is_space(code) || code == '-' || code == '(' || code == '{' || code == '[' ||
           code == '<';
}

/* Words end at [-\s({\[<] only: the first character up, the rest of the word down. */
FILTER(title)
{
    lc_jvalue text, part, whole = lc_jinja_text("", 0);
    size_t at = 0, length = 1;
    LC_TRY(lc_jinja_soft_str(vm, &args[0], &text));
    while (at < text.bytes) {
        const size_t begin = at;
        bool is_between = false;
        for (bool is_first = true; at < text.bytes; at += length, is_first = false) {
            length = 1;
            (void)lc_utf8_next(text.text + at, text.bytes - at, &length);
            const bool is_break = begins_word(lc_utf8_decode(text.text + at, length));
            is_between = is_first ? is_break : is_between;
            if (is_break != is_between) {
                break;
            }
        }
        part = lc_jinja_part(&text, begin, at);
        if (!is_between) {
            lc_jvalue first, rest;
            (void)lc_utf8_next(part.text, part.bytes, &length);
            first = lc_jinja_part(&part, 0, length);
            rest = lc_jinja_part(&part, length, part.bytes);
            LC_TRY(lc_jinja_change_case(vm, &first, LC_J_UPPER, &first));
            LC_TRY(lc_jinja_change_case(vm, &rest, LC_J_LOWER, &rest));
            LC_TRY(lc_jinja_join_texts(vm, &whole, &first, &whole));
            part = rest;
        }
        LC_TRY(lc_jinja_join_texts(vm, &whole, &part, &whole));
    }
    *out = whole;
    return LC_OK;
}

FILTER(trim)
{
    lc_jvalue text;
    const bool is_blank = args[1].type == LC_J_MISSING || args[1].type == LC_J_NONE;
    LC_TRY(lc_jinja_soft_str(vm, &args[0], &text));
    if (!is_blank && args[1].type != LC_J_STRING) {
        return lc_jinja_fail(vm, "strip arg must be None or str");
    }
    LC_TRY(lc_jinja_pay(vm, (size_t)text.bytes * (is_blank ? 1 : args[1].bytes)));
    *out = lc_jinja_strip(&text, is_blank ? NULL : &args[1], true, true);
    return LC_OK;
}

/* ---- escaping ---- */

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '\'':
        return "&#39;";
    case '"':
        return "&#34;";
    default:
        return NULL;
    }
}

lc_code lc_jinja_escape(lc_jvm *vm, const lc_jvalue *value, lc_jvalue *out)
{
    lc_jvalue text;
    char *copy = NULL;
    size_t bytes = 0;
    LC_TRY(lc_jinja_soft_str(vm, value, &text));
    *out = text;
    out->flags = LC_J_SAFE;
    if ((text.flags & LC_J_SAFE) != 0) {
        return LC_OK;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        const char *spelled = entity(text.text[i]);
        bytes += spelled != NULL ? strlen(spelled) : 1;
    }
    LC_TRY(lc_jinja_new_text(vm, bytes, &copy));
    char *to = copy;
    for (size_t i = 0; i < text.bytes; i++) {
        const char *spelled = entity(text.text[i]);
        const size_t length = spelled != NULL ? strlen(spelled) : 1;
        memcpy(to, spelled != NULL ? spelled : text.text + i, length);
        to += length;
    }
    *out = lc_jinja_text(copy, bytes);
    out->flags = LC_J_SAFE;
    return LC_OK;
}

FILTER(escape)
{
    return lc_jinja_escape(vm, &args[0], out);
}

FILTER(forceescape)
{
    lc_jvalue text;
    LC_TRY(lc_jinja_str(vm, &args[0], &text));
    return lc_jinja_escape(vm, &text, out);
}

FILTER(safe)
{
    LC_TRY(lc_jinja_soft_str(vm, &args[0], out));
    out->flags = LC_J_SAFE;
    return LC_OK;
}

FILTER(string)
{
    return lc_jinja_soft_str(vm, &args[0], out);
}

/* Comments and tags out, white space to single blanks. */
FILTER(striptags)
{
    lc_jvalue text;
    lc_text plain;
    size_t length = 1;
    bool has_blank = false, may_cut = true; /* until one is not closed */
    LC_TRY(lc_jinja_str(vm, &args[0], &text));
    LC_TRY(lc_jinja_pay(vm, (size_t)text.bytes * 4));
    if (memchr(text.text, '&', text.bytes) != NULL) {
        return lc_jinja_fail(vm, "striptags of a text with & is not supported");
    }
    lc_text_init(&plain);
    for (size_t at = 0; at < text.bytes;) {
        const char *begin = text.text + at;
        const size_t left = text.bytes - at;
        if (may_cut && *begin == '<') {
            const bool is_comment = left >= 4 && memcmp(begin, "<!--", 4) == 0;
            const char *close =
                is_comment ? memmem(begin + 4, left - 4, "-->", 3) : memchr(begin, '>', left);
            may_cut = close != NULL;
            if (close != NULL) {
                at = (size_t)(close - text.text) + (is_comment ? 3 : 1);
                continue;
            }
        }
        length = 1;
        (void)lc_utf8_next(begin, left, &length);
        const bool is_space = lc_char_is_space(lc_utf8_decode(begin, length));
        if (!is_space) {
            lc_text_add(&plain, " ", has_blank && plain.length > 0 ? 1 : 0);
            lc_text_add(&plain, begin, length);
        }
        has_blank = is_space;
        at += length;
    }
    return lc_jinja_take(vm, &plain, LC_OK, out);
}

static lc_code add_quoted(lc_jvm *vm, lc_text *out, const lc_jvalue *text, bool for_query)
{
    LC_TRY(lc_jinja_pay(vm, text->bytes));
    for (size_t i = 0; i < text->bytes && out->length <= LC_MAX_TEMPLATE_OUTPUT; i++) {
        const char c = text->text[i];
        const bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                              (c >= 'A' && c <= 'Z') || (c != '\0' && strchr("_.-~", c) != NULL) ||
                              (c == '/' && !for_query);
        if (is_plain) {
            lc_text_add(out, &c, 1);
        } else if (c == ' ' && for_query) {
            lc_text_add(out, "+", 1);
        } else {
            lc_text_addf(out, "%%%02X", (unsigned)(unsigned char)c);
        }
    }
    return lc_jinja_check_size(vm, out);
}

static lc_code add_query(lc_jvm *vm, const lc_jlist *pairs, lc_text *out)
{
    for (size_t i = 0; i < pairs->count; i++) {
        const lc_jlist *pair = NULL;
        LC_TRY(lc_jinja_items(vm, &pairs->items[i], &pair));
        if (pair->count != 2) {
            return lc_jinja_fail(vm, "urlencode: an item of %zu values, expected 2", pair->count);
        }
        lc_text_add(out, "&", i > 0);
        for (size_t j = 0; j < 2; j++) {
            lc_jvalue text;
            LC_TRY(lc_jinja_str(vm, &pair->items[j], &text));
            lc_text_add(out, "=", j);
            LC_TRY(add_quoted(vm, out, &text, true));
        }
    }
    return LC_OK;
}

FILTER(urlencode)
{
    lc_jvalue text, pairs = args[0];
    const lc_jlist *list = NULL;
    lc_text quoted;
    lc_code code = LC_OK;
    if (args[0].type == LC_J_STRING || !lc_jinja_is_iterable(&args[0])) {
        LC_TRY(lc_jinja_str(vm, &args[0], &text));
        lc_text_init(&quoted);
        code = add_quoted(vm, &quoted, &text, false);
    } else {
        pairs.type = pairs.type == LC_J_DICT ? LC_J_ITEMS : pairs.type;
        LC_TRY(lc_jinja_items(vm, &pairs, &list));
        lc_text_init(&quoted);
        code = add_query(vm, list, &quoted);
    }
    return lc_jinja_take(vm, &quoted, code, out);
}

FILTER(xmlattr)
{
    lc_jvalue whole = lc_jinja_text("", 0);
    const bool has_space = args[1].type == LC_J_MISSING || lc_jinja_is_true(&args[1]);
    if (args[0].type == LC_J_UNDEFINED) {
        return lc_jinja_fail_undefined(vm, &args[0]);
    }
    if (args[0].type != LC_J_DICT) {
        return lc_jinja_fail_type(vm, "'%s' object has no attribute 'items'", &args[0]);
    }
    for (size_t i = 0; i < args[0].dict->count; i++) {
        const lc_jentry *entry = &args[0].dict->entries[i];
        lc_jvalue parts[5];
        parts[0] = lc_jinja_literal(whole.bytes > 0 || has_space ? " " : "");
        parts[2] = lc_jinja_literal("=\"");
        parts[4] = lc_jinja_literal("\"");
        if (entry->value.type == LC_J_NONE || entry->value.type == LC_J_UNDEFINED) {
            continue;
        }
        if (entry->key.type != LC_J_STRING) {
            return lc_jinja_fail_type(vm, "expected string or bytes-like object, got '%s'",
                                      &entry->key);
        }
        for (size_t j = 0; j < entry->key.bytes; j++) {
            const char c = entry->key.text[j];
            if (c == '/' || c == '>' || c == '=' || c == ' ' || (c >= 9 && c <= 13)) {
                return lc_jinja_fail(vm, "Invalid character in attribute name: '%.*s'",
                                     (int)entry->key.bytes, entry->key.text);
            }
        }
        LC_TRY(lc_jinja_escape(vm, &entry->key, &parts[1]));
        LC_TRY(lc_jinja_escape(vm, &entry->value, &parts[3]));
        for (size_t j = 0; j < 5; j++) {
            LC_TRY(lc_jinja_join_texts(vm, &whole, &parts[j], &whole));
        }
    }
    *out = whole;
    return LC_OK;
}

/* ---- parts and joins ---- */

FILTER(replace)
{
    lc_jvalue texts[3];
    int64_t count = -1;
    for (size_t i = 0; i < 3; i++) {
        LC_TRY(lc_jinja_str(vm, &args[i], &texts[i]));
    }
    if (args[3].type != LC_J_NONE) {
        LC_TRY(lc_jinja_want_int(vm, &args[3], -1, &count));
    }
    LC_TRY(lc_jinja_replace(vm, &texts[0], &texts[1], &texts[2], count, out));
    out->flags = 0;
    return LC_OK;
}

FILTER(join)
{
    lc_jvalue separator = lc_jinja_text("", 0), whole = separator, item, text;
    lc_jiterator it;
    lc_jpath path = {0};
    bool has_next = false;
    if (args[1].type != LC_J_MISSING) {
        LC_TRY(lc_jinja_str(vm, &args[1], &separator));
    }
    if (args[2].type != LC_J_MISSING && args[2].type != LC_J_NONE) {
        LC_TRY(lc_jinja_path(vm, &args[2], NULL, &path));
    }
    LC_TRY(lc_jinja_iterate(vm, &args[0], &it));
    for (bool is_first = true;; is_first = false) {
        LC_TRY(lc_jinja_next(vm, &it, &item, &has_next));
        if (!has_next) {
            *out = whole;
            return LC_OK;
        }
        LC_TRY(lc_jinja_follow(vm, &path, &item, false, &item));
        LC_TRY(lc_jinja_str(vm, &item, &text));
        if (!is_first) {
            LC_TRY(lc_jinja_join_texts(vm, &whole, &separator, &whole));
        }
        LC_TRY(lc_jinja_join_texts(vm, &whole, &text, &whole));
    }
}

FILTER(center)
{
    lc_jvalue text;
    const lc_jvalue blank = lc_jinja_literal(" ");
    int64_t width = 0;
    LC_TRY(lc_jinja_soft_str(vm, &args[0], &text));
    LC_TRY(lc_jinja_want_int(vm, &args[1], 80, &width));
    const int64_t length = (int64_t)lc_jinja_count_chars(text.text, text.bytes);
    const int64_t missing = width > length ? width - length : 0;
    const int64_t left = missing / 2 + (missing & width & 1);
    return lc_jinja_pad(vm, &text, &blank, (size_t)left, (size_t)(missing - left), out);
}

static lc_code want_text(lc_jvm *vm, const lc_jvalue *value)
{
    if (value->type == LC_J_UNDEFINED) {
        return lc_jinja_fail_undefined(vm, value);
    }
    return value->type == LC_J_STRING ? LC_OK
                                      : lc_jinja_fail_type(vm, "expected a str, found '%s'", value);
}

FILTER(indent)
{
    lc_jvalue indention, lines, whole = lc_jinja_text("", 0), text = args[0];
    const lc_jvalue newline = lc_jinja_literal("\n"), blank = lc_jinja_literal(" ");
    const bool with_first = args[2].type != LC_J_MISSING && lc_jinja_is_true(&args[2]);
    const bool with_blank = args[3].type != LC_J_MISSING && lc_jinja_is_true(&args[3]);
    int64_t width = 4;
    LC_TRY(want_text(vm, &args[0]));
    if (args[1].type == LC_J_STRING) {
        indention = args[1];
    } else {
        LC_TRY(lc_jinja_want_int(vm, &args[1], 4, &width));
        LC_TRY(lc_jinja_repeat(vm, &blank, width, &indention));
    }
    LC_TRY(lc_jinja_join_texts(vm, &text, &newline, &text));
    LC_TRY(lc_jinja_split_lines(vm, &text, false, &lines));
    for (size_t i = 0; i < lines.list->count; i++) {
        const lc_jvalue *line = &lines.list->items[i];
        const bool is_indented = i == 0 ? with_first : with_blank || line->bytes > 0;
        if (i > 0) {
            LC_TRY(lc_jinja_join_texts(vm, &whole, &newline, &whole));
        }
        if (is_indented) {
            LC_TRY(lc_jinja_join_texts(vm, &whole, &indention, &whole));
        }
        LC_TRY(lc_jinja_join_texts(vm, &whole, line, &whole));
    }
    *out = whole;
    out->flags = args[0].flags;
    return LC_OK;
}

/* The last blank of a text, or its end. */
static size_t last_blank(const lc_jvalue *text)
{
    size_t at = text->bytes;
    while (at > 0 && text->text[at - 1] != ' ') {
        at--;
    }
    return at > 0 ? at - 1 : text->bytes;
}

FILTER(truncate)
{
    int64_t length = 0, leeway = 5, count = 0;
    lc_jvalue end = lc_jinja_literal("..."), part;
    LC_TRY(lc_jinja_want_int(vm, &args[1], 255, &length));
    if (args[3].type != LC_J_MISSING) {
        LC_TRY(want_text(vm, &args[3]));
        end = args[3];
    }
    if (args[4].type != LC_J_NONE) {
        LC_TRY(lc_jinja_want_int(vm, &args[4], 5, &leeway));
    }
    const int64_t end_length = (int64_t)lc_jinja_count_chars(end.text, end.bytes);
    if (length < end_length || leeway < 0) {
        return lc_jinja_fail(vm, "truncate: expected length >= %lld and leeway >= 0",
                             (long long)end_length);
    }
    if (args[0].type == LC_J_UNDEFINED) {
        *out = args[0]; /* its length is 0 */
        return LC_OK;
    }
    LC_TRY(lc_jinja_length(vm, &args[0], false, &count));
    if (count <= length + leeway) {
        *out = args[0];
        return LC_OK;
    }
    LC_TRY(want_text(vm, &args[0]));
    part = lc_jinja_part(
        &args[0], 0,
        lc_jinja_char_offset(args[0].text, args[0].bytes, (size_t)(length - end_length)));
    if (args[2].type == LC_J_MISSING || !lc_jinja_is_true(&args[2])) {
        part.bytes = (uint32_t)last_blank(&part);
    }
    return lc_jinja_binary(vm, LC_N_ADD, &part, &end, out);
}

FILTER(wordcount)
{
    lc_jvalue text;
    int64_t count = 0;
    bool is_inside = false;
    size_t length = 1;
    LC_TRY(lc_jinja_soft_str(vm, &args[0], &text));
    LC_TRY(lc_jinja_pay(vm, (size_t)text.bytes * 8));
    for (size_t at = 0; at < text.bytes; at += length) {
        length = 1;
        (void)lc_utf8_next(text.text + at, text.bytes - at, &length);
        const uint32_t code = lc_utf8_decode(text.text + at, length);
        const bool is_word =
            code == '_' || (lc_char_classes(code) & (LC_CHAR_ALPHA | LC_CHAR_NUMERIC)) != 0;
        count += is_word && !is_inside;
        is_inside = is_word;
    }
    *out = lc_jinja_int(count);
    return LC_OK;
}

lc_code lc_jinja_filter_format(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out)
{
    lc_jvalue text, arguments;
    if (call->count == 0 || (call->count > 1 && call->named_count > 0)) {
        return lc_jinja_fail(vm, "can't handle positional and keyword arguments at the same time");
    }
    LC_TRY(lc_jinja_soft_str(vm, &call->args[0], &text));
    if (call->named_count > 0) {
        lc_jdict *dict = NULL;
        LC_TRY(lc_jinja_dict(vm, call->named_count, &dict, &arguments));
        for (size_t i = 0; i < call->named_count; i++) {
            LC_TRY(lc_jinja_put(vm, dict, &call->names[i], &call->named[i]));
        }
    } else {
        lc_jlist *list = NULL;
        LC_TRY(lc_jinja_list(vm, LC_J_TUPLE, call->count - 1, &list, &arguments));
        memcpy(list->items, call->args + 1, list->count * sizeof(lc_jvalue));
    }
    return lc_jinja_percent(vm, &text, &arguments, out);
}

/* ---- JSON ---- */

static lc_code json_separators(lc_jvm *vm, const lc_jvalue *given, lc_json_style *style)
{
    const lc_jlist *list = NULL;
    if (given->type == LC_J_MISSING || given->type == LC_J_NONE) {
        return LC_OK;
    }
    LC_TRY(lc_jinja_items(vm, given, &list));
    if (list->count != 2 || list->items[0].type != LC_J_STRING ||
        list->items[1].type != LC_J_STRING) {
        return lc_jinja_fail(vm, "tojson: separators must be two strings");
    }
    style->item_separator = list->items[0];
    style->key_separator = list->items[1];
    return LC_OK;
}

static lc_code json_indent(lc_jvm *vm, const lc_jvalue *given, lc_json_style *style)
{
    const lc_jvalue blank = lc_jinja_literal(" ");
    if (given->type == LC_J_MISSING || given->type == LC_J_NONE) {
        return LC_OK;
    }
    style->is_indented = true;
    style->item_separator = lc_jinja_literal(",");
    if (given->type == LC_J_STRING) {
        style->indent = *given;
        return LC_OK;
    }
    if (!lc_jinja_is_integer(given)) {
        return lc_jinja_fail_type(vm, "can't multiply sequence by non-int of type '%s'", given);
    }
    return lc_jinja_repeat(vm, &blank, given->integer, &style->indent);
}

FILTER(tojson)
{
    lc_text text;
    lc_json_style style = {.item_separator = lc_jinja_literal(", "),
                           .key_separator = lc_jinja_literal(": "),
                           .indent = lc_jinja_text("", 0)};
    style.is_ascii = args[1].type != LC_J_MISSING && lc_jinja_is_true(&args[1]);
    style.sorts_keys = args[4].type != LC_J_MISSING && lc_jinja_is_true(&args[4]);
    LC_TRY(json_indent(vm, &args[2], &style));
    LC_TRY(json_separators(vm, &args[3], &style));
    lc_text_init(&text);
    const lc_code code = lc_jinja_add_json(vm, &args[0], &style, &text);
    return lc_jinja_take(vm, &text, code, out);
}

/* ---- numbers ---- */

FILTER(abs)
{
    if (args[0].type == LC_J_UNDEFINED) {
        return lc_jinja_fail_type(vm, "bad operand type for abs(): '%s'", &args[0]);
    }
    if (args[0].type == LC_J_FLOAT) {
        *out = lc_jinja_float(fabs(args[0].number));
        return LC_OK;
    }
    if (!lc_jinja_is_integer(&args[0])) {
        return lc_jinja_fail_type(vm, "bad operand type for abs(): '%s'", &args[0]);
    }
    if (args[0].integer < 0) {
        return lc_jinja_unary(vm, LC_N_NEGATIVE, &args[0], out);
    }
    *out = lc_jinja_int(args[0].integer);
    return LC_OK;
}

static lc_code double_to_int(lc_jvm *vm, double value, const lc_jvalue *fallback, bool may_fail,
                             lc_jvalue *out)
{
    if (!isfinite(value)) {
        *out = *fallback;
        return may_fail ? lc_jinja_fail(vm, "cannot convert float infinity to integer") : LC_OK;
    }
    if (fabs(value) >= 0x1p63) {
        return lc_jinja_fail(vm, "an integer beyond 64 bits is not supported");
    }
    *out = lc_jinja_int((int64_t)value);
    return LC_OK;
}

FILTER(int)
{
    const lc_jvalue fallback = args[1].type == LC_J_MISSING ? lc_jinja_int(0) : args[1];
    int64_t base = 10, value = 0;
    double number = 0.0;
    if (args[0].type == LC_J_UNDEFINED) {
        return lc_jinja_fail_undefined(vm, &args[0]);
    }
    if (args[0].type == LC_J_BIG_INT) {
        *out = args[0];
        return LC_OK;
    }
    if (lc_jinja_is_integer(&args[0])) {
        *out = lc_jinja_int(args[0].integer);
        return LC_OK;
    }
    if (args[0].type == LC_J_FLOAT) {
        /* int(inf) is no TypeError or ValueError; int(nan) is a ValueError, and again below */
        return double_to_int(vm, args[0].number, &fallback, isinf(args[0].number) != 0, out);
    }
    *out = fallback;
    if (args[0].type != LC_J_STRING) {
        return LC_OK;
    }
    if (args[2].type != LC_J_MISSING && !lc_jinja_is_integer(&args[2])) {
        base = -1; /* a TypeError, which is caught */
    } else {
        LC_TRY(lc_jinja_want_int(vm, &args[2], 10, &base));
    }
    const lc_jparsed parsed = base == 0 || (base >= 2 && base <= 36)
                                  ? lc_jinja_parse_int(&args[0], base, &value)
                                  : LC_J_BAD_NUMBER;
    if (parsed == LC_J_TOO_LARGE) {
        return lc_jinja_fail(vm, "an integer beyond 64 bits is not supported");
    }
    if (parsed == LC_J_NUMBER) {
        *out = lc_jinja_int(value);
        return LC_OK;
    }
    return lc_jinja_parse_float(vm, &args[0], &number)
               ? double_to_int(vm, number, &fallback, false, out)
               : LC_OK;
}

FILTER(float)
{
    double number = 0.0;
    *out = args[1].type == LC_J_MISSING ? lc_jinja_float(0.0) : args[1];
    if (args[0].type == LC_J_UNDEFINED) {
        return lc_jinja_fail_undefined(vm, &args[0]);
    }
    if (args[0].type == LC_J_FLOAT) {
        *out = args[0];
    } else if (lc_jinja_is_integer(&args[0])) {
        *out = lc_jinja_float((double)args[0].integer);
    } else if (args[0].type == LC_J_BIG_INT) {
        char digits[512];
        (void)snprintf(digits, sizeof digits, "%.*s", (int)args[0].bytes, args[0].text);
        *out = lc_jinja_float(strtod(digits, NULL));
    } else if (args[0].type == LC_J_STRING && lc_jinja_parse_float(vm, &args[0], &number)) {
        *out = lc_jinja_float(number);
    }
    return LC_OK;
}

/* round(x, n) of a double: the nearest decimal of its exact value, halves to even. */
static double round_double(double value, int64_t digits)
{
    char text[1500];
    if (!isfinite(value) || digits > 308) {
        return value;
    }
    if (digits < -308) {
        return copysign(0.0, value);
    }
    if (digits >= 0) {
        (void)snprintf(text, sizeof text, "%.*f", (int)digits, value);
        return strtod(text, NULL);
    }
    /* "%.*e" with as many digits as stand before the place */
    (void)snprintf(text, sizeof text, "%.0f", fabs(value));
    const int64_t kept = (int64_t)strlen(text) + digits;
    if (kept < 0) {
        return copysign(0.0, value);
    }
    if (kept == 0) {
        const double half = 5.0 * pow(10.0, (double)(-digits - 1));
        return copysign(fabs(value) > half ? pow(10.0, (double)-digits) : 0.0, value);
    }
    (void)snprintf(text, sizeof text, "%.*e", (int)kept - 1, value);
    return strtod(text, NULL);
}

static lc_code round_int(lc_jvm *vm, int64_t value, int64_t digits, lc_jvalue *out)
{
    int64_t unit = 1;
    *out = lc_jinja_int(value);
    if (digits >= 0) {
        return LC_OK;
    }
    if (digits < -18) {
        *out = lc_jinja_int(0);
        return digits < -19 ? LC_OK : lc_jinja_fail(vm, "round: too many digits");
    }
    for (int64_t i = 0; i > digits; i--) {
        unit *= 10;
    }
    int64_t rest = value % unit;
    rest += rest < 0 ? unit : 0;
    int64_t low = 0, high = 0;
    if (__builtin_sub_overflow(value, rest, &low) || __builtin_add_overflow(low, unit, &high)) {
        return lc_jinja_fail(vm, "an integer beyond 64 bits is not supported");
    }
    const bool is_up = rest > unit - rest || (rest == unit - rest && (low / unit) % 2 != 0);
    *out = lc_jinja_int(is_up ? high : low);
    return LC_OK;
}

FILTER(round)
{
    int64_t digits = 0;
    const lc_jvalue method = args[2].type == LC_J_MISSING ? lc_jinja_literal("common") : args[2];
    const bool is_ceil = lc_jinja_is_text(&method, "ceil");
    if (!is_ceil && !lc_jinja_is_text(&method, "floor") && !lc_jinja_is_text(&method, "common")) {
        return lc_jinja_fail(vm, "method must be common, ceil or floor");
    }
    const bool is_none = args[1].type == LC_J_NONE && lc_jinja_is_text(&method, "common");
    if (!is_none) {
        LC_TRY(lc_jinja_want_int(vm, &args[1], 0, &digits));
    }
    if (!lc_jinja_is_integer(&args[0]) && args[0].type != LC_J_FLOAT) {
        return args[0].type == LC_J_UNDEFINED && !lc_jinja_is_text(&method, "common")
                   ? lc_jinja_fail_undefined(vm, &args[0])
                   : lc_jinja_fail_type(vm, "type %s doesn't define __round__ method", &args[0]);
    }
    if (lc_jinja_is_text(&method, "common")) {
        if (lc_jinja_is_integer(&args[0])) {
            return round_int(vm, args[0].integer, digits, out);
        }
        *out = lc_jinja_float(round_double(args[0].number, digits));
        return is_none ? double_to_int(vm, out->number, out, true, out) : LC_OK;
    }
    const lc_jvalue ten = lc_jinja_int(10), power = lc_jinja_int(digits);
    lc_jvalue scale, scaled;
    LC_TRY(lc_jinja_binary(vm, LC_N_POWER, &ten, &power, &scale));
    LC_TRY(lc_jinja_binary(vm, LC_N_MULTIPLY, &args[0], &scale, &scaled));
    if (scaled.type == LC_J_FLOAT) {
        const double whole = is_ceil ? ceil(scaled.number) : floor(scaled.number);
        LC_TRY(double_to_int(vm, whole, &scaled, true, &scaled));
    }
    return lc_jinja_binary(vm, LC_N_DIVIDE, &scaled, &scale, out);
}

FILTER(filesizeformat)
{
    static const char *const names[2][8] = {
        {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
        {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
    const bool is_binary = args[1].type != LC_J_MISSING && lc_jinja_is_true(&args[1]);
    const double base = is_binary ? 1024.0 : 1000.0;
    double bytes = 0.0, unit = base;
    char text[400];
    if (args[0].type == LC_J_STRING) {
        if (!lc_jinja_parse_float(vm, &args[0], &bytes)) {
            return lc_jinja_fail(vm, "could not convert string to float");
        }
    } else if (args[0].type == LC_J_FLOAT || lc_jinja_is_integer(&args[0])) {
        bytes = args[0].type == LC_J_FLOAT ? args[0].number : (double)args[0].integer;
    } else {
        return args[0].type == LC_J_UNDEFINED
                   ? lc_jinja_fail_undefined(vm, &args[0])
                   : lc_jinja_fail_type(
                         vm, "float() argument must be a string or a real number, not '%s'",
                         &args[0]);
    }
    if (!(bytes < 1.0) && !(bytes > 1.0)) {
        return lc_jinja_copy_text(vm, "1 Byte", 6, out);
    }
    if (bytes < base) {
        (void)snprintf(text, sizeof text, "%.0f Bytes", trunc(bytes) + 0.0);
        return lc_jinja_copy_text(vm, text, strlen(text), out);
    }
    size_t i = 0;
    for (; i < 8; i++) {
        unit *= base;
        if (bytes < unit || i == 7) {
            break;
        }
    }
    (void)snprintf(text, sizeof text, "%.1f %s", base * bytes / unit, names[is_binary][i]);
    return lc_jinja_copy_text(vm, text, strlen(text), out);
}
