/* Files of the API: from a form to the disk, the check, lists, deletion, quotas, expiry, a
 * server that was killed, every I/O fault. */
// ctest: threads
#include "testing.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "lorac/mem.h"
#include "serve/files_internal.h"
#include "serve/form.h"

#define ROW                                                                                \
    "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", " \
    "\"content\": \"b\"}]}\n"
#define ROWS ROW ROW ROW ROW ROW ROW ROW ROW ROW ROW
#define DPO                                                                    \
    "{\"input\": {\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}, " \
    "\"preferred_output\": [{\"role\": \"assistant\", \"content\": \"b\"}], "  \
    "\"non_preferred_output\": [{\"role\": \"assistant\", \"content\": \"c\"}]}\n"

static _Atomic int64_t now = 1790000000;

static int64_t test_now(void)
{
    return now;
}

typedef struct service {
    const char *dir;
    lc_store *store;
    lc_files *files;
} service;

static void open_service(service *s, lc_files_options options)
{
    options.now = test_now;
    assert_ok(lc_store_open(s->dir, &s->store, &test_err));
    assert_ok(lc_files_start(s->store, &options, &s->files, &test_err));
}

static service start(lc_files_options options)
{
    service s = {.dir = test_dir()};
    open_service(&s, options);
    return s;
}

static void stop(service *s)
{
    lc_files_stop(s->files);
    lc_store_close(s->store);
}

static const char *in_data(const service *s, const char *name)
{
    static char paths[4][LC_MAX_PATH_BYTES];
    static int next;
    char *path = paths[next++ % 4];
    assert_ok(lc_path_join(s->dir, name, path, &test_err));
    return path;
}

static int count_in(const service *s, const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    assert_ok(lc_list_dir(in_data(s, folder), &names, &count, &test_err));
    lc_list_free(names, count);
    return (int)count;
}

/* A member of an object as JSON, in a static buffer per call. */
static const char *member(const lc_text *object, const char *key)
{
    static char shown[4][LC_ERR_MESSAGE_BYTES];
    static int next;
    char *out = shown[next++ % 4];
    cJSON *tree = NULL;
    assert_ok(lc_json_parse(object->data, object->length, 0, "an answer", &tree, &test_err));
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, key);
    assert_non_null(item);
    if (cJSON_IsString(item)) {
        (void)snprintf(out, LC_ERR_MESSAGE_BYTES, "%s", item->valuestring);
    } else {
        char *printed = cJSON_PrintUnformatted(item);
        (void)snprintf(out, LC_ERR_MESSAGE_BYTES, "%s", printed);
        cJSON_free(printed);
    }
    cJSON_Delete(tree);
    return out;
}

static lc_code create(service *s, const char *owner, const char *filename, const char *purpose,
                      const char *bytes, size_t count, lc_text *out, lc_err *err)
{
    lc_draft *draft = NULL;
    const lc_file_wish wish = {.filename = filename, .purpose = purpose, .expires_after = -1};
    lc_text_init(out);
    LC_TRY(lc_draft_open(s->files, LC_MAX_FILE_BYTES, &draft, err));
    const lc_code code = lc_draft_write(draft, bytes, count, err);
    if (code != LC_OK) {
        lc_draft_abort(draft);
        return code;
    }
    return lc_files_create(s->files, owner, draft, &wish, out, err);
}

/* Id of a new file, in a static buffer per call. */
static const char *add(service *s, const char *owner, const char *purpose, const char *text)
{
    static char ids[8][LC_ID_BYTES];
    static int next;
    char *id = ids[next++ % 8];
    lc_text out;
    assert_ok(create(s, owner, "a.jsonl", purpose, text, strlen(text), &out, &test_err));
    (void)snprintf(id, LC_ID_BYTES, "%s", member(&out, "id"));
    lc_text_release(&out);
    return id;
}

static lc_code get(service *s, const char *owner, const char *id, lc_text *out)
{
    lc_text_init(out);
    lc_err_clear(&test_err);
    return lc_files_get(s->files, owner, id, out, &test_err);
}

