/* Sampler, packer and micro-batches, as properties over random data sets. */
#include "testing.h"

#include "base/fault.h"
#include "data/batch.h"

#define MAX_EXAMPLES 400

typedef struct world {
    lc_dataset dataset;
    lc_arena arena;
} world;

/* Of the world being tested: the first tokens are the same in all examples. */
static int64_t common_tokens;

/* Token t of example e is a number that names both, or t alone. */
static int32_t token_of(int64_t example, int64_t t)
{
    return (int32_t)(t < common_tokens ? -1 - t : example * 1000 + t);
}

static void make_world(world *w, int64_t examples, int64_t longest)
{
    int64_t *offsets = calloc((size_t)examples + 1, sizeof *offsets);
    *w = (world){.dataset = {.example_count = examples, .offsets = offsets}};
    common_tokens = test_int(0, 1) * test_int(0, longest);
    lc_arena_init(&w->arena, "test");
    for (int64_t e = 0; e < examples; e++) {
        const int64_t length = test_int(1, longest);
        offsets[e + 1] = offsets[e] + length;
        w->dataset.longest = length > w->dataset.longest ? length : w->dataset.longest;
    }
    const int64_t tokens = offsets[examples];
    w->dataset.token_count = tokens;
    w->dataset.input_ids = calloc((size_t)tokens, sizeof(int32_t));
    w->dataset.loss_weights = calloc((size_t)tokens, sizeof(float));
    for (int64_t e = 0; e < examples; e++) {
        const int64_t untrained = test_int(0, longest); /* from here to the end, may be all */
        const int64_t trained = test_int(0, 1) * common_tokens; /* not before here */
        for (int64_t t = 0; t < offsets[e + 1] - offsets[e]; t++) {
            w->dataset.input_ids[offsets[e] + t] = token_of(e, t);
            w->dataset.loss_weights[offsets[e] + t] =
                t >= trained && t < untrained && test_int(0, 2) > 0 ? (float)test_uniform(0.1, 2.0)
                                                                    : 0.0f;
        }
    }
}

static void free_world(world *w)
{
    free(w->dataset.offsets);
    free(w->dataset.input_ids);
    free(w->dataset.loss_weights);
    lc_arena_release(&w->arena);
}

/* Rows an example needs: one before each supervised token, all rows before that; never none. */
static int64_t plain_rows(const lc_dataset *dataset, int64_t example)
{
    int64_t rows = 1;
    for (int64_t t = 1; t < dataset->offsets[example + 1] - dataset->offsets[example]; t++) {
        rows = dataset->loss_weights[dataset->offsets[example] + t] > 0.0f ? t : rows;
    }
    return rows;
}

/* What a set of examples begins with, by the plainest search. */
static int64_t plain_common(const lc_dataset *dataset, const int64_t *list, int64_t count)
{
    for (int64_t common = 0;; common++) {
        for (int64_t i = 0; i < count; i++) {
            const int64_t first = dataset->offsets[list[0]], at = dataset->offsets[list[i]];
            const int64_t rows = plain_rows(dataset, list[i]);
            if (count == 1 || common + 1 >= rows || dataset->loss_weights[at + common + 1] > 0.0f ||
                dataset->input_ids[at + common] != dataset->input_ids[first + common]) {
                return common;
            }
        }
    }
}

/* All a batch must hold: documents up to their last target, positions, shifted targets. Marks the
 * examples in `seen`. */
