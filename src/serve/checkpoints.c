/*
 * Checkpoints: those of finished epochs that the trainer keeps, and the adapters that pauses leave.
 * Each is a directory of links beside the trainer's own, so that one which is deployed stays when
 * the trainer drops it. Rows follow the disk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve/follow.h"
#include "serve/jobs.h"

#define MAX_CHECKPOINT_BYTES 65536 /* of checkpoint.json */
#define EPOCH_PREFIX         "epoch-"
#define PAUSED_PREFIX        "paused-step-"
#define MAX_PAUSED           3 /* kept of a job */

/* Azure's object as the trainer wrote it, and the time of the file. */
typedef struct checkpoint {
    cJSON *object; /* owned */
    const char *id, *name;
    int64_t step, created_at;
    lc_text metrics;
} checkpoint;

static void release(checkpoint *found)
{
    cJSON_Delete(found->object);
    lc_text_release(&found->metrics);
}

static lc_code read_fields(checkpoint *found, lc_err *err)
{
    const cJSON *metrics = NULL;
    LC_TRY(lc_json_string(found->object, "id", true, &found->id, err));
    LC_TRY(lc_json_string(found->object, "fine_tuned_model_checkpoint", true, &found->name, err));
    LC_TRY(lc_json_int(found->object, "step_number", true, 0, INT64_MAX / 1024, &found->step, err));
    LC_TRY(lc_json_object(found->object, "metrics", true, &metrics, err));
    lc_text_add_json(&found->metrics, metrics, true);
    return lc_text_finish(&found->metrics, "metrics", err);
}

/* dir/checkpoint.json; LC_ERR_NOT_FOUND where it is not, or not any more. */
static lc_code read_checkpoint(const char *dir, checkpoint *out, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    struct stat status;
    memset(out, 0, sizeof *out);
    lc_text_init(&out->metrics);
    LC_TRY(lc_path_join(dir, "checkpoint.json", path, err));
    if (stat(path, &status) != 0) {
        return lc_fail_errno(err, "cannot read %s", path);
    }
    out->created_at = (int64_t)status.st_mtime;
    LC_TRY(lc_json_load(path, MAX_CHECKPOINT_BYTES, LC_JSON_DEFAULT, &out->object, err));
    const lc_code code = read_fields(out, err);
    if (code != LC_OK) {
        release(out);
    }
    return code;
}

/* ---- links ---- */

static lc_code link_one(const char *from_dir, const char *to_dir, const char *name, lc_err *err)
{
    char from[LC_MAX_PATH_BYTES], to[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(from_dir, name, from, err));
    LC_TRY(lc_path_join(to_dir, name, to, err));
    return link(from, to) == 0 ? LC_OK : lc_fail_errno(err, "cannot link %s", to);
}

/* All files of a directory linked into a new one, which is there whole or not at all. */
static lc_code link_dir(const char *from, const char *parent, const char *name, lc_err *err)
{
    char to[LC_MAX_PATH_BYTES], temp[LC_MAX_PATH_BYTES];
    char **names = NULL;
    size_t count = 0;
    LC_TRY(lc_path_join(parent, name, to, err));
    if (lc_path_exists(to)) {
        return LC_OK;
    }
    LC_TRY(lc_path_join(parent, ".tmp-checkpoint", temp, err));
    LC_TRY(lc_remove_tree(temp, err));
    LC_TRY(lc_mkdir(temp, err));
    LC_TRY(lc_list_dir(from, &names, &count, err));
    lc_code code = LC_OK;
    for (size_t i = 0; i < count && code == LC_OK; i++) {
        code = link_one(from, temp, names[i], err);
    }
    lc_list_free(names, count);
    LC_TRY(code);
    LC_TRY(lc_sync_dir(temp, err));
    return lc_rename(temp, to, err);
}

/* ---- rows and directories ---- */

/* Deletes rows; `sql` gives their paths. The directories go before the transaction is committed: if
 * it is not, the same rows are deleted the next time. */
static lc_code drop(lc_db *db, const lc_store *store, const char *sql, const lc_sql_value *values,
                    int count, lc_err *err)
{
    char dir[LC_MAX_PATH_BYTES];
    lc_rows rows;
    LC_TRY(lc_db_query(db, sql, values, count, &rows, err));
    lc_code code = LC_OK;
    while (code == LC_OK && lc_rows_next(&rows)) {
        const char *path = lc_rows_text(&rows, 0);
        code = lc_path_join(lc_store_dir(store), path, dir, err);
        if (code == LC_OK && strstr(path, "/" LC_JOB_RUN "/") == NULL) { /* the trainer's own */
            code = lc_remove_tree(dir, err);
        }
    }
    const lc_code ended = lc_rows_end(&rows, err);
    return code != LC_OK ? code : ended;
}

/* What the trainer has pruned, by its oldest checkpoint, and all but the last pauses; nothing that
 * is deployed. What a resume has dropped will be made again. */
