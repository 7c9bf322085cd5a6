/* The HTTP server through plain sockets: families, keys, limits at their edges, late answers,
 * streams, clients that are slow, gone or from elsewhere. */
// ctest: threads
#include "testing.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "http_client.h"
#include "serve/http.h"

struct lc_service {
    pthread_mutex_t mutex;
    lc_request *late;  /* deferred, not resumed yet */
    lc_stream *stream; /* of the last streaming answer */
    int gone, begun, discarded, handled, notes, last_status;
    int64_t streamed;
    char file[LC_MAX_PATH_BYTES];
};

static struct lc_service service = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static lc_http_server *server;

static int locked(const int *value)
{
    (void)pthread_mutex_lock(&service.mutex);
    const int result = *value;
    (void)pthread_mutex_unlock(&service.mutex);
    return result;
}

static void count(int *value)
{
    (void)pthread_mutex_lock(&service.mutex);
    ++*value;
    (void)pthread_mutex_unlock(&service.mutex);
}

/* ---- handlers ---- */

static lc_code handle_echo(lc_request *request, lc_err *err)
{
    lc_text *out = &request->response.body;
    int64_t limit = 0;
    LC_TRY(lc_request_query_int(request, "limit", 1, 100, 20, &limit, err));
    lc_text_addf(out, "{\"family\": %d, \"owner\": \"%s\", \"limit\": %d, \"params\": [",
                 (int)request->family, request->owner, (int)limit);
    for (int i = 0; i < LC_MAX_ROUTE_PARAMS && request->params[i] != NULL; i++) {
        lc_text_addf(out, "%s", i > 0 ? ", " : "");
        lc_text_add_json_string(out, request->params[i], strlen(request->params[i]));
    }
    lc_text_addf(out, "], \"after\": ");
    const char *after = lc_request_query(request, "after");
    after = after != NULL ? after : "none";
    lc_text_add_json_string(out, after, strlen(after));
    lc_text_addf(out, ", \"body\": ");
    if (request->body != NULL) {
        lc_text_add_json(out, request->body, true);
    } else {
        lc_text_addf(out, "null");
    }
    lc_text_addf(out, "}");
    return LC_OK;
}

static lc_code handle_error(lc_request *request, lc_err *err)
{
    const int code = (int)strtol(request->params[0], NULL, 10);
    (void)lc_fail_param(err, (lc_code)code, "field", "secret \"text\" of %d", code);
    return lc_err_api_code(err, lc_request_query(request, "word") != NULL ? "quotaExceeded" : NULL);
}

static lc_code handle_file(lc_request *request, lc_err *err)
{
    return lc_response_file(request, request->service->file, "application/octet-stream", err);
}

static void on_gone(lc_request *request)
{
    count(&request->service->gone);
}

static lc_code handle_late(lc_request *request, lc_err *err)
{
    (void)err;
    request->on_gone = on_gone;
    lc_request_defer(request);
    (void)pthread_mutex_lock(&service.mutex);
    service.late = request;
    (void)pthread_mutex_unlock(&service.mutex);
    return LC_OK;
}

static lc_code handle_stream(lc_request *request, lc_err *err)
{
    lc_stream *stream = NULL;
    LC_TRY(lc_stream_new(&stream, err));
    lc_stream_hold(stream);
    request->response.type = "text/event-stream";
    request->response.stream = stream;
    (void)pthread_mutex_lock(&service.mutex);
    service.stream = stream;
    (void)pthread_mutex_unlock(&service.mutex);
    return LC_OK;
}

static lc_code sink_begin(lc_request *request, lc_err *err)
{
    if (strcmp(request->content_type, "bad") == 0) {
        return lc_fail(err, LC_ERR_INVALID, "a bad type");
    }
    count(&service.begun);
    service.streamed = 0;
    return LC_OK;
}

static lc_code sink_data(lc_request *request, const char *bytes, size_t n, lc_err *err)
{
    (void)request;
    if (memchr(bytes, '!', n) != NULL) {
        return lc_fail(err, LC_ERR_INVALID, "a bad byte");
    }
    service.streamed += (int64_t)n;
    return LC_OK;
}

