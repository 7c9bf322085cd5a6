/*
 * Events, state and end of a trainer, put into the store; see follow.h. A resumed trainer cuts its
 * log back and writes the same lines with the same ids again: a line is taken when its id is not
 * there yet, and its id must be the one that belongs at its place. Where it is not, the log was cut
 * behind our back and is read from the beginning.
 */
#include "serve/follow.h"

#include <stdio.h>
#include <string.h>

#include "lorac/mem.h"
#include "serve/api_code.h"
#include "serve/jobs.h"
#include "serve/transitions.h"

/* One call of lc_follow_read. */
typedef struct reading {
    lc_store *store;
    lc_db *db;
    const char *job_id;
    char place[LC_MAX_PATH_BYTES];
    lc_follow now; /* becomes the caller's when all of it is committed */
    const lc_follow_end *end;
    lc_status status;
    bool has_new, has_more;
} reading;

static lc_code read_state(reading *r, bool *has_changed, lc_err *err);
static lc_code take_state(reading *r, lc_err *err);
static lc_code take_events(reading *r, lc_err *err);
static lc_code decide(reading *r, lc_follow_next *next, lc_err *err);

lc_code lc_job_place(const lc_store *store, const char *job_id, char out[LC_MAX_PATH_BYTES],
                     lc_err *err)
{
    char name[LC_ID_BYTES + 16];
    (void)snprintf(name, sizeof name, LC_JOBS_DIR "/%s", job_id);
    return lc_path_join(lc_store_dir(store), name, out, err);
}

static lc_code read_status(reading *r, lc_err *err)
{
    lc_rows rows;
    r->status = LC_STATUS_COUNT;
    LC_TRY(lc_db_query(r->db, "SELECT status FROM jobs WHERE id = ?1",
                       LC_BIND(lc_sql_text(r->job_id)), &rows, err));
    if (lc_rows_next(&rows)) {
        r->status = lc_status_of(lc_rows_text(&rows, 0));
    }
    return lc_rows_end(&rows, err);
}

/* Whether the log has grown, or shrunk, since it was read. */
static bool is_log_changed(const reading *r)
{
    char path[LC_MAX_PATH_BYTES];
    struct stat status;
    lc_err ignored = {.code = LC_OK};
    return lc_path_join(r->place, LC_JOB_RUN "/events.jsonl", path, &ignored) == LC_OK &&
           stat(path, &status) == 0 && (int64_t)status.st_size != r->now.offset;
}

static lc_code take_all(reading *r, bool has_changed, lc_follow_next *next, lc_err *err)
{
    LC_TRY(read_status(r, err));
    if (r->status == LC_STATUS_COUNT || r->status == LC_STATUS_PAUSED ||
        lc_status_is_final(r->status)) { /* nothing that it does is of interest */
        return LC_OK;
    }
    if (has_changed) {
        LC_TRY(take_state(r, err));
    }
    LC_TRY(take_events(r, err));
    if (r->has_new || r->end != NULL) {
        LC_TRY(lc_follow_checkpoints(r->db, r->store, r->job_id, err));
    }
    *next = r->has_more ? LC_NEXT_MORE : LC_NEXT_NOTHING;
    return r->end != NULL && !r->has_more ? decide(r, next, err) : LC_OK;
}

lc_code lc_follow_read(lc_store *store, const char *job_id, lc_follow *follow,
                       const lc_follow_end *end, lc_follow_next *next, lc_err *err)
{
    reading r = {.store = store, .job_id = job_id, .now = *follow, .end = end};
    bool has_changed = false;
    *next = LC_NEXT_NOTHING;
    LC_TRY(lc_job_place(store, job_id, r.place, err));
    LC_TRY(read_state(&r, &has_changed, err));
    if (!has_changed && end == NULL && !is_log_changed(&r)) {
        return LC_OK;
    }
    LC_TRY(lc_store_begin(store, &r.db, err));
    lc_code code = take_all(&r, has_changed, next, err);
    if (code == LC_OK) {
        code = lc_store_commit(&r.db, err);
    }
    lc_store_end(&r.db);
    if (code == LC_OK) {
        *follow = r.now;
    }
    return code;
}

/* ---- job.json ---- */

