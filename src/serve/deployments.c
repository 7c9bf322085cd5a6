/*
 * /deployments and the control plane's path to them; see deployments.h. A deployment loads its
 * adapter at once, and again whenever a chat needs it.
 */
#include "serve/deployments.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "serve/api_code.h"
#include "serve/ids.h"
#include "serve/models.h"

#define ARM_BASE                                                     \
    "/subscriptions/{subscription}/resourceGroups/{group}/providers" \
    "/Microsoft.CognitiveServices/accounts/{account}/deployments"

typedef struct deployment {
    char name[LC_MAX_DEPLOYMENT_NAME_BYTES + 1];
    char model[LC_MODEL_NAME_BYTES];
    char sku[512]; /* JSON; "": none */
    int64_t created_at, updated_at;
} deployment;

/* ---- rows ---- */

static void read_row(const lc_rows *rows, deployment *out)
{
    lc_rows_copy(rows, 0, out->name, sizeof out->name);
    lc_rows_copy(rows, 1, out->model, sizeof out->model);
    lc_rows_copy(rows, 2, out->sku, sizeof out->sku);
    out->created_at = lc_rows_int(rows, 3);
    out->updated_at = lc_rows_int(rows, 4);
}

static lc_code find(lc_db *db, const char *owner, const char *name, deployment *out, bool *is_found,
                    lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db,
                       "SELECT name, model, sku, created_at, updated_at FROM deployments"
                       " WHERE owner = ?1 AND name = ?2",
                       LC_BIND(lc_sql_text(owner), lc_sql_text(name)), &rows, err));
    *is_found = lc_rows_next(&rows);
    if (*is_found) {
        read_row(&rows, out);
    }
    return lc_rows_end(&rows, err);
}

static lc_code find_alone(const lc_service *service, const char *owner, const char *name,
                          deployment *out, bool *is_found, lc_err *err)
{
    lc_db *db = NULL;
    LC_TRY(lc_store_read(service->store, &db, err));
    const lc_code code = find(db, owner, name, out, is_found, err);
    lc_store_end(&db);
    return code;
}

lc_code lc_deployment_model(const lc_service *service, const char *owner, const char *name,
                            char model[LC_MODEL_NAME_BYTES], bool *is_found, lc_err *err)
{
    deployment found;
    LC_TRY(find_alone(service, owner, name, &found, is_found, err));
    if (*is_found) {
        (void)snprintf(model, LC_MODEL_NAME_BYTES, "%s", found.model);
    }
    return LC_OK;
}

static lc_code get(const lc_service *service, const char *owner, const char *name, deployment *out,
                   lc_err *err)
{
    bool is_found = false;
    LC_TRY(find_alone(service, owner, name, out, &is_found, err));
    return is_found ? LC_OK
                    : lc_fail_param(err, LC_ERR_NOT_FOUND, "deployment",
                                    "The deployment '%.80s' does not exist.", name);
}

static lc_code count_rows(lc_db *db, const char *owner, int64_t *count, lc_err *err)
{
    lc_rows rows;
    LC_TRY(lc_db_query(db, "SELECT count(*) FROM deployments WHERE owner = ?1",
                       LC_BIND(lc_sql_text(owner)), &rows, err));
    *count = lc_rows_next(&rows) ? lc_rows_int(&rows, 0) : 0;
    return lc_rows_end(&rows, err);
}

/* Makes or changes one; *is_new says which. */
static lc_code put(const lc_service *service, const char *owner, deployment *row, bool *is_new,
                   lc_err *err)
{
    lc_code code;
    lc_db *db = NULL;
    int64_t count = 0;
    bool is_found = false;
    deployment old;
    LC_TRY(lc_store_begin(service->store, &db, err));
    LC_TRY_GOTO(find(db, owner, row->name, &old, &is_found, err));
    LC_TRY_GOTO(count_rows(db, owner, &count, err));
    if (!is_found && count >= LC_MAX_DEPLOYMENTS) {
        (void)lc_fail_param(err, LC_ERR_INVALID, "deployment",
                            "There are %d deployments already, the most there may be: delete some.",
                            LC_MAX_DEPLOYMENTS);
        code = lc_err_api_code(err, LC_API_QUOTA);
        goto fail;
    }
    row->created_at = is_found ? old.created_at : lc_unix_seconds();
    row->updated_at = lc_unix_seconds();
    LC_TRY_GOTO(
        lc_db_run(db,
                  "INSERT INTO deployments (owner, name, model, sku, created_at, updated_at)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (owner, name)"
                  " DO UPDATE SET model = ?3, sku = ?4, updated_at = ?6",
                  LC_BIND(lc_sql_text(owner), lc_sql_text(row->name), lc_sql_text(row->model),
                          lc_sql_text(row->sku[0] != '\0' ? row->sku : NULL),
                          lc_sql_int(row->created_at), lc_sql_int(row->updated_at)),
                  err));
    *is_new = !is_found;
    return lc_store_commit(&db, err);
fail:
    lc_store_end(&db);
    return code;
}