/* The object once it is no longer pending. */
static void wait_checked(service *s, const char *owner, const char *name, lc_text *out)
{
    char id[LC_ID_BYTES]; /* `name` may be what member() gave */
    (void)snprintf(id, sizeof id, "%s", name);
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(get(s, owner, id, out), LC_OK);
        if (strcmp(member(out, "status"), "pending") != 0) {
            return;
        }
        lc_text_release(out);
        (void)usleep(5000);
    }
    fail_msg("%s stays pending", id);
}

static void wait_count(const service *s, const char *folder, int count)
{
    for (int i = 0; i < 2000 && count_in(s, folder) != count; i++) {
        (void)usleep(5000);
    }
    assert_int_equal(count_in(s, folder), count);
}

/* ---- forms ---- */

static lc_code send_form(service *s, const char *body, size_t piece, lc_text *out, lc_err *err)
{
    lc_form *form = NULL;
    lc_text_init(out);
    lc_code code = lc_file_form_open(s->files, "multipart/form-data; boundary=B", &form, err);
    const size_t bytes = strlen(body);
    for (size_t at = 0; at < bytes && code == LC_OK; at += piece) {
        code = lc_form_feed(form, body + at, bytes - at < piece ? bytes - at : piece, err);
    }
    if (code == LC_OK) {
        code = lc_file_form_create(s->files, "me", form, out, err);
    }
    lc_form_close(form);
    return code;
}

#define FIELD(name, value) \
    "--B\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILE_PART(name, value)                                                                  \
    "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" name "\"\r\n\r\n" value \
    "\r\n"
#define END "--B--\r\n"

static void test_form(void **state)
{
    (void)state;
    service s = start((lc_files_options){0});
    static const char *const bodies[] = {
        FIELD("purpose", "fine-tune") FIELD("expires_after[anchor]", "created_at")
            FIELD("expires_after[seconds]", "86400") FILE_PART("C:\\sets\\train.jsonl", ROWS) END,
        FILE_PART("/etc/../train.jsonl", ROWS) FIELD("seconds", "86400")
            FIELD("anchor", "created_at") FIELD("other", "x") FIELD("purpose", "fine-tune") END};
    for (size_t i = 0; i < 2; i++) {
        lc_text out, checked;
        char path[LC_MAX_PATH_BYTES], filename[LC_MAX_FILENAME_BYTES + 1], *data = NULL;
        size_t bytes = 0;
        assert_ok(send_form(&s, bodies[i], i == 0 ? 7 : 100000, &out, &test_err));
        const char *id = member(&out, "id");
        assert_int_equal(strlen(id), strlen("file-") + 32);
        assert_string_equal(member(&out, "object"), "file");
        assert_string_equal(member(&out, "filename"), "train.jsonl");
        assert_string_equal(member(&out, "purpose"), "fine-tune");
        assert_string_equal(member(&out, "status"), "pending");
        assert_string_equal(member(&out, "created_at"), "1790000000");
        assert_string_equal(member(&out, "expires_at"), "1790086400");
        char expected[32];
        (void)snprintf(expected, sizeof expected, "%zu", strlen(ROWS));
        assert_string_equal(member(&out, "bytes"), expected);
        wait_checked(&s, "me", member(&out, "id"), &checked);
        assert_string_equal(member(&checked, "status"), "processed");
        assert_string_equal(member(&checked, "status_details"), "null");
        assert_ok(lc_files_content(s.files, "me", member(&out, "id"), path, filename, &test_err));
        assert_string_equal(filename, "train.jsonl");
        assert_ok(lc_file_read(path, 1 << 20, &data, &bytes, &test_err));
        assert_string_equal(data, ROWS);
        lc_free(data);
        lc_text_release(&checked);
        lc_text_release(&out);
    }
    assert_int_equal(count_in(&s, "tmp"), 0);
    stop(&s);
}

