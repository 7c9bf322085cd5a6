/*
 * The pool's side of the protocol; see worker_pool.h. One mutex guards everything but the reading:
 * each worker has a thread that reads its lines and calls the chats' event functions without the
 * mutex. A chat's last event is always that thread's.
 */
#include "serve/worker_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "lorac/log.h"
#include "lorac/mem.h"
#include "serve/worker_process.h"

#define READ_BYTES   65536
#define STOP_SECONDS 10 /* for a worker to end by itself */
#define SEND_SECONDS 2  /* for a worker to take a line */
#define LOOK_SECONDS 1  /* between two looks whether it is idle */

enum stage {
    STAGE_OFF,
    STAGE_RUNS,
    STAGE_ENDS /* its chats have been told, the process is being waited for */
};

typedef struct chat {
    struct chat *next;
    char id[LC_CHAT_ID_BYTES];
    char adapter[LC_MODEL_NAME_BYTES];
    lc_worker_event on_event;
    void *context;
} chat;

typedef struct adapter {
    char name[LC_MODEL_NAME_BYTES];
    lc_adapter_state state;
    int64_t chats; /* under way */
    double used;
    lc_err why; /* of LC_ADAPTER_FAILED */
} adapter;

typedef struct worker {
    lc_worker_pool *pool;
    char base[LC_MODEL_NAME_BYTES];
    char base_dir[LC_MAX_PATH_BYTES];
    enum stage stage;
    bool has_answered;
    lc_err why;      /* it could not even begin; else LC_OK */
    bool has_thread; /* to be joined; with STAGE_OFF it has nothing left to do */
    pid_t process;
    int fd;
    pthread_t thread;
    chat *chats;
    int64_t chat_count;
    adapter adapters[LC_MAX_WORKER_ADAPTERS];
    int adapter_count;
    int64_t adapter_limit;
    bool is_idle_end; /* it is being ended because nobody asks */
    double used;      /* when somebody asked, or it said something */
    int deaths;
    double rests_until;
    int64_t starts, prompt_tokens, completion_tokens;
} worker;

struct lc_worker_pool {
    pthread_mutex_t mutex;
    lc_worker_options options;
    bool is_stopping;
    worker *workers[LC_MAX_WORKERS]; /* owned */
    int count;
};

lc_code lc_worker_pool_new(const lc_worker_options *options, lc_worker_pool **out, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof **out, "the workers", err));
    *out = memory;
    (*out)->options = *options;
    (void)pthread_mutex_init(&(*out)->mutex, NULL);
    return LC_OK;
}

/* ---- what a worker says ---- */

static adapter *find_adapter(worker *of, const char *name)
{
    for (int i = 0; i < of->adapter_count; i++) {
        if (strcmp(of->adapters[i].name, name) == 0) {
            return &of->adapters[i];
        }
    }
    return NULL;
}

/* Takes a chat off the list. */
static chat *take_chat(worker *of, const char *id)
{
    for (chat **at = &of->chats; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->id, id) == 0) {
            chat *found = *at;
            adapter *used = find_adapter(of, found->adapter);
            *at = found->next;
            of->chat_count--;
            if (used != NULL) {
                used->chats--;
                used->used = lc_monotonic_seconds();
            }
            return found;
        }
    }
    return NULL;
}

static chat *find_chat(const worker *of, const char *id)
{
    for (chat *at = of->chats; at != NULL; at = at->next) {
        if (strcmp(at->id, id) == 0) {
            return at;
        }
    }
    return NULL;
}

static const char *text_of(const cJSON *event, const char *key)
{
    const char *text = cJSON_GetStringValue(lc_json_get(event, key));
    return text != NULL ? text : "";
}

static int64_t number_of(const cJSON *event, const char *key)
{
    const cJSON *item = lc_json_get(event, key);
    return cJSON_IsNumber(item) ? (int64_t)item->valuedouble : 0;
}

