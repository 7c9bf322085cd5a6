/* The portal's files over HTTP: what is sent, its headers, 304, what is not there; that the page
 * names no file that is missing and has nothing inline, which its policy would block. */
#include "testing.h"

#include "http_client.h"
#include "serve/http.h"
#include "serve/portal.h"

static lc_http_server *server;

static lc_code authenticate(struct lc_service *of, const char *key, char owner[LC_OWNER_BYTES],
                            bool *is_known, lc_err *err)
{
    (void)of;
    (void)key;
    (void)err;
    owner[0] = '\0';
    *is_known = false; /* the portal is to ask nobody */
    return LC_OK;
}

static int start(void **state)
{
    (void)state;
    const lc_http_options options = {
        .address = "127.0.0.1",
        .threads = 1,
        .connections = 8,
        .patience = {.request_seconds = 30, .grace_seconds = 30, .least_bytes_per_second = 1000},
        .tables = &lc_portal_routes,
        .table_count = 1,
        .authenticate = authenticate};
    assert_ok(lc_http_start(&options, &server, &test_err));
    http_port = lc_http_port(server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    lc_http_stop(server);
    return 0;
}

static int get(const char *path, const char *headers)
{
    return http_ask("GET", path, headers, NULL);
}

static const char *body_of(void)
{
    const char *end = strstr(http_answer, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

static void test_page(void **state)
{
    (void)state;
    assert_int_equal(get("/", ""), 200);
    http_has("\r\nContent-Type: text/html; charset=utf-8\r\n");
    http_has("\r\nCache-Control: no-cache\r\n");
    http_has(
        "\r\nContent-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; ");
    http_has("frame-ancestors 'none'\r\n");
    http_has("\r\nX-Content-Type-Options: nosniff\r\n");
    http_has("<!doctype html>");
    assert_null(strstr(body_of(), "style=")); /* inline: the policy would block it */
    assert_null(strstr(body_of(), "<style"));
    assert_null(strstr(body_of(), "<script>"));
    assert_null(strstr(body_of(), " onclick="));
    assert_null(strstr(body_of(), "://")); /* nothing from elsewhere */
}

/* Every file is sent whole, under its type, and only once to who has it. */
static void test_files(void **state)
{
    (void)state;
    static const char *const types[][2] = {{".css", "\r\nContent-Type: text/css; "},
                                           {".js", "\r\nContent-Type: text/javascript; "},
                                           {".svg", "\r\nContent-Type: image/svg+xml; "}};
    assert_true(lc_portal_file_count >= 5);
    for (int i = 0; i < lc_portal_file_count; i++) {
        const lc_portal_file *file = &lc_portal_files[i];
        char path[128], headers[256];
        (void)snprintf(path, sizeof path, "/portal/%s", file->name);
        if (strcmp(file->name, "index.html") == 0) {
            assert_int_equal(get(path, ""), 404);
            continue;
        }
        assert_int_equal(get(path, ""), 200);
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            if (strstr(file->name, types[t][0]) != NULL) {
                http_has(types[t][1]);
            }
        }
        const char *body = body_of();
        assert_int_equal(strlen(body), file->size);
        assert_memory_equal(body, file->bytes, file->size);
        (void)snprintf(headers, sizeof headers, "If-None-Match: \"other\", W/%s\r\n", file->etag);
        assert_int_equal(get(path, headers), 304);
        http_has(file->etag);
        assert_string_equal(body_of(), "");
        assert_int_equal(get(path, "If-None-Match: \"other\"\r\n"), 200);
    }
}

/* Each name between `before` and a quote is that of a file. */
static void check_references(const char *text, const char *before)
{
    for (const char *at = strstr(text, before); at != NULL; at = strstr(at, before)) {
        char path[128];
        at += strlen(before);
        (void)snprintf(path, sizeof path, "/portal/%.*s", (int)strcspn(at, "\""), at);
        if (get(path, "") != 200) {
            fail_msg("there is no %s", path);
        }
    }
}

static void test_references(void **state)
{
    (void)state;
    for (int i = 0; i < lc_portal_file_count; i++) {
        const lc_portal_file *file = &lc_portal_files[i];
        char *text = lc_malloc(file->size + 1);
        assert_non_null(text);
        memcpy(text, file->bytes, file->size);
        text[file->size] = '\0';
        check_references(text, "=\"portal/");   /* of the page */
        check_references(text, "from \"./");    /* of a module */
        assert_null(strstr(text, "innerHTML")); /* what the server says is text */
        assert_null(strstr(text, "insertAdjacentHTML"));
        assert_null(strstr(text, "setAttribute(\"style\""));
        lc_free(text);
    }
}

static void test_not_there(void **state)
{
    (void)state;
    assert_int_equal(get("/portal/nothing.js", ""), 404);
    http_has("\"code\": \"notFound\"");
    assert_int_equal(get("/portal/..%2Fportal.c", ""), 404);
    assert_int_equal(get("/portal/", ""), 404);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_page, start, stop),
        cmocka_unit_test_setup_teardown(test_files, start, stop),
        cmocka_unit_test_setup_teardown(test_references, start, stop),
        cmocka_unit_test_setup_teardown(test_not_there, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
