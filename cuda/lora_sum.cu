/* Adds up the partial sums that the column passes leave, and prepares all LoRA kernels. */
#include "lora.cuh"

namespace
{
constexpr int THREADS = 256;

/* total[i] = sum over k of partials[k, i], for several sums at once (LoraSum).
 *
 * Grid: a sum's blocks after those of the sum before. Block: 256 threads, each with 4 neighbouring
 * elements. Bytes: every partial sum is read once. Deterministic: a thread adds its partial sums
 * one after the other. */
__global__ void __launch_bounds__(THREADS) lora_sum(const LoraSums sums)
{
    int block = (int)blockIdx.x, which = 0;
    while (block >= sums.sum[which].blocks) {
        block -= sums.sum[which++].blocks;
    }
    const LoraSum &sum = sums.sum[which];
    const int64_t i = ((int64_t)block * THREADS + threadIdx.x) * 4;
    if (i >= sum.elements) {
        return;
    }
    float4 total = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 8
    for (int k = 0; k < sum.count; k++) {
        const float4 more = *reinterpret_cast<const float4 *>(sum.partials + k * sum.elements + i);
        total.x += more.x;
        total.y += more.y;
        total.z += more.z;
        total.w += more.w;
    }
    const int column = (int)(i % sum.columns);
    if (sum.bf16_to.data) {
        *reinterpret_cast<uint2 *>(sum.bf16_to.data + i / sum.columns * sum.bf16_to.ld + column) =
            make_uint2(pack_bf16(total.x, total.y), pack_bf16(total.z, total.w));
        return;
    }
    float4 weight = make_float4(1.0f, 1.0f, 1.0f, 1.0f);
    if (sum.column_weight) {
        const float *from = sum.column_weight + column;
        weight = make_float4(from[0], from[1], from[2], from[3]);
    }
    float4 *to = reinterpret_cast<float4 *>(sum.f32_to + i);
    float4 value = *to;
    value.x += sum.scale * weight.x * total.x;
    value.y += sum.scale * weight.y * total.y;
    value.z += sum.scale * weight.z * total.z;
    value.w += sum.scale * weight.w * total.w;
    *to = value;
}

} // namespace

cudaError_t lc_cuda_lora_sum(LoraSums sums, cudaStream_t stream)
{
    int blocks = 0;
    for (int i = 0; i < sums.count; i++) {
        sums.sum[i].blocks = (int)lc_ceil_div(sums.sum[i].elements, THREADS * 4);
        blocks += sums.sum[i].blocks;
    }
    if (blocks == 0) {
        return cudaSuccess;
    }
    GPU_LAUNCH(lora_sum, blocks, THREADS, 0, stream, sums);
    return cudaGetLastError();
}

cudaError_t lc_cuda_lora_prepare(void)
{
    cudaError_t (*const prepare[])(void) = {
        lc_cuda_lora_forward_prepare, lc_cuda_lora_dy_prepare, lc_cuda_swiglu_lora_prepare,
        lc_cuda_swiglu_backward_lora_prepare, lc_cuda_norm_backward_lora_prepare};
    for (cudaError_t (*one)(void) : prepare) {
        const cudaError_t error = one();
        if (error != cudaSuccess) {
            return error;
        }
    }
    return cudaSuccess;
}
