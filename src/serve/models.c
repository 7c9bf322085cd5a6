/*
 * /models, and names of models; see models.h.
 */
#include "serve/models.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "serve/api_error.h"

bool lc_model_name_is_plain(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strlen(name) < LC_MODEL_NAME_BYTES / 2 &&
           strchr(name, '/') == NULL && strpbrk(name, "\n\r\t:\\\"") == NULL;
}

lc_code lc_model_base_dir(const lc_service *service, const char *name, char path[LC_MAX_PATH_BYTES],
                          lc_err *err)
{
    char config[LC_MAX_PATH_BYTES];
    if (lc_model_name_is_plain(name) &&
        lc_path_join(service->models_dir, name, path, NULL) == LC_OK &&
        lc_path_join(path, "config.json", config, NULL) == LC_OK && lc_path_exists(config)) {
        return LC_OK;
    }
    return lc_fail_param(err, LC_ERR_NOT_FOUND, "model", "The model '%.200s' does not exist.",
                         name);
}

/* ---- fine-tuned models and checkpoints ---- */

static lc_code find_row(lc_db *db, const char *sql, const char *owner, const char *name,
                        const char *data_dir, lc_worker_target *out, bool *is_found, lc_err *err)
{
    lc_rows rows;
    lc_code code = LC_OK;
    LC_TRY(lc_db_query(db, sql, LC_BIND(lc_sql_text(owner), lc_sql_text(name)), &rows, err));
    *is_found = lc_rows_next(&rows);
    if (*is_found) {
        lc_rows_copy(&rows, 0, out->base, sizeof out->base);
        code = lc_path_join(data_dir, lc_rows_text(&rows, 1), out->adapter_dir, err);
        (void)snprintf(out->adapter, sizeof out->adapter, "%s", name);
    }
    const lc_code end = lc_rows_end(&rows, err);
    return code != LC_OK ? code : end;
}

static lc_code find_tuned(const lc_service *service, const char *owner, const char *name,
                          lc_worker_target *out, bool *is_found, lc_err *err)
{
    lc_code code;
    lc_db *db = NULL;
    const char *data_dir = lc_store_dir(service->store);
    LC_TRY(lc_store_read(service->store, &db, err));
    LC_TRY_GOTO(find_row(db, "SELECT base, path FROM models WHERE owner = ?1 AND id = ?2", owner,
                         name, data_dir, out, is_found, err));
    if (!*is_found) {
        LC_TRY_GOTO(
            find_row(db,
                     "SELECT j.base, c.path FROM checkpoints c JOIN jobs j ON j.id = c.job_id"
                     " WHERE j.owner = ?1 AND ?2 IN (c.name, c.id)",
                     owner, name, data_dir, out, is_found, err));
    }
    lc_store_end(&db);
    return LC_OK;
fail:
    lc_store_end(&db);
    return code;
}

lc_code lc_model_target(const lc_service *service, const char *owner, const char *name,
                        lc_worker_target *out, lc_err *err)
{
    bool is_tuned = false;
    memset(out, 0, sizeof *out);
    if (strlen(name) >= LC_MODEL_NAME_BYTES) {
        return lc_fail_param(err, LC_ERR_NOT_FOUND, "model", "The model does not exist.");
    }
    LC_TRY(find_tuned(service, owner, name, out, &is_tuned, err));
    if (!is_tuned) {
        (void)snprintf(out->base, sizeof out->base, "%s", name);
    }
    return lc_model_base_dir(service, out->base, out->base_dir, err);
}

/* ---- objects ---- */

static void add_model(lc_text *out, const char *id, int64_t created, const char *base,
                      const char *job)
{
    lc_text_addf(out, "{\"id\": ");
    lc_text_add_json_string(out, id, strlen(id));
    lc_text_addf(out,
                 ", \"object\": \"model\", \"created\": %" PRId64 ", \"created_at\": %" PRId64
                 ", \"owned_by\": \"local\", \"status\": \"succeeded\", \"capabilities\": "
                 "{\"fine_tune\": true, \"inference\": true, \"completion\": false, "
                 "\"chat_completion\": true, \"embeddings\": false}, \"lifecycle_status\": "
                 "\"generally-available\", \"deprecation\": {}, \"model\": ",
                 created, created);
    if (base == NULL) {
        lc_text_addf(out, "null, \"fine_tune\": null}");
        return;
    }
    lc_text_add_json_string(out, base, strlen(base));
    lc_text_addf(out, ", \"fine_tune\": ");
    lc_text_add_json_string(out, job, strlen(job));
    lc_text_addf(out, "}");
}

/* A base model is as old as its config.json. */
static int64_t age_of(const char *dir)
{
    char path[LC_MAX_PATH_BYTES];
    struct stat status;
    return lc_path_join(dir, "config.json", path, NULL) == LC_OK && stat(path, &status) == 0
               ? (int64_t)status.st_mtime
               : 0;
}

static lc_code add_bases(const lc_service *service, lc_text *out, int *count, lc_err *err)
{
    char **names = NULL, path[LC_MAX_PATH_BYTES];
    size_t total = 0;
    LC_TRY(lc_list_dir(service->models_dir, &names, &total, err));
    for (size_t i = 0; i < total && i < LC_MAX_BASE_MODELS; i++) {
        if (lc_model_base_dir(service, names[i], path, NULL) == LC_OK) {
            lc_text_addf(out, *count > 0 ? ", " : "");
            add_model(out, names[i], age_of(path), NULL, NULL);
            ++*count;
        }
    }
    lc_list_free(names, total);
    return LC_OK;
}