static void take_adapter_event(worker *of, const char *kind, const cJSON *event)
{
    adapter *about = find_adapter(of, text_of(event, "adapter"));
    if (about == NULL) {
        return;
    }
    if (strcmp(kind, "loaded") == 0) {
        about->state = LC_ADAPTER_LOADED;
    } else if (strcmp(kind, "error") == 0) {
        about->state = LC_ADAPTER_FAILED;
        about->why = (lc_err){.code = LC_OK};
        lc_log(LC_LOG_ERROR, "worker base=%s: adapter %s: %s", of->base, about->name,
               text_of(event, "message")); /* which has paths: not for clients */
        const lc_code code = lc_worker_error_code(event);
        (void)lc_fail(&about->why, code,
                      code == LC_ERR_BUSY
                          ? "There is no room for the model '%s' now; others may make some."
                          : "The model '%s' cannot be loaded. The log of the server says why.",
                      about->name);
    }
    if (about->why.code == LC_ERR_BUSY && of->adapter_count > 1) {
        of->adapter_limit = of->adapter_count - 1; /* no room for more than the others */
    }
}

/* Why the worker cannot begin: what is wrong with the model is for clients, with its folder's name
 * for its path; anything else is for the log. */
static void take_refusal(worker *of, const cJSON *event)
{
    const lc_code code = lc_worker_error_code(event);
    const char *message = text_of(event, "message");
    const size_t length = strlen(of->base_dir);
    of->why = (lc_err){.code = LC_OK};
    lc_log(LC_LOG_ERROR, "worker base=%s: %s", of->base, message);
    if (code != LC_ERR_INVALID && code != LC_ERR_UNSUPPORTED && code != LC_ERR_NOT_FOUND) {
        (void)lc_fail(&of->why, LC_ERR_DEVICE,
                      "The model '%s' cannot be loaded. The log of the server says why.", of->base);
        return;
    }
    const bool is_path = strncmp(message, of->base_dir, length) == 0;
    (void)lc_fail_param(&of->why, LC_ERR_INVALID, "model", "The model cannot be loaded: %s%s",
                        is_path ? of->base : "", message + (is_path ? length : 0));
}

/* An event that ends a chat. NULL: no memory. */
static cJSON *make_error(const lc_err *why)
{
    cJSON *event = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(event, "code", lc_code_name(why->code));
    (void)cJSON_AddStringToObject(event, "message", why->message);
    (void)cJSON_AddStringToObject(event, "param", why->param);
    return event;
}

/* Why the adapter of a chat could not be loaded: the worker only says that it is not there. */
static cJSON *failure_of_adapter(worker *of, const chat *about)
{
    const adapter *used = find_adapter(of, about->adapter);
    return used != NULL && used->state == LC_ADAPTER_FAILED ? make_error(&used->why) : NULL;
}

/* One line. Chats' event functions are called without the mutex; a chat is this thread's to end. */
static void take_event(worker *of, const cJSON *event)
{
    const char *kind = text_of(event, "event"), *id = text_of(event, "id");
    const bool is_last = strcmp(kind, "done") == 0 || strcmp(kind, "error") == 0;
    (void)pthread_mutex_lock(&of->pool->mutex);
    if (!of->has_answered && strcmp(kind, "error") == 0) {
        take_refusal(of, event); /* the first line is "ready" or this */
    } else {
        of->has_answered = true;
        of->deaths = 0;
    }
    of->used = lc_monotonic_seconds();
    if (id[0] == '\0') {
        take_adapter_event(of, kind, event);
    }
    if (strcmp(kind, "ready") == 0 && number_of(event, "adapters") > 0) {
        of->adapter_limit = number_of(event, "adapters");
    }
    of->prompt_tokens += is_last ? number_of(event, "prompt_tokens") : 0;
    of->completion_tokens += is_last ? number_of(event, "completion_tokens") : 0;
    chat *about = is_last ? take_chat(of, id) : find_chat(of, id);
    const bool is_error = about != NULL && strcmp(kind, "error") == 0;
    cJSON *reason = is_error ? failure_of_adapter(of, about) : NULL;
    (void)pthread_mutex_unlock(&of->pool->mutex);
    if (about != NULL) {
        about->on_event(about->context, kind, reason != NULL ? reason : event);
        if (is_last) {
            lc_free(about);
        }
    }
    cJSON_Delete(reason);
}

static void take_line(worker *of, const char *line, size_t bytes)
{
    cJSON *event = NULL;
    lc_err err = {.code = LC_OK};
    if (lc_json_parse(line, bytes, LC_JSON_DEFAULT, "a line of a worker", &event, &err) != LC_OK) {
        lc_log(LC_LOG_ERROR, "worker base=%s: %s", of->base, err.message);
        return;
    }
    take_event(of, event);
    cJSON_Delete(event);
}

