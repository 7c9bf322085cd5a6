/*
 * The table of files: objects, lists, deletion, quotas, expiry; see files.h and files_internal.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lorac/log.h"
#include "lorac/mem.h"
#include "serve/api_code.h"
#include "serve/files_internal.h"

#define MAX_SWEPT 64 /* files whose bytes go in one transaction */

/* In the order of the enumeration. */
#define COLUMNS "id, bytes, created_at, filename, purpose, status, status_details, expires_at, path"
enum { ID, BYTES, CREATED_AT, FILENAME, PURPOSE, STATUS, STATUS_DETAILS, EXPIRES_AT, PATH };

void lc_file_path_of(const char *id, char out[LC_FILE_PATH_BYTES])
{
    (void)snprintf(out, LC_FILE_PATH_BYTES, "files/%s", id);
}

lc_code lc_files_resolve(const char *data_dir, const char *path, char out[LC_MAX_PATH_BYTES],
                         lc_err *err)
{
    return lc_path_join(data_dir, path, out, err);
}

/* ---- objects ---- */

/* -1: not known. */
static int64_t bytes_of(const lc_rows *rows, const char *data_dir)
{
    char path[LC_MAX_PATH_BYTES];
    struct stat status;
    if (!lc_rows_is_null(rows, BYTES)) {
        return lc_rows_int(rows, BYTES);
    }
    if (lc_rows_text(rows, PATH)[0] == '\0') {
        return -1;
    }
    const bool is_there =
        lc_files_resolve(data_dir, lc_rows_text(rows, PATH), path, NULL) == LC_OK &&
        stat(path, &status) == 0;
    return is_there ? (int64_t)status.st_size : 0;
}

static void write_object(const lc_rows *rows, const char *data_dir, lc_text *out)
{
    lc_text_addf(out, "{\"id\": \"%s\", \"object\": \"file\"", lc_rows_text(rows, ID));
    lc_json_add_int(out, "bytes", bytes_of(rows, data_dir));
    lc_json_add_int(out, "created_at", lc_rows_int(rows, CREATED_AT));
    lc_json_add_text(out, "filename", lc_rows_text(rows, FILENAME));
    lc_json_add_text(out, "purpose", lc_rows_text(rows, PURPOSE));
    lc_json_add_text(out, "status", lc_rows_text(rows, STATUS));
    lc_json_add_text(out, "status_details", lc_rows_text(rows, STATUS_DETAILS));
    lc_json_add_int(out, "expires_at",
                    lc_rows_is_null(rows, EXPIRES_AT) ? -1 : lc_rows_int(rows, EXPIRES_AT));
    lc_text_addf(out, "}");
}

static lc_code fail_absent(const char *id, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_NOT_FOUND, "file_id", "there is no file \"%.64s\"", id);
}

/* The row of a file that is not deleted; rows must be ended if this is LC_OK. */
static lc_code find(lc_db *db, const char *owner, const char *id, lc_rows *rows, lc_err *err)
{
    if (!lc_id_is(id, LC_PREFIX_FILE)) {
        return fail_absent(id, err);
    }
    LC_TRY(lc_db_query(db,
                       "SELECT " COLUMNS " FROM files"
                       " WHERE id = ?1 AND owner = ?2 AND status != 'deleted'",
                       LC_BIND(lc_sql_text(id), lc_sql_text(owner)), rows, err));
    if (!lc_rows_next(rows)) {
        LC_TRY(lc_rows_end(rows, err));
        return fail_absent(id, err);
    }
    return LC_OK;
}

lc_code lc_file_object(lc_db *db, const char *data_dir, const char *owner, const char *id,
                       lc_text *out, lc_err *err)
{
    lc_rows rows;
    LC_TRY(find(db, owner, id, &rows, err));
    write_object(&rows, data_dir, out);
    LC_TRY(lc_rows_end(&rows, err));
    return lc_text_finish(out, "a file object", err);
}

