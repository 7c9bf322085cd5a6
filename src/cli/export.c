/*
 * lorac export: merges an adapter into its base and measures what rounding cost; says who could
 * load the adapter as it is.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/format.h"
#include "base/rng.h"
#include "base/thread.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/options.h"
#include "cli/readers.h"
#include "infer/engine.h"
#include "infer/merge.h"
#include "lorac/mem.h"

#define PROBE_TOKENS 64
#define PROBE_STREAM 0x6d657267u /* random ids of the comparison */
#define MAX_SEED     INT64_C(2147483647)

typedef struct lc_export_options {
    const char *model_dir, *adapter_dir, *out_dir;
    bool merge, check, json;
    int64_t seed, threads;
} lc_export_options;

typedef struct lc_export_result {
    lc_merge_result merged;
    int64_t probe_tokens;
    double largest_difference, largest_logit;
    lc_reader_verdict verdicts[LC_READER_COUNT];
} lc_export_result;

/* Logits of `count` fixed ids, count x V, into *logits (lc_free). */
static lc_code probe(const char *base_dir, const char *adapter_dir,
                     const lc_export_options *options, int64_t *count, float **logits,
                     int32_t *vocab, lc_err *err)
{
    lc_engine engine;
    lc_rng rng;
    int32_t ids[PROBE_TOKENS], positions[PROBE_TOKENS], slots[PROBE_TOKENS];
    void *memory = NULL;
    LC_TRY(lc_engine_load(base_dir, adapter_dir, &engine, err));
    const int64_t context = engine.config.max_position;
    *count = context < PROBE_TOKENS ? context : PROBE_TOKENS;
    *vocab = engine.config.vocab;
    lc_rng_init(&rng, (uint32_t)options->seed, PROBE_STREAM);
    for (int32_t i = 0; i < *count; i++) {
        ids[i] = (int32_t)lc_rng_below(&rng, (uint64_t)engine.config.vocab);
        positions[i] = i;
        slots[i] = 0;
    }
    const lc_engine_sizes sizes = {.device = LC_DEVICE_CPU,
                                   .dtype = "fp32",
                                   .threads = (int)options->threads,
                                   .tokens = *count,
                                   .cache_slots = 1,
                                   .cache_rows = *count};
    lc_code code;
    LC_TRY_GOTO(lc_engine_start(&engine, &sizes, err));
    LC_TRY_GOTO(lc_new(&memory, (size_t)*count * (size_t)*vocab, sizeof(float), "logits", err));
    *logits = memory;
    const lc_decode_args args = {.token_count = (int32_t)*count,
                                 .ids = ids,
                                 .positions = positions,
                                 .slots = slots,
                                 .want = positions, /* all rows */
                                 .want_count = (int32_t)*count,
                                 .logits = *logits};
    code = lc_model_decode(engine.model, &args, err);
fail:
    lc_engine_close(&engine);
    return code;
}

/* Base with adapter against the merged directory. One model is in memory at a time. */
static lc_code compare(const lc_export_options *options, lc_export_result *result, lc_err *err)
{
    float *adapted = NULL, *merged = NULL;
    int64_t count = 0;
    int32_t vocab = 0;
    lc_code code;
    LC_TRY_GOTO(
        probe(options->model_dir, options->adapter_dir, options, &count, &adapted, &vocab, err));
    LC_TRY_GOTO(probe(options->out_dir, NULL, options, &count, &merged, &vocab, err));
    result->probe_tokens = count;
    for (int64_t i = 0; i < count * vocab; i++) {
        const double difference = fabs((double)adapted[i] - (double)merged[i]);
        result->largest_difference = fmax(result->largest_difference, difference);
        result->largest_logit = fmax(result->largest_logit, fabs((double)adapted[i]));
        if (!isfinite(difference)) {
            code = lc_fail(err, LC_ERR_NUMERIC,
                           "logits of the adapted or the merged model are not finite");
            goto fail;
        }
    }
fail:
    lc_free(adapted);
    lc_free(merged);
    return code;
}

static lc_code print_json(const lc_export_options *options, const lc_export_result *result,
                          lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(&text, "{\"adapter\": ");
    lc_text_add_json_string(&text, options->adapter_dir, strlen(options->adapter_dir));
    if (options->merge) {
        lc_text_addf(&text, ", \"out\": ");
        lc_text_add_json_string(&text, options->out_dir, strlen(options->out_dir));
        lc_text_addf(&text, ", \"matrices\": %lld, \"bytes\": %lld, \"probe_tokens\": %lld",
                     (long long)result->merged.matrices, (long long)result->merged.bytes,
                     (long long)result->probe_tokens);
        lc_text_addf(&text, ", \"largest_logit_difference\": ");
        lc_text_add_double(&text, result->largest_difference);
        lc_text_addf(&text, ", \"largest_logit\": ");
        lc_text_add_double(&text, result->largest_logit);
    }
    for (int i = 0; options->check && i < LC_READER_COUNT; i++) {
        const lc_reader_verdict *verdict = &result->verdicts[i];
        lc_text_addf(&text,
                     "%s\"%s\": {\"loads\": %s, \"note\": ", i == 0 ? ", \"readers\": {" : ", ",
                     verdict->reader, verdict->is_accepted ? "true" : "false");
        lc_text_add_json_string(&text, verdict->note, strlen(verdict->note));
        lc_text_addf(&text, i == LC_READER_COUNT - 1 ? "}}" : "}");
    }
    lc_text_addf(&text, "}");
    return lc_print_text(&text, err);
}

