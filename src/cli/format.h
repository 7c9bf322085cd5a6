/*
 * Numbers and sizes as people read them, and what is known about the terminal.
 */
#ifndef LC_CLI_FORMAT_H
#define LC_CLI_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

#define LC_FORMAT_BYTES 32

/* Each writes into out[LC_FORMAT_BYTES] and returns it. */
const char *lc_format_size(int64_t bytes, char *out);      /* "1.50 GiB" */
const char *lc_format_count(double count, char *out);      /* "12.3k" */
const char *lc_format_duration(double seconds, char *out); /* "1:02:03", "0:07" */

bool lc_is_terminal(int fd);
/* Columns of the terminal: COLUMNS, else what the system says, else 80. */
int lc_terminal_columns(int fd);

/* Prints a finished text and a newline on standard output, and releases it. */
LC_WARN_UNUSED lc_code lc_print_text(lc_text *text, lc_err *err);

#endif
