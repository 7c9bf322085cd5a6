/*
 * Values of a template: what Python's objects are to Jinja2. Sixteen bytes each; everything they
 * point to lives in the memory of one rendering (or of the template, for constants) and nothing
 * is ever changed once it can be seen, but for namespaces, iterators, loops, cyclers and joiners.
 */
#ifndef LC_TEXT_JINJA_VALUE_H
#define LC_TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "lorac/err.h"

typedef enum lc_jtype {
    LC_J_MISSING = 0, /* no value at all: a variable not set, an argument not given */
    LC_J_UNDEFINED,
    LC_J_NONE,
    LC_J_BOOL,
    LC_J_INT,
    LC_J_BIG_INT, /* of the data, beyond 64 bits: kept as text, can be printed and compared */
    LC_J_FLOAT,
    LC_J_STRING,
    LC_J_LIST,
    LC_J_TUPLE,
    LC_J_DICT,
    LC_J_RANGE,
    LC_J_KEYS, /* views of a dict */
    LC_J_VALUES,
    LC_J_ITEMS,
    LC_J_ITERATOR, /* what lazy filters give: can be gone through once */
    LC_J_NAMESPACE,
    LC_J_MACRO,
    LC_J_FUNCTION, /* a global such as range */
    LC_J_METHOD,   /* "x".strip and kin, not called yet */
    LC_J_LOOP,
    LC_J_CYCLER,
    LC_J_JOINER,
} lc_jtype;

typedef enum lc_jflags {
    LC_J_SAFE = 1,   /* string: markupsafe.Markup, which escapes what is joined to it */
    LC_J_GROUP = 2,  /* tuple: (grouper, list) of groupby */
    LC_J_SLOTTED = 4 /* iterator: a reversed one, whose printed form has an address too */
} lc_jflags;

typedef struct lc_jvm lc_jvm;
typedef struct lc_jiterator lc_jiterator;
typedef struct lc_jloop lc_jloop;
typedef struct lc_jmacro lc_jmacro;
typedef struct lc_jfunction lc_jfunction;
typedef struct lc_jmethod lc_jmethod;
typedef struct lc_jundefined lc_jundefined;
typedef struct lc_jcycler lc_jcycler;
typedef struct lc_jdict lc_jdict;
typedef struct lc_jlist lc_jlist;
typedef struct lc_jrange lc_jrange;

typedef struct lc_jvalue {
    union {
        int64_t integer; /* INT, BOOL */
        double number;
        const char *text; /* STRING, BIG_INT: `bytes` bytes of valid UTF-8, no NUL behind */
        const lc_jlist *list;
        const lc_jdict *dict; /* DICT and its views */
        lc_jdict *space;      /* NAMESPACE; a DICT while it is made */
        const lc_jrange *range;
        const lc_jundefined *undefined;
        lc_jiterator *iterator;
        const lc_jmacro *macro;
        const lc_jfunction *function;
        const lc_jmethod *method;
        lc_jloop *loop;
        lc_jcycler *cycler; /* CYCLER, JOINER */
    };
    uint32_t bytes;
    uint8_t type;
    uint8_t flags;
} lc_jvalue;

struct lc_jlist {
    lc_jvalue *items;
    size_t count;
};

typedef struct lc_jentry {
    lc_jvalue key, value;
} lc_jentry;

/* Entries in the order they came; `index` (open addressing, 0: free, else entry + 1) once there
 * are many. */
struct lc_jdict {
    lc_jentry *entries;
    size_t count, capacity;
    uint32_t *index;
    size_t index_size; /* a power of two */
    size_t message;    /* it is this one of the conversation, from 1; 0: none */
};

struct lc_jrange {
    int64_t start, stop, step, count;
};

/* Why something is undefined; the message is made when somebody minds. */
struct lc_jundefined {
    const char *hint;  /* the whole message, or NULL */
    lc_jvalue object;  /* MISSING: `name` is a variable */
    lc_jvalue name;    /* variable, attribute or element */
    bool is_forbidden; /* the sandbox keeps it away */
};

/* cycler(...) and joiner(...). */
struct lc_jcycler {
    const lc_jvalue *items;
    size_t count, at;
};

/* ---- making ---- */

static inline lc_jvalue lc_jinja_none(void)
{
    return (lc_jvalue){.type = LC_J_NONE};
}

static inline lc_jvalue lc_jinja_bool(bool value)
{
    return (lc_jvalue){.type = LC_J_BOOL, .integer = value};
}

static inline lc_jvalue lc_jinja_int(int64_t value)
{
    return (lc_jvalue){.type = LC_J_INT, .integer = value};
}

static inline lc_jvalue lc_jinja_float(double value)
{
    return (lc_jvalue){.type = LC_J_FLOAT, .number = value};
}

/* Borrows the bytes. */
static inline lc_jvalue lc_jinja_text(const char *text, size_t bytes)
{
    return (lc_jvalue){.type = LC_J_STRING, .text = text, .bytes = (uint32_t)bytes};
}

/* Of a constant. */
static inline lc_jvalue lc_jinja_literal(const char *text)
{
    return lc_jinja_text(text, strlen(text));
}

static inline bool lc_jinja_is_number(const lc_jvalue *value)
{
    return value->type >= LC_J_BOOL && value->type <= LC_J_FLOAT;
}

