/*
 * lorac bench step: whole training steps, as `lorac train` runs them, without a job around them.
 * Also what the comparison with other trainers reads: losses, norms and, on request, the gradients
 * of the first step.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/format.h"
#include "base/rng.h"
#include "base/thread.h"
#include "cli/bench.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "infer/engine.h"
#include "lorac/mem.h"
#include "ops/backend.h"
#include "train/step.h"

#define MAX_STEPS   1000
#define MAX_TOKENS  (INT64_C(1) << 20)
#define LONGEST     4096
#define DATA_STREAM 0x73746570u /* random ids */

typedef struct lc_step_options {
    const char *model, *adapter, *data, *gradients, *device, *dtype;
    int64_t rank, tokens, length, micro_batches, steps, threads;
    double learning_rate;
    bool frozen, deterministic, json;
} lc_step_options;

typedef struct lc_step_bench {
    lc_step_options options;
    lc_model_config config;
    lc_adapter_spec spec;
    lc_dataset data;
    lc_device *device; /* owned */
    lc_model model;
    bool is_model_open;
    float *master; /* owned: the adapter in host memory; later the gradients of step 1 */
    lc_train_options train;
    lc_comm comm;
    lc_step step;
    lc_arena arena;
    double began, start_seconds;   /* of the command; until step 1 begins */
    double load_seconds;           /* of that, memory for the model and its weights */
    int64_t load_bytes;            /* of the weights, as in the files */
    int64_t memory_before, memory; /* of the device */
    double seconds[MAX_STEPS], losses[MAX_STEPS], grad_norms[MAX_STEPS];
} lc_step_bench;

/* ---- what is trained ---- */

static lc_code read_adapter(lc_step_bench *bench, lc_err *err)
{
    const lc_step_options *options = &bench->options;
    static const char *const lowest[] = {"q_proj"};
    static const int32_t first = 0;
    lc_lora_options lora = {
        .rank = (int32_t)options->rank, .alpha = 2.0 * (double)options->rank, .all_linear = true};
    if (options->frozen) { /* the least that makes the backward pass go all the way */
        lora.all_linear = false;
        lora.targets = lowest;
        lora.layers = &first;
        lora.target_count = lora.layer_count = 1;
    }
    void *memory = NULL;
    LC_TRY(options->adapter != NULL
               ? lc_adapter_spec_load(options->adapter, &bench->config, &bench->spec, err)
               : lc_adapter_spec_build(&bench->config, &lora, &bench->spec, err));
    LC_TRY(lc_new(&memory, (size_t)bench->spec.master_count, sizeof(float), "the adapter", err));
    bench->master = memory;
    if (options->adapter != NULL) {
        return lc_adapter_load(options->adapter, &bench->spec, &bench->config, bench->master, err);
    }
    lc_adapter_init(&bench->spec, &bench->config, 1, bench->master);
    return LC_OK;
}

/* As many documents of random ids as a step takes; each step trains on them again. */
static lc_code make_data(lc_step_bench *bench, int64_t documents, int64_t length, lc_err *err)
{
    lc_dataset *data = &bench->data;
    lc_rng rng;
    void *memory = NULL;
    *data = (lc_dataset){.example_count = documents,
                         .token_count = documents * length,
                         .longest = length,
                         .target_count = documents * (length - 1)};
    lc_arena_init(&data->arena, "random data");
    LC_TRY(lc_arena_alloc(&data->arena, (size_t)data->token_count, sizeof(int32_t), &memory, err));
    data->input_ids = memory;
    LC_TRY(lc_arena_alloc(&data->arena, (size_t)data->token_count, sizeof(float), &memory, err));
    data->loss_weights = memory;
    LC_TRY(lc_arena_alloc(&data->arena, (size_t)documents + 1, sizeof(int64_t), &memory, err));
    data->offsets = memory;
    lc_rng_init(&rng, 1, DATA_STREAM);
    for (int64_t i = 0; i < data->token_count; i++) {
        data->input_ids[i] = (int32_t)lc_rng_below(&rng, (uint64_t)bench->config.vocab);
        data->loss_weights[i] = i % length == 0 ? 0.0f : 1.0f;
    }
    for (int64_t i = 0; i <= documents; i++) {
        data->offsets[i] = i * length;
    }
    return LC_OK;
}

