/* libcudart against the genuine header: streams, events, graphs and kernel launches. */
#include <algorithm>
#include <stdio.h>

#include "emu_counters_internal.h"
#include "emu_internal.h"
#include "emu_runtime.h"

using namespace emu;

namespace
{
constexpr int LOWEST_PRIORITY = 0, HIGHEST_PRIORITY = -5;
constexpr size_t RESERVED_SHARED_BYTES = 1024; // of each block, by the system

struct RegisteredKernel {
    KernelAddress address;
    LaunchFromPointers launch;
};

std::map<const void *, RegisteredKernel> *registered_kernels()
{
    static std::map<const void *, RegisteredKernel> kernels; // filled before main
    return &kernels;
}

size_t dynamic_limit(const void *function)
{
    auto raised = runtime()->dynamic_limits.find(function);
    return raised == runtime()->dynamic_limits.end() ? STATIC_SHARED_LIMIT : raised->second;
}

// The checks that a real launch makes.
bool is_valid(const Launch &launch)
{
    dim3 grid = launch.grid, block = launch.block;
    uint64_t threads = uint64_t(block.x) * block.y * block.z;
    bool is_block = threads > 0 && threads <= MAX_BLOCK_THREADS && block.z <= 64;
    bool is_grid = grid.x > 0 && grid.x <= 0x7fffffff && grid.y > 0 && grid.y <= 65535 &&
                   grid.z > 0 && grid.z <= 65535;
    return is_block && is_grid && launch.shared_bytes <= dynamic_limit(launch.function);
}

cudaError_t record(cudaEvent_t event, cudaStream_t handle)
{
    auto state = event->state;
    bool has_timing = event->has_timing;
    Lock lock(runtime()->mutex);
    CUstream_st *stream = resolve(handle);
    bool is_done = false;
    cudaError_t error = capture_record(stream, state.get(), &is_done);
    if (error == cudaSuccess && !is_done)
        error = refuse_default_stream(stream);
    if (error != cudaSuccess || is_done)
        return error;
    uint64_t number = ++state->recorded;
    state->stream = stream;
    auto run = [state, number, has_timing] {
        Lock inner(runtime()->mutex);
        state->completed = std::max(state->completed, number);
        if (has_timing)
            state->completed_ms = now_ms();
    };
    push_op(&lock, stream, {"event record", false, {run, nullptr}, nullptr, 0});
    return cudaSuccess;
}

cudaError_t wait(cudaStream_t handle, cudaEvent_t event)
{
    auto state = event->state;
    Lock lock(runtime()->mutex);
    CUstream_st *stream = resolve(handle);
    bool is_done = false;
    cudaError_t error = capture_wait(stream, state.get(), &is_done);
    if (error == cudaSuccess && !is_done)
        error = refuse_default_stream(stream);
    if (error != cudaSuccess || is_done)
        return error;
    uint64_t number = state->recorded;
    auto ready = [state, number] { return state->completed >= number; };
    push_op(&lock, stream, {"event wait", false, {nullptr, ready}, nullptr, 0});
    return cudaSuccess;
}

// The launch attributes mean nothing here; refuses what would change a kernel's meaning.
bool are_supported(const cudaLaunchConfig_t *config)
{
    for (unsigned i = 0; i < config->numAttrs; i++) {
        cudaLaunchAttributeID id = config->attrs[i].id;
        if (id == cudaLaunchAttributeClusterDimension || id == cudaLaunchAttributeCooperative)
            return false;
    }
    return true;
}
} // namespace

namespace emu
{
bool register_kernel(const KernelAddress &kernel, LaunchFromPointers launch)
{
    (*registered_kernels())[kernel.function] = {kernel, launch};
    return true;
}

void launch(const Launch &launch)
{
    std::shared_ptr<void> args(launch.args, launch.release); // a captured launch may run many times
    {
        Lock lock(runtime()->mutex);
        if (!is_valid(launch)) {
            fprintf(stderr, "EMU: invalid launch of %s: grid %u,%u,%u block %u,%u,%u, %zu bytes\n",
                    launch.name, launch.grid.x, launch.grid.y, launch.grid.z, launch.block.x,
                    launch.block.y, launch.block.z, launch.shared_bytes);
            fail(cudaErrorInvalidValue);
            return;
        }
        if (resolve(launch.stream)->device != current_device()) {
            fprintf(stderr, "EMU: %s is launched on a stream of another device\n", launch.name);
            fail(cudaErrorInvalidResourceHandle);
            return;
        }
    }
    enqueue(launch.stream, launch.name, [launch, args] { run_grid(launch); });
}
} // namespace emu

