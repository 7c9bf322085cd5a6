/*
 * One HTTP request and its answer, as handlers see them: decoded, bounded and authenticated. Knows
 * nothing of the library underneath (http.c).
 */
#ifndef LC_SERVE_REQUEST_H
#define LC_SERVE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "lorac/mem.h"
#include "serve/stream.h"

#define LC_MAX_URL_BYTES          4096 /* path, as it was sent */
#define LC_MAX_ROUTE_PARAMS       4
#define LC_MAX_QUERY              64   /* members of a query */
#define LC_MAX_QUERY_BYTES        2048 /* of one name or value, decoded */
#define LC_MAX_RESPONSE_HEADERS   6
#define LC_REQUEST_ID_BYTES       40 /* a UUID in text */
#define LC_OWNER_BYTES            64
#define LC_MAX_API_KEY_BYTES      256
#define LC_MAX_REQUEST_JSON_BYTES ((int64_t)4 << 20) /* of a body of JSON; LC_ROUTE_SMALL below */
#define LC_MAX_SMALL_JSON_BYTES   ((int64_t)256 << 10)
#define LC_MAX_MULTIPART_BYTES    (((int64_t)512 << 20) + 65536) /* a file of 512 MiB, its fields */

/* Which of the URL families a request came in by; paths behind the prefix are the same. */
typedef enum lc_url_family {
    LC_URL_ROOT,    /* none: /healthz, the portal, the control plane's paths */
    LC_URL_V1,      /* /openai/v1, /v1, /api/projects/P/openai/v1 */
    LC_URL_CLASSIC, /* /openai with api-version, /api/projects/P/openai */
} lc_url_family;

typedef struct lc_query_pair {
    const char *name, *value;
} lc_query_pair;

typedef struct lc_response {
    int status;       /* 200 until set */
    const char *type; /* content type; static */
    lc_text body;     /* owned; sent unless there is a file or a stream */
    int file_fd;      /* owned; -1: none. Its first file_bytes bytes are sent */
    int64_t file_bytes;
    lc_stream *stream;                                  /* a reference of its own; NULL: none */
    const char *header_names[LC_MAX_RESPONSE_HEADERS];  /* static */
    const char *header_values[LC_MAX_RESPONSE_HEADERS]; /* in the request's arena, or static */
    int header_count;
} lc_response;

struct lc_route;

typedef struct lc_request {
    const struct lc_route *route;
    struct lc_service *service; /* borrowed; what the handlers of this server work on */
    lc_url_family family;
    char id[LC_REQUEST_ID_BYTES];
    char owner[LC_OWNER_BYTES]; /* id of the API key; "": nobody had to say who it is */
    const char *params[LC_MAX_ROUTE_PARAMS]; /* {..} of the route's pattern, decoded, in order */
    lc_query_pair query[LC_MAX_QUERY];       /* decoded */
    int query_count;
    const char *content_type, *accept, *if_none_match; /* headers as sent; "" without one */
    cJSON *body;   /* of routes with LC_BODY_JSON: an object, or NULL when none was sent */
    void *upload;  /* of routes with LC_BODY_STREAM: theirs */
    void *pending; /* of handlers that defer: theirs */
    void (*on_gone)(struct lc_request *request); /* see lc_request_defer */
    lc_arena arena;                              /* lives until the answer is sent */
    lc_response response;
    bool is_deferred;
} lc_request;

/* The value of a query's first member of that name; NULL without one, or where it is empty, as some
 * clients send what was not given. */
const char *lc_request_query(const lc_request *request, const char *name);
/* The same as an integer in [low, high], `fallback` without one; else LC_ERR_INVALID. */
LC_WARN_UNUSED lc_code lc_request_query_int(const lc_request *request, const char *name,
                                            int64_t low, int64_t high, int64_t fallback,
                                            int64_t *out, lc_err *err);

/* Adds a header; `name` is static, the value is copied. More than LC_MAX_RESPONSE_HEADERS, or a
 * value with control characters: LC_ERR_INTERNAL. */
LC_WARN_UNUSED lc_code lc_response_header(lc_request *request, const char *name, const char *value,
                                          lc_err *err);

/* For what has been made, its object in the body: 201 and its place in the classic family, 200 in
 * the others. `place` is the path before its id. */
LC_WARN_UNUSED lc_code lc_response_created(lc_request *request, const char *place, lc_err *err);

/* Sends a file: its length is what it has now. */
LC_WARN_UNUSED lc_code lc_response_file(lc_request *request, const char *path, const char *type,
                                        lc_err *err);

/* The answer comes later: the handler calls this before anybody else knows of the request, then
 * returns LC_OK. Whoever has filled request->response calls lc_request_resume, once, holding no
 * lock that on_gone takes. Until then, when the client hangs up, request->on_gone (may be NULL) is
 * called, once, by another thread: it may not wait, and the request still has to be resumed. */
void lc_request_defer(lc_request *request);
void lc_request_resume(lc_request *request);

#endif
