/*
 * Ranks on the CUDA backend, a process each: sums in rank order to the last bit, broadcasts, codes
 * taken over, a rank that is gone. LORAC_TEST_DEVICE and LORAC_TEST_RANKS set device (emu without
 * it) and ranks (3); on GPUs there must be one for each.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "ops/backend.h"
#include "testing.h"

#define MOST_COUNT      4099
#define DOUBLES         5
#define BROADCAST_BYTES 600001 /* more than is sent at once */
#define QUEUED_SUMS     3

/* A check in a rank's process, which ends there. An expected error is looked at and forgotten. */
#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "rank %d, line %d: %s (%s)\n", comm.rank, __LINE__, #condition, \
                    test_err.message);                                                      \
            _exit(1);                                                                       \
        }                                                                                   \
    } while (0)
#define CHECK_OK(call) CHECK((call) == LC_OK)
#define CHECK_FAILS(call, code, text)                                        \
    do {                                                                     \
        CHECK((call) == (code) && strstr(test_err.message, (text)) != NULL); \
        lc_err_clear(&test_err);                                             \
    } while (0)

static lc_device *device;
static lc_comm comm;
static int world_size;

static lc_device_kind kind_of_test(void)
{
    const char *name = getenv("LORAC_TEST_DEVICE");
    return name != NULL && strcmp(name, "cuda") == 0 ? LC_DEVICE_CUDA : LC_DEVICE_EMU;
}

/* Of such sizes that another order gives another sum. */
static float value_of(int rank, int64_t i, int round)
{
    const uint32_t hash = ((uint32_t)rank * 2654435761u) ^ ((uint32_t)(i + 7 * round) * 40503u);
    return ((float)(hash % 20011u) - 10005.0f) * (rank % 2 == 0 ? 1.0f : 1e-3f);
}

static float *upload_values(int64_t count, int round)
{
    void *values = NULL;
    float host[MOST_COUNT + 1];
    CHECK_OK(device->ops->alloc(device, (size_t)(count + 1) * sizeof(float), &values, &test_err));
    for (int64_t i = 0; i <= count; i++) {
        host[i] = value_of(comm.rank, i, round);
    }
    CHECK_OK(
        device->ops->upload(device, values, host, (size_t)(count + 1) * sizeof(float), &test_err));
    return values;
}

/* Sums `count` values; the one behind them stays. */
static void check_sum(const float *values, int64_t count, int round)
{
    float host[MOST_COUNT + 1];
    CHECK_OK(device->ops->download(device, host, values, (size_t)(count + 1) * sizeof(float),
                                   &test_err));
    for (int64_t i = 0; i < count; i++) {
        float sum = value_of(0, i, round);
        for (int rank = 1; rank < world_size; rank++) {
            sum += value_of(rank, i, round);
        }
        CHECK(memcmp(&host[i], &sum, sizeof sum) == 0);
    }
    const float behind = value_of(comm.rank, count, round);
    CHECK(memcmp(&host[count], &behind, sizeof behind) == 0);
}

static void run_sums(void)
{
    static const int64_t counts[] = {1, 2, 3, 4, 5, 13, 1000, MOST_COUNT};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        float *values[QUEUED_SUMS];
        for (int round = 0; round < QUEUED_SUMS; round++) {
            values[round] = upload_values(counts[i], round);
        }
        for (int round = 0; round < QUEUED_SUMS; round++) {
            CHECK_OK(comm.sum_f32(&comm, values[round], counts[i], &test_err));
        }
        for (int round = 0; round < QUEUED_SUMS; round++) {
            check_sum(values[round], counts[i], round);
            device->ops->free(device, values[round]);
        }
    }
    CHECK_OK(comm.sum_f32(&comm, NULL, 0, &test_err));
    CHECK_FAILS(comm.sum_f32(&comm, NULL, MOST_COUNT + 1, &test_err), LC_ERR_INTERNAL, "4100");
}

static void run_doubles(void)
{
    void *values = NULL;
    double host[DOUBLES];
    CHECK_OK(device->ops->alloc(device, sizeof host, &values, &test_err));
    for (int i = 0; i < DOUBLES; i++) {
        host[i] = (double)value_of(comm.rank, i, 0);
    }
    CHECK_OK(device->ops->upload(device, values, host, sizeof host, &test_err));
    CHECK_OK(comm.sum_f64(&comm, values, DOUBLES, &test_err));
    CHECK_OK(device->ops->download(device, host, values, sizeof host, &test_err));
    for (int i = 0; i < DOUBLES; i++) {
        double sum = (double)value_of(0, i, 0);
        for (int rank = 1; rank < world_size; rank++) {
            sum += (double)value_of(rank, i, 0);
        }
        CHECK(memcmp(&host[i], &sum, sizeof sum) == 0);
    }
    CHECK_FAILS(comm.sum_f64(&comm, values, LC_COMM_DOUBLES + 1, &test_err), LC_ERR_INTERNAL, "65");
    device->ops->free(device, values);
}