extern "C" {
// ---- streams ----

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority)
{
    count_call(__func__);
    Lock lock(runtime()->mutex);
    *stream = new CUstream_st;
    (*stream)->device = current_device();
    (*stream)->is_nonblocking = flags & cudaStreamNonBlocking;
    (*stream)->priority = std::min(LOWEST_PRIORITY, std::max(HIGHEST_PRIORITY, priority));
    runtime()->streams.push_back(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    return cudaStreamCreateWithPriority(stream, flags, LOWEST_PRIORITY);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *lowest, int *highest)
{
    *lowest = LOWEST_PRIORITY;
    *highest = HIGHEST_PRIORITY;
    return cudaSuccess;
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority)
{
    Lock lock(runtime()->mutex);
    *priority = resolve(stream)->priority;
    return cudaSuccess;
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned *flags)
{
    Lock lock(runtime()->mutex);
    *flags = resolve(stream)->is_nonblocking ? cudaStreamNonBlocking : cudaStreamDefault;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    Lock lock(runtime()->mutex);
    CUstream_st *stream = resolve(handle);
    cudaError_t error = refuse_wait(stream);
    if (error != cudaSuccess)
        return fail(error);
    wait_for(
        &lock, __func__, [stream] { return is_idle(stream); }, stream);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    Lock lock(runtime()->mutex);
    CUstream_st *stream = resolve(handle);
    cudaError_t error = refuse_wait(stream);
    if (error != cudaSuccess)
        return fail(error);
    poll(&lock, stream);
    return is_idle(stream) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    count_call(__func__);
    Lock lock(runtime()->mutex);
    cudaError_t error = refuse_wait(stream);
    if (error != cudaSuccess)
        return fail(error);
    drain(
        &lock, [stream] { return is_idle(stream); }, stream);
    std::vector<CUstream_st *> *all = &runtime()->streams;
    auto place = std::find(all->begin(), all->end(), stream);
    if (place == all->end())
        return fail(cudaErrorInvalidResourceHandle);
    all->erase(place);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *argument)
{
    auto run = [=] { function(argument); };
    return enqueue(stream,
                   {"host function", false, cudaGraphNodeTypeHost, {run, nullptr}, nullptr});
}

// ---- events ----

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    count_call(__func__);
    *event = new CUevent_st{std::make_shared<EventState>(), !(flags & cudaEventDisableTiming)};
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    count_call(__func__);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return fail(record(event, stream));
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    return fail(wait(stream, event));
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    auto state = event->state;
    Lock lock(runtime()->mutex);
    cudaError_t error = state->capture_id ? cudaErrorCapturedEvent : refuse_while_capturing();
    if (error != cudaSuccess)
        return fail(error);
    uint64_t number = state->recorded;
    wait_for(
        &lock, __func__, [=] { return state->completed >= number; }, state->stream);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    auto state = event->state;
    Lock lock(runtime()->mutex);
    cudaError_t error = state->capture_id ? cudaErrorCapturedEvent : refuse_while_capturing();
    if (error != cudaSuccess)
        return fail(error);
    if (state->completed < state->recorded)
        poll(&lock, state->stream);
    return state->completed >= state->recorded ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    Lock lock(runtime()->mutex);
    const EventState &from = *start->state, &to = *end->state;
    if (!start->has_timing || !end->has_timing || !from.recorded || !to.recorded)
        return fail(cudaErrorInvalidResourceHandle);
    if (from.completed < from.recorded || to.completed < to.recorded)
        return cudaErrorNotReady;
    *ms = float(to.completed_ms - from.completed_ms);
    return cudaSuccess;
}

