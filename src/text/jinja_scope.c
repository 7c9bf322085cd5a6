/*
 * Names to places, by Jinja2's rules (its idtracking.py and compiler.py): a scope knows before it
 * runs which names it reads and which it sets, and what each is at its beginning: a copy of the
 * outer scope's, a value of the context, or nothing. A name of a scope at level n is one variable
 * of the function around it, so that two loops side by side share theirs, as in Jinja2.
 */
#include <stdio.h>

#include "lorac/mem.h"
#include "text/jinja_symbols.h"

#define MAX_NESTED_LOOPS 20 /* of one function, as CPython has it */

/* A function being bound: which variable has which slot. */
typedef struct variable {
    int level;
    lc_jvalue name;
} variable;

typedef struct function {
    struct function *outer;
    lc_jcode *code;
    int first_level;
    variable *variables;
    size_t capacity;
} function;

typedef struct frame {
    lc_jsymbols *symbols;
    function *function;
    bool is_soft; /* inside if: a filter that does not exist is an error only when it is reached */
    int loops;
} frame;

static lc_code bind_body(lc_jbinder *b, const frame *f, lc_jbody *body);
static lc_code bind_node(lc_jbinder *b, const frame *f, lc_jnode *node);

/* ---- places ---- */

/* The slot of a variable in the function that has it, and how far out that is. */
static lc_code place(lc_jbinder *b, const frame *f, int level, const lc_jvalue *name, lc_jref *out)
{
    function *in = f->function;
    int hops = 0;
    while (level < in->first_level) {
        in = in->outer;
        hops++;
    }
    for (int i = 0; i < in->code->slot_count; i++) {
        if (in->variables[i].level == level &&
            lc_jinja_is_same_name(&in->variables[i].name, name)) {
            *out = (lc_jref){hops, i};
            return LC_OK;
        }
    }
    void *variables = in->variables;
    LC_TRY(lc_jinja_grow(b, &variables, (size_t)in->code->slot_count, &in->capacity,
                         sizeof(variable)));
    in->variables = variables;
    in->variables[in->code->slot_count] = (variable){level, *name};
    *out = (lc_jref){hops, in->code->slot_count++};
    return LC_OK;
}

static lc_code place_global(lc_jbinder *b, const lc_jvalue *name, lc_jref *out)
{
    lc_jprogram *program = b->compiler->program;
    for (size_t i = 0; i < program->global_count; i++) {
        if (lc_jinja_is_same_name(&program->global_names[i], name)) {
            *out = (lc_jref){-1, (int)i};
            return LC_OK;
        }
    }
    void *names = program->global_names;
    LC_TRY(lc_jinja_grow(b, &names, program->global_count, &program->global_capacity,
                         sizeof(lc_jvalue)));
    program->global_names = names;
    program->global_names[program->global_count] = *name;
    *out = (lc_jref){-1, (int)program->global_count++};
    return LC_OK;
}

/* A context variable that nobody sets needs no slot. */
static lc_code place_symbol(lc_jbinder *b, const frame *f, const lc_jsymbol *s, int level,
                            lc_jref *out)
{
    return s->action == A_RESOLVE && !s->is_stored ? place_global(b, &s->name, out)
                                                   : place(b, f, level, &s->name, out);
}

static lc_code place_name(lc_jbinder *b, const frame *f, const lc_jnode *node, lc_jref *out)
{
    int level = 0;
    const lc_jsymbol *found = lc_jinja_find_symbol(f->symbols, &node->value, &level);
    if (found == NULL) {
        return lc_jinja_fail_at(
            b->compiler, node->line, "the name '%.*s' is unknown to the filter of a set block",
            node->value.bytes < 100 ? (int)node->value.bytes : 100, node->value.text);
    }
    return place_symbol(b, f, found, level, out);
}

/* What happens to the scope's variables as it is entered. */
static lc_code make_scope(lc_jbinder *b, const frame *f, lc_jscope *out)
{
    const lc_jsymbols *s = f->symbols;
    void *memory = NULL;
    LC_TRY(lc_jinja_compile_alloc(b->compiler, (s->count + 1) * sizeof(lc_jinit), &memory));
    out->inits = memory;
    for (size_t i = 0; i < s->count; i++) {
        const lc_jsymbol *item = &s->items[i];
        lc_jref to, from = {0, 0};
        int level = 0;
        if (item->action == A_RESOLVE && !item->is_stored) {
            continue;
        }
        LC_TRY(place(b, f, s->level, &item->name, &to));
        if (item->action == A_RESOLVE) {
            LC_TRY(place_global(b, &item->name, &from));
        } else if (item->action == A_ALIAS) {
            const lc_jsymbol *outer = lc_jinja_find_symbol(s->outer, &item->name, &level);
            LC_TRY(place_symbol(b, f, outer, level, &from));
        }
        out->inits[out->count++] =
            (lc_jinit){.slot = to.slot,
                       .is_copied = item->action == A_RESOLVE || item->action == A_ALIAS,
                       .is_parameter = item->action == A_PARAMETER,
                       .from = from};
    }
    return LC_OK;
}

