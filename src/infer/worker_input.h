/*
 * The lines that come to a worker: a thread reads and parses them, so that a line is there when the
 * loop looks between two steps.
 */
#ifndef LC_INFER_WORKER_INPUT_H
#define LC_INFER_WORKER_INPUT_H

#include "base/json.h"

typedef struct lc_worker_input lc_worker_input;

typedef struct lc_worker_line {
    struct lc_worker_line *next;
    cJSON *object; /* NULL: it was none */
    lc_err err;    /* why not */
} lc_worker_line;

LC_WARN_UNUSED lc_code lc_worker_input_open(int fd, lc_worker_input **out, lc_err *err);
void lc_worker_input_close(lc_worker_input *input); /* NULL: nothing. The fd stays the caller's */

/* The next line, the caller's (lc_worker_line_free); NULL: none yet after `seconds`. *has_ended:
 * there will be none. */
lc_worker_line *lc_worker_input_take(lc_worker_input *input, double seconds, bool *has_ended);
void lc_worker_line_free(lc_worker_line *line);

#endif
