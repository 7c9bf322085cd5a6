/*
 * What the tests of jobs share: a store in a fresh directory, base models, files of an owner, calls
 * that must succeed and give their JSON.
 */
#ifndef TESTS_SERVE_JOBS_FIXTURE_H
#define TESTS_SERVE_JOBS_FIXTURE_H

#include "testing.h"

#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "lorac/mem.h"
#include "serve/jobs.h"
#include "serve/transitions.h"

static lc_store *store;
static char data_dir[LC_MAX_PATH_BYTES];
static lc_jobs_options options = {.queued_limit = 20, .queued_limit_per_key = 20};

static inline const char *in_data(const char *format, ...) LC_PRINTF(1, 2);
static inline const char *in_data(const char *format, ...)
{
    static char path[LC_MAX_PATH_BYTES * 2];
    va_list arguments;
    const int length = snprintf(path, sizeof path, "%s/", data_dir);
    va_start(arguments, format);
    (void)vsnprintf(path + length, sizeof path - (size_t)length, format, arguments);
    va_end(arguments);
    return path;
}

static inline int open_jobs(void **state)
{
    (void)state;
    const char *dir = test_dir();
    (void)snprintf(data_dir, sizeof data_dir, "%s/data", dir);
    assert_ok(lc_store_open(data_dir, &store, &test_err));
    assert_ok(lc_mkdir(in_data("files"), &test_err));
    options.models_dir = LC_SOURCE_DIR "/models";
    return 0;
}

static inline int close_jobs(void **state)
{
    (void)state;
    lc_store_close(store);
    store = NULL;
    return 0;
}

static inline void run_sql(const char *sql, const char *a, const char *b)
{
    lc_db *db = NULL;
    assert_ok(lc_store_begin(store, &db, &test_err));
    if (b == NULL) {
        assert_ok(lc_db_run(db, sql, LC_BIND(lc_sql_text(a)), &test_err));
    } else {
        assert_ok(lc_db_run(db, sql, LC_BIND(lc_sql_text(a), lc_sql_text(b)), &test_err));
    }
    assert_ok(lc_store_commit(&db, &test_err));
}

/* A file as an upload leaves it. */
static inline void add_file(const char *owner, const char *id, const char *purpose,
                            const char *status, const char *text)
{
    char path[LC_MAX_PATH_BYTES];
    lc_db *db = NULL;
    test_write_file(in_data("files/%s", id), text, strlen(text));
    (void)snprintf(path, sizeof path, "files/%s", id);
    assert_ok(lc_store_begin(store, &db, &test_err));
    assert_ok(lc_db_run(db,
                        "INSERT INTO files (id, owner, filename, purpose, bytes, created_at, "
                        "status, path) VALUES (?1, ?2, 'a.jsonl', ?3, ?4, 1, ?5, ?6)",
                        LC_BIND(lc_sql_text(id), lc_sql_text(owner), lc_sql_text(purpose),
                                lc_sql_int((int64_t)strlen(text)), lc_sql_text(status),
                                lc_sql_text(path)),
                        &test_err));
    assert_ok(lc_store_commit(&db, &test_err));
}

static inline cJSON *parse(lc_text *text)
{
    cJSON *tree = NULL;
    assert_ok(lc_json_parse(text->data, text->length, LC_JSON_DEFAULT, "answer", &tree, &test_err));
    lc_text_release(text);
    return tree;
}

/* CALL(store, ..., &out, err) that must succeed. */
#define answer(call, ...)                                      \
    __extension__({                                            \
        lc_text out_;                                          \
        lc_text_init(&out_);                                   \
        assert_ok(call(store, __VA_ARGS__, &out_, &test_err)); \
        parse(&out_);                                          \
    })
/* One that must fail. */
#define refuse(code, text, call, ...)                                         \
    do {                                                                      \
        lc_text out_;                                                         \
        lc_text_init(&out_);                                                  \
        assert_fails(call(store, __VA_ARGS__, &out_, &test_err), code, text); \
        lc_text_release(&out_);                                               \
    } while (0)

static inline cJSON *body_of(const char *text)
{
    cJSON *body = NULL;
    assert_ok(lc_json_parse(text, strlen(text), LC_JSON_DEFAULT, "body", &body, &test_err));
    return body;
}

static inline cJSON *create(const char *owner, const char *text)
{
    cJSON *body = body_of(text);
    cJSON *job = answer(lc_jobs_create, &options, owner, body);
    cJSON_Delete(body);
    return job;
}

static inline const char *text_of(const cJSON *object, const char *key)
{
    const char *text = NULL;
    assert_ok(lc_json_string(object, key, true, &text, &test_err));
    return text;
}

static inline int64_t int_of(const cJSON *object, const char *key)
{
    int64_t value = 0;
    assert_ok(
        lc_json_int(object, key, true, INT64_MIN / 1024, INT64_MAX / 1024, &value, &test_err));
    return value;
}

/* The id of a new job, in a buffer that the next four calls leave alone. */
static inline const char *create_id(const char *owner, const char *text)
{
    static char ids[4][LC_ID_BYTES];
    static int next;
    char *id = ids[next++ % 4];
    cJSON *job = create(owner, text);
    (void)snprintf(id, LC_ID_BYTES, "%s", text_of(job, "id"));
    cJSON_Delete(job);
    return id;
}

#endif
