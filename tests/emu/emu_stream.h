/* Streams as the fake libraries see them: put work on one, say when it may start. Everything that a
 * GPU would do asynchronously goes through enqueue(): copies, kernels, GEMMs, collectives.
 * Implemented in emu_stream.cpp. */
#pragma once

#include <cuda_runtime_api.h>
#include <functional>

namespace emu
{
// Work in its final form: `run` is called once, without locks, after `ready` (if any) returned
// true. `ready` is polled under the runtime's lock when all earlier work of the stream is done: it
// may only look at atomics.
struct Instance {
    std::function<void()> run;
    std::function<bool()> ready;
};

struct Work {
    const char *name;       // lives for ever; what reports and counters call it
    bool is_counted;        // as a launch
    cudaGraphNodeType type; // if it is captured
    Instance instance;
    // Where set, makes the instance when the work is put on a stream: at once, or at each launch of
    // the graph that captured it. For work that carries a number of its turn.
    std::function<Instance()> bind;
};

// Puts work on a stream, or into the graph the stream captures into. An error says why the stream
// does not take it.
cudaError_t enqueue(cudaStream_t stream, Work work);
// Shorthand for a counted operation without conditions.
cudaError_t enqueue(cudaStream_t stream, const char *name, std::function<void()> run);

int stream_device(cudaStream_t stream);
bool is_capturing(cudaStream_t stream);
// The state behind some `ready` has changed: look again.
void wake();
// True if [p, p + bytes) lies in one block of device memory, or pinned host memory that kernels can
// reach.
bool is_device_memory(const void *p, size_t bytes);
// Sets the calling thread's last error and returns it; cudaSuccess changes nothing.
cudaError_t fail(cudaError_t error);
} // namespace emu
