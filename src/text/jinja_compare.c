/* Truth, equality, order, membership and length of values, as Python has them. */
#include <math.h>

#include "text/jinja_run.h"
#include "text/utf8.h"

bool lc_jinja_is_true(const lc_jvalue *value)
{
    switch (value->type) {
    case LC_J_MISSING:
    case LC_J_UNDEFINED:
    case LC_J_NONE:
        return false;
    case LC_J_BOOL:
    case LC_J_INT:
        return value->integer != 0;
    case LC_J_FLOAT:
        return value->number < 0.0 || value->number > 0.0 || isnan(value->number);
    case LC_J_STRING:
        return value->bytes > 0;
    case LC_J_LIST:
    case LC_J_TUPLE:
        return value->list->count > 0;
    case LC_J_DICT:
    case LC_J_KEYS:
    case LC_J_VALUES:
    case LC_J_ITEMS:
        return value->dict->count > 0;
    case LC_J_RANGE:
        return value->range->count > 0;
    default:
        return true; /* a loop is not empty while it runs */
    }
}

bool lc_jinja_is_same(const lc_jvalue *a, const lc_jvalue *b)
{
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case LC_J_NONE:
        return true;
    case LC_J_BOOL:
    case LC_J_INT:
        return a->integer == b->integer;
    case LC_J_FLOAT:
        return memcmp(&a->number, &b->number, sizeof a->number) == 0;
    case LC_J_STRING:
        return a->bytes == b->bytes && (a->text == b->text || a->bytes == 0);
    case LC_J_LIST:
    case LC_J_TUPLE:
        return a->list == b->list;
    default:
        return a->iterator == b->iterator; /* one pointer, whatever it is called */
    }
}

/* ---- equality ---- */

static double as_double(const lc_jvalue *value)
{
    return value->type == LC_J_FLOAT ? value->number : (double)value->integer;
}

/* -1, 0, 1; 2 where one is not a number. Integers against doubles exactly. */
static int compare_mixed(int64_t integer, double number)
{
    if (isnan(number)) {
        return 2;
    }
    if (number >= 0x1p63) {
        return -1;
    }
    if (number < -0x1p63) {
        return 1;
    }
    const int64_t whole = (int64_t)number;
    if (integer != whole) {
        return integer < whole ? -1 : 1;
    }
    const double rest = number - (double)whole;
    return rest > 0.0 ? -1 : rest < 0.0 ? 1 : 0;
}

static int compare_big(const lc_jvalue *a, const lc_jvalue *b)
{
    if (a->type == LC_J_BIG_INT && b->type == LC_J_BIG_INT) {
        const bool is_minus = a->text[0] == '-';
        if (is_minus != (b->text[0] == '-')) {
            return is_minus ? -1 : 1;
        }
        int order = a->bytes != b->bytes ? (a->bytes < b->bytes ? -1 : 1)
                                         : memcmp(a->text, b->text, a->bytes);
        order = order < 0 ? -1 : order > 0;
        return is_minus ? -order : order;
    }
    if (a->type == LC_J_BIG_INT) {
        if (b->type == LC_J_FLOAT) {
            return isnan(b->number) ? 2 : a->text[0] == '-' ? -1 : 1; /* near enough */
        }
        return a->text[0] == '-' ? -1 : 1;
    }
    const int order = compare_big(b, a);
    return order == 2 ? 2 : -order;
}

static int compare_numbers(const lc_jvalue *a, const lc_jvalue *b)
{
    if (a->type == LC_J_BIG_INT || b->type == LC_J_BIG_INT) {
        return compare_big(a, b);
    }
    if (lc_jinja_is_integer(a) && lc_jinja_is_integer(b)) {
        return a->integer < b->integer ? -1 : a->integer > b->integer;
    }
    if (lc_jinja_is_integer(a)) {
        return compare_mixed(a->integer, b->number);
    }
    if (lc_jinja_is_integer(b)) {
        const int order = compare_mixed(b->integer, a->number);
        return order == 2 ? 2 : -order;
    }
    const double x = as_double(a), y = as_double(b);
    return x < y ? -1 : x > y ? 1 : isnan(x) || isnan(y) ? 2 : 0;
}

static int compare_texts(const lc_jvalue *a, const lc_jvalue *b)
{
    const size_t bytes = a->bytes < b->bytes ? a->bytes : b->bytes;
    const int order = memcmp(a->text, b->text, bytes); /* UTF-8 sorts as code points do */
    return order != 0 ? (order < 0 ? -1 : 1) : a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

static lc_code are_lists_equal(lc_jvm *vm, const lc_jlist *a, const lc_jlist *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        LC_TRY(lc_jinja_equal(vm, &a->items[i], &b->items[i], out));
    }
    return LC_OK;
}

