/*
 * Any bytes as a pattern and a text, with a NUL between them. One byte in front of the pattern: by
 * its value one of the published patterns is taken instead. Those matched by hand must match as
 * PCRE2 does; any pattern must end, in matches that do not overlap or in an error that says why.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lorac/mem.h"
#include "text/pattern.h"
#include "text/regex.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void run(const lc_regex *regex, const lc_regex *other, const char *text, size_t bytes)
{
    lc_err err = {0};
    lc_matcher *matcher = NULL;
    bool found = true;
    size_t begin = 0, end = 0;
    must(lc_matcher_create(&matcher, &err) == LC_OK);
    lc_matcher_begin(matcher, bytes);
    for (size_t from = 0; found; from = end) {
        const lc_code code =
            lc_regex_find(regex, matcher, text, bytes, from, &found, &begin, &end, &err);
        if (code != LC_OK) {
            must(code == LC_ERR_INVALID && err.message[0] != '\0' && other == NULL);
            break;
        }
        must(!found || (begin >= from && end > begin && end <= bytes));
        if (other != NULL) {
            bool also = false;
            size_t other_begin = 0, other_end = 0;
            must(lc_regex_find(other, matcher, text, bytes, from, &also, &other_begin, &other_end,
                               &err) == LC_OK);
            must(also == found && (!found || (other_begin == begin && other_end == end)));
        }
    }
    lc_matcher_free(matcher);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lc_err err = {0};
    lc_regex *regex = NULL, *other = NULL;
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
    const lc_code code = lc_regex_compile(pattern, &regex, &err);
    must(code == LC_OK || (err.message[0] != '\0' && regex == NULL && code != LC_ERR_INTERNAL));
    if (code == LC_OK) {
        if (lc_pattern_of(pattern) != NULL) {
            must(lc_regex_compile_pcre2(pattern, &other, &err) == LC_OK);
        }
        run(regex, other, text, bytes);
    }
    lc_regex_free(other);
    lc_regex_free(regex);
    return 0;
}
