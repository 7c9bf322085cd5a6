/* Tiles of bf16 rows in shared memory and their products on tensor cores, for the attention
 * kernels.
 *
 * A fragment of a product is what one warp holds of 16 rows x 8 columns: with g = lane/4 and
 * t = 2*(lane%4), values [0..1] are row g, columns t and t+1; [2..3] row g+8 (gpu_ptx.h). */
#pragma once

#include "attention.cuh"
#include "gpu_ptx.h"

namespace
{
/* Rows of DIM elements, cut into chunks of 16 bytes. 8 chunks below each other lie in different
 * banks, for ldmatrix: rows of 8 chunks are permuted, others are padded to an odd number. */
template <int DIM> struct TileRow {
    static constexpr int CHUNKS = DIM / 8;
    static constexpr bool IS_PERMUTED = CHUNKS % 8 == 0;
    static constexpr int STRIDE = IS_PERMUTED ? CHUNKS : CHUNKS | 1;
    static constexpr int ELEMENTS = STRIDE * 8; /* of a row in shared memory */

    static __device__ __forceinline__ int at(int row, int chunk)
    {
        return (row * STRIDE + (IS_PERMUTED ? chunk ^ (row & 7) : chunk)) * 8;
    }
};

/* A matrix' columns of one head: `data` is element (0, first column). */
struct HeadRows {
    const bf16 *data;
    int64_t ld;
};

inline HeadRows head_rows(const lc_mat &mat)
{
    return {static_cast<const bf16 *>(mat.data), mat.ld};
}

/* What the kernels on tensor cores are compiled for. */
using TileWidths = HeadWidths<32, 64, 96, 128, 192, 256>;

__host__ __device__ constexpr int power_of_two_below(int value)
{
    return value < 2 ? 1 : 2 * power_of_two_below(value / 2);
}

/* Starts to copy rows first..first+ROWS-1 of a head; zeros for rows from `end` on and columns from
 * `dim` on. By all THREADS threads of the block, each of which keeps to one column of chunks. */
template <int DIM, int ROWS, int THREADS>
__device__ __forceinline__ void copy_rows(bf16 *tile, HeadRows from, int first, int end, int dim)
{
    constexpr int CHUNKS = TileRow<DIM>::CHUNKS;
    constexpr int STEP = power_of_two_below(THREADS / CHUNKS); /* rows at a time */
    static_assert(ROWS % STEP == 0, "every thread copies as much");
    const int chunk = (int)threadIdx.x % CHUNKS, row = (int)threadIdx.x / CHUNKS;
    if (row >= STEP) {
        return;
    }
    const int rows = chunk * 8 < dim ? end - first : 0;
    const bf16 *source = from.data + (int64_t)(first + row) * from.ld + chunk * 8;
#pragma unroll
    for (int i = 0; i < ROWS; i += STEP) {
        const bool is_inside = row + i < rows;
        ptx_cp_async16(tile + TileRow<DIM>::at(row + i, chunk), is_inside ? source : from.data,
                       is_inside ? 16 : 0);
        source += STEP * from.ld;
    }
}

/* A lane's 16 bytes of an ldmatrix: row `first` + `row`, chunk `step` + `chunk`, of which `row` and
 * `chunk` (0 or 1) are the lane's and `first` (a multiple of 8) and `step` (even) all lanes'.
 * Written so that constants are added last: lanes need 4 addresses for a whole tile. */
template <int DIM>
__device__ __forceinline__ const bf16 *lane_chunk(const bf16 *tile, int row, int chunk, int first,
                                                  int step)
{
    using Row = TileRow<DIM>;
    if (Row::IS_PERMUTED) {
        return tile + (row * Row::ELEMENTS + (chunk ^ (row & 7) ^ (step & 7)) * 8) +
               (first * Row::ELEMENTS + step / 8 * 64);
    }
    return tile + (row * Row::ELEMENTS + chunk * 8) + (first * Row::ELEMENTS + step * 8);
}

/* Columns 16*k.. of rows first..first+15 as the left operand. */
template <int DIM>
__device__ __forceinline__ void load_left(uint32_t (&left)[4], const bf16 *tile, int first, int k)
{
    const int lane = threadIdx.x % WARP;
    ptx_ldmatrix_x4(left, lane_chunk<DIM>(tile, lane % 16, lane / 16, first, 2 * k));
}

/* The same as two right operands, each row a column of the product. */
template <int DIM>
__device__ __forceinline__ void load_right(uint32_t (&right)[4], const bf16 *tile, int first, int k)
{
    const int lane = threadIdx.x % WARP;
    ptx_ldmatrix_x4(right,
                    lane_chunk<DIM>(tile, lane % 8 + lane / 16 * 8, lane / 8 % 2, first, 2 * k));
}

/* Chunks `chunk` (even) and the next of rows first..first+15 as two right operands, the rows being
 * the depth of the product. */
template <int DIM>
__device__ __forceinline__ void load_right_by_depth(uint32_t (&right)[4], const bf16 *tile,
                                                    int first, int chunk)
{
    const int lane = threadIdx.x % WARP;
    ptx_ldmatrix_x4_trans(right, lane_chunk<DIM>(tile, lane % 16, lane / 16, first, chunk));
}

/* Two neighbouring fragments += left right. */
__device__ __forceinline__ void multiply_pair(float (&first)[4], float (&second)[4],
                                              const uint32_t (&left)[4], const uint32_t (&right)[4])
{
    const uint32_t first_right[2] = {right[0], right[1]}, second_right[2] = {right[2], right[3]};
    ptx_mma_m16n8k16_bf16(first, left, first_right);
    ptx_mma_m16n8k16_bf16(second, left, second_right);
}

template <int M, int N> __device__ __forceinline__ void clear(float (&fragments)[M][N][4])
{
#pragma unroll
    for (int i = 0; i < M * N * 4; i++) {
        fragments[i / 4 / N][i / 4 % N][i % 4] = 0.0f;
    }
}

/* out = A B^T: A is the first M*16 rows of its tile, B the first N*8 of its own. */
template <int DIM, int M, int N>
__device__ __forceinline__ void multiply_rows(float (&out)[M][N][4], const bf16 *a, const bf16 *b)
{
    clear(out);
#pragma unroll 4 /* wholly unrolled it takes more registers */
    for (int k = 0; k < DIM / 16; k++) {
        uint32_t left[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            load_left<DIM>(left[m], a, m * 16, k);
        }
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            uint32_t right[4];
            load_right<DIM>(right, b, n * 8, k);
#pragma unroll
            for (int m = 0; m < M; m++) {
                multiply_pair(out[m][n], out[m][n + 1], left[m], right);
            }
        }
    }
}

