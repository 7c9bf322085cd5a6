/*
 * For those who watch the server: /healthz (it answers), /readyz (it can work), /metrics.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/system.h"
#include "job/figures.h"
#include "lorac/lorac.h"
#include "serve/jobs.h"
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

/* ---- jobs that train ---- */

typedef enum train_family {
    TRAIN_STEP,
    TRAIN_LOSS,
    TRAIN_TOKENS,
    TRAIN_RATE,
    TRAIN_NORM,
    TRAIN_NONFINITE,
    TRAIN_STEP_SECONDS,
    TRAIN_WRITE_SECONDS,
    TRAIN_WRITE_FAILURES,
    TRAIN_MEMORY,
    TRAIN_FAMILIES
} train_family;

static const struct {
    const char *name, *type, *help;
} train_families[TRAIN_FAMILIES] = {
    [TRAIN_STEP] = {"lorac_step", "gauge", "Last step of a running job."},
    [TRAIN_LOSS] = {"lorac_train_loss", "gauge", "Training loss of the last step that was logged."},
    [TRAIN_TOKENS] = {"lorac_train_tokens", "counter", "Tokens trained on, epochs included."},
    [TRAIN_RATE] = {"lorac_learning_rate", "gauge", "Of the last step."},
    [TRAIN_NORM] = {"lorac_grad_norm", "gauge", "Of the mean gradient, before clipping."},
    [TRAIN_NONFINITE] = {"lorac_nonfinite_steps", "counter",
                         "Steps skipped because loss or gradient was not finite."},
    [TRAIN_STEP_SECONDS] = {"lorac_step_duration_seconds", "histogram",
                            "Of a step with its evaluation."},
    [TRAIN_WRITE_SECONDS] = {"lorac_checkpoint_write_seconds", "histogram",
                             "Of a checkpoint to resume from."},
    [TRAIN_WRITE_FAILURES] = {"lorac_checkpoint_failures", "counter",
                              "Checkpoints that could not be written."},
    [TRAIN_MEMORY] = {"lorac_gpu_memory_used_bytes", "gauge",
                      "Of a job's (first) GPU, used by whomever."},
};

static void add_integer(lc_text *to, const char *name, const char *id, int64_t value)
{
    lc_text_addf(to, "%s{job=\"%s\"} %" PRId64 "\n", name, id, value);
}

static void add_number(lc_text *to, const char *name, const char *id, double value)
{
    if (isfinite(value)) {
        lc_text_addf(to, "%s{job=\"%s\"} ", name, id);
        lc_text_add_double(to, value);
        lc_text_addf(to, "\n");
    }
}

static void add_histogram(lc_text *to, const char *name, const char *id,
                          const lc_histogram *histogram)
{
    int64_t sum = 0;
    for (int i = 0; i < LC_FIGURES_BUCKETS; i++) {
        char bound[24] = "+Inf";
        if (i < LC_FIGURES_BUCKETS - 1) {
            (void)snprintf(bound, sizeof bound, "%g", lc_figures_bounds[i]);
        }
        sum += histogram->counts[i];
        lc_text_addf(to, "%s_bucket{job=\"%s\",le=\"%s\"} %" PRId64 "\n", name, id, bound, sum);
    }
    lc_text_addf(to,
                 "%s_sum{job=\"%s\"} %.6f\n"
                 "%s_count{job=\"%s\"} %" PRId64 "\n",
                 name, id, histogram->seconds, name, id, sum);
}

/* What the trainer of a job has written down; nothing where it has not yet. */
static void add_figures(const lc_service *service, const char *id, lc_text *texts)
{
    char name[LC_ID_BYTES + 32], dir[LC_MAX_PATH_BYTES];
    lc_job_figures figures;
    lc_err ignored = {.code = LC_OK};
    (void)snprintf(name, sizeof name, LC_JOBS_DIR "/%s/" LC_JOB_RUN, id);
    if (lc_path_join(lc_store_dir(service->store), name, dir, &ignored) != LC_OK ||
        lc_job_figures_read(dir, &figures, &ignored) != LC_OK) {
        return;
    }
    const lc_progress *progress = &figures.progress;
    add_integer(&texts[TRAIN_TOKENS], "lorac_train_tokens_total", id, progress->trained_tokens);
    add_number(&texts[TRAIN_RATE], "lorac_learning_rate", id, progress->learning_rate);
    add_number(&texts[TRAIN_NORM], "lorac_grad_norm", id, progress->grad_norm);
    add_integer(&texts[TRAIN_NONFINITE], "lorac_nonfinite_steps_total", id,
                progress->nonfinite_steps);
    add_histogram(&texts[TRAIN_STEP_SECONDS], "lorac_step_duration_seconds", id, &figures.steps);
    add_histogram(&texts[TRAIN_WRITE_SECONDS], "lorac_checkpoint_write_seconds", id,
                  &figures.checkpoints);
    add_integer(&texts[TRAIN_WRITE_FAILURES], "lorac_checkpoint_failures_total", id,
                figures.checkpoint_failures);
    if (figures.gpu_used_bytes >= 0) {
        add_integer(&texts[TRAIN_MEMORY], "lorac_gpu_memory_used_bytes", id,
                    figures.gpu_used_bytes);
    }
}

static lc_code read_training(const lc_service *service, const char *owner, lc_text *texts,
                             lc_err *err)
{
    static const char sql[] =
        "SELECT j.id, json_extract(e.data, '$.step'), json_extract(e.data, '$.train_loss')"
        " FROM jobs j LEFT JOIN events e ON e.seq = (SELECT seq FROM events WHERE job_id = j.id"
        " AND type = 'metrics' ORDER BY seq DESC LIMIT 1)"
        " WHERE j.owner = ?1 AND j.status = 'running' ORDER BY j.seq";
    lc_db *db = NULL;
    lc_rows rows;
    LC_TRY(lc_store_read(service->store, &db, err));
    lc_code code = lc_db_query(db, sql, LC_BIND(lc_sql_text(owner)), &rows, err);
    if (code == LC_OK) {
        while (lc_rows_next(&rows)) {
            const char *id = lc_rows_text(&rows, 0);
            if (!lc_rows_is_null(&rows, 1)) {
                add_integer(&texts[TRAIN_STEP], "lorac_step", id, lc_rows_int(&rows, 1));
                add_number(&texts[TRAIN_LOSS], "lorac_train_loss", id, lc_rows_real(&rows, 2));
            }
            add_figures(service, id, texts);
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
    lc_text texts[TRAIN_FAMILIES];
    for (int i = 0; i < TRAIN_FAMILIES; i++) {
        lc_text_init(&texts[i]);
    }
    const lc_code code = read_training(service, owner, texts, err);
    for (int i = 0; i < TRAIN_FAMILIES; i++) {
        lc_metrics_family(out, is_classic, train_families[i].name, train_families[i].type,
                          train_families[i].help);
        lc_text_add(out, texts[i].data != NULL ? texts[i].data : "", texts[i].length);
        lc_text_release(&texts[i]);
    }
    return code;
}

/* ---- /metrics ---- */

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
