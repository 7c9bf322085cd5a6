/*
 * A steady step on a GPU: once sizes have been met and recorded it allocates nothing, neither on
 * the device nor on the host, makes no graph, asks for no algorithm, and waits only where the
 * documents say so. In lazy order the emulated device runs only what is waited for: there the test
 * sees whether a wait leaves the device without work. Running ahead must change no number: the same
 * steps are waited for one by one beside it.
 */
#include "random_run.h"

#include "emu_counters.h"
#include "lorac/comm.h"
#include "lorac/log.h"
#include "train/step.h"

#define EXAMPLES 24
#define LENGTH   33 /* tokens of an example */
#define PER_STEP 6
#define ROWS     96 /* of a micro-batch: three examples, so that a step has two */
#define MICRO    (PER_STEP * (LENGTH - 1) / ROWS)
#define STEPS    9
#define WARM     2 /* steps after which everything has been met, and recorded */
#define SAVED    7 /* the only checkpoint before the end comes after so many steps */
#define CALLS    32

/* ---- memory of the host: everything of liblorac and the backend goes through these ---- */

static int64_t allocations;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t bytes);
int __real_posix_memalign(void **out, size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t bytes);
int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    allocations++;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    allocations++;
    return __real_realloc(memory, bytes);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes)
{
    allocations++;
    return __real_posix_memalign(out, alignment, bytes);
}

/* ---- a training ---- */

static const random_options options = {.shape = {.family = "llama",
                                                 .layers = 2,
                                                 .width = 64,
                                                 .mlp = 96,
                                                 .heads = 2,
                                                 .kv_heads = 1,
                                                 .head_dim = 32,
                                                 .vocab = 131,
                                                 .rank = 5},
                                       .device = LC_DEVICE_EMU,
                                       .dtype = LC_BF16,
                                       .tokens = ROWS};

static lc_train_options train_options(void)
{
    return (lc_train_options){.seed = 5,
                              .batch_size = PER_STEP,
                              .steps_per_epoch = EXAMPLES * STEPS, /* no end before the last */
                              .total_steps = STEPS,
                              .micro_batch_tokens = ROWS,
                              .packing = true,
                              .schedule = LC_SCHEDULE_CONSTANT,
                              .learning_rate = 1e-2,
                              .grad_clip = 1.0,
                              .eval_every_steps = STEPS,
                              .checkpoint_every_steps = SAVED};
}

/* What happened since the step before was reported. */
typedef struct seen {
    int64_t allocations;
    size_t call_count;
    emu_call calls[CALLS];
    double loss, grad_norm, learning_rate;
} seen;

typedef struct history {
    seen steps[STEPS];
    int64_t count, saved;
    lc_train_state *kept; /* host buffers of a checkpoint, filled by on_checkpoint; or NULL */
    atomic_int stop;      /* set when step stop_at has been reported */
    int64_t stop_at;      /* 0: never */
} history;

static void begin(void)
{
    emu_counters_clear();
    allocations = 0;
}

static lc_code on_step(void *context, const lc_metrics *metrics, const lc_progress *progress,
                       lc_err *err)
{
    history *to = context;
    (void)err;
    assert_true(to->count < STEPS);
    seen *step = &to->steps[to->count++];
    step->allocations = allocations;
    step->call_count = emu_calls_get(step->calls, CALLS);
    step->loss = metrics->train_loss;
    step->grad_norm = progress->grad_norm;
    step->learning_rate = progress->learning_rate;
    assert_true(step->call_count <= CALLS);
    if (metrics->step == to->stop_at) {
        atomic_store(&to->stop, 1);
    }
    begin();
    return LC_OK;
}

static lc_code on_checkpoint(void *context, lc_train_state *state, lc_err *err)
{
    history *to = context;
    (void)err;
    to->saved = state->step;
    if (to->kept != NULL) {
        const size_t bytes = (size_t)state->count * sizeof(float);
        const lc_train_state mine = *to->kept;
        memcpy(mine.master, state->master, bytes);
        memcpy(mine.m, state->m, bytes);
        memcpy(mine.v, state->v, bytes);
        *to->kept = *state;
        to->kept->master = mine.master;
        to->kept->m = mine.m;
        to->kept->v = mine.v;
    }
    return LC_OK;
}

