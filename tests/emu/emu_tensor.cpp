/* ldmatrix and mma: they run once a warp, by the last lane to arrive, over all lanes' arguments.
 * Sums are plain fp32 in the order of k, without fused multiply-adds; hardware rounds otherwise. */
#include "emu_internal.h"

namespace emu
{
namespace
{
typedef float Row __attribute__((vector_size(8 * sizeof(float)))); // of an 8 columns wide matrix

float bf16_half(uint32_t pair, int half)
{
    return __uint_as_float(half ? pair & 0xffff0000u : pair << 16);
}

// Lane 8*m + r names row r of matrix m; each lane gets two neighbours of one row of each matrix.
void load_matrices(void **args, unsigned mask, int count, bool is_transposed)
{
    if (mask != EMU_FULL_MASK)
        fatal("ldmatrix needs all 32 lanes");
    uint16_t rows[4][8][8];
    for (int lane = 0; lane < 8 * count; lane++) {
        const char *row = static_cast<const char *>(static_cast<MatrixLoad *>(args[lane])->row);
        if (uintptr_t(row) & 15)
            fatal("ldmatrix: the row address of lane %d is not aligned to 16 bytes", lane);
        if (row < worker->arena || row + 16 > worker->arena + ARENA_BYTES)
            fatal("ldmatrix: the row address of lane %d is not in shared memory", lane);
        memcpy(rows[lane / 8][lane % 8], row, 16);
    }
    for (int lane = 0; lane < 32; lane++) {
        MatrixLoad *load = static_cast<MatrixLoad *>(args[lane]);
        int r = lane / 4, c = lane % 4 * 2;
        for (int m = 0; m < count; m++) {
            uint32_t low = is_transposed ? rows[m][c][r] : rows[m][r][c];
            uint32_t high = is_transposed ? rows[m][c + 1][r] : rows[m][r][c + 1];
            load->registers[m] = low | high << 16;
        }
    }
}
} // namespace

void ldmatrix_x4(void **args, unsigned mask)
{
    load_matrices(args, mask, 4, false);
}

void ldmatrix_x4_trans(void **args, unsigned mask)
{
    load_matrices(args, mask, 4, true);
}

void ldmatrix_x2(void **args, unsigned mask)
{
    load_matrices(args, mask, 2, false);
}

void ldmatrix_x2_trans(void **args, unsigned mask)
{
    load_matrices(args, mask, 2, true);
}

// Its operands are registers, their indices constants: nothing a sanitizer could find.
__attribute__((no_sanitize("address", "undefined"))) void mma_m16n8k16_bf16(void **args,
                                                                            unsigned mask)
{
    if (mask != EMU_FULL_MASK)
        fatal("mma.sync needs all 32 lanes");
    float a[16][16];
    Row b[16], d[16];
    for (int lane = 0; lane < 32; lane++) {
        const MatrixProduct *product = static_cast<MatrixProduct *>(args[lane]);
        int g = lane / 4, t = lane % 4 * 2;
        for (int half = 0; half < 2; half++) {
            a[g][t + half] = bf16_half(product->a[0], half);
            a[g + 8][t + half] = bf16_half(product->a[1], half);
            a[g][t + 8 + half] = bf16_half(product->a[2], half);
            a[g + 8][t + 8 + half] = bf16_half(product->a[3], half);
            b[t + half][g] = bf16_half(product->b[0], half);
            b[t + 8 + half][g] = bf16_half(product->b[1], half);
            d[g][t + half] = product->d[half];
            d[g + 8][t + half] = product->d[2 + half];
        }
    }
    for (int i = 0; i < 16; i++) {
        Row sum = d[i];
        for (int k = 0; k < 16; k++)
            sum += a[i][k] * b[k];
        d[i] = sum;
    }
    for (int lane = 0; lane < 32; lane++) {
        MatrixProduct *product = static_cast<MatrixProduct *>(args[lane]);
        int g = lane / 4, t = lane % 4 * 2;
        for (int half = 0; half < 2; half++) {
            product->d[half] = d[g][t + half];
            product->d[2 + half] = d[g + 8][t + half];
        }
    }
}
} // namespace emu
