/*
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., SC'11). No state, so nothing to save
 * on a checkpoint and nothing that depends on the order of calls. Used for dropout, shuffling,
 * initialisation and sampling.
 */
#ifndef LC_BASE_RNG_H
#define LC_BASE_RNG_H

#include <stdint.h>

/* out[0..3] = Philox4x32-10(key, counter). The reference vectors of the Random123 distribution
 * hold. */
void lc_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);

/* A stream of numbers for sequential use: key (seed, stream), counter counts up. */
typedef struct lc_rng {
    uint32_t key[2];
    uint64_t counter;
    uint32_t word[4];
    int used; /* words of `word` already given out; 4: none left */
} lc_rng;

void lc_rng_init(lc_rng *rng, uint32_t seed, uint32_t stream);
uint32_t lc_rng_u32(lc_rng *rng);
double lc_rng_uniform(lc_rng *rng);                 /* [0, 1), 53 bits */
uint64_t lc_rng_below(lc_rng *rng, uint64_t bound); /* 0..bound-1 without bias; bound >= 1 */
double lc_rng_normal(lc_rng *rng);                  /* N(0, 1), Box-Muller */
void lc_rng_shuffle(lc_rng *rng, int64_t *values, int64_t count); /* Fisher-Yates */

#endif
