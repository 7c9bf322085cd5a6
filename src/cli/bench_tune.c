/*
 * lorac bench --tune. Which products a job makes is seen by running micro-batches of it, forward
 * and backward; then the device times each product's algorithms (cuda/tune.c) and the table is
 * written as jobs read it (job/ledger.h).
 */
#include "cli/bench_tune.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "data/batch.h"
#include "infer/engine.h"
#include "job/adapter.h"
#include "job/ledger.h"
#include "model/model.h"
#include "ops/backend.h"

#define REPETITIONS  20
#define WARM_UP_MS   50.0
#define TOKEN_STREAM 0x74756e65u /* random ids */

typedef struct lc_tuning_run {
    lc_job_spec spec;
    lc_job_resolved resolved;
    lc_model_config config;
    lc_adapter_spec *adapter; /* owned */
    lc_dataset dataset;
    lc_arena arena;
    lc_device *device; /* owned */
    lc_model *model;   /* owned */
    bool is_model_open;
    lc_ledger table;
} lc_tuning_run;

/* ---- the job ---- */

/* A job file of defaults around a model. */
static lc_code default_spec(const char *model_dir, lc_job_spec *spec, lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(&text, "{\"training_file\": \"none\", \"model\": ");
    lc_text_add_json_string(&text, model_dir, strlen(model_dir));
    lc_text_addf(&text, ", \"lorac\": {\"device\": \"cuda\"}}");
    lc_code code = lc_text_finish(&text, "a job", err);
    if (code == LC_OK) {
        code = lc_job_spec_parse(text.data, text.length, "a job of defaults", spec, err);
    }
    lc_text_release(&text);
    return code;
}

static lc_code read_job(const lc_bench_tune_options *options, lc_tuning_run *run, lc_err *err)
{
    LC_TRY(options->job_file != NULL ? lc_job_spec_load(options->job_file, &run->spec, err)
                                     : default_spec(options->model_dir, &run->spec, err));
    if (options->device != NULL) {
        run->spec.device = lc_device_choice(options->device);
    }
    LC_TRY(lc_model_config_load(run->spec.model, &run->config, err));
    return lc_job_adapter_spec(&run->spec, &run->config, &run->adapter, err);
}

static lc_code open_device(lc_tuning_run *run, lc_err *err)
{
    /* Attention has no place in the table. */
    lc_device_options options = {.kind = run->spec.device, .attention = LC_ATTENTION_LORAC};
    LC_TRY(lc_engine_threads(0, &options.threads, err));
    LC_TRY(lc_device_open(&options, &run->device, err));
    if (run->device->choices == NULL) {
        return lc_fail(err, LC_ERR_UNSUPPORTED,
                       "the %s device has nothing to tune: its products have one way of adding up",
                       run->device->ops->name);
    }
    return LC_OK;
}

/* ---- its data ---- */

/* Documents of random tokens, all of them trained, that fill one micro-batch. */
static lc_code draw_data(lc_tuning_run *run, int64_t rows, lc_err *err)
{
    lc_dataset *data = &run->dataset;
    const int64_t context = run->config.max_position;
    const int64_t longest = run->spec.max_seq_len < context ? run->spec.max_seq_len : context;
    const int64_t each = longest - 1; /* a document's last token has no row */
    void *ids = NULL, *weights = NULL, *offsets = NULL;
    lc_rng rng;
    data->example_count = (rows + each - 1) / each;
    data->token_count = rows + data->example_count;
    const size_t tokens = (size_t)data->token_count, count = (size_t)data->example_count + 1;
    LC_TRY(lc_arena_alloc(&data->arena, tokens, sizeof *data->input_ids, &ids, err));
    LC_TRY(lc_arena_alloc(&data->arena, tokens, sizeof *data->loss_weights, &weights, err));
    LC_TRY(lc_arena_alloc(&data->arena, count, sizeof *data->offsets, &offsets, err));
    data->input_ids = ids;
    data->loss_weights = weights;
    data->offsets = offsets;
    data->longest = longest;
    lc_rng_init(&rng, 0, TOKEN_STREAM);
    for (int64_t e = 0; e <= data->example_count; e++) {
        const int64_t first = e * longest;
        data->offsets[e] = first < data->token_count ? first : data->token_count;
    }
    for (int64_t t = 0; t < data->token_count; t++) {
        data->input_ids[t] = (int32_t)lc_rng_below(&rng, (uint64_t)run->config.vocab);
        data->loss_weights[t] = t % longest == 0 ? 0.0f : 1.0f;
    }
    return LC_OK;
}

