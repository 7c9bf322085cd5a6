// ctest: slow
/*
 * The supervisor with real trainers on the shipped model: a job's whole life, pause and resume,
 * cancel, the queue, crashes of trainer, of supervisor and of both, taking over, bad data, sweeps.
 * Whatever happens, the adapter has the bytes of an undisturbed run and the events no gap.
 */
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
static void add_rows(const char *id, const char *from)
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

static int setup(void **state)
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

static void start(void)
{
    assert_ok(lc_supervisor_start(store, &how, &supervisor, &test_err));
}

static void stop(void)
{
    lc_supervisor_stop(supervisor);
    supervisor = NULL;
}

static int teardown(void **state)
{
    stop();
    return close_jobs(state);
}

/* A supervisor in a process of its own that can be killed: "p" pokes it, "s" or the end stops it.
 */
static void run_child(void)
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
    lc_supervisor_stop(s);
    lc_store_close(own);
    _exit(0);
}

static void start_child(void)
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

static void end_child(bool is_killed)
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

static void poke(void)
{
    if (supervisor != NULL) {
        lc_supervisor_poke(supervisor);
    } else if (child != 0) {
        assert_int_equal(write(child_pipe[1], "p", 1), 1);
    }
}

/* ---- waiting ---- */

static void sleep_ms(int milliseconds)
{
    const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

static void wait_for(const char *id, const char *status)
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
static void wait_for_lines(const char *id, int lines)
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

static long trainer_of(const char *id)
{
    lc_process process = {.pid = 0};
    bool is_found = false;
    char place[LC_MAX_PATH_BYTES];
    assert_ok(lc_job_place(store, id, place, &test_err));
    assert_ok(lc_process_find(place, &process, &is_found, &test_err));
    return is_found ? process.pid : 0;
}

static void wait_until_gone(const char *id)
{
    const double began = lc_monotonic_seconds();
    while (trainer_of(id) != 0) {
        assert_true(lc_monotonic_seconds() - began < PATIENCE);
        sleep_ms(10);
    }
}

/* ---- checks ---- */

static cJSON *all_events(const char *id)
{
    const lc_page page = {.limit = 10000, .ascending = true};
    return answer(lc_jobs_events, "", id, &page);
}

/* How often a message is there, and its place among the events (the last one). */
static int count_events(const cJSON *list, const char *message, int *place)
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

static int count_event(const char *id, const char *message)
{
    int place = 0;
    cJSON *list = all_events(id);
    const int count = count_events(list, message, &place);
    cJSON_Delete(list);
    return count;
}

/* Every line of the trainer's log is there once and in its order, and every step. */
static void expect_whole_events(const char *id, int steps)
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

static void expect_same_file(const char *a, const char *b, const char *name)
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

static void expect_same_result(const char *a, const char *b)
{
    expect_same_file(a, b, "adapter/adapter_model.safetensors");
    expect_same_file(a, b, "adapter/adapter_config.json");
    expect_same_file(a, b, "results.csv");
}

/* ---- the tests ---- */

static void test_whole_life(void **state)
{
    (void)state;
    static const char *const order[] = {"Job enqueued. Waiting for jobs ahead to complete.",
                                        "Preprocessing running for file training file.",
                                        "Preprocessing completed for file training file.",
                                        "Preprocessing completed for file validation file.",
                                        "Job started.",
                                        "Data Import started.",
                                        "Finetuning started.",
                                        "Training started.",
                                        "Created results file: file-",
                                        "Step 1: ",
                                        "Step 24: ",
                                        "Job succeeded.",
                                        "Completed results file: file-",
                                        "Training tokens billed: "};
    int last = -1, place = 0;
    start();
    const char *id = create_id("", JOB("2", ", \"validation_file\": \"" VALIDATION "\""));
    wait_for(id, "succeeded");
    expect_whole_events(id, 24);
    cJSON *list = all_events(id);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        assert_int_equal(count_events(list, order[i], &place), 1);
        assert_true(place > last);
        last = place;
    }
    cJSON_Delete(list);

    cJSON *job = answer(lc_jobs_get, "", id);
    char name[128];
    (void)snprintf(name, sizeof name, "sprout-3m.ft-%s-t", id + strlen("ftjob-"));
    assert_string_equal(text_of(job, "fine_tuned_model"), name);
    const cJSON *hyper = lc_json_get(job, "hyperparameters");
    assert_int_equal(int_of(hyper, "n_epochs"), 2);
    assert_int_equal(int_of(hyper, "batch_size"), 2);
    assert_true(int_of(job, "trained_tokens") > 1000);
    assert_true(int_of(job, "finished_at") >= int_of(job, "created_at"));
    assert_null(lc_json_get(job, "estimated_finish"));
    const cJSON *file = lc_json_get(job, "result_files")->child;
    assert_true(lc_id_is(file->valuestring, LC_PREFIX_FILE));

    lc_db *db = NULL; /* the results as a file, the model */
    lc_rows rows;
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_store_read(store, &db, &test_err));
    assert_ok(lc_db_query(db, "SELECT path FROM files WHERE id = ?1 AND purpose = ?2",
                          LC_BIND(lc_sql_text(file->valuestring), lc_sql_text("fine-tune-results")),
                          &rows, &test_err));
    assert_true(lc_rows_next(&rows));
    lc_rows_copy(&rows, 0, path, sizeof path);
    assert_ok(lc_rows_end(&rows, &test_err));
    assert_true(lc_path_exists(in_data("%s", path)));
    assert_ok(lc_db_query(db, "SELECT path FROM models WHERE id = ?1 AND base = 'sprout-3m'",
                          LC_BIND(lc_sql_text(name)), &rows, &test_err));
    assert_true(lc_rows_next(&rows));
    assert_true(lc_path_exists(in_data("%s/adapter_model.safetensors", lc_rows_text(&rows, 0))));
    assert_ok(lc_rows_end(&rows, &test_err));
    lc_store_end(&db);
    cJSON_Delete(job);

    const lc_page page = {.limit = 10};
    list = answer(lc_jobs_checkpoints, "", id, &page);
    const cJSON *newest = lc_json_get(list, "data")->child;
    assert_int_equal(cJSON_GetArraySize(lc_json_get(list, "data")), 2);
    assert_string_equal(text_of(newest, "fine_tuned_model_checkpoint"), name);
    assert_string_equal(text_of(newest, "fine_tuning_job_id"), id);
    assert_int_equal(int_of(newest, "step_number"), 24);
    assert_true(cJSON_IsNumber(lc_json_get(lc_json_get(newest, "metrics"), "full_valid_loss")));
    assert_int_equal(int_of(newest->next, "step_number"), 12);
    cJSON_Delete(list);

    /* A second job goes on from the first one's first checkpoint. */
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "{\"model\": \"%s:ckpt-step-12\", \"training_file\": \"" TRAINING
                   "\", \"hyperparameters\": {\"n_epochs\": 1}, \"lorac\": {\"device\": \"cpu\"}}",
                   name);
    const char *second = create_id("", text);
    wait_for(second, "succeeded");
    job = answer(lc_jobs_get, "", second);
    (void)snprintf(text, sizeof text, "sprout-3m.ft-%s", second + strlen("ftjob-"));
    assert_string_equal(text_of(job, "fine_tuned_model"), text);
    cJSON_Delete(job);

    /* The job goes, its model stays; with the model its directory goes too. */
    assert_ok(lc_jobs_delete(store, "", id, &test_err));
    stop();
    start();
    poke();
    sleep_ms(300);
    assert_true(lc_path_exists(in_data("jobs/%s/run/adapter", id)));
    stop();
    run_sql("DELETE FROM models WHERE job_id = ?1", id, NULL);
    start();
    const double began = lc_monotonic_seconds();
    while (lc_path_exists(in_data("jobs/%s", id))) {
        assert_true(lc_monotonic_seconds() - began < PATIENCE);
        sleep_ms(20);
    }
}

