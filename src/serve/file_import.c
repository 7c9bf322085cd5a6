/*
 * Files that come from a URL; see files.h. A queue of a few, fetched one after another by a thread
 * of its own. URLs may carry a signature and are never stored: what a restart interrupts is an
 * error, and has to be asked for again.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lorac/log.h"
#include "lorac/mem.h"
#include "serve/files_internal.h"

typedef struct lc_import {
    struct lc_import *next;
    char id[LC_ID_BYTES], owner[LC_ID_BYTES], purpose[40];
    char url[LC_MAX_IMPORT_URL_BYTES + 1];
} lc_import;

struct lc_imports {
    lc_files *files;           /* borrowed */
    lc_import_options options; /* without zeros */
    pthread_t thread;
    pthread_mutex_t lock; /* of the queue */
    pthread_cond_t moved;
    lc_import *first; /* owned; the one being fetched is the first */
    int count;
    atomic_bool stops;
};

static void *work(void *context);

/* ---- starting and stopping ---- */

static lc_code fail_interrupted(lc_files *files, lc_err *err)
{
    lc_db *db = NULL;
    LC_TRY(lc_store_begin(files->store, &db, err));
    lc_code code = lc_db_run(db,
                             "UPDATE files SET status = 'error', status_details ="
                             " 'The service was restarted during the import; import it again.'"
                             " WHERE status = 'pending' AND path = ''",
                             LC_BIND_NONE, err);
    if (code == LC_OK) {
        code = lc_store_commit(&db, err);
    }
    lc_store_end(&db);
    return code;
}

lc_code lc_imports_start(lc_files *files, lc_imports **out, lc_err *err)
{
    lc_imports *imports = NULL;
    *out = NULL;
    LC_TRY(fail_interrupted(files, err));
    if (!files->options.import.is_allowed) {
        return LC_OK;
    }
    LC_TRY(lc_new((void **)&imports, 1, sizeof *imports, "imports", err));
    imports->files = files;
    imports->options = files->options.import;
    if (imports->options.max_bytes == 0) {
        imports->options.max_bytes = files->options.max_file_bytes;
    }
    if (imports->options.seconds == 0) {
        imports->options.seconds = LC_IMPORT_SECONDS;
    }
    (void)pthread_mutex_init(&imports->lock, NULL);
    (void)pthread_cond_init(&imports->moved, NULL);
    atomic_init(&imports->stops, false);
    if (pthread_create(&imports->thread, NULL, work, imports) != 0) {
        lc_free(imports);
        return lc_fail(err, LC_ERR_MEMORY, "no thread for imports");
    }
    *out = imports;
    return LC_OK;
}

void lc_imports_stop(lc_imports *imports)
{
    if (imports == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&imports->lock);
    atomic_store(&imports->stops, true);
    (void)pthread_cond_signal(&imports->moved);
    (void)pthread_mutex_unlock(&imports->lock);
    (void)pthread_join(imports->thread, NULL);
    while (imports->first != NULL) {
        lc_import *next = imports->first->next;
        lc_free(imports->first);
        imports->first = next;
    }
    (void)pthread_cond_destroy(&imports->moved);
    (void)pthread_mutex_destroy(&imports->lock);
    lc_free(imports);
}

/* ---- asking for one ---- */

static lc_code read_body(const lc_imports *imports, const cJSON *body, lc_file_wish *wish,
                         const char **url, lc_err *err)
{
    if (!cJSON_IsObject(body)) {
        return lc_fail(err, LC_ERR_INVALID, "the body must be a JSON object");
    }
    LC_TRY(lc_json_string(body, "purpose", true, &wish->purpose, err));
    LC_TRY(lc_json_string(body, "filename", true, &wish->filename, err));
    LC_TRY(lc_json_string(body, "content_url", true, url, err));
    LC_TRY(lc_expiry_of(body, &wish->expires_after, err));
    return lc_import_check_url(&imports->options, *url, err);
}

