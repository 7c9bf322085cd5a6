/*
 * Encoding and decoding (see tokenizer.h). Added tokens are cut out first; what lies between is
 * normalized, searched for added tokens again, cut into words depth first through the steps of the
 * pre-tokenizer, and each word goes through BPE. Nothing in a loaded tokenizer changes any more but
 * the scratch that waits for the next call (encoder.c).
 */
#include "text/tokenizer_internal.h"

#include <string.h>

#include "text/utf8.h"

/* A piece at one step: being cut, or to be rewritten. */
typedef struct level {
    lc_cut cut;
    bool is_rewritten;
} level;

typedef lc_encoder encoder;

static lc_code encode_all(encoder *e, bool add_special);

static lc_code check_text(const char *text, size_t bytes, lc_err *err)
{
    if (bytes > LC_MAX_TEXT_BYTES) {
        return lc_fail(err, LC_ERR_INVALID, "a text of %zu bytes is above the limit of %zu", bytes,
                       LC_MAX_TEXT_BYTES);
    }
    const size_t valid = lc_utf8_valid_prefix(text, bytes);
    return valid == bytes
               ? LC_OK
               : lc_fail(err, LC_ERR_INVALID, "the text is not UTF-8 at byte %zu", valid);
}

static lc_code encode(const lc_tokenizer *tokenizer, const char *text, size_t bytes,
                      bool add_special, bool trims, lc_tokens *tokens, lc_err *err)
{
    LC_TRY(check_text(text, bytes, err));
    const size_t count = tokens->count;
    encoder *e = NULL;
    LC_TRY(lc_encoder_take(tokenizer, &e, err));
    e->text = text;
    e->bytes = bytes;
    e->trims = trims;
    e->tokens = tokens;
    e->err = err;
    lc_matcher_begin(e->matcher, bytes);
    const lc_code code = encode_all(e, add_special);
    lc_encoder_give(e);
    if (code != LC_OK) {
        tokens->count = count;
    }
    return code;
}

lc_code lc_tokenizer_encode(const lc_tokenizer *tokenizer, const char *text, size_t bytes,
                            bool add_special, lc_tokens *tokens, lc_err *err)
{
    return encode(tokenizer, text, bytes, add_special, false, tokens, err);
}

void lc_tokens_release(lc_tokens *tokens)
{
    lc_free(tokens->ids);
    lc_free(tokens->starts);
    lc_free(tokens->ends);
    *tokens = (lc_tokens){0};
}

/* ---- offsets ---- */

static bool is_continuation(char byte)
{
    return ((uint8_t)byte & 0xc0) == 0x80;
}

static size_t next_character(const encoder *e, size_t at)
{
    do {
        at++;
    } while (at < e->bytes && is_continuation(e->text[at]));
    return at;
}

/* Blanks at the beginning and the end of a token's text, spelled or not. */
static void count_blanks(const char *text, size_t bytes, size_t *leading, size_t *trailing)
{
    size_t length = 0;
    bool only_blanks = true;
    *leading = *trailing = 0;
    for (size_t at = 0; at < bytes; at += length) {
        (void)lc_utf8_next(text + at, bytes - at, &length);
        const uint32_t code_point = lc_utf8_decode(text + at, length);
        const bool blank = code_point == 0x120 /* how GPT-2 spells it */ || lc_is_space(code_point);
        *trailing = blank ? *trailing + 1 : 0;
        only_blanks = only_blanks && blank;
        *leading += only_blanks ? 1 : 0;
    }
}

