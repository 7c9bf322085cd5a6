/* The training loop: how many steps in a row may be skipped before the job fails. */
#include "testing.h"

#include <math.h>

#include "lorac/comm.h"
#include "lorac/log.h"
#include "lorac/mem.h"
#include "parity.h"

#define CASE LC_SOURCE_DIR "/tests/golden/cases/llama-default"

/* Which steps meet an adapter that is not finite: 'x' broken, '.' good. */
typedef struct plan {
    const char *steps;
    parity_run *run;
    float *broken; /* masters with a NaN */
} plan;

static lc_code set_adapter(const plan *p, int64_t step, lc_err *err)
{
    return lc_model_set_masters(&p->run->model, p->steps[step] == 'x' ? p->broken : p->run->master,
                                err);
}

static lc_code after_step(void *context, const lc_metrics *metrics, const lc_progress *progress,
                          lc_err *err)
{
    (void)metrics;
    return set_adapter(context, progress->step, err);
}

/* Trains over all of p->steps; *skipped is how many were. */
static lc_code train(plan *p, int64_t *skipped, lc_err *err)
{
    const int64_t count = (int64_t)strlen(p->steps);
    const lc_train_options options = {.batch_size = 3,
                                      .steps_per_epoch = count,
                                      .total_steps = count,
                                      .micro_batch_tokens = 64,
                                      .packing = true,
                                      .schedule = LC_SCHEDULE_CONSTANT,
                                      .learning_rate = 1e-3,
                                      .eval_every_steps = 1,
                                      .checkpoint_every_steps = count};
    const lc_train_hooks hooks = {p, after_step, parity_ignore_epoch, parity_ignore_checkpoint};
    lc_trainer *trainer = NULL;
    lc_comm comm;
    lc_comm_single_init(&comm);
    LC_TRY(set_adapter(p, 0, err));
    LC_TRY(lc_trainer_open(&p->run->model, &p->run->dataset, NULL, &comm, &options, &trainer, err));
    const lc_code code = lc_trainer_run(trainer, &hooks, NULL, err);
    *skipped = lc_trainer_state(trainer)->nonfinite_steps;
    lc_trainer_close(trainer);
    return code;
}

/* One fewer than the limit in a row is skipped, as often as it happens; the limit ends the job. */
static void skipped_in_a_row(void **state)
{
    (void)state;
    char row[LC_MAX_NONFINITE_STEPS + 1] = "", steps[4 * LC_MAX_NONFINITE_STEPS];
    memset(row, 'x', LC_MAX_NONFINITE_STEPS);
    const char *shorter = row + 1;
    const parity_options options = {.model_dir = CASE "/model",
                                    .dataset_path = CASE "/data.safetensors",
                                    .adapter_dir = CASE "/adapter",
                                    .tokens = 64,
                                    .threads = 2};
    plan p = {.steps = steps};
    int64_t skipped = 0;
    lc_log_set_level(LC_LOG_ERROR);
    assert_ok(parity_open(&options, &p.run, &test_err));
    const size_t bytes = (size_t)p.run->spec.master_count * sizeof(float);
    p.broken = malloc(bytes);
    assert_non_null(p.broken);
    memcpy(p.broken, p.run->master, bytes);
    p.broken[0] = NAN;
    (void)snprintf(steps, sizeof steps, "%s.%s.", shorter, shorter);
    assert_ok(train(&p, &skipped, &test_err));
    assert_int_equal(skipped, 2 * (LC_MAX_NONFINITE_STEPS - 1));
    (void)snprintf(steps, sizeof steps, ".%s.%s.", shorter, row);
    assert_fails(train(&p, &skipped, &test_err), LC_ERR_NUMERIC,
                 "not finite in 3 steps in a row, the last one step 7 ");
    assert_int_equal(skipped, 2 * LC_MAX_NONFINITE_STEPS - 1);
    free(p.broken);
    parity_close(p.run);
}

/* Weights so small that dividing by them leaves the range of floats: nothing is changed. */
static void next_to_no_weight(void **state)
{
    (void)state;
    const parity_options options = {.model_dir = CASE "/model",
                                    .dataset_path = CASE "/data.safetensors",
                                    .adapter_dir = CASE "/adapter",
                                    .tokens = 64,
                                    .threads = 1};
    plan p = {.steps = "....."};
    int64_t skipped = 0;
    lc_log_set_level(LC_LOG_ERROR);
    assert_ok(parity_open(&options, &p.run, &test_err));
    for (int64_t i = 0; i < p.run->dataset.token_count; i++) {
        p.run->dataset.loss_weights[i] *= 1e-42f;
    }
    assert_fails(train(&p, &skipped, &test_err), LC_ERR_NUMERIC, "not finite in 3 steps in a row");
    assert_int_equal(skipped, 3);
    parity_close(p.run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(skipped_in_a_row),
        cmocka_unit_test(next_to_no_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
