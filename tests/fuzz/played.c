/*
 * The played parts; see played.h. They have the names of the real ones (serve/supervisor.h,
 * serve/worker_pool.h), which are therefore not linked. A chat gets its events one by one from the
 * thread that runs the server; its last message says what they are.
 */
#include "played.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lorac/mem.h"
#include "serve/supervisor.h"
#include "serve/worker_pool.h"
#include "served.h"

/* ---- the supervisor: jobs stay as they are ---- */

static lc_store *the_store;

lc_code lc_supervisor_start(lc_store *store, const lc_supervisor_options *options,
                            lc_supervisor **out, lc_err *err)
{
    (void)options;
    (void)err;
    the_store = store;
    *out = NULL;
    return LC_OK;
}

void lc_supervisor_poke(lc_supervisor *supervisor)
{
    (void)supervisor;
}

void lc_supervisor_stop(lc_supervisor *supervisor)
{
    (void)supervisor;
}

void lc_supervisor_free(lc_supervisor *supervisor)
{
    (void)supervisor;
}

lc_store *played_store(void)
{
    return the_store;
}

/* ---- workers ---- */

#define MAX_CHATS 16

struct lc_worker_pool {
    int unused;
};

typedef struct chat {
    lc_worker_event on_event;
    void *context;
    char id[LC_CHAT_ID_BYTES];
    cJSON *line; /* owned: what a worker would have been sent */
    int next;    /* event */
    bool is_cancelled;
} chat;

static lc_worker_pool the_pool;
static chat chats[MAX_CHATS]; /* the oldest first */
static int chat_count;
/* Of the list: lc_worker_cancel is called by the thread that watches connections too. */
static pthread_mutex_t chats_mutex = PTHREAD_MUTEX_INITIALIZER;

lc_code lc_worker_pool_new(const lc_worker_options *options, lc_worker_pool **out, lc_err *err)
{
    (void)options;
    (void)err;
    *out = &the_pool;
    return LC_OK;
}

void lc_worker_pool_stop(lc_worker_pool *pool)
{
    (void)pool;
}

void lc_worker_pool_free(lc_worker_pool *pool)
{
    (void)pool;
}

/* What the last message says. */
static const char *wish_of(const chat *c)
{
    const cJSON *messages = lc_json_get(c->line, "messages");
    const cJSON *last = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
    const char *text = cJSON_GetStringValue(lc_json_get(last, "content"));
    return text != NULL ? text : "";
}

lc_code lc_worker_chat(lc_worker_pool *pool, const lc_worker_target *target, const char *id,
                       const lc_text *members, lc_worker_event on_event, void *context, lc_err *err)
{
    lc_text line;
    chat made = {.on_event = on_event, .context = context};
    (void)pool;
    must(target->base[0] != '\0' && target->base_dir[0] == '/');
    must((target->adapter[0] == '\0') == (target->adapter_dir[0] == '\0'));
    lc_text_init(&line);
    lc_text_addf(&line, "{\"op\": \"chat\"%s}", members->data != NULL ? members->data : "");
    must(!line.failed && strchr(line.data, '\n') == NULL);
    must(lc_json_parse(line.data, line.length, LC_JSON_DEFAULT, "a chat", &made.line, err) ==
         LC_OK);
    lc_text_release(&line);
    must(cJSON_GetArraySize(lc_json_get(made.line, "messages")) > 0);
    if (chat_count == MAX_CHATS || strcmp(wish_of(&made), "busy") == 0) {
        cJSON_Delete(made.line);
        return lc_fail(err, LC_ERR_BUSY, "too many chats");
    }
    (void)snprintf(made.id, sizeof made.id, "%s", id);
    (void)pthread_mutex_lock(&chats_mutex);
    chats[chat_count++] = made;
    (void)pthread_mutex_unlock(&chats_mutex);
    return LC_OK;
}

void lc_worker_cancel(lc_worker_pool *pool, const char *base, const char *id)
{
    (void)pool;
    (void)base;
    (void)pthread_mutex_lock(&chats_mutex);
    for (int i = 0; i < chat_count; i++) {
        chats[i].is_cancelled = chats[i].is_cancelled || strcmp(chats[i].id, id) == 0;
    }
    (void)pthread_mutex_unlock(&chats_mutex);
}

static chat take_first(void)
{
    (void)pthread_mutex_lock(&chats_mutex);
    const chat first = chats[0];
    memmove(chats, chats + 1, (size_t)--chat_count * sizeof *chats);
    (void)pthread_mutex_unlock(&chats_mutex);
    return first;
}

static void put_last(const chat *c)
{
    (void)pthread_mutex_lock(&chats_mutex);
    chats[chat_count++] = *c;
    (void)pthread_mutex_unlock(&chats_mutex);
}

static void say(const chat *c, const char *kind, cJSON *event)
{
    c->on_event(c->context, kind, event);
    cJSON_Delete(event);
}

