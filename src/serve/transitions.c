/*
 * The table of allowed changes of a job's state, and the change itself; see transitions.h.
 */
#include "serve/transitions.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "serve/ids.h"

#define BIT(status) (1u << LC_STATUS_##status)

static const struct {
    const char *name;
    unsigned next; /* states it may change to */
} table[] = {
    [LC_STATUS_PENDING] = {"pending",
                           /* paused: the disk was full */
                           BIT(RUNNING) | BIT(PAUSED) | BIT(FAILED) | BIT(CANCELLED)},
    [LC_STATUS_RUNNING] = {"running", BIT(PAUSING) | BIT(PAUSED) | BIT(SUCCEEDED) | BIT(FAILED) |
                                          BIT(CANCELLED)},
    /* the last step may be done before the trainer hears of the pause */
    [LC_STATUS_PAUSING] = {"pausing", BIT(PAUSED) | BIT(SUCCEEDED) | BIT(FAILED) | BIT(CANCELLED)},
    [LC_STATUS_PAUSED] = {"paused", BIT(RESUMING) | BIT(CANCELLED)},
    [LC_STATUS_RESUMING] = {"resuming", BIT(RUNNING) | BIT(PAUSED) | BIT(FAILED) | BIT(CANCELLED)},
    [LC_STATUS_SUCCEEDED] = {"succeeded", 0},
    [LC_STATUS_FAILED] = {"failed", 0},
    [LC_STATUS_CANCELLED] = {"cancelled", 0},
};
_Static_assert(sizeof table / sizeof table[0] == LC_STATUS_COUNT, "one row per state");

const char *lc_status_name(lc_status status)
{
    return (unsigned)status < LC_STATUS_COUNT ? table[status].name : "unknown";
}

lc_status lc_status_of(const char *name)
{
    int status = 0;
    while (status < LC_STATUS_COUNT && strcmp(table[status].name, name) != 0) {
        status++;
    }
    return (lc_status)status;
}

bool lc_status_is_final(lc_status status)
{
    return table[status].next == 0;
}

bool lc_status_can_change(lc_status from, lc_status to)
{
    return (table[from].next >> to & 1u) != 0;
}

/* ---- events ---- */

lc_code lc_job_say_event(lc_db *db, const char *job_id, const char *level, const char *message,
                         lc_err *err)
{
    char id[LC_ID_BYTES];
    LC_TRY(lc_id_new(LC_PREFIX_EVENT, id, err));
    return lc_db_run(db,
                     "INSERT INTO events (id, job_id, created_at, level, message, type) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, 'message')",
                     LC_BIND(lc_sql_text(id), lc_sql_text(job_id), lc_sql_int(lc_unix_seconds()),
                             lc_sql_text(level), lc_sql_text(message)),
                     err);
}

/* What is said about a change; Azure publishes no texts for these. */
static lc_code say_change(lc_db *db, const char *job_id, lc_status from, lc_status to,
                          const lc_job_reason *reason, lc_err *err)
{
    static const char *const texts[LC_STATUS_COUNT] = {
        [LC_STATUS_PAUSING] = "Job pausing.",     [LC_STATUS_PAUSED] = "Job paused.",
        [LC_STATUS_RESUMING] = "Job resuming.",   [LC_STATUS_SUCCEEDED] = "Job succeeded.",
        [LC_STATUS_CANCELLED] = "Job cancelled.", [LC_STATUS_FAILED] = "Job failed."};
    char message[LC_ERR_MESSAGE_BYTES + 64];
    const char *text = texts[to];
    if (to == LC_STATUS_RUNNING) {
        text = from == LC_STATUS_RESUMING ? "Job resumed." : "Job started.";
    }
    const char *why = reason != NULL && reason->message != NULL ? reason->message : "";
    (void)snprintf(message, sizeof message, "%s%s%s", text, why[0] != '\0' ? " " : "", why);
    const char *level = to == LC_STATUS_FAILED ? "error" : why[0] != '\0' ? "warn" : "info";
    return lc_job_say_event(db, job_id, level, message, err);
}

/* ---- the change ---- */

static lc_code read_status(lc_db *db, const char *job_id, lc_status *status, lc_err *err)
{
    lc_rows rows;
    *status = LC_STATUS_COUNT;
    LC_TRY(lc_db_query(db, "SELECT status FROM jobs WHERE id = ?1", LC_BIND(lc_sql_text(job_id)),
                       &rows, err));
    if (lc_rows_next(&rows)) {
        *status = lc_status_of(lc_rows_text(&rows, 0));
    }
    return lc_rows_end(&rows, err);
}

lc_code lc_job_change(lc_db *db, const char *job_id, lc_status to, const lc_job_reason *reason,
                      bool is_event, bool *has_changed, lc_err *err)
{
    static const lc_job_reason none = {NULL, NULL, NULL};
    lc_status from;
    *has_changed = false;
    LC_TRY(read_status(db, job_id, &from, err));
    if (from == LC_STATUS_COUNT || !lc_status_can_change(from, to)) {
        return LC_OK;
    }
    const lc_job_reason *why = reason != NULL ? reason : &none;
    LC_TRY(lc_db_run(db,
                     "UPDATE jobs SET status = ?2, finished_at = ?3, error_code = ?4, "
                     "error_message = ?5, error_param = ?6, "
                     "estimated_finish = CASE WHEN ?7 THEN estimated_finish END WHERE id = ?1",
                     LC_BIND(lc_sql_text(job_id), lc_sql_text(lc_status_name(to)),
                             lc_sql_int_or_null(lc_status_is_final(to) ? lc_unix_seconds() : -1),
                             lc_sql_text(why->code), lc_sql_text(why->message),
                             lc_sql_text(why->param), lc_sql_int(to == LC_STATUS_RUNNING)),
                     err));
    *has_changed = true;
    return is_event ? say_change(db, job_id, from, to, reason, err) : LC_OK;
}
