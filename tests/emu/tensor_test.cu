/* Asynchronous copies, ldmatrix and mma, with the values that a GPU gives. As features_test.cu, the
 * file builds with nvcc unchanged: running it on hardware is what confirms the fragment layouts. */
#include "gpu_ptx.h"

#include "features_testing.h"

__global__ void ldmatrix_kernel(uint32_t *out)
{
    GPU_SHARED(uint4, rows, [32]);
    int t = threadIdx.x;
    uint16_t *elements = (uint16_t *)rows;
    for (int i = 0; i < 8; i++)
        elements[t * 8 + i] = uint16_t(t * 8 + i);
    __syncwarp();
    uint32_t r[4], transposed[4], two[2], two_transposed[2];
    ptx_ldmatrix_x4(r, &rows[t]);
    ptx_ldmatrix_x4_trans(transposed, &rows[t]);
    ptx_ldmatrix_x2(two, &rows[(t & 15) + 16]);
    ptx_ldmatrix_x2_trans(two_transposed, &rows[(t & 15) + 16]);
    for (int i = 0; i < 4; i++) {
        out[t * 12 + i] = r[i];
        out[t * 12 + 4 + i] = transposed[i];
    }
    for (int i = 0; i < 2; i++) {
        out[t * 12 + 8 + i] = two[i];
        out[t * 12 + 10 + i] = two_transposed[i];
    }
}

static void test_ldmatrix()
{
    GPU_LAUNCH(ldmatrix_kernel, 1, 32, 0, 0, (uint32_t *)buffer);
    auto values = fetch<uint32_t>(buffer, 32 * 12);
    bool is_right = true;
    for (int t = 0; t < 32; t++) {
        for (int m = 0; m < 4; m++) {
            int r = t / 4, c = t % 4 * 2;
            uint32_t plain = m * 64 + r * 8 + c, transposed = m * 64 + c * 8 + r;
            plain |= (plain + 1) << 16;
            transposed |= (transposed + 8) << 16;
            is_right =
                is_right && values[t * 12 + m] == plain && values[t * 12 + 4 + m] == transposed;
            if (m >= 2)
                is_right = is_right && values[t * 12 + 6 + m] == plain &&
                           values[t * 12 + 8 + m] == transposed;
        }
    }
    report("ldmatrix", is_right);
}

__device__ uint32_t pack(float low, float high)
{
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &pair, 4);
    return bits;
}

// Fragments are filled by the layouts of CuTe's SM80_16x8x16, not by the emulator's formulas.
__global__ void mma_kernel(const float *a, const float *b, float *d)
{
    int low = threadIdx.x % 4, high = threadIdx.x / 4;
    uint32_t a_fragment[4], b_fragment[2];
    float d_fragment[4];
    for (int v = 0; v < 8; v += 2) {
        int i = low * 32 + high + (v >> 1 & 1) * 8 + (v >> 2) * 128;
        a_fragment[v / 2] = pack(a[i % 16 * 16 + i / 16], a[i % 16 * 16 + i / 16 + 1]);
    }
    for (int v = 0; v < 4; v += 2) {
        int i = low * 16 + high + (v >> 1) * 64;
        b_fragment[v / 2] = pack(b[i / 8 * 8 + i % 8], b[(i / 8 + 1) * 8 + i % 8]);
    }
    for (int v = 0; v < 4; v++)
        d_fragment[v] = 1000.f;
    ptx_mma_m16n8k16_bf16(d_fragment, a_fragment, b_fragment);
    for (int v = 0; v < 4; v++) {
        int i = low * 32 + high + (v & 1) * 16 + (v >> 1) * 8;
        d[i % 16 * 8 + i / 16] = d_fragment[v];
    }
}

static void test_mma()
{
    std::vector<float> a(256), b(128);
    for (int i = 0; i < 256; i++)
        a[i] = float(i * 7 % 23 - 11);
    for (int i = 0; i < 128; i++)
        b[i] = float(i * 5 % 19 - 9);
    float *device_a = (float *)buffer, *device_b = device_a + 256;
    cudaMemcpy(device_a, a.data(), 1024, cudaMemcpyHostToDevice);
    cudaMemcpy(device_b, b.data(), 512, cudaMemcpyHostToDevice);
    GPU_LAUNCH(mma_kernel, 1, 32, 0, 0, device_a, device_b, (float *)other);
    auto values = fetch<float>(other, 128);
    report("mma", all_equal(values, [&](int i) {
               float sum = 1000;
               for (int k = 0; k < 16; k++)
                   sum += a[i / 8 * 16 + k] * b[k * 8 + i % 8];
               return sum;
           }));
}

// Three groups in flight; the last copy of each thread takes only part of its 16 bytes.
__global__ void copy_kernel(const float *in, float *out)
{
    GPU_SHARED(float4, stage, [3][64]);
    int t = threadIdx.x;
    for (int s = 0; s < 3; s++) {
        ptx_cp_async16(&stage[s][t], in + (s * 64 + t) * 4, s == 2 ? t % 5 * 4 : 16);
        ptx_cp_commit();
    }
    ptx_cp_wait<1>();
    __syncthreads();
    float4 first = stage[0][63 - t], second = stage[1][63 - t];
    ptx_cp_wait<0>();
    __syncthreads();
    float4 third = stage[2][63 - t];
    float *target = out + t * 12;
    memcpy(target, &first, 16);
    memcpy(target + 4, &second, 16);
    memcpy(target + 8, &third, 16);
}

static void test_async_copies()
{
    std::vector<float> in(3 * 64 * 4);
    for (size_t i = 0; i < in.size(); i++)
        in[i] = float(i + 1);
    float *device_in = (float *)other;
    cudaMemcpy(device_in, in.data(), in.size() * 4, cudaMemcpyHostToDevice);
    GPU_LAUNCH(copy_kernel, 1, 64, 0, 0, device_in, (float *)buffer);
    auto values = fetch<float>(buffer, 64 * 12);
    report("cp.async", all_equal(values, [](int i) {
               int from = 63 - i / 12, s = i % 12 / 4, e = i % 4;
               return s == 2 && e >= from % 5 ? 0 : (s * 64 + from) * 4 + e + 1;
           }));
}

int main()
{
    open_buffers();
    test_ldmatrix();
    test_mma();
    test_async_copies();
    return close_buffers();
}
