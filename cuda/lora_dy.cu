/* A group's output side: dS and the partial sums of dB in one pass over dY; that of q, k and v may
 * turn q and k back on the way (the rotation's backward pass, rope.cu). */
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

/* The first `columns` of dY are heads of 2*half columns that are turned back in place, by the
 * angles of their row. */
struct DyTurn {
    int columns, half;
    const float *cosines, *sines; /* N x half */
};

struct DyArgs {
    Window dy, sb, s;
    int rows, rows_of_range;
    DyTurn turn;
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

/* Turns 16 rows of the group, whole heads, in shared and in global memory; by the whole block. */
template <int R>
__device__ __forceinline__ void turn_rows(const DyArgs &args, const DyWork &work, bf16 *tile,
                                          int first_row, int rows)
{
    constexpr int PITCH = DyShape<R>::PITCH, PACKS = DyShape<R>::COLUMNS / 16;
    const int half = args.turn.half, packs_of_half = half / 8;
#pragma unroll 1
    for (int i = (int)threadIdx.x; i < TILE * PACKS; i += THREADS) {
        const int row = i / PACKS, pair = i % PACKS;
        const int angle = pair % packs_of_half * 8,
                  column = pair / packs_of_half * 2 * half + angle;
        if (row >= rows || column >= work.columns) {
            continue;
        }
        float low[8], high[8], cosine[8], sine[8];
        load_pack(tile + row * PITCH + column, low);
        load_pack(tile + row * PITCH + column + half, high);
        load_floats(args.turn.cosines + (int64_t)(first_row + row) * half + angle, cosine);
        load_floats(args.turn.sines + (int64_t)(first_row + row) * half + angle, sine);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float before = low[k];
            low[k] = before * cosine[k] + high[k] * sine[k];
            high[k] = high[k] * cosine[k] - before * sine[k];
        }
        bf16 *to = args.dy.data + (first_row + row) * args.dy.ld + work.first_column + column;
        store_pack(tile + row * PITCH + column, low);
        store_pack(tile + row * PITCH + column + half, high);
        store_pack(to, low);
        store_pack(to + half, high);
    }
    __syncthreads();
}

/* ds[n, r] = sum_c dy[n, c] sb[c, r]      db[c, r] = sum_n dy[n, c] s[n, r]
 *
 * for columns c and slots r of the same part. Shapes: dy N x out, sb out x R', s N x R'. Grid: the
 * parts' column groups (512 columns for parts of up to 16 slots, else 256) times their blocks of R
 * slots; row ranges. A group never crosses a part: columns of modules without an adapter are not
 * read. Block: 256 threads. Shared memory: 80 KB at R = 16, 58 at 32, 78 at 64. Bytes: dY once (for
 * every 64 slots of a part), S once a group; partial sums (groups * N + ranges * out) * R floats.
 * Deterministic: each partial sum belongs to one block, which adds in the order of rows, columns
 * and warps. TURNS: dY is q|k|v before the rotation's backward pass; q and k are turned first and
 * written once more. */
template <int R, bool TURNS>
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
    run_pipeline<Shape::STAGES, Shape::STAGE>(stages, steps, start, [&](int i, bf16 *dy) {
        if (TURNS && work.first_column < args.turn.columns) {
            turn_rows<R>(args, work, dy, first_row + i * TILE, rows - i * TILE);
        }
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
    const dim3 grid((unsigned)blocks, (unsigned)ranges);
    if (args.turn.columns > 0) {
        GPU_LAUNCH((lora_dy<R, true>), grid, THREADS, DyShape<R>::SHARED, stream, args);
    } else {
        GPU_LAUNCH((lora_dy<R, false>), grid, THREADS, DyShape<R>::SHARED, stream, args);
    }
}

static int64_t widest_part(const lc_lora_parts &parts)
{
    int64_t width = 0;
    for (int i = 0; i < parts.count; i++) {
        width = largest(width, parts.part[i].width);
    }
    return width;
}

static cudaError_t run(const lc_lora_dy_args *args, const DyTurn &turn, void *scratch,
                       cudaStream_t stream)
{
    const int rank = rank_of_instance(widest_part(args->parts));
    const lc_row_ranges ranges =
        lc_lora_row_ranges(args->dy.rows, lc_ceil_div(args->dy.cols, LC_LORA_DY_COLUMNS(rank)));
    DyArgs kernel_args = {window_of(args->dy),
                          window_of(args->sb),
                          window_of(args->s),
                          (int)args->dy.rows,
                          ranges.rows,
                          turn,
                          {}};
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

} // namespace

cudaError_t lc_cuda_lora_dy(const lc_lora_dy_args *args, void *scratch, cudaStream_t stream)
{
    return args->dy.rows == 0 || args->parts.count == 0 ? cudaSuccess
                                                        : run(args, {}, scratch, stream);
}

/* q and k are whole parts, so that somebody turns them, and once; groups hold whole heads. */
bool lc_cuda_can_turn(const lc_qk_rope_backward_args *args)
{
    const lc_lora_parts &parts = args->lora->parts;
    const int q_columns = args->q_heads * args->head_dim,
              k_columns = args->k_heads * args->head_dim;
    const int64_t width = widest_part(parts);
    return args->dy.dtype == LC_BF16 && args->cos != NULL && args->q_norm == NULL &&
           args->k_norm == NULL && args->head_dim % 16 == 0 && width <= MAX_BLOCK_RANK &&
           LC_LORA_DY_COLUMNS(rank_of_instance(width)) % args->head_dim == 0 && parts.count >= 2 &&
           parts.part[0].row == 0 && parts.part[0].out == q_columns &&
           parts.part[1].row == q_columns && parts.part[1].out == k_columns;
}

cudaError_t lc_cuda_rope_lora_dy(const lc_qk_rope_backward_args *args, void *scratch,
                                 cudaStream_t stream)
{
    const DyTurn turn = {(int)args->dy.cols, args->head_dim / 2, args->cos, args->sin};
    return args->dy.rows == 0 ? cudaSuccess : run(args->lora, turn, scratch, stream);
}

namespace
{
template <int R> static cudaError_t prepare()
{
    const cudaError_t error = GPU_ALLOW_SHARED((lora_dy<R, false>), DyShape<R>::SHARED);
    return error != cudaSuccess ? error : GPU_ALLOW_SHARED((lora_dy<R, true>), DyShape<R>::SHARED);
}

} // namespace

cudaError_t lc_cuda_lora_dy_prepare(void)
{
    const cudaError_t errors[] = {prepare<16>(), prepare<32>(), prepare<64>()};
    for (cudaError_t error : errors) {
        if (error != cudaSuccess) {
            return error;
        }
    }
    return cudaSuccess;
}
