/*
 * Fetching by libcurl, which nobody else includes; see import.h. libcurl resolves and follows
 * redirects, every socket it wants is asked for here.
 */
#include "serve/import.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HTTPS_PORT 443
#define HTTP_PORT  80

typedef struct lc_fetch {
    const lc_import_options *options;
    const lc_import_sink *sink;
    const atomic_bool *stops;
    lc_err *err; /* of the sink and of limits; the rest is libcurl's code */
    CURL *curl;  /* owned */
    int64_t bytes, header_bytes;
} lc_fetch;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start_once(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- what libcurl asks ---- */

static bool is_allowed(const lc_import_options *options, const struct sockaddr *address)
{
    in_port_t port = 0;
    bool is_own = false; /* 127.0.0.1 */
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        port = ntohs(in.sin_port);
        is_own = ntohl(in.sin_addr.s_addr) == INADDR_LOOPBACK;
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof in);
        port = ntohs(in.sin6_port);
    }
    if (options->test_port > 0 && is_own && port == options->test_port) {
        return true;
    }
    return lc_address_is_public(address) &&
           (port == HTTPS_PORT || (port == HTTP_PORT && options->allows_http));
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    const lc_fetch *fetch = context;
    if (purpose != CURLSOCKTYPE_IPCXN || !is_allowed(fetch->options, &address->addr)) {
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t take_header(char *bytes, size_t size, size_t count, void *context)
{
    lc_fetch *fetch = context;
    (void)bytes;
    fetch->header_bytes += (int64_t)(size * count);
    return fetch->header_bytes <= LC_MAX_IMPORT_HEADER_BYTES ? size * count : 0;
}

static lc_code fail_status(lc_err *err, long status)
{
    return lc_fail_param(err, LC_ERR_INVALID, "content_url",
                         "the server answered with status %ld, not 200", status);
}

static lc_code take_bytes(lc_fetch *fetch, const char *bytes, size_t count)
{
    long status = 0;
    (void)curl_easy_getinfo(fetch->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        return fail_status(fetch->err, status);
    }
    if (count > (uint64_t)(fetch->options->max_bytes - fetch->bytes)) {
        return lc_fail_param(fetch->err, LC_ERR_TOO_LARGE, "content_url",
                             "the file has more than %" PRId64 " bytes", fetch->options->max_bytes);
    }
    fetch->bytes += (int64_t)count;
    return fetch->sink->data(fetch->sink->context, bytes, count, fetch->err);
}

static size_t take(char *bytes, size_t size, size_t count, void *context)
{
    return take_bytes(context, bytes, size * count) == LC_OK ? size * count : 0;
}

static int look_at_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
                            curl_off_t up_now)
{
    const lc_fetch *fetch = context;
    (void)total, (void)now, (void)up_total, (void)up_now;
    return atomic_load(fetch->stops) ? 1 : 0;
}

/* ---- the fetch ---- */

static const char *schemes(const lc_import_options *options)
{
    return options->allows_http ? "https,http" : "https";
}

static CURLcode set_options(lc_fetch *fetch, const char *url)
{
    CURL *curl = fetch->curl;
    const long seconds = fetch->options->seconds;
    const CURLcode codes[] = {
        curl_easy_setopt(curl, CURLOPT_URL, url),
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, schemes(fetch->options)),
        curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, schemes(fetch->options)),
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L),
        curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)LC_MAX_IMPORT_REDIRECTS),
        curl_easy_setopt(curl, CURLOPT_PROXY, ""), /* also: none of the environment */
        curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED),
        curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket),
        curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, fetch),
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take),
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, fetch),
        curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header),
        curl_easy_setopt(curl, CURLOPT_HEADERDATA, fetch),
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_at_progress),
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, fetch),
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L),
        curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)fetch->options->max_bytes),
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, seconds),
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)LC_IMPORT_CONNECT_SECONDS),
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1024L),
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)LC_IMPORT_STALL_SECONDS),
        curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2),
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "lorac/" LC_VERSION),
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L),
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i] != CURLE_OK) {
            return codes[i];
        }
    }
    return CURLE_OK;
}

