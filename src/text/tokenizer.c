/*
 * Encoding and decoding (see tokenizer.h): added tokens are cut out first, what lies between goes
 * through the pre-tokenizer's splits, each word through BPE. Nothing in a loaded tokenizer changes
 * any more; all scratch belongs to the call.
 */
#include "text/tokenizer_internal.h"

#include <string.h>

#include "text/utf8.h"

/* One level of splitting: a piece of the text being cut by the split of the same number. */
typedef struct level {
    size_t begin, end;             /* the piece */
    size_t cursor;                 /* what lies before it is done */
    size_t match_begin, match_end; /* a match found behind an unmatched part */
    bool has_match;
} level;

/* One call of lc_tokenizer_encode. */
typedef struct encoder {
    const lc_tokenizer *tokenizer;
    const char *text;
    lc_matcher *matcher;
    lc_bpe_scratch scratch;
    lc_tokens *tokens;
    lc_err *err;
} encoder;

static lc_code encode_all(encoder *e, size_t bytes, bool add_special);

lc_code lc_tokenizer_encode(const lc_tokenizer *tokenizer, const char *text, size_t bytes,
                            bool add_special, lc_tokens *tokens, lc_err *err)
{
    if (bytes > LC_MAX_TEXT_BYTES) {
        return lc_fail(err, LC_ERR_INVALID, "a text of %zu bytes is above the limit of %zu", bytes,
                       LC_MAX_TEXT_BYTES);
    }
    const size_t valid = lc_utf8_valid_prefix(text, bytes);
    if (valid != bytes) {
        return lc_fail(err, LC_ERR_INVALID, "the text is not UTF-8 at byte %zu", valid);
    }
    const size_t count = tokens->count;
    encoder e = {.tokenizer = tokenizer, .text = text, .tokens = tokens, .err = err};
    LC_TRY(lc_matcher_create(&e.matcher, err));
    const lc_code code = encode_all(&e, bytes, add_special);
    lc_bpe_scratch_release(&e.scratch);
    lc_matcher_free(e.matcher);
    if (code != LC_OK) {
        tokens->count = count;
    }
    return code;
}

void lc_tokens_release(lc_tokens *tokens)
{
    lc_free(tokens->ids);
    lc_free(tokens->starts);
    *tokens = (lc_tokens){0};
}

/* ---- words ---- */

/* The next part of the level's piece that its split keeps; *done when there is none. */
static lc_code next_part(encoder *e, const lc_split *split, level *l, size_t *begin, size_t *end,
                         bool *done)
{
    *done = false;
    for (;;) {
        if (l->has_match) {
            l->has_match = false;
            *begin = l->match_begin;
            *end = l->cursor = l->match_end;
            if (split->keep_matched) {
                return LC_OK;
            }
        }
        if (l->cursor == l->end) {
            *done = true;
            return LC_OK;
        }
        size_t from = 0, to = 0;
        LC_TRY(lc_regex_find(split->regex, e->matcher, e->text + l->begin, l->end - l->begin,
                             l->cursor - l->begin, &l->has_match, &from, &to, e->err));
        l->match_begin = l->begin + from;
        l->match_end = l->begin + to;
        *begin = l->cursor;
        *end = l->cursor = l->has_match ? l->match_begin : l->end;
        if (*end > *begin && split->keep_unmatched) {
            return LC_OK;
        }
    }
}

static lc_code encode_word(encoder *e, size_t begin, size_t end)
{
    return lc_bpe_encode(&e->tokenizer->bpe, &e->scratch, e->text + begin, end - begin, begin,
                         e->tokens, e->err);
}

/* Text without added tokens: depth first through the splits. */
static lc_code encode_plain(encoder *e, size_t begin, size_t end)
{
    const lc_tokenizer *t = e->tokenizer;
    level levels[LC_MAX_SPLITS];
    int depth = 0;
    if (begin == end || t->split_count == 0) {
        return begin == end ? LC_OK : encode_word(e, begin, end);
    }
    levels[0] = (level){.begin = begin, .end = end, .cursor = begin};
    while (depth >= 0) {
        bool done = false;
        LC_TRY(next_part(e, &t->splits[depth], &levels[depth], &begin, &end, &done));
        if (done) {
            depth--;
        } else if (depth + 1 < t->split_count) {
            levels[++depth] = (level){.begin = begin, .end = end, .cursor = begin};
        } else {
            LC_TRY(encode_word(e, begin, end));
        }
    }
    return LC_OK;
}

