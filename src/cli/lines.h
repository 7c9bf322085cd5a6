/*
 * Verbs for scripts: a line of standard input in, a line of standard output out. A line that fails
 * gives {"error": ...} and the next one is read; what is known is written before the program would
 * wait for more, so that a caller may write one line and wait for its answer.
 */
#ifndef LC_CLI_LINES_H
#define LC_CLI_LINES_H

#include <stddef.h>

#include "base/json.h"
#include "lorac/err.h"

#define LC_MAX_INPUT_LINE_BYTES ((size_t)512 << 20)

/* Appends the answer to a line, which is bytes of any kind without its line break, to *out. What a
 * failing call has appended is taken back. */
typedef lc_code (*lc_answer_line_fn)(void *context, const char *line, size_t bytes, lc_text *out,
                                     lc_err *err);

/* Answers all lines. LC_ERR_MEMORY and what standard input or output refuse end it; nothing else
 * does. */
LC_WARN_UNUSED lc_code lc_answer_lines(lc_answer_line_fn answer, void *context, lc_err *err);

#endif
