/*
 * What `lorac validate` prints: for people, as JSON, and the table of codes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/format.h"
#include "cli/terminal.h"
#include "cli/validate.h"

#define HISTOGRAM_WIDTH 40

static const char *severity_name(lc_severity severity)
{
    return severity == LC_SEVERITY_ERROR ? "error" : "warning";
}

static int64_t message_count(const lc_check_report *report)
{
    int64_t count = 0;
    for (int role = 0; role < LC_ROLE_COUNT; role++) {
        count += report->messages_of[role];
    }
    return count;
}

/* ---- the histogram: bins double from one to the next ---- */

static int64_t first_bin(const lc_length_counts *counts)
{
    const int64_t shortest = lc_length_counts_percentile(counts, 0);
    int64_t from = 1;
    while (2 * from <= shortest) {
        from *= 2;
    }
    return from;
}

/* Whether there is something at or beyond `from`. */
static bool has_beyond(const lc_length_counts *counts, int64_t from)
{
    return counts->count > 0 && lc_length_counts_percentile(counts, 100) >= from;
}

/* ---- for people ---- */

static void print_finding(const lc_finding *finding)
{
    if (finding->line > 0) {
        printf("  line %" PRId64 "%s%s: %s\n", finding->line, finding->path[0] != '\0' ? ", " : "",
               finding->path, finding->message);
    } else {
        printf("  %s\n", finding->message);
    }
}

static void print_code(const lc_findings *findings, lc_finding_code code)
{
    const lc_finding_kind *kind = &lc_finding_kinds[code];
    char count[LC_FORMAT_BYTES];
    int64_t shown = 0;
    printf("%s %s (%s): %s. To do: %s.\n", severity_name(kind->severity), kind->name,
           lc_format_grouped(findings->counts[code], count), kind->meaning, kind->advice);
    for (int64_t i = 0; i < findings->kept_count; i++) {
        if (findings->kept[i].code == code) {
            print_finding(&findings->kept[i]);
            shown++;
        }
    }
    if (shown < findings->counts[code]) {
        char more[LC_FORMAT_BYTES];
        printf("  ... and %s more\n", lc_format_grouped(findings->counts[code] - shown, more));
    }
}

static void print_findings(const lc_findings *findings)
{
    for (int severity = LC_SEVERITY_ERROR; severity <= LC_SEVERITY_WARNING; severity++) {
        for (int code = 0; code < LC_FINDING_COUNT; code++) {
            if (findings->counts[code] > 0 &&
                lc_finding_kinds[code].severity == (lc_severity)severity) {
                print_code(findings, (lc_finding_code)code);
            }
        }
    }
}

static void print_counts(const lc_validation *v)
{
    const lc_check_report *report = &v->report;
    char size[LC_FORMAT_BYTES], a[LC_FORMAT_BYTES], b[LC_FORMAT_BYTES];
    const char *comma = " (";
    printf("%s: %s rows, %s messages", v->file, lc_format_grouped(report->rows, a),
           lc_format_grouped(message_count(report), b));
    for (int role = 0; role < LC_ROLE_COUNT; role++) {
        if (report->messages_of[role] > 0) {
            printf("%s%s %s", comma, lc_format_grouped(report->messages_of[role], a),
                   lc_role_names[role]);
            comma = ", ";
        }
    }
    printf("%s, %s\n", comma[0] == ',' ? ")" : "", lc_format_size(report->bytes, size));
    if (report->tool_rows > 0) {
        printf("rows with tools: %s\n", lc_format_grouped(report->tool_rows, a));
    }
    if (report->duplicate_rows > 0) {
        printf("duplicate rows: %s%s\n", lc_format_grouped(report->duplicate_rows, a),
               report->are_duplicates_partial ? " at least: there are too many rows to compare all"
                                              : "");
    }
}

static void print_lengths(const char *what, const lc_length_counts *counts)
{
    char text[5][LC_FORMAT_BYTES];
    static const int percents[] = {0, 50, 95, 100};
    printf("%-16s %14s", what, lc_format_grouped(counts->sum, text[4]));
    for (int i = 0; i < 4; i++) {
        printf(" %10s",
               lc_format_grouped(lc_length_counts_percentile(counts, percents[i]), text[i]));
    }
    printf("\n");
}

