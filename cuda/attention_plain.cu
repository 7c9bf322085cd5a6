/* Attention of packed documents without tensor cores, forward and backward, all sums in fp32: what
 * F32 runs on. The kernels are templates of the element type, so that the same source can judge the
 * BF16 ones. The formulas stand in attention_forward.cu and attention_backward.cu.
 *
 * The three kernels are alike. A block of 4 warps has a tile of its own rows, R for each warp, and
 * goes through tiles of 32 other rows. A score is one lane's: own row r of the warp with other row
 * `lane`. Weights go through 32*R floats of the warp's scratch to where each lane adds up columns
 * lane, lane+32, .. of the result. Own rows are keys for dK and dV, else queries.
 *
 * Deterministic: a row belongs to one warp, which goes through the others in ascending order. */
#include "attention.cuh"

#include "kernels.h"

namespace
{
constexpr int PLAIN_WARPS = 4;
constexpr int PLAIN_THREADS = PLAIN_WARPS * WARP;

/* A matrix' columns of head 0. */
template <class T> struct PlainMat {
    T *data;
    int64_t ld;
};

template <class T> struct PlainArgs {
    Batch batch;
    PlainMat<const T> q, k, v, dout;
    PlainMat<T> out, dq, dk, dv;
    float *lse_out;           /* forward; or NULL */
    const float *lse, *delta; /* backward */
    int heads, group;         /* group: query heads per kv head */
    int dim;
    float scale;
};

/* Rows in shared memory are padded by 16 bytes: 8 lanes that read below each other meet different
 * banks. */
template <int DIM> struct PlainTile {
    static constexpr int R = DIM <= 128 ? 4 : 2;
    static constexpr int OWN = PLAIN_WARPS * R;
    static constexpr int LD = DIM + 4;
    static constexpr int COLUMNS = DIM / WARP;
    static constexpr int SCRATCH = PLAIN_WARPS * R * WARP;
    /* `own` and `other`: how many matrices. */
    static constexpr int bytes(int own, int other)
    {
        return ((own * OWN + other * WARP) * LD + SCRATCH) * (int)sizeof(float);
    }
};

/* Rows first..first+ROWS-1 of a head as floats; zeros for rows from `end` on and columns from `dim`
 * on. */
template <int DIM, int ROWS, class T>
__device__ void load_rows(float *tile, PlainMat<const T> from, int column, int first, int end,
                          int dim)
{
    constexpr int COUNT = Pack<T>::COUNT, PACKS = DIM / COUNT;
    for (int i = threadIdx.x; i < ROWS * PACKS; i += PLAIN_THREADS) {
        const int row = i / PACKS, d = i % PACKS * COUNT;
        float values[COUNT];
#pragma unroll
        for (int e = 0; e < COUNT; e++) {
            values[e] = 0.0f;
        }
        if (first + row < end && d < dim) {
            load_pack(from.data + (int64_t)(first + row) * from.ld + column + d, values);
        }
#pragma unroll
        for (int e = 0; e < COUNT; e++) {
            tile[row * PlainTile<DIM>::LD + d + e] = values[e];
        }
    }
}

/* out[r] = own row r * other row `lane`. */
template <int DIM, int R>
__device__ __forceinline__ void dot_rows(float (&out)[R], const float *own, const float *other)
{
    constexpr int LD = PlainTile<DIM>::LD;
    const float *const row = other + threadIdx.x % WARP * LD;
#pragma unroll
    for (int r = 0; r < R; r++) {
        out[r] = 0.0f;
    }
#pragma unroll 4
    for (int d = 0; d < DIM; d += 4) {
        const float4 b = *reinterpret_cast<const float4 *>(row + d);
#pragma unroll
        for (int r = 0; r < R; r++) {
            const float4 a = *reinterpret_cast<const float4 *>(own + r * LD + d);
            out[r] += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
        }
    }
}

/* sums[r] += sum over lanes j of weights[r] of lane j * row j. */
template <int DIM, int R, int COLUMNS>
__device__ __forceinline__ void add_weighted(float (&sums)[R][COLUMNS], const float (&weights)[R],
                                             const float *rows, float *scratch)
{
    constexpr int LD = PlainTile<DIM>::LD;
    const int lane = threadIdx.x % WARP;
    __syncwarp();
#pragma unroll
    for (int r = 0; r < R; r++) {
        scratch[r * WARP + lane] = weights[r];
    }
    __syncwarp();
#pragma unroll 4
    for (int j = 0; j < WARP; j++) {
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            const float value = rows[j * LD + c * WARP + lane];
#pragma unroll
            for (int r = 0; r < R; r++) {
                sums[r][c] += scratch[r * WARP + j] * value;
            }
        }
    }
}