static lc_code insert(lc_files *files, const lc_file_row *row, lc_text *out, lc_err *err)
{
    lc_db *db = NULL;
    lc_code code;
    LC_TRY(lc_store_begin(files->store, &db, err));
    LC_TRY_GOTO(lc_files_check_quota(db, &files->options, row->owner, row->purpose, 0, err));
    LC_TRY_GOTO(lc_file_row_insert(db, row, err));
    LC_TRY_GOTO(lc_file_object(db, lc_store_dir(files->store), row->owner, row->id, out, err));
    return lc_store_commit(&db, err);
fail:
    lc_store_end(&db);
    return code;
}

/* A place in the queue; the caller holds the lock until the row is written. */
static lc_code enqueue(lc_imports *imports, lc_import *import, const lc_file_row *row, lc_text *out,
                       lc_err *err)
{
    lc_code code = LC_OK;
    (void)pthread_mutex_lock(&imports->lock);
    if (imports->count == LC_MAX_IMPORTS) {
        code = lc_fail(err, LC_ERR_BUSY, "%d imports are waiting, the most there may be",
                       LC_MAX_IMPORTS);
    } else {
        code = insert(imports->files, row, out, err);
    }
    if (code == LC_OK) {
        lc_import **last = &imports->first;
        while (*last != NULL) {
            last = &(*last)->next;
        }
        *last = import;
        imports->count++;
        (void)pthread_cond_signal(&imports->moved);
    }
    (void)pthread_mutex_unlock(&imports->lock);
    return code;
}

lc_code lc_files_import(lc_files *files, const char *owner, const cJSON *body, lc_text *out,
                        lc_err *err)
{
    lc_file_wish wish = {0};
    lc_file_name name;
    lc_import *import = NULL;
    const char *url = NULL;
    char filename[LC_MAX_FILENAME_BYTES + 1];
    if (files->imports == NULL) {
        return lc_fail_param(err, LC_ERR_UNSUPPORTED, "content_url",
                             "this service does not import files from URLs; its operator can "
                             "allow that");
    }
    LC_TRY(read_body(files->imports, body, &wish, &url, err));
    LC_TRY(lc_file_wish_check(&wish, filename, err));
    wish.filename = filename;
    LC_TRY(lc_file_name_new(files, &name, err));
    const lc_file_row row = lc_file_row_of(files, owner, &name, &wish, -1);
    LC_TRY(lc_new((void **)&import, 1, sizeof *import, "an import", err));
    (void)snprintf(import->id, sizeof import->id, "%s", name.id);
    (void)snprintf(import->owner, sizeof import->owner, "%s", owner);
    (void)snprintf(import->purpose, sizeof import->purpose, "%s", wish.purpose);
    (void)snprintf(import->url, sizeof import->url, "%s", url);
    const lc_code code = enqueue(files->imports, import, &row, out, err);
    if (code != LC_OK) {
        lc_free(import);
    }
    return code;
}

/* ---- the thread ---- */

static lc_code take(void *context, const char *bytes, size_t count, lc_err *err)
{
    return lc_draft_write(context, bytes, count, err);
}

/* The bytes are there: *is_used false when the file was deleted meanwhile. */
static lc_code note_bytes(lc_files *files, const lc_import *import, const lc_file_name *name,
                          int64_t bytes, bool *is_used, lc_err *err)
{
    const bool is_checked = strcmp(import->purpose, LC_FILE_PURPOSE_TRAINING) == 0;
    lc_db *db = NULL;
    lc_code code;
    LC_TRY(lc_store_begin(files->store, &db, err));
    LC_TRY_GOTO(lc_files_check_quota(db, &files->options, import->owner, NULL, bytes, err));
    LC_TRY_GOTO(
        lc_db_run(db,
                  "UPDATE files SET path = ?2, bytes = ?3, status = ?4"
                  " WHERE id = ?1 AND status = 'pending'",
                  LC_BIND(lc_sql_text(import->id), lc_sql_text(name->path), lc_sql_int(bytes),
                          lc_sql_text(is_checked ? LC_FILE_STATUS_PENDING : "processed")),
                  err));
    *is_used = lc_db_changes(db) > 0;
    return lc_store_commit(&db, err);
fail:
    lc_store_end(&db);
    return code;
}

