/* libcudart against the genuine header: memory, copies and fills. Allocating and freeing is refused
 * while capturing; freeing waits for the device first, as the real calls do. */
#include <stdio.h>

#include "emu_counters_internal.h"
#include "emu_internal.h"
#include "emu_runtime.h"

using namespace emu;

namespace
{
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
} // namespace

extern "C" {
cudaError_t cudaMalloc(void **p, size_t bytes)
{
    count_call(__func__);
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse_while_capturing();
    return fail(error != cudaSuccess ? error : memory_alloc(p, bytes, current_device()));
}

cudaError_t cudaFree(void *p)
{
    count_call(__func__);
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse_while_capturing();
    if (error != cudaSuccess)
        return fail(error);
    const Allocation *allocation = p ? find_allocation(p, 1) : nullptr;
    if (allocation)
        drain_device(&lock, allocation->device);
    return fail(memory_free(p));
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return cudaHostAlloc(p, bytes, cudaHostAllocDefault);
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    count_call(__func__);
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse_while_capturing();
    return fail(error != cudaSuccess ? error : host_alloc(p, bytes));
}

cudaError_t cudaFreeHost(void *p)
{
    count_call(__func__);
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse_while_capturing();
    return fail(error != cudaSuccess ? error : host_free(p));
}

cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned)
{
    count_call(__func__);
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse_while_capturing();
    return fail(error != cudaSuccess ? error : host_register(p, bytes));
}

cudaError_t cudaHostUnregister(void *p)
{
    count_call(__func__);
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse_while_capturing();
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
    int count = config().device_count;
    if (to_device < 0 || to_device >= count || from_device < 0 || from_device >= count)
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
