/*
 * Recorded sequences of launches as CUDA graphs. A key's first run is plain, so that libraries load
 * what they need; the second is captured; later ones are one call. What a graph's kernels read that
 * changes from run to run lies in device memory. There may be more keys than are kept: a generator
 * with several adapters has one for each set of them.
 */
#include "cuda.h"
#include "range.h"

static void forget(lc_cuda_graph *graph)
{
    if (graph->exec != NULL) {
        (void)cudaGraphExecDestroy(graph->exec); /* one that runs is let run */
    }
    *graph = (lc_cuda_graph){.exec = NULL};
}

/* That of the key, else the place of the one that was asked for longest ago. */
static lc_cuda_graph *find_graph(lc_cuda *cuda, uint64_t key)
{
    lc_cuda_graph *found = &cuda->graphs[0];
    for (int i = 0; i < LC_CUDA_GRAPHS; i++) {
        lc_cuda_graph *graph = &cuda->graphs[i];
        if (graph->used > 0 && graph->key == key) {
            found = graph;
            break;
        }
        found = graph->used < found->used ? graph : found;
    }
    if (found->key != key) {
        forget(found);
    }
    found->key = key;
    found->used = ++cuda->records;
    return found;
}

lc_code lc_cuda_record_begin(lc_device *device, const char *name, uint64_t key, bool *replayed,
                             lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    lc_cuda_graph *graph = find_graph(cuda, key);
    *replayed = false;
    if (graph->exec != NULL) {
        LC_RANGE(name); /* its kernels have names of their own */
        *replayed = true;
        CUDA_TRY(cudaGraphLaunch(graph->exec, cuda->stream));
        return LC_OK;
    }
    if (!graph->is_seen) {
        graph->is_seen = true;
        return LC_OK;
    }
    CUDA_TRY(cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal));
    cuda->recording = graph;
    return LC_OK;
}

lc_code lc_cuda_record_end(lc_device *device, bool is_whole, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    lc_cuda_graph *graph = cuda->recording;
    cudaGraph_t recorded = NULL;
    if (graph == NULL) {
        return LC_OK;
    }
    cuda->recording = NULL;
    const cudaError_t ended = cudaStreamEndCapture(cuda->stream, &recorded);
    if (!is_whole) {
        if (recorded != NULL) {
            (void)cudaGraphDestroy(recorded);
        }
        return LC_OK; /* the error is the caller's */
    }
    LC_TRY(lc_cuda_result(ended, "cudaStreamEndCapture", err));
    const cudaError_t made = cudaGraphInstantiate(&graph->exec, recorded, 0);
    (void)cudaGraphDestroy(recorded);
    LC_TRY(lc_cuda_result(made, "cudaGraphInstantiate", err));
    CUDA_TRY(cudaGraphLaunch(graph->exec, cuda->stream));
    return LC_OK;
}

void lc_cuda_forget_graphs(lc_cuda *cuda)
{
    for (int i = 0; i < LC_CUDA_GRAPHS; i++) {
        forget(&cuda->graphs[i]);
    }
}
