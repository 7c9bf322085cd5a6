/* SwiGLU's backward pass and the LoRA passes over what it reads and makes: dA of the down
 * projection, dS and dB of gate and up; with dropout also the share of dY that goes through the
 * down projection's adapter. Without the fusion (parts wider than 32 slots) they run one after the
 * other. */
#include "lora_columns.cuh"

namespace
{
constexpr int STRIP = 32; /* columns of a warp */
constexpr int MAX_FUSED_RANK = LC_SWIGLU_FUSED_RANK;
constexpr int GATE = 0, UP = 1, DOWN = 2;

/* One adapter of the three: db of gate or up, or da of down, is the sum over rows of a column of
 * the gradients or of y times a row of `other`. */
struct Factor {
    Window other;    /* N x slots: S, or dS of down */
    Window sb;       /* I x slots, gate and up only */
    int slots;       /* 0: no adapter */
    float *ds;       /* groups x N x slots, gate and up only */
    float *gradient; /* ranges x I x slots; of down ranges x slots x I */
};

/* Dropout of the down projection's input. */
struct DownDropout {
    Window a; /* slots x I */
    lc_dropout dropout;
    lc_lora_parts parts;
    float scale; /* 1/(1-p) */
};

struct BackwardArgs {
    Window dy, gate_up;
    int rows, rows_of_range, mlp;
    Factor factor[3]; /* GATE, UP, DOWN */
    DownDropout down;
};

/* Shared memory: stages of 16 rows of gate, up, dy and of S_gate|S_up|dS_down. The warps' products
 * of a step take the place of the stage's first three, where they fit. */
template <int R, int WARPS_, int STAGES_> struct BackwardShape {
    static constexpr int WARPS = WARPS_, STAGES = STAGES_;
    static constexpr int THREADS = WARPS * WARP;
    static constexpr int COLUMNS = WARPS * STRIP;
    static constexpr int PITCH = pitch_of(COLUMNS);
    static constexpr int MATRIX = TILE * PITCH; /* elements */
    static constexpr int SLOT_PITCH = pitch_of(3 * R);
    static constexpr int STAGE = 3 * MATRIX + TILE * SLOT_PITCH;
    static constexpr int PRODUCT_PITCH = pitch_of(2 * R);
    static constexpr int PRODUCTS = WARPS * TILE * PRODUCT_PITCH * 2;
    static constexpr bool HAS_ROOM = PRODUCTS <= 3 * MATRIX;
    static constexpr int SHARED = (STAGES * STAGE + (HAS_ROOM ? 0 : PRODUCTS)) * (int)sizeof(bf16);
};

/* Starts the copies of 16 rows. Loops that are not unrolled, since the sums leave few registers. */
template <int R, class Shape>
__device__ __forceinline__ void start_stage(const BackwardArgs &args, bf16 *stage, int first_row,
                                            int rows, int first_column)
{
    constexpr int PACKS = Shape::COLUMNS / 8, SLOT_PACKS = R / 8;
    const bf16 *gate = args.gate_up.data + first_row * args.gate_up.ld + first_column;
    const bf16 *dy = args.dy.data + first_row * args.dy.ld + first_column;
#pragma unroll 1
    for (int i = (int)threadIdx.x; i < TILE * PACKS; i += Shape::THREADS) {
        const int row = i / PACKS, column = i % PACKS * 8;
        const bool is_inside = row < rows && first_column + column < args.mlp;
        const int64_t at = is_inside ? row * args.gate_up.ld + column : 0;
        const int64_t dy_at = is_inside ? row * args.dy.ld + column : 0;
        const int bytes = is_inside ? 16 : 0;
        bf16 *to = stage + row * Shape::PITCH + column;
        ptx_cp_async16(to, gate + at, bytes);
        ptx_cp_async16(to + Shape::MATRIX, gate + at + args.mlp, bytes);
        ptx_cp_async16(to + 2 * Shape::MATRIX, dy + dy_at, bytes);
    }
#pragma unroll 1
    for (int i = (int)threadIdx.x; i < 3 * TILE * SLOT_PACKS; i += Shape::THREADS) {
        const int which = i / (TILE * SLOT_PACKS);
        const int row = i / SLOT_PACKS % TILE, slot = i % SLOT_PACKS * 8;
        const Factor &factor = args.factor[which];
        const bool is_inside = row < rows && slot < factor.slots;
        const bf16 *from =
            is_inside ? factor.other.data + (first_row + row) * factor.other.ld + slot : gate;
        ptx_cp_async16(stage + 3 * Shape::MATRIX + row * Shape::SLOT_PITCH + which * R + slot, from,
                       is_inside ? 16 : 0);
    }
}

/* ---- dropout: dy += keep * (ds a), y *= keep ---- */

/* Operands b of A: R slots deep, a strip of columns. */
template <int R> struct DownWeights {
    uint32_t b[STRIP / 8][R / TILE][2];

    /* From `from`, whose column 0 is the strip's first; zero outside of `slots` x `columns`. */
    __device__ __forceinline__ void load(const Window &from, int columns, int slots)
    {
        const Place place = place_of_lane(); /* of the transposed operand */
#pragma unroll
        for (int j = 0; j < STRIP / 8; j++) {
#pragma unroll
            for (int n = 0; n < R / TILE; n++) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int slot = n * TILE + half * 8 + place.column, column = j * 8 + place.row;
                    const bool is_inside = column < columns && slot < slots;
                    const uint16_t *at = reinterpret_cast<const uint16_t *>(
                        from.data + (is_inside ? slot * from.ld + column : 0));
                    b[j][n][half] = is_inside ? at[0] | (uint32_t)at[from.ld] << 16 : 0;
                }
            }
        }
    }
};