static void print_histogram(const lc_length_counts *counts)
{
    int64_t most = 1;
    for (int64_t from = first_bin(counts); has_beyond(counts, from); from *= 2) {
        const int64_t rows = lc_length_counts_between(counts, from, 2 * from);
        most = rows > most ? rows : most;
    }
    printf("tokens of a row            rows\n");
    for (int64_t from = first_bin(counts); has_beyond(counts, from); from *= 2) {
        const int64_t rows = lc_length_counts_between(counts, from, 2 * from);
        char count[LC_FORMAT_BYTES];
        printf("%8" PRId64 " to %8" PRId64 " %10s%s", from, 2 * from - 1,
               lc_format_grouped(rows, count), rows > 0 ? "  " : "");
        const int64_t filled = (rows * HISTOGRAM_WIDTH + most - 1) / most;
        for (int64_t i = 0; i < filled; i++) {
            (void)fputc('#', stdout);
        }
        printf("\n");
    }
}

static void print_tokens(const lc_validation *v)
{
    const lc_check_report *report = &v->report;
    char a[LC_FORMAT_BYTES], b[LC_FORMAT_BYTES];
    printf("%-16s %14s %10s %10s %10s %10s\n", "", "all rows", "shortest", "median", "95 %",
           "longest");
    print_lengths("tokens", &report->tokens);
    print_lengths("trained tokens", &report->trained);
    print_histogram(&report->tokens);
    if (report->truncated_rows > 0) {
        printf("%s rows are cut to %" PRId64 " tokens, %s tokens are left out\n",
               lc_format_grouped(report->truncated_rows, a), v->max_tokens,
               lc_format_grouped(report->truncated_tokens, b));
    }
}

static void print_job(const lc_validation *v)
{
    char steps[LC_FORMAT_BYTES], tokens[LC_FORMAT_BYTES];
    printf("a job without hyperparameters: %" PRId64 " epochs, batch size %" PRId64
           ", %s steps, %s tokens (tokens x epochs)\n",
           v->job.n_epochs, v->job.batch_size, lc_format_grouped(v->job.total_steps, steps),
           lc_format_grouped(v->report.tokens.sum * v->job.n_epochs, tokens));
}

lc_code lc_validation_print(const lc_validation *v, lc_err *err)
{
    const lc_findings *findings = &v->report.findings;
    (void)err;
    print_findings(findings);
    print_counts(v);
    if (v->has_tokens && v->report.tokens.count > 0) {
        print_tokens(v);
    }
    if (v->has_job) {
        print_job(v);
    }
    for (int i = 0; v->notes[i] != NULL; i++) {
        printf("note: %s\n", v->notes[i]);
    }
    if (findings->error_count == 0) {
        printf("%s, %" PRId64 " warning(s)\n",
               v->method == LC_METHOD_SUPERVISED ? "ready for training" : "no errors",
               findings->warning_count);
    } else {
        printf("%" PRId64 " error(s), %" PRId64 " warning(s)\n", findings->error_count,
               findings->warning_count);
    }
    return LC_OK;
}

/* ---- as JSON ---- */

static void add_string(lc_text *text, const char *before, const char *value)
{
    lc_text_addf(text, "%s", before);
    lc_text_add_json_string(text, value, strlen(value));
}

static void add_shown(const lc_findings *findings, lc_finding_code code, lc_text *text)
{
    const char *comma = "";
    lc_text_addf(text, ", \"shown\": [");
    for (int64_t i = 0; i < findings->kept_count; i++) {
        const lc_finding *finding = &findings->kept[i];
        if (finding->code != code) {
            continue;
        }
        lc_text_addf(text, "%s{\"line\": ", comma);
        if (finding->line > 0) {
            lc_text_addf(text, "%" PRId64, finding->line);
        } else {
            lc_text_addf(text, "null");
        }
        add_string(text, ", \"path\": ", finding->path);
        add_string(text, ", \"message\": ", finding->message);
        lc_text_addf(text, "}");
        comma = ", ";
    }
    lc_text_addf(text, "]}");
}

static void add_problems(const lc_findings *findings, lc_text *text)
{
    const char *comma = "";
    lc_text_addf(text, ", \"problems\": [");
    for (int code = 0; code < LC_FINDING_COUNT; code++) {
        const lc_finding_kind *kind = &lc_finding_kinds[code];
        if (findings->counts[code] == 0) {
            continue;
        }
        lc_text_addf(text,
                     "%s{\"code\": \"%s\", \"severity\": \"%s\", \"count\": %" PRId64
                     ", \"service_code\": ",
                     comma, kind->name, severity_name(kind->severity), findings->counts[code]);
        if (strcmp(kind->service, "-") == 0) {
            lc_text_addf(text, "null");
        } else {
            lc_text_addf(text, "\"%s\"", kind->service);
        }
        add_string(text, ", \"meaning\": ", kind->meaning);
        add_string(text, ", \"advice\": ", kind->advice);
        add_shown(findings, (lc_finding_code)code, text);
        comma = ", ";
    }
    lc_text_addf(text, "]");
}

