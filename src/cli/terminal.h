/* What is known about the terminal, and finished texts on standard output. */
#ifndef LC_CLI_TERMINAL_H
#define LC_CLI_TERMINAL_H

#include <stdbool.h>

#include "base/json.h"

bool lc_is_terminal(int fd);
/* Columns of the terminal: COLUMNS, else what the system says, else 80. */
int lc_terminal_columns(int fd);

/* Prints a finished text and a newline on standard output, and releases it. */
LC_WARN_UNUSED lc_code lc_print_text(lc_text *text, lc_err *err);

#endif
