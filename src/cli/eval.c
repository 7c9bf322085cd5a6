/*
 * lorac eval: loss and token accuracy of a file by teacher forcing, and exact match by greedy
 * generation of each row's last answer, many rows at once.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "cli/commands.h"
#include "cli/eval_rows.h"
#include "cli/terminal.h"
#include "cli/options.h"
#include "cli/template_options.h"
#include "infer/engine.h"
#include "infer/generate.h"
#include "infer/stop_ids.h"
#include "lorac/mem.h"

#define EVAL_TOKENS     512 /* rows of one pass, unless an example is longer */
#define EVAL_SLOTS      64  /* sequences generated at once, unless the cache would be too large */
#define MAX_CACHE_BYTES ((int64_t)1 << 30)
#define PACKER_EXAMPLES 256
#define MAX_GROUPS      64

typedef struct lc_eval_options {
    const char *file, *model_dir, *adapter_dir, *by, *dtype, *device;
    lc_template_options chat_template;
    int64_t max_tokens, limit, max_seq_len, threads;
    bool json, verbose;
} lc_eval_options;

typedef struct lc_eval {
    const lc_eval_options *options;
    lc_engine engine;
    lc_tokenizer *tokenizer;         /* owned; NULL for a tokenized file */
    lc_chat_template *chat_template; /* owned; NULL for a tokenized file */
    lc_eval_rows rows;               /* JSONL */
    lc_dataset tokenized;            /* .safetensors */
    bool is_tokenized;
    lc_sums sums;
    int64_t exact, unanswered;
    double seconds;
} lc_eval;

/* ---- loss ---- */

static lc_code sum_chunk(lc_eval *eval, lc_packer *packer, lc_batch *batch, int64_t first,
                         int64_t count, lc_err *err)
{
    int64_t examples[PACKER_EXAMPLES];
    for (int64_t i = 0; i < count; i++) {
        examples[i] = first + i;
    }
    lc_packer_begin(packer, examples, count);
    while (lc_packer_next(packer, batch)) {
        LC_TRY(lc_model_batch(eval->engine.model, batch, false, 0, 0, err));
    }
    return LC_OK;
}

static lc_code measure_loss(lc_eval *eval, const lc_dataset *dataset, int64_t count, lc_err *err)
{
    lc_arena arena;
    lc_packer packer;
    lc_batch batch;
    lc_code code;
    lc_arena_init(&arena, "evaluation");
    LC_TRY_GOTO(lc_packer_init(&packer, dataset, eval->engine.model->tokens, true, PACKER_EXAMPLES,
                               &arena, err));
    packer.least_shared = lc_model_least_shared(eval->engine.model, false);
    LC_TRY_GOTO(lc_batch_init(&batch, eval->engine.model->tokens, &arena, err));
    LC_TRY_GOTO(lc_model_clear_sums(eval->engine.model, err));
    for (int64_t first = 0; first < count; first += PACKER_EXAMPLES) {
        const int64_t left = count - first;
        LC_TRY_GOTO(sum_chunk(eval, &packer, &batch, first,
                              left < PACKER_EXAMPLES ? left : PACKER_EXAMPLES, err));
    }
    LC_TRY_GOTO(lc_model_read_sums(eval->engine.model, &eval->sums, err));
fail:
    lc_arena_release(&arena);
    return code;
}

/* ---- exact match ---- */

static lc_code keep_token(void *context, const lc_generated *token, lc_err *err)
{
    lc_eval *eval = context;
    lc_tokens *answer = &eval->rows.rows[token->number].answer;
    if (token->finish == LC_FINISH_STOP) {
        return LC_OK;
    }
    if (answer->count == answer->capacity) {
        const size_t capacity = answer->capacity == 0 ? 32 : answer->capacity * 2;
        int32_t *grown = lc_realloc(answer->ids, capacity * sizeof *grown);
        if (grown == NULL) {
            return lc_fail(err, LC_ERR_MEMORY, "no memory for an answer");
        }
        answer->ids = grown;
        answer->capacity = capacity;
    }
    answer->ids[answer->count++] = token->id;
    return LC_OK;
}