static void test_pause_and_resume(void **state)
{
    (void)state;
    start();
    const char *id = create_id("", LONG), *calm = create_id("", LONG);
    for (int i = 0; i < 2; i++) {
        wait_for(id, "running");
        while (count_event(id, "Step ") < 8 * (i + 1)) {
            sleep_ms(5);
        }
        cJSON_Delete(answer(lc_jobs_pause, "", id));
        wait_for(id, "paused");
        assert_int_equal(trainer_of(id), 0);
        poke();
        sleep_ms(400);
        assert_int_equal(trainer_of(id), 0); /* it is not resumed by itself */
        cJSON *job = answer(lc_jobs_resume, "", id);
        assert_string_equal(text_of(job, "status"), "resuming");
        cJSON_Delete(job);
        poke();
    }
    const lc_page page = {.limit = 10};
    cJSON *list = answer(lc_jobs_checkpoints, "", id, &page), *item = NULL;
    char name[160];
    int kept = 0;
    cJSON_ArrayForEach(item, lc_json_get(list, "data"))
    {
        if (int_of(item, "step_number") % 12 == 0) {
            continue; /* the end of an epoch */
        }
        (void)snprintf(name, sizeof name, "sprout-3m.ft-%s-t:ckpt-step-%d", id + strlen("ftjob-"),
                       (int)int_of(item, "step_number"));
        assert_string_equal(text_of(item, "fine_tuned_model_checkpoint"), name);
        assert_true(lc_path_exists(in_data("jobs/%s/paused-step-%d/adapter_model.safetensors", id,
                                           (int)int_of(item, "step_number"))));
        kept++;
    }
    cJSON_Delete(list);
    print_message("%d pauses within an epoch\n", kept);
    wait_for(id, "succeeded");
    wait_for(calm, "succeeded");
    expect_whole_events(id, 144);
    expect_same_result(id, calm);
    assert_int_equal(count_event(id, "Job pausing."), 2);
    assert_int_equal(count_event(id, "Job paused."), 2);
    assert_int_equal(count_event(id, "Job resumed."), 2);
    assert_int_equal(count_event(id, "The trainer ended"), 0);
    assert_int_equal(count_event(id, "Job started."), 1);
}

