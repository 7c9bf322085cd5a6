/* Two small checks of outside text that the readers of this folder share. */
#ifndef LC_DATA_TEXT_CHECKS_H
#define LC_DATA_TEXT_CHECKS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Whether a JSON text spells a NUL character in one of its strings: cJSON would end the string there. */
static inline bool lc_json_has_nul_escape(const char *json, size_t bytes)
{
    const char *end = json + bytes;
    for (const char *at = memchr(json, '\\', bytes); at != NULL && end - at >= 6;
         at = memchr(at, '\\', (size_t)(end - at))) {
        if (memcmp(at, "\\u0000", 6) == 0) {
            return true;
        }
        at += 2; /* the escaped character may be a backslash itself */
    }
    return false;
}

/* No control characters: safe to show in a message, sane as a name. */
static inline bool lc_is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            return false;
        }
    }
    return true;
}

#endif
