/*
 * Reading, listing, changing and deleting jobs; see jobs.h. Making one is in jobs_create.c.
 */
#include "serve/jobs.h"

#include <stdio.h>
#include <string.h>

#include "serve/transitions.h"

/* ---- reading ---- */

lc_code lc_jobs_get(lc_store *store, const char *owner, const char *id, lc_text *out, lc_err *err)
{
    lc_db *db = NULL;
    LC_TRY(lc_store_read(store, &db, err));
    const lc_code code = lc_job_object_read(db, owner, id, out, err);
    lc_store_end(&db);
    return code;
}

/* ---- changing ---- */

static lc_code read_status(lc_db *db, const char *owner, const char *id, lc_status *status,
                           lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db, "SELECT status FROM jobs WHERE owner = ?1 AND id = ?2",
                       LC_BIND(lc_sql_text(owner), lc_sql_text(id)), &rows, err));
    const bool is_found = lc_rows_next(&rows);
    *status = is_found ? lc_status_of(lc_rows_text(&rows, 0)) : LC_STATUS_COUNT;
    LC_TRY(lc_rows_end(&rows, err));
    return is_found ? LC_OK
                    : lc_fail_param(err, LC_ERR_NOT_FOUND, "fine_tuning_job_id",
                                    "No fine-tuning job has the id %.80s.", id);
}

static lc_code change(lc_store *store, const char *owner, const char *id, lc_status to,
                      const char *verb, lc_code (*check)(lc_db *db, const char *id, lc_err *err),
                      lc_text *out, lc_err *err)
{
    lc_code code;
    lc_db *db = NULL;
    lc_status from;
    bool has_changed = false;
    LC_TRY(lc_store_begin(store, &db, err));
    LC_TRY_GOTO(read_status(db, owner, id, &from, err));
    if (check != NULL && lc_status_can_change(from, to)) {
        LC_TRY_GOTO(check(db, id, err));
    }
    LC_TRY_GOTO(lc_job_change(db, id, to, NULL, true, &has_changed, err));
    if (!has_changed) {
        code = lc_fail(err, LC_ERR_STATE, "The job is %s and cannot be %s.", lc_status_name(from),
                       verb);
        goto fail;
    }
    LC_TRY_GOTO(lc_job_object_read(db, owner, id, out, err));
    LC_TRY_GOTO(lc_store_commit(&db, err));
    return LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

lc_code lc_jobs_cancel(lc_store *store, const char *owner, const char *id, lc_text *out,
                       lc_err *err)
{
    return change(store, owner, id, LC_STATUS_CANCELLED, "cancelled", NULL, out, err);
}

static lc_code check_has_step(lc_db *db, const char *id, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db, "SELECT 1 FROM events WHERE job_id = ?1 AND type = 'metrics' LIMIT 1",
                       LC_BIND(lc_sql_text(id)), &rows, err));
    const bool has_step = lc_rows_next(&rows);
    LC_TRY(lc_rows_end(&rows, err));
    return has_step ? LC_OK
                    : lc_fail(err, LC_ERR_STATE,
                              "The job has not finished a step yet and cannot be paused.");
}

lc_code lc_jobs_pause(lc_store *store, const char *owner, const char *id, lc_text *out, lc_err *err)
{
    return change(store, owner, id, LC_STATUS_PAUSING, "paused", check_has_step, out, err);
}

lc_code lc_jobs_resume(lc_store *store, const char *owner, const char *id, lc_text *out,
                       lc_err *err)
{
    return change(store, owner, id, LC_STATUS_RESUMING, "resumed", NULL, out, err);
}

/* A model that is deployed stays when its job goes; a checkpoint is the job's own. */
static lc_code check_not_deployed(lc_db *db, const char *id, lc_err *err)
{
    lc_rows rows;
    lc_code code = LC_OK;
    LC_TRY(lc_db_query(db,
                       "SELECT c.name, d.name FROM checkpoints AS c "
                       "JOIN jobs AS j ON j.id = c.job_id JOIN deployments AS d "
                       "ON d.owner = j.owner AND d.model IN (c.name, c.id) "
                       "WHERE j.id = ?1 AND d.model NOT IN (SELECT id FROM models) LIMIT 1",
                       LC_BIND(lc_sql_text(id)), &rows, err));
    if (lc_rows_next(&rows)) {
        code = lc_fail(err, LC_ERR_STATE,
                       "The job's checkpoint %s is deployed as '%s'; delete that deployment first.",
                       lc_rows_text(&rows, 0), lc_rows_text(&rows, 1));
    }
    const lc_code ended = lc_rows_end(&rows, err);
    return code != LC_OK ? code : ended;
}

