/* Uploads in parts: order, sizes, md5, states, owners, expiry, a killed server, limits. */
// ctest: threads
#include "testing.h"

#include <unistd.h>

#include "lorac/mem.h"
#include "serve/files_internal.h"
#include "serve/uploads.h"

#define TYPE "multipart/form-data; boundary=B"

static _Atomic int64_t now = 1790000000;

static int64_t test_now(void)
{
    return now;
}

static struct {
    const char *dir;
    lc_store *store;
    lc_files *files;
} s;

static void open_service(int64_t max_owner_bytes)
{
    const lc_files_options options = {.now = test_now, .max_owner_bytes = max_owner_bytes};
    assert_ok(lc_store_open(s.dir, &s.store, &test_err));
    assert_ok(lc_files_start(s.store, &options, &s.files, &test_err));
}

static void start(int64_t max_owner_bytes)
{
    s.dir = test_dir();
    open_service(max_owner_bytes);
}

static void stop(void)
{
    lc_files_stop(s.files);
    lc_store_close(s.store);
}

static cJSON *parse(const char *text)
{
    cJSON *tree = NULL;
    assert_ok(lc_json_parse(text, strlen(text), 0, "a body", &tree, &test_err));
    return tree;
}

/* The answer's member in a static buffer per call; the answer is released. */
static const char *take_member(lc_text *answer, const char *key)
{
    static char shown[32][256];
    static int next;
    char *out = shown[next++ % 32];
    cJSON *tree = parse(answer->data);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, key);
    assert_non_null(item);
    (void)snprintf(out, sizeof shown[0], "%s", cJSON_IsString(item) ? item->valuestring : "null");
    cJSON_Delete(tree);
    lc_text_release(answer);
    return out;
}

static lc_code create(const char *body, lc_text *out, lc_err *err)
{
    cJSON *tree = parse(body);
    lc_text_init(out);
    const lc_code code = lc_uploads_create(s.files, "me", tree, out, err);
    cJSON_Delete(tree);
    return code;
}

static const char *begin(int64_t bytes)
{
    char body[256];
    lc_text out;
    (void)snprintf(body, sizeof body,
                   "{\"bytes\": %lld, \"filename\": \"dir/b.bin\", \"mime_type\": \"a/b\", "
                   "\"purpose\": \"batch\"}",
                   (long long)bytes);
    assert_ok(create(body, &out, &test_err));
    return take_member(&out, "id");
}

static lc_code add(const char *owner, const char *upload, const char *data, size_t bytes,
                   lc_text *out, lc_err *err)
{
    static const char head[] = "--B\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n";
    static const char tail[] = "\r\n--B--\r\n";
    lc_form *form = NULL;
    lc_text_init(out);
    LC_TRY(lc_part_form_open(s.files, owner, upload, TYPE, &form, err));
    lc_code code = lc_form_feed(form, head, sizeof head - 1, err);
    if (code == LC_OK) {
        code = lc_form_feed(form, data, bytes, err);
    }
    if (code == LC_OK) {
        code = lc_form_feed(form, tail, sizeof tail - 1, err);
    }
    if (code == LC_OK) {
        code = lc_part_form_add(s.files, owner, upload, form, out, err);
    }
    lc_form_close(form);
    return code;
}

static const char *part(const char *upload, const char *text)
{
    lc_text out;
    assert_ok(add("me", upload, text, strlen(text), &out, &test_err));
    return take_member(&out, "id");
}

static lc_code complete(const char *owner, const char *upload, const char *body, lc_text *out,
                        lc_err *err)
{
    cJSON *tree = parse(body);
    lc_text_init(out);
    const lc_code code = lc_uploads_complete(s.files, owner, upload, tree, out, err);
    cJSON_Delete(tree);
    return code;
}

static const char *parts_body(const char *first, const char *second, const char *rest)
{
    static char body[4][512];
    static int next;
    char *out = body[next++ % 4];
    (void)snprintf(out, sizeof body[0], "{\"part_ids\": [\"%s\", \"%s\"]%s}", first, second, rest);
    return out;
}

static int count_in(const char *folder)
{
    char path[LC_MAX_PATH_BYTES], **names = NULL;
    size_t count = 0;
    assert_ok(lc_path_join(s.dir, folder, path, &test_err));
    assert_ok(lc_list_dir(path, &names, &count, &test_err));
    lc_list_free(names, count);
    return (int)count;
}