static void test_cancel(void **state)
{
    (void)state;
    how.running_limit = 1;
    start();
    const char *running = create_id("", LONG), *pending = create_id("", LONG);
    wait_for(running, "running");
    cJSON *job = answer(lc_jobs_get, "", pending);
    assert_string_equal(text_of(job, "status"), "pending");
    cJSON_Delete(job);
    cJSON_Delete(answer(lc_jobs_cancel, "", pending));
    cJSON_Delete(answer(lc_jobs_cancel, "", running));
    poke();
    wait_until_gone(running);
    assert_int_equal(trainer_of(pending), 0);
    assert_false(lc_path_exists(in_data("jobs/%s/run", pending)));
    sleep_ms(300);
    cJSON *list = all_events(running); /* nothing comes after it */
    const cJSON *data = lc_json_get(list, "data");
    assert_string_equal(text_of(cJSON_GetArrayItem(data, cJSON_GetArraySize(data) - 1), "message"),
                        "Job cancelled.");
    cJSON_Delete(list);
    assert_ok(lc_jobs_delete(store, "", running, &test_err));
    assert_ok(lc_jobs_delete(store, "", pending, &test_err));
}

/* Two at once, one per key; the others in their order. */
static void test_queue(void **state)
{
    (void)state;
    how.running_limit = 2;
    how.running_limit_per_key = 1;
    const char *ids[4];
    for (int i = 0; i < 4; i++) {
        ids[i] = create_id("", LONG);
        if (i == 2) {
            run_sql("UPDATE jobs SET owner = 'key-2' WHERE id = ?1", ids[i], NULL);
        }
    }
    start();
    wait_for_lines(ids[0], 8);
    wait_for_lines(ids[2], 8);
    assert_int_equal(trainer_of(ids[1]), 0);
    assert_int_equal(trainer_of(ids[3]), 0);
    cJSON_Delete(answer(lc_jobs_cancel, "", ids[0]));
    wait_for(ids[1], "running");
    assert_int_equal(trainer_of(ids[0]), 0);
    assert_int_equal(trainer_of(ids[3]), 0);
}

static void test_bad_data(void **state)
{
    (void)state;
    start();
    char text[512];
    (void)snprintf(text, sizeof text,
                   "{\"model\": \"sprout-3m\", \"training_file\": \"" BROKEN "\"}");
    const char *id = create_id("", text);
    wait_for(id, "failed");
    cJSON *job = answer(lc_jobs_get, "", id);
    const cJSON *error = lc_json_get(job, "error");
    assert_non_null(strstr(text_of(error, "message"), "training.jsonl"));
    assert_null(strstr(text_of(error, "message"), data_dir)); /* no path of this machine */
    assert_non_null(lc_json_get(error, "code"));
    cJSON_Delete(job);
    assert_int_equal(count_event(id, "Job failed. "), 1);
    assert_int_equal(count_event(id, "The trainer ended"), 0);
}

