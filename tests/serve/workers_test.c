// ctest: threads
/* Workers as the service has them: those that die, that cannot begin, that nobody asks; clients
 * that leave; what /metrics tells of workers and trainers. */
#include "chat_fixture.h"

#include <math.h>
#include <sys/socket.h>

#include "job/figures.h"

static void test_workers_that_die(void **state)
{
    (void)state;
    start();
    assert_int_equal(chat(V1, "small", "hi", ""), 200);
    assert_int_equal(chat(V1, "small", "die", ""), 503);
    http_has("retry-after-ms");
    for (int i = 0; i < 40 && chat(V1, "small", "hi", "") != 200; i++) {
        pause_ms(50); /* until the old one is gone: 429 */
    }
    http_has("base:hi");
    assert_int_equal(http_ask("GET", "/metrics", NULL, NULL), 200);
    http_has("lorac_worker_starts_total{base=\"small\"} 2");
    http_has("lorac_worker_completion_tokens_total{base=\"small\"} 14");
    stop();
}

/* A worker that nobody asks ends, which is no death of it; the next chat starts another. */
static void test_idle_worker(void **state)
{
    (void)state;
    bool is_down = false;
    idle_seconds = 0.5;
    start();
    idle_seconds = 0.0;
    for (int i = 1; i <= LC_MAX_WORKER_DEATHS + 1; i++) {
        char starts[64];
        int status;
        while ((status = chat(V1, "small", "hi", "")) == 429) {
            pause_ms(50); /* the one before is on its way out */
        }
        assert_int_equal(status, 200);
        assert_int_equal(http_ask("GET", "/metrics", NULL, NULL), 200);
        (void)snprintf(starts, sizeof starts, "lorac_worker_starts_total{base=\"small\"} %d\n", i);
        http_has(starts);
        is_down = false;
        for (int wait = 0; wait < 400 && !is_down; wait++) {
            pause_ms(50);
            assert_int_equal(http_ask("GET", "/metrics", NULL, NULL), 200);
            is_down = strstr(http_answer, "lorac_worker_up{base=\"small\"} 0\n") != NULL;
        }
        assert_true(is_down);
    }
    /* one that waits for its answer is not idle */
    static const char body[] =
        "{\"model\": \"small\", \"messages\": [{\"role\": \"user\", \"content\": \"wait\"}]}";
    char head[256];
    (void)snprintf(head, sizeof head,
                   "POST " V1 " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
                   sizeof body - 1);
    int fd = -1;
    for (bool waits = false; !waits;) { /* until the one before is gone: 429 */
        if (fd >= 0) {
            (void)close(fd);
        }
        fd = http_connect();
        assert_true(http_put(fd, head, strlen(head)));
        assert_true(http_put(fd, body, sizeof body - 1));
        pause_ms(200);
        assert_int_equal(http_ask("GET", "/metrics", NULL, NULL), 200);
        waits = strstr(http_answer, "lorac_worker_chats{base=\"small\"} 1\n") != NULL;
    }
    pause_ms(3000);
    assert_int_equal(http_ask("GET", "/metrics", NULL, NULL), 200);
    http_has("lorac_worker_up{base=\"small\"} 1\n");
    (void)close(fd);
    stop();
}

/* What is wrong with a model is said, and not asked again with every chat. */
static void test_model_that_does_not_load(void **state)
{
    (void)state;
    start();
    make_base("bad");
    add_model("small.ft-0", true);
    run_sql("UPDATE models SET base = 'bad' WHERE id = ?1", "small.ft-0");
    static const char *const names[] = {"bad", "small.ft-0"};
    for (int i = 0; i < 6; i++) {
        int status;
        while ((status = chat(V1, names[i % 2], "hi", "")) == 429) {
            pause_ms(50); /* until the worker is gone */
        }
        assert_int_equal(status, 400);
        http_has("\"message\": \"The model cannot be loaded: bad/config.json: a strange model\", "
                 "\"param\": \"model\"");
        http_lacks(models_dir);
    }
    assert_int_equal(http_ask("GET", "/metrics", NULL, NULL), 200);
    http_has("lorac_worker_starts_total{base=\"bad\"} 1");
    assert_int_equal(http_ask("POST", "/openai/deployments", NULL,
                              "{\"model\": \"small.ft-0\", \"name\": \"zero\"}"),
                     400);
    assert_int_equal(chat(V1, "small", "hi", ""), 200);
    stop();
}

/* As a trainer leaves them. */
static void add_figures(const char *job)
{
    char name[128], dir[LC_MAX_PATH_BYTES];
    lc_job_figures figures = {.checkpoint_failures = 3, .gpu_used_bytes = 5000000000};
    figures.progress = (lc_progress){.step = 21,
                                     .trained_tokens = 4096,
                                     .learning_rate = 2e-4,
                                     .grad_norm = NAN,
                                     .nonfinite_steps = 2};
    lc_histogram_add(&figures.steps, 0.5);
    lc_histogram_add(&figures.steps, 1000.0);
    lc_histogram_add(&figures.checkpoints, 0.2);
    (void)snprintf(name, sizeof name, "jobs/%s/run", job);
    assert_ok(lc_path_join(data_dir, name, dir, &test_err));
    assert_ok(lc_mkdir_parents(dir, &test_err));
    assert_ok(lc_job_figures_write(dir, &figures, &test_err));
}

