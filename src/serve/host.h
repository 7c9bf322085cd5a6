/*
 * Whose name a request uses for this server: what keeps pages of other origins in a browser away.
 */
#ifndef LC_SERVE_HOST_H
#define LC_SERVE_HOST_H

#include <stdbool.h>

#include "serve/http.h"

/* Whether a Host header names this machine: a loopback name or address, the address that is
 * listened on, or one of options->host_names, with any port. NULL (HTTP/1.0): yes. */
bool lc_host_is_allowed(const char *host, const lc_http_options *options);

/* Whether an Origin header is that of this server's own pages: the request's Host, by HTTP or, with
 * is_tls or where a proxy may stand before it (under a name that is not loopback's), by HTTPS. */
bool lc_host_is_origin(const char *origin, const char *host, bool is_tls);

#endif