static void sink_discard(lc_request *request)
{
    (void)request;
    count(&service.discarded);
}

static lc_code handle_upload(lc_request *request, lc_err *err)
{
    count(&service.handled);
    lc_text_addf(&request->response.body, "%lld", (long long)service.streamed);
    request->response.status = 201;
    return lc_response_header(request, "Location", "/files/1", err);
}

static const lc_body_sink sink = {sink_begin, sink_data, sink_discard};
static const lc_route routes[] = {
    {.method = "POST", .pattern = "/things/first", .handle = handle_echo},
    {.method = "GET", .pattern = "/things/{id}", .handle = handle_echo},
    {.method = "DELETE", .pattern = "/things/{id}", .handle = handle_echo},
    {.method = "POST", .pattern = "/things/last", .handle = handle_echo},
    {.method = "POST", .pattern = "/things", .handle = handle_echo, .body = LC_BODY_JSON},
    {.method = "POST",
     .pattern = "/small",
     .handle = handle_echo,
     .body = LC_BODY_JSON,
     .flags = LC_ROUTE_SMALL},
    {.method = "GET", .pattern = "/a/{x}/b/{y}", .handle = handle_echo},
    {.method = "GET", .pattern = "/errors/{code}", .handle = handle_error},
    {.method = "GET", .pattern = "/late", .handle = handle_late},
    {.method = "GET", .pattern = "/stream", .handle = handle_stream},
    {.method = "POST",
     .pattern = "/upload",
     .handle = handle_upload,
     .body = LC_BODY_STREAM,
     .sink = &sink},
};
static const lc_route root_routes[] = {
    {.method = "GET",
     .pattern = "/healthz",
     .handle = handle_echo,
     .flags = LC_ROUTE_ROOT | LC_ROUTE_PUBLIC},
    {.method = "GET",
     .pattern = "/",
     .handle = handle_file,
     .flags = LC_ROUTE_ROOT | LC_ROUTE_PUBLIC},
};
static const lc_route_table tables[] = {{routes, sizeof routes / sizeof *routes},
                                        {root_routes, sizeof root_routes / sizeof *root_routes}};

static lc_code authenticate(struct lc_service *of, const char *key, char owner[LC_OWNER_BYTES],
                            bool *is_known, lc_err *err)
{
    (void)of;
    (void)err;
    *is_known = key != NULL && strncmp(key, "key-", 4) == 0 && strlen(key) < LC_OWNER_BYTES;
    (void)snprintf(owner, LC_OWNER_BYTES, "%s", *is_known ? key : "");
    return LC_OK;
}

static void note(struct lc_service *of, const lc_http_record *record)
{
    (void)pthread_mutex_lock(&of->mutex);
    of->notes++;
    of->last_status = record->status;
    (void)pthread_mutex_unlock(&of->mutex);
}

static lc_http_options usual(void)
{
    return (lc_http_options){
        .address = "127.0.0.1",
        .threads = 2,
        .connections = 64,
        .patience = {.request_seconds = 30, .grace_seconds = 30, .least_bytes_per_second = 1000},
        .tables = tables,
        .table_count = 2,
        .authenticate = authenticate,
        .note = note,
        .service = &service};
}

static void start(const lc_http_options *options)
{
    assert_ok(lc_http_start(options, &server, &test_err));
    http_port = lc_http_port(server);
    assert_true(http_port > 0);
}

static void stop(void)
{
    lc_http_drain(server, 5);
    lc_http_stop(server);
    server = NULL;
}

/* ---- tests ---- */

