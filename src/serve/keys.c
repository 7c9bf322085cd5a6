/*
 * API keys: "lorac-" 32 digits "-" 64 digits. The first digits are those of the id and find the
 * row; the last are the secret, of 256 random bits, so that one SHA-256 over id and secret is as
 * hard to undo as any slower hash.
 */
#include "serve/keys.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "lorac/mem.h"

#define KEY_PREFIX    "lorac-"
#define SECRET_DIGITS 64

static void hash_key(const char *id, const char *secret, uint8_t digest[32])
{
    lc_sha256 hash;
    lc_sha256_init(&hash);
    lc_sha256_update(&hash, id, strlen(id));
    lc_sha256_update(&hash, secret, strlen(secret));
    lc_sha256_final(&hash, digest);
}

static void write_key(const char *id, const char *secret, char key[LC_KEY_BYTES])
{
    (void)snprintf(key, LC_KEY_BYTES, KEY_PREFIX "%s-%s", id + strlen(LC_PREFIX_KEY), secret);
}

/* ---- making, listing, revoking ---- */

static lc_code check_name(const char *name, lc_err *err)
{
    bool is_good = name[0] != '\0' && strlen(name) <= LC_MAX_KEY_NAME;
    for (size_t i = 0; is_good && name[i] != '\0'; i++) {
        is_good = isprint((unsigned char)name[i]) != 0;
    }
    return is_good ? LC_OK
                   : lc_fail_param(err, LC_ERR_USAGE, "name",
                                   "a key's name has 1 to %d printable ASCII characters",
                                   LC_MAX_KEY_NAME);
}

/* *is_first: there has been no key yet, not even one that is revoked now. */
static lc_code check_unused(lc_db *db, const char *name, bool *is_first, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db,
                       "SELECT count(*), count(*) FILTER (WHERE revoked_at IS NULL), "
                       "count(*) FILTER (WHERE revoked_at IS NULL AND name = ?1) FROM keys",
                       LC_BIND(lc_sql_text(name)), &rows, err));
    const bool has_row = lc_rows_next(&rows);
    *is_first = has_row && lc_rows_int(&rows, 0) == 0;
    const int64_t valid = has_row ? lc_rows_int(&rows, 1) : 0;
    const bool is_used = has_row && lc_rows_int(&rows, 2) > 0;
    LC_TRY(lc_rows_end(&rows, err));
    if (is_used) {
        return lc_fail_param(err, LC_ERR_STATE, "name", "there is a key named \"%s\" already",
                             name);
    }
    return valid < LC_MAX_KEYS ? LC_OK
                               : lc_fail(err, LC_ERR_TOO_LARGE,
                                         "there are %d valid keys already, the limit", LC_MAX_KEYS);
}

/* What was made while there were no keys: nobody could ask for it any more. */
static lc_code take_over(lc_db *db, const char *id, lc_err *err)
{
    static const char *const updates[] = {"UPDATE files SET owner = ?1 WHERE owner = ''",
                                          "UPDATE uploads SET owner = ?1 WHERE owner = ''",
                                          "UPDATE jobs SET owner = ?1 WHERE owner = ''",
                                          "UPDATE models SET owner = ?1 WHERE owner = ''",
                                          "UPDATE deployments SET owner = ?1 WHERE owner = ''"};
    for (size_t i = 0; i < sizeof updates / sizeof updates[0]; i++) {
        LC_TRY(lc_db_run(db, updates[i], LC_BIND(lc_sql_text(id)), err));
    }
    return LC_OK;
}

