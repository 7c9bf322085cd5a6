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

/* A name in a header: what is not plain there becomes an underscore. */
static lc_code add_disposition(lc_request *request, const char *filename, lc_err *err)
{
    char value[LC_MAX_FILENAME_BYTES + 64];
    (void)snprintf(value, sizeof value, "attachment; filename=\"%s\"", filename);
    for (char *c = strchr(value, '"') + 1; *c != '\0'; c++) {
        const bool is_plain = *c >= 0x20 && *c < 0x7f && *c != '\\' && (*c != '"' || c[1] == '\0');
        *c = is_plain ? *c : '_';
    }
    return lc_response_header(request, "Content-Disposition", value, err);
}

static lc_code handle_content(lc_request *request, lc_err *err)
{
    char path[LC_MAX_PATH_BYTES], filename[LC_MAX_FILENAME_BYTES + 1];
    LC_TRY(lc_files_content(request->service->files, request->owner, request->params[0], path,
                            filename, err));
    LC_TRY(add_disposition(request, filename, err));
    return lc_response_file(request, path, "application/octet-stream", err);
}

static const lc_body_sink upload_sink = {begin_upload, take_upload, discard_upload};
static const lc_route routes[] = {
    {.method = "POST",
     .pattern = "/files",
     .handle = handle_upload,
     .body = LC_BODY_STREAM,
     .sink = &upload_sink},
    {.method = "GET", .pattern = "/files", .handle = handle_list},
    {.method = "GET", .pattern = "/files/{file}", .handle = handle_get},
    {.method = "DELETE", .pattern = "/files/{file}", .handle = handle_delete},
    {.method = "GET", .pattern = "/files/{file}/content", .handle = handle_content},
};
const lc_route_table lc_file_routes = {routes, sizeof routes / sizeof *routes};
