/* A check of outside text that the readers of text and data share. */
#ifndef LC_TEXT_TEXT_CHECKS_H
#define LC_TEXT_TEXT_CHECKS_H

#include <stdbool.h>

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
