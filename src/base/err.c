/*
 * Errors: formatting into lc_err, and the one table of codes. Called from everywhere; allocates
 * nothing, so that an out-of-memory error can be reported.
 */
#include "lorac/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8_bytes.h"

static const struct {
    const char *name;
    int exit_status;
} code_table[] = {
    [LC_OK] = {"ok", 0},
    [LC_ERR_USAGE] = {"usage", 2},
    [LC_ERR_INVALID] = {"invalid", 3},
    [LC_ERR_UNSUPPORTED] = {"unsupported", 3},
    [LC_ERR_NOT_FOUND] = {"not_found", 3},
    [LC_ERR_BUSY] = {"busy", 2},
    [LC_ERR_STATE] = {"state", 2},
    [LC_ERR_TOO_LARGE] = {"too_large", 3},
    [LC_ERR_MEMORY] = {"memory", 1},
    [LC_ERR_IO] = {"io", 1},
    [LC_ERR_DISK_FULL] = {"disk_full", 75},
    [LC_ERR_INTERRUPTED] = {"interrupted", 75},
    [LC_ERR_DEVICE] = {"device", 1},
    [LC_ERR_NUMERIC] = {"numeric", 1},
    [LC_ERR_INTERNAL] = {"internal", 1},
};
_Static_assert(sizeof code_table / sizeof code_table[0] == LC_CODE_COUNT, "one row per code");

static void copy_param(lc_err *err, const char *param)
{
    (void)snprintf(err->param, sizeof err->param, "%s", param != NULL ? param : "");
    lc_utf8_bytes_repair(err->param);
}

/* Whether `err` takes an error now: it is there and holds none yet. */
static bool is_open(const lc_err *err)
{
    return err != NULL && err->code == LC_OK;
}

static void LC_PRINTF(3, 0) record(lc_err *err, lc_code code, const char *format, va_list arguments)
{
    err->code = code;
    (void)vsnprintf(err->message, sizeof err->message, format, arguments);
    lc_utf8_bytes_repair(err->message); /* names of foreign files; characters cut in two */
}

lc_code lc_fail(lc_err *err, lc_code code, const char *format, ...)
{
    if (is_open(err)) {
        va_list arguments;
        va_start(arguments, format);
        record(err, code, format, arguments);
        va_end(arguments);
    }
    return code;
}

lc_code lc_fail_param(lc_err *err, lc_code code, const char *param, const char *format, ...)
{
    if (is_open(err)) {
        va_list arguments;
        va_start(arguments, format);
        record(err, code, format, arguments);
        va_end(arguments);
        copy_param(err, param);
    }
    return code;
}

lc_code lc_fail_line(lc_err *err, lc_code code, int64_t line, const char *format, ...)
{
    if (is_open(err)) {
        va_list arguments;
        va_start(arguments, format);
        record(err, code, format, arguments);
        va_end(arguments);
        err->line = line;
    }
    return code;
}

static lc_code code_of_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return LC_ERR_DISK_FULL;
    case ENOENT:
    case ENOTDIR:
        return LC_ERR_NOT_FOUND;
    case ENOMEM:
        return LC_ERR_MEMORY;
    default:
        return LC_ERR_IO;
    }
}

lc_code lc_fail_errno(lc_err *err, const char *format, ...)
{
    const int number = errno;
    const lc_code code = code_of_errno(number);
    if (is_open(err)) {
        va_list arguments;
        va_start(arguments, format);
        record(err, code, format, arguments);
        va_end(arguments);
        char reason[128];
        const size_t length = strlen(err->message);
        (void)snprintf(err->message + length, sizeof err->message - length, ": %s",
                       strerror_r(number, reason, sizeof reason));
    }
    errno = number;
    return code;
}

lc_code lc_err_context(lc_err *err, const char *format, ...)
{
    if (err == NULL) {
        return LC_ERR_INTERNAL; /* a failure stays one where nobody asked which */
    }
    if (err->code == LC_OK) {
        return LC_OK;
    }
    char message[LC_ERR_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length < 0) {
        return err->code;
    }
    if ((size_t)length >= sizeof message) {
        length = (int)sizeof message - 1;
    }
    /* A long message is cut at its end: what is added in front says where to look. */
    char *rest = message + length;
    const size_t room = sizeof message - (size_t)length;
    (void)snprintf(rest, room, ": %.*s", (int)room, err->message);
    lc_utf8_bytes_repair(message);
    memcpy(err->message, message, sizeof message);
    return err->code;
}

lc_code lc_err_param(lc_err *err, const char *param)
{
    if (err == NULL) {
        return LC_ERR_INTERNAL;
    }
    copy_param(err, param);
    return err->code;
}

lc_code lc_err_api_code(lc_err *err, const char *api_code)
{
    if (err == NULL) {
        return LC_ERR_INTERNAL;
    }
    err->api_code = api_code;
    return err->code;
}

void lc_err_clear(lc_err *err)
{
    if (err != NULL) {
        err->api_code = NULL;
        err->code = LC_OK;
        err->line = 0;
        err->param[0] = '\0';
        err->message[0] = '\0';
    }
}

static bool is_code(lc_code code)
{
    return (unsigned)code < LC_CODE_COUNT;
}

int lc_code_exit_status(lc_code code)
{
    return is_code(code) ? code_table[code].exit_status : 1;
}

const char *lc_code_name(lc_code code)
{
    return is_code(code) ? code_table[code].name : "unknown";
}

lc_code lc_code_of(const char *name)
{
    int code = 0;
    while (code < LC_CODE_COUNT && strcmp(code_table[code].name, name) != 0) {
        code++;
    }
    return (lc_code)code;
}
