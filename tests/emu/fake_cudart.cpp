/* libcudart against the genuine header: errors, devices, memory and copies. What is not here does
 * not link, which is meant: a new call of the runtime needs its emulation first. */
#include <algorithm>
#include <stdio.h>

#include "emu_counters_internal.h"
#include "emu_internal.h"
#include "emu_runtime.h"

using namespace emu;

namespace
{
struct ErrorText {
    cudaError_t error;
    const char *name, *text;
};

#define EMU_ERROR(name, text) \
    {                         \
        name, #name, text     \
    }
const ErrorText ERROR_TEXTS[] = {
    EMU_ERROR(cudaSuccess, "no error"),
    EMU_ERROR(cudaErrorInvalidValue, "invalid argument"),
    EMU_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    EMU_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    EMU_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    EMU_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    EMU_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    EMU_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    EMU_ERROR(cudaErrorNotReady, "device not ready"),
    EMU_ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    EMU_ERROR(cudaErrorNotSupported, "operation not supported"),
    EMU_ERROR(cudaErrorHostMemoryAlreadyRegistered, "part or all of the memory is registered"),
    EMU_ERROR(cudaErrorHostMemoryNotRegistered, "pointer is no registered memory"),
    EMU_ERROR(cudaErrorStreamCaptureUnsupported,
              "operation not permitted when stream is capturing"),
    EMU_ERROR(cudaErrorStreamCaptureInvalidated,
              "operation failed due to a previous error during capture"),
    EMU_ERROR(cudaErrorStreamCaptureMerge, "operation would merge two capture sequences"),
    EMU_ERROR(cudaErrorStreamCaptureUnmatched, "capture was not initiated in this stream"),
    EMU_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    EMU_ERROR(cudaErrorStreamCaptureIsolation,
              "dependency created on uncaptured work in another stream"),
    EMU_ERROR(cudaErrorStreamCaptureImplicit,
              "operation would make the legacy stream depend on a capturing blocking stream"),
    EMU_ERROR(cudaErrorCapturedEvent,
              "operation not permitted on an event last recorded in a capturing stream"),
    EMU_ERROR(cudaErrorStreamCaptureWrongThread,
              "attempt to terminate a thread-local capture sequence from another thread"),
};

const ErrorText *error_text(cudaError_t error)
{
    for (const ErrorText &text : ERROR_TEXTS) {
        if (text.error == error)
            return &text;
    }
    static const ErrorText unknown = {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"};
    return &unknown;
}

bool is_device(int device)
{
    return device >= 0 && device < config().device_count;
}

// Memory as a copy sees it: is [p, p + bytes) device memory, pinned or plain host memory, or does
// it run over?
enum class Place { Device, Pinned, Plain, Overrun };

Place place_of(const void *p, size_t bytes)
{
    const Allocation *allocation = find_allocation(p, bytes);
    if (allocation)
        return allocation->type == cudaMemoryTypeDevice ? Place::Device : Place::Pinned;
    return find_allocation(p, 1) ? Place::Overrun : Place::Plain;
}

bool is_host(Place place)
{
    return place == Place::Plain || place == Place::Pinned;
}

cudaError_t check_copy(const void *to, const void *from, size_t to_bytes, size_t from_bytes,
                       cudaMemcpyKind kind)
{
    Lock lock(runtime()->mutex);
    Place target = place_of(to, to_bytes), source = place_of(from, from_bytes);
    bool is_right = target != Place::Overrun && source != Place::Overrun;
    bool to_host = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyHostToHost;
    bool from_host = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyHostToHost;
    if (is_right && kind != cudaMemcpyDefault) {
        // Pinned memory may stand for either side.
        is_right = is_host(target) == to_host || target == Place::Pinned;
        is_right = is_right && (is_host(source) == from_host || source == Place::Pinned);
    }
    if (is_right)
        return cudaSuccess;
    fprintf(stderr,
            "EMU: a copy of %zu bytes of kind %d does not fit its pointers or overruns them\n",
            to_bytes, int(kind));
    return cudaErrorInvalidValue;
}

struct Copy2d {
    char *to;
    size_t to_pitch;
    const char *from;
    size_t from_pitch;
    size_t width, height;
};

size_t extent(size_t pitch, size_t width, size_t height)
{
    return height ? (height - 1) * pitch + width : 0;
}

cudaError_t copy(const Copy2d &c, cudaMemcpyKind kind, cudaStream_t stream)
{
    if (c.width == 0 || c.height == 0)
        return cudaSuccess;
    if (c.to_pitch < c.width || c.from_pitch < c.width)
        return fail(cudaErrorInvalidValue);
    cudaError_t error = check_copy(c.to, c.from, extent(c.to_pitch, c.width, c.height),
                                   extent(c.from_pitch, c.width, c.height), kind);
    if (error != cudaSuccess)
        return fail(error);
    auto run = [c] {
        for (size_t row = 0; row < c.height; row++)
            memmove(c.to + row * c.to_pitch, c.from + row * c.from_pitch, c.width);
        count_operands("memcpy", c.width * c.height, c.width * c.height);
    };
    return enqueue(stream, {"memcpy", true, cudaGraphNodeTypeMemcpy, {run, nullptr}, nullptr});
}

cudaError_t set(void *p, size_t pitch, int value, size_t width, size_t height, cudaStream_t stream)
{
    if (width == 0 || height == 0)
        return cudaSuccess;
    {
        Lock lock(runtime()->mutex);
        if (pitch < width || !find_allocation(p, extent(pitch, width, height)))
            return fail(cudaErrorInvalidValue);
    }
    auto run = [=] {
        for (size_t row = 0; row < height; row++)
            memset(static_cast<char *>(p) + row * pitch, value, width);
        count_operands("memset", 0, width * height);
    };
    return enqueue(stream, {"memset", true, cudaGraphNodeTypeMemset, {run, nullptr}, nullptr});
}

// Ends a call that waits for its work.
cudaError_t finish(cudaError_t error)
{
    return error == cudaSuccess ? cudaStreamSynchronize(nullptr) : error;
}

// Allocation and freeing are not allowed while capturing; freeing waits for the device first.
cudaError_t refuse(Lock *lock)
{
    (void)lock;
    return refuse_while_capturing();
}

void wait_for_device(Lock *lock, int device)
{
    auto is_done = [device] {
        for (const CUstream_st *stream : runtime()->streams) {
            if (stream->device == device && !is_idle(stream))
                return false;
        }
        return true;
    };
    drain(lock, is_done, nullptr);
}
} // namespace

extern "C" {
const char *cudaGetErrorName(cudaError_t error)
{
    return error_text(error)->name;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error_text(error)->text;
}

// ---- devices ----

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = config().device_count;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    if (!is_device(device))
        return fail(cudaErrorInvalidDevice);
    set_current_device(device);
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current_device();
    return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned)
{
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    if (!is_device(device))
        return fail(cudaErrorInvalidDevice);
    const DeviceModel &model = config().device;
    memset(static_cast<void *>(properties), 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "%s", model.name);
    properties->uuid.bytes[0] = char(device + 1);
    properties->totalGlobalMem = model.memory_bytes;
    properties->sharedMemPerBlock = STATIC_SHARED_LIMIT;
    properties->sharedMemPerBlockOptin = model.shared_bytes_per_block;
    properties->sharedMemPerMultiprocessor = model.shared_bytes_per_multiprocessor;
    properties->reservedSharedMemPerBlock = 1024;
    properties->regsPerBlock = properties->regsPerMultiprocessor = 65536;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = MAX_BLOCK_THREADS;
    properties->maxThreadsPerMultiProcessor = 2048;
    properties->maxBlocksPerMultiProcessor = 32;
    properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = 1024;
    properties->maxThreadsDim[2] = 64;
    properties->maxGridSize[0] = 0x7fffffff;
    properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
    properties->major = model.major;
    properties->minor = model.minor;
    properties->multiProcessorCount = model.multiprocessors;
    properties->l2CacheSize = model.l2_bytes;
    properties->memPitch = 0x7fffffff;
    properties->textureAlignment = 512;
    properties->canMapHostMemory = properties->unifiedAddressing = 1;
    properties->concurrentKernels = properties->streamPrioritiesSupported = 1;
    properties->asyncEngineCount = 2;
    properties->hostRegisterSupported = 1;
    properties->pciBusID = device + 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    cudaDeviceProp p;
    cudaError_t error = cudaGetDeviceProperties(&p, device);
    if (error != cudaSuccess)
        return error;
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = p.maxThreadsPerBlock;
        break;
    case cudaDevAttrMaxGridDimX:
        *value = p.maxGridSize[0];
        break;
    case cudaDevAttrMaxGridDimY:
        *value = p.maxGridSize[1];
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = int(p.sharedMemPerBlock);
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = int(p.sharedMemPerBlockOptin);
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = int(p.sharedMemPerMultiprocessor);
        break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
        *value = int(p.reservedSharedMemPerBlock);
        break;
    case cudaDevAttrWarpSize:
        *value = p.warpSize;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = p.maxThreadsPerMultiProcessor;
        break;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
        *value = p.maxBlocksPerMultiProcessor;
        break;
    case cudaDevAttrMaxRegistersPerBlock:
        *value = p.regsPerBlock;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        break;
    case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        break;
    case cudaDevAttrAsyncEngineCount:
        *value = p.asyncEngineCount;
        break;
    case cudaDevAttrClockRate:
    case cudaDevAttrMemoryClockRate:
        *value = 1000000; // kHz; there is no clock
        break;
    case cudaDevAttrGlobalMemoryBusWidth:
        *value = 5120;
        break;
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrHostRegisterSupported:
    case cudaDevAttrCanUseHostPointerForRegisteredMem:
        *value = 1;
        break;
    case cudaDevAttrIntegrated:
    case cudaDevAttrPageableMemoryAccess:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrComputeMode:
    case cudaDevAttrEccEnabled:
        *value = 0;
        break;
    default:
        return fail(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int capacity, int device)
{
    if (!is_device(device) || capacity < 13)
        return fail(cudaErrorInvalidValue);
    snprintf(text, size_t(capacity), "0000:%02X:00.0", unsigned(device + 1) & 0xffu);
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int *value, int device, int peer)
{
    if (!is_device(device) || !is_device(peer))
        return fail(cudaErrorInvalidDevice);
    *value = device != peer;
    return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned)
{
    return is_device(peer) ? cudaSuccess : fail(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceSynchronize(void)
{
    Lock lock(runtime()->mutex);
    int device = current_device();
    for (CUstream_st *stream : runtime()->streams) {
        cudaError_t error =
            stream->device == device && stream->capture ? refuse_wait(stream) : cudaSuccess;
        if (error != cudaSuccess)
            return fail(error);
    }
    wait_for_device(&lock, device);
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void)
{
    return cudaDeviceSynchronize();
}

cudaError_t cudaProfilerStart(void)
{
    return cudaSuccess;
}

cudaError_t cudaProfilerStop(void)
{
    return cudaSuccess;
}

// ---- memory ----

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse(&lock);
    return fail(error != cudaSuccess ? error : memory_alloc(p, bytes, current_device()));
}

cudaError_t cudaFree(void *p)
{
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse(&lock);
    if (error != cudaSuccess)
        return fail(error);
    const Allocation *allocation = p ? find_allocation(p, 1) : nullptr;
    if (allocation)
        wait_for_device(&lock, allocation->device);
    return fail(memory_free(p));
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return cudaHostAlloc(p, bytes, cudaHostAllocDefault);
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse(&lock);
    return fail(error != cudaSuccess ? error : host_alloc(p, bytes));
}

cudaError_t cudaFreeHost(void *p)
{
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse(&lock);
    return fail(error != cudaSuccess ? error : host_free(p));
}

cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned)
{
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse(&lock);
    return fail(error != cudaSuccess ? error : host_register(p, bytes));
}

cudaError_t cudaHostUnregister(void *p)
{
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse(&lock);
    return fail(error != cudaSuccess ? error : host_unregister(p));
}

cudaError_t cudaHostGetDevicePointer(void **device_pointer, void *p, unsigned)
{
    Lock lock(runtime()->mutex);
    const Allocation *allocation = find_allocation(p, 1);
    if (!allocation || allocation->type != cudaMemoryTypeHost)
        return fail(cudaErrorInvalidValue);
    *device_pointer = p;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *p)
{
    Lock lock(runtime()->mutex);
    const Allocation *allocation = find_allocation(p, 1);
    memset(static_cast<void *>(attributes), 0, sizeof *attributes);
    attributes->type = allocation ? allocation->type : cudaMemoryTypeUnregistered;
    attributes->device = allocation ? allocation->device : cudaInvalidDeviceId;
    attributes->devicePointer = allocation ? const_cast<void *>(p) : nullptr;
    bool is_on_device = allocation && allocation->type == cudaMemoryTypeDevice;
    attributes->hostPointer = is_on_device ? nullptr : const_cast<void *>(p);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    Lock lock(runtime()->mutex);
    *total_bytes = config().device.memory_bytes;
    *free_bytes = *total_bytes - runtime()->used_bytes[size_t(current_device())];
    return cudaSuccess;
}

// ---- copies; host memory is read or written when the copy runs, even memory that is not pinned
// ----

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    Copy2d c = {static_cast<char *>(to), bytes, static_cast<const char *>(from), bytes, bytes, 1};
    return copy(c, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    return finish(cudaMemcpyAsync(to, from, bytes, kind, nullptr));
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream)
{
    Copy2d c = {static_cast<char *>(to),
                to_pitch,
                static_cast<const char *>(from),
                from_pitch,
                width,
                height};
    return copy(c, kind, stream);
}

cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                         size_t width, size_t height, cudaMemcpyKind kind)
{
    return finish(cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, height, kind, nullptr));
}

