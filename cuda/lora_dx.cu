/* A group's input side: dA in one pass over X. */
#include "lora_columns.cuh"

namespace
{
constexpr int THREADS = 256;
constexpr int WARPS = THREADS / WARP;
constexpr int COLUMNS = LC_LORA_DX_COLUMNS; /* of a group */
constexpr int STRIP = COLUMNS / WARPS;
constexpr int PITCH = pitch_of(COLUMNS);
constexpr int STAGES = 4;

struct DxArgs {
    Window x, ds;
    const float *rstd;
    float *da; /* ranges x rank x in */
    int rows, rows_of_range, in, rank;
    lc_lora_parts parts;
    lc_dropout dropout;
};

/* Shared memory: stages of 16 rows of X, dS and 1/rms. */
template <int R> struct DxShape {
    static constexpr int RSTD = TILE * (PITCH + pitch_of(R)); /* where it stands in a stage */
    static constexpr int STAGE = RSTD + TILE * 2;             /* elements of bf16 */
    static constexpr int SHARED = STAGES * STAGE * (int)sizeof(bf16);
};

template <int R, bool HAS_NORM>
__device__ __forceinline__ void start_stage(const DxArgs &args, bf16 *stage, int row, int rows,
                                            int column, int slot)
{
    copy_tile<TILE, COLUMNS, THREADS>(stage, PITCH, args.x.data + row * args.x.ld + column,
                                      args.x.ld, rows, args.in - column);
    copy_tile<TILE, R, THREADS>(stage + TILE * PITCH, pitch_of(R),
                                args.ds.data + row * args.ds.ld + slot, args.ds.ld, rows,
                                args.rank - slot);
    const int first = (int)threadIdx.x * 4;
    if (HAS_NORM && first < TILE) {
        const int count = max(0, min(4, rows - first));
        ptx_cp_async16(stage + DxShape<R>::RSTD + first * 2,
                       args.rstd + row + (count > 0 ? first : 0), count * (int)sizeof(float));
    }
}

/* Both elements of a register times a factor of their own, rounded once. */
__device__ __forceinline__ uint32_t scale_pair(uint32_t pair, float2 factor)
{
    return pack_bf16(__uint_as_float(pair << 16) * factor.x,
                     __uint_as_float(pair & 0xffff0000u) * factor.y);
}

/* Operands a of dS^T for 16 rows, with a norm of dS * rstd. */
template <int R, bool HAS_NORM>
__device__ __forceinline__ void load_slots(uint32_t (&slots)[R / TILE][4], const bf16 *stage)
{
    const float *rstd =
        reinterpret_cast<const float *>(stage + DxShape<R>::RSTD) + place_of_lane().column;
    float2 upper = {}, lower = {}; /* of this lane's rows of dS: columns of the operand */
    if (HAS_NORM) {
        upper = make_float2(rstd[0], rstd[1]);
        lower = make_float2(rstd[8], rstd[9]);
    }
#pragma unroll
    for (int n = 0; n < R / TILE; n++) {
        load_a_transposed(slots[n], stage + TILE * PITCH + n * TILE, pitch_of(R));
        if (HAS_NORM) {
            slots[n][0] = scale_pair(slots[n][0], upper);
            slots[n][1] = scale_pair(slots[n][1], upper);
            slots[n][2] = scale_pair(slots[n][2], lower);
            slots[n][3] = scale_pair(slots[n][3], lower);
        }
    }
}

/* da[r, c] = sum_n (ds[n, r] rstd[n]) keep_r[n, c] x[n, c], rstd 1 without a norm; the rest,
 * norm_weight[c] and 1/(1-p), is multiplied in when the partial sums are added up.
 *
 * Shapes: x N x in, ds N x R', da R' x in. Grid: (in / 256, row ranges, R' / R). Block: 256
 * threads. Shared memory: 38 KB at R = 16, 42 at 64. Bytes: X once (for every 64 slots), dS once a
 * group; partial sums ranges * in * R floats. dS * rstd is rounded to bf16. Deterministic: each
 * partial sum belongs to one block, which adds in the order of rows. */
template <int R, bool HAS_NORM, bool HAS_DROPOUT>
__global__ void __launch_bounds__(THREADS, R == 64 && HAS_DROPOUT ? 1 : 2)
    lora_dx(const DxArgs args)
{
    typedef DxShape<R> Shape;
    GPU_DYN_SHARED(bf16, stages);
    const int column = (int)blockIdx.x * COLUMNS, strip = warp_of() * STRIP;
    const int slot = (int)blockIdx.z * R;
    const int first_row = (int)blockIdx.y * args.rows_of_range;
    const int rows = min(args.rows - first_row, args.rows_of_range);
    const int steps = (rows + TILE - 1) / TILE;
    TileMasks<R / TILE> masks;
    if (HAS_DROPOUT) {
        masks.set(args.dropout, args.parts, slot);
    }
    float da[R / TILE][STRIP / 8][4] = {};
    const auto start = [&](int i, bf16 *stage) {
        start_stage<R, HAS_NORM>(args, stage, first_row + i * TILE, rows - i * TILE, column, slot);
    };
    run_pipeline<STAGES, Shape::STAGE>(stages, steps, start, [&](int i, const bf16 *stage) {
        RowIdentity row = {};
        if (HAS_DROPOUT) {
            row =
                row_identity(args.dropout, first_row + min(i * TILE + row_drawn_for_b(), rows - 1));
        }
        uint32_t slots[R / TILE][4];
        load_slots<R, HAS_NORM>(slots, stage);
#pragma unroll
        for (int k = 0; k < STRIP / TILE; k++) {
            uint32_t x[4], masked[4];
            load_b_transposed(x, stage + strip + k * TILE, PITCH);
#pragma unroll
            for (int n = 0; n < R / TILE; n++) {
                if (HAS_DROPOUT && masks.is_new(n)) {
                    mask_b(masked, x, masks, n, row, column + strip + k * TILE);
                }
                multiply_add(da[n][k * 2], da[n][k * 2 + 1], slots[n], HAS_DROPOUT ? masked : x);
            }
        }
    });
    float *to = args.da + ((int64_t)blockIdx.y * args.rank + slot) * args.in + column + strip;
    store_slot_rows<R, STRIP>(to, args.in, args.rank - slot, args.in - column - strip, da);
}

/* ---- host ---- */

static lc_row_ranges ranges_of(int64_t rows, int64_t in)
{
    return lc_lora_row_ranges(rows, lc_ceil_div(in, COLUMNS));
}

template <int R, bool HAS_NORM>
static void launch_instance(const DxArgs &args, dim3 grid, cudaStream_t stream)
{
    constexpr int SHARED = DxShape<R>::SHARED;
    static_assert(SHARED <= 48 * 1024, "needs no permission");
    if (args.dropout.p > 0.0f) {
        GPU_LAUNCH((lora_dx<R, HAS_NORM, true>), grid, THREADS, SHARED, stream, args);
    } else {
        GPU_LAUNCH((lora_dx<R, HAS_NORM, false>), grid, THREADS, SHARED, stream, args);
    }
}

template <int R> static void launch(const DxArgs &args, int ranges, cudaStream_t stream)
{
    const dim3 grid((unsigned)lc_ceil_div(args.in, COLUMNS), (unsigned)ranges,
                    (unsigned)lc_ceil_div(args.rank, R));
    if (args.rstd) {
        launch_instance<R, true>(args, grid, stream);
    } else {
        launch_instance<R, false>(args, grid, stream);
    }
}

} // namespace

