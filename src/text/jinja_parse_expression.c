/*
 * Expressions, with Jinja2's precedence: if-else, or, and, not, comparisons, + -, ~, * / // %, **,
 * unary, postfix, filters and tests. Recursion is bounded by LC_MAX_TEMPLATE_NESTING.
 */
#include <stdio.h>

#include "text/jinja_filters.h"
#include "text/jinja_parser.h"
#include "text/jinja_tests.h"

typedef lc_code (*parse_fn)(lc_jparser *p, lc_jnode **out);

static lc_code parse_or(lc_jparser *p, lc_jnode **out);
static lc_code parse_primary(lc_jparser *p, bool with_namespace, lc_jnode **out);
static lc_code parse_postfix(lc_jparser *p, lc_jnode **node);

/* ---- levels with operators ---- */

static lc_code make_two(lc_jparser *p, lc_jkind kind, int line, lc_jnode **left, lc_jnode *right)
{
    lc_jnode *node = NULL;
    LC_TRY(lc_jinja_new_node(p, kind, line, &node));
    node->a = *left;
    node->b = right;
    *left = node;
    return lc_jinja_finish_node(p, node);
}

typedef struct operator_kind {
    lc_jtoken_type token;
    lc_jkind kind;
} operator_kind;

/* Operands of `next` joined from the left by the operators of a level. */
static lc_code parse_level(lc_jparser *p, const operator_kind *operators, size_t count,
                           parse_fn next, lc_jnode **out)
{
    int line = p->token->line;
    LC_TRY(next(p, out));
    for (;;) {
        size_t i = 0;
        while (i < count && operators[i].token != p->token->type) {
            i++;
        }
        if (i == count) {
            return LC_OK;
        }
        lc_jnode *right = NULL;
        LC_TRY(lc_jinja_advance(p));
        LC_TRY(next(p, &right));
        LC_TRY(make_two(p, operators[i].kind, line, out, right));
        line = p->token->line;
    }
}

static lc_code parse_negation(lc_jparser *p, bool with_filters, lc_jkind kind, lc_jnode **out);

static lc_code parse_unary_with(lc_jparser *p, bool with_filters, lc_jnode **out)
{
    LC_TRY(lc_jinja_nest(p));
    if (p->token->type == LC_T_SUBTRACT) {
        LC_TRY(parse_negation(p, with_filters, LC_N_NEGATIVE, out));
    } else if (p->token->type == LC_T_ADD) {
        LC_TRY(parse_negation(p, with_filters, LC_N_POSITIVE, out));
    } else {
        LC_TRY(parse_primary(p, false, out));
        LC_TRY(parse_postfix(p, out));
        if (with_filters) {
            LC_TRY(lc_jinja_parse_filters(p, *out, false, out));
        }
    }
    p->nesting--;
    return LC_OK;
}

/* -x: postfix and filters behind it belong to -x as a whole. */
static lc_code parse_negation(lc_jparser *p, bool with_filters, lc_jkind kind, lc_jnode **out)
{
    lc_jnode *node = NULL;
    LC_TRY(lc_jinja_new_node(p, kind, p->token->line, &node));
    LC_TRY(lc_jinja_advance(p));
    LC_TRY(parse_unary_with(p, false, &node->a));
    LC_TRY(lc_jinja_finish_node(p, node));
    *out = node;
    LC_TRY(parse_postfix(p, out));
    return with_filters ? lc_jinja_parse_filters(p, *out, false, out) : LC_OK;
}

static lc_code parse_unary(lc_jparser *p, lc_jnode **out)
{
    return parse_unary_with(p, true, out);
}

static lc_code parse_power(lc_jparser *p, lc_jnode **out)
{
    static const operator_kind operators[] = {{LC_T_POWER, LC_N_POWER}};
    return parse_level(p, operators, 1, parse_unary, out);
}

static lc_code parse_product(lc_jparser *p, lc_jnode **out)
{
    static const operator_kind operators[] = {{LC_T_MULTIPLY, LC_N_MULTIPLY},
                                              {LC_T_DIVIDE, LC_N_DIVIDE},
                                              {LC_T_FLOOR_DIVIDE, LC_N_FLOOR_DIVIDE},
                                              {LC_T_MODULO, LC_N_MODULO}};
    return parse_level(p, operators, 4, parse_power, out);
}

