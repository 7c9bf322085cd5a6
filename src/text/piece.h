/*
 * A stretch of text on its way through the tokenizer's pipeline, which knows for each of its bytes
 * the character of the original text it comes from. A piece is a view; lc_tracked is a text that
 * some step has made. The rules of who comes from where are Hugging Face's: what is put in or
 * replaces something comes from one character beside it.
 */
#ifndef LC_TEXT_PIECE_H
#define LC_TEXT_PIECE_H

#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#define LC_MAX_NORMALIZED_BYTES ((size_t)512 << 20) /* what a text may become on the way */

typedef struct lc_piece {
    const char *text; /* borrowed */
    size_t bytes;
    const uint32_t *origin; /* where the character of each byte begins; NULL: nothing has changed */
    size_t at;              /* of the first byte in the original, when origin is NULL */
} lc_piece;

lc_piece lc_piece_part(const lc_piece *piece, size_t from, size_t to);
/* Where the character that byte `i` comes from begins in the original. */
size_t lc_piece_origin(const lc_piece *piece, size_t i);

/* A text being made, with the origin of every byte. Zero-initialised; cleared and used again. */
typedef struct lc_tracked {
    char *text;       /* owned */
    uint32_t *origin; /* owned */
    size_t bytes, capacity;
} lc_tracked;
void lc_tracked_release(lc_tracked *tracked);

lc_piece lc_tracked_piece(const lc_tracked *tracked);
/* Appends bytes that all come from the character at `origin`. */
LC_WARN_UNUSED lc_code lc_tracked_add(lc_tracked *tracked, const char *text, size_t bytes,
                                      size_t origin, lc_err *err);
/* Appends piece[from..to) as it is. */
LC_WARN_UNUSED lc_code lc_tracked_copy(lc_tracked *tracked, const lc_piece *piece, size_t from,
                                       size_t to, lc_err *err);
/* The piece (not empty) behind a text that comes from its first character. */
LC_WARN_UNUSED lc_code lc_tracked_prepend(lc_tracked *tracked, const char *text, size_t bytes,
                                          const lc_piece *piece, lc_err *err);

#endif