static void test_form_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        lc_code code;
        const char *message, *param;
    } cases[] = {
        {FIELD("purpose", "fine-tune") END, LC_ERR_INVALID, "no \"file\"", "file"},
        {FILE_PART("a", "x") END, LC_ERR_INVALID, "not nothing", "purpose"},
        {FIELD("purpose", "") FILE_PART("a", "x") END, LC_ERR_INVALID, "not \"\"", "purpose"},
        {FIELD("purpose", "fine-tune-results") FILE_PART("a", "x") END, LC_ERR_INVALID,
         "not \"fine-tune-results\"", "purpose"},
        {FIELD("purpose", "batch") FILE_PART("a", "") END, LC_ERR_INVALID, "is empty", "file"},
        {FIELD("purpose", "batch") FILE_PART("", "x") END, LC_ERR_INVALID, "no name", "filename"},
        {FIELD("purpose", "batch") FILE_PART("..", "x") END, LC_ERR_INVALID, "no name", "filename"},
        {FIELD("purpose", "batch") FILE_PART("a/", "x") END, LC_ERR_INVALID, "no name", "filename"},
        {FIELD("purpose", "batch") FILE_PART("a\xE2\x80\xAEtxt.exe", "x") END, LC_ERR_INVALID,
         "control character", "filename"},
        {FIELD("purpose", "batch") FIELD("file", "x") END, LC_ERR_INVALID, "no name", "filename"},
        {FIELD("purpose", "batch") FIELD("purpose", "batch") FILE_PART("a", "x") END,
         LC_ERR_INVALID, "\"purpose\" was sent twice", "purpose"},
        {FIELD("purpose", "batch") FILE_PART("a", "x") FILE_PART("b", "y") END, LC_ERR_INVALID,
         "\"file\" was sent twice", "file"},
        {FIELD("purpose", "batch") FIELD("expires_after[seconds]", "86400") FILE_PART("a", "x") END,
         LC_ERR_INVALID, "needs the anchor", "expires_after[anchor]"},
        {FIELD("purpose", "batch") FIELD("anchor", "last_active_at") FIELD("seconds", "86400")
             FILE_PART("a", "x") END,
         LC_ERR_INVALID, "needs the anchor", "expires_after[anchor]"},
        {FIELD("purpose", "batch") FIELD("anchor", "created_at") FILE_PART("a", "x") END,
         LC_ERR_INVALID, "needs seconds", "expires_after[seconds]"},
        {FIELD("purpose", "batch") FIELD("anchor", "created_at") FIELD("seconds", "86400s")
             FILE_PART("a", "x") END,
         LC_ERR_INVALID, "needs seconds", "expires_after[seconds]"},
        {FIELD("purpose", "batch") FIELD("anchor", "created_at") FIELD("seconds", "99999999999")
             FILE_PART("a", "x") END,
         LC_ERR_INVALID, "needs seconds", "expires_after[seconds]"},
        {FIELD("purpose", "batch") FILE_PART("a", "x") "--B", LC_ERR_INVALID, "final boundary", ""},
        {FIELD("purpose", "fine-tune") FILE_PART("a", "12345678901") END, LC_ERR_TOO_LARGE,
         "\"file\" has more than 10 bytes", "file"},
    };
    service s = start((lc_files_options){.max_file_bytes = 10});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_text out;
        assert_fails(send_form(&s, cases[i].body, 1000, &out, &test_err), cases[i].code,
                     cases[i].message);
        assert_string_equal(test_err.param, cases[i].param);
        lc_text_release(&out);
    }
    assert_int_equal(count_in(&s, "tmp"), 0);
    assert_int_equal(count_in(&s, "files"), 0);
    stop(&s);
}

/* ---- limits ---- */

