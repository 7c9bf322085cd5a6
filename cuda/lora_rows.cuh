/* The row pass, S = x A^T for 32 rows and up to 64 slots: what lora_forward and the fused swiglu
 * have in common. A block of 256 threads walks over the features, 128 at a time; of each such step
 * two warps, one for each 16 rows, take a quarter, and the quarters' sums are added at the end. */
#pragma once

#include "lora.cuh"

namespace
{
constexpr int PASS_ROWS = 32;
constexpr int PASS_DEPTH = 128; /* features of a step */
constexpr int PASS_PITCH = pitch_of(PASS_DEPTH);
constexpr int PASS_THREADS = 256;
constexpr int PASS_PARTS = 4; /* of the depth */
constexpr int PASS_PART_DEPTH = PASS_DEPTH / PASS_PARTS;

/* sum += x a^T of the warp's rows and features, for x of 32 and a of R rows in shared memory.
 * Feature 0 of them is `feature` of the matrix, which together with `row` chooses the masks. */
template <int R, bool HAS_DROPOUT>
__device__ __forceinline__ void multiply_rows(float (&sum)[R / 8][4], const bf16 *x, const bf16 *a,
                                              const TileMasks<R / TILE> &masks, RowIdentity row,
                                              int feature)
{
    const int part = warp_of() / 2;
#pragma unroll
    for (int k = 0; k < PASS_PART_DEPTH; k += TILE) {
        const int column = part * PASS_PART_DEPTH + k;
        uint32_t rows[4], masked[4];
        load_a(rows, x + warp_of() % 2 * TILE * PASS_PITCH + column, PASS_PITCH);
#pragma unroll
        for (int n = 0; n < R / TILE; n++) {
            if (HAS_DROPOUT && masks.is_new(n)) {
                mask_a(masked, rows, masks, n, row, feature + column);
            }
            uint32_t slots[4];
            load_b(slots, a + n * TILE * PASS_PITCH + column, PASS_PITCH);
            multiply_add(sum[n * 2], sum[n * 2 + 1], HAS_DROPOUT ? masked : rows, slots);
        }
    }
}

/* Adds the parts' sums, in their order, and writes scale times them as the first `slots` columns of
 * the first `rows` rows of s, and of saved if there is one. `shared` is the block's memory, which
 * nobody uses any more. */
template <int R>
__device__ __forceinline__ void finish_rows(const float (&sum)[R / 8][4], float *shared,
                                            float scale, int rows, int slots, Window s,
                                            Window saved)
{
    constexpr int PITCH = pitch_of(R), QUADS = R / 4;
    __syncthreads();
    store_product<R>(shared + (warp_of() / 2 * PASS_ROWS + warp_of() % 2 * TILE) * PITCH, PITCH,
                     sum);
    __syncthreads();
    for (int i = (int)threadIdx.x; i < PASS_ROWS * QUADS; i += PASS_THREADS) {
        const int row = i / QUADS, slot = i % QUADS * 4;
        float total[4] = {};
#pragma unroll
        for (int part = 0; part < PASS_PARTS; part++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                total[j] += shared[(part * PASS_ROWS + row) * PITCH + slot + j];
            }
        }
        if (row < rows && slot < slots) {
            const uint2 bits = make_uint2(pack_bf16(scale * total[0], scale * total[1]),
                                          pack_bf16(scale * total[2], scale * total[3]));
            *reinterpret_cast<uint2 *>(s.data + row * s.ld + slot) = bits;
            if (saved.data) {
                *reinterpret_cast<uint2 *>(saved.data + row * saved.ld + slot) = bits;
            }
        }
    }
}

} // namespace
