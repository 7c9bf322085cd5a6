/*
 * Parameters of the environment: the table, and the only getenv of the program. `lorac doctor` and
 * the docs print the table.
 */
#include "base/params.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

static const lc_param table[LC_PARAM_COUNT] = {
    [LC_PARAM_THREADS] = {"LORAC_THREADS", "integer", "the cores this process may use",
                          "compute threads; the results do not depend on it", 1, 256},
    [LC_PARAM_FAULT] = {"LORAC_FAULT", "text", "off",
                        "test aid: fail the n-th call (alloc:N, io:N:ENOSPC, io:N:EIO, io:N:SHORT, "
                        "kill:N; a + at the end: and every later one)",
                        0, 0},
    [LC_PARAM_LOG_LEVEL] = {"LORAC_LOG", "text", "warn",
                            "least level shown on stderr: debug, info, warn or error", 0, 0},
    [LC_PARAM_NO_COLOR] = {"NO_COLOR", "flag", "unset", "any value turns colours off", 0, 0},
    [LC_PARAM_CUDA_LIBRARY] = {"LORAC_CUDA_LIBRARY", "file",
                               "liblorac_cuda.so beside lorac, in ../lib or the system's folders",
                               "the CUDA backend to load", 0, 0},
    [LC_PARAM_TUNING] = {"LORAC_TUNING", "file",
                         "the device's own in lorac/tuning of XDG_CACHE_HOME",
                         "the tuning table that a new job on a GPU begins with; off: none", 0, 0},
    [LC_PARAM_CACHE_HOME] = {"XDG_CACHE_HOME", "folder", ".cache in HOME",
                             "where lorac bench --tune puts its tables", 0, 0},
    [LC_PARAM_HOME] = {"HOME", "folder", "none", "used where XDG_CACHE_HOME is not set", 0, 0},
    [LC_PARAM_COLUMNS] = {"COLUMNS", "integer", "asked from the terminal",
                          "width of the terminal in characters", 20, 1000},
};

const lc_param *lc_param_describe(lc_param_id id)
{
    assert((unsigned)id < LC_PARAM_COUNT);
    return &table[id];
}

const char *lc_param_text(lc_param_id id)
{
    return getenv(lc_param_describe(id)->name);
}

lc_code lc_param_int(lc_param_id id, int64_t fallback, int64_t *out, lc_err *err)
{
    const lc_param *param = lc_param_describe(id);
    const char *text = lc_param_text(id);
    if (text == NULL || text[0] == '\0') {
        *out = fallback;
        return LC_OK;
    }
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    const bool starts_well = (text[0] >= '0' && text[0] <= '9') || text[0] == '-';
    if (!starts_well || errno != 0 || *end != '\0' || value < param->min || value > param->max) {
        return lc_fail_param(err, LC_ERR_USAGE, param->name,
                             "%s must be an integer from %" PRId64 " to %" PRId64
                             ", not \"%.100s\"",
                             param->name, param->min, param->max, text);
    }
    *out = value;
    return LC_OK;
}
