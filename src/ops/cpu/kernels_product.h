/*
 * The matrix product's innermost part, compiled once per instruction set as kernels_impl.h, which
 * includes this. A block of c stays in registers while k runs, so each of its elements is a fused
 * sum in the order of k, whatever the block's size: results do not depend on how c is cut. The
 * scheme is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
 * (2008).
 */

#define BLOCK_VECTORS 3
#define BLOCK_ROWS    (LANES == 16 ? 8 : 4) /* of 32 and 16 registers, four hold no sums */
#define BLOCK_COLS    (BLOCK_VECTORS * LANES)

/* The sum begins with what c holds, so that one product in two parts of k is summed as in one. */
INLINE bool goes_on(const lc_block *block)
{
    return block->accumulate && block->alpha == 1.0f;
}

INLINE vf begin_sum(const lc_block *block, int64_t row, int64_t vector)
{
    const float *c = block->c + row * block->ldc + vector * LANES;
    return goes_on(block) ? load(c, block->cols - vector * LANES) : vf_set(0.0f);
}

INLINE void put(const lc_block *block, int64_t row, int64_t vector, vf sum)
{
    float *c = block->c + row * block->ldc + vector * LANES;
    const int64_t left = block->cols - vector * LANES;
    if (goes_on(block)) {
        store(c, sum, left);
        return;
    }
    const vf value = sum * vf_set(block->alpha);
    store(c, block->accumulate ? load(c, left) + value : value, left);
}

/* Sums have names, no array: not every compiler keeps an array in registers. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#define DECLARE_ROW(i)                                                         \
    vf s##i##0 = rows > (i) ? begin_sum(block, i, 0) : vf_set(0.0f);           \
    vf s##i##1 = rows > (i) && vectors > 1 ? begin_sum(block, i, 1) : s##i##0; \
    vf s##i##2 = rows > (i) && vectors > 2 ? begin_sum(block, i, 2) : s##i##0;
#define ADD_ROW(i)                                                                               \
    if (rows > (i)) {                                                                            \
        const vf left = vf_set(transposed ? a[i] : (i) < 4 ? a[(i)*lda] : lower[((i)-4) * lda]); \
        s##i##0 = vf_fma(left, right0, s##i##0);                                                 \
        s##i##1 = vectors > 1 ? vf_fma(left, right1, s##i##1) : s##i##1;                         \
        s##i##2 = vectors > 2 ? vf_fma(left, right2, s##i##2) : s##i##2;                         \
    }
#define PUT_ROW(i)                     \
    if (rows > (i)) {                  \
        put(block, i, 0, s##i##0);     \
        if (vectors > 1) {             \
            put(block, i, 1, s##i##1); \
        }                              \
        if (vectors > 2) {             \
            put(block, i, 2, s##i##2); \
        }                              \
    }

/* `rows`, `vectors` and `transposed` are constants where this is inlined. */
INLINE void multiply(const lc_block *block, const int rows, const int vectors,
                     const bool transposed)
{
    const int64_t lda = block->lda, ldb = block->ldb;
    const float *a = block->a, *lower = a + (transposed ? 0 : 4 * lda), *b = block->b;
    EACH_ROW(DECLARE_ROW)
    for (int64_t p = 0; p < block->k; p++) {
        const vf right0 = load(b, LANES);
        const vf right1 = vectors > 1 ? load(b + LANES, LANES) : right0;
        const vf right2 = vectors > 2 ? load(b + 2 * LANES, LANES) : right0;
        EACH_ROW(ADD_ROW)
        a += transposed ? lda : 1;
        lower += 1;
        b += ldb;
    }
    EACH_ROW(PUT_ROW)
}

#define BLOCK_CASE(rows, vectors)                                                   \
    case (vectors)*16 + (rows):                                                     \
        if (block->a_transposed) {                                                  \
            multiply(block, rows < BLOCK_ROWS ? rows : BLOCK_ROWS, vectors, true);  \
        } else {                                                                    \
            multiply(block, rows < BLOCK_ROWS ? rows : BLOCK_ROWS, vectors, false); \
        }                                                                           \
        break;
