/*
 * What a GPU has to answer before the backend is tuned; the answers go to docs/performance.md:
 *
 *   gemm   rates of a Llama-3.1-8B's products at four batch sizes, with the border's columns and
 *          with an addend; and how long a product keeps its rate
 *   graph  time per node of a graph, and per launch without one
 *   side   a product's time while blocks of a side stream stay on the device
 *   copy   rates of copies: on the device, from pinned memory, and of rows into wider rows
 *
 * (Attention and the LoRA passes: lorac bench ops. Fragment layouts: gpu_tensor, gpu_features.)
 * Runs on a GPU, and with --tiny on the emulator. Prints a table, with --json FILE the same there.
 *
 * usage: gpu_questions [--tiny] [--seconds S] [--sustain S] [--json FILE] [QUESTION...]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda.h"

#define BLOCK_BYTES     ((size_t)8 << 20)
#define WORKSPACE_BYTES ((size_t)64 << 20)
#define MAX_TAIL        64
#define GRAPH_NODES     256
#define RESIDENT        256 /* threads of a block that stays */
#define TRIALS          5

cudaError_t questions_launch_nothing(cudaStream_t stream);
cudaError_t questions_launch_resident(float *out, int blocks, int64_t iterations,
                                      cudaStream_t stream);

typedef struct questions {
    lc_device *device;
    cudaStream_t stream, side;
    bool tiny;
    double seconds, sustain;
    FILE *json;
    int row_count;
    char *names[8];
    int name_count;
} questions;

static lc_err error;

static void check(lc_code code)
{
    if (code != LC_OK) {
        (void)fprintf(stderr, "gpu_questions: %s\n", error.message);
        exit(1);
    }
}

#define CUDA(call) check(lc_cuda_result((call), #call, &error))

static void answer(questions *q, const char *question, const char *name, double microseconds,
                   double value, const char *unit)
{
    (void)printf("%-6s %-46s %12.2f us %12.4g %s\n", question, name, microseconds, value, unit);
    (void)fflush(stdout);
    if (q->json != NULL) {
        (void)fprintf(q->json,
                      "%s\n  {\"question\": \"%s\", \"name\": \"%s\", \"microseconds\": %.4f, "
                      "\"value\": %.6g, \"unit\": \"%s\"}",
                      q->row_count == 0 ? "" : ",", question, name, microseconds, value, unit);
    }
    q->row_count++;
}

static bool is_wanted(const questions *q, const char *name)
{
    for (int i = 0; i < q->name_count; i++) {
        if (strcmp(q->names[i], name) == 0) {
            return true;
        }
    }
    return q->name_count == 0;
}

/* ---- memory and time ---- */

/* Device memory of random bf16 numbers of about 0.02, or of no meaning. */
static void *memory_of(questions *q, size_t bytes, bool is_random)
{
    void *memory = NULL;
    check(lc_cuda_alloc(q->device, bytes, &memory, &error));
    if (!is_random) {
        return memory;
    }
    uint16_t *block = malloc(BLOCK_BYTES);
    uint32_t state = 12345;
    for (size_t i = 0; block != NULL && i < BLOCK_BYTES / 2; i++) {
        state = state * 1664525u + 1013904223u;
        block[i] = (uint16_t)(0x3C00u | (state >> 8 & 0x80FFu));
    }
    for (size_t done = 0; block != NULL && done < bytes; done += BLOCK_BYTES) {
        const size_t some = bytes - done < BLOCK_BYTES ? bytes - done : BLOCK_BYTES;
        check(lc_cuda_upload(q->device, (char *)memory + done, block, some, &error));
    }
    free(block);
    return memory;
}

typedef void (*work_fn)(questions *q, const void *what);

static double time_of(questions *q, work_fn work, const void *what, int64_t calls)
{
    double seconds = 0.0;
    check(lc_cuda_timer_start(q->device, &error));
    for (int64_t i = 0; i < calls; i++) {
        work(q, what);
    }
    check(lc_cuda_timer_stop(q->device, &seconds, &error));
    return seconds / (double)calls;
}

