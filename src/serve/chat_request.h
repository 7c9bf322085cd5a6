/*
 * The body of a chat completion: checked field by field, and said again as a worker takes it.
 */
#ifndef LC_SERVE_CHAT_REQUEST_H
#define LC_SERVE_CHAT_REQUEST_H

#include "base/json.h"

#define LC_MAX_CHAT_MESSAGES   2048
#define LC_MAX_CHAT_TOOLS      128
#define LC_MAX_CHAT_CHOICES    16
#define LC_MAX_CHAT_STOPS      4
#define LC_MAX_CHAT_STOP_BYTES 256
#define LC_MAX_TOP_LOGPROBS    20

typedef struct lc_chat_request {
    const char *model; /* borrowed from the body; NULL: not said */
    int64_t choices;
    bool is_streaming;
    bool has_usage; /* stream_options.include_usage */
    bool has_logprobs;
} lc_chat_request;

/* members: what lc_worker_chat wants; appended. Unknown fields, and known ones that this server
 * cannot do, are refused by name; those that change nothing here (user, metadata, ...) are left
 * out. */
LC_WARN_UNUSED lc_code lc_chat_request_read(const cJSON *body, const char *owner,
                                            lc_chat_request *out, lc_text *members, lc_err *err);

#endif
