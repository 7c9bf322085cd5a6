/*
 * What the tests of the supervisor share: files to train on, a supervisor in this process or in one
 * that can be killed, waiting, and what must hold at the end of a job.
 */
#ifndef TESTS_SERVE_SUPERVISOR_FIXTURE_H
#define TESTS_SERVE_SUPERVISOR_FIXTURE_H

#include "jobs_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "job/directory.h"
#include "lorac/log.h"
#include "serve/follow.h"
#include "serve/supervisor.h"

#define TRAINING   "file-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define VALIDATION "file-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define BROKEN     "file-cccccccccccccccccccccccccccccccc"
#define ROWS       24
#define PATIENCE   120.0 /* seconds; other tests may have the machine */

#define JOB(epochs, more)                                                           \
    "{\"model\": \"sprout-3m\", \"training_file\": \"" TRAINING                     \
    "\", \"suffix\": \"t\", \"seed\": 5, "                                          \
    "\"method\": {\"type\": \"supervised\", \"supervised\": {\"hyperparameters\": " \
    "{\"n_epochs\": " epochs                                                        \
    ", \"batch_size\": 2}}}, \"lorac\": {\"device\": \"cpu\", \"rank\": 2, "        \
    "\"checkpoint_every_steps\": 5}" more "}"
#define SHORT  JOB("2", "")  /* 24 steps */
#define MIDDLE JOB("6", "")  /* 72 */
#define LONG   JOB("12", "") /* 144 */

static lc_supervisor *supervisor; /* in this process */
static pid_t child;               /* or in that one */
static int child_pipe[2];
static lc_supervisor_options how;

/* ---- files and supervisors ---- */

/* The first rows of a file of the repository. */
static inline void add_rows(const char *id, const char *from)
{
    char *text = NULL;
    size_t bytes = 0, end = 0;
    assert_ok(lc_file_read(from, (size_t)1 << 24, &text, &bytes, &test_err));
    for (int i = 0; i < ROWS; i++) {
        end += strcspn(text + end, "\n") + 1;
    }
    text[end] = '\0';
    add_file("", id, "fine-tune", "processed", text);
    lc_free(text);
}

static inline int setup(void **state)
{
    (void)open_jobs(state);
    add_rows(TRAINING, LC_SOURCE_DIR "/configs/quickstart/train.jsonl");
    add_rows(VALIDATION, LC_SOURCE_DIR "/configs/quickstart/valid.jsonl");
    add_file("", BROKEN, "fine-tune", "processed", "{\"messages\": 7}\n");
    how = (lc_supervisor_options){.program = LC_BINARY_DIR "/lorac",
                                  .models_dir = LC_SOURCE_DIR "/models",
                                  .running_limit = 3,
                                  .running_limit_per_key = 3,
                                  .threads = 1,
                                  .nice = 5,
                                  .stop_seconds = 60.0};
    return 0;
}

static inline void start(void)
{
    assert_ok(lc_supervisor_start(store, &how, &supervisor, &test_err));
}

static inline void stop(void)
{
    lc_supervisor_free(supervisor);
    supervisor = NULL;
}

static inline int teardown(void **state)
{
    stop();
    return close_jobs(state);
}

/* A supervisor in a process of its own that can be killed: "p" pokes it, "s" or the end stops it.
 */
static inline void run_child(void)
{
    lc_store *own = NULL;
    lc_supervisor *s = NULL;
    lc_err err = {.code = LC_OK};
    char command = 's';
    if (lc_store_open(data_dir, &own, &err) != LC_OK ||
        lc_supervisor_start(own, &how, &s, &err) != LC_OK) {
        fprintf(stderr, "%s\n", err.message);
        _exit(1);
    }
    while (read(child_pipe[0], &command, 1) == 1 && command == 'p') {
        lc_supervisor_poke(s);
    }
    lc_supervisor_free(s);
    lc_store_close(own);
    _exit(0);
}