static lc_code read_state(reading *r, bool *has_changed, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    struct stat status;
    char *text = NULL;
    size_t bytes = 0;
    const struct stat *seen = &r->now.seen;
    LC_TRY(lc_path_join(r->place, LC_JOB_RUN "/job.json", path, err));
    if (stat(path, &status) != 0) { /* the trainer has not come so far */
        return LC_OK;
    }
    if (r->now.has_state && status.st_ino == seen->st_ino &&
        status.st_mtim.tv_sec == seen->st_mtim.tv_sec &&
        status.st_mtim.tv_nsec == seen->st_mtim.tv_nsec) {
        return LC_OK;
    }
    LC_TRY(lc_file_read(path, LC_MAX_JOB_JSON_BYTES, &text, &bytes, err));
    const lc_code code = lc_job_state_read(text, bytes, path, &r->now.state, NULL, err);
    lc_free(text);
    LC_TRY(code);
    r->now.seen = status;
    r->now.has_state = *has_changed = true;
    return LC_OK;
}

static lc_code change(reading *r, lc_status to, const lc_job_reason *reason, bool is_event,
                      lc_err *err)
{
    bool has_changed = false;
    LC_TRY(lc_job_change(r->db, r->job_id, to, reason, is_event, &has_changed, err));
    r->status = has_changed ? to : r->status;
    return LC_OK;
}

static lc_code take_state(reading *r, lc_err *err)
{
    const lc_job_state *state = &r->now.state;
    if (state->status == LC_JOB_RUNNING && r->status == LC_STATUS_RESUMING) {
        LC_TRY(change(r, LC_STATUS_RUNNING, NULL, true, err));
    }
    if (state->resolved_known) {
        LC_TRY(lc_db_run(r->db,
                         "UPDATE jobs SET n_epochs = ?2, batch_size = ?3, "
                         "learning_rate_multiplier = ?4 WHERE id = ?1",
                         LC_BIND(lc_sql_text(r->job_id), lc_sql_int(state->resolved.n_epochs),
                                 lc_sql_int(state->resolved.batch_size),
                                 lc_sql_real(state->resolved.learning_rate_multiplier)),
                         err));
    }
    const bool is_estimated = state->estimated_finish > 0 && r->status == LC_STATUS_RUNNING;
    return lc_db_run(r->db, "UPDATE jobs SET estimated_finish = ?2 WHERE id = ?1",
                     LC_BIND(lc_sql_text(r->job_id),
                             lc_sql_int_or_null(is_estimated ? state->estimated_finish : -1)),
                     err);
}

/* ---- events ---- */

typedef struct event {
    const char *id, *level, *message, *type;
    int64_t created_at;
    const cJSON *data;
} event;

static lc_code read_event(const cJSON *root, event *out, lc_err *err)
{
    LC_TRY(lc_json_string(root, "id", true, &out->id, err));
    LC_TRY(lc_json_string(root, "level", true, &out->level, err));
    LC_TRY(lc_json_string(root, "message", true, &out->message, err));
    LC_TRY(lc_json_string(root, "type", true, &out->type, err));
    LC_TRY(lc_json_int(root, "created_at", true, 0, INT64_MAX / 1024, &out->created_at, err));
    return lc_json_object(root, "data", false, &out->data, err);
}

static lc_code insert_event(reading *r, const event *from, lc_err *err)
{
    lc_text data;
    lc_text_init(&data);
    if (from->data != NULL) {
        lc_text_add_json(&data, from->data, true);
    }
    lc_code code = lc_text_finish(&data, "an event", err);
    if (code == LC_OK) {
        code = lc_db_run(
            r->db,
            "INSERT OR IGNORE INTO events (id, job_id, created_at, level, message, type, data) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            LC_BIND(lc_sql_text(from->id), lc_sql_text(r->job_id), lc_sql_int(from->created_at),
                    lc_sql_text(from->level), lc_sql_text(from->message), lc_sql_text(from->type),
                    lc_sql_text(from->data != NULL ? data.data : NULL)),
            err);
    }
    lc_text_release(&data);
    return code;
}

/* The results become a file that can be read while they grow. */
static lc_code add_result_file(reading *r, const char *id, int64_t created_at, lc_err *err)
{
    char path[LC_ID_BYTES + 64];
    (void)snprintf(path, sizeof path, LC_JOBS_DIR "/%s/" LC_JOB_RUN "/results.csv", r->job_id);
    LC_TRY(lc_db_run(
        r->db,
        "INSERT OR IGNORE INTO files "
        "(id, owner, filename, purpose, bytes, created_at, status, path) "
        "SELECT ?2, owner, 'results.csv', 'fine-tune-results', NULL, ?3, 'processed', "
        "?4 FROM jobs WHERE id = ?1",
        LC_BIND(lc_sql_text(r->job_id), lc_sql_text(id), lc_sql_int(created_at), lc_sql_text(path)),
        err));
    return lc_db_run(r->db, "UPDATE jobs SET result_file = ?2 WHERE id = ?1",
                     LC_BIND(lc_sql_text(r->job_id), lc_sql_text(id)), err);
}

