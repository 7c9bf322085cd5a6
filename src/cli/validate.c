/*
 * lorac validate: every finding of a chat JSONL file with its line, and what the file holds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/options.h"
#include "data/dataset.h"
#include "lorac/mem.h"
#include "model/config.h"

#define MAX_FINDINGS 20 /* shown; the rest is counted */

typedef struct lc_finding {
    int64_t line;
    char message[LC_ERR_MESSAGE_BYTES];
} lc_finding;

typedef struct lc_validation {
    const lc_tokenizer *tokenizer; /* NULL: form only, no tokens */
    const lc_chat_template *chat_template;
    int64_t max_tokens;
    int64_t rows, messages, tools_rows;
    int64_t tokens, trained_tokens, truncated_rows;
    int64_t *lengths; /* owned, of each good row */
    int64_t length_count, length_capacity;
    int64_t finding_count;
    lc_finding findings[MAX_FINDINGS];
} lc_validation;

/* The line stands before a message already: errors of rows begin with it. */
static const char *after_line(const char *message, int64_t line)
{
    char prefix[40];
    (void)snprintf(prefix, sizeof prefix, "line %lld", (long long)line);
    const size_t length = strlen(prefix);
    if (strncmp(message, prefix, length) != 0 || strspn(message + length, ":, ") == 0) {
        return message;
    }
    return message + length + strspn(message + length, ":, ");
}

static void note_finding(lc_validation *v, int64_t line, const char *message)
{
    message = after_line(message, line);
    if (v->finding_count < MAX_FINDINGS) {
        lc_finding *finding = &v->findings[v->finding_count];
        finding->line = line;
        (void)snprintf(finding->message, sizeof finding->message, "%s", message);
    }
    v->finding_count++;
}

static lc_code note_length(lc_validation *v, int64_t length, lc_err *err)
{
    if (v->length_count == v->length_capacity) {
        const int64_t capacity = v->length_capacity == 0 ? 1024 : v->length_capacity * 2;
        int64_t *grown = lc_realloc(v->lengths, (size_t)capacity * sizeof *grown);
        if (grown == NULL) {
            return lc_fail(err, LC_ERR_MEMORY, "no memory for the lengths of %lld rows",
                           (long long)capacity);
        }
        v->lengths = grown;
        v->length_capacity = capacity;
    }
    v->lengths[v->length_count++] = length;
    return LC_OK;
}

static const char untrained[] =
    "no token of the row is trained: it needs an assistant message with weight 1";

static bool has_trained_message(const lc_chat_row *row)
{
    const cJSON *message = NULL;
    cJSON_ArrayForEach(message, row->messages)
    {
        const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
        const cJSON *weight = cJSON_GetObjectItemCaseSensitive(message, "weight");
        const bool is_left_out = cJSON_IsNumber(weight) && weight->valuedouble <= 0.0;
        if (cJSON_IsString(role) && strcmp(role->valuestring, "assistant") == 0 && !is_left_out) {
            return true;
        }
    }
    return false;
}

/* Tokens of a good row; one that has nothing to train on is a finding. */
static lc_code count_tokens(lc_validation *v, const lc_chat_row *row, int64_t line, lc_err *err)
{
    lc_tokens tokens = {0};
    float *weights = NULL;
    int64_t trained = 0;
    lc_code code =
        lc_chat_row_tokenize(row, v->tokenizer, v->chat_template, &tokens, &weights, err);
    if (code == LC_OK) {
        const int64_t all = (int64_t)tokens.count;
        const int64_t kept = all < v->max_tokens ? all : v->max_tokens;
        for (int64_t i = 1; i < kept; i++) {
            trained += weights[i] > 0.0f;
        }
        v->tokens += kept;
        v->trained_tokens += trained;
        v->truncated_rows += kept < all;
        if (trained == 0) {
            note_finding(
                v, line,
                kept < all ? "no trained token is left after cutting the row to the maximum length"
                           : untrained);
        }
        code = note_length(v, kept, err);
    }
    lc_free(weights);
    lc_tokens_release(&tokens);
    return code;
}