static inline void start_child(void)
{
    assert_int_equal(pipe2(child_pipe, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(child_pipe[1]);
        run_child();
    }
    (void)close(child_pipe[0]);
}

static inline void end_child(bool is_killed)
{
    int status = 0;
    if (is_killed) {
        assert_int_equal(kill(child, SIGKILL), 0);
    } else {
        assert_int_equal(write(child_pipe[1], "s", 1), 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(is_killed ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)close(child_pipe[1]);
    child = 0;
}

static inline void poke(void)
{
    if (supervisor != NULL) {
        lc_supervisor_poke(supervisor);
    } else if (child != 0) {
        assert_int_equal(write(child_pipe[1], "p", 1), 1);
    }
}

/* ---- waiting ---- */

static inline void sleep_ms(int milliseconds)
{
    const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

static inline void wait_for(const char *id, const char *status)
{
    const double began = lc_monotonic_seconds();
    char now[32] = "";
    poke();
    while (strcmp(now, status) != 0) {
        cJSON *job = answer(lc_jobs_get, "", id);
        (void)snprintf(now, sizeof now, "%s", text_of(job, "status"));
        if (lc_monotonic_seconds() - began > PATIENCE ||
            (strcmp(now, "failed") == 0 && strcmp(status, "failed") != 0)) {
            char *text = cJSON_Print(job);
            fail_msg("waiting for %s: %s", status, text);
        }
        cJSON_Delete(job);
        sleep_ms(10);
    }
}

/* Until the job's own log has so many lines. */
static inline void wait_for_lines(const char *id, int lines)
{
    const double began = lc_monotonic_seconds();
    int found = 0;
    poke();
    while (found < lines) {
        char *text = NULL;
        size_t bytes = 0;
        lc_err ignored = {.code = LC_OK}; /* not there yet, or being cut by a resume */
        found = 0;
        if (lc_file_read(in_data("jobs/%s/run/events.jsonl", id), (size_t)1 << 24, &text, &bytes,
                         &ignored) != LC_OK) {
            bytes = 0;
        }
        for (size_t i = 0; i < bytes; i++) {
            found += text[i] == '\n';
        }
        lc_free(text);
        assert_true(lc_monotonic_seconds() - began < PATIENCE);
        sleep_ms(5);
    }
}

static inline long trainer_of(const char *id)
{
    lc_process process = {.pid = 0};
    bool is_found = false;
    char place[LC_MAX_PATH_BYTES];
    assert_ok(lc_job_place(store, id, place, &test_err));
    assert_ok(lc_process_find(place, &process, &is_found, &test_err));
    return is_found ? process.pid : 0;
}

static inline void wait_until_gone(const char *id)
{
    const double began = lc_monotonic_seconds();
    while (trainer_of(id) != 0) {
        assert_true(lc_monotonic_seconds() - began < PATIENCE);
        sleep_ms(10);
    }
}

/* ---- checks ---- */

static inline cJSON *all_events(const char *id)
{
    const lc_page page = {.limit = 10000, .ascending = true};
    return answer(lc_jobs_events, "", id, &page);
}

/* How often a message is there, and its place among the events (the last one). */
static inline int count_events(const cJSON *list, const char *message, int *place)
{
    int count = 0, at = 0;
    const cJSON *event = NULL;
    cJSON_ArrayForEach(event, lc_json_get(list, "data"))
    {
        if (strncmp(text_of(event, "message"), message, strlen(message)) == 0) {
            count++;
            *place = at;
        }
        at++;
    }
    return count;
}

static inline int count_event(const char *id, const char *message)
{
    int place = 0;
    cJSON *list = all_events(id);
    const int count = count_events(list, message, &place);
    cJSON_Delete(list);
    return count;
}

/* Every line of the trainer's log is there once and in its order, and every step. */
static inline void expect_whole_events(const char *id, int steps)
{
    int last = -1, place = 0, known = 0;
    char *text = NULL, *at;
    size_t bytes = 0;
    cJSON *list = all_events(id);
    const cJSON *event = lc_json_get(list, "data")->child;
    assert_ok(lc_file_read(in_data("jobs/%s/run/events.jsonl", id), (size_t)1 << 24, &text, &bytes,
                           &test_err));
    for (at = text; *at != '\0'; at += strcspn(at, "\n") + 1) {
        char own[LC_JOB_ID_BYTES], number[16];
        (void)snprintf(number, sizeof number, "%d", known++);
        lc_job_derive_id(id, "ftevent-", number, own);
        while (event != NULL && strcmp(text_of(event, "id"), own) != 0) {
            event = event->next;
        }
        if (event == NULL) {
            fail_msg("line %s of the log is missing, or not in its order", number);
        }
        assert_non_null(strstr(at, text_of(event, "message")));
    }
    for (int step = 1; step <= steps; step++) {
        char message[64];
        (void)snprintf(message, sizeof message, "Step %d: training loss=", step);
        assert_int_equal(count_events(list, message, &place), 1);
        assert_true(place > last);
        last = place;
    }
    cJSON_Delete(list);
    lc_free(text);
}

static inline void expect_same_file(const char *a, const char *b, const char *name)
{
    char *data[2] = {NULL, NULL};
    size_t bytes[2] = {0, 0};
    assert_ok(lc_file_read(in_data("jobs/%s/run/%s", a, name), (size_t)1 << 26, &data[0], &bytes[0],
                           &test_err));
    assert_ok(lc_file_read(in_data("jobs/%s/run/%s", b, name), (size_t)1 << 26, &data[1], &bytes[1],
                           &test_err));
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(data[0], data[1], bytes[0]);
    lc_free(data[0]);
    lc_free(data[1]);
}

static inline void expect_same_result(const char *a, const char *b)
{
    expect_same_file(a, b, "adapter/adapter_model.safetensors");
    expect_same_file(a, b, "adapter/adapter_config.json");
    expect_same_file(a, b, "results.csv");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
