/*
 * /files: a form that streams to disk, and what there is. The work is files.h's and form.h's.
 */
#include <stdio.h>
#include <string.h>

#include "serve/form.h"
#include "serve/service.h"

static lc_code begin_upload(lc_request *request, lc_err *err)
{
    lc_form *form = NULL;
    LC_TRY(lc_file_form_open(request->service->files, request->content_type, &form, err));
    request->upload = form;
    return LC_OK;
}

static lc_code take_upload(lc_request *request, const char *bytes, size_t count, lc_err *err)
{
    return lc_form_feed(request->upload, bytes, count, err);
}

static void discard_upload(lc_request *request)
{
    lc_form_close(request->upload);
}

static lc_code handle_upload(lc_request *request, lc_err *err)
{
    lc_form *form = request->upload;
    const lc_code code = lc_file_form_create(request->service->files, request->owner, form,
                                             &request->response.body, err);
    lc_form_close(form);
    LC_TRY(code);
    return lc_response_created(request, "/openai/files/", err);
}

static lc_code handle_import(lc_request *request, lc_err *err)
{
    LC_TRY(lc_files_import(request->service->files, request->owner, request->body,
                           &request->response.body, err));
    return lc_response_created(request, "/openai/files/", err);
}

static lc_code handle_list(lc_request *request, lc_err *err)
{
    const char *order = lc_request_query(request, "order");
    lc_page page = {.after = lc_request_query(request, "after")};
    if (order != NULL && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0) {
        return lc_fail_param(err, LC_ERR_INVALID, "order", "order must be asc or desc");
    }
    page.ascending = order != NULL && order[0] == 'a';
    LC_TRY(lc_request_query_int(request, "limit", 1, LC_MAX_FILE_LIST, LC_MAX_FILE_LIST,
                                &page.limit, err));
    return lc_files_list(request->service->files, request->owner,
                         lc_request_query(request, "purpose"), &page, &request->response.body, err);
}

static lc_code handle_get(lc_request *request, lc_err *err)
{
    return lc_files_get(request->service->files, request->owner, request->params[0],
                        &request->response.body, err);
}

static lc_code handle_delete(lc_request *request, lc_err *err)
{
    return lc_files_delete(request->service->files, request->owner, request->params[0],
                           &request->response.body, err);
}

/* attachment; filename*=UTF-8''..., RFC 6266. */
static lc_code name_download(lc_request *request, const char *filename, lc_err *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "!#$&+-.^_`|~";
    char text[64 + 3 * LC_MAX_FILENAME_BYTES];
    size_t used = (size_t)snprintf(text, sizeof text, "attachment; filename*=UTF-8''");
    for (const char *at = filename; *at != '\0'; at++) {
        const bool is_plain = strchr(plain, *at) != NULL;
        used += (size_t)snprintf(text + used, sizeof text - used, is_plain ? "%c" : "%%%02X",
                                 (unsigned char)*at);
    }
    return lc_response_header(request, "Content-Disposition", text, err);
}

static lc_code handle_content(lc_request *request, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES], filename[LC_MAX_FILENAME_BYTES + 1];
    LC_TRY(lc_files_content(request->service->files, request->owner, request->params[0], path,
                            filename, err));
    const lc_code code = lc_response_file(request, path, "application/octet-stream", err);
    if (code == LC_ERR_NOT_FOUND) { /* deleted since, or a job's results before its first step */
        lc_err_clear(err);
        return lc_fail_param(err, LC_ERR_NOT_FOUND, "file_id", "the file has no content");
    }
    LC_TRY(code);
    return name_download(request, filename, err);
}

static const lc_body_sink upload_sink = {begin_upload, take_upload, discard_upload};
static const lc_route routes[] = {
    {.method = "POST",
     .pattern = "/files",
     .handle = handle_upload,
     .body = LC_BODY_STREAM,
     .sink = &upload_sink},
    {.method = "GET", .pattern = "/files", .handle = handle_list},
    {.method = "POST",
     .pattern = "/files/import",
     .handle = handle_import,
     .body = LC_BODY_JSON,
     .flags = LC_ROUTE_SMALL},
    {.method = "GET", .pattern = "/files/{file}", .handle = handle_get},
    {.method = "DELETE", .pattern = "/files/{file}", .handle = handle_delete},
    {.method = "GET", .pattern = "/files/{file}/content", .handle = handle_content},
};
const lc_route_table lc_file_routes = {routes, sizeof routes / sizeof *routes};