static void check_batch(const lc_batch *batch, const lc_dataset *dataset, int64_t capacity,
                        int *seen)
{
    int32_t target = 0;
    int64_t whole = 0;
    assert_in_range(batch->token_count, 1, capacity);
    assert_int_equal(batch->cu_seqlens[0], batch->shared_rows);
    for (int32_t n = 0; n < batch->shared_rows; n++) {
        assert_int_equal(batch->ids[n], token_of(batch->examples[0], n));
        assert_int_equal(batch->positions[n], n);
    }
    assert_int_equal(batch->cu_seqlens[batch->document_count], batch->token_count);
    for (int32_t d = 0; d < batch->document_count; d++) {
        const int32_t begin = batch->cu_seqlens[d], end = batch->cu_seqlens[d + 1];
        const int64_t example = batch->examples[begin];
        assert_in_range(example, 0, dataset->example_count - 1);
        const int64_t offset = dataset->offsets[example];
        const int64_t length = dataset->offsets[example + 1] - offset;
        assert_int_equal(end - begin + batch->shared_rows, plain_rows(dataset, example));
        assert_true(end > begin);
        assert_int_equal(batch->lengths[d], length);
        whole += length;
        seen[example]++;
        for (int32_t n = begin; n < end; n++) {
            const int64_t t = n - begin + batch->shared_rows;
            assert_int_equal(batch->ids[n], token_of(example, t));
            assert_int_equal(batch->positions[n], t);
            assert_int_equal(batch->examples[n], example);
            const bool has_next = t + 1 < length;
            const float weight = has_next ? dataset->loss_weights[offset + t + 1] : 0.0f;
            if (weight > 0.0f) {
                assert_true(target < batch->target_count);
                assert_int_equal(batch->target_rows[target], n);
                assert_int_equal(batch->targets[target], token_of(example, t + 1));
                assert_memory_equal(&batch->target_weights[target], &weight, sizeof weight);
                target++;
            }
        }
    }
    assert_int_equal(target, batch->target_count);
    assert_int_equal(whole, batch->whole_tokens);
}

static void every_example_once_per_epoch(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        world w;
        const int64_t examples = test_int(1, MAX_EXAMPLES);
        make_world(&w, examples, test_int(1, 40));
        const int64_t batch_size = test_int(1, 70), capacity = w.dataset.longest + test_int(0, 90);
        const bool packing = test_int(0, 3) > 0, shuffle = test_int(0, 1) == 1;
        const int32_t least_shared = (int32_t)test_int(0, 4); /* the examples share 0 to a few */
        lc_sampler sampler;
        lc_packer packer;
        lc_batch batch;
        assert_ok(lc_sampler_init(&sampler, &w.dataset, (uint32_t)round, shuffle, batch_size,
                                  &w.arena, &test_err));
        assert_ok(lc_packer_init(&packer, &w.dataset, capacity, packing, batch_size, &w.arena,
                                 &test_err));
        assert_ok(lc_batch_init(&batch, capacity, &w.arena, &test_err));
        packer.least_shared = least_shared;
        const int64_t steps = lc_sampler_steps_per_epoch(&sampler);
        assert_int_equal(steps, (examples + batch_size - 1) / batch_size);
        for (int64_t epoch = 0; epoch < 2; epoch++) {
            int seen[MAX_EXAMPLES] = {0};
            for (int64_t step = epoch * steps; step < (epoch + 1) * steps; step++) {
                const int64_t *list = NULL;
                int64_t count = 0, documents = 0;
                lc_sampler_step(&sampler, step, &list, &count);
                assert_in_range(count, 1, batch_size);
                lc_packer_begin(&packer, list, count);
                const int64_t all = packing ? plain_common(&w.dataset, list, count) : 0;
                const int64_t common = least_shared > 0 && all >= least_shared ? all : 0;
                while (lc_packer_next(&packer, &batch)) {
                    assert_int_equal(batch.shared_rows, common);
                    check_batch(&batch, &w.dataset, capacity, seen);
                    assert_true(packing || batch.document_count == 1);
                    documents += batch.document_count;
                }
                assert_int_equal(documents, count);
                assert_false(lc_packer_next(&packer, &batch));
            }
            for (int64_t e = 0; e < examples; e++) {
                assert_int_equal(seen[e], 1);
            }
        }
        free_world(&w);
    }
}

