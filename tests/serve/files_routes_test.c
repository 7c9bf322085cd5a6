/* /files and /uploads over HTTP: curl's own forms, both families, status codes, headers, errors. */
// ctest: threads
#include "testing.h"

#include <curl/curl.h>
#include <unistd.h>

#include "base/file.h"
#include "http_client.h"
#include "serve/ids.h"
#include "serve/service.h"

static lc_service service;
static lc_http_server *server;
static const char *dir;

static lc_code authenticate(struct lc_service *unused, const char *key, char owner[LC_OWNER_BYTES],
                            bool *is_known, lc_err *err)
{
    (void)unused;
    (void)err;
    *is_known = true;
    (void)snprintf(owner, LC_OWNER_BYTES, "%s", key != NULL ? key : "");
    return LC_OK;
}

static int start(void **state)
{
    (void)state;
    static lc_route_table tables[2];
    const lc_files_options files = {.max_owner_bytes = 200000};
    tables[0] = lc_file_routes;
    tables[1] = lc_upload_routes;
    const lc_http_options options = {
        .address = "127.0.0.1",
        .threads = 2,
        .connections = 16,
        .patience = {.request_seconds = 20, .grace_seconds = 20, .least_bytes_per_second = 1},
        .tables = tables,
        .table_count = 2,
        .authenticate = authenticate,
        .service = &service};
    dir = test_dir();
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    assert_ok(lc_store_open(dir, &service.store, &test_err));
    assert_ok(lc_files_start(service.store, &files, &service.files, &test_err));
    assert_ok(lc_http_start(&options, &server, &test_err));
    http_port = lc_http_port(server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    lc_http_stop(server);
    lc_files_stop(service.files);
    lc_store_close(service.store);
    return 0;
}

/* ---- curl's own form ---- */

static char answer[8192], location[256];

static size_t keep_body(char *bytes, size_t size, size_t count, void *unused)
{
    (void)unused;
    const size_t used = strlen(answer), room = sizeof answer - 1 - used;
    const size_t kept = size * count < room ? size * count : room;
    memcpy(answer + used, bytes, kept);
    answer[used + kept] = '\0';
    return size * count;
}

static size_t keep_location(char *bytes, size_t size, size_t count, void *unused)
{
    (void)unused;
    char line[256];
    (void)snprintf(line, sizeof line, "%.*s", (int)(size * count), bytes);
    (void)sscanf(line, "Location: %255s", location);
    return size * count;
}

/* Fields as name, value, ..., NULL; a name that begins with '@' is a file called `filename`. */
static int post_form(const char *path, const char *filename, const char *const *fields)
{
    char url[512];
    long status = 0;
    CURL *curl = curl_easy_init();
    curl_mime *mime = curl_mime_init(curl);
    for (; fields[0] != NULL; fields += 2) {
        const bool is_file = fields[0][0] == '@';
        curl_mimepart *part = curl_mime_addpart(mime);
        assert_int_equal(curl_mime_name(part, fields[0] + (is_file ? 1 : 0)), CURLE_OK);
        assert_int_equal(curl_mime_data(part, fields[1], CURL_ZERO_TERMINATED), CURLE_OK);
        if (is_file) {
            assert_int_equal(curl_mime_filename(part, filename), CURLE_OK);
        }
    }
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d%s", http_port, path);
    struct curl_slist *headers = curl_slist_append(NULL, "api-key: key-1");
    answer[0] = location[0] = '\0';
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_MIMEPOST, mime);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_body);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, keep_location);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_mime_free(mime);
    curl_easy_cleanup(curl);
    return (int)status;
}

/* The string member `key` of the last answer of post_form, in a static buffer per call. */
static const char *answered(const char *key)
{
    static char shown[16][128];
    static int next;
    char *out = shown[next++ % 16];
    cJSON *tree = NULL;
    assert_ok(lc_json_parse(answer, strlen(answer), 0, "an answer", &tree, &test_err));
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, key);
    if (!cJSON_IsString(item)) {
        fail_msg("no text \"%s\" in %s", key, answer);
    }
    (void)snprintf(out, sizeof shown[0], "%s", item->valuestring);
    cJSON_Delete(tree);
    return out;
}

