/*
 * Byte-pair encoding of words, see bpe.h. A word that was seen before is looked up; else its
 * characters become symbols, which bpe_merge.c merges.
 */
#include "text/bpe.h"

#include "text/utf8.h"

#define LONG_WORD    ((size_t)64)
#define KEPT_SYMBOLS ((size_t)1 << 16) /* of a scratch between texts */

/* ---- words that were seen ---- */

#define CACHED_WORDS  ((size_t)1 << 14) /* a power of two, as the ways */
#define CACHED_BYTES  32
#define CACHED_TOKENS 6

/* A word and its tokens: one line of a processor's cache. */
typedef struct lc_bpe_word {
    uint8_t bytes; /* 0: no word */
    uint8_t count;
    uint8_t ends[CACHED_TOKENS];
    int32_t ids[CACHED_TOKENS];
    char text[CACHED_BYTES];
} word_entry;

/* ---- scratch and output ---- */

static void release_symbols(lc_bpe_scratch *scratch)
{
    lc_free(scratch->symbols);
    lc_free(scratch->tree);
    scratch->symbols = NULL;
    scratch->tree = NULL;
    scratch->capacity = 0;
}

void lc_bpe_scratch_release(lc_bpe_scratch *scratch)
{
    release_symbols(scratch);
    lc_free(scratch->words);
    *scratch = (lc_bpe_scratch){0};
}

void lc_bpe_scratch_shrink(lc_bpe_scratch *scratch)
{
    if (scratch->capacity > KEPT_SYMBOLS) {
        release_symbols(scratch);
    }
}

/* Room for a word of so many bytes: as many symbols, and a tree with a leaf for each. */
static lc_code reserve(lc_bpe_scratch *scratch, size_t bytes, lc_err *err)
{
    if (bytes <= scratch->capacity) {
        return LC_OK;
    }
    size_t capacity = 256;
    while (capacity < bytes) {
        capacity *= 2;
    }
    release_symbols(scratch);
    scratch->symbols = lc_malloc(capacity * sizeof *scratch->symbols);
    scratch->tree = lc_malloc(2 * capacity * sizeof *scratch->tree);
    if (scratch->symbols == NULL || scratch->tree == NULL) {
        release_symbols(scratch);
        return lc_fail(err, LC_ERR_MEMORY, "no memory to encode a word of %zu bytes", bytes);
    }
    scratch->capacity = capacity;
    return LC_OK;
}

/* Grows one array of a token list; false when there is no memory. */
static bool grow(int32_t **values, size_t capacity)
{
    int32_t *grown = lc_realloc(*values, capacity * sizeof *grown);
    if (grown != NULL) {
        *values = grown;
    }
    return grown != NULL;
}

lc_code lc_tokens_push(lc_tokens *tokens, int32_t id, size_t start, size_t end, lc_err *err)
{
    if (tokens->count == tokens->capacity) {
        const size_t capacity = tokens->capacity < 64 ? 64 : 2 * tokens->capacity;
        if (!grow(&tokens->ids, capacity) || !grow(&tokens->starts, capacity) ||
            !grow(&tokens->ends, capacity)) {
            return lc_fail(err, LC_ERR_MEMORY, "no memory for %zu tokens", capacity);
        }
        tokens->capacity = capacity;
    }
    tokens->ids[tokens->count] = id;
    tokens->starts[tokens->count] = (int32_t)start;
    tokens->ends[tokens->count++] = (int32_t)end;
    return LC_OK;
}

/* ---- the symbols a word begins with ---- */

static void add_symbol(lc_bpe_scratch *scratch, int32_t id, size_t bytes)
{
    const int32_t place = scratch->count++;
    scratch->symbols[place] = (lc_bpe_symbol){id, place - 1, place + 1, scratch->end};
    scratch->end += (uint32_t)bytes;
}

static void split_bytes(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        add_symbol(scratch, bpe->byte_ids[(uint8_t)word[i]], 1);
    }
}