#define BLOCK_CASES(vectors) \
    BLOCK_CASE(1, vectors)   \
    BLOCK_CASE(2, vectors)   \
    BLOCK_CASE(3, vectors)   \
    BLOCK_CASE(4, vectors)   \
    BLOCK_CASE(5, vectors) BLOCK_CASE(6, vectors) BLOCK_CASE(7, vectors) BLOCK_CASE(8, vectors)

static void multiply_block(const lc_block *block)
{
    const int64_t vectors = (block->cols + LANES - 1) / LANES;
    switch (vectors * 16 + block->rows) {
        BLOCK_CASES(1)
        BLOCK_CASES(2)
        BLOCK_CASES(3)
    }
}

/* Columns of a packed strip when `left` are left: whole vectors. */
static inline int64_t strip_width(int64_t left)
{
    return left < BLOCK_COLS ? (left + LANES - 1) / LANES * LANES : BLOCK_COLS;
}

/* Element `at` and those behind it, of which `left` are left. */
INLINE vf load_weights(const void *from, const bool is_bf16, int64_t at, int64_t left)
{
    if (!is_bf16) {
        return load((const float *)from + at, left);
    }
    vh half = {0};
    const size_t count = left < LANES ? (size_t)left : LANES;
    memcpy(&half, (const uint16_t *)from + at, count * sizeof(uint16_t));
    const vu bits = __builtin_convertvector(half, vu) << 16;
    return (vf)bits;
}

/* The next columns of row p into a strip, whole vectors of them. */
INLINE void pack_row(const lc_panel *panel, const bool is_bf16, int64_t p, int64_t col,
                     const int64_t width, float *to)
{
    for (int64_t j = 0; j < width; j += LANES) {
        const int64_t left = panel->cols - col - j;
        store(to + j, load_weights(panel->b, is_bf16, p * panel->ldb + col + j, left), LANES);
    }
}

/* Strips of BLOCK_COLS columns, row by row of b. */
INLINE void pack_rows(const lc_panel *panel, const bool is_bf16, float *to)
{
    for (int64_t p = 0; p < panel->k; p++) {
        float *strip = to;
        int64_t col = 0;
        for (; col + BLOCK_COLS <= panel->cols; col += BLOCK_COLS) {
            pack_row(panel, is_bf16, p, col, BLOCK_COLS, strip + p * BLOCK_COLS);
            strip += panel->k * BLOCK_COLS;
        }
        const int64_t width = strip_width(panel->cols - col);
        pack_row(panel, is_bf16, p, col, width, strip + p * width);
    }
}

static void pack(const lc_panel *panel, float *to)
{
    if (panel->is_bf16) {
        pack_rows(panel, true, to);
    } else {
        pack_rows(panel, false, to);
    }
}

typedef float quad __attribute__((vector_size(16)));

INLINE quad load_quad(const void *from, const bool is_bf16, int64_t at)
{
    quad value;
    if (is_bf16) {
        uint16_t half[4];
        memcpy(half, (const uint16_t *)from + at, sizeof half);
        const uint32_t bits[4] = {(uint32_t)half[0] << 16, (uint32_t)half[1] << 16,
                                  (uint32_t)half[2] << 16, (uint32_t)half[3] << 16};
        memcpy(&value, bits, sizeof value);
    } else {
        memcpy(&value, (const float *)from + at, sizeof value);
    }
    return value;
}

