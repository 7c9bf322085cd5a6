/*
 * The service's parts put together; see server.h.
 */
#include "serve/server.h"

#include <stdio.h>
#include <string.h>

#include "lorac/log.h"
#include "lorac/mem.h"
#include "serve/keys.h"
#include "serve/portal.h"

#define MAX_PEM_BYTES       ((size_t)1 << 20)
#define DRAIN_SECONDS       20
#define REQUEST_SECONDS     60 /* from one request of a connection to the next */
#define GRACE_SECONDS       30 /* for a body, and a second more for each of these: */
#define LEAST_RATE          8192
#define BURST_SECONDS       2
#define HALF_CLOSED_SECONDS 5

static const lc_route_table *const tables[] = {
    &lc_watch_routes,      &lc_file_routes, &lc_job_routes,    &lc_model_routes,
    &lc_deployment_routes, &lc_chat_routes, &lc_upload_routes, &lc_portal_routes};
#define TABLE_COUNT (sizeof tables / sizeof *tables)

struct lc_server {
    lc_service service;
    char worker_logs[LC_MAX_PATH_BYTES];
    char *certificate, *key; /* owned; NULL: no TLS */
    lc_route_table tables[TABLE_COUNT];
};

/* ---- what is served ---- */

static void write_route(const lc_route *route, lc_text *out)
{
    static const char *const bodies[] = {
        [LC_BODY_NONE] = "none", [LC_BODY_JSON] = "json", [LC_BODY_STREAM] = "form"};
    lc_text_addf(out, "%-6s %s %s %s %s\n", route->method, route->pattern,
                 (route->flags & LC_ROUTE_ROOT) != 0 ? "root" : "v1,classic", bodies[route->body],
                 (route->flags & LC_ROUTE_PUBLIC) != 0 ? "anybody" : "key");
}

void lc_server_write_routes(lc_text *out)
{
    for (size_t t = 0; t < TABLE_COUNT; t++) {
        for (int r = 0; r < tables[t]->count; r++) {
            write_route(&tables[t]->routes[r], out);
        }
    }
}

/* ---- what HTTP asks ---- */

/* Until there is a key anybody is the local user; that is possible on a loopback address only. */
static lc_code authenticate(lc_service *service, const char *key, char owner[LC_OWNER_BYTES],
                            bool *is_known, lc_err *err)
{
    char id[LC_ID_BYTES] = "";
    bool has_keys = true;
    _Static_assert(LC_ID_BYTES <= LC_OWNER_BYTES, "an owner is the id of a key");
    owner[0] = '\0';
    if (key != NULL) {
        LC_TRY(lc_keys_find(service->store, key, id, is_known, err));
        memcpy(owner, id, sizeof id);
    }
    if (!*is_known && service->is_loopback) {
        LC_TRY(lc_keys_exist(service->store, &has_keys, err));
        *is_known = !has_keys;
        owner[0] = '\0';
    }
    return LC_OK;
}

/* The job that a request names, or the one that it has made: "none" for any other text. */
static void find_job(const lc_request *request, char out[LC_ID_BYTES])
{
    static const char begin[] = "{\"id\": \"";
    const lc_text *body = &request->response.body;
    const bool has_id =
        body->length > sizeof begin && memcmp(body->data, begin, sizeof begin - 1) == 0;
    const char *candidates[] = {request->params[0], has_id ? body->data + sizeof begin - 1 : NULL};
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        if (candidates[i] != NULL) {
            (void)snprintf(out, LC_ID_BYTES, "%.*s", (int)strcspn(candidates[i], "\""),
                           candidates[i]);
            if (lc_id_is(out, LC_PREFIX_JOB)) {
                return;
            }
        }
    }
    (void)snprintf(out, LC_ID_BYTES, "none");
}

static void note(lc_service *service, const lc_http_record *record)
{
    char job[LC_ID_BYTES];
    lc_metrics_note(service->metrics, record);
    find_job(record->request, job);
    lc_log(LC_LOG_INFO,
           "request id=%s method=%s route=%s status=%d ms=%.1f in=%lld out=%lld key=%s job=%s",
           record->request->id, record->method,
           record->pattern[0] != '\0' ? record->pattern : "none", record->status,
           record->seconds * 1000, (long long)record->bytes_in, (long long)record->bytes_out,
           record->request->owner[0] != '\0' ? record->request->owner : "none", job);
}

/* ---- start ---- */

static lc_code check_access(const lc_serve_options *options, lc_service *service, lc_err *err)
{
    bool has_keys = false;
    LC_TRY(lc_http_is_loopback(options->address, &service->is_loopback, err));
    LC_TRY(lc_keys_exist(service->store, &has_keys, err));
    if (!service->is_loopback && !has_keys) {
        return lc_fail_param(err, LC_ERR_USAGE, "--address",
                             "%s can be reached by others, and there is no API key yet: make one "
                             "with \"lorac keys add NAME --data %s\"",
                             options->address, options->data_dir);
    }
    return LC_OK;
}

