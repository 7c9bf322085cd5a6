/* Kernels with one planted bug each, FIXED or not. Small, but each is the shape of a mistake that
 * real kernels have had. */
#include "gpu_ptx.h"

#include "bugs_kernels.h"

constexpr unsigned ALL = 0xffffffffu;

// A neighbour's value is read without a barrier after the write.
template <bool FIXED> __global__ void read_before_barrier(float *out, const float *in)
{
    GPU_SHARED(float, values, [256]);
    int t = threadIdx.x;
    values[t] = in[t];
    if (FIXED)
        __syncthreads();
    out[t] = values[(t + 1) & 255];
}

// The next round overwrites what others have not read yet.
template <bool FIXED> __global__ void write_in_loop(float *out, const float *in)
{
    GPU_SHARED(float, values, [256]);
    int t = threadIdx.x;
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        values[t] = in[t] * i;
        __syncthreads();
        sum += values[255 - t];
        if (FIXED)
            __syncthreads();
    }
    out[t] = sum;
}

__device__ float block_sum(float value)
{
    GPU_SHARED(float, sums, [8]);
    for (int bits = 16; bits; bits >>= 1)
        value += __shfl_xor_sync(ALL, value, bits);
    if (threadIdx.x % 32 == 0)
        sums[threadIdx.x / 32] = value;
    __syncthreads();
    value = 0;
    for (int i = 0; i < 8; i++)
        value += sums[i];
    return value;
}

// A helper's scratch is used again while other warps still read it.
template <bool FIXED> __global__ void scratch_reuse(float *out, const float *in)
{
    float first = block_sum(in[threadIdx.x]);
    if (FIXED)
        __syncthreads();
    float second = block_sum(in[threadIdx.x] * 2);
    out[threadIdx.x] = first + second;
}

// A tree that relies on the lanes of a warp moving together.
template <bool FIXED> __global__ void warp_synchronous(float *out, const float *in)
{
    GPU_SHARED(float, values, [64]);
    int t = threadIdx.x;
    values[t] = in[t];
    __syncthreads();
    if (t < 32) {
        values[t] += values[t + 32];
        for (int distance = 16; distance; distance >>= 1) {
            if (FIXED)
                __syncwarp();
            float other = t + distance < 32 ? values[t + distance] : 0.f;
            if (FIXED)
                __syncwarp();
            values[t] += other;
        }
    }
    if (t == 0)
        out[0] = values[0];
}

template <bool FIXED> __global__ void plain_add(float *out, const float *in)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (FIXED)
        atomicAdd(out, in[i]);
    else
        *out += in[i];
}

// Two blocks store to one element.
template <bool FIXED> __global__ void block_collision(float *out)
{
    if (threadIdx.x == 0)
        out[FIXED ? blockIdx.x : 0] = 1.f;
}

// "<=" for "<" in the tail's guard.
template <bool FIXED> __global__ void global_overrun(float *out, const float *in, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (FIXED ? i < count : i <= count)
        out[i] = in[i];
}

template <bool FIXED> __global__ void shared_overrun(float *out)
{
    GPU_SHARED(float, values, [32]);
    GPU_SHARED(float, ones, [32]);
    int t = threadIdx.x;
    ones[t] = 1.f;
    values[FIXED ? t : t + 1] = float(t);
    __syncthreads();
    out[t] = values[t] + ones[t];
}

template <bool FIXED> __global__ void shared_uninitialised(float *out, const float *in)
{
    GPU_SHARED(float, values, [32]);
    int t = threadIdx.x;
    if (FIXED)
        values[t] = 0;
    values[t] += in[t];
    out[t] = values[t];
}

template <bool FIXED> __global__ void divergent_barrier(float *out)
{
    int t = threadIdx.x;
    if (t < 16) {
        out[t] = 1.f;
        if (!FIXED)
            __syncthreads();
    } else {
        out[t] = 2.f;
        if (!FIXED)
            __syncthreads();
    }
    if (FIXED)
        __syncthreads();
}

template <bool FIXED> __global__ void divergent_shuffle(float *out)
{
    float value = float(threadIdx.x);
    if (FIXED) {
        value += __shfl_xor_sync(ALL, value, 1);
    } else if (threadIdx.x < 16) {
        value += __shfl_xor_sync(ALL, value, 1);
    } else {
        __syncthreads();
    }
    out[threadIdx.x] = value;
}

__global__ void read_all(float *out, const float *in)
{
    out[threadIdx.x] = in[threadIdx.x];
}

// The staged data is used without waiting for the copy.
template <bool FIXED> __global__ void async_without_wait(float *out, const float *in)
{
    GPU_SHARED(float4, stage, [64]);
    int t = threadIdx.x;
    ptx_cp_async16(&stage[t], in + t * 4);
    ptx_cp_commit();
    if (FIXED)
        ptx_cp_wait<0>();
    __syncthreads();
    float4 value = stage[63 - t];
    ptx_cp_wait<0>();
    out[t * 4] = value.x;
    out[t * 4 + 1] = value.y;
    out[t * 4 + 2] = value.z;
    out[t * 4 + 3] = value.w;
}

