/* What the LoRA kernels share: windows and row ranges, tiles in shared memory, operands of the
 * tensor cores, and dropout on them. Shape letters as in lorac/ops.h.
 *
 * Two kinds of kernels: row passes (lora_rows.cuh) finish S of a few rows over all columns; column
 * passes (lora_columns.cuh) hold a group of columns and a range of rows, and leave partial sums
 * that lc_cuda_lora_sum adds up in a fixed order. How many there are depends on the shape alone:
 * the same bits come out on every device. */
#pragma once

#include "elements.cuh"
#include "gpu_ptx.h"
#include "kernels.h"
#include "scratch.h"

namespace
{
constexpr int TILE = LC_LORA_TILE;
constexpr int MAX_BLOCK_RANK = LC_LORA_BLOCK_RANK;

} // namespace

/* A matrix as kernels see it. */
struct Window {
    bf16 *data;
    int64_t ld;
};

namespace
{
static inline Window window_of(const lc_mat &mat)
{
    return {static_cast<bf16 *>(mat.data), mat.ld};
}

/* The window that starts at (row, column), or none of none. */
__device__ __forceinline__ Window window_at(Window window, int row, int column)
{
    return {window.data ? window.data + row * window.ld + column : nullptr, window.ld};
}

static inline int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t smallest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Shared memory that a block of the current device can have. */
static inline cudaError_t shared_limit(int *bytes)
{
    int device = 0;
    const cudaError_t error = cudaGetDevice(&device);
    return error != cudaSuccess
               ? error
               : cudaDeviceGetAttribute(bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
}

/* A loop over `steps` whose operands are copied STAGES - 1 steps ahead: start(i, stage) queues the
 * copies of step i, use(i, stage) finds them there. Stages lie STAGE elements apart. By the whole
 * block. */
template <int STAGES, int STAGE, class Start, class Use>
__device__ __forceinline__ void run_pipeline(bf16 *stages, int steps, Start start, Use use)
{
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < steps) {
            start(i, stages + i * STAGE);
        }
        ptx_cp_commit();
    }
    for (int i = 0; i < steps; i++) {
        ptx_cp_wait<STAGES - 2>();
        __syncthreads(); /* the stage to be filled next has been used by all */
        const int next = i + STAGES - 1;
        if (next < steps) {
            start(next, stages + next % STAGES * STAGE);
        }
        ptx_cp_commit();
        use(i, stages + i % STAGES * STAGE);
    }
}

/* ---- partial sums (lora_sum.cu) ---- */

} // namespace

/* total[i] = sum over k < count, in this order, of partials[k * elements + i]; then either
 * bf16_to[i] = total[i], in rows of `columns` elements at distance ld, or
 * f32_to[i] += scale * column_weight[i % columns] * total[i], dense. */
struct LoraSum {
    const float *partials;
    int64_t elements; /* a multiple of 4 */
    int count;
    int columns;                /* a multiple of 4 */
    Window bf16_to;             /* .data NULL: f32_to */
    float *f32_to;              /* 16-byte aligned */
    const float *column_weight; /* NULL: all 1 */
    float scale;
    int blocks; /* of the launch; lc_cuda_lora_sum fills it in */
};

struct LoraSums {
    int count;
    LoraSum sum[2 * LC_MAX_LORA_PARTS];
};

cudaError_t lc_cuda_lora_sum(LoraSums sums, cudaStream_t stream);

/* Parts of lc_cuda_lora_prepare, one a file. */
cudaError_t lc_cuda_lora_forward_prepare(void);
cudaError_t lc_cuda_lora_dy_prepare(void);
cudaError_t lc_cuda_swiglu_lora_prepare(void);
cudaError_t lc_cuda_swiglu_backward_lora_prepare(void);
cudaError_t lc_cuda_norm_backward_lora_prepare(void);

