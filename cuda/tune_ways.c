/*
 * Timing the ways of an op (ways.h), for `lorac bench --tune` alone: the op itself is run on random
 * operands of its shape, with one way after the other as its choice. Products that a way makes and
 * the table has not are tuned first, so that ways are compared at their best.
 */
#include <string.h>

#include "cuda.h"
#include "tuning.h"

#define PITCH 64 /* elements */

/* One adapted linear with all that its ops take. */
typedef struct trial {
    lc_cuda *cuda;
    lc_cuda_way_key key;
    const lc_tune_options *options;
    lc_lora_parts parts;
    int64_t rows, in, out, rank;
    bool has_parts; /* else only the border's width is known */
    /* owned device memory: X|S, Y|S, G, S, normed; dA, dB; rstd, weight of the norm; scratch */
    void *x, *y, *g, *s, *normed;
    float *da, *db, *rstd, *norm_weight;
    void *dx;    /* of a norm's backward pass alone, and what keys its dropout */
    float *bits; /* N examples, N positions, two words */
    void *scratch;
    size_t scratch_bytes;
} trial;

static int64_t pitched(int64_t cols)
{
    return (cols + PITCH - 1) / PITCH * PITCH;
}

static lc_mat matrix(void *data, int64_t rows, int64_t cols, int64_t ld)
{
    return (lc_mat){.data = data, .rows = rows, .cols = cols, .ld = ld, .dtype = LC_BF16};
}

/* ---- operands ---- */

/* Slots side by side; module numbers do not matter without dropout. */
static void set_shape(trial *t)
{
    const lc_cuda_way_key *key = &t->key;
    int64_t rows_of_parts = 0;
    t->parts.count = key->part_count;
    for (int32_t i = 0; i < key->part_count; i++) {
        t->parts.part[i] = (lc_lora_part){.row = key->part_row[i],
                                          .out = key->part_out[i],
                                          .slot = (int32_t)t->rank,
                                          .width = key->part_width[i],
                                          .scale = 1.0f};
        t->rank += key->part_width[i];
        rows_of_parts += key->part_out[i];
    }
    t->has_parts = rows_of_parts > 0;
    t->rows = key->rows;
    t->in = key->in > 0 ? key->in : PITCH;
    t->out = key->out > 0 ? key->out : PITCH;
}

static lc_code make_floats(trial *t, int64_t count, uint64_t seed, float **out, lc_err *err)
{
    void *memory = NULL;
    const lc_code code = lc_cuda_random(&t->cuda->device, LC_F32, count, seed, &memory, err);
    *out = memory;
    return code;
}

/* A norm's backward pass with dropout: any bits do for a key. */
static lc_code make_norm(trial *t, lc_err *err)
{
    LC_TRY(lc_cuda_random(&t->cuda->device, LC_BF16, t->rows * pitched(t->in), 10, &t->dx, err));
    return make_floats(t, 3 * t->rows + 2, 11, &t->bits, err);
}

/* For rows that are rounded up, past what the model has planned. */
static lc_code make_scratch(trial *t, lc_err *err)
{
    const size_t dy = lc_cuda_lora_dy_scratch(t->rows, t->out, &t->parts),
                 dx = lc_cuda_lora_dx_scratch(t->rows, t->in, t->rank);
    t->scratch_bytes = dy > dx ? dy : dx;
    return lc_cuda_alloc(&t->cuda->device, t->scratch_bytes, &t->scratch, err);
}

static lc_code make_operands(trial *t, lc_err *err)
{
    lc_device *device = &t->cuda->device;
    const int64_t wide_in = pitched(t->in + t->rank), wide_out = pitched(t->out + t->rank);
    LC_TRY(lc_cuda_random(device, LC_BF16, t->rows * wide_in, 1, &t->x, err));
    LC_TRY(lc_cuda_random(device, LC_BF16, t->rows * wide_out, 2, &t->y, err));
    LC_TRY(lc_cuda_random(device, LC_BF16, (t->out + t->rank) * wide_in, 3, &t->g, err));
    LC_TRY(lc_cuda_random(device, LC_BF16, t->rows * pitched(t->rank), 4, &t->s, err));
    LC_TRY(lc_cuda_random(device, LC_BF16, t->rows * wide_in, 5, &t->normed, err));
    LC_TRY(make_floats(t, t->rank * t->in, 6, &t->da, err));
    LC_TRY(make_floats(t, t->rank * t->out, 7, &t->db, err));
    LC_TRY(make_floats(t, t->rows, 8, &t->rstd, err));
    LC_TRY(make_floats(t, t->in, 9, &t->norm_weight, err));
    float *db = t->db;
    for (int32_t i = 0; i < t->parts.count; i++) {
        t->parts.part[i].db = db;
        db += (int64_t)t->parts.part[i].out * t->parts.part[i].width;
    }
    if (t->key.site == LC_SITE_NORM_BACKWARD) {
        LC_TRY(make_norm(t, err));
    }
    return make_scratch(t, err);
}

