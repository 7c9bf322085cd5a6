/*
 * Speed of every op of the CPU backend on a model's own shapes: bench_ops [threads] [filter].
 * Prints time, GF/s and the ratio to plain oneDNN sgemm of the same products, or GB/s and the ratio
 * to memcpy of the same bytes by one thread. The best of several runs; nothing is asserted.
 */
#include <dlfcn.h>
#include <dnnl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/thread.h"
#include "lorac/ops.h"
#include "ops/backend.h"

#define TOKENS  512
#define WIDTH   960
#define HEADS   15
#define KV      5
#define DIM     64
#define MLP     2560
#define WORDS   49152
#define RANK    16
#define BORDER  64
#define LONG    4096
#define SECONDS 0.25

typedef struct bench {
    lc_device *device;
    lc_err err;
    int threads;
    const char *filter;
    void (*set_omp_threads)(int);
} bench;

static void fail(const bench *b)
{
    (void)fprintf(stderr, "bench_ops: %s\n", b->err.message);
    exit(1);
}

static float *numbers(bench *b, int64_t count, float low, float high)
{
    void *memory = NULL;
    if (b->device->ops->alloc(b->device, (size_t)count * sizeof(float), &memory, &b->err) !=
        LC_OK) {
        fail(b);
    }
    float *values = memory;
    uint32_t state = 12345;
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = low + (high - low) * (float)(state >> 8) * 0x1p-24f;
    }
    return values;
}

static lc_mat matrix(bench *b, int64_t rows, int64_t cols, int64_t ld)
{
    return lc_mat_f32(numbers(b, rows * ld, -1.0f, 1.0f), rows, cols, ld);
}

static lc_mat to_bf16(bench *b, lc_mat from)
{
    void *memory = NULL;
    if (b->device->ops->alloc(b->device, (size_t)(from.rows * from.ld) * 2, &memory, &b->err) !=
        LC_OK) {
        fail(b);
    }
    const lc_mat to = {memory, from.rows, from.cols, from.ld, LC_BF16, 0};
    if (b->device->ops->copy(b->device, to, from, &b->err) != LC_OK) {
        fail(b);
    }
    return to;
}

static void release(bench *b, lc_mat mat)
{
    b->device->ops->free(b->device, mat.data);
}

