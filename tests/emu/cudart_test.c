/* The fake libcudart from C11, against the genuine header: memory, copies, streams, events, graphs,
 * limits, errors. */
#include <cuda_runtime_api.h>

#include "emu_counters.h"
#include "host_testing.h"

enum { COUNT = 1000 };
#define BYTES ((size_t)COUNT * sizeof(float))

static cudaStream_t new_stream(void)
{
    cudaStream_t stream;
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
}

static cudaEvent_t new_event(void)
{
    cudaEvent_t event;
    OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return event;
}

static void test_devices(void)
{
    int count, value;
    struct cudaDeviceProp properties;
    size_t free_before, free_after, total;
    void *p;
    OK(cudaGetDeviceCount(&count));
    EXPECT(count == 2);
    OK(cudaGetDeviceProperties(&properties, 1));
    EXPECT(properties.major == 8 || properties.major == 9);
    OK(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    EXPECT(value == (properties.major == 8 ? 163 : 227) << 10);
    OK(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0));
    EXPECT(value == (properties.major == 8 ? 108 : 132));
    OK(cudaMemGetInfo(&free_before, &total));
    OK(cudaMalloc(&p, 1 << 20));
    OK(cudaMemGetInfo(&free_after, &total));
    EXPECT(free_before - free_after == 1 << 20);
    OK(cudaFree(p));
    EXPECT_RESULT(cudaMalloc(&p, total + 1), cudaErrorMemoryAllocation);
    EXPECT(cudaGetLastError() == cudaErrorMemoryAllocation);
    EXPECT(cudaGetLastError() == cudaSuccess);
    EXPECT_RESULT(cudaSetDevice(2), cudaErrorInvalidDevice);
    EXPECT(strcmp(cudaGetErrorName(cudaGetLastError()), "cudaErrorInvalidDevice") == 0);
    OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&value, &count, 256, 100 << 10));
    EXPECT(value == (properties.major == 8 ? 1 : 2));
}