INLINE float load_one(const void *from, const bool is_bf16, int64_t at)
{
    if (!is_bf16) {
        return ((const float *)from)[at];
    }
    const uint32_t bits = (uint32_t)((const uint16_t *)from)[at] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Columns 0..3 at b[at], one a row of b; `k` of each. */
INLINE void pack_quad(const lc_panel *panel, const bool is_bf16, int64_t at, int64_t width,
                      float *to)
{
    const int64_t ldb = panel->ldb;
    int64_t p = 0;
    for (; p + 4 <= panel->k; p += 4) {
        const quad r0 = load_quad(panel->b, is_bf16, at + p);
        const quad r1 = load_quad(panel->b, is_bf16, at + ldb + p);
        const quad r2 = load_quad(panel->b, is_bf16, at + 2 * ldb + p);
        const quad r3 = load_quad(panel->b, is_bf16, at + 3 * ldb + p);
        const quad low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
        const quad low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
        const quad high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
        const quad high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
        const quad columns[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                                 __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                                 __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                                 __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
        for (int i = 0; i < 4; i++) {
            memcpy(to + (p + i) * width, &columns[i], sizeof columns[i]);
        }
    }
    for (; p < panel->k; p++) {
        for (int j = 0; j < 4; j++) {
            to[p * width + j] = load_one(panel->b, is_bf16, at + j * ldb + p);
        }
    }
}

/* One strip. */
INLINE void pack_strip(const lc_panel *panel, const bool is_bf16, int64_t col, float *to)
{
    const int64_t cols = panel->cols - col < BLOCK_COLS ? panel->cols - col : BLOCK_COLS;
    const int64_t width = strip_width(cols);
    int64_t j = 0;
    for (; j + 4 <= cols; j += 4) {
        pack_quad(panel, is_bf16, (col + j) * panel->ldb, width, to + j);
    }
    for (; j < width; j++) {
        for (int64_t p = 0; p < panel->k; p++) {
            to[p * width + j] =
                j < cols ? load_one(panel->b, is_bf16, (col + j) * panel->ldb + p) : 0.0f;
        }
    }
}

static void pack_transposed(const lc_panel *panel, float *to)
{
    for (int64_t col = 0; col < panel->cols; col += BLOCK_COLS) {
        if (panel->is_bf16) {
            pack_strip(panel, true, col, to);
        } else {
            pack_strip(panel, false, col, to);
        }
        to += panel->k * BLOCK_COLS;
    }
}

/* ---- few rows: b as it lies, turned in registers ---- */

#define LINE_FLOATS 16 /* of a cache line */

/* Four vectors, each with a run of four in every four lanes: their columns, as rows. */
INLINE void turn(vf w[4])
{
    const vw low01 = (vw)vf_zip_low(w[0], w[1]), low23 = (vw)vf_zip_low(w[2], w[3]);
    const vw high01 = (vw)vf_zip_high(w[0], w[1]), high23 = (vw)vf_zip_high(w[2], w[3]);
    w[0] = (vf)vw_zip_even(low01, low23);
    w[1] = (vf)vw_zip_odd(low01, low23);
    w[2] = (vf)vw_zip_even(high01, high23);
    w[3] = (vf)vw_zip_odd(high01, high23);
}

/* Rows p..p+3 of op(b), LANES columns of it from `col` on. */
INLINE void load_turned(const lc_panel *panel, const bool is_bf16, int64_t col, int64_t p, vf w[4])
{
    const int64_t ldb = panel->ldb, at = col * ldb + p;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        w[i] = is_bf16 ? vf_quads_bf16((const uint16_t *)panel->b + at + i * ldb, 4 * ldb)
                       : vf_quads((const float *)panel->b + at + i * ldb, 4 * ldb);
    }
    turn(w);
}

/* The same at an edge: columns and rows that are not there are 0. */
static __attribute__((noinline)) void load_turned_edge(const lc_panel *panel, int64_t col,
                                                       int64_t p, vf w[4])
{
    float quads[4 * LANES] = {0};
    for (int64_t j = 0; j < LANES && col + j < panel->cols; j++) {
        for (int64_t q = 0; q < 4 && p + q < panel->k; q++) {
            quads[4 * j + q] = load_one(panel->b, panel->is_bf16, (col + j) * panel->ldb + p + q);
        }
    }
    for (int i = 0; i < 4; i++) {
        w[i] = vf_quads(quads + 4 * i, 16);
    }
    turn(w);
}

/* `vectors` vectors of columns from `col` on, whole ones with is_whole. A line of each column is
 * used up before the next columns' are, for they may share a cache set. */
INLINE void multiply_turned(const lc_block *block, const lc_panel *panel, const bool is_bf16,
                            int64_t col, const int rows, const int vectors, const bool is_whole)
{
    lc_block part = *block;
    part.c += col;
    part.cols -= col;
    vf sum[LC_FEW_ROWS * BLOCK_VECTORS], w[4];
    int64_t p = 0;
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++) {
        sum[i] = begin_sum(&part, i / vectors, i % vectors);
    }
    for (; is_whole && p + LINE_FLOATS <= block->k; p += LINE_FLOATS) {
        const float *a = block->a + p;
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
#pragma GCC unroll 4
            for (int at = 0; at < LINE_FLOATS; at += 4) {
                load_turned(panel, is_bf16, col + v * LANES, p + at, w);
#pragma GCC unroll 32
                for (int i = 0; i < 4 * rows; i++) {
                    const vf left = vf_set(a[i % rows * block->lda + at + i / rows]);
                    vf *to = &sum[i % rows * vectors + v];
                    *to = vf_fma(left, w[i / rows], *to);
                }
            }
        }
    }
    for (; p < block->k; p += 4) {
        const int64_t depth = block->k - p < 4 ? block->k - p : 4;
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            load_turned_edge(panel, col + v * LANES, p, w);
            for (int64_t q = 0; q < depth; q++) {
#pragma GCC unroll 8
                for (int i = 0; i < rows; i++) {
                    const vf left = vf_set(block->a[i * block->lda + p + q]);
                    sum[i * vectors + v] = vf_fma(left, w[q], sum[i * vectors + v]);
                }
            }
        }
    }
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++) {
        put(&part, i / vectors, i % vectors, sum[i]);
    }
}

