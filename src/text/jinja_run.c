/*
 * Statements. What is written goes to one text; a macro, a set block or a filter takes its part
 * off the end again (a capture), so nothing is copied twice.
 */
#include "text/jinja_run.h"

#include "lorac/mem.h"

typedef enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;

static lc_code run_body(lc_jvm *vm, lc_jframe *frame, const lc_jbody *body, flow *out);
static lc_code run_loop(lc_jvm *vm, lc_jframe *frame, const lc_jfor *loop,
                        const lc_jvalue *iterated, int64_t depth, flow *out);

/* ---- output ---- */

static lc_code check_output(lc_jvm *vm)
{
    if (vm->out.failed) {
        return lc_jinja_fail_as(vm, LC_ERR_MEMORY, "no memory for the text of a template");
    }
    return vm->out.length <= LC_MAX_TEMPLATE_OUTPUT
               ? LC_OK
               : lc_jinja_fail(vm, "the template writes more than %zu MiB (LC_MAX_TEMPLATE_OUTPUT)",
                               LC_MAX_TEMPLATE_OUTPUT >> 20);
}

static lc_code run_output(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node)
{
    lc_jvalue value;
    for (size_t i = 0; i < node->count; i++) {
        LC_TRY(lc_jinja_eval(vm, frame, node->items[i], &value));
        LC_TRY(lc_jinja_add_str(vm, &value, &vm->out));
        LC_TRY(check_output(vm));
    }
    return LC_OK;
}

size_t lc_jinja_begin_capture(lc_jvm *vm)
{
    if (vm->captures++ == 0) {
        vm->outer_length = vm->out.length;
    }
    return vm->out.length;
}

lc_code lc_jinja_end_capture(lc_jvm *vm, size_t begin, lc_jvalue *out)
{
    const size_t bytes = vm->out.length - begin;
    vm->captures--;
    LC_TRY(lc_jinja_copy_text(vm, bytes > 0 ? vm->out.data + begin : "", bytes, out));
    vm->out.length = begin;
    return LC_OK;
}

/* ---- scopes ---- */

static const lc_jvalue *source_of(lc_jvm *vm, lc_jframe *frame, lc_jref ref)
{
    if (ref.hops < 0) {
        return &vm->globals[ref.slot];
    }
    for (int i = 0; i < ref.hops; i++) {
        frame = frame->outer;
    }
    return &frame->slots[ref.slot];
}

static void enter_scope(lc_jvm *vm, lc_jframe *frame, const lc_jscope *scope)
{
    for (size_t i = 0; i < scope->count; i++) {
        const lc_jinit *init = &scope->inits[i];
        if (init->is_copied) {
            frame->slots[init->slot] = *source_of(vm, frame, init->from);
        } else if (!init->is_parameter) {
            frame->slots[init->slot].type = LC_J_MISSING;
        }
    }
}

static void leave_scope(lc_jframe *frame, const lc_jscope *scope)
{
    for (size_t i = 0; i < scope->count; i++) {
        frame->slots[scope->inits[i].slot].type = LC_J_MISSING;
    }
}

lc_code lc_jinja_new_frame(lc_jvm *vm, const lc_jcode *code, lc_jframe *outer, lc_jframe **out)
{
    void *memory = NULL;
    const size_t bytes = (size_t)code->slot_count * sizeof(lc_jvalue);
    LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jframe) + bytes, &memory));
    *out = memory;
    (*out)->outer = outer;
    memset((*out)->slots, 0, bytes);
    return LC_OK;
}

/* ---- for ---- */

typedef struct test_state {
    const lc_jfor *loop;
    lc_jframe *frame;
} test_state;

