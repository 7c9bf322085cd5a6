/*
 * Ids of the API: a prefix that says what it is, and 32 hex digits nobody can guess.
 */
#ifndef LC_SERVE_IDS_H
#define LC_SERVE_IDS_H

#include <stdbool.h>

#include "lorac/err.h"

#define LC_ID_BYTES      48 /* of any id with its NUL */
#define LC_MAX_PREFIX    14
#define LC_ID_DIGITS     32
#define LC_PREFIX_FILE   "file-"
#define LC_PREFIX_UPLOAD "upload_"
#define LC_PREFIX_PART   "part_"
#define LC_PREFIX_JOB    "ftjob-"
#define LC_PREFIX_EVENT  "ftevent-"
#define LC_PREFIX_KEY    "key-"

/* PREFIX and 128 bits of getrandom. */
LC_WARN_UNUSED lc_code lc_id_new(const char *prefix, char out[LC_ID_BYTES], lc_err *err);

/* Whether a text from outside can be such an id: what is none needs no look into the store, and
 * never becomes part of a path. */
bool lc_id_is(const char *id, const char *prefix);

/* The same draw without a prefix, for secrets: 64 hex digits and a NUL. */
LC_WARN_UNUSED lc_code lc_secret_new(char out[65], lc_err *err);

#endif
