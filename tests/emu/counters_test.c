/* The counters: launches by name always, bytes of kernels where the checker is linked in
 * (CMake says so in EMU_CHECKED). */
#include <cuda_runtime_api.h>

#include "emu_counters.h"
#include "host_testing.h"

enum { BLOCKS = 5, COUNT = BLOCKS * 128, BYTES = COUNT * 4 };

cudaError_t launch_staged_add(float *out, const float *in, int blocks, cudaStream_t stream);

static void check_kernel(emu_counter kernel, uint64_t launches)
{
    EXPECT(kernel.launches == launches);
    if (!getenv("EMU_CHECKED"))
        return;
    EXPECT(kernel.read_bytes == launches * (BYTES + BYTES));
    EXPECT(kernel.distinct_read_bytes == launches * BYTES);
    EXPECT(kernel.written_bytes == launches * BYTES);
    EXPECT(kernel.distinct_written_bytes == launches * BYTES);
}

int main(void)
{
    float *in, *out, host[COUNT];
    cudaStream_t stream;
    emu_counter counters[8];
    for (int i = 0; i < COUNT; i++)
        host[i] = (float)i;
    OK(cudaStreamCreate(&stream));
    OK(cudaMalloc((void **)&in, BYTES));
    OK(cudaMalloc((void **)&out, BYTES));
    emu_counters_clear();
    OK(cudaMemcpyAsync(in, host, BYTES, cudaMemcpyHostToDevice, stream));
    OK(launch_staged_add(out, in, BLOCKS, stream));
    OK(launch_staged_add(out, in, BLOCKS, stream));
    OK(cudaStreamSynchronize(stream));
    EXPECT(emu_counters_get(counters, 8) == 2);
    EXPECT(strcmp(counters[0].name, "memcpy") == 0 && strcmp(counters[1].name, "staged_add") == 0);
    EXPECT(counters[0].read_bytes == BYTES && counters[0].launches == 1);
    check_kernel(counters[1], 2);
    check_kernel(emu_counters_find("staged_add"), 2);
    EXPECT(emu_counters_find("nothing").launches == 0);
    // Calls that cost the host; a wait for nothing is not blocked.
    emu_call calls[4];
    OK(cudaStreamSynchronize(stream));
    EXPECT(emu_calls_get(calls, 4) == 1 && strcmp(calls[0].name, "cudaStreamSynchronize") == 0);
    EXPECT(calls[0].count == 2 && calls[0].drained == 2 && calls[0].blocked <= 1);
    EXPECT(emu_calls_find("cudaMalloc").count == 0);
    EXPECT(emu_memory_in_use().device_bytes == 2 * BYTES);
    EXPECT(emu_memory_in_use().device_peak_bytes == 2 * BYTES);
    EXPECT(emu_memory_in_use().pinned_peak_bytes == 0);
    // A captured launch counts when the graph runs.
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    emu_counters_clear();
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    OK(launch_staged_add(out, in, BLOCKS, stream));
    OK(cudaStreamEndCapture(stream, &graph));
    EXPECT(emu_counters_get(counters, 8) == 0);
    OK(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < 3; i++)
        OK(cudaGraphLaunch(exec, stream));
    OK(cudaStreamSynchronize(stream));
    check_kernel(emu_counters_find("staged_add"), 3);
    OK(cudaMemcpy(host, out, BYTES, cudaMemcpyDeviceToHost));
    EXPECT(host[200] >= 328 && host[200] <= 328);
    OK(cudaGraphExecDestroy(exec));
    OK(cudaGraphDestroy(graph));
    OK(cudaStreamDestroy(stream));
    OK(cudaFree(in));
    OK(cudaFree(out));
    return test_finish();
}
