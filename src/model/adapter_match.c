/*
 * PEFT's matching rules over PCRE2. A pattern made of names and dots, which almost all are, is
 * compared directly (a dot still stands for any character, as in the regular expression that it
 * is).
 */
#include "model/adapter_match.h"

#include <stdio.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "lorac/mem.h"

struct lc_pattern {
    lc_pattern_rule rule;
    char text[LC_MAX_PATTERN_BYTES + 1];
    pcre2_general_context *memory; /* owned; NULL for a plain pattern, like the three below */
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
};

static void *pattern_malloc(size_t bytes, void *context)
{
    (void)context;
    return lc_malloc(bytes);
}

static void pattern_free(void *memory, void *context)
{
    (void)context;
    lc_free(memory);
}

static bool is_plain(const char *text)
{
    return text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.")] ==
           '\0';
}

static lc_code compile_regex(lc_pattern *pattern, const char *what, lc_err *err)
{
    char text[LC_MAX_PATTERN_BYTES + 16];
    const bool is_whole = pattern->rule == LC_PATTERN_WHOLE;
    const int length =
        snprintf(text, sizeof(text), is_whole ? "%s" : "(.*\\.)?(%s)$", pattern->text);
    int error = 0;
    PCRE2_SIZE at = 0;
    pattern->memory = pcre2_general_context_create(pattern_malloc, pattern_free, NULL);
    pcre2_compile_context *compile = pcre2_compile_context_create(pattern->memory);
    if (pattern->memory == NULL || compile == NULL) {
        pcre2_compile_context_free(compile);
        return lc_fail(err, LC_ERR_MEMORY, "%s: out of memory", what);
    }
    (void)pcre2_set_parens_nest_limit(compile, 50);
    const uint32_t options =
        PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C | (is_whole ? PCRE2_ENDANCHORED : 0);
    pattern->code =
        pcre2_compile((PCRE2_SPTR)text, (PCRE2_SIZE)length, options, &error, &at, compile);
    pcre2_compile_context_free(compile);
    if (pattern->code == NULL && error == PCRE2_ERROR_HEAP_FAILED) {
        return lc_fail(err, LC_ERR_MEMORY, "%s: out of memory", what);
    }
    if (pattern->code == NULL) {
        PCRE2_UCHAR reason[128] = "";
        (void)pcre2_get_error_message(error, reason, sizeof(reason));
        return lc_fail(err, LC_ERR_INVALID, "%s: \"%.200s\" is not a regular expression: %s", what,
                       pattern->text, (const char *)reason);
    }
    pattern->data = pcre2_match_data_create(1, pattern->memory);
    pattern->limits = pcre2_match_context_create(pattern->memory);
    if (pattern->data == NULL || pattern->limits == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "%s: out of memory", what);
    }
    (void)pcre2_set_match_limit(pattern->limits, LC_PATTERN_STEPS);
    (void)pcre2_set_depth_limit(pattern->limits, LC_PATTERN_STEPS);
    (void)pcre2_set_heap_limit(pattern->limits, 4096);
    return LC_OK;
}

lc_code lc_pattern_compile(const char *text, lc_pattern_rule rule, const char *what,
                           lc_pattern **out, lc_err *err)
{
    const size_t length = strlen(text);
    lc_pattern *pattern = NULL;
    *out = NULL;
    if (length > LC_MAX_PATTERN_BYTES) {
        return lc_fail(err, LC_ERR_INVALID, "%s: a pattern of %zu bytes, the limit is %d", what,
                       length, LC_MAX_PATTERN_BYTES);
    }
    LC_TRY(lc_new((void **)&pattern, 1, sizeof(*pattern), what, err));
    pattern->rule = rule;
    memcpy(pattern->text, text, length + 1);
    const lc_code code = is_plain(text) ? LC_OK : compile_regex(pattern, what, err);
    if (code != LC_OK) {
        lc_pattern_free(pattern);
        return code;
    }
    *out = pattern;
    return LC_OK;
}

/* `count` characters, a dot in the pattern stands for any. */
static bool equals_plain(const char *name, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (text[i] != '.' && text[i] != name[i]) {
            return false;
        }
    }
    return true;
}

static bool match_plain(const lc_pattern *pattern, const char *name)
{
    const size_t length = strlen(name), count = strlen(pattern->text);
    if (count > length || (pattern->rule == LC_PATTERN_WHOLE && count != length)) {
        return false;
    }
    const size_t start = length - count;
    return (start == 0 || name[start - 1] == '.') &&
           equals_plain(name + start, pattern->text, count);
}

lc_code lc_pattern_match(const lc_pattern *pattern, const char *name, bool *is_match, lc_err *err)
{
    if (pattern->code == NULL) {
        *is_match = match_plain(pattern, name);
        return LC_OK;
    }
    const int found = pcre2_match(pattern->code, (PCRE2_SPTR)name, strlen(name), 0, 0,
                                  pattern->data, pattern->limits);
    if (found == PCRE2_ERROR_NOMEMORY) {
        return lc_fail(err, LC_ERR_MEMORY, "pattern \"%.200s\": out of memory", pattern->text);
    }
    if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
        PCRE2_UCHAR reason[128] = "";
        (void)pcre2_get_error_message(found, reason, sizeof(reason));
        return lc_fail(err, LC_ERR_INVALID, "pattern \"%.200s\" on \"%s\": %s", pattern->text, name,
                       (const char *)reason);
    }
    *is_match = found >= 0;
    return LC_OK;
}

bool lc_pattern_is_regex(const lc_pattern *pattern)
{
    return pattern->code != NULL;
}

void lc_pattern_free(lc_pattern *pattern)
{
    if (pattern == NULL) {
        return;
    }
    pcre2_match_context_free(pattern->limits);
    pcre2_match_data_free(pattern->data);
    pcre2_code_free(pattern->code);
    pcre2_general_context_free(pattern->memory);
    lc_free(pattern);
}

bool lc_name_matches(const char *name, const char *target)
{
    const size_t length = strlen(name), count = strlen(target);
    if (count > length || strcmp(name + length - count, target) != 0) {
        return false;
    }
    return count == length || name[length - count - 1] == '.';
}