/* Data errors become findings; anything else (memory) ends the command. */
static lc_code validate_row(lc_validation *v, const char *line, size_t bytes, int64_t number,
                            lc_err *err)
{
    lc_chat_row row;
    lc_err row_err = {.code = LC_OK};
    v->rows++;
    memset(&row, 0, sizeof row);
    lc_code code = lc_chat_row_parse(line, bytes, number, &row, &row_err);
    if (code == LC_OK) {
        v->messages += cJSON_GetArraySize(row.messages);
        v->tools_rows += row.tools != NULL;
        if (!has_trained_message(&row)) {
            note_finding(v, number, untrained);
        } else if (v->tokenizer != NULL) {
            code = count_tokens(v, &row, number, &row_err);
        }
        lc_chat_row_release(&row);
    }
    if (code == LC_ERR_INVALID || code == LC_ERR_UNSUPPORTED) {
        note_finding(v, number, row_err.message);
        return LC_OK;
    }
    if (code != LC_OK) {
        *err = row_err;
    }
    return code;
}

static lc_code validate_file(lc_validation *v, const char *path, lc_err *err)
{
    lc_line_reader *reader = NULL;
    LC_TRY(lc_line_reader_open(path, &reader, err));
    for (;;) {
        const char *line = NULL;
        size_t bytes = 0;
        int64_t number = 0;
        lc_code code = lc_line_reader_next(reader, &line, &bytes, &number, err);
        if (code == LC_OK && line != NULL) {
            code = validate_row(v, line, bytes, number, err);
        }
        if (code != LC_OK || line == NULL) {
            lc_line_reader_close(reader);
            LC_TRY(code);
            break;
        }
    }
    if (v->rows < LC_MIN_JSONL_EXAMPLES) {
        char message[128];
        (void)snprintf(message, sizeof message,
                       "the file has %lld example(s), but must have at least %d examples",
                       (long long)v->rows, LC_MIN_JSONL_EXAMPLES);
        note_finding(v, 0, message);
    }
    return LC_OK;
}