static lc_code delete_row(const lc_service *service, const char *owner, const char *name,
                          bool *is_deleted, lc_err *err)
{
    lc_code code;
    lc_db *db = NULL;
    LC_TRY(lc_store_begin(service->store, &db, err));
    LC_TRY_GOTO(lc_db_run(db, "DELETE FROM deployments WHERE owner = ?1 AND name = ?2",
                          LC_BIND(lc_sql_text(owner), lc_sql_text(name)), err));
    *is_deleted = lc_db_changes(db) > 0;
    return lc_store_commit(&db, err);
fail:
    lc_store_end(&db);
    return code;
}

/* ---- state ---- */

/* Azure's words for how far a deployment is. */
static const char *provisioning(const lc_service *service, const char *owner, const char *model)
{
    lc_worker_target target;
    if (lc_model_target(service, owner, model, &target, NULL) != LC_OK) {
        return "Failed";
    }
    switch (lc_worker_peek(service->workers, &target)) {
    case LC_ADAPTER_LOADING:
        return "Creating";
    case LC_ADAPTER_FAILED:
        return "Failed";
    default:
        return "Succeeded"; /* loaded, or it will be when it is asked */
    }
}

/* `model` becomes the name as it is written: ids and other cases are asked for too. */
static lc_code load(const lc_service *service, const char *owner, const char *asked,
                    char model[LC_MODEL_NAME_BYTES], lc_err *err)
{
    lc_worker_target target;
    lc_adapter_state state;
    lc_err busy = {.code = LC_OK};
    LC_TRY(lc_model_target(service, owner, asked, &target, err));
    (void)snprintf(model, LC_MODEL_NAME_BYTES, "%s",
                   target.adapter[0] != '\0' ? target.adapter : target.base);
    const lc_code code = lc_worker_load(service->workers, &target, &state, &busy);
    if (code != LC_OK && code != LC_ERR_BUSY) { /* busy: the first chat loads it */
        *err = busy;
        return code;
    }
    return LC_OK;
}

static lc_code check_name(const char *name, lc_err *err)
{
    const size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && strchr("-_.", name[i]) == NULL) {
            return lc_fail_param(err, LC_ERR_INVALID, "name",
                                 "a deployment's name has letters, digits, -, _ and . only");
        }
    }
    if (length < 1 || length > LC_MAX_DEPLOYMENT_NAME_BYTES) {
        return lc_fail_param(err, LC_ERR_INVALID, "name",
                             "a deployment's name has 1 to %d characters",
                             LC_MAX_DEPLOYMENT_NAME_BYTES);
    }
    return LC_OK;
}

/* ---- the classic data plane ---- */

static void add_classic(const lc_service *service, const lc_request *request,
                        const deployment *from, lc_text *out)
{
    const char *state = provisioning(service, request->owner, from->model);
    lc_text_addf(
        out,
        "{\"id\": \"%s\", \"object\": \"deployment\", \"status\": \"%s\", \"model\": ", from->name,
        strcmp(state, "Succeeded") == 0 ? "succeeded"
        : strcmp(state, "Failed") == 0  ? "failed"
                                        : "notRunning");
    lc_text_add_json_string(out, from->model, strlen(from->model));
    lc_text_addf(out,
                 ", \"owner\": \"local\", \"scale_settings\": {\"scale_type\": \"manual\", "
                 "\"capacity\": 1}, \"created_at\": %" PRId64 ", \"updated_at\": %" PRId64 "}",
                 from->created_at, from->updated_at);
}

