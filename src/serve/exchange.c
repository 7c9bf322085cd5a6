/*
 * One request: its checks in the order in which they can be made, its body, its handler, its
 * answer. Called by libmicrohttpd's threads, one at a time for a connection.
 */
#include "serve/exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/clock.h"
#include "lorac/log.h"
#include "serve/api_error.h"
#include "serve/host.h"

static const char *header(const lc_exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

static const char *header_or_empty(const lc_exchange *exchange, const char *name)
{
    const char *value = header(exchange, name);
    return value != NULL ? value : "";
}

static void fail_with(lc_exchange *exchange, const lc_err *err)
{
    lc_api_fail_with(&exchange->request, err);
    exchange->has_failed = true;
}

static void fail(lc_exchange *exchange, const lc_api_error *error)
{
    lc_api_fail(&exchange->request, error);
    exchange->has_failed = true;
}

static void refuse(lc_exchange *exchange, int status, const char *code, const char *message)
{
    fail(exchange,
         &(lc_api_error){.status = status,
                         .code = code,
                         .type = status == 401 ? "authentication_error" : "invalid_request_error",
                         .message = message});
}

/* A random UUID, version 4. */
static void make_id(char *out)
{
    unsigned char b[16] = {0};
    (void)!getrandom(b, sizeof b, 0);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)snprintf(out, LC_REQUEST_ID_BYTES,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

/* The method's static name; one that HTTP does not know is "OTHER". */
static const char *known_method(const char *method)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(method, names[i]) == 0) {
            return names[i];
        }
    }
    return "OTHER";
}

/* ---- what the header says ---- */

/* A page of somebody else's in a browser must not reach a server that trusts this machine: neither
 * under another name (Host) nor from another origin. */
static void check_origin(lc_exchange *exchange)
{
    const lc_http_server *server = exchange->server;
    const char *host = header(exchange, "Host");
    const char *origin = header(exchange, "Origin");
    if (server->is_loopback && !lc_host_is_allowed(host, &server->options)) {
        refuse(exchange, 403, "forbidden",
               "This Host is not served here: see --host-name of lorac serve.");
    } else if (origin != NULL && !lc_host_is_origin(origin, host, server->is_tls)) {
        refuse(exchange, 403, "forbidden", "Requests from pages of other origins are refused.");
    }
}

struct query_reader {
    lc_exchange *exchange;
    lc_err err;
};

static enum MHD_Result read_query(void *context, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    struct query_reader *reader = context;
    lc_request *request = &reader->exchange->request;
    char *copies[2] = {NULL, NULL};
    const char *texts[2] = {name, value != NULL ? value : ""};
    (void)kind;
    if (request->query_count == LC_MAX_QUERY) {
        (void)lc_fail(&reader->err, LC_ERR_INVALID, "the query has more than %d members",
                      LC_MAX_QUERY);
        return MHD_NO;
    }
    for (int i = 0; i < 2; i++) {
        const size_t length = strlen(texts[i]);
        if (length > (size_t)LC_MAX_QUERY_BYTES * 3) {
            (void)lc_fail(&reader->err, LC_ERR_INVALID, "the query has a member of %zu bytes",
                          length);
            return MHD_NO;
        }
        if (lc_arena_strdup(&request->arena, texts[i], length, &copies[i], &reader->err) != LC_OK) {
            return MHD_NO;
        }
        if (!lc_percent_decode(copies[i], true) || strlen(copies[i]) > LC_MAX_QUERY_BYTES) {
            (void)lc_fail(&reader->err, LC_ERR_INVALID,
                          "the query is not valid UTF-8 with percent signs, or too long");
            return MHD_NO;
        }
    }
    request->query[request->query_count++] = (lc_query_pair){copies[0], copies[1]};
    return MHD_YES;
}

static void find_route(lc_exchange *exchange, const char *url)
{
    const lc_http_options *options = &exchange->server->options;
    lc_request *request = &exchange->request;
    lc_route_match match;
    lc_err err = {.code = LC_OK};
    char *path = NULL;
    const size_t length = strlen(url);
    if (length > LC_MAX_URL_BYTES) {
        refuse(exchange, 414, "invalidPayload", "The path is too long.");
        return;
    }
    if (lc_arena_strdup(&request->arena, url, length, &path, &err) != LC_OK ||
        lc_route_find(options->tables, options->table_count, exchange->method, path, &match,
                      &err) != LC_OK) {
        fail_with(exchange, &err);
        return;
    }
    request->family = match.family;
    request->route = match.route;
    memcpy(request->params, match.params, sizeof match.params);
    if (match.route == NULL && match.has_path) {
        refuse(exchange, 405, "405", "Method not allowed.");
        if (lc_response_header(request, "Allow", match.allow, &err) != LC_OK) {
            lc_log(LC_LOG_WARN, "request %s: %s", request->id, err.message);
        }
    } else if (match.route == NULL) {
        refuse(exchange, 404, "404", "Resource not found.");
    }
}

