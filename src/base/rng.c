/*
 * Philox4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3" (SC'11); and the draws made from it. Used by dropout, shuffling, initialisation and sampling.
 */
#include "base/rng.h"

#include <assert.h>
#include <math.h>

#define ROUNDS       10
#define MULTIPLIER_0 0xD2511F53u
#define MULTIPLIER_1 0xCD9E8D57u
#define WEYL_0       0x9E3779B9u /* golden ratio */
#define WEYL_1       0xBB67AE85u /* sqrt(3) - 1 */
#define TWO_PI       6.283185307179586476925286766559

void lc_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)MULTIPLIER_0 * c0;
        const uint64_t p1 = (uint64_t)MULTIPLIER_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void lc_rng_init(lc_rng *rng, uint32_t seed, uint32_t stream)
{
    *rng = (lc_rng){.key = {seed, stream}, .used = 4};
}

uint32_t lc_rng_u32(lc_rng *rng)
{
    if (rng->used >= 4) {
        const uint32_t counter[4] = {(uint32_t)rng->counter, (uint32_t)(rng->counter >> 32), 0, 0};
        lc_philox(rng->key, counter, rng->word);
        rng->counter++;
        rng->used = 0;
    }
    return rng->word[rng->used++];
}

static uint64_t next_u64(lc_rng *rng)
{
    const uint64_t high = lc_rng_u32(rng);
    return high << 32 | lc_rng_u32(rng);
}

double lc_rng_uniform(lc_rng *rng)
{
    return (double)(next_u64(rng) >> 11) * 0x1p-53;
}

uint64_t lc_rng_below(lc_rng *rng, uint64_t bound)
{
    assert(bound >= 1);
    /* The lowest 2^64 mod bound values are drawn again, so that every remainder is equally
     * likely. */
    const uint64_t threshold = (0 - bound) % bound;
    uint64_t value;
    do {
        value = next_u64(rng);
    } while (value < threshold);
    return value % bound;
}

double lc_rng_normal(lc_rng *rng)
{
    const double radius = sqrt(-2.0 * log(1.0 - lc_rng_uniform(rng)));
    return radius * cos(TWO_PI * lc_rng_uniform(rng));
}

void lc_rng_shuffle(lc_rng *rng, int64_t *values, int64_t count)
{
    for (int64_t i = count - 1; i > 0; i--) {
        const int64_t j = (int64_t)lc_rng_below(rng, (uint64_t)i + 1);
        const int64_t kept = values[i];
        values[i] = values[j];
        values[j] = kept;
    }
}