cudaError_t lc_cuda_lora_dx(const lc_lora_dx_args *args, void *scratch, cudaStream_t stream)
{
    const int64_t rows = args->x.rows, in = args->x.cols, rank = args->ds.cols;
    if (rows == 0 || rank == 0) {
        return cudaSuccess;
    }
    const lc_row_ranges ranges = ranges_of(rows, in);
    float *partials = static_cast<float *>(scratch);
    const DxArgs kernel_args = {window_of(args->x), window_of(args->ds), args->rstd, partials,
                                (int)rows,          ranges.rows,         (int)in,    (int)rank,
                                args->parts,        args->dropout};
    switch (lc_lora_block_rank(rank)) {
    case 16:
        launch<16>(kernel_args, ranges.count, stream);
        break;
    case 32:
        launch<32>(kernel_args, ranges.count, stream);
        break;
    case 48:
        launch<48>(kernel_args, ranges.count, stream);
        break;
    default:
        launch<64>(kernel_args, ranges.count, stream);
        break;
    }
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess) {
        return error;
    }
    LoraSums sums = {};
    sums.count = 1;
    LoraSum *da = &sums.sum[0];
    da->partials = partials;
    da->elements = rank * in;
    da->count = ranges.count;
    da->columns = (int)in;
    da->f32_to = args->da;
    da->column_weight = args->rstd ? args->norm_weight : nullptr;
    da->scale = keep_scale(args->dropout);
    return lc_cuda_lora_sum(sums, stream);
}