/* As many vectors at once as leave registers for the sums of all rows. */
INLINE void multiply_rows(const lc_block *block, const lc_panel *panel, const bool is_bf16,
                          const int rows)
{
    int64_t col = 0;
    for (; rows <= 2 && col + 3 * LANES <= panel->cols; col += 3 * LANES) {
        multiply_turned(block, panel, is_bf16, col, rows, 3, true);
    }
    for (; col + LANES <= panel->cols; col += LANES) {
        multiply_turned(block, panel, is_bf16, col, rows, 1, true);
    }
    if (col < panel->cols) {
        multiply_turned(block, panel, is_bf16, col, rows, 1, false);
    }
}

#define ROWS_CASE(rows)                                 \
    case rows:                                          \
        if (panel->is_bf16) {                           \
            multiply_rows(block, panel, true, (rows));  \
        } else {                                        \
            multiply_rows(block, panel, false, (rows)); \
        }                                               \
        break;

static void multiply_few(const lc_block *block, const lc_panel *panel)
{
    switch (block->rows) {
        ROWS_CASE(1)
        ROWS_CASE(2)
        ROWS_CASE(3)
        ROWS_CASE(4)
        ROWS_CASE(5)
        ROWS_CASE(6)
        ROWS_CASE(7)
        ROWS_CASE(8)
    }
}

/* ---- b in strips: a vector or more of columns for each k, one k after the other ---- */

#define STRIP_VECTORS (LC_STRIP / LANES)
#define STRIP_ROWS    (LANES == 16 ? 8 : 4) /* at once */
/* So many strips at once that the sums' latency does not show and their registers suffice. */
#if LANES == 16
#define STRIPS_AT_ONCE(rows) ((rows) <= 2 ? 6 : (rows) <= 4 ? 4 : 3)
#elif LANES == 8
#define STRIPS_AT_ONCE(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 3 : (rows) == 3 ? 2 : 1)
#else
#define STRIPS_AT_ONCE(rows) 1
#endif

/* `strips` strips of columns from `col` on. What is multiplied by many rows leaves the memory
 * waiting: it asks for the next strips' lines. */
