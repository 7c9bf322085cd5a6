/*
 * What one layer costs on a GPU: launches, and bytes of device memory that they read and write.
 * The table below has one line a kernel, with closed formulas for the bytes. Where the emulator
 * counts (a training micro-batch of L + 1 layers less one of L), it must find just these launches,
 * and in the checker's build these bytes; at Llama-3.1-8B's shape the formulas must give the
 * budget of the kernel plan, from which the speed of a step was worked out.
 */
#include "random_run.h"

#include <math.h>

#include "emu_counters.h"
#include "scratch.h"

#define MAX_ROWS    32
#define COUNTED_OFF 0.005 /* formulas leave out the layout of documents: some bytes a tile */
#define BUDGET_OFF  0.05
#define MEGABYTE    1e6
#define NO_BUDGET   0.0 /* the kernel plan has cut the work in another way */

/* A layer's lines of the kernel plan added up, and what ours moves beyond: attention's two gradient
 * kernels read q, k, v and dO each for itself (403 MB are planned). */
#define FORWARD_MB  3232.0
#define BACKWARD_MB 4474.0
#define BEYOND_MB   172.0

/* Sizes that the formulas go by; every linear is adapted with rank r, a multiple of 16. */
typedef struct extent {
    int64_t n, c, i, h, d, q, kv, qkv, r; /* q = H*D, kv = K*D, qkv = q + 2 kv */
    bool drops;
} extent;

/* One line: a kernel without its template arguments. budget_mb: MB a layer in the kernel plan, at
 * Llama-3.1-8B's shape and 8192 tokens. */
typedef struct row {
    const char *kernel;
    int launches;
    int64_t bytes;
    double budget_mb;
} row;

typedef struct table {
    int count;
    row row[MAX_ROWS];
} table;

/* A kernel that both passes have is one row where they share a table. */
static void line(table *to, const char *kernel, int launches, int64_t bytes, double budget_mb)
{
    for (int i = 0; i < to->count; i++) {
        if (strcmp(to->row[i].kernel, kernel) == 0) {
            to->row[i].launches += launches;
            to->row[i].bytes += bytes;
            return;
        }
    }
    assert_true(to->count < MAX_ROWS);
    to->row[to->count++] = (row){kernel, launches, bytes, budget_mb};
}

/* ---- formulas: bf16 has 2 bytes, partial sums, masters and norms 4 ---- */

static int64_t bf16(int64_t rows, int64_t cols)
{
    return 2 * rows * cols;
}

/* y = x w^T (+ addend): in + tail columns of x and w. */
static int64_t product(int64_t rows, int64_t k, int64_t out, bool has_addend)
{
    return bf16(rows, k) + bf16(out, k) + bf16(rows, out) * (has_addend ? 2 : 1);
}

/* With dropout, what keys the mask of each row: its example and position. */
static int64_t keys(const extent *e)
{
    return e->drops ? (8 + 4) * e->n : 0;
}

/* With dropout, dS and A, for what the product over dY leaves out. */
static int64_t dropped(const extent *e, int64_t in, int64_t tail)
{
    return e->drops ? bf16(e->n, tail) + bf16(tail, in) + keys(e) : 0;
}

static int64_t norm(const extent *e)
{
    return 2 * bf16(e->n, e->c) + 4 * e->c + 4 * e->n;
}

static int64_t norm_backward(const extent *e)
{
    return 4 * bf16(e->n, e->c) + 4 * e->c + 4 * e->n;
}

/* q and k in place, with cos and sin. */
static int64_t rotation(const extent *e)
{
    return 2 * bf16(e->n, e->q + e->kv) + 4 * e->n * e->d;
}

/* S into the tail and, `copies` 2, beside it. */
static int64_t lora_forward(const extent *e, int64_t in, int64_t tail, int copies)
{
    return bf16(e->n, in) + bf16(tail, in) + copies * bf16(e->n, tail) + keys(e);
}

