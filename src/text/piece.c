/* Pieces of text and where they come from, see piece.h. */
#include "text/piece.h"

#include <string.h>

#include "lorac/mem.h"

lc_piece lc_piece_part(const lc_piece *piece, size_t from, size_t to)
{
    return (lc_piece){.text = piece->text + from,
                      .bytes = to - from,
                      .origin = piece->origin != NULL ? piece->origin + from : NULL,
                      .at = piece->at + from};
}

size_t lc_piece_origin(const lc_piece *piece, size_t i)
{
    if (piece->origin != NULL) {
        return piece->origin[i];
    }
    while (((uint8_t)piece->text[i] & 0xc0) == 0x80) { /* a piece begins with a character */
        i--;
    }
    return piece->at + i;
}

void lc_tracked_release(lc_tracked *tracked)
{
    lc_free(tracked->text);
    lc_free(tracked->origin);
    *tracked = (lc_tracked){0};
}

lc_piece lc_tracked_piece(const lc_tracked *tracked)
{
    return (lc_piece){.text = tracked->text, .bytes = tracked->bytes, .origin = tracked->origin};
}

static lc_code reserve(lc_tracked *t, size_t extra, lc_err *err)
{
    if (extra > LC_MAX_NORMALIZED_BYTES - t->bytes) {
        return lc_fail(err, LC_ERR_INVALID, "a text above the limit of %zu bytes once normalized",
                       LC_MAX_NORMALIZED_BYTES);
    }
    if (t->bytes + extra <= t->capacity) {
        return LC_OK;
    }
    const size_t wanted = t->bytes + extra;
    const size_t capacity = wanted < 256 ? 512 : wanted + wanted / 2;
    char *text = lc_realloc(t->text, capacity);
    if (text != NULL) {
        t->text = text;
    }
    uint32_t *origin = text != NULL ? lc_realloc(t->origin, capacity * sizeof *origin) : NULL;
    if (origin == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a text of %zu bytes", wanted);
    }
    t->origin = origin;
    t->capacity = capacity;
    return LC_OK;
}

lc_code lc_tracked_add(lc_tracked *tracked, const char *text, size_t bytes, size_t origin,
                       lc_err *err)
{
    if (bytes == 0) {
        return LC_OK;
    }
    LC_TRY(reserve(tracked, bytes, err));
    memcpy(tracked->text + tracked->bytes, text, bytes);
    for (size_t i = 0; i < bytes; i++) {
        tracked->origin[tracked->bytes++] = (uint32_t)origin;
    }
    return LC_OK;
}

lc_code lc_tracked_copy(lc_tracked *tracked, const lc_piece *piece, size_t from, size_t to,
                        lc_err *err)
{
    const size_t bytes = to - from;
    if (bytes == 0) {
        return LC_OK;
    }
    LC_TRY(reserve(tracked, bytes, err));
    uint32_t *origin = tracked->origin + tracked->bytes;
    memcpy(tracked->text + tracked->bytes, piece->text + from, bytes);
    tracked->bytes += bytes;
    if (piece->origin != NULL) {
        memcpy(origin, piece->origin + from, bytes * sizeof *origin);
        return LC_OK;
    }
    uint32_t begin = (uint32_t)(piece->at + from);
    for (size_t i = 0; i < bytes; i++) {
        if (((uint8_t)piece->text[from + i] & 0xc0) != 0x80) {
            begin = (uint32_t)(piece->at + from + i);
        }
        origin[i] = begin;
    }
    return LC_OK;
}

lc_code lc_tracked_prepend(lc_tracked *tracked, const char *text, size_t bytes,
                           const lc_piece *piece, lc_err *err)
{
    LC_TRY(lc_tracked_add(tracked, text, bytes, lc_piece_origin(piece, 0), err));
    return lc_tracked_copy(tracked, piece, 0, piece->bytes, err);
}