/* Adds the bytes of a character as tokens; false, and nothing added, when one of them has none. */
static bool fall_back(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bpe->fallback_ids[(uint8_t)bytes[i]] < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < length; i++) {
        add_symbol(scratch, bpe->fallback_ids[(uint8_t)bytes[i]], 1);
    }
    return true;
}

/* Unknown characters wait until one with a token comes; bytes of a fallback overtake them, as in
 * Hugging Face. */
static lc_code split_chars(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                           size_t bytes, lc_err *err)
{
    size_t length = 0, unknown = 0; /* bytes of characters that wait */
    for (size_t at = 0; at < bytes; at += length) {
        (void)lc_utf8_next(word + at, bytes - at, &length);
        const int32_t id = lc_bpe_char_id(bpe, lc_utf8_decode(word + at, length));
        if (id < 0 && bpe->byte_fallback && fall_back(bpe, scratch, word + at, length)) {
            continue;
        }
        if (id < 0 && bpe->unknown == NULL) {
            continue;
        }
        if (unknown > 0 && (id >= 0 || !bpe->fuse_unknown)) {
            add_symbol(scratch, bpe->unknown_id, unknown);
            unknown = 0;
        }
        if (id >= 0) {
            add_symbol(scratch, id, length);
        } else if (bpe->unknown_id < 0) {
            return lc_fail(err, LC_ERR_INVALID,
                           "the text has a character without a token, and the vocabulary has no "
                           "\"%.64s\" (unk_token) for those",
                           bpe->unknown);
        } else {
            unknown += length;
        }
    }
    if (unknown > 0) {
        add_symbol(scratch, bpe->unknown_id, unknown);
    }
    return LC_OK;
}

static lc_code split_word(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                          size_t bytes, lc_err *err)
{
    LC_TRY(reserve(scratch, bytes, err));
    scratch->count = 0;
    scratch->end = 0;
    if (bpe->byte_level) {
        split_bytes(bpe, scratch, word, bytes);
    } else {
        LC_TRY(split_chars(bpe, scratch, word, bytes, err));
    }
    if (scratch->count > 0) {
        scratch->symbols[scratch->count - 1].next = -1;
    }
    return LC_OK;
}

/* The token that is the whole word, -1 when there is none. */
static int32_t whole_word(const lc_bpe *bpe, const char *word, size_t bytes)
{
    char spelled[LC_MAX_WHOLE_WORD + 1];
    size_t length = 0;
    if (!bpe->byte_level) {
        return lc_bpe_find(bpe, word, bytes);
    }
    for (size_t i = 0; i < bytes; i++) {
        if (length + 2 > sizeof spelled) {
            return -1; /* no token is longer, load has seen to that */
        }
        length += lc_byte_spell((uint8_t)word[i], spelled + length);
    }
    return lc_bpe_find(bpe, spelled, length);
}

/* Merges a stretch that no merge reaches across, and appends its tokens behind `from`. */
static lc_code encode_stretch(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                              size_t bytes, size_t from, lc_tokens *tokens, lc_err *err)
{
    LC_TRY(split_word(bpe, scratch, word, bytes, err));
    lc_bpe_merge(bpe, scratch);
    for (int32_t i = scratch->count > 0 ? 0 : -1; i >= 0;) {
        const lc_bpe_symbol *s = &scratch->symbols[i];
        const uint32_t end = s->next >= 0 ? scratch->symbols[s->next].start : scratch->end;
        LC_TRY(lc_tokens_push(tokens, s->id, from + s->start, from + end, err));
        i = s->next;
    }
    return LC_OK;
}

/* Whether a merge may join what lies on both sides of word[at]. */
static bool may_join(const lc_bpe *bpe, const char *word, size_t at)
{
    const uint32_t pair = (uint32_t)(uint8_t)word[at - 1] << 8 | (uint8_t)word[at];
    const bool inside = !bpe->byte_level && ((uint8_t)word[at] & 0xc0) == 0x80;
    return inside || (bpe->neighbours[pair / 64] >> pair % 64 & 1) != 0;
}

/* The tokens of a word that is no known one, behind `from`, where those before it end. A long word
 * is cut where no merge can join, so that what is at work at a time stays in the caches. */
