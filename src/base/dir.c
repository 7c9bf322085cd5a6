/*
 * Paths and directories: joining, making, listing, renaming, locking, and removing trees without
 * leaving half of one. Used wherever job directories and checkpoints are handled.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/io.h"
#include "base/params.h"
#include "lorac/mem.h"

#define DIR_MODE     0777
#define FILE_MODE    0666
#define TRASH_PREFIX ".trash-"

static lc_code fail_path_long(const char *path, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_INVALID, "path", "path too long (limit %d bytes): %.80s...",
                         LC_MAX_PATH_BYTES - 1, path);
}

lc_code lc_path_join(const char *dir, const char *name, char *out, lc_err *err)
{
    const size_t length = strlen(dir);
    const char *slash = length == 0 || dir[length - 1] == '/' ? "" : "/";
    const int written = snprintf(out, LC_MAX_PATH_BYTES, "%s%s%s", dir, slash, name);
    return written < 0 || written >= LC_MAX_PATH_BYTES ? fail_path_long(dir, err) : LC_OK;
}

const char *lc_path_base(const char *path, size_t *length)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/') {
        end--;
    }
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    *length = end - start;
    return path + start;
}

lc_code lc_path_parent(const char *path, char *out, lc_err *err)
{
    size_t base_length;
    const char *base = lc_path_base(path, &base_length);
    size_t length = (size_t)(base - path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    if (length >= LC_MAX_PATH_BYTES) {
        return fail_path_long(path, err);
    }
    memcpy(out, length > 0 ? path : ".", length > 0 ? length : 1);
    out[length > 0 ? length : 1] = '\0';
    return LC_OK;
}

lc_code lc_cache_place(const char *given, const char *folder, bool *is_named, char *path,
                       lc_err *err)
{
    char place[LC_MAX_PATH_BYTES];
    const char *root = lc_param_text(LC_PARAM_CACHE_HOME);
    path[0] = '\0';
    *is_named = given != NULL && given[0] != '\0' && strcmp(given, "off") != 0;
    if (given != NULL && given[0] != '\0') {
        if (strlen(given) >= LC_MAX_PATH_BYTES) {
            return fail_path_long(given, err);
        }
        memcpy(path, given, *is_named ? strlen(given) + 1 : 0);
        return LC_OK;
    }
    if (root != NULL && root[0] == '/') { /* a relative one is void, says its specification */
        return lc_path_join(root, folder, path, err);
    }
    root = lc_param_text(LC_PARAM_HOME);
    if (root == NULL || root[0] != '/') {
        return LC_OK;
    }
    LC_TRY(lc_path_join(root, ".cache", place, err));
    return lc_path_join(place, folder, path, err);
}

bool lc_path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool lc_path_is_dir(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

lc_code lc_mkdir(const char *path, lc_err *err)
{
    if (lc_io_mkdir(path, DIR_MODE) == 0) {
        return LC_OK;
    }
    if (errno == EEXIST && lc_path_is_dir(path)) {
        return LC_OK;
    }
    return lc_fail_errno(err, "cannot make directory %s", path);
}

lc_code lc_mkdir_parents(const char *path, lc_err *err)
{
    char partial[LC_MAX_PATH_BYTES];
    const size_t length = strlen(path);
    if (length >= sizeof partial) {
        return fail_path_long(path, err);
    }
    memcpy(partial, path, length + 1);
    for (size_t i = 1; i < length; i++) {
        if (partial[i] != '/' || partial[i - 1] == '/') {
            continue;
        }
        partial[i] = '\0';
        if (!lc_path_is_dir(partial)) {
            LC_TRY(lc_mkdir(partial, err));
        }
        partial[i] = '/';
    }
    return lc_mkdir(path, err);
}

lc_code lc_sync_dir(const char *path, lc_err *err)
{
    const int fd = lc_io_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return lc_fail_errno(err, "cannot open directory %s", path);
    }
    lc_code code = LC_OK;
    /* EINVAL: a file system that does not sync directories; there is nothing more we could do. */
    if (lc_io_fsync(fd) != 0 && errno != EINVAL) {
        code = lc_fail_errno(err, "cannot sync directory %s", path);
    }
    if (lc_io_close(fd) != 0 && code == LC_OK) {
        code = lc_fail_errno(err, "cannot close directory %s", path);
    }
    return code;
}

