/* With dropout, the share of dX that the bordered product cannot give; where dX is the gradient of
 * attention's output, with the row sums that attention's backward pass begins with. */
#include "lora_dropped.cuh"

namespace
{
constexpr int WARPS = 8;
constexpr int THREADS = WARPS * WARP;
constexpr int ROWS = 64;    /* of a block: 4 warps of 16 */
constexpr int COLUMNS = 64; /* 2 warps of a strip */
constexpr int STRIP = DROPPED_STRIP;
constexpr int SLOTS = 64; /* of a step */
constexpr int DS_PITCH = pitch_of(SLOTS);
constexpr int A_PITCH = pitch_of(COLUMNS);
constexpr int SHARED = (ROWS * DS_PITCH + SLOTS * A_PITCH) * (int)sizeof(bf16);

struct DropoutArgs {
    Dropped dropped;
    Window dx;
    int tiles;    /* of COLUMNS columns, that a block takes one after the other */
    Window out;   /* with delta: N x in */
    float *delta; /* N x blocks of columns */
};

/* total = sum over parts of drop(ds a) for a warp's 16 rows and its strip of the block's columns
 * from first_column on. By the whole block. */
__device__ __forceinline__ void dropped_products(float4 (&total)[STRIP / 8], const Dropped &args,
                                                 bf16 *ds, int first_row, int first_column,
                                                 RowIdentity identity, int column)
{
    bf16 *a = ds + ROWS * DS_PITCH;
    const int warp_row = warp_of() % 4 * TILE, strip = warp_of() / 4 * STRIP;
    float product[STRIP / 8][4] = {};
    int part = 0;
    for (int slot = 0; slot < args.rank; slot += TILE) {
        const int offset = slot % SLOTS;
        if (offset == 0) {
            __syncthreads();
            copy_tile<ROWS, SLOTS, THREADS>(ds, DS_PITCH,
                                            args.ds.data + first_row * args.ds.ld + slot,
                                            args.ds.ld, args.rows - first_row, args.rank - slot);
            copy_tile<SLOTS, COLUMNS, THREADS>(a, A_PITCH,
                                               args.a.data + slot * args.a.ld + first_column,
                                               args.a.ld, args.rank - slot, args.in - first_column);
            ptx_cp_commit();
            ptx_cp_wait<0>();
            __syncthreads();
        }
        multiply_dropped(product, ds + warp_row * DS_PITCH + offset, DS_PITCH,
                         a + offset * A_PITCH + strip, A_PITCH);
        if (slot + TILE == args.parts.part[part].slot + args.parts.part[part].width) {
            add_part(total, product, args, slot, identity, column);
            part++;
        }
    }
}

/* x[0..3] . y[0..3] */
__device__ __forceinline__ float dot_quad(uint2 x, uint2 y)
{
    return __uint_as_float(x.x << 16) * __uint_as_float(y.x << 16) +
           __uint_as_float(x.x & 0xffff0000u) * __uint_as_float(y.x & 0xffff0000u) +
           __uint_as_float(x.y << 16) * __uint_as_float(y.y << 16) +
           __uint_as_float(x.y & 0xffff0000u) * __uint_as_float(y.y & 0xffff0000u);
}

/* delta[n, block] = the lanes' and both strips' shares of a row, in this order. By the whole block;
 * `shared` has 2 * ROWS floats. */
__device__ __forceinline__ void store_delta(const DropoutArgs &args, float *shared, int first_row,
                                            float share)
{
    share += __shfl_xor_sync(ALL_LANES, share, 2);
    __syncthreads();
    if (lane_of() % 4 < 2) {
        shared[warp_of() / 4 * ROWS + warp_of() % 4 * TILE + row_drawn_for_a()] = share;
    }
    __syncthreads();
    const int row = (int)threadIdx.x;
    if (row < ROWS && first_row + row < args.dropped.rows) {
        args.delta[(int64_t)(first_row + row) * gridDim.x + blockIdx.x] =
            shared[row] + shared[ROWS + row];
    }
}

/* dx[n, c] += 1/(1-p) * sum over parts p of keep_p[n, c] sum_r ds[n, r] a[r, c]
 *
 * for the slots r of a part; with HAS_DELTA also delta[n, b] = sum_c dx[n, c] out[n, c] over the
 * columns of block b: a head of attention. Shapes: ds N x R', a R' x in, dx, out N x in. Grid:
 * (in / (64 * tiles), N / 64). Block: 256 threads. Shared memory: 18 KB, 64 slots of ds and a.
 * Bytes: dx is read and written once, out read, ds read in every column block, a in every row
 * block. Deterministic: each element has one thread, which adds slots and parts in their order;
 * delta is added up by columns, lanes and warps. */
template <bool HAS_DELTA>
__global__ void __launch_bounds__(THREADS, 2) lora_dropout_backward(const DropoutArgs args)
{
    GPU_DYN_SHARED(bf16, shared);
    const Dropped &dropped = args.dropped;
    const int first_row = (int)blockIdx.y * ROWS;
    const int row = first_row + warp_of() % 4 * TILE + row_drawn_for_a();
    const RowIdentity identity = row_identity(dropped.dropout, min(row, dropped.rows - 1));
    float share = 0.0f;
    for (int tile = 0; tile < args.tiles; tile++) {
        const int first_column = ((int)blockIdx.x * args.tiles + tile) * COLUMNS;
        const int column = first_column + warp_of() / 4 * STRIP + lane_of() % 4 / 2 * 4;
        float4 total[STRIP / 8] = {};
        dropped_products(total, dropped, shared, first_row, first_column, identity, column);
#pragma unroll
        for (int j = 0; j < STRIP / 8; j++) {
            if (row < dropped.rows && column + j * 8 < dropped.in) {
                const int64_t at = column + j * 8;
                const uint2 dx =
                    add_quad(args.dx.data + row * args.dx.ld + at, total[j], dropped.scale);
                if (HAS_DELTA) {
                    share += dot_quad(dx, *reinterpret_cast<const uint2 *>(args.out.data +
                                                                           row * args.out.ld + at));
                }
            }
        }
    }
    if (HAS_DELTA) {
        store_delta(args, reinterpret_cast<float *>(shared), first_row, share);
    }
}

static DropoutArgs kernel_args_of(const lc_lora_dropout_backward_args *args)
{
    DropoutArgs to = {};
    to.dropped = dropped_of(args);
    to.dx = window_of(args->dx);
    to.tiles = 1;
    return to;
}

} // namespace