static void test_routes(void **state)
{
    (void)state;
    const lc_http_options options = usual();
    start(&options);
    assert_int_equal(http_ask("GET", "/openai/v1/things/a", NULL, NULL), 200);
    http_has("{\"family\": 1, \"owner\": \"key-1\", \"limit\": 20, \"params\": [\"a\"], \"after\": "
             "\"none\", "
             "\"body\": null}");
    http_has("\nx-request-id: ");
    http_has("\napim-request-id: ");
    http_has("\nContent-Type: application/json");
    http_has("\nCache-Control: no-store");
    assert_int_equal(
        http_ask("GET", "/openai/things/a%2Fb%20c?api-version=2024-10-21&limit=7&after=x+y%26",
                 NULL, NULL),
        200);
    http_has("{\"family\": 2, \"owner\": \"key-1\", \"limit\": 7, \"params\": [\"a/b c\"], "
             "\"after\": \"x y&\"");
    assert_int_equal(http_ask("GET", "/v1/things/a?limit=&after=", NULL, NULL), 200);
    http_has("\"limit\": 20, \"params\": [\"a\"], \"after\": \"none\"");
    static const struct {
        const char *path;
        int status;
    } paths[] = {
        {"/v1/things/a", 200},
        {"/v1/things/a/", 200},
        {"/api/projects/p/openai/things/a", 200},
        {"/api/projects/p/openai/v1/things/a", 200},
        {"/openai/v1/a/1/b/2", 200},
        {"/openai/v1/a/1/b", 404},
        {"/openai/v1/a/1/b/2/c", 404},
        {"/openai/v1/a//b/2", 404},
        {"/openai/v1/things", 405},
        {"/openai/v1/nothing", 404},
        {"/openai", 404},
        {"/things/a", 404},
        {"/openai/v1/healthz", 404},
        {"/openai/v1/things/%zz", 400},
        {"/openai/v1/things/%00", 400},
        {"/openai/v1/things/%ff", 400},
        {"/openai/v1/things/a?after=%00", 400},
        {"/openai/v1/things/a?after=%ff", 400},
        {"/openai/v1/things/a?limit=0", 400},
        {"/openai/v1/things/a?limit=1", 200},
        {"/openai/v1/things/a?limit=100", 200},
        {"/openai/v1/things/a?limit=101", 400},
        {"/openai/v1/things/a?limit=99999999999999999999", 400},
        {"/openai/v1/things/a?limit=ten", 400},
        {"/openai/v1/things/a?limit=", 200},
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const int status = http_ask("GET", paths[i].path, NULL, NULL);
        if (status != paths[i].status) {
            fail_msg("%s gave %d, expected %d", paths[i].path, status, paths[i].status);
        }
        http_has(status == 200 ? "{\"family\"" : "{\"error\": {\"code\": ");
    }
    assert_int_equal(http_ask("PATCH", "/openai/v1/things/a", NULL, NULL), 405);
    http_has("\nAllow: GET, DELETE");
    for (int i = 0; i < 2; i++) { /* a pattern's own text is nobody's parameter */
        const char *path = i == 0 ? "/v1/things/first" : "/v1/things/last";
        assert_int_equal(http_ask("GET", path, NULL, NULL), 405);
        http_has("\nAllow: POST\r\n");
        assert_int_equal(http_ask("POST", path, NULL, NULL), 200);
    }
    assert_int_equal(http_ask("BREW", "/openai/v1/things/a", NULL, NULL), 405);
    assert_int_equal(http_ask("HEAD", "/openai/v1/things/a", NULL, NULL), 200);
    http_lacks("family");
    stop();
}