static void fail(const chat *c, const char *code, const char *message)
{
    cJSON *event = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(event, "code", code);
    (void)cJSON_AddStringToObject(event, "message", message);
    (void)cJSON_AddStringToObject(event, "param", "messages");
    say(c, "error", event);
}

static cJSON *for_choice(int index)
{
    cJSON *event = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(event, "index", index);
    return event;
}

static void say_delta(const chat *c, int index)
{
    cJSON *event = for_choice(index);
    (void)cJSON_AddStringToObject(event, "content", wish_of(c));
    (void)cJSON_AddItemToObject(
        event, "logprobs",
        cJSON_Parse("[{\"token\": \"a\", \"logprob\": -0.5, \"bytes\": [97], "
                    "\"top_logprobs\": []}]"));
    say(c, "delta", event);
}

static void say_call(const chat *c, int index)
{
    cJSON *event = for_choice(index);
    (void)cJSON_AddItemToObject(
        event, "tool_calls",
        cJSON_Parse("[{\"id\": \"call_1\", \"type\": \"function\", \"function\": {\"name\": "
                    "\"f\", \"arguments\": \"{}\"}}]"));
    say(c, "tool_calls", event);
}

static void say_end(const chat *c, int index)
{
    cJSON *event = for_choice(index);
    (void)cJSON_AddStringToObject(event, "finish_reason", "stop");
    say(c, "finish", event);
}

static void say_done(const chat *c)
{
    cJSON *event = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(event, "prompt_tokens", 5);
    (void)cJSON_AddNumberToObject(event, "completion_tokens", 7);
    say(c, "done", event);
}

/* Two deltas and the end of each choice, then all is done. False: that was the last event. */
static bool say_next(chat *c)
{
    const cJSON *n = lc_json_get(c->line, "n");
    const int choices = cJSON_IsNumber(n) ? (int)n->valuedouble : 1;
    const int index = c->next / 3;
    if (c->is_cancelled) {
        fail(c, "interrupted", "cancelled");
        return false;
    }
    if (strcmp(wish_of(c), "die") == 0 && c->next == 1) {
        fail(c, "device", "the worker has ended");
        return false;
    }
    if (strcmp(wish_of(c), "fail") == 0) {
        fail(c, "invalid", "no");
        return false;
    }
    if (index == choices) {
        say_done(c);
        return false;
    }
    if (c->next % 3 == 2) {
        say_end(c, index);
    } else if (strcmp(wish_of(c), "call") == 0) {
        say_call(c, index);
    } else {
        say_delta(c, index);
    }
    c->next++;
    return true;
}

bool played_is_busy(void)
{
    return chat_count > 0;
}

/* No lock is held while an event is told: who is told may ask for a cancel. */
bool played_step(void)
{
    if (chat_count == 0) {
        return false;
    }
    chat c = take_first();
    if (say_next(&c)) {
        put_last(&c);
    } else {
        cJSON_Delete(c.line);
    }
    return true;
}

lc_code lc_worker_load(lc_worker_pool *pool, const lc_worker_target *target,
                       lc_adapter_state *state, lc_err *err)
{
    (void)err;
    *state = lc_worker_peek(pool, target);
    return LC_OK;
}

lc_adapter_state lc_worker_peek(lc_worker_pool *pool, const lc_worker_target *target)
{
    (void)pool;
    (void)target;
    return LC_ADAPTER_LOADED;
}

void lc_worker_drop(lc_worker_pool *pool, const char *adapter)
{
    (void)pool;
    (void)adapter;
}

void lc_worker_each(lc_worker_pool *pool, void (*see)(void *, const lc_worker_figures *),
                    void *context)
{
    const lc_worker_figures figures = {.base = PLAYED_BASE, .process = 1};
    (void)pool;
    see(context, &figures);
}

/* ---- who has what ---- */

#define ID(prefix, last) prefix "0000000000000000000000000000000" last

/* clang-format off */
#define FILE_ROW(owner, last, name, purpose, bytes, status)                                \
    "('" ID("file-", last) "', " owner ", '" name "', '" purpose "', " bytes               \
    ", 1600000000, '" status "', 'files/" ID("file-", last) "')"
#define JOB_ROW(owner, last, status)                                                       \
    "('" ID("ftjob-", last) "', " owner ", '" status "', 1600000000, 'base', 'base', "     \
    "'tuned:" last "', '" ID("file-", "1") "', 7, -1, -1, 1.0, '{\"k\": \"v\"}')"
#define EVENT_ROW(last, job, type)                                                         \
    "('" ID("ftevent-", last) "', '" ID("ftjob-", job) "', 1600000000, 'info', 'm', '" type "')"
#define CHECKPOINT_ROW(last, step)                                                         \
    "('" ID("ftchkpt-", last) "', '" ID("ftjob-", "6") "', 1600000000, " step              \
    ", 'tuned:6:ckpt-step-" step "', '{\"step\": " step "}', 'jobs/c" last "')"