lc_code lc_jobs_delete(lc_store *store, const char *owner, const char *id, lc_err *err)
{
    lc_code code;
    lc_db *db = NULL;
    lc_status status;
    LC_TRY(lc_store_begin(store, &db, err));
    LC_TRY_GOTO(read_status(db, owner, id, &status, err));
    if (!lc_status_is_final(status) && status != LC_STATUS_PAUSED) {
        code = lc_fail(err, LC_ERR_STATE, "The job is %s and cannot be deleted; cancel it first.",
                       lc_status_name(status));
        goto fail;
    }
    LC_TRY_GOTO(check_not_deployed(db, id, err));
    LC_TRY_GOTO(
        lc_db_run(db, "DELETE FROM files WHERE id = (SELECT result_file FROM jobs WHERE id = ?1)",
                  LC_BIND(lc_sql_text(id)), err));
    LC_TRY_GOTO(lc_db_run(db, "DELETE FROM jobs WHERE id = ?1", LC_BIND(lc_sql_text(id)), err));
    LC_TRY_GOTO(lc_store_commit(&db, err));
    return LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

/* ---- lists ---- */

/* The two directions of a list's statement. ?1: seq of the item before, NULL: none. */
#define DIRECTIONS(select)                                                 \
    {                                                                      \
        select " AND (?1 IS NULL OR seq < ?1) ORDER BY seq DESC LIMIT ?2", \
            select " AND (?1 IS NULL OR seq > ?1) ORDER BY seq LIMIT ?2"   \
    }

/* Place of the item that the page comes after: -1 for none given. `find` has ?1 for whose, ?2 for
 * which. */
static lc_code find_place(lc_db *db, const char *find, const char *whose, const lc_page *page,
                          int64_t *place, lc_err *err)
{
    lc_rows rows;
    *place = -1;
    if (page->after == NULL) {
        return LC_OK;
    }
    LC_TRY(
        lc_db_query(db, find, LC_BIND(lc_sql_text(whose), lc_sql_text(page->after)), &rows, err));
    if (lc_rows_next(&rows)) {
        *place = lc_rows_int(&rows, 0);
    }
    LC_TRY(lc_rows_end(&rows, err));
    return *place >= 0 ? LC_OK
                       : lc_fail_param(err, LC_ERR_INVALID, "after",
                                       "after: nothing in this list has the id %.80s", page->after);
}

static void write_event(const lc_rows *rows, lc_text *out)
{
    lc_text_addf(out, "{\"id\": \"%s\", \"object\": \"fine_tuning.job.event\"",
                 lc_rows_text(rows, 0));
    lc_json_add_int(out, "created_at", lc_rows_int(rows, 1));
    lc_json_add_text(out, "level", lc_rows_text(rows, 2));
    lc_json_add_text(out, "message", lc_rows_text(rows, 3));
    lc_json_add_text(out, "type", lc_rows_text(rows, 4));
    if (!lc_rows_is_null(rows, 5)) {
        lc_json_add_raw(out, "data", lc_rows_text(rows, 5));
    }
    lc_text_addf(out, "}");
}

static void write_checkpoint(const lc_rows *rows, lc_text *out)
{
    lc_text_addf(out, "{\"id\": \"%s\", \"object\": \"fine_tuning.job.checkpoint\"",
                 lc_rows_text(rows, 0));
    lc_json_add_int(out, "created_at", lc_rows_int(rows, 1));
    lc_json_add_text(out, "fine_tuned_model_checkpoint", lc_rows_text(rows, 2));
    lc_json_add_text(out, "fine_tuning_job_id", lc_rows_text(rows, 3));
    lc_json_add_int(out, "step_number", lc_rows_int(rows, 4));
    lc_json_add_raw(out, "metrics", lc_rows_text(rows, 5));
    lc_text_addf(out, "}");
}

/* A list whose rows begin with an id. */
static lc_code write_list(lc_db *db, const char *sql, const lc_sql_value *values, int count,
                          const lc_page *page, void (*write)(const lc_rows *rows, lc_text *out),
                          lc_text *out, lc_err *err)
{
    lc_rows rows;
    lc_list list;
    LC_TRY(lc_db_query(db, sql, values, count, &rows, err));
    lc_list_begin(&list, page, out);
    while (lc_rows_next(&rows) && lc_list_next(&list, lc_rows_text(&rows, 0))) {
        write(&rows, out);
    }
    lc_list_end(&list);
    LC_TRY(lc_rows_end(&rows, err));
    return lc_text_finish(out, "the list", err);
}

static lc_code list_jobs(lc_db *db, const char *owner, const lc_page *page, const char *metadata,
                         lc_text *out, lc_err *err)
{
    static const char *const sql[] =
        DIRECTIONS("SELECT " LC_JOB_COLUMNS " FROM jobs WHERE owner = ?3 AND NOT EXISTS ("
                   "SELECT 1 FROM json_each(?4) AS wanted WHERE NOT EXISTS ("
                   "SELECT 1 FROM json_each(jobs.metadata) AS has "
                   "WHERE has.key = wanted.key AND has.value = wanted.value))");
    int64_t place = -1;
    LC_TRY(find_place(db, "SELECT seq FROM jobs WHERE owner = ?1 AND id = ?2", owner, page, &place,
                      err));
    return write_list(db, sql[page->ascending],
                      LC_BIND(lc_sql_int_or_null(place), lc_sql_int(page->limit + 1),
                              lc_sql_text(owner), lc_sql_text(metadata)),
                      page, lc_job_object_write, out, err);
}

lc_code lc_jobs_list(lc_store *store, const char *owner, const lc_page *page, const cJSON *metadata,
                     lc_text *out, lc_err *err)
{
    lc_db *db = NULL;
    lc_text filter;
    lc_text_init(&filter);
    if (metadata != NULL) {
        lc_text_add_json(&filter, metadata, false);
    }
    lc_code code = lc_text_finish(&filter, "the filter", err);
    if (code == LC_OK) {
        code = lc_store_read(store, &db, err);
    }
    if (code == LC_OK) {
        code = list_jobs(db, owner, page, metadata != NULL ? filter.data : NULL, out, err);
    }
    lc_store_end(&db);
    lc_text_release(&filter);
    return code;
}

/* What belongs to one job. */
typedef struct job_list {
    const char *find;
    const char *const *sql;
    void (*write)(const lc_rows *rows, lc_text *out);
} job_list;

static lc_code list_of_job(lc_store *store, const char *owner, const char *id, const lc_page *page,
                           const job_list *what, lc_text *out, lc_err *err)
{
    lc_code code;
    lc_db *db = NULL;
    lc_status ignored;
    int64_t place = -1;
    LC_TRY(lc_store_read(store, &db, err));
    LC_TRY_GOTO(read_status(db, owner, id, &ignored, err));
    LC_TRY_GOTO(find_place(db, what->find, id, page, &place, err));
    code =
        write_list(db, what->sql[page->ascending],
                   LC_BIND(lc_sql_int_or_null(place), lc_sql_int(page->limit + 1), lc_sql_text(id)),
                   page, what->write, out, err);
fail:
    lc_store_end(&db);
    return code;
}

lc_code lc_jobs_events(lc_store *store, const char *owner, const char *id, const lc_page *page,
                       lc_text *out, lc_err *err)
{
    static const char *const sql[] = DIRECTIONS(
        "SELECT id, created_at, level, message, type, data FROM events WHERE job_id = ?3");
    static const job_list events = {"SELECT seq FROM events WHERE job_id = ?1 AND id = ?2", sql,
                                    write_event};
    return list_of_job(store, owner, id, page, &events, out, err);
}

lc_code lc_jobs_checkpoints(lc_store *store, const char *owner, const char *id, const lc_page *page,
                            lc_text *out, lc_err *err)
{
    static const char *const sql[] =
        DIRECTIONS("SELECT id, created_at, name, job_id, step_number, metrics FROM checkpoints "
                   "WHERE job_id = ?3");
    static const job_list checkpoints = {
        "SELECT seq FROM checkpoints WHERE job_id = ?1 AND id = ?2", sql, write_checkpoint};
    return list_of_job(store, owner, id, page, &checkpoints, out, err);
}