static void release(trial *t)
{
    void *blocks[] = {t->x,  t->y,    t->g,           t->s,  t->normed, t->da,
                      t->db, t->rstd, t->norm_weight, t->dx, t->bits,   t->scratch};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        (void)cudaFree(blocks[i]);
    }
}

/* ---- the op ---- */

static lc_lora_dy_args dy_args(const trial *t)
{
    const lc_mat y = matrix(t->y, t->rows, t->out, pitched(t->out + t->rank));
    const lc_mat g = matrix(t->g, t->out + t->rank, t->in, pitched(t->in + t->rank));
    return (lc_lora_dy_args){.dy = y,
                             .sb = lc_mat_view(g, 0, t->in, t->out, t->rank),
                             .s = matrix(t->s, t->rows, t->rank, pitched(t->rank)),
                             .ds = lc_mat_tail(y, t->rank),
                             .parts = t->parts};
}

static lc_code run_backward(const trial *t, lc_mat x, lc_mat y, lc_mat g, lc_err *err)
{
    const lc_lora_dy_args side = dy_args(t);
    const lc_linear_backward_args args = {.dy = y,
                                          .w = lc_mat_view(g, 0, 0, t->out + t->rank, t->in),
                                          .tail = t->rank,
                                          .dx = x,
                                          .dx_tail = lc_mat_tail(x, t->rank),
                                          .lora = t->has_parts ? &side : NULL};
    return lc_cuda_op_linear_backward(&t->cuda->device, &args, err);
}

static lc_code run_dx(const trial *t, lc_mat x, lc_mat y, bool is_normed, lc_err *err)
{
    const lc_lora_dx_args args = {.x = x,
                                  .ds = lc_mat_view(y, 0, t->out, t->rows, t->rank),
                                  .da = t->da,
                                  .rstd = is_normed ? t->rstd : NULL,
                                  .norm_weight = t->norm_weight,
                                  .normed =
                                      matrix(t->normed, t->rows, t->in, pitched(t->in + t->rank)),
                                  .parts = t->parts};
    return lc_cuda_op_lora_dx(&t->cuda->device, &args, err);
}

/* dy is x's buffer, the norm's input that of `normed`. */
static lc_code run_norm_backward(const trial *t, lc_mat dy, lc_mat y, lc_mat g, lc_err *err)
{
    const lc_mat input = matrix(t->normed, t->rows, t->in, dy.ld);
    const void *bits = t->bits, *positions = t->bits + 2 * t->rows, *key = t->bits + 3 * t->rows;
    const lc_lora_dropout_backward_args dropped = {
        .ds = lc_mat_view(y, 0, t->out, t->rows, t->rank),
        .a = lc_mat_view(g, t->out, 0, t->rank, t->in),
        .parts = t->parts,
        .dropout = {.p = 0.1f, .key = key, .example = bits, .position = positions},
        .product = input,
        .dx = dy};
    return LC_OP(&t->cuda->device, rmsnorm_backward,
                 {.dy = dy,
                  .x = input,
                  .weight = t->norm_weight,
                  .rstd = t->rstd,
                  .dx = matrix(t->dx, t->rows, t->in, pitched(t->in)),
                  .dropped = &dropped},
                 err);
}