/* The items of a loop that pass its `if`. */
static lc_code next_that_passes(lc_jvm *vm, lc_jiterator *it, lc_jvalue *out, bool *has_next)
{
    const test_state *state = it->state;
    lc_jiterator *source = NULL;
    lc_jvalue passes;
    LC_TRY(lc_jinja_source(vm, it, &source));
    for (;;) {
        LC_TRY(lc_jinja_next(vm, source, out, has_next));
        if (!*has_next) {
            return LC_OK;
        }
        LC_TRY(lc_jinja_assign(vm, state->frame, state->loop->test_target, out));
        LC_TRY(lc_jinja_eval(vm, state->frame, state->loop->test, &passes));
        if (lc_jinja_is_true(&passes)) {
            return LC_OK;
        }
    }
}

static lc_code filter_items(lc_jvm *vm, lc_jframe *outer, const lc_jfor *loop,
                            const lc_jvalue *iterated, lc_jvalue *out)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_alloc(vm, sizeof(test_state), &memory));
    test_state *state = memory;
    state->loop = loop;
    LC_TRY(lc_jinja_new_frame(vm, loop->test_code, outer, &state->frame));
    enter_scope(vm, state->frame, &loop->test_code->scope);
    return lc_jinja_lazy(vm, next_that_passes, iterated, state, out);
}

static lc_code make_loop(lc_jvm *vm, const lc_jfor *loop, const lc_jvalue *iterated, int64_t depth,
                         lc_jloop **out)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jloop), &memory));
    *out = memory;
    **out = (lc_jloop){.index0 = -1,
                       .length = -1,
                       .iterated = *iterated,
                       .depth0 = depth,
                       .recursive = loop->recursive != NULL ? loop : NULL};
    return lc_jinja_iterate(vm, iterated, &(*out)->iterator);
}

/* One item after another, through `state` where somebody looks at `loop`. */
static lc_code next_item(lc_jvm *vm, lc_jloop *state, lc_jiterator *it, lc_jvalue *out,
                         bool *has_next)
{
    return state != NULL ? lc_jinja_loop_next(vm, state, out, has_next)
                         : lc_jinja_next(vm, it, out, has_next);
}

static lc_code run_items(lc_jvm *vm, lc_jframe *frame, const lc_jfor *loop, lc_jloop *state,
                         lc_jiterator *it, bool *was_empty)
{
    const size_t message = vm->message;
    lc_jvalue item;
    bool has_next = false;
    *was_empty = true;
    for (;;) {
        flow how = FLOW_ON;
        vm->message = message;
        LC_TRY(next_item(vm, state, it, &item, &has_next));
        if (!has_next) {
            return LC_OK;
        }
        if (item.type == LC_J_DICT && item.dict->message > 0) {
            vm->message = item.dict->message;
        }
        LC_TRY(lc_jinja_assign(vm, frame, loop->target, &item));
        if (state != NULL) {
            frame->slots[loop->loop_slot] = (lc_jvalue){.type = LC_J_LOOP, .loop = state};
        }
        enter_scope(vm, frame, &loop->scope);
        LC_TRY(run_body(vm, frame, &loop->body, &how));
        if (how == FLOW_ON) { /* Jinja2 notes an iteration at the end of its body */
            *was_empty = false;
        }
        if (how == FLOW_BREAK) {
            vm->message = message;
            return LC_OK;
        }
    }
}

static lc_code run_loop(lc_jvm *vm, lc_jframe *frame, const lc_jfor *loop,
                        const lc_jvalue *iterated, int64_t depth, flow *out)
{
    lc_jvalue items = *iterated;
    lc_jiterator it;
    lc_jloop *state = NULL;
    bool was_empty = true;
    lc_jframe *outer = loop->recursive != NULL ? frame->outer : frame;
    if (loop->test != NULL) {
        if (!lc_jinja_is_iterable(&items)) { /* before the loop begins, as for any other */
            return lc_jinja_iterate(vm, &items, &it);
        }
        LC_TRY(filter_items(vm, outer, loop, iterated, &items));
    }
    if (loop->loop_slot >= 0) {
        LC_TRY(make_loop(vm, loop, &items, depth, &state));
        state->outer = outer;
        frame->slots[loop->loop_slot].type = LC_J_MISSING;
    } else {
        LC_TRY(lc_jinja_iterate(vm, &items, &it));
    }
    LC_TRY(run_items(vm, frame, loop, state, &it, &was_empty));
    if (!loop->keeps_scope) {
        leave_scope(frame, &loop->scope);
    }
    if (loop->otherwise.count > 0 && was_empty) {
        enter_scope(vm, frame, &loop->else_scope);
        LC_TRY(run_body(vm, frame, &loop->otherwise, out));
        leave_scope(frame, &loop->else_scope);
    }
    return LC_OK;
}

