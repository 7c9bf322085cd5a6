/*
 * Decoding, see decoder.h. A step calls the next with each piece it passes on; the depth is the
 * number of steps. What steps remember between tokens is in the stream: at most one step of a kind
 * has a memory, which the loader sees to.
 */
#include "text/decoder.h"

#include <string.h>

#include "lorac/mem.h"
#include "text/bpe.h"
#include "text/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

typedef struct decoding {
    const lc_decoder *decoder;
    lc_decode_stream *stream;
    lc_text *out;
    lc_err *err;
} decoding;

static lc_code pass_on(decoding *d, int step, const char *text, size_t bytes);

lc_code lc_decoder_push(const lc_decoder *decoder, lc_decode_stream *stream, const char *token,
                        size_t bytes, lc_text *out, lc_err *err)
{
    decoding d = {decoder, stream, out, err};
    return pass_on(&d, 0, token, bytes);
}

static lc_code no_memory(lc_err *err)
{
    return lc_fail(err, LC_ERR_MEMORY, "no memory to decode tokens");
}

/* ---- Replace and Metaspace ---- */

static lc_code replace(decoding *d, int step, const char *text, size_t bytes)
{
    const lc_decode_step *s = &d->decoder->steps[step];
    const bool drops = s->drops_first && !d->stream->has_begun;
    if (s->kind == LC_DECODE_METASPACE) {
        d->stream->has_begun = true;
    }
    const char *match = memmem(text, bytes, s->match, s->match_bytes);
    if (match == NULL) {
        return pass_on(d, step + 1, text, bytes);
    }
    lc_text made;
    lc_text_init(&made);
    const char *at = text, *end = text + bytes;
    for (; match != NULL; match = memmem(at, (size_t)(end - at), s->match, s->match_bytes)) {
        lc_text_add(&made, at, (size_t)(match - at));
        lc_text_add(&made, s->content, drops ? 0 : s->content_bytes);
        at = match + s->match_bytes;
        if (made.length > LC_MAX_TOKEN_TEXT) {
            lc_text_release(&made);
            return lc_fail(d->err, LC_ERR_INVALID,
                           "decoder: Replace makes more than %zu bytes of a token "
                           "(LC_MAX_TOKEN_TEXT)",
                           LC_MAX_TOKEN_TEXT);
        }
    }
    lc_text_add(&made, at, (size_t)(end - at));
    const lc_code code =
        made.failed ? no_memory(d->err) : pass_on(d, step + 1, made.data, made.length);
    lc_text_release(&made);
    return code;
}