/* Trains, from a checkpoint unless `from` is NULL; the masters afterwards are in run->master. */
static lc_code train(random_run *run, const lc_dataset *data, const lc_train_state *from,
                     history *to, lc_err *err)
{
    const lc_train_options how = train_options();
    const lc_train_hooks hooks = {
        .context = to, .on_step = on_step, .on_checkpoint = on_checkpoint};
    lc_trainer *trainer = NULL;
    lc_comm comm;
    lc_comm_single_init(&comm);
    assert_ok(lc_trainer_open(&run->model, data, NULL, &comm, &how, &trainer, err));
    if (from != NULL) {
        const lc_train_state mine = *lc_trainer_state(trainer);
        const size_t bytes = (size_t)mine.count * sizeof(float);
        *lc_trainer_state(trainer) = *from;
        lc_trainer_state(trainer)->master = memcpy(mine.master, from->master, bytes);
        lc_trainer_state(trainer)->m = memcpy(mine.m, from->m, bytes);
        lc_trainer_state(trainer)->v = memcpy(mine.v, from->v, bytes);
        assert_ok(lc_trainer_restore(trainer, err));
    }
    begin();
    const lc_code code = lc_trainer_run(trainer, &hooks, &to->stop, err);
    lc_trainer_close(trainer);
    return code == LC_OK ? lc_model_get_masters(&run->model, run->master, err) : code;
}

/* ---- what a steady step may do ---- */

static bool is_lazy(void)
{
    const char *order = getenv("EMU_STREAMS");
    return order != NULL && strcmp(order, "lazy") == 0;
}

/* The table of docs/architecture.md: a mirror for each upload (micro-batches and the update's
 * values), which is free unless both are on their way, and the results of the step. */
static void check_steady(const seen *step, int64_t number)
{
    for (size_t i = 0; i < step->call_count; i++) {
        const emu_call *call = &step->calls[i];
        print_message("step %lld: %s %llu times, %llu blocked, %llu left nothing to do\n",
                      (long long)number, call->name, (unsigned long long)call->count,
                      (unsigned long long)call->blocked, (unsigned long long)call->drained);
    }
    assert_int_equal(step->allocations, 0);
    assert_int_equal(step->call_count, 1);
    assert_string_equal(step->calls[0].name, "cudaEventSynchronize");
    assert_int_equal(step->calls[0].count, MICRO + 1 + 1);
    assert_true(!is_lazy() || step->calls[0].drained == 0);
}

static void test_steady(void **state)
{
    (void)state;
    history *seen_steps = lc_calloc(1, sizeof *seen_steps);
    random_run *run = random_run_open(&options);
    const lc_dataset data = random_dataset(EXAMPLES, LENGTH, run->config.vocab, &run->arena);
    assert_non_null(seen_steps);
    assert_true(allocations > 0); /* they are counted */
    assert_ok(train(run, &data, NULL, seen_steps, &test_err));
    assert_int_equal(seen_steps->count, STEPS);
    assert_int_equal(seen_steps->saved, SAVED);
    /* Steps WARM+2 .. SAVED-1, counted from 1: each has queued the one behind it. The one before
     * them has queued what was recorded for the first time; from the checkpoint on it is as in the
     * beginning, but for the warming up. */
    for (int64_t i = WARM + 1; i < SAVED - 1; i++) {
        check_steady(&seen_steps->steps[i], i + 1);
    }
    random_run_close(run);
    lc_free(seen_steps);
}

/* Uploads are only held up by the one before the last: two in a row never wait. */
static void test_uploads(void **state)
{
    (void)state;
    random_run *run = random_run_open(&options);
    const lc_dataset data = random_dataset(EXAMPLES, LENGTH, run->config.vocab, &run->arena);
    assert_ok(run->device->ops->sync(run->device, &test_err));
    for (int64_t i = 0; i < 4; i++) {
        const lc_batch batch = random_batch(&data, 3 * i, 3, ROWS, &run->arena);
        begin();
        assert_ok(lc_model_batch(&run->model, &batch, true, 1, (uint32_t)i, &test_err));
        const emu_call wait = emu_calls_find("cudaEventSynchronize");
        assert_int_equal(wait.count, 1);
        assert_true(!is_lazy() || wait.blocked == (i < LC_HOST_SLOTS ? 0 : 1));
        assert_true(!is_lazy() || wait.drained == (i < LC_HOST_SLOTS ? wait.drained : 0));
    }
    assert_ok(run->device->ops->sync(run->device, &test_err));
    random_run_close(run);
}

/* ---- the same numbers as without running ahead ---- */

/* Every step waited for before the next one is queued. */
static void train_one_by_one(random_run *run, const lc_dataset *data, history *to)
{
    const lc_train_options how = train_options();
    lc_comm comm;
    lc_comm_single_init(&comm);
    lc_step step = {.model = &run->model, .comm = &comm, .options = &how};
    assert_ok(lc_sampler_init(&step.sampler, data, how.seed, how.shuffle, how.batch_size,
                              &run->arena, &test_err));
    assert_ok(lc_packer_init(&step.packer, data, ROWS, how.packing, how.batch_size, &run->arena,
                             &test_err));
    step.packer.least_shared = lc_model_least_shared(&run->model, true);
    assert_ok(lc_batch_init(&step.batch, ROWS, &run->arena, &test_err));
    for (to->count = 0; to->count < STEPS; to->count++) {
        assert_ok(lc_step_run(&step, to->count, false, &test_err));
        to->steps[to->count] = (seen){.loss = step.sums.loss / step.sums.weight,
                                      .grad_norm = step.grad_norm,
                                      .learning_rate = step.known.learning_rate};
    }
    assert_ok(lc_model_get_masters(&run->model, run->master, &test_err));
}

