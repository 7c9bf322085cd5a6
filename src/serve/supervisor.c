/*
 * Rounds over trainers and jobs; see supervisor.h. All of it runs in one thread; only pokes and the
 * request to stop come from others. Nothing is remembered here that a new supervisor would miss.
 */
#include "serve/supervisor.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "lorac/log.h"
#include "lorac/mem.h"
#include "serve/follow.h"
#include "serve/jobs.h"
#include "serve/transitions.h"

#define ROUND_MS      200  /* while trainers run */
#define IDLE_MS       5000 /* while none does; pokes come sooner */
#define RETRY_SECONDS 5.0  /* after a trainer could not be started */
#define SWEEP_SECONDS 10.0 /* between two sweeps, at least */
#define LOCK_ATTEMPTS 20   /* 50 ms each */
#define STOP_SECONDS  60.0
#define TRASH_PREFIX  ".trash-"
#define COMPLAINTS    16 /* remembered */
#define SAY_AGAIN     60.0

typedef struct trainer {
    char id[LC_ID_BYTES];
    char owner[LC_ID_BYTES];
    char place[LC_MAX_PATH_BYTES];
    lc_process process;
    lc_follow follow;
    int64_t log_begin;
    double asked_at; /* to stop, monotonic; 0: not asked */
    bool is_killed;
} trainer;

/* Something that was logged, by its hash. */
typedef struct complaint {
    uint64_t hash[2];
    double at;
} complaint;

struct lc_supervisor {
    lc_store *store; /* borrowed */
    char program[LC_MAX_PATH_BYTES], models_dir[LC_MAX_PATH_BYTES];
    lc_supervisor_options options;
    int lock_fd;
    pthread_t thread;
    pthread_mutex_t lock; /* of the next three */
    pthread_cond_t change;
    bool is_stopping, is_poked;
    trainer *trainers[LC_MAX_TRAINERS]; /* owned */
    int count;
    double retry_at, sweep_at;
    complaint complaints[COMPLAINTS];
};

static void *run(void *context);
static lc_code take_over(lc_supervisor *s, lc_err *err);

/* What lasts, a full disk mostly, fails in every round: the log has it once a minute. job: NULL, or
 * whom it is about. */
static void complain(lc_supervisor *s, lc_log_level level, const char *job, const char *message)
{
    char line[LC_ERR_MESSAGE_BYTES + LC_ID_BYTES + 8];
    const double now = lc_monotonic_seconds();
    complaint this = {.at = now}, *place = &s->complaints[0];
    (void)snprintf(line, sizeof line, "%s%s%s%s", job != NULL ? "job=" : "", job != NULL ? job : "",
                   job != NULL ? " " : "", message);
    lc_hash128(line, strlen(line), this.hash);
    for (complaint *one = s->complaints; one < s->complaints + COMPLAINTS; one++) {
        if (memcmp(one->hash, this.hash, sizeof this.hash) == 0) {
            if (now - one->at < SAY_AGAIN) {
                return;
            }
            place = one;
            break;
        }
        place = one->at < place->at ? one : place;
    }
    *place = this;
    lc_log(level, "%s", line);
}

/* ---- starting and stopping ---- */

static lc_code take_paths(lc_supervisor *s, const lc_supervisor_options *options, lc_err *err)
{
    if (realpath(options->program, s->program) == NULL) {
        return lc_fail_errno(err, "cannot find %s", options->program);
    }
    if (realpath(options->models_dir, s->models_dir) == NULL) {
        return lc_fail_errno(err, "cannot find %s", options->models_dir);
    }
    return LC_OK;
}

