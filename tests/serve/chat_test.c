/* Chats through the whole server, with a worker that this program plays itself: answers as a whole
 * and streamed, deployments, adapters that make room for each other. */
// ctest: threads
#include "chat_fixture.h"

#include <pthread.h>
#include <sys/stat.h>

static void test_whole(void **state)
{
    (void)state;
    struct stat status;
    start();
    assert_int_equal(stat(data_dir, &status), 0); /* nobody else's to read */
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(chat(V1, "small", "h\\u00e9 \\\"x\\\"", ""), 200);
    http_has("{\"id\": \"chatcmpl-");
    http_has("\"object\": \"chat.completion\"");
    http_has("\"model\": \"small\"");
    http_has("\"choices\": [{\"index\": 0, \"message\": {\"role\": \"assistant\", \"content\": "
             "\"base:h\xc3\xa9 \\\"x\\\"\", \"refusal\": null}, \"logprobs\": null, "
             "\"finish_reason\": \"length\"}]");
    http_has("\"usage\": {\"prompt_tokens\": 5, \"completion_tokens\": 7, \"total_tokens\": 12, ");
    assert_int_equal(chat(CLASSIC, "ignored", "hi", ", \"n\": 2, \"logprobs\": true"), 200);
    http_has("\"index\": 1, \"message\": {\"role\": \"assistant\", \"content\": \"base:hi\"");
    http_has("\"logprobs\": {\"content\": [{\"token\": \"a\"");
    assert_int_equal(chat(V1, "small", "fail", ""), 400);
    http_has("\"message\": \"no\", \"param\": \"messages\"");
    assert_int_equal(chat(V1, "nobody", "hi", ""), 404);
    http_has("\"code\": \"DeploymentNotFound\"");
    assert_true(log_has("environment: none error")); /* a stated part of ours */
    assert_int_equal(chat(V1, ".hidden", "hi", ""), 404);
    assert_int_equal(chat(V1, "../models/small", "hi", ""), 404);
    stop();
}

/* A job and its two checkpoints: the last is the model itself. */
static void add_checkpoints(const char *model)
{
    char dir[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(data_dir, "adapters/first", dir, &test_err));
    assert_ok(lc_mkdir_parents(dir, &test_err));
    run_sql("INSERT INTO jobs (id, owner, status, created_at, model, base, model_name,"
            " training_file, seed, n_epochs, batch_size, learning_rate_multiplier)"
            " VALUES ('ftjob-1', '', 'succeeded', 1, 'small', 'small', ?1, 'f', 1, 1, 1, 1.0)",
            model);
    run_sql("INSERT INTO checkpoints (id, job_id, created_at, step_number, name, metrics, path)"
            " VALUES ('ftchkpt-1', 'ftjob-1', 1, 1, ?1 || ':ckpt-step-1', '{}', 'adapters/first')",
            model);
    run_sql("INSERT INTO checkpoints (id, job_id, created_at, step_number, name, metrics, path)"
            " VALUES ('ftchkpt-2', 'ftjob-1', 1, 2, ?1, '{}', 'adapters/' || ?1)",
            model);
}

/* The same names wherever a model is named: a base's in any case, a checkpoint's or its id. */
static void test_names(void **state)
{
    (void)state;
    start();
    make_base("Two words+1");
    add_model("small.ft-0", true);
    add_checkpoints("small.ft-0");
    assert_int_equal(http_ask("GET", "/openai/v1/models", NULL, NULL), 200);
    http_has("\"id\": \"Two words+1\"");
    assert_int_equal(chat(V1, "two Words+1", "hi", ""), 200);
    http_has("\"model\": \"Two words+1\"");
    assert_int_equal(http_ask("GET", "/openai/v1/models/SMALL", NULL, NULL), 200);
    http_has("\"id\": \"small\"");
    assert_int_equal(chat(V1, "ftchkpt-1", "hi", ""), 200);
    http_has("\"content\": \"small.ft-0:ckpt-step-1:hi\"");
    assert_int_equal(http_ask("POST", "/openai/deployments", NULL,
                              "{\"model\": \"ftchkpt-1\", \"name\": \"first\"}"),
                     201);
    http_has("\"model\": \"small.ft-0:ckpt-step-1\"");
    assert_int_equal(chat(V1, "first", "hi", ""), 200);
    http_has("\"content\": \"small.ft-0:ckpt-step-1:hi\"");
    /* deployed by the id of its last checkpoint, it is the model that is deployed */
    assert_int_equal(http_ask("POST", "/openai/deployments", NULL,
                              "{\"model\": \"ftchkpt-2\", \"name\": \"last\"}"),
                     201);
    assert_int_equal(http_ask("DELETE", "/openai/v1/models/small.ft-0", NULL, NULL), 400);
    assert_int_equal(http_ask("DELETE", "/openai/deployments/last", NULL, NULL), 204);
    /* one that is deleted answers no more, by whatever name */
    assert_int_equal(http_ask("DELETE", "/openai/v1/models/small.ft-0", NULL, NULL), 200);
    assert_int_equal(chat(V1, "small.ft-0", "hi", ""), 404);
    assert_int_equal(chat(V1, "ftchkpt-2", "hi", ""), 404);
    assert_int_equal(http_ask("POST", "/openai/deployments", NULL,
                              "{\"model\": \"small.ft-0\", \"name\": \"gone\"}"),
                     404);
    assert_int_equal(chat(V1, "first", "hi", ""), 200);
    stop();
}

