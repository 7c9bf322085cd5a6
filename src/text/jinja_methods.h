/* Methods of str, list, tuple and dict that templates may call. */
#ifndef LC_TEXT_JINJA_METHODS_H
#define LC_TEXT_JINJA_METHODS_H

#include "text/jinja_run.h"

/* Who has a method in Python. */
typedef enum lc_jowner {
    LC_O_TEXT = 1,
    LC_O_LIST = 2,
    LC_O_TUPLE = 4,
    LC_O_DICT = 8,
    LC_O_INT = 16,
    LC_O_FLOAT = 32,
    LC_O_RANGE = 64,
    LC_O_CYCLER = 128,
    LC_O_LOOP = 256
} lc_jowner;

typedef struct lc_jmethod_name {
    const char *name;
    lc_jmethod_fn of_text, of_list, of_dict; /* of_list is for tuples and ranges too, */
    lc_jmethod_fn of_other;                  /* of_other for loops and cyclers */
    unsigned owners;
    unsigned forbidden; /* owners it would change: the sandbox keeps it away */
} lc_jmethod_name;

struct lc_jmethod {
    lc_jvalue self;
    const lc_jmethod_name *name;
};

unsigned lc_jinja_owner(const lc_jvalue *value);
/* NULL: no type has a method of that name. */
const lc_jmethod_name *lc_jinja_find_method(const lc_jvalue *name);
LC_WARN_UNUSED lc_code lc_jinja_call_method(lc_jvm *vm, const lc_jmethod *method,
                                            const lc_jcall *call, lc_jvalue *out);

/* The methods of str, in jinja_text_methods.c. */
#define LC_J_TEXT_METHODS(X)                                                                       \
    X(capitalize)                                                                                  \
    X(casefold)                                                                                    \
    X(center)                                                                                      \
    X(count)                                                                                       \
    X(endswith)                                                                                    \
    X(expandtabs) X(find) X(format) X(format_map) X(index) X(isalnum) X(isalpha) X(isascii)        \
        X(isdecimal) X(isdigit) X(isidentifier) X(islower) X(isnumeric) X(isprintable) X(isspace)  \
            X(istitle) X(isupper) X(join) X(ljust) X(lower) X(lstrip) X(partition) X(removeprefix) \
                X(removesuffix) X(replace) X(rfind) X(rindex) X(rjust) X(rpartition) X(rsplit)     \
                    X(rstrip) X(split) X(splitlines) X(startswith) X(strip) X(swapcase) X(title)   \
                        X(upper) X(zfill)
#define LC_J_DECLARE_TEXT_METHOD(name)                                                    \
    lc_code lc_jinja_text_##name(lc_jvm *vm, const lc_jvalue *self, const lc_jcall *call, \
                                 lc_jvalue *out);
LC_J_TEXT_METHODS(LC_J_DECLARE_TEXT_METHOD)

#endif