lc_code lc_jinja_run_recursive(lc_jvm *vm, lc_jframe *outer, const lc_jfor *loop,
                               const lc_jvalue *iterated, int64_t depth, lc_jvalue *out)
{
    lc_jframe *frame = NULL;
    flow how = FLOW_ON;
    LC_TRY(lc_jinja_enter(vm));
    LC_TRY(lc_jinja_new_frame(vm, loop->recursive, outer, &frame));
    const size_t begin = lc_jinja_begin_capture(vm);
    LC_TRY(run_loop(vm, frame, loop, iterated, depth, &how));
    LC_TRY(lc_jinja_end_capture(vm, begin, out));
    lc_jinja_leave(vm);
    return LC_OK;
}

static lc_code run_for(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, flow *out)
{
    lc_jvalue iterated, text;
    LC_TRY(lc_jinja_eval(vm, frame, node->loop->iterated, &iterated));
    vm->line = node->line;
    if (node->loop->recursive == NULL) {
        return run_loop(vm, frame, node->loop, &iterated, 0, out);
    }
    LC_TRY(lc_jinja_run_recursive(vm, frame, node->loop, &iterated, 0, &text));
    LC_TRY(lc_jinja_add_str(vm, &text, &vm->out));
    return check_output(vm);
}

/* ---- other statements ---- */

static lc_code run_if(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, flow *out)
{
    lc_jvalue test;
    for (size_t i = 0; i < node->count; i++) {
        LC_TRY(lc_jinja_eval(vm, frame, node->items[i], &test));
        if (lc_jinja_is_true(&test)) {
            return run_body(vm, frame, &node->bodies[i], out);
        }
    }
    return node->body_count > node->count ? run_body(vm, frame, &node->bodies[node->count], out)
                                          : LC_OK;
}

/* Targets ns.x are looked at before the value is. */
static lc_code check_spaces(lc_jvm *vm, lc_jframe *frame, const lc_jnode *target)
{
    if (target->kind == LC_N_NAMESPACE_REF &&
        source_of(vm, frame, target->ref)->type != LC_J_NAMESPACE) {
        return lc_jinja_fail(vm, "cannot assign attribute on non-namespace object");
    }
    for (size_t i = 0; target->kind == LC_N_TUPLE && i < target->count; i++) {
        LC_TRY(check_spaces(vm, frame, target->items[i]));
    }
    return LC_OK;
}

static lc_code run_set(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node)
{
    lc_jvalue value;
    vm->line = node->line;
    LC_TRY(check_spaces(vm, frame, node->a));
    LC_TRY(lc_jinja_eval(vm, frame, node->b, &value));
    return lc_jinja_assign(vm, frame, node->a, &value);
}

/* A body's text, through the block's filters. `out` is a jump out of it, and then there is none. */
static lc_code capture_block(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, flow *out,
                             lc_jvalue *text)
{
    enter_scope(vm, frame, &node->scope);
    const size_t begin = lc_jinja_begin_capture(vm);
    LC_TRY(run_body(vm, frame, &node->bodies[0], out));
    LC_TRY(lc_jinja_end_capture(vm, begin, text));
    if (*out == FLOW_ON && node->b != NULL) {
        vm->block_text = *text;
        LC_TRY(lc_jinja_eval(vm, frame, node->b, text));
    }
    return LC_OK;
}

static lc_code run_set_block(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, flow *out)
{
    lc_jvalue text;
    LC_TRY(capture_block(vm, frame, node, out, &text));
    if (*out == FLOW_ON) {
        LC_TRY(lc_jinja_assign(vm, frame, node->a, &text));
        leave_scope(frame, &node->scope);
    }
    return LC_OK;
}

