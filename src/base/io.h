/*
 * System calls on files as the base layer makes them: each asks fault injection first, restarts
 * after EINTR, and opens close-on-exec. Private to src/base; everybody else uses file.h. All return
 * -1 with errno set.
 */
#ifndef LC_BASE_IO_H
#define LC_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lorac/err.h"

int lc_io_open(const char *path, int flags, mode_t mode);
ssize_t lc_io_read(int fd, void *to, size_t bytes);                  /* may be short */
ssize_t lc_io_pread(int fd, void *to, size_t bytes, int64_t offset); /* may be short */
int lc_io_write_all(int fd, const void *data, size_t bytes);         /* loops over short writes */
int lc_io_fsync(int fd);
int lc_io_ftruncate(int fd, int64_t bytes);
int lc_io_close(int fd); /* the descriptor is gone in any case */
int lc_io_rename(const char *from, const char *to);
int lc_io_unlink(const char *path);
int lc_io_rmdir(const char *path);
int lc_io_mkdir(const char *path, mode_t mode);

/* The directory that holds `path`, into out[LC_MAX_PATH_BYTES]: "a/b/" -> "a", "b" -> ".", "/b"
 * -> "/". */
LC_WARN_UNUSED lc_code lc_path_parent(const char *path, char *out, lc_err *err);
/* Last component without trailing slashes, borrowed from `path`; *length bytes of it. */
const char *lc_path_base(const char *path, size_t *length);

#endif