static int by_value(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

/* Median of some trials that take q->seconds together; warmed up. */
static double measure(questions *q, work_fn work, const void *what)
{
    double trials[TRIALS];
    (void)time_of(q, work, what, 1);
    const double once = time_of(q, work, what, 1);
    const double calls = q->seconds / TRIALS / (once > 1e-7 ? once : 1e-7);
    for (int i = 0; i < TRIALS; i++) {
        trials[i] = q->tiny ? once : time_of(q, work, what, calls < 1.0 ? 1 : (int64_t)calls);
    }
    qsort(trials, TRIALS, sizeof *trials, by_value);
    return trials[TRIALS / 2];
}

/* ---- products ---- */

typedef struct product {
    const char *name;
    int64_t in, out;
} product;

static const product products[] = {{"qkv", 4096, 6144},
                                   {"o", 4096, 4096},
                                   {"gate_up", 4096, 28672},
                                   {"down", 14336, 4096},
                                   {"head", 4096, 128256}};
#define PRODUCT_COUNT (sizeof products / sizeof *products)

static void run_product(questions *q, const void *what)
{
    check(lc_cuda_gemm_run(&lc_cuda_of(q->device)->gemms, what, q->stream, &error));
}

static lc_mat bf16(void *data, int64_t rows, int64_t cols, int64_t ld)
{
    return (lc_mat){.data = data, .rows = rows, .cols = cols, .ld = ld, .dtype = LC_BF16};
}

/* Buffers as large as the largest product of `p` wants. */
typedef struct operands {
    void *x, *g, *y, *addend;
} operands;

static operands operands_of(questions *q, const product *p, int64_t rows)
{
    const size_t x = (size_t)(rows * (p->in + MAX_TAIL)) * 2,
                 g = (size_t)((p->out + MAX_TAIL) * (p->in + MAX_TAIL)) * 2,
                 y = (size_t)(rows * (p->out + MAX_TAIL)) * 2;
    return (operands){.x = memory_of(q, x, true),
                      .g = memory_of(q, g, true),
                      .y = memory_of(q, y, true),
                      .addend = memory_of(q, x > y ? x : y, true)};
}

static void free_operands(const operands *o)
{
    void *const all[] = {o->x, o->g, o->y, o->addend};
    for (int i = 0; i < 4; i++) {
        CUDA(cudaFree(all[i]));
    }
}

/* forward [x|S] [W|sB]^T or backward [dy|dS] [W;A], the contraction `tail` longer than the base. */
static lc_cuda_gemm gemm_of(const operands *o, const product *p, int64_t rows, int64_t tail,
                            bool is_backward, bool has_addend)
{
    const int64_t ld_x = p->in + MAX_TAIL, ld_y = p->out + MAX_TAIL;
    const lc_mat none = {.data = NULL};
    if (is_backward) {
        const lc_mat dx = bf16(o->x, rows, p->in, ld_x);
        return (lc_cuda_gemm){.ta = 'N',
                              .tb = 'N',
                              .m = rows,
                              .n = p->in,
                              .k = p->out + tail,
                              .alpha = 1.0f,
                              .a = bf16(o->y, rows, p->out + tail, ld_y),
                              .b = bf16(o->g, p->out + tail, p->in, ld_x),
                              .addend = has_addend ? dx : none,
                              .c = dx};
    }
    return (lc_cuda_gemm){.ta = 'N',
                          .tb = 'T',
                          .m = rows,
                          .n = p->out,
                          .k = p->in + tail,
                          .alpha = 1.0f,
                          .a = bf16(o->x, rows, p->in + tail, ld_x),
                          .b = bf16(o->g, p->out, p->in + tail, ld_x),
                          .addend = has_addend ? bf16(o->addend, rows, p->out, ld_y) : none,
                          .c = bf16(o->y, rows, p->out, ld_y)};
}

static product scaled(const questions *q, const product *p)
{
    product small = *p;
    small.in = q->tiny ? p->in / 64 : p->in;
    small.out = q->tiny ? p->out / 64 / 16 * 16 : p->out;
    return small;
}

static void ask_product(questions *q, const product *p, const operands *o, int64_t rows,
                        bool is_backward)
{
    static const int64_t tails[] = {0, 16, 32, 48, 64};
    for (int i = 0; i < 10; i++) {
        const int64_t tail = tails[i / 2];
        const lc_cuda_gemm gemm = gemm_of(o, p, rows, tail, is_backward, i % 2 == 1);
        const double seconds = measure(q, run_product, &gemm);
        char name[64];
        (void)snprintf(name, sizeof name, "%s%s N=%lld K=%lld+%lld beta=%d", p->name,
                       is_backward ? " dX" : "", (long long)rows, (long long)(gemm.k - tail),
                       (long long)tail, i % 2);
        answer(q, "gemm", name, seconds * 1e6,
               2.0 * (double)gemm.m * (double)gemm.n * (double)gemm.k / seconds * 1e-12, "TFLOP/s");
    }
}

/* One product without a pause: its rate in the first and in the last tenth of the time. */
static void ask_sustained(questions *q, const product *p, const operands *o, int64_t rows)
{
    const lc_cuda_gemm gemm = gemm_of(o, p, rows, 16, false, false);
    const double flops = 2.0 * (double)gemm.m * (double)gemm.n * (double)gemm.k;
    const double once = measure(q, run_product, &gemm);
    const int64_t calls = q->tiny ? 1 : (int64_t)(q->sustain / 10.0 / once) + 1;
    for (int tenth = 0; tenth < 10; tenth++) {
        const double seconds = time_of(q, run_product, &gemm, calls);
        if (tenth == 0 || tenth == 9) {
            answer(q, "gemm", tenth == 0 ? "sustained gate_up, begin" : "sustained gate_up, end",
                   seconds * 1e6, flops / seconds * 1e-12, "TFLOP/s");
        }
    }
}

static void ask_gemm(questions *q)
{
    static const int64_t sizes[] = {8192, 8448, 16384, 16896};
    for (size_t i = 0; i < PRODUCT_COUNT; i++) {
        const product p = scaled(q, &products[i]);
        const operands o = operands_of(q, &p, q->tiny ? sizes[3] / 64 : sizes[3]);
        if (strcmp(p.name, "gate_up") == 0) {
            ask_sustained(q, &p, &o, q->tiny ? 128 : 8192);
        }
        for (int j = 0; j < (q->tiny ? 1 : 4); j++) {
            const int64_t rows = q->tiny ? sizes[j] / 64 : sizes[j];
            ask_product(q, &p, &o, rows, false);
            ask_product(q, &p, &o, rows, true);
        }
        free_operands(&o);
    }
}

/* ---- graphs ---- */

static void launch_nothing(questions *q, const void *what)
{
    (void)what;
    CUDA(questions_launch_nothing(q->stream));
}

static void launch_graph(questions *q, const void *what)
{
    CUDA(cudaGraphLaunch(*(const cudaGraphExec_t *)what, q->stream));
}

static void ask_graph(questions *q)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    CUDA(cudaStreamBeginCapture(q->stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < GRAPH_NODES; i++) {
        launch_nothing(q, NULL);
    }
    CUDA(cudaStreamEndCapture(q->stream, &graph));
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    const double replay = measure(q, launch_graph, &exec);
    answer(q, "graph", "a node of a chain of 256 empty kernels", replay * 1e6,
           replay / GRAPH_NODES * 1e6, "us");
    const double launch = measure(q, launch_nothing, NULL);
    answer(q, "graph", "an empty kernel by a launch of its own", launch * 1e6, launch * 1e6, "us");
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(graph));
}

