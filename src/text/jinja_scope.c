/*
 * Names to places, by Jinja2's rules (its idtracking.py and compiler.py): a scope knows before it
 * runs which names it reads and which it sets, and what each is at its beginning: a copy of the
 * outer scope's, a value of the context, or nothing. A name of a scope at level n is one variable
 * of the function around it, so that two loops side by side share theirs, as in Jinja2.
 */
#include <stdio.h>

#include "lorac/mem.h"
#include "text/jinja_program.h"

#define MAX_NESTED_LOOPS 20 /* of one function, as CPython has it */

typedef enum action {
    A_PARAMETER, /* set by what opens the scope */
    A_RESOLVE,   /* from the context */
    A_ALIAS,     /* a copy of an outer scope's */
    A_UNDEFINED
} action;

/* A name that a scope refers to itself (not through an outer scope). */
typedef struct symbol {
    lc_jvalue name;
    action action;
    int alias_level;
    bool is_stored;
} symbol;

typedef struct symbols {
    int level;
    struct symbols *outer;
    symbol *items;
    size_t count, capacity;
} symbols;

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
    symbols *symbols;
    function *function;
    bool is_soft; /* inside if: a filter that does not exist is an error only when it is reached */
    int loops;
} frame;

typedef struct binder {
    lc_jcompiler *compiler;
    lc_jmemory scratch; /* of symbols, which nobody needs afterwards */
} binder;

static lc_code bind_body(binder *b, const frame *f, lc_jbody *body);
static lc_code bind_node(binder *b, const frame *f, lc_jnode *node);

/* ---- symbols ---- */

static bool is_same_name(const lc_jvalue *a, const lc_jvalue *b)
{
    return a->bytes == b->bytes && memcmp(a->text, b->text, a->bytes) == 0;
}

static symbol *find_here(const symbols *s, const lc_jvalue *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (is_same_name(&s->items[i].name, name)) {
            return &s->items[i];
        }
    }
    return NULL;
}

/* The symbol that a name means, and the level it belongs to. */
static symbol *find(const symbols *s, const lc_jvalue *name, int *level)
{
    for (; s != NULL; s = s->outer) {
        symbol *found = find_here(s, name);
        if (found != NULL) {
            *level = s->level;
            return found;
        }
    }
    return NULL;
}

static lc_code get_scratch(binder *b, size_t bytes, void **out)
{
    *out = lc_jinja_memory_get(&b->scratch, bytes);
    return *out != NULL ? LC_OK
                        : lc_fail(b->compiler->err, LC_ERR_MEMORY,
                                  "%s: no memory for the template's names", b->compiler->name);
}

static lc_code grow(binder *b, void **items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return LC_OK;
    }
    void *grown = NULL;
    const size_t wanted = *capacity > 0 ? 2 * *capacity : 8;
    LC_TRY(lc_jinja_compile_alloc(b->compiler, wanted * size, &grown));
    if (count > 0) {
        memcpy(grown, *items, count * size);
    }
    *items = grown;
    *capacity = wanted;
    return LC_OK;
}

/* A new symbol. */
static lc_code add_symbol(binder *b, symbols *s, const symbol *wanted)
{
    if (s->count == s->capacity) {
        void *items = NULL;
        s->capacity = 2 * s->capacity + 8;
        LC_TRY(get_scratch(b, s->capacity * sizeof(symbol), &items));
        if (s->count > 0) {
            memcpy(items, s->items, s->count * sizeof(symbol));
        }
        s->items = items;
    }
    s->items[s->count++] = *wanted;
    return LC_OK;
}

static void replace_symbol(symbol *old, const symbol *wanted)
{
    old->action = wanted->action;
    old->alias_level = wanted->alias_level;
    old->is_stored = old->is_stored || wanted->is_stored;
}

/* A new symbol, or the one of that name with another action. */
static lc_code define(binder *b, symbols *s, const symbol *wanted)
{
    symbol *found = find_here(s, &wanted->name);
    if (found == NULL) {
        return add_symbol(b, s, wanted);
    }
    replace_symbol(found, wanted);
    return LC_OK;
}

static lc_code note_load(binder *b, symbols *s, const lc_jvalue *name)
{
    int level = 0;
    if (find(s, name, &level) != NULL) {
        return LC_OK;
    }
    return define(b, s, &(symbol){.name = *name, .action = A_RESOLVE});
}

