/*
 * The CUDA backend against the fp64 reference: the op table of tests/ops on the device that
 * LORAC_TEST_DEVICE names (emu without it), every op in BF16 and in F32, everything around the
 * windows poisoned, each case twice with the same bytes. The same program runs on a GPU.
 */
#include <stdlib.h>

#include "cases.h"
#include "ops/backend.h"
#include "testing.h"

#define TRIALS          8
#define TOLERANCE       1e-5
#define WORKSPACE_BYTES ((size_t)6 << 20)

static lc_device *device;
static void *workspace;

static int open_device(void **state)
{
    (void)state;
    const char *name = getenv("LORAC_TEST_DEVICE");
    const lc_device_options options = {
        .kind = name != NULL && strcmp(name, "cuda") == 0 ? LC_DEVICE_CUDA : LC_DEVICE_EMU};
    assert_ok(lc_device_open(&options, &device, &test_err));
    assert_ok(device->ops->alloc(device, WORKSPACE_BYTES, &workspace, &test_err));
    device->ops->set_workspace(device, workspace, WORKSPACE_BYTES);
    print_message("%s\n", device->description);
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    if (device != NULL) {
        device->ops->free(device, workspace);
        device->ops->close(device);
    }
    return 0;
}

/* Nothing may depend on what an op finds in the workspace. */
static void poison_workspace(void)
{
    static const uint32_t nan = 0x7FC0DEADu;
    uint32_t *poison = malloc(WORKSPACE_BYTES);
    assert_non_null(poison);
    for (size_t i = 0; i < WORKSPACE_BYTES / sizeof nan; i++) {
        poison[i] = nan;
    }
    assert_ok(device->ops->upload(device, workspace, poison, WORKSPACE_BYTES, &test_err));
    free(poison);
}

static void run_trial(const op_row *row, lc_dtype activation, int trial)
{
    op_case c = {.trial = trial, .activation = activation, .is_gpu = true};
    row->draw(&c);
    case_remember(&c);
    c.reference = true;
    assert_ok(case_run(&c, row, NULL, &test_err));
    c.reference = false;
    uint8_t *first[MAX_TENSORS] = {0};
    for (int repetition = 0; repetition < 2; repetition++) {
        case_reset(&c);
        assert_ok(case_run(&c, row, device, &test_err));
        case_compare(&c, row->name, TOLERANCE);
        for (int i = 0; i < c.count; i++) {
            tensor *t = &c.tensors[i];
            if (repetition == 0) {
                first[i] = malloc(t->bytes);
                assert_non_null(first[i]);
                memcpy(first[i], t->data, t->bytes);
            } else if (t->role != ROLE_SCRATCH && memcmp(first[i], t->data, t->bytes) != 0) {
                fail_msg("%s (%s): %s has other bytes the second time", row->name, c.shape,
                         t->name);
            }
        }
    }
    for (int i = 0; i < c.count; i++) {
        free(first[i]);
    }
    case_release(&c);
}

static int trials(void)
{
    const char *text = getenv("LORAC_TEST_TRIALS");
    return text != NULL ? (int)strtol(text, NULL, 10) : TRIALS;
}

static void test_op(void **state)
{
    const op_row *row = *state;
    poison_workspace();
    for (int trial = 0; trial < trials(); trial++) {
        run_trial(row, LC_BF16, trial);
        run_trial(row, LC_F32, trial);
    }
}

/* Arguments: names of ops; none: all. */
static bool is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return true;
        }
    }
    return argc < 2;
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[64] = {0};
    size_t count = 0;
    for (int i = 0; i < op_row_count; i++) {
        if (is_wanted(op_rows[i].name, argc, argv)) {
            tests[count++] = (struct CMUnitTest){.name = op_rows[i].name,
                                                 .test_func = test_op,
                                                 .initial_state = (void *)(uintptr_t)&op_rows[i]};
        }
    }
    return _cmocka_run_group_tests("gpu ops", tests, count, open_device, close_device);
}
