/*
 * Statements, and the parser's common parts. Nesting in the source is bounded, and so are the
 * levels of a tree, since both are walked by recursion.
 */
#include <stdarg.h>
#include <stdio.h>

#include "text/jinja_parser.h"

#define MAX_END_TAGS 3

/* ---- common parts ---- */

lc_code lc_jinja_fail_at(lc_jcompiler *compiler, int line, const char *format, ...)
{
    char message[LC_ERR_MESSAGE_BYTES];
    va_list arguments;
    if (compiler->code != LC_OK) {
        return compiler->code;
    }
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    compiler->code = LC_ERR_INVALID;
    return lc_fail_line(compiler->err, LC_ERR_INVALID, line, "%.120s, line %d: %.800s",
                        compiler->name, line, message);
}

lc_code lc_jinja_compile_alloc(lc_jcompiler *compiler, size_t bytes, void **out)
{
    *out = lc_jinja_memory_get(&compiler->program->memory, bytes);
    if (*out == NULL) {
        return lc_fail(compiler->err, LC_ERR_MEMORY, "no memory for the chat template");
    }
    memset(*out, 0, bytes);
    return LC_OK;
}

lc_code lc_jinja_syntax_error(lc_jparser *p, int line, const char *format, ...)
{
    char message[LC_ERR_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return lc_jinja_fail_at(p->compiler, line, "%s", message);
}

lc_code lc_jinja_new_node(lc_jparser *p, lc_jkind kind, int line, lc_jnode **out)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_compile_alloc(p->compiler, sizeof(lc_jnode), &memory));
    *out = memory;
    (*out)->kind = (uint8_t)kind;
    (*out)->line = line;
    return LC_OK;
}

lc_code lc_jinja_add_node(lc_jparser *p, lc_jnodes *nodes, lc_jnode *node)
{
    if (nodes->count == nodes->capacity) {
        void *grown = NULL;
        const size_t capacity = nodes->capacity > 0 ? 2 * nodes->capacity : 4;
        LC_TRY(lc_jinja_compile_alloc(p->compiler, capacity * sizeof(lc_jnode *), &grown));
        if (nodes->count > 0) {
            memcpy(grown, nodes->items, nodes->count * sizeof(lc_jnode *));
        }
        nodes->items = grown;
        nodes->capacity = capacity;
    }
    nodes->items[nodes->count++] = node;
    return LC_OK;
}

static uint16_t deeper(uint16_t tree, const lc_jnode *child)
{
    return child != NULL && child->tree >= tree ? (uint16_t)(child->tree + 1) : tree;
}

lc_code lc_jinja_finish_node(lc_jparser *p, lc_jnode *node)
{
    uint16_t tree = 1;
    lc_jnode *const single[] = {node->a, node->b,         node->c,
                                node->d, node->call.more, node->call.more_named};
    for (size_t i = 0; i < sizeof single / sizeof *single; i++) {
        tree = deeper(tree, single[i]);
    }
    for (size_t i = 0; i < node->count; i++) {
        tree = deeper(tree, node->items[i]);
    }
    for (size_t i = 0; i < node->call.count; i++) {
        tree = deeper(tree, node->call.args[i]);
    }
    for (size_t i = 0; i < node->call.named_count; i++) {
        tree = deeper(tree, node->call.named[i]);
    }
    node->tree = tree;
    return tree <= LC_MAX_TEMPLATE_TREE
               ? LC_OK
               : lc_jinja_syntax_error(p, node->line,
                                       "an expression is more than %d operators deep "
                                       "(LC_MAX_TEMPLATE_TREE)",
                                       LC_MAX_TEMPLATE_TREE);
}

lc_code lc_jinja_nest(lc_jparser *p)
{
    if (p->nesting >= LC_MAX_TEMPLATE_NESTING) {
        return lc_jinja_syntax_error(p, p->token->line,
                                     "nested more than %d deep (LC_MAX_TEMPLATE_NESTING)",
                                     LC_MAX_TEMPLATE_NESTING);
    }
    p->nesting++;
    return LC_OK;
}

/* The lexer's message, where the source cannot be read on. */
static lc_code check_token(lc_jparser *p)
{
    return p->token->type != LC_T_FAILED
               ? LC_OK
               : lc_jinja_syntax_error(p, p->token->line, "%s", p->token->value.text);
}

lc_code lc_jinja_advance(lc_jparser *p)
{
    if (p->token->type != LC_T_END) {
        p->token++;
    }
    return check_token(p);
}

