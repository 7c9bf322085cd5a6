/*
 * The portal's files over HTTP; see portal.h. A browser keeps them and asks each time whether they
 * have changed; nothing else may run on the page, and nobody may frame it.
 */
#include "serve/portal.h"

#include <string.h>

static const char index_name[] = "index.html";

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'";

static const lc_portal_file *find(const char *name)
{
    for (int i = 0; i < lc_portal_file_count; i++) {
        if (strcmp(lc_portal_files[i].name, name) == 0) {
            return &lc_portal_files[i];
        }
    }
    return NULL;
}

static lc_code send_file(lc_request *request, const char *name, lc_err *err)
{
    lc_response *response = &request->response;
    const lc_portal_file *file = find(name);
    if (file == NULL) {
        return lc_fail(err, LC_ERR_NOT_FOUND, "The portal has no file %.80s.", name);
    }
    response->type = file->type;
    LC_TRY(lc_response_header(request, "ETag", file->etag, err));
    LC_TRY(lc_response_header(request, "Cache-Control", "no-cache", err));
    LC_TRY(lc_response_header(request, "Content-Security-Policy", policy, err));
    LC_TRY(lc_response_header(request, "Referrer-Policy", "no-referrer", err));
    if (strstr(request->if_none_match, file->etag) !=
        NULL) { /* quoted: no tag is part of another */
        response->status = 304;
    } else {
        lc_text_add(&response->body, (const char *)file->bytes, file->size);
    }
    return LC_OK;
}

static lc_code handle_index(lc_request *request, lc_err *err)
{
    return send_file(request, index_name, err);
}

static lc_code handle_file(lc_request *request, lc_err *err)
{
    if (strcmp(request->params[0], index_name) == 0) { /* its links are those of a page at / */
        return lc_fail(err, LC_ERR_NOT_FOUND, "The portal's page is at /.");
    }
    return send_file(request, request->params[0], err);
}

static const lc_route routes[] = {
    {.method = "GET",
     .pattern = "/",
     .handle = handle_index,
     .flags = LC_ROUTE_ROOT | LC_ROUTE_PUBLIC},
    {.method = "GET",
     .pattern = "/portal/{file}",
     .handle = handle_file,
     .flags = LC_ROUTE_ROOT | LC_ROUTE_PUBLIC},
};

const lc_route_table lc_portal_routes = {routes, sizeof routes / sizeof *routes};