static void assert_bytes(const char *file_id, const char *expected)
{
    char path[LC_MAX_PATH_BYTES], filename[LC_MAX_FILENAME_BYTES + 1], *data = NULL;
    size_t bytes = 0;
    assert_ok(lc_files_content(s.files, "me", file_id, path, filename, &test_err));
    assert_string_equal(filename, "b.bin");
    assert_ok(lc_file_read(path, 1 << 20, &data, &bytes, &test_err));
    assert_string_equal(data, expected);
    lc_free(data);
}

static void test_story(void **state)
{
    (void)state;
    lc_text out;
    start(0);
    const char *upload = begin(10);
    const char *first = part(upload, "12345");
    const char *second = part(upload, "67890");
    const char *spare = part(upload, "x"); /* sent again after a timeout, say */
    assert_true(strcmp(first, second) != 0 && strcmp(second, spare) != 0);
    assert_ok(add("me", upload, "y", 1, &out, &test_err));
    cJSON *tree = parse(out.data);
    assert_string_equal(lc_json_get(tree, "object")->valuestring, "upload.part");
    assert_string_equal(lc_json_get(tree, "upload_id")->valuestring, upload);
    assert_string_equal(lc_json_get(tree, "azure_block_id")->valuestring,
                        lc_json_get(tree, "id")->valuestring);
    cJSON_Delete(tree);
    lc_text_release(&out);
    /* the order of the request counts, and the md5 is that of the whole: of 6789012345 */
    assert_ok(complete("me", upload,
                       parts_body(second, first, ", \"md5\": \"7c13c75fd30e3d57f98b70ee202f5922\""),
                       &out, &test_err));
    tree = parse(out.data);
    assert_bytes(lc_json_get(lc_json_get(tree, "file"), "id")->valuestring, "6789012345");
    cJSON_Delete(tree);
    lc_text_release(&out);
    assert_int_equal(count_in("uploads"), 0);
    assert_int_equal(count_in("tmp"), 0);
    assert_int_equal(count_in("files"), 1);
    stop();
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *param, *message;
    } cases[] = {
        {"[]", "", "must be a JSON object"},
        {"{\"bytes\": 1, \"filename\": \"a\", \"mime_type\": \"a/b\"}", "purpose", "purpose"},
        {"{\"bytes\": 1, \"purpose\": \"batch\", \"mime_type\": \"a/b\"}", "filename", "filename"},
        {"{\"filename\": \"a\", \"purpose\": \"batch\", \"mime_type\": \"a/b\"}", "bytes", "bytes"},
        {"{\"bytes\": 0, \"filename\": \"a\", \"purpose\": \"batch\"}", "bytes", "bytes"},
        {"{\"bytes\": -1, \"filename\": \"a\", \"purpose\": \"batch\"}", "bytes", "bytes"},
        {"{\"bytes\": 8589934593, \"filename\": \"a\", \"purpose\": \"batch\"}", "bytes", "bytes"},
        {"{\"bytes\": 1.5, \"filename\": \"a\", \"purpose\": \"batch\"}", "bytes", "bytes"},
        {"{\"bytes\": \"1\", \"filename\": \"a\", \"purpose\": \"batch\"}", "bytes", "bytes"},
        {"{\"bytes\": 1, \"filename\": \"..\", \"purpose\": \"batch\"}", "filename", "no name"},
        {"{\"bytes\": 1, \"filename\": \"a\", \"purpose\": \"x\"}", "purpose", "not \"x\""},
        {"{\"bytes\": 1, \"filename\": \"a\", \"purpose\": \"batch\", \"expires_after\": 5}",
         "expires_after", "expires_after"},
        {"{\"bytes\": 1, \"filename\": \"a\", \"purpose\": \"batch\", \"expires_after\": "
         "{\"anchor\": \"created_at\", \"seconds\": 10}}",
         "expires_after[seconds]", "needs seconds"},
    };
    lc_text out;
    start(0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_fails(create(cases[i].body, &out, &test_err), LC_ERR_INVALID, cases[i].message);
        assert_string_equal(test_err.param, cases[i].param);
    }
    assert_ok(create("{\"bytes\": 8589934592, \"filename\": \"a\", \"purpose\": \"batch\", "
                     "\"expires_after\": {\"anchor\": \"created_at\", \"seconds\": 3600}}",
                     &out, &test_err));
    const char *large = take_member(&out, "id");
    assert_int_equal(count_in("uploads"), 1);
    assert_fails(complete("me", large, "{}", &out, &test_err), LC_ERR_INVALID, "part_ids");
    assert_fails(complete("me", large, "{\"part_ids\": [5]}", &out, &test_err), LC_ERR_INVALID,
                 "list of strings");
    assert_fails(complete("me", large, "{\"part_ids\": []}", &out, &test_err), LC_ERR_INVALID,
                 "the parts have 0 bytes together, 8589934592 were announced");
    const char *upload = begin(10);
    const char *first = part(upload, "12345"), *second = part(upload, "67890");
    const char *other = part(begin(5), "abcde");
    const struct {
        const char *body, *message;
    } wrong[] = {
        {parts_body(first, first, ""), "is named twice"},
        {parts_body(first, other, ""), "is not of this upload"},
        {parts_body(first, "../x", ""), "is not of this upload"},
        {parts_body(first, second, ", \"md5\": \"00000000000000000000000000000000\""),
         "the md5 of the bytes is e807f1fcf82d132f9bb018ca6738a19f"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_fails(complete("me", upload, wrong[i].body, &out, &test_err), LC_ERR_INVALID,
                     wrong[i].message);
        lc_text_release(&out);
    }
    assert_fails(complete("me", upload, "{\"part_ids\": 5}", &out, &test_err), LC_ERR_INVALID,
                 "part_ids");
    assert_int_equal(count_in("files"), 0);
    assert_int_equal(count_in("tmp"), 0);
    /* and it can still be completed */
    assert_ok(complete("me", upload,
                       parts_body(first, second, ", \"md5\": \"E807F1FCF82D132F9BB018CA6738A19F\""),
                       &out, &test_err));
    lc_text_release(&out);
    /* parts */
    const char *small = begin(5);
    assert_fails(add("me", small, "", 0, &out, &test_err), LC_ERR_INVALID, "the part is empty");
    assert_fails(add("me", small, "123456", 6, &out, &test_err), LC_ERR_TOO_LARGE,
                 "\"data\" has more than 5 bytes");
    assert_int_equal(count_in("tmp"), 0);
    stop();
}

