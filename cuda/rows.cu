/* Rows and windows from here to there: embedding, gather, scatter, KV cache, copies between types.
 * Nothing is computed but roundings; every element is written by one thread. */
#include "kernels.h"
#include "rows.cuh"

#include <cuda_fp16.h>

namespace
{
/* Rows of packs of 16 bytes; ld counts packs, too. */
struct PackRows {
    uint4 *data;
    int64_t ld;
};

static int64_t packs_of(int64_t elements, lc_dtype dtype)
{
    return elements * (dtype == LC_F32 ? 4 : 2) / 16;
}

static PackRows pack_rows(lc_mat mat)
{
    return {static_cast<uint4 *>(mat.data), packs_of(mat.ld, mat.dtype)};
}

/* Packs item, item + step, ..; from NULL: zeros. */
__device__ __forceinline__ void copy_packs(const uint4 *from, uint4 *to, int packs, int item,
                                           int step)
{
    constexpr int AT_ONCE = 4;
    for (; item < packs; item += AT_ONCE * step) {
        uint4 bits[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            const bool is_read = from != NULL && item + i * step < packs;
            bits[i] = is_read ? from[item + i * step] : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            if (item + i * step < packs) {
                to[item + i * step] = bits[i];
            }
        }
    }
}

/*
 * y[m,:] = x[rows[m],:], zeros where rows[m] is negative. x: any x `packs`, y: count x `packs`.
 * Grid and block: row_teams, 4 packs of a row per thread. No shared memory. Moves 2 rows each.
 */
__global__ void __launch_bounds__(ROW_THREADS)
    gather_kernel(PackRows x, const int32_t *rows, PackRows y, int64_t count, int packs, int shift)
{
    RowPlace at = row_place(shift);
    for (; at.row < count; at.row += at.row_step) {
        const int64_t row = rows[at.row];
        copy_packs(row < 0 ? NULL : x.data + row * x.ld, y.data + at.row * y.ld, packs, at.item,
                   at.item_step);
    }
}

static cudaError_t gather(lc_mat x, const int32_t *rows, lc_mat y, cudaStream_t stream)
{
    const int64_t packs = packs_of(y.cols, y.dtype);
    if (y.rows == 0 || packs == 0) {
        return cudaSuccess;
    }
    const RowTeams teams = row_teams(y.rows, packs, 4);
    GPU_LAUNCH(gather_kernel, teams.grid, ROW_THREADS, 0, stream, pack_rows(x), rows, pack_rows(y),
               y.rows, (int)packs, teams.shift);
    return cudaGetLastError();
}

} // namespace

cudaError_t lc_cuda_embed(const lc_embed_args *args, cudaStream_t stream)
{
    return gather(args->table, args->ids, args->out, stream);
}

cudaError_t lc_cuda_gather_rows(const lc_gather_rows_args *args, cudaStream_t stream)
{
    return gather(args->x, args->rows, args->y, stream);
}

namespace
{
/*
 * y[rows[m],:] = x[m,:], all other rows of y zero. x: from_count x `packs`, y: count x `packs`.
 * A block has SCATTER_ROWS rows of y: it looks through all of `rows` for the one row of x, if any,
 * that belongs to each. Shared: SCATTER_ROWS indices. Moves x and y once, and `rows` from L2 once a
 * block. Entries of `rows` that are not negative are distinct, so no two threads write an index.
 */
constexpr int SCATTER_ROWS = 16;

__global__ void __launch_bounds__(ROW_THREADS)
    scatter_kernel(PackRows x, const int32_t *rows, int64_t from_count, PackRows y, int64_t count,
                   int packs, int shift)
{
    GPU_SHARED(int, source, [SCATTER_ROWS]);
    const int64_t first = (int64_t)blockIdx.x * SCATTER_ROWS;
    if (threadIdx.x < SCATTER_ROWS) {
        source[threadIdx.x] = -1;
    }
    __syncthreads();
    for (int64_t m = threadIdx.x; m < from_count; m += ROW_THREADS) {
        const int64_t row = rows[m] - first;
        if (row >= 0 && row < SCATTER_ROWS) {
            source[row] = (int)m;
        }
    }
    __syncthreads();
    const int team = 1 << shift;
    for (int i = (int)threadIdx.x >> shift; i < SCATTER_ROWS && first + i < count;
         i += ROW_THREADS >> shift) {
        copy_packs(source[i] < 0 ? NULL : x.data + source[i] * x.ld, y.data + (first + i) * y.ld,
                   packs, (int)threadIdx.x & (team - 1), team);
    }
}

} // namespace

cudaError_t lc_cuda_scatter_rows(const lc_scatter_rows_args *args, cudaStream_t stream)
{
    const int64_t packs = packs_of(args->y.cols, args->y.dtype);
    if (args->y.rows == 0 || packs == 0) {
        return cudaSuccess;
    }
    const RowTeams teams = row_teams(args->y.rows, packs, 4);
    const unsigned blocks = (unsigned)((args->y.rows + SCATTER_ROWS - 1) / SCATTER_ROWS);
    GPU_LAUNCH(scatter_kernel, blocks, ROW_THREADS, 0, stream, pack_rows(args->x), args->rows,
               args->x.rows, pack_rows(args->y), args->y.rows, (int)packs, teams.shift);
    return cudaGetLastError();
}

