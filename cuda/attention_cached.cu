/* Attention of new tokens over a KV cache, BF16 and F32: decoding, and the prefill of a sequence.
 * */
#include "attention.cuh"
#include "gpu_ptx.h"

#include "kernels.h"

namespace
{
constexpr int CACHED_HEADS = 8; /* query heads of a block at most */

template <class T> struct CachedArgs {
    const T *q, *k, *v;
    T *out;
    int64_t q_ld, k_ld, v_ld, out_ld;
    const int32_t *slots, *positions;
    int64_t slot_rows;
    int kv_heads, group; /* group: query heads per kv head */
    int dim, window;
    float scale_log2; /* scale * log2(e) */
    lc_key_parts parts;
    float *part_sums;  /* N x H x parts.count x D: of p v, not divided; NULL with one part */
    float *part_stats; /* N x H x parts.count x 2: maximum, sum of p */
};

/* The keys that a row sees: how many, and the first one's cache row. */
struct RowKeys {
    int64_t first;
    int count;
};

/* None for a row of no sequence. */
template <class T> __device__ __forceinline__ RowKeys keys_of(const CachedArgs<T> &args, int row)
{
    const int slot = args.slots[row], position = args.positions[row];
    const int first = max(0, position - args.window + 1);
    return {(int64_t)slot * args.slot_rows + first, slot < 0 ? 0 : position + 1 - first};
}

/* Shared memory of a block: for each warp two stages of 32 keys, rows padded by 16 bytes, and the
 * weights of a stage; the queries; at the end the stages hold what the warps have found. As many
 * warps as fit with rows of this size, 1 to 4. */
template <class T, int DIM> struct CachedTile {
    static constexpr int ROW = DIM * (int)sizeof(T) + 16; /* bytes */
    static constexpr int WARPS = ROW <= 272 ? 4 : ROW <= 528 ? 2 : 1;
    static constexpr int THREADS = WARPS * WARP;
    static constexpr int STAGE = WARP * ROW;
    static constexpr int PAIRS = DIM / 64; /* columns of a lane, by twos */
    static constexpr int STAGES = WARPS * 2 * STAGE;
    static constexpr int BYTES =
        STAGES + CACHED_HEADS * (DIM + WARPS * (WARP + 2)) * (int)sizeof(float);
    static_assert(WARPS * CACHED_HEADS * DIM * (int)sizeof(float) <= STAGES, "results fit");
};

/* A warp's running softmax of the block's heads. A lane has columns 64*p + 2*lane + 0..1 of the
 * sums, and its own keys' part of `sum`. */
template <int PAIRS> struct CachedState {
    float most[CACHED_HEADS], sum[CACHED_HEADS], out[CACHED_HEADS][PAIRS][2];
};

__device__ __forceinline__ float2 load_two(const float *from)
{
    return *reinterpret_cast<const float2 *>(from);
}

__device__ __forceinline__ float2 load_two(const bf16 *from)
{
    const uint32_t bits = *reinterpret_cast<const uint32_t *>(from);
    return make_float2(__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u));
}

/* Starts the warp's copy of rows 0..count-1 of `from`; zeros for those up to 32. */
template <class T, int DIM>
__device__ __forceinline__ void copy_keys(unsigned char *stage, const T *from, int64_t ld,
                                          int count, int dim)
{
    const int packs = dim / Pack<T>::COUNT;
    for (int i = threadIdx.x % WARP; i < WARP * packs; i += WARP) {
        const int row = i / packs, pack = i % packs;
        const bool is_inside = row < count;
        const T *source = is_inside ? from + row * ld + pack * Pack<T>::COUNT : from;
        ptx_cp_async16(stage + row * CachedTile<T, DIM>::ROW + pack * 16, source,
                       is_inside ? 16 : 0);
    }
    ptx_cp_commit();
}