/* Cuts what has come into lines; what is left moves to the front. False: too long a line. */
static bool take_lines(worker *of, lc_text *text)
{
    char *begin = text->data, *end = text->data + text->length;
    for (char *at; (at = memchr(begin, '\n', (size_t)(end - begin))) != NULL; begin = at + 1) {
        take_line(of, begin, (size_t)(at - begin));
    }
    text->length = (size_t)(end - begin);
    memmove(text->data, begin, text->length);
    return text->length <= LC_MAX_WORKER_LINE_BYTES;
}

/* The worker is gone: everything that waits for it ends. */
static void end_chats(worker *of)
{
    lc_err why = {.code = LC_OK};
    (void)pthread_mutex_lock(&of->pool->mutex);
    why = of->why;
    chat *left = of->chats;
    of->stage = STAGE_ENDS;
    of->chats = NULL;
    of->chat_count = 0;
    of->adapter_count = 0;
    (void)pthread_mutex_unlock(&of->pool->mutex);
    if (why.code == LC_OK) {
        (void)lc_fail(&why, LC_ERR_DEVICE, "The worker of this model has ended; ask again.");
    }
    cJSON *event = make_error(&why);
    while (left != NULL) {
        chat *next = left->next;
        left->on_event(left->context, "error", event);
        lc_free(left);
        left = next;
    }
    cJSON_Delete(event);
}

static void end_process(worker *of)
{
    const int status = lc_worker_process_end(of->process, STOP_SECONDS);
    (void)pthread_mutex_lock(&of->pool->mutex);
    const bool is_wanted = of->pool->is_stopping || of->is_idle_end;
    lc_log(is_wanted ? LC_LOG_INFO : LC_LOG_ERROR, "worker base=%s process=%d ended=%s %d",
           of->base, (int)of->process, WIFSIGNALED(status) ? "signal" : "exit",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    of->deaths += !is_wanted;
    if (of->deaths >= LC_MAX_WORKER_DEATHS || of->why.code != LC_OK) {
        of->rests_until = lc_monotonic_seconds() + LC_WORKER_REST_SECONDS;
    }
    (void)close(of->fd);
    of->stage = STAGE_OFF;
    (void)pthread_mutex_unlock(&of->pool->mutex);
}

/* Ends a worker that nobody has asked for long. Who asks before it is gone is told to ask again. */
static void look_at_use(worker *of)
{
    const double limit = of->pool->options.idle_seconds;
    (void)pthread_mutex_lock(&of->pool->mutex);
    if (limit > 0.0 && of->stage == STAGE_RUNS && of->has_answered && of->chat_count == 0 &&
        lc_monotonic_seconds() - of->used >= limit) {
        lc_log(LC_LOG_INFO, "worker base=%s process=%d is idle and ends", of->base,
               (int)of->process);
        of->is_idle_end = true;
        of->stage = STAGE_ENDS;
        (void)shutdown(of->fd, SHUT_RDWR); /* its input ends, so does it */
    }
    (void)pthread_mutex_unlock(&of->pool->mutex);
}

static void *read_worker(void *argument)
{
    worker *of = argument;
    lc_text text;
    char *block = lc_malloc(READ_BYTES);
    lc_text_init(&text);
    for (;;) {
        const ssize_t got = block != NULL ? recv(of->fd, block, READ_BYTES, 0) : 0;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            look_at_use(of);
            continue;
        }
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        lc_text_add(&text, block, (size_t)got);
        if (text.failed || !take_lines(of, &text)) {
            break;
        }
    }
    lc_free(block);
    lc_text_release(&text);
    end_chats(of);
    end_process(of);
    return NULL;
}

/* ---- start ---- */

static worker *find_worker(lc_worker_pool *pool, const char *base)
{
    for (int i = 0; i < pool->count; i++) {
        if (strcmp(pool->workers[i]->base, base) == 0) {
            return pool->workers[i];
        }
    }
    return NULL;
}

static lc_code make_worker(lc_worker_pool *pool, const char *base, worker **out, lc_err *err)
{
    void *memory = NULL;
    *out = find_worker(pool, base);
    if (*out != NULL) {
        return LC_OK;
    }
    if (pool->is_stopping) {
        return lc_fail(err, LC_ERR_BUSY, "the service is being stopped; ask again");
    }
    if (pool->count == LC_MAX_WORKERS) {
        return lc_fail(err, LC_ERR_BUSY, "%d base models have a worker already", LC_MAX_WORKERS);
    }
    LC_TRY(lc_new(&memory, 1, sizeof **out, "a worker", err));
    *out = memory;
    (*out)->pool = pool;
    (void)snprintf((*out)->base, sizeof(*out)->base, "%s", base);
    pool->workers[pool->count++] = *out;
    return LC_OK;
}

