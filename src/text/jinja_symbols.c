/* See jinja_symbols.h. */
#include "text/jinja_symbols.h"

/* ---- symbols ---- */

bool lc_jinja_is_same_name(const lc_jvalue *a, const lc_jvalue *b)
{
    return a->bytes == b->bytes && memcmp(a->text, b->text, a->bytes) == 0;
}

static lc_jsymbol *find_here(const lc_jsymbols *s, const lc_jvalue *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (lc_jinja_is_same_name(&s->items[i].name, name)) {
            return &s->items[i];
        }
    }
    return NULL;
}

/* The symbol that a name means, and the level it belongs to. */
lc_jsymbol *lc_jinja_find_symbol(const lc_jsymbols *s, const lc_jvalue *name, int *level)
{
    for (; s != NULL; s = s->outer) {
        lc_jsymbol *found = find_here(s, name);
        if (found != NULL) {
            *level = s->level;
            return found;
        }
    }
    return NULL;
}

static lc_code get_scratch(lc_jbinder *b, size_t bytes, void **out)
{
    *out = lc_jinja_memory_get(&b->scratch, bytes);
    return *out != NULL ? LC_OK
                        : lc_fail(b->compiler->err, LC_ERR_MEMORY,
                                  "%s: no memory for the template's names", b->compiler->name);
}

lc_code lc_jinja_grow(lc_jbinder *b, void **items, size_t count, size_t *capacity, size_t size)
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
static lc_code add_symbol(lc_jbinder *b, lc_jsymbols *s, const lc_jsymbol *wanted)
{
    if (s->count == s->capacity) {
        void *items = NULL;
        s->capacity = 2 * s->capacity + 8;
        LC_TRY(get_scratch(b, s->capacity * sizeof(lc_jsymbol), &items));
        if (s->count > 0) {
            memcpy(items, s->items, s->count * sizeof(lc_jsymbol));
        }
        s->items = items;
    }
    s->items[s->count++] = *wanted;
    return LC_OK;
}

static void replace_symbol(lc_jsymbol *old, const lc_jsymbol *wanted)
{
    old->action = wanted->action;
    old->alias_level = wanted->alias_level;
    old->is_stored = old->is_stored || wanted->is_stored;
}

/* A new symbol, or the one of that name with another action. */
static lc_code define(lc_jbinder *b, lc_jsymbols *s, const lc_jsymbol *wanted)
{
    lc_jsymbol *found = find_here(s, &wanted->name);
    if (found == NULL) {
        return add_symbol(b, s, wanted);
    }
    replace_symbol(found, wanted);
    return LC_OK;
}

static lc_code note_load(lc_jbinder *b, lc_jsymbols *s, const lc_jvalue *name)
{
    int level = 0;
    if (lc_jinja_find_symbol(s, name, &level) != NULL) {
        return LC_OK;
    }
    return define(b, s, &(lc_jsymbol){.name = *name, .action = A_RESOLVE});
}

lc_code lc_jinja_note_parameter(lc_jbinder *b, lc_jsymbols *s, const lc_jvalue *name)
{
    return define(b, s, &(lc_jsymbol){.name = *name, .action = A_PARAMETER, .is_stored = true});
}

static lc_code note_store(lc_jbinder *b, lc_jsymbols *s, const lc_jvalue *name)
{
    int level = 0;
    lc_jsymbol *here = find_here(s, name);
    if (here != NULL) {
        here->is_stored = true;
        return LC_OK;
    }
    const bool has_outer = s->outer != NULL && lc_jinja_find_symbol(s->outer, name, &level) != NULL;
    return define(b, s,
                  &(lc_jsymbol){.name = *name,
                                .action = has_outer ? A_ALIAS : A_UNDEFINED,
                                .alias_level = level,
                                .is_stored = true});
}

