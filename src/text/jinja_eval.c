/*
 * Expressions. Each function evaluates one kind of node; nesting costs depth, every node a step.
 */
#include <stdio.h>

#include "text/jinja_filters.h"
#include "text/jinja_run.h"
#include "text/jinja_tests.h"

/* Helpers stay out of line so that the recursive function's stack frame stays small. */
#define APART __attribute__((noinline))

static lc_jvalue *slot_of(lc_jvm *vm, lc_jframe *frame, lc_jref ref)
{
    if (ref.hops < 0) {
        return &vm->globals[ref.slot];
    }
    for (int i = 0; i < ref.hops; i++) {
        frame = frame->outer;
    }
    return &frame->slots[ref.slot];
}

static lc_code eval_name(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    *out = *slot_of(vm, frame, node->ref);
    if (out->type == LC_J_MISSING) {
        return lc_jinja_undefined(vm, &(lc_jundefined){.name = node->value}, out);
    }
    return LC_OK;
}

static APART lc_code eval_list(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jlist *list = NULL;
    lc_jvalue made;
    LC_TRY(lc_jinja_list(vm, node->kind == LC_N_LIST ? LC_J_LIST : LC_J_TUPLE, node->count, &list,
                         &made));
    for (size_t i = 0; i < node->count; i++) {
        LC_TRY(lc_jinja_eval(vm, frame, node->items[i], &list->items[i]));
    }
    *out = made;
    return LC_OK;
}

static APART lc_code eval_dict(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jdict *dict = NULL;
    lc_jvalue made, key, value;
    LC_TRY(lc_jinja_dict(vm, node->count / 2, &dict, &made));
    for (size_t i = 0; i + 1 < node->count; i += 2) {
        LC_TRY(lc_jinja_eval(vm, frame, node->items[i], &key));
        LC_TRY(lc_jinja_eval(vm, frame, node->items[i + 1], &value));
        LC_TRY(lc_jinja_check_hash(vm, &key));
        LC_TRY(lc_jinja_put(vm, dict, &key, &value));
    }
    *out = made;
    return LC_OK;
}

static APART lc_code make_no_else(lc_jvm *vm, const lc_jnode *node, lc_jvalue *out)
{
    char hint[160];
    lc_jvalue copy;
    (void)snprintf(hint, sizeof hint,
                   "the inline if-expression on line %d evaluated to false and no else section "
                   "was defined.",
                   node->line);
    LC_TRY(lc_jinja_copy_text(vm, hint, strlen(hint) + 1, &copy));
    return lc_jinja_undefined_hint(vm, copy.text, out);
}

static lc_code eval_if_else(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    LC_TRY(lc_jinja_eval(vm, frame, node->b, out));
    if (lc_jinja_is_true(out)) {
        return lc_jinja_eval(vm, frame, node->a, out);
    }
    return node->c != NULL ? lc_jinja_eval(vm, frame, node->c, out) : make_no_else(vm, node, out);
}

static lc_code eval_words(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    LC_TRY(lc_jinja_eval(vm, frame, node->a, out));
    return lc_jinja_is_true(out) == (node->kind == LC_N_AND)
               ? lc_jinja_eval(vm, frame, node->b, out)
               : LC_OK;
}

static lc_code compare(lc_jvm *vm, lc_jcompare op, const lc_jvalue *a, const lc_jvalue *b,
                       bool *out)
{
    switch (op) {
    case LC_C_EQUAL:
        return lc_jinja_equal(vm, a, b, out);
    case LC_C_NOT_EQUAL:
        LC_TRY(lc_jinja_equal(vm, a, b, out));
        *out = !*out;
        return LC_OK;
    case LC_C_IN:
        return lc_jinja_contains(vm, a, b, out);
    case LC_C_NOT_IN:
        LC_TRY(lc_jinja_contains(vm, a, b, out));
        *out = !*out;
        return LC_OK;
    case LC_C_LESS:
        return lc_jinja_order(vm, a, b, LC_J_LESS, out);
    case LC_C_LESS_EQUAL:
        return lc_jinja_order(vm, a, b, LC_J_LESS_EQUAL, out);
    case LC_C_GREATER:
        return lc_jinja_order(vm, a, b, LC_J_GREATER, out);
    case LC_C_GREATER_EQUAL:
    default:
        return lc_jinja_order(vm, a, b, LC_J_GREATER_EQUAL, out);
    }
}

