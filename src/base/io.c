/*
 * System calls on files behind fault injection; see io.h. Used by file.c and dir.c only.
 */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"

/* True, with errno set, when this call has to fail. Short transfers only concern read and write. */
static bool is_refused(void)
{
    const int error = lc_fault_io();
    if (error <= 0) {
        return false;
    }
    errno = error;
    return true;
}

/* As is_refused for a transfer: a short one moves half of the bytes, but at least one. */
static bool is_transfer_refused(size_t *bytes)
{
    const int error = lc_fault_io();
    if (error < 0 && *bytes > 1) {
        *bytes /= 2;
    }
    errno = error > 0 ? error : errno;
    return error > 0;
}

int lc_io_open(const char *path, int flags, mode_t mode)
{
    if (is_refused()) {
        return -1;
    }
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

ssize_t lc_io_read(int fd, void *to, size_t bytes)
{
    if (is_transfer_refused(&bytes)) {
        return -1;
    }
    ssize_t got;
    do {
        got = read(fd, to, bytes);
    } while (got < 0 && errno == EINTR);
    return got;
}

ssize_t lc_io_pread(int fd, void *to, size_t bytes, int64_t offset)
{
    if (is_transfer_refused(&bytes)) {
        return -1;
    }
    ssize_t got;
    do {
        got = pread(fd, to, bytes, offset);
    } while (got < 0 && errno == EINTR);
    return got;
}

static ssize_t write_some(int fd, const void *data, size_t bytes)
{
    if (is_transfer_refused(&bytes)) {
        return -1;
    }
    ssize_t written;
    do {
        written = write(fd, data, bytes);
    } while (written < 0 && errno == EINTR);
    return written;
}

int lc_io_write_all(int fd, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        const ssize_t written = write_some(fd, at, bytes);
        if (written < 0) {
            return -1;
        }
        if (written == 0) { /* never seen on files; do not spin on it */
            errno = EIO;
            return -1;
        }
        at += written;
        bytes -= (size_t)written;
    }
    return 0;
}

int lc_io_fsync(int fd)
{
    if (is_refused()) {
        return -1;
    }
    int result;
    do {
        result = fsync(fd);
    } while (result < 0 && errno == EINTR);
    return result;
}

int lc_io_ftruncate(int fd, int64_t bytes)
{
    if (is_refused()) {
        return -1;
    }
    int result;
    do {
        result = ftruncate(fd, bytes);
    } while (result < 0 && errno == EINTR);
    return result;
}

int lc_io_close(int fd)
{
    const bool refused = is_refused();
    const int error = errno;
    const int result = close(fd); /* Linux frees the descriptor even on EINTR: never twice */
    if (refused) {
        errno = error;
        return -1;
    }
    return result < 0 && errno == EINTR ? 0 : result;
}

int lc_io_rename(const char *from, const char *to)
{
    return is_refused() ? -1 : rename(from, to);
}

int lc_io_unlink(const char *path)
{
    return is_refused() ? -1 : unlink(path);
}

int lc_io_rmdir(const char *path)
{
    return is_refused() ? -1 : rmdir(path);
}

int lc_io_mkdir(const char *path, mode_t mode)
{
    return is_refused() ? -1 : mkdir(path, mode);
}
