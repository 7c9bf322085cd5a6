/*
 * The model's passes and the trainer behind a command line, for test_parity.py and bf16_test.py:
 *   parity_probe grad   ... --out FILE   loss and gradients of one step over the whole data set
 *   parity_probe logits ... --out FILE   logits of every token, through the generation path
 *   parity_probe train  ... --out DIR    trains in file order, writes the adapter
 * each with --model DIR --data FILE --adapter DIR, on the device and in the type that
 * LORAC_TEST_DEVICE and LORAC_TEST_DTYPE name. Results go into a safetensors file, or as JSON or
 * lines of numbers to the standard output.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity.h"

typedef struct probe_options {
    parity_options options;
    parity_step step;
    lc_train_options train;
    const char *out;
    int64_t chunk; /* tokens of one generation call */
    int64_t steps;
} probe_options;

enum {
    OPTION_MODEL = 1,
    OPTION_DATA,
    OPTION_ADAPTER,
    OPTION_OUT,
    OPTION_TOKENS,
    OPTION_PACKING,
    OPTION_DOCUMENTS,
    OPTION_DROPOUT,
    OPTION_SEED,
    OPTION_STEP,
    OPTION_THREADS,
    OPTION_CHUNK,
    OPTION_STEPS,
    OPTION_BATCH,
    OPTION_LR,
    OPTION_CLIP,
    OPTION_WARMUP,
    OPTION_DECAY,
    OPTION_SCHEDULE
};

static const struct option option_table[] = {
    {"model", required_argument, NULL, OPTION_MODEL},
    {"data", required_argument, NULL, OPTION_DATA},
    {"adapter", required_argument, NULL, OPTION_ADAPTER},
    {"out", required_argument, NULL, OPTION_OUT},
    {"tokens", required_argument, NULL, OPTION_TOKENS},
    {"packing", required_argument, NULL, OPTION_PACKING},
    {"documents", required_argument, NULL, OPTION_DOCUMENTS},
    {"dropout", required_argument, NULL, OPTION_DROPOUT},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"step", required_argument, NULL, OPTION_STEP},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"chunk", required_argument, NULL, OPTION_CHUNK},
    {"steps", required_argument, NULL, OPTION_STEPS},
    {"batch", required_argument, NULL, OPTION_BATCH},
    {"lr", required_argument, NULL, OPTION_LR},
    {"clip", required_argument, NULL, OPTION_CLIP},
    {"warmup", required_argument, NULL, OPTION_WARMUP},
    {"decay", required_argument, NULL, OPTION_DECAY},
    {"schedule", required_argument, NULL, OPTION_SCHEDULE},
    {NULL, 0, NULL, 0}};

static lc_schedule schedule_of(const char *name)
{
    if (strcmp(name, "linear") == 0) {
        return LC_SCHEDULE_LINEAR;
    }
    return strcmp(name, "constant") == 0 ? LC_SCHEDULE_CONSTANT : LC_SCHEDULE_COSINE;
}

static bool set_number(probe_options *probe, int option, const char *text)
{
    const double value = strtod(text, NULL);
    const int64_t whole = (int64_t)value;
    switch (option) {
    case OPTION_TOKENS:
        probe->options.tokens = whole;
        return true;
    case OPTION_PACKING:
        probe->step.packing = whole != 0;
        return true;
    case OPTION_DOCUMENTS:
        probe->step.documents = whole;
        return true;
    case OPTION_DROPOUT:
        probe->options.dropout = (float)value;
        return true;
    case OPTION_SEED:
        probe->step.seed = (uint32_t)whole;
        return true;
    case OPTION_STEP:
        probe->step.step = (uint32_t)whole;
        return true;
    case OPTION_THREADS:
        probe->options.threads = (int)whole;
        return true;
    case OPTION_CHUNK:
        probe->chunk = whole;
        return true;
    case OPTION_STEPS:
        probe->steps = whole;
        return true;
    case OPTION_BATCH:
        probe->train.batch_size = whole;
        return true;
    case OPTION_LR:
        probe->train.learning_rate = value;
        return true;
    case OPTION_CLIP:
        probe->train.grad_clip = value;
        return true;
    case OPTION_WARMUP:
        probe->train.warmup_steps = whole;
        return true;
    case OPTION_DECAY:
        probe->train.weight_decay = value;
        return true;
    default:
        return false;
    }
}

