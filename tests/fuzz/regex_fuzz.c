/*
 * Any bytes as a pattern and a text, with a NUL between them. One byte in front of the pattern: by
 * its value one of the published patterns is taken instead. Any pattern must end, in matches that
 * do not overlap or in an error that says why. Those matched by hand must match as PCRE2 does, and
 * on PCRE2 the windows of the text that it sees must make no difference.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lorac/mem.h"
#include "text/pattern.h"
#include "text/regex.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One way to search. */
typedef struct way {
    lc_regex *regex;
    lc_matcher *matcher;
} way;

typedef struct found {
    size_t begin, end;
    bool is_there;
    lc_code code;
} found;

static void must(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static bool open_way(way *w, lc_code (*compile)(const char *, lc_regex **, lc_err *),
                     const char *pattern, size_t bytes)
{
    lc_err err = {0};
    *w = (way){0};
    const lc_code code = compile(pattern, &w->regex, &err);
    must((code == LC_OK) == (w->regex != NULL));
    must(code == LC_OK || (err.message[0] != '\0' && code != LC_ERR_INTERNAL));
    if (code == LC_OK) {
        must(lc_matcher_create(&w->matcher, &err) == LC_OK);
        lc_matcher_begin(w->matcher, bytes);
    }
    return code == LC_OK;
}

static void close_way(way *w)
{
    lc_matcher_free(w->matcher);
    lc_regex_free(w->regex);
}

static found find(const way *w, const char *text, size_t bytes, size_t from)
{
    lc_err err = {0};
    found f = {0};
    f.code =
        lc_regex_find(w->regex, w->matcher, text, bytes, from, &f.is_there, &f.begin, &f.end, &err);
    must(f.code == err.code);
    if (f.code != LC_OK) {
        must(f.code == LC_ERR_INVALID && strstr(err.message, "LC_MAX_REGEX_STEPS") != NULL);
        return (found){.code = f.code};
    }
    if (!f.is_there) {
        return (found){0};
    }
    must(f.begin >= from && f.end > f.begin && f.end <= bytes);
    must((text[f.begin] & 0xc0) != 0x80 && (f.end == bytes || (text[f.end] & 0xc0) != 0x80));
    return f;
}

/* Searches the whole text. Where one of them gave up, they cannot be compared any more. */
static void run(const way *ways, size_t count, const char *text, size_t bytes)
{
    size_t from = 0;
    for (found first = {.is_there = true}; first.code == LC_OK && first.is_there;) {
        first = find(&ways[0], text, bytes, from);
        for (size_t i = 1; i < count && first.code == LC_OK; i++) {
            const found other = find(&ways[i], text, bytes, from);
            count = other.code == LC_OK ? count : i;
            must(other.code != LC_OK || (other.is_there == first.is_there &&
                                         other.begin == first.begin && other.end == first.end));
        }
        from = first.end;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    way ways[4] = {{0}};
    const uint8_t *zero = size > 1 ? memchr(data + 1, '\0', size - 1) : NULL;
    if (zero == NULL) {
        return 0;
    }
    const char *text = (const char *)zero + 1;
    const size_t bytes = lc_utf8_valid_prefix(text, (size_t)(data + size - zero) - 1);
    const char *pattern = (const char *)data + 1;
    if (lc_utf8_valid_prefix(pattern, strlen(pattern)) != strlen(pattern)) {
        return 0; /* JSON has no others */
    }
    pattern = lc_pattern_text(data[0]) != NULL ? lc_pattern_text(data[0]) : pattern;
    size_t count = 0;
    if (open_way(&ways[count], lc_regex_compile_pcre2, pattern, bytes)) {
        count++;
        for (int i = 0; i < 2; i++) {
            must(open_way(&ways[count++], lc_regex_compile_pcre2, pattern, bytes));
        }
        lc_matcher_see(ways[1].matcher, SIZE_MAX);
        lc_matcher_see(ways[2].matcher, 1 + bytes % 19);
    }
    if (lc_pattern_of(pattern) != NULL) {
        must(count == 3 && open_way(&ways[count++], lc_regex_compile, pattern, bytes));
    }
    if (count > 0) {
        run(ways, count, text, bytes);
    }
    for (size_t i = 0; i < count; i++) {
        close_way(&ways[i]);
    }
    return 0;
}
