/*
 * SHA-256 (FIPS 180-4), with the SHA extensions of x86 where the processor has them. Called by the
 * writers (manifests), the data set cache and the resume checks.
 */
#include "base/hash.h"

#include <string.h>

#include "base/file.h"
#include "base/hash_blocks.h"
#include "lorac/mem.h"

#define BLOCK_BYTES      64
#define FILE_CHUNK_BYTES ((size_t)256 << 10)

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t rotate(uint32_t value, int bits)
{
    return value >> bits | value << (32 - bits);
}

static inline uint32_t load_big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void schedule(const uint8_t *data, uint32_t w[64])
{
    for (int i = 0; i < 16; i++) {
        w[i] = load_big_endian(data + (size_t)i * 4);
    }
    for (int i = 16; i < 64; i++) {
        const uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        const uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
}

static void compress(uint32_t state[8], const uint8_t *data)
{
    uint32_t w[64];
    schedule(data, w);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        const uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
        const uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

void lc_sha256_blocks_portable(uint32_t state[8], const uint8_t *data, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        compress(state, data + i * BLOCK_BYTES);
    }
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>

/* Four rounds with schedule words w, and the next four words of the schedule: w0 <- f(w0, w1,
 * w2, w3). */
#define FOUR_ROUNDS(w, index)                                                            \
    do {                                                                                 \
        __m128i sum_ = _mm_add_epi32(                                                    \
            w, _mm_loadu_si128((const __m128i *)(const void *)&round_constants[index])); \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum_);                                  \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum_, 0x0E));         \
    } while (0)
#define NEXT_WORDS(w0, w1, w2, w3)                          \
    do {                                                    \
        w0 = _mm_sha256msg1_epu32(w0, w1);                  \
        w0 = _mm_add_epi32(w0, _mm_alignr_epi8(w3, w2, 4)); \
        w0 = _mm_sha256msg2_epu32(w0, w3);                  \
    } while (0)

__attribute__((target("sha,sse4.1,ssse3"))) static void
blocks_sha_ni(uint32_t state[8], const uint8_t *data, size_t count)
{
    const __m128i byte_swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const __m128i dcba = _mm_loadu_si128((const __m128i *)(const void *)state);
    const __m128i hgfe = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
    const __m128i cdab = _mm_shuffle_epi32(dcba, 0xB1);
    const __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1B);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
    __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
    for (size_t block = 0; block < count; block++, data += BLOCK_BYTES) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        const __m128i *in = (const __m128i *)(const void *)data;
        __m128i w0 = _mm_shuffle_epi8(_mm_loadu_si128(in), byte_swap);
        __m128i w1 = _mm_shuffle_epi8(_mm_loadu_si128(in + 1), byte_swap);
        __m128i w2 = _mm_shuffle_epi8(_mm_loadu_si128(in + 2), byte_swap);
        __m128i w3 = _mm_shuffle_epi8(_mm_loadu_si128(in + 3), byte_swap);
        for (int i = 0; i < 48; i += 16) {
            FOUR_ROUNDS(w0, i);
            NEXT_WORDS(w0, w1, w2, w3);
            FOUR_ROUNDS(w1, i + 4);
            NEXT_WORDS(w1, w2, w3, w0);
            FOUR_ROUNDS(w2, i + 8);
            NEXT_WORDS(w2, w3, w0, w1);
            FOUR_ROUNDS(w3, i + 12);
            NEXT_WORDS(w3, w0, w1, w2);
        }
        FOUR_ROUNDS(w0, 48);
        FOUR_ROUNDS(w1, 52);
        FOUR_ROUNDS(w2, 56);
        FOUR_ROUNDS(w3, 60);
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1B);
    const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static int detect_sha_ni(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    const int leaf_7 = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29) != 0;
    return leaf_7 && __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3");
}

void lc_sha256_blocks(uint32_t state[8], const uint8_t *data, size_t count)
{
    static _Atomic int
        known; /* 0: not asked yet, 1: no, 2: yes; cpuid is slow in virtual machines */
    int has = atomic_load_explicit(&known, memory_order_relaxed);
    if (has == 0) {
        has = 1 + (detect_sha_ni() != 0);
        atomic_store_explicit(&known, has, memory_order_relaxed);
    }
    if (has == 2) {
        blocks_sha_ni(state, data, count);
    } else {
        lc_sha256_blocks_portable(state, data, count);
    }
}
#else
void lc_sha256_blocks(uint32_t state[8], const uint8_t *data, size_t count)
{
    lc_sha256_blocks_portable(state, data, count);
}
#endif

