/* Stream capture and graphs. A capturing stream keeps a frontier, the nodes that its next operation
 * comes after; events carry frontiers from stream to stream. What CUDA forbids while capturing is
 * an error here as well and makes the capture invalid, so that a program which would fail on a GPU
 * fails on the emulator. */
#include <algorithm>

#include "emu_internal.h"
#include "emu_runtime.h"

namespace emu
{
namespace
{
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

void merge(std::vector<int> *frontier, const std::vector<int> &more)
{
    for (int node : more) {
        if (std::find(frontier->begin(), frontier->end(), node) == frontier->end())
            frontier->push_back(node);
    }
}

Capture *find_capture(unsigned long long id)
{
    for (Capture *capture : runtime()->captures) {
        if (capture->id == id)
            return capture;
    }
    return nullptr;
}

// The nodes that `from` come after, itself included.
std::vector<bool> ancestors(const CUgraph_st *graph, const std::vector<int> &from)
{
    std::vector<bool> is_before(graph->nodes.size());
    for (int node : from)
        is_before[size_t(node)] = true;
    for (size_t i = graph->nodes.size(); i--;) { // dependencies have lower numbers
        if (!is_before[i])
            continue;
        for (int dependency : graph->nodes[i]->dependencies)
            is_before[size_t(dependency)] = true;
    }
    return is_before;
}

bool is_joined(const Capture *capture)
{
    std::vector<bool> is_before = ancestors(capture->graph, capture->origin->frontier);
    for (const CUstream_st *stream : capture->streams) {
        for (int node : stream->frontier) {
            if (!is_before[size_t(node)])
                return false;
        }
    }
    return true;
}

bool is_concerned(const Capture *capture)
{
    if (thread_mode == cudaStreamCaptureModeRelaxed ||
        capture->mode == cudaStreamCaptureModeRelaxed)
        return false;
    if (capture->owner == std::this_thread::get_id())
        return true;
    return thread_mode == cudaStreamCaptureModeGlobal &&
           capture->mode == cudaStreamCaptureModeGlobal;
}

void release(Capture *capture)
{
    for (CUstream_st *stream : capture->streams) {
        stream->capture = nullptr;
        stream->frontier.clear();
    }
    std::vector<Capture *> *all = &runtime()->captures;
    all->erase(std::find(all->begin(), all->end(), capture));
    delete capture;
}
} // namespace

cudaStreamCaptureMode exchange_capture_mode(cudaStreamCaptureMode mode)
{
    std::swap(thread_mode, mode);
    return mode;
}

cudaError_t capture_work(CUstream_st *stream, Work work)
{
    Capture *capture = stream->capture;
    if (capture->is_invalid)
        return cudaErrorStreamCaptureInvalidated;
    auto node = std::make_shared<CUgraphNode_st>();
    node->work = std::move(work);
    node->dependencies = stream->frontier;
    stream->frontier.assign(1, int(capture->graph->nodes.size()));
    capture->graph->nodes.push_back(std::move(node));
    return cudaSuccess;
}

cudaError_t refuse_while_capturing()
{
    cudaError_t error = cudaSuccess;
    for (Capture *capture : runtime()->captures) {
        if (!is_concerned(capture))
            continue;
        capture->is_invalid = true;
        error = cudaErrorStreamCaptureUnsupported;
    }
    return error;
}

cudaError_t refuse_wait(CUstream_st *stream)
{
    if (stream->capture) {
        stream->capture->is_invalid = true;
        return cudaErrorStreamCaptureUnsupported;
    }
    return refuse_default_stream(stream);
}

cudaError_t refuse_default_stream(const CUstream_st *stream)
{
    if (stream != runtime()->streams[size_t(stream->device)])
        return cudaSuccess;
    cudaError_t error = cudaSuccess;
    for (Capture *capture : runtime()->captures) {
        for (const CUstream_st *other : capture->streams) {
            if (other->is_nonblocking || other->device != stream->device)
                continue;
            capture->is_invalid = true;
            error = cudaErrorStreamCaptureImplicit;
        }
    }
    return error;
}

cudaError_t capture_begin(CUstream_st *stream, cudaStreamCaptureMode mode)
{
    if (stream->capture)
        return cudaErrorIllegalState;
    if (stream == runtime()->streams[size_t(stream->device)])
        return cudaErrorStreamCaptureUnsupported;
    Capture *capture = new Capture{runtime()->next_capture_id++,
                                   mode,
                                   std::this_thread::get_id(),
                                   stream,
                                   {stream},
                                   new CUgraph_st,
                                   false};
    stream->capture = capture;
    stream->frontier.clear();
    runtime()->captures.push_back(capture);
    return cudaSuccess;
}

cudaError_t capture_end(CUstream_st *stream, cudaGraph_t *graph)
{
    Capture *capture = stream->capture;
    *graph = nullptr;
    if (!capture)
        return cudaErrorIllegalState;
    cudaError_t error = cudaSuccess;
    if (capture->mode != cudaStreamCaptureModeRelaxed &&
        capture->owner != std::this_thread::get_id())
        return cudaErrorStreamCaptureWrongThread;
    if (capture->origin != stream)
        error = cudaErrorStreamCaptureUnmatched;
    else if (capture->is_invalid)
        error = cudaErrorStreamCaptureInvalidated;
    else if (!is_joined(capture))
        error = cudaErrorStreamCaptureUnjoined;
    if (error == cudaErrorStreamCaptureUnmatched) {
        capture->is_invalid = true;
        return error;
    }
    if (error == cudaSuccess)
        *graph = capture->graph;
    else
        delete capture->graph;
    release(capture);
    return error;
}

cudaError_t capture_record(CUstream_st *stream, EventState *event, bool *is_done)
{
    *is_done = stream->capture != nullptr;
    event->capture_id = 0;
    if (!stream->capture)
        return cudaSuccess;
    if (stream->capture->is_invalid)
        return cudaErrorStreamCaptureInvalidated;
    event->capture_id = stream->capture->id;
    event->frontier = stream->frontier;
    return cudaSuccess;
}

cudaError_t capture_wait(CUstream_st *stream, EventState *event, bool *is_done)
{
    Capture *own = stream->capture;
    if (!event->capture_id) {
        *is_done = own != nullptr;
        if (!own)
            return cudaSuccess;
        own->is_invalid = true; // it would wait for work outside of the graph
        return cudaErrorStreamCaptureIsolation;
    }
    *is_done = true;
    Capture *from = find_capture(event->capture_id);
    if (!from || from->is_invalid)
        return from ? cudaErrorStreamCaptureInvalidated : cudaErrorCapturedEvent;
    if (own && own != from) {
        own->is_invalid = from->is_invalid = true;
        return cudaErrorStreamCaptureMerge;
    }
    if (!own) {
        stream->capture = from;
        from->streams.push_back(stream);
    }
    merge(&stream->frontier, event->frontier);
    return cudaSuccess;
}

std::shared_ptr<GraphRun> make_run(CUgraphExec_st *exec)
{
    auto run = std::make_shared<GraphRun>();
    run->nodes = exec->nodes;
    run->states.assign(run->nodes.size(), NodeState::Waiting);
    run->remaining = run->nodes.size();
    for (const auto &node : run->nodes)
        run->instances.push_back(node->work.bind ? node->work.bind() : node->work.instance);
    if (exec->last_run && exec->last_run->remaining)
        run->previous = exec->last_run;
    exec->last_run = run;
    return run;
}
} // namespace emu
