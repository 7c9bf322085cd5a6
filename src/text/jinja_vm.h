/*
 * One rendering: memory, output, limits, errors. Everything a template can do costs steps, bytes
 * or depth, and each has a limit.
 */
#ifndef LC_TEXT_JINJA_VM_H
#define LC_TEXT_JINJA_VM_H

#include "text/jinja_value.h"
#include "text/template_limits.h"

typedef struct lc_jblock lc_jblock;

/* Memory that is freed as a whole: objects in one place, text in another, so that the text made
 * last can grow where it is. */
typedef struct lc_jmemory {
    lc_jblock *blocks; /* owned */
    char *at, *end;    /* free for objects */
    char *text_at, *text_end;
    size_t bytes, limit;
} lc_jmemory;

void lc_jinja_memory_init(lc_jmemory *memory, size_t limit);
void lc_jinja_memory_release(lc_jmemory *memory);
/* Not zeroed, aligned to 16; NULL when the limit is reached or the system has no more. */
void *lc_jinja_memory_get(lc_jmemory *memory, size_t bytes);
char *lc_jinja_memory_text(lc_jmemory *memory, size_t bytes);

typedef struct lc_jnode lc_jnode;
typedef struct lc_jprogram lc_jprogram;

/* The variables of one call: of the template, a macro, a recursive loop. */
typedef struct lc_jframe {
    struct lc_jframe *outer; /* where the function was defined */
    lc_jvalue slots[];
} lc_jframe;

/* A span of {% generation %}, in bytes of the output, and the message that the loop around it is
 * at, from 1; 0: no loop goes through messages. */
typedef struct lc_jspan {
    size_t begin, end, message;
} lc_jspan;

struct lc_jvm {
    const lc_jprogram *program;
    lc_jmemory memory;
    lc_text out;           /* what is written; inner captures take their part off its end */
    lc_jvalue *globals;    /* of the names the program looks up in its context */
    const lc_jdict *given; /* the context: variables of the caller */
    lc_jspan *spans;       /* owned */
    size_t span_count, span_capacity;
    size_t message;       /* that the innermost loop through messages is at, as in lc_jspan */
    lc_jvalue block_text; /* what a block wrote, for its filter */
    int captures;         /* captures that are open */
    size_t outer_length;  /* of `out` where the outermost capture began */
    int64_t steps;        /* left */
    int depth;            /* of evaluation */
    int line;             /* of the statement or expression at work */
    const char *name;     /* of the template, for messages */
    int64_t now;          /* seconds since 1970 for strftime_now; see has_date */
    bool has_date;        /* `now` is midnight of a date, in UTC; else the clock is asked */
    lc_code code;         /* the first failure */
    lc_err *err;
};

/* Records an error with the template's name and the line at work; LC_ERR_INVALID. */
lc_code lc_jinja_fail(lc_jvm *vm, const char *format, ...) LC_PRINTF(2, 3);
/* The same under another code. */
lc_code lc_jinja_fail_as(lc_jvm *vm, lc_code code, const char *format, ...) LC_PRINTF(3, 4);
/* "'x' is undefined" and its kin, for a value that is UNDEFINED. */
lc_code lc_jinja_fail_undefined(lc_jvm *vm, const lc_jvalue *value);
/* The text of that message into out[capacity]. */
void lc_jinja_describe_undefined(const lc_jvalue *value, char *out, size_t capacity);
/* One that names the type of a value: the format has one %s. */
lc_code lc_jinja_fail_type(lc_jvm *vm, const char *format, const lc_jvalue *value);

/* Pays for work in proportion to `bytes`. */
LC_WARN_UNUSED lc_code lc_jinja_pay(lc_jvm *vm, size_t bytes);
LC_WARN_UNUSED lc_code lc_jinja_alloc(lc_jvm *vm, size_t bytes, void **out);
/* Room for a text, to be filled by the caller. */
LC_WARN_UNUSED lc_code lc_jinja_new_text(lc_jvm *vm, size_t bytes, char **out);
/* Both as one string; the first grows in place when it was made last. */
LC_WARN_UNUSED lc_code lc_jinja_join_texts(lc_jvm *vm, const lc_jvalue *a, const lc_jvalue *b,
                                           lc_jvalue *out);
/* What is built in a lc_text, outside the rendering's memory, has its limit: whoever makes more of
 * it than there was asks as it grows. */
LC_WARN_UNUSED lc_code lc_jinja_check_size(lc_jvm *vm, const lc_text *text);
/* What was built in a lc_text becomes a value; the text is released in any case. */
LC_WARN_UNUSED lc_code lc_jinja_take(lc_jvm *vm, lc_text *text, lc_code code, lc_jvalue *out);

/* Deeper evaluation; leave by lc_jinja_leave, also after a failure inside. */
LC_WARN_UNUSED lc_code lc_jinja_enter(lc_jvm *vm);
static inline void lc_jinja_leave(lc_jvm *vm)
{
    vm->depth--;
}

#endif
