/*
 * The store: DATA/lorac.db, a SQLite database in WAL mode with synchronous FULL, so that what was
 * answered is on the disk. One connection writes, behind a mutex; a few read, each seeing the state
 * of one instant. Who has a table has its SQL; here are opening, migrations, transactions and
 * statements. All statements are prepared, all values bound.
 *
 *     lc_db *db = NULL;
 *     LC_TRY(lc_store_begin(store, &db, err));
 *     LC_TRY_GOTO(lc_db_run(db, "UPDATE jobs SET status = ?1 WHERE id = ?2",
 *                           LC_BIND(lc_sql_text("paused"), lc_sql_text(id)), err));
 *     LC_TRY_GOTO(lc_store_commit(&db, err));
 *     return LC_OK;
 * fail:
 *     lc_store_end(&db);
 *     return code;
 */
#ifndef LC_SERVE_STORE_H
#define LC_SERVE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#define LC_STORE_READERS   4 /* connections; further readers wait for one */
#define LC_STORE_FILE      "lorac.db"
#define LC_STORE_BUSY_MS   5000                /* for another process that writes (lorac keys) */
#define LC_MAX_STORE_CHECK ((int64_t)64 << 20) /* bytes up to which opening checks all pages */
#define LC_STORE_ROOM      ((int64_t)8 << 20)  /* bytes kept for when the disk is full */

typedef struct lc_store lc_store;
typedef struct lc_db lc_db; /* a connection while somebody has it: one transaction */

/* Makes DIR and the database where they are absent, migrates an older one. A newer one, a file that
 * is no database, or a damaged one: LC_ERR_INVALID. Safe while another process has it open. */
LC_WARN_UNUSED lc_code lc_store_open(const char *data_dir, lc_store **out, lc_err *err);
void lc_store_close(lc_store *store);            /* NULL: nothing. Nobody may have a connection. */
const char *lc_store_dir(const lc_store *store); /* DATA */

/* Takes the writer (waits for it) and begins a transaction that sees the newest state. */
LC_WARN_UNUSED lc_code lc_store_begin(lc_store *store, lc_db **out, lc_err *err);
/* Takes a reader (waits for one). Not while the same thread has another connection. */
LC_WARN_UNUSED lc_code lc_store_read(lc_store *store, lc_db **out, lc_err *err);
/* Makes it last and gives the writer back (*db = NULL). On failure nothing of it lasts. A full disk
 * is LC_ERR_DISK_FULL. */
LC_WARN_UNUSED lc_code lc_store_commit(lc_db **db, lc_err *err);
/* Drops what was not committed, and gives the connection back. *db NULL: nothing. */
void lc_store_end(lc_db **db);

/* ---- values and statements ---- */

typedef enum lc_sql_kind {
    LC_SQL_NULL,
    LC_SQL_INT,
    LC_SQL_REAL,
    LC_SQL_TEXT,
    LC_SQL_BLOB
} lc_sql_kind;

typedef struct lc_sql_value {
    lc_sql_kind kind;
    int64_t integer;
    double real;
    const void *bytes; /* borrowed until the statement has run */
    size_t count;
} lc_sql_value;

lc_sql_value lc_sql_null(void);
lc_sql_value lc_sql_int(int64_t value);
lc_sql_value lc_sql_int_or_null(int64_t value); /* negative: NULL */
lc_sql_value lc_sql_real(double value);
lc_sql_value lc_sql_text(const char *text); /* NULL: NULL */
lc_sql_value lc_sql_blob(const void *bytes, size_t count);

/* The values of ?1, ?2, ... of a statement. */
#define LC_BIND(...)                     \
    (const lc_sql_value[]){__VA_ARGS__}, \
        (int)(sizeof((const lc_sql_value[]){__VA_ARGS__}) / sizeof(lc_sql_value))
#define LC_BIND_NONE NULL, 0

/* Runs a statement to its end. `sql` is a literal: prepared statements are kept by it. */
LC_WARN_UNUSED lc_code lc_db_run(lc_db *db, const char *sql, const lc_sql_value *values, int count,
                                 lc_err *err);
int64_t lc_db_changes(const lc_db *db); /* rows that the last lc_db_run changed */

/* Rows of a query:
 *
 *     lc_rows rows;
 *     LC_TRY(lc_db_query(db, "SELECT id, bytes FROM files WHERE owner = ?1",
 *                        LC_BIND(lc_sql_text(owner)), &rows, err));
 *     while (lc_rows_next(&rows)) {
 *         use(lc_rows_text(&rows, 0), lc_rows_int(&rows, 1));
 *     }
 *     return lc_rows_end(&rows, err);
 */
typedef struct lc_rows {
    lc_db *db;
    void *statement;
    int code; /* SQLite's, of the last step */
} lc_rows;

LC_WARN_UNUSED lc_code lc_db_query(lc_db *db, const char *sql, const lc_sql_value *values,
                                   int count, lc_rows *rows, lc_err *err);
bool lc_rows_next(lc_rows *rows); /* false: no more, or failed: lc_rows_end says which */
LC_WARN_UNUSED lc_code lc_rows_end(lc_rows *rows,
                                   lc_err *err); /* once per query, before the last row too */

/* A column of the row, from 0. Texts and blobs last until the next row. */
bool lc_rows_is_null(const lc_rows *rows, int column);
int64_t lc_rows_int(const lc_rows *rows, int column); /* NULL: 0 */
double lc_rows_real(const lc_rows *rows, int column);
const char *lc_rows_text(const lc_rows *rows, int column); /* NULL: NULL */
const void *lc_rows_blob(const lc_rows *rows, int column, size_t *count);
/* Copies a text, cut to capacity; NULL becomes "". */
void lc_rows_copy(const lc_rows *rows, int column, char *out, size_t capacity);

#endif