/* ---- ByteFallback ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of <0xAB>, -1 for any other token. Rust reads +A as a number too. */
static int fallback_byte(const char *token, size_t bytes)
{
    if (bytes != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>') {
        return -1;
    }
    const int high = token[3] == '+' ? 0 : hex_digit(token[3]), low = hex_digit(token[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}

/* The run of bytes is over: it is text as a whole, or every byte of it is broken. */
static lc_code end_run(decoding *d, int step)
{
    lc_decode_stream *s = d->stream;
    const size_t bytes = s->run_bytes;
    s->run_bytes = 0;
    if (bytes == 0) {
        return LC_OK;
    }
    if (lc_utf8_valid_prefix(s->run, bytes) == bytes) {
        return pass_on(d, step + 1, s->run, bytes);
    }
    for (size_t i = 0; i < bytes; i++) {
        LC_TRY(pass_on(d, step + 1, REPLACEMENT, 3));
    }
    return LC_OK;
}

static lc_code byte_fallback(decoding *d, int step, const char *text, size_t bytes)
{
    lc_decode_stream *s = d->stream;
    const int byte = fallback_byte(text, bytes);
    if (byte < 0) {
        LC_TRY(end_run(d, step));
        return pass_on(d, step + 1, text, bytes);
    }
    if (s->run_bytes == s->run_capacity) {
        const size_t capacity = s->run_capacity < 32 ? 64 : 2 * s->run_capacity;
        char *run = lc_realloc(s->run, capacity);
        if (run == NULL) {
            return no_memory(d->err);
        }
        s->run = run;
        s->run_capacity = capacity;
    }
    s->run[s->run_bytes++] = (char)byte;
    return LC_OK;
}

/* ---- ByteLevel ---- */

/* Passes on text with U+FFFD for what is broken; a character that is cut at the end is held. */
static lc_code mend(decoding *d, int step, const char *text, size_t bytes)
{
    lc_decode_stream *s = d->stream;
    size_t plain = 0, at = 0, length = 0; /* text[plain..at) is right */
    lc_utf8_kind kind = LC_UTF8_CHARACTER;
    for (; at < bytes; at += length) {
        kind = lc_utf8_next(text + at, bytes - at, &length);
        if (kind == LC_UTF8_CHARACTER) {
            continue;
        }
        LC_TRY(pass_on(d, step + 1, text + plain, at - plain));
        if (kind == LC_UTF8_CUT) {
            memcpy(s->held, text + at, bytes - at);
            s->held_bytes = bytes - at;
            return LC_OK;
        }
        LC_TRY(pass_on(d, step + 1, REPLACEMENT, 3));
        plain = at + length;
    }
    return pass_on(d, step + 1, text + plain, at - plain);
}

static lc_code byte_level(decoding *d, int step, const char *text, size_t bytes)
{
    lc_decode_stream *s = d->stream;
    char small[256];
    const size_t room = s->held_bytes + bytes;
    char *raw = room <= sizeof small ? small : lc_malloc(room);
    if (raw == NULL) {
        return no_memory(d->err);
    }
    const size_t held = s->held_bytes;
    memcpy(raw, s->held, held);
    s->held_bytes = 0;
    const lc_code code = mend(d, step, raw, held + lc_byte_unspell(text, bytes, raw + held));
    if (raw != small) {
        lc_free(raw);
    }
    return code;
}

/* ---- Strip ---- */

/* Takes `content` off the front of each token, or of the text as a whole, piece by piece. */
static lc_code strip(decoding *d, int step, const char *text, size_t bytes)
{
    const lc_decode_step *s = &d->decoder->steps[step];
    size_t none = 0;
    size_t *taken = s->is_fused ? &d->stream->stripped : &none;
    while (*taken < s->start && bytes > 0) {
        if (bytes < s->content_bytes || memcmp(text, s->content, s->content_bytes) != 0) {
            *taken = s->start; /* nothing more */
            break;
        }
        text += s->content_bytes;
        bytes -= s->content_bytes;
        (*taken)++;
    }
    return pass_on(d, step + 1, text, bytes);
}

/* ---- the row ---- */

static lc_code pass_on(decoding *d, int step, const char *text, size_t bytes)
{
    if (step == d->decoder->count) {
        lc_text_add(d->out, text, bytes);
        return LC_OK;
    }
    switch (d->decoder->steps[step].kind) {
    case LC_DECODE_REPLACE:
    case LC_DECODE_METASPACE:
        return replace(d, step, text, bytes);
    case LC_DECODE_BYTE_FALLBACK:
        return byte_fallback(d, step, text, bytes);
    case LC_DECODE_BYTE_LEVEL:
        return byte_level(d, step, text, bytes);
    case LC_DECODE_STRIP:
        return strip(d, step, text, bytes);
    case LC_DECODE_JOIN:
        lc_text_add(d->out, " ", d->stream->has_begun ? 1 : 0);
        d->stream->has_begun = true;
        return pass_on(d, step + 1, text, bytes);
    default: /* LC_DECODE_FUSE: pieces of one text are passed on as they come */
        return pass_on(d, step + 1, text, bytes);
    }
}

lc_code lc_decoder_finish(const lc_decoder *decoder, lc_decode_stream *stream, lc_text *out,
                          lc_err *err)
{
    decoding d = {decoder, stream, out, err};
    for (int i = 0; i < decoder->count; i++) {
        if (decoder->steps[i].kind == LC_DECODE_BYTE_FALLBACK) {
            LC_TRY(end_run(&d, i));
        } else if (decoder->steps[i].kind == LC_DECODE_BYTE_LEVEL && stream->held_bytes > 0) {
            stream->held_bytes = 0;
            LC_TRY(pass_on(&d, i + 1, REPLACEMENT, 3));
        }
    }
    return LC_OK;
}