static void test_streamed(void **state)
{
    (void)state;
    start();
    assert_int_equal(chat(V1, "small", "hi", ", \"stream\": true"), 200);
    http_has("Content-Type: text/event-stream");
    http_has("\"object\": \"chat.completion.chunk\"");
    http_has("\"delta\": {\"role\": \"assistant\", \"content\": \"\"}, \"logprobs\": null, "
             "\"finish_reason\": null}]}\n\n");
    http_has("\"delta\": {\"content\": \"base:\"}");
    http_has("\"delta\": {\"content\": \"hi\"}");
    http_has("\"delta\": {}, \"logprobs\": null, \"finish_reason\": \"length\"}]}\n\n");
    http_has("data: [DONE]\n\n");
    http_lacks("usage");
    assert_int_equal(
        chat(V1, "small", "hi",
             ", \"n\": 2, \"stream\": true, \"stream_options\": {\"include_usage\": true}"),
        200);
    http_has("\"index\": 1");
    http_has("\"choices\": [], \"usage\": {\"prompt_tokens\": 5");
    assert_int_equal(chat(V1, "small", "fail", ", \"stream\": true"), 400);
    http_has("Content-Type: application/json");
    assert_int_equal(chat(V1, "small", "cut", ", \"stream\": true"), 200);
    http_has("data: {\"error\": {\"code\": \"serviceUnavailable\"");
    http_lacks("[DONE]");
    stop();
}