static lc_code read_data(lc_step_bench *bench, lc_err *err)
{
    lc_step_options *options = &bench->options;
    if (options->data != NULL) {
        LC_TRY(lc_dataset_load_tokenized(options->data, bench->config.vocab, options->tokens,
                                         &bench->data, err));
        options->length = bench->data.longest;
        return LC_OK;
    }
    if (options->length == 0) {
        options->length = options->tokens < LONGEST ? options->tokens : LONGEST;
    }
    if (options->length > options->tokens || options->length < 2) {
        return lc_fail(err, LC_ERR_USAGE, "--seq %lld does not fit into --tokens %lld",
                       (long long)options->length, (long long)options->tokens);
    }
    return make_data(bench, options->tokens / options->length * options->micro_batches,
                     options->length, err);
}

/* ---- opening ---- */

static lc_code open_model(lc_step_bench *bench, lc_err *err)
{
    const lc_step_options *options = &bench->options;
    const bool is_bf16 = strcmp(options->dtype, "bf16") == 0 ||
                         (strcmp(options->dtype, "auto") == 0 && !bench->device->is_host);
    const lc_model_options model = {
        .dtype = is_bf16 ? LC_BF16 : LC_F32, .training = true, .tokens = options->tokens};
    lc_weight_files *files = NULL;
    const double began = lc_monotonic_seconds();
    LC_TRY(lc_weight_files_open(options->model, &files, err));
    const lc_code code = lc_model_open(&bench->config, &bench->spec, files, &model, bench->device,
                                       &bench->model, err);
    bench->load_seconds = lc_monotonic_seconds() - began;
    bench->load_bytes = lc_weight_files_bytes(files);
    bench->is_model_open = code == LC_OK;
    lc_weight_files_close(files);
    LC_TRY(code);
    LC_TRY(lc_model_set_masters(&bench->model, bench->master, err));
    return lc_model_set_updates(&bench->model, 0, err);
}

static lc_code open_step(lc_step_bench *bench, lc_err *err)
{
    const lc_step_options *options = &bench->options;
    lc_step *step = &bench->step;
    const int64_t documents = options->tokens / options->length * options->micro_batches;
    bench->train = (lc_train_options){.seed = 1,
                                      .batch_size = documents,
                                      .total_steps = options->steps,
                                      .micro_batch_tokens = options->tokens,
                                      .packing = true,
                                      .schedule = LC_SCHEDULE_CONSTANT,
                                      .learning_rate = options->learning_rate,
                                      .grad_clip = 1.0};
    lc_comm_single_init(&bench->comm);
    step->model = &bench->model;
    step->comm = &bench->comm;
    step->options = &bench->train;
    LC_TRY(lc_sampler_init(&step->sampler, &bench->data, 1, false, documents, &bench->arena, err));
    LC_TRY(lc_packer_init(&step->packer, &bench->data, options->tokens, true, documents,
                          &bench->arena, err));
    step->packer.least_shared = lc_model_least_shared(&bench->model, true);
    return lc_batch_init(&step->batch, options->tokens, &bench->arena, err);
}

static lc_code open_all(lc_step_bench *bench, lc_err *err)
{
    lc_step_options *options = &bench->options;
    int64_t available = 0;
    int threads = 0;
    LC_TRY(lc_model_config_load(options->model, &bench->config, err));
    LC_TRY(read_adapter(bench, err));
    LC_TRY(lc_engine_threads(options->threads, &threads, err));
    const lc_device_options device = {.kind = lc_device_choice(options->device),
                                      .threads = threads,
                                      .deterministic = options->deterministic};
    LC_TRY(lc_device_open(&device, &bench->device, err));
    if (options->tokens == 0) {
        options->tokens = bench->device->is_host ? 512 : 8192;
    }
    LC_TRY(read_data(bench, err));
    LC_TRY(bench->device->ops->memory(bench->device, &bench->memory_before, &available, err));
    LC_TRY(open_model(bench, err));
    return open_step(bench, err);
}

