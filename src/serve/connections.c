/*
 * Deadlines of connections; see connections.h. A connection leaves the list before its socket is
 * closed, so a socket in the list is never somebody else's.
 */
#include "serve/connections.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "lorac/mem.h"

#define LOOK_SECONDS 0.25

enum stage { STAGE_WAITS, STAGE_RECEIVES, STAGE_WORKS };

struct lc_connection {
    lc_connections *all;
    lc_connection *next, *previous;
    int fd;
    enum stage stage;
    double since; /* the stage's beginning */
    size_t bytes; /* of the body so far */
    void (*gone)(void *context);
    void *context;
    bool is_told;
    double half_closed_at; /* 0: it is not */
};

struct lc_connections {
    pthread_mutex_t mutex;
    pthread_cond_t stop;
    pthread_t thread;
    bool is_stopping;
    lc_patience patience;
    lc_connection *first;
    int64_t count;
};

static bool is_overdue(const lc_connection *connection, double now)
{
    const lc_patience *patience = &connection->all->patience;
    const double passed = now - connection->since;
    if (connection->stage == STAGE_WAITS) {
        return passed > patience->request_seconds;
    }
    return connection->stage == STAGE_RECEIVES &&
           passed > patience->grace_seconds +
                        (double)connection->bytes / patience->least_bytes_per_second;
}

/* Who closes a connection and who closes only its sending side look the same until something is
 * sent: the answer has some time. */
static bool has_hung_up(lc_connection *connection, double now)
{
    struct pollfd poll_fd = {.fd = connection->fd, .events = POLLRDHUP};
    if (poll(&poll_fd, 1, 0) <= 0) {
        return false;
    }
    if ((poll_fd.revents & (POLLHUP | POLLERR)) != 0) {
        return true;
    }
    if (connection->half_closed_at <= 0.0) {
        connection->half_closed_at = now;
    }
    return now - connection->half_closed_at >= connection->all->patience.half_closed_seconds;
}

static void look_at(lc_connection *connection, double now)
{
    if (is_overdue(connection, now)) {
        (void)shutdown(connection->fd, SHUT_RDWR);
    }
    if (connection->gone != NULL && !connection->is_told && has_hung_up(connection, now)) {
        connection->is_told = true;
        connection->gone(connection->context);
    }
}

static void *watch(void *argument)
{
    lc_connections *connections = argument;
    (void)pthread_mutex_lock(&connections->mutex);
    while (!connections->is_stopping) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        const int64_t nanoseconds = until.tv_nsec + (int64_t)(LOOK_SECONDS * 1e9);
        until.tv_sec += nanoseconds / 1000000000;
        until.tv_nsec = nanoseconds % 1000000000;
        (void)pthread_cond_timedwait(&connections->stop, &connections->mutex, &until);
        const double now = lc_monotonic_seconds();
        for (lc_connection *c = connections->first; c != NULL; c = c->next) {
            look_at(c, now);
        }
    }
    (void)pthread_mutex_unlock(&connections->mutex);
    return NULL;
}

lc_code lc_connections_start(const lc_patience *patience, lc_connections **out, lc_err *err)
{
    void *memory = NULL;
    pthread_condattr_t attributes;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "the list of connections", err));
    lc_connections *connections = memory;
    connections->patience = *patience;
    (void)pthread_mutex_init(&connections->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&connections->stop, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    const int error = pthread_create(&connections->thread, NULL, watch, connections);
    if (error != 0) {
        lc_free(connections);
        errno = error;
        return lc_fail_errno(err, "cannot start the thread that watches connections");
    }
    *out = connections;
    return LC_OK;
}

void lc_connections_stop(lc_connections *connections)
{
    if (connections == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&connections->mutex);
    connections->is_stopping = true;
    (void)pthread_cond_signal(&connections->stop);
    (void)pthread_mutex_unlock(&connections->mutex);
    (void)pthread_join(connections->thread, NULL);
    (void)pthread_cond_destroy(&connections->stop);
    (void)pthread_mutex_destroy(&connections->mutex);
    lc_free(connections);
}

lc_connection *lc_connections_open(lc_connections *connections, int fd)
{
    lc_connection *connection = lc_calloc(1, sizeof *connection);
    if (connection == NULL) {
        return NULL;
    }
    connection->all = connections;
    connection->fd = fd;
    connection->since = lc_monotonic_seconds();
    (void)pthread_mutex_lock(&connections->mutex);
    connection->next = connections->first;
    if (connection->next != NULL) {
        connection->next->previous = connection;
    }
    connections->first = connection;
    connections->count++;
    (void)pthread_mutex_unlock(&connections->mutex);
    return connection;
}

void lc_connections_close(lc_connection *connection)
{
    if (connection == NULL) {
        return;
    }
    lc_connections *connections = connection->all;
    (void)pthread_mutex_lock(&connections->mutex);
    if (connection->previous != NULL) {
        connection->previous->next = connection->next;
    } else {
        connections->first = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->previous = connection->previous;
    }
    connections->count--;
    (void)pthread_mutex_unlock(&connections->mutex);
    lc_free(connection);
}

int64_t lc_connections_count(lc_connections *connections)
{
    (void)pthread_mutex_lock(&connections->mutex);
    const int64_t count = connections->count;
    (void)pthread_mutex_unlock(&connections->mutex);
    return count;
}

int64_t lc_connections_busy(lc_connections *connections)
{
    int64_t count = 0;
    (void)pthread_mutex_lock(&connections->mutex);
    for (const lc_connection *c = connections->first; c != NULL; c = c->next) {
        count += c->stage != STAGE_WAITS;
    }
    (void)pthread_mutex_unlock(&connections->mutex);
    return count;
}

static void enter(lc_connection *connection, enum stage stage)
{
    if (connection == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&connection->all->mutex);
    connection->stage = stage;
    connection->since = lc_monotonic_seconds();
    connection->bytes = 0;
    (void)pthread_mutex_unlock(&connection->all->mutex);
}

void lc_connection_waits(lc_connection *connection)
{
    enter(connection, STAGE_WAITS);
}

void lc_connection_receives(lc_connection *connection)
{
    enter(connection, STAGE_RECEIVES);
}

void lc_connection_works(lc_connection *connection)
{
    enter(connection, STAGE_WORKS);
}

void lc_connection_received(lc_connection *connection, size_t bytes)
{
    if (connection != NULL) {
        (void)pthread_mutex_lock(&connection->all->mutex);
        connection->bytes += bytes;
        (void)pthread_mutex_unlock(&connection->all->mutex);
    }
}

void lc_connection_watch(lc_connection *connection, void (*gone)(void *context), void *context)
{
    if (connection != NULL) {
        (void)pthread_mutex_lock(&connection->all->mutex);
        connection->gone = gone;
        connection->context = context;
        connection->is_told = false;
        connection->half_closed_at = 0.0;
        (void)pthread_mutex_unlock(&connection->all->mutex);
    }
}

void lc_connection_unwatch(lc_connection *connection)
{
    lc_connection_watch(connection, NULL, NULL);
}
