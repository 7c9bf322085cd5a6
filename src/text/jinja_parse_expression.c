/*
 * Expressions, with Jinja2's precedence: if-else, or, and, not, comparisons, + -, ~, * / // %, **,
 * unary, postfix, filters and tests. Recursion is bounded by LC_MAX_TEMPLATE_NESTING.
 */
#include <stdio.h>

#include "text/jinja_parser.h"

typedef lc_code (*parse_fn)(lc_jparser *p, lc_jnode **out);

static lc_code parse_or(lc_jparser *p, lc_jnode **out);

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
        LC_TRY(lc_jinja_parse_primary(p, false, out));
        LC_TRY(lc_jinja_parse_postfix(p, out));
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
    LC_TRY(lc_jinja_parse_postfix(p, out));
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

lc_code lc_jinja_make_const(lc_jparser *p, int line, lc_jvalue value, lc_jnode **out)
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
            return lc_jinja_make_const(p, token->line, constants[i].value, out);
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
    LC_TRY(lc_jinja_make_const(p, first->line, first->value, out));
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
        return lc_jinja_parse_primary(p, style->with_namespace, out);
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

lc_code lc_jinja_parse_primary(lc_jparser *p, bool with_namespace, lc_jnode **out)
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
        return lc_jinja_make_const(p, token->line, token->value, out);
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