static lc_code parse_concat(lc_jparser *p, lc_jnode **out)
{
    const int line = p->token->line;
    lc_jnodes parts = {0};
    lc_jnode *node = NULL;
    LC_TRY(parse_product(p, out));
    if (p->token->type != LC_T_TILDE) {
        return LC_OK;
    }
    LC_TRY(lc_jinja_add_node(p, &parts, *out));
    while (p->token->type == LC_T_TILDE) {
        LC_TRY(lc_jinja_advance(p));
        LC_TRY(parse_product(p, out));
        LC_TRY(lc_jinja_add_node(p, &parts, *out));
    }
    LC_TRY(lc_jinja_new_node(p, LC_N_CONCAT, line, &node));
    node->items = parts.items;
    node->count = parts.count;
    *out = node;
    return lc_jinja_finish_node(p, node);
}

static lc_code parse_sum(lc_jparser *p, lc_jnode **out)
{
    static const operator_kind operators[] = {{LC_T_ADD, LC_N_ADD}, {LC_T_SUBTRACT, LC_N_SUBTRACT}};
    return parse_level(p, operators, 2, parse_concat, out);
}

/* The comparison at the current token, which is passed over; false: there is none. */
static lc_code take_comparison(lc_jparser *p, uint8_t *op, bool *is_there)
{
    static const struct {
        lc_jtoken_type token;
        lc_jcompare op;
    } operators[] = {{LC_T_EQUAL, LC_C_EQUAL},     {LC_T_NOT_EQUAL, LC_C_NOT_EQUAL},
                     {LC_T_LESS, LC_C_LESS},       {LC_T_LESS_EQUAL, LC_C_LESS_EQUAL},
                     {LC_T_GREATER, LC_C_GREATER}, {LC_T_GREATER_EQUAL, LC_C_GREATER_EQUAL}};
    *is_there = true;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (p->token->type == operators[i].token) {
            *op = (uint8_t)operators[i].op;
            return lc_jinja_advance(p);
        }
    }
    if (lc_jinja_at_name(p, "in")) {
        *op = LC_C_IN;
        return lc_jinja_advance(p);
    }
    if (lc_jinja_at_name(p, "not") && lc_jinja_next_is(p, LC_T_NAME, "in")) {
        *op = LC_C_NOT_IN;
        LC_TRY(lc_jinja_advance(p));
        return lc_jinja_advance(p);
    }
    *is_there = false;
    return LC_OK;
}

static lc_code parse_comparison(lc_jparser *p, lc_jnode **out)
{
    int line = p->token->line;
    uint8_t ops[LC_MAX_TEMPLATE_NESTING];
    lc_jnodes operands = {0};
    lc_jnode *node = NULL;
    LC_TRY(parse_sum(p, out));
    lc_jnode *first = *out;
    for (;;) {
        bool is_there = false;
        uint8_t op = 0;
        LC_TRY(take_comparison(p, &op, &is_there));
        if (!is_there) {
            break;
        }
        if (operands.count == sizeof ops) {
            return lc_jinja_syntax_error(p, line, "more than %zu comparisons in a chain",
                                         sizeof ops);
        }
        ops[operands.count] = op;
        LC_TRY(parse_sum(p, out));
        LC_TRY(lc_jinja_add_node(p, &operands, *out));
        line = p->token->line;
    }
    if (operands.count == 0) {
        return LC_OK;
    }
    void *copy = NULL;
    LC_TRY(lc_jinja_new_node(p, LC_N_COMPARE, line, &node));
    LC_TRY(lc_jinja_compile_alloc(p->compiler, operands.count, &copy));
    memcpy(copy, ops, operands.count);
    node->a = first;
    node->ops = copy;
    node->items = operands.items;
    node->count = operands.count;
    *out = node;
    return lc_jinja_finish_node(p, node);
}

static lc_code parse_not(lc_jparser *p, lc_jnode **out)
{
    lc_jnode *node = NULL;
    if (!lc_jinja_at_name(p, "not")) {
        return parse_comparison(p, out);
    }
    LC_TRY(lc_jinja_nest(p));
    LC_TRY(lc_jinja_new_node(p, LC_N_NOT, p->token->line, &node));
    LC_TRY(lc_jinja_advance(p));
    LC_TRY(parse_not(p, &node->a));
    p->nesting--;
    *out = node;
    return lc_jinja_finish_node(p, node);
}

