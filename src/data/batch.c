/*
 * From examples to steps to micro-batches (see batch.h). Called by the trainer and the evaluator;
 * knows nothing of devices or models. No allocation after the three _init functions.
 */
#include "data/batch.h"

#include <string.h>

#include "base/rng.h"
#include "lorac/comm.h"

/* Random streams of the sampler: one per epoch, away from the other users of the seed. */
#define SAMPLER_STREAM 0x5a000000u

static lc_code arena_new(lc_arena *arena, int64_t count, size_t size, void **out, lc_err *err)
{
    return lc_arena_alloc(arena, (size_t)count, size, out, err);
}

/* ---- one micro-batch ---- */

lc_code lc_batch_init(lc_batch *batch, int64_t token_capacity, lc_arena *arena, lc_err *err)
{
    if (token_capacity < 1 || token_capacity > INT32_MAX - 1) {
        return lc_fail(err, LC_ERR_INVALID, "a micro-batch of %lld tokens (1 to %d)",
                       (long long)token_capacity, INT32_MAX - 1);
    }
    *batch = (lc_batch){.token_capacity = token_capacity, .document_capacity = token_capacity};
    void *memory = NULL;
    LC_TRY(arena_new(arena, token_capacity, sizeof(int32_t), &memory, err));
    batch->ids = memory;
    LC_TRY(arena_new(arena, token_capacity, sizeof(int32_t), &memory, err));
    batch->positions = memory;
    LC_TRY(arena_new(arena, token_capacity, sizeof(int64_t), &memory, err));
    batch->examples = memory;
    LC_TRY(arena_new(arena, token_capacity + 1, sizeof(int32_t), &memory, err));
    batch->cu_seqlens = memory;
    LC_TRY(arena_new(arena, token_capacity, sizeof(int32_t), &memory, err));
    batch->lengths = memory;
    LC_TRY(arena_new(arena, token_capacity, sizeof(int32_t), &memory, err));
    batch->target_rows = memory;
    LC_TRY(arena_new(arena, token_capacity, sizeof(int32_t), &memory, err));
    batch->targets = memory;
    LC_TRY(arena_new(arena, token_capacity, sizeof(float), &memory, err));
    batch->target_weights = memory;
    return LC_OK;
}

void lc_batch_clear(lc_batch *batch)
{
    batch->token_count = 0;
    batch->whole_tokens = 0;
    batch->shared_rows = 0;
    batch->document_count = 0;
    batch->target_count = 0;
    batch->cu_seqlens[0] = 0;
}

int64_t lc_batch_rows(const lc_dataset *dataset, int64_t example)
{
    const float *weights = dataset->loss_weights + dataset->offsets[example];
    int64_t last = dataset->offsets[example + 1] - dataset->offsets[example] - 1;
    while (last > 0 && !(weights[last] > 0.0f)) {
        last--;
    }
    return last > 0 ? last : 1;
}

static void add_target(lc_batch *batch, int32_t row, int32_t id, float weight)
{
    const int32_t target = batch->target_count++;
    batch->target_rows[target] = row;
    batch->targets[target] = id;
    batch->target_weights[target] = weight;
}

/* Tokens first..end-1 of an example. */
static void add_rows(lc_batch *batch, const lc_dataset *dataset, int64_t example, int64_t first,
                     int64_t end)
{
    const int32_t *ids = dataset->input_ids + dataset->offsets[example];
    memcpy(batch->ids + batch->token_count, ids + first, (size_t)(end - first) * sizeof *ids);
    for (int64_t i = first; i < end; i++) {
        batch->positions[batch->token_count] = (int32_t)i;
        batch->examples[batch->token_count++] = example;
    }
}

void lc_batch_share(lc_batch *batch, const lc_dataset *dataset, int64_t example, int64_t rows)
{
    add_rows(batch, dataset, example, 0, rows);
    batch->shared_rows = batch->cu_seqlens[0] = (int32_t)rows;
}

