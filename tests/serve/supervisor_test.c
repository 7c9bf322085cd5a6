// ctest: slow
/*
 * The supervisor with real trainers on the shipped model: a job's whole life, pause and resume,
 * cancel, the queue, crashes of trainer, of supervisor and of both, taking over, bad data, sweeps.
 * Whatever happens, the adapter has the bytes of an undisturbed run and the events no gap.
 */
#include "supervisor_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job/figures.h"

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

/* What a paused trainer tells of all its runs: each step once, and the checkpoints. */
static void expect_figures(const char *id, int pauses)
{
    lc_job_figures figures;
    int64_t steps = 0, checkpoints = 0;
    assert_ok(lc_job_figures_read(in_data("jobs/%s/run", id), &figures, &test_err));
    for (int i = 0; i < LC_FIGURES_BUCKETS; i++) {
        steps += figures.steps.counts[i];
        checkpoints += figures.checkpoints.counts[i];
    }
    assert_int_equal(steps, figures.progress.step);
    assert_true(steps >= 8 && checkpoints >= pauses);
    assert_true(figures.steps.seconds > 0.0 && figures.progress.trained_tokens > 0);
    assert_true(figures.progress.learning_rate > 0.0 && figures.progress.grad_norm > 0.0);
    assert_int_equal(figures.checkpoint_failures, 0);
    assert_int_equal(figures.gpu_used_bytes, -1);
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
        expect_figures(id, i + 1);
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

/* However many jobs one key has in the queue, another's turn comes. */
static void test_long_queue(void **state)
{
    (void)state;
    how.running_limit = 2;
    how.running_limit_per_key = 1;
    const char *first = create_id("", LONG);
    const char *other = create_id("", LONG);
    run_sql("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
            " INSERT INTO jobs (id, owner, status, created_at, model, base, model_name,"
            " training_file, seed, n_epochs, batch_size, learning_rate_multiplier)"
            " SELECT substr(id, 1, 34) || (1000 + i), owner, status, created_at, model, base,"
            " model_name, training_file, seed, n_epochs, batch_size, learning_rate_multiplier"
            " FROM jobs, n WHERE id = ?1",
            first, NULL);
    run_sql("UPDATE jobs SET owner = 'key-2', seq = 9999 WHERE id = ?1", other, NULL);
    start();
    wait_for_lines(other, 8);
}

/* The trainer under a script that sees to its environment. */
static void use_script(const char *text)
{
    static char program[LC_MAX_PATH_BYTES];
    (void)snprintf(program, sizeof program, "%s", in_data("script"));
    test_write_file(program, text, strlen(text));
    assert_int_equal(chmod(program, 0700), 0);
    how.program = program;
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
    assert_string_equal(text_of(error, "code"), "invalid_training_file");
    cJSON_Delete(job);
    assert_int_equal(count_event(id, "Job failed. "), 1);
    assert_int_equal(count_event(id, "The trainer ended"), 0);
}

/* One that met a trainer of an earlier server, which has ended since: it is not the job's fault. */
static void test_met_another(void **state)
{
    (void)state;
    use_script("#!/bin/sh\nif [ ! -e met ]; then touch met; exit 2; fi\n"
               "exec " LC_BINARY_DIR "/lorac \"$@\"\n");
    start();
    const char *id = create_id("", SHORT);
    wait_for(id, "succeeded");
    assert_true(lc_path_exists(in_data("jobs/%s/met", id)));
    assert_int_equal(count_event(id, "Job succeeded."), 1);
}

/* A job that the trainer refuses before it has a directory; and what it gets of our environment. */
static void test_refused(void **state)
{
    (void)state;
    static const char *const script[] = {
        "#!/bin/sh\nenv >env\necho 'lorac: no, not this' >&2\nexit 3\n", "#!/bin/sh\nexit 2\n"};
    static const char *const codes[] = {"invalidPayload", "internalFailure"};
    assert_int_equal(setenv("RANK", "3", 1), 0);
    assert_int_equal(setenv("LORAC_FAULT", "", 1), 0);
    assert_int_equal(setenv("LORAC_LOG", "info", 1), 0);
    assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "7", 1), 0);
    assert_int_equal(setenv("SOME_SECRET", "s", 1), 0);
    for (int i = 0; i < 2; i++) {
        char *text = NULL;
        size_t bytes = 0;
        use_script(script[i]);
        start();
        const char *id = create_id("", SHORT);
        wait_for(id, "failed");
        cJSON *job = answer(lc_jobs_get, "", id);
        assert_string_equal(text_of(lc_json_get(job, "error"), "code"), codes[i]);
        cJSON_Delete(job);
        stop();
        if (i == 0) {
            assert_ok(lc_file_read(in_data("jobs/%s/env", id), 1 << 20, &text, &bytes, &test_err));
            assert_non_null(strstr(text, "LORAC_DATASETS=off\n"));
            assert_non_null(strstr(text, "LORAC_LOG=info\n"));
            assert_non_null(strstr(text, "CUDA_VISIBLE_DEVICES=7\n"));
            assert_null(strstr(text, "RANK="));
            assert_null(strstr(text, "SECRET="));
            assert_null(strstr(text, "LORAC_FAULT="));
            lc_free(text);
        }
    }
    assert_int_equal(unsetenv("RANK") + unsetenv("LORAC_FAULT") + unsetenv("LORAC_LOG") +
                         unsetenv("CUDA_VISIBLE_DEVICES") + unsetenv("SOME_SECRET"),
                     0);
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

    use_script("#!/bin/sh\nkill -9 $$\n");
    start();
    id = create_id("", SHORT);
    wait_for(id, "failed");
    cJSON *job = answer(lc_jobs_get, "", id);
    assert_string_equal(text_of(lc_json_get(job, "error"), "code"), "internalFailure");
    cJSON_Delete(job);
    assert_int_equal(count_event(id, "The trainer ended unexpectedly"), LC_MAX_RESTARTS);
}

