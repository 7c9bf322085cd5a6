/*
 * Uploads in parts; see uploads.h. Status in the store: pending, completing (shown as pending: its
 * parts are being joined), completed, cancelled, expired.
 */
#include "serve/uploads.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "lorac/log.h"
#include "lorac/mem.h"
#include "serve/api_code.h"
#include "serve/files_internal.h"
#include "serve/md5.h"

#define COPY_BYTES ((size_t)1 << 20)

typedef struct lc_upload {
    char id[LC_ID_BYTES], owner[LC_ID_BYTES];
    char filename[LC_MAX_FILENAME_BYTES + 1], purpose[40];
    char status[16];
    int64_t bytes, created_at, expires_at;
    int64_t file_expires_after; /* -1: never */
    char file_id[LC_ID_BYTES];  /* "": none */
} lc_upload;

static lc_code fail_absent(const char *id, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_NOT_FOUND, "upload_id", "there is no upload \"%.64s\"", id);
}

static lc_code find(lc_db *db, const char *owner, const char *id, lc_upload *out, lc_err *err)
{
    lc_rows rows;
    if (!lc_id_is(id, LC_PREFIX_UPLOAD)) {
        return fail_absent(id, err);
    }
    LC_TRY(lc_db_query(db,
                       "SELECT id, owner, filename, purpose, status, bytes, created_at, expires_at,"
                       " coalesce(file_expires_after, -1), file_id FROM uploads"
                       " WHERE id = ?1 AND owner = ?2",
                       LC_BIND(lc_sql_text(id), lc_sql_text(owner)), &rows, err));
    const bool is_found = lc_rows_next(&rows);
    if (is_found) {
        lc_rows_copy(&rows, 0, out->id, sizeof out->id);
        lc_rows_copy(&rows, 1, out->owner, sizeof out->owner);
        lc_rows_copy(&rows, 2, out->filename, sizeof out->filename);
        lc_rows_copy(&rows, 3, out->purpose, sizeof out->purpose);
        lc_rows_copy(&rows, 4, out->status, sizeof out->status);
        out->bytes = lc_rows_int(&rows, 5);
        out->created_at = lc_rows_int(&rows, 6);
        out->expires_at = lc_rows_int(&rows, 7);
        out->file_expires_after = lc_rows_int(&rows, 8);
        lc_rows_copy(&rows, 9, out->file_id, sizeof out->file_id);
    }
    LC_TRY(lc_rows_end(&rows, err));
    return is_found ? LC_OK : fail_absent(id, err);
}

static lc_code write_object(lc_db *db, const char *data_dir, const char *owner, const char *id,
                            lc_text *out, lc_err *err)
{
    lc_upload upload;
    lc_text file;
    LC_TRY(find(db, owner, id, &upload, err));
    lc_text_init(&file);
    lc_code code = LC_OK;
    if (upload.file_id[0] != '\0') {
        code = lc_file_object(db, data_dir, owner, upload.file_id, &file, err);
    }
    const char *status = strcmp(upload.status, "completing") == 0 ? "pending" : upload.status;
    lc_text_addf(out, "{\"id\": \"%s\", \"object\": \"upload\"", upload.id);
    lc_json_add_int(out, "bytes", upload.bytes);
    lc_json_add_int(out, "created_at", upload.created_at);
    lc_json_add_int(out, "expires_at", upload.expires_at);
    lc_json_add_text(out, "filename", upload.filename);
    lc_json_add_text(out, "purpose", upload.purpose);
    lc_json_add_text(out, "status", status);
    lc_json_add_raw(out, "file", code == LC_OK ? file.data : NULL);
    lc_text_addf(out, "}");
    lc_text_release(&file);
    LC_TRY(code);
    return lc_text_finish(out, "an upload object", err);
}

/* ---- creating ---- */