/* What a filter or call block gives is joined to the output as it is: it must be a text. */
static lc_code write_text(lc_jvm *vm, const lc_jvalue *text)
{
    if (text->type != LC_J_STRING) {
        return lc_jinja_fail_type(vm, "sequence item 0: expected str instance, %s found", text);
    }
    LC_TRY(lc_jinja_add_str(vm, text, &vm->out));
    return check_output(vm);
}

static lc_code run_filter_block(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, flow *out)
{
    lc_jvalue text;
    LC_TRY(capture_block(vm, frame, node, out, &text));
    if (*out == FLOW_ON) {
        LC_TRY(write_text(vm, &text));
        leave_scope(frame, &node->scope);
    }
    return LC_OK;
}

static lc_code run_with(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, flow *out)
{
    lc_jvalue value;
    enter_scope(vm, frame, &node->scope);
    for (size_t i = 0; i < node->count; i += 2) {
        LC_TRY(lc_jinja_eval(vm, frame, node->items[i + 1], &value));
        LC_TRY(lc_jinja_assign(vm, frame, node->items[i], &value));
    }
    LC_TRY(run_body(vm, frame, &node->bodies[0], out));
    if (*out == FLOW_ON) {
        leave_scope(frame, &node->scope);
    }
    return LC_OK;
}

static lc_code make_macro(lc_jvm *vm, lc_jframe *frame, const lc_jcode *code, lc_jvalue *out)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_alloc(vm, sizeof(lc_jmacro), &memory));
    lc_jmacro *macro = memory;
    *macro = (lc_jmacro){.code = code, .outer = frame};
    *out = (lc_jvalue){.type = LC_J_MACRO, .macro = macro};
    return LC_OK;
}

static lc_code run_macro(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node)
{
    lc_jvalue macro;
    LC_TRY(make_macro(vm, frame, node->code, &macro));
    return lc_jinja_assign(vm, frame, node->a, &macro);
}

/* {% call f(x) %}: f(x, caller=macro). */
static lc_code run_call_block(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node)
{
    static const lc_jvalue caller_name = {.type = LC_J_STRING, .text = "caller", .bytes = 6};
    lc_jvalue callee, text;
    lc_jlist *names = NULL, *named = NULL;
    lc_jvalue held[2], caller;
    lc_jcall call;
    LC_TRY(make_macro(vm, frame, node->code, &caller));
    LC_TRY(lc_jinja_eval(vm, frame, node->a->a, &callee));
    LC_TRY(lc_jinja_eval_args(vm, frame, &node->a->call, NULL, &call));
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, call.named_count + 1, &names, &held[0]));
    LC_TRY(lc_jinja_list(vm, LC_J_LIST, call.named_count + 1, &named, &held[1]));
    for (size_t i = 0; i < call.named_count; i++) {
        if (lc_jinja_is_text(&call.names[i], "caller")) {
            return lc_jinja_fail(vm, "keyword argument repeated: caller");
        }
        names->items[i] = call.names[i];
        named->items[i] = call.named[i];
    }
    names->items[call.named_count] = caller_name;
    named->items[call.named_count] = caller;
    call.names = names->items;
    call.named = named->items;
    call.named_count++;
    vm->line = node->line;
    LC_TRY(lc_jinja_call(vm, &callee, &call, &text));
    return write_text(vm, &text);
}

static lc_code add_span(lc_jvm *vm, size_t begin, size_t end)
{
    if (vm->span_count == vm->span_capacity) {
        const size_t capacity = vm->span_capacity > 0 ? 2 * vm->span_capacity : 16;
        lc_jspan *grown = lc_realloc(vm->spans, capacity * sizeof *grown);
        if (grown == NULL) {
            return lc_jinja_fail_as(vm, LC_ERR_MEMORY, "no memory for the spans of a template");
        }
        vm->spans = grown;
        vm->span_capacity = capacity;
    }
    vm->spans[vm->span_count++] = (lc_jspan){begin, end, vm->message};
    return LC_OK;
}