/* An answer that becomes twice as long as the expected one has lost; no need to hear it out. */
static int64_t tokens_for(const lc_eval *eval, const lc_eval_row *row)
{
    const int64_t enough = 2 * row->expected_count + 16;
    return enough < eval->options->max_tokens ? enough : eval->options->max_tokens;
}

static lc_code compare_answers(lc_eval *eval, lc_err *err)
{
    for (int64_t i = 0; i < eval->rows.count; i++) {
        lc_eval_row *row = &eval->rows.rows[i];
        size_t bytes = 0;
        if (row->expected == NULL) {
            continue;
        }
        LC_TRY(lc_tokenizer_decode(eval->tokenizer, row->answer.ids, row->answer.count, true,
                                   &row->answer_text, &bytes, err));
        row->is_exact = strcmp(row->answer_text, row->expected) == 0;
        eval->exact += row->is_exact;
    }
    return LC_OK;
}

/* A prompt that the context has no room for gets no answer, which is never the expected one. */
static void fill_requests(lc_eval *eval, lc_generate_request *requests, int64_t *count)
{
    *count = 0;
    for (int64_t i = 0; i < eval->rows.count; i++) {
        const lc_eval_row *row = &eval->rows.rows[i];
        if (row->expected == NULL) {
            continue;
        }
        if (row->prompt_count >= eval->engine.model->cache_rows) {
            eval->unanswered++;
            continue;
        }
        lc_generate_request *request = &requests[(*count)++];
        memset(request, 0, sizeof *request);
        request->number = i;
        request->prompt = row->prompt;
        request->prompt_count = row->prompt_count;
        request->max_tokens = tokens_for(eval, row);
        request->sampling.top_p = 1.0;
    }
}

static lc_code measure_exact(lc_eval *eval, lc_err *err)
{
    lc_stop_ids stop;
    lc_generator *generator = NULL;
    void *requests = NULL;
    int64_t count = 0;
    LC_TRY(
        lc_stop_ids_find(&eval->engine.config, eval->tokenizer, eval->chat_template, &stop, err));
    LC_TRY(lc_new(&requests, (size_t)eval->rows.count, sizeof(lc_generate_request), "the prompts",
                  err));
    lc_code code;
    fill_requests(eval, requests, &count);
    LC_TRY_GOTO(lc_generator_open(eval->engine.model, stop.ids, stop.count, &generator, err));
    LC_TRY_GOTO(lc_generate_all(generator, requests, count, keep_token, eval, err));
    code = compare_answers(eval, err);
fail:
    lc_generator_close(generator);
    lc_free(requests);
    return code;
}

/* ---- opening ---- */

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static lc_engine_sizes choose_sizes(const lc_eval *eval)
{
    const lc_model_config *config = &eval->engine.config;
    const lc_dataset *dataset = eval->is_tokenized ? &eval->tokenized : &eval->rows.dataset;
    int64_t cache_rows = 0;
    for (int64_t i = 0; i < eval->rows.count; i++) {
        const lc_eval_row *row = &eval->rows.rows[i];
        if (row->expected != NULL) {
            cache_rows = max64(cache_rows, row->prompt_count + tokens_for(eval, row));
        }
    }
    cache_rows = min64(cache_rows, config->max_position);
    const int64_t row_bytes =
        (int64_t)config->layers * 2 * config->kv_heads * config->head_dim * (int64_t)sizeof(float);
    int64_t slots = min64(eval->rows.answer_rows, EVAL_SLOTS);
    if (slots > 0) {
        slots = max64(1, min64(slots, MAX_CACHE_BYTES / max64(1, row_bytes * cache_rows)));
    }
    const lc_engine_sizes sizes = {.device = lc_device_choice(eval->options->device),
                                   .dtype = eval->options->dtype,
                                   .threads = (int)eval->options->threads,
                                   .tokens = max64(EVAL_TOKENS, dataset->longest),
                                   .cache_slots = slots,
                                   .cache_rows = slots > 0 ? max64(cache_rows, 2) : 0};
    return sizes;
}

