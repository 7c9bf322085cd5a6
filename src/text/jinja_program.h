/*
 * A template as a tree: made by the parser, its names bound to places by jinja_scope.c, run by
 * jinja_run.c. Immutable once it is made, so that any number of threads may run it.
 */
#ifndef LC_TEXT_JINJA_PROGRAM_H
#define LC_TEXT_JINJA_PROGRAM_H

#include "text/jinja_value.h"
#include "text/jinja_vm.h"

typedef enum lc_jkind {
    /* expressions */
    LC_N_CONST,         /* value */
    LC_N_NAME,          /* value: the name; ref */
    LC_N_NAMESPACE_REF, /* a target ns.attr: value the name, other the attribute; ref */
    LC_N_TUPLE,         /* items */
    LC_N_LIST,
    LC_N_DICT,    /* items: key, value, key, value ... */
    LC_N_IF_ELSE, /* a if b else c (or NULL) */
    LC_N_OR,
    LC_N_AND,
    LC_N_NOT,
    LC_N_COMPARE, /* a, then items with operators in `ops` */
    LC_N_ADD,
    LC_N_SUBTRACT,
    LC_N_MULTIPLY,
    LC_N_DIVIDE,
    LC_N_FLOOR_DIVIDE,
    LC_N_MODULO,
    LC_N_POWER,
    LC_N_NEGATIVE,
    LC_N_POSITIVE,
    LC_N_CONCAT,    /* items, by ~ */
    LC_N_ATTRIBUTE, /* a.value */
    LC_N_ITEM,      /* a[b] */
    LC_N_SLICE,     /* a[b : c : d], each of b, c, d or NULL */
    LC_N_CALL,      /* a(call) */
    LC_N_FILTER,    /* a|value(call); a NULL: what the block wrote */
    LC_N_TEST,      /* a is value(call) */
    /* statements */
    LC_N_OUTPUT, /* items */
    LC_N_FOR,
    LC_N_IF,        /* items: tests; bodies: one for each, and one more for else */
    LC_N_SET,       /* a: target, b */
    LC_N_SET_BLOCK, /* a: target, b: filter or NULL, bodies[0] */
    LC_N_MACRO,
    LC_N_CALL_BLOCK,   /* a: the call; `function` is the caller */
    LC_N_GENERATION,   /* `function` is the body */
    LC_N_FILTER_BLOCK, /* b: filter, bodies[0] */
    LC_N_WITH,         /* items: target, value, target, value ...; bodies[0] */
    LC_N_BREAK,
    LC_N_CONTINUE,
} lc_jkind;

typedef enum lc_jcompare {
    LC_C_EQUAL,
    LC_C_NOT_EQUAL,
    LC_C_LESS,
    LC_C_LESS_EQUAL,
    LC_C_GREATER,
    LC_C_GREATER_EQUAL,
    LC_C_IN,
    LC_C_NOT_IN
} lc_jcompare;

/* Where a name's value is: a slot of the frame `hops` functions further out, or, with hops -1, a
 * value of the context. */
typedef struct lc_jref {
    int hops;
    int slot;
} lc_jref;

/* What a scope does to a slot as it is entered: from a place, or MISSING. */
typedef struct lc_jinit {
    int slot;
    bool is_copied, is_parameter; /* a parameter is only cleared when the scope is left */
    lc_jref from;
} lc_jinit;

typedef struct lc_jscope {
    lc_jinit *inits;
    size_t count;
} lc_jscope;

typedef struct lc_jargs {
    lc_jnode **args;
    size_t count;
    lc_jvalue *names; /* of keyword arguments */
    lc_jnode **named;
    size_t named_count;
    lc_jnode *more, *more_named; /* *expression, **expression */
} lc_jargs;

typedef struct lc_jbody {
    lc_jnode **nodes;
    size_t count;
} lc_jbody;

/* Code with variables of its own: a macro, a caller, a loop that is recursive, a loop's filter. */
typedef struct lc_jcode {
    lc_jvalue name;        /* NONE: anonymous */
    lc_jnode **parameters; /* names */
    int *parameter_slots;
    size_t parameter_count;
    lc_jnode **defaults; /* of the last parameters */
    size_t default_count;
    int caller_slot, named_slot, more_slot; /* -1: the body does not look at it */
    bool names_caller;                      /* "caller" is among the parameters */
    lc_jbody body;
    lc_jscope scope;
    int slot_count;
} lc_jcode;

typedef struct lc_jfor {
    lc_jnode *target, *iterated;
    lc_jnode *test;        /* or NULL */
    lc_jnode *test_target; /* the target in the test's frame */
    lc_jcode *test_code;
    lc_jbody body, otherwise;
    lc_jscope scope, else_scope;
    int loop_slot;       /* -1: nobody looks at `loop` */
    lc_jcode *recursive; /* NULL: an ordinary loop */
    bool keeps_scope;    /* nothing is cleared behind it */
} lc_jfor;

struct lc_jnode {
    uint8_t kind;
    bool is_stored; /* a name that is assigned to */
    bool is_parameter;
    uint16_t tree; /* levels of nodes below */
    int line;
    lc_jref ref;
    lc_jvalue value, other;
    lc_jnode *a, *b, *c, *d;
    lc_jnode **items;
    size_t count;
    uint8_t *ops;
    lc_jargs call;
    const struct lc_jfilter *filter; /* NULL: no filter of that name */
    const struct lc_jtest *test;
    lc_jbody *bodies;
    size_t body_count;
    lc_jscope scope;
    lc_jfor *loop;
    lc_jcode *code;
};

struct lc_jprogram {
    lc_jmemory memory; /* of everything below */
    lc_jcode main;
    lc_jvalue *global_names; /* looked up in the context once a rendering */
    size_t global_count, global_capacity;
    bool has_generation;
};

/* What the parser and the binder work with. */
typedef struct lc_jcompiler {
    lc_jprogram *program;
    const char *name; /* of the template */
    lc_code code;     /* the first failure */
    lc_err *err;
} lc_jcompiler;

/* Source of at most LC_MAX_TEMPLATE_BYTES to a program. `name` goes into messages: "chat_template,
 * line 3: ...". Free with lc_jinja_free. */
LC_WARN_UNUSED lc_code lc_jinja_compile(const char *source, size_t bytes, const char *name,
                                        lc_jprogram **out, lc_err *err);
void lc_jinja_free(lc_jprogram *program);

/* Used between the compiler's files. */
lc_code lc_jinja_fail_at(lc_jcompiler *compiler, int line, const char *format, ...) LC_PRINTF(3, 4);
LC_WARN_UNUSED lc_code lc_jinja_compile_alloc(lc_jcompiler *compiler, size_t bytes, void **out);
LC_WARN_UNUSED lc_code lc_jinja_parse(lc_jcompiler *compiler, const char *source, size_t bytes,
                                      lc_jbody *body);
LC_WARN_UNUSED lc_code lc_jinja_bind(lc_jcompiler *compiler, lc_jbody *body);

#endif
