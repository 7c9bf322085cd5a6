/*
 * Kernels of the questions: one that does nothing, and one whose blocks stay where they are for a
 * while.
 */
#include "gpu.h"

__global__ void nothing(int)
{
}

// Dependent multiply-adds: no memory, no end before its time.
__global__ void resident(float *out, int64_t iterations)
{
    float value = (float)threadIdx.x;
    for (int64_t i = 0; i < iterations; i++)
        value = fmaf(value, 0.999f, 0.001f);
    out[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

extern "C" cudaError_t questions_launch_nothing(cudaStream_t stream)
{
    GPU_LAUNCH(nothing, 1, 32, 0, stream, 0);
    return cudaGetLastError();
}

extern "C" cudaError_t questions_launch_resident(float *out, int blocks, int64_t iterations,
                                                 cudaStream_t stream)
{
    GPU_LAUNCH(resident, blocks, 256, 0, stream, out, iterations);
    return cudaGetLastError();
}