static bool is_safetensors(const char *path)
{
    static const char suffix[] = ".safetensors";
    const size_t length = strlen(path);
    return length >= sizeof suffix - 1 && strcmp(path + length - (sizeof suffix - 1), suffix) == 0;
}

static lc_code read_file(lc_eval *eval, lc_err *err)
{
    const lc_eval_options *o = eval->options;
    const int64_t context = eval->engine.config.max_position;
    const int64_t max_tokens = o->max_seq_len > 0 ? min64(o->max_seq_len, context) : context;
    if (is_safetensors(o->file)) {
        eval->is_tokenized = true;
        return lc_dataset_load_tokenized(o->file, eval->engine.config.vocab, max_tokens,
                                         &eval->tokenized, err);
    }
    LC_TRY(lc_tokenizer_load_for(o->model_dir, eval->engine.config.vocab, &eval->tokenizer, err));
    LC_TRY(lc_template_options_open_pinned(&o->chat_template, o->model_dir, &eval->chat_template,
                                           err));
    const lc_eval_reading reading = {.path = o->file,
                                     .tokenizer = eval->tokenizer,
                                     .chat_template = eval->chat_template,
                                     .max_tokens = max_tokens,
                                     .limit = o->limit,
                                     .by = o->by};
    return lc_eval_rows_read(&reading, &eval->rows, err);
}

static lc_code evaluate(lc_eval *eval, lc_err *err)
{
    const lc_eval_options *o = eval->options;
    LC_TRY(lc_engine_load(o->model_dir, o->adapter_dir, &eval->engine, err));
    LC_TRY(read_file(eval, err));
    const lc_engine_sizes sizes = choose_sizes(eval);
    LC_TRY(lc_engine_start(&eval->engine, &sizes, err));
    const double began = lc_monotonic_seconds();
    const lc_dataset *dataset = eval->is_tokenized ? &eval->tokenized : &eval->rows.dataset;
    const int64_t count =
        o->limit > 0 ? min64(o->limit, dataset->example_count) : dataset->example_count;
    LC_TRY(measure_loss(eval, dataset, count, err));
    if (eval->rows.answer_rows > 0) {
        LC_TRY(measure_exact(eval, err));
    }
    eval->seconds = lc_monotonic_seconds() - began;
    return LC_OK;
}

static void close_eval(lc_eval *eval)
{
    lc_eval_rows_release(&eval->rows);
    if (eval->is_tokenized) {
        lc_dataset_release(&eval->tokenized);
    }
    if (eval->chat_template != NULL) {
        lc_chat_template_free(eval->chat_template);
    }
    if (eval->tokenizer != NULL) {
        lc_tokenizer_free(eval->tokenizer);
    }
    lc_engine_close(&eval->engine);
}

/* ---- printing ---- */

typedef struct lc_eval_group {
    const char *label; /* borrowed */
    int64_t rows, exact;
} lc_eval_group;

/* Groups in order of first appearance; rows beyond MAX_GROUPS different labels go to the last
 * one. */
static int count_groups(const lc_eval *eval, lc_eval_group groups[MAX_GROUPS])
{
    int count = 0;
    for (int64_t i = 0; eval->options->by != NULL && i < eval->rows.count; i++) {
        const lc_eval_row *row = &eval->rows.rows[i];
        const char *label = row->label != NULL ? row->label : "(none)";
        int at = 0;
        if (row->expected == NULL) {
            continue;
        }
        while (at < count && strcmp(groups[at].label, label) != 0) {
            at++;
        }
        if (at == MAX_GROUPS) {
            at = MAX_GROUPS - 1;
            groups[at].label = "(others)";
        } else if (at == count) {
            const lc_eval_group fresh = {.label = label};
            groups[count++] = fresh;
        }
        groups[at].rows++;
        groups[at].exact += row->is_exact;
    }
    return count;
}

static double share(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : NAN;
}

