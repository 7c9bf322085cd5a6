/*
 * The cache of tokenized data sets, see dataset_cache.h. One file each, named by what it was made
 * from and by what it holds: ORIGIN-CONTENT.safetensors, 32 hex digits of a SHA-256 each. So a file
 * that is damaged is never taken for a good one, and nothing has to be kept beside it.
 */
#include "data/dataset_cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/io.h"
#include "base/params.h"
#include "data/safetensors.h"
#include "lorac/log.h"

#define DIGITS    32 /* hex digits of each half of a name */
#define SUFFIX    ".safetensors"
#define TEMPORARY ".tmp"

/* ---- names ---- */

/* Empty: nowhere. */
static lc_code find_folder(char path[LC_MAX_PATH_BYTES], lc_err *err)
{
    bool is_named = false;
    return lc_cache_place(lc_param_text(LC_PARAM_DATASETS), "lorac/datasets", &is_named, path, err);
}

/* First half of the name. This program is part of the origin: another may render or encode another
 * way. */
static lc_code name_origin(const lc_dataset_origin *origin, char out[DIGITS + 1], lc_err *err)
{
    lc_sha256 hash;
    uint8_t digest[32];
    LC_TRY(lc_sha256_file("/proc/self/exe", digest, NULL, err));
    lc_sha256_init(&hash);
    lc_sha256_update(&hash, digest, sizeof digest);
    lc_sha256_update(&hash, origin->file_sha256, sizeof origin->file_sha256);
    lc_sha256_update(&hash, origin->tokenizer_sha256, sizeof origin->tokenizer_sha256);
    lc_sha256_update(&hash, origin->template_sha256, sizeof origin->template_sha256);
    lc_sha256_update(&hash, &origin->max_tokens, sizeof origin->max_tokens);
    lc_sha256_final(&hash, digest);
    lc_hex(digest, DIGITS / 2, out);
    return LC_OK;
}

/* ---- finding ---- */

/* The cache's file of that origin; empty: there is none. */
static lc_code find_file(const char *folder, const char *origin, char path[LC_MAX_PATH_BYTES],
                         lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    path[0] = '\0';
    LC_TRY(lc_list_dir(folder, &names, &count, err));
    lc_code code = LC_OK;
    for (size_t i = 0; i < count && path[0] == '\0' && code == LC_OK; i++) {
        if (strlen(names[i]) == 2 * DIGITS + 1 + strlen(SUFFIX) &&
            strncmp(names[i], origin, DIGITS) == 0 && names[i][DIGITS] == '-') {
            code = lc_path_join(folder, names[i], path, err);
        }
    }
    lc_list_free(names, count);
    return code;
}