static void add_lengths(const char *key, const lc_length_counts *counts, lc_text *text)
{
    lc_text_addf(text,
                 "\"%s\": {\"min\": %" PRId64 ", \"median\": %" PRId64 ", \"p95\": %" PRId64
                 ", \"max\": %" PRId64 "}",
                 key, lc_length_counts_percentile(counts, 0),
                 lc_length_counts_percentile(counts, 50), lc_length_counts_percentile(counts, 95),
                 lc_length_counts_percentile(counts, 100));
}

static void add_tokens(const lc_validation *v, lc_text *text)
{
    const lc_check_report *report = &v->report;
    const char *comma = "";
    lc_text_addf(text,
                 ", \"tokens\": {\"total\": %" PRId64 ", \"trained\": %" PRId64
                 ", \"max_tokens\": %" PRId64 ", \"truncated_rows\": %" PRId64
                 ", \"truncated_tokens\": %" PRId64 ", ",
                 report->tokens.sum, report->trained.sum, v->max_tokens, report->truncated_rows,
                 report->truncated_tokens);
    add_lengths("per_row", &report->tokens, text);
    lc_text_addf(text, ", ");
    add_lengths("trained_per_row", &report->trained, text);
    lc_text_addf(text, ", \"histogram\": [");
    for (int64_t from = first_bin(&report->tokens); has_beyond(&report->tokens, from); from *= 2) {
        lc_text_addf(text, "%s{\"from\": %" PRId64 ", \"to\": %" PRId64 ", \"rows\": %" PRId64 "}",
                     comma, from, 2 * from - 1,
                     lc_length_counts_between(&report->tokens, from, 2 * from));
        comma = ", ";
    }
    lc_text_addf(text, "]}");
}

static void add_job(const lc_validation *v, lc_text *text)
{
    lc_text_addf(text,
                 ", \"job\": {\"n_epochs\": %" PRId64 ", \"batch_size\": %" PRId64
                 ", \"steps_per_epoch\": %" PRId64 ", \"total_steps\": %" PRId64
                 ", \"tokens_x_epochs\": %" PRId64 "}",
                 v->job.n_epochs, v->job.batch_size, v->job.steps_per_epoch, v->job.total_steps,
                 v->report.tokens.sum * v->job.n_epochs);
}

lc_code lc_validation_print_json(const lc_validation *v, lc_err *err)
{
    const lc_check_report *report = &v->report;
    lc_text text;
    lc_text_init(&text);
    add_string(&text, "{\"file\": ", v->file);
    lc_text_addf(&text,
                 ", \"method\": \"%s\", \"valid\": %s, \"error_count\": %" PRId64
                 ", \"warning_count\": %" PRId64 ", \"bytes\": %" PRId64 ", \"rows\": %" PRId64
                 ", \"good_rows\": %" PRId64 ", \"messages\": %" PRId64 ", \"messages_by_role\": {",
                 lc_method_names[v->method], report->findings.error_count == 0 ? "true" : "false",
                 report->findings.error_count, report->findings.warning_count, report->bytes,
                 report->rows, report->good_rows, message_count(report));
    for (int role = 0; role < LC_ROLE_COUNT; role++) {
        lc_text_addf(&text, "%s\"%s\": %" PRId64, role > 0 ? ", " : "", lc_role_names[role],
                     report->messages_of[role]);
    }
    lc_text_addf(&text,
                 "}, \"rows_with_tools\": %" PRId64 ", \"duplicate_rows\": %" PRId64
                 ", \"duplicates_partial\": %s",
                 report->tool_rows, report->duplicate_rows,
                 report->are_duplicates_partial ? "true" : "false");
    if (v->has_tokens) {
        add_tokens(v, &text);
    }
    if (v->has_job) {
        add_job(v, &text);
    }
    lc_text_addf(&text, ", \"notes\": [");
    for (int i = 0; v->notes[i] != NULL; i++) {
        add_string(&text, i > 0 ? ", " : "", v->notes[i]);
    }
    lc_text_addf(&text, "]");
    add_problems(&report->findings, &text);
    lc_text_addf(&text, "}");
    return lc_print_text(&text, err);
}

/* ---- the table ---- */

lc_code lc_validation_print_codes(lc_err *err)
{
    lc_text text;
    lc_text_init(&text);
    lc_text_addf(&text, "| code | severity | the service's code | meaning | what to do |\n"
                        "|---|---|---|---|---|");
    for (int code = 0; code < LC_FINDING_COUNT; code++) {
        const lc_finding_kind *kind = &lc_finding_kinds[code];
        lc_text_addf(&text, "\n| `%s` | %s | %s | %s | %s |", kind->name,
                     severity_name(kind->severity), kind->service, kind->meaning, kind->advice);
    }
    return lc_print_text(&text, err);
}
