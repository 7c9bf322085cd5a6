/*
 * The fp64 reference itself: what its backward ops give is the derivative of its forward ops, by
 * central differences within 1e-6 relative. Includes the bordered linear as a whole, with and
 * without dropout.
 */
#include "reference.h"

#include <math.h>

#include "testing.h"

#define TOLERANCE 1e-6
#define STEP      1e-5
#define PROBES    40
#define MAX_MATS  16

/* A function of some matrices: loss(c) = sum of chosen * output, all in double. */
typedef struct probe {
    lc_mat mats[MAX_MATS];
    int count;
    int64_t rows;
    double (*loss)(const struct probe *p);
    float *arrays[4]; /* owned constants: norm weights, angles */
    lc_dropout dropout;
    lc_lora_parts parts;
    lc_attention_shape attention;
    lc_qk_rope_args rope;
    const int32_t *targets;
} probe;

static double *doubles(lc_mat mat)
{
    return mat.data;
}

static lc_mat new_mat(probe *p, int64_t rows, int64_t cols, double low, double high)
{
    assert_true(p->count < MAX_MATS);
    double *data = calloc((size_t)(rows * cols), sizeof *data);
    assert_non_null(data);
    for (int64_t i = 0; i < rows * cols; i++) {
        data[i] = test_uniform(low, high);
    }
    const lc_mat mat = {data, rows, cols, cols, LC_F64, 0};
    p->mats[p->count++] = mat;
    return mat;
}

static float *new_floats(probe *p, int index, int64_t count, double low, double high)
{
    p->arrays[index] = calloc((size_t)count, sizeof(float));
    assert_non_null(p->arrays[index]);
    test_fill(p->arrays[index], (size_t)count, low, high);
    return p->arrays[index];
}

static void release(probe *p)
{
    for (int i = 0; i < p->count; i++) {
        free(p->mats[i].data);
    }
    for (int i = 0; i < 4; i++) {
        free(p->arrays[i]);
    }
}

static double weighted_sum(lc_mat chosen, lc_mat output)
{
    double sum = 0.0;
    for (int64_t i = 0; i < output.rows; i++) {
        for (int64_t j = 0; j < output.cols; j++) {
            sum += ref_get(chosen, i, j) * ref_get(output, i, j);
        }
    }
    return sum;
}

/* Changes single elements of `input` and compares with `gradient`, `base` being what the gradient
 * had in it before (the [acc] ops). */
static void check_gradient(const char *what, const probe *p, lc_mat input, lc_mat gradient,
                           const double *base)
{
    double difference = 0.0, norm = 0.0, expected_norm = 0.0;
    const int64_t count = input.rows * input.cols;
    for (int k = 0; k < PROBES; k++) {
        const int64_t at = count <= PROBES ? k % count : test_int(0, count - 1);
        double *x = doubles(input) + at;
        const double before = *x;
        *x = before + STEP;
        const double above = p->loss(p);
        *x = before - STEP;
        const double below = p->loss(p);
        *x = before;
        const double measured = (above - below) / (2.0 * STEP);
        const double given = doubles(gradient)[at] - (base != NULL ? base[at] : 0.0);
        difference += (measured - given) * (measured - given);
        norm += measured * measured;
        expected_norm += given * given;
    }
    if (!(sqrt(difference) <= TOLERANCE * sqrt(fmax(norm, expected_norm)))) {
        fail_msg("%s: gradient off by %.3g of %.3g", what, sqrt(difference), sqrt(norm));
    }
    assert_true(expected_norm > 0.0);
}

static lc_mat copy_of(probe *p, lc_mat mat)
{
    const lc_mat copy = new_mat(p, mat.rows, mat.cols, 0, 1);
    memcpy(copy.data, mat.data, (size_t)(mat.rows * mat.cols) * sizeof(double));
    return copy;
}

enum { X, OUTPUT, CHOSEN };