static int64_t metadata_count(const lc_safetensors *file, const char *key)
{
    const char *text = lc_safetensors_metadata(file, key);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

/* What the arrays do not say. */
static lc_code read_counts(const char *path, lc_dataset *out, lc_err *err)
{
    lc_safetensors *file = NULL;
    LC_TRY(lc_safetensors_open(path, &file, err));
    out->truncated_count = metadata_count(file, "truncated_examples");
    out->truncated_tokens = metadata_count(file, "truncated_tokens");
    lc_safetensors_close(file);
    return LC_OK;
}

static lc_code load(const char *path, const lc_dataset_origin *origin, int64_t vocab_size,
                    lc_dataset *out, lc_err *err)
{
    char content[DIGITS + 1];
    size_t length = 0;
    LC_TRY(lc_dataset_load_tokenized(path, vocab_size, origin->max_tokens, out, err));
    lc_hex(out->sha256, DIGITS / 2, content);
    lc_code code = LC_OK;
    if (strncmp(lc_path_base(path, &length) + DIGITS + 1, content, DIGITS) != 0) {
        code = lc_fail(err, LC_ERR_INVALID, "%s is damaged", path);
    } else {
        code = read_counts(path, out, err);
    }
    if (code != LC_OK) {
        lc_dataset_release(out);
        return code;
    }
    memcpy(out->sha256, origin->file_sha256, sizeof out->sha256);
    return LC_OK;
}

static lc_code find(const lc_dataset_origin *origin, int64_t vocab_size, lc_dataset *out,
                    bool *found, lc_err *err)
{
    char folder[LC_MAX_PATH_BYTES], path[LC_MAX_PATH_BYTES], name[DIGITS + 1];
    LC_TRY(find_folder(folder, err));
    if (folder[0] == '\0' || !lc_path_is_dir(folder)) {
        return LC_OK;
    }
    LC_TRY(name_origin(origin, name, err));
    LC_TRY(find_file(folder, name, path, err));
    if (path[0] == '\0') {
        return LC_OK;
    }
    const lc_code code = load(path, origin, vocab_size, out, err);
    if (code != LC_OK) {
        (void)lc_io_unlink(path);
        return code;
    }
    (void)utimensat(AT_FDCWD, path, NULL, 0); /* used just now; see prune */
    lc_log(LC_LOG_INFO, "tokens from %s", path);
    *found = true;
    return LC_OK;
}

void lc_dataset_cache_find(const lc_dataset_origin *origin, int64_t vocab_size, lc_dataset *out,
                           bool *found)
{
    lc_err why = {.code = LC_OK};
    *found = false;
    if (find(origin, vocab_size, out, found, &why) != LC_OK) {
        lc_log(LC_LOG_WARN, "no tokens from the cache of data sets: %s", why.message);
    }
}

/* ---- keeping ---- */

typedef struct cached_file {
    char path[LC_MAX_PATH_BYTES];
    int64_t bytes;
    struct timespec used;
} cached_file;

/* A file that keep() wrote, or began to: the folder may be one that holds a user's other files. */
static bool is_ours(const char *name)
{
    const size_t length = strlen(name);
    if (strspn(name, "0123456789abcdef") != DIGITS) {
        return false;
    }
    if (name[DIGITS] == '-') {
        return strspn(name + DIGITS + 1, "0123456789abcdef") == DIGITS &&
               strcmp(name + 2 * DIGITS + 1, SUFFIX) == 0;
    }
    return name[DIGITS] == '.' && strcmp(name + length - strlen(TEMPORARY), TEMPORARY) == 0;
}

/* The file of ours that is unused for longest, and the bytes of all. */
static lc_code survey(const char *folder, cached_file *oldest, int64_t *total, lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    LC_TRY(lc_list_dir(folder, &names, &count, err));
    *total = 0;
    oldest->path[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        cached_file file;
        struct stat status;
        if (!is_ours(names[i]) || lc_path_join(folder, names[i], file.path, err) != LC_OK ||
            stat(file.path, &status) != 0 || !S_ISREG(status.st_mode)) {
            continue;
        }
        file.bytes = (int64_t)status.st_size;
        file.used = status.st_mtim;
        *total += file.bytes;
        if (oldest->path[0] == '\0' || file.used.tv_sec < oldest->used.tv_sec ||
            (file.used.tv_sec == oldest->used.tv_sec && file.used.tv_nsec < oldest->used.tv_nsec)) {
            *oldest = file;
        }
    }
    lc_list_free(names, count);
    return LC_OK;
}

/* Removes files until `room` bytes more stay within the limit. */
static lc_code prune(const char *folder, int64_t room, lc_err *err)
{
    for (;;) {
        cached_file oldest;
        int64_t total = 0;
        LC_TRY(survey(folder, &oldest, &total, err));
        if (oldest.path[0] == '\0' || total + room <= LC_MAX_DATASET_CACHE_BYTES) {
            return LC_OK;
        }
        if (lc_io_unlink(oldest.path) != 0) {
            return lc_fail_errno(err, "cannot remove %s", oldest.path);
        }
    }
}

static lc_code keep(const lc_dataset_origin *origin, const lc_dataset *dataset, lc_err *err)
{
    char folder[LC_MAX_PATH_BYTES], temporary[LC_MAX_PATH_BYTES], path[LC_MAX_PATH_BYTES];
    char name[DIGITS + 1], content[DIGITS + 1], file[128];
    uint8_t digest[32];
    const int64_t bytes = dataset->token_count * 8 + dataset->example_count * 8;
    LC_TRY(find_folder(folder, err));
    if (folder[0] == '\0' || bytes > LC_MAX_DATASET_CACHE_BYTES) {
        return LC_OK;
    }
    LC_TRY(name_origin(origin, name, err));
    LC_TRY(lc_mkdir_parents(folder, err));
    LC_TRY(prune(folder, bytes, err));
    (void)snprintf(file, sizeof file, "%s.%ld" TEMPORARY, name, (long)getpid());
    LC_TRY(lc_path_join(folder, file, temporary, err));
    LC_TRY(lc_remove_tree(temporary, err));
    LC_TRY(lc_dataset_save(dataset, temporary, origin->tokenizer_sha256, digest, err));
    lc_hex(digest, DIGITS / 2, content);
    (void)snprintf(file, sizeof file, "%s-%s" SUFFIX, name, content);
    LC_TRY(lc_path_join(folder, file, path, err));
    return lc_rename(temporary, path, err);
}

void lc_dataset_cache_keep(const lc_dataset_origin *origin, const lc_dataset *dataset)
{
    lc_err why = {.code = LC_OK};
    if (keep(origin, dataset, &why) != LC_OK) {
        lc_log(LC_LOG_WARN, "the tokenized data set is not kept for the next run: %s", why.message);
    }
}
