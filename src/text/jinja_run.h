/*
 * Running a program: what the evaluator's files share. Calls, iteration, attributes, operators.
 */
#ifndef LC_TEXT_JINJA_RUN_H
#define LC_TEXT_JINJA_RUN_H

#include "text/jinja_program.h"

/* Arguments of a call, evaluated. */
typedef struct lc_jcall {
    const lc_jvalue *args;
    size_t count;
    const lc_jvalue *names; /* of keyword arguments */
    const lc_jvalue *named;
    size_t named_count;
} lc_jcall;

/* Parameters as "s,old,new,count" with `required` of them; arguments that are not given stay
 * MISSING. More arguments, unknown names and gaps are the errors that Python makes. */
#define LC_J_MAX_PARAMETERS 8
LC_WARN_UNUSED lc_code lc_jinja_bind_call(lc_jvm *vm, const char *name, const char *parameters,
                                          size_t required, const lc_jcall *call,
                                          lc_jvalue out[LC_J_MAX_PARAMETERS]);

struct lc_jmacro {
    const lc_jcode *code;
    lc_jframe *outer;
};

typedef lc_code (*lc_jfunction_fn)(lc_jvm *vm, const lc_jcall *call, lc_jvalue *out);
struct lc_jfunction {
    const char *name;
    lc_jfunction_fn run;
};

/* The global functions; NULL: there is none of that name. */
const lc_jfunction *lc_jinja_find_function(const lc_jvalue *name);

typedef lc_code (*lc_jmethod_fn)(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call,
                                 lc_jvalue *out);

/* ---- iteration ---- */

typedef lc_code (*lc_jnext_fn)(lc_jvm *vm, lc_jiterator *iterator, lc_jvalue *out, bool *has_next);

struct lc_jiterator {
    lc_jnext_fn next;
    lc_jvalue source;
    size_t at, end;
    lc_jiterator *inner; /* of a lazy filter's source, once it was asked for an item */
    const void *state;   /* of a lazy filter */
    bool is_over;
};

/* iter(value) and next(): an error for what cannot be iterated. */
LC_WARN_UNUSED lc_code lc_jinja_iterate(lc_jvm *vm, const lc_jvalue *value, lc_jiterator *out);
LC_WARN_UNUSED lc_code lc_jinja_next(lc_jvm *vm, lc_jiterator *iterator, lc_jvalue *out,
                                     bool *has_next);
bool lc_jinja_is_iterable(const lc_jvalue *value);
/* All items as a list, or the list itself. */
LC_WARN_UNUSED lc_code lc_jinja_items(lc_jvm *vm, const lc_jvalue *value, const lc_jlist **out);
/* reversed(value); *is_there false where Python cannot. */
LC_WARN_UNUSED lc_code lc_jinja_reversed(lc_jvm *vm, const lc_jvalue *value, bool *is_there,
                                         lc_jvalue *out);
/* A new lazy iterator as a value. */
LC_WARN_UNUSED lc_code lc_jinja_lazy(lc_jvm *vm, lc_jnext_fn next, const lc_jvalue *source,
                                     const void *state, lc_jvalue *out);
/* The iterator over a lazy filter's source, made at the first call. */
LC_WARN_UNUSED lc_code lc_jinja_source(lc_jvm *vm, lc_jiterator *lazy, lc_jiterator **out);

struct lc_jloop {
    lc_jiterator iterator;
    int64_t index0, length; /* length -1: not known yet */
    lc_jvalue iterated, after, current, before, changed;
    int64_t depth0;
    const lc_jfor *recursive; /* NULL: it cannot be called */
    lc_jframe *outer;
};
LC_WARN_UNUSED lc_code lc_jinja_loop_length(lc_jvm *vm, lc_jloop *loop, int64_t *out);
LC_WARN_UNUSED lc_code lc_jinja_loop_next(lc_jvm *vm, lc_jloop *loop, lc_jvalue *out,
                                          bool *has_next);
LC_WARN_UNUSED lc_code lc_jinja_loop_attribute(lc_jvm *vm, lc_jloop *loop, const lc_jvalue *name,
                                               lc_jvalue *out);

/* ---- evaluation ---- */

LC_WARN_UNUSED lc_code lc_jinja_eval(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node,
                                     lc_jvalue *out);
/* Runs the whole program; what it writes is in vm->out. */
LC_WARN_UNUSED lc_code lc_jinja_run(lc_jvm *vm);
LC_WARN_UNUSED lc_code lc_jinja_assign(lc_jvm *vm, lc_jframe *frame, const lc_jnode *target,
                                       const lc_jvalue *value);
/* Text that is written from here to the end of the capture becomes a value. */
size_t lc_jinja_begin_capture(lc_jvm *vm);
LC_WARN_UNUSED lc_code lc_jinja_end_capture(lc_jvm *vm, size_t begin, lc_jvalue *out);
LC_WARN_UNUSED lc_code lc_jinja_new_frame(lc_jvm *vm, const lc_jcode *code, lc_jframe *outer,
                                          lc_jframe **out);
/* Between jinja_run.c (statements) and jinja_call.c. */
LC_WARN_UNUSED lc_code lc_jinja_run_code(lc_jvm *vm, lc_jframe *frame, const lc_jcode *code);
LC_WARN_UNUSED lc_code lc_jinja_run_recursive(lc_jvm *vm, lc_jframe *outer, const lc_jfor *loop,
                                              const lc_jvalue *iterated, int64_t depth,
                                              lc_jvalue *out);

LC_WARN_UNUSED lc_code lc_jinja_eval_call(lc_jvm *vm, lc_jframe *frame, const lc_jnode *node,
                                          lc_jvalue *out);
