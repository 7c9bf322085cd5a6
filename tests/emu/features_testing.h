/* What the feature tests share: two device buffers, fetching and comparing. For nvcc, g++ and
 * clang++. */
#pragma once

#include <stdio.h>
#include <string.h>
#include <vector>

constexpr unsigned ALL = 0xffffffffu;

static int failures;

static void report(const char *name, bool is_right)
{
    printf("%-24s %s\n", name, is_right ? "ok" : "FAIL");
    failures += !is_right;
}

template <class T> static std::vector<T> fetch(const void *device, size_t count)
{
    std::vector<T> host(count);
    if (cudaDeviceSynchronize() != cudaSuccess || cudaGetLastError() != cudaSuccess)
        report("launch", false);
    cudaMemcpy(host.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost);
    return host;
}

template <class T, class F> static bool all_equal(const std::vector<T> &values, F expected)
{
    for (size_t i = 0; i < values.size(); i++) {
        if (!(values[i] == T(expected(int(i)))))
            return false;
    }
    return true;
}

static void *buffer; // 1 MiB of device memory
static void *other;  // 4 KiB

static void open_buffers()
{
    if (cudaMalloc(&buffer, 1 << 20) != cudaSuccess || cudaMalloc(&other, 4096) != cudaSuccess)
        report("cudaMalloc", false);
}

// The program's exit status.
static int close_buffers()
{
    cudaFree(buffer);
    cudaFree(other);
    printf(failures ? "%d failed\n" : "all ok\n", failures);
    return failures != 0;
}