static frame inner_frame(const frame *f, lc_jsymbols *s)
{
    *s = (lc_jsymbols){.level = f->symbols->level + 1, .outer = f->symbols};
    return (frame){.symbols = s, .function = f->function, .loops = f->loops};
}

static frame soft_frame(const frame *f)
{
    frame soft = *f;
    soft.is_soft = true;
    return soft;
}

/* From here on variables are those of `code`. */
static void begin_function(frame *f, lc_jcode *code, function *in)
{
    *in = (function){.outer = f->function, .code = code, .first_level = f->symbols->level};
    f->function = in;
    f->loops = 0;
}

/* ---- expressions ---- */

static lc_code bind_all(lc_jbinder *b, const frame *f, lc_jnode **nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        LC_TRY(bind_node(b, f, nodes[i]));
    }
    return LC_OK;
}

static lc_code bind_call(lc_jbinder *b, const frame *f, lc_jargs *call)
{
    LC_TRY(bind_all(b, f, call->args, call->count));
    LC_TRY(bind_all(b, f, call->named, call->named_count));
    LC_TRY(bind_node(b, f, call->more));
    return bind_node(b, f, call->more_named);
}

static lc_code bind_expression(lc_jbinder *b, const frame *f, lc_jnode *node)
{
    LC_TRY(bind_node(b, f, node->a));
    LC_TRY(bind_node(b, f, node->b));
    LC_TRY(bind_node(b, f, node->c));
    LC_TRY(bind_node(b, f, node->d));
    LC_TRY(bind_all(b, f, node->items, node->count));
    return bind_call(b, f, &node->call);
}

static lc_code check_exists(lc_jbinder *b, const frame *f, const lc_jnode *node)
{
    const bool is_filter = node->kind == LC_N_FILTER;
    if (f->is_soft || (is_filter ? node->filter != NULL : node->test != NULL)) {
        return LC_OK;
    }
    return lc_jinja_fail_at(
        b->compiler, node->line, "No %s named '%.*s'.", is_filter ? "filter" : "test",
        node->value.bytes < 100 ? (int)node->value.bytes : 100, node->value.text);
}

/* ---- statements ---- */

static lc_code bind_target(lc_jbinder *b, const frame *f, lc_jnode *target)
{
    if (target->kind != LC_N_TUPLE) {
        return place_name(b, f, target, &target->ref);
    }
    return bind_all(b, f, target->items, target->count);
}

/* The same target once more, for the frame of the loop's test. */
static lc_code copy_target(lc_jbinder *b, const lc_jnode *target, lc_jnode **out)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_compile_alloc(b->compiler, sizeof **out, &memory));
    *out = memory;
    **out = *target;
    if (target->kind != LC_N_TUPLE) {
        return LC_OK;
    }
    LC_TRY(lc_jinja_compile_alloc(b->compiler, (target->count + 1) * sizeof(lc_jnode *), &memory));
    (*out)->items = memory;
    for (size_t i = 0; i < target->count; i++) {
        LC_TRY(copy_target(b, target->items[i], &(*out)->items[i]));
    }
    return LC_OK;
}

static lc_code bind_loop_test(lc_jbinder *b, const frame *f, lc_jfor *loop)
{
    lc_jsymbols s;
    function in;
    void *memory = NULL;
    frame test = inner_frame(f, &s);
    LC_TRY(lc_jinja_compile_alloc(b->compiler, sizeof(lc_jcode), &memory));
    loop->test_code = memory;
    begin_function(&test, loop->test_code, &in);
    LC_TRY(copy_target(b, loop->target, &loop->test_target));
    LC_TRY(lc_jinja_note_targets(b, &s, loop->target, true));
    LC_TRY(lc_jinja_note(b, &s, loop->test));
    LC_TRY(bind_target(b, &test, loop->test_target));
    LC_TRY(bind_node(b, &test, loop->test));
    return make_scope(b, &test, &loop->test_code->scope);
}