static lc_code note_parameter(binder *b, symbols *s, const lc_jvalue *name)
{
    return define(b, s, &(symbol){.name = *name, .action = A_PARAMETER, .is_stored = true});
}

static lc_code note_store(binder *b, symbols *s, const lc_jvalue *name)
{
    int level = 0;
    symbol *here = find_here(s, name);
    if (here != NULL) {
        here->is_stored = true;
        return LC_OK;
    }
    const bool has_outer = s->outer != NULL && find(s->outer, name, &level) != NULL;
    return define(b, s,
                  &(symbol){.name = *name,
                            .action = has_outer ? A_ALIAS : A_UNDEFINED,
                            .alias_level = level,
                            .is_stored = true});
}

static lc_code copy_symbols(binder *b, const symbols *from, symbols *to)
{
    void *items = NULL;
    *to = *from;
    to->capacity = from->count + 2;
    LC_TRY(get_scratch(b, to->capacity * sizeof(symbol), &items));
    to->items = items;
    if (from->count > 0) {
        memcpy(to->items, from->items, from->count * sizeof(symbol));
    }
    return LC_OK;
}

/* ---- what a scope refers to ---- */

static lc_code note(binder *b, symbols *s, const lc_jnode *node);

static lc_code note_all(binder *b, symbols *s, lc_jnode *const *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        LC_TRY(note(b, s, nodes[i]));
    }
    return LC_OK;
}

static lc_code note_body(binder *b, symbols *s, const lc_jbody *body)
{
    return note_all(b, s, body->nodes, body->count);
}

static lc_code note_targets(binder *b, symbols *s, const lc_jnode *target, bool is_parameter)
{
    if (target->kind == LC_N_NAME) {
        return is_parameter ? note_parameter(b, s, &target->value)
                            : note_store(b, s, &target->value);
    }
    if (target->kind == LC_N_NAMESPACE_REF) {
        return note_load(b, s, &target->value);
    }
    for (size_t i = 0; i < target->count; i++) {
        LC_TRY(note_targets(b, s, target->items[i], is_parameter));
    }
    return LC_OK;
}

/* What branches set may be set afterwards or not: it begins as what is outside. */
static lc_code merge_branches(binder *b, symbols *s, const symbols *branches, size_t count)
{
    symbols before;
    LC_TRY(copy_symbols(b, s, &before));
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < branches[i].count; j++) {
            if (j < before.count) { /* branches begin as copies */
                replace_symbol(&s->items[j], &branches[i].items[j]);
            } else {
                LC_TRY(define(b, s, &branches[i].items[j]));
            }
        }
    }
    for (size_t i = 0; i < s->count; i++) {
        symbol *item = &s->items[i];
        const symbol *old = i < before.count ? &before.items[i] : NULL;
        int level = 0;
        if (!item->is_stored || (old != NULL && old->is_stored)) {
            continue;
        }
        const bool has_outer = s->outer != NULL && find(s->outer, &item->name, &level) != NULL;
        item->action = has_outer ? A_ALIAS : A_RESOLVE;
        item->alias_level = level;
    }
    return LC_OK;
}

/* Jinja2 looks at if, elif and else as three branches, the elifs one after another in theirs; an
 * elif itself is an if of its own there. */
static lc_code note_if(binder *b, symbols *s, const lc_jnode *node)
{
    symbols branches[3];
    LC_TRY(note(b, s, node->items[0]));
    for (size_t i = 0; i < 3; i++) {
        LC_TRY(copy_symbols(b, s, &branches[i]));
    }
    LC_TRY(note_body(b, &branches[0], &node->bodies[0]));
    for (size_t i = 1; i < node->count; i++) {
        symbols inner[3];
        LC_TRY(note(b, &branches[1], node->items[i]));
        for (size_t j = 0; j < 3; j++) {
            LC_TRY(copy_symbols(b, &branches[1], &inner[j]));
        }
        LC_TRY(note_body(b, &inner[0], &node->bodies[i]));
        LC_TRY(merge_branches(b, &branches[1], inner, 3));
    }
    if (node->body_count > node->count) {
        LC_TRY(note_body(b, &branches[2], &node->bodies[node->count]));
    }
    return merge_branches(b, s, branches, 3);
}

