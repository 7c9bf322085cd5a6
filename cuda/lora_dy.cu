/* A group's output side: dS and the partial sums of dB in one pass over dY. */
#include "lora_columns.cuh"

namespace
{
constexpr int THREADS = 256;
constexpr int WARPS = THREADS / WARP;

/* A part and where its partial sums lie. */
struct DyPart {
    int first_column, columns; /* of dY */
    int slot, width;           /* of the tail */
    int groups, rank_blocks;
    float *ds; /* groups x N x width */
    float *db; /* ranges x columns x width */
};

struct DyArgs {
    Window dy, sb, s;
    int rows, rows_of_range;
    DyPart part[LC_MAX_LORA_PARTS];
};

/* Shared memory: stages of 16 rows of dY and S, then the warps' products of one step. */
template <int R> struct DyShape {
    static constexpr int COLUMNS = LC_LORA_DY_COLUMNS(R);
    static constexpr int STRIP = COLUMNS / WARPS;
    static constexpr int STAGES = 4;
    static constexpr int PITCH = pitch_of(COLUMNS);
    static constexpr int STAGE = TILE * (PITCH + pitch_of(R)); /* elements */
    static constexpr int PRODUCTS = WARPS * TILE * pitch_of(R);
    static constexpr int SHARED =
        STAGES * STAGE * (int)sizeof(bf16) + PRODUCTS * (int)sizeof(float);
};

/* What a block does: columns and slots of one part. */
struct DyWork {
    DyPart part;
    int group, first_column, columns; /* of dY; columns from there to the part's end */
    int first_slot, slots;            /* of the part */
};

template <int R> __device__ __forceinline__ DyWork find_work(const DyArgs &args)
{
    int block = (int)blockIdx.x, which = 0;
    while (block >= args.part[which].groups * args.part[which].rank_blocks) {
        block -= args.part[which].groups * args.part[which].rank_blocks;
        which++;
    }
    DyWork work;
    work.part = args.part[which];
    work.group = block % work.part.groups;
    const int offset = work.group * DyShape<R>::COLUMNS;
    work.first_column = work.part.first_column + offset;
    work.columns = work.part.columns - offset;
    work.first_slot = block / work.part.groups * R;
    work.slots = work.part.width - work.first_slot;
    return work;
}

template <int R>
__device__ __forceinline__ void start_stage(const DyArgs &args, const DyWork &work, bf16 *stage,
                                            int row, int rows)
{
    typedef DyShape<R> Shape;
    copy_tile<TILE, Shape::COLUMNS, THREADS>(stage, Shape::PITCH,
                                             args.dy.data + row * args.dy.ld + work.first_column,
                                             args.dy.ld, rows, work.columns);
    copy_tile<TILE, R, THREADS>(stage + TILE * Shape::PITCH, pitch_of(R),
                                args.s.data + row * args.s.ld + work.part.slot + work.first_slot,
                                args.s.ld, rows, work.slots);
}

/* ds[n, r] = sum_c dy[n, c] sb[c, r]      db[c, r] = sum_n dy[n, c] s[n, r]
 *
 * for columns c and slots r of the same part. Shapes: dy N x out, sb out x R', s N x R'. Grid: the
 * parts' column groups (512 columns for parts of up to 16 slots, else 256) times their blocks of R
 * slots; row ranges. A group never crosses a part: columns of modules without an adapter are not
 * read. Block: 256 threads. Shared memory: 80 KB at R = 16, 58 at 32, 78 at 64. Bytes: dY once (for
 * every 64 slots of a part), S once a group; partial sums (groups * N + ranges * out) * R floats.
 * Deterministic: each partial sum belongs to one block, which adds in the order of rows, columns
 * and warps. */
template <int R>
__global__ void __launch_bounds__(THREADS, R <= 32 ? 2 : 1) lora_dy(const DyArgs args)
{
    typedef DyShape<R> Shape;
    GPU_DYN_SHARED(bf16, stages);
    float *products = reinterpret_cast<float *>(stages + Shape::STAGES * Shape::STAGE);
    const DyWork work = find_work<R>(args);
    const int first_row = (int)blockIdx.y * args.rows_of_range;
    const int rows = min(args.rows - first_row, args.rows_of_range);
    const int steps = (rows + TILE - 1) / TILE;
    const int strip = warp_of() * Shape::STRIP;
    StripWeights<R, Shape::STRIP> weights;
    weights.load(
        {args.sb.data + (work.first_column + strip) * args.sb.ld + work.part.slot + work.first_slot,
         args.sb.ld},
        work.columns - strip, work.slots);
    float db[R / TILE][Shape::STRIP / 8][4] = {};
    const auto start = [&](int i, bf16 *stage) {
        start_stage<R>(args, work, stage, first_row + i * TILE, rows - i * TILE);
    };
    run_pipeline<Shape::STAGES, Shape::STAGE>(stages, steps, start, [&](int i, const bf16 *dy) {
        uint32_t slots[R / TILE][4];
#pragma unroll
        for (int n = 0; n < R / TILE; n++) {
            load_a_transposed(slots[n], dy + TILE * Shape::PITCH + n * TILE, pitch_of(R));
        }
        float ds[R / 8][4] = {};
#pragma unroll
        for (int k = 0; k < Shape::STRIP / TILE; k++) {
            uint32_t operand[4];
            load_a(operand, dy + strip + k * TILE, Shape::PITCH);
            weights.multiply(ds, operand, k);
            load_b_transposed(operand, dy + strip + k * TILE, Shape::PITCH);
            multiply_slots<R, Shape::STRIP>(db, k, slots, operand);
        }
        store_product<R>(products + warp_of() * TILE * pitch_of(R), pitch_of(R), ds);
        __syncthreads();
        float *to = work.part.ds +
                    ((int64_t)work.group * args.rows + first_row + i * TILE) * work.part.width +
                    work.first_slot;
        sum_warps<R, WARPS>(products, [&](int row, int slot, float total) {
            if (row < rows - i * TILE && slot < work.slots) {
                to[row * work.part.width + slot] = total;
            }
        });
    });
    float *to = work.part.db +
                ((int64_t)blockIdx.y * work.part.columns + work.group * Shape::COLUMNS + strip) *
                    work.part.width +
                work.first_slot;
    store_column_rows<R, Shape::STRIP>(to, work.part.width, work.slots, work.columns - strip, db);
}

/* ---- host ---- */

/* The instance for parts of this width. */
static int rank_of_instance(int64_t width)
{
    const int rank = lc_lora_block_rank(width);
    return rank <= 32 ? rank : MAX_BLOCK_RANK;
}

/* Takes the part's piece of `scratch` and adds its two sums; the first float behind the piece. */
static float *plan_part(const lc_lora_dy_args *args, const lc_lora_part *from, int rank, int ranges,
                        float *scratch, DyPart *part, LoraSums *sums)
{
    part->first_column = from->row;
    part->columns = from->out;
    part->slot = from->slot;
    part->width = from->width;
    part->groups = (int)lc_ceil_div(from->out, LC_LORA_DY_COLUMNS(rank));
    part->rank_blocks = (int)lc_ceil_div(from->width, rank);
    part->ds = scratch;
    LoraSum *ds = &sums->sum[sums->count++];
    ds->partials = part->ds;
    ds->elements = args->dy.rows * from->width;
    ds->count = part->groups;
    ds->columns = from->width;
    ds->bf16_to = window_of(args->ds);
    ds->bf16_to.data += from->slot;
    part->db = part->ds + ds->count * ds->elements;
    LoraSum *db = &sums->sum[sums->count++];
    db->partials = part->db;
    db->elements = (int64_t)from->out * from->width;
    db->count = ranges;
    db->columns = from->width;
    db->f32_to = from->db;
    db->scale = from->scale;
    return part->db + db->count * db->elements;
}

template <int R> static void launch(const DyArgs &args, int blocks, int ranges, cudaStream_t stream)
{
    GPU_LAUNCH((lora_dy<R>), dim3((unsigned)blocks, (unsigned)ranges), THREADS, DyShape<R>::SHARED,
               stream, args);
}

} // namespace

