/*
 * Any bytes as a tokenizer.json and a text, with a NUL between them. Whatever loads must encode the
 * text to ids that it has, at places of the text in order; encode it again to the same; give valid
 * UTF-8 for these ids and for any others, piece by piece the same as all at once; and where nothing
 * is dropped or rewritten on the way, give the text back. Inputs are made by tokenizer_mutator.c.
 */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/utf8.h"

#define MAX_INPUT ((size_t)1 << 18)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static bool is_boundary(const char *text, size_t bytes, int32_t at)
{
    return at >= 0 && (size_t)at <= bytes && ((size_t)at == bytes || (text[at] & 0xc0) != 0x80);
}

/* ---- encoding ---- */

static bool has_stripping(const lc_added_set *set)
{
    for (int32_t i = 0; i < set->count; i++) {
        if (set->tokens[i].rstrip) {
            return true;
        }
    }
    return false;
}

/* Unicode's forms may put one mark in front of another: then places go to and fro. And an added
 * token may lie within the blanks that the one before it strips. */
static bool keeps_order(const lc_tokenizer *t)
{
    for (int i = 0; i < t->normalizer.count; i++) {
        if (t->normalizer.steps[i].kind == LC_NORMAL_FORM) {
            return false;
        }
    }
    return !has_stripping(&t->added[0]) && !has_stripping(&t->added[1]);
}

static void check_ids(const lc_tokenizer *t, const lc_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++) {
        must(tokens->ids[i] >= 0 && tokens->ids[i] < lc_tokenizer_vocab_size(t));
        must(t->bpe.tokens[tokens->ids[i]].spelled != NULL);
    }
}

static void check_places(const lc_tokenizer *t, const lc_tokens *tokens, const char *text,
                         size_t bytes)
{
    const bool in_order = keeps_order(t);
    for (size_t i = 0; i < tokens->count; i++) {
        const int32_t start = tokens->starts[i], end = tokens->ends[i];
        must(is_boundary(text, bytes, start) && is_boundary(text, bytes, end) && start <= end);
        must(i == 0 || !in_order || (start >= tokens->starts[i - 1] && end >= tokens->ends[i - 1]));
    }
}

/* With the post-processor: the same tokens between those that it adds. */
static void check_special(const lc_tokenizer *t, const lc_tokens *plain, const lc_tokens *special)
{
    const size_t prefix = (size_t)t->prefix_count, suffix = (size_t)t->suffix_count;
    must(special->count == prefix + plain->count + suffix);
    check_ids(t, special);
    for (size_t i = 0; i < plain->count; i++) {
        must(special->ids[prefix + i] == plain->ids[i]);
    }
}

/* Offsets in characters, trimmed. */
static void check_offsets(const lc_tokens *offsets, const lc_tokens *special, size_t characters)
{
    must(offsets->count == special->count);
    for (size_t i = 0; i < offsets->count; i++) {
        must(offsets->ids[i] == special->ids[i] && offsets->starts[i] >= 0);
        must(offsets->starts[i] <= offsets->ends[i] && (size_t)offsets->ends[i] <= characters);
    }
}

/* ---- decoding ---- */

static void decode(const lc_tokenizer *t, const int32_t *ids, size_t count, bool skip_special,
                   lc_text *whole)
{
    lc_err err = {0};
    lc_decode_stream stream = {0};
    char *at_once = NULL;
    size_t bytes = 0, before = 0;
    lc_text_init(whole);
    for (size_t i = 0; i <= count; i++) {
        must(i < count
                 ? lc_decode_stream_push(&stream, t, ids[i], skip_special, whole, &err) == LC_OK
                 : lc_decode_stream_finish(&stream, t, whole, &err) == LC_OK);
        must(!whole->failed);
        const char *more = whole->length > before ? whole->data + before : "";
        must(lc_utf8_valid_prefix(more, whole->length - before) == whole->length - before);
        before = whole->length;
    }
    lc_decode_stream_release(&stream);
    must(lc_tokenizer_decode(t, ids, count, skip_special, &at_once, &bytes, &err) == LC_OK);
    must(bytes == whole->length && (bytes == 0 || memcmp(at_once, whole->data, bytes) == 0));
    lc_free(at_once);
}

/* Bytes in, the same bytes out. */
static bool loses_nothing(const lc_tokenizer *t)
{
    for (int i = 0; i < t->step_count; i++) {
        if (t->steps[i].kind != LC_STEP_SPLIT || t->steps[i].split.behavior == LC_SPLIT_REMOVED) {
            return false;
        }
    }
    return t->bpe.byte_level && t->normalizer.count == 0 && t->added_count == 0 &&
           t->decoder.count == 1 && t->decoder.steps[0].kind == LC_DECODE_BYTE_LEVEL;
}

