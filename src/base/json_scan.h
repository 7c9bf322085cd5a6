/*
 * The strict scanner that stands before cJSON; private to src/base. json.h and json_tape.h have the
 * public functions.
 */
#ifndef LC_BASE_JSON_SCAN_H
#define LC_BASE_JSON_SCAN_H

#include <stddef.h>

#include "base/json_tape.h"
#include "lorac/err.h"

/* cJSON copies a number into a buffer of 64 bytes before it reads it. */
#define LC_MAX_JSON_NUMBER_BYTES 63

/* Checks the whole text; flags as in lc_json_flags. Notes nodes and problem on the tape unless it
 * is NULL. LC_ERR_INVALID with line and column, or LC_ERR_MEMORY. */
LC_WARN_UNUSED lc_code lc_json_scan(const char *text, size_t bytes, unsigned flags,
                                    const char *what, lc_json_tape *tape, lc_err *err);

/* What the scanner tells the tape. A value ended before `end`; strings with their quotes. *index is
 * its node, or one that lc_json_tape_close knows as none. */
typedef struct lc_json_noted {
    lc_json_kind kind;
    size_t begin, end;
    bool has_escapes;
} lc_json_noted;
LC_WARN_UNUSED lc_code lc_json_tape_note(lc_json_tape *tape, const lc_json_noted *value,
                                         uint32_t *index, lc_err *err);
/* A key, without its quotes; depth: containers open. */
LC_WARN_UNUSED lc_code lc_json_tape_note_key(lc_json_tape *tape, size_t begin, size_t bytes,
                                             bool has_escapes, int depth, lc_err *err);
/* The container at `begin` is the depth-th that is open; it ended before `end`. */
LC_WARN_UNUSED lc_code lc_json_tape_open(lc_json_tape *tape, bool is_object, size_t begin,
                                         int depth, uint32_t *index, lc_err *err);
void lc_json_tape_close(lc_json_tape *tape, uint32_t index, size_t end, int depth);

/* Four hexadecimal digits, or -1. */
int32_t lc_json_hex4(const unsigned char *text);

#endif