/* ---- added tokens ---- */

/* The first added token of the set in [from, to): leftmost, longest. -1 when there is none. */
static int32_t find_added(const encoder *e, const lc_added_set *set, size_t from, size_t to,
                          size_t *at)
{
    for (size_t i = from; i < to; i++) {
        const uint8_t byte = (uint8_t)e->text[i];
        for (int32_t k = set->first[byte]; k < set->first[byte + 1]; k++) {
            const lc_token *token = &e->tokenizer->bpe.tokens[set->ids[k]];
            if (token->spelled_bytes <= to - i &&
                memcmp(token->spelled, e->text + i, token->spelled_bytes) == 0) {
                *at = i;
                return set->ids[k];
            }
        }
    }
    *at = to;
    return -1;
}

/* Cuts out the added tokens of a pass; `between` does what lies between them. */
static lc_code cut_added(encoder *e, const lc_added_set *set, size_t begin, size_t end,
                         lc_code (*between)(encoder *, size_t, size_t))
{
    while (begin < end) {
        size_t at = 0;
        const int32_t id = find_added(e, set, begin, end, &at);
        LC_TRY(between(e, begin, at));
        if (id >= 0) {
            LC_TRY(lc_tokens_push(e->tokens, id, at, e->err));
            at += e->tokenizer->bpe.tokens[id].spelled_bytes;
        }
        begin = at;
    }
    return LC_OK;
}

static lc_code second_pass(encoder *e, size_t begin, size_t end)
{
    return cut_added(e, &e->tokenizer->added[1], begin, end, encode_plain);
}

static lc_code encode_all(encoder *e, size_t bytes, bool add_special)
{
    const lc_tokenizer *t = e->tokenizer;
    for (int i = 0; add_special && i < t->prefix_count; i++) {
        LC_TRY(lc_tokens_push(e->tokens, t->prefix[i], 0, e->err));
    }
    LC_TRY(cut_added(e, &t->added[0], 0, bytes, second_pass));
    for (int i = 0; add_special && i < t->suffix_count; i++) {
        LC_TRY(lc_tokens_push(e->tokens, t->suffix[i], bytes, e->err));
    }
    return LC_OK;
}

/* ---- questions ---- */

int32_t lc_tokenizer_vocab_size(const lc_tokenizer *tokenizer)
{
    return tokenizer->bpe.token_count;
}

const uint8_t *lc_tokenizer_sha256(const lc_tokenizer *tokenizer)
{
    return tokenizer->sha256;
}

int32_t lc_tokenizer_id(const lc_tokenizer *tokenizer, const char *content)
{
    for (int32_t i = 0; i < tokenizer->added_count; i++) {
        const int32_t id = tokenizer->added_ids[i];
        if (strcmp(tokenizer->bpe.tokens[id].spelled, content) == 0) {
            return id;
        }
    }
    return lc_bpe_find(&tokenizer->bpe, content, strlen(content));
}

lc_code lc_tokenizer_bytes(const lc_tokenizer *tokenizer, int32_t id, const char **bytes,
                           size_t *count, bool *special, lc_err *err)
{
    if (id < 0 || id >= tokenizer->bpe.token_count || tokenizer->bpe.tokens[id].spelled == NULL) {
        return lc_fail(err, LC_ERR_INVALID,
                       "token id %d is not in the tokenizer's vocabulary of %d", id,
                       tokenizer->bpe.token_count);
    }
    const lc_token *token = &tokenizer->bpe.tokens[id];
    *bytes = token->bytes;
    *count = token->byte_count;
    *special = token->special;
    return LC_OK;
}

/* ---- decoding ---- */

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Copies text with U+FFFD for what is broken, up to a character that is cut at the end; *rest is
 * its length. out has room for 3*bytes. Returns the bytes written. */
