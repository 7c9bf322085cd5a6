/*
 * The job directory: making, locking, resuming, closing. What goes into its logs is in events.c,
 * job.json in state.c. Called by lc_job_open.
 */
#include "job/directory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"

#define JOB_NAME     "job.json"
#define RESERVE_NAME ".reserve"

static lc_code take_place(const char *path, bool resume, lc_job_dir *dir, lc_err *err);
static lc_code open_contents(const lc_job_spec *spec, bool resume, lc_job_dir *dir, lc_err *err);

lc_code lc_job_dir_open(const char *path, const lc_job_spec *spec, bool resume, lc_job_dir *out,
                        lc_err *err)
{
    memset(out, 0, sizeof *out);
    out->lock_fd = out->events_fd = out->results_fd = -1;
    if (strlen(path) >= sizeof out->path - 64) { /* room for the names inside */
        return lc_fail_param(err, LC_ERR_USAGE, "out", "the path of the job directory is too long");
    }
    memcpy(out->path, path, strlen(path) + 1);
    lc_code code = take_place(path, resume, out, err);
    if (code == LC_OK) {
        code = open_contents(spec, resume, out, err);
    }
    if (code != LC_OK) {
        lc_job_dir_close(out);
    }
    return code;
}

void lc_job_dir_close(lc_job_dir *dir)
{
    if (dir->events_fd >= 0) {
        (void)close(dir->events_fd);
    }
    if (dir->results_fd >= 0) {
        (void)close(dir->results_fd);
    }
    lc_unlock_dir(dir->lock_fd);
    dir->lock_fd = dir->events_fd = dir->results_fd = -1;
}

/* ---- the place ---- */

/* Files that a run leaves when it is killed before its job.json is there. */
static bool is_own_debris(const char *name)
{
    return strcmp(name, ".lock") == 0 || strcmp(name, RESERVE_NAME) == 0 ||
           strncmp(name, "." JOB_NAME ".tmp-", strlen("." JOB_NAME ".tmp-")) == 0;
}

typedef struct contents {
    bool has_lock, has_job, has_other;
} contents;

static lc_code look_inside(const char *path, contents *out, lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    memset(out, 0, sizeof *out);
    if (!lc_path_exists(path)) {
        return LC_OK;
    }
    if (!lc_path_is_dir(path)) {
        return lc_fail_param(err, LC_ERR_USAGE, "out", "%s is not a directory", path);
    }
    LC_TRY(lc_list_dir(path, &names, &count, err));
    for (size_t i = 0; i < count; i++) {
        out->has_lock = out->has_lock || strcmp(names[i], ".lock") == 0;
        out->has_job = out->has_job || strcmp(names[i], JOB_NAME) == 0;
        out->has_other = out->has_other || !is_own_debris(names[i]);
    }
    lc_list_free(names, count);
    return LC_OK;
}

static lc_code check_place(const char *path, const contents *found, bool resume, lc_err *err)
{
    if (!found->has_other) {
        return LC_OK;
    }
    if (!resume) {
        return lc_fail_param(err, LC_ERR_USAGE, "out",
                             "%s is not empty; give another directory, or --resume to go on with "
                             "the job in it",
                             path);
    }
    if (!found->has_job) {
        return lc_fail_param(err, LC_ERR_USAGE, "out",
                             "%s has files but no " JOB_NAME ": it is not a job directory", path);
    }
    return LC_OK;
}

/* Looks before anything is made, so that a wrong directory stays as it is, and again under the
 * lock. */
static lc_code take_place(const char *path, bool resume, lc_job_dir *dir, lc_err *err)
{
    contents found;
    LC_TRY(look_inside(path, &found, err));
    if (!found.has_lock) {
        LC_TRY(check_place(path, &found, resume, err));
    }
    LC_TRY(lc_mkdir_parents(path, err));
    LC_TRY(lc_lock_dir(path, &dir->lock_fd, err));
    LC_TRY(look_inside(path, &found, err));
    LC_TRY(check_place(path, &found, resume, err));
    dir->resumed = found.has_job;
    return LC_OK;
}

/* ---- the contents ---- */