static void test_requests(void **state)
{
    (void)state;
    static const struct {
        const char *members, *param; /* param NULL: it is fine */
    } cases[] = {
        {"\"temperature\": 0", NULL},
        {"\"temperature\": 2", NULL},
        {"\"temperature\": 2.01", "temperature"},
        {"\"temperature\": \"hot\"", "temperature"},
        {"\"temperature\": null, \"stop\": null, \"n\": null, \"seed\": null", NULL},
        {"\"top_p\": 0", NULL},
        {"\"top_p\": 1", NULL},
        {"\"top_p\": 1.1", "top_p"},
        {"\"max_tokens\": 1", NULL},
        {"\"max_tokens\": 0", "max_tokens"},
        {"\"max_completion_tokens\": 5", NULL},
        {"\"max_tokens\": 5, \"max_completion_tokens\": 5", "max_tokens"},
        {"\"n\": 16", NULL},
        {"\"n\": 17", "n"},
        {"\"n\": 0", "n"},
        {"\"seed\": -1", NULL},
        {"\"seed\": 9223372036854775807", NULL},
        {"\"seed\": -9223372036854775808", NULL},
        {"\"seed\": 18446744073709551616", "seed"},
        {"\"seed\": \"1\"", "seed"},
        {"\"seed\": 1.5", "seed"},
        {"\"stop\": \"x\"", NULL},
        {"\"stop\": \"\"", "stop"},
        {"\"stop\": [\"1\", \"2\", \"3\", \"4\"]", NULL},
        {"\"stop\": [\"1\", \"2\", \"3\", \"4\", \"5\"]", "stop"},
        {"\"stop\": [1]", "stop"},
        {"\"logprobs\": true, \"top_logprobs\": 20", NULL},
        {"\"logprobs\": true, \"top_logprobs\": 21", "top_logprobs"},
        {"\"top_logprobs\": 1", "top_logprobs"},
        {"\"logprobs\": 1", "logprobs"},
        {"\"stream\": \"yes\"", "stream"},
        {"\"stream_options\": {}", "stream_options"},
        {"\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]", NULL},
        {"\"tools\": [{\"type\": \"web\"}]", "tools"},
        {"\"tools\": {}", "tools"},
        {"\"tool_choice\": \"none\"", NULL},
        {"\"tool_choice\": \"required\"", "tool_choice"},
        {"\"response_format\": {\"type\": \"text\"}", NULL},
        {"\"response_format\": {\"type\": \"json_object\"}", "response_format"},
        {"\"presence_penalty\": 0, \"frequency_penalty\": 0.0, \"logit_bias\": {}", NULL},
        {"\"presence_penalty\": 3", "presence_penalty"},
        {"\"user\": \"u\", \"metadata\": {}, \"store\": false", NULL},
        {"\"top_k\": 5", "top_k"},
    };
    start();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char more[512], param[64];
        (void)snprintf(more, sizeof more, ", %s", cases[i].members);
        const int status = chat(V1, "small", "hi", more);
        if (status != (cases[i].param == NULL ? 200 : 400)) {
            fail_msg("%s gave %d: %.500s", cases[i].members, status, http_answer);
        }
        if (cases[i].param != NULL) {
            (void)snprintf(param, sizeof param, "\"param\": \"%s\"", cases[i].param);
            http_has(param);
        }
    }
    static const struct {
        const char *messages;
        int status;
    } messages[] = {
        {"[]", 400},
        {"{}", 400},
        {"[1]", 400},
        {"[{\"content\": \"x\"}]", 400},
        {"[{\"role\": \"user\"}]", 400},
        {"[{\"role\": \"user\", \"content\": 5}]", 400},
        {"[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": "
         "\"text\", \"text\": \"b\"}]}]",
         200},
        {"[{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {}}]}]",
         400},
        {"[{\"role\": \"assistant\", \"content\": null, \"tool_calls\": []}, {\"role\": \"tool\", "
         "\"content\": \"x\"}]",
         200},
        {"[{\"role\": \"user\", \"content\": \"a\", \"name\": null}]", 200},
    };
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        char body[1024];
        (void)snprintf(body, sizeof body, "{\"model\": \"small\", \"messages\": %s}",
                       messages[i].messages);
        const int status = http_ask("POST", V1, NULL, body);
        if (status != messages[i].status) {
            fail_msg("%s gave %d: %.500s", messages[i].messages, status, http_answer);
        }
    }
    assert_int_equal(http_ask("POST", V1, NULL, "{\"model\": \"small\"}"), 400);
    assert_int_equal(http_ask("POST", V1, NULL, "{\"messages\": []}"), 400);
    assert_int_equal(http_ask("POST", V1, NULL, ""), 400);
    stop();
}

