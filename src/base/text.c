/*
 * Building texts: a growing buffer, JSON strings, shortest numbers, and whole trees printed again.
 * Used by every writer of JSON and CSV, and by the chat template's tojson.
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "lorac/mem.h"

#define SMALLEST_CAPACITY 128
#define MAX_DIGITS        17 /* always enough for a double */

void lc_text_init(lc_text *text)
{
    *text = (lc_text){0};
}

void lc_text_release(lc_text *text)
{
    lc_free(text->data);
    lc_text_init(text);
}

/* Room for `extra` bytes and a NUL; false (and remembered) when there is none. */
static bool reserve(lc_text *text, size_t extra)
{
    size_t needed, doubled;
    if (text->failed) {
        return false;
    }
    if (!lc_add_size(text->length, extra, &needed) || !lc_add_size(needed, 1, &needed)) {
        text->failed = true;
        return false;
    }
    if (needed <= text->capacity) {
        return true;
    }
    if (!lc_mul_size(text->capacity, 2, &doubled) || doubled < needed) {
        doubled = needed;
    }
    const size_t capacity = doubled < SMALLEST_CAPACITY ? SMALLEST_CAPACITY : doubled;
    char *data = lc_realloc(text->data, capacity);
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void lc_text_add(lc_text *text, const char *bytes, size_t length)
{
    if (!reserve(text, length)) {
        return;
    }
    if (length > 0) {
        memcpy(text->data + text->length, bytes, length);
    }
    text->length += length;
    text->data[text->length] = '\0';
}

static void add_string(lc_text *text, const char *string)
{
    lc_text_add(text, string, strlen(string));
}

void lc_text_addf(lc_text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)length)) {
        (void)vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

lc_code lc_text_finish(lc_text *text, const char *what, lc_err *err)
{
    if (text->failed) {
        return lc_fail(err, LC_ERR_MEMORY, "%s: out of memory for a text of %zu bytes and more",
                       what, text->length);
    }
    if (text->data == NULL) {
        lc_text_add(text, "", 0); /* an empty text is a text too */
        return text->failed ? lc_fail(err, LC_ERR_MEMORY, "%s: out of memory", what) : LC_OK;
    }
    return LC_OK;
}

static const char *short_escape(unsigned char c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

void lc_text_add_json_string(lc_text *text, const char *bytes, size_t length)
{
    size_t plain = 0; /* start of what needs no escape */
    lc_text_add(text, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        lc_text_add(text, bytes + plain, i - plain);
        plain = i + 1;
        if (short_escape(c) != NULL) {
            lc_text_add(text, short_escape(c), 2);
        } else {
            lc_text_addf(text, "\\u%04x", c);
        }
    }
    lc_text_add(text, bytes + plain, length - plain);
    lc_text_add(text, "\"", 1);
}

/* value = digits[0].digits[1].. * 10^exponent, without trailing zeros. */
typedef struct decimal {
    char digits[MAX_DIGITS + 2];
    int count;
    int exponent;
} decimal;

/* The nearest decimal of `count` digits. Does not depend on the locale's decimal point. */
static decimal round_to_digits(double value, int count)
{
    char text[48];
    decimal d = {.count = 0};
    (void)snprintf(text, sizeof text, "%.*e", count - 1, value);
    const char *at = text;
    for (; *at != 'e' && *at != '\0' && d.count < MAX_DIGITS; at++) {
        if (*at >= '0' && *at <= '9') {
            d.digits[d.count++] = *at;
        }
    }
    d.exponent = *at == 'e' ? (int)strtol(at + 1, NULL, 10) : 0;
    return d;
}

static double value_of(const decimal *d)
{
    char text[48];
    (void)snprintf(text, sizeof text, "%.*se%d", d->count, d->digits, d->exponent - d->count + 1);
    return strtod(text, NULL);
}

/* The 16 digits just above the first 16 of 17; false when all are nines. */
static bool round_up_16(const decimal *seventeen, decimal *out)
{
    *out = *seventeen;
    out->count = 16;
    for (int i = 15; i >= 0; i--) {
        if (out->digits[i] != '9') {
            out->digits[i]++;
            return true;
        }
        out->digits[i] = '0';
    }
    return false;
}

static bool is_same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* The fewest digits that read back as `value` (positive, finite, not 0). */
static decimal shortest(double value)
{
    /* 15 digits never say too much about a normal number; a subnormal one may need fewer. */
    int count = value < DBL_MIN ? 1 : 15;
    decimal d = round_to_digits(value, count);
    while (!is_same(value_of(&d), value) && count < 16) {
        d = round_to_digits(value, ++count);
    }
    if (!is_same(value_of(&d), value)) {
        /* Next to a power of two the nearest 16 digits may miss while those above read back. */
        const decimal exact = round_to_digits(value, 17);
        if (!round_up_16(&exact, &d) || !is_same(value_of(&d), value)) {
            d = exact;
        }
    }
    while (d.count > 1 && d.digits[d.count - 1] == '0') {
        d.count--;
    }
    return d;
}

/* Layout as Python's repr: an exponent below 1e-4 and from 1e16 on. */
static void add_decimal(lc_text *text, const decimal *d)
{
    if (d->exponent < -4 || d->exponent >= 16) {
        lc_text_add(text, d->digits, 1);
        if (d->count > 1) {
            lc_text_add(text, ".", 1);
            lc_text_add(text, d->digits + 1, (size_t)d->count - 1);
        }
        lc_text_addf(text, "e%c%02d", d->exponent < 0 ? '-' : '+', abs(d->exponent));
        return;
    }
    if (d->exponent < 0) {
        lc_text_addf(text, "0.%.*s%.*s", -d->exponent - 1, "000", d->count, d->digits);
        return;
    }
    for (int i = 0; i <= d->exponent || i < d->count; i++) {
        if (i == d->exponent + 1) {
            lc_text_add(text, ".", 1);
        }
        lc_text_add(text, i < d->count ? &d->digits[i] : "0", 1);
    }
}

void lc_text_add_double(lc_text *text, double value)
{
    if (!isfinite(value)) {
        add_string(text, "null");
        return;
    }
    if (fabs(value) <= 0x1p53 && is_same(trunc(value), value)) {
        if (is_same(value, -0.0)) {
            add_string(text, "-0.0");
        } else {
            lc_text_addf(text, "%" PRId64, (int64_t)value);
        }
        return;
    }
    if (value < 0) {
        lc_text_add(text, "-", 1);
    }
    const decimal d = shortest(fabs(value));
    add_decimal(text, &d);
}

static void add_scalar(lc_text *text, const cJSON *item)
{
    if (cJSON_IsString(item)) {
        lc_text_add_json_string(text, item->valuestring, strlen(item->valuestring));
    } else if (cJSON_IsNumber(item) && item->valuestring != NULL) {
        add_string(text, item->valuestring); /* a spelling that the double cannot keep */
    } else if (cJSON_IsNumber(item)) {
        lc_text_add_double(text, item->valuedouble);
    } else if (cJSON_IsBool(item)) {
        add_string(text, cJSON_IsTrue(item) ? "true" : "false");
    } else {
        add_string(text, "null");
    }
}

static bool is_container(const cJSON *item)
{
    return cJSON_IsArray(item) || cJSON_IsObject(item);
}

static void add_start(lc_text *text, const cJSON *item, bool is_member, bool spaced)
{
    if (is_member) {
        lc_text_add_json_string(text, item->string, strlen(item->string));
        lc_text_add(text, ": ", spaced ? 2 : 1);
    }
    if (is_container(item)) {
        lc_text_add(text, cJSON_IsObject(item) ? "{" : "[", 1);
    } else {
        add_scalar(text, item);
    }
}

void lc_text_add_json(lc_text *text, const cJSON *item, bool spaced)
{
    /* Open containers; no recursion. The scanner lets no deeper tree in, and nobody builds one. */
    const cJSON *open[LC_MAX_JSON_DEPTH];
    int depth = 0;
    add_start(text, item, false, spaced);
    const cJSON *next = item->child; /* NULL: the innermost container ends here */
    if (!is_container(item)) {
        return;
    }
    open[depth++] = item;
    while (depth > 0) {
        const cJSON *parent = open[depth - 1];
        if (next == NULL) {
            lc_text_add(text, cJSON_IsObject(parent) ? "}" : "]", 1);
            next = parent->next;
            depth--;
            if (depth > 0 && next != NULL) {
                lc_text_add(text, ", ", spaced ? 2 : 1);
            }
            continue;
        }
        add_start(text, next, cJSON_IsObject(parent), spaced);
        if (is_container(next)) {
            if (depth == LC_MAX_JSON_DEPTH) {
                text->failed = true;
                return;
            }
            open[depth++] = next;
            next = next->child;
            continue;
        }
        next = next->next;
        if (next != NULL) {
            lc_text_add(text, ", ", spaced ? 2 : 1);
        }
    }
}
