/*
 * Files: whole reads, atomic writes, the hashing writer, append-only logs, random access.
 * Everything the program stores goes through here; directories are in dir.c.
 */
#include "base/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/io.h"
#include "lorac/mem.h"

#define FILE_MODE           0666
#define WRITER_BUFFER_BYTES ((size_t)64 << 10)
#define READ_CHUNK_BYTES    ((size_t)1 << 30) /* below the kernel's limit for one read */

struct lc_writer {
    int fd;
    int64_t bytes; /* handed to lc_writer_write so far */
    size_t buffered;
    lc_sha256 hash;
    char path[LC_MAX_PATH_BYTES];
    char buffer[WRITER_BUFFER_BYTES];
};

static lc_code fail_path_long(const char *path, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_INVALID, "path", "path too long (limit %d bytes): %.80s...",
                         LC_MAX_PATH_BYTES - 1, path);
}

/* Opens an existing regular file for reading and tells its size. */
static lc_code open_regular(const char *path, int *out, int64_t *bytes, lc_err *err)
{
    const int fd = lc_io_open(path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0) {
        return lc_fail_errno(err, "cannot open %s", path);
    }
    struct stat status;
    lc_code code = LC_OK;
    if (fstat(fd, &status) != 0) {
        code = lc_fail_errno(err, "cannot read %s", path);
    } else if (!S_ISREG(status.st_mode)) {
        code = lc_fail(err, LC_ERR_INVALID, "%s is not a regular file", path);
    }
    if (code != LC_OK) {
        (void)close(fd);
        return code;
    }
    *out = fd;
    *bytes = (int64_t)status.st_size;
    return LC_OK;
}

/* Reads until `bytes` are there or the file ends; *got says how many came. */
static lc_code read_up_to(int fd, const char *path, char *to, size_t bytes, size_t *got,
                          lc_err *err)
{
    *got = 0;
    while (*got < bytes) {
        const size_t wanted = bytes - *got < READ_CHUNK_BYTES ? bytes - *got : READ_CHUNK_BYTES;
        const ssize_t now = lc_io_read(fd, to + *got, wanted);
        if (now < 0) {
            return lc_fail_errno(err, "cannot read %s", path);
        }
        if (now == 0) {
            break;
        }
        *got += (size_t)now;
    }
    return LC_OK;
}

static lc_code read_open_file(int fd, const char *path, size_t size, char **data, lc_err *err)
{
    char *text = lc_malloc(size + 1);
    if (text == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "%s: out of memory for %zu bytes", path, size + 1);
    }
    /* One byte more than the size shows that the file has grown since. */
    size_t got = 0;
    lc_code code = read_up_to(fd, path, text, size + 1, &got, err);
    if (code == LC_OK && got != size) {
        code = lc_fail(err, LC_ERR_IO, "%s changed while it was read", path);
    }
    if (code != LC_OK) {
        lc_free(text);
        return code;
    }
    text[size] = '\0';
    *data = text;
    return LC_OK;
}

lc_code lc_file_read(const char *path, size_t max_bytes, char **data, size_t *bytes, lc_err *err)
{
    int fd = -1;
    int64_t size = 0;
    char *text = NULL;
    LC_TRY(open_regular(path, &fd, &size, err));
    lc_code code = LC_OK;
    if ((uint64_t)size > max_bytes) {
        code = lc_fail(err, LC_ERR_INVALID, "%s is too large: %" PRId64 " bytes, limit %zu", path,
                       size, max_bytes);
    } else {
        code = read_open_file(fd, path, (size_t)size, &text, err);
    }
    if (lc_io_close(fd) != 0 && code == LC_OK) {
        lc_free(text);
        code = lc_fail_errno(err, "cannot read %s", path);
    }
    if (code == LC_OK) {
        *data = text;
        *bytes = (size_t)size;
    }
    return code;
}