/* The plain quadratic first-fit decreasing; bin of each place. */
static int64_t plain_first_fit(const int64_t *rows, int64_t count, int64_t capacity, int64_t *bin)
{
    int64_t room[MAX_EXAMPLES], bins = 0;
    bool done[MAX_EXAMPLES] = {false};
    for (int64_t i = 0; i < count; i++) {
        int64_t best = -1;
        for (int64_t p = 0; p < count; p++) {
            if (!done[p] && (best < 0 || rows[p] > rows[best])) {
                best = p;
            }
        }
        done[best] = true;
        int64_t b = 0;
        while (b < bins && room[b] < rows[best]) {
            b++;
        }
        if (b == bins) {
            room[bins++] = capacity;
        }
        room[b] -= rows[best];
        bin[best] = b;
    }
    return bins;
}

static void packs_first_fit_decreasing(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        world w;
        const int64_t examples = test_int(1, MAX_EXAMPLES);
        make_world(&w, examples, test_int(1, 30));
        const int64_t capacity = w.dataset.longest + test_int(0, 60);
        int64_t list[MAX_EXAMPLES], rows[MAX_EXAMPLES], bin[MAX_EXAMPLES];
        for (int64_t i = 0; i < examples; i++) {
            list[i] = (i * 7 + 3) % examples; /* any order; repeats do not matter to the packer */
            rows[i] = plain_rows(&w.dataset, list[i]);
        }
        lc_packer packer;
        lc_batch batch;
        assert_ok(
            lc_packer_init(&packer, &w.dataset, capacity, true, examples, &w.arena, &test_err));
        assert_ok(lc_batch_init(&batch, capacity, &w.arena, &test_err));
        lc_fault_set(LC_FAULT_ALLOC, 1, 0, true); /* begin and next allocate nothing */
        lc_packer_begin(&packer, list, examples);
        const int64_t bins = plain_first_fit(rows, examples, capacity, bin);
        assert_int_equal(packer.bin_count, bins);
        for (int64_t b = 0; b < bins; b++) {
            assert_true(lc_packer_next(&packer, &batch));
            int32_t document = 0;
            for (int64_t p = 0; p < examples; p++) {
                if (bin[p] == b) {
                    assert_true(document < batch.document_count);
                    assert_int_equal(batch.examples[batch.cu_seqlens[document++]], list[p]);
                }
            }
            assert_int_equal(document, batch.document_count);
        }
        assert_false(lc_packer_next(&packer, &batch));
        assert_int_equal(lc_fault_count(LC_FAULT_ALLOC), 0);
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        lc_packer_begin(&packer, list, 0);
        assert_false(lc_packer_next(&packer, &batch));
        free_world(&w);
    }
}

/* Step n is the same whether the steps before were asked for or not; another seed or epoch differs.
 * */
static void order_depends_on_seed_and_step_only(void **state)
{
    (void)state;
    world w;
    make_world(&w, 100, 5);
    lc_sampler walking, jumping, other;
    assert_ok(lc_sampler_init(&walking, &w.dataset, 7, true, 30, &w.arena, &test_err));
    assert_ok(lc_sampler_init(&jumping, &w.dataset, 7, true, 30, &w.arena, &test_err));
    assert_ok(lc_sampler_init(&other, &w.dataset, 8, true, 30, &w.arena, &test_err));
    int same_seed = 0, same_epoch = 0;
    for (int64_t step = 0; step < 12; step++) {
        const int64_t *a = NULL, *b = NULL, *c = NULL, *d = NULL;
        int64_t n = 0, m = 0;
        lc_sampler_step(&walking, step, &a, &n);
        lc_sampler_step(&jumping, 11, &b, &m);
        lc_sampler_step(&jumping, step, &b, &m);
        lc_sampler_step(&other, step, &c, &m);
        assert_int_equal(n, m);
        assert_int_equal(n, step % 4 == 3 ? 10 : 30);
        assert_memory_equal(a, b, (size_t)n * sizeof *a);
        same_seed += memcmp(a, c, (size_t)n * sizeof *a) == 0;
        lc_sampler_step(&jumping, (step + 4) % 12, &d, &m);
        same_epoch += memcmp(a, d, (size_t)n * sizeof *a) == 0;
    }
    assert_int_equal(same_seed, 0);
    assert_int_equal(same_epoch, 0);
    lc_sampler plain;
    assert_ok(lc_sampler_init(&plain, &w.dataset, 7, false, 30, &w.arena, &test_err));
    const int64_t *list = NULL;
    int64_t count = 0;
    lc_sampler_step(&plain, 6, &list, &count);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(list[i], 60 + i);
    }
    free_world(&w);
}