/* `word` between operands of `next`. */
static lc_code parse_words(lc_jparser *p, const char *word, lc_jkind kind, parse_fn next,
                           lc_jnode **out)
{
    int line = p->token->line;
    LC_TRY(next(p, out));
    while (lc_jinja_at_name(p, word)) {
        lc_jnode *right = NULL;
        LC_TRY(lc_jinja_advance(p));
        LC_TRY(next(p, &right));
        LC_TRY(make_two(p, kind, line, out, right));
        line = p->token->line;
    }
    return LC_OK;
}

static lc_code parse_and(lc_jparser *p, lc_jnode **out)
{
    return parse_words(p, "and", LC_N_AND, parse_not, out);
}

static lc_code parse_or(lc_jparser *p, lc_jnode **out)
{
    return parse_words(p, "or", LC_N_OR, parse_and, out);
}

lc_code lc_jinja_parse_expression(lc_jparser *p, lc_jnode **out)
{
    int line = p->token->line;
    LC_TRY(lc_jinja_nest(p));
    LC_TRY(parse_or(p, out));
    while (lc_jinja_at_name(p, "if")) {
        lc_jnode *node = NULL;
        bool has_else = false;
        LC_TRY(lc_jinja_new_node(p, LC_N_IF_ELSE, line, &node));
        LC_TRY(lc_jinja_advance(p));
        node->a = *out;
        LC_TRY(parse_or(p, &node->b));
        LC_TRY(lc_jinja_skip_name(p, "else", &has_else));
        if (has_else) {
            LC_TRY(lc_jinja_parse_expression(p, &node->c));
        }
        *out = node;
        LC_TRY(lc_jinja_finish_node(p, node));
        line = p->token->line;
    }
    p->nesting--;
    return LC_OK;
}

/* ---- primaries ---- */

static lc_code make_const(lc_jparser *p, int line, lc_jvalue value, lc_jnode **out)
{
    LC_TRY(lc_jinja_new_node(p, LC_N_CONST, line, out));
    (*out)->value = value;
    return LC_OK;
}

static lc_code parse_name(lc_jparser *p, bool with_namespace, lc_jnode **out)
{
    static const struct {
        const char *name;
        lc_jvalue value;
    } constants[] = {{"true", {.type = LC_J_BOOL, .integer = 1}},
                     {"True", {.type = LC_J_BOOL, .integer = 1}},
                     {"false", {.type = LC_J_BOOL}},
                     {"False", {.type = LC_J_BOOL}},
                     {"none", {.type = LC_J_NONE}},
                     {"None", {.type = LC_J_NONE}}};
    const lc_jtoken *token = p->token;
    LC_TRY(lc_jinja_advance(p));
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (lc_jinja_is_text(&token->value, constants[i].name)) {
            return make_const(p, token->line, constants[i].value, out);
        }
    }
    if (!with_namespace || p->token->type != LC_T_DOT) {
        LC_TRY(lc_jinja_new_node(p, LC_N_NAME, token->line, out));
        (*out)->value = token->value;
        return LC_OK;
    }
    LC_TRY(lc_jinja_advance(p));
    const lc_jtoken *attribute = p->token;
    LC_TRY(lc_jinja_expect(p, LC_T_NAME));
    LC_TRY(lc_jinja_new_node(p, LC_N_NAMESPACE_REF, token->line, out));
    (*out)->value = token->value;
    (*out)->other = attribute->value;
    return LC_OK;
}

/* Strings that stand side by side are one. */
static lc_code parse_strings(lc_jparser *p, lc_jnode **out)
{
    const lc_jtoken *first = p->token;
    size_t bytes = 0;
    LC_TRY(make_const(p, first->line, first->value, out));
    for (; p->token->type == LC_T_STRING; bytes += p->token[-1].value.bytes) {
        LC_TRY(lc_jinja_advance(p));
    }
    if (p->token == first + 1) {
        return LC_OK;
    }
    void *text = NULL;
    LC_TRY(lc_jinja_compile_alloc(p->compiler, bytes, &text));
    char *to = text;
    for (const lc_jtoken *token = first; token < p->token; token++) {
        memcpy(to, token->value.text, token->value.bytes);
        to += token->value.bytes;
    }
    (*out)->value = lc_jinja_text(text, bytes);
    return LC_OK;
}