/* The name of the temporary file beside `path`: ".NAME.tmp-PID". */
static lc_code temporary_path(const char *path, char *out, lc_err *err)
{
    size_t length;
    const char *base = lc_path_base(path, &length);
    if (length == 0 || length > LC_MAX_PATH_BYTES) {
        return lc_fail_param(err, LC_ERR_INVALID, "path", "\"%.80s\" names no file", path);
    }
    const int written = snprintf(out, LC_MAX_PATH_BYTES, "%.*s.%.*s.tmp-%ld", (int)(base - path),
                                 path, (int)length, base, (long)getpid());
    return written < 0 || written >= LC_MAX_PATH_BYTES ? fail_path_long(path, err) : LC_OK;
}

lc_code lc_file_write_atomic(const char *path, const void *data, size_t bytes, lc_err *err)
{
    char temporary[LC_MAX_PATH_BYTES];
    lc_writer *writer = NULL;
    LC_TRY(temporary_path(path, temporary, err));
    (void)unlink(temporary); /* left by a killed process that had our number */
    LC_TRY(lc_writer_open(temporary, &writer, err));
    const lc_code code = lc_writer_write(writer, data, bytes, err);
    if (code != LC_OK) {
        lc_writer_abort(writer);
        return code;
    }
    LC_TRY(lc_writer_close(writer, NULL, NULL, err));
    if (lc_io_rename(temporary, path) != 0) {
        const lc_code failed = lc_fail_errno(err, "cannot rename %s to %s", temporary, path);
        (void)unlink(temporary);
        return failed;
    }
    char parent[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_parent(path, parent, err));
    return lc_sync_dir(parent, err);
}

lc_code lc_writer_open(const char *path, lc_writer **out, lc_err *err)
{
    if (strlen(path) >= LC_MAX_PATH_BYTES) {
        return fail_path_long(path, err);
    }
    lc_writer *writer = lc_malloc(sizeof *writer);
    if (writer == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "%s: out of memory for a write buffer", path);
    }
    writer->fd = lc_io_open(path, O_WRONLY | O_CREAT | O_EXCL, FILE_MODE);
    if (writer->fd < 0) {
        const lc_code code = lc_fail_errno(err, "cannot create %s", path);
        lc_free(writer);
        return code;
    }
    writer->bytes = 0;
    writer->buffered = 0;
    lc_sha256_init(&writer->hash);
    memcpy(writer->path, path, strlen(path) + 1);
    *out = writer;
    return LC_OK;
}

static lc_code write_out(lc_writer *writer, const void *data, size_t bytes, lc_err *err)
{
    if (lc_io_write_all(writer->fd, data, bytes) != 0) {
        return lc_fail_errno(err, "cannot write %s", writer->path);
    }
    return LC_OK;
}

static lc_code flush(lc_writer *writer, lc_err *err)
{
    const size_t bytes = writer->buffered;
    writer->buffered = 0;
    return bytes > 0 ? write_out(writer, writer->buffer, bytes, err) : LC_OK;
}

lc_code lc_writer_write(lc_writer *writer, const void *data, size_t bytes, lc_err *err)
{
    if (bytes == 0) {
        return LC_OK;
    }
    lc_sha256_update(&writer->hash, data, bytes);
    writer->bytes += (int64_t)bytes;
    if (bytes > WRITER_BUFFER_BYTES - writer->buffered) {
        LC_TRY(flush(writer, err));
    }
    if (bytes >= WRITER_BUFFER_BYTES) {
        return write_out(writer, data, bytes, err);
    }
    memcpy(writer->buffer + writer->buffered, data, bytes);
    writer->buffered += bytes;
    return LC_OK;
}