/* Of the lane's row and quads in a strip: the quad of operand j has its bits at 4*j. */
__device__ __forceinline__ bf16 *quad_at(bf16 *strip, int pitch, int j)
{
    return strip + row_drawn_for_a() * pitch + j * 8 + lane_of() % 4 / 2 * 4;
}

/* dy += scale * keep * (ds a) for 16 rows of a strip, whose first feature is `column`; what is kept
 * of the lane's quads, 4 bits each. By a warp, for itself. */
template <int R, class Shape>
__device__ __forceinline__ uint32_t complete_strip(bf16 *dy, const bf16 *ds,
                                                   const DownWeights<R> &weights,
                                                   const TileMasks<1> &masks, RowIdentity row,
                                                   int column, float scale)
{
    uint32_t slots[R / TILE][4], all = 0;
#pragma unroll
    for (int n = 0; n < R / TILE; n++) {
        load_a(slots[n], ds + n * TILE, Shape::SLOT_PITCH);
    }
#pragma unroll
    for (int j = 0; j < STRIP / 8; j++) {
        float product[4] = {};
#pragma unroll
        for (int n = 0; n < R / TILE; n++) {
            ptx_mma_m16n8k16_bf16(product, slots[n], weights.b[j][n]);
        }
        float4 quad = quad_of_product(product);
        const uint32_t kept = masks.kept(0, row, (column + j * 8 + lane_of() % 4 / 2 * 4) / 4);
        quad.x = kept & 1 ? quad.x : 0.0f;
        quad.y = kept & 2 ? quad.y : 0.0f;
        quad.z = kept & 4 ? quad.z : 0.0f;
        quad.w = kept & 8 ? quad.w : 0.0f;
        add_quad(quad_at(dy, Shape::PITCH, j), quad, scale);
        all |= kept << 4 * j;
    }
    __syncwarp();
    return all;
}

template <class Shape> __device__ __forceinline__ void drop_strip(bf16 *y, uint32_t all)
{
#pragma unroll
    for (int j = 0; j < STRIP / 8; j++) {
        uint2 *at = reinterpret_cast<uint2 *>(quad_at(y, Shape::PITCH, j));
        const uint32_t kept = all >> 4 * j;
        const uint2 bits = *at;
        *at = make_uint2(bits.x & element_mask(kept & 1, kept & 2),
                         bits.y & element_mask(kept & 4, kept & 8));
    }
    __syncwarp();
}

