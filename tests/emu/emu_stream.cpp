/* Streams: queues of operations that run when somebody drains them, on the host thread that waits.
 * Three orders: eager runs everything as soon as it can; lazy only what is waited for, that stream
 * first, graph nodes last to first; random picks by seed. A program that is right must give the
 * same result in all of them. */
#include <algorithm>
#include <chrono>

#include "emu_counters_internal.h"
#include "emu_internal.h"
#include "emu_runtime.h"

namespace emu
{
namespace
{
thread_local int thread_device;
thread_local cudaError_t thread_error;

// Something that can run now: the head of a stream, or a node of the graph at its head.
struct Candidate {
    CUstream_st *stream;
    int node; // -1: no graph
};

Runtime *make_runtime()
{
    Runtime *r = new Runtime;
    r->random_state = 88172645463325252ull ^ config().stream_seed * 0x9E3779B97F4A7C15ull;
    for (int device = 0; device < config().device_count; device++) {
        CUstream_st *stream = new CUstream_st;
        stream->device = device;
        r->streams.push_back(stream);
    }
    r->used_bytes.resize(size_t(config().device_count));
    return r;
}

CUstream_st *default_stream(int device)
{
    return runtime()->streams[size_t(device)];
}

bool is_before(const CUstream_st *stream, uint64_t sequence)
{
    return stream->is_busy || (!stream->queue.empty() && stream->queue.front().sequence < sequence);
}

// The legacy default stream and the blocking streams of a device wait for each other's earlier
// work.
bool is_held_by_default(const CUstream_st *stream, uint64_t sequence)
{
    if (stream->is_nonblocking)
        return false;
    const CUstream_st *legacy = default_stream(stream->device);
    if (stream != legacy)
        return is_before(legacy, sequence);
    for (const CUstream_st *other : runtime()->streams) {
        if (other != legacy && other->device == stream->device && !other->is_nonblocking &&
            is_before(other, sequence))
            return true;
    }
    return false;
}

bool is_ready(const Instance &instance)
{
    return !instance.ready || instance.ready();
}

void find_ready_nodes(CUstream_st *stream, std::vector<Candidate> *found)
{
    GraphRun *run = stream->queue.front().graph.get();
    if (run->previous && run->previous->remaining)
        return;
    for (size_t i = 0; i < run->nodes.size(); i++) {
        bool is_free = run->states[i] == NodeState::Waiting;
        for (int dependency : run->nodes[i]->dependencies)
            is_free = is_free && run->states[size_t(dependency)] == NodeState::Done;
        if (is_free && is_ready(run->instances[i]))
            found->push_back({stream, int(i)});
    }
}

void find_ready(CUstream_st *stream, std::vector<Candidate> *found)
{
    if (stream->is_busy || stream->queue.empty())
        return;
    const Op &head = stream->queue.front();
    if (is_held_by_default(stream, head.sequence))
        return;
    if (head.graph)
        find_ready_nodes(stream, found);
    else if (is_ready(head.instance))
        found->push_back({stream, -1});
}

std::vector<Candidate> candidates()
{
    std::vector<Candidate> found;
    for (CUstream_st *stream : runtime()->streams) {
        find_ready(stream, &found);
        if (!found.empty() && config().stream_order == StreamOrder::Eager)
            break;
    }
    return found;
}

Candidate choose(const std::vector<Candidate> &found, const CUstream_st *preferred)
{
    Runtime *r = runtime();
    switch (config().stream_order) {
    case StreamOrder::Eager:
        return found.front();
    case StreamOrder::Lazy:
        for (size_t i = found.size(); i--;) {
            if (found[i].stream == preferred)
                return found[i];
        }
        return found.back();
    default:
        r->random_state ^= r->random_state << 13;
        r->random_state ^= r->random_state >> 7;
        r->random_state ^= r->random_state << 17;
        return found[r->random_state % found.size()];
    }
}

void run_unlocked(Lock *lock, const char *name, bool is_counted, const Instance &instance)
{
    if (is_counted)
        count_launch(name);
    if (!instance.run)
        return;
    guard_open();
    lock->unlock();
    instance.run();
    lock->lock();
    guard_close();
}

void run_node(Lock *lock, CUstream_st *stream, int node)
{
    std::shared_ptr<GraphRun> run = stream->queue.front().graph;
    const Work &work = run->nodes[size_t(node)]->work;
    run->states[size_t(node)] = NodeState::Running;
    run_unlocked(lock, work.name, work.is_counted, run->instances[size_t(node)]);
    run->states[size_t(node)] = NodeState::Done;
    if (--run->remaining == 0) {
        run->previous = nullptr;
        stream->queue.pop_front();
    }
}

void run_candidate(Lock *lock, Candidate candidate)
{
    CUstream_st *stream = candidate.stream;
    if (candidate.node >= 0) {
        run_node(lock, stream, candidate.node);
    } else {
        Op op = std::move(stream->queue.front());
        stream->queue.pop_front();
        stream->is_busy = true;
        run_unlocked(lock, op.name, op.is_counted, op.instance);
        stream->is_busy = false;
    }
    runtime()->changed.notify_all();
}

bool is_anything_running()
{
    for (const CUstream_st *stream : runtime()->streams) {
        if (stream->is_busy)
            return true;
        if (stream->queue.empty() || !stream->queue.front().graph)
            continue;
        for (NodeState state : stream->queue.front().graph->states) {
            if (state == NodeState::Running)
                return true;
        }
    }
    return false;
}

[[noreturn]] void stuck()
{
    std::string heads;
    for (const CUstream_st *stream : runtime()->streams) {
        if (!stream->queue.empty())
            heads += std::string(" ") + stream->queue.front().name;
    }
    fatal("streams deadlocked: nothing could run for %d s; at their heads:%s", config().timeout_s,
          heads.c_str());
}
} // namespace

Runtime *runtime()
{
    static Runtime *const instance = make_runtime();
    return instance;
}

int current_device()
{
    return thread_device;
}

void set_current_device(int device)
{
    thread_device = device;
}

double now_ms()
{
    auto time = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(time).count();
}

cudaError_t fail(cudaError_t error)
{
    if (error != cudaSuccess)
        thread_error = error;
    return error;
}

CUstream_st *resolve(cudaStream_t stream)
{
    if (stream == nullptr || stream == cudaStreamLegacy)
        return default_stream(thread_device);
    if (stream == cudaStreamPerThread)
        fatal("the per-thread default stream is not emulated");
    return stream;
}

bool is_idle(const CUstream_st *stream)
{
    return stream->queue.empty() && !stream->is_busy;
}

void drain(Lock *lock, const std::function<bool()> &done, CUstream_st *preferred)
{
    double last_progress = now_ms();
    while (!done || !done()) {
        std::vector<Candidate> found = candidates();
        if (!found.empty()) {
            run_candidate(lock, choose(found, preferred));
            last_progress = now_ms();
            continue;
        }
        if (!done)
            return;
        // Another thread or process has to do something first.
        runtime()->changed.wait_for(*lock, std::chrono::microseconds(200));
        if (is_anything_running())
            last_progress = now_ms();
        if (now_ms() - last_progress > 1000.0 * config().timeout_s)
            stuck();
    }
}

bool is_idle(int device)
{
    for (const CUstream_st *stream : runtime()->streams) {
        if (stream->device == device && !is_idle(stream))
            return false;
    }
    return true;
}

void drain_device(Lock *lock, int device)
{
    drain(
        lock, [device] { return is_idle(device); }, nullptr);
}

void wait_for(Lock *lock, const char *call, const std::function<bool()> &done,
              CUstream_st *preferred)
{
    bool is_blocked = !done();
    drain(lock, done, preferred);
    count_wait(call, is_blocked, is_idle(current_device()));
}

void poll(Lock *lock, CUstream_st *stream)
{
    if (config().stream_order == StreamOrder::Eager) {
        drain(lock, nullptr, nullptr);
        return;
    }
    std::vector<Candidate> found = candidates();
    if (!found.empty())
        run_candidate(lock, choose(found, stream));
}

void push_op(Lock *lock, CUstream_st *stream, Op op)
{
    op.sequence = ++runtime()->sequence;
    stream->queue.push_back(std::move(op));
    runtime()->changed.notify_all();
    if (config().stream_order == StreamOrder::Eager)
        drain(lock, nullptr, nullptr);
}

cudaError_t enqueue(cudaStream_t handle, Work work)
{
    Lock lock(runtime()->mutex);
    CUstream_st *stream = resolve(handle);
    if (stream->capture)
        return fail(capture_work(stream, std::move(work)));
    cudaError_t error = refuse_default_stream(stream);
    if (error != cudaSuccess)
        return fail(error);
    Instance instance = work.bind ? work.bind() : std::move(work.instance);
    push_op(&lock, stream, {work.name, work.is_counted, std::move(instance), nullptr, 0});
    return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, const char *name, std::function<void()> run)
{
    return enqueue(stream,
                   {name, true, cudaGraphNodeTypeKernel, {std::move(run), nullptr}, nullptr});
}

int stream_device(cudaStream_t stream)
{
    return resolve(stream)->device;
}

bool is_capturing(cudaStream_t stream)
{
    Lock lock(runtime()->mutex);
    return resolve(stream)->capture != nullptr;
}

void wake()
{
    runtime()->changed.notify_all();
}
} // namespace emu

extern "C" {
cudaError_t cudaGetLastError(void)
{
    cudaError_t error = emu::thread_error;
    emu::thread_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return emu::thread_error;
}
}