static lc_code draw(void *to, size_t bytes, lc_err *err)
{
    ssize_t got;
    do {
        got = getrandom(to, bytes, 0);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)bytes ? LC_OK : lc_fail_errno(err, "cannot draw random numbers");
}

static lc_code make_new(const lc_job_spec *spec, lc_job_dir *dir, lc_err *err)
{
    lc_job_state *state = &dir->state;
    struct {
        uint8_t id[16];
        uint32_t seed;
    } drawn;
    char hex[33];
    LC_TRY(draw(&drawn, sizeof drawn, err));
    lc_hex(drawn.id, sizeof drawn.id, hex);
    (void)snprintf(state->id, sizeof state->id, "ftjob-%s", hex);
    if (spec->id != NULL) {
        (void)snprintf(state->id, sizeof state->id, "%s", spec->id);
    }
    state->drawn_seed = drawn.seed & LC_MAX_SEED;
    state->created_at = lc_unix_seconds();
    state->trained_tokens = -1;
    state->world_size = 1;
    memcpy(state->identity.spec_sha256, spec->sha256, sizeof spec->sha256);
    return lc_job_dir_save(dir, spec, err);
}

static lc_code check_same_job(const lc_job_spec *spec, const lc_job_dir *dir,
                              const cJSON *canonical, lc_err *err)
{
    char difference[LC_JOB_DIFFERENCE_BYTES];
    if (spec->id != NULL && strcmp(spec->id, dir->state.id) != 0) {
        return lc_fail_param(err, LC_ERR_USAGE, "id", "the job in %s is %s, not %s", dir->path,
                             dir->state.id, spec->id);
    }
    if (memcmp(dir->state.identity.spec_sha256, spec->sha256, sizeof spec->sha256) == 0) {
        return LC_OK;
    }
    lc_job_spec_difference(spec, canonical, difference);
    return lc_fail_param(err, LC_ERR_USAGE, "job file",
                         "the job file has changed since the job in %s was started%s%s; restore "
                         "it, or start a new job in another directory",
                         dir->path, difference[0] != '\0' ? ": " : "", difference);
}

static lc_code read_existing(const lc_job_spec *spec, lc_job_dir *dir, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    cJSON *canonical = NULL;
    LC_TRY(lc_path_join(dir->path, JOB_NAME, path, err));
    LC_TRY(lc_file_read(path, LC_MAX_JOB_JSON_BYTES, &text, &bytes, err));
    lc_code code = lc_job_state_read(text, bytes, path, &dir->state, &canonical, err);
    lc_free(text);
    if (code == LC_OK) {
        code = check_same_job(spec, dir, canonical, err);
    }
    cJSON_Delete(canonical);
    return code;
}

bool lc_job_dir_has_succeeded(const char *dir)
{
    char path[LC_MAX_PATH_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    lc_job_state state;
    lc_err ignored = {.code = LC_OK};
    if (lc_path_join(dir, JOB_NAME, path, &ignored) != LC_OK ||
        lc_file_read(path, LC_MAX_JOB_JSON_BYTES, &text, &bytes, &ignored) != LC_OK) {
        return false;
    }
    const lc_code code = lc_job_state_read(text, bytes, path, &state, NULL, &ignored);
    lc_free(text);
    return code == LC_OK && state.status == LC_JOB_SUCCEEDED;
}

/* Blocks that are given back when the disk is full and job.json must say so. */
static lc_code make_reserve(const lc_job_dir *dir, lc_err *err)
{
    static const char zeros[4096];
    char path[LC_MAX_PATH_BYTES];
    struct stat status;
    lc_writer *writer = NULL;
    LC_TRY(lc_path_join(dir->path, RESERVE_NAME, path, err));
    if (stat(path, &status) == 0) {
        if (status.st_size == LC_JOB_RESERVE_BYTES) {
            return LC_OK;
        }
        (void)unlink(path);
    }
    LC_TRY(lc_writer_open(path, &writer, err));
    for (size_t done = 0; done < LC_JOB_RESERVE_BYTES; done += sizeof zeros) {
        const lc_code code = lc_writer_write(writer, zeros, sizeof zeros, err);
        if (code != LC_OK) {
            lc_writer_abort(writer);
            return code;
        }
    }
    return lc_writer_close(writer, NULL, NULL, err);
}

void lc_job_dir_release_reserve(lc_job_dir *dir)
{
    char path[LC_MAX_PATH_BYTES];
    lc_err ignored = {.code = LC_OK};
    if (lc_path_join(dir->path, RESERVE_NAME, path, &ignored) == LC_OK) {
        (void)unlink(path);
    }
}

static lc_code open_log(const lc_job_dir *dir, const char *name, int *fd, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(dir->path, name, path, err));
    return lc_append_open(path, fd, err);
}

