/* Imports from URLs: no address inside is ever asked, by whatever spelling, name or redirect;
 * limits of bytes, time and redirects; what a file of the API goes through. */
#include "testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "lorac/mem.h"
#include "serve/files_internal.h"

#define LARGE 100000

/* ---- a server of this machine ---- */

static struct {
    int fd, port, other_fd, other_port; /* a second one, which is not allowed */
    pthread_t threads[2];
    _Atomic int requests, other_requests;
    char last[4096]; /* the last request */
} server;

static void send_text(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        text += sent;
        bytes -= (size_t)sent;
    }
}

static void send_string(int fd, const char *text)
{
    send_text(fd, text, strlen(text));
}

static void answer(int fd, const char *status, const char *headers, const char *body)
{
    char text[8192];
    const int bytes = snprintf(
        text, sizeof text, "HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
        status, headers, strlen(body), body);
    send_text(fd, text, (size_t)bytes);
}

/* /to?URL leads there; /hops/N takes N redirects. */
static void answer_path(int fd, const char *path)
{
    static char large[LARGE + 1];
    char header[4096];
    int hops = 0;
    memset(large, 'x', LARGE);
    if (strcmp(path, "/file") == 0) {
        answer(fd, "200 OK", "", "0123456789");
    } else if (strncmp(path, "/to?", 4) == 0) {
        (void)snprintf(header, sizeof header, "Location: %s\r\n", path + 4);
        answer(fd, "302 Found", header, "moved");
    } else if (sscanf(path, "/hops/%d", &hops) == 1) {
        (void)snprintf(header, sizeof header,
                       hops > 1 ? "Location: /hops/%d\r\n" : "Location: /file\r\n", hops - 1);
        answer(fd, "307 Temporary Redirect", header, "");
    } else if (strcmp(path, "/empty") == 0) {
        answer(fd, "200 OK", "", "");
    } else if (strcmp(path, "/no-length") == 0) { /* nobody says how much it is */
        send_string(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        send_text(fd, large, LARGE);
    } else if (strcmp(path, "/length") == 0) {
        send_string(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        send_text(fd, large, LARGE);
    } else if (strcmp(path, "/short") == 0) {
        send_string(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    } else if (strcmp(path, "/headers") == 0) {
        send_string(fd, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 70; i++) {
            send_string(fd, "X: ");
            send_text(fd, large, 1000);
            send_string(fd, "\r\n");
        }
        send_string(fd, "\r\nabc");
    } else if (strcmp(path, "/slow") == 0) {
        send_string(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        for (int i = 0; i < 100; i++) {
            char end;
            (void)usleep(50000);
            if (recv(fd, &end, 1, MSG_DONTWAIT) == 0) {
                break;
            }
        }
    } else if (strcmp(path, "/cookie") == 0) {
        (void)snprintf(header, sizeof header,
                       "Set-Cookie: a=b\r\nLocation: http://u:p@127.0.0.1:%d/file\r\n",
                       server.port);
        answer(fd, "302 Found", header, "");
    } else {
        answer(fd, "404 Not Found", "", "no such thing");
    }
}

static void serve_one(int fd)
{
    char path[2048] = "";
    size_t used = 0;
    while (used + 1 < sizeof server.last && strstr(server.last, "\r\n\r\n") == NULL) {
        const ssize_t got = recv(fd, server.last + used, sizeof server.last - 1 - used, 0);
        if (got <= 0) {
            break;
        }
        used += (size_t)got;
        server.last[used] = '\0';
    }
    if (sscanf(server.last, "GET %2047s", path) == 1) {
        answer_path(fd, path);
    }
    (void)shutdown(fd, SHUT_WR);
    char rest[512];
    while (recv(fd, rest, sizeof rest, 0) > 0) {}
}

static void *serve(void *context)
{
    const bool is_other = context != NULL;
    for (int fd; (fd = accept(is_other ? server.other_fd : server.fd, NULL, NULL)) >= 0;) {
        if (is_other) {
            server.other_requests++;
        } else {
            server.requests++;
            server.last[0] = '\0';
            serve_one(fd);
        }
        (void)close(fd);
    }
    return NULL;
}

static int listen_somewhere(int *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof in;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &bytes), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static int start_server(void **state)
{
    (void)state;
    server.fd = listen_somewhere(&server.port);
    server.other_fd = listen_somewhere(&server.other_port);
    assert_int_equal(pthread_create(&server.threads[0], NULL, serve, NULL), 0);
    assert_int_equal(pthread_create(&server.threads[1], NULL, serve, &server), 0);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    (void)shutdown(server.fd, SHUT_RDWR);
    (void)shutdown(server.other_fd, SHUT_RDWR);
    (void)pthread_join(server.threads[0], NULL);
    (void)pthread_join(server.threads[1], NULL);
    (void)close(server.fd);
    (void)close(server.other_fd);
    return 0;
}

/* ---- addresses ---- */

static bool is_public(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        return lc_address_is_public((const struct sockaddr *)&in);
    }
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return lc_address_is_public((const struct sockaddr *)&in6);
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const inside[] = {"0.0.0.0",
                                         "0.255.255.255",
                                         "10.0.0.0",
                                         "10.255.255.255",
                                         "100.64.0.0",
                                         "100.127.255.255",
                                         "100.100.100.200",
                                         "127.0.0.0",
                                         "127.0.0.1",
                                         "127.255.255.255",
                                         "168.63.129.16",
                                         "169.254.0.0",
                                         "169.254.169.254",
                                         "169.254.255.255",
                                         "172.16.0.0",
                                         "172.31.255.255",
                                         "192.0.0.0",
                                         "192.0.0.192",
                                         "192.0.2.1",
                                         "192.31.196.1",
                                         "192.52.193.1",
                                         "192.88.99.1",
                                         "192.168.0.0",
                                         "192.168.255.255",
                                         "192.175.48.1",
                                         "198.18.0.0",
                                         "198.19.255.255",
                                         "198.51.100.1",
                                         "203.0.113.1",
                                         "224.0.0.0",
                                         "239.255.255.255",
                                         "240.0.0.0",
                                         "255.255.255.255",
                                         "::",
                                         "::1",
                                         "::127.0.0.1",
                                         "::ffff:127.0.0.1",
                                         "::ffff:8.8.8.8",
                                         "::ffff:0:8.8.8.8",
                                         "64:ff9b::7f00:1",
                                         "64:ff9b:1::1",
                                         "100::1",
                                         "fc00::1",
                                         "fd00:ec2::254",
                                         "fdff::1",
                                         "fe80::1",
                                         "febf::1",
                                         "fec0::1",
                                         "ff02::1",
                                         "ff0e::1",
                                         "2001::1",
                                         "2001:0:1::",
                                         "2001:10::1",
                                         "2001:20::1",
                                         "2001:1ff:ffff::1",
                                         "2001:db8::1",
                                         "2002:7f00:1::",
                                         "2002:a00:1::",
                                         "3fff::1",
                                         "3fff:fff::1",
                                         "4000::1",
                                         "1fff:ffff::1",
                                         "5f00::1"};
    static const char *const outside[] = {
        "1.0.0.0",     "1.1.1.1",         "8.8.8.8",          "9.255.255.255",
        "11.0.0.0",    "100.63.255.255",  "100.128.0.0",      "126.255.255.255",
        "128.0.0.0",   "168.63.129.15",   "168.63.129.17",    "169.253.255.255",
        "169.255.0.0", "172.15.255.255",  "172.32.0.0",       "192.0.1.0",
        "192.0.3.0",   "192.167.255.255", "192.169.0.0",      "198.17.255.255",
        "198.20.0.0",  "223.255.255.255", "2001:200::1",      "2001:4860:4860::8888",
        "2003::1",     "2606:4700::1111", "2001:db7:ffff::1", "2001:db9::1",
        "3ffe::1",     "3fff:1000::1"};
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        if (is_public(inside[i])) {
            fail_msg("%s passes as public", inside[i]);
        }
    }
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        if (!is_public(outside[i])) {
            fail_msg("%s is refused", outside[i]);
        }
    }
    const struct sockaddr local = {.sa_family = AF_UNIX};
    assert_false(lc_address_is_public(&local));
}

/* ---- fetching ---- */

static lc_code take(void *context, const char *bytes, size_t count, lc_err *err)
{
    lc_text_add(context, bytes, count);
    return lc_text_finish(context, "what was fetched", err);
}

static lc_code fetch(const lc_import_options *options, const char *url, lc_text *out, lc_err *err)
{
    const lc_import_sink sink = {take, out};
    atomic_bool stops = false;
    lc_text_init(out);
    return lc_import_fetch(options, url, &sink, &stops, err);
}

static lc_import_options test_options(void)
{
    return (lc_import_options){.is_allowed = true,
                               .allows_http = true,
                               .max_bytes = LARGE,
                               .seconds = 20,
                               .test_port = server.port};
}

static const char *url_of(int port, const char *path)
{
    static char urls[4][4096];
    static int next;
    char *url = urls[next++ % 4];
    (void)snprintf(url, sizeof urls[0], "http://127.0.0.1:%d%s", port, path);
    return url;
}

/* Spellings of addresses inside; PORT becomes that of a server which would answer. */
static const char *const hostile[] = {"http://127.0.0.1:PORT/",
                                      "http://127.1:PORT/",
                                      "http://127.0.1:PORT/",
                                      "http://2130706433:PORT/",
                                      "http://0x7f000001:PORT/",
                                      "http://0x7f.0.0.1:PORT/",
                                      "http://0x7f.1:PORT/",
                                      "http://017700000001:PORT/",
                                      "http://0177.0.0.1:PORT/",
                                      "http://0177.1:PORT/",
                                      "http://127.0.0.1.:PORT/",
                                      "http://localhost:PORT/",
                                      "http://LOCALHOST:PORT/",
                                      "http://localhost.:PORT/",
                                      "http://a.localhost:PORT/",
                                      "http://0:PORT/",
                                      "http://0.0.0.0:PORT/",
                                      "http://00000.0.0.0:PORT/",
                                      "http://[::1]:PORT/",
                                      "http://[::]:PORT/",
                                      "http://[0:0:0:0:0:0:0:1]:PORT/",
                                      "http://[0000:0000:0000:0000:0000:0000:0000:0001]:PORT/",
                                      "http://[::ffff:127.0.0.1]:PORT/",
                                      "http://[::ffff:7f00:1]:PORT/",
                                      "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
                                      "http://[::127.0.0.1]:PORT/",
                                      "http://[::7f00:1]:PORT/",
                                      "http://[64:ff9b::7f00:1]:PORT/",
                                      "http://[2002:7f00:1::]:PORT/",
                                      "http://%31%32%37.0.0.1:PORT/",
                                      "http://127%2e0%2e0%2e1:PORT/",
                                      "http://127.0.0.2:PORT/",
                                      "http://127.255.255.254:PORT/",
                                      "http://127.0.0.1:0PORT/",
                                      "http://\xE2\x91\xA0\xE2\x91\xA1\xE2\x91\xA6.0.0.1:PORT/",
                                      "http://127\xE3\x80\x82"
                                      "0\xE3\x80\x82"
                                      "0\xE3\x80\x82"
                                      "1:PORT/",
                                      "http://loc\xE2\x93\x90lhost:PORT/",
                                      "http://169.254.169.254/latest/meta-data/",
                                      "http://[::ffff:169.254.169.254]/",
                                      "http://[::ffff:a9fe:a9fe]/",
                                      "http://2852039166/",
                                      "http://0xa9fea9fe/",
                                      "http://0xA9.0xFE.0xA9.0xFE/",
                                      "http://0251.0376.0251.0376/",
                                      "http://169.254.43518/",
                                      "http://169.16689662/",
                                      "http://169.254.169.254./",
                                      "http://169.254.169.254:80/metadata/instance",
                                      "http://168.63.129.16/",
                                      "http://100.100.100.200/latest/",
                                      "http://192.0.0.192/opc/v2/",
                                      "http://[fd00:ec2::254]/",
                                      "http://10.0.0.1/",
                                      "http://10.1/",
                                      "http://167772161/",
                                      "http://172.16.0.1/",
                                      "http://172.31.255.254/",
                                      "http://192.168.0.1/",
                                      "http://192.168.1/",
                                      "http://0xc0a80001/",
                                      "http://3232235521/",
                                      "http://100.64.0.1/",
                                      "http://198.18.0.1/",
                                      "http://224.0.0.1/",
                                      "http://239.255.255.250/",
                                      "http://255.255.255.255/",
                                      "http://240.0.0.1/",
                                      "http://0.0.0.1/",
                                      "http://[fe80::1]/",
                                      "http://[fe80::1%25lo]/",
                                      "http://[fc00::1]/",
                                      "http://[fd12:3456::1]/",
                                      "http://[ff02::1]/",
                                      "http://[2001:db8::1]/",
                                      "http://[2001::1]/",
                                      "http://[2002:a9fe:a9fe::]/",
                                      "http://[::ffff:10.0.0.1]/",
                                      "http://[::ffff:0:10.0.0.1]/",
                                      "http://[64:ff9b::a9fe:a9fe]/",
                                      "http://[100::1]/",
                                      "https://127.0.0.1:PORT/",
                                      "https://localhost:PORT/",
                                      "https://[::1]:PORT/",
                                      "https://10.0.0.1/",
                                      "https://169.254.169.254/",
                                      "HTTP://127.0.0.1:PORT/",
                                      "hTTps://2130706433:PORT/"};

/* No URL of them at all. */
static const char *const malformed[] = {"",
                                        "/etc/passwd",
                                        "file",
                                        "//127.0.0.1/",
                                        "127.0.0.1:80/",
                                        "localhost/",
                                        "file:///etc/passwd",
                                        "FILE:///etc/passwd",
                                        "file://localhost/etc/passwd",
                                        "ftp://127.0.0.1/",
                                        "gopher://127.0.0.1:6379/_x",
                                        "dict://127.0.0.1:11211/stats",
                                        "ldap://127.0.0.1/",
                                        "tftp://127.0.0.1/x",
                                        "smb://127.0.0.1/x",
                                        "telnet://127.0.0.1/",
                                        "scp://127.0.0.1/x",
                                        "imap://127.0.0.1/",
                                        "ws://127.0.0.1/",
                                        "jar:http://a/!/",
                                        "data:text/plain,x",
                                        "javascript:x",
                                        "http:",
                                        "http://",
                                        "http:///",
                                        "http://:80/",
                                        "http://user@example.com/",
                                        "http://user:password@example.com/",
                                        "https://example.com:99999/",
                                        "https://example.com:x/",
                                        "https://exa mple.com/",
                                        "https://example.com/a b",
                                        "https://example.com/\r\nHost: x",
                                        "https://[::1/",
                                        "https://example.com\t/",
                                        "https://127.0.0.1\x7F/",
                                        "https://a@127.0.0.1@example.com/",
                                        "httpx://a/"};

static void fill_port(const char *pattern, int port, char *out, size_t capacity)
{
    const char *mark = strstr(pattern, "PORT");
    if (mark == NULL) {
        (void)snprintf(out, capacity, "%s", pattern);
    } else {
        (void)snprintf(out, capacity, "%.*s%d%s", (int)(mark - pattern), pattern, port, mark + 4);
    }
}

static void test_hostile(void **state)
{
    (void)state;
    const lc_import_options options = test_options();
    lc_text out;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        char url[256];
        fill_port(hostile[i], server.other_port, url, sizeof url);
        lc_err_clear(&test_err);
        const double began = lc_monotonic_seconds();
        if (fetch(&options, url, &out, &test_err) != LC_ERR_INVALID) {
            fail_msg("%s gave %s", url, test_err.message);
        }
        assert_true(lc_monotonic_seconds() - began < 5); /* refused, not tried */
        lc_text_release(&out);
    }
    assert_int_equal(server.other_requests, 0);
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        lc_err_clear(&test_err);
        if (lc_import_check_url(&options, malformed[i], &test_err) != LC_ERR_INVALID) {
            fail_msg("%s passes", malformed[i]);
        }
        assert_string_equal(test_err.param, "content_url");
    }
    assert_true(sizeof hostile / sizeof hostile[0] + sizeof malformed / sizeof malformed[0] >= 120);
}

