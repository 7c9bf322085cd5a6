/*
 * Files that survive power loss, and readers that cannot be surprised by a file that changes. Every
 * operation can be made to fail by fault injection (fault.h).
 */
#ifndef LC_BASE_FILE_H
#define LC_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#define LC_MAX_PATH_BYTES 4096

/* dir/name into out[LC_MAX_PATH_BYTES]; too long is an error. */
LC_WARN_UNUSED lc_code lc_path_join(const char *dir, const char *name, char *out, lc_err *err);
bool lc_path_exists(const char *path);
bool lc_path_is_dir(const char *path);

/* A place of the user's own for what can be made again: `given` (the value of a variable) where it
 * says one; else `folder` in XDG_CACHE_HOME or in HOME's .cache. Empty: nowhere, or given is "off".
 * *is_named: it was given. */
LC_WARN_UNUSED lc_code lc_cache_place(const char *given, const char *folder, bool *is_named,
                                      char *path, lc_err *err);

/* Whole file into lc_malloc memory, one extra NUL behind. Larger than max_bytes is an error. */
LC_WARN_UNUSED lc_code lc_file_read(const char *path, size_t max_bytes, char **data, size_t *bytes,
                                    lc_err *err);

/* temp file beside it, write, fsync, rename, fsync of the directory: the old or the new content,
 * never a mix. One process at a time per path (the job directory's lock sees to that). A killed
 * process leaves ".NAME.tmp-PID" behind; the next write under the same pid takes it away. */
LC_WARN_UNUSED lc_code lc_file_write_atomic(const char *path, const void *data, size_t bytes,
                                            lc_err *err);

/* A file being written: loops over short writes, remembers size and SHA-256. */
typedef struct lc_writer lc_writer;
LC_WARN_UNUSED lc_code lc_writer_open(const char *path, lc_writer **out, lc_err *err); /* O_EXCL */
LC_WARN_UNUSED lc_code lc_writer_write(lc_writer *writer, const void *data, size_t bytes,
                                       lc_err *err);
/* fsync and close; fills size and hash where not NULL. The writer is freed in any case; after a
 * failure the file is gone. */
LC_WARN_UNUSED lc_code lc_writer_close(lc_writer *writer, int64_t *bytes, uint8_t sha256[32],
                                       lc_err *err);
void lc_writer_abort(lc_writer *writer); /* closes and unlinks */

/* An append-only log (events.jsonl, results.csv). Appends are whole lines. */
LC_WARN_UNUSED lc_code lc_append_open(const char *path, int *fd, lc_err *err);
LC_WARN_UNUSED lc_code lc_append(int fd, const char *path, const void *data, size_t bytes,
                                 bool sync, lc_err *err);
LC_WARN_UNUSED lc_code lc_truncate(const char *path, int64_t bytes, lc_err *err); /* and fsync */

LC_WARN_UNUSED lc_code lc_mkdir(const char *path, lc_err *err); /* exists: fine */
LC_WARN_UNUSED lc_code lc_mkdir_parents(const char *path, lc_err *err);
/* rename, and fsync of to's parent */
LC_WARN_UNUSED lc_code lc_rename(const char *from, const char *to, lc_err *err);
LC_WARN_UNUSED lc_code lc_sync_dir(const char *path, lc_err *err);
/* Removes a tree: renamed to a ".trash-" name first, so that a crash leaves no half of it.
 * Absent: fine. */
LC_WARN_UNUSED lc_code lc_remove_tree(const char *path, lc_err *err);
/* Names in a directory, sorted by byte value, without . and ..; free each and the array with
 * lc_free. */
LC_WARN_UNUSED lc_code lc_list_dir(const char *path, char ***names, size_t *count, lc_err *err);
void lc_list_free(char **names, size_t count);

/* Random access reading (safetensors): size fixed at open, reads past it or short reads are
 * errors. */
typedef struct lc_reader {
    int fd;
    int64_t bytes;
    char path[LC_MAX_PATH_BYTES];
} lc_reader;
LC_WARN_UNUSED lc_code lc_reader_open(const char *path, lc_reader *reader, lc_err *err);
LC_WARN_UNUSED lc_code lc_reader_read(const lc_reader *reader, int64_t offset, void *to,
                                      size_t bytes, lc_err *err);
void lc_reader_close(lc_reader *reader);

/* Exclusive lock of a directory (flock on DIR/.lock); held by another process: LC_ERR_BUSY. */
LC_WARN_UNUSED lc_code lc_lock_dir(const char *path, int *fd, lc_err *err);
void lc_unlock_dir(int fd);
/* Whether a process holds the lock of a directory (absent: none does), and its number as it wrote
 * it down; 0: not yet. For a moment this keeps others from taking the lock. */
LC_WARN_UNUSED lc_code lc_lock_holder(const char *path, bool *is_held, long *pid, lc_err *err);

/* Free bytes on the file system of path; -1 when unknown. */
int64_t lc_disk_free(const char *path);

#endif