static lc_code copy_symbols(lc_jbinder *b, const lc_jsymbols *from, lc_jsymbols *to)
{
    void *items = NULL;
    *to = *from;
    to->capacity = from->count + 2;
    LC_TRY(get_scratch(b, to->capacity * sizeof(lc_jsymbol), &items));
    to->items = items;
    if (from->count > 0) {
        memcpy(to->items, from->items, from->count * sizeof(lc_jsymbol));
    }
    return LC_OK;
}

/* ---- what a scope refers to ---- */

lc_code lc_jinja_note_all(lc_jbinder *b, lc_jsymbols *s, lc_jnode *const *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        LC_TRY(lc_jinja_note(b, s, nodes[i]));
    }
    return LC_OK;
}

lc_code lc_jinja_note_body(lc_jbinder *b, lc_jsymbols *s, const lc_jbody *body)
{
    return lc_jinja_note_all(b, s, body->nodes, body->count);
}

lc_code lc_jinja_note_targets(lc_jbinder *b, lc_jsymbols *s, const lc_jnode *target,
                              bool is_parameter)
{
    if (target->kind == LC_N_NAME) {
        return is_parameter ? lc_jinja_note_parameter(b, s, &target->value)
                            : note_store(b, s, &target->value);
    }
    if (target->kind == LC_N_NAMESPACE_REF) {
        return note_load(b, s, &target->value);
    }
    for (size_t i = 0; i < target->count; i++) {
        LC_TRY(lc_jinja_note_targets(b, s, target->items[i], is_parameter));
    }
    return LC_OK;
}

/* What branches set may be set afterwards or not: it begins as what is outside. */
static lc_code merge_branches(lc_jbinder *b, lc_jsymbols *s, const lc_jsymbols *branches,
                              size_t count)
{
    lc_jsymbols before;
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
        lc_jsymbol *item = &s->items[i];
        const lc_jsymbol *old = i < before.count ? &before.items[i] : NULL;
        int level = 0;
        if (!item->is_stored || (old != NULL && old->is_stored)) {
            continue;
        }
        const bool has_outer =
            s->outer != NULL && lc_jinja_find_symbol(s->outer, &item->name, &level) != NULL;
        item->action = has_outer ? A_ALIAS : A_RESOLVE;
        item->alias_level = level;
    }
    return LC_OK;
}

/* Jinja2 looks at if, elif and else as three branches, the elifs one after another in theirs; an
 * elif itself is an if of its own there. */
static lc_code note_if(lc_jbinder *b, lc_jsymbols *s, const lc_jnode *node)
{
    lc_jsymbols branches[3];
    LC_TRY(lc_jinja_note(b, s, node->items[0]));
    for (size_t i = 0; i < 3; i++) {
        LC_TRY(copy_symbols(b, s, &branches[i]));
    }
    LC_TRY(lc_jinja_note_body(b, &branches[0], &node->bodies[0]));
    for (size_t i = 1; i < node->count; i++) {
        lc_jsymbols inner[3];
        LC_TRY(lc_jinja_note(b, &branches[1], node->items[i]));
        for (size_t j = 0; j < 3; j++) {
            LC_TRY(copy_symbols(b, &branches[1], &inner[j]));
        }
        LC_TRY(lc_jinja_note_body(b, &inner[0], &node->bodies[i]));
        LC_TRY(merge_branches(b, &branches[1], inner, 3));
    }
    if (node->body_count > node->count) {
        LC_TRY(lc_jinja_note_body(b, &branches[2], &node->bodies[node->count]));
    }
    return merge_branches(b, s, branches, 3);
}

static lc_code note_call(lc_jbinder *b, lc_jsymbols *s, const lc_jargs *call)
{
    LC_TRY(lc_jinja_note_all(b, s, call->args, call->count));
    LC_TRY(lc_jinja_note_all(b, s, call->named, call->named_count));
    LC_TRY(lc_jinja_note(b, s, call->more));
    return lc_jinja_note(b, s, call->more_named);
}

static lc_code note_expression(lc_jbinder *b, lc_jsymbols *s, const lc_jnode *node)
{
    LC_TRY(lc_jinja_note(b, s, node->a));
    LC_TRY(lc_jinja_note(b, s, node->b));
    LC_TRY(lc_jinja_note(b, s, node->c));
    LC_TRY(lc_jinja_note(b, s, node->d));
    LC_TRY(lc_jinja_note_all(b, s, node->items, node->count));
    return note_call(b, s, &node->call);
}