/* Hugging Face moves the offsets by as many characters as the token has blanks. */
static void trim(const encoder *e, size_t index, const char *text, size_t bytes)
{
    size_t leading = 0, trailing = 0;
    size_t start = (size_t)e->tokens->starts[index], end = (size_t)e->tokens->ends[index];
    count_blanks(text, bytes, &leading, &trailing);
    if (leading == 1 && e->tokenizer->keeps_first_blank && (index == e->first || start == 0)) {
        leading = 0;
    }
    for (; leading > 0 && start < end; leading--) {
        start = next_character(e, start);
    }
    size_t back = end;
    for (; trailing > 0 && back > 0; trailing--) {
        do {
            back--;
        } while (is_continuation(e->text[back]));
    }
    if (trailing == 0) {
        end = back > start ? back : start;
    }
    e->tokens->starts[index] = (int32_t)start;
    e->tokens->ends[index] = (int32_t)end;
}

/* Places of a token in a piece become places in the text. */
static void place(const encoder *e, size_t index, const lc_piece *piece)
{
    int32_t *start = &e->tokens->starts[index], *end = &e->tokens->ends[index];
    if (piece->origin == NULL) { /* the same, faster */
        size_t from = piece->at + (size_t)*start, to = piece->at + (size_t)*end;
        while (is_continuation(e->text[from])) {
            from--;
        }
        while (to < e->bytes && is_continuation(e->text[to])) {
            to++;
        }
        *start = (int32_t)from;
        *end = (int32_t)to;
        return;
    }
    *start = (int32_t)lc_piece_origin(piece, (size_t)*start);
    *end = (int32_t)next_character(e, lc_piece_origin(piece, (size_t)*end - 1));
}

/* ---- words ---- */

static lc_code encode_word(encoder *e, const lc_piece *word)
{
    const size_t before = e->tokens->count;
    LC_TRY(
        lc_bpe_encode(&e->tokenizer->bpe, &e->scratch, word->text, word->bytes, e->tokens, e->err));
    for (size_t i = before; i < e->tokens->count; i++) {
        place(e, i, word);
        if (e->trims) {
            const lc_token *token = &e->tokenizer->bpe.tokens[e->tokens->ids[i]];
            trim(e, i, token->spelled, token->spelled_bytes);
        }
    }
    return LC_OK;
}

static lc_code spell(encoder *e, lc_tracked *out, const lc_piece *piece)
{
    char spelled[4];
    for (size_t i = 0; i < piece->bytes; i++) {
        const size_t length = lc_byte_spell((uint8_t)piece->text[i], spelled);
        LC_TRY(lc_tracked_add(out, spelled, length, lc_piece_origin(piece, i), e->err));
    }
    return LC_OK;
}

static bool begins_with(const lc_piece *piece, const char *text, size_t bytes)
{
    return piece->bytes >= bytes && memcmp(piece->text, text, bytes) == 0;
}

/* *piece as the step makes it. */
static lc_code rewrite(encoder *e, const lc_step *step, lc_tracked *out, lc_piece *piece)
{
    bool changed = true;
    out->bytes = 0;
    switch (step->kind) {
    case LC_STEP_REPLACE:
        LC_TRY(lc_tracked_replace(out, &step->split.finder, e->matcher, step->content,
                                  step->content_bytes, piece, &changed, e->err));
        break;
    case LC_STEP_PREPEND:
        changed = !begins_with(piece, step->content, step->content_bytes) &&
                  !(step->only_first && lc_piece_origin(piece, 0) > 0);
        if (changed) {
            LC_TRY(lc_tracked_prepend(out, step->content, step->content_bytes, piece, e->err));
        }
        break;
    default:
        LC_TRY(spell(e, out, piece));
    }
    if (changed) {
        *piece = lc_tracked_piece(out);
    }
    return LC_OK;
}

/* The next piece that step number `depth` gives; *done when there is none. */
static lc_code next_piece(encoder *e, level *l, int depth, lc_piece *piece, bool *done)
{
    const lc_step *step = &e->tokenizer->steps[depth];
    if (step->kind == LC_STEP_SPLIT) {
        return lc_split_next(&step->split, e->matcher, &l->cut, piece, done, e->err);
    }
    *done = l->is_rewritten;
    l->is_rewritten = true;
    *piece = l->cut.whole;
    return *done ? LC_OK : rewrite(e, step, &e->rewritten[depth], piece);
}