static double rmsnorm_loss(const probe *p)
{
    ref_rmsnorm(&(lc_rmsnorm_args){
        .x = p->mats[X], .weight = p->arrays[0], .eps = 0.25f, .y = p->mats[OUTPUT]});
    return weighted_sum(p->mats[CHOSEN], p->mats[OUTPUT]);
}

static void test_rmsnorm(void **state)
{
    (void)state;
    probe p = {.loss = rmsnorm_loss};
    const int64_t n = test_int(1, 6), width = test_int(1, 40);
    const lc_mat x = new_mat(&p, n, width, -2, 2);
    (void)new_mat(&p, n, width, 0, 0);
    const lc_mat chosen = new_mat(&p, n, width, -1, 1), dx = new_mat(&p, n, width, -1, 1);
    const lc_mat base = copy_of(&p, dx);
    (void)new_floats(&p, 0, width, -1, 2);
    ref_rmsnorm_backward(
        &(lc_rmsnorm_backward_args){.dy = chosen, .x = x, .weight = p.arrays[0], .dx = dx}, 0.25);
    check_gradient("rmsnorm", &p, x, dx, base.data);
    release(&p);
}

static double linear_loss(const probe *p)
{
    ref_linear(&(lc_linear_args){
        .x = p->mats[X], .w = p->mats[3], .bias = p->mats[4].data, .y = p->mats[OUTPUT]});
    return weighted_sum(p->mats[CHOSEN], p->mats[OUTPUT]);
}

static void test_linear(void **state)
{
    (void)state;
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        probe p = {.loss = linear_loss};
        const int64_t n = test_int(1, 6), in = test_int(1, 20), out = test_int(1, 20);
        const lc_mat x = new_mat(&p, n, in, -1, 1);
        (void)new_mat(&p, n, out, 0, 0);
        const lc_mat chosen = new_mat(&p, n, out, -1, 1), w = new_mat(&p, out, in, -1, 1);
        (void)new_mat(&p, 1, out, -1, 1); /* the bias, of y's type */
        const lc_mat dx = new_mat(&p, n, in, -1, 1), base = copy_of(&p, dx);
        ref_linear_backward(&(lc_linear_backward_args){
            .dy = chosen, .w = w, .dx = dx, .accumulate = accumulate != 0});
        check_gradient("linear", &p, x, dx, accumulate != 0 ? base.data : NULL);
        release(&p);
    }
}

/* One adapted linear as the model runs it: S = drop(X) A^T, Y = [X|S] [W|sB]^T. */
enum { W = 3, A, B, SB, S };
#define SCALE 2.5

static void publish(const probe *p)
{
    const lc_mat b = p->mats[B], sb = p->mats[SB];
    for (int64_t i = 0; i < b.rows * b.cols; i++) {
        doubles(sb)[i] = SCALE * doubles(b)[i];
    }
}

static double adapted_loss(const probe *p)
{
    publish(p);
    ref_lora_forward(&(lc_lora_forward_args){.x = p->mats[X],
                                             .a = p->mats[A],
                                             .s = p->mats[S],
                                             .parts = p->parts,
                                             .dropout = p->dropout});
    ref_linear(&(lc_linear_args){.x = p->mats[X], .w = p->mats[W], .y = p->mats[OUTPUT]});
    const double base = weighted_sum(p->mats[CHOSEN], p->mats[OUTPUT]);
    ref_linear(&(lc_linear_args){.x = p->mats[S], .w = p->mats[SB], .y = p->mats[OUTPUT]});
    return base + weighted_sum(p->mats[CHOSEN], p->mats[OUTPUT]);
}

/* Floats as they are, in a matrix of doubles. */
static void widen(lc_mat to, const float *from)
{
    for (int64_t i = 0; i < to.rows * to.cols; i++) {
        doubles(to)[i] = (double)from[i];
    }
}

