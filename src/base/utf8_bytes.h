/*
 * Well-formed UTF-8 (RFC 3629), byte by byte; private to src/base. The text layer has the code
 * points.
 */
#ifndef LC_BASE_UTF8_BYTES_H
#define LC_BASE_UTF8_BYTES_H

#include <stddef.h>

/* Length (2..4) of the sequence that begins with a byte >= 0x80, 0 if none does within `bytes`
 * >= 1. */
size_t lc_utf8_bytes_length(const unsigned char *text, size_t bytes);

/* Overwrites each byte that belongs to no well-formed sequence with '?'. */
void lc_utf8_bytes_repair(char *text);

#endif
