/*
 * Fetching a file from a URL that a client names, without becoming its way into our network: https
 * (http by option), redirects included; only addresses that are public, looked at when a connection
 * is made, so that no name can resolve to something else later; only the scheme's own port; no
 * proxies, credentials or cookies; bounded in bytes, time and redirects.
 */
#ifndef LC_SERVE_IMPORT_H
#define LC_SERVE_IMPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lorac/err.h"

#define LC_MAX_IMPORT_URL_BYTES    4096
#define LC_MAX_IMPORT_REDIRECTS    3
#define LC_MAX_IMPORT_HEADER_BYTES 65536 /* of all answers */
#define LC_IMPORT_SECONDS          600
#define LC_IMPORT_CONNECT_SECONDS  10
#define LC_IMPORT_STALL_SECONDS    30 /* with less than a KiB a second */

typedef struct lc_import_options {
    bool is_allowed; /* off unless somebody says so */
    bool allows_http;
    int64_t max_bytes; /* lc_files_options: 0 is that of an upload */
    int seconds;       /* the same: 0 is LC_IMPORT_SECONDS */
    int test_port;     /* of 127.0.0.1, which a test's own server listens on; 0: none */
} lc_import_options;

/* Whether an address is one of the internet's: neither private, local, shared, reserved, multicast,
 * nor one that wraps another address, nor a cloud's own at a public one. */
bool lc_address_is_public(const struct sockaddr *address);

/* What can be refused without a connection; param "content_url". */
LC_WARN_UNUSED lc_code lc_import_check_url(const lc_import_options *options, const char *url,
                                           lc_err *err);

typedef struct lc_import_sink {
    lc_code (*data)(void *context, const char *bytes, size_t count, lc_err *err);
    void *context; /* borrowed */
} lc_import_sink;

/* Fetches it, however long that takes within the limits. Errors are fit to be shown: LC_ERR_INVALID
 * or LC_ERR_TOO_LARGE, those of the sink, LC_ERR_INTERRUPTED once *stops is true. */
LC_WARN_UNUSED lc_code lc_import_fetch(const lc_import_options *options, const char *url,
                                       const lc_import_sink *sink, const atomic_bool *stops,
                                       lc_err *err);

#endif