void lc_batch_add(lc_batch *batch, const lc_dataset *dataset, int64_t example)
{
    const int64_t begin = dataset->offsets[example], end = dataset->offsets[example + 1];
    const int32_t rows = (int32_t)lc_batch_rows(dataset, example), first = batch->shared_rows;
    const int32_t *ids = dataset->input_ids + begin;
    const float *weights = dataset->loss_weights + begin;
    for (int32_t i = first; i < rows && begin + i + 1 < end; i++) {
        if (weights[i + 1] > 0.0f) {
            add_target(batch, batch->token_count + i - first, ids[i + 1], weights[i + 1]);
        }
    }
    add_rows(batch, dataset, example, first, rows);
    batch->whole_tokens += end - begin;
    batch->lengths[batch->document_count] = (int32_t)(end - begin);
    batch->cu_seqlens[++batch->document_count] = batch->token_count;
}

/* ---- the order of examples ---- */

lc_code lc_sampler_init(lc_sampler *sampler, const lc_dataset *dataset, uint32_t seed, bool shuffle,
                        int64_t batch_size, lc_arena *arena, lc_err *err)
{
    if (batch_size < 1 || dataset->example_count < 1) {
        return lc_fail(err, LC_ERR_INVALID,
                       "batch_size %lld over %lld examples: both must be positive",
                       (long long)batch_size, (long long)dataset->example_count);
    }
    *sampler = (lc_sampler){.dataset = dataset,
                            .seed = seed,
                            .shuffle = shuffle,
                            .batch_size = batch_size,
                            .epoch = -1};
    void *memory = NULL;
    LC_TRY(arena_new(arena, dataset->example_count, sizeof(int64_t), &memory, err));
    sampler->order = memory;
    return LC_OK;
}

int64_t lc_sampler_steps_per_epoch(const lc_sampler *sampler)
{
    const int64_t examples = sampler->dataset->example_count;
    return examples / sampler->batch_size + (examples % sampler->batch_size != 0);
}

static void order_epoch(lc_sampler *sampler, int64_t epoch)
{
    const int64_t count = sampler->dataset->example_count;
    for (int64_t i = 0; i < count; i++) {
        sampler->order[i] = i;
    }
    if (sampler->shuffle) {
        lc_rng rng;
        lc_rng_init(&rng, sampler->seed, SAMPLER_STREAM + (uint32_t)epoch);
        lc_rng_shuffle(&rng, sampler->order, count);
    }
    sampler->epoch = epoch;
}

void lc_sampler_step(lc_sampler *sampler, int64_t step, const int64_t **examples, int64_t *count)
{
    const int64_t steps = lc_sampler_steps_per_epoch(sampler);
    const int64_t epoch = step / steps;
    if (epoch != sampler->epoch) {
        order_epoch(sampler, epoch);
    }
    const int64_t begin = step % steps * sampler->batch_size;
    const int64_t rest = sampler->dataset->example_count - begin;
    *examples = sampler->order + begin;
    *count = rest < sampler->batch_size ? rest : sampler->batch_size;
}

/* ---- packing ---- */

static int64_t power_of_two(int64_t at_least)
{
    int64_t power = 1;
    while (power < at_least) {
        power *= 2;
    }
    return power;
}