static lc_code parse_list(lc_jparser *p, lc_jnode **out)
{
    lc_jnodes items = {0};
    lc_jnode *item = NULL;
    LC_TRY(lc_jinja_new_node(p, LC_N_LIST, p->token->line, out));
    LC_TRY(lc_jinja_advance(p));
    while (p->token->type != LC_T_RIGHT_BRACKET) {
        if (items.count > 0) {
            LC_TRY(lc_jinja_expect(p, LC_T_COMMA));
        }
        if (p->token->type == LC_T_RIGHT_BRACKET) {
            break;
        }
        LC_TRY(lc_jinja_parse_expression(p, &item));
        LC_TRY(lc_jinja_add_node(p, &items, item));
    }
    (*out)->items = items.items;
    (*out)->count = items.count;
    LC_TRY(lc_jinja_expect(p, LC_T_RIGHT_BRACKET));
    return lc_jinja_finish_node(p, *out);
}

static lc_code parse_dict(lc_jparser *p, lc_jnode **out)
{
    lc_jnodes items = {0};
    lc_jnode *item = NULL;
    LC_TRY(lc_jinja_new_node(p, LC_N_DICT, p->token->line, out));
    LC_TRY(lc_jinja_advance(p));
    while (p->token->type != LC_T_RIGHT_BRACE) {
        if (items.count > 0) {
            LC_TRY(lc_jinja_expect(p, LC_T_COMMA));
        }
        if (p->token->type == LC_T_RIGHT_BRACE) {
            break;
        }
        LC_TRY(lc_jinja_parse_expression(p, &item));
        LC_TRY(lc_jinja_add_node(p, &items, item));
        LC_TRY(lc_jinja_expect(p, LC_T_COLON));
        LC_TRY(lc_jinja_parse_expression(p, &item));
        LC_TRY(lc_jinja_add_node(p, &items, item));
    }
    (*out)->items = items.items;
    (*out)->count = items.count;
    LC_TRY(lc_jinja_expect(p, LC_T_RIGHT_BRACE));
    return lc_jinja_finish_node(p, *out);
}

/* How the items of a tuple are read, and what ends it. */
typedef struct tuple_style {
    bool is_simple, with_namespace, with_if_else, has_parens;
    const char *end_name;
} tuple_style;

static bool is_tuple_end(const lc_jparser *p, const tuple_style *style)
{
    return p->token->type == LC_T_PRINT_END || p->token->type == LC_T_BLOCK_END ||
           p->token->type == LC_T_RIGHT_PAREN ||
           (style->end_name != NULL && lc_jinja_at_name(p, style->end_name));
}

static lc_code parse_tuple_item(lc_jparser *p, const tuple_style *style, lc_jnode **out)
{
    if (style->is_simple) {
        return parse_primary(p, style->with_namespace, out);
    }
    return style->with_if_else ? lc_jinja_parse_expression(p, out) : parse_or(p, out);
}

static lc_code parse_tuple_with(lc_jparser *p, const tuple_style *style, lc_jnode **out)
{
    int line = p->token->line;
    lc_jnodes items = {0};
    bool is_tuple = false;
    for (;;) {
        lc_jnode *item = NULL;
        if (items.count > 0) {
            LC_TRY(lc_jinja_expect(p, LC_T_COMMA));
        }
        if (is_tuple_end(p, style)) {
            break;
        }
        LC_TRY(parse_tuple_item(p, style, &item));
        LC_TRY(lc_jinja_add_node(p, &items, item));
        if (p->token->type != LC_T_COMMA) {
            break;
        }
        is_tuple = true;
        line = p->token->line;
    }
    if (!is_tuple && items.count > 0) {
        *out = items.items[0];
        return LC_OK;
    }
    if (!is_tuple && !style->has_parens) {
        char shown[128];
        lc_jinja_describe_token(p->token, shown, sizeof shown);
        return lc_jinja_syntax_error(p, p->token->line, "Expected an expression, got '%s'", shown);
    }
    LC_TRY(lc_jinja_new_node(p, LC_N_TUPLE, line, out));
    (*out)->items = items.items;
    (*out)->count = items.count;
    return lc_jinja_finish_node(p, *out);
}