lc_code lc_files_get(lc_files *files, const char *owner, const char *id, lc_text *out, lc_err *err)
{
    lc_db *db = NULL;
    LC_TRY(lc_store_read(files->store, &db, err));
    const lc_code code = lc_file_object(db, lc_store_dir(files->store), owner, id, out, err);
    lc_store_end(&db);
    return code;
}

/* ---- lists ---- */

/* Where the list goes on: the cursor may be a file that was deleted since. */
static lc_code find_cursor(lc_db *db, const char *owner, const lc_page *page, int64_t *seq,
                           lc_err *err)
{
    lc_rows rows;
    *seq = page->ascending ? 0 : INT64_MAX;
    if (page->after == NULL) {
        return LC_OK;
    }
    LC_TRY(lc_db_query(db, "SELECT seq FROM files WHERE id = ?1 AND owner = ?2",
                       LC_BIND(lc_sql_text(page->after), lc_sql_text(owner)), &rows, err));
    const bool is_known = lc_rows_next(&rows);
    *seq = is_known ? lc_rows_int(&rows, 0) : 0;
    LC_TRY(lc_rows_end(&rows, err));
    return is_known ? LC_OK
                    : lc_fail_param(err, LC_ERR_INVALID, "after", "there is no file \"%.64s\"",
                                    page->after);
}

static lc_code list(lc_db *db, const char *data_dir, const char *owner, const char *purpose,
                    const lc_page *page, lc_text *out, lc_err *err)
{
    static const char newest_first[] =
        "SELECT " COLUMNS " FROM files WHERE owner = ?1 AND seq < ?2 AND status != 'deleted'"
        " AND (?3 IS NULL OR purpose = ?3) ORDER BY seq DESC LIMIT ?4";
    static const char oldest_first[] =
        "SELECT " COLUMNS " FROM files WHERE owner = ?1 AND seq > ?2 AND status != 'deleted'"
        " AND (?3 IS NULL OR purpose = ?3) ORDER BY seq LIMIT ?4";
    int64_t seq = 0;
    lc_rows rows;
    lc_list items;
    LC_TRY(find_cursor(db, owner, page, &seq, err));
    LC_TRY(lc_db_query(db, page->ascending ? oldest_first : newest_first,
                       LC_BIND(lc_sql_text(owner), lc_sql_int(seq), lc_sql_text(purpose),
                               lc_sql_int(page->limit + 1)),
                       &rows, err));
    lc_list_begin(&items, page, out);
    while (lc_rows_next(&rows) && lc_list_next(&items, lc_rows_text(&rows, ID))) {
        write_object(&rows, data_dir, out);
    }
    LC_TRY(lc_rows_end(&rows, err));
    lc_list_end(&items);
    return lc_text_finish(out, "a list of files", err);
}

lc_code lc_files_list(lc_files *files, const char *owner, const char *purpose, const lc_page *page,
                      lc_text *out, lc_err *err)
{
    lc_db *db = NULL;
    if (page->limit < 1 || page->limit > LC_MAX_FILE_LIST) {
        return lc_fail_param(err, LC_ERR_INVALID, "limit", "limit must be from 1 to %d",
                             LC_MAX_FILE_LIST);
    }
    LC_TRY(lc_store_read(files->store, &db, err));
    const lc_code code = list(db, lc_store_dir(files->store), owner, purpose, page, out, err);
    lc_store_end(&db);
    return code;
}

/* ---- bytes ---- */

lc_code lc_files_content(lc_files *files, const char *owner, const char *id,
                         char path[LC_MAX_PATH_BYTES], char filename[LC_MAX_FILENAME_BYTES + 1],
                         lc_err *err)
{
    lc_db *db = NULL;
    lc_rows rows;
    LC_TRY(lc_store_read(files->store, &db, err));
    lc_code code = find(db, owner, id, &rows, err);
    if (code == LC_OK) {
        const char *stored = lc_rows_text(&rows, PATH);
        lc_rows_copy(&rows, FILENAME, filename, LC_MAX_FILENAME_BYTES + 1);
        code = stored[0] != '\0'
                   ? lc_files_resolve(lc_store_dir(files->store), stored, path, err)
                   : lc_fail_param(err, LC_ERR_STATE, "file_id", "the file has no content%s",
                                   strcmp(lc_rows_text(&rows, STATUS), LC_FILE_STATUS_PENDING) == 0
                                       ? " yet"
                                       : "");
        const lc_code ended = lc_rows_end(&rows, err);
        code = code != LC_OK ? code : ended;
    }
    lc_store_end(&db);
    return code;
}