/* A run of the test and its data set. */
typedef struct training {
    random_run *run;
    lc_dataset data;
    history history;
} training;

static training *open_training(lc_device_kind device)
{
    random_options how = options;
    training *made = lc_calloc(1, sizeof *made);
    assert_non_null(made);
    how.device = device;
    made->run = random_run_open(&how);
    made->data = random_dataset(EXAMPLES, LENGTH, made->run->config.vocab, &made->run->arena);
    return made;
}

static void close_training(training *made)
{
    random_run_close(made->run);
    lc_free(made);
}

static void assert_same_masters(const training *a, const training *b)
{
    assert_memory_equal(a->run->master, b->run->master,
                        (size_t)a->run->spec.master_count * sizeof(float));
}

static void test_same_numbers(void **state)
{
    (void)state;
    training *ahead = open_training(LC_DEVICE_EMU), *apart = open_training(LC_DEVICE_EMU);
    assert_ok(train(ahead->run, &ahead->data, NULL, &ahead->history, &test_err));
    train_one_by_one(apart->run, &apart->data, &apart->history);
    for (int64_t i = 0; i < STEPS; i++) {
        const seen *a = &ahead->history.steps[i], *b = &apart->history.steps[i];
        assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
        assert_memory_equal(&a->grad_norm, &b->grad_norm, sizeof a->grad_norm);
        assert_memory_equal(&a->learning_rate, &b->learning_rate, sizeof a->learning_rate);
    }
    assert_same_masters(ahead, apart);
    close_training(ahead);
    close_training(apart);
}

/* ---- stopping ---- */

/* Asked to stop while a step is queued ahead, the trainer finishes that one; resumed from what it
 * saves, the training ends with the same bytes. */
static void test_stop(void **state)
{
    (void)state;
    training *whole = open_training(LC_DEVICE_EMU), *stopped = open_training(LC_DEVICE_EMU),
             *resumed = open_training(LC_DEVICE_EMU);
    const size_t count = (size_t)whole->run->spec.master_count;
    lc_train_state kept = {.master = lc_calloc(count, sizeof(float)),
                           .m = lc_calloc(count, sizeof(float)),
                           .v = lc_calloc(count, sizeof(float))};
    assert_true(kept.master != NULL && kept.m != NULL && kept.v != NULL);
    assert_ok(train(whole->run, &whole->data, NULL, &whole->history, &test_err));
    stopped->history.kept = &kept;
    stopped->history.stop_at = 4;
    assert_fails(train(stopped->run, &stopped->data, NULL, &stopped->history, &test_err),
                 LC_ERR_INTERRUPTED, "stopped after step 5 of 9, checkpoint written");
    assert_int_equal(stopped->history.count, 5);
    assert_int_equal(stopped->history.saved, 5);
    assert_ok(train(resumed->run, &resumed->data, &kept, &resumed->history, &test_err));
    assert_same_masters(whole, resumed);
    close_training(whole);
    close_training(stopped);
    close_training(resumed);
    lc_free(kept.master);
    lc_free(kept.m);
    lc_free(kept.v);
}

/* Three steps in a row whose weights are next to nothing end the job where they end it on a device
 * that does not run ahead. */
static void test_nonfinite(void **state)
{
    (void)state;
    static const lc_device_kind kinds[] = {LC_DEVICE_CPU, LC_DEVICE_EMU};
    lc_log_set_level(LC_LOG_ERROR);
    for (int i = 0; i < 2; i++) {
        training *made = open_training(kinds[i]);
        for (int64_t token = PER_STEP * LENGTH; token < EXAMPLES * LENGTH; token++) {
            made->data.loss_weights[token] *= 1e-42f; /* all but the first step of four */
        }
        assert_fails(train(made->run, &made->data, NULL, &made->history, &test_err), LC_ERR_NUMERIC,
                     "not finite in 3 steps in a row, the last one step 4 ");
        assert_int_equal(made->history.count, 3);
        close_training(made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steady), cmocka_unit_test(test_uploads),
        cmocka_unit_test(test_same_numbers), cmocka_unit_test(test_stop),
        cmocka_unit_test(test_nonfinite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
