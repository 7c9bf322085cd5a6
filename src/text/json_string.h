/*
 * One JSON string by itself, read strictly (RFC 8259, RFC 3629): what lines of raw text are made
 * of. cJSON's strings end at a NUL, these may hold \u0000.
 */
#ifndef LC_TEXT_JSON_STRING_H
#define LC_TEXT_JSON_STRING_H

#include <stddef.h>

#include "base/json.h"
#include "lorac/err.h"

/* Appends the bytes of a text that is one JSON string, with blanks around it, to *out. `what` names
 * the text in errors. Anything else, invalid UTF-8 and lone surrogates too, is LC_ERR_INVALID with
 * line and column. */
LC_WARN_UNUSED lc_code lc_json_read_string(const char *text, size_t bytes, const char *what,
                                           lc_text *out, lc_err *err);

/* The other way, for texts that are printed one a line: what some programs take for a line break
 * (U+0085, U+2028, U+2029) is escaped too. */
void lc_json_write_string(lc_text *out, const char *text, size_t bytes);

#endif
