/*
 * Counting and keeping findings; see findings.h.
 */
#include "data/findings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lorac/mem.h"

#define MORE_BYTES 80 /* room for "; and 12 more: see lorac validate" */

#define KIND(name, text, severity, service, meaning, advice) \
    {text, LC_SEVERITY_##severity, service, meaning, advice},
const lc_finding_kind lc_finding_kinds[LC_FINDING_COUNT] = {LC_FINDING_CODES(KIND)};

void lc_findings_release(lc_findings *findings)
{
    lc_free(findings->kept);
    *findings = (lc_findings){0};
}

void lc_findings_clear(lc_findings *findings)
{
    if (findings->error_count + findings->warning_count > 0) {
        *findings = (lc_findings){.kept = findings->kept, .kept_capacity = findings->kept_capacity};
    }
}

bool lc_findings_wants(const lc_findings *findings, lc_finding_code code)
{
    return findings->kept_of[code] < LC_MAX_FINDINGS_KEPT;
}

static bool grow(lc_findings *findings)
{
    const int64_t capacity = findings->kept_capacity > 0 ? 2 * findings->kept_capacity : 8;
    lc_finding *kept = lc_realloc(findings->kept, (size_t)capacity * sizeof *kept);
    if (kept == NULL) {
        findings->failed = true;
        return false;
    }
    findings->kept = kept;
    findings->kept_capacity = capacity;
    return true;
}

static void keep(lc_findings *findings, const lc_finding *finding)
{
    if (findings->kept_count == findings->kept_capacity && !grow(findings)) {
        return;
    }
    findings->kept[findings->kept_count++] = *finding;
    findings->kept_of[finding->code]++;
}

static void count(lc_findings *findings, lc_finding_code code, int64_t number)
{
    const bool is_error = lc_finding_kinds[code].severity == LC_SEVERITY_ERROR;
    findings->counts[code] += number;
    *(is_error ? &findings->error_count : &findings->warning_count) += number;
}

/* Copies what is safe to show: no control characters (those of C1 too, as UTF-8), and no half
 * character at the end. */
static void copy_shown(char *out, size_t capacity, const char *text)
{
    size_t length = 0;
    for (; text[length] != '\0' && length + 1 < capacity; length++) {
        const unsigned char c = (unsigned char)text[length];
        const bool is_c1 = c == 0xC2 && ((unsigned char)text[length + 1] & 0xE0) == 0x80;
        out[length] = (char)c;
        if (c < 0x20 || c == 0x7F) {
            out[length] = '?';
        } else if (is_c1 && length + 2 < capacity) {
            out[length++] = '?';
            out[length] = '?';
        }
    }
    if (text[length] != '\0') { /* cut: not within a character */
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) {
            length--;
        }
    }
    out[length] = '\0';
}

void lc_findings_add(lc_findings *findings, lc_finding_code code, int64_t line, const char *path,
                     const char *message)
{
    count(findings, code, 1);
    if (!lc_findings_wants(findings, code)) {
        return;
    }
    lc_finding finding = {.code = code, .line = line};
    copy_shown(finding.path, sizeof finding.path, path != NULL ? path : "");
    copy_shown(finding.message, sizeof finding.message, message);
    keep(findings, &finding);
}

void lc_findings_drop(lc_findings *findings, lc_finding_code code)
{
    int64_t kept = 0;
    count(findings, code, -findings->counts[code]);
    for (int64_t i = 0; i < findings->kept_count; i++) {
        if (findings->kept[i].code != code) {
            findings->kept[kept++] = findings->kept[i];
        }
    }
    findings->kept_count = kept;
    findings->kept_of[code] = 0;
}

void lc_findings_merge(lc_findings *findings, const lc_findings *from, int64_t first_line)
{
    if (from->error_count + from->warning_count == 0) {
        return;
    }
    for (int code = 0; code < LC_FINDING_COUNT; code++) {
        count(findings, (lc_finding_code)code, from->counts[code]);
    }
    for (int64_t i = 0; i < from->kept_count; i++) {
        lc_finding finding = from->kept[i];
        finding.line += finding.line > 0 ? first_line - 1 : 0;
        if (lc_findings_wants(findings, finding.code)) {
            keep(findings, &finding);
        }
    }
    findings->failed |= from->failed;
}

static bool is_error(const lc_finding *finding)
{
    return lc_finding_kinds[finding->code].severity == LC_SEVERITY_ERROR;
}

/* "line 3, messages[0].role: what is wrong [unknown_role]"; the line is left out where it is that
 * of the finding before. */
static int format_finding(const lc_finding *finding, int64_t line_before, char *out,
                          size_t capacity)
{
    char line[32] = "";
    if (finding->line > 0 && finding->line != line_before) {
        (void)snprintf(line, sizeof line, "line %" PRId64, finding->line);
    }
    const char *comma = line[0] != '\0' && finding->path[0] != '\0' ? ", " : "";
    const char *colon = line[0] != '\0' || finding->path[0] != '\0' ? ": " : "";
    return snprintf(out, capacity, "%s%s%s%s%s [%s]", line, comma, finding->path, colon,
                    finding->message, lc_finding_kinds[finding->code].name);
}

lc_code lc_findings_fail(const lc_findings *findings, lc_err *err)
{
    char text[LC_ERR_MESSAGE_BYTES];
    size_t used = 0;
    const lc_finding *first = NULL;
    int64_t told = 0, line = 0;
    if (findings->failed) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for what was found in the rows");
    }
    if (findings->error_count == 0) {
        return LC_OK;
    }
    for (int64_t i = 0; i < findings->kept_count; i++) {
        const lc_finding *finding = &findings->kept[i];
        char one[LC_FINDING_PATH_BYTES + LC_FINDING_MESSAGE_BYTES + 80];
        if (!is_error(finding)) {
            continue;
        }
        const size_t length = (size_t)format_finding(finding, line, one, sizeof one);
        if (used + length + 2 + MORE_BYTES > sizeof text) {
            break;
        }
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s", told > 0 ? "; " : "", one);
        first = first == NULL ? finding : first;
        line = finding->line;
        told++;
    }
    if (told < findings->error_count) {
        (void)snprintf(text + used, sizeof text - used,
                       "; and %" PRId64 " more: see lorac validate", findings->error_count - told);
    }
    const bool is_unsupported = findings->counts[LC_FINDING_IMAGE_UNSUPPORTED] +
                                    findings->counts[LC_FINDING_PART_UNSUPPORTED] ==
                                findings->error_count;
    const lc_code code = is_unsupported ? LC_ERR_UNSUPPORTED : LC_ERR_INVALID;
    (void)lc_fail_line(err, code, first->line, "%s", text);
    return first->path[0] != '\0' ? (void)lc_err_param(err, first->path), code : code;
}