static void close_all(lc_step_bench *bench)
{
    if (bench->is_model_open) {
        lc_model_close(&bench->model);
    }
    if (bench->device != NULL) {
        bench->device->ops->close(bench->device);
    }
    lc_dataset_release(&bench->data);
    lc_free(bench->master);
    lc_arena_release(&bench->arena);
}

/* ---- running ---- */

/* Gradients of the mean loss, named and laid out as the adapter that they belong to. */
static lc_code save_gradients(lc_step_bench *bench, lc_err *err)
{
    const size_t count = (size_t)bench->spec.master_count;
    const lc_adapter_meta meta = {.base_model = bench->options.model};
    LC_TRY(bench->device->ops->download(bench->device, bench->master, bench->model.grad,
                                        count * sizeof(float), err));
    for (size_t i = 0; i < count; i++) {
        bench->master[i] = (float)((double)bench->master[i] / bench->step.known.weight);
    }
    return lc_adapter_save(bench->options.gradients, &bench->spec, &bench->config, bench->master,
                           &meta, err);
}

/* As a job does between checkpoints; not in the first step, whose gradients may be wanted. */
static bool may_run_ahead(const lc_step_bench *bench, int64_t index)
{
    return !bench->device->is_host && index > 0 && index + 1 < bench->options.steps;
}

static lc_code run_step(lc_step_bench *bench, int64_t index, lc_err *err)
{
    const lc_step *step = &bench->step;
    const double began = lc_monotonic_seconds();
    LC_TRY(lc_step_run(&bench->step, index, may_run_ahead(bench, index), err));
    bench->seconds[index] = lc_monotonic_seconds() - began;
    bench->losses[index] = step->sums.weight > 0.0 ? step->sums.loss / step->sums.weight : 0.0;
    bench->grad_norms[index] = step->grad_norm;
    if (!bench->options.json) {
        printf("step %lld: %.1f ms, loss %.5f, gradient %.5g\n", (long long)index + 1,
               bench->seconds[index] * 1e3, bench->losses[index], step->grad_norm);
        (void)fflush(stdout);
    }
    if (step->is_skipped) {
        return lc_fail(err, LC_ERR_NUMERIC, "step %lld: loss or gradient is not finite",
                       (long long)index + 1);
    }
    return index == 0 && bench->options.gradients != NULL ? save_gradients(bench, err) : LC_OK;
}

/* Memory does not grow in a step; what libraries take on their first call has been taken then. */
static lc_code run_steps(lc_step_bench *bench, lc_err *err)
{
    int64_t used = 0, available = 0;
    bench->start_seconds = lc_monotonic_seconds() - bench->began;
    if (bench->options.json) {
        printf("{\"event\": \"begin\"}\n");
        (void)fflush(stdout);
    }
    for (int64_t step = 0; step < bench->options.steps; step++) {
        LC_TRY(run_step(bench, step, err));
    }
    LC_TRY(bench->device->ops->memory(bench->device, &used, &available, err));
    bench->memory = used - bench->memory_before;
    return LC_OK;
}

