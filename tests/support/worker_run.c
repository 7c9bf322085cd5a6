/* See worker_run.h. */
#include "worker_run.h"

#include <pthread.h>
#include <unistd.h>

#include "base/json.h"
#include "testing.h"

#define ANSWER_BYTES (1 << 16)

static int to_worker; /* an end of a pipe */
static FILE *answers;
static pthread_t thread;
static volatile sig_atomic_t is_stopping;
static lc_worker_run_options options;
static lc_err worker_err;

static void *run(void *context)
{
    (void)context;
    worker_err = (lc_err){.code = LC_OK};
    if (lc_worker_run(&options, &worker_err) != LC_OK) {
        print_message("the worker ended: %s\n", worker_err.message);
    }
    (void)close(options.fd_out);
    return NULL;
}

void worker_start(const lc_worker_run_options *wanted)
{
    int in[2], out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    is_stopping = 0;
    options = *wanted;
    options.fd_in = in[0];
    options.fd_out = out[1];
    options.is_stopping = &is_stopping;
    to_worker = in[1];
    answers = fdopen(out[0], "r");
    assert_non_null(answers);
    assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
}

void worker_send(const char *text)
{
    assert_int_equal(write(to_worker, text, strlen(text)), (ssize_t)strlen(text));
}

cJSON *worker_event(void)
{
    static char line[ANSWER_BYTES];
    assert_non_null(fgets(line, sizeof line, answers));
    cJSON *event = cJSON_Parse(line);
    assert_non_null(event);
    return event;
}

void worker_expect(const char *kind)
{
    cJSON *event = worker_event();
    assert_string_equal(worker_text_of(event, "event"), kind);
    cJSON_Delete(event);
}

const char *worker_text_of(const cJSON *event, const char *key)
{
    const char *text = cJSON_GetStringValue(lc_json_get(event, key));
    return text != NULL ? text : "";
}

int worker_number_of(const cJSON *event, const char *key)
{
    const cJSON *item = lc_json_get(event, key);
    return cJSON_IsNumber(item) ? (int)item->valuedouble : -1;
}

void worker_ask_to_end(void)
{
    is_stopping = 1;
}

void worker_wait(void)
{
    worker_wait_for(LC_OK);
}

void worker_wait_for(lc_code code)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(worker_err.code, code);
    (void)fclose(answers);
    (void)close(options.fd_in);
    if (to_worker >= 0) {
        (void)close(to_worker);
    }
}

void worker_stop(void)
{
    (void)close(to_worker);
    to_worker = -1;
    worker_wait();
}
