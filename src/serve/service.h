/*
 * What the handlers of one server work on: the store, the workers, the supervisor, in one place.
 */
#ifndef LC_SERVE_SERVICE_H
#define LC_SERVE_SERVICE_H

#include "serve/http.h"
#include "serve/files.h"
#include "serve/jobs.h"
#include "serve/metrics.h"
#include "serve/store.h"
#include "serve/supervisor.h"
#include "serve/worker_pool.h"

typedef struct lc_service {
    lc_store *store;
    lc_files *files;
    lc_jobs_options jobs;
    lc_supervisor *supervisor;
    lc_worker_pool *workers;
    lc_service_metrics *metrics;
    lc_http_server *http;
    const char *models_dir; /* every folder in it with a config.json is a base model */
    bool is_loopback;       /* only this machine can reach it: without keys it is open */
} lc_service;

extern const lc_route_table lc_file_routes, lc_job_routes, lc_model_routes, lc_deployment_routes,
    lc_chat_routes, lc_upload_routes, lc_watch_routes;

#endif