lc_code lc_jinja_parse_tuple(lc_jparser *p, bool with_if_else, const char *end_name, lc_jnode **out)
{
    const tuple_style style = {.with_if_else = with_if_else, .end_name = end_name};
    LC_TRY(lc_jinja_nest(p));
    LC_TRY(parse_tuple_with(p, &style, out));
    p->nesting--;
    return LC_OK;
}

static lc_code parse_parens(lc_jparser *p, lc_jnode **out)
{
    const tuple_style style = {.with_if_else = true, .has_parens = true};
    LC_TRY(lc_jinja_nest(p));
    LC_TRY(lc_jinja_advance(p));
    LC_TRY(parse_tuple_with(p, &style, out));
    p->nesting--;
    return lc_jinja_expect(p, LC_T_RIGHT_PAREN);
}

static lc_code parse_primary(lc_jparser *p, bool with_namespace, lc_jnode **out)
{
    char shown[128];
    const lc_jtoken *token = p->token;
    switch (token->type) {
    case LC_T_NAME:
        return parse_name(p, with_namespace, out);
    case LC_T_STRING:
        return parse_strings(p, out);
    case LC_T_INTEGER:
    case LC_T_FLOAT:
        LC_TRY(lc_jinja_advance(p));
        return make_const(p, token->line, token->value, out);
    case LC_T_LEFT_PAREN:
        return parse_parens(p, out);
    case LC_T_LEFT_BRACKET:
        return parse_list(p, out);
    case LC_T_LEFT_BRACE:
        return parse_dict(p, out);
    default:
        lc_jinja_describe_token(token, shown, sizeof shown);
        return lc_jinja_syntax_error(p, token->line, "unexpected '%s'", shown);
    }
}

/* ---- targets ---- */

static lc_code mark_target(lc_jparser *p, lc_jnode *node, int line)
{
    static const char *const names[] = {[LC_N_CONST] = "const",
                                        [LC_N_LIST] = "list",
                                        [LC_N_DICT] = "dict",
                                        [LC_N_IF_ELSE] = "condexpr",
                                        [LC_N_OR] = "or",
                                        [LC_N_AND] = "and",
                                        [LC_N_NOT] = "not",
                                        [LC_N_COMPARE] = "compare",
                                        [LC_N_ADD] = "add",
                                        [LC_N_SUBTRACT] = "sub",
                                        [LC_N_MULTIPLY] = "mul",
                                        [LC_N_DIVIDE] = "div",
                                        [LC_N_FLOOR_DIVIDE] = "floordiv",
                                        [LC_N_MODULO] = "mod",
                                        [LC_N_POWER] = "pow",
                                        [LC_N_NEGATIVE] = "neg",
                                        [LC_N_POSITIVE] = "pos",
                                        [LC_N_CONCAT] = "concat",
                                        [LC_N_ATTRIBUTE] = "getattr",
                                        [LC_N_ITEM] = "getitem",
                                        [LC_N_SLICE] = "getitem",
                                        [LC_N_CALL] = "call",
                                        [LC_N_FILTER] = "filter",
                                        [LC_N_TEST] = "test"};
    if (node->kind == LC_N_NAME || node->kind == LC_N_NAMESPACE_REF) {
        node->is_stored = true;
        return LC_OK;
    }
    if (node->kind != LC_N_TUPLE) {
        return lc_jinja_syntax_error(p, line, "can't assign to '%s'", names[node->kind]);
    }
    for (size_t i = 0; i < node->count; i++) {
        LC_TRY(mark_target(p, node->items[i], line));
    }
    return LC_OK;
}

lc_code lc_jinja_parse_target(lc_jparser *p, const char *end_name, bool with_namespace,
                              lc_jnode **out)
{
    const tuple_style style = {
        .is_simple = true, .with_namespace = with_namespace, .end_name = end_name};
    LC_TRY(parse_tuple_with(p, &style, out));
    return mark_target(p, *out, (*out)->line);
}

