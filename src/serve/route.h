/*
 * Which handler serves a path: a table of methods and patterns. "/files/{id}/content" has one
 * parameter; a segment in braces takes any segment that is not empty.
 */
#ifndef LC_SERVE_ROUTE_H
#define LC_SERVE_ROUTE_H

#include "serve/request.h"

typedef lc_code (*lc_handler)(lc_request *request, lc_err *err);

typedef enum lc_body_kind {
    LC_BODY_NONE,  /* what is sent is read and dropped */
    LC_BODY_JSON,  /* at most LC_MAX_REQUEST_JSON_BYTES */
    LC_BODY_STREAM /* handed to the sink as it comes, at most LC_MAX_MULTIPART_BYTES */
} lc_body_kind;

typedef enum lc_route_flags {
    LC_ROUTE_ROOT = 1,   /* stands at the root, not behind a family's prefix */
    LC_ROUTE_PUBLIC = 2, /* asks for no key */
    LC_ROUTE_SMALL = 4,  /* JSON of at most LC_MAX_SMALL_JSON_BYTES */
} lc_route_flags;

/* Takes a body piece by piece. After a failure of begin or data the rest of the body is dropped.
 * `discard` is called once for a request whose begin has succeeded and whose handler is not
 * called. */
typedef struct lc_body_sink {
    lc_code (*begin)(lc_request *request, lc_err *err);
    lc_code (*data)(lc_request *request, const char *bytes, size_t count, lc_err *err);
    void (*discard)(lc_request *request);
} lc_body_sink;

typedef struct lc_route {
    const char *method; /* "GET": HEAD too */
    const char *pattern;
    lc_handler handle;
    lc_body_kind body;
    unsigned flags;
    const lc_body_sink *sink; /* of LC_BODY_STREAM */
} lc_route;

typedef struct lc_route_table {
    const lc_route *routes;
    int count;
} lc_route_table;

typedef struct lc_route_match {
    const lc_route *route; /* NULL: no such path, or not with this method */
    lc_url_family family;
    bool has_path;   /* the path is there with another method */
    int param_count; /* of its pattern, the one with the fewest that fits */
    char allow[64];  /* methods that the path has: "GET, POST" */
    char *params[LC_MAX_ROUTE_PARAMS];
} lc_route_match;

/* path: as sent, with its percent signs; it is taken apart in place. A path that is no path
 * (percent signs that say nothing, NUL, bad UTF-8): LC_ERR_INVALID. */
LC_WARN_UNUSED lc_code lc_route_find(const lc_route_table *tables, int table_count,
                                     const char *method, char *path, lc_route_match *match,
                                     lc_err *err);

/* Percent signs taken out, in place; plus signs are blanks in a query. False: not a text in UTF-8
 * without NUL. */
bool lc_percent_decode(char *text, bool is_query);

#endif