/* A supervisor that was killed as it started a trainer leaves the lock to that until it runs. */
static lc_code lock_jobs(lc_supervisor *s, lc_err *err)
{
    static const struct timespec moment = {.tv_nsec = 50000000};
    char dir[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(lc_store_dir(s->store), LC_JOBS_DIR, dir, err));
    LC_TRY(lc_mkdir(dir, err));
    lc_code code = LC_ERR_BUSY;
    for (int i = 0; i < LOCK_ATTEMPTS && code == LC_ERR_BUSY; i++) {
        lc_err_clear(err);
        code = lc_lock_dir(dir, &s->lock_fd, err);
        if (code == LC_ERR_BUSY) {
            (void)nanosleep(&moment, NULL);
        }
    }
    return code;
}

static void release(lc_supervisor *s)
{
    for (int i = 0; i < s->count; i++) {
        lc_free(s->trainers[i]);
    }
    lc_unlock_dir(s->lock_fd);
    (void)pthread_cond_destroy(&s->change);
    (void)pthread_mutex_destroy(&s->lock);
    lc_free(s);
}

static void init_lock(lc_supervisor *s)
{
    pthread_condattr_t attributes;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->change, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

lc_code lc_supervisor_start(lc_store *store, const lc_supervisor_options *options,
                            lc_supervisor **out, lc_err *err)
{
    lc_code code;
    void *memory = NULL;
    *out = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof(lc_supervisor), "the supervisor", err));
    lc_supervisor *s = memory;
    s->store = store;
    s->options = *options;
    if (s->options.running_limit > LC_MAX_TRAINERS) {
        s->options.running_limit = LC_MAX_TRAINERS;
    }
    s->options.stop_seconds = options->stop_seconds > 0.0 ? options->stop_seconds : STOP_SECONDS;
    s->lock_fd = -1;
    init_lock(s);
    LC_TRY_GOTO(take_paths(s, options, err));
    LC_TRY_GOTO(lock_jobs(s, err));
    LC_TRY_GOTO(take_over(s, err));
    const int result = pthread_create(&s->thread, NULL, run, s);
    if (result != 0) {
        errno = result;
        code = lc_fail_errno(err, "cannot start the supervisor");
        goto fail;
    }
    *out = s;
    return LC_OK;
fail:
    release(s);
    return code;
}

void lc_supervisor_poke(lc_supervisor *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->is_poked = true;
    (void)pthread_cond_signal(&s->change);
    (void)pthread_mutex_unlock(&s->lock);
}

void lc_supervisor_stop(lc_supervisor *s)
{
    if (s == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&s->lock);
    const bool runs = !s->is_stopping;
    s->is_stopping = true;
    (void)pthread_cond_signal(&s->change);
    (void)pthread_mutex_unlock(&s->lock);
    if (runs) {
        (void)pthread_join(s->thread, NULL);
    }
}

void lc_supervisor_free(lc_supervisor *s)
{
    lc_supervisor_stop(s);
    if (s != NULL) {
        release(s);
    }
}

/* ---- trainers ---- */

static lc_code add_trainer(lc_supervisor *s, const char *id, trainer **out, lc_err *err)
{
    void *memory = NULL;
    if (s->count == LC_MAX_TRAINERS) {
        return lc_fail(err, LC_ERR_BUSY, "%d trainers run, the limit", LC_MAX_TRAINERS);
    }
    LC_TRY(lc_new(&memory, 1, sizeof(trainer), "a trainer", err));
    trainer *t = memory;
    (void)snprintf(t->id, sizeof t->id, "%s", id);
    const lc_code code = lc_job_place(s->store, id, t->place, err);
    if (code != LC_OK) {
        lc_free(t);
        return code;
    }
    s->trainers[s->count++] = t;
    *out = t;
    return LC_OK;
}

static void drop_trainer(lc_supervisor *s, int index)
{
    lc_free(s->trainers[index]);
    s->trainers[index] = s->trainers[--s->count];
}

static bool has_trainer(const lc_supervisor *s, const char *id)
{
    for (int i = 0; i < s->count; i++) {
        if (strcmp(s->trainers[i]->id, id) == 0) {
            return true;
        }
    }
    return false;
}