static void add_json_rows(const lc_eval *eval, lc_text *text)
{
    bool is_first = true;
    lc_text_addf(text, ", \"answers\": [");
    for (int64_t i = 0; i < eval->rows.count; i++) {
        const lc_eval_row *row = &eval->rows.rows[i];
        if (row->expected == NULL) {
            continue;
        }
        lc_text_addf(text, "%s{\"line\": %lld, \"exact\": %s, \"expected\": ", is_first ? "" : ", ",
                     (long long)row->line, row->is_exact ? "true" : "false");
        lc_text_add_json_string(text, row->expected, strlen(row->expected));
        lc_text_addf(text, ", \"answer\": ");
        lc_text_add_json_string(text, row->answer_text, strlen(row->answer_text));
        lc_text_addf(text, "}");
        is_first = false;
    }
    lc_text_addf(text, "]");
}

static lc_code print_json(const lc_eval *eval, lc_err *err)
{
    lc_text text;
    lc_eval_group groups[MAX_GROUPS];
    const int group_count = count_groups(eval, groups);
    lc_text_init(&text);
    lc_text_addf(&text, "{\"file\": ");
    lc_text_add_json_string(&text, eval->options->file, strlen(eval->options->file));
    lc_text_addf(&text, ", \"tokens\": %.0f, \"loss\": ", eval->sums.targets);
    lc_text_add_double(&text, eval->sums.loss / eval->sums.weight);
    lc_text_addf(&text, ", \"token_accuracy\": ");
    lc_text_add_double(&text, eval->sums.correct / eval->sums.targets);
    if (!eval->is_tokenized) {
        lc_text_addf(
            &text,
            ", \"rows\": %lld, \"answer_rows\": %lld, \"unanswered\": %lld, \"exact\": %lld, "
            "\"exact_match\": ",
            (long long)eval->rows.count, (long long)eval->rows.answer_rows,
            (long long)eval->unanswered, (long long)eval->exact);
        lc_text_add_double(&text, share(eval->exact, eval->rows.answer_rows));
    }
    for (int i = 0; i < group_count; i++) {
        lc_text_addf(&text, "%s", i == 0 ? ", \"groups\": {" : ", ");
        lc_text_add_json_string(&text, groups[i].label, strlen(groups[i].label));
        lc_text_addf(&text, ": {\"rows\": %lld, \"exact\": %lld, \"exact_match\": ",
                     (long long)groups[i].rows, (long long)groups[i].exact);
        lc_text_add_double(&text, share(groups[i].exact, groups[i].rows));
        lc_text_addf(&text, i == group_count - 1 ? "}}" : "}");
    }
    if (eval->options->verbose && !eval->is_tokenized) {
        add_json_rows(eval, &text);
    }
    lc_text_addf(&text, ", \"seconds\": %.3f}", eval->seconds);
    return lc_print_text(&text, err);
}

static void print_for_people(const lc_eval *eval)
{
    lc_eval_group groups[MAX_GROUPS];
    const int group_count = count_groups(eval, groups);
    for (int64_t i = 0; eval->options->verbose && i < eval->rows.count; i++) {
        const lc_eval_row *row = &eval->rows.rows[i];
        if (row->expected != NULL) {
            printf("line %lld: %s\n  expected: %s\n  answer:   %s\n", (long long)row->line,
                   row->is_exact ? "exact" : "different", row->expected, row->answer_text);
        }
    }
    printf("loss            %.4f\n", eval->sums.loss / eval->sums.weight);
    printf("token accuracy  %.2f %%  of %.0f trained tokens\n",
           100.0 * eval->sums.correct / eval->sums.targets, eval->sums.targets);
    if (eval->rows.answer_rows > 0) {
        printf("exact match     %.1f %%  (%lld of %lld)\n",
               100.0 * share(eval->exact, eval->rows.answer_rows), (long long)eval->exact,
               (long long)eval->rows.answer_rows);
    }
    if (eval->unanswered > 0) {
        printf("%lld prompts are longer than the context: not answered, counted as different\n",
               (long long)eval->unanswered);
    }
    for (int i = 0; i < group_count; i++) {
        printf("  %-20s %5.1f %%  (%lld of %lld)\n", groups[i].label,
               100.0 * share(groups[i].exact, groups[i].rows), (long long)groups[i].exact,
               (long long)groups[i].rows);
    }
    const lc_dataset *dataset = eval->is_tokenized ? &eval->tokenized : &eval->rows.dataset;
    if (dataset->truncated_count > 0) {
        printf("%lld rows were cut for the loss, %lld tokens lost\n",
               (long long)dataset->truncated_count, (long long)dataset->truncated_tokens);
    }
}

