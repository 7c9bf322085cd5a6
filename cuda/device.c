/*
 * The device: opening, memory, copies, and the entry of the library. Ops queue on one stream; what
 * says that it waits, waits for that stream.
 */
#include "cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libraries.h"
#include "tuning.h"

#ifdef LORAC_EMULATED
#define BACKEND_NAME "emu"
#else
#define BACKEND_NAME "cuda"
#endif

lc_code lc_cuda_result(cudaError_t error, const char *what, lc_err *err)
{
    if (error == cudaSuccess) {
        return LC_OK;
    }
    const char *end = strchr(what, '('); /* of a call, its name is enough */
    return lc_fail(err, error == cudaErrorMemoryAllocation ? LC_ERR_MEMORY : LC_ERR_DEVICE,
                   "CUDA: %.*s: %s (%s)", end != NULL ? (int)(end - what) : 100, what,
                   cudaGetErrorString(error), cudaGetErrorName(error));
}

/* ---- memory ---- */

lc_code lc_cuda_alloc(lc_device *device, size_t bytes, void **out, lc_err *err)
{
    const size_t size = bytes > 0 ? bytes : 1;
    void *memory = NULL;
    if (cudaMalloc(&memory, size) != cudaSuccess) {
        (void)cudaGetLastError(); /* it is told here; the next launch is not to blame */
        size_t free_bytes = 0, total = 0;
        (void)cudaMemGetInfo(&free_bytes, &total);
        return lc_fail(err, LC_ERR_MEMORY,
                       "out of GPU memory: %zu MiB wanted, %zu of %zu MiB are free", bytes >> 20,
                       free_bytes >> 20, total >> 20);
    }
    lc_code code = lc_cuda_zero(device, memory, bytes, err);
    if (code == LC_OK) {
        code = lc_cuda_sync(device, err); /* before readers fill it on their streams */
    }
    if (code != LC_OK) {
        (void)cudaFree(memory);
        return code;
    }
    *out = memory;
    return LC_OK;
}

void lc_cuda_free(lc_device *device, void *memory)
{
    (void)device;
    (void)cudaFree(memory);
}

lc_code lc_cuda_host_alloc(lc_device *device, size_t bytes, void **out, lc_err *err)
{
    (void)device;
    void *memory = NULL;
    CUDA_TRY(cudaHostAlloc(&memory, bytes > 0 ? bytes : 1, cudaHostAllocDefault));
    *out = memset(memory, 0, bytes);
    return LC_OK;
}

void lc_cuda_host_free(lc_device *device, void *memory)
{
    (void)cudaStreamSynchronize(lc_cuda_of(device)->stream); /* after an error work may be queued */
    (void)cudaFreeHost(memory);
}

static lc_code check_move(const void *to, const void *from, size_t bytes, lc_err *err)
{
    if (bytes > 0 && (to == NULL || from == NULL)) {
        return lc_fail(err, LC_ERR_INTERNAL, "upload/download: %s is NULL, expected memory",
                       to == NULL ? "to" : "from");
    }
    return LC_OK;
}

static lc_code move(lc_device *device, void *to, const void *from, size_t bytes,
                    enum cudaMemcpyKind kind, lc_err *err)
{
    LC_TRY(check_move(to, from, bytes, err));
    if (bytes > 0) {
        CUDA_TRY(cudaMemcpyAsync(to, from, bytes, kind, lc_cuda_of(device)->stream));
    }
    return lc_cuda_sync(device, err);
}

lc_code lc_cuda_upload(lc_device *device, void *to, const void *from, size_t bytes, lc_err *err)
{
    return move(device, to, from, bytes, cudaMemcpyHostToDevice, err);
}

lc_code lc_cuda_download(lc_device *device, void *to, const void *from, size_t bytes, lc_err *err)
{
    return move(device, to, from, bytes, cudaMemcpyDeviceToHost, err);
}