static lc_code start_worker(worker *of, const lc_worker_target *target, lc_err *err)
{
    of->used = lc_monotonic_seconds();
    if (of->stage == STAGE_RUNS) {
        return LC_OK;
    }
    if (of->pool->is_stopping || of->stage == STAGE_ENDS) {
        return lc_fail(err, LC_ERR_BUSY, "the worker of %s is being stopped; ask again", of->base);
    }
    const bool rests = lc_monotonic_seconds() < of->rests_until;
    if (rests && of->why.code != LC_OK) {
        *err = of->why;
        return err->code;
    }
    if (rests) {
        return lc_fail(err, LC_ERR_BUSY,
                       "the worker of %s has ended %d times in a row; its log says why", of->base,
                       of->deaths);
    }
    if (of->has_thread) {
        (void)pthread_join(of->thread, NULL);
        of->has_thread = false;
    }
    LC_TRY(lc_worker_process_start(&of->pool->options, of->base, target->base_dir, &of->process,
                                   &of->fd, err));
    (void)snprintf(of->base_dir, sizeof of->base_dir, "%s", target->base_dir);
    of->why = (lc_err){.code = LC_OK};
    const struct timeval patience = {.tv_sec = SEND_SECONDS};
    (void)setsockopt(of->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const struct timeval look = {.tv_sec = LOOK_SECONDS};
    (void)setsockopt(of->fd, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof look);
    of->stage = STAGE_RUNS;
    of->is_idle_end = false;
    of->has_answered = false;
    of->adapter_count = 0;
    of->adapter_limit =
        of->pool->options.adapters > 0 ? of->pool->options.adapters : LC_MAX_WORKER_ADAPTERS;
    of->starts++;
    const int error = pthread_create(&of->thread, NULL, read_worker, of);
    if (error != 0) {
        of->stage = STAGE_OFF;
        (void)close(of->fd);
        (void)lc_worker_process_end(of->process, 0);
        errno = error;
        return lc_fail_errno(err, "cannot start the thread of a worker");
    }
    of->has_thread = true;
    lc_log(LC_LOG_INFO, "worker base=%s process=%d started", of->base, (int)of->process);
    return LC_OK;
}

/* ---- what is said to a worker ---- */

static lc_code send_line(const worker *to, const lc_text *line, int flags, lc_err *err)
{
    for (size_t sent = 0; sent < line->length;) {
        const ssize_t count =
            send(to->fd, line->data + sent, line->length - sent, MSG_NOSIGNAL | flags);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            (void)shutdown(to->fd, SHUT_RDWR); /* half a line may be there: it cannot go on */
            return lc_fail(err, LC_ERR_DEVICE, "the worker of %s does not answer", to->base);
        }
        sent += (size_t)count;
    }
    return LC_OK;
}

static void add_member(lc_text *line, const char *key, const char *value)
{
    lc_text_addf(line, ", \"%s\": ", key);
    lc_text_add_json_string(line, value, strlen(value));
}

static lc_code send_adapter(const worker *to, const char *op, const char *name, const char *dir,
                            lc_err *err)
{
    lc_text line;
    lc_text_init(&line);
    lc_text_addf(&line, "{\"op\": \"%s\"", op);
    add_member(&line, "adapter", name);
    if (dir != NULL) {
        add_member(&line, "dir", dir);
    }
    lc_text_addf(&line, "}\n");
    lc_code code = lc_text_finish(&line, "a line for a worker", err);
    if (code == LC_OK) {
        code = send_line(to, &line, 0, err);
    }
    lc_text_release(&line);
    return code;
}

/* Room for one more: a failed adapter's place, or the idle one's that was used longest ago. */
static lc_code make_room(worker *of, adapter **out, lc_err *err)
{
    adapter *oldest = NULL;
    const int limit = of->adapter_limit < LC_MAX_WORKER_ADAPTERS ? (int)of->adapter_limit
                                                                 : LC_MAX_WORKER_ADAPTERS;
    if (of->adapter_count < limit) {
        *out = &of->adapters[of->adapter_count++];
        return LC_OK;
    }
    for (int i = 0; i < of->adapter_count; i++) {
        adapter *one = &of->adapters[i];
        const bool is_idle = one->chats == 0 && one->state != LC_ADAPTER_LOADING;
        if (is_idle && (oldest == NULL || one->used < oldest->used)) {
            oldest = one;
        }
    }
    if (oldest == NULL) {
        return lc_fail(err, LC_ERR_BUSY, "all %d adapters of %s are in use", limit, of->base);
    }
    if (oldest->state == LC_ADAPTER_LOADED) {
        LC_TRY(send_adapter(of, "drop", oldest->name, NULL, err));
    }
    *out = oldest;
    return LC_OK;
}