static lc_code run_op(const trial *t, lc_err *err)
{
    lc_device *device = &t->cuda->device;
    const lc_mat x = matrix(t->x, t->rows, t->in, pitched(t->in + t->rank)),
                 y = matrix(t->y, t->rows, t->out + t->rank, pitched(t->out + t->rank)),
                 g = matrix(t->g, t->out + t->rank, t->in + t->rank, pitched(t->in + t->rank));
    const lc_lora_dy_args side = dy_args(t);
    switch ((lc_cuda_site)t->key.site) {
    case LC_SITE_LORA_FORWARD:
        return LC_OP(device, lora_forward,
                     {.x = x,
                      .a = lc_mat_view(g, t->out, 0, t->rank, t->in),
                      .s = lc_mat_tail(x, t->rank),
                      .parts = t->parts},
                     err);
    case LC_SITE_LORA_DY:
        return lc_cuda_op_lora_dy(device, &side, err);
    case LC_SITE_LORA_DX:
    case LC_SITE_LORA_DX_NORMED:
        return run_dx(t, x, y, t->key.site == LC_SITE_LORA_DX_NORMED, err);
    case LC_SITE_LINEAR:
        return LC_OP(device, linear,
                     {.x = lc_mat_view(x, 0, 0, t->rows, t->in + t->rank),
                      .w = lc_mat_view(g, 0, 0, t->out, t->in + t->rank),
                      .tail = t->rank,
                      .y = lc_mat_view(y, 0, 0, t->rows, t->out)},
                     err);
    case LC_SITE_LINEAR_BACKWARD:
        return run_backward(t, x, y, g, err);
    case LC_SITE_NORM_BACKWARD:
        return run_norm_backward(t, x, y, g, err);
    case LC_SITE_NONE:
    case LC_SITE_COUNT:
    default:
        return lc_fail(err, LC_ERR_INTERNAL, "an op of kind %d", t->key.site);
    }
}

/* ---- time ---- */

/* Median time in microseconds of the op with one way, its new products tuned. */
static lc_code measure(const trial *t, double *us, lc_err *err)
{
    lc_device *device = &t->cuda->device;
    const int known = t->cuda->gemms.choices.count;
    double times[LC_TUNE_REPETITIONS];
    LC_TRY(run_op(t, err));
    for (int i = known; i < t->cuda->gemms.choices.count; i++) {
        if (t->cuda->gemms.choices.items[i].site.rows == 0) {
            lc_tuned ignored;
            LC_TRY(lc_cuda_tune(device, i, t->options, &ignored, err));
        }
    }
    LC_TRY(run_op(t, err));
    const int repetitions = lc_tune_repetitions(t->options);
    for (int i = 0; i < repetitions; i++) {
        double seconds = 0.0;
        LC_TRY(lc_cuda_timer_start(device, err));
        LC_TRY(run_op(t, err));
        LC_TRY(lc_cuda_timer_stop(device, &seconds, err));
        times[i] = seconds * 1e6;
    }
    *us = lc_tune_median(times, repetitions);
    return LC_OK;
}

static lc_code compare(const trial *t, int64_t index, lc_tuned *out, lc_err *err)
{
    const lc_cuda_way *ways = NULL;
    lc_cuda_choices *choices = &t->cuda->gemms.choices;
    const int count = lc_cuda_ways_of((lc_cuda_site)t->key.site, &ways);
    lc_cuda_way best = ways[0];
    for (int i = 0; i < count; i++) {
        double us = 0.0;
        if (ways[i] == LC_WAY_WIDENED && !t->has_parts) {
            continue;
        }
        choices->items[index].way = ways[i];
        LC_TRY(measure(t, &us, err));
        if (out->candidates++ == 0) {
            out->first_us = out->best_us = us;
        } else if (lc_tune_is_better(out, us)) {
            out->best_us = us;
            best = ways[i];
        }
    }
    choices->items[index].way = best;
    choices->items[index].is_measured = true;
    return LC_OK;
}

lc_code lc_cuda_tune_way(lc_device *device, int64_t index, const lc_tune_options *options,
                         lc_tuned *out, lc_err *err)
{
    lc_cuda *cuda = lc_cuda_of(device);
    trial t = {.cuda = cuda, .key = cuda->gemms.choices.items[index].site, .options = options};
    void *const scratch = cuda->scratch;
    const size_t scratch_bytes = cuda->scratch_bytes;
    set_shape(&t);
    lc_code code = make_operands(&t, err);
    if (code == LC_OK) {
        cuda->scratch = t.scratch;
        cuda->scratch_bytes = t.scratch_bytes;
        code = compare(&t, index, out, err);
        cuda->scratch = scratch;
        cuda->scratch_bytes = scratch_bytes;
    }
    release(&t);
    return code;
}