INLINE void multiply_strip(const lc_block *block, const lc_panel *panel, const bool is_bf16,
                           int64_t col, const int rows, const int strips)
{
    const int64_t lda = block->lda, next = LC_STRIP * panel->ldb;
    const int vectors = strips * STRIP_VECTORS;
    const char *b = (const char *)panel->b + col * panel->ldb * (is_bf16 ? 2 : 4);
    const float *a = block->a, *lower = a + 4 * lda;
    lc_block part = *block;
    part.c += col;
    part.cols = strips * LC_STRIP;
    vf sum[STRIP_ROWS * 6 * STRIP_VECTORS];
#pragma GCC unroll 32
    for (int i = 0; i < rows * vectors; i++) {
        sum[i] = begin_sum(&part, i / vectors, i % vectors);
    }
    for (int64_t p = 0; p < block->k; p++) {
        if (strips == 1 || rows > 2) {
#pragma GCC unroll 6
            for (int i = 0; i < strips; i++) {
                __builtin_prefetch(b + (strips + i) * next * (is_bf16 ? 2 : 4), 0, 2);
            }
        }
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            const int64_t at = v / STRIP_VECTORS * next + v % STRIP_VECTORS * LANES;
            const vf right = load_weights(b, is_bf16, at, LANES);
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++) {
                const vf left = vf_set(i < 4 ? a[i * lda] : lower[(i - 4) * lda]);
                sum[i * vectors + v] = vf_fma(left, right, sum[i * vectors + v]);
            }
        }
        a++;
        lower++;
        b += LC_STRIP * (is_bf16 ? 2 : 4);
    }
#pragma GCC unroll 32
    for (int i = 0; i < rows * vectors; i++) {
        put(&part, i / vectors, i % vectors, sum[i]);
    }
}

/* Columns col..end-1, as many strips at once as leave registers for the sums. */
INLINE void multiply_strip_columns(const lc_block *block, const lc_panel *panel, const bool is_bf16,
                                   int64_t col, int64_t end, const int rows)
{
    const int strips = STRIPS_AT_ONCE(rows);
    for (; col + strips * LC_STRIP <= end; col += strips * LC_STRIP) {
        multiply_strip(block, panel, is_bf16, col, rows, strips);
    }
    for (; col < end; col += LC_STRIP) {
        multiply_strip(block, panel, is_bf16, col, rows, 1);
    }
}

#define STRIP_CASE(rows)                                                   \
    case rows:                                                             \
        if (panel->is_bf16) {                                              \
            multiply_strip_columns(block, panel, true, col, end, (rows));  \
        } else {                                                           \
            multiply_strip_columns(block, panel, false, col, end, (rows)); \
        }                                                                  \
        break;

static void multiply_strip_block(const lc_block *block, const lc_panel *panel, int64_t col,
                                 int64_t end)
{
    switch (block->rows) {
        STRIP_CASE(1)
        STRIP_CASE(2)
        STRIP_CASE(3)
        STRIP_CASE(4)
#if LANES == 16
        STRIP_CASE(5)
        STRIP_CASE(6)
        STRIP_CASE(7)
        STRIP_CASE(8)
#endif
    }
}

/* More rows than are summed at once come in even blocks, all of them for the same strips. */
static void multiply_strips(const lc_block *block, const lc_panel *panel)
{
    const int64_t blocks = (block->rows + STRIP_ROWS - 1) / STRIP_ROWS;
    const int64_t width = blocks == 1 ? block->cols : STRIPS_AT_ONCE(STRIP_ROWS) * LC_STRIP;
    for (int64_t col = 0; col < block->cols; col += width) {
        const int64_t end = block->cols - col < width ? block->cols : col + width;
        for (int64_t i = 0, row = 0; i < blocks; i++) {
            lc_block part = *block;
            part.rows = (block->rows - row + blocks - i - 1) / (blocks - i);
            part.a += row * block->lda;
            part.c += row * block->ldc;
            multiply_strip_block(&part, panel, col, end);
            row += part.rows;
        }
    }
}
