/* The column pass: what lora_dy, lora_dx and the fused swiglu backward have in common. A block
 * holds a group of columns of X or dY, a strip of them per warp, and walks down a range of rows, 16
 * at a time. A gradient of a factor, dS^T X or dY^T S, stays in registers over all rows and leaves
 * as one partial sum a range; dS of 16 rows, dY (sB), is complete over the group's columns after
 * every step and leaves as one partial sum a group. */
#pragma once

#include "lora.cuh"

namespace
{
/* sum += s^T y of 16 rows: R slots by the warp's STRIP columns, two sums of 8 columns for each 16;
 * for s as operands of load_a_transposed, one each 16 slots, and y an operand of
 * load_b_transposed at column 16*k. */
template <int R, int STRIP>
__device__ __forceinline__ void multiply_slots(float (&sum)[R / TILE][STRIP / 8][4], int k,
                                               const uint32_t (&slots)[R / TILE][4],
                                               const uint32_t (&columns)[4])
{
#pragma unroll
    for (int n = 0; n < R / TILE; n++) {
        multiply_add(sum[n][k * 2], sum[n][k * 2 + 1], slots[n], columns);
    }
}

/* Operands b of sB: a strip of STRIP columns (rows of sB) deep, R slots. */
template <int R, int STRIP> struct StripWeights {
    uint32_t b[STRIP / TILE][R / 8][2];

    /* From `from`, whose row 0 is the strip's first column; what is not in its first `columns` rows
     * and `slots` columns is zero. */
    __device__ __forceinline__ void load(const Window &from, int columns, int slots)
    {
        const Place place = place_of_lane(); /* of the transposed operand */
#pragma unroll
        for (int k = 0; k < STRIP / TILE; k++) {
#pragma unroll
            for (int n = 0; n < R / 8; n++) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int column = k * TILE + half * 8 + place.column, slot = n * 8 + place.row;
                    const bool is_inside = column < columns && slot < slots;
                    const uint16_t *at = reinterpret_cast<const uint16_t *>(
                        from.data + (is_inside ? column * from.ld + slot : 0));
                    b[k][n][half] = is_inside ? at[0] | (uint32_t)at[from.ld] << 16 : 0;
                }
            }
        }
    }

    /* ds += the 16 rows of operand `rows`, at column 16*k of the strip, times sB. */
    __device__ __forceinline__ void multiply(float (&ds)[R / 8][4], const uint32_t (&rows)[4],
                                             int k) const
    {
#pragma unroll
        for (int n = 0; n < R / 8; n++) {
            ptx_mma_m16n8k16_bf16(ds[n], rows, b[k][n]);
        }
    }
};

/* Adds 16 x COLUMNS products of WARPS warps, at shared[warp][row][column], in the order of the
 * warps; visit(row, column, total) gets each. */
template <int COLUMNS, int WARPS, class Visit>
__device__ __forceinline__ void sum_warps(const float *shared, const Visit &visit)
{
    constexpr int PITCH = pitch_of(COLUMNS);
    for (int i = (int)threadIdx.x; i < TILE * COLUMNS; i += WARPS * WARP) {
        const int row = i / COLUMNS, column = i % COLUMNS;
        float total = 0.0f;
#pragma unroll
        for (int warp = 0; warp < WARPS; warp++) {
            total += shared[(warp * TILE + row) * PITCH + column];
        }
        visit(row, column, total);
    }
}

/* Writes the first `slots` x `columns` of a warp's sums as rows of slots at distance `ld`. */
template <int R, int STRIP>
__device__ __forceinline__ void store_slot_rows(float *to, int64_t ld, int slots, int columns,
                                                const float (&sum)[R / TILE][STRIP / 8][4])
{
    const Place place = place_of_lane();
#pragma unroll
    for (int n = 0; n < R / TILE; n++) {
#pragma unroll
        for (int j = 0; j < STRIP / 8; j++) {
            const int slot = n * TILE + place.row, column = j * 8 + place.column;
            if (n * TILE < slots && column < columns) {
                float *at = to + slot * ld + column;
                *reinterpret_cast<float2 *>(at) = make_float2(sum[n][j][0], sum[n][j][1]);
                *reinterpret_cast<float2 *>(at + 8 * ld) = make_float2(sum[n][j][2], sum[n][j][3]);
            }
        }
    }
}

/* Writes them transposed: rows of columns at distance `ld`. */
template <int R, int STRIP>
__device__ __forceinline__ void store_column_rows(float *to, int64_t ld, int slots, int columns,
                                                  const float (&sum)[R / TILE][STRIP / 8][4])
{
    const Place place = place_of_lane();
#pragma unroll
    for (int n = 0; n < R / TILE; n++) {
#pragma unroll
        for (int j = 0; j < STRIP / 8; j++) {
            const int slot = n * TILE + place.row, column = j * 8 + place.column;
            if (n * TILE < slots && column < columns) {
                float *at = to + column * ld + slot;
                at[0] = sum[n][j][0];
                at[ld] = sum[n][j][1];
                at[8] = sum[n][j][2];
                at[ld + 8] = sum[n][j][3];
            }
        }
    }
}

} // namespace
