/*
 * "truncation" and "padding" of a tokenizer.json: how long Hugging Face's Tokenizer.encode makes
 * what it gives. They are settings of a caller that were saved along, so only what stands for that
 * very call applies them (lc_tokenizer_fit).
 */
#include "text/tokenizer_internal.h"

#include <string.h>

#define MAX_FITTED INT64_C(16777216) /* tokens: longest truncation and padding */

static const char *const sides[] = {"Right", "Left"};

/* Which of the names a member has, into *which; absent: the first. */
static lc_code read_choice(const char *part, const cJSON *item, const char *key,
                           const char *const *names, int count, int *which, lc_err *err)
{
    const char *name = names[0];
    LC_TRY(lc_json_string(item, key, false, &name, err));
    for (*which = 0; *which < count; (*which)++) {
        if (strcmp(name, names[*which]) == 0) {
            return LC_OK;
        }
    }
    return lc_fail_param(err, LC_ERR_INVALID, part, "%s: this %s is not known", part, key);
}

static lc_code read_truncation(lc_fit *fit, const cJSON *root, lc_err *err)
{
    static const char *const strategies[] = {"LongestFirst", "OnlyFirst", "OnlySecond"};
    const cJSON *item = NULL;
    int side = 0, strategy = 0;
    LC_TRY(lc_json_object(root, "truncation", false, &item, err));
    if (item == NULL) {
        return LC_OK;
    }
    LC_TRY(lc_json_int(item, "max_length", true, 0, INT64_C(1) << 53, &fit->max_length, err));
    LC_TRY(lc_json_int(item, "stride", true, 0, INT64_C(1) << 53, &fit->stride, err));
    LC_TRY(read_choice("truncation", item, "direction", sides, 2, &side, err));
    LC_TRY(read_choice("truncation", item, "strategy", strategies, 3, &strategy, err));
    fit->truncates = true;
    fit->cuts_left = side == 1;
    fit->cuts_second = strategy == 2;
    return LC_OK;
}

static lc_code read_padding(lc_fit *fit, const cJSON *root, lc_err *err)
{
    const cJSON *item = NULL, *strategy = NULL;
    int64_t id = 0;
    int side = 0;
    LC_TRY(lc_json_object(root, "padding", false, &item, err));
    if (item == NULL) {
        return LC_OK;
    }
    fit->pad_length = -1;
    strategy = lc_json_get(item, "strategy");
    if (cJSON_IsObject(strategy)) { /* else as long as the longest of a batch, here of one */
        LC_TRY(lc_json_int(strategy, "Fixed", true, 0, MAX_FITTED, &fit->pad_length, err));
    }
    LC_TRY(lc_json_int(item, "pad_to_multiple_of", false, 0, MAX_FITTED, &fit->pad_multiple, err));
    LC_TRY(lc_json_int(item, "pad_id", true, 0, INT32_MAX, &id, err));
    LC_TRY(read_choice("padding", item, "direction", sides, 2, &side, err));
    fit->pads = true;
    fit->pads_left = side == 1;
    fit->pad_id = (int32_t)id;
    return LC_OK;
}

lc_code lc_read_fit(lc_tokenizer *t, const cJSON *root, lc_err *err)
{
    LC_TRY(read_truncation(&t->fit, root, err));
    return read_padding(&t->fit, root, err);
}

/* Moves tokens[from..count) to `to`. */
static void move_tokens(lc_tokens *tokens, size_t from, size_t to, size_t count)
{
    memmove(tokens->ids + to, tokens->ids + from, (count - from) * sizeof *tokens->ids);
    memmove(tokens->starts + to, tokens->starts + from, (count - from) * sizeof *tokens->starts);
    memmove(tokens->ends + to, tokens->ends + from, (count - from) * sizeof *tokens->ends);
}

static lc_code truncate_tokens(const lc_tokenizer *t, bool add_special, lc_tokens *tokens,
                               lc_err *err)
{
    const lc_fit *fit = &t->fit;
    const size_t prefix = add_special ? (size_t)t->prefix_count : 0;
    const size_t around = prefix + (add_special ? (size_t)t->suffix_count : 0);
    const int64_t most = fit->max_length - (int64_t)around;
    if ((int64_t)(tokens->count - around) <= most) {
        return LC_OK;
    }
    if (most < 0 || fit->cuts_second || (most > 0 && fit->stride >= most)) {
        return lc_fail(err, LC_ERR_INVALID,
                       "the tokenizer's truncation (max_length %lld, stride %lld) cannot be done",
                       (long long)fit->max_length, (long long)fit->stride);
    }
    if (fit->cuts_left && t->trims_offsets && t->keeps_first_blank) {
        return lc_refuse_option("truncation",
                                "the direction Left with a ByteLevel in the post-processor that "
                                "has trim_offsets and add_prefix_space",
                                err); /* the blank of another first token would be kept */
    }
    const size_t end = tokens->count - (around - prefix); /* of the text's */
    if (fit->cuts_left) {
        move_tokens(tokens, end - (size_t)most, prefix, tokens->count);
    } else {
        move_tokens(tokens, end, prefix + (size_t)most, tokens->count);
    }
    tokens->count = around + (size_t)most;
    return LC_OK;
}

static lc_code pad_tokens(const lc_fit *fit, lc_tokens *tokens, lc_err *err)
{
    const size_t count = tokens->count;
    size_t length = fit->pad_length >= 0 ? (size_t)fit->pad_length : count;
    if (fit->pad_multiple > 0 && length % (size_t)fit->pad_multiple > 0) {
        length += (size_t)fit->pad_multiple - length % (size_t)fit->pad_multiple;
    }
    if (length <= count) {
        return LC_OK;
    }
    while (tokens->count < length) {
        LC_TRY(lc_tokens_push(tokens, fit->pad_id, 0, 0, err));
    }
    if (fit->pads_left) {
        move_tokens(tokens, 0, length - count, count);
        for (size_t i = 0; i < length - count; i++) {
            tokens->ids[i] = fit->pad_id;
            tokens->starts[i] = tokens->ends[i] = 0;
        }
    }
    return LC_OK;
}

lc_code lc_tokenizer_fit(const lc_tokenizer *tokenizer, bool add_special, lc_tokens *tokens,
                         lc_err *err)
{
    if (tokenizer->fit.truncates) {
        LC_TRY(truncate_tokens(tokenizer, add_special, tokens, err));
    }
    return tokenizer->fit.pads ? pad_tokens(&tokenizer->fit, tokens, err) : LC_OK;
}