bool lc_jinja_at_name(const lc_jparser *p, const char *name)
{
    return p->token->type == LC_T_NAME && lc_jinja_is_text(&p->token->value, name);
}

bool lc_jinja_next_is(const lc_jparser *p, lc_jtoken_type type, const char *name)
{
    const lc_jtoken *next = p->token->type == LC_T_END ? p->token : p->token + 1;
    return next->type == type && (name == NULL || lc_jinja_is_text(&next->value, name));
}

static lc_code fail_expected(lc_jparser *p, const char *expected)
{
    char shown[128];
    if (p->token->type == LC_T_END) {
        return lc_jinja_syntax_error(p, p->token->line,
                                     "unexpected end of template, expected '%s'.", expected);
    }
    lc_jinja_describe_token(p->token, shown, sizeof shown);
    return lc_jinja_syntax_error(p, p->token->line, "expected token '%s', got '%s'", expected,
                                 shown);
}

lc_code lc_jinja_expect(lc_jparser *p, lc_jtoken_type type)
{
    return p->token->type == type ? lc_jinja_advance(p)
                                  : fail_expected(p, lc_jinja_token_name(type));
}

lc_code lc_jinja_expect_name(lc_jparser *p, const char *name)
{
    return lc_jinja_at_name(p, name) ? lc_jinja_advance(p) : fail_expected(p, name);
}

lc_code lc_jinja_skip_name(lc_jparser *p, const char *name, bool *was_there)
{
    *was_there = lc_jinja_at_name(p, name);
    return *was_there ? lc_jinja_advance(p) : LC_OK;
}

/* ---- bodies ---- */

/* Names of tags, one of which ends a body; the rest is NULL. */
typedef struct end_tags {
    const char *names[MAX_END_TAGS];
} end_tags;

/* What is open around a body, for the message when it does not end. */
typedef struct open_body {
    const struct open_body *outer;
    const end_tags *ends;
    const char *tag; /* the statement whose body it is */
} open_body;

static lc_code parse_statement(lc_jparser *p, const open_body *open, lc_jnode **out);

static bool is_end(const lc_jparser *p, const end_tags *ends)
{
    for (size_t i = 0; ends != NULL && i < MAX_END_TAGS && ends->names[i] != NULL; i++) {
        if (lc_jinja_at_name(p, ends->names[i])) {
            return true;
        }
    }
    return false;
}

/* "'elif' or 'else' or 'endif'" */
static void show_ends(const end_tags *ends, char *out, size_t capacity)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < MAX_END_TAGS && ends->names[i] != NULL && used < capacity; i++) {
        used += (size_t)snprintf(out + used, capacity - used, "%s'%s'", i > 0 ? " or " : "",
                                 ends->names[i]);
    }
}

/* An unknown tag, or with name NULL the end of the template inside a body. */
static lc_code fail_tag(lc_jparser *p, const open_body *open, const lc_jvalue *name, int line)
{
    char looking[128] = "", begin[160] = "", closing[160] = "";
    bool is_misplaced = false;
    if (name != NULL) {
        (void)snprintf(begin, sizeof begin, "Encountered unknown tag '%.*s'.",
                       name->bytes < 100 ? (int)name->bytes : 100, name->text);
    } else {
        (void)snprintf(begin, sizeof begin, "Unexpected end of template.");
    }
    for (const open_body *at = open; at != NULL; at = at->outer) {
        for (size_t i = 0; name != NULL && i < MAX_END_TAGS && at->ends->names[i] != NULL; i++) {
            is_misplaced = is_misplaced || lc_jinja_is_text(name, at->ends->names[i]);
        }
    }
    if (open == NULL) {
        return lc_jinja_syntax_error(p, line, "%s", begin);
    }
    show_ends(open->ends, looking, sizeof looking);
    (void)snprintf(closing, sizeof closing, " The innermost block that needs to be closed is '%s'.",
                   open->tag);
    return lc_jinja_syntax_error(p, line,
                                 is_misplaced ? "%s You probably made a nesting mistake. Jinja is "
                                                "expecting this tag, but currently looking for "
                                                "%s.%s"
                                              : "%s Jinja was looking for the following tags: "
                                                "%s.%s",
                                 begin, looking, closing);
}

/* Text and {{ }} between statements are one OUTPUT node. */
static lc_code parse_output(lc_jparser *p, lc_jnodes *items)
{
    lc_jnode *node = NULL;
    if (p->token->type == LC_T_DATA) {
        LC_TRY(lc_jinja_new_node(p, LC_N_CONST, p->token->line, &node));
        node->value = p->token->value;
        LC_TRY(lc_jinja_advance(p));
        return lc_jinja_add_node(p, items, node);
    }
    LC_TRY(lc_jinja_advance(p));
    LC_TRY(lc_jinja_parse_tuple(p, true, NULL, &node));
    LC_TRY(lc_jinja_add_node(p, items, node));
    return lc_jinja_expect(p, LC_T_PRINT_END);
}