/* The key of a header "api-key: KEY" or "Authorization: Bearer KEY"; NULL: none. */
static const char *sent_key(const lc_exchange *exchange)
{
    static const char bearer[] = "Bearer ";
    const char *key = header(exchange, "api-key");
    const char *authorization = header(exchange, "Authorization");
    if (key != NULL) {
        return key;
    }
    if (authorization != NULL && strncasecmp(authorization, bearer, sizeof bearer - 1) == 0) {
        return authorization + sizeof bearer - 1 + strspn(authorization + sizeof bearer - 1, " ");
    }
    return NULL;
}

static void authenticate(lc_exchange *exchange)
{
    const lc_http_options *options = &exchange->server->options;
    lc_request *request = &exchange->request;
    const char *key = sent_key(exchange);
    bool is_known = false;
    lc_err err = {.code = LC_OK};
    if ((request->route->flags & LC_ROUTE_PUBLIC) != 0) {
        return;
    }
    if (key != NULL && strlen(key) > LC_MAX_API_KEY_BYTES) {
        key = "";
    }
    if (options->authenticate(options->service, key, request->owner, &is_known, &err) != LC_OK) {
        fail_with(exchange, &err);
    } else if (!is_known) {
        refuse(exchange, 401, "401",
               "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
               "provide a valid key for this server.");
    }
}

static void check_rate(lc_exchange *exchange)
{
    lc_request *request = &exchange->request;
    if ((request->route->flags & LC_ROUTE_PUBLIC) != 0) {
        return;
    }
    const int64_t wait_ms = lc_rate_take(exchange->server->rate, request->owner, exchange->began);
    if (wait_ms > 0) {
        fail(exchange, &(lc_api_error){.status = 429,
                                       .code = "tooManyRequests",
                                       .type = "rate_limit_error",
                                       .message = "Too many requests a second with this key.",
                                       .retry_after_ms = wait_ms});
    }
}

static int64_t body_limit(const lc_route *route)
{
    if (route->body == LC_BODY_STREAM) {
        return LC_MAX_MULTIPART_BYTES;
    }
    const bool is_small = route->body == LC_BODY_NONE || (route->flags & LC_ROUTE_SMALL) != 0;
    return is_small ? LC_MAX_SMALL_JSON_BYTES : LC_MAX_REQUEST_JSON_BYTES;
}

static void fail_too_large(lc_exchange *exchange)
{
    lc_err err = {.code = LC_OK};
    (void)lc_fail(&err, LC_ERR_TOO_LARGE, "The request's body has more than %" PRId64 " bytes.",
                  exchange->body_limit);
    fail_with(exchange, &err);
}

/* Content-Length, -1 without one that is a number. */
static int64_t announced(const lc_exchange *exchange)
{
    const char *text = header(exchange, "Content-Length");
    int64_t value = 0;
    if (text == NULL || text[0] == '\0') {
        return -1;
    }
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *text - '0', &value)) {
            return INT64_MAX;
        }
    }
    return *text == '\0' ? value : -1;
}

/* Of a body in another coding nobody knows where it ends. */
static bool has_strange_coding(const lc_exchange *exchange)
{
    const char *coding = header(exchange, "Transfer-Encoding");
    return coding != NULL && strcasecmp(coding, "chunked") != 0;
}

static void begin_body(lc_exchange *exchange)
{
    lc_request *request = &exchange->request;
    const lc_route *route = request->route;
    lc_err err = {.code = LC_OK};
    exchange->body_limit = body_limit(route);
    if (has_strange_coding(exchange)) {
        refuse(exchange, 400, "invalidPayload", "Transfer-Encoding can be chunked only.");
    } else if (header(exchange, "Transfer-Encoding") != NULL &&
               header(exchange, "Content-Length") != NULL) {
        refuse(exchange, 400, "invalidPayload",
               "Content-Length and Transfer-Encoding do not go together.");
    } else if (announced(exchange) > exchange->body_limit) {
        fail_too_large(exchange);
    } else if (route->body == LC_BODY_STREAM) {
        exchange->has_sink = route->sink->begin(request, &err) == LC_OK;
        if (!exchange->has_sink) {
            fail_with(exchange, &err);
        }
    }
}

