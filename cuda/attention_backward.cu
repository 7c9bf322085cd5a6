/* Attention of packed documents, backward, BF16 on tensor cores: a block per tile of keys for dK
 * and dV, a block per tile of queries for dQ. Each recomputes the probabilities, 7 products in
 * place of the 5 of a kernel that adds up dQ in global memory; for that nothing is ever added to by
 * two blocks. F32 is attention_plain.cu's.
 *
 *   p_ij = exp(scale q_i k_j - lse_i)     dp_ij = dout_i v_j     delta_i = sum_d out_id dout_id
 *   ds_ij = p_ij (dp_ij - delta_i)
 *   dv_j = sum_i p_ij dout_i    dk_j = scale sum_i ds_ij q_i    dq_i = scale sum_j ds_ij k_j */
#include "attention_tiles.cuh"

#include "kernels.h"

namespace
{
struct BackwardArgs {
    Batch batch;
    HeadRows q, k, v, dout; /* of head 0 */
    bf16 *dq, *dk, *dv;
    int64_t dq_ld, dk_ld, dv_ld;
    const float *lse, *delta; /* N x H */
    int heads, group;         /* group: query heads per kv head */
    int dim;
    float scale, scale_log2; /* scale * log2(e) */
};

/* ---- delta ---- */

template <class T> struct DeltaArgs {
    const T *out, *dout;
    int64_t out_ld, dout_ld;
    float *delta;
    int64_t count; /* N * H */
    int heads, dim;
    int width; /* lanes per row and head, a power of two */
};

constexpr int DELTA_THREADS = 256;

/* delta[i,h] = sum_d out[i,h,d] dout[i,h,d]: `width` lanes for one sum, 16 bytes of each matrix at
 * a time. Grid: enough blocks of 256 threads. Bytes: both matrices once. Deterministic: fixed order
 * within a lane and between lanes. */
template <class T> __global__ void attention_delta(DeltaArgs<T> args)
{
    const int64_t thread = (int64_t)blockIdx.x * DELTA_THREADS + threadIdx.x;
    const int64_t item = thread / args.width;
    float sum = 0.0f;
    if (item < args.count) {
        const int64_t row = item / args.heads, column = item % args.heads * args.dim;
        const T *out = args.out + row * args.out_ld + column;
        const T *dout = args.dout + row * args.dout_ld + column;
        constexpr int COUNT = Pack<T>::COUNT;
        for (int d = (int)(thread % args.width) * COUNT; d < args.dim; d += args.width * COUNT) {
            float a[COUNT], b[COUNT];
            load_pack(out + d, a);
            load_pack(dout + d, b);
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                sum += a[i] * b[i];
            }
        }
    }
    for (int step = args.width / 2; step > 0; step /= 2) {
        sum += __shfl_xor_sync(ALL_LANES, sum, step);
    }
    if (item < args.count && thread % args.width == 0) {
        args.delta[item] = sum;
    }
}

template <class T>
static cudaError_t launch_delta(const lc_attention_backward_args &args, cudaStream_t stream)
{
    const int packs = args.shape.head_dim / Pack<T>::COUNT;
    int width = 1;
    while (width < packs && width < WARP) {
        width *= 2;
    }
    const DeltaArgs<T> delta_args = {static_cast<const T *>(args.out.data),
                                     static_cast<const T *>(args.dout.data),
                                     args.out.ld,
                                     args.dout.ld,
                                     args.delta,
                                     args.q.rows * args.shape.heads,
                                     (int)args.shape.heads,
                                     (int)args.shape.head_dim,
                                     width};
    const int64_t blocks = (delta_args.count * width + DELTA_THREADS - 1) / DELTA_THREADS;
    GPU_LAUNCH((attention_delta<T>), dim3((unsigned)blocks), dim3(DELTA_THREADS), 0, stream,
               delta_args);
    return cudaGetLastError();
}

/* ---- dK and dV ---- */

constexpr int KEY_GROUPS = LC_TILE / 16; /* of 16 keys, a warp's */

/* PARTS warps share the 16 keys of a group, each with its part of the columns of dK and dV. Shared
 * memory: the block's keys and values; two stages of queries and dout; lse and delta of both. */
