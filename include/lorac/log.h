/*
 * The log: one sink for the process, lines "2026-01-31T12:00:00Z level message" to stderr and to a
 * file. Prompt text is never logged.
 */
#ifndef LORAC_LOG_H
#define LORAC_LOG_H

#include "lorac/err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum lc_log_level { LC_LOG_DEBUG, LC_LOG_INFO, LC_LOG_WARN, LC_LOG_ERROR } lc_log_level;

/* Thread-safe; cut at 2048 bytes; never fails. */
void lc_log(lc_log_level level, const char *format, ...) LC_PRINTF(2, 3);

/* Lines below `level` do not go to stderr (default: warn). A file also gets everything from info
 * on. */
void lc_log_set_level(lc_log_level level);

/* Appends the log to a file as well (log.txt of a job directory); NULL stops that. */
LC_WARN_UNUSED lc_code lc_log_open_file(const char *path, lc_err *err);
void lc_log_close_file(void);

#ifdef __cplusplus
}
#endif
#endif