/* a < b < c: as far as it holds. */
static lc_code eval_compare(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jvalue left, right;
    bool holds = true;
    LC_TRY(lc_jinja_eval(vm, frame, node->a, &left));
    for (size_t i = 0; i < node->count && holds; i++) {
        LC_TRY(lc_jinja_eval(vm, frame, node->items[i], &right));
        LC_TRY(compare(vm, (lc_jcompare)node->ops[i], &left, &right, &holds));
        left = right;
    }
    *out = lc_jinja_bool(holds);
    return LC_OK;
}

static lc_code eval_binary(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jvalue left, right;
    LC_TRY(lc_jinja_eval(vm, frame, node->a, &left));
    LC_TRY(lc_jinja_eval(vm, frame, node->b, &right));
    vm->line = node->line;
    if (node->kind == LC_N_ADD && left.type == LC_J_STRING && right.type == LC_J_STRING &&
        left.flags == 0 && right.flags == 0) {
        return lc_jinja_join_texts(vm, &left, &right, out);
    }
    return lc_jinja_binary(vm, (lc_jkind)node->kind, &left, &right, out);
}

/* All operands are evaluated before the first is printed, as in Jinja2. */
static APART lc_code eval_concat(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jvalue parts, part, whole = lc_jinja_text("", 0);
    LC_TRY(eval_list(vm, frame, node, &parts));
    for (size_t i = 0; i < node->count; i++) {
        LC_TRY(lc_jinja_str(vm, &parts.list->items[i], &part));
        if (i == 0) {
            whole = part;
        } else {
            LC_TRY(lc_jinja_join_texts(vm, &whole, &part, &whole));
        }
    }
    *out = whole;
    return LC_OK;
}

static lc_code eval_attribute(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jvalue object;
    LC_TRY(lc_jinja_eval(vm, frame, node->a, &object));
    vm->line = node->line;
    return lc_jinja_attribute(vm, &object, &node->value, out);
}

static lc_code eval_item(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jvalue object, index;
    LC_TRY(lc_jinja_eval(vm, frame, node->a, &object));
    LC_TRY(lc_jinja_eval(vm, frame, node->b, &index));
    vm->line = node->line;
    return lc_jinja_item(vm, &object, &index, out);
}

static APART lc_code eval_slice(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jvalue object, bounds[3] = {{.type = LC_J_NONE}, {.type = LC_J_NONE}, {.type = LC_J_NONE}};
    const lc_jnode *const nodes[3] = {node->b, node->c, node->d};
    LC_TRY(lc_jinja_eval(vm, frame, node->a, &object));
    for (size_t i = 0; i < 3; i++) {
        if (nodes[i] != NULL) {
            LC_TRY(lc_jinja_eval(vm, frame, nodes[i], &bounds[i]));
        }
    }
    vm->line = node->line;
    return lc_jinja_slice(vm, &object, bounds, out);
}

static lc_code eval_unary(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jvalue value;
    LC_TRY(lc_jinja_eval(vm, frame, node->a, &value));
    return lc_jinja_unary(vm, (lc_jkind)node->kind, &value, out);
}

static APART lc_code fail_unknown(lc_jvm *vm, const lc_jnode *node)
{
    return lc_jinja_fail(vm, "No %s named '%.*s' found.",
                         node->kind == LC_N_FILTER ? "filter" : "test",
                         node->value.bytes < 100 ? (int)node->value.bytes : 100, node->value.text);
}

/* node->a NULL: the filter is for what a block wrote. */
static APART lc_code eval_filter(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jcall call;
    lc_jvalue value = vm->block_text;
    if (node->a != NULL) {
        LC_TRY(lc_jinja_eval(vm, frame, node->a, &value));
    }
    LC_TRY(lc_jinja_eval_args(vm, frame, &node->call, &value, &call));
    vm->line = node->line;
    if (node->filter == NULL) {
        return fail_unknown(vm, node);
    }
    return lc_jinja_run_filter(vm, node->filter, &call, out);
}

static APART lc_code eval_test(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    lc_jcall call;
    lc_jvalue value;
    bool is_true = false;
    LC_TRY(lc_jinja_eval(vm, frame, node->a, &value));
    LC_TRY(lc_jinja_eval_args(vm, frame, &node->call, &value, &call));
    vm->line = node->line;
    if (node->test == NULL) {
        return fail_unknown(vm, node);
    }
    LC_TRY(lc_jinja_run_test(vm, node->test, &call, &is_true));
    *out = lc_jinja_bool(is_true);
    return LC_OK;
}