static void test_limits(void **state)
{
    (void)state;
    service s = start((lc_files_options){.max_owner_bytes = 100});
    char name[LC_MAX_FILENAME_BYTES + 2], expected[LC_MAX_FILENAME_BYTES + 1];
    for (size_t n = LC_MAX_FILENAME_BYTES - 1; n <= LC_MAX_FILENAME_BYTES + 1; n++) {
        lc_file_wish wish = {.filename = name, .purpose = "batch", .expires_after = -1};
        memset(name, 'n', n);
        name[n] = '\0';
        assert_int_equal(lc_file_wish_check(&wish, expected, &test_err),
                         n <= LC_MAX_FILENAME_BYTES ? LC_OK : LC_ERR_INVALID);
    }
    static const int64_t seconds[] = {LC_MIN_EXPIRY_SECONDS - 1, LC_MIN_EXPIRY_SECONDS,
                                      LC_MAX_EXPIRY_SECONDS, LC_MAX_EXPIRY_SECONDS + 1, 0};
    for (size_t i = 0; i < 5; i++) {
        const lc_file_wish wish = {
            .filename = "a", .purpose = "batch", .expires_after = seconds[i]};
        assert_int_equal(lc_file_wish_check(&wish, expected, &test_err),
                         i == 1 || i == 2 ? LC_OK : LC_ERR_INVALID);
    }
    /* bytes of one file: its draft holds exactly so many */
    for (size_t n = 9; n <= 11; n++) {
        lc_draft *draft = NULL;
        lc_err_clear(&test_err);
        assert_ok(lc_draft_open(s.files, 10, &draft, &test_err));
        assert_ok(lc_draft_write(draft, "1234", 4, &test_err));
        const lc_code code = lc_draft_write(draft, "567890123", n - 4, &test_err);
        assert_int_equal(code, n <= 10 ? LC_OK : LC_ERR_TOO_LARGE);
        lc_draft_abort(draft);
    }
    assert_non_null(strstr(test_err.message, "more than 10 bytes"));
    /* of all files of an owner: 100 */
    lc_text out;
    static char bytes[128];
    memset(bytes, 'x', sizeof bytes);
    assert_ok(create(&s, "me", "a", "batch", bytes, 60, &out, &test_err));
    lc_text_release(&out);
    for (size_t n = 41; n >= 39; n--) {
        lc_err_clear(&test_err);
        const lc_code code = create(&s, "me", "b", "batch", bytes, n, &out, &test_err);
        assert_int_equal(code, n <= 40 ? LC_OK : LC_ERR_TOO_LARGE);
        assert_int_equal(test_err.api_code != NULL, code != LC_OK);
        if (code == LC_OK) {
            lc_text gone;
            lc_text_init(&gone);
            assert_ok(lc_files_delete(s.files, "me", member(&out, "id"), &gone, &test_err));
            lc_text_release(&gone);
        }
        lc_text_release(&out);
    }
    assert_ok(create(&s, "other", "a", "batch", bytes, 60, &out, &test_err));
    lc_text_release(&out);
    stop(&s);
}

static void test_training_file_quota(void **state)
{
    (void)state;
    service s = start((lc_files_options){0});
    lc_text out;
    for (int i = 0; i < LC_MAX_TRAINING_FILES; i++) {
        (void)add(&s, "me", "fine-tune", "x");
    }
    assert_fails(create(&s, "me", "a", "fine-tune", "x", 1, &out, &test_err), LC_ERR_INVALID,
                 "there are 100 files with purpose fine-tune already");
    assert_string_equal(test_err.api_code, "quotaExceeded");
    lc_text_release(&out);
    (void)add(&s, "me", "batch", "x");
    (void)add(&s, "other", "fine-tune", "x");
    assert_int_equal(count_in(&s, "files"), LC_MAX_TRAINING_FILES + 2);
    stop(&s);
}

/* 512 MiB exactly, through the form, in bounded memory. */
static void test_largest_file(void **state)
{
    (void)state;
    service s = start((lc_files_options){0});
    const size_t piece = (size_t)4 << 20;
    char *zeros = calloc(1, piece);
    for (int extra = 0; extra <= 1; extra++) {
        lc_form *form = NULL;
        lc_text out;
        static const char head[] =
            FIELD("purpose",
                  "batch") "--B\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n";
        static const char tail[] = "\r\n" END;
        lc_text_init(&out);
        lc_err_clear(&test_err);
        assert_ok(lc_file_form_open(s.files, "multipart/form-data; boundary=B", &form, &test_err));
        assert_ok(lc_form_feed(form, head, sizeof head - 1, &test_err));
        lc_code code = LC_OK;
        for (int i = 0; i < 128; i++) {
            assert_ok(lc_form_feed(form, zeros, piece, &test_err));
        }
        code = lc_form_feed(form, zeros, (size_t)extra, &test_err);
        if (extra == 1) {
            assert_int_equal(code, LC_ERR_TOO_LARGE);
            assert_non_null(strstr(test_err.message, "more than 536870912 bytes"));
        } else {
            assert_int_equal(code, LC_OK);
            assert_ok(lc_form_feed(form, tail, sizeof tail - 1, &test_err));
            assert_ok(lc_file_form_create(s.files, "me", form, &out, &test_err));
            assert_string_equal(member(&out, "bytes"), "536870912");
            lc_text gone;
            lc_text_init(&gone);
            assert_ok(lc_files_delete(s.files, "me", member(&out, "id"), &gone, &test_err));
            lc_text_release(&gone);
        }
        lc_form_close(form);
        lc_text_release(&out);
    }
    free(zeros);
    wait_count(&s, "files", 0);
    assert_int_equal(count_in(&s, "tmp"), 0);
    stop(&s);
}

