/* Escapes of Python's string literals, as Jinja2 reads them. Private to the lexer. */
#ifndef LC_TEXT_JINJA_ESCAPES_H
#define LC_TEXT_JINJA_ESCAPES_H

#include <stddef.h>

/* Bytes that the text of a literal of `bytes` bytes can take at most. */
size_t lc_jinja_unescaped_bytes(size_t bytes);
/* Writes the text of a literal (without its quotes) into out; NULL, or what is wrong with it. */
const char *lc_jinja_unescape(const char *literal, size_t bytes, char *out, size_t *length);

#endif
