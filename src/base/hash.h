/* SHA-256 (FIPS 180-4), for manifests and the identity of data; a checksum for very large files. */
#ifndef LC_BASE_HASH_H
#define LC_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

typedef struct lc_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} lc_sha256;

void lc_sha256_init(lc_sha256 *hash);
void lc_sha256_update(lc_sha256 *hash, const void *data, size_t bytes);
void lc_sha256_final(lc_sha256 *hash, uint8_t digest[32]);
void lc_sha256_of(const void *data, size_t bytes, uint8_t digest[32]);
void lc_hex(const uint8_t *bytes, size_t count, char *out); /* 2*count digits and a NUL */
LC_WARN_UNUSED lc_code lc_sha256_file(const char *path, uint8_t digest[32], int64_t *bytes,
                                      lc_err *err);

/* A checksum at the speed of memory, for files of many gigabytes: eight lanes of 64 bits, each
 * step x -> rotate((x ^ word) * odd), which no changed word leaves as it was. Finds accidents, not
 * somebody who builds a collision. All updates but the last have a multiple of 64 bytes. */
typedef struct lc_checksum {
    uint64_t lane[8];
    uint64_t bytes;
} lc_checksum;

void lc_checksum_init(lc_checksum *sum);
void lc_checksum_update(lc_checksum *sum, const void *data, size_t bytes);
void lc_checksum_final(const lc_checksum *sum, uint8_t digest[32]); /* SHA-256 of lanes, length */

/* 128 bits of a short text, at 5 GB/s: for tables. Finds accidents, not somebody who builds a
 * collision. */
void lc_hash128(const void *data, size_t bytes, uint64_t hash[2]);

#endif