/* Median over the steps but the first, which also prepares what the others find. */
static double median_seconds(const lc_step_bench *bench)
{
    double sorted[MAX_STEPS];
    const int64_t first = bench->options.steps > 1 ? 1 : 0;
    int64_t count = 0;
    for (int64_t i = first; i < bench->options.steps; i++) {
        int64_t at = count++;
        for (; at > 0 && sorted[at - 1] > bench->seconds[i]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = bench->seconds[i];
    }
    return sorted[count / 2];
}

/* ---- results ---- */

/* Bytes of weights a second, memory for the model included. */
static double load_rate(const lc_step_bench *bench)
{
    return (double)bench->load_bytes / bench->load_seconds;
}

static void add_numbers(lc_text *text, const char *name, const double *values, int64_t count)
{
    lc_text_addf(text, ", \"%s\": [", name);
    for (int64_t i = 0; i < count; i++) {
        lc_text_addf(text, "%s", i == 0 ? "" : ", ");
        lc_text_add_double(text, values[i]);
    }
    lc_text_addf(text, "]");
}

/* Who does attention: the fact that a job's ledger would have. */
static void name_attention(const lc_device *device, char out[LC_FACT_BYTES])
{
    lc_fact facts[LC_MAX_FACTS];
    const int count = device->choices != NULL ? device->choices->facts(device, facts) : 0;
    (void)snprintf(out, LC_FACT_BYTES, "lorac");
    for (int i = 0; i < count; i++) {
        if (strcmp(facts[i].name, "attention") == 0) {
            memcpy(out, facts[i].value, LC_FACT_BYTES);
        }
    }
}

static lc_code print_json(const lc_step_bench *bench, double seconds, lc_err *err)
{
    const lc_step_options *options = &bench->options;
    char attention[LC_FACT_BYTES];
    name_attention(bench->device, attention);
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(&text, "{\"device\": ");
    lc_text_add_json_string(&text, bench->device->description, strlen(bench->device->description));
    lc_text_addf(&text, ", \"model\": ");
    lc_text_add_json_string(&text, options->model, strlen(options->model));
    lc_text_addf(&text,
                 ", \"dtype\": \"%s\", \"micro_batch_tokens\": %lld, \"seq\": %lld, "
                 "\"tokens_per_step\": %lld, \"trained_parameters\": %lld, \"tokens_per_s\": %.3f, "
                 "\"ms_per_step\": %.4f, \"memory\": %lld, \"plan_bytes\": %lld, "
                 "\"start_seconds\": %.4f, \"load_seconds\": %.4f, \"load_gb_per_s\": %.3f, "
                 "\"attention\": \"%s\"",
                 lc_dtype_name(bench->model.dtype), (long long)options->tokens,
                 (long long)options->length, (long long)bench->step.known.tokens,
                 (long long)bench->spec.parameter_count, (double)bench->step.known.tokens / seconds,
                 seconds * 1e3, (long long)bench->memory,
                 (long long)lc_plan_total(&bench->model.plan), bench->start_seconds,
                 bench->load_seconds, load_rate(bench) * 1e-9, attention);
    add_numbers(&text, "losses", bench->losses, options->steps);
    add_numbers(&text, "grad_norms", bench->grad_norms, options->steps);
    add_numbers(&text, "step_seconds", bench->seconds, options->steps);
    lc_text_addf(&text, "}");
    return lc_print_text(&text, err);
}

static void print_for_people(const lc_step_bench *bench, double seconds)
{
    char memory[LC_FORMAT_BYTES], rate[LC_FORMAT_BYTES];
    printf("%s\n%lld tokens a step, rows of %lld: %s tokens/s, %.1f ms a step (median), %s of "
           "memory, step 1 after %.2f s, of which the weights took %.2f s (%.2f GB/s)\n",
           bench->device->description, (long long)bench->step.known.tokens,
           (long long)bench->options.length,
           lc_format_count((double)bench->step.known.tokens / seconds, rate), seconds * 1e3,
           lc_format_size(bench->memory, memory), bench->start_seconds, bench->load_seconds,
           load_rate(bench) * 1e-9);
}

static lc_code run(lc_step_bench *bench, lc_err *err)
{
    LC_TRY(open_all(bench, err));
    LC_TRY(run_steps(bench, err));
    const double seconds = median_seconds(bench);
    if (bench->options.json) {
        return print_json(bench, seconds, err);
    }
    print_for_people(bench, seconds);
    return LC_OK;
}

static lc_code run_with(const lc_step_options *options, double began, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof(lc_step_bench), "the benchmark", err));
    lc_step_bench *bench = memory;
    bench->options = *options;
    bench->began = began;
    lc_arena_init(&bench->arena, "bench");
    lc_arena_init(&bench->data.arena, "data");
    const lc_code code = run(bench, err);
    close_all(bench);
    lc_free(bench);
    return code;
}