static lc_code are_dicts_equal(lc_jvm *vm, const lc_jdict *a, const lc_jdict *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        lc_jvalue *other = NULL;
        LC_TRY(lc_jinja_find(vm, b, &a->entries[i].key, &other));
        *out = other != NULL;
        if (other != NULL) {
            LC_TRY(lc_jinja_equal(vm, &a->entries[i].value, other, out));
        }
    }
    return LC_OK;
}

static lc_code are_keys_equal(lc_jvm *vm, const lc_jdict *a, const lc_jdict *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        lc_jvalue *other = NULL;
        LC_TRY(lc_jinja_find(vm, b, &a->entries[i].key, &other));
        *out = other != NULL;
    }
    return LC_OK;
}

static bool are_ranges_equal(const lc_jrange *a, const lc_jrange *b)
{
    return a->count == b->count &&
           (a->count == 0 || (a->start == b->start && (a->count == 1 || a->step == b->step)));
}

static lc_code are_nested_equal(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b, bool *out)
{
    lc_code code = LC_OK;
    LC_TRY(lc_jinja_enter(vm));
    if (a->type == LC_J_LIST || a->type == LC_J_TUPLE) {
        code = are_lists_equal(vm, a->list, b->list, out);
    } else if (a->type == LC_J_KEYS) {
        code = are_keys_equal(vm, a->dict, b->dict, out);
    } else {
        code = are_dicts_equal(vm, a->dict, b->dict, out);
    }
    lc_jinja_leave(vm);
    return code;
}

lc_code lc_jinja_equal(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b, bool *out)
{
    LC_TRY(lc_jinja_pay(vm, a->type == LC_J_STRING ? a->bytes : 1));
    if (lc_jinja_is_number(a) && lc_jinja_is_number(b)) {
        *out = compare_numbers(a, b) == 0;
        return LC_OK;
    }
    *out = false;
    if (a->type != b->type) {
        return LC_OK;
    }
    switch (a->type) {
    case LC_J_UNDEFINED:
    case LC_J_NONE:
        *out = true;
        return LC_OK;
    case LC_J_STRING:
        *out = a->bytes == b->bytes && memcmp(a->text, b->text, a->bytes) == 0;
        return LC_OK;
    case LC_J_RANGE:
        *out = are_ranges_equal(a->range, b->range);
        return LC_OK;
    case LC_J_LIST:
    case LC_J_TUPLE:
    case LC_J_DICT:
    case LC_J_KEYS:
    case LC_J_ITEMS:
        return are_nested_equal(vm, a, b, out);
    default:
        *out = lc_jinja_is_same(a, b);
        return LC_OK;
    }
}

/* ---- order ---- */

static bool holds(int order, lc_jorder wanted)
{
    switch (wanted) {
    case LC_J_LESS:
        return order < 0;
    case LC_J_LESS_EQUAL:
        return order <= 0;
    case LC_J_GREATER:
        return order == 1;
    default:
        return order == 1 || order == 0;
    }
}

static lc_code order_lists(lc_jvm *vm, const lc_jlist *a, const lc_jlist *b, lc_jorder order,
                           bool *out)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        bool is_equal = false;
        LC_TRY(lc_jinja_pay(vm, 1));
        LC_TRY(lc_jinja_equal(vm, &a->items[i], &b->items[i], &is_equal));
        if (!is_equal && !lc_jinja_is_same(&a->items[i], &b->items[i])) {
            LC_TRY(lc_jinja_enter(vm));
            const lc_code code = lc_jinja_order(vm, &a->items[i], &b->items[i], order, out);
            lc_jinja_leave(vm);
            return code;
        }
    }
    *out = holds(a->count < b->count ? -1 : a->count > b->count, order);
    return LC_OK;
}

lc_code lc_jinja_order(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b, lc_jorder order,
                       bool *out)
{
    static const char *const signs[] = {"<", "<=", ">", ">="};
    if (lc_jinja_is_number(a) && lc_jinja_is_number(b)) {
        const int found = compare_numbers(a, b);
        *out = found != 2 && holds(found, order);
        return LC_OK;
    }
    if (a->type == LC_J_STRING && b->type == LC_J_STRING) {
        LC_TRY(lc_jinja_pay(vm, a->bytes));
        *out = holds(compare_texts(a, b), order);
        return LC_OK;
    }
    if (a->type == b->type && (a->type == LC_J_LIST || a->type == LC_J_TUPLE)) {
        return order_lists(vm, a->list, b->list, order, out);
    }
    if (a->type == LC_J_UNDEFINED || b->type == LC_J_UNDEFINED) {
        return lc_jinja_fail_undefined(vm, a->type == LC_J_UNDEFINED ? a : b);
    }
    return lc_jinja_fail(vm, "'%s' not supported between instances of '%s' and '%s'", signs[order],
                         lc_jinja_type_name(a), lc_jinja_type_name(b));
}