/* What an event means beside what it says. Called for new ones only. */
static lc_code heed_event(reading *r, const event *from, lc_err *err)
{
    static const char results[] = "Created results file: ";
    if (strcmp(from->message, "Job started.") == 0) { /* and two that Azure's clients know */
        LC_TRY(change(r, LC_STATUS_RUNNING, NULL, r->status == LC_STATUS_RESUMING, err));
        LC_TRY(lc_job_say_event(r->db, r->job_id, "info", "Data Import started.", err));
        return lc_job_say_event(r->db, r->job_id, "info", "Finetuning started.", err);
    }
    if (strncmp(from->message, results, strlen(results)) == 0) {
        return add_result_file(r, from->message + strlen(results), from->created_at, err);
    }
    if (strcmp(from->type, "metrics") == 0) { /* a step forward */
        return lc_db_run(r->db, "UPDATE jobs SET restarts = 0 WHERE id = ?1 AND restarts > 0",
                         LC_BIND(lc_sql_text(r->job_id)), err);
    }
    return LC_OK;
}

/* Whether the trainer has ended well: only then its last lines count, together with the state. */
static bool has_succeeded(const reading *r)
{
    return r->end != NULL && r->now.has_state && r->now.state.status == LC_JOB_SUCCEEDED;
}

typedef enum line_kind { LINE_TAKEN, LINE_STRANGE, LINE_HELD } line_kind;

/* Lines that say more than may be known yet: that the job has ended, before its state is there; a
 * step of a resumed job, before that says it is running. */
static bool is_too_early(const reading *r, const event *from)
{
    return (strcmp(from->message, "Job succeeded.") == 0 && !has_succeeded(r)) ||
           (r->status == LC_STATUS_RESUMING && r->end == NULL);
}

static lc_code take_event(reading *r, const event *from, line_kind *kind, lc_err *err)
{
    static const char failed[] = "Job failed.";
    char id[LC_JOB_ID_BYTES], number[24];
    (void)snprintf(number, sizeof number, "%lld", (long long)r->now.line);
    lc_job_derive_id(r->job_id, LC_PREFIX_EVENT, number, id);
    if (strcmp(id, from->id) != 0) {
        *kind = LINE_STRANGE;
        return LC_OK;
    }
    if (is_too_early(r, from)) {
        *kind = LINE_HELD;
        return LC_OK;
    }
    *kind = LINE_TAKEN;
    if (strncmp(from->message, failed, strlen(failed)) == 0) { /* whether it has is decided here */
        return LC_OK;
    }
    LC_TRY(insert_event(r, from, err));
    if (lc_db_changes(r->db) == 0) {
        return LC_OK;
    }
    r->has_new = true;
    return heed_event(r, from, err);
}

static lc_code take_line(reading *r, const char *line, size_t bytes, line_kind *kind, lc_err *err)
{
    lc_err strange = {.code = LC_OK};
    cJSON *root = NULL;
    event found = {.id = NULL};
    *kind = LINE_STRANGE;
    lc_code code = lc_json_parse(line, bytes, LC_JSON_DEFAULT, "events.jsonl", &root, &strange);
    if (code == LC_OK && read_event(root, &found, &strange) == LC_OK) {
        code = take_event(r, &found, kind, err);
    } else {
        code = code == LC_ERR_MEMORY ? lc_fail(err, code, "%s", strange.message) : LC_OK;
    }
    cJSON_Delete(root);
    return code;
}

/* The whole lines of a piece of the log. */
static lc_code take_lines(reading *r, const char *text, size_t bytes, lc_err *err)
{
    const bool is_from_begin = r->now.offset == 0;
    const char *at = text, *end;
    while ((end = memchr(at, '\n', bytes - (size_t)(at - text))) != NULL) {
        line_kind kind;
        LC_TRY(take_line(r, at, (size_t)(end - at), &kind, err));
        if (kind == LINE_STRANGE && !is_from_begin) {
            r->now.offset = r->now.line = 0;
            r->has_more = true;
            return LC_OK;
        }
        if (kind != LINE_TAKEN) { /* what follows is not to be taken now */
            r->has_more = false;
            return LC_OK;
        }
        r->now.offset += end + 1 - at;
        r->now.line++;
        at = end + 1;
    }
    return LC_OK;
}