LC_WARN_UNUSED lc_code lc_jinja_eval_args(lc_jvm *vm, lc_jframe *frame, const lc_jargs *args,
                                          const lc_jvalue *first, lc_jcall *out);
LC_WARN_UNUSED lc_code lc_jinja_call(lc_jvm *vm, const lc_jvalue *callee, const lc_jcall *call,
                                     lc_jvalue *out);
LC_WARN_UNUSED lc_code lc_jinja_call_macro(lc_jvm *vm, const lc_jmacro *macro, const lc_jcall *call,
                                           lc_jvalue *out);

/* ---- attributes, items, operators ---- */

/* object.name: attributes before items. `out` is not `object`, here and below. */
LC_WARN_UNUSED lc_code lc_jinja_attribute(lc_jvm *vm, const lc_jvalue *object,
                                          const lc_jvalue *name, lc_jvalue *out);
/* object[index]: items before attributes. */
LC_WARN_UNUSED lc_code lc_jinja_item(lc_jvm *vm, const lc_jvalue *object, const lc_jvalue *index,
                                     lc_jvalue *out);
/* The attribute itself, as getattr: *is_there false when there is none. */
LC_WARN_UNUSED lc_code lc_jinja_own_attribute(lc_jvm *vm, const lc_jvalue *object,
                                              const lc_jvalue *name, bool *is_there,
                                              lc_jvalue *out);
/* object[start:stop:step], each MISSING or NONE where it is not given. */
LC_WARN_UNUSED lc_code lc_jinja_slice(lc_jvm *vm, const lc_jvalue *object,
                                      const lc_jvalue bounds[3], lc_jvalue *out);
LC_WARN_UNUSED lc_code lc_jinja_binary(lc_jvm *vm, lc_jkind kind, const lc_jvalue *a,
                                       const lc_jvalue *b, lc_jvalue *out);
LC_WARN_UNUSED lc_code lc_jinja_unary(lc_jvm *vm, lc_jkind kind, const lc_jvalue *a,
                                      lc_jvalue *out);
/* str % arguments, and str.format(...). */
LC_WARN_UNUSED lc_code lc_jinja_percent(lc_jvm *vm, const lc_jvalue *format,
                                        const lc_jvalue *arguments, lc_jvalue *out);
LC_WARN_UNUSED lc_code lc_jinja_format(lc_jvm *vm, const lc_jvalue *format, const lc_jcall *call,
                                       lc_jvalue *out);
/* Markup.escape. */
LC_WARN_UNUSED lc_code lc_jinja_escape(lc_jvm *vm, const lc_jvalue *value, lc_jvalue *out);

/* ---- texts ---- */

size_t lc_jinja_count_chars(const char *text, size_t bytes);
/* Byte where character `index` begins; the text's length when there is none. */
size_t lc_jinja_char_offset(const char *text, size_t bytes, size_t index);
/* A part of a text, which stays safe if the whole is. */
static inline lc_jvalue lc_jinja_part(const lc_jvalue *text, size_t from, size_t to)
{
    lc_jvalue part = *text;
    part.text += from;
    part.bytes = (uint32_t)(to - from);
    return part;
}
/* Text without characters of `chars` (NULL: white space) at its ends. */
lc_jvalue lc_jinja_strip(const lc_jvalue *text, const lc_jvalue *chars, bool left, bool right);
typedef enum lc_jcase {
    LC_J_LOWER,
    LC_J_UPPER,
    LC_J_TITLE,
    LC_J_CAPITAL,
    LC_J_SWAP,
    LC_J_FOLD
} lc_jcase;
LC_WARN_UNUSED lc_code lc_jinja_change_case(lc_jvm *vm, const lc_jvalue *text, lc_jcase to,
                                            lc_jvalue *out);
/* Occurrences of `old` replaced, at most `count` of them unless it is negative. */
LC_WARN_UNUSED lc_code lc_jinja_replace(lc_jvm *vm, const lc_jvalue *text, const lc_jvalue *old,
                                        const lc_jvalue *new_text, int64_t count, lc_jvalue *out);
/* Lines as str.splitlines gives them, a list. */
LC_WARN_UNUSED lc_code lc_jinja_split_lines(lc_jvm *vm, const lc_jvalue *text, bool keeps_ends,
                                            lc_jvalue *out);
/* `count` times one text. */
LC_WARN_UNUSED lc_code lc_jinja_repeat(lc_jvm *vm, const lc_jvalue *text, int64_t count,
                                       lc_jvalue *out);
/* A text between fill characters: on the left, on the right. */
LC_WARN_UNUSED lc_code lc_jinja_pad(lc_jvm *vm, const lc_jvalue *text, const lc_jvalue *fill,
                                    size_t left, size_t right, lc_jvalue *out);
/* All of str.isXXX by the classes of its characters. */
bool lc_jinja_is_lower(const lc_jvalue *text, bool is_upper);
/* int(text, base) and float(text): false where Python raises. */
typedef enum lc_jparsed { LC_J_BAD_NUMBER, LC_J_NUMBER, LC_J_TOO_LARGE } lc_jparsed;
lc_jparsed lc_jinja_parse_int(const lc_jvalue *text, int64_t base, int64_t *out);
bool lc_jinja_parse_float(lc_jvm *vm, const lc_jvalue *text, double *out);

/* ---- sorting ---- */

/* Sorts keys[i] with items[i], stable, by `<`. `is_list` compares each key as Python does one in
 * a list: equal keys need no order. */
LC_WARN_UNUSED lc_code lc_jinja_sort(lc_jvm *vm, lc_jvalue *keys, lc_jvalue *items, size_t count,
                                     bool is_list, bool is_reversed);
/* A dict's entries by key. */
LC_WARN_UNUSED lc_code lc_jinja_sort_entries(lc_jvm *vm, const lc_jdict *dict,
                                             const lc_jentry **out);

#endif