/* The same by a redirect from a server that may be asked. */
static void test_hostile_redirects(void **state)
{
    (void)state;
    const lc_import_options options = test_options();
    lc_text out;
    static const char *const others[] = {"file:///etc/passwd", "gopher://127.0.0.1:6379/_x",
                                         "ftp://127.0.0.1/", "dict://127.0.0.1:PORT/x"};
    const size_t count = sizeof hostile / sizeof hostile[0];
    for (size_t i = 0; i < count + sizeof others / sizeof others[0]; i++) {
        char url[256], path[512];
        fill_port(i < count ? hostile[i] : others[i - count], server.other_port, url, sizeof url);
        (void)snprintf(path, sizeof path, "/to?%s", url);
        lc_err_clear(&test_err);
        if (fetch(&options, url_of(server.port, path), &out, &test_err) != LC_ERR_INVALID) {
            fail_msg("a redirect to %s gave %s", url, test_err.message);
        }
        assert_int_equal(out.length, 0);
        lc_text_release(&out);
    }
    assert_int_equal(server.other_requests, 0);
}

static void test_fetch(void **state)
{
    (void)state;
    lc_import_options options = test_options();
    lc_text out;
    assert_ok(fetch(&options, url_of(server.port, "/file"), &out, &test_err));
    assert_string_equal(out.data, "0123456789");
    lc_text_release(&out);
    /* nothing of the environment */
    static const char *const proxies[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy",
                                          "ALL_PROXY"};
    for (size_t i = 0; i < sizeof proxies / sizeof proxies[0]; i++) {
        (void)setenv(proxies[i], url_of(server.other_port, "/"), 1);
    }
    const char *home = test_dir();
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(home, ".netrc", path, &test_err));
    test_write_file(path, "machine 127.0.0.1 login me password secret\n", 43);
    (void)setenv("HOME", home, 1);
    assert_ok(fetch(&options, url_of(server.port, "/file"), &out, &test_err));
    lc_text_release(&out);
    assert_int_equal(server.other_requests, 0);
    assert_null(strstr(server.last, "Authorization"));
    /* no cookies from one hop to the next */
    assert_ok(fetch(&options, url_of(server.port, "/cookie"), &out, &test_err));
    lc_text_release(&out);
    assert_null(strstr(server.last, "Cookie"));
    /* http, and this machine, only where allowed */
    options.allows_http = false;
    assert_fails(fetch(&options, url_of(server.port, "/file"), &out, &test_err), LC_ERR_INVALID,
                 "must begin with https://");
    options.allows_http = true;
    options.test_port = 0;
    assert_fails(fetch(&options, url_of(server.port, "/file"), &out, &test_err), LC_ERR_INVALID,
                 "the host cannot be reached, or is not one");
}

