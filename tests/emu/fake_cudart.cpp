/* libcudart against the genuine header: errors and devices. What is not here does
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
    EMU_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
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
    wait_for(
        &lock, __func__, [device] { return is_idle(device); }, nullptr);
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
}
