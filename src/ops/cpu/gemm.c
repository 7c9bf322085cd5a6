/*
 * Matrix products of the CPU backend. c is cut into tiles, one task each; a tile takes its columns
 * of b panel by panel, packed for the kernels (kernels_product.h), and all of its rows over each.
 * An element of c is one sum in the order of k, in whatever tile and beside whatever rows it
 * stands: for few rows b is not packed, but summed alike. Measured rates: docs/performance.md.
 */
#include <string.h>

#include "ops/cpu/cpu.h"

/* Tiles of a product for each thread, while they are not small: fewer of strips, several of which
 * are multiplied at once. */
#define TILES_A_THREAD       4
#define STRIP_TILES_A_THREAD 2
/* Multiplications of a tile at least: a microsecond, about what another thread takes to begin. */
#define LEAST_TILE_WORK 32768
/* A tile packs its columns of b for its rows alone: taller ones pack less often. */
#define TALLEST_TILE  512
#define SHORTEST_TILE 64

static int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t tiles(int64_t extent, int64_t tile)
{
    return (extent + tile - 1) / tile;
}

/* The same number of tiles, of even size and whole blocks. */
static int64_t even_tile(int64_t extent, int64_t tile, int64_t block)
{
    const int64_t even = tiles(extent, tiles(extent, tile));
    return minimum(tile, tiles(even, block) * block);
}

/* ---- on one thread ---- */

/* A window of b in memory: `runs` of `bytes` bytes, `stride` bytes apart. */
typedef struct window {
    const char *from;
    int64_t runs, bytes, stride;
} window;

/* Rows first..+k-1 of op(b), columns col..+cols-1. */
static window window_of(const lc_sgemm *g, int64_t first, int64_t k, int64_t col, int64_t cols)
{
    const int64_t size = (int64_t)lc_dtype_bytes(g->b_dtype);
    const bool transposed = g->tb == 'T';
    const int64_t at = transposed ? col * g->ldb + first : first * g->ldb + col;
    const window w = {.from = (const char *)g->b + at * size,
                      .runs = transposed ? cols : k,
                      .bytes = (transposed ? k : cols) * size,
                      .stride = g->ldb * size};
    return w;
}

static void fetch(const window *w, int64_t part, int64_t parts)
{
    const int64_t first = part * w->runs / parts, end = (part + 1) * w->runs / parts;
    lc_cpu_fetch(w->from + first * w->stride, end - first, w->bytes, w->stride);
}

/* c = [c +] alpha op(a) b over one packed panel: rows of blocks, so that their a stays in the
 * nearest cache. Meanwhile the next panel is fetched, if there is one. */