// Double buffering without the barrier at the end of a round: a copy overwrites a stage that is
// still being read.
template <bool FIXED> __global__ void async_overwrite(float *out, const float *in)
{
    GPU_SHARED(float4, stage, [2][64]);
    int t = threadIdx.x;
    float sum = 0;
    ptx_cp_async16(&stage[0][t], in + t * 4);
    ptx_cp_commit();
    for (int round = 0; round < 4; round++) {
        ptx_cp_async16(&stage[(round + 1) & 1][t], in + ((t + round + 1) & 63) * 4);
        ptx_cp_commit();
        ptx_cp_wait<1>();
        __syncthreads();
        sum += stage[round & 1][63 - t].x;
        if (FIXED)
            __syncthreads();
    }
    ptx_cp_wait<0>();
    out[t] = sum;
}

__global__ void copy_kernel(float *out, const float *in, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        out[i] = in[i];
}

__global__ void row_sum_kernel(float *out, const float *in, int rows, int columns, int ld)
{
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows)
        return;
    float sum = 0;
    for (int column = 0; column < columns; column++)
        sum += in[row * ld + column];
    out[row] = sum;
}

void launch_copy(float *out, const float *in, int count, cudaStream_t stream)
{
    GPU_LAUNCH(copy_kernel, (count + 127) / 128, 128, 0, stream, out, in, count);
}

void launch_row_sums(float *out, const float *in, int rows, int columns, int ld,
                     cudaStream_t stream)
{
    GPU_LAUNCH(row_sum_kernel, (rows + 31) / 32, 32, 0, stream, out, in, rows, columns, ld);
}

#define BUG_LAUNCH(kernel, grid, block, ...)                                \
    [](const BugBuffers &b, bool is_fixed, cudaStream_t stream) {           \
        (void)b;                                                            \
        if (is_fixed)                                                       \
            GPU_LAUNCH(kernel<true>, grid, block, 0, stream, __VA_ARGS__);  \
        else                                                                \
            GPU_LAUNCH(kernel<false>, grid, block, 0, stream, __VA_ARGS__); \
    }

static void launch_host_pointer(const BugBuffers &b, bool is_fixed, cudaStream_t stream)
{
    GPU_LAUNCH(read_all, 1, 256, 0, stream, b.out, is_fixed ? b.in : b.host_in);
}

static float same(int i)
{
    return float(i + 1);
}

static float expected_async_overwrite(int t)
{
    float sum = 0;
    for (int round = 0; round < 4; round++)
        sum += float(((63 - t + round) & 63) * 4 + 1);
    return sum;
}

const KernelBug KERNEL_BUGS[] = {
    {"read_before_barrier", BUG_LAUNCH(read_before_barrier, 1, 256, b.out, b.in),
     [](int i) { return float(((i + 1) & 255) + 1); }, 256},
    {"write_in_loop", BUG_LAUNCH(write_in_loop, 1, 256, b.out, b.in),
     [](int i) { return float(256 - i) * 6; }, 256},
    {"scratch_reuse", BUG_LAUNCH(scratch_reuse, 1, 256, b.out, b.in),
     [](int) { return 3 * 32896.f; }, 256},
    {"warp_synchronous", BUG_LAUNCH(warp_synchronous, 1, 64, b.out, b.in),
     [](int) { return 65 * 32.f; }, 1},
    {"plain_add", BUG_LAUNCH(plain_add, 2, 32, b.out, b.in), [](int) { return 65 * 32.f; }, 1},
    {"block_collision", BUG_LAUNCH(block_collision, 2, 32, b.out), [](int) { return 1.f; }, 1},
    {"global_overrun", BUG_LAUNCH(global_overrun, 2, 256, b.out, b.in, 256), same, 256},
    {"shared_overrun", BUG_LAUNCH(shared_overrun, 1, 32, b.out), same, 32},
    {"shared_uninitialised", BUG_LAUNCH(shared_uninitialised, 1, 32, b.out, b.in), same, 32},
    {"divergent_barrier", BUG_LAUNCH(divergent_barrier, 1, 32, b.out),
     [](int i) { return i < 16 ? 1.f : 2.f; }, 32},
    {"divergent_shuffle", BUG_LAUNCH(divergent_shuffle, 1, 32, b.out),
     [](int i) { return float(i + (i ^ 1)); }, 32},
    {"host_pointer", launch_host_pointer, same, 256},
    {"async_without_wait", BUG_LAUNCH(async_without_wait, 1, 64, b.out, b.in),
     [](int i) { return float((63 - i / 4) * 4 + i % 4 + 1); }, 256},
    {"async_overwrite", BUG_LAUNCH(async_overwrite, 1, 64, b.out, b.in), expected_async_overwrite,
     64},
};
const int KERNEL_BUG_COUNT = sizeof KERNEL_BUGS / sizeof *KERNEL_BUGS;
