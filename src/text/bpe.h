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
#include <string.h>

#include "lorac/err.h"
#include "lorac/mem.h"
#include "text/tokenizer.h"
#include "text/tokenizer_file.h"

#define LC_MAX_TOKEN_COUNT ((int64_t)1 << 22)
#define LC_MAX_MERGES      ((int64_t)1 << 22)
/* Spelling of a token that is taken as a whole word of bytes (ignore_merges). */
#define LC_MAX_WHOLE_WORD 512
#define LC_BPE_PAGES      (0x110000 / 256)
#define LC_METASPACE      "\xe2\x96\x81" /* U+2581 */

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

typedef struct lc_spelling {
    uint32_t hash;
    int32_t id; /* -1: empty slot */
} lc_spelling;

typedef struct lc_bpe {
    lc_token *tokens; /* token_count, by id */
    int32_t token_count;
    lc_spelling *slots; /* hash table of ids by spelling; a power of two */
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
    size_t window;                /* LC_BPE_WINDOW; less in tests */
    /* No merge joins something to a U+2581 behind it: a word may be cut there. */
    bool cuts_at_metaspace;
} lc_bpe;

#define LC_BPE_WINDOW  4096 /* units merged at a time, see bpe_window.c */
#define LC_BPE_OVERLAP 16   /* a window's last 16th is merged once more with the next */

/* What a word begins with: a token and the byte where it starts. */
typedef struct lc_bpe_unit {
    int32_t id;
    uint32_t start;
} lc_bpe_unit;

/* Scratch of one thread and one lc_bpe: grows, is reused; remembers the tokens of short words.
 * Zero-initialised. */
typedef struct lc_bpe_scratch {
    lc_bpe_unit *units; /* of the word, and behind them one that starts where it ends */
    size_t unit_count, unit_capacity;
    struct lc_bpe_symbol *symbols; /* of a window */
    uint32_t *tree;                /* of the ranks of a long one, see bpe_merge.c */
    size_t capacity;               /* symbols that there is room for */
    uint32_t ends[LC_BPE_WINDOW / LC_BPE_OVERLAP + 1]; /* of tokens, as units; bpe_window.c */
    size_t end_count;
    struct lc_bpe_word *words; /* the cache, see bpe.c */
    bool has_cache;            /* or there was no memory for it */
} lc_bpe_scratch;
void lc_bpe_scratch_release(lc_bpe_scratch *scratch);
void lc_bpe_release_symbols(lc_bpe_scratch *scratch);
/* Gives back what only a very long word needs. */
void lc_bpe_scratch_shrink(lc_bpe_scratch *scratch);

/* Tables for that many tokens and merges, empty; memory from the arena. */
LC_WARN_UNUSED lc_code lc_bpe_init(lc_bpe *bpe, int32_t token_count, size_t vocab_count,
                                   size_t merge_count, lc_arena *arena, lc_err *err);
/* Enters token `id`, whose fields are filled, into the table by spelling. false: the spelling is
 * there already. */
bool lc_bpe_enter(lc_bpe *bpe, int32_t id);
int32_t lc_bpe_find(const lc_bpe *bpe, const char *spelled, size_t bytes); /* -1: none */
/* Finds the tokens of single bytes and characters, once the vocabulary is entered. */
LC_WARN_UNUSED lc_code lc_bpe_index(lc_bpe *bpe, lc_arena *arena, lc_err *err);
/* Enters merges in the order of their ranks, once all tokens and what becomes of unknown characters
 * are there; returns how many, less than `count` where the next does not join two tokens to a
 * third. A later rank of the same pair replaces the earlier one, as in Hugging Face. */
size_t lc_bpe_enter_merges(lc_bpe *bpe, const char *spellings, const lc_merge_entry *entries,
                           size_t count);

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

/* ---- inside: tables as bpe.c and bpe_merge.c read them ---- */

static inline uint64_t lc_bpe_mix(uint64_t value)
{
    value ^= value >> 32;
    value *= 0x9e3779b97f4a7c15ull;
    return value ^ value >> 29;
}

/* Of a text's bytes, eight at a time. */
static inline uint32_t lc_bpe_hash(const char *text, size_t bytes)
{
    uint64_t hash = bytes, word = 0;
    for (; bytes >= sizeof word; bytes -= sizeof word, text += sizeof word) {
        memcpy(&word, text, sizeof word);
        hash = lc_bpe_mix(hash ^ word);
    }
    word = 0;
    memcpy(&word, text, bytes);
    return (uint32_t)lc_bpe_mix(lc_bpe_mix(hash ^ word));
}

static inline uint64_t lc_bpe_pair(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The slot that holds the pair, or the empty one where it would go. */
static inline lc_merge *lc_bpe_merge_slot(const lc_bpe *bpe, uint64_t pair)
{
    size_t slot = lc_bpe_mix(pair) & (bpe->merge_slots - 1);
    while (bpe->merges[slot].id >= 0 && bpe->merges[slot].pair != pair) {
        slot = (slot + 1) & (bpe->merge_slots - 1);
    }
    return &bpe->merges[slot];
}

/* The token of a character, -1: none. */
static inline int32_t lc_bpe_char_id(const lc_bpe *bpe, uint32_t code_point)
{
    const uint16_t page = bpe->pages[code_point / 256];
    return page == 0 ? -1 : bpe->char_ids[(size_t)(page - 1) * 256 + code_point % 256];
}

/* A symbol of a window: a linked list, so that a merge costs nothing. */
typedef struct lc_bpe_symbol {
    int32_t id;             /* -1: merged into the one before */
    int32_t previous, next; /* -1 at the ends */
} lc_bpe_symbol;

/* Makes symbols of `count` units (at least one) and merges all that can be merged: lowest rank
 * first, leftmost among equal ranks. What was merged is removed from the list; the first symbol
 * stays the first. */
LC_WARN_UNUSED lc_code lc_bpe_merge(const lc_bpe *bpe, lc_bpe_scratch *scratch, size_t first,
                                    size_t count, lc_err *err);
/* Appends the tokens of the units, with their places behind `from`. */
LC_WARN_UNUSED lc_code lc_bpe_encode_units(const lc_bpe *bpe, lc_bpe_scratch *scratch, size_t from,
                                           lc_tokens *tokens, lc_err *err);

#endif