static lc_code flush_output(lc_jparser *p, lc_jnodes *items, lc_jnodes *body)
{
    lc_jnode *node = NULL;
    if (items->count == 0) {
        return LC_OK;
    }
    LC_TRY(lc_jinja_new_node(p, LC_N_OUTPUT, items->items[0]->line, &node));
    node->items = items->items;
    node->count = items->count;
    *items = (lc_jnodes){0};
    return lc_jinja_add_node(p, body, node);
}

/* Up to one of the end tags, which becomes the current token, or to the template's end. */
static lc_code parse_nodes(lc_jparser *p, const open_body *open, lc_jbody *out)
{
    const end_tags *ends = open != NULL ? open->ends : NULL;
    lc_jnodes body = {0}, items = {0};
    LC_TRY(check_token(p));
    while (p->token->type != LC_T_END) {
        if (p->token->type != LC_T_BLOCK_BEGIN) {
            LC_TRY(parse_output(p, &items));
            continue;
        }
        lc_jnode *node = NULL;
        LC_TRY(flush_output(p, &items, &body));
        LC_TRY(lc_jinja_advance(p));
        if (is_end(p, ends)) {
            break;
        }
        LC_TRY(parse_statement(p, open, &node));
        LC_TRY(lc_jinja_add_node(p, &body, node));
        LC_TRY(lc_jinja_expect(p, LC_T_BLOCK_END));
    }
    LC_TRY(flush_output(p, &items, &body));
    *out = (lc_jbody){body.items, body.count};
    return LC_OK;
}

/* The rest of a tag, and its body; the end tag's name is the current token afterwards. */
static lc_code parse_body(lc_jparser *p, const open_body *outer, const char *tag,
                          const end_tags *ends, lc_jbody *out)
{
    const open_body open = {.outer = outer, .ends = ends, .tag = tag};
    LC_TRY(lc_jinja_nest(p));
    if (p->token->type == LC_T_COLON) { /* as in Python */
        LC_TRY(lc_jinja_advance(p));
    }
    LC_TRY(lc_jinja_expect(p, LC_T_BLOCK_END));
    LC_TRY(parse_nodes(p, &open, out));
    p->nesting--;
    return p->token->type == LC_T_END ? fail_tag(p, &open, NULL, p->token->line) : LC_OK;
}

/* The same where one tag alone can end it, which is passed over. */
static lc_code parse_whole_body(lc_jparser *p, const open_body *outer, const char *tag,
                                const char *end, lc_jbody *out)
{
    const end_tags ends = {{end}};
    LC_TRY(parse_body(p, outer, tag, &ends, out));
    return lc_jinja_advance(p);
}

/* Room for the bodies of a node. */
static lc_code add_body(lc_jparser *p, lc_jnode *node, const lc_jbody *body)
{
    void *grown = NULL;
    LC_TRY(lc_jinja_compile_alloc(p->compiler, (node->body_count + 1) * sizeof *body, &grown));
    if (node->body_count > 0) {
        memcpy(grown, node->bodies, node->body_count * sizeof *body);
    }
    node->bodies = grown;
    node->bodies[node->body_count++] = *body;
    return LC_OK;
}

/* ---- statements ---- */

static lc_code parse_for(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    static const end_tags ends = {{"endfor", "else"}};
    void *memory = NULL;
    bool has_test = false, is_recursive = false;
    LC_TRY(lc_jinja_compile_alloc(p->compiler, sizeof(lc_jfor), &memory));
    lc_jfor *loop = node->loop = memory;
    LC_TRY(lc_jinja_parse_target(p, "in", false, &loop->target));
    LC_TRY(lc_jinja_expect_name(p, "in"));
    LC_TRY(lc_jinja_parse_tuple(p, false, "recursive", &loop->iterated));
    LC_TRY(lc_jinja_skip_name(p, "if", &has_test));
    if (has_test) {
        LC_TRY(lc_jinja_parse_expression(p, &loop->test));
    }
    LC_TRY(lc_jinja_skip_name(p, "recursive", &is_recursive));
    if (is_recursive) {
        LC_TRY(lc_jinja_compile_alloc(p->compiler, sizeof(lc_jcode), &memory));
        loop->recursive = memory;
    }
    LC_TRY(parse_body(p, open, "for", &ends, &loop->body));
    const bool has_else = lc_jinja_at_name(p, "else");
    LC_TRY(lc_jinja_advance(p));
    return has_else ? parse_whole_body(p, open, "for", "endfor", &loop->otherwise) : LC_OK;
}