/* A disk that is full once, and one that stays full so that not even job.json can say so: paused
 * with a reason, and as if nothing had been after a resume. */
static void test_disk_is_full(void **state)
{
    (void)state;
    static const char *const faults[] = {"io:120:ENOSPC", "io:120:ENOSPC+"};
    start();
    const char *calm = create_id("", SHORT);
    wait_for(calm, "succeeded");
    stop();
    for (int i = 0; i < 2; i++) {
        char text[LC_MAX_PATH_BYTES + 200];
        (void)snprintf(text, sizeof text,
                       "#!/bin/sh\n[ -e run/job.json ] || export LORAC_FAULT=%s\n"
                       "exec '" LC_BINARY_DIR "/lorac' \"$@\"\n",
                       faults[i]);
        use_script(text);
        start();
        const char *id = create_id("", SHORT);
        wait_for(id, "paused");
        cJSON *job = answer(lc_jobs_get, "", id);
        const cJSON *error = lc_json_get(job, "error");
        assert_string_equal(text_of(error, "code"), "serviceUnavailable");
        assert_non_null(strstr(text_of(error, "message"), "No space left"));
        cJSON_Delete(job);
        assert_int_equal(count_event(id, "Job paused. "), 1);
        job = answer(lc_jobs_resume, "", id);
        assert_null(lc_json_get(job, "error"));
        cJSON_Delete(job);
        wait_for(id, "succeeded");
        expect_whole_events(id, 24);
        expect_same_result(id, calm);
        assert_int_equal(count_event(id, "The trainer ended"), 0);
        stop();
    }
}

/* Lines of a log about `id` that speak of `what`. */
static int count_log(const char *path, const char *id, const char *what)
{
    char *text = NULL, *rest = NULL;
    size_t bytes = 0;
    int count = 0;
    assert_ok(lc_file_read(path, (size_t)1 << 20, &text, &bytes, &test_err));
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        count += strstr(line, id) != NULL && strstr(line, what) != NULL;
    }
    lc_free(text);
    return count;
}

/* What fails in every round is logged once; when it works again, nothing was lost. */
static void test_what_lasts_is_said_once(void **state)
{
    (void)state;
    char log[LC_MAX_PATH_BYTES], events[LC_MAX_PATH_BYTES], away[LC_MAX_PATH_BYTES];
    start();
    const char *id = create_id("", LONG);
    wait_for(id, "running");
    wait_for_lines(id, 20);
    const pid_t trainer = (pid_t)trainer_of(id);
    assert_true(trainer > 0 && kill(trainer, SIGSTOP) == 0);
    (void)snprintf(events, sizeof events, "%s", in_data("jobs/%s/run/events.jsonl", id));
    (void)snprintf(away, sizeof away, "%s", in_data("jobs/%s/run/events.away", id));
    (void)snprintf(log, sizeof log, "%s", in_data("stderr"));
    const int before = dup(STDERR_FILENO), to = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    assert_true(before >= 0 && to >= 0 && dup2(to, STDERR_FILENO) >= 0);
    assert_int_equal(rename(events, away), 0);
    assert_int_equal(mkdir(events, 0700), 0);
    sleep_ms(2000); /* ten rounds */
    assert_int_equal(rmdir(events), 0);
    assert_int_equal(rename(away, events), 0);
    assert_true(dup2(before, STDERR_FILENO) >= 0 && close(before) == 0 && close(to) == 0);
    assert_int_equal(kill(trainer, SIGCONT), 0);
    assert_int_equal(count_log(log, id, "events.jsonl"), 1);
    wait_for(id, "succeeded");
    expect_whole_events(id, 144);
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
    assert_int_equal(count_event(killed, "The trainer ended"), 0); /* that anybody saw */
    assert_int_equal(count_event(alone, "The trainer ended"), 0);
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
    lc_supervisor_free(NULL);
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(test_whole_life),
        CASE(test_pause_and_resume),
        CASE(test_cancel),
        CASE(test_queue),
        CASE(test_long_queue),
        CASE(test_bad_data),
        CASE(test_refused),
        CASE(test_met_another),
        CASE(test_trainer_is_killed),
        CASE(test_supervisor_is_killed),
        CASE(test_both_are_killed),
        CASE(test_disk_is_full),
        CASE(test_what_lasts_is_said_once),
        CASE(test_asked_meanwhile),
        CASE(test_one_supervisor),
        CASE(test_sweep),
    };
    if (argc > 1) { /* one by its name */
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
