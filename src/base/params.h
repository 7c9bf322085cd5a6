/*
 * The one place that reads the environment. Each parameter: name, type, bounds, default, help; the
 * same table feeds `lorac doctor` and the docs.
 */
#ifndef LC_BASE_PARAMS_H
#define LC_BASE_PARAMS_H

#include <stdint.h>

#include "lorac/err.h"

typedef enum lc_param_id {
    LC_PARAM_THREADS,      /* LORAC_THREADS: compute threads, 1..256; default: lc_cpu_count() */
    LC_PARAM_FAULT,        /* LORAC_FAULT: see fault.h */
    LC_PARAM_LOG_LEVEL,    /* LORAC_LOG: debug, info, warn, error */
    LC_PARAM_NO_COLOR,     /* NO_COLOR: any value turns colours off */
    LC_PARAM_COLUMNS,      /* COLUMNS: terminal width */
    LC_PARAM_CUDA_LIBRARY, /* LORAC_CUDA_LIBRARY: file of the CUDA backend */
    LC_PARAM_TUNING,       /* LORAC_TUNING: file of the tuning table, or "off" */
    LC_PARAM_CACHE_HOME,   /* XDG_CACHE_HOME: where caches lie */
    LC_PARAM_HOME,         /* HOME: .cache in it, without the former */
    LC_PARAM_COUNT
} lc_param_id;

typedef struct lc_param {
    const char *name, *type, *default_text, *help;
    int64_t min, max;
} lc_param;

const lc_param *lc_param_describe(lc_param_id id);
/* The text of the environment, or NULL. */
const char *lc_param_text(lc_param_id id);
/* An integer parameter or its default; out of bounds or not a number: LC_ERR_USAGE naming it. */
LC_WARN_UNUSED lc_code lc_param_int(lc_param_id id, int64_t fallback, int64_t *out, lc_err *err);

#endif