static void check_decoding(const lc_tokenizer *t, const lc_tokens *tokens, const char *text,
                           size_t bytes)
{
    lc_text whole;
    decode(t, tokens->ids, tokens->count, true, &whole);
    lc_text_release(&whole);
    decode(t, tokens->ids, tokens->count, false, &whole);
    must(!loses_nothing(t) ||
         (whole.length == bytes && (bytes == 0 || memcmp(whole.data, text, bytes) == 0)));
    lc_text_release(&whole);
}

/* Ids that no text gave, also some that do not exist. */
static void decode_any(const lc_tokenizer *t, const char *text, size_t bytes)
{
    int32_t ids[256];
    lc_text whole;
    const size_t count = bytes < 256 ? bytes : 256;
    for (size_t i = 0; i < count; i++) {
        ids[i] = (uint8_t)text[i] * 7 % (lc_tokenizer_vocab_size(t) + 3);
    }
    decode(t, ids, count, (bytes & 1) != 0, &whole);
    lc_text_release(&whole);
}

/* ---- a tokenizer ---- */

static void check_names(const lc_tokenizer *t)
{
    for (int32_t id = 0; id < lc_tokenizer_vocab_size(t) && id < 300; id++) {
        const char *spelled = t->bpe.tokens[id].spelled;
        must(spelled == NULL || lc_tokenizer_id(t, spelled) == id);
    }
}

static void check_fit(const lc_tokenizer *t, lc_tokens *tokens)
{
    lc_err err = {0};
    const lc_code code = lc_tokenizer_fit(t, true, tokens, &err);
    must(code == err.code && (code == LC_OK || err.message[0] != '\0'));
    must(code == LC_OK || code == LC_ERR_INVALID || code == LC_ERR_UNSUPPORTED);
    if (code == LC_OK && t->fit.truncates && !t->fit.pads) {
        must((int64_t)tokens->count <= t->fit.max_length);
    }
}

static bool encode(const lc_tokenizer *t, const char *text, size_t bytes, bool add_special,
                   lc_tokens *tokens)
{
    lc_err err = {0};
    const lc_code code = lc_tokenizer_encode(t, text, bytes, add_special, tokens, &err);
    must(code == err.code && (code == LC_OK || code == LC_ERR_INVALID));
    must(code == LC_OK || (err.message[0] != '\0' && tokens->count == 0));
    return code == LC_OK;
}

static void check_text(const lc_tokenizer *t, const char *text, size_t bytes)
{
    lc_err err = {0};
    lc_tokens plain = {0}, again = {0}, special = {0}, offsets = {0};
    size_t characters = 0;
    for (size_t i = 0; i < bytes; i++) {
        characters += (text[i] & 0xc0) != 0x80;
    }
    if (encode(t, text, bytes, false, &plain)) {
        must(encode(t, text, bytes, false, &again) && again.count == plain.count);
        must(plain.count == 0 ||
             memcmp(again.ids, plain.ids, plain.count * sizeof *plain.ids) == 0);
        must(encode(t, text, bytes, true, &special));
        must(lc_tokenizer_encode_offsets(t, text, bytes, true, &offsets, &err) == LC_OK);
        check_ids(t, &plain);
        check_places(t, &plain, text, bytes);
        check_special(t, &plain, &special);
        check_offsets(&offsets, &special, characters);
        check_decoding(t, &plain, text, bytes);
        check_fit(t, &special);
    } else {
        must(!encode(t, text, bytes, false, &again));
    }
    lc_tokens_release(&plain);
    lc_tokens_release(&again);
    lc_tokens_release(&special);
    lc_tokens_release(&offsets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lc_err err = {0};
    lc_tokenizer *t = NULL;
    const char *file = (const char *)data;
    const char *zero = size > 0 ? memchr(file, '\0', size) : NULL;
    if (zero == NULL || size > MAX_INPUT) {
        return 0;
    }
    const lc_code code = lc_tokenizer_load_text(file, (size_t)(zero - file), &t, &err);
    must(code == err.code && (code == LC_OK) == (t != NULL));
    must(code == LC_OK || code == LC_ERR_INVALID || code == LC_ERR_UNSUPPORTED);
    must(code == LC_OK || err.message[0] != '\0');
    if (code == LC_OK) {
        const char *text = zero + 1;
        const size_t bytes = lc_utf8_valid_prefix(text, (size_t)(file + size - text));
        check_names(t);
        check_text(t, text, bytes);
        decode_any(t, text, bytes);
    }
    lc_tokenizer_free(t);
    return 0;
}
