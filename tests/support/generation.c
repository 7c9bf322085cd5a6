/* See generation.h. */
#include "generation.h"

#include "testing.h"

void open_case(const char *name, lc_device_kind device, bool adapted, int64_t tokens, int64_t slots,
               int64_t rows, lc_engine *engine)
{
    char model[LC_MAX_PATH_BYTES], adapter[LC_MAX_PATH_BYTES];
    (void)snprintf(model, sizeof model, "%s/tests/golden/cases/%s/model", LC_SOURCE_DIR, name);
    (void)snprintf(adapter, sizeof adapter, "%s/tests/golden/cases/%s/adapter", LC_SOURCE_DIR,
                   name);
    const lc_engine_sizes sizes = {.device = device,
                                   .dtype = "fp32",
                                   .threads = 2,
                                   .tokens = tokens,
                                   .cache_slots = slots,
                                   .cache_rows = rows};
    assert_ok(lc_engine_load(model, adapted ? adapter : NULL, engine, &test_err));
    assert_ok(lc_engine_start(engine, &sizes, &test_err));
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