static lc_code eval_inner(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    switch (node->kind) {
    case LC_N_TUPLE:
    case LC_N_LIST:
        return eval_list(vm, frame, node, out);
    case LC_N_DICT:
        return eval_dict(vm, frame, node, out);
    case LC_N_IF_ELSE:
        return eval_if_else(vm, frame, node, out);
    case LC_N_OR:
    case LC_N_AND:
        return eval_words(vm, frame, node, out);
    case LC_N_NOT:
        LC_TRY(lc_jinja_eval(vm, frame, node->a, out));
        *out = lc_jinja_bool(!lc_jinja_is_true(out));
        return LC_OK;
    case LC_N_COMPARE:
        return eval_compare(vm, frame, node, out);
    case LC_N_NEGATIVE:
    case LC_N_POSITIVE:
        return eval_unary(vm, frame, node, out);
    case LC_N_CONCAT:
        return eval_concat(vm, frame, node, out);
    case LC_N_ATTRIBUTE:
        return eval_attribute(vm, frame, node, out);
    case LC_N_ITEM:
        return eval_item(vm, frame, node, out);
    case LC_N_SLICE:
        return eval_slice(vm, frame, node, out);
    case LC_N_CALL:
        return lc_jinja_eval_call(vm, frame, node, out);
    case LC_N_FILTER:
        return eval_filter(vm, frame, node, out);
    case LC_N_TEST:
        return eval_test(vm, frame, node, out);
    default:
        return eval_binary(vm, frame, node, out);
    }
}

lc_code lc_jinja_eval(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, lc_jvalue *out)
{
    vm->line = node->line;
    if (node->kind == LC_N_CONST) {
        *out = node->value;
        return LC_OK;
    }
    LC_TRY(lc_jinja_pay(vm, 0));
    if (node->kind == LC_N_NAME) {
        return eval_name(vm, frame, node, out);
    }
    LC_TRY(lc_jinja_enter(vm));
    LC_TRY(eval_inner(vm, frame, node, out));
    lc_jinja_leave(vm);
    return LC_OK;
}

/* ---- assignment ---- */

static lc_code set_attribute(lc_jvm *vm, lc_jframe *frame, const lc_jnode *target,
                             const lc_jvalue *value)
{
    const lc_jvalue *space = slot_of(vm, frame, target->ref);
    if (space->type != LC_J_NAMESPACE) {
        return lc_jinja_fail(vm, "cannot assign attribute on non-namespace object");
    }
    if (target->other.text[0] == '_') {
        return lc_jinja_fail(vm,
                             "Chat templates cannot store underscore-prefixed attributes on a "
                             "namespace, but got '%.*s'. Please rename the attribute.",
                             (int)target->other.bytes, target->other.text);
    }
    return lc_jinja_put(vm, space->space, &target->other, value);
}

static lc_code unpack(lc_jvm *vm, lc_jframe *frame, const lc_jnode *target, const lc_jvalue *value)
{
    lc_jiterator it;
    lc_jvalue item;
    lc_jlist *taken = NULL;
    lc_jvalue whole;
    bool has_next = false;
    if (!lc_jinja_is_iterable(value)) {
        return lc_jinja_fail_type(vm, "cannot unpack non-iterable %s object", value);
    }
    LC_TRY(lc_jinja_iterate(vm, value, &it));
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, target->count, &taken, &whole));
    for (size_t i = 0; i < target->count; i++) {
        LC_TRY(lc_jinja_next(vm, &it, &taken->items[i], &has_next));
        if (!has_next) {
            return lc_jinja_fail(vm, "not enough values to unpack (expected %zu, got %zu)",
                                 target->count, i);
        }
    }
    LC_TRY(lc_jinja_next(vm, &it, &item, &has_next));
    if (has_next) {
        return lc_jinja_fail(vm, "too many values to unpack (expected %zu)", target->count);
    }
    for (size_t i = 0; i < target->count; i++) {
        LC_TRY(lc_jinja_assign(vm, frame, target->items[i], &taken->items[i]));
    }
    return LC_OK;
}

lc_code lc_jinja_assign(lc_jvm *vm, lc_jframe *frame, const lc_jnode *target,
                        const lc_jvalue *value)
{
    if (target->kind == LC_N_NAME) {
        *slot_of(vm, frame, target->ref) = *value;
        return LC_OK;
    }
    return target->kind == LC_N_NAMESPACE_REF ? set_attribute(vm, frame, target, value)
                                              : unpack(vm, frame, target, value);
}
