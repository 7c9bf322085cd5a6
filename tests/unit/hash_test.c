/* SHA-256: vectors of FIPS 180-4 and NIST's examples, any split, both block functions, files. */
#include "testing.h"

#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/hash_blocks.h"
#include "lorac/mem.h"

static void assert_digest(const uint8_t digest[32], const char *expected)
{
    char hex[65];
    lc_hex(digest, 32, hex);
    assert_string_equal(hex, expected);
}

#define EMPTY_DIGEST   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC_DIGEST     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define MILLION_DIGEST "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void test_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *digest;
    } rows[] = {
        {"", EMPTY_DIGEST},
        {"abc", ABC_DIGEST},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrl"
         "mnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t digest[32];
        lc_sha256_of(rows[i].text, strlen(rows[i].text), digest);
        assert_digest(digest, rows[i].digest);
    }
    uint8_t digest[32];
    lc_sha256_of(NULL, 0, digest);
    assert_digest(digest, EMPTY_DIGEST);
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    lc_sha256_of(million, 1000000, digest);
    assert_digest(digest, MILLION_DIGEST);
    free(million);
}

/* Padding lengths around the block: 55 bytes fit with their length, 56 do not. */
static void test_every_length(void **state)
{
    (void)state;
    static uint8_t text[300];
    lc_sha256 all;
    lc_sha256_init(&all);
    for (size_t length = 0; length <= 300; length++) {
        uint8_t digest[32];
        memset(text, 'a', length);
        lc_sha256_of(text, length, digest);
        lc_sha256_update(&all, digest, 32);
    }
    uint8_t digest[32];
    lc_sha256_final(&all, digest);
    assert_digest(digest, "e8e4a8cfe049153f6f930f2156161a5b19bb9b3dc4b698c20e4d44a29d7f9526");
}

static void test_any_split(void **state)
{
    (void)state;
    static uint8_t text[5000];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)test_int(0, 255);
    }
    for (int round = 0; round < 300; round++) {
        const size_t length = (size_t)test_int(0, sizeof text);
        uint8_t whole[32], pieces[32];
        lc_sha256 hash;
        lc_sha256_of(text, length, whole);
        lc_sha256_init(&hash);
        for (size_t at = 0; at < length;) {
            size_t now = (size_t)test_int(0, test_int(0, 1) != 0 ? 200 : 65);
            now = now < length - at ? now : length - at;
            lc_sha256_update(&hash, text + at, now);
            at += now;
        }
        lc_sha256_final(&hash, pieces);
        assert_memory_equal(whole, pieces, 32);
    }
}

static void test_block_functions_agree(void **state)
{
    (void)state;
    uint8_t data[64 * 9 + 1];
    for (int round = 0; round < 1000; round++) {
        uint32_t portable[8], fast[8];
        for (size_t i = 0; i < sizeof data; i++) {
            data[i] = (uint8_t)test_int(0, 255);
        }
        for (int i = 0; i < 8; i++) {
            portable[i] = fast[i] = (uint32_t)test_int(0, UINT32_MAX);
        }
        const size_t count = (size_t)test_int(0, 9), offset = (size_t)test_int(0, 1);
        lc_sha256_blocks_portable(portable, data + offset, count);
        lc_sha256_blocks(fast, data + offset, count);
        assert_memory_equal(portable, fast, sizeof portable);
    }
}

static void test_hex(void **state)
{
    (void)state;
    char out[] = "xxxxxxx";
    const uint8_t bytes[] = {0x00, 0xA9, 0xFF};
    lc_hex(bytes, 3, out);
    assert_string_equal(out, "00a9ff");
    lc_hex(bytes, 0, out);
    assert_string_equal(out, "");
}

static void test_files(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 3, 262143, 262144, 262145, 1000000};
    char path[LC_MAX_PATH_BYTES];
    assert_ok(lc_path_join(test_dir(), "data", path, &test_err));
    char *data = malloc(1000000);
    for (size_t i = 0; i < 1000000; i++) {
        data[i] = (char)test_int(0, 255);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t expected[32], digest[32];
        int64_t bytes = -1;
        test_write_file(path, data, sizes[i]);
        lc_sha256_of(data, sizes[i], expected);
        assert_ok(lc_sha256_file(path, digest, &bytes, &test_err));
        assert_int_equal(bytes, sizes[i]);
        assert_memory_equal(digest, expected, 32);
    }
    free(data);
    uint8_t digest[32];
    assert_ok(lc_sha256_file(path, digest, NULL, &test_err));
    assert_fails(lc_sha256_file("/nonexistent", digest, NULL, &test_err), LC_ERR_NOT_FOUND,
                 "cannot open /nonexistent");
    assert_fails(lc_sha256_file("/", digest, NULL, &test_err), LC_ERR_INVALID,
                 "not a regular file");
    lc_fault_set(LC_FAULT_ALLOC, 1, 0, false);
    assert_fails(lc_sha256_file(path, digest, NULL, &test_err), LC_ERR_MEMORY, "out of memory");
    lc_fault_set(LC_FAULT_IO, 2, 5, false);
    assert_fails(lc_sha256_file(path, digest, NULL, &test_err), LC_ERR_IO, "cannot read");
    lc_fault_set(LC_FAULT_IO, 2, -1, true); /* every read is short */
    uint8_t again[32];
    assert_ok(lc_sha256_file(path, again, NULL, &test_err));
    lc_fault_set(LC_FAULT_NONE, 0, 0, false);
    assert_ok(lc_sha256_file(path, digest, NULL, &test_err));
    assert_memory_equal(again, digest, 32);
}

static void checksum_of(const uint8_t *data, size_t bytes, size_t part, uint8_t digest[32])
{
    lc_checksum sum;
    lc_checksum_init(&sum);
    for (size_t at = 0; at < bytes; at += part) {
        lc_checksum_update(&sum, data + at, bytes - at < part ? bytes - at : part);
    }
    lc_checksum_final(&sum, digest);
}

/* Every bit counts, so do length and order; how whole blocks are cut into updates does not. */
static void test_checksum(void **state)
{
    (void)state;
    uint8_t data[300], digest[32], other[32];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)test_int(0, 255);
    }
    checksum_of(data, sizeof data, sizeof data, digest);
    for (size_t part = 64; part <= 256; part += 64) {
        checksum_of(data, sizeof data, part, other);
        assert_memory_equal(digest, other, 32);
    }
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        checksum_of(data, sizeof data, 64, other);
        assert_memory_not_equal(digest, other, 32);
        data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    uint8_t longer[301] = {0}, swapped[300];
    memcpy(longer, data, sizeof data); /* one zero more, which padding must not hide */
    checksum_of(longer, sizeof longer, 64, other);
    assert_memory_not_equal(digest, other, 32);
    memcpy(swapped, data + 64, 64);
    memcpy(swapped + 64, data, 64);
    memcpy(swapped + 128, data + 128, sizeof data - 128);
    checksum_of(swapped, sizeof swapped, 64, other);
    assert_memory_not_equal(digest, other, 32);
    /* The formula of hash.h worked out in Python. */
    char hex[65];
    checksum_of((const uint8_t *)"abc", 3, 64, digest);
    lc_hex(digest, 32, hex);
    assert_string_equal(hex, "c354b6a3341c9da1237c8074fd0a96015e741738247cc0b754a7f96945122462");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_any_split),
        cmocka_unit_test(test_block_functions_agree),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