static lc_code prune(lc_db *db, const lc_store *store, const char *job_id, int64_t oldest,
                     lc_err *err)
{
    return drop(db, store,
                "DELETE FROM checkpoints AS c WHERE job_id = ?1 AND (step_number < ?2 OR "
                "(path LIKE '%/" PAUSED_PREFIX "%' AND ?3 <= (SELECT count(*) FROM checkpoints "
                "AS later WHERE later.job_id = ?1 AND later.path LIKE '%/" PAUSED_PREFIX "%' AND "
                "later.seq > c.seq))) AND NOT EXISTS (SELECT 1 FROM deployments AS d JOIN jobs "
                "AS j ON j.owner = d.owner WHERE j.id = ?1 AND d.model IN (c.name, c.id)) "
                "RETURNING path",
                LC_BIND(lc_sql_text(job_id), lc_sql_int(oldest), lc_sql_int(MAX_PAUSED)), err);
}

/* A checkpoint of dir, linked as `name`. The end of an epoch may have the name of an older one,
 * left at a pause just before it. */
static lc_code keep(lc_db *db, const lc_store *store, const char *job_id, const char *dir,
                    const char *name, const checkpoint *found, lc_err *err)
{
    char place[LC_MAX_PATH_BYTES], path[LC_MAX_PATH_BYTES];
    LC_TRY(lc_job_place(store, job_id, place, err));
    LC_TRY(link_dir(dir, place, name, err));
    (void)snprintf(path, sizeof path, LC_JOBS_DIR "/%s/%s", job_id, name);
    LC_TRY(drop(db, store,
                "DELETE FROM checkpoints WHERE job_id = ?1 AND name = ?2 AND id <> ?3 "
                "RETURNING path",
                LC_BIND(lc_sql_text(job_id), lc_sql_text(found->name), lc_sql_text(found->id)),
                err));
    return lc_db_run(db,
                     "INSERT OR IGNORE INTO checkpoints "
                     "(id, job_id, created_at, step_number, name, metrics, path) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                     LC_BIND(lc_sql_text(found->id), lc_sql_text(job_id),
                             lc_sql_int(found->created_at), lc_sql_int(found->step),
                             lc_sql_text(found->name), lc_sql_text(found->metrics.data),
                             lc_sql_text(path)),
                     err);
}

/* ---- of epochs ---- */

/* One entry of run/checkpoints. *oldest: smallest step so far. */
static lc_code take_epoch(lc_db *db, const lc_store *store, const char *job_id, const char *parent,
                          const char *name, int64_t *oldest, lc_err *err)
{
    char dir[LC_MAX_PATH_BYTES];
    checkpoint found;
    lc_err gone = {.code = LC_OK};
    if (strncmp(name, EPOCH_PREFIX, strlen(EPOCH_PREFIX)) != 0) {
        return LC_OK;
    }
    LC_TRY(lc_path_join(parent, name, dir, err));
    lc_code code = read_checkpoint(dir, &found, &gone);
    if (code == LC_OK) {
        *oldest = *oldest < 0 || found.step < *oldest ? found.step : *oldest;
        code = keep(db, store, job_id, dir, name, &found, &gone);
        release(&found);
    }
    if (code == LC_OK || code == LC_ERR_NOT_FOUND) { /* removed since it was listed */
        return LC_OK;
    }
    return lc_fail(err, code, "%s", gone.message);
}

/* epoch-9 before epoch-10: later rows are newer ones. */
static int by_number(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    const size_t x_length = strlen(x), y_length = strlen(y);
    return x_length != y_length ? (x_length > y_length) - (x_length < y_length) : strcmp(x, y);
}

lc_code lc_follow_checkpoints(lc_db *db, const lc_store *store, const char *job_id, lc_err *err)
{
    char place[LC_MAX_PATH_BYTES], dir[LC_MAX_PATH_BYTES];
    char **names = NULL;
    size_t count = 0;
    int64_t oldest = -1;
    LC_TRY(lc_job_place(store, job_id, place, err));
    LC_TRY(lc_path_join(place, LC_JOB_RUN "/checkpoints", dir, err));
    if (!lc_path_is_dir(dir)) {
        return LC_OK;
    }
    LC_TRY(lc_list_dir(dir, &names, &count, err));
    if (count > 0) {
        qsort(names, count, sizeof *names, by_number);
    }
    lc_code code = LC_OK;
    for (size_t i = 0; i < count && code == LC_OK; i++) {
        code = take_epoch(db, store, job_id, dir, names[i], &oldest, err);
    }
    lc_list_free(names, count);
    LC_TRY(code);
    return prune(db, store, job_id, oldest, err);
}

/* ---- of a pause ---- */

lc_code lc_follow_paused(lc_db *db, const lc_store *store, const char *job_id, lc_err *err)
{
    char place[LC_MAX_PATH_BYTES], dir[LC_MAX_PATH_BYTES], name[64];
    checkpoint found;
    LC_TRY(lc_job_place(store, job_id, place, err));
    LC_TRY(lc_path_join(place, LC_JOB_RUN "/paused", dir, err));
    if (!lc_path_is_dir(dir)) { /* at the end of an epoch, which has its checkpoint */
        return LC_OK;
    }
    LC_TRY(read_checkpoint(dir, &found, err));
    (void)snprintf(name, sizeof name, PAUSED_PREFIX "%lld", (long long)found.step);
    const lc_code code = keep(db, store, job_id, dir, name, &found, err);
    release(&found);
    LC_TRY(code);
    return prune(db, store, job_id, -1, err);
}
