/* MD5 (RFC 1321): for clients that send one along with an upload. Finds accidents only. */
#ifndef LC_SERVE_MD5_H
#define LC_SERVE_MD5_H

#include <stddef.h>
#include <stdint.h>

typedef struct lc_md5 {
    uint32_t state[4];
    uint64_t bytes;
    uint8_t block[64];
} lc_md5;

void lc_md5_init(lc_md5 *hash);
void lc_md5_update(lc_md5 *hash, const void *data, size_t bytes);
void lc_md5_final(lc_md5 *hash, uint8_t digest[16]);

#endif
