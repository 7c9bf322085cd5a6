/*
 * Errors. Every function that can fail returns an lc_code and fills an lc_err: what failed, with
 * the values and a hint. The first error wins. One table maps codes to exit status
 * (lc_code_exit_status).
 */
#ifndef LORAC_ERR_H
#define LORAC_ERR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LC_ERR_MESSAGE_BYTES 1024
#define LC_ERR_PARAM_BYTES   128

typedef enum lc_code {
    LC_OK = 0,
    LC_ERR_USAGE,       /* wrong call of a command or of the API; exit 2 */
    LC_ERR_INVALID,     /* bad data or configuration; exit 3, do not retry */
    LC_ERR_UNSUPPORTED, /* well-formed, but a kind this version does not do; exit 3 */
    LC_ERR_NOT_FOUND,   /* a file or a name that is not there; exit 3 */
    LC_ERR_BUSY,        /* somebody else holds the job directory; exit 2 */
    LC_ERR_STATE,       /* it is in a state that does not allow this; exit 2 */
    LC_ERR_TOO_LARGE,   /* more bytes or items than a named limit; exit 3 */
    LC_ERR_MEMORY,      /* an allocation failed or the plan does not fit; exit 1 */
    LC_ERR_IO,          /* the operating system refused a read or a write; exit 1 */
    LC_ERR_DISK_FULL,   /* ENOSPC or EDQUOT; exit 75, retry after making room */
    LC_ERR_INTERRUPTED, /* asked to stop, checkpoint written; exit 75, retry with --resume */
    LC_ERR_DEVICE,      /* the compute device failed; exit 1 */
    LC_ERR_NUMERIC,     /* non-finite numbers where none may be; exit 1 */
    LC_ERR_INTERNAL,    /* a bug in lora.c; exit 1 */
    LC_CODE_COUNT
} lc_code;

typedef struct lc_err {
    lc_code code;                       /* LC_OK while nothing has failed */
    int64_t line;                       /* line of the input file, from 1; 0 where none applies */
    char param[LC_ERR_PARAM_BYTES];     /* the offending field, tensor or file; may be empty */
    char message[LC_ERR_MESSAGE_BYTES]; /* one sentence or two, no final newline */
    const char *api_code;               /* static; the API's word, where it has one of its own */
} lc_err;

#define LC_WARN_UNUSED        __attribute__((warn_unused_result))
#define LC_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* Records an error and returns `code`. Keeps an error that is already there (the first wins).
 * err may be NULL. */
lc_code lc_fail(lc_err *err, lc_code code, const char *format, ...) LC_PRINTF(3, 4);

/* As lc_fail, and names the field, tensor or file in err->param (cut to its size). */
lc_code lc_fail_param(lc_err *err, lc_code code, const char *param, const char *format, ...)
    LC_PRINTF(4, 5);

/* As lc_fail, and notes the input line (from 1). */
lc_code lc_fail_line(lc_err *err, lc_code code, int64_t line, const char *format, ...)
    LC_PRINTF(4, 5);

/* As lc_fail for a failed system call: appends strerror(errno); ENOSPC and EDQUOT give
 * LC_ERR_DISK_FULL, ENOENT and ENOTDIR give LC_ERR_NOT_FOUND, ENOMEM LC_ERR_MEMORY, everything else
 * LC_ERR_IO. Returns that code. */
lc_code lc_fail_errno(lc_err *err, const char *format, ...) LC_PRINTF(2, 3);

/* Puts "context: " before the message of an error that is being passed on. Returns err->code, and
 * LC_ERR_INTERNAL without an err: a failure stays one. */
lc_code lc_err_context(lc_err *err, const char *format, ...) LC_PRINTF(2, 3);

/* Names another field, tensor or file in an error that is being passed on. Returns the same. */
lc_code lc_err_param(lc_err *err, const char *param);

/* Gives an error that is being passed on the API's word for it, a literal. Returns the same. */
lc_code lc_err_api_code(lc_err *err, const char *api_code);

void lc_err_clear(lc_err *err);

/* Exit status of the process for a code: 0, 1, 2, 3 or 75. */
int lc_code_exit_status(lc_code code);

/* Stable lower-case name, as in job.json's error.code: "disk_full", "invalid", ... */
const char *lc_code_name(lc_code code);
/* LC_CODE_COUNT for a word that is none. */
lc_code lc_code_of(const char *name);

/* Passes a failure on. */
#define LC_TRY(expression)                        \
    do {                                          \
        const lc_code lc_try_code = (expression); \
        if (lc_try_code != LC_OK) {               \
            return lc_try_code;                   \
        }                                         \
    } while (0)

/* The same in a function with cleanup: needs `lc_code code` and a label `fail`. */
#define LC_TRY_GOTO(expression) \
    do {                        \
        code = (expression);    \
        if (code != LC_OK) {    \
            goto fail;          \
        }                       \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