/* Wall clock; with one thread processor time, which a busy machine does not falsify. */
static double now(const bench *b)
{
    struct timespec time;
    (void)clock_gettime(b->threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Best seconds of `call`, repeated for about SECONDS. */
#define MEASURE(best, call)                           \
    do {                                              \
        (best) = 1e30;                                \
        const double begin_ = now(b);                 \
        do {                                          \
            const double start_ = now(b);             \
            if ((call) != LC_OK) {                    \
                fail(b);                              \
            }                                         \
            const double took_ = now(b) - start_;     \
            (best) = took_ < (best) ? took_ : (best); \
        } while (now(b) - begin_ < SECONDS);          \
    } while (0)

static bool wanted(const bench *b, const char *name)
{
    return b->filter == NULL || strstr(name, b->filter) != NULL;
}

/* One product as oneDNN does it by itself, with as many of its own threads. */
static double plain_gemm(bench *b, char ta, char tb, int64_t m, int64_t n, int64_t k)
{
    const int64_t pad = 16;
    lc_mat a = ta == 'T' ? matrix(b, k, m, m + pad) : matrix(b, m, k, k + pad);
    lc_mat w = tb == 'T' ? matrix(b, n, k, k + pad) : matrix(b, k, n, n + pad);
    lc_mat c = matrix(b, m, n, n + pad);
    double best;
    if (b->set_omp_threads != NULL) {
        b->set_omp_threads(b->threads);
    }
    MEASURE(best, (lc_code)dnnl_sgemm(ta, tb, m, n, k, 1.0f, a.data, a.ld, w.data, w.ld, 0.0f,
                                      c.data, c.ld));
    release(b, a);
    release(b, w);
    release(b, c);
    return best;
}

static double plain_copy(bench *b, double bytes)
{
    const size_t half = (size_t)(bytes / 2.0);
    float *from = numbers(b, (int64_t)(half / 4 + 1), 0, 1),
          *to = numbers(b, (int64_t)(half / 4 + 1), 0, 1);
    double best;
    MEASURE(best, (memcpy(to, from, half), LC_OK));
    b->device->ops->free(b->device, from);
    b->device->ops->free(b->device, to);
    return best;
}

static void print_gemm(const char *name, double seconds, double flops, double plain)
{
    (void)printf("%-28s %10.1f us %8.1f GF/s   %5.2f of plain sgemm\n", name, seconds * 1e6,
                 flops / seconds * 1e-9, plain / seconds);
}

static void print_bytes(bench *b, const char *name, double seconds, double bytes)
{
    (void)printf("%-28s %10.1f us %8.1f GB/s   %5.2f of memcpy\n", name, seconds * 1e6,
                 bytes / seconds * 1e-9, plain_copy(b, bytes) / seconds);
}

static void bench_linear(bench *b, const char *name, int64_t n, int64_t in, int64_t out,
                         int64_t border, bool bf16)
{
    if (!wanted(b, name)) {
        return;
    }
    lc_mat x = matrix(b, n, in + border, in + BORDER), y = matrix(b, n, out, out + BORDER);
    lc_mat g = matrix(b, out + border, in + border, in + BORDER);
    lc_mat w = g;
    if (bf16) {
        w = to_bf16(b, g);
    }
    char label[64];
    const double flops = 2.0 * (double)n * (double)(in + border) * (double)out;
    double best;
    const lc_mat forward = lc_mat_view(w, 0, 0, out, in + border);
    MEASURE(best, b->device->ops->linear(b->device, &(lc_linear_args){.x = x, .w = forward, .y = y},
                                         &b->err));
    (void)snprintf(label, sizeof label, "%s%s", name, bf16 ? " bf16" : "");
    print_gemm(label, best, flops, plain_gemm(b, 'N', 'T', n, out, in + border));
    const lc_linear_backward_args backward = {.dy = lc_mat_f32(y.data, n, out + border, y.ld),
                                              .w = lc_mat_view(w, 0, 0, out + border, in),
                                              .dx = lc_mat_f32(x.data, n, in, x.ld)};
    MEASURE(best, b->device->ops->linear_backward(b->device, &backward, &b->err));
    (void)snprintf(label, sizeof label, "%s backward%s", name, bf16 ? " bf16" : "");
    print_gemm(label, best, 2.0 * (double)n * (double)(out + border) * (double)in,
               plain_gemm(b, 'N', 'N', n, in, out + border));
    release(b, x);
    release(b, y);
    release(b, g);
    if (bf16) {
        release(b, w);
    }
}

static void bench_lora(bench *b, float p)
{
    lc_mat x = matrix(b, TOKENS, WIDTH, WIDTH + BORDER), a = matrix(b, RANK, WIDTH, WIDTH + BORDER);
    lc_mat s = matrix(b, TOKENS, RANK, RANK), dropped = matrix(b, TOKENS, WIDTH, WIDTH);
    lc_mat sb = matrix(b, WIDTH, RANK, WIDTH + BORDER), db = matrix(b, WIDTH, RANK, RANK);
    lc_mat da = matrix(b, RANK, WIDTH, WIDTH);
    int64_t example[TOKENS] = {0};
    int32_t position[TOKENS];
    for (int32_t i = 0; i < TOKENS; i++) {
        position[i] = i;
    }
    static const uint32_t key[2] = {1, 2};
    const lc_dropout dropout = {.p = p, .key = key, .example = example, .position = position};
    const lc_lora_parts parts = {
        .count = 1, .part = {{.out = WIDTH, .width = RANK, .scale = 2.0f, .db = db.data}}};
    const double flops = 2.0 * TOKENS * WIDTH * RANK;
    double best;
    const lc_lora_forward_args forward = {
        .x = x, .a = a, .s = s, .parts = parts, .dropout = dropout, .x_dropped = dropped};
    MEASURE(best, b->device->ops->lora_forward(b->device, &forward, &b->err));
    print_gemm(p > 0 ? "lora_forward dropout" : "lora_forward", best, flops,
               plain_gemm(b, 'N', 'T', TOKENS, RANK, WIDTH));
    const lc_lora_dx_args dx = {
        .x = x, .ds = s, .da = da.data, .parts = parts, .dropout = dropout, .x_dropped = dropped};
    MEASURE(best, b->device->ops->lora_dx(b->device, &dx, &b->err));
    print_gemm(p > 0 ? "lora_dx dropout" : "lora_dx", best, flops,
               plain_gemm(b, 'T', 'N', RANK, WIDTH, TOKENS));
    if (p > 0) {
        const lc_lora_dropout_backward_args back = {
            .ds = s, .a = a, .parts = parts, .dropout = dropout, .product = dropped, .dx = x};
        MEASURE(best, b->device->ops->lora_dropout_backward(b->device, &back, &b->err));
        print_gemm("lora_dropout_backward", best, flops,
                   plain_gemm(b, 'N', 'N', TOKENS, WIDTH, RANK));
        const lc_mat residual = matrix(b, TOKENS, WIDTH, WIDTH);
        const lc_rmsnorm_backward_args norm = {.dy = x,
                                               .x = dropped,
                                               .weight = da.data,
                                               .rstd = db.data,
                                               .dx = residual,
                                               .dropped = &back};
        MEASURE(best, b->device->ops->rmsnorm_backward(b->device, &norm, &b->err));
        print_bytes(b, "rmsnorm_backward dropout", best, 6.0 * 4.0 * TOKENS * WIDTH);
        release(b, residual);
    } else {
        const lc_lora_dy_args dy = {.dy = x, .sb = sb, .s = s, .ds = s, .parts = parts};
        lc_lora_dy_args apart = dy;
        apart.ds = dropped;
        apart.ds.cols = RANK;
        MEASURE(best, b->device->ops->lora_dy(b->device, &apart, &b->err));
        print_gemm("lora_dy", best, 2.0 * flops,
                   plain_gemm(b, 'N', 'N', TOKENS, RANK, WIDTH) +
                       plain_gemm(b, 'T', 'N', WIDTH, RANK, TOKENS));
        const lc_publish_slot slot = {.a = da.data,
                                      .b = db.data,
                                      .w_a = a.data,
                                      .w_b = sb.data,
                                      .ld = a.ld,
                                      .in = WIDTH,
                                      .out = WIDTH,
                                      .width = RANK,
                                      .scale = 2.0f};
        const lc_lora_publish_args publish = {
            .slots = &slot, .count = 1, .most_elements = 2 * RANK * WIDTH, .dtype = LC_F32};
        MEASURE(best, b->device->ops->lora_publish(b->device, &publish, &b->err));
        print_bytes(b, "lora_publish", best, 8.0 * 2 * RANK * WIDTH);
    }
    const lc_mat all[] = {x, a, s, dropped, sb, db, da};
    for (int i = 0; i < 7; i++) {
        release(b, all[i]);
    }
}

/* Forward counts 2 products per visible pair, backward 5. The plain rate is that of 64 x 256 x 64
 * tiles. */
static void bench_attention(bench *b, const char *name, int32_t documents, int32_t length)
{
    if (!wanted(b, name)) {
        return;
    }
    const int64_t n = (int64_t)documents * length;
    int32_t cu_seqlens[65];
    for (int32_t i = 0; i <= documents; i++) {
        cu_seqlens[i] = i * length;
    }
    const int64_t packed = (HEADS + 2 * KV) * DIM + BORDER;
    lc_mat qkv = matrix(b, n, packed, packed),
           out = matrix(b, n, HEADS * DIM, HEADS * DIM + BORDER);
    lc_mat dqkv = matrix(b, n, packed, packed);
    float *lse = numbers(b, n * HEADS, 0, 0), *delta = numbers(b, n * HEADS, 0, 0);
    const lc_attention_shape shape = {.heads = HEADS,
                                      .kv_heads = KV,
                                      .head_dim = DIM,
                                      .scale = 0.125f,
                                      .documents = {.count = documents, .cu_seqlens = cu_seqlens}};
    const lc_mat q = lc_mat_view(qkv, 0, 0, n, HEADS * DIM);
    const lc_mat k = lc_mat_view(qkv, 0, HEADS * DIM, n, KV * DIM);
    const lc_mat v = lc_mat_view(qkv, 0, (HEADS + KV) * DIM, n, KV * DIM);
    const double pairs = 0.5 * (double)n * (double)(length + 1) * HEADS;
    const double tile = 64.0 * 256 * 64 * 2 / plain_gemm(b, 'N', 'T', 64, 256, 64);
    char label[64];
    double best;
    const lc_attention_args forward = {
        .shape = shape, .q = q, .k = k, .v = v, .out = out, .lse = lse};
    MEASURE(best, b->device->ops->attention(b->device, &forward, &b->err));
    const double flops = 2.0 * 2.0 * DIM * pairs;
    print_gemm(name, best, flops, flops / tile);
    const lc_attention_backward_args backward = {
        .shape = shape,
        .q = q,
        .k = k,
        .v = v,
        .out = out,
        .dout = out,
        .lse = lse,
        .delta = delta,
        .dq = lc_mat_view(dqkv, 0, 0, n, HEADS * DIM),
        .dk = lc_mat_view(dqkv, 0, HEADS * DIM, n, KV * DIM),
        .dv = lc_mat_view(dqkv, 0, (HEADS + KV) * DIM, n, KV * DIM)};
    MEASURE(best, b->device->ops->attention_backward(b->device, &backward, &b->err));
    (void)snprintf(label, sizeof label, "%s backward", name);
    print_gemm(label, best, 2.5 * flops, 2.5 * flops / tile);
    release(b, qkv);
    release(b, out);
    release(b, dqkv);
    b->device->ops->free(b->device, lse);
    b->device->ops->free(b->device, delta);
}

static void bench_cached(bench *b)
{
    lc_mat q = matrix(b, 1, HEADS * DIM, HEADS * DIM), out = matrix(b, 1, HEADS * DIM, HEADS * DIM);
    lc_mat k = matrix(b, LONG, KV * DIM, KV * DIM), v = matrix(b, LONG, KV * DIM, KV * DIM);
    const int32_t slot = 0, position = LONG - 1;
    k.strip = lc_cache_strip(b->device->memory, LONG);
    const lc_attention_cached_args args = {.heads = HEADS,
                                           .kv_heads = KV,
                                           .head_dim = DIM,
                                           .scale = 0.125f,
                                           .slots = &slot,
                                           .positions = &position,
                                           .slot_rows = LONG,
                                           .q = q,
                                           .k_cache = k,
                                           .v_cache = v,
                                           .out = out};
    double best;
    MEASURE(best, b->device->ops->attention_cached(b->device, &args, &b->err));
    print_bytes(b, "attention_cached 1x4096", best, 2.0 * 4 * LONG * KV * DIM);
    release(b, q);
    release(b, out);
    release(b, k);
    release(b, v);
}

static void bench_norms(bench *b)
{
    const int64_t heads = HEADS + KV, n = TOKENS;
    lc_mat x = matrix(b, n, WIDTH, WIDTH + BORDER), y = matrix(b, n, WIDTH, WIDTH + BORDER);
    lc_mat qk = matrix(b, n, heads * DIM, heads * DIM + BORDER);
    float *weight = numbers(b, WIDTH, 0, 1), *rstd = numbers(b, n * heads, 0, 1);
    float *cosine = numbers(b, n * DIM / 2, 0, 0.7f), *sine = numbers(b, n * DIM / 2, 0, 0.7f);
    double best;
    const double row = 4.0 * (double)n * WIDTH, qk_bytes = 4.0 * (double)(n * heads * DIM);
    MEASURE(best,
            b->device->ops->rmsnorm(
                b->device,
                &(lc_rmsnorm_args){.x = x, .weight = weight, .eps = 1e-5f, .y = y, .rstd = rstd},
                &b->err));
    print_bytes(b, "rmsnorm", best, 2.0 * row);
    MEASURE(best, b->device->ops->rmsnorm_backward(
                      b->device,
                      &(lc_rmsnorm_backward_args){
                          .dy = y, .x = x, .weight = weight, .rstd = rstd, .dx = x},
                      &b->err));
    print_bytes(b, "rmsnorm_backward", best, 4.0 * row);
    const lc_qk_rope_args rope = {.x = qk,
                                  .y = qk,
                                  .q_heads = HEADS,
                                  .k_heads = KV,
                                  .head_dim = DIM,
                                  .cos = cosine,
                                  .sin = sine};
    MEASURE(best, b->device->ops->qk_rope(b->device, &rope, &b->err));
    print_bytes(b, "qk_rope", best, 2.0 * qk_bytes);
    const lc_qk_rope_backward_args back = {.dy = qk,
                                           .x = qk,
                                           .q_heads = HEADS,
                                           .k_heads = KV,
                                           .head_dim = DIM,
                                           .cos = cosine,
                                           .sin = sine};
    MEASURE(best, b->device->ops->qk_rope_backward(b->device, &back, &b->err));
    print_bytes(b, "qk_rope_backward", best, 2.0 * qk_bytes);
    release(b, x);
    release(b, y);
    release(b, qk);
    float *const arrays[] = {weight, rstd, cosine, sine};
    for (int i = 0; i < 4; i++) {
        b->device->ops->free(b->device, arrays[i]);
    }
}

static void bench_rows(bench *b)
{
    lc_mat gate_up = matrix(b, TOKENS, 2 * MLP, 2 * MLP + BORDER),
           y = matrix(b, TOKENS, MLP, MLP + BORDER);
    double best;
    const double bytes = 4.0 * TOKENS * MLP;
    MEASURE(best, b->device->ops->swiglu(b->device, &(lc_swiglu_args){.gate_up = gate_up, .y = y},
                                         &b->err));
    print_bytes(b, "swiglu", best, 3.0 * bytes);
    MEASURE(best, b->device->ops->swiglu_backward(
                      b->device, &(lc_swiglu_backward_args){.dy = y, .gate_up = gate_up}, &b->err));
    print_bytes(b, "swiglu_backward", best, 5.0 * bytes);
    release(b, gate_up);
    release(b, y);
    lc_mat logits = matrix(b, 128, WORDS, WORDS), table = matrix(b, WORDS, WIDTH, WIDTH + BORDER);
    lc_mat rows = matrix(b, TOKENS, WIDTH, WIDTH + BORDER), other = matrix(b, TOKENS, WIDTH, WIDTH);
    int32_t ids[TOKENS], all[TOKENS];
    float weights[128], nll[128], correct[128];
    for (int32_t i = 0; i < TOKENS; i++) {
        ids[i] = i * 7919 % WORDS;
        all[i] = i;
        weights[i % 128] = 1.0f;
    }
    lc_cross_entropy_args loss = {
        .logits = logits, .targets = ids, .weights = weights, .nll = nll, .correct = correct};
    MEASURE(best, b->device->ops->cross_entropy(b->device, &loss, &b->err));
    print_bytes(b, "cross_entropy", best, 4.0 * 128 * WORDS);
    loss.gradient = true;
    MEASURE(best, b->device->ops->cross_entropy(b->device, &loss, &b->err));
    print_bytes(b, "cross_entropy gradient", best, 8.0 * 128 * WORDS);
    lc_sample_row how[128];
    for (int i = 0; i < 128; i++) {
        how[i] = (lc_sample_row){.sharpness = 2.0f, .top_p = 1u << 31, .seed = 1};
    }
    MEASURE(best,
            b->device->ops->sample(
                b->device,
                &(lc_sample_args){.logits = logits, .rows = how, .positions = ids, .ids = all},
                &b->err));
    print_bytes(b, "sample", best, 4.0 * 128 * WORDS);
    MEASURE(best, b->device->ops->embed(b->device,
                                        &(lc_embed_args){.ids = ids, .table = table, .out = rows},
                                        &b->err));
    print_bytes(b, "embed", best, 8.0 * TOKENS * WIDTH);
    MEASURE(best,
            b->device->ops->gather_rows(
                b->device, &(lc_gather_rows_args){.x = rows, .rows = all, .y = other}, &b->err));
    print_bytes(b, "gather_rows", best, 8.0 * TOKENS * WIDTH);
    MEASURE(best,
            b->device->ops->scatter_rows(
                b->device, &(lc_scatter_rows_args){.x = rows, .rows = all, .y = other}, &b->err));
    print_bytes(b, "scatter_rows", best, 8.0 * TOKENS * WIDTH);
    release(b, logits);
    release(b, table);
    release(b, rows);
    release(b, other);
}

static void bench_optimizer(bench *b)
{
    const int64_t count = 4000000;
    float *arrays[4];
    for (int i = 0; i < 4; i++) {
        arrays[i] = numbers(b, count, 0.001f, 1.0f);
    }
    double best;
    const lc_sums sums = {0};
    const lc_step_values values = {.weight = 2.0, .learning_rate = 1e-6};
    lc_update update = {0};
    const lc_adamw_args adamw = {.param = arrays[0],
                                 .grad = arrays[1],
                                 .m = arrays[2],
                                 .v = arrays[3],
                                 .count = count,
                                 .sums = &sums,
                                 .values = &values,
                                 .update = &update,
                                 .clip = 1.0,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .eps = 1e-8};
    MEASURE(best, b->device->ops->adamw(b->device, &adamw, &b->err));
    print_bytes(b, "adamw", best, 8.0 * 4 * (double)count);
    for (int i = 0; i < 4; i++) {
        b->device->ops->free(b->device, arrays[i]);
    }
}

int main(int argc, char **argv)
{
    bench all = {.threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1,
                 .filter = argc > 2 ? argv[2] : NULL};
    bench *b = &all;
    if (lc_cpu_open(b->threads, &b->device, &b->err) != LC_OK) {
        fail(b);
    }
    void *symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    memcpy(&b->set_omp_threads, &symbol, sizeof symbol);
    (void)printf("%s; %d tokens, width %d, heads %d/%d x %d, mlp %d, vocabulary %d, rank %d\n",
                 b->device->description, TOKENS, WIDTH, HEADS, KV, DIM, MLP, WORDS, RANK);
    const int64_t qkv = (HEADS + 2 * KV) * DIM;
    bench_linear(b, "linear 192x576", TOKENS, 192, 576, 48, false);
    bench_linear(b, "linear qkv", TOKENS, WIDTH, qkv, 48, false);
    bench_linear(b, "linear qkv", TOKENS, WIDTH, qkv, 48, true);
    bench_linear(b, "linear gate_up", TOKENS, WIDTH, 2 * (int64_t)MLP, 32, false);
    bench_linear(b, "linear gate_up", TOKENS, WIDTH, 2 * (int64_t)MLP, 32, true);
    bench_linear(b, "linear down", TOKENS, MLP, WIDTH, 16, false);
    bench_linear(b, "linear head", 128, WIDTH, WORDS, 0, false);
    bench_linear(b, "linear decode", 1, WIDTH, 2 * (int64_t)MLP, 32, false);
    bench_linear(b, "linear decode4", 4, WIDTH, 2 * (int64_t)MLP, 32, false);
    bench_linear(b, "linear decode", 1, WIDTH, 2 * (int64_t)MLP, 32, true);
    bench_attention(b, "attention 8x64", 8, 64);
    bench_attention(b, "attention 17x30", 17, 30);
    bench_attention(b, "attention 4x200", 4, 200);
    bench_attention(b, "attention 1x512", 1, 512);
    bench_attention(b, "attention 1x4096", 1, LONG);
    if (b->filter == NULL) {
        bench_lora(b, 0.0f);
        bench_lora(b, 0.1f);
        bench_cached(b);
        bench_norms(b);
        bench_rows(b);
        bench_optimizer(b);
    }
    b->device->ops->close(b->device);
    return 0;
}