static void refuses(void **state)
{
    (void)state;
    world w;
    make_world(&w, 10, 20);
    lc_sampler sampler;
    lc_packer packer;
    lc_batch batch;
    const int64_t longest = w.dataset.longest;
    assert_fails(lc_sampler_init(&sampler, &w.dataset, 1, true, 0, &w.arena, &test_err),
                 LC_ERR_INVALID, "batch_size 0");
    assert_fails(lc_packer_init(&packer, &w.dataset, longest - 1, true, 4, &w.arena, &test_err),
                 LC_ERR_INVALID, "below the longest example");
    assert_ok(lc_packer_init(&packer, &w.dataset, longest, true, 4, &w.arena, &test_err));
    assert_fails(lc_batch_init(&batch, 0, &w.arena, &test_err), LC_ERR_INVALID, "0 tokens");
    assert_fails(lc_batch_init(&batch, INT32_MAX, &w.arena, &test_err), LC_ERR_INVALID, "tokens");
    for (int64_t at = 1; at < 9; at++) {
        lc_fault_set(LC_FAULT_ALLOC, at, 0, false);
        lc_arena arena;
        lc_arena_init(&arena, "faulty");
        lc_err_clear(&test_err);
        const lc_code code = lc_batch_init(&batch, 1 << 20, &arena, &test_err);
        assert_true(code == LC_OK || code == LC_ERR_MEMORY);
        assert_true(at > 1 || code == LC_ERR_MEMORY);
        lc_fault_set(LC_FAULT_NONE, 0, 0, false);
        lc_arena_release(&arena);
    }
    free_world(&w);
}

/* Each example is in the share of one rank, and no rank has more rows than another by more than its
 * longest example. */
static void check_shares(world *w, const int64_t *examples, int64_t count, int32_t world_size)
{
    int64_t load[8], least = INT64_MAX, most = 0, seen[MAX_EXAMPLES] = {0};
    lc_packer packer;
    lc_batch batch;
    assert_ok(lc_packer_init(&packer, &w->dataset, w->dataset.longest + 20, test_int(0, 1) != 0,
                             count, &w->arena, &test_err));
    assert_ok(lc_batch_init(&batch, packer.micro_batch_tokens, &w->arena, &test_err));
    packer.world_size = world_size;
    for (packer.rank = 0; packer.rank < world_size; packer.rank++) {
        load[packer.rank] = 0;
        lc_packer_begin(&packer, examples, count);
        while (lc_packer_next(&packer, &batch)) {
            load[packer.rank] += batch.token_count;
            assert_true(batch.document_count > 0);
            for (int32_t n = 0; n < batch.token_count; n++) {
                seen[batch.examples[n]] += batch.positions[n] == 0;
            }
        }
        least = load[packer.rank] < least ? load[packer.rank] : least;
        most = load[packer.rank] > most ? load[packer.rank] : most;
    }
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(seen[examples[i]], 1);
    }
    assert_true(most - least <= w->dataset.longest);
}

static void test_ranks(void **state)
{
    (void)state;
    for (int trial = 0; trial < 60; trial++) {
        world w;
        int64_t examples[MAX_EXAMPLES];
        make_world(&w, test_int(1, 100), test_int(1, 60));
        const int64_t count = test_int(1, w.dataset.example_count);
        for (int64_t i = 0; i < count; i++) {
            examples[i] = w.dataset.example_count - 1 - i;
        }
        check_shares(&w, examples, count, (int32_t)test_int(1, 8));
        free_world(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(every_example_once_per_epoch),
        cmocka_unit_test(packs_first_fit_decreasing),
        cmocka_unit_test(order_depends_on_seed_and_step_only),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
