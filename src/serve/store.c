/*
 * Connections, transactions, migrations and statements over SQLite; see store.h. The only file that
 * includes sqlite3.h.
 */
#include "serve/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "lorac/log.h"
#include "lorac/mem.h"
#include "serve/schema.h"

#define MAX_STATEMENTS 128 /* kept per connection; further ones are prepared each time */

typedef struct statement {
    const char *sql;
    sqlite3_stmt *prepared; /* owned */
    bool is_used;
} statement;

struct lc_db {
    lc_store *store; /* borrowed */
    sqlite3 *handle; /* owned */
    bool is_writer;
    bool is_taken;
    statement statements[MAX_STATEMENTS];
    int statement_count;
};

struct lc_store {
    char dir[LC_MAX_PATH_BYTES];
    char path[LC_MAX_PATH_BYTES];
    bool is_open;
    pthread_mutex_t lock; /* of is_taken in all connections */
    pthread_cond_t given_back;
    lc_db writer;
    lc_db readers[LC_STORE_READERS];
};

static lc_code open_connection(lc_store *store, bool is_writer, lc_db *db, lc_err *err);
static void close_connection(lc_db *db);
static lc_code migrate(lc_db *db, lc_err *err);
static lc_code check_pages(lc_db *db, lc_err *err);
static void keep_room(const lc_store *store);
static lc_code run_text(lc_db *db, const char *sql, lc_err *err);

/* ---- errors ---- */

static lc_code code_of(lc_db *db, int result)
{
    const int system = db->handle != NULL ? sqlite3_system_errno(db->handle) : 0;
    switch (result & 0xff) {
    case SQLITE_FULL:
        return LC_ERR_DISK_FULL;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return system == ENOSPC || system == EDQUOT ? LC_ERR_DISK_FULL : LC_ERR_IO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return LC_ERR_BUSY;
    case SQLITE_NOMEM:
        return LC_ERR_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: /* later it is no fault of who asked */
        return db->store->is_open ? LC_ERR_IO : LC_ERR_INVALID;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return LC_ERR_IO;
    default: /* a statement that is wrong, a constraint that no code looked at before */
        return LC_ERR_INTERNAL;
    }
}

/* An open store serves clients of the API: they learn its name, but not where it is. */
static lc_code fail_sql(lc_db *db, int result, lc_err *err)
{
    const char *name = db->store->is_open ? LC_STORE_FILE : db->store->path;
    const char *reason = db->handle != NULL && sqlite3_errcode(db->handle) != SQLITE_OK
                             ? sqlite3_errmsg(db->handle)
                             : sqlite3_errstr(result);
    const int kind = result & 0xff;
    const int system = (kind == SQLITE_CANTOPEN || kind == SQLITE_IOERR) && db->handle != NULL
                           ? sqlite3_system_errno(db->handle)
                           : 0;
    return lc_fail(err, code_of(db, result), "%s%s: %s%s%s", name,
                   kind == SQLITE_CORRUPT ? " is damaged" : "", reason, system != 0 ? ": " : "",
                   system != 0 ? strerror(system) : "");
}

/* ---- opening ---- */

/* What people upload is nobody else's to read; a directory that is there stays as it is. */
static lc_code make_private(const char *dir, lc_err *err)
{
    if (lc_path_exists(dir)) {
        return LC_OK;
    }
    LC_TRY(lc_mkdir_parents(dir, err));
    return chmod(dir, S_IRWXU) == 0 ? LC_OK : lc_fail_errno(err, "cannot close %s to others", dir);
}

/* SQLite opens for reading what it may not write, and then does not say why it cannot. */
static lc_code check_access(const lc_store *store, lc_err *err)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    if (access(store->dir, R_OK | W_OK | X_OK) != 0) {
        return lc_fail_errno(err, "cannot work in %s", store->dir);
    }
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char path[LC_MAX_PATH_BYTES + 8];
        (void)snprintf(path, sizeof path, "%s%s", store->path, suffixes[i]);
        if (access(path, R_OK | W_OK) != 0 && errno != ENOENT) {
            return lc_fail_errno(err, "cannot write %s", path);
        }
    }
    return LC_OK;
}