lc_code lc_rename(const char *from, const char *to, lc_err *err)
{
    char parent[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_parent(to, parent, err));
    if (lc_io_rename(from, to) != 0) {
        return lc_fail_errno(err, "cannot rename %s to %s", from, to);
    }
    return lc_sync_dir(parent, err);
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static lc_code open_dir(const char *path, DIR **out, lc_err *err)
{
    const int fd = lc_io_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0) {
        return lc_fail_errno(err, "cannot open directory %s", path);
    }
    *out = fdopendir(fd);
    if (*out == NULL) {
        const lc_code code = lc_fail_errno(err, "cannot read directory %s", path);
        (void)close(fd);
        return code;
    }
    return LC_OK;
}

static lc_code add_name(const char *name, char ***names, size_t *count, size_t *capacity,
                        lc_err *err)
{
    if (*count == *capacity) {
        const size_t larger = *capacity == 0 ? 16 : *capacity * 2;
        char **grown = lc_realloc(*names, larger * sizeof *grown);
        if (grown == NULL) {
            return lc_fail(err, LC_ERR_MEMORY, "out of memory for a list of %zu files", larger);
        }
        *names = grown;
        *capacity = larger;
    }
    (*names)[*count] = lc_strdup(name);
    if ((*names)[*count] == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "out of memory for a file name");
    }
    (*count)++;
    return LC_OK;
}

lc_code lc_list_dir(const char *path, char ***names, size_t *count, lc_err *err)
{
    char resolved[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(path, ".", resolved, err)); /* the path itself may be a symbolic link */
    DIR *dir = NULL;
    LC_TRY(open_dir(resolved, &dir, err));
    char **list = NULL;
    size_t used = 0, capacity = 0;
    lc_code code = LC_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            code = errno != 0 ? lc_fail_errno(err, "cannot read directory %s", path) : LC_OK;
            break;
        }
        if (!is_dot(entry->d_name)) {
            code = add_name(entry->d_name, &list, &used, &capacity, err);
            if (code != LC_OK) {
                break;
            }
        }
    }
    (void)closedir(dir);
    if (code != LC_OK) {
        lc_list_free(list, used);
        return code;
    }
    if (used > 1) {
        qsort(list, used, sizeof *list, compare_names);
    }
    *names = list;
    *count = used;
    return LC_OK;
}

void lc_list_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        lc_free(names[i]);
    }
    lc_free(names);
}

