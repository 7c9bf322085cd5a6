/* Jinja2's tests: x is defined, x is divisibleby 3, ... */
#ifndef LC_TEXT_JINJA_TESTS_H
#define LC_TEXT_JINJA_TESTS_H

#include "text/jinja_run.h"

typedef struct lc_jtest lc_jtest;

/* NULL: there is none of that name. */
const lc_jtest *lc_jinja_find_test(const lc_jvalue *name);
/* call->args[0] is what is tested. */
LC_WARN_UNUSED lc_code lc_jinja_run_test(lc_jvm *vm, const lc_jtest *test, const lc_jcall *call,
                                         bool *out);

#endif
