/* An RMS norm's backward pass that first completes the gradient it reads by what dropout leaves out
 * of the bordered product: of q, k and v, or of gate and up. */
#include "lora_dropped.cuh"
#include "norm_rows.cuh"

namespace
{
constexpr int WARPS = 8;
constexpr int THREADS = WARPS * WARP;
constexpr int STAGES = 4;

struct NormArgs {
    Dropped dropped;
    Window dy;
    lc_rmsnorm_backward_args norm;
};

/* Shared memory: ROWS whole rows of dy, all slots of ds of these rows, and stages of 16 slots of a,
 * as many columns as the warps take at once. */
template <int ROWS_> struct NormShape {
    static constexpr int ROWS = ROWS_, ROW_TILES = ROWS / TILE;
    static constexpr int COLUMNS = WARPS / ROW_TILES * DROPPED_STRIP;
    static constexpr int A_PITCH = pitch_of(COLUMNS);
    static constexpr int STAGE = TILE * A_PITCH;

    __host__ __device__ static constexpr int dy_pitch(int in)
    {
        return pitch_of((in + COLUMNS - 1) / COLUMNS * COLUMNS);
    }

    __host__ __device__ static constexpr int shared(int in, int rank)
    {
        return (ROWS * (dy_pitch(in) + pitch_of(rank)) + STAGES * STAGE) * (int)sizeof(bf16);
    }
};

/* Starts the copy of all slots of the block's rows. */
template <class Shape>
__device__ __forceinline__ void start_slots(const Dropped &args, bf16 *ds, int first_row)
{
    const int packs = args.rank / 8;
    for (int i = (int)threadIdx.x; i < Shape::ROWS * packs; i += THREADS) {
        const int row = i / packs, slot = i % packs * 8;
        const bool is_inside = first_row + row < args.rows;
        ptx_cp_async16(ds + row * pitch_of(args.rank) + slot,
                       args.ds.data + (is_inside ? (first_row + row) * args.ds.ld + slot : 0),
                       is_inside ? 16 : 0);
    }
}

/* The block's rows of dy, at `dy` in shared memory, become dy + drop(ds a) / (1 - p), rounded. */
template <class Shape>
__device__ __forceinline__ void complete_rows(const NormArgs &args, bf16 *dy, int first_row)
{
    constexpr int COLUMNS = Shape::COLUMNS;
    const Dropped &dropped = args.dropped;
    const int pitch = Shape::dy_pitch(dropped.in), ds_pitch = pitch_of(dropped.rank);
    bf16 *ds = dy + Shape::ROWS * pitch, *stages = ds + Shape::ROWS * ds_pitch;
    const int depth = dropped.rank / TILE; /* steps of COLUMNS columns */
    const int steps = (dropped.in + COLUMNS - 1) / COLUMNS * depth;
    const int warp_row = warp_of() % Shape::ROW_TILES * TILE,
              strip = warp_of() / Shape::ROW_TILES * DROPPED_STRIP;
    const int row = warp_row + row_drawn_for_a();
    const RowIdentity identity =
        row_identity(dropped.dropout, min(first_row + row, dropped.rows - 1));
    float product[DROPPED_STRIP / 8][4] = {};
    float4 total[DROPPED_STRIP / 8] = {};
    int part = 0;
    start_slots<Shape>(dropped, ds, first_row); /* arrives with the first step */
    const auto start = [&](int i, bf16 *stage) {
        const int slot = i % depth * TILE, column = i / depth * COLUMNS;
        copy_tile<TILE, COLUMNS, THREADS>(stage, Shape::A_PITCH,
                                          dropped.a.data + slot * dropped.a.ld + column,
                                          dropped.a.ld, TILE, dropped.in - column);
        if (slot == 0) {
            copy_tile<Shape::ROWS, COLUMNS, THREADS>(
                dy + column, pitch, args.dy.data + first_row * args.dy.ld + column, args.dy.ld,
                dropped.rows - first_row, dropped.in - column);
        }
    };
    run_pipeline<STAGES, Shape::STAGE>(stages, steps, start, [&](int i, bf16 *stage) {
        const int slot = i % depth * TILE;
        const int column = i / depth * COLUMNS + strip + lane_of() % 4 / 2 * 4;
        multiply_dropped(product, ds + warp_row * ds_pitch + slot, ds_pitch, stage + strip,
                         Shape::A_PITCH);
        if (slot + TILE == dropped.parts.part[part].slot + dropped.parts.part[part].width) {
            add_part(total, product, dropped, slot, identity, column);
            part++;
        }
        if (slot + TILE == dropped.rank) { /* these columns are complete */
#pragma unroll
            for (int j = 0; j < DROPPED_STRIP / 8; j++) {
                add_quad(dy + row * pitch + column + j * 8, total[j], dropped.scale);
                total[j] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            }
            part = 0;
        }
    });
}

/* With g = dy + 1/(1-p) * sum over parts p of keep_p[n, c] sum_r ds[n, r] a[r, c], rounded:
 *
 *   dx += rstd * (w*g - x * rstd^2 * mean(w*g*x))
 *
 * Shapes: dy, x, dx N x C, ds N x R', a R' x C, weight C floats, rstd N floats. Grid: N / ROWS.
 * Block: 256 threads; first two warps (ROWS 32) or one (16) for each 32 columns complete the rows
 * in shared memory, then teams of TEAM warps take a row each. Shared memory: 2 ROWS (C + R' + 16)
 * bytes and 17 KB (ROWS 32) or 33 KB; at C 4096 and R' 48 163 KB, at 2048 149 and 99 KB. Bytes:
 * dy, x, ds once, dx twice, a once a block. Deterministic: as lora_dropout_backward and then
 * rmsnorm_backward_kernel, whose bytes it gives; ROWS changes none. */
template <class Shape, int TEAM>
__global__ void __launch_bounds__(THREADS, 1) rmsnorm_backward_lora(const NormArgs args)
{
    constexpr int TEAMS = WARPS / TEAM;
    GPU_DYN_SHARED(bf16, dy);
    const int first_row = (int)blockIdx.x * Shape::ROWS, rows = args.dropped.rows - first_row;
    const int pitch = Shape::dy_pitch(args.dropped.in);
    complete_rows<Shape>(args, dy, first_row);
    __syncthreads();
    /* Where ds was: two places for sums, in turn, so that one barrier a row is enough. */
    float *sums = reinterpret_cast<float *>(dy + Shape::ROWS * pitch);
    for (int i = 0; i < Shape::ROWS / TEAMS; i++) {
        const int row = i * TEAMS + warp_of() / TEAM;
        backward_row<bf16, TEAM, BACKWARD_PACKS>(args.norm, first_row + row, dy + row * pitch,
                                                 row < rows, sums + i % 2 * WARPS);
    }
}

/* As many rows at once as the device has room for, since each block reads all of A: 32, 16, or 0
 * where it has none. */
static int rows_at_once(int in, int rank, int limit)
{
    if (backward_team(in / Pack<bf16>::COUNT) > WARPS) {
        return 0;
    }
    return NormShape<32>::shared(in, rank) <= limit   ? 32
           : NormShape<16>::shared(in, rank) <= limit ? 16
                                                      : 0;
}

template <int ROWS, int TEAM> static void launch(const NormArgs &args, cudaStream_t stream)
{
    typedef NormShape<ROWS> Shape;
    GPU_LAUNCH((rmsnorm_backward_lora<Shape, TEAM>),
               (unsigned)lc_ceil_div(args.dropped.rows, Shape::ROWS), THREADS,
               Shape::shared(args.dropped.in, args.dropped.rank), stream, args);
}

template <int ROWS> static void launch_teams(const NormArgs &args, cudaStream_t stream)
{
    switch (backward_team(args.dropped.in / Pack<bf16>::COUNT)) {
    case 1:
        return launch<ROWS, 1>(args, stream);
    case 4:
        return launch<ROWS, 4>(args, stream);
    default:
        return launch<ROWS, 8>(args, stream);
    }
}

} // namespace