/* The base models as the job's file names them, wherever they are now. */
static lc_code link_models(const lc_supervisor *s, const trainer *t, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES];
    LC_TRY(lc_path_join(t->place, LC_JOB_MODELS, path, err));
    if (unlink(path) != 0 && errno != ENOENT) {
        return lc_fail_errno(err, "cannot remove %s", path);
    }
    return symlink(s->models_dir, path) == 0 ? LC_OK : lc_fail_errno(err, "cannot make %s", path);
}

/* The trainer's process, new or again. */
static lc_code start_process(const lc_supervisor *s, trainer *t, lc_err *err)
{
    char log[LC_MAX_PATH_BYTES];
    struct stat status;
    const lc_process_args args = {.program = s->program,
                                  .place = t->place,
                                  .id = t->id,
                                  .threads = s->options.threads,
                                  .nice = s->options.nice};
    LC_TRY(link_models(s, t, err));
    LC_TRY(lc_path_join(t->place, LC_PROCESS_LOG, log, err));
    t->log_begin = stat(log, &status) == 0 ? (int64_t)status.st_size : 0;
    t->asked_at = 0.0;
    t->is_killed = false;
    LC_TRY(lc_process_start(&args, &t->process, err));
    lc_log(LC_LOG_INFO, "job=%s trainer=%ld started", t->id, t->process.pid);
    return LC_OK;
}

/* SIGTERM once, SIGKILL when that has not helped in time. */
static void ask_to_stop(const lc_supervisor *s, trainer *t)
{
    const double now = lc_monotonic_seconds();
    if (t->asked_at <= 0.0) {
        t->asked_at = now;
        lc_process_signal(&t->process, t->place, SIGTERM);
    } else if (!t->is_killed && now - t->asked_at > s->options.stop_seconds) {
        t->is_killed = true;
        lc_log(LC_LOG_WARN, "job=%s trainer=%ld does not stop and is killed", t->id,
               t->process.pid);
        lc_process_signal(&t->process, t->place, SIGKILL);
    }
}

/* Whether its job still wants it to run. A job that is gone does not. */
static lc_code is_wanted(const lc_supervisor *s, trainer *t, bool *wanted, lc_err *err)
{
    lc_db *db = NULL;
    lc_rows rows;
    *wanted = false;
    LC_TRY(lc_store_read(s->store, &db, err));
    lc_code code = lc_db_query(db, "SELECT status, owner FROM jobs WHERE id = ?1",
                               LC_BIND(lc_sql_text(t->id)), &rows, err);
    if (code == LC_OK) {
        if (lc_rows_next(&rows)) {
            const lc_status status = lc_status_of(lc_rows_text(&rows, 0));
            *wanted = status == LC_STATUS_PENDING || status == LC_STATUS_RUNNING ||
                      status == LC_STATUS_RESUMING;
            lc_rows_copy(&rows, 1, t->owner, sizeof t->owner);
        }
        code = lc_rows_end(&rows, err);
    }
    lc_store_end(&db);
    return code;
}

/* Its process is gone. *is_done: so is the trainer. */
static lc_code end_trainer(lc_supervisor *s, trainer *t, bool is_stopping, bool *is_done,
                           lc_err *err)
{
    lc_follow_next next;
    bool is_found = false;
    lc_process other;
    const lc_follow_end end = {
        .process = &t->process, .is_stopping = is_stopping, .log_begin = t->log_begin};
    *is_done = false;
    LC_TRY(lc_process_find(t->place, &other, &is_found, err));
    if (is_found) { /* ours was refused: one of an earlier server works on the job */
        t->process = other;
        return LC_OK;
    }
    do {
        LC_TRY(lc_follow_read(s->store, t->id, &t->follow, &end, &next, err));
    } while (next == LC_NEXT_MORE);
    lc_log(LC_LOG_INFO, "job=%s trainer=%ld ended exit=%d signal=%d", t->id, t->process.pid,
           t->process.exit_status, t->process.signal);
    if (next == LC_NEXT_RESTART && !is_stopping) {
        return start_process(s, t, err);
    }
    *is_done = true;
    return LC_OK;
}