static lc_code move_queued(lc_device *device, void *to, const void *from, size_t bytes,
                           enum cudaMemcpyKind kind, int slot, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    LC_TRY(check_move(to, from, bytes, err));
    CUDA_TRY(cudaMemcpyAsync(to, from, bytes, kind, cuda->stream));
    CUDA_TRY(cudaEventRecord(cuda->copy_slots[slot], cuda->stream));
    return LC_OK;
}

lc_code lc_cuda_upload_queued(lc_device *device, void *to, const void *from, size_t bytes, int slot,
                              lc_err *err)
{
    return move_queued(device, to, from, bytes, cudaMemcpyHostToDevice, slot, err);
}

lc_code lc_cuda_download_queued(lc_device *device, void *to, const void *from, size_t bytes,
                                int slot, lc_err *err)
{
    return move_queued(device, to, from, bytes, cudaMemcpyDeviceToHost, slot, err);
}

lc_code lc_cuda_host_wait(lc_device *device, int slot, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    if (cuda->comm != NULL) {
        return lc_cuda_comm_wait(cuda->comm, cuda->copy_slots[slot], err);
    }
    CUDA_TRY(cudaEventSynchronize(cuda->copy_slots[slot]));
    return LC_OK;
}

lc_code lc_cuda_zero(lc_device *device, void *memory, size_t bytes, lc_err *err)
{
    if (bytes > 0 && memory == NULL) {
        return lc_fail(err, LC_ERR_INTERNAL, "zero: memory is NULL, expected %zu bytes", bytes);
    }
    if (bytes > 0) {
        CUDA_TRY(cudaMemsetAsync(memory, 0, bytes, lc_cuda_of(device)->stream));
    }
    return LC_OK;
}

lc_code lc_cuda_sync(lc_device *device, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    if (cuda->comm != NULL) {
        return lc_cuda_comm_wait(cuda->comm, NULL, err);
    }
    CUDA_TRY(cudaStreamSynchronize(cuda->stream));
    return LC_OK;
}

lc_code lc_cuda_timer_start(lc_device *device, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    CUDA_TRY(cudaEventRecord(cuda->timer[0], cuda->stream));
    return LC_OK;
}

lc_code lc_cuda_timer_stop(lc_device *device, double *seconds, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    float milliseconds = 0.0f;
    CUDA_TRY(cudaEventRecord(cuda->timer[1], cuda->stream));
    CUDA_TRY(cudaEventSynchronize(cuda->timer[1]));
    CUDA_TRY(cudaEventElapsedTime(&milliseconds, cuda->timer[0], cuda->timer[1]));
    *seconds = (double)milliseconds * 1e-3;
    return LC_OK;
}

lc_code lc_cuda_memory_info(lc_device *device, int64_t *used, int64_t *available, lc_err *err)
{
    size_t free_bytes = 0, total = 0;
    (void)device;
    CUDA_TRY(cudaMemGetInfo(&free_bytes, &total));
    *used = (int64_t)(total - free_bytes);
    *available = (int64_t)free_bytes;
    return LC_OK;
}

void lc_cuda_set_workspace(lc_device *device, void *memory, size_t bytes)
{
    lc_cuda *cuda = lc_cuda_of(device);
    const size_t products = lc_cuda_product_workspace(bytes);
    lc_cuda_forget_graphs(cuda);
    lc_cuda_gemms_set_workspace(&cuda->gemms, memory, products);
    cuda->scratch = memory != NULL ? (char *)memory + products : NULL;
    cuda->scratch_bytes = bytes - products;
}

void lc_cuda_set_rows_alone(lc_device *device, bool rows_alone)
{
    lc_cuda_forget_graphs(lc_cuda_of(device));
    lc_cuda_gemms_set_rows_alone(&lc_cuda_of(device)->gemms, rows_alone);
}

/* ---- filling the weights, by several threads ---- */

/* A reader that nobody uses; waits for one when all are busy. */
static lc_cuda_reader *take_reader(lc_cuda *cuda)
{
    for (int i = 0; i < LC_CUDA_READERS; i++) {
        if (pthread_mutex_trylock(&cuda->readers[i].mutex) == 0) {
            return &cuda->readers[i];
        }
    }
    (void)pthread_mutex_lock(&cuda->readers[0].mutex);
    return &cuda->readers[0];
}