static void test_limits(void **state)
{
    (void)state;
    lc_import_options options = test_options();
    lc_text out;
    static const char *const ways[] = {"/length", "/no-length"};
    for (int way = 0; way < 2; way++) {
        for (int64_t limit = LARGE - 1; limit <= LARGE + 1; limit++) {
            options.max_bytes = limit;
            lc_err_clear(&test_err);
            const lc_code code = fetch(&options, url_of(server.port, ways[way]), &out, &test_err);
            assert_int_equal(code, limit >= LARGE ? LC_OK : LC_ERR_TOO_LARGE);
            assert_true((int64_t)out.length <= limit);
            lc_text_release(&out);
        }
    }
    options = test_options();
    for (int hops = LC_MAX_IMPORT_REDIRECTS - 1; hops <= LC_MAX_IMPORT_REDIRECTS + 1; hops++) {
        char path[32];
        (void)snprintf(path, sizeof path, "/hops/%d", hops);
        lc_err_clear(&test_err);
        const lc_code code = fetch(&options, url_of(server.port, path), &out, &test_err);
        assert_int_equal(code, hops <= LC_MAX_IMPORT_REDIRECTS ? LC_OK : LC_ERR_INVALID);
        lc_text_release(&out);
    }
    assert_non_null(strstr(test_err.message, "more than 3 redirects"));
    const struct {
        const char *path, *message;
    } cases[] = {{"/none", "status 404, not 200"},
                 {"/short", "could not be fetched"},
                 {"/headers", "could not be fetched"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_fails(fetch(&options, url_of(server.port, cases[i].path), &out, &test_err),
                     LC_ERR_INVALID, cases[i].message);
        lc_text_release(&out);
    }
    options.seconds = 1;
    assert_fails(fetch(&options, url_of(server.port, "/slow"), &out, &test_err), LC_ERR_INVALID,
                 "did not send the file in 1 seconds");
    lc_text_release(&out);
    char url[LC_MAX_IMPORT_URL_BYTES + 2];
    for (size_t n = LC_MAX_IMPORT_URL_BYTES - 1; n <= LC_MAX_IMPORT_URL_BYTES + 1; n++) {
        memset(url, 'x', n);
        memcpy(url, "https://a.b/", 12);
        url[n] = '\0';
        assert_int_equal(lc_import_check_url(&options, url, &test_err),
                         n <= LC_MAX_IMPORT_URL_BYTES ? LC_OK : LC_ERR_INVALID);
    }
}

/* ---- as a file of the API ---- */

static struct {
    const char *dir;
    lc_store *store;
    lc_files *files;
} s;

static void start(lc_import_options import)
{
    const lc_files_options options = {.import = import};
    s.dir = s.dir != NULL ? s.dir : test_dir();
    assert_ok(lc_store_open(s.dir, &s.store, &test_err));
    assert_ok(lc_files_start(s.store, &options, &s.files, &test_err));
}

static void stop(void)
{
    lc_files_stop(s.files);
    lc_store_close(s.store);
}

static lc_code ask(const char *url, const char *purpose, lc_text *out, lc_err *err)
{
    cJSON *body = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(body, "content_url", url);
    (void)cJSON_AddStringToObject(body, "purpose", purpose);
    (void)cJSON_AddStringToObject(body, "filename", "a.jsonl");
    lc_text_init(out);
    const lc_code code = lc_files_import(s.files, "me", body, out, err);
    cJSON_Delete(body);
    return code;
}

static void take_member(lc_text *object, const char *key, char *out, size_t capacity)
{
    cJSON *tree = NULL;
    assert_ok(lc_json_parse(object->data, object->length, 0, "an answer", &tree, &test_err));
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, key);
    assert_non_null(item);
    (void)snprintf(out, capacity, "%s", cJSON_IsString(item) ? item->valuestring : "null");
    if (cJSON_IsNumber(item)) {
        (void)snprintf(out, capacity, "%.0f", item->valuedouble);
    }
    cJSON_Delete(tree);
}

