/*
 * Sampling; see sampling.h. Top-p takes candidates from a heap, so that a vocabulary of 150k tokens
 * costs one pass and not a sort.
 */
#include "infer/sampling.h"

#include <math.h>
#include <stdbool.h>

#include "base/rng.h"

lc_code lc_sampling_check(const lc_sampling *sampling, lc_err *err)
{
    if (!(sampling->temperature >= 0.0 && sampling->temperature <= LC_MAX_TEMPERATURE)) {
        return lc_fail_param(err, LC_ERR_USAGE, "temperature",
                             "temperature %g is out of range: expected 0 (greedy) to %g",
                             sampling->temperature, LC_MAX_TEMPERATURE);
    }
    if (!(sampling->top_p > 0.0 && sampling->top_p <= 1.0)) {
        return lc_fail_param(err, LC_ERR_USAGE, "top_p",
                             "top-p %g is out of range: expected a number above 0, at most 1",
                             sampling->top_p);
    }
    return LC_OK;
}

/* First largest logit; false when one is not finite. */
static bool first_largest(const float *logits, int32_t vocab, int32_t *id)
{
    int32_t best = 0;
    for (int32_t i = 0; i < vocab; i++) {
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

/* Uniform in [0, 1) with 53 bits. */
static double uniform_at(uint32_t seed, uint32_t stream, int64_t position)
{
    const uint32_t key[2] = {seed, stream};
    const uint32_t counter[4] = {(uint32_t)position, (uint32_t)((uint64_t)position >> 32), 0, 0};
    uint32_t word[4];
    lc_philox(key, counter, word);
    const uint64_t bits = ((uint64_t)word[0] << 32 | word[1]) >> 11;
    return (double)bits * 0x1p-53;
}

static bool comes_before(const lc_candidate *a, const lc_candidate *b)
{
    return a->weight > b->weight || (!(a->weight < b->weight) && a->id < b->id);
}

static void sift_down(lc_candidate *heap, int32_t count, int32_t at)
{
    for (;;) {
        int32_t top = at;
        const int32_t left = 2 * at + 1, right = left + 1;
        if (left < count && comes_before(&heap[left], &heap[top])) {
            top = left;
        }
        if (right < count && comes_before(&heap[right], &heap[top])) {
            top = right;
        }
        if (top == at) {
            return;
        }
        const lc_candidate moved = heap[at];
        heap[at] = heap[top];
        heap[top] = moved;
        at = top;
    }
}

/* Moves the most likely candidates to the end of the array, best last, until their mass reaches
 * top_p of `total`. Returns how many; *mass is their sum. */
static int32_t take_nucleus(lc_candidate *heap, int32_t vocab, double top_p, double total,
                            double *mass)
{
    for (int32_t i = vocab / 2 - 1; i >= 0; i--) {
        sift_down(heap, vocab, i);
    }
    int32_t taken = 0;
    *mass = 0.0;
    while (taken < vocab && (taken == 0 || *mass < top_p * total)) {
        const lc_candidate best = heap[0];
        const int32_t last = vocab - 1 - taken;
        heap[0] = heap[last];
        heap[last] = best;
        taken++;
        *mass += best.weight;
        sift_down(heap, last, 0);
    }
    return taken;
}

lc_code lc_sample(const lc_sampling *sampling, const float *logits, int32_t vocab, uint32_t stream,
                  int64_t position, lc_candidate *scratch, int32_t *id, lc_err *err)
{
    int32_t best = 0;
    if (vocab < 1 || !first_largest(logits, vocab, &best)) {
        return lc_fail(
            err, LC_ERR_NUMERIC,
            "the model gave logits that are not finite at position %lld: the base weights or the "
            "adapter are damaged",
            (long long)position);
    }
    if (!(sampling->temperature > 0.0)) {
        *id = best;
        return LC_OK;
    }
    double total = 0.0;
    for (int32_t i = 0; i < vocab; i++) {
        scratch[i].id = i;
        scratch[i].weight = exp(((double)logits[i] - (double)logits[best]) / sampling->temperature);
        total += scratch[i].weight;
    }
    double mass = total;
    int32_t first = 0;
    if (sampling->top_p < 1.0) {
        first = vocab - take_nucleus(scratch, vocab, sampling->top_p, total, &mass);
    }
    double left = uniform_at(sampling->seed, stream, position) * mass;
    /* Rounding may leave a remainder behind the last one: then the most likely token is taken. */
    *id = best;
    for (int32_t i = vocab - 1; i >= first; i--) {
        left -= scratch[i].weight;
        if (left < 0.0) {
            *id = scratch[i].id;
            break;
        }
    }
    return LC_OK;
}