namespace
{
/* The fused passes make y = gate sigmoid(gate) up from this one, forward and backward. */
__device__ __forceinline__ float fast_sigmoid(float value)
{
    return __fdividef(1.0f, 1.0f + __expf(-value));
}

/* ---- tiles in shared memory ---- */

/* Row pitch in elements: an odd number of 16 bytes, so that ldmatrix meets no bank conflict. */
__host__ __device__ constexpr int pitch_of(int columns)
{
    return columns + 8;
}

/* Starts the copy of a ROWS x COLUMNS tile to shared rows at distance `pitch`. What is not in the
 * first `rows` x `columns` of it becomes zero; `from` is a valid address even if nothing is. */
template <int ROWS, int COLUMNS, int THREADS>
__device__ __forceinline__ void copy_tile(bf16 *to, int pitch, const bf16 *from, int64_t ld,
                                          int rows, int columns)
{
    constexpr int PACKS = COLUMNS / 8;
#pragma unroll
    for (int first = 0; first < ROWS * PACKS; first += THREADS) {
        const int i = first + (int)threadIdx.x;
        if (ROWS * PACKS % THREADS == 0 || i < ROWS * PACKS) {
            const int row = i / PACKS, column = i % PACKS * 8;
            const bool is_inside = row < rows && column < columns;
            ptx_cp_async16(to + row * pitch + column, is_inside ? from + row * ld + column : from,
                           is_inside ? 16 : 0);
        }
    }
}

/* ---- operands: all warp-wide, 16 x 16 elements at `tile` ---- */

__device__ __forceinline__ int lane_of()
{
    return (int)threadIdx.x % WARP;
}

__device__ __forceinline__ int warp_of()
{
    return (int)threadIdx.x / WARP;
}

/* Operand a (16 rows x 16 deep) of rows that lie along the depth. */
__device__ __forceinline__ void load_a(uint32_t (&a)[4], const bf16 *tile, int pitch)
{
    const int lane = lane_of();
    ptx_ldmatrix_x4(a, tile + lane % 16 * pitch + lane / 16 * 8);
}

/* Operand a of the transposed tile: its columns are the rows of the product. */
__device__ __forceinline__ void load_a_transposed(uint32_t (&a)[4], const bf16 *tile, int pitch)
{
    const int lane = lane_of();
    ptx_ldmatrix_x4_trans(a, tile + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8);
}

/* Two operands b (16 deep x 8 columns, twice) of a tile whose rows are the product's columns. */
__device__ __forceinline__ void load_b(uint32_t (&b)[4], const bf16 *tile, int pitch)
{
    const int lane = lane_of();
    ptx_ldmatrix_x4(b, tile + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8);
}

/* Two operands b of a tile whose columns are the product's columns. */
__device__ __forceinline__ void load_b_transposed(uint32_t (&b)[4], const bf16 *tile, int pitch)
{
    const int lane = lane_of();
    ptx_ldmatrix_x4_trans(b, tile + lane % 16 * pitch + lane / 16 * 8);
}

/* 16 x 16 sums: `left` columns 0..7, `right` 8..15. */
__device__ __forceinline__ void multiply_add(float (&left)[4], float (&right)[4],
                                             const uint32_t (&a)[4], const uint32_t (&b)[4])
{
    const uint32_t b_left[2] = {b[0], b[1]}, b_right[2] = {b[2], b[3]};
    ptx_mma_m16n8k16_bf16(left, a, b_left);
    ptx_mma_m16n8k16_bf16(right, a, b_right);
}

/* The lane's place in a 16 x 8 product d: rows `row` and row + 8, columns `column` and the next. */
struct Place {
    int row, column;
};

__device__ __forceinline__ Place place_of_lane()
{
    return {lane_of() / 4, lane_of() % 4 * 2};
}

/* Writes a product of R / 8 times 16 x 8 to fp32 rows in shared memory. */
template <int R>
__device__ __forceinline__ void store_product(float *to, int pitch,
                                              const float (&product)[R / 8][4])
{
    const Place place = place_of_lane();
    float *at = to + place.row * pitch + place.column;
#pragma unroll
    for (int n = 0; n < R / 8; n++) {
        *reinterpret_cast<float2 *>(at + n * 8) = make_float2(product[n][0], product[n][1]);
        *reinterpret_cast<float2 *>(at + n * 8 + 8 * pitch) =
            make_float2(product[n][2], product[n][3]);
    }
}

/* ---- dropout on operands ----
 * Registers are cleared where the mask drops; 1/(1-p) is multiplied into the sums. A warp draws
 * each word of Philox once: lanes pass the 4 bits of a draw on to those that hold the elements. */

static inline float keep_scale(const lc_dropout &dropout)
{
    return dropout.p > 0.0f ? (float)(1.0 / (1.0 - (double)dropout.p)) : 1.0f;
}

struct RowIdentity {
    uint32_t example, position;
};

__device__ __forceinline__ RowIdentity row_identity(const lc_dropout &dropout, int row)
{
    return {(uint32_t)(uint64_t)dropout.example[row], (uint32_t)dropout.position[row]};
}

/* The masks of TILES neighbouring tiles of 16 slots. Tiles of one module share a mask. */
template <int TILES> struct TileMasks {
    uint2 key;
    uint32_t threshold;
    uint32_t site[TILES];

    __device__ __forceinline__ void set(const lc_dropout &dropout, const lc_lora_parts &parts,
                                        int first_slot)
    {
        const DropoutMask mask(dropout, 0);
        key = mask.key;
        threshold = mask.threshold;
#pragma unroll
        for (int n = 0; n < TILES; n++) {
            int module = parts.part[0].module;
#pragma unroll
            for (int i = 1; i < LC_MAX_LORA_PARTS; i++) {
                const bool is_here = i < parts.count && first_slot + n * TILE >= parts.part[i].slot;
                module = is_here ? parts.part[i].module : module;
            }
            site[n] = mask.site + (uint32_t)module;
        }
    }

    __device__ __forceinline__ bool is_new(int tile) const
    {
        return tile == 0 || site[tile] != site[tile - 1];
    }

    /* Bit i is set where feature 4*quad + i of the row is kept. */
    __device__ __forceinline__ uint32_t kept(int tile, RowIdentity row, int quad) const
    {
        const uint4 words =
            philox(key, make_uint4(row.example, row.position, site[tile], (uint32_t)quad));
        return (uint32_t)(words.x >= threshold) | (uint32_t)(words.y >= threshold) << 1 |
               (uint32_t)(words.z >= threshold) << 2 | (uint32_t)(words.w >= threshold) << 3;
    }
};

/* All bits of a register's lower, upper element where `low`, `high` is not 0. */
__device__ __forceinline__ uint32_t element_mask(uint32_t low, uint32_t high)
{
    return (low ? 0x0000ffffu : 0u) | (high ? 0xffff0000u : 0u);
}

/* The row of a 16-row tile whose draws this lane makes for mask_a. */
__device__ __forceinline__ int row_drawn_for_a()
{
    return place_of_lane().row + lane_of() % 2 * 8;
}

/* to = operand a with the features from `feature` on masked. A lane draws for the one of its two
 * rows that row_drawn_for_a says, two quads of features; its neighbour draws for the other. */
template <int TILES>
__device__ __forceinline__ void mask_a(uint32_t (&to)[4], const uint32_t (&from)[4],
                                       const TileMasks<TILES> &masks, int tile, RowIdentity row,
                                       int feature)
{
    const int lane = lane_of(), quad = feature / 4 + lane % 4 / 2;
    const uint32_t mine = masks.kept(tile, row, quad) | masks.kept(tile, row, quad + 2) << 4;
    const uint32_t others = __shfl_xor_sync(ALL_LANES, mine, 1);
    const uint32_t upper = lane % 2 ? others >> 2 : mine, lower = lane % 2 ? mine >> 2 : others;
    to[0] = from[0] & element_mask(upper & 1, upper & 2);
    to[1] = from[1] & element_mask(lower & 1, lower & 2);
    to[2] = from[2] & element_mask(upper & 16, upper & 32);
    to[3] = from[3] & element_mask(lower & 16, lower & 32);
}

/* The row of a 16-row tile whose draws this lane makes for mask_b. */
__device__ __forceinline__ int row_drawn_for_b()
{
    return lane_of() / 2;
}

/* to = the two operands b of load_b_transposed (rows deep, columns features from `feature` on),
 * masked. For each half a lane makes the draw of one row and quad; four ballots hand the bits out:
 * of word i, bit 2*row + quad. */
template <int TILES>
__device__ __forceinline__ void mask_b(uint32_t (&to)[4], const uint32_t (&from)[4],
                                       const TileMasks<TILES> &masks, int tile, RowIdentity row,
                                       int feature)
{
    const int lane = lane_of(), word = lane / 4 % 4;
    const int first_bit = place_of_lane().column * 2 + lane / 16;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const uint32_t mine = masks.kept(tile, row, feature / 4 + half * 2 + lane % 2);
        uint32_t kept = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t all = __ballot_sync(ALL_LANES, (int)(mine >> i & 1));
            kept = word == i ? all : kept;
        }
        kept >>= first_bit;
        to[half * 2] = from[half * 2] & element_mask(kept & 1, kept & 4);
        to[half * 2 + 1] = from[half * 2 + 1] & element_mask(kept & 1 << 16, kept & 4 << 16);
    }
}

