/* The store: reopening, migrating, transactions of two writers, a full disk, damage; ids. */
// ctest: threads
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "lorac/mem.h"
#include "serve/ids.h"
#include "serve/store.h"

static lc_store *open_store(const char *dir)
{
    lc_store *store = NULL;
    assert_ok(lc_store_open(dir, &store, &test_err));
    return store;
}

static lc_code add_key(lc_store *store, const char *id, lc_err *err)
{
    lc_db *db = NULL;
    LC_TRY(lc_store_begin(store, &db, err));
    lc_code code = lc_db_run(
        db, "INSERT INTO keys (id, name, hash, created_at) VALUES (?1, ?2, ?3, ?4)",
        LC_BIND(lc_sql_text(id), lc_sql_text("n\"'ame"), lc_sql_blob("\0x", 2), lc_sql_int(7)),
        err);
    if (code == LC_OK) {
        code = lc_store_commit(&db, err);
    }
    lc_store_end(&db);
    return code;
}

/* Also called by several threads at once. */
static int64_t count_keys(lc_store *store)
{
    lc_db *db = NULL;
    lc_rows rows;
    lc_err err = {.code = LC_OK};
    int64_t count = -1;
    if (lc_store_read(store, &db, &err) == LC_OK &&
        lc_db_query(db, "SELECT count(*) FROM keys", LC_BIND_NONE, &rows, &err) == LC_OK) {
        count = lc_rows_next(&rows) ? lc_rows_int(&rows, 0) : -1;
        count = lc_rows_end(&rows, &err) == LC_OK ? count : -1;
    }
    lc_store_end(&db);
    if (count < 0) {
        fail_msg("%s", err.message);
    }
    return count;
}

