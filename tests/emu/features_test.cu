/* Every feature of the kernel language that our kernels may use, with the values that a GPU gives.
 * The same file builds with nvcc (nvcc -arch=sm_80 -std=c++17 -Icuda tests/emu/features_test.cu)
 * and runs on a GPU unchanged: that is how the emulator is checked against hardware. */
#include "gpu_ptx.h"

#include "features_testing.h"

#include <math.h>

// ---- language ----

__constant__ float table[4] = {1, 2, 3, 4};

template <int FACTOR, bool NEGATE> struct Scale {
    __device__ static float apply(float x)
    {
        return NEGATE ? -x * FACTOR : x * FACTOR;
    }
};

template <int FACTOR, bool NEGATE>
__global__ void __launch_bounds__(64, 2) template_kernel(float *out)
{
    out[threadIdx.x] = Scale<FACTOR, NEGATE>::apply(float(threadIdx.x)) + table[threadIdx.x & 3];
}

static void test_templates_and_constants()
{
    GPU_LAUNCH((template_kernel<3, true>), 1, 64, 0, 0, (float *)buffer);
    auto first = fetch<float>(buffer, 64);
    report("template", all_equal(first, [](int i) { return -3.f * i + 1 + (i & 3); }));
    float values[4] = {5, 6, 7, 8};
    cudaMemcpyToSymbol(table, values, sizeof values);
    GPU_LAUNCH((template_kernel<1, false>), 1, 64, 0, 0, (float *)buffer);
    auto second = fetch<float>(buffer, 64);
    report("constant memory", all_equal(second, [](int i) { return i + 5 + (i & 3); }));
}

struct Parameters {
    float *out;
    float scale[4];
    int count;
};

__global__ void struct_kernel(const __grid_constant__ Parameters p)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.count)
        p.out[i] = p.scale[i & 3] * max(i, 10u) + min(1.5f, 2.0f);
}

static void test_struct_parameter()
{
    Parameters p = {(float *)buffer, {1, 2, 3, 4}, 100};
    GPU_LAUNCH(struct_kernel, 4, 32, 0, 0, p);
    p.count = 0; // copied at the launch
    auto values = fetch<float>(buffer, 100);
    report("struct by value", all_equal(values, [](int i) {
               return float(i & 3 ? (i & 3) + 1 : 1) * (i < 10 ? 10 : i) + 1.5f;
           }));
}

__global__ void shared_kernel(float *out)
{
    GPU_SHARED(float, rows, [8][33]);
    GPU_SHARED(int, offset, );
    int t = threadIdx.x;
    if (t == 0)
        offset = 7;
    rows[t / 32][t % 32] = t;
    __syncthreads();
    out[t] = rows[7 - t / 32][31 - t % 32] + offset;
}

template <class T> __global__ void typed_shared_kernel(T *out)
{
    GPU_SHARED(T, values, [64]);
    int t = threadIdx.x;
    values[63 - t] = T(t);
    __syncthreads();
    out[t] = values[t];
}

static void test_static_shared()
{
    GPU_LAUNCH(shared_kernel, 1, 256, 0, 0, (float *)buffer);
    auto values = fetch<float>(buffer, 256);
    report("shared arrays", all_equal(values, [](int i) { return 255 - i + 7; }));
    GPU_LAUNCH(typed_shared_kernel<double>, 1, 64, 0, 0, (double *)buffer);
    auto doubles = fetch<double>(buffer, 64);
    GPU_LAUNCH(typed_shared_kernel<int>, 1, 64, 0, 0, (int *)buffer);
    auto ints = fetch<int>(buffer, 64);
    report("shared in templates", all_equal(doubles, [](int i) { return 63 - i; }) &&
                                      all_equal(ints, [](int i) { return 63 - i; }));
}

__global__ void dynamic_kernel(float *out, int count)
{
    GPU_DYN_SHARED(float, values);
    int t = threadIdx.x;
    for (int i = t; i < count; i += 256)
        values[i] = i;
    __syncthreads();
    out[t] = values[count - 1 - t];
}

