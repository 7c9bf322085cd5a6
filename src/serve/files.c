/*
 * Starting and stopping, drafts, creation, and the thread that checks and sweeps; see files.h. The
 * rows are in file_rows.c.
 */
#include "serve/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "lorac/log.h"
#include "lorac/mem.h"
#include "serve/files_internal.h"
#include "text/utf8.h"

#define SWEEP_SECONDS 30

struct lc_draft {
    lc_files *files;
    lc_writer *writer; /* owned; NULL once something has failed */
    int64_t bytes, max_bytes;
    char path[LC_MAX_PATH_BYTES]; /* in DATA/tmp */
};

static void *work(void *context);

/* ---- starting and stopping ---- */

static void set_defaults(lc_files_options *options)
{
    if (options->max_file_bytes == 0) {
        options->max_file_bytes = LC_MAX_FILE_BYTES;
    }
    if (options->max_training_files == 0) {
        options->max_training_files = LC_MAX_TRAINING_FILES;
    }
    if (options->check_threads == 0) {
        options->check_threads = 1;
    }
    if (options->now == NULL) {
        options->now = lc_unix_seconds;
    }
}

static lc_code make_folders(lc_files *files, lc_err *err)
{
    static const char *const names[] = {"files", "uploads", "tmp"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[LC_MAX_PATH_BYTES];
        LC_TRY(lc_path_join(lc_store_dir(files->store), names[i], path, err));
        LC_TRY(lc_mkdir(path, err));
    }
    return lc_path_join(lc_store_dir(files->store), "tmp", files->tmp_dir, err);
}

lc_code lc_files_start(lc_store *store, const lc_files_options *options, lc_files **out,
                       lc_err *err)
{
    lc_code code;
    lc_files *files = NULL;
    LC_TRY(lc_new((void **)&files, 1, sizeof *files, "the files", err));
    files->store = store;
    files->options = *options;
    set_defaults(&files->options);
    (void)pthread_mutex_init(&files->lock, NULL);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&files->poked, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    LC_TRY_GOTO(make_folders(files, err));
    LC_TRY_GOTO(lc_files_clean(files, err));
    LC_TRY_GOTO(lc_uploads_resume(files, err));
    LC_TRY_GOTO(lc_uploads_clean(files, err));
    LC_TRY_GOTO(lc_imports_start(files, &files->imports, err));
    if (pthread_create(&files->thread, NULL, work, files) != 0) {
        code = lc_fail(err, LC_ERR_MEMORY, "no thread for checking files");
        goto fail;
    }
    *out = files;
    return LC_OK;
fail:
    lc_imports_stop(files->imports);
    (void)pthread_cond_destroy(&files->poked);
    (void)pthread_mutex_destroy(&files->lock);
    lc_free(files);
    return code;
}

void lc_files_stop(lc_files *files)
{
    if (files == NULL) {
        return;
    }
    lc_imports_stop(files->imports);
    (void)pthread_mutex_lock(&files->lock);
    files->is_stopping = true;
    (void)pthread_cond_signal(&files->poked);
    (void)pthread_mutex_unlock(&files->lock);
    (void)pthread_join(files->thread, NULL);
    (void)pthread_cond_destroy(&files->poked);
    (void)pthread_mutex_destroy(&files->lock);
    lc_free(files);
}

void lc_files_poke(lc_files *files)
{
    (void)pthread_mutex_lock(&files->lock);
    files->is_poked = true;
    (void)pthread_cond_signal(&files->poked);
    (void)pthread_mutex_unlock(&files->lock);
}

int64_t lc_files_now(const lc_files *files)
{
    return files->options.now();
}

/* ---- the thread ---- */

static bool is_stopping(lc_files *files)
{
    (void)pthread_mutex_lock(&files->lock);
    const bool stops = files->is_stopping;
    (void)pthread_mutex_unlock(&files->lock);
    return stops;
}

/* Sleeps until poked, or for a while; false: time to stop. */
static bool wait_for_work(lc_files *files)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SWEEP_SECONDS;
    (void)pthread_mutex_lock(&files->lock);
    int result = 0;
    while (!files->is_poked && !files->is_stopping && result == 0) {
        result = pthread_cond_timedwait(&files->poked, &files->lock, &until);
    }
    files->is_poked = false;
    const bool goes_on = !files->is_stopping;
    (void)pthread_mutex_unlock(&files->lock);
    return goes_on;
}

static void *work(void *context)
{
    lc_files *files = context;
    do {
        lc_err err = {0};
        lc_code code = lc_files_sweep(files, &err);
        bool is_idle = false;
        while (code == LC_OK && !is_idle && !is_stopping(files)) {
            code = lc_files_check_next(files, &is_idle, &err);
        }
        if (code != LC_OK) { /* a full disk, say: try again in a while */
            lc_log(LC_LOG_ERROR, "files: %s", err.message);
        }
    } while (wait_for_work(files));
    return NULL;
}

