/*
 * For those who watch the server: /healthz (it answers), /readyz (it can work), /metrics.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/system.h"
#include "lorac/lorac.h"
#include "serve/service.h"

static lc_code handle_health(lc_request *request, lc_err *err)
{
    (void)err;
    lc_text_addf(&request->response.body, "{\"status\": \"ok\"}\n");
    return LC_OK;
}

/* The store answers and the disk takes writes. */
static lc_code handle_ready(lc_request *request, lc_err *err)
{
    const lc_service *service = request->service;
    lc_db *db = NULL;
    LC_TRY(lc_store_read(service->store, &db, err));
    lc_store_end(&db);
    if (access(lc_store_dir(service->store), W_OK) != 0) {
        return lc_fail_errno(err, "cannot write to the data directory");
    }
    lc_text_addf(&request->response.body, "{\"status\": \"ready\"}\n");
    return LC_OK;
}

static void see_worker(void *context, const lc_worker_figures *figures)
{
    lc_text *out = context;
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {{"lorac_worker_up", figures->process > 0},
                {"lorac_worker_chats", figures->chats},
                {"lorac_worker_adapters", figures->adapters},
                {"lorac_worker_starts_total", figures->starts},
                {"lorac_worker_prompt_tokens_total", figures->prompt_tokens},
                {"lorac_worker_completion_tokens_total", figures->completion_tokens}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lc_text_addf(&out[i], "%s{base=", rows[i].name);
        lc_metrics_add_label(&out[i], figures->base);
        lc_text_addf(&out[i], "} %" PRId64 "\n", rows[i].value);
    }
}

static void add_workers(const lc_service *service, bool is_classic, lc_text *out)
{
    static const struct {
        const char *name, *type, *help;
    } families[] = {
        {"lorac_worker_up", "gauge", "Whether the worker of a base model runs."},
        {"lorac_worker_chats", "gauge", "Chats under way or queued."},
        {"lorac_worker_adapters", "gauge", "Adapters loaded."},
        {"lorac_worker_starts", "counter", "Processes started."},
        {"lorac_worker_prompt_tokens", "counter", "Tokens of prompts read."},
        {"lorac_worker_completion_tokens", "counter", "Tokens generated."},
    };
    enum { FAMILIES = sizeof families / sizeof *families };
    lc_text texts[FAMILIES];
    for (int i = 0; i < FAMILIES; i++) {
        lc_text_init(&texts[i]);
    }
    lc_worker_each(service->workers, see_worker, texts);
    for (int i = 0; i < FAMILIES; i++) {
        lc_metrics_family(out, is_classic, families[i].name, families[i].type, families[i].help);
        lc_text_add(out, texts[i].data != NULL ? texts[i].data : "", texts[i].length);
        lc_text_release(&texts[i]);
    }
}

static lc_code add_jobs(const lc_service *service, bool is_classic, lc_text *out, lc_err *err)
{
    lc_db *db = NULL;
    lc_rows rows;
    lc_metrics_family(out, is_classic, "lorac_jobs", "gauge", "Fine-tuning jobs by status.");
    LC_TRY(lc_store_read(service->store, &db, err));
    lc_code code = lc_db_query(db, "SELECT status, count(*) FROM jobs GROUP BY status",
                               LC_BIND_NONE, &rows, err);
    if (code == LC_OK) {
        while (lc_rows_next(&rows)) {
            lc_text_addf(out, "lorac_jobs{status=\"%s\"} %" PRId64 "\n", lc_rows_text(&rows, 0),
                         lc_rows_int(&rows, 1));
        }
        code = lc_rows_end(&rows, err);
    }
    lc_store_end(&db);
    return code;
}

/* Where the asker's jobs that train are: their ids are nobody else's to know. */
static lc_code add_training(const lc_service *service, const char *owner, bool is_classic,
                            lc_text *out, lc_err *err)
{
    static const char sql[] =
        "SELECT j.id, json_extract(e.data, '$.step'), json_extract(e.data, '$.train_loss')"
        " FROM jobs j JOIN events e ON e.seq = (SELECT seq FROM events WHERE job_id = j.id"
        " AND type = 'metrics' ORDER BY seq DESC LIMIT 1)"
        " WHERE j.owner = ?1 AND j.status = 'running' ORDER BY j.seq";
    lc_db *db = NULL;
    lc_rows rows;
    lc_text losses;
    lc_text_init(&losses);
    LC_TRY(lc_store_read(service->store, &db, err));
    lc_code code = lc_db_query(db, sql, LC_BIND(lc_sql_text(owner)), &rows, err);
    lc_metrics_family(out, is_classic, "lorac_step", "gauge", "Last step of a running job.");
    if (code == LC_OK) {
        while (lc_rows_next(&rows)) {
            const char *id = lc_rows_text(&rows, 0);
            lc_text_addf(out, "lorac_step{job=\"%s\"} %" PRId64 "\n", id, lc_rows_int(&rows, 1));
            lc_text_addf(&losses, "lorac_train_loss{job=\"%s\"} ", id);
            lc_text_add_double(&losses, lc_rows_real(&rows, 2));
            lc_text_addf(&losses, "\n");
        }
        code = lc_rows_end(&rows, err);
    }
    lc_store_end(&db);
    lc_metrics_family(out, is_classic, "lorac_train_loss", "gauge", "Training loss of that step.");
    lc_text_add(out, losses.data != NULL ? losses.data : "", losses.length);
    lc_text_release(&losses);
    return code;
}

/* OpenMetrics for who asks for it, else the older text format that every scraper reads. */
static lc_code handle_metrics(lc_request *request, lc_err *err)
{
    lc_text *out = &request->response.body;
    const lc_service *service = request->service;
    const bool is_classic = strstr(request->accept, "application/openmetrics-text") == NULL;
    request->response.type = is_classic
                                 ? "text/plain; version=0.0.4; charset=utf-8"
                                 : "application/openmetrics-text; version=1.0.0; charset=utf-8";
    lc_metrics_family(out, is_classic, "lorac_build", "info", "This program.");
    lc_text_addf(out, "lorac_build_info{version=\"%s\"} 1\n", lc_version());
    lc_metrics_write(service->metrics, is_classic, out);
    lc_metrics_family(out, is_classic, "lorac_http_connections", "gauge", "Open connections.");
    lc_text_addf(out, "lorac_http_connections %" PRId64 "\n", lc_http_connections(service->http));
    lc_metrics_family(out, is_classic, "lorac_resident_memory_bytes", "gauge", "Of the server.");
    lc_text_addf(out, "lorac_resident_memory_bytes %" PRId64 "\n", lc_system_resident_bytes());
    add_workers(service, is_classic, out);
    LC_TRY(add_jobs(service, is_classic, out, err));
    LC_TRY(add_training(service, request->owner, is_classic, out, err));
    if (!is_classic) {
        lc_text_addf(out, "# EOF\n");
    }
    return LC_OK;
}

static const lc_route routes[] = {
    {.method = "GET",
     .pattern = "/healthz",
     .handle = handle_health,
     .flags = LC_ROUTE_ROOT | LC_ROUTE_PUBLIC},
    {.method = "GET",
     .pattern = "/readyz",
     .handle = handle_ready,
     .flags = LC_ROUTE_ROOT | LC_ROUTE_PUBLIC},
    {.method = "GET", .pattern = "/metrics", .handle = handle_metrics, .flags = LC_ROUTE_ROOT},
};
const lc_route_table lc_watch_routes = {routes, sizeof routes / sizeof *routes};
