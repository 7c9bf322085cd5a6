/* S = drop(X) A^T of all modules that share X: the tail columns of X's own rows. */
#include "lora_rows.cuh"

namespace
{
struct ForwardArgs {
    Window x, a, s, saved;
    int rows, in, rank;
    lc_lora_parts parts;
    lc_dropout dropout;
    float scale; /* 1/(1-p) */
};

/* Shared memory of R slots: stages of 32 rows of X and R rows of A, 128 features each. */
template <int R> struct ForwardShape {
    static constexpr int STAGES = R <= 48 ? 4 : 3;
    static constexpr int STAGE = (PASS_ROWS + R) * PASS_PITCH; /* elements */
    static constexpr int SHARED = STAGES * STAGE * (int)sizeof(bf16);
};

template <int R>
__device__ __forceinline__ void start_stage(const ForwardArgs &args, bf16 *stage, int first_row,
                                            int first_slot, int feature)
{
    copy_tile<PASS_ROWS, PASS_DEPTH, PASS_THREADS>(
        stage, PASS_PITCH, args.x.data + first_row * args.x.ld + feature, args.x.ld,
        args.rows - first_row, args.in - feature);
    copy_tile<R, PASS_DEPTH, PASS_THREADS>(stage + PASS_ROWS * PASS_PITCH, PASS_PITCH,
                                           args.a.data + first_slot * args.a.ld + feature,
                                           args.a.ld, args.rank - first_slot, args.in - feature);
}

/* s[n, r] = scale * sum_c keep_r[n, c] x[n, c] a[r, c], scale = 1/(1-p), keep 0 or 1
 *
 * Shapes: x N x in, a R' x in, s N x R'. Grid: (N / 32, R' / R). Block: 256 threads. Shared memory:
 * 52 KB at R = 16, 70 at 32, 87 at 48, 78 at 64. Bytes: X once, S; A in every block, from the
 * second-level cache. Deterministic: the features of a row are added up in an order that depends on
 * `in` alone; each element of s has one thread. */
template <int R, bool HAS_DROPOUT>
__global__ void __launch_bounds__(PASS_THREADS, 2) lora_forward(const ForwardArgs args)
{
    typedef ForwardShape<R> Shape;
    GPU_DYN_SHARED(bf16, stages);
    const int first_row = (int)blockIdx.x * PASS_ROWS, first_slot = (int)blockIdx.y * R;
    const int steps = (args.in + PASS_DEPTH - 1) / PASS_DEPTH;
    RowIdentity row = {};
    TileMasks<R / TILE> masks;
    if (HAS_DROPOUT) {
        const int drawn = first_row + warp_of() % 2 * TILE + row_drawn_for_a();
        row = row_identity(args.dropout, min(drawn, args.rows - 1));
        masks.set(args.dropout, args.parts, first_slot);
    }
    float sum[R / 8][4] = {};
    const auto start = [&](int i, bf16 *stage) {
        start_stage<R>(args, stage, first_row, first_slot, i * PASS_DEPTH);
    };
    run_pipeline<Shape::STAGES, Shape::STAGE>(stages, steps, start, [&](int i, const bf16 *x) {
        multiply_rows<R, HAS_DROPOUT>(sum, x, x + PASS_ROWS * PASS_PITCH, masks, row,
                                      i * PASS_DEPTH);
    });
    finish_rows<R>(sum, reinterpret_cast<float *>(stages), args.scale, args.rows - first_row,
                   args.rank - first_slot, window_at(args.s, first_row, first_slot),
                   window_at(args.saved, first_row, first_slot));
}

template <int R> static void launch(const ForwardArgs &args, cudaStream_t stream)
{
    const dim3 grid((unsigned)lc_ceil_div(args.rows, PASS_ROWS),
                    (unsigned)lc_ceil_div(args.rank, R));
    constexpr int SHARED = ForwardShape<R>::SHARED;
    if (args.dropout.p > 0.0f) {
        GPU_LAUNCH((lora_forward<R, true>), grid, PASS_THREADS, SHARED, stream, args);
    } else {
        GPU_LAUNCH((lora_forward<R, false>), grid, PASS_THREADS, SHARED, stream, args);
    }
}

} // namespace

cudaError_t lc_cuda_lora_forward(const lc_lora_forward_args *args, cudaStream_t stream)
{
    if (args->x.rows == 0 || args->a.rows == 0) {
        return cudaSuccess;
    }
    const ForwardArgs kernel_args = {
        window_of(args->x), window_of(args->a),       window_of(args->s), window_of(args->saved),
        (int)args->x.rows,  (int)args->x.cols,        (int)args->a.rows,  args->parts,
        args->dropout,      keep_scale(args->dropout)};
    switch (lc_lora_block_rank(args->a.rows)) {
    case 16:
        launch<16>(kernel_args, stream);
        break;
    case 32:
        launch<32>(kernel_args, stream);
        break;
    case 48:
        launch<48>(kernel_args, stream);
        break;
    default:
        launch<64>(kernel_args, stream);
        break;
    }
    return cudaGetLastError();
}

namespace
{
template <int R> static cudaError_t prepare()
{
    const cudaError_t error = GPU_ALLOW_SHARED((lora_forward<R, false>), ForwardShape<R>::SHARED);
    return error != cudaSuccess
               ? error
               : GPU_ALLOW_SHARED((lora_forward<R, true>), ForwardShape<R>::SHARED);
}

} // namespace

cudaError_t lc_cuda_lora_forward_prepare(void)
{
    const cudaError_t errors[] = {prepare<16>(), prepare<32>(), prepare<48>(), prepare<64>()};
    for (cudaError_t error : errors) {
        if (error != cudaSuccess) {
            return error;
        }
    }
    return cudaSuccess;
}
