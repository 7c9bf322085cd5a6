/*
 * Any bytes as one row of JSONL, and those with a line break as a file of rows. By the row rules of
 * every method: findings stand on the row's line and point into it. As chat: parsed if and only if
 * the rules have no error, normalised, rendered, and tokenized with the shipped tokenizer behind a
 * template of each kind (that marks the answers, and that does not); the tokens must give the
 * rendered text again, and weights must be 0 or 1 with 0 in front. A file without errors must load,
 * with the tokens that its check has counted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/file_check.h"
#include "data/row_rules.h"
#include "lorac/log.h"
#include "text/jinja_program.h"
#include "text/template_internal.h"

#define MODEL      LC_SOURCE_DIR "/models/sprout-3m"
#define MAX_TOKENS 64 /* of a row in a file */

#define MARKED                                                                                \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"         \
    "{% generation %}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c | tojson }}"        \
    "{% endfor %}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}" \
    "{% endfor %}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static lc_tokenizer *tokenizer;
static lc_chat_template *compared;
static lc_chat_template marked = {
    .name = "marked", .has_date = true, .steps = LC_MAX_TEMPLATE_STEPS};
static int file = -1;
static char file_path[64];

static void must(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void load_once(void)
{
    lc_err err = {0};
    if (tokenizer != NULL) {
        return;
    }
    must(lc_tokenizer_load(MODEL, &tokenizer, &err) == LC_OK);
    must(lc_chat_template_load(MODEL, &compared, &err) == LC_OK);
    must(lc_jinja_compile(MARKED, strlen(MARKED), "marked", &marked.usual, &err) == LC_OK);
    file = memfd_create("rows", 0);
    must(file >= 0);
    (void)snprintf(file_path, sizeof file_path, "/proc/self/fd/%d", file);
    lc_log_set_level(LC_LOG_ERROR);
}

static void check_weights(const lc_tokens *tokens, const float *weights)
{
    must(tokens->count > 0 && !(weights[0] > 0.0f));
    for (size_t i = 0; i < tokens->count; i++) {
        must(memcmp(&weights[i], &(float){0.0f}, 4) == 0 ||
             memcmp(&weights[i], &(float){1.0f}, 4) == 0);
        must(i == 0 || tokens->starts[i] >= tokens->starts[i - 1]);
    }
}

static void check_row(const lc_chat_row *row, const lc_chat_template *chat_template)
{
    lc_err err = {0};
    lc_rendered rendered;
    lc_tokens tokens = {0};
    float *weights = NULL;
    char *text = NULL;
    size_t bytes = 0;
    const lc_template_args args = {.messages = row->messages, .tools = row->tools};
    must(lc_chat_template_render(chat_template, &args, &rendered, &err) == LC_OK);
    must(lc_chat_row_tokenize(row, tokenizer, chat_template, &tokens, &weights, &err) == LC_OK);
    check_weights(&tokens, weights);
    must(lc_tokenizer_decode(tokenizer, tokens.ids, tokens.count, false, &text, &bytes, &err) ==
         LC_OK);
    must(bytes == rendered.bytes && memcmp(text, rendered.text, bytes) == 0);
    lc_free(text);
    lc_free(weights);
    lc_tokens_release(&tokens);
    lc_rendered_release(&rendered);
}

/* Whether a path such as messages[2].role names something in the row. */
static bool is_there(const cJSON *at, const char *path)
{
    while (*path != '\0' && at != NULL) {
        char key[64] = "";
        if (*path == '[') {
            char *end;
            at = cJSON_GetArrayItem(at, (int)strtol(path + 1, &end, 10));
            path = end + 1;
            continue;
        }
        path += *path == '.';
        const size_t length = strcspn(path, ".[");
        must(length > 0 && length < sizeof key);
        memcpy(key, path, length);
        at = cJSON_GetObjectItemCaseSensitive(at, key);
        path += length;
    }
    return at != NULL;
}

/* Returns the errors by one method's rules, those left out that lc_chat_row_parse lets pass. */
static int64_t check_rules(lc_row_checker *checker, lc_method method, const lc_row_text *row,
                           const cJSON *tree)
{
    lc_findings findings = {0};
    lc_row_facts facts;
    lc_err err = {0};
    must(lc_row_check(checker, row, method, &findings, &facts, &err) == LC_OK);
    int64_t sum = 0;
    for (int code = 0; code < LC_FINDING_COUNT; code++) {
        sum += findings.counts[code];
    }
    must(sum == findings.error_count + findings.warning_count);
    must(tree != NULL || findings.error_count == 1);
    for (int64_t i = 0; i < findings.kept_count; i++) {
        const lc_finding *finding = &findings.kept[i];
        must(finding->line == 1 && finding->message[0] != '\0');
        must(tree != NULL ? is_there(tree, finding->path) : finding->path[0] == '\0');
    }
    const int64_t errors = findings.error_count - findings.counts[LC_FINDING_NO_TRAINED_MESSAGE];
    lc_findings_release(&findings);
    return errors;
}

static int64_t check_all_rules(const uint8_t *data, size_t size)
{
    const lc_row_text row = {.text = (const char *)data, .bytes = size, .line = 1, .offset = 0};
    lc_row_checker *checker = NULL;
    lc_err err = {0};
    cJSON *tree = NULL;
    must(lc_row_checker_open(&checker, &err) == LC_OK);
    (void)(lc_json_parse(row.text, size, LC_JSON_DEFAULT, "row", &tree, &err) == LC_OK);
    const int64_t errors = check_rules(checker, LC_METHOD_SUPERVISED, &row, tree);
    (void)check_rules(checker, LC_METHOD_DPO, &row, tree);
    (void)check_rules(checker, LC_METHOD_REINFORCEMENT, &row, tree);
    cJSON_Delete(tree);
    lc_row_checker_close(checker);
    return errors;
}

/* ---- a file of rows ---- */

static void check_report(const lc_check_report *report, int64_t lines)
{
    const lc_findings *findings = &report->findings;
    int64_t sum = 0;
    for (int code = 0; code < LC_FINDING_COUNT; code++) {
        sum += findings->counts[code];
    }
    must(sum == findings->error_count + findings->warning_count && !findings->failed);
    must(report->good_rows <= report->rows && report->rows <= lines);
    must(report->tool_rows <= report->rows && report->duplicate_rows <= report->rows);
    must(findings->error_count > 0 || report->good_rows == report->rows);
    for (int64_t i = 0; i < findings->kept_count; i++) {
        must(findings->kept[i].line >= 0 && findings->kept[i].line <= lines);
    }
}

/* Tokenizing finds what the check has counted. */
static void load(const lc_check_report *report)
{
    lc_err err = {0};
    lc_dataset dataset;
    const lc_dataset_reading reading = {
        .what = "Training file", .max_tokens = MAX_TOKENS, .threads = 1};
    must(lc_dataset_load_jsonl(file_path, &reading, tokenizer, compared, &dataset, &err) == LC_OK);
    must(dataset.example_count == report->rows && dataset.token_count == report->tokens.sum);
    must(dataset.target_count == report->trained.sum);
    must(dataset.truncated_tokens == report->truncated_tokens && dataset.longest <= MAX_TOKENS);
    lc_dataset_release(&dataset);
}

static void check_file_as(lc_method method, int64_t lines)
{
    lc_err err = {0};
    lc_check_report report;
    const lc_check_options options = {.path = file_path,
                                      .what = "Training file",
                                      .method = method,
                                      .threads = 1,
                                      .tokenizer = tokenizer,
                                      .chat_template = compared,
                                      .max_tokens = MAX_TOKENS,
                                      .finds_duplicates = true};
    must(lc_check_file(&options, &report, &err) == LC_OK);
    check_report(&report, lines);
    if (method == LC_METHOD_SUPERVISED && report.findings.error_count == 0) {
        load(&report);
    }
    lc_check_report_release(&report);
}

static void check_file(const uint8_t *data, size_t size)
{
    int64_t lines = 1;
    for (size_t i = 0; i < size; i++) {
        lines += data[i] == '\n';
    }
    must(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
    for (int method = 0; method < LC_METHOD_COUNT; method++) {
        check_file_as((lc_method)method, lines);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lc_err err = {0};
    lc_chat_row row;
    load_once();
    if (size > 0 && memchr(data, '\n', size) != NULL) {
        check_file(data, size);
    }
    const lc_code code = lc_chat_row_parse((const char *)data, size, 1, &row, &err);
    must(code == err.code && code != LC_ERR_INTERNAL);
    must((code == LC_OK) == (check_all_rules(data, size) == 0));
    if (code != LC_OK) {
        must(err.message[0] != '\0' && err.line == 1 && row.row == NULL);
        return 0;
    }
    check_row(&row, compared);
    check_row(&row, &marked);
    lc_chat_row_release(&row);
    return 0;
}
