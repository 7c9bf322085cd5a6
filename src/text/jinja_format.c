/*
 * Python's two ways to format: "%5.2f %s" % (a, b) and "{:>8} {name!r}".format(a, name=b). What
 * is written for the common cases; what is not is refused by name.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/jinja_run.h"
#include "text/utf8.h"

#define MAX_WIDTH     10000
#define MAX_PRECISION 400

/* How a value is to look: shared by both ways. */
typedef struct format_spec {
    lc_jvalue fill; /* one character */
    char align;     /* '<', '>', '^', '=' or 0 */
    char sign;      /* '+', ' ' or '-' */
    bool is_alternate;
    char grouping;            /* ',' or '_' or 0 */
    int64_t width, precision; /* precision -1: none */
    char type;                /* 0: none */
} format_spec;

/* ---- laying out ---- */

/* Between sign and digits with '=', else around all of it. */
static lc_code lay_out(lc_jvm *vm, const format_spec *spec, const lc_jvalue *sign,
                       const lc_jvalue *body, char usual, lc_text *out)
{
    const int64_t length = (int64_t)(lc_jinja_count_chars(sign->text, sign->bytes) +
                                     lc_jinja_count_chars(body->text, body->bytes));
    const int64_t missing = spec->width > length ? spec->width - length : 0;
    const char align = spec->align != '\0' ? spec->align : usual;
    const int64_t left = align == '<' || align == '=' ? 0 : align == '^' ? missing / 2 : missing;
    const int64_t inside = align == '=' ? missing : 0;
    LC_TRY(lc_jinja_pay(vm, (size_t)(missing + length)));
    for (int64_t i = 0; i < left; i++) {
        lc_text_add(out, spec->fill.text, spec->fill.bytes);
    }
    lc_text_add(out, sign->text, sign->bytes);
    for (int64_t i = 0; i < inside; i++) {
        lc_text_add(out, spec->fill.text, spec->fill.bytes);
    }
    lc_text_add(out, body->text, body->bytes);
    for (int64_t i = left + inside; i < missing; i++) {
        lc_text_add(out, spec->fill.text, spec->fill.bytes);
    }
    return LC_OK;
}

static lc_code lay_out_text(lc_jvm *vm, const format_spec *spec, const lc_jvalue *value, char usual,
                            lc_text *out)
{
    const lc_jvalue nothing = lc_jinja_text("", 0);
    lc_jvalue part = *value;
    if (spec->precision >= 0) {
        part = lc_jinja_part(
            value, 0, lc_jinja_char_offset(value->text, value->bytes, (size_t)spec->precision));
    }
    return lay_out(vm, spec, &nothing, &part, usual, out);
}

/* Thousands apart, in the digits before a point. */
static void group_digits(const char *digits, char separator, int every, char *out)
{
    const size_t whole = strspn(digits, "0123456789abcdefABCDEF");
    for (size_t i = 0; digits[i] != '\0'; i++) {
        if (separator != '\0' && i > 0 && i < whole && (whole - i) % (size_t)every == 0) {
            *out++ = separator;
        }
        *out++ = digits[i];
    }
    *out = '\0';
}

static lc_code lay_out_number(lc_jvm *vm, const format_spec *spec, bool is_minus,
                              const char *prefix, const char *digits, lc_text *out)
{
    char sign[8], grouped[2048];
    const int every =
        spec->type == 'x' || spec->type == 'X' || spec->type == 'o' || spec->type == 'b' ? 4 : 3;
    (void)snprintf(sign, sizeof sign, "%s%s",
                   is_minus            ? "-"
                   : spec->sign == '+' ? "+"
                   : spec->sign == ' ' ? " "
                                       : "",
                   spec->is_alternate ? prefix : "");
    group_digits(digits, spec->grouping, every, grouped);
    const lc_jvalue before = lc_jinja_literal(sign), body = lc_jinja_literal(grouped);
    if (spec->grouping != '\0' && spec->align == '=' && lc_jinja_is_text(&spec->fill, "0")) {
        return lc_jinja_fail(vm, "format: zero padding of grouped digits is not supported");
    }
    return lay_out(vm, spec, &before, &body, '>', out);
}