static lc_code fetch(lc_imports *imports, const lc_import *import, lc_draft **draft, lc_err *err)
{
    LC_TRY(lc_draft_open(imports->files, imports->options.max_bytes, draft, err));
    const lc_import_sink sink = {take, *draft};
    LC_TRY(lc_import_fetch(&imports->options, import->url, &sink, &imports->stops, err));
    return lc_draft_bytes(*draft) > 0
               ? LC_OK
               : lc_fail_param(err, LC_ERR_INVALID, "content_url", "the file is empty");
}

static lc_code import_one(lc_imports *imports, const lc_import *import, lc_err *err)
{
    lc_files *files = imports->files;
    lc_draft *draft = NULL;
    lc_file_name name;
    bool is_used = false;
    const lc_code fetched = fetch(imports, import, &draft, err);
    if (fetched != LC_OK) {
        lc_draft_abort(draft);
        return fetched;
    }
    const int64_t bytes = lc_draft_bytes(draft);
    (void)snprintf(name.id, sizeof name.id, "%s", import->id);
    lc_file_path_of(name.id, name.path);
    lc_code code = lc_draft_keep(draft, name.path, err);
    LC_TRY(code);
    code = note_bytes(files, import, &name, bytes, &is_used, err);
    if (!is_used) {
        LC_TRY(lc_files_resolve(lc_store_dir(files->store), name.path, name.absolute, err));
        (void)unlink(name.absolute);
    }
    lc_files_poke(files);
    return code;
}

/* Words for the file's status_details; what is our own fault is in the log only. */
static const char *reason(const lc_err *err)
{
    switch (err->code) {
    case LC_ERR_INVALID:
    case LC_ERR_TOO_LARGE:
        return err->message;
    case LC_ERR_DISK_FULL:
        return "the service's disk is full";
    default:
        return "the import failed";
    }
}

static void note_failure(lc_files *files, const lc_import *import, const lc_err *why)
{
    lc_err err = {0};
    lc_db *db = NULL;
    lc_log(LC_LOG_WARN, "import of %s: %s", import->id, why->message);
    lc_code code = lc_store_begin(files->store, &db, &err);
    if (code == LC_OK) {
        code = lc_db_run(db,
                         "UPDATE files SET status = 'error', status_details = ?2"
                         " WHERE id = ?1 AND status = 'pending' AND path = ''",
                         LC_BIND(lc_sql_text(import->id), lc_sql_text(reason(why))), &err);
    }
    if (code == LC_OK) {
        code = lc_store_commit(&db, &err);
    }
    lc_store_end(&db);
    if (code != LC_OK) { /* the next start does it */
        lc_log(LC_LOG_ERROR, "import of %s: %s", import->id, err.message);
    }
}

/* The first of the queue stays in it while it is fetched; NULL: time to stop. */
static lc_import *wait_for_one(lc_imports *imports)
{
    (void)pthread_mutex_lock(&imports->lock);
    while (imports->first == NULL && !atomic_load(&imports->stops)) {
        (void)pthread_cond_wait(&imports->moved, &imports->lock);
    }
    lc_import *first = atomic_load(&imports->stops) ? NULL : imports->first;
    (void)pthread_mutex_unlock(&imports->lock);
    return first;
}

static void *work(void *context)
{
    lc_imports *imports = context;
    for (lc_import *import; (import = wait_for_one(imports)) != NULL;) {
        lc_err err = {0};
        const lc_code code = import_one(imports, import, &err);
        if (code != LC_OK && code != LC_ERR_INTERRUPTED) {
            note_failure(imports->files, import, &err);
        }
        (void)pthread_mutex_lock(&imports->lock);
        imports->first = import->next;
        imports->count--;
        (void)pthread_mutex_unlock(&imports->lock);
        lc_free(import);
    }
    return NULL;
}
