/* Every planted bug must be found in the modes that can find it, and its corrected version must run
 * clean in all modes.
 *
 *   emu_bugs [NAME]           runs the table (of one bug): each bug and correction in a process of
 *   its own
 *   emu_bugs --run NAME bug|fixed    runs one here; status 0 means that nothing was noticed
 *
 * "Found" means that the process ended otherwise: a wrong result (1), an error of the emulator
 * (66), a signal. */
#include <cuda_runtime_api.h>
#include <fcntl.h>
#include <math.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "bugs_kernels.h"
#include "emu_memory.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define IS_ASAN 1
#endif
#ifndef IS_ASAN
#define IS_ASAN 0
#endif
#ifndef IS_CHECKED // set by CMake
#define IS_CHECKED 0
#endif

namespace
{
constexpr int COUNT = 256;
constexpr size_t BYTES = COUNT * sizeof(float);
constexpr int RANDOM_SEEDS = 10;

void require(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return;
    printf("%s: %s\n", what, cudaGetErrorString(error));
    exit(1);
}
#define REQUIRE(call) require(call, #call)

bool is_near(float a, float b)
{
    return fabsf(a - b) <= 1e-3f * fabsf(b) + 1e-6f;
}

struct Fixture {
    BugBuffers buffers;
    std::vector<float> values, result;
};

Fixture make_fixture()
{
    Fixture f;
    f.values.resize(COUNT);
    f.result.resize(COUNT);
    for (int i = 0; i < COUNT; i++)
        f.values[size_t(i)] = float(i + 1);
    f.buffers.host_in = f.values.data();
    REQUIRE(cudaMalloc((void **)&f.buffers.in, BYTES));
    REQUIRE(cudaMalloc((void **)&f.buffers.out, BYTES));
    REQUIRE(cudaMemcpy(f.buffers.in, f.values.data(), BYTES, cudaMemcpyHostToDevice));
    REQUIRE(cudaMemset(f.buffers.out, 0, BYTES));
    return f;
}

bool is_result_right(const Fixture &f, float (*expected)(int), int count)
{
    for (int i = 0; i < count; i++) {
        if (!is_near(f.result[size_t(i)], expected(i)))
            return false;
    }
    return true;
}

float same(int i)
{
    return float(i + 1);
}

// ---- bugs of host code ----

// A stream uses what another one makes without waiting for its event.
bool missing_event_wait(Fixture *f, bool is_fixed)
{
    cudaStream_t a, b;
    cudaEvent_t made;
    REQUIRE(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
    REQUIRE(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
    REQUIRE(cudaEventCreate(&made));
    REQUIRE(cudaMemset(f->buffers.in, 0, BYTES));
    REQUIRE(cudaMemcpyAsync(f->buffers.in, f->values.data(), BYTES, cudaMemcpyHostToDevice, a));
    REQUIRE(cudaEventRecord(made, a));
    if (is_fixed)
        REQUIRE(cudaStreamWaitEvent(b, made, 0));
    launch_copy(f->buffers.out, f->buffers.in, COUNT, b);
    REQUIRE(cudaMemcpyAsync(f->result.data(), f->buffers.out, BYTES, cudaMemcpyDeviceToHost, b));
    REQUIRE(cudaStreamSynchronize(b));
    REQUIRE(cudaStreamSynchronize(a));
    return is_result_right(*f, same, COUNT);
}

// The host reads a result that is still on its way.
bool missing_synchronize(Fixture *f, bool is_fixed)
{
    cudaStream_t stream;
    REQUIRE(cudaStreamCreate(&stream));
    REQUIRE(
        cudaMemcpyAsync(f->result.data(), f->buffers.in, BYTES, cudaMemcpyDeviceToHost, stream));
    if (is_fixed)
        REQUIRE(cudaStreamSynchronize(stream));
    bool is_right = is_result_right(*f, same, COUNT);
    REQUIRE(cudaStreamSynchronize(stream));
    return is_right;
}

// The next batch is written into a pinned slot before the copy of the last one has run.
bool upload_slot_reuse(Fixture *f, bool is_fixed)
{
    cudaStream_t stream;
    cudaEvent_t copied;
    float *slot;
    REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    REQUIRE(cudaEventCreateWithFlags(&copied, cudaEventDisableTiming));
    REQUIRE(cudaHostAlloc((void **)&slot, BYTES, cudaHostAllocDefault));
    memcpy(slot, f->values.data(), BYTES);
    REQUIRE(cudaMemcpyAsync(f->buffers.in, slot, BYTES, cudaMemcpyHostToDevice, stream));
    REQUIRE(cudaEventRecord(copied, stream));
    if (is_fixed)
        REQUIRE(cudaEventSynchronize(copied));
    memset(slot, 0, BYTES);
    launch_copy(f->buffers.out, f->buffers.in, COUNT, stream);
    REQUIRE(
        cudaMemcpyAsync(f->result.data(), f->buffers.out, BYTES, cudaMemcpyDeviceToHost, stream));
    REQUIRE(cudaStreamSynchronize(stream));
    return is_result_right(*f, same, COUNT);
}

bool device_pointer_on_host(Fixture *f, bool is_fixed)
{
    REQUIRE(cudaDeviceSynchronize());
    const float *values = is_fixed ? f->values.data() : f->buffers.in;
    return is_near(values[3], 4.f);
}

// A side stream that joins a capture and never comes back.
bool unjoined_capture(Fixture *f, bool is_fixed)
{
    cudaStream_t main_stream, side;
    cudaEvent_t fork, join;
    cudaGraph_t graph;
    REQUIRE(cudaStreamCreateWithFlags(&main_stream, cudaStreamNonBlocking));
    REQUIRE(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
    REQUIRE(cudaEventCreate(&fork));
    REQUIRE(cudaEventCreate(&join));
    REQUIRE(cudaStreamBeginCapture(main_stream, cudaStreamCaptureModeThreadLocal));
    REQUIRE(cudaEventRecord(fork, main_stream));
    REQUIRE(cudaStreamWaitEvent(side, fork, 0));
    launch_copy(f->buffers.out, f->buffers.in, COUNT, side);
    REQUIRE(cudaEventRecord(join, side));
    if (is_fixed)
        REQUIRE(cudaStreamWaitEvent(main_stream, join, 0));
    REQUIRE(cudaStreamEndCapture(main_stream, &graph));
    REQUIRE(cudaGraphDestroy(graph));
    return true;
}

// In a graph, the reader on a side stream lacks the edge from the writer.
bool missing_graph_edge(Fixture *f, bool is_fixed)
{
    cudaStream_t main_stream, side;
    cudaEvent_t fork, join;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    float *middle;
    REQUIRE(cudaMalloc((void **)&middle, BYTES));
    REQUIRE(cudaMemset(middle, 0, BYTES));
    REQUIRE(cudaStreamCreateWithFlags(&main_stream, cudaStreamNonBlocking));
    REQUIRE(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
    REQUIRE(cudaEventCreate(&fork));
    REQUIRE(cudaEventCreate(&join));
    REQUIRE(cudaStreamBeginCapture(main_stream, cudaStreamCaptureModeThreadLocal));
    REQUIRE(cudaEventRecord(fork, main_stream));
    launch_copy(middle, f->buffers.in, COUNT, main_stream);
    if (is_fixed)
        REQUIRE(cudaEventRecord(fork, main_stream));
    REQUIRE(cudaStreamWaitEvent(side, fork, 0));
    launch_copy(f->buffers.out, middle, COUNT, side);
    REQUIRE(cudaEventRecord(join, side));
    REQUIRE(cudaStreamWaitEvent(main_stream, join, 0));
    REQUIRE(cudaStreamEndCapture(main_stream, &graph));
    REQUIRE(cudaGraphInstantiate(&exec, graph, 0));
    REQUIRE(cudaGraphLaunch(exec, main_stream));
    REQUIRE(cudaMemcpyAsync(f->result.data(), f->buffers.out, BYTES, cudaMemcpyDeviceToHost,
                            main_stream));
    REQUIRE(cudaStreamSynchronize(main_stream));
    REQUIRE(cudaGraphExecDestroy(exec));
    REQUIRE(cudaGraphDestroy(graph));
    return is_result_right(*f, same, COUNT);
}

// The stride taken for the extent: padding columns that nobody has written are read.
bool padding_columns(Fixture *f, bool is_fixed)
{
    constexpr int ROWS = 16, COLUMNS = 10, LD = 16;
    float *matrix;
    REQUIRE(cudaMalloc((void **)&matrix, ROWS * LD * sizeof(float)));
    REQUIRE(cudaMemcpy2D(matrix, LD * 4, f->values.data(), COLUMNS * 4, COLUMNS * 4, ROWS,
                         cudaMemcpyHostToDevice));
    launch_row_sums(f->buffers.out, matrix, ROWS, is_fixed ? COLUMNS : LD, LD, nullptr);
    REQUIRE(cudaMemcpy(f->result.data(), f->buffers.out, ROWS * 4, cudaMemcpyDeviceToHost));
    return is_result_right(
        *f, [](int row) { return float(COLUMNS * row * COLUMNS + 55); }, ROWS);
}

// A row too many is written, into the gap before the next buffer of the same block.
bool block_gap_overrun(Fixture *f, bool is_fixed)
{
    constexpr int USED = 100;
    float *block;
    REQUIRE(cudaMalloc((void **)&block, 2 * BYTES));
    emu_memory_hide(block + USED, BYTES);
    launch_copy(block, f->buffers.in, is_fixed ? USED : USED + 1, nullptr);
    REQUIRE(cudaDeviceSynchronize());
    emu_memory_show(block + USED, BYTES);
    REQUIRE(cudaMemcpy(f->result.data(), block, USED * 4, cudaMemcpyDeviceToHost));
    return is_result_right(*f, same, USED);
}

// A kernel goes to a stream of a device that is not the current one.
bool wrong_device(Fixture *f, bool is_fixed)
{
    cudaStream_t stream;
    REQUIRE(cudaSetDevice(1));
    REQUIRE(cudaStreamCreate(&stream));
    if (!is_fixed)
        REQUIRE(cudaSetDevice(0));
    launch_copy(f->buffers.out, f->buffers.in, COUNT, stream);
    REQUIRE(cudaGetLastError());
    REQUIRE(cudaStreamSynchronize(stream));
    return true;
}

// Ranks that disagree about the size of a collective.
bool mismatched_collective(Fixture *, bool is_fixed)
{
    ncclComm_t comms[2];
    cudaStream_t streams[2];
    float *buffers[2];
    if (ncclCommInitAll(comms, 2, nullptr) != ncclSuccess)
        return false;
    for (int rank = 0; rank < 2; rank++) {
        REQUIRE(cudaSetDevice(rank));
        REQUIRE(cudaStreamCreate(&streams[rank]));
        REQUIRE(cudaMalloc((void **)&buffers[rank], BYTES));
        REQUIRE(cudaMemset(buffers[rank], 0, BYTES));
        size_t count = size_t(is_fixed ? COUNT : COUNT - rank);
        if (ncclAllReduce(buffers[rank], buffers[rank], count, ncclFloat32, ncclSum, comms[rank],
                          streams[rank]) != ncclSuccess)
            return false;
    }
    for (int rank = 0; rank < 2; rank++)
        REQUIRE(cudaStreamSynchronize(streams[rank]));
    return true;
}

struct HostBug {
    const char *name;
    bool (*run)(Fixture *, bool is_fixed);
};

const HostBug HOST_BUGS[] = {
    {"missing_event_wait", missing_event_wait},
    {"missing_synchronize", missing_synchronize},
    {"upload_slot_reuse", upload_slot_reuse},
    {"device_pointer_on_host", device_pointer_on_host},
    {"unjoined_capture", unjoined_capture},
    {"missing_graph_edge", missing_graph_edge},
    {"padding_columns", padding_columns},
    {"wrong_device", wrong_device},
    {"mismatched_collective", mismatched_collective},
    {"block_gap_overrun", block_gap_overrun},
};

// 0: nothing was noticed.
int run_one(const std::string &name, bool is_fixed)
{
    Fixture f = make_fixture();
    for (const HostBug &bug : HOST_BUGS) {
        if (name == bug.name)
            return bug.run(&f, is_fixed) ? 0 : 1;
    }
    for (int i = 0; i < KERNEL_BUG_COUNT; i++) {
        const KernelBug &bug = KERNEL_BUGS[i];
        if (name != bug.name)
            continue;
        bug.launch(f.buffers, is_fixed, nullptr);
        REQUIRE(cudaDeviceSynchronize());
        REQUIRE(cudaMemcpy(f.result.data(), f.buffers.out, BYTES, cudaMemcpyDeviceToHost));
        return is_result_right(f, bug.expected, bug.checked) ? 0 : 1;
    }
    fprintf(stderr, "no bug is called %s\n", name.c_str());
    return 2;
}

// ---- the table ----

enum Mode { INORDER = 1, REVERSE = 2, RANDOM = 4, CHECKER = 8, ASAN = 16, GUARD = 32 };
constexpr int ORDERS = INORDER | REVERSE | RANDOM;

struct Expectation {
    const char *name;
    int modes; // in which it must be found
};

const Expectation EXPECTATIONS[] = {
    {"read_before_barrier", ORDERS | CHECKER},
    {"write_in_loop", ORDERS | CHECKER},
    {"scratch_reuse", REVERSE | RANDOM | CHECKER},
    {"warp_synchronous", ORDERS | CHECKER},
    {"plain_add", CHECKER},
    {"block_collision", CHECKER},
    {"global_overrun", CHECKER | ASAN},
    {"shared_overrun", ORDERS | CHECKER | ASAN},
    {"shared_uninitialised", ORDERS | CHECKER},
    {"divergent_barrier", ORDERS | CHECKER},
    {"divergent_shuffle", ORDERS | CHECKER},
    {"host_pointer", CHECKER},
    {"async_without_wait", INORDER | RANDOM | CHECKER},
    {"async_overwrite", REVERSE | RANDOM | CHECKER},
    {"missing_event_wait", REVERSE | RANDOM},
    {"missing_synchronize", REVERSE | RANDOM},
    {"upload_slot_reuse", REVERSE | RANDOM},
    {"device_pointer_on_host", GUARD},
    {"unjoined_capture", ORDERS},
    {"missing_graph_edge", REVERSE | RANDOM},
    {"padding_columns", ORDERS},
    {"wrong_device", ORDERS},
    {"mismatched_collective", ORDERS},
    {"block_gap_overrun", CHECKER | ASAN},
};

struct ModeSettings {
    const char *name;
    int mode;
    const char *threads, *streams, *guard;
};

// AddressSanitizer's mode and the checker's are the order "inorder" of their builds.
const ModeSettings MODES[] = {
    {"inorder", INORDER, "inorder", "eager", "0"},
    {"reverse", REVERSE, "reverse", "lazy", "0"},
    {"guard", GUARD, "inorder", "lazy", "1"},
    {"random", RANDOM, "random", "random", "0"},
};

// The exit status of one run in a process of its own.
int run_apart(const char *name, bool is_fixed, const ModeSettings &settings, int seed)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        std::string suffix = settings.mode == RANDOM ? ":" + std::to_string(seed) : "";
        setenv("EMU_SCHED", (settings.threads + suffix).c_str(), 1);
        setenv("EMU_STREAMS", (settings.streams + suffix).c_str(), 1);
        setenv("EMU_GUARD", settings.guard, 1);
        setenv("EMU_DEVICES", "2", 1);
        setenv("EMU_TIMEOUT_S", "5", 1);
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1); // the bugs do not clean up
        if (!getenv("EMU_SHOW")) {
            int null = open("/dev/null", O_WRONLY);
            dup2(null, 1);
            dup2(null, 2);
        }
        execl("/proc/self/exe", "emu_bugs", "--run", name, is_fixed ? "fixed" : "bug", nullptr);
        _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int modes_that_apply(const ModeSettings &settings)
{
    int modes = settings.mode;
    if (IS_CHECKED)
        modes |= CHECKER;
    if (IS_ASAN)
        modes |= ASAN;
    return modes;
}

// In how many runs something was noticed: one, or one a seed.
int count_found(const char *name, bool is_fixed, const ModeSettings &settings, int *runs)
{
    *runs = settings.mode == RANDOM ? RANDOM_SEEDS : 1;
    int found = 0;
    for (int seed = 1; seed <= *runs; seed++)
        found += run_apart(name, is_fixed, settings, seed) != 0;
    return found;
}

int test_bug(const Expectation &expectation)
{
    int failures = 0;
    printf("%-24s", expectation.name);
    for (const ModeSettings &settings : MODES) {
        if (settings.mode == GUARD && (IS_ASAN || IS_CHECKED))
            continue;
        if (IS_CHECKED && settings.mode != INORDER)
            continue;
        int runs, found = count_found(expectation.name, false, settings, &runs);
        int false_alarms = count_found(expectation.name, true, settings, &runs);
        bool must_find = expectation.modes & modes_that_apply(settings);
        bool is_wrong = false_alarms > 0 || (must_find && found == 0);
        printf(" %s %d/%d%s", settings.name, found, runs, is_wrong ? " WRONG" : "");
        if (false_alarms)
            printf(" (fixed: %d/%d)", false_alarms, runs);
        failures += is_wrong;
    }
    printf("\n");
    return failures;
}
} // namespace

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "--run"))
        return run_one(argv[2], !strcmp(argv[3], "fixed"));
    int failures = 0;
    for (const Expectation &expectation : EXPECTATIONS) {
        if (argc < 2 || !strcmp(argv[1], expectation.name))
            failures += test_bug(expectation);
    }
    printf(failures ? "%d wrong\n" : "all bugs found, all corrections clean\n", failures);
    return failures != 0;
}
