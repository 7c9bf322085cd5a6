/* The state behind the fake libcudart: streams, events, captures, graphs and device memory. Shared
 * by emu_stream.cpp (scheduling), emu_capture.cpp (graphs), emu_memory.cpp and the fake_cudart
 * files; nothing else includes it. */
#pragma once

#include "emu_config.h"
#include "emu_counters.h"
#include "emu_stream.h"

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

struct CUgraphNode_st {
    emu::Work work;
    std::vector<int> dependencies; // indices of earlier nodes
};

namespace emu
{
using Nodes = std::vector<std::shared_ptr<CUgraphNode_st>>;

enum class NodeState { Waiting, Running, Done };

// One launch of a graph, on its way through a stream.
struct GraphRun {
    Nodes nodes;
    std::vector<Instance> instances;
    std::vector<NodeState> states;
    size_t remaining = 0;
    std::shared_ptr<GraphRun> previous; // of the same executable: runs of one do not overlap
};

// An entry of a stream's queue: an instance or a graph.
struct Op {
    const char *name;
    bool is_counted;
    Instance instance;
    std::shared_ptr<GraphRun> graph;
    uint64_t sequence; // order of arrival, over all streams
};

struct Capture {
    unsigned long long id;
    cudaStreamCaptureMode mode;
    std::thread::id owner;
    CUstream_st *origin;
    std::vector<CUstream_st *> streams; // origin and the forked ones
    CUgraph_st *graph;                  // owned until the capture ends
    bool is_invalid;
};

struct EventState {
    uint64_t recorded = 0, completed = 0; // numbers of records
    double completed_ms = 0;
    CUstream_st *stream = nullptr;     // of the last record
    unsigned long long capture_id = 0; // 0: recorded outside captures
    std::vector<int> frontier;         // of that capture
};
} // namespace emu

struct CUstream_st {
    int device = 0;
    int priority = 0;
    bool is_nonblocking = false; // does not wait for the legacy default stream
    bool is_busy = false;
    std::deque<emu::Op> queue;
    emu::Capture *capture = nullptr;
    std::vector<int> frontier; // nodes that the next captured node depends on
};

struct CUevent_st {
    std::shared_ptr<emu::EventState> state; // pending work may outlive the handle
    bool has_timing;
};

struct CUgraph_st {
    emu::Nodes nodes;
};

struct CUgraphExec_st {
    emu::Nodes nodes;
    std::shared_ptr<emu::GraphRun> last_run;
};

namespace emu
{
struct Allocation {
    size_t bytes;
    int device;
    cudaMemoryType type;
    bool is_registered; // host memory of the caller's
};

struct Runtime {
    std::mutex mutex; // guards everything here
    std::condition_variable changed;
    std::vector<CUstream_st *> streams; // the default ones first, one a device
    std::vector<Capture *> captures;
    uint64_t sequence = 0, random_state = 0;
    unsigned long long next_capture_id = 1;
    std::map<const char *, Allocation> allocations;
    // Dynamic shared memory allowed, by kernel, where cudaFuncSetAttribute raised it.
    std::map<const void *, size_t> dynamic_limits;
    std::vector<size_t> used_bytes; // by device
    emu_memory_use in_use = {};
    char *guarded_arena = nullptr; // EMU_GUARD
    size_t guarded_bytes = 0;
    std::multimap<size_t, char *> guarded_free;
    int unguarded = 0; // operations that are running
};

// The state of this process.
Runtime *runtime();
// The calling thread's device.
int current_device();
void set_current_device(int device);
// A monotonic clock.
double now_ms();

// ---- emu_stream.cpp; the lock is held ----
using Lock = std::unique_lock<std::mutex>;
// The stream that a handle means; the default ones have no address of their own.
CUstream_st *resolve(cudaStream_t stream);
// Runs operations until done() holds; a null `done` means until nothing is ready. In lazy order
// `preferred` goes first.
void drain(Lock *lock, const std::function<bool()> &done, CUstream_st *preferred);
// Runs everything on the device's streams.
void drain_device(Lock *lock, int device);
// Runs at most one operation of the stream, unless eager order has run it already.
void poll(Lock *lock, CUstream_st *stream);
// drain() for a call of the host that waits until done() holds; counts it.
void wait_for(Lock *lock, const char *call, const std::function<bool()> &done,
              CUstream_st *preferred);
// Nothing queued and nothing running, on a stream or on all of a device.
bool is_idle(const CUstream_st *stream);
bool is_idle(int device);
// Queues an operation and gives it its place in the order of arrival; eager order runs it.
void push_op(Lock *lock, CUstream_st *stream, Op op);

// ---- emu_capture.cpp; the lock is held ----
// Adds work to the graph as a node that comes after the stream's frontier.
cudaError_t capture_work(CUstream_st *stream, Work work);
// For calls that must not be made while the calling thread, or in global mode any thread, captures:
// an error, and the captures concerned are invalid.
cudaError_t refuse_while_capturing();
// For a call that waits for this stream.
cudaError_t refuse_wait(CUstream_st *stream);
// Work on the legacy default stream while a stream that waits for it captures.
cudaError_t refuse_default_stream(const CUstream_st *stream);
// cudaStreamBeginCapture and cudaStreamEndCapture; the graph is the caller's, null after an error.
cudaError_t capture_begin(CUstream_st *stream, cudaStreamCaptureMode mode);
cudaError_t capture_end(CUstream_st *stream, cudaGraph_t *graph);
// What cudaEventRecord and cudaStreamWaitEvent mean for capturing streams; true in *is_done if that
// was all.
cudaError_t capture_record(CUstream_st *stream, EventState *event, bool *is_done);
cudaError_t capture_wait(CUstream_st *stream, EventState *event, bool *is_done);
// Sets the calling thread's mode and returns the one before.
cudaStreamCaptureMode exchange_capture_mode(cudaStreamCaptureMode mode);
// One launch of an executable graph: binds its work now, waits for the launch before.
std::shared_ptr<GraphRun> make_run(CUgraphExec_st *exec);

// ---- emu_memory.cpp; the lock is held ----
// Device memory, aligned to 256 bytes and filled with NaN; an error where the device is full.
cudaError_t memory_alloc(void **p, size_t bytes, int device);
// Frees it; the caller has waited for work that uses it. Null is fine.
cudaError_t memory_free(void *p);
// The allocation that [p, p + bytes) lies in, or null.
const Allocation *find_allocation(const void *p, size_t bytes);
// Pinned host memory, which kernels reach at the same address; and memory of the caller's as such.
cudaError_t host_alloc(void **p, size_t bytes);
cudaError_t host_free(void *p);
cudaError_t host_register(void *p, size_t bytes);
cudaError_t host_unregister(void *p);
// Makes device memory reachable while "the GPU" works, where EMU_GUARD hides it from host code.
void guard_open();
void guard_close();
} // namespace emu