/* Partial sums of dS: one for each group of columns of a module. */
static int64_t ds_partials(const extent *e, int64_t out, int64_t columns)
{
    return 4 * lc_ceil_div(out, columns) * e->n * e->r;
}

/* Partial sums of a gradient of r x `wide` floats: one for each range of rows. */
static int64_t gradient_partials(const extent *e, int64_t tail, int64_t wide, int64_t groups)
{
    return 4 * lc_lora_row_ranges(e->n, groups).count * tail * wide;
}

/* A group's output side: modules of these widths side by side. */
typedef struct group {
    int64_t out[LC_MAX_LORA_PARTS]; /* 0: none */
} group;

static int64_t width_of(const group *g)
{
    return g->out[0] + g->out[1] + g->out[2];
}

static int64_t dy_partials(const extent *e, const group *g)
{
    const int64_t columns = LC_LORA_DY_COLUMNS(e->r), wide = width_of(g);
    int64_t bytes = gradient_partials(e, e->r, wide, lc_ceil_div(wide, columns));
    for (int part = 0; part < LC_MAX_LORA_PARTS; part++) {
        bytes += ds_partials(e, g->out[part], columns);
    }
    return bytes;
}

static int64_t tail_of(const extent *e, const group *g)
{
    return e->r * ((g->out[0] > 0) + (g->out[1] > 0) + (g->out[2] > 0));
}

/* dY, sB, S in; partial sums out. */
static int64_t lora_dy(const extent *e, const group *g)
{
    return bf16(e->n, width_of(g)) + bf16(width_of(g), e->r) + bf16(e->n, tail_of(e, g)) +
           dy_partials(e, g);
}

/* q and k turned on the way: written, with cos and sin. */
static int64_t turning(const extent *e)
{
    return bf16(e->n, e->q + e->kv) + 4 * e->n * e->d;
}

/* Partial sums in; dS out, dB added to. */
static int64_t sum_dy(const extent *e, const group *g)
{
    return dy_partials(e, g) + bf16(e->n, tail_of(e, g)) + 2 * 4 * width_of(g) * e->r;
}

static int64_t dx_partials(const extent *e, int64_t in, int64_t tail)
{
    return gradient_partials(e, tail, in, lc_ceil_div(in, LC_LORA_DX_COLUMNS));
}

/* X, dS and, behind a norm, its factors in; partial sums out. */
static int64_t lora_dx(const extent *e, int64_t in, int64_t tail, bool has_norm)
{
    return bf16(e->n, in) + bf16(e->n, tail) + (has_norm ? 4 * e->n : 0) + keys(e) +
           dx_partials(e, in, tail);
}

static int64_t sum_dx(const extent *e, int64_t in, int64_t tail, bool has_norm)
{
    return dx_partials(e, in, tail) + 2 * 4 * tail * in + (has_norm ? 4 * in : 0);
}

/* Partial sums of the fused swiglu backward: dS and dB of gate and up, dA of down. */
static int64_t swiglu_partials(const extent *e)
{
    const int64_t columns = LC_SWIGLU_WARPS(e->r) * 32;
    return 2 * ds_partials(e, e->i, columns) +
           3 * gradient_partials(e, e->r, e->i, lc_ceil_div(e->i, columns));
}

static int64_t swiglu_backward(const extent *e)
{
    return 5 * bf16(e->n, e->i) + 3 * bf16(e->n, e->r) + bf16(2 * e->i, e->r) + swiglu_partials(e) +
           (e->drops ? bf16(e->r, e->i) + keys(e) : 0);
}

static int64_t sum_swiglu(const extent *e)
{
    return swiglu_partials(e) + 2 * bf16(e->n, e->r) + 3 * 2 * 4 * e->i * e->r;
}