lc_code lc_keys_add(lc_store *store, const char *name, char id[LC_ID_BYTES], char key[LC_KEY_BYTES],
                    lc_err *err)
{
    lc_code code;
    lc_db *db = NULL;
    char secret[SECRET_DIGITS + 1];
    uint8_t digest[32];
    bool is_first = false;
    LC_TRY(check_name(name, err));
    LC_TRY(lc_id_new(LC_PREFIX_KEY, id, err));
    LC_TRY(lc_secret_new(secret, err));
    hash_key(id, secret, digest);
    LC_TRY(lc_store_begin(store, &db, err));
    LC_TRY_GOTO(check_unused(db, name, &is_first, err));
    LC_TRY_GOTO(
        lc_db_run(db, "INSERT INTO keys (id, name, hash, created_at) VALUES (?1, ?2, ?3, ?4)",
                  LC_BIND(lc_sql_text(id), lc_sql_text(name), lc_sql_blob(digest, sizeof digest),
                          lc_sql_int(lc_unix_seconds())),
                  err));
    if (is_first) {
        LC_TRY_GOTO(take_over(db, id, err));
    }
    LC_TRY_GOTO(lc_store_commit(&db, err));
    write_key(id, secret, key);
    return LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

static lc_code find_valid(lc_db *db, const char *name, char id[LC_ID_BYTES], lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db,
                       "SELECT id FROM keys WHERE (id = ?1 OR name = ?1) AND revoked_at IS NULL",
                       LC_BIND(lc_sql_text(name)), &rows, err));
    const bool is_found = lc_rows_next(&rows);
    if (is_found) {
        lc_rows_copy(&rows, 0, id, LC_ID_BYTES);
    }
    LC_TRY(lc_rows_end(&rows, err));
    return is_found ? LC_OK
                    : lc_fail_param(err, LC_ERR_NOT_FOUND, "name",
                                    "no valid key has the name or id \"%s\"", name);
}

lc_code lc_keys_renew(lc_store *store, const char *name, char id[LC_ID_BYTES],
                      char key[LC_KEY_BYTES], lc_err *err)
{
    lc_code code;
    lc_db *db = NULL;
    char secret[SECRET_DIGITS + 1];
    uint8_t digest[32];
    LC_TRY(lc_secret_new(secret, err));
    LC_TRY(lc_store_begin(store, &db, err));
    LC_TRY_GOTO(find_valid(db, name, id, err));
    hash_key(id, secret, digest);
    LC_TRY_GOTO(lc_db_run(db, "UPDATE keys SET hash = ?2 WHERE id = ?1",
                          LC_BIND(lc_sql_text(id), lc_sql_blob(digest, sizeof digest)), err));
    LC_TRY_GOTO(lc_store_commit(&db, err));
    write_key(id, secret, key);
    return LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

static lc_code count_keys(lc_db *db, int64_t *count, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db, "SELECT count(*) FROM keys", LC_BIND_NONE, &rows, err));
    *count = lc_rows_next(&rows) ? lc_rows_int(&rows, 0) : 0;
    return lc_rows_end(&rows, err);
}

static lc_code read_keys(lc_db *db, lc_key **keys, int64_t *count, lc_err *err)
{
    lc_rows rows;
    void *memory = NULL;
    int64_t limit = 0;
    LC_TRY(count_keys(db, &limit, err));
    LC_TRY(lc_new(&memory, (size_t)limit + 1, sizeof **keys, "the list of keys", err));
    lc_key *list = *keys = memory;
    LC_TRY(lc_db_query(db,
                       "SELECT id, name, created_at, revoked_at FROM keys "
                       "ORDER BY created_at, id LIMIT ?1",
                       LC_BIND(lc_sql_int(limit)), &rows, err));
    for (; lc_rows_next(&rows); list++, *count += 1) {
        lc_rows_copy(&rows, 0, list->id, sizeof list->id);
        lc_rows_copy(&rows, 1, list->name, sizeof list->name);
        list->created_at = lc_rows_int(&rows, 2);
        list->revoked_at = lc_rows_is_null(&rows, 3) ? -1 : lc_rows_int(&rows, 3);
    }
    return lc_rows_end(&rows, err);
}

lc_code lc_keys_list(lc_store *store, lc_key **keys, int64_t *count, lc_err *err)
{
    lc_db *db = NULL;
    *keys = NULL;
    *count = 0;
    LC_TRY(lc_store_read(store, &db, err));
    const lc_code code = read_keys(db, keys, count, err);
    lc_store_end(&db);
    if (code != LC_OK) {
        lc_free(*keys);
        *keys = NULL;
    }
    return code;
}