static lc_code look_after(lc_supervisor *s, trainer *t, bool is_stopping, bool *is_done,
                          lc_err *err)
{
    lc_follow_next next;
    bool wanted = false;
    *is_done = false;
    LC_TRY(lc_process_look(&t->process, t->place, err));
    if (t->process.has_ended) {
        return end_trainer(s, t, is_stopping, is_done, err);
    }
    LC_TRY(is_wanted(s, t, &wanted, err));
    if (!wanted || is_stopping) {
        ask_to_stop(s, t);
    }
    do {
        LC_TRY(lc_follow_read(s->store, t->id, &t->follow, NULL, &next, err));
    } while (next == LC_NEXT_MORE);
    return LC_OK;
}

/* What fails (a full disk, mostly) is tried again in the next round. */
static void look_after_all(lc_supervisor *s, bool is_stopping)
{
    for (int i = s->count - 1; i >= 0; i--) {
        lc_err err = {.code = LC_OK};
        bool is_done = false;
        if (look_after(s, s->trainers[i], is_stopping, &is_done, &err) != LC_OK) {
            complain(s, LC_LOG_WARN, s->trainers[i]->id, err.message);
        } else if (is_done) {
            s->sweep_at = 0.0; /* a deleted job's directory can go now */
            drop_trainer(s, i);
        }
    }
}

/* ---- the queue ---- */

typedef struct waiting {
    char id[LC_ID_BYTES], owner[LC_ID_BYTES];
} waiting;

#define MAX_WAITING 256 /* looked at in a round */
_Static_assert(MAX_WAITING >= 3 * LC_MAX_TRAINERS,
               "those that run, those of keys that have all they may, those to be started");

/* Jobs without a trainer: those that wait for one, those that had one first, of each key (?2) as
 * many as it may have at once, so that a long queue hides no other; those that are to be paused;
 * those that should have one. */
static const char waiting_sql[] =
    "SELECT id, owner FROM (SELECT id, owner, seq, status <> 'running' AS is_new, row_number() OVER"
    " (PARTITION BY owner ORDER BY status <> 'running', seq) AS place FROM jobs"
    " WHERE status IN ('pending', 'running', 'resuming'))"
    " WHERE place <= ?2 ORDER BY is_new, seq LIMIT ?1";
static const char pausing_sql[] = "SELECT id, owner FROM jobs WHERE status = 'pausing' LIMIT ?1";
static const char running_sql[] =
    "SELECT id, owner FROM jobs WHERE status IN ('running', 'pausing') LIMIT ?1";

static lc_code list_idle(const lc_supervisor *s, const char *sql, waiting *out, int *count,
                         lc_err *err)
{
    lc_db *db = NULL;
    lc_rows rows;
    const lc_sql_value values[] = {lc_sql_int(MAX_WAITING),
                                   lc_sql_int(s->options.running_limit_per_key)};
    *count = 0;
    LC_TRY(lc_store_read(s->store, &db, err));
    lc_code code = lc_db_query(db, sql, values, sql == waiting_sql ? 2 : 1, &rows, err);
    if (code == LC_OK) {
        while (lc_rows_next(&rows)) {
            lc_rows_copy(&rows, 0, out[*count].id, sizeof out->id);
            lc_rows_copy(&rows, 1, out[*count].owner, sizeof out->owner);
            *count += !has_trainer(s, out[*count].id);
        }
        code = lc_rows_end(&rows, err);
    }
    lc_store_end(&db);
    return code;
}

static int64_t count_of(const lc_supervisor *s, const char *owner)
{
    int64_t count = 0;
    for (int i = 0; i < s->count; i++) {
        count += strcmp(s->trainers[i]->owner, owner) == 0;
    }
    return count;
}