template <int DIM> struct KeyGradientTile {
    static constexpr int PARTS = DIM <= 128 ? 1 : 2;
    static constexpr int QUERIES = DIM <= 64 ? 64 : DIM <= 192 ? 32 : 16;
    static constexpr int THREADS = KEY_GROUPS * PARTS * WARP;
    static constexpr int KEYS = LC_TILE * TileRow<DIM>::ELEMENTS;
    static constexpr int STAGE = 2 * QUERIES * TileRow<DIM>::ELEMENTS;
    static constexpr int BYTES =
        2 * (KEYS + STAGE) * (int)sizeof(bf16) + 2 * 2 * QUERIES * (int)sizeof(float);
};

/* Hides the scores, keys x queries, of the pairs that do not see each other. */
template <int N>
__device__ __forceinline__ void mask_columns(float (&scores)[1][N][4], const Batch &batch,
                                             int first_query, int last_query, int first_key)
{
    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const int query = min(first_query + n * 8 + t + c, last_query);
            const ColumnSight sight(batch, query, first_key + g);
            scores[0][n][c] = sight.sees(0) ? scores[0][n][c] : -INFINITY;
            scores[0][n][c + 2] = sight.sees(8) ? scores[0][n][c + 2] : -INFINITY;
        }
    }
}

/* dk[j,h,:] and dv[j,h,:] for a tile of 64 keys and kv head h.
 *
 * q, dout N x H*D, k, v, dk, dv N x K*D with any ld; D <= DIM. Grid: (K, tiles of 64 keys, longest
 * first), block 4*PARTS warps. For each query head of the group and each tile of QUERIES rows that
 * may see the keys, a warp computes S^T = K Q^T and dP^T = V dO^T for its 16 keys; P^T and dS^T
 * stay in its registers, where they are left operands, for dV += P^T dO and dK += dS^T Q. With
 * PARTS > 1 the warps of a group repeat the first two products.
 *
 * Global bytes of a block: 64 rows of k, v, dk, dv, and 4*D + 8 for each query it meets, most of it
 * from the L2 cache. Deterministic: a key belongs to one block, which goes through heads and
 * queries in ascending order. */