static lc_code encode_word(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                           size_t bytes, size_t from, lc_tokens *tokens, lc_err *err)
{
    const int32_t whole = bpe->ignore_merges ? whole_word(bpe, word, bytes) : -1;
    if (whole >= 0) {
        return lc_tokens_push(tokens, whole, from, from + bytes, err);
    }
    if (bytes <= LONG_WORD || !bpe->has_neighbours) {
        return encode_stretch(bpe, scratch, word, bytes, from, tokens, err);
    }
    for (size_t at = 0, end = 1; at < bytes; at = end++) {
        while (end < bytes && may_join(bpe, word, end)) {
            end++;
        }
        LC_TRY(encode_stretch(bpe, scratch, word + at, end - at, from + at, tokens, err));
    }
    return LC_OK;
}

/* The line of the cache that the word belongs into; NULL when it is too long, or there is no cache
 * for want of memory. */
static word_entry *entry_of(lc_bpe_scratch *scratch, const char *word, size_t bytes)
{
    if (bytes > CACHED_BYTES) {
        return NULL;
    }
    if (!scratch->has_cache) {
        scratch->words = lc_calloc(CACHED_WORDS, sizeof *scratch->words);
        scratch->has_cache = true;
    }
    return scratch->words == NULL ? NULL
                                  : &scratch->words[lc_bpe_hash(word, bytes) & (CACHED_WORDS - 1)];
}

static void remember(word_entry *entry, const char *word, size_t bytes, size_t from,
                     const lc_tokens *tokens, size_t first)
{
    const size_t count = tokens->count - first;
    if (count > CACHED_TOKENS) {
        return;
    }
    entry->bytes = (uint8_t)bytes;
    entry->count = (uint8_t)count;
    memcpy(entry->text, word, bytes);
    for (size_t i = 0; i < count; i++) {
        entry->ids[i] = tokens->ids[first + i];
        entry->ends[i] = (uint8_t)((size_t)tokens->ends[first + i] - from);
    }
}

static lc_code encode_part(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word,
                           size_t bytes, size_t from, lc_tokens *tokens, lc_err *err)
{
    const size_t first = tokens->count;
    word_entry *entry = entry_of(scratch, word, bytes);
    if (entry != NULL && entry->bytes == bytes && memcmp(entry->text, word, bytes) == 0) {
        size_t start = from;
        for (int i = 0; i < entry->count; i++) {
            const size_t end = from + entry->ends[i];
            LC_TRY(lc_tokens_push(tokens, entry->ids[i], start, end, err));
            start = end;
        }
        return LC_OK;
    }
    LC_TRY(encode_word(bpe, scratch, word, bytes, from, tokens, err));
    if (entry != NULL) {
        remember(entry, word, bytes, from, tokens, first);
    }
    return LC_OK;
}

/* Where the part that begins the word ends: in front of the first U+2581 that is behind something
 * else. */
static size_t part_end(const char *word, size_t bytes)
{
    size_t at = 0;
    while (bytes - at >= 3 && memcmp(word + at, LC_METASPACE, 3) == 0) {
        at += 3;
    }
    const char *next = memmem(word + at, bytes - at, LC_METASPACE, 3);
    return next != NULL ? (size_t)(next - word) : bytes;
}

lc_code lc_bpe_encode(const lc_bpe *bpe, lc_bpe_scratch *scratch, const char *word, size_t bytes,
                      lc_tokens *tokens, lc_err *err)
{
    if (bpe->byte_level || !bpe->cuts_at_metaspace) {
        return bytes == 0 ? LC_OK : encode_part(bpe, scratch, word, bytes, 0, tokens, err);
    }
    const size_t first = tokens->count;
    for (size_t at = 0; at < bytes;) {
        const size_t length = part_end(word + at, bytes - at);
        const size_t from = tokens->count > first ? (size_t)tokens->ends[tokens->count - 1] : 0;
        LC_TRY(encode_part(bpe, scratch, word + at, length, from, tokens, err));
        at += length;
    }
    return LC_OK;
}