static const char *path_of(const char *prefix, const char *id, const char *rest)
{
    static char paths[4][256];
    static int next;
    char *out = paths[next++ % 4];
    (void)snprintf(out, sizeof paths[0], "%s%s%s", prefix, id, rest);
    return out;
}

static void test_files(void **state)
{
    (void)state;
    static const char *const fields[] = {"purpose", "batch", "@file", "line 1\r\n--x\nline 2",
                                         NULL};
    assert_int_equal(post_form("/openai/v1/files", "m\xC3\xBC \"x\".jsonl", fields), 200);
    assert_string_equal(location, "");
    const char *id = answered("id");
    assert_string_equal(answered("filename"), "m\xC3\xBC %22x%22.jsonl"); /* curl's spelling */
    assert_string_equal(answered("status"), "processed");
    assert_int_equal(post_form("/openai/files?api-version=2024-10-21", "b", fields), 201);
    assert_string_equal(location, path_of("/openai/files/", answered("id"), ""));
    const char *second = answered("id");
    /* read */
    assert_int_equal(http_ask("GET", path_of("/openai/v1/files/", id, ""), NULL, NULL), 200);
    http_has("\"bytes\": 18,");
    assert_int_equal(http_ask("GET", path_of("/openai/v1/files/", id, "/content"), NULL, NULL),
                     200);
    http_has("application/octet-stream");
    http_has("attachment; filename*=UTF-8''m%C3%BC%20%2522x%2522.jsonl");
    http_has("\r\n\r\nline 1\r\n--x\nline 2");
    /* list */
    assert_int_equal(http_ask("GET", "/openai/v1/files?limit=1&purpose=batch", NULL, NULL), 200);
    http_has("\"has_more\": true");
    http_has(second);
    http_lacks(id);
    assert_int_equal(
        http_ask("GET", path_of("/openai/v1/files?limit=1&after=", second, ""), NULL, NULL), 200);
    http_has(id);
    http_has("\"has_more\": false");
    assert_int_equal(http_ask("GET", "/openai/v1/files?order=asc&limit=1", NULL, NULL), 200);
    http_has(id);
    assert_int_equal(http_ask("GET", "/openai/v1/files?purpose=fine-tune", NULL, NULL), 200);
    http_has("\"data\": []");
    static const char *const wrong[] = {"limit=0", "limit=10001", "limit=x", "order=up",
                                        "after=file-x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(http_ask("GET", path_of("/openai/v1/files?", wrong[i], ""), NULL, NULL),
                         400);
        http_has("\"code\": \"invalidPayload\"");
    }
    /* others see nothing of it */
    static const char other[] = "api-key: key-2\r\n";
    assert_int_equal(http_ask("GET", path_of("/openai/v1/files/", id, ""), other, NULL), 404);
    assert_int_equal(http_ask("GET", path_of("/openai/v1/files/", id, "/content"), other, NULL),
                     404);
    assert_int_equal(http_ask("DELETE", path_of("/openai/v1/files/", id, ""), other, NULL), 404);
    assert_int_equal(http_ask("GET", "/openai/v1/files", other, NULL), 200);
    http_has("\"data\": []");
    /* delete */
    assert_int_equal(http_ask("DELETE", path_of("/openai/v1/files/", id, ""), NULL, NULL), 200);
    http_has("\"deleted\": true");
    assert_int_equal(http_ask("GET", path_of("/openai/v1/files/", id, ""), NULL, NULL), 404);
    http_has("\"code\": \"notFound\"");
    assert_int_equal(http_ask("GET", path_of("/openai/v1/files/", id, "/content"), NULL, NULL),
                     404);
    /* imports are off */
    assert_int_equal(http_ask("POST", "/openai/files/import?api-version=1", NULL,
                              "{\"purpose\": \"batch\", \"filename\": \"a\", "
                              "\"content_url\": \"https://a/b\"}"),
                     400);
    http_has("does not import files");
}