namespace
{
/*
 * Row n of k and v becomes row slots[n]*slot_rows + positions[n] of the caches, with slot -1 none;
 * blockIdx.z 0: k, 1: v. Grid and block: row_teams, 4 packs of a row per thread. No shared memory.
 * Moves 4 rows each. The places are distinct.
 */
struct CacheAppend {
    const int32_t *slots, *positions;
    int64_t slot_rows, count;
    PackRows k, v, k_cache, v_cache;
};

__global__ void __launch_bounds__(ROW_THREADS)
    cache_append_kernel(CacheAppend args, int packs, int shift)
{
    const PackRows from = blockIdx.z == 0 ? args.k : args.v;
    const PackRows to = blockIdx.z == 0 ? args.k_cache : args.v_cache;
    RowPlace at = row_place(shift);
    for (; at.row < args.count; at.row += at.row_step) {
        const int64_t row = args.slots[at.row] * args.slot_rows + args.positions[at.row];
        if (args.slots[at.row] >= 0) {
            copy_packs(from.data + at.row * from.ld, to.data + row * to.ld, packs, at.item,
                       at.item_step);
        }
    }
}

} // namespace

cudaError_t lc_cuda_cache_append(const lc_cache_append_args *args, cudaStream_t stream)
{
    const int64_t packs = packs_of(args->k.cols, args->k.dtype);
    if (args->k.rows == 0 || packs == 0) {
        return cudaSuccess;
    }
    RowTeams teams = row_teams(args->k.rows, packs, 4);
    teams.grid.z = 2;
    const CacheAppend append = {
        args->slots,        args->positions,    args->slot_rows,          args->k.rows,
        pack_rows(args->k), pack_rows(args->v), pack_rows(args->k_cache), pack_rows(args->v_cache)};
    GPU_LAUNCH(cache_append_kernel, teams.grid, ROW_THREADS, 0, stream, append, (int)packs,
               teams.shift);
    return cudaGetLastError();
}

/* ---- copies ---- */

namespace
{
/* How elements are reached: 16 bytes at a time, one by one, or byte by byte where they do not even
 * lie at multiples of their size. */
enum Access { BY_PACKS, BY_ELEMENTS, BY_BYTES };

__device__ __forceinline__ float as_float(__half value)
{
    return __half2float(value);
}

template <> __device__ __forceinline__ __half as_element<__half>(float value)
{
    return __float2half_rn(value);
}

template <class From, class To> struct Convert {
    static constexpr int GROUP = 8; /* elements: 16 or 32 bytes on either side */
    static __device__ __forceinline__ To of(From value)
    {
        return as_element<To>(as_float(value));
    }
};

template <class T> struct Convert<T, T> {
    static constexpr int GROUP = 16 / (int)sizeof(T);
    static __device__ __forceinline__ T of(T value)
    {
        return value;
    }
};

template <class T, Access ACCESS> __device__ __forceinline__ T load_element(const T *from)
{
    if constexpr (ACCESS != BY_BYTES) {
        return *from;
    } else {
        T value;
        for (int i = 0; i < (int)sizeof value; i++) {
            reinterpret_cast<unsigned char *>(&value)[i] =
                reinterpret_cast<const unsigned char *>(from)[i];
        }
        return value;
    }
}

template <class T, Access ACCESS> __device__ __forceinline__ void store_element(T *to, T value)
{
    if constexpr (ACCESS != BY_BYTES) {
        *to = value;
    } else {
        for (int i = 0; i < (int)sizeof value; i++) {
            reinterpret_cast<unsigned char *>(to)[i] =
                reinterpret_cast<const unsigned char *>(&value)[i];
        }
    }
}

/* One group: Convert::GROUP elements, addresses multiples of 16 bytes. */
template <class From, class To> __device__ __forceinline__ void copy_group(const From *from, To *to)
{
    constexpr int GROUP = Convert<From, To>::GROUP;
    alignas(16) From before[GROUP];
    alignas(16) To after[GROUP];
#pragma unroll
    for (int i = 0; i < (int)sizeof before / 16; i++) {
        reinterpret_cast<uint4 *>(before)[i] = reinterpret_cast<const uint4 *>(from)[i];
    }
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        after[i] = Convert<From, To>::of(before[i]);
    }
#pragma unroll
    for (int i = 0; i < (int)sizeof after / 16; i++) {
        reinterpret_cast<uint4 *>(to)[i] = reinterpret_cast<const uint4 *>(after)[i];
    }
}

/*
 * to[i,j] = from[i,j], rounded to nearest even where To is narrower. rows x cols, any ld. Grid and
 * block: row_teams; a thread takes a group of 16 bytes at least (by packs) or an element at a time,
 * 2 of them. No shared memory. Moves both windows once.
 */
