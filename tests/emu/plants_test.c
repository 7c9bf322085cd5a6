/*
 * Mistakes in the backend, planted one by one (plants.h): a check that passes without them must
 * fail with them, in the orders of the emulator that the table names.
 *
 *   emu_plants              runs the table, each check in a process of its own
 *   emu_plants --run NAME   runs one here; EMU_STREAMS says in which order
 *
 * The check is what our tests demand of gradients: on top of memory full of NaN, over several
 * micro-batches, they are those of the CPU; recorded and replayed, they have the same bytes.
 */
#include "random_run.h"

#include <fcntl.h>
#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plants.h"

#define BATCHES 3   /* one more than there are mirrors */
#define ROWS    192 /* one range of rows for partial sums; half of it is another cut */
#define LENGTH  (ROWS / 2 + 1)
#define BOUND   4e-2 /* relative L2, as in model_test.c */

static const random_shape shape = {.family = "llama",
                                   .layers = 2,
                                   .width = 64,
                                   .mlp = 96,
                                   .heads = 2,
                                   .kv_heads = 1,
                                   .head_dim = 32,
                                   .vocab = 131,
                                   .rank = 5};

/* ---- the check ---- */

static random_run *open_run(lc_device_kind device)
{
    const random_options options = {
        .shape = shape, .device = device, .dtype = LC_BF16, .tokens = ROWS};
    return random_run_open(&options);
}

/* What has not been written must not be read. */
static void poison(random_run *run)
{
    static const lc_plan_class classes[] = {LC_PLAN_ACTIVATIONS, LC_PLAN_SCRATCH};
    for (int i = 0; i < 2; i++) {
        const size_t bytes = (size_t)run->model.plan.class_bytes[classes[i]];
        void *nan = lc_malloc(bytes);
        assert_non_null(nan);
        memset(nan, 0xFF, bytes);
        assert_ok(run->device->ops->upload(run->device, run->model.blocks[classes[i]], nan, bytes,
                                           &test_err));
        lc_free(nan);
    }
}

/* Gradient sums over all batches, into grad; nothing is waited for in between. */
static void gradient(random_run *run, lc_batch *batches, float *grad)
{
    lc_device *device = run->device;
    const size_t bytes = (size_t)run->spec.master_count * sizeof(float);
    assert_ok(device->ops->zero(device, run->model.grad, bytes, &test_err));
    assert_ok(lc_model_clear_sums(&run->model, &test_err));
    for (int i = 0; i < BATCHES; i++) {
        assert_ok(lc_model_batch(&run->model, &batches[i], true, 1, 1, &test_err));
    }
    assert_ok(device->ops->download(device, grad, run->model.grad, bytes, &test_err));
}

static float *gradients_on(lc_device_kind kind, int64_t *count, float **again)
{
    random_run *run = open_run(kind);
    lc_batch batches[BATCHES];
    const lc_dataset data = random_dataset(2 * (int64_t)BATCHES, LENGTH, shape.vocab, &run->arena);
    *count = run->spec.master_count;
    float *grad = lc_calloc((size_t)*count, sizeof *grad);
    *again = lc_calloc((size_t)*count, sizeof *grad);
    assert_true(grad != NULL && *again != NULL);
    for (int i = 0; i < BATCHES; i++) {
        batches[i] = random_batch(&data, 2 * (int64_t)i, 2, ROWS, &run->arena);
    }
    if (kind != LC_DEVICE_CPU) {
        poison(run);
        gradient(run, batches, *again); /* recorded on the way */
    }
    gradient(run, batches, grad);
    random_run_close(run);
    return grad;
}

static void check_gradients(void **state)
{
    (void)state;
    int64_t count = 0;
    float *expected_again = NULL, *found_again = NULL;
    float *expected = gradients_on(LC_DEVICE_CPU, &count, &expected_again);
    float *found = gradients_on(LC_DEVICE_EMU, &count, &found_again);
    double difference = 0.0, norm = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const double error = (double)found[i] - (double)expected[i];
        difference += error * error;
        norm += (double)expected[i] * (double)expected[i];
    }
    print_message("gradients off by %.3g\n", sqrt(difference / norm));
    assert_true(sqrt(difference / norm) < BOUND);
    assert_memory_equal(found, found_again, (size_t)count * sizeof(float));
    lc_free(expected);
    lc_free(expected_again);
    lc_free(found);
    lc_free(found_again);
}

/* ---- the table ---- */

typedef enum order { INORDER, LAZY, RANDOM, ORDER_COUNT } order;

static const char *const order_names[ORDER_COUNT] = {"eager", "lazy", "random:3"};

/* Where each must be found; elsewhere it may be. */
static const struct {
    const char *name;
    bool is_found[ORDER_COUNT];
} plants[PLANT_COUNT] = {
    [PLANT_NONE] = {"none", {false, false, false}},
    [PLANT_DS_REDUCE] = {"ds_reduce", {true, true, true}},
    [PLANT_PADDING] = {"padding", {true, true, true}},
    [PLANT_STALE_TAIL] = {"stale_tail", {true, true, true}},
    [PLANT_PARTIAL_COUNT] = {"partial_count", {true, true, true}},
    [PLANT_SIDE_STREAM] = {"side_stream", {true, true, true}},
    [PLANT_UPLOAD_SLOT] = {"upload_slot", {false, true, true}},
};

static int run_here(const char *name)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(check_gradients)};
    for (int i = 0; i < PLANT_COUNT; i++) {
        if (strcmp(plants[i].name, name) == 0) {
            planted = (plant)i;
            return cmocka_run_group_tests(tests, NULL, NULL) != 0;
        }
    }
    return 2;
}

/* Status of the check in a process of its own; 0: nothing was noticed. */
static int run_apart(const char *name, order streams)
{
    const pid_t child = fork();
    if (child == 0) {
        const int nowhere = open("/dev/null", O_WRONLY);
        (void)setenv("EMU_STREAMS", order_names[streams], 1);
        (void)setenv("EMU_TIMEOUT_S", "5", 1);
        (void)setenv("ASAN_OPTIONS", "detect_leaks=0",
                     1); /* a check that fails cleans up nothing */
        if (getenv("EMU_SHOW") == NULL) {
            (void)dup2(nowhere, 1);
            (void)dup2(nowhere, 2);
        }
        (void)execl("/proc/self/exe", "emu_plants", "--run", name, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    int wrong = 0;
    if (argc == 3 && strcmp(argv[1], "--run") == 0) {
        return run_here(argv[2]);
    }
    for (int i = 0; i < PLANT_COUNT; i++) {
        printf("%-14s", plants[i].name);
        for (int streams = 0; streams < ORDER_COUNT; streams++) {
            const int status = run_apart(plants[i].name, (order)streams);
            const bool is_found = status != 0, is_clean = i == PLANT_NONE;
            const bool is_wrong = is_clean ? is_found : plants[i].is_found[streams] && !is_found;
            printf(" %s: %s%s", order_names[streams], is_found ? "found" : "not found",
                   is_wrong ? " WRONG" : "");
            wrong += is_wrong || status == 127;
        }
        printf("\n");
    }
    return wrong != 0;
}