lc_code lc_writer_close(lc_writer *writer, int64_t *bytes, uint8_t sha256[32], lc_err *err)
{
    lc_code code = flush(writer, err);
    if (code == LC_OK && lc_io_fsync(writer->fd) != 0) {
        code = lc_fail_errno(err, "cannot sync %s", writer->path);
    }
    if (lc_io_close(writer->fd) != 0 && code == LC_OK) {
        code = lc_fail_errno(err, "cannot close %s", writer->path);
    }
    if (code != LC_OK) {
        /* After a failed write or fsync nobody knows what is on the disk: the file must not be
         * taken. */
        (void)unlink(writer->path);
    } else {
        if (bytes != NULL) {
            *bytes = writer->bytes;
        }
        if (sha256 != NULL) {
            lc_sha256_final(&writer->hash, sha256);
        }
    }
    lc_free(writer);
    return code;
}

void lc_writer_abort(lc_writer *writer)
{
    if (writer != NULL) {
        (void)close(writer->fd);
        (void)unlink(writer->path);
        lc_free(writer);
    }
}

lc_code lc_append_open(const char *path, int *fd, lc_err *err)
{
    const int opened = lc_io_open(path, O_WRONLY | O_CREAT | O_APPEND, FILE_MODE);
    if (opened < 0) {
        return lc_fail_errno(err, "cannot open %s", path);
    }
    *fd = opened;
    return LC_OK;
}

lc_code lc_append(int fd, const char *path, const void *data, size_t bytes, bool sync, lc_err *err)
{
    if (lc_io_write_all(fd, data, bytes) != 0) {
        return lc_fail_errno(err, "cannot append to %s", path);
    }
    if (sync && lc_io_fsync(fd) != 0) {
        return lc_fail_errno(err, "cannot sync %s", path);
    }
    return LC_OK;
}

lc_code lc_truncate(const char *path, int64_t bytes, lc_err *err)
{
    const int fd = lc_io_open(path, O_WRONLY, 0);
    if (fd < 0) {
        return lc_fail_errno(err, "cannot open %s", path);
    }
    lc_code code = LC_OK;
    if (lc_io_ftruncate(fd, bytes) != 0) {
        code = lc_fail_errno(err, "cannot cut %s to %" PRId64 " bytes", path, bytes);
    } else if (lc_io_fsync(fd) != 0) {
        code = lc_fail_errno(err, "cannot sync %s", path);
    }
    if (lc_io_close(fd) != 0 && code == LC_OK) {
        code = lc_fail_errno(err, "cannot close %s", path);
    }
    return code;
}

lc_code lc_reader_open(const char *path, lc_reader *reader, lc_err *err)
{
    const size_t length = strlen(path);
    if (length >= LC_MAX_PATH_BYTES) {
        return fail_path_long(path, err);
    }
    LC_TRY(open_regular(path, &reader->fd, &reader->bytes, err));
    memcpy(reader->path, path, length + 1);
    return LC_OK;
}

lc_code lc_reader_read(const lc_reader *reader, int64_t offset, void *to, size_t bytes, lc_err *err)
{
    if (offset < 0 || offset > reader->bytes || bytes > (uint64_t)(reader->bytes - offset)) {
        return lc_fail(err, LC_ERR_INVALID,
                       "%s: %zu bytes at offset %" PRId64 " are beyond its end at %" PRId64,
                       reader->path, bytes, offset, reader->bytes);
    }
    char *at = to;
    while (bytes > 0) {
        const size_t wanted = bytes < READ_CHUNK_BYTES ? bytes : READ_CHUNK_BYTES;
        const ssize_t got = lc_io_pread(reader->fd, at, wanted, offset);
        if (got < 0) {
            return lc_fail_errno(err, "cannot read %s", reader->path);
        }
        if (got == 0) {
            return lc_fail(err, LC_ERR_IO, "%s was cut short while it was read", reader->path);
        }
        at += got;
        offset += got;
        bytes -= (size_t)got;
    }
    return LC_OK;
}

void lc_reader_close(lc_reader *reader)
{
    if (reader->fd >= 0) {
        (void)close(reader->fd);
        reader->fd = -1;
    }
}