static lc_code format_int(lc_jvm *vm, const format_spec *spec, int64_t value, lc_text *out)
{
    char digits[80];
    const uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    const char *prefix = "";
    switch (spec->type) {
    case 'x':
        (void)snprintf(digits, sizeof digits, "%" PRIx64, size);
        prefix = "0x";
        break;
    case 'X':
        (void)snprintf(digits, sizeof digits, "%" PRIX64, size);
        prefix = "0X";
        break;
    case 'o':
        (void)snprintf(digits, sizeof digits, "%" PRIo64, size);
        prefix = "0o";
        break;
    case 'b': {
        size_t count = 0;
        for (int bit = 63; bit >= 0; bit--) {
            if (count > 0 || (size >> bit & 1) != 0 || bit == 0) {
                digits[count++] = (char)('0' + (size >> bit & 1));
            }
        }
        digits[count] = '\0';
        prefix = "0b";
        break;
    }
    default:
        (void)snprintf(digits, sizeof digits, "%" PRIu64, size);
        break;
    }
    return lay_out_number(vm, spec, value < 0, prefix, digits, out);
}

static void print_double(char type, bool is_alternate, int precision, double value, char *out,
                         size_t capacity)
{
    switch (type) {
    case 'e':
        (void)snprintf(out, capacity, is_alternate ? "%#.*e" : "%.*e", precision, value);
        break;
    case 'E':
        (void)snprintf(out, capacity, is_alternate ? "%#.*E" : "%.*E", precision, value);
        break;
    case 'g':
        (void)snprintf(out, capacity, is_alternate ? "%#.*g" : "%.*g", precision, value);
        break;
    case 'G':
        (void)snprintf(out, capacity, is_alternate ? "%#.*G" : "%.*G", precision, value);
        break;
    case 'F':
        (void)snprintf(out, capacity, is_alternate ? "%#.*F" : "%.*F", precision, value);
        break;
    default:
        (void)snprintf(out, capacity, is_alternate ? "%#.*f" : "%.*f", precision, value);
        break;
    }
}

static lc_code format_double(lc_jvm *vm, const format_spec *spec, double value, lc_text *out)
{
    char digits[1024];
    const int precision = spec->precision < 0 ? 6 : (int)spec->precision;
    format_spec plain = *spec;
    plain.is_alternate = false; /* which means the point here, not a prefix */
    if (spec->type == '%') {
        print_double('f', spec->is_alternate, precision, fabs(value * 100.0), digits,
                     sizeof digits - 1);
        (void)strncat(digits, "%", sizeof digits - strlen(digits) - 1);
    } else {
        print_double(spec->type, spec->is_alternate, precision, fabs(value), digits, sizeof digits);
    }
    return lay_out_number(vm, &plain, signbit(value) != 0 && !isnan(value), "", digits, out);
}

/* ---- values ---- */

static lc_code as_double(lc_jvm *vm, const lc_jvalue *value, double *out)
{
    if (value->type == LC_J_UNDEFINED) {
        return lc_jinja_fail_undefined(vm, value);
    }
    if (value->type == LC_J_FLOAT) {
        *out = value->number;
        return LC_OK;
    }
    if (!lc_jinja_is_integer(value)) {
        return lc_jinja_fail_type(vm, "must be real number, not %s", value);
    }
    *out = (double)value->integer;
    return LC_OK;
}

/* ---- % ---- */

typedef struct percent_reader {
    lc_jvm *vm;
    const char *at, *end;
    const lc_jvalue *arguments; /* one, or a tuple of them */
    size_t next;
    bool is_tuple, uses_names;
    lc_text *out;
} percent_reader;

static lc_code next_argument(percent_reader *r, lc_jvalue *out)
{
    const size_t count = r->is_tuple ? r->arguments->list->count : 1;
    if (r->next >= count) {
        return lc_jinja_fail(r->vm, "not enough arguments for format string");
    }
    *out = r->is_tuple ? r->arguments->list->items[r->next] : *r->arguments;
    r->next++;
    return LC_OK;
}