static lc_code read_create(const cJSON *body, lc_file_wish *wish, const char **mime_type,
                           int64_t *bytes, lc_err *err)
{
    char filename[LC_MAX_FILENAME_BYTES + 1];
    *mime_type = "application/octet-stream";
    if (!cJSON_IsObject(body)) {
        return lc_fail(err, LC_ERR_INVALID, "the body must be a JSON object");
    }
    LC_TRY(lc_json_string(body, "filename", true, &wish->filename, err));
    LC_TRY(lc_json_string(body, "purpose", true, &wish->purpose, err));
    LC_TRY(lc_json_string(body, "mime_type", false, mime_type, err));
    LC_TRY(lc_json_int(body, "bytes", true, 1, LC_MAX_UPLOAD_BYTES, bytes, err));
    LC_TRY(lc_expiry_of(body, &wish->expires_after, err));
    if (strlen(*mime_type) > LC_MAX_MIME_TYPE_BYTES) {
        return lc_fail_param(err, LC_ERR_INVALID, "mime_type", "mime_type has more than %d bytes",
                             LC_MAX_MIME_TYPE_BYTES);
    }
    return lc_file_wish_check(wish, filename, err);
}

static lc_code check_open_uploads(lc_db *db, const char *owner, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db,
                       "SELECT count(*) FROM uploads WHERE owner = ?1"
                       " AND status IN ('pending', 'completing')",
                       LC_BIND(lc_sql_text(owner)), &rows, err));
    const int64_t count = lc_rows_next(&rows) ? lc_rows_int(&rows, 0) : 0;
    LC_TRY(lc_rows_end(&rows, err));
    if (count < LC_MAX_OPEN_UPLOADS) {
        return LC_OK;
    }
    (void)lc_fail(err, LC_ERR_INVALID,
                  "%d uploads are under way, the most there may be: complete or cancel one",
                  LC_MAX_OPEN_UPLOADS);
    return lc_err_api_code(err, LC_API_QUOTA);
}

static lc_code insert(lc_db *db, const lc_files *files, const lc_upload *upload,
                      const char *mime_type, lc_err *err)
{
    LC_TRY(check_open_uploads(db, upload->owner, err));
    LC_TRY(lc_files_check_quota(db, &files->options, upload->owner, upload->purpose, upload->bytes,
                                err));
    return lc_db_run(db,
                     "INSERT INTO uploads (id, owner, filename, purpose, mime_type, bytes,"
                     " created_at, expires_at, file_expires_after, status)"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'pending')",
                     LC_BIND(lc_sql_text(upload->id), lc_sql_text(upload->owner),
                             lc_sql_text(upload->filename), lc_sql_text(upload->purpose),
                             lc_sql_text(mime_type), lc_sql_int(upload->bytes),
                             lc_sql_int(upload->created_at), lc_sql_int(upload->expires_at),
                             lc_sql_int_or_null(upload->file_expires_after)),
                     err);
}

/* DATA/uploads/ID, or a part in it. */
static lc_code path_of(const lc_files *files, const char *upload_id, const char *part_id,
                       char out[LC_MAX_PATH_BYTES], lc_err *err)
{
    char relative[2 * LC_ID_BYTES + 16];
    (void)snprintf(relative, sizeof relative, "uploads/%s%s%s", upload_id,
                   part_id != NULL ? "/" : "", part_id != NULL ? part_id : "");
    return lc_files_resolve(lc_store_dir(files->store), relative, out, err);
}

