/*
 * The HTTP server: takes connections, checks what comes in, finds the handler, sends its answer.
 * On libmicrohttpd; nobody else includes it. Knows no files, jobs or models.
 */
#ifndef LC_SERVE_HTTP_H
#define LC_SERVE_HTTP_H

#include "serve/connections.h"
#include "serve/route.h"

#define LC_MAX_HTTP_THREADS  64
#define LC_MAX_CONNECTIONS   65536
#define LC_HTTP_HEADER_BYTES 32768               /* request line and headers; beyond: 431 */
#define LC_MAX_DRAINED_BYTES ((int64_t)64 << 20) /* of a body nobody wants; beyond: closed */
#define LC_MAX_HOST_NAMES    8
#define LC_HTTP_IDLE_SECONDS 75 /* without a byte in either direction */

typedef struct lc_http_server lc_http_server;

/* Who asks: the owner's id for the key that was sent (NULL: none was). Sets *is_known. */
typedef lc_code (*lc_authenticate)(struct lc_service *service, const char *key,
                                   char owner[LC_OWNER_BYTES], bool *is_known, lc_err *err);

/* Called once for each request when its answer has been sent, or given up. */
typedef struct lc_http_record {
    const lc_request *request;
    const char *method;
    const char *pattern; /* of the route; "" where there was none */
    int status;          /* 0: the connection broke off before an answer */
    double seconds;
    int64_t bytes_in, bytes_out; /* bodies; bytes_out of streams is what was taken */
} lc_http_record;
typedef void (*lc_http_note)(struct lc_service *service, const lc_http_record *record);

typedef struct lc_http_options {
    const char *address; /* numeric or a name: "127.0.0.1", "::", "localhost" */
    int port;            /* 0: any */
    int threads;
    int connections;             /* at once; further ones wait in the kernel's queue */
    int connections_per_address; /* further ones are closed; 0: no limit */
    const char *host_names[LC_MAX_HOST_NAMES]; /* more names that a Host header may have */
    int host_name_count;
    const char *certificate, *key; /* TLS: PEM text; NULL: plain */
    double requests_per_second;    /* of one owner; 0: no limit */
    int64_t burst;
    lc_patience patience;
    const lc_route_table *tables;
    int table_count;
    lc_authenticate authenticate;
    lc_http_note note; /* may be NULL */
    struct lc_service *service;
} lc_http_options;

/* Listens and serves at once. Tables and texts are borrowed. */
LC_WARN_UNUSED lc_code lc_http_start(const lc_http_options *options, lc_http_server **out,
                                     lc_err *err);
int lc_http_port(const lc_http_server *server);
/* "http://127.0.0.1:8080" */
void lc_http_url(const lc_http_server *server, char *out, size_t capacity);
/* Whether only this machine can reach it. */
LC_WARN_UNUSED lc_code lc_http_is_loopback(const char *address, bool *is_loopback, lc_err *err);
int64_t lc_http_connections(const lc_http_server *server);

/* No new connections; requests under way get up to `seconds` to end. Then lc_http_stop. */
void lc_http_drain(lc_http_server *server, double seconds);
void lc_http_stop(lc_http_server *server);

#endif