/* ---- the check ---- */

static void test_check(void **state)
{
    (void)state;
    service s = start((lc_files_options){0});
    lc_text out;
    const char *bad =
        add(&s, "me", "fine-tune",
            ROW ROW "{\"messages\": [{\"role\": \"usr\", \"content\": \"a\"}]}\n" ROWS);
    wait_checked(&s, "me", bad, &out);
    assert_string_equal(member(&out, "status"), "error");
    assert_non_null(strstr(member(&out, "status_details"), "line 3, messages[0].role: "));
    assert_non_null(strstr(member(&out, "status_details"), "[unknown_role]"));
    lc_text_release(&out);
    const char *few = add(&s, "me", "fine-tune", ROW);
    wait_checked(&s, "me", few, &out);
    assert_string_equal(member(&out, "status"), "error");
    assert_non_null(strstr(member(&out, "status_details"), "[too_few_examples]"));
    lc_text_release(&out);
    const char *preferences = add(&s, "me", "fine-tune", DPO DPO DPO DPO DPO DPO DPO DPO DPO DPO);
    wait_checked(&s, "me", preferences, &out);
    assert_string_equal(member(&out, "status"), "processed");
    lc_text_release(&out);
    /* other purposes are stored as they are */
    const char *other = add(&s, "me", "batch", "\xFF\xFE");
    assert_int_equal(get(&s, "me", other, &out), LC_OK);
    assert_string_equal(member(&out, "status"), "processed");
    lc_text_release(&out);
    /* for jobs */
    char path[LC_MAX_PATH_BYTES];
    assert_fails(lc_files_path(s.store, "me", bad, "fine-tune", "training_file", path, &test_err),
                 LC_ERR_INVALID, "has errors: line 3");
    assert_string_equal(test_err.param, "training_file");
    assert_fails(lc_files_path(s.store, "me", other, "fine-tune", "training_file", path, &test_err),
                 LC_ERR_INVALID, "has the purpose batch, it must be fine-tune");
    assert_fails(lc_files_path(s.store, "you", bad, "fine-tune", "training_file", path, &test_err),
                 LC_ERR_INVALID, "training_file: there is no file");
    assert_string_equal(test_err.param, "training_file");
    assert_ok(
        lc_files_path(s.store, "me", preferences, "fine-tune", "training_file", path, &test_err));
    assert_true(lc_path_exists(path));
    stop(&s);
}

/* ---- lists, owners ---- */

static void ids_of(const lc_text *list, char *out, size_t capacity, const char *const *names,
                   const char *const *ids, int count)
{
    cJSON *tree = NULL;
    const cJSON *item;
    size_t used = 0;
    out[0] = '\0';
    assert_ok(lc_json_parse(list->data, list->length, 0, "a list", &tree, &test_err));
    assert_string_equal(lc_json_get(tree, "object")->valuestring, "list");
    const cJSON *data = lc_json_get(tree, "data");
    cJSON_ArrayForEach(item, data)
    {
        for (int i = 0; i < count; i++) {
            if (strcmp(lc_json_get(item, "id")->valuestring, ids[i]) == 0) {
                used += (size_t)snprintf(out + used, capacity - used, "%s", names[i]);
            }
        }
    }
    if (cJSON_GetArraySize(data) > 0) {
        assert_string_equal(lc_json_get(tree, "first_id")->valuestring,
                            lc_json_get(cJSON_GetArrayItem(data, 0), "id")->valuestring);
        assert_string_equal(
            lc_json_get(tree, "last_id")->valuestring,
            lc_json_get(cJSON_GetArrayItem(data, cJSON_GetArraySize(data) - 1), "id")->valuestring);
    }
    (void)snprintf(out + used, capacity - used, "%s",
                   cJSON_IsTrue(lc_json_get(tree, "has_more")) ? "+" : "");
    cJSON_Delete(tree);
}