static void test_dynamic_shared()
{
    constexpr int COUNT = 40000, BYTES = COUNT * 4;
    GPU_LAUNCH(dynamic_kernel, 1, 256, BYTES, 0, (float *)buffer, COUNT);
    bool is_refused = cudaGetLastError() != cudaSuccess;
    int limit = 0;
    cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
    bool is_over_refused = GPU_ALLOW_SHARED(dynamic_kernel, limit + 1) != cudaSuccess;
    (void)cudaGetLastError();
    bool is_allowed = GPU_ALLOW_SHARED(dynamic_kernel, BYTES) == cudaSuccess;
    GPU_LAUNCH(dynamic_kernel, 1, 256, BYTES, 0, (float *)buffer, COUNT);
    auto values = fetch<float>(buffer, 256);
    report("160 KB of shared memory", is_refused && is_over_refused && is_allowed &&
                                          all_equal(values, [](int i) { return COUNT - 1 - i; }));
}

// ---- barriers and warps ----

__global__ void dim3_kernel(int *out)
{
    int linear = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int own = int(threadIdx.z * 100 + threadIdx.y * 10 + threadIdx.x);
    int value = __shfl_sync(ALL, own, 5);
    out[linear + blockIdx.y * 64] = value + 1000 * int(blockIdx.y * gridDim.x);
}

static void test_three_dimensions()
{
    GPU_LAUNCH(dim3_kernel, dim3(1, 2), dim3(4, 4, 4), 0, 0, (int *)buffer);
    auto values = fetch<int>(buffer, 128);
    report("3-D blocks",
           all_equal(values, [](int i) { return (i % 64 < 32 ? 11 : 211) + 1000 * (i / 64); }));
}

__global__ void partial_kernel(int *out) // 40 threads: the second warp has 8 lanes
{
    int t = threadIdx.x;
    unsigned mask = t < 32 ? ALL : 0xffu;
    unsigned odd = __ballot_sync(mask, t & 1);
    int sum = t;
    for (int bits = 4; bits; bits >>= 1)
        sum += __shfl_xor_sync(mask, sum, bits, 8);
    out[t] = sum;
    if (t % 32 == 0)
        out[40 + t / 32] = int(odd);
}

static void test_partial_warp()
{
    GPU_LAUNCH(partial_kernel, 1, 40, 0, 0, (int *)buffer);
    auto values = fetch<int>(buffer, 42);
    bool are_votes_right = values[40] == int(0xaaaaaaaa) && values[41] == 0xaa;
    values.resize(40);
    report("partial warp",
           are_votes_right && all_equal(values, [](int i) { return i / 8 * 64 + 28; }));
}

__global__ void halves_kernel(int *out) // half-warps that run different numbers of collectives
{
    int lane = threadIdx.x, value = lane;
    unsigned mask = lane < 16 ? 0xffffu : 0xffff0000u;
    if (lane < 16) {
        for (int i = 0; i < 3; i++)
            value = __shfl_sync(mask, value, (lane + 1) & 15);
    } else {
        value = __shfl_sync(mask, value, 31);
    }
    __syncwarp();
    out[lane] = value + __shfl_sync(ALL, value, 0);
}

__global__ void up_down_kernel(int *out)
{
    int lane = threadIdx.x;
    out[lane] = __shfl_up_sync(ALL, lane, 3) * 100 + __shfl_down_sync(ALL, lane, 2, 16);
}

__global__ void reduce_kernel(int *out)
{
    unsigned lane = threadIdx.x;
    unsigned sum = __reduce_add_sync(ALL, lane);
    int least = __reduce_min_sync(ALL, int(lane) - 5), most = __reduce_max_sync(ALL, int(lane) - 5);
    int any = __any_sync(ALL, lane == 9), all = __all_sync(ALL, lane < 31);
    out[lane] = int(sum) * 10000 + (most - least) * 100 + any * 10 + all;
}