cudaError_t lc_cuda_lora_dropout_backward(const lc_lora_dropout_backward_args *args,
                                          cudaStream_t stream)
{
    if (args->dx.rows == 0 || args->ds.cols == 0) {
        return cudaSuccess;
    }
    const dim3 grid((unsigned)lc_ceil_div(args->dx.cols, COLUMNS),
                    (unsigned)lc_ceil_div(args->dx.rows, ROWS));
    GPU_LAUNCH((lora_dropout_backward<false>), grid, THREADS, SHARED, stream, kernel_args_of(args));
    return cudaGetLastError();
}

bool lc_cuda_can_drop_delta(const lc_attention_backward_args *args)
{
    return args->dout.dtype == LC_BF16 && args->shape.head_dim % COLUMNS == 0;
}

cudaError_t lc_cuda_drop_delta(const lc_attention_backward_args *args, cudaStream_t stream)
{
    DropoutArgs kernel_args = kernel_args_of(args->dropped);
    kernel_args.tiles = args->shape.head_dim / COLUMNS;
    kernel_args.out = window_of(args->out);
    kernel_args.delta = args->delta;
    const dim3 grid((unsigned)args->shape.heads, (unsigned)lc_ceil_div(args->dout.rows, ROWS));
    GPU_LAUNCH((lora_dropout_backward<true>), grid, THREADS, SHARED, stream, kernel_args);
    return cudaGetLastError();
}