static lc_code check_use(const lc_rows *rows, const char *purpose, const char *param, lc_err *err)
{
    const char *status = lc_rows_text(rows, STATUS);
    const char *details = lc_rows_text(rows, STATUS_DETAILS);
    if (strcmp(lc_rows_text(rows, PURPOSE), purpose) != 0) {
        return lc_fail_param(err, LC_ERR_INVALID, param,
                             "file \"%s\" has the purpose %s, it must be %s",
                             lc_rows_text(rows, ID), lc_rows_text(rows, PURPOSE), purpose);
    }
    if (strcmp(status, "error") == 0) {
        (void)lc_fail_param(err, LC_ERR_INVALID, param, "file \"%s\" has errors: %s",
                            lc_rows_text(rows, ID), details != NULL ? details : "");
        return lc_err_api_code(err, lc_rows_text(rows, PATH)[0] == '\0' ? LC_API_IMPORT_FAILED
                                                                        : LC_API_BAD_FILE);
    }
    if (lc_rows_text(rows, PATH)[0] == '\0') {
        return lc_fail_param(err, LC_ERR_STATE, param, "file \"%s\" is not there yet",
                             lc_rows_text(rows, ID));
    }
    return LC_OK;
}

lc_code lc_files_find(lc_db *db, const char *data_dir, const char *owner, const char *id,
                      const char *purpose, const char *param, char path[LC_MAX_PATH_BYTES],
                      lc_err *err)
{
    lc_rows rows;
    lc_code code = find(db, owner, id, &rows, err);
    if (code == LC_ERR_NOT_FOUND) { /* it is the job that is wrong */
        lc_err_clear(err);
        return lc_fail_param(err, LC_ERR_INVALID, param, "%s: there is no file \"%.64s\"", param,
                             id);
    }
    LC_TRY(code);
    code = check_use(&rows, purpose, param, err);
    if (code == LC_OK) {
        code = lc_files_resolve(data_dir, lc_rows_text(&rows, PATH), path, err);
    }
    const lc_code ended = lc_rows_end(&rows, err);
    return code != LC_OK ? code : ended;
}

lc_code lc_files_path(lc_store *store, const char *owner, const char *id, const char *purpose,
                      const char *param, char path[LC_MAX_PATH_BYTES], lc_err *err)
{
    lc_db *db = NULL;
    LC_TRY(lc_store_read(store, &db, err));
    const lc_code code =
        lc_files_find(db, lc_store_dir(store), owner, id, purpose, param, path, err);
    lc_store_end(&db);
    return code;
}

/* ---- creating and deleting ---- */

static lc_code sum_of_owner(lc_db *db, const char *owner, int64_t *training_files, int64_t *bytes,
                            lc_err *err)
{
    lc_rows rows;
    *training_files = *bytes = 0;
    LC_TRY(lc_db_query(db,
                       "SELECT (SELECT count(*) FROM files WHERE owner = ?1"
                       "  AND status != 'deleted' AND purpose = '" LC_FILE_PURPOSE_TRAINING "'),"
                       " (SELECT coalesce(sum(bytes), 0) FROM files WHERE owner = ?1"
                       "  AND status != 'deleted')"
                       " + (SELECT coalesce(sum(p.bytes), 0) FROM upload_parts p"
                       "  JOIN uploads u ON u.id = p.upload_id WHERE u.owner = ?1)",
                       LC_BIND(lc_sql_text(owner)), &rows, err));
    if (lc_rows_next(&rows)) {
        *training_files = lc_rows_int(&rows, 0);
        *bytes = lc_rows_int(&rows, 1);
    }
    return lc_rows_end(&rows, err);
}

