/* Finding NVIDIA's libraries; see libraries.h. */
#include "libraries.h"

#include "attention_cudnn.h"

#ifdef LORAC_EMULATED

lc_code lc_cuda_load_cublaslt(lc_err *err)
{
    (void)err;
    return LC_OK;
}

lc_code lc_cuda_load_nccl(lc_err *err)
{
    (void)err;
    return LC_OK;
}

#else

#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 4096

lc_cublaslt_functions lc_cublaslt;
lc_nccl_functions lc_nccl;

/* Where a library may be that the system's search does not find; globs. */
static const char *const folders[] = {
    "/usr/local/cuda/lib64",
    "/usr/local/cuda/targets/*/lib",
    "/usr/lib/python3*/*-packages/nvidia/*/lib",
    "/usr/local/lib/python3*/*-packages/nvidia/*/lib",
    "/opt/*/lib/python3*/site-packages/nvidia/*/lib",
};

static void *open_match(const char *pattern)
{
    glob_t found;
    void *handle = NULL;
    if (glob(pattern, 0, NULL, &found) != 0) {
        return NULL;
    }
    for (size_t i = 0; handle == NULL && i < found.gl_pathc; i++) {
        handle = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_GLOBAL);
    }
    globfree(&found);
    return handle;
}

/* VIRTUAL_ENV and CUDA_HOME are what users set for exactly this; the only two the backend reads. */
static void *open_under(const char *variable, const char *pattern)
{
    char path[PATH_BYTES];
    const char *root = getenv(variable);
    if (root == NULL || strchr(root, '*') != NULL) {
        return NULL;
    }
    const int length = snprintf(path, sizeof path, "%s/%s", root, pattern);
    return length > 0 && (size_t)length < sizeof path ? open_match(path) : NULL;
}

static void *open_library(const char *file)
{
    char pattern[PATH_BYTES];
    void *handle = dlopen(file, RTLD_NOW | RTLD_GLOBAL);
    (void)snprintf(pattern, sizeof pattern, "lib64/%s", file);
    handle = handle != NULL ? handle : open_under("CUDA_HOME", pattern);
    (void)snprintf(pattern, sizeof pattern, "lib/python3*/site-packages/nvidia/*/lib/%s", file);
    handle = handle != NULL ? handle : open_under("VIRTUAL_ENV", pattern);
    for (size_t i = 0; handle == NULL && i < sizeof folders / sizeof folders[0]; i++) {
        (void)snprintf(pattern, sizeof pattern, "%s/%s", folders[i], file);
        handle = open_match(pattern);
    }
    return handle;
}

/* ---- the libraries ---- */

#define LOAD_FUNCTION(table, function)                                                \
    symbol = dlsym(handle, #function);                                                \
    memcpy(&table.function##_, &symbol, sizeof symbol);                               \
    if (symbol == NULL) {                                                             \
        return lc_fail(err, LC_ERR_DEVICE, "%s has no function %s", file, #function); \
    }
#define LOAD_CUBLASLT(function) LOAD_FUNCTION(lc_cublaslt, function)
#define LOAD_NCCL(function)     LOAD_FUNCTION(lc_nccl, function)

static lc_code open_wanted(const char *file, const char *package, void **handle, lc_err *err)
{
    *handle = open_library(file);
    if (*handle == NULL) {
        return lc_fail(err, LC_ERR_DEVICE,
                       "%s was not found: install %s, or name its folder in LD_LIBRARY_PATH", file,
                       package);
    }
    return LC_OK;
}

static lc_code load_cublaslt(lc_err *err)
{
    static const char file[] = "libcublasLt.so.13";
    void *symbol = NULL, *handle = NULL;
    LC_TRY(open_wanted(file, "cuBLAS of CUDA 13", &handle, err));
    LC_CUBLASLT_FUNCTIONS(LOAD_CUBLASLT)
    return LC_OK;
}

static lc_code load_nccl(lc_err *err)
{
    static const char file[] = "libnccl.so.2";
    void *symbol = NULL, *handle = NULL;
    LC_TRY(open_wanted(file, "NCCL, which joins several GPUs", &handle, err));
    LC_NCCL_FUNCTIONS(LOAD_NCCL)
    return LC_OK;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool is_cublaslt_loaded, is_nccl_loaded;

static lc_code load_once(bool *is_loaded, lc_code (*load)(lc_err *err), lc_err *err)
{
    (void)pthread_mutex_lock(&mutex);
    const lc_code code = *is_loaded ? LC_OK : load(err);
    *is_loaded = code == LC_OK;
    (void)pthread_mutex_unlock(&mutex);
    return code;
}

lc_code lc_cuda_load_cublaslt(lc_err *err)
{
    return load_once(&is_cublaslt_loaded, load_cublaslt, err);
}

lc_code lc_cuda_load_nccl(lc_err *err)
{
    return load_once(&is_nccl_loaded, load_nccl, err);
}

/* ---- cuDNN, for cudnn/attention_cudnn.cpp ---- */

/* Its frontend looks for the CUDA runtime by this name, and would take an older one. */
static const char runtime_file[] = "libcudart.so.13";
static void *cudnn;

static lc_code load_cudnn(lc_err *err)
{
    void *runtime = NULL;
    LC_TRY(open_wanted(runtime_file, "the runtime of CUDA 13", &runtime, err));
    LC_TRY(open_wanted("libcudnn.so.9", "cuDNN 9 for CUDA 13", &cudnn, err));
    (void)setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", runtime_file, 0);
    return LC_OK;
}

void *lc_cuda_cudnn_library(char why[LC_CUDNN_TEXT_BYTES])
{
    static bool is_loaded;
    lc_err err = {.code = LC_OK};
    if (load_once(&is_loaded, load_cudnn, &err) != LC_OK) {
        (void)snprintf(why, LC_CUDNN_TEXT_BYTES, "%.*s", LC_CUDNN_TEXT_BYTES - 1, err.message);
        return NULL;
    }
    return cudnn;
}

#endif