static void check_adapted(float dropout_p)
{
    probe p = {.loss = adapted_loss};
    const int64_t n = test_int(2, 6), in = test_int(8, 20), out = test_int(1, 20),
                  rank = test_int(1, 5);
    int64_t example[8] = {0};
    int32_t position[8] = {0};
    for (int i = 0; i < 8; i++) {
        example[i] = test_int(0, 1000);
        position[i] = (int32_t)test_int(0, 1000);
    }
    const uint32_t key[2] = {(uint32_t)test_int(0, 1 << 30), 3};
    p.dropout = (lc_dropout){
        .p = dropout_p, .key = key, .example = example, .position = position, .layer = 2};
    const lc_mat x = new_mat(&p, n, in, -1, 1);
    (void)new_mat(&p, n, out, 0, 0);
    const lc_mat dy = new_mat(&p, n, out, -1, 1), w = new_mat(&p, out, in, -1, 1);
    const lc_mat a = new_mat(&p, rank, in, -1, 1), b = new_mat(&p, out, rank, -1, 1);
    const lc_mat sb = new_mat(&p, out, rank, 0, 0), s = new_mat(&p, n, rank, 0, 0);
    const lc_mat ds = new_mat(&p, n, rank, 0, 0), da = new_mat(&p, rank, in, 0, 0);
    const lc_mat db = new_mat(&p, out, rank, 0, 0), dx = new_mat(&p, n, in, 0, 0);
    float *da_sums = new_floats(&p, 0, rank * in, 0, 0),
          *db_sums = new_floats(&p, 1, out * rank, 0, 0);
    p.parts = (lc_lora_parts){.count = 1,
                              .part = {{.out = (int32_t)out,
                                        .width = (int32_t)rank,
                                        .module = 5,
                                        .scale = (float)SCALE,
                                        .db = db_sums}}};
    (void)adapted_loss(&p); /* fills s and sb */
    ref_lora_dy(&(lc_lora_dy_args){.dy = dy, .sb = sb, .s = s, .ds = ds, .parts = p.parts});
    ref_lora_dx(&(lc_lora_dx_args){
        .x = x, .ds = ds, .da = da_sums, .parts = p.parts, .dropout = p.dropout});
    widen(da, da_sums);
    widen(db, db_sums);
    ref_linear_backward(&(lc_linear_backward_args){.dy = dy, .w = w, .dx = dx});
    if (dropout_p > 0.0f) {
        ref_lora_dropout_backward(&(lc_lora_dropout_backward_args){
            .ds = ds, .a = a, .parts = p.parts, .dropout = p.dropout, .dx = dx});
    } else {
        ref_linear_backward(
            &(lc_linear_backward_args){.dy = ds, .w = a, .dx = dx, .accumulate = true});
    }
    check_gradient("adapted A", &p, a, da, NULL);
    check_gradient("adapted B", &p, b, db, NULL);
    check_gradient("adapted x", &p, x, dx, NULL);
    release(&p);
}

static void test_adapted(void **state)
{
    (void)state;
    check_adapted(0.0f);
    check_adapted(0.3f);
}

static double rope_loss(const probe *p)
{
    float rstd[256];
    lc_qk_rope_args args = p->rope;
    args.rstd = rstd;
    ref_qk_rope(&args);
    return weighted_sum(p->mats[CHOSEN], p->mats[OUTPUT]);
}