static lc_code take_events(reading *r, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    lc_reader log;
    char *text = NULL;
    LC_TRY(lc_path_join(r->place, LC_JOB_RUN "/events.jsonl", path, err));
    if (!lc_path_exists(path)) {
        return LC_OK;
    }
    LC_TRY(lc_reader_open(path, &log, err));
    if (log.bytes < r->now.offset) { /* cut back by a resume */
        r->now.offset = r->now.line = 0;
    }
    const int64_t left = log.bytes - r->now.offset;
    const size_t bytes = left < (int64_t)LC_FOLLOW_BYTES ? (size_t)left : LC_FOLLOW_BYTES;
    r->has_more = (int64_t)bytes < left;
    lc_code code = LC_ERR_MEMORY;
    text = lc_malloc(bytes);
    if (text == NULL) {
        (void)lc_fail(err, code, "no memory for a piece of %s", path);
    } else {
        code = lc_reader_read(&log, r->now.offset, text, bytes, err);
    }
    lc_reader_close(&log);
    if (code == LC_OK) {
        code = take_lines(r, text, bytes, err);
    }
    lc_free(text);
    return code;
}

/* ---- the end ---- */

/* What the trainer printed last as its error, into out; "" where it printed none. */
static void read_complaint(const reading *r, char *out, size_t capacity)
{
    static const char mark[] = "lorac: ";
    char path[LC_MAX_PATH_BYTES];
    char text[4096];
    lc_reader log;
    lc_err ignored = {.code = LC_OK};
    out[0] = '\0';
    if (lc_path_join(r->place, LC_PROCESS_LOG, path, &ignored) != LC_OK ||
        lc_reader_open(path, &log, &ignored) != LC_OK) {
        return;
    }
    int64_t begin = log.bytes - (int64_t)sizeof text + 1;
    begin = begin < r->end->log_begin ? r->end->log_begin : begin;
    const size_t bytes = log.bytes > begin ? (size_t)(log.bytes - begin) : 0;
    if (bytes > 0 && bytes < sizeof text &&
        lc_reader_read(&log, begin, text, bytes, &ignored) == LC_OK) {
        text[bytes] = '\0';
        for (const char *at = text; (at = strstr(at, mark)) != NULL; at += strlen(mark)) {
            if (at == text || at[-1] == '\n') {
                (void)snprintf(out, capacity, "%s", at + strlen(mark));
            }
        }
        out[strcspn(out, "\n")] = '\0';
    }
    lc_reader_close(&log);
}

/* Whether job.json tells of this end: it does unless the exit status says otherwise. */
static bool is_state(const reading *r, lc_job_status status, int exit_a, int exit_b)
{
    const lc_process *process = r->end->process;
    const bool is_unseen = process == NULL || (process->exit_status < 0 && process->signal == 0);
    return r->now.has_state && r->now.state.status == status &&
           (is_unseen || process->exit_status == exit_a || process->exit_status == exit_b);
}

static lc_code succeed(reading *r, lc_err *err)
{
    char path[LC_ID_BYTES + 64];
    (void)snprintf(path, sizeof path, LC_JOBS_DIR "/%s/" LC_JOB_RUN "/adapter", r->job_id);
    LC_TRY(change(r, LC_STATUS_RUNNING, NULL, true, err)); /* a resumed one that was too fast */
    LC_TRY(change(r, LC_STATUS_SUCCEEDED, NULL, false, err));
    LC_TRY(lc_db_run(
        r->db, "UPDATE jobs SET trained_tokens = ?2 WHERE id = ?1",
        LC_BIND(lc_sql_text(r->job_id), lc_sql_int_or_null(r->now.state.trained_tokens)), err));
    return lc_db_run(r->db,
                     "INSERT OR IGNORE INTO models (id, owner, base, job_id, created_at, path) "
                     "SELECT model_name, owner, base, id, finished_at, ?2 FROM jobs WHERE id = ?1",
                     LC_BIND(lc_sql_text(r->job_id), lc_sql_text(path)), err);
}

static lc_code pause_job(reading *r, const lc_job_reason *reason, lc_err *err)
{
    LC_TRY(change(r, LC_STATUS_PAUSED, reason, true, err));
    return lc_follow_paused(r->db, r->store, r->job_id, err);
}