/* What an upload may do in each state, and who may. */
static void test_states(void **state)
{
    (void)state;
    lc_text out;
    start(0);
    const char *cancelled = begin(5);
    (void)part(cancelled, "12345");
    lc_text_init(&out);
    assert_ok(lc_uploads_cancel(s.files, "me", cancelled, &out, &test_err));
    assert_string_equal(take_member(&out, "status"), "cancelled");
    const char *completed = begin(2);
    const char *one = part(completed, "1"), *two = part(completed, "2");
    assert_ok(complete("me", completed, parts_body(two, one, ""), &out, &test_err));
    cJSON *tree = parse(out.data);
    assert_string_equal(lc_json_get(tree, "status")->valuestring, "completed");
    const cJSON *file = lc_json_get(tree, "file");
    assert_string_equal(lc_json_get(file, "object")->valuestring, "file");
    assert_true(lc_json_get(file, "bytes")->valueint == 2);
    assert_bytes(lc_json_get(file, "id")->valuestring, "21");
    cJSON_Delete(tree);
    lc_text_release(&out);
    const char *open = begin(1);
    const char *expired = begin(1);
    (void)part(expired, "1");
    assert_int_equal(count_in("uploads"), 2);
    now += LC_UPLOAD_SECONDS - 1;
    (void)part(open, "1");
    now += 1;
    lc_files_poke(s.files);
    for (int i = 0; i < 2000 && count_in("uploads") > 0; i++) {
        (void)usleep(5000);
    }
    assert_int_equal(count_in("uploads"), 0);
    const struct {
        const char *owner, *id;
        lc_code code;
        const char *message;
    } cases[] = {{"me", cancelled, LC_ERR_STATE, "the upload is cancelled"},
                 {"me", completed, LC_ERR_STATE, "the upload is completed"},
                 {"me", expired, LC_ERR_STATE, "the upload is expired"},
                 {"you", completed, LC_ERR_NOT_FOUND, "there is no upload"},
                 {"me", "upload_0123456789abcdef0123456789abcdef", LC_ERR_NOT_FOUND, "no upload"},
                 {"me", "../../x", LC_ERR_NOT_FOUND, "no upload"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_text_init(&out);
        assert_fails(add(cases[i].owner, cases[i].id, "1", 1, &out, &test_err), cases[i].code,
                     cases[i].message);
        assert_fails(complete(cases[i].owner, cases[i].id, "{\"part_ids\": []}", &out, &test_err),
                     cases[i].code, cases[i].message);
        assert_fails(lc_uploads_cancel(s.files, cases[i].owner, cases[i].id, &out, &test_err),
                     cases[i].code, cases[i].message);
    }
    stop();
}

static void run_sql(const char *sql)
{
    lc_db *db = NULL;
    assert_ok(lc_store_begin(s.store, &db, &test_err));
    assert_ok(lc_db_run(db, sql, LC_BIND_NONE, &test_err));
    assert_ok(lc_store_commit(&db, &test_err));
}

/* Killed while parts were being joined: the upload can be completed after the restart. */
static void test_restart(void **state)
{
    (void)state;
    char path[LC_MAX_PATH_BYTES];
    lc_text out;
    start(0);
    const char *upload = begin(2);
    const char *one = part(upload, "1"), *two = part(upload, "2");
    run_sql("UPDATE uploads SET status = 'completing'");
    assert_fails(complete("me", upload, parts_body(one, two, ""), &out, &test_err), LC_ERR_STATE,
                 "the upload is completing");
    stop();
    assert_ok(
        lc_path_join(s.dir, "uploads/upload_0123456789abcdef0123456789abcdef", path, &test_err));
    assert_ok(lc_mkdir(path, &test_err));
    assert_ok(lc_path_join(s.dir, "uploads/.trash-x", path, &test_err));
    assert_ok(lc_mkdir(path, &test_err));
    open_service(0);
    for (int i = 0; i < 2000 && count_in("uploads") > 1; i++) {
        (void)usleep(5000);
    }
    assert_int_equal(count_in("uploads"), 1);
    assert_ok(complete("me", upload, parts_body(one, two, ""), &out, &test_err));
    lc_text_release(&out);
    stop();
}

static void test_limits(void **state)
{
    (void)state;
    lc_text out;
    start(100);
    for (int64_t n = 99; n <= 101; n++) { /* of an owner, as announced */
        char body[128];
        (void)snprintf(body, sizeof body,
                       "{\"bytes\": %d, \"filename\": \"a\", \"purpose\": \"batch\"}", (int)n);
        lc_err_clear(&test_err);
        assert_int_equal(create(body, &out, &test_err), n <= 100 ? LC_OK : LC_ERR_TOO_LARGE);
        lc_text_release(&out);
    }
    for (int i = 2; i < LC_MAX_OPEN_UPLOADS; i++) {
        (void)begin(1);
    }
    assert_fails(
        create("{\"bytes\": 1, \"filename\": \"a\", \"purpose\": \"batch\"}", &out, &test_err),
        LC_ERR_INVALID, "64 uploads are under way");
    assert_string_equal(test_err.api_code, "quotaExceeded");
    run_sql("UPDATE uploads SET status = 'cancelled' WHERE seq > 2");
    const char *upload = begin(60);
    char sixty[61];
    memset(sixty, 'x', 60);
    sixty[60] = '\0';
    const char *one = part(upload, sixty); /* and as received, spare parts too */
    assert_fails(add("me", upload, sixty, 41, &out, &test_err), LC_ERR_TOO_LARGE, "all files");
    assert_ok(add("me", upload, sixty, 40, &out, &test_err));
    lc_text_release(&out);
    assert_int_equal(count_in("tmp"), 0);
    char body[256];
    (void)snprintf(body, sizeof body, "{\"part_ids\": [\"%s\"]}", one);
    assert_ok(complete("me", upload, body, &out, &test_err));
    lc_text_release(&out);
    stop();
}

static void test_part_count(void **state)
{
    (void)state;
    lc_text out;
    start(0);
    const char *upload = begin(2000);
    run_sql("INSERT INTO upload_parts (id, upload_id, bytes, created_at)"
            " WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1023)"
            " SELECT 'p' || i, (SELECT id FROM uploads), 1, 1 FROM n");
    (void)part(upload, "x");
    assert_fails(add("me", upload, "x", 1, &out, &test_err), LC_ERR_TOO_LARGE,
                 "the upload has 1024 parts");
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_story),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_states), cmocka_unit_test(test_restart),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_part_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