bool lc_cuda_can_drop_norm(const lc_rmsnorm_backward_args *args)
{
    int limit = 0;
    return args->dy.dtype == LC_BF16 && shared_limit(&limit) == cudaSuccess &&
           rows_at_once((int)args->dy.cols, (int)args->dropped->ds.cols, limit) > 0;
}

cudaError_t lc_cuda_rmsnorm_backward_lora(const lc_rmsnorm_backward_args *args, cudaStream_t stream)
{
    if (args->dy.rows == 0) {
        return cudaSuccess;
    }
    int limit = 0;
    const cudaError_t error = shared_limit(&limit);
    if (error != cudaSuccess) {
        return error;
    }
    const NormArgs kernel_args = {dropped_of(args->dropped), window_of(args->dy), *args};
    if (rows_at_once(kernel_args.dropped.in, kernel_args.dropped.rank, limit) == 32) {
        launch_teams<32>(kernel_args, stream);
    } else {
        launch_teams<16>(kernel_args, stream);
    }
    return cudaGetLastError();
}

namespace
{
template <int ROWS> static cudaError_t prepare(int limit)
{
    typedef NormShape<ROWS> Shape;
    const cudaError_t errors[] = {GPU_ALLOW_SHARED((rmsnorm_backward_lora<Shape, 1>), limit),
                                  GPU_ALLOW_SHARED((rmsnorm_backward_lora<Shape, 4>), limit),
                                  GPU_ALLOW_SHARED((rmsnorm_backward_lora<Shape, 8>), limit)};
    for (cudaError_t error : errors) {
        if (error != cudaSuccess) {
            return error;
        }
    }
    return cudaSuccess;
}

} // namespace

cudaError_t lc_cuda_norm_backward_lora_prepare(void)
{
    int limit = 0;
    cudaError_t error = shared_limit(&limit);
    error = error != cudaSuccess ? error : prepare<32>(limit);
    return error != cudaSuccess ? error : prepare<16>(limit);
}