/* dQ, or dK and dV (`out` columns), from q, k, v, dO and two vectors. */
static int64_t attention_gradient(const extent *e, int64_t out)
{
    return bf16(e->n, e->qkv) + bf16(e->n, e->q) + 2 * 4 * e->n * e->h + bf16(e->n, out);
}

/* ---- the table ---- */

/* 12 launches, those of the kernel plan; with dropout S of down has one of its own. */
static void list_forward(const extent *e, table *t)
{
    const int64_t n = e->n, c = e->c, i = e->i, r = e->r;
    line(t, "rmsnorm_kernel", 2, 2 * norm(e), 134 + 134);
    line(t, "lora_forward", e->drops ? 4 : 3,
         lora_forward(e, c, 3 * r, 2) + lora_forward(e, e->q, r, 1) + lora_forward(e, c, 2 * r, 2) +
             (e->drops ? lora_forward(e, i, r, 2) : 0),
         68 + 67 + 68);
    line(t, "cublasLtMatmul", 4,
         product(n, c + 3 * r, e->qkv, false) + product(n, e->q + r, c, true) +
             product(n, c + 2 * r, 2 * i, false) + product(n, i + r, c, true),
         220 + 236 + 776 + 487);
    line(t, "rope_kernel", 1, rotation(e), 168);
    line(t, "attention_forward", 1, bf16(n, e->qkv) + bf16(n, e->q) + 4 * n * e->h, 169);
    if (e->drops) {
        line(t, "swiglu_kernel", 1, 3 * bf16(n, i), NO_BUDGET);
    } else {
        line(t, "swiglu_lora", 1, 3 * bf16(n, i) + bf16(r, i) + 2 * bf16(n, r), 705);
    }
}

/* 23 launches, 4 more than lines in the kernel plan. Attention's line stands for several kernels,
 * three of them here (2 more). One line there adds up all dA and dB of the layer; here each pass
 * has its own sum, that of a dY makes dS too, and three are left for dA (2 more). With dropout as
 * many: what it takes out of the products is added where their results are read next. */
static void list_backward(const extent *e, table *t)
{
    const int64_t n = e->n, c = e->c, i = e->i, r = e->r, border = e->drops ? 0 : r;
    const group one = {{c}}, qkv = {{e->q, e->kv, e->kv}};
    line(t, "lora_dy", 3, 2 * lora_dy(e, &one) + lora_dy(e, &qkv) + turning(e), 80 + 84 + 216);
    line(t, "swiglu_backward_lora", 1, swiglu_backward(e), 1219);
    line(t, "lora_dx", 3,
         lora_dx(e, c, 2 * r, true) + lora_dx(e, e->q, r, false) + lora_dx(e, c, 3 * r, true),
         75 + 75 + 80);
    line(t, "lora_sum", 7,
         2 * sum_dy(e, &one) + sum_dy(e, &qkv) + sum_swiglu(e) + sum_dx(e, c, 2 * r, true) +
             sum_dx(e, e->q, r, false) + sum_dx(e, c, 3 * r, true),
         4 + 35 + 4 + 8 + 76);
    line(t, "cublasLtMatmul", 4,
         product(n, c + border, i, false) + product(n, 2 * i + 2 * border, c, false) +
             product(n, c + border, e->q, false) + product(n, e->qkv + 3 * border, c, false),
         422 + 773 + 169 + 219);
    line(t, e->drops ? "rmsnorm_backward_lora" : "rmsnorm_backward_kernel", 2,
         2 * norm_backward(e) + dropped(e, c, 3 * r) + dropped(e, c, 2 * r), 268 + 268);
    line(t, e->drops ? "lora_dropout_backward" : "attention_delta", 1,
         (e->drops ? 3 : 2) * bf16(n, e->q) + 4 * n * e->h + dropped(e, e->q, r), NO_BUDGET);
    line(t, "attention_key_gradient", 1, attention_gradient(e, 2 * e->kv), NO_BUDGET);
    line(t, "attention_query_gradient", 1, attention_gradient(e, e->q), NO_BUDGET);
}