lc_code lc_store_open(const char *data_dir, lc_store **out, lc_err *err)
{
    lc_code code;
    void *memory = NULL;
    *out = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof(lc_store), "the store", err));
    lc_store *store = memory;
    (void)pthread_mutex_init(&store->lock, NULL);
    (void)pthread_cond_init(&store->given_back, NULL);
    LC_TRY_GOTO(lc_path_join(data_dir, LC_STORE_FILE, store->path, err));
    (void)snprintf(store->dir, sizeof store->dir, "%s", data_dir);
    LC_TRY_GOTO(make_private(data_dir, err));
    LC_TRY_GOTO(check_access(store, err));
    LC_TRY_GOTO(open_connection(store, true, &store->writer, err));
    LC_TRY_GOTO(migrate(&store->writer, err));
    LC_TRY_GOTO(check_pages(&store->writer, err));
    for (int i = 0; i < LC_STORE_READERS; i++) {
        LC_TRY_GOTO(open_connection(store, false, &store->readers[i], err));
    }
    keep_room(store);
    store->is_open = true;
    *out = store;
    return LC_OK;
fail:
    lc_store_close(store);
    return code;
}

void lc_store_close(lc_store *store)
{
    if (store == NULL) {
        return;
    }
    for (int i = 0; i < LC_STORE_READERS; i++) {
        close_connection(&store->readers[i]);
    }
    close_connection(&store->writer); /* last: the log is moved into the database */
    (void)pthread_cond_destroy(&store->given_back);
    (void)pthread_mutex_destroy(&store->lock);
    lc_free(store);
}

const char *lc_store_dir(const lc_store *store)
{
    return store->dir;
}

