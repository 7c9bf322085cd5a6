/*
 * /models, and names of models; see models.h.
 */
#include "serve/models.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "serve/model_ref.h"

/* ---- names ---- */

static lc_code fail_absent(const char *name, lc_err *err)
{
    return lc_fail_param(err, LC_ERR_NOT_FOUND, "model", "The model '%.200s' does not exist.",
                         name);
}

static lc_code find(const lc_service *service, const char *owner, const char *name,
                    lc_model_ref *out, lc_err *err)
{
    lc_db *db = NULL;
    LC_TRY(lc_store_read(service->store, &db, err));
    const lc_code code = lc_model_find(db, service->models_dir, owner, name, out, err);
    lc_store_end(&db);
    return code;
}

lc_code lc_model_target(const lc_service *service, const char *owner, const char *name,
                        lc_worker_target *out, lc_err *err)
{
    lc_model_ref found;
    memset(out, 0, sizeof *out);
    LC_TRY(find(service, owner, name, &found, err));
    (void)snprintf(out->base, sizeof out->base, "%s", found.base);
    LC_TRY(lc_path_join(service->models_dir, found.base, out->base_dir, err));
    if (found.adapter[0] == '\0') {
        return LC_OK;
    }
    (void)snprintf(out->adapter, sizeof out->adapter, "%s", found.name);
    return lc_path_join(lc_store_dir(service->store), found.adapter, out->adapter_dir, err);
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

/* As old as its config.json. */
static void add_base(const lc_service *service, const char *name, lc_text *out)
{
    char dir[LC_MAX_PATH_BYTES], path[LC_MAX_PATH_BYTES];
    struct stat status;
    const bool is_there = lc_path_join(service->models_dir, name, dir, NULL) == LC_OK &&
                          lc_path_join(dir, "config.json", path, NULL) == LC_OK &&
                          stat(path, &status) == 0;
    add_model(out, name, is_there ? (int64_t)status.st_mtime : 0, NULL, NULL);
}

static lc_code add_bases(const lc_service *service, lc_text *out, int *count, lc_err *err)
{
    char **names = NULL;
    size_t total = 0;
    LC_TRY(lc_list_dir(service->models_dir, &names, &total, err));
    lc_code code = LC_OK;
    for (size_t i = 0; i < total && i < LC_MAX_BASE_MODELS && code == LC_OK; i++) {
        bool is_base = false;
        code = lc_base_is(service->models_dir, names[i], &is_base, err);
        if (code == LC_OK && is_base) {
            lc_text_addf(out, *count > 0 ? ", " : "");
            add_base(service, names[i], out);
            ++*count;
        }
    }
    lc_list_free(names, total);
    return code;
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
    const lc_service *service = request->service;
    const char *id = request->params[0];
    char base[LC_MAX_BASE_NAME + 1];
    bool is_base = false;
    int count = 0;
    LC_TRY(add_tuned(service, request->owner, id, &request->response.body, &count, err));
    if (count > 0) {
        return LC_OK;
    }
    LC_TRY(lc_base_find(service->models_dir, id, base, &is_base, err));
    if (!is_base) {
        return fail_absent(id, err);
    }
    add_base(service, base, &request->response.body);
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

/* Its last checkpoint is the model itself, under the same name. */
static lc_code delete_rows(lc_db *db, const char *owner, const char *id, lc_err *err)
{
    LC_TRY(lc_db_run(db,
                     "DELETE FROM checkpoints WHERE name = ?2 AND job_id IN"
                     " (SELECT job_id FROM models WHERE owner = ?1 AND id = ?2)",
                     LC_BIND(lc_sql_text(owner), lc_sql_text(id)), err));
    LC_TRY(lc_db_run(db, "DELETE FROM models WHERE owner = ?1 AND id = ?2",
                     LC_BIND(lc_sql_text(owner), lc_sql_text(id)), err));
    return lc_db_changes(db) > 0 ? LC_OK : fail_absent(id, err);
}

static lc_code delete_model(const lc_service *service, const char *owner, const char *id,
                            lc_err *err)
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
    LC_TRY_GOTO(delete_rows(db, owner, id, err));
    return lc_store_commit(&db, err);
fail:
    lc_store_end(&db);
    return code;
}

static lc_code handle_delete(lc_request *request, lc_err *err)
{
    const char *id = request->params[0];
    char base[LC_MAX_BASE_NAME + 1];
    bool is_base = false;
    LC_TRY(lc_base_find(request->service->models_dir, id, base, &is_base, err));
    if (is_base) {
        return lc_fail_param(err, LC_ERR_STATE, "model",
                             "%.200s is a base model: its folder is yours to delete.", id);
    }
    LC_TRY(delete_model(request->service, request->owner, id, err));
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
