/*
 * lorac tokenize: chat JSONL to a tokenized .safetensors data set; with --raw lines of text to
 * lines of token ids (tokenize_raw.c).
 */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/options.h"
#include "cli/template_options.h"
#include "cli/progress.h"
#include "cli/tokenize_raw.h"
#include "data/dataset.h"
#include "model/config.h"

static lc_code check_out(const char *out, lc_err *err)
{
    const size_t length = strlen(out);
    static const char suffix[] = ".safetensors";
    if (length < sizeof suffix || strcmp(out + length - (sizeof suffix - 1), suffix) != 0) {
        return lc_fail(
            err, LC_ERR_USAGE,
            "--out \"%s\" must end in .safetensors: a job recognises tokenized data by that", out);
    }
    if (lc_path_exists(out)) {
        return lc_fail(err, LC_ERR_USAGE, "%s exists already: remove it or choose another name",
                       out);
    }
    return LC_OK;
}

static lc_code report(const lc_dataset *dataset, const char *out, bool json, lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    if (json) {
        lc_text_addf(&text, "{\"file\": ");
        lc_text_add_json_string(&text, out, strlen(out));
        lc_text_addf(
            &text,
            ", \"examples\": %lld, \"tokens\": %lld, \"trained_tokens\": %lld, \"longest\": %lld, "
            "\"truncated_examples\": %lld, \"truncated_tokens\": %lld}",
            (long long)dataset->example_count, (long long)dataset->token_count,
            (long long)dataset->target_count, (long long)dataset->longest,
            (long long)dataset->truncated_count, (long long)dataset->truncated_tokens);
    } else {
        lc_text_addf(&text, "%s: %lld examples, %lld tokens (%lld trained), longest %lld", out,
                     (long long)dataset->example_count, (long long)dataset->token_count,
                     (long long)dataset->target_count, (long long)dataset->longest);
        if (dataset->truncated_count > 0) {
            lc_text_addf(&text, "\n%lld examples were longer and have been cut, %lld tokens lost",
                         (long long)dataset->truncated_count, (long long)dataset->truncated_tokens);
        }
    }
    return lc_print_text(&text, err);
}

/* A bar on a terminal only: what a script reads are the counts. */
static bool on_progress(void *context, int64_t done_bytes, int64_t total_bytes)
{
    lc_progress_view *view = context;
    const lc_preparation preparation = {"training", done_bytes, total_bytes};
    const lc_event event = {.preparation = &preparation};
    if (view->style == LC_PROGRESS_BAR) {
        lc_progress_show(view, &event);
    }
    return true;
}

static lc_code tokenize(const char *file, const char *model_dir, const lc_template_options *options,
                        const char *out, int64_t max_tokens, lc_dataset *dataset, lc_err *err)
{
    lc_code code;
    lc_tokenizer *tokenizer = NULL;
    lc_chat_template *chat_template = NULL;
    lc_progress_view view;
    lc_progress_init(&view, stderr, false);
    const lc_dataset_reading reading = {.what = "Training file",
                                        .max_tokens = max_tokens,
                                        .on_progress = on_progress,
                                        .context = &view};
    LC_TRY(check_out(out, err));
    LC_TRY(lc_tokenizer_load(model_dir, &tokenizer, err));
    LC_TRY_GOTO(lc_template_options_open_pinned(options, model_dir, &chat_template, err));
    LC_TRY_GOTO(lc_dataset_load_jsonl(file, &reading, tokenizer, chat_template, dataset, err));
    code = lc_dataset_save(dataset, out, lc_tokenizer_sha256(tokenizer), NULL, err);
    if (code != LC_OK) {
        lc_dataset_release(dataset);
    }
fail:
    lc_progress_finish(&view);
    if (chat_template != NULL) {
        lc_chat_template_free(chat_template);
    }
    lc_tokenizer_free(tokenizer);
    return code;
}