static lc_code start_job(lc_supervisor *s, const waiting *job, lc_err *err)
{
    trainer *t = NULL;
    LC_TRY(add_trainer(s, job->id, &t, err));
    (void)snprintf(t->owner, sizeof t->owner, "%s", job->owner);
    const lc_code code = start_process(s, t, err);
    if (code != LC_OK) {
        drop_trainer(s, s->count - 1);
    }
    return code;
}

static lc_code start_jobs(lc_supervisor *s, lc_err *err)
{
    waiting jobs[MAX_WAITING];
    int count = 0;
    if (s->count >= s->options.running_limit || lc_monotonic_seconds() < s->retry_at) {
        return LC_OK;
    }
    lc_code code = list_idle(s, waiting_sql, jobs, &count, err);
    for (int i = 0; i < count && code == LC_OK && s->count < s->options.running_limit; i++) {
        if (count_of(s, jobs[i].owner) < s->options.running_limit_per_key) {
            code = start_job(s, &jobs[i], err);
        }
    }
    if (code != LC_OK) {
        s->retry_at = lc_monotonic_seconds() + RETRY_SECONDS;
    }
    return code;
}

/* Jobs that should have a trainer and have none: what its end, which nobody saw, means for them. */
static lc_code settle(lc_supervisor *s, const char *sql, lc_err *err)
{
    static const lc_follow_end unseen = {.process = NULL};
    waiting jobs[MAX_WAITING];
    int count = 0;
    LC_TRY(list_idle(s, sql, jobs, &count, err));
    for (int i = 0; i < count; i++) {
        lc_follow follow = {.offset = 0};
        lc_follow_next next = LC_NEXT_MORE;
        lc_err own = {.code = LC_OK};
        while (next == LC_NEXT_MORE &&
               lc_follow_read(s->store, jobs[i].id, &follow, &unseen, &next, &own) == LC_OK) {}
        if (own.code != LC_OK) { /* the others do not wait for it */
            complain(s, LC_LOG_ERROR, jobs[i].id, own.message);
        }
    }
    return LC_OK;
}

/* ---- directories ---- */

/* Whether a directory in DATA/jobs belongs to a job or a model. */
static lc_code is_used(lc_db *db, const char *id, bool *used, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db,
                       "SELECT 1 FROM jobs WHERE id = ?1 "
                       "UNION ALL SELECT 1 FROM models WHERE job_id = ?1 LIMIT 1",
                       LC_BIND(lc_sql_text(id)), &rows, err));
    *used = lc_rows_next(&rows);
    return lc_rows_end(&rows, err);
}

/* Takes it out of the way while nobody can be making a job, then removes it. */
static lc_code sweep_one(lc_supervisor *s, const char *parent, const char *name, lc_err *err)
{
    lc_db *db = NULL;
    bool used = false;
    char path[LC_MAX_PATH_BYTES], trash[LC_MAX_PATH_BYTES], trash_name[LC_ID_BYTES + 16];
    const bool is_trash = strncmp(name, TRASH_PREFIX, strlen(TRASH_PREFIX)) == 0;
    if ((!is_trash && !lc_id_is(name, LC_PREFIX_JOB)) || has_trainer(s, name)) {
        return LC_OK;
    }
    LC_TRY(lc_path_join(parent, name, path, err));
    if (is_trash) {
        return lc_remove_tree(path, err);
    }
    (void)snprintf(trash_name, sizeof trash_name, TRASH_PREFIX "%s", name);
    LC_TRY(lc_path_join(parent, trash_name, trash, err));
    LC_TRY(lc_store_begin(s->store, &db, err));
    lc_code code = is_used(db, name, &used, err);
    if (code == LC_OK && !used) {
        code = lc_rename(path, trash, err);
    }
    lc_store_end(&db);
    return code != LC_OK || used ? code : lc_remove_tree(trash, err);
}

/* Calls for every entry of DATA/jobs. What one of them fails with is logged and does not keep the
 * others waiting. */
