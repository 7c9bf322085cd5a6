/* Header values of multipart/form-data: for multipart.c only. */
#ifndef LC_SERVE_MULTIPART_HEAD_H
#define LC_SERVE_MULTIPART_HEAD_H

#include "serve/multipart.h"

/* The boundary that a request's Content-Type names. */
LC_WARN_UNUSED lc_code lc_multipart_read_boundary(const char *content_type,
                                                  char out[LC_MAX_BOUNDARY_BYTES + 1], lc_err *err);

/* A part's header lines, the empty one at the end included. Fills all of *part but max_bytes. */
LC_WARN_UNUSED lc_code lc_multipart_read_head(const char *head, size_t bytes, lc_part *part,
                                              lc_err *err);

#endif
