/*
 * Inference workers as the service sees them: one process (`lorac worker`) per base model in use,
 * started when it is needed, ended when that was long ago, spoken to in lines of JSON
 * (infer/worker.h has the protocol).
 * Knows adapters by name and directory; keeps as many loaded as the worker takes, the least
 * recently used one makes room.
 */
#ifndef LC_SERVE_WORKER_POOL_H
#define LC_SERVE_WORKER_POOL_H

#include <cjson/cJSON.h>

#include "base/file.h"
#include "base/json.h"
#include "lorac/err.h"

#define LC_MAX_WORKERS           32
#define LC_MAX_WORKER_ADAPTERS   16
#define LC_MAX_WORKER_CHATS      4096 /* of one worker, queued ones included */
#define LC_MAX_WORKER_LINE_BYTES ((size_t)16 << 20)
#define LC_MAX_WORKER_DEATHS     3  /* in a row without an answer; then */
#define LC_WORKER_REST_SECONDS   30 /* nobody starts it for so long */
#define LC_MODEL_NAME_BYTES      256
#define LC_CHAT_ID_BYTES         48

typedef struct lc_worker_pool lc_worker_pool;

typedef struct lc_worker_options {
    const char *program;                       /* path of lorac */
    const char *log_dir;                       /* a worker's errors go to LOG_DIR/BASE.log */
    const char *device;                        /* "auto" */
    int64_t slots, context, adapters, threads; /* 0: the worker's own default */
    int nice;                                  /* steps behind this process */
    double idle_seconds;                       /* without a chat, then a worker ends; 0: never */
} lc_worker_options;

/* What answers: a base, and the adapter on it. */
typedef struct lc_worker_target {
    char base[LC_MODEL_NAME_BYTES]; /* names the worker */
    char base_dir[LC_MAX_PATH_BYTES];
    char adapter[LC_MODEL_NAME_BYTES]; /* ""; the base alone */
    char adapter_dir[LC_MAX_PATH_BYTES];
} lc_worker_target;

/* Each event of a chat, by the worker's thread, in order: "delta", "tool_calls", "finish", and at
 * last one "done" or "error", after which the context is never used again. */
typedef void (*lc_worker_event)(void *context, const char *kind, const cJSON *event);
/* What an "error" is. */
static inline lc_code lc_worker_error_code(const cJSON *event)
{
    const char *name = cJSON_GetStringValue(lc_json_get(event, "code"));
    const lc_code code = name != NULL ? lc_code_of(name) : LC_CODE_COUNT;
    return code == LC_OK || code == LC_CODE_COUNT ? LC_ERR_INTERNAL : code;
}

/* Options and their texts are borrowed. */
LC_WARN_UNUSED lc_code lc_worker_pool_new(const lc_worker_options *options, lc_worker_pool **out,
                                          lc_err *err);
/* Ends all workers; chats under way end with an error. Waits for both. Chats that come later are
 * refused. NULL: nothing. */
void lc_worker_pool_stop(lc_worker_pool *pool);
/* Stops it first. NULL: nothing. */
void lc_worker_pool_free(lc_worker_pool *pool);

/* Sends a chat; members: what a chat line has but op, id and adapter, beginning with a comma. On
 * LC_OK events come, else none. Too many chats or adapters in use: LC_ERR_BUSY. */
LC_WARN_UNUSED lc_code lc_worker_chat(lc_worker_pool *pool, const lc_worker_target *target,
                                      const char *id, const lc_text *members,
                                      lc_worker_event on_event, void *context, lc_err *err);

/* Asks for the end of a chat, without waiting: it then ends with an "error" of code "interrupted"
 * or, when that was too late, as it would have. */
void lc_worker_cancel(lc_worker_pool *pool, const char *base, const char *id);

/* Whether an adapter can be loaded: loads it, and tells how far that is. */
typedef enum lc_adapter_state {
    LC_ADAPTER_LOADING,
    LC_ADAPTER_LOADED,
    LC_ADAPTER_FAILED
} lc_adapter_state;
LC_WARN_UNUSED lc_code lc_worker_load(lc_worker_pool *pool, const lc_worker_target *target,
                                      lc_adapter_state *state, lc_err *err);
/* The same without loading it; one that is not there is as good as loaded: a chat loads it. */
lc_adapter_state lc_worker_peek(lc_worker_pool *pool, const lc_worker_target *target);
/* Forgets an adapter in all workers. */
void lc_worker_drop(lc_worker_pool *pool, const char *adapter);

/* For /metrics: calls see() for each worker that runs. */
typedef struct lc_worker_figures {
    const char *base;
    int64_t process, chats, adapters, starts, prompt_tokens, completion_tokens;
} lc_worker_figures;
void lc_worker_each(lc_worker_pool *pool, void (*see)(void *, const lc_worker_figures *),
                    void *context);

#endif