static void test_bodies(void **state)
{
    (void)state;
    const lc_http_options options = usual();
    start(&options);
    assert_int_equal(http_ask("POST", "/v1/things", NULL, "{\"a\": [1, \"\xc3\xa9\"]}"), 200);
    http_has("\"body\": {\"a\": [1, \"\xc3\xa9\"]}}");
    assert_int_equal(http_ask("POST", "/v1/things", NULL, ""), 200);
    http_has("\"body\": null}");
    static const char *const bad[] = {
        "{", "[1]", "\"a\"", "{\"a\": 1, \"a\": 2}", "{\"a\": 1} x", "{\"a\": \"\xff\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(http_ask("POST", "/v1/things", NULL, bad[i]), 400);
        http_has("\"code\": \"invalidPayload\"");
        http_has("\"type\": \"invalid_request_error\"");
    }
    /* the limits, with Content-Length and in chunks */
    static const struct {
        const char *path;
        int64_t limit;
    } limits[] = {{"/v1/small", LC_MAX_SMALL_JSON_BYTES},
                  {"/v1/things", LC_MAX_REQUEST_JSON_BYTES}};
    for (size_t i = 0; i < 2; i++) {
        for (int64_t bytes = limits[i].limit - 1; bytes <= limits[i].limit + 1; bytes++) {
            char head[256];
            char *body = malloc((size_t)bytes + 1);
            assert_non_null(body);
            memset(body, ' ', (size_t)bytes);
            body[0] = '{', body[bytes - 1] = '}', body[bytes] = '\0';
            (void)snprintf(head, sizeof head,
                           "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\napi-key: "
                           "key-1\r\nContent-Length: %lld\r\n\r\n",
                           limits[i].path, (long long)bytes);
            assert_int_equal(http_ask_raw(head, body, (size_t)bytes),
                             bytes <= limits[i].limit ? 200 : 413);
            (void)snprintf(head, sizeof head,
                           "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\napi-key: "
                           "key-1\r\nTransfer-Encoding: chunked\r\n\r\n",
                           limits[i].path);
            char *chunked = malloc((size_t)bytes + 64);
            assert_non_null(chunked);
            const int before = snprintf(chunked, 64, "%llx\r\n", (long long)bytes);
            memcpy(chunked + before, body, (size_t)bytes);
            memcpy(chunked + before + bytes, "\r\n0\r\n\r\n", 7);
            assert_int_equal(http_ask_raw(head, chunked, (size_t)(before + bytes + 7)),
                             bytes <= limits[i].limit ? 200 : 413);
            free(chunked);
            free(body);
        }
    }
    assert_int_equal(http_ask("POST", "/v1/things",
                              "api-key: key-1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
                     400);
    /* a body whose end nobody knows is not waited for */
    static const char *const codings[] = {"gzip, chunked", "identity", "xchunked", ""};
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++) {
        char head[256];
        (void)snprintf(head, sizeof head,
                       "POST /v1/things HTTP/1.1\r\nHost: localhost\r\napi-key: key-1\r\n"
                       "Transfer-Encoding: %s\r\n\r\n",
                       codings[i]);
        assert_int_equal(http_ask_raw(head, "{}", 2), 400);
    }
    stop();
}