template <int R, int COLUMNS> __device__ __forceinline__ void clear(float (&sums)[R][COLUMNS])
{
#pragma unroll
    for (int i = 0; i < R * COLUMNS; i++) {
        sums[i / COLUMNS][i % COLUMNS] = 0.0f;
    }
}

/* Row `row` of the head at `column`: factor * sums. */
template <int COLUMNS, class T>
__device__ __forceinline__ void store_row(const float (&sums)[COLUMNS], float factor,
                                          PlainMat<T> to, int column, int row, int dim)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        if (c * WARP + lane < dim) {
            to.data[(int64_t)row * to.ld + column + c * WARP + lane] =
                as_element<T>(factor * sums[c]);
        }
    }
}

__device__ __forceinline__ float warp_max(float value)
{
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) {
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, step));
    }
    return value;
}

/* out and lse for a tile of queries and one head. Grid: (H, tiles, the last first), block 128.
 * Shared memory: one matrix of own rows, two of others. Bytes: OWN rows of q and out, and k and v
 * of each key met. */
template <class T, int DIM>
__global__ void __launch_bounds__(PLAIN_THREADS) attention_plain_forward(PlainArgs<T> args)
{
    using Tile = PlainTile<DIM>;
    constexpr int R = Tile::R;
    GPU_DYN_SHARED(float, queries);
    float *const keys = queries + Tile::OWN * Tile::LD, *const values = keys + WARP * Tile::LD;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    float *const scratch = values + WARP * Tile::LD + warp * R * WARP;
    const Batch batch = args.batch.on_device();
    const int head = blockIdx.x, column = head * args.dim, kv_column = head / args.group * args.dim;
    const int first = (int)(gridDim.y - 1 - blockIdx.y) * Tile::OWN;
    const int last = min(first + Tile::OWN, batch.rows) - 1;
    const KeyTiles<WARP> tiles(batch, Sight(batch, first, last));
    const float *const own = queries + warp * R * Tile::LD;
    load_rows<DIM, Tile::OWN>(queries, args.q, column, first, batch.rows, args.dim);

    float most[R], sum[R], out[R][Tile::COLUMNS];
    clear(out);
#pragma unroll
    for (int r = 0; r < R; r++) {
        most[r] = -INFINITY;
        sum[r] = 0.0f;
    }
    for (int i = 0; i < tiles.count; i++) {
        const int key = tiles.key(i);
        __syncthreads();
        load_rows<DIM, WARP>(keys, args.k, kv_column, key, batch.rows, args.dim);
        load_rows<DIM, WARP>(values, args.v, kv_column, key, batch.rows, args.dim);
        __syncthreads();
        float weights[R];
        dot_rows<DIM>(weights, own, keys);
#pragma unroll
        for (int r = 0; r < R; r++) {
            const int row = min(first + warp * R + r, last);
            const bool is_seen = ColumnSight(batch, row, key).sees(lane);
            const float score = is_seen ? args.scale * weights[r] : -INFINITY;
            const float before = most[r];
            most[r] = fmaxf(before, warp_max(score));
            const float shift = most[r] == -INFINITY ? 0.0f : most[r];
            const float kept = expf(before - shift);
            weights[r] = expf(score - shift);
            sum[r] = sum[r] * kept + weights[r];
#pragma unroll
            for (int c = 0; c < Tile::COLUMNS; c++) {
                out[r][c] *= kept;
            }
        }
        add_weighted<DIM>(out, weights, values, scratch);
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int row = first + warp * R + r;
        const float total = warp_sum(sum[r]);
        if (row > last) {
            continue;
        }
        store_row(out[r], 1.0f / total, args.out, column, row, args.dim);
        if (args.lse_out != nullptr && lane == 0) {
            args.lse_out[(int64_t)row * args.heads + head] = most[r] + logf(total);
        }
    }
}

/* dq for a tile of queries and one head. Grid: (H, tiles, the last first), block 128. Shared
 * memory: two matrices of own rows, two of others. Bytes: OWN rows of q, dout and dq, and k and v
 * of each key met. */
