/*
 * Chat completions: a request goes to the worker of its base model, the worker's events become an
 * answer at once or server-sent events.
 */
#ifndef LC_SERVE_CHAT_H
#define LC_SERVE_CHAT_H

#include "serve/route.h"
#include "serve/worker_pool.h"

/* Sends the request's chat to the target and answers later. */
LC_WARN_UNUSED lc_code lc_chat_begin(lc_request *request, lc_worker_pool *pool,
                                     const lc_worker_target *target, lc_err *err);

#endif