lc_code lc_uploads_create(lc_files *files, const char *owner, const cJSON *body, lc_text *out,
                          lc_err *err)
{
    lc_file_wish wish = {0};
    lc_upload upload = {.created_at = lc_files_now(files)};
    const char *mime_type = NULL;
    char dir[LC_MAX_PATH_BYTES];
    lc_db *db = NULL;
    lc_code code;
    LC_TRY(read_create(body, &wish, &mime_type, &upload.bytes, err));
    LC_TRY(lc_file_wish_check(&wish, upload.filename, err));
    LC_TRY(lc_id_new(LC_PREFIX_UPLOAD, upload.id, err));
    (void)snprintf(upload.owner, sizeof upload.owner, "%s", owner);
    (void)snprintf(upload.purpose, sizeof upload.purpose, "%s", wish.purpose);
    upload.expires_at = upload.created_at + LC_UPLOAD_SECONDS;
    upload.file_expires_after = wish.expires_after;
    LC_TRY(path_of(files, upload.id, NULL, dir, err));
    LC_TRY(lc_store_begin(files->store, &db, err));
    LC_TRY_GOTO(lc_mkdir(dir, err)); /* within the transaction: see lc_uploads_clean */
    LC_TRY_GOTO(insert(db, files, &upload, mime_type, err));
    LC_TRY_GOTO(write_object(db, lc_store_dir(files->store), owner, upload.id, out, err));
    LC_TRY_GOTO(lc_store_commit(&db, err));
    return LC_OK;
fail:
    lc_store_end(&db);
    (void)rmdir(dir);
    return code;
}

/* ---- parts ---- */

static lc_code check_open(const lc_files *files, const lc_upload *upload, lc_err *err)
{
    if (strcmp(upload->status, "pending") == 0 && upload->expires_at > lc_files_now(files)) {
        return LC_OK;
    }
    const bool has_expired = strcmp(upload->status, "pending") == 0;
    return lc_fail(err, LC_ERR_STATE, "the upload is %s", has_expired ? "expired" : upload->status);
}

static lc_code count_parts(lc_db *db, const lc_upload *upload, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db, "SELECT count(*) FROM upload_parts WHERE upload_id = ?1",
                       LC_BIND(lc_sql_text(upload->id)), &rows, err));
    const int64_t count = lc_rows_next(&rows) ? lc_rows_int(&rows, 0) : 0;
    LC_TRY(lc_rows_end(&rows, err));
    return count < LC_MAX_UPLOAD_PARTS
               ? LC_OK
               : lc_fail(err, LC_ERR_TOO_LARGE, "the upload has %d parts, the most there may be",
                         LC_MAX_UPLOAD_PARTS);
}

static lc_code find_open(const lc_files *files, lc_db *db, const char *owner, const char *id,
                         lc_upload *upload, lc_err *err)
{
    LC_TRY(find(db, owner, id, upload, err));
    LC_TRY(check_open(files, upload, err));
    return count_parts(db, upload, err);
}

lc_code lc_part_form_open(lc_files *files, const char *owner, const char *upload_id,
                          const char *content_type, lc_form **out, lc_err *err)
{
    static const char *const fields[] = {NULL};
    lc_form_options options = {
        .file_field = "data", .max_bytes = LC_MAX_UPLOAD_PART_BYTES, .fields = fields};
    lc_upload upload;
    lc_db *db = NULL;
    LC_TRY(lc_store_read(files->store, &db, err));
    const lc_code code = find_open(files, db, owner, upload_id, &upload, err);
    lc_store_end(&db);
    LC_TRY(code);
    if (upload.bytes < options.max_bytes) {
        options.max_bytes = upload.bytes;
    }
    return lc_form_open(files, content_type, &options, out, err);
}

