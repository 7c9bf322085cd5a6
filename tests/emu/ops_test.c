/*
 * The CUDA backend against the fp64 reference: the op table of tests/ops on the device that
 * LORAC_TEST_DEVICE names (emu without it), every op in BF16 and in F32, everything around the
 * windows poisoned, each case twice with the same bytes. The same program runs on a GPU.
 */
#include <stdlib.h>

#include "cases.h"
#include "lorac/choices.h"
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

/* ---- ops that can be done in several ways (cuda/ways.h) ---- */

/* The way after this one; NULL: it was the last. Widened, from apart, where there are adapters. */
static const char *next_way(const char *way)
{
    static const char *const ways[][2] = {
        {"kernel", "products"}, {"fused", "apart"}, {"bordered", "apart"}, {"apart", "widened"}};
    for (int i = 0; i < 4; i++) {
        if (strcmp(ways[i][0], way) == 0) {
            return ways[i][1];
        }
    }
    return NULL;
}

/* A device whose choices are those that `like` has made from `first` on, ways replaced by others:
 * `step` times the next one. false: there are none. */
static bool open_with_other_ways(lc_device *like, int64_t first, int step, lc_device **out)
{
    const lc_device_options options = {.kind = lc_device_kind_of(like)};
    bool any = false;
    assert_ok(lc_device_open(&options, out, &test_err));
    for (int64_t i = first; i < like->choices->count(like); i++) {
        lc_choice choice;
        like->choices->get(like, i, &choice);
        const char *way = choice.algorithm;
        for (int k = 0; k < step && way != NULL; k++) {
            way = next_way(way);
        }
        if (way != NULL &&
            (strcmp(way, "widened") != 0 || strncmp(choice.product, "linear_backward", 15) == 0)) {
            char text[LC_ALGORITHM_BYTES] = "";
            (void)snprintf(text, sizeof text, "%s", way);
            memcpy(choice.algorithm, text, sizeof text);
            assert_ok((*out)->choices->add(*out, &choice, &test_err));
            any = true;
        }
    }
    return any;
}

static void compare_bytes(const op_case *c, const op_row *row, uint8_t *const *first,
                          const char *when)
{
    for (int i = 0; i < c->count; i++) {
        const tensor *t = &c->tensors[i];
        if (t->role != ROLE_SCRATCH && memcmp(first[i], t->data, t->bytes) != 0) {
            fail_msg("%s (%s): %s has other bytes %s", row->name, c->shape, t->name, when);
        }
    }
}

/* The case once more, in all other ways that it can be done. first_bytes: of its tensors, as the
 * first way made them. */
static void run_other_ways(op_case *c, const op_row *row, int64_t first,
                           uint8_t *const *first_bytes)
{
    for (int step = 1; step <= 2; step++) {
        lc_device *other = NULL;
        void *memory = NULL;
        const bool any = open_with_other_ways(device, first, step, &other);
        if (any) {
            assert_ok(other->ops->alloc(other, WORKSPACE_BYTES, &memory, &test_err));
            other->ops->set_workspace(other, memory, WORKSPACE_BYTES);
            c->is_rounded = true;
            case_reset(c);
            assert_ok(case_run(c, row, other, &test_err));
            case_compare(c, row->name, TOLERANCE);
            if (c->is_same_any_way) {
                compare_bytes(c, row, first_bytes, "another way");
            }
            other->ops->free(other, memory);
        }
        other->ops->close(other);
        if (!any) {
            return;
        }
    }
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
    const int64_t choices = device->choices->count(device);
    for (int repetition = 0; repetition < 2; repetition++) {
        case_reset(&c);
        assert_ok(case_run(&c, row, device, &test_err));
        case_compare(&c, row->name, TOLERANCE);
        for (int i = 0; i < c.count && repetition == 0; i++) {
            first[i] = malloc(c.tensors[i].bytes);
            assert_non_null(first[i]);
            memcpy(first[i], c.tensors[i].data, c.tensors[i].bytes);
        }
        compare_bytes(&c, row, first, "the second time");
    }
    run_other_ways(&c, row, choices, first);
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
