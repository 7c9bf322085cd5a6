/*
 * The decoder of a tokenizer.json: a row of steps from tokens to text. Tokens are fed one by one
 * and each step passes on what it is sure of, so that a whole text and a stream are one thing:
 * nothing is passed on that a later token could still change.
 */
#ifndef LC_TEXT_DECODER_H
#define LC_TEXT_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "lorac/err.h"
#include "text/tokenizer.h"

#define LC_MAX_DECODERS   8
#define LC_MAX_TOKEN_TEXT ((size_t)1 << 20) /* bytes that Replace may make of a token */

typedef enum lc_decode_kind {
    LC_DECODE_REPLACE,       /* content for every match in a token */
    LC_DECODE_BYTE_FALLBACK, /* runs of <0x..> become their bytes, U+FFFD for each if not UTF-8 */
    LC_DECODE_METASPACE,     /* the replacement becomes a blank, nothing in the first token */
    LC_DECODE_BYTE_LEVEL,    /* GPT-2's characters become their bytes, and those text */
    LC_DECODE_FUSE,          /* from here on one text instead of tokens */
    LC_DECODE_STRIP,         /* at most `start` times `content` at the front */
    LC_DECODE_JOIN,          /* no decoder at all: a blank between tokens */
} lc_decode_kind;

typedef struct lc_decode_step {
    lc_decode_kind kind;
    const char *match, *content; /* borrowed; REPLACE and METASPACE: match becomes content */
    size_t match_bytes, content_bytes;
    size_t start;     /* STRIP */
    bool drops_first; /* METASPACE: what it does in the first token */
    bool is_fused;    /* STRIP: stands behind the step that makes one text */
} lc_decode_step;

typedef struct lc_decoder {
    lc_decode_step steps[LC_MAX_DECODERS];
    int count;
} lc_decoder;

/* One token, and the end of all tokens. What is sure goes to *out; memory that is missing is
 * remembered there. LC_ERR_INVALID: more than LC_MAX_TOKEN_TEXT. */
LC_WARN_UNUSED lc_code lc_decoder_push(const lc_decoder *decoder, lc_decode_stream *stream,
                                       const char *token, size_t bytes, lc_text *out, lc_err *err);
LC_WARN_UNUSED lc_code lc_decoder_finish(const lc_decoder *decoder, lc_decode_stream *stream,
                                         lc_text *out, lc_err *err);

#endif