lc_code lc_packer_init(lc_packer *packer, const lc_dataset *dataset, int64_t micro_batch_tokens,
                       bool packing, int64_t max_examples, lc_arena *arena, lc_err *err)
{
    if (micro_batch_tokens < dataset->longest || max_examples < 1) {
        return lc_fail(err, LC_ERR_INVALID,
                       "micro_batch_tokens %lld is below the longest example's %lld tokens",
                       (long long)micro_batch_tokens, (long long)dataset->longest);
    }
    *packer = (lc_packer){.dataset = dataset,
                          .micro_batch_tokens = micro_batch_tokens,
                          .packing = packing,
                          .world_size = 1,
                          .capacity = max_examples};
    void *memory = NULL;
    LC_TRY(arena_new(arena, max_examples, sizeof(int64_t), &memory, err));
    packer->rows = memory;
    LC_TRY(arena_new(arena, max_examples, sizeof(int64_t), &memory, err));
    packer->bin = memory;
    LC_TRY(arena_new(arena, max_examples, sizeof(int64_t), &memory, err));
    packer->sorted = memory;
    LC_TRY(arena_new(arena, max_examples, sizeof(int64_t), &memory, err));
    packer->own = memory;
    /* Twice as many for the tree over the bins; one more for the starts made of it afterwards. */
    LC_TRY(arena_new(arena, 2 * power_of_two(max_examples) + 1, sizeof(int64_t), &memory, err));
    packer->bin_tokens = memory;
    return LC_OK;
}

/* More rows first, then earlier: a total order, so any sort gives the same result. */
static bool goes_before(const lc_packer *packer, int64_t a, int64_t b)
{
    const int64_t x = packer->rows[a], y = packer->rows[b];
    return x != y ? x > y : a < b;
}

static void sift_down(lc_packer *packer, int64_t root, int64_t count)
{
    int64_t *heap = packer->sorted;
    const int64_t value = heap[root];
    for (int64_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
        if (child + 1 < count && goes_before(packer, heap[child], heap[child + 1])) {
            child++;
        }
        if (!goes_before(packer, value, heap[child])) {
            break;
        }
        heap[root] = heap[child];
        root = child;
    }
    heap[root] = value;
}

/* Heap sort: qsort may allocate. */
static void sort_by_rows(lc_packer *packer)
{
    const int64_t count = packer->example_count;
    for (int64_t i = 0; i < count; i++) {
        packer->sorted[i] = i;
    }
    for (int64_t i = count / 2 - 1; i >= 0; i--) {
        sift_down(packer, i, count);
    }
    for (int64_t last = count - 1; last > 0; last--) {
        const int64_t top = packer->sorted[0];
        packer->sorted[0] = packer->sorted[last];
        packer->sorted[last] = top;
        sift_down(packer, 0, last);
    }
}

/* First-fit over the sorted examples. bin_tokens is a tree of the bins' free room: leaf leaves+b is
 * bin b, a node holds the larger of its children, so the first bin with room is found in log steps.
 * */
static void first_fit(lc_packer *packer)
{
    const int64_t leaves = power_of_two(packer->example_count);
    int64_t *room = packer->bin_tokens;
    for (int64_t i = 0; i < 2 * leaves; i++) {
        room[i] = packer->micro_batch_tokens - packer->shared;
    }
    for (int64_t i = 0; i < packer->example_count; i++) {
        const int64_t place = packer->sorted[i];
        const int64_t rows = packer->rows[place];
        int64_t node = 1;
        while (node < leaves) {
            node = room[2 * node] >= rows ? 2 * node : 2 * node + 1;
        }
        packer->bin[place] = node - leaves;
        if (node - leaves >= packer->bin_count) {
            packer->bin_count = node - leaves + 1;
        }
        room[node] -= rows;
        for (node /= 2; node >= 1; node /= 2) {
            const int64_t left = room[2 * node], right = room[2 * node + 1];
            room[node] = left > right ? left : right;
        }
    }
}

/* `sorted` becomes the examples grouped by bin, in step order within one; bin_tokens[b] where bin b
 * ends. */
static void group_by_bin(lc_packer *packer)
{
    int64_t *end = packer->bin_tokens;
    memset(end, 0, (size_t)(packer->bin_count + 1) * sizeof *end);
    for (int64_t i = 0; i < packer->example_count; i++) {
        end[packer->bin[i] + 1]++; /* first the count of the bin, one place up */
    }
    for (int64_t b = 0; b < packer->bin_count; b++) {
        end[b + 1] += end[b];
    }
    for (int64_t i = 0; i < packer->example_count; i++) {
        packer->sorted[end[packer->bin[i]]++] =
            packer->examples[i]; /* from begin of the bin to its end */
    }
}

