/*
 * `lorac serve` as a whole: opens the store, starts workers' pool and HTTP, ends them in the right
 * order. Called by the command line.
 */
#ifndef LC_SERVE_SERVER_H
#define LC_SERVE_SERVER_H

#include "serve/service.h"

typedef struct lc_serve_options {
    const char *data_dir, *models_dir;
    const char *program; /* path of lorac itself, for trainers and workers */
    const char *address;
    int port, threads, connections, connections_per_address;
    const char *host_names[LC_MAX_HOST_NAMES];
    int host_name_count;
    const char *certificate_file, *key_file; /* NULL: no TLS */
    double requests_per_second;              /* of one key */
    lc_worker_options worker;                /* program and log_dir are the server's to fill in */
    lc_files_options files;
    lc_jobs_options jobs;             /* so is models_dir */
    lc_supervisor_options supervisor; /* and here program and models_dir */
} lc_serve_options;

typedef struct lc_server lc_server;

/* All that is served: a line a route with method, pattern, families ("root", or "v1,classic"),
 * body ("none", "json" or "form") and whom it serves ("anybody", or who has a "key"). */
void lc_server_write_routes(lc_text *out);

/* Listens when it returns. Texts are borrowed. An address that others can reach while there is no
 * API key: LC_ERR_USAGE. A data directory that another server has: LC_ERR_BUSY. */
LC_WARN_UNUSED lc_code lc_server_open(const lc_serve_options *options, lc_server **out,
                                      lc_err *err);
void lc_server_url(const lc_server *server, char *out, size_t capacity);

/* Requests under way are answered, jobs keep a checkpoint. NULL: nothing. */
void lc_server_close(lc_server *server);

#endif