static bool parse(probe_options *probe, int argc, char **argv)
{
    int option;
    while ((option = getopt_long(argc, argv, "", option_table, NULL)) != -1) {
        switch (option) {
        case OPTION_MODEL:
            probe->options.model_dir = optarg;
            break;
        case OPTION_DATA:
            probe->options.dataset_path = optarg;
            break;
        case OPTION_ADAPTER:
            probe->options.adapter_dir = optarg;
            break;
        case OPTION_OUT:
            probe->out = optarg;
            break;
        case OPTION_SCHEDULE:
            probe->train.schedule = schedule_of(optarg);
            break;
        default:
            if (!set_number(probe, option, optarg)) {
                return false;
            }
        }
    }
    return optind == argc - 1 && probe->options.model_dir != NULL &&
           probe->options.dataset_path != NULL && probe->options.adapter_dir != NULL &&
           probe->out != NULL;
}

/* ---- grad ---- */

/* A contiguous copy of one tensor of the padded gradient buffer. */
static lc_code cut_out(const parity_tensor *tensor, const float *grad, lc_arena *arena, float **out,
                       lc_err *err)
{
    void *memory = NULL;
    LC_TRY(
        lc_arena_alloc(arena, (size_t)(tensor->rows * tensor->cols), sizeof(float), &memory, err));
    float *values = memory;
    for (int64_t row = 0; row < tensor->rows; row++) {
        memcpy(values + row * tensor->cols, grad + tensor->offset + row * tensor->ld,
               (size_t)tensor->cols * sizeof(float));
    }
    *out = values;
    return LC_OK;
}

static lc_code write_gradients(const parity_run *run, const float *grad, const char *path,
                               lc_arena *arena, lc_err *err)
{
    const int64_t most = (int64_t)run->config.layers * LC_MODULE_COUNT * 2;
    void *memory = NULL;
    LC_TRY(lc_arena_alloc(arena, (size_t)most, sizeof(parity_tensor), &memory, err));
    parity_tensor *tensors = memory;
    LC_TRY(lc_arena_alloc(arena, (size_t)most, sizeof(lc_tensor_out), &memory, err));
    lc_tensor_out *outs = memory;
    int64_t count = 0;
    for (; parity_tensor_at(run, count, &tensors[count]); count++) {
        float *values = NULL;
        LC_TRY(cut_out(&tensors[count], grad, arena, &values, err));
        const lc_tensor_out out = {.name = tensors[count].name,
                                   .dtype = LC_F32,
                                   .rank = 2,
                                   .shape = {tensors[count].rows, tensors[count].cols},
                                   .data = values};
        outs[count] = out;
    }
    return lc_safetensors_write(path, outs, count, NULL, 0, NULL, NULL, err);
}

static lc_code run_grad(const probe_options *probe, parity_run *run, lc_err *err)
{
    lc_sums sums;
    void *memory = NULL;
    lc_arena arena;
    lc_arena_init(&arena, "probe");
    lc_code code =
        lc_arena_alloc(&arena, (size_t)run->spec.master_count, sizeof(float), &memory, err);
    if (code == LC_OK) {
        code = parity_gradient(run, &probe->step, memory, &sums, err);
    }
    if (code == LC_OK) {
        code = write_gradients(run, memory, probe->out, &arena, err);
    }
    if (code == LC_OK) {
        printf("{\"loss\": %.17g, \"weight\": %.17g, \"correct\": %.17g, \"targets\": %.17g}\n",
               sums.loss, sums.weight, sums.correct, sums.targets);
    }
    lc_arena_release(&arena);
    return code;
}