static lc_code read_pem(const lc_serve_options *options, lc_server *server, lc_err *err)
{
    size_t bytes = 0;
    if (options->certificate_file == NULL && options->key_file == NULL) {
        return LC_OK;
    }
    if (options->certificate_file == NULL || options->key_file == NULL) {
        return lc_fail(err, LC_ERR_USAGE, "--tls-certificate and --tls-key go together");
    }
    LC_TRY(
        lc_file_read(options->certificate_file, MAX_PEM_BYTES, &server->certificate, &bytes, err));
    return lc_file_read(options->key_file, MAX_PEM_BYTES, &server->key, &bytes, err);
}

static lc_code start_http(const lc_serve_options *options, lc_server *server, lc_err *err)
{
    lc_http_options http = {.address = options->address,
                            .port = options->port,
                            .threads = options->threads,
                            .connections = options->connections,
                            .connections_per_address = options->connections_per_address,
                            .host_name_count = options->host_name_count,
                            .certificate = server->certificate,
                            .key = server->key,
                            .requests_per_second = options->requests_per_second,
                            .burst = (int64_t)(options->requests_per_second * BURST_SECONDS),
                            .patience = {.request_seconds = REQUEST_SECONDS,
                                         .grace_seconds = GRACE_SECONDS,
                                         .least_bytes_per_second = LEAST_RATE,
                                         .half_closed_seconds = HALF_CLOSED_SECONDS},
                            .tables = server->tables,
                            .authenticate = authenticate,
                            .note = note,
                            .service = &server->service};
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        server->tables[i] = *tables[i];
    }
    http.table_count = TABLE_COUNT;
    memcpy(http.host_names, options->host_names, sizeof http.host_names);
    return lc_http_start(&http, &server->service.http, err);
}

static lc_code start_supervisor(const lc_serve_options *options, lc_service *service, lc_err *err)
{
    lc_supervisor_options supervisor = options->supervisor;
    supervisor.program = options->program;
    supervisor.models_dir = options->models_dir;
    return lc_supervisor_start(service->store, &supervisor, &service->supervisor, err);
}

static lc_code open_parts(const lc_serve_options *options, lc_server *server, lc_err *err)
{
    lc_service *service = &server->service;
    lc_worker_options worker = options->worker;
    if (!lc_path_is_dir(options->models_dir)) {
        return lc_fail_param(err, LC_ERR_NOT_FOUND, "--models", "%s is no directory",
                             options->models_dir);
    }
    LC_TRY(lc_store_open(options->data_dir, &service->store, err));
    LC_TRY(check_access(options, service, err));
    LC_TRY(read_pem(options, server, err));
    LC_TRY(lc_metrics_new(&service->metrics, err));
    LC_TRY(lc_path_join(options->data_dir, "workers", server->worker_logs, err));
    worker.program = options->program;
    worker.log_dir = server->worker_logs;
    LC_TRY(lc_worker_pool_new(&worker, &service->workers, err));
    service->jobs = options->jobs;
    service->jobs.models_dir = options->models_dir;
    LC_TRY(start_supervisor(options, service, err)); /* it has the directory's lock from here on */
    LC_TRY(lc_files_start(service->store, &options->files, &service->files, err));
    return start_http(options, server, err);
}

lc_code lc_server_open(const lc_serve_options *options, lc_server **out, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "the server", err));
    lc_server *server = memory;
    server->service.models_dir = options->models_dir;
    const lc_code code = open_parts(options, server, err);
    if (code != LC_OK) {
        lc_server_close(server);
        return code;
    }
    *out = server;
    return LC_OK;
}

void lc_server_url(const lc_server *server, char *out, size_t capacity)
{
    lc_http_url(server->service.http, out, capacity);
}

/* Chats still under way after the drain are ended by their workers' end; then no connection is
 * suspended, which the HTTP library insists on. Until that has stopped, clients that keep their
 * connections may ask for anything: nothing that handlers use is freed before. */
void lc_server_close(lc_server *server)
{
    if (server == NULL) {
        return;
    }
    lc_service *service = &server->service;
    if (service->http != NULL) {
        lc_http_drain(service->http, DRAIN_SECONDS);
    }
    lc_supervisor_stop(service->supervisor);
    lc_worker_pool_stop(service->workers);
    lc_http_stop(service->http);
    lc_files_stop(service->files);
    lc_worker_pool_free(service->workers);
    lc_supervisor_free(service->supervisor);
    lc_metrics_free(service->metrics);
    lc_store_close(service->store);
    lc_free(server->certificate);
    lc_free(server->key);
    lc_free(server);
}
