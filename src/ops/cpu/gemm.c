/*
 * Matrix products of the CPU backend. The output is cut into tiles by shape alone; each tile is one
 * single-threaded oneDNN sgemm over the whole of K (or a fixed sequence of K panels where the
 * weight is BF16), so the bytes do not depend on the number of threads. Measured rates:
 * docs/performance.md.
 */
#include "ops/cpu/cpu.h"

#include <dnnl.h>
#include <string.h>

#define TASKS_WANTED  12 /* tiles of a product, while they are not small */
#define SMALLEST_TILE 64
/* A tile packs both of its panels: taller ones pack the weights less often. */
#define TALLEST_TILE 512
/* A stride of a multiple of 4 KiB maps a column of the operand onto a few cache sets: 3 times
 * slower. */
#define ALIASING_FLOATS 1024
/* Fewer rows than this do not pay for a copy of b. */
#define STAGED_ROWS 16
/* How far ahead of the copy the next lines of b are fetched: they lie a stride apart, often a page.
 */
#define LINES_AHEAD 8
#define FETCH_BYTES 1024 /* longer runs are left to the hardware */
/* Below this many rows oneDNN's matrix path loses to its vector path, one row at a time. */
#define VECTOR_ROWS 3

void lc_cpu_sgemm(lc_cpu *cpu, const lc_sgemm *g)
{
    /* Per calling thread, a thread-local store; any thread may be worker 0. */
    if (cpu->set_omp_threads != NULL) {
        cpu->set_omp_threads(1);
    }
    const int status = (int)dnnl_sgemm(g->ta, g->tb, g->m, g->n, g->k, g->alpha, g->a, g->lda, g->b,
                                       g->ldb, g->beta, g->c, g->ldc);
    if (status != (int)dnnl_success) {
        __atomic_store_n(&cpu->gemm_status, status, __ATOMIC_RELAXED);
    }
}

lc_code lc_cpu_finish(lc_cpu *cpu, const char *op, lc_err *err)
{
    const int status = __atomic_exchange_n(&cpu->gemm_status, (int)dnnl_success, __ATOMIC_RELAXED);
    if (status == (int)dnnl_success) {
        return LC_OK;
    }
    return lc_fail(err, LC_ERR_DEVICE, "%s: oneDNN's sgemm failed with status %d%s", op, status,
                   status == (int)dnnl_out_of_memory ? " (out of memory)" : "");
}

typedef struct gemm_job {
    lc_cpu *cpu;
    const lc_gemm *gemm;
    int64_t tile_m, tile_n, tiles_m, tiles_n;
    bool stages; /* b goes through the worker's stage, `panel` of K at a time */
    int64_t panel;
} gemm_job;

static int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t tiles(int64_t extent, int64_t tile)
{
    return (extent + tile - 1) / tile;
}

/* The same number of tiles, of even size and whole vectors. */
static int64_t even_tile(int64_t extent, int64_t tile)
{
    const int64_t count = tiles(extent, tile), even = tiles(extent, count);
    return minimum(tile, (even + 15) / 16 * 16);
}

/* Small enough for TASKS_WANTED tiles, but not below SMALLEST_TILE. Staging a panel pays by the
 * rows that use it, so staged tiles lose columns first. */