/* Killed at several places; then so often without a step forward that it fails. */
static void test_trainer_is_killed(void **state)
{
    (void)state;
    start();
    const char *id = create_id("", LONG), *calm = create_id("", LONG);
    for (int i = 1; i <= 5; i++) {
        wait_for_lines(id, 20 * i);
        const long pid = trainer_of(id);
        if (pid != 0) {
            (void)kill((pid_t)pid, SIGKILL);
        }
    }
    wait_for(id, "succeeded");
    wait_for(calm, "succeeded");
    expect_whole_events(id, 144);
    expect_same_result(id, calm);
    assert_in_range(count_event(id, "The trainer ended unexpectedly (signal 9)"), 1, 5);
    stop();

    test_write_file(in_data("crash"), "#!/bin/sh\nkill -9 $$\n", 21);
    how.program = in_data("crash");
    char program[LC_MAX_PATH_BYTES];
    (void)snprintf(program, sizeof program, "%s", how.program);
    how.program = program;
    assert_int_equal(chmod(program, 0700), 0);
    start();
    id = create_id("", SHORT);
    wait_for(id, "failed");
    cJSON *job = answer(lc_jobs_get, "", id);
    assert_string_equal(text_of(lc_json_get(job, "error"), "code"), "trainer_crashed");
    cJSON_Delete(job);
    assert_int_equal(count_event(id, "The trainer ended unexpectedly"), LC_MAX_RESTARTS);
}

/* The supervisor is killed, the trainer works on: a new one takes it over, nobody else starts. */
static void test_supervisor_is_killed(void **state)
{
    (void)state;
    const char *id = create_id("", LONG), *calm = create_id("", LONG);
    long pid = 0;
    start_child();
    wait_for(id, "running");
    wait_for_lines(id, 30);
    pid = trainer_of(id);
    end_child(true);
    if (pid != 0) {
        sleep_ms(50);
        start_child();
        poke();
        sleep_ms(100);
        const long now = trainer_of(id);
        assert_true(now == 0 || now == pid); /* it has ended, or is the same */
    } else {
        start_child();
    }
    for (int i = 0; i < 3; i++) { /* again, at any moment */
        sleep_ms(150);
        end_child(true);
        start_child();
    }
    wait_for(id, "succeeded");
    wait_for(calm, "succeeded");
    end_child(false);
    expect_whole_events(id, 144);
    expect_whole_events(calm, 144);
    expect_same_result(id, calm);
    assert_int_equal(count_event(id, "The trainer ended"), 0);
}

/* Both are killed; one ends while nobody looks; one is stopped with the server. */
static void test_both_are_killed(void **state)
{
    (void)state;
    const char *killed = create_id("", LONG), *alone = create_id("", SHORT),
               *calm = create_id("", LONG);
    start_child();
    wait_for(killed, "running");
    wait_for_lines(killed, 25);
    wait_for_lines(alone, 1);
    end_child(true);
    const long pid = trainer_of(killed);
    if (pid != 0) {
        (void)kill((pid_t)pid, SIGKILL);
    }
    wait_until_gone(alone);
    start_child();
    wait_for(alone, "succeeded");
    wait_for(killed, "running");
    end_child(false); /* graceful: what runs writes its checkpoint */
    assert_int_equal(trainer_of(killed), 0);
    assert_int_equal(trainer_of(calm), 0);
    start_child();
    wait_for(killed, "succeeded");
    wait_for(calm, "succeeded");
    end_child(false);
    expect_whole_events(killed, 144);
    expect_whole_events(alone, 24);
    expect_same_result(killed, calm);
    assert_in_range(count_event(killed, "The trainer ended"), 0, 1);
    assert_int_equal(count_event(alone, "The trainer ended"), 0);
}

/* Trainers, supervisor, or all of them killed at random moments while three jobs train. A trainer is
 * killed at most twice without a new step in between: one more and one more after that, and its job
 * would rightly fail. LORAC_SERVE_KILLS makes a campaign of it. */
#define CROWD 3

typedef struct victim {
    const char *id;
    int steps_then; /* known when it was killed last */
    int in_a_row;   /* kills since */
} victim;

static bool is_done(const char *id)
{
    cJSON *job = answer(lc_jobs_get, "", id);
    const bool done = strcmp(text_of(job, "status"), "succeeded") == 0;
    if (strcmp(text_of(job, "status"), "failed") == 0) {
        fail_msg("%s", text_of(lc_json_get(job, "error"), "message"));
    }
    cJSON_Delete(job);
    return done;
}

static bool kill_trainer(victim *v)
{
    const int steps = count_event(v->id, "Step ");
    v->in_a_row = steps > v->steps_then ? 0 : v->in_a_row;
    const long pid = v->in_a_row < 2 && !is_done(v->id) ? trainer_of(v->id) : 0;
    if (pid == 0 || kill((pid_t)pid, SIGKILL) != 0) {
        return false;
    }
    v->steps_then = steps;
    v->in_a_row++;
    return true;
}