/* The names of one node as its own scope sees them: it does not look into scopes inside. */
lc_code lc_jinja_note(lc_jbinder *b, lc_jsymbols *s, const lc_jnode *node)
{
    if (node == NULL) {
        return LC_OK;
    }
    switch (node->kind) {
    case LC_N_NAME:
        return note_load(b, s, &node->value);
    case LC_N_FOR:
        return lc_jinja_note(b, s, node->loop->iterated);
    case LC_N_IF:
        return note_if(b, s, node);
    case LC_N_SET:
        LC_TRY(lc_jinja_note(b, s, node->b));
        return lc_jinja_note_targets(b, s, node->a, false);
    case LC_N_SET_BLOCK:
        return lc_jinja_note_targets(b, s, node->a, false);
    case LC_N_MACRO:
        return note_store(b, s, &node->code->name);
    case LC_N_CALL_BLOCK:
        return lc_jinja_note(b, s, node->a);
    case LC_N_FILTER_BLOCK:
        return lc_jinja_note(b, s, node->b);
    case LC_N_WITH:
        for (size_t i = 1; i < node->count; i += 2) {
            LC_TRY(lc_jinja_note(b, s, node->items[i]));
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

static void search_node(lc_jsearch *s, const lc_jnode *node);

void lc_jinja_search_all(lc_jsearch *s, lc_jnode *const *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        search_node(s, nodes[i]);
    }
}

static void search_name(lc_jsearch *s, const lc_jvalue *name, bool is_load)
{
    for (size_t i = 0; i < 3 && s->names[i] != NULL; i++) {
        if (lc_jinja_is_text(name, s->names[i])) {
            s->is_found[i] = s->is_found[i] || (is_load && !s->is_gone[i]);
            s->is_gone[i] = s->is_gone[i] || !is_load;
        }
    }
}

static void search_code(lc_jsearch *s, const lc_jcode *code)
{
    lc_jinja_search_all(s, code->parameters, code->parameter_count);
    lc_jinja_search_all(s, code->defaults, code->default_count);
    lc_jinja_search_all(s, code->body.nodes, code->body.count);
}

static void search_for(lc_jsearch *s, const lc_jfor *loop)
{
    search_node(s, loop->target);
    search_node(s, loop->iterated);
    lc_jinja_search_all(s, loop->body.nodes, loop->body.count);
    lc_jinja_search_all(s, loop->otherwise.nodes, loop->otherwise.count);
    search_node(s, loop->test);
}

static void search_if(lc_jsearch *s, const lc_jnode *node)
{
    for (size_t i = 0; i < node->body_count; i++) {
        if (i < node->count) {
            search_node(s, node->items[i]);
        }
        lc_jinja_search_all(s, node->bodies[i].nodes, node->bodies[i].count);
    }
}

static void search_with(lc_jsearch *s, const lc_jnode *node)
{
    for (size_t first = 0; first < 2; first++) {
        for (size_t i = first; i < node->count; i += 2) {
            search_node(s, node->items[i]);
        }
    }
    lc_jinja_search_all(s, node->bodies[0].nodes, node->bodies[0].count);
}

static void search_node(lc_jsearch *s, const lc_jnode *node)
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
    lc_jinja_search_all(s, node->items, node->count);
    lc_jinja_search_all(s, node->call.args, node->call.count);
    lc_jinja_search_all(s, node->call.named, node->call.named_count);
    search_node(s, node->call.more);
    search_node(s, node->call.more_named);
    for (size_t i = 0; i < node->body_count; i++) {
        lc_jinja_search_all(s, node->bodies[i].nodes, node->bodies[i].count);
    }
    if (is_filter_block) {
        search_node(s, node->b);
    }
    if (node->code != NULL) {
        search_code(s, node->code);
    }
}