#define MODEL_ROW(owner, last)                                                             \
    "('tuned:" last "', " owner ", 'base', '" ID("ftjob-", last) "', 1600000000, 'jobs/m" last "')"
#define DEPLOYMENT_ROW(owner, name, model)                                                 \
    "(" owner ", '" name "', '" model "', 1600000000, 1600000000)"
#define UPLOAD_ROW(owner, last)                                                            \
    "('" ID("upload_", last) "', " owner ", 'u.txt', 'assistants', 'text/plain', 3, "      \
    "1600000000, 1800000000, 'pending')"

const struct played_rows played_rows[] = {
    {"INSERT INTO files (id, owner, filename, purpose, bytes, created_at, status, path) VALUES "
     FILE_ROW("?1", "1", "good.jsonl", "fine-tune", "85", "processed") ", "
     FILE_ROW("?1", "2", "bad.jsonl", "fine-tune", "4", "error") ", "
     FILE_ROW("?1", "3", "notes.txt", "assistants", "6", "processed") ", "
     FILE_ROW("?1", "4", "results.csv", "fine-tune-results", "NULL", "processed") ", "
     FILE_ROW("?2", "5", "other.jsonl", "fine-tune", "85", "processed"), 2},
    {"INSERT INTO jobs (id, owner, status, created_at, model, base, model_name, training_file, "
     "seed, n_epochs, batch_size, learning_rate_multiplier, metadata) VALUES "
     JOB_ROW("?1", "1", "pending") ", " JOB_ROW("?1", "2", "running") ", "
     JOB_ROW("?1", "3", "pausing") ", " JOB_ROW("?1", "4", "paused") ", "
     JOB_ROW("?1", "5", "resuming") ", " JOB_ROW("?1", "6", "succeeded") ", "
     JOB_ROW("?1", "7", "failed") ", " JOB_ROW("?1", "8", "cancelled") ", "
     JOB_ROW("?1", "9", "running") ", " JOB_ROW("?2", "a", "succeeded"), 2},
    {"INSERT INTO events (id, job_id, created_at, level, message, type) VALUES "
     EVENT_ROW("1", "2", "message") ", " EVENT_ROW("2", "2", "metrics") ", "
     EVENT_ROW("3", "6", "message") ", " EVENT_ROW("4", "6", "metrics") ", "
     EVENT_ROW("5", "6", "message") ", " EVENT_ROW("6", "a", "message"), 0},
    {"INSERT INTO checkpoints (id, job_id, created_at, step_number, name, metrics, path) VALUES "
     CHECKPOINT_ROW("1", "10") ", " CHECKPOINT_ROW("2", "20") ", " CHECKPOINT_ROW("3", "30"), 0},
    {"INSERT INTO models (id, owner, base, job_id, created_at, path) VALUES "
     MODEL_ROW("?1", "6") ", " MODEL_ROW("?2", "a"), 2},
    {"INSERT INTO deployments (owner, name, model, created_at, updated_at) VALUES "
     DEPLOYMENT_ROW("?1", "one", "base") ", " DEPLOYMENT_ROW("?1", "two", "tuned:6") ", "
     DEPLOYMENT_ROW("?2", "three", "base"), 2},
    {"INSERT INTO uploads (id, owner, filename, purpose, mime_type, bytes, created_at, "
     "expires_at, status) VALUES " UPLOAD_ROW("?1", "1") ", " UPLOAD_ROW("?2", "2"), 2},
};
/* clang-format on */
const int played_rows_count = sizeof played_rows / sizeof *played_rows;

#define GOOD_ROW                                                            \
    "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": " \
    "\"assistant\", \"content\": \"b\"}]}\n"

/* The checkpoint of step 30 has a row and no adapter, as one that the trainer has just removed. */
const char *const played_folders[] = {"uploads/" ID("upload_", "1"), "uploads/" ID("upload_", "2"),
                                      "jobs/m6", "jobs/c1", "jobs/c2"};
const int played_folder_count = sizeof played_folders / sizeof *played_folders;

#define FILE_IN(folder, name) "jobs/" folder "/" name
#define ADAPTER(folder)                                   \
    {FILE_IN(folder, "adapter_config.json"), "{}"},       \
    {                                                     \
        FILE_IN(folder, "adapter_model.safetensors"), "x" \
    }

const struct played_file played_files[] = {
    {"files/" ID("file-", "1"), GOOD_ROW},
    {"files/" ID("file-", "2"), "bad\n"},
    {"files/" ID("file-", "3"), "notes\n"},
    {"files/" ID("file-", "4"), "step\n"},
    {"files/" ID("file-", "5"), GOOD_ROW},
    ADAPTER("m6"),
    ADAPTER("c1"),
    ADAPTER("c2"),
};
const int played_file_count = sizeof played_files / sizeof *played_files;