/* {% generation %}: a macro that is called at once. Its span begins behind what the template has
 * given out so far; inside a capture that is where the outermost began, as transformers counts. */
static lc_code run_generation(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node)
{
    const size_t begin = vm->captures > 0 ? vm->outer_length : vm->out.length;
    lc_jvalue macro, text;
    LC_TRY(make_macro(vm, frame, node->code, &macro));
    LC_TRY(lc_jinja_call_macro(vm, macro.macro, &(lc_jcall){0}, &text));
    LC_TRY(add_span(vm, begin, begin + text.bytes));
    LC_TRY(lc_jinja_add_str(vm, &text, &vm->out));
    return check_output(vm);
}

static lc_code run_statement(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node, flow *out)
{
    switch (node->kind) {
    case LC_N_OUTPUT:
        return run_output(vm, frame, node);
    case LC_N_FOR:
        return run_for(vm, frame, node, out);
    case LC_N_IF:
        return run_if(vm, frame, node, out);
    case LC_N_SET:
        return run_set(vm, frame, node);
    case LC_N_SET_BLOCK:
        return run_set_block(vm, frame, node, out);
    case LC_N_MACRO:
        return run_macro(vm, frame, node);
    case LC_N_CALL_BLOCK:
        return run_call_block(vm, frame, node);
    case LC_N_GENERATION:
        return run_generation(vm, frame, node);
    case LC_N_FILTER_BLOCK:
        return run_filter_block(vm, frame, node, out);
    case LC_N_WITH:
        return run_with(vm, frame, node, out);
    case LC_N_BREAK:
        *out = FLOW_BREAK;
        return LC_OK;
    case LC_N_CONTINUE:
    default:
        *out = FLOW_CONTINUE;
        return LC_OK;
    }
}

static lc_code run_body(lc_jvm *vm, lc_jframe *frame, const lc_jbody *body, flow *out)
{
    if (body->count == 0) {
        return LC_OK;
    }
    LC_TRY(lc_jinja_enter(vm));
    for (size_t i = 0; i < body->count && *out == FLOW_ON; i++) {
        vm->line = body->nodes[i]->line;
        LC_TRY(lc_jinja_pay(vm, 0));
        LC_TRY(run_statement(vm, frame, body->nodes[i], out));
    }
    lc_jinja_leave(vm);
    return LC_OK;
}

lc_code lc_jinja_run_code(lc_jvm *vm, lc_jframe *frame, const lc_jcode *code)
{
    flow how = FLOW_ON;
    return run_body(vm, frame, &code->body, &how);
}

/* The values of the names that the program looks up in its context. */
static lc_code find_globals(lc_jvm *vm)
{
    const lc_jprogram *program = vm->program;
    void *memory = NULL;
    LC_TRY(lc_jinja_alloc(vm, program->global_count * sizeof(lc_jvalue), &memory));
    vm->globals = memory;
    for (size_t i = 0; i < program->global_count; i++) {
        const lc_jvalue *name = &program->global_names[i];
        const lc_jvalue *given = lc_jinja_find_text(vm->given, name->text, name->bytes);
        const lc_jfunction *function = given == NULL ? lc_jinja_find_function(name) : NULL;
        vm->globals[i] = given != NULL ? *given : (lc_jvalue){.type = LC_J_MISSING};
        if (function != NULL) {
            vm->globals[i] = (lc_jvalue){.type = LC_J_FUNCTION, .function = function};
        }
    }
    return LC_OK;
}

lc_code lc_jinja_run(lc_jvm *vm)
{
    const lc_jcode *code = &vm->program->main;
    lc_jframe *frame = NULL;
    vm->line = 1;
    LC_TRY(find_globals(vm));
    LC_TRY(lc_jinja_new_frame(vm, code, NULL, &frame));
    enter_scope(vm, frame, &code->scope);
    return lc_jinja_run_code(vm, frame, code);
}
