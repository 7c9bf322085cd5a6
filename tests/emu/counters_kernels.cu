/* A kernel that moves a known number of bytes, for counters_test.c. */
#include "gpu_ptx.h"

// out[i] = in[i] + the block's first element, through a staged copy: 8 bytes are read for an
// element, and each element of `in` lies in one block.
__global__ void staged_add(float *out, const float *in)
{
    GPU_SHARED(float4, stage, [32]);
    int t = threadIdx.x, first = blockIdx.x * 128;
    ptx_cp_async16(&stage[t], in + first + t * 4);
    ptx_cp_commit();
    ptx_cp_wait<0>();
    __syncthreads();
    const float *staged = (const float *)stage;
    for (int i = t; i < 128; i += 32)
        out[first + i] = staged[i] + in[first];
}

// blocks * 128 elements.
extern "C" cudaError_t launch_staged_add(float *out, const float *in, int blocks,
                                         cudaStream_t stream)
{
    GPU_LAUNCH(staged_add, blocks, 32, 0, stream, out, in);
    return cudaGetLastError();
}