static bool sets_loop(const lc_jnode *target)
{
    if (target->kind == LC_N_NAME) {
        return lc_jinja_is_text(&target->value, "loop");
    }
    for (size_t i = 0; i < target->count; i++) {
        if (sets_loop(target->items[i])) {
            return true;
        }
    }
    return false;
}

/* Whether anything inside a loop assigns to `loop`, its own target included. */
static bool body_sets_loop(const lc_jbody *body);

static bool node_sets_loop(const lc_jnode *node)
{
    if (node->kind == LC_N_FOR) {
        return sets_loop(node->loop->target) || body_sets_loop(&node->loop->body) ||
               body_sets_loop(&node->loop->otherwise);
    }
    if ((node->kind == LC_N_SET || node->kind == LC_N_SET_BLOCK) && sets_loop(node->a)) {
        return true;
    }
    for (size_t i = 0; i < node->body_count; i++) {
        if (body_sets_loop(&node->bodies[i])) {
            return true;
        }
    }
    return node->code != NULL && body_sets_loop(&node->code->body);
}

static bool body_sets_loop(const lc_jbody *body)
{
    for (size_t i = 0; i < body->count; i++) {
        if (node_sets_loop(body->nodes[i])) {
            return true;
        }
    }
    return false;
}

static lc_code bind_loop_body(lc_jbinder *b, const frame *f, lc_jfor *loop, int line)
{
    static const lc_jvalue loop_name = {.type = LC_J_STRING, .text = "loop", .bytes = 4};
    lc_jsearch s = {.names = {"loop"}};
    lc_jsymbols inner, other;
    function in;
    lc_jref ref;
    frame body = inner_frame(f, &inner), otherwise = inner_frame(f, &other);
    lc_jinja_search_all(&s, loop->body.nodes, loop->body.count);
    if (loop->recursive != NULL) {
        begin_function(&body, loop->recursive, &in);
        otherwise.function = body.function;
        otherwise.loops = 0;
    }
    if (++body.loops > MAX_NESTED_LOOPS) {
        return lc_jinja_fail_at(b->compiler, line, "too many statically nested blocks");
    }
    loop->loop_slot = -1;
    if (loop->recursive != NULL || s.is_found[0]) {
        LC_TRY(lc_jinja_note_parameter(b, &inner, &loop_name));
        LC_TRY(place(b, &body, inner.level, &loop_name, &ref));
        loop->loop_slot = ref.slot;
    }
    LC_TRY(lc_jinja_note_targets(b, &inner, loop->target, true));
    LC_TRY(lc_jinja_note_body(b, &inner, &loop->body));
    LC_TRY(bind_target(b, &body, loop->target));
    LC_TRY(bind_body(b, &body, &loop->body));
    LC_TRY(make_scope(b, &body, &loop->scope));
    LC_TRY(lc_jinja_note_body(b, &other, &loop->otherwise));
    LC_TRY(bind_body(b, &otherwise, &loop->otherwise));
    return make_scope(b, &otherwise, &loop->else_scope);
}

static lc_code bind_for(lc_jbinder *b, const frame *f, lc_jnode *node)
{
    lc_jfor *loop = node->loop;
    if (node_sets_loop(node)) {
        return lc_jinja_fail_at(b->compiler, node->line,
                                "Can't assign to special loop variable in for-loop target");
    }
    if (loop->test != NULL) {
        LC_TRY(bind_loop_test(b, f, loop));
    }
    loop->keeps_scope = loop->recursive != NULL && loop->otherwise.count == 0;
    LC_TRY(bind_loop_body(b, f, loop, node->line));
    return bind_node(b, f, loop->iterated);
}

static lc_code bind_if(lc_jbinder *b, const frame *f, lc_jnode *node)
{
    const frame soft = soft_frame(f);
    for (size_t i = 0; i < node->body_count; i++) {
        if (i < node->count) {
            LC_TRY(bind_node(b, &soft, node->items[i]));
        }
        LC_TRY(bind_body(b, &soft, &node->bodies[i]));
    }
    return LC_OK;
}