static void check_rope(bool norm, bool turns)
{
    probe p = {.loss = rope_loss};
    const int64_t n = test_int(1, 5), dim = 2 * test_int(1, 10), half = dim / 2;
    const lc_mat x = new_mat(&p, n, 3 * dim, -2, 2), y = new_mat(&p, n, 3 * dim, 0, 0);
    const lc_mat chosen = new_mat(&p, n, 3 * dim, -1, 1), dy = copy_of(&p, chosen);
    float *cosine = new_floats(&p, 2, n * half, -1, 1), *sine = new_floats(&p, 3, n * half, -1, 1);
    p.rope = (lc_qk_rope_args){.x = x,
                               .y = y,
                               .q_heads = 2,
                               .k_heads = 1,
                               .head_dim = (int32_t)dim,
                               .q_norm = norm ? new_floats(&p, 0, dim, -1, 2) : NULL,
                               .k_norm = norm ? new_floats(&p, 1, dim, -1, 2) : NULL,
                               .eps = 0.25f,
                               .cos = turns ? cosine : NULL,
                               .sin = turns ? sine : NULL};
    ref_qk_rope_backward(&(lc_qk_rope_backward_args){.x = x,
                                                     .dy = dy,
                                                     .q_heads = 2,
                                                     .k_heads = 1,
                                                     .head_dim = (int32_t)dim,
                                                     .q_norm = p.rope.q_norm,
                                                     .k_norm = p.rope.k_norm,
                                                     .cos = p.rope.cos,
                                                     .sin = p.rope.sin},
                         0.25);
    check_gradient("qk_rope", &p, x, dy, NULL);
    release(&p);
}

static void test_rope(void **state)
{
    (void)state;
    check_rope(false, true);
    check_rope(true, true);
    check_rope(true, false);
}

enum { K = 3, V };

static double attention_loss(const probe *p)
{
    ref_attention(&(lc_attention_args){.shape = p->attention,
                                       .q = p->mats[X],
                                       .k = p->mats[K],
                                       .v = p->mats[V],
                                       .out = p->mats[OUTPUT]});
    return weighted_sum(p->mats[CHOSEN], p->mats[OUTPUT]);
}

static void check_attention(int32_t window)
{
    probe p = {.loss = attention_loss};
    const int32_t cu_seqlens[] = {0, 7, 7, 8, 20};
    const int64_t n = 20, dim = test_int(1, 9);
    p.attention = (lc_attention_shape){.heads = 4,
                                       .kv_heads = 2,
                                       .head_dim = (int32_t)dim,
                                       .scale = 0.7f,
                                       .window = window,
                                       .documents = {.count = 4, .cu_seqlens = cu_seqlens}};
    const lc_mat q = new_mat(&p, n, 4 * dim, -1, 1);
    (void)new_mat(&p, n, 4 * dim, 0, 0);
    const lc_mat dout = new_mat(&p, n, 4 * dim, -1, 1);
    const lc_mat k = new_mat(&p, n, 2 * dim, -1, 1), v = new_mat(&p, n, 2 * dim, -1, 1);
    const lc_mat dq = new_mat(&p, n, 4 * dim, 1, 2), dk = new_mat(&p, n, 2 * dim, 1, 2);
    const lc_mat dv = new_mat(&p, n, 2 * dim, 1, 2);
    ref_attention_backward(&(lc_attention_backward_args){
        .shape = p.attention, .q = q, .k = k, .v = v, .dout = dout, .dq = dq, .dk = dk, .dv = dv});
    check_gradient("attention q", &p, q, dq, NULL);
    check_gradient("attention k", &p, k, dk, NULL);
    check_gradient("attention v", &p, v, dv, NULL);
    release(&p);
}

static void test_attention(void **state)
{
    (void)state;
    check_attention(0);
    check_attention(3);
}

static double swiglu_loss(const probe *p)
{
    ref_swiglu(&(lc_swiglu_args){.gate_up = p->mats[X], .y = p->mats[OUTPUT]});
    return weighted_sum(p->mats[CHOSEN], p->mats[OUTPUT]);
}

static void test_swiglu(void **state)
{
    (void)state;
    probe p = {.loss = swiglu_loss};
    const int64_t n = test_int(1, 6), width = test_int(1, 20);
    const lc_mat x = new_mat(&p, n, 2 * width, -4, 4);
    (void)new_mat(&p, n, width, 0, 0);
    const lc_mat dy = new_mat(&p, n, width, -1, 1), gradient = copy_of(&p, x);
    ref_swiglu_backward(&(lc_swiglu_backward_args){.dy = dy, .gate_up = gradient});
    check_gradient("swiglu", &p, x, gradient, NULL);
    release(&p);
}

