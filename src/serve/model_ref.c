/*
 * Names of models looked up; see model_ref.h.
 */
#include "serve/model_ref.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "text/utf8.h"

/* ---- base models ---- */

static bool is_base_name(const char *name)
{
    const size_t length = strlen(name);
    bool is_plain = length >= 1 && length <= LC_MAX_BASE_NAME && name[0] != '.' &&
                    lc_utf8_valid_prefix(name, length) == length;
    for (size_t i = 0; i < length && is_plain; i++) {
        is_plain =
            (unsigned char)name[i] >= ' ' && name[i] != 0x7F && strchr("/:\\\"", name[i]) == NULL;
    }
    return is_plain;
}

lc_code lc_base_is(const char *models_dir, const char *name, bool *is_one, lc_err *err)
{
    char dir[LC_MAX_PATH_BYTES], config[LC_MAX_PATH_BYTES];
    *is_one = false;
    if (!is_base_name(name)) {
        return LC_OK;
    }
    LC_TRY(lc_path_join(models_dir, name, dir, err));
    LC_TRY(lc_path_join(dir, "config.json", config, err));
    *is_one = lc_path_exists(config);
    return LC_OK;
}

lc_code lc_base_find(const char *models_dir, const char *wanted, char name[LC_MAX_BASE_NAME + 1],
                     bool *is_found, lc_err *err)
{
    char **names = NULL;
    size_t count = 0;
    *is_found = false;
    if (!is_base_name(wanted)) {
        return LC_OK;
    }
    (void)snprintf(name, LC_MAX_BASE_NAME + 1, "%s", wanted);
    LC_TRY(lc_base_is(models_dir, name, is_found, err));
    if (*is_found) {
        return LC_OK;
    }
    LC_TRY(lc_list_dir(models_dir, &names, &count, err));
    lc_code code = LC_OK;
    for (size_t i = 0; i < count && !*is_found && code == LC_OK; i++) {
        if (strcasecmp(names[i], wanted) == 0) {
            (void)snprintf(name, LC_MAX_BASE_NAME + 1, "%s", names[i]);
            code = lc_base_is(models_dir, name, is_found, err);
        }
    }
    lc_list_free(names, count);
    return code;
}

/* ---- all models ---- */

/* The checkpoint's own row comes first: the last one is named as the model itself. */
static lc_code find_tuned(lc_db *db, const char *owner, const char *name, lc_model_ref *out,
                          bool *is_found, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db,
                       "SELECT id, base, path, job_id FROM models WHERE owner = ?1 AND id = ?2 "
                       "UNION ALL "
                       "SELECT c.name, j.base, c.path, j.id FROM checkpoints AS c "
                       "JOIN jobs AS j ON j.id = c.job_id WHERE j.owner = ?1 AND "
                       "(c.name = ?2 OR c.id = ?2) LIMIT 1",
                       LC_BIND(lc_sql_text(owner), lc_sql_text(name)), &rows, err));
    *is_found = lc_rows_next(&rows);
    if (*is_found) {
        lc_rows_copy(&rows, 0, out->name, sizeof out->name);
        lc_rows_copy(&rows, 1, out->base, sizeof out->base);
        lc_rows_copy(&rows, 2, out->adapter, sizeof out->adapter);
        lc_rows_copy(&rows, 3, out->job_id, sizeof out->job_id);
    }
    return lc_rows_end(&rows, err);
}

lc_code lc_model_find(lc_db *db, const char *models_dir, const char *owner, const char *name,
                      lc_model_ref *out, lc_err *err)
{
    bool is_tuned = false, is_found = false;
    char base[LC_MAX_BASE_NAME + 1];
    memset(out, 0, sizeof *out);
    LC_TRY(find_tuned(db, owner, name, out, &is_tuned, err));
    LC_TRY(lc_base_find(models_dir, is_tuned ? out->base : name, base, &is_found, err));
    if (!is_found) {
        return is_tuned ? lc_fail_param(err, LC_ERR_NOT_FOUND, "model",
                                        "the base model \"%s\" of \"%.200s\" is not here any more",
                                        out->base, name)
                        : lc_fail_param(err, LC_ERR_NOT_FOUND, "model",
                                        "there is no model \"%.200s\"", name);
    }
    memcpy(out->base, base, sizeof base);
    if (!is_tuned) {
        memcpy(out->name, base, sizeof base);
    }
    return LC_OK;
}
