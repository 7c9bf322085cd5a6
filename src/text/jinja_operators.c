/* + - * / // % ** and signs, as Python has them; integers beyond 64 bits are an error. */
#include <math.h>

#include "lorac/mem.h"
#include "text/jinja_run.h"

static lc_code fail_operands(lc_jvm *vm, const char *sign, const lc_jvalue *a, const lc_jvalue *b)
{
    return lc_jinja_fail(vm, "unsupported operand type(s) for %s: '%s' and '%s'", sign,
                         lc_jinja_type_name(a), lc_jinja_type_name(b));
}

static lc_code fail_large(lc_jvm *vm)
{
    return lc_jinja_fail(vm, "an integer beyond 64 bits is not supported");
}

static const char *sign_of(lc_jkind kind)
{
    switch (kind) {
    case LC_N_ADD:
        return "+";
    case LC_N_SUBTRACT:
        return "-";
    case LC_N_MULTIPLY:
        return "*";
    case LC_N_DIVIDE:
        return "/";
    case LC_N_FLOOR_DIVIDE:
        return "//";
    case LC_N_MODULO:
        return "%";
    default:
        return "** or pow()";
    }
}

/* ---- integers ---- */

static lc_code int_power(lc_jvm *vm, int64_t base, int64_t power, lc_jvalue *out)
{
    int64_t result = 1;
    if (power < 0) {
        if (base == 0) {
            return lc_jinja_fail(vm, "0.0 cannot be raised to a negative power");
        }
        *out = lc_jinja_float(pow((double)base, (double)power));
        return LC_OK;
    }
    while (power > 0) {
        if ((power & 1) != 0 && !lc_mul_i64(result, base, &result)) {
            return fail_large(vm);
        }
        power >>= 1;
        if (power > 0 && !lc_mul_i64(base, base, &base)) {
            return fail_large(vm);
        }
    }
    *out = lc_jinja_int(result);
    return LC_OK;
}

/* Quotient rounded down, and the rest, which has the divisor's sign. */
static void floor_divide(int64_t a, int64_t b, int64_t *quotient, int64_t *rest)
{
    *quotient = a / b;
    *rest = a % b;
    if (*rest != 0 && (*rest < 0) != (b < 0)) {
        *quotient -= 1;
        *rest += b;
    }
}

/* Correctly rounded, as Python divides integers: where both fit a double, so does their ratio. */
static double true_divide(int64_t a, int64_t b)
{
    const bool fits = (a < (INT64_C(1) << 53) && a > -(INT64_C(1) << 53)) &&
                      (b < (INT64_C(1) << 53) && b > -(INT64_C(1) << 53));
    return fits ? (double)a / (double)b : (double)((long double)a / (long double)b);
}

static lc_code int_divide(lc_jvm *vm, lc_jkind kind, int64_t a, int64_t b, lc_jvalue *out)
{
    int64_t quotient = 0, rest = 0;
    if (b == 0) {
        return lc_jinja_fail(vm, kind == LC_N_DIVIDE   ? "division by zero"
                                 : kind == LC_N_MODULO ? "integer modulo by zero"
                                                       : "integer division or modulo by zero");
    }
    if (kind == LC_N_DIVIDE) {
        *out = lc_jinja_float(true_divide(a, b));
        return LC_OK;
    }
    if (b == -1) { /* INT64_MIN / -1 */
        if (kind == LC_N_FLOOR_DIVIDE && a == INT64_MIN) {
            return fail_large(vm);
        }
        *out = lc_jinja_int(kind == LC_N_MODULO ? 0 : -a);
        return LC_OK;
    }
    floor_divide(a, b, &quotient, &rest);
    *out = lc_jinja_int(kind == LC_N_MODULO ? rest : quotient);
    return LC_OK;
}

static lc_code int_binary(lc_jvm *vm, lc_jkind kind, int64_t a, int64_t b, lc_jvalue *out)
{
    int64_t result = 0;
    bool fits = true;
    switch (kind) {
    case LC_N_ADD:
        fits = lc_add_i64(a, b, &result);
        break;
    case LC_N_SUBTRACT:
        fits = !__builtin_sub_overflow(a, b, &result);
        break;
    case LC_N_MULTIPLY:
        fits = lc_mul_i64(a, b, &result);
        break;
    case LC_N_POWER:
        return int_power(vm, a, b, out);
    default:
        return int_divide(vm, kind, a, b, out);
    }
    *out = lc_jinja_int(result);
    return fits ? LC_OK : fail_large(vm);
}

/* ---- doubles ---- */