/* ---- blocks on a side stream ---- */

static void ask_side(questions *q)
{
    static const int counts[] = {0, 1, 4, 16};
    const product p = scaled(q, &products[2]);
    const int64_t rows = q->tiny ? 128 : 8192, iterations = q->tiny ? 10 : 100000000;
    const operands o = operands_of(q, &p, rows);
    const lc_cuda_gemm gemm = gemm_of(&o, &p, rows, 32, false, false);
    float *out = memory_of(q, 16 * RESIDENT * sizeof(float), false);
    const double alone = measure(q, run_product, &gemm);
    for (int i = 0; i < 4; i++) {
        char name[64];
        if (counts[i] > 0) {
            CUDA(questions_launch_resident(out, counts[i], iterations, q->side));
        }
        const double seconds = time_of(q, run_product, &gemm, q->tiny ? 1 : 10);
        const bool was_there =
            counts[i] == 0 || q->tiny || cudaStreamQuery(q->side) == cudaErrorNotReady;
        CUDA(cudaStreamSynchronize(q->side));
        (void)snprintf(name, sizeof name, "gate_up beside %d resident blocks%s", counts[i],
                       was_there ? "" : " (gone too early)");
        answer(q, "side", name, seconds * 1e6, seconds / alone, "of alone");
    }
    CUDA(cudaFree(out));
    free_operands(&o);
}

/* ---- copies ---- */