/* "caller", "kwargs" and "varargs", where the body looks at them and no parameter is called so. */
static lc_code bind_special(lc_jbinder *b, frame *f, lc_jcode *code, const lc_jsearch *s, int line)
{
    int *const slots[] = {&code->caller_slot, &code->named_slot, &code->more_slot};
    for (size_t i = 0; i < 3; i++) {
        const lc_jvalue name = lc_jinja_literal(s->names[i]);
        bool is_parameter = false;
        *slots[i] = -1;
        for (size_t j = 0; j < code->parameter_count; j++) {
            const bool is_it = lc_jinja_is_same_name(&code->parameters[j]->value, &name);
            is_parameter = is_parameter || is_it;
            if (is_it && i == 0 && s->is_found[0] &&
                j + code->default_count < code->parameter_count) {
                return lc_jinja_fail_at(b->compiler, line,
                                        "When defining macros or call blocks the special "
                                        "\"caller\" argument must be omitted or be given a "
                                        "default.");
            }
        }
        code->names_caller = code->names_caller || (i == 0 && is_parameter);
        if (s->is_found[i] && !is_parameter) {
            lc_jref ref;
            LC_TRY(lc_jinja_note_parameter(b, f->symbols, &name));
            LC_TRY(place(b, f, f->symbols->level, &name, &ref));
            *slots[i] = ref.slot;
        }
    }
    return LC_OK;
}

static lc_code bind_code(lc_jbinder *b, const frame *f, lc_jcode *code, int line)
{
    lc_jsymbols inner;
    function in;
    void *slots = NULL;
    lc_jsearch s = {.names = {"caller", "kwargs", "varargs"}};
    frame body = inner_frame(f, &inner);
    begin_function(&body, code, &in);
    LC_TRY(lc_jinja_compile_alloc(b->compiler, (code->parameter_count + 1) * sizeof(int), &slots));
    code->parameter_slots = slots;
    for (size_t i = 0; i < code->parameter_count; i++) {
        lc_jref ref;
        LC_TRY(lc_jinja_note_parameter(b, &inner, &code->parameters[i]->value));
        LC_TRY(place(b, &body, inner.level, &code->parameters[i]->value, &ref));
        code->parameter_slots[i] = ref.slot;
    }
    LC_TRY(lc_jinja_note_all(b, &inner, code->defaults, code->default_count));
    LC_TRY(lc_jinja_note_body(b, &inner, &code->body));
    lc_jinja_search_all(&s, code->body.nodes, code->body.count);
    LC_TRY(bind_special(b, &body, code, &s, line));
    LC_TRY(bind_all(b, &body, code->defaults, code->default_count));
    LC_TRY(bind_body(b, &body, &code->body));
    return make_scope(b, &body, &code->scope);
}

static lc_code bind_set_block(lc_jbinder *b, const frame *f, lc_jnode *node)
{
    lc_jsymbols inner;
    const frame block = inner_frame(f, &inner);
    LC_TRY(lc_jinja_note_body(b, &inner, &node->bodies[0]));
    LC_TRY(bind_body(b, &block, &node->bodies[0]));
    LC_TRY(bind_target(b, f, node->a));
    LC_TRY(bind_node(b, &block, node->b));
    return make_scope(b, &block, &node->scope);
}

static lc_code bind_filter_block(lc_jbinder *b, const frame *f, lc_jnode *node)
{
    lc_jsymbols inner;
    const frame block = inner_frame(f, &inner);
    LC_TRY(lc_jinja_note_body(b, &inner, &node->bodies[0]));
    LC_TRY(lc_jinja_note(b, &inner, node->b));
    LC_TRY(bind_body(b, &block, &node->bodies[0]));
    LC_TRY(bind_node(b, &block, node->b));
    return make_scope(b, &block, &node->scope);
}

static lc_code bind_with(lc_jbinder *b, const frame *f, lc_jnode *node)
{
    lc_jsymbols inner;
    const frame with = inner_frame(f, &inner);
    for (size_t i = 0; i < node->count; i += 2) {
        LC_TRY(lc_jinja_note_targets(b, &inner, node->items[i], true));
    }
    LC_TRY(lc_jinja_note_body(b, &inner, &node->bodies[0]));
    for (size_t i = 0; i < node->count; i += 2) {
        LC_TRY(bind_target(b, &with, node->items[i]));
        LC_TRY(bind_node(b, f, node->items[i + 1]));
    }
    LC_TRY(bind_body(b, &with, &node->bodies[0]));
    return make_scope(b, &with, &node->scope);
}

static lc_code bind_macro(lc_jbinder *b, const frame *f, lc_jnode *node)
{
    LC_TRY(bind_code(b, f, node->code, node->line));
    return bind_target(b, f, node->a);
}

