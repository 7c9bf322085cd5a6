/*
 * The CPU backend against the fp64 reference: random cases of every op, everything around the
 * windows poisoned, with the kernels of every instruction set this machine has, and the same bytes
 * at 1, 2, 3 and 8 threads.
 */
// ctest: threads
#include "cases.h"
#include "ops/cpu/cpu.h"
#include "testing.h"

#define TRIALS    12
#define TOLERANCE 1e-5

static const int thread_counts[] = {1, 2, 3, 8};
static lc_device *devices[4];

/* The n-th instruction set, over and over; sets that this machine lacks are skipped. */
static void use_kernels(int n)
{
    const lc_kernels *all[] = {lc_kernels_avx512(), lc_kernels_avx2(), &lc_kernels_base},
                     *usable[3];
    int count = 0;
    for (int i = 0; i < 3; i++) {
        if (all[i] != NULL) {
            usable[count++] = all[i];
        }
    }
    for (int i = 0; i < 4; i++) {
        lc_cpu_of(devices[i])->kernels = usable[n % count];
    }
}

static int open_devices(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_ok(lc_cpu_open(thread_counts[i], &devices[i], &test_err));
    }
    print_message("%s\n", devices[0]->description);
    return 0;
}

static int close_devices(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        devices[i]->ops->close(devices[i]);
    }
    return 0;
}

/* Copies of what the first device wrote. */
static void keep_results(const op_case *c, uint8_t *results[MAX_TENSORS])
{
    for (int i = 0; i < c->count; i++) {
        results[i] = malloc(c->tensors[i].bytes);
        assert_non_null(results[i]);
        memcpy(results[i], c->tensors[i].data, c->tensors[i].bytes);
    }
}

static void run_trial(const op_row *row, int trial)
{
    op_case c = {.trial = trial, .activation = LC_F32};
    uint8_t *results[MAX_TENSORS] = {0};
    row->draw(&c);
    case_remember(&c);
    c.reference = true;
    assert_ok(case_run(&c, row, NULL, &test_err));
    c.reference = false;
    for (int i = 0; i < 4; i++) {
        case_reset(&c);
        assert_ok(case_run(&c, row, devices[i], &test_err));
        if (i == 0) {
            case_compare(&c, row->name, TOLERANCE);
            keep_results(&c, results);
        }
        for (int j = 0; j < c.count; j++) {
            if (memcmp(results[j], c.tensors[j].data, c.tensors[j].bytes) != 0) {
                fail_msg("%s (%s): %s differs between 1 and %d threads", row->name, c.shape,
                         c.tensors[j].name, thread_counts[i]);
            }
        }
    }
    for (int j = 0; j < c.count; j++) {
        free(results[j]);
    }
    case_release(&c);
}

static void test_op(void **state)
{
    const op_row *row = *state;
    for (int trial = 0; trial < TRIALS; trial++) {
        use_kernels(trial);
        run_trial(row, trial);
    }
}

int main(void)
{
    struct CMUnitTest tests[64] = {0};
    assert_true(op_row_count <= 64);
    for (int i = 0; i < op_row_count; i++) {
        tests[i] = (struct CMUnitTest){.name = op_rows[i].name,
                                       .test_func = test_op,
                                       .initial_state = (void *)(uintptr_t)&op_rows[i]};
    }
    return _cmocka_run_group_tests("ops", tests, (size_t)op_row_count, open_devices, close_devices);
}
