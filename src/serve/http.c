/*
 * libmicrohttpd's daemon and its callbacks; see http.h. The request itself is exchange.c's.
 */
#include "serve/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "lorac/log.h"
#include "serve/exchange.h"

#define LISTEN_BACKLOG 1024

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *bytes, void **slot)
{
    lc_exchange *exchange = *slot;
    (void)version;
    if (exchange == NULL) {
        exchange = *slot = lc_exchange_begin(context, connection, url, method);
        if (exchange == NULL) {
            return MHD_NO;
        }
        return lc_exchange_is_hopeless(exchange) ? lc_exchange_answer(exchange) : MHD_YES;
    }
    if (*bytes > 0) {
        lc_exchange_take(exchange, data, *bytes);
        *bytes = 0;
        return MHD_YES;
    }
    if (!exchange->was_handled) {
        lc_exchange_handle(exchange);
        if (exchange->request.is_deferred) {
            return MHD_YES; /* comes back here once it is resumed */
        }
    }
    return lc_exchange_answer(exchange);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_RequestTerminationCode why)
{
    (void)context;
    (void)connection;
    (void)why;
    if (*slot != NULL) {
        lc_exchange_end(*slot);
        *slot = NULL;
    }
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    lc_http_server *server = context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        lc_connections_close(*slot);
        *slot = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *slot = info != NULL ? lc_connections_open(server->connections, info->connect_fd) : NULL;
}

/* Paths and queries are taken apart before they are decoded. */
static size_t leave_escaped(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void log_library(void *context, const char *format,
                                                              va_list arguments)
{
    char line[512];
    (void)context;
    (void)vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    lc_log(LC_LOG_DEBUG, "libmicrohttpd: %s", line);
}

/* ---- the socket ---- */

static lc_code resolve(const char *address, int port, struct addrinfo **out, lc_err *err)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    char service[16];
    (void)snprintf(service, sizeof service, "%d", port);
    const int error = getaddrinfo(address, service, &hints, out);
    if (error != 0) {
        return lc_fail(err, LC_ERR_USAGE, "%s: %s", address, gai_strerror(error));
    }
    return LC_OK;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

lc_code lc_http_is_loopback(const char *address, bool *is_loopback_out, lc_err *err)
{
    struct addrinfo *found = NULL;
    LC_TRY(resolve(address, 0, &found, err));
    *is_loopback_out = is_loopback(found->ai_addr);
    freeaddrinfo(found);
    return LC_OK;
}

static int bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        return 0;
    }
    return address.ss_family == AF_INET6
               ? ntohs(((const struct sockaddr_in6 *)(const void *)&address)->sin6_port)
               : ntohs(((const struct sockaddr_in *)(const void *)&address)->sin_port);
}

static lc_code listen_on(lc_http_server *server, int *out, lc_err *err)
{
    const lc_http_options *options = &server->options;
    struct addrinfo *found = NULL;
    const int yes = 1;
    LC_TRY(resolve(options->address, options->port, &found, err));
    const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        (void)lc_fail_errno(err, "cannot listen on %s port %d", options->address, options->port);
        if (fd >= 0) {
            (void)close(fd);
        }
        freeaddrinfo(found);
        return err != NULL ? err->code : LC_ERR_IO;
    }
    server->is_loopback = is_loopback(found->ai_addr);
    server->port = bound_port(fd);
    freeaddrinfo(found);
    *out = fd;
    return LC_OK;
}

/* A descriptor a connection, and some for files and the store. */
static void raise_file_limit(int connections)
{
    struct rlimit limit;
    const rlim_t wanted = (rlim_t)connections + 256;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return;
    }
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
        lc_log(LC_LOG_WARN, "%d connections need %llu open files, the limit is %llu", connections,
               (unsigned long long)wanted, (unsigned long long)limit.rlim_cur);
    }
}

/* ---- start and end ---- */

static lc_code start_daemon(lc_http_server *server, int fd, lc_err *err)
{
    const lc_http_options *options = &server->options;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}};
    char *certificate = NULL, *key = NULL;
    if (server->is_tls) {
        certificate = lc_strdup(options->certificate); /* the option takes a plain pointer */
        key = lc_strdup(options->key);
        if (certificate == NULL || key == NULL) {
            lc_free(certificate);
            lc_free(key);
            return lc_fail(err, LC_ERR_MEMORY, "no memory for the certificate");
        }
        flags |= MHD_USE_TLS;
        tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, certificate};
        tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, key};
    }
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)options->threads,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)options->connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)options->connections_per_address,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)LC_HTTP_IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LC_HTTP_HEADER_BYTES,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    lc_free(certificate);
    lc_free(key);
    if (server->daemon == NULL) {
        return lc_fail(err, server->is_tls ? LC_ERR_INVALID : LC_ERR_IO,
                       "cannot start the server%s",
                       server->is_tls ? ": is this the certificate, with its key, in PEM?" : "");
    }
    return LC_OK;
}

lc_code lc_http_start(const lc_http_options *options, lc_http_server **out, lc_err *err)
{
    lc_code code;
    void *memory = NULL;
    int fd = -1;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "the server", err));
    lc_http_server *server = memory;
    server->options = *options;
    server->is_tls = options->certificate != NULL;
    raise_file_limit(options->connections);
    LC_TRY_GOTO(lc_rate_new(options->requests_per_second, options->burst, &server->rate, err));
    LC_TRY_GOTO(lc_connections_start(&options->patience, &server->connections, err));
    LC_TRY_GOTO(listen_on(server, &fd, err));
    LC_TRY_GOTO(start_daemon(server, fd, err));
    *out = server;
    return LC_OK;
fail:
    if (fd >= 0) {
        (void)close(fd);
    }
    lc_http_stop(server);
    return code;
}

int lc_http_port(const lc_http_server *server)
{
    return server->port;
}

void lc_http_url(const lc_http_server *server, char *out, size_t capacity)
{
    const char *address = server->options.address;
    const bool is_v6 = strchr(address, ':') != NULL;
    (void)snprintf(out, capacity, "%s://%s%s%s:%d", server->is_tls ? "https" : "http",
                   is_v6 ? "[" : "", address, is_v6 ? "]" : "", server->port);
}

int64_t lc_http_connections(const lc_http_server *server)
{
    return lc_connections_count(server->connections);
}

void lc_http_drain(lc_http_server *server, double seconds)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    const double until = lc_monotonic_seconds() + seconds;
    const MHD_socket fd = MHD_quiesce_daemon(server->daemon);
    if (fd != MHD_INVALID_SOCKET) {
        (void)close(fd);
    }
    while (lc_connections_busy(server->connections) > 0 && lc_monotonic_seconds() < until) {
        (void)nanosleep(&pause, NULL);
    }
}

void lc_http_stop(lc_http_server *server)
{
    if (server == NULL) {
        return;
    }
    if (server->daemon != NULL) {
        MHD_stop_daemon(server->daemon);
    }
    lc_connections_stop(server->connections);
    lc_rate_free(server->rate);
    lc_free(server);
}