/* `from` in another element type, in the reader's own memory, where it fits. */
static lc_code convert(const lc_cuda_reader *reader, lc_dtype dtype, lc_mat *from, lc_err *err)
{
    const size_t row_bytes = (size_t)from->cols * lc_dtype_bytes(dtype);
    for (int64_t i = 0; i < from->rows; i++) {
        const char *source =
            (const char *)from->data + (size_t)(i * from->ld) * lc_dtype_bytes(from->dtype);
        char *target = (char *)reader->converted + (size_t)i * row_bytes;
        if (!lc_convert(source, from->dtype, target, dtype, (size_t)from->cols)) {
            return lc_fail(err, LC_ERR_INTERNAL, "upload_mat: %s to %s", lc_dtype_name(from->dtype),
                           lc_dtype_name(dtype));
        }
    }
    *from = (lc_mat){reader->converted, from->rows, from->cols, from->cols, dtype, 0};
    return LC_OK;
}

/* One piece, waited for. */
static lc_code copy_rows(const lc_cuda_reader *reader, lc_mat to, lc_mat from, lc_err *err)
{
    const size_t size = lc_dtype_bytes(to.dtype);
    if (to.dtype != from.dtype) {
        LC_TRY(convert(reader, to.dtype, &from, err));
    }
    CUDA_TRY(cudaMemcpy2DAsync(to.data, (size_t)to.ld * size, from.data, (size_t)from.ld * size,
                               (size_t)to.cols * size, (size_t)to.rows, cudaMemcpyHostToDevice,
                               reader->stream));
    CUDA_TRY(cudaStreamSynchronize(reader->stream));
    return LC_OK;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* As a whole, or, where it must be converted, in pieces that fit the reader's memory. */
static lc_code copy_pieces(const lc_cuda_reader *reader, lc_mat to, lc_mat from, lc_err *err)
{
    if (to.dtype == from.dtype) {
        return copy_rows(reader, to, from, err);
    }
    const int64_t fits = (int64_t)(LC_CUDA_CONVERT_BYTES / lc_dtype_bytes(to.dtype));
    const int64_t cols = least(to.cols, fits), rows = fits / cols;
    for (int64_t row = 0; row < to.rows; row += rows) {
        for (int64_t col = 0; col < to.cols; col += cols) {
            const int64_t height = least(rows, to.rows - row), width = least(cols, to.cols - col);
            LC_TRY(copy_rows(reader, lc_mat_view(to, row, col, height, width),
                             lc_mat_view(from, row, col, height, width), err));
        }
    }
    return LC_OK;
}

lc_code lc_cuda_upload_mat(lc_device *device, lc_mat to, lc_mat from, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    LC_TRY(lc_copy_check(to, from, err));
    if (to.rows == 0 || to.cols == 0) {
        return LC_OK;
    }
    CUDA_TRY(cudaSetDevice(cuda->index)); /* of this thread */
    lc_cuda_reader *reader = take_reader(cuda);
    const lc_code code = copy_pieces(reader, to, from, err);
    (void)pthread_mutex_unlock(&reader->mutex);
    return code;
}

/* ---- opening and closing ---- */

static void describe_device(lc_cuda *cuda, const struct cudaDeviceProp *properties)
{
    (void)snprintf(cuda->description, sizeof cuda->description,
                   BACKEND_NAME ", %.80s, sm_%d%d, %d multiprocessors, %.1f GiB", properties->name,
                   properties->major, properties->minor, properties->multiProcessorCount,
                   (double)properties->totalGlobalMem / (double)(1u << 30));
}

#define LEAST_CAPABILITY 8 /* cp.async, bf16 mma */

static lc_code choose_device(lc_cuda *cuda, int index, lc_err *err)
{
    struct cudaDeviceProp properties;
    int count = 0;
    const cudaError_t counted = cudaGetDeviceCount(&count);
    if (counted == cudaErrorInsufficientDriver || counted == cudaErrorNoDevice) {
        return lc_fail(err, LC_ERR_DEVICE,
                       "%s; lorac doctor says what is there, \"cpu\" needs no GPU",
                       counted == cudaErrorNoDevice
                           ? "this process sees no GPU"
                           : "there is no NVIDIA driver, or it is older than this CUDA");
    }
    LC_TRY(lc_cuda_result(counted, "cudaGetDeviceCount", err));
    index = count == 1 ? 0 : index; /* launchers may show each rank the GPU that is its own */
    if (index < 0 || index >= count) {
        return lc_fail(err, LC_ERR_DEVICE, "there is no GPU %d: this process sees %d", index,
                       count);
    }
    CUDA_TRY(cudaGetDeviceProperties(&properties, index));
    if (properties.major < LEAST_CAPABILITY) {
        return lc_fail(err, LC_ERR_DEVICE, "%s is sm_%d%d: sm_80 (Ampere) or newer is needed",
                       properties.name, properties.major, properties.minor);
    }
    CUDA_TRY(cudaSetDevice(index));
    cuda->index = index;
    describe_device(cuda, &properties);
    return LC_OK;
}

static lc_code open_readers(lc_cuda *cuda, lc_err *err)
{
    CUDA_TRY(cudaHostAlloc(&cuda->converted, LC_CUDA_READERS * LC_CUDA_CONVERT_BYTES,
                           cudaHostAllocDefault));
    for (int i = 0; i < LC_CUDA_READERS; i++) {
        lc_cuda_reader *reader = &cuda->readers[i];
        reader->converted = (char *)cuda->converted + (size_t)i * LC_CUDA_CONVERT_BYTES;
        CUDA_TRY(cudaStreamCreateWithFlags(&reader->stream, cudaStreamNonBlocking));
    }
    return LC_OK;
}

static lc_code open_streams(lc_cuda *cuda, lc_err *err)
{
    CUDA_TRY(cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking));
    for (int slot = 0; slot < LC_COPY_SLOTS; slot++) {
        CUDA_TRY(cudaEventCreateWithFlags(&cuda->copy_slots[slot], cudaEventDisableTiming));
    }
    for (int i = 0; i < 2; i++) {
        CUDA_TRY(cudaEventCreate(&cuda->timer[i]));
    }
    return LC_OK;
}