/* One blow; how many processes it hit. */
static int strike(victim *victims)
{
    const int64_t what = test_int(0, CROWD + 1);
    const bool is_server = what >= CROWD;
    int hits = 0;
    if (is_server) {
        end_child(true);
        hits++;
    }
    for (int i = 0; i < CROWD; i++) {
        if (what == i || what == CROWD + 1) {
            hits += kill_trainer(&victims[i]);
        }
    }
    if (is_server) {
        start_child();
    }
    poke();
    return hits;
}

static void test_random_kills(void **state)
{
    (void)state;
    const char *wanted = getenv("LORAC_SERVE_KILLS");
    const int limit = wanted != NULL ? (int)strtol(wanted, NULL, 10) : 10;
    char ids[CROWD + 1][LC_ID_BYTES];
    (void)snprintf(ids[CROWD], sizeof ids[CROWD], "%s", create_id("", MIDDLE));
    start_child();
    wait_for(ids[CROWD], "succeeded"); /* nobody disturbs this one */
    for (int hits = 0; hits < limit;) {
        victim victims[CROWD];
        for (int i = 0; i < CROWD; i++) {
            (void)snprintf(ids[i], sizeof ids[i], "%s", create_id("", MIDDLE));
            victims[i] = (victim){.id = ids[i]};
        }
        poke();
        while (!is_done(ids[0]) || !is_done(ids[1]) || !is_done(ids[2])) {
            sleep_ms((int)test_int(0, 600));
            hits += strike(victims);
        }
        for (int i = 0; i < CROWD; i++) {
            expect_whole_events(ids[i], 72);
            expect_same_result(ids[i], ids[CROWD]);
            assert_int_equal(count_event(ids[i], "Job succeeded."), 1);
        }
        print_message("%d kills\n", hits);
    }
    end_child(false);
}

/* What one asked for while no supervisor ran is done by the next. */
static void test_asked_meanwhile(void **state)
{
    (void)state;
    const char *paused = create_id("", LONG), *cancelled = create_id("", LONG);
    start_child();
    wait_for(paused, "running");
    wait_for(cancelled, "running");
    while (count_event(paused, "Step ") < 3) {
        sleep_ms(5);
    }
    end_child(true);
    cJSON_Delete(answer(lc_jobs_pause, "", paused));
    cJSON_Delete(answer(lc_jobs_cancel, "", cancelled));
    start_child();
    wait_for(paused, "paused");
    wait_until_gone(cancelled);
    end_child(false);
}

static void test_one_supervisor(void **state)
{
    (void)state;
    lc_supervisor *second = NULL;
    start();
    assert_fails(lc_supervisor_start(store, &how, &second, &test_err), LC_ERR_BUSY, "in use");
    stop();
    how.program = "/no/such/program";
    assert_fails(lc_supervisor_start(store, &how, &second, &test_err), LC_ERR_NOT_FOUND,
                 "/no/such/program");
    assert_null(second);
    lc_supervisor_stop(NULL);
}

/* A directory without a row, as a crash in the middle of a request leaves it. */
static void test_sweep(void **state)
{
    (void)state;
    static const char orphan[] = "ftjob-00000000000000000000000000000001";
    assert_ok(lc_mkdir_parents(in_data("jobs/%s/run", orphan), &test_err));
    assert_ok(lc_mkdir_parents(in_data("jobs/notes"), &test_err));
    how.running_limit = 0;
    const char *id = create_id("", SHORT);
    start();
    const double began = lc_monotonic_seconds();
    while (lc_path_exists(in_data("jobs/%s", orphan))) {
        assert_true(lc_monotonic_seconds() - began < PATIENCE);
        sleep_ms(20);
    }
    assert_true(lc_path_exists(in_data("jobs/%s/spec.json", id)));
    assert_true(lc_path_exists(in_data("jobs/notes"))); /* not ours */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(test_whole_life),
        CASE(test_pause_and_resume),
        CASE(test_cancel),
        CASE(test_queue),
        CASE(test_bad_data),
        CASE(test_trainer_is_killed),
        CASE(test_supervisor_is_killed),
        CASE(test_both_are_killed),
        CASE(test_random_kills),
        CASE(test_asked_meanwhile),
        CASE(test_one_supervisor),
        CASE(test_sweep),
    };
    if (argc > 1) { /* one by its name */
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