static lc_code insert_part(lc_files *files, const char *owner, const char *upload_id,
                           const char *part_id, int64_t bytes, lc_err *err)
{
    lc_upload upload;
    lc_db *db = NULL;
    lc_code code;
    LC_TRY(lc_store_begin(files->store, &db, err));
    LC_TRY_GOTO(find_open(files, db, owner, upload_id, &upload, err));
    LC_TRY_GOTO(lc_files_check_quota(db, &files->options, owner, NULL, bytes, err));
    LC_TRY_GOTO(lc_db_run(db,
                          "INSERT INTO upload_parts (id, upload_id, bytes, created_at)"
                          " VALUES (?1, ?2, ?3, ?4)",
                          LC_BIND(lc_sql_text(part_id), lc_sql_text(upload_id), lc_sql_int(bytes),
                                  lc_sql_int(lc_files_now(files))),
                          err));
    LC_TRY_GOTO(lc_store_commit(&db, err));
    return LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

lc_code lc_part_form_add(lc_files *files, const char *owner, const char *upload_id, lc_form *form,
                         lc_text *out, lc_err *err)
{
    char part_id[LC_ID_BYTES], relative[2 * LC_ID_BYTES + 16], path[LC_MAX_PATH_BYTES];
    LC_TRY(lc_form_finish(form, err));
    LC_TRY(lc_id_new(LC_PREFIX_PART, part_id, err));
    LC_TRY(path_of(files, upload_id, part_id, path, err));
    (void)snprintf(relative, sizeof relative, "uploads/%s/%s", upload_id, part_id);
    lc_draft *draft = lc_form_take_draft(form);
    const int64_t bytes = lc_draft_bytes(draft);
    if (bytes == 0) {
        lc_draft_abort(draft);
        return lc_fail_param(err, LC_ERR_INVALID, "data", "the part is empty");
    }
    const int64_t now = lc_files_now(files);
    lc_code code = lc_draft_keep(draft, relative, err);
    if (code == LC_ERR_NOT_FOUND) { /* its folder: cancelled meanwhile */
        lc_err_clear(err);
        return lc_fail(err, LC_ERR_STATE, "the upload has ended");
    }
    LC_TRY(code);
    code = insert_part(files, owner, upload_id, part_id, bytes, err);
    if (code != LC_OK) {
        (void)unlink(path);
        return code;
    }
    lc_text_addf(out, "{\"id\": \"%s\", \"object\": \"upload.part\", \"created_at\": %" PRId64,
                 part_id, now);
    lc_text_addf(out, ", \"upload_id\": \"%s\", \"azure_block_id\": \"%s\"}", upload_id, part_id);
    return lc_text_finish(out, "an upload part", err);
}

/* ---- completing ---- */

typedef struct lc_joining {
    lc_files *files;
    lc_upload upload;
    const cJSON *part_ids; /* borrowed */
    const char *md5;       /* borrowed; NULL: none was sent */
    lc_draft *draft;       /* owned */
    lc_md5 hash;
} lc_joining;

static lc_code fail_part(const char *id, const char *what, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_INVALID, "part_ids", "part \"%.64s\" %s", id, what);
}

/* Every part once, all of this upload, and together as many bytes as announced. */
static lc_code check_parts(lc_db *db, const lc_joining *j, lc_err *err)
{
    const cJSON *item, *other;
    int64_t bytes = 0;
    cJSON_ArrayForEach(item, j->part_ids)
    {
        lc_rows rows;
        if (!cJSON_IsString(item)) {
            return lc_fail_param(err, LC_ERR_INVALID, "part_ids",
                                 "part_ids must be a list of strings");
        }
        for (other = j->part_ids->child; other != item; other = other->next) {
            if (strcmp(other->valuestring, item->valuestring) == 0) {
                return fail_part(item->valuestring, "is named twice", err);
            }
        }
        LC_TRY(lc_db_query(db, "SELECT bytes FROM upload_parts WHERE id = ?1 AND upload_id = ?2",
                           LC_BIND(lc_sql_text(item->valuestring), lc_sql_text(j->upload.id)),
                           &rows, err));
        const bool is_there = lc_rows_next(&rows);
        bytes += is_there ? lc_rows_int(&rows, 0) : 0;
        LC_TRY(lc_rows_end(&rows, err));
        if (!is_there) {
            return fail_part(item->valuestring, "is not of this upload", err);
        }
    }
    if (bytes != j->upload.bytes) {
        return lc_fail_param(err, LC_ERR_INVALID, "part_ids",
                             "the parts have %" PRId64 " bytes together, %" PRId64
                             " were announced",
                             bytes, j->upload.bytes);
    }
    return LC_OK;
}