static size_t mend(const char *text, size_t bytes, char *out, size_t *rest)
{
    size_t at = 0, written = 0, length = 0;
    for (; at < bytes; at += length) {
        const lc_utf8_kind kind = lc_utf8_next(text + at, bytes - at, &length);
        if (kind == LC_UTF8_CUT) {
            break;
        }
        const char *from = kind == LC_UTF8_CHARACTER ? text + at : REPLACEMENT;
        const size_t size = kind == LC_UTF8_CHARACTER ? length : 3;
        memcpy(out + written, from, size);
        written += size;
    }
    *rest = bytes - at;
    return written;
}

static lc_code total_bytes(const lc_tokenizer *tokenizer, const int32_t *ids, size_t count,
                           bool skip_special, size_t *total, lc_err *err)
{
    *total = 0;
    for (size_t i = 0; i < count; i++) {
        const char *bytes = NULL;
        size_t length = 0;
        bool special = false;
        LC_TRY(lc_tokenizer_bytes(tokenizer, ids[i], &bytes, &length, &special, err));
        if (!(skip_special && special) && !lc_add_size(*total, length, total)) {
            return lc_fail(err, LC_ERR_MEMORY, "the decoded text is too long");
        }
    }
    return LC_OK;
}

lc_code lc_tokenizer_decode(const lc_tokenizer *tokenizer, const int32_t *ids, size_t count,
                            bool skip_special, char **text, size_t *bytes, lc_err *err)
{
    size_t total = 0, room = 0, at = 0, rest = 0;
    LC_TRY(total_bytes(tokenizer, ids, count, skip_special, &total, err));
    /* The raw bytes go to the end of the buffer and are mended towards its front: 3 bytes for one
     * at most. */
    if (!lc_mul_size(total, 4, &room) || !lc_add_size(room, 4, &room)) {
        return lc_fail(err, LC_ERR_MEMORY, "the decoded text is too long");
    }
    char *out = lc_malloc(room);
    if (out == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a text of %zu bytes", total);
    }
    char *raw = out + room - total;
    for (size_t i = 0; i < count; i++) {
        const lc_token *token = &tokenizer->bpe.tokens[ids[i]];
        if (!(skip_special && token->special)) {
            memcpy(raw + at, token->bytes, token->byte_count);
            at += token->byte_count;
        }
    }
    *bytes = mend(raw, total, out, &rest);
    if (rest > 0) {
        memcpy(out + *bytes, REPLACEMENT, 3);
        *bytes += 3;
    }
    out[*bytes] = '\0';
    *text = out;
    return LC_OK;
}

lc_code lc_decode_stream_push(lc_decode_stream *stream, const lc_tokenizer *tokenizer, int32_t id,
                              bool skip_special, char *out, size_t capacity, size_t *out_bytes,
                              lc_err *err)
{
    const char *bytes = NULL;
    size_t count = 0, rest = 0;
    bool special = false;
    LC_TRY(lc_tokenizer_bytes(tokenizer, id, &bytes, &count, &special, err));
    if (skip_special && special) {
        return LC_OK;
    }
    const size_t total = stream->held_bytes + count;
    char *raw = lc_malloc(4 * total + 4);
    if (raw == NULL) {
        return lc_fail(err, LC_ERR_MEMORY, "no memory for a token of %zu bytes", count);
    }
    memcpy(raw, stream->held, stream->held_bytes);
    memcpy(raw + stream->held_bytes, bytes, count);
    char *mended = raw + total;
    const size_t written = mend(raw, total, mended, &rest);
    const bool fits = *out_bytes <= capacity && written <= capacity - *out_bytes;
    if (fits) {
        memcpy(out + *out_bytes, mended, written);
        *out_bytes += written;
        memcpy(stream->held, raw + total - rest, rest);
        stream->held_bytes = rest;
    }
    lc_free(raw);
    return fits ? LC_OK
                : lc_fail(err, LC_ERR_INTERNAL, "no room for the %zu bytes of token %d", written,
                          id);
}
