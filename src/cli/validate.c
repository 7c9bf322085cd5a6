/*
 * lorac validate: every finding of a file of training rows, and what the file holds and would cost.
 */
#include "cli/validate.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/params.h"
#include "base/thread.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/template_options.h"
#include "lorac/mem.h"
#include "model/config.h"

typedef struct lc_validate_options {
    const char *file, *model_dir, *method;
    int64_t max_seq_len, threads;
    lc_template_options chat_template;
    bool json, codes;
} lc_validate_options;

/* Loaded for the check. */
typedef struct lc_validate_run {
    const lc_validate_options *options;
    lc_job_spec spec; /* a job of defaults */
    lc_model_config config;
    lc_tokenizer *tokenizer;
    lc_chat_template *chat_template;
    lc_progress_view view;
} lc_validate_run;

static lc_code default_spec(const lc_validate_options *options, lc_job_spec *spec, lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(&text, "{\"model\": \"none\", \"training_file\": \"none\"");
    if (options->max_seq_len > 0) {
        lc_text_addf(&text, ", \"lorac\": {\"max_seq_len\": %lld}",
                     (long long)options->max_seq_len);
    }
    lc_text_addf(&text, "}");
    lc_code code = lc_text_finish(&text, "a job", err);
    if (code == LC_OK) {
        code = lc_job_spec_parse(text.data, text.length, "a job of defaults", spec, err);
    }
    lc_text_release(&text);
    return code;
}

static lc_code load_model_parts(lc_validate_run *run, lc_err *err)
{
    const char *dir = run->options->model_dir;
    LC_TRY(default_spec(run->options, &run->spec, err));
    LC_TRY(lc_model_config_load(dir, &run->config, err));
    LC_TRY(lc_tokenizer_load_for(dir, run->config.vocab, &run->tokenizer, err));
    return lc_template_options_open_pinned(&run->options->chat_template, dir, &run->chat_template,
                                           err);
}

static int64_t max_tokens_of(const lc_validate_run *run)
{
    const int64_t context = run->config.max_position;
    return run->spec.max_seq_len < context ? run->spec.max_seq_len : context;
}

static lc_method method_of(const char *name)
{
    int method = LC_METHOD_COUNT - 1;
    while (method > 0 && strcmp(lc_method_names[method], name) != 0) {
        method--;
    }
    return (lc_method)method;
}

static void show_progress(void *context, int64_t bytes, int64_t total_bytes)
{
    lc_progress_show_bytes(context, bytes, total_bytes);
}

/* By the rules of a job that names no hyperparameters; how it is run does not matter here. */
static lc_code resolve_job(const lc_validate_run *run, lc_validation *v, lc_err *err)
{
    const lc_job_facts facts = {.example_count = v->report.tokens.count,
                                .longest_example =
                                    lc_length_counts_percentile(&v->report.tokens, 100),
                                .model_context = run->config.max_position,
                                .device = LC_DEVICE_CPU};
    LC_TRY(lc_job_resolve(&run->spec, &facts, 0, &v->job, err));
    v->has_job = true;
    lc_check_epochs(&v->report, v->job.n_epochs);
    return LC_OK;
}

static lc_code check(lc_validate_run *run, lc_validation *v, lc_err *err)
{
    const lc_validate_options *options = run->options;
    int64_t threads = options->threads;
    if (threads == 0) {
        LC_TRY(lc_param_int(LC_PARAM_THREADS, lc_cpu_count(), &threads, err));
    }
    lc_check_options check_options = {.path = options->file,
                                      .what = "the file",
                                      .method = v->method,
                                      .threads = (int)threads,
                                      .finds_duplicates = true};
    if (v->has_tokens) {
        v->max_tokens = max_tokens_of(run);
        check_options.tokenizer = run->tokenizer;
        check_options.chat_template = run->chat_template;
        check_options.max_tokens = v->max_tokens;
    }
    lc_progress_init(&run->view, stderr, false);
    if (run->view.style == LC_PROGRESS_BAR) {
        check_options.on_progress = show_progress;
        check_options.context = &run->view;
    }
    lc_code code = lc_check_file(&check_options, &v->report, err);
    lc_progress_clear(&run->view);
    if (code == LC_OK && v->report.tokens.count > 0 && v->method == LC_METHOD_SUPERVISED) {
        code = resolve_job(run, v, err);
    }
    return code;
}

static void add_notes(const lc_validate_options *options, lc_validation *v)
{
    int count = 0;
    if (v->method == LC_METHOD_REINFORCEMENT) {
        v->notes[count++] = "reinforcement jobs need a validation file of the same format";
    }
    if (v->method != LC_METHOD_SUPERVISED) {
        v->notes[count++] = "this version trains \"supervised\" only";
    }
    if (v->method == LC_METHOD_DPO && options->model_dir != NULL) {
        v->notes[count++] = "a row's tokens are those of its input with each of both outputs";
    }
    if (v->method == LC_METHOD_REINFORCEMENT && options->model_dir != NULL) {
        v->notes[count++] = "tokens are those of the prompts, without what a job samples";
    }
}