/* float_divmod of CPython. */
static void float_divmod(double a, double b, double *quotient, double *rest)
{
    double mod = fmod(a, b), div = (a - mod) / b;
    const bool is_zero = !(mod < 0.0) && !(mod > 0.0);
    if (!is_zero) {
        if ((b < 0.0) != (mod < 0.0)) {
            mod += b;
            div -= 1.0;
        }
    } else {
        mod = copysign(0.0, b);
    }
    double floored = floor(div);
    if (div < 0.0 || div > 0.0) {
        floored += div - floored > 0.5 ? 1.0 : 0.0;
    } else {
        floored = copysign(0.0, a / b);
    }
    *quotient = floored;
    *rest = mod;
}

static lc_code float_divide(lc_jvm *vm, lc_jkind kind, double a, double b, lc_jvalue *out)
{
    double quotient = 0.0, rest = 0.0;
    if (!(b < 0.0) && !(b > 0.0) && !isnan(b)) {
        return lc_jinja_fail(vm, kind == LC_N_DIVIDE   ? "float division by zero"
                                 : kind == LC_N_MODULO ? "float modulo"
                                                       : "float floor division by zero");
    }
    if (kind == LC_N_DIVIDE) {
        *out = lc_jinja_float(a / b);
        return LC_OK;
    }
    float_divmod(a, b, &quotient, &rest);
    *out = lc_jinja_float(kind == LC_N_MODULO ? rest : quotient);
    return LC_OK;
}

static lc_code float_power(lc_jvm *vm, double a, double b, lc_jvalue *out)
{
    const bool is_zero = !(a < 0.0) && !(a > 0.0) && !isnan(a);
    if (is_zero && b < 0.0) {
        return lc_jinja_fail(vm, "0.0 cannot be raised to a negative power");
    }
    if (a < 0.0 && isfinite(a) && isfinite(b) && (b < floor(b) || b > floor(b))) {
        return lc_jinja_fail(vm, "complex numbers are not supported");
    }
    const double result = pow(a, b);
    if (isinf(result) && isfinite(a) && isfinite(b)) {
        return lc_jinja_fail(vm, "(34, 'Numerical result out of range')");
    }
    *out = lc_jinja_float(result);
    return LC_OK;
}

static double as_double(const lc_jvalue *value)
{
    return value->type == LC_J_FLOAT ? value->number : (double)value->integer;
}

static lc_code number_binary(lc_jvm *vm, lc_jkind kind, const lc_jvalue *a, const lc_jvalue *b,
                             lc_jvalue *out)
{
    if (a->type == LC_J_BIG_INT || b->type == LC_J_BIG_INT) {
        return fail_large(vm);
    }
    if (lc_jinja_is_integer(a) && lc_jinja_is_integer(b)) {
        return int_binary(vm, kind, a->integer, b->integer, out);
    }
    const double x = as_double(a), y = as_double(b);
    switch (kind) {
    case LC_N_ADD:
        *out = lc_jinja_float(x + y);
        return LC_OK;
    case LC_N_SUBTRACT:
        *out = lc_jinja_float(x - y);
        return LC_OK;
    case LC_N_MULTIPLY:
        *out = lc_jinja_float(x * y);
        return LC_OK;
    case LC_N_POWER:
        return float_power(vm, x, y, out);
    default:
        return float_divide(vm, kind, x, y, out);
    }
}

/* ---- sequences ---- */

/* What a safe text joins to itself is escaped. */
static lc_code join_safe(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b, lc_jvalue *out)
{
    lc_jvalue left = *a, right = *b;
    if ((a->flags & LC_J_SAFE) == 0) {
        LC_TRY(lc_jinja_escape(vm, a, &left));
    }
    if ((b->flags & LC_J_SAFE) == 0) {
        LC_TRY(lc_jinja_escape(vm, b, &right));
    }
    LC_TRY(lc_jinja_join_texts(vm, &left, &right, out));
    out->flags = LC_J_SAFE;
    return LC_OK;
}

static lc_code join_lists(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b, lc_jvalue *out)
{
    lc_jlist *list = NULL;
    lc_jvalue made;
    const size_t first = a->list->count, second = b->list->count;
    LC_TRY(lc_jinja_pay(vm, (first + second) * sizeof(lc_jvalue)));
    LC_TRY(lc_jinja_list(vm, a->type, first + second, &list, &made));
    memcpy(list->items, a->list->items, first * sizeof(lc_jvalue));
    memcpy(list->items + first, b->list->items, second * sizeof(lc_jvalue));
    *out = made;
    return LC_OK;
}