static lc_code need_adapter(worker *of, const lc_worker_target *target, adapter **out, lc_err *err)
{
    adapter *found = find_adapter(of, target->adapter);
    if (found != NULL && found->why.code == LC_ERR_BUSY && found->chats == 0) {
        *found = of->adapters[--of->adapter_count]; /* another one makes room now */
        found = NULL;
    }
    if (found != NULL && found->state == LC_ADAPTER_FAILED) {
        const double age = lc_monotonic_seconds() - found->used;
        if (age < LC_WORKER_REST_SECONDS) {
            *err = found->why;
            return err->code;
        }
    } else if (found != NULL) {
        *out = found;
        return LC_OK;
    }
    if (found == NULL) {
        LC_TRY(make_room(of, &found, err));
    }
    *found = (adapter){.state = LC_ADAPTER_LOADING, .used = lc_monotonic_seconds()};
    (void)snprintf(found->name, sizeof found->name, "%s", target->adapter);
    *out = found;
    return send_adapter(of, "load", target->adapter, target->adapter_dir, err);
}

static lc_code send_chat(worker *of, const lc_worker_target *target, const char *id,
                         const lc_text *members, lc_err *err)
{
    lc_text line;
    lc_text_init(&line);
    lc_text_addf(&line, "{\"op\": \"chat\"");
    add_member(&line, "id", id);
    if (target->adapter[0] != '\0') {
        add_member(&line, "adapter", target->adapter);
    } else {
        lc_text_addf(&line, ", \"adapter\": null");
    }
    lc_text_add(&line, members->data, members->length);
    lc_text_addf(&line, "}\n");
    lc_code code = lc_text_finish(&line, "a line for a worker", err);
    if (code == LC_OK && line.length > LC_MAX_WORKER_LINE_BYTES) {
        code = lc_fail(err, LC_ERR_TOO_LARGE, "the conversation is too long");
    }
    if (code == LC_OK) {
        code = send_line(of, &line, 0, err);
    }
    lc_text_release(&line);
    return code;
}

static lc_code add_chat(lc_worker_pool *pool, const lc_worker_target *target, chat *added,
                        const lc_text *members, lc_err *err)
{
    worker *of = NULL;
    adapter *used = NULL;
    LC_TRY(make_worker(pool, target->base, &of, err));
    LC_TRY(start_worker(of, target, err));
    if (of->chat_count >= LC_MAX_WORKER_CHATS) {
        return lc_fail(err, LC_ERR_BUSY, "%d chats wait for %s already", LC_MAX_WORKER_CHATS,
                       of->base);
    }
    if (target->adapter[0] != '\0') {
        LC_TRY(need_adapter(of, target, &used, err));
    }
    LC_TRY(send_chat(of, target, added->id, members, err));
    if (used != NULL) {
        used->chats++;
        used->used = lc_monotonic_seconds();
    }
    added->next = of->chats;
    of->chats = added;
    of->chat_count++;
    return LC_OK;
}

lc_code lc_worker_chat(lc_worker_pool *pool, const lc_worker_target *target, const char *id,
                       const lc_text *members, lc_worker_event on_event, void *context, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof(chat), "a chat", err));
    chat *added = memory;
    (void)snprintf(added->id, sizeof added->id, "%s", id);
    (void)snprintf(added->adapter, sizeof added->adapter, "%s", target->adapter);
    added->on_event = on_event;
    added->context = context;
    (void)pthread_mutex_lock(&pool->mutex);
    const lc_code code = add_chat(pool, target, added, members, err);
    (void)pthread_mutex_unlock(&pool->mutex);
    if (code != LC_OK) {
        lc_free(added);
    }
    return code;
}