static void test_sink(void **state)
{
    (void)state;
    const lc_http_options options = usual();
    start(&options);
    assert_int_equal(http_ask("POST", "/v1/upload", NULL, "abc"), 201);
    http_has("\r\n\r\n3");
    http_has("\nLocation: /files/1");
    assert_int_equal(locked(&service.handled), 1);
    assert_int_equal(locked(&service.discarded), 0);
    assert_int_equal(
        http_ask("POST", "/v1/upload", "api-key: key-1\r\nContent-Type: bad\r\n", "abc"), 400);
    assert_int_equal(locked(&service.discarded), 0);
    assert_int_equal(http_ask("POST", "/v1/upload", NULL, "ab!c"), 400);
    http_has("a bad byte");
    assert_int_equal(locked(&service.discarded), 1);
    assert_int_equal(locked(&service.handled), 1);
    /* too much is refused before it is sent, with and without asking */
    const char *const heads[] = {"Expect: 100-continue\r\n", ""};
    for (int i = 0; i < 2; i++) {
        char head[256];
        (void)snprintf(head, sizeof head,
                       "POST /v1/upload HTTP/1.1\r\nHost: localhost\r\napi-key: key-1\r\n%s"
                       "Content-Length: %lld\r\n\r\n",
                       heads[i], (long long)LC_MAX_MULTIPART_BYTES + 1);
        assert_int_equal(http_ask_raw(head, "", 0), 413);
    }
    /* a client that goes away in the middle */
    const int fd = http_connect();
    static const char half[] = "POST /v1/upload HTTP/1.1\r\nHost: localhost\r\napi-key: "
                               "key-1\r\nContent-Length: 9\r\n\r\nabc";
    assert_true(http_put(fd, half, sizeof half - 1));
    pause_ms(100);
    (void)close(fd);
    for (int i = 0; i < 100 && locked(&service.discarded) < 2; i++) {
        pause_ms(50);
    }
    assert_int_equal(locked(&service.discarded), 2);
    assert_int_equal(locked(&service.last_status), 0);
    stop();
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        lc_code code;
        int status;
        const char *name;
    } kinds[] = {
        {LC_ERR_USAGE, 400, "invalidPayload"},        {LC_ERR_INVALID, 400, "invalidPayload"},
        {LC_ERR_UNSUPPORTED, 400, "invalidPayload"},  {LC_ERR_NOT_FOUND, 404, "notFound"},
        {LC_ERR_STATE, 400, "unexpectedEntityState"}, {LC_ERR_TOO_LARGE, 413, "invalidPayload"},
        {LC_ERR_BUSY, 429, "tooManyRequests"},        {LC_ERR_DISK_FULL, 503, "serviceUnavailable"},
        {LC_ERR_IO, 500, "internalFailure"},          {LC_ERR_INTERNAL, 500, "internalFailure"}};
    const lc_http_options options = usual();
    start(&options);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char path[64], code[64];
        (void)snprintf(path, sizeof path, "/v1/errors/%d", (int)kinds[i].code);
        assert_int_equal(http_ask("GET", path, NULL, NULL), kinds[i].status);
        (void)snprintf(code, sizeof code,
                       "{\"error\": {\"code\": \"%s\", \"message\": ", kinds[i].name);
        http_has(code);
        if (kinds[i].status == 500 || kinds[i].code == LC_ERR_DISK_FULL) {
            http_lacks("secret");
            http_has("\"param\": null");
        } else {
            http_has("secret \\\"text\\\"");
            http_has("\"param\": \"field\"");
        }
        assert_true((kinds[i].status == 429 || kinds[i].status == 503) ==
                    (strstr(http_answer, "\nretry-after-ms: ") != NULL));
    }
    char path[64]; /* a word of its own */
    (void)snprintf(path, sizeof path, "/v1/errors/%d?word=1", LC_ERR_TOO_LARGE);
    assert_int_equal(http_ask("GET", path, NULL, NULL), 413);
    http_has("{\"error\": {\"code\": \"quotaExceeded\", \"message\": ");
    stop();
}

static void test_keys_and_rate(void **state)
{
    (void)state;
    lc_http_options options = usual();
    options.requests_per_second = 0.001;
    options.burst = 3;
    start(&options);
    assert_int_equal(http_ask("GET", "/v1/things/a", "", NULL), 401);
    http_has("\"type\": \"authentication_error\"");
    assert_int_equal(http_ask("GET", "/v1/things/a", "api-key: other\r\n", NULL), 401);
    assert_int_equal(http_ask("GET", "/v1/things/a", "Authorization: Basic key-1\r\n", NULL), 401);
    assert_int_equal(http_ask("GET", "/v1/things/a", "Authorization: Bearer key-b\r\n", NULL), 200);
    http_has("\"owner\": \"key-b\"");
    char long_key[LC_MAX_API_KEY_BYTES + 64];
    (void)snprintf(long_key, sizeof long_key, "api-key: key-%0*d\r\n", LC_MAX_API_KEY_BYTES, 1);
    assert_int_equal(http_ask("GET", "/v1/things/a", long_key, NULL), 401);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(http_ask("GET", "/v1/things/a", NULL, NULL), i < 3 ? 200 : 429);
    }
    http_has("\nretry-after-ms: ");
    assert_int_equal(http_ask("GET", "/v1/things/a", "api-key: key-2\r\n", NULL), 200);
    assert_int_equal(http_ask("GET", "/healthz", "", NULL), 200);
    stop();
}