/* Columns t, t + 1 of two rows become four neighbouring columns of one: of row_drawn_for_a, from
 * lane % 4 / 2 * 4 on. Warp-wide. */
__device__ __forceinline__ float4 quad_of_product(const float (&product)[4])
{
    const bool is_odd = lane_of() % 2;
    const float x = __shfl_xor_sync(ALL_LANES, is_odd ? product[0] : product[2], 1);
    const float y = __shfl_xor_sync(ALL_LANES, is_odd ? product[1] : product[3], 1);
    return is_odd ? make_float4(x, y, product[2], product[3])
                  : make_float4(product[0], product[1], x, y);
}

/* dx[0..3] += scale * total, rounded once; what it is now */
__device__ __forceinline__ uint2 add_quad(bf16 *dx, float4 total, float scale)
{
    const uint2 bits = *reinterpret_cast<const uint2 *>(dx);
    const float x = __uint_as_float(bits.x << 16) + scale * total.x;
    const float y = __uint_as_float(bits.x & 0xffff0000u) + scale * total.y;
    const float z = __uint_as_float(bits.y << 16) + scale * total.z;
    const float w = __uint_as_float(bits.y & 0xffff0000u) + scale * total.w;
    const uint2 sum = make_uint2(pack_bf16(x, y), pack_bf16(z, w));
    *reinterpret_cast<uint2 *>(dx) = sum;
    return sum;
}

} // namespace
