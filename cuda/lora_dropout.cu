/* With dropout, the share of dX that the bordered product cannot give. */
#include "lora.cuh"

namespace
{
constexpr int WARPS = 8;
constexpr int THREADS = WARPS * WARP;
constexpr int ROWS = 64;    /* of a block: 4 warps of 16 */
constexpr int COLUMNS = 64; /* 2 warps of 32 */
constexpr int STRIP = COLUMNS / 2;
constexpr int SLOTS = 64; /* of a step */
constexpr int DS_PITCH = pitch_of(SLOTS);
constexpr int A_PITCH = pitch_of(COLUMNS);
constexpr int SHARED = (ROWS * DS_PITCH + SLOTS * A_PITCH) * (int)sizeof(bf16);

struct DropoutArgs {
    Window ds, a, dx;
    int rows, in, rank;
    lc_lora_parts parts;
    lc_dropout dropout;
    float scale; /* 1/(1-p) */
};

/* total += drop(product), and clears product: the part that has this slot is complete. `column` is
 * the lane's first of the strip. */
__device__ __forceinline__ void add_part(float4 (&total)[STRIP / 8], float (&product)[STRIP / 8][4],
                                         const DropoutArgs &args, int slot, RowIdentity row,
                                         int column)
{
    TileMasks<1> masks;
    masks.set(args.dropout, args.parts, slot);
#pragma unroll
    for (int j = 0; j < STRIP / 8; j++) {
        const float4 quad = quad_of_product(product[j]);
        const uint32_t kept = masks.kept(0, row, (column + j * 8) / 4);
        total[j].x += kept & 1 ? quad.x : 0.0f;
        total[j].y += kept & 2 ? quad.y : 0.0f;
        total[j].z += kept & 4 ? quad.z : 0.0f;
        total[j].w += kept & 8 ? quad.w : 0.0f;
        product[j][0] = product[j][1] = product[j][2] = product[j][3] = 0.0f;
    }
}

/* dx[n, c] += 1/(1-p) * sum over parts p of keep_p[n, c] sum_r ds[n, r] a[r, c]
 *
 * for the slots r of a part. Shapes: ds N x R', a R' x in, dx N x in. Grid: (in / 64, N / 64).
 * Block: 256 threads. Shared memory: 18 KB, 64 slots of ds and a. Bytes: dx is read and written
 * once, ds read in every column block, a in every row block. Deterministic: each element has one
 * thread, which adds slots and parts in their order. */
__global__ void __launch_bounds__(THREADS, 2) lora_dropout_backward(const DropoutArgs args)
{
    GPU_DYN_SHARED(bf16, ds);
    bf16 *a = ds + ROWS * DS_PITCH;
    const int first_row = (int)blockIdx.y * ROWS, first_column = (int)blockIdx.x * COLUMNS;
    const int warp_row = warp_of() % 4 * TILE, strip = warp_of() / 4 * STRIP;
    const int row = first_row + warp_row + row_drawn_for_a();
    const int column = first_column + strip + lane_of() % 4 / 2 * 4;
    const RowIdentity identity = row_identity(args.dropout, min(row, args.rows - 1));
    float product[STRIP / 8][4] = {};
    float4 total[STRIP / 8] = {};
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
        uint32_t slots[4];
        load_a(slots, ds + warp_row * DS_PITCH + offset, DS_PITCH);
#pragma unroll
        for (int k = 0; k < STRIP / TILE; k++) {
            uint32_t columns[4];
            load_b_transposed(columns, a + offset * A_PITCH + strip + k * TILE, A_PITCH);
            multiply_add(product[k * 2], product[k * 2 + 1], slots, columns);
        }
        if (slot + TILE == args.parts.part[part].slot + args.parts.part[part].width) {
            add_part(total, product, args, slot, identity, column);
            part++;
        }
    }
#pragma unroll
    for (int j = 0; j < STRIP / 8; j++) {
        if (row < args.rows && column + j * 8 < args.in) {
            add_quad(args.dx.data + row * args.dx.ld + column + j * 8, total[j], args.scale);
        }
    }
}

} // namespace

cudaError_t lc_cuda_lora_dropout_backward(const lc_lora_dropout_backward_args *args,
                                          cudaStream_t stream)
{
    if (args->dx.rows == 0 || args->ds.cols == 0) {
        return cudaSuccess;
    }
    const DropoutArgs kernel_args = {
        window_of(args->ds), window_of(args->a), window_of(args->dx),
        (int)args->dx.rows,  (int)args->dx.cols, (int)args->ds.cols,
        args->parts,         args->dropout,      keep_scale(args->dropout)};
    const dim3 grid((unsigned)lc_ceil_div(args->dx.cols, COLUMNS),
                    (unsigned)lc_ceil_div(args->dx.rows, ROWS));
    GPU_LAUNCH(lora_dropout_backward, grid, THREADS, SHARED, stream, kernel_args);
    return cudaGetLastError();
}
