/*
 * The log sink of the process: stderr and, while a job runs, its log.txt. Called from everywhere; a
 * line that cannot be written is dropped, because nothing may fail for the sake of the log.
 */
#include "lorac/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

#define LOG_LINE_BYTES 2048

static struct {
    pthread_mutex_t mutex; /* guards the rest */
    lc_log_level level;
    int fd; /* owned; -1: no file */
} sink = {.mutex = PTHREAD_MUTEX_INITIALIZER, .level = LC_LOG_WARN, .fd = -1};

static const char *level_name(lc_log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return (unsigned)level < sizeof names / sizeof names[0] ? names[level] : "error";
}

static void write_best_effort(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        const ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return;
        }
        bytes += written;
        length -= (size_t)written;
    }
}

/* One line stays one line: control characters of a message (a file name, say) become blanks. */
static size_t finish_line(char *line, size_t length)
{
    if (length > LOG_LINE_BYTES - 2) {
        length = LOG_LINE_BYTES - 2;
    }
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7F) {
            line[i] = ' ';
        }
    }
    line[length] = '\n';
    return length + 1;
}

static size_t format_prefix(char *line, lc_log_level level)
{
    const time_t now = time(NULL);
    struct tm utc;
    (void)gmtime_r(&now, &utc);
    const size_t length = strftime(line, LOG_LINE_BYTES, "%Y-%m-%dT%H:%M:%SZ ", &utc);
    return length +
           (size_t)snprintf(line + length, LOG_LINE_BYTES - length, "%s ", level_name(level));
}

void lc_log(lc_log_level level, const char *format, ...)
{
    const int saved_errno = errno;
    char line[LOG_LINE_BYTES];
    (void)pthread_mutex_lock(&sink.mutex);
    const bool is_shown = level >= sink.level;
    const bool is_kept = sink.fd >= 0 && (is_shown || level >= LC_LOG_INFO);
    if (is_shown || is_kept) {
        size_t length = format_prefix(line, level);
        va_list arguments;
        va_start(arguments, format);
        const int added = vsnprintf(line + length, sizeof line - length, format, arguments);
        va_end(arguments);
        length = finish_line(line, length + (added > 0 ? (size_t)added : 0));
        if (is_shown) {
            write_best_effort(STDERR_FILENO, line, length);
        }
        if (is_kept) {
            write_best_effort(sink.fd, line, length);
        }
    }
    (void)pthread_mutex_unlock(&sink.mutex);
    errno = saved_errno;
}

void lc_log_set_level(lc_log_level level)
{
    (void)pthread_mutex_lock(&sink.mutex);
    sink.level = level;
    (void)pthread_mutex_unlock(&sink.mutex);
}

static void replace_file(int fd)
{
    (void)pthread_mutex_lock(&sink.mutex);
    const int old = sink.fd;
    sink.fd = fd;
    (void)pthread_mutex_unlock(&sink.mutex);
    if (old >= 0) {
        (void)close(old);
    }
}

lc_code lc_log_open_file(const char *path, lc_err *err)
{
    int fd = -1;
    if (path != NULL) {
        LC_TRY(lc_append_open(path, &fd, err));
    }
    replace_file(fd);
    return LC_OK;
}

void lc_log_close_file(void)
{
    replace_file(-1);
}