static void test_host_memory(void)
{
    float *pinned, own[COUNT];
    void *device, *seen;
    struct cudaPointerAttributes attributes;
    OK(cudaHostAlloc((void **)&pinned, BYTES, cudaHostAllocPortable));
    OK(cudaMalloc(&device, BYTES));
    OK(cudaPointerGetAttributes(&attributes, pinned + 5));
    EXPECT(attributes.type == cudaMemoryTypeHost);
    OK(cudaPointerGetAttributes(&attributes, device));
    EXPECT(attributes.type == cudaMemoryTypeDevice && attributes.device == 0);
    OK(cudaPointerGetAttributes(&attributes, own));
    EXPECT(attributes.type == cudaMemoryTypeUnregistered);
    OK(cudaHostRegister(own, sizeof own, cudaHostRegisterDefault));
    EXPECT_RESULT(cudaHostRegister(own, sizeof own, 0), cudaErrorHostMemoryAlreadyRegistered);
    OK(cudaHostGetDevicePointer(&seen, own, 0));
    OK(cudaHostUnregister(own));
    EXPECT_RESULT(cudaHostUnregister(own), cudaErrorHostMemoryNotRegistered);
    // Wrong directions and overruns.
    EXPECT_RESULT(cudaMemcpy(own, device, BYTES, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT_RESULT(cudaMemcpy(device, own, BYTES + 4, cudaMemcpyHostToDevice),
                  cudaErrorInvalidValue);
    EXPECT_RESULT(cudaMemset(device, 0, BYTES + 4), cudaErrorInvalidValue);
    EXPECT_RESULT(cudaFree((char *)device + 4), cudaErrorInvalidValue);
    (void)cudaGetLastError();
    OK(cudaFree(device));
    OK(cudaFreeHost(pinned));
}

static void test_pitched_copies(void)
{
    enum { ROWS = 7, WIDTH = 12, PITCH = 20 };
    unsigned char host[ROWS * WIDTH], back[ROWS * PITCH], *device;
    for (int i = 0; i < ROWS * WIDTH; i++)
        host[i] = (unsigned char)i;
    OK(cudaMalloc((void **)&device, ROWS * PITCH));
    OK(cudaMemset2D(device, PITCH, 0, PITCH, ROWS));
    OK(cudaMemset2D(device, PITCH, 9, PITCH - 2, ROWS));
    OK(cudaMemcpy2D(device, PITCH, host, WIDTH, WIDTH, ROWS, cudaMemcpyHostToDevice));
    OK(cudaMemcpy(back, device, sizeof back, cudaMemcpyDeviceToHost));
    for (int row = 0; row < ROWS; row++) {
        for (int i = 0; i < PITCH; i++) {
            int expected = i < WIDTH ? host[row * WIDTH + i] : i < PITCH - 2 ? 9 : 0;
            EXPECT(back[row * PITCH + i] == expected);
        }
    }
    EXPECT_RESULT(cudaMemcpy2D(device, PITCH, host, WIDTH, WIDTH, ROWS + 1, cudaMemcpyHostToDevice),
                  cudaErrorInvalidValue);
    (void)cudaGetLastError();
    OK(cudaFree(device));
}

static void count_call(void *counter)
{
    ++*(int *)counter;
}

static void test_streams(void)
{
    cudaStream_t urgent, blocking, other = new_stream();
    cudaEvent_t start, end, event = new_event();
    int lowest, highest, priority, calls = 0;
    float *a, *b, *host, ms = -1;
    OK(cudaDeviceGetStreamPriorityRange(&lowest, &highest));
    OK(cudaStreamCreateWithPriority(&urgent, cudaStreamNonBlocking, highest));
    OK(cudaStreamGetPriority(urgent, &priority));
    EXPECT(priority == highest && highest < lowest);
    OK(cudaMalloc((void **)&a, BYTES));
    OK(cudaMalloc((void **)&b, BYTES));
    OK(cudaHostAlloc((void **)&host, BYTES, 0));
    for (int i = 0; i < COUNT; i++)
        host[i] = (float)i;
    // From stream to stream through events, and back to the host.
    OK(cudaMemcpyAsync(a, host, BYTES, cudaMemcpyHostToDevice, urgent));
    OK(cudaEventRecord(event, urgent));
    OK(cudaStreamWaitEvent(other, event, 0));
    OK(cudaMemcpyAsync(b, a, BYTES, cudaMemcpyDeviceToDevice, other));
    OK(cudaLaunchHostFunc(other, count_call, &calls));
    OK(cudaEventRecord(event, other));
    OK(cudaEventSynchronize(event));
    EXPECT(calls == 1);
    memset(host, 0, BYTES);
    OK(cudaMemcpyAsync(host, b, BYTES, cudaMemcpyDeviceToHost, other));
    while (cudaStreamQuery(other) == cudaErrorNotReady) {}
    EXPECT(host[COUNT - 1] >= COUNT - 1);
    // The legacy default stream waits for blocking streams, and they for it.
    OK(cudaStreamCreate(&blocking));
    OK(cudaMemsetAsync(a, 0, BYTES, blocking));
    OK(cudaMemcpyAsync(b, a, BYTES, cudaMemcpyDeviceToDevice, NULL));
    OK(cudaMemcpyAsync(host, b, BYTES, cudaMemcpyDeviceToHost, blocking));
    OK(cudaStreamSynchronize(blocking));
    EXPECT(host[5] <= 0 && host[5] >= 0);
    OK(cudaEventCreate(&start));
    OK(cudaEventCreate(&end));
    OK(cudaEventRecord(start, other));
    OK(cudaEventRecord(end, other));
    OK(cudaEventSynchronize(end));
    OK(cudaEventElapsedTime(&ms, start, end));
    EXPECT(ms >= 0);
    OK(cudaFree(a));
    OK(cudaFree(b));
    OK(cudaFreeHost(host));
    OK(cudaEventDestroy(event));
    OK(cudaEventDestroy(start));
    OK(cudaEventDestroy(end));
    OK(cudaStreamDestroy(urgent));
    OK(cudaStreamDestroy(other));
    OK(cudaStreamDestroy(blocking));
}

// ---- graphs ----

typedef struct {
    float *in, *left, *right, *out; // device
    float *host;                    // pinned
    cudaStream_t main, side;
    cudaEvent_t fork, join;
} graph_fixture;

static void graph_open(graph_fixture *f)
{
    float **buffers[] = {&f->in, &f->left, &f->right, &f->out};
    for (int i = 0; i < 4; i++)
        OK(cudaMalloc((void **)buffers[i], 2 * BYTES));
    OK(cudaHostAlloc((void **)&f->host, 2 * BYTES, 0));
    f->main = new_stream();
    f->side = new_stream();
    f->fork = new_event();
    f->join = new_event();
}

static void graph_close(graph_fixture *f)
{
    float *buffers[] = {f->in, f->left, f->right, f->out};
    for (int i = 0; i < 4; i++)
        OK(cudaFree(buffers[i]));
    OK(cudaFreeHost(f->host));
    OK(cudaStreamDestroy(f->main));
    OK(cudaStreamDestroy(f->side));
    OK(cudaEventDestroy(f->fork));
    OK(cudaEventDestroy(f->join));
}

// host -> in, then in -> left on the main stream beside in -> right on the side stream, then both
// -> out -> host.
static cudaGraph_t capture_diamond(graph_fixture *f)
{
    cudaGraph_t graph;
    OK(cudaStreamBeginCapture(f->main, cudaStreamCaptureModeThreadLocal));
    OK(cudaMemcpyAsync(f->in, f->host, BYTES, cudaMemcpyHostToDevice, f->main));
    OK(cudaEventRecord(f->fork, f->main));
    OK(cudaStreamWaitEvent(f->side, f->fork, 0));
    OK(cudaMemcpyAsync(f->left, f->in, BYTES, cudaMemcpyDeviceToDevice, f->main));
    OK(cudaMemcpyAsync(f->right, f->in, BYTES, cudaMemcpyDeviceToDevice, f->side));
    OK(cudaEventRecord(f->join, f->side));
    OK(cudaStreamWaitEvent(f->main, f->join, 0));
    OK(cudaMemcpyAsync(f->out, f->left, BYTES, cudaMemcpyDeviceToDevice, f->main));
    OK(cudaMemcpyAsync(f->out + COUNT, f->right, BYTES, cudaMemcpyDeviceToDevice, f->main));
    OK(cudaMemcpyAsync(f->host + COUNT, f->out + COUNT, BYTES, cudaMemcpyDeviceToHost, f->main));
    OK(cudaStreamEndCapture(f->main, &graph));
    return graph;
}

static void test_graph_replay(void)
{
    graph_fixture f;
    cudaGraphExec_t exec, second;
    size_t nodes = 0;
    emu_counter copies;
    graph_open(&f);
    cudaGraph_t graph = capture_diamond(&f);
    OK(cudaGraphGetNodes(graph, NULL, &nodes));
    EXPECT(nodes == 6);
    OK(cudaGraphInstantiate(&exec, graph, cudaGraphInstantiateFlagUseNodePriority));
    OK(cudaGraphInstantiate(&second, graph, 0));
    OK(cudaGraphDestroy(graph));
    OK(cudaGraphUpload(exec, f.main));
    OK(cudaDeviceSynchronize());
    emu_counters_clear();
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < COUNT; i++)
            f.host[i] = (float)(round * i);
        OK(cudaGraphLaunch(exec, f.main));
        OK(cudaGraphLaunch(round == 2 ? second : exec, f.main));
        OK(cudaStreamSynchronize(f.main));
        for (int i = 0; i < COUNT; i++)
            EXPECT(fabsf(f.host[COUNT + i] - (float)(round * i)) <= 0);
    }
    copies = emu_counters_find("memcpy");
    EXPECT(copies.launches == 36 && copies.read_bytes == 36 * BYTES);
    OK(cudaGraphLaunch(exec, f.main)); // destroyed while in flight
    OK(cudaGraphExecDestroy(exec));
    OK(cudaStreamSynchronize(f.main));
    OK(cudaGraphExecDestroy(second));
    graph_close(&f);
}