template <class T, int DIM>
__global__ void __launch_bounds__(PLAIN_THREADS) attention_plain_query_gradient(PlainArgs<T> args)
{
    using Tile = PlainTile<DIM>;
    constexpr int R = Tile::R;
    GPU_DYN_SHARED(float, queries);
    float *const douts = queries + Tile::OWN * Tile::LD, *const keys = douts + Tile::OWN * Tile::LD;
    float *const values = keys + WARP * Tile::LD;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    float *const scratch = values + WARP * Tile::LD + warp * R * WARP;
    const Batch batch = args.batch.on_device();
    const int head = blockIdx.x, column = head * args.dim, kv_column = head / args.group * args.dim;
    const int first = (int)(gridDim.y - 1 - blockIdx.y) * Tile::OWN;
    const int last = min(first + Tile::OWN, batch.rows) - 1;
    const KeyTiles<WARP> tiles(batch, Sight(batch, first, last));
    load_rows<DIM, Tile::OWN>(queries, args.q, column, first, batch.rows, args.dim);
    load_rows<DIM, Tile::OWN>(douts, args.dout, column, first, batch.rows, args.dim);

    float lse[R], delta[R], dq[R][Tile::COLUMNS];
    clear(dq);
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int64_t at = (int64_t)min(first + warp * R + r, last) * args.heads + head;
        lse[r] = args.lse[at];
        delta[r] = args.delta[at];
    }
    for (int i = 0; i < tiles.count; i++) {
        const int key = tiles.key(i);
        __syncthreads();
        load_rows<DIM, WARP>(keys, args.k, kv_column, key, batch.rows, args.dim);
        load_rows<DIM, WARP>(values, args.v, kv_column, key, batch.rows, args.dim);
        __syncthreads();
        float scores[R], ds[R];
        dot_rows<DIM>(scores, queries + warp * R * Tile::LD, keys);
        dot_rows<DIM>(ds, douts + warp * R * Tile::LD, values);
#pragma unroll
        for (int r = 0; r < R; r++) {
            const int row = min(first + warp * R + r, last);
            const bool is_seen = ColumnSight(batch, row, key).sees(lane);
            const float p = is_seen ? expf(args.scale * scores[r] - lse[r]) : 0.0f;
            ds[r] = p * (ds[r] - delta[r]);
        }
        add_weighted<DIM>(dq, ds, keys, scratch);
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int row = first + warp * R + r;
        if (row <= last) {
            store_row(dq[r], args.scale, args.dq, column, row, args.dim);
        }
    }
}

/* dk and dv for a tile of keys and one kv head, over the query heads of its group. Grid: (K,
 * tiles), block 128. Shared memory: two matrices of own rows, two of others. Bytes: OWN rows of k,
 * v, dk and dv, and q and dout of each query met, head by head. */
template <class T, int DIM>
__global__ void __launch_bounds__(PLAIN_THREADS) attention_plain_key_gradient(PlainArgs<T> args)
{
    using Tile = PlainTile<DIM>;
    constexpr int R = Tile::R;
    GPU_DYN_SHARED(float, keys);
    float *const values = keys + Tile::OWN * Tile::LD, *const queries =
                                                           values + Tile::OWN * Tile::LD;
    float *const douts = queries + WARP * Tile::LD;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    float *const scratch = douts + WARP * Tile::LD + warp * R * WARP;
    const Batch batch = args.batch.on_device();
    const int kv_column = (int)blockIdx.x * args.dim, first = (int)blockIdx.y * Tile::OWN;
    const int last = min(first + Tile::OWN, batch.rows) - 1;
    const int end = query_end(batch, first, last);
    load_rows<DIM, Tile::OWN>(keys, args.k, kv_column, first, batch.rows, args.dim);
    load_rows<DIM, Tile::OWN>(values, args.v, kv_column, first, batch.rows, args.dim);

    float dk[R][Tile::COLUMNS], dv[R][Tile::COLUMNS];
    clear(dk);
    clear(dv);
    for (int member = 0; member < args.group; member++) {
        const int head = (int)blockIdx.x * args.group + member;
        for (int query = first; query < end; query += WARP) {
            __syncthreads();
            load_rows<DIM, WARP>(queries, args.q, head * args.dim, query, batch.rows, args.dim);
            load_rows<DIM, WARP>(douts, args.dout, head * args.dim, query, batch.rows, args.dim);
            __syncthreads();
            const int row = min(query + lane, batch.rows - 1);
            const float lse = args.lse[(int64_t)row * args.heads + head];
            const float delta = args.delta[(int64_t)row * args.heads + head];
            const ColumnSight sight(batch, row, first + warp * R);
            float p[R], ds[R];
            dot_rows<DIM>(p, keys + warp * R * Tile::LD, queries);
            dot_rows<DIM>(ds, values + warp * R * Tile::LD, douts);
#pragma unroll
            for (int r = 0; r < R; r++) {
                const bool is_seen = query + lane < batch.rows && sight.sees(r);
                p[r] = is_seen ? expf(args.scale * p[r] - lse) : 0.0f;
                ds[r] = p[r] * (ds[r] - delta);
            }
            add_weighted<DIM>(dv, p, douts, scratch);
            add_weighted<DIM>(dk, ds, queries, scratch);
        }
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int row = first + warp * R + r;
        if (row <= last) {
            store_row(dk[r], args.scale, args.dk, kv_column, row, args.dim);
            store_row(dv[r], 1.0f, args.dv, kv_column, row, args.dim);
        }
    }
}