/* int or bool, which is one in Python. */
static inline bool lc_jinja_is_integer(const lc_jvalue *value)
{
    return value->type == LC_J_INT || value->type == LC_J_BOOL;
}

static inline bool lc_jinja_is_string(const lc_jvalue *value)
{
    return value->type == LC_J_STRING;
}

static inline bool lc_jinja_is_text(const lc_jvalue *value, const char *text)
{
    const size_t bytes = strlen(text);
    return value->type == LC_J_STRING && value->bytes == bytes &&
           memcmp(value->text, text, bytes) == 0;
}

/* The name of its type in Python: "str", "NoneType", ... */
const char *lc_jinja_type_name(const lc_jvalue *value);

/* New values of this rendering. A name is a string value. */
LC_WARN_UNUSED lc_code lc_jinja_undefined(lc_jvm *vm, const lc_jundefined *why, lc_jvalue *out);
LC_WARN_UNUSED lc_code lc_jinja_undefined_hint(lc_jvm *vm, const char *hint, lc_jvalue *out);
/* `count` items, MISSING until they are set; type LIST or TUPLE. */
LC_WARN_UNUSED lc_code lc_jinja_list(lc_jvm *vm, lc_jtype type, size_t count, lc_jlist **list,
                                     lc_jvalue *out);
LC_WARN_UNUSED lc_code lc_jinja_pair(lc_jvm *vm, const lc_jvalue *first, const lc_jvalue *second,
                                     lc_jvalue *out);
LC_WARN_UNUSED lc_code lc_jinja_append(lc_jvm *vm, lc_jlist *list, size_t *capacity,
                                       const lc_jvalue *item);
/* Bytes of the rendering's memory as a string value. */
LC_WARN_UNUSED lc_code lc_jinja_copy_text(lc_jvm *vm, const char *text, size_t bytes,
                                          lc_jvalue *out);
/* A parsed JSON tree. Strings are borrowed from it. */
LC_WARN_UNUSED lc_code lc_jinja_from_json(lc_jvm *vm, const cJSON *json, lc_jvalue *out);

/* ---- dicts ---- */

LC_WARN_UNUSED lc_code lc_jinja_dict(lc_jvm *vm, size_t capacity, lc_jdict **dict, lc_jvalue *out);
/* The value of a key that can be hashed, NULL when there is none. */
LC_WARN_UNUSED lc_code lc_jinja_find(lc_jvm *vm, const lc_jdict *dict, const lc_jvalue *key,
                                     lc_jvalue **out);
lc_jvalue *lc_jinja_find_text(const lc_jdict *dict, const char *key, size_t bytes);
/* Sets a key; one that is there keeps its place. The key can be hashed (lc_jinja_check_hash). */
LC_WARN_UNUSED lc_code lc_jinja_put(lc_jvm *vm, lc_jdict *dict, const lc_jvalue *key,
                                    const lc_jvalue *value);
/* Lists and dicts cannot be keys. */
LC_WARN_UNUSED lc_code lc_jinja_check_hash(lc_jvm *vm, const lc_jvalue *key);

/* ---- comparing ---- */

bool lc_jinja_is_true(const lc_jvalue *value);
/* ==, and what `in` and keys go by. Deep nesting is an error. */
LC_WARN_UNUSED lc_code lc_jinja_equal(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b,
                                      bool *out);
/* a < b and its kin as Python orders them; `name` is the operator, for the message. */
typedef enum lc_jorder { LC_J_LESS, LC_J_LESS_EQUAL, LC_J_GREATER, LC_J_GREATER_EQUAL } lc_jorder;
LC_WARN_UNUSED lc_code lc_jinja_order(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b,
                                      lc_jorder order, bool *out);
LC_WARN_UNUSED lc_code lc_jinja_contains(lc_jvm *vm, const lc_jvalue *item, const lc_jvalue *in,
                                         bool *out);
/* Same object, as Python's `is`. */
bool lc_jinja_is_same(const lc_jvalue *a, const lc_jvalue *b);
/* len(); a value without one is an error, *out -1 with `may_lack`. */
LC_WARN_UNUSED lc_code lc_jinja_length(lc_jvm *vm, const lc_jvalue *value, bool may_lack,
                                       int64_t *out);

/* ---- printing ---- */

/* str() and repr(), appended. */
LC_WARN_UNUSED lc_code lc_jinja_add_str(lc_jvm *vm, const lc_jvalue *value, lc_text *out);
LC_WARN_UNUSED lc_code lc_jinja_add_repr(lc_jvm *vm, const lc_jvalue *value, lc_text *out);
/* str() as a value; a string stays what it is, a safe one becomes a plain one. */
LC_WARN_UNUSED lc_code lc_jinja_str(lc_jvm *vm, const lc_jvalue *value, lc_jvalue *out);
LC_WARN_UNUSED lc_code lc_jinja_repr(lc_jvm *vm, const lc_jvalue *value, lc_jvalue *out);
/* Python's repr of a double: 1.0, 1e-05, inf, nan. */
void lc_jinja_add_double(lc_text *out, double value);

/* json.dumps. */
typedef struct lc_json_style {
    bool is_ascii, sorts_keys, is_indented;
    lc_jvalue indent; /* string put in front for each level */
    lc_jvalue item_separator, key_separator;
} lc_json_style;
LC_WARN_UNUSED lc_code lc_jinja_add_json(lc_jvm *vm, const lc_jvalue *value,
                                         const lc_json_style *style, lc_text *out);

#endif
