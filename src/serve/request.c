/*
 * What handlers ask of a request and say in an answer; see request.h.
 */
#include "serve/request.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *lc_request_query(const lc_request *request, const char *name)
{
    for (int i = 0; i < request->query_count; i++) {
        if (strcmp(request->query[i].name, name) == 0) {
            return request->query[i].value[0] != '\0' ? request->query[i].value : NULL;
        }
    }
    return NULL;
}

lc_code lc_request_query_int(const lc_request *request, const char *name, int64_t low, int64_t high,
                             int64_t fallback, int64_t *out, lc_err *err)
{
    const char *text = lc_request_query(request, name);
    char *end = NULL;
    *out = fallback;
    if (text == NULL) {
        return LC_OK;
    }
    const bool is_number = (text[0] >= '0' && text[0] <= '9') || text[0] == '-';
    const long long value = strtoll(text, &end, 10); /* out of range: the nearest, refused below */
    if (!is_number || *end != '\0' || value < low || value > high) {
        return lc_fail_param(err, LC_ERR_INVALID, name,
                             "%s must be a whole number from %" PRId64 " to %" PRId64
                             ", not \"%.40s\"",
                             name, low, high, text);
    }
    *out = value;
    return LC_OK;
}

lc_code lc_response_header(lc_request *request, const char *name, const char *value, lc_err *err)
{
    lc_response *response = &request->response;
    char *copy = NULL;
    for (const char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return lc_fail(err, LC_ERR_INTERNAL, "a control character in header %s", name);
        }
    }
    if (response->header_count == LC_MAX_RESPONSE_HEADERS) {
        return lc_fail(err, LC_ERR_INTERNAL, "more than %d headers", LC_MAX_RESPONSE_HEADERS);
    }
    LC_TRY(lc_arena_strdup(&request->arena, value, strlen(value), &copy, err));
    response->header_names[response->header_count] = name;
    response->header_values[response->header_count++] = copy;
    return LC_OK;
}

/* The object begins with its id: {"id": "..." */
lc_code lc_response_created(lc_request *request, const char *place, lc_err *err)
{
    static const char begin[] = "{\"id\": \"";
    const lc_text *body = &request->response.body;
    char location[256];
    if (request->family != LC_URL_CLASSIC || body->failed) {
        return LC_OK; /* no memory is told when the answer is sent */
    }
    if (body->length < sizeof begin || memcmp(body->data, begin, sizeof begin - 1) != 0) {
        return lc_fail(err, LC_ERR_INTERNAL, "an object without its id");
    }
    const char *id = body->data + sizeof begin - 1;
    (void)snprintf(location, sizeof location, "%s%.*s", place, (int)strcspn(id, "\""), id);
    request->response.status = 201;
    return lc_response_header(request, "Location", location, err);
}

lc_code lc_response_file(lc_request *request, const char *path, const char *type, lc_err *err)
{
    lc_response *response = &request->response;
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { /* deleted since it was found; clients learn no paths */
        return errno == ENOENT
                   ? lc_fail(err, LC_ERR_NOT_FOUND, "There is nothing to read any more.")
                   : lc_fail_errno(err, "cannot read %s", path);
    }
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        (void)close(fd);
        return lc_fail(err, LC_ERR_IO, "%s is no file", path);
    }
    response->file_fd = fd;
    response->file_bytes = status.st_size;
    response->type = type;
    return LC_OK;
}
