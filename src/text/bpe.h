/*
 * Byte-pair encoding: the vocabulary, the merge ranks and the merging of one word. A word is either
 * raw bytes, whose tokens are spelled with the 256 printable characters of GPT-2 (byte_level), or
 * characters, those without a token as bytes (<0x0A>) or as the unknown token. Used by the
 * tokenizer only.
 */
#ifndef LC_TEXT_BPE_H
#define LC_TEXT_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lorac/err.h"
#include "lorac/mem.h"
#include "text/tokenizer.h"

#define LC_MAX_TOKEN_COUNT ((int64_t)1 << 22)
#define LC_MAX_MERGES      ((int64_t)1 << 22)
/* Spelling of a token that is taken as a whole word of bytes (ignore_merges). */
#define LC_MAX_WHOLE_WORD 512
#define LC_BPE_PAGES      (0x110000 / 256)

/* One token. `spelled` is its text in the file, `shown` what the decoder begins with: the same but
 * for added tokens that the normalizer changes. NUL-terminated, borrowed from the tokenizer's
 * arena; spelled NULL: no token has this id. */
typedef struct lc_token {
    const char *spelled, *shown;
    uint32_t spelled_bytes, shown_bytes;
    bool special; /* an added token that is no text */
    bool added;
    bool is_skipped; /* when decoding without special tokens */
} lc_token;

typedef struct lc_merge {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank;
    int32_t id; /* of the merged token; -1: empty slot */
} lc_merge;

typedef struct lc_bpe {
    lc_token *tokens; /* token_count, by id */
    int32_t token_count;
    int32_t *slots; /* hash table of ids by spelling, -1 empty; a power of two */
    size_t slot_count;
    lc_merge *merges; /* hash table by pair; a power of two */
    size_t merge_slots;
    bool byte_level;              /* words are raw bytes; all of byte_ids are there */
    int32_t byte_ids[256];        /* tokens of GPT-2's characters, -1: none */
    int32_t fallback_ids[256];    /* tokens <0x00> to <0xFF>, -1: none */
    uint16_t pages[LC_BPE_PAGES]; /* 1 + place in char_ids of 256 code points, 0: no tokens */
    int32_t *char_ids;            /* tokens of single characters, 256 to a page, -1: none */
    const char *unknown;          /* spelling of the unknown token; NULL: such characters vanish */
    int32_t unknown_id;           /* -1: it is not in the vocabulary */
    bool fuse_unknown;            /* neighbours that are unknown make one token */
    bool byte_fallback;           /* unknown characters become <0x..>, when all their bytes can */
    bool ignore_merges;           /* a word that is a token is taken as it is */
} lc_bpe;

/* Scratch of one thread: grows, is reused. Zero-initialised. */
typedef struct lc_bpe_scratch {
    struct lc_bpe_symbol *symbols;
    struct lc_bpe_candidate *heap;
    size_t capacity; /* of symbols, in words' bytes; the heap has three times as many */
    size_t heap_count;
    int32_t count; /* symbols of the word */
    uint32_t end;  /* bytes that they cover */
} lc_bpe_scratch;
void lc_bpe_scratch_release(lc_bpe_scratch *scratch);

/* Tables for that many tokens and merges, empty; memory from the arena. */
LC_WARN_UNUSED lc_code lc_bpe_init(lc_bpe *bpe, int32_t token_count, size_t vocab_count,
                                   size_t merge_count, lc_arena *arena, lc_err *err);
/* Enters token `id`, whose fields are filled, into the table by spelling. false: the spelling is
 * there already. */
bool lc_bpe_enter(lc_bpe *bpe, int32_t id);
int32_t lc_bpe_find(const lc_bpe *bpe, const char *spelled, size_t bytes); /* -1: none */
/* Finds the tokens of single bytes and characters, once the vocabulary is entered. */
LC_WARN_UNUSED lc_code lc_bpe_index(lc_bpe *bpe, lc_arena *arena, lc_err *err);
/* A later rank of the same pair replaces the earlier one, as in Hugging Face. */
void lc_bpe_enter_merge(lc_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t merged);

/* Appends the tokens of one word, with places in the word: the lengths of its tokens in turn, so
 * that characters which vanish shift those behind them, as in Hugging Face. O(n log n).
 * LC_ERR_INVALID: an unknown character, and no token for those. */
LC_WARN_UNUSED lc_code lc_bpe_encode(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                                     size_t bytes, lc_tokens *tokens, lc_err *err);

/* The printable character of a byte, UTF-8 in out[2]; returns its length. */
size_t lc_byte_spell(uint8_t byte, char *out);
/* Bytes that a spelled token stands for, into out[bytes]; returns their count. A spelling with a
 * character outside the 256 stands for itself. */
size_t lc_byte_unspell(const char *spelled, size_t bytes, char *out);

#endif
