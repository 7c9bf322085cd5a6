/* See generation.h. */
#include "generation.h"

#include "lorac/mem.h"
#include "testing.h"

#define ROOM_RANK 32

static void open_as(const char *name, lc_device_kind device, const char *dtype, bool adapted,
                    int64_t tokens, int64_t slots, int64_t rows, int32_t adapters,
                    lc_engine *engine)
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
                                   .cache_rows = rows,
                                   .adapters = adapters,
                                   .rank = ROOM_RANK};
    assert_ok(lc_engine_load(model, adapted ? adapter : NULL, engine, &test_err));
    assert_ok(lc_engine_start(engine, &sizes, &test_err));
}

void open_case(const char *name, lc_device_kind device, bool adapted, int64_t tokens, int64_t slots,
               int64_t rows, lc_engine *engine)
{
    open_as(name, device, "fp32", adapted, tokens, slots, rows, 0, engine);
}

void open_with_room(const char *name, lc_device_kind device, const char *dtype, int64_t tokens,
                    int64_t slots, int64_t rows, int32_t adapters, lc_engine *engine)
{
    open_as(name, device, dtype, false, tokens, slots, rows, adapters, engine);
}

/* Its masters are the caller's to free, as is the spec. */
static float *make_other_adapter(const lc_model_config *config, int32_t which,
                                 lc_adapter_spec **out)
{
    static const char *const some[] = {"q_proj", "down_proj", "up_proj"};
    static const char *const others[] = {"v_proj", "o_proj", "gate_proj", "k_proj"};
    static const int32_t layers[] = {0};
    const lc_lora_options options[OTHER_ADAPTERS] = {
        {.rank = 4, .alpha = 8.0, .all_linear = true},
        {.rank = 32, .alpha = 16.0, .use_rslora = true, .targets = some, .target_count = 3},
        {.rank = 17,
         .alpha = 40.0,
         .targets = others,
         .target_count = 4,
         .layers = layers,
         .layer_count = 1}};
    lc_adapter_spec *spec = lc_calloc(1, sizeof *spec);
    assert_non_null(spec);
    assert_ok(lc_adapter_spec_build(config, &options[which], spec, &test_err));
    float *master = lc_calloc((size_t)spec->master_count, sizeof *master);
    assert_non_null(master);
    lc_adapter_init(spec, config, (uint32_t)which, master);
    for (int32_t layer = 0; layer < config->layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            const lc_lora_slot *slot = &spec->slots[layer][kind];
            const int64_t out_rows = lc_module_out(config, (lc_module_kind)kind);
            for (int64_t i = 0; slot->rank > 0 && i < out_rows * slot->r16; i++) {
                const bool is_there = i % slot->r16 < slot->rank;
                master[slot->b_offset + i] =
                    is_there ? (float)((i * 7 + which * 13 + kind) % 11 - 5) * 0.02f : 0.0f;
            }
        }
    }
    *out = spec;
    return master;
}

void load_other_adapter(lc_engine *engine, int32_t place, int32_t which)
{
    lc_adapter_spec *spec = NULL;
    float *master = make_other_adapter(&engine->config, which, &spec);
    assert_ok(lc_model_load_adapter(engine->model, place, spec, master, &test_err));
    lc_free(master);
    lc_free(spec);
}

void save_other_adapter(const char *name, int32_t which, const char *dir)
{
    const lc_adapter_meta meta = {.base_model = name};
    lc_model_config config;
    lc_adapter_spec *spec = NULL;
    char model[LC_MAX_PATH_BYTES];
    (void)snprintf(model, sizeof model, "%s/tests/golden/cases/%s/model", LC_SOURCE_DIR, name);
    assert_ok(lc_model_config_load(model, &config, &test_err));
    float *master = make_other_adapter(&config, which, &spec);
    assert_ok(lc_adapter_save(dir, spec, &config, master, &meta, &test_err));
    lc_free(master);
    lc_free(spec);
}

/* ---- rows beside each other ---- */

enum { SEQUENCES = 9, LONGEST = 90, PASS_ROWS = 40 };

typedef struct sequences {
    int32_t ids[SEQUENCES][LONGEST], counts[SEQUENCES], read[SEQUENCES];
    int32_t adapters[SEQUENCES]; /* places */
    float *logits[SEQUENCES];    /* owned: LONGEST x V of what was read */
} sequences;

static void decode(lc_engine *engine, sequences *all, const int32_t *takes, int32_t first_slot)
{
    int32_t ids[LONGEST], positions[LONGEST], slots[LONGEST], lengths[LONGEST], want[LONGEST];
    const size_t vocab = (size_t)engine->config.vocab;
    int32_t rows = 0, wanted = 0, adapters[SEQUENCES];
    float *logits = lc_calloc(LONGEST * vocab, sizeof *logits);
    assert_non_null(logits);
    for (int32_t s = 0; s < SEQUENCES; s++) {
        adapters[(first_slot + s) % SEQUENCES] = all->adapters[s];
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
                                 .adapters = adapters,
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
        all->adapters[s] = s % (OTHER_ADAPTERS + 1) - 1;
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

static void check_alone(const char *name, lc_device_kind device, const char *dtype, bool has_others)
{
    lc_engine together, alone;
    sequences found, expected;
    const int32_t places = has_others ? OTHER_ADAPTERS : 0;
    open_as(name, device, dtype, !has_others, PASS_ROWS, SEQUENCES, LONGEST, places, &together);
    open_as(name, device, dtype, !has_others, LONGEST, SEQUENCES, LONGEST, 2 * places, &alone);
    for (int32_t i = 0; i < places; i++) {
        load_other_adapter(&together, i, i);
        load_other_adapter(&alone, 2 * places - 1 - i, i);
    }
    const int32_t vocab = together.config.vocab;
    new_sequences(&found, vocab);
    expected = found;
    for (int32_t s = 0; s < SEQUENCES; s++) {
        int32_t takes[SEQUENCES] = {0};
        takes[s] = expected.counts[s];
        if (expected.adapters[s] >= 0) {
            expected.adapters[s] = 2 * places - 1 - expected.adapters[s];
        }
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

void check_rows_are_alone(const char *name, lc_device_kind device, const char *dtype)
{
    check_alone(name, device, dtype, false);
}

void check_adapters_are_alone(const char *name, lc_device_kind device, const char *dtype)
{
    check_alone(name, device, dtype, true);
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