static lc_code note_call(binder *b, symbols *s, const lc_jargs *call)
{
    LC_TRY(note_all(b, s, call->args, call->count));
    LC_TRY(note_all(b, s, call->named, call->named_count));
    LC_TRY(note(b, s, call->more));
    return note(b, s, call->more_named);
}

static lc_code note_expression(binder *b, symbols *s, const lc_jnode *node)
{
    LC_TRY(note(b, s, node->a));
    LC_TRY(note(b, s, node->b));
    LC_TRY(note(b, s, node->c));
    LC_TRY(note(b, s, node->d));
    LC_TRY(note_all(b, s, node->items, node->count));
    return note_call(b, s, &node->call);
}

/* The names of one node as its own scope sees them: it does not look into scopes inside. */
static lc_code note(binder *b, symbols *s, const lc_jnode *node)
{
    if (node == NULL) {
        return LC_OK;
    }
    switch (node->kind) {
    case LC_N_NAME:
        return note_load(b, s, &node->value);
    case LC_N_FOR:
        return note(b, s, node->loop->iterated);
    case LC_N_IF:
        return note_if(b, s, node);
    case LC_N_SET:
        LC_TRY(note(b, s, node->b));
        return note_targets(b, s, node->a, false);
    case LC_N_SET_BLOCK:
        return note_targets(b, s, node->a, false);
    case LC_N_MACRO:
        return note_store(b, s, &node->code->name);
    case LC_N_CALL_BLOCK:
        return note(b, s, node->a);
    case LC_N_FILTER_BLOCK:
        return note(b, s, node->b);
    case LC_N_WITH:
        for (size_t i = 1; i < node->count; i += 2) {
            LC_TRY(note(b, s, node->items[i]));
        }
        return LC_OK;
    case LC_N_GENERATION:
    case LC_N_BREAK:
    case LC_N_CONTINUE:
        return LC_OK;
    default:
        return note_expression(b, s, node);
    }
}

/* ---- undeclared names ---- */

/* "loop", "caller", "kwargs", "varargs": which are read before they are set, anywhere below. */
typedef struct search {
    const char *names[3];
    bool is_gone[3], is_found[3];
} search;

static void search_node(search *s, const lc_jnode *node);

static void search_all(search *s, lc_jnode *const *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        search_node(s, nodes[i]);
    }
}

static void search_name(search *s, const lc_jvalue *name, bool is_load)
{
    for (size_t i = 0; i < 3 && s->names[i] != NULL; i++) {
        if (lc_jinja_is_text(name, s->names[i])) {
            s->is_found[i] = s->is_found[i] || (is_load && !s->is_gone[i]);
            s->is_gone[i] = s->is_gone[i] || !is_load;
        }
    }
}

static void search_code(search *s, const lc_jcode *code)
{
    search_all(s, code->parameters, code->parameter_count);
    search_all(s, code->defaults, code->default_count);
    search_all(s, code->body.nodes, code->body.count);
}

static void search_for(search *s, const lc_jfor *loop)
{
    search_node(s, loop->target);
    search_node(s, loop->iterated);
    search_all(s, loop->body.nodes, loop->body.count);
    search_all(s, loop->otherwise.nodes, loop->otherwise.count);
    search_node(s, loop->test);
}

static void search_if(search *s, const lc_jnode *node)
{
    for (size_t i = 0; i < node->body_count; i++) {
        if (i < node->count) {
            search_node(s, node->items[i]);
        }
        search_all(s, node->bodies[i].nodes, node->bodies[i].count);
    }
}

static void search_with(search *s, const lc_jnode *node)
{
    for (size_t first = 0; first < 2; first++) {
        for (size_t i = first; i < node->count; i += 2) {
            search_node(s, node->items[i]);
        }
    }
    search_all(s, node->bodies[0].nodes, node->bodies[0].count);
}