/* Says nothing about what is behind a name or an address that may not be asked. */
static lc_code fail_fetch(const lc_fetch *fetch, CURLcode code, lc_err *err)
{
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return lc_fail(err, LC_ERR_INTERRUPTED, "the server was stopped");
    case CURLE_OPERATION_TIMEDOUT:
        return lc_fail_param(err, LC_ERR_INVALID, "content_url",
                             "the server did not send the file in %d seconds, or was too slow",
                             fetch->options->seconds);
    case CURLE_TOO_MANY_REDIRECTS:
        return lc_fail_param(err, LC_ERR_INVALID, "content_url", "more than %d redirects",
                             LC_MAX_IMPORT_REDIRECTS);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return lc_fail_param(err, LC_ERR_INVALID, "content_url",
                             "content_url, or where it leads to, is no URL of %s",
                             schemes(fetch->options));
    case CURLE_FILESIZE_EXCEEDED:
        return lc_fail_param(err, LC_ERR_TOO_LARGE, "content_url",
                             "the file has more than %" PRId64 " bytes", fetch->options->max_bytes);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return lc_fail_param(err, LC_ERR_INVALID, "content_url",
                             "the host cannot be reached, or is not one that files may come from");
    default:
        return lc_fail_param(err, LC_ERR_INVALID, "content_url",
                             "the file could not be fetched: %s", curl_easy_strerror(code));
    }
}

lc_code lc_import_fetch(const lc_import_options *options, const char *url,
                        const lc_import_sink *sink, const atomic_bool *stops, lc_err *err)
{
    lc_err own = {0};
    lc_fetch fetch = {.options = options, .sink = sink, .stops = stops, .err = &own};
    LC_TRY(lc_import_check_url(options, url, err));
    fetch.curl = curl_easy_init();
    if (fetch.curl == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for an import");
    }
    CURLcode code = set_options(&fetch, url);
    if (code == CURLE_OK) {
        code = curl_easy_perform(fetch.curl);
    }
    long status = 0;
    (void)curl_easy_getinfo(fetch.curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(fetch.curl);
    if (own.code != LC_OK) {
        *err = own;
        return own.code;
    }
    if (code != CURLE_OK) {
        return fail_fetch(&fetch, code, err);
    }
    return status == 200 ? LC_OK : fail_status(err, status);
}

/* ---- the URL itself ---- */

static bool has_part(CURLU *parsed, CURLUPart part)
{
    char *text = NULL;
    const bool has = curl_url_get(parsed, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

static lc_code check_parts(const lc_import_options *options, CURLU *parsed, lc_err *err)
{
    char *scheme = NULL;
    lc_code code = LC_OK;
    if (curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        !(strcmp(scheme, "https") == 0 || (options->allows_http && strcmp(scheme, "http") == 0))) {
        code = lc_fail_param(err, LC_ERR_INVALID, "content_url", "content_url must begin with %s",
                             options->allows_http ? "https:// or http://" : "https://");
    } else if (has_part(parsed, CURLUPART_USER) || has_part(parsed, CURLUPART_PASSWORD)) {
        code = lc_fail_param(err, LC_ERR_INVALID, "content_url",
                             "content_url may not have a user or password");
    }
    curl_free(scheme);
    return code;
}

lc_code lc_import_check_url(const lc_import_options *options, const char *url, lc_err *err)
{
    (void)pthread_once(&once, start_once);
    if (strlen(url) > LC_MAX_IMPORT_URL_BYTES) {
        return lc_fail_param(err, LC_ERR_INVALID, "content_url",
                             "content_url has more than %d bytes", LC_MAX_IMPORT_URL_BYTES);
    }
    for (const char *at = url; *at != '\0'; at++) {
        if ((unsigned char)*at <= ' ' || *at == 0x7F) {
            return lc_fail_param(err, LC_ERR_INVALID, "content_url",
                                 "content_url has a blank or a control character");
        }
    }
    CURLU *parsed = curl_url();
    if (parsed == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a URL");
    }
    lc_code code;
    if (curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
        code = lc_fail_param(err, LC_ERR_INVALID, "content_url", "content_url is no URL");
    } else {
        code = check_parts(options, parsed, err);
    }
    curl_url_cleanup(parsed);
    return code;
}
