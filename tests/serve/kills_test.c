// ctest: slow
/*
 * Trainers, the supervisor, or all of them killed at random moments while three jobs train: no job
 * is lost or fails, the adapter has the bytes of an undisturbed run, events have neither gap nor
 * duplicate. A trainer is killed at most twice without a new step in between: its job would rightly
 * fail. LORAC_SERVE_KILLS=N goes on until there were so many.
 */
#include "supervisor_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_random_kills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
