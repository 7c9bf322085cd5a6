/* What the row kernels share beyond elements.cuh: how threads divide rows among themselves, rows of
 * a matrix, plain floats of any alignment, and exponentials. */
#pragma once

#include "elements.cuh"

namespace
{
constexpr int ROW_THREADS = 256; /* a block */
constexpr int ROW_BLOCKS = 2112; /* at most along the rows: 16 on each of 132 multiprocessors */
constexpr int FEW_BLOCKS = 264;  /* fewer than this, and rows are cut into pieces */

/* Teams of 2^shift threads, each with a row at a time; a wide row is shared by the gridDim.y blocks
 * of a column of the grid. */
struct RowTeams {
    int shift;
    dim3 grid;
};

/* For rows of `items`, of which one thread should take `per_thread`. rows, items >= 1. */
static inline RowTeams row_teams(int64_t rows, int64_t items, int per_thread)
{
    RowTeams teams = {0, dim3(1, 1, 1)};
    while (1 << teams.shift < ROW_THREADS && (int64_t)per_thread << teams.shift < items) {
        teams.shift++;
    }
    const int64_t at_once = ROW_THREADS >> teams.shift;
    const int64_t blocks = (rows + at_once - 1) / at_once;
    teams.grid.x = (unsigned)(blocks < ROW_BLOCKS ? blocks : ROW_BLOCKS);
    if (blocks < FEW_BLOCKS) {
        const int64_t taken = (int64_t)per_thread << teams.shift;
        const int64_t pieces = (items + taken - 1) / taken;
        teams.grid.y = (unsigned)(pieces < FEW_BLOCKS ? pieces : FEW_BLOCKS);
    }
    return teams;
}

/* A thread's first row and item, and the way to the next ones. */
struct RowPlace {
    int64_t row, row_step;
    int item, item_step;
};

__device__ __forceinline__ RowPlace row_place(int shift)
{
    const int team = 1 << shift, at_once = ROW_THREADS >> shift;
    return {(int64_t)blockIdx.x * at_once + ((int)threadIdx.x >> shift),
            (int64_t)gridDim.x * at_once, (int)blockIdx.y * team + ((int)threadIdx.x & (team - 1)),
            (int)gridDim.y * team};
}

template <class T> __device__ __forceinline__ T *row_of(const lc_mat &mat, int64_t row)
{
    return static_cast<T *>(mat.data) + row * mat.ld;
}

/* exp(x) as exact as the elements of T deserve. */
template <class T> __device__ __forceinline__ float exponential(float x)
{
    return sizeof(T) == 4 ? expf(x) : __expf(x);
}

} // namespace
