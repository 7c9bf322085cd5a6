/*
 * The identity of a base model: every byte of its files counts, at any thread count; nothing else
 * in the directory does.
 */
// ctest: threads
#include "testing.h"

#include <stdio.h>
#include <unistd.h>

#include "base/fault.h"
#include "job/prepare.h"

/* More than two chunks, and a rest. */
#define SHARD_BYTES ((9 << 20) + 12345)

static char *shard;
static char dir[512];

static const char *in_dir(const char *name)
{
    static char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int setup(void **state)
{
    (void)state;
    shard = malloc(SHARD_BYTES);
    assert_non_null(shard);
    for (size_t i = 0; i < SHARD_BYTES; i++) {
        shard[i] = (char)(i * 2654435761U >> 24);
    }
    (void)snprintf(dir, sizeof dir, "%s", test_dir());
    test_write_file(in_dir("config.json"), "{}", 2);
    test_write_file(in_dir("model.safetensors"), shard, SHARD_BYTES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(shard);
    return 0;
}

static void identity(int threads, uint8_t out[32])
{
    assert_ok(lc_job_base_sha256(dir, threads, out, &test_err));
}

static void every_byte_counts(void **state)
{
    (void)state;
    static const size_t places[] = {0, 4 << 20, (4 << 20) - 1, 5000001, SHARD_BYTES - 1};
    uint8_t before[32], after[32];
    identity(1, before);
    for (int threads = 2; threads <= 5; threads++) {
        identity(threads, after);
        assert_memory_equal(before, after, 32);
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        shard[places[i]] ^= 1;
        test_write_file(in_dir("model.safetensors"), shard, SHARD_BYTES);
        identity(2, after);
        assert_memory_not_equal(before, after, 32);
        shard[places[i]] ^= 1;
    }
    test_write_file(in_dir("model.safetensors"), shard, SHARD_BYTES - 1);
    identity(2, after);
    assert_memory_not_equal(before, after, 32);
    test_write_file(in_dir("model.safetensors"), shard, SHARD_BYTES);
    test_write_file(in_dir("config.json"), "[]", 2);
    identity(2, after);
    assert_memory_not_equal(before, after, 32);
    test_write_file(in_dir("config.json"), "{}", 2);
    test_write_file(in_dir("README.md"), "new", 3);
    identity(2, after);
    assert_memory_equal(before, after, 32);
}

/* Two files whose contents are exchanged. */
static void names_count(void **state)
{
    (void)state;
    uint8_t before[32], after[32];
    test_write_file(in_dir("a.safetensors"), "1", 1);
    test_write_file(in_dir("b.safetensors"), "2", 1);
    identity(1, before);
    test_write_file(in_dir("a.safetensors"), "2", 1);
    test_write_file(in_dir("b.safetensors"), "1", 1);
    identity(1, after);
    assert_memory_not_equal(before, after, 32);
    assert_int_equal(unlink(in_dir("a.safetensors")), 0);
    assert_int_equal(unlink(in_dir("b.safetensors")), 0);
}

static void survives_faults(void **state)
{
    (void)state;
    static const struct {
        lc_fault_kind kind;
        lc_code code;
    } kinds[] = {{LC_FAULT_ALLOC, LC_ERR_MEMORY}, {LC_FAULT_IO, LC_ERR_IO}};
    for (size_t k = 0; k < 2; k++) {
        int64_t at = 1;
        for (lc_code code = kinds[k].code; code != LC_OK; at++) {
            uint8_t digest[32];
            lc_err_clear(&test_err);
            lc_fault_set(kinds[k].kind, at, 5 /* EIO */, false);
            code = lc_job_base_sha256(dir, 2, digest, &test_err);
            lc_fault_set(LC_FAULT_NONE, 0, 0, false);
            assert_true(code == LC_OK || code == kinds[k].code);
            assert_true(code == LC_OK || test_err.message[0] != '\0');
        }
        assert_true(at > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(names_count),
        cmocka_unit_test(survives_faults),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