static lc_code resolve(lc_tuning_run *run, lc_err *err)
{
    const lc_job_facts facts = {
        .example_count = run->dataset.example_count > 0 ? run->dataset.example_count : 1,
        .longest_example = run->dataset.longest > 0 ? run->dataset.longest : 1,
        .model_context = run->config.max_position,
        .device = lc_device_kind_of(run->device)};
    return lc_job_resolve(&run->spec, &facts, 0, &run->resolved, err);
}

static lc_code read_data(const lc_bench_tune_options *options, lc_tuning_run *run, lc_err *err)
{
    const int64_t context = run->config.max_position;
    const int64_t max_tokens = run->spec.max_seq_len < context ? run->spec.max_seq_len : context;
    if (options->job_file != NULL) {
        char date[LC_TEMPLATE_DATE_BYTES];
        const lc_dataset_reading reading = {
            .what = "Training file",
            .max_tokens = max_tokens,
            .use_cache = true,
            .chat_template = lc_job_template_source(&run->spec, lc_unix_seconds(), date)};
        LC_TRY(lc_dataset_load(run->spec.training_file, &reading, run->spec.model,
                               run->config.vocab, &run->dataset, err));
        return resolve(run, err);
    }
    lc_arena_init(&run->dataset.arena, "random tokens");
    LC_TRY(resolve(run, err));
    LC_TRY(draw_data(run, run->resolved.micro_batch_tokens, err));
    run->resolved.batch_size = run->dataset.example_count;
    return LC_OK;
}

/* ---- its products ---- */

static lc_code open_model(lc_tuning_run *run, lc_err *err)
{
    const lc_model_options options = {.dtype = run->resolved.dtype,
                                      .training = true,
                                      .dropout = (float)run->spec.dropout,
                                      .tokens = run->resolved.micro_batch_tokens};
    lc_weight_files *files = NULL;
    void *memory = NULL;
    LC_TRY(lc_new(&memory, 1, sizeof *run->model, "the model", err));
    run->model = memory;
    LC_TRY(lc_weight_files_open(run->spec.model, &files, err));
    const lc_code code =
        lc_model_open(&run->config, run->adapter, files, &options, run->device, run->model, err);
    run->is_model_open = code == LC_OK;
    lc_weight_files_close(files);
    return code;
}

static lc_code run_batches(const lc_bench_tune_options *options, lc_tuning_run *run, lc_err *err)
{
    const lc_job_resolved *resolved = &run->resolved;
    lc_sampler sampler;
    lc_packer packer;
    lc_batch batch;
    int64_t batches = 0;
    LC_TRY(lc_sampler_init(&sampler, &run->dataset, (uint32_t)resolved->seed, run->spec.shuffle,
                           resolved->batch_size, &run->arena, err));
    LC_TRY(lc_packer_init(&packer, &run->dataset, resolved->micro_batch_tokens, run->spec.packing,
                          resolved->batch_size, &run->arena, err));
    LC_TRY(lc_batch_init(&batch, resolved->micro_batch_tokens, &run->arena, err));
    packer.least_shared = lc_model_least_shared(run->model, true);
    const int64_t steps = lc_sampler_steps_per_epoch(&sampler);
    for (int64_t step = 0; step < steps && batches < options->batches; step++) {
        const int64_t *examples = NULL;
        int64_t count = 0;
        lc_sampler_step(&sampler, step, &examples, &count);
        lc_packer_begin(&packer, examples, count);
        while (batches < options->batches && lc_packer_next(&packer, &batch)) {
            LC_TRY(lc_model_batch(run->model, &batch, true, 0, (uint32_t)step, err));
            batches++;
        }
    }
    LC_TRY(run->device->ops->sync(run->device, err));
    printf("%s: %lld micro-batches make %lld kinds of products\n\n", run->device->description,
           (long long)batches, (long long)run->device->choices->count(run->device));
    return LC_OK;
}

/* ---- the table ---- */