lc_code lc_jinja_parse_name_target(lc_jparser *p, lc_jnode **out)
{
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    const lc_jtoken *token = p->token;
    LC_TRY(lc_jinja_expect(p, LC_T_NAME));
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (lc_jinja_is_text(&token->value, constants[i])) {
            return lc_jinja_syntax_error(p, token->line, "can't assign to 'name'");
        }
    }
    LC_TRY(lc_jinja_new_node(p, LC_N_NAME, token->line, out));
    (*out)->value = token->value;
    (*out)->is_stored = true;
    return LC_OK;
}

/* ---- what stands behind a primary ---- */

/* The arguments of a call, being read. */
typedef struct argument_list {
    lc_jnodes args, named;
    lc_jvalue *names;
    size_t name_capacity;
    lc_jargs *out;
    int line;
} argument_list;

static lc_code refuse_order(lc_jparser *p, const argument_list *list)
{
    return lc_jinja_syntax_error(p, list->line, "invalid syntax for function call expression");
}

static lc_code parse_named(lc_jparser *p, argument_list *list)
{
    lc_jnode *value = NULL;
    const lc_jvalue name = p->token->value;
    for (size_t i = 0; i < list->named.count; i++) {
        if (list->names[i].bytes == name.bytes &&
            memcmp(list->names[i].text, name.text, name.bytes) == 0) {
            return lc_jinja_syntax_error(p, p->token->line, "keyword argument repeated: %.*s",
                                         (int)name.bytes, name.text);
        }
    }
    LC_TRY(lc_jinja_advance(p));
    LC_TRY(lc_jinja_advance(p));
    LC_TRY(lc_jinja_parse_expression(p, &value));
    if (list->named.count == list->name_capacity) {
        void *grown = NULL;
        const size_t capacity = list->name_capacity > 0 ? 2 * list->name_capacity : 4;
        LC_TRY(lc_jinja_compile_alloc(p->compiler, capacity * sizeof(lc_jvalue), &grown));
        if (list->named.count > 0) {
            memcpy(grown, list->names, list->named.count * sizeof(lc_jvalue));
        }
        list->names = grown;
        list->name_capacity = capacity;
    }
    list->names[list->named.count] = name;
    return lc_jinja_add_node(p, &list->named, value);
}

static lc_code parse_argument(lc_jparser *p, argument_list *list)
{
    lc_jargs *out = list->out;
    lc_jnode *value = NULL;
    if (p->token->type == LC_T_MULTIPLY) {
        if (out->more != NULL || out->more_named != NULL) {
            return refuse_order(p, list);
        }
        LC_TRY(lc_jinja_advance(p));
        return lc_jinja_parse_expression(p, &out->more);
    }
    if (p->token->type == LC_T_POWER) {
        if (out->more_named != NULL) {
            return refuse_order(p, list);
        }
        LC_TRY(lc_jinja_advance(p));
        return lc_jinja_parse_expression(p, &out->more_named);
    }
    if (p->token->type == LC_T_NAME && lc_jinja_next_is(p, LC_T_ASSIGN, NULL)) {
        return out->more_named != NULL ? refuse_order(p, list) : parse_named(p, list);
    }
    if (out->more != NULL || out->more_named != NULL || list->named.count > 0) {
        return refuse_order(p, list);
    }
    LC_TRY(lc_jinja_parse_expression(p, &value));
    return lc_jinja_add_node(p, &list->args, value);
}

static lc_code parse_arguments(lc_jparser *p, lc_jargs *out)
{
    argument_list list = {.out = out, .line = p->token->line};
    bool needs_comma = false;
    LC_TRY(lc_jinja_nest(p));
    LC_TRY(lc_jinja_expect(p, LC_T_LEFT_PAREN));
    while (p->token->type != LC_T_RIGHT_PAREN) {
        if (needs_comma) {
            LC_TRY(lc_jinja_expect(p, LC_T_COMMA));
            if (p->token->type == LC_T_RIGHT_PAREN) {
                break;
            }
        }
        LC_TRY(parse_argument(p, &list));
        needs_comma = true;
    }
    LC_TRY(lc_jinja_expect(p, LC_T_RIGHT_PAREN));
    p->nesting--;
    out->args = list.args.items;
    out->count = list.args.count;
    out->named = list.named.items;
    out->named_count = list.named.count;
    out->names = list.names;
    return LC_OK;
}

