/* Attention of packed documents, forward, BF16 on tensor cores (FlashAttention-2, Dao 2023; the
 * tiling is our own). F32 is attention_plain.cu's. */
#include "attention_tiles.cuh"

#include "kernels.h"

namespace
{
struct ForwardArgs {
    Batch batch;
    HeadRows q, k, v; /* of head 0 */
    bf16 *out;
    int64_t out_ld;
    float *lse;
    int heads, group; /* group: query heads per kv head */
    int dim;
    float scale_log2; /* scale * log2(e) */
};

/* A block of WARPS warps, each of which has M*16 query rows. Shared memory: the block's queries,
 * and two stages of keys and values. */
template <int DIM> struct ForwardTile {
    static constexpr int WARPS = DIM == 128 ? 8 : 4;
    static constexpr int M = DIM <= 96 ? 2 : 1;
    static constexpr int KEYS = DIM <= 128 ? 64 : 32;
    static constexpr int THREADS = WARPS * WARP;
    static constexpr int ROWS = WARPS * M * 16;
    /* Where registers allow, a warp loads its queries once: with 16 rows a warp, shared memory is
     * what limits the products. */
    static constexpr bool KEEPS_QUERIES = M == 1 && DIM <= 128;
    static constexpr int QUERIES = ROWS * TileRow<DIM>::ELEMENTS;
    static constexpr int STAGE = 2 * KEYS * TileRow<DIM>::ELEMENTS;
    static constexpr int BYTES = (QUERIES + 2 * STAGE) * (int)sizeof(bf16);
};

/* The running softmax of a thread's rows: g and g+8 of each 16. `most` is the largest score so far,
 * in all 4 threads of a row; `sum` belongs to the thread's own columns. */
template <int M> struct RunningSoftmax {
    float most[M][2], sum[M][2];
};

template <int M, int N>
__device__ __forceinline__ void mask_scores(float (&scores)[M][N][4], const Batch &batch,
                                            int first_row, int last_row, int key)
{
    const int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < M * 2; i++) {
        const int m = i / 2, half = i % 2;
        /* Rows past the batch are nobody's: any mask does. */
        const int row = min(first_row + m * 16 + half * 8 + g, last_row);
        const ColumnSight sight(batch, row, key + t);
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int c = 0; c < 2; c++) {
                if (!sight.sees(n * 8 + c)) {
                    scores[m][n][half * 2 + c] = -INFINITY;
                }
            }
        }
    }
}

/* Turns scores into exp(scale * (score - most)), and what the rows have so far to the new `most`.
 * */
template <int M, int N, int DN>
__device__ __forceinline__ void softmax(float (&scores)[M][N][4], RunningSoftmax<M> &running,
                                        float (&out)[M][DN][4], float scale_log2)
{
#pragma unroll
    for (int i = 0; i < M * 2; i++) {
        const int m = i / 2, half = i % 2 * 2;
        float most = running.most[m][i % 2];
#pragma unroll
        for (int n = 0; n < N; n++) {
            most = fmaxf(most, fmaxf(scores[m][n][half], scores[m][n][half + 1]));
        }
        most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, 1));
        most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, 2));
        /* A row that has seen no key yet: exp2(-inf - 0) = 0. */
        const float shift = most == -INFINITY ? 0.0f : most * scale_log2;
        const float kept = ptx_exp2(running.most[m][i % 2] * scale_log2 - shift);
        float sum = running.sum[m][i % 2] * kept;
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int c = half; c < half + 2; c++) {
                scores[m][n][c] = ptx_exp2(scores[m][n][c] * scale_log2 - shift);
                sum += scores[m][n][c];
            }
        }
#pragma unroll
        for (int n = 0; n < DN; n++) {
            out[m][n][half] *= kept;
            out[m][n][half + 1] *= kept;
        }
        running.most[m][i % 2] = most;
        running.sum[m][i % 2] = sum;
    }
}