/* What keeps a file from outside, or a slip of ours, from doing more than read and write rows. */
static int harden(sqlite3 *handle)
{
    static const struct {
        int option, value;
    } options[] = {{SQLITE_DBCONFIG_DEFENSIVE, 1},   {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                   {SQLITE_DBCONFIG_DQS_DML, 0},     {SQLITE_DBCONFIG_DQS_DDL, 0},
                   {SQLITE_DBCONFIG_ENABLE_FKEY, 1}, {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
                   {SQLITE_DBCONFIG_ENABLE_VIEW, 0}, {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        const int result =
            sqlite3_db_config(handle, options[i].option, options[i].value, (int *)NULL);
        if (result != SQLITE_OK) {
            return result;
        }
    }
    return sqlite3_busy_timeout(handle, LC_STORE_BUSY_MS);
}

static lc_code open_connection(lc_store *store, bool is_writer, lc_db *db, lc_err *err)
{
    db->store = store;
    db->is_writer = is_writer;
    const int flags = (is_writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                 : SQLITE_OPEN_READWRITE) | /* a reader of WAL writes its index */
                      SQLITE_OPEN_NOMUTEX |
                      SQLITE_OPEN_EXRESCODE;
    const int result = sqlite3_open_v2(store->path, &db->handle, flags, NULL);
    if (result != SQLITE_OK) {
        return fail_sql(db, result, err);
    }
    const int hardened = harden(db->handle);
    if (hardened != SQLITE_OK) {
        return fail_sql(db, hardened, err);
    }
    lc_code code = run_text(db, "PRAGMA journal_mode = WAL", err);
    if (code == LC_OK) {
        code = run_text(db, "PRAGMA synchronous = FULL", err);
    }
    if (code == LC_OK && !is_writer) {
        code = run_text(db, "PRAGMA query_only = ON", err);
    }
    return code;
}

static void close_connection(lc_db *db)
{
    for (int i = 0; i < db->statement_count; i++) {
        (void)sqlite3_finalize(db->statements[i].prepared);
    }
    db->statement_count = 0;
    (void)sqlite3_close(db->handle);
    db->handle = NULL;
}

/* Statements without values or rows that matter. */
static lc_code run_text(lc_db *db, const char *sql, lc_err *err)
{
    const int result = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? LC_OK : fail_sql(db, result, err);
}

static lc_code query_one(lc_db *db, const char *sql, int64_t *number, char *text, size_t capacity,
                         lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db, sql, LC_BIND_NONE, &rows, err));
    if (lc_rows_next(&rows)) {
        *number = lc_rows_int(&rows, 0);
        lc_rows_copy(&rows, 0, text, capacity);
    }
    return lc_rows_end(&rows, err);
}

static lc_code migrate_step(lc_db *db, int64_t version, lc_err *err)
{
    char text[64];
    LC_TRY(run_text(db, lc_schema_steps[version], err));
    (void)snprintf(text, sizeof text, "PRAGMA user_version = %lld", (long long)version + 1);
    return run_text(db, text, err);
}

/* All steps in one transaction: two processes that open an old store do not both migrate it. */
static lc_code migrate(lc_db *db, lc_err *err)
{
    int64_t version = 0;
    char ignored[1];
    LC_TRY(run_text(db, "BEGIN IMMEDIATE", err));
    lc_code code = query_one(db, "PRAGMA user_version", &version, ignored, sizeof ignored, err);
    if (code == LC_OK && (version < 0 || version > lc_schema_version)) {
        code = lc_fail(err, LC_ERR_INVALID,
                       "%s has version %lld, this lorac knows versions up to %d: a newer lorac "
                       "made it",
                       db->store->path, (long long)version, lc_schema_version);
    }
    for (; code == LC_OK && version < lc_schema_version; version++) {
        code = migrate_step(db, version, err);
    }
    if (code == LC_OK) {
        code = run_text(db, "COMMIT", err);
    }
    if (code != LC_OK) {
        (void)run_text(db, "ROLLBACK", NULL);
    }
    return code;
}

/* A damaged database must not be written to any further. Large ones would keep the server from
 * being ready at once; there damage shows when it is met. */
static lc_code check_pages(lc_db *db, lc_err *err)
{
    struct stat status;
    int64_t ignored = 0;
    char verdict[256] = "";
    if (stat(db->store->path, &status) != 0 || status.st_size > LC_MAX_STORE_CHECK) {
        return LC_OK;
    }
    LC_TRY(query_one(db, "PRAGMA quick_check(1)", &ignored, verdict, sizeof verdict, err));
    return strcmp(verdict, "ok") == 0
               ? LC_OK
               : lc_fail(err, LC_ERR_INVALID, "%s is damaged: %s", db->store->path, verdict);
}

/* Blocks for the log before it needs them: that a disk is full must be written on that disk. SQLite
 * starts the log again every 1000 pages, but cannot while the database finds no room to grow; the
 * other half is for then. Its locks are on other files, so this one may be opened and closed. */
static void keep_room(const lc_store *store)
{
    char log[LC_MAX_PATH_BYTES + 8];
    (void)snprintf(log, sizeof log, "%s-wal", store->path);
    const int fd = open(log, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LC_STORE_ROOM) != 0) {
        lc_log(LC_LOG_INFO, "no room is kept for %s: %s", log, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* ---- transactions ---- */

static lc_db *find_free(lc_store *store, bool is_writer)
{
    if (is_writer) {
        return store->writer.is_taken ? NULL : &store->writer;
    }
    for (int i = 0; i < LC_STORE_READERS; i++) {
        if (!store->readers[i].is_taken) {
            return &store->readers[i];
        }
    }
    return NULL;
}

static lc_db *take(lc_store *store, bool is_writer)
{
    lc_db *db;
    (void)pthread_mutex_lock(&store->lock);
    while ((db = find_free(store, is_writer)) == NULL) {
        (void)pthread_cond_wait(&store->given_back, &store->lock);
    }
    db->is_taken = true;
    (void)pthread_mutex_unlock(&store->lock);
    return db;
}

static void give_back(lc_db *db)
{
    lc_store *store = db->store;
    (void)pthread_mutex_lock(&store->lock);
    db->is_taken = false;
    (void)pthread_cond_broadcast(&store->given_back);
    (void)pthread_mutex_unlock(&store->lock);
}

static lc_code begin(lc_store *store, bool is_writer, lc_db **out, lc_err *err)
{
    *out = take(store, is_writer);
    const lc_code code =
        lc_db_run(*out, is_writer ? "BEGIN IMMEDIATE" : "BEGIN", LC_BIND_NONE, err);
    if (code != LC_OK) {
        give_back(*out);
        *out = NULL;
    }
    return code;
}

lc_code lc_store_begin(lc_store *store, lc_db **out, lc_err *err)
{
    return begin(store, true, out, err);
}

lc_code lc_store_read(lc_store *store, lc_db **out, lc_err *err)
{
    return begin(store, false, out, err);
}

lc_code lc_store_commit(lc_db **db, lc_err *err)
{
    const lc_code code = lc_db_run(*db, "COMMIT", LC_BIND_NONE, err);
    if (code != LC_OK) {
        lc_store_end(db);
        return code;
    }
    give_back(*db);
    *db = NULL;
    return LC_OK;
}

void lc_store_end(lc_db **db)
{
    if (*db == NULL) {
        return;
    }
    if (sqlite3_get_autocommit((*db)->handle) == 0) { /* SQLite ends some failed ones itself */
        (void)run_text(*db, "ROLLBACK", NULL);
    }
    give_back(*db);
    *db = NULL;
}

/* ---- values ---- */

lc_sql_value lc_sql_null(void)
{
    return (lc_sql_value){.kind = LC_SQL_NULL};
}

lc_sql_value lc_sql_int(int64_t value)
{
    return (lc_sql_value){.kind = LC_SQL_INT, .integer = value};
}

lc_sql_value lc_sql_int_or_null(int64_t value)
{
    return value < 0 ? lc_sql_null() : lc_sql_int(value);
}

lc_sql_value lc_sql_real(double value)
{
    return (lc_sql_value){.kind = LC_SQL_REAL, .real = value};
}

lc_sql_value lc_sql_text(const char *text)
{
    return text == NULL ? lc_sql_null()
                        : (lc_sql_value){.kind = LC_SQL_TEXT, .bytes = text, .count = strlen(text)};
}

lc_sql_value lc_sql_blob(const void *bytes, size_t count)
{
    return (lc_sql_value){.kind = LC_SQL_BLOB, .bytes = bytes, .count = count};
}

static int bind(sqlite3_stmt *prepared, int index, const lc_sql_value *value)
{
    switch (value->kind) {
    case LC_SQL_INT:
        return sqlite3_bind_int64(prepared, index, value->integer);
    case LC_SQL_REAL:
        return sqlite3_bind_double(prepared, index, value->real);
    case LC_SQL_TEXT:
        return sqlite3_bind_text64(prepared, index, value->bytes, value->count, SQLITE_TRANSIENT,
                                   SQLITE_UTF8);
    case LC_SQL_BLOB:
        return sqlite3_bind_blob64(prepared, index, value->bytes, value->count, SQLITE_TRANSIENT);
    case LC_SQL_NULL:
    default:
        return sqlite3_bind_null(prepared, index);
    }
}

/* ---- statements ---- */

static int prepare(lc_db *db, const char *sql, unsigned flags, sqlite3_stmt **out)
{
    const char *rest = NULL;
    const int result = sqlite3_prepare_v3(db->handle, sql, -1, flags, out, &rest);
    if (result != SQLITE_OK || rest[0] == '\0') {
        return result;
    }
    (void)sqlite3_finalize(*out); /* more than one statement */
    return SQLITE_MISUSE;
}

/* The statement of a text: a kept one, or one made for this time (lc_rows_end frees it). */
static int take_statement(lc_db *db, const char *sql, sqlite3_stmt **out)
{
    for (int i = 0; i < db->statement_count; i++) {
        statement *kept = &db->statements[i];
        if (!kept->is_used && strcmp(kept->sql, sql) == 0) {
            kept->is_used = true;
            *out = kept->prepared;
            return SQLITE_OK;
        }
    }
    const bool is_kept = db->statement_count < MAX_STATEMENTS;
    const int result = prepare(db, sql, is_kept ? SQLITE_PREPARE_PERSISTENT : 0, out);
    if (result == SQLITE_OK && is_kept) {
        db->statements[db->statement_count++] =
            (statement){.sql = sql, .prepared = *out, .is_used = true};
    }
    return result;
}

static void return_statement(lc_db *db, sqlite3_stmt *prepared)
{
    for (int i = 0; i < db->statement_count; i++) {
        if (db->statements[i].prepared == prepared) {
            (void)sqlite3_reset(prepared);
            (void)sqlite3_clear_bindings(prepared);
            db->statements[i].is_used = false;
            return;
        }
    }
    (void)sqlite3_finalize(prepared);
}

lc_code lc_db_query(lc_db *db, const char *sql, const lc_sql_value *values, int count,
                    lc_rows *rows, lc_err *err)
{
    sqlite3_stmt *prepared = NULL;
    int result = take_statement(db, sql, &prepared);
    if (result != SQLITE_OK) {
        return fail_sql(db, result, err);
    }
    if (sqlite3_bind_parameter_count(prepared) != count) {
        result = SQLITE_RANGE;
    }
    for (int i = 0; i < count && result == SQLITE_OK; i++) {
        result = bind(prepared, i + 1, &values[i]);
    }
    *rows = (lc_rows){.db = db, .statement = prepared, .code = result};
    if (result != SQLITE_OK) {
        (void)fail_sql(db, result, err);
        return_statement(db, prepared);
        return code_of(db, result);
    }
    return LC_OK;
}

bool lc_rows_next(lc_rows *rows)
{
    if (rows->code == SQLITE_OK || rows->code == SQLITE_ROW) {
        rows->code = sqlite3_step(rows->statement);
    }
    return rows->code == SQLITE_ROW;
}

lc_code lc_rows_end(lc_rows *rows, lc_err *err)
{
    const bool is_good =
        rows->code == SQLITE_OK || rows->code == SQLITE_ROW || rows->code == SQLITE_DONE;
    const lc_code code = is_good ? LC_OK : fail_sql(rows->db, rows->code, err);
    return_statement(rows->db, rows->statement);
    rows->statement = NULL;
    return code;
}

lc_code lc_db_run(lc_db *db, const char *sql, const lc_sql_value *values, int count, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db, sql, values, count, &rows, err));
    while (lc_rows_next(&rows)) {}
    return lc_rows_end(&rows, err);
}

int64_t lc_db_changes(const lc_db *db)
{
    return sqlite3_changes64(db->handle);
}

bool lc_rows_is_null(const lc_rows *rows, int column)
{
    return sqlite3_column_type(rows->statement, column) == SQLITE_NULL;
}

int64_t lc_rows_int(const lc_rows *rows, int column)
{
    return sqlite3_column_int64(rows->statement, column);
}

double lc_rows_real(const lc_rows *rows, int column)
{
    return sqlite3_column_double(rows->statement, column);
}

const char *lc_rows_text(const lc_rows *rows, int column)
{
    return (const char *)sqlite3_column_text(rows->statement, column);
}

const void *lc_rows_blob(const lc_rows *rows, int column, size_t *count)
{
    const void *bytes = sqlite3_column_blob(rows->statement, column);
    *count = (size_t)sqlite3_column_bytes(rows->statement, column);
    return bytes;
}

void lc_rows_copy(const lc_rows *rows, int column, char *out, size_t capacity)
{
    const char *text = lc_rows_text(rows, column);
    if (capacity > 0) {
        (void)snprintf(out, capacity, "%s", text != NULL ? text : "");
    }
}
