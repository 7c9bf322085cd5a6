/*
 * Choosing tokens: the first largest logit, or by whole-number weights as ops.h defines them. The
 * place of a token in the order of weights is found digit by digit of q, from sums of weights by
 * digit; nothing is sorted or stored. And what the chosen tokens' own step reads.
 */
#include "ops/cpu/cpu.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "ops/choose.h"

#define DIGIT_BITS 8
#define DIGITS     (1 << DIGIT_BITS)
#define NO_WEIGHT  (UINT32_C(44) << 26) /* q from here on */

/* A row that is not greedy. */
typedef struct row_weights {
    const float *logits;
    int64_t vocab;
    float largest, sharpness;
} row_weights;

/* q of ops.h. */
static uint32_t order_of(const row_weights *row, int64_t id)
{
    const float y = (row->largest - row->logits[id]) * row->sharpness;
    return y < 44.0f ? (uint32_t)(y * 0x1p26f) : NO_WEIGHT;
}

static uint64_t weight_of(uint32_t q)
{
    static const uint32_t terms[LC_EXP2_TERM_COUNT] = {LC_EXP2_TERMS};
    const uint64_t fraction = (uint64_t)(q << 6);
    uint64_t sum = terms[LC_EXP2_TERM_COUNT - 1];
    if (q >= NO_WEIGHT) {
        return 0;
    }
    for (int k = LC_EXP2_TERM_COUNT - 2; k >= 0; k--) {
        sum = terms[k] - (fraction * sum >> 32);
    }
    return ((UINT64_C(1) << 32) - (fraction * sum >> 32)) << 11 >> (q >> 26);
}

/* First largest logit; false when one is not finite. */
static bool first_largest(const float *logits, int64_t vocab, int64_t *id)
{
    int64_t best = 0;
    for (int64_t i = 0; i < vocab; i++) {
        if (!isfinite(logits[i])) {
            return false;
        }
        if (logits[i] > logits[best]) {
            best = i;
        }
    }
    *id = best;
    return true;
}

/* floor(sum * share / 2^64), share = high * 2^32 + low. */
static uint64_t part_of(uint64_t sum, uint32_t high, uint32_t low)
{
    const uint64_t upper = sum >> 32, lower = (uint32_t)sum;
    const uint64_t a = upper * high, b = lower * high, c = upper * low, d = lower * low >> 32;
    return a + (b >> 32) + (c >> 32) + (((uint64_t)(uint32_t)b + (uint32_t)c + d) >> 32);
}

/* Some tokens that follow each other in the order of weights: those of q = first .. first + 2^shift
 * - 1, either one token or all of one weight. */
typedef struct run {
    uint32_t first;
    int shift;
    uint64_t before; /* sum of the weights of all tokens before them */
    uint64_t weight; /* of each of them */
} run;

/* Sums and counts of the tokens whose q has the digits of `known` above the one at `shift`. */
static void sum_digits(const row_weights *row, uint32_t known, int shift, uint64_t *sums,
                       int64_t *counts)
{
    const int above = shift + DIGIT_BITS;
    memset(sums, 0, DIGITS * sizeof *sums);
    memset(counts, 0, DIGITS * sizeof *counts);
    for (int64_t i = 0; i < row->vocab; i++) {
        const uint32_t q = order_of(row, i);
        if (q < NO_WEIGHT && (uint64_t)q >> above == (uint64_t)known >> above) {
            sums[q >> shift & (DIGITS - 1)] += weight_of(q);
            counts[q >> shift & (DIGITS - 1)]++;
        }
    }
}

/* The run with the first token whose running sum is above `target`, which is less than the sum of
 * all. */
static run find_run(const row_weights *row, uint64_t target)
{
    uint64_t sums[DIGITS];
    int64_t counts[DIGITS];
    run found = {.shift = 32};
    do {
        int digit = 0;
        found.shift -= DIGIT_BITS;
        sum_digits(row, found.first, found.shift, sums, counts);
        while (digit < DIGITS - 1 && found.before + sums[digit] <= target) {
            found.before += sums[digit++];
        }
        found.first |= (uint32_t)digit << found.shift;
        found.weight = counts[digit] == 1 ? sums[digit] : weight_of(found.first);
        if (counts[digit] == 1) {
            break;
        }
    } while (found.shift > 0);
    return found;
}