/* Divides by the sums of the rows and writes their log sum exp. */
template <int M, int DN>
__device__ __forceinline__ void finish(const ForwardArgs &args, const RunningSoftmax<M> &running,
                                       float (&out)[M][DN][4], int first_row, int head)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < M * 2; i++) {
        const int m = i / 2, half = i % 2 * 2;
        float sum = running.sum[m][i % 2];
        sum += __shfl_xor_sync(ALL_LANES, sum, 1);
        sum += __shfl_xor_sync(ALL_LANES, sum, 2);
        const float factor = 1.0f / sum;
#pragma unroll
        for (int n = 0; n < DN; n++) {
            out[m][n][half] *= factor;
            out[m][n][half + 1] *= factor;
        }
        const int row = first_row + m * 16 + half * 4 + lane / 4;
        if (args.lse != nullptr && lane % 4 == 0 && row < args.batch.rows) {
            args.lse[(int64_t)row * args.heads + head] =
                (running.most[m][i % 2] * args.scale_log2 + log2f(sum)) * LN_2;
        }
    }
}

/* out[i,h,:] = sum_j p_ij v[j,:], p_i = softmax_j(scale q_i k_j) over the keys that row i sees;
 * lse[i,h] = log sum_j exp(scale q_i k_j).
 *
 * q, out N x H*D, k, v N x K*D with any ld; D <= DIM, zeros take the place of the rest. Grid: (H,
 * tiles of WARPS*M*16 rows, longest first), block WARPS*32. A warp keeps the scores of its 16*M
 * rows against KEYS keys and their share of the output in registers; keys and values come through
 * two stages of shared memory, one being filled while the other is used. Tiles of keys that no row
 * sees are not read, tiles that every row sees are not masked.
 *
 * Global bytes of a block: WARPS*M*16*D*2 read and written, and 4*D for each key it meets, most of
 * it from the L2 cache, where the heads of a group meet. Deterministic: a row belongs to one warp,
 * which goes through the keys in ascending order. */
template <int DIM>
__global__ void __launch_bounds__(ForwardTile<DIM>::THREADS) attention_forward(ForwardArgs args)
{
    using Tile = ForwardTile<DIM>;
    constexpr int M = Tile::M, KEYS = Tile::KEYS;
    GPU_DYN_SHARED(bf16, queries);
    bf16 *const stages = queries + Tile::QUERIES;
    const Batch batch = args.batch.on_device();
    const int head = blockIdx.x, kv_column = head / args.group * args.dim;
    const int64_t order =
        Tile::ROWS == LC_WIDE_TILE ? batch.layout->wide_queries : batch.layout->queries;
    const int first = batch.tile(order, blockIdx.y) * Tile::ROWS;
    const KeyTiles<KEYS> tiles(batch, Sight(batch, first, min(first + Tile::ROWS, batch.rows) - 1));
    const int warp_row = threadIdx.x / WARP * M * 16;
    /* A warp whose rows are all past the batch stands in for the last row and stores nothing. */
    const int warp_first = min(first + warp_row, batch.rows - 1);

    const auto copy_stage = [&](int i) {
        bf16 *const stage = stages + i % 2 * Tile::STAGE;
        const int key = tiles.key(i);
        copy_rows<DIM, KEYS, Tile::THREADS>(stage, {args.k.data + kv_column, args.k.ld}, key,
                                            batch.rows, args.dim);
        copy_rows<DIM, KEYS, Tile::THREADS>(stage + Tile::STAGE / 2,
                                            {args.v.data + kv_column, args.v.ld}, key, batch.rows,
                                            args.dim);
        ptx_cp_commit();
    };
    copy_rows<DIM, Tile::ROWS, Tile::THREADS>(queries, {args.q.data + head * args.dim, args.q.ld},
                                              first, batch.rows, args.dim);
    copy_stage(0);

    float out[M][DIM / 8][4];
    clear(out);
    RunningSoftmax<M> running;
#pragma unroll
    for (int i = 0; i < M * 2; i++) {
        running.most[i / 2][i % 2] = -INFINITY;
        running.sum[i / 2][i % 2] = 0.0f;
    }
    const bf16 *const own_queries = queries + warp_row * TileRow<DIM>::ELEMENTS;
    uint32_t kept_queries[DIM / 16][4];
    if constexpr (Tile::KEEPS_QUERIES) {
        ptx_cp_wait<0>();
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DIM / 16; k++) {
            load_left<DIM>(kept_queries[k], own_queries, 0, k);
        }
    }
    for (int i = 0; i < tiles.count; i++) {
        ptx_cp_wait<0>();
        __syncthreads();
        if (i + 1 < tiles.count) {
            copy_stage(i + 1);
        }
        const int key = tiles.key(i);
        const Sight sight(batch, warp_first, min(warp_first + M * 16, batch.rows) - 1);
        if (!sight.sees_any(batch, key, key + KEYS)) {
            continue;
        }
        const bf16 *const stage = stages + i % 2 * Tile::STAGE;
        float scores[M][KEYS / 8][4];
        if constexpr (Tile::KEEPS_QUERIES) {
            multiply_kept_rows<DIM>(scores, kept_queries, stage);
        } else {
            multiply_rows<DIM>(scores, own_queries, stage);
        }
        if (!sight.sees_all(batch, key, key + KEYS)) {
            mask_scores(scores, batch, first + warp_row, sight.last, key);
        }
        softmax(scores, running, out, args.scale_log2);
        multiply_weights<DIM>(out, scores, stage + Tile::STAGE / 2, 0);
    }
    finish(args, running, out, first + warp_row, head);
    store_rows<DIM>(out, queries, warp_row, 0, args.out + head * args.dim, args.out_ld, first,
                    batch.rows, args.dim);
}