/* ---- logits ---- */

static lc_code run_logits(const probe_options *probe, parity_run *run, lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, (size_t)(run->dataset.token_count * run->config.vocab), sizeof(float),
                  "logits", err));
    float *all = memory;
    lc_code code = LC_OK;
    for (int64_t i = 0; i < run->dataset.example_count && code == LC_OK; i++) {
        const int64_t begin = run->dataset.offsets[i], length = run->dataset.offsets[i + 1] - begin;
        float *logits = NULL;
        code = parity_logits(run, i, probe->chunk, &logits, err);
        if (code == LC_OK) {
            memcpy(all + begin * run->config.vocab, logits,
                   (size_t)(length * run->config.vocab) * sizeof(float));
        }
        lc_free(logits);
    }
    if (code == LC_OK) {
        const lc_tensor_out out = {.name = "logits",
                                   .dtype = LC_F32,
                                   .rank = 2,
                                   .shape = {run->dataset.token_count, run->config.vocab},
                                   .data = all};
        code = lc_safetensors_write(probe->out, &out, 1, NULL, 0, NULL, NULL, err);
    }
    lc_free(all);
    return code;
}

/* ---- train ---- */

static lc_code run_train(probe_options *probe, parity_run *run, lc_err *err)
{
    lc_train_options *train = &probe->train;
    const lc_adapter_meta meta = {.base_model = probe->options.model_dir,
                                  .dropout = probe->options.dropout};
    void *memory = NULL;
    train->seed = probe->step.seed;
    train->packing = probe->step.packing;
    train->micro_batch_tokens = probe->options.tokens;
    train->total_steps = probe->steps;
    train->steps_per_epoch =
        (run->dataset.example_count + train->batch_size - 1) / train->batch_size;
    train->eval_every_steps = 1;
    train->checkpoint_every_steps = probe->steps;
    LC_TRY(lc_new(&memory, (size_t)probe->steps, sizeof(double), "losses", err));
    double *losses = memory;
    lc_code code = parity_train(run, train, losses, err);
    if (code == LC_OK) {
        code = lc_adapter_save(probe->out, &run->spec, &run->config, run->master, &meta, err);
    }
    for (int64_t i = 0; i < probe->steps && code == LC_OK; i++) {
        printf("%.17g\n", losses[i]);
    }
    lc_free(losses);
    return code;
}

int main(int argc, char **argv)
{
    probe_options probe = {.options = {.tokens = 128,
                                       .threads = 1,
                                       .device = parity_device(),
                                       .dtype = parity_dtype()},
                           .step = {.packing = true},
                           .train = {.batch_size = 4, .learning_rate = 1e-3},
                           .chunk = PARITY_CHUNK,
                           .steps = 1};
    lc_err err = {0};
    parity_run *run = NULL;
    if (!parse(&probe, argc, argv)) {
        fprintf(stderr, "usage: parity_probe grad|logits|train --model DIR --data FILE --adapter "
                        "DIR --out PATH ...\n");
        return 2;
    }
    const char *verb = argv[optind];
    probe.options.generation = strcmp(verb, "logits") == 0;
    lc_code code = parity_open(&probe.options, &run, &err);
    if (code == LC_OK && strcmp(verb, "grad") == 0) {
        code = run_grad(&probe, run, &err);
    } else if (code == LC_OK && strcmp(verb, "train") == 0) {
        code = run_train(&probe, run, &err);
    } else if (code == LC_OK) {
        code = run_logits(&probe, run, &err);
    }
    parity_close(run);
    if (code != LC_OK) {
        fprintf(stderr, "parity_probe: %s\n", err.message);
    }
    return lc_code_exit_status(code);
}