/* Rows before the first that predicts a supervised token; of an example without one, none. */
static int64_t rows_before_targets(const lc_dataset *dataset, int64_t example)
{
    const float *weights = dataset->loss_weights + dataset->offsets[example];
    const int64_t length = dataset->offsets[example + 1] - dataset->offsets[example];
    for (int64_t i = 1; i < length; i++) {
        if (weights[i] > 0.0f) {
            return i - 1;
        }
    }
    return 0;
}

/* Rows that all examples begin with and none of which predicts a supervised token. */
static int64_t common_rows(const lc_packer *packer)
{
    const lc_dataset *dataset = packer->dataset;
    const int32_t *begin = dataset->input_ids + dataset->offsets[packer->examples[0]];
    int64_t common = rows_before_targets(dataset, packer->examples[0]);
    for (int64_t i = 1; i < packer->example_count && common > 0; i++) {
        const int64_t example = packer->examples[i];
        const int32_t *ids = dataset->input_ids + dataset->offsets[example];
        const int64_t most = rows_before_targets(dataset, example);
        common = most < common ? most : common;
        for (int64_t j = 0; j < common; j++) {
            common = ids[j] == begin[j] ? common : j;
        }
    }
    return common;
}

/* How many rows each example adds to a micro-batch. */
static void measure(lc_packer *packer)
{
    const int64_t count = packer->example_count;
    const bool shares = packer->least_shared > 0 && packer->packing && count > 1;
    const int64_t common = shares ? common_rows(packer) : 0;
    packer->shared = common >= packer->least_shared ? common : 0;
    for (int64_t i = 0; i < count; i++) {
        packer->rows[i] = lc_batch_rows(packer->dataset, packer->examples[i]) - packer->shared;
    }
}

/* Keeps this rank's share, in step order; ties go to the lower rank. */
static void deal(lc_packer *packer)
{
    int64_t loads[LC_MAX_RANKS] = {0}, count = 0;
    sort_by_rows(packer);
    for (int64_t i = 0; i < packer->example_count; i++) {
        const int64_t place = packer->sorted[i];
        int32_t to = 0;
        for (int32_t rank = 1; rank < packer->world_size; rank++) {
            to = loads[rank] < loads[to] ? rank : to;
        }
        loads[to] += packer->rows[place];
        packer->bin[place] = to;
    }
    for (int64_t i = 0; i < packer->example_count; i++) {
        if (packer->bin[i] == packer->rank) {
            packer->own[count++] = packer->examples[i];
        }
    }
    packer->examples = packer->own;
    packer->example_count = count;
}

void lc_packer_begin(lc_packer *packer, const int64_t *examples, int64_t count)
{
    packer->examples = examples;
    packer->example_count = count;
    packer->bin_count = 0;
    packer->next_bin = 0;
    measure(packer);
    if (packer->world_size > 1) {
        deal(packer);
        measure(packer);
    }
    if (packer->example_count == 0) {
        return;
    }
    if (packer->packing) {
        sort_by_rows(packer);
        first_fit(packer);
    } else {
        for (int64_t i = 0; i < packer->example_count; i++) {
            packer->bin[i] = i;
        }
        packer->bin_count = packer->example_count;
    }
    group_by_bin(packer);
}

bool lc_packer_next(lc_packer *packer, lc_batch *batch)
{
    if (packer->next_bin == packer->bin_count) {
        return false;
    }
    const int64_t bin = packer->next_bin++;
    const int64_t begin = bin > 0 ? packer->bin_tokens[bin - 1] : 0;
    lc_batch_clear(batch);
    if (packer->shared > 0) {
        lc_batch_share(batch, packer->dataset, packer->sorted[begin], packer->shared);
    }
    for (int64_t i = begin; i < packer->bin_tokens[bin]; i++) {
        lc_batch_add(batch, packer->dataset, packer->sorted[i]);
    }
    return true;
}