static lc_code parse_call(lc_jparser *p, lc_jnode **node)
{
    lc_jnode *call = NULL;
    LC_TRY(lc_jinja_new_node(p, LC_N_CALL, p->token->line, &call));
    call->a = *node;
    LC_TRY(parse_arguments(p, &call->call));
    *node = call;
    return lc_jinja_finish_node(p, call);
}

static lc_code parse_dot(lc_jparser *p, lc_jnode **node)
{
    lc_jnode *out = NULL;
    const int line = p->token->line;
    LC_TRY(lc_jinja_advance(p));
    const lc_jtoken *token = p->token;
    if (token->type != LC_T_NAME && token->type != LC_T_INTEGER) {
        return lc_jinja_syntax_error(p, token->line, "expected name or number");
    }
    LC_TRY(lc_jinja_advance(p));
    LC_TRY(lc_jinja_new_node(p, token->type == LC_T_NAME ? LC_N_ATTRIBUTE : LC_N_ITEM, line, &out));
    out->a = *node;
    out->value = token->value;
    if (token->type == LC_T_INTEGER) {
        LC_TRY(make_const(p, token->line, token->value, &out->b));
    }
    *node = out;
    return lc_jinja_finish_node(p, out);
}

static bool is_slice_end(const lc_jparser *p)
{
    return p->token->type == LC_T_RIGHT_BRACKET || p->token->type == LC_T_COMMA;
}

/* a:b:c or an expression: *slice is the node to fill in with b, c, d. */
static lc_code parse_subscript(lc_jparser *p, lc_jnode *slice, lc_jnode **index)
{
    *index = NULL;
    if (p->token->type != LC_T_COLON) {
        LC_TRY(lc_jinja_parse_expression(p, index));
        if (p->token->type != LC_T_COLON) {
            return LC_OK;
        }
    }
    slice->kind = LC_N_SLICE;
    slice->b = *index;
    LC_TRY(lc_jinja_advance(p));
    if (p->token->type != LC_T_COLON && !is_slice_end(p)) {
        LC_TRY(lc_jinja_parse_expression(p, &slice->c));
    }
    if (p->token->type == LC_T_COLON) {
        LC_TRY(lc_jinja_advance(p));
        if (!is_slice_end(p)) {
            LC_TRY(lc_jinja_parse_expression(p, &slice->d));
        }
    }
    return LC_OK;
}

static lc_code parse_brackets(lc_jparser *p, lc_jnode **node)
{
    lc_jnode *out = NULL, *index = NULL, *tuple = NULL;
    lc_jnodes items = {0};
    const int line = p->token->line;
    LC_TRY(lc_jinja_new_node(p, LC_N_ITEM, line, &out));
    LC_TRY(lc_jinja_advance(p));
    while (p->token->type != LC_T_RIGHT_BRACKET) {
        if (items.count > 0) {
            LC_TRY(lc_jinja_expect(p, LC_T_COMMA));
        }
        LC_TRY(parse_subscript(p, out, &index));
        LC_TRY(lc_jinja_add_node(p, &items, index));
    }
    LC_TRY(lc_jinja_advance(p));
    out->a = *node;
    if (out->kind == LC_N_SLICE && items.count > 1) {
        return lc_jinja_syntax_error(p, line, "slices in several dimensions are not supported");
    }
    if (out->kind == LC_N_ITEM && items.count == 1) {
        out->b = items.items[0];
    } else if (out->kind == LC_N_ITEM) {
        LC_TRY(lc_jinja_new_node(p, LC_N_TUPLE, line, &tuple));
        tuple->items = items.items;
        tuple->count = items.count;
        LC_TRY(lc_jinja_finish_node(p, tuple));
        out->b = tuple;
    }
    *node = out;
    return lc_jinja_finish_node(p, out);
}

static lc_code parse_postfix(lc_jparser *p, lc_jnode **node)
{
    for (;;) {
        switch (p->token->type) {
        case LC_T_DOT:
            LC_TRY(parse_dot(p, node));
            break;
        case LC_T_LEFT_BRACKET:
            LC_TRY(parse_brackets(p, node));
            break;
        case LC_T_LEFT_PAREN:
            LC_TRY(parse_call(p, node));
            break;
        default:
            return LC_OK;
        }
    }
}

/* ---- filters and tests ---- */