/* Temporary files of a process that was killed while it wrote: ".NAME.tmp-PID" (file.h). */
static lc_code remove_stale_files(const char *path, lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    if (!lc_path_is_dir(path)) {
        return LC_OK;
    }
    LC_TRY(lc_list_dir(path, &names, &count, err));
    lc_code code = LC_OK;
    for (size_t i = 0; i < count && code == LC_OK; i++) {
        char stale[LC_MAX_PATH_BYTES];
        if (names[i][0] == '.' && strstr(names[i] + 1, ".tmp-") != NULL) {
            code = lc_path_join(path, names[i], stale, err);
            code = code == LC_OK ? lc_remove_tree(stale, err) : code;
        }
    }
    lc_list_free(names, count);
    return code;
}

static lc_code open_contents(const lc_job_spec *spec, bool resume, lc_job_dir *dir, lc_err *err)
{
    char cache[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(dir->path, "dataset", cache, err));
    LC_TRY(remove_stale_files(dir->path, err));
    LC_TRY(remove_stale_files(cache, err));
    if (resume && dir->resumed) {
        LC_TRY(read_existing(spec, dir, err));
        if (dir->state.status == LC_JOB_SUCCEEDED) {
            return LC_OK;
        }
    } else {
        LC_TRY(make_new(spec, dir, err));
    }
    LC_TRY(make_reserve(dir, err));
    LC_TRY(open_log(dir, "events.jsonl", &dir->events_fd, err));
    return open_log(dir, "results.csv", &dir->results_fd, err);
}

lc_code lc_job_dir_save(lc_job_dir *dir, const lc_job_spec *spec, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    lc_text text;
    lc_text_init(&text);
    lc_job_state_write(&dir->state, spec, &text);
    lc_code code = lc_text_finish(&text, JOB_NAME, err);
    if (code == LC_OK) {
        code = lc_path_join(dir->path, JOB_NAME, path, err);
    }
    if (code == LC_OK) {
        code = lc_file_write_atomic(path, text.data, text.length, err);
    }
    lc_text_release(&text);
    return code;
}

/* ---- names ---- */

void lc_job_derive_id(const char *job_id, const char *prefix, const char *what,
                      char out[LC_JOB_ID_BYTES])
{
    lc_sha256 hash;
    uint8_t digest[32];
    char hex[33];
    lc_sha256_init(&hash);
    lc_sha256_update(&hash, job_id, strlen(job_id));
    lc_sha256_update(&hash, ":", 1);
    lc_sha256_update(&hash, what, strlen(what));
    lc_sha256_final(&hash, digest);
    lc_hex(digest, 16, hex);
    (void)snprintf(out, LC_JOB_ID_BYTES, "%.14s%s", prefix, hex);
}

void lc_job_model_name(const lc_job_state *state, const lc_job_spec *spec,
                       char out[LC_JOB_NAME_BYTES])
{
    const char *model = spec->model;
    size_t end = strlen(model);
    while (end > 1 && model[end - 1] == '/') {
        end--;
    }
    size_t start = end;
    while (start > 0 && model[start - 1] != '/') {
        start--;
    }
    const char *suffix = spec->suffix != NULL ? spec->suffix : "";
    (void)snprintf(out, LC_JOB_NAME_BYTES, "%.*s.ft-%.32s%s%s", (int)(end - start), model + start,
                   state->id + strlen("ftjob-"), suffix[0] != '\0' ? "-" : "", suffix);
}