/* Text without added tokens: depth first through the steps. */
static lc_code encode_plain(encoder *e, const lc_piece *whole)
{
    const int step_count = e->tokenizer->step_count;
    level levels[LC_MAX_STEPS];
    lc_piece piece = *whole;
    int depth = 0;
    if (step_count == 0) {
        return encode_word(e, whole);
    }
    levels[0] = (level){.cut = {.whole = piece}};
    while (depth >= 0) {
        bool done = false;
        LC_TRY(next_piece(e, &levels[depth], depth, &piece, &done));
        if (done) {
            depth--;
        } else if (piece.bytes == 0) {
            continue;
        } else if (depth + 1 < step_count) {
            levels[++depth] = (level){.cut = {.whole = piece}};
        } else {
            LC_TRY(encode_word(e, &piece));
        }
    }
    return LC_OK;
}

/* ---- added tokens ---- */

static lc_code push_added(encoder *e, const lc_added *token, const lc_piece *piece, size_t begin,
                          size_t end)
{
    LC_TRY(lc_tokens_push(e->tokens, token->id, begin, end, e->err));
    place(e, e->tokens->count - 1, piece);
    if (e->trims) {
        trim(e, e->tokens->count - 1, piece->text + begin, end - begin);
    }
    return LC_OK;
}

/* Cuts out the added tokens of a pass; `between` does what lies between them. */
static lc_code cut_added(encoder *e, const lc_added_set *set, const lc_piece *piece,
                         lc_code (*between)(encoder *, const lc_piece *))
{
    lc_added_search search = {0};
    size_t done = 0, begin = 0, end = 0;
    for (;;) {
        const lc_added *token =
            lc_added_next(set, &search, piece->text, piece->bytes, &begin, &end);
        if (token == NULL) {
            begin = piece->bytes;
        }
        if (done < begin) {
            const lc_piece part = lc_piece_part(piece, done, begin);
            LC_TRY(between(e, &part));
        }
        if (token == NULL) {
            return LC_OK;
        }
        if (begin > end) {
            return lc_fail(e->err, LC_ERR_INVALID,
                           "the blank added token %d lies within the blanks that the one before it "
                           "strips",
                           token->id);
        }
        if (begin < end) {
            LC_TRY(push_added(e, token, piece, begin, end));
        }
        done = end;
    }
}

static lc_code encode_between(encoder *e, const lc_piece *piece)
{
    lc_piece normalized;
    LC_TRY(lc_normalizer_run(&e->tokenizer->normalizer, e->matcher, e->normalized, piece,
                             &normalized, e->err));
    return cut_added(e, &e->tokenizer->added[1], &normalized, encode_plain);
}

static lc_code encode_all(encoder *e, bool add_special)
{
    const lc_tokenizer *t = e->tokenizer;
    const lc_piece whole = {.text = e->text, .bytes = e->bytes};
    for (int i = 0; add_special && i < t->prefix_count; i++) {
        LC_TRY(lc_tokens_push(e->tokens, t->prefix[i], 0, 0, e->err));
    }
    e->first = e->tokens->count;
    LC_TRY(cut_added(e, &t->added[0], &whole, encode_between));
    for (int i = 0; add_special && i < t->suffix_count; i++) {
        LC_TRY(lc_tokens_push(e->tokens, t->suffix[i], 0, 0, e->err));
    }
    return LC_OK;
}

/* ---- offsets in characters ---- */

#define BLOCK_BYTES 64

/* Characters that begin before byte `at`; blocks[k]: those before byte k * BLOCK_BYTES. */
static int32_t characters_before(const char *text, const int32_t *blocks, int32_t at)
{
    int32_t from = at / BLOCK_BYTES * BLOCK_BYTES, count = blocks[at / BLOCK_BYTES];
    for (; from < at; from++) {
        count += is_continuation(text[from]) ? 0 : 1;
    }
    return count;
}