template <int DIM>
__global__ void __launch_bounds__(KeyGradientTile<DIM>::THREADS)
    attention_key_gradient(BackwardArgs args)
{
    using Tile = KeyGradientTile<DIM>;
    constexpr int PARTS = Tile::PARTS, QUERIES = Tile::QUERIES;
    constexpr int COLUMNS = DIM / 8 / PARTS; /* chunks of a warp */
    GPU_DYN_SHARED(bf16, keys);
    bf16 *const values = keys + Tile::KEYS, *const stages = values + Tile::KEYS;
    float *const stats = reinterpret_cast<float *>(stages + 2 * Tile::STAGE);
    const Batch batch = args.batch.on_device();
    const int kv_column = (int)blockIdx.x * args.dim;
    const int first = batch.tile(batch.layout->keys, blockIdx.y) * LC_TILE;
    const int last = min(first + LC_TILE, batch.rows) - 1;
    const int tiles = (query_end(batch, first, last) - first + QUERIES - 1) / QUERIES;
    const int steps = tiles * args.group;
    const int warp = threadIdx.x / WARP, warp_row = warp % KEY_GROUPS * 16;
    const int chunk = warp / KEY_GROUPS * COLUMNS;
    const int lane = threadIdx.x % WARP, t = lane % 4 * 2;

    const auto copy_stage = [&](int step) {
        bf16 *const stage = stages + step % 2 * Tile::STAGE;
        const int row = first + step % tiles * QUERIES;
        const int column = ((int)blockIdx.x * args.group + step / tiles) * args.dim;
        copy_rows<DIM, QUERIES, Tile::THREADS>(stage, {args.q.data + column, args.q.ld}, row,
                                               batch.rows, args.dim);
        copy_rows<DIM, QUERIES, Tile::THREADS>(stage + Tile::STAGE / 2,
                                               {args.dout.data + column, args.dout.ld}, row,
                                               batch.rows, args.dim);
        ptx_cp_commit();
    };
    /* Thread i's share of a stage's lse (in powers of two) and delta. Rows past the batch get an
     * lse that makes their probabilities 0. */
    const auto load_stats = [&](int step) {
        const int row = first + step % tiles * QUERIES + (int)threadIdx.x;
        if ((int)threadIdx.x >= QUERIES || row >= batch.rows) {
            return make_float2(INFINITY, 0.0f);
        }
        const int64_t at = (int64_t)row * args.heads + (int)blockIdx.x * args.group + step / tiles;
        return make_float2(args.lse[at] * LOG2_E, args.delta[at]);
    };
    const auto keep_stats = [&](int step, float2 values_of_row) {
        if ((int)threadIdx.x < QUERIES) {
            float *const stage_stats = stats + step % 2 * 2 * QUERIES;
            stage_stats[threadIdx.x] = values_of_row.x;
            stage_stats[QUERIES + threadIdx.x] = values_of_row.y;
        }
    };

    copy_rows<DIM, LC_TILE, Tile::THREADS>(keys, {args.k.data + kv_column, args.k.ld}, first,
                                           batch.rows, args.dim);
    copy_rows<DIM, LC_TILE, Tile::THREADS>(values, {args.v.data + kv_column, args.v.ld}, first,
                                           batch.rows, args.dim);
    copy_stage(0);
    keep_stats(0, load_stats(0));
    float dk[1][COLUMNS][4], dv[1][COLUMNS][4];
    clear(dk);
    clear(dv);
    for (int step = 0; step < steps; step++) {
        ptx_cp_wait<0>();
        __syncthreads();
        float2 next_stats = make_float2(0.0f, 0.0f);
        if (step + 1 < steps) {
            copy_stage(step + 1);
            next_stats = load_stats(step + 1);
        }
        const int row = first + step % tiles * QUERIES, key = first + warp_row;
        const Sight sight(batch, row, min(row + QUERIES, batch.rows) - 1);
        if (sight.sees_any(batch, key, key + 16)) {
            const bf16 *const q = stages + step % 2 * Tile::STAGE;
            const bf16 *const dout = q + Tile::STAGE / 2;
            const float *const lse = stats + step % 2 * 2 * QUERIES, *const delta = lse + QUERIES;
            float p[1][QUERIES / 8][4], ds[1][QUERIES / 8][4];
            multiply_rows<DIM>(p, keys + warp_row * TileRow<DIM>::ELEMENTS, q);
            if (!sight.sees_all(batch, key, key + 16)) {
                mask_columns(p, batch, row, sight.last, key);
            }
#pragma unroll
            for (int i = 0; i < QUERIES / 2; i++) {
                float &score = p[0][i / 4][i % 4];
                score = ptx_exp2(score * args.scale_log2 - lse[i / 4 * 8 + t + i % 2]);
            }
            multiply_weights<DIM>(dv, p, dout, chunk);
            multiply_rows<DIM>(ds, values + warp_row * TileRow<DIM>::ELEMENTS, dout);
#pragma unroll
            for (int i = 0; i < QUERIES / 2; i++) {
                float &value = ds[0][i / 4][i % 4];
                value = p[0][i / 4][i % 4] * (value - delta[i / 4 * 8 + t + i % 2]);
            }
            multiply_weights<DIM>(dk, ds, q, chunk);
        }
        if (step + 1 < steps) {
            keep_stats(step + 1, next_stats);
        }
    }
#pragma unroll
    for (int i = 0; i < COLUMNS * 4; i++) {
        dk[0][i / 4][i % 4] *= args.scale;
    }
    __syncthreads(); /* nobody reads keys and values any more */
    store_rows<DIM>(dk, keys, warp_row, chunk, args.dk + kv_column, args.dk_ld, first, batch.rows,
                    args.dim);
    store_rows<DIM>(dv, values, warp_row, chunk, args.dv + kv_column, args.dv_ld, first, batch.rows,
                    args.dim);
}

/* ---- dQ ---- */

constexpr int QUERY_WARPS = LC_TILE / 16;
constexpr int QUERY_THREADS = QUERY_WARPS * WARP;

