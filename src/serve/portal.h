/*
 * The portal: a page of static files, in this program as bytes, that works through the API alone.
 * The files are those of src/serve/portal/, made into C by embed.cmake there.
 */
#ifndef LC_SERVE_PORTAL_H
#define LC_SERVE_PORTAL_H

#include "serve/route.h"

typedef struct lc_portal_file {
    const char *name;
    const char *type; /* content type */
    const char *etag; /* with its quotes; changes with the bytes */
    const unsigned char *bytes;
    size_t size;
} lc_portal_file;

extern const lc_portal_file lc_portal_files[];
extern const int lc_portal_file_count;

/* GET / and GET /portal/{file}; both ask for no key: the page asks for one when the API does. */
extern const lc_route_table lc_portal_routes;

#endif