static bool is_real_dir(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Unlinks what is no directory in `path`. Stops at the first directory and appends its name to
 * `path`. */
static lc_code empty_until_dir(char *path, bool *descended, lc_err *err)
{
    DIR *dir = NULL;
    char child[LC_MAX_PATH_BYTES];
    LC_TRY(open_dir(path, &dir, err));
    lc_code code = LC_OK;
    *descended = false;
    const struct dirent *entry;
    while (code == LC_OK && !*descended && (entry = readdir(dir)) != NULL) {
        if (is_dot(entry->d_name)) {
            continue;
        }
        code = lc_path_join(path, entry->d_name, child, err);
        if (code != LC_OK) {
            break;
        }
        if (is_real_dir(child)) {
            memcpy(path, child, strlen(child) + 1);
            *descended = true;
        } else if (lc_io_unlink(child) != 0 && errno != ENOENT) {
            code = lc_fail_errno(err, "cannot remove %s", child);
        }
    }
    (void)closedir(dir);
    return code;
}

/* Depth first without recursion: `path` is the stack. */
static lc_code remove_now(const char *root, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    const size_t root_length = strlen(root);
    memcpy(path, root, root_length + 1);
    for (;;) {
        bool descended = false;
        LC_TRY(empty_until_dir(path, &descended, err));
        if (descended) {
            continue;
        }
        if (lc_io_rmdir(path) != 0) {
            return lc_fail_errno(err, "cannot remove directory %s", path);
        }
        if (strlen(path) == root_length) {
            return LC_OK;
        }
        *strrchr(path, '/') = '\0';
    }
}

static lc_code remove_file(const char *path, lc_err *err)
{
    if (lc_io_unlink(path) != 0 && errno != ENOENT) {
        return lc_fail_errno(err, "cannot remove %s", path);
    }
    return LC_OK;
}

lc_code lc_remove_tree(const char *path, lc_err *err)
{
    char trash[LC_MAX_PATH_BYTES];
    size_t length;
    const char *base = lc_path_base(path, &length);
    const int written = snprintf(trash, sizeof trash, "%.*s" TRASH_PREFIX "%.*s",
                                 (int)(base - path), path, (int)length, base);
    if (written < 0 || written >= LC_MAX_PATH_BYTES) {
        return fail_path_long(path, err);
    }
    if (length == 0 || (length <= 2 && strspn(base, ".") >= length)) {
        return lc_fail_param(err, LC_ERR_INVALID, "path", "will not remove \"%.80s\"", path);
    }
    if (is_real_dir(trash)) { /* left by a removal that was interrupted */
        LC_TRY(remove_now(trash, err));
    }
    if (!is_real_dir(path)) {
        return remove_file(path, err);
    }
    if (strncmp(base, TRASH_PREFIX, strlen(TRASH_PREFIX)) == 0) {
        return remove_now(path, err);
    }
    LC_TRY(lc_rename(path, trash, err));
    return remove_now(trash, err);
}

/* For the message only: the number of the process that wrote the lock file, 0 when it cannot be
 * told. */
static long holder_of(int fd)
{
    char text[32] = "";
    const ssize_t got = pread(fd, text, sizeof text - 1, 0);
    return got > 0 ? strtol(text, NULL, 10) : 0;
}

lc_code lc_lock_dir(const char *path, int *fd, lc_err *err)
{
    char file[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(path, ".lock", file, err));
    const int opened = lc_io_open(file, O_RDWR | O_CREAT, FILE_MODE);
    if (opened < 0) {
        return lc_fail_errno(err, "cannot open %s", file);
    }
    int result;
    do {
        result = flock(opened, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        const lc_code code =
            errno == EWOULDBLOCK
                ? lc_fail(err, LC_ERR_BUSY,
                          "%s is in use by another process (%ld); wait for it or stop it", path,
                          holder_of(opened))
                : lc_fail_errno(err, "cannot lock %s", file);
        (void)close(opened);
        return code;
    }
    char owner[32];
    const int length = snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
    if (ftruncate(opened, 0) != 0 || pwrite(opened, owner, (size_t)length, 0) != length) {
        errno = 0; /* the number is only there for the message above */
    }
    *fd = opened;
    return LC_OK;
}

lc_code lc_lock_holder(const char *path, bool *is_held, long *pid, lc_err *err)
{
    char file[LC_MAX_PATH_BYTES];
    *is_held = false;
    *pid = 0;
    LC_TRY(lc_path_join(path, ".lock", file, err));
    const int opened = lc_io_open(file, O_RDONLY, 0);
    if (opened < 0) {
        return errno == ENOENT ? LC_OK : lc_fail_errno(err, "cannot open %s", file);
    }
    int result;
    do {
        result = flock(opened, LOCK_SH | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    *is_held = result != 0 && errno == EWOULDBLOCK;
    *pid = *is_held ? holder_of(opened) : 0;
    const lc_code code =
        result == 0 || *is_held ? LC_OK : lc_fail_errno(err, "cannot ask for the lock %s", file);
    (void)close(opened);
    return code;
}

void lc_unlock_dir(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

int64_t lc_disk_free(const char *path)
{
    struct statvfs status;
    int64_t bytes;
    if (statvfs(path, &status) != 0 ||
        !lc_mul_i64((int64_t)status.f_bavail, (int64_t)status.f_frsize, &bytes)) {
        return -1;
    }
    return bytes;
}