lc_code lc_files_check_quota(lc_db *db, const lc_files_options *options, const char *owner,
                             const char *purpose, int64_t bytes, lc_err *err)
{
    int64_t training_files = 0, used = 0;
    LC_TRY(sum_of_owner(db, owner, &training_files, &used, err));
    if (purpose != NULL && strcmp(purpose, LC_FILE_PURPOSE_TRAINING) == 0 &&
        training_files >= options->max_training_files) {
        (void)lc_fail_param(err, LC_ERR_INVALID, "file",
                            "there are %" PRId64 " files with purpose fine-tune already, the most "
                            "there may be: delete some",
                            training_files);
        return lc_err_api_code(err, LC_API_QUOTA);
    }
    if (options->max_owner_bytes > 0 && bytes > options->max_owner_bytes - used) {
        (void)lc_fail_param(err, LC_ERR_TOO_LARGE, "file",
                            "all files together would have more than %" PRId64
                            " bytes: delete some",
                            options->max_owner_bytes);
        return lc_err_api_code(err, LC_API_QUOTA);
    }
    return LC_OK;
}

lc_code lc_file_row_insert(lc_db *db, const lc_file_row *row, lc_err *err)
{
    return lc_db_run(db,
                     "INSERT INTO files (id, owner, filename, purpose, bytes, created_at,"
                     " expires_at, status, path) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                     LC_BIND(lc_sql_text(row->id), lc_sql_text(row->owner),
                             lc_sql_text(row->filename), lc_sql_text(row->purpose),
                             lc_sql_int_or_null(row->bytes), lc_sql_int(row->created_at),
                             lc_sql_int_or_null(row->expires_at), lc_sql_text(row->status),
                             lc_sql_text(row->path)),
                     err);
}

lc_code lc_files_delete(lc_files *files, const char *owner, const char *id, lc_text *out,
                        lc_err *err)
{
    lc_db *db = NULL;
    LC_TRY(lc_store_begin(files->store, &db, err));
    lc_code code = lc_db_run(
        db,
        "UPDATE files SET status = 'deleted', expires_at = ?3"
        " WHERE id = ?1 AND owner = ?2 AND status != 'deleted'",
        LC_BIND(lc_sql_text(id), lc_sql_text(owner), lc_sql_int(lc_files_now(files))), err);
    if (code == LC_OK && lc_db_changes(db) == 0) {
        code = fail_absent(id, err);
    }
    if (code == LC_OK) {
        code = lc_store_commit(&db, err);
    }
    lc_store_end(&db);
    LC_TRY(code);
    lc_files_poke(files);
    lc_text_addf(out, "{\"id\": \"%s\", \"object\": \"file\", \"deleted\": true}", id);
    return lc_text_finish(out, "an answer", err);
}

/* ---- sweeping ---- */

static lc_code mark_expired(lc_db *db, int64_t now, lc_err *err)
{
    return lc_db_run(db,
                     "UPDATE files SET status = 'deleted'"
                     " WHERE status != 'deleted' AND expires_at <= ?1",
                     LC_BIND(lc_sql_int(now)), err);
}

/* Deleted files lose their path; what it named can go then. */
static lc_code release_bytes(lc_db *db, char (*paths)[LC_FILE_PATH_BYTES], int *count, lc_err *err)
{
    lc_rows rows;
    *count = 0;
    LC_TRY(lc_db_query(db,
                       "SELECT path FROM files WHERE status = 'deleted' AND path LIKE 'files/%'"
                       " LIMIT ?1",
                       LC_BIND(lc_sql_int(MAX_SWEPT)), &rows, err));
    while (lc_rows_next(&rows)) {
        lc_rows_copy(&rows, 0, paths[(*count)++], LC_FILE_PATH_BYTES);
    }
    LC_TRY(lc_rows_end(&rows, err));
    for (int i = 0; i < *count; i++) {
        LC_TRY(lc_db_run(db, "UPDATE files SET path = '' WHERE path = ?1",
                         LC_BIND(lc_sql_text(paths[i])), err));
    }
    return LC_OK;
}

