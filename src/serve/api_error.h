/*
 * Errors as all clients of the API read them: {"error": {"code", "message", "param", "type"}}. One
 * table from lc_code to status and code.
 */
#ifndef LC_SERVE_API_ERROR_H
#define LC_SERVE_API_ERROR_H

#include "serve/api_code.h"
#include "serve/request.h"

/* An error of the API that no lc_code stands for. */
typedef struct lc_api_error {
    int status;
    const char *code, *type; /* static */
    const char *message;
    const char *param;      /* NULL: none */
    int64_t retry_after_ms; /* 0: nothing said */
} lc_api_error;

/* Makes it the answer, whatever the answer was before. Never fails: short of memory it is a plain
 * 500 without a body. */
void lc_api_fail(lc_request *request, const lc_api_error *error);

/* The same for a failure of ours. Of what is our own fault (500) the client learns the request's id
 * only, of a full disk nothing but that: places on this machine are for the log. */
void lc_api_fail_with(lc_request *request, const lc_err *err);

/* Drops what has been made of an answer. */
void lc_response_reset(lc_response *response);

#endif
