/*
 * The strict scanner that stands before cJSON; private to src/base. json.h has the public
 * functions.
 */
#ifndef LC_BASE_JSON_SCAN_H
#define LC_BASE_JSON_SCAN_H

#include <stddef.h>

#include "lorac/err.h"

/* cJSON copies a number into a buffer of 64 bytes before it reads it. */
#define LC_MAX_JSON_NUMBER_BYTES 63

/* Checks the whole text; flags as in lc_json_flags. LC_ERR_INVALID with line and column, or
 * LC_ERR_MEMORY. */
LC_WARN_UNUSED lc_code lc_json_scan(const char *text, size_t bytes, unsigned flags,
                                    const char *what, lc_err *err);

#endif
