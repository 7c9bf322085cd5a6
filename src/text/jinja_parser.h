/* What the two files of the parser share: the tokens being read, and nodes. */
#ifndef LC_TEXT_JINJA_PARSER_H
#define LC_TEXT_JINJA_PARSER_H

#include "text/jinja_lex.h"

typedef struct lc_jparser {
    lc_jcompiler *compiler;
    const lc_jtoken *token; /* the current one */
    int nesting;
} lc_jparser;

/* Nodes of a list that grows while it is read. */
typedef struct lc_jnodes {
    lc_jnode **items;
    size_t count, capacity;
} lc_jnodes;

lc_code lc_jinja_syntax_error(lc_jparser *p, int line, const char *format, ...) LC_PRINTF(3, 4);
LC_WARN_UNUSED lc_code lc_jinja_new_node(lc_jparser *p, lc_jkind kind, int line, lc_jnode **out);
LC_WARN_UNUSED lc_code lc_jinja_add_node(lc_jparser *p, lc_jnodes *nodes, lc_jnode *node);
/* Tells the tree levels of a node, once its children are set. */
LC_WARN_UNUSED lc_code lc_jinja_finish_node(lc_jparser *p, lc_jnode *node);
/* One level deeper in the source; leave by p->nesting--. */
LC_WARN_UNUSED lc_code lc_jinja_nest(lc_jparser *p);

/* Goes on to the next token; where the source is broken, the lexer's message is the error. */
LC_WARN_UNUSED lc_code lc_jinja_advance(lc_jparser *p);
bool lc_jinja_at_name(const lc_jparser *p, const char *name);
bool lc_jinja_next_is(const lc_jparser *p, lc_jtoken_type type, const char *name);
LC_WARN_UNUSED lc_code lc_jinja_expect(lc_jparser *p, lc_jtoken_type type);
LC_WARN_UNUSED lc_code lc_jinja_expect_name(lc_jparser *p, const char *name);
LC_WARN_UNUSED lc_code lc_jinja_skip_name(lc_jparser *p, const char *name, bool *was_there);

/* Expressions. `end_name` ends a tuple too ("in", "recursive"), or NULL. */
LC_WARN_UNUSED lc_code lc_jinja_parse_expression(lc_jparser *p, lc_jnode **out);
LC_WARN_UNUSED lc_code lc_jinja_parse_tuple(lc_jparser *p, bool with_if_else, const char *end_name,
                                            lc_jnode **out);
LC_WARN_UNUSED lc_code lc_jinja_parse_target(lc_jparser *p, const char *end_name,
                                             bool with_namespace, lc_jnode **out);
LC_WARN_UNUSED lc_code lc_jinja_parse_name_target(lc_jparser *p, lc_jnode **out);
LC_WARN_UNUSED lc_code lc_jinja_parse_filters(lc_jparser *p, lc_jnode *node, bool is_inline,
                                              lc_jnode **out);

/* Between jinja_parse_expression.c and jinja_parse_postfix.c. */
LC_WARN_UNUSED lc_code lc_jinja_parse_primary(lc_jparser *p, bool with_namespace, lc_jnode **out);
LC_WARN_UNUSED lc_code lc_jinja_parse_postfix(lc_jparser *p, lc_jnode **node);
LC_WARN_UNUSED lc_code lc_jinja_make_const(lc_jparser *p, int line, lc_jvalue value,
                                           lc_jnode **out);

#endif