static void with_sqlite(const char *dir, const char *sql)
{
    char path[LC_MAX_PATH_BYTES];
    sqlite3 *handle = NULL;
    assert_ok(lc_path_join(dir, "lorac.db", path, &test_err));
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

static void test_reopen(void **state)
{
    (void)state;
    char dir[LC_MAX_PATH_BYTES];
    lc_db *db = NULL;
    lc_rows rows;
    assert_ok(lc_path_join(test_dir(), "a/b", dir, &test_err));
    lc_store *store = open_store(dir);
    assert_string_equal(lc_store_dir(store), dir);
    struct stat status;
    assert_int_equal(stat(dir, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_ok(add_key(store, "one", &test_err));
    lc_store_close(store);
    store = open_store(dir);
    assert_ok(lc_store_read(store, &db, &test_err));
    assert_ok(lc_db_query(db, "SELECT id, name, hash, created_at, revoked_at FROM keys",
                          LC_BIND_NONE, &rows, &test_err));
    assert_true(lc_rows_next(&rows));
    char cut[4];
    size_t bytes = 0;
    lc_rows_copy(&rows, 1, cut, sizeof cut);
    assert_string_equal(cut, "n\"'");
    assert_memory_equal(lc_rows_blob(&rows, 2, &bytes), "\0x", 2);
    assert_int_equal(bytes, 2);
    assert_int_equal(lc_rows_int(&rows, 3), 7);
    assert_true(lc_rows_is_null(&rows, 4));
    assert_null(lc_rows_text(&rows, 4));
    assert_false(lc_rows_next(&rows));
    assert_ok(lc_rows_end(&rows, &test_err));
    lc_store_end(&db);
    lc_store_close(store);
    lc_store_close(NULL);
}

/* A statement inside the rows of the same statement, and a number of values that is wrong. */
static void test_statements(void **state)
{
    (void)state;
    static const char sql[] = "SELECT ?1 + 1";
    lc_store *store = open_store(test_dir());
    lc_db *db = NULL;
    lc_rows outer, inner;
    assert_ok(lc_store_read(store, &db, &test_err));
    for (int i = 0; i < 3; i++) {
        assert_ok(lc_db_query(db, sql, LC_BIND(lc_sql_int(1)), &outer, &test_err));
        assert_true(lc_rows_next(&outer));
        assert_ok(lc_db_query(db, sql, LC_BIND(lc_sql_real(4.5)), &inner, &test_err));
        assert_true(lc_rows_next(&inner));
        assert_float_equal(lc_rows_real(&inner, 0), 5.5, 0.0);
        assert_int_equal(lc_rows_int(&outer, 0), 2);
        assert_ok(lc_rows_end(&inner, &test_err));
        assert_ok(lc_rows_end(&outer, &test_err));
    }
    assert_fails(lc_db_query(db, sql, LC_BIND_NONE, &outer, &test_err), LC_ERR_INTERNAL,
                 "lorac.db");
    assert_fails(lc_db_run(db, "SELECT 1; SELECT 2", LC_BIND_NONE, &test_err), LC_ERR_INTERNAL, "");
    assert_fails(lc_db_run(db, "SELECT \"no_column\"", LC_BIND_NONE, &test_err), LC_ERR_INTERNAL,
                 "no_column");
    assert_int_equal(
        lc_db_run(db, "INSERT INTO keys VALUES ('a', 'b', x'', 1, NULL)", LC_BIND_NONE, NULL),
        LC_ERR_IO); /* a reader */
    lc_store_end(&db);
    assert_ok(lc_store_begin(store, &db, &test_err));
    assert_int_equal(lc_db_run(db, "UPDATE sqlite_schema SET sql = ''", LC_BIND_NONE, NULL),
                     LC_ERR_INTERNAL);
    lc_store_end(&db);
    lc_store_close(store);
}

static void test_rollback(void **state)
{
    (void)state;
    lc_store *store = open_store(test_dir());
    lc_db *db = NULL;
    assert_ok(lc_store_begin(store, &db, &test_err));
    assert_ok(
        lc_db_run(db, "INSERT INTO keys VALUES ('a', 'b', x'', 1, NULL)", LC_BIND_NONE, &test_err));
    assert_int_equal(lc_db_changes(db), 1);
    assert_int_equal(count_keys(store), 0); /* a reader sees what was committed */
    lc_store_end(&db);
    assert_null(db);
    lc_store_end(&db);
    assert_int_equal(count_keys(store), 0);
    assert_ok(add_key(store, "a", &test_err));
    assert_fails(add_key(store, "a", &test_err), LC_ERR_INTERNAL, "UNIQUE");
    assert_int_equal(count_keys(store), 1);
    lc_store_close(store);
}

static void test_versions(void **state)
{
    (void)state;
    const char *dir = test_dir();
    lc_store *store = open_store(dir);
    assert_ok(add_key(store, "a", &test_err));
    lc_store_close(store);
    with_sqlite(dir, "PRAGMA user_version = 99");
    assert_fails(lc_store_open(dir, &store, &test_err), LC_ERR_INVALID, "version 99");
    assert_null(store);
    with_sqlite(dir, "PRAGMA user_version = 1");
    store = open_store(dir);
    assert_int_equal(count_keys(store), 1);
    lc_store_close(store);

    const char *half = test_dir(); /* a first step that broke off leaves nothing behind */
    with_sqlite(half, "CREATE TABLE upload_parts (a INTEGER)");
    assert_fails(lc_store_open(half, &store, &test_err), LC_ERR_INTERNAL, "upload_parts");
    with_sqlite(half, "DROP TABLE upload_parts");
    store = open_store(half);
    assert_int_equal(count_keys(store), 0);
    lc_store_close(store);
}

typedef struct adder {
    lc_store *store;
    char prefix;
} adder;

#define ADDED 40

static void *add_many(void *context)
{
    const adder *self = context;
    for (int i = 0; i < ADDED; i++) {
        char id[16];
        lc_err err = {.code = LC_OK};
        (void)snprintf(id, sizeof id, "%c%d", self->prefix, i);
        if (add_key(self->store, id, &err) != LC_OK) {
            return strdup(err.message);
        }
    }
    return NULL;
}

/* Threads of one store share its writer; a second store, as another process has it, waits. */
static void test_two_writers(void **state)
{
    (void)state;
    const char *dir = test_dir();
    lc_store *first = open_store(dir), *second = open_store(dir);
    adder adders[] = {{first, 'a'}, {first, 'b'}, {second, 'c'}};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &adders[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        void *problem = NULL;
        assert_int_equal(pthread_join(threads[i], &problem), 0);
        if (problem != NULL) {
            fail_msg("%s", (const char *)problem);
        }
    }
    assert_int_equal(count_keys(first), 3 * ADDED);
    lc_store_close(first);
    lc_store_close(second);
}

/* Another process that keeps the store to itself: told without saying where the store is. */
static void test_busy(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char path[LC_MAX_PATH_BYTES];
    sqlite3 *handle = NULL;
    lc_store *store = open_store(dir);
    assert_ok(lc_path_join(dir, "lorac.db", path, &test_err));
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(add_key(store, "one", &test_err), LC_ERR_BUSY);
    assert_non_null(strstr(test_err.message, "locked"));
    assert_null(strstr(test_err.message, dir));
    assert_int_equal(sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
    lc_err_clear(&test_err);
    assert_ok(add_key(store, "one", &test_err));
    lc_store_close(store);
}

/* More readers than connections: all get their turn. */
static void *read_many(void *context)
{
    for (int i = 0; i < 50; i++) {
        (void)count_keys(context);
    }
    return NULL;
}

static void test_readers_wait(void **state)
{
    (void)state;
    lc_store *store = open_store(test_dir());
    pthread_t threads[3 * LC_STORE_READERS];
    for (int i = 0; i < 3 * LC_STORE_READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, store), 0);
    }
    for (int i = 0; i < 3 * LC_STORE_READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    lc_store_close(store);
}

/* A process that is killed while it writes: what it was told is committed is there. */
static void test_killed(void **state)
{
    (void)state;
    const char *dir = test_dir();
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    const pid_t child = fork();
    if (child == 0) {
        lc_store *store = NULL;
        lc_err err = {.code = LC_OK};
        if (lc_store_open(dir, &store, &err) != LC_OK) {
            _exit(1);
        }
        for (int i = 0;; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "%d", i);
            if (add_key(store, id, &err) != LC_OK || write(pipes[1], "x", 1) != 1) {
                _exit(1);
            }
        }
    }
    char got;
    int64_t told = 0;
    for (; told < 30; told++) {
        assert_int_equal(read(pipes[0], &got, 1), 1);
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(pipes[1]);
    while (read(pipes[0], &got, 1) == 1) {
        told++;
    }
    (void)close(pipes[0]);
    lc_store *store = open_store(dir);
    const int64_t found = count_keys(store);
    assert_in_range(found, told, told + 1);
    lc_store_close(store);
}

/* ---- a disk that fills up: SQLite's file layer with the n-th write failing ---- */

static sqlite3_vfs full_vfs;
static sqlite3_vfs *real_vfs;
static struct methods {
    const sqlite3_io_methods *real;
    sqlite3_io_methods full;
} methods[4]; /* of database, log, ... */
static int (*real_write)(sqlite3_file *, const void *, int, sqlite3_int64);
static int writes_left = -1; /* -1: as many as one likes */

static int full_write(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 offset)
{
    if (writes_left == 0) {
        return SQLITE_FULL;
    }
    writes_left -= writes_left > 0;
    return real_write(file, data, bytes, offset);
}

static int full_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    const int result = real_vfs->xOpen(real_vfs, name, file, flags, out);
    if (result == SQLITE_OK) {
        int i = 0;
        while (methods[i].real != NULL && methods[i].real != file->pMethods) {
            assert_true(++i < 4);
        }
        methods[i].real = file->pMethods;
        methods[i].full = *file->pMethods;
        real_write = file->pMethods->xWrite;
        methods[i].full.xWrite = full_write;
        file->pMethods = &methods[i].full;
    }
    return result;
}

static void test_full_disk(void **state)
{
    (void)state;
    const char *dir = test_dir();
    real_vfs = sqlite3_vfs_find(NULL);
    full_vfs = *real_vfs;
    full_vfs.zName = "full";
    full_vfs.xOpen = full_open;
    assert_int_equal(sqlite3_vfs_register(&full_vfs, 1), SQLITE_OK);
    lc_store *store = open_store(dir);
    int64_t added = 0;
    int failures = 0;
    for (int room = 0; room < 12; room++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", room);
        writes_left = room;
        lc_err_clear(&test_err);
        const lc_code code = add_key(store, id, &test_err);
        writes_left = -1;
        if (code != LC_OK) {
            assert_int_equal(code, LC_ERR_DISK_FULL);
            assert_null(strstr(test_err.message, dir));
            failures++;
        }
        added += code == LC_OK;
        assert_int_equal(count_keys(store), added);
    }
    assert_in_range(failures, 1, 11);
    lc_store_close(store);
    store = open_store(dir);
    assert_int_equal(count_keys(store), added);
    lc_store_close(store);
    assert_int_equal(sqlite3_vfs_unregister(&full_vfs), SQLITE_OK);
}

static bool can_keep_room(const char *dir)
{
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(dir, "probe", path, &test_err));
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    const bool can = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LC_STORE_ROOM) == 0;
    assert_true(can || errno == EOPNOTSUPP);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
    return can;
}

