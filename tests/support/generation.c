/* See generation.h. */
#include "generation.h"

#include "lorac/mem.h"
#include "testing.h"

static void open_as(const char *name, lc_device_kind device, const char *dtype, bool adapted,
                    int64_t tokens, int64_t slots, int64_t rows, lc_engine *engine)
{
    char model[LC_MAX_PATH_BYTES], adapter[LC_MAX_PATH_BYTES];
    (void)snprintf(model, sizeof model, "%s/tests/golden/cases/%s/model", LC_SOURCE_DIR, name);
    (void)snprintf(adapter, sizeof adapter, "%s/tests/golden/cases/%s/adapter", LC_SOURCE_DIR,
                   name);
    const lc_engine_sizes sizes = {.device = device,
                                   .dtype = dtype,
                                   .threads = 2,
                                   .tokens = tokens,
                                   .cache_slots = slots,
                                   .cache_rows = rows};
    assert_ok(lc_engine_load(model, adapted ? adapter : NULL, engine, &test_err));
    assert_ok(lc_engine_start(engine, &sizes, &test_err));
}

void open_case(const char *name, lc_device_kind device, bool adapted, int64_t tokens, int64_t slots,
               int64_t rows, lc_engine *engine)
{
    open_as(name, device, "fp32", adapted, tokens, slots, rows, engine);
}

/* ---- rows beside each other ---- */

enum { SEQUENCES = 9, LONGEST = 90, PASS_ROWS = 40 };

typedef struct sequences {
    int32_t ids[SEQUENCES][LONGEST], counts[SEQUENCES], read[SEQUENCES];
    float *logits[SEQUENCES]; /* owned: LONGEST x V of what was read */
} sequences;

static void decode(lc_engine *engine, sequences *all, const int32_t *takes, int32_t first_slot)
{
    int32_t ids[LONGEST], positions[LONGEST], slots[LONGEST], lengths[LONGEST], want[LONGEST];
    const size_t vocab = (size_t)engine->config.vocab;
    int32_t rows = 0, wanted = 0;
    float *logits = lc_calloc(LONGEST * vocab, sizeof *logits);
    assert_non_null(logits);
    for (int32_t s = 0; s < SEQUENCES; s++) {
        for (int32_t i = 0; i < takes[s]; i++, rows++) {
            const int32_t at = all->read[s] + i;
            ids[rows] = all->ids[s][at];
            positions[rows] = at;
            slots[rows] = (first_slot + s) % SEQUENCES;
            lengths[rows] = all->counts[s];
            want[wanted++] = rows;
        }
    }
    const lc_decode_args args = {.token_count = rows,
                                 .ids = ids,
                                 .positions = positions,
                                 .slots = slots,
                                 .lengths = lengths,
                                 .want = want,
                                 .want_count = wanted,
                                 .logits = logits};
    assert_ok(lc_model_decode(engine->model, &args, &test_err));
    rows = 0;
    for (int32_t s = 0; s < SEQUENCES; s++) {
        memcpy(all->logits[s] + (size_t)all->read[s] * vocab, logits + (size_t)rows * vocab,
               (size_t)takes[s] * vocab * sizeof *logits);
        all->read[s] += takes[s];
        rows += takes[s];
    }
    lc_free(logits);
}

/* A few rows of some sequences; false when all are read. */
static bool decode_some(lc_engine *engine, sequences *all, int32_t first_slot)
{
    int32_t takes[SEQUENCES] = {0}, room = PASS_ROWS, rows = 0, left = 0;
    for (int32_t s = 0; s < SEQUENCES; s++) {
        const int32_t most = all->counts[s] - all->read[s];
        int32_t take = test_int(0, 2) == 0 ? 0 : test_int(0, 1) == 0 ? 1 : (int32_t)test_int(1, 30);
        take = take < most ? take : most;
        takes[s] = take < room ? take : room;
        room -= takes[s];
        rows += takes[s];
        left += most;
    }
    if (rows > 0) {
        decode(engine, all, takes, first_slot);
    }
    return left > 0;
}

static void new_sequences(sequences *all, int32_t vocab)
{
    for (int32_t s = 0; s < SEQUENCES; s++) {
        all->counts[s] = (int32_t)test_int(1, LONGEST);
        all->read[s] = 0;
        all->logits[s] = lc_calloc((size_t)LONGEST * (size_t)vocab, sizeof(float));
        assert_non_null(all->logits[s]);
        for (int32_t i = 0; i < all->counts[s]; i++) {
            all->ids[s][i] = (int32_t)test_int(0, vocab - 1);
        }
    }
}

static void expect_same_logits(const char *name, const sequences *found, const sequences *expected,
                               int32_t vocab)
{
    for (int32_t s = 0; s < SEQUENCES; s++) {
        for (int32_t i = 0; i < expected->counts[s]; i++) {
            const size_t at = (size_t)i * (size_t)vocab;
            if (memcmp(found->logits[s] + at, expected->logits[s] + at,
                       (size_t)vocab * sizeof(float)) != 0) {
                fail_msg("%s: sequence %d of %d tokens: other logits behind token %d", name, s,
                         expected->counts[s], i);
            }
        }
    }
}

void check_rows_are_alone(const char *name, lc_device_kind device, const char *dtype)
{
    lc_engine together, alone;
    sequences found, expected;
    open_as(name, device, dtype, true, PASS_ROWS, SEQUENCES, LONGEST, &together);
    open_as(name, device, dtype, true, LONGEST, SEQUENCES, LONGEST, &alone);
    const int32_t vocab = together.config.vocab;
    new_sequences(&found, vocab);
    expected = found;
    for (int32_t s = 0; s < SEQUENCES; s++) {
        int32_t takes[SEQUENCES] = {0};
        takes[s] = expected.counts[s];
        expected.logits[s] = lc_calloc((size_t)LONGEST * (size_t)vocab, sizeof(float));
        assert_non_null(expected.logits[s]);
        decode(&alone, &expected, takes, 0);
    }
    for (int32_t round = 0; round < 3; round++) {
        memset(found.read, 0, sizeof found.read);
        while (decode_some(&together, &found, round)) {}
        expect_same_logits(name, &found, &expected, vocab);
    }
    for (int32_t s = 0; s < SEQUENCES; s++) {
        lc_free(found.logits[s]);
        lc_free(expected.logits[s]);
    }
    lc_engine_close(&together);
    lc_engine_close(&alone);
}

lc_code keep_token(void *context, const lc_generated *token, lc_err *err)
{
    answers *kept = context;
    assert_in_range(token->number, 0, MOST_ANSWERS - 1);
    assert_int_equal(kept->finishes[token->number], LC_FINISH_NONE);
    kept->ids[token->number][kept->counts[token->number]++] = token->id;
    kept->finishes[token->number] = token->finish;
    kept->seen++;
    return kept->fail_after > 0 && kept->seen >= kept->fail_after
               ? lc_fail(err, LC_ERR_INTERRUPTED, "enough")
               : LC_OK;
}