static void run_broadcast(void)
{
    static uint8_t bytes[BROADCAST_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(comm.rank == 0 ? i * i % 251 : 255);
    }
    CHECK_OK(comm.broadcast(&comm, bytes, sizeof bytes, &test_err));
    for (size_t i = 0; i < sizeof bytes; i++) {
        CHECK(bytes[i] == (uint8_t)(i * i % 251));
    }
}

static void run_agree(void)
{
    const lc_code own = comm.rank == 0 ? LC_ERR_DISK_FULL : LC_OK;
    CHECK_OK(lc_comm_agree(&comm, LC_OK, &test_err));
    CHECK_FAILS(lc_comm_agree(&comm, own, &test_err), LC_ERR_DISK_FULL,
                comm.rank == 0 ? "" : "rank 0 has ended: disk_full");
}

/* The last rank leaves without a word. */
static void run_lost(void)
{
    char expected[64];
    if (world_size == 1) {
        return;
    }
    float *values = upload_values(10, 0);
    if (comm.rank == world_size - 1) {
        _exit(0);
    }
    lc_code code = comm.sum_f32(&comm, values, 10, &test_err);
    code = code == LC_OK ? device->ops->sync(device, &test_err) : code;
    (void)snprintf(expected, sizeof expected, "rank %d of %d, sum of 10 gradients (call ",
                   comm.rank, world_size);
    CHECK_FAILS(code, LC_ERR_DEVICE, expected);
    CHECK_FAILS(device->ops->sync(device, &test_err), LC_ERR_DEVICE, "given up before");
    CHECK_FAILS(comm.sum_f64(&comm, (double *)values, 1, &test_err), LC_ERR_DEVICE, expected);
    device->ops->free(device, values);
}

/* What a communicator holds is what the memory plan says; a GPU hands memory out in larger pieces,
 * and NCCL takes some too. */
static void check_memory(int64_t before)
{
    int64_t used = 0, available = 0;
    const size_t planned = device->memory->comm_bytes(MOST_COUNT, world_size);
    CHECK_OK(device->ops->memory(device, &used, &available, &test_err));
    CHECK(kind_of_test() != LC_DEVICE_EMU || used - before == (int64_t)planned);
}

static void run_rank(int rank, const char *address)
{
    const lc_backend *backend = NULL;
    const lc_device_options device_options = {.kind = kind_of_test(), .index = rank};
    const lc_comm_options options = {
        .rank = rank, .world_size = world_size, .address = address, .deadline_s = 60};
    int64_t used = 0, available = 0;
    comm.rank = rank;
    CHECK_OK(lc_device_open(&device_options, &device, &test_err));
    CHECK_OK(device->ops->memory(device, &used, &available, &test_err));
    CHECK_OK(lc_backend_load(kind_of_test(), &backend, NULL, &test_err));
    CHECK_OK(backend->comm_open(device, &options, &comm, &test_err));
    CHECK(comm.rank == rank && comm.world_size == world_size && strcmp(comm.name, "nccl") == 0);
    CHECK_FAILS(comm.sum_f32(&comm, NULL, 1, &test_err), LC_ERR_INTERNAL, "reserved for 0");
    CHECK_OK(comm.reserve(&comm, MOST_COUNT, &test_err));
    CHECK_FAILS(comm.reserve(&comm, MOST_COUNT, &test_err), LC_ERR_INTERNAL, "reserved twice");
    check_memory(used);
    run_sums();
    run_doubles();
    run_broadcast();
    run_agree();
    run_lost();
    comm.release(&comm);
    device->ops->close(device);
    _exit(0);
}

/* Nothing of CUDA happens in this process: it does not survive a fork. */
static void test_processes(void **state)
{
    (void)state;
    char address[64];
    const char *ranks = getenv("LORAC_TEST_RANKS");
    world_size = ranks != NULL ? (int)strtol(ranks, NULL, 10) : 3;
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", 20000 + (int)getpid() % 10000);
    (void)setenv("TMPDIR", test_dir(), 1); /* where the emulator's ranks meet */
    (void)unsetenv("NCCL_COMM_ID");
    for (int rank = 0; rank < world_size; rank++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            run_rank(rank, address);
        }
    }
    int failed = 0;
    for (int rank = 0; rank < world_size; rank++) {
        int status = 0;
        assert_true(wait(&status) > 0);
        failed += status != 0;
    }
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_processes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