static lc_code report(const lc_validate_options *options, const lc_validation *v, lc_err *err)
{
    LC_TRY(options->json ? lc_validation_print_json(v, err) : lc_validation_print(v, err));
    const int64_t errors = v->report.findings.error_count;
    return errors == 0 ? LC_OK
                       : lc_fail(err, LC_ERR_INVALID, "%s has %lld error(s)", options->file,
                                 (long long)errors);
}

static lc_code validate(const lc_validate_options *options, lc_validate_run *run, lc_validation *v,
                        lc_err *err)
{
    lc_err unread = {.code = LC_OK};
    if (options->model_dir == NULL &&
        (options->chat_template.file != NULL || options->chat_template.date != NULL ||
         options->max_seq_len > 0)) {
        return lc_fail(err, LC_ERR_USAGE,
                       "--chat-template, --date and --max-seq-len go with --model");
    }
    v->file = options->file;
    v->method = options->method != NULL ? method_of(options->method) : LC_METHOD_SUPERVISED;
    v->has_tokens = options->model_dir != NULL;
    add_notes(options, v);
    if (options->model_dir != NULL) {
        LC_TRY(load_model_parts(run, err));
    }
    const lc_code code = check(run, v, &unread);
    if (code == LC_OK || v->report.findings.counts[LC_FINDING_FILE_UNREADABLE] > 0) {
        lc_err invalid = {.code = LC_OK};
        const lc_code told = report(options, v, code == LC_OK ? err : &invalid);
        if (code == LC_OK) {
            return told;
        }
    }
    *err = unread;
    return code;
}

static lc_code run_validate(const lc_validate_options *options, lc_err *err)
{
    if (options->codes) {
        return lc_validation_print_codes(err);
    }
    if (options->file == NULL) {
        return lc_fail(err, LC_ERR_USAGE, "FILE is missing; see lorac validate --help");
    }
    lc_validate_run run = {.options = options};
    lc_validation v = {.file = options->file};
    const lc_code code = validate(options, &run, &v, err);
    lc_check_report_release(&v.report);
    lc_job_spec_release(&run.spec);
    if (run.chat_template != NULL) {
        lc_chat_template_free(run.chat_template);
    }
    if (run.tokenizer != NULL) {
        lc_tokenizer_free(run.tokenizer);
    }
    return code;
}

lc_code lc_command_validate(int argc, char **argv, lc_err *err)
{
    lc_validate_options o = {0};
    bool done = false;
    const lc_option options[] = {
        {.name = "FILE", .help = "JSONL file of training rows", .text = &o.file},
        {.name = "--model",
         .value = "DIR",
         .help = "model directory; with it tokens, steps and rows that are cut are counted too",
         .fallback = "none: only the form is checked",
         .text = &o.model_dir},
        LC_CHAT_TEMPLATE_OPTION(o.chat_template),
        LC_TEMPLATE_DATE_OPTION(o.chat_template),
        {.name = "--method",
         .value = "METHOD",
         .help = "the format of the rows: supervised, dpo or reinforcement",
         .fallback = "supervised",
         .choices = lc_method_names,
         .text = &o.method},
        {.name = "--max-seq-len",
         .value = "N",
         .help = "length to which a job would cut rows",
         .fallback = "a job's, or the model's context where that is less",
         .integer = &o.max_seq_len,
         .low = 2,
         .high = LC_MAX_POSITION},
        {.name = "--threads",
         .value = "N",
         .help = "threads; the result does not depend on it",
         .fallback = "the cores this process may use",
         .integer = &o.threads,
         .low = 1,
         .high = LC_MAX_THREADS},
        {.name = "--json", .help = "print the result as one JSON object", .flag = &o.json},
        {.name = "--codes", .help = "print the table of codes and end", .flag = &o.codes},
    };
    const lc_command command = {
        .name = "validate",
        .description =
            "Checks a JSONL file by the rules of Azure's and OpenAI's fine-tuning and by those of "
            "a\n"
            "job here. All problems are counted; of each code the first 10 are shown with line, "
            "path and\n"
            "what to do. Errors make a file unfit, warnings do not. Then what the file holds and, "
            "with\n"
            "--model, what training on it means.\n",
        .examples = "  lorac validate train.jsonl --model models/sprout-3m\n"
                    "  lorac validate pairs.jsonl --method dpo --json\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    return done ? LC_OK : run_validate(&o, err);
}
