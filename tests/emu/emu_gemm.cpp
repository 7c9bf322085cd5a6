/* A blocked matrix product on one core. Operands are widened to fp32 and packed into panels of 16
 * rows and 6 columns, so that the inner kernel keeps 12 vectors of sums in registers. The sum of an
 * element does not depend on m, n or the panels, only on k and the order asked for. */
#include "emu_gemm.h"

#include <algorithm>
#include <string.h>
#include <vector>

namespace emu
{
namespace
{
constexpr int PANEL_ROWS = 16, PANEL_COLUMNS = 6;
constexpr int VECTOR = 8;
constexpr int ROW_PANELS_A_TIME = 8; // of A, which stay in the second-level cache

typedef float Vec __attribute__((vector_size(VECTOR * sizeof(float))));

int64_t round_up(int64_t value, int64_t to)
{
    return (value + to - 1) / to * to;
}

float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float load(const uint16_t *bf16)
{
    return from_bits(uint32_t(*bf16) << 16);
}

float load(const float *value)
{
    return *value;
}

float round_to_tf32(float value)
{
    uint32_t bits = to_bits(value);
    if ((bits & 0x7f800000u) == 0x7f800000u)
        return value;
    return from_bits((bits + 0xfffu + (bits >> 13 & 1)) & ~0x1fffu);
}

uint16_t to_bf16(float value)
{
    uint32_t bits = to_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return 0x7fff; // NaN
    return uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

float load_any(const void *data, cudaDataType type, int64_t index)
{
    if (type == CUDA_R_16BF)
        return load(static_cast<const uint16_t *>(data) + index);
    return load(static_cast<const float *>(data) + index);
}

void store_any(void *data, cudaDataType type, int64_t index, float value)
{
    if (type == CUDA_R_16BF)
        static_cast<uint16_t *>(data)[index] = to_bf16(value);
    else
        static_cast<float *>(data)[index] = value;
}

// Lines are rows of op(A), or columns of op(B). A line's terms lie next to each other, or `ld`
// apart.
struct Lines {
    int64_t count, ld;
    bool are_contiguous;
    bool is_tf32;
};

// Packs terms [first, first + depth) of all lines: panel by panel, term by term, `width` lines side
// by side.
template <class T>
void pack(const T *data, const Lines &lines, int width, int64_t first, int64_t depth, float *packed)
{
    for (int64_t panel = 0; panel < lines.count; panel += width) {
        float *target = packed + panel * depth;
        int64_t filled = std::min(int64_t(width), lines.count - panel);
        for (int64_t i = 0; i < filled; i++) {
            int64_t line = panel + i;
            const T *source =
                data + (lines.are_contiguous ? line * lines.ld + first : first * lines.ld + line);
            int64_t step = lines.are_contiguous ? 1 : lines.ld;
            for (int64_t k = 0; k < depth; k++)
                target[k * width + i] = load(source + k * step);
        }
        for (int64_t i = filled; i < width; i++)
            for (int64_t k = 0; k < depth; k++)
                target[k * width + i] = 0;
    }
    if (lines.is_tf32)
        for (int64_t i = 0; i < round_up(lines.count, width) * depth; i++)
            packed[i] = round_to_tf32(packed[i]);
}

void pack_operand(const GemmOperand &operand, const Lines &lines, int width, int64_t first,
                  int64_t depth, float *packed)
{
    if (operand.type == CUDA_R_16BF)
        pack(static_cast<const uint16_t *>(operand.data), lines, width, first, depth, packed);
    else
        pack(static_cast<const float *>(operand.data), lines, width, first, depth, packed);
}

Vec load_vector(const float *p)
{
    Vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

void add_vector(float *p, Vec v)
{
    v += load_vector(p);
    memcpy(p, &v, sizeof v);
}

// total[16][6] += a panel of A times a panel of B.
void multiply_panels(int64_t depth, const float *a, const float *b, float *total, int64_t ld)
{
    Vec sums[PANEL_COLUMNS][2] = {};
    for (int64_t k = 0; k < depth; k++) {
        Vec low = load_vector(a + k * PANEL_ROWS), high = load_vector(a + k * PANEL_ROWS + VECTOR);
        for (int j = 0; j < PANEL_COLUMNS; j++) {
            sums[j][0] += low * b[k * PANEL_COLUMNS + j];
            sums[j][1] += high * b[k * PANEL_COLUMNS + j];
        }
    }
    for (int j = 0; j < PANEL_COLUMNS; j++) {
        add_vector(total + j * ld, sums[j][0]);
        add_vector(total + j * ld + VECTOR, sums[j][1]);
    }
}

// Buffers of one product: packed operands, and sums in whole panels.
struct Scratch {
    std::vector<float> a, b, total;
    int64_t rows, columns; // rounded up to panels
};

void add_block(const Gemm &g, int64_t first, int64_t depth, Scratch *s)
{
    Lines a_lines = {g.m, g.a.ld, g.a.is_transposed, g.is_tf32};
    Lines b_lines = {g.n, g.b.ld, !g.b.is_transposed, g.is_tf32};
    pack_operand(g.a, a_lines, PANEL_ROWS, first, depth, s->a.data());
    pack_operand(g.b, b_lines, PANEL_COLUMNS, first, depth, s->b.data());
    constexpr int64_t ROWS = PANEL_ROWS * ROW_PANELS_A_TIME;
    for (int64_t i0 = 0; i0 < s->rows; i0 += ROWS) {
        for (int64_t j = 0; j < s->columns; j += PANEL_COLUMNS) {
            for (int64_t i = i0; i < std::min(i0 + ROWS, s->rows); i += PANEL_ROWS)
                multiply_panels(depth, &s->a[size_t(i * depth)], &s->b[size_t(j * depth)],
                                &s->total[size_t(j * s->rows + i)], s->rows);
        }
    }
}

// total = the sum over terms [first, end) of k.
void sum_terms(const Gemm &g, int64_t first, int64_t end, Scratch *s)
{
    std::fill(s->total.begin(), s->total.end(), 0.0f);
    int64_t size = g.order.k_block, blocks = (end - first + size - 1) / size;
    for (int64_t i = 0; i < blocks; i++) {
        int64_t at = first + (g.order.is_reversed ? blocks - 1 - i : i) * size;
        add_block(g, at, std::min(size, end - at), s);
    }
}

// As sum_terms over all of k, part by part through the workspace.
void sum_splits(const Gemm &g, Scratch *s)
{
    int64_t part = (g.k + g.order.splits - 1) / g.order.splits;
    for (int split = 0; split < g.order.splits; split++) {
        sum_terms(g, std::min(split * part, g.k), std::min((split + 1) * part, g.k), s);
        float *partial = g.workspace + split * g.m * g.n;
        for (int64_t j = 0; j < g.n; j++)
            memcpy(partial + j * g.m, &s->total[size_t(j * s->rows)], size_t(g.m) * sizeof(float));
    }
    for (int64_t j = 0; j < g.n; j++) {
        for (int64_t i = 0; i < g.m; i++) {
            float sum = 0;
            for (int split = 0; split < g.order.splits; split++)
                sum += g.workspace[(split * g.n + j) * g.m + i];
            s->total[size_t(j * s->rows + i)] = sum;
        }
    }
}

void store(const Gemm &g, const Scratch &s)
{
    for (int64_t j = 0; j < g.n; j++) {
        for (int64_t i = 0; i < g.m; i++) {
            float value = g.alpha * s.total[size_t(j * s.rows + i)];
            if (g.beta > 0 || g.beta < 0)
                value += g.beta * load_any(g.c.data, g.c.type, j * g.c.ld + i);
            if (g.bias)
                value += load_any(g.bias, g.bias_type, i);
            if (g.has_relu && !(value > 0))
                value = 0;
            store_any(g.d, g.d_type, j * g.d_ld + i, value);
        }
    }
}
} // namespace

int64_t gemm_workspace_bytes(int64_t m, int64_t n, const SumOrder &order)
{
    return order.splits > 1 ? m * n * order.splits * int64_t(sizeof(float)) : 0;
}

int64_t gemm_type_bytes(cudaDataType type)
{
    return type == CUDA_R_32F ? 4 : type == CUDA_R_16BF ? 2 : 0;
}

void gemm_run(const Gemm &gemm)
{
    Scratch scratch;
    scratch.rows = round_up(gemm.m, PANEL_ROWS);
    scratch.columns = round_up(gemm.n, PANEL_COLUMNS);
    int64_t depth = std::min(int64_t(gemm.order.k_block), gemm.k);
    scratch.a.resize(size_t(scratch.rows * depth));
    scratch.b.resize(size_t(scratch.columns * depth));
    scratch.total.resize(size_t(scratch.rows * scratch.columns));
    if (gemm.order.splits > 1)
        sum_splits(gemm, &scratch);
    else
        sum_terms(gemm, 0, gemm.k, &scratch);
    store(gemm, scratch);
}
} // namespace emu
