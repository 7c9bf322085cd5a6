/*
 * tokenizer.json to token ids and back, exactly as Hugging Face's tokenizers: byte-level BPE
 * (GPT-2, Llama 3, Qwen) and BPE over characters with byte fallback (Llama 2, Mistral, Gemma). The
 * way of a text: added tokens, normalizer, added tokens again, pre-tokenizer, BPE, post-processor;
 * of ids: the decoder. A part that is not known is refused by name.
 *
 * "truncation" and "padding" of the file are settings of a caller that were saved along, which
 * transformers sets anew on every call: encoding leaves them alone, lc_tokenizer_fit applies them.
 */
#ifndef LC_TEXT_TOKENIZER_H
#define LC_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "lorac/err.h"

#define LC_MAX_TOKENIZER_BYTES ((size_t)128 << 20)
#define LC_MAX_TEXT_BYTES      ((size_t)64 << 20) /* one text to encode */
#define LC_MAX_DECODED_BYTES   ((size_t)512 << 20)

typedef struct lc_tokenizer lc_tokenizer;

/* Reads DIR/tokenizer.json, and what tokenizer_config.json and kin say of added tokens.
 * LC_ERR_UNSUPPORTED names the part and its type. Immutable afterwards: any number of threads may
 * encode with it at once. */
LC_WARN_UNUSED lc_code lc_tokenizer_load(const char *model_dir, lc_tokenizer **out, lc_err *err);
/* The same from the bytes of a tokenizer.json alone. */
LC_WARN_UNUSED lc_code lc_tokenizer_load_text(const char *text, size_t bytes, lc_tokenizer **out,
                                              lc_err *err);
/* The same for a model of vocab_size tokens: a tokenizer.json with ids beyond them is
 * LC_ERR_INVALID; tokens beyond them that only the other files have are left out. */
LC_WARN_UNUSED lc_code lc_tokenizer_load_for(const char *model_dir, int64_t vocab_size,
                                             lc_tokenizer **out, lc_err *err);
void lc_tokenizer_free(lc_tokenizer *tokenizer);

int32_t lc_tokenizer_vocab_size(const lc_tokenizer *tokenizer);    /* largest id + 1 */
const uint8_t *lc_tokenizer_sha256(const lc_tokenizer *tokenizer); /* of what it was read from */

/* Ids of a text. starts[i] and ends[i]: the bytes of the text that token i stands for, in whole
 * characters, 0 and 0 for tokens of the post-processor. Arrays are owned (lc_tokens_release). */
typedef struct lc_tokens {
    int32_t *ids;
    int32_t *starts;
    int32_t *ends;
    size_t count;
    size_t capacity;
} lc_tokens;
void lc_tokens_release(lc_tokens *tokens);
/* Appends one token. */
LC_WARN_UNUSED lc_code lc_tokens_push(lc_tokens *tokens, int32_t id, size_t start, size_t end,
                                      lc_err *err);

/* Appends the ids of `text` to *tokens (starts count from this text's first byte). Added tokens
 * such as <|im_start|> inside the text become their ids, as in Hugging Face. Invalid UTF-8:
 * LC_ERR_INVALID with the byte offset. add_special: let the post-processor add BOS and kin. */
LC_WARN_UNUSED lc_code lc_tokenizer_encode(const lc_tokenizer *tokenizer, const char *text,
                                           size_t bytes, bool add_special, lc_tokens *tokens,
                                           lc_err *err);
/* The same with the offsets that Hugging Face reports: in characters, and without the blanks that
 * the post-processor trims (trim_offsets). */
LC_WARN_UNUSED lc_code lc_tokenizer_encode_offsets(const lc_tokenizer *tokenizer, const char *text,
                                                   size_t bytes, bool add_special,
                                                   lc_tokens *tokens, lc_err *err);

/* Cuts or pads the tokens of one text (and nothing else in *tokens), encoded with the same
 * add_special, as the file's "truncation" and "padding" want it. LC_ERR_INVALID or
 * LC_ERR_UNSUPPORTED: they cannot be done. */
LC_WARN_UNUSED lc_code lc_tokenizer_fit(const lc_tokenizer *tokenizer, bool add_special,
                                        lc_tokens *tokens, lc_err *err);

/* Id of a token by its content, -1 when there is none. */
int32_t lc_tokenizer_id(const lc_tokenizer *tokenizer, const char *content);

/* Whole text of ids, owned by the caller (lc_free), NUL-terminated; broken UTF-8 becomes U+FFFD.
 * skip_special leaves special tokens out. An id that no token has gives nothing, as in Hugging Face
 * (a model's vocabulary is often padded); a negative one is LC_ERR_INVALID, as is a text above
 * LC_MAX_DECODED_BYTES. */
LC_WARN_UNUSED lc_code lc_tokenizer_decode(const lc_tokenizer *tokenizer, const int32_t *ids,
                                           size_t count, bool skip_special, char **text,
                                           size_t *bytes, lc_err *err);

/* Streaming: feeds tokens, gives text that no later token changes (never half a character). All of
 * it together is the whole text. Zero-initialise; lc_decode_stream_release takes it back to that.
 */
typedef struct lc_decode_stream {
    char held[8]; /* bytes of an unfinished character */
    size_t held_bytes;
    char *run; /* owned: byte tokens that are text only as a whole */
    size_t run_bytes, run_capacity;
    size_t stripped; /* times that something was taken off the front */
    bool has_begun;
} lc_decode_stream;
/* Appends what became sure with this token. Memory that is missing is remembered in *out. */
LC_WARN_UNUSED lc_code lc_decode_stream_push(lc_decode_stream *stream,
                                             const lc_tokenizer *tokenizer, int32_t id,
                                             bool skip_special, lc_text *out, lc_err *err);
/* There are no more tokens: appends the rest. */
LC_WARN_UNUSED lc_code lc_decode_stream_finish(lc_decode_stream *stream,
                                               const lc_tokenizer *tokenizer, lc_text *out,
                                               lc_err *err);
void lc_decode_stream_release(lc_decode_stream *stream);

#endif
