/*
 * Between http.c and exchange.c: one request from its first header to its last byte sent.
 */
#ifndef LC_SERVE_EXCHANGE_H
#define LC_SERVE_EXCHANGE_H

#include <microhttpd.h>

#include "serve/http.h"
#include "serve/rate.h"

typedef struct lc_exchange {
    lc_request request; /* first: a request is its exchange */
    struct MHD_Connection *connection;
    struct lc_http_server *server;
    lc_connection *watched;
    const char *method; /* static */
    double began;
    int64_t bytes_in, bytes_out;
    int64_t body_limit;
    lc_text body;     /* of LC_BODY_JSON */
    bool has_failed;  /* the answer is an error already: what comes is dropped */
    bool has_sink;    /* sink->begin has succeeded, discard or the handler is still to come */
    bool was_handled; /* the handler was called, or need not be */
    bool was_answered;
} lc_exchange;

struct lc_http_server {
    lc_http_options options;
    struct MHD_Daemon *daemon;
    lc_connections *connections;
    lc_rate *rate;
    int port;
    bool is_loopback;
    bool is_tls;
};

/* NULL: no memory. Reads and checks everything up to the body. */
lc_exchange *lc_exchange_begin(lc_http_server *server, struct MHD_Connection *connection,
                               const char *url, const char *method);
/* Whether the answer should go out before the body has come. */
bool lc_exchange_is_hopeless(const lc_exchange *exchange);
void lc_exchange_take(lc_exchange *exchange, const char *bytes, size_t count);
/* The body is there: calls the handler. */
void lc_exchange_handle(lc_exchange *exchange);
enum MHD_Result lc_exchange_answer(lc_exchange *exchange);
void lc_exchange_end(lc_exchange *exchange);

#endif