/* ---- drafts ---- */

lc_code lc_draft_open(lc_files *files, int64_t max_bytes, lc_draft **out, lc_err *err)
{
    lc_draft *draft = NULL;
    char id[LC_ID_BYTES];
    LC_TRY(lc_id_new(LC_PREFIX_FILE, id, err));
    LC_TRY(lc_new((void **)&draft, 1, sizeof *draft, "a file on its way", err));
    draft->files = files;
    draft->max_bytes = max_bytes;
    lc_code code = lc_path_join(files->tmp_dir, id, draft->path, err);
    if (code == LC_OK) {
        code = lc_writer_open(draft->path, &draft->writer, err);
    }
    if (code != LC_OK) {
        lc_free(draft);
        return code;
    }
    *out = draft;
    return LC_OK;
}

lc_code lc_draft_write(lc_draft *draft, const char *bytes, size_t count, lc_err *err)
{
    if (count > (uint64_t)(draft->max_bytes - draft->bytes)) {
        return lc_fail_param(err, LC_ERR_TOO_LARGE, "file",
                             "the file has more than %" PRId64 " bytes", draft->max_bytes);
    }
    draft->bytes += (int64_t)count;
    return lc_writer_write(draft->writer, bytes, count, err);
}

int64_t lc_draft_bytes(const lc_draft *draft)
{
    return draft->bytes;
}

void lc_draft_abort(lc_draft *draft)
{
    if (draft != NULL) {
        lc_writer_abort(draft->writer);
        lc_free(draft);
    }
}

lc_code lc_draft_keep(lc_draft *draft, const char *path, lc_err *err)
{
    char target[LC_MAX_PATH_BYTES];
    lc_code code = lc_files_resolve(lc_store_dir(draft->files->store), path, target, err);
    if (code != LC_OK) {
        lc_draft_abort(draft);
        return code;
    }
    code = lc_writer_close(draft->writer, NULL, NULL, err);
    if (code == LC_OK) {
        code = lc_rename(draft->path, target, err);
        if (code != LC_OK) { /* whether the rename has happened or not */
            (void)unlink(draft->path);
            (void)unlink(target);
        }
    }
    lc_free(draft);
    return code;
}

/* ---- what is asked for ---- */

