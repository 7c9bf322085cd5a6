/* What stands behind a primary: calls, attributes, subscripts, filters and tests. */
#include "text/jinja_filters.h"
#include "text/jinja_parser.h"
#include "text/jinja_tests.h"

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
        LC_TRY(lc_jinja_make_const(p, token->line, token->value, &out->b));
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

lc_code lc_jinja_parse_postfix(lc_jparser *p, lc_jnode **node)
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
    LC_TRY(lc_jinja_parse_primary(p, false, &argument));
    LC_TRY(lc_jinja_parse_postfix(p, &argument));
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