static lc_code handle_classic_create(lc_request *request, lc_err *err)
{
    deployment row = {.name = ""};
    const char *model = NULL, *name = NULL;
    char id[LC_ID_BYTES], location[LC_MAX_DEPLOYMENT_NAME_BYTES + 32];
    bool is_new = false;
    if (request->body == NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, "model", "model is missing");
    }
    LC_TRY(lc_json_string(request->body, "model", true, &model, err));
    LC_TRY(lc_json_string(request->body, "name", false, &name, err));
    if (name == NULL) {
        LC_TRY(lc_id_new("deployment-", id, err));
        name = id;
    }
    LC_TRY(check_name(name, err));
    LC_TRY(load(request->service, request->owner, model, row.model, err));
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    LC_TRY(put(request->service, request->owner, &row, &is_new, err));
    add_classic(request->service, request, &row, &request->response.body);
    request->response.status = 201;
    (void)snprintf(location, sizeof location, "/openai/deployments/%s", row.name);
    return lc_response_header(request, "Location", location, err);
}

static lc_code handle_classic_get(lc_request *request, lc_err *err)
{
    deployment row;
    LC_TRY(get(request->service, request->owner, request->params[0], &row, err));
    add_classic(request->service, request, &row, &request->response.body);
    return LC_OK;
}

static lc_code handle_classic_delete(lc_request *request, lc_err *err)
{
    bool is_deleted = false;
    deployment row;
    LC_TRY(get(request->service, request->owner, request->params[0], &row, err));
    LC_TRY(delete_row(request->service, request->owner, row.name, &is_deleted, err));
    request->response.status = 204;
    return LC_OK;
}

/* ---- the control plane ---- */

static void add_arm(const lc_request *request, const deployment *from, const char *state,
                    lc_text *out)
{
    lc_text id;
    lc_text_init(&id);
    lc_text_addf(&id,
                 "/subscriptions/%s/resourceGroups/%s/providers/Microsoft.CognitiveServices"
                 "/accounts/%s/deployments/%s",
                 request->params[0], request->params[1], request->params[2], from->name);
    lc_text_addf(out, "{\"id\": ");
    lc_text_add_json_string(out, id.data != NULL ? id.data : "", id.length);
    lc_text_release(&id);
    lc_text_addf(
        out,
        ", \"name\": \"%s\", \"type\": \"Microsoft.CognitiveServices/accounts/deployments\", "
        "\"sku\": %s, \"properties\": {\"model\": {\"format\": \"OpenAI\", \"name\": ",
        from->name, from->sku[0] != '\0' ? from->sku : "{\"name\": \"Standard\", \"capacity\": 1}");
    lc_text_add_json_string(out, from->model, strlen(from->model));
    lc_text_addf(out, ", \"version\": \"1\"}, \"provisioningState\": \"%s\"}}", state);
}

static lc_code read_sku(const cJSON *body, deployment *row, lc_err *err)
{
    const cJSON *sku = NULL;
    lc_text text;
    lc_text_init(&text);
    LC_TRY(lc_json_object(body, "sku", false, &sku, err));
    if (sku == NULL) {
        return LC_OK;
    }
    lc_text_add_json(&text, sku, true);
    lc_code code = lc_text_finish(&text, "a deployment", err);
    if (code == LC_OK && text.length >= sizeof row->sku) {
        code = lc_fail_param(err, LC_ERR_INVALID, "sku", "sku is too long");
    }
    if (code == LC_OK) {
        memcpy(row->sku, text.data, text.length + 1);
    }
    lc_text_release(&text);
    return code;
}

static lc_code handle_arm_put(lc_request *request, lc_err *err)
{
    deployment row = {.name = ""};
    const cJSON *properties = NULL, *model = NULL;
    const char *name = NULL;
    bool is_new = false;
    if (request->body == NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, "properties", "properties is missing");
    }
    LC_TRY(lc_json_object(request->body, "properties", true, &properties, err));
    LC_TRY(lc_json_object(properties, "model", true, &model, err));
    LC_TRY(lc_json_string(model, "name", true, &name, err));
    LC_TRY(read_sku(request->body, &row, err));
    LC_TRY(check_name(request->params[3], err));
    LC_TRY(load(request->service, request->owner, name, row.model, err));
    (void)snprintf(row.name, sizeof row.name, "%s", request->params[3]);
    LC_TRY(put(request->service, request->owner, &row, &is_new, err));
    add_arm(request, &row, "Accepted", &request->response.body);
    request->response.status = is_new ? 201 : 200;
    return LC_OK;
}

