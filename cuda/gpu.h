/* The one header of every kernel file. Under nvcc it is a handful of macros; under g++ or clang++
 * the genuine CUDA headers give the types and the runtime's API, and tests/emu/emu_kernel.h the
 * kernel language, so that the same source runs on a CPU (tests/emu/README.md). Only .cu files and
 * gpu_ptx.h include it; host code does not.
 *
 * What C++ cannot say is a macro; kernels use them and no <<<>>>, __shared__, asm or __CUDA_ARCH__:
 *
 *   GPU_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...)
 *       Launches; the error, if any, is cudaGetLastError()'s. A template's instance goes in
 *       parentheses: GPU_LAUNCH((rmsnorm<256>), ...). shared_bytes over 48 KiB must have been
 *       allowed for this kernel with GPU_ALLOW_SHARED.
 *   GPU_ALLOW_SHARED(kernel, shared_bytes)
 *       cudaFuncSetAttribute(cudaFuncAttributeMaxDynamicSharedMemorySize), as a cudaError_t. Not
 *       while capturing.
 *   GPU_REGISTER(kernel)
 *       At file scope, for kernels that are launched by address (cudaLaunchKernel,
 *       cudaLaunchKernelExC).
 *   GPU_SHARED(type, name, dims)
 *       A static shared array `name`: GPU_SHARED(float, sums, [32]); a scalar has empty dims.
 *   GPU_DYN_SHARED(type, name)
 *       `type *name`, the dynamic shared memory of the launch, aligned to 1024 bytes. Several in
 *       one kernel are the same memory. */
#pragma once

#include <cuda_runtime.h>
#include <cuda_bf16.h>
#include <stdint.h>

#ifdef __CUDACC__

#define GPU_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
    kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)
#define GPU_ALLOW_SHARED(kernel, shared_bytes)                                                \
    cudaFuncSetAttribute((const void *)(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, \
                         (int)(shared_bytes))
#define GPU_REGISTER(kernel)         static_assert(true, "known to nvcc")
#define GPU_SHARED(type, name, dims) __shared__ type name dims
#define GPU_DYN_SHARED(type, name)                                        \
    extern __shared__ __align__(1024) unsigned char gpu_dynamic_shared[]; \
    type *name = reinterpret_cast<type *>(gpu_dynamic_shared)

#else
#include "emu_kernel.h" // tests/emu
#endif