/* scores[h] = query h * the lane's key, scaled. */
template <class T, int DIM>
__device__ __forceinline__ void score_keys(float (&scores)[CACHED_HEADS], const float *queries,
                                           const unsigned char *stage, const CachedArgs<T> &args,
                                           int heads)
{
    constexpr int COUNT = Pack<T>::COUNT;
    const T *const key =
        reinterpret_cast<const T *>(stage + threadIdx.x % WARP * CachedTile<T, DIM>::ROW);
#pragma unroll
    for (int h = 0; h < CACHED_HEADS; h++) {
        scores[h] = 0.0f;
    }
    for (int d = 0; d < args.dim; d += COUNT) {
        float values[COUNT];
        load_pack(key + d, values);
#pragma unroll
        for (int h = 0; h < CACHED_HEADS; h++) {
            if (h < heads) {
#pragma unroll
                for (int e = 0; e < COUNT; e++) {
                    scores[h] += values[e] * queries[h * DIM + d + e];
                }
            }
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

/* Weights of the lane's key for all heads, and what the warp has so far to the new maxima. At least
 * one lane has a key. */
template <int PAIRS>
__device__ __forceinline__ void cached_softmax(CachedState<PAIRS> &state, float *weights,
                                               const float (&scores)[CACHED_HEADS], bool has_key,
                                               float scale_log2, int heads)
{
#pragma unroll
    for (int h = 0; h < CACHED_HEADS; h++) {
        if (h >= heads) {
            continue;
        }
        const float score = has_key ? scores[h] * scale_log2 : -INFINITY;
        const float most = fmaxf(state.most[h], warp_max(score));
        const float kept = exp2f(state.most[h] - most), weight = exp2f(score - most);
        state.most[h] = most;
        state.sum[h] = state.sum[h] * kept + weight;
        weights[h * WARP + threadIdx.x % WARP] = weight;
#pragma unroll
        for (int p = 0; p < PAIRS; p++) {
            state.out[h][p][0] *= kept;
            state.out[h][p][1] *= kept;
        }
    }
}

/* out[h] += sum_j weights[h][j] v[j], j < count. */
template <class T, int PAIRS>
__device__ __forceinline__ void add_values(CachedState<PAIRS> &state, const float *weights,
                                           const T *v, int64_t ld, int count, int dim, int heads)
{
    const int column = threadIdx.x % WARP * 2;
#pragma unroll 4
    for (int j = 0; j < count; j++) {
#pragma unroll
        for (int p = 0; p < PAIRS; p++) {
            const bool is_inside = p * 64 + column < dim;
            const float2 value =
                is_inside ? load_two(v + j * ld + p * 64 + column) : make_float2(0.0f, 0.0f);
#pragma unroll
            for (int h = 0; h < CACHED_HEADS; h++) {
                if (h < heads) {
                    const float weight = weights[h * WARP + j];
                    state.out[h][p][0] += weight * value.x;
                    state.out[h][p][1] += weight * value.y;
                }
            }
        }
    }
}

/* What a warp has found, into shared memory: sums WARPS x HEADS x DIM, stats WARPS x HEADS x 2. */
template <int DIM, int PAIRS>
__device__ __forceinline__ void leave_state(const CachedState<PAIRS> &state, float *sums,
                                            float *stats, int heads)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
    for (int h = 0; h < CACHED_HEADS; h++) {
        if (h >= heads) {
            continue;
        }
        const float sum = warp_sum(state.sum[h]);
        const int at = warp * CACHED_HEADS + h;
#pragma unroll
        for (int p = 0; p < PAIRS; p++) {
            sums[at * DIM + p * 64 + lane * 2] = state.out[h][p][0];
            sums[at * DIM + p * 64 + lane * 2 + 1] = state.out[h][p][1];
        }
        if (lane == 0) {
            stats[at * 2] = state.most[h];
            stats[at * 2 + 1] = sum;
        }
    }
}

/* Sums of the warps' parts, or of those of blocks, in their order: the maximum first. */
struct Together {
    float most, sum, out;

    /* Part i of `count`: stats[i*stride] its maximum and sum, sums[i*sums_stride] its column. */
    __device__ __forceinline__ Together(const float *stats, int stride, const float *sums,
                                        int sums_stride, int count)
        : most(-INFINITY), sum(0.0f), out(0.0f)
    {
        for (int i = 0; i < count; i++) {
            most = fmaxf(most, stats[i * stride]);
        }
        for (int i = 0; i < count; i++) {
            const float share = exp2f(stats[i * stride] - most);
            sum += share * stats[i * stride + 1];
            out += share * sums[i * sums_stride];
        }
    }
};

/* out[n,h,:] = sum_j p_j v_j over the cache rows slots[n]*slot_rows + j, max(0, pos-W+1) <= j <=
 * pos, p = softmax(scale q k_j); 0 for slot -1.
 *
 * q, out N x H*D, caches (slots*slot_rows) x K*D with any ld; D <= DIM. Grid: (N*K, groups of at
 * most 8 query heads of a kv head, parts of the keys), block WARPS*32. A block takes one part of
 * the row's keys, counted from the row's first; of it warp w takes keys 32*(w + i*WARPS)..: keys
 * through shared memory, a lane for each, values straight from global memory, two columns a lane.
 * At the end the warps' parts are put together in their order. With one part that is the result,
 * else it goes to part_sums and part_stats, and cached_together makes the result of them.
 *
 * Bytes: 4*D a key and group of 8 heads in BF16. Deterministic, and a row's result does not depend
 * on the others: how its keys are cut follows from its own position and the cache's length. Limits:
 * a prefill of M rows reads its keys M times (from the L2 cache) and uses no tensor cores; blocks
 * behind a row's last key are launched and end at once. */
template <class T, int DIM>
__global__ void __launch_bounds__(CachedTile<T, DIM>::THREADS, 1)
    attention_cached(CachedArgs<T> args)
{
    using Tile = CachedTile<T, DIM>;
    GPU_DYN_SHARED(unsigned char, stages);
    float *const queries = reinterpret_cast<float *>(stages + Tile::STAGES);
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, part = (int)blockIdx.z;
    float *const all_weights = queries + CACHED_HEADS * DIM;
    float *const weights = all_weights + warp * CACHED_HEADS * WARP;
    float *const stats = all_weights + Tile::WARPS * CACHED_HEADS * WARP;
    const int row = (int)blockIdx.x / args.kv_heads, kv_head = (int)blockIdx.x % args.kv_heads;
    const int first_head = kv_head * args.group + (int)blockIdx.y * CACHED_HEADS;
    const int heads = min(CACHED_HEADS, args.group - (int)blockIdx.y * CACHED_HEADS);
    const int column = first_head * args.dim;
    const RowKeys seen = keys_of(args, row);
    T *const out = args.out + (int64_t)row * args.out_ld + column;
    const int keys = min(args.parts.keys, seen.count - part * args.parts.keys);
    if (keys <= 0) {
        for (int i = threadIdx.x; seen.count == 0 && part == 0 && i < heads * args.dim;
             i += Tile::THREADS) {
            out[i] = as_element<T>(0.0f);
        }
        return;
    }
    for (int i = threadIdx.x; i < heads * args.dim; i += Tile::THREADS) {
        queries[i / args.dim * DIM + i % args.dim] =
            as_float(args.q[(int64_t)row * args.q_ld + column + i]);
    }

    const int64_t cache_row = seen.first + (int64_t)part * args.parts.keys;
    const int blocks = (keys + WARP - 1) / WARP;
    const T *const k = args.k + cache_row * args.k_ld + kv_head * args.dim;
    const T *const v = args.v + cache_row * args.v_ld + kv_head * args.dim;
    unsigned char *const stage = stages + warp * 2 * Tile::STAGE;
    const auto copy_block = [&](int block) {
        copy_keys<T, DIM>(stage + block / Tile::WARPS % 2 * Tile::STAGE,
                          k + (int64_t)block * WARP * args.k_ld, args.k_ld, keys - block * WARP,
                          args.dim);
    };

    CachedState<Tile::PAIRS> state;
#pragma unroll
    for (int h = 0; h < CACHED_HEADS; h++) {
        state.most[h] = -INFINITY;
        state.sum[h] = 0.0f;
#pragma unroll
        for (int i = 0; i < Tile::PAIRS * 2; i++) {
            state.out[h][i / 2][i % 2] = 0.0f;
        }
    }
    if (warp < blocks) {
        copy_block(warp);
    }
    __syncthreads(); /* the queries are there */
    for (int block = warp; block < blocks; block += Tile::WARPS) {
        ptx_cp_wait<0>();
        __syncwarp();
        if (block + Tile::WARPS < blocks) {
            copy_block(block + Tile::WARPS);
        }
        const int count = min(WARP, keys - block * WARP);
        float scores[CACHED_HEADS];
        score_keys<T, DIM>(scores, queries, stage + block / Tile::WARPS % 2 * Tile::STAGE, args,
                           heads);
        cached_softmax(state, weights, scores, lane < count, args.scale_log2, heads);
        __syncwarp();
        add_values(state, weights, v + (int64_t)block * WARP * args.v_ld, args.v_ld, count,
                   args.dim, heads);
    }
    __syncthreads(); /* nobody needs the stages any more */
    float *const sums = reinterpret_cast<float *>(stages);
    leave_state<DIM>(state, sums, stats, heads);
    __syncthreads();
    const bool is_whole = seen.count <= args.parts.keys;
    for (int i = threadIdx.x; i < heads * args.dim; i += Tile::THREADS) {
        const int head = i / args.dim, d = i % args.dim;
        const Together found(stats + head * 2, CACHED_HEADS * 2, sums + head * DIM + d,
                             CACHED_HEADS * DIM, Tile::WARPS);
        if (is_whole) {
            out[i] = as_element<T>(found.out / found.sum);
            continue;
        }
        const int64_t head_row = (int64_t)row * args.kv_heads * args.group + first_head + head;
        const int64_t at = head_row * args.parts.count + part;
        args.part_sums[at * args.dim + d] = found.out;
        if (d == 0) {
            args.part_stats[at * 2] = found.most;
            args.part_stats[at * 2 + 1] = found.sum;
        }
    }
}

/* The output of rows with several parts, which are put together in their order. Grid: (N*H), block:
 * 128. Bytes: 4*D a part. Deterministic: the parts follow from the row alone. */
constexpr int TOGETHER_THREADS = 128;

template <class T>
__global__ void __launch_bounds__(TOGETHER_THREADS) cached_together(CachedArgs<T> args)
{
    const int heads = args.kv_heads * args.group;
    const int row = (int)blockIdx.x / heads, head = (int)blockIdx.x % heads;
    const int keys = keys_of(args, row).count;
    const int count = (keys + args.parts.keys - 1) / args.parts.keys;
    if (count < 2) {
        return; /* it is there */
    }
    const int64_t at = (int64_t)blockIdx.x * args.parts.count;
    for (int d = threadIdx.x; d < args.dim; d += TOGETHER_THREADS) {
        const Together found(args.part_stats + at * 2, 2, args.part_sums + at * args.dim + d,
                             args.dim, count);
        args.out[(int64_t)row * args.out_ld + head * args.dim + d] =
            as_element<T>(found.out / found.sum);
    }
}

/* ---- the host side ---- */

using CachedWidths = HeadWidths<64, 128, 256>;

template <class T, int DIM>
static cudaError_t launch(const CachedArgs<T> &args, int64_t rows, cudaStream_t stream)
{
    using Tile = CachedTile<T, DIM>;
    const dim3 grid((unsigned)(rows * args.kv_heads),
                    (unsigned)((args.group + CACHED_HEADS - 1) / CACHED_HEADS),
                    (unsigned)args.parts.count);
    GPU_LAUNCH((attention_cached<T, DIM>), grid, dim3(Tile::THREADS), Tile::BYTES, stream, args);
    if (args.parts.count > 1) {
        GPU_LAUNCH((cached_together<T>), (unsigned)(rows * args.kv_heads * args.group),
                   TOGETHER_THREADS, 0, stream, args);
    }
    return cudaGetLastError();
}

/* `count` rows from `first` on. */
template <class T>
static CachedArgs<T> cached_args(const lc_attention_cached_args &args, int64_t first, int64_t count,
                                 float *scratch)
{
    const lc_key_parts parts = lc_cached_key_parts(args.slot_rows);
    const int64_t part_count = count * args.heads * parts.count;
    return {static_cast<const T *>(args.q.data) + first * args.q.ld,
            static_cast<const T *>(args.k_cache.data),
            static_cast<const T *>(args.v_cache.data),
            static_cast<T *>(args.out.data) + first * args.out.ld,
            args.q.ld,
            args.k_cache.ld,
            args.v_cache.ld,
            args.out.ld,
            args.slots + first,
            args.positions + first,
            args.slot_rows,
            (int)args.kv_heads,
            (int)(args.heads / args.kv_heads),
            (int)args.head_dim,
            args.window > 0 && args.window < NO_WINDOW ? (int)args.window : NO_WINDOW,
            args.scale * LOG2_E,
            parts,
            parts.count > 1 ? scratch + part_count * 2 : NULL,
            scratch};
}

template <class T>
static cudaError_t launch_cached(const lc_attention_cached_args &args, float *scratch,
                                 cudaStream_t stream)
{
    if (args.head_dim % Pack<T>::COUNT != 0) {
        return cudaErrorInvalidValue;
    }
    const int64_t rows = args.q.rows,
                  at_once = lc_cuda_cached_rows(rows, args.heads, args.head_dim, args.slot_rows);
    cudaError_t error = cudaSuccess;
    for (int64_t first = 0; first < rows && error == cudaSuccess; first += at_once) {
        const int64_t count = rows - first < at_once ? rows - first : at_once;
        const CachedArgs<T> cached = cached_args<T>(args, first, count, scratch);
        error = CachedWidths::pick(args.head_dim, [&](auto dim) {
            return launch<T, decltype(dim)::value>(cached, count, stream);
        });
    }
    return error;
}

template <class T, int DIM> static cudaError_t prepare()
{
    return GPU_ALLOW_SHARED((attention_cached<T, DIM>), (CachedTile<T, DIM>::BYTES));
}

template <class T> static cudaError_t prepare_all()
{
    return CachedWidths::each([](auto dim) { return prepare<T, decltype(dim)::value>(); });
}

} // namespace

cudaError_t attention_cached_prepare()
{
    const cudaError_t error = prepare_all<bf16>();
    return error != cudaSuccess ? error : prepare_all<float>();
}

cudaError_t lc_cuda_attention_cached(const lc_attention_cached_args *args, void *scratch,
                                     cudaStream_t stream)
{
    if (args->q.rows == 0) {
        return cudaSuccess;
    }
    if (args->kv_heads <= 0 || args->heads % args->kv_heads != 0 || args->head_dim <= 0 ||
        args->head_dim > 256 || args->scale <= 0.0f || args->q.rows > INT32_MAX / args->heads) {
        return cudaErrorInvalidValue;
    }
    switch (args->q.dtype) {
    case LC_F32:
        return launch_cached<float>(*args, static_cast<float *>(scratch), stream);
    case LC_BF16:
        return launch_cached<bf16>(*args, static_cast<float *>(scratch), stream);
    default:
        return cudaErrorInvalidValue;
    }
}
