/*
 * Any bytes as one row of chat JSONL: checked, normalised, rendered, and tokenized with the
 * shipped tokenizer. The tokens must give the rendered text again, and weights must be 0 or 1 with
 * 0 in front.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"

#define MODEL LC_SOURCE_DIR "/models/sprout-3m"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static lc_tokenizer *tokenizer;
static lc_chat_template *chat_template;

static void must(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void load_once(void)
{
    lc_err err = {0};
    if (tokenizer == NULL && (lc_tokenizer_load(MODEL, &tokenizer, &err) != LC_OK ||
                              lc_chat_template_load(MODEL, &chat_template, &err) != LC_OK)) {
        (void)fprintf(stderr, "%s\n", err.message);
        abort();
    }
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

static void check_row(const lc_chat_row *row)
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lc_err err = {0};
    lc_chat_row row;
    load_once();
    const lc_code code = lc_chat_row_parse((const char *)data, size, 1, &row, &err);
    must(code == err.code && code != LC_ERR_INTERNAL);
    if (code != LC_OK) {
        must(err.message[0] != '\0' && err.line == 1 && row.row == NULL);
        return 0;
    }
    check_row(&row);
    lc_chat_row_release(&row);
    return 0;
}
