/*
 * Any bytes as a chat template and what it is given: the source, a NUL, a JSON object. It is
 * compiled, and rendered as `lorac template` does (all variables at once) and as training does
 * (messages and tools, with the spans of the answers), as the model's usual template and as the one
 * for tools. Whatever happens ends within the limits and says why; the same is rendered twice; and
 * spans, marked or compared, do not change the text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_program.h"
#include "text/number_spelling.h"
#include "text/template_internal.h"
#include "text/utf8.h"

#define MAX_INPUT 65536
#define MAX_STEPS 1000000 /* a hundredth of LC_MAX_TEMPLATE_STEPS: an input is rendered often */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void check_spans(const lc_rendered *rendered, const cJSON *messages, bool is_compared)
{
    const lc_span *before = NULL;
    for (size_t i = 0; i < rendered->span_count; i++) {
        const lc_span *span = &rendered->spans[i];
        must(span->begin < span->end && span->end <= rendered->bytes);
        if (is_compared) {
            const cJSON *message = cJSON_GetArrayItem(messages, (int)span->message);
            const cJSON *role = lc_json_get(message, "role");
            must(cJSON_IsString(role) && strcmp(role->valuestring, "assistant") == 0);
            must(before == NULL || span->message > before->message);
        }
        before = span;
    }
}

static lc_code render(const lc_chat_template *t, const lc_template_args *args, lc_rendered *out)
{
    lc_err err = {0};
    const lc_code code = lc_chat_template_render(t, args, out, &err);
    must(code == err.code && code != LC_ERR_INTERNAL && code != LC_ERR_MEMORY);
    if (code != LC_OK) {
        must(err.message[0] != '\0' && out->text == NULL && out->spans == NULL);
        return code;
    }
    must(strlen(out->text) <= out->bytes &&
         lc_utf8_valid_prefix(out->text, out->bytes) == out->bytes);
    return LC_OK;
}

/* Without spans and with them. */
static void render_both(const lc_chat_template *t, lc_template_args args, const cJSON *messages)
{
    const lc_jprogram *program = t->usual != NULL ? t->usual : t->for_tools;
    lc_rendered plain, spanned;
    const lc_code code = render(t, &args, &plain);
    args.with_spans = true;
    const lc_code with_spans = render(t, &args, &spanned);
    must(code == LC_OK || with_spans == code);
    if (with_spans == LC_OK) {
        must(plain.bytes == spanned.bytes && memcmp(plain.text, spanned.text, plain.bytes) == 0);
        check_spans(&spanned, messages, !program->has_generation);
    }
    lc_rendered_release(&plain);
    lc_rendered_release(&spanned);
}

static void render_all(lc_jprogram *program, const cJSON *row)
{
    const lc_chat_template usual = {
        .usual = program, .name = "fuzz", .has_date = true, .steps = MAX_STEPS};
    const lc_chat_template for_tools = {
        .for_tools = program, .tools_name = "fuzz", .has_date = true, .steps = MAX_STEPS};
    const cJSON *messages = lc_json_get(row, "messages");
    lc_rendered rendered;
    (void)render(&usual, &(lc_template_args){.row = row, .is_raw = true}, &rendered);
    lc_rendered_release(&rendered);
    render_both(&usual, (lc_template_args){.row = row}, messages);
    const lc_template_args args = {.messages = messages,
                                   .tools = lc_json_get(row, "tools"),
                                   .add_generation_prompt =
                                       cJSON_IsTrue(lc_json_get(row, "add_generation_prompt"))};
    render_both(&for_tools, args, messages);
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
            render_all(program, row);
        }
    }
    cJSON_Delete(row);
    lc_jinja_free(program);
    return 0;
}