static lc_code tune_all(lc_tuning_run *run, lc_err *err)
{
    const lc_choice_ops *choices = run->device->choices;
    const bool is_emulated = lc_device_kind_of(run->device) == LC_DEVICE_EMU;
    const lc_tune_options options = {.repetitions = is_emulated ? 1 : REPETITIONS,
                                     .warm_up_ms = is_emulated ? 0.0 : WARM_UP_MS};
    printf("%-96s %4s %11s %11s %6s\n", "product", "of", "first us", "best us", "gain");
    /* Backwards: what an op is made of has come up after it, and is to be at its best first. */
    for (int64_t i = choices->count(run->device) - 1; i >= 0; i--) {
        lc_tuned tuned;
        lc_choice choice;
        choices->get(run->device, i, &choice);
        LC_TRY(choices->tune(run->device, i, &options, &tuned, err));
        printf("%-96s %4d %11.1f %11.1f %5.1f%%\n", choice.product, tuned.candidates,
               tuned.first_us, tuned.best_us,
               tuned.first_us > 0.0 ? 100.0 * (1.0 - tuned.best_us / tuned.first_us) : 0.0);
    }
    return LC_OK;
}

/* What an older table of the same device has for other products stays. */
static lc_code keep_others(lc_ledger *table, const char *path, lc_err *err)
{
    char difference[LC_LEDGER_DIFFERENCE_BYTES];
    lc_ledger older;
    lc_err why = {.code = LC_OK};
    lc_code code = lc_ledger_load(path, &older, &why);
    if (code != LC_OK || lc_tuning_difference(&older, table, difference)) {
        lc_ledger_release(&older); /* none, or of no use any more */
        return code == LC_OK || code == LC_ERR_NOT_FOUND || code == LC_ERR_INVALID
                   ? LC_OK
                   : lc_fail(err, code, "%s", why.message);
    }
    for (int64_t i = 0; i < older.count && code == LC_OK; i++) {
        if (lc_ledger_find(table, older.choices[i].product) == NULL) {
            code = lc_ledger_add(table, &older.choices[i], err);
        }
    }
    lc_ledger_release(&older);
    return code;
}

static lc_code make_parent(const char *path, lc_err *err)
{
    char parent[LC_MAX_PATH_BYTES];
    (void)snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash == NULL || slash == parent) {
        return LC_OK;
    }
    *slash = '\0';
    return lc_mkdir_parents(parent, err);
}

static lc_code write_table(const lc_bench_tune_options *options, lc_tuning_run *run, lc_err *err)
{
    char usual[LC_MAX_PATH_BYTES] = "";
    bool is_named = false;
    int64_t added = 0;
    lc_ledger_of_device(run->device, &run->table);
    LC_TRY(lc_ledger_take(&run->table, run->device, &added, err));
    LC_TRY(lc_tuning_path(&run->table, &is_named, usual, err));
    const char *path = options->out_file != NULL ? options->out_file : usual;
    if (path[0] == '\0') {
        return lc_fail(err, LC_ERR_USAGE, "there is no place for the table: give one with --out");
    }
    LC_TRY(keep_others(&run->table, path, err));
    LC_TRY(make_parent(path, err));
    LC_TRY(lc_ledger_save(&run->table, path, err));
    printf("\n%s: %lld choices\n", path, (long long)run->table.count);
    return LC_OK;
}

static void release(lc_tuning_run *run)
{
    if (run->is_model_open) {
        lc_model_close(run->model);
    }
    lc_free(run->model);
    if (run->device != NULL) {
        run->device->ops->close(run->device);
    }
    lc_ledger_release(&run->table);
    lc_dataset_release(&run->dataset);
    lc_free(run->adapter);
    lc_job_spec_release(&run->spec);
    lc_arena_release(&run->arena);
    lc_free(run);
}

lc_code lc_bench_tune(const lc_bench_tune_options *options, lc_err *err)
{
    lc_tuning_run *run = lc_calloc(1, sizeof *run);
    lc_code code;
    if (run == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to tune");
    }
    lc_arena_init(&run->arena, "tuning");
    lc_arena_init(&run->spec.arena, "job");
    const double began = lc_monotonic_seconds();
    LC_TRY_GOTO(read_job(options, run, err));
    LC_TRY_GOTO(open_device(run, err));
    LC_TRY_GOTO(read_data(options, run, err));
    LC_TRY_GOTO(open_model(run, err));
    LC_TRY_GOTO(run_batches(options, run, err));
    LC_TRY_GOTO(tune_all(run, err));
    LC_TRY_GOTO(write_table(options, run, err));
    printf("%.1f s\n", lc_monotonic_seconds() - began);
fail:
    release(run);
    return code;
}