/* ---- the host side ---- */

using PlainWidths = HeadWidths<32, 64, 128, 256>;

template <int DIM> static unsigned own_tiles(int rows)
{
    return (unsigned)((rows + PlainTile<DIM>::OWN - 1) / PlainTile<DIM>::OWN);
}

template <class T, int DIM>
static cudaError_t launch_forward(const PlainArgs<T> &args, cudaStream_t stream)
{
    const dim3 grid((unsigned)args.heads, own_tiles<DIM>(args.batch.rows));
    GPU_LAUNCH((attention_plain_forward<T, DIM>), grid, dim3(PLAIN_THREADS),
               (PlainTile<DIM>::bytes(1, 2)), stream, args);
    return cudaGetLastError();
}

template <class T, int DIM>
static cudaError_t launch_backward(const PlainArgs<T> &args, cudaStream_t stream)
{
    const unsigned tiles = own_tiles<DIM>(args.batch.rows);
    GPU_LAUNCH((attention_plain_key_gradient<T, DIM>),
               dim3((unsigned)(args.heads / args.group), tiles), dim3(PLAIN_THREADS),
               (PlainTile<DIM>::bytes(2, 2)), stream, args);
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess) {
        return error;
    }
    GPU_LAUNCH((attention_plain_query_gradient<T, DIM>), dim3((unsigned)args.heads, tiles),
               dim3(PLAIN_THREADS), (PlainTile<DIM>::bytes(2, 2)), stream, args);
    return cudaGetLastError();
}

template <class T, int DIM> static cudaError_t prepare()
{
    cudaError_t error =
        GPU_ALLOW_SHARED((attention_plain_forward<T, DIM>), (PlainTile<DIM>::bytes(1, 2)));
    error = error != cudaSuccess ? error
                                 : GPU_ALLOW_SHARED((attention_plain_query_gradient<T, DIM>),
                                                    (PlainTile<DIM>::bytes(2, 2)));
    return error != cudaSuccess ? error
                                : GPU_ALLOW_SHARED((attention_plain_key_gradient<T, DIM>),
                                                   (PlainTile<DIM>::bytes(2, 2)));
}

} // namespace

cudaError_t attention_plain_prepare()
{
    return PlainWidths::each([](auto dim) { return prepare<float, decltype(dim)::value>(); });
}

namespace
{
template <class T>
static PlainArgs<T> plain_args(const lc_attention_shape &shape, const lc_mat &q, const lc_mat &k,
                               const lc_mat &v)
{
    PlainArgs<T> args = {};
    args.batch = make_batch(shape, q.rows);
    args.q = {static_cast<const T *>(q.data), q.ld};
    args.k = {static_cast<const T *>(k.data), k.ld};
    args.v = {static_cast<const T *>(v.data), v.ld};
    args.heads = shape.heads;
    args.group = shape.heads / shape.kv_heads;
    args.dim = shape.head_dim;
    args.scale = shape.scale;
    return args;
}

template <class T> static PlainMat<T> result(const lc_mat &mat)
{
    return {static_cast<T *>(mat.data), mat.ld};
}

} // namespace

cudaError_t attention_plain(const lc_attention_args &args, cudaStream_t stream)
{
    PlainArgs<float> plain = plain_args<float>(args.shape, args.q, args.k, args.v);
    plain.out = result<float>(args.out);
    plain.lse_out = args.lse;
    if (plain.dim % 4 != 0) {
        return cudaErrorInvalidValue;
    }
    return PlainWidths::pick(plain.dim, [&](auto dim) {
        return launch_forward<float, decltype(dim)::value>(plain, stream);
    });
}

cudaError_t attention_plain_backward(const lc_attention_backward_args &args, cudaStream_t stream)
{
    PlainArgs<float> plain = plain_args<float>(args.shape, args.q, args.k, args.v);
    plain.dout = {static_cast<const float *>(args.dout.data), args.dout.ld};
    plain.dq = result<float>(args.dq);
    plain.dk = result<float>(args.dk);
    plain.dv = result<float>(args.dv);
    plain.lse = args.lse;
    plain.delta = args.delta;
    if (plain.dim % 4 != 0) {
        return cudaErrorInvalidValue;
    }
    return PlainWidths::pick(plain.dim, [&](auto dim) {
        return launch_backward<float, decltype(dim)::value>(plain, stream);
    });
}