static int compare_lengths(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static int64_t percentile(const lc_validation *v, int64_t percent)
{
    return v->length_count == 0 ? 0 : v->lengths[(v->length_count - 1) * percent / 100];
}

static void add_findings(const lc_validation *v, lc_text *text)
{
    lc_text_addf(text, ", \"error_count\": %lld, \"errors\": [", (long long)v->finding_count);
    for (int64_t i = 0; i < v->finding_count && i < MAX_FINDINGS; i++) {
        lc_text_addf(text, "%s{\"line\": %lld, \"message\": ", i == 0 ? "" : ", ",
                     (long long)v->findings[i].line);
        lc_text_add_json_string(text, v->findings[i].message, strlen(v->findings[i].message));
        lc_text_addf(text, "}");
    }
    lc_text_addf(text, "]}");
}

static lc_code print_json(const lc_validation *v, const char *path, lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(&text, "{\"file\": ");
    lc_text_add_json_string(&text, path, strlen(path));
    lc_text_addf(&text,
                 ", \"valid\": %s, \"rows\": %lld, \"messages\": %lld, \"rows_with_tools\": %lld",
                 v->finding_count == 0 ? "true" : "false", (long long)v->rows,
                 (long long)v->messages, (long long)v->tools_rows);
    if (v->tokenizer != NULL) {
        lc_text_addf(&text,
                     ", \"tokens\": %lld, \"trained_tokens\": %lld, \"truncated_rows\": %lld, "
                     "\"length\": {\"min\": %lld, \"median\": %lld, \"p95\": %lld, \"max\": %lld}",
                     (long long)v->tokens, (long long)v->trained_tokens,
                     (long long)v->truncated_rows, (long long)percentile(v, 0),
                     (long long)percentile(v, 50), (long long)percentile(v, 95),
                     (long long)percentile(v, 100));
    }
    add_findings(v, &text);
    return lc_print_text(&text, err);
}

static void print_for_people(const lc_validation *v, const char *path)
{
    for (int64_t i = 0; i < v->finding_count && i < MAX_FINDINGS; i++) {
        if (v->findings[i].line > 0) {
            printf("line %lld: %s\n", (long long)v->findings[i].line, v->findings[i].message);
        } else {
            printf("%s\n", v->findings[i].message);
        }
    }
    if (v->finding_count > MAX_FINDINGS) {
        printf("... and %lld more\n", (long long)(v->finding_count - MAX_FINDINGS));
    }
    printf("%s: %lld rows, %lld messages", path, (long long)v->rows, (long long)v->messages);
    if (v->tools_rows > 0) {
        printf(", %lld rows with tools", (long long)v->tools_rows);
    }
    printf("\n");
    if (v->tokenizer != NULL && v->length_count > 0) {
        printf("tokens: %lld, of which %lld are trained\n", (long long)v->tokens,
               (long long)v->trained_tokens);
        printf("tokens of a row: shortest %lld, median %lld, 95 %% up to %lld, longest %lld\n",
               (long long)percentile(v, 0), (long long)percentile(v, 50),
               (long long)percentile(v, 95), (long long)percentile(v, 100));
        if (v->truncated_rows > 0) {
            printf("%lld rows are cut to %lld tokens\n", (long long)v->truncated_rows,
                   (long long)v->max_tokens);
        }
    }
    if (v->finding_count == 0) {
        printf("ready for training\n");
    }
}

static lc_code load_text_parts(const char *model_dir, int64_t max_tokens, lc_validation *v,
                               lc_tokenizer **tokenizer, lc_chat_template **chat_template,
                               lc_err *err)
{
    lc_model_config config;
    LC_TRY(lc_model_config_load(model_dir, &config, err));
    LC_TRY(lc_tokenizer_load_for(model_dir, config.vocab, tokenizer, err));
    LC_TRY(lc_chat_template_load(model_dir, chat_template, err));
    v->tokenizer = *tokenizer;
    v->chat_template = *chat_template;
    v->max_tokens =
        max_tokens > 0 && max_tokens < config.max_position ? max_tokens : config.max_position;
    return LC_OK;
}

static lc_code validate(const char *file, const char *model_dir, int64_t max_tokens, bool json,
                        lc_err *err)
{
    lc_tokenizer *tokenizer = NULL;
    lc_chat_template *chat_template = NULL;
    lc_code code;
    lc_validation *v = lc_calloc(1, sizeof *v);
    if (v == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory to validate");
    }
    if (model_dir != NULL) {
        LC_TRY_GOTO(load_text_parts(model_dir, max_tokens, v, &tokenizer, &chat_template, err));
    }
    LC_TRY_GOTO(validate_file(v, file, err));
    if (v->length_count > 0) {
        qsort(v->lengths, (size_t)v->length_count, sizeof *v->lengths, compare_lengths);
    }
    if (json) {
        LC_TRY_GOTO(print_json(v, file, err));
    } else {
        print_for_people(v, file);
    }
    code = v->finding_count == 0 ? LC_OK
                                 : lc_fail(err, LC_ERR_INVALID, "%s has %lld error(s)", file,
                                           (long long)v->finding_count);
fail:
    lc_free(v->lengths);
    lc_free(v);
    if (chat_template != NULL) {
        lc_chat_template_free(chat_template);
    }
    if (tokenizer != NULL) {
        lc_tokenizer_free(tokenizer);
    }
    return code;
}

lc_code lc_command_validate(int argc, char **argv, lc_err *err)
{
    const char *file = NULL, *model_dir = NULL;
    bool json = false, done = false;
    int64_t max_tokens = 0;
    const lc_option options[] = {
        {.name = "FILE", .help = "chat JSONL file", .text = &file, .is_required = true},
        {.name = "--model",
         .value = "DIR",
         .help =
             "model directory; with it tokens are counted and rows without a trained token found",
         .fallback = "none: only the form is checked",
         .text = &model_dir},
        {.name = "--max-seq-len",
         .value = "N",
         .help = "length to which a job would cut rows",
         .fallback = "the model's context",
         .integer = &max_tokens,
         .low = 2,
         .high = LC_MAX_POSITION},
        {.name = "--json", .help = "print the result as one JSON object", .flag = &json},
    };
    const lc_command command = {.name = "validate",
                                .description = "Checks a chat JSONL file by the rules a job "
                                               "applies: the form of each row, roles, weights,\n"
                                               "tools, at least 10 rows. Prints each finding with "
                                               "its line (the first 20), then counts.\n",
                                .examples =
                                    "  lorac validate train.jsonl --model models/sprout-3m\n"
                                    "  lorac validate train.jsonl --json\n",
                                .options = options,
                                .option_count = sizeof options / sizeof *options};
    LC_TRY(lc_command_begin(&command, argc, argv, &done, err));
    return done ? LC_OK : validate(file, model_dir, max_tokens, json, err);
}
