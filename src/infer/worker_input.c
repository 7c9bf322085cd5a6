/*
 * See worker_input.h. What cannot be parsed is handed on as an error: who asks, answers.
 */
#include "infer/worker_input.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "infer/worker.h"
#include "lorac/mem.h"

#define READ_BYTES  65536
#define LOOK_MS     100  /* between two looks at is_closing */
#define MAX_WAITING 1024 /* lines parsed and not taken; then nothing more is read */

struct lc_worker_input {
    pthread_mutex_t mutex;
    pthread_cond_t came, went;
    pthread_t thread;
    int fd;
    bool has_ended, is_closing;
    int count;
    lc_worker_line *first, **last;
};

void lc_worker_line_free(lc_worker_line *line)
{
    if (line != NULL) {
        cJSON_Delete(line->object);
        lc_free(line);
    }
}

/* False: the other side has closed the input. */
static bool put_line(lc_worker_input *input, const char *text, size_t bytes)
{
    lc_worker_line *line = lc_calloc(1, sizeof *line);
    if (line == NULL) {
        return false;
    }
    if (bytes > LC_MAX_WORKER_LINE) {
        (void)lc_fail(&line->err, LC_ERR_TOO_LARGE, "a line has more than %zu bytes",
                      LC_MAX_WORKER_LINE);
    } else if (lc_json_parse(text, bytes, LC_JSON_DEFAULT, "a line", &line->object, &line->err) ==
                   LC_OK &&
               !cJSON_IsObject(line->object)) {
        cJSON_Delete(line->object);
        line->object = NULL;
        (void)lc_fail(&line->err, LC_ERR_INVALID, "a line must be a JSON object");
    }
    (void)pthread_mutex_lock(&input->mutex);
    while (input->count >= MAX_WAITING && !input->is_closing) {
        (void)pthread_cond_wait(&input->went, &input->mutex);
    }
    const bool is_open = !input->is_closing;
    *input->last = line;
    input->last = &line->next;
    input->count++;
    (void)pthread_cond_signal(&input->came);
    (void)pthread_mutex_unlock(&input->mutex);
    return is_open;
}

/* A line that is too long is kept no longer than that; its rest is dropped. */
static bool take_bytes(lc_worker_input *input, lc_text *line, const char *bytes, size_t count)
{
    const char *end = bytes + count;
    while (bytes < end) {
        const char *at = memchr(bytes, '\n', (size_t)(end - bytes));
        const size_t piece = (size_t)((at != NULL ? at : end) - bytes);
        if (line->length <= LC_MAX_WORKER_LINE) {
            lc_text_add(line, bytes, piece);
        }
        if (line->failed) {
            return false;
        }
        if (at == NULL) {
            break;
        }
        if (!put_line(input, line->data != NULL ? line->data : "", line->length)) {
            return false;
        }
        line->length = 0;
        bytes = at + 1;
    }
    return true;
}

/* False: the input is being closed. */
static bool wait_readable(lc_worker_input *input)
{
    struct pollfd wanted = {.fd = input->fd, .events = POLLIN};
    for (;;) {
        (void)pthread_mutex_lock(&input->mutex);
        const bool is_closing = input->is_closing;
        (void)pthread_mutex_unlock(&input->mutex);
        if (is_closing) {
            return false;
        }
        const int count = poll(&wanted, 1, LOOK_MS);
        if (count > 0 || (count < 0 && errno != EINTR)) {
            return true;
        }
    }
}

static void *read_lines(void *argument)
{
    lc_worker_input *input = argument;
    lc_text line;
    char *block = lc_malloc(READ_BYTES);
    lc_text_init(&line);
    for (;;) {
        if (!wait_readable(input)) {
            break;
        }
        const ssize_t got = block != NULL ? read(input->fd, block, READ_BYTES) : 0;
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0 || !take_bytes(input, &line, block, (size_t)got)) {
            break;
        }
    }
    lc_free(block);
    lc_text_release(&line);
    (void)pthread_mutex_lock(&input->mutex);
    input->has_ended = true;
    (void)pthread_cond_signal(&input->came);
    (void)pthread_mutex_unlock(&input->mutex);
    return NULL;
}

lc_code lc_worker_input_open(int fd, lc_worker_input **out, lc_err *err)
{
    void *memory = NULL;
    pthread_condattr_t attributes;
    lc_json_init();
    LC_TRY(lc_new(&memory, 1, sizeof **out, "the input of a worker", err));
    lc_worker_input *input = memory;
    input->fd = fd;
    input->last = &input->first;
    (void)pthread_mutex_init(&input->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&input->came, &attributes);
    (void)pthread_cond_init(&input->went, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    const int error = pthread_create(&input->thread, NULL, read_lines, input);
    if (error != 0) {
        lc_free(input);
        errno = error;
        return lc_fail_errno(err, "cannot start a thread");
    }
    *out = input;
    return LC_OK;
}

lc_worker_line *lc_worker_input_take(lc_worker_input *input, double seconds, bool *has_ended)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    const int64_t nanoseconds = until.tv_nsec + (int64_t)(seconds * 1e9);
    until.tv_sec += nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    (void)pthread_mutex_lock(&input->mutex);
    while (seconds > 0 && input->first == NULL && !input->has_ended &&
           pthread_cond_timedwait(&input->came, &input->mutex, &until) == 0) {}
    lc_worker_line *line = input->first;
    if (line != NULL) {
        input->first = line->next;
        if (input->first == NULL) {
            input->last = &input->first;
        }
        input->count--;
        (void)pthread_cond_signal(&input->went);
    }
    *has_ended = line == NULL && input->has_ended;
    (void)pthread_mutex_unlock(&input->mutex);
    return line;
}

void lc_worker_input_close(lc_worker_input *input)
{
    if (input == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&input->mutex);
    input->is_closing = true;
    (void)pthread_cond_signal(&input->went);
    (void)pthread_mutex_unlock(&input->mutex);
    (void)pthread_join(input->thread, NULL);
    while (input->first != NULL) {
        lc_worker_line *next = input->first->next;
        lc_worker_line_free(input->first);
        input->first = next;
    }
    (void)pthread_cond_destroy(&input->came);
    (void)pthread_cond_destroy(&input->went);
    (void)pthread_mutex_destroy(&input->mutex);
    lc_free(input);
}
