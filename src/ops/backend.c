/*
 * Finding and opening backends; see backend.h. A library stays loaded to the end of the process:
 * CUDA cannot be unloaded and loaded again.
 */
#include "ops/backend.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/params.h"
#include "base/system.h"
#include "lorac/log.h"

#define PATH_BYTES  4096
#define PLACE_COUNT 4

/* One kind's library. */
typedef struct loaded {
    const char *file;
    const lc_backend *backend; /* NULL: not loaded */
    char path[PATH_BYTES];
} loaded;

static loaded libraries[LC_DEVICE_KIND_COUNT] = {
    [LC_DEVICE_CUDA] = {.file = "liblorac_cuda.so"},
    [LC_DEVICE_EMU] = {.file = "liblorac_emu.so"},
};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

const char *lc_device_kind_name(lc_device_kind kind)
{
    static const char *const names[LC_DEVICE_KIND_COUNT] = {"auto", "cpu", "cuda", "emu"};
    return names[kind];
}

lc_device_kind lc_device_kind_of(const lc_device *device)
{
    for (int kind = LC_DEVICE_CPU; kind < LC_DEVICE_KIND_COUNT; kind++) {
        if (strcmp(device->ops->name, lc_device_kind_name((lc_device_kind)kind)) == 0) {
            return (lc_device_kind)kind;
        }
    }
    return LC_DEVICE_AUTO;
}

const lc_memory_rules *lc_memory_rules_of(lc_device_kind kind)
{
    return lc_device_kind_is_gpu(kind) ? &lc_cuda_memory : &lc_cpu_memory;
}

int32_t lc_cache_strip(const lc_memory_rules *rules, int64_t slot_rows)
{
    return rules->strip > 0 && slot_rows % rules->strip == 0 ? rules->strip : 0;
}

/* ---- the library ---- */

/* Places to look in, best first: LORAC_CUDA_LIBRARY alone if it is set; else beside the program, in
 * ../lib from there, and the system's own. Returns how many. */
static int places(const char *file, char out[PLACE_COUNT][PATH_BYTES])
{
    char program[PATH_BYTES / 2] = "";
    const char *given = lc_param_text(LC_PARAM_CUDA_LIBRARY);
    if (given != NULL && given[0] != '\0') {
        (void)snprintf(out[0], PATH_BYTES, "%s", given);
        return 1;
    }
    int count = 0;
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    char *slash = length > 0 ? strrchr(program, '/') : NULL;
    if (slash != NULL) {
        *slash = '\0';
        (void)snprintf(out[count++], PATH_BYTES, "%s/%s", program, file);
        (void)snprintf(out[count++], PATH_BYTES, "%s/../lib/%s", program, file);
    }
    (void)snprintf(out[count++], PATH_BYTES, "%s", file);
    return count;
}

static lc_code check_backend(const lc_backend *backend, const char *path, lc_err *err)
{
    if (backend == NULL || backend->abi != LC_BACKEND_ABI || backend->ops_bytes != sizeof(lc_ops) ||
        strcmp(backend->version, LC_VERSION) != 0) {
        return lc_fail(err, LC_ERR_DEVICE,
                       "%s belongs to another version of lorac (%s, this is %s): build both "
                       "together",
                       path, backend != NULL ? backend->version : "unknown", LC_VERSION);
    }
    return LC_OK;
}

/* Opens one place. A file that is there and does not load is an error; one that is not there is
 * LC_ERR_NOT_FOUND. */
static lc_code open_place(loaded *library, const char *path, lc_err *err)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *why = dlerror();
        const bool is_missing = strchr(path, '/') == NULL || access(path, F_OK) != 0;
        return lc_fail(err, is_missing ? LC_ERR_NOT_FOUND : LC_ERR_DEVICE, "%s", why);
    }
    void *symbol = dlsym(handle, LC_BACKEND_ENTRY);
    lc_backend_entry_fn entry = NULL;
    memcpy(&entry, &symbol, sizeof entry);
    if (entry == NULL) {
        return lc_fail(err, LC_ERR_DEVICE, "%s is no backend of lorac", path);
    }
    LC_TRY(check_backend(entry(), path, err));
    library->backend = entry();
    memcpy(library->path, path, strnlen(path, sizeof library->path - 1)); /* zeroed before */
    return LC_OK;
}

