/*
 * What every test needs: cmocka with its headers in order, a seeded random stream whose seed is
 * printed, temporary directories, and comparisons.
 */
#ifndef TESTS_SUPPORT_TESTING_H
#define TESTS_SUPPORT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lorac/err.h"

/* Fails the test with the error's message unless the call succeeds. */
#define assert_ok(call)                                  \
    do {                                                 \
        lc_err_clear(&test_err);                         \
        if ((call) != LC_OK) {                           \
            fail_msg("%s: %s", #call, test_err.message); \
        }                                                \
    } while (0)

/* The call must fail with `expected` and a message that contains `text`. Uses &test_err. */
#define assert_fails(call, expected, text)                                                        \
    do {                                                                                          \
        lc_err_clear(&test_err);                                                                  \
        const lc_code got_ = (call);                                                              \
        if (got_ != (expected)) {                                                                 \
            fail_msg("%s gave %s (%s), expected %s", #call, lc_code_name(got_), test_err.message, \
                     lc_code_name(expected));                                                     \
        }                                                                                         \
        if (strstr(test_err.message, (text)) == NULL) {                                           \
            fail_msg("%s: message \"%s\" lacks \"%s\"", #call, test_err.message, (text));         \
        }                                                                                         \
    } while (0)

extern lc_err test_err;

/* Seed from LORAC_TEST_SEED or the clock, printed once. */
uint32_t test_seed(void);
double test_uniform(double low, double high);
int64_t test_int(int64_t low, int64_t high); /* inclusive */
void test_fill(float *values, size_t count, double low, double high);

/* A fresh directory under TMPDIR, removed at exit. Static buffer per call, up to 64 of them. */
const char *test_dir(void);
void test_write_file(const char *path, const void *data, size_t bytes);

/* ||a-b|| / ||b|| in double. */
double test_relative_l2(const float *a, const double *b, size_t count);

#endif