/* The status that a file gets, and a member of its object then. */
static void expect(const char *id, const char *status, const char *key, const char *part)
{
    char now[64] = "", shown[LC_ERR_MESSAGE_BYTES] = "";
    for (int i = 0; i < 2000; i++) {
        lc_text out;
        lc_text_init(&out);
        assert_ok(lc_files_get(s.files, "me", id, &out, &test_err));
        take_member(&out, "status", now, sizeof now);
        take_member(&out, key, shown, sizeof shown);
        lc_text_release(&out);
        if (strcmp(now, "pending") != 0) {
            break;
        }
        (void)usleep(5000);
    }
    assert_string_equal(now, status);
    if (strstr(shown, part) == NULL) {
        fail_msg("%s is %s, not %s", key, shown, part);
    }
}

static void test_files(void **state)
{
    (void)state;
    char id[LC_ID_BYTES], shown[64];
    lc_text out;
    start((lc_import_options){0});
    assert_fails(ask(url_of(server.port, "/file"), "batch", &out, &test_err), LC_ERR_UNSUPPORTED,
                 "does not import files");
    stop();
    start(test_options());
    assert_ok(ask(url_of(server.port, "/file"), "batch", &out, &test_err));
    take_member(&out, "id", id, sizeof id);
    take_member(&out, "status", shown, sizeof shown);
    assert_string_equal(shown, "pending");
    take_member(&out, "bytes", shown, sizeof shown);
    assert_string_equal(shown, "null");
    lc_text_release(&out);
    expect(id, "processed", "bytes", "10");
    char path[LC_MAX_PATH_BYTES], filename[LC_MAX_FILENAME_BYTES + 1], *data = NULL;
    size_t bytes = 0;
    assert_ok(lc_files_content(s.files, "me", id, path, filename, &test_err));
    assert_ok(lc_file_read(path, 100, &data, &bytes, &test_err));
    assert_string_equal(data, "0123456789");
    lc_free(data);
    const struct {
        const char *path, *purpose, *details;
    } cases[] = {{"/file", "fine-tune", "line 1: "}, /* the bytes are checked as any others */
                 {"/none", "batch", "status 404"},
                 {"/empty", "batch", "the file is empty"},
                 {"/to?http://127.0.0.1:1/", "batch", "the host cannot be reached, or is not one"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(ask(url_of(server.port, cases[i].path), cases[i].purpose, &out, &test_err));
        take_member(&out, "id", id, sizeof id);
        lc_text_release(&out);
        expect(id, "error", "status_details", cases[i].details);
    }
    assert_fails(ask("ftp://a/b", "batch", &out, &test_err), LC_ERR_INVALID, "must begin with");
    assert_fails(ask(url_of(server.port, "/file"), "x", &out, &test_err), LC_ERR_INVALID,
                 "purpose");
    /* a slow one is given up when the service stops, and has failed after the restart */
    assert_ok(ask(url_of(server.port, "/slow"), "batch", &out, &test_err));
    take_member(&out, "id", id, sizeof id);
    lc_text_release(&out);
    assert_fails(lc_files_content(s.files, "me", id, path, filename, &test_err), LC_ERR_STATE,
                 "no content yet");
    assert_fails(lc_files_path(s.store, "me", id, "batch", "training_file", path, &test_err),
                 LC_ERR_STATE, "is not there yet");
    for (int i = 1; i < LC_MAX_IMPORTS; i++) {
        assert_ok(ask(url_of(server.port, "/file"), "batch", &out, &test_err));
        lc_text_release(&out);
    }
    assert_fails(ask(url_of(server.port, "/file"), "batch", &out, &test_err), LC_ERR_BUSY,
                 "16 imports are waiting");
    const double began = lc_monotonic_seconds();
    stop();
    assert_true(lc_monotonic_seconds() - began < 4);
    start(test_options());
    expect(id, "error", "status_details", "restarted during the import");
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_hostile_redirects),
        cmocka_unit_test(test_fetch),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
