/* API keys: made, found, revoked; what the first gets; what is no key; what is stored; names. */
#include "testing.h"

#include "base/file.h"
#include "lorac/mem.h"
#include "serve/keys.h"

static lc_store *store;
static const char *store_dir;

static int open_store(void **state)
{
    (void)state;
    store_dir = test_dir();
    assert_ok(lc_store_open(store_dir, &store, &test_err));
    return 0;
}

static int close_store(void **state)
{
    (void)state;
    lc_store_close(store);
    return 0;
}

static bool is_known(const char *key, char owner[LC_ID_BYTES])
{
    bool known = true;
    assert_ok(lc_keys_find(store, key, owner, &known, &test_err));
    return known;
}

static bool do_exist(void)
{
    bool exist = false;
    assert_ok(lc_keys_exist(store, &exist, &test_err));
    return exist;
}

static void test_life(void **state)
{
    (void)state;
    char a[LC_ID_BYTES], b[LC_ID_BYTES], owner[LC_ID_BYTES];
    char key_a[LC_KEY_BYTES], key_b[LC_KEY_BYTES];
    lc_key *keys = NULL;
    int64_t count = 0;
    assert_false(do_exist());
    assert_ok(lc_keys_add(store, "ann", a, key_a, &test_err));
    assert_ok(lc_keys_add(store, "bob", b, key_b, &test_err));
    assert_true(do_exist());
    assert_true(is_known(key_a, owner));
    assert_string_equal(owner, a);
    assert_true(is_known(key_b, owner));
    assert_string_equal(owner, b);
    assert_fails(lc_keys_add(store, "ann", b, key_b, &test_err), LC_ERR_STATE, "ann");

    char again[LC_ID_BYTES], renewed[LC_KEY_BYTES]; /* another text of the same key */
    assert_ok(lc_keys_renew(store, "ann", again, renewed, &test_err));
    assert_string_equal(again, a);
    assert_false(is_known(key_a, owner));
    assert_true(is_known(renewed, owner));
    assert_string_equal(owner, a);
    assert_true(is_known(key_b, owner));
    assert_fails(lc_keys_renew(store, "eve", again, renewed, &test_err), LC_ERR_NOT_FOUND, "eve");

    assert_ok(lc_keys_revoke(store, "ann", &test_err));
    assert_false(is_known(key_a, owner));
    assert_false(is_known(renewed, owner));
    assert_fails(lc_keys_renew(store, "ann", again, renewed, &test_err), LC_ERR_NOT_FOUND, "ann");
    assert_string_equal(owner, "");
    assert_fails(lc_keys_revoke(store, "ann", &test_err), LC_ERR_NOT_FOUND, "ann");
    assert_ok(lc_keys_add(store, "ann", b, key_b, &test_err)); /* the name is free again */
    assert_string_not_equal(a, b);
    assert_false(is_known(key_a, owner));
    assert_true(is_known(key_b, owner));
    assert_ok(lc_keys_revoke(store, b, &test_err)); /* by id */
    assert_ok(lc_keys_revoke(store, "bob", &test_err));
    assert_true(do_exist()); /* revoking the last one opens nothing */

    assert_ok(lc_keys_list(store, &keys, &count, &test_err));
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++) {
        assert_true(lc_id_is(keys[i].id, LC_PREFIX_KEY));
        assert_true(keys[i].created_at > 0 && keys[i].revoked_at >= keys[i].created_at);
    }
    lc_free(keys);
}

static void run_sql(const char *sql, const char *owner)
{
    lc_db *db = NULL;
    assert_ok(lc_store_begin(store, &db, &test_err));
    assert_ok(lc_db_run(db, sql, LC_BIND(lc_sql_text(owner)), &test_err));
    assert_ok(lc_store_commit(&db, &test_err));
}

/* How many rows of all tables that have owners are this one's. */
static int64_t count_of(const char *owner)
{
    static const char sql[] = "SELECT (SELECT count(*) FROM files WHERE owner = ?1)"
                              " + (SELECT count(*) FROM uploads WHERE owner = ?1)"
                              " + (SELECT count(*) FROM jobs WHERE owner = ?1)"
                              " + (SELECT count(*) FROM models WHERE owner = ?1)"
                              " + (SELECT count(*) FROM deployments WHERE owner = ?1)";
    lc_db *db = NULL;
    lc_rows rows;
    assert_ok(lc_store_read(store, &db, &test_err));
    assert_ok(lc_db_query(db, sql, LC_BIND(lc_sql_text(owner)), &rows, &test_err));
    assert_true(lc_rows_next(&rows));
    const int64_t count = lc_rows_int(&rows, 0);
    assert_ok(lc_rows_end(&rows, &test_err));
    lc_store_end(&db);
    return count;
}