static void test_shuffles()
{
    GPU_LAUNCH(halves_kernel, 1, 32, 0, 0, (int *)buffer);
    auto halves = fetch<int>(buffer, 32);
    report("disjoint masks",
           all_equal(halves, [](int i) { return (i < 16 ? (i + 3) % 16 : 31) + 3; }));
    GPU_LAUNCH(up_down_kernel, 1, 32, 0, 0, (int *)buffer);
    auto moved = fetch<int>(buffer, 32);
    report("shuffle up and down", all_equal(moved, [](int i) {
               return (i >= 3 ? i - 3 : i) * 100 + (i % 16 < 14 ? i + 2 : i);
           }));
    GPU_LAUNCH(reduce_kernel, 1, 32, 0, 0, (int *)buffer);
    auto reduced = fetch<int>(buffer, 32);
    report("warp reductions", all_equal(reduced, [](int) { return 496 * 10000 + 31 * 100 + 10; }));
}

__global__ void early_kernel(int *out, int count) // only threads that have not returned count
{
    GPU_SHARED(int, values, [256]);
    int t = threadIdx.x;
    if (t >= count)
        return;
    values[t] = t;
    __syncthreads();
    out[blockIdx.x * 256 + t] = values[count - 1 - t];
}

__global__ void vote_kernel(int *out)
{
    int t = threadIdx.x;
    int count = __syncthreads_count(t % 3 == 0);
    int all = __syncthreads_and(t < 1000);
    int any = __syncthreads_or(t == 77);
    out[t] = count * 100 + all * 10 + any;
}

static void test_barriers()
{
    GPU_LAUNCH(early_kernel, 2, 256, 0, 0, (int *)buffer, 200);
    auto early = fetch<int>(buffer, 200);
    report("early return", all_equal(early, [](int i) { return 199 - i; }));
    GPU_LAUNCH(vote_kernel, 1, 256, 0, 0, (int *)buffer);
    auto votes = fetch<int>(buffer, 256);
    report("barriers with votes", all_equal(votes, [](int) { return 8611; }));
}

__global__ void atomic_kernel(float *sum, int *total, unsigned *most, unsigned *bits)
{
    atomicAdd(sum, 1.f);
    atomicAdd(total, int(threadIdx.x));
    atomicMax(most, blockIdx.x * 1000 + threadIdx.x);
    atomicOr(bits, 1u << (threadIdx.x & 31));
    atomicCAS(bits + 1, 0u, 7u);
}

static void test_atomics()
{
    int *words = (int *)buffer;
    cudaMemset(buffer, 0, 64);
    GPU_LAUNCH(atomic_kernel, 10, 100, 0, 0, (float *)buffer, words + 1, (unsigned *)words + 2,
               (unsigned *)words + 3);
    auto values = fetch<int>(buffer, 5);
    float sum;
    memcpy(&sum, &values[0], 4);
    report("atomics", sum >= 1000 && sum <= 1000 && values[1] == 49500 && values[2] == 9099 &&
                          values[3] == -1 && values[4] == 7);
}

// ---- arithmetic ----

__global__ void bf16_kernel(const float *in, float *out)
{
    int t = threadIdx.x;
    __nv_bfloat162 pair = __floats2bfloat162_rn(in[2 * t], in[2 * t + 1]);
    __nv_bfloat162 twice = __hadd2(pair, pair), product = __hmul2(pair, twice);
    float2 fused = __bfloat1622float2(__hfma2(pair, twice, pair));
    out[4 * t] = __low2float(product);
    out[4 * t + 1] = __high2float(twice);
    out[4 * t + 2] = fused.x;
    out[4 * t + 3] = __bfloat162float(__float2bfloat16_rn(fused.y + __bfloat162float(pair.y)));
}

__global__ void bits_kernel(unsigned *out)
{
    unsigned t = threadIdx.x;
    out[t] = __byte_perm(0x33221100u, 0x77665544u, 0x7531u) +
             unsigned(__popc(t) + __clz(int(t)) + __ffs(int(t))) + __umulhi(t << 28, 16u) +
             (__brev(t) >> 31);
}