static void choose_tiles(gemm_job *job, int64_t m, int64_t n)
{
    int64_t tile_m = job->stages ? LC_MAX_TILE : TALLEST_TILE, tile_n = LC_MAX_TILE;
    while (tile_n > SMALLEST_TILE && tiles(m, tile_m) * tiles(n, tile_n) < TASKS_WANTED) {
        tile_n /= 2;
        tile_m = job->stages ? tile_m : tile_n;
    }
    while (tile_m > SMALLEST_TILE && tiles(m, tile_m) * tiles(n, tile_n) < TASKS_WANTED / 2) {
        tile_m /= 2;
    }
    job->tile_m = even_tile(m, tile_m);
    job->tile_n = even_tile(n, tile_n);
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

/* The product of one tile; b at [row of K or column][...] already points into the tile. */
static void multiply(lc_cpu *cpu, const lc_sgemm *g)
{
    if (g->m == 1 || g->m > VECTOR_ROWS || g->ta == 'T') {
        lc_cpu_sgemm(cpu, g);
        return;
    }
    for (int64_t i = 0; i < g->m; i++) {
        lc_sgemm row = *g;
        row.m = 1;
        row.a += i * g->lda;
        row.c += i * g->ldc;
        lc_cpu_sgemm(cpu, &row);
    }
}

static void fetch(lc_mat mat, int64_t row, int64_t col, int64_t count)
{
    const size_t size = lc_dtype_bytes(mat.dtype);
    const char *from = (const char *)mat.data + (size_t)(row * mat.ld + col) * size;
    for (size_t at = 0; at < (size_t)count * size && at < FETCH_BYTES; at += 64) {
        __builtin_prefetch(from + at);
    }
}

/* Copies op(b)'s window K first..first+depth-1, columns col..col+cols-1 into the stage, as F32. */
static int64_t stage_panel(const gemm_job *job, int64_t first, int64_t depth, int64_t col,
                           int64_t cols, float *stage)
{
    const lc_gemm *gemm = job->gemm;
    const bool transposed = gemm->tb == 'T';
    const int64_t lines = transposed ? cols : depth, length = transposed ? depth : cols;
    const int64_t stride = length + LC_STAGE_PAD;
    for (int64_t i = 0; i < lines; i++) {
        if (i + LINES_AHEAD < lines) {
            fetch(gemm->b, (transposed ? col : first) + i + LINES_AHEAD, transposed ? first : col,
                  length);
        }
        lc_cpu_expand(job->cpu, gemm->b, (transposed ? col : first) + i, transposed ? first : col,
                      length, stage + i * stride);
    }
    return stride;
}

static void tile_task(void *context, int64_t index, int worker)
{
    const gemm_job *job = context;
    const lc_gemm *gemm = job->gemm;
    const int64_t row = index % job->tiles_m * job->tile_m,
                  col = index / job->tiles_m * job->tile_n;
    const int64_t rows = minimum(job->tile_m, gemm->m - row),
                  cols = minimum(job->tile_n, gemm->n - col);
    const bool starts_set = gemm->bias != NULL || gemm->addend.data != NULL;
    if (starts_set) {
        set_tile(gemm, job->cpu, row, rows, col, cols);
    }
    lc_sgemm tile = {.ta = gemm->ta,
                     .tb = gemm->tb,
                     .m = rows,
                     .n = cols,
                     .k = gemm->k,
                     .alpha = gemm->alpha,
                     .beta = starts_set || gemm->accumulate ? 1.0f : 0.0f,
                     .a = (const float *)gemm->a.data + (gemm->ta == 'T' ? row : row * gemm->a.ld),
                     .lda = gemm->a.ld,
                     .c = lc_row_f32(gemm->c, row) + col,
                     .ldc = gemm->c.ld};
    if (!job->stages) {
        tile.b = (const float *)gemm->b.data + (gemm->tb == 'T' ? col * gemm->b.ld : col);
        tile.ldb = gemm->b.ld;
        multiply(job->cpu, &tile);
        return;
    }
    float *stage = job->cpu->scratch[worker].stage;
    tile.b = stage;
    for (int64_t first = 0; first < gemm->k; first += job->panel) {
        tile.k = minimum(job->panel, gemm->k - first);
        tile.ldb = stage_panel(job, first, tile.k, col, cols, stage);
        multiply(job->cpu, &tile);
        tile.a += tile.k * (gemm->ta == 'T' ? gemm->a.ld : 1);
        tile.beta = 1.0f;
    }
}

const float *lc_cpu_restride(lc_cpu_scratch *scratch, const float *from, int64_t rows, int64_t cols,
                             int64_t *ld)
{
    const int64_t stride = cols + LC_STAGE_PAD,
                  room = (int64_t)(sizeof scratch->stage / sizeof(float));
    if (*ld % ALIASING_FLOATS != 0 || rows < STAGED_ROWS || rows > room / stride) {
        return from;
    }
    for (int64_t i = 0; i < rows; i++) {
        memcpy(scratch->stage + i * stride, from + i * *ld, (size_t)cols * sizeof *from);
    }
    *ld = stride;
    return scratch->stage;
}

void lc_cpu_gemm(lc_cpu *cpu, const lc_gemm *gemm)
{
    if (gemm->m == 0 || gemm->n == 0 || gemm->k == 0) { /* k is 0 for a batch without rows only */
        return;
    }
    const bool aliases =
        gemm->tb == 'N' && gemm->m >= STAGED_ROWS && gemm->b.ld % ALIASING_FLOATS == 0;
    gemm_job job = {.cpu = cpu, .gemm = gemm, .stages = gemm->b.dtype == LC_BF16 || aliases};
    choose_tiles(&job, gemm->m, gemm->n);
    job.panel = minimum(LC_STAGE_FLOATS / job.tile_n, LC_MAX_PANEL);
    lc_cpu_run(cpu, job.tiles_m * job.tiles_n, tile_task, &job);
}