/* %(name)s */
static lc_code named_argument(percent_reader *r, lc_jvalue *out)
{
    const char *begin = r->at;
    int depth = 1;
    if (r->arguments->type != LC_J_DICT) {
        return lc_jinja_fail(r->vm, "format requires a mapping");
    }
    for (; r->at < r->end && depth > 0; r->at++) {
        depth += *r->at == '(' ? 1 : *r->at == ')' ? -1 : 0;
    }
    if (depth > 0) {
        return lc_jinja_fail(r->vm, "incomplete format key");
    }
    const lc_jvalue *found =
        lc_jinja_find_text(r->arguments->dict, begin, (size_t)(r->at - begin) - 1);
    if (found == NULL) {
        return lc_jinja_fail(r->vm, "'%.*s'", (int)(r->at - begin) - 1, begin);
    }
    *out = *found;
    r->uses_names = true;
    return LC_OK;
}

static lc_code read_number(percent_reader *r, int64_t *out)
{
    lc_jvalue value = {.type = LC_J_MISSING};
    if (r->at < r->end && *r->at == '*') {
        r->at++;
        LC_TRY(next_argument(r, &value));
        if (!lc_jinja_is_integer(&value)) {
            return lc_jinja_fail(r->vm, "* wants int");
        }
        *out = value.integer;
        return LC_OK;
    }
    *out = 0;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9' && *out <= MAX_WIDTH) {
        *out = *out * 10 + (*r->at++ - '0');
    }
    return LC_OK;
}

static lc_code read_percent_spec(percent_reader *r, format_spec *spec)
{
    bool is_left = false, has_zero = false;
    for (; r->at < r->end && *r->at != '\0' && strchr("-+ #0", *r->at) != NULL; r->at++) {
        is_left = is_left || *r->at == '-';
        has_zero = has_zero || *r->at == '0';
        spec->is_alternate = spec->is_alternate || *r->at == '#';
        if (*r->at == '+' || (*r->at == ' ' && spec->sign != '+')) {
            spec->sign = *r->at;
        }
    }
    LC_TRY(read_number(r, &spec->width));
    if (spec->width < 0) {
        is_left = true;
        spec->width = -spec->width;
    }
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        LC_TRY(read_number(r, &spec->precision));
        spec->precision = spec->precision < 0 ? 0 : spec->precision;
    }
    while (r->at < r->end && (*r->at == 'l' || *r->at == 'h' || *r->at == 'L')) {
        r->at++;
    }
    spec->align = is_left ? '<' : has_zero ? '=' : '>';
    spec->fill = lc_jinja_literal(has_zero && !is_left ? "0" : " ");
    if (spec->width > MAX_WIDTH || spec->precision > MAX_PRECISION) {
        return lc_jinja_fail(r->vm, "a format wider than %d or finer than %d is not supported",
                             MAX_WIDTH, MAX_PRECISION);
    }
    return LC_OK;
}

static lc_code percent_text(percent_reader *r, format_spec *spec, const lc_jvalue *value, char type)
{
    lc_jvalue text;
    LC_TRY(type == 's' ? lc_jinja_str(r->vm, value, &text) : lc_jinja_repr(r->vm, value, &text));
    spec->align = spec->align == '=' ? '>' : spec->align;
    spec->fill = lc_jinja_literal(" ");
    return lay_out_text(r->vm, spec, &text, '>', r->out);
}

