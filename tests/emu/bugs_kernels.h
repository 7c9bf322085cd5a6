/* Planted bugs: what bugs_test.cpp knows of the ones in kernels (bugs_kernels.cu). */
#pragma once

#include <cuda_runtime_api.h>

constexpr int BUG_COUNT_THREADS = 256;

struct BugBuffers {
    float *in;            // device, 256 floats: 1, 2, ..., 256
    float *out;           // device, 256 floats: 0
    const float *host_in; // the same values in ordinary host memory
};

// Runs a kernel bug, or its corrected version; the 256 floats of `out` are then its result.
typedef void (*BugLaunch)(const BugBuffers &buffers, bool is_fixed, cudaStream_t stream);

struct KernelBug {
    const char *name;
    BugLaunch launch;
    float (*expected)(int i); // of out[i]; null: there is no right result to compare
    int checked;              // elements of out that are compared
};

extern const KernelBug KERNEL_BUGS[];
extern const int KERNEL_BUG_COUNT;

// out[i] = in[i] for i < count.
void launch_copy(float *out, const float *in, int count, cudaStream_t stream);
// out[row] = the sum of a row of `columns` elements, rows ld apart.
void launch_row_sums(float *out, const float *in, int rows, int columns, int ld,
                     cudaStream_t stream);