/* In place, 8 neighbours: gate, up become their gradients, dy becomes y. */
__device__ __forceinline__ void differentiate_pack(bf16 *gate, bf16 *up, bf16 *dy)
{
    float g[8], u[8], d[8];
    load_pack(gate, g);
    load_pack(up, u);
    load_pack(dy, d);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float sigmoid = fast_sigmoid(g[i]), silu = g[i] * sigmoid;
        g[i] = d[i] * u[i] * (sigmoid + silu * (1.0f - sigmoid));
        d[i] *= silu;
        u[i] *= silu;
    }
    store_pack(gate, g);
    store_pack(up, d);
    store_pack(dy, u);
}

/* All of a warp's strip, in the stage and in the matrix whose first element is `gate_up`. */
template <class Shape>
__device__ __forceinline__ void differentiate_strip(bf16 *stage, Window gate_up, int mlp, int rows,
                                                    int columns)
{
    constexpr int PACKS = STRIP / 8;
#pragma unroll 1 /* the sums leave no registers for two packs at once */
    for (int i = lane_of(); i < TILE * PACKS; i += WARP) {
        const int row = i / PACKS, column = i % PACKS * 8;
        bf16 *gate = stage + row * Shape::PITCH + column, *up = gate + Shape::MATRIX;
        differentiate_pack(gate, up, up + Shape::MATRIX);
        if (row < rows && column < columns) {
            bf16 *to = gate_up.data + row * gate_up.ld + column;
            *reinterpret_cast<uint4 *>(to) = *reinterpret_cast<const uint4 *>(gate);
            *reinterpret_cast<uint4 *>(to + mlp) = *reinterpret_cast<const uint4 *>(up);
        }
    }
    __syncwarp();
}

/* Of one warp and step: sums += slots^T columns for gate, up and down, and the products with sB
 * for gate and up. */
template <int R, class Shape>
__device__ __forceinline__ void
multiply_strip(float (&sum)[3][R / TILE][STRIP / 8][4], float (&ds)[2][R / 8][4], const bf16 *strip,
               const bf16 *slot_tiles, const StripWeights<R, STRIP> (&weights)[2])
{
#pragma unroll
    for (int which = 0; which < 3; which++) {
        uint32_t slots[R / TILE][4];
#pragma unroll
        for (int n = 0; n < R / TILE; n++) {
            load_a_transposed(slots[n], slot_tiles + which * R + n * TILE, Shape::SLOT_PITCH);
        }
#pragma unroll
        for (int k = 0; k < STRIP / TILE; k++) {
            const bf16 *tile = strip + which * Shape::MATRIX + k * TILE;
            uint32_t operand[4];
            if (which != DOWN) {
                load_a(operand, tile, Shape::PITCH);
                weights[which % 2].multiply(ds[which % 2], operand, k);
            }
            load_b_transposed(operand, tile, Shape::PITCH);
            multiply_slots<R, STRIP>(sum[which], k, slots, operand);
        }
    }
}

/* With s = sigmoid(gate), f = gate s:
 *
 *   y = f up     dgate = dy up (s + f (1 - s))     dup = dy f     (gate|up := dgate|dup)
 *   da[r, c] = sum_n ds_down[n, r] y[n, c]
 *   ds[n, r] = sum_c dgate[n, c] sb[c, r]     db[c, r] = sum_n dgate[n, c] s[n, r]     for up alike
 *
 * With DROPS dy is first completed by keep * (ds_down a) / (1 - p), and y in da is
 * keep * y / (1 - p). The products are made of the rounded y, dgate and dup. Shapes: dy N x I,
 * gate|up N x 2I, the rest as in lora_dx and lora_dy; what has no adapter counts 0 slots. Grid:
 * (I / COLUMNS, row ranges),
 * groups of 448 columns at R = 16, 256 at 32. Block: a warp for every 32 columns. Shared memory, by
 * stages: at R = 16 89 KB (2), 134 (3), 178 (4); at R = 32 92 (2), 120 (3), 148 (4); the number of
 * stages changes no result. Bytes: gate|up and dy once, gate|up written once; the slots once a
 * group; partial sums as in lora_dx and lora_dy. Deterministic: as there. */