// ---- graphs ----

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    count_call(__func__);
    Lock lock(runtime()->mutex);
    return fail(capture_begin(resolve(stream), mode));
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    Lock lock(runtime()->mutex);
    return fail(capture_end(resolve(stream), graph));
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *status)
{
    Lock lock(runtime()->mutex);
    const Capture *capture = resolve(handle)->capture;
    if (!capture)
        *status = cudaStreamCaptureStatusNone;
    else
        *status = capture->is_invalid ? cudaStreamCaptureStatusInvalidated
                                      : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

// Graph and dependencies are not handed out while they grow: those pointers become null.
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus *status,
                                     unsigned long long *id, cudaGraph_t *graph,
                                     const cudaGraphNode_t **dependencies,
                                     const cudaGraphEdgeData **edges, size_t *dependency_count)
{
    cudaError_t error = cudaStreamIsCapturing(handle, status);
    Lock lock(runtime()->mutex);
    const CUstream_st *stream = resolve(handle);
    if (id)
        *id = stream->capture ? stream->capture->id : 0;
    if (graph)
        *graph = nullptr;
    if (dependencies)
        *dependencies = nullptr;
    if (edges)
        *edges = nullptr;
    if (dependency_count)
        *dependency_count = stream->frontier.size();
    return error;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode)
{
    *mode = exchange_capture_mode(*mode);
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
    size_t capacity = nodes ? *count : 0;
    for (size_t i = 0; i < std::min(capacity, graph->nodes.size()); i++)
        nodes[i] = graph->nodes[i].get();
    *count = graph->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType *type)
{
    *type = node->work.type;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    count_call(__func__);
    *exec = new CUgraphExec_st{graph->nodes, nullptr};
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph,
                                          unsigned long long flags)
{
    return cudaGraphInstantiate(exec, graph, flags);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t stream)
{
    return enqueue(stream,
                   {"graph upload", false, cudaGraphNodeTypeEmpty, {nullptr, nullptr}, nullptr});
}

static int graph_launches; // counted while there is a limit

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle)
{
    Lock lock(runtime()->mutex);
    CUstream_st *stream = resolve(handle);
    if (stream->capture) {
        stream->capture->is_invalid = true; // child graphs are not emulated
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    cudaError_t error = refuse_default_stream(stream);
    if (error == cudaSuccess && config().breaks_at > 0 && ++graph_launches >= config().breaks_at)
        error = cudaErrorLaunchFailure;
    if (error != cudaSuccess)
        return fail(error);
    if (!exec->nodes.empty())
        push_op(&lock, stream, {"graph", false, {nullptr, nullptr}, make_run(exec), 0});
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    count_call(__func__);
    delete exec;
    return cudaSuccess;
}

// ---- kernels by address ----

cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute attribute, int value)
{
    Lock lock(runtime()->mutex);
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return cudaSuccess; // hints
    cudaError_t error = refuse_while_capturing();
    if (error == cudaSuccess &&
        (value < 0 || size_t(value) > config().device.shared_bytes_per_block))
        error = cudaErrorInvalidValue;
    if (error != cudaSuccess)
        return fail(error);
    runtime()->dynamic_limits[function] = size_t(value);
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *function)
{
    Lock lock(runtime()->mutex);
    memset(static_cast<void *>(attributes), 0, sizeof *attributes);
    attributes->maxThreadsPerBlock = MAX_BLOCK_THREADS;
    attributes->maxDynamicSharedSizeBytes = int(dynamic_limit(function));
    attributes->numRegs = 32;
    attributes->binaryVersion = config().device.major * 10 + config().device.minor;
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *count, const void *,
                                                                   int block_threads,
                                                                   size_t dynamic_bytes, unsigned)
{
    if (block_threads <= 0 || block_threads > MAX_BLOCK_THREADS)
        return fail(cudaErrorInvalidValue);
    int warps = (block_threads + 31) / 32;
    size_t by_shared =
        config().device.shared_bytes_per_multiprocessor / (dynamic_bytes + RESERVED_SHARED_BYTES);
    if (dynamic_bytes > config().device.shared_bytes_per_block)
        by_shared = 0;
    *count = std::min({32, 64 / warps, int(by_shared)});
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *count, const void *function,
                                                          int block_threads, size_t dynamic_bytes)
{
    return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(count, function, block_threads,
                                                                  dynamic_bytes, 0);
}

cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **args,
                             size_t shared_bytes, cudaStream_t stream)
{
    auto kernel = registered_kernels()->find(function);
    if (kernel == registered_kernels()->end())
        return fail(cudaErrorInvalidDeviceFunction); // GPU_REGISTER is missing
    cudaError_t before = cudaGetLastError();
    kernel->second.launch(kernel->second.address, grid, block, shared_bytes, stream, args);
    cudaError_t error = cudaPeekAtLastError();
    if (error == cudaSuccess)
        fail(before);
    return error;
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *function, void **args)
{
    if (!are_supported(config))
        return fail(cudaErrorNotSupported);
    return cudaLaunchKernel(function, config->gridDim, config->blockDim, args,
                            config->dynamicSmemBytes, config->stream);
}
}
