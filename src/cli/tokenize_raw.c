/*
 * Raw text and token ids for scripts, see tokenize_raw.h: what Hugging Face's Tokenizer.encode and
 * decode give, line by line.
 */
#include "cli/tokenize_raw.h"

#include <string.h>

#include "cli/lines.h"
#include "lorac/mem.h"
#include "text/json_string.h"
#include "text/tokenizer.h"

typedef struct raw {
    const lc_raw_options *options;
    const lc_tokenizer *tokenizer;
    lc_text text;     /* of the line; used again */
    lc_tokens tokens; /* of the line; used again */
} raw;

static lc_code encode_line(void *context, const char *line, size_t bytes, lc_text *out,
                           lc_err *err);
static lc_code decode_line(void *context, const char *line, size_t bytes, lc_text *out,
                           lc_err *err);

lc_code lc_tokenize_raw(const lc_raw_options *options, lc_err *err)
{
    lc_tokenizer *tokenizer = NULL;
    LC_TRY(lc_tokenizer_load(options->model_dir, &tokenizer, err));
    raw r = {.options = options, .tokenizer = tokenizer};
    lc_text_init(&r.text);
    const lc_code code = lc_answer_lines(options->decode ? decode_line : encode_line, &r, err);
    lc_text_release(&r.text);
    lc_tokens_release(&r.tokens);
    lc_tokenizer_free(tokenizer);
    return code;
}

static void add_number(lc_text *out, int32_t number)
{
    char digits[12];
    size_t at = sizeof digits;
    for (uint32_t rest = (uint32_t)number; rest > 0 || at == sizeof digits; rest /= 10) {
        digits[--at] = (char)('0' + rest % 10);
    }
    lc_text_add(out, digits + at, sizeof digits - at);
}

/* ---- encoding ---- */

static void add_ids(lc_text *out, const lc_tokens *tokens)
{
    lc_text_add(out, "[", 1);
    for (size_t i = 0; i < tokens->count; i++) {
        lc_text_add(out, ", ", i > 0 ? 2 : 0);
        add_number(out, tokens->ids[i]);
    }
    lc_text_add(out, "]", 1);
}

static void add_offsets(lc_text *out, const lc_tokens *tokens)
{
    lc_text_add(out, "[", 1);
    for (size_t i = 0; i < tokens->count; i++) {
        lc_text_add(out, ", [", i > 0 ? 3 : 0);
        lc_text_add(out, "[", i > 0 ? 0 : 1);
        add_number(out, tokens->starts[i]);
        lc_text_add(out, ", ", 2);
        add_number(out, tokens->ends[i]);
        lc_text_add(out, "]", 1);
    }
    lc_text_add(out, "]", 1);
}

static lc_code encode_line(void *context, const char *line, size_t bytes, lc_text *out, lc_err *err)
{
    raw *r = context;
    const bool special = !r->options->no_special;
    r->text.length = 0;
    r->tokens.count = 0;
    LC_TRY(lc_json_read_string(line, bytes, "the line", &r->text, err));
    if (!r->options->offsets) {
        LC_TRY(lc_tokenizer_encode(r->tokenizer, r->text.data, r->text.length, special, &r->tokens,
                                   err));
        LC_TRY(lc_tokenizer_fit(r->tokenizer, special, &r->tokens, err));
        add_ids(out, &r->tokens);
        return LC_OK;
    }
    LC_TRY(lc_tokenizer_encode_offsets(r->tokenizer, r->text.data, r->text.length, special,
                                       &r->tokens, err));
    LC_TRY(lc_tokenizer_fit(r->tokenizer, special, &r->tokens, err));
    lc_text_addf(out, "{\"ids\": ");
    add_ids(out, &r->tokens);
    lc_text_addf(out, ", \"offsets\": ");
    add_offsets(out, &r->tokens);
    lc_text_add(out, "}", 1);
    return LC_OK;
}

/* ---- decoding ---- */

static lc_code read_ids(raw *r, const cJSON *list, lc_err *err)
{
    const cJSON *item = NULL;
    if (!cJSON_IsArray(list)) {
        return lc_fail(err, LC_ERR_INVALID, "the line: no JSON array of token ids");
    }
    cJSON_ArrayForEach(item, list)
    {
        const double value = cJSON_IsNumber(item) ? item->valuedouble : -1.0;
        if (!(value >= 0.0 && value <= (double)INT32_MAX) || value > (double)(int32_t)value) {
            char shown[LC_JSON_SHOWN_BYTES];
            return lc_fail(err, LC_ERR_INVALID, "the line: %s is no token id",
                           lc_json_show(item, shown));
        }
        LC_TRY(lc_tokens_push(&r->tokens, (int32_t)value, 0, 0, err));
    }
    return LC_OK;
}

static lc_code decode_line(void *context, const char *line, size_t bytes, lc_text *out, lc_err *err)
{
    raw *r = context;
    cJSON *list = NULL;
    char *text = NULL;
    size_t length = 0;
    r->tokens.count = 0;
    LC_TRY(lc_json_parse(line, bytes, LC_JSON_DEFAULT, "the line", &list, err));
    const lc_code code = read_ids(r, list, err);
    cJSON_Delete(list);
    LC_TRY(code);
    LC_TRY(lc_tokenizer_decode(r->tokenizer, r->tokens.ids, r->tokens.count, r->options->no_special,
                               &text, &length, err));
    lc_json_write_string(out, text, length);
    lc_free(text);
    return LC_OK;
}