/* The token of a run with `skipped` others before it. */
static int64_t token_of_run(const row_weights *row, const run *at, uint64_t skipped)
{
    int64_t id = 0;
    for (int64_t i = 0; i < row->vocab; i++) {
        if (order_of(row, i) >> at->shift == at->first >> at->shift) {
            id = i;
            if (skipped-- == 0) {
                break;
            }
        }
    }
    return id;
}

static uint64_t sum_of(const row_weights *row)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < row->vocab; i++) {
        sum += weight_of(order_of(row, i));
    }
    return sum;
}

/* Among all tokens, from the last id to the first. */
static int64_t choose_of_all(const row_weights *row, uint64_t target)
{
    int64_t id = row->vocab;
    uint64_t sum = 0;
    while (id > 0 && sum <= target) {
        sum += weight_of(order_of(row, --id));
    }
    return id;
}

static int64_t choose(const row_weights *row, const lc_sample_row *how, int32_t position)
{
    const uint32_t key[2] = {how->seed, how->stream}, counter[4] = {(uint32_t)position, 0, 0, 0};
    uint32_t word[4];
    uint64_t sum = sum_of(row);
    lc_philox(key, counter, word);
    if (how->top_p == 0) {
        return choose_of_all(row, part_of(sum, word[0], word[1]));
    }
    /* The share, rounded up, is reached by the token whose running sum is above one less. */
    const uint64_t share = part_of(sum, how->top_p, 0);
    const bool is_whole = (uint32_t)((uint64_t)(uint32_t)sum * how->top_p) == 0;
    uint64_t target = is_whole ? share - 1 : share;
    run at = find_run(row, target);
    sum = at.before + ((target - at.before) / at.weight + 1) * at.weight;
    target = part_of(sum, word[0], word[1]);
    at = find_run(row, target);
    return token_of_run(row, &at, (target - at.before) / at.weight);
}

int32_t lc_choose_token(const float *logits, int64_t vocab, const lc_sample_row *how,
                        int32_t position)
{
    int64_t id = -1;
    if (first_largest(logits, vocab, &id) && how->sharpness > 0.0f) {
        const row_weights row = {
            .logits = logits, .vocab = vocab, .largest = logits[id], .sharpness = how->sharpness};
        id = choose(&row, how, position);
    }
    return (int32_t)id;
}

static void sample_rows(lc_cpu *cpu, const void *context, int64_t first, int64_t end, int worker)
{
    (void)cpu;
    (void)worker;
    const lc_sample_args *args = context;
    for (int64_t i = first; i < end; i++) {
        args->ids[i] = lc_choose_token(lc_row_f32(args->logits, i), args->logits.cols,
                                       &args->rows[i], args->positions[i]);
    }
}

lc_code lc_cpu_sample(lc_device *device, const lc_sample_args *args, lc_err *err)
{
    LC_TRY(lc_sample_check(args, &lc_cpu_rules, err));
    lc_cpu_rows(lc_cpu_of(device), args->logits.rows, 16 * args->logits.cols, sample_rows, args);
    return LC_OK;
}

/* A few numbers a row: one thread. */
lc_code lc_cpu_advance(lc_device *device, const lc_advance_args *args, lc_err *err)
{
    (void)device;
    LC_TRY(lc_advance_check(args, err));
    const int64_t half = args->cos_by_position.cols, last = args->cos_by_position.rows - 1;
    for (int64_t m = 0; m < args->count; m++) {
        const int32_t position = args->chosen_positions[m];
        const int64_t known = position < last ? position : last;
        args->ids[m] = args->chosen[m] > 0 ? args->chosen[m] : 0;
        args->positions[m] = position;
        args->row_slots[m] = args->slots[m];
        args->rows[m] = (int32_t)m;
        args->chosen_positions[m] = position + 1;
        if (args->cos != NULL) {
            const size_t bytes = (size_t)half * sizeof(float);
            memcpy(args->cos + m * half, lc_row_f32(args->cos_by_position, known), bytes);
            memcpy(args->sin + m * half, lc_row_f32(args->sin_by_position, known), bytes);
        }
    }
    return LC_OK;
}