static void test_origins(void **state)
{
    (void)state;
    lc_http_options options = usual();
    options.host_names[options.host_name_count++] = "node.example";
    start(&options);
    static const struct {
        const char *headers;
        int status;
    } cases[] = {
        {"Host: localhost:1\r\n", 200},
        {"Host: 127.0.0.1\r\n", 200},
        {"Host: 127.8.9.1:80\r\n", 200},
        {"Host: [::1]:80\r\n", 200},
        {"Host: node.example:80\r\n", 200},
        {"Host: 127.evil.example\r\n", 403},
        {"Host: evil.example\r\n", 403},
        {"Host: node.example.evil\r\n", 403},
        {"Host: localhost:1\r\nOrigin: http://localhost:1\r\n", 200},
        {"Host: localhost:1\r\nOrigin: http://localhost:2\r\n", 403},
        {"Host: localhost:1\r\nOrigin: https://localhost:1\r\n", 403},
        {"Host: node.example\r\nOrigin: https://node.example\r\n", 200}, /* a proxy's TLS */
        {"Host: node.example\r\nOrigin: http://node.example\r\n", 200},
        {"Host: node.example\r\nOrigin: https://node.example.evil\r\n", 403},
        {"Host: node.example\r\nOrigin: https://node.example:444\r\n", 403},
        {"Host: node.example\r\nOrigin: ftp://node.example\r\n", 403},
        {"Host: localhost:1\r\nOrigin: http://evil.example\r\n", 403},
        {"Host: localhost:1\r\nOrigin: null\r\n", 403},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char head[512];
        (void)snprintf(head, sizeof head,
                       "GET /v1/things/a HTTP/1.1\r\nConnection: close\r\napi-key: key-1\r\n%s\r\n",
                       cases[i].headers);
        const int status = http_ask_raw(head, "", 0);
        if (status != cases[i].status) {
            fail_msg("%s gave %d, expected %d", cases[i].headers, status, cases[i].status);
        }
    }
    stop();
}

static void test_headers(void **state)
{
    (void)state;
    const lc_http_options options = usual();
    start(&options);
    char *headers = malloc(LC_HTTP_HEADER_BYTES * 2);
    assert_non_null(headers);
    const int sizes[] = {LC_HTTP_HEADER_BYTES / 2, LC_HTTP_HEADER_BYTES + 1};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(headers, LC_HTTP_HEADER_BYTES * 2, "api-key: key-1\r\nX-Long: %0*d\r\n",
                       sizes[i], 1);
        assert_int_equal(http_ask("GET", "/v1/things/a", headers, NULL), i == 0 ? 200 : 431);
    }
    free(headers);
    char path[LC_MAX_URL_BYTES + 32];
    for (int extra = 0; extra < 2; extra++) {
        const int prefix = snprintf(path, sizeof path, "/v1/things/");
        memset(path + prefix, 'a', (size_t)(LC_MAX_URL_BYTES - prefix + extra));
        path[LC_MAX_URL_BYTES + extra] = '\0';
        assert_int_equal(http_ask("GET", path, NULL, NULL), extra == 0 ? 200 : 414);
    }
    char query[LC_MAX_QUERY * 8 + 64];
    for (int members = LC_MAX_QUERY; members <= LC_MAX_QUERY + 1; members++) {
        size_t used = (size_t)snprintf(query, sizeof query, "/v1/things/a?");
        for (int i = 0; i < members; i++) {
            used += (size_t)snprintf(query + used, sizeof query - used, "m%d=1&", i);
        }
        query[used - 1] = '\0';
        assert_int_equal(http_ask("GET", query, NULL, NULL), members == LC_MAX_QUERY ? 200 : 400);
    }
    char value[LC_MAX_QUERY_BYTES + 64];
    for (int extra = 0; extra < 2; extra++) {
        (void)snprintf(value, sizeof value, "/v1/things/a?after=%0*d", LC_MAX_QUERY_BYTES + extra,
                       1);
        assert_int_equal(http_ask("GET", value, NULL, NULL), extra == 0 ? 200 : 400);
    }
    stop();
}