template <int R, class Shape, bool DROPS>
__global__ void __launch_bounds__(Shape::THREADS, 1) swiglu_backward_lora(const BackwardArgs args)
{
    GPU_DYN_SHARED(bf16, stages);
    const int group_column = (int)blockIdx.x * Shape::COLUMNS, offset = warp_of() * STRIP;
    const int column = group_column + offset, columns = args.mlp - column;
    const int first_row = (int)blockIdx.y * args.rows_of_range;
    const int rows = min(args.rows - first_row, args.rows_of_range);
    const int steps = (rows + TILE - 1) / TILE;
    StripWeights<R, STRIP> weights[2];
#pragma unroll
    for (int side = 0; side < 2; side++) {
        const Factor &factor = args.factor[side];
        weights[side].load(factor.slots > 0 ? window_at(factor.sb, column, 0) : args.dy, columns,
                           factor.slots);
    }
    DownWeights<R> down_weights;
    TileMasks<1> masks;
    if (DROPS) {
        down_weights.load(window_at(args.down.a, 0, column), columns, args.factor[DOWN].slots);
        masks.set(args.down.dropout, args.down.parts, 0);
    }
    float sum[3][R / TILE][STRIP / 8][4] = {};
    const auto start = [&](int i, bf16 *stage) {
        start_stage<R, Shape>(args, stage, first_row + i * TILE, rows - i * TILE, group_column);
    };
    run_pipeline<Shape::STAGES, Shape::STAGE>(stages, steps, start, [&](int i, bf16 *stage) {
        const int row = first_row + i * TILE, rows_left = rows - i * TILE;
        bf16 *third = stage + 2 * Shape::MATRIX + offset; /* dy, then y */
        uint32_t kept = 0;
        if (DROPS) {
            const int drawn = min(row + row_drawn_for_a(), args.rows - 1);
            kept = complete_strip<R, Shape>(
                third, stage + 3 * Shape::MATRIX + DOWN * R, down_weights, masks,
                row_identity(args.down.dropout, drawn), column, args.down.scale);
        }
        differentiate_strip<Shape>(stage + offset, window_at(args.gate_up, row, column), args.mlp,
                                   rows_left, columns);
        if (DROPS) {
            drop_strip<Shape>(third, kept);
        }
        float ds[2][R / 8][4] = {};
        multiply_strip<R, Shape>(sum, ds, stage + offset, stage + 3 * Shape::MATRIX, weights);
        float *products = reinterpret_cast<float *>(
            Shape::HAS_ROOM ? stage : stages + Shape::STAGES * Shape::STAGE);
        float *mine = products + warp_of() * TILE * Shape::PRODUCT_PITCH;
        if (Shape::HAS_ROOM) {
            __syncthreads();
        }
        store_product<R>(mine, Shape::PRODUCT_PITCH, ds[GATE]);
        store_product<R>(mine + R, Shape::PRODUCT_PITCH, ds[UP]);
        __syncthreads();
        sum_warps<2 * R, Shape::WARPS>(products, [&](int tile_row, int slot, float total) {
            const Factor &factor = args.factor[slot / R];
            if (tile_row < rows_left && slot % R < factor.slots) {
                const int64_t at = (int64_t)blockIdx.x * args.rows + row + tile_row;
                factor.ds[at * factor.slots + slot % R] = total;
            }
        });
    });
#pragma unroll
    for (int side = 0; side < 2; side++) {
        const int width = args.factor[side].slots;
        if (width > 0) {
            float *to =
                args.factor[side].gradient + ((int64_t)blockIdx.y * args.mlp + column) * width;
            store_column_rows<R, STRIP>(to, width, width, columns, sum[side]);
        }
    }
    const Factor &down = args.factor[DOWN];
    if (down.slots > 0) {
        float *to = down.gradient + (int64_t)blockIdx.y * down.slots * args.mlp + column;
        store_slot_rows<R, STRIP>(to, args.mlp, down.slots, columns, sum[DOWN]);
    }
}

/* ---- host: the fused pass ---- */

struct FusedPlan {
    int groups;
    lc_row_ranges ranges;
};