static lc_code set_status(lc_db *db, const char *id, const char *status, lc_err *err)
{
    return lc_db_run(db, "UPDATE uploads SET status = ?2 WHERE id = ?1",
                     LC_BIND(lc_sql_text(id), lc_sql_text(status)), err);
}

/* From here on nobody adds parts, completes or cancels it. */
static lc_code claim(lc_joining *j, const char *owner, const char *upload_id, lc_err *err)
{
    lc_db *db = NULL;
    lc_code code;
    LC_TRY(lc_store_begin(j->files->store, &db, err));
    LC_TRY_GOTO(find(db, owner, upload_id, &j->upload, err));
    LC_TRY_GOTO(check_open(j->files, &j->upload, err));
    LC_TRY_GOTO(check_parts(db, j, err));
    LC_TRY_GOTO(set_status(db, upload_id, "completing", err));
    LC_TRY_GOTO(lc_store_commit(&db, err));
    return LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

static lc_code add_part(lc_joining *j, const char *part_id, char *buffer, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    lc_reader reader;
    LC_TRY(path_of(j->files, j->upload.id, part_id, path, err));
    LC_TRY(lc_reader_open(path, &reader, err));
    lc_code code = LC_OK;
    for (int64_t at = 0; at < reader.bytes && code == LC_OK; at += (int64_t)COPY_BYTES) {
        const int64_t left = reader.bytes - at;
        const size_t count = left < (int64_t)COPY_BYTES ? (size_t)left : COPY_BYTES;
        code = lc_reader_read(&reader, at, buffer, count, err);
        if (code == LC_OK) {
            lc_md5_update(&j->hash, buffer, count);
            code = lc_draft_write(j->draft, buffer, count, err);
        }
    }
    lc_reader_close(&reader);
    return code;
}

static lc_code check_md5(lc_joining *j, lc_err *err)
{
    uint8_t digest[16];
    char shown[33];
    lc_md5_final(&j->hash, digest);
    for (int i = 0; i < 16; i++) {
        (void)snprintf(shown + (size_t)2 * (size_t)i, 3, "%02x", digest[i]);
    }
    if (j->md5 != NULL && strcasecmp(j->md5, shown) != 0) {
        return lc_fail_param(err, LC_ERR_INVALID, "md5",
                             "the md5 of the bytes is %s, not \"%.40s\"", shown, j->md5);
    }
    return LC_OK;
}

static lc_code join_parts(lc_joining *j, lc_err *err)
{
    const cJSON *item;
    char *buffer = NULL;
    LC_TRY(lc_new((void **)&buffer, COPY_BYTES, 1, "a copy buffer", err));
    lc_code code = lc_draft_open(j->files, j->upload.bytes, &j->draft, err);
    lc_md5_init(&j->hash);
    for (item = j->part_ids->child; item != NULL && code == LC_OK; item = item->next) {
        code = add_part(j, item->valuestring, buffer, err);
    }
    lc_free(buffer);
    LC_TRY(code);
    if (lc_draft_bytes(j->draft) != j->upload.bytes) {
        return lc_fail(err, LC_ERR_IO, "a part of %s has changed on the disk", j->upload.id);
    }
    return check_md5(j, err);
}

/* The file and the end of the upload, in one transaction. */
static lc_code finish_rows(lc_joining *j, const lc_file_row *row, lc_text *out, lc_err *err)
{
    lc_db *db = NULL;
    lc_code code;
    LC_TRY(lc_store_begin(j->files->store, &db, err));
    LC_TRY_GOTO(lc_db_run(db, "DELETE FROM upload_parts WHERE upload_id = ?1",
                          LC_BIND(lc_sql_text(j->upload.id)), err));
    LC_TRY_GOTO(
        lc_files_check_quota(db, &j->files->options, row->owner, row->purpose, row->bytes, err));
    LC_TRY_GOTO(lc_file_row_insert(db, row, err));
    LC_TRY_GOTO(lc_db_run(db, "UPDATE uploads SET status = 'completed', file_id = ?2 WHERE id = ?1",
                          LC_BIND(lc_sql_text(j->upload.id), lc_sql_text(row->id)), err));
    LC_TRY_GOTO(
        write_object(db, lc_store_dir(j->files->store), row->owner, j->upload.id, out, err));
    LC_TRY_GOTO(lc_store_commit(&db, err));
    return LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

static lc_code make_file(lc_joining *j, lc_text *out, lc_err *err)
{
    lc_file_name name;
    lc_draft *draft = j->draft;
    LC_TRY(lc_file_name_new(j->files, &name, err));
    j->draft = NULL;
    LC_TRY(lc_draft_keep(draft, name.path, err));
    const lc_file_wish wish = {.filename = j->upload.filename,
                               .purpose = j->upload.purpose,
                               .expires_after = j->upload.file_expires_after};
    const lc_file_row row =
        lc_file_row_of(j->files, j->upload.owner, &name, &wish, j->upload.bytes);
    const lc_code code = finish_rows(j, &row, out, err);
    if (code != LC_OK) {
        (void)unlink(name.absolute);
    }
    return code;
}

static void remove_parts(lc_files *files, const char *upload_id)
{
    char dir[LC_MAX_PATH_BYTES];
    lc_err err = {0};
    if (path_of(files, upload_id, NULL, dir, &err) != LC_OK || lc_remove_tree(dir, &err) != LC_OK) {
        lc_log(LC_LOG_WARN, "uploads: %s", err.message);
    }
}

/* As it was before lc_uploads_complete. */
static void give_up(lc_joining *j)
{
    lc_db *db = NULL;
    lc_err err = {0};
    lc_draft_abort(j->draft);
    lc_code code = lc_store_begin(j->files->store, &db, &err);
    if (code == LC_OK) {
        code = set_status(db, j->upload.id, "pending", &err);
    }
    if (code == LC_OK) {
        code = lc_store_commit(&db, &err);
    }
    lc_store_end(&db);
    if (code != LC_OK) { /* the next start does it */
        lc_log(LC_LOG_ERROR, "uploads: %s", err.message);
    }
}

lc_code lc_uploads_complete(lc_files *files, const char *owner, const char *upload_id,
                            const cJSON *body, lc_text *out, lc_err *err)
{
    lc_joining j = {.files = files};
    if (!cJSON_IsObject(body)) {
        return lc_fail(err, LC_ERR_INVALID, "the body must be a JSON object");
    }
    LC_TRY(lc_json_array(body, "part_ids", true, &j.part_ids, err));
    LC_TRY(lc_json_string(body, "md5", false, &j.md5, err));
    if (cJSON_GetArraySize(j.part_ids) > LC_MAX_UPLOAD_PARTS) {
        return lc_fail_param(err, LC_ERR_TOO_LARGE, "part_ids", "part_ids has more than %d parts",
                             LC_MAX_UPLOAD_PARTS);
    }
    LC_TRY(claim(&j, owner, upload_id, err));
    lc_code code = join_parts(&j, err);
    if (code == LC_OK) {
        code = make_file(&j, out, err);
    }
    if (code != LC_OK) {
        give_up(&j);
        return code;
    }
    remove_parts(files, upload_id);
    lc_files_poke(files);
    return LC_OK;
}

/* ---- ending ---- */

lc_code lc_uploads_cancel(lc_files *files, const char *owner, const char *upload_id, lc_text *out,
                          lc_err *err)
{
    lc_upload upload;
    lc_db *db = NULL;
    lc_code code;
    LC_TRY(lc_store_begin(files->store, &db, err));
    LC_TRY_GOTO(find(db, owner, upload_id, &upload, err));
    LC_TRY_GOTO(check_open(files, &upload, err));
    LC_TRY_GOTO(set_status(db, upload_id, "cancelled", err));
    LC_TRY_GOTO(lc_db_run(db, "DELETE FROM upload_parts WHERE upload_id = ?1",
                          LC_BIND(lc_sql_text(upload_id)), err));
    LC_TRY_GOTO(write_object(db, lc_store_dir(files->store), owner, upload_id, out, err));
    LC_TRY_GOTO(lc_store_commit(&db, err));
    remove_parts(files, upload_id);
    return LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

lc_code lc_uploads_expire(lc_db *db, int64_t now, int64_t *count, lc_err *err)
{
    LC_TRY(lc_db_run(db,
                     "UPDATE uploads SET status = 'expired'"
                     " WHERE status = 'pending' AND expires_at <= ?1",
                     LC_BIND(lc_sql_int(now)), err));
    *count = lc_db_changes(db);
    LC_TRY(lc_db_run(db,
                     "DELETE FROM upload_parts WHERE upload_id IN"
                     " (SELECT id FROM uploads WHERE status = 'expired')",
                     LC_BIND_NONE, err));
    return lc_db_run(db,
                     "DELETE FROM uploads WHERE status NOT IN ('pending', 'completing')"
                     " AND expires_at <= ?1",
                     LC_BIND(lc_sql_int(now - LC_FILE_TOMBSTONE_SECONDS)), err);
}

/* A folder that begins like this is a tree half removed (lc_remove_tree). */
static lc_code remove_trash(const char *dir, lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    LC_TRY(lc_list_dir(dir, &names, &count, err));
    lc_code code = LC_OK;
    for (size_t i = 0; i < count && code == LC_OK; i++) {
        char path[LC_MAX_PATH_BYTES];
        code = lc_path_join(dir, names[i], path, err);
        if (code == LC_OK && strncmp(names[i], ".trash-", strlen(".trash-")) == 0) {
            code = lc_remove_tree(path, err);
        }
    }
    lc_list_free(names, count);
    return code;
}

lc_code lc_uploads_resume(lc_files *files, lc_err *err)
{
    char dir[LC_MAX_PATH_BYTES];
    lc_db *db = NULL;
    LC_TRY(lc_files_resolve(lc_store_dir(files->store), "uploads", dir, err));
    LC_TRY(remove_trash(dir, err));
    LC_TRY(lc_store_begin(files->store, &db, err));
    lc_code code = lc_db_run(
        db, "UPDATE uploads SET status = 'pending' WHERE status = 'completing'", LC_BIND_NONE, err);
    if (code == LC_OK) {
        code = lc_store_commit(&db, err);
    }
    lc_store_end(&db);
    return code;
}

/* Asked of the writer: an upload that is just being made has its folder and no row for others. */
static lc_code is_open(lc_files *files, const char *id, bool *is_kept, lc_err *err)
{
    lc_rows rows;
    lc_db *db = NULL;
    LC_TRY(lc_store_begin(files->store, &db, err));
    lc_code code = lc_db_query(
        db, "SELECT 1 FROM uploads WHERE id = ?1 AND status IN ('pending', 'completing')",
        LC_BIND(lc_sql_text(id)), &rows, err);
    if (code == LC_OK) {
        *is_kept = lc_rows_next(&rows);
        code = lc_rows_end(&rows, err);
    }
    lc_store_end(&db);
    return code;
}

lc_code lc_uploads_clean(lc_files *files, lc_err *err)
{
    char dir[LC_MAX_PATH_BYTES];
    char **names = NULL;
    size_t count = 0;
    LC_TRY(lc_files_resolve(lc_store_dir(files->store), "uploads", dir, err));
    LC_TRY(lc_list_dir(dir, &names, &count, err));
    lc_code code = LC_OK;
    for (size_t i = 0; i < count && code == LC_OK; i++) {
        bool is_kept = true;
        if (lc_id_is(names[i], LC_PREFIX_UPLOAD)) {
            code = is_open(files, names[i], &is_kept, err);
        }
        if (code == LC_OK && !is_kept) {
            remove_parts(files, names[i]);
        }
    }
    lc_list_free(names, count);
    return code;
}