static lc_code to_characters(const char *text, size_t bytes, lc_tokens *tokens, size_t first,
                             lc_err *err)
{
    void *memory = NULL;
    LC_TRY(lc_new(&memory, bytes / BLOCK_BYTES + 1, sizeof(int32_t), "offsets", err));
    int32_t *blocks = memory, count = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (i % BLOCK_BYTES == 0) {
            blocks[i / BLOCK_BYTES] = count;
        }
        count += is_continuation(text[i]) ? 0 : 1;
    }
    if (bytes % BLOCK_BYTES == 0) {
        blocks[bytes / BLOCK_BYTES] = count;
    }
    for (size_t i = first; i < tokens->count; i++) {
        tokens->starts[i] = characters_before(text, blocks, tokens->starts[i]);
        tokens->ends[i] = characters_before(text, blocks, tokens->ends[i]);
    }
    lc_free(blocks);
    return LC_OK;
}

lc_code lc_tokenizer_encode_offsets(const lc_tokenizer *tokenizer, const char *text, size_t bytes,
                                    bool add_special, lc_tokens *tokens, lc_err *err)
{
    const size_t first = tokens->count;
    LC_TRY(encode(tokenizer, text, bytes, add_special, tokenizer->trims_offsets, tokens, err));
    const lc_code code = to_characters(text, bytes, tokens, first, err);
    if (code != LC_OK) {
        tokens->count = first;
    }
    return code;
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

/* ---- decoding ---- */

lc_code lc_decode_stream_push(lc_decode_stream *stream, const lc_tokenizer *tokenizer, int32_t id,
                              bool skip_special, lc_text *out, lc_err *err)
{
    if (id < 0) {
        return lc_fail(err, LC_ERR_INVALID, "%d is no token id", id);
    }
    if (id >= tokenizer->bpe.token_count) {
        return LC_OK;
    }
    const lc_token *token = &tokenizer->bpe.tokens[id];
    if (token->spelled == NULL || (skip_special && token->is_skipped)) {
        return LC_OK;
    }
    return lc_decoder_push(&tokenizer->decoder, stream, token->shown, token->shown_bytes, out, err);
}

lc_code lc_decode_stream_finish(lc_decode_stream *stream, const lc_tokenizer *tokenizer,
                                lc_text *out, lc_err *err)
{
    return lc_decoder_finish(&tokenizer->decoder, stream, out, err);
}

void lc_decode_stream_release(lc_decode_stream *stream)
{
    lc_free(stream->run);
    *stream = (lc_decode_stream){0};
}

static lc_code decode(const lc_tokenizer *tokenizer, const int32_t *ids, size_t count,
                      bool skip_special, lc_decode_stream *stream, lc_text *out, lc_err *err)
{
    for (size_t i = 0; i < count; i++) {
        LC_TRY(lc_decode_stream_push(stream, tokenizer, ids[i], skip_special, out, err));
        if (out->length > LC_MAX_DECODED_BYTES) {
            return lc_fail(err, LC_ERR_INVALID,
                           "%zu tokens make a text above the limit of %zu bytes "
                           "(LC_MAX_DECODED_BYTES)",
                           count, LC_MAX_DECODED_BYTES);
        }
    }
    LC_TRY(lc_decode_stream_finish(stream, tokenizer, out, err));
    return lc_text_finish(out, "the decoded text", err);
}

lc_code lc_tokenizer_decode(const lc_tokenizer *tokenizer, const int32_t *ids, size_t count,
                            bool skip_special, char **text, size_t *bytes, lc_err *err)
{
    lc_decode_stream stream = {0};
    lc_text out;
    lc_text_init(&out);
    const lc_code code = decode(tokenizer, ids, count, skip_special, &stream, &out, err);
    lc_decode_stream_release(&stream);
    if (code != LC_OK) {
        lc_text_release(&out);
        return code;
    }
    *text = out.data;
    *bytes = out.length;
    return LC_OK;
}