static FusedPlan plan_fused(int64_t rows, int64_t mlp, int rank)
{
    const int64_t groups = lc_ceil_div(mlp, LC_SWIGLU_WARPS(rank) * STRIP);
    return {(int)groups, lc_lora_row_ranges(rows, groups)};
}

/* The instance that takes all parts, 0 for none. */
static int rank_of_instance(const lc_swiglu_backward_args *args)
{
    int64_t widest = args->lora_down ? args->lora_down->ds.cols : 0;
    for (int i = 0; args->lora_gate_up && i < args->lora_gate_up->parts.count; i++) {
        widest = largest(widest, args->lora_gate_up->parts.part[i].width);
    }
    return widest <= 16 ? 16 : widest <= MAX_FUSED_RANK ? 32 : 0;
}

/* Takes a piece of `scratch` for gate or up and adds its two sums; the first float behind it. */
static float *plan_side(const lc_lora_dy_args *lora, const lc_lora_part *part,
                        const FusedPlan &plan, float *scratch, Factor *factor, LoraSums *sums)
{
    factor->other = window_of(lora->s);
    factor->other.data += part->slot;
    factor->sb = window_of(lora->sb);
    factor->sb.data += part->row * factor->sb.ld + part->slot;
    factor->slots = part->width;
    factor->ds = scratch;
    LoraSum *ds = &sums->sum[sums->count++];
    ds->partials = factor->ds;
    ds->elements = lora->ds.rows * part->width;
    ds->count = plan.groups;
    ds->columns = part->width;
    ds->bf16_to = window_of(lora->ds);
    ds->bf16_to.data += part->slot;
    factor->gradient = factor->ds + ds->count * ds->elements;
    LoraSum *db = &sums->sum[sums->count++];
    db->partials = factor->gradient;
    db->elements = (int64_t)part->out * part->width;
    db->count = plan.ranges.count;
    db->columns = part->width;
    db->f32_to = part->db;
    db->scale = part->scale;
    return factor->gradient + db->count * db->elements;
}

/* The same for the down projection, which has one sum of `mlp` columns. */
static void plan_down(const lc_lora_dx_args *lora, const FusedPlan &plan, int mlp, float *scratch,
                      Factor *factor, LoraSums *sums)
{
    factor->other = window_of(lora->ds);
    factor->slots = (int)lora->ds.cols;
    factor->gradient = scratch;
    LoraSum *da = &sums->sum[sums->count++];
    da->partials = factor->gradient;
    da->elements = lora->ds.cols * mlp;
    da->count = plan.ranges.count;
    da->columns = mlp;
    da->f32_to = lora->da;
    da->scale = keep_scale(lora->dropout);
}

template <int R, int STAGES> using Instance = BackwardShape<R, LC_SWIGLU_WARPS(R), STAGES>;

template <int R, class Shape>
static void launch(const BackwardArgs &args, const FusedPlan &plan, cudaStream_t stream)
{
    const dim3 grid((unsigned)plan.groups, (unsigned)plan.ranges.count);
    if (args.down.a.data != nullptr) {
        GPU_LAUNCH((swiglu_backward_lora<R, Shape, true>), grid, Shape::THREADS, Shape::SHARED,
                   stream, args);
    } else {
        GPU_LAUNCH((swiglu_backward_lora<R, Shape, false>), grid, Shape::THREADS, Shape::SHARED,
                   stream, args);
    }
}

/* With as many stages as the device has room for. */
template <int R>
static cudaError_t launch_deepest(const BackwardArgs &args, const FusedPlan &plan,
                                  cudaStream_t stream)
{
    int limit = 0;
    const cudaError_t error = shared_limit(&limit);
    if (error != cudaSuccess) {
        return error;
    }
    if (Instance<R, 4>::SHARED <= limit) {
        launch<R, Instance<R, 4>>(args, plan, stream);
    } else if (Instance<R, 3>::SHARED <= limit) {
        launch<R, Instance<R, 3>>(args, plan, stream);
    } else {
        launch<R, Instance<R, 2>>(args, plan, stream);
    }
    return cudaGetLastError();
}

