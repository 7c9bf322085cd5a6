/* What the tests of generation share, on the CPU and on the emulated GPU: an engine on a golden
 * case, and the tokens that a generator hands out. */
#ifndef TESTS_SUPPORT_GENERATION_H
#define TESTS_SUPPORT_GENERATION_H

#include "infer/engine.h"
#include "infer/generate.h"

#define MOST_ANSWERS   16
#define LONGEST_ANSWER 48

typedef struct answers {
    int32_t ids[MOST_ANSWERS][LONGEST_ANSWER];
    int64_t counts[MOST_ANSWERS];
    lc_finish finishes[MOST_ANSWERS];
    int64_t seen, fail_after; /* tokens until keep_token fails; 0: never */
} answers;

/* fp32, two threads, the case's adapter or none. */
void open_case(const char *name, lc_device_kind device, bool adapted, int64_t tokens, int64_t slots,
               int64_t rows, lc_engine *engine);

/* Random sequences, read in random pieces beside each other in one model of `device` and `dtype`,
 * and each at once in a model of its own: the logits of the same tokens have the same bytes. */
void check_rows_are_alone(const char *name, lc_device_kind device, const char *dtype);

/* The same with sequences of three adapters, of other targets, ranks and scales each, and of none;
 * in the model of its own a sequence's adapter has another place. */
void check_adapters_are_alone(const char *name, lc_device_kind device, const char *dtype);

/* An engine on a golden case's base with room for adapters of rank 32, and one of a few random
 * adapters (0..OTHER_ADAPTERS-1) into a place of it. */
#define OTHER_ADAPTERS 3
void open_with_room(const char *name, lc_device_kind device, const char *dtype, int64_t tokens,
                    int64_t slots, int64_t rows, int32_t adapters, lc_engine *engine);
void load_other_adapter(lc_engine *engine, int32_t place, int32_t which);
/* The same one as a PEFT directory, which is there. */
void save_other_adapter(const char *name, int32_t which, const char *dir);

/* lc_generated_fn: context is the answers, in which nothing may come after an end. */
lc_code keep_token(void *context, const lc_generated *token, lc_err *err);

#endif
