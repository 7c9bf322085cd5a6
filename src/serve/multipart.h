/*
 * multipart/form-data (RFC 7578) as a stream: fed whatever pieces the connection gives, it hands
 * out parts and their bytes as they come. What is held back is a line of a boundary and the header
 * of one part. Strict about the frame, so that no two readers see different parts: CRLF only, no
 * folded headers, no transfer encodings, a body without its final boundary is an error. A line that
 * only begins like a boundary is data.
 */
#ifndef LC_SERVE_MULTIPART_H
#define LC_SERVE_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#define LC_MAX_BOUNDARY_BYTES      70   /* RFC 2046 */
#define LC_MAX_BOUNDARY_PADDING    16   /* blanks behind a boundary; a line with more is data */
#define LC_MAX_OUTSIDE_BYTES       1024 /* before the first boundary, and as many behind the last */
#define LC_MAX_PARTS               32
#define LC_MAX_PART_HEAD_BYTES     8192 /* of one part, with the empty line that ends it */
#define LC_MAX_PART_NAME_BYTES     127
#define LC_MAX_PART_FILENAME_BYTES 1024
#define LC_MAX_PART_TYPE_BYTES     255
#define LC_MAX_FIELD_BYTES         4096 /* of a part without a file name, unless begin raises it */

typedef struct lc_part {
    char name[LC_MAX_PART_NAME_BYTES + 1]; /* UTF-8 without control characters; never empty */
    /* The same, but may be empty; filename* goes before filename. As it was sent: may hold a path,
     * and %22 where a browser had a quotation mark. */
    char filename[LC_MAX_PART_FILENAME_BYTES + 1];
    char type[LC_MAX_PART_TYPE_BYTES + 1]; /* value of Content-Type, "" without one */
    bool is_file;                          /* has a file name, if an empty one */
    int64_t max_bytes;                     /* more is LC_ERR_TOO_LARGE; begin may change it */
} lc_part;

/* What is done with the parts. Calls come in the order begin, data (any number, never 0 bytes),
 * end. After a failure, theirs or the parser's, there are no more calls, not even end. */
typedef struct lc_multipart_sink {
    lc_code (*begin)(void *context, lc_part *part, lc_err *err);
    lc_code (*data)(void *context, const char *bytes, size_t count, lc_err *err);
    lc_code (*end)(void *context, lc_err *err);
    void *context; /* borrowed */
} lc_multipart_sink;

typedef struct lc_multipart lc_multipart;

/* content_type: value of the request's header, which must be multipart/form-data with a boundary.
 * The sink is copied. LC_ERR_INVALID with param "Content-Type", LC_ERR_MEMORY. */
LC_WARN_UNUSED lc_code lc_multipart_open(const char *content_type, const lc_multipart_sink *sink,
                                         lc_multipart **out, lc_err *err);

/* The next bytes of the body. Errors (LC_ERR_INVALID, LC_ERR_TOO_LARGE, LC_ERR_UNSUPPORTED, and
 * those of the sink) stay: every later call gives the first one again. */
LC_WARN_UNUSED lc_code lc_multipart_feed(lc_multipart *parser, const char *bytes, size_t count,
                                         lc_err *err);

/* The body has ended: LC_ERR_INVALID unless its final boundary was there. */
LC_WARN_UNUSED lc_code lc_multipart_finish(lc_multipart *parser, lc_err *err);

void lc_multipart_close(lc_multipart *parser); /* NULL: nothing */

#endif
