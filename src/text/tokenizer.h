/*
 * tokenizer.json to token ids and back. This version does byte-level BPE (a Split by regular
 * expression and ByteLevel); every other part of a tokenizer.json is refused by name. The text
 * front end grows behind this header.
 */
#ifndef LC_TEXT_TOKENIZER_H
#define LC_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"

#define LC_MAX_TOKENIZER_BYTES ((size_t)128 << 20)
#define LC_MAX_TEXT_BYTES      ((size_t)64 << 20) /* one text to encode */

typedef struct lc_tokenizer lc_tokenizer;

/* Reads DIR/tokenizer.json. LC_ERR_UNSUPPORTED names the part and its type. Immutable afterwards:
 * any number of threads may encode with it at once. */
LC_WARN_UNUSED lc_code lc_tokenizer_load(const char *model_dir, lc_tokenizer **out, lc_err *err);
/* The same for a model of vocab_size tokens: a tokenizer with ids beyond them is LC_ERR_INVALID. */
LC_WARN_UNUSED lc_code lc_tokenizer_load_for(const char *model_dir, int64_t vocab_size,
                                             lc_tokenizer **out, lc_err *err);
void lc_tokenizer_free(lc_tokenizer *tokenizer);

int32_t lc_tokenizer_vocab_size(const lc_tokenizer *tokenizer);    /* largest id + 1 */
const uint8_t *lc_tokenizer_sha256(const lc_tokenizer *tokenizer); /* of tokenizer.json, 32 bytes */

/* Ids of a text. start[i] = byte offset in the text where token i begins. Arrays are owned (lc_free
 * inside lc_tokens_release). */
typedef struct lc_tokens {
    int32_t *ids;
    int32_t *starts;
    size_t count;
    size_t capacity;
} lc_tokens;
void lc_tokens_release(lc_tokens *tokens);

/* Appends the ids of `text` to *tokens (starts count from this text's first byte). Added tokens
 * such as <|im_start|> inside the text become their ids, as in Hugging Face. Invalid UTF-8:
 * LC_ERR_INVALID with the byte offset. add_special: run the post-processor (BOS and kin). */
LC_WARN_UNUSED lc_code lc_tokenizer_encode(const lc_tokenizer *tokenizer, const char *text,
                                           size_t bytes, bool add_special, lc_tokens *tokens,
                                           lc_err *err);

/* Id of a token by its content, -1 when there is none. */
int32_t lc_tokenizer_id(const lc_tokenizer *tokenizer, const char *content);

/* The raw bytes of one token (for added tokens their content). *bytes is borrowed. Unknown id:
 * LC_ERR_INVALID. */
LC_WARN_UNUSED lc_code lc_tokenizer_bytes(const lc_tokenizer *tokenizer, int32_t id,
                                          const char **bytes, size_t *count, bool *special,
                                          lc_err *err);

/* Whole text of ids, owned by the caller (lc_free), NUL-terminated; broken UTF-8 becomes U+FFFD as
 * Python's "replace" does. skip_special leaves special tokens out. */
LC_WARN_UNUSED lc_code lc_tokenizer_decode(const lc_tokenizer *tokenizer, const int32_t *ids,
                                           size_t count, bool skip_special, char **text,
                                           size_t *bytes, lc_err *err);

/* Streaming: feeds tokens, gives text that is safe to show (never half a character). */
typedef struct lc_decode_stream {
    char held[8]; /* bytes of an unfinished character */
    size_t held_bytes;
} lc_decode_stream;
/* Text that became complete with this token, appended to out[*out_bytes..capacity). Three times the
 * token's bytes + 12 are always enough (a broken byte becomes U+FFFD); without room nothing changes
 * and LC_ERR_INTERNAL says so. A character still held at the end of the tokens never completes. */
LC_WARN_UNUSED lc_code lc_decode_stream_push(lc_decode_stream *stream,
                                             const lc_tokenizer *tokenizer, int32_t id,
                                             bool skip_special, char *out, size_t capacity,
                                             size_t *out_bytes, lc_err *err);

#endif