/* Shared memory: the block's queries and dout, and two stages of keys and values. */
template <int DIM> struct QueryGradientTile {
    static constexpr int KEYS = DIM <= 128 ? 64 : DIM <= 192 ? 32 : 16;
    static constexpr int ROWS = LC_TILE * TileRow<DIM>::ELEMENTS;
    static constexpr int STAGE = 2 * KEYS * TileRow<DIM>::ELEMENTS;
    static constexpr int BYTES = 2 * (ROWS + STAGE) * (int)sizeof(bf16);
};

template <int N>
__device__ __forceinline__ void mask_rows(float (&scores)[1][N][4], const Batch &batch,
                                          int first_row, int last_row, int key)
{
    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const ColumnSight sight(batch, min(first_row + half * 8 + g, last_row), key + t);
#pragma unroll
        for (int i = 0; i < N * 2; i++) {
            float &score = scores[0][i / 2][half * 2 + i % 2];
            score = sight.sees(i / 2 * 8 + i % 2) ? score : -INFINITY;
        }
    }
}

/* dq[i,h,:] for a tile of 64 queries and head h.
 *
 * Shapes as above. Grid: (H, tiles of 64 rows, longest first), block 128. A warp computes S = Q K^T
 * and dP = dO V^T for its 16 rows and KEYS keys at a time; dS stays in its registers as the left
 * operand of dQ += dS K. Tiles of keys are staged and skipped as in the forward pass.
 *
 * Global bytes of a block: 64 rows of q, dout and dq, and 4*D for each key it meets. Deterministic:
 * a row belongs to one warp, which goes through the keys in ascending order. */
template <int DIM>
__global__ void __launch_bounds__(QUERY_THREADS) attention_query_gradient(BackwardArgs args)
{
    using Tile = QueryGradientTile<DIM>;
    constexpr int KEYS = Tile::KEYS;
    GPU_DYN_SHARED(bf16, queries);
    bf16 *const dout = queries + Tile::ROWS, *const stages = dout + Tile::ROWS;
    const Batch batch = args.batch.on_device();
    const int head = blockIdx.x, column = head * args.dim, kv_column = head / args.group * args.dim;
    const int first = batch.tile(batch.layout->queries, blockIdx.y) * LC_TILE;
    const KeyTiles<KEYS> tiles(batch, Sight(batch, first, min(first + LC_TILE, batch.rows) - 1));
    const int warp_row = threadIdx.x / WARP * 16;
    /* A warp whose rows are all past the batch stands in for the last row and stores nothing. */
    const int warp_first = min(first + warp_row, batch.rows - 1);
    const Sight sight(batch, warp_first, min(warp_first + 16, batch.rows) - 1);

    const auto copy_stage = [&](int i) {
        bf16 *const stage = stages + i % 2 * Tile::STAGE;
        const int key = tiles.key(i);
        copy_rows<DIM, KEYS, QUERY_THREADS>(stage, {args.k.data + kv_column, args.k.ld}, key,
                                            batch.rows, args.dim);
        copy_rows<DIM, KEYS, QUERY_THREADS>(stage + Tile::STAGE / 2,
                                            {args.v.data + kv_column, args.v.ld}, key, batch.rows,
                                            args.dim);
        ptx_cp_commit();
    };
    copy_rows<DIM, LC_TILE, QUERY_THREADS>(queries, {args.q.data + column, args.q.ld}, first,
                                           batch.rows, args.dim);
    copy_rows<DIM, LC_TILE, QUERY_THREADS>(dout, {args.dout.data + column, args.dout.ld}, first,
                                           batch.rows, args.dim);
    copy_stage(0);

    float lse[2], delta[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = min(first + warp_row + half * 8 + (int)threadIdx.x % WARP / 4, sight.last);
        lse[half] = args.lse[(int64_t)row * args.heads + head] * LOG2_E;
        delta[half] = args.delta[(int64_t)row * args.heads + head];
    }
    float dq[1][DIM / 8][4];
    clear(dq);
    for (int i = 0; i < tiles.count; i++) {
        ptx_cp_wait<0>();
        __syncthreads();
        if (i + 1 < tiles.count) {
            copy_stage(i + 1);
        }
        const int key = tiles.key(i);
        if (!sight.sees_any(batch, key, key + KEYS)) {
            continue;
        }
        const bf16 *const k = stages + i % 2 * Tile::STAGE, *const v = k + Tile::STAGE / 2;
        float p[1][KEYS / 8][4], ds[1][KEYS / 8][4];
        multiply_rows<DIM>(p, queries + warp_row * TileRow<DIM>::ELEMENTS, k);
        if (!sight.sees_all(batch, key, key + KEYS)) {
            mask_rows(p, batch, first + warp_row, sight.last, key);
        }
        multiply_rows<DIM>(ds, dout + warp_row * TileRow<DIM>::ELEMENTS, v);
#pragma unroll
        for (int n = 0; n < KEYS / 2; n++) {
            const int half = n % 4 / 2;
            const float weight = ptx_exp2(p[0][n / 4][n % 4] * args.scale_log2 - lse[half]);
            ds[0][n / 4][n % 4] = weight * (ds[0][n / 4][n % 4] - delta[half]);
        }
        multiply_weights<DIM>(dq, ds, k, 0);
    }
#pragma unroll
    for (int i = 0; i < DIM / 2; i++) {
        dq[0][i / 4][i % 4] *= args.scale;
    }
    store_rows<DIM>(dq, queries, warp_row, 0, args.dq + column, args.dq_ld, first, batch.rows,
                    args.dim);
}