static lc_code add_tuned(const lc_service *service, const char *owner, const char *id, lc_text *out,
                         int *count, lc_err *err)
{
    lc_db *db = NULL;
    lc_rows rows;
    LC_TRY(lc_store_read(service->store, &db, err));
    lc_code code = lc_db_query(db,
                               "SELECT id, created_at, base, job_id FROM models WHERE owner = ?1"
                               " AND (?2 IS NULL OR id = ?2) ORDER BY seq DESC",
                               LC_BIND(lc_sql_text(owner), lc_sql_text(id)), &rows, err);
    if (code == LC_OK) {
        while (lc_rows_next(&rows)) {
            lc_text_addf(out, *count > 0 ? ", " : "");
            add_model(out, lc_rows_text(&rows, 0), lc_rows_int(&rows, 1), lc_rows_text(&rows, 2),
                      lc_rows_text(&rows, 3));
            ++*count;
        }
        code = lc_rows_end(&rows, err);
    }
    lc_store_end(&db);
    return code;
}

/* ---- handlers ---- */

static lc_code handle_list(lc_request *request, lc_err *err)
{
    lc_text *out = &request->response.body;
    int count = 0;
    lc_text_addf(out, "{\"object\": \"list\", \"data\": [");
    LC_TRY(add_tuned(request->service, request->owner, NULL, out, &count, err));
    LC_TRY(add_bases(request->service, out, &count, err));
    lc_text_addf(out, "], \"has_more\": false}\n");
    return LC_OK;
}

static lc_code handle_get(lc_request *request, lc_err *err)
{
    const char *id = request->params[0];
    char path[LC_MAX_PATH_BYTES];
    int count = 0;
    LC_TRY(add_tuned(request->service, request->owner, id, &request->response.body, &count, err));
    if (count == 0) {
        LC_TRY(lc_model_base_dir(request->service, id, path, err));
        add_model(&request->response.body, id, age_of(path), NULL, NULL);
    }
    return LC_OK;
}

static lc_code count_deployments(lc_db *db, const char *owner, const char *model, int64_t *count,
                                 lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db,
                       "SELECT count(*) FROM deployments WHERE owner = ?1 AND (model = ?2"
                       " OR model IN (SELECT id FROM checkpoints WHERE name = ?2))",
                       LC_BIND(lc_sql_text(owner), lc_sql_text(model)), &rows, err));
    *count = lc_rows_next(&rows) ? lc_rows_int(&rows, 0) : 0;
    return lc_rows_end(&rows, err);
}

static lc_code delete_row(const lc_service *service, const char *owner, const char *id, lc_err *err)
{
    lc_code code;
    lc_db *db = NULL;
    int64_t deployed = 0;
    LC_TRY(lc_store_begin(service->store, &db, err));
    LC_TRY_GOTO(count_deployments(db, owner, id, &deployed, err));
    if (deployed > 0) {
        code = lc_fail_param(err, LC_ERR_STATE, "model",
                             "The model is deployed: delete its %" PRId64 " deployment(s) first.",
                             deployed);
        goto fail;
    }
    LC_TRY_GOTO(lc_db_run(db, "DELETE FROM models WHERE owner = ?1 AND id = ?2",
                          LC_BIND(lc_sql_text(owner), lc_sql_text(id)), err));
    if (lc_db_changes(db) == 0) {
        code =
            lc_fail_param(err, LC_ERR_NOT_FOUND, "model", "The model '%.200s' does not exist.", id);
        goto fail;
    }
    LC_TRY_GOTO(lc_db_run(db, /* the job's last checkpoint, which has the same name */
                          "DELETE FROM checkpoints WHERE name = ?2 AND job_id IN "
                          "(SELECT id FROM jobs WHERE owner = ?1)",
                          LC_BIND(lc_sql_text(owner), lc_sql_text(id)), err));
    return lc_store_commit(&db, err);
fail:
    lc_store_end(&db);
    return code;
}

static lc_code handle_delete(lc_request *request, lc_err *err)
{
    const char *id = request->params[0];
    char path[LC_MAX_PATH_BYTES];
    if (lc_model_base_dir(request->service, id, path, NULL) == LC_OK) {
        return lc_fail_param(err, LC_ERR_STATE, "model",
                             "%.200s is a base model: its folder is yours to delete.", id);
    }
    LC_TRY(delete_row(request->service, request->owner, id, err));
    lc_worker_drop(request->service->workers, id);
    lc_text_addf(&request->response.body, "{\"id\": ");
    lc_text_add_json_string(&request->response.body, id, strlen(id));
    lc_text_addf(&request->response.body, ", \"object\": \"model\", \"deleted\": true}\n");
    return LC_OK;
}

static const lc_route routes[] = {
    {.method = "GET", .pattern = "/models", .handle = handle_list},
    {.method = "GET", .pattern = "/models/{model}", .handle = handle_get},
    {.method = "DELETE", .pattern = "/models/{model}", .handle = handle_delete},
};
const lc_route_table lc_model_routes = {routes, sizeof routes / sizeof *routes};
