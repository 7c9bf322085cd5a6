/*
 * The block function of SHA-256 in two versions, private to src/base and its test: the portable
 * one, and the fastest this processor has.
 */
#ifndef LC_BASE_HASH_BLOCKS_H
#define LC_BASE_HASH_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

/* Both take `count` blocks of 64 bytes into state[8]; same result on any processor. */
void lc_sha256_blocks_portable(uint32_t state[8], const uint8_t *data, size_t count);
void lc_sha256_blocks(uint32_t state[8], const uint8_t *data, size_t count);

#endif