static lc_code bind_jump(lc_jbinder *b, const frame *f, const lc_jnode *node)
{
    if (f->loops > 0) {
        return LC_OK;
    }
    return lc_jinja_fail_at(b->compiler, node->line,
                            node->kind == LC_N_BREAK ? "'break' outside loop"
                                                     : "'continue' not properly in loop");
}

static lc_code bind_name(lc_jbinder *b, const frame *f, lc_jnode *node)
{
    return place_name(b, f, node, &node->ref);
}

static lc_code bind_node(lc_jbinder *b, const frame *f, lc_jnode *node)
{
    if (node == NULL) {
        return LC_OK;
    }
    switch (node->kind) {
    case LC_N_NAME:
    case LC_N_NAMESPACE_REF:
        return bind_name(b, f, node);
    case LC_N_IF_ELSE: {
        const frame soft = soft_frame(f);
        return bind_expression(b, &soft, node);
    }
    case LC_N_FILTER:
    case LC_N_TEST:
        LC_TRY(check_exists(b, f, node));
        return bind_expression(b, f, node);
    case LC_N_FOR:
        return bind_for(b, f, node);
    case LC_N_IF:
        return bind_if(b, f, node);
    case LC_N_SET:
        LC_TRY(bind_target(b, f, node->a));
        return bind_node(b, f, node->b);
    case LC_N_SET_BLOCK:
        return bind_set_block(b, f, node);
    case LC_N_MACRO:
        return bind_macro(b, f, node);
    case LC_N_CALL_BLOCK:
        LC_TRY(bind_code(b, f, node->code, node->line));
        return bind_node(b, f, node->a);
    case LC_N_GENERATION:
        return bind_code(b, f, node->code, node->line);
    case LC_N_FILTER_BLOCK:
        return bind_filter_block(b, f, node);
    case LC_N_WITH:
        return bind_with(b, f, node);
    case LC_N_BREAK:
    case LC_N_CONTINUE:
        return bind_jump(b, f, node);
    default:
        return bind_expression(b, f, node);
    }
}

static lc_code bind_body(lc_jbinder *b, const frame *f, lc_jbody *body)
{
    return bind_all(b, f, body->nodes, body->count);
}

lc_code lc_jinja_bind(lc_jcompiler *compiler, lc_jbody *body)
{
    lc_jbinder b = {.compiler = compiler};
    lc_jsymbols root = {0};
    lc_jcode *code = &compiler->program->main;
    function in = {.code = code};
    const frame f = {.symbols = &root, .function = &in};
    lc_jsearch search = {.names = {"self"}};
    lc_jinja_memory_init(&b.scratch, LC_MAX_TEMPLATE_MEMORY);
    code->body = *body;
    code->caller_slot = code->named_slot = code->more_slot = -1;
    lc_jinja_search_all(&search, body->nodes, body->count);
    lc_code result = search.is_found[0]
                         ? lc_jinja_fail_at(compiler, 1,
                                            "self, by which a template names its own blocks, is "
                                            "not supported")
                         : lc_jinja_note_body(&b, &root, body);
    if (result == LC_OK) {
        result = bind_body(&b, &f, &code->body);
    }
    if (result == LC_OK) {
        result = make_scope(&b, &f, &code->scope);
    }
    lc_jinja_memory_release(&b.scratch);
    return result;
}

/* ---- programs ---- */

lc_code lc_jinja_compile(const char *source, size_t bytes, const char *name, lc_jprogram **out,
                         lc_err *err)
{
    lc_jbody body = {0};
    *out = NULL;
    if (bytes > LC_MAX_TEMPLATE_BYTES) {
        return lc_fail(err, LC_ERR_INVALID, "%s: %zu bytes are more than %zu", name, bytes,
                       LC_MAX_TEMPLATE_BYTES);
    }
    lc_jprogram *program = lc_calloc(1, sizeof *program);
    if (program == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the chat template");
    }
    lc_jinja_memory_init(&program->memory, LC_MAX_TEMPLATE_MEMORY);
    lc_jcompiler compiler = {.program = program, .name = name, .err = err};
    lc_code code = lc_jinja_parse(&compiler, source, bytes, &body);
    if (code == LC_OK) {
        code = lc_jinja_bind(&compiler, &body);
    }
    if (code != LC_OK) {
        lc_jinja_free(program);
        return code;
    }
    *out = program;
    return LC_OK;
}

void lc_jinja_free(lc_jprogram *program)
{
    if (program != NULL) {
        lc_jinja_memory_release(&program->memory);
        lc_free(program);
    }
}