/* /metrics has the last step of the asker's running jobs, and what their trainers measure. */
static void test_training_metrics(void **state)
{
    (void)state;
    static const char *const events[] = {"{\"step\": 1, \"train_loss\": 3}",
                                         "{\"step\": 20, \"train_loss\": 0.25}"};
    start();
    for (int i = 0; i < 2; i++) {
        run_sql("INSERT INTO jobs (id, owner, status, created_at, model, base, model_name,"
                " training_file, seed, n_epochs, batch_size, learning_rate_multiplier)"
                " VALUES ('ftjob-1' || ?1, ?1, 'running', 1, 'm', 'm', 'm', 'f', 1, 1, 1, 1.0)",
                i == 0 ? "" : "else");
        run_sql("INSERT INTO events (id, job_id, created_at, level, message, type, data)"
                " VALUES ('e' || ?1, 'ftjob-1', 1, 'info', 'm', 'metrics', ?1)",
                events[i]);
        run_sql("INSERT INTO events (id, job_id, created_at, level, message, type)"
                " VALUES (?1, 'ftjob-1', 1, 'info', 'm', 'message')",
                i == 0 ? "a" : "b");
    }
    run_sql("INSERT INTO events (id, job_id, created_at, level, message, type, data)"
            " VALUES ('f', 'ftjob-1else', 1, 'info', 'm', 'metrics', ?1)",
            events[0]);
    add_figures("ftjob-1");
    add_figures("ftjob-1else");
    assert_int_equal(http_ask("GET", "/metrics", NULL, NULL), 200);
    http_has("lorac_step{job=\"ftjob-1\"} 20\n");
    http_has("lorac_train_loss{job=\"ftjob-1\"} 0.25\n");
    http_has("# TYPE lorac_train_tokens_total counter\n");
    http_has("lorac_train_tokens_total{job=\"ftjob-1\"} 4096\n");
    http_has("lorac_learning_rate{job=\"ftjob-1\"} 0.0002\n");
    http_lacks("lorac_grad_norm{"); /* the last one was not finite */
    http_has("lorac_nonfinite_steps_total{job=\"ftjob-1\"} 2\n");
    http_has("# TYPE lorac_step_duration_seconds histogram\n");
    http_has("lorac_step_duration_seconds_bucket{job=\"ftjob-1\",le=\"1\"} 1\n");
    http_has("lorac_step_duration_seconds_bucket{job=\"ftjob-1\",le=\"+Inf\"} 2\n");
    http_has("lorac_step_duration_seconds_sum{job=\"ftjob-1\"} 1000.500000\n");
    http_has("lorac_step_duration_seconds_count{job=\"ftjob-1\"} 2\n");
    http_has("lorac_checkpoint_write_seconds_count{job=\"ftjob-1\"} 1\n");
    http_has("lorac_checkpoint_failures_total{job=\"ftjob-1\"} 3\n");
    http_has("lorac_gpu_memory_used_bytes{job=\"ftjob-1\"} 5000000000\n");
    http_lacks("ftjob-1else");
    http_lacks("# UNIT");
    assert_int_equal(http_ask("GET", "/metrics", "Accept: application/openmetrics-text\r\n", NULL),
                     200);
    http_has("# TYPE lorac_train_tokens counter\n");
    http_has("# UNIT lorac_step_duration_seconds seconds\n");
    http_has("# UNIT lorac_gpu_memory_used_bytes bytes\n");
    stop();
}

static void test_clients_that_leave(void **state)
{
    (void)state;
    static const char body[] =
        "{\"model\": \"small\", \"messages\": [{\"role\": \"user\", \"content\": \"wait\"}]}";
    char head[256];
    start();
    (void)snprintf(head, sizeof head,
                   "POST " V1 " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
                   sizeof body - 1);
    const int fd = http_connect();
    assert_true(http_put(fd, head, strlen(head)));
    assert_true(http_put(fd, body, sizeof body - 1));
    assert_int_equal(chat(V1, "small", "hi", ""), 200);
    assert_int_equal(http_ask("GET", "/metrics", NULL, NULL), 200);
    http_has("lorac_worker_chats{base=\"small\"} 1");
    (void)close(fd);
    assert_true(log_has("cancel"));
    assert_int_equal(http_ask("GET", "/metrics", NULL, NULL), 200);
    http_has("lorac_worker_chats{base=\"small\"} 0");
    /* the server ends while a chat waits */
    const int waiting = http_connect();
    assert_true(http_put(waiting, head, strlen(head)));
    assert_true(http_put(waiting, body, sizeof body - 1));
    pause_ms(100);
    (void)close(waiting);
    stop();
}

/* Who has said all there is to say and closes that side is answered all the same. */
static void test_half_closed(void **state)
{
    (void)state;
    static const char *const streams[] = {"false", "true"};
    start();
    for (int i = 0; i < 2; i++) {
        char body[256], head[256];
        (void)snprintf(body, sizeof body,
                       "{\"model\": \"small\", \"stream\": %s, \"messages\": [{\"role\": \"user\", "
                       "\"content\": \"slow\"}]}",
                       streams[i]);
        (void)snprintf(head, sizeof head,
                       "POST " V1 " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
                       strlen(body));
        const int fd = http_connect();
        assert_true(http_put(fd, head, strlen(head)));
        assert_true(http_put(fd, body, strlen(body)));
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        (void)http_read_until(fd, NULL);
        http_has("HTTP/1.1 200");
        http_has("base:");
        (void)close(fd);
    }
    stop();
}

int main(int argc, char **argv)
{
    const int played = play_worker(argc, argv);
    if (played >= 0) {
        return played;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_that_die),         cmocka_unit_test(test_idle_worker),
        cmocka_unit_test(test_model_that_does_not_load), cmocka_unit_test(test_training_metrics),
        cmocka_unit_test(test_clients_that_leave),       cmocka_unit_test(test_half_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
