/* The product of SwiGLU and the S of the down projection in one pass over gate and up. */
#include "lora_rows.cuh"

namespace
{
struct SwigluArgs {
    Window gate_up, y, a, s, saved;
    int rows, mlp, rank;
};

/* Shared memory of R slots: stages of 32 rows of gate and up and R rows of A, 128 features each. */
template <int R> struct SwigluShape {
    static constexpr int STAGES = R == 16 ? 4 : R <= 48 ? 3 : 2;
    static constexpr int UP = PASS_ROWS * PASS_PITCH; /* where they stand in a stage */
    static constexpr int A = 2 * UP;
    static constexpr int STAGE = A + R * PASS_PITCH; /* elements */
    static constexpr int SHARED = STAGES * STAGE * (int)sizeof(bf16);
};

template <int R>
__device__ __forceinline__ void start_stage(const SwigluArgs &args, bf16 *stage, int first_row,
                                            int first_slot, int feature)
{
    typedef SwigluShape<R> Shape;
    const bf16 *gate = args.gate_up.data + first_row * args.gate_up.ld + feature;
    const int rows = args.rows - first_row, columns = args.mlp - feature;
    copy_tile<PASS_ROWS, PASS_DEPTH, PASS_THREADS>(stage, PASS_PITCH, gate, args.gate_up.ld, rows,
                                                   columns);
    copy_tile<PASS_ROWS, PASS_DEPTH, PASS_THREADS>(stage + Shape::UP, PASS_PITCH, gate + args.mlp,
                                                   args.gate_up.ld, rows, columns);
    copy_tile<R, PASS_DEPTH, PASS_THREADS>(stage + Shape::A, PASS_PITCH,
                                           args.a.data + first_slot * args.a.ld + feature,
                                           args.a.ld, args.rank - first_slot, columns);
}

/* silu(gate) * up of 8 neighbours */
__device__ __forceinline__ void swiglu_pack(const bf16 *gate, const bf16 *up, float (&y)[8])
{
    float g[8], u[8];
    load_pack(gate, g);
    load_pack(up, u);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        y[i] = g[i] * fast_sigmoid(g[i]) * u[i];
    }
}

/* Puts y in the place of gate, in the 16 rows and the part of the features that this warp will
 * multiply, and into the matrix `y` (which starts with the stage) if it is there. */
template <int R>
__device__ __forceinline__ void make_product(bf16 *stage, Window y, int rows, int columns,
                                             bool is_writer)
{
    constexpr int PACKS = PASS_PART_DEPTH / 8;
#pragma unroll
    for (int i = lane_of(); i < TILE * PACKS; i += WARP) {
        const int row = warp_of() % 2 * TILE + i / PACKS;
        const int column = warp_of() / 2 * PASS_PART_DEPTH + i % PACKS * 8;
        bf16 *gate = stage + row * PASS_PITCH + column;
        float product[8];
        swiglu_pack(gate, gate + SwigluShape<R>::UP, product);
        store_pack(gate, product);
        if (is_writer && row < rows && column < columns) {
            store_pack(y.data + row * y.ld + column, product);
        }
    }
    __syncwarp();
}

/* y = silu(gate) * up      s[n, r] = sum_c y[n, c] a[r, c]
 *
 * Shapes: gate|up N x 2I, y N x I, a R' x I, s N x R'. Grid: (N / 32, R' / R); the blocks of the
 * first slots write y. Block: 256 threads. Shared memory: 85 KB at R = 16, 77 at 32, 90 at 48, 68
 * at 64. Bytes: gate|up once (for every 64 slots), y, S; A in every block, from the second-level
 * cache. s is made of the rounded y. Deterministic: as lora_forward, in the same order. */
template <int R>
__global__ void __launch_bounds__(PASS_THREADS, R == 64 ? 1 : 2) swiglu_lora(const SwigluArgs args)
{
    typedef SwigluShape<R> Shape;
    GPU_DYN_SHARED(bf16, stages);
    const int first_row = (int)blockIdx.x * PASS_ROWS, first_slot = (int)blockIdx.y * R;
    const int steps = (args.mlp + PASS_DEPTH - 1) / PASS_DEPTH;
    const TileMasks<R / TILE> no_masks = {};
    float sum[R / 8][4] = {};
    const auto start = [&](int i, bf16 *stage) {
        start_stage<R>(args, stage, first_row, first_slot, i * PASS_DEPTH);
    };
    run_pipeline<Shape::STAGES, Shape::STAGE>(stages, steps, start, [&](int i, bf16 *stage) {
        make_product<R>(stage, window_at(args.y, first_row, i * PASS_DEPTH), args.rows - first_row,
                        args.mlp - i * PASS_DEPTH, blockIdx.y == 0);
        multiply_rows<R, false>(sum, stage, stage + Shape::A, no_masks, {}, 0);
    });
    finish_rows<R>(sum, reinterpret_cast<float *>(stages), 1.0f, args.rows - first_row,
                   args.rank - first_slot, window_at(args.s, first_row, first_slot),
                   window_at(args.saved, first_row, first_slot));
}

template <int R> static void launch(const SwigluArgs &args, cudaStream_t stream)
{
    const dim3 grid((unsigned)lc_ceil_div(args.rows, PASS_ROWS),
                    (unsigned)lc_ceil_div(args.rank, R));
    GPU_LAUNCH((swiglu_lora<R>), grid, PASS_THREADS, SwigluShape<R>::SHARED, stream, args);
}

} // namespace

cudaError_t lc_cuda_swiglu_lora(const lc_swiglu_args *args, cudaStream_t stream)
{
    const lc_lora_forward_args *lora = args->lora;
    if (args->y.rows == 0) {
        return cudaSuccess;
    }
    const SwigluArgs kernel_args = {
        window_of(args->gate_up), window_of(args->y), window_of(lora->a), window_of(lora->s),
        window_of(lora->saved),   (int)args->y.rows,  (int)args->y.cols,  (int)lora->a.rows};
    switch (lc_lora_block_rank(lora->a.rows)) {
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

cudaError_t lc_cuda_swiglu_lora_prepare(void)
{
    const cudaError_t errors[] = {GPU_ALLOW_SHARED(swiglu_lora<16>, SwigluShape<16>::SHARED),
                                  GPU_ALLOW_SHARED(swiglu_lora<32>, SwigluShape<32>::SHARED),
                                  GPU_ALLOW_SHARED(swiglu_lora<48>, SwigluShape<48>::SHARED),
                                  GPU_ALLOW_SHARED(swiglu_lora<64>, SwigluShape<64>::SHARED)};
    for (cudaError_t error : errors) {
        if (error != cudaSuccess) {
            return error;
        }
    }
    return cudaSuccess;
}
