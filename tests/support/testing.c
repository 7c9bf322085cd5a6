/* Helpers of the tests; see testing.h. */
#include "testing.h"

#include <ftw.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

lc_err test_err;

static uint64_t test_state;
static uint32_t seed_value;

uint32_t test_seed(void)
{
    if (test_state == 0) {
        const char *text = getenv("LORAC_TEST_SEED");
        seed_value = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : (uint32_t)time(NULL);
        test_state = (uint64_t)seed_value * 2654435761u + 88172645463325252ull;
        print_message("LORAC_TEST_SEED=%u\n", seed_value);
    }
    return seed_value;
}

static uint64_t next(void)
{
    (void)test_seed();
    test_state ^= test_state << 13;
    test_state ^= test_state >> 7;
    test_state ^= test_state << 17;
    return test_state;
}

double test_uniform(double low, double high)
{
    return low + (high - low) * ((double)(next() >> 11) * 0x1p-53);
}

int64_t test_int(int64_t low, int64_t high)
{
    return low + (int64_t)(next() % (uint64_t)(high - low + 1));
}

void test_fill(float *values, size_t count, double low, double high)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)test_uniform(low, high);
    }
}

static char dirs[64][512];
static int dir_count;

static int remove_entry(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status;
    (void)flag;
    (void)walk;
    return remove(path);
}

static void remove_dirs(void)
{
    for (int i = 0; i < dir_count; i++) {
        (void)nftw(dirs[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

const char *test_dir(void)
{
    const char *base = getenv("TMPDIR");
    assert_true(dir_count < 64);
    char *dir = dirs[dir_count];
    (void)snprintf(dir, sizeof dirs[0], "%s/lorac-test-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    if (dir_count++ == 0) {
        (void)atexit(remove_dirs);
    }
    return dir;
}

void test_write_file(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

double test_relative_l2(const float *a, const double *b, size_t count)
{
    double difference = 0.0, norm = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double d = (double)a[i] - b[i];
        difference += d * d;
        norm += b[i] * b[i];
    }
    return norm > 0.0 ? sqrt(difference / norm) : sqrt(difference);
}
