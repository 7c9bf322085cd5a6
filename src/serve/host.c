/*
 * Host and Origin; see host.h.
 */
#include "serve/host.h"

#include <string.h>
#include <strings.h>

/* Length of a Host header without its port. */
static size_t name_length(const char *host)
{
    if (host[0] == '[') {
        const char *end = strchr(host, ']');
        return end != NULL ? (size_t)(end - host) + 1 : strlen(host);
    }
    return strcspn(host, ":");
}

static bool is_name(const char *host, size_t length, const char *name)
{
    return strlen(name) == length && strncasecmp(host, name, length) == 0;
}

/* 127.0.0.0/8 in its usual spelling. */
static bool is_loopback_address(const char *host, size_t length)
{
    return strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") >= length;
}

/* This machine, as itself. */
static bool is_loopback(const char *host, size_t length)
{
    return is_name(host, length, "localhost") || is_name(host, length, "[::1]") ||
           is_loopback_address(host, length);
}

bool lc_host_is_allowed(const char *host, const lc_http_options *options)
{
    if (host == NULL) {
        return true;
    }
    const size_t length = name_length(host);
    if (is_loopback(host, length) || is_name(host, length, options->address)) {
        return true;
    }
    for (int i = 0; i < options->host_name_count; i++) {
        if (is_name(host, length, options->host_names[i])) {
            return true;
        }
    }
    return false;
}

bool lc_host_is_origin(const char *origin, const char *host, bool is_tls)
{
    static const char plain[] = "http://", secure[] = "https://";
    if (host == NULL) {
        return false;
    }
    const bool is_secure = strncasecmp(origin, secure, sizeof secure - 1) == 0;
    const bool may_be_secure = is_tls || !is_loopback(host, name_length(host));
    const bool is_scheme =
        is_secure ? may_be_secure : !is_tls && strncasecmp(origin, plain, sizeof plain - 1) == 0;
    return is_scheme &&
           strcasecmp(origin + (is_secure ? sizeof secure : sizeof plain) - 1, host) == 0;
}
