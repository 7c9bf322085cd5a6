/*
 * What of the environment trainers and workers get; see environment.h.
 */
#include "serve/environment.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/params.h"
#include "lorac/mem.h"

extern char **environ;

/* What is uploaded stays in DATA: no cache of tokenized data sets. */
static char no_cache[] = "LORAC_DATASETS=off";

/* Beside lorac's own parameters: what the C library, the loader, NVIDIA's libraries and sanitizers
 * read. */
static const char *const names[] = {
    "PATH",   "LD_LIBRARY_PATH", "TMPDIR",        "TZ",           "LANG",
    "LC_ALL", "ASAN_OPTIONS",    "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"};
static const char *const families[] = {"CUDA_", "CUBLAS_", "CUBLASLT_", "CUDNN_", "NVIDIA_"};

static bool is_name(const char *variable, const char *name)
{
    const size_t length = strlen(name);
    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

static bool is_passed_on(const char *variable)
{
    for (int id = 0; id < LC_PARAM_FIRST_LAUNCHER; id++) {
        if (id != LC_PARAM_FAULT && id != LC_PARAM_DATASETS &&
            is_name(variable, lc_param_describe((lc_param_id)id)->name)) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (is_name(variable, names[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strncmp(variable, families[i], strlen(families[i])) == 0) {
            return true;
        }
    }
    return false;
}

lc_code lc_environment_of_child(char ***out, lc_err *err)
{
    size_t count = 0, kept = 0;
    void *memory = NULL;
    while (environ[count] != NULL) {
        count++;
    }
    LC_TRY(lc_new(&memory, count + 2, sizeof(char *), "an environment", err));
    char **copy = memory;
    for (size_t i = 0; i < count; i++) {
        if (is_passed_on(environ[i])) {
            copy[kept++] = environ[i];
        }
    }
    copy[kept] = no_cache;
    *out = copy;
    return LC_OK;
}