/* The log has its blocks from the beginning, and keeps them however often it starts again. */
static void test_room(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char path[LC_MAX_PATH_BYTES];
    struct stat status;
    if (!can_keep_room(dir)) {
        skip();
    }
    lc_store *store = open_store(dir);
    assert_ok(lc_path_join(dir, "lorac.db-wal", path, &test_err));
    for (int i = 0; i < 600; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        assert_int_equal(stat(path, &status), 0);
        assert_in_range(status.st_blocks * 512, LC_STORE_ROOM, LC_STORE_ROOM + 65536);
        assert_ok(add_key(store, id, &test_err));
    }
    lc_store_close(store);
    store = open_store(dir);
    assert_int_equal(count_keys(store), 600);
    lc_store_close(store);
}

static void test_damage(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char path[LC_MAX_PATH_BYTES];
    char *data = NULL;
    size_t bytes = 0;
    lc_store *store = open_store(dir);
    for (int i = 0; i < 200; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        assert_ok(add_key(store, id, &test_err));
    }
    lc_store_close(store);
    assert_ok(lc_path_join(dir, "lorac.db", path, &test_err));
    assert_ok(lc_file_read(path, 1 << 24, &data, &bytes, &test_err));

    for (size_t page = 1; page < bytes / 4096; page++) { /* any page but the first overwritten */
        char *broken = malloc(bytes);
        memcpy(broken, data, bytes);
        memset(broken + page * 4096, 0x5a, 4096);
        test_write_file(path, broken, bytes);
        free(broken);
        assert_fails(lc_store_open(dir, &store, &test_err), LC_ERR_INVALID, "damaged");
    }
    test_write_file(path, "this is a text of more than sixteen bytes and no database", 57);
    assert_fails(lc_store_open(dir, &store, &test_err), LC_ERR_INVALID, "lorac.db");
    test_write_file(path, data, bytes);
    store = open_store(dir);
    assert_int_equal(count_keys(store), 200);
    lc_store_close(store);
    lc_free(data);
}