static lc_code load(loaded *library, lc_err *err)
{
    char paths[PLACE_COUNT][PATH_BYTES];
    const int count = places(library->file, paths);
    for (int i = 0; i < count; i++) {
        lc_err why = {.code = LC_OK};
        const lc_code code = open_place(library, paths[i], &why);
        if (code == LC_OK) {
            return LC_OK;
        }
        if (code != LC_ERR_NOT_FOUND) {
            return lc_fail(err, code, "%s%s", count == 1 ? "LORAC_CUDA_LIBRARY: " : "",
                           why.message);
        }
        lc_log(LC_LOG_DEBUG, "%s", why.message);
    }
    return lc_fail(err, LC_ERR_DEVICE,
                   count == 1
                       ? "there is no %s (LORAC_CUDA_LIBRARY)"
                       : "there is no %s beside lorac, in ../lib or in the system's folders; "
                         "LORAC_CUDA_LIBRARY can name it",
                   count == 1 ? paths[0] : library->file);
}

lc_code lc_backend_load(lc_device_kind kind, const lc_backend **out, const char **path, lc_err *err)
{
    loaded *library = &libraries[kind];
    (void)pthread_mutex_lock(&mutex);
    const lc_code code = library->backend != NULL ? LC_OK : load(library, err);
    (void)pthread_mutex_unlock(&mutex);
    LC_TRY(code);
    *out = library->backend;
    if (path != NULL) {
        *path = library->path;
    }
    return LC_OK;
}

/* ---- the device ---- */

static lc_code read_attention_path(lc_attention_path *out, lc_err *err)
{
    static const char *const names[] = {"auto", "lorac", "cudnn"};
    const char *text = lc_param_text(LC_PARAM_ATTENTION);
    *out = LC_ATTENTION_AUTO;
    if (text == NULL || text[0] == '\0') {
        return LC_OK;
    }
    for (int path = LC_ATTENTION_AUTO; path <= LC_ATTENTION_CUDNN; path++) {
        if (strcmp(text, names[path]) == 0) {
            *out = (lc_attention_path)path;
            return LC_OK;
        }
    }
    return lc_fail_param(err, LC_ERR_USAGE, lc_param_describe(LC_PARAM_ATTENTION)->name,
                         "LORAC_ATTENTION must be auto, lorac or cudnn, not \"%.40s\"", text);
}

lc_attention_path lc_attention_path_asked(void)
{
    lc_attention_path path;
    lc_err ignored = {.code = LC_OK}; /* opening the device tells it */
    (void)read_attention_path(&path, &ignored);
    return path;
}

lc_code lc_attention_path_check(lc_err *err)
{
    lc_attention_path ignored;
    return read_attention_path(&ignored, err);
}

static void warn(const char *text)
{
    lc_log(LC_LOG_WARN, "%s", text);
}

static lc_code open_kind(lc_device_kind kind, const lc_device_options *options, lc_device **out,
                         lc_err *err)
{
    const lc_backend *backend = NULL;
    if (kind == LC_DEVICE_CPU) {
        return lc_cpu_open(options->threads, out, err);
    }
    if (lc_backend_load(kind, &backend, NULL, err) != LC_OK ||
        backend->open(options, out, err) != LC_OK) {
        return lc_err_context(err, "device %s", lc_device_kind_name(kind));
    }
    return LC_OK;
}

lc_device_kind lc_device_auto(void)
{
    const lc_backend *backend = NULL;
    char text[LC_DESCRIPTION_BYTES];
    lc_err why = {.code = LC_OK};
    if (!lc_system_has_gpu_driver()) { /* no need to load CUDA to learn that */
        return LC_DEVICE_CPU;
    }
    if (lc_backend_load(LC_DEVICE_CUDA, &backend, NULL, &why) == LC_OK &&
        backend->describe(text, &why) == LC_OK) {
        return LC_DEVICE_CUDA;
    }
    lc_log(LC_LOG_WARN, "device auto takes the CPU: %s", why.message);
    return LC_DEVICE_CPU;
}

lc_code lc_device_open(const lc_device_options *options, lc_device **out, lc_err *err)
{
    const lc_device_kind kind = options->kind == LC_DEVICE_AUTO ? lc_device_auto() : options->kind;
    lc_device_options whole = *options;
    *out = NULL;
    if (whole.attention == LC_ATTENTION_AUTO) {
        LC_TRY(read_attention_path(&whole.attention, err));
    }
    if (whole.warn == NULL) {
        whole.warn = warn;
    }
    return open_kind(kind, &whole, out, err);
}