static lc_code for_each_job(lc_supervisor *s,
                            lc_code (*visit)(lc_supervisor *s, const char *parent, const char *name,
                                             lc_err *err),
                            lc_err *err)
{
    char dir[LC_MAX_PATH_BYTES];
    char **names = NULL;
    size_t count = 0;
    LC_TRY(lc_path_join(lc_store_dir(s->store), LC_JOBS_DIR, dir, err));
    if (!lc_path_is_dir(dir)) {
        return LC_OK;
    }
    LC_TRY(lc_list_dir(dir, &names, &count, err));
    for (size_t i = 0; i < count; i++) {
        lc_err own = {.code = LC_OK};
        if (visit(s, dir, names[i], &own) != LC_OK) {
            complain(s, LC_LOG_ERROR, names[i], own.message);
        }
    }
    lc_list_free(names, count);
    return LC_OK;
}

static lc_code sweep(lc_supervisor *s, lc_err *err)
{
    const double now = lc_monotonic_seconds();
    if (now < s->sweep_at) {
        return LC_OK;
    }
    s->sweep_at = now + SWEEP_SECONDS;
    return for_each_job(s, sweep_one, err);
}

/* ---- taking over ---- */

static lc_code find_trainer(lc_supervisor *s, const char *parent, const char *name, lc_err *err)
{
    char place[LC_MAX_PATH_BYTES];
    lc_process process;
    bool is_found = false, ignored = false;
    trainer *t = NULL;
    if (!lc_id_is(name, LC_PREFIX_JOB)) {
        return LC_OK;
    }
    LC_TRY(lc_path_join(parent, name, place, err));
    LC_TRY(lc_process_find(place, &process, &is_found, err));
    if (!is_found) {
        return LC_OK;
    }
    LC_TRY(add_trainer(s, name, &t, err));
    t->process = process;
    lc_log(LC_LOG_INFO, "job=%s trainer=%ld is still there", name, process.pid);
    return is_wanted(s, t, &ignored, err); /* whose it is */
}

static lc_code take_over(lc_supervisor *s, lc_err *err)
{
    LC_TRY(for_each_job(s, find_trainer, err));
    return settle(s, running_sql, err);
}

/* ---- the thread ---- */

/* Waits for a change, or for the next round. */
static void wait_for_change(lc_supervisor *s, int64_t milliseconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += milliseconds % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&s->lock);
    while (!s->is_poked && !s->is_stopping) {
        if (pthread_cond_timedwait(&s->change, &s->lock, &until) != 0) {
            break;
        }
    }
    s->is_poked = false;
    (void)pthread_mutex_unlock(&s->lock);
}

static bool is_stopping(lc_supervisor *s)
{
    (void)pthread_mutex_lock(&s->lock);
    const bool stopping = s->is_stopping;
    (void)pthread_mutex_unlock(&s->lock);
    return stopping;
}

static void stop_all(lc_supervisor *s)
{
    static const struct timespec moment = {.tv_nsec = 20000000};
    const double patience = 2.0 * s->options.stop_seconds; /* a killed one may be slow to go */
    for (const double began = lc_monotonic_seconds();
         s->count > 0 && lc_monotonic_seconds() - began < patience;) {
        look_after_all(s, true);
        (void)nanosleep(&moment, NULL);
    }
}

static void *run(void *context)
{
    lc_supervisor *s = context;
    while (!is_stopping(s)) {
        lc_err err = {.code = LC_OK};
        look_after_all(s, false);
        if (settle(s, pausing_sql, &err) != LC_OK || start_jobs(s, &err) != LC_OK ||
            sweep(s, &err) != LC_OK) {
            complain(s, LC_LOG_ERROR, NULL, err.message);
        }
        wait_for_change(s, s->count > 0 ? ROUND_MS : IDLE_MS);
    }
    stop_all(s);
    return NULL;
}