/* ---- the host side ---- */

template <int DIM> static cudaError_t launch(const BackwardArgs &args, cudaStream_t stream)
{
    using KeyTile = KeyGradientTile<DIM>;
    const unsigned tiles = (unsigned)((args.batch.rows + LC_TILE - 1) / LC_TILE);
    GPU_LAUNCH((attention_key_gradient<DIM>), dim3((unsigned)(args.heads / args.group), tiles),
               dim3(KeyTile::THREADS), KeyTile::BYTES, stream, args);
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess) {
        return error;
    }
    GPU_LAUNCH((attention_query_gradient<DIM>), dim3((unsigned)args.heads, tiles),
               dim3(QUERY_THREADS), (QueryGradientTile<DIM>::BYTES), stream, args);
    return cudaGetLastError();
}

template <int DIM> static cudaError_t prepare()
{
    const cudaError_t error =
        GPU_ALLOW_SHARED((attention_key_gradient<DIM>), (KeyGradientTile<DIM>::BYTES));
    return error != cudaSuccess
               ? error
               : GPU_ALLOW_SHARED((attention_query_gradient<DIM>), (QueryGradientTile<DIM>::BYTES));
}

} // namespace

cudaError_t attention_backward_prepare()
{
    return TileWidths::each([](auto dim) { return prepare<decltype(dim)::value>(); });
}

cudaError_t lc_cuda_attention_backward(const lc_attention_backward_args *args, cudaStream_t stream)
{
    const lc_attention_shape &shape = args->shape;
    if (args->q.rows == 0) {
        return cudaSuccess;
    }
    const bool is_f32 = args->q.dtype == LC_F32;
    if (!is_served(shape, args->q.rows) || (!is_f32 && args->q.dtype != LC_BF16) ||
        shape.head_dim % (is_f32 ? 4 : 8) != 0) {
        return cudaErrorInvalidValue;
    }
    const cudaError_t error = args->dropped ? lc_cuda_drop_delta(args, stream)
                              : is_f32      ? launch_delta<float>(*args, stream)
                                            : launch_delta<bf16>(*args, stream);
    if (error != cudaSuccess) {
        return error;
    }
    if (is_f32) {
        return attention_plain_backward(*args, stream);
    }
    const BackwardArgs backward_args = {make_batch(shape, args->q.rows),
                                        head_rows(args->q),
                                        head_rows(args->k),
                                        head_rows(args->v),
                                        head_rows(args->dout),
                                        static_cast<bf16 *>(args->dq.data),
                                        static_cast<bf16 *>(args->dk.data),
                                        static_cast<bf16 *>(args->dv.data),
                                        args->dq.ld,
                                        args->dk.ld,
                                        args->dv.ld,
                                        args->lse,
                                        args->delta,
                                        (int)shape.heads,
                                        (int)(shape.heads / shape.kv_heads),
                                        (int)shape.head_dim,
                                        shape.scale,
                                        shape.scale * LOG2_E};
    return TileWidths::pick(shape.head_dim, [&](auto dim) {
        return launch<decltype(dim)::value>(backward_args, stream);
    });
}