void lc_worker_cancel(lc_worker_pool *pool, const char *base, const char *id)
{
    lc_text line;
    lc_text_init(&line);
    lc_text_addf(&line, "{\"op\": \"cancel\"");
    add_member(&line, "id", id);
    lc_text_addf(&line, "}\n");
    (void)pthread_mutex_lock(&pool->mutex);
    const worker *of = find_worker(pool, base);
    if (of != NULL && of->stage == STAGE_RUNS && !line.failed && find_chat(of, id) != NULL) {
        lc_err err = {.code = LC_OK};
        if (send_line(of, &line, MSG_DONTWAIT, &err) != LC_OK) {
            lc_log(LC_LOG_WARN, "worker base=%s: %s", base, err.message);
        }
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    lc_text_release(&line);
}

lc_code lc_worker_load(lc_worker_pool *pool, const lc_worker_target *target,
                       lc_adapter_state *state, lc_err *err)
{
    worker *of = NULL;
    adapter *used = NULL;
    (void)pthread_mutex_lock(&pool->mutex);
    lc_code code = make_worker(pool, target->base, &of, err);
    if (code == LC_OK) {
        code = start_worker(of, target, err);
    }
    if (code == LC_OK && target->adapter[0] != '\0') {
        code = need_adapter(of, target, &used, err);
    }
    if (code == LC_OK) {
        *state = used != NULL       ? used->state
                 : of->has_answered ? LC_ADAPTER_LOADED
                                    : LC_ADAPTER_LOADING;
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return code;
}

lc_adapter_state lc_worker_peek(lc_worker_pool *pool, const lc_worker_target *target)
{
    lc_adapter_state state = LC_ADAPTER_LOADED;
    (void)pthread_mutex_lock(&pool->mutex);
    worker *of = find_worker(pool, target->base);
    if (of != NULL && of->why.code != LC_OK) {
        state = LC_ADAPTER_FAILED;
    } else if (of != NULL && of->stage == STAGE_RUNS) {
        const adapter *found = find_adapter(of, target->adapter);
        if (found != NULL) {
            state = found->state;
        } else if (!of->has_answered) {
            state = LC_ADAPTER_LOADING;
        }
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return state;
}

void lc_worker_drop(lc_worker_pool *pool, const char *name)
{
    (void)pthread_mutex_lock(&pool->mutex);
    for (int i = 0; i < pool->count; i++) {
        worker *of = pool->workers[i];
        adapter *found = of->stage == STAGE_RUNS ? find_adapter(of, name) : NULL;
        lc_err err = {.code = LC_OK};
        if (found == NULL) {
            continue;
        }
        if (found->state != LC_ADAPTER_FAILED &&
            send_adapter(of, "drop", name, NULL, &err) != LC_OK) {
            lc_log(LC_LOG_WARN, "worker base=%s: %s", of->base, err.message);
        }
        *found = of->adapters[--of->adapter_count];
    }
    (void)pthread_mutex_unlock(&pool->mutex);
}

void lc_worker_each(lc_worker_pool *pool, void (*see)(void *, const lc_worker_figures *),
                    void *context)
{
    (void)pthread_mutex_lock(&pool->mutex);
    for (int i = 0; i < pool->count; i++) {
        const worker *of = pool->workers[i];
        const lc_worker_figures figures = {.base = of->base,
                                           .process = of->stage == STAGE_RUNS ? of->process : 0,
                                           .chats = of->chat_count,
                                           .adapters = of->adapter_count,
                                           .starts = of->starts,
                                           .prompt_tokens = of->prompt_tokens,
                                           .completion_tokens = of->completion_tokens};
        see(context, &figures);
    }
    (void)pthread_mutex_unlock(&pool->mutex);
}

void lc_worker_pool_stop(lc_worker_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&pool->mutex);
    pool->is_stopping = true;
    for (int i = 0; i < pool->count; i++) {
        if (pool->workers[i]->stage == STAGE_RUNS) {
            (void)shutdown(pool->workers[i]->fd, SHUT_RDWR); /* its input ends, so does it */
        }
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->count; i++) { /* nobody starts one any more */
        if (pool->workers[i]->has_thread) {
            (void)pthread_join(pool->workers[i]->thread, NULL);
            pool->workers[i]->has_thread = false;
        }
    }
}

void lc_worker_pool_free(lc_worker_pool *pool)
{
    lc_worker_pool_stop(pool);
    if (pool == NULL) {
        return;
    }
    for (int i = 0; i < pool->count; i++) {
        lc_free(pool->workers[i]);
    }
    (void)pthread_mutex_destroy(&pool->mutex);
    lc_free(pool);
}