static lc_code parse_if(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    static const end_tags ends = {{"elif", "else", "endif"}};
    lc_jnodes tests = {0};
    lc_jnode *test = NULL;
    lc_jbody body;
    for (;;) {
        LC_TRY(lc_jinja_parse_tuple(p, false, NULL, &test));
        LC_TRY(lc_jinja_add_node(p, &tests, test));
        LC_TRY(parse_body(p, open, "if", &ends, &body));
        LC_TRY(add_body(p, node, &body));
        const bool is_elif = lc_jinja_at_name(p, "elif"), is_else = lc_jinja_at_name(p, "else");
        LC_TRY(lc_jinja_advance(p));
        if (is_else) {
            LC_TRY(parse_whole_body(p, open, "if", "endif", &body));
            LC_TRY(add_body(p, node, &body));
        }
        if (!is_elif) {
            break;
        }
    }
    node->items = tests.items;
    node->count = tests.count;
    return LC_OK;
}

static lc_code parse_set(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    lc_jbody body;
    LC_TRY(lc_jinja_parse_target(p, NULL, true, &node->a));
    if (p->token->type == LC_T_ASSIGN) {
        LC_TRY(lc_jinja_advance(p));
        return lc_jinja_parse_tuple(p, true, NULL, &node->b);
    }
    node->kind = LC_N_SET_BLOCK;
    LC_TRY(lc_jinja_parse_filters(p, NULL, false, &node->b));
    LC_TRY(parse_whole_body(p, open, "set", "endset", &body));
    return add_body(p, node, &body);
}

static lc_code parse_with(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    lc_jnodes items = {0};
    lc_jnode *item = NULL;
    lc_jbody body;
    while (p->token->type != LC_T_BLOCK_END) {
        if (items.count > 0) {
            LC_TRY(lc_jinja_expect(p, LC_T_COMMA));
        }
        LC_TRY(lc_jinja_parse_target(p, NULL, false, &item));
        LC_TRY(lc_jinja_add_node(p, &items, item));
        LC_TRY(lc_jinja_expect(p, LC_T_ASSIGN));
        LC_TRY(lc_jinja_parse_expression(p, &item));
        LC_TRY(lc_jinja_add_node(p, &items, item));
    }
    node->items = items.items;
    node->count = items.count;
    LC_TRY(parse_whole_body(p, open, "with", "endwith", &body));
    return add_body(p, node, &body);
}

/* (a, b=1) of a macro or a call block. */
static lc_code parse_signature(lc_jparser *p, lc_jcode *code)
{
    lc_jnodes parameters = {0}, defaults = {0};
    LC_TRY(lc_jinja_expect(p, LC_T_LEFT_PAREN));
    while (p->token->type != LC_T_RIGHT_PAREN) {
        lc_jnode *name = NULL, *value = NULL;
        if (parameters.count > 0) {
            LC_TRY(lc_jinja_expect(p, LC_T_COMMA));
        }
        LC_TRY(lc_jinja_parse_name_target(p, &name));
        name->is_parameter = true;
        for (size_t i = 0; i < parameters.count; i++) {
            const lc_jvalue *other = &parameters.items[i]->value;
            if (other->bytes == name->value.bytes &&
                memcmp(other->text, name->value.text, other->bytes) == 0) {
                return lc_jinja_syntax_error(p, name->line, "duplicate argument '%.*s'",
                                             (int)other->bytes, other->text);
            }
        }
        if (p->token->type == LC_T_ASSIGN) {
            LC_TRY(lc_jinja_advance(p));
            LC_TRY(lc_jinja_parse_expression(p, &value));
            LC_TRY(lc_jinja_add_node(p, &defaults, value));
        } else if (defaults.count > 0) {
            return lc_jinja_syntax_error(p, p->token->line,
                                         "non-default argument follows default argument");
        }
        LC_TRY(lc_jinja_add_node(p, &parameters, name));
    }
    code->parameters = parameters.items;
    code->parameter_count = parameters.count;
    code->defaults = defaults.items;
    code->default_count = defaults.count;
    return lc_jinja_expect(p, LC_T_RIGHT_PAREN);
}

static lc_code new_code(lc_jparser *p, lc_jnode *node)
{
    void *memory = NULL;
    LC_TRY(lc_jinja_compile_alloc(p->compiler, sizeof(lc_jcode), &memory));
    node->code = memory;
    node->code->name = lc_jinja_none();
    return LC_OK;
}

