/*
 * The inference worker: a process of its own for one base model, which answers chats for whoever
 * holds the other end of its socket (serve/worker_pool.h). Chats of several adapters are generated
 * side by side; each answer depends on its own request and seed only.
 *
 * One JSON object a line, UTF-8, both ways. To the worker:
 *
 *   {"op": "load", "adapter": NAME, "dir": PATH}    loaded, or error with "adapter"
 *   {"op": "drop", "adapter": NAME}                 dropped, once the chats that use it have ended
 *   {"op": "chat", "id": ID, "owner": KEY, "adapter": NAME or null, "messages": [...], "tools",
 *    "template": {variables}, "max_tokens", "temperature", "top_p", "seed", "n", "stop": [...],
 *    "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty", "logit_bias"}
 *   {"op": "cancel", "id": ID}                      error "interrupted", unless it has ended
 *   {"op": "ping"}                                  pong
 *
 * From the worker:
 *
 *   {"event": "ready", "slots", "context", "adapters", "memory_bytes"}     once, at the beginning
 *       (or error with neither "id" nor "adapter": it cannot work, and ends)
 *   {"event": "loaded", "adapter", "memory_bytes"}, {"event": "dropped", "adapter"}
 *   {"event": "delta", "id", "index", "content", "logprobs": [...]}        a piece of a choice
 *   {"event": "finish", "id", "index", "finish_reason": "stop" or "length"}
 *   {"event": "done", "id", "prompt_tokens", "completion_tokens", "cached_tokens"}
 *   {"event": "error", "id" or "adapter" or neither, "code", "message", "param"}
 *   {"event": "pong", "active", "queued", "prompt_tokens", "tokens", "adapters": [...]}
 *
 * A chat ends with one "done" or "error". Codes are lc_code_name's. A chat for an adapter that is
 * being loaded waits for it; for one that was never asked for it is an error. An adapter for which
 * there is no place or no memory is the error "busy": dropping another one may help.
 */
#ifndef LC_INFER_WORKER_H
#define LC_INFER_WORKER_H

#include <signal.h>

#include "lorac/backend.h"
#include "model/adapter.h"

#define LC_MAX_WORKER_LINE       ((size_t)16 << 20)
#define LC_MAX_WORKER_SLOTS      256
#define LC_MAX_WORKER_LOADED     LC_MAX_ADAPTER_COPIES
#define LC_MAX_WORKER_QUEUE      4096 /* chats that have not ended */
#define LC_MAX_WORKER_CHOICES    16   /* n of one chat */
#define LC_MAX_WORKER_STOPS      4
#define LC_MAX_WORKER_STOP_BYTES 256
#define LC_MAX_WORKER_NAME_BYTES 256 /* of ids, owners and adapters, with the NUL */

typedef struct lc_worker_run_options {
    const char *model_dir;
    lc_device_kind device;
    const char *dtype;
    int threads;            /* 0: lc_engine_threads' */
    int64_t slots, context; /* 0: 8 sequences; 4096 tokens or the model's context */
    int64_t adapters;       /* at once; each takes its memory when it is loaded */
    int fd_in, fd_out;
    const volatile sig_atomic_t *is_stopping; /* set: takes no more chats, ends those it has */
} lc_worker_run_options;

/* Works until its input ends, or its device fails. */
LC_WARN_UNUSED lc_code lc_worker_run(const lc_worker_run_options *options, lc_err *err);

#endif