/* name or name.name */
static lc_code parse_dotted(lc_jparser *p, lc_jvalue *name, int *line)
{
    *name = p->token->value;
    *line = p->token->line;
    LC_TRY(lc_jinja_expect(p, LC_T_NAME));
    if (p->token->type == LC_T_DOT) {
        return lc_jinja_syntax_error(p, *line, "No filter or test named '%.*s. ...'.",
                                     name->bytes < 100 ? (int)name->bytes : 100, name->text);
    }
    return LC_OK;
}

static lc_code parse_filter(lc_jparser *p, lc_jnode **node)
{
    lc_jnode *out = NULL;
    lc_jvalue name;
    int line = 0;
    LC_TRY(parse_dotted(p, &name, &line));
    LC_TRY(lc_jinja_new_node(p, LC_N_FILTER, line, &out));
    out->value = name;
    out->filter = lc_jinja_find_filter(&name);
    out->a = *node;
    if (p->token->type == LC_T_LEFT_PAREN) {
        LC_TRY(parse_arguments(p, &out->call));
    }
    *node = out;
    return lc_jinja_finish_node(p, out);
}

/* A test takes one argument without parentheses too: x is divisibleby 3. */
static lc_code parse_bare_argument(lc_jparser *p, lc_jargs *out)
{
    static const lc_jtoken_type begins[] = {LC_T_NAME,  LC_T_STRING,       LC_T_INTEGER,
                                            LC_T_FLOAT, LC_T_LEFT_BRACKET, LC_T_LEFT_BRACE};
    size_t i = 0;
    lc_jnodes args = {0};
    lc_jnode *argument = NULL;
    while (i < sizeof begins / sizeof *begins && p->token->type != begins[i]) {
        i++;
    }
    if (i == sizeof begins / sizeof *begins || lc_jinja_at_name(p, "else") ||
        lc_jinja_at_name(p, "or") || lc_jinja_at_name(p, "and")) {
        return LC_OK;
    }
    if (lc_jinja_at_name(p, "is")) {
        return lc_jinja_syntax_error(p, p->token->line, "You cannot chain multiple tests with is");
    }
    LC_TRY(parse_primary(p, false, &argument));
    LC_TRY(parse_postfix(p, &argument));
    LC_TRY(lc_jinja_add_node(p, &args, argument));
    out->args = args.items;
    out->count = 1;
    return LC_OK;
}

static lc_code parse_test(lc_jparser *p, lc_jnode **node)
{
    lc_jnode *out = NULL, *negated = NULL;
    lc_jvalue name;
    bool is_negated = false;
    const int line = p->token->line;
    int name_line = 0;
    LC_TRY(lc_jinja_advance(p));
    LC_TRY(lc_jinja_skip_name(p, "not", &is_negated));
    LC_TRY(parse_dotted(p, &name, &name_line));
    LC_TRY(lc_jinja_new_node(p, LC_N_TEST, line, &out));
    out->value = name;
    out->test = lc_jinja_find_test(&name);
    out->a = *node;
    if (p->token->type == LC_T_LEFT_PAREN) {
        LC_TRY(parse_arguments(p, &out->call));
    } else {
        LC_TRY(parse_bare_argument(p, &out->call));
    }
    LC_TRY(lc_jinja_finish_node(p, out));
    *node = out;
    if (is_negated) {
        LC_TRY(lc_jinja_new_node(p, LC_N_NOT, line, &negated));
        negated->a = out;
        *node = negated;
        return lc_jinja_finish_node(p, negated);
    }
    return LC_OK;
}

lc_code lc_jinja_parse_filters(lc_jparser *p, lc_jnode *node, bool is_inline, lc_jnode **out)
{
    *out = node;
    if (is_inline) { /* {% filter name %}: no bar before the first */
        LC_TRY(parse_filter(p, out));
    }
    for (;;) {
        if (p->token->type == LC_T_PIPE) {
            LC_TRY(lc_jinja_advance(p));
            LC_TRY(parse_filter(p, out));
        } else if (*out != NULL && node != NULL && lc_jinja_at_name(p, "is")) {
            LC_TRY(parse_test(p, out));
        } else if (*out != NULL && node != NULL && p->token->type == LC_T_LEFT_PAREN) {
            LC_TRY(parse_call(p, out));
        } else {
            return LC_OK;
        }
    }
}