__global__ void math_kernel(float *out)
{
    float x = 0.5f + threadIdx.x;
    out[threadIdx.x] = __expf(-x) + rsqrtf(x) * __fsqrt_rn(x) + __logf(__fdividef(x, x)) +
                       __fmaf_rn(x, 0.f, __saturatef(x + 1)) + __uint_as_float(__float_as_uint(x)) -
                       x;
}

static void test_arithmetic()
{
    std::vector<float> in(64);
    for (int i = 0; i < 64; i++)
        in[i] = float(i - 20) / 4;
    float *device_in = (float *)other;
    cudaMemcpy(device_in, in.data(), 256, cudaMemcpyHostToDevice);
    GPU_LAUNCH(bf16_kernel, 1, 32, 0, 0, device_in, (float *)buffer);
    auto values = fetch<float>(buffer, 128);
    bool is_right = true;
    for (int t = 0; t < 32; t++) { // small enough to be exact in bf16, but for rounded squares
        float a = in[2 * t], b = in[2 * t + 1];
        is_right = is_right && fabsf(values[4 * t] - 2 * a * a) <= 0.004f * 2 * a * a;
        is_right = is_right && fabsf(values[4 * t + 1] - 2 * b) <= 0;
        is_right = is_right &&
                   fabsf(values[4 * t + 2] - (2 * a * a + a)) <= 0.004f * (2 * a * a + fabsf(a));
    }
    report("bf16 pairs", is_right);
    GPU_LAUNCH(bits_kernel, 1, 32, 0, 0, (unsigned *)buffer);
    auto bits = fetch<unsigned>(buffer, 32);
    is_right = bits[0] == 0x77553311u + 32 && bits[1] == 0x77553311u + 1 + 31 + 1 + 1 + 1;
    report("bit functions", is_right);
    GPU_LAUNCH(math_kernel, 1, 32, 0, 0, (float *)buffer);
    auto maths = fetch<float>(buffer, 32);
    is_right = true;
    for (int t = 0; t < 32; t++)
        is_right = is_right && fabs(maths[t] - (exp(-(0.5 + t)) + 2)) < 1e-4;
    report("fast maths", is_right);
}

// ---- launching ----

__global__ void add_kernel(float *values, float amount, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        values[i] += amount;
}
GPU_REGISTER(add_kernel);

static void test_launch_by_address()
{
    float *values = (float *)buffer, amount = 2.5f;
    int count = 70;
    void *args[] = {&values, &amount, &count};
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 0;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(3);
    config.blockDim = dim3(32);
    config.attrs = &attribute;
    config.numAttrs = 1;
    cudaMemset(buffer, 0, 512);
    bool is_taken = cudaLaunchKernelExC(&config, (const void *)add_kernel, args) == cudaSuccess;
    auto result = fetch<float>(buffer, 70);
    report("launch by address", is_taken && all_equal(result, [](int) { return 2.5f; }));
}

static void test_graph()
{
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaStreamCreate(&stream);
    cudaMemset(buffer, 0, 512);
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    GPU_LAUNCH(add_kernel, 4, 32, 0, stream, (float *)buffer, 1.5f, 128);
    cudaStreamEndCapture(stream, &graph);
    cudaGraphInstantiate(&exec, graph, 0);
    for (int i = 0; i < 3; i++)
        cudaGraphLaunch(exec, stream);
    cudaStreamSynchronize(stream);
    auto values = fetch<float>(buffer, 128);
    report("graph", all_equal(values, [](int) { return 4.5f; }));
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
}

int main()
{
    open_buffers();
    test_templates_and_constants();
    test_struct_parameter();
    test_static_shared();
    test_dynamic_shared();
    test_three_dimensions();
    test_partial_warp();
    test_shuffles();
    test_barriers();
    test_atomics();
    test_arithmetic();
    test_launch_by_address();
    test_graph();
    return close_buffers();
}