static void print_for_people(const lc_export_options *options, const lc_export_result *result)
{
    char size[LC_FORMAT_BYTES];
    if (options->merge) {
        printf("%s: %lld matrices merged, %s of weights\n", options->out_dir,
               (long long)result->merged.matrices, lc_format_size(result->merged.bytes, size));
        printf("largest logit difference %.3g between base + adapter and the merged model, over "
               "%lld random "
               "tokens (largest logit %.3g)\n",
               result->largest_difference, (long long)result->probe_tokens, result->largest_logit);
    }
    for (int i = 0; options->check && i < LC_READER_COUNT; i++) {
        const lc_reader_verdict *verdict = &result->verdicts[i];
        const char *separator = verdict->note[0] == '\0' ? "" : verdict->is_accepted ? ", " : ": ";
        printf("%-10s %s%s%s\n", verdict->reader, verdict->is_accepted ? "yes" : "no", separator,
               verdict->note);
    }
}

static lc_code run_export(const lc_export_options *options, lc_err *err)
{
    lc_export_result result;
    memset(&result, 0, sizeof result);
    if (options->check) {
        LC_TRY(lc_readers_judge(options->adapter_dir, result.verdicts, err));
    }
    if (options->merge) {
        LC_TRY(lc_merge(options->model_dir, options->adapter_dir, options->out_dir, &result.merged,
                        err));
        LC_TRY(compare(options, &result, err));
    }
    if (options->json) {
        return print_json(options, &result, err);
    }
    print_for_people(options, &result);
    return LC_OK;
}

static lc_code check_options(const lc_export_options *options, lc_err *err)
{
    if (!options->merge && !options->check) {
        return lc_fail(err, LC_ERR_USAGE,
                       "say what to do: --merge, --check or both; see lorac export --help");
    }
    if (options->merge && options->model_dir == NULL) {
        return lc_fail(err, LC_ERR_USAGE, "--merge needs --model DIR, the base of the adapter");
    }
    if (options->merge != (options->out_dir != NULL)) {
        return lc_fail(err, LC_ERR_USAGE,
                       options->merge ? "--merge needs --out DIR, the directory to write"
                                      : "--out needs --merge");
    }
    return LC_OK;
}

lc_code lc_command_export(int argc, char **argv, lc_err *err)
{
    lc_export_options o = {.seed = 0};
    bool done = false;
    const lc_option options[] = {
        {.name = "--adapter",
         .value = "DIR",
         .help = "PEFT LoRA adapter",
         .text = &o.adapter_dir,
         .is_required = true},
        {.name = "--model",
         .value = "DIR",
         .help = "base model directory; needed by --merge",
         .text = &o.model_dir},
        {.name = "--out",
         .value = "DIR",
         .help = "directory to write; must be absent or empty; needed by --merge",
         .text = &o.out_dir},
        {.name = "--merge",
         .help = "write a model directory with the adapter added to the weights: W + scale B A in "
                 "fp32, rounded "
                 "once to the dtype of the base's files",
         .flag = &o.merge},
        {.name = "--check",
         .help = "say whether PEFT, vLLM, SGLang and llama.cpp would load the adapter, and why not",
         .flag = &o.check},
        {.name = "--seed",
         .value = "N",
         .help = "seed of the random tokens of the comparison",
         .fallback = "0",
         .integer = &o.seed,
         .low = 0,
         .high = MAX_SEED},
        {.name = "--json", .help = "print the result as one JSON object", .flag = &o.json},
        {.name = "--threads",
         .value = "N",
         .help = "compute threads of the comparison",
         .fallback = "LORAC_THREADS, else all cores of this process",
         .integer = &o.threads,
         .low = 1,
         .high = LC_MAX_THREADS},
    };
    const lc_command command = {.name = "export",
                                .description = "Makes an adapter usable elsewhere. A merge keeps "
                                               "names, dtypes and shards of the base, copies\n"
                                               "its config and tokenizer files, and prints the "
                                               "largest logit difference to base + adapter.\n"
                                               "The directory appears whole or not at all.\n",
                                .examples = "  lorac export --model models/sprout-3m --adapter "
                                            "runs/a/adapter --out runs/merged --merge\n"
                                            "  lorac export --adapter runs/a/adapter --check\n",
                                .options = options,
                                .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    LC_TRY(check_options(&o, err));
    return run_export(&o, err);
}