lc_code lc_cuda_open(const lc_device_options *options, lc_device **out, lc_err *err)
{
    lc_code code;
    lc_cuda *cuda = calloc(1, sizeof *cuda);
    if (cuda == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for the CUDA device");
    }
    for (int i = 0; i < LC_CUDA_READERS; i++) {
        (void)pthread_mutex_init(&cuda->readers[i].mutex, NULL);
    }
    cuda->device = (lc_device){.ops = &lc_cuda_ops,
                               .description = cuda->description,
                               .reader_count = LC_CUDA_READERS,
                               .memory = &lc_cuda_memory,
                               .choices = &lc_cuda_choice_ops,
                               .state = cuda};
    LC_TRY_GOTO(choose_device(cuda, options->index, err));
    LC_TRY_GOTO(open_streams(cuda, err));
    LC_TRY_GOTO(open_readers(cuda, err));
    LC_TRY_GOTO(lc_cuda_gemms_open(&cuda->gemms, err));
    LC_TRY_GOTO(lc_cuda_attention_open(cuda, options, err)); /* needs cuBLASLt loaded */
    LC_TRY_GOTO(lc_cuda_result(lc_cuda_lora_prepare(), "shared memory of the LoRA kernels", err));
    LC_TRY_GOTO(
        lc_cuda_result(lc_cuda_attention_prepare(), "shared memory of the attention kernels", err));
    *out = &cuda->device;
    return LC_OK;
fail:
    lc_cuda_close(&cuda->device);
    return code;
}