cudaError_t lc_cuda_lora_dy(const lc_lora_dy_args *args, void *scratch, cudaStream_t stream)
{
    if (args->dy.rows == 0 || args->parts.count == 0) {
        return cudaSuccess;
    }
    int64_t width = 0;
    for (int i = 0; i < args->parts.count; i++) {
        width = largest(width, args->parts.part[i].width);
    }
    const int rank = rank_of_instance(width);
    const lc_row_ranges ranges =
        lc_lora_row_ranges(args->dy.rows, lc_ceil_div(args->dy.cols, LC_LORA_DY_COLUMNS(rank)));
    DyArgs kernel_args = {window_of(args->dy), window_of(args->sb), window_of(args->s),
                          (int)args->dy.rows,  ranges.rows,         {}};
    LoraSums sums = {};
    float *next = static_cast<float *>(scratch);
    int blocks = 0;
    for (int i = 0; i < args->parts.count; i++) {
        DyPart *part = &kernel_args.part[i];
        next = plan_part(args, &args->parts.part[i], rank, ranges.count, next, part, &sums);
        blocks += part->groups * part->rank_blocks;
    }
    if (rank == 16) {
        launch<16>(kernel_args, blocks, ranges.count, stream);
    } else if (rank == 32) {
        launch<32>(kernel_args, blocks, ranges.count, stream);
    } else {
        launch<64>(kernel_args, blocks, ranges.count, stream);
    }
    const cudaError_t error = cudaGetLastError();
    return error != cudaSuccess ? error : lc_cuda_lora_sum(sums, stream);
}

cudaError_t lc_cuda_lora_dy_prepare(void)
{
    const cudaError_t errors[] = {GPU_ALLOW_SHARED(lora_dy<16>, DyShape<16>::SHARED),
                                  GPU_ALLOW_SHARED(lora_dy<32>, DyShape<32>::SHARED),
                                  GPU_ALLOW_SHARED(lora_dy<64>, DyShape<64>::SHARED)};
    for (cudaError_t error : errors) {
        if (error != cudaSuccess) {
            return error;
        }
    }
    return cudaSuccess;
}