static void test_list(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d"};
    service s = start((lc_files_options){0});
    const char *ids[4];
    char shown[64];
    ids[0] = add(&s, "me", "batch", "1");
    ids[1] = add(&s, "me", "fine-tune", "2");
    ids[2] = add(&s, "me", "batch", "3");
    ids[3] = add(&s, "me", "evals", "4");
    const char *other = add(&s, "other", "batch", "5");
    const struct {
        const char *owner, *purpose;
        lc_page page;
        const char *expected;
    } cases[] = {
        {"me", NULL, {.limit = 10000}, "dcba"},
        {"me", NULL, {.limit = 4}, "dcba"},
        {"me", NULL, {.limit = 3}, "dcb+"},
        {"me", NULL, {.limit = 3, .ascending = true}, "abc+"},
        {"me", NULL, {.limit = 2, .after = ids[2]}, "ba"},
        {"me", NULL, {.limit = 1, .after = ids[2]}, "b+"},
        {"me", NULL, {.limit = 9, .after = ids[2], .ascending = true}, "d"},
        {"me", NULL, {.limit = 9, .after = ids[0]}, ""},
        {"me", "batch", {.limit = 9}, "ca"},
        {"me", "batch", {.limit = 1}, "c+"},
        {"me", "none", {.limit = 9}, ""},
        {"nobody", NULL, {.limit = 9}, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lc_text out;
        lc_text_init(&out);
        assert_ok(lc_files_list(s.files, cases[i].owner, cases[i].purpose, &cases[i].page, &out,
                                &test_err));
        ids_of(&out, shown, sizeof shown, names, ids, 4);
        assert_string_equal(shown, cases[i].expected);
        lc_text_release(&out);
    }
    lc_text out;
    lc_text_init(&out);
    static const int64_t limits[] = {0, 10001, -1};
    for (size_t i = 0; i < 3; i++) {
        const lc_page page = {.limit = limits[i]};
        assert_fails(lc_files_list(s.files, "me", NULL, &page, &out, &test_err), LC_ERR_INVALID,
                     "limit must be from 1 to 10000");
    }
    const lc_page foreign = {.limit = 9, .after = other};
    assert_fails(lc_files_list(s.files, "me", NULL, &foreign, &out, &test_err), LC_ERR_INVALID,
                 "there is no file");
    /* a list goes on behind what was deleted meanwhile */
    assert_ok(lc_files_delete(s.files, "me", ids[2], &out, &test_err));
    lc_text_release(&out);
    const lc_page page = {.limit = 9, .after = ids[2]};
    assert_ok(lc_files_list(s.files, "me", NULL, &page, &out, &test_err));
    ids_of(&out, shown, sizeof shown, names, ids, 4);
    assert_string_equal(shown, "ba");
    lc_text_release(&out);
    stop(&s);
}

static void test_owners(void **state)
{
    (void)state;
    service s = start((lc_files_options){0});
    char path[LC_MAX_PATH_BYTES], filename[LC_MAX_FILENAME_BYTES + 1];
    lc_text out;
    const char *id = add(&s, "me", "batch", "1");
    static const char *const bad[] = {"",
                                      "file-",
                                      "../lorac.db",
                                      "file-0123456789abcdef0123456789abcde",
                                      "file-0123456789abcdef0123456789abcdef",
                                      "FILE-0123456789abcdef0123456789abcdef",
                                      "file-0123456789abcdef0123456789abcdef0"};
    for (size_t i = 0; i <= sizeof bad / sizeof bad[0]; i++) {
        const bool is_foreign = i == sizeof bad / sizeof bad[0];
        const char *asked = is_foreign ? id : bad[i];
        const char *owner = is_foreign ? "you" : "me";
        lc_text_init(&out);
        assert_int_equal(get(&s, owner, asked, &out), LC_ERR_NOT_FOUND);
        assert_string_equal(test_err.param, "file_id");
        assert_fails(lc_files_delete(s.files, owner, asked, &out, &test_err), LC_ERR_NOT_FOUND,
                     "there is no file");
        assert_fails(lc_files_content(s.files, owner, asked, path, filename, &test_err),
                     LC_ERR_NOT_FOUND, "there is no file");
    }
    assert_int_equal(get(&s, "me", id, &out), LC_OK);
    lc_text_release(&out);
    stop(&s);
}

/* ---- deletion, expiry, jobs ---- */

static void run_sql(service *s, const char *sql, const lc_sql_value *values, int count)
{
    lc_db *db = NULL;
    assert_ok(lc_store_begin(s->store, &db, &test_err));
    assert_ok(lc_db_run(db, sql, values, count, &test_err));
    assert_ok(lc_store_commit(&db, &test_err));
}

/* The bytes go; a job that has a link of its own keeps them. */
static void test_delete(void **state)
{
    (void)state;
    service s = start((lc_files_options){0});
    lc_text out;
    char path[LC_MAX_PATH_BYTES];
    const char *id = add(&s, "me", "fine-tune", ROWS);
    assert_ok(lc_files_path(s.store, "me", id, "fine-tune", "training_file", path, &test_err));
    assert_int_equal(link(path, in_data(&s, "of_a_job")), 0);
    lc_text_init(&out);
    assert_ok(lc_files_delete(s.files, "me", id, &out, &test_err));
    assert_string_equal(member(&out, "deleted"), "true");
    assert_string_equal(member(&out, "object"), "file");
    assert_string_equal(member(&out, "id"), id);
    lc_text_release(&out);
    assert_int_equal(get(&s, "me", id, &out), LC_ERR_NOT_FOUND);
    assert_fails(lc_files_delete(s.files, "me", id, &out, &test_err), LC_ERR_NOT_FOUND,
                 "there is no file");
    wait_count(&s, "files", 0);
    char *data = NULL;
    size_t bytes = 0;
    assert_ok(lc_file_read(in_data(&s, "of_a_job"), 1 << 20, &data, &bytes, &test_err));
    assert_string_equal(data, ROWS);
    lc_free(data);
    stop(&s);
}

static int count_rows(service *s)
{
    lc_db *db = NULL;
    lc_rows rows;
    assert_ok(lc_store_read(s->store, &db, &test_err));
    assert_ok(lc_db_query(db, "SELECT count(*) FROM files", LC_BIND_NONE, &rows, &test_err));
    assert_true(lc_rows_next(&rows));
    const int count = (int)lc_rows_int(&rows, 0);
    assert_ok(lc_rows_end(&rows, &test_err));
    lc_store_end(&db);
    return count;
}

static void test_expiry(void **state)
{
    (void)state;
    service s = start((lc_files_options){0});
    lc_text out;
    lc_draft *draft = NULL;
    const lc_file_wish wish = {
        .filename = "a", .purpose = "batch", .expires_after = LC_MIN_EXPIRY_SECONDS};
    char id[LC_ID_BYTES];
    (void)add(&s, "me", "batch", "stays");
    assert_ok(lc_draft_open(s.files, 10, &draft, &test_err));
    assert_ok(lc_draft_write(draft, "x", 1, &test_err));
    lc_text_init(&out);
    assert_ok(lc_files_create(s.files, "me", draft, &wish, &out, &test_err));
    (void)snprintf(id, sizeof id, "%s", member(&out, "id"));
    lc_text_release(&out);
    now += LC_MIN_EXPIRY_SECONDS - 1;
    lc_files_poke(s.files);
    (void)usleep(50000);
    assert_int_equal(get(&s, "me", id, &out), LC_OK);
    lc_text_release(&out);
    now += 1;
    lc_files_poke(s.files);
    wait_count(&s, "files", 1);
    assert_int_equal(get(&s, "me", id, &out), LC_ERR_NOT_FOUND);
    assert_int_equal(count_rows(&s), 2); /* lists can go on behind it for an hour */
    now += LC_FILE_TOMBSTONE_SECONDS;
    for (int i = 0; i < 2000 && count_rows(&s) != 1; i++) {
        lc_files_poke(s.files);
        (void)usleep(5000);
    }
    assert_int_equal(count_rows(&s), 1);
    stop(&s);
}

/* A job's results are a file that grows; deleting it leaves the job's own file alone. */
static void test_results(void **state)
{
    (void)state;
    service s = start((lc_files_options){0});
    static const char id[] = "file-00000000000000000000000000000001";
    char path[LC_MAX_PATH_BYTES], filename[LC_MAX_FILENAME_BYTES + 1];
    lc_text out;
    run_sql(&s,
            "INSERT INTO files (id, owner, filename, purpose, created_at, status, path) VALUES"
            " (?1, 'me', 'results.csv', 'fine-tune-results', 1, 'processed',"
            " 'jobs/j/run/results.csv')",
            LC_BIND(lc_sql_text(id)));
    assert_int_equal(get(&s, "me", id, &out), LC_OK);
    assert_string_equal(member(&out, "bytes"), "0");
    lc_text_release(&out);
    assert_ok(lc_mkdir_parents(in_data(&s, "jobs/j/run"), &test_err));
    test_write_file(in_data(&s, "jobs/j/run/results.csv"), "step\n", 5);
    assert_int_equal(get(&s, "me", id, &out), LC_OK);
    assert_string_equal(member(&out, "bytes"), "5");
    lc_text_release(&out);
    assert_ok(lc_files_content(s.files, "me", id, path, filename, &test_err));
    assert_string_equal(path, in_data(&s, "jobs/j/run/results.csv"));
    assert_ok(lc_files_delete(s.files, "me", id, &out, &test_err));
    lc_text_release(&out);
    now += LC_FILE_TOMBSTONE_SECONDS;
    for (int i = 0; i < 2000 && count_rows(&s) != 0; i++) {
        lc_files_poke(s.files);
        (void)usleep(5000);
    }
    assert_int_equal(count_rows(&s), 0);
    assert_true(lc_path_exists(in_data(&s, "jobs/j/run/results.csv")));
    stop(&s);
}

/* ---- restarts and faults ---- */

static void test_restart(void **state)
{
    (void)state;
    service s = start((lc_files_options){0});
    lc_text out;
    const char *id = add(&s, "me", "fine-tune", ROWS);
    wait_checked(&s, "me", id, &out);
    lc_text_release(&out);
    run_sql(&s, "UPDATE files SET status = 'pending'", LC_BIND_NONE);
    stop(&s);
    /* left by a kill while receiving, and between rename and row; what is not ours stays */
    test_write_file(in_data(&s, "tmp/file-0123456789abcdef0123456789abcdef"), "x", 1);
    test_write_file(in_data(&s, "tmp/other"), "x", 1);
    test_write_file(in_data(&s, "files/file-0123456789abcdef0123456789abcdef"), "x", 1);
    test_write_file(in_data(&s, "files/README"), "x", 1);
    open_service(&s, (lc_files_options){0});
    wait_checked(&s, "me", id, &out);
    assert_string_equal(member(&out, "status"), "processed");
    lc_text_release(&out);
    assert_int_equal(count_in(&s, "tmp"), 1);
    assert_int_equal(count_in(&s, "files"), 2);
    stop(&s);
}

/* Every I/O call of an upload fails once: no file, no row, nothing left. */
static void test_io_faults(void **state)
{
    (void)state;
    service s = start((lc_files_options){0});
    static const int errors[] = {EIO, ENOSPC};
    for (int kind = 0; kind < 2; kind++) {
        lc_code code = LC_ERR_IO;
        int trials = 0;
        for (int64_t at = 1; code != LC_OK; at++, trials++) {
            lc_text out;
            lc_err_clear(&test_err);
            lc_fault_set(LC_FAULT_IO, at, errors[kind], false);
            code = create(&s, "me", "a", "batch", "12345", 5, &out, &test_err);
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            lc_text_release(&out);
            if (code != LC_OK) {
                assert_int_equal(code, errors[kind] == EIO ? LC_ERR_IO : LC_ERR_DISK_FULL);
                assert_int_equal(count_in(&s, "files"), kind);
                assert_int_equal(count_in(&s, "tmp"), 0);
                assert_int_equal(count_rows(&s), kind);
            }
        }
        assert_true(trials >= 6); /* open, write, fsync, close, rename, and the folder's fsync */
    }
    stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),         cmocka_unit_test(test_form_refused),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_training_file_quota),
        cmocka_unit_test(test_largest_file), cmocka_unit_test(test_check),
        cmocka_unit_test(test_list),         cmocka_unit_test(test_owners),
        cmocka_unit_test(test_delete),       cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_results),      cmocka_unit_test(test_restart),
        cmocka_unit_test(test_io_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