static void finish_late(void)
{
    (void)pthread_mutex_lock(&service.mutex);
    lc_request *late = service.late;
    service.late = NULL;
    (void)pthread_mutex_unlock(&service.mutex);
    lc_text_addf(&late->response.body, "{\"late\": true}");
    lc_request_resume(late);
}

static bool has_late(void)
{
    (void)pthread_mutex_lock(&service.mutex);
    const bool result = service.late != NULL;
    (void)pthread_mutex_unlock(&service.mutex);
    return result;
}

static int send_late(void)
{
    static const char head[] = "GET /v1/late HTTP/1.1\r\nHost: localhost\r\napi-key: key-1\r\n\r\n";
    const int fd = http_connect();
    assert_true(http_put(fd, head, sizeof head - 1));
    while (!has_late()) {
        pause_ms(5);
    }
    return fd;
}

static void test_late(void **state)
{
    (void)state;
    const lc_http_options options = usual();
    start(&options);
    int fd = send_late();
    assert_int_equal(http_ask("GET", "/v1/things/a", NULL, NULL), 200); /* others go on */
    finish_late();
    assert_true(http_read_until(fd, "{\"late\": true}"));
    /* the connection is good for another request */
    static const char again[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_true(http_put(fd, again, sizeof again - 1));
    assert_true(http_read_until(fd, "\"family\": 0"));
    (void)close(fd);
    assert_int_equal(locked(&service.gone), 0);
    fd = send_late();
    (void)close(fd);
    for (int i = 0; i < 100 && locked(&service.gone) == 0; i++) {
        pause_ms(50);
    }
    pause_ms(600);
    assert_int_equal(locked(&service.gone), 1);
    finish_late();
    stop();
}

static void test_streams(void **state)
{
    (void)state;
    static const char head[] =
        "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\napi-key: key-1\r\n\r\n";
    const lc_http_options options = usual();
    start(&options);
    for (int round = 0; round < 3;
         round++) { /* ended; the client leaves; the client does not read */
        lc_stream *stream = NULL;
        const int fd = http_connect();
        assert_true(http_put(fd, head, sizeof head - 1));
        while (stream == NULL) {
            pause_ms(5);
            (void)pthread_mutex_lock(&service.mutex);
            stream = service.stream;
            service.stream = NULL;
            (void)pthread_mutex_unlock(&service.mutex);
        }
        assert_true(lc_stream_add(stream, "data: 1\n\n", 9));
        assert_true(http_read_until(fd, "data: 1"));
        http_has("Transfer-Encoding: chunked");
        pause_ms(30);
        assert_true(lc_stream_add(stream, "data: 2\n\n", 9));
        assert_true(http_read_until(fd, "data: 2"));
        if (round == 0) {
            lc_stream_end(stream);
            assert_true(http_read_until(fd, "0\r\n\r\n"));
        } else {
            static char block[65536];
            int blocks = 0;
            if (round == 1) {
                (void)close(fd);
            }
            while (lc_stream_add(stream, block, sizeof block)) {
                pause_ms(5);
                assert_true(++blocks < 1000);
            }
        }
        lc_stream_release(stream);
        if (round != 1) {
            (void)close(fd);
        }
    }
    stop();
}

static void test_slow(void **state)
{
    (void)state;
    static const char half[] = "GET /v1/things/a HTTP/1.1\r\nHost: local";
    static const char body[] = "POST /v1/things HTTP/1.1\r\nHost: localhost\r\napi-key: "
                               "key-1\r\nContent-Length: 100000\r\n\r\n{";
    lc_http_options options = usual();
    options.patience =
        (lc_patience){.request_seconds = 1, .grace_seconds = 1, .least_bytes_per_second = 100000};
    start(&options);
    const char *const beginnings[] = {"", half, body};
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = http_connect();
        assert_true(http_put(fds[i], beginnings[i], strlen(beginnings[i])));
    }
    const double began = lc_monotonic_seconds();
    for (int i = 0; i < 3; i++) { /* one that drips is not better than one that stops */
        while (lc_monotonic_seconds() - began < 10 && http_put(fds[i], " ", 1)) {
            pause_ms(20);
        }
        assert_true(lc_monotonic_seconds() - began < 10);
        (void)close(fds[i]);
    }
    assert_int_equal(http_ask("GET", "/v1/things/a", NULL, NULL), 200);
    stop();
}