static void test_files_refused(void **state)
{
    (void)state;
    static char large[200002];
    static const char *const no_purpose[] = {"@file", "x", NULL};
    static const char *const no_file[] = {"purpose", "batch", NULL};
    memset(large, 'x', sizeof large - 1);
    const char *const too_large[] = {"purpose", "batch", "@file", large, NULL};
    assert_int_equal(post_form("/openai/v1/files", "a", no_purpose), 400);
    assert_non_null(strstr(answer, "\"param\": \"purpose\""));
    assert_int_equal(post_form("/openai/v1/files", "a", no_file), 400);
    assert_non_null(strstr(answer, "\"param\": \"file\""));
    assert_int_equal(post_form("/openai/v1/files", "a", too_large), 413);
    assert_non_null(strstr(answer, "\"code\": \"quotaExceeded\""));
    assert_int_equal(
        http_ask("POST", "/openai/v1/files", "Content-Type: application/json\r\n", "{}"), 400);
    http_has("must be multipart/form-data");
    assert_int_equal(http_ask("POST", "/openai/v1/files",
                              "Content-Type: multipart/form-data; boundary=B\r\n", "--B\r\n\r\n"),
                     400);
    http_has("no Content-Disposition");
    char path[LC_MAX_PATH_BYTES], **names = NULL;
    size_t count = 0;
    assert_ok(lc_path_join(dir, "tmp", path, &test_err));
    assert_ok(lc_list_dir(path, &names, &count, &test_err));
    assert_int_equal(count, 0);
    lc_list_free(names, count);
}

static void test_uploads(void **state)
{
    (void)state;
    char body[512];
    static const char *const first[] = {"@data", "12345", NULL};
    static const char *const second[] = {"data", "678", NULL};
    assert_int_equal(http_ask("POST", "/openai/v1/uploads", NULL,
                              "{\"bytes\": 8, \"filename\": \"a.bin\", \"purpose\": \"batch\", "
                              "\"mime_type\": \"a/b\"}"),
                     200);
    const char *found = strstr(http_answer, "\"" LC_PREFIX_UPLOAD);
    assert_non_null(found);
    char id[LC_ID_BYTES];
    (void)snprintf(id, sizeof id, "%.*s", (int)(strlen(LC_PREFIX_UPLOAD) + LC_ID_DIGITS),
                   found + 1);
    assert_int_equal(post_form(path_of("/openai/v1/uploads/", id, "/parts"), "blob", first), 200);
    const char *part_1 = answered("id");
    assert_int_equal(post_form(path_of("/openai/v1/uploads/", id, "/parts"), NULL, second), 200);
    const char *part_2 = answered("azure_block_id");
    (void)snprintf(body, sizeof body, "{\"part_ids\": [\"%s\"]}", part_1);
    assert_int_equal(http_ask("POST", path_of("/openai/v1/uploads/", id, "/complete"), NULL, body),
                     400);
    http_has("5 bytes together, 8 were announced");
    (void)snprintf(body, sizeof body, "{\"part_ids\": [\"%s\", \"%s\"]}", part_1, part_2);
    assert_int_equal(http_ask("POST", path_of("/openai/v1/uploads/", id, "/complete"),
                              "api-key: key-2\r\n", body),
                     404);
    assert_int_equal(http_ask("POST", path_of("/openai/v1/uploads/", id, "/complete"), NULL, body),
                     200);
    http_has("\"status\": \"completed\"");
    http_has("\"filename\": \"a.bin\"");
    assert_int_equal(http_ask("POST", path_of("/openai/v1/uploads/", id, "/cancel"), NULL, NULL),
                     400);
    http_has("\"code\": \"unexpectedEntityState\"");
    assert_int_equal(post_form(path_of("/openai/v1/uploads/", id, "/parts"), NULL, second), 400);
    assert_int_equal(http_ask("POST", "/openai/v1/uploads", NULL, NULL), 400);
    assert_int_equal(http_ask("POST", "/openai/v1/uploads/x/cancel", NULL, NULL), 404);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files),
                                       cmocka_unit_test(test_files_refused),
                                       cmocka_unit_test(test_uploads)};
    return cmocka_run_group_tests(tests, start, stop);
}
