/* The functions of cuda/gpu_ptx.h for g++ and clang++; their contracts stand there. */
#pragma once

#include "emu_kernel.h"

namespace emu
{
struct MatrixLoad {
    const void *row;
    uint32_t *registers;
};

struct MatrixProduct {
    float *d;
    const uint32_t *a, *b;
};

// A read of shared memory that the emulator does on behalf of the kernel, for the checker; pc is in
// the kernel.
void note_read(const void *p, int bytes, void *pc);
void ldmatrix_x4(void **args, unsigned mask);
void ldmatrix_x4_trans(void **args, unsigned mask);
void ldmatrix_x2(void **args, unsigned mask);
void ldmatrix_x2_trans(void **args, unsigned mask);
void mma_m16n8k16_bf16(void **args, unsigned mask);

// An address in the caller, which the wrappers below are inlined into.
__attribute__((noinline)) inline void *here()
{
    return __builtin_return_address(0);
}

inline void load_matrices(WarpOp op, uint32_t *registers, const void *row, bool reads, void *pc,
                          Site site)
{
    if (reads)
        note_read(row, 16, pc);
    MatrixLoad load{row, registers};
    warp(EMU_FULL_MASK, op, &load, false, site);
}
} // namespace emu

#define EMU_INLINE __attribute__((always_inline)) inline

EMU_INLINE void ptx_cp_async16(void *shared, const void *global, int source_bytes = 16)
{
    emu::cp_async(shared, global, 16, source_bytes);
}

EMU_INLINE void ptx_cp_commit()
{
    emu::cp_commit();
}

template <int N> EMU_INLINE void ptx_cp_wait()
{
    emu::cp_wait(N);
}

EMU_INLINE void ptx_ldmatrix_x4(uint32_t (&r)[4], const void *row, EMU_CALLER)
{
    emu::load_matrices(emu::ldmatrix_x4, r, row, true, emu::here(), EMU_SITE);
}

EMU_INLINE void ptx_ldmatrix_x4_trans(uint32_t (&r)[4], const void *row, EMU_CALLER)
{
    emu::load_matrices(emu::ldmatrix_x4_trans, r, row, true, emu::here(), EMU_SITE);
}

EMU_INLINE void ptx_ldmatrix_x2(uint32_t (&r)[2], const void *row, EMU_CALLER)
{
    emu::load_matrices(emu::ldmatrix_x2, r, row, emu::lane() < 16, emu::here(), EMU_SITE);
}

EMU_INLINE void ptx_ldmatrix_x2_trans(uint32_t (&r)[2], const void *row, EMU_CALLER)
{
    emu::load_matrices(emu::ldmatrix_x2_trans, r, row, emu::lane() < 16, emu::here(), EMU_SITE);
}

EMU_INLINE void ptx_mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                      EMU_CALLER)
{
    emu::MatrixProduct product{d, a, b};
    emu::warp(EMU_FULL_MASK, emu::mma_m16n8k16_bf16, &product, false, EMU_SITE);
}

EMU_INLINE float ptx_exp2(float x)
{
    const float result = exp2f(x);
    return result < 1.17549435e-38f ? 0.0f : result;
}