static void test_deployments(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 4; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "small.ft-%d", i);
        add_model(name, i < 3);
    }
    assert_int_equal(http_ask("GET", "/openai/v1/models", NULL, NULL), 200);
    http_has("\"id\": \"small.ft-0\"");
    http_has("\"model\": \"small\", \"fine_tune\": \"ftjob-1\"");
    http_has("\"id\": \"other\"");
    http_lacks("hidden");
    /* the classic way: a name is drawn, or given */
    assert_int_equal(http_ask("POST", "/openai/deployments?api-version=2022-12-01", NULL,
                              "{\"model\": \"small.ft-0\", \"scale_settings\": {\"scale_type\": "
                              "\"manual\", \"capacity\": 1}}"),
                     201);
    http_has("\"id\": \"deployment-");
    http_has("Location: /openai/deployments/deployment-");
    assert_int_equal(http_ask("POST", "/openai/deployments", NULL,
                              "{\"model\": \"small.ft-0\", \"name\": \"zero\"}"),
                     201);
    assert_int_equal(chat(V1, "zero", "hi", ""), 200);
    http_has("\"content\": \"small.ft-0:hi\"");
    http_has("\"model\": \"small\"");
    assert_int_equal(chat(V1, "small.ft-0", "hi", ""), 200);
    assert_int_equal(http_ask("GET", "/openai/deployments/zero", NULL, NULL), 200);
    http_has("\"status\": \"succeeded\"");
    /* the control plane's */
    static const char arm[] =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices"
        "/accounts/a/deployments/one?api-version=2024-10-01";
    static const char body[] =
        "{\"sku\": {\"name\": \"GlobalStandard\", \"capacity\": 10}, \"properties\": {\"model\": "
        "{\"format\": \"OpenAI\", \"name\": \"small.ft-1\", \"version\": \"1\"}}}";
    assert_int_equal(http_ask("PUT", arm, NULL, body), 201);
    http_has("\"provisioningState\": \"Accepted\"");
    http_has("\"id\": \"/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices"
             "/accounts/a/deployments/one\"");
    assert_int_equal(http_ask("PUT", arm, NULL, body), 200);
    assert_int_equal(chat(V1, "one", "hi", ""), 200);
    http_has("\"content\": \"small.ft-1:hi\"");
    assert_int_equal(http_ask("GET", arm, NULL, NULL), 200);
    http_has("\"provisioningState\": \"Succeeded\"");
    http_has("\"sku\": {\"name\": \"GlobalStandard\", \"capacity\": 10}");
    /* a third adapter takes the place of the one that was used longest ago */
    assert_int_equal(chat(V1, "small.ft-2", "hi", ""), 200);
    assert_true(log_has("drop small.ft-0"));
    assert_int_equal(chat(V1, "zero", "hi", ""), 200);
    assert_true(log_has("drop small.ft-1"));
    /* one that cannot be loaded: its first chat learns why, too */
    add_model("small.ft-4", false);
    assert_int_equal(chat(V1, "small.ft-4", "hi", ""), 404);
    http_lacks("no adapter of that name");
    assert_int_equal(http_ask("POST", "/openai/deployments", NULL,
                              "{\"model\": \"small.ft-3\", \"name\": \"three\"}"),
                     201);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(http_ask("GET", "/openai/deployments/three", NULL, NULL), 200);
        if (strstr(http_answer, "\"status\": \"failed\"") != NULL) {
            break;
        }
        pause_ms(50);
    }
    http_has("\"status\": \"failed\"");
    assert_int_equal(chat(V1, "three", "hi", ""), 404);
    http_has("The model 'small.ft-3' cannot be loaded.");
    http_lacks(data_dir);
    /* lists, deletes */
    assert_int_equal(http_ask("GET", "/openai/deployments", NULL, NULL), 200);
    http_has("\"id\": \"three\"");
    assert_int_equal(http_ask("DELETE", "/openai/v1/models/small.ft-0", NULL, NULL), 400);
    http_has("unexpectedEntityState");
    assert_int_equal(http_ask("DELETE", "/openai/v1/models/small", NULL, NULL), 400);
    assert_int_equal(http_ask("DELETE", "/openai/v1/models/small.ft-2", NULL, NULL), 200);
    assert_int_equal(http_ask("DELETE", "/openai/v1/models/small.ft-2", NULL, NULL), 404);
    assert_int_equal(http_ask("DELETE", "/openai/deployments/zero", NULL, NULL), 204);
    assert_int_equal(http_ask("DELETE", "/openai/deployments/zero", NULL, NULL), 404);
    assert_int_equal(http_ask("DELETE", arm, NULL, NULL), 200);
    assert_int_equal(http_ask("DELETE", arm, NULL, NULL), 204);
    assert_int_equal(chat(V1, "zero", "hi", ""), 404);
    /* what is no deployment */
    static const char *const bad[] = {"{}",
                                      "{\"model\": 5}",
                                      "{\"model\": \"nobody\"}",
                                      "{\"model\": \"small\", \"name\": \"a/b\"}",
                                      "{\"model\": \"small\", \"name\": \"\"}",
                                      ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int status = http_ask("POST", "/openai/deployments", NULL, bad[i]);
        assert_true(status == 400 || status == 404);
    }
    assert_int_equal(http_ask("PUT", arm, NULL, "{\"properties\": {\"model\": {}}}"), 400);
    stop();
}

/* A load that fails ends the chats that wait for it, with its reason; where room is what it lacked,
 * the next try takes the place of another one. */
static void test_loads_that_fail(void **state)
{
    (void)state;
    start();
    add_model("small.ft-light", true);
    add_model("small.ft-heavy", true);
    add_model("small.ft-gone", false);
    assert_int_equal(chat(V1, "small.ft-light", "hi", ""), 200);
    assert_int_equal(chat(V1, "small.ft-heavy", "hi", ""), 429);
    http_has("There is no room for the model");
    assert_int_equal(chat(V1, "small.ft-heavy", "hi", ""), 200);
    http_has("\"content\": \"small.ft-heavy:hi\"");
    assert_true(log_has("drop small.ft-light"));
    assert_int_equal(chat(V1, "small.ft-gone", "hi", ""), 404);
    http_has("small.ft-gone' cannot be loaded");
    assert_int_equal(chat(V1, "small", "hi", ""), 200);
    stop();
}

