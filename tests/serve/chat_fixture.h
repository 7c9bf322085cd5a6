/*
 * What the tests of chats share: a worker that the test program plays itself, a server with it,
 * rows in its store.
 */
#ifndef TESTS_SERVE_CHAT_FIXTURE_H
#define TESTS_SERVE_CHAT_FIXTURE_H

#include "testing.h"

#include <signal.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "http_client.h"
#include "serve/server.h"

/* ---- the worker: `PROGRAM worker ...` ---- */

/* Says the adapter's name, then the last message, in two pieces. "die": ends. "wait": says nothing
 * until it is cancelled. "fail": an error. "cut": dies after the first piece. "linger": takes its
 * time at the end of its input; "slow": before it answers. */
static bool lingers;
static char missing[64]; /* the adapter that could not be loaded */

static inline void say(const cJSON *line)
{
    const char *id = cJSON_GetStringValue(lc_json_get(line, "id"));
    const char *adapter = cJSON_GetStringValue(lc_json_get(line, "adapter"));
    const cJSON *messages = lc_json_get(line, "messages");
    const cJSON *last = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
    const char *text = cJSON_GetStringValue(lc_json_get(last, "content"));
    const cJSON *n = lc_json_get(line, "n");
    const int choices = cJSON_IsNumber(n) ? (int)n->valuedouble : 1;
    if (adapter != NULL && strcmp(adapter, missing) == 0) {
        printf("{\"event\": \"error\", \"id\": \"%s\", \"code\": \"not_found\", \"message\": "
               "\"no adapter of that name\", \"param\": \"adapter\"}\n",
               id);
        return;
    }
    if (strcmp(text, "die") == 0) {
        exit(9);
    }
    if (strcmp(text, "wait") == 0) {
        return;
    }
    pause_ms(strcmp(text, "slow") == 0 ? 1500 : 0);
    lingers = lingers || strcmp(text, "linger") == 0;
    if (strcmp(text, "fail") == 0) {
        printf("{\"event\": \"error\", \"id\": \"%s\", \"code\": \"invalid\", \"message\": \"no\", "
               "\"param\": \"messages\"}\n",
               id);
        return;
    }
    for (int i = 0; i < choices; i++) {
        printf("{\"event\": \"delta\", \"id\": \"%s\", \"index\": %d, \"content\": \"%s:\", "
               "\"logprobs\": [{\"token\": \"a\", \"logprob\": -0.5, \"bytes\": [97], "
               "\"top_logprobs\": []}]}\n",
               id, i, adapter != NULL ? adapter : "base");
        if (strcmp(text, "cut") == 0) {
            (void)fflush(stdout);
            pause_ms(100);
            exit(9);
        }
        lc_text quoted;
        lc_text_init(&quoted);
        lc_text_add_json_string(&quoted, text, strlen(text));
        printf("{\"event\": \"delta\", \"id\": \"%s\", \"index\": %d, \"content\": %s}\n", id, i,
               quoted.data);
        lc_text_release(&quoted);
        printf("{\"event\": \"finish\", \"id\": \"%s\", \"index\": %d, \"finish_reason\": "
               "\"length\"}\n",
               id, i);
    }
    printf("{\"event\": \"done\", \"id\": \"%s\", \"prompt_tokens\": 5, \"completion_tokens\": 7, "
           "\"cached_tokens\": 2}\n",
           id);
}

/* A "heavy" one has room only by itself. */
static inline const char *why_not(const char *adapter, const char *dir, int loaded)
{
    const bool is_heavy = strstr(adapter, "heavy") != NULL;
    return !lc_path_is_dir(dir)     ? "\"not_found\", \"message\": \"it is not there\""
           : is_heavy && loaded > 0 ? "\"busy\", \"message\": \"no memory for it\""
                                    : NULL;
}

static inline void play(const cJSON *line)
{
    static int loaded;
    const char *op = cJSON_GetStringValue(lc_json_get(line, "op"));
    const char *adapter = cJSON_GetStringValue(lc_json_get(line, "adapter"));
    const char *id = cJSON_GetStringValue(lc_json_get(line, "id"));
    if (strcmp(op, "load") == 0) {
        const char *dir = cJSON_GetStringValue(lc_json_get(line, "dir"));
        fprintf(stderr, "load %s\n", adapter);
        const char *why = why_not(adapter, dir, loaded);
        if (why == NULL) {
            printf("{\"event\": \"loaded\", \"adapter\": \"%s\"}\n", adapter);
            loaded++;
            missing[0] = '\0';
        } else {
            (void)snprintf(missing, sizeof missing, "%s", adapter);
            printf("{\"event\": \"error\", \"adapter\": \"%s\", \"code\": %s}\n", adapter, why);
        }
    } else if (strcmp(op, "drop") == 0) {
        fprintf(stderr, "drop %s\n", adapter);
        loaded--;
    } else if (strcmp(op, "cancel") == 0) {
        fprintf(stderr, "cancel\n");
        printf("{\"event\": \"error\", \"id\": \"%s\", \"code\": \"interrupted\", \"message\": "
               "\"cancelled\"}\n",
               id);
    } else if (strcmp(op, "chat") == 0) {
        say(line);
    }
    (void)fflush(stdout);
}