static void multiply_panel(const lc_cpu *cpu, const lc_sgemm *g, const lc_block *panel,
                           const window *next)
{
    const lc_kernels *kernels = cpu->kernels;
    const int64_t steps = tiles(g->m, kernels->block_rows);
    for (int64_t step = 0; step < steps; step++) {
        const int64_t row = step * kernels->block_rows;
        lc_block block = *panel;
        block.rows = minimum(kernels->block_rows, g->m - row);
        block.a += row * (block.a_transposed ? 1 : block.lda);
        block.c += row * block.ldc;
        fetch(next, step, steps);
        for (int64_t col = 0; col < panel->cols; col += kernels->block_cols) {
            block.cols = minimum(kernels->block_cols, panel->cols - col);
            block.ldb = (block.cols + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
            kernels->multiply_block(&block);
            block.b += block.k * block.ldb;
            block.c += block.cols;
        }
    }
}

static void pack(const lc_cpu *cpu, const lc_sgemm *g, const window *from, int64_t k, int64_t cols,
                 float *to)
{
    const lc_panel panel = {
        .b = from->from, .ldb = g->ldb, .is_bf16 = g->b_dtype == LC_BF16, .k = k, .cols = cols};
    (g->tb == 'T' ? cpu->kernels->pack_transposed : cpu->kernels->pack)(&panel, to);
}

/* The same where b lies. false: packing is worth its cost, or whole vectors of b cannot be read. */
static bool multiply_unpacked(const lc_cpu *cpu, const lc_sgemm *g, const lc_block *panel,
                              const window *from)
{
    const lc_kernels *kernels = cpu->kernels;
    lc_block block = *panel;
    block.rows = g->m;
    if (g->m > LC_FEW_ROWS) {
        return false;
    }
    if (g->ta == 'N' && g->tb == 'T') {
        kernels->multiply_few(&block, &(lc_panel){.b = from->from,
                                                  .ldb = g->ldb,
                                                  .is_bf16 = g->b_dtype == LC_BF16,
                                                  .k = block.k,
                                                  .cols = block.cols});
        return true;
    }
    if (g->tb == 'T' || g->b_dtype != LC_F32 || block.cols % kernels->lanes != 0) {
        return false;
    }
    for (int64_t row = 0; row < g->m; row += kernels->block_rows) {
        block.rows = minimum(kernels->block_rows, g->m - row);
        for (int64_t col = 0; col < panel->cols; col += kernels->block_cols) {
            block.cols = minimum(kernels->block_cols, panel->cols - col);
            block.a = panel->a + row * (block.a_transposed ? 1 : block.lda);
            block.b = (const float *)(const void *)from->from + col;
            block.ldb = g->ldb;
            block.c = panel->c + row * block.ldc + col;
            kernels->multiply_block(&block);
        }
    }
    return true;
}

/* b in strips is read as it lies, each strip by all rows; in panels where it is read again. */
static void multiply_strips(const lc_cpu *cpu, const lc_sgemm *g)
{
    const lc_kernels *kernels = cpu->kernels;
    const bool is_read_once = g->m <= kernels->strip_rows;
    const int64_t depth = is_read_once ? g->k : even_tile(g->k, LC_PANEL_DEPTH, 1);
    for (int64_t first = 0; first < g->k; first += depth) {
        const lc_block block = {.rows = g->m,
                                .cols = g->n,
                                .k = minimum(depth, g->k - first),
                                .a = g->a + first,
                                .lda = g->lda,
                                .c = g->c,
                                .ldc = g->ldc,
                                .alpha = g->alpha,
                                .accumulate = g->accumulate || first > 0};
        const int64_t at = first * LC_STRIP * (int64_t)lc_dtype_bytes(g->b_dtype);
        kernels->multiply_strips(&block, &(lc_panel){.b = (const char *)g->b + at,
                                                     .ldb = g->ldb,
                                                     .is_bf16 = g->b_dtype == LC_BF16,
                                                     .k = block.k,
                                                     .cols = block.cols});
    }
}

void lc_cpu_sgemm(const lc_cpu *cpu, lc_cpu_scratch *scratch, const lc_sgemm *g)
{
    const int64_t depth = even_tile(g->k, LC_PANEL_DEPTH, 1);
    if (g->b_has_strips) {
        multiply_strips(cpu, g);
        return;
    }
    for (int64_t col = 0; col < g->n; col += LC_PANEL_COLS) {
        const int64_t cols = minimum(LC_PANEL_COLS, g->n - col);
        window now = window_of(g, 0, minimum(depth, g->k), col, cols);
        for (int64_t first = 0; first < g->k; first += depth) {
            const int64_t k = minimum(depth, g->k - first), left = g->k - first - k;
            const window next = window_of(g, first + k, minimum(depth, left), col, cols);
            const lc_block panel = {.cols = cols,
                                    .k = k,
                                    .a = g->a + first * (g->ta == 'T' ? g->lda : 1),
                                    .lda = g->lda,
                                    .a_transposed = g->ta == 'T',
                                    .b = scratch->panel,
                                    .c = g->c + col,
                                    .ldc = g->ldc,
                                    .alpha = g->alpha,
                                    .accumulate = g->accumulate || first > 0};
            if (!multiply_unpacked(cpu, g, &panel, &now)) {
                pack(cpu, g, &now, k, cols, scratch->panel);
                multiply_panel(cpu, g, &panel, &next);
            }
            now = next;
        }
    }
}

/* ---- on all threads ---- */

typedef struct gemm_job {
    lc_cpu *cpu;
    lc_sgemm whole;
    const lc_gemm *gemm;
    int64_t tile_m, tile_n, tiles_m, tiles_n;
} gemm_job;

/* Narrow enough for every thread's share of tiles; short only where half of that would be missing.
 */
static void choose_tiles(gemm_job *job)
{
    const int64_t m = job->gemm->m, n = job->gemm->n, work = m * n * job->gemm->k;
    const bool has_strips = job->gemm->b.strip > 0;
    const int64_t step = has_strips ? LC_STRIP : job->cpu->kernels->block_cols;
    const int64_t wanted = minimum((has_strips ? STRIP_TILES_A_THREAD : TILES_A_THREAD) *
                                       lc_pool_threads(job->cpu->pool),
                                   (work + LEAST_TILE_WORK - 1) / LEAST_TILE_WORK);
    int64_t tile_m = TALLEST_TILE, tile_n = wanted == 1 ? n : LC_PANEL_COLS;
    while (tile_n > step && tiles(m, tile_m) * tiles(n, tile_n) < wanted) {
        tile_n -= step;
    }
    while (tile_m > SHORTEST_TILE && 2 * tiles(m, tile_m) * tiles(n, tile_n) < wanted) {
        tile_m /= 2;
    }
    job->tile_m = even_tile(m, tile_m, job->cpu->kernels->block_rows);
    job->tile_n = even_tile(n, tile_n, step);
    job->tiles_m = tiles(m, job->tile_m);
    job->tiles_n = tiles(n, job->tile_n);
}

static void set_tile(const lc_gemm *gemm, const lc_cpu *cpu, int64_t row, int64_t rows, int64_t col,
                     int64_t cols)
{
    for (int64_t i = row; i < row + rows; i++) {
        float *c = lc_row_f32(gemm->c, i) + col;
        const float *addend = gemm->addend.data != NULL ? lc_row_f32(gemm->addend, i) + col : NULL;
        if (gemm->bias != NULL && addend != NULL) {
            cpu->kernels->add(addend, gemm->bias + col, c, cols);
        } else if (gemm->bias != NULL) {
            memcpy(c, gemm->bias + col, (size_t)cols * sizeof *c);
        } else if (addend != c) {
            memcpy(c, addend, (size_t)cols * sizeof *c);
        }
    }
}

static void tile_task(void *context, int64_t index, int worker)
{
    const gemm_job *job = context;
    const lc_gemm *gemm = job->gemm;
    const int64_t row = index % job->tiles_m * job->tile_m,
                  col = index / job->tiles_m * job->tile_n;
    const int64_t rows = minimum(job->tile_m, gemm->m - row),
                  cols = minimum(job->tile_n, gemm->n - col);
    if (gemm->bias != NULL || gemm->addend.data != NULL) {
        set_tile(gemm, job->cpu, row, rows, col, cols);
    }
    lc_sgemm tile = job->whole;
    const int64_t b_at = tile.tb == 'T' ? col * tile.ldb : col;
    tile.m = rows;
    tile.n = cols;
    tile.a += tile.ta == 'T' ? row : row * tile.lda;
    tile.b = (const char *)tile.b + b_at * (int64_t)lc_dtype_bytes(tile.b_dtype);
    tile.c += row * tile.ldc + col;
    lc_cpu_sgemm(job->cpu, &job->cpu->scratch[worker], &tile);
}

void lc_cpu_gemm(lc_cpu *cpu, const lc_gemm *gemm)
{
    if (gemm->m == 0 || gemm->n == 0 || gemm->k == 0) { /* k is 0 for a batch without rows only */
        return;
    }
    const bool starts_set = gemm->bias != NULL || gemm->addend.data != NULL;
    gemm_job job = {.cpu = cpu,
                    .gemm = gemm,
                    .whole = {.ta = gemm->ta,
                              .tb = gemm->tb,
                              .m = gemm->m,
                              .n = gemm->n,
                              .k = gemm->k,
                              .alpha = gemm->alpha,
                              .accumulate = starts_set || gemm->accumulate,
                              .a = gemm->a.data,
                              .lda = gemm->a.ld,
                              .b = gemm->b.data,
                              .b_dtype = gemm->b.dtype,
                              .b_has_strips = gemm->b.strip > 0,
                              .ldb = gemm->b.ld,
                              .c = gemm->c.data,
                              .ldc = gemm->c.ld}};
    choose_tiles(&job);
    lc_cpu_run(cpu, job.tiles_m * job.tiles_n, tile_task, &job);
}