/* What was made without keys is the first one's, and no later one's. */
static void test_first_key_takes_over(void **state)
{
    (void)state;
    static const char *const inserts[] = {
        "INSERT INTO files (id, owner, filename, purpose, created_at, status, path)"
        " VALUES ('file-' || ?1, ?1, 'a', 'fine-tune', 1, 'processed', '')",
        "INSERT INTO uploads (id, owner, filename, purpose, mime_type, bytes, created_at,"
        " expires_at, status) VALUES ('u' || ?1, ?1, 'a', 'fine-tune', 't', 1, 1, 1, 'pending')",
        "INSERT INTO jobs (id, owner, status, created_at, model, base, model_name, training_file,"
        " seed, n_epochs, batch_size, learning_rate_multiplier)"
        " VALUES ('j' || ?1, ?1, 'succeeded', 1, 'm', 'm', 'm', 'f', 1, 1, 1, 1.0)",
        "INSERT INTO models (id, owner, base, job_id, created_at, path)"
        " VALUES ('m' || ?1, ?1, 'm', 'j', 1, 'p')",
        "INSERT INTO deployments (owner, name, model, created_at, updated_at)"
        " VALUES (?1, 'd', 'm', 1, 1)"};
    char first[LC_ID_BYTES], second[LC_ID_BYTES], key[LC_KEY_BYTES];
    for (size_t i = 0; i < sizeof inserts / sizeof inserts[0]; i++) {
        run_sql(inserts[i], "");
        run_sql(inserts[i], "somebody");
    }
    assert_ok(lc_keys_add(store, "ann", first, key, &test_err));
    assert_int_equal(count_of(first), 5);
    assert_int_equal(count_of(""), 0);
    assert_int_equal(count_of("somebody"), 5);
    run_sql(inserts[4], "");
    assert_ok(lc_keys_revoke(store, "ann", &test_err));
    assert_ok(lc_keys_add(store, "bob", second, key, &test_err));
    assert_int_equal(count_of(second), 0);
}

/* Each digit changed, each length, and texts of another shape. */
static void test_no_keys(void **state)
{
    (void)state;
    char id[LC_ID_BYTES], owner[LC_ID_BYTES], key[LC_KEY_BYTES], other[LC_KEY_BYTES];
    assert_ok(lc_keys_add(store, "x", id, key, &test_err));
    const size_t length = strlen(key);
    for (size_t i = 0; i < length; i++) {
        memcpy(other, key, sizeof other);
        other[i] = other[i] == '0' ? '1' : '0';
        assert_false(is_known(other, owner));
        memcpy(other, key, sizeof other);
        other[i] = '\0';
        assert_false(is_known(other, owner));
    }
    memcpy(other, key, sizeof other);
    memcpy(other + length, "0", 2);
    assert_false(is_known(other, owner));
    assert_false(is_known("", owner));
    assert_false(is_known("lorac-", owner));
    assert_false(is_known("' OR 1=1 --", owner));
    assert_true(is_known(key, owner));
}

static void test_names(void **state)
{
    (void)state;
    char id[LC_ID_BYTES], key[LC_KEY_BYTES], name[LC_MAX_KEY_NAME + 2];
    memset(name, 'n', sizeof name);
    name[LC_MAX_KEY_NAME + 1] = '\0';
    assert_fails(lc_keys_add(store, name, id, key, &test_err), LC_ERR_USAGE, "64");
    name[LC_MAX_KEY_NAME] = '\0';
    assert_ok(lc_keys_add(store, name, id, key, &test_err));
    assert_fails(lc_keys_add(store, "", id, key, &test_err), LC_ERR_USAGE, "printable");
    assert_fails(lc_keys_add(store, "a\nb", id, key, &test_err), LC_ERR_USAGE, "printable");
    assert_fails(lc_keys_add(store, "\xc3\xa4", id, key, &test_err), LC_ERR_USAGE, "printable");
}

/* Only those count that are valid; all are listed. */
static void test_most_keys(void **state)
{
    (void)state;
    char id[LC_ID_BYTES], key[LC_KEY_BYTES];
    lc_key *keys = NULL;
    int64_t count = 0;
    run_sql("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)"
            " INSERT INTO keys (id, name, hash, created_at, revoked_at)"
            " SELECT ?1 || i, 'n' || i, x'00', i, i FROM n",
            "key-");
    assert_ok(lc_keys_add(store, "one", id, key, &test_err));
    assert_ok(lc_keys_list(store, &keys, &count, &test_err));
    assert_int_equal(count, 1501);
    assert_string_equal(keys[1500].id, id);
    lc_free(keys);
    run_sql("UPDATE keys SET revoked_at = NULL WHERE created_at <= 998 AND ?1 <> ''", "x");
    assert_ok(lc_keys_add(store, "two", id, key, &test_err));
    assert_fails(lc_keys_add(store, "three", id, key, &test_err), LC_ERR_TOO_LARGE, "1000 valid");
    assert_ok(lc_keys_revoke(store, "two", &test_err));
    assert_ok(lc_keys_add(store, "three", id, key, &test_err));
}

/* No file of the data directory has the secret. */
static void test_nothing_secret_is_stored(void **state)
{
    (void)state;
    char id[LC_ID_BYTES], key[LC_KEY_BYTES], path[LC_MAX_PATH_BYTES];
    char **names = NULL;
    size_t count = 0;
    assert_ok(lc_keys_add(store, "x", id, key, &test_err));
    assert_ok(lc_list_dir(store_dir, &names, &count, &test_err));
    bool has_id = false;
    for (size_t i = 0; i < count; i++) {
        char *data = NULL;
        size_t bytes = 0;
        assert_ok(lc_path_join(store_dir, names[i], path, &test_err));
        assert_ok(lc_file_read(path, 1 << 24, &data, &bytes, &test_err));
        assert_null(memmem(data, bytes, key + strlen(key) - 64, 64));
        has_id = has_id || memmem(data, bytes, id, strlen(id)) != NULL;
        lc_free(data);
    }
    assert_true(has_id);
    lc_list_free(names, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_first_key_takes_over, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_no_keys, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_names, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_most_keys, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_nothing_secret_is_stored, open_store, close_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