lc_exchange *lc_exchange_begin(lc_http_server *server, struct MHD_Connection *connection,
                               const char *url, const char *method)
{
    static void (*const checks[])(lc_exchange *) = {authenticate, check_rate, begin_body};
    lc_exchange *exchange = lc_calloc(1, sizeof *exchange);
    if (exchange == NULL) {
        return NULL;
    }
    lc_request *request = &exchange->request;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    exchange->connection = connection;
    exchange->server = server;
    exchange->watched = info != NULL ? info->socket_context : NULL;
    exchange->method = known_method(method);
    exchange->began = lc_monotonic_seconds();
    request->service = server->options.service;
    request->response.file_fd = -1;
    request->content_type = header_or_empty(exchange, "Content-Type");
    request->accept = header_or_empty(exchange, "Accept");
    request->if_none_match = header_or_empty(exchange, "If-None-Match");
    lc_arena_init(&request->arena, "a request");
    lc_text_init(&exchange->body);
    lc_response_reset(&request->response);
    make_id(request->id);
    lc_connection_receives(exchange->watched);
    struct query_reader reader = {.exchange = exchange};
    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, read_query, &reader);
    check_origin(exchange);
    if (!exchange->has_failed) {
        find_route(exchange, url);
    }
    if (!exchange->has_failed && reader.err.code != LC_OK) {
        fail_with(exchange, &reader.err);
    }
    for (size_t i = 0; i < sizeof checks / sizeof *checks && !exchange->has_failed; i++) {
        checks[i](exchange);
    }
    return exchange;
}

bool lc_exchange_is_hopeless(const lc_exchange *exchange)
{
    return exchange->has_failed &&
           (header(exchange, "Expect") != NULL || announced(exchange) > LC_MAX_DRAINED_BYTES ||
            has_strange_coding(exchange));
}

/* ---- the body ---- */

void lc_exchange_take(lc_exchange *exchange, const char *bytes, size_t count)
{
    lc_request *request = &exchange->request;
    lc_err err = {.code = LC_OK};
    lc_connection_received(exchange->watched, count);
    exchange->bytes_in += (int64_t)count;
    if (exchange->has_failed) {
        return;
    }
    if (exchange->bytes_in > exchange->body_limit) {
        fail_too_large(exchange);
    } else if (request->route->body == LC_BODY_JSON) {
        lc_text_add(&exchange->body, bytes, count);
    } else if (request->route->body == LC_BODY_STREAM &&
               request->route->sink->data(request, bytes, count, &err) != LC_OK) {
        fail_with(exchange, &err);
    }
}

static void drop_sink(lc_exchange *exchange)
{
    if (exchange->has_sink) {
        exchange->has_sink = false;
        exchange->request.route->sink->discard(&exchange->request);
    }
}

static lc_code parse_body(lc_exchange *exchange, lc_err *err)
{
    lc_text *body = &exchange->body;
    if (body->length == 0) {
        return LC_OK; /* cancel, pause and resume come without one */
    }
    LC_TRY(lc_text_finish(body, "a request", err));
    LC_TRY(lc_json_parse(body->data, body->length, LC_JSON_DEFAULT, "the request's body",
                         &exchange->request.body, err));
    if (!cJSON_IsObject(exchange->request.body)) {
        return lc_fail(err, LC_ERR_INVALID, "the request's body must be a JSON object");
    }
    return LC_OK;
}

void lc_exchange_handle(lc_exchange *exchange)
{
    lc_request *request = &exchange->request;
    lc_err err = {.code = LC_OK};
    exchange->was_handled = true;
    lc_connection_works(exchange->watched);
    if (exchange->has_failed) {
        drop_sink(exchange);
        return;
    }
    if (request->route->body == LC_BODY_JSON && parse_body(exchange, &err) != LC_OK) {
        fail_with(exchange, &err);
        return;
    }
    exchange->has_sink = false; /* the handler's now */
    if (request->route->handle(request, &err) != LC_OK) {
        fail_with(exchange, &err);
    }
}

/* ---- an answer that comes later ---- */

static void on_gone(void *context)
{
    lc_exchange *exchange = context;
    if (exchange->request.on_gone != NULL) {
        exchange->request.on_gone(&exchange->request);
    }
}

