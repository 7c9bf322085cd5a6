/* With dropout, the share of a gradient that the bordered product cannot give: drop(ds a), module
 * by module, on the tensor cores. What lora_dropout.cu and lora_norm_backward.cu have in common. */
#pragma once

#include "lora.cuh"

namespace
{
constexpr int DROPPED_STRIP = 32; /* columns of a warp, for 16 rows */

struct Dropped {
    Window ds, a;
    int rows, in, rank; /* rank: all slots */
    lc_lora_parts parts;
    lc_dropout dropout;
    float scale; /* 1/(1-p) */
};

static inline Dropped dropped_of(const lc_lora_dropout_backward_args *args)
{
    return {window_of(args->ds), window_of(args->a), (int)args->dx.rows, (int)args->dx.cols,
            (int)args->ds.cols,  args->parts,        args->dropout,      keep_scale(args->dropout)};
}

/* product += ds a of a warp's 16 rows and strip, for 16 slots: `ds` and `a` are tiles in shared
 * memory, a's first column the strip's. */
__device__ __forceinline__ void multiply_dropped(float (&product)[DROPPED_STRIP / 8][4],
                                                 const bf16 *ds, int ds_pitch, const bf16 *a,
                                                 int a_pitch)
{
    uint32_t slots[4];
    load_a(slots, ds, ds_pitch);
#pragma unroll
    for (int k = 0; k < DROPPED_STRIP / TILE; k++) {
        uint32_t columns[4];
        load_b_transposed(columns, a + k * TILE, a_pitch);
        multiply_add(product[k * 2], product[k * 2 + 1], slots, columns);
    }
}

/* total += drop(product), and clears product: the part that has this slot is complete. `column` is
 * the lane's first of the strip. */
__device__ __forceinline__ void add_part(float4 (&total)[DROPPED_STRIP / 8],
                                         float (&product)[DROPPED_STRIP / 8][4],
                                         const Dropped &args, int slot, RowIdentity row, int column)
{
    TileMasks<1> masks;
    masks.set(args.dropout, args.parts, slot);
#pragma unroll
    for (int j = 0; j < DROPPED_STRIP / 8; j++) {
        const float4 quad = quad_of_product(product[j]);
        const uint32_t kept = masks.kept(0, row, (column + j * 8) / 4);
        total[j].x += kept & 1 ? quad.x : 0.0f;
        total[j].y += kept & 2 ? quad.y : 0.0f;
        total[j].z += kept & 4 ? quad.z : 0.0f;
        total[j].w += kept & 8 ? quad.w : 0.0f;
        product[j][0] = product[j][1] = product[j][2] = product[j][3] = 0.0f;
    }
}

} // namespace
