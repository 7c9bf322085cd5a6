/*
 * What names a scope reads and sets, before it runs: Jinja2's idtracking.py. Private to
 * jinja_scope.c.
 */
#ifndef LC_TEXT_JINJA_SYMBOLS_H
#define LC_TEXT_JINJA_SYMBOLS_H

#include "text/jinja_program.h"

typedef enum lc_jaction {
    A_PARAMETER, /* set by what opens the scope */
    A_RESOLVE,   /* from the context */
    A_ALIAS,     /* a copy of an outer scope's */
    A_UNDEFINED
} lc_jaction;

/* A name that a scope refers to itself (not through an outer scope). */
typedef struct lc_jsymbol {
    lc_jvalue name;
    lc_jaction action;
    int alias_level;
    bool is_stored;
} lc_jsymbol;

typedef struct lc_jsymbols {
    int level;
    struct lc_jsymbols *outer;
    lc_jsymbol *items;
    size_t count, capacity;
} lc_jsymbols;

typedef struct lc_jbinder {
    lc_jcompiler *compiler;
    lc_jmemory scratch; /* of symbols, which nobody needs afterwards */
} lc_jbinder;

/* "loop", "caller", "kwargs", "varargs": which are read before they are set, anywhere below. */
typedef struct lc_jsearch {
    const char *names[3];
    bool is_gone[3], is_found[3];
} lc_jsearch;

bool lc_jinja_is_same_name(const lc_jvalue *a, const lc_jvalue *b);
/* The symbol that a name means, and the level it belongs to; NULL: unknown. */
lc_jsymbol *lc_jinja_find_symbol(const lc_jsymbols *s, const lc_jvalue *name, int *level);
/* Room for one more element of an array in the program's memory. */
LC_WARN_UNUSED lc_code lc_jinja_grow(lc_jbinder *b, void **items, size_t count, size_t *capacity,
                                     size_t size);

/* Notes the names of nodes in the scope they stand in; scopes inside are not looked into. */
LC_WARN_UNUSED lc_code lc_jinja_note(lc_jbinder *b, lc_jsymbols *s, const lc_jnode *node);
LC_WARN_UNUSED lc_code lc_jinja_note_all(lc_jbinder *b, lc_jsymbols *s, lc_jnode *const *nodes,
                                         size_t count);
LC_WARN_UNUSED lc_code lc_jinja_note_body(lc_jbinder *b, lc_jsymbols *s, const lc_jbody *body);
LC_WARN_UNUSED lc_code lc_jinja_note_targets(lc_jbinder *b, lc_jsymbols *s, const lc_jnode *target,
                                             bool is_parameter);
LC_WARN_UNUSED lc_code lc_jinja_note_parameter(lc_jbinder *b, lc_jsymbols *s,
                                               const lc_jvalue *name);

/* Looks for the names of a search in nodes and all below them. */
void lc_jinja_search_all(lc_jsearch *s, lc_jnode *const *nodes, size_t count);

#endif
