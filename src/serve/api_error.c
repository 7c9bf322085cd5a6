/*
 * From lc_err to HTTP; see api_error.h. A wrong state is 400 and not 409, which clients would send
 * again twice.
 */
#include "serve/api_error.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lorac/log.h"

static const char invalid_request[] = "invalid_request_error";

/* With a message of its own what err says, paths of this machine, is for the log. */
static const struct {
    lc_code code;
    lc_api_error error;
} kinds[] = {
    {LC_ERR_USAGE, {.status = 400, .code = "invalidPayload", .type = invalid_request}},
    {LC_ERR_INVALID, {.status = 400, .code = "invalidPayload", .type = invalid_request}},
    {LC_ERR_UNSUPPORTED, {.status = 400, .code = "invalidPayload", .type = invalid_request}},
    {LC_ERR_NOT_FOUND, {.status = 404, .code = "notFound", .type = invalid_request}},
    {LC_ERR_STATE, {.status = 400, .code = "unexpectedEntityState", .type = invalid_request}},
    {LC_ERR_TOO_LARGE, {.status = 413, .code = "invalidPayload", .type = invalid_request}},
    {LC_ERR_BUSY,
     {.status = 429,
      .code = "tooManyRequests",
      .type = "rate_limit_error",
      .retry_after_ms = 1000}},
    {LC_ERR_DEVICE,
     {.status = 503, .code = "serviceUnavailable", .type = "server_error", .retry_after_ms = 2000}},
    {LC_ERR_INTERRUPTED,
     {.status = 503, .code = "serviceUnavailable", .type = "server_error", .retry_after_ms = 2000}},
    {LC_ERR_DISK_FULL,
     {.status = 503,
      .code = "serviceUnavailable",
      .type = "server_error",
      .message = "The disk of the service is full.",
      .retry_after_ms = 30000}},
};

void lc_response_reset(lc_response *response)
{
    if (response->file_fd >= 0) {
        (void)close(response->file_fd);
    }
    if (response->stream != NULL) {
        lc_stream_close(response->stream);
        lc_stream_release(response->stream);
    }
    lc_text_release(&response->body);
    *response = (lc_response){.status = 200, .type = "application/json", .file_fd = -1};
    lc_text_init(&response->body);
}

static void add_text(lc_text *out, const char *name, const char *value)
{
    lc_text_addf(out, "\"%s\": ", name);
    if (value != NULL && value[0] != '\0') {
        lc_text_add_json_string(out, value, strlen(value));
    } else {
        lc_text_addf(out, "null");
    }
}

static void add_retry(lc_request *request, int64_t retry_after_ms)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%lld", (long long)retry_after_ms);
    const lc_code first = lc_response_header(request, "retry-after-ms", number, NULL);
    (void)snprintf(number, sizeof number, "%lld", (long long)(retry_after_ms + 999) / 1000);
    if (first != LC_OK || lc_response_header(request, "retry-after", number, NULL) != LC_OK) {
        lc_log(LC_LOG_WARN, "request %s: no room for its headers", request->id);
    }
}

void lc_api_fail(lc_request *request, const lc_api_error *error)
{
    lc_response *response = &request->response;
    lc_response_reset(response);
    response->status = error->status;
    lc_text_addf(&response->body, "{\"error\": {");
    add_text(&response->body, "code", error->code);
    lc_text_addf(&response->body, ", ");
    add_text(&response->body, "message", error->message);
    lc_text_addf(&response->body, ", ");
    add_text(&response->body, "param", error->param);
    lc_text_addf(&response->body, ", ");
    add_text(&response->body, "type", error->type);
    lc_text_addf(&response->body, "}}\n");
    if (response->body.failed) {
        lc_response_reset(response);
        response->status = 500;
    } else if (error->retry_after_ms > 0) {
        add_retry(request, error->retry_after_ms);
    }
}

static lc_api_error kind_of(lc_code code)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].code == code) {
            return kinds[i].error;
        }
    }
    return (lc_api_error){.status = 500, .code = "internalFailure", .type = "server_error"};
}

const char *lc_api_code(lc_code code)
{
    return kind_of(code).code;
}

void lc_api_fail_with(lc_request *request, const lc_err *err)
{
    char text[LC_ERR_MESSAGE_BYTES];
    lc_api_error error = kind_of(err->code);
    if (err->api_code != NULL) {
        error.code = err->api_code;
    }
    if (error.status == 500) {
        (void)snprintf(text, sizeof text, "Internal error. The log of the server has more at %s.",
                       request->id);
        error.message = text;
    }
    if (error.message != NULL) {
        lc_log(LC_LOG_ERROR, "request %s failed: %s: %s", request->id, lc_code_name(err->code),
               err->message);
    } else {
        error.message = err->message;
        error.param = err->param;
    }
    lc_api_fail(request, &error);
}
