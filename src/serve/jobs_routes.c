/*
 * /fine_tuning/jobs: what comes by HTTP, handed to jobs.h; the supervisor is told of changes.
 */
#include <stdio.h>
#include <string.h>

#include "serve/jobs.h"
#include "serve/service.h"

#define MAX_LIST_LIMIT 10000

static const char metadata_begin[] = "metadata[";

static lc_code read_page(lc_request *request, int64_t fallback, lc_page *page, lc_err *err)
{
    *page = (lc_page){.after = lc_request_query(request, "after")};
    return lc_request_query_int(request, "limit", 1, MAX_LIST_LIMIT, fallback, &page->limit, err);
}

/* The members "metadata[KEY]=VALUE" of the query as an object; NULL without any. */
static lc_code read_metadata(const lc_request *request, cJSON **out, lc_err *err)
{
    const size_t begin = sizeof metadata_begin - 1;
    char key[LC_MAX_QUERY_BYTES + 1];
    *out = NULL;
    for (int i = 0; i < request->query_count; i++) {
        const char *name = request->query[i].name;
        const size_t length = strlen(name);
        if (strncmp(name, metadata_begin, begin) != 0 || name[length - 1] != ']') {
            continue;
        }
        (void)snprintf(key, sizeof key, "%.*s", (int)(length - begin - 1), name + begin);
        if (*out == NULL) {
            *out = cJSON_CreateObject();
        }
        if (*out == NULL || cJSON_AddStringToObject(*out, key, request->query[i].value) == NULL) {
            cJSON_Delete(*out);
            return lc_fail(err, LC_ERR_MEMORY, "no memory for a query");
        }
    }
    return LC_OK;
}

static lc_code handle_create(lc_request *request, lc_err *err)
{
    lc_service *service = request->service;
    lc_text *out = &request->response.body;
    if (request->body == NULL) {
        return lc_fail_param(err, LC_ERR_INVALID, "model", "model is missing");
    }
    LC_TRY(lc_jobs_create(service->store, &service->jobs, request->owner, request->body, out, err));
    lc_supervisor_poke(service->supervisor);
    return lc_response_created(request, "/openai/fine_tuning/jobs/", err);
}

static lc_code handle_list(lc_request *request, lc_err *err)
{
    lc_page page;
    cJSON *metadata = NULL;
    LC_TRY(read_page(request, 20, &page, err));
    LC_TRY(read_metadata(request, &metadata, err));
    const lc_code code = lc_jobs_list(request->service->store, request->owner, &page, metadata,
                                      &request->response.body, err);
    cJSON_Delete(metadata);
    return code;
}

static lc_code handle_get(lc_request *request, lc_err *err)
{
    return lc_jobs_get(request->service->store, request->owner, request->params[0],
                       &request->response.body, err);
}

typedef lc_code (*job_change)(lc_store *store, const char *owner, const char *id, lc_text *out,
                              lc_err *err);

static lc_code change(lc_request *request, job_change how, lc_err *err)
{
    LC_TRY(how(request->service->store, request->owner, request->params[0], &request->response.body,
               err));
    lc_supervisor_poke(request->service->supervisor);
    return LC_OK;
}

static lc_code handle_cancel(lc_request *request, lc_err *err)
{
    return change(request, lc_jobs_cancel, err);
}

static lc_code handle_pause(lc_request *request, lc_err *err)
{
    return change(request, lc_jobs_pause, err);
}

static lc_code handle_resume(lc_request *request, lc_err *err)
{
    return change(request, lc_jobs_resume, err);
}

static lc_code handle_delete(lc_request *request, lc_err *err)
{
    LC_TRY(lc_jobs_delete(request->service->store, request->owner, request->params[0], err));
    request->response.status = 204;
    return LC_OK;
}

static lc_code handle_events(lc_request *request, lc_err *err)
{
    lc_page page;
    LC_TRY(read_page(request, 20, &page, err));
    return lc_jobs_events(request->service->store, request->owner, request->params[0], &page,
                          &request->response.body, err);
}

static lc_code handle_checkpoints(lc_request *request, lc_err *err)
{
    lc_page page;
    LC_TRY(read_page(request, 10, &page, err));
    return lc_jobs_checkpoints(request->service->store, request->owner, request->params[0], &page,
                               &request->response.body, err);
}

/* Azure's pages show POST for the two lists, its clients use GET: both. */
static const lc_route routes[] = {
    {.method = "POST",
     .pattern = "/fine_tuning/jobs",
     .handle = handle_create,
     .body = LC_BODY_JSON},
    {.method = "GET", .pattern = "/fine_tuning/jobs", .handle = handle_list},
    {.method = "GET", .pattern = "/fine_tuning/jobs/{job}", .handle = handle_get},
    {.method = "DELETE", .pattern = "/fine_tuning/jobs/{job}", .handle = handle_delete},
    {.method = "POST", .pattern = "/fine_tuning/jobs/{job}/cancel", .handle = handle_cancel},
    {.method = "POST", .pattern = "/fine_tuning/jobs/{job}/pause", .handle = handle_pause},
    {.method = "POST", .pattern = "/fine_tuning/jobs/{job}/resume", .handle = handle_resume},
    {.method = "GET", .pattern = "/fine_tuning/jobs/{job}/events", .handle = handle_events},
    {.method = "POST", .pattern = "/fine_tuning/jobs/{job}/events", .handle = handle_events},
    {.method = "GET",
     .pattern = "/fine_tuning/jobs/{job}/checkpoints",
     .handle = handle_checkpoints},
    {.method = "POST",
     .pattern = "/fine_tuning/jobs/{job}/checkpoints",
     .handle = handle_checkpoints},
};
const lc_route_table lc_job_routes = {routes, sizeof routes / sizeof *routes};
