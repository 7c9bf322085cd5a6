/*
 * /uploads: files in parts, on top of uploads.h.
 */
#include "serve/service.h"
#include "serve/uploads.h"

static lc_code handle_create(lc_request *request, lc_err *err)
{
    return lc_uploads_create(request->service->files, request->owner, request->body,
                             &request->response.body, err);
}

static lc_code begin_part(lc_request *request, lc_err *err)
{
    lc_form *form = NULL;
    LC_TRY(lc_part_form_open(request->service->files, request->owner, request->params[0],
                             request->content_type, &form, err));
    request->upload = form;
    return LC_OK;
}

static lc_code take_part(lc_request *request, const char *bytes, size_t count, lc_err *err)
{
    return lc_form_feed(request->upload, bytes, count, err);
}

static void discard_part(lc_request *request)
{
    lc_form_close(request->upload);
}

static lc_code handle_part(lc_request *request, lc_err *err)
{
    lc_form *form = request->upload;
    const lc_code code = lc_part_form_add(request->service->files, request->owner,
                                          request->params[0], form, &request->response.body, err);
    lc_form_close(form);
    return code;
}

static lc_code handle_complete(lc_request *request, lc_err *err)
{
    return lc_uploads_complete(request->service->files, request->owner, request->params[0],
                               request->body, &request->response.body, err);
}

static lc_code handle_cancel(lc_request *request, lc_err *err)
{
    return lc_uploads_cancel(request->service->files, request->owner, request->params[0],
                             &request->response.body, err);
}

static const lc_body_sink part_sink = {
    .begin = begin_part, .data = take_part, .discard = discard_part};

static const lc_route routes[] = {
    {.method = "POST",
     .pattern = "/uploads",
     .handle = handle_create,
     .body = LC_BODY_JSON,
     .flags = LC_ROUTE_SMALL},
    {.method = "POST",
     .pattern = "/uploads/{upload}/parts",
     .handle = handle_part,
     .body = LC_BODY_STREAM,
     .sink = &part_sink},
    {.method = "POST",
     .pattern = "/uploads/{upload}/complete",
     .handle = handle_complete,
     .body = LC_BODY_JSON,
     .flags = LC_ROUTE_SMALL},
    {.method = "POST", .pattern = "/uploads/{upload}/cancel", .handle = handle_cancel},
};
const lc_route_table lc_upload_routes = {routes, sizeof routes / sizeof *routes};