static lc_code run_eval(const lc_eval_options *options, lc_err *err)
{
    lc_eval *eval = lc_calloc(1, sizeof *eval);
    if (eval == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to evaluate");
    }
    eval->options = options;
    lc_code code = evaluate(eval, err);
    if (code == LC_OK && !(eval->sums.weight > 0.0)) {
        code = lc_fail(err, LC_ERR_INVALID, "%s has no trained token: nothing to measure",
                       options->file);
    }
    if (code == LC_OK && !isfinite(eval->sums.loss)) {
        code = lc_fail(err, LC_ERR_NUMERIC, "%s: the loss is not a finite number; are the weights?",
                       options->file);
    }
    if (code == LC_OK && options->json) {
        code = print_json(eval, err);
    } else if (code == LC_OK) {
        print_for_people(eval);
    }
    close_eval(eval);
    lc_free(eval);
    return code;
}

lc_code lc_command_eval(int argc, char **argv, lc_err *err)
{
    lc_eval_options o = {.dtype = "auto", .device = "auto", .max_tokens = 256};
    bool done = false;
    const lc_option options[] = {
        {.name = "FILE",
         .help = "chat JSONL, or a tokenized .safetensors (loss only)",
         .text = &o.file,
         .is_required = true},
        {.name = "--model",
         .value = "DIR",
         .help = "base model directory",
         .text = &o.model_dir,
         .is_required = true},
        {.name = "--adapter",
         .value = "DIR",
         .help = "PEFT LoRA adapter on top of it",
         .text = &o.adapter_dir},
        {.name = "--limit",
         .value = "N",
         .help = "use the first N rows only",
         .fallback = "all",
         .integer = &o.limit,
         .low = 1,
         .high = LC_MAX_EXAMPLES},
        {.name = "--max-tokens",
         .value = "N",
         .help = "longest answer that is generated",
         .fallback = "256",
         .integer = &o.max_tokens,
         .low = 1,
         .high = LC_MAX_POSITION},
        LC_CHAT_TEMPLATE_OPTION(o.chat_template),
        LC_TEMPLATE_DATE_OPTION(o.chat_template),
        {.name = "--max-seq-len",
         .value = "N",
         .help = "cut longer rows for the loss, as a job does",
         .fallback = "the model's context",
         .integer = &o.max_seq_len,
         .low = 2,
         .high = LC_MAX_POSITION},
        {.name = "--by",
         .value = "KEY",
         .help = "exact match for each value of this top-level key of the rows",
         .text = &o.by},
        {.name = "--verbose",
         .help = "print each expected and generated answer",
         .flag = &o.verbose},
        {.name = "--json", .help = "print the result as one JSON object", .flag = &o.json},
        {.name = "--dtype",
         .value = "TYPE",
         .help = "type of the base weights in memory",
         .fallback = "auto: fp32 on the CPU, bf16 on a GPU",
         .text = &o.dtype,
         .choices = lc_dtype_choices},
        {.name = "--device",
         .value = "NAME",
         .help = "where to compute",
         .fallback = "auto: a GPU where there is one",
         .text = &o.device,
         .choices = lc_device_choices},
        {.name = "--threads",
         .value = "N",
         .help = "compute threads",
         .fallback = "LORAC_THREADS, else all cores of this process",
         .integer = &o.threads,
         .low = 1,
         .high = LC_MAX_THREADS},
    };
    const lc_command command = {.name = "eval",
                                .description = "Loss and token accuracy over the trained tokens of "
                                               "each row, and exact match: the last\n"
                                               "assistant message is generated greedily from the "
                                               "messages before it and compared with its\n"
                                               "text, byte for byte. Any number of rows.\n",
                                .examples = "  lorac eval valid.jsonl --model models/sprout-3m\n"
                                            "  lorac eval valid.jsonl --model models/sprout-3m "
                                            "--adapter runs/a/adapter --by task\n",
                                .options = options,
                                .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    return done ? LC_OK : run_eval(&o, err);
}