static lc_code percent_int(percent_reader *r, format_spec *spec, const lc_jvalue *value, char type)
{
    int64_t number = 0;
    const bool is_decimal = type == 'd' || type == 'i' || type == 'u';
    if (value->type == LC_J_FLOAT && is_decimal && isfinite(value->number) &&
        fabs(value->number) < 0x1p63) {
        number = (int64_t)value->number;
    } else if (lc_jinja_is_integer(value)) {
        number = value->integer;
    } else if (value->type == LC_J_UNDEFINED && is_decimal) {
        return lc_jinja_fail_undefined(r->vm, value);
    } else {
        return lc_jinja_fail(r->vm,
                             is_decimal ? "%%%c format: a real number is required, not %s"
                                        : "%%%c format: an integer is required, not %s",
                             type, lc_jinja_type_name(value));
    }
    spec->type = is_decimal ? 'd' : type;
    if (spec->precision > 0) { /* at least so many digits */
        char digits[MAX_PRECISION + 80];
        (void)snprintf(digits, sizeof digits,
                       type == 'x'   ? "%0*" PRIx64
                       : type == 'X' ? "%0*" PRIX64
                       : type == 'o' ? "%0*" PRIo64
                                     : "%0*" PRIu64,
                       (int)spec->precision, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
        return lay_out_number(r->vm, spec, number < 0,
                              type == 'x'   ? "0x"
                              : type == 'X' ? "0X"
                              : type == 'o' ? "0o"
                                            : "",
                              digits, r->out);
    }
    return format_int(r->vm, spec, number, r->out);
}

static lc_code percent_char(percent_reader *r, format_spec *spec, const lc_jvalue *value)
{
    char text[8];
    lc_jvalue one = *value;
    if (lc_jinja_is_integer(value) && value->integer >= 0 && value->integer < 0x110000 &&
        !(value->integer >= 0xd800 && value->integer < 0xe000)) {
        one = lc_jinja_text(text, lc_utf8_encode((uint32_t)value->integer, text));
    }
    if (one.type != LC_J_STRING || lc_jinja_count_chars(one.text, one.bytes) != 1) {
        return lc_jinja_fail(r->vm, "%%c requires int or char");
    }
    spec->align = spec->align == '=' ? '>' : spec->align;
    spec->fill = lc_jinja_literal(" ");
    spec->precision = -1;
    return lay_out_text(r->vm, spec, &one, '>', r->out);
}

static lc_code percent_one(percent_reader *r)
{
    format_spec spec = {.precision = -1, .sign = '-'};
    lc_jvalue value = {.type = LC_J_MISSING};
    double number = 0.0;
    if (r->at < r->end && *r->at == '(') {
        r->at++;
        LC_TRY(named_argument(r, &value));
    }
    LC_TRY(read_percent_spec(r, &spec));
    if (r->at == r->end) {
        return lc_jinja_fail(r->vm, "incomplete format");
    }
    const char type = *r->at++;
    if (type == '%') {
        lc_text_add(r->out, "%", 1);
        return LC_OK;
    }
    if (strchr("srdiuxXocfFeEgG", type) == NULL) {
        return lc_jinja_fail(r->vm, "unsupported format character '%c' (0x%x)", type,
                             (unsigned char)type);
    }
    if (value.type == LC_J_MISSING) {
        LC_TRY(next_argument(r, &value));
    }
    if (type == 's' || type == 'r') {
        return percent_text(r, &spec, &value, type);
    }
    if (type == 'c') {
        return percent_char(r, &spec, &value);
    }
    if (strchr("diuxXo", type) != NULL) {
        return percent_int(r, &spec, &value, type);
    }
    spec.type = type;
    LC_TRY(as_double(r->vm, &value, &number));
    return format_double(r->vm, &spec, number, r->out);
}

static lc_code percent_all(percent_reader *r)
{
    while (r->at < r->end) {
        const char *sign = memchr(r->at, '%', (size_t)(r->end - r->at));
        const char *to = sign != NULL ? sign : r->end;
        lc_text_add(r->out, r->at, (size_t)(to - r->at));
        r->at = sign != NULL ? sign + 1 : r->end;
        if (sign != NULL) {
            LC_TRY(percent_one(r));
        }
        LC_TRY(lc_jinja_check_size(r->vm, r->out));
    }
    const lc_jtype type = (lc_jtype)r->arguments->type;
    const bool is_mapping =
        type == LC_J_DICT || type == LC_J_LIST || type == LC_J_RANGE || type == LC_J_UNDEFINED;
    const size_t count = r->is_tuple ? r->arguments->list->count : 1;
    if (r->next < count && !(is_mapping && !r->is_tuple)) {
        return lc_jinja_fail(r->vm, "not all arguments converted during string formatting");
    }
    return LC_OK;
}

/* Arguments of a safe format are escaped. */
static lc_code escape_arguments(lc_jvm *vm, const lc_jvalue *arguments, lc_jvalue *out)
{
    *out = *arguments;
    if (arguments->type == LC_J_STRING) {
        return lc_jinja_escape(vm, arguments, out);
    }
    if (arguments->type == LC_J_TUPLE) {
        lc_jlist *list = NULL;
        LC_TRY(lc_jinja_list(vm, LC_J_TUPLE, arguments->list->count, &list, out));
        for (size_t i = 0; i < list->count; i++) {
            LC_TRY(escape_arguments(vm, &arguments->list->items[i], &list->items[i]));
        }
    }
    return LC_OK;
}

lc_code lc_jinja_percent(lc_jvm *vm, const lc_jvalue *format, const lc_jvalue *arguments,
                         lc_jvalue *out)
{
    lc_text text;
    lc_jvalue escaped = *arguments;
    LC_TRY(lc_jinja_pay(vm, format->bytes));
    if ((format->flags & LC_J_SAFE) != 0) {
        LC_TRY(lc_jinja_enter(vm));
        LC_TRY(escape_arguments(vm, arguments, &escaped));
        lc_jinja_leave(vm);
    }
    percent_reader reader = {.vm = vm,
                             .at = format->text,
                             .end = format->text + format->bytes,
                             .arguments = &escaped,
                             .is_tuple = escaped.type == LC_J_TUPLE,
                             .out = &text};
    lc_text_init(&text);
    LC_TRY(lc_jinja_take(vm, &text, percent_all(&reader), out));
    out->flags = format->flags;
    return LC_OK;
}

/* ---- str.format ---- */

typedef struct field_reader {
    lc_jvm *vm;
    const char *at, *end;
    const lc_jcall *call;
    size_t next;        /* of the fields without a name */
    bool counts, names; /* {} and {0} do not mix */
    bool is_safe;
    lc_text *out;
} field_reader;

static bool is_align(char c)
{
    return c == '<' || c == '>' || c == '^' || c == '=';
}

static void read_width(const char **at, const char *end, int64_t *out)
{
    int64_t value = 0;
    while (*at < end && **at >= '0' && **at <= '9' && value <= MAX_WIDTH) {
        value = value * 10 + (*(*at)++ - '0');
    }
    *out = value;
}

static lc_code parse_spec(lc_jvm *vm, const char *at, const char *end, format_spec *spec)
{
    size_t length = 1;
    *spec = (format_spec){.fill = lc_jinja_literal(" "), .precision = -1, .sign = '-'};
    if (at < end) {
        (void)lc_utf8_next(at, (size_t)(end - at), &length);
    }
    if (at + length < end && is_align(at[length])) {
        spec->fill = lc_jinja_text(at, length);
        spec->align = at[length];
        at += length + 1;
    } else if (at < end && is_align(*at)) {
        spec->align = *at++;
    }
    if (at < end && (*at == '+' || *at == '-' || *at == ' ')) {
        spec->sign = *at++;
    }
    if (at < end && *at == '#') {
        spec->is_alternate = true;
        at++;
    }
    if (at < end && *at == '0') {
        if (spec->align == '\0') {
            spec->fill = lc_jinja_literal("0");
            spec->align = '=';
        }
        at++;
    }
    read_width(&at, end, &spec->width);
    if (at < end && (*at == ',' || *at == '_')) {
        spec->grouping = *at++;
    }
    if (at < end && *at == '.') {
        at++;
        if (at == end || *at < '0' || *at > '9') {
            return lc_jinja_fail(vm, "Format specifier missing precision");
        }
        read_width(&at, end, &spec->precision);
    }
    if (at < end) {
        spec->type = *at++;
    }
    if (at != end || spec->width > MAX_WIDTH || spec->precision > MAX_PRECISION) {
        return lc_jinja_fail(vm, "Invalid format specifier");
    }
    return LC_OK;
}

static lc_code format_text_value(lc_jvm *vm, format_spec *spec, const lc_jvalue *value,
                                 lc_text *out)
{
    if ((spec->type != '\0' && spec->type != 's') || spec->align == '=' || spec->sign != '-' ||
        spec->grouping != '\0' || spec->is_alternate) {
        return lc_jinja_fail(vm, "this format is not allowed for object of type 'str'");
    }
    return lay_out_text(vm, spec, value, '<', out);
}

static lc_code format_number_value(lc_jvm *vm, format_spec *spec, const lc_jvalue *value,
                                   lc_text *out)
{
    double number = 0.0;
    const bool is_int = lc_jinja_is_integer(value);
    if (is_int && (spec->type == '\0' || strchr("dxXobn", spec->type) != NULL)) {
        return spec->precision >= 0
                   ? lc_jinja_fail(vm, "Precision not allowed in integer format specifier")
                   : format_int(vm, spec, value->integer, out);
    }
    if (spec->type == '\0' && spec->precision < 0) { /* repr, laid out */
        lc_jvalue text;
        char digits[64];
        LC_TRY(lc_jinja_str(vm, value, &text));
        const bool is_minus = text.text[0] == '-';
        (void)snprintf(digits, sizeof digits, "%.*s", (int)text.bytes - is_minus,
                       text.text + is_minus);
        return lay_out_number(vm, spec, is_minus, "", digits, out);
    }
    if (spec->type == '\0' || strchr("eEfFgG%", spec->type) == NULL) {
        return lc_jinja_fail(vm, "format: this code is not supported for object of type '%s'",
                             lc_jinja_type_name(value));
    }
    LC_TRY(as_double(vm, value, &number));
    return format_double(vm, spec, number, out);
}

static lc_code format_value(field_reader *r, const lc_jvalue *value, const char *spec_at,
                            const char *spec_end)
{
    format_spec spec;
    if (spec_at == spec_end) {
        lc_jvalue text = *value;
        if (r->is_safe && (value->flags & LC_J_SAFE) == 0) {
            LC_TRY(lc_jinja_escape(r->vm, value, &text));
        }
        return lc_jinja_add_str(r->vm, &text, r->out);
    }
    LC_TRY(parse_spec(r->vm, spec_at, spec_end, &spec));
    if (value->type == LC_J_STRING) {
        return format_text_value(r->vm, &spec, value, r->out);
    }
    if (lc_jinja_is_integer(value) || value->type == LC_J_FLOAT) {
        return format_number_value(r->vm, &spec, value, r->out);
    }
    return lc_jinja_fail_type(r->vm, "unsupported format string passed to %s.__format__", value);
}

/* The argument that a field begins with: {}, {0} or {name}. */
static lc_code first_argument(field_reader *r, const char *at, const char *end, lc_jvalue *out)
{
    size_t index = 0;
    bool is_number = at < end;
    for (const char *digit = at; digit < end; digit++) {
        is_number = is_number && *digit >= '0' && *digit <= '9';
        index = index < MAX_WIDTH ? index * 10 + (size_t)(*digit - '0') : index;
    }
    if (at < end && !is_number) {
        for (size_t i = 0; i < r->call->named_count; i++) {
            if (r->call->names[i].bytes == (size_t)(end - at) &&
                memcmp(r->call->names[i].text, at, (size_t)(end - at)) == 0) {
                *out = r->call->named[i];
                return LC_OK;
            }
        }
        return lc_jinja_fail(r->vm, "'%.*s'", (int)(end - at), at);
    }
    if ((at == end && r->names) || (at < end && r->counts)) {
        return lc_jinja_fail(r->vm, "cannot switch between manual field specification and "
                                    "automatic field numbering");
    }
    r->counts = r->counts || at == end;
    r->names = r->names || at < end;
    index = at == end ? r->next++ : index;
    if (index >= r->call->count) {
        return lc_jinja_fail(r->vm, "Replacement index %zu out of range for positional args tuple",
                             index);
    }
    *out = r->call->args[index];
    return LC_OK;
}

/* .attribute and [item] behind it. */
static lc_code follow_path(field_reader *r, const char *at, const char *end, lc_jvalue *value)
{
    while (at < end) {
        const bool is_item = *at == '[';
        const char *from = ++at;
        while (at < end && (is_item ? *at != ']' : *at != '.' && *at != '[')) {
            at++;
        }
        if (from == at || (is_item && at == end)) {
            return lc_jinja_fail(r->vm, "Empty attribute in format string");
        }
        lc_jvalue name = lc_jinja_text(from, (size_t)(at - from));
        int64_t index = 0;
        if (is_item) {
            at++;
            if (strspn(from, "0123456789") >= name.bytes &&
                lc_jinja_parse_int(&name, 10, &index) == LC_J_NUMBER) {
                name = lc_jinja_int(index);
            }
        }
        const lc_jvalue object = *value;
        LC_TRY(is_item ? lc_jinja_item(r->vm, &object, &name, value)
                       : lc_jinja_attribute(r->vm, &object, &name, value));
    }
    return LC_OK;
}

static lc_code convert(field_reader *r, char how, lc_jvalue *value)
{
    switch (how) {
    case 's':
        return lc_jinja_str(r->vm, value, value);
    case 'r':
        return lc_jinja_repr(r->vm, value, value);
    default:
        return lc_jinja_fail(r->vm, "format: conversion '%c' is not supported", how);
    }
}

static const char *find_in(const char *at, const char *end, const char *set)
{
    while (at < end && (*at == '\0' || strchr(set, *at) == NULL)) {
        at++;
    }
    return at;
}

static lc_code format_field(field_reader *r)
{
    lc_jvalue value;
    const char *close = memchr(r->at, '}', (size_t)(r->end - r->at));
    if (close == NULL) {
        return lc_jinja_fail(r->vm, "expected '}' before end of string");
    }
    const char *end = find_in(r->at, close, "!:"), *path = find_in(r->at, end, ".[");
    if (memchr(r->at, '{', (size_t)(close - r->at)) != NULL) {
        return lc_jinja_fail(r->vm, "format: fields inside fields are not supported");
    }
    LC_TRY(first_argument(r, r->at, path, &value));
    LC_TRY(follow_path(r, path, end, &value));
    if (end < close && *end == '!') {
        if (end + 1 == close) {
            return lc_jinja_fail(r->vm, "unmatched '{' in format spec");
        }
        LC_TRY(convert(r, end[1], &value));
        end += 2;
        if (end < close && *end != ':') {
            return lc_jinja_fail(r->vm, "expected ':' after conversion specifier");
        }
    }
    LC_TRY(format_value(r, &value, end < close ? end + 1 : close, close));
    r->at = close + 1;
    return LC_OK;
}

static lc_code format_all(field_reader *r)
{
    while (r->at < r->end) {
        const char *brace = find_in(r->at, r->end, "{}");
        lc_text_add(r->out, r->at, (size_t)(brace - r->at));
        r->at = brace;
        if (brace == r->end) {
            return LC_OK;
        }
        if (brace + 1 < r->end && brace[1] == *brace) {
            lc_text_add(r->out, brace, 1);
            r->at += 2;
            continue;
        }
        if (*brace == '}' || brace + 1 == r->end) {
            return lc_jinja_fail(r->vm, "Single '%c' encountered in format string", *brace);
        }
        r->at++;
        LC_TRY(format_field(r));
        LC_TRY(lc_jinja_check_size(r->vm, r->out));
    }
    return LC_OK;
}

lc_code lc_jinja_format(lc_jvm *vm, const lc_jvalue *format, const lc_jcall *call, lc_jvalue *out)
{
    lc_text text;
    field_reader reader = {.vm = vm,
                           .at = format->text,
                           .end = format->text + format->bytes,
                           .call = call,
                           .is_safe = (format->flags & LC_J_SAFE) != 0,
                           .out = &text};
    LC_TRY(lc_jinja_pay(vm, format->bytes));
    lc_text_init(&text);
    LC_TRY(lc_jinja_take(vm, &text, format_all(&reader), out));
    out->flags = format->flags;
    return LC_OK;
}
