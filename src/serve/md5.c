/*
 * MD5 as RFC 1321 has it; see md5.h.
 */
#include "serve/md5.h"

#include <string.h>

/* floor(2^32 * |sin(i + 1)|) */
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
static const uint8_t turns[4][4] = {
    {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static uint32_t load(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void take_block(lc_md5 *hash, const uint8_t *block)
{
    uint32_t a = hash->state[0], b = hash->state[1], c = hash->state[2], d = hash->state[3];
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t mixed, word;
        switch (i / 16) {
        case 0:
            mixed = (b & c) | (~b & d);
            word = i;
            break;
        case 1:
            mixed = (d & b) | (~d & c);
            word = (5 * i + 1) % 16;
            break;
        case 2:
            mixed = b ^ c ^ d;
            word = (3 * i + 5) % 16;
            break;
        default:
            mixed = c ^ (b | ~d);
            word = (7 * i) % 16;
            break;
        }
        const uint32_t sum = a + mixed + sines[i] + load(block + (size_t)4 * word);
        const uint32_t turn = turns[i / 16][i % 4];
        a = d;
        d = c;
        c = b;
        b += sum << turn | sum >> (32 - turn);
    }
    hash->state[0] += a;
    hash->state[1] += b;
    hash->state[2] += c;
    hash->state[3] += d;
}

void lc_md5_init(lc_md5 *hash)
{
    *hash = (lc_md5){.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
}

void lc_md5_update(lc_md5 *hash, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    while (bytes > 0) {
        const size_t filled = hash->bytes % sizeof hash->block;
        const size_t room = sizeof hash->block - filled;
        const size_t count = bytes < room ? bytes : room;
        memcpy(hash->block + filled, at, count);
        hash->bytes += count;
        at += count;
        bytes -= count;
        if (count == room) {
            take_block(hash, hash->block);
        }
    }
}

void lc_md5_final(lc_md5 *hash, uint8_t digest[16])
{
    const uint64_t bits = hash->bytes * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++) {
        length[i] = (uint8_t)(bits >> (8 * i));
    }
    lc_md5_update(hash, "\x80", 1);
    while (hash->bytes % sizeof hash->block != sizeof hash->block - sizeof length) {
        lc_md5_update(hash, "", 1);
    }
    lc_md5_update(hash, length, sizeof length);
    for (int i = 0; i < 16; i++) {
        digest[i] = (uint8_t)(hash->state[i / 4] >> (8 * (i % 4)));
    }
}