template <class From, class To> struct CopyArgs {
    const From *from;
    int64_t from_ld;
    To *to;
    int64_t to_ld, rows, cols;
};

template <class From, class To, Access ACCESS>
__global__ void __launch_bounds__(ROW_THREADS) copy_kernel(CopyArgs<From, To> args, int shift)
{
    constexpr int GROUP = ACCESS == BY_PACKS ? Convert<From, To>::GROUP : 1;
    RowPlace at = row_place(shift);
    for (; at.row < args.rows; at.row += at.row_step) {
        const From *from = args.from + at.row * args.from_ld;
        To *to = args.to + at.row * args.to_ld;
#pragma unroll 2
        for (int64_t j = (int64_t)at.item * GROUP; j < args.cols;
             j += (int64_t)at.item_step * GROUP) {
            if (ACCESS == BY_PACKS && j + GROUP <= args.cols) {
                copy_group(from + j, to + j);
                continue;
            }
            for (int64_t i = j; i < j + GROUP && i < args.cols; i++) {
                const From value = load_element<From, ACCESS>(from + i);
                store_element<To, ACCESS>(to + i, Convert<From, To>::of(value));
            }
        }
    }
}

template <class From, class To, Access ACCESS>
static cudaError_t launch_copy(const CopyArgs<From, To> &args, cudaStream_t stream)
{
    const int group = ACCESS == BY_PACKS ? Convert<From, To>::GROUP : 1;
    const RowTeams teams = row_teams(args.rows, (args.cols + group - 1) / group, 2);
    GPU_LAUNCH((copy_kernel<From, To, ACCESS>), teams.grid, ROW_THREADS, 0, stream, args,
               teams.shift);
    return cudaGetLastError();
}

/* All rows begin at multiples of `bytes`. */
template <class T> static bool begins_at(const T *data, int64_t ld, int64_t rows, size_t bytes)
{
    return (uintptr_t)data % bytes == 0 && (rows == 1 || (size_t)ld * sizeof(T) % bytes == 0);
}

template <class From, class To>
static cudaError_t copy(const CopyArgs<From, To> &args, cudaStream_t stream)
{
    if (begins_at(args.from, args.from_ld, args.rows, 16) &&
        begins_at(args.to, args.to_ld, args.rows, 16)) {
        return launch_copy<From, To, BY_PACKS>(args, stream);
    }
    if (begins_at(args.from, args.from_ld, args.rows, sizeof(From)) &&
        begins_at(args.to, args.to_ld, args.rows, sizeof(To))) {
        return launch_copy<From, To, BY_ELEMENTS>(args, stream);
    }
    return launch_copy<From, To, BY_BYTES>(args, stream);
}

template <class From, class To>
static cudaError_t copy_mat(lc_mat to, lc_mat from, cudaStream_t stream)
{
    const CopyArgs<From, To> args = {static_cast<const From *>(from.data),
                                     from.ld,
                                     static_cast<To *>(to.data),
                                     to.ld,
                                     from.rows,
                                     from.cols};
    return copy(args, stream);
}

/* Bits as they are, so that a NaN keeps its own. */
static cudaError_t copy_bits(lc_mat to, lc_mat from, cudaStream_t stream)
{
    switch (from.dtype) {
    case LC_F64:
    case LC_I64:
    case LC_U64:
        return copy_mat<uint64_t, uint64_t>(to, from, stream);
    case LC_F32:
    case LC_I32:
    case LC_U32:
        return copy_mat<uint32_t, uint32_t>(to, from, stream);
    case LC_BF16:
    case LC_F16:
    case LC_I16:
    case LC_U16:
        return copy_mat<uint16_t, uint16_t>(to, from, stream);
    case LC_I8:
    case LC_U8:
    case LC_BOOL:
        return copy_mat<uint8_t, uint8_t>(to, from, stream);
    default:
        return cudaErrorInvalidValue;
    }
}

static bool is_float(lc_dtype dtype)
{
    return dtype == LC_F32 || dtype == LC_BF16 || dtype == LC_F16;
}

} // namespace

cudaError_t lc_cuda_copy(lc_mat to, lc_mat from, cudaStream_t stream)
{
    if (from.rows == 0 || from.cols == 0) {
        return cudaSuccess;
    }
    if (from.dtype == to.dtype) {
        return copy_bits(to, from, stream);
    }
    if (!is_float(from.dtype) || !is_float(to.dtype)) {
        return cudaErrorInvalidValue;
    }
    switch (from.dtype) {
    case LC_BF16:
        return to.dtype == LC_F32 ? copy_mat<bf16, float>(to, from, stream)
                                  : copy_mat<bf16, __half>(to, from, stream);
    case LC_F16:
        return to.dtype == LC_F32 ? copy_mat<__half, float>(to, from, stream)
                                  : copy_mat<__half, bf16>(to, from, stream);
    default:
        return to.dtype == LC_BF16 ? copy_mat<float, bf16>(to, from, stream)
                                   : copy_mat<float, __half>(to, from, stream);
    }
}