void lc_request_defer(lc_request *request)
{
    lc_exchange *exchange = (lc_exchange *)request;
    request->is_deferred = true;
    MHD_suspend_connection(exchange->connection);
    lc_connection_watch(exchange->watched, on_gone, exchange);
}

void lc_request_resume(lc_request *request)
{
    lc_exchange *exchange = (lc_exchange *)request;
    lc_connection_unwatch(exchange->watched);
    MHD_resume_connection(exchange->connection);
}

/* ---- the answer ---- */

static void sleep_connection(void *context)
{
    MHD_suspend_connection(((lc_exchange *)context)->connection);
}

static void wake_connection(void *context)
{
    MHD_resume_connection(((lc_exchange *)context)->connection);
}

static ssize_t take_stream(void *context, uint64_t position, char *to, size_t room)
{
    lc_exchange *exchange = context;
    (void)position;
    const ssize_t count = lc_stream_take(exchange->request.response.stream, to, room,
                                         sleep_connection, wake_connection, exchange);
    if (count == -1) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (count < 0) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    exchange->bytes_out += count;
    return count;
}

#define STREAM_BLOCK_BYTES 16384

static struct MHD_Response *make_response(lc_exchange *exchange)
{
    lc_response *response = &exchange->request.response;
    if (response->stream != NULL) {
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, take_stream,
                                                 exchange, NULL);
    }
    if (response->file_fd >= 0) {
        const int fd = response->file_fd;
        response->file_fd = -1; /* the library closes it */
        exchange->bytes_out = response->file_bytes;
        return MHD_create_response_from_fd((size_t)response->file_bytes, fd);
    }
    exchange->bytes_out = (int64_t)response->body.length;
    return MHD_create_response_from_buffer(response->body.length, response->body.data,
                                           MHD_RESPMEM_PERSISTENT); /* lives until the end */
}

static bool add_headers(lc_exchange *exchange, struct MHD_Response *made)
{
    const lc_request *request = &exchange->request;
    const lc_response *response = &request->response;
    bool is_added = MHD_add_response_header(made, "x-request-id", request->id) == MHD_YES &&
                    MHD_add_response_header(made, "apim-request-id", request->id) == MHD_YES &&
                    MHD_add_response_header(made, "X-Content-Type-Options", "nosniff") == MHD_YES;
    if (response->status != 204) {
        is_added &= MHD_add_response_header(made, "Content-Type", response->type) == MHD_YES;
    }
    if (response->stream != NULL || strcmp(response->type, "application/json") == 0) {
        is_added &= MHD_add_response_header(made, "Cache-Control", "no-store") == MHD_YES;
    }
    for (int i = 0; i < response->header_count; i++) {
        is_added &= MHD_add_response_header(made, response->header_names[i],
                                            response->header_values[i]) == MHD_YES;
    }
    return is_added;
}

enum MHD_Result lc_exchange_answer(lc_exchange *exchange)
{
    lc_response *response = &exchange->request.response;
    lc_err err = {.code = LC_OK};
    if (response->body.failed) {
        (void)lc_fail(&err, LC_ERR_MEMORY, "no memory for the answer");
        fail_with(exchange, &err);
    }
    struct MHD_Response *made = make_response(exchange);
    if (made == NULL) {
        return MHD_NO;
    }
    enum MHD_Result result = MHD_NO;
    if (add_headers(exchange, made)) {
        exchange->was_answered = true;
        result = MHD_queue_response(exchange->connection, (unsigned int)response->status, made);
    }
    MHD_destroy_response(made);
    return result;
}

void lc_exchange_end(lc_exchange *exchange)
{
    lc_request *request = &exchange->request;
    const lc_http_options *options = &exchange->server->options;
    drop_sink(exchange);
    lc_connection_waits(exchange->watched);
    if (options->note != NULL) {
        const lc_http_record record = {
            .request = request,
            .method = exchange->method,
            .pattern = request->route != NULL ? request->route->pattern : "",
            .status = exchange->was_answered ? request->response.status : 0,
            .seconds = lc_monotonic_seconds() - exchange->began,
            .bytes_in = exchange->bytes_in,
            .bytes_out = exchange->bytes_out};
        options->note(options->service, &record);
    }
    lc_response_reset(&request->response);
    lc_text_release(&exchange->body);
    cJSON_Delete(request->body);
    lc_arena_release(&request->arena);
    lc_free(exchange);
}