cudaError_t cudaMemcpyPeerAsync(void *to, int to_device, const void *from, int from_device,
                                size_t bytes, cudaStream_t stream)
{
    if (!is_device(to_device) || !is_device(from_device))
        return fail(cudaErrorInvalidDevice);
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    return set(p, bytes, value, bytes, 1, stream);
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    return finish(cudaMemsetAsync(p, value, bytes, nullptr));
}

cudaError_t cudaMemset2DAsync(void *p, size_t pitch, int value, size_t width, size_t height,
                              cudaStream_t stream)
{
    return set(p, pitch, value, width, height, stream);
}

cudaError_t cudaMemset2D(void *p, size_t pitch, int value, size_t width, size_t height)
{
    return finish(cudaMemset2DAsync(p, pitch, value, width, height, nullptr));
}

// A __constant__ or __device__ variable is an ordinary variable here, its symbol its address.
cudaError_t cudaMemcpyToSymbolAsync(const void *symbol, const void *from, size_t bytes,
                                    size_t offset, cudaMemcpyKind, cudaStream_t stream)
{
    char *to = static_cast<char *>(const_cast<void *>(symbol)) + offset;
    return enqueue(stream, "memcpy", [=] { memcpy(to, from, bytes); });
}

cudaError_t cudaMemcpyToSymbol(const void *symbol, const void *from, size_t bytes, size_t offset,
                               cudaMemcpyKind kind)
{
    return finish(cudaMemcpyToSymbolAsync(symbol, from, bytes, offset, kind, nullptr));
}

cudaError_t cudaMemcpyFromSymbol(void *to, const void *symbol, size_t bytes, size_t offset,
                                 cudaMemcpyKind)
{
    const char *from = static_cast<const char *>(symbol) + offset;
    return finish(enqueue(nullptr, "memcpy", [=] { memcpy(to, from, bytes); }));
}
}