lc_code lc_bench_step(int argc, char **argv, lc_err *err)
{
    const double began = lc_monotonic_seconds();
    lc_step_options o = {.device = "auto",
                         .dtype = "auto",
                         .rank = 16,
                         .micro_batches = 1,
                         .steps = 8,
                         .learning_rate = 1e-4};
    bool done = false;
    const lc_option options[] = {
        {.name = "--model",
         .value = "DIR",
         .help = "base model directory; scripts/make_random_model makes one of any shape",
         .text = &o.model,
         .is_required = true},
        {.name = "--adapter",
         .value = "DIR",
         .help = "PEFT adapter to begin with",
         .fallback = "a fresh one of --rank on all linears",
         .text = &o.adapter},
        {.name = "--rank",
         .value = "R",
         .help = "of a fresh adapter; alpha is twice that",
         .fallback = "16",
         .integer = &o.rank,
         .low = 1,
         .high = LC_MAX_RANK},
        {.name = "--data",
         .value = "FILE",
         .help = "tokenized data set (.safetensors), taken in order",
         .fallback = "random tokens",
         .text = &o.data},
        {.name = "--tokens",
         .value = "N",
         .help = "rows of a micro-batch",
         .fallback = "8192 on a GPU, 512 on the CPU",
         .integer = &o.tokens,
         .low = 2,
         .high = MAX_TOKENS},
        {.name = "--seq",
         .value = "S",
         .help = "tokens of a document",
         .fallback = "4096, or of --data the longest",
         .integer = &o.length,
         .low = 2,
         .high = MAX_TOKENS},
        {.name = "--micro-batches",
         .value = "N",
         .help = "of a step",
         .fallback = "1",
         .integer = &o.micro_batches,
         .low = 1,
         .high = 256},
        {.name = "--steps",
         .value = "N",
         .help = "steps to run; the first one is not counted",
         .fallback = "8",
         .integer = &o.steps,
         .low = 1,
         .high = MAX_STEPS},
        {.name = "--learning-rate",
         .value = "X",
         .help = "of AdamW, constant",
         .fallback = "1e-4",
         .number = &o.learning_rate,
         .min = 0.0,
         .max = 1.0},
        {.name = "--gradients",
         .value = "DIR",
         .help = "existing directory for the gradients of step 1, as an adapter",
         .text = &o.gradients},
        {.name = "--device",
         .value = "NAME",
         .help = "cpu, cuda or auto",
         .fallback = "auto",
         .text = &o.device,
         .choices = lc_device_choices},
        {.name = "--dtype",
         .value = "NAME",
         .help = "of the base: fp32, bf16 or auto",
         .fallback = "auto",
         .text = &o.dtype,
         .choices = lc_dtype_choices},
        {.name = "--frozen",
         .help = "adapt q_proj of the first layer alone: what a step costs without adapters",
         .flag = &o.frozen},
        {.name = "--deterministic",
         .help = "as a job with lorac.deterministic: nothing that may give other bytes",
         .flag = &o.deterministic},
        {.name = "--json",
         .help = "print the result as JSON, behind a line when step 1 begins",
         .flag = &o.json},
        {.name = "--threads",
         .value = "N",
         .help = "compute threads of the CPU",
         .fallback = "LORAC_THREADS, else all cores of this process",
         .integer = &o.threads,
         .low = 1,
         .high = LC_MAX_THREADS},
    };
    const lc_command command = {
        .name = "bench step",
        .description = "Runs whole training steps and prints tokens/s, the median step, the memory "
                       "that the device\n"
                       "holds for them, and the time until step 1 begins.\n",
        .examples = "  lorac bench step --model models/sprout-3m --tokens 512 --steps 5\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    return done ? LC_OK : run_with(&o, began, err);
}