// Each mistake makes the capture end with an error and leaves the streams usable.
static void expect_capture_ends(graph_fixture *f, cudaError_t expected)
{
    cudaGraph_t graph = NULL;
    enum cudaStreamCaptureStatus status;
    EXPECT_RESULT(cudaStreamEndCapture(f->main, &graph), expected);
    EXPECT(graph == NULL);
    OK(cudaStreamIsCapturing(f->main, &status));
    EXPECT(status == cudaStreamCaptureStatusNone);
    OK(cudaStreamIsCapturing(f->side, &status));
    EXPECT(status == cudaStreamCaptureStatusNone);
    (void)cudaGetLastError();
}

static void begin(graph_fixture *f)
{
    OK(cudaStreamBeginCapture(f->main, cudaStreamCaptureModeThreadLocal));
    OK(cudaMemsetAsync(f->in, 0, BYTES, f->main));
}

static void test_capture_errors(void)
{
    graph_fixture f;
    void *p;
    cudaEvent_t outside = new_event();
    enum cudaStreamCaptureStatus status;
    graph_open(&f);
    begin(&f);
    EXPECT_RESULT(cudaStreamSynchronize(f.main), cudaErrorStreamCaptureUnsupported);
    OK(cudaStreamIsCapturing(f.main, &status));
    EXPECT(status == cudaStreamCaptureStatusInvalidated);
    EXPECT_RESULT(cudaMemsetAsync(f.in, 0, BYTES, f.main), cudaErrorStreamCaptureInvalidated);
    expect_capture_ends(&f, cudaErrorStreamCaptureInvalidated);
    begin(&f);
    EXPECT_RESULT(cudaMalloc(&p, 16), cudaErrorStreamCaptureUnsupported);
    expect_capture_ends(&f, cudaErrorStreamCaptureInvalidated);
    begin(&f);
    EXPECT_RESULT(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
    expect_capture_ends(&f, cudaErrorStreamCaptureInvalidated);
    begin(&f); // a fork that never joins
    OK(cudaEventRecord(f.fork, f.main));
    OK(cudaStreamWaitEvent(f.side, f.fork, 0));
    OK(cudaMemsetAsync(f.left, 0, BYTES, f.side));
    expect_capture_ends(&f, cudaErrorStreamCaptureUnjoined);
    begin(&f); // an event of work outside
    OK(cudaEventRecord(outside, f.side));
    EXPECT_RESULT(cudaStreamWaitEvent(f.main, outside, 0), cudaErrorStreamCaptureIsolation);
    expect_capture_ends(&f, cudaErrorStreamCaptureInvalidated);
    begin(&f); // asking for an event that only the graph will record
    OK(cudaEventRecord(f.fork, f.main));
    EXPECT_RESULT(cudaEventQuery(f.fork), cudaErrorCapturedEvent);
    cudaGraph_t graph;
    OK(cudaStreamEndCapture(f.main, &graph));
    OK(cudaGraphDestroy(graph));
    (void)cudaGetLastError();
    OK(cudaStreamSynchronize(f.main));
    OK(cudaEventDestroy(outside));
    graph_close(&f);
}

int main(void)
{
    test_devices();
    test_host_memory();
    test_pitched_copies();
    test_streams();
    test_graph_replay();
    test_capture_errors();
    return test_finish();
}