static void test_ids(void **state)
{
    (void)state;
    char a[LC_ID_BYTES], b[LC_ID_BYTES], secret[65];
    assert_ok(lc_id_new(LC_PREFIX_JOB, a, &test_err));
    assert_ok(lc_id_new(LC_PREFIX_JOB, b, &test_err));
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), strlen(LC_PREFIX_JOB) + LC_ID_DIGITS);
    assert_true(lc_id_is(a, LC_PREFIX_JOB));
    assert_false(lc_id_is(a, LC_PREFIX_FILE));
    assert_false(lc_id_is("", LC_PREFIX_JOB));
    a[strlen(a) - 1] = 'G';
    assert_false(lc_id_is(a, LC_PREFIX_JOB));
    a[strlen(a) - 1] = '/';
    assert_false(lc_id_is(a, LC_PREFIX_JOB));
    a[strlen(a) - 1] = '\0';
    assert_false(lc_id_is(a, LC_PREFIX_JOB));
    assert_ok(lc_secret_new(secret, &test_err));
    assert_int_equal(strspn(secret, "0123456789abcdef"), 64);
}

/* 0: opening `dir` as a user without rights fails and says all of this. */
static int open_as_nobody(const char *dir, const char *place, const char *why)
{
    lc_store *store = NULL;
    lc_err err = {.code = LC_OK};
    const bool is_other = geteuid() != 0 || setuid(65534) == 0;
    if (!is_other || lc_store_open(dir, &store, &err) != LC_ERR_IO) {
        return 1;
    }
    return strstr(err.message, place) == NULL || strstr(err.message, why) == NULL ? 2 : 0;
}

static void expect_refused(const char *dir, const char *place, const char *why)
{
    int status = 0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(open_as_nobody(dir, place, why));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* What cannot be opened is named, with the system's reason. */
static void test_no_access(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char data[LC_MAX_PATH_BYTES], path[LC_MAX_PATH_BYTES];
    lc_store *store = NULL;
    assert_int_equal(chmod(dir, 0755), 0);
    assert_ok(lc_path_join(dir, "data", data, &test_err));
    assert_ok(lc_path_join(data, LC_STORE_FILE, path, &test_err));
    assert_ok(lc_mkdir(data, &test_err));
    assert_ok(lc_mkdir(path, &test_err));
    assert_fails(lc_store_open(data, &store, &test_err), LC_ERR_IO, "Is a directory");
    assert_int_equal(rmdir(path), 0);

    lc_store_close(open_store(data));
    assert_int_equal(chmod(data, 0555), 0);
    expect_refused(data, data, "Permission denied");
    assert_int_equal(chmod(data, 0777), 0);
    assert_int_equal(chmod(path, 0444), 0);
    expect_refused(data, path, "Permission denied");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reopen),      cmocka_unit_test(test_statements),
        cmocka_unit_test(test_rollback),    cmocka_unit_test(test_versions),
        cmocka_unit_test(test_two_writers), cmocka_unit_test(test_readers_wait),
        cmocka_unit_test(test_busy),        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_full_disk),   cmocka_unit_test(test_room),
        cmocka_unit_test(test_damage),      cmocka_unit_test(test_ids),
        cmocka_unit_test(test_no_access),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