static lc_code handle_arm_get(lc_request *request, lc_err *err)
{
    deployment row;
    LC_TRY(get(request->service, request->owner, request->params[3], &row, err));
    add_arm(request, &row, provisioning(request->service, request->owner, row.model),
            &request->response.body);
    return LC_OK;
}

/* As Azure: 200 for one that was there, 204 for none. */
static lc_code handle_arm_delete(lc_request *request, lc_err *err)
{
    bool is_deleted = false;
    LC_TRY(delete_row(request->service, request->owner, request->params[3], &is_deleted, err));
    request->response.status = is_deleted ? 200 : 204;
    return LC_OK;
}

/* ---- lists of both ---- */

static lc_code list(lc_request *request, bool is_arm, lc_err *err)
{
    lc_text *out = &request->response.body;
    lc_service *service = request->service;
    deployment *all = NULL;
    void *memory = NULL;
    lc_db *db = NULL;
    lc_rows rows;
    int count = 0;
    LC_TRY(lc_arena_alloc(&request->arena, LC_MAX_DEPLOYMENTS, sizeof *all, &memory, err));
    all = memory;
    LC_TRY(lc_store_read(service->store, &db, err));
    lc_code code = lc_db_query(db,
                               "SELECT name, model, sku, created_at, updated_at FROM deployments"
                               " WHERE owner = ?1 ORDER BY seq DESC",
                               LC_BIND(lc_sql_text(request->owner)), &rows, err);
    if (code == LC_OK) {
        while (count < LC_MAX_DEPLOYMENTS && lc_rows_next(&rows)) {
            read_row(&rows, &all[count++]);
        }
        code = lc_rows_end(&rows, err);
    }
    lc_store_end(&db); /* their states are asked for with a reader of their own */
    LC_TRY(code);
    lc_text_addf(out, is_arm ? "{\"value\": [" : "{\"object\": \"list\", \"data\": [");
    for (int i = 0; i < count; i++) {
        lc_text_addf(out, i > 0 ? ", " : "");
        if (is_arm) {
            add_arm(request, &all[i], provisioning(service, request->owner, all[i].model), out);
        } else {
            add_classic(service, request, &all[i], out);
        }
    }
    lc_text_addf(out, is_arm ? "]}\n" : "], \"has_more\": false}\n");
    return LC_OK;
}

static lc_code handle_classic_list(lc_request *request, lc_err *err)
{
    return list(request, false, err);
}

static lc_code handle_arm_list(lc_request *request, lc_err *err)
{
    return list(request, true, err);
}

static const lc_route routes[] = {
    {.method = "POST",
     .pattern = "/deployments",
     .handle = handle_classic_create,
     .body = LC_BODY_JSON,
     .flags = LC_ROUTE_SMALL},
    {.method = "GET", .pattern = "/deployments", .handle = handle_classic_list},
    {.method = "GET", .pattern = "/deployments/{deployment}", .handle = handle_classic_get},
    {.method = "DELETE", .pattern = "/deployments/{deployment}", .handle = handle_classic_delete},
    {.method = "GET", .pattern = ARM_BASE, .handle = handle_arm_list, .flags = LC_ROUTE_ROOT},
    {.method = "GET",
     .pattern = ARM_BASE "/{deployment}",
     .handle = handle_arm_get,
     .flags = LC_ROUTE_ROOT},
    {.method = "PUT",
     .pattern = ARM_BASE "/{deployment}",
     .handle = handle_arm_put,
     .body = LC_BODY_JSON,
     .flags = LC_ROUTE_ROOT | LC_ROUTE_SMALL},
    {.method = "DELETE",
     .pattern = ARM_BASE "/{deployment}",
     .handle = handle_arm_delete,
     .flags = LC_ROUTE_ROOT},
};
const lc_route_table lc_deployment_routes = {routes, sizeof routes / sizeof *routes};