void lc_cuda_close(lc_device *device)
{
    lc_cuda *cuda = lc_cuda_of(device);
    lc_cuda_forget_graphs(cuda);
    for (int i = 0; i < LC_CUDA_READERS; i++) {
        lc_cuda_reader *reader = &cuda->readers[i];
        if (reader->stream != NULL) {
            (void)cudaStreamDestroy(reader->stream);
        }
        (void)pthread_mutex_destroy(&reader->mutex);
    }
    (void)cudaFreeHost(cuda->converted);
    for (int slot = 0; slot < LC_COPY_SLOTS; slot++) {
        if (cuda->copy_slots[slot] != NULL) {
            (void)cudaEventDestroy(cuda->copy_slots[slot]);
        }
    }
    for (int i = 0; i < 2; i++) {
        if (cuda->timer[i] != NULL) {
            (void)cudaEventDestroy(cuda->timer[i]);
        }
    }
    lc_cuda_attention_close(cuda);
    lc_cuda_gemms_close(&cuda->gemms);
    if (cuda->stream != NULL) {
        (void)cudaStreamDestroy(cuda->stream);
    }
    free(cuda);
}

/* ---- the library's entry ---- */

#define NCCL_TEXT_BYTES 48

/* Needed with several ranks only: without it there is still a device. */
static void describe_nccl(char text[NCCL_TEXT_BYTES])
{
    lc_err ignored = {.code = LC_OK};
    int version = 0;
    const bool is_there =
        lc_cuda_load_nccl(&ignored) == LC_OK && LC_NCCL(ncclGetVersion)(&version) == ncclSuccess;
    (void)snprintf(text, NCCL_TEXT_BYTES, is_there ? "NCCL %d.%d.%d" : "no NCCL", version / 10000,
                   version % 10000 / 100, version % 100);
}

static lc_code describe(char text[LC_DESCRIPTION_BYTES], lc_err *err)
{
    int count = 0, driver = 0, runtime = 0;
    CUDA_TRY(cudaRuntimeGetVersion(&runtime));
    CUDA_TRY(cudaDriverGetVersion(&driver));
    if (driver == 0) {
        return lc_fail(err, LC_ERR_DEVICE, "no NVIDIA driver is loaded");
    }
    CUDA_TRY(cudaGetDeviceCount(&count));
    LC_TRY(lc_cuda_load_cublaslt(err));
    const size_t blas = LC_CUBLASLT(cublasLtGetVersion)();
    char nccl[NCCL_TEXT_BYTES];
    describe_nccl(nccl);
    int at = snprintf(text, LC_DESCRIPTION_BYTES,
                      "driver for CUDA %d.%d, runtime %d.%d, cuBLASLt %zu, %s; %d GPU%s",
                      driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10, blas,
                      nccl, count, count == 1 ? "" : "s");
    for (int i = 0; i < count && at < LC_DESCRIPTION_BYTES; i++) {
        struct cudaDeviceProp properties;
        CUDA_TRY(cudaGetDeviceProperties(&properties, i));
        at +=
            snprintf(text + at, (size_t)(LC_DESCRIPTION_BYTES - at), "%s %.80s (sm_%d%d, %.0f GiB)",
                     i == 0 ? ":" : ",", properties.name, properties.major, properties.minor,
                     (double)properties.totalGlobalMem / (double)(1u << 30));
    }
    return LC_OK;
}

__attribute__((visibility("default"))) const lc_backend *lc_backend_entry(void);

const lc_backend *lc_backend_entry(void)
{
    static const lc_backend backend = {.abi = LC_BACKEND_ABI,
                                       .ops_bytes = sizeof(lc_ops),
                                       .version = LC_VERSION,
                                       .name = BACKEND_NAME,
                                       .memory = &lc_cuda_memory,
                                       .open = lc_cuda_open,
                                       .comm_open = lc_cuda_comm_open,
                                       .describe = describe,
                                       .describe_attention = lc_cuda_describe_attention};
    return &backend;
}