static lc_code parse_macro(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    LC_TRY(new_code(p, node));
    LC_TRY(lc_jinja_parse_name_target(p, &node->a));
    node->code->name = node->a->value;
    LC_TRY(parse_signature(p, node->code));
    return parse_whole_body(p, open, "macro", "endmacro", &node->code->body);
}

static lc_code parse_call_block(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    LC_TRY(new_code(p, node));
    if (p->token->type == LC_T_LEFT_PAREN) {
        LC_TRY(parse_signature(p, node->code));
    }
    LC_TRY(lc_jinja_parse_expression(p, &node->a));
    if (node->a->kind != LC_N_CALL) {
        return lc_jinja_syntax_error(p, node->line, "expected call");
    }
    return parse_whole_body(p, open, "call", "endcall", &node->code->body);
}

static lc_code parse_generation(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    LC_TRY(new_code(p, node));
    p->compiler->program->has_generation = true;
    return parse_whole_body(p, open, "generation", "endgeneration", &node->code->body);
}

static lc_code parse_filter_block(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    lc_jbody body;
    LC_TRY(lc_jinja_parse_filters(p, NULL, true, &node->b));
    LC_TRY(parse_whole_body(p, open, "filter", "endfilter", &body));
    return add_body(p, node, &body);
}

static lc_code parse_print(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    lc_jnodes items = {0};
    lc_jnode *item = NULL;
    (void)open;
    while (p->token->type != LC_T_BLOCK_END) {
        if (items.count > 0) {
            LC_TRY(lc_jinja_expect(p, LC_T_COMMA));
        }
        LC_TRY(lc_jinja_parse_expression(p, &item));
        LC_TRY(lc_jinja_add_node(p, &items, item));
    }
    node->items = items.items;
    node->count = items.count;
    return LC_OK;
}

static lc_code parse_nothing(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    (void)p;
    (void)open;
    (void)node;
    return LC_OK;
}

static lc_code refuse(lc_jparser *p, const open_body *open, lc_jnode *node)
{
    (void)open;
    return lc_jinja_syntax_error(p, node->line,
                                 "{%% block, extends, include, import, from and autoescape %%} are "
                                 "not supported: a chat template is one file");
}

static lc_code parse_statement(lc_jparser *p, const open_body *open, lc_jnode **out)
{
    static const struct {
        const char *name;
        lc_jkind kind;
        lc_code (*parse)(lc_jparser *p, const open_body *open, lc_jnode *node);
    } statements[] = {
        {"for", LC_N_FOR, parse_for},
        {"if", LC_N_IF, parse_if},
        {"set", LC_N_SET, parse_set},
        {"macro", LC_N_MACRO, parse_macro},
        {"generation", LC_N_GENERATION, parse_generation},
        {"break", LC_N_BREAK, parse_nothing},
        {"continue", LC_N_CONTINUE, parse_nothing},
        {"with", LC_N_WITH, parse_with},
        {"filter", LC_N_FILTER_BLOCK, parse_filter_block},
        {"call", LC_N_CALL_BLOCK, parse_call_block},
        {"print", LC_N_OUTPUT, parse_print},
        {"block", LC_N_OUTPUT, refuse},
        {"extends", LC_N_OUTPUT, refuse},
        {"include", LC_N_OUTPUT, refuse},
        {"import", LC_N_OUTPUT, refuse},
        {"from", LC_N_OUTPUT, refuse},
        {"autoescape", LC_N_OUTPUT, refuse},
    };
    const lc_jtoken *token = p->token;
    if (token->type != LC_T_NAME) {
        return lc_jinja_syntax_error(p, token->line, "tag name expected");
    }
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (lc_jinja_is_text(&token->value, statements[i].name)) {
            LC_TRY(lc_jinja_advance(p));
            LC_TRY(lc_jinja_new_node(p, statements[i].kind, token->line, out));
            return statements[i].parse(p, open, *out);
        }
    }
    return fail_tag(p, open, &token->value, token->line);
}

lc_code lc_jinja_parse(lc_jcompiler *compiler, const char *source, size_t bytes, lc_jbody *body)
{
    lc_jtokens tokens;
    lc_code code = lc_jinja_lex(compiler, source, bytes, &tokens);
    if (code == LC_OK) {
        lc_jparser parser = {.compiler = compiler, .token = tokens.items};
        code = parse_nodes(&parser, NULL, body);
    }
    lc_jinja_tokens_release(&tokens);
    return code;
}
