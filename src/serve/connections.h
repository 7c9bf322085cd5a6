/*
 * The open connections, and a thread that ends those that take their time: a request that does not
 * arrive, a body that drips. It also sees when a client has hung up while its answer is being made.
 */
#ifndef LC_SERVE_CONNECTIONS_H
#define LC_SERVE_CONNECTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

typedef struct lc_connections lc_connections;
typedef struct lc_connection lc_connection;

/* Times in seconds. A body may take grace + bytes so far / least_bytes_per_second. */
typedef struct lc_patience {
    double request_seconds; /* from one request's end, or the beginning, to the next one's header */
    double grace_seconds;
    double least_bytes_per_second;
    double half_closed_seconds; /* for an answer to who has closed the sending side */
} lc_patience;

LC_WARN_UNUSED lc_code lc_connections_start(const lc_patience *patience, lc_connections **out,
                                            lc_err *err);
void lc_connections_stop(lc_connections *connections); /* all must be closed */

/* NULL: no memory. */
lc_connection *lc_connections_open(lc_connections *connections, int fd);
void lc_connections_close(lc_connection *connection); /* NULL: nothing */
int64_t lc_connections_count(lc_connections *connections);
int64_t lc_connections_busy(lc_connections *connections); /* with a request under way */

/* What a connection is at. */
void lc_connection_waits(lc_connection *connection);    /* for the next request */
void lc_connection_receives(lc_connection *connection); /* a body */
void lc_connection_received(lc_connection *connection, size_t bytes);
void lc_connection_works(lc_connection *connection); /* on an answer: no deadline */

/* While its answer is being made elsewhere: gone(context) when the client hangs up, once, from the
 * watching thread. After lc_connection_unwatch no call comes and none is under way. */
void lc_connection_watch(lc_connection *connection, void (*gone)(void *context), void *context);
void lc_connection_unwatch(lc_connection *connection);

#endif