/* ---- the host side ---- */

template <int DIM> static cudaError_t launch(const ForwardArgs &args, cudaStream_t stream)
{
    using Tile = ForwardTile<DIM>;
    const dim3 grid((unsigned)args.heads,
                    (unsigned)((args.batch.rows + Tile::ROWS - 1) / Tile::ROWS));
    GPU_LAUNCH((attention_forward<DIM>), grid, dim3(Tile::THREADS), Tile::BYTES, stream, args);
    return cudaGetLastError();
}

template <int DIM> static cudaError_t prepare()
{
    return GPU_ALLOW_SHARED((attention_forward<DIM>), (ForwardTile<DIM>::BYTES));
}

} // namespace

cudaError_t attention_forward_prepare()
{
    return TileWidths::each([](auto dim) { return prepare<decltype(dim)::value>(); });
}

cudaError_t lc_cuda_attention(const lc_attention_args *args, cudaStream_t stream)
{
    const lc_attention_shape &shape = args->shape;
    if (args->q.rows == 0) {
        return cudaSuccess;
    }
    if (!is_served(shape, args->q.rows)) {
        return cudaErrorInvalidValue;
    }
    if (args->q.dtype == LC_F32) {
        return attention_plain(*args, stream);
    }
    if (args->q.dtype != LC_BF16 || shape.head_dim % 8 != 0) {
        return cudaErrorInvalidValue;
    }
    const ForwardArgs forward_args = {make_batch(shape, args->q.rows),
                                      head_rows(args->q),
                                      head_rows(args->k),
                                      head_rows(args->v),
                                      static_cast<bf16 *>(args->out.data),
                                      args->out.ld,
                                      args->lse,
                                      (int)shape.heads,
                                      (int)(shape.heads / shape.kv_heads),
                                      (int)shape.head_dim,
                                      shape.scale * LOG2_E};
    return TileWidths::pick(shape.head_dim, [&](auto dim) {
        return launch<decltype(dim)::value>(forward_args, stream);
    });
}

cudaError_t lc_cuda_attention_prepare(void)
{
    cudaError_t error = attention_forward_prepare();
    error = error != cudaSuccess ? error : attention_backward_prepare();
    error = error != cudaSuccess ? error : attention_plain_prepare();
    return error != cudaSuccess ? error : attention_cached_prepare();
}