lc_code lc_keys_revoke(lc_store *store, const char *name, lc_err *err)
{
    lc_code code;
    lc_db *db = NULL;
    char id[LC_ID_BYTES];
    LC_TRY(lc_store_begin(store, &db, err));
    LC_TRY_GOTO(find_valid(db, name, id, err));
    LC_TRY_GOTO(lc_db_run(db, "UPDATE keys SET revoked_at = ?2 WHERE id = ?1",
                          LC_BIND(lc_sql_text(id), lc_sql_int(lc_unix_seconds())), err));
    LC_TRY_GOTO(lc_store_commit(&db, err));
    return LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

/* ---- asking ---- */

/* Every byte is looked at, wherever the first difference is. */
static bool is_equal(const uint8_t *a, const uint8_t *b, size_t count)
{
    volatile uint8_t difference = 0;
    for (size_t i = 0; i < count; i++) {
        difference = (uint8_t)(difference | (a[i] ^ b[i]));
    }
    return difference == 0;
}

/* Takes a key's text apart; false when it is none. */
static bool take_apart(const char *key, char id[LC_ID_BYTES], char secret[SECRET_DIGITS + 1])
{
    static const char digits[] = "0123456789abcdef";
    const char *first = key + strlen(KEY_PREFIX);
    if (strncmp(key, KEY_PREFIX, strlen(KEY_PREFIX)) != 0 ||
        strspn(first, digits) != LC_ID_DIGITS || first[LC_ID_DIGITS] != '-' ||
        strspn(first + LC_ID_DIGITS + 1, digits) != SECRET_DIGITS ||
        first[LC_ID_DIGITS + 1 + SECRET_DIGITS] != '\0') {
        return false;
    }
    (void)snprintf(id, LC_ID_BYTES, LC_PREFIX_KEY "%.*s", LC_ID_DIGITS, first);
    memcpy(secret, first + LC_ID_DIGITS + 1, SECRET_DIGITS + 1);
    return true;
}

static lc_code read_hash(lc_db *db, const char *id, uint8_t hash[32], bool *is_valid, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db, "SELECT hash FROM keys WHERE id = ?1 AND revoked_at IS NULL",
                       LC_BIND(lc_sql_text(id)), &rows, err));
    if (lc_rows_next(&rows)) {
        size_t bytes = 0;
        const void *stored = lc_rows_blob(&rows, 0, &bytes);
        *is_valid = bytes == 32;
        if (*is_valid) {
            memcpy(hash, stored, 32);
        }
    }
    return lc_rows_end(&rows, err);
}

lc_code lc_keys_find(lc_store *store, const char *key, char owner[LC_ID_BYTES], bool *is_known,
                     lc_err *err)
{
    char id[LC_ID_BYTES], secret[SECRET_DIGITS + 1];
    uint8_t digest[32], stored[32] = {0};
    bool is_valid = false;
    lc_db *db = NULL;
    *is_known = false;
    owner[0] = '\0';
    if (!take_apart(key, id, secret)) {
        return LC_OK;
    }
    hash_key(id, secret, digest);
    LC_TRY(lc_store_read(store, &db, err));
    const lc_code code = read_hash(db, id, stored, &is_valid, err);
    lc_store_end(&db);
    LC_TRY(code);
    *is_known = is_equal(digest, stored, sizeof digest) && is_valid;
    if (*is_known) {
        (void)snprintf(owner, LC_ID_BYTES, "%s", id);
    }
    return LC_OK;
}

lc_code lc_keys_exist(lc_store *store, bool *exist, lc_err *err)
{
    lc_db *db = NULL;
    lc_rows rows;
    LC_TRY(lc_store_read(store, &db, err));
    lc_code code = lc_db_query(db, "SELECT 1 FROM keys LIMIT 1", LC_BIND_NONE, &rows, err);
    if (code == LC_OK) {
        *exist = lc_rows_next(&rows);
        code = lc_rows_end(&rows, err);
    }
    lc_store_end(&db);
    return code;
}