typedef struct copy {
    void *to;
    const void *from;
    size_t to_pitch, from_pitch, width, rows; /* bytes; rows 0: width bytes in one piece */
    enum cudaMemcpyKind kind;
} copy;

static void run_copy(questions *q, const void *what)
{
    const copy *c = what;
    if (c->rows == 0) {
        CUDA(cudaMemcpyAsync(c->to, c->from, c->width, c->kind, q->stream));
    } else {
        CUDA(cudaMemcpy2DAsync(c->to, c->to_pitch, c->from, c->from_pitch, c->width, c->rows,
                               c->kind, q->stream));
    }
}

static void ask_copy_of(questions *q, const char *name, const copy *c)
{
    const double seconds = measure(q, run_copy, c);
    const double bytes = (double)c->width * (double)(c->rows > 0 ? c->rows : 1) *
                         (c->kind == cudaMemcpyDeviceToDevice ? 2.0 : 1.0);
    answer(q, "copy", name, seconds * 1e6, bytes / seconds * 1e-9, "GB/s");
}

static void ask_copy(questions *q)
{
    const size_t width = 8192, rows = q->tiny ? 16 : 131072, pitch = width + 128;
    void *from = memory_of(q, rows * width, true), *to = memory_of(q, rows * pitch, false);
    void *host = NULL;
    CUDA(cudaHostAlloc(&host, rows * width, cudaHostAllocDefault));
    memset(host, 1, rows * width);
    const copy device = {
        .to = to, .from = from, .width = rows * width, .kind = cudaMemcpyDeviceToDevice};
    const copy device_rows = {.to = to,
                              .from = from,
                              .to_pitch = pitch,
                              .from_pitch = width,
                              .width = width,
                              .rows = rows,
                              .kind = cudaMemcpyDeviceToDevice};
    copy up = device, up_rows = device_rows;
    up.from = up_rows.from = host;
    up.kind = up_rows.kind = cudaMemcpyHostToDevice;
    ask_copy_of(q, "on the device, in one piece", &device);
    ask_copy_of(q, "on the device, rows of 8 KB into rows of 8320", &device_rows);
    ask_copy_of(q, "from pinned memory, in one piece", &up);
    ask_copy_of(q, "from pinned memory, rows of 8 KB into 8320", &up_rows);
    CUDA(cudaFreeHost(host));
    CUDA(cudaFree(from));
    CUDA(cudaFree(to));
}

/* ---- all of it ---- */

static void read_arguments(questions *q, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--tiny") == 0) {
            q->tiny = true;
        } else if (strcmp(argv[i], "--seconds") == 0 && has_value) {
            q->seconds = strtod(argv[++i], NULL);
        } else if (strcmp(argv[i], "--sustain") == 0 && has_value) {
            q->sustain = strtod(argv[++i], NULL);
        } else if (strcmp(argv[i], "--json") == 0 && has_value) {
            q->json = fopen(argv[++i], "w");
        } else if (argv[i][0] != '-' && q->name_count < 8) {
            q->names[q->name_count++] = argv[i];
        } else {
            (void)fprintf(stderr, "gpu_questions: unknown argument %s\n", argv[i]);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*ask)(questions *q);
    } all[] = {{"copy", ask_copy}, {"graph", ask_graph}, {"gemm", ask_gemm}, {"side", ask_side}};
    questions questions_ = {.seconds = 0.1, .sustain = 10.0}, *q = &questions_;
    const lc_device_options options = {.index = 0};
    read_arguments(q, argc, argv);
    check(lc_cuda_open(&options, &q->device, &error));
    q->stream = lc_cuda_of(q->device)->stream;
    CUDA(cudaStreamCreateWithFlags(&q->side, cudaStreamNonBlocking));
    void *workspace = memory_of(q, WORKSPACE_BYTES, false);
    lc_cuda_set_workspace(q->device, workspace, WORKSPACE_BYTES);
    (void)printf("%s\n", q->device->description);
    if (q->json != NULL) {
        (void)fprintf(q->json, "{\"device\": \"%s\", \"rows\": [", q->device->description);
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (is_wanted(q, all[i].name)) {
            all[i].ask(q);
        }
    }
    if (q->json != NULL) {
        (void)fprintf(q->json, "\n]}\n");
        (void)fclose(q->json);
    }
    CUDA(cudaStreamDestroy(q->side));
    lc_cuda_free(q->device, workspace);
    lc_cuda_close(q->device);
    return 0;
}
