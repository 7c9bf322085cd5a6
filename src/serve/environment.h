/*
 * The environment of trainers and workers: a stated part of the server's own, so that keys and
 * secrets, and the ranks of whatever launched the server, stay with it.
 */
#ifndef LC_SERVE_ENVIRONMENT_H
#define LC_SERVE_ENVIRONMENT_H

#include "lorac/err.h"

/* *out: for posix_spawn; the list is the caller's to free (lc_free), its texts are borrowed. */
LC_WARN_UNUSED lc_code lc_environment_of_child(char ***out, lc_err *err);

#endif