/* Waiting would not help: 400, and one that is there can still be changed. */
static void test_most_deployments(void **state)
{
    (void)state;
    static const char first[] = "{\"model\": \"small\", \"name\": \"first\"}";
    static const char last[] = "{\"model\": \"small\", \"name\": \"last\"}";
    start();
    run_sql("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 + 0)"
            " INSERT INTO deployments (owner, name, model, created_at, updated_at)"
            " SELECT '', 'd' || i, 'small', 1, 1 FROM n",
            "99");
    assert_int_equal(http_ask("POST", "/openai/deployments", NULL, first), 201);
    assert_int_equal(http_ask("POST", "/openai/deployments", NULL, last), 400);
    http_has("\"param\": \"deployment\"");
    assert_int_equal(http_ask("POST", "/openai/deployments", NULL, first), 201);
    stop();
}

static void *stop_it(void *context)
{
    (void)context;
    stop();
    return NULL;
}

/* Whoever keeps a connection may still ask while the server ends: chats are refused, what needs the
 * store alone is done. */
static void test_requests_at_the_end(void **state)
{
    (void)state;
    static const char body[] =
        "{\"model\": \"small\", \"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}";
    static const char list[] = "GET /openai/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const char cancel[] = "POST /openai/v1/fine_tuning/jobs/ftjob-1/cancel HTTP/1.1\r\n"
                                 "Host: localhost\r\nContent-Length: 0\r\n\r\n";
    char head[256];
    pthread_t thread;
    start();
    run_sql("INSERT INTO jobs (id, owner, status, created_at, model, base, model_name,"
            " training_file, seed, n_epochs, batch_size, learning_rate_multiplier)"
            " VALUES ('ftjob-1', '', 'pending', 1, ?1, 'm', 'm', 'f', 1, 1, 1, 1.0)",
            "m");
    assert_int_equal(chat(V1, "small", "linger", ""), 200);
    const int fd = http_connect();
    assert_true(http_put(fd, list, sizeof list - 1));
    assert_true(http_read_until(fd, "\"has_more\": false}"));
    assert_int_equal(pthread_create(&thread, NULL, stop_it, NULL), 0);
    pause_ms(700); /* the supervisor has stopped, the worker has not */
    assert_true(http_put(fd, cancel, sizeof cancel - 1));
    assert_true(http_read_until(fd, "\"status\": \"cancelled\""));
    (void)snprintf(head, sizeof head,
                   "POST " V1 " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
                   sizeof body - 1);
    assert_true(http_put(fd, head, strlen(head)));
    assert_true(http_put(fd, body, sizeof body - 1));
    assert_true(http_read_until(fd, "being stopped; ask again"));
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)close(fd);
}

static void test_open_errors(void **state)
{
    (void)state;
    lc_server *other = NULL;
    start();
    lc_serve_options options = {.data_dir = data_dir,
                                .models_dir = models_dir,
                                .program = self,
                                .address = "127.0.0.1",
                                .threads = 1,
                                .connections = 8,
                                .worker = {.device = "cpu"}};
    assert_fails(lc_server_open(&options, &other, &test_err), LC_ERR_BUSY, data_dir);
    options.data_dir = test_dir();
    options.address = "0.0.0.0";
    assert_fails(lc_server_open(&options, &other, &test_err), LC_ERR_USAGE, "lorac keys add");
    options.address = "127.0.0.1";
    options.key_file = "key.pem";
    assert_fails(lc_server_open(&options, &other, &test_err), LC_ERR_USAGE, "go together");
    options.key_file = NULL;
    options.models_dir = "/nowhere";
    assert_fails(lc_server_open(&options, &other, &test_err), LC_ERR_NOT_FOUND, "/nowhere");
    stop();
}

int main(int argc, char **argv)
{
    const int played = play_worker(argc, argv);
    if (played >= 0) {
        return played;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_streamed),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_deployments),
        cmocka_unit_test(test_loads_that_fail),
        cmocka_unit_test(test_most_deployments),
        cmocka_unit_test(test_requests_at_the_end),
        cmocka_unit_test(test_open_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