/* ---- what the emulator counts ---- */

#define MAX_COUNTERS 64

typedef struct counted {
    size_t count;
    emu_counter counter[MAX_COUNTERS]; /* names without template arguments */
} counted;

/* attention_delta<T> is attention_delta, and instances of one kernel are one. */
static void merge_instances(counted *in, char name[MAX_COUNTERS][64])
{
    size_t kept = 0;
    for (size_t i = 0; i < in->count; i++) {
        emu_counter counter = in->counter[i];
        size_t same = 0;
        (void)snprintf(name[kept], 64, "%.*s", (int)strcspn(counter.name, "<"), counter.name);
        while (same < kept && strcmp(name[same], name[kept]) != 0) {
            same++;
        }
        if (same == kept) {
            counter.name = name[kept];
            in->counter[kept++] = counter;
            continue;
        }
        in->counter[same].launches += counter.launches;
        in->counter[same].distinct_read_bytes += counter.distinct_read_bytes;
        in->counter[same].distinct_written_bytes += counter.distinct_written_bytes;
    }
    in->count = kept;
}

static const emu_counter *find(const counted *in, const char *name)
{
    static const emu_counter none = {.name = "nothing"};
    for (size_t i = 0; i < in->count; i++) {
        if (strcmp(in->counter[i].name, name) == 0) {
            return &in->counter[i];
        }
    }
    return &none;
}

static int64_t bytes_of(const emu_counter *counter)
{
    return (int64_t)(counter->distinct_read_bytes + counter->distinct_written_bytes);
}

#define ROWS   256 /* of the micro-batch: two documents, whole tiles of everything */
#define LAYERS 2

static const random_shape shape = {.family = "llama",
                                   .layers = LAYERS,
                                   .width = 256,
                                   .mlp = 512,
                                   .heads = 4,
                                   .kv_heads = 2,
                                   .head_dim = 64,
                                   .vocab = 160,
                                   .rank = 16};

static char names[2][2][2][MAX_COUNTERS][64]; /* dropout, pass, layers more */

/* One micro-batch, not recorded, of LAYERS + more layers. */
static counted count_batch(int more, bool backward, bool drops)
{
    random_options options = {.shape = shape,
                              .device = LC_DEVICE_EMU,
                              .dtype = LC_BF16,
                              .dropout = drops ? 0.1f : 0.0f,
                              .tokens = ROWS};
    counted found;
    options.shape.layers += more;
    random_run *run = random_run_open(&options);
    const lc_dataset data = random_dataset(2, ROWS / 2 + 1, shape.vocab, &run->arena);
    const lc_batch batch = random_batch(&data, 0, 2, ROWS, &run->arena);
    assert_int_equal(batch.token_count, ROWS);
    emu_counters_clear();
    assert_ok(lc_model_batch(&run->model, &batch, backward, 1, 1, &test_err));
    assert_ok(run->device->ops->sync(run->device, &test_err));
    found.count = emu_counters_get(found.counter, MAX_COUNTERS);
    assert_true(found.count <= MAX_COUNTERS);
    merge_instances(&found, names[drops][backward][more]);
    random_run_close(run);
    return found;
}

/* counted, less what `base` has too: of one layer, or of its backward pass. */
static void subtract(counted *from, const counted *base)
{
    for (size_t i = 0; i < from->count; i++) {
        emu_counter *c = &from->counter[i];
        const emu_counter *b = find(base, c->name);
        c->launches -= b->launches;
        c->distinct_read_bytes -= b->distinct_read_bytes;
        c->distinct_written_bytes -= b->distinct_written_bytes;
    }
}