/* The loss in double; nll of the args is a float. */
static double cross_entropy_loss(const probe *p)
{
    float nll[8], correct[8];
    double exact[8], sum = 0.0;
    ref_cross_entropy(&(lc_cross_entropy_args){.logits = p->mats[X],
                                               .targets = p->targets,
                                               .weights = p->arrays[0],
                                               .nll = nll,
                                               .correct = correct},
                      exact);
    for (int64_t m = 0; m < p->mats[X].rows; m++) {
        sum += (double)p->arrays[0][m] * exact[m];
    }
    return sum;
}

static void test_cross_entropy(void **state)
{
    (void)state;
    probe p = {.loss = cross_entropy_loss};
    const int64_t n = test_int(1, 8), width = test_int(2, 30);
    int32_t targets[8];
    float nll[8], correct[8];
    for (int i = 0; i < 8; i++) {
        targets[i] = (int32_t)test_int(0, width - 1);
    }
    p.targets = targets;
    const lc_mat x = new_mat(&p, n, width, -4, 4), gradient = copy_of(&p, x);
    float *weights = new_floats(&p, 0, n, 0.1, 2);
    ref_cross_entropy(&(lc_cross_entropy_args){.logits = gradient,
                                               .targets = targets,
                                               .weights = weights,
                                               .gradient = true,
                                               .nll = nll,
                                               .correct = correct},
                      NULL);
    check_gradient("cross_entropy", &p, x, gradient, NULL);
    release(&p);
}

/* Cached attention sees what packed attention sees: one document laid into a slot gives the same
 * rows. */
static void test_cached(void **state)
{
    (void)state;
    probe p = {0};
    const int64_t n = 9, dim = 5;
    const int32_t cu_seqlens[] = {0, 9};
    const int32_t slots[] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, positions[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    const lc_attention_shape shape = {.heads = 2,
                                      .kv_heads = 1,
                                      .head_dim = 5,
                                      .scale = 0.5f,
                                      .window = 4,
                                      .documents = {.count = 1, .cu_seqlens = cu_seqlens}};
    const lc_mat q = new_mat(&p, n, 2 * dim, -1, 1), cache = new_mat(&p, 22, 2 * dim, -1, 1);
    const lc_mat packed = new_mat(&p, n, 2 * dim, 0, 0), cached = new_mat(&p, n, 2 * dim, 0, 0);
    lc_mat k = cache, v = cache;
    k.cols = v.cols = dim;
    v.data = doubles(cache) + dim;
    lc_mat k_window = k, v_window = v;
    k_window.data = doubles(k) + 11 * cache.ld;
    v_window.data = doubles(v) + 11 * cache.ld;
    k_window.rows = v_window.rows = n;
    ref_attention(
        &(lc_attention_args){.shape = shape, .q = q, .k = k_window, .v = v_window, .out = packed});
    ref_attention_cached(&(lc_attention_cached_args){.heads = 2,
                                                     .kv_heads = 1,
                                                     .head_dim = 5,
                                                     .scale = 0.5f,
                                                     .window = 4,
                                                     .slots = slots,
                                                     .positions = positions,
                                                     .slot_rows = 11,
                                                     .q = q,
                                                     .k_cache = k,
                                                     .v_cache = v,
                                                     .out = cached});
    assert_memory_equal(packed.data, cached.data, (size_t)(n * 2 * dim) * sizeof(double));
    release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm),       cmocka_unit_test(test_linear),
        cmocka_unit_test(test_adapted),       cmocka_unit_test(test_rope),
        cmocka_unit_test(test_attention),     cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_cross_entropy), cmocka_unit_test(test_cached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