/* ---- membership, length ---- */

static lc_code contains_text(lc_jvm *vm, const lc_jvalue *item, const lc_jvalue *in, bool *out)
{
    if (item->type != LC_J_STRING) {
        return lc_jinja_fail_type(vm, "'in <string>' requires string as left operand, not %s",
                                  item);
    }
    LC_TRY(lc_jinja_pay(vm, in->bytes));
    *out = item->bytes == 0 ||
           (item->bytes <= in->bytes && memmem(in->text, in->bytes, item->text, item->bytes));
    return LC_OK;
}

static bool is_in_range(const lc_jrange *range, const lc_jvalue *item)
{
    if (!lc_jinja_is_number(item) || item->type == LC_J_BIG_INT || range->count == 0) {
        return false;
    }
    const double value = as_double(item);
    if (!(value >= -0x1p62 && value <= 0x1p62) || value < trunc(value) || value > trunc(value)) {
        return false;
    }
    const int64_t offset = (int64_t)value - range->start;
    return offset % range->step == 0 && offset / range->step >= 0 &&
           offset / range->step < range->count;
}

static lc_code contains_by_search(lc_jvm *vm, const lc_jvalue *item, const lc_jvalue *in, bool *out)
{
    lc_jiterator iterator;
    lc_jvalue each;
    bool has_next = false;
    LC_TRY(lc_jinja_iterate(vm, in, &iterator));
    *out = false;
    for (;;) {
        LC_TRY(lc_jinja_next(vm, &iterator, &each, &has_next));
        if (!has_next) {
            return LC_OK;
        }
        *out = lc_jinja_is_same(&each, item);
        if (!*out) {
            LC_TRY(lc_jinja_equal(vm, &each, item, out));
        }
        if (*out) {
            return LC_OK;
        }
    }
}

lc_code lc_jinja_contains(lc_jvm *vm, const lc_jvalue *item, const lc_jvalue *in, bool *out)
{
    lc_jvalue *found = NULL;
    switch (in->type) {
    case LC_J_STRING:
        return contains_text(vm, item, in, out);
    case LC_J_DICT:
    case LC_J_KEYS:
        LC_TRY(lc_jinja_check_hash(vm, item));
        LC_TRY(lc_jinja_find(vm, in->dict, item, &found));
        *out = found != NULL;
        return LC_OK;
    case LC_J_RANGE:
        *out = is_in_range(in->range, item);
        return LC_OK;
    case LC_J_LIST:
    case LC_J_TUPLE:
    case LC_J_VALUES:
    case LC_J_ITEMS:
    case LC_J_ITERATOR:
    case LC_J_UNDEFINED:
    case LC_J_LOOP:
        return contains_by_search(vm, item, in, out);
    default:
        return lc_jinja_fail_type(vm, "argument of type '%s' is not iterable", in);
    }
}

size_t lc_jinja_count_chars(const char *text, size_t bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return count;
}

lc_code lc_jinja_length(lc_jvm *vm, const lc_jvalue *value, bool may_lack, int64_t *out)
{
    switch (value->type) {
    case LC_J_UNDEFINED:
        *out = 0;
        return LC_OK;
    case LC_J_STRING:
        LC_TRY(lc_jinja_pay(vm, value->bytes));
        *out = (int64_t)lc_jinja_count_chars(value->text, value->bytes);
        return LC_OK;
    case LC_J_LIST:
    case LC_J_TUPLE:
        *out = (int64_t)value->list->count;
        return LC_OK;
    case LC_J_DICT:
    case LC_J_KEYS:
    case LC_J_VALUES:
    case LC_J_ITEMS:
        *out = (int64_t)value->dict->count;
        return LC_OK;
    case LC_J_RANGE:
        *out = value->range->count;
        return LC_OK;
    case LC_J_LOOP:
        return lc_jinja_loop_length(vm, value->loop, out);
    default:
        *out = -1;
        return may_lack ? LC_OK : lc_jinja_fail_type(vm, "object of type '%s' has no len()", value);
    }
}