/* The same for 16 rows A that are in registers, as load_left makes them. */
template <int DIM, int N>
__device__ __forceinline__ void
multiply_kept_rows(float (&out)[1][N][4], const uint32_t (&left)[DIM / 16][4], const bf16 *b)
{
    clear(out);
#pragma unroll
    for (int k = 0; k < DIM / 16; k++) {
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            uint32_t right[4];
            load_right<DIM>(right, b, n * 8, k);
            multiply_pair(out[0][n], out[0][n + 1], left[k], right);
        }
    }
}

/* out += W B: W is fragments, rounded to bf16, M*16 x K*8; B is the first K*8 rows of its tile,
 * N*8 columns from chunk `chunk`. */
template <int DIM, int M, int K, int N>
__device__ __forceinline__ void multiply_weights(float (&out)[M][N][4], const float (&w)[M][K][4],
                                                 const bf16 *b, int chunk)
{
#pragma unroll
    for (int k = 0; k < K; k += 2) {
        uint32_t left[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            left[m][0] = pack_bf16(w[m][k][0], w[m][k][1]);
            left[m][1] = pack_bf16(w[m][k][2], w[m][k][3]);
            left[m][2] = pack_bf16(w[m][k + 1][0], w[m][k + 1][1]);
            left[m][3] = pack_bf16(w[m][k + 1][2], w[m][k + 1][3]);
        }
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            uint32_t right[4];
            load_right_by_depth<DIM>(right, b, k * 8, chunk + n);
#pragma unroll
            for (int m = 0; m < M; m++) {
                multiply_pair(out[m][n], out[m][n + 1], left[m], right);
            }
        }
    }
}

/* Rows of a result, N*8 columns from chunk `chunk`, to global memory, 16 bytes at a time and by way
 * of the warp's own 16*M rows of a tile that nobody reads any more. `first` is the row of the
 * matrix that tile row 0 stands for, `data` its head's first column. */
template <int DIM, int M, int N>
__device__ __forceinline__ void store_rows(const float (&values)[M][N][4], bf16 *tile, int tile_row,
                                           int chunk, bf16 *data, int64_t ld, int first, int end,
                                           int dim)
{
    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4 * 2;
    __syncwarp(); /* the rows have been read */
#pragma unroll
    for (int i = 0; i < M * N; i++) {
        const int row = tile_row + i / N * 16 + g;
        const float(&v)[4] = values[i / N][i % N];
        *reinterpret_cast<uint32_t *>(tile + TileRow<DIM>::at(row, chunk + i % N) + t) =
            pack_bf16(v[0], v[1]);
        *reinterpret_cast<uint32_t *>(tile + TileRow<DIM>::at(row + 8, chunk + i % N) + t) =
            pack_bf16(v[2], v[3]);
    }
    __syncwarp();
#pragma unroll
    for (int step = 0; step < M * 16 * N / WARP; step++) {
        const int i = lane + step * WARP, row = tile_row + i / N, column = chunk + i % N;
        if (first + row < end && column * 8 < dim) {
            *reinterpret_cast<uint4 *>(data + (int64_t)(first + row) * ld + column * 8) =
                *reinterpret_cast<const uint4 *>(tile + TileRow<DIM>::at(row, column));
        }
    }
}

} // namespace