static void search_node(search *s, const lc_jnode *node)
{
    if (node == NULL) {
        return;
    }
    if (node->kind == LC_N_NAME) {
        search_name(s, &node->value, !node->is_stored);
        return;
    }
    if (node->kind == LC_N_FOR) {
        search_for(s, node->loop);
        return;
    }
    if (node->kind == LC_N_IF) {
        search_if(s, node);
        return;
    }
    if (node->kind == LC_N_WITH) {
        search_with(s, node);
        return;
    }
    if (node->kind != LC_N_MACRO) { /* whose name is no node */
        search_node(s, node->a);
    }
    const bool is_filter_block = node->kind == LC_N_FILTER_BLOCK;
    if (!is_filter_block) {
        search_node(s, node->b);
    }
    search_node(s, node->c);
    search_node(s, node->d);
    search_all(s, node->items, node->count);
    search_all(s, node->call.args, node->call.count);
    search_all(s, node->call.named, node->call.named_count);
    search_node(s, node->call.more);
    search_node(s, node->call.more_named);
    for (size_t i = 0; i < node->body_count; i++) {
        search_all(s, node->bodies[i].nodes, node->bodies[i].count);
    }
    if (is_filter_block) {
        search_node(s, node->b);
    }
    if (node->code != NULL) {
        search_code(s, node->code);
    }
}

/* ---- places ---- */

/* The slot of a variable in the function that has it, and how far out that is. */
static lc_code place(binder *b, const frame *f, int level, const lc_jvalue *name, lc_jref *out)
{
    function *in = f->function;
    int hops = 0;
    while (level < in->first_level) {
        in = in->outer;
        hops++;
    }
    for (int i = 0; i < in->code->slot_count; i++) {
        if (in->variables[i].level == level && is_same_name(&in->variables[i].name, name)) {
            *out = (lc_jref){hops, i};
            return LC_OK;
        }
    }
    void *variables = in->variables;
    LC_TRY(grow(b, &variables, (size_t)in->code->slot_count, &in->capacity, sizeof(variable)));
    in->variables = variables;
    in->variables[in->code->slot_count] = (variable){level, *name};
    *out = (lc_jref){hops, in->code->slot_count++};
    return LC_OK;
}

static lc_code place_global(binder *b, const lc_jvalue *name, lc_jref *out)
{
    lc_jprogram *program = b->compiler->program;
    for (size_t i = 0; i < program->global_count; i++) {
        if (is_same_name(&program->global_names[i], name)) {
            *out = (lc_jref){-1, (int)i};
            return LC_OK;
        }
    }
    void *names = program->global_names;
    LC_TRY(grow(b, &names, program->global_count, &program->global_capacity, sizeof(lc_jvalue)));
    program->global_names = names;
    program->global_names[program->global_count] = *name;
    *out = (lc_jref){-1, (int)program->global_count++};
    return LC_OK;
}

/* A context variable that nobody sets needs no slot. */
static lc_code place_symbol(binder *b, const frame *f, const symbol *s, int level, lc_jref *out)
{
    return s->action == A_RESOLVE && !s->is_stored ? place_global(b, &s->name, out)
                                                   : place(b, f, level, &s->name, out);
}

static lc_code place_name(binder *b, const frame *f, const lc_jnode *node, lc_jref *out)
{
    int level = 0;
    const symbol *found = find(f->symbols, &node->value, &level);
    if (found == NULL) {
        return lc_jinja_fail_at(
            b->compiler, node->line, "the name '%.*s' is unknown to the filter of a set block",
            node->value.bytes < 100 ? (int)node->value.bytes : 100, node->value.text);
    }
    return place_symbol(b, f, found, level, out);
}