static cudaError_t run_fused(const lc_swiglu_backward_args *args, int rank, void *scratch,
                             cudaStream_t stream)
{
    const lc_lora_dy_args *gate_up = args->lora_gate_up;
    const FusedPlan plan = plan_fused(args->dy.rows, args->dy.cols, rank);
    BackwardArgs kernel_args = {};
    kernel_args.dy = window_of(args->dy);
    kernel_args.gate_up = window_of(args->gate_up);
    kernel_args.rows = (int)args->dy.rows;
    kernel_args.rows_of_range = plan.ranges.rows;
    kernel_args.mlp = (int)args->dy.cols;
    LoraSums sums = {};
    float *next = static_cast<float *>(scratch);
    for (int i = 0; gate_up && i < gate_up->parts.count; i++) {
        const lc_lora_part *part = &gate_up->parts.part[i];
        Factor *factor = &kernel_args.factor[part->row == 0 ? GATE : UP];
        next = plan_side(gate_up, part, plan, next, factor, &sums);
    }
    if (args->lora_down) {
        plan_down(args->lora_down, plan, kernel_args.mlp, next, &kernel_args.factor[DOWN], &sums);
    }
    if (args->dropped) {
        kernel_args.down = {window_of(args->dropped->a), args->dropped->dropout,
                            args->dropped->parts, keep_scale(args->dropped->dropout)};
    }
    const cudaError_t error = rank == 16 ? launch_deepest<16>(kernel_args, plan, stream)
                                         : launch_deepest<32>(kernel_args, plan, stream);
    return error != cudaSuccess ? error : lc_cuda_lora_sum(sums, stream);
}

/* ---- host: one op after the other, and the choice ---- */

static cudaError_t run_apart(const lc_swiglu_backward_args *args, void *scratch,
                             cudaStream_t stream)
{
    cudaError_t error = cudaSuccess;
    if (args->lora_down) {
        lc_swiglu_args forward = {};
        forward.gate_up = args->gate_up;
        forward.y = args->lora_down->x;
        error = lc_cuda_swiglu(&forward, stream);
        if (error == cudaSuccess) {
            error = lc_cuda_lora_dx(args->lora_down, scratch, stream);
        }
    }
    if (error == cudaSuccess) {
        error = lc_cuda_swiglu_backward(args, stream);
    }
    if (error == cudaSuccess && args->lora_gate_up) {
        lc_lora_dy_args gate_up = *args->lora_gate_up;
        gate_up.dy = args->gate_up;
        error = lc_cuda_lora_dy(&gate_up, scratch, stream);
    }
    return error;
}

} // namespace

bool lc_cuda_swiglu_backward_fuses(const lc_swiglu_backward_args *args)
{
    return rank_of_instance(args) > 0;
}

cudaError_t lc_cuda_swiglu_backward_lora(const lc_swiglu_backward_args *args, void *scratch,
                                         cudaStream_t stream)
{
    if (args->dy.rows == 0) {
        return cudaSuccess;
    }
    const int rank = rank_of_instance(args);
    return rank > 0 ? run_fused(args, rank, scratch, stream) : run_apart(args, scratch, stream);
}

namespace
{
template <int R, class Shape> static cudaError_t prepare(int limit)
{
    if (Shape::SHARED > limit) {
        return cudaSuccess;
    }
    const cudaError_t error =
        GPU_ALLOW_SHARED((swiglu_backward_lora<R, Shape, false>), Shape::SHARED);
    return error != cudaSuccess
               ? error
               : GPU_ALLOW_SHARED((swiglu_backward_lora<R, Shape, true>), Shape::SHARED);
}

} // namespace

cudaError_t lc_cuda_swiglu_backward_lora_prepare(void)
{
    int limit = 0;
    const cudaError_t first = shared_limit(&limit);
    const cudaError_t errors[] = {first,
                                  prepare<16, Instance<16, 2>>(limit),
                                  prepare<16, Instance<16, 3>>(limit),
                                  prepare<16, Instance<16, 4>>(limit),
                                  prepare<32, Instance<32, 2>>(limit),
                                  prepare<32, Instance<32, 3>>(limit),
                                  prepare<32, Instance<32, 4>>(limit)};
    for (cudaError_t error : errors) {
        if (error != cudaSuccess) {
            return error;
        }
    }
    return cudaSuccess;
}