/* A row whose bytes are not ours to remove (a job's results) is done as well. */
static lc_code forget_rows(lc_db *db, int64_t now, lc_err *err)
{
    return lc_db_run(db,
                     "DELETE FROM files WHERE status = 'deleted' AND path NOT LIKE 'files/%'"
                     " AND expires_at <= ?1",
                     LC_BIND(lc_sql_int(now - LC_FILE_TOMBSTONE_SECONDS)), err);
}

static lc_code sweep_some(lc_files *files, int *count, lc_err *err)
{
    char paths[MAX_SWEPT][LC_FILE_PATH_BYTES];
    char path[LC_MAX_PATH_BYTES];
    const int64_t now = lc_files_now(files);
    int64_t expired_uploads = 0;
    lc_db *db = NULL;
    lc_code code;
    LC_TRY(lc_store_begin(files->store, &db, err));
    LC_TRY_GOTO(mark_expired(db, now, err));
    LC_TRY_GOTO(release_bytes(db, paths, count, err));
    LC_TRY_GOTO(forget_rows(db, now, err));
    LC_TRY_GOTO(lc_uploads_expire(db, now, &expired_uploads, err));
    LC_TRY_GOTO(lc_store_commit(&db, err));
    for (int i = 0; i < *count; i++) { /* after a kill here lc_files_clean does it */
        LC_TRY(lc_files_resolve(lc_store_dir(files->store), paths[i], path, err));
        if (unlink(path) != 0) {
            lc_log(LC_LOG_WARN, "%s could not be removed", path);
        }
    }
    return expired_uploads > 0 ? lc_uploads_clean(files, err) : LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

lc_code lc_files_sweep(lc_files *files, lc_err *err)
{
    int count = 0;
    do {
        LC_TRY(sweep_some(files, &count, err));
    } while (count == MAX_SWEPT);
    return LC_OK;
}

static lc_code is_known(lc_db *db, const char *path, bool *is_there, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db, "SELECT 1 FROM files WHERE id = substr(?1, 7) AND path = ?1",
                       LC_BIND(lc_sql_text(path)), &rows, err));
    *is_there = lc_rows_next(&rows);
    return lc_rows_end(&rows, err);
}

/* Removes what looks like a file's bytes and belongs to no row. */
static lc_code clean_file(lc_files *files, lc_db *db, const char *name, lc_err *err)
{
    char relative[LC_FILE_PATH_BYTES], path[LC_MAX_PATH_BYTES];
    bool is_there = false;
    if (!lc_id_is(name, LC_PREFIX_FILE)) {
        return LC_OK;
    }
    lc_file_path_of(name, relative);
    LC_TRY(is_known(db, relative, &is_there, err));
    LC_TRY(lc_files_resolve(lc_store_dir(files->store), relative, path, err));
    if (!is_there && unlink(path) != 0) {
        lc_log(LC_LOG_WARN, "%s could not be removed", path);
    }
    return LC_OK;
}

static lc_code clean_tmp(lc_files *files, lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    LC_TRY(lc_list_dir(files->tmp_dir, &names, &count, err));
    lc_code code = LC_OK;
    for (size_t i = 0; i < count && code == LC_OK; i++) {
        char path[LC_MAX_PATH_BYTES];
        code = lc_path_join(files->tmp_dir, names[i], path, err);
        if (code == LC_OK && lc_id_is(names[i], LC_PREFIX_FILE)) {
            (void)unlink(path);
        }
    }
    lc_list_free(names, count);
    return code;
}

lc_code lc_files_clean(lc_files *files, lc_err *err)
{
    char dir[LC_MAX_PATH_BYTES];
    char **names = NULL;
    size_t count = 0;
    lc_db *db = NULL;
    LC_TRY(clean_tmp(files, err));
    LC_TRY(lc_path_join(lc_store_dir(files->store), "files", dir, err));
    LC_TRY(lc_list_dir(dir, &names, &count, err));
    lc_code code = lc_store_read(files->store, &db, err);
    for (size_t i = 0; i < count && code == LC_OK; i++) {
        code = clean_file(files, db, names[i], err);
    }
    lc_store_end(&db);
    lc_list_free(names, count);
    return code;
}