/* Options of the two uses do not mix. */
static lc_code check_use(bool raw, const lc_raw_options *o, const char *file, const char *out,
                         bool json, int64_t max_tokens, lc_err *err)
{
    if (!raw && (o->no_special || o->offsets || o->decode)) {
        return lc_fail(err, LC_ERR_USAGE, "--no-special, --offsets and --decode go with --raw");
    }
    if (raw && (file != NULL || out != NULL || json || max_tokens != 0)) {
        return lc_fail(err, LC_ERR_USAGE,
                       "--raw reads standard input and writes standard output: it takes no FILE, "
                       "--out, --json or --max-seq-len");
    }
    if (o->offsets && o->decode) {
        return lc_fail(err, LC_ERR_USAGE, "--decode gives texts, which have no --offsets");
    }
    if (!raw && (file == NULL || out == NULL)) {
        return lc_fail(err, LC_ERR_USAGE, "%s is missing; see lorac tokenize --help",
                       file == NULL ? "FILE" : "--out FILE");
    }
    return LC_OK;
}

lc_code lc_command_tokenize(int argc, char **argv, lc_err *err)
{
    const char *file = NULL, *model_dir = NULL, *out = NULL;
    bool json = false, done = false, raw = false;
    int64_t max_tokens = 0;
    lc_raw_options raw_options = {0};
    lc_template_options chat_template = {0};
    const lc_option options[] = {
        {.name = "FILE", .help = "chat JSONL: one {\"messages\": [...]} per line", .text = &file},
        {.name = "--model",
         .value = "DIR",
         .help = "model directory whose tokenizer.json and chat template are used",
         .text = &model_dir,
         .is_required = true},
        {.name = "--out",
         .value = "FILE",
         .help = "file to write, NAME.safetensors; a job takes it as its training_file",
         .text = &out},
        LC_CHAT_TEMPLATE_OPTION(chat_template),
        LC_TEMPLATE_DATE_OPTION(chat_template),
        {.name = "--max-seq-len",
         .value = "N",
         .help = "cut longer examples at the end, as a job's max_seq_len does",
         .fallback = "the model's context",
         .integer = &max_tokens,
         .low = 2,
         .high = LC_MAX_POSITION},
        {.name = "--json", .help = "print the counts as JSON", .flag = &json},
        {.name = "--raw",
         .help = "for scripts: each line of standard input is a JSON string, its token ids are "
                 "printed as a JSON array; a line that fails gives {\"error\": ...}",
         .flag = &raw},
        {.name = "--no-special",
         .help = "with --raw: without what the post-processor adds (BOS and kin); with --decode: "
                 "leave special tokens out",
         .flag = &raw_options.no_special},
        {.name = "--offsets",
         .help = "with --raw: {\"ids\": [...], \"offsets\": [[begin, end], ...]}, in characters",
         .flag = &raw_options.offsets},
        {.name = "--decode",
         .help = "with --raw: arrays of token ids to JSON strings",
         .flag = &raw_options.decode},
    };
    const lc_command command = {
        .name = "tokenize",
        .description = "Renders each conversation with the model's chat template, encodes it, and "
                       "writes token ids and loss\n"
                       "weights (1 where the assistant speaks, 0 elsewhere). The tensors are "
                       "input_ids i32, loss_weights f32\n"
                       "and offsets i64.\n",
        .examples =
            "  lorac tokenize train.jsonl --model models/sprout-3m --out train.safetensors\n"
            "  echo '\"Hello world\"' | lorac tokenize --model models/sprout-3m --raw\n",
        .options = options,
        .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    if (done) {
        return LC_OK;
    }
    LC_TRY(check_use(raw, &raw_options, file, out, json, max_tokens, err));
    if (raw) {
        raw_options.model_dir = model_dir;
        return lc_tokenize_raw(&raw_options, err);
    }
    if (max_tokens == 0) {
        lc_model_config config;
        LC_TRY(lc_model_config_load(model_dir, &config, err));
        max_tokens = config.max_position;
    }
    lc_dataset dataset;
    memset(&dataset, 0, sizeof dataset);
    LC_TRY(tokenize(file, model_dir, &chat_template, out, max_tokens, &dataset, err));
    const lc_code code = report(&dataset, out, json, err);
    lc_dataset_release(&dataset);
    return code;
}
