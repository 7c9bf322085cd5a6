/* The matrix product behind the fake cublasLt: column-major, bf16 or fp32 operands, fp32
 * accumulation, and a summation order that the caller chooses, as different algorithms of the real
 * library differ in theirs. */
#pragma once

#include <library_types.h>
#include <stdint.h>

namespace emu
{
// The order of a sum over k: blocks of k_block terms, each summed from 0, added to the total first
// to last or last to first; with splits > 1 that for each part of k, and the parts' totals added in
// order.
struct SumOrder {
    int k_block;
    int splits;
    bool is_reversed;
};

struct GemmOperand {
    const void *data;
    cudaDataType type;
    int64_t ld; // elements
    bool is_transposed;
};

// D = alpha op(A) op(B) + beta C, then bias[row], then relu. Everything in host-visible memory.
struct Gemm {
    int64_t m, n, k;
    float alpha, beta; // with beta 0, C is not read
    GemmOperand a, b, c;
    void *d;
    cudaDataType d_type;
    int64_t d_ld;
    const void *bias; // or null
    cudaDataType bias_type;
    bool has_relu;
    bool is_tf32; // rounds fp32 inputs to TF32
    SumOrder order;
    float *workspace; // gemm_workspace_bytes
};

// m * n partial sums for each split; 0 without splits.
int64_t gemm_workspace_bytes(int64_t m, int64_t n, const SumOrder &order);
void gemm_run(const Gemm &gemm);
// 4 or 2; 0 for a type that is not supported.
int64_t gemm_type_bytes(cudaDataType type);
} // namespace emu