void lc_sha256_init(lc_sha256 *hash)
{
    *hash = (lc_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                                  0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void lc_sha256_update(lc_sha256 *hash, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    const size_t held = (size_t)(hash->bytes % BLOCK_BYTES);
    hash->bytes += bytes;
    if (held > 0) {
        const size_t room = BLOCK_BYTES - held;
        const size_t taken = bytes < room ? bytes : room;
        memcpy(hash->block + held, at, taken);
        at += taken;
        bytes -= taken;
        if (taken < room) {
            return;
        }
        lc_sha256_blocks(hash->state, hash->block, 1);
    }
    const size_t whole = bytes / BLOCK_BYTES;
    if (whole > 0) {
        lc_sha256_blocks(hash->state, at, whole);
    }
    const size_t rest = bytes % BLOCK_BYTES;
    if (rest > 0) {
        memcpy(hash->block, at + whole * BLOCK_BYTES, rest);
    }
}

void lc_sha256_final(lc_sha256 *hash, uint8_t digest[32])
{
    const uint64_t bits = hash->bytes * 8;
    const size_t held = (size_t)(hash->bytes % BLOCK_BYTES);
    const size_t zeros = (held < 56 ? 56 : 120) - held - 1;
    uint8_t tail[1 + 63 + 8] = {0x80};
    for (int i = 0; i < 8; i++) {
        tail[1 + zeros + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    lc_sha256_update(hash, tail, 1 + zeros + 8);
    for (int i = 0; i < 32; i++) {
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

void lc_sha256_of(const void *data, size_t bytes, uint8_t digest[32])
{
    lc_sha256 hash;
    lc_sha256_init(&hash);
    if (bytes > 0) {
        lc_sha256_update(&hash, data, bytes);
    }
    lc_sha256_final(&hash, digest);
}

/* ---- the checksum ---- */

#define LANE_BLOCK 64

void lc_checksum_init(lc_checksum *sum)
{
    for (uint64_t i = 0; i < 8; i++) {
        sum->lane[i] = 0x9e3779b97f4a7c15U * (i + 1);
    }
    sum->bytes = 0;
}

static void add_block(uint64_t lane[8], const uint8_t *block)
{
    for (size_t i = 0; i < 8; i++) {
        uint64_t word;
        memcpy(&word, block + 8 * i, sizeof word);
        const uint64_t mixed = (lane[i] ^ word) * 0xd6e8feb86659fd93U;
        lane[i] = mixed << 29 | mixed >> 35;
    }
}

void lc_checksum_update(lc_checksum *sum, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    const size_t whole = bytes / LANE_BLOCK;
    uint64_t lane[8]; /* in registers */
    memcpy(lane, sum->lane, sizeof lane);
    for (size_t i = 0; i < whole; i++, at += LANE_BLOCK) {
        add_block(lane, at);
    }
    if (bytes % LANE_BLOCK != 0) {
        uint8_t last[LANE_BLOCK] = {0};
        memcpy(last, at, bytes % LANE_BLOCK);
        add_block(lane, last);
    }
    memcpy(sum->lane, lane, sizeof lane);
    sum->bytes += bytes;
}

void lc_checksum_final(const lc_checksum *sum, uint8_t digest[32])
{
    lc_sha256 hash;
    lc_sha256_init(&hash);
    lc_sha256_update(&hash, sum->lane, sizeof sum->lane);
    lc_sha256_update(&hash, &sum->bytes, sizeof sum->bytes);
    lc_sha256_final(&hash, digest);
}

void lc_hex(const uint8_t *bytes, size_t count, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * count] = '\0';
}

static lc_code hash_reader(const lc_reader *reader, uint8_t *chunk, uint8_t digest[32], lc_err *err)
{
    lc_sha256 hash;
    lc_sha256_init(&hash);
    for (int64_t offset = 0; offset < reader->bytes;) {
        const int64_t left = reader->bytes - offset;
        const size_t now = left < (int64_t)FILE_CHUNK_BYTES ? (size_t)left : FILE_CHUNK_BYTES;
        LC_TRY(lc_reader_read(reader, offset, chunk, now, err));
        lc_sha256_update(&hash, chunk, now);
        offset += (int64_t)now;
    }
    lc_sha256_final(&hash, digest);
    return LC_OK;
}

lc_code lc_sha256_file(const char *path, uint8_t digest[32], int64_t *bytes, lc_err *err)
{
    lc_reader reader;
    LC_TRY(lc_reader_open(path, &reader, err));
    lc_code code = LC_OK;
    uint8_t *chunk = lc_malloc(FILE_CHUNK_BYTES);
    if (chunk == NULL) {
        code = lc_fail(err, LC_ERR_MEMORY, "%s: out of memory for a read buffer", path);
    } else {
        code = hash_reader(&reader, chunk, digest, err);
    }
    if (code == LC_OK && bytes != NULL) {
        *bytes = reader.bytes;
    }
    lc_free(chunk);
    lc_reader_close(&reader);
    return code;
}

/* ---- tables ---- */

static uint64_t finish_lane(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xD6E8FEB86659FD93);
    x ^= x >> 29;
    x *= UINT64_C(0xA0761D6478BD642F);
    return x ^ x >> 32;
}

static inline void mix_word(uint64_t word, uint64_t *a, uint64_t *b)
{
    *a = (*a ^ word) * UINT64_C(0xE7037ED1A0B428DB);
    *a = *a << 29 | *a >> 35;
    *b = (*b ^ word) * UINT64_C(0x8EBC6AF09C88C6E3);
    *b = *b << 37 | *b >> 27;
}

void lc_hash128(const void *data, size_t bytes, uint64_t hash[2])
{
    const uint8_t *at = data;
    uint64_t a = bytes * UINT64_C(0x9E3779B97F4A7C15) + 1, b = ~a, word = 0;
    for (; bytes >= sizeof word; at += sizeof word, bytes -= sizeof word) {
        memcpy(&word, at, sizeof word);
        mix_word(word, &a, &b);
    }
    word = 0;
    memcpy(&word, at, bytes);
    mix_word(word, &a, &b);
    hash[0] = finish_lane(a);
    hash[1] = finish_lane(b);
}
