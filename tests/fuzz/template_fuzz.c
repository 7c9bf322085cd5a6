/*
 * Any bytes as a chat template and what it is given: the source, a NUL, a JSON object. It is
 * compiled, and rendered with spans; whatever happens ends within the limits and says why.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_program.h"
#include "text/number_spelling.h"
#include "text/template_internal.h"
#include "text/utf8.h"

#define MAX_INPUT 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void check_spans(const lc_rendered *rendered)
{
    for (size_t i = 0; i < rendered->span_count; i++) {
        must(rendered->spans[i].begin < rendered->spans[i].end &&
             rendered->spans[i].end <= rendered->bytes);
    }
}

static void render(lc_jprogram *program, const cJSON *row, bool with_spans)
{
    lc_err err = {0};
    lc_rendered rendered;
    lc_chat_template t = {.usual = program, .name = "fuzz", .has_date = true};
    const lc_template_args args = {.row = row, .is_raw = !with_spans, .with_spans = with_spans};
    const lc_code code = lc_chat_template_render(&t, &args, &rendered, &err);
    must(code == err.code && code != LC_ERR_INTERNAL);
    if (code != LC_OK) {
        must(err.message[0] != '\0' && rendered.text == NULL);
        return;
    }
    must(strlen(rendered.text) <= rendered.bytes &&
         lc_utf8_valid_prefix(rendered.text, rendered.bytes) == rendered.bytes);
    check_spans(&rendered);
    lc_rendered_release(&rendered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lc_err err = {0};
    lc_jprogram *program = NULL;
    cJSON *row = NULL;
    const char *text = (const char *)data;
    const char *end = size > 0 ? memchr(text, '\0', size) : NULL;
    const size_t bytes = end != NULL ? (size_t)(end - text) : size;
    if (size > MAX_INPUT || lc_utf8_valid_prefix(text, bytes) != bytes) {
        return 0;
    }
    const lc_code code = lc_jinja_compile(text, bytes, "fuzz", &program, &err);
    must(code == err.code && code != LC_ERR_INTERNAL && (code == LC_OK) == (program != NULL));
    if (code == LC_OK && end != NULL) {
        const size_t left = size - bytes - 1;
        lc_err_clear(&err);
        if (lc_json_parse(end + 1, left, LC_JSON_DEFAULT, "row", &row, &err) == LC_OK &&
            lc_json_keep_spelling(row, end + 1, left, &err) == LC_OK && cJSON_IsObject(row)) {
            render(program, row, false);
            render(program, row, true);
        }
    }
    cJSON_Delete(row);
    lc_jinja_free(program);
    return 0;
}