/* Bidirectional overrides make a name look like another one. */
static bool is_disguise(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200E || c == 0x200F ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

static lc_code check_characters(const char *name, lc_err *err)
{
    const size_t bytes = strlen(name);
    for (size_t at = 0, length = 0; at < bytes; at += length) {
        if (lc_utf8_next(name + at, bytes - at, &length) != LC_UTF8_CHARACTER) {
            return lc_fail_param(err, LC_ERR_INVALID, "filename", "the file's name is not UTF-8");
        }
        if (is_disguise(lc_utf8_decode(name + at, length))) {
            return lc_fail_param(err, LC_ERR_INVALID, "filename",
                                 "the file's name has a control character");
        }
    }
    return LC_OK;
}

static lc_code clean_name(const char *given, char out[LC_MAX_FILENAME_BYTES + 1], lc_err *err)
{
    const char *name = given != NULL ? given : "";
    for (const char *at = name; *at != '\0'; at++) {
        name = *at == '/' || *at == '\\' ? at + 1 : name;
    }
    const size_t bytes = strlen(name);
    if (bytes == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return lc_fail_param(err, LC_ERR_INVALID, "filename", "the file has no name");
    }
    if (bytes > LC_MAX_FILENAME_BYTES) {
        return lc_fail_param(err, LC_ERR_INVALID, "filename",
                             "the file's name has %zu bytes, at most %d are allowed", bytes,
                             LC_MAX_FILENAME_BYTES);
    }
    LC_TRY(check_characters(name, err));
    memcpy(out, name, bytes + 1);
    return LC_OK;
}

static lc_code check_purpose(const char *purpose, lc_err *err)
{
    static const char *const purposes[] = {LC_FILE_PURPOSE_TRAINING, "assistants", "batch",
                                           "evals"};
    for (size_t i = 0; purpose != NULL && i < sizeof purposes / sizeof purposes[0]; i++) {
        if (strcmp(purpose, purposes[i]) == 0) {
            return LC_OK;
        }
    }
    return lc_fail_param(err, LC_ERR_INVALID, "purpose",
                         "purpose must be fine-tune, assistants, batch or evals, not %s%.40s%s",
                         purpose != NULL ? "\"" : "", purpose != NULL ? purpose : "nothing",
                         purpose != NULL ? "\"" : "");
}

static lc_code check_expiry(int64_t seconds, lc_err *err)
{
    if (seconds < LC_MIN_EXPIRY_SECONDS || seconds > LC_MAX_EXPIRY_SECONDS) {
        return lc_fail_param(err, LC_ERR_INVALID, "expires_after[seconds]",
                             "expires_after needs seconds from %d to %d", LC_MIN_EXPIRY_SECONDS,
                             LC_MAX_EXPIRY_SECONDS);
    }
    return LC_OK;
}

lc_code lc_file_wish_check(const lc_file_wish *wish, char filename[LC_MAX_FILENAME_BYTES + 1],
                           lc_err *err)
{
    LC_TRY(check_purpose(wish->purpose, err));
    LC_TRY(clean_name(wish->filename, filename, err));
    return wish->expires_after < 0 ? LC_OK : check_expiry(wish->expires_after, err);
}

static lc_code check_anchor(const char *anchor, lc_err *err)
{
    if (anchor == NULL || strcmp(anchor, "created_at") != 0) {
        return lc_fail_param(err, LC_ERR_INVALID, "expires_after[anchor]",
                             "expires_after needs the anchor \"created_at\"");
    }
    return LC_OK;
}

lc_code lc_expiry_parse(const char *anchor, const char *seconds, int64_t *out, lc_err *err)
{
    *out = -1;
    if (anchor == NULL && seconds == NULL) {
        return LC_OK;
    }
    LC_TRY(check_anchor(anchor, err));
    const size_t digits = seconds != NULL ? strspn(seconds, "0123456789") : 0;
    const bool is_number = digits > 0 && digits < 10 && seconds[digits] == '\0';
    *out = is_number ? strtoll(seconds, NULL, 10) : -1;
    return check_expiry(*out, err);
}

lc_code lc_expiry_of(const cJSON *body, int64_t *out, lc_err *err)
{
    const cJSON *expiry = NULL;
    const char *anchor = NULL;
    *out = -1;
    LC_TRY(lc_json_object(body, "expires_after", false, &expiry, err));
    if (expiry == NULL) {
        return LC_OK;
    }
    LC_TRY(lc_json_string(expiry, "anchor", true, &anchor, err));
    LC_TRY(check_anchor(anchor, err));
    LC_TRY(lc_json_int(expiry, "seconds", true, 0, INT32_MAX, out, err));
    return check_expiry(*out, err);
}

/* ---- creating ---- */

static lc_code insert(lc_files *files, const lc_file_row *row, lc_text *out, lc_err *err)
{
    lc_db *db = NULL;
    LC_TRY(lc_store_begin(files->store, &db, err));
    lc_code code =
        lc_files_check_quota(db, &files->options, row->owner, row->purpose, row->bytes, err);
    if (code == LC_OK) {
        code = lc_file_row_insert(db, row, err);
    }
    if (code == LC_OK) {
        code = lc_file_object(db, lc_store_dir(files->store), row->owner, row->id, out, err);
    }
    if (code == LC_OK) {
        code = lc_store_commit(&db, err);
    }
    lc_store_end(&db);
    return code;
}

lc_code lc_file_name_new(const lc_files *files, lc_file_name *out, lc_err *err)
{
    LC_TRY(lc_id_new(LC_PREFIX_FILE, out->id, err));
    lc_file_path_of(out->id, out->path);
    return lc_files_resolve(lc_store_dir(files->store), out->path, out->absolute, err);
}

lc_file_row lc_file_row_of(const lc_files *files, const char *owner, const lc_file_name *name,
                           const lc_file_wish *wish, int64_t bytes)
{
    const int64_t now = lc_files_now(files);
    const bool waits = bytes < 0 || strcmp(wish->purpose, LC_FILE_PURPOSE_TRAINING) == 0;
    return (lc_file_row){.id = name->id,
                         .owner = owner,
                         .filename = wish->filename,
                         .purpose = wish->purpose,
                         .status = waits ? LC_FILE_STATUS_PENDING : "processed",
                         .path = bytes < 0 ? "" : name->path,
                         .bytes = bytes,
                         .created_at = now,
                         .expires_at = wish->expires_after < 0 ? -1 : now + wish->expires_after};
}

lc_code lc_files_create(lc_files *files, const char *owner, lc_draft *draft,
                        const lc_file_wish *wish, lc_text *out, lc_err *err)
{
    lc_file_name name;
    char filename[LC_MAX_FILENAME_BYTES + 1];
    const int64_t bytes = draft->bytes;
    lc_file_wish cleaned = *wish;
    lc_code code;
    LC_TRY_GOTO(lc_file_wish_check(wish, filename, err));
    if (bytes == 0) {
        code = lc_fail_param(err, LC_ERR_INVALID, "file", "the file is empty");
        goto fail;
    }
    cleaned.filename = filename;
    LC_TRY_GOTO(lc_file_name_new(files, &name, err));
    LC_TRY(lc_draft_keep(draft, name.path, err)); /* the draft is gone now */
    const lc_file_row row = lc_file_row_of(files, owner, &name, &cleaned, bytes);
    code = insert(files, &row, out, err);
    if (code != LC_OK) {
        (void)unlink(name.absolute);
        return code;
    }
    lc_files_poke(files);
    return LC_OK;
fail:
    lc_draft_abort(draft);
    return code;
}