/* One more than there is room for waits until one of the others goes. */
static void test_connections(void **state)
{
    (void)state;
    static const char head[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    enum { ROOM = 3 };
    int fds[ROOM + 1];
    lc_http_options options = usual();
    options.threads = 1;
    options.connections = ROOM;
    start(&options);
    for (int i = 0; i <= ROOM; i++) {
        fds[i] = http_connect();
        assert_true(http_put(fds[i], head, sizeof head - 1));
        if (i < ROOM) {
            assert_true(http_read_until(fds[i], "\"family\""));
        }
    }
    assert_int_equal(lc_http_connections(server), ROOM);
    (void)close(fds[0]);
    assert_true(http_read_until(fds[ROOM], "\"family\""));
    for (int i = 1; i <= ROOM; i++) {
        (void)close(fds[i]);
    }
    stop();
}

/* One more from this address is closed; the next is taken when one has gone. */
static void test_connections_of_an_address(void **state)
{
    (void)state;
    static const char head[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    enum { ROOM = 2 };
    int fds[ROOM];
    char byte;
    lc_http_options options = usual();
    options.connections_per_address = ROOM;
    start(&options);
    for (int i = 0; i < ROOM; i++) {
        fds[i] = http_connect();
        assert_true(http_put(fds[i], head, sizeof head - 1));
        assert_true(http_read_until(fds[i], "\"family\""));
    }
    const int more = http_connect();
    assert_true(recv(more, &byte, 1, 0) <= 0);
    (void)close(more);
    (void)close(fds[0]);
    int status = 0;
    for (int i = 0; i < 100 && status != 200; i++) {
        const int fd = http_connect();
        status = http_put(fd, head, sizeof head - 1) && recv(fd, &byte, 1, 0) == 1 ? 200 : 0;
        (void)close(fd);
        pause_ms(status == 200 ? 0 : 20);
    }
    assert_int_equal(status, 200);
    (void)close(fds[1]);
    stop();
}

static void test_files(void **state)
{
    (void)state;
    const lc_http_options options = usual();
    assert_ok(lc_path_join(test_dir(), "content", service.file, &test_err));
    test_write_file(service.file, "0123456789", 10);
    start(&options);
    assert_int_equal(http_ask("GET", "/", "", NULL), 200);
    http_has("\r\n\r\n0123456789");
    http_has("Content-Length: 10");
    assert_int_equal(unlink(service.file), 0);
    assert_int_equal(http_ask("GET", "/", "", NULL), 404);
    http_lacks(service.file);
    stop();
}

static void test_start_errors(void **state)
{
    (void)state;
    bool is_loopback = false;
    lc_http_options options = usual();
    start(&options);
    lc_http_server *other = NULL;
    options.port = lc_http_port(server);
    assert_fails(lc_http_start(&options, &other, &test_err), LC_ERR_IO, "cannot listen on");
    options.port = 0;
    options.address = "no such name";
    assert_fails(lc_http_start(&options, &other, &test_err), LC_ERR_USAGE, "no such name");
    options.address = "127.0.0.1";
    options.certificate = options.key = "no certificate";
    assert_fails(lc_http_start(&options, &other, &test_err), LC_ERR_INVALID, "certificate");
    assert_ok(lc_http_is_loopback("::1", &is_loopback, &test_err));
    assert_true(is_loopback);
    assert_ok(lc_http_is_loopback("0.0.0.0", &is_loopback, &test_err));
    assert_false(is_loopback);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_sink),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_keys_and_rate),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_connections_of_an_address),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_start_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