static lc_code count_restart(reading *r, int64_t *restarts, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(r->db,
                       "UPDATE jobs SET restarts = restarts + 1 WHERE id = ?1 RETURNING restarts",
                       LC_BIND(lc_sql_text(r->job_id)), &rows, err));
    if (lc_rows_next(&rows)) {
        *restarts = lc_rows_int(&rows, 0);
    }
    while (lc_rows_next(&rows)) {}
    return lc_rows_end(&rows, err);
}

/* It ended as it should not: once more from the newest checkpoint, or, when that has been tried
 * often enough, the job fails. */
static lc_code recover(reading *r, const char *complaint, lc_follow_next *next, lc_err *err)
{
    const lc_process *process = r->end->process;
    char how[64] = "", message[LC_ERR_MESSAGE_BYTES];
    int64_t restarts = 0;
    if (process->signal != 0) {
        (void)snprintf(how, sizeof how, " (signal %d)", process->signal);
    } else if (process->exit_status >= 0) {
        (void)snprintf(how, sizeof how, " (exit status %d)", process->exit_status);
    }
    LC_TRY(count_restart(r, &restarts, err));
    if (restarts > LC_MAX_RESTARTS) {
        (void)snprintf(message, sizeof message,
                       "The trainer ended unexpectedly%s %d times without a step forward.%s%.600s",
                       how, LC_MAX_RESTARTS + 1, complaint[0] != '\0' ? " " : "", complaint);
        const lc_job_reason reason = {lc_api_code(LC_ERR_INTERNAL), message, NULL};
        return change(r, LC_STATUS_FAILED, &reason, true, err);
    }
    (void)snprintf(message, sizeof message,
                   "The trainer ended unexpectedly%s; the job goes on from its newest checkpoint.",
                   how);
    *next = LC_NEXT_RESTART;
    return lc_job_say_event(r->db, r->job_id, "warn", message, err);
}

/* The API's code for what the trainer says; what is wrong with data it says in the API's words. */
static const char *api_code_of(const char *error_code)
{
    const lc_code code = lc_code_of(error_code);
    return code == LC_CODE_COUNT ? error_code : lc_api_code(code);
}

/* Errors that another try may not meet again. */
static bool is_worth_a_retry(const char *error_code)
{
    static const lc_code codes[] = {LC_ERR_IO, LC_ERR_MEMORY, LC_ERR_DEVICE, LC_ERR_INTERNAL};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(error_code, lc_code_name(codes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static lc_code decide(reading *r, lc_follow_next *next, lc_err *err)
{
    const lc_job_state *state = &r->now.state;
    const lc_process *process = r->end->process;
    const lc_job_reason told = {api_code_of(state->error_code), state->error_message,
                                state->error_param[0] != '\0' ? state->error_param : NULL};
    char complaint[LC_ERR_MESSAGE_BYTES];
    if (process == NULL && (r->status == LC_STATUS_PENDING || r->status == LC_STATUS_RESUMING)) {
        *next = LC_NEXT_RESTART; /* what is there may be older than its last start */
        return LC_OK;
    }
    if (is_state(r, LC_JOB_SUCCEEDED, 0, 0)) {
        return succeed(r, err);
    }
    const bool has_failed = is_state(r, LC_JOB_FAILED, 1, 3) || is_state(r, LC_JOB_FAILED, 2, 2);
    if (has_failed && !is_worth_a_retry(state->error_code)) {
        return change(r, LC_STATUS_FAILED, &told, true, err);
    }
    if (r->status == LC_STATUS_PAUSING) { /* even if it had to be killed: it can go on */
        return pause_job(r, NULL, err);
    }
    const bool is_stopped = is_state(r, LC_JOB_PAUSED, 75, 75);
    if (is_stopped && state->error_code[0] != '\0') { /* the disk is full */
        return pause_job(r, &told, err);
    }
    read_complaint(r, complaint, sizeof complaint);
    if (!is_stopped && process != NULL && process->exit_status == 75) { /* not even job.json */
        const lc_job_reason full = {lc_api_code(LC_ERR_DISK_FULL), complaint, NULL};
        return pause_job(r, &full, err);
    }
    if (r->end->is_stopping) {
        return LC_OK;
    }
    if (process == NULL) { /* it may have been stopped, or killed together with the server */
        *next = LC_NEXT_RESTART;
        return LC_OK;
    }
    if (process->exit_status == 3) {
        const lc_job_reason refused = {lc_api_code(LC_ERR_INVALID), complaint, NULL};
        return change(r, LC_STATUS_FAILED, &refused, true, err);
    }
    /* With 2 it may have met one of an earlier server, which has ended since. */
    return recover(r, has_failed ? state->error_message : complaint, next, err);
}