static lc_code fail_add(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b)
{
    if (a->type == LC_J_STRING || a->type == LC_J_LIST || a->type == LC_J_TUPLE) {
        const char *name = a->type == LC_J_STRING ? "str" : lc_jinja_type_name(a);
        return lc_jinja_fail(vm, "can only concatenate %s (not \"%s\") to %s", name,
                             lc_jinja_type_name(b), name);
    }
    return fail_operands(vm, "+", a, b);
}

static lc_code add(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b, lc_jvalue *out)
{
    if (a->type == LC_J_STRING && b->type == LC_J_STRING) {
        return ((a->flags | b->flags) & LC_J_SAFE) != 0 ? join_safe(vm, a, b, out)
                                                        : lc_jinja_join_texts(vm, a, b, out);
    }
    if (a->type == b->type && (a->type == LC_J_LIST || a->type == LC_J_TUPLE)) {
        return join_lists(vm, a, b, out);
    }
    return fail_add(vm, a, b);
}

static lc_code repeat_list(lc_jvm *vm, const lc_jvalue *list, int64_t count, lc_jvalue *out)
{
    lc_jlist *made = NULL;
    lc_jvalue value;
    size_t total = 0;
    const size_t size = list->list->count;
    if (!lc_mul_size(count > 0 ? (size_t)count : 0, size, &total) ||
        total > LC_MAX_TEMPLATE_MEMORY / sizeof(lc_jvalue)) {
        return lc_jinja_fail(vm, "a list of that many items is too large");
    }
    LC_TRY(lc_jinja_pay(vm, total * sizeof(lc_jvalue)));
    LC_TRY(lc_jinja_list(vm, list->type, total, &made, &value));
    for (size_t i = 0; i < total; i++) {
        made->items[i] = list->list->items[i % size];
    }
    *out = value;
    return LC_OK;
}

static lc_code multiply(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b, lc_jvalue *out)
{
    const lc_jvalue *many = lc_jinja_is_integer(a) ? b : a;
    const lc_jvalue *count = lc_jinja_is_integer(a) ? a : b;
    const bool is_sequence =
        many->type == LC_J_STRING || many->type == LC_J_LIST || many->type == LC_J_TUPLE;
    if (is_sequence && !lc_jinja_is_integer(count)) {
        return lc_jinja_fail_type(vm, "can't multiply sequence by non-int of type '%s'", count);
    }
    if (!is_sequence) {
        const bool is_other =
            b->type == LC_J_STRING || b->type == LC_J_LIST || b->type == LC_J_TUPLE;
        return is_other
                   ? lc_jinja_fail_type(vm, "can't multiply sequence by non-int of type '%s'", a)
                   : fail_operands(vm, "*", a, b);
    }
    return many->type == LC_J_STRING ? lc_jinja_repeat(vm, many, count->integer, out)
                                     : repeat_list(vm, many, count->integer, out);
}

lc_code lc_jinja_binary(lc_jvm *vm, lc_jkind kind, const lc_jvalue *a, const lc_jvalue *b,
                        lc_jvalue *out)
{
    if (lc_jinja_is_number(a) && lc_jinja_is_number(b)) {
        return number_binary(vm, kind, a, b, out);
    }
    if (kind == LC_N_MODULO && a->type == LC_J_STRING) {
        return lc_jinja_percent(vm, a, b, out);
    }
    if (a->type == LC_J_UNDEFINED || b->type == LC_J_UNDEFINED) {
        return lc_jinja_fail_undefined(vm, a->type == LC_J_UNDEFINED ? a : b);
    }
    if (kind == LC_N_ADD) {
        return add(vm, a, b, out);
    }
    if (kind == LC_N_MULTIPLY) {
        return multiply(vm, a, b, out);
    }
    return fail_operands(vm, sign_of(kind), a, b);
}

lc_code lc_jinja_unary(lc_jvm *vm, lc_jkind kind, const lc_jvalue *a, lc_jvalue *out)
{
    if (a->type == LC_J_UNDEFINED) {
        return lc_jinja_fail_undefined(vm, a);
    }
    if (a->type == LC_J_BIG_INT) {
        return fail_large(vm);
    }
    if (!lc_jinja_is_number(a)) {
        return lc_jinja_fail_type(vm,
                                  kind == LC_N_NEGATIVE ? "bad operand type for unary -: '%s'"
                                                        : "bad operand type for unary +: '%s'",
                                  a);
    }
    if (a->type == LC_J_FLOAT) {
        *out = lc_jinja_float(kind == LC_N_NEGATIVE ? -a->number : a->number);
        return LC_OK;
    }
    if (kind == LC_N_NEGATIVE && a->integer == INT64_MIN) {
        return fail_large(vm);
    }
    *out = lc_jinja_int(kind == LC_N_NEGATIVE ? -a->integer : a->integer);
    return LC_OK;
}
