/*
 * Ids and secrets from the kernel's random numbers; see ids.h.
 */
#include "serve/ids.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"

static lc_code draw(uint8_t *to, size_t bytes, lc_err *err)
{
    ssize_t got;
    do {
        got = getrandom(to, bytes, 0);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)bytes ? LC_OK : lc_fail_errno(err, "cannot draw random numbers");
}

lc_code lc_id_new(const char *prefix, char out[LC_ID_BYTES], lc_err *err)
{
    uint8_t drawn[LC_ID_DIGITS / 2];
    char hex[LC_ID_DIGITS + 1];
    LC_TRY(draw(drawn, sizeof drawn, err));
    lc_hex(drawn, sizeof drawn, hex);
    (void)snprintf(out, LC_ID_BYTES, "%.*s%s", LC_MAX_PREFIX, prefix, hex);
    return LC_OK;
}

bool lc_id_is(const char *id, const char *prefix)
{
    const size_t length = strlen(prefix);
    return strncmp(id, prefix, length) == 0 && strlen(id) == length + LC_ID_DIGITS &&
           strspn(id + length, "0123456789abcdef") == LC_ID_DIGITS;
}

lc_code lc_secret_new(char out[65], lc_err *err)
{
    uint8_t drawn[32];
    LC_TRY(draw(drawn, sizeof drawn, err));
    lc_hex(drawn, sizeof drawn, out);
    return LC_OK;
}