static void compare(const char *pass, const counted *found, const table *expected)
{
    const bool has_bytes = getenv("EMU_CHECKED") != NULL;
    uint64_t all = 0, known = 0;
    for (size_t i = 0; i < found->count; i++) {
        all += found->counter[i].launches;
    }
    for (int i = 0; i < expected->count; i++) {
        const row *line = &expected->row[i];
        const emu_counter *counter = find(found, line->kernel);
        const double off = (double)bytes_of(counter) / (double)line->bytes - 1.0;
        print_message("%-8s %-26s %llu launches, %9lld bytes, formula %9lld\n", pass, line->kernel,
                      (unsigned long long)counter->launches, (long long)bytes_of(counter),
                      (long long)line->bytes);
        assert_int_equal(counter->launches, line->launches);
        assert_true(!has_bytes || fabs(off) < COUNTED_OFF);
        known += counter->launches;
    }
    assert_int_equal(all, known); /* nothing runs that has no line */
}

static extent extent_of(const random_shape *s, int64_t rows, bool drops)
{
    const int64_t q = (int64_t)s->heads * s->head_dim, kv = (int64_t)s->kv_heads * s->head_dim;
    return (extent){.n = rows,
                    .c = s->width,
                    .i = s->mlp,
                    .h = s->heads,
                    .d = s->head_dim,
                    .q = q,
                    .kv = kv,
                    .qkv = q + 2 * kv,
                    .r = s->rank,
                    .drops = drops};
}

/* One layer of a forward pass, or of both. */
static counted count_layer(bool backward, bool drops)
{
    const counted fewer = count_batch(0, backward, drops);
    counted layer = count_batch(1, backward, drops);
    subtract(&layer, &fewer);
    return layer;
}

static void test_one_layer(void **state)
{
    (void)state;
    const extent e = extent_of(&shape, ROWS, false);
    table forward = {.count = 0}, backward = {.count = 0};
    list_forward(&e, &forward);
    list_backward(&e, &backward);
    const counted there = count_layer(false, false);
    counted back = count_layer(true, false);
    subtract(&back, &there);
    compare("forward", &there, &forward);
    compare("backward", &back, &backward);
}

/* A forward pass by itself drops nothing, so both are one table. */
static void test_dropout(void **state)
{
    (void)state;
    const extent e = extent_of(&shape, ROWS, true);
    table both = {.count = 0};
    list_forward(&e, &both);
    list_backward(&e, &both);
    const counted found = count_layer(true, true);
    compare("both", &found, &both);
}

/* ---- the kernel plan's budget ---- */

static double total_mb(const table *t)
{
    double total = 0.0;
    for (int i = 0; i < t->count; i++) {
        const row *line = &t->row[i];
        const double mb = (double)line->bytes / MEGABYTE;
        if (line->budget_mb > NO_BUDGET) {
            print_message("%-26s %7.1f MB, planned %6.0f\n", line->kernel, mb, line->budget_mb);
            assert_true(fabs(mb / line->budget_mb - 1.0) < BUDGET_OFF);
        }
        total += mb;
    }
    return total;
}

static void test_budget(void **state)
{
    (void)state;
    static const random_shape llama = {
        .width = 4096, .mlp = 14336, .heads = 32, .kv_heads = 8, .head_dim = 128, .rank = 16};
    const extent e = extent_of(&llama, 8192, false);
    table forward = {.count = 0}, backward = {.count = 0};
    list_forward(&e, &forward);
    list_backward(&e, &backward);
    const double there = total_mb(&forward), back = total_mb(&backward);
    print_message("a layer: forward %.0f MB, planned %.0f; backward %.0f MB, planned %.0f\n", there,
                  FORWARD_MB, back, BACKWARD_MB);
    assert_true(fabs(there / FORWARD_MB - 1.0) < BUDGET_OFF);
    assert_true(fabs((back - BEYOND_MB) / BACKWARD_MB - 1.0) < BUDGET_OFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_layer),
                                       cmocka_unit_test(test_dropout),
                                       cmocka_unit_test(test_budget)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
