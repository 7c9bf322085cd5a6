/*
 * How many tokens a second a model answers with at several numbers of sequences at once, with an
 * adapter in a place of the model's room. compare_generate drives it.
 *
 * usage: bench_generate MODEL ADAPTER THREADS PROMPT_TOKENS ANSWER_TOKENS REPEAT SEQUENCES..
 *
 * Prints, for each number of sequences, a line "SEQUENCES TOKENS_PER_S" of the quickest repetition.
 * Prompts are other ids each time, so no cache is reused; token j of sequence i of repetition r is
 * (j*17 + i*131 + r*7) % vocab. Greedy, no token ends an answer.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "infer/engine.h"
#include "infer/generate.h"

#define MOST_SEQUENCES 64
#define MOST_TOKENS    4096
#define PASS_ROWS      128

static int32_t prompts[MOST_SEQUENCES][MOST_TOKENS];

static lc_code ignore(void *context, const lc_generated *token, lc_err *err)
{
    (void)context, (void)token, (void)err;
    return LC_OK;
}

static int fail(const lc_err *err)
{
    (void)fprintf(stderr, "bench_generate: %s\n", err->message);
    return 1;
}

static lc_code run(lc_generator *generator, int64_t count, int64_t prompt, int64_t answer,
                   int64_t repetition, int32_t vocab, double *seconds, lc_err *err)
{
    lc_generate_request requests[MOST_SEQUENCES];
    for (int64_t i = 0; i < count; i++) {
        for (int64_t j = 0; j < prompt; j++) {
            prompts[i][j] = (int32_t)((j * 17 + i * 131 + repetition * 7) % vocab);
        }
        requests[i] = (lc_generate_request){.number = i,
                                            .prompt = prompts[i],
                                            .prompt_count = prompt,
                                            .max_tokens = answer,
                                            .sampling = {.top_p = 1.0}};
    }
    const double began = lc_monotonic_seconds();
    const lc_code code = lc_generate_all(generator, requests, count, ignore, NULL, err);
    *seconds = lc_monotonic_seconds() - began;
    return code;
}

int main(int argc, char **argv)
{
    lc_err err = {.code = LC_OK};
    lc_engine engine;
    lc_generator *generator = NULL;
    if (argc < 8) {
        (void)fprintf(stderr, "usage: bench_generate MODEL ADAPTER THREADS PROMPT_TOKENS "
                              "ANSWER_TOKENS REPEAT SEQUENCES..\n");
        return 2;
    }
    const int64_t prompt = strtol(argv[4], NULL, 10), answer = strtol(argv[5], NULL, 10);
    const int64_t repeat = strtol(argv[6], NULL, 10);
    const lc_engine_sizes sizes = {.device = LC_DEVICE_CPU,
                                   .dtype = "fp32",
                                   .threads = (int)strtol(argv[3], NULL, 10),
                                   .tokens = PASS_ROWS,
                                   .cache_slots = MOST_SEQUENCES,
                                   .cache_rows = prompt + answer,
                                   .adapters = 1,
                                   .rank = 16};
    lc_json_init();
    if (prompt < 1 || prompt > MOST_TOKENS || answer < 1 ||
        lc_engine_load(argv[1], NULL, &engine, &err) != LC_OK) {
        return fail(&err);
    }
    if (lc_engine_start(&engine, &sizes, &err) != LC_OK ||
        lc_engine_load_adapter(&engine, 0, argv[2], &err) != LC_OK ||
        lc_generator_open(engine.model, NULL, 0, &generator, &err) != LC_OK) {
        return fail(&err);
    }
    for (int64_t r = -1; r < repeat * (argc - 7); r++) { /* the first one warms up */
        static double best[MOST_SEQUENCES + 1];
        const int64_t count = strtol(argv[7 + (r < 0 ? 0 : r % (argc - 7))], NULL, 10);
        double seconds = 0.0;
        if (count < 1 || count > MOST_SEQUENCES) {
            return 2;
        }
        if (run(generator, count, prompt, answer, r + 1, engine.config.vocab, &seconds, &err) !=
            LC_OK) {
            return fail(&err);
        }
        const double rate = (double)(count * answer) / seconds;
        best[count] = r >= 0 && rate > best[count] ? rate : best[count];
        if (r >= (repeat - 1) * (argc - 7)) {
            printf("%d %.1f\n", (int)count, best[count]);
        }
    }
    lc_generator_close(generator);
    lc_engine_close(&engine);
    return 0;
}