/* One of the model "bad" cannot begin. */
static inline int run_worker(const char *model)
{
    static char line[1 << 20];
    lc_json_init();
    const char *rank = getenv("RANK"), *log = getenv("LORAC_LOG");
    fprintf(stderr, "environment: %s %s\n", rank != NULL ? rank : "none",
            log != NULL ? log : "none");
    if (strstr(model, "/bad") != NULL) {
        printf("{\"event\": \"error\", \"code\": \"invalid\", \"message\": "
               "\"%s/config.json: a strange model\", \"param\": \"\"}\n",
               model);
        return 3;
    }
    printf("{\"event\": \"ready\", \"slots\": 4, \"context\": 64, \"memory_bytes\": 1, "
           "\"adapters\": 2}\n");
    (void)fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        cJSON *parsed = cJSON_Parse(line);
        play(parsed);
        cJSON_Delete(parsed);
    }
    pause_ms(lingers ? 2000 : 0);
    return 0;
}

/* ---- the server ---- */

static lc_server *server;
static double idle_seconds; /* of the next server's workers */
static char data_dir[LC_MAX_PATH_BYTES], models_dir[LC_MAX_PATH_BYTES], self[LC_MAX_PATH_BYTES];

static inline void make_base(const char *name)
{
    char dir[LC_MAX_PATH_BYTES], config[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(models_dir, name, dir, &test_err));
    assert_ok(lc_mkdir_parents(dir, &test_err));
    assert_ok(lc_path_join(dir, "config.json", config, &test_err));
    test_write_file(config, "{}", 2);
}

static inline void start(void)
{
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(length > 0);
    assert_ok(lc_path_join(test_dir(), "data", data_dir, &test_err));
    assert_ok(lc_path_join(test_dir(), "models", models_dir, &test_err));
    make_base("small");
    make_base("other");
    make_base(".hidden");
    const lc_serve_options options = {.data_dir = data_dir,
                                      .models_dir = models_dir,
                                      .program = self,
                                      .address = "127.0.0.1",
                                      .threads = 2,
                                      .connections = 64,
                                      .worker = {.device = "cpu", .idle_seconds = idle_seconds}};
    assert_ok(lc_server_open(&options, &server, &test_err));
    char url[256];
    lc_server_url(server, url, sizeof url);
    http_port = (int)strtol(strrchr(url, ':') + 1, NULL, 10);
}

static inline void stop(void)
{
    lc_server_close(server);
    server = NULL;
}

/* What the worker of "small" has written to its log. */
static inline bool log_has(const char *text)
{
    char path[LC_MAX_PATH_BYTES], *log = NULL;
    size_t bytes = 0;
    bool has = false;
    assert_ok(lc_path_join(data_dir, "workers/small.log", path, &test_err));
    for (int i = 0; i < 400 && !has; i++) {
        assert_ok(lc_file_read(path, 1 << 20, &log, &bytes, &test_err));
        has = strstr(log, text) != NULL;
        lc_free(log);
        pause_ms(has ? 0 : 50);
    }
    return has;
}

/* A fine-tuned model in the store, as a finished job leaves it. */
static inline void add_model(const char *name, bool is_there)
{
    lc_db *db = NULL;
    char dir[LC_MAX_PATH_BYTES], path[LC_MAX_PATH_BYTES];
    lc_store *store = NULL;
    (void)snprintf(path, sizeof path, "adapters/%s", name);
    assert_ok(lc_path_join(data_dir, path, dir, &test_err));
    if (is_there) {
        assert_ok(lc_mkdir_parents(dir, &test_err));
    }
    assert_ok(lc_store_open(data_dir, &store, &test_err));
    assert_ok(lc_store_begin(store, &db, &test_err));
    assert_ok(lc_db_run(db,
                        "INSERT INTO models (id, owner, base, job_id, created_at, path)"
                        " VALUES (?1, '', 'small', 'ftjob-1', 1, ?2)",
                        LC_BIND(lc_sql_text(name), lc_sql_text(path)), &test_err));
    assert_ok(lc_store_commit(&db, &test_err));
    lc_store_close(store);
}

#define V1      "/openai/v1/chat/completions"
#define CLASSIC "/openai/deployments/small/chat/completions?api-version=2024-10-21"

static inline int chat(const char *path, const char *model, const char *text, const char *more)
{
    char body[2048];
    (void)snprintf(
        body, sizeof body,
        "{\"model\": \"%s\", \"messages\": [{\"role\": \"user\", \"content\": \"%s\"}]%s}", model,
        text, more);
    return http_ask("POST", path, NULL, body);
}

static inline void run_sql(const char *sql, const char *text)
{
    lc_db *db = NULL;
    lc_store *store = NULL;
    assert_ok(lc_store_open(data_dir, &store, &test_err));
    assert_ok(lc_store_begin(store, &db, &test_err));
    assert_ok(lc_db_run(db, sql, LC_BIND(lc_sql_text(text)), &test_err));
    assert_ok(lc_store_commit(&db, &test_err));
    lc_store_close(store);
}

/* Of `PROGRAM worker --model DIR ...`; -1: this is the test itself. */
static inline int play_worker(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "worker") == 0) {
        return run_worker(argv[3]);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(setenv("RANK", "3", 1) + setenv("LORAC_LOG", "error", 1), 0);
    return -1;
}

#endif
