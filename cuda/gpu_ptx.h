/* The only place where inline PTX stands: asynchronous copies, ldmatrix, the tensor-core product
 * and the fast power of two, each as one function. Under g++ or clang++ tests/emu/emu_ptx.h has the
 * same functions with the same meaning.
 *
 * All of them want sm_80. "Warp-wide" means: all 32 lanes call it together, from the same source
 * line.
 *
 *   ptx_cp_async16(shared, global, source_bytes)
 *       Starts a copy of 16 bytes that is complete after commit and wait. Both pointers are 16-byte
 *       aligned. Only source_bytes (0 to 16) are read, the rest of the 16 is written as zeros; with
 *       0 `global` is not read, but must still be a valid address.
 *   ptx_cp_commit()
 *       Closes the thread's current group of copies.
 *   ptx_cp_wait<N>()
 *       Waits until at most N of this thread's groups are pending. Other threads see the data after
 *       the next barrier.
 *   ptx_ldmatrix_x2/x4[_trans](registers, row)
 *       Warp-wide. Loads two or four 8x8 matrices of 16-bit elements from shared memory. Lane 8*m +
 *       r gives the address of row r of matrix m (16-byte aligned); x2 reads the addresses of lanes
 *       0 to 15 only. registers[m] holds elements (lane/4, 2*(lane%4)) and the one right of it;
 *       with _trans those of the transposed matrix.
 *   ptx_mma_m16n8k16_bf16(d, a, b)
 *       Warp-wide. d += a b with a 16x16 row-major, b 16x8 column-major in bf16, d 16x8 in fp32.
 *       With g = lane/4 and t = 2*(lane%4), two elements a register, the lower column (of b: row)
 *       in the lower half:
 *         a[0]: (g, t)   a[1]: (g+8, t)   a[2]: (g, t+8)   a[3]: (g+8, t+8)
 *         b[0]: (t, g)   b[1]: (t+8, g)          d[0..1]: (g, t..t+1)   d[2..3]: (g+8, t..t+1)
 *       Source of the layouts: PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point
 *       type".
 *   ptx_exp2(x)
 *       2^x, about 2 ulp; results below 2^-126 are 0. */
#pragma once

#include "gpu.h"

#ifdef __CUDACC__

__device__ __forceinline__ uint32_t ptx_shared_address(const void *shared)
{
    return (uint32_t)__cvta_generic_to_shared(shared);
}

__device__ __forceinline__ void ptx_cp_async16(void *shared, const void *global,
                                               int source_bytes = 16)
{
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(ptx_shared_address(shared)),
        "l"(global), "r"(source_bytes)
        : "memory");
}

__device__ __forceinline__ void ptx_cp_commit()
{
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}

template <int N> __device__ __forceinline__ void ptx_cp_wait()
{
    asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
}

__device__ __forceinline__ void ptx_ldmatrix_x4(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(ptx_shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void ptx_ldmatrix_x4_trans(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(ptx_shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void ptx_ldmatrix_x2(uint32_t (&r)[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];\n"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(ptx_shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void ptx_ldmatrix_x2_trans(uint32_t (&r)[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];\n"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(ptx_shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void ptx_mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                                      const uint32_t (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ float ptx_exp2(float x)
{
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(result) : "f"(x));
    return result;
}

#else
#include "emu_ptx.h" // tests/emu
#endif