/* What happens to the scope's variables as it is entered. */
static lc_code make_scope(binder *b, const frame *f, lc_jscope *out)
{
    const symbols *s = f->symbols;
    void *memory = NULL;
    LC_TRY(lc_jinja_compile_alloc(b->compiler, (s->count + 1) * sizeof(lc_jinit), &memory));
    out->inits = memory;
    for (size_t i = 0; i < s->count; i++) {
        const symbol *item = &s->items[i];
        lc_jref to, from = {0, 0};
        int level = 0;
        if (item->action == A_RESOLVE && !item->is_stored) {
            continue;
        }
        LC_TRY(place(b, f, s->level, &item->name, &to));
        if (item->action == A_RESOLVE) {
            LC_TRY(place_global(b, &item->name, &from));
        } else if (item->action == A_ALIAS) {
            const symbol *outer = find(s->outer, &item->name, &level);
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

static frame inner_frame(const frame *f, symbols *s)
{
    *s = (symbols){.level = f->symbols->level + 1, .outer = f->symbols};
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

static lc_code bind_all(binder *b, const frame *f, lc_jnode **nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        LC_TRY(bind_node(b, f, nodes[i]));
    }
    return LC_OK;
}

static lc_code bind_call(binder *b, const frame *f, lc_jargs *call)
{
    LC_TRY(bind_all(b, f, call->args, call->count));
    LC_TRY(bind_all(b, f, call->named, call->named_count));
    LC_TRY(bind_node(b, f, call->more));
    return bind_node(b, f, call->more_named);
}

static lc_code bind_expression(binder *b, const frame *f, lc_jnode *node)
{
    LC_TRY(bind_node(b, f, node->a));
    LC_TRY(bind_node(b, f, node->b));
    LC_TRY(bind_node(b, f, node->c));
    LC_TRY(bind_node(b, f, node->d));
    LC_TRY(bind_all(b, f, node->items, node->count));
    return bind_call(b, f, &node->call);
}

static lc_code check_exists(binder *b, const frame *f, const lc_jnode *node)
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

static lc_code bind_target(binder *b, const frame *f, lc_jnode *target)
{
    if (target->kind != LC_N_TUPLE) {
        return place_name(b, f, target, &target->ref);
    }
    return bind_all(b, f, target->items, target->count);
}

/* The same target once more, for the frame of the loop's test. */
static lc_code copy_target(binder *b, const lc_jnode *target, lc_jnode **out)
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

static lc_code bind_loop_test(binder *b, const frame *f, lc_jfor *loop)
{
    symbols s;
    function in;
    void *memory = NULL;
    frame test = inner_frame(f, &s);
    LC_TRY(lc_jinja_compile_alloc(b->compiler, sizeof(lc_jcode), &memory));
    loop->test_code = memory;
    begin_function(&test, loop->test_code, &in);
    LC_TRY(copy_target(b, loop->target, &loop->test_target));
    LC_TRY(note_targets(b, &s, loop->target, true));
    LC_TRY(note(b, &s, loop->test));
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

static lc_code bind_loop_body(binder *b, const frame *f, lc_jfor *loop, int line)
{
    static const lc_jvalue loop_name = {.type = LC_J_STRING, .text = "loop", .bytes = 4};
    search s = {.names = {"loop"}};
    symbols inner, other;
    function in;
    lc_jref ref;
    frame body = inner_frame(f, &inner), otherwise = inner_frame(f, &other);
    search_all(&s, loop->body.nodes, loop->body.count);
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
        LC_TRY(note_parameter(b, &inner, &loop_name));
        LC_TRY(place(b, &body, inner.level, &loop_name, &ref));
        loop->loop_slot = ref.slot;
    }
    LC_TRY(note_targets(b, &inner, loop->target, true));
    LC_TRY(note_body(b, &inner, &loop->body));
    LC_TRY(bind_target(b, &body, loop->target));
    LC_TRY(bind_body(b, &body, &loop->body));
    LC_TRY(make_scope(b, &body, &loop->scope));
    LC_TRY(note_body(b, &other, &loop->otherwise));
    LC_TRY(bind_body(b, &otherwise, &loop->otherwise));
    return make_scope(b, &otherwise, &loop->else_scope);
}

static lc_code bind_for(binder *b, const frame *f, lc_jnode *node)
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

static lc_code bind_if(binder *b, const frame *f, lc_jnode *node)
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
static lc_code bind_special(binder *b, frame *f, lc_jcode *code, const search *s, int line)
{
    int *const slots[] = {&code->caller_slot, &code->named_slot, &code->more_slot};
    for (size_t i = 0; i < 3; i++) {
        const lc_jvalue name = lc_jinja_literal(s->names[i]);
        bool is_parameter = false;
        *slots[i] = -1;
        for (size_t j = 0; j < code->parameter_count; j++) {
            const bool is_it = is_same_name(&code->parameters[j]->value, &name);
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
            LC_TRY(note_parameter(b, f->symbols, &name));
            LC_TRY(place(b, f, f->symbols->level, &name, &ref));
            *slots[i] = ref.slot;
        }
    }
    return LC_OK;
}

static lc_code bind_code(binder *b, const frame *f, lc_jcode *code, int line)
{
    symbols inner;
    function in;
    void *slots = NULL;
    search s = {.names = {"caller", "kwargs", "varargs"}};
    frame body = inner_frame(f, &inner);
    begin_function(&body, code, &in);
    LC_TRY(lc_jinja_compile_alloc(b->compiler, (code->parameter_count + 1) * sizeof(int), &slots));
    code->parameter_slots = slots;
    for (size_t i = 0; i < code->parameter_count; i++) {
        lc_jref ref;
        LC_TRY(note_parameter(b, &inner, &code->parameters[i]->value));
        LC_TRY(place(b, &body, inner.level, &code->parameters[i]->value, &ref));
        code->parameter_slots[i] = ref.slot;
    }
    LC_TRY(note_all(b, &inner, code->defaults, code->default_count));
    LC_TRY(note_body(b, &inner, &code->body));
    search_all(&s, code->body.nodes, code->body.count);
    LC_TRY(bind_special(b, &body, code, &s, line));
    LC_TRY(bind_all(b, &body, code->defaults, code->default_count));
    LC_TRY(bind_body(b, &body, &code->body));
    return make_scope(b, &body, &code->scope);
}

static lc_code bind_set_block(binder *b, const frame *f, lc_jnode *node)
{
    symbols inner;
    const frame block = inner_frame(f, &inner);
    LC_TRY(note_body(b, &inner, &node->bodies[0]));
    LC_TRY(bind_body(b, &block, &node->bodies[0]));
    LC_TRY(bind_target(b, f, node->a));
    LC_TRY(bind_node(b, &block, node->b));
    return make_scope(b, &block, &node->scope);
}

static lc_code bind_filter_block(binder *b, const frame *f, lc_jnode *node)
{
    symbols inner;
    const frame block = inner_frame(f, &inner);
    LC_TRY(note_body(b, &inner, &node->bodies[0]));
    LC_TRY(note(b, &inner, node->b));
    LC_TRY(bind_body(b, &block, &node->bodies[0]));
    LC_TRY(bind_node(b, &block, node->b));
    return make_scope(b, &block, &node->scope);
}

static lc_code bind_with(binder *b, const frame *f, lc_jnode *node)
{
    symbols inner;
    const frame with = inner_frame(f, &inner);
    for (size_t i = 0; i < node->count; i += 2) {
        LC_TRY(note_targets(b, &inner, node->items[i], true));
    }
    LC_TRY(note_body(b, &inner, &node->bodies[0]));
    for (size_t i = 0; i < node->count; i += 2) {
        LC_TRY(bind_target(b, &with, node->items[i]));
        LC_TRY(bind_node(b, f, node->items[i + 1]));
    }
    LC_TRY(bind_body(b, &with, &node->bodies[0]));
    return make_scope(b, &with, &node->scope);
}

static lc_code bind_macro(binder *b, const frame *f, lc_jnode *node)
{
    LC_TRY(bind_code(b, f, node->code, node->line));
    return bind_target(b, f, node->a);
}

static lc_code bind_jump(binder *b, const frame *f, const lc_jnode *node)
{
    if (f->loops > 0) {
        return LC_OK;
    }
    return lc_jinja_fail_at(b->compiler, node->line,
                            node->kind == LC_N_BREAK ? "'break' outside loop"
                                                     : "'continue' not properly in loop");
}

static lc_code bind_name(binder *b, const frame *f, lc_jnode *node)
{
    return place_name(b, f, node, &node->ref);
}

static lc_code bind_node(binder *b, const frame *f, lc_jnode *node)
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

static lc_code bind_body(binder *b, const frame *f, lc_jbody *body)
{
    return bind_all(b, f, body->nodes, body->count);
}

lc_code lc_jinja_bind(lc_jcompiler *compiler, lc_jbody *body)
{
    binder b = {.compiler = compiler};
    symbols root = {0};
    lc_jcode *code = &compiler->program->main;
    function in = {.code = code};
    const frame f = {.symbols = &root, .function = &in};
    lc_jinja_memory_init(&b.scratch, LC_MAX_TEMPLATE_MEMORY);
    code->body = *body;
    code->caller_slot = code->named_slot = code->more_slot = -1;
    lc_code result = note_body(&b, &root, body);
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
